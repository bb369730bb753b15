"""The pack sql/driver-education against a second implementation: random drivers, penalties, studies and sessions.

    driver_education.py CURB [SEEDS]

Each seed is replayed in two orders of arrival, at several shard counts; what stands at the end must be what the rules below say
of the content. Half of all instants lie on or beside an edge: an anniversary, the start of a day, the bounds of a class.
"""

import calendar
import collections
import datetime
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile

ZONE = datetime.timezone(datetime.timedelta(hours=8))
MINUTE_MS = 60_000
DAY_MS = 24 * 60 * MINUTE_MS
PACK = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../sql/driver-education")
REVIEWED = {"A1", "A2", "A3", "B1", "B2"}
# The keys of what is compared, and the columns that are.
SINKS = {
    "study_obligations": (["obligation_id"], ["kind", "points", "multiple", "arose_at", "opens_at", "due_at", "evidence"]),
    "penalties_in_doubt": (["penalty_id"], ["reason"]),
    "session_attendance": (["enrolment_id", "session_id"], ["mode", "minutes", "status", "reason"]),
    "enrolments_in_doubt": (["enrolment_id"], ["reason"]),
    "study_progress": (["enrolment_id"], ["study_mode", "onsite_done", "online_done", "percent", "completed_on"]),
    "study_completions": (["obligation_id"], ["action", "enrolment_id", "completed_on"]),
    "overdue_studies": (["obligation_id"], ["kind", "due_at"]),
    "inspection_samples": (["level", "enrolment_id", "session_id"], ["draw"]),
    "fraud_cases": (["kind", "key", "month"], ["subjects", "evidence"]),
}


def midnight(day):
    """The first instant of a local day in milliseconds."""
    return int(datetime.datetime(day.year, day.month, day.day, tzinfo=ZONE).timestamp()) * 1000


