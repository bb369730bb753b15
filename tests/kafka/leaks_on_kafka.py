#!/usr/bin/env python3
"""Nothing that a record holds, and no secret, leaves by the side doors: markers are planted in records, keys, headers, bad records,
settings and the environment, and looked for in logs, metrics, answers over HTTP, spans, error messages, names of files and arguments.

    python3 tests/kafka/leaks_on_kafka.py BROKERS CURB KAFKA_CLIENT [TEST ..]

`CURB` is the binary under test, built with `otlp`; `KAFKA_CLIENT` the example of that name. A failing test keeps its directory.
"""

import base64
import http.server
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest
import urllib.error
import urllib.request

from rig import Rig, run_suite

PLACE = None

PACK = """
SET TIME ZONE = 'Asia/Shanghai';
CREATE TABLE people (person_id VARCHAR PRIMARY KEY PRIVATE, name VARCHAR PRIVATE, phone VARCHAR PRIVATE, points INT PRIVATE)
WITH (topic = 'people', format = 'json');
CREATE STREAM rides (ride_id VARCHAR NOT NULL, person_id VARCHAR PRIVATE, plate VARCHAR NOT NULL PRIVATE, speed INT PRIVATE,
    at TIMESTAMP WITH TIME ZONE NOT NULL)
WITH (topic = 'rides', format = 'json', event_time = 'at', watermark_delay = '1 second', max_future = '1 hour');
CREATE STREAM passes (plate VARCHAR NOT NULL PRIVATE, at TIMESTAMP WITH TIME ZONE NOT NULL)
WITH (topic = 'passes', format = 'json', event_time = 'at', watermark_delay = '1 second');
CREATE SINK letters WITH (topic = 'letters', format = 'json', allow_private = true) AS
SELECT p.person_id, p.name, p.phone, r.plate, header(r._headers, 'traceparent') AS trace
FROM rides AS r JOIN people AS p ON p.person_id = r.person_id;
CREATE SINK hours WITH (topic = 'hours', format = 'json') AS
SELECT window_start, count(*) AS n FROM passes GROUP BY tumble(at, INTERVAL '1 hour');
"""

TRACE = "0af7651916cd43dd8448eb211c80319c"


class Markers:
    """Texts that stand nowhere else, by what they stand for."""

    def __init__(self):
        self.texts = {}

    def new(self, what, form="MARK{}"):
        self.texts[what] = form.format(secrets.token_hex(6))
        return self.texts[what]

    def digits(self, what, n):
        self.texts[what] = str(secrets.randbelow(9 * 10 ** (n - 1)) + 10 ** (n - 1))
        return self.texts[what]

    def found_in(self, content):
        """What of the markers stands in a text or in bytes, as it is or in another form."""
        content = content if isinstance(content, bytes) else content.encode("utf-8", "surrogateescape")
        folded = content.lower()
        found = []
        for what, text in self.texts.items():
            raw = text.encode()
            forms = [raw, json.dumps(text)[1:-1].encode(), raw.hex().encode(), base64.b64encode(raw).rstrip(b"=")[:-1]]
            if any(form.lower() in folded for form in forms):
                found.append(what)
        return found


