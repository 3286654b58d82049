//! Answers as kubelet reads them.

use std::fmt::Write;

/// The answer to `init`: nothing to attach, and no recursive change of ownership for `fsGroup`, which on a
/// bucket would rewrite every object. Equal to the legacy driver's.
pub(crate) const INIT: &str = "{\"status\":\"Success\",\"message\":\"No initialization required\",\"capabilities\":\
    {\"attach\":false,\"selinuxRelabel\":false,\"supportsMetrics\":false,\"fsGroup\":false,\"requiresFSResize\":false}}\n";

/// Longest message in bytes; a pod's event holds 1024, the rest is for kubelet's log.
const MAX_MESSAGE: usize = 8 * 1024;

/// One answer other than `init`'s.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DriverStatus {
    status: &'static str,
    message: String,
}

impl DriverStatus {
    pub(crate) fn success(message: impl Into<String>) -> Self {
        Self { status: "Success", message: message.into() }
    }

    pub(crate) fn failure(message: impl Into<String>) -> Self {
        Self { status: "Failure", message: message.into() }
    }

    pub(crate) fn not_supported(callout: &str) -> Self {
        Self { status: "Not supported", message: format!("{callout} not supported") }
    }

    /// The answer as one line of JSON, line end included.
    pub(crate) fn to_line(&self) -> String {
        let mut line = String::with_capacity(self.message.len() + 48);
        line.push_str("{\"status\":\"");
        line.push_str(self.status);
        line.push_str("\",\"message\":\"");
        escape(&mut line, &self.message[..self.message.floor_char_boundary(MAX_MESSAGE)]);
        line.push_str("\"}\n");
        line
    }
}

/// Appends `text` as the inside of a JSON string (RFC 8259 §7).
fn escape(line: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '"' | '\\' => line.extend(['\\', c]),
            '\n' => line.push_str("\\n"),
            '\t' => line.push_str("\\t"),
            // The two line separators are legal in JSON, but not one line to everybody.
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                // Writing to a String cannot fail.
                let _ = write!(line, "\\u{:04x}", u32::from(c));
            }
            c => line.push(c),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn parsed(line: &str) -> serde_json::Value {
        assert_eq!(line.find('\n'), Some(line.len() - 1), "one line: {line:?}");
        serde_json::from_str(line).unwrap()
    }

    #[test]
    fn any_message_comes_back_as_it_was() {
        let all: String = (0..=0x2100).filter_map(char::from_u32).chain("𝄞\"\\".chars()).collect();
        let chunks: Vec<char> = all.chars().collect();
        for chunk in chunks.chunks(1000) {
            let message: String = chunk.iter().collect();
            let answer = parsed(&DriverStatus::failure(message.clone()).to_line());
            assert_eq!(answer["message"], message.as_str());
            assert_eq!(answer["status"], "Failure");
        }
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let answer = parsed(&DriverStatus::success("é".repeat(10_000)).to_line());
        assert_eq!(answer["message"], "é".repeat(MAX_MESSAGE / 2));
        let answer = parsed(&DriverStatus::success(format!("x{}", "é".repeat(10_000))).to_line());
        assert_eq!(answer["message"].as_str().unwrap().len(), MAX_MESSAGE - 1);
    }

    #[test]
    fn init_is_one_line_of_json() {
        assert_eq!(parsed(INIT)["capabilities"]["attach"], false);
    }
}
