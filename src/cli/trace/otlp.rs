//! From `tracing` spans to OTLP.

use std::time::Duration;

use opentelemetry::trace::{Span as _, SpanContext, SpanId, TraceFlags, TraceId, TraceState, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, Span, SpanData, SpanProcessor};
use tracing_subscriber::Registry;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::Layer;

use super::super::log::speaker;
use super::collector::Collector;
use super::{is_wanted, variable};
use crate::metrics::{LINKS_FIELD, SPAN_TARGET};

/// How long the last spans may take to be handed over when the program ends.
const FAREWELL: Duration = Duration::from_secs(2);

/// The way of spans to the collector; hands over the last ones when dropped.
pub(in crate::cli) struct Spans(Result<SdkTracerProvider, String>);

impl Spans {
    /// Why none are sent.
    pub(in crate::cli) fn problem(&self) -> Option<&str> {
        self.0.as_ref().err().map(String::as_str)
    }
}

impl Drop for Spans {
    fn drop(&mut self) {
        if let Ok(provider) = &self.0 {
            // Spans that a collector did not take by now are lost.
            let _ = provider.shutdown_with_timeout(FAREWELL);
        }
    }
}

/// The layer that makes spans of the program into spans for the collector, if the environment asks for that.
pub(in crate::cli) fn layer() -> (Option<impl Layer<Registry>>, Option<Spans>) {
    if !is_wanted(variable) {
        return (None, None);
    }
    let provider = provider(None);
    let layer = provider.as_ref().ok().map(layer_of);
    (layer, Some(Spans(provider)))
}

fn layer_of(provider: &SdkTracerProvider) -> impl Layer<Registry> + use<> {
    tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("curb"))
        // Where in the program a span begins is of no use to operators.
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_filter(filter_fn(|metadata| metadata.target() == SPAN_TARGET && metadata.is_span()))
}

/// What sends spans to `endpoint`, or where the environment says.
fn provider(endpoint: Option<&str>) -> Result<SdkTracerProvider, String> {
    let client = Collector::new(variable)?;
    let mut exporter = SpanExporter::builder().with_http().with_http_client(client);
    if let Some(endpoint) = endpoint {
        exporter = exporter.with_endpoint(endpoint);
    }
    let exporter = exporter.build().map_err(|e| e.to_string())?;
    let mut resource = Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    let is_named = |name: &str| variable(name).is_some_and(|value| !value.is_empty());
    if !is_named("OTEL_SERVICE_NAME")
        && !variable("OTEL_RESOURCE_ATTRIBUTES").is_some_and(|v| v.contains("service.name="))
    {
        resource = resource.with_service_name("curb");
    }
    Ok(SdkTracerProvider::builder()
        .with_span_processor(Introduction)
        .with_batch_exporter(exporter)
        .with_resource(resource.build())
        .build())
}

/// Adds to every span whose it is, and to that of an epoch the traces that its records belong to.
#[derive(Debug)]
struct Introduction;

impl SpanProcessor for Introduction {
    fn on_start(&self, span: &mut Span, _: &Context) {
        if let Some(speaker) = speaker() {
            span.set_attribute(KeyValue::new("curb.pipeline", speaker.pipeline.as_str()));
            span.set_attribute(KeyValue::new("curb.worker", speaker.worker.as_str()));
        }
        let attributes = span.exported_data().map(|data| data.attributes).unwrap_or_default();
        let links = attributes.iter().find(|a| a.key.as_str() == LINKS_FIELD).map(|a| a.value.as_str().into_owned());
        for context in links.unwrap_or_default().split(',').filter_map(span_context) {
            span.add_link(context, Vec::new());
        }
    }

    fn on_end(&self, _: SpanData) {}

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// The span that a `traceparent` names.
fn span_context(traceparent: &str) -> Option<SpanContext> {
    let mut parts = traceparent.split('-');
    let (_version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?);
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    let context = SpanContext::new(trace, span, flags, true, TraceState::default());
    context.is_valid().then_some(context)
}

#[cfg(test)]
mod tests;
