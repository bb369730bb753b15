"""What is rendered, as the program sees it in its pod: rules in a folder of symbolic links, the configuration file."""
import json
import os
import re
import subprocess
import tempfile
import unittest
from pathlib import Path

import yaml
from chart import CHART, CI, ROOT, containers, one, pods, rendered, schema

CURB = os.environ.get("CURB_BINARY")


def project(config_maps, folder):
    """Writes files as the kubelet does: into a folder with a hidden name, reached by `..data` and a link for each key."""
    data = folder / "..2026_01_01"
    data.mkdir(parents=True)
    (folder / "..data").symlink_to(data.name)
    for config_map in config_maps:
        for name, text in config_map["data"].items():
            (data / name).write_text(text)
            (folder / name).symlink_to(f"..data/{name}")


@unittest.skipUnless(CURB, "no program given")
class Program(unittest.TestCase):
    def curb(self, *arguments):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("CURB_")}
        return subprocess.run([CURB, *map(str, arguments)], capture_output=True, text=True, env=environment, check=False, timeout=120)

    def test_inline_rules_pass_the_check_that_the_init_container_runs(self):
        n_checked = 0
        for values in CI:
            rules = [r for r in rendered(values) if r["kind"] == "ConfigMap" and r["metadata"]["name"].endswith("-rules")]
            if not rules or "configmap-rules" in values.name:
                continue
            with self.subTest(values.name), tempfile.TemporaryDirectory() as tmp:
                project(rules, Path(tmp) / "rules")
                done = self.curb("check", Path(tmp) / "rules")
                self.assertEqual(done.returncode, 0, done.stderr)
                n_checked += 1
        self.assertGreaterEqual(n_checked, 2)

    def test_broken_rules_end_the_init_container_with_the_place(self):
        with tempfile.TemporaryDirectory() as tmp:
            project([{"data": {"a.sql": "CREATE VIEW v AS SELECT nothing FROM nowhere;"}}], Path(tmp) / "rules")
            done = self.curb("check", Path(tmp) / "rules")
            self.assertEqual(done.returncode, 1)
            self.assertIn("a.sql:1:", done.stderr + done.stdout)

    def test_packs_of_the_image_exist(self):
        packs = {path.name for path in (ROOT / "sql").iterdir() if path.is_dir()}
        for values in CI:
            args = one(rendered(values), "Pod")["spec"]["containers"][0]["args"]
            if args[1].startswith("/sql/"):
                self.assertIn(args[1].removeprefix("/sql/"), packs, values.name)

    def test_the_program_takes_every_setting_and_shows_no_secret(self):
        for values in CI:
            config_map = one(rendered(values), "ConfigMap", f"{one(rendered(values), 'StatefulSet')['metadata']['name']}-config")
            with self.subTest(values.name), tempfile.TemporaryDirectory() as tmp:
                # Secrets are files; they are made here, where the test may write.
                text = config_map["data"]["curb.toml"]
                secrets = Path(tmp) / "secrets"
                for part in text.split('"'):
                    if part.startswith("/etc/curb/secrets/"):
                        file = secrets / part.removeprefix("/etc/curb/secrets/")
                        file.parent.mkdir(parents=True, exist_ok=True)
                        file.write_text("planted-secret")
                file = Path(tmp) / "curb.toml"
                file.write_text(text.replace("/etc/curb/secrets", str(secrets)).replace("/var/lib/curb", f"{tmp}/state"))
                done = self.curb("config", "show", "--config", file)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertIn(str(file), done.stdout, "the origin of each setting is shown")
                self.assertNotIn("planted-secret", done.stdout + done.stderr)

    def test_settings_that_an_upgrade_brings_are_read_without_their_secrets_and_refused_if_they_are_bad(self):
        for values in CI:
            name = one(rendered(values), "StatefulSet")["metadata"]["name"]
            text = one(rendered(values), "ConfigMap", f"{name}-new-config")["data"]["curb.toml"]
            with self.subTest(values.name), tempfile.TemporaryDirectory() as tmp:
                file = Path(tmp) / "curb.toml"
                file.write_text(text)
                done = self.curb("config", "show", "--config", file)
                self.assertEqual(done.returncode, 0, done.stderr)
        for good, bad, reason in (("[kafka.properties]\n", '[kafka.properties]\n"no.such" = "1"\n', "`no.such` does not exist"),
                                  ('max_time = "20s"', 'max_time = "2m"', "from 10ms to 50s")):
            text = one(rendered(CI[0]), "ConfigMap", "rel-curb-new-config")["data"]["curb.toml"]
            self.assertIn(good, text)
            with tempfile.TemporaryDirectory() as tmp:
                file = Path(tmp) / "curb.toml"
                file.write_text(text.replace(good, bad))
                done = self.curb("config", "show", "--config", file)
                self.assertGreater(done.returncode, 0)
                self.assertIn(reason, done.stderr)

    def test_the_chart_takes_the_limits_of_sql_that_the_program_takes(self):
        done = self.curb("config", "schema")
        of_program = json.loads(done.stdout)["properties"]["sql"]["properties"]
        of_chart = schema()["properties"]["console"]["properties"]["sql"]["properties"]
        words = {name: re.sub("[A-Z]", lambda c: "_" + c[0].lower(), name) for name in of_chart}
        self.assertEqual(sorted(words.values()), sorted(of_program))
        defaults = yaml.safe_load((CHART / "values.yaml").read_text())["console"]["sql"]
        self.assertEqual({name: of_program[word]["default"] for name, word in words.items()}, defaults)
        bounds = ("type", "minimum", "maximum")
        for name, member in of_chart.items():
            self.assertEqual([member.get(b) for b in bounds], [of_program[words[name]].get(b) for b in bounds], name)

    def test_the_arguments_of_the_pods_are_those_of_the_program(self):
        """`--help` behind the arguments: refused where a command or a flag does not exist."""
        image = "curb:"
        of_curb = [c for values in CI for _, pod in pods(rendered(values)) for c in containers(pod) if c["image"].startswith(image)]
        calls = {tuple(container["args"]) for container in of_curb}
        self.assertEqual({call[0] for call in calls}, {"check", "config", "run", "doctor", "state"})
        for call in calls:
            done = self.curb(*call, "--help")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertRegex(done.stdout, rf"Usage: \S+ {call[0]} ")
