//! The encryption of admin request and reply bodies.
//!
//! A sealed body is `salt(32) ‖ algorithm(1) ‖ nonce(8) ‖ fragments`. The key is derived from the
//! caller's secret key and the salt. Each fragment holds 16384 bytes of plaintext (the last one
//! fewer, or the same) and its tag. A fragment's nonce is `nonce ‖ LE32(sequence)`, counted from 1;
//! its associated data is a flag, `0x80` on the last fragment and `0` before, followed by the tag of
//! an empty message sealed with sequence 0. Source of the format: `EncryptData` in MinIO's admin
//! client library and the `sio-go` stream it uses, checked with the vectors in this module's tests.
//!
//! # Which algorithm
//!
//! Argon2id costs 64 MiB and some 30 ms on either side for every message, PBKDF2 with its 8192
//! rounds about 1 ms. The slow derivation protects nothing here: the same HTTP request
//! carries a SigV4 signature, and a listener who wants to guess the secret key tries his guesses
//! on that, at five HMACs a guess. What protects the secret key on plain HTTP is its entropy
//! (40 random characters as MinIO makes them), with any of the three algorithms; TLS protects it
//! whatever it is. Servers of 2020 may know only the two with Argon2id.

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce};
use chacha20poly1305::ChaCha20Poly1305;
use sha2::Sha256;
use zeroize::Zeroizing;

const SALT: usize = 32;
const NONCE: usize = 8;
const HEADER: usize = SALT + 1 + NONCE;
const TAG: usize = 16;
const FRAGMENT: usize = 16 * 1024;

const ARGON2_KIB: u32 = 64 * 1024;
const ARGON2_PASSES: u32 = 1;
const ARGON2_LANES: u32 = 4;
const PBKDF2_ROUNDS: u32 = 8192;

/// How a body is sealed: key derivation and cipher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// Argon2id (1 pass, 64 MiB, 4 lanes) and AES-256-GCM. Every server knows it.
    Argon2idAesGcm,
    /// Argon2id and ChaCha20-Poly1305, for machines without AES instructions. Every server knows it.
    Argon2idChaCha20Poly1305,
    /// PBKDF2-HMAC-SHA256 (8192 rounds) and AES-256-GCM, meant for FIPS builds.
    Pbkdf2AesGcm,
}

impl Algorithm {
    /// The byte that names this algorithm in a sealed body.
    #[must_use]
    pub const fn id(self) -> u8 {
        match self {
            Self::Argon2idAesGcm => 0,
            Self::Argon2idChaCha20Poly1305 => 1,
            Self::Pbkdf2AesGcm => 2,
        }
    }

    /// Whether a derivation takes 64 MiB.
    #[must_use]
    pub const fn is_heavy(self) -> bool {
        matches!(self, Self::Argon2idAesGcm | Self::Argon2idChaCha20Poly1305)
    }

    const fn from_id(id: u8) -> Option<Self> {
        match id {
            0 => Some(Self::Argon2idAesGcm),
            1 => Some(Self::Argon2idChaCha20Poly1305),
            2 => Some(Self::Pbkdf2AesGcm),
            _ => None,
        }
    }
}

/// Why a body could not be sealed or opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Too short to hold a header and one fragment.
    #[error("the sealed body has {0} bytes, too few to be one")]
    Short(usize),
    /// The algorithm byte is none of the three.
    #[error("the body is sealed with algorithm {0}, which is unknown")]
    UnknownAlgorithm(u8),
    /// Wrong password, or changed, cut or extended on the way.
    #[error("the body does not open with this secret key, or was changed on the way")]
    NotAuthentic,
    /// The key derivation or the cipher refused its input (a password or message of gigabytes).
    #[error("cannot seal the body: {0}")]
    Refused(&'static str),
}

/// The algorithm a sealed body was made with, without opening it.
///
/// # Errors
/// [`BodyError::Short`] and [`BodyError::UnknownAlgorithm`].
pub fn algorithm_of(sealed: &[u8]) -> Result<Algorithm, BodyError> {
    if sealed.len() < HEADER + TAG {
        return Err(BodyError::Short(sealed.len()));
    }
    Algorithm::from_id(sealed[SALT]).ok_or(BodyError::UnknownAlgorithm(sealed[SALT]))
}

/// Seals `plaintext` under `password`, with a salt and nonce of its own.
///
/// Runs for about 1 ms (PBKDF2) or 30 ms (Argon2id, with 64 MiB): not for the thread of an executor.
///
/// # Errors
/// [`BodyError::Refused`] for absurd sizes.
pub fn seal(password: &[u8], algorithm: Algorithm, plaintext: &[u8]) -> Result<Vec<u8>, BodyError> {
    seal_with(password, algorithm, rand::random(), rand::random(), plaintext)
}

fn seal_with(
    password: &[u8],
    algorithm: Algorithm,
    salt: [u8; SALT],
    nonce: [u8; NONCE],
    plaintext: &[u8],
) -> Result<Vec<u8>, BodyError> {
    let stream = Stream::new(password, algorithm, &salt, nonce)?;
    let fragments = plaintext.len().div_ceil(FRAGMENT).max(1);
    let mut out = Vec::with_capacity(HEADER + plaintext.len() + fragments * TAG);
    out.extend_from_slice(&salt);
    out.push(algorithm.id());
    out.extend_from_slice(&nonce);
    for sequence in 1..=fragments {
        let from = (sequence - 1) * FRAGMENT;
        let to = plaintext.len().min(from + FRAGMENT);
        let start = out.len();
        out.extend_from_slice(&plaintext[from..to]);
        let tag = stream.seal(sequence, sequence == fragments, &mut out[start..])?;
        out.extend_from_slice(&tag);
    }
    Ok(out)
}

