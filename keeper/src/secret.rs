//! Overwrites secrets when they are no longer held, wherever the wire types leave plain strings.

use std::fmt::{self, Debug, Formatter};
use std::fs::File;
use std::io::{self, Read as _};
use std::ops::Deref;

use csi_proto::keeper::v1::{Generation, Launch, Login, Reply, Request, Status, request};
use zeroize::{Zeroize as _, Zeroizing};

/// A message that carries secrets and can overwrite them.
pub trait Wipe {
    /// Overwrites the secrets with zeros and empties them.
    fn wipe(&mut self);
}

impl Wipe for Generation {
    fn wipe(&mut self) {
        self.token.zeroize();
        self.secret_key.zeroize();
        self.session_token.zeroize();
    }
}

impl Wipe for Login {
    fn wipe(&mut self) {
        self.jwt.zeroize();
    }
}

impl<T: Wipe> Wipe for Option<T> {
    fn wipe(&mut self) {
        if let Some(inner) = self {
            inner.wipe();
        }
    }
}

impl Wipe for Status {
    fn wipe(&mut self) {
        self.current.wipe();
        self.login.wipe();
    }
}

impl Wipe for Reply {
    fn wipe(&mut self) {
        self.status.wipe();
    }
}

impl Wipe for Launch {
    fn wipe(&mut self) {
        self.generation.wipe();
        self.login.wipe();
    }
}

impl Wipe for Request {
    fn wipe(&mut self) {
        match &mut self.call {
            Some(request::Call::SetGeneration(set)) => set.generation.wipe(),
            Some(request::Call::SetLogin(set)) => set.login.wipe(),
            Some(request::Call::Status(_) | request::Call::Watch(_) | request::Call::Shutdown(_)) | None => {}
        }
    }
}

/// A message whose secrets are overwritten when it is dropped.
pub struct Wiped<T: Wipe>(T);

impl<T: Wipe> Wiped<T> {
    /// Takes charge of `message`.
    pub const fn new(message: T) -> Self {
        Self(message)
    }

    /// Takes a part out of the message.
    pub fn take<P>(&mut self, part: impl FnOnce(&mut T) -> P) -> P {
        part(&mut self.0)
    }
}

impl<T: Wipe> Deref for Wiped<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Wipe> Drop for Wiped<T> {
    fn drop(&mut self) {
        self.0.wipe();
    }
}

impl<T: Wipe> Debug for Wiped<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("Wiped(..)")
    }
}

/// 256 random bits from the kernel, in hexadecimal.
///
/// # Errors
/// `/dev/urandom` cannot be read.
pub fn random_token() -> io::Result<Zeroizing<String>> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut bytes = Zeroizing::new([0_u8; 32]);
    File::open("/dev/urandom")?.read_exact(bytes.as_mut())?;
    let mut token = Zeroizing::new(String::with_capacity(64));
    for byte in bytes.iter() {
        token.push(DIGITS[usize::from(byte >> 4)].into());
        token.push(DIGITS[usize::from(byte & 15)].into());
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn a_wiped_status_holds_no_secret() {
        let generation = Generation {
            id: "g1".into(),
            token: "s.token".into(),
            secret_key: "sesame".into(),
            session_token: "session".into(),
            ..Generation::default()
        };
        let mut reply = Reply {
            status: Some(Status {
                current: Some(generation),
                login: Some(Login { jwt: "ey.jwt".into() }),
                ..Status::default()
            }),
            ..Reply::default()
        };
        reply.wipe();
        let status = reply.status.unwrap();
        let kept = Generation { id: "g1".into(), ..Generation::default() };
        assert_eq!((status.current, status.login), (Some(kept), Some(Login::default())));
    }

    #[test]
    fn tokens_are_256_bits_and_differ() {
        let (one, other) = (random_token().unwrap(), random_token().unwrap());
        assert_eq!(one.len(), 64);
        assert!(one.bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert_ne!(one, other);
    }
}
