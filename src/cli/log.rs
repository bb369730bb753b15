//! Log lines on stderr: for people, or one JSON object each for programs, with a bound on how often a line comes again.
//!
//! A line says what happened to which pipeline, topic, partition and offset, never what a record holds. Libraries are heard
//! from warnings on only: some of them log the SQL that they are given.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, IsTerminal};
use std::str::FromStr;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use chrono::{SecondsFormat, Utc};
use serde_json::{Map, Value};
use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_log::NormalizeEvent;
use tracing_subscriber::filter::Directive;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry};

use super::LogForm;
use super::trace::{self, Spans};
use crate::metrics::SPAN_TARGET;

/// A warning or an error is written so often in [`REPEAT_WINDOW`]; what is left out is counted in the next one.
const REPEATS_MAX: u32 = 20;
/// The time over which repetitions are counted.
const REPEAT_WINDOW: Duration = Duration::from_secs(10);

/// Who speaks, known once the settings have been read.
static SPEAKER: OnceLock<Speaker> = OnceLock::new();

/// Which pipeline this is, and which of its workers.
#[derive(Debug)]
pub(super) struct Speaker {
    pub(super) pipeline: String,
    /// The worker's name in its group, which is also its transactional id.
    pub(super) worker: String,
}

/// Says who speaks from now on.
pub(super) fn speak_as(pipeline: &str, worker: &str) {
    // One process runs one pipeline.
    let _ = SPEAKER.set(Speaker { pipeline: pipeline.to_owned(), worker: worker.to_owned() });
}

/// Who speaks, if that is known.
pub(super) fn speaker() -> Option<&'static Speaker> {
    SPEAKER.get()
}

/// Writes lines to stderr from `level` on, or as `CURB_LOG` says, and sends spans where the environment says. What is returned
/// hands over the last spans when it is dropped.
pub(super) fn to_stderr(level: &str, form: LogForm) -> Option<Spans> {
    let chosen = EnvFilter::try_from_env("CURB_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let (layer, spans) = trace::layer();
    let of_spans = format!("{SPAN_TARGET}={}", if layer.is_some() { "trace" } else { "off" });
    let chosen = Directive::from_str(&of_spans).into_iter().fold(chosen, EnvFilter::add_directive);
    let has_colours = form == LogForm::Text && io::stderr().is_terminal();
    // A second call in one process keeps the first subscriber.
    let _ = subscriber(layer, chosen, form, io::stderr, has_colours).try_init();
    if let Some(problem) = spans.as_ref().and_then(|spans| spans.problem()) {
        tracing::warn!("no spans are sent: {problem}");
    }
    spans
}

/// Hands spans to `spans`, and writes what `chosen` lets through as lines.
fn subscriber<ForSpans, Out>(
    spans: Option<ForSpans>,
    chosen: EnvFilter,
    form: LogForm,
    out: Out,
    has_colours: bool,
) -> impl Subscriber + Send + Sync
where
    ForSpans: Layer<Registry> + Send + Sync,
    Out: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer().with_writer(out).with_ansi(has_colours).event_format(Lines::new(form));
    // IMPORTANT: one filter for everything. One for each layer remembers per thread what it said last, and takes that for its
    // word about the next line when a question came to nothing: lines are lost.
    Registry::default().with(spans).with(chosen).with(lines)
}

/// Spans are for a collector; what libraries tell of their work is not for anybody.
fn is_for_the_log(metadata: &Metadata<'_>) -> bool {
    let speaker = metadata.target().split("::").next();
    // Tests wait for what a point of failure prints.
    let is_ours = speaker == Some("curb") || (cfg!(feature = "fail_points") && speaker == Some("fail"));
    metadata.target() != SPAN_TARGET && (is_ours || *metadata.level() <= Level::WARN)
}

/// Writes events as lines.
struct Lines {
    form: LogForm,
    repeats: Mutex<HashMap<Identifier, Repeats>>,
}

/// How often the line of one place in the program has come.
struct Repeats {
    since: Instant,
    n_written: u32,
    n_left_out: u64,
}

