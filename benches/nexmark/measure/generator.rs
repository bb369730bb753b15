//! Seeded events of an online auction, in the proportions of Apache Beam's Nexmark generator: of 50 events one is a new person,
//! three are new auctions and 46 are bids.
//!
//! What makes the queries hard is as there: half of the bids go to the one hot auction of the moment and three quarters come
//! from the hot bidder, most auctions are sold by the hot seller, prices are spread evenly over six orders of magnitude, and an
//! event may name a person or an auction that comes a little later. The same configuration gives the same events.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt::Write as _;

use fastrand::Rng;

/// Of this many events ..
const EVENTS: i64 = 50;
/// .. so many are persons ..
const PERSONS: i64 = 1;
/// .. and so many are auctions. The rest are bids.
const AUCTIONS: i64 = 3;

/// Identifiers begin here, as in Beam, so that they are seldom mistaken for numbers of something else.
const FIRST_ID: i64 = 1_000;
const FIRST_CATEGORY: i64 = 10;
const N_CATEGORIES: i64 = 5;
/// An event may name so many persons or auctions that are still to come.
const LEAD: i64 = 10;
/// Sellers and bidders are among so many latest persons.
const ACTIVE_PERSONS: i64 = 1_000;
/// Bids are on so many latest auctions.
const OPEN_AUCTIONS: i64 = 100;
/// One person or auction of so many is hot until the next one is.
const HOT_EVERY: i64 = 100;

const N_CHANNELS: usize = 10_000;
const HOT_CHANNELS: [&str; 4] = ["Google", "Facebook", "Baidu", "Apple"];
const STATES: [&str; 6] = ["AZ", "CA", "ID", "OR", "WA", "WY"];
const CITIES: [&str; 10] =
    ["Phoenix", "Los Angeles", "San Francisco", "Boise", "Portland", "Bend", "Redmond", "Seattle", "Kent", "Cheyenne"];
const FIRST_NAMES: [&str; 11] =
    ["Peter", "Paul", "Luke", "John", "Saul", "Vicky", "Kate", "Julie", "Sarah", "Deiter", "Walter"];
const LAST_NAMES: [&str; 9] = ["Shultz", "Abrams", "Spencer", "White", "Bartels", "Walton", "Smith", "Jones", "Noris"];

/// What is generated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Configuration {
    /// The same seed gives the same events.
    pub(crate) seed: u64,
    pub(crate) events: u64,
    /// Events in a second of event time.
    pub(crate) events_per_second: f64,
    /// The first event time, in milliseconds since the epoch.
    pub(crate) start_ms: i64,
    /// An event arrives up to this much after its time, so that events change places; 0 keeps them in order.
    pub(crate) disorder_ms: i64,
}

/// One event, ready to be written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Event {
    /// `persons`, `auctions` or `bids`.
    pub(crate) relation: &'static str,
    /// The event time in milliseconds.
    pub(crate) at_ms: i64,
    /// One JSON object.
    pub(crate) json: String,
}

/// The events in the order in which they arrive.
pub(crate) fn events(configuration: Configuration) -> impl Iterator<Item = Event> {
    let mut by_time = Generator::new(configuration);
    let mut delays = Rng::with_seed(configuration.seed ^ 0x5eed);
    let mut under_way: BinaryHeap<Reverse<(i64, u64, Event)>> = BinaryHeap::new();
    let mut ended = false;
    std::iter::from_fn(move || {
        loop {
            // What arrives no later than the next event happens cannot be overtaken any more.
            match under_way.peek() {
                Some(Reverse((arrives_ms, ..))) if ended || *arrives_ms < by_time.now_ms() => {
                    return under_way.pop().map(|Reverse((.., event))| event);
                }
                None if ended => return None,
                _ => {}
            }
            let number = by_time.next;
            match by_time.next() {
                Some(event) => {
                    let arrives_ms = event.at_ms + delays.i64(0..=configuration.disorder_ms);
                    under_way.push(Reverse((arrives_ms, number, event)));
                }
                None => ended = true,
            }
        }
    })
}

