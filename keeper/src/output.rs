//! The last lines a FUSE daemon wrote, for the error message when it dies.

use std::io::{ErrorKind, Read};
use std::sync::{Mutex, PoisonError};

use crate::latch::Latch;

/// How many bytes of output are kept.
pub const KEPT: usize = 4096;

/// The end of what was written so far.
#[derive(Debug, Default)]
pub struct Tail {
    bytes: Vec<u8>,
    cut: bool,
}

impl Tail {
    /// Adds `bytes`, forgetting the oldest beyond [`KEPT`].
    pub fn push(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(KEPT)..];
        let over = (self.bytes.len() + bytes.len()).saturating_sub(KEPT);
        self.cut |= over > 0;
        self.bytes.drain(..over);
        self.bytes.extend_from_slice(bytes);
    }

    /// The text, at most [`KEPT`] bytes of it, without a first line that has lost its beginning and without
    /// `secrets`.
    #[must_use]
    pub fn text(&self, secrets: &[&str]) -> String {
        let mut bytes = &self.bytes[..];
        if self.cut
            && let Some(end) = bytes.iter().position(|&byte| byte == b'\n')
            && end + 1 < bytes.len()
        {
            bytes = &bytes[end + 1..];
        }
        let mut text = String::from_utf8_lossy(bytes).into_owned();
        for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
            text = text.replace(secret, "[redacted]");
        }
        // Replacement characters are longer than the bytes they replace.
        let mut start = text.len().saturating_sub(KEPT);
        while !text.is_char_boundary(start) {
            start += 1;
        }
        text.split_off(start)
    }
}

/// A [`Tail`] that a thread fills.
#[derive(Debug)]
pub struct Output {
    tail: Mutex<Tail>,
    /// Tripped when the last writer of the pipe is gone.
    pub ended: Latch,
}

impl Output {
    /// Nothing written yet.
    ///
    /// # Errors
    /// The latch's pipe cannot be made.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self { tail: Mutex::default(), ended: Latch::new()? })
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

    /// As [`Tail::text`].
    #[must_use]
    pub fn text(&self, secrets: &[&str]) -> String {
        self.lock().text(secrets)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_whole_lines_are_kept() {
        let mut tail = Tail::default();
        tail.push(b"short\n");
        assert_eq!(tail.text(&[]), "short\n");
        for line in 0..1000 {
            tail.push(format!("line {line:05}\n").as_bytes());
        }
        let text = tail.text(&[]);
        assert!(text.len() <= KEPT && text.len() > KEPT - 20, "{}", text.len());
        assert!(text.starts_with("line ") && text.ends_with("line 00999\n"), "{text}");
        tail.push(&[b'x'; 3 * KEPT]);
        assert_eq!(tail.text(&[]), "x".repeat(KEPT));
    }

    #[test]
    fn bytes_that_are_no_text_stay_within_the_limit() {
        let mut tail = Tail::default();
        tail.push(&[0xff; KEPT]);
        let text = tail.text(&[]);
        assert!(text.len() <= KEPT && text.chars().all(|c| c == '\u{fffd}'));
    }

    #[test]
    fn secrets_are_left_out() {
        let mut tail = Tail::default();
        tail.push(b"Authorization: 0123abcd; again 0123abcd\n");
        assert_eq!(tail.text(&["", "0123abcd"]), "Authorization: [redacted]; again [redacted]\n");
    }
}