class Collector(http.server.BaseHTTPRequestHandler):
    """Takes spans, and keeps what it was sent."""

    received = []

    def do_POST(self):  # noqa: N802
        body = self.rfile.read(int(self.headers["content-length"]))
        Collector.received.append((self.path, dict(self.headers), body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


def free_port():
    """A port of this machine that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ask(url, data=None, headers=None):
    """The answer to a request, whatever its code."""
    request = urllib.request.Request(url, data=data, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()


class LeaksOnKafka(unittest.TestCase):
    """Each test is one pipeline."""

    def setUp(self):
        self.markers = Markers()

    def rig(self, made):
        self.addCleanup(lambda: made.close(keep=self.failed()))
        return made

    def failed(self):
        outcome = self._outcome.result
        return any(test is self for test, _ in outcome.failures + outcome.errors)

    def clean(self, where, content):
        """Fails if a marker stands in what was said."""
        self.assertEqual(self.markers.found_in(content), [], f"leaked in {where}")

    def plant(self, rig):
        """Good and bad records, all of them with markers."""
        new, digits = self.markers.new, self.markers.digits
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        person, name = digits("identity number", 18), new("name", "张标{}")
        phone, plate = digits("phone", 11), new("plate", "ZJE{}")
        key = new("key of a stream").encode()
        header = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01", "authorization": new("header"), "trace": new("second header")}
        rig.send("people", [
            (person.encode(), json.dumps({"person_id": person, "name": name, "phone": phone, "points": 3}).encode()),
            # Not JSON; no value for a type; a key that disagrees; none; not UTF-8; a number that does not fit.
            (new("key of a broken record").encode(), b'{"name": "' + new("broken record").encode()),
            (b"p1", json.dumps({"person_id": "p1", "points": new("wrong type")}).encode()),
            (new("wrong key").encode(), json.dumps({"person_id": new("other key")}).encode()),
            (None, json.dumps({"person_id": new("record without key")}).encode()),
            (b"p2", b'{"person_id": "p2", "name": "\xff' + new("not UTF-8").encode() + b'"}'),
            (b"p3", b'{"person_id": "p3", "points": ' + digits("number", 30).encode() + b"}"),
        ])
        ride = lambda **fields: json.dumps({"ride_id": "r", "person_id": person, "plate": plate, "at": now, **fields}).encode()  # noqa: E731
        rig.send("rides", [
            (key, ride(), {"headers": header}),
            (key, ride(speed=new("wrong type in a stream"))),
            (key, ride(plate=None, person_id=new("null"))),
            (key, ride(at="2099-01-01T00:00:00Z", person_id=new("future"))),
            (key, ride(at=new("wrong time"))),
            (key, b"[" * 2_000 + new("nested").encode()),
            (None, None),
        ])
        rig.send("passes", [(None, json.dumps({"plate": new("passing plate"), "at": now}).encode())])

    def late(self, rig):
        """A record that comes after its window has closed."""
        old = {"plate": self.markers.new("late plate"), "at": "2001-01-01T00:00:00Z"}
        rig.send("passes", [(self.markers.new("late key").encode(), json.dumps(old).encode())])

    def secrets_of(self, rig):
        """A configuration file and an environment that hold secrets."""
        path = os.path.join(rig.dir, "curb.toml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"[kafka.properties]\n'ssl.key.password' = '{self.markers.new('secret of the file')}'\n"
                       f"'sasl.username' = '{self.markers.new('user of the file')}'\n'sasl.mechanism' = 'PLAIN'\n")
        return path, {
            "CURB_KAFKA_SASL_PASSWORD": self.markers.new("secret of the environment"),
            "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer {self.markers.new('token of the collector')}",
        }

    def run_and_look(self, form, level, *arguments):
        """Runs a pipeline over planted records and looks at everything that it says."""
        rig = self.rig(Rig("leaks", PLACE, PACK))
        rig.create("people", 2)
        rig.create("rides", 1)
        rig.create("passes", 1)
        self.plant(rig)
        config, environment = self.secrets_of(rig)
        Collector.received = []
        collector = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
        threading.Thread(target=collector.serve_forever, daemon=True).start()
        self.addCleanup(collector.server_close)
        self.addCleanup(collector.shutdown)
        environment.update({
            "CURB_LOG": level, "CURB_LOG_FORMAT": form, "OTEL_BSP_SCHEDULE_DELAY": "200",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_port}",
        })
        http_address = f"127.0.0.1:{free_port()}"
        state = os.path.join(rig.dir, "state")
        worker = rig.start("--config", config, "--http", http_address, "--state-dir", state, *arguments, environment=environment)
        rig.wait_until_loaded()
        rig.wait_for("the letter", lambda: rig.read("letters"))
        self.late(rig)

        def metrics():
            return ask(f"http://{http_address}/metrics")[1]

        rig.wait_for("the late record", lambda: 'fate="late"} 1' in metrics())
        letters = rig.read("letters")
        self.assertEqual(set(self.markers.found_in(json.dumps(letters, ensure_ascii=False))),
                         {"identity number", "name", "phone", "plate"}, "the sink that may have them has them")
        said = {f"the answer of {path}": ask(f"http://{http_address}{path}")[1] for path in
                ("/metrics", "/api/status", "/api/history", "/api/refused", "/livez", "/readyz", "/")}
        rejected = {line.split("reason=\"")[1].split("\"")[0]: float(line.split()[-1]) for line in
                    said["the answer of /metrics"].splitlines() if line.startswith("curb_records_rejected_total")}
        self.assertLessEqual({"unreadable", "type", "key", "null", "future", "encoding", "no_value"}, set(rejected), rejected)
        self.assertGreater(len(json.loads(said["the answer of /api/refused"])), 5)
        # SQL that somebody asks is nobody else's business either; whether it is answered does not matter here.
        literal = self.markers.new("SQL text")
        ask(f"http://{http_address}/api/sql", f"SELECT '{literal}' AS x".encode(), {"x-curb-request": "1", "content-type": "text/plain"})
        ask(f"http://{http_address}/api/{self.markers.new('address')}?q={self.markers.new('query')}")
        with open(f"/proc/{worker.pid}/cmdline", "rb") as file:
            said["the arguments"] = file.read()
        self.assertIn(b"--config", said["the arguments"])
        told = ('curb_kafka_client_rtt_seconds{client="source",stat="p99"}', 'curb_kafka_client_brokers{client="sink",state="up"} 1',
                'curb_kafka_transaction_state{state="Ready"} 1')
        rig.wait_for("what the clients say of themselves", lambda: all(line in metrics() for line in told), 30)
        said["the metrics after that"] = metrics()
        worker.send_signal(signal.SIGTERM)
        self.assertEqual(worker.wait(60), 0, rig.log()[-2000:])
        said["the log"] = rig.log()
        said["the names of files"] = "\n".join(os.path.join(folder, name) for folder, _, names in os.walk(state) for name in names)
        spans = b"".join(body for _, _, body in Collector.received)
        said["the spans"] = spans
        for source in ("people", "rides"):
            said[f"the rejected records of {source}"] = json.dumps(rig.read(f"{source}.rejected"), ensure_ascii=False)
        said["the late records"] = json.dumps(rig.read("passes.late"), ensure_ascii=False)
        for where, content in said.items():
            self.clean(where, content)
        # What should be there is there, or nothing was looked at.
        self.assertTrue(any(path == "/v1/traces" for path, _, _ in Collector.received))
        for expected in (b"epoch", b"decode", b"commit", b"/api/status", b"curb.pipeline", rig.prefix.encode(), bytes.fromhex(TRACE)):
            self.assertIn(expected, spans)
        self.assertIn("curb_length", said["the rejected records of people"])
        self.assertIn("curb_pack_info{", said["the metrics after that"])
        return rig, said["the log"]

    def test_a_run_with_debug_lines_in_json(self):
        rig, log = self.run_and_look("json", "debug")
        lines = [json.loads(line) for line in log.splitlines() if line.strip()]
        self.assertTrue(any(line["level"] == "DEBUG" for line in lines))
        for line in lines:
            self.assertLessEqual({"timestamp", "level", "message", "target"}, set(line), line)
        known = [line for line in lines if line["message"] == "restored state"]
        self.assertTrue(known and all(line["pipeline"] == rig.prefix and line["worker"] and "epoch" in line for line in known), known)

    def test_a_run_with_everything_in_text(self):
        _, log = self.run_and_look("text", "trace", "-X", "debug=all")
        self.assertIn("DEBUG", log)

    def test_errors_do_not_repeat_what_they_complain_about(self):
        rig = self.rig(Rig("leaks", PLACE, PACK))
        rig.create("people", 1)
        rig.create("rides", 1)
        rig.create("passes", 1)
        new = self.markers.new
        pem = f"-----BEGIN PRIVATE KEY-----\n{new('key material')}\n-----END PRIVATE KEY-----"
        configs = {
            "a line that is not TOML": f"[kafka.properties]\n'sasl.password' = '{new('unterminated')}\n",
            "a secret where none belongs": f"password = '{new('unknown key')}'\n",
            "a secret instead of a number": f"shards = '{new('wrong type of a setting')}'\n",
            "a secret instead of a table": f"[kafka]\nproperties = '{new('wrong type of a table')}'\n",
            "a secret in a list": f"[kafka.properties]\n'sasl.password' = ['{new('list')}']\n",
            "a property that does not exist": f"[kafka.properties]\n'sasl.pasword' = '{new('misspelt property')}'\n",
            "a broken key": f"[kafka.properties]\n'ssl.key.pem' = '''{pem}'''\n'security.protocol' = 'ssl'\n",
            "a login that is refused": f"[kafka.properties]\n'security.protocol' = 'sasl_plaintext'\n'sasl.mechanism' = 'PLAIN'\n"
                                       f"'sasl.username' = 'u'\n'sasl.password' = '{new('refused password')}'\n",
        }
        for what, text in configs.items():
            path = os.path.join(rig.dir, "bad.toml")
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            worker = rig.start("--config", path, environment={"CURB_LOG": "debug"})
            self.assertNotEqual(worker.wait(90), 0, what)
            self.clean(what, rig.log())
            self.assertIn("error: ", rig.log(), what)
        exposed = subprocess.run([PLACE.curb, "state", "list", "--brokers", "127.0.0.1:1", "--pipeline", "none", "-X",
                                  f"sasl.password={new('secret of an argument')}"], capture_output=True, timeout=90, check=False)
        self.assertIn(b"a secret that is given with -X can be seen", exposed.stderr)
        self.clean("a secret given as an argument", exposed.stdout + exposed.stderr)
        with open(os.path.join(rig.dir, "secret"), "w", encoding="utf-8") as file:
            file.write(new("secret in a file of its own") + "\n")
        with open(os.path.join(rig.dir, "good.toml"), "w", encoding="utf-8") as file:
            file.write("[kafka.property_files]\n'sasl.password' = 'secret'\n[kafka.properties]\n"
                       f"'ssl.key.password' = '{new('secret that is shown')}'\n")
        shown = subprocess.run([PLACE.curb, "config", "show", "--config", os.path.join(rig.dir, "good.toml")], capture_output=True,
                               timeout=60, check=False, env={**os.environ, "CURB_KAFKA_SASL_USERNAME": "u"})
        self.assertIn(b"sasl.password", shown.stdout + shown.stderr)
        self.clean("the settings shown", shown.stdout + shown.stderr)
        outcomes = {
            "a flag that is no property": ["run", rig.pack, "-X", f"{new('flag')}"],
            "a property without a name": ["run", rig.pack, "-X", f"={new('nameless')}"],
        }
        for what, arguments in outcomes.items():
            done = subprocess.run([PLACE.curb, *arguments], capture_output=True, timeout=60, check=False)
            self.assertNotEqual(done.returncode, 0, what)
            # The usage error of a command line may show the command line; what it must not do is to put it anywhere else.
            self.assertTrue(done.stderr, what)
            self.clean(what, done.stdout)
        broken = subprocess.run([PLACE.curb, "state", "list", "--brokers", "127.0.0.1:1", "--pipeline", "none"], capture_output=True,
                                timeout=90, check=False, env={**os.environ, "CURB_KAFKA_SASL_PASSWORD": new("environment of a command")})
        self.assertNotEqual(broken.returncode, 0)
        self.clean("a command without a broker", broken.stdout + broken.stderr)


if __name__ == "__main__":
    run_suite(sys.modules[__name__], LeaksOnKafka)
