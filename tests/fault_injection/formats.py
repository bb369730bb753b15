"""F27: every format in and out while workers, the broker and the schema registry come and go, among records that none can read.

Records are written and read by programs that are not ours (tests/kafka/records.py); what must come out follows here from the rows.
"""

import dataclasses
import json
import os
import random
import threading
import time
from collections import Counter
from decimal import Decimal

import confluent_kafka
from google.protobuf.unknown_fields import UnknownFieldSet
from records import (Committed, avro, csv_cells, csv_line, framed, message_class, read_avro, record, text_field, timestamp, unframed,
                     varint)
from replay_sources import parse_instant

from checks import Lives, last_pass
from harness import LOG, scenario
from kills import named_steps, nth_time
from rig import Rig
from schema_registry import SchemaRegistry

COLUMNS = """id VARCHAR NOT NULL PRIMARY KEY, n BIGINT, amount DECIMAL(12, 2), at TIMESTAMP WITH TIME ZONE NOT NULL, note VARCHAR"""
DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}
INSTANT = {"type": "long", "logicalType": "timestamp-millis"}
ROW = record("Row", ("id", "string"), ("n", ["null", "long"]), ("amount", ["null", DECIMAL]), ("at", INSTANT), ("note", ["null", "string"]))
ENVELOPE = record("Envelope", ("before", ["null", ROW]), ("after", ["null", "demo.Row"]), ("op", "string"))
KEY = record("Key", ("id", "string"))
PROTO = """syntax = "proto3"; package demo; import "google/protobuf/timestamp.proto";
message Row { string id = 1; optional int64 n = 2; optional string amount = 3; google.protobuf.Timestamp at = 4; optional string note = 5; }"""
MESSAGE = message_class(("id", "string"), ("n", "int64"), ("amount", "string"), ("at", "message"), ("note", "string"), optional=("n", "amount", "note"))
NOTES = [None, "", "x", "-", "null", 'say "a;b"', "two\nlines", "头盔 ⛑", "'; DROP TABLE x --", "z" * 300]


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of every relation here."""

    id: str
    n: int
    amount: Decimal
    at_ms: int
    note: str

    @property
    def members(self):
        """As Avro's programs hold it."""
        return {"id": self.id, "n": self.n, "amount": self.amount, "at": self.at_ms, "note": self.note}

    def json(self):
        """The same in JSON, as text."""
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(self.at_ms // 1000)) + f".{self.at_ms % 1000:03}Z"
        amount = "null" if self.amount is None else str(self.amount)
        text = lambda value: json.dumps(value, ensure_ascii=False)  # noqa: E731
        return f'{{"id":{text(self.id)},"n":{text(self.n)},"amount":{amount},"at":"{at}","note":{text(self.note)}}}'


def of_members(members):
    """The row of members as JSON or Avro hold them."""
    at = members["at"]
    if isinstance(at, str):
        at_ms = parse_instant(at)
    elif isinstance(at, int):
        at_ms = at
    else:
        at_ms = round(at.timestamp() * 1000)
    amount = members["amount"]
    return Row(members["id"], members["n"], None if amount is None else Decimal(amount), at_ms, members["note"])


def of_envelope(said):
    """The change that an envelope tells: the row that is there, or the key of one that is gone."""
    if said["op"] == "d":
        return said["before"]["id"], None
    if said["op"] != "c" or said["before"] is not None:
        raise AssertionError(f"an envelope that no sink writes: {said}")
    row = of_members(said["after"])
    return row.id, row


def exact(text):
    """JSON whose numbers keep their digits."""
    return json.loads(text, parse_float=Decimal)


class Format:
    """One relation in and out: how its records are written by others, which ones nobody can read, and what its sink says."""

    is_table = False
    key_format = None

    def __init__(self, name, registry, options=""):
        self.name, self.registry = name, registry
        self.relation = name.replace("-", "_")
        self.options = options

    def statements(self):
        """What declares it."""
        kind = "TABLE" if self.is_table else "STREAM"
        key = f", key_format = '{self.key_format}'" if self.key_format else ""
        unique = "" if self.is_table else ", event_time = 'at', watermark_delay = '1 day', unique_for = '1 hour'"
        return f"""
CREATE {kind} {self.relation} ({COLUMNS}) WITH (topic = '{self.relation}', format = '{self.source_format}'{self.options}{key}{unique});
CREATE SINK {self.relation}_out WITH (topic = '{self.relation}-out', format = '{self.sink_format}'{self.sink_options()}{key})
AS SELECT id, n, amount, at, note FROM {self.relation};
"""

    def sink_options(self):
        """Further options of the sink."""
        return ""

    def key(self, row):
        """The key of a record."""
        return row.id.encode()

    def records(self, row):
        """The records of a row, `(key, value)`."""
        return [(self.key(row), self.value(row))]

    def deletion(self, row):
        """The records that say it is gone."""
        return [(self.key(row), None)]

    def broken(self):
        """Values that cannot be read."""
        raise NotImplementedError

    def change(self, message):
        """What a record of the sink says: the key, and the row that is there or none."""
        if message.value() is None:
            return self.key_of(message.key()), None
        row = self.row(message.value())
        return row.id, row

    def key_of(self, key):
        """The id that a key tells."""
        return key.decode()


class Json(Format):
    source_format = sink_format = "json"

    def value(self, row):
        return row.json().encode()

    def broken(self):
        return [b'{"id":', b"\xff\xfe", b"[]", b'{"id":"x","n":"no number","at":"2026-01-01T00:00:00Z"}', b'{"id":"x","at":null}', b'{"at":"2026-01-01T00:00:00Z"}', b""]

    def row(self, value):
        return of_members(exact(value))


class Csv(Format):
    source_format = sink_format = "csv"

    def __init__(self, name, registry):
        super().__init__(name, registry, ", delimiter = ';'")

    def value(self, row):
        said = exact(row.json())
        text = lambda v: None if v is None else str(v)  # noqa: E731
        return csv_line([text(said[name]) for name in ("id", "n", "amount", "at", "note")], ";")

    def broken(self):
        return [b"x;1", b"\xff;1;1;2026-01-01T00:00:00Z;", b"x;one;1;2026-01-01T00:00:00Z;", b'x;1;1;2026-01-01T00:00:00Z;"', b"x;1;1;;", b";1;1;2026-01-01T00:00:00Z;"]

    def row(self, value):
        id_, n, amount, at, note = csv_cells(value.decode())
        return of_members({"id": id_, "n": None if n is None else int(n), "amount": amount, "at": at, "note": note})


class AvroConfluent(Format):
    """Its schema changes while it is read: fields come and change places."""

    source_format = sink_format = "avro-confluent"

    def __init__(self, name, registry):
        super().__init__(name, registry)
        self.schemas = [ROW]
        self.number = registry.register(f"{name}-value", json.dumps(ROW))

    def changes_schema(self):
        """From now on records have a schema that nobody has seen."""
        fields = [(f["name"], f["type"]) for f in ROW["fields"]]
        random.Random(len(self.schemas)).shuffle(fields)
        self.schemas.append(record("Row", ("more", "double"), *fields, (f"added_{len(self.schemas)}", ["null", "string"], {"default": None})))
        self.number = self.registry.register(f"{self.name}-value", json.dumps(self.schemas[-1]))

    def value(self, row):
        members = {**row.members, "more": 0.5, f"added_{len(self.schemas) - 1}": "a"}
        return framed(self.number, avro(self.schemas[-1], {f["name"]: members[f["name"]] for f in self.schemas[-1]["fields"]}))

    def broken(self):
        whole = framed(self.number, avro(self.schemas[-1], {**dict.fromkeys(f["name"] for f in self.schemas[-1]["fields"]), "id": "x", "at": 0, "more": 1.0}))
        return [b"", b"\0\0\0", b"\1" + whole[1:], whole[:-1], whole + b"\0", framed(900_001, whole[5:]), b"{}"]

    def row(self, value):
        schema, datum = unframed(self.registry, "AVRO", value)
        return of_members(read_avro(json.loads(schema), datum))


class Keyed(AvroConfluent):
    """A table whose keys have a schema, too."""

    is_table, key_format = True, "avro-confluent"

    def __init__(self, name, registry):
        super().__init__(name, registry)
        self.key_number = registry.register(f"{name}-key", json.dumps(KEY))

    def key(self, row):
        return framed(self.key_number, avro(KEY, {"id": row.id}))

    def key_of(self, key):
        schema, datum = unframed(self.registry, "AVRO", key)
        return read_avro(json.loads(schema), datum)["id"]


class ProtobufConfluent(Format):
    source_format = sink_format = "protobuf-confluent"
    place = b"\0"

    def __init__(self, name, registry):
        super().__init__(name, registry)
        self.number = registry.register(f"{name}-value", PROTO, "PROTOBUF") if registry else None

    def changes_schema(self):
        """From now on the message is the second of its file, which has more fields."""
        text = PROTO.replace("message Row {", "message Other { string id = 1; }\nmessage Row { repeated string more = 9;")
        self.number = self.registry.register(f"{self.name}-value", f"// {time.time_ns()}\n{text}", "PROTOBUF")
        self.place = b"\x02\x02"

    def message(self, row):
        """The message without a frame."""
        said = timestamp(row.at_ms)
        parts = [text_field(1, row.id)]
        if row.n is not None:
            parts.append(b"\x10" + varint(row.n % (1 << 64)))
        if row.amount is not None:
            parts.append(text_field(3, str(row.amount)))
        parts.append(b"\x22" + varint(len(said)) + said)
        if row.note is not None:
            parts.append(text_field(5, row.note))
        return b"".join(parts)

    def value(self, row):
        return framed(self.number, self.message(row), self.place)

    def broken(self):
        whole = self.value(Row("x", 1, None, 1_700_000_000_000, None))
        return [b"", whole[:-1], whole + b"\x0a\x7f", framed(900_002, b"", b"\0"), framed(self.number, text_field(1, "no instant"), self.place), whole[:5] + b"\x02\x7e"]

    def row(self, value):
        schema, rest = unframed(self.registry, "PROTOBUF", value)
        if rest[:1] != b"\0" or "optional int64 n = 2;" not in schema:
            raise AssertionError(f"not the first message of the schema of the columns: {schema}")
        return self.parsed(rest[1:])

    def parsed(self, message):
        """The row of a message."""
        said = MESSAGE.FromString(message)
        if not said.HasField("at") or len(UnknownFieldSet(said)):
            raise AssertionError(f"not a message of all columns: {message!r}")
        own = lambda name: getattr(said, name) if said.HasField(name) else None  # noqa: E731
        return of_members({"id": said.id, "n": own("n"), "amount": own("amount"), "at": said.at.ToMilliseconds(), "note": own("note")})


class Debezium(Format):
    """Changes of a database's table: what was there before, and what is there now."""

    source_format = sink_format = "debezium-json"
    is_table = True

    def __init__(self, name, registry):
        super().__init__(name, registry)
        self.rows = {}

    def key(self, row):
        return json.dumps({"id": row.id}).encode()

    def key_of(self, key):
        return json.loads(key)["id"]

    def records(self, row):
        before = self.rows.get(row.id)
        self.rows[row.id] = row
        return [(self.key(row), self.envelope(before, row, "u" if before else "c"))]

    def deletion(self, row):
        before = self.rows.pop(row.id)
        # Debezium says it twice, the second time for the compaction of the topic.
        return [(self.key(row), self.envelope(before, None, "d")), (self.key(row), None)]

    def envelope(self, before, after, op):
        """What Debezium writes; with the wrapper of Kafka Connect or without."""
        side = lambda row: row.json() if row else "null"  # noqa: E731
        text = f'{{"before":{side(before)},"after":{side(after)},"source":{{"db":"d"}},"op":"{op}","ts_ms":1}}'
        return (f'{{"schema":{{"type":"struct"}},"payload":{text}}}' if op == "u" else text).encode()

    def broken(self):
        return [b'{"op":"c"}', b'{"before":null,"after":{"id":"x"},"op":"t"}', b'{"payload":{}}', b'{"after":{"id":1},"op":"c"}', b"\xc3", b'{"before":null,"after":null,"op":"u"}']

    def change(self, message):
        if message.value() is None:
            return self.key_of(message.key()), None
        return of_envelope(exact(message.value()))


class DebeziumAvro(Debezium):
    source_format, sink_format = "debezium-avro-confluent", "debezium-json"

    def __init__(self, name, registry):
        super().__init__(name, registry)
        self.number = registry.register(f"{name}-value", json.dumps(ENVELOPE))
        self.key_number = registry.register(f"{name}-key", json.dumps(KEY))

    def key(self, row):
        return framed(self.key_number, avro(KEY, {"id": row.id}))

    def envelope(self, before, after, op):
        return framed(self.number, avro(ENVELOPE, {"before": before and before.members, "after": after and after.members, "op": op}))

    def broken(self):
        return [b"", framed(self.number, b"\2"), framed(self.number, b"\0\0\2c"), framed(900_003, b""), framed(self.key_number, b"\2x"), b"{}"]


class Avro(Format):
    source_format, sink_format = "avro", "protobuf-confluent"

    def __init__(self, name, registry):
        super().__init__(name, registry, ", schema_file = 'row.avsc'")

    def value(self, row):
        return avro(ROW, row.members)

    def broken(self):
        whole = self.value(Row("x", 1, None, 0, None))
        return [b"", whole[:-1], whole + b"\0", b"\x7f"]

    def row(self, value):
        return ProtobufConfluent.row(self, value)

    parsed = ProtobufConfluent.parsed


class Protobuf(ProtobufConfluent):
    source_format, sink_format = "protobuf", "avro-confluent"

    def __init__(self, name, registry):
        super().__init__(name, None)
        self.registry, self.options = registry, ", schema_file = 'row.proto', message = 'Row'"

    changes_schema = None

    def value(self, row):
        return self.message(row)

    def broken(self):
        return [b"\x0a\x7f", text_field(1, "no instant"), b"\xff\xff\xff", self.message(Row("x", 1, Decimal("1.5"), 0, None)).replace(b"1.5", b"1,5")]

    def row(self, value):
        return AvroConfluent.row(self, value)


KINDS = {"json": Json, "csv": Csv, "avro": Avro, "avro-confluent": AvroConfluent, "protobuf": Protobuf,
         "protobuf-confluent": ProtobufConfluent, "keyed": Keyed, "debezium-json": Debezium, "debezium-avro": DebeziumAvro}
TOTALS = """
CREATE VIEW rows_of_streams AS {union};
CREATE TABLE totals (PRIMARY KEY (relation)) AS
SELECT relation, count(*) AS n_rows, sum(n) AS n, max(at) AS last FROM rows_of_streams GROUP BY relation;
CREATE SINK totals_out WITH (topic = 'totals-out', format = 'debezium-json') AS SELECT relation, n_rows, n, last FROM totals;
"""


class FormatsRig(Rig):
    """The pack of all formats, with the registry that its workers ask."""

    def __init__(self, place):
        self.registry = SchemaRegistry("curb", "s3cret")
        self.registry.start()
        self.formats = [kind(name, self.registry) for name, kind in KINDS.items()]
        streams = [f.relation for f in self.formats if not f.is_table]
        union = " UNION ALL ".join(f"SELECT '{name}' AS relation, n, at FROM {name}" for name in streams)
        pack = "SET TIME ZONE = 'Asia/Shanghai';\n" + "".join(f.statements() for f in self.formats) + TOTALS.format(union=union)
        # Hyphens in topics, as everywhere: the rig names them so.
        super().__init__("formats", place, pack)
        self.edit(r"topic = '([^']*)'", lambda found: f"topic = '{found[1].replace('_', '-')}'")
        self.edit(r"topic = '(?!formats-)", f"topic = '{self.prefix}-")
        for name, text in (("row.avsc", json.dumps(ROW)), ("row.proto", PROTO)):
            with open(os.path.join(self.pack, name), "w", encoding="utf-8") as file:
                file.write(text)
        password = os.path.join(self.dir, "password")
        with open(password, "w", encoding="utf-8") as file:
            file.write("s3cret\n")
        self.environment = {"CURB_SCHEMA_REGISTRY_URL": self.registry.url, "CURB_SCHEMA_REGISTRY_USER": "curb",
                            "CURB_SCHEMA_REGISTRY_PASSWORD_FILE": password}
        for f in self.formats:
            self.create(f.relation, 2)

    def start(self, *args, environment=None, **options):
        """A worker that knows where the registry is."""
        return super().start(*args, environment={**self.environment, **(environment or {})}, **options)

    def close(self, keep):
        """Ends the registry, too."""
        super().close(keep)
        self.registry.stop()


class Traffic:
    """Rows of every format that arrive until `finish`, with repetitions and what nobody can read; the oracle of what comes out."""

    def __init__(self, rig, rows_per_s, seed):
        self.rig, self.rows_per_s, self.choose = rig, rows_per_s, random.Random(seed)
        # In order and once each, also while the broker is away.
        self.producer = confluent_kafka.Producer({
            "bootstrap.servers": rig.brokers, "enable.idempotence": True, "compression.type": self.choose.choice(["none", "gzip", "snappy", "lz4", "zstd"]),
            "message.timeout.ms": 120_000, "linger.ms": 20, "log_level": 2})
        self.begin_ms = int(time.time() * 1000) - 3_600_000
        self.n_rows = 0
        self.rows = {f.relation: {} for f in rig.formats}
        self.versions = {f.relation: {} for f in rig.formats}
        self.broken = {f.relation: Counter() for f in rig.formats}
        self.n_repeated, self.undelivered = 0, []
        self.lock, self.stopping, self.failures = threading.Lock(), threading.Event(), []
        self.thread = threading.Thread(target=self.guarded, daemon=True)
        self.thread.start()

    def guarded(self):
        try:
            while not self.stopping.wait(0.05):
                with self.lock:
                    for _ in range(max(1, int(self.rows_per_s * 0.05))):
                        self.step(self.choose.choice(self.rig.formats))
                self.producer.poll(0)
        except Exception as error:  # noqa: BLE001: told when the traffic ends
            self.failures.append(error)

    def new_row(self, id_):
        """A row with this id."""
        self.n_rows += 1
        choose = self.choose
        amount = choose.choice([None, Decimal(choose.randrange(-10 ** 12 + 1, 10 ** 12)) / 100, Decimal("0.00"), Decimal("9999999999.99"), Decimal("-0.01")])
        amount = amount if amount is None else amount.quantize(Decimal("0.01"))
        n = choose.choice([None, 0, -1, choose.randrange(-1 << 50, 1 << 50), choose.randrange(1000)])
        return Row(id_, n, amount, self.begin_ms + self.n_rows * 10 + choose.randrange(10), choose.choice(NOTES))

    def step(self, f):
        """One row, repetition, deletion or broken record of a relation."""
        rows, chance = self.rows[f.relation], self.choose.random()
        if chance < 0.06:
            value = self.choose.choice(f.broken())
            self.broken[f.relation][value] += 1
            self.send(f, [(b"broken" if not f.is_table else f.key(Row("x", None, None, 0, None)), value)])
        elif chance < 0.2 and rows:
            row = self.choose.choice(list(rows.values()))
            self.n_repeated += 1
            if f.is_table and self.choose.random() < 0.4:
                del rows[row.id]
                self.versions[f.relation][row.id].append(None)
                self.send(f, f.deletion(row))
            else:
                self.send(f, f.records(row))
        else:
            again = f.is_table and rows and self.choose.random() < 0.5
            row = self.new_row(self.choose.choice(list(rows)) if again else f"{f.relation} {self.n_rows}")
            rows[row.id] = row
            self.versions[f.relation].setdefault(row.id, []).append(row)
            self.send(f, f.records(row))

    def send(self, f, records):
        """Hands records to the producer, which keeps those of a key in order."""
        for key, value in records:
            self.producer.produce(self.rig.topic(f.relation), key=key, value=value, on_delivery=self.delivered)

    def delivered(self, error, _message):
        """Takes note of what the broker did not take."""
        if error is not None:
            self.undelivered.append(error)

    def change_schemas(self):
        """From now on records have schemas that no worker has seen."""
        with self.lock:
            for f in self.rig.formats:
                if getattr(f, "changes_schema", None):
                    f.changes_schema()
            # At least one of each, so that workers must ask.
            for f in self.rig.formats:
                self.step(f)

    def finish(self):
        """Returns when the broker has everything."""
        self.stopping.set()
        self.thread.join(60)
        n_left = self.producer.flush(120)
        if self.thread.is_alive() or self.failures or n_left or self.undelivered:
            raise AssertionError(f"the rows could not be written: {self.failures or self.undelivered[:3] or n_left}")


def check_sink(context, traffic, f, messages):
    """What came out of a relation: of a stream every row once; of a table the changes of each row in order, up to the last."""
    found = {}
    ids = Counter(dict(m.headers() or []).get("curb_id") for m in messages if m.value() is not None or not isinstance(f, Debezium))
    context.equal([(id_, n) for id_, n in ids.items() if id_ is None or n > 1], [], f"{f.relation}: ids that repeat or are missing")
    for message in messages:
        id_, row = f.change(message)
        found.setdefault(id_, []).append(row)
    wanted = traffic.rows[f.relation]
    if not f.is_table:
        context.equal({id_: rows for id_, rows in found.items() if rows != [wanted.get(id_)]}, {}, f"{f.relation}: rows that are wrong or there twice")
        context.equal(sorted(set(wanted) - set(found)), [], f"{f.relation}: rows that are not there")
        return
    is_there = {id_: rows[-1] for id_, rows in found.items() if rows[-1] is not None}
    context.equal({id_: (is_there.get(id_), row) for id_, row in wanted.items() if is_there.get(id_) != row}, {}, f"{f.relation}: rows (found, expected)")
    context.equal(sorted(set(is_there) - set(wanted)), [], f"{f.relation}: rows that are gone")
    for id_, rows in found.items():
        sent, at = traffic.versions[f.relation].get(id_, []), 0
        for row in rows:
            # A worker may pass over states of a row, but tells none that it had not, and none out of order. Envelopes of what
            # is gone are followed by a record without value.
            if row is None and at > 0 and sent[at - 1] is None:
                continue
            while at < len(sent) and sent[at] != row:
                at += 1
            context.expect(at < len(sent), f"{f.relation}: {id_} was never {row} after what came before; sent {sent}, found {rows}")
            at += 1


def verify(context, rig, traffic):
    """A last pass without faults, then all that came out against what was sent."""
    last_pass(context, rig, [f.relation for f in rig.formats])
    committed = context.rig(Committed(rig.brokers))
    n_found = 0
    for f in rig.formats:
        messages = committed.read(rig.topic(f"{f.relation}_out"))
        n_found += len(messages)
        check_sink(context, traffic, f, messages)
        refused = committed.read(rig.topic(f.relation) + ".rejected")
        context.equal(Counter(m.value() or b"" for m in refused), traffic.broken[f.relation], f"{f.relation}: rejected records")
        places = Counter((dict(m.headers())["curb_partition"], dict(m.headers())["curb_offset"]) for m in refused)
        context.equal([place for place, n in places.items() if n > 1], [], f"{f.relation}: records rejected twice")
    totals = {}
    for message in committed.read(rig.topic("totals_out")):
        if message.value() is not None:
            said = exact(message.value())
            totals[exact(message.key())["relation"]] = said["after"] and {**said["after"], "last": parse_instant(said["after"]["last"])}
    wanted = {}
    for f in rig.formats:
        rows = traffic.rows[f.relation].values()
        if not f.is_table and rows:
            numbers = [row.n for row in rows if row.n is not None]
            wanted[f.relation] = {"relation": f.relation, "n_rows": len(rows), "n": sum(numbers) if numbers else None,
                                  "last": max(row.at_ms for row in rows)}
    context.equal(totals, wanted, "totals over all streams")
    again = rig.catch_up(environment=LOG)
    n_again = sum(len(committed.read(rig.topic(f"{f.relation}_out"))) for f in rig.formats)
    context.equal(n_again, n_found, f"records after a restart without anything new ({again[-300:]})")
    n_broken = sum(sum(counter.values()) for counter in traffic.broken.values())
    context.note(f"{traffic.n_rows} rows in {len(rig.formats)} formats, {traffic.n_repeated} repetitions and deletions, {n_broken} broken "
                 f"records; {n_found} records out")


def worker_is_killed(context, lives, step=None):
    """A worker is aborted at a step, or killed at any moment."""
    if step is None:
        worker = lives.start()
        lives.rig.wait_for("a commit", lambda: lives.has_committed() or worker.poll() is not None)
        time.sleep(context.choose.random())
        context.equal(worker.poll(), None, f"a worker that nobody killed ended: {lives.rig.log()[-2000:]}")
        lives.kill(worker)
        return
    n = nth_time(context, step, 1)
    worker = lives.start(FAILPOINTS=f"{step}={f'{n}*off->' if n else ''}return")
    if not lives.wait_for_abort(worker, 40):
        context.note(f"{step} ({n}) was not reached")
        lives.kill(worker)


def registry_is_away(context, rig, traffic, lives):
    """The registry is gone when new schemas come, a worker is killed while it waits, and the next one waits on."""
    worker = lives.start()
    rig.wait_for("a commit", lambda: lives.has_committed() or worker.poll() is not None)
    rig.registry.stop()
    try:
        traffic.change_schemas()
        rig.wait_for("the wait for the registry", lambda: "waiting for the schema registry" in rig.log() or worker.poll() is not None, 40)
        context.equal(worker.poll(), None, f"the worker ended without its registry: {rig.log()[-2000:]}")
        lives.kill(worker)
        worker = lives.start()
        time.sleep(1 + context.choose.random())
    finally:
        rig.registry.start()
    back = time.time()
    rig.wait_for("a commit once it is back", lambda: lives.last_commit() > back or worker.poll() is not None, 60)
    context.equal(worker.poll(), None, f"the worker ended: {rig.log()[-2000:]}")
    lives.kill(worker)


def broker_is_away(context, brokers, lives):
    """The broker is killed or stopped under a worker, which goes on by itself."""
    rig = lives.rig
    worker = lives.start()
    rig.wait_for("a commit", lambda: lives.has_committed() or worker.poll() is not None)
    brokers.end(1, kill=context.choose.random() < 0.7)
    time.sleep(context.choose.random())
    brokers.begin(1)
    context.ran()
    back = time.time()
    rig.wait_for("a commit once it is back", lambda: lives.last_commit() > back or worker.poll() is not None)
    context.equal(worker.poll(), None, f"the worker ended: {rig.log()[-2000:]}")
    lives.kill(worker)


@scenario("F27", seconds=70)
def every_format_under_faults(context):
    """All formats, keys and schemas in and out while workers, broker and registry are killed: content, order, rejected records.

    Guards: a schema that cannot be asked for holds its records back and is no reason to reject them (engine/worker/preparing.rs,
    format/registry/mod.rs); what cannot be read is rejected by itself and once; duplicates and deletions by keys of every format.
    """
    brokers = context.brokers(1)
    rig = context.rig(FormatsRig(context.place(brokers.addresses)))
    traffic = Traffic(rig, context.size(80, 200), f"{context.seed} formats")
    lives = Lives(context, rig, "--state-dir", os.path.join(rig.dir, "state"))
    steps = named_steps()
    faults = context.choose.sample(steps, 5) if not context.long else steps * 4
    faults = [*faults, *[None] * context.size(2, 20), *["registry"] * context.size(1, 5), *["broker"] * context.size(1, 5)]
    context.choose.shuffle(faults)
    for fault in faults:
        if fault == "registry":
            registry_is_away(context, rig, traffic, lives)
        elif fault == "broker":
            broker_is_away(context, brokers, lives)
        else:
            worker_is_killed(context, lives, fault)
    traffic.finish()
    verify(context, rig, traffic)
