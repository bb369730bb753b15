"""What must hold after every fault: nothing lost, nothing twice, everything accounted for, and committed to the end."""

import json
import os
import random
import re
import signal
import subprocess
import threading
import time

from harness import LOG, commits, shorten
from rig import PATIENCE_S, safe_riding

COUNTS = re.compile(r"caught up epoch=\d+ n_records=(\d+) n_used=(\d+) n_duplicate=(\d+) n_late=(\d+) n_rejected=(\d+)")
SOURCE_NAMES = [source.name for source in safe_riding.SOURCES]


def repeated_ids(outputs):
    """Ids of records that came twice, or records without one, over all sinks."""
    seen, wrong = set(), []
    for sink, records in outputs.items():
        for record in records:
            name = (sink, record["headers"].get("curb_id"))
            if name[1] is None or name in seen:
                wrong.append((*name, record["partition"], record["offset"]))
            seen.add(name)
    return wrong


def offsets_behind(rig, sources):
    """Partitions of sources whose committed offset is not their end."""
    topics = [rig.topic(name) for name in sources]
    committed, ends = rig.committed(*topics), rig.ends(*topics)
    return [(topic, p, committed[topic][p], end["high"]) for topic, partitions in ends.items()
            for p, end in partitions.items() if (committed[topic][p] or 0) != end["high"]]


def last_pass(context, rig, sources, *args, **options):
    """Reads what is left without any fault; each record of it is counted once, and the offsets come to their ends."""
    topics = [rig.topic(name) for name in sources]
    total = lambda offsets: sum(o or 0 for partitions in offsets.values() for o in partitions.values())  # noqa: E731
    before = total(rig.committed(*topics))
    said = rig.catch_up(*args, environment=LOG, **options)
    found = COUNTS.search(said)
    context.expect(found, f"the last pass did not tell its counts: {said[-500:]}")
    n_read, *fates = map(int, found.groups())
    context.equal(sum(fates), n_read, "used + duplicate + late + rejected of the last pass")
    context.equal(offsets_behind(rig, sources), [], "committed offsets that are not the end")
    context.equal(n_read, total(rig.committed(*topics)) - before, "records of the last pass, and offsets committed by it")
    return said


def refused(rig, sources):
    """How many records lie in the topics of late and rejected records, aborted ones too."""
    names = [f"{name}.{kind}" for name in sources for kind in ("late", "rejected")]
    ends = rig.ends(*(rig.topic(name) for name in names))
    return {topic: sum(e["high"] for e in partitions.values()) for topic, partitions in ends.items()
            if any(e["high"] for e in partitions.values())}


def verify(context, rig, input_dir=None, windows_closed=False):
    """The safe-riding pack against the oracle, after a last pass without faults."""
    last_pass(context, rig, SOURCE_NAMES, *getattr(rig, "worker_args", ()))
    outputs = rig.outputs()
    problems = rig.differences(outputs, input_dir or rig.input, windows_closed)
    context.expect(not problems, f"{len(problems)} differences from the oracle: {shorten(problems[:10], 4000)}")
    context.equal(repeated_ids(outputs), [], "ids that repeat or are missing")
    context.equal(refused(rig, SOURCE_NAMES), {}, "late or rejected records")
    n_records = {sink: len(records) for sink, records in outputs.items()}
    said = rig.catch_up(*getattr(rig, "worker_args", ()), environment=LOG)
    again = {sink: len(records) for sink, records in rig.outputs().items()}
    if windows_closed or again["helmet_rates"] == n_records["helmet_rates"]:
        context.equal(again, n_records, f"records after a restart without anything new ({said[-300:]})")
    else:
        # Windows may close meanwhile: the clock says so.
        context.expect(windows_closed is False, "windows closed twice")
    return outputs


