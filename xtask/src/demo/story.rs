//! How the demonstration is told: acts, what was called, what came back, what was measured.

use super::claims::Claims;
use crate::ui;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Columns of running text.
const WIDTH: usize = 100;

/// Writes the story and records its claims.
pub(super) struct Story {
    claims: Claims,
    began: Instant,
    paused: Duration,
    act_began: Instant,
    number: usize,
    /// What is written as `$D`.
    directory: Option<PathBuf>,
}

impl Story {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self {
            claims: Claims::default(),
            began: now,
            paused: Duration::ZERO,
            act_began: now,
            number: 0,
            directory: None,
        }
    }

    /// Since it began, without the pauses.
    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed().saturating_sub(self.paused)
    }

    /// Waits without counting the time.
    pub(super) async fn pause(&mut self, wait: impl Future<Output = ()>) {
        let began = Instant::now();
        wait.await;
        self.paused += began.elapsed();
    }

    /// From now on this directory is written as `$D`.
    pub(super) fn shorten(&mut self, directory: &Path) {
        self.directory = Some(directory.to_owned());
    }

    /// Text with the long directory shortened.
    pub(super) fn short(&self, text: &str) -> String {
        match &self.directory {
            Some(directory) => text.replace(&*directory.to_string_lossy(), "$D"),
            None => text.to_owned(),
        }
    }

    /// One line as it is.
    #[allow(clippy::unused_self, reason = "everything that is told goes through the story")]
    pub(super) fn line(&self, text: &str) {
        // A reader who has gone (a closed pipe or terminal) is no reason to stop before everything is removed.
        let _ = writeln!(std::io::stdout(), "{text}");
    }

    /// What comes before the acts.
    pub(super) fn prologue(&mut self, title: &str) {
        self.act_began = Instant::now();
        self.claims.begin(title);
        self.line(&format!("\n{}", ui::bold(title)));
    }

    /// The next act begins.
    pub(super) fn act(&mut self, title: &str, about: &str) {
        self.number += 1;
        self.act_began = Instant::now();
        self.claims.begin(&format!("{}. {title}", self.number));
        let head = format!("{}. {title} ", self.number);
        let rule = "=".repeat(WIDTH.saturating_sub(head.chars().count()));
        self.line(&format!("\n{}{rule}\n", ui::bold(&head)));
        self.say(about);
    }

    /// A paragraph.
    pub(super) fn say(&self, text: &str) {
        for line in wrap(&self.short(text), WIDTH - 2) {
            self.line(&format!("  {line}"));
        }
        self.line("");
    }

    /// Something typed or called; `details` are its interesting arguments.
    pub(super) fn call(&self, what: &str, details: &[(&str, &str)]) {
        for (index, line) in wrap(&self.short(what), WIDTH - 6).into_iter().enumerate() {
            let mark = if index == 0 { ">" } else { " " };
            self.line(&format!("  {mark} {line}"));
        }
        let width = details.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, value) in details {
            self.line(&format!("      {name:width$}  {}", self.short(value)));
        }
    }

    /// What came back.
    pub(super) fn answer(&self, text: &str) {
        for (index, line) in wrap(&self.short(text), WIDTH - 6).into_iter().enumerate() {
            let mark = if index == 0 { "<" } else { " " };
            self.line(&format!("  {mark} {line}"));
        }
    }

    /// A measured statement. Answers whether it holds.
    pub(super) fn claim(&mut self, holds: bool, text: &str) -> bool {
        let text = self.short(text);
        let mark = if holds { ui::green("✓") } else { ui::red("✗") };
        for (index, line) in wrap(&text, WIDTH - 4).into_iter().enumerate() {
            if index == 0 {
                self.line(&format!("  {mark} {line}"));
            } else {
                self.line(&format!("    {line}"));
            }
        }
        self.claims.note(holds, &text);
        holds
    }

    /// The act is over.
    pub(super) fn end_act(&mut self) {
        let took = self.act_began.elapsed();
        self.claims.took(took);
        self.line(&format!("    ({})", brief(took)));
    }

    /// The table at the end. Answers how many claims do not hold.
    pub(super) fn summarise(&self) -> usize {
        self.line(&format!("\n{}", ui::bold("What was claimed")));
        for act in self.claims.acts() {
            let held = act.claims.iter().filter(|claim| claim.holds).count();
            let mark = if held == act.claims.len() { ui::green("✓") } else { ui::red("✗") };
            let took = if act.took.is_zero() { String::new() } else { ui::seconds(act.took) };
            let held =
                if act.claims.is_empty() { String::new() } else { format!("{held} of {}", act.claims.len()) };
            self.line(format!("  {mark} {:58} {held:>7} {took:>12}", act.title).trim_end());
        }
        let (count, broken) = self.claims.verdict();
        for claim in &broken {
            self.line(&format!("  {} {}", ui::red("false:"), claim.text));
        }
        let verdict = if broken.is_empty() {
            ui::green(&format!("all {count} claims hold"))
        } else {
            ui::red(&format!("{} of {count} claims are false", broken.len()))
        };
        self.line(&format!("  {verdict}, {} without the building of programs", ui::seconds(self.elapsed())));
        broken.len()
    }
}

/// `12 ms`, `1.24 s`, then as [`ui::seconds`].
pub(super) fn brief(time: Duration) -> String {
    match time.as_millis() {
        0..1000 => format!("{} ms", time.as_millis()),
        1000..10_000 => format!("{:.2} s", time.as_secs_f64()),
        _ => ui::seconds(time),
    }
}

/// `12 345`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// Breaks at spaces, and after commas where a word alone is too long (JSON).
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let words = text.split(' ').flat_map(|word| {
        let mut pieces: Vec<&str> =
            if word.chars().count() > width { word.split_inclusive(',').collect() } else { vec![word] };
        let last = pieces.pop().unwrap_or_default();
        pieces.into_iter().map(|piece| (piece, "")).chain([(last, " ")])
    });
    let mut glue = "";
    for (piece, after) in words {
        let line = lines.last().map_or(0, |line| line.chars().count());
        if line > 0 && line + glue.len() + piece.chars().count() > width {
            lines.push(String::new());
            glue = "";
        }
        if let Some(line) = lines.last_mut() {
            line.push_str(glue);
            line.push_str(piece);
        }
        glue = after;
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_broken_where_it_may_be() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("x {\"a\":1,\"b\":2}", 8), ["x", "{\"a\":1,", "\"b\":2}"]);
        assert_eq!(wrap("", 7), [""]);
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!([count(7), count(1234), count(1_234_567)], ["7", "1 234", "1 234 567"]);
        assert_eq!(brief(Duration::from_millis(212)), "212 ms");
        assert_eq!(brief(Duration::from_millis(1240)), "1.24 s");
    }
}