/// The events in the order in which they happen.
struct Generator {
    configuration: Configuration,
    rng: Rng,
    /// The number of the next event.
    next: u64,
    /// The pages of the channels that are not hot, and of those that are.
    urls: Vec<String>,
    hot_urls: Vec<String>,
}

impl Iterator for Generator {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        if self.next >= self.configuration.events {
            return None;
        }
        let (number, at_ms) = (self.next as i64, self.now_ms());
        self.next += 1;
        let place = number % EVENTS;
        let (relation, json) = if place < PERSONS {
            ("persons", self.person(number, at_ms))
        } else if place < PERSONS + AUCTIONS {
            ("auctions", self.auction(number, at_ms))
        } else {
            ("bids", self.bid(number, at_ms))
        };
        Some(Event { relation, at_ms, json })
    }
}

impl Generator {
    fn new(configuration: Configuration) -> Self {
        let mut rng = Rng::with_seed(configuration.seed);
        let hot_urls = HOT_CHANNELS.iter().map(|_| page(&mut rng)).collect();
        let urls = (0..N_CHANNELS as u32).map(|channel| {
            let mut url = page(&mut rng);
            if rng.u32(..10) > 0 {
                let _ = write!(url, "&channel_id={}", channel.reverse_bits() >> 1);
            }
            url
        });
        let urls = urls.collect();
        Self { configuration, rng, next: 0, urls, hot_urls }
    }

    /// The time of the next event.
    fn now_ms(&self) -> i64 {
        self.at_ms(self.next as i64)
    }

    fn at_ms(&self, number: i64) -> i64 {
        self.configuration.start_ms + (number as f64 * 1_000.0 / self.configuration.events_per_second) as i64
    }

    fn person(&mut self, number: i64, at_ms: i64) -> String {
        let id = FIRST_ID + last_person(number);
        let (first, last) = (self.one_of(&FIRST_NAMES), self.one_of(&LAST_NAMES));
        let (mailbox, host) = (self.letters(7), self.letters(5));
        let card = [0; 4].map(|_| format!("{:04}", self.rng.u32(..10_000))).join(" ");
        let (city, state) = (self.one_of(&CITIES), self.one_of(&STATES));
        let extra = self.filler(200, 48 + mailbox.len() + host.len());
        let at = instant(at_ms);
        format!(
            r#"{{"id":{id},"name":"{first} {last}","email_address":"{mailbox}@{host}.com","credit_card":"{card}","city":"{city}","state":"{state}","date_time":"{at}","extra":"{extra}"}}"#
        )
    }

    fn auction(&mut self, number: i64, at_ms: i64) -> String {
        let id = FIRST_ID + last_auction(number);
        let (item_name, description) = (self.letters(20), self.letters(100));
        let initial_bid = self.price();
        let reserve = initial_bid + self.price();
        let expires = instant(at_ms + self.auction_length_ms(number));
        let seller = if self.rng.u32(..4) > 0 { hot(last_person(number)) } else { self.some_person(number) };
        let (seller, category) = (FIRST_ID + seller, FIRST_CATEGORY + self.rng.i64(0..N_CATEGORIES));
        let extra = self.filler(500, 176);
        let at = instant(at_ms);
        format!(
            r#"{{"id":{id},"item_name":"{item_name}","description":"{description}","initial_bid":{initial_bid},"reserve":{reserve},"date_time":"{at}","expires":"{expires}","seller":{seller},"category":{category},"extra":"{extra}"}}"#
        )
    }

