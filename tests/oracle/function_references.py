#!/usr/bin/env python3
"""Reference values for Curb's functions, computed by programs that know nothing of Curb.

    function_references.py --accidents accidents_west_yorkshire_2024.ndjson --to tests/data/functions

Needs scipy, mpmath, h3, chinesecalendar, python-stdnum, haversine and shapely from PyPI. The same versions give the same
files; the tests in `src/functions` read them. Versions used: scipy 1.17.1, mpmath 1.4.1, h3 4.5.0, chinesecalendar 1.11.0,
python-stdnum 2.2, haversine 2.9.0, shapely 2.2.0.

Poisson tails, and negative binomial ones of small means, are computed with 60 digits by mpmath and must agree with scipy as
far as scipy can be right: its negative binomial has lost half of its digits at a dispersion of 1e-9, its Poisson tail a
third at a mean of a million.
"""

import argparse
import json
import math
import os
import random
from collections import Counter, defaultdict
from datetime import date, timedelta

import chinese_calendar
import h3
from haversine import Unit, haversine
from mpmath import gammainc, mp, mpf
from scipy.stats import nbinom, poisson
from shapely import wkt
from shapely.geometry import Point
from stdnum.cn import ric

EPDO = {"fatal": 10, "serious": 5, "slight": 1}


def write(folder, name, header, rows):
    with open(os.path.join(folder, name), "w", encoding="utf-8") as out:
        out.write(header + "\n")
        for row in rows:
            out.write(",".join("" if v is None else repr(v) if isinstance(v, float) else str(v) for v in row) + "\n")


def close(exact, scipys, what):
    """The exact value, after a look at scipy's."""
    exact = float(exact)
    assert abs(exact - scipys) <= 1e-5 * exact, (what, exact, scipys)
    return exact


def negative_binomial_tail(k, mean, dispersion):
    """The sum of the probabilities above k."""
    r, q = 1 / dispersion, mean * dispersion / (1 + mean * dispersion)
    p, n, tail = (1 - q) ** r, 0, mpf(0)
    while n <= k or p > tail * mpf(10) ** -25:
        tail += p if n > k else 0
        p *= (n + r) / (n + 1) * q
        n += 1
    return tail


def tails(folder):
    mp.dps = 60
    lambdas = [1e-9, 0.001, 0.1, 0.5, 1.0, 2.5, 7.0, 20.0, 99.5, 1e3, 12345.6, 1e6]
    rows = []
    for lam in lambdas:
        spread = math.sqrt(lam)
        for k in sorted({-1, 0, 1, 2, 5, 13, *(max(0, round(lam + s * spread)) for s in (-4, -1, 0, 1, 3, 8, 20))}):
            p = float(poisson.sf(k, lam))
            if p > 1e-290:
                exact = mpf(1) if k < 0 else gammainc(k + 1, 0, mpf(lam), regularized=True)
                rows.append((k, lam, close(exact, p, (k, lam))))
    write(folder, "poisson_sf.csv", "k,lambda,sf", rows)
    rows = []
    for mean in [0.01, 0.7, 3.0, 25.0, 400.0, 30000.0]:
        for dispersion in [1e-9, 1e-4, 0.05, 0.4, 1.0, 3.0, 50.0]:
            r = 1 / dispersion
            p = r / (r + mean)
            sd = math.sqrt(mean + dispersion * mean * mean)
            for k in sorted({-1, 0, 1, 3, 10, *(max(0, round(mean + s * sd)) for s in (-2, -0.5, 0, 1, 4, 10))}):
                sf = float(nbinom.sf(k, r, p))
                if sf <= 1e-290 or (mean > 3 and dispersion < 1e-4):
                    continue
                if mean <= 3:
                    exact = negative_binomial_tail(k, mpf(mean), mpf(dispersion))
                    sf = close(exact, sf, (k, mean, dispersion))
                rows.append((k, mean, dispersion, sf))
    write(folder, "negative_binomial_sf.csv", "k,mean,dispersion,sf", rows)


