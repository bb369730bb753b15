#!/usr/bin/env python3
"""An independent oracle for the pack `sql/safe-riding`: plain Python, no engine, no data frames.

    python3 tests/oracle/safe_riding.py INPUT_DIR                 # prints the expected content as JSON
    python3 tests/oracle/safe_riding.py INPUT_DIR REPLAY_DIR      # compares; exit code 1 and a list on a difference

`INPUT_DIR` holds `<relation>.ndjson` as `curb replay --from` reads them, `REPLAY_DIR` is what `curb replay --to` wrote.
`expected(INPUT_DIR)` computes from the final content of the sources which actions are issued, what is under review, the
integrity scores, the household proposals, and the helmet rates. The rules are written down here a second time, from
their text and in another style than the SQL (loops over one person's month instead of windows and joins), so that a
mistake in one does not hide in the other. `compare(INPUT_DIR, REPLAY_DIR)` folds the sinks and returns the differences.
"""

import argparse
import bisect
import json
import sys
from calendar import monthrange
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from replay_sources import DAY_MS, Source, read_sources

ZONE = ZoneInfo("Asia/Shanghai")
HOUR_MS = 3_600_000
RIDE_GAP_MS = 30 * 60_000
UNIX = datetime(1970, 1, 1, tzinfo=timezone.utc)

# The characters with the Unicode property White_Space (Python's str.strip() takes off a few more).
WHITE_SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
PLACEHOLDERS = {"", "NULL", "NONE", "UNKNOWN", "NO PLATE", "BLANKPLATE", "00000", "无牌", "未知", "无号牌"}
PARTY_ACTIONS = {"party_reminder", "branch_notice"}
NEEDS_APPROVAL = {"punishment", "integrity_deduction"}

SOURCES = [
    Source("captures", ("capture_id",),
           {"capture_id": "text", "captured_at": "timestamp", "plate": "text", "match_score": "double"},
           not_null=("captured_at",), event_time="captured_at", retention_ms=1000 * DAY_MS),
    Source("identities", ("plate", "valid_from"), {"plate": "text", "valid_from": "timestamp", "person_id": "text"}),
    Source("persons", ("person_id",),
           {"person_id": "text", "birth_date": "date", "household_id": "text", "employer_id": "text",
            "party_branch_id": "text"}),
    Source("households", ("household_id",), {"household_id": "text", "demonstration": "boolean"},
           not_null=("demonstration",)),
    Source("integrity_archive", ("person_id",), {"person_id": "text", "base_score": "int"}, not_null=("base_score",)),
    Source("devices", ("device_id",), {"device_id": "text", "town": "text"}, not_null=("town",)),
    Source("exemptions", ("plate", "valid_from"), {"plate": "text", "valid_from": "timestamp", "valid_to": "timestamp"},
           not_null=("valid_to",)),
    Source("visits", ("visit_id",),
           {"visit_id": "text", "person_id": "text", "completed_at": "timestamp", "delivered": "boolean"},
           not_null=("person_id", "completed_at"), event_time="completed_at", retention_ms=1500 * DAY_MS),
    Source("voids", ("capture_id",), {"capture_id": "text", "voided_at": "timestamp"}, not_null=("voided_at",),
           event_time="voided_at", retention_ms=1000 * DAY_MS),
    Source("disposal_policy", ("effective_from",),
           {"effective_from": "timestamp", "visit_from": "int", "urgent_from": "int", "deduction": "int",
            "improve_below": "int", "match_score_min": "double"},
           not_null=("visit_from", "urgent_from", "deduction", "improve_below", "match_score_min")),
    Source("passages", ("passage_id",),
           {"passage_id": "text", "device_id": "text", "passed_at": "timestamp", "helmet": "boolean"},
           stream=True, not_null=("device_id", "passed_at"), event_time="passed_at", watermark_delay_ms=30_000,
           unique_for_ms=7 * DAY_MS),
]


@dataclass(frozen=True)
class Policy:
    """The thresholds in force; the defaults hold where no policy is."""

    visit_from: int = 4
    urgent_from: int = 10
    deduction: int = 2
    improve_below: int = 60
    match_score_min: float = 0.8


