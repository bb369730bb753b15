"""F19, F26: offsets that are gone: of the topic, by retention; of the group, by expiry."""

import json
import time

from checks import last_pass, repeated_ids, verify
from harness import LOG, commits, scenario
from outages import MARKERS_PACK
from rig import Rig, SafeRiding


def item(number):
    """A row of the table."""
    return json.dumps({"item_id": f"i{number}", "at": "2026-01-01T00:00:00Z", "n": number})


@scenario("F19", seconds=30)
def offsets_that_retention_has_passed(context):
    """Records behind the committed offset are deleted before they were read: exit code 6, nothing is skipped.

    Once by deleting records, once by the topic's own retention. Guards: `auto.offset.reset=error` (kafka/settings.rs `reader`), and
    kafka/failure.rs `read_failure` makes it a stop by policy.
    """
    for by_retention in (False, True):
        rig = context.rig(Rig("retention", context.place(), MARKERS_PACK))
        rig.create("items", 1, "segment.bytes=1048576")
        rig.produce("items", ("item_id",), [item(i) for i in range(20)])
        rig.catch_up(environment=LOG)
        before = [r["value"] for r in rig.read("totals")]
        topic = rig.topic("items")
        rig.produce("items", ("item_id",), [item(i) for i in range(20, 40)])
        if by_retention:
            # Old enough to go with their segment, which ends when the next record comes.
            rig.client("alter", topic, "retention.ms=1000", "segment.ms=100", "file.delete.delay.ms=0")
            time.sleep(2)
            rig.produce("items", ("item_id",), [item(40)])
            rig.wait_for("the retention", lambda: rig.ends(topic)[topic]["0"]["low"] > 20)
            rig.client("alter", topic, "retention.ms=-1")
        else:
            rig.client("truncate", topic, "0", "30")
        context.ran()
        low = rig.ends(topic)[topic]["0"]["low"]
        for _ in range(2):
            said = rig.run("--until-caught-up", code=6, environment=LOG)
            context.expect(topic in said and "not in the topic any more" in said, f"the message names no topic or reason: {said[-800:]}")
        context.equal(rig.committed(topic)[topic]["0"], 20, "the committed offset")
        context.equal([r["value"] for r in rig.read("totals")], before, "totals after a refused start")
        context.note(f"{'retention' if by_retention else 'deletion'} up to {low}: {said.strip().splitlines()[-1][:200]}")


@scenario("F19", seconds=30)
def a_topic_that_loses_what_was_read_goes_on(context):
    """Records before the committed offset are deleted, also under a running worker: nothing stops, the state holds them."""
    rig = context.rig(Rig("passed", context.place(), MARKERS_PACK))
    rig.create("items", 1)
    rig.produce("items", ("item_id",), [item(i) for i in range(20)])
    worker = rig.start(environment=LOG)
    rig.wait_until_loaded()
    rig.wait_for("all rows", lambda: [r for r in rig.read("totals") if r["value"]["items"] == 20])
    topic = rig.topic("items")
    rig.client("truncate", topic, "0", "20")
    context.ran()
    rig.produce("items", ("item_id",), [item(i) for i in range(20, 30)])
    rig.wait_for("more rows", lambda: [r for r in rig.read("totals") if r["value"]["items"] == 30])
    worker.kill()
    worker.wait()
    rig.client("truncate", topic, "0", "30")
    context.ran()
    rig.produce("items", ("item_id",), [item(i) for i in range(30, 33)])
    last_pass(context, rig, ["items"])
    context.equal(rig.read("totals")[-1]["value"]["n"], sum(range(33)), "the sum")


def is_deleted(rig):
    """Deletes the group, if it has no member any more."""
    try:
        rig.client("delete-group", rig.prefix)
    except AssertionError as error:
        if "NonEmptyGroup" in str(error):
            return False
        raise
    return True


@scenario("F26", seconds=80)
def group_offsets_deleted(context):
    """The group is deleted, the state is there: goes on at the positions of the state, says so, counts nothing twice.

    Guards: the positions are part of the state (kafka/epoch_header.rs) and decide when the group has none (kafka/state_log.rs
    `reconcile`).
    """
    rig = context.rig(SafeRiding("group", context.place(), context.seed + 10, context.size(300, 2000)))
    first, second = rig.halves()
    for name in ("devices", "passages"):
        rig.produce_all({name: first.pop(name) + second.pop(name)})
    rig.produce_all(first)
    rig.catch_up(environment=LOG)
    topics = [rig.topic(name) for name in rig.lines]
    offsets = lambda: [p for partitions in rig.committed(*topics).values() for p in partitions.values()]  # noqa: E731
    for number in range(context.size(1, 3)):
        # A commit has returned before its offsets are the group's; those that come after the group was deleted would be there again.
        rig.wait_for("the offsets of the last commit", lambda: None not in offsets())
        # The worker is a static member: it stays one until its session ends, 45 s after it has left.
        rig.wait_for("the end of the session", lambda: is_deleted(rig))
        context.equal([p for p in offsets() if p is not None], [], "offsets after the group was deleted")
        context.ran()
        if number == 0:
            rig.produce_all(second)
        said = rig.catch_up(environment=LOG)
        context.expect("no committed offsets" in said and "positions of the state" in said, f"the log does not say so: {said[-1500:]}")
    verify(context, rig)


@scenario("F26", seconds=30)
def state_deleted_but_offsets_there(context):
    """The opposite: the state topic is emptied under the group: the worker refuses, and names both numbers."""
    rig = context.rig(Rig("emptied", context.place(), MARKERS_PACK))
    rig.create("items", 1)
    rig.produce("items", ("item_id",), [item(i) for i in range(20)])
    rig.catch_up(environment=LOG)
    state = f"{rig.prefix}.state"
    before = [r["value"] for r in rig.read("totals")]
    for partition, end in rig.ends(state)[state].items():
        if end["high"]:
            rig.client("truncate", state, partition, str(end["high"]))
    context.ran()
    rig.produce("items", ("item_id",), [item(i) for i in range(20, 25)])
    said = rig.run("--until-caught-up", code=6, environment=LOG)
    context.expect("committed offset is 20" in said, f"the message does not name the offset: {said[-800:]}")
    context.equal([r["value"] for r in rig.read("totals")], before, "totals")
    context.equal(repeated_ids({"totals": rig.read("totals")}), [], "ids")
    context.equal(commits(said), [], "commits")
