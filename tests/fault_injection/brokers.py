"""Brokers that a scenario may kill, stop, pause and start again: one, or a cluster of three."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading

KAFKA = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "kafka")
# Both of Kafka's internal topics have so many partitions here, see tests/kafka/start.
N_COORDINATORS = 4


def java_hash(text):
    """`String.hashCode` of Java, without its sign: it chooses the coordinator of a group or a transactional id."""
    number = 0
    for char in text:
        number = (number * 31 + ord(char)) & 0xFFFFFFFF
    return number & 0x7FFFFFFF


class Brokers:
    """A cluster of `n` brokers in separate processes, numbered from 1."""

    def __init__(self, n, root, settings="num.partitions=1", before_launch=None):
        self.n = n
        self.dir = tempfile.mkdtemp(prefix="brokers.", dir=root)
        self.environment = {**os.environ, "CURB_TEST_BROKER_SETTINGS": settings}
        self.paused = set()
        if before_launch:
            self.script("start", "--brokers", str(n), "--prepare", self.dir)
            before_launch(self)
            self.script("start", self.dir)
        else:
            self.script("start", "--brokers", str(n), self.dir)

    def script(self, name, *args):
        """Runs tests/kafka/start or stop."""
        done = subprocess.run([os.path.join(KAFKA, name), *args], env=self.environment, capture_output=True, check=False)
        if done.returncode:
            raise AssertionError(f"tests/kafka/{name} {args}: {done.stderr.decode()}")

    def node_dir(self, node):
        """The folder of a broker."""
        return self.dir if self.n == 1 else os.path.join(self.dir, str(node))

    @property
    def addresses(self):
        """Bootstrap servers."""
        with open(os.path.join(self.dir, "bootstrap.next"), encoding="utf-8") as file:
            return file.read().strip()

    def address(self, node):
        """The address of one broker."""
        return self.addresses.split(",")[node - 1]

    def end(self, node, kill=True):
        """Ends a broker, as a crash or as an administrator does."""
        self.script("stop", "--keep", *(["--kill"] if kill else []), self.node_dir(node))

    def begin(self, node):
        """Starts a broker again and waits until it serves."""
        self.script("start", self.node_dir(node))

    def end_all(self, kill=True):
        """Ends all brokers."""
        self.each(lambda node: self.end(node, kill))

    def begin_all(self):
        """Starts all brokers again."""
        self.each(self.begin)

    def each(self, act):
        """Does something to all brokers at the same time."""
        failures = []

        def guarded(node):
            try:
                act(node)
            except Exception as error:  # noqa: BLE001: told below
                failures.append(error)

        threads = [threading.Thread(target=guarded, args=(node,)) for node in range(1, self.n + 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]

    def pid(self, node):
        """The process of a broker."""
        with open(os.path.join(self.node_dir(node), "pid"), encoding="utf-8") as file:
            return int(file.read())

    def pause(self, node):
        """Makes a broker hang."""
        os.kill(self.pid(node), signal.SIGSTOP)
        self.paused.add(node)

    def resume(self, node):
        """Lets a broker go on."""
        os.kill(self.pid(node), signal.SIGCONT)
        self.paused.discard(node)

    def leader(self, rig, topic, partition):
        """The leader of a partition."""
        return json.loads(rig.client("brokers", topic))[topic][str(partition)]

    def transaction_coordinator(self, rig, transactional_id):
        """The broker that coordinates the transactions of a worker."""
        return self.leader(rig, "__transaction_state", java_hash(transactional_id) % N_COORDINATORS)

    def group_coordinator(self, rig, group):
        """The broker that coordinates a group."""
        return self.leader(rig, "__consumer_offsets", java_hash(group) % N_COORDINATORS)

    def controller(self):
        """The broker that leads the quorum; none if it cannot be told."""
        for node in range(1, self.n + 1):
            said = subprocess.run(
                [os.path.join(KAFKA, "tool"), "MetadataQuorumCommand", "--bootstrap-server", self.address(node), "describe", "--status"],
                capture_output=True, check=False, timeout=60)
            for line in said.stdout.decode().split("\n"):
                if line.startswith("LeaderId:"):
                    return int(line.split()[1])
        return None

    def close(self, keep):
        """Ends the brokers; their folder stays if `keep`."""
        for node in list(self.paused):
            try:
                self.resume(node)
            except OSError:
                self.paused.discard(node)
        try:
            self.script("stop", "--keep", "--kill", self.dir)
        finally:
            if not keep:
                shutil.rmtree(self.dir, ignore_errors=True)
