#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use proptest::prelude::*;
use sha2::Digest;

use super::*;

const PASSWORD: &[u8] = b"minioadmin";
const TEXT27: &[u8] = br#"{"secretKey":"x","status":""}"#.split_at(27).0;

fn sealed(algorithm: Algorithm, plaintext: &[u8]) -> Vec<u8> {
    let salt = std::array::from_fn(|i| u8::try_from(i).unwrap());
    let nonce = std::array::from_fn(|i| 0xa0 + u8::try_from(i).unwrap());
    let message = seal_with(PASSWORD, algorithm, salt, nonce, plaintext).unwrap();
    assert_eq!(*open(PASSWORD, &message).unwrap(), plaintext, "what was sealed opens again");
    message
}

fn data(len: usize) -> Vec<u8> {
    (0..len).map(|i| u8::try_from((7 * i + 3) % 256).unwrap()).collect()
}

fn body(algorithm: Algorithm, plaintext: &[u8]) -> String {
    hex::encode(&sealed(algorithm, plaintext)[HEADER..])
}

fn digest(algorithm: Algorithm, len: usize) -> String {
    hex::encode(Sha256::digest(sealed(algorithm, &data(len))))
}

// The expected values were made by MinIO's own client library (Go), with the password `minioadmin`,
// the salt 00..1f and the nonce a0..a7.

#[test]
fn argon2id_aes_gcm_equals_the_go_library() {
    let algorithm = Algorithm::Argon2idAesGcm;
    assert_eq!(body(algorithm, b""), "090523917ba685b6eedee37fbbd32140");
    assert_eq!(
        body(algorithm, TEXT27),
        "1395e886b639e978df4861394f6484bc0b11b03e112a7f970561287c713ee3acd57f09b91e33ce86c3f7ad"
    );
    assert_eq!(digest(algorithm, 16384), "5fcf3432be6ce7f4082e8691a623fe9a24d87b4ca0af7c45eabb575f131707a6");
    assert_eq!(digest(algorithm, 16385), "18d10d8a9e5bef0d8c80a35c4a33fe9062a489a9813ae64c0c11f4237ababffe");
    assert_eq!(digest(algorithm, 40000), "1afdb1a7a14c9085b3fabaac829809a6cdaa22c75607dd8109d6efb655c81165");
    assert_eq!(sealed(algorithm, &data(40000)).len(), 40089);
}

#[test]
fn argon2id_chacha20_equals_the_go_library() {
    let algorithm = Algorithm::Argon2idChaCha20Poly1305;
    assert_eq!(body(algorithm, b""), "d7c53adc44ad69a1a354f20fe17a8089");
    assert_eq!(
        body(algorithm, TEXT27),
        "19520afa7e34f0aa18db3b2ca55db461d8e03c36a5b11f887c4ecc7dee8c32ee2c3e7dd3842813c756fb8d"
    );
    assert_eq!(digest(algorithm, 16385), "4215861cef8d86a2e85bb00c1355b983a92a92413af63662db8688c24ae9f1b9");
}

#[test]
fn pbkdf2_aes_gcm_equals_the_go_library() {
    let algorithm = Algorithm::Pbkdf2AesGcm;
    assert_eq!(body(algorithm, b""), "e7cd1ec5c4a1d398e503aa0de4e81fc4");
    assert_eq!(
        body(algorithm, TEXT27),
        "4a723102714fbccc1a169c37bc126c94d383ddaca5dbad050f649c2968b13104988ec82abead478a14d705"
    );
    assert_eq!(digest(algorithm, 16385), "f732a2a29065495b45804e57922cec9308558766e3ed98deab6b7ab55b39002a");
}

#[test]
fn two_messages_share_neither_salt_nor_nonce() {
    let one = seal(PASSWORD, Algorithm::Pbkdf2AesGcm, b"same").unwrap();
    let two = seal(PASSWORD, Algorithm::Pbkdf2AesGcm, b"same").unwrap();
    assert_ne!(one[..SALT], two[..SALT]);
    assert_ne!(one[SALT + 1..HEADER], two[SALT + 1..HEADER]);
}

#[test]
fn the_wrong_password_does_not_open() {
    let message = seal(PASSWORD, Algorithm::Pbkdf2AesGcm, b"text").unwrap();
    assert_eq!(open(b"minioadmiN", &message), Err(BodyError::NotAuthentic));
}

#[test]
fn an_unknown_algorithm_is_named() {
    let mut message = seal(PASSWORD, Algorithm::Pbkdf2AesGcm, b"text").unwrap();
    message[SALT] = 7;
    assert_eq!(open(PASSWORD, &message), Err(BodyError::UnknownAlgorithm(7)));
}

#[test]
fn a_message_without_its_last_fragments_is_refused() {
    let message = seal(PASSWORD, Algorithm::Pbkdf2AesGcm, &data(3 * FRAGMENT)).unwrap();
    for fragments in 1..3 {
        let cut = &message[..HEADER + fragments * (FRAGMENT + TAG)];
        assert_eq!(open(PASSWORD, cut), Err(BodyError::NotAuthentic), "cut after {fragments}");
    }
    let swapped = [
        &message[..HEADER],
        &message[HEADER + FRAGMENT + TAG..HEADER + 2 * (FRAGMENT + TAG)],
        &message[HEADER..HEADER + FRAGMENT + TAG],
        &message[HEADER + 2 * (FRAGMENT + TAG)..],
    ]
    .concat();
    assert_eq!(open(PASSWORD, &swapped), Err(BodyError::NotAuthentic), "fragments out of order");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_cut_extension_or_changed_byte_is_refused(
        text in proptest::collection::vec(any::<u8>(), 0..64),
        at in any::<prop::sample::Index>(),
        flip in 1u8..,
    ) {
        let message = seal(PASSWORD, Algorithm::Pbkdf2AesGcm, &text).unwrap();
        let at = at.index(message.len());
        prop_assert!(open(PASSWORD, &message[..at]).is_err());
        let mut longer = message.clone();
        longer.push(flip);
        prop_assert!(open(PASSWORD, &longer).is_err());
        // The algorithm byte is left out: two of its values name a derivation of 64 MiB.
        if at != SALT {
            let mut changed = message;
            changed[at] ^= flip;
            prop_assert_eq!(open(PASSWORD, &changed), Err(BodyError::NotAuthentic));
        }
    }
}
