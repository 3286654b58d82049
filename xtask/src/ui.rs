//! Colours and durations, for a terminal and for a log file.

use std::io::IsTerminal as _;
use std::time::Duration;

fn paint(code: &str, text: &str) -> String {
    // The same words go to either of the two; a log file must not get colours because the other is a terminal.
    let terminal = std::io::stderr().is_terminal() && std::io::stdout().is_terminal();
    let colours = terminal && std::env::var_os("NO_COLOR").is_none();
    if colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

pub(crate) fn red(text: &str) -> String {
    paint("1;31", text)
}

pub(crate) fn green(text: &str) -> String {
    paint("1;32", text)
}

pub(crate) fn bold(text: &str) -> String {
    paint("1", text)
}

/// `4.2 s`, `1 min 07 s`.
pub(crate) fn seconds(elapsed: Duration) -> String {
    let whole = elapsed.as_secs();
    if whole < 60 {
        format!("{:.1} s", elapsed.as_secs_f64())
    } else {
        format!("{} min {:02} s", whole / 60, whole % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        assert_eq!(seconds(Duration::from_millis(4_230)), "4.2 s");
        assert_eq!(seconds(Duration::from_secs(67)), "1 min 07 s");
    }
}