def cells(folder, accidents):
    rng = random.Random(3)
    points = [(a["lon"], a["lat"]) for a in rng.sample(accidents, 40)]
    points += [(rng.uniform(-180, 180), math.degrees(math.asin(rng.uniform(-1, 1)))) for _ in range(40)]
    points += [(0.0, 90.0), (0.0, -90.0), (180.0, 0.0), (-180.0, 0.0), (179.9999, 66.5), (116.3, 37.43), (0.0, 0.0)]
    rows = []
    for lon, lat in points:
        res = rng.randrange(16)
        cell = h3.latlng_to_cell(lat, lon, res)
        parent_res = rng.randrange(res + 1)
        c_lat, c_lon = h3.cell_to_latlng(cell)
        rows.append((lon, lat, res, cell, parent_res, h3.cell_to_parent(cell, parent_res), c_lon, c_lat))
    write(folder, "h3_cells.csv", "lon,lat,res,cell,parent_res,parent,center_lon,center_lat", rows)
    pentagon = sorted(h3.get_pentagons(8))[0]
    disks, distances = [], []
    for cell in [pentagon] + [row[3] for row in rows[:30]]:
        k = rng.randrange(5)
        disk = sorted(h3.grid_disk(cell, k))
        disks.append((cell, k, " ".join(disk)))
        other = rng.choice(disk)
        try:
            distances.append((cell, other, h3.grid_distance(cell, other)))
        except Exception:
            pass  # H3 finds no distance across a pentagon.
    write(folder, "h3_disks.csv", "cell,k,disk", disks)
    write(folder, "h3_distances.csv", "a,b,distance", distances)


def gi_star(values):
    """Getis-Ord Gi* with binary weights over k-ring 1 and the cell itself, as in domain.md section 4."""
    n = len(values)
    mean = sum(values.values()) / n
    s = math.sqrt(sum(v * v for v in values.values()) / n - mean * mean)
    out = {}
    for cell in values:
        near = [values[c] for c in h3.grid_disk(cell, 1) if c in values]
        w = len(near)
        out[cell] = (sum(near) - mean * w) / (s * math.sqrt((n * w - w * w) / (n - 1)))
    return out


def hotspots(folder, accidents):
    n, epdo = Counter(), defaultdict(float)
    for a in accidents:
        cell = h3.latlng_to_cell(a["lat"], a["lon"], 8)
        n[cell] += 1
        epdo[cell] += EPDO[a["severity"]]
    z_n, z_epdo = gi_star(n), gi_star(epdo)
    write(folder, "gi_star.csv", "cell,n,epdo,z_n,z_epdo", [(c, n[c], int(epdo[c]), z_n[c], z_epdo[c]) for c in sorted(n)])


def working_days(folder):
    first, last = date(2024, 1, 1), date(2026, 12, 31)
    days = [first + timedelta(i) for i in range((last - first).days + 1)]
    write(folder, "calendar.csv", "day,working", [(d, int(chinese_calendar.is_workday(d))) for d in days])
    rng = random.Random(5)
    rows = []
    for _ in range(300):
        start, n = rng.choice(days), rng.randrange(-12, 13)
        step, left, day = (1 if n > 0 else -1), abs(n), start
        while left and first <= day <= last:
            day += timedelta(step)
            if first <= day <= last and chinese_calendar.is_workday(day):
                left -= 1
        rows.append((start, n, day if first <= day <= last else None))
    write(folder, "add_working_days.csv", "day,n,result", rows)
    rows = []
    for _ in range(100):
        a = rng.choice(days)
        b = rng.choice(days) if rng.random() < 0.5 else min(last, a + timedelta(rng.randrange(0, 20)))
        low, high = min(a, b), max(a, b)
        n = sum(chinese_calendar.is_workday(d) for d in days if low < d <= high)
        rows.append((a, b, n if a <= b else -n))
    write(folder, "working_days_between.csv", "a,b,n", rows)


