"""The pack sql/accident-hotspots on the accidents of West Yorkshire against values that another program computed.

    accident_hotspots.py CURB

The reference values of the scores are those of the formula of Getis and Ord with binary weights over k-ring 1 and the cell
itself, over the cells with at least one accident, computed with the Python package h3.

The alerts are computed here a second time, from what the rules say and not from how the pack does it: every count is taken anew
over all accidents, episodes and hotspots are followed step by step, and the tails are sums of probabilities. H3 cells come from
the Python package h3 where it is installed, else from the functions of CURB.
"""

import bisect
import itertools
import json
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

HERE = os.path.dirname(os.path.abspath(__file__))
PACK = os.path.join(HERE, "../../sql/accident-hotspots")
DATA = os.path.join(HERE, "../data/accidents_west_yorkshire_2024.ndjson")
ZONE = ZoneInfo("Europe/London")
N_CELLS = 1250
# By value and score: mean and standard deviation, the highest scores, how many are above 1.96 and 2.576.
WANTED = {
    ("n", "z_count"): ((3.2480, 3.5839), {"881942cce5fffff": 13.1368, "881942cdd9fffff": 11.6568, "881942c5d5fffff": 11.3396}, (147, 117)),
    ("epdo", "z_epdo"): ((7.2248, 8.0041), {"881942cce5fffff": 11.7593, "881942cdd9fffff": 9.5819, "881942c58bfffff": 9.5346}, (145, 113)),
}

WINDOW_DAYS, BASELINE_DAYS, N_MIN, ALPHA, CLEAR_ABOVE, SAME_EVENT_MINUTES = 90, 365, 3, 0.01, 0.05, 10
PRIOR_MEAN, PRIOR_ACCIDENTS, DISPERSION_MAX, OVERDISPERSION_FROM = 1.0, 25.0, 2.0, 1.5
WEIGHTS = {"fatal": 10, "serious": 5, "slight": 1}
UNTIL = "2025-01-01T00:00:00Z"
DAY = timedelta(days=1)
NEVER = (datetime.max.replace(tzinfo=timezone.utc),)


def main():
    """Replays and compares."""
    with open(DATA, encoding="utf-8") as file:
        lines = [line for line in file if line.strip()]
    accidents = [json.loads(line) for line in lines]
    problems = []
    with tempfile.TemporaryDirectory() as work:
        replayed = replay(PACK, lines, work, "whole")
        problems += check_scores(replayed["hotspot_scores"])
        cells, disks = grid(accidents, work)
        messages, present = alerts(accidents, cells, disks)
        problems += check_alerts(replayed["hotspot_alerts"], messages)
        problems += check_sequences(replayed["hotspot_alerts"])
        problems += check_cap(replayed["hotspot_cap_alerts"], replayed["hotspot_alerts"])
        until = replay(PACK, lines, work, "until", "--until", UNTIL)
        problems += check_present(until["hotspots"], present)
        # Arrival out of order, by less than the day that the pack waits.
        late = sorted(zip(accidents, lines), key=lambda pair: at(pair[0]) + DAY * random.Random(pair[0]["accident_id"]).random())
        if replay(PACK, [line for _, line in late], work, "late")["hotspot_alerts"] != replayed["hotspot_alerts"]:
            problems.append("accidents that come late make other alerts")
    n_new = sum(m["status"] == "new" for m in messages)
    print("accident-hotspots:", "; ".join(problems) or f"{N_CELLS} cells and {n_new} hotspots with {len(messages)} alerts as the reference has them")
    sys.exit(1 if problems else 0)