/// Opens what [`seal`], or a MinIO server, made.
///
/// As slow as [`seal`]; which derivation it takes is the sender's choice ([`algorithm_of`]).
///
/// # Errors
/// [`BodyError`]: not a sealed body, or not with this password, or not as it was sent.
pub fn open(password: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, BodyError> {
    let algorithm = algorithm_of(sealed)?;
    let (header, fragments) = sealed.split_at(HEADER);
    let (salt, nonce) = (&header[..SALT], &header[SALT + 1..]);
    let nonce = nonce.try_into().map_err(|_| BodyError::Short(sealed.len()))?;
    let stream = Stream::new(password, algorithm, salt, nonce)?;
    let count = fragments.len().div_ceil(FRAGMENT + TAG);
    let mut plain = Zeroizing::new(Vec::with_capacity(fragments.len()));
    for (index, fragment) in fragments.chunks(FRAGMENT + TAG).enumerate() {
        let (text, tag) = fragment.split_last_chunk::<TAG>().ok_or(BodyError::NotAuthentic)?;
        let start = plain.len();
        plain.extend_from_slice(text);
        stream.open(index + 1, index + 1 == count, &mut plain[start..], tag)?;
    }
    Ok(plain)
}

enum Cipher {
    Aes(Box<Aes256Gcm>),
    ChaCha(Box<ChaCha20Poly1305>),
}

/// The cipher of one message, with what ties its fragments together.
struct Stream {
    cipher: Cipher,
    nonce: [u8; NONCE],
    /// Tag of the empty message number 0: part of every fragment's associated data.
    root: [u8; TAG],
}

impl Stream {
    fn new(
        password: &[u8],
        algorithm: Algorithm,
        salt: &[u8],
        nonce: [u8; NONCE],
    ) -> Result<Self, BodyError> {
        let key = derive(password, algorithm, salt)?;
        let cipher = match algorithm {
            Algorithm::Argon2idChaCha20Poly1305 => {
                Cipher::ChaCha(Box::new(ChaCha20Poly1305::new((&*key).into())))
            }
            Algorithm::Argon2idAesGcm | Algorithm::Pbkdf2AesGcm => {
                Cipher::Aes(Box::new(Aes256Gcm::new((&*key).into())))
            }
        };
        let mut stream = Self { cipher, nonce, root: [0; TAG] };
        stream.root = stream.seal_raw(0, &[], &mut [])?;
        Ok(stream)
    }

    fn seal(&self, sequence: usize, last: bool, text: &mut [u8]) -> Result<[u8; TAG], BodyError> {
        self.seal_raw(sequence, &self.associated(last), text)
    }

    fn seal_raw(&self, sequence: usize, ad: &[u8], text: &mut [u8]) -> Result<[u8; TAG], BodyError> {
        let nonce = self.nonce(sequence)?;
        let tag = match &self.cipher {
            Cipher::Aes(cipher) => cipher.encrypt_inout_detached(&nonce, ad, text.into()),
            Cipher::ChaCha(cipher) => cipher.encrypt_inout_detached(&nonce, ad, text.into()),
        };
        tag.map(Into::into).map_err(|_| BodyError::Refused("the message is too long"))
    }

    fn open(&self, sequence: usize, last: bool, text: &mut [u8], tag: &[u8; TAG]) -> Result<(), BodyError> {
        let (nonce, ad) = (self.nonce(sequence)?, self.associated(last));
        match &self.cipher {
            Cipher::Aes(cipher) => cipher.decrypt_inout_detached(&nonce, &ad, text.into(), tag.into()),
            Cipher::ChaCha(cipher) => cipher.decrypt_inout_detached(&nonce, &ad, text.into(), tag.into()),
        }
        .map_err(|_| BodyError::NotAuthentic)
    }

    fn associated(&self, last: bool) -> [u8; 1 + TAG] {
        let mut ad = [0; 1 + TAG];
        ad[0] = if last { 0x80 } else { 0 };
        ad[1..].copy_from_slice(&self.root);
        ad
    }

    fn nonce(&self, sequence: usize) -> Result<Nonce<aes_gcm::aead::consts::U12>, BodyError> {
        let sequence = u32::try_from(sequence).map_err(|_| BodyError::Refused("the message is too long"))?;
        let mut nonce = [0; NONCE + 4];
        nonce[..NONCE].copy_from_slice(&self.nonce);
        nonce[NONCE..].copy_from_slice(&sequence.to_le_bytes());
        Ok(nonce.into())
    }
}

fn derive(password: &[u8], algorithm: Algorithm, salt: &[u8]) -> Result<Zeroizing<[u8; 32]>, BodyError> {
    let mut key = Zeroizing::new([0; 32]);
    if algorithm.is_heavy() {
        let refused = |_| BodyError::Refused("the secret key is too long");
        let params =
            argon2::Params::new(ARGON2_KIB, ARGON2_PASSES, ARGON2_LANES, Some(key.len())).map_err(refused)?;
        argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params)
            .hash_password_into(password, salt, &mut *key)
            .map_err(refused)?;
    } else {
        pbkdf2::pbkdf2_hmac::<Sha256>(password, salt, PBKDF2_ROUNDS, &mut *key);
    }
    Ok(key)
}

#[cfg(test)]
#[path = "body_tests.rs"]
mod tests;
