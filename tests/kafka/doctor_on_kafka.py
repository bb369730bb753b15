#!/usr/bin/env python3
"""`curb doctor` against planted faults on a real Kafka: each must be found, with what to do about it, and nothing must be found
where nothing is wrong.

    python3 tests/kafka/doctor_on_kafka.py BROKERS CURB KAFKA_CLIENT [TEST ..]

A second broker with logins, access rights and a small transaction timeout is started and ended here.
"""

import contextlib
import http.server
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import unittest

from rig import HERE, Rig, run_suite

PLACE = None

PACK = """
CREATE TABLE people (person_id VARCHAR PRIMARY KEY, town VARCHAR) WITH (topic = 'people', format = 'json');
CREATE STREAM rides (ride_id VARCHAR NOT NULL, person_id VARCHAR) WITH (topic = 'rides', format = 'json');
CREATE SINK by_town WITH (topic = 'by-town', format = 'json') AS SELECT town, count(*) AS n FROM people GROUP BY town;
CREATE SINK seen WITH (topic = 'seen', format = 'json') AS SELECT ride_id, person_id FROM rides;
"""
OTHER_PACK = """
CREATE TABLE shops (shop_id VARCHAR PRIMARY KEY, town VARCHAR) WITH (topic = 'shops', format = 'json');
CREATE SINK shop_towns WITH (topic = 'shop-towns', format = 'json') AS SELECT town, count(*) AS n FROM shops GROUP BY town;
"""
FILE_TABLE = "\nCREATE TABLE limits (kind VARCHAR PRIMARY KEY, most INT) WITH (path = 'limits.csv');\n"


class Registry(http.server.BaseHTTPRequestHandler):
    """A schema registry without schemas, for one user."""

    def do_GET(self):
        """Whoever logs in is told that there is none."""
        is_allowed = self.headers.get("Authorization") == "Basic Y3VyYjpodW50ZXIy"
        self.send_response(200 if is_allowed else 401)
        self.end_headers()
        self.wfile.write(b"[]")

    def log_message(self, *_):
        """Says nothing."""


