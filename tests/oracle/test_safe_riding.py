#!/usr/bin/env python3
"""Tests of the oracle itself, from the text of the rules: `python3 tests/oracle/test_safe_riding.py` (or pytest)."""

import hashlib
import json
import os
import sys
import tempfile
from datetime import date

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from generate_safe_riding import generate, instant, shuffle
from replay_sources import Rejected, parse_instant
from safe_riding import PARTY_ACTIONS, add_months, age_in_years, compare, expected, is_placeholder, year_month

ALWAYS = "2000-01-01T00:00:00+08:00"


def write(directory, **sources):
    """Writes source files; records as dictionaries, or lines as text."""
    for name, rows in sources.items():
        with open(os.path.join(directory, name + ".ndjson"), "w", encoding="utf-8") as file:
            file.writelines((r if isinstance(r, str) else json.dumps(r, ensure_ascii=False)) + "\n" for r in rows)


def run(**sources):
    """The expected content of these sources; plate A belongs to person a unless identities are given."""
    sources.setdefault("identities", [{"plate": "A", "valid_from": ALWAYS, "person_id": "a"}])
    with tempfile.TemporaryDirectory() as directory:
        write(directory, **sources)
        return expected(directory)


def capture(capture_id, at, plate="A", **more):
    """A capture."""
    return {"capture_id": capture_id, "device_id": "D", "captured_at": at, "violation": "no_helmet", "plate": plate, **more}


def days(n, month="2024-05", first=1):
    """Captures at noon of n days: n rides of a month."""
    return [capture(f"c{i:02}", f"{month}-{i:02}T12:00:00+08:00") for i in range(first, first + n)]


def actions(result, person="a"):
    """{n: actions} of a person in the only month."""
    found = {}
    for row in result.actions.values():
        if row["person_id"] == person:
            found.setdefault(row["n"], []).append(row["action"])
    return {n: sorted(v) for n, v in sorted(found.items())}


def policy(at=ALWAYS, **changed):
    """A policy row with the default thresholds."""
    return {"effective_from": at, "visit_from": 4, "urgent_from": 10, "deduction": 2, "improve_below": 60,
            "match_score_min": 0.8, **changed}


def visit(at, delivered=True, visit_id="v", person="a"):
    """A visit."""
    return {"visit_id": visit_id, "person_id": person, "completed_at": at, "delivered": delivered}


# === reading


def test_instants_are_equal_whatever_their_offset():
    assert parse_instant("2024-05-01T08:00:00+08:00") == parse_instant("2024-05-01T00:00:00.000Z")
    assert parse_instant("2024-04-30T19:00:00-05:00") == parse_instant("2024-05-01T05:45:00+05:45")
    assert parse_instant("1970-01-01T00:00:00.1239Z") == 123
    for text in ("2024-02-30T00:00:00Z", "2024-05-01T00:00:00", "yesterday", "", 7, None):
        try:
            parse_instant(text)
        except Rejected:
            continue
        raise AssertionError(text)


def test_every_record_is_counted_once():
    one = capture("c1", "2024-05-01T12:00:00+08:00")
    result = run(captures=[one, {**one, "captured_at": "2024-05-01T04:00:00Z"}, "", "  ", "{", "7", {"capture_id": "c2"},
                           {"_tombstone": True, "capture_id": "c9"}, {"_tombstone": True, "capture_id": "c1"},
                           {"_tombstone": True}, {**one, "captured_at": None}, {**one, "match_score": float("nan")}])
    assert vars(result.counts["captures"]) == {"read": 10, "used": 2, "duplicate": 2, "late": 0, "rejected": 6}
    assert not result.actions


def test_a_change_of_a_column_that_no_rule_uses_is_a_duplicate():
    one = capture("c1", "2024-05-01T12:00:00+08:00")
    result = run(captures=[one, {**one, "violation": "other", "lon": 1.5}])
    assert result.counts["captures"].duplicate == 1