@dataclass
class Ride:
    """Captures of a person at most 30 minutes apart, in time order; `start` and `policy` are those of the first."""

    start: int
    policy: Policy
    evidence: list


@dataclass
class Expected:
    """The content that the sinks must amount to."""

    actions: dict = field(default_factory=dict)  # action_id -> row of disposal_actions and party_actions
    reviews: dict = field(default_factory=dict)  # capture_id -> row
    integrity_scores: dict = field(default_factory=dict)  # person_id -> row
    household_proposals: dict = field(default_factory=dict)  # household_id -> row
    helmet_rates: dict = field(default_factory=dict)  # (window_start, town) -> row
    counts: dict = field(default_factory=dict)  # source -> Counts
    n_records: int = 0


# === calendar


def local(instant, zone=ZONE):
    """The wall clock of an instant (milliseconds)."""
    return (UNIX + timedelta(milliseconds=instant)).astimezone(zone)


def instant_of(moment):
    """Milliseconds of an aware datetime."""
    return (moment - UNIX) // timedelta(milliseconds=1)


def year_month(instant, zone=ZONE):
    """The local calendar month, `YYYY-MM`."""
    return f"{local(instant, zone):%Y-%m}"


def add_months(instant, months):
    """The same local wall clock so many calendar months later, clamped to the month's last day."""
    moment = local(instant)
    index = moment.year * 12 + moment.month - 1 + months
    year, month = index // 12, index % 12 + 1
    return instant_of(moment.replace(year=year, month=month, day=min(moment.day, monthrange(year, month)[1])))


def age_in_years(birth, day):
    """Full years on a day; who was born on 29 February is a year older on 1 March in common years."""
    return day.year - birth.year - ((day.month, day.day) < (birth.month, birth.day))


# === lookups


class Versions:
    """What is in force at an instant: the row with the greatest valid-from at or before it, per key."""

    def __init__(self, rows, key, valid_from):
        groups = defaultdict(list)
        for row in rows:
            groups[tuple(row[name] for name in key)].append(row)
        self.rows = {k: sorted(v, key=lambda r: r[valid_from]) for k, v in groups.items()}
        self.instants = {k: [r[valid_from] for r in v] for k, v in self.rows.items()}

    def at(self, instant, *key):
        """The row in force, or None."""
        position = bisect.bisect_right(self.instants.get(key, ()), instant)
        return self.rows[key][position - 1] if position else None


def policy_lookup(rows):
    """A function from an instant to the policy in force."""
    versions = Versions(rows, (), "effective_from")
    made = {}

    def at(instant):
        row = versions.at(instant)
        if row is None:
            return Policy()
        if row["effective_from"] not in made:
            made[row["effective_from"]] = Policy(
                row["visit_from"], row["urgent_from"], row["deduction"], row["improve_below"], row["match_score_min"])
        return made[row["effective_from"]]

    return at


def is_placeholder(plate):
    """Whether a plate as sent says that none was read."""
    return plate is None or plate.strip(WHITE_SPACE).upper() in PLACEHOLDERS


# === rules


def review_reason(capture, owner, policy, exemptions):
    """Why a capture is not counted: the first reason that holds, or None."""
    if is_placeholder(capture["plate"]):
        return "no_plate"
    if not owner:
        return "unknown_plate"
    if capture["match_score"] is not None and capture["match_score"] < policy.match_score_min:
        return "low_match_score"
    if any(e["valid_from"] <= capture["captured_at"] < e["valid_to"] for e in exemptions):
        return "exempt"
    return None


def count_captures(tables, policy_at, reviews):
    """Counted captures as {(person, month): [(instant, capture_id)]}; the others go to reviews."""
    identities = Versions(tables["identities"].values(), ("plate",), "valid_from")
    exemptions = defaultdict(list)
    for row in tables["exemptions"].values():
        exemptions[row["plate"]].append(row)
    counted = defaultdict(list)
    for (capture_id,), capture in tables["captures"].items():
        if (capture_id,) in tables["voids"]:
            continue
        at, plate = capture["captured_at"], capture["plate"]
        identity = identities.at(at, plate)
        owner = identity["person_id"] if identity else None
        reason = review_reason(capture, owner, policy_at(at), exemptions.get(plate, ()))
        if reason:
            reviews[capture_id] = {"capture_id": capture_id, "reason": reason}
        else:
            counted[owner, year_month(at)].append((at, capture_id))
    return counted


