"""What every pack has: sources that can be simulated, outputs that are as its contract says, and a row for each system.

    packs.py CURB

Simulates each pack, replays it, and validates every row that comes out against the JSON Schema that `curb docs` writes; asks `curb
why` for an action, with the audit trail as it is and after it was changed; and reads `sql/COVERAGE.md`.
"""

import json
import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
SQL = os.path.join(HERE, "../../sql")
SYSTEMS = {"C": 7, "T": 12, "S": 24, "G": 6, "H": 4}
TYPES = {
    "null": lambda v: v is None,
    "boolean": lambda v: isinstance(v, bool),
    "integer": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "number": lambda v: isinstance(v, (int, float)) and not isinstance(v, bool),
    "string": lambda v: isinstance(v, str),
    "array": lambda v: isinstance(v, list),
    "object": lambda v: isinstance(v, dict),
}
FORMATS = {
    "date": re.compile(r"\d{4}-\d\d-\d\d"),
    "date-time": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d"),
}


def faults(schema, value, place):
    """What is wrong with a value, by the part of JSON Schema that the documents use."""
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(TYPES[kind](value) for kind in kinds):
        yield f"{place}: {value!r} is no {' or '.join(kinds)}"
    elif isinstance(value, str) and "format" in schema and not FORMATS[schema["format"]].fullmatch(value):
        yield f"{place}: {value!r} is no {schema['format']}"
    elif isinstance(value, list):
        for item in value:
            yield from faults(schema.get("items", {}), item, place + "[]")
    elif isinstance(value, dict):
        members = schema.get("properties", {})
        yield from (f"{place}: {name} is missing" for name in schema.get("required", []) if name not in value)
        if schema.get("additionalProperties") is False:
            yield from (f"{place}: {name} is not declared" for name in value if name not in members)
        for name in value:
            yield from faults(members.get(name, {}), value[name], f"{place}.{name}")


def run(*command, code=0):
    """Runs a command, and gives what it printed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != code:
        raise SystemExit(f"{' '.join(command)}: exit code {done.returncode}, not {code}\n{done.stderr}")
    return done.stdout


def of_pack(curb, pack, work):
    """Problems of a pack, and how many rows it gave."""
    sources, out, docs = (os.path.join(work, name) for name in ("in", "out", "docs"))
    made = json.loads(run(curb, "simulate", pack, "--people", "200", "--days", "20", "--to", sources, "--output", "json"))
    summary = json.loads(run(curb, "replay", pack, "--from", sources, "--to", out, "--audit", "--output", "json"))
    document = json.loads(run(curb, "docs", pack))
    run(curb, "docs", pack, "--format", "json-schema", "--to", docs)
    problems = [f"{name}: {n} records simulated, {summary['sources'][name]['read']} read" for name, n in made.items()
                if summary["sources"][name]["read"] != n]
    # A policy without a row leaves the stated defaults in force.
    empty = [name for name, fates in summary["sources"].items() if fates["read"] == 0 and not name.endswith("_policy")]
    if len(empty) > len(summary["sources"]) // 4:
        problems.append(f"many sources are not simulated: {', '.join(empty)}")
    n_rows, silent = 0, []
    for sink, rows in summary["sinks"].items():
        topic = document["channels"][sink]["address"]
        with open(os.path.join(docs, f"{topic}.schema.json"), encoding="utf-8") as file:
            schema = json.load(file)
        assert schema["properties"] == document["components"]["messages"][sink]["payload"]["properties"], topic
        with open(os.path.join(out, f"{sink}.ndjson"), encoding="utf-8") as file:
            lines = [json.loads(line) for line in file]
        found = [f for line in lines if "_tombstone" not in line for f in faults(schema, line, sink)]
        problems += found[:3]
        n_rows += rows["rows"]
        silent += [sink] if rows["rows"] == 0 else []
    return problems, n_rows, silent


def why(curb, pack, work):
    """Problems with the explanation of an action of the last replay."""
    sources, out = os.path.join(work, "in"), os.path.join(work, "out")
    trail = os.path.join(out, "curb-audit.ndjson")
    with open(os.path.join(out, "disposal_actions.ndjson"), encoding="utf-8") as file:
        actions = [json.loads(line) for line in file]
    action = next(a for a in actions if a["action"] == "grid_visit" and a["status"] == "issued")
    ask = (curb, "why", action["action_id"], pack, "--from", sources, "--trail", trail, "--output", "json")
    answer = json.loads(run(*ask))
    problems = [] if answer["row"] == action else [f"why: {answer['row']} instead of {action}"]
    captures = {r["value"]["capture_id"] for r in answer["records"] if r["relation"] == "captures"}
    if not answer["is_minimal"] or not set(action["evidence"]) & captures or len(captures) < action["n"]:
        problems.append(f"why: {action['action_id']} follows from {captures}, minimal: {answer['is_minimal']}")
    with open(trail, encoding="utf-8") as file:
        text = file.read()
    with open(trail, "w", encoding="utf-8") as file:
        file.write(text.replace('"status":"issued"', '"status":"Issued"', 1))
    run(*ask, code=6)
    return problems


def of_coverage():
    """Problems of the table of systems."""
    problems, rows, packs = [], {}, []
    with open(os.path.join(SQL, "COVERAGE.md"), encoding="utf-8") as file:
        for line in file:
            if line.startswith("## "):
                packs = re.findall(r"\(([a-z-]+)\)", line)
            cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
            if re.fullmatch(r"[CTSGH]\d+", cells[0]):
                rows[cells[0]] = cells
                folders = [os.path.join(SQL, pack) for pack in packs]
                exists = lambda name: any(os.path.exists(os.path.join(f, name)) for f in folders)
                files = re.findall(r"`([a-z0-9-]+\.sql)`", cells[2])
                tests = re.findall(r"`([a-z0-9-]+)(?:\.slt)?`", cells[4])
                problems += [f"{cells[0]}: no file is named"] if not files else []
                problems += [f"{cells[0]}: no test is named"] if not tests else []
                problems += [f"{cells[0]}: there is no {name}" for name in files if not exists(name)]
                problems += [f"{cells[0]}: there is no test {name}" for name in tests if not exists(f"tests/{name}.slt")]
    wanted = [f"{letter}{n}" for letter, last in SYSTEMS.items() for n in range(1, last + 1)]
    return problems + [f"{row} has no row" for row in wanted if row not in rows]


def main():
    """Checks all packs."""
    curb = os.path.abspath(sys.argv[1])
    problems = of_coverage()
    for name in sorted(os.listdir(SQL)):
        pack = os.path.join(SQL, name)
        if not os.path.isdir(pack):
            continue
        with tempfile.TemporaryDirectory() as work:
            found, n_rows, silent = of_pack(curb, pack, work)
            if name == "safe-riding":
                found += why(curb, pack, work)
        print(f"{name}: {n_rows} rows as the schemas say" + (f"; nothing on {', '.join(silent)}" if silent else ""))
        problems += [f"{name}: {problem}" for problem in found]
    print("\n".join(problems) or "coverage: every system has rules and a test")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
