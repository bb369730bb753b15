"""What the guides point at is there: pages, sections, values, commands."""
import os
import re
import subprocess
import unittest

from chart import CHART, ROOT, values_of

PAGES = [ROOT / "helm/OPERATIONS.md", CHART / "README.md", CHART / "UPGRADING.md"]
CURB = os.environ.get("CURB_BINARY")


def anchors(text):
    headings = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^a-z0-9 _-]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


class Documents(unittest.TestCase):
    def test_links_lead_to_files_and_sections_that_exist(self):
        for page in PAGES:
            for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
                file, _, anchor = target.partition("#")
                found = (page.parent / file).resolve() if file else page
                self.assertTrue(found.exists(), f"{page.name}: {target}")
                if anchor:
                    self.assertIn(anchor, anchors(found.read_text()), f"{page.name}: {target}")

    def test_values_that_are_named_exist(self):
        values = values_of(CHART / "values.yaml")
        notes = (CHART / "templates/NOTES.txt").read_text()
        for text in [page.read_text() for page in PAGES] + [notes]:
            for path in re.findall(r"`([a-z][A-Za-z]+(?:\.[A-Za-z]+)+)(?:[:=][^`]*)?`", text):
                if path.split(".")[0] not in values or path.startswith("resources."):
                    continue  # a setting of Kafka, or of Kubernetes
                part = values
                for key in path.split("."):
                    self.assertIn(key, part, path)
                    part = part[key]

    def test_files_of_values_that_are_named_exist(self):
        for page in PAGES:
            for name in re.findall(r"ci/([a-z-]+-values\.yaml)", page.read_text()):
                self.assertTrue((CHART / "ci" / name).exists(), name)
        listed = set(re.findall(r"\(ci/([a-z-]+-values\.yaml)\)", (CHART / "README.md").read_text()))
        self.assertEqual(listed, {file.name for file in (CHART / "ci").iterdir()})

    @unittest.skipUnless(CURB, "no program given")
    def test_commands_and_flags_that_are_named_exist(self):
        texts = [page.read_text() for page in PAGES] + [(CHART / "templates/NOTES.txt").read_text()]
        found = set()
        for text in texts:
            # In code only: prose has the word as well.
            code = re.findall(r"```sh\n(.*?)```", text, re.S) + re.findall(r"`([^`\n]+)`", text) if "```" in text or "`" in text else [text]
            code += [text] if "{{" in text else []
            for line in "\n".join(code).splitlines():
                for command in re.findall(r"(?:^|-- |\s)curb ((?:state )?[a-z]+(?: [^|#;]*)?)", line):
                    words = command.split()
                    name = " ".join(words[:2]) if words[0] == "state" else words[0]
                    found.add((name, tuple(re.findall(r"--[a-z][a-z-]*", command))))
        self.assertGreater(len(found), 6)
        for name, flags in found:
            with self.subTest(name):
                done = subprocess.run([CURB, *name.split(), "--help"], capture_output=True, text=True, check=False)
                self.assertEqual(done.returncode, 0, done.stderr)
                for flag in flags:
                    self.assertIn(flag, done.stdout)
