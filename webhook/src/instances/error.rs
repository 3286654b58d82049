//! What is wrong with an instances file.

use serde_saphyr::UserMessageFormatter;
use volume_spec::Shown;

/// An instances file cannot be used. Says where, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InstancesError {
    /// It is no YAML, or not of the fields and types an instances file has.
    #[error("line {line}: {reason}")]
    Shape {
        /// Counted from 1; 0 when the file as a whole is meant.
        line: u64,
        /// In the parser's words, with the line as it is written.
        reason: String,
    },
    /// A field's value is not of its kind.
    #[error("line {line}: {field}: {reason}")]
    Field {
        /// Counted from 1.
        line: u64,
        /// The field's path, such as `instances[0].endpoint`.
        field: String,
        /// What is wrong with it, and what to write.
        reason: String,
    },
}

impl InstancesError {
    /// Says in one line what the parser says about `text`, and repeats the line it means: the parser names the
    /// type it expects, not the field.
    pub(super) fn shape(error: &serde_saphyr::Error, text: &str) -> Self {
        let line = error.location().map_or(0, |location| location.line());
        let said = error.without_snippet().render_with_formatter(&UserMessageFormatter);
        let said = said.lines().next().unwrap_or_default();
        let said = said.rsplit_once(" at line ").map_or(said, |(said, _)| said);
        let index = usize::try_from(line).ok().and_then(|line| line.checked_sub(1));
        let reason = match index.and_then(|index| text.lines().nth(index)) {
            Some(written) => format!("{said}, in {}", Shown::new(written.trim())),
            None => said.to_owned(),
        };
        Self::Shape { line, reason }
    }
}
