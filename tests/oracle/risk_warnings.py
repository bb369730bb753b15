"""The warnings of sql/traffic-command against a second implementation, over random roads, events, weather and policies.

    risk_warnings.py CURB [SEEDS]

Half of the instants and places lie on or beside an edge: of an hour, a day, a month, a segment. The files are shuffled, and replayed
at one, two and four shards; what stands at the end must be the same.
"""

import json
import math
import os
import random
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from datetime import date, datetime, timedelta

PACK = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../sql/traffic-command")
MS = timedelta(milliseconds=1)
HOUR = timedelta(hours=1)
CLASSES = ["car", "coach", "heavy_truck", None]
DEFAULTS = {
    "history_months": 12, "observed_from": None, "n_min": 3, "ratio_min": 2.0, "lead_minutes": 60, "night_from": 20, "night_to": 6,
    "action_day_step": 5, "segments_per_hour": 3, "segments_per_action_hour": 5,
}


def text(at):
    """An instant on the zone's clock as the pack writes it."""
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}+08:00"


def month_of(at):
    """The first instant of the month."""
    return datetime(at.year, at.month, 1)


def add_months(month, n):
    """The first instant of the month n months later."""
    years, months = divmod(month.year * 12 + month.month - 1 + n, 12)
    return datetime(years, months + 1, 1)


def as_of(versions, at):
    """The version in force, or none; versions are pairs of an instant and a value."""
    begun = [v for v in versions if v[0] <= at]
    return max(begun, key=lambda v: v[0])[1] if begun else None


def poisson_sf(k, mean):
    """The probability of more than k."""
    term = total = math.exp(-mean)
    for i in range(1, k + 1):
        term *= mean / i
        total += term
    # The tail by its own sum, for small ones are lost in 1 - total.
    tail, i = 0.0, k
    term = math.exp(-mean + (k + 1) * math.log(mean) - math.lgamma(k + 2))
    while term > tail * 1e-18:
        tail += term
        i += 1
        term *= mean / (i + 1)
    return tail


# === the world ===


def generate(c):
    """Random sources."""
    w = defaultdict(list)
    for road in ("G1", "G2"):
        for direction in ("up", "down"):
            at = 0
            for i in range(c.randint(2, 5)):
                length = c.choice((500, 1000, 2500))
                w["road_segments"].append(
                    {"segment_id": f"{road}{direction}{i}", "road_id": road, "direction": direction, "from_m": at, "to_m": at + length,
                     "brigade_id": c.choice(("B1", "B2"))}
                )
                at += length + c.choice((0, 0, 300))
    day = date(2026, 2, 26)
    while day <= date(2026, 4, 3):
        w["calendar"].append({"day": day.isoformat(), "working": c.random() < 0.7})
        day += timedelta(days=1)
    hours = [(c.randint(0, 6), c.choice((0, 5, 6, 8, 18, 19, 20, 23))) for _ in range(4)]

    def instant():
        at = datetime(2024, 12, 1) + timedelta(days=c.randint(0, 480))
        if c.random() < 0.25:
            return month_of(at) - c.choice((MS, MS * 0))
        weekday, hour = c.choice(hours)
        at += timedelta(days=(weekday - at.weekday()) % 7, hours=hour)
        return at + c.choice((MS * 0, HOUR - MS, HOUR, -MS, timedelta(minutes=30)))

    def event(name, i, fields):
        s = c.choice(w["road_segments"][: c.choice((2, 6, 99))])
        place = c.choice((s["from_m"], s["to_m"], s["to_m"] - 0.1, (s["from_m"] + s["to_m"]) / 2, None))
        w[name].append(
            {**fields, "occurred_at": instant(), "road_id": s["road_id"], "direction": c.choice((s["direction"],) * 5 + ("up",)),
             "chainage_m": place, "vehicle_class": c.choice(CLASSES)}
        )

    for i in range(c.randint(50, 250)):
        event("accidents", i, {"accident_id": f"A{i}"})
    for i in range(c.randint(50, 250)):
        event("violations", i, {"violation_id": f"V{i}", "offence": c.choice(("grave", "light", "unheard", "turning"))})
        if c.random() < 0.1:
            w["violation_voids"].append({"violation_id": f"V{i}", "ground": "misread", "voided_at": datetime(2026, 4, 1)})
    w["offences"] = [
        {"offence": "grave", "effective_from": datetime(2020, 1, 1), "serious": True},
        {"offence": "light", "effective_from": datetime(2020, 1, 1), "serious": False},
        {"offence": "turning", "effective_from": datetime(2020, 1, 1), "serious": False},
        {"offence": "turning", "effective_from": datetime(2025, 7, 1), "serious": True},
    ]
    for s in w["road_segments"]:
        for valid_from in {datetime(2026, 3, c.randint(5, 31), c.randint(0, 23)) - c.choice((MS, MS * 0)) for _ in range(c.randint(0, 6))}:
            w["segment_weather"].append(
                {"segment_id": s["segment_id"], "valid_from": valid_from, "valid_until": valid_from + HOUR * c.choice((1, 2, 30)),
                 "weather": c.choice(("rain", "fog", "dust"))}
            )
    for weather in ("rain", "fog"):
        for effective_from in (datetime(2025, 1, 1), datetime(2026, 3, 15)):
            w["weather_factors"].append({"weather": weather, "effective_from": effective_from, "factor": c.choice((0.5, 1.4, 3.0))})
    for effective_from in c.sample([datetime(2026, 2, 1), datetime(2026, 3, 1), datetime(2026, 3, 10, 8), datetime(2026, 3, 20)], c.randint(0, 3)):
        w["risk_policy"].append(
            {"effective_from": effective_from, "history_months": c.randint(1, 14),
             "observed_from": c.choice((None, "2025-05-01", "2025-06-10", "2025-06-02", "2025-06-30")), "n_min": c.randint(1, 4), "ratio_min": c.choice((0.7, 1.5, 3.0)),
             "lead_minutes": c.choice((0, 90)), "night_from": c.choice((18, 20)), "night_to": c.choice((5, 6)),
             "action_day_step": c.choice((5, 10)), "segments_per_hour": c.randint(1, 3), "segments_per_action_hour": c.randint(2, 4)}
        )
    return w


