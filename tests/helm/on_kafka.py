#!/usr/bin/env python3
"""The settings and rules that the chart renders, run by the program on a real Kafka as its pod would.

    python3 tests/helm/on_kafka.py BROKERS CURB

They are taken from the golden rendering of inline-rules-values.yaml, so that neither helm nor a cluster is needed.
"""
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
GOLDEN = HERE / "golden/inline-rules.yaml"
ALERTS = HERE.parents[1] / "helm/curb/files/alerts.yaml"
BROKERS, CURB = "", ""


def config_maps():
    """The files of each ConfigMap, by its name. The golden rendering is regular enough to be read without a library."""
    found = {}
    for document in GOLDEN.read_text().split("---\n"):
        if "\nkind: ConfigMap\n" not in document or "helm.sh/hook" in document:
            continue
        name = re.search(r"^  name: (.*)$", document, re.M)[1]
        files = re.findall(r"^  ([\w.-]+): \|\n((?:    .*\n|\n)+)", document, re.M)
        found[name] = {file: re.sub(r"^    ", "", text, flags=re.M) for file, text in files}
    return found


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Pod(unittest.TestCase):
    def setUp(self):
        tmp = tempfile.TemporaryDirectory()
        self.addCleanup(tmp.cleanup)
        self.dir = Path(tmp.name)
        maps = config_maps()
        # As the kubelet does: a hidden folder, a link to it, and a link for each file.
        hidden = self.dir / "rules/..2026_01_01"
        hidden.mkdir(parents=True)
        (self.dir / "rules/..data").symlink_to(hidden.name)
        prefix = f"helm-{os.getpid()}-{int(time.time())}"
        for file, text in maps["rel-curb-rules"].items():
            text = re.sub(r"topic = '", f"topic = '{prefix}.", text)
            (hidden / file).write_text(text)
            (self.dir / "rules" / file).symlink_to(f"..data/{file}")
        self.health, self.http = free_port(), free_port()
        settings = maps["rel-curb-config"]["curb.toml"]
        for pattern, replacement in (
            (r'^brokers = .*', f'brokers = "{BROKERS}"'), (r'^pipeline = .*', f'pipeline = "{prefix}"'),
            (r'^state_dir = .*', f'state_dir = "{self.dir}/state"'), (r'^health = .*', f'health = "127.0.0.1:{self.health}"'),
            (r'^http = .*', f'http = "127.0.0.1:{self.http}"'),
        ):
            settings, n = re.subn(pattern, replacement, settings, flags=re.M)
            self.assertEqual(n, 1, pattern)
        (self.dir / "curb.toml").write_text(settings)
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("CURB_")}
        self.environment |= {"CURB_INSTANCE": "0", "CURB_LOG_FORMAT": "json", "CURB_LOG": "info"}

    def ask(self, path, port=None):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port or self.health}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def test_a_worker_starts_answers_its_probes_and_ends_when_it_is_told_to(self):
        log = (self.dir / "log").open("w")
        self.addCleanup(log.close)
        arguments = ["run", self.dir / "rules", "--config", self.dir / "curb.toml"]
        worker = subprocess.Popen([CURB, *arguments], env=self.environment, stderr=log)
        self.addCleanup(worker.kill)
        said = lambda: (self.dir / "log").read_text()
        began = time.monotonic()
        while self.ask("/readyz")[0] != 200:
            self.assertIsNone(worker.poll(), said())
            self.assertLess(time.monotonic() - began, 120, said())
            time.sleep(0.2)
        self.assertEqual(self.ask("/livez")[0], 200)
        # Only health and measurements are on that port.
        self.assertEqual([self.ask(path)[0] for path in ("/", "/api/status", "/api/sql")], [404, 404, 404])
        self.assertEqual([self.ask(path, self.http)[0] for path in ("/", "/api/status")], [200, 200])
        # What alerts look at from the first scrape on; the rest is counted when it happens.
        time.sleep(2)
        _, measured = self.ask("/metrics")
        gauges = ("curb_worker_phase", "curb_consumer_lag_seconds", "curb_consumer_lag_records", "process_resident_memory_bytes")
        for name in gauges:
            self.assertIn(name, ALERTS.read_text())
            self.assertRegex(measured, rf"(?m)^{name}[{{ ]", name)
        doctor = subprocess.run([CURB, "doctor", *arguments[1:]], env=self.environment, capture_output=True, text=True, check=False, timeout=120)
        self.assertEqual(doctor.returncode, 0, doctor.stdout + doctor.stderr)
        self.assertIsNone(worker.poll(), "helm test disturbs no worker")
        worker.send_signal(signal.SIGTERM)
        self.assertEqual(worker.wait(timeout=60), 0, said())
        self.assertTrue(all(line.startswith("{") for line in said().splitlines()), "one JSON object a line")

    def test_missing_topics_are_what_the_doctor_finds(self):
        settings = (self.dir / "curb.toml").read_text().replace("create_topics = true", "create_topics = false")
        (self.dir / "curb.toml").write_text(settings)
        doctor = subprocess.run([CURB, "doctor", self.dir / "rules", "--config", self.dir / "curb.toml"],
                                env=self.environment, capture_output=True, text=True, check=False, timeout=120)
        self.assertEqual(doctor.returncode, 1, doctor.stdout + doctor.stderr)
        self.assertIn("passages", doctor.stdout + doctor.stderr)


if __name__ == "__main__":
    BROKERS, CURB = sys.argv[1], str(Path(sys.argv[2]).resolve())
    unittest.main(argv=sys.argv[:1])
