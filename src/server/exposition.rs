//! The measurements in Prometheus' text form.

use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use super::ServeError;
use super::process::process_use;
use crate::engine::{Phase, Status};
use crate::metrics;

/// How often measurements are summed up; until then each is kept by itself.
const SUM_INTERVAL: Duration = Duration::from_secs(1);

/// A process has one recorder, and can never change it.
static INSTALLED: OnceLock<Result<PrometheusHandle, String>> = OnceLock::new();

/// What the recorder of this process has measured.
#[derive(Clone)]
pub(super) struct Exposition {
    handle: PrometheusHandle,
}

impl Exposition {
    /// The recorder, installed when it is first asked for.
    pub(super) fn installed() -> Result<Self, ServeError> {
        match INSTALLED.get_or_init(install) {
            Ok(handle) => Ok(Self { handle: handle.clone() }),
            Err(reason) => Err(ServeError::Measurements(reason.clone())),
        }
    }

    /// All measurements as text, with `status` as it is now and a loop that last came round so long ago.
    pub(super) fn render(&self, status: &Status, since_last_turn: Option<Duration>, now_ms: i64) -> String {
        // A stalled worker must show by a growing lag, so what depends on the clock is set here and not by the worker.
        for relation in &status.relations {
            if let Some(watermark_ms) = relation.watermark_ms {
                metrics::set_watermark(&relation.name, watermark_ms, now_ms.saturating_sub(watermark_ms));
            }
            metrics::set_state_size(&relation.name, relation.state_rows, relation.state_bytes);
        }
        for source in &status.sources {
            if let Some(lag) = source.lag {
                metrics::set_lag(&source.name, lag);
            }
        }
        for behind in &status.partitions {
            metrics::set_partition_lag(&behind.source, behind.partition, behind.lag);
        }
        for source in &status.sources {
            if let Some(lag_ms) = status.lag_ms(&source.name, now_ms) {
                metrics::set_lag_ms(&source.name, lag_ms);
            }
        }
        metrics::set_loaded(status.loaded);
        metrics::set_phase(&Phase::ALL.map(Phase::word), status.phase.word());
        if let Some(age) = since_last_turn {
            metrics::set_loop_age(age);
        }
        if let Some(process) = process_use() {
            metrics::set_process(&process);
        }
        metrics::set_allocator();
        self.handle.render()
    }
}

fn install() -> Result<PrometheusHandle, String> {
    let event_latency = Matcher::Full(metrics::EVENT_LATENCY.to_owned());
    let builder = PrometheusBuilder::new()
        .set_buckets(&metrics::BUCKETS_SECONDS)
        .and_then(|b| b.set_buckets_for_metric(event_latency, &metrics::EVENT_LATENCY_BUCKETS_SECONDS))
        .map_err(|e| e.to_string())?;
    let handle = builder.install_recorder().map_err(|e| e.to_string())?;
    metrics::describe();
    metrics::set_build_info(env!("CARGO_PKG_VERSION"));
    let summed = handle.clone();
    // It lives as long as the process, as the recorder does.
    let sum = move || {
        loop {
            std::thread::sleep(SUM_INTERVAL);
            summed.run_upkeep();
        }
    };
    std::thread::Builder::new().name("curb-metrics".to_owned()).spawn(sum).map_err(|e| e.to_string())?;
    Ok(handle)
}
