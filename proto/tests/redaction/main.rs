//! No secret reaches `Debug`, in any message, and no field that looks like a secret goes unmarked.

#![allow(clippy::unwrap_used, reason = "a panic is a failed test")]

mod fill;
mod names;

use fill::{Leak, fill};
use prost::DecodeError;
use prost_reflect::prost::Message as _;
use prost_reflect::{DescriptorPool, FieldDescriptor, MessageDescriptor, Value};

/// Full name of a message; decodes it into the generated type and prints that with `{:?}`.
type Table = &'static [(&'static str, fn(&[u8]) -> Result<String, DecodeError>)];

const PRODUCT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
const FIXTURE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/fixture.bin"));

static PRODUCT_TABLE: Table = include!(concat!(env!("OUT_DIR"), "/descriptors_table.rs"));
static FIXTURE_TABLE: Table = include!(concat!(env!("OUT_DIR"), "/fixture_table.rs"));

#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
mod fixture {
    include!(concat!(env!("OUT_DIR"), "/fixture/fixture.rs"));
    include!(concat!(env!("OUT_DIR"), "/fixture/fixture.redact.rs"));
}

/// Packages whose messages belong to others: well-known types, and the options themselves.
const FOREIGN: [&str; 2] = ["google.protobuf", "boathouse.v1"];

fn own_messages(pool: &DescriptorPool) -> impl Iterator<Item = MessageDescriptor> {
    pool.all_messages().filter(|it| !it.is_map_entry() && !FOREIGN.contains(&it.package_name()))
}

fn is_secret(field: &FieldDescriptor) -> bool {
    let message = field.parent_message();
    let pool = message.parent_pool();
    ["csi.v1.csi_secret", "boathouse.v1.secret"]
        .iter()
        .filter_map(|name| pool.get_extension_by_name(name))
        .any(|option| field.options().get_extension(&option).as_ref() == &Value::Bool(true))
}

/// Fills every field of every message, sentinels in the secret ones, and looks at what is printed.
/// Returns how many messages held a secret, at whatever depth.
fn check(descriptors: &[u8], table: Table) -> usize {
    let pool = DescriptorPool::decode(descriptors).unwrap();
    let mut with_secret = 0;
    for message in own_messages(&pool) {
        let name = message.full_name();
        let (_, debug) = table
            .iter()
            .find(|(known, _)| *known == name)
            .unwrap_or_else(|| panic!("{name}: not in the table"));
        let mut held_secret = false;
        // A oneof holds one of its fields at a time, so that each takes its turn.
        let turns = message.oneofs().map(|oneof| oneof.fields().len()).max().unwrap_or(1).max(fill::TURNS);
        for turn in 0..turns {
            let bytes = fill(&message, turn).encode_to_vec();
            let printed = debug(&bytes).unwrap();
            if Leak::in_bytes(&bytes) {
                held_secret = true;
                assert!(printed.contains("[redacted]"), "{name}: says nothing of its secret: {printed}");
            }
            assert!(Leak::in_text(&printed).is_none(), "{name} prints a secret: {printed}");
        }
        with_secret += usize::from(held_secret);
    }
    with_secret
}

#[test]
fn no_message_prints_a_secret() {
    // agent: Request, MountRequest. keeper: Launch, Generation, Login, Request, SetGeneration, SetLogin, Reply,
    // Status.
    let mut least = 10;
    if cfg!(feature = "csi") {
        least += 19;
    }
    if cfg!(feature = "plugin") {
        least += 15;
    }
    let found = check(PRODUCT, PRODUCT_TABLE);
    assert!(found >= least, "only {found} of at least {least} messages were seen to hold a secret");
}

#[test]
fn every_shape_of_secret_is_kept_back() {
    // Shapes, its two nested messages (one by what it contains) and Envelope.
    assert_eq!(check(FIXTURE, FIXTURE_TABLE), 4);
}

/// The detector sees a secret where nothing keeps it back.
#[test]
fn a_leak_is_found() {
    let pool = DescriptorPool::decode(FIXTURE).unwrap();
    let open = pool.get_message_by_name("fixture.Open").unwrap();
    let bytes = fill::as_secret(&open).encode_to_vec();
    let (_, debug) = FIXTURE_TABLE.iter().find(|(name, _)| *name == "fixture.Open").unwrap();
    assert!(Leak::in_bytes(&bytes));
    assert!(Leak::in_text(&debug(&bytes).unwrap()).is_some());
    assert!(Leak::in_text(&format!("{:?}", fill::SENTINEL.as_bytes())).is_some(), "bytes print as numbers");
    assert!(Leak::in_text(&format!("{:?}", fill::SENTINEL_NUMBER)).is_some());
}

/// What is no secret stays readable, as prost itself prints it.
#[test]
fn the_rest_stays_readable() {
    let mut shapes = fixture::Shapes {
        visible: "seen".into(),
        level: fixture::shapes::Level::High.into(),
        outside: 77,
        nested: Some(fixture::shapes::Nested { visible: "deep".into(), deeper: None }),
        choice: Some(fixture::shapes::Choice::ChosenOpen("picked".into())),
        ..Default::default()
    };
    let printed = format!("{shapes:?}");
    for part in [
        r#"visible: "seen""#,
        "level: LEVEL_HIGH",
        "outside: 77",
        r#"nested: Some(Nested { visible: "deep", deeper: None })"#,
        r#"choice: Some(ChosenOpen("picked"))"#,
        "text: [unset]",
        "type: [unset]",
        "keyed: [unset]",
        "maybe: [unset]",
    ] {
        assert!(printed.contains(part), "{part} is missing: {printed}");
    }
    // Present but empty is present.
    shapes.maybe = Some(String::new());
    shapes.outside = fixture::Outside::Known.into();
    shapes.choice = Some(fixture::shapes::Choice::ChosenSecret("hidden".into()));
    let printed = format!("{shapes:?}");
    for part in ["maybe: [redacted]", "outside: Known", "choice: Some(ChosenSecret([redacted]))"] {
        assert!(printed.contains(part), "{part} is missing: {printed}");
    }
}
