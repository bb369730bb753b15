#!/usr/bin/env python3
"""Replays fixed queries over fixed data and compares every sink with what DuckDB says of the same rows.

    fixed_queries.py CURB       CURB is the binary; exit code 1 if any query differs

`fixed_queries/pack` holds the queries, `fixed_queries/duckdb.sql` the same ones in DuckDB's words. DuckDB's Python package is
installed once into ${CURB_TEST_CACHE:-$HOME/.cache/curb-tests}/duckdb.
"""

import json
import math
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from datetime import date, datetime, timedelta, timezone

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fixed_queries")
DUCKDB = "2.0.1"
EPOCH = datetime(1970, 1, 1)
START = datetime(2024, 3, 28, 20, tzinfo=timezone.utc)
ITEMS = ["apple", "pear", "plum", "grape"]
# By relation its columns in DuckDB's types, and its key; a stream has none.
RELATIONS = {
    "orders": ("order_id VARCHAR, customer VARCHAR, item VARCHAR, amount DOUBLE, qty BIGINT, paid BOOLEAN, placed_at TIMESTAMP, tags VARCHAR[]",
               ["order_id"]),
    "customers": ("customer VARCHAR, region VARCHAR, credit BIGINT", ["customer"]),
    "prices": ("item VARCHAR, valid_from TIMESTAMP, price BIGINT", ["item", "valid_from"]),
    "bands": ("band BIGINT, low DOUBLE, high DOUBLE", ["band"]),
    "clicks": ("click_id BIGINT, customer VARCHAR, page VARCHAR, millis BIGINT, clicked_at TIMESTAMP", []),
    "views": ("view_id BIGINT, customer VARCHAR, page VARCHAR, viewed_at TIMESTAMP", []),
}


def in_environment():
    """Starts this program again with a Python that has DuckDB, which is installed if it is not there."""
    cache = os.environ.get("CURB_TEST_CACHE") or os.path.join(os.path.expanduser("~"), ".cache", "curb-tests")
    directory = os.path.join(cache, f"duckdb-{DUCKDB}")
    python = os.path.join(directory, "bin", "python")
    if not os.path.exists(os.path.join(directory, ".complete")):
        shutil.rmtree(directory, ignore_errors=True)
        venv.create(directory, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", f"duckdb=={DUCKDB}"], check=True)
        open(os.path.join(directory, ".complete"), "w", encoding="utf-8").close()
    os.execv(python, [python, os.path.abspath(__file__), *sys.argv[1:]])


def instant(minutes):
    """RFC 3339, now in UTC, now with an offset."""
    zone = timezone(timedelta(hours=8 * (minutes % 2)))
    return (START + timedelta(minutes=minutes)).astimezone(zone).isoformat(timespec="milliseconds")


def records():
    """By relation its records in order, tombstones among them. They are the same always."""
    rng = random.Random(2024)

    def or_null(value):
        return None if rng.random() < 0.08 else value

    orders = []
    for _ in range(400):
        key = f"o{rng.randrange(150)}"
        if rng.random() < 0.1:
            orders.append({"_tombstone": True, "order_id": key})
            continue
        tags = [rng.choice(["new", "gift", "rush"]) for _ in range(rng.randrange(4))]
        orders.append({"order_id": key, "customer": or_null(f"c{rng.randrange(12)}"), "item": rng.choice(ITEMS), "amount": rng.randrange(200) / 4,
                       "qty": or_null(rng.randrange(10)), "paid": or_null(rng.random() < 0.6), "placed_at": or_null(instant(rng.randrange(8000))), "tags": tags})
    customers = [{"customer": f"c{rng.randrange(9)}", "region": or_null(rng.choice(["north", "south"])), "credit": rng.randrange(6)} for _ in range(30)]
    prices = [{"item": rng.choice(ITEMS), "valid_from": instant(rng.randrange(40) * 240), "price": rng.randrange(1, 20)} for _ in range(60)]
    bands = [{"band": n, "low": n * 10.0, "high": n * 10.0 + 12} for n in range(5)]
    clicks, views = [], []
    for n in range(600):
        # Within the delay of the watermark, so that none is late.
        at = instant(n * 11 + rng.randrange(50))
        clicks.append({"click_id": n, "customer": or_null(f"c{rng.randrange(12)}"), "page": rng.choice([*ITEMS, "home"]), "millis": or_null(rng.randrange(100)),
                       "clicked_at": at})
    for n in range(300):
        views.append({"view_id": n, "customer": or_null(f"c{rng.randrange(12)}"), "page": rng.choice([*ITEMS, "home"]),
                      "viewed_at": instant(n * 23 + rng.randrange(50))})
    return {"orders": orders, "customers": customers, "prices": prices, "bands": bands, "clicks": clicks, "views": views}


def comparable(value):
    """Instants as milliseconds, numbers as numbers, so that both programs' ways of writing do not matter."""
    if isinstance(value, (list, tuple)):
        return tuple(comparable(v) for v in value)
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, datetime):
        return (value - EPOCH) // timedelta(milliseconds=1)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", value):
        return comparable(datetime.fromisoformat(value).astimezone(timezone.utc).replace(tzinfo=None))
    if isinstance(value, (int, float)) or hasattr(value, "as_integer_ratio"):
        number = float(value)
        return number if number == 0 else round(number, 12 - int(math.floor(math.log10(abs(number)))))
    return value


