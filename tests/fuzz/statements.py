"""Writes each statement of the rule packs and of the refused ones into a file of its own: python3 statements.py DIR."""

import glob
import hashlib
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
for path in sorted(glob.glob(os.path.join(ROOT, "sql", "*", "*.sql")) + glob.glob(os.path.join(ROOT, "tests", "errors", "*.sql"))):
    with open(path, encoding="utf-8") as file:
        text = re.sub(r"(?m)^\s*--.*$", "", file.read())
    for statement in re.split(r"(?m);\s*$", text):
        data = statement.strip().encode()
        if 10 < len(data) < 4000:
            with open(os.path.join(sys.argv[1], hashlib.sha1(data).hexdigest()), "wb") as file:
                file.write(data + b";\n")
