"""POLICY: one policy row that changes every action of many captures, and a worker that dies while it works that off."""

import json
import os
import subprocess
import time

from checks import Lives, last_pass, offsets_behind
from harness import LOG, commits, scenario
from rig import Rig

DAY = 86_400_000
START = 1_735_660_800_000  # 2025-01-01 in Shanghai
RIDE_EVERY = 31 * 60_000
SOURCES = ["captures", "identities", "persons", "visits", "disposal_policy", "passages"]


def instant(ms):
    """RFC 3339 of milliseconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ms // 1000)) + f".{ms % 1000:03}Z"


def write(path, rows):
    """Writes NDJSON."""
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def policy(deduction):
    """The one row of the policy."""
    return {"effective_from": instant(START - DAY), "visit_from": 4, "urgent_from": 10, "deduction": deduction, "improve_below": 60,
            "match_score_min": 0.8}


def people_and_captures(n_captures, per_person):
    """Everybody was visited, so every ride costs points; every capture is a ride."""
    n_people = n_captures // per_person
    people = [f"P{i:05}" for i in range(n_people)]
    identities = [{"plate": f"Z{p}", "valid_from": instant(START - DAY), "person_id": p} for p in people]
    visits = [{"visit_id": f"V{p}", "person_id": p, "completed_at": instant(START - 3_600_000), "delivered": True} for p in people]
    captures = ({"capture_id": f"c{n}-{p}", "device_id": "D1", "captured_at": instant(START + n * RIDE_EVERY), "violation": "no_helmet",
                 "plate": f"Z{p}", "match_score": 0.95} for n in range(per_person) for p in people)
    return people, identities, visits, captures


def check_actions(context, rig, n_captures, revisions):
    """Every action once with each of its revisions, without gaps; the points are those of the last policy."""
    process = subprocess.Popen([rig.place.client, "consume", rig.brokers, rig.topic("disposal_actions")], stdout=subprocess.PIPE)
    last, n_wrong, first_wrong, n_rows = {}, 0, None, 0
    for line in process.stdout:
        row = json.loads(line)["value"]
        n_rows += 1
        revision, points = row["revision"], row["points"]
        before = last.get(row["action_id"], 0)
        wanted = revisions[revision - 1] if row["action"] == "integrity_deduction" and revision <= len(revisions) else None
        if revision != before + 1 or points != wanted or row["status"] != "issued":
            n_wrong, first_wrong = n_wrong + 1, first_wrong or row
        last[row["action_id"]] = revision
    context.equal(process.wait(), 0, "exit code of the reader")
    context.equal((n_wrong, first_wrong), (0, None), "rows that are wrong, and the first of them")
    context.equal(len(last), 2 * n_captures, "actions")
    context.equal(n_rows, n_captures * (1 + len(revisions)), "rows: one a punishment, one a revision of a deduction")
    kinds = {}
    for action_id, revision in last.items():
        kind = (action_id.split("/")[2], revision)
        kinds[kind] = kinds.get(kind, 0) + 1
    context.equal(kinds, {("punishment", 1): n_captures, ("integrity_deduction", len(revisions)): n_captures}, "last revisions")


@scenario("POLICY", seconds=150)
def a_policy_that_changes_everything(context):
    """One policy row re-derives every action of N captures; killed in the middle, several times, the outcome is exact.

    Guards: the transaction is opened when its records are encoded and lasts as long as they are sent; an epoch that is not
    committed is computed again from the same record (kafka/sink.rs, engine/worker.rs `restore`).
    """
    n_captures = context.size(50_000, 1_000_000)
    per_person = 500
    rig = context.rig(Rig("policy", context.place()))
    people, identities, visits, captures = people_and_captures(n_captures, per_person)
    keys = {"captures": "capture_id", "identities": "plate,valid_from", "visits": "visit_id", "disposal_policy": "effective_from"}
    for name, rows in (("disposal_policy", [policy(2)]), ("identities", identities), ("visits", visits), ("captures", captures)):
        path = os.path.join(rig.dir, name + ".ndjson")
        write(path, rows)
        rig.create(name, 3)
        rig.client("produce", rig.topic(name), keys[name], path)
        os.remove(path)
    patience = context.size(240, 1800)
    began = time.monotonic()
    rig.catch_up(environment=LOG, patience_s=patience)
    loaded_s = time.monotonic() - began
    rig.produce("disposal_policy", ("effective_from",), [json.dumps(policy(3))])
    lives = Lives(context, rig)
    steps = ["execute.relation", "encode.done", "commit.begun", "commit.sent", "commit.positions"]
    context.choose.shuffle(steps)
    for step in steps[:context.size(3, 5)]:
        # The first epoch after a restore may hold the row already; the n-th relation is one that comes after the first load.
        n = context.choose.randrange(20, 40) if step == "execute.relation" else 0
        worker = lives.start(FAILPOINTS=f"{step}={f'{n}*off->' if n else ''}return")
        context.expect(lives.wait_for_abort(worker, patience), f"{step} was not reached; {rig.log()[-2000:]}")
    for _ in range(context.size(1, 6)):
        worker = lives.start()
        rig.wait_for("the restore", lambda: "restored state" in rig.log() or worker.poll() is not None, patience)
        time.sleep(context.choose.random() * context.size(2, 20))
        lives.kill(worker)
    began = time.monotonic()
    last_pass(context, rig, SOURCES, patience_s=patience)
    context.note(f"{n_captures} captures loaded in {loaded_s:.0f} s; the last life restored and re-derived in {time.monotonic() - began:.0f} s")
    context.equal(offsets_behind(rig, SOURCES), [], "offsets that are not the end")
    check_actions(context, rig, n_captures, [2, 3])
    scores = {}
    for record in rig.read("integrity_scores"):
        scores[record["key"]] = record["value"]
    wanted = {p: 100 - 3 * per_person for p in people}
    context.equal({p: row["score"] for p, row in scores.items()}, wanted, "scores")
    commits_of_last = commits(rig.log())
    context.note(f"the last life took {len(commits_of_last)} commits")