def replay(pack, lines, work, name, *options):
    """The sinks of a replay, by name."""
    source, target = os.path.join(work, name, "in"), os.path.join(work, name, "out")
    os.makedirs(source)
    with open(os.path.join(source, "accidents.ndjson"), "w", encoding="utf-8") as file:
        file.writelines(lines)
    command = [sys.argv[1], "replay", pack, "--from", source, "--to", target, "--time-zone", str(ZONE), *options]
    subprocess.run(command, check=True, capture_output=True)
    sinks = {}
    for entry in os.listdir(target):
        if entry.endswith(".ndjson"):
            with open(os.path.join(target, entry), encoding="utf-8") as file:
                sinks[entry.removesuffix(".ndjson")] = [json.loads(line) for line in file]
    return sinks


def check_scores(rows):
    """The scores of the year."""
    problems = []
    if len(rows) != N_CELLS or {r["window_start"] for r in rows} != {"2024-01-01T00:00:00.000+00:00"}:
        problems.append(f"{len(rows)} cells")
    for (value, score), (moments, highest, above) in WANTED.items():
        values = [r[value] for r in rows]
        found = (round(statistics.mean(values), 4), round(statistics.pstdev(values), 4))
        if found != moments:
            problems.append(f"{value}: mean and deviation {found}, not {moments}")
        top = {r["cell"]: round(r[score], 4) for r in sorted(rows, key=lambda r: -r[score])[:3]}
        if top != highest:
            problems.append(f"{score}: {top}, not {highest}")
        counts = tuple(sum(r[score] > z for r in rows) for z in (1.96, 2.576))
        if counts != above:
            problems.append(f"{score}: {counts} above, not {above}")
    return problems


# === the alerts, a second time ===


def grid(accidents, work):
    """The cell of each accident, and the cells within one and two steps of each."""
    try:
        import h3
    except ImportError:
        return grid_of_curb(accidents, work)
    cells = {a["accident_id"]: h3.latlng_to_cell(a["lat"], a["lon"], 9) for a in accidents}
    near = {cell: set(h3.grid_disk(cell, 1)) for cell in set(cells.values())}
    return cells, (near, {cell: set(h3.grid_disk(cell, 2)) for cell in near})


def grid_of_curb(accidents, work):
    """The same from the functions of the engine, which have tests of their own."""
    pack = os.path.join(work, "grid")
    os.makedirs(pack)
    with open(os.path.join(pack, "grid.sql"), "w", encoding="utf-8") as file:
        file.write(
            "CREATE STREAM accidents (accident_id VARCHAR, occurred_at TIMESTAMP WITH TIME ZONE, lon DOUBLE, lat DOUBLE)"
            " WITH (topic = 'accidents', format = 'json', event_time = 'occurred_at', watermark_delay = '1 day');"
            " CREATE SINK cells WITH (topic = 'cells', format = 'json') AS SELECT accident_id, cell, h3_disk(cell, 1) AS near,"
            " h3_disk(cell, 2) AS wide FROM (SELECT accident_id, h3_cell(lon, lat, 9) AS cell FROM accidents) AS a;"
        )
    rows = replay(pack, [json.dumps(a) + "\n" for a in accidents], work, "cells")["cells"]
    cells = {r["accident_id"]: r["cell"] for r in rows}
    return cells, ({r["cell"]: set(r["near"]) for r in rows}, {r["cell"]: set(r["wide"]) for r in rows})


def at(accident):
    return datetime.fromisoformat(accident["occurred_at"]).astimezone(timezone.utc)


def from_clock(local):
    """The instant at which the zone's clock shows a time; the end of the gap if it never does."""
    instant = local.replace(tzinfo=ZONE).astimezone(timezone.utc)
    while instant.astimezone(ZONE).replace(tzinfo=None) > local and instant.astimezone(ZONE).utcoffset() == (
        instant - timedelta(minutes=1)
    ).astimezone(ZONE).utcoffset():
        instant -= timedelta(minutes=1)
    return instant


def add_days(instant, days):
    return from_clock(instant.astimezone(ZONE).replace(tzinfo=None) + DAY * days)


def month_start(instant, months=0):
    local = instant.astimezone(ZONE)
    years, month = divmod(local.year * 12 + local.month - 1 + months, 12)
    return from_clock(datetime(years, month + 1, 1))


