//! The last lines a FUSE daemon wrote, for the error message when it dies.
//!
//! A Go program that crashes says why and then writes the stacks of all its goroutines, far more than is kept: of such
//! a one the first lines are kept too.

use std::io::{ErrorKind, Read};
use std::sync::{Mutex, PoisonError};

use csi_proto::keeper::is_cause;

use crate::latch::Latch;

/// How many bytes of output are kept.
pub const KEPT: usize = 4096;

/// How many of them, from the cause of a crash on, later output does not displace.
const HEAD: usize = 1024;

/// Stands where output was forgotten after the cause of a crash.
const GAP: &[u8] = b"\n...\n";

/// What is kept of what was written so far.
#[derive(Debug, Default)]
pub struct Excerpt {
    bytes: Vec<u8>,
    /// How many of the first bytes stay; 0 until a cause is found, with which they then begin.
    head: usize,
    /// Whether bytes behind these were forgotten.
    cut: bool,
}

impl Excerpt {
    /// Adds `bytes`, forgetting the oldest beyond [`KEPT`] that need not stay.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        if self.head == 0
            && let Some(start) = self.cause()
        {
            self.bytes.drain(..start);
            (self.head, self.cut) = (HEAD, false);
        }
        let over = self.bytes.len().saturating_sub(KEPT);
        if over > 0 {
            self.cut = true;
            self.bytes.drain(self.head..self.head + over);
        }
    }

    /// The text, at most [`KEPT`] bytes of it, without lines that have lost a part and without `secrets`.
    #[must_use]
    pub fn text(&self, secrets: &[&str]) -> String {
        let (mut head, mut gap) = (&self.bytes[..self.head.min(self.bytes.len())], &b""[..]);
        let rest = &self.bytes[self.resumed()..];
        if self.cut && self.head > 0 {
            head = &head[..head.iter().rposition(|&byte| byte == b'\n').unwrap_or(0)];
            gap = GAP;
        }
        let mut text = String::from_utf8_lossy(&[head, gap, rest].concat()).into_owned();
        for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
            text = text.replace(secret, "[redacted]");
        }
        // Replacements may be longer than what they replace.
        let over = text.len().saturating_sub(KEPT);
        if over > 0 {
            let start = text.floor_char_boundary(self.head);
            text.drain(start..text.ceil_char_boundary(start + over));
        }
        text
    }

    /// Where the first whole line begins that names the cause of a crash.
    fn cause(&self) -> Option<usize> {
        let mut start = 0;
        for line in self.bytes.split_inclusive(|&byte| byte == b'\n') {
            let whole = start > 0 || !self.cut;
            if whole && is_cause(line) {
                return Some(start);
            }
            start += line.len();
        }
        None
    }

    /// Where the first whole line behind the head begins; where the head ends if there is none.
    fn resumed(&self) -> usize {
        let head = self.head.min(self.bytes.len());
        let lost = self.bytes[head..].iter().position(|&byte| byte == b'\n').filter(|_| self.cut);
        lost.map(|end| head + end + 1).filter(|&start| start < self.bytes.len()).unwrap_or(head)
    }
}

/// An [`Excerpt`] that a thread fills.
#[derive(Debug)]
pub struct Output {
    excerpt: Mutex<Excerpt>,
    /// Tripped when the last writer of the pipe is gone.
    pub ended: Latch,
}

