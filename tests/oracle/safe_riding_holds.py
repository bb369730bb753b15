#!/usr/bin/env python3
"""A second implementation of the holds of `sql/safe-riding/doubtful-captures.sql`, in plain Python, and sources to try it on.

    safe_riding_holds.py enrich DIR --seed 1 --to DIR2      # adds holds and their sources to what generate_safe_riding.py made
    safe_riding_holds.py check DIR2 REPLAY_DIR              # compares; exit code 1 and a list on a difference

What is held is worked out here from the final content of the sources, capture by capture, with loops where the SQL has
joins and windows. The rest (actions, scores, reviews, households) is that of `safe_riding.py` for the captures that are left,
less what open appeals pause; the classes of months are compared besides.
"""

import argparse
import bisect
import json
import math
import os
import random
import re
import shutil
import statistics
import sys
from collections import defaultdict
from dataclasses import replace
from datetime import timedelta

import safe_riding as contract
from generate_safe_riding import DAY, END, MINUTE, START, write_lines
from replay_output import ReplayOutput
from replay_sources import Rejected, Source, decode, parse_instant, read_sources
from safe_riding import HOUR_MS, Versions, instant_of, is_placeholder, local, year_month

EARTH_RADIUS_M = 6_371_008.8
FLAGS = ("is_decked", "is_altered", "is_covered")
VEHICLE = ("vehicle_type", "vehicle_brand", "vehicle_color")
SWITCHES = ("hold_flagged_plates", "hold_mismatches", "hold_disputed_plates", "hold_face_only", "hold_inactive_devices")
LIMITS = {"plate_pattern": "text", "plate_reliability_min": "double", "clone_speed_kmh": "double",
          "clone_distance_min_m": "double", "clock_ahead_seconds": "int", "clock_shift_captures": "int",
          "clock_tolerance_seconds": "int", "burst_per_10_minutes": "int", "burst_per_day": "int",
          "burst_peer_factor": "double", "burst_peer_min": "int", "upheld_dispute_days": "int",
          "change_grace_seconds": "int", "review_days": "int"}
CAPTURE_COLUMNS = {"device_id": "text", "recorded_at": "timestamp", "plate_reliability": "double", "matched_by": "text",
                   **{name: "boolean" for name in FLAGS}, **{name: "text" for name in VEHICLE}}


def widened(source):
    """A declared source with the columns that holds use."""
    more = {"captures": CAPTURE_COLUMNS, "devices": {"lon": "double", "lat": "double"}}.get(source.name, {})
    return replace(source, columns={**source.columns, **more})


DEVICES = ["D000", "D006", "D050", "D109"]
OPTIONAL = [
    Source("hold_policy", ("effective_from",),
           {"effective_from": "timestamp", **{name: "boolean" for name in SWITCHES}, **LIMITS}),
    Source("device_sites", ("device_id", "valid_from"),
           {"device_id": "text", "valid_from": "timestamp", "lon": "double", "lat": "double", "active": "boolean"}),
    Source("plate_registry", ("plate", "valid_from"),
           {"plate": "text", "valid_from": "timestamp", **{name: "text" for name in VEHICLE}}),
    Source("disputed_plates", ("plate", "valid_from"),
           {"plate": "text", "valid_from": "timestamp", "valid_to": "timestamp"}),
    Source("appeals", ("appeal_id",),
           {"appeal_id": "text", "person_id": "text", "device_id": "text", "plate": "text", "closed_at": "timestamp",
            "outcome": "text"}),
    Source("hold_releases", ("capture_id",), {"capture_id": "text", "released_at": "timestamp"}, not_null=("released_at",),
           event_time="released_at", retention_ms=1500 * DAY),
]
SOURCES = [widened(source) for source in contract.SOURCES] + OPTIONAL


# === what is held


def normalized(plate):
    """One spelling of a plate, empty where it says that there is none."""
    folded = "".join(" " if c == "\u3000" else chr(ord(c) - 0xFEE0) if "\uff01" <= c <= "\uff5e" else c for c in plate)
    kept = "".join(c for c in folded if c not in contract.WHITE_SPACE and c not in "·•・.-").upper()
    if is_placeholder(plate) or kept in contract.PLACEHOLDERS or kept == "NOPLATE":
        return ""
    return kept.replace("O", "0").replace("I", "1")


