//! The rule that a generation may be revoked when it says so, against random histories.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::*;

const POLL: u64 = 60_000;

fn generation(id: &str, expires_at_ms: u64) -> Generation {
    Generation {
        id: id.into(),
        access_key: format!("AK-{id}"),
        secret_key: format!("SK-{id}"),
        expires_at_ms,
        ..Generation::default()
    }
}

fn wiped(id: &str, expires_at_ms: u64) -> Wiped<Generation> {
    Wiped::new(generation(id, expires_at_ms))
}

fn keys(first: Wiped<Generation>) -> Keys {
    Keys::new(first, Wiped::new(Login::default()), POLL).unwrap()
}

#[test]
fn an_answer_is_usable_for_one_poll_but_not_past_the_lease() {
    for (expires, now, usable) in [
        (0, 1_000, 1_000 + POLL),
        (10_000_000, 1_000, 1_000 + POLL),
        (31_000, 1_000, 31_000),
        (1_001, 1_000, 1_001),
        (0, u64::MAX, u64::MAX),
    ] {
        let mut keys = keys(wiped("a", expires));
        let given = keys.hand_out(now).unwrap();
        assert_eq!(given.usable_until_ms, usable);
        assert_eq!(given.expiration_ms, usable.saturating_add(300_000));
        assert_eq!(keys.uses(now)[0].usable_until_ms, usable);
    }
}

#[test]
fn an_expired_lease_gives_nothing_until_a_newer_one_comes() {
    let mut keys = keys(wiped("a", 5_000));
    assert_eq!(keys.hand_out(5_000).unwrap_err(), LeaseExpired { id: "a".into(), ago_ms: 0 });
    assert_eq!((keys.fetches(), keys.uses(5_000).len()), (0, 0), "nothing was given");
    keys.set_generation(wiped("b", 9_000)).unwrap();
    assert_eq!(keys.hand_out(5_000).unwrap().generation.access_key, "AK-b");
}

#[test]
fn the_same_generation_again_changes_nothing_and_a_longer_lease_is_taken() {
    let mut keys = keys(wiped("a", 5_000));
    keys.hand_out(1_000).unwrap();
    keys.set_generation(wiped("a", 5_000)).unwrap();
    assert_eq!((keys.uses(1_000).len(), keys.fetches()), (1, 1));
    keys.set_generation(wiped("a", 50_000)).unwrap();
    assert_eq!(keys.hand_out(6_000).unwrap().usable_until_ms, 50_000);
    assert_eq!(keys.uses(6_000).len(), 1, "one entry per generation");
}

#[test]
fn a_replaced_generation_is_reported_for_a_while_and_does_not_come_back() {
    let mut keys = keys(wiped("a", 0));
    keys.hand_out(1_000).unwrap();
    keys.set_generation(wiped("b", 0)).unwrap();
    assert_eq!(keys.uses(1_000)[0].generation_id, "a", "b was not handed out yet");
    keys.hand_out(2_000).unwrap();
    let ids = |keys: &mut Keys, now| -> Vec<String> {
        keys.uses(now).iter().map(|entry| entry.generation_id.clone()).collect()
    };
    let gone = 1_000 + POLL + HISTORY_MS;
    assert_eq!(ids(&mut keys, gone - 1), ["b", "a"]);
    assert_eq!(ids(&mut keys, gone), ["b"]);
    assert_eq!(ids(&mut keys, u64::MAX), ["b"], "the current one stays");
    let error = keys.set_generation(wiped("a", 0)).unwrap_err();
    assert_eq!(error, KeysError::Replaced { id: "a".into(), current: "b".into() });
}

#[test]
fn incomplete_keys_are_refused_by_field() {
    for (field, clear) in [
        ("id", (|g| g.id.clear()) as fn(&mut Generation)),
        ("access_key", |g| g.access_key.clear()),
        ("secret_key", |g| g.secret_key.clear()),
    ] {
        let mut broken = generation("a", 0);
        clear(&mut broken);
        let mut keys = keys(wiped("b", 0));
        let error = keys.set_generation(Wiped::new(broken)).unwrap_err();
        assert!(matches!(error, KeysError::Missing { field: named, .. } if named == field));
        assert_eq!(keys.current().id, "b");
    }
    let error = Keys::new(wiped("a", 0), Wiped::new(Login::default()), 0).map(drop).unwrap_err();
    assert_eq!(error, KeysError::Poll);
}

