//! Spans of epochs and of HTTP requests, for a collector that speaks OTLP.
//!
//! The standard variables say where to and how many: `OTEL_EXPORTER_OTLP_ENDPOINT` (without it nothing is sent),
//! `OTEL_TRACES_SAMPLER`, `OTEL_SERVICE_NAME`, `OTEL_BSP_*` and so on. Spans wait in a queue of bounded length for a thread of
//! its own: a collector that is slow or away costs spans, never time. A span holds numbers and names of the program, never
//! what a record or a request holds.

#[cfg(feature = "otlp")]
mod collector;
#[cfg(feature = "otlp")]
mod otlp;

#[cfg(feature = "otlp")]
pub(super) use otlp::{Spans, layer};

/// What is set if spans are wanted.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];

/// Whether the environment asks for spans.
fn is_wanted(variable: impl Fn(&str) -> Option<String>) -> bool {
    let is = |name: &str, value: &str| variable(name).is_some_and(|v| v.trim().eq_ignore_ascii_case(value));
    let has_endpoint = ENDPOINTS.iter().any(|name| variable(name).is_some_and(|v| !v.trim().is_empty()));
    has_endpoint && !is("OTEL_SDK_DISABLED", "true") && !is("OTEL_TRACES_EXPORTER", "none")
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[cfg(not(feature = "otlp"))]
mod without {
    use tracing_subscriber::Registry;
    use tracing_subscriber::layer::{Identity, Layer};

    /// A program without the feature sends none.
    pub(in crate::cli) struct Spans;

    impl Spans {
        pub(in crate::cli) fn problem(&self) -> Option<&str> {
            Some("this program was built without the feature `otlp`")
        }
    }

    pub(in crate::cli) fn layer() -> (Option<impl Layer<Registry>>, Option<Spans>) {
        (None::<Identity>, super::is_wanted(super::variable).then_some(Spans))
    }
}

#[cfg(not(feature = "otlp"))]
pub(super) use without::{Spans, layer};

#[cfg(test)]
mod tests {
    use super::is_wanted;

    #[test]
    fn an_endpoint_asks_for_spans_unless_they_are_turned_off() {
        let given = |variables: &[(&str, &str)]| {
            is_wanted(|name| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned()))
        };
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
        assert!(!given(&[]) && !given(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]));
        assert!(given(&[endpoint]) && given(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c/v1/traces")]));
        assert!(!given(&[endpoint, ("OTEL_SDK_DISABLED", "TRUE")]));
        assert!(!given(&[endpoint, ("OTEL_TRACES_EXPORTER", "none")]));
    }
}
