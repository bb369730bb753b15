#!/usr/bin/env python3
"""Runs the SQL of `sql/safe-riding` as one batch in DuckDB and compares with the oracle (needs `pip install duckdb`).

    second_opinion.py PACK INPUT_DIR

The views are the pack's own text; only what DuckDB spells otherwise is replaced (see `REPLACED`): `FOR SYSTEM_TIME AS OF`
becomes an ASOF join, instants become UTC timestamps, calendar functions become macros for UTC+8, and sinks over CHANGES
are read off the tables that they follow. So a mistake of meaning in the pack shows without any engine of ours.
"""

import glob
import os
import re
import sys
from datetime import datetime, timedelta

import duckdb

from safe_riding import PARTY_ACTIONS, SOURCES, WHITE_SPACE, expected
from replay_sources import read_sources

TYPES = {"text": "VARCHAR", "timestamp": "TIMESTAMP", "date": "DATE", "int": "INT", "double": "DOUBLE", "boolean": "BOOLEAN"}
MACROS = [
    "CREATE MACRO year_month(t) AS strftime(t + INTERVAL 8 HOUR, '%Y-%m')",
    "CREATE MACRO local_date(t) AS CAST(t + INTERVAL 8 HOUR AS DATE)",
    "CREATE MACRO add_months(t, n) AS (t + INTERVAL 8 HOUR) + to_months(n) - INTERVAL 8 HOUR",
    "CREATE MACRO age_in_years(b, d) AS year(d) - year(b) - CASE WHEN (month(d), day(d)) < (month(b), day(b)) THEN 1 ELSE 0 END",
    f"CREATE MACRO unicode_trim(s) AS trim(s, '{WHITE_SPACE}')",
]
REPLACED = [
    (r"LEFT JOIN identities FOR SYSTEM_TIME AS OF c\.captured_at AS i ON i\.plate = c\.plate",
     "ASOF LEFT JOIN identities AS i ON i.plate = c.plate AND c.captured_at >= i.valid_from"),
    (r"LEFT JOIN disposal_policy FOR SYSTEM_TIME AS OF c\.captured_at AS p ON TRUE",
     "ASOF LEFT JOIN disposal_policy AS p ON c.captured_at >= p.effective_from"),
    (r"last_value\((\w+) ORDER BY", r"last(\1 ORDER BY"),
    (r"window_start,\s*window_end,", "time_bucket(INTERVAL '1 hour', p.passed_at) AS window_start, window_start + INTERVAL 1 HOUR AS window_end,"),
    (r"tumble\((.*?), INTERVAL '1 hour'\)", r"time_bucket(INTERVAL '1 hour', \1)"),
    (r"EMIT FINAL", ""),
]


def statements(pack):
    """The named queries of a pack as (name, DuckDB SQL)."""
    for path in sorted(glob.glob(os.path.join(pack, "*.sql"))):
        with open(path, encoding="utf-8") as file:
            text = re.sub(r"--[^\n]*", "", file.read())
        for statement in text.split(";"):
            match = re.match(r"\s*CREATE (VIEW|TABLE|SINK) (\w+)(.*?)\bAS\s+(SELECT.*)", statement, re.S)
            if match and "CHANGES(" not in statement:
                query = match[4]
                for pattern, replacement in REPLACED:
                    query = re.sub(pattern, replacement, query, flags=re.S)
                yield match[2] + ("_sink" if match[1] == "SINK" else ""), query


def moment(ms):
    """An instant as DuckDB takes it."""
    return None if ms is None else datetime(1970, 1, 1) + timedelta(milliseconds=ms)


def load(database, content):
    """The final content of all sources."""
    for source in SOURCES:
        columns = ", ".join(f"{name} {TYPES[kind]}" for name, kind in source.columns.items())
        database.execute(f"CREATE TABLE {source.name} ({columns})")
        rows = [r.row for r in content.streams[source.name]] if source.stream else content.tables[source.name].values()
        values = [[moment(row[n]) if kind == "timestamp" else row[n] for n, kind in source.columns.items()] for row in rows]
        if values:
            database.executemany(f"INSERT INTO {source.name} VALUES ({', '.join('?' * len(source.columns))})", values)


def rows_of(database, relation):
    """A relation as dictionaries, instants in milliseconds."""
    result = database.execute(f"SELECT * FROM {relation}")
    names = [column[0] for column in result.description]
    for values in result.fetchall():
        yield {n: (v - datetime(1970, 1, 1)) // timedelta(milliseconds=1) if isinstance(v, datetime) else v
               for n, v in zip(names, values)}


def check(pack, input_dir):
    """The number of rows that differ, printed with the first few."""
    want = expected(input_dir)
    database = duckdb.connect()
    for macro in MACROS:
        database.execute(macro)
    load(database, read_sources(input_dir, SOURCES))
    pending = dict(statements(pack))
    while pending:  # in whatever order they build on each other
        before = len(pending)
        for name, query in list(pending.items()):
            try:
                database.execute(f"CREATE TABLE {name} AS {query}")
                del pending[name]
            except duckdb.CatalogException as error:
                reason = error
        if len(pending) == before:
            raise reason
    bad = 0
    for relation, key, content in (
        ("issued_disposals", "action_id", {k: v for k, v in want.actions.items() if v["action"] not in PARTY_ACTIONS}),
        ("issued_party_notices", "action_id", {k: v for k, v in want.actions.items() if v["action"] in PARTY_ACTIONS}),
        ("reviews_sink", "capture_id", want.reviews),
        ("integrity_scores_sink", "person_id", want.integrity_scores),
        ("household_proposals_sink", "household_id", want.household_proposals),
        ("helmet_rates_sink", ("window_start", "town"), want.helmet_rates),
    ):
        rows = list(rows_of(database, relation))
        have = {tuple(r[k] for k in key) if isinstance(key, tuple) else r[key]: r for r in rows}
        wrong = [k for k in all_keys(content, have) if differs(content.get(k), have.get(k))]
        print(f"{relation}: {len(rows)} rows, {len(wrong) + len(rows) - len(have)} differ")
        for k in wrong[:5]:
            print("  expected", content.get(k), "\n  found   ", have.get(k))
        bad += len(wrong) + len(rows) - len(have)
    return bad


def all_keys(want, have):
    """All keys."""
    return sorted({*want, *have}, key=str)


def differs(want, have):
    """Whether two rows differ in a column that both know."""
    return want is None or have is None or any(want[n] != v for n, v in have.items() if n in want)


if __name__ == "__main__":
    sys.exit(1 if check(sys.argv[1], sys.argv[2]) else 0)
