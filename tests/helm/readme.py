#!/usr/bin/env python3
"""Writes the table of values in the chart's README from the comments of values.yaml.

A comment `# -- text` documents the key below it; its further lines begin with `# `. A key with members is a heading of
theirs, and has no row of its own unless it is documented.
"""
import json
import re
import sys
from pathlib import Path

import yaml

CHART = Path(__file__).resolve().parents[2] / "helm/curb"
BEGIN, END = "<!-- values: made by tests/helm/readme.py -->", "<!-- end of values -->"


def documented():
    """Rows of path, default, and text, in the order of the file; and the paths of keys without text."""
    text = (CHART / "values.yaml").read_text()
    values = yaml.safe_load(text)
    rows, bare, path, comment = [], [], [], None
    for line in text.splitlines():
        start = re.match(r"\s*# -- (.*)", line)
        more = re.match(r"\s*# ?(.*)", line)
        key = re.match(r"(\s*)([A-Za-z][\w.]*):", line)
        if start:
            comment = start[1]
        elif more and comment is not None:
            comment += " " + more[1]
        elif key:
            depth = len(key[1]) // 2
            if depth > len(path):
                continue  # within a documented default, as that of resources
            path = path[:depth] + [key[2]]
            value = values
            for part in path:
                value = value[part] if isinstance(value, dict) and part in value else None
            if comment is not None:
                rows.append((".".join(path), value, comment))
            elif not any(".".join(path).startswith(row + ".") for row, _, _ in rows) and not (isinstance(value, dict) and value):
                bare.append(".".join(path))
            comment = None
        elif line.strip() and not line.lstrip().startswith("#"):
            comment = None
    return rows, bare


def table():
    rows, _ = documented()
    sections = {}
    for path, default, text in rows:
        section = path.split(".")[0] if "." in path else "The release and its pods"
        shown = json.dumps(default, ensure_ascii=False)
        line = f"| `{path}` | `{shown}` | {text} |".replace("||", "|")
        sections.setdefault(section, []).append(line)
    head = ["", "| value | default | what it is |", "|---|---|---|"]
    return "\n\n".join("\n".join([f"### {section}", *head, *lines]) for section, lines in sections.items())


def text():
    readme = (CHART / "README.md").read_text()
    before, rest = readme.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}"


if __name__ == "__main__":
    (CHART / "README.md").write_text(text())
    print(f"{CHART / 'README.md'}: written", file=sys.stderr)
