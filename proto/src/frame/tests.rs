#![allow(clippy::unwrap_used, reason = "a panic is a failed test")]

use std::io::Cursor;
use std::os::unix::net::UnixStream;

use super::*;
use crate::agent::v1::{MountRequest, Request, Response, Status, UnmountRequest, request::Call};
use crate::keeper::v1::Launch;

fn mount(options: usize) -> Request {
    let options_json = vec![b'x'; options];
    Request { call: Some(Call::Mount(MountRequest { target_path: "/t".into(), options_json })) }
}

fn framed(message: &impl Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut bytes, message).unwrap();
    bytes
}

/// Hands out one byte at a time and is interrupted before each.
struct Trickle<'a>(&'a [u8], bool);

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.1 = !self.1;
        if self.1 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let take = buffer.len().min(1);
        self.0.read(&mut buffer[..take])
    }
}

#[test]
fn layout_is_length_then_message() {
    let message = Response { status: Status::Success.into(), message: "ok".into() };
    assert_eq!(framed(&message), [0, 0, 0, 6, 0x08, 1, 0x12, 2, b'o', b'k']);
    assert_eq!(framed(&Response::default()), [0, 0, 0, 0]);
}

#[test]
fn frames_follow_each_other() {
    let unmount = Request { call: Some(Call::Unmount(UnmountRequest { target_path: "/u".into() })) };
    let mut bytes = framed(&mount(3));
    bytes.extend(framed(&Request::default()));
    bytes.extend(framed(&unmount));

    let mut whole = Cursor::new(bytes.clone());
    assert_eq!(read::<Request>(&mut whole).unwrap(), mount(3));
    assert_eq!(read::<Request>(&mut whole).unwrap(), Request::default());
    assert_eq!(read::<Request>(&mut whole).unwrap(), unmount);
    assert!(matches!(read::<Request>(&mut whole), Err(FrameError::Closed)));

    let mut trickle = Trickle(&bytes, false);
    assert_eq!(read::<Request>(&mut trickle).unwrap(), mount(3));
    assert_eq!(read::<Request>(&mut trickle).unwrap(), Request::default());
    assert_eq!(read::<Request>(&mut trickle).unwrap(), unmount);
    assert!(matches!(read::<Request>(&mut trickle), Err(FrameError::Closed)));
}

#[test]
fn every_cut_is_told_from_a_clean_end() {
    let bytes = framed(&mount(3));
    for cut in 1..bytes.len() {
        let expected_now = if cut < 4 { 4 } else { bytes.len() };
        match read::<Request>(&mut &bytes[..cut]) {
            Err(FrameError::Truncated { got, expected }) => assert_eq!((got, expected), (cut, expected_now)),
            other => panic!("cut at {cut}: {other:?}"),
        }
    }
}

#[test]
fn the_limit_holds_in_both_directions() {
    let overhead = mount(MAX_LEN).encoded_len() - MAX_LEN;
    let largest = mount(MAX_LEN - overhead);
    assert_eq!(largest.encoded_len(), MAX_LEN);
    assert_eq!(read::<Request>(&mut framed(&largest).as_slice()).unwrap(), largest);

    let mut sink = Vec::new();
    let error = write(&mut sink, &mount(MAX_LEN - overhead + 1)).unwrap_err();
    assert!(matches!(error, FrameError::TooLong(len) if len == MAX_LEN + 1), "{error}");
    assert!(sink.is_empty(), "nothing may be sent of a message that cannot be sent whole");

    for len in [MAX_LEN + 1, usize::try_from(u32::MAX).unwrap()] {
        // Nothing follows: the refusal must not wait for the body.
        let prefix = u32::try_from(len).unwrap().to_be_bytes();
        assert!(matches!(read::<Request>(&mut prefix.as_slice()), Err(FrameError::TooLong(n)) if n == len));
    }
}

#[test]
fn errors_of_the_stream_come_through() {
    let (mut ours, mut theirs) = UnixStream::pair().unwrap();
    ours.set_read_timeout(Some(std::time::Duration::from_millis(5))).unwrap();
    assert!(
        matches!(read::<Request>(&mut ours), Err(FrameError::Io(e)) if e.kind() == io::ErrorKind::WouldBlock)
    );
    write(&mut theirs, &mount(2)).unwrap();
    assert_eq!(read::<Request>(&mut ours).unwrap(), mount(2));
    drop(theirs);
    assert!(matches!(read::<Request>(&mut ours), Err(FrameError::Closed)));
    assert!(
        matches!(write(&mut ours, &mount(2)), Err(FrameError::Io(e)) if e.kind() == io::ErrorKind::BrokenPipe)
    );
}

#[test]
fn an_error_does_not_quote_the_content() {
    // Field 2 is bytes; announced longer than the frame is.
    let error =
        read::<MountRequest>(&mut [0, 0, 0, 8, 0x12, 99, b's', b'e', b'c', b'r', b'e', b't'].as_slice())
            .unwrap_err();
    assert!(matches!(error, FrameError::Decode(_)));
    assert!(!format!("{error} {error:?}").contains("secret"));
}

/// Whatever arrives, reading ends with a message or an error.
#[test]
fn random_bytes_never_panic() {
    // xorshift64*: the same bytes in every run.
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = move || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_F491_4F6C_DD1D)
    };
    let (mut messages, mut errors) = (0, 0);
    for round in 0..20_000 {
        let len = usize::try_from(next() % 64).unwrap();
        let mut bytes: Vec<u8> = (0..len).map(|_| next().to_le_bytes()[0]).collect();
        // Mostly with an honest prefix, so that decoding is reached; sometimes with bytes flipped in a real one.
        match round % 4 {
            0 => {}
            1 | 2 => {
                let prefix = u32::try_from(len).unwrap().to_be_bytes();
                bytes.splice(0..0, prefix);
            }
            _ => {
                bytes = framed(&mount(len));
                let at = usize::try_from(next()).unwrap() % bytes.len();
                bytes[at] ^= next().to_le_bytes()[0];
            }
        }
        for outcome in [
            read::<Request>(&mut bytes.as_slice()).map(drop),
            read::<Launch>(&mut bytes.as_slice()).map(drop),
        ] {
            match outcome {
                Ok(()) => messages += 1,
                Err(_) => errors += 1,
            }
        }
    }
    assert!(messages > 100 && errors > 100, "one-sided: {messages} messages, {errors} errors");
}
