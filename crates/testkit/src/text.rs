//! Small helpers for messages.

use std::process::Command;

/// The last `lines` lines, each indented.
pub(crate) fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    let from = all.len().saturating_sub(lines);
    let tail: Vec<String> = all[from..].iter().map(|line| format!("    {line}")).collect();
    if tail.is_empty() { "    (it said nothing)".to_owned() } else { tail.join("\n") }
}

/// Program and arguments, as one would type them (for reading, not for a shell).
pub(crate) fn command_line(command: &Command) -> String {
    let mut line = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_is_the_end() {
        assert_eq!(tail("a\nb\nc\n", 2), "    b\n    c");
        assert_eq!(tail("", 2), "    (it said nothing)");
    }
}
