#!/usr/bin/env python3
"""Every format in and out of a real Kafka, with a schema registry: changed schemas, unknown ones, an outage of the registry, a
worker that is killed while it waits, topics in every compression.

    python3 tests/kafka/formats_on_kafka.py BROKERS CURB KAFKA_CLIENT [--registry URL|start] [TEST ..]

Records are written and read by confluent-kafka, fastavro and protobuf, which this program knows nothing of (environment.py). The
registry is a small one of our own (schema_registry.py), or a real one: that at URL, without `/subjects`, or with `start` one
that tests/kafka/registry starts, where it can. A failing test keeps its directory.
"""

import base64
import decimal
import hashlib
import hmac
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest
import urllib.request

import environment

PLACE = REGISTRY = None


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    environment.enter()

import confluent_kafka  # noqa: E402
from records import (Committed, avro, framed, message_class, read_avro, record, text_field, timestamp, unframed,  # noqa: E402
                     varint)
from rig import Rig, run_suite  # noqa: E402
from schema_registry import Front, SchemaRegistry  # noqa: E402

PACK = """
SET TIME ZONE = 'Asia/Shanghai';
CREATE TABLE people (id BIGINT PRIMARY KEY, name VARCHAR PRIVATE, age INT) WITH (topic = 'people', format = 'debezium-json');
CREATE TABLE orders (id BIGINT PRIMARY KEY, amount DECIMAL(10, 2), at TIMESTAMP WITH TIME ZONE)
WITH (topic = 'orders', format = 'debezium-avro-confluent');
CREATE STREAM readings (device VARCHAR NOT NULL, value DOUBLE, note VARCHAR) WITH (topic = 'readings', format = 'csv', delimiter = ';');
CREATE STREAM events (id VARCHAR NOT NULL, n BIGINT, at TIMESTAMP WITH TIME ZONE, kind VARCHAR)
WITH (topic = 'events', format = 'avro-confluent');
CREATE STREAM plain (id VARCHAR NOT NULL, tags VARCHAR ARRAY) WITH (topic = 'plain', format = 'avro', schema_file = 'plain.avsc');
CREATE STREAM messages (id VARCHAR NOT NULL, n BIGINT, at TIMESTAMP WITH TIME ZONE)
WITH (topic = 'messages', format = 'protobuf-confluent', message = 'Message');
CREATE STREAM bare (id VARCHAR NOT NULL, n BIGINT) WITH (topic = 'bare', format = 'protobuf', schema_file = 'bare.proto');

CREATE SINK people_out WITH (topic = 'people-out', format = 'avro-confluent', key_format = 'avro-confluent') AS
SELECT id, pseudonym(name) AS who, age FROM people;
CREATE SINK orders_out WITH (topic = 'orders-out', format = 'debezium-json') AS SELECT id, amount, at FROM orders;
CREATE SINK readings_out WITH (topic = 'readings-out', format = 'csv', null_literal = '-') AS SELECT device, value, note FROM readings;
CREATE SINK events_out WITH (topic = 'events-out', format = 'protobuf-confluent') AS SELECT id, n, at, kind FROM events;
CREATE SINK plain_out WITH (topic = 'plain-out', format = 'json') AS SELECT id, tags FROM plain;
CREATE SINK messages_out WITH (topic = 'messages-out', format = 'avro-confluent') AS SELECT id, n, at FROM messages;
CREATE SINK bare_out WITH (topic = 'bare-out', format = 'json') AS SELECT id, n FROM bare;
"""
COMPRESSION = {"people": "gzip", "orders": "snappy", "readings": "lz4", "events": "zstd", "plain": "none", "messages": "gzip", "bare": "zstd"}
PLAIN = {"type": "record", "name": "Plain", "fields": [
    {"name": "tags", "type": {"type": "array", "items": "string"}}, {"name": "id", "type": "string"}]}
