"""F11, F12: the folder given as --state-dir is full, read-only, or damaged: it is a cache, and the result is exact."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import time

from checks import Lives, last_pass, new_directory, repeated_ids
from harness import Skipped, scenario
from rig import Rig

# Rows are large, for a snapshot is written only after some megabytes of state.
BODIES_PACK = """
SET TIME ZONE = 'Asia/Shanghai';
CREATE TABLE items (item_id VARCHAR NOT NULL PRIMARY KEY, at TIMESTAMP WITH TIME ZONE NOT NULL, body VARCHAR)
WITH (topic = 'items', format = 'json', event_time = 'at', retention = '4000 days');
CREATE SINK sums WITH (topic = 'sums', format = 'json') AS SELECT item_id, md5(body) AS sum FROM items;
"""
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
ROUND_ROWS, BODY_BYTES = 110, 80_000
WROTE = re.compile(r"wrote a snapshot shard=\d+")


class Bodies:
    """A pipeline with much state, and what its sink must hold."""

    def __init__(self, context, name):
        self.context = context
        self.rig = context.rig(Rig(name, context.place(), BODIES_PACK))
        self.rig.create("items", 1)
        self.rig.create("sums", 1)
        self.wanted, self.n_sent = {}, 0

    def send(self, n_rows=ROUND_ROWS):
        """Gives some keys new bodies, and takes some away."""
        lines = []
        for _ in range(n_rows):
            key = f"i{self.context.choose.randrange(150)}"
            if key in self.wanted and self.context.choose.random() < 0.1:
                lines.append(json.dumps({"_tombstone": True, "item_id": key}))
                del self.wanted[key]
                continue
            body = "".join(self.context.choose.choices(LETTERS, k=BODY_BYTES))
            lines.append(json.dumps({"item_id": key, "at": "2026-01-01T00:00:00Z", "body": body}))
            self.wanted[key] = hashlib.md5(body.encode()).hexdigest()
        self.rig.produce("items", ("item_id",), lines)
        self.n_sent += n_rows

    def verify(self, *args):
        """Compares the sink with what was sent; no key is written twice the same."""
        last_pass(self.context, self.rig, ["items"], *args)
        content, records = {}, self.rig.read("sums")
        for record in records:
            found = record["value"] and record["value"]["sum"]
            self.context.expect(content.get(record["key"]) != found, f"{record['key']} was written twice the same, or deleted twice")
            content[record["key"]] = found
        self.context.equal({k: v for k, v in content.items() if v}, self.wanted, "content of the sink")
        self.context.equal(repeated_ids({"sums": records}), [], "ids")


def files_of(folder):
    """All files below a folder."""
    return sorted(os.path.join(parent, name) for parent, _, names in os.walk(folder) for name in names)


def wait_for_snapshot(bodies, worker, folder):
    """Waits until the worker has written a snapshot; the folder then holds it."""
    rig = bodies.rig
    rig.wait_for("a snapshot", lambda: WROTE.search(rig.log()) or worker.poll() is not None)
    bodies.context.equal(worker.poll(), None, f"the worker ended: {rig.log()[-2000:]}")
    bodies.context.expect(files_of(folder), "there is no file in the state folder")


@scenario("F1", seconds=60)
def killed_while_a_snapshot_is_written(context):
    """Aborted before and after a snapshot takes the place of the older one, then killed at random: restarts are exact.

    Guards: a snapshot is written beside, synced and renamed (local/snapshot_dir.rs `publish`).
    """
    bodies = Bodies(context, "snapshot")
    folder = new_directory(bodies.rig, "state")
    lives = Lives(context, bodies.rig, "--shards", "1", "--state-dir", folder)
    for number in range(context.size(2, 10)):
        for step in ("snapshot.written", "snapshot.renamed"):
            bodies.send()
            skipped = f"{number}*off->" if number and context.choose.random() < 0.3 else ""
            worker = lives.start(FAILPOINTS=f"{step}={skipped}return")
            if skipped:
                bodies.send()
            if not lives.wait_for_abort(worker, 60 if not skipped else 20):
                context.expect(skipped, f"{step} was not reached; {bodies.rig.log()[-2000:]}")
                lives.kill(worker)
        bodies.send()
        worker = lives.start()
        bodies.rig.wait_for("a commit", lambda: lives.has_committed() or worker.poll() is not None)
        time.sleep(context.choose.random())
        lives.kill(worker)
    bodies.verify("--shards", "1", "--state-dir", folder)
    context.note(f"{bodies.n_sent} rows of {BODY_BYTES} bytes; files at the end: {[os.path.basename(f) for f in files_of(folder)]}")


class SmallDisk:
    """A file system of limited size."""

    def __init__(self, path, n_bytes):
        self.path = path
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={n_bytes}", "tmpfs", path], capture_output=True, check=False)
        if done.returncode:
            raise Skipped(f"a file system of limited size cannot be mounted: {done.stderr.decode().strip()}")

    def read_only(self, is_so):
        """Takes the right to write away, or gives it back."""
        subprocess.run(["mount", "-o", f"remount,{'ro' if is_so else 'rw'}", self.path], check=True, capture_output=True)

    def close(self, keep):
        """Unmounts it."""
        del keep
        subprocess.run(["umount", "-l", self.path], check=False, capture_output=True)


@scenario("F11", seconds=60)
def a_full_disk(context):
    """The state folder lies on a disk that is full, then read-only: the worker never stops, says so, and restores all the same.

    Guards: a snapshot that cannot be written is a warning (engine/snapshot.rs `work`), and one that is not whole is not taken.
    """
    bodies = Bodies(context, "full")
    rig, folder = bodies.rig, new_directory(bodies.rig, "disk")
    disk = SmallDisk(folder, 2 << 20)
    context.to_close.append(disk)
    args = ("--shards", "1", "--state-dir", folder)
    lives = Lives(context, rig, *args)
    for number in range(context.size(2, 10)):
        if number % 2:
            disk.read_only(True)
        bodies.send()
        worker = lives.start()
        rig.wait_for("the warning", lambda: "no local snapshot could be written" in rig.log() or worker.poll() is not None)
        bodies.send(10)
        rig.wait_for("going on", lambda: lives.is_at_end("items") or worker.poll() is not None)
        context.equal(worker.poll(), None, f"the worker ended: {rig.log()[-2000:]}")
        lives.kill(worker)
        if number % 2:
            disk.read_only(False)
            for path in files_of(folder):
                os.remove(path)
    bodies.verify(*args)


def damage(context, path):
    """Damages a file in one of several ways; says how."""
    with open(path, "rb") as file:
        content = bytearray(file.read())
    how = context.choose.choice(["torn", "flipped", "flipped", "emptied", "zeroed", "longer", "garbage", "a folder"])
    if how == "torn":
        del content[context.choose.randrange(len(content) or 1):]
    elif how == "flipped":
        for _ in range(context.choose.randrange(1, 4)):
            if content:
                content[context.choose.randrange(len(content))] ^= 1 << context.choose.randrange(8)
    elif how == "emptied":
        content = b""
    elif how == "zeroed":
        content = b"\x00" * len(content)
    elif how == "longer":
        content += content[:100] + b"x"
    elif how == "garbage":
        content = context.choose.randbytes(len(content) + 7)
    os.remove(path)
    if how == "a folder":
        os.mkdir(path)
    else:
        with open(path, "wb") as file:
            file.write(content)
    return how


@scenario("F12", seconds=60)
def damaged_local_state(context):
    """Snapshots are torn, flipped, zeroed, replaced by old ones or another pipeline's: ignored with a line, the result is exact.

    Guards: the checksums of a snapshot (local/snapshot_dir.rs `blocks`), and that it says which pipeline and which part of the
    log it belongs to (engine/snapshot.rs `load`).
    """
    bodies = Bodies(context, "torn")
    rig, folder = bodies.rig, new_directory(bodies.rig, "state")
    old = os.path.join(rig.dir, "old")
    args = ("--shards", "1", "--state-dir", folder)
    lives = Lives(context, rig, *args)
    ways = []
    for _ in range(context.size(4, 30)):
        bodies.send()
        worker = lives.start()
        wait_for_snapshot(bodies, worker, folder)
        if ways and ways[-1] not in ("an old one", "none"):
            context.expect(" WARN " in rig.log(), f"nothing was said of a snapshot that is damaged: {ways[-1]}; {rig.log()[-2000:]}")
        lives.kill(worker)
        if os.path.isdir(old) and context.choose.random() < 0.25:
            shutil.rmtree(folder)
            shutil.copytree(old, folder)
            ways.append("an old one")
            continue
        shutil.rmtree(old, ignore_errors=True)
        shutil.copytree(folder, old)
        for path in files_of(folder):
            ways.append(damage(context, path))
    bodies.verify(*args)
    context.note(f"damaged: {', '.join(ways)}")