def test_what_is_older_than_the_retention_is_late_after_the_epoch_and_not_withdrawn():
    filler = [f'{{"passage_id": "p{i}", "device_id": "D", "passed_at": "2024-06-01T00:00:00Z"}}' for i in range(100_000)]
    old, new, last = (capture(i, f"{at}T12:00:00+08:00") for i, at in
                      (("old", "2021-01-01"), ("new", "2024-05-01"), ("last", "2024-07-01")))
    late = [{"_tombstone": True, "capture_id": "old"}, {**old, "plate": None}, old]
    result = run(captures=[old, new, last, *late], passages=filler)
    assert vars(result.counts["captures"]) == {"read": 6, "used": 3, "duplicate": 1, "late": 2, "rejected": 0}
    assert len(result.actions) == 3


# === counted captures


def test_placeholder_plates_are_trimmed_and_upper_cased():
    for plate in (None, "", "\u3000null\xa0", "None", "unknown", "no plate", "\tBlankPlate", "00000", "无牌 ", "未知", "无号牌"):
        assert is_placeholder(plate), plate
    for plate in ("0000", "no  plate", "\x1cnull", "浙E00000", "nul"):
        assert not is_placeholder(plate), plate


def test_the_first_reason_that_holds_is_given():
    at = "2024-05-01T12:00:00+08:00"
    exempt = [{"plate": "A", "valid_from": ALWAYS, "valid_to": "2030-01-01T00:00:00Z"}]
    result = run(
        captures=[capture("no", at, " none "), capture("un", at, "B"), capture("case", at, "a"), capture("low", at, match_score=0.79),
                  capture("ex", at), capture("gone", at, "none"), capture("null", at, "G"), capture("empty", at, "E"),
                  {**capture("absent", at), "plate": None}],
        voids=[{"capture_id": "gone", "voided_at": at}], exemptions=exempt,
        identities=[{"plate": "A", "valid_from": ALWAYS, "person_id": "a"}, {"plate": "G", "valid_from": ALWAYS},
                    {"plate": "E", "valid_from": ALWAYS, "person_id": ""}, {"plate": " none ", "valid_from": ALWAYS, "person_id": "a"}])
    assert {k: r["reason"] for k, r in result.reviews.items()} == {
        "no": "no_plate", "un": "unknown_plate", "case": "unknown_plate", "low": "low_match_score", "ex": "exempt",
        "null": "unknown_plate", "empty": "unknown_plate", "absent": "no_plate"}
    assert not result.actions


def test_the_identity_in_force_at_the_capture_counts():
    result = run(
        captures=[capture("c1", "2024-05-01T11:59:59.999+08:00"), capture("c2", "2024-05-01T12:00:00+08:00"),
                  capture("c3", "2023-12-31T12:00:00+08:00")],
        identities=[{"plate": "A", "valid_from": "2024-05-01T12:00:00+08:00", "person_id": "b"},
                    {"plate": "A", "valid_from": "2024-01-01T00:00:00+08:00", "person_id": "a"}])
    assert {r["person_id"]: r["evidence"] for r in result.actions.values()} == {"a": ["c1"], "b": ["c2"]}
    assert list(result.reviews) == ["c3"]


def test_exemptions_are_half_open_and_an_earlier_longer_one_still_holds():
    spans = [("2024-05-01T00:00:00+08:00", "2024-05-10T00:00:00+08:00"), ("2024-05-02T00:00:00+08:00", "2024-05-03T00:00:00+08:00")]
    result = run(
        captures=[capture("in", "2024-05-05T00:00:00+08:00"), capture("first", "2024-05-01T00:00:00+08:00"),
                  capture("end", "2024-05-10T00:00:00+08:00"), capture("before", "2024-04-30T23:59:59.999+08:00")],
        exemptions=[{"plate": "A", "valid_from": a, "valid_to": b} for a, b in spans])
    assert sorted(result.reviews) == ["first", "in"]


def test_the_score_is_measured_by_the_policy_at_the_capture():
    result = run(captures=[capture("c1", "2024-05-01T11:00:00+08:00", match_score=0.8), capture("c2", "2024-05-01T12:00:00+08:00", match_score=0.8),
                           capture("c3", "2024-05-01T12:00:00+08:00", match_score=None)],
                 disposal_policy=[policy("2024-05-01T12:00:00+08:00", match_score_min=0.9)])
    assert list(result.reviews) == ["c2"]


