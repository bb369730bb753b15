//! A seeded simulation of the sources of the safe-riding pack.
//!
//! Plausible, not real: 110 devices in 16 towns, people who ride more or less often and with or without a helmet, a few
//! of them very often (exponential repeat offenders), rush hours, plates that cannot be read, uncertain matches, captures
//! that turn out wrong (voids) or are corrected, and visits by grid members to those who keep riding without a helmet.
//! The same seed gives the same records in the same order.

use std::collections::{BTreeMap, VecDeque};

use chrono::{DateTime, Duration, Timelike, Utc};
use chrono_tz::Asia::Shanghai;
use fastrand::Rng;
use serde_json::{Value, json};

const N_DEVICES: usize = 110;
const TOWNS: [&str; 16] = [
    "Zhicheng",
    "Huaxi",
    "Taihu",
    "Longshan",
    "Hongqiao",
    "Jiapu",
    "Lijiaxiang",
    "Heping",
    "Lincheng",
    "Hongxingqiao",
    "Meishan",
    "Shuikou",
    "Sian",
    "Xiaopu",
    "Wushan",
    "Huamei",
];

/// What a simulation is made of.
#[derive(Clone, Copy, Debug)]
pub struct SimulationSettings {
    /// The same seed gives the same records.
    pub seed: u64,
    /// How many people ride.
    pub people: usize,
    /// When the first ride happens.
    pub start: DateTime<Utc>,
    /// The mean time between two rides past a device, in milliseconds of event time.
    pub pace_ms: u64,
}

/// A record of one of the pack's sources.
#[derive(Clone, Debug, PartialEq)]
pub struct SimulatedRecord {
    /// The source relation.
    pub relation: &'static str,
    /// The Kafka key.
    pub key: String,
    /// The value; none for a tombstone.
    pub value: Option<Value>,
    /// When it happened.
    pub event_time: DateTime<Utc>,
}

struct Person {
    id: String,
    plate: String,
    /// The chance that a ride is without a helmet.
    carelessness: f64,
    captures_this_month: u32,
    month: u32,
}

/// A running simulation: an endless iterator over records, after those of [`Simulation::tables`].
pub struct Simulation {
    rng: Rng,
    settings: SimulationSettings,
    now: DateTime<Utc>,
    people: Vec<Person>,
    /// The chance to ride, summed up over people: some ride far more often than others.
    ride_weights: Vec<f64>,
    n_passages: u64,
    n_captures: u64,
    n_visits: u64,
    ready: VecDeque<SimulatedRecord>,
    /// What happens later: corrections, voids and visits, by their time.
    later: BTreeMap<(DateTime<Utc>, u64), SimulatedRecord>,
}

impl Simulation {
    /// Makes people and devices.
    pub fn new(settings: SimulationSettings) -> Self {
        let mut rng = Rng::with_seed(settings.seed);
        let people: Vec<Person> = (0..settings.people)
            .map(|n| Person {
                id: format!("P{n:06}"),
                plate: format!("ZJE{:05}", 10_000 + n),
                // Most wear a helmet nearly always; the rest is spread exponentially.
                carelessness: (-(1.0 - rng.f64()).ln() * 0.12).min(0.9),
                captures_this_month: 0,
                month: 0,
            })
            .collect();
        let mut total = 0.0;
        let ride_weights = people
            .iter()
            .map(|_| {
                total += -(1.0 - rng.f64()).ln();
                total
            })
            .collect();
        Self {
            rng,
            now: settings.start,
            settings,
            people,
            ride_weights,
            n_passages: 0,
            n_captures: 0,
            n_visits: 0,
            ready: VecDeque::new(),
            later: BTreeMap::new(),
        }
    }