impl Lines {
    fn new(form: LogForm) -> Self {
        Self { form, repeats: Mutex::default() }
    }

    /// Whether a line may be written: then how many like it were left out before it.
    fn admit(&self, metadata: &Metadata<'_>, now: Instant) -> Option<u64> {
        if *metadata.level() > Level::WARN {
            return Some(0);
        }
        let mut repeats = self.repeats.lock().unwrap_or_else(PoisonError::into_inner);
        let anew = || Repeats { since: now, n_written: 0, n_left_out: 0 };
        let own = repeats.entry(metadata.callsite()).or_insert_with(anew);
        if now.duration_since(own.since) >= REPEAT_WINDOW {
            (own.since, own.n_written) = (now, 0);
        }
        if own.n_written >= REPEATS_MAX {
            own.n_left_out += 1;
            return None;
        }
        own.n_written += 1;
        Some(std::mem::take(&mut own.n_left_out))
    }
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut line: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        // What came by the crate `log` names its place in fields of its own.
        let from_log = event.normalized_metadata();
        let metadata = from_log.as_ref().unwrap_or_else(|| event.metadata());
        if !is_for_the_log(metadata) {
            return Ok(());
        }
        let Some(n_left_out) = self.admit(event.metadata(), Instant::now()) else { return Ok(()) };
        match self.form {
            LogForm::Json => writeln!(line, "{}", object(event, metadata, n_left_out)),
            LogForm::Text => {
                if n_left_out > 0 {
                    writeln!(line, "({n_left_out} lines like the next one were left out)")?;
                }
                head(&mut line, metadata)?;
                context.field_format().format_fields(line.by_ref(), event)?;
                writeln!(line)
            }
        }
    }
}

/// What a line for people begins with: when, how grave, who. The spans that it lies in are for a collector.
fn head(line: &mut Writer<'_>, metadata: &Metadata<'_>) -> fmt::Result {
    let (time, level) = (Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true), *metadata.level());
    if !line.has_ansi_escapes() {
        return write!(line, "{time} {level:>5} {}: ", metadata.target());
    }
    let colour = match level {
        Level::ERROR => 31,
        Level::WARN => 33,
        Level::INFO => 32,
        Level::DEBUG => 34,
        Level::TRACE => 35,
    };
    write!(line, "\x1b[2m{time}\x1b[0m \x1b[{colour}m{level:>5}\x1b[0m \x1b[2m{}:\x1b[0m ", metadata.target())
}

/// An event as JSON: when, how grave, what, who, then its own fields.
fn object(event: &Event<'_>, metadata: &Metadata<'_>, n_left_out: u64) -> Value {
    let mut fields = Fields::default();
    event.record(&mut fields);
    let mut object = Map::new();
    object.insert("timestamp".into(), Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true).into());
    object.insert("level".into(), metadata.level().as_str().into());
    object.insert("message".into(), fields.message.into());
    if let Some(speaker) = speaker() {
        object.insert("pipeline".into(), speaker.pipeline.as_str().into());
        object.insert("worker".into(), speaker.worker.as_str().into());
    }
    object.extend(fields.others);
    if n_left_out > 0 {
        object.insert("n_left_out".into(), n_left_out.into());
    }
    object.insert("target".into(), metadata.target().into());
    Value::Object(object)
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Map<String, Value>,
}

