"""Scenarios, what they have at hand, how they are run side by side, and the report."""

import json
import os
import random
import re
import shutil
import subprocess
import sys
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(HERE)
ROOT = os.path.dirname(TESTS)
sys.path.insert(0, os.path.join(TESTS, "kafka"))

from brokers import Brokers  # noqa: E402
from rig import Place  # noqa: E402

LOG = {"CURB_LOG": "info,curb::kafka=debug,curb::engine::snapshot=debug"}
COMMITTED = re.compile(r"^(\S+Z) +DEBUG \S*: committed epoch=(\d+)", re.M)
SCENARIOS = []
# As in tests/run, so that nothing is compiled twice.
CARGO_SETTINGS = ["--release", "--locked", "--features", "fail_points", "--config", "profile.release.package.curb.opt-level=1"]


class Skipped(Exception):
    """A scenario cannot run here; says why."""


@dataclass
class Scenario:
    """One fault, or one way to inject it."""

    fault: str
    name: str
    run: object
    in_ci: bool
    # How long it takes about in the CI selection: the longest begin first.
    seconds: int

    @property
    def title(self):
        """The first line of its docstring."""
        return self.run.__doc__.strip().split("\n")[0]


def scenario(fault, ci=True, seconds=30):
    """Registers a function as a scenario; its name is the function's."""

    def register(run):
        SCENARIOS.append(Scenario(fault, run.__name__, run, ci, seconds))
        return run

    return register


@dataclass
class Result:
    """What became of a scenario."""

    fault: str
    name: str
    what: str
    seed: int
    passed: bool = False
    skipped: str = None
    runs: int = 0
    seconds: float = 0.0
    recovery_s: list = field(default_factory=list)
    notes: list = field(default_factory=list)
    error: str = None
    directory: str = None


class Context:
    """What a scenario has at hand: brokers, binaries, its own random choices, and a place for what it finds."""

    def __init__(self, options, scenario_, directory, shared):
        self.options, self.shared = options, shared
        self.seed, self.long, self.minutes = options.seed, options.selection != "ci", options.minutes
        self.choose = random.Random(f"{options.seed} {scenario_.name}")
        self.dir = directory
        self.result = Result(scenario_.fault, scenario_.name, scenario_.title, options.seed, directory=directory)
        self.to_close = []

    def size(self, ci, full):
        """A size of the CI selection and of the full one."""
        return full if self.long else ci

    def place(self, brokers=None):
        """Where rigs run; by default on the broker that all scenarios share and none harms."""
        return Place(brokers or self.shared(), self.options.curb, self.options.client, self.dir)

    def rig(self, made):
        """Remembers a rig, to end what it started."""
        self.to_close.append(made)
        return made

    def brokers(self, n, **options):
        """Brokers of the scenario's own."""
        made = Brokers(n, self.dir, **options)
        self.to_close.append(made)
        return made

    def ran(self, n=1):
        """Counts injected faults."""
        self.result.runs += n

    def note(self, text):
        """Something for the report."""
        self.result.notes.append(text)

    def recovered(self, seconds):
        """How long it took from a fault to the next commit."""
        if seconds is not None:
            self.result.recovery_s.append(round(seconds, 3))

    def expect(self, holds, text):
        """Fails the scenario unless something holds."""
        if not holds:
            raise AssertionError(text)

    def equal(self, found, wanted, text):
        """Fails the scenario unless two values are equal."""
        if found != wanted:
            raise AssertionError(f"{text}: found {shorten(found)}, expected {shorten(wanted)}")

    def close(self, keep):
        """Ends everything that the scenario started."""
        for made in reversed(self.to_close):
            try:
                made.close(keep)
            except Exception:  # noqa: BLE001: the rest must still be ended
                traceback.print_exc()


def shorten(value, limit=1500):
    """A value in few words."""
    text = repr(value)
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text)} characters)"


def commits(log):
    """The commits that a worker's log tells: seconds since 1970, and the epoch."""
    return [(datetime.fromisoformat(at.replace("Z", "+00:00")).timestamp(), int(epoch)) for at, epoch in COMMITTED.findall(log)]