    /// The records of tables that stand before the first ride.
    pub fn tables(&mut self) -> Vec<SimulatedRecord> {
        let since = self.settings.start - Duration::days(900);
        let at =
            |relation, key: String, value| SimulatedRecord { relation, key, value: Some(value), event_time: since };
        let mut records = Vec::new();
        for n in 0..N_DEVICES {
            let (id, town) = (device_id(n), TOWNS[n % TOWNS.len()]);
            let (lon, lat) = (119.6 + self.rng.f64() * 0.6, 30.7 + self.rng.f64() * 0.5);
            let value = json!({"device_id": id, "town": town, "lon": round(lon), "lat": round(lat)});
            records.push(at("devices", id, value));
        }
        for n in 0..self.people.len() {
            let (person, plate) = (self.people[n].id.clone(), self.people[n].plate.clone());
            let years = 15 + self.rng.i64(0..60);
            let birth = (self.settings.start - Duration::days(years * 365 + self.rng.i64(0..365))).date_naive();
            let sometimes =
                |rng: &mut Rng, share: f64, text: String| if rng.f64() < share { json!(text) } else { Value::Null };
            let household = format!("H{:06}", n / 2);
            let value = json!({
                "person_id": person, "birth_date": birth.to_string(), "household_id": household,
                "grid_id": format!("G{:03}", n % 300),
                "employer_id": sometimes(&mut self.rng, 0.6, format!("E{:04}", n % 700)),
                "party_branch_id": sometimes(&mut self.rng, 0.08, format!("B{:03}", n % 90)),
            });
            records.push(at("persons", person.clone(), value));
            let valid_from = rfc3339(since);
            let key = json!([plate, valid_from]).to_string();
            records.push(at("identities", key, json!({"plate": plate, "valid_from": valid_from, "person_id": person})));
            if n % 2 == 0 {
                let value = json!({"household_id": household, "demonstration": self.rng.f64() < 0.2});
                records.push(at("households", household, value));
            }
            if n % 3 == 0 {
                let score = 80 + self.rng.i64(0..41);
                records.push(at(
                    "integrity_archive",
                    person.clone(),
                    json!({"person_id": person, "base_score": score}),
                ));
            }
            if n % 250 == 7 {
                let value = json!({"plate": plate, "valid_from": valid_from, "valid_to": rfc3339(since + Duration::days(3000)),
                    "reason": "emergency service"});
                records.push(at("exemptions", json!([plate, valid_from]).to_string(), value));
            }
        }
        let from = rfc3339(since);
        let policy = json!({"effective_from": from, "visit_from": 4, "urgent_from": 10, "deduction": 2,
            "improve_below": 60, "match_score_min": 0.8});
        records.push(at("disposal_policy", from, policy));
        records
    }

    /// The event time that the simulation has reached.
    pub fn now(&self) -> DateTime<Utc> {
        self.now
    }

    fn ride(&mut self) {
        let wait_ms = self.wait_ms();
        self.now += Duration::milliseconds(wait_ms);
        let person = self.pick_person();
        let device = device_id(self.rng.usize(0..N_DEVICES));
        let helmetless = self.rng.f64() < self.people[person].carelessness;
        self.n_passages += 1;
        let id = format!("S{:010}", self.n_passages);
        // A camera cannot always tell.
        let helmet = if self.rng.f64() < 0.03 { Value::Null } else { json!(!helmetless) };
        let passage = json!({"passage_id": id, "device_id": device, "passed_at": rfc3339(self.now), "helmet": helmet});
        self.push("passages", id, Some(passage));
        if helmetless {
            self.capture(person, device);
        }
    }

    fn capture(&mut self, person: usize, device: String) {
        self.n_captures += 1;
        let id = format!("C{:010}", self.n_captures);
        let plate = match self.rng.u32(0..100) {
            0 => Value::Null,
            1 => json!("未知"),
            2 => json!("ZJE99999"),
            _ => json!(self.people[person].plate),
        };
        let score =
            round(if self.rng.f64() < 0.04 { 0.6 + self.rng.f64() * 0.2 } else { 0.85 + self.rng.f64() * 0.15 });
        let violation = if self.rng.f64() < 0.85 { "no_helmet" } else { "illegal_passenger" };
        let value = json!({"capture_id": id, "device_id": device, "captured_at": rfc3339(self.now), "violation": violation,
            "plate": plate, "match_score": score});
        match self.rng.u32(0..100) {
            // An officer looks again: the capture is void, or it was another plate.
            0..=1 => {
                let after = Duration::seconds(self.rng.i64(30..7_200));
                let void = json!({"capture_id": id, "ground": "helmet worn", "voided_at": rfc3339(self.now + after)});
                self.push_later("voids", id.clone(), void, after);
            }
            2 => {
                let mut corrected = value.clone();
                corrected["plate"] = json!(self.people[self.rng.usize(0..self.people.len())].plate);
                let after = Duration::seconds(self.rng.i64(30..7_200));
                self.push_later("captures", id.clone(), corrected, after);
            }
            _ => {}
        }
        self.push("captures", id, Some(value));
        self.maybe_visit(person);
    }