class Load:
    """Rows of all tables that arrive little by little until `finish`; once all have come, they are changed back and forth.

    What was sent is remembered, for the oracle: see `sent_to`.
    """

    def __init__(self, rig, lines, rows_per_s, seed):
        self.rig, self.rows_per_s, self.choose = rig, rows_per_s, random.Random(seed)
        self.feed = rig.feed()
        self.waiting = self.mixed({name: own for name, own in lines.items() if own})
        self.sent = {name: [] for name in lines}
        self.versions, self.keys = {}, []
        self.stopping, self.failures = threading.Event(), []
        self.thread = threading.Thread(target=self.guarded, daemon=True)
        self.thread.start()

    def mixed(self, lines):
        """All rows in one order that keeps the order of each source."""
        placed = []
        for source in safe_riding.SOURCES:
            own = lines.get(source.name, [])
            placed += [((number + self.choose.random()) / len(own), number, source, line) for number, line in enumerate(own)]
        placed.sort(key=lambda p: (p[0], p[1], p[2].name))
        return [(source, line) for _, _, source, line in placed]

    def guarded(self):
        try:
            self.run()
        except Exception as error:  # noqa: BLE001: told when the load ends
            self.failures.append(error)

    def run(self):
        position = 0
        while not self.stopping.wait(0.1):
            n = max(1, int(self.rows_per_s * 0.1))
            some = self.waiting[position:position + n]
            position += len(some)
            self.send(some or self.changes(n))
        self.send(self.waiting[position:])
        self.feed.end()

    def send(self, rows):
        for source, line in rows:
            self.feed.rows(source.name, source.key, [line])
            self.sent[source.name].append(line)
            self.note(source, line)

    def note(self, source, line):
        """Remembers which rows a key had."""
        row = json.loads(line)
        key = (source.name, *(str(row[column]) for column in source.key))
        if key not in self.versions:
            self.keys.append(key)
        own = self.versions.setdefault(key, (source, []))[1]
        if line not in own:
            own.append(line)

    def changes(self, n):
        """Some keys get a row that they had before, or lose theirs."""
        rows = []
        for _ in range(n if self.keys else 0):
            source, versions = self.versions[self.choose.choice(self.keys)]
            line = self.choose.choice(versions)
            if self.choose.random() < 0.25:
                row = json.loads(line)
                line = json.dumps({"_tombstone": True, **{column: row[column] for column in source.key}}, ensure_ascii=False)
            rows.append((source, line))
        return rows

    def finish(self):
        """Sends what is left, and returns when the brokers have it; the input of the rig is then what was sent."""
        self.stopping.set()
        self.thread.join(PATIENCE_S + 200)
        if self.thread.is_alive() or self.failures:
            raise AssertionError(f"the load could not be sent: {self.failures or 'it hangs'}")
        untouched = {name: lines for name, lines in self.rig.lines.items() if name not in self.sent}
        self.rig.input = self.rig.input_of(untouched, self.sent)


def under_load(context, rig, rows_per_s=60):
    """The rig with its streams and devices written, and the load of all else begun."""
    lines = dict(rig.lines)
    for name in ("devices", "passages"):
        rig.produce_all({name: lines.pop(name)})
    return Load(rig, lines, rows_per_s, f"{context.seed} load")


class Lives:
    """The lives of a worker: each is killed, and the next one's first commit says how long the recovery took."""

    def __init__(self, context, rig, *args):
        self.context, self.rig, self.args = context, rig, args
        self.killed_at = None
        self.n_commits = 0
        rig.worker_args = args

    def start(self, **environment):
        """The next life."""
        return self.rig.start(*self.args, environment={**LOG, **environment})

    def has_committed(self):
        """Whether this life has committed anything."""
        return bool(commits(self.rig.log()))

    def last_commit(self):
        """When this life has committed last, in seconds since 1970."""
        return max((at for at, _ in commits(self.rig.log())), default=0.0)

    def ended(self, killed_at):
        """Takes note of the end of a life."""
        made = commits(self.rig.log())
        self.n_commits += len(made)
        if self.killed_at is not None and made:
            self.context.recovered(made[0][0] - self.killed_at)
        # A life without a commit prolongs the outage. One that ended as it was asked to is no outage.
        if made or self.killed_at is None or killed_at is None:
            self.killed_at = killed_at

    def kill(self, worker):
        """Ends a life at once."""
        killed_at = time.time()
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        self.context.ran()
        self.ended(killed_at)

    def wait_for_abort(self, worker, patience_s):
        """Waits until a fail point ends the life; false when it does not."""
        try:
            code = worker.wait(patience_s)
        except subprocess.TimeoutExpired:
            return False
        if code != -signal.SIGABRT:
            raise AssertionError(f"exit code {code} instead of an abort; {self.rig.log()[-3000:]}")
        self.context.ran()
        self.ended(time.time())
        return True


def new_directory(rig, name):
    """A folder of the rig's own."""
    path = os.path.join(rig.dir, name)
    os.makedirs(path, exist_ok=True)
    return path