/// One step of a mount's life.
#[derive(Debug, Clone)]
enum Step {
    /// The daemon asks.
    Fetch,
    /// The node plugin sets generation `n`, with this much lease.
    Set(u8, Option<u32>),
    /// Time passes.
    Wait(u32),
    /// The host's clock is set back.
    Back(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Fetch),
        3 => (0..12_u8, prop::option::of(1..400_000_u32)).prop_map(|(n, lease)| Step::Set(n, lease)),
        3 => (1..200_000_u32).prop_map(Step::Wait),
        1 => (1..90_000_u32).prop_map(Step::Back),
    ]
}

proptest! {
    /// "Safe to revoke" is a promise: what the daemon was told it may use is never more than what is reported,
    /// the report never shrinks, and a replaced generation is never handed out again.
    #[test]
    fn nothing_is_usable_longer_than_reported(steps in prop::collection::vec(step(), 1..120)) {
        let mut now = 1_000_000_000;
        let mut keys = keys(wiped("0", 0));
        let mut current = "0".to_owned();
        let mut replaced = HashSet::new();
        let mut promised: HashMap<String, u64> = HashMap::new();
        let mut reported: HashMap<String, u64> = HashMap::new();
        let mut fetches = 0;
        for step in steps {
            match step {
                Step::Wait(ms) => now += u64::from(ms),
                Step::Back(ms) => now -= u64::from(ms),
                Step::Set(n, lease) => {
                    let id = n.to_string();
                    let expires = lease.map_or(0, |lease| now + u64::from(lease));
                    let taken = keys.set_generation(wiped(&id, expires)).is_ok();
                    prop_assert_eq!(taken, !replaced.contains(&id));
                    if taken && id != current {
                        replaced.insert(std::mem::replace(&mut current, id));
                    }
                }
                Step::Fetch => {
                    let expires = keys.current().expires_at_ms;
                    match keys.hand_out(now) {
                        Ok(given) => {
                            fetches += 1;
                            prop_assert_eq!(&given.generation.id, &current);
                            prop_assert!(!replaced.contains(&given.generation.id));
                            prop_assert!(given.usable_until_ms > now && given.usable_until_ms <= now + POLL);
                            prop_assert!(expires == 0 || given.usable_until_ms <= expires);
                            prop_assert_eq!(given.expiration_ms, given.usable_until_ms + EXPIRY_WINDOW_MS);
                            let entry = promised.entry(given.generation.id.clone()).or_default();
                            *entry = (*entry).max(given.usable_until_ms);
                        }
                        Err(error) => {
                            prop_assert!(expires != 0 && expires <= now);
                            prop_assert_eq!(error.ago_ms, now - expires);
                        }
                    }
                }
            }
            let uses = keys.uses(now).to_vec();
            let ids: HashSet<&String> = uses.iter().map(|entry| &entry.generation_id).collect();
            prop_assert_eq!(ids.len(), uses.len(), "one entry per generation");
            for (id, until) in &promised {
                // Not reported any more means: out of use, so the node plugin may revoke it.
                prop_assert!(ids.contains(id) || *until + HISTORY_MS <= now || reported.get(id) == Some(&u64::MAX));
                if !ids.contains(id) {
                    reported.insert(id.clone(), u64::MAX);
                }
            }
            for entry in &uses {
                prop_assert_eq!(entry.usable_until_ms, promised[&entry.generation_id]);
                let before = reported.insert(entry.generation_id.clone(), entry.usable_until_ms);
                prop_assert!(before.is_none_or(|before| before <= entry.usable_until_ms));
            }
        }
        prop_assert_eq!(keys.fetches(), fetches);
    }
}
