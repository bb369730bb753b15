#!/usr/bin/env python3
"""Rides of real camera records, counted independently: the safe-riding pack over New York's data in New York's zone.

    nyc.py facts                    # checks the documented facts of the records
    nyc.py input DIR                # writes the sources: the captures, and a person `rider-<plate>` for every plate
    curb replay sql/safe-riding --from DIR --to OUT --time-zone America/New_York
    nyc.py check OUT                # compares the issued actions with the count made here; exit code 1 on a difference

There are no persons, visits, exemptions or policies, so the defaults hold: rides 1 to 3 of a month are reminders, ride 4 is a
grid visit, ride 10 an urgent visit, and no other ride is acted on.
"""

import json
import os
import sys
from collections import Counter, defaultdict
from zoneinfo import ZoneInfo

from replay_output import ReplayOutput
from replay_sources import parse_instant
from safe_riding import RIDE_GAP_MS, year_month

RECORDS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data", "captures_nyc_repeat.ndjson")
NEW_YORK = ZoneInfo("America/New_York")
COLUMNS = ["action_id", "action", "person_id", "month", "n", "ride_started_at", "evidence", "points", "status", "revision",
           "needs_approval"]


def captures():
    """The records, with their instant in milliseconds."""
    with open(RECORDS, encoding="utf-8") as file:
        return [{**json.loads(line), "at": parse_instant(json.loads(line)["captured_at"])} for line in file]


def plate_months(zone):
    """{(plate, month): [(instant, capture_id)] in time order}"""
    months = defaultdict(list)
    for row in captures():
        months[row["plate"], year_month(row["at"], zone)].append((row["at"], row["capture_id"]))
    return {key: sorted(rows) for key, rows in months.items()}


def check_facts():
    """The documented facts, asserted."""
    months = {key: len(rows) for key, rows in plate_months(NEW_YORK).items()}
    utc = {key: len(rows) for key, rows in plate_months(ZoneInfo("UTC")).items()}

    def tier(n):
        return 0 if n < 4 else 1 if n <= 9 else 2

    sizes = Counter(tier(n) for n in months.values())
    running = Counter(tier(i) for n in months.values() for i in range(1, n + 1))
    moved = [key for key in months.keys() | utc.keys() if months.get(key, 0) != utc.get(key, 0)]
    assert sum(months.values()) == 1129 and len(months) == 132, (sum(months.values()), len(months))
    assert [sizes[t] for t in range(3)] == [82, 34, 16], sizes
    assert [running[t] for t in range(3)] == [297, 179, 653], running
    assert len(moved) == 10, moved
    rides = sum(len(rides_of(rows)) for rows in plate_months(NEW_YORK).values())
    print(f"1129 records, 132 plate-months, {rides} rides, {len(expected())} actions")


def rides_of(rows):
    """Rides as lists of (instant, capture_id): a pause of more than 30 minutes ends one."""
    rides = [[rows[0]]]
    for before, row in zip(rows, rows[1:]):
        if row[0] - before[0] > RIDE_GAP_MS:
            rides.append([])
        rides[-1].append(row)
    return rides


def expected():
    """The issued actions by action_id."""
    actions = {}
    for (plate, month), rows in plate_months(NEW_YORK).items():
        for n, ride in enumerate(rides_of(rows), 1):
            action = {1: "reminder", 2: "reminder", 3: "reminder", 4: "grid_visit", 10: "urgent_visit"}.get(n)
            if action:
                action_id = f"rider-{plate}/{month}/{action}/{n}"
                actions[action_id] = {
                    "action_id": action_id, "action": action, "person_id": f"rider-{plate}", "month": month, "n": n,
                    "ride_started_at": ride[0][0], "evidence": [capture_id for _, capture_id in ride], "points": None,
                    "status": "issued", "needs_approval": False}
    return actions


def write_input(directory):
    """The sources of the replay."""
    os.makedirs(directory, exist_ok=True)
    rows = captures()
    with open(RECORDS, encoding="utf-8") as source, open(os.path.join(directory, "captures.ndjson"), "w", encoding="utf-8") as file:
        file.write(source.read())
    with open(os.path.join(directory, "identities.ndjson"), "w", encoding="utf-8") as file:
        for plate in sorted({row["plate"] for row in rows}):
            identity = {"plate": plate, "valid_from": "2020-01-01T00:00:00-05:00", "person_id": f"rider-{plate}"}
            file.write(json.dumps(identity) + "\n")


def check(directory):
    """The differences, as sentences."""
    output = ReplayOutput(directory, ("-04:00", "-05:00"), single_epoch=True)
    changing = ("status", "evidence", "points", "ride_started_at")
    issued = output.issued("disposal_actions", COLUMNS, "action_id", changing, ("ride_started_at",))
    output.differences("disposal_actions", expected(), issued)
    for sink, columns, key in (("reviews", ["capture_id", "reason"], "capture_id"),
                               ("integrity_scores", ["person_id", "score", "to_be_improved", "needs_approval"], "person_id")):
        output.differences(sink, {}, output.upserts(sink, columns, key))
    clean = {"duplicate": 0, "late": 0, "rejected": 0}
    output.summary({"captures": {"read": 1129, "used": 1129, **clean}, "identities": {"read": 14, "used": 14, **clean}})
    return output.problems


def main(arguments):
    """The command line."""
    if arguments == ["facts"]:
        check_facts()
    elif len(arguments) == 2 and arguments[0] == "input":
        write_input(arguments[1])
    elif len(arguments) == 2 and arguments[0] == "check":
        problems = check(arguments[1])
        print("\n".join(problems[:40]) or "equal")
        return 1 if problems else 0
    else:
        print(__doc__)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