def local_day(at_ms):
    """The local date of an instant."""
    return datetime.datetime.fromtimestamp(at_ms // 1000, ZONE).date()


def text(at_ms):
    """RFC 3339 with the pack's offset and milliseconds."""
    at = datetime.datetime.fromtimestamp(at_ms // 1000, ZONE)
    return at.strftime("%Y-%m-%dT%H:%M:%S") + f".{at_ms % 1000:03}+08:00"


def anniversary(first, year):
    """The day on which a cycle begins in a year."""
    return datetime.date(year, first.month, min(first.day, calendar.monthrange(year, first.month)[1]))


def as_of(versions, at_ms):
    """The version in force: the one with the greatest beginning that is not behind an instant."""
    begun = [v for v in versions if v[0] <= at_ms]
    return max(begun)[1] if begun else None


# === what the rules say ===

def expected_obligations(w):
    """Obligations by their id, and penalties in doubt."""
    accounts, doubts = collections.defaultdict(list), {}
    for name, (driver, at, code, own) in w["penalties"].items():
        if name in w["voids"]:
            continue
        first = w["drivers"].get(driver)
        scheduled = as_of(w["schedule"].get(code, []), at)
        points = own if own is not None else scheduled
        if not driver:
            doubts[name] = "no_driver"
        elif first is None:
            doubts[name] = "unknown_driver"
        elif local_day(at) < first:
            doubts[name] = "before_first_licence"
        elif points is None:
            doubts[name] = "unknown_offence"
        elif own is not None and scheduled is not None and own != scheduled:
            doubts[name] = "points_disagree"
        elif points < 0 or points > (as_of(w["policy"], at) or {"full": 12})["full"]:
            doubts[name] = "points_out_of_range"
        if name in doubts or points == 0:
            continue
        day = local_day(at)
        year = day.year if anniversary(first, day.year) <= day else day.year - 1
        start, end = anniversary(first, year), anniversary(first, year + 1)
        cleared = [c for c in w["clearances"].get((driver, start), []) if c <= at]
        since = local_day(max(cleared)) if cleared else start
        accounts[driver, start, end, since].append((at, name, points))
    obligations = {}
    for (driver, start, end, since), rows in accounts.items():
        rows.sort()
        total, full_at, review_at = 0, None, None
        for at, _, points in rows:
            rule = as_of(w["policy"], at) or {"full": 12, "review": 1}
            total += points
            if full_at is None and total >= rule["full"]:
                full_at = at
            if review_at is None and total >= rule["review"]:
                review_at = at
        arose = full_at if full_at is not None else review_at
        if arose is None:
            continue
        rule = as_of(w["policy"], arose) or {"full": 12, "due": 15, "max": 8, "classes": REVIEWED, "review_due": 30}
        evidence = [name for _, name, _ in rows]
        if full_at is not None:
            classes = as_of(w["licences"].get(driver, []), arose)
            if classes is not None and not classes:
                continue
            due = midnight(local_day(arose)) + (rule["due"] + 1) * DAY_MS
            row = ("full_marks", total, min(total // rule["full"], rule["max"]), arose, arose, due, evidence)
        else:
            if not set(as_of(w["licences"].get(driver, []), midnight(end)) or []) & set(rule["classes"]):
                continue
            row = ("review", total, 1, arose, midnight(end), midnight(end) + rule["review_due"] * DAY_MS, evidence)
        obligations[f"{driver}/{since}/{row[0]}"] = (*row, driver, start)
    return obligations, doubts


def expected_sessions(w):
    """Sessions with what is wrong with them: (mode, start, minutes, status, reason, is_fault)."""
    spans = {}
    marks_of = collections.defaultdict(list)
    for name, (enrolment, session, site, direction, at, score) in w["marks"].items():
        marks_of[enrolment, session].append((at, name, direction, site, score))
    for key in set(w["bookings"]) | set(marks_of):
        enrolment, session = key
        if enrolment not in w["enrolments"]:
            continue
        site, start, end = w["classes"][session]
        marks = sorted(m for m in marks_of[key] if start - 60 * MINUTE_MS <= m[0] <= end + 60 * MINUTE_MS)
        ins, outs = [m[0] for m in marks if m[2] == "in"], [m[0] for m in marks if m[2] == "out"]
        present = sum(
            max(0, min(b[0], end) - max(a[0], start)) for a, b in zip(marks, marks[1:]) if (a[2], b[2]) == ("in", "out"))
        fault = None
        if not ins and not outs:
            fault = "absent"
        elif any(m[3] != site for m in marks):
            fault = "wrong_site"
        elif not ins:
            fault = "no_check_in"
        elif not outs:
            fault = "no_check_out"
        elif max(outs) < min(ins):
            fault = "wrong_order"
        elif present < 0.9 * (end - start):
            fault = "short_presence"
        bad = any(m[4] is not None and m[4] < 0.8 for m in marks)
        spans[key] = ("onsite", site, start, min(ins, default=None), max(outs, default=None), present, fault, bad)
    for session, (enrolment, device, start, end) in w["lessons"].items():
        if end is None or enrolment not in w["enrolments"]:
            continue
        fault = "wrong_order" if end < start else "too_long" if end - start > 240 * MINUTE_MS else None
        spans[enrolment, session] = ("online", "device " + (device or ""), start, start, end, max(0, end - start), fault, False)
    pictures = collections.defaultdict(list)
    for enrolment, session, score in w["snapshots"].values():
        pictures[enrolment, session].append(score)
    verdicts = {}
    for (enrolment, session, level), verdict in w["inspections"].items():
        rank = {"city": 3, "county": 2}.get(level, 1)
        verdicts[enrolment, session] = max(verdicts.get((enrolment, session), (0, "")), (rank, verdict))
    by_driver = collections.defaultdict(list)
    for key, span in spans.items():
        by_driver[w["enrolments"][key[0]][1]].append((key, span))
    sessions = {}
    for key, (mode, place, start, begun, ended, present, fault, bad) in spans.items():
        others = [
            s[1] != place for k, s in by_driver[w["enrolments"][key[0]][1]]
            if k != key and None not in (begun, ended, s[3], s[4]) and begun < s[4] and s[3] < ended]
        scores = pictures[key]
        reason = fault
        if reason is None:
            if bad or any(s is not None and s < 0.8 for s in scores):
                reason = "face_mismatch"
            elif scores.count(None) >= 2:
                reason = "missing_in_pictures"
            elif others:
                reason = "two_places" if any(others) else "two_at_once"
        verdict = verdicts.get(key, (0, None))[1]
        if verdict == "failed":
            status = "void"
        elif reason is None or verdict == "restored":
            status = "counted"
        elif fault is not None:
            status = "void"
        else:
            status = "counted" if verdict == "passed" else "held"
        sessions[key] = (mode, start, present // MINUTE_MS, status, reason, fault is not None)
    return sessions


def expected(w):
    """What must stand in each sink at the end of input."""
    obligations, doubts = expected_obligations(w)
    sessions = expected_sessions(w)
    out = {sink: {} for sink in SINKS}
    for name, row in obligations.items():
        out["study_obligations"][name,] = (row[0], row[1], row[2], text(row[3]), text(row[4]), text(row[5]), row[6])
    out["penalties_in_doubt"] = {(name,): (reason,) for name, reason in doubts.items()}
    for key, (mode, _, minutes, status, reason, is_fault) in sessions.items():
        out["session_attendance"][key] = (mode, minutes, status, reason)
        for level, share in (("county", 0.1), ("city", 0.02)):
            draw = hashlib.sha256(f"curb/{level}/{key[0]}/{key[1]}".encode()).hexdigest()[:8]
            if not is_fault and int(draw, 16) < int(share * 2**32):
                out["inspection_samples"][level, *key] = (draw,)

    minutes_of = collections.Counter()
    for (enrolment, _), (mode, start, minutes, status, _, _) in sessions.items():
        if status == "counted":
            minutes_of[enrolment, mode, local_day(start)] += minutes
    enrolled, completed = {}, set()
    for name, (obligation, driver, at) in sorted(w["enrolments"].items(), key=lambda e: (e[1][2], e[0])):
        row = obligations.get(obligation)
        reason = None
        if row is None:
            reason = "no_obligation"
        elif row[7] != driver:
            reason = "other_driver"
        elif at < row[4]:
            reason = "too_early"
        elif obligation in enrolled:
            reason = "already_enrolled"
        if reason:
            out["enrolments_in_doubt"][name,] = (reason,)
            continue
        enrolled[obligation] = name
        asked = as_of(w["study_policy"], at) if row[0] == "full_marks" else None
        asked = asked or {"full_marks": (2, 5), "review": (0, 1)}[row[0]]
        asked = [n * row[2] for n in asked]
        done = []
        for mode, n in zip(("onsite", "online"), asked):
            days = sorted(d for (e, m, d), minutes in minutes_of.items()
                          if (e, m) == (name, mode) and minutes >= 180 and d >= local_day(at))
            done.append(days[:n])
        n_done = len(done[0]) + len(done[1])
        last = max(done[0] + done[1]).isoformat() if n_done == sum(asked) else None
        out["study_progress"][name,] = (
            f"{asked[0]}+{asked[1]}", len(done[0]), len(done[1]), 100 * n_done // sum(asked), last)
        if last:
            completed.add(obligation)
            action = "automatic_review" if row[0] == "review" else "exam_admission"
            out["study_completions"][obligation,] = (action, name, last)
    for name, row in obligations.items():
        settled = any(c >= row[3] for c in w["clearances"].get((row[7], row[8]), []))
        waits = name not in completed if row[0] == "review" else name not in enrolled
        if waits and not settled:
            out["overdue_studies"][name,] = (row[0], text(row[5]))

    uses = collections.defaultdict(list)
    for name, (driver, plate, at, payer, device) in w["handlings"].items():
        for kind, key, subject in (("payer", payer, driver), ("device", device, driver), ("licence", driver, plate)):
            if key and subject:
                uses[kind, key, text(at)[:7]].append((at, name, subject))
    for session, (enrolment, device, start, _) in w["lessons"].items():
        if device and enrolment in w["enrolments"]:
            uses["lesson_device", device, text(start)[:7]].append((start, session, w["enrolments"][enrolment][1]))
    for key, rows in uses.items():
        n = len({subject for _, _, subject in rows})
        if n >= (4 if key[0] == "licence" else 3):
            out["fraud_cases"][key] = (n, [name for _, name, _ in sorted(rows)])
    return out


# === sources ===

def generate(c, n):
    """Sources around n drivers."""
    w = collections.defaultdict(dict)
    begin, end = datetime.date(2024, 2, 1), datetime.date(2026, 3, 31)

    def instant(first=None, from_day=begin, to_day=end):
        """An instant, half of them at the start of a day, some of an anniversary."""
        day = from_day + datetime.timedelta(days=c.randrange((to_day - from_day).days))
        if first and c.random() < 0.3:
            day = anniversary(first, day.year)
        return midnight(day) + (c.choice([-1, 0, 0, 1]) if c.random() < 0.5 else c.randrange(DAY_MS))

    w["policy"] = [] if c.random() < 0.5 else [
        (instant(), {"full": 10, "due": 7, "max": 1, "review": 3, "classes": ["A2", "C1"], "review_due": 60})]
    w["study_policy"] = [] if c.random() < 0.5 else [(midnight(begin), (5, 2)), (instant(), (2, 5))]
    w["schedule"] = {"s": [(0, 3), (instant(), 6)], "t": [(instant(), 12)]}
    firsts = [datetime.date(2016, 2, 29), datetime.date(2015, 8, 31), datetime.date(2018, 1, 1), datetime.date(2017, 12, 31), datetime.date(2025, 3, 15)]
    for i in range(n):
        driver = f"d{i}"
        first = c.choice(firsts)
        if c.random() < 0.95:
            w["drivers"][driver] = first
        versions = [(midnight(first), c.choice([["C1"], ["C1"], ["B2", "C1"], ["A2"]]))] if c.random() < 0.9 else []
        if c.random() < 0.3:
            versions.append((instant(first), c.choice([["C1"], ["A1"], []])))
        w["licences"][driver] = versions
        for _ in range(c.randrange(9)):
            name = f"p{len(w['penalties'])}"
            code = c.choice(["s", "s", "t", "u", None])
            points = c.choice([None, None, 3, 6]) if code else c.choice([0, 1, 3, 6, 9, 12, 12, 13, -1])
            w["penalties"][name] = (driver if c.random() < 0.97 else c.choice([None, ""]), instant(first), code, points)
            if c.random() < 0.1:
                w["voids"][name] = instant()
    accounts = {(row[7], row[8], row[3]) for row in expected_obligations(w)[0].values() if row[0] == "full_marks"}
    for driver, start, arose in sorted(accounts):
        if c.random() < 0.3:
            at = arose + c.choice([0, 1, c.randrange(60 * DAY_MS)])
            w["clearances"].setdefault((driver, start), []).append(at)
    for day in range(40):
        start = midnight(begin) + (day * 19 * 24 + 9) * 60 * MINUTE_MS
        w["classes"][f"c{day}"] = (c.choice(["S1", "S2"]), start, start + 180 * MINUTE_MS)
    for name, row in sorted(expected_obligations(w)[0].items()):
        for _ in range(c.choice([0, 1, 1, 1, 2])):
            enrolment = f"e{len(w['enrolments'])}"
            at = row[4] + c.choice([-1, 0, 1, c.randrange(20 * DAY_MS)])
            w["enrolments"][enrolment] = (name if c.random() < 0.95 else "x", row[7] if c.random() < 0.95 else "x", at)
            studies(c, w, enrolment, at)
    for i in range(3 * n):
        w["handlings"][f"h{i}"] = (
            f"d{c.randrange(n)}", c.choice([None, "贵F00001", "贵F00002", "贵F00003", "贵F00004"]), instant(),
            c.choice([None, "", f"y{c.randrange(n // 4 + 1)}"]), c.choice([None, f"z{c.randrange(n // 4 + 1)}"]))
    return w


def studies(c, w, enrolment, at):
    """What somebody does behind an enrolment."""
    for session, (site, start, end) in w["classes"].items():
        if start < at - 20 * DAY_MS or c.random() < 0.4 or start > at + 150 * DAY_MS:
            continue
        if c.random() < 0.5:
            w["bookings"][enrolment, session] = at
        near = lambda t: t + c.choice([0, 0, -60 * MINUTE_MS, 60 * MINUTE_MS, -60 * MINUTE_MS - 1, 60 * MINUTE_MS + 1, 18 * MINUTE_MS, 18 * MINUTE_MS + 1, -17 * MINUTE_MS])  # noqa: E731
        marks = [("in", near(start))] * (c.random() < 0.95) + [("out", near(end))] * (c.random() < 0.95)
        if c.random() < 0.1:
            marks += [("out", start + 60 * MINUTE_MS), ("in", start + 78 * MINUTE_MS)]
        for direction, instant_ms in marks:
            w["marks"][f"m{len(w['marks'])}"] = (
                enrolment, session, site if c.random() < 0.97 else "S9", direction, instant_ms, c.choice([None, 0.8, 0.9, 0.9, 0.79 if c.random() < 0.1 else 0.95]))
        watch(c, w, enrolment, session)
    for i in range(c.randrange(14)):
        session = f"l{len(w['lessons'])}"
        start = midnight(local_day(at)) + (i + c.randrange(-1, 3)) * DAY_MS + c.choice([0, 8, 9, 20]) * 60 * MINUTE_MS
        length = c.choice([180, 180, 180, 240, 90]) * MINUTE_MS + c.choice([0, 0, 0, -1, 1])
        w["lessons"][session] = (enrolment, c.choice([None, "k" + enrolment, "k" + enrolment, f"k{c.randrange(8)}"]), start, None if c.random() < 0.05 else start + length * (-1 if c.random() < 0.02 else 1))
        watch(c, w, enrolment, session)


def watch(c, w, enrolment, session):
    """Pictures of a session, and what posts say of it."""
    for _ in range(c.randrange(4)):
        w["snapshots"][f"s{len(w['snapshots'])}"] = (enrolment, session, c.choice([0.8, 0.9, 0.95, 0.95, 0.79 if c.random() < 0.2 else None]))
    for level in ("site", "county", "city"):
        if c.random() < 0.06:
            w["inspections"][enrolment, session, level] = c.choice(["passed", "failed", "restored"])


def write(directory, w, c):
    """The sources as files, in an order of arrival."""
    os.makedirs(directory)
    at = lambda t: None if t is None else text(t)  # noqa: E731
    day = lambda d: d.isoformat()  # noqa: E731
    some = text(midnight(datetime.date(2026, 3, 1)))
    relations = {
        "drivers": [{"driver_id": k, "licensed_on": day(v)} for k, v in w["drivers"].items()],
        "licences": [{"driver_id": k, "valid_from": at(t), "classes": v} for k, vs in w["licences"].items() for t, v in vs],
        "penalties": [{"penalty_id": k, "driver_id": v[0], "occurred_at": at(v[1]), "offence_code": v[2], "points": v[3]} for k, v in w["penalties"].items()],
        "points_schedule": [{"offence_code": k, "effective_from": at(t), "points": v} for k, vs in w["schedule"].items() for t, v in vs],
        "penalty_voids": [{"penalty_id": k, "voided_at": at(v)} for k, v in w["voids"].items()],
        "clearances": [{"driver_id": k[0], "cycle_started_on": day(k[1]), "cleared_at": at(v)} for k, vs in w["clearances"].items() for v in vs],
        "obligation_policy": [{"effective_from": at(t), "full_marks": p["full"], "full_marks_due_days": p["due"], "multiple_max": p["max"], "review_points": p["review"], "review_classes": p["classes"], "review_due_days": p["review_due"]} for t, p in w["policy"]],
        "study_policy": [{"kind": "full_marks", "effective_from": at(t), "onsite_days": p[0], "online_days": p[1], "onsite_minutes": 180, "online_minutes": 180} for t, p in w["study_policy"]],
        "enrolments": [{"enrolment_id": k, "obligation_id": v[0], "driver_id": v[1], "enrolled_at": at(v[2])} for k, v in w["enrolments"].items()],
        "classes": [{"class_id": k, "site_id": v[0], "starts_at": at(v[1]), "ends_at": at(v[2])} for k, v in w["classes"].items()],
        "bookings": [{"enrolment_id": k[0], "class_id": k[1], "booked_at": at(v)} for k, v in w["bookings"].items()],
        "attendance_marks": [{"mark_id": k, "enrolment_id": v[0], "class_id": v[1], "site_id": v[2], "direction": v[3], "marked_at": at(v[4]), "match_score": v[5]} for k, v in w["marks"].items()],
        "online_lessons": [{"lesson_id": k, "enrolment_id": v[0], "device_id": v[1], "started_at": at(v[2]), "ended_at": at(v[3])} for k, v in w["lessons"].items()],
        "snapshots": [{"snapshot_id": k, "enrolment_id": v[0], "session_id": v[1], "taken_at": some, "match_score": v[2]} for k, v in w["snapshots"].items()],
        "session_inspections": [{"enrolment_id": k[0], "session_id": k[1], "level": k[2], "inspected_at": some, "verdict": v} for k, v in w["inspections"].items()],
        "handlings": [{"handling_id": k, "driver_id": v[0], "plate": v[1], "handled_at": at(v[2]), "payer_id": v[3], "device_id": v[4]} for k, v in w["handlings"].items()],
    }
    for name, rows in relations.items():
        c.shuffle(rows)
        with open(os.path.join(directory, name + ".ndjson"), "w", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)


def found(directory, sink):
    """What stands in a sink at the end."""
    keys, columns = SINKS[sink]
    rows = {}
    with open(os.path.join(directory, sink + ".ndjson"), encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            key = tuple(row[k] for k in keys)
            if "_tombstone" in row or ("revision" in row and row["status"] == "withdrawn"):
                del rows[key]
            else:
                rows[key] = tuple(row[column] for column in columns)
    return rows


def main():
    """Runs all seeds."""
    curb, n_seeds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 4
    n_rows, n_failed = collections.Counter(), 0
    with tempfile.TemporaryDirectory() as work:
        for seed in range(n_seeds):
            chosen = random.Random(seed)
            w = generate(chosen, 60)
            wanted = expected(w)
            for order in range(2):
                source, out = (os.path.join(work, f"{seed}-{order}{end}") for end in ("", ".out"))
                write(source, w, chosen)
                shards = str(chosen.choice([1, 2, 3, 4]))
                subprocess.run([curb, "replay", PACK, "--from", source, "--to", out, "--shards", shards], check=True, capture_output=True)
                for sink in SINKS:
                    rows = found(out, sink)
                    n_rows[sink] += len(rows)
                    keys = [k for k in {**rows, **wanted[sink]} if rows.get(k) != wanted[sink].get(k)]
                    if keys:
                        n_failed += 1
                        print(f"seed {seed}, order {order}: {sink}: {len(keys)} rows differ")
                        for key in sorted(keys)[:3]:
                            print(f"  {key}: {rows.get(key)}, wanted {wanted[sink].get(key)}")
    rows = ", ".join(f"{sink} {n}" for sink, n in n_rows.items())
    print(f"driver-education: {n_seeds} seeds in two orders of arrival, {n_failed} differences; rows: {rows}")
    sys.exit(1 if n_failed else 0)


if __name__ == "__main__":
    main()