impl Fields {
    fn insert(&mut self, field: &Field, value: Value) {
        if !field.name().starts_with("log.") {
            self.others.insert(field.name().to_owned(), value);
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        match field.name() {
            "message" => self.message = text,
            _ => self.insert(field, text.into()),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => value.clone_into(&mut self.message),
            _ => self.insert(field, value.into()),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.insert(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.insert(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.insert(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.insert(field, value.into());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tracing::subscriber::with_default;
    use tracing_subscriber::layer::Identity;

    use super::*;

    /// Collects what is written.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lines(form: LogForm, work: impl FnOnce()) -> Vec<String> {
        let written = Written::default();
        let writer = written.clone();
        let chosen = EnvFilter::new("info");
        with_default(subscriber(None::<Identity>, chosen, form, move || writer.clone(), false), work);
        let bytes = written.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_json_line_has_the_fields_of_its_event_with_their_types() {
        let error = io::Error::other("a \"quoted\"\nreason");
        let written = lines(LogForm::Json, || {
            tracing::warn!(topic = "rides", partition = 3, offset = 7_u64, is_late = true, share = 0.5, %error, "no {}", "way");
        });
        let [line] = written.as_slice() else { panic!("{written:?}") };
        let json: Value = serde_json::from_str(line).unwrap();
        assert_eq!((&json["message"], &json["level"]), (&"no way".into(), &"WARN".into()));
        assert_eq!((&json["topic"], &json["partition"], &json["offset"]), (&"rides".into(), &3.into(), &7.into()));
        assert_eq!((&json["is_late"], &json["share"]), (&true.into(), &0.5.into()));
        assert_eq!(json["error"], "a \"quoted\"\nreason");
        assert!(json["timestamp"].as_str().unwrap().ends_with('Z') && json["target"] == "curb::cli::log::tests");
    }

    #[test]
    fn a_line_that_comes_again_and_again_is_counted_instead() {
        for form in [LogForm::Json, LogForm::Text] {
            let written = lines(form, || {
                for _ in 0..1_000 {
                    tracing::error!("the same");
                }
                tracing::error!("another");
                for _ in 0..100 {
                    tracing::info!("news");
                }
            });
            let n = |text: &str| written.iter().filter(|line| line.contains(text)).count();
            assert_eq!((n("the same"), n("another"), n("news")), (REPEATS_MAX as usize, 1, 100));
        }
    }

    #[test]
    fn what_was_left_out_is_said_when_the_line_comes_again() {
        let lines = Lines::new(LogForm::Json);
        let metadata = {
            static CALLSITE: tracing::callsite::DefaultCallsite = tracing::callsite::DefaultCallsite::new(&METADATA);
            static METADATA: Metadata<'static> = tracing::metadata! {
                name: "test", target: "curb", level: Level::WARN, fields: &[], callsite: &CALLSITE, kind: tracing::metadata::Kind::EVENT,
            };
            &METADATA
        };
        let start = Instant::now();
        let admitted: Vec<_> = (0..REPEATS_MAX + 3).map(|_| lines.admit(metadata, start)).collect();
        assert_eq!(admitted.iter().flatten().count(), REPEATS_MAX as usize);
        assert_eq!(lines.admit(metadata, start + REPEAT_WINDOW), Some(3));
        assert_eq!(lines.admit(metadata, start + REPEAT_WINDOW), Some(0));
    }

    #[test]
    fn libraries_are_heard_from_warnings_on() {
        let written = lines(LogForm::Text, || {
            tracing::info!(target: "sqlparser::parser", "Parsing sql 'SELECT secret'");
            tracing::warn!(target: "library", "careful");
            tracing::info!(target: "curb::engine", "restored");
            tracing::info!(target: "curbed", "not ours");
            tracing::info!(target: SPAN_TARGET, "of a span");
        });
        assert_eq!(written.len(), 2, "{written:?}");
        assert!(written[0].contains("careful") && written[1].contains("restored"));
    }

    #[test]
    fn a_question_that_comes_to_nothing_and_a_span_take_no_line_away() {
        static CALLSITE: tracing::callsite::DefaultCallsite = tracing::callsite::DefaultCallsite::new(&METADATA);
        static METADATA: Metadata<'static> = tracing::metadata! {
            name: "test", target: "library", level: Level::DEBUG, fields: &[], callsite: &CALLSITE, kind: tracing::metadata::Kind::EVENT,
        };
        let written = lines(LogForm::Text, || {
            let _span = tracing::info_span!(target: SPAN_TARGET, "epoch", n = 1).entered();
            for number in 0..3 {
                // As libraries do that log with the crate `log`.
                tracing::dispatcher::get_default(|subscriber| subscriber.enabled(&METADATA));
                tracing::warn!(number, "said");
            }
        });
        assert_eq!(written.len(), 3, "{written:?}");
        assert!(written[1].ends_with(" WARN curb::cli::log::tests: said number=1"), "{written:?}");
    }
}