def rides_of(captures, policy_at):
    """The rides of one person's month, in order; ride n is at index n - 1."""
    rides, before = [], None
    for at, capture_id in sorted(captures):
        if before is None or at - before > RIDE_GAP_MS:
            rides.append(Ride(at, policy_at(at), []))
        rides[-1].evidence.append(capture_id)
        before = at
    return rides


def actions_of_ride(n, first_visit, first_urgent, minor, treated, person):
    """The actions of ride n of a month, given V and U (None where there is none)."""
    if minor:
        return ["guardian_notice"]
    actions = []
    if treated:
        actions += ["punishment", "integrity_deduction"]
    else:
        if first_visit is None or n < first_visit:
            actions.append("reminder")
        if n == first_visit:
            actions.append("grid_visit")
            if person.get("employer_id"):
                actions.append("employer_supervision")
        if n == first_urgent and first_urgent != first_visit:
            actions.append("urgent_visit")
    if n == first_visit and person.get("party_branch_id"):
        actions += ["party_reminder", "branch_notice"]
    return actions


def delivered_visits(tables):
    """{person: [(completed_at, last instant at which it still counts)]}"""
    visits = defaultdict(list)
    for row in tables["visits"].values():
        if row["delivered"]:
            visits[row["person_id"]].append((row["completed_at"], add_months(row["completed_at"], 12)))
    return visits


def decide(tables, policy_at, counted):
    """All issued actions, and the rides with a deduction as {person: [(start, policy)]}."""
    visits, actions, deductions = delivered_visits(tables), {}, defaultdict(list)
    for (person_id, month), captures in counted.items():
        person = tables["persons"].get((person_id,), {})
        birth = person.get("birth_date")
        rides = rides_of(captures, policy_at)
        first_visit = next((n for n, r in enumerate(rides, 1) if n >= r.policy.visit_from), None)
        first_urgent = next((n for n, r in enumerate(rides, 1) if n >= r.policy.urgent_from), None)
        for n, ride in enumerate(rides, 1):
            minor = birth is not None and age_in_years(birth, local(ride.start).date()) < 16
            treated = any(done < ride.start <= until for done, until in visits.get(person_id, ()))
            for action in actions_of_ride(n, first_visit, first_urgent, minor, treated, person):
                action_id = f"{person_id}/{month}/{action}/{n}"
                actions[action_id] = {
                    "action_id": action_id, "action": action, "person_id": person_id, "month": month, "n": n,
                    "ride_started_at": ride.start, "evidence": ride.evidence,
                    "points": ride.policy.deduction if action == "integrity_deduction" else None,
                    "status": "issued", "needs_approval": action in NEEDS_APPROVAL,
                }
                if action == "integrity_deduction":
                    deductions[person_id].append((ride.start, ride.policy))
    return actions, deductions


def integrity_scores(tables, deductions):
    """One row a person with a deduction."""
    scores = {}
    for person_id, rides in deductions.items():
        archive = tables["integrity_archive"].get((person_id,))
        score = (archive["base_score"] if archive else 100) - sum(policy.deduction for _, policy in rides)
        _, latest = max(rides, key=lambda ride: ride[0])
        scores[person_id] = {"person_id": person_id, "score": score, "to_be_improved": score < latest.improve_below,
                             "needs_approval": True}
    return scores


def household_proposals(tables, actions):
    """One row a demonstration household with a punished member."""
    members = defaultdict(set)
    for row in actions.values():
        household = tables["persons"].get((row["person_id"],), {}).get("household_id")
        if row["action"] == "punishment" and household:
            if tables["households"].get((household,), {}).get("demonstration"):
                members[household].add(row["person_id"])
    return {h: {"household_id": h, "persons": sorted(persons), "needs_approval": True}
            for h, persons in members.items()}


