//! Structured logs on stderr. Stdout stays free: the FlexVolume and plugin protocols own it elsewhere.

use std::panic::PanicHookInfo;
use thiserror::Error;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::layer;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// What the user's filter is added to. rustify and vaultrs log every 4xx several times at ERROR, h2 and hyper
/// log every frame at DEBUG; errors worth reading are logged once by our own code.
const BASE: &str = "info,rustify=off,vaultrs=off,h2=off,hyper=off,hyper_util=off";

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people: one readable line per event.
    #[default]
    Text,
    /// For machines: one JSON object per line.
    Json,
}

/// The logging flags of every server; use with `#[command(flatten)]`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct LogArgs {
    /// What to log: a level (error, warn, info, debug, trace) or directives such as
    /// `info,boathouse_node=debug`
    #[arg(long, env = "BOATHOUSE_LOG", value_name = "FILTER", default_value = "info", value_parser = checked)]
    pub log: String,
    /// How a log line looks
    #[arg(long, env = "BOATHOUSE_LOG_FORMAT", value_enum, default_value_t)]
    pub log_format: Format,
}

impl LogArgs {
    /// [`init`] with these flags.
    ///
    /// # Errors
    /// As [`init`].
    pub fn init(&self) -> Result<(), LogError> {
        init(self.log_format, &self.log)
    }
}

/// Logging could not be started.
#[derive(Debug, Error)]
pub enum LogError {
    /// The filter does not parse.
    #[error("log filter {filter:?} is not valid: {source}")]
    Filter {
        /// The filter as given.
        filter: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// The process logs already.
    #[error("logging is already initialised")]
    Twice,
}

/// Starts logging to stderr, and logs panics as events so that they appear in JSON logs as well.
///
/// `filter` is added to a base that silences noisy libraries; `rustify=debug` in it turns a silenced target on again.
///
/// # Errors
/// When the filter does not parse or logging was started before.
pub fn init(format: Format, filter: &str) -> Result<(), LogError> {
    let subscriber = tracing_subscriber::registry().with(parse(filter)?);
    let lines = layer().with_writer(std::io::stderr);
    match format {
        Format::Text => subscriber.with(lines.with_ansi(false)).try_init(),
        Format::Json => subscriber.with(lines.json().flatten_event(true).with_current_span(true)).try_init(),
    }
    .map_err(|_| LogError::Twice)?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// `Targets` and not `EnvFilter`: nobody asks for spans and fields here, and that brings a machine for regular expressions.
fn parse(filter: &str) -> Result<Targets, LogError> {
    let all = match filter.trim() {
        "" => BASE.to_owned(),
        given => format!("{BASE},{given}"),
    };
    all.parse().map_err(|source| LogError::Filter { filter: filter.to_owned(), source })
}

/// For clap: a filter that does not parse is a usage error, told before there is a log.
fn checked(filter: &str) -> Result<String, LogError> {
    parse(filter).map(|_| filter.to_owned())
}

fn log_panic(info: &PanicHookInfo<'_>) {
    let message = crate::panics::message(info.payload());
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    tracing::error!(place, message, "panic");
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;

    #[test]
    fn noisy_targets_stay_off_whatever_the_level() {
        let text = parse("debug").unwrap().to_string();
        assert!(text.contains("rustify=off") && text.contains("vaultrs=off"), "{text}");
        assert!(text.contains("debug") && !text.contains("info"), "{text}");
    }

    #[test]
    fn a_silenced_target_can_be_asked_for() {
        let text = parse("vaultrs=trace").unwrap().to_string();
        assert!(text.contains("vaultrs=trace") && !text.contains("vaultrs=off"), "{text}");
        assert!(text.contains("info"), "{text}");
    }

    #[test]
    fn empty_means_the_default_and_nonsense_is_named() {
        assert!(parse(" ").is_ok());
        let err = parse("boathouse=loud").unwrap_err().to_string();
        assert!(err.contains("boathouse=loud"), "{err}");
    }
}
