//! Files that are checked in and must be what is made now.

use std::fs;
use std::path::Path;

/// Fails when `path` does not hold `made`, naming the first line that differs; writes it with `BLESS=1`.
pub(crate) fn check(path: &Path, made: &str) {
    if std::env::var_os("BLESS").is_some_and(|value| value == "1") {
        fs::write(path, made).unwrap();
        return;
    }
    let golden = fs::read_to_string(path).unwrap_or_default();
    if let Some(difference) = difference(&golden, made) {
        panic!("{}: {difference}\n`BLESS=1` before the command writes it anew", path.display());
    }
}

fn difference(golden: &str, made: &str) -> Option<String> {
    if golden == made {
        return None;
    }
    let end = "<end of file>";
    let line = |text: &str, at: usize| text.lines().nth(at).unwrap_or(end).to_owned();
    let at = golden.lines().zip(made.lines()).take_while(|(one, other)| one == other).count();
    Some(format!("line {}:\n  checked in: {}\n  made now:   {}", at + 1, line(golden, at), line(made, at)))
}

#[test]
fn the_first_line_that_differs_is_named() {
    assert_eq!(difference("a\nb\n", "a\nb\n"), None);
    let text = difference("a\nb\n", "a\nc\n").unwrap();
    assert!(
        text.contains("line 2") && text.contains("checked in: b") && text.contains("made now:   c"),
        "{text}"
    );
    assert!(difference("a\n", "a\nc\n").unwrap().contains("<end of file>"));
}
