"""F11, F12: the folder given as --state-dir is full, read-only, gone, or damaged: it is a cache, and the result is exact."""

import os
import shutil
import subprocess

from checks import Lives, new_directory, under_load, verify
from harness import Skipped, scenario
from rig import SafeRiding


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


def files_of(folder):
    """All files below a folder."""
    return sorted(os.path.join(parent, name) for parent, _, names in os.walk(folder) for name in names)


@scenario("F11", seconds=60)
def a_full_disk(context):
    """The state folder lies on a full disk, then becomes read-only: the worker never stops, and restores from its topic.

    Guards: a snapshot that cannot be written is a warning, and one that is not whole is not taken.
    """
    rig = context.rig(SafeRiding("full", context.place(), context.seed + 11, context.size(500, 3000)))
    folder = new_directory(rig, "disk")
    disk = SmallDisk(folder, 64 << 10)
    context.to_close.append(disk)
    load = under_load(context, rig)
    lives = Lives(context, rig, "--state-dir", folder)
    for number in range(context.size(4, 16)):
        if number % 2:
            disk.read_only(True)
        else:
            with open(os.path.join(folder, "filler"), "wb") as filler:
                try:
                    filler.write(b"x" * (context.choose.randrange(16, 64) << 10))
                except OSError:
                    pass
        worker = lives.start()
        rig.wait_for("a commit", lambda: lives.has_committed() or worker.poll() is not None)
        rig.wait_until_loaded()
        context.equal(worker.poll(), None, f"the worker ended: {rig.log()[-2000:]}")
        lives.kill(worker)
        if number % 2:
            disk.read_only(False)
            for path in files_of(folder):
                os.remove(path)
    load.finish()
    verify(context, rig)


def damage(context, path):
    """Damages a file in one of several ways; says how."""
    with open(path, "rb") as file:
        content = bytearray(file.read())
    how = context.choose.choice(["torn", "flipped", "emptied", "zeroed", "longer", "garbage", "removed", "a folder"])
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
    elif how != "removed":
        with open(path, "wb") as file:
            file.write(content)
    return how


@scenario("F12", seconds=60)
def damaged_local_state(context):
    """Files in the state folder are torn, flipped, zeroed, swapped between lives: ignored with a log line, the result is exact.

    Guards: the checksum of a snapshot, and that it names the pipeline and the positions that it belongs to.
    """
    rig = context.rig(SafeRiding("torn", context.place(), context.seed + 12, context.size(500, 3000)))
    folder, old = new_directory(rig, "state"), os.path.join(rig.dir, "old")
    load = under_load(context, rig)
    lives = Lives(context, rig, "--state-dir", folder)
    ways, told, damaged = {}, 0, 0
    for number in range(context.size(6, 40)):
        worker = lives.start()
        rig.wait_for("a commit", lambda: lives.has_committed() or worker.poll() is not None)
        context.equal(worker.poll(), None, f"the worker ended: {rig.log()[-2000:]}")
        if damaged:
            told += " WARN " in rig.log() or "ignor" in rig.log()
        worker.terminate()
        context.equal(worker.wait(60), 0, f"exit code; {rig.log()[-2000:]}")
        lives.ended(None)
        damaged = 0
        if number % 3 == 2 and os.path.isdir(old):
            # An old copy of the folder comes back, as from a backup.
            shutil.rmtree(folder)
            shutil.copytree(old, folder)
            ways["old copy"] = ways.get("old copy", 0) + 1
            continue
        shutil.rmtree(old, ignore_errors=True)
        shutil.copytree(folder, old)
        for path in files_of(folder):
            how = damage(context, path)
            ways[how] = ways.get(how, 0) + 1
            damaged += how not in ("removed", "emptied")
            context.ran()
    load.finish()
    verify(context, rig)
    if not context.result.runs:
        context.note("this program writes no files into its state folder yet: nothing could be damaged")
    context.note(f"damaged: {ways}; {told} lives said something")


