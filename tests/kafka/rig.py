"""What suites on a real Kafka share: topics, a pack that uses them, workers that run it, and what came out of it.

Every rig has topics of its own: it runs a copy of its pack whose topics carry a prefix, so that any number of them may share a
broker. Records are written and read by an independent client, the example `kafka_client`.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
from dataclasses import dataclass

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests", "oracle"))

import generate_safe_riding  # noqa: E402
import safe_riding  # noqa: E402
from replay_sources import parse_instant  # noqa: E402

PATIENCE_S = 120
MARKERS_S = 10
SINK_KEYS = {"disposal_actions": None, "party_actions": None, "reviews": "capture_id", "integrity_scores": "person_id",
             "household_proposals": "household_id", "helmet_rates": None}


SAFE_RIDING = os.path.join(ROOT, "sql", "safe-riding")
BESIDE_THE_CONTRACT = {"device-health.sql", "outcome-kpis.sql", "reminders.sql", "sanctions.sql", "tiers.sql", "vanguard-index.sql",
                       "visit-tasks.sql"}


@dataclass
class Place:
    """Where rigs run: a broker, the binary under test, the independent client, and a folder for what they leave behind."""

    brokers: str
    curb: str
    client: str
    root: str = None


def run_suite(module, *cases):
    """The command line of a suite: BROKERS CURB KAFKA_CLIENT [TEST ..]. Its tests find their place in `PLACE` of the module."""
    if len(sys.argv) < 4:
        sys.exit(module.__doc__)
    brokers, curb, client, *names = sys.argv[1:]
    module.PLACE = Place(brokers, curb, client)
    suite = unittest.TestSuite()
    for case in cases:
        # One that extends another has only its own tests; those of the other are run there.
        own = [name for name in unittest.defaultTestLoader.getTestCaseNames(case) if name in vars(case)]
        suite.addTests(case(name) for name in own if not names or name in names)
    if not suite.countTestCases():
        sys.exit(f"no test is named {' or '.join(names)}")
    sys.exit(not unittest.TextTestRunner(verbosity=2).run(suite).wasSuccessful())


def hyphens(name):
    """The topic of a relation."""
    return name.replace("_", "-")


def copy_contracted_part(folder):
    """Copies the safe-riding pack without what stands beside its contract: a broker of tests that run one after another would
    hold thousands of partitions of topics that nobody looks at."""
    os.mkdir(folder)
    texts = {}
    for name in os.listdir(SAFE_RIDING):
        if name.endswith(".sql") and name not in BESIDE_THE_CONTRACT:
            with open(os.path.join(SAFE_RIDING, name), encoding="utf-8") as file:
                texts[name] = file.read()
    optional = texts.pop("optional-sources.sql")
    rules = "\n".join(texts.values())
    head, *statements = re.split(r"(?m)^(?=CREATE )", optional)
    declared = [(s.split()[2], s) for s in statements]
    needed = [s for name, s in declared if re.search(r"\b" + name + r"\b", rules)]
    texts["optional-sources.sql"] = head + "".join(needed)
    for name, text in texts.items():
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            file.write(text)


class Rig:
    """Topics, a pack that uses them, and workers that run it."""

    def __init__(self, name, place, pack=None):
        self.place, self.brokers = place, place.brokers
        self.prefix = f"{name}-{time.time_ns() % 10**9}"
        self.dir = tempfile.mkdtemp(prefix=f"curb-{name}.", dir=place.root)
        self.pack = os.path.join(self.dir, "pack")
        self.n_runs = 0
        self.workers = []
        self.feeds = []
        if pack is None:
            copy_contracted_part(self.pack)
        else:
            os.mkdir(self.pack)
            with open(os.path.join(self.pack, "pack.sql"), "w", encoding="utf-8") as file:
                file.write(pack)
        self.edit(r"topic = '([a-z-]+)'", rf"topic = '{self.prefix}-\1'")

    def edit(self, pattern, replacement):
        """Changes the pack's text; returns how often."""
        n_changed = 0
        for name in os.listdir(self.pack):
            path = os.path.join(self.pack, name)
            if not os.path.isfile(path):
                continue
            with open(path, encoding="utf-8") as file:
                text, n = re.subn(pattern, replacement, file.read())
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            n_changed += n
        return n_changed

    def topic(self, name):
        """The topic of a source or sink."""
        return f"{self.prefix}-{hyphens(name)}"

    # === the independent client

    def client(self, command, *args, data=None):
        """Calls the independent client; returns what it printed."""
        done = subprocess.run([self.place.client, command, self.brokers, *args], input=data, capture_output=True,
                              check=False, timeout=PATIENCE_S)
        if done.returncode:
            raise AssertionError(f"kafka_client {command} {args}: {done.stderr.decode()}")
        return done.stdout.decode()

    def create(self, name, n_partitions, *settings):
        """Makes a topic."""
        self.client("create", self.topic(name), str(n_partitions), *settings)

    def produce(self, name, key, lines):
        """Writes lines into a source's topic."""
        if lines:
            data = "".join(line + "\n" for line in lines).encode()
            self.client("produce", self.topic(name), ",".join(key) or "-", "-", data=data)

    def send(self, name, records):
        """Writes records as they are: `(key, value)` in bytes or None, or a third element with partition and timestamp."""
        lines = []
        for key, value, *more in records:
            line = dict(more[0]) if more else {}
            if key is not None:
                line["key"] = key.hex()
            if value is not None:
                line["value"] = value.hex()
            lines.append(json.dumps(line))
        self.client("send", self.topic(name), data="".join(line + "\n" for line in lines).encode())

    def read(self, name, isolation="read_committed"):
        """The records of a topic, by partition and offset.

        A commit has returned before its markers are in every partition, and a reader of what is committed ends before them: a
        busy broker is given some time. A transaction that stays open is not waited for longer.
        """
        patience = time.monotonic() + MARKERS_S
        while isolation == "read_committed" and time.monotonic() < patience and not self.is_stable(name):
            time.sleep(0.1)
        return [json.loads(line) for line in self.client("consume", self.topic(name), isolation).split("\n") if line]

    def is_stable(self, name):
        """Whether no transaction is open in a topic; not while it has no leader, either."""
        try:
            ends = self.ends(self.topic(name))
        except AssertionError:
            return False
        return all(end["stable"] == end["high"] for partitions in ends.values() for end in partitions.values())

    def ends(self, *topics):
        """By topic and partition: the low, high and stable offset."""
        return json.loads(self.client("ends", *topics))

    def committed(self, *topics):
        """By topic and partition: the offset that the pipeline has committed."""
        return json.loads(self.client("committed", self.prefix, *topics))

    def feed(self):
        """A client that stays connected and writes what it is given."""
        feed = Feed(self)
        self.feeds.append(feed)
        return feed

    # === workers

    def start(self, *args, brokers=None, environment=None, create=True):
        """Starts a worker; its log is `self.log(number)`."""
        self.n_runs += 1
        with open(os.path.join(self.dir, f"worker-{self.n_runs}.log"), "wb") as log:
            worker = subprocess.Popen(
                [self.place.curb, "run", self.pack, "--brokers", brokers or self.brokers, "--pipeline", self.prefix,
                 *(["--create-topics"] if create else []), *args], stdout=log, stderr=log, env={**os.environ, **(environment or {})})
        self.workers.append(worker)
        return worker

    def log(self, number=None):
        """What a worker said, by default the last one."""
        with open(os.path.join(self.dir, f"worker-{number or self.n_runs}.log"), encoding="utf-8", errors="replace") as file:
            return file.read()

    def run(self, *args, code=0, patience_s=PATIENCE_S, **options):
        """Runs a worker to its end and checks its exit code; returns what it said."""
        worker = self.start(*args, **options)
        try:
            found = worker.wait(patience_s)
        except subprocess.TimeoutExpired:
            found = f"none within {patience_s} s"
        if found != code:
            raise AssertionError(f"exit code {found}, expected {code}; {self.dir}\n{self.log()[-3000:]}")
        return self.log()

    def catch_up(self, *args, **options):
        """Processes everything that is in the topics now."""
        return self.run("--until-caught-up", *args, **options)

    def wait_for(self, what, done, patience_s=PATIENCE_S):
        """Waits until `done()` holds."""
        until = time.monotonic() + patience_s
        while not done():
            if time.monotonic() > until:
                raise AssertionError(f"{what}: not within {patience_s} s; {self.dir}\n{self.log()[-3000:]}")
            time.sleep(0.2)

    def wait_until_loaded(self):
        """Waits until the last worker hands out results."""
        worker = self.workers[-1]

        def is_loaded():
            if worker.poll() is not None:
                raise AssertionError(f"ended with exit code {worker.poll()}; {self.dir}\n{self.log()[-3000:]}")
            return "tables loaded" in self.log()

        self.wait_for("loaded", is_loaded)

    def close(self, keep):
        """Ends what still runs."""
        for feed in self.feeds:
            feed.kill()
        for worker in self.workers:
            if worker.poll() is None:
                worker.kill()
                worker.wait()
        if keep:
            print(f"kept: {self.dir}", file=sys.stderr)
        else:
            shutil.rmtree(self.dir, ignore_errors=True)