# === rides


def test_a_ride_ends_more_than_thirty_minutes_after_the_capture_before():
    result = run(captures=[capture("a", "2024-05-01T12:00:00+08:00"), capture("b", "2024-05-01T12:30:00+08:00"),
                           capture("c", "2024-05-01T13:00:00+08:00"), capture("d", "2024-05-01T13:30:00.001+08:00")])
    assert [r["evidence"] for r in result.actions.values()] == [["a", "b", "c"], ["d"]]


def test_rides_do_not_cross_the_local_month():
    result = run(captures=[capture("a", "2024-04-30T23:59:59.999+08:00"), capture("b", "2024-04-30T16:00:00Z")])
    assert sorted(result.actions) == ["a/2024-04/reminder/1", "a/2024-05/reminder/1"]


def test_captures_at_one_instant_are_ordered_by_id():
    result = run(captures=[capture("b", "2024-05-01T12:00:00+08:00"), capture("é", "2024-05-01T12:00:00+08:00"), capture("Z", "2024-05-01T04:00:00Z")])
    assert [r["evidence"] for r in result.actions.values()] == [["Z", "b", "é"]]


def test_a_void_renumbers_later_rides():
    result = run(captures=days(3), voids=[{"capture_id": "c01", "voided_at": "2023-01-01T00:00:00Z"}])
    assert {k: r["evidence"] for k, r in result.actions.items()} == {"a/2024-05/reminder/1": ["c02"], "a/2024-05/reminder/2": ["c03"]}


# === actions


def test_reminders_then_a_visit_then_nothing_then_an_urgent_visit():
    result = run(captures=days(12), persons=[{"person_id": "a", "employer_id": "e", "party_branch_id": "p"}])
    assert actions(result) == {1: ["reminder"], 2: ["reminder"], 3: ["reminder"],
                               4: ["branch_notice", "employer_supervision", "grid_visit", "party_reminder"], 10: ["urgent_visit"]}


def test_empty_ids_count_as_null():
    result = run(captures=days(4), persons=[{"person_id": "a", "employer_id": "", "party_branch_id": "", "household_id": ""}])
    assert actions(result)[4] == ["grid_visit"]


def test_the_threshold_is_that_of_the_policy_at_each_rides_start():
    # From the 5th on 6 rides are needed: ride 4 (on the 4th) was the last that could open the stage with 4.
    late = run(captures=days(8), disposal_policy=[policy(), policy("2024-05-04T12:00:00.001+08:00", visit_from=6)])
    assert actions(late) == {1: ["reminder"], 2: ["reminder"], 3: ["reminder"], 4: ["grid_visit"]}
    early = run(captures=days(8), disposal_policy=[policy(), policy("2024-05-04T12:00:00+08:00", visit_from=6)])
    assert actions(early) == {**{n: ["reminder"] for n in range(1, 6)}, 6: ["grid_visit"]}
    # A stage that opens late, when a lower threshold comes into force beyond it.
    lower = run(captures=days(6), disposal_policy=[policy(visit_from=9), policy("2024-05-05T00:00:00+08:00", visit_from=2)])
    assert actions(lower) == {**{n: ["reminder"] for n in range(1, 5)}, 5: ["grid_visit"]}


def test_one_ride_may_open_both_stages_and_then_only_the_visit_is_due():
    result = run(captures=days(6), disposal_policy=[policy(urgent_from=4)])
    assert actions(result) == {1: ["reminder"], 2: ["reminder"], 3: ["reminder"], 4: ["grid_visit"]}


def test_an_urgent_stage_below_the_visit_stage_is_due_beside_the_reminder():
    result = run(captures=days(5), disposal_policy=[policy(urgent_from=2)])
    assert actions(result) == {1: ["reminder"], 2: ["reminder", "urgent_visit"], 3: ["reminder"], 4: ["grid_visit"]}


