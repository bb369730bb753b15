//! How spans are sent: one blocking HTTP request a batch, on the exporter's own thread.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

/// How long a batch may take where the environment does not say.
const TIMEOUT: Duration = Duration::from_secs(10);
/// More is not read of an answer.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;
/// The log speaks of a collector that is away so often.
const NOTE_INTERVAL: Duration = Duration::from_secs(300);

/// The collector, as a client sees it.
#[derive(Debug)]
pub(super) struct Collector {
    agent: ureq::Agent,
    noted: Mutex<Option<Instant>>,
}

impl Collector {
    /// A client with the time limit and the authorities that the environment names.
    pub(super) fn new(variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let of_traces = |name: &str| {
            let given = variable(&format!("OTEL_EXPORTER_OTLP_TRACES_{name}"));
            given.or_else(|| variable(&format!("OTEL_EXPORTER_OTLP_{name}"))).filter(|value| !value.is_empty())
        };
        let timeout = match of_traces("TIMEOUT") {
            None => TIMEOUT,
            Some(ms) => ms.parse().map(Duration::from_millis).map_err(|_| "OTEL_EXPORTER_OTLP_TIMEOUT is no number")?,
        };
        let mut config = ureq::Agent::config_builder().timeout_global(Some(timeout)).http_status_as_error(false);
        if let Some(path) = of_traces("CERTIFICATE") {
            let pem = std::fs::read(&path).map_err(|e| format!("OTEL_EXPORTER_OTLP_CERTIFICATE `{path}`: {e}"))?;
            let authorities = parse_pem(&pem).filter_map(|item| match item {
                Ok(PemItem::Certificate(certificate)) => Some(certificate),
                _ => None,
            });
            let authorities = RootCerts::new_with_certs(&authorities.collect::<Vec<_>>());
            config = config.tls_config(TlsConfig::builder().root_certs(authorities).build());
        }
        Ok(Self { agent: config.build().into(), noted: Mutex::default() })
    }

    fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, ureq::Error> {
        let (head, body) = request.into_parts();
        let mut answer = self.agent.run(Request::from_parts(head, body.to_vec()))?;
        let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec()?;
        let (head, _) = answer.into_parts();
        Ok(Response::from_parts(head, body.into()))
    }

    /// Says that spans are lost, but not every time, and never with the request's headers: they may hold a token.
    fn note(&self, reason: &str) {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.is_none_or(|at| at.elapsed() >= NOTE_INTERVAL) {
            *noted = Some(Instant::now());
            tracing::warn!(reason, "spans could not be sent to the collector and are lost; the pipeline goes on");
        }
    }
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        match self.send(request) {
            Ok(answer) => {
                if !answer.status().is_success() {
                    self.note(&format!("it answers {}", answer.status().as_u16()));
                }
                Ok(answer)
            }
            Err(error) => {
                self.note(&error.to_string());
                Err(error.into())
            }
        }
    }
}