BARE = 'syntax = "proto3"; message Bare { int64 n = 2; string id = 7; }'
MESSAGES = """syntax = "proto3"; package demo; import "google/protobuf/timestamp.proto";
message Other { string id = 1; }
message Message { string id = 1; optional int64 n = 2; google.protobuf.Timestamp at = 3; }"""
# Schemas that refer to others, which lie under subjects of their own.
EXTRA = 'syntax = "proto3"; package demo; message Extra { string word = 1; }'
MESSAGES_2 = """syntax = "proto3"; package demo; import "extra.proto";
message Message { string id = 1; optional int64 n = 2; Extra extra = 4; }"""
SPEED = {"type": "enum", "name": "Speed", "namespace": "demo", "symbols": ["SLOW", "FAST"]}
AT_MS = 1_700_000_000_123
KEY = bytes(range(32))


EVENT = record("Event", ("id", "string"), ("n", "int"), ("at", {"type": "long", "logicalType": "timestamp-millis"}), ("kind", ["null", "string"], {"default": None}))
# Reordered, widened, with a field more and one less, in microseconds.
EVENT_2 = record("Event", ("more", {"type": "map", "values": "double"}), ("at", {"type": "long", "logicalType": "timestamp-micros"}),
                 ("n", "long"), ("id", "string"))
EVENT_NO_ID = record("Event", ("n", "long"), ("kind", "string"))
EVENT_TEXT = record("Event", ("id", "string"), ("n", "string"))
EVENT_3 = record("Event", ("id", "string"), ("n", "long"), ("kind", {"type": "enum", "name": "Kind", "symbols": ["SLOW", "FAST"]}))
EVENT_REFERRING = record("Event", ("id", "string"), ("n", "long"), ("kind", "demo.Speed"))
ORDER = record("Value", ("id", "long"), ("amount", ["null", {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 3}]),
               ("at", ["null", {"type": "long", "connect.version": 1, "connect.name": "io.debezium.time.MicroTimestamp"}]))
ENVELOPE = record("Envelope", ("before", ["null", ORDER], {"default": None}), ("after", ["null", "demo.Value"], {"default": None}),
                  ("source", record("Source", ("db", "string"))), ("op", "string"), ("ts_ms", ["null", "long"], {"default": None}))
ORDER_KEY = record("Key", ("id", "long"))


OUT = message_class(("id", "string"), ("n", "int64"), ("at", "message"), ("kind", "string"))


