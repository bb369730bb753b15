//! The report: every run as it was measured, what follows from them, and the whole as text.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use crate::floor::FloorRun;
use crate::latency::LatencySeen;
use crate::memory::MemoryRun;
use crate::process::Machine;
use crate::scrape::{STAGES, Timing};

/// What the pack's throughput should reach of the floor's.
const FLOOR_RATIO_GOAL: f64 = 0.25;
/// What 99 of 100 actions should stay below under the steady load.
const P99_MS_GOAL: f64 = 100.0;

/// Everything that was measured.
#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) settings: Settings,
    pub(crate) memory: Vec<MemoryRun>,
    /// The last captures of a run, in epochs as small as the steady load's.
    pub(crate) small_epochs: Vec<MemoryRun>,
    pub(crate) kafka: Vec<KafkaRun>,
    pub(crate) floor: Vec<FloorRun>,
    pub(crate) latency: Vec<LatencyRun>,
    pub(crate) summary: Option<Summary>,
}

/// What was asked for.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Settings {
    pub(crate) pack: String,
    pub(crate) captures: usize,
    pub(crate) people: usize,
    pub(crate) seed: u64,
    pub(crate) runs: u32,
    pub(crate) shards: u32,
    pub(crate) partitions: i32,
    pub(crate) warm_up_captures: usize,
    pub(crate) rate: u64,
    pub(crate) latency_warm_up_seconds: u64,
    pub(crate) latency_seconds: u64,
    pub(crate) small_epoch: usize,
}

/// What a run from Kafka to Kafka measured, from the moment the service may read to the commit of the last capture.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct KafkaRun {
    pub(crate) shards: u32,
    pub(crate) captures: usize,
    pub(crate) seconds: f64,
    pub(crate) captures_per_second: f64,
    pub(crate) commits: u64,
    pub(crate) output_records: u64,
    /// Records by sink.
    pub(crate) records: BTreeMap<String, u64>,
    pub(crate) state_bytes: u64,
    pub(crate) epoch: Timing,
    pub(crate) stages: BTreeMap<String, Timing>,
    pub(crate) cpu_seconds: f64,
    pub(crate) broker_cpu_seconds: f64,
    pub(crate) peak_rss_bytes: u64,
}

/// What a run under the steady load measured.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LatencyRun {
    pub(crate) rate: u64,
    pub(crate) seconds: f64,
    pub(crate) captures: u64,
    pub(crate) seen: LatencySeen,
    /// From the time at which a capture was due to the commit, as the service itself measures it.
    pub(crate) to_commit: Timing,
    pub(crate) commits: u64,
    pub(crate) epoch: Timing,
    pub(crate) stages: BTreeMap<String, Timing>,
    pub(crate) cpu_seconds: f64,
    pub(crate) broker_cpu_seconds: f64,
    pub(crate) peak_rss_bytes: u64,
}

/// A figure over all runs.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

/// What follows from the runs.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Summary {
    /// Captures a second from memory, by number of shards.
    pub(crate) memory: BTreeMap<u32, Spread>,
    /// Milliseconds of an epoch of few captures, from memory, on average.
    pub(crate) small_epoch_ms: Spread,
    /// Captures a second from Kafka to Kafka.
    pub(crate) kafka: Spread,
    /// Captures a second of the floor.
    pub(crate) floor: Spread,
    /// Kafka over floor, of the medians.
    pub(crate) kafka_to_floor: f64,
    /// Memory over Kafka, of the medians, with as many shards.
    pub(crate) memory_to_kafka: Option<f64>,
    pub(crate) to_action_p50_ms: Spread,
    pub(crate) to_action_p99_ms: Spread,
    pub(crate) to_action_max_ms: Spread,
    pub(crate) to_commit_p50_ms: Spread,
    pub(crate) to_commit_p99_ms: Spread,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.collect();
        sorted.sort_by(f64::total_cmp);
        let at = |idx: usize| sorted.get(idx).copied().unwrap_or_default();
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 { at(middle) } else { (at(middle.saturating_sub(1)) + at(middle)) / 2.0 };
        Self { median, min: at(0), max: at(sorted.len().saturating_sub(1)) }
    }

    fn text(&self) -> String {
        let digits = if self.max >= 1000.0 { 0 } else { 1 };
        format!("{:.digits$} ({:.digits$} to {:.digits$})", self.median, self.min, self.max)
    }
}

