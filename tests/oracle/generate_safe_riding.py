#!/usr/bin/env python3
"""Random sources for the pack `sql/safe-riding`, plausible in the large and nasty in the small.

    generate_safe_riding.py --seed 1 --captures 20000 --people 800 --to DIR [--passages N] [--hostile] [--aged]
    generate_safe_riding.py shuffle DIR --seed 2 --to DIR2

The same seed gives the same files. Persons offend with exponential rates; captures cluster into rides whose gaps sit on
the 30-minute edge, on month ends and on the edges of visits, policies, exemptions and identities. Rows are corrected,
repeated, deleted and put back. `--hostile` adds lines that cannot be decoded. `shuffle` writes another order of arrival
with the same final content: the order of the records of one key stays, all else is permuted; passages stay as they are,
for a stream's first record of an id counts. Everything lies within 600 days, so that nothing is older than its retention.
`--aged` puts one capture far ahead of all others, so that half of those behind it are older than their retention. It is read
after all voids and visits: months that are forgotten then have seen all that decides about them.
"""

import argparse
import json
import os
import random
import sys
from datetime import date, datetime, timedelta, timezone

from replay_sources import Rejected, decode, parse_instant
from safe_riding import SOURCES, add_months

DAY = 86_400_000
MINUTE = 60_000
UNIX = datetime(1970, 1, 1, tzinfo=timezone.utc)
SHANGHAI = timezone(timedelta(hours=8))
OFFSETS = [0, 480, 480, 480, 480, 480, 480, 480, 540, -300, 345]
BAD_PLATES = [None, "", "  ", "null", "NULL", "none", " Unknown\u3000", "no plate", "\u2003BlankPlate\xa0", "00000", "无牌",
              "未知", "\u3000无号牌\u3000", "\x85NONE", "No  Plate", "000000", "\x1cNULL"]


def instant(year, month, day, hour=0, minute=0, second=0, ms=0):
    """Milliseconds of a wall clock in Shanghai."""
    moment = datetime(year, month, day, hour, minute, second, ms * 1000, tzinfo=SHANGHAI)
    return (moment - UNIX) // timedelta(milliseconds=1)