def closed_port():
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class DoctorOnKafka(unittest.TestCase):
    """Each test plants faults in a pipeline of its own."""

    def rig(self, pack=PACK):
        rig = Rig("doctor", PLACE, pack)
        self.addCleanup(lambda: rig.close(keep=False))
        return rig

    _shared = None

    def well(self):
        """A pipeline that has run once and that no test changes."""
        if DoctorOnKafka._shared is None:
            DoctorOnKafka._shared = self.healthy(Rig("doctor", PLACE, PACK))
            unittest.addModuleCleanup(lambda: DoctorOnKafka._shared.close(keep=False))
        return DoctorOnKafka._shared

    def healthy(self, rig=None):
        """A pipeline that has run once."""
        rig = rig or self.rig()
        for topic in ("people", "rides"):
            rig.create(topic, 2, "cleanup.policy=compact" if topic == "people" else "cleanup.policy=delete")
        for topic in ("by-town", "seen"):
            rig.create(topic, 2, "cleanup.policy=compact" if topic == "by-town" else "cleanup.policy=delete")
        rig.produce("people", ("person_id",), ['{"person_id":"a","town":"north"}'])
        rig.produce("rides", (), ['{"ride_id":"r","person_id":"a"}'])
        rig.catch_up("--shards", "2")
        return rig

    def doctor(self, rig, *args, code, brokers=None, pack=True, environment=None):
        """What it finds: lines of level, check, text and remedy."""
        state = os.path.join(rig.dir, "state")
        done = subprocess.run(
            [PLACE.curb, "doctor", *([rig.pack] if pack else []), "--brokers", brokers or rig.brokers, "--pipeline", rig.prefix,
             "--output", "json", *([] if "--state-dir" in args else ["--state-dir", state]), *args],
            capture_output=True, text=True, check=False, timeout=60, env={**os.environ, **(environment or {})})
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return json.loads(done.stdout)["findings"]

    def found(self, findings, level, check, words, remedy):
        """One finding with these words, and a remedy with those."""
        matching = [f for f in findings if f["level"] == level and f["check"] == check and words in f["text"]]
        shown = json.dumps(findings, indent=1, ensure_ascii=False)
        self.assertEqual(len(matching), 1, f"{level} {check}: {words!r}\n{shown}")
        self.assertIn(remedy, matching[0]["remedy"], shown)

    def bad(self, findings, level="problem"):
        return [f for f in findings if f["level"] == level]

    def test_a_pipeline_that_is_well_has_no_problem_and_text_says_the_same(self):
        rig = self.well()
        findings = self.doctor(rig, code=0)
        # The worker ended a moment ago, and is a member for as long as a session lasts.
        expected = ("only one copy", "grows without end", "is in the group: it runs, or has ended", "the latest row of each key")
        warnings = [f["text"] for f in self.bad(findings, "warning")]
        self.assertTrue(all(any(words in text for words in expected) for text in warnings), warnings)
        for check in ("settings", "pack", "disk", "brokers", "topics", "state", "group", "rights", "transactions", "clock"):
            self.assertTrue(any(f["check"] == check and f["level"] == "ok" for f in findings), (check, findings))
        lag = [f["text"] for f in findings if "has still to read" in f["text"]]
        self.assertEqual(lag, [f"`{rig.prefix}` has still to read 0 records of 2 topics"])
        text = subprocess.run([PLACE.curb, "doctor", rig.pack, "--brokers", rig.brokers, "--pipeline", rig.prefix],
                              capture_output=True, text=True, check=False)
        self.assertEqual(text.returncode, 0, text.stdout + text.stderr)
        self.assertRegex(text.stdout, r"(?m)^ok +transactions ")
        self.assertRegex(text.stdout, r"0 problems, 0 skipped\n$")
        # Nothing was changed by looking.
        rig.catch_up()
        self.assertEqual(len(rig.read("seen")), 1)

    def test_faults_of_topics_and_their_settings(self):
        rig = self.healthy()
        state = f"{rig.prefix}.state"
        rig.client("alter", state, "cleanup.policy=compact")
        rig.client("alter", rig.topic("seen"), "max.message.bytes=2000", "cleanup.policy=compact")
        rig.client("alter", rig.topic("by-town"), "min.insync.replicas=2")
        rig.edit("-people'", "-peple'")
        findings = self.doctor(rig, "--shards", "8", code=1)
        self.found(findings, "problem", "state", "has 2 partitions, but --shards is 8", "leave --shards out")
        self.found(findings, "problem", "state", "cleanup.policy=compact", f"--entity-name {state} --add-config cleanup.policy=delete")
        self.found(findings, "problem", "topics", "at most 2000 bytes", "max.message.bytes=")
        self.found(findings, "problem", "topics", "it is compacted", "cleanup.policy=delete")
        self.found(findings, "problem", "topics", "min.insync.replicas=2 with 1 replicas", "min.insync.replicas=1")
        self.found(findings, "problem", "topics", f"to be read do not exist: `{rig.topic('peple')}`", "correct the name in the pack")
        self.found(findings, "problem", "topics", f"`{rig.topic('peple')}.late`", "--create-topics")

    def test_a_topic_that_was_deleted_and_one_that_was_made_anew(self):
        rig = self.healthy()
        subprocess.run([os.path.join(HERE, "tool"), "TopicCommand", "--bootstrap-server", rig.brokers, "--delete", "--topic",
                        f"{rig.topic('people')}|{rig.topic('rides')}"], check=True, capture_output=True, timeout=60)
        rig.create("rides", 2)
        findings = self.doctor(rig, code=1)
        self.found(findings, "problem", "group", f"has read `{rig.topic('people')}`, which does not exist any more", "curb state reset")
        self.found(findings, "problem", "group", "the topic was made anew", "curb state reset")

    def test_a_group_that_another_pipeline_uses(self):
        rig = self.rig()
        for topic in ("people", "rides", "by-town", "seen"):
            rig.create(topic, 1)
        other = self.rig(OTHER_PACK)
        other.create("shops", 1)
        other.prefix, prefix = rig.prefix, other.prefix
        other.start()
        other.wait_until_loaded()
        findings = self.doctor(rig, "--create-topics", code=1)
        self.found(findings, "problem", "group", f"reads `{prefix}-shops`, which the pack does not", "choose another --pipeline")
        other.workers[-1].kill()

    def test_faults_of_this_machine_and_of_the_pack(self):
        rig = self.healthy()
        with open(os.path.join(rig.dir, "no-folder"), "w", encoding="utf-8") as file:
            file.write("x")
        with open(os.path.join(rig.pack, "pack.sql"), "a", encoding="utf-8") as file:
            file.write(FILE_TABLE)
        findings = self.doctor(rig, "--state-dir", os.path.join(rig.dir, "no-folder", "state"), "--http", "here",
                               code=1, environment={"CURB_BROKER": "x"})
        self.found(findings, "problem", "disk", "cannot be written to", "--state-dir")
        self.found(findings, "problem", "pack", "C0120 table `limits` is the file `limits.csv`, which does not exist", "must be there")
        self.found(findings, "problem", "http", "`here` is not an address", "127.0.0.1:8642")
        self.found(findings, "warning", "settings", "CURB_BROKER is no setting; did you mean CURB_BROKERS?", "rename")
        rig.edit("SELECT ride_id", "SELECT rideid")
        findings = self.doctor(rig, code=1)
        self.found(findings, "problem", "pack", "pack.sql:5:", "ride_id")

    def test_a_clock_that_goes_wrong(self):
        rig = self.well()
        source, library = os.path.join(rig.dir, "clock.c"), os.path.join(rig.dir, "clock.so")
        with open(source, "w", encoding="utf-8") as file:
            file.write(WRONG_CLOCK)
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
        wrong = lambda seconds: {"LD_PRELOAD": library, "WRONG_BY_S": str(seconds)}  # noqa: E731
        findings = self.doctor(rig, code=1, environment=wrong(120))
        self.found(findings, "problem", "clock", "s ahead of a broker", "time server")
        findings = self.doctor(rig, code=1, environment=wrong(-3600))
        self.found(findings, "problem", "clock", "s behind a broker", "time server")
        findings = self.doctor(rig, code=0, environment=wrong(-5))
        self.found(findings, "warning", "clock", "s behind a broker", "time server")

    def test_addresses_and_protocols_that_are_wrong(self):
        rig = self.well()
        closed = f"127.0.0.1:{closed_port()}"
        findings = self.doctor(rig, code=4, brokers=closed)
        self.found(findings, "problem", "brokers", "nobody accepts connections there", "--brokers")
        # One of two that answers is enough, and the other is named.
        findings = self.doctor(rig, code=1, brokers=f"{closed},{rig.brokers}")
        self.found(findings, "problem", "brokers", closed, "start the broker")
        findings = self.doctor(rig, code=4, brokers="no-such-host.invalid:9092")
        self.found(findings, "problem", "brokers", "stands for no address", "name server")
        findings = self.doctor(rig, "-X", "security.protocol=ssl", code=4)
        self.found(findings, "problem", "brokers", "another protocol than security.protocol=ssl", "set security.protocol")
        with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as silent:
            findings = self.doctor(rig, code=4, brokers="127.0.0.1:%d" % silent.getsockname()[1])
            self.found(findings, "problem", "brokers", "does not answer as a broker", "Kafka broker listens")

    def test_a_registry_that_is_away_or_refuses(self):
        rig = self.well()
        url = f"http://127.0.0.1:{closed_port()}"
        findings = self.doctor(rig, code=1, environment={"CURB_SCHEMA_REGISTRY_URL": url})
        self.found(findings, "problem", "registry", f"{url} does not answer", "schema_registry.url")
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Registry)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.shutdown)
        url = "http://127.0.0.1:%d" % server.server_address[1]
        findings = self.doctor(rig, code=1, environment={"CURB_SCHEMA_REGISTRY_URL": url})
        self.found(findings, "problem", "registry", "refuses the login", "schema_registry.user")
        password = os.path.join(rig.dir, "password")
        with open(password, "w", encoding="utf-8") as file:
            file.write("hunter2\n")
        login = {"CURB_SCHEMA_REGISTRY_URL": url, "CURB_SCHEMA_REGISTRY_USER": "curb", "CURB_SCHEMA_REGISTRY_PASSWORD_FILE": password}
        findings = self.doctor(rig, code=0, environment=login)
        self.assertIn("ok", [f["level"] for f in findings if f["check"] == "registry"])


