//! Seeded, plausible sources for the pack `sql/safe-riding`, made fast enough that a million captures take about a second.
//!
//! Captures fall on people with exponential rates and cluster into rides, in the order of their event time. Some cannot be
//! used: no plate, an unknown one, a low score, an exemption. One in a hundred is voided. The same seed gives the same
//! records but for their dates, which end a day before the last midnight, so that nothing is older than the pack remembers and a
//! steady load has at least a day of event time to spread over.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use curb::stream::{RecordBatchBytes, RecordMeta, encode_key};
use fastrand::Rng;
use serde_json::json;

const DAY_MS: i64 = 86_400_000;
const MINUTE_MS: i64 = 60_000;
/// The span of event time that the captures are spread over.
const DAYS: i64 = 180;
/// Shanghai, where the pack's months begin.
const ZONE_MS: i64 = 8 * 3_600_000;
const N_DEVICES: usize = 110;
/// Plates that no device could read.
const UNREADABLE: [&str; 4] = ["", "NULL", "无牌", "unknown"];

/// The records of all sources, by relation.
pub(crate) struct Dataset {
    /// What lies in the topics before the first capture comes.
    pub(crate) tables: BTreeMap<&'static str, RecordBatchBytes>,
    /// Captures and voids, each in reading order.
    pub(crate) events: BTreeMap<&'static str, RecordBatchBytes>,
    population: Population,
    /// Where its event time ends.
    pub(crate) end_ms: i64,
}

/// Who offends how often, and under which plate.
struct Population {
    /// Cumulated rates.
    weights: Vec<f64>,
    rng: Rng,
}

/// One capture, ready to be written.
pub(crate) struct Capture {
    pub(crate) id: String,
    pub(crate) value: String,
}

impl Dataset {
    /// `n_captures` captures of a tenth as many people. `now_ms` is the wall clock.
    pub(crate) fn generate(seed: u64, n_captures: usize, now_ms: i64) -> Self {
        let end_ms = (now_ms + ZONE_MS) / DAY_MS * DAY_MS - ZONE_MS - DAY_MS;
        let n_people = (n_captures / 10).max(10);
        let mut rng = Rng::with_seed(seed);
        let tables = tables(&mut rng, n_people, end_ms);
        let mut population = Population::new(rng, n_people);
        let times = population.rides(n_captures, end_ms - DAYS * DAY_MS, end_ms);
        let mut captures = RecordBatchBytes::default();
        let mut voids = RecordBatchBytes::default();
        for (idx, (at_ms, person)) in times.into_iter().enumerate() {
            let capture = population.capture(idx, person, at_ms);
            push(&mut captures, capture.id.as_bytes(), &capture.value);
            if population.rng.u32(..100) == 0 {
                let voided_at = text(at_ms + population.rng.i64(MINUTE_MS..DAY_MS));
                let value =
                    format!(r#"{{"capture_id":"{}","ground":"wrong plate","voided_at":"{voided_at}"}}"#, capture.id);
                push(&mut voids, capture.id.as_bytes(), &value);
            }
        }
        let events = BTreeMap::from([("captures", captures), ("voids", voids)]);
        Self { tables, events, population, end_ms }
    }

    /// How many records of a relation there are.
    pub(crate) fn len(&self, relation: &str) -> usize {
        self.tables.get(relation).or_else(|| self.events.get(relation)).map_or(0, RecordBatchBytes::len)
    }

    /// A further capture at `at_ms`, of somebody.
    pub(crate) fn another(&mut self, idx: usize, at_ms: i64) -> Capture {
        let person = self.population.somebody();
        self.population.capture(idx, person, at_ms)
    }

    /// Writes one NDJSON file a relation, as `curb replay` reads them.
    pub(crate) fn write(&self, dir: &Path) -> std::io::Result<()> {
        std::fs::create_dir_all(dir)?;
        for (relation, records) in self.tables.iter().chain(&self.events) {
            let mut file = BufWriter::new(std::fs::File::create(dir.join(format!("{relation}.ndjson")))?);
            for record in records.iter() {
                file.write_all(record.value.unwrap_or_default())?;
                file.write_all(b"\n")?;
            }
            file.flush()?;
        }
        Ok(())
    }
}

/// The number in a capture's id.
pub(crate) fn capture_idx(id: &[u8]) -> Option<usize> {
    std::str::from_utf8(id.strip_prefix(b"C")?).ok()?.parse().ok()
}

impl Population {
    fn new(mut rng: Rng, n_people: usize) -> Self {
        let mut sum = 0.0;
        let weights = (0..n_people).map(|_| {
            sum += -(1.0 - rng.f64()).ln();
            sum
        });
        Self { weights: weights.collect(), rng }
    }