impl Output {
    /// Nothing written yet.
    ///
    /// # Errors
    /// The latch's pipe cannot be made.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self { excerpt: Mutex::default(), ended: Latch::new()? })
    }

    /// Reads `pipe` to its end.
    pub fn follow(&self, mut pipe: impl Read) {
        let mut buffer = [0; 1024];
        loop {
            match pipe.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => self.lock().push(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        self.ended.trip();
    }

    /// As [`Excerpt::text`].
    #[must_use]
    pub fn text(&self, secrets: &[&str]) -> String {
        self.lock().text(secrets)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Excerpt> {
        self.excerpt.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_whole_lines_are_kept() {
        let mut excerpt = Excerpt::default();
        excerpt.push(b"short\n");
        assert_eq!(excerpt.text(&[]), "short\n");
        for line in 0..1000 {
            excerpt.push(format!("line {line:05}\n").as_bytes());
        }
        let text = excerpt.text(&[]);
        assert!(text.len() <= KEPT && text.len() > KEPT - 20, "{}", text.len());
        assert!(text.starts_with("line ") && text.ends_with("line 00999\n"), "{text}");
        excerpt.push(&[b'x'; 3 * KEPT]);
        assert_eq!(excerpt.text(&[]), "x".repeat(KEPT));
    }

    #[test]
    fn bytes_that_are_no_text_stay_within_the_limit() {
        let mut excerpt = Excerpt::default();
        excerpt.push(&[0xff; KEPT]);
        let text = excerpt.text(&[]);
        assert!(text.len() <= KEPT && text.chars().all(|c| c == '\u{fffd}'));
    }

    /// Written by a Go program that may not have another thread; shortened.
    const CRASH: &str = "\
2026/11/27 07:00:00.000000 main.INFO File system has been successfully mounted.
runtime: failed to create new OS thread (have 10 already; errno=11)
runtime: may need to increase max user processes (ulimit -u)
fatal error: newosproc

runtime stack:
runtime.throw({0x4c5180?, 0x1597a6e59ef8?})
\t/usr/local/go/src/runtime/panic.go:1229 +0x48 fp=0x1597a6e59ed0 sp=0x1597a6e59ea0 pc=0x4796e8
runtime.newosproc(0x1597a6e47008)
\t/usr/local/go/src/runtime/os_linux.go:199 +0x165 fp=0x1597a6e59f40 sp=0x1597a6e59ed0 pc=0x4433a5
runtime.newm1(0x1597a6e47008)
\t/usr/local/go/src/runtime/proc.go:2927 +0xbf fp=0x1597a6e59f80 sp=0x1597a6e59f40 pc=0x44dd3f
runtime.mstart()
\t/usr/local/go/src/runtime/asm_amd64.s:426 +0xc fp=0x1597a6e5a000 sp=0x1597a6e59ff8 pc=0x47da0c
";
    const STACK: &str = "
goroutine 34 gp=0x1597a6e46780 m=5 mp=0x1597a6e46808 [sleep, locked to thread]:
runtime.gopark(0x2a7af86f6a6e?, 0x1597a6e3b768?, 0xe5?, 0x48?, 0x0?)
\t/usr/local/go/src/runtime/proc.go:462 +0xce fp=0x1597a6e3b750 sp=0x1597a6e3b730 pc=0x4797ce
runtime.goexit({})
\t/usr/local/go/src/runtime/asm_amd64.s:1771 +0x1 fp=0x1597a6e3dfe8 sp=0x1597a6e3dfe0 pc=0x47f561
created by main.main in goroutine 1
";

    #[test]
    fn a_crash_is_kept_from_its_cause_on() {
        let written = format!("{}{CRASH}{}", "a line\n".repeat(1000), STACK.repeat(40));
        for pieces in [1, 7, 1024, written.len()] {
            let mut excerpt = Excerpt::default();
            for piece in written.as_bytes().chunks(pieces) {
                excerpt.push(piece);
                assert!(excerpt.bytes.len() <= KEPT && excerpt.text(&[]).len() <= KEPT);
            }
            let text = excerpt.text(&[]);
            assert!(text.starts_with("runtime: failed to create new OS thread (have 10"), "{text}");
            assert!(text.ends_with(STACK) && text.len() > KEPT - 300, "{text}");
            let lines = || written.lines().chain(["..."]);
            assert!(text.lines().all(|line| lines().any(|whole| whole == line)), "{text}");
            assert_eq!(text.lines().filter(|line| *line == "...").count(), 1, "{text}");
        }
    }

    #[test]
    fn a_short_crash_is_kept_whole() {
        let mut excerpt = Excerpt::default();
        excerpt.push(b"starting up\npanic: out of oars\n");
        assert_eq!(excerpt.text(&[]), "panic: out of oars\n");
        excerpt.push(b"\ngoroutine 1 [running]:\n");
        assert_eq!(excerpt.text(&[]), "panic: out of oars\n\ngoroutine 1 [running]:\n");
        excerpt.push(&[0xff; 2 * KEPT]);
        let text = excerpt.text(&["out of oars"]);
        assert!(text.starts_with("panic: [redacted]\n\ngoroutine 1") && text.len() <= KEPT, "{text}");
    }

    #[test]
    fn only_the_beginning_of_a_line_names_a_cause() {
        let mut excerpt = Excerpt::default();
        excerpt.push(b"http: panic: a line of a log\nruntime.main()\n");
        // Cut in front of the word.
        excerpt.push(&[b'x'; KEPT]);
        excerpt.push(b"panic: ");
        excerpt.push(&[b'y'; KEPT - 7]);
        assert!(excerpt.text(&[]).starts_with("panic: yyy") && excerpt.head == 0);
        excerpt.push(b"\n");
        assert_eq!(excerpt.head, 0);
    }

    #[test]
    fn secrets_are_left_out() {
        let mut excerpt = Excerpt::default();
        excerpt.push(b"Authorization: 0123abcd; again 0123abcd\n");
        assert_eq!(excerpt.text(&["", "0123abcd"]), "Authorization: [redacted]; again [redacted]\n");
    }
}
