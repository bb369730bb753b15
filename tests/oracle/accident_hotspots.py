"""The pack sql/accident-hotspots on the accidents of West Yorkshire against values that another program computed.

    accident_hotspots.py CURB

The reference values are those of the formula of Getis and Ord with binary weights over k-ring 1 and the cell itself, over
the cells with at least one accident, computed with the Python package h3.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
PACK = os.path.join(HERE, "../../sql/accident-hotspots")
DATA = os.path.join(HERE, "../data/accidents_west_yorkshire_2024.ndjson")
N_CELLS = 1250
# By value and score: mean and standard deviation, the highest scores, how many are above 1.96 and 2.576.
WANTED = {
    ("n", "z_count"): ((3.2480, 3.5839), {"881942cce5fffff": 13.1368, "881942cdd9fffff": 11.6568, "881942c5d5fffff": 11.3396}, (147, 117)),
    ("epdo", "z_epdo"): ((7.2248, 8.0041), {"881942cce5fffff": 11.7593, "881942cdd9fffff": 9.5819, "881942c58bfffff": 9.5346}, (145, 113)),
}


def main():
    """Replays and compares."""
    problems = []
    with tempfile.TemporaryDirectory() as work:
        os.makedirs(os.path.join(work, "in"))
        os.symlink(DATA, os.path.join(work, "in", "accidents.ndjson"))
        replay = [sys.argv[1], "replay", PACK, "--from", os.path.join(work, "in"), "--to", os.path.join(work, "out"), "--time-zone", "Europe/London"]
        subprocess.run(replay, check=True, capture_output=True)
        with open(os.path.join(work, "out", "hotspot_scores.ndjson"), encoding="utf-8") as file:
            rows = [json.loads(line) for line in file]
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
    print("accident-hotspots:", "; ".join(problems) or f"{len(rows)} cells as the reference has them")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