    /// A grid member calls on who keeps riding without a helmet.
    fn maybe_visit(&mut self, person: usize) {
        use chrono::Datelike;
        let month = self.now.with_timezone(&Shanghai).month();
        let rider = &mut self.people[person];
        if rider.month != month {
            (rider.month, rider.captures_this_month) = (month, 0);
        }
        rider.captures_this_month += 1;
        if rider.captures_this_month != 4 {
            return;
        }
        let person_id = rider.id.clone();
        self.n_visits += 1;
        let id = format!("V{:07}", self.n_visits);
        let after = Duration::hours(self.rng.i64(6..72));
        let delivered = self.rng.f64() < 0.85;
        let value = json!({"visit_id": id, "person_id": person_id, "completed_at": rfc3339(self.now + after), "delivered": delivered});
        self.push_later("visits", id, value, after);
    }

    fn push(&mut self, relation: &'static str, key: String, value: Option<Value>) {
        self.ready.push_back(SimulatedRecord { relation, key, value, event_time: self.now });
    }

    fn push_later(&mut self, relation: &'static str, key: String, value: Value, after: Duration) {
        let event_time = self.now + after;
        let tie = self.n_passages;
        self.later.insert((event_time, tie), SimulatedRecord { relation, key, value: Some(value), event_time });
    }

    /// Time to the next ride: exponential, shorter in the rush hours and long at night.
    fn wait_ms(&mut self) -> i64 {
        let hour = self.now.with_timezone(&Shanghai).hour();
        let slow = match hour {
            7 | 8 | 17 | 18 => 0.4,
            23 | 0..=5 => 4.0,
            _ => 1.0,
        };
        (-(1.0 - self.rng.f64()).ln() * self.settings.pace_ms as f64 * slow) as i64 + 1
    }

    fn pick_person(&mut self) -> usize {
        let total = self.ride_weights.last().copied().unwrap_or_default();
        let at = self.rng.f64() * total;
        self.ride_weights.partition_point(|w| *w < at).min(self.people.len().saturating_sub(1))
    }
}

impl Iterator for Simulation {
    type Item = SimulatedRecord;

    fn next(&mut self) -> Option<SimulatedRecord> {
        while self.ready.is_empty() {
            self.ride();
            while let Some(entry) = self.later.first_entry()
                && entry.key().0 <= self.now
            {
                self.ready.push_back(entry.remove());
            }
        }
        self.ready.pop_front()
    }
}

fn device_id(n: usize) -> String {
    format!("CX-{:03}", n + 1)
}

fn round(x: f64) -> f64 {
    (x * 1e5).round() / 1e5
}

fn rfc3339(at: DateTime<Utc>) -> String {
    at.with_timezone(&Shanghai).to_rfc3339_opts(chrono::SecondsFormat::Millis, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(seed: u64) -> SimulationSettings {
        let start = DateTime::from_timestamp(1_777_564_800, 0).unwrap_or_default();
        SimulationSettings { seed, people: 500, start, pace_ms: 20_000 }
    }

    fn run(seed: u64, n: usize) -> Vec<SimulatedRecord> {
        let mut simulation = Simulation::new(settings(seed));
        let mut records = simulation.tables();
        records.extend(simulation.take(n));
        records
    }

    #[test]
    fn the_same_seed_gives_the_same_records() {
        assert_eq!(run(7, 3_000), run(7, 3_000));
        assert_ne!(run(7, 3_000), run(8, 3_000));
    }

    #[test]
    fn every_source_of_the_pack_gets_records() {
        let records = run(1, 60_000);
        for relation in [
            "captures",
            "identities",
            "persons",
            "households",
            "integrity_archive",
            "devices",
            "exemptions",
            "visits",
            "voids",
            "disposal_policy",
            "passages",
        ] {
            assert!(records.iter().any(|r| r.relation == relation), "{relation}");
        }
    }

    #[test]
    fn some_people_are_captured_far_more_often_than_others() {
        let mut by_plate: BTreeMap<String, usize> = BTreeMap::new();
        for record in run(3, 60_000).iter().filter(|r| r.relation == "captures") {
            let plate = record.value.as_ref().and_then(|v| v["plate"].as_str()).unwrap_or_default();
            *by_plate.entry(plate.to_owned()).or_default() += 1;
        }
        let most = by_plate.values().max().copied().unwrap_or_default();
        let mean = by_plate.values().sum::<usize>() / by_plate.len();
        assert!(most > 4 * mean, "most {most}, mean {mean}");
    }
}