impl Report {
    /// Fills in what follows from the runs.
    pub(crate) fn summarise(&mut self) {
        let mut by_shards: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
        for run in &self.memory {
            by_shards.entry(run.shards).or_default().push(run.captures_per_second);
        }
        let memory: BTreeMap<u32, Spread> =
            by_shards.into_iter().map(|(shards, rates)| (shards, Spread::of(rates.into_iter()))).collect();
        let kafka = Spread::of(self.kafka.iter().map(|r| r.captures_per_second));
        let floor = Spread::of(self.floor.iter().map(|r| r.captures_per_second));
        let of_latency = |figure: fn(&LatencyRun) -> f64| Spread::of(self.latency.iter().map(figure));
        self.summary = Some(Summary {
            kafka_to_floor: kafka.median / floor.median,
            memory_to_kafka: memory.get(&self.settings.shards).map(|m| m.median / kafka.median),
            small_epoch_ms: Spread::of(self.small_epochs.iter().map(|r| 1000.0 * r.seconds / r.commits.max(1) as f64)),
            memory,
            kafka,
            floor,
            to_action_p50_ms: of_latency(|r| r.seen.to_action.p50_ms),
            to_action_p99_ms: of_latency(|r| r.seen.to_action.p99_ms),
            to_action_max_ms: of_latency(|r| r.seen.to_action.max_ms),
            to_commit_p50_ms: of_latency(|r| r.to_commit.p50_ms),
            to_commit_p99_ms: of_latency(|r| r.to_commit.p99_ms),
        });
    }