def test_minors_get_a_notice_to_the_guardian_and_nothing_else():
    person = {"person_id": "a", "birth_date": "2008-05-04", "employer_id": "e", "party_branch_id": "p"}
    result = run(captures=days(5), persons=[person], visits=[visit("2024-04-01T00:00:00Z")])
    assert actions(result) == {**{n: ["guardian_notice"] for n in (1, 2, 3)},
                               4: ["branch_notice", "integrity_deduction", "party_reminder", "punishment"],
                               5: ["integrity_deduction", "punishment"]}


def test_the_age_is_that_of_the_local_date():
    result = run(captures=[capture("c", "2024-05-03T16:00:00Z")], persons=[{"person_id": "a", "birth_date": "2008-05-04"}])
    assert actions(result) == {1: ["reminder"]}


def test_leap_day_children_are_a_year_older_on_1_march_of_common_years():
    born = date(2008, 2, 29)
    assert age_in_years(born, date(2023, 2, 28)) == 14
    assert age_in_years(born, date(2023, 3, 1)) == 15
    assert age_in_years(born, date(2024, 2, 28)) == 15
    assert age_in_years(born, date(2024, 2, 29)) == 16


def test_a_delivered_visit_counts_after_its_instant_for_twelve_months_inclusive():
    for at, punished in (("2024-05-01T12:00:00+08:00", False), ("2024-05-01T12:00:00.001+08:00", True),
                         ("2025-05-01T12:00:00+08:00", True), ("2025-05-01T12:00:00.001+08:00", False)):
        result = run(captures=[capture("c", at)], visits=[visit("2024-05-01T12:00:00+08:00")])
        assert ("punishment" in actions(result)[1]) == punished, at
    for delivered in (False, None):
        result = run(captures=days(1), visits=[visit("2024-04-01T12:00:00+08:00", delivered)])
        assert actions(result) == {1: ["reminder"]}


def test_twelve_months_are_local_and_clamped():
    assert add_months(instant(2024, 2, 29, 5), 12) == instant(2025, 2, 28, 5)
    assert add_months(instant(2024, 1, 31), 1) == instant(2024, 2, 29)
    # 16:00Z on the 28th is the 29th in Shanghai, so the year ends on the local 28th, not on the 1st.
    assert add_months(parse_instant("2024-02-28T16:00:00Z"), 12) == parse_instant("2025-02-27T16:00:00Z")
    assert year_month(parse_instant("2024-12-31T16:00:00Z")) == "2025-01"


def test_a_clamped_visit_may_end_before_an_earlier_one():
    visits = [visit("2024-02-28T20:00:00+08:00", visit_id="v1"), visit("2024-02-29T01:00:00+08:00", visit_id="v2")]
    result = run(captures=[capture("c", "2025-02-28T15:00:00+08:00")], visits=visits)
    assert actions(result) == {1: ["integrity_deduction", "punishment"]}


def test_the_party_is_told_at_the_stage_of_visits_also_when_the_ride_is_punished():
    result = run(captures=days(4), visits=[visit("2024-05-02T00:00:00+08:00")], persons=[{"person_id": "a", "party_branch_id": "p"}])
    assert actions(result)[4] == ["branch_notice", "integrity_deduction", "party_reminder", "punishment"]
    assert actions(result)[1] == ["reminder"]


def test_points_and_approval():
    result = run(captures=days(1), visits=[visit("2024-04-01T00:00:00Z")], disposal_policy=[policy(deduction=5)])
    rows = {r["action"]: (r["points"], r["needs_approval"]) for r in result.actions.values()}
    assert rows == {"punishment": (None, True), "integrity_deduction": (5, True)}


# === what follows from actions


def test_scores_take_the_archive_or_100_and_the_limit_of_the_latest_deduction():
    rules = [policy(deduction=3), policy("2024-05-02T00:00:00+08:00", deduction=1, improve_below=97)]
    result = run(captures=days(2), visits=[visit("2024-04-01T00:00:00Z")], disposal_policy=rules)
    assert result.integrity_scores["a"] == {"person_id": "a", "score": 96, "to_be_improved": True, "needs_approval": True}
    result = run(captures=days(2), visits=[visit("2024-04-01T00:00:00Z")], disposal_policy=rules,
                 integrity_archive=[{"person_id": "a", "base_score": 101}, {"person_id": "b", "base_score": 1}])
    assert result.integrity_scores == {"a": {"person_id": "a", "score": 97, "to_be_improved": False, "needs_approval": True}}