# === what follows from it ===


def expected(w):
    """The warnings by kind, segment and hour, and the patrols by brigade, hour and rank."""
    segments = {s["segment_id"]: s for s in w["road_segments"]}
    length = {i: (s["to_m"] - s["from_m"]) / 1000 for i, s in segments.items()}
    policies = [(p["effective_from"], p) for p in w["risk_policy"]]
    working = {date.fromisoformat(d["day"]): d["working"] for d in w["calendar"]}
    offences = defaultdict(list)
    for o in w["offences"]:
        offences[o["offence"]].append((o["effective_from"], o["serious"]))
    voided = {v["violation_id"] for v in w["violation_voids"]}
    events = [("accident", a) for a in w["accidents"]]
    events += [
        ("violation", v) for v in w["violations"] if v["violation_id"] not in voided and as_of(offences[v["offence"]], v["occurred_at"])
    ]
    placed = []
    for kind, e in events:
        for s in segments.values():
            same = (s["road_id"], s["direction"]) == (e["road_id"], e["direction"])
            if same and e["chainage_m"] is not None and s["from_m"] <= e["chainage_m"] < s["to_m"]:
                placed.append((kind, s["segment_id"], e["occurred_at"], e["vehicle_class"]))
    warnings, plans = {}, defaultdict(dict)
    for month in sorted({month_of(datetime(d.year, d.month, 1)) for d in working if d.day == 1}):
        policy = as_of(policies, month) or DEFAULTS
        since = add_months(month, -policy["history_months"])
        if policy["observed_from"]:
            observed = datetime.fromisoformat(policy["observed_from"])
            since = max(since, observed if observed.day == 1 else add_months(month_of(observed), 1))
        weeks = (month - since) / timedelta(weeks=1)
        history = [(k, s, at, v) for k, s, at, v in placed if since <= month_of(at) < month]
        counts = Counter((k, at.weekday(), at.hour, s) for k, s, at, v in history)
        classes = Counter((k, s, v) for k, s, at, v in history if v)
        for (kind, weekday, hour, segment), n in counts.items():
            all_counts = {s: counts[(kind, weekday, hour, s)] for s in segments}
            rate = sum(all_counts.values()) / sum(length.values())
            squares = sum((x - rate * length[s]) ** 2 for s, x in all_counts.items())
            dispersion = max(0, (squares - sum(all_counts.values())) / sum((rate * length[s]) ** 2 for s in segments))
            usual = rate * length[segment]
            weight = 1 / (1 + dispersion * usual)
            expectation = weight * usual + (1 - weight) * n
            best = sorted((-m, v) for (k, s, v), m in classes.items() if (k, s) == (kind, segment))
            for day, is_worked in working.items():
                if (day.year, day.month, day.weekday()) != (month.year, month.month, weekday):
                    continue
                start = datetime(day.year, day.month, day.day, hour)
                current = as_of(policies, start) or DEFAULTS
                factor, weather = weather_of(w, segment, start)
                if n < current["n_min"] or expectation * factor < current["ratio_min"] * usual:
                    continue
                # A ratio that lies on the threshold to the last digit depends on the order of additions.
                is_close = abs(expectation * factor - current["ratio_min"] * usual) < 1e-9
                assert not is_close, "a ratio on its threshold: choose other numbers"
                ratio = expectation * factor / usual
                warnings[kind, segment, text(start)] = {
                    "n": n, "usual": usual, "expected": expectation * factor, "ratio": ratio,
                    "expected_per_hour": expectation * factor / weeks, "p": poisson_sf(n - 1, usual), "weather": weather,
                    "focus_class": best[0][1] if best else None, "brigade_id": segments[segment]["brigade_id"],
                }
                plans[segments[segment]["brigade_id"], start][kind, segment] = ratio
    return warnings, patrols(plans, warnings, working, policies)


