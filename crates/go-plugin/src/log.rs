//! Log lines the host understands: hclog's JSON, one object per line, on stderr.
//!
//! The host parses `@level`, `@message` and `@timestamp` strictly (a wrong type crashes it) and
//! passes other keys on as structured fields; from hashicorp/go-plugin `log_entry.go`.

use std::io::{self, Write as _};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Longest text kept of one value, in bytes. Hosts chop lines at 64 KiB, which breaks the JSON.
const MAX_VALUE: usize = 8 * 1024;

/// Sends this process's tracing events to the host, down to debug; the host applies its own level.
/// Libraries below are heard from warning on: their debug output can hold request bodies.
///
/// A second call does nothing.
pub fn init() {
    let mut filter = Targets::new().with_default(LevelFilter::DEBUG);
    for library in ["h2", "hyper", "hyper_util", "reqwest", "rustls", "tonic", "tower", "yamux"] {
        filter = filter.with_target(library, LevelFilter::WARN);
    }
    let _ = tracing_subscriber::registry().with(HclogLayer::new(io::stderr).with_filter(filter)).try_init();
}

/// A tracing layer that writes hclog JSON.
#[derive(Debug)]
pub struct HclogLayer<W> {
    writer: W,
}

impl<W> HclogLayer<W> {
    /// A layer that writes to what `writer` makes.
    pub fn new(writer: W) -> Self {
        Self { writer }
    }
}

/// Fields of an enclosing span.
struct SpanFields(Map<String, Value>);

impl<S, W> Layer<S> for HclogLayer<W>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: for<'writer> MakeWriter<'writer> + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            span.extensions_mut().insert(SpanFields(fields.0));
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(SpanFields(map)) = span.extensions_mut().get_mut()
        {
            let mut fields = Fields(std::mem::take(map));
            values.record(&mut fields);
            *map = fields.0;
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(SpanFields(map)) = span.extensions().get() {
                fields.0.extend(map.clone());
            }
        }
        event.record(&mut fields);
        let mut line =
            render(fields.0, event.metadata().level(), event.metadata().target(), Timestamp::now());
        line.push('\n');
        // The whole line at once, so that lines of several threads do not mix. Nowhere to report.
        let _ = self.writer.make_writer().write_all(line.as_bytes());
    }
}

fn render(mut fields: Map<String, Value>, level: &Level, target: &str, now: Timestamp) -> String {
    let message = match fields.remove("message") {
        Some(Value::String(text)) => text,
        Some(other) => other.to_string(),
        None => String::new(),
    };
    // Keys with @ are the format's own.
    fields.retain(|key, _| !key.starts_with('@'));
    fields.insert("@level".to_owned(), Value::from(level.as_str().to_ascii_lowercase()));
    fields.insert("@message".to_owned(), Value::from(message));
    fields.insert("@module".to_owned(), Value::from(target));
    // Six fractional digits, always: otherwise the host takes the line for plain text.
    let now = now.to_zoned(TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%S%.6fZ");
    fields.insert("@timestamp".to_owned(), Value::from(now.to_string()));
    Value::Object(fields).to_string()
}

#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn set(&mut self, field: &Field, value: impl Into<Value>) {
        let name = field.name().trim_start_matches("r#");
        self.0.insert(name.to_owned(), value.into());
    }

    fn text(&mut self, field: &Field, mut text: String) {
        if text.len() > MAX_VALUE {
            let end = (0..=MAX_VALUE).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            text.truncate(end);
            text.push('…');
        }
        self.set(field, text);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.text(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value.to_owned());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, value);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Buffer {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(buf);
            Ok(buf.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lines(log: impl FnOnce()) -> Vec<Map<String, Value>> {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let layer = HclogLayer::new(move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        let bytes = buffer.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn strict_keys_are_strings_and_fields_pass() {
        let got = lines(|| {
            let _span = tracing::info_span!("request", id = "r1", n = 1).entered();
            tracing::warn!(count = 3, "two\nlines of {}", "text");
            tracing::trace!(n = 2);
        });
        assert_eq!(got.len(), 2);
        assert_eq!(got[0]["@level"], "warn");
        assert_eq!(got[0]["@message"], "two\nlines of text");
        assert_eq!((&got[0]["count"], &got[0]["id"], &got[0]["n"]), (&3.into(), &"r1".into(), &1.into()));
        assert_eq!((&got[1]["@message"], &got[1]["n"]), (&"".into(), &2.into()));
    }

    #[test]
    fn six_fractional_digits_always() {
        for (now, want) in [
            (Timestamp::new(1_767_323_045, 0), "2026-01-02T03:04:05.000000Z"),
            (Timestamp::new(1_767_323_045, 1), "2026-01-02T03:04:05.000000Z"),
            (Timestamp::new(1_767_323_045, 120_000_000), "2026-01-02T03:04:05.120000Z"),
            (Timestamp::new(1_767_323_045, 999_999_999), "2026-01-02T03:04:05.999999Z"),
        ] {
            let line = render(Map::new(), &Level::INFO, "x", now.unwrap());
            assert!(line.contains(want), "{line}");
        }
    }

    #[test]
    fn long_values_are_cut_on_a_character() {
        let got = lines(|| tracing::info!("{}", "ü".repeat(100_000)));
        let text = got[0]["@message"].as_str().unwrap();
        assert!(text.len() <= MAX_VALUE + '…'.len_utf8() && text.ends_with("ü…"));
    }

    #[test]
    fn the_format_s_own_keys_cannot_be_forged() {
        let fields =
            Map::from_iter([("@level".to_owned(), Value::from(7)), ("message".to_owned(), Value::from(5))]);
        let line = render(fields, &Level::ERROR, "x", Timestamp::UNIX_EPOCH);
        let line: Map<String, Value> = serde_json::from_str(&line).unwrap();
        assert_eq!((&line["@level"], &line["@message"]), (&"error".into(), &"5".into()));
    }
}