class FormatsOnKafka(unittest.TestCase):
    """Each test is one pipeline."""

    def rig(self, made):
        self.addCleanup(lambda: made.close(keep=self.failed()))
        return made

    def failed(self):
        outcome = self._outcome.result
        return any(test is self for test, _ in outcome.failures + outcome.errors)

    def write(self, name, *records):
        """Writes records of bytes: `(key, value)`."""
        producer = confluent_kafka.Producer({"bootstrap.servers": PLACE.brokers, "compression.type": COMPRESSION[name]})
        for key, value in records:
            producer.produce(self.at.topic(name), key=key, value=value)
        self.assertEqual(producer.flush(30), 0)

    def read(self, name):
        """The committed records of a topic, as they are."""
        return self.committed.read(self.at.topic(name))

    def datum(self, value):
        """What a value in Avro says, by the schema of the registry."""
        schema, datum = unframed(self.registry, "AVRO", value)
        return read_avro(json.loads(schema), datum)

    def message(self, value):
        """What a message of `events-out` says; its fields are numbered as the columns are."""
        schema, rest = unframed(self.registry, "PROTOBUF", value)
        self.assertEqual(rest[0], 0)
        self.assertIn("string id = 1;", schema)
        return OUT.FromString(rest[1:])

    def events(self):
        """The rows of `events-out`, each of which is there once."""
        events = {}
        for m in self.read("events_out"):
            said = self.message(m.value())
            self.assertNotIn(said.id, events, "twice")
            events[said.id] = (said.n, said.at.ToMilliseconds() if said.HasField("at") else None, said.kind)
        return events

    def orders(self):
        """The changes in `orders-out`, in their order."""
        return [(json.loads(m.key())["id"], json.loads(m.value()) if m.value() else None) for m in self.read("orders_out")]

    def outputs(self):
        """What all sinks hold, in a form that can be compared."""
        people = {}
        for m in self.read("people_out"):
            people[self.datum(m.key())["id"]] = m.value() and self.datum(m.value())
        return {
            "people": people, "orders": self.orders(), "events": self.events(),
            "readings": sorted(m.value().decode() for m in self.read("readings_out")),
            "plain": sorted((json.loads(m.value())["id"], json.loads(m.value())["tags"]) for m in self.read("plain_out")),
            "messages": sorted((d["id"], d["n"]) for d in (self.datum(m.value()) for m in self.read("messages_out"))),
            "bare": sorted((json.loads(m.value())["id"], json.loads(m.value())["n"]) for m in self.read("bare_out")),
        }

    def reasons(self, name):
        """Why records of a source were rejected, by their offset, and their bytes."""
        found = {}
        for m in self.read(f"{name}.rejected"):
            headers = {key: value.decode() for key, value in m.headers()}
            self.assertEqual(headers["curb_sha256"], hashlib.sha256(m.value() or b"").hexdigest() if m.value() else headers["curb_sha256"])
            found[int(headers["curb_offset"])] = (headers["curb_reason"], m.value())
        return found

    def test_every_format_in_and_out_over_changes_outages_and_kills(self):
        self.at = self.rig(Rig("formats", PLACE, PACK))
        self.committed = Committed(PLACE.brokers)
        self.addCleanup(self.committed.close)
        self.registry = Front(REGISTRY, "curb", "s3cret: p") if REGISTRY else SchemaRegistry("curb", "s3cret: p")
        self.registry.start()
        self.addCleanup(self.registry.stop)
        with open(os.path.join(self.at.pack, "plain.avsc"), "w", encoding="utf-8") as file:
            json.dump(PLAIN, file)
        with open(os.path.join(self.at.pack, "bare.proto"), "w", encoding="utf-8") as file:
            file.write(BARE)
        keys, password = os.path.join(self.at.dir, "keys"), os.path.join(self.at.dir, "password")
        with open(keys, "w", encoding="utf-8") as file:
            file.write(f"old = {'ab' * 32}\nk1 = {base64.b64encode(KEY).decode()}\nactive = k1\n")
        with open(password, "w", encoding="utf-8") as file:
            file.write("s3cret: p\n")
        for name, codec in COMPRESSION.items():
            # The broker writes what it is given in the codec of the topic, whatever the producer chose.
            self.at.create(name, 1, *([f"compression.type={codec}"] if codec != "none" else []))
        checked = subprocess.run([PLACE.curb, "check", self.at.pack], capture_output=True, text=True, check=False)
        self.assertEqual(checked.returncode, 0, checked.stderr)

        environment = {"CURB_SCHEMA_REGISTRY_USER": "curb", "CURB_SCHEMA_REGISTRY_PASSWORD_FILE": password,
                       "CURB_SCHEMA_REGISTRY_URL": self.registry.url}
        said = self.at.run(code=1)
        self.assertIn("--pseudonym-keys FILE", said)
        said = self.at.run("--pseudonym-keys", keys, code=3)
        self.assertIn("CURB_SCHEMA_REGISTRY_URL", said)
        environment["CURB_PSEUDONYM_KEYS"] = keys
        port = self.free_port()

        def start():
            return self.at.start("--http", f"127.0.0.1:{port}", "--audit", environment=environment)

        event, order, order_key = (self.registry.register(s, json.dumps(schema)) for s, schema in
                                   [("events-value", EVENT), ("orders-value", ENVELOPE), ("orders-key", ORDER_KEY)])
        message = self.registry.register("messages-value", MESSAGES, "PROTOBUF")
        key = lambda n: framed(order_key, avro(ORDER_KEY, {"id": n}))  # noqa: E731

        def change(op, before, after):
            sides = {side: row and {"id": row[0], "amount": decimal.Decimal(row[1]), "at": row[2]} for side, row in [("before", before), ("after", after)]}
            return framed(order, avro(ENVELOPE, {**sides, "source": {"db": "d"}, "op": op, "ts_ms": None}))

        wrapped = lambda payload: json.dumps({"schema": {"type": "struct"}, "payload": payload}).encode()  # noqa: E731
        person = lambda n, name, age: {"id": n, "name": name, "age": age}  # noqa: E731
        self.write("people",
                   (b'{"id":1}', json.dumps({"before": None, "after": person(1, "Anna", 30), "op": "r"}).encode()),
                   (wrapped({"id": 2}), wrapped({"before": None, "after": person(2, "Bert", 40), "op": "c"})),
                   (b'{"id":3}', json.dumps({"before": None, "after": person(3, None, 50), "op": "c"}).encode()),
                   (b'{"id":3}', json.dumps({"before": person(3, None, 50), "after": None, "op": "d"}).encode()), (b'{"id":3}', None),
                   (b'{"id":9}', b'{"op":"t"}'))
        self.write("orders", (key(1), change("r", None, (1, "12.345", AT_MS * 1000 + 456))), (key(2), change("c", None, (2, "-0.01", None))))
        self.write("readings", (None, b'd1;1.5;"a;""b"""\n'), (None, b"d2;;"), (None, b"d3;x;"), (None, b"d4;1"), (None, b"\xff;1;"))
        self.write("events", (None, framed(event, avro(EVENT, {"id": "e1", "n": -5, "at": AT_MS, "kind": "k"}))))
        self.write("plain", (None, avro(PLAIN, {"id": "p1", "tags": ["a", "界"]})), (None, b"\x02"))
        body = text_field(1, "m1") + b"\x10" + varint(7) + b"\x1a" + varint(len(timestamp(AT_MS))) + timestamp(AT_MS)
        self.write("messages", (None, framed(message, body, b"\x02\x02")), (None, framed(message, text_field(1, "o"), b"\0")))
        self.write("bare", (None, b"\x10\x05" + text_field(7, "b1")), (None, b"\x3a\x09x"))
        worker = start()
        self.at.wait_until_loaded()
        self.at.wait_for("the first of each format", lambda: "e1" in self.events() and self.read("messages_out"), 30)
        found = self.outputs()
        pseudonym = "k1:" + base64.urlsafe_b64encode(hmac.new(KEY, b"Anna", "sha256").digest()).decode().rstrip("=")
        self.assertEqual(found["people"][1], {"id": 1, "who": pseudonym, "age": 30})
        self.assertEqual({n for n, row in found["people"].items() if row}, {1, 2})
        self.assertEqual(dict(found["orders"])[1]["after"], {"id": 1, "amount": 12.35, "at": "2023-11-15T06:13:20.123+08:00"})
        self.assertEqual(dict(found["orders"])[2], {"before": None, "after": {"id": 2, "amount": -0.01, "at": None}, "op": "c"})
        self.assertEqual(found["readings"], ['d1,1.5,"a;""b"""', "d2,-,-"])
        self.assertEqual(found["events"], {"e1": (-5, AT_MS, "k")})
        self.assertEqual((found["plain"], found["messages"], found["bare"]), ([("p1", ["a", "界"])], [("m1", 7)], [("b1", 5)]))
        self.assertIn("TRUNCATE", self.reasons("people")[5][0])
        self.assertIsNone(self.reasons("people")[5][1], "of a source with a PRIVATE column no byte is shown")
        readings = self.reasons("readings")
        self.assertEqual(set(readings), {2, 3, 4}, readings)
        self.assertEqual(readings[4][1], b"\xff;1;", "the bytes as they came")
        self.assertIn("not valid UTF-8", readings[4][0])
        self.assertEqual(self.reasons("plain")[1][1], b"\x02")
        self.assertIn("not `Message`", self.reasons("messages")[1][0])
        self.assertIn("not a message `Bare`", self.reasons("bare")[1][0])

        # Schemas change in mid-stream, compatibly and not; what no registry knows is no record either.
        second, no_id, text = (self.registry.register("events-value", json.dumps(s)) for s in (EVENT_2, EVENT_NO_ID, EVENT_TEXT))
        self.registry.register("speeds", json.dumps(SPEED))
        self.registry.register("extra", EXTRA, "PROTOBUF")
        refers = lambda name, subject: [{"name": name, "subject": subject, "version": 1}]  # noqa: E731
        referring = self.registry.register("events-value", json.dumps(EVENT_REFERRING), "AVRO", refers("demo.Speed", "speeds"))
        referring_message = self.registry.register("messages-value", MESSAGES_2, "PROTOBUF", refers("extra.proto", "extra"))
        inline = record("Event", ("id", "string"), ("n", "long"), ("kind", SPEED))
        self.write("events",
                   (None, framed(second, avro(EVENT_2, {"id": "e2", "n": 1 << 40, "at": AT_MS * 1000, "more": {"x": 1.0}}))),
                   (None, framed(no_id, avro(EVENT_NO_ID, {"n": 1, "kind": "lost"}))),
                   (None, framed(text, avro(EVENT_TEXT, {"id": "e?", "n": "1"}))), (None, framed(999, b"\2x")),
                   (None, framed(event, avro(EVENT, {"id": "e3", "n": 3, "at": AT_MS, "kind": None}))), (None, b"{}"), (None, b""),
                   (None, framed(referring, avro(inline, {"id": "e5", "n": 5, "kind": "FAST"}))))
        self.write("messages", (None, framed(referring_message, text_field(1, "m2") + b"\x10\x08" + text_field(4, "\n\2ab"), b"\0")))
        self.write("orders", (key(1), change("u", (1, "12.345", None), (1, "20.000", None))), (key(2), change("d", (2, "-0.01", None), None)), (key(2), None))
        self.at.wait_for("the second schema", lambda: {"e2", "e3", "e5"} <= set(self.events()), 30)
        self.at.wait_for("the deletion", lambda: (2, None) in self.orders(), 30)
        found = self.outputs()
        self.assertEqual(found["events"]["e2"], (1 << 40, AT_MS, ""), "reordered, widened, in microseconds, without `kind`")
        self.assertEqual(found["events"]["e5"], (5, None, "FAST"), "by a schema that refers to another")
        self.assertEqual(found["messages"], [("m1", 7), ("m2", 8)], "by a file that imports another")
        of_two = [value and value["op"] for n, value in found["orders"] if n == 2]
        self.assertEqual(of_two, ["c", "d", None], "a deletion is told before its tombstone, and once")
        reasons = {offset: reason for offset, (reason, _) in self.reasons("events").items()}
        self.assertEqual(set(reasons), {2, 3, 4, 6, 7}, reasons)
        self.assertIn("column `id` is NOT NULL, but the schema has no such field", reasons[2])
        self.assertIn("column `n`: the schema has string, which cannot be read as BIGINT", reasons[3])
        self.assertIn("does not know schema 999", reasons[4])
        log = self.at.log()
        self.assertEqual(log.count("columns are not in the schema and are null"), 3, "once a schema")

        self.asks_why(environment, keys)

        # An outage of the registry: what it must be asked for waits, and nothing is rejected.
        self.registry.stop()
        third = self.registry.register("events-value", json.dumps(EVENT_3))
        self.write("events", (None, framed(third, avro(EVENT_3, {"id": "e4", "n": 4, "kind": "FAST"}))))
        waits = lambda: self.status(port).get("waits_for") or ""  # noqa: E731
        self.at.wait_for("the status to say so", lambda: "schema registry" in waits(), 30)
        self.assertIsNone(worker.poll(), self.at.log())
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        worker = start()
        self.at.wait_for("the status of the next worker to say so", lambda: "schema registry" in waits(), 60)
        self.assertEqual(set(self.reasons("events")), set(reasons))
        self.assertNotIn("e4", self.events())
        self.registry.start()
        self.at.wait_for("what waited", lambda: "e4" in self.events(), 40)
        self.assertEqual(waits(), "")
        found = self.outputs()
        self.assertEqual(found["events"]["e4"], (4, None, "FAST"))
        self.assertEqual(set(self.reasons("events")), set(reasons))

        # Ends as it is asked to, and is at its end then; for kills see tests/fault_injection/formats.py.
        worker.send_signal(signal.SIGTERM)
        self.assertEqual(worker.wait(60), 0, self.at.log())
        self.at.catch_up(environment=environment)
        found = self.outputs()
        self.assertEqual(set(found["events"]), {"e1", "e2", "e3", "e4", "e5"})
        self.assertEqual([value and value["op"] for n, value in found["orders"] if n == 2], ["c", "d", None])
        self.assertEqual({n: row for n, row in found["people"].items() if row}[1], {"id": 1, "who": pseudonym, "age": 30})
        everything = "".join(self.at.log(n) for n in range(1, self.at.n_runs + 1))
        for secret in ("s3cret", base64.b64encode(KEY).decode(), "ab" * 32, KEY.hex(), "Anna"):
            self.assertNotIn(secret, everything)

        # A registry that does not take the schema of a sink ends the worker with its reason.
        self.registry.only_takes(self.at.topic("messages_out") + "-value")
        self.at.edit(r"SELECT id, n, at FROM messages", "SELECT id, n, at, id AS other FROM messages")
        said = self.at.run("--until-caught-up", environment=environment, code=3)
        self.assertIn("not compatible (BACKWARD)", said)

    def asks_why(self, environment, keys):
        """The audit trail and `curb why` show rows and records in JSON, whatever their formats are, and nothing private."""
        asked = [PLACE.curb, "why", self.at.pack, "--brokers", PLACE.brokers, "--pipeline", self.at.prefix, "--output", "json"]

        def why(id_, sink, env=environment, code=0):
            of_sink = ["--sink", sink] if sink else []
            done = subprocess.run([asked[0], "why", id_, *of_sink, *asked[2:]], capture_output=True, text=True, check=False,
                                  env={**os.environ, **env, "CURB_PSEUDONYM_KEYS": keys})
            self.assertEqual(done.returncode, code, done.stderr)
            if code:
                return done.stderr
            said = json.loads(done.stdout)
            self.assertEqual(said["sink"], sink)
            return said["row"], [(r["relation"], r["key"], r["value"]) for r in said["records"]]

        at = "2023-11-15T06:13:20.123+08:00"
        event = {"id": "e2", "n": 1 << 40, "at": at, "kind": None}
        self.assertEqual(why("e2", "events_out"), (event, [("events", None, event)]))
        self.assertEqual(why("m1", "messages_out")[1][0][2], {"id": "m1", "n": 7, "at": at})
        self.assertEqual(why("d1", "readings_out")[1], [("readings", None, {"device": "d1", "value": 1.5, "note": 'a;"b"'})])
        row, records = why("1", "orders_out")
        self.assertEqual((row["amount"], records), (20.0, [("orders", "1", {"id": 1, "amount": 20.0, "at": None})]))
        self.assertIn("CURB_SCHEMA_REGISTRY_URL", why("e2", None, {}, 3))

    def status(self, port):
        """What the worker says of itself; nothing as long as it does not listen."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/status", timeout=5) as answer:
                return json.load(answer)
        except OSError:
            return {}

    @staticmethod
    def free_port():
        """A port that nobody has."""
        import socket
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            return listener.getsockname()[1]


def started(script, directory):
    """The address of a real registry; none if it has no Java to run on."""
    done = subprocess.run([script, "start", directory], check=False)
    if done.returncode == 3:
        print("the registry of the tests' own stands in for a real one", file=sys.stderr)
        return None
    if done.returncode:
        sys.exit(f"tests/kafka/registry ended with {done.returncode}")
    with open(os.path.join(directory, "registry-url"), encoding="utf-8") as file:
        return file.read().strip()


if __name__ == "__main__":
    if sys.argv[4:5] == ["--registry"]:
        REGISTRY = sys.argv[5]
        del sys.argv[4:6]
    DIRECTORY = tempfile.mkdtemp(prefix="curb-registry.")
    SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "registry")
    try:
        if REGISTRY == "start":
            REGISTRY = started(SCRIPT, DIRECTORY)
        run_suite(sys.modules[__name__], FormatsOnKafka)
    finally:
        subprocess.run([SCRIPT, "stop", DIRECTORY], check=True)
        shutil.rmtree(DIRECTORY)
