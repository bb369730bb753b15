//! Reads a worker's own measurements from `/metrics`, and takes the difference of two readings.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

/// The stages of an epoch, in order.
pub(crate) const STAGES: [&str; 5] = ["poll", "decode", "execute", "encode", "commit"];

const TIMEOUT: Duration = Duration::from_secs(10);

/// All series at one moment: name with labels, value.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reading {
    series: BTreeMap<String, f64>,
}

/// A histogram's counts between two readings.
#[derive(Clone, Debug, Default)]
struct Buckets {
    /// Upper bound in seconds and how many observations lie at or below it.
    cumulated: Vec<(f64, f64)>,
    sum: f64,
    count: f64,
}

/// What one histogram says.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Timing {
    pub(crate) count: u64,
    pub(crate) total_seconds: f64,
    /// Interpolated between the bounds of the histogram's buckets.
    pub(crate) p50_ms: f64,
    /// Interpolated between the bounds of the histogram's buckets.
    pub(crate) p99_ms: f64,
}

/// The body of `GET path`.
pub(crate) fn get(address: SocketAddr, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no answer over HTTP")?;
    if !head.starts_with("HTTP/1.1 200") {
        bail!("{path}: {}", head.lines().next().unwrap_or_default());
    }
    Ok(body.to_owned())
}

impl Reading {
    /// All measurements of the worker that serves at `address`.
    pub(crate) fn take(address: SocketAddr) -> Result<Self> {
        let mut series = BTreeMap::new();
        for line in get(address, "/metrics")?.lines().filter(|l| !l.starts_with('#')) {
            if let Some((name, value)) = line.rsplit_once(' ') {
                series.insert(name.to_owned(), value.parse().unwrap_or(f64::NAN));
            }
        }
        Ok(Self { series })
    }

    /// The sum over all series of a name whose labels hold `label`.
    pub(crate) fn sum(&self, name: &str, label: &str) -> u64 {
        let is_meant = |series: &str| {
            let (own, labels) = series.split_once('{').unwrap_or((series, ""));
            own == name && labels.contains(label)
        };
        self.series.iter().filter(|(s, _)| is_meant(s)).map(|(_, v)| *v).sum::<f64>() as u64
    }

    /// Records of a source that were read and committed.
    pub(crate) fn consumed(&self, source: &str) -> u64 {
        self.sum("curb_records_consumed_total", &format!("source=\"{source}\""))
    }

    /// Records committed to a sink.
    pub(crate) fn produced(&self, sink: &str) -> u64 {
        self.sum("curb_records_produced_total", &format!("sink=\"{sink}\""))
    }

    fn histogram(&self, name: &str, label: &str) -> Buckets {
        let mut buckets = Buckets::default();
        for (series, value) in &self.series {
            let (own, labels) = series.split_once('{').unwrap_or((series, ""));
            let Some(part) = own.strip_prefix(name).filter(|_| labels.contains(label)) else { continue };
            match part {
                "_sum" => buckets.sum += value,
                "_count" => buckets.count += value,
                "_bucket" => {
                    let bound = labels.split_once("le=\"").and_then(|(_, rest)| rest.split_once('"'));
                    let bound = bound.map_or("+Inf", |(bound, _)| bound);
                    buckets.cumulated.push((bound.parse().unwrap_or(f64::INFINITY), *value));
                }
                _ => {}
            }
        }
        buckets.cumulated.sort_by(|a, b| a.0.total_cmp(&b.0));
        buckets
    }

    /// What a histogram took in since `before`.
    pub(crate) fn timing_since(&self, before: &Self, name: &str, label: &str) -> Timing {
        let (mut now, then) = (self.histogram(name, label), before.histogram(name, label));
        for (bound, n) in &mut now.cumulated {
            *n -= then.cumulated.iter().find(|(b, _)| b == bound).map_or(0.0, |(_, n)| *n);
        }
        now.sum -= then.sum;
        now.count -= then.count;
        Timing {
            count: now.count as u64,
            total_seconds: now.sum,
            p50_ms: now.quantile(0.5) * 1000.0,
            p99_ms: now.quantile(0.99) * 1000.0,
        }
    }

    /// Each stage's timing since `before`.
    pub(crate) fn stages_since(&self, before: &Self) -> BTreeMap<String, Timing> {
        let of = |stage: &str| self.timing_since(before, "curb_stage_duration_seconds", &format!("stage=\"{stage}\""));
        STAGES.iter().map(|stage| ((*stage).to_owned(), of(stage))).collect()
    }
}

impl Buckets {
    /// Interpolates within the bucket that holds the quantile; what lies above the last bound counts as that bound.
    fn quantile(&self, q: f64) -> f64 {
        let wanted = self.count * q;
        let (mut low, mut below) = (0.0, 0.0);
        for (bound, n) in &self.cumulated {
            if *n >= wanted && *n > below {
                return if bound.is_finite() { low + (bound - low) * (wanted - below) / (n - below) } else { low };
            }
            (low, below) = (if bound.is_finite() { *bound } else { low }, *n);
        }
        low
    }
}