    /// The report for people.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let (machine, settings) = (&self.machine, &self.settings);
        writeln!(out, "Baseline of {} at {}", settings.pack, machine.revision)?;
        writeln!(
            out,
            "{} cores ({}), {:.0} GiB, Linux {}, load {} before; Kafka {} on the same machine, JVM {}",
            machine.cores,
            machine.processor,
            machine.memory_bytes as f64 / (1_u64 << 30) as f64,
            machine.kernel,
            machine.load_before,
            machine.kafka_version,
            machine.jvm.join(" ")
        )?;
        writeln!(
            out,
            "{} captures of {} people a run, {} partitions, service with {} shards; {} runs after a warm-up of {} captures\n",
            settings.captures,
            settings.people,
            settings.partitions,
            settings.shards,
            settings.runs,
            settings.warm_up_captures
        )?;
        self.write_summary(out)?;
        self.write_runs(out)?;
        for (title, stages, seconds) in self.middle_runs() {
            write_stages(out, title, stages, seconds)?;
        }
        Ok(())
    }

    fn write_summary(&self, out: &mut String) -> std::fmt::Result {
        let Some(summary) = &self.summary else { return Ok(()) };
        writeln!(out, "captures a second: median (range)")?;
        for (shards, spread) in &summary.memory {
            writeln!(out, "  {:<34}{}", format!("from memory, shards {shards}"), spread.text())?;
        }
        writeln!(out, "  {:<34}{}", "from Kafka to Kafka", summary.kafka.text())?;
        writeln!(out, "  {:<34}{}", "floor: Kafka without the engine", summary.floor.text())?;
        let verdict = |is_met: bool| if is_met { "met" } else { "missed" };
        writeln!(
            out,
            "  {:<34}{:.2} (goal at least {FLOOR_RATIO_GOAL}: {})",
            "Kafka / floor",
            summary.kafka_to_floor,
            verdict(summary.kafka_to_floor >= FLOOR_RATIO_GOAL)
        )?;
        if let Some(ratio) = summary.memory_to_kafka {
            writeln!(out, "  {:<34}{ratio:.2}", "memory / Kafka")?;
        }
        writeln!(out, "\nmilliseconds at {} captures a second, exactly once: median (range)", self.settings.rate)?;
        let rows = [
            ("due to action in hand, p50", &summary.to_action_p50_ms),
            ("due to action in hand, p99", &summary.to_action_p99_ms),
            ("due to action in hand, max", &summary.to_action_max_ms),
            ("due to commit, p50", &summary.to_commit_p50_ms),
            ("due to commit, p99", &summary.to_commit_p99_ms),
        ];
        for (name, spread) in rows {
            writeln!(out, "  {name:<34}{}", spread.text())?;
        }
        let name = format!("epoch of {} captures from memory", self.settings.small_epoch);
        writeln!(out, "  {name:<34}{}", summary.small_epoch_ms.text())?;
        let is_met = summary.to_action_p99_ms.median < P99_MS_GOAL;
        writeln!(out, "  {:<34}{}", format!("goal p99 below {P99_MS_GOAL:.0}"), verdict(is_met))
    }

    fn write_runs(&self, out: &mut String) -> std::fmt::Result {
        writeln!(
            out,
            "\n{:<20}{:>10}{:>9}{:>9}{:>12}{:>12}{:>9}{:>11}{:>10}",
            "run", "captures/s", "seconds", "commits", "epoch p50", "epoch p99", "CPU s", "broker CPU", "peak MiB"
        )?;
        let mut row = |name: String,
                       rate: f64,
                       seconds: f64,
                       commits: u64,
                       epoch: Option<&Timing>,
                       cpu: f64,
                       broker: Option<f64>,
                       rss: u64| {
            let ms = |figure: fn(&Timing) -> f64| epoch.map_or("-".to_owned(), |t| format!("{:.1} ms", figure(t)));
            writeln!(
                out,
                "{name:<20}{rate:>10.0}{seconds:>9.2}{commits:>9}{:>12}{:>12}{cpu:>9.1}{:>11}{:>10}",
                ms(|t| t.p50_ms),
                ms(|t| t.p99_ms),
                broker.map_or("-".to_owned(), |b| format!("{b:.1}")),
                rss >> 20
            )
        };
        for r in &self.memory {
            let name = format!("memory, shards {}", r.shards);
            let rate = r.captures_per_second;
            row(name, rate, r.seconds, r.commits, Some(&r.epoch), r.cpu_seconds, None, r.peak_rss_bytes)?;
        }
        for r in &self.small_epochs {
            let rate = r.captures_per_second;
            row(
                "small epochs".into(),
                rate,
                r.seconds,
                r.commits,
                Some(&r.epoch),
                r.cpu_seconds,
                None,
                r.peak_rss_bytes,
            )?;
        }
        for r in &self.kafka {
            let (rate, broker) = (r.captures_per_second, Some(r.broker_cpu_seconds));
            row("Kafka".into(), rate, r.seconds, r.commits, Some(&r.epoch), r.cpu_seconds, broker, r.peak_rss_bytes)?;
        }
        for r in &self.floor {
            row(
                "floor".into(),
                r.captures_per_second,
                r.seconds,
                r.commits,
                None,
                r.cpu_seconds,
                None,
                r.peak_rss_bytes,
            )?;
        }
        for r in &self.latency {
            let (rate, broker) = (r.captures as f64 / r.seconds, Some(r.broker_cpu_seconds));
            row(
                "steady load".into(),
                rate,
                r.seconds,
                r.commits,
                Some(&r.epoch),
                r.cpu_seconds,
                broker,
                r.peak_rss_bytes,
            )?;
        }
        Ok(())
    }

    /// The stages of the run with the median rate of each kind.
    fn middle_runs(&self) -> Vec<(String, &BTreeMap<String, Timing>, f64)> {
        let mut found = Vec::new();
        let mut kafka: Vec<&KafkaRun> = self.kafka.iter().collect();
        kafka.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
        let mut memory: Vec<&MemoryRun> = self.memory.iter().filter(|r| r.shards == self.settings.shards).collect();
        memory.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
        let mut latency: Vec<&LatencyRun> = self.latency.iter().collect();
        latency.sort_by(|a, b| a.seen.to_action.p99_ms.total_cmp(&b.seen.to_action.p99_ms));
        if let Some(run) = memory.get(memory.len() / 2) {
            found.push((format!("from memory, shards {}", run.shards), &run.stages, run.seconds));
        }
        let mut small: Vec<&MemoryRun> = self.small_epochs.iter().collect();
        small.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
        if let Some(run) = small.get(small.len() / 2) {
            let title = format!("from memory, {} captures an epoch", self.settings.small_epoch);
            found.push((title, &run.stages, run.seconds));
        }
        if let Some(run) = kafka.get(kafka.len() / 2) {
            let title = format!(
                "from Kafka to Kafka ({} output records, {} MiB of state logged)",
                run.output_records,
                run.state_bytes >> 20
            );
            found.push((title, &run.stages, run.seconds));
        }
        if let Some(run) = latency.get(latency.len() / 2) {
            found.push((format!("steady load of {} captures a second", run.rate), &run.stages, run.seconds));
        }
        found
    }
}

fn write_stages(out: &mut String, title: String, stages: &BTreeMap<String, Timing>, seconds: f64) -> std::fmt::Result {
    writeln!(out, "\nstages {title}: the run in the middle")?;
    writeln!(out, "  {:<22}{:>10}{:>8}{:>12}{:>12}", "", "seconds", "share", "p50", "p99")?;
    let mut rest = seconds;
    for stage in STAGES {
        let Some(timing) = stages.get(stage) else { continue };
        rest -= timing.total_seconds;
        writeln!(
            out,
            "  {stage:<22}{:>10.2}{:>7.1}%{:>9.2} ms{:>9.2} ms",
            timing.total_seconds,
            100.0 * timing.total_seconds / seconds,
            timing.p50_ms,
            timing.p99_ms
        )?;
    }
    writeln!(out, "  {:<22}{rest:>10.2}{:>7.1}%", "between (20 ms pause)", 100.0 * rest / seconds)
}