class Region:
    """What the months before say of all neighbourhoods."""

    def __init__(self, accidents, cells, near):
        self.cells, self.near = cells, near
        self.times = sorted((at(a), cells[a["accident_id"]]) for a in accidents)
        self.known = {}

    def before(self, instant):
        """The figures that hold at an instant: of the last month that ended two days before, if any."""
        end = month_start(add_days(instant, -2))
        for age in range(3):
            figures = self.figures(month_start(end, -age))
            if figures:
                return figures
        return None

    def figures(self, end):
        if end not in self.known:
            start = month_start(end, -12)
            counts = Counter(cell for t, cell in self.times if start <= t < end)
            self.known[end] = None
            if counts:
                around = [sum(counts[c] for c in self.near[cell]) for cell in counts]
                years = (end - max(start, self.times[0][0])) / (365 * DAY)
                self.known[end] = (len(around), sum(n - 1 for n in around), statistics.pvariance(around), years)
        return self.known[end]


def expectation(region, instant, n_before):
    """The number of accidents to expect in a window, and the dispersion where it is negative binomial."""
    usual, k, seen = PRIOR_MEAN, 0.0, 0.0
    figures = region.before(instant)
    if figures:
        n_cells, others, variance, years = figures
        belief = others / (others + PRIOR_ACCIDENTS)
        usual = math.exp((1 - belief) * math.log(PRIOR_MEAN) + belief * math.log(max(PRIOR_MEAN, others / n_cells / years)))
        mean = max(others / n_cells, usual * years)
        k = belief * min(DISPERSION_MAX, max(0.0, (variance - mean) / mean**2))
        seen = min(BASELINE_DAYS, max(0.0, (instant - region.times[0][0]) / DAY - WINDOW_DAYS)) / 365
    # The mean of the gamma distribution that the region suggests, after what was seen here.
    baseline = usual * (1 + k * n_before) / (1 + k * usual * seen) * WINDOW_DAYS / 365
    return baseline, k / (1 + k * n_before) if k > 0 and 1 + k * usual > OVERDISPERSION_FROM else None


def tail(n, mean, dispersion):
    """The probability of n or more."""
    if dispersion is None:
        below = [math.exp(-mean + i * math.log(mean) - math.lgamma(i + 1)) for i in range(n)]
    else:
        size = 1 / dispersion
        below = [
            math.exp(
                math.lgamma(size + i) - math.lgamma(size) - math.lgamma(i + 1)
                - size * math.log1p(mean / size) + i * math.log(mean / (mean + size))
            )
            for i in range(n)
        ]
    return 1 - math.fsum(below)


def alerts(accidents, cells, disks):
    """All messages in order, and the hotspots that are open at `UNTIL`."""
    near, wide = disks
    region = Region(accidents, cells, {cell: near[cell] for cell in near})
    by_cell = defaultdict(list)
    for a in accidents:
        t = at(a)
        leaves = add_days(t, WINDOW_DAYS)
        spans = [(t, 1, a["accident_id"]), (leaves, 0, a["accident_id"]), (add_days(t, WINDOW_DAYS + BASELINE_DAYS), 0, a["accident_id"])]
        by_cell[cells[a["accident_id"]]].append((a, *spans))
    episodes = [e for cell in sorted(near) for e in episodes_of(cell, [s for c in near[cell] for s in by_cell.get(c, ())], region)]
    hotspots = hotspots_of(episodes, wide)
    messages = [m for name, members in hotspots.items() for m in messages_of(name, members, region)]
    return sorted(messages, key=lambda m: m["alert_id"]), present_of(hotspots, near, by_cell, region)