def run_one(options, one, root, shared):
    """Runs a scenario and returns its result."""
    directory = os.path.join(root, one.name)
    os.makedirs(directory)
    context, started = Context(options, one, directory, shared), time.monotonic()
    result = context.result
    try:
        one.run(context)
        result.passed = True
    except Skipped as why:
        result.passed, result.skipped = True, str(why)
    except Exception as error:  # noqa: BLE001: a scenario that fails must not end the others
        result.error = str(error) or repr(error)
        with open(os.path.join(directory, "error.txt"), "w", encoding="utf-8") as file:
            traceback.print_exc(file=file)
    context.close(keep=not result.passed or options.keep)
    result.seconds = round(time.monotonic() - started, 1)
    if result.passed and not options.keep:
        shutil.rmtree(directory, ignore_errors=True)
        result.directory = None
    outcome = "skipped: " + result.skipped if result.skipped else "passed" if result.passed else "FAILED"
    print(f"{datetime.now():%H:%M:%S} {one.fault:7} {one.name:42} {result.seconds:6.1f} s  {outcome}", flush=True)
    if result.error:
        print("        " + result.error.replace("\n", "\n        ")[:4000], flush=True)
        print(f"        kept: {directory}", flush=True)
    return result


class SharedBroker:
    """A broker for all scenarios that do not harm it, started when the first one asks."""

    def __init__(self, given, root):
        self.given, self.root = given, root
        self.lock, self.brokers = threading.Lock(), None

    def __call__(self):
        with self.lock:
            if self.given is None and self.brokers is None:
                self.brokers = Brokers(1, self.root)
            return self.given or self.brokers.addresses

    def close(self):
        """Ends it, if it was started here."""
        if self.brokers:
            self.brokers.close(keep=False)


def run_all(options, chosen, root):
    """Runs scenarios side by side, the longest first, and returns their results in the order of the faults."""
    shared = SharedBroker(options.broker, root)
    chosen = sorted(chosen, key=lambda s: -s.seconds)
    try:
        with ThreadPoolExecutor(options.jobs) as pool:
            results = list(pool.map(lambda one: run_one(options, one, root, shared), chosen))
    finally:
        shared.close()
    number = lambda r: (int(re.search(r"\d+", r.fault)[0]) if re.search(r"\d+", r.fault) else 99, r.fault, r.name)  # noqa: E731
    return sorted(results, key=number)


def quantile(values, share):
    """A quantile by the nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


def report(results, options, seconds, path):
    """Prints the table and writes it as JSON beside."""
    head = ["fault", "scenario", "runs", "passed", "recovery p50 / p99", "time", "what was done"]
    rows = []
    for result in results:
        p50, p99 = quantile(result.recovery_s, 0.5), quantile(result.recovery_s, 0.99)
        recovery = f"{p50:.2f} s / {p99:.2f} s" if p50 is not None else "-"
        outcome = "skipped" if result.skipped else "yes" if result.passed else "NO"
        rows.append([result.fault, result.name, str(result.runs), outcome, recovery, f"{result.seconds:.0f} s", result.what])
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    for row in [head, ["-" * width for width in widths], *rows]:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
    for result in results:
        for note in [*result.notes, *([f"skipped: {result.skipped}"] if result.skipped else [])]:
            print(f"{result.fault} {result.name}: {note}")
        if result.error:
            print(f"{result.fault} {result.name}: FAILED, see {result.directory}")
    failed = [r for r in results if not r.passed]
    skipped = [r for r in results if r.skipped]
    total = sum(r.runs for r in results)
    print(f"seed {options.seed}: {len(results)} scenarios with {total} injected faults in {seconds:.0f} s, "
          f"{len(failed)} failed, {len(skipped)} skipped; {path}")
    with open(path, "w", encoding="utf-8") as file:
        content = {"seed": options.seed, "selection": options.selection, "seconds": round(seconds, 1),
                   "scenarios": [{**vars(r), "recovery_p50_s": quantile(r.recovery_s, 0.5),
                                  "recovery_p99_s": quantile(r.recovery_s, 0.99)} for r in results]}
        json.dump(content, file, indent=1, ensure_ascii=False)
    return not failed


def built():
    """Builds the binaries with fail points; returns the program and the independent client."""
    subprocess.run(["cargo", "build", *CARGO_SETTINGS, "--bins", "--examples"], cwd=ROOT, check=True)
    target = os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target")), "release")
    return os.path.join(target, "curb"), os.path.join(target, "examples", "kafka_client")


def has_fail_points(curb):
    """Whether a binary was built with fail points."""
    probe = subprocess.run([curb, "--version"], capture_output=True, check=False, env={**os.environ, "FAILPOINTS": "nonsense"})
    return probe.returncode != 0
