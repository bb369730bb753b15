"""An environment of Python for the tests that write and read records as other programs do: confluent-kafka, fastavro and protobuf,
under ${CURB_TEST_CACHE:-~/.cache/curb-tests}."""

import fcntl
import hashlib
import os
import subprocess
import sys
import venv

PACKAGES = ["confluent-kafka==2.16.1", "fastavro==1.13.1", "protobuf==7.36.2"]


def enter():
    """Runs this program again where the packages are, which are installed the first time."""
    cache = os.environ.get("CURB_TEST_CACHE") or os.path.expanduser("~/.cache/curb-tests")
    home = os.path.join(cache, "formats-" + hashlib.sha256(" ".join(PACKAGES).encode()).hexdigest()[:12])
    python = os.path.join(home, "bin", "python")
    if os.path.realpath(sys.prefix) == os.path.realpath(home):
        return
    os.makedirs(cache, exist_ok=True)
    with open(home + ".lock", "w", encoding="utf-8") as lock:
        # Two programs may come here at the same time.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(os.path.join(home, ".complete")):
            venv.create(home, with_pip=True, clear=True)
            subprocess.run([python, "-m", "pip", "install", "-q", *PACKAGES], check=True)
            with open(os.path.join(home, ".complete"), "w", encoding="utf-8"):
                pass
    os.execv(python, [python, "-B", *sys.argv])
