"""What the Dockerfile and the script that it calls make, as far as no container engine is needed."""
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

from chart import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text().replace("\\\n", "")
BUILD = ROOT / "helm/image/build"


class Image(unittest.TestCase):
    def test_the_folder_of_the_volume_belongs_to_the_user(self):
        """COPY gives an owner to what lies in a folder, and not to the folder itself where that exists."""
        copies = re.findall(r"^COPY (.*)$", DOCKERFILE.split("\nFROM ")[-1], re.M)
        self.assertEqual(copies, ["--from=build /image /", "--from=build --chown=10001:10001 /image/var/lib /var/lib"])
        self.assertIn('install -d -m 0750 "$dir/var/lib/curb"', BUILD.read_text())
        self.assertIn("\nUSER 10001:10001\n", DOCKERFILE)

    @unittest.skipUnless(shutil.which("strip"), "no strip")
    def test_the_bill_of_materials_is_that_of_the_target(self):
        self.assertRegex(DOCKERFILE, r"helm/image/build target/release/curb /image +\"\$\(rustc -vV ")
        with tempfile.TemporaryDirectory() as tmp:
            root = Path(tmp)
            (root / "helm/image").mkdir(parents=True)
            (root / "sql").mkdir()
            for name in ("LICENSE", "README.md"):
                (root / name).write_text(name)
            shutil.copy(BUILD, root / "helm/image/build")
            bill = root / "helm/image/sbom"
            bill.write_text("#!/bin/sh\necho \"$@\"\n")
            bill.chmod(0o755)
            for i, (target, expected) in enumerate((([], ""), (["aarch64-unknown-linux-gnu"], "--target aarch64-unknown-linux-gnu"))):
                subprocess.run([root / "helm/image/build", shutil.which("env"), root / f"made{i}", *target], check=True, env={"PATH": "/usr/bin:/bin"})
                self.assertEqual((root / f"made{i}/usr/share/doc/curb/sbom.cdx.json").read_text().strip(), expected)
                self.assertEqual([d.name for d in (root / f"made{i}/var/lib").iterdir()], ["curb"])


if __name__ == "__main__":
    unittest.main()
