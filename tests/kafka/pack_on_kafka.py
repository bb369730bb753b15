#!/usr/bin/env python3
"""The pack `sql/safe-riding` as a service on a real Kafka: the program itself, killed and restarted, against the oracle.

    python3 tests/kafka/pack_on_kafka.py BROKERS CURB KAFKA_CLIENT [TEST ..]

`CURB` is the binary under test, `KAFKA_CLIENT` the example of that name, an independent client. Every test has topics of
its own: it runs a copy of the pack whose topics carry a prefix. Sizes and the number of kills come from CURB_TEST_CAPTURES
(default 1500), CURB_TEST_KILLS (default 6) and CURB_TEST_SEED (default 1). A failing test keeps its directory.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from rig import HERE, Place, Rig, SafeRiding, run_suite, safe_riding

CAPTURES = int(os.environ.get("CURB_TEST_CAPTURES", "1500"))
KILLS = int(os.environ.get("CURB_TEST_KILLS", "6"))
SEED = int(os.environ.get("CURB_TEST_SEED", "1"))
PLACE = None


BAD_INPUT_PACK = """
SET TIME ZONE = 'Asia/Shanghai';
CREATE TABLE items (item_id VARCHAR NOT NULL PRIMARY KEY, at TIMESTAMP WITH TIME ZONE NOT NULL, n INT)
WITH (topic = 'items', format = 'json', event_time = 'at');
CREATE STREAM events (event_id VARCHAR NOT NULL, at TIMESTAMP WITH TIME ZONE NOT NULL, item_id VARCHAR)
WITH (topic = 'events', format = 'json', event_time = 'at');
CREATE SINK copies WITH (topic = 'copies', format = 'json') AS SELECT item_id, n FROM items;
CREATE SINK seen WITH (topic = 'seen', format = 'json') AS SELECT event_id, item_id FROM events;
"""


AUDIT_PACK = """
CREATE TABLE captures (capture_id VARCHAR NOT NULL PRIMARY KEY, plate VARCHAR, rider VARCHAR PRIVATE, at TIMESTAMP WITH TIME ZONE NOT NULL)
WITH (topic = 'captures', format = 'json', event_time = 'at');
CREATE TABLE voids (capture_id VARCHAR NOT NULL PRIMARY KEY, ground VARCHAR) WITH (topic = 'voids', format = 'json');
CREATE TABLE visits (PRIMARY KEY (plate)) AS
SELECT plate, count(*) AS n FROM captures AS c WHERE NOT EXISTS (SELECT 1 FROM voids AS v WHERE v.capture_id = c.capture_id)
GROUP BY plate HAVING count(*) >= 2;
CREATE SINK visit_steps WITH (topic = 'visit-steps', format = 'json', key = 'plate') AS
SELECT coalesce(after.plate, before.plate) AS plate, coalesce(after.n, before.n) AS n,
       CASE WHEN after IS NULL THEN 'withdrawn' ELSE 'issued' END AS status, revision
