#!/usr/bin/env python3
"""What a pack reads besides topics, as a service on a real Kafka: tables that are files, what records say of themselves, several
relations over one topic; and what it does by the clock on the wall.

    python3 tests/kafka/sources_on_kafka.py BROKERS CURB KAFKA_CLIENT [TEST ..]

`CURB` is the binary under test, `KAFKA_CLIENT` the example of that name, an independent client. A failing test keeps its
directory.
"""

import datetime
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import unittest

from rig import Rig, run_suite

PLACE = None

SOURCES_PACK = """
SET TIME ZONE = 'Asia/Shanghai';
CREATE TABLE devices_UNIQUE (device_id VARCHAR PRIMARY KEY, town VARCHAR, lanes INT)
WITH (path = 'data/devices.csv', broadcast = true, watch = true);
CREATE TABLE limits (kind VARCHAR PRIMARY KEY, most INT) WITH (path = 'data/limits.ndjson');
CREATE STREAM passages (passage_id VARCHAR NOT NULL, device_id VARCHAR, passed_at TIMESTAMP WITH TIME ZONE NOT NULL)
WITH (topic = 'passages', format = 'json', event_time = 'passed_at');
CREATE STREAM speeds (passage_id VARCHAR NOT NULL, kind VARCHAR, speed INT) WITH (topic = 'passages', format = 'json');
CREATE TABLE people (person_id VARCHAR PRIMARY KEY, name VARCHAR) WITH (topic = 'people', format = 'json');
CREATE TABLE ages (person_id VARCHAR PRIMARY KEY, age INT) WITH (topic = 'people', format = 'json');

CREATE SINK located WITH (topic = 'located', format = 'json') AS
SELECT p.passage_id, d.town, header(p._headers, 'trace') AS trace, p._topic AS topic, p._partition AS number, p._offset AS at,
       p._key AS key, p._timestamp AS written
FROM passages AS p LEFT JOIN devices_UNIQUE AS d ON d.device_id = p.device_id;
CREATE SINK fast WITH (topic = 'fast', format = 'json') AS
SELECT s.passage_id, s.speed, l.most FROM speeds AS s JOIN limits AS l ON l.kind = s.kind WHERE s.speed > l.most;
CREATE SINK towns WITH (topic = 'towns', format = 'json') AS
SELECT town, count(*) AS devices, sum(lanes) AS lanes FROM devices_UNIQUE GROUP BY town;
CREATE SINK profiles WITH (topic = 'profiles', format = 'json') AS
SELECT p.person_id, p.name, a.age, p._offset AS at FROM people AS p JOIN ages AS a ON a.person_id = p.person_id;
"""

CLOCK_PACK = """
CREATE TABLE people (person_id VARCHAR PRIMARY KEY, town VARCHAR) WITH (topic = 'people', format = 'json');
CREATE STREAM rides (ride_id VARCHAR NOT NULL, person_id VARCHAR) WITH (topic = 'rides', format = 'json');
CREATE SINK by_town WITH (topic = 'by-town', format = 'json') AS
SELECT town, count(*) AS n FROM people GROUP BY town EMIT CHANGES EVERY '12 seconds';
CREATE SINK seen WITH (topic = 'seen', format = 'json', wait = '12 seconds') AS
SELECT r.ride_id, p.town FROM rides AS r LEFT JOIN people AS p ON p.person_id = r.person_id;
"""

SIMULATED_PACK = """
SET TIME ZONE = 'Asia/Shanghai';
CREATE TABLE people (person_id VARCHAR PRIMARY KEY, town VARCHAR) WITH (topic = 'people', format = 'json');
CREATE TABLE limits (town VARCHAR PRIMARY KEY, most INT) WITH (path = 'limits.csv');
CREATE STREAM rides (ride_id VARCHAR NOT NULL, person_id VARCHAR, ridden_at TIMESTAMP WITH TIME ZONE NOT NULL)
WITH (topic = 'rides', format = 'json', event_time = 'ridden_at', watermark_delay = '400 days');
CREATE SINK by_town WITH (topic = 'by-town', format = 'json') AS
SELECT p.town, count(*) AS people, max(l.most) AS most FROM people AS p JOIN limits AS l ON l.town = p.town GROUP BY p.town;
CREATE SINK seen WITH (topic = 'seen', format = 'json') AS SELECT ride_id, person_id, ridden_at FROM rides;
"""

