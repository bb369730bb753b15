"""F1, F2, F20: the worker ends, at every named step, at any moment, or as it is asked to."""

import os
import re
import signal
import subprocess
import time

from checks import Lives, new_directory, under_load, verify
from harness import LOG, ROOT, scenario
from rig import SafeRiding

STEP = re.compile(r"fail_point::reach\(\s*\"([a-z_.]+)\"")
N_DELTAS = re.compile(r"n_deltas=(\d+)")
# Steps that are passed many times an epoch or a restore, and those that are passed once in a life.
OFTEN = {"execute.relation": 150, "restore.delta": None}
ONCE = {"restore.done": 1}


def named_steps():
    """The steps that the program can be ended at, as its source names them."""
    found = set()
    for folder, _, names in os.walk(os.path.join(ROOT, "src")):
        for name in names:
            if name.endswith(".rs") and name != "fail_point.rs":
                with open(os.path.join(folder, name), encoding="utf-8") as file:
                    found |= set(STEP.findall(file.read()))
    return sorted(found)


def nth_time(context, step, n_deltas):
    """How often the step is passed before it ends the program."""
    limit = {**OFTEN, **ONCE}.get(step, 8)
    return context.choose.randrange(max(1, n_deltas if limit is None else limit))


@scenario("F1", seconds=90)
def killed_at_every_named_step(context):
    """Aborted at each fail point in turn, under load.

    Guards: one transaction for outputs, deltas and offsets (kafka/sink.rs `transact`), `init_transactions` before the restore
    (kafka/state_log.rs `restore`), the restore to the high watermark (kafka/settings.rs `probe`).
    """
    rig = context.rig(SafeRiding("steps", context.place(), context.seed, context.size(600, 3000)))
    load = under_load(context, rig)
    lives = Lives(context, rig, "--state-dir", new_directory(rig, "state"))
    n_deltas, never = 0, []
    for _ in range(context.size(1, 8)):
        steps = named_steps()
        context.choose.shuffle(steps)
        for step in steps:
            n = nth_time(context, step, n_deltas)
            worker = lives.start(FAILPOINTS=f"{step}={f'{n}*off->' if n else ''}return")
            if not lives.wait_for_abort(worker, 40):
                never.append(f"{step} ({n})")
                lives.kill(worker)
            n_deltas = int((N_DELTAS.findall(rig.log()) or [n_deltas])[-1])
    load.finish()
    if never:
        context.note(f"not reached within 40 s, killed instead: {', '.join(never)}")
    context.expect(len(never) <= len(named_steps()) // 3, f"steps that were not reached: {never}")
    context.note(f"{lives.n_commits} commits between {context.result.runs} aborts at {len(named_steps())} steps")
    verify(context, rig)


@scenario("F1", seconds=90)
def killed_at_random_under_load(context):
    """kill -9 at random moments, under load.

    Guards: as above; also that records handed over but not committed are read again (kafka/source.rs `seek`).
    """
    rig = context.rig(SafeRiding("kill", context.place(), context.seed + 1, context.size(600, 4000)))
    load = under_load(context, rig)
    lives = Lives(context, rig)
    for _ in range(context.size(12, 60)):
        worker = lives.start()
        if context.choose.random() < 0.8:
            rig.wait_for("a commit", lambda: lives.has_committed() or worker.poll() is not None)
        time.sleep(context.choose.random())
        context.equal(worker.poll(), None, f"a worker that nobody killed ended: {rig.log()[-2000:]}")
        lives.kill(worker)
    load.finish()
    context.expect(lives.n_commits > context.result.runs, "hardly an epoch was committed between the kills")
    verify(context, rig)


@scenario("F2", seconds=60)
def terminated_under_load(context):
    """SIGTERM under load: exit 0, what was committed is not read again.

    Guards: the stop flag is looked at between epochs only (engine/worker.rs `turn`), so the running epoch is committed.
    """
    rig = context.rig(SafeRiding("term", context.place(), context.seed + 2, context.size(500, 3000)))
    load = under_load(context, rig)
    ended = re.compile(r"(?:stopped|caught up) epoch=\d+ n_records=(\d+) n_used=(\d+) n_duplicate=(\d+) n_late=(\d+) n_rejected=(\d+)")
    totals, durations = [0] * 5, []
    for _ in range(context.size(5, 25)):
        worker = rig.start(environment=LOG)
        rig.wait_until_loaded()
        time.sleep(context.choose.random())
        asked = time.monotonic()
        worker.send_signal(context.choose.choice([signal.SIGTERM, signal.SIGINT]))
        try:
            code = worker.wait(60)
        except subprocess.TimeoutExpired:
            code = "none within 60 s"
        context.equal(code, 0, f"exit code; {rig.log()[-2000:]}")
        durations.append(time.monotonic() - asked)
        context.ran()
        counts = ended.search(rig.log())
        context.expect(counts, f"the worker did not tell its counts: {rig.log()[-500:]}")
        totals = [a + int(b) for a, b in zip(totals, counts.groups())]
    load.finish()
    said = rig.catch_up(environment=LOG)
    totals = [a + int(b) for a, b in zip(totals, ended.search(said).groups())]
    topics = [rig.topic(name) for name in rig.lines]
    delivered = sum(end["high"] for partitions in rig.ends(*topics).values() for end in partitions.values())
    context.equal(totals[0], delivered, "records over all lives, and records delivered")
    context.equal(sum(totals[1:]), delivered, "used + duplicate + late + rejected over all lives")
    context.note(f"ended within {max(durations):.1f} s at most; {delivered} records, each counted once over all lives")
    verify(context, rig)


@scenario("F20", seconds=60)
def an_open_transaction_of_a_dead_worker(context):
    """Killed with all records sent and nothing committed; readers wait no longer than the transaction's timeout.

    Guards: `transaction.timeout.ms` (kafka/settings.rs `producer`), and `init_transactions` at once after a restart
    (kafka/state_log.rs `restore`): it aborts what an earlier life left open.
    """
    for restarts in (True, False):
        rig = context.rig(SafeRiding("open", context.place(), context.seed + 3, 300))
        rig.produce_all(rig.lines)
        lives = Lives(context, rig)
        worker = lives.start(FAILPOINTS="commit.sent=return")
        context.expect(lives.wait_for_abort(worker, 120), "commit.sent was not reached")
        killed = time.time()
        topics = [f"{rig.prefix}.state"]
        held = lambda: [p for ps in rig.ends(*topics).values() for p, e in ps.items() if e["stable"] < e["high"]]  # noqa: E731
        context.expect(held(), "no transaction was left open")
        if restarts:
            began = time.time()
            lives.start()
            rig.wait_for("the stable offset", lambda: not held())
            context.note(f"released {time.time() - began:.1f} s after the restart began")
            rig.workers[-1].kill()
            rig.workers[-1].wait()
        else:
            # The broker looks once a second for transactions that last too long; the machine may be busy.
            rig.wait_for("the stable offset", lambda: not held(), 30 + 30)
            context.note(f"without a restart released after {time.time() - killed:.1f} s (timeout 30 s)")
        verify(context, rig)