def test_demonstration_households_with_punished_members_are_proposed():
    result = run(
        captures=[capture("c1", "2024-05-01T12:00:00Z"), capture("c2", "2024-05-01T12:00:00Z", "B"), capture("c3", "2024-05-01T12:00:00Z", "C")],
        identities=[{"plate": p, "valid_from": ALWAYS, "person_id": p.lower()} for p in "ABC"],
        visits=[visit("2024-04-01T00:00:00Z", visit_id=p, person=p) for p in "abc"],
        persons=[{"person_id": "b", "household_id": "h"}, {"person_id": "a", "household_id": "h"}, {"person_id": "c", "household_id": "i"}],
        households=[{"household_id": "h", "demonstration": True}, {"household_id": "i", "demonstration": False}])
    assert result.household_proposals == {"h": {"household_id": "h", "persons": ["a", "b"], "needs_approval": True}}


def test_helmet_rates_count_each_id_once_by_hour_and_town():
    def passage(passage_id, at, helmet, device="D"):
        return {"passage_id": passage_id, "device_id": device, "passed_at": at, "helmet": helmet}
    result = run(
        devices=[{"device_id": "D", "town": "t"}],
        passages=[passage("1", "2024-05-01T12:00:00+08:00", True), passage("1", "2024-05-01T12:00:00+08:00", False),
                  passage("2", "2024-05-01T12:59:59.999+08:00", False), passage("3", "2024-05-01T13:00:00+08:00", None),
                  passage("4", "2024-05-01T13:00:00+08:00", False, "X"), passage("5", "2024-05-01T04:00:00Z", True)])
    noon = instant(2024, 5, 1, 12)
    assert {k: (r["riders"], r["helmetless"]) for k, r in result.helmet_rates.items()} == {(noon, "t"): (3, 1), (noon + 3_600_000, "unknown"): (1, 1)}
    assert abs(result.helmet_rates[noon, "t"]["rate"] - 1 / 3) < 1e-15
    assert result.counts["passages"].duplicate == 1


def test_passages_of_a_closed_hour_are_late_after_the_epoch():
    early = '{"passage_id": "e%d", "device_id": "D", "passed_at": "2024-05-01T12:30:00Z", "helmet": true}'
    lines = ['{"passage_id": "x", "device_id": "D", "passed_at": "2024-05-01T13:00:30Z", "helmet": true}']
    lines += [early % i for i in range(100_002)]
    with tempfile.TemporaryDirectory() as directory:
        write(directory, passages=lines)
        result = expected(directory)
    assert vars(result.counts["passages"]) == {"read": 100_003, "used": 100_000, "duplicate": 0, "late": 3, "rejected": 0}
    assert result.helmet_rates[instant(2024, 5, 1, 20), "unknown"]["riders"] == 99_999


# === comparison and generation


def text_of(ms):
    """RFC 3339 as sinks write it."""
    from safe_riding import local
    return local(ms).isoformat(timespec="milliseconds")


def write_output(directory, want):
    """Writes a replay output that amounts to what is expected, in one epoch."""
    sinks = {"disposal_actions": [], "party_actions": []}
    for action_id in sorted(want.actions, key=str.encode):
        row = want.actions[action_id]
        approval = row.pop("needs_approval")
        row = {**row, "ride_started_at": text_of(row["ride_started_at"]), "revision": 1, "needs_approval": approval}
        sinks["party_actions" if row["action"] in PARTY_ACTIONS else "disposal_actions"].append(row)
    for sink in ("reviews", "integrity_scores", "household_proposals"):
        content = getattr(want, sink)
        sinks[sink] = [content[key] for key in sorted(content, key=str.encode)]
    rates = sorted(want.helmet_rates.values(), key=lambda r: (r["window_start"], r["town"].encode()))
    sinks["helmet_rates"] = [{**r, "window_start": text_of(r["window_start"]), "window_end": text_of(r["window_end"])} for r in rates]
    write(directory, **sinks)
    summary = {"sources": {k: vars(v) for k, v in want.counts.items()}, "sinks": {k: {"rows": len(v)} for k, v in sinks.items()},
               "elapsed_seconds": 0.1}
    for name, counts in want.counts.items():
        if counts.rejected:
            raw = "{"
            refused = {"reason": "r", "line": 1, "length": 1, "sha256": hashlib.sha256(raw.encode()).hexdigest(), "raw": raw}
            write(directory, **{name + ".rejected": [refused] * counts.rejected})
    with open(os.path.join(directory, "summary.json"), "w", encoding="utf-8") as file:
        json.dump(summary, file)
    return sinks