def episodes_of(cell, spans, region):
    """The episodes of a neighbourhood, each with its steps."""
    found, current = [], None
    for place in sorted(itertools.chain.from_iterable(s[1:] for s in spans)):
        inside = sorted(((s[1], s[0]) for s in spans if s[1] <= place < s[2]), key=lambda pair: pair[0])
        n_before = sum(s[2] <= place < s[3] for s in spans)
        baseline, dispersion = expectation(region, place[0], n_before)
        n = len(inside)
        p = tail(n, baseline, dispersion)
        if current is None:
            back = sum(((place[0] - i[0][0]) / timedelta(minutes=1) for i in inside), 0.0)
            is_own = any(region.cells[a["accident_id"]] == cell for _, a in inside)
            if place[1] != 1 or n < N_MIN or p >= ALPHA or not is_own or back <= (n - 1) * SAME_EVENT_MINUTES:
                continue
            current = {"cell": cell, "opened": place, "cleared": NEVER, "steps": []}
            found.append(current)
        step = {"place": place, "cell": cell, "n": n, "baseline": baseline, "p": p, "dispersion": dispersion, "inside": [a for _, a in inside]}
        current["steps"].append(step)
        if p > CLEAR_ABOVE:
            current["cleared"] = place
            current = None
    return found


def hotspots_of(episodes, wide):
    """The episodes by hotspot: connected in time and at most two cells apart."""
    by_cell = defaultdict(list)
    for e in episodes:
        by_cell[e["cell"]].append(e)
    hotspots, seen = {}, set()
    for first in sorted(episodes, key=lambda e: (e["opened"], e["cell"])):
        if id(first) in seen:
            continue
        members, todo = [], [first]
        seen.add(id(first))
        while todo:
            e = todo.pop()
            members.append(e)
            for f in itertools.chain.from_iterable(by_cell[c] for c in wide[e["cell"]]):
                if id(f) not in seen and f["opened"] < e["cleared"] and e["opened"] < f["cleared"]:
                    seen.add(id(f))
                    todo.append(f)
        hotspots[f"{first['cell']}/{first['opened'][0].astimezone(ZONE).date()}"] = members
    return hotspots


def messages_of(name, members, region):
    """What is told of a hotspot."""
    end = max(e["cleared"] for e in members)
    steps = [s for e in members for s in e["steps"] if s["place"] == end or s["place"][1] == 1 and s["place"] != e["cleared"]]
    told = []
    for place in sorted({s["place"] for s in steps}):
        speaks = min((s for s in steps if s["place"] == place), key=lambda s: (s["p"], -s["n"], s["cell"]))
        local = place[0].astimezone(ZONE)
        figures = region.before(place[0])
        told.append({
            "alert_id": f"{local:%Y%m%dT%H%M%S}/{name}/{place[2]}",
            "hotspot_id": name,
            "status": "cleared" if place == end else "updated" if told else "new",
            "changed_at": place[0],
            "cell": speaks["cell"],
            "cells": sorted(e["cell"] for e in members if e["opened"] <= place <= e["cleared"]),
            "n": speaks["n"], "baseline": speaks["baseline"], "p": speaks["p"], "dispersion": speaks["dispersion"],
            "evidence": [a["accident_id"] for a in speaks["inside"]],
            "epdo": sum(WEIGHTS[a["severity"]] for a in speaks["inside"]),
            "n_cells": figures[0] if figures else None,
            "expected_by_chance": figures[0] * speaks["p"] if figures else None,
        })
    return told


def present_of(hotspots, near, by_cell, region):
    """The hotspots that are open at `UNTIL`: accidents until then are known, and the watermark is there."""
    now = (datetime.fromisoformat(UNTIL.replace("Z", "+00:00")), 2)
    rows = []
    for name, members in hotspots.items():
        last = [[s for s in e["steps"] if s["place"] <= now][-1] for e in members if e["opened"] <= now < e["cleared"]]
        if not last:
            continue
        strongest = min(last, key=lambda s: (s["p"], -s["n"], s["cell"]))
        inside = {a["accident_id"]: a for s in last for a in s["inside"]}
        rows.append({
            "hotspot_id": name, "cell": strongest["cell"], "cells": sorted(s["cell"] for s in last),
            "n": strongest["n"], "baseline": strongest["baseline"], "p": strongest["p"],
            "n_accidents": len(inside), "epdo": sum(WEIGHTS[a["severity"]] for a in inside.values()), "evidence": sorted(inside),
            "n_cells": region.before(strongest["place"][0])[0],
        })
    rows.sort(key=lambda r: (r["p"], r["hotspot_id"]))
    fdr = 1.0
    for rank in range(len(rows), 0, -1):
        row = rows[rank - 1]
        fdr = min(fdr, row["p"] * row.pop("n_cells") / rank)
        row.update(rank=rank, fdr=fdr)
    return rows