def helmet_rates(records, devices, counts):
    """One row per local clock hour and town; records of closed hours are late. Asia/Shanghai lies whole hours from UTC."""
    riders, bare = defaultdict(int), defaultdict(int)
    for record in records:
        row = record.row
        if row["helmet"] is None:
            continue
        start = row["passed_at"] // HOUR_MS * HOUR_MS
        if start + HOUR_MS <= record.watermark:
            counts.used -= 1
            counts.late += 1
            continue
        device = devices.get((row["device_id"],))
        key = (start, device["town"] if device else "unknown")
        riders[key] += 1
        bare[key] += not row["helmet"]
    return {k: {"window_start": k[0], "window_end": k[0] + HOUR_MS, "town": k[1], "riders": n, "helmetless": bare[k],
                "rate": bare[k] / n} for k, n in riders.items()}


def expected(input_dir):
    """What the sinks must amount to after a replay of these sources."""
    content = read_sources(input_dir, SOURCES)
    tables, result = content.tables, Expected(counts=content.counts, n_records=content.n_records)
    policy_at = policy_lookup(tables["disposal_policy"].values())
    counted = count_captures(tables, policy_at, result.reviews)
    result.actions, deductions = decide(tables, policy_at, counted)
    result.integrity_scores = integrity_scores(tables, deductions)
    result.household_proposals = household_proposals(tables, result.actions)
    result.helmet_rates = helmet_rates(content.streams["passages"], tables["devices"], content.counts["passages"])
    return result


# === comparison


def compare(input_dir, replay_dir, live=False):
    """The differences between what a replay wrote and what it must amount to, as sentences; empty if there are none.

    With `live` the sinks are those of a service, whose epochs are cut by chance and which writes no summary.
    """
    from replay_output import ReplayOutput

    want = expected(input_dir)
    output = ReplayOutput(replay_dir, ("+08:00",), single_epoch=not live and want.n_records <= 100_000)
    columns = ["action_id", "action", "person_id", "month", "n", "ride_started_at", "evidence", "points", "status",
               "revision", "needs_approval"]
    parts = {False: {}, True: {}}
    for action_id, row in want.actions.items():
        parts[row["action"] in PARTY_ACTIONS][action_id] = row
    for sink, party in (("disposal_actions", False), ("party_actions", True)):
        issued = output.issued(sink, columns, key="action_id", instants=("ride_started_at",),
                               changing=("status", "evidence", "points", "ride_started_at"))
        output.differences(sink, parts[party], issued)
    for sink, key, columns in (
        ("reviews", "capture_id", ["capture_id", "reason"]),
        ("integrity_scores", "person_id", ["person_id", "score", "to_be_improved", "needs_approval"]),
        ("household_proposals", "household_id", ["household_id", "persons", "needs_approval"]),
    ):
        output.differences(sink, getattr(want, sink), output.upserts(sink, columns, key))
    columns = ["window_start", "window_end", "town", "riders", "helmetless", "rate"]
    rates = output.finals("helmet_rates", columns, key=("window_start", "town"), order=("window_end", "window_start", "town"),
                          instants=("window_start", "window_end"))
    output.differences("helmet_rates", want.helmet_rates, rates)
    if not live:
        output.summary({name: vars(counts) for name, counts in want.counts.items()})
    return output.problems


def main():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("input_dir")
    parser.add_argument("replay_dir", nargs="?")
    parser.add_argument("--limit", type=int, default=40, help="how many differences to print")
    options = parser.parse_args()
    if options.replay_dir is None:
        result = expected(options.input_dir)
        content = {
            "actions": list(result.actions.values()), "reviews": list(result.reviews.values()),
            "integrity_scores": list(result.integrity_scores.values()),
            "household_proposals": list(result.household_proposals.values()),
            "helmet_rates": list(result.helmet_rates.values()),
            "sources": {name: vars(counts) for name, counts in result.counts.items()},
        }
        print(json.dumps(content, ensure_ascii=False, indent=1))
        return 0
    problems = compare(options.input_dir, options.replay_dir)
    for problem in problems[: options.limit]:
        print(problem)
    if len(problems) > options.limit:
        print(f"... and {len(problems) - options.limit} more")
    print(f"{len(problems)} differences" if problems else "equal")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
