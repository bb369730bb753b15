"""F5, F6: two workers of one pipeline: a zombie that wakes up, and members that come and go."""

import json
import signal
import subprocess
import time

from checks import last_pass, repeated_ids, under_load, verify
from harness import LOG, commits, scenario
from rig import Rig, SafeRiding

WINDOWS_PACK = """
SET TIME ZONE = 'Asia/Shanghai';
CREATE STREAM events (event_id VARCHAR NOT NULL PRIMARY KEY, at TIMESTAMP WITH TIME ZONE NOT NULL, town VARCHAR)
WITH (topic = 'events', format = 'json', event_time = 'at', watermark_delay = '30 seconds', idle_timeout = '3 seconds',
      unique_for = '7 days');
CREATE SINK hourly WITH (topic = 'hourly', format = 'json') AS
SELECT window_start, town, count(*) AS n FROM events GROUP BY tumble(at, INTERVAL '1 hour'), town EMIT FINAL;
CREATE SINK seen WITH (topic = 'seen', format = 'json') AS SELECT event_id FROM events;
"""
N_TOWNS = 3


def events(n):
    """Events of a few hours, in order, with how many fall into each hour and town."""
    lines, wanted = [], {}
    for i in range(n):
        minute, town = i * 300 // n, f"town {i % N_TOWNS}"
        lines.append(json.dumps({"event_id": f"e{i}", "at": f"2026-01-05T{8 + minute // 60:02}:{minute % 60:02}:00+08:00", "town": town}))
        key = (8 + minute // 60, town)
        wanted[key] = wanted.get(key, 0) + 1
    return lines, wanted


def hourly(records):
    """The content of the sink `hourly`; each window must come once."""
    found = {}
    for record in records:
        row = record["value"]
        key = (int(row["window_start"][11:13]), row["town"])
        if key in found:
            raise AssertionError(f"the window {key} was written twice")
        found[key] = row["n"]
    return found


@scenario("F5", seconds=60)
def a_zombie_that_was_stopped_and_goes_on(context):
    """SIGSTOP, a replacement with the same instance number, SIGCONT: the zombie exits with 5 and has written nothing.

    Guards: the static membership (kafka/settings.rs `group.instance.id`) and the transactional id, which the successor's
    `init_transactions` fences; kafka/failure.rs maps both to Fenced, and the program exits with 5.
    """
    rig = context.rig(SafeRiding("zombie", context.place(), context.seed + 4, context.size(400, 2000)))
    load = under_load(context, rig, rows_per_s=40)
    for _ in range(context.size(2, 10)):
        zombie = rig.start(environment=LOG)
        number = rig.n_runs
        rig.wait_for("a commit", lambda: commits(rig.log(number)))
        time.sleep(context.choose.random())
        stopped = time.time()
        zombie.send_signal(signal.SIGSTOP)
        context.ran()
        successor = rig.start(environment=LOG)
        rig.wait_for("a commit of the successor", lambda: commits(rig.log()))
        context.recovered(commits(rig.log())[0][0] - stopped)
        time.sleep(context.choose.random() * 2)
        zombie.send_signal(signal.SIGCONT)
        context.equal(zombie.wait(60), 5, f"exit code of the zombie; {rig.log(number)[-2000:]}")
        late = [c for c in commits(rig.log(number)) if c[0] > stopped + 0.2]
        context.equal(late, [], "commits of the zombie after it was stopped")
        context.equal(successor.poll(), None, f"the successor ended: {rig.log()[-2000:]}")
        successor.send_signal(signal.SIGTERM)
        context.equal(successor.wait(60), 0, "exit code of the successor")
    load.finish()
    verify(context, rig)


@scenario("F5", seconds=90)
def a_zombie_with_an_epoch_in_its_hands(context):
    """Stopped between computing an epoch and the end of its transaction, replaced, and let go on: exit 5, nothing is visible.

    Half of the pending epochs come from timers only: no record was read for them. Guards: every transaction sends offsets with
    the member's generation (kafka/sink.rs `send_positions`), also without records; `init_transactions` of the successor raises
    the producer's epoch (kafka/producer.rs `initialise`), so that what the zombie has sent is aborted, and it sends no more.
    """
    steps = ["encode.done", "commit.begun", "commit.sent", "commit.positions"]
    cases = [(step, timers) for step in steps for timers in (False, True)]
    if not context.long:
        turn = context.choose.randrange(2)
        cases = [case for number, case in enumerate(cases) if (number // 2 + number) % 2 == turn]
    for step, only_timers in cases:
        rig = context.rig(Rig("pending", context.place(), WINDOWS_PACK))
        rig.create("events", 1)
        lines, wanted = events(300)
        if only_timers:
            rig.produce("events", (), lines)
            # Ends before the partition is idle, so that the last windows are still open.
            rig.catch_up(environment=LOG)
            context.expect(len(rig.read("hourly")) < len(wanted), "all windows were closed already")
        # The first epoch after a restore only notes that tables are loaded.
        zombie = rig.start(environment={**LOG, "FAILPOINTS": f"{step}=1*off->1*sleep(8000)->off"})
        number = rig.n_runs
        rig.wait_for("ready", lambda: commits(rig.log(number)))
        if not only_timers:
            rig.produce("events", (), lines)
        # With timers only the partition must be idle first.
        time.sleep(5.5 if only_timers else 1.5)
        context.equal(len(commits(rig.log(number))), 1, "commits of the zombie before it was stopped")
        zombie.send_signal(signal.SIGSTOP)
        context.ran()
        n_raw = sum(len(rig.read(sink, "read_uncommitted")) - len(rig.read(sink)) for sink in ("hourly", "seen"))
        context.expect(n_raw > 0 or step not in ("commit.sent", "commit.positions"), f"{step}: nothing was pending")
        successor = rig.start(environment=LOG)
        rig.wait_for("the windows", lambda: len(rig.read("hourly")) >= len(wanted))
        # Its sleep lies behind it when it goes on: the first thing it does is the rest of the transaction.
        time.sleep(4.0)
        zombie.send_signal(signal.SIGCONT)
        context.equal(zombie.wait(60), 5, f"{step}: exit code of the zombie; {rig.log(number)[-2000:]}")
        context.equal(len(commits(rig.log(number))), 1, f"{step}: commits of the zombie")
        context.equal(hourly(rig.read("hourly")), wanted, f"{step}: windows")
        context.equal(sorted(r["value"]["event_id"] for r in rig.read("seen")), sorted(f"e{i}" for i in range(300)), f"{step}: rows")
        context.equal(repeated_ids({sink: rig.read(sink) for sink in ("hourly", "seen")}), [], f"{step}: ids")
        context.note(f"{step}, {'timers only' if only_timers else 'with records'}: {n_raw} records were sent before the stop; "
                     f"said: {rig.log(number).strip().splitlines()[-1][-120:]}")
        successor.send_signal(signal.SIGTERM)
        context.equal(successor.wait(60), 0, "exit code of the successor")
        last_pass(context, rig, ["events"])


@scenario("F6", seconds=90)
def members_that_come_and_go(context):
    """Another member takes partitions every few seconds and leaves: nothing is lost and nothing comes twice.

    Guards: the number of the assignment is compared before and after the group's metadata is read for a commit
    (kafka/sink.rs `send_positions`, kafka/membership.rs `rebalance`), and only a worker with all partitions handles records
    (kafka/session.rs `wait_until_assigned`).
    """
    rig = context.rig(SafeRiding("members", context.place(), context.seed + 5, context.size(500, 3000)))
    load = under_load(context, rig)
    worker = rig.start(environment=LOG)
    rig.wait_until_loaded()
    topics = [rig.topic(name) for name in rig.lines] + [f"{rig.prefix}.state"]
    n_times = context.size(6, 60)
    began = time.time()
    passers = subprocess.run(
        [rig.place.client, "join", rig.brokers, rig.prefix, str(n_times), "1500", "2500", *topics], capture_output=True,
        check=False, timeout=60 + 15 * n_times)
    context.equal(passers.returncode, 0, f"the other member: {passers.stderr.decode()}")
    took = [json.loads(line)["partitions"] for line in passers.stdout.decode().split("\n") if line]
    context.ran(len(took))
    context.expect(any(took), f"the other member was never given a partition: {took}")
    context.equal(worker.poll(), None, f"the worker ended: {rig.log()[-3000:]}")
    rig.wait_for("going on", lambda: [c for c in commits(rig.log()) if c[0] > time.time() - 3])
    made = [at for at, _ in commits(rig.log()) if at > began]
    gaps = sorted((b - a for a, b in zip(made, made[1:])), reverse=True)
    for gap in gaps[:len(took)]:
        context.recovered(gap)
    context.note(f"the other member was given {took} partitions; {len(made)} commits meanwhile")
    load.finish()
    worker.send_signal(signal.SIGTERM)
    context.equal(worker.wait(60), 0, f"exit code; {rig.log()[-2000:]}")
    verify(context, rig)


@scenario("F6", seconds=100)
def a_second_worker_waits_and_is_refused(context):
    """`curb run` with another instance number beside a running worker waits 60 s, takes nothing, and exits with 6.

    Guards: kafka/session.rs `wait_until_alone`.
    """
    rig = context.rig(SafeRiding("second", context.place(), context.seed + 6, 300))
    load = under_load(context, rig, rows_per_s=20)
    first = rig.start(environment=LOG)
    rig.wait_until_loaded()
    number, began = rig.n_runs, time.time()
    second = rig.start("--instance", "1", environment=LOG)
    context.ran()
    context.equal(second.wait(120), 6, f"exit code of the second worker; {rig.log()[-2000:]}")
    context.expect("another member" in rig.log(), "the second worker did not say why it was refused")
    context.equal(first.poll(), None, f"the first worker ended: {rig.log(number)[-2000:]}")
    context.equal(rig.log(number).count("group changed its assignment"), 1, "assignments of the first worker")
    context.expect([c for c in commits(rig.log(number)) if c[0] > began + 30], "the first worker committed nothing meanwhile")
    load.finish()
    first.send_signal(signal.SIGTERM)
    context.equal(first.wait(60), 0, "exit code of the first worker")
    verify(context, rig)
