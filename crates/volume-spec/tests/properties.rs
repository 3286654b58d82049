//! What holds for any input.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;
use volume_spec::fence::{Fence, LEGACY_TEMPLATE, PathTemplate};
use volume_spec::flex::Callout;
use volume_spec::{KEYS, Parameters, Strictness, VaultPath, VolumeSpec, go_duration, goofys, tokens};

/// Text of the kind that breaks parsers, and any other.
fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        r"[a-z0-9.:/-]{0,80}",
        r"-{1,2}[a-z-]{1,12}",
        r"(https?|s3|gs|abfs)://[a-z0-9.:@\[\]/?#%-]{0,40}",
        r"([a-z0-9_]{1,8}/){0,4}(\.\.|\.|%2f|[a-z]{1,5}|\?|\n)(/[a-z]{1,5}){0,2}",
        r"[-+]?([0-9]{0,20}(\.[0-9]{0,20})?(ns|us|µs|ms|s|m|h|d)?){0,4}",
        r"[0-9]{1,12}",
    ]
}

/// Values near what each field accepts, so that many get through.
fn plausible() -> impl Strategy<Value = BTreeMap<String, String>> {
    let field = |key: &'static str, regex: &'static str| {
        proptest::option::of(regex.prop_map(move |value| (key.to_owned(), value)))
    };
    (
        r"[a-z0-9]{3,20}(:[a-zé -]{1,5}(/[.a-z-]{1,5}){0,3}/?)?"
            .prop_map(|value| ("bucket".to_owned(), value)),
        vec(
            prop_oneof![
                field("endpoint", r"https?://[A-Za-z0-9]{1,9}(\.[a-z]{1,5})?(:[1-9][0-9]{0,3})?/?"),
                field("ca", r"[a-z0-9]([a-z0-9-]{0,5}[a-z0-9])?"),
                field("region", r"[a-z][a-z0-9-]{0,10}"),
                field("uid", r"[0-9]{1,9}"),
                field("gid", r"[0-9]{1,9}"),
                field("dirMode", r"0?[0-7]{1,3}"),
                field("fileMode", r"0?[0-7]{1,3}"),
                field("vault-path", r"[a-z_]{1,9}(/[A-Za-z0-9_.@:+=~-]{2,9}){1,4}"),
                field("vault-ttl", r"[0-9]{1,4}(\.[0-9]{1,3})?(h|m|s|ms)"),
                field("debug_s3", r"0|1|t|f|true|false"),
                field("optional", r"0|1|t|f|true|false"),
            ],
            0..14,
        ),
    )
        .prop_map(|(bucket, rest)| rest.into_iter().flatten().chain([bucket]).collect())
}

/// No user's value can be read as a flag: every argument that starts with a hyphen is one of ours.
fn assert_no_foreign_flags(spec: &VolumeSpec) {
    const OURS: [&str; 9] =
        ["-f", "-o", "--dir-mode", "--file-mode", "--endpoint", "--region", "--uid", "--gid", "--debug_s3"];
    let argv = goofys::arguments(spec, Path::new("/mnt"));
    let mut rest = argv.iter();
    let mut positional = Vec::new();
    while let Some(argument) = rest.next() {
        let text = argument.to_str().unwrap();
        match text {
            "-f" | "--debug_s3" => {}
            flag if OURS.contains(&flag) => {
                let value = rest.next().unwrap().to_str().unwrap();
                assert!(!value.starts_with('-') && !value.is_empty(), "{flag} {value}");
            }
            value => {
                assert!(!value.starts_with('-'), "{value}");
                assert!(!value.contains("://"), "goofys would read {value} as a URL");
                positional.push(argument.clone());
            }
        }
    }
    assert_eq!(positional, [OsString::from(spec.bucket_and_prefix()), "/mnt".into()]);
}

fn namespace() -> impl Strategy<Value = String> {
    r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?"
}

fn template() -> impl Strategy<Value = PathTemplate> {
    let segment = prop_oneof![
        Just("{any}".to_owned()),
        Just("keys".to_owned()),
        vec(select(vec!["{namespace}", "profile-", "-", "a", "0"]), 1..5).prop_map(|pieces| pieces.concat()),
    ];
    vec(segment, 2..5).prop_filter_map("needs a namespace", |segments| {
        // A segment of {any} lets anything through by design, so tell tenants apart by the others only.
        PathTemplate::parse(&segments.join("/")).ok()
    })
}

