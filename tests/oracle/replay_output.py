"""Reads what `curb replay` wrote and gathers everything that contradicts the contract, as sentences.

`ReplayOutput.issued` folds a sink over CHANGES and checks its revisions, `upserts` folds an upsert sink, `finals` reads a
sink of final rows, `differences` compares content with what is expected, `summary` checks the counts. Problems gather in
`problems`; nothing raises on wrong content.
"""

import hashlib
import json
import os
import re

from replay_sources import Rejected, parse_instant


class ReplayOutput:
    """A directory of `<sink>.ndjson` and `summary.json`.

    `offsets` are those that timestamps may carry; with `single_epoch` everything left in one epoch (the end of input
    aside), so that a sink over a table or over CHANGES holds one row a key, in the order of the keys.
    """

    def __init__(self, directory, offsets, single_epoch=False):
        self.directory = directory
        self.single_epoch = single_epoch
        self.timestamp = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}(" + "|".join(map(re.escape, offsets)) + ")")
        self.problems = []
        self.n_lines = {}

    def problem(self, text):
        """Notes a contradiction."""
        self.problems.append(text)

    def lines(self, name):
        """The lines of a file, none where it is missing."""
        path = os.path.join(self.directory, name)
        if not os.path.exists(path):
            return []
        with open(path, encoding="utf-8", newline="\n") as file:
            return [line for line in file.read().split("\n") if line]

    def rows(self, sink, columns, instants=(), key=()):
        """The rows of a sink, checked for form; instants as milliseconds. Tombstones have only `_tombstone` and the key."""
        lines = self.lines(sink + ".ndjson")
        if not os.path.exists(os.path.join(self.directory, sink + ".ndjson")):
            self.problem(f"{sink}: there is no file {sink}.ndjson")
        self.n_lines[sink] = len(lines)
        rows = []
        for number, line in enumerate(lines, 1):
            where = f"{sink}:{number}"
            try:
                row = json.loads(line)
            except ValueError as error:
                self.problem(f"{where}: not JSON: {error}")
                continue
            wanted = ["_tombstone", *key] if row.get("_tombstone") else columns
            if [name for name in row if name in wanted] != wanted:
                self.problem(f"{where}: columns are {list(row)}, expected {wanted}")
                continue
            for name in instants:
                if not self.timestamp.fullmatch(row[name] or ""):
                    self.problem(f"{where}: {name} is {row[name]!r}: not RFC 3339 with the pack's offset and milliseconds")
                try:
                    row[name] = parse_instant(row[name])
                except Rejected as error:
                    self.problem(f"{where}: {name} is {error}")
            rows.append((where, row))
        return rows

    def in_key_order(self, sink, keys):
        """Within one epoch a key appears once and keys ascend by their UTF-8 bytes."""
        if not self.single_epoch:
            return
        encoded = [key.encode("utf-8") for key in keys]
        if any(a >= b for a, b in zip(encoded, encoded[1:])):
            self.problem(f"{sink}: within one epoch keys are not in ascending order, one row a key")

    def issued(self, sink, columns, key, changing, instants=()):
        """The rows that are issued at the end (without revision), by key; revisions and withdrawals are checked."""
        last, rows = {}, self.rows(sink, columns, instants)
        self.in_key_order(sink, [row[key] for _, row in rows])
        for where, row in rows:
            before = last.get(row[key])
            revision = before["revision"] + 1 if before else 1
            if row["revision"] != revision:
                self.problem(f"{where}: {row[key]}: revision {row['revision']} follows {revision - 1}")
            if row["status"] not in ("issued", "withdrawn"):
                self.problem(f"{where}: {row[key]}: status is {row['status']!r}")
            if before is None and row["status"] == "withdrawn":
                self.problem(f"{where}: {row[key]}: withdrawn before it was issued")
            if before and all(before[name] == row[name] for name in changing):
                self.problem(f"{where}: {row[key]}: repeats the row before it")
            if before and row["status"] == "withdrawn":
                changed = [n for n in row if n not in ("status", "revision") and row[n] != before[n]]
                if changed or before["status"] == "withdrawn":
                    self.problem(f"{where}: {row[key]}: the withdrawn row does not repeat the issued one: {changed}")
            last[row[key]] = row
        return {k: without_revision(row) for k, row in last.items() if row["status"] == "issued"}

    def upserts(self, sink, columns, key, instants=()):
        """The rows of an upsert sink that stand at the end, by key."""
        content, rows = {}, self.rows(sink, columns, instants, key=(key,))
        self.in_key_order(sink, [row[key] for _, row in rows])
        for where, row in rows:
            if row.get("_tombstone"):
                if content.pop(row[key], None) is None:
                    self.problem(f"{where}: {row[key]}: deletes a row that is not there")
            elif content.get(row[key]) == row:
                self.problem(f"{where}: {row[key]}: repeats the row before it")
            else:
                content[row[key]] = row
        return content

    def finals(self, sink, columns, key, order, instants=()):
        """The rows of a sink of final rows, by key; no key may come twice."""
        content, before = {}, None
        for where, row in self.rows(sink, columns, instants):
            row_key = tuple(row[name] for name in key)
            if row_key in content:
                self.problem(f"{where}: {row_key}: a final row comes twice")
            content[row_key] = row
            position = tuple(v.encode("utf-8") if isinstance(v, str) else v for v in (row[name] for name in order))
            if before is not None and self.single_epoch and position < before:
                self.problem(f"{where}: {row_key}: not in the order of {order}")
            before = position
        return content

    def differences(self, sink, want, have):
        """Compares content by key; columns that only the output has are ignored."""
        for key in sorted(want.keys() - have.keys(), key=str):
            self.problem(f"{sink}: {key}: missing, expected {want[key]}")
        for key in sorted(have.keys() - want.keys(), key=str):
            self.problem(f"{sink}: {key}: not expected: {have[key]}")
        for key in sorted(want.keys() & have.keys(), key=str):
            for name, value in want[key].items():
                found = have[key].get(name)
                if found != value or isinstance(found, bool) != isinstance(value, bool):
                    self.problem(f"{sink}: {key}: {name} is {found!r}, expected {value!r}")

    def summary(self, sources):
        """Checks summary.json: its arithmetic, the counts of sources, the lines of sinks and of late and rejected files."""
        try:
            with open(os.path.join(self.directory, "summary.json"), encoding="utf-8") as file:
                summary = json.load(file)
        except (OSError, ValueError) as error:
            self.problem(f"summary.json: {error}")
            return
        for name, found in summary.get("sources", {}).items():
            if found["read"] != found["used"] + found["duplicate"] + found["late"] + found["rejected"]:
                self.problem(f"summary.json: {name}: read is not used + duplicate + late + rejected: {found}")
        for name, counts in sources.items():
            found = summary.get("sources", {}).get(name)
            if found is None or any(found.get(k) != v for k, v in counts.items()):
                self.problem(f"summary.json: {name}: {found}, expected {counts}")
            for kind in ("late", "rejected"):
                self.refused(f"{name}.{kind}.ndjson", (found or {}).get(kind, 0))
        for sink, n_lines in self.n_lines.items():
            found = summary.get("sinks", {}).get(sink, {}).get("rows")
            if found != n_lines:
                self.problem(f"summary.json: {sink}: {found} rows, but the file has {n_lines} lines")

    def refused(self, name, n_expected):
        """A file of late or rejected records: one line each, with the raw record and its digest."""
        lines = self.lines(name)
        if len(lines) != n_expected:
            self.problem(f"{name}: {len(lines)} lines, but summary.json counts {n_expected}")
        if not lines and os.path.exists(os.path.join(self.directory, name)):
            self.problem(f"{name}: is written though it is empty")
        for number, line in enumerate(lines, 1):
            row = json.loads(line)
            missing = [k for k in ("reason", "line", "length", "sha256") if k not in row]
            if missing:
                self.problem(f"{name}:{number}: without {missing}")
                continue
            raw = row.get("raw")
            if raw is not None and "\ufffd" not in raw:
                raw = raw.encode("utf-8", errors="surrogateescape")
                if row["length"] == len(raw) and row["sha256"] != hashlib.sha256(raw).hexdigest():
                    self.problem(f"{name}:{number}: sha256 is not that of raw")


def without_revision(row):
    """What is issued does not depend on how often it was revised."""
    return {name: value for name, value in row.items() if name != "revision"}