def resident_ids(folder):
    rng = random.Random(7)
    rows = []
    for _ in range(200):
        division = rng.choice(["110105", "330522", "330483", "370100", "371400", "370402", "520502", "420114"])
        born = date(1930, 1, 1) + timedelta(rng.randrange(33_000))
        body = f"{division}{born:%Y%m%d}{rng.randrange(1, 1000):03}"
        number = body + ric.calc_check_digit(body + "0")
        if rng.random() < 0.4:
            at = rng.randrange(6, 18)
            number = number[:at] + rng.choice("0123456789X") + number[at + 1:]
        try:
            # Not `validate`: it knows only some of the divisions.
            if ric.calc_check_digit(number) != number[-1]:
                raise ValueError("check character")
            rows.append((number, 1, ric.get_birth_date(number), "male" if int(number[16]) % 2 else "female"))
        except Exception:
            rows.append((number, 0, None, None))
    write(folder, "resident_ids.csv", "id,valid,birth_date,sex", rows)


def distances(folder):
    rng = random.Random(11)
    rows = []
    for i in range(60):
        lon, lat = rng.uniform(-180, 180), rng.uniform(-89, 89)
        near = 0.001 if i % 3 == 0 else 1.0 if i % 3 == 1 else 400.0
        other_lon, other_lat = lon + rng.uniform(-near, near), lat + rng.uniform(-near, near)
        if not (-180 <= other_lon <= 180 and -90 <= other_lat <= 90):
            other_lon, other_lat = rng.uniform(-180, 180), rng.uniform(-90, 90)
        rows.append((lon, lat, other_lon, other_lat, haversine((lat, lon), (other_lat, other_lon), unit=Unit.METERS)))
    write(folder, "haversine.csv", "lon1,lat1,lon2,lat2,metres", rows)


POLYGONS = {
    "square": "POLYGON ((0 0, 10 0, 10 10, 0 10, 0 0))",
    "with_hole": "POLYGON ((0 0, 10 0, 10 10, 0 10, 0 0), (3 3, 3 7, 7 7, 7 3, 3 3))",
    "star": "POLYGON ((5 0, 6 4, 10 5, 6 6, 5 10, 4 6, 0 5, 4 4, 5 0))",
    "two": "MULTIPOLYGON (((0 0, 4 0, 4 4, 0 4, 0 0)), ((6 6, 10 6, 10 10, 6 10, 6 6), (7 7, 7 9, 9 9, 9 7, 7 7)))",
}


def polygons(folder):
    rng = random.Random(13)
    rows = []
    for name, text in POLYGONS.items():
        shape = wkt.loads(text)
        points = [(float(x), float(y)) for x in range(-1, 12, 2) for y in range(-1, 12, 2)]
        points += [(rng.uniform(-1, 11), rng.uniform(-1, 11)) for _ in range(40)]
        # Corners and edges.
        points += [(0.0, 0.0), (5.0, 0.0), (10.0, 10.0), (3.0, 5.0), (7.0, 7.0), (5.0, 5.0), (8.0, 7.0), (4.0, 4.0)]
        rows += [(name, x, y, int(shape.covers(Point(x, y)))) for x, y in points]
    write(folder, "point_in_polygon.csv", "polygon,x,y,inside", rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--accidents", required=True)
    parser.add_argument("--to", required=True)
    args = parser.parse_args()
    with open(args.accidents, encoding="utf-8") as lines:
        accidents = [json.loads(line) for line in lines]
    tails(args.to)
    cells(args.to, accidents)
    hotspots(args.to, accidents)
    working_days(args.to)
    resident_ids(args.to)
    distances(args.to)
    polygons(args.to)


if __name__ == "__main__":
    main()
