"""The pack sql/enforcement-evaluation against a second implementation: random evaluations, replies and appeals.

    enforcement_evaluation.py CURB [SEEDS]

Each seed is replayed as it is and in another order of arrival within the day that the pack waits for, at several shard
counts; what comes out must be what the rules below say of the content. The last seed has more records than an epoch takes.
"""

import datetime
import json
import os
import random
import subprocess
import sys
import tempfile

ZONE = datetime.timezone(datetime.timedelta(hours=8))
DAY_MS = 24 * 3600 * 1000
START = datetime.date(2025, 9, 1)
LEVELS = ["brigade", "detachment", "province"]
PACK = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../sql/enforcement-evaluation")


def midnight(day):
    """The first instant of a local day in milliseconds."""
    return int(datetime.datetime(day.year, day.month, day.day, tzinfo=ZONE).timestamp() * 1000)


def text(instant_ms):
    """RFC 3339 with the pack's offset and milliseconds."""
    at = datetime.datetime.fromtimestamp(instant_ms // 1000, ZONE)
    return at.strftime("%Y-%m-%dT%H:%M:%S") + f".{instant_ms % 1000:03}+08:00"


def due(calendar, opened_ms):
    """The end of the third working day behind the local day of an instant; none where the calendar has a gap."""
    day = datetime.datetime.fromtimestamp(opened_ms // 1000, ZONE).date()
    n_left = 3
    while n_left:
        day += datetime.timedelta(days=1)
        if day not in calendar:
            return None
        n_left -= calendar[day]
    return midnight(day + datetime.timedelta(days=1))


def expected(evaluations, replies, appeals, calendar):
    """Steps and gaps, from the content alone."""
    steps, gaps, seen = [], [], set()
    for name, at_ms, verdict in evaluations:
        if name in seen:
            continue
        seen.add(name)
        opened = at_ms if verdict == "dissatisfied" else None
        for level, following in zip(LEVELS, LEVELS[1:] + [None]):
            if opened is None:
                break
            due_ms = due(calendar, opened)
            if due_ms is None:
                gaps.append((name, level, opened))
                break
            answers = [at for at in replies.get((name, level), []) if at <= due_ms]
            if not answers:
                steps.append((name, level, following, "overdue", due_ms))
                opened = due_ms
                continue
            if (name, level) not in appeals:
                break
            opened = max(min(answers), min(appeals[name, level]))
            steps.append((name, level, following, "still_dissatisfied", due(calendar, opened) if following else None))
    return sorted(steps, key=str), sorted(gaps, key=str)


def generate(chosen, n):
    """Sources of n evaluations over some weeks."""
    calendar = {START + datetime.timedelta(days=i): chosen.random() < 0.65 for i in range(100)}
    span_ms = 90 * DAY_MS
    # Half of all instants lie on or beside the start of a day, where dues lie.
    def instant(from_ms, to_ms):
        at_ms = chosen.randrange(from_ms, max(from_ms + 1, to_ms))
        if chosen.random() < 0.5:
            at_ms = (at_ms + 8 * 3_600_000) // DAY_MS * DAY_MS - 8 * 3_600_000 + chosen.choice([-1, 0, 0, 1])
        return at_ms

    evaluations, replies, appeals = [], {}, {}
    for i in range(n):
        at_ms = instant(midnight(START), midnight(START) + span_ms)
        name = f"E{i}"
        evaluations.append((name, at_ms, chosen.choice(["dissatisfied"] * 8 + ["satisfied", "other"])))
        for level in LEVELS:
            for table, share in ((replies, 0.6), (appeals, 0.5)):
                while chosen.random() < share:
                    table.setdefault((name, level), []).append(instant(at_ms - DAY_MS, at_ms + 16 * DAY_MS))
                    share /= 3
    return sorted(evaluations, key=lambda e: e[1]), replies, appeals, calendar


def write(directory, sources, chosen=None):
    """The sources as files; with `chosen` in another order of arrival."""
    os.makedirs(directory)
    evaluations, replies, appeals, calendar = sources
    # The watermark waits for a day.
    late = (lambda at_ms: at_ms + chosen.randrange(DAY_MS - 1)) if chosen else (lambda at_ms: at_ms)

    def lines(name, rows):
        with open(os.path.join(directory, name + ".ndjson"), "w", encoding="utf-8") as file:
            for _, row in sorted(((late(at_ms), row) for at_ms, row in rows), key=lambda r: r[0]):
                file.write(json.dumps(row) + "\n")

    lines("evaluations", [(at, {"evaluation_id": n, "submitted_at": text(at), "verdict": v, "situations": ["others"]}) for n, at, v in evaluations])
    for name, table in (("replied", replies), ("appealed", appeals)):
        lines({"replied": "replies", "appealed": "appeals"}[name],
              [(at, {"evaluation_id": n, "level": level, name + "_at": text(at)}) for (n, level), instants in table.items() for at in instants])
    with open(os.path.join(directory, "calendar.ndjson"), "w", encoding="utf-8") as file:
        for day, working in calendar.items():
            file.write(json.dumps({"day": day.isoformat(), "working": working}) + "\n")


def read(directory, name):
    """The rows of a sink."""
    with open(os.path.join(directory, name + ".ndjson"), encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def check(curb, work, name, sources, *arguments):
    """Replays and compares; returns the number of differences."""
    out = os.path.join(work, name + ".out")
    subprocess.run([curb, "replay", PACK, "--from", os.path.join(work, name), "--to", out, *arguments], check=True, capture_output=True)
    steps, gaps = expected(*sources)
    instant = lambda at_ms: None if at_ms is None else text(at_ms)  # noqa: E731
    wanted = {
        "escalations": sorted(map(str, [(n, f, t, r, instant(d)) for n, f, t, r, d in steps])),
        "calendar_gaps": sorted(map(str, [(n, level, instant(at)) for n, level, at in gaps])),
    }
    columns = {
        "escalations": ["evaluation_id", "from_level", "to_level", "reason", "due_at"],
        "calendar_gaps": ["evaluation_id", "level", "opened_at"],
    }
    n_different = 0
    for sink, names in columns.items():
        found = sorted(str(tuple(row[c] for c in names)) for row in read(out, sink))
        if found != wanted[sink]:
            n_different += 1
            only = lambda a, b: sorted(set(a) - set(b))[:5]  # noqa: E731
            print(f"{name} {arguments}: {sink}: {len(found)} rows, {len(wanted[sink])} wanted\n"
                  f"  not wanted: {only(found, wanted[sink])}\n  missing: {only(wanted[sink], found)}")
    with open(os.path.join(out, "summary.json"), encoding="utf-8") as file:
        counts = json.load(file)["sources"]
    for source, c in counts.items():
        if c["late"] or c["rejected"] or c["read"] != c["used"] + c["duplicate"]:
            n_different += 1
            print(f"{name}: {source}: {c}")
    return n_different


def main():
    """Runs all seeds."""
    curb, n_seeds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 4
    n_failed = n_steps = 0
    with tempfile.TemporaryDirectory() as work:
        for seed in range(n_seeds + 1):
            chosen = random.Random(seed)
            sources = generate(chosen, 400 if seed < n_seeds else 50_000)
            n_steps += len(expected(*sources)[0])
            write(os.path.join(work, str(seed)), sources)
            write(os.path.join(work, f"{seed}-shuffled"), sources, chosen)
            n_failed += check(curb, work, str(seed), sources)
            n_failed += check(curb, work, f"{seed}-shuffled", sources, "--shards", str(chosen.choice([2, 3, 4])))
    print(f"enforcement-evaluation: {n_seeds + 1} seeds in two orders of arrival, {n_steps} steps, {n_failed} differences")
    sys.exit(1 if n_failed else 0)


if __name__ == "__main__":
    main()