    fn bid(&mut self, number: i64, at_ms: i64) -> String {
        let auction = if self.rng.bool() { hot(last_auction(number)) } else { self.some_auction(number) };
        let bidder = if self.rng.u32(..4) > 0 { hot(last_person(number)) + 1 } else { self.some_person(number) };
        let (auction, bidder, price) = (FIRST_ID + auction, FIRST_ID + bidder, self.price());
        let (channel, url) = if self.rng.bool() {
            let place = self.rng.usize(..HOT_CHANNELS.len());
            (HOT_CHANNELS[place].to_owned(), &self.hot_urls[place])
        } else {
            let place = self.rng.usize(..N_CHANNELS);
            (format!("channel-{place}"), &self.urls[place])
        };
        let extra = filler(&mut self.rng, 100, 32);
        let at = instant(at_ms);
        format!(
            r#"{{"auction":{auction},"bidder":{bidder},"price":{price},"channel":"{channel}","url":"{url}","date_time":"{at}","extra":"{extra}"}}"#
        )
    }

    /// An auction lasts up to twice as long as it takes until it is no longer among the open ones.
    fn auction_length_ms(&mut self, number: i64) -> i64 {
        let horizon_ms = self.at_ms(number + OPEN_AUCTIONS * EVENTS / AUCTIONS) - self.at_ms(number);
        1 + self.rng.i64(0..(horizon_ms * 2).max(1))
    }

    fn some_person(&mut self, number: i64) -> i64 {
        let n_persons = last_person(number) + 1;
        let n_active = n_persons.min(ACTIVE_PERSONS);
        n_persons - n_active + self.rng.i64(0..n_active + LEAD)
    }

    fn some_auction(&mut self, number: i64) -> i64 {
        let last = last_auction(number).max(0);
        let first = (last - OPEN_AUCTIONS).max(0);
        first + self.rng.i64(0..last - first + 1 + LEAD)
    }

    /// In cents, from one dollar to a million.
    fn price(&mut self) -> i64 {
        (10f64.powf(self.rng.f64() * 6.0) * 100.0).round() as i64
    }

    fn one_of(&mut self, words: &[&'static str]) -> &'static str {
        words[self.rng.usize(..words.len())]
    }

    fn letters(&mut self, n: usize) -> String {
        letters(&mut self.rng, n)
    }

    fn filler(&mut self, bytes: usize, bytes_before: usize) -> String {
        filler(&mut self.rng, bytes, bytes_before)
    }
}

/// The latest person when an event happens, counted from 0.
fn last_person(number: i64) -> i64 {
    number / EVENTS * PERSONS + (number % EVENTS).min(PERSONS - 1)
}

/// The latest auction when an event happens, counted from 0; before the first one -1.
fn last_auction(number: i64) -> i64 {
    let (round, place) = (number / EVENTS, number % EVENTS);
    round * AUCTIONS + (place - PERSONS).clamp(-1, AUCTIONS - 1)
}

/// The hot one, where `last` is the latest.
fn hot(last: i64) -> i64 {
    last.max(0) / HOT_EVERY * HOT_EVERY
}

fn page(rng: &mut Rng) -> String {
    let [a, b, c] = [0; 3].map(|_| letters(rng, 5));
    format!("https://www.nexmark.com/{a}/{b}/{c}/item.htm?query=1")
}

/// Letters that bring an event to about `bytes`, a fifth more or less.
fn filler(rng: &mut Rng, bytes: usize, bytes_before: usize) -> String {
    let wanted = bytes.saturating_sub(bytes_before);
    let spread = wanted / 5;
    let n = wanted - spread + rng.usize(..=2 * spread);
    letters(rng, n)
}

fn letters(rng: &mut Rng, n: usize) -> String {
    let mut text = String::with_capacity(n);
    while text.len() < n {
        let mut bits = rng.u64(..);
        // A letter takes less than five bits, one draw gives twelve.
        for _ in 0..(n - text.len()).min(12) {
            text.push(char::from(b'a' + (bits % 26) as u8));
            bits /= 26;
        }
    }
    text
}

fn instant(at_ms: i64) -> String {
    let at = chrono::DateTime::from_timestamp_millis(at_ms).unwrap_or_default();
    at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}