def add_days(instant, days):
    """The same time of day so many days later (Shanghai has not changed its clock since 1991)."""
    return None if days is None else instant_of(local(instant) + timedelta(days=days))


def distance_m(a, b):
    """Metres between two places on the sphere."""
    (lon_a, lat_a), (lon_b, lat_b) = a, b
    phi_a, phi_b = math.radians(lat_a), math.radians(lat_b)
    h = math.sin((phi_b - phi_a) / 2) ** 2
    h += math.cos(phi_a) * math.cos(phi_b) * math.sin(math.radians(lon_b - lon_a) / 2) ** 2
    return 2 * EARTH_RADIUS_M * math.asin(math.sqrt(h))


class Holds:
    """The captures under a hold policy, and what is wrong with each."""

    def __init__(self, tables):
        self.tables = tables
        self.policies = Versions(tables["hold_policy"].values(), (), "effective_from")
        self.sites = Versions(tables["device_sites"].values(), ("device_id",), "valid_from")
        self.registry = Versions(tables["plate_registry"].values(), ("plate",), "valid_from")
        self.thresholds = Versions(tables["disposal_policy"].values(), (), "effective_from")
        self.captures = {}
        for (capture_id,), row in tables["captures"].items():
            policy = self.policies.at(row["captured_at"])
            if policy and row["recorded_at"] is not None and (capture_id,) not in tables["voids"]:
                self.captures[capture_id] = (row, policy)
        self.found = defaultdict(set)
        self.clocks()
        self.bursts()
        self.clones()
        for capture_id, (row, policy) in self.captures.items():
            self.of_one(capture_id, row, policy)
        for capture_id, (row, _) in self.captures.items():
            if is_placeholder(row["plate"]):
                self.found.pop(capture_id, None)

    def clocks(self):
        """Whole hours between the device's and the platform's clock."""
        groups = defaultdict(list)
        for capture_id, (row, policy) in self.captures.items():
            limit, at = policy["clock_shift_captures"], row["captured_at"]
            if limit is None or row["device_id"] is None:
                continue
            tolerance = 120 if policy["clock_tolerance_seconds"] is None else policy["clock_tolerance_seconds"]
            off_ms = row["recorded_at"] - at
            hours = int(math.copysign((abs(off_ms) + HOUR_MS // 2) // HOUR_MS, off_ms))
            if hours and abs(off_ms - hours * HOUR_MS) <= 1000 * tolerance:
                groups[row["device_id"], local(at).date(), hours, limit, tolerance].append((at, capture_id))
        for (*_, limit, tolerance), members in groups.items():
            if len(members) >= limit and max(members)[0] - min(members)[0] > 2000 * tolerance:
                for _, capture_id in members:
                    self.found[capture_id].add("clock_shift")

    def bursts(self):
        """Devices with too many captures in ten minutes or a day."""
        slots, days, burst = defaultdict(list), defaultdict(list), set()
        places = defaultdict(list)
        for capture_id, (row, policy) in self.captures.items():
            device, at = row["device_id"], row["captured_at"]
            if device is None:
                continue
            slot, day = at // (10 * MINUTE), local(at).date()
            places[device, slot].append(capture_id)
            places[device, day].append(capture_id)
            if policy["burst_per_10_minutes"] is not None:
                slots[device, slot, policy["burst_per_10_minutes"]].append(capture_id)
            if policy["burst_per_day"] is not None or policy["burst_peer_factor"] is not None:
                least = 20 if policy["burst_peer_min"] is None else policy["burst_peer_min"]
                days[device, day, policy["burst_per_day"], policy["burst_peer_factor"], least].append(capture_id)
        for (device, slot, limit), members in slots.items():
            if len(members) > limit:
                burst.add((device, slot))
        typical = defaultdict(list)
        for (_, day, *_), members in days.items():
            typical[day].append(len(members))
        for (device, day, limit, factor, least), members in days.items():
            n = len(members)
            if (limit is not None and n > limit) or (
                    factor is not None and n > factor * statistics.median(typical[day]) and n > least):
                burst.add((device, day))
        for place in burst:
            for capture_id in places[place]:
                self.found[capture_id].add("device_burst")

    def place(self, row):
        """Where a capture was made, or None."""
        device = self.tables["devices"].get((row["device_id"],))
        if device is None:
            return None
        site = self.sites.at(row["captured_at"], row["device_id"]) or {"lon": None, "lat": None}
        lon = device["lon"] if site["lon"] is None else site["lon"]
        lat = device["lat"] if site["lat"] is None else site["lat"]
        return None if lon is None or lat is None else (lon, lat)

    def clones(self):
        """One plate in two places."""
        plates = defaultdict(list)
        for capture_id, (row, policy) in self.captures.items():
            if policy["clone_speed_kmh"] is not None and not is_placeholder(row["plate"]):
                place = self.place(row)
                if place:
                    apart = 500 if policy["clone_distance_min_m"] is None else policy["clone_distance_min_m"]
                    plates[row["plate"], year_month(row["captured_at"])].append(
                        (row["captured_at"], capture_id, place, policy["clone_speed_kmh"], apart))
        for members in plates.values():
            members.sort(key=lambda m: m[0])
            for position, (at, capture_id, place, speed, apart) in enumerate(members):
                for later in members[position + 1:]:
                    if later[0] - at > 2 * HOUR_MS:
                        break
                    metres = distance_m(place, later[2])
                    if metres >= min(apart, later[4]) and metres * 3600 > min(speed, later[3]) * (later[0] - at):
                        self.found[capture_id].add("clone_suspect")
                        self.found[later[1]].add("clone_suspect")

    def of_one(self, capture_id, row, policy):
        """What a capture shows by itself."""
        found, at, plate, device = self.found[capture_id], row["captured_at"], row["plate"], row["device_id"]
        if policy["hold_flagged_plates"] and any(row[name] for name in FLAGS):
            found.add("flagged_plate")
        pattern, least = policy["plate_pattern"], policy["plate_reliability_min"]
        unsure = least is not None and row["plate_reliability"] is not None and row["plate_reliability"] < least
        if unsure or (pattern is not None and plate is not None and not re.search(pattern, normalized(plate))):
            found.add("partial_plate")
        vehicle = self.registry.at(at, plate)
        if policy["hold_mismatches"] and vehicle and any(
                row[n] is not None and vehicle[n] is not None and row[n].upper() != vehicle[n].upper() for n in VEHICLE):
            found.add("vehicle_mismatch")
        if policy["hold_disputed_plates"] and any(
                d["valid_from"] <= at and (d["valid_to"] is None or at < d["valid_to"])
                for d in self.disputed.get(plate, ())):
            found.add("disputed_plate")
        if policy["hold_face_only"] and row["matched_by"] == "face":
            found.add("face_only")
        site = self.sites.at(at, device)
        if policy["hold_inactive_devices"] and site and site["active"] is False:
            found.add("inactive_device")
        ahead = policy["clock_ahead_seconds"]
        if ahead is not None and at - row["recorded_at"] > 1000 * ahead:
            found.add("clock_ahead")
        if policy["change_grace_seconds"] is not None:
            grace = 1000 * policy["change_grace_seconds"]
            for versions, key in ((self.thresholds, ()), (self.sites, (device,))):
                if versions.at(at - grace, *key) is not versions.at(at + grace, *key):
                    found.add("rule_change")
        days = policy["upheld_dispute_days"]
        if days is not None and any(u <= at <= add_days(u, days) for u in self.upheld.get((device, plate), ())):
            found.add("upheld_dispute")

    @property
    def disputed(self):
        """Disputed plates: their rows by plate."""
        if not hasattr(self, "_disputed"):
            self._disputed = defaultdict(list)
            for row in self.tables["disputed_plates"].values():
                self._disputed[row["plate"]].append(row)
        return self._disputed

    @property
    def upheld(self):
        """When disputes were upheld, by device and plate."""
        if not hasattr(self, "_upheld"):
            self._upheld = defaultdict(list)
            for row in self.tables["appeals"].values():
                if row["outcome"] == "upheld" and row["closed_at"] is not None:
                    self._upheld[row["device_id"], row["plate"]].append(row["closed_at"])
        return self._upheld

    def held(self):
        """{capture_id: (holds, expires_at)} of what nobody has released in time."""
        held = {}
        for capture_id, found in self.found.items():
            row, policy = self.captures[capture_id]
            expires_at = add_days(row["captured_at"], policy["review_days"])
            release = self.tables["hold_releases"].get((capture_id,))
            released = release and (expires_at is None or release["released_at"] <= expires_at)
            if found and not released:
                held[capture_id] = (found, expires_at)
        return held


# === what follows


def expected(input_dir):
    """What the sinks must amount to."""
    tables = read_sources(input_dir, SOURCES).tables
    holds = Holds(tables)
    held = holds.held()
    tables["captures"] = {key: row for key, row in tables["captures"].items() if key[0] not in held}
    result = contract.Expected()
    policy_at = contract.policy_lookup(tables["disposal_policy"].values())
    counted = contract.count_captures(tables, policy_at, result.reviews)
    actions, deductions = contract.decide(tables, policy_at, counted)
    paused = {row["person_id"] for row in tables["appeals"].values() if row["closed_at"] is None}
    result.actions = {key: row for key, row in actions.items()
                      if row["person_id"] not in paused or row["action"] not in contract.NEEDS_APPROVAL}
    result.integrity_scores = contract.integrity_scores(
        tables, {person: rides for person, rides in deductions.items() if person not in paused})
    result.household_proposals = contract.household_proposals(tables, result.actions)
    expired = {capture_id: (sorted(found), expires_at) for capture_id, (found, expires_at) in held.items() if expires_at}
    for capture_id, row in result.reviews.items():
        if capture_id in holds.captures and holds.captures[capture_id][1]["review_days"] is not None:
            days = holds.captures[capture_id][1]["review_days"]
            expired[capture_id] = ([row["reason"]], add_days(tables["captures"][capture_id,]["captured_at"], days))
    return result, held, expired, tiers(tables, policy_at, counted, actions, paused)


def tiers(tables, policy_at, counted, actions, paused):
    """{(person, month): (tier, rides)}"""
    treated = {(a["person_id"], a["month"]) for a in actions.values() if a["action"] == "punishment"}
    minors = defaultdict(int)
    for action in actions.values():
        minors[action["person_id"], action["month"]] += action["action"] == "guardian_notice"
    classes = {}
    for (person, month), captures in counted.items():
        rides = contract.rides_of(captures, policy_at)
        first = next((n for n, ride in enumerate(rides, 1) if n >= ride.policy.visit_from), None)
        grown = len(rides) - minors[person, month]
        # A minor's rides come first in the month in which they turn sixteen.
        frequent = first is not None and len(rides) >= first and grown > 0
        tier = "minor" if not grown else "frequent" if frequent else "occasional"
        if (person, month) in treated and person not in paused:
            tier = "incorrigible"
        classes[person, month] = (tier, len(rides))
    return classes


def compare(input_dir, replay_dir):
    """The differences, as sentences."""
    want, held, expired, classes = expected(input_dir)
    output = ReplayOutput(replay_dir, ("+08:00",))
    columns = ["action_id", "action", "person_id", "month", "n", "ride_started_at", "evidence", "points", "status",
               "revision", "needs_approval"]
    for sink, party in (("disposal_actions", False), ("party_actions", True)):
        part = {key: row for key, row in want.actions.items() if (row["action"] in contract.PARTY_ACTIONS) == party}
        issued = output.issued(sink, columns, key="action_id", instants=("ride_started_at",),
                               changing=("status", "evidence", "points", "ride_started_at"))
        output.differences(sink, part, issued)
    for sink, key, columns in (
        ("reviews", "capture_id", ["capture_id", "reason"]),
        ("integrity_scores", "person_id", ["person_id", "score", "to_be_improved", "needs_approval"]),
        ("household_proposals", "household_id", ["household_id", "persons", "needs_approval"]),
    ):
        output.differences(sink, getattr(want, sink), output.upserts(sink, columns, key))
    found = {}
    for line in output.lines("held_captures.ndjson"):
        row = json.loads(line)
        if row.get("_tombstone"):
            del found[row["capture_id"]]
            continue
        expires_at = None if row["expires_at"] is None else parse_instant(row["expires_at"])
        found[row["capture_id"]] = {"holds": sorted(row["holds"]), "expires_at": expires_at}
        if row["hold"] != row["holds"][0]:
            output.problem(f"held_captures: {row}: hold is not the first of holds")
    output.differences("held_captures", {k: {"holds": sorted(h), "expires_at": e} for k, (h, e) in held.items()}, found)
    found = {}
    for line in output.lines("expired_captures.ndjson"):
        row = json.loads(line)
        found[row["capture_id"]] = None if row.get("_tombstone") else row
    found = {k: {"expired_at": parse_instant(row["expired_at"]), "reason": row["reason"]} for k, row in found.items() if row}
    for capture_id, row in found.items():
        reasons = expired.get(capture_id, ([], 0))[0]
        if row.pop("reason") not in reasons:
            output.problem(f"expired_captures: {capture_id}: the reason is none of {reasons}")
    output.differences("expired_captures", {k: {"expired_at": e} for k, (_, e) in expired.items()}, found)
    found = {}
    for line in output.lines("person_month_tier.ndjson"):
        row = json.loads(line)
        found[row["person_id"], row["month"]] = None if row.get("_tombstone") else {"tier": (row["tier"], row["rides"])}
    output.differences("person_month_tier", {k: {"tier": v} for k, v in classes.items()}, {k: v for k, v in found.items() if v})
    return output.problems, held


# === sources to try it on


def enrich(source_dir, seed, directory):
    """Copies a generated directory and adds what holds need; everything is dense, so that holds meet and overlap."""
    r = random.Random(seed)
    os.makedirs(directory, exist_ok=True)
    for name in os.listdir(source_dir):
        if name != "captures.ndjson":
            shutil.copy(os.path.join(source_dir, name), directory)
    captures_source = next(source for source in SOURCES if source.name == "captures")
    with open(os.path.join(source_dir, "captures.ndjson"), encoding="utf-8", newline="\n") as file:
        lines = file.read().split("\n")[:-1]
    text = lambda at: local(at).isoformat(timespec="milliseconds")
    rows, plates, instants = [], [], []
    for line in lines:
        try:
            row, is_tombstone = decode(captures_source, line)
        except Rejected:
            rows.append(line)
            continue
        record = json.loads(line)
        if not isinstance(record, dict) or "_tombstone" in record:
            rows.append(line)
            continue
        at = row["captured_at"]
        plates.append(row["plate"])
        instants.append(at)
        # A few devices, kilometres apart, so that bursts, clones and clocks gather; on some days a device is hours off.
        device = record["device_id"] = r.choice(DEVICES)
        wrong = random.Random(f"{device}{local(at).date()}").choice([0] * 8 + [1, -1, 8])
        record["recorded_at"] = text(at + wrong * HOUR_MS + r.choice([0, 1000, 20_000, 119_999, 120_000, 120_001, 40 * MINUTE]))
        if r.random() < 0.1:
            record["recorded_at"] = r.choice([None, text(at - 300_000), text(at - 300_001)])
        for name in FLAGS:
            if r.random() < 0.02:
                record[name] = r.choice([True, False])
        if r.random() < 0.3:
            record["plate_reliability"] = r.choice([0.8, 0.79, 1, 0.9])
            record["matched_by"] = r.choice(["face", "plate", "both", "plate", "plate"])
        for name in VEHICLE:
            if r.random() < 0.1:
                record[name] = r.choice(["A", "a", "A", "B"])
        rows.append(record)
    plates = sorted({p for p in plates if p})
    some = lambda: r.choice(instants) + r.choice([0, 1, -1, 60_000, -60_000, 59_999])
    policies = []
    for at in sorted(r.randrange(START, END) for _ in range(4)):
        policy = {"effective_from": text(at)}
        for name in SWITCHES:
            if r.random() < 0.6:
                policy[name] = r.random() < 0.8
        choices = {"plate_pattern": ["^浙?[A-Z]", "[0-9]{4}$"], "plate_reliability_min": [0.8], "clone_speed_kmh": [1, 10, 120.5],
                   "clone_distance_min_m": [0, 300, 1000.5], "clock_ahead_seconds": [300], "clock_shift_captures": [2, 3],
                   "clock_tolerance_seconds": [120, 60], "burst_per_10_minutes": [1, 2], "burst_per_day": [2, 4],
                   "burst_peer_factor": [1.5, 2], "burst_peer_min": [1, 2], "upheld_dispute_days": [30, 180],
                   "change_grace_seconds": [60, 3600], "review_days": [10, 2]}
        for name, values in choices.items():
            if r.random() < 0.5:
                policy[name] = r.choice(values)
        policies.append(policy)
    policies += [dict(policies[0], hold_face_only=True), {"_tombstone": True, "effective_from": policies[1]["effective_from"]}]
    extra = {"captures": rows, "hold_policy": policies, "device_sites": [], "plate_registry": [], "disputed_plates": [],
             "appeals": [], "hold_releases": []}
    for device in DEVICES:
        for _ in range(r.randrange(3)):
            extra["device_sites"].append({
                "device_id": device, "valid_from": text(some()), "lon": r.choice([None, 119.9 + r.random() / 10]),
                "lat": r.choice([None, 31.0]), "active": r.choice([True, None, False])})
    for plate in r.sample(plates, len(plates) // 3):
        extra["plate_registry"].append({"plate": plate, "valid_from": text(some()), **{n: r.choice(["A", "B", None]) for n in VEHICLE}})
    for plate in r.sample(plates, len(plates) // 10):
        for _ in range(r.randrange(1, 3)):
            at = some()
            extra["disputed_plates"].append({"plate": plate, "valid_from": text(at), "valid_to": r.choice([None, text(at + r.randrange(40 * DAY))])})
    with open(os.path.join(source_dir, "persons.ndjson"), encoding="utf-8") as file:
        people = sorted(set(re.findall(r'"person_id": "([^"]*)"', file.read())))
    records = [row for row in rows if isinstance(row, dict)]
    for index in range(200):
        at, about = some(), r.choice(records)
        extra["appeals"].append({
            "appeal_id": f"A{index}", "person_id": r.choice([*people[:20], None]), "device_id": about["device_id"],
            "plate": about.get("plate"), "opened_at": text(at), **r.choice([
                {}, {"closed_at": text(at + DAY), "outcome": "upheld"}, {"closed_at": text(at + DAY), "outcome": "upheld"},
                {"closed_at": text(at + DAY), "outcome": "rejected"}])})
    for record in r.sample(records, len(records) // 8):
        try:
            at = parse_instant(record["captured_at"])
        except (Rejected, KeyError):
            continue
        extra["hold_releases"].append({"capture_id": record["capture_id"], "officer_id": "7",
                                       "released_at": text(at + r.choice([DAY, 2 * DAY, 2 * DAY + 1, 10 * DAY, 10 * DAY + 1]))})
    for name, lines in extra.items():
        write_lines(directory, name, (row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in lines))


def main():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("enrich")
    making.add_argument("source_dir")
    making.add_argument("--seed", type=int, required=True)
    making.add_argument("--to", required=True)
    checking = commands.add_parser("check")
    checking.add_argument("input_dir")
    checking.add_argument("replay_dir")
    options = parser.parse_args()
    if options.command == "enrich":
        enrich(options.source_dir, options.seed, options.to)
        return 0
    problems, held = compare(options.input_dir, options.replay_dir)
    for problem in problems[:20]:
        print(problem)
    kinds = defaultdict(int)
    for found, _ in held.values():
        for hold in found:
            kinds[hold] += 1
    print(f"{len(problems)} differences" if problems else "equal", f"({len(held)} held: {dict(sorted(kinds.items()))})")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