class Feed:
    """A client that stays connected: rows of any source, in their order, also while brokers come and go."""

    def __init__(self, rig):
        self.rig = rig
        self.process = subprocess.Popen([rig.place.client, "feed", rig.brokers], stdin=subprocess.PIPE, stderr=subprocess.PIPE)

    def rows(self, name, key, lines):
        """Writes rows of a source."""
        head = f"{self.rig.topic(name)}\t{','.join(key) or '-'}\t"
        self.process.stdin.write("".join(f"{head}{line}\n" for line in lines).encode())
        self.process.stdin.flush()

    def end(self):
        """Returns when everything was taken by the brokers."""
        _, said = self.process.communicate(timeout=PATIENCE_S)
        if self.process.returncode:
            raise AssertionError(f"kafka_client feed: {said.decode()}")

    def kill(self):
        """Ends it as it is."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()


class SafeRiding(Rig):
    """The pack with generated sources, halved by order within each relation."""

    def __init__(self, name, place, seed, n_captures):
        super().__init__(name, place)
        self.input = os.path.join(self.dir, "input")
        generate_safe_riding.generate(seed, n_captures, max(30, n_captures // 20), self.input)
        self.lines = {s.name: self.source_lines(s) for s in safe_riding.SOURCES}
        for source in safe_riding.SOURCES:
            # In order of time and in one partition, so that no passage is late however epochs are cut.
            self.create(source.name, 1 if source.stream else 3)

    def source_lines(self, source):
        """The lines of a source as they are written; a stream's are put in order of time."""
        path = os.path.join(self.input, source.name + ".ndjson")
        if not os.path.exists(path):
            return []
        with open(path, encoding="utf-8", newline="\n") as file:
            lines = [line for line in file.read().split("\n") if line.strip()]
        if source.stream:
            lines.sort(key=lambda line: parse_instant(json.loads(line)["passed_at"]))
            with open(path, "w", encoding="utf-8", newline="\n") as file:
                file.writelines(line + "\n" for line in lines)
        return lines

    def halves(self):
        """The lines of each source in two halves; devices and passages, whose join follows arrival, are not divided."""
        first, second = {}, {}
        for name, lines in self.lines.items():
            middle = len(lines) if name == "devices" else len(lines) // 2
            first[name], second[name] = lines[:middle], lines[middle:]
        return first, second

    def produce_all(self, lines, n_parts=1, pause_s=0.0):
        """Writes the lines of all sources, in parts that alternate between the sources."""
        for part in range(n_parts):
            for source in safe_riding.SOURCES:
                own = lines.get(source.name, [])
                begin, end = (len(own) * p // n_parts for p in (part, part + 1))
                self.produce(source.name, () if source.stream else source.key, own[begin:end])
            time.sleep(pause_s)

    def outputs(self):
        """The records of every sink."""
        return {sink: self.read(sink) for sink in SINK_KEYS}

    def input_of(self, *parts):
        """A directory of sources as written so far, for the oracle."""
        directory = os.path.join(self.dir, f"input-{len(os.listdir(self.dir))}")
        os.mkdir(directory)
        for source in safe_riding.SOURCES:
            lines = [line for part in parts for line in part.get(source.name, [])]
            generate_safe_riding.write_lines(directory, source.name, lines)
        return directory

    def differences(self, outputs, input_dir, windows_closed):
        """What the oracle finds wrong with the outputs: order by key, revisions, content."""
        directory = os.path.join(self.dir, f"output-{len(os.listdir(self.dir))}")
        os.mkdir(directory)
        for sink, records in outputs.items():
            rows = []
            for record in records:
                if record["value"] is None:
                    record = {"value": {"_tombstone": True, SINK_KEYS[sink]: record["key"]}}
                rows.append(json.dumps(record["value"], ensure_ascii=False))
            generate_safe_riding.write_lines(directory, sink, rows)
        problems = safe_riding.compare(input_dir, directory, live=True)
        is_open = lambda p: p.startswith("helmet_rates: ") and ": missing, expected" in p  # noqa: E731
        return [p for p in problems if windows_closed or not is_open(p)]
