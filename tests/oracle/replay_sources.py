"""Reads a replay directory as the contract of `curb replay` describes it.

Independent of the engine: plain Python, one dictionary a table. `read_sources(directory, declarations)` returns the
final content of every table, the records of every stream in reading order with the watermark that held, and per source
the counts `read`, `used`, `duplicate`, `late`, `rejected`.

Reading order: tables without event time first, in order of declaration. The other files are one partition each; the
next record is the one with the smallest event time among the files' heads (ties by declaration); records without a
readable event time (as tombstones) are taken at once. An epoch is 100,000 records over all files; watermarks move
between epochs only. A record is counted under the first that holds of rejected, duplicate, late, used; late for streams
is decided by whoever reads them (see `StreamRecord.watermark`).
"""

import heapq
import json
import math
import os
import re
from dataclasses import dataclass, field
from datetime import date

EPOCH_RECORDS = 100_000
DAY_MS = 86_400_000
EPOCH_ORDINAL = date(1970, 1, 1).toordinal()

RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:([Zz])|([+-])(\d\d):(\d\d))$"
)


class Rejected(Exception):
    """The record cannot be decoded; the text says why."""


@dataclass(frozen=True)
class Source:
    """A declared source. `columns` are the columns in use, with their types; others are neither decoded nor compared."""

    name: str
    key: tuple
    columns: dict
    stream: bool = False
    not_null: tuple = ()
    event_time: str | None = None
    watermark_delay_ms: int = 0
    retention_ms: int | None = None
    unique_for_ms: int | None = None


@dataclass
class Counts:
    """What became of the records of a source."""

    read: int = 0
    used: int = 0
    duplicate: int = 0
    late: int = 0
    rejected: int = 0


@dataclass
class StreamRecord:
    """A record of a stream that is neither rejected nor a duplicate, with the watermark of its stream at that moment."""

    row: dict
    watermark: float


@dataclass
class Content:
    """What the sources amount to."""

    tables: dict = field(default_factory=dict)
    streams: dict = field(default_factory=dict)
    counts: dict = field(default_factory=dict)
    n_records: int = 0


def parse_instant(text):
    """Milliseconds since the Unix epoch of an RFC 3339 text with offset; further digits are cut."""
    match = RFC3339.match(text) if isinstance(text, str) else None
    if not match:
        raise Rejected(f"not a timestamp: {text!r}")
    year, month, day, hour, minute, second, fraction, zulu, sign, off_hour, off_minute = match.groups()
    try:
        days = date(int(year), int(month), int(day)).toordinal() - EPOCH_ORDINAL
    except ValueError as error:
        raise Rejected(str(error)) from None
    if int(hour) > 23 or int(minute) > 59 or int(second) > 59:
        raise Rejected(f"not a time of day: {text!r}")
    seconds = days * 86_400 + int(hour) * 3_600 + int(minute) * 60 + int(second)
    if not zulu:
        if int(off_hour) > 23 or int(off_minute) > 59:
            raise Rejected(f"not an offset: {text!r}")
        offset = int(off_hour) * 3_600 + int(off_minute) * 60
        seconds -= offset if sign == "+" else -offset
    return seconds * 1_000 + int(((fraction or "") + "000")[:3])


def parse_date(text):
    """A date from `YYYY-MM-DD`."""
    if not isinstance(text, str) or not re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        raise Rejected(f"not a date: {text!r}")
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise Rejected(str(error)) from None


def decode_value(value, kind):
    """One JSON value as a column of this kind; null stays null."""
    if value is None:
        return None
    if kind == "timestamp":
        return parse_instant(value)
    if kind == "date":
        return parse_date(value)
    if kind == "text" and isinstance(value, str):
        return value
    if kind == "boolean" and isinstance(value, bool):
        return value
    if kind == "int" and isinstance(value, int) and not isinstance(value, bool):
        return value
    if kind == "double" and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    raise Rejected(f"not of type {kind}: {value!r}")


def no_constant(name):
    """JSON has no NaN and no Infinity, though Python reads them."""
    raise ValueError(f"not JSON: {name}")


def decode(source, line):
    """Returns (row, is_tombstone); raises Rejected. Of a tombstone only the key columns are decoded."""
    try:
        line.encode("utf-8")
        record = json.loads(line, parse_constant=no_constant)
    except (ValueError, RecursionError) as error:
        raise Rejected(str(error)) from None
    if not isinstance(record, dict):
        raise Rejected("not an object")
    tombstone = not source.stream and record.get("_tombstone") is True
    names = source.key if tombstone else source.columns
    row = {name: decode_value(record.get(name), source.columns[name]) for name in names}
    for name in source.key if tombstone else source.key + source.not_null:
        if row.get(name) is None:
            raise Rejected(f"no {name}")
    return row, tombstone