/// `nanos` in Go's grammar, with units chosen freely: a formatter that shares nothing with the product's.
fn reference_format(nanos: u64, negative: bool) -> String {
    let (hours, rest) = (nanos / 3_600_000_000_000, nanos % 3_600_000_000_000);
    let (minutes, rest) = (rest / 60_000_000_000, rest % 60_000_000_000);
    format!(
        "{}{hours}h{minutes}m{}.{:09}s",
        if negative { "-" } else { "" },
        rest / 1_000_000_000,
        rest % 1_000_000_000
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_attributes_parse_or_are_refused_in_printable_words(
        map in btree_map(prop_oneof![select(KEYS.to_vec()).prop_map(str::to_owned), hostile()], hostile(), 0..8),
        legacy in any::<bool>(),
    ) {
        let strictness = if legacy { Strictness::Legacy } else { Strictness::Refuse };
        match Parameters::parse(&map, strictness) {
            Ok(parsed) => {
                assert_no_foreign_flags(&parsed.spec);
                prop_assert!(!parsed.warnings.concat().chars().any(char::is_control));
            }
            Err(error) => {
                let text = error.to_string();
                prop_assert!(!text.chars().any(char::is_control), "{text:?}");
                prop_assert!(text.len() < 8192);
            }
        }
    }

    #[test]
    fn what_one_field_accepts_is_harmless(key in select(KEYS.to_vec()), value in hostile()) {
        let map: BTreeMap<String, String> =
            [("bucket".to_owned(), "alice".to_owned()), (key.to_owned(), value)].into();
        if let Ok(parsed) = Parameters::parse(&map, Strictness::Refuse) {
            assert_no_foreign_flags(&parsed.spec);
            let kept = parsed.spec.to_attributes();
            prop_assert!(!kept.values().any(|v| v.is_empty() || v.starts_with('-') || v.chars().any(char::is_control)));
        }
    }

    #[test]
    fn accepted_specs_survive_attributes_and_disk(map in plausible()) {
        let Ok(parsed) = Parameters::parse(&map, Strictness::Refuse) else { return Ok(()) };
        assert_no_foreign_flags(&parsed.spec);
        let again = Parameters::parse(&parsed.spec.to_attributes(), Strictness::Refuse).unwrap();
        prop_assert_eq!(&again.spec, &parsed.spec);
        let json = serde_json::to_string(&parsed.spec).unwrap();
        prop_assert_eq!(&serde_json::from_str::<VolumeSpec>(&json).unwrap(), &parsed.spec);
    }

    #[test]
    fn documents_tokens_and_times_never_panic(text in any::<String>(), bytes in vec(any::<u8>(), 0..200)) {
        let _ = Callout::parse(&bytes);
        let _ = Callout::parse(text.as_bytes());
        let _ = tokens::parse(&text, "vault");
        let entry = serde_json::json!({ "vault": { "token": "t", "expirationTimestamp": text } });
        let _ = tokens::parse(&entry.to_string(), "vault");
        let _ = tokens::claims_unverified(&text.clone().into());
        let _ = tokens::claims_unverified(&format!("a.{text}.b").into());
    }

    #[test]
    fn any_flat_document_comes_back_whole(options in btree_map("[a-z]{1,8}", any::<String>(), 0..6)) {
        let document = serde_json::to_vec(&options).unwrap();
        prop_assert_eq!(Callout::parse(&document).unwrap().options, options);
    }

    #[test]
    fn no_namespace_reaches_anothers_path(template in template(), own in namespace(), other in namespace()) {
        prop_assume!(own != other);
        // Fill {any} with every word a path could hold there, the other's namespace included.
        for filler in ["m", "keys", other.as_str(), own.as_str()] {
            let text = template.to_string().replace("{any}", filler);
            let path = VaultPath::parse(&text.replace("{namespace}", &other)).unwrap();
            prop_assert!(template.allows(&other, &path));
            prop_assert!(!template.allows(&own, &path), "{own} reaches {path} by {template}");
            prop_assert!(Fence(vec![template.clone()]).check(&own, &path).is_err());
        }
    }

    #[test]
    fn the_legacy_template_allows_exactly_the_own_profile(ns in any::<String>(), path in hostile()) {
        let template = PathTemplate::parse(LEGACY_TEMPLATE).unwrap();
        if let Ok(path) = VaultPath::parse(&path) && template.allows(&ns, &path) {
            let segments: Vec<&str> = path.segments().collect();
            prop_assert_eq!(&segments[1..], ["keys", &format!("profile-{}", ns.replace('_', "-"))]);
        }
    }

    #[test]
    fn templates_never_panic(text in prop_oneof![any::<String>(), r"[a-z{}/.]{0,30}"], ns in any::<String>()) {
        if let Ok(template) = PathTemplate::parse(&text) {
            let _ = template.expand(&ns);
        }
    }

    #[test]
    fn durations_agree_with_a_reference(nanos in prop_oneof![any::<i64>(), -4_000_000_000i64..4_000_000_000]) {
        let text = reference_format(nanos.unsigned_abs(), nanos < 0);
        prop_assert_eq!(go_duration::parse(&text), Ok(nanos), "{}", text);
        prop_assert_eq!(go_duration::parse(&go_duration::format(nanos)), Ok(nanos));
    }

    #[test]
    fn any_text_is_a_duration_or_a_message(text in hostile()) {
        match go_duration::parse(&text) {
            Ok(nanos) => prop_assert_eq!(go_duration::parse(&go_duration::format(nanos)), Ok(nanos)),
            Err(error) => prop_assert!(error.to_string().starts_with("time: ")),
        }
    }
}

/// Values and messages printed by Go 1.26's own `time` package.
#[test]
fn durations_as_go_reads_and_writes_them() {
    let values = [
        ("0", 0, "0s"),
        ("-0", 0, "0s"),
        ("5s", 5_000_000_000, "5s"),
        ("1478s", 1_478_000_000_000, "24m38s"),
        ("-5s", -5_000_000_000, "-5s"),
        ("5.6s", 5_600_000_000, "5.6s"),
        ("5.s", 5_000_000_000, "5s"),
        (".5s", 500_000_000, "500ms"),
        ("1.004s", 1_004_000_000, "1.004s"),
        ("100.00100s", 100_001_000_000, "1m40.001s"),
        ("13us", 13_000, "13µs"),
        ("12µs", 12_000, "12µs"),
        ("12μs", 12_000, "12µs"),
        ("3h30m", 12_600_000_000_000, "3h30m0s"),
        ("-1.5h", -5_400_000_000_000, "-1h30m0s"),
        ("1h2m3s4ms5us6ns", 3_723_004_005_006, "1h2m3.004005006s"),
        ("0.3333333333333333333h", 1_200_000_000_000, "20m0s"),
        ("9223372036854775807ns", i64::MAX, "2562047h47m16.854775807s"),
        ("-9223372036854775808ns", i64::MIN, "-2562047h47m16.854775808s"),
    ];
    for (text, nanos, canonical) in values {
        // Go multiplies a fraction in floating point; of nineteen threes it keeps one nanosecond less exactly.
        let parsed = go_duration::parse(text).unwrap();
        assert!((parsed - nanos).abs() <= i64::from(text.len() > 20), "{text}: {parsed}");
        assert_eq!(go_duration::format(nanos), canonical);
    }
    let errors = [
        ("", r#"time: invalid duration """#),
        ("3", r#"time: missing unit in duration "3""#),
        ("3600", r#"time: missing unit in duration "3600""#),
        ("1h3", r#"time: missing unit in duration "1h3""#),
        ("-", r#"time: invalid duration "-""#),
        ("s", r#"time: invalid duration "s""#),
        (".", r#"time: invalid duration ".""#),
        ("-.s", r#"time: invalid duration "-.s""#),
        ("tomorrow", r#"time: invalid duration "tomorrow""#),
        ("3000000h", r#"time: invalid duration "3000000h""#),
        ("9223372036854775808ns", r#"time: invalid duration "9223372036854775808ns""#),
        (
            "9223372036854775807ns18446744073709551615ns",
            "time: invalid duration \"9223372036854775807ns18446744073709551615ns\"",
        ),
        ("1d", r#"time: unknown unit "d" in duration "1d""#),
        ("1h 30m", r#"time: unknown unit "h " in duration "1h 30m""#),
    ];
    for (text, message) in errors {
        assert_eq!(go_duration::parse(text).unwrap_err().to_string(), message);
    }
}