FROM CHANGES(visits);
"""


class PackOnKafka(unittest.TestCase):
    """Each test is one pipeline."""

    def rig(self, made):
        self.addCleanup(lambda: made.close(keep=self.failed()))
        return made

    def failed(self):
        outcome = self._outcome.result
        return any(test is self for test, _ in outcome.failures + outcome.errors)

    def assert_equal_to_oracle(self, rig, outputs, input_dir, windows_closed=False):
        problems = rig.differences(outputs, input_dir, windows_closed)
        self.assertEqual(problems[:10], [], f"{len(problems)} differences; {rig.dir}")
        ids = [(sink, r["headers"].get("curb_id")) for sink, records in outputs.items() for r in records]
        self.assertNotIn(None, [i for _, i in ids])
        self.assertEqual(len(ids), len(set(ids)), "a curb_id repeats")
        for name in safe_riding.SOURCES:
            self.assertEqual(rig.read(name.name + ".late"), [], name.name)

    def test_an_action_is_explained_from_its_audit_trail(self):
        rig = self.rig(Rig("audit", PLACE, AUDIT_PACK))
        rig.create("captures", 3)
        rig.create("voids", 1)

        def capture(name, plate):
            return json.dumps({"capture_id": name, "plate": plate, "rider": "planted-name", "at": "2026-01-01T08:00:00+08:00"})

        def why(code=0):
            asked = subprocess.run([PLACE.curb, "why", "P1", rig.pack, "--brokers", rig.brokers, "--pipeline", rig.prefix,
                                    "--output", "json"], capture_output=True, text=True, check=False, timeout=120)
            self.assertEqual(asked.returncode, code, asked.stderr)
            self.assertNotIn("planted-name", asked.stdout + asked.stderr)
            return json.loads(asked.stdout) if code == 0 else asked.stderr

        rig.produce("captures", ("capture_id",), [capture(f"a{n}", "P1") for n in range(2)] + [capture(f"b{n}", "P2") for n in range(40)])
        rig.catch_up("--audit")
        answer = why()
        self.assertEqual(answer["row"], {"plate": "P1", "n": 2, "status": "issued", "revision": 1})
        self.assertTrue(answer["is_minimal"])
        self.assertEqual(sorted(r["value"]["capture_id"] for r in answer["records"]), ["a0", "a1"])
        self.assertEqual({r["value"]["rider"] for r in answer["records"]}, {"***"})
        self.assertEqual({r["topic"] for r in answer["records"]}, {rig.topic("captures")})
        # What comes later is no part of it, and the trail goes on behind a restart.
        rig.produce("voids", ("capture_id",), ['{"capture_id":"a0","ground":"plate recorded wrongly"}'])
        rig.catch_up("--audit")
        answer = why()
        self.assertEqual((answer["row"]["status"], answer["row"]["revision"]), ("withdrawn", 2))
        self.assertEqual(sorted(r["relation"] for r in answer["records"]), ["captures", "captures", "voids"])
        # Somebody writes into the trail.
        trail = rig.prefix + ".audit"
        rig.client("produce", trail, "-", "-", data=b'{"kind":"row"}\n')
        self.assertIn("audit trail is broken", why(code=6))

    def test_first_start_live_changes_and_restarts(self):
        rig = self.rig(SafeRiding("live", PLACE, SEED, CAPTURES))
        first, second = rig.halves()
        rig.produce_all(first)
        rig.catch_up()
        outputs = rig.outputs()
        self.assert_equal_to_oracle(rig, outputs, rig.input_of(first))
        for sink in ("disposal_actions", "party_actions"):
            rows = [r["value"] for r in outputs[sink]]
            self.assertEqual({(r["status"], r["revision"]) for r in rows}, {("issued", 1)}, sink)
            self.assertEqual(len(rows), len({r["action_id"] for r in rows}), sink)
        n_records = {sink: len(records) for sink, records in outputs.items()}
        rig.catch_up()
        rig.catch_up()
        self.assertEqual({s: len(r) for s, r in rig.outputs().items()}, n_records, "a restart without changes wrote")

        # All passages first: a stream that falls silent is idle, and later passages would be late.
        rig.produce_all({"passages": second.pop("passages")})
        quarters = [{n: lines[len(lines) * q // 3: len(lines) * (q + 1) // 3] for n, lines in second.items()} for q in range(3)]
        for quarter in quarters:
            worker = rig.start()
            rig.wait_until_loaded()
            rig.produce_all(quarter, n_parts=3)
            time.sleep(1)
            worker.send_signal(signal.SIGTERM)
            self.assertEqual(worker.wait(30), 0, rig.log()[-3000:])
        rig.catch_up()
        # Windows close when the clock says so, although nothing comes any more.
        expected = safe_riding.expected(rig.input)
        worker = rig.start()
        rig.wait_for("windows closed", lambda: len(rig.read("helmet_rates")) >= len(expected.helmet_rates), 60)
        worker.send_signal(signal.SIGTERM)
        self.assertEqual(worker.wait(30), 0, rig.log()[-3000:])
        outputs = rig.outputs()
        self.assert_equal_to_oracle(rig, outputs, rig.input, windows_closed=True)
        self.assertTrue(any(r["value"]["status"] == "withdrawn" for r in outputs["disposal_actions"]))

        self.assertGreater(rig.edit("unique_for = '7 days'", "unique_for = '6 days'"), 0)
        said = rig.run("--until-caught-up", code=3)
        self.assertIn("`passages` has changed", said)
        self.assertEqual({s: len(r) for s, r in rig.outputs().items()}, {s: len(r) for s, r in outputs.items()})

    def test_killed_at_random_moments_under_load(self):
        rig = self.rig(SafeRiding("kill", PLACE, SEED, CAPTURES))
        chooser = random.Random(SEED)
        first, second = rig.halves()
        for name in ("devices", "passages"):
            rig.produce_all({name: first.pop(name) + second.pop(name)})
        failures = []

        def load():
            try:
                for half in (first, second):
                    rig.produce_all(half, n_parts=max(4, KILLS), pause_s=0.05)
            except Exception as error:  # noqa: BLE001: told to the test
                failures.append(error)

        producer = threading.Thread(target=load)
        producer.start()
        epochs = []
        for _ in range(KILLS):
            worker = rig.start(environment={"CURB_LOG": "info,curb::kafka::sink=debug"})
            if chooser.random() < 0.7:
                rig.wait_until_loaded()
            time.sleep(chooser.random() * 2)
            worker.kill()
            worker.wait()
            epochs.append(rig.log().count("committed epoch="))
        producer.join()
        self.assertEqual(failures, [])
        self.assertGreater(sum(epochs), KILLS, "hardly an epoch was committed between the kills")
        rig.catch_up()
        self.assert_equal_to_oracle(rig, rig.outputs(), rig.input)

    def test_a_broker_that_is_killed_is_waited_for(self):
        directory = tempfile.mkdtemp(prefix="curb-own-broker.")
        script = lambda name, *options: subprocess.run(  # noqa: E731
            [os.path.join(HERE, name), *options, directory], check=True, stdout=subprocess.DEVNULL)
        self.addCleanup(script, "stop")
        script("start")
        with open(os.path.join(directory, "bootstrap"), encoding="utf-8") as file:
            own = Place(file.read().strip(), PLACE.curb, PLACE.client)
        rig = self.rig(SafeRiding("broker", own, SEED, CAPTURES))
        first, second = rig.halves()
        for name in ("devices", "passages"):
            rig.produce_all({name: first.pop(name) + second.pop(name)})
        worker = rig.start()
        # A broker that was never reached is the operator's to mend: the worker would end.
        rig.wait_for("restored", lambda: worker.poll() is not None or "restored state" in rig.log())
        for half in (first, second):
            rig.produce_all(half)
            script("stop", "--keep", "--kill")
            time.sleep(5)
            script("start")
        rig.wait_for("reading on", lambda: worker.poll() is not None or len(rig.read("disposal_actions")) > 0)
        time.sleep(5)
        worker.send_signal(signal.SIGTERM)
        self.assertEqual(worker.wait(60), 0, rig.log(1)[-3000:])
        rig.catch_up()
        self.assert_equal_to_oracle(rig, rig.outputs(), rig.input)

    def test_bad_input_is_refused_with_its_reason_and_stops_nothing(self):
        rig = self.rig(Rig("bad", PLACE, BAD_INPUT_PACK))
        rig.create("items", 2, "max.message.bytes=5000000")
        rig.create("events", 2, "max.message.bytes=5000000")
        big, day = "x" * (2 << 20), "2026-01-01T00:00:00Z"
        item = lambda key, at=day, n="1", more="": f'{{"item_id":"{key}","at":"{at}","n":{n}{more}}}'  # noqa: E731
        good = [item("a"), item("unknown", more=',"x":{"y":[1]}'), item("padded", more=f',"x":"{big}"'), item(""),
                item("gone"), '{"_tombstone":true,"item_id":"gone"}', '{"_tombstone":true,"item_id":"never"}',
                item("ancient", "1970-01-01T00:00:00Z"), item("null", n="null")]
        bad = [item("text", n='"seven"'), item("wide", n="99999999999"), item("fraction", n="1.5"),
               item("future", "2262-04-11T23:47:16Z"), item("no time", "yesterday"), item("null time").replace(f'"{day}"', "null"),
               item("array").replace('{"item_id"', '[{"item_id"')]
        keyless = ["{", "[]", "null", item("keyless")]
        rig.produce("items", ("item_id",), good + bad[:-1])
        rig.produce("items", (), [bad[-1], *keyless])
        event = lambda key, at=day, more="": f'{{"event_id":"{key}","at":"{at}"{more}}}'  # noqa: E731
        rig.produce("events", (), [event("1"), "not json", event("2", "1970-01-01T00:00:00Z"), event("3", "2262-04-11T23:47:16Z"),
                                   event("4", more=',"item_id":{"a":1}'), event("5", more=f',"item_id":"{big}"'),
                                   event("deep", more=',"x":' + "[" * 5000 + "]" * 5000)])
        said = rig.catch_up()
        content = {r["key"]: r["value"] for r in rig.read("copies") if r["value"]}
        self.assertEqual(set(content), {"a", "unknown", "padded", "", "ancient", "null"}, said)
        refused = rig.read("items.rejected")
        self.assertEqual(len(refused), len(bad) + len(keyless), refused)
        for record in refused + rig.read("events.rejected"):
            headers = record["headers"]
            self.assertTrue(headers["curb_reason"] and len(headers["curb_sha256"]) == 64, headers)
        seen = {r["value"]["event_id"] for r in rig.read("seen")}
        self.assertLessEqual({"1", "2"}, seen)
        self.assertFalse({"3", "4"} & seen)
        # The row of 2 MiB is larger than the sink's topic takes: it is left out, and the log says so.
        self.assertNotIn("5", seen)
        self.assertIn("larger than its topic takes", said)
        n_records = [len(rig.read(name)) for name in ("copies", "seen", "items.rejected", "events.rejected")]
        rig.produce("items", ("item_id",), [item("after")])
        rig.catch_up()
        n_records[0] += 1
        self.assertEqual(
            [len(rig.read(name)) for name in ("copies", "seen", "items.rejected", "events.rejected")], n_records)

    def test_what_is_wrong_is_said_with_its_remedy(self):
        rig = self.rig(Rig("said", PLACE, BAD_INPUT_PACK))
        said = rig.run("--until-caught-up", code=3, create=False)
        for name in (rig.topic("items"), rig.topic("events.late"), f"{rig.prefix}.state", "--create-topics"):
            self.assertIn(name, said)
        began = time.monotonic()
        said = rig.run("--until-caught-up", code=4, brokers="127.0.0.1:9")
        self.assertLess(time.monotonic() - began, 15)
        self.assertIn("127.0.0.1:9", said)
        self.assertIn("broker unreachable", said)
        said = rig.run("-X", "no.such.property=1", code=3)
        self.assertIn("`no.such.property`", said)
        said = rig.run("-X", "enable.idempotence=false", code=3)
        self.assertIn("`enable.idempotence`", said)
        self.assertEqual(rig.catch_up().count("error:"), 0, "empty topics")
        said = rig.run("--until-caught-up", "--shards", "5", code=3)
        self.assertIn("8 partitions", said)
        self.assertIn("5 shards", said)

    def test_of_two_workers_one_works(self):
        rig = self.rig(Rig("two", PLACE, BAD_INPUT_PACK))
        first = rig.start()
        rig.wait_until_loaded()
        other = rig.start("--instance", "1")
        number = rig.n_runs
        rig.produce("items", ("item_id",), ['{"item_id":"a","at":"2026-01-01T00:00:00Z","n":1}'])
        rig.wait_for("row", lambda: rig.read("copies"), 20)
        self.assertEqual(other.wait(90), 6, rig.log(number))
        self.assertIn("another member", rig.log(number))
        self.assertIsNone(first.poll(), "the worker that was there goes on")

        successor = rig.start()
        rig.wait_until_loaded()
        rig.produce("items", ("item_id",), ['{"item_id":"b","at":"2026-01-01T00:00:00Z","n":1}'])
        self.assertEqual(first.wait(30), 5, rig.log(1))
        self.assertIn("fenced by a newer instance", rig.log(1))
        rig.wait_for("row", lambda: len(rig.read("copies")) == 2, 20)
        successor.send_signal(signal.SIGINT)
        self.assertEqual(successor.wait(30), 0, rig.log())


if __name__ == "__main__":
    run_suite(sys.modules[__name__], PackOnKafka)