SIMULATION = """
CREATE VIEW numbers AS SELECT unnest(generate_series(1, people())) AS i;
INSERT INTO people SELECT 'p' || i AS person_id, 'town' || (i % 3) AS town FROM numbers;
INSERT INTO people SELECT 'p1' AS person_id, true AS _tombstone;
INSERT INTO rides SELECT 'r' || i AS ride_id, 'p' || i AS person_id, started_at() + i * INTERVAL '1 hour' AS ridden_at FROM numbers;
"""


class SourcesOnKafka(unittest.TestCase):
    """Each test is one pipeline."""

    def rig(self, made):
        self.addCleanup(lambda: made.close(keep=self.failed()))
        return made

    def failed(self):
        outcome = self._outcome.result
        return any(test is self for test, _ in outcome.failures + outcome.errors)

    def content(self, rig, sink):
        """The rows that an upsert sink holds, by key."""
        rows = {}
        for record in rig.read(sink):
            rows[record["key"]] = record["value"]
        return {key: row for key, row in rows.items() if row is not None}

    def test_files_headers_and_relations_over_one_topic(self):
        unique = f"{time.time_ns() % 10**9}"
        rig = self.rig(Rig("sources", PLACE, SOURCES_PACK.replace("UNIQUE", unique)))
        rig.create("passages", 2)
        rig.create("people", 2)
        os.mkdir(os.path.join(rig.pack, "data"))

        def write(name, text):
            """As a careful operator does: the file is there as a whole or not at all."""
            path = os.path.join(rig.pack, "data", name)
            with open(path + ".new", "w", encoding="utf-8") as file:
                file.write(text)
            os.replace(path + ".new", path)

        def passage(name, device, speed, **more):
            value = {"passage_id": name, "device_id": device, "passed_at": "2026-01-01T08:00:00+08:00", "kind": "car", "speed": speed}
            rig.send("passages", [(b"k-" + name.encode(), json.dumps(value).encode(), more)])

        def located():
            return {r["value"]["passage_id"]: r["value"] for r in rig.read("located")}

        def n_records():
            return {sink: len(rig.read(sink)) for sink in ("located", "fast", "towns", "profiles")}

        # A pack without its files does not start, and makes no topic: the broker is not even asked.
        write("limits.ndjson", '{"kind":"car","most":50}\n{"kind":"truck","most":30}\n')
        said = rig.run(code=3, brokers="127.0.0.1:9")
        self.assertIn("`data/devices.csv`, which does not exist", said)
        checked = subprocess.run([PLACE.curb, "check", rig.pack], capture_output=True, text=True, check=False)
        self.assertEqual(checked.returncode, 1, checked)
        self.assertIn("C0120", checked.stderr)
        self.assertIn(os.path.join(rig.pack, "data", "devices.csv"), checked.stderr)

        write("devices.csv", "device_id,town,lanes\nd1,north,2\nd2,north,1\nd3,south,many\n")
        # Not older than the broker keeps records.
        written_ms = int(time.time() * 1000) - 3_600_000
        passage("p1", "d1", 60, headers={"trace": "t1", "other": "x"}, timestamp=written_ms, partition=1)
        passage("p2", "d9", 40, partition=0)
        passage("p3", "d2", "fast", partition=0)
        rig.produce("people", ("person_id",), ['{"person_id":"a","name":"Anna","age":20}', '{"person_id":"b","name":"Bert","age":"?"}'])
        said = rig.catch_up()
        rows = located()
        self.assertEqual(set(rows), {"p1", "p2", "p3"}, said)
        instant = rows["p1"].pop("written")
        self.assertEqual(datetime.datetime.fromisoformat(instant), datetime.datetime.fromtimestamp(written_ms / 1000, datetime.UTC))
        self.assertTrue(instant.endswith("+08:00"), instant)
        self.assertEqual(rows["p1"], {"passage_id": "p1", "town": "north", "trace": "t1", "topic": rig.topic("passages"), "number": 1,
                                      "at": 0, "key": "k-p1"})
        self.assertEqual((rows["p2"]["town"], rows["p2"]["trace"], rows["p2"]["at"]), (None, None, 0))
        self.assertEqual((rows["p3"]["town"], rows["p3"]["number"], rows["p3"]["at"]), ("north", 0, 1))
        # The record whose speed is no number is good enough for the other relation over the topic.
        self.assertEqual([r["value"] for r in rig.read("fast")], [{"passage_id": "p1", "speed": 60, "most": 50}])
        [refused] = rig.read("passages.rejected")
        self.assertIn("speed", refused["headers"]["curb_reason"])
        self.assertEqual(len(rig.read("people.rejected")), 1)
        self.assertEqual(self.content(rig, "towns"), {"north": {"town": "north", "devices": 2, "lanes": 3}})
        own = [json.loads(line) for line in rig.client("consume", f"devices-{unique}.rejected").split("\n") if line]
        self.assertEqual(len(own), 1, own)
        self.assertIn("lanes", own[0]["headers"]["curb_reason"])
        self.assertEqual(own[0]["headers"]["curb_offset"], "4", own)
        self.assertEqual(set(self.content(rig, "profiles")), {"a"})
        before = n_records()
        rig.catch_up()
        self.assertEqual(n_records(), before, "a restart without changes wrote")

        # While it runs: one file is watched, the other is not.
        worker = rig.start()
        rig.wait_until_loaded()
        write("devices.csv", "device_id,town,lanes\nd2,south,1\nd3,south,4\nd4,west,2\n")
        write("limits.ndjson", '{"kind":"car","most":30}\n')
        expected = {"south": {"town": "south", "devices": 2, "lanes": 5}, "west": {"town": "west", "devices": 1, "lanes": 2}}
        rig.wait_for("the changed file", lambda: self.content(rig, "towns") == expected, 20)
        self.assertEqual(sum(r["key"] == "north" for r in rig.read("towns")), 2, "one row, one tombstone")
        passage("p4", "d4", 40, partition=0)
        rig.wait_for("p4", lambda: "p4" in located(), 20)
        self.assertEqual(located()["p4"]["town"], "west")
        self.assertEqual(len(rig.read("fast")), 1, "limits.ndjson is not watched")
        rig.produce("people", ("person_id",), ['{"person_id":"b","name":"Bert","age":31}', '{"person_id":"a","name":"Anna","age":21}'])
        ages = lambda: {key: row["age"] for key, row in self.content(rig, "profiles").items()}  # noqa: E731
        rig.wait_for("ages", lambda: ages() == {"a": 21, "b": 31}, 20)
        # A file that is lost leaves the table as it is.
        os.remove(os.path.join(rig.pack, "data", "devices.csv"))
        time.sleep(2.5)
        self.assertIsNone(worker.poll(), rig.log())
        self.assertEqual(self.content(rig, "towns"), expected)
        worker.kill()
        worker.wait()

        # What changed meanwhile is taken in at the start, of both files.
        write("devices.csv", "device_id,town,lanes\nd2,south,1\nd3,south,4\nd4,east,2\n")
        rig.produce("people", ("person_id",), ['{"_tombstone":true,"person_id":"a"}'])
        passage("p5", "d4", 40, partition=1)
        rig.catch_up()
        expected = {"south": expected["south"], "east": {"town": "east", "devices": 1, "lanes": 2}}
        self.assertEqual(self.content(rig, "towns"), expected)
        self.assertEqual(located()["p5"]["town"], "east")
        fast = sorted((r["value"]["passage_id"], r["value"]["most"]) for r in rig.read("fast"))
        self.assertEqual(fast, [("p1", 50), ("p5", 30)])
        self.assertEqual(ages(), {"b": 31})
        rows = [r["value"]["passage_id"] for r in rig.read("located")]
        self.assertEqual(sorted(rows), ["p1", "p2", "p3", "p4", "p5"], "each once")
        before = n_records()
        rig.catch_up()
        self.assertEqual(n_records(), before, "a restart without changes wrote")

    def curb(self, *args, code=0):
        """Runs a command to its end; returns what it printed and what it said."""
        done = subprocess.run([PLACE.curb, *args], capture_output=True, text=True, check=False, timeout=120)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout, done.stderr

    def test_simulated_records_give_the_same_from_topics_as_from_files_and_rows_are_explained_with_files(self):
        rig = self.rig(Rig("simulated", PLACE, SIMULATED_PACK))
        os.mkdir(os.path.join(rig.pack, "simulation"))
        for name, text in (("simulation/people.sql", SIMULATION), ("limits.csv", "town,most\ntown0,10\ntown1,11\ntown2,12\n")):
            with open(os.path.join(rig.pack, name), "w", encoding="utf-8") as file:
                file.write(text)
        files, output = os.path.join(rig.dir, "files"), os.path.join(rig.dir, "output")
        simulate = ["simulate", rig.pack, "--people", "40", "--output", "json"]
        _, said = self.curb(*simulate, code=2)
        self.assertIn("--to DIR", said)
        _, said = self.curb(*simulate, "--brokers", rig.brokers, code=3)
        self.assertIn("--create-topics", said)
        printed, _ = self.curb(*simulate, "--brokers", rig.brokers, "--to", files, "--create-topics", "--rate", "100")
        self.assertEqual(json.loads(printed), {"people": 41, "rides": 40})
        self.assertEqual(sorted(os.listdir(files)), ["people.ndjson", "rides.ndjson"])
        self.assertEqual([r["value"] is None for r in rig.read("people") if r["key"] == "p1"], [False, True])
        self.curb("replay", rig.pack, "--from", files, "--to", output)
        rig.catch_up("--audit")

        def lines(name):
            with open(os.path.join(output, name + ".ndjson"), encoding="utf-8") as file:
                return [json.loads(line) for line in file]

        self.assertEqual(self.content(rig, "by_town"), {row["town"]: row for row in lines("by_town")})
        by_ride = lambda rows: sorted(rows, key=lambda row: row["ride_id"])  # noqa: E731
        self.assertEqual(by_ride(r["value"] for r in rig.read("seen")), by_ride(lines("seen")))

        # What is to come is left out, and the last day is today.
        printed, _ = self.curb(*simulate, "--days", "1", "--until", "now", "--to", files + "-now")
        n_hours = datetime.datetime.now(datetime.timezone(datetime.timedelta(hours=8))).hour
        self.assertIn(json.loads(printed)["rides"], (n_hours - 1, n_hours, n_hours + 1))

        # A row is explained with the line of the file, and not in more memory than is allowed.
        place = ["why", "town2", rig.pack, "--brokers", rig.brokers, "--pipeline", rig.prefix, "--output", "json"]
        printed, _ = self.curb(*place)
        found = json.loads(printed)
        self.assertEqual((found["row"], found["is_minimal"]), ({"town": "town2", "people": 13, "most": 12}, True))
        self.assertEqual([r["value"] for r in found["records"] if r["relation"] == "limits"], ["town2,12"])
        self.assertEqual(sum(r["relation"] == "people" for r in found["records"]), 13)
        _, said = self.curb(*place, "--max-mib", "0", code=6)
        self.assertIn("--max-mib", said)
        with open(os.path.join(rig.pack, "limits.csv"), "a", encoding="utf-8") as file:
            file.write("town3,13\n")
        _, said = self.curb(*place)
        self.assertIn("limits.csv` of table `limits` is another one than when the row left", said)

        # Two packs over the same history.
        self.assertIn("both write the same to all 2 sinks", self.curb("diff", rig.pack, rig.pack, "--from", files)[0])
        other = shutil.copytree(rig.pack, os.path.join(rig.dir, "other"))
        with open(os.path.join(other, "pack.sql"), "a", encoding="utf-8") as file:
            file.write("CREATE SINK riders WITH (topic = 'riders', format = 'json') AS SELECT DISTINCT person_id FROM rides EMIT CHANGES;")
        printed, _ = self.curb("diff", rig.pack, other, "--from", files, "--limit", "2", code=1)
        self.assertIn("riders (by person_id): 40 added, 0 removed, 0 changed, 0 the same", printed)
        self.assertIn(".. and 38 more", printed)
        self.assertIn("the same: by_town, seen", printed)

    def test_what_waits_for_the_clock_waits_over_a_kill_and_leaves_before_the_end(self):
        rig = self.rig(Rig("clock", PLACE, CLOCK_PACK))
        rig.create("people", 2)
        rig.create("rides", 1)
        person = lambda name, town: rig.produce("people", ("person_id",), [json.dumps({"person_id": name, "town": town})])  # noqa: E731
        ride = lambda name, of: rig.produce("rides", (), [json.dumps({"ride_id": name, "person_id": of})])  # noqa: E731
        counts = lambda: [r["value"]["n"] for r in rig.read("by_town")]  # noqa: E731
        seen = lambda: {r["value"]["ride_id"]: r["value"]["town"] for r in rig.read("seen")}  # noqa: E731
        worker = rig.start()
        rig.wait_until_loaded()
        # The first change of a key leaves after this moment, so that the next one cannot within the interval from here on.
        began = time.monotonic()
        is_early = lambda: time.monotonic() - began < 11  # noqa: E731
        person("a", "north")
        ride("r1", "a")
        rig.wait_for("the first of a key", lambda: counts() == [1] and seen() == {"r1": "north"}, 10)
        people = [json.dumps({"person_id": name, "town": "north"}) for name in "bc"]
        rig.produce("people", ("person_id",), people)
        waits_from = time.monotonic()
        ride("r2", "later")
        time.sleep(1)
        found = (counts(), seen())
        n_early = int(is_early())
        if is_early():
            self.assertEqual(found, ([1], {"r1": "north"}))
        worker.kill()
        worker.wait()
        worker = rig.start()
        rig.wait_until_loaded()
        found = counts()
        if is_early():
            self.assertEqual(found, [1], "it waits on after the kill")
        self.assertGreater(n_early, 0, "this machine is too slow to see anything wait")
        rig.wait_for("the interval", lambda: counts() == [1, 3], 30)
        rig.wait_for("the end of the wait", lambda: "r2" in seen(), 30)
        self.assertIsNone(seen()["r2"])
        self.assertGreater(time.monotonic() - waits_from, 12)
        ride("r3", "d")
        person("d", "south")
        rig.wait_for("what it waited for", lambda: seen().get("r3") == "south", 10)
        person("e", "north")
        person("f", "north")
        worker.send_signal(signal.SIGTERM)
        self.assertEqual(worker.wait(30), 0, rig.log())
        ride("r4", "nobody")
        # Whoever reads to the end and stops lets everything go first.
        rig.catch_up()
        last = {r["key"]: r["value"]["n"] for r in rig.read("by_town")}
        self.assertEqual(last, {"north": 5, "south": 1})
        self.assertEqual(seen()["r4"], None)
        self.assertEqual(sorted(r["value"]["ride_id"] for r in rig.read("seen")), ["r1", "r2", "r3", "r4"], "each once")


if __name__ == "__main__":
    run_suite(sys.modules[__name__], SourcesOnKafka)
