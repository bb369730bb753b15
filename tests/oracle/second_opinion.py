#!/usr/bin/env python3
"""Runs the SQL of `sql/safe-riding` as one batch in another engine and compares with the oracle.

    second_opinion.py duckdb|datafusion INPUT_DIR...      (pip install duckdb, or datafusion pyarrow)

The queries are the pack's own text; only what the engine lacks is replaced (`replaced`): `FOR SYSTEM_TIME AS OF` becomes a join
with the version in force, `tumble` an hour, calendar functions come from here, and `CHANGES(t)` is all of `t` at revision 1. So
a mistake of meaning in the pack shows without any engine of ours.
"""

import glob
import os
import re
import sys
from datetime import datetime, timedelta

import safe_riding as oracle
from replay_sources import read_sources

PACK = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "sql", "safe-riding")
EPOCH = datetime(1970, 1, 1)
IDENTITIES = r"LEFT JOIN identities FOR SYSTEM_TIME AS OF c\.captured_at AS i ON i\.plate = c\.plate"
POLICY = r"LEFT JOIN disposal_policy FOR SYSTEM_TIME AS OF c\.captured_at AS p ON TRUE"


class DuckDb:
    """DuckDB: instants are UTC timestamps without zone, calendar functions are macros for UTC+8."""

    types = {"text": "VARCHAR", "timestamp": "TIMESTAMP", "date": "DATE", "int": "INT", "double": "DOUBLE", "boolean": "BOOLEAN"}
    replaced = [
        (IDENTITIES, "ASOF LEFT JOIN identities AS i ON i.plate = c.plate AND c.captured_at >= i.valid_from"),
        (POLICY, "ASOF LEFT JOIN disposal_policy AS p ON c.captured_at >= p.effective_from"),
        (r"last_value\((\w+) ORDER BY", r"last(\1 ORDER BY"),
        (r"window_start,\s*window_end,", "date_trunc('hour', p.passed_at) AS window_start, window_start + INTERVAL 1 HOUR AS window_end,"),
        (r"tumble\((.*?), INTERVAL '1 hour'\)", r"date_trunc('hour', \1)"),
        (r"EMIT FINAL", ""),
        (r"FROM CHANGES\((\w+)\)", r"FROM (SELECT CASE WHEN false THEN t END AS before, t AS after, 1 AS revision FROM \1 AS t)"),
    ]
    macros = [
        "year_month(t) AS strftime(t + INTERVAL 8 HOUR, '%Y-%m')",
        "local_date(t) AS CAST(t + INTERVAL 8 HOUR AS DATE)",
        "add_months(t, n) AS (t + INTERVAL 8 HOUR) + to_months(n) - INTERVAL 8 HOUR",
        "age_in_years(b, d) AS year(d) - year(b) - CASE WHEN (month(d), day(d)) < (month(b), day(b)) THEN 1 ELSE 0 END",
        f"unicode_trim(s) AS trim(s, '{oracle.WHITE_SPACE}')",
    ]

    def __init__(self):
        import duckdb

        self.database, self.not_yet = duckdb.connect(), duckdb.CatalogException
        for macro in self.macros:
            self.database.execute(f"CREATE MACRO {macro}")

    def load(self, source, rows):
        """Creates a source with its content."""
        columns = ", ".join(f"{name} {self.types[kind]}" for name, kind in source.columns.items())
        self.database.execute(f"CREATE TABLE {source.name} ({columns})")
        values = [[None if row[n] is None else EPOCH + timedelta(milliseconds=row[n]) if kind == "timestamp" else row[n]
                   for n, kind in source.columns.items()] for row in rows]
        if values:
            self.database.executemany(f"INSERT INTO {source.name} VALUES ({', '.join('?' * len(source.columns))})", values)

    def define(self, name, query):
        """Evaluates a named query; raises `not_yet` if a relation that it reads is not defined."""
        self.database.execute(f"CREATE TABLE {name} AS {query}")

    def rows(self, name):
        """A relation as dictionaries, instants in milliseconds."""
        result = self.database.execute(f"SELECT * FROM {name}")
        names = [column[0] for column in result.description]
        return [{n: (v - EPOCH) // timedelta(milliseconds=1) if isinstance(v, datetime) else v for n, v in zip(names, row)}
                for row in result.fetchall()]


class DataFusion:
    """Stock DataFusion with the types that the pack has; calendar functions are those of the oracle."""

    replaced = [
        (IDENTITIES, "LEFT JOIN (SELECT *, lead(valid_from) OVER (PARTITION BY plate ORDER BY valid_from) AS until FROM identities) AS i"
                     " ON i.plate = c.plate AND c.captured_at >= i.valid_from AND (i.until IS NULL OR c.captured_at < i.until)"),
        (POLICY, "LEFT JOIN (SELECT *, lead(effective_from) OVER (ORDER BY effective_from) AS until FROM disposal_policy) AS p"
                 " ON c.captured_at >= p.effective_from AND (p.until IS NULL OR c.captured_at < p.until)"),
        (r"window_start,\s*window_end,", "hour_of(p.passed_at) AS window_start, hour_of(p.passed_at) + INTERVAL '1 hour' AS window_end,"),
        (r"tumble\((.*?), INTERVAL '1 hour'\)", r"hour_of(\1)"),
        (r"EMIT FINAL", ""),
        (r"CHANGES\((\w+)\)", r'"changes(\1)"'),
    ]

    def __init__(self):
        import pyarrow
        from datafusion import SessionConfig, SessionContext

        self.arrow, self.not_yet = pyarrow, NotYet
        config = SessionConfig().set("datafusion.execution.target_partitions", "1")
        self.context = SessionContext(config.set("datafusion.execution.time_zone", "Asia/Shanghai"))
        instant, text, day = pyarrow.timestamp("ms", "Asia/Shanghai"), pyarrow.string_view(), pyarrow.date32()
        self.types = {"text": text, "timestamp": instant, "date": day, "int": pyarrow.int32(), "double": pyarrow.float64(),
                      "boolean": pyarrow.bool_()}
        self.function("year_month", oracle.year_month, [instant], text)
        self.function("local_date", lambda t: oracle.local(t).date(), [instant], day)
        self.function("add_months", oracle.add_months, [instant, pyarrow.int64()], instant)
        self.function("age_in_years", oracle.age_in_years, [day, day], pyarrow.int64())
        self.function("unicode_trim", lambda s: s.strip(oracle.WHITE_SPACE), [text], text)
        self.function("hour_of", lambda t: t // oracle.HOUR_MS * oracle.HOUR_MS, [instant], instant)

    def function(self, name, function, inputs, output):
        """Registers a function of values; null in, null out; instants are milliseconds."""
        from datafusion import udf

        def kernel(*arrays):
            columns = [(a.cast(self.arrow.int64()) if self.arrow.types.is_timestamp(a.type) else a).to_pylist() for a in arrays]
            n_rows = max(map(len, columns))
            columns = [column * n_rows if len(column) == 1 else column for column in columns]
            return self.column([None if None in row else function(*row) for row in zip(*columns)], output)

        self.context.register_udf(udf(kernel, inputs, output, "immutable", name))

    def column(self, values, kind):
        """An array; instants are given in milliseconds."""
        if self.arrow.types.is_timestamp(kind):
            return self.arrow.array(values, type=self.arrow.int64()).cast(kind)
        return self.arrow.array(values, type=kind)

    def load(self, source, rows):
        """Creates a source with its content."""
        columns = {n: self.column([row[n] for row in rows], self.types[kind]) for n, kind in source.columns.items()}
        self.context.register_record_batches(source.name, [[self.arrow.record_batch(columns)]])

    def define(self, name, query):
        """Evaluates a named query, and makes the changes of a table."""
        try:
            frame = self.context.sql(query)
        except Exception as error:
            if re.search(r"table .* not found", str(error)):
                raise NotYet(str(error)) from error
            raise
        table = frame.to_arrow_table().combine_chunks()
        batch = self.arrow.record_batch([c.combine_chunks() for c in table.columns], schema=table.schema)
        self.context.register_record_batches(name, [[batch]])
        after = batch.to_struct_array()
        changes = {"before": self.arrow.nulls(len(after), after.type), "after": after,
                   "revision": self.arrow.array([1] * len(after), type=self.arrow.int64())}
        self.context.register_record_batches(f"changes({name})", [[self.arrow.record_batch(changes)]])

    def rows(self, name):
        """A relation as dictionaries, instants in milliseconds."""
        table = self.context.table(name).to_arrow_table()
        for index, column in enumerate(table.schema):
            if self.arrow.types.is_timestamp(column.type):
                table = table.set_column(index, column.name, table[column.name].cast(self.arrow.int64()))
        return table.to_pylist()


class NotYet(Exception):
    """A relation is not defined yet."""


def queries(replaced):
    """The named queries of the pack in the engine's words; sinks are named `<sink>_sink`."""
    found = {}
    for path in sorted(glob.glob(os.path.join(PACK, "*.sql"))):
        with open(path, encoding="utf-8") as file:
            text = re.sub(r"--[^\n]*", "", file.read())
        for statement in text.split(";"):
            match = re.match(r"\s*CREATE (VIEW|TABLE|SINK) (\w+)(.*?)\bAS\s+(SELECT.*)", statement, re.S)
            if match:
                query = match[4]
                for pattern, replacement in replaced:
                    query = re.sub(pattern, replacement, query, flags=re.S)
                found[match[2] + ("_sink" if match[1] == "SINK" else "")] = query
    return found


def evaluate(engine, content):
    """Loads the sources and defines all queries, in whatever order they build on each other."""
    for source in oracle.SOURCES:
        rows = [r.row for r in content.streams[source.name]] if source.stream else list(content.tables[source.name].values())
        engine.load(source, rows)
    pending = queries(engine.replaced)
    while pending:
        before, reason = len(pending), None
        for name, query in list(pending.items()):
            try:
                engine.define(name, query)
                del pending[name]
            except engine.not_yet as error:
                reason = error
        if len(pending) == before:
            raise reason


def differences(want, have):
    """Keys whose rows differ in a column that both know."""
    return [k for k in sorted({*want, *have}, key=str) if k not in want or k not in have
            or any(n in want[k] and want[k][n] != v for n, v in have[k].items())]


def check(engine, input_dir):
    """The number of rows that differ; they are printed, five a sink."""
    want, n_wrong = oracle.expected(input_dir), 0
    evaluate(engine, read_sources(input_dir, oracle.SOURCES))
    party = {k: v for k, v in want.actions.items() if v["action"] in oracle.PARTY_ACTIONS}
    for sink, key, content in (
        ("disposal_actions", ("action_id",), {k: v for k, v in want.actions.items() if k not in party}),
        ("party_actions", ("action_id",), party),
        ("reviews", ("capture_id",), want.reviews),
        ("integrity_scores", ("person_id",), want.integrity_scores),
        ("household_proposals", ("household_id",), want.household_proposals),
        ("helmet_rates", ("window_start", "town"), want.helmet_rates),
    ):
        rows = engine.rows(f"{sink}_sink")
        have = {tuple(row[name] for name in key): row for row in rows}
        content = {k if isinstance(k, tuple) else (k,): v for k, v in content.items()}
        wrong = differences(content, have)
        n_wrong += len(wrong) + len(rows) - len(have)
        print(f"{input_dir}: {sink}: {len(rows)} rows, {len(wrong)} differ, {len(rows) - len(have)} keys come twice")
        for k in wrong[:5]:
            print(f"  expected {content.get(k)}\n  found    {have.get(k)}")
    return n_wrong


if __name__ == "__main__":
    make = {"duckdb": DuckDb, "datafusion": DataFusion}[sys.argv[1]]
    sys.exit(1 if sum(check(make(), directory) for directory in sys.argv[2:]) else 0)