def weather_of(w, segment, start):
    """The factor and the weather of an hour."""
    last = start + HOUR - MS
    versions = [(x["valid_from"], x) for x in w["segment_weather"] if x["segment_id"] == segment]
    known = as_of(versions, last)
    if known is None or known["valid_until"] <= start:
        return 1.0, None
    factor = as_of([(f["effective_from"], f["factor"]) for f in w["weather_factors"] if f["weather"] == known["weather"]], last)
    return 1.0 if factor is None else factor, known["weather"]


def patrols(plans, warnings, working, policies):
    """The recommended segments by brigade, hour and rank."""
    found = {}
    for (brigade, start), ratios in plans.items():
        policy = as_of(policies, start) or DEFAULTS
        day = start.date()
        is_early, is_evening = start.hour < policy["night_to"], start.hour >= policy["night_from"]
        morning = day if is_early else day + timedelta(days=1)
        is_before_rest = (is_early or is_evening) and not working.get(morning, True)
        is_action_day = day.day % policy["action_day_step"] == 0
        n = policy["segments_per_action_hour" if is_action_day or is_before_rest else "segments_per_hour"]
        segments = {s for _, s in ratios}
        order = sorted(
            segments, key=lambda s: (-ratios.get(("accident", s), -1), -ratios.get(("violation", s), -1), s)
        )
        for rank, segment in enumerate(order[:n], 1):
            focus = [warnings[k, segment, text(start)]["focus_class"] for k in ("accident", "violation") if (k, segment) in ratios]
            found[brigade, text(start), rank] = {
                "segment_id": segment, "accident_ratio": ratios.get(("accident", segment)),
                "violation_ratio": ratios.get(("violation", segment)), "focus_class": next((f for f in focus if f), None),
                "is_rest_day": not working[day], "is_night": is_early or is_evening, "is_action_day": is_action_day,
            }
    return found


# === comparison ===


def write(directory, w, c):
    """The sources as files, shuffled."""
    for name, rows in w.items():
        rows = [{k: text(v) if isinstance(v, datetime) else v for k, v in row.items()} for row in rows]
        c.shuffle(rows)
        with open(os.path.join(directory, f"{name}.ndjson"), "w", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)


def lines(directory, sink):
    """The rows of a sink."""
    with open(os.path.join(directory, f"{sink}.ndjson"), encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def found(directory):
    """What stands at the end."""
    warnings, recommended = {}, {}
    for row in sorted(lines(directory, "risk_warnings"), key=lambda r: r["revision"]):
        key = (row["kind"], row["segment_id"], row["hour_start"])
        warnings.pop(key, None)
        if row["status"] == "issued":
            warnings[key] = row
    for row in lines(directory, "patrol_recommendations"):
        key = (row["brigade_id"], row["hour_start"], row["rank"])
        recommended.pop(key, None)
        if not row.get("_tombstone"):
            recommended[key] = row
    return warnings, recommended


def differences(name, wanted, got):
    """What differs, as sentences."""
    problems = [f"{name} {key} is missing" for key in wanted.keys() - got.keys()]
    problems += [f"{name} {key} should not be there" for key in got.keys() - wanted.keys()]
    for key in wanted.keys() & got.keys():
        for column, value in wanted[key].items():
            is_number = isinstance(value, float) and got[key][column] is not None
            same = math.isclose(value, got[key][column], rel_tol=1e-9) if is_number else value == got[key][column]
            if not same:
                problems.append(f"{name} {key}: {column} is {got[key][column]} instead of {value}")
    return problems


def main():
    """Replays random worlds and compares."""
    curb, seeds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 20
    n_warnings = n_patrols = 0
    for seed in range(seeds):
        c = random.Random(seed)
        w = generate(c)
        wanted_warnings, wanted_patrols = expected(w)
        n_warnings, n_patrols = n_warnings + len(wanted_warnings), n_patrols + len(wanted_patrols)
        for shards in ("1", "2", "4"):
            with tempfile.TemporaryDirectory() as work:
                source, out = os.path.join(work, "in"), os.path.join(work, "out")
                os.makedirs(source)
                write(source, w, c)
                subprocess.run([curb, "replay", PACK, "--from", source, "--to", out, "--shards", shards], check=True, capture_output=True)
                warnings, recommended = found(out)
            problems = differences("warning", wanted_warnings, warnings) + differences("patrol", wanted_patrols, recommended)
            if problems:
                print(f"seed {seed}, {shards} shards: {len(problems)} differences", *sorted(problems)[:10], sep="\n  ")
                sys.exit(1)
    print(f"risk warnings: {seeds} worlds, {n_warnings} warnings and {n_patrols} patrols as expected")


if __name__ == "__main__":
    main()