def event_time_of(source, line):
    """The event time of a record that is a tombstone or will be rejected, as far as it can be read: it keeps its place."""
    try:
        record = json.loads(line, parse_constant=no_constant)
        return parse_instant(record[source.event_time])
    except (ValueError, TypeError, KeyError, RecursionError, Rejected):
        return -math.inf


def records(directory, source):
    """The non-blank lines of a source's file, decoded: (event time, row or None, is_tombstone)."""
    path = os.path.join(directory, source.name + ".ndjson")
    if not os.path.exists(path):
        return
    with open(path, encoding="utf-8", errors="surrogateescape", newline="\n") as lines:
        for line in lines:
            if not line.strip():
                continue
            try:
                row, tombstone = decode(source, line)
            except Rejected:
                row, tombstone = None, False
            if source.event_time is None:
                time = -math.inf
            elif row is None or tombstone:
                time = event_time_of(source, line)
            else:
                time = row[source.event_time]
            yield time, row, tombstone


def reading_order(directory, declarations):
    """All records of all sources in the order in which replay handles them: (source, row or None, is_tombstone)."""
    for source in declarations:
        if source.event_time is None:
            for _, row, tombstone in records(directory, source):
                yield source, row, tombstone
    heads = []

    def push(index, source, reader):
        item = next(reader, None)
        if item is not None:
            time, row, tombstone = item
            heapq.heappush(heads, (time, index, source, row, tombstone, reader))

    for index, source in enumerate(declarations):
        if source.event_time is not None:
            push(index, source, iter(records(directory, source)))
    while heads:
        _, index, source, row, tombstone, reader = heapq.heappop(heads)
        yield source, row, tombstone
        push(index, source, reader)


class Reading:
    """Folds records one by one and keeps the watermarks."""

    def __init__(self, declarations):
        self.content = Content()
        self.watermarks = {s.name: -math.inf for s in declarations}
        self.greatest = dict(self.watermarks)
        self.delays = {s.name: s.watermark_delay_ms for s in declarations}
        self.first_seen = {s.name: {} for s in declarations}
        for source in declarations:
            self.content.counts[source.name] = Counts()
            (self.content.streams if source.stream else self.content.tables)[source.name] = [] if source.stream else {}

    def take(self, source, row, tombstone):
        """Handles one record; an epoch ends after every 100,000."""
        counts = self.content.counts[source.name]
        counts.read += 1
        verdict = self.handle(source, row, tombstone)
        setattr(counts, verdict, getattr(counts, verdict) + 1)
        if row is not None and not tombstone and source.event_time is not None:
            self.greatest[source.name] = max(self.greatest[source.name], row[source.event_time])
        self.content.n_records += 1
        if self.content.n_records % EPOCH_RECORDS == 0:
            for name, greatest in self.greatest.items():
                self.watermarks[name] = greatest - self.delays[name]

    def handle(self, source, row, tombstone):
        if row is None:
            return "rejected"
        key = tuple(row[name] for name in source.key)
        if source.stream:
            return self.handle_stream(source, row, key)
        table = self.content.tables[source.name]
        old = table.get(key)
        if (old is None) if tombstone else (old == row):
            return "duplicate"
        if source.retention_ms is not None:
            limit = self.watermarks[source.name] - source.retention_ms
            if any(r is not None and r[source.event_time] <= limit for r in (old, None if tombstone else row)):
                return "late"
        if tombstone:
            del table[key]
        else:
            table[key] = row
        return "used"

    def handle_stream(self, source, row, key):
        if source.unique_for_ms is not None:
            seen = self.first_seen[source.name]
            if key in seen and row[source.event_time] < seen[key] + source.unique_for_ms:
                return "duplicate"
            seen[key] = row[source.event_time]
        self.content.streams[source.name].append(StreamRecord(row, self.watermarks[source.name]))
        return "used"


def read_sources(directory, declarations):
    """The content of all sources. Stream records count as used here; the reader of a stream moves its late ones."""
    reading = Reading(declarations)
    for source, row, tombstone in reading_order(directory, declarations):
        reading.take(source, row, tombstone)
    return reading.content