def test_comparison_accepts_what_is_right_and_names_what_is_wrong():
    with tempfile.TemporaryDirectory() as source, tempfile.TemporaryDirectory() as output:
        generate(7, 600, 20, source, hostile=True)
        sinks = write_output(output, expected(source))
        assert compare(source, output) == []
        for sink, rows in sinks.items():
            if not rows:
                continue
            write(output, **{sink: rows[1:]})
            assert any(p.startswith(f"{sink}: ") and "missing" in p for p in compare(source, output)), sink
            changed = {**rows[0], "n": 99, "reason": "x", "score": -1, "persons": [], "riders": 0}
            write(output, **{sink: [{k: changed[k] for k in rows[0]}, *rows[1:]]})
            assert any(f"{sink}: " in p and "expected" in p for p in compare(source, output)), sink
            write(output, **{sink: [*rows, rows[-1]]})
            assert len(compare(source, output)) >= 2, sink
            write(output, **{sink: rows})
        assert compare(source, output) == []


def test_comparison_checks_revisions():
    first = {"action_id": "a/2024-05/reminder/1", "action": "reminder", "person_id": "a", "month": "2024-05", "n": 1,
             "ride_started_at": "2024-05-01T12:00:00.000+08:00", "evidence": ["c01"], "points": None, "status": "issued",
             "revision": 1, "needs_approval": False}
    gone, back = {**first, "status": "withdrawn", "revision": 2}, {**first, "revision": 3}
    other = {**first, "evidence": ["c02"]}

    def problems(*rows):
        from replay_output import ReplayOutput
        with tempfile.TemporaryDirectory() as directory:
            write(directory, s=rows)
            output = ReplayOutput(directory, ("+08:00",))
            issued = output.issued("s", list(first), "action_id", ("status", "evidence", "points", "ride_started_at"), ("ride_started_at",))
            return len(output.problems), list(issued)

    assert problems(first, gone, back) == (0, ["a/2024-05/reminder/1"])
    assert problems(first, gone) == (0, [])
    assert problems(first, {**gone, "revision": 3})[0] == 1
    assert problems(first, {**first, "revision": 2})[0] == 1
    assert problems({**gone, "revision": 1})[0] == 1
    assert problems(first, {**gone, "evidence": []})[0] == 1
    assert problems(first, {**other, "revision": 2})[0] == 0
    assert problems({**first, "ride_started_at": "2024-05-01T04:00:00.000Z"})[0] == 1


def test_another_order_of_arrival_amounts_to_the_same():
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        generate(3, 1500, 60, one, hostile=True)
        shuffle(one, 9, two)
        with open(os.path.join(one, "captures.ndjson")) as a, open(os.path.join(two, "captures.ndjson")) as b:
            assert a.read() != b.read()
        left, right = expected(one), expected(two)
        assert left == right and left.actions and left.household_proposals and left.integrity_scores


def test_the_generator_is_deterministic():
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        generate(4, 300, 10, one)
        generate(4, 300, 10, two)
        for name in os.listdir(one):
            with open(os.path.join(one, name)) as a, open(os.path.join(two, name)) as b:
                assert a.read() == b.read(), name


def main():
    """Runs every test of this file."""
    tests = {name: test for name, test in globals().items() if name.startswith("test_")}
    for name, test in tests.items():
        try:
            test()
        except AssertionError:
            print(f"failed: {name.replace('_', ' ')}")
            raise
    print(f"{len(tests)} tests passed")


if __name__ == "__main__":
    main()
