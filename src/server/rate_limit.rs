//! How often one client may ask: a bucket for each, that fills at a steady rate.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Clients that are told apart at most; all others share one bucket.
const CLIENTS_MAX: usize = 4096;

/// Allows each client `burst` requests at once, and `per_second` on average.
pub(super) struct RateLimit {
    per_second: f64,
    burst: f64,
    buckets: Mutex<HashMap<IpAddr, Bucket>>,
}

/// What is left to a client.
#[derive(Clone, Copy)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl RateLimit {
    pub(super) fn new(per_second: f64, burst: f64) -> Self {
        Self { per_second, burst, buckets: Mutex::default() }
    }

    /// Takes one request from what a client may ask; after how long it may ask again if nothing is left.
    pub(super) fn take(&self, client: IpAddr, now: Instant) -> Result<(), Duration> {
        self.with_bucket(client, now, |bucket| {
            if bucket.left < 1.0 {
                return Err(Duration::from_secs_f64((1.0 - bucket.left) / self.per_second));
            }
            bucket.left -= 1.0;
            Ok(())
        })
    }

    /// Whether a client has nothing left, and after how long it has.
    pub(super) fn check(&self, client: IpAddr, now: Instant) -> Result<(), Duration> {
        self.with_bucket(client, now, |bucket| match bucket.left < 1.0 {
            true => Err(Duration::from_secs_f64((1.0 - bucket.left) / self.per_second)),
            false => Ok(()),
        })
    }

    fn with_bucket<T>(&self, client: IpAddr, now: Instant, f: impl FnOnce(&mut Bucket) -> T) -> T {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let filled = |b: &Bucket| {
            let since = now.saturating_duration_since(b.at).as_secs_f64();
            Bucket { left: (b.left + since * self.per_second).min(self.burst), at: now }
        };
        let mut client = network(client);
        if buckets.len() >= CLIENTS_MAX && !buckets.contains_key(&client) {
            // Whoever has all of it again is like one who never asked.
            buckets.retain(|_, bucket| filled(bucket).left < self.burst);
            if buckets.len() >= CLIENTS_MAX {
                client = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
            }
        }
        let bucket = buckets.entry(client).or_insert(Bucket { left: self.burst, at: now });
        *bucket = filled(bucket);
        f(bucket)
    }
}

/// A client has a whole /64 of IPv6 addresses to choose from.
pub(super) fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            if address.is_loopback() { IpAddr::V6(address) } else { IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0)) }
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_may_ask_in_a_burst_and_then_at_the_rate() {
        let limit = RateLimit::new(2.0, 3.0);
        let (client, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let now = Instant::now();
        let n_taken = |at| (0..10).filter(|_| limit.take(client, at).is_ok()).count();
        assert_eq!(n_taken(now), 3);
        assert_eq!(limit.take(client, now).unwrap_err(), Duration::from_millis(500));
        assert_eq!(limit.check(client, now).unwrap_err(), Duration::from_millis(500));
        assert!(limit.check(other, now).is_ok() && limit.take(other, now).is_ok());
        assert_eq!(n_taken(now + Duration::from_secs(1)), 2);
        assert_eq!(n_taken(now + Duration::from_secs(60)), 3, "no more than a burst is saved");
    }

    #[test]
    fn neither_many_clients_nor_the_addresses_of_one_take_memory() {
        let limit = RateLimit::new(1.0, 1.0);
        let now = Instant::now();
        let address = |n: u32| IpAddr::V4(n.into());
        (0..CLIENTS_MAX as u32).for_each(|n| assert!(limit.take(address(n), now).is_ok()));
        assert!(limit.take(address(1 << 20), now).is_ok(), "the first of those who share a bucket");
        assert!(limit.take(address(1 << 21), now).is_err());
        assert!(limit.buckets.lock().unwrap().len() <= CLIENTS_MAX + 1);
        assert!(limit.take(address(1 << 22), now + Duration::from_secs(2)).is_ok());
        assert_eq!(limit.buckets.lock().unwrap().len(), 1, "who has asked nothing for long is forgotten");
        let v6 = |n| IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, n));
        let limit = RateLimit::new(1.0, 1.0);
        assert!(limit.take(v6(1), now).is_ok() && limit.take(v6(2), now).is_err());
    }
}