    fn somebody(&mut self) -> usize {
        let at = self.rng.f64() * self.weights.last().copied().unwrap_or_default();
        self.weights.partition_point(|w| *w < at).min(self.weights.len().saturating_sub(1))
    }

    /// When who was captured: rides of one to five captures, sorted by time.
    fn rides(&mut self, n_captures: usize, from_ms: i64, to_ms: i64) -> Vec<(i64, usize)> {
        let mut captures = Vec::with_capacity(n_captures);
        while captures.len() < n_captures {
            let person = self.somebody();
            let mut at_ms = self.rng.i64(from_ms..to_ms - 2 * 3_600_000);
            let n = [1, 1, 1, 1, 1, 1, 2, 2, 3, 5][self.rng.usize(..10)];
            for _ in 0..n.min(n_captures - captures.len()) {
                captures.push((at_ms, person));
                at_ms += self.rng.i64(MINUTE_MS..40 * MINUTE_MS);
            }
        }
        captures.sort_unstable();
        captures
    }

    fn capture(&mut self, idx: usize, person: usize, at_ms: i64) -> Capture {
        let id = format!("C{idx:09}");
        let mut value = String::with_capacity(256);
        let device = self.rng.usize(..N_DEVICES);
        let violation = if self.rng.u32(..4) == 0 { "illegal_passenger" } else { "no_helmet" };
        let _ = write!(
            value,
            r#"{{"capture_id":"{id}","device_id":"CX-{device:03}","captured_at":"{}","violation":"{violation}""#,
            text(at_ms)
        );
        let _ = match self.rng.u32(..100) {
            0..3 => write!(value, r#","plate":"{}""#, UNREADABLE[self.rng.usize(..UNREADABLE.len())]),
            3 => write!(value, r#","plate":"浙X{:05}""#, self.rng.u32(..100_000)),
            _ => write!(value, r#","plate":"{}""#, plate(person)),
        };
        let score = if self.rng.u32(..100) < 3 { self.rng.u32(500..800) } else { self.rng.u32(850..1000) };
        let _ = write!(value, r#","match_score":0.{score:03}"#);
        if self.rng.u32(..10) < 7 {
            let (east, north) = (self.rng.u32(..400_000), self.rng.u32(..300_000));
            let _ = write!(
                value,
                r#","lon":{:.6},"lat":{:.6}"#,
                119.7 + f64::from(east) / 1e6,
                30.8 + f64::from(north) / 1e6
            );
        }
        value.push('}');
        Capture { id, value }
    }
}

fn tables(rng: &mut Rng, n_people: usize, end_ms: i64) -> BTreeMap<&'static str, RecordBatchBytes> {
    let mut tables: BTreeMap<&'static str, RecordBatchBytes> = BTreeMap::new();
    let mut put = |relation: &'static str, key: &[u8], value: &str| {
        push(tables.entry(relation).or_default(), key, value);
    };
    let start_ms = end_ms - DAYS * DAY_MS;
    for device in 0..N_DEVICES {
        let id = format!("CX-{device:03}");
        put("devices", id.as_bytes(), &format!(r#"{{"device_id":"{id}","town":"town {}"}}"#, device % 16));
    }
    for (days, visit_from, urgent_from) in [(-400, 4, 10), (DAYS / 2, 3, 8)] {
        let from = text(start_ms + days * DAY_MS);
        let value = format!(
            r#"{{"effective_from":"{from}","visit_from":{visit_from},"urgent_from":{urgent_from},"deduction":2,"improve_below":90,"match_score_min":0.8}}"#
        );
        put("disposal_policy", from.as_bytes(), &value);
    }
    for household in 0..n_people / 3 {
        let (id, demonstration) = (format!("H{household:06}"), rng.u32(..10) < 2);
        put("households", id.as_bytes(), &format!(r#"{{"household_id":"{id}","demonstration":{demonstration}}}"#));
    }
    for person in 0..n_people {
        of_person(rng, person, n_people, start_ms, end_ms, &mut put);
    }
    tables
}

/// What is known of a person: who it is, which plate, its score, its visits, its exemptions.
fn of_person(
    rng: &mut Rng,
    person: usize,
    n_people: usize,
    start_ms: i64,
    end_ms: i64,
    put: &mut impl FnMut(&'static str, &[u8], &str),
) {
    let id = person_id(person);
    let birth = format!("{}-{:02}-{:02}", rng.u32(1945..2013), rng.u32(1..13), rng.u32(1..29));
    let or_null = |is: bool, id: String| if is { format!(r#""{id}""#) } else { "null".to_owned() };
    let employer = or_null(rng.u32(..10) < 5, format!("E{:03}", person % 600));
    let branch = or_null(rng.u32(..10) < 1, format!("B{:03}", person % 200));
    let household = rng.usize(..(n_people / 3).max(1));
    let value = format!(
        r#"{{"person_id":"{id}","birth_date":"{birth}","household_id":"H{household:06}","grid_id":"G{:03}","employer_id":{employer},"party_branch_id":{branch}}}"#,
        person % 300
    );
    put("persons", id.as_bytes(), &value);
    if rng.u32(..10) < 6 {
        let score = rng.u32(80..101);
        put("integrity_archive", id.as_bytes(), &format!(r#"{{"person_id":"{id}","base_score":{score}}}"#));
    }
    let plate = plate(person);
    let mut own = |from_ms: i64, owner: &str| {
        let from = text(from_ms);
        let key = encode_key(&[json!(plate), json!(from)]);
        put("identities", &key, &format!(r#"{{"plate":"{plate}","valid_from":"{from}","person_id":"{owner}"}}"#));
    };
    own(start_ms - rng.i64(1..700) * DAY_MS, &id);
    if rng.u32(..10) == 0 {
        own(rng.i64(start_ms..end_ms), &person_id(rng.usize(..n_people)));
    }
    if rng.u32(..100) == 0 {
        let from_ms = rng.i64(start_ms - 30 * DAY_MS..end_ms);
        let (from, to) = (text(from_ms), text(from_ms + rng.i64(1..90) * DAY_MS));
        let key = encode_key(&[json!(plate), json!(from)]);
        let value = format!(r#"{{"plate":"{plate}","valid_from":"{from}","valid_to":"{to}","reason":"on duty"}}"#);
        put("exemptions", &key, &value);
    }
    if rng.u32(..20) == 0 {
        let (visit, at) = (format!("V{person:07}"), text(rng.i64(start_ms - 180 * DAY_MS..end_ms)));
        let delivered = rng.u32(..100) < 85;
        let value =
            format!(r#"{{"visit_id":"{visit}","person_id":"{id}","completed_at":"{at}","delivered":{delivered}}}"#);
        put("visits", visit.as_bytes(), &value);
    }
}

fn person_id(person: usize) -> String {
    format!("P{person:07}")
}

fn plate(person: usize) -> String {
    format!("浙E{person:06}")
}

fn push(records: &mut RecordBatchBytes, key: &[u8], value: &str) {
    let meta = RecordMeta {
        partition: 0,
        offset: records.len() as i64,
        timestamp_ms: None,
        sequence: 0,
        key: None,
        value: None,
    };
    records.push(meta, Some(key), Some(value.as_bytes()));
}

/// An instant as RFC 3339 in Shanghai, with milliseconds.
fn text(at_ms: i64) -> String {
    let local = at_ms + ZONE_MS;
    let (days, ms) = (local.div_euclid(DAY_MS), local.rem_euclid(DAY_MS));
    // Days to a civil date, counting from 1 March so that the leap day comes last.
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (ms / 3_600_000, ms / MINUTE_MS % 60, ms / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}+08:00", ms % 1000)
}
