//! Messages over a byte stream: four bytes of length (big-endian, without themselves), then the message.
//!
//! Both ends are blocking; time limits are the stream's (`SO_RCVTIMEO` and `SO_SNDTIMEO`). A stream that
//! has failed once is of no further use, because the position in it is lost.

use std::io::{self, Read, Write};

use prost::Message;

/// Longest message that may travel, in bytes: 4 MiB, what gRPC takes by default too.
pub const MAX_LEN: usize = 4 * 1024 * 1024;

const PREFIX_LEN: usize = 4;

/// Why no frame could be read or written. Says nothing about the content.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The other end closed the stream between two frames: how a conversation ends.
    #[error("the connection was closed before a frame began")]
    Closed,
    /// The other end closed the stream inside a frame.
    #[error("the connection was closed after {got} of {expected} bytes of a frame")]
    Truncated {
        /// Bytes that arrived, length prefix included.
        got: usize,
        /// Bytes that were announced, length prefix included.
        expected: usize,
    },
    /// The message is longer than [`MAX_LEN`].
    #[error("a frame of {0} bytes is over the limit of {MAX_LEN} bytes")]
    TooLong(usize),
    /// The bytes are not such a message.
    #[error("a frame could not be decoded: {0}")]
    Decode(#[from] prost::DecodeError),
    /// The stream failed or its time ran out.
    #[error("a frame could not be transferred: {0}")]
    Io(#[from] io::Error),
}

/// Writes one message and flushes. The frame goes out as a single write, so that the other end wakes up once.
///
/// # Errors
/// [`FrameError::TooLong`] before anything is written, or [`FrameError::Io`].
pub fn write<M: Message>(stream: &mut impl Write, message: &M) -> Result<(), FrameError> {
    let len = message.encoded_len();
    let prefix =
        u32::try_from(len).ok().filter(|_| len <= MAX_LEN).ok_or(FrameError::TooLong(len))?.to_be_bytes();
    let mut frame = Vec::with_capacity(PREFIX_LEN + len);
    frame.extend_from_slice(&prefix);
    message.encode_raw(&mut frame);
    stream.write_all(&frame)?;
    stream.flush()?;
    Ok(())
}

/// Reads one message and not a byte more.
///
/// # Errors
/// [`FrameError::Closed`] when the stream ends before the first byte; any other variant when it ends later,
/// announces more than [`MAX_LEN`], fails, or carries something else.
pub fn read<M: Message + Default>(stream: &mut impl Read) -> Result<M, FrameError> {
    let mut prefix = [0; PREFIX_LEN];
    let got = fill(stream, &mut prefix)?;
    match got {
        0 => return Err(FrameError::Closed),
        PREFIX_LEN => {}
        _ => return Err(FrameError::Truncated { got, expected: PREFIX_LEN }),
    }
    let len = usize::try_from(u32::from_be_bytes(prefix)).unwrap_or(usize::MAX);
    if len > MAX_LEN {
        return Err(FrameError::TooLong(len));
    }
    let mut body = vec![0; len];
    let got = fill(stream, &mut body)?;
    if got < len {
        return Err(FrameError::Truncated { got: PREFIX_LEN + got, expected: PREFIX_LEN + len });
    }
    Ok(M::decode(body.as_slice())?)
}

/// Reads until the buffer is full or the stream ends, and says how much came.
fn fill(stream: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut got = 0;
    while got < buffer.len() {
        match stream.read(&mut buffer[got..]) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}

#[cfg(test)]
mod tests;