# What a program takes for the time, but not how long it waits.
WRONG_CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*right)(clockid_t, struct timespec *);
    if (!right) right = (int (*)(clockid_t, struct timespec *)) dlsym(RTLD_NEXT, "clock_gettime");
    int done = right(clock, now);
    const char *wrong_by = getenv("WRONG_BY_S");
    if (clock == CLOCK_REALTIME && wrong_by) now->tv_sec += atol(wrong_by);
    return done;
}
"""

SECURED = """listener.security.protocol.map=PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT,INTERNAL:PLAINTEXT
sasl.enabled.mechanisms=PLAIN
sasl.mechanism.inter.broker.protocol=PLAIN
listener.name.plaintext.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
username="admin" password="admin" user_admin="admin" user_curb="secret";
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:admin;User:ANONYMOUS
transaction.max.timeout.ms=10000
"""


class DoctorOnASecuredKafka(DoctorOnKafka):
    """A broker that asks who one is, and lets nobody do what was not allowed."""

    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.mkdtemp(prefix="curb-secured.")
        broker = os.path.join(cls.dir, "broker")
        subprocess.run([os.path.join(HERE, "start"), broker], check=True, env={**os.environ, "CURB_TEST_BROKER_SETTINGS": SECURED})
        with open(os.path.join(broker, "bootstrap"), encoding="utf-8") as file:
            cls.brokers = file.read().strip()
        cls.admin = os.path.join(cls.dir, "admin.properties")
        with open(cls.admin, "w", encoding="utf-8") as file:
            file.write("security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\nsasl.jaas.config="
                       "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"admin\" password=\"admin\";\n")

    @classmethod
    def tearDownClass(cls):
        subprocess.run([os.path.join(HERE, "stop"), os.path.join(cls.dir, "broker")], check=False)
        shutil.rmtree(cls.dir, ignore_errors=True)

    def tool(self, name, *args):
        subprocess.run([os.path.join(HERE, "tool"), name, "--bootstrap-server", self.brokers, "--command-config", self.admin, *args],
                       check=True, capture_output=True, timeout=60)

    def login(self, password="secret"):
        return {"CURB_KAFKA_SECURITY_PROTOCOL": "sasl_plaintext", "CURB_KAFKA_SASL_MECHANISM": "PLAIN",
                "CURB_KAFKA_SASL_USERNAME": "curb", "CURB_KAFKA_SASL_PASSWORD": password}

    def test_logins_rights_and_a_transaction_timeout(self):
        rig = self.rig()
        findings = self.doctor(rig, code=4, brokers=self.brokers, environment=self.login("wrong"))
        self.found(findings, "problem", "brokers", "the login was refused", "sasl.password")
        findings = self.doctor(rig, code=4, brokers=self.brokers)
        self.found(findings, "problem", "brokers", "another protocol than security.protocol=plaintext", "set security.protocol")
        for topic in ("people", "rides", "seen"):
            self.tool("TopicCommand", "--create", "--topic", rig.topic(topic), "--partitions", "1")
        allow = lambda *args: self.tool("AclCommand", "--add", "--allow-principal", "User:curb", *args)  # noqa: E731
        allow("--operation", "Read", "--topic", rig.topic("people"))
        allow("--operation", "Read", "--operation", "Describe", "--topic", rig.topic("seen"))
        findings = self.doctor(rig, "--create-topics", code=1, brokers=self.brokers, environment=self.login())
        self.found(findings, "problem", "rights", f"may not see topic `{rig.topic('rides')}`", "--operation Read --operation Describe")
        self.found(findings, "problem", "rights", f"lacks Write, DescribeConfigs on `{rig.topic('seen')}`", "--operation Write")
        self.found(findings, "problem", "rights", f"group `{rig.prefix}` may not be seen", f"group {rig.prefix}")
        self.found(findings, "problem", "transactions", f"may not write transactions as `{rig.prefix}-doctor`", "prefixed")
        allow("--operation", "All", "--transactional-id", rig.prefix, "--resource-pattern-type", "prefixed")
        findings = self.doctor(rig, code=1, brokers=self.brokers, environment=self.login())
        self.found(findings, "problem", "transactions", "sooner than the 30000 ms", "transaction.max.timeout.ms")


if __name__ == "__main__":
    run_suite(sys.modules[__name__], DoctorOnKafka, DoctorOnASecuredKafka)
