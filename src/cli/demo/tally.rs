//! The actions that the rules have issued, counted by kind, and the newest of them in words.

use std::collections::VecDeque;

use serde::Deserialize;

/// How many of the newest actions are kept.
pub(super) const N_NEWEST: usize = 4;

/// One row of the sinks of actions.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Action {
    action: String,
    person_id: String,
    month: String,
    n: i64,
    /// RFC 3339 in the zone of the pack.
    ride_started_at: String,
    points: Option<i64>,
    status: String,
    revision: u64,
}

/// How often one kind of action was issued, issued again with other grounds, and withdrawn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct KindCount {
    pub(super) kind: String,
    pub(super) issued: u64,
    pub(super) updated: u64,
    pub(super) withdrawn: u64,
}

/// All actions so far.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    kinds: Vec<KindCount>,
    newest: VecDeque<String>,
}

impl Tally {
    pub(super) fn new() -> Self {
        // From mild to severe, then those of the party; a kind that the pack adds comes last.
        let known = [
            "reminder",
            "guardian_notice",
            "grid_visit",
            "employer_supervision",
            "urgent_visit",
            "punishment",
            "integrity_deduction",
            "party_reminder",
            "branch_notice",
        ];
        let kinds = known.map(|kind| KindCount { kind: kind.to_owned(), ..KindCount::default() });
        Self { kinds: kinds.to_vec(), newest: VecDeque::new() }
    }

    /// Takes one record of a sink of actions.
    pub(super) fn take(&mut self, value: &[u8]) -> Result<(), serde_json::Error> {
        let action: Action = serde_json::from_slice(value)?;
        let idx = self.kinds.iter().position(|k| k.kind == action.action);
        let idx = idx.unwrap_or_else(|| {
            self.kinds.push(KindCount { kind: action.action.clone(), ..KindCount::default() });
            self.kinds.len() - 1
        });
        if let Some(count) = self.kinds.get_mut(idx) {
            let of_status = match (action.status.as_str(), action.revision) {
                ("withdrawn", _) => &mut count.withdrawn,
                (_, 1) => &mut count.issued,
                _ => &mut count.updated,
            };
            *of_status += 1;
        }
        self.newest.push_front(words(&action));
        self.newest.truncate(N_NEWEST);
        Ok(())
    }

    /// By kind, from mild to severe.
    pub(super) fn kinds(&self) -> &[KindCount] {
        &self.kinds
    }

    /// All kinds together.
    pub(super) fn total(&self) -> KindCount {
        let mut total = KindCount { kind: "all".to_owned(), ..KindCount::default() };
        for kind in &self.kinds {
            total.issued += kind.issued;
            total.updated += kind.updated;
            total.withdrawn += kind.withdrawn;
        }
        total
    }

    /// How many records have been taken.
    pub(super) fn n_records(&self) -> u64 {
        let total = self.total();
        total.issued + total.updated + total.withdrawn
    }

    /// The newest actions in words, the newest first.
    pub(super) fn newest(&self) -> impl Iterator<Item = &str> {
        self.newest.iter().map(String::as_str)
    }
}

/// An action as one would tell it.
fn words(action: &Action) -> String {
    let person = &action.person_id;
    let what = match action.action.as_str() {
        "reminder" => format!("{person} is reminded"),
        "guardian_notice" => format!("the guardian of {person} is told"),
        "grid_visit" => format!("a grid member visits {person}"),
        "employer_supervision" => format!("the employer of {person} is told"),
        "urgent_visit" => format!("{person} is visited urgently"),
        "punishment" => format!("punishment of {person} is proposed"),
        "integrity_deduction" => match action.points {
            Some(points) => format!("a deduction of {points} points from {person} is proposed"),
            None => format!("a deduction from {person} is proposed"),
        },
        "party_reminder" => format!("the party reminds {person}"),
        "branch_notice" => format!("the party branch of {person} is told"),
        other => format!("{other} for {person}"),
    };
    let what = match (action.status.as_str(), action.revision) {
        ("withdrawn", _) => format!("withdrawn: {what}"),
        (_, 1) => what,
        _ => format!("updated: {what}"),
    };
    let at = action.ride_started_at.get(..16).unwrap_or_default().replace('T', " ");
    format!("{at}  {what} ({} ride of {})", ordinal(action.n), action.month)
}

fn ordinal(n: i64) -> String {
    let ending = match (n % 10, n % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{n}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn action(kind: &str, status: &str, revision: u64) -> Vec<u8> {
        let value = serde_json::json!({"action_id": "P1/2026-06/x/2", "action": kind, "person_id": "P1", "month": "2026-06",
            "n": 2, "ride_started_at": "2026-06-03T17:21:00.000+08:00", "evidence": ["C1"], "points": 2, "status": status,
            "revision": revision, "needs_approval": false});
        value.to_string().into_bytes()
    }

    #[test]
    fn a_revision_above_one_is_an_update_and_never_a_second_action() {
        let mut tally = Tally::new();
        for (status, revision) in [("issued", 1), ("issued", 2), ("withdrawn", 3), ("issued", 4)] {
            tally.take(&action("reminder", status, revision)).unwrap();
        }
        tally.take(&action("towing", "issued", 1)).unwrap();
        let reminder = &tally.kinds()[0];
        assert_eq!((reminder.issued, reminder.updated, reminder.withdrawn), (1, 2, 1));
        assert_eq!(tally.kinds().last().map(|k| (k.kind.as_str(), k.issued)), Some(("towing", 1)));
        assert_eq!((tally.total().issued, tally.n_records()), (2, 5));
        assert!(tally.take(b"{}").is_err());
    }

    #[test]
    fn the_newest_actions_are_told_in_words_and_only_a_few_are_kept() {
        let mut tally = Tally::new();
        for _ in 0..20 {
            tally.take(&action("reminder", "issued", 1)).unwrap();
        }
        tally.take(&action("integrity_deduction", "withdrawn", 2)).unwrap();
        assert_eq!(tally.newest().count(), N_NEWEST);
        assert_eq!(
            tally.newest().next(),
            Some("2026-06-03 17:21  withdrawn: a deduction of 2 points from P1 is proposed (2nd ride of 2026-06)")
        );
    }

    #[test]
    fn ordinals_follow_the_language() {
        assert_eq!(
            [1, 2, 3, 4, 11, 12, 13, 21, 112].map(ordinal).join(" "),
            "1st 2nd 3rd 4th 11th 12th 13th 21st 112th"
        );
    }
}