# === comparison ===


def differences(found, wanted, key):
    """What two lists of rows disagree about, in the columns wanted."""
    found, wanted = {r[key]: r for r in found}, {r[key]: r for r in wanted}
    problems = [f"{name} is missing" for name in sorted(wanted.keys() - found.keys())]
    problems += [f"{name} is too many" for name in sorted(found.keys() - wanted.keys())]
    for name in sorted(wanted.keys() & found.keys()):
        for column, value in wanted[name].items():
            got = found[name][column]
            if isinstance(value, datetime):
                same = datetime.fromisoformat(got) == value
            elif isinstance(value, float):
                same = got is not None and math.isclose(got, value, rel_tol=1e-9, abs_tol=1e-12)
            else:
                same = got == value
            if not same:
                problems.append(f"{name}: {column} is {got}, not {value}")
    return problems[:10]


def check_alerts(rows, messages):
    problems = differences(rows, messages, "alert_id")
    if len(rows) != len(messages):
        problems.append(f"{len(rows)} alerts, not {len(messages)}")
    if any(r["revision"] != 1 for r in rows):
        problems.append("a replay revises an alert")
    return problems


def check_present(rows, present):
    return differences(rows, present, "hotspot_id")


def check_sequences(rows):
    """What holds of every hotspot, whatever the numbers."""
    problems, by_hotspot = [], defaultdict(list)
    for r in rows:
        by_hotspot[r["hotspot_id"]].append(r)
        if r["n"] != len(r["evidence"]) or len(set(r["evidence"])) != r["n"]:
            problems.append(f"{r['alert_id']}: n is not the number of the evidence")
        if r["status"] == "new" and not (r["n"] >= N_MIN and r["p"] < ALPHA) or (r["status"] == "cleared") != (r["p"] > CLEAR_ABOVE):
            problems.append(f"{r['alert_id']}: {r['status']} at n {r['n']}, p {r['p']}")
    for name, told in by_hotspot.items():
        states = [r["status"] for r in told]
        if states[0] != "new" or states[-1] != "cleared" or set(states[1:-1]) - {"updated"}:
            problems.append(f"{name}: {states}")
        instants = [datetime.fromisoformat(r["changed_at"]) for r in told]
        if instants != sorted(instants):
            problems.append(f"{name}: not in order")
    return problems[:10]


def check_cap(caps, rows):
    """One message of CAP for each alert, each with the one before it."""
    problems, last, sent = [], {}, {}
    for cap, row in zip(caps, rows, strict=True):
        kind = {"new": "Alert", "updated": "Update", "cleared": "Cancel"}[row["status"]]
        reference = last.get(row["hotspot_id"])
        if (cap["identifier"], cap["msgType"], cap["references"]) != (row["alert_id"], kind, reference):
            problems.append(f"{row['alert_id']}: {cap['identifier']} {cap['msgType']} {cap['references']}")
        if datetime.fromisoformat(cap["sent"]) != datetime.fromisoformat(row["changed_at"]).replace(microsecond=0):
            problems.append(f"{row['alert_id']}: sent {cap['sent']}")
        last[row["hotspot_id"]] = f"{cap['sender']},{cap['identifier']},{cap['sent']}"
    return problems[:10]


if __name__ == "__main__":
    main()