START = instant(2023, 11, 20)
END = instant(2025, 7, 10)
MONTH_STARTS = [instant(2023 + m // 12, m % 12 + 1, 1) for m in range(11, 31)]


class Generator:
    """One run: the random source, the plan of who owns what when, and the files as lists of records."""

    def __init__(self, seed, n_captures, n_people, n_passages):
        self.random = random.Random(seed)
        self.n_captures, self.n_people, self.n_passages = n_captures, n_people, n_passages
        self.files = {source.name: [] for source in SOURCES}
        self.owned = {}  # plate -> [(from, person or None)]
        self.edges = []  # instants at which something changes
        style = self.random.choice(["P{:05}", "330522-{:06}", "人{:04}/x", "p {:04}"])
        self.people = [style.format(i) for i in range(n_people)]

    # === pieces

    def chance(self, probability):
        """True with this probability."""
        return self.random.random() < probability

    def some_instant(self):
        """Mostly anywhere; sometimes on a month's or another edge, a little off it."""
        r = self.random
        if self.chance(0.04):
            return r.choice(MONTH_STARTS) + r.choice([-1, 0, 1, -MINUTE, -20 * MINUTE, 15 * MINUTE])
        if self.edges and self.chance(0.04):
            return min(max(r.choice(self.edges) + r.choice([-1, 0, 1, -5 * MINUTE, 5 * MINUTE]), START), END)
        if self.chance(0.01):
            return instant(2024, 2, r.choice([28, 29]), r.randrange(24), r.randrange(60))
        at = r.randrange(START, END)
        return at if self.chance(0.5) else at // 1000 * 1000

    def text(self, at):
        """An RFC 3339 text of an instant, in one of several offsets and precisions."""
        r = self.random
        minutes = r.choice(OFFSETS)
        moment = (UNIX + timedelta(milliseconds=at)).astimezone(timezone(timedelta(minutes=minutes)))
        ms = at % 1000
        fraction = f".{ms:03}" if ms else r.choice(["", "", "", ".000", ".0"])
        if self.chance(0.02):
            fraction = f".{ms:03}{r.choice(['9', '999', '123456'])}"
        if minutes == 0 and self.chance(0.7):
            offset = "Z"
        else:
            offset = f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
        return f"{moment:%Y-%m-%dT%H:%M:%S}{fraction}{offset}"

    def put(self, name, record):
        """Appends a record."""
        self.files[name].append(record)

    def optional(self, record, name, value, absent=0.3):
        """Sets a nullable column; a null is written or left out."""
        if value is not None or not self.chance(absent):
            record[name] = value

    # === tables

    def policies(self):
        r = self.random
        instants = sorted(r.choice([r.randrange(START + 30 * DAY, END), r.choice(MONTH_STARTS)]) for _ in range(r.randrange(1, 7)))
        for at in sorted(set(instants)):
            visit = r.choice([1, 2, 3, 4, 4, 5])
            self.edges.append(at)
            self.put("disposal_policy", {
                "effective_from": self.text(at), "visit_from": visit,
                "urgent_from": max(1, visit + r.choice([-2, 0, 1, 2, 3, 6])), "deduction": r.choice([0, 1, 2, 3, 5]),
                "improve_below": r.choice([60, 80, 90, 96]), "match_score_min": r.choice([0.5, 0.8, 0.85, 0.9])})

    def birth_date(self):
        r = self.random
        kind = r.random()
        if kind < 0.1:
            return None
        if kind < 0.2:  # sixteen within the period
            return (date(2007, 11, 20) + timedelta(days=r.randrange(600))).isoformat()
        if kind < 0.25:
            return r.choice(["2008-02-29", "2008-02-28", "2008-03-01", "2012-02-29", "2004-02-29"])
        if kind < 0.27:
            return r.choice(["2024-12-31", "1912-06-01"])
        return (date(1950, 1, 1) + timedelta(days=r.randrange(21_000))).isoformat()

    def persons(self):
        r = self.random
        households = [f"H{i:04}" for i in range(max(2, self.n_people // 3))]
        for person in self.people:
            if self.chance(0.07):
                continue
            record = {"person_id": person}
            self.optional(record, "birth_date", self.birth_date())
            self.optional(record, "household_id", r.choice([None, "", *[r.choice(households)] * 8]))
            self.optional(record, "grid_id", r.choice([None, f"G{r.randrange(40)}"]))
            self.optional(record, "employer_id", r.choice([None, None, "", f"E{r.randrange(60)}", f"E{r.randrange(60)}"]))
            self.optional(record, "party_branch_id", r.choice([None, None, None, "", f"B{r.randrange(20)}", f"B{r.randrange(20)}"]))
            self.put("persons", record)
            if self.chance(0.6):
                self.put("integrity_archive", {"person_id": person, "base_score": r.choice([100, 100, 80, 61, 62, 64, 0, -3, 120])})
        for household in households:
            if self.chance(0.9):
                self.put("households", {"household_id": household, "demonstration": self.chance(0.6)})
        for index in range(110):
            if self.chance(0.93):
                self.put("devices", {"device_id": f"D{index:03}", "town": f"town {index % 16}" if index % 5 else f"镇{index % 16}",
                                     "lon": 119.9 + index / 1000, "lat": 31.0 + index / 1000})

    def identities(self):
        r = self.random
        for index in range(int(self.n_people * 1.2) + 1):
            plate = r.choice([f"浙E{index:05}", f"ZJ-{index:04}", f"zj {index:04}", f" E{index:04}"])
            self.owned[plate] = versions = []
            at = START - r.randrange(900 * DAY) if self.chance(0.9) else r.randrange(START, END)
            for _ in range(1 + (self.chance(0.25) + self.chance(0.1)) * r.randrange(1, 3)):
                owner = self.random.choice([*[r.choice(self.people)] * 12, None, ""])
                versions.append((at, owner or None))
                record = {"plate": plate, "valid_from": self.text(at)}
                self.optional(record, "person_id", owner)
                self.put("identities", record)
                if at > START:
                    self.edges.append(at)
                at = r.randrange(max(at, START) + 1, END + DAY)

    def exemptions(self):
        r = self.random
        for plate in r.sample(sorted(self.owned), max(1, len(self.owned) // 4)):
            starts = sorted({r.randrange(START - 50 * DAY, END) for _ in range(r.randrange(1, 5))})
            for at in starts:
                until = at + r.choice([0, -DAY, 5 * DAY, 60 * DAY, 200 * DAY, r.randrange(1, 90 * DAY)])
                self.edges += [e for e in (at, until) if START < e < END]
                self.put("exemptions", {"plate": plate, "valid_from": self.text(at), "valid_to": self.text(until),
                                        "reason": r.choice(["on duty", "ambulance", "执勤"])})

    # === captures and what follows from them

    def captures(self):
        r = self.random
        rates = [r.expovariate(1) ** 2 for _ in self.people]
        plates = {}
        for plate, versions in sorted(self.owned.items()):
            for at, owner in versions:
                if owner:
                    plates.setdefault(owner, []).append((plate, at))
        offenders = [p for p in self.people if p in plates]
        weights = [rate for person, rate in zip(self.people, rates) if person in plates]
        focus = {p: r.randrange(START, END - 40 * DAY) for p in offenders}  # most offend in one season
        captures = []
        while len(captures) < self.n_captures:
            person = r.choices(offenders, weights)[0]
            at = self.some_instant() if self.chance(0.4) else focus[person] + r.randrange(40 * DAY)
            plate = r.choice(plates[person])[0]
            for _ in range(r.choice([1, 1, 1, 1, 2, 2, 3, 5])):
                if len(captures) == self.n_captures:
                    break
                captures.append((at, self.capture(len(captures), at, r.choice(plates[person])[0] if self.chance(0.1) else plate)))
                at += r.choice([0, 1, 5 * MINUTE, 29 * MINUTE, 30 * MINUTE, 30 * MINUTE, 30 * MINUTE + 1, 31 * MINUTE, 3 * MINUTE])
        captures.sort(key=lambda c: c[0])
        self.arrive("captures", captures, ("capture_id",), self.corrected_capture)
        return captures

    def capture(self, index, at, plate):
        r = self.random
        if self.chance(0.03):
            plate = r.choice(BAD_PLATES)
        elif self.chance(0.02):
            plate = r.choice([plate.strip() + " ", plate.lower(), f"X{index % 50}"])
        record = {"capture_id": f"{r.choice('cCé')}{(index * 7919) % 10_000_000:07}", "device_id": f"D{r.randrange(110):03}",
                  "captured_at": self.text(at), "violation": r.choice(["no_helmet", "no_helmet", "illegal_passenger"])}
        self.optional(record, "plate", plate)
        self.optional(record, "match_score", r.choice([None, 0.8, 0.85, 0.9, 0.7999, 1, 1.0, 0.5, *[round(r.uniform(0.89, 1), 3)] * 20]))
        if self.chance(0.7):
            record["lon"], record["lat"] = round(r.uniform(119.7, 120.1), 6), round(r.uniform(30.8, 31.1), 6)
        return record

    def corrected_capture(self, record, at):
        r = self.random
        kind = r.randrange(4)
        if kind == 0:
            record["plate"] = r.choice([*sorted(self.owned)[:50], None])
        elif kind == 1:
            record["captured_at"] = self.text(at + r.choice([1, -1, MINUTE, -30 * MINUTE, 5 * DAY, -40 * DAY, 35 * DAY]))
        elif kind == 2:
            record["match_score"] = r.choice([0.1, 0.95, None])
        else:
            record["violation"] = "other"  # a column that no rule uses
        return record

    def visits(self, captures):
        r = self.random
        people = r.sample(self.people, max(1, self.n_people * 2 // 3))
        visits = []
        for index, person in enumerate(people):
            for copy in range(r.choice([1, 1, 2, 3])):
                at = self.some_instant() if self.chance(0.6) else instant(2024, 2, 29, 10) + r.randrange(-DAY, DAY)
                if captures and self.chance(0.5):
                    at = r.choice(captures)[0] + r.choice([0, -1, 1])
                record = {"visit_id": f"V{index:05}-{copy}", "person_id": person, "completed_at": self.text(at)}
                self.optional(record, "delivered", r.choice([True, True, True, False, None]))
                visits.append((at, record))
        visits.sort(key=lambda v: v[0])
        self.arrive("visits", visits, ("visit_id",), self.corrected_visit)

    def edge_captures(self):
        """Adds captures on the edges of visits: at a completion and a year after it, to the millisecond."""
        r = self.random
        captures, by_person = [], {}
        for record in self.files["visits"]:
            if "completed_at" in record:
                by_person.setdefault(record["person_id"], []).append(record)
        for plate, versions in sorted(self.owned.items()):
            for at, owner in versions:
                if owner in by_person and self.chance(0.5):
                    done = parse_instant(r.choice(by_person[owner])["completed_at"])
                    edge = r.choice([done, add_months(done, 12)]) + r.choice([-1, 0, 1])
                    if max(at, START) <= edge <= END:
                        captures.append(self.capture(self.n_captures + len(captures), edge, plate))
        for record in captures:
            self.files["captures"].insert(r.randrange(len(self.files["captures"]) + 1), record)

    def corrected_visit(self, record, at):
        r = self.random
        if self.chance(0.6):
            record["delivered"] = r.choice([True, False, None])
        else:
            record["completed_at"] = self.text(at + r.choice([1, -DAY, 20 * DAY]))
        return record

    def voids(self, captures):
        r = self.random
        voids = []
        for at, capture in r.sample(captures, len(captures) // 12):
            voided_at = min(max(at + r.choice([r.randrange(1, 40 * DAY), r.randrange(1, DAY), -r.randrange(1, 5 * DAY)]), START), END)
            voids.append((voided_at, {"capture_id": capture["capture_id"], "ground": r.choice(["forced", "wrong plate", "病人"]),
                                      "voided_at": self.text(voided_at)}))
        for _ in range(3):
            voids.append((START + DAY, {"capture_id": f"never{r.randrange(99)}", "ground": "x", "voided_at": self.text(START + DAY)}))
        voids.sort(key=lambda v: v[0])
        self.arrive("voids", voids, ("capture_id",), lambda record, at: {**record, "voided_at": self.text(at + 1)})

    def passages(self):
        r = self.random
        first = instant(2025, 3, 3, 7)
        span = 4 * DAY
        for index in range(self.n_passages):
            at = first + span * index // max(1, self.n_passages) + r.randrange(60_000)
            if self.chance(0.03):
                at -= r.choice([45_000, 10 * MINUTE, 70 * MINUTE, 200 * MINUTE])
            if self.chance(0.01):
                at = at // 3_600_000 * 3_600_000 - r.choice([0, 1])
            record = {"passage_id": f"a{index}", "device_id": f"D{r.randrange(112):03}", "passed_at": self.text(at)}
            self.optional(record, "helmet", r.choice([True, True, True, False, None]))
            self.put("passages", record)
            if self.chance(0.02):
                again = dict(r.choice(self.files["passages"][-200:]))
                if self.chance(0.3):
                    again["helmet"] = not again.get("helmet")
                self.put("passages", again)

    # === arrival

    def arrive(self, name, timed, key, correct):
        """Puts rows of a table in nearly their time order, with repetitions, corrections, deletions and returns."""
        r = self.random
        placed = []
        for position, (at, record) in enumerate(timed):
            place = position + (r.randrange(1, 400) if self.chance(0.08) else r.random())
            placed.append((place, record))
            if not self.chance(0.06):
                continue
            kind, later = r.randrange(5), place
            for step in {0: "same", 1: "correct", 2: "delete", 3: "delete return", 4: "correct same delete delete correct"}[kind].split():
                later += r.random() * r.choice([0.5, 50, 500])
                if step == "delete":
                    placed.append((later, {"_tombstone": True, **{k: record[k] for k in key}}))
                else:
                    record = correct(dict(record), at) if step == "correct" else dict(record)
                    placed.append((later, record))
        placed.sort(key=lambda p: p[0])
        self.files[name].extend(record for _, record in placed)

    def changes(self):
        """Later changes of the tables without event time: flips, returns, deletions."""
        r = self.random
        for source in SOURCES:
            rows = self.files[source.name]
            if source.stream or source.event_time:
                continue
            for record in r.sample(rows, min(len(rows), 1 + len(rows) // 15)):
                changed = dict(record)
                if source.name == "households":
                    changed["demonstration"] = not changed["demonstration"]
                elif source.name == "persons":
                    changed["birth_date"] = self.birth_date()
                    changed["household_id"] = "H0001"
                elif source.name == "identities":
                    changed["person_id"] = r.choice(self.people)
                elif source.name == "integrity_archive":
                    changed["base_score"] = 70
                tombstone = {"_tombstone": True, **{k: record[k] for k in source.key}}
                for step in r.choice([[changed], [record], [tombstone], [tombstone, record], [tombstone, tombstone, changed]]):
                    rows.append(step)

    def hostile(self):
        """Lines that cannot be decoded, blank lines, and columns that nobody declared."""
        r = self.random
        for source in SOURCES:
            rows = self.files[source.name]
            good = [row for row in rows if isinstance(row, dict) and "_tombstone" not in row]
            for _ in range(3 + len(rows) // 200 if good else 0):
                row = dict(r.choice(good))
                required = [*source.key, *source.not_null]
                column = r.choice(required)
                kind = r.randrange(9)
                if kind == 0:
                    line = json.dumps(row)[: r.randrange(1, 20)]
                elif kind == 1:
                    line = r.choice(["[]", "7", "\"x\"", "null", "{]", "not json", "{\"a\":}", "[{}]"])
                elif kind == 2:
                    line = r.choice(["", "   ", "\t"])
                elif kind == 3:
                    del row[column]
                    line = row
                elif kind == 4:
                    line = {**row, column: None}
                elif kind == 5:
                    line = {**row, column: {"a": [1]}}
                elif kind == 6 and not source.stream:
                    line = {"_tombstone": True, "nothing": 1}
                elif kind == 7 and "timestamp" in source.columns.values():
                    column = r.choice([c for c, t in source.columns.items() if t == "timestamp"])
                    line = {**row, column: r.choice(["yesterday", "2024-13-01T00:00:00Z", "2024-02-30T00:00:00Z", ""])}
                else:
                    line = {"extra": {"deep": [1, "]"]}, **row, "surplus": "\\\"}"}
                rows.insert(r.randrange(len(rows) + 1), line)

    def aged(self):
        """A capture that makes those of the first half late once its epoch is over."""
        captures = self.files["captures"]
        retention_ms = next(source.retention_ms for source in SOURCES if source.name == "captures")
        at = self.text(START + 300 * DAY + retention_ms)
        first = next(row for row in captures if "_tombstone" not in row)
        captures.insert(len(captures) // 20, {**first, "capture_id": "ahead", "captured_at": at})

    def run(self, hostile, aged):
        """Everything, in an order that lets later pieces use earlier edges."""
        self.policies()
        self.persons()
        self.identities()
        self.exemptions()
        captures = self.captures()
        self.visits(captures)
        self.voids(captures)
        self.edge_captures()
        self.passages()
        self.changes()
        if aged:
            self.aged()
        if hostile:
            self.hostile()


def write_lines(directory, name, lines):
    """Writes a source file."""
    with open(os.path.join(directory, name + ".ndjson"), "w", encoding="utf-8", newline="\n") as file:
        file.writelines(line + "\n" for line in lines)


def generate(seed, n_captures, n_people, directory, n_passages=None, hostile=False, aged=False):
    """Writes one file a source."""
    generator = Generator(seed, n_captures, n_people, n_captures if n_passages is None else n_passages)
    generator.run(hostile, aged)
    os.makedirs(directory, exist_ok=True)
    for name, rows in generator.files.items():
        write_lines(directory, name, (
            row if isinstance(row, str) else json.dumps(row, ensure_ascii=generator.chance(0.2)) for row in rows))


def shuffle(source_dir, seed, directory):
    """Writes the same records in another order; those of one key keep theirs."""
    chooser = random.Random(seed)
    os.makedirs(directory, exist_ok=True)
    for source in SOURCES:
        path = os.path.join(source_dir, source.name + ".ndjson")
        if not os.path.exists(path):
            continue
        with open(path, encoding="utf-8", newline="\n") as file:
            lines = file.read().split("\n")[:-1]
        if not source.stream:
            keys = []
            for index, line in enumerate(lines):
                try:
                    row, _ = decode(source, line)
                    keys.append(tuple(row[name] for name in source.key))
                except Rejected:
                    keys.append(index)
            waiting = {}
            for key, line in zip(reversed(keys), reversed(lines)):
                waiting.setdefault(key, []).append(line)
            chooser.shuffle(keys)
            lines = [waiting[key].pop() for key in keys]
        write_lines(directory, source.name, lines)


def main(arguments):
    """The command line."""
    shuffling = arguments[:1] == ["shuffle"]
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--to", required=True)
    if shuffling:
        parser.add_argument("source_dir")
        options = parser.parse_args(arguments[1:])
        shuffle(options.source_dir, options.seed, options.to)
        return
    parser.add_argument("--captures", type=int, default=5_000)
    parser.add_argument("--people", type=int, default=200)
    parser.add_argument("--passages", type=int, help="as many as captures unless given")
    parser.add_argument("--hostile", action="store_true", help="add lines that cannot be decoded")
    parser.add_argument("--aged", action="store_true", help="make half of the rows older than their retention")
    options = parser.parse_args(arguments)
    generate(options.seed, options.captures, options.people, options.to, options.passages, options.hostile, options.aged)


if __name__ == "__main__":
    main(sys.argv[1:])