def content(name, rows):
    """What a relation holds in the end: all rows of a stream, the latest of each key of a table."""
    key = RELATIONS[name][1]
    if not key:
        return rows
    held = {}
    for row in rows:
        at = tuple(comparable(row[k]) for k in key)
        held.pop(at, None)
        if "_tombstone" not in row:
            held[at] = row
    return list(held.values())


def in_duckdb(data):
    """By query its rows, by DuckDB."""
    import duckdb

    database = duckdb.connect()
    database.execute("CREATE MACRO to_local(t) AS t + INTERVAL 8 HOUR")
    database.execute("CREATE MACRO trunc_local(unit, t) AS date_trunc(unit, t + INTERVAL 8 HOUR) - INTERVAL 8 HOUR")
    for name, (columns, _) in RELATIONS.items():
        database.execute(f"CREATE TABLE {name} ({columns})")
        names = [c.split()[0] for c in columns.split(", ")]
        times = {c.split()[0] for c in columns.split(", ") if c.endswith("TIMESTAMP")}
        values = [[EPOCH + timedelta(milliseconds=comparable(row[n])) if n in times and row[n] else row[n] for n in names] for row in content(name, data[name])]
        database.executemany(f"INSERT INTO {name} VALUES ({', '.join('?' * len(names))})", values)
    with open(os.path.join(HERE, "duckdb.sql"), encoding="utf-8") as file:
        parts = re.split(r"^-- name: (\w+)\n", file.read(), flags=re.M)[1:]
    found = {}
    for name, query in zip(parts[::2], parts[1::2]):
        result = database.execute(query)
        names = [column[0] for column in result.description]
        found[name] = [dict(zip(names, row)) for row in result.fetchall()]
    return found


def in_curb(curb, data, directory):
    """By query its rows, as a replay leaves them."""
    source, target = os.path.join(directory, "in"), os.path.join(directory, "out")
    os.mkdir(source)
    for name, rows in data.items():
        with open(os.path.join(source, f"{name}.ndjson"), "w", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    subprocess.run([curb, "replay", os.path.join(HERE, "pack"), "--from", source, "--to", target], check=True, stdout=subprocess.DEVNULL)
    with open(os.path.join(target, "summary.json"), encoding="utf-8") as file:
        summary = json.load(file)
    for name, counts in summary["sources"].items():
        if counts["late"] or counts["rejected"] or counts["used"] + counts["duplicate"] != counts["read"]:
            sys.exit(f"fixed_queries.py: not every record of {name} was used: {counts}")
    found = {}
    for name in summary["sinks"]:
        with open(os.path.join(target, f"{name}.ndjson"), encoding="utf-8") as file:
            found[name] = [json.loads(line) for line in file]
    return found


def bag(rows):
    """Rows in a comparable form and order."""
    return sorted((tuple(sorted((name, comparable(value)) for name, value in row.items())) for row in rows), key=repr)


def main(curb):
    """The number of queries that differ."""
    data, n_wrong = records(), 0
    with tempfile.TemporaryDirectory() as directory:
        have = in_curb(curb, data, directory)
    want = in_duckdb(data)
    for name in sorted({*have, *want}):
        if name not in have or name not in want:
            print(f"{name}: only {'DuckDB' if name in want else 'Curb'} knows it")
            n_wrong += 1
            continue
        ours, theirs = bag(have[name]), bag(want[name])
        if not theirs or ours != theirs:
            n_wrong += 1
            print(f"{name}: {len(ours)} rows, DuckDB has {len(theirs)}")
            for label, rows, others in (("Curb", ours, theirs), ("DuckDB", theirs, ours)):
                for row in [r for r in rows if r not in others][:5]:
                    print(f"  only {label}: {dict(row)}")
    print(f"{len(want)} queries, {n_wrong} differ from DuckDB")
    return n_wrong


if __name__ == "__main__":
    try:
        import duckdb  # noqa: F401
    except ImportError:
        in_environment()
    sys.exit(1 if main(sys.argv[1]) else 0)
