"""F24: a worker and its broker for as long as is asked, with random faults."""

import signal
import time

from checks import Lives, new_directory, under_load, verify
from harness import scenario
from rig import SafeRiding


@scenario("F24", ci=False, seconds=100_000)
def random_faults_for_long(context):
    """Kills of the worker, terminations, kills and restarts of its broker, at random, under load, for --minutes.

    Guards: everything at once. The target is 200 kills an hour.
    """
    brokers = context.brokers(1)
    rig = context.rig(SafeRiding("soak", context.place(brokers.addresses), context.seed + 20, 4000))
    load = under_load(context, rig)
    lives = Lives(context, rig, "--state-dir", new_directory(rig, "state"))
    until = time.monotonic() + 60 * context.minutes
    done = {"kill": 0, "terminate": 0, "abort": 0, "broker": 0}
    while time.monotonic() < until:
        step = context.choose.choice(["commit.begun", "commit.sent", "commit.positions", "commit.done", "encode.done", "restore.delta"])
        aborts = context.choose.random() < 0.3
        environment = {"FAILPOINTS": f"{step}={context.choose.randrange(1, 20)}*off->return"} if aborts else {}
        worker = lives.start(**environment)
        rig.wait_for("a commit", lambda: lives.has_committed() or worker.poll() is not None, 300)
        if aborts:
            # It may not come to that many steps.
            ended = lives.wait_for_abort(worker, 10) if worker.poll() is None or worker.poll() == -signal.SIGABRT else False
            if ended:
                done["abort"] += 1
                continue
        time.sleep(context.choose.random() * 3)
        context.equal(worker.poll(), None, f"a worker that nobody ended: {rig.log()[-3000:]}")
        if context.choose.random() < 0.08:
            brokers.end(1, kill=context.choose.random() < 0.7)
            time.sleep(context.choose.random() * 5)
            brokers.begin(1)
            context.ran()
            done["broker"] += 1
            if context.choose.random() < 0.5:
                back = time.time()
                rig.wait_for("a commit after the broker is back", lambda: lives.last_commit() > back or worker.poll() is not None, 300)
                context.equal(worker.poll(), None, f"the worker ended after its broker came back: {rig.log()[-3000:]}")
        if context.choose.random() < 0.1:
            worker.terminate()
            context.equal(worker.wait(120), 0, f"exit code; {rig.log()[-2000:]}")
            lives.ended(None)
            done["terminate"] += 1
        else:
            lives.kill(worker)
            done["kill"] += 1
    load.finish()
    context.note(f"{done}; {lives.n_commits} commits; {sum(map(len, load.sent.values()))} rows sent")
    verify(context, rig)
