//! What stands beside the volume's own fields: pod, tokens, static keys, callout document, fence.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, HashMap};

use secrecy::{ExposeSecret, SecretString};
use volume_spec::fence::{Fence, FenceError, LEGACY_TEMPLATE, PathTemplate};
use volume_spec::flex::{Callout, CalloutError, MAX_DOCUMENT};
use volume_spec::static_keys::{StaticKeys, StaticKeysError};
use volume_spec::tokens::{
    TOKENS_KEY, TokenError, UnverifiedClaims, claims_unverified, service_account_token,
};
use volume_spec::{PodInfo, SpecError, VaultPath};

fn map(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

const POD: [(&str, &str); 5] = [
    ("csi.storage.k8s.io/pod.name", "notebook-0"),
    ("csi.storage.k8s.io/pod.namespace", "alice"),
    ("csi.storage.k8s.io/pod.uid", "5f1c"),
    ("csi.storage.k8s.io/serviceAccount.name", "default-editor"),
    ("csi.storage.k8s.io/ephemeral", "true"),
];

#[test]
fn pod_information_is_whole_or_absent() {
    assert_eq!(PodInfo::from_volume_context(&map(&[("bucket", "alice")])).unwrap(), None);
    let pod = PodInfo::from_volume_context(&map(&POD)).unwrap().unwrap();
    let expected = PodInfo {
        name: "notebook-0".into(),
        namespace: "alice".into(),
        uid: "5f1c".into(),
        service_account: "default-editor".into(),
        ephemeral: true,
    };
    assert_eq!(pod, expected);
    for (missing, _) in &POD[..4] {
        let partial: Vec<_> = POD.into_iter().filter(|(key, _)| key != missing).collect();
        let error = PodInfo::from_volume_context(&map(&partial)).unwrap_err().to_string();
        assert!(error.contains(missing) && error.contains("podInfoOnMount"), "{error}");
    }
    let pod = PodInfo::from_volume_context(&map(&POD[..4])).unwrap().unwrap();
    assert!(!pod.ephemeral);
}

#[test]
fn a_namespace_must_be_one() {
    for bad in ["", "a/b", "..", "Alice", "a_b", "-a", "a\n", &"a".repeat(64)] {
        let mut context = map(&POD);
        context.insert(POD[1].0.to_owned(), bad.to_owned());
        let error = PodInfo::from_volume_context(&context).unwrap_err();
        assert_eq!(error.field(), Some(POD[1].0), "{error}");
    }
    let mut context = map(&POD);
    context.insert(POD[4].0.to_owned(), "maybe".to_owned());
    assert_eq!(PodInfo::from_volume_context(&context).unwrap_err().field(), Some(POD[4].0));
}

#[test]
fn tokens_are_found_by_audience_and_secrets_win() {
    let json = |jwt: &str| {
        format!(
            r#"{{"vault":{{"token":"{jwt}","expirationTimestamp":"2030-01-01T00:00:00Z"}},"":{{"token":"api"}}}}"#
        )
    };
    let none = HashMap::new();
    let kept = map(&[(TOKENS_KEY, &json("from-context"))]);
    let secret = map(&[(TOKENS_KEY, &json("from-secrets"))]);

    assert!(service_account_token(&none, &none, "vault").unwrap().is_none());
    let token = service_account_token(&none, &kept, "vault").unwrap().unwrap();
    assert_eq!((token.jwt.expose_secret(), token.expires_at), ("from-context", Some(1_893_456_000)));
    let token = service_account_token(&secret, &kept, "vault").unwrap().unwrap();
    assert_eq!(token.jwt.expose_secret(), "from-secrets");
    let token = service_account_token(&secret, &kept, "").unwrap().unwrap();
    assert_eq!((token.jwt.expose_secret(), token.expires_at), ("api", None));
    assert!(!format!("{token:?}").contains("api"));
}

#[test]
fn unusable_tokens_say_why_and_repeat_nothing() {
    let none = HashMap::new();
    let find = |json: &str| service_account_token(&map(&[(TOKENS_KEY, json)]), &none, "vault").unwrap_err();

    let error = find(r#"{"other":{"token":"s3cret"},"":{"token":"s3cret"}}"#);
    assert!(matches!(error, TokenError::Audience { .. }));
    let text = error.to_string();
    assert!(
        text.contains("\"vault\"") && text.contains("\"\", \"other\"") && text.contains("tokenRequests"),
        "{text}"
    );
    assert!(find("{}").to_string().contains("only for nobody"));
    assert!(matches!(find(r#"{"vault":{"token":""}}"#), TokenError::Empty(_)));
    assert!(matches!(find(r#"{"vault":{}}"#), TokenError::Empty(_)));
    assert!(matches!(
        find(r#"{"vault":{"token":"s3cret","expirationTimestamp":"soon"}}"#),
        TokenError::Expiry(_)
    ));
    for json in ["", "s3cret", "[\"s3cret\"]", r#"{"vault":"s3cret"}"#, r#"{"vault":{"token":"s3cret""#] {
        let error = find(json);
        assert!(matches!(error, TokenError::Malformed { .. }), "{json}: {error}");
        assert!(!format!("{error} {error:?}").contains("s3cret"), "{error}");
    }
}

#[test]
fn claims_are_read_without_being_believed() {
    // Header {"alg":"none"}; payload and signature as written here, so nothing could verify.
    let kubernetes = "eyJhbGciOiJub25lIn0.eyJhdWQiOlsidmF1bHQiXSwiZXhwIjoxODkzNDU2MDAwLCJrdWJlcm5ldGVzLmlvIjp7Im5hbWVzcGFjZSI6ImFsaWNlIiwic2VydmljZWFjY291bnQiOnsibmFtZSI6ImRlZmF1bHQifX0sInN1YiI6InN5c3RlbTpzZXJ2aWNlYWNjb3VudDphbGljZTpkZWZhdWx0In0.x";
    let expected = UnverifiedClaims {
        sub: Some("system:serviceaccount:alice:default".into()),
        namespace: Some("alice".into()),
        service_account: Some("default".into()),
        exp: Some(1_893_456_000),
    };
    assert_eq!(claims_unverified(&SecretString::from(kubernetes)), Some(expected.clone()));
    // The same without the kubernetes.io claim: taken from sub.
    let plain =
        "e30.eyJzdWIiOiJzeXN0ZW06c2VydmljZWFjY291bnQ6YWxpY2U6ZGVmYXVsdCIsImV4cCI6MTg5MzQ1NjAwMC41fQ.x";
    assert_eq!(claims_unverified(&SecretString::from(plain)), Some(expected));
    assert_eq!(claims_unverified(&SecretString::from("e30.e30.x")), Some(UnverifiedClaims::default()));
    for junk in ["", "a.b", "e30.e30", "e30.e30.x.y", "e30.!!!.x", "e30.W10x.x", "e30.eyJzdWIiOjF9.x"] {
        assert_eq!(claims_unverified(&SecretString::from(junk)), None, "{junk}");
    }
}

#[test]
fn static_keys_are_whole_or_absent() {
    let none = map(&[(TOKENS_KEY, "{}"), ("password", "x")]);
    assert!(StaticKeys::from_secret(&none).unwrap().is_none());
    let keys = map(&[("accessKeyId", "AK"), ("secretAccessKey", "SK/+=")]);
    let parsed = StaticKeys::from_secret(&keys).unwrap().unwrap();
    assert_eq!(parsed.access_key_id.expose_secret(), "AK");
    assert_eq!(parsed.secret_access_key.expose_secret(), "SK/+=");
    assert!(parsed.session_token.is_none());
    assert!(!format!("{parsed:?}").contains("SK"));
    let temporary: BTreeMap<String, SecretString> =
        [("accessKeyId", "AK"), ("secretAccessKey", "SK"), ("sessionToken", "ST")]
            .into_iter()
            .map(|(key, value)| (key.to_owned(), SecretString::from(value)))
            .collect();
    assert_eq!(
        StaticKeys::from_secret(&temporary).unwrap().unwrap().session_token.unwrap().expose_secret(),
        "ST"
    );

    let missing = |pairs: &[(&str, &str)]| StaticKeys::from_secret(&map(pairs)).unwrap_err();
    assert_eq!(missing(&[("accessKeyId", "AK")]), StaticKeysError::Missing("secretAccessKey"));
    assert_eq!(missing(&[("secretAccessKey", "SK")]), StaticKeysError::Missing("accessKeyId"));
    assert_eq!(missing(&[("sessionToken", "ST")]), StaticKeysError::Missing("accessKeyId"));
    for bad in ["", "SK\n", " SK", "S\0K", "SKé"] {
        let error = missing(&[("accessKeyId", "AK"), ("secretAccessKey", bad)]);
        assert_eq!(error, StaticKeysError::Malformed("secretAccessKey"));
    }
}

#[test]
fn a_callout_is_taken_apart() {
    let document = br#"{"bucket":"alice","vault-path":"m\u002fkeys/r","kubernetes.io/fsType":"",
        "kubernetes.io/readwrite":"ro","kubernetes.io/pvOrVolumeName":"data","kubernetes.io/pod.name":"notebook-0",
        "kubernetes.io/pod.namespace":"alice","kubernetes.io/pod.uid":"5f1c",
        "kubernetes.io/serviceAccount.name":"default","kubernetes.io/mounterArgs.FsGroup":"100",
        "kubernetes.io/secret/accessKeyId":"QUs=","kubernetes.io/secret/secretAccessKey":"U0s="}"#;
    let callout = Callout::parse(document).unwrap();
    assert_eq!(callout.options.keys().collect::<Vec<_>>(), ["bucket", "vault-path"]);
    assert_eq!(callout.options["vault-path"], "m/keys/r");
    let pod = callout.pod.as_ref().unwrap();
    assert_eq!(
        (pod.namespace.as_str(), pod.service_account.as_str(), pod.ephemeral),
        ("alice", "default", false)
    );
    assert!(callout.read_only);
    assert_eq!((callout.volume_name.as_deref(), callout.fs_group), (Some("data"), Some(100)));
    let keys = StaticKeys::from_secret(&callout.secrets).unwrap().unwrap();
    assert_eq!((keys.access_key_id.expose_secret(), keys.secret_access_key.expose_secret()), ("AK", "SK"));
    assert!(!format!("{callout:?}").contains("SK"));

    let least = Callout::parse(b"{}").unwrap();
    assert!(least.options.is_empty() && least.pod.is_none() && !least.read_only && least.secrets.is_empty());
}

#[test]
fn a_document_that_is_no_flat_object_of_strings_is_named_as_what_it_is() {
    let cases: [(&[u8], &str); 17] = [
        (b"", "EOF"),
        (b"{not json", "line 1 column 2"),
        (b"null", "the document is null"),
        (b"[\"s3cret\"]", "the document is an array"),
        (b"\"s3cret\"", "the document is a string"),
        (b"7", "the document is a number"),
        (b"-7", "the document is a number"),
        (b"7.5", "the document is a number"),
        (b"true", "the document is a boolean"),
        (br#"{"uid":1000}"#, "\"uid\" is a number, not a string"),
        (br#"{"debug_s3":true}"#, "\"debug_s3\" is a boolean"),
        (br#"{"bucket":null}"#, "\"bucket\" is null"),
        (br#"{"bucket":{"s3cret":1}}"#, "\"bucket\" is an object"),
        (br#"{"bucket":["s3cret"]}"#, "\"bucket\" is an array"),
        (br#"{"bucket":"a","bucket":"b"}"#, "\"bucket\" occurs twice"),
        (br#"{"bucket":"a"} x"#, "trailing characters"),
        (b"{\"bucket\":\"\xff\"}", "line 1"),
    ];
    for (document, says) in cases {
        let error = Callout::parse(document).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("failed to parse options: ") && text.contains(says), "{text}");
        assert!(!text.contains("s3cret"), "{text}");
    }
    let deep = [b"{\"a\":".repeat(5000), b"1".to_vec(), b"}".repeat(5000)].concat();
    assert!(matches!(Callout::parse(&deep), Err(CalloutError::Document(_))));
    assert_eq!(
        Callout::parse(&vec![b' '; MAX_DOCUMENT + 1]).unwrap_err(),
        CalloutError::TooLong(MAX_DOCUMENT + 1)
    );
}

#[test]
fn malformed_keys_of_kubelets_own_are_refused() {
    let error = Callout::parse(br#"{"kubernetes.io/secret/k":"s3cret!"}"#).unwrap_err();
    assert!(
        matches!(error, CalloutError::Secret(_)) && !format!("{error} {error:?}").contains("s3cret"),
        "{error}"
    );
    assert!(Callout::parse(br#"{"kubernetes.io/secret/k":"/w=="}"#).is_err(), "not UTF-8");
    for document in [
        &br#"{"kubernetes.io/readwrite":"r"}"#[..],
        br#"{"kubernetes.io/mounterArgs.FsGroup":"x"}"#,
        br#"{"kubernetes.io/pod.namespace":"alice"}"#,
    ] {
        assert!(matches!(
            Callout::parse(document),
            Err(CalloutError::Field(SpecError::Invalid { .. } | SpecError::Missing { .. }))
        ));
    }
}

fn path(text: &str) -> VaultPath {
    VaultPath::parse(text).unwrap()
}

#[test]
fn the_legacy_template_lets_a_namespace_reach_its_own_profile_only() {
    let template = PathTemplate::parse(LEGACY_TEMPLATE).unwrap();
    assert!(template.allows("alice", &path("minio_minimal_tenant1/keys/profile-alice")));
    assert!(template.allows("alice", &path("minio_premium_tenant1/keys/profile-alice")));
    assert!(template.allows("team_a", &path("m/keys/profile-team-a")));
    for refused in [
        "m/keys/profile-bob",
        "m/keys/profile-alice2",
        "m/keys/profile-alic",
        "m/keys/profile-ALICE",
        "m/keys/profile-alice/x",
        "a/b/keys/profile-alice",
        "keys/profile-alice",
        "m/roles/profile-alice",
        "m/keys/x-profile-alice",
    ] {
        assert!(!template.allows("alice", &path(refused)), "{refused}");
    }
    for namespace in ["", "a/b", "..", "alice/../bob", "Alice", "-", "{any}"] {
        assert!(!template.allows(namespace, &path("m/keys/profile-alice")), "{namespace}");
    }
}

#[test]
fn templates_are_checked() {
    let bad = [
        ("", "empty"),
        ("keys", "fewer than two"),
        ("{any}/keys", "no {namespace}"),
        ("m/keys/profile-alice", "no {namespace}"),
        ("/m/{namespace}", "empty"),
        ("-m/{namespace}", "hyphen"),
        ("m/{namespace}/", "empty"),
        ("m/../{namespace}", "\"..\""),
        ("m/x{any}/{namespace}", "placeholder"),
        ("m/{user}/{namespace}", "placeholder"),
        ("m/{namespace", "placeholder"),
        ("m/%2e/{namespace}", "'%'"),
        ("m/ {namespace}", "' '"),
        ("m\n/{namespace}", "'\\n'"),
    ];
    for (text, says) in bad {
        let error = PathTemplate::parse(text).unwrap_err().to_string();
        assert!(error.contains(says) && error.contains(LEGACY_TEMPLATE), "{text:?}: {error}");
    }
    assert_eq!(PathTemplate::parse("m/{namespace}/{any}").unwrap().to_string(), "m/{namespace}/{any}");
}

#[test]
fn the_fence_names_what_is_allowed() {
    let fence = Fence(vec![LEGACY_TEMPLATE.parse().unwrap(), "team/{namespace}".parse().unwrap()]);
    fence.check("alice", &path("m/keys/profile-alice")).unwrap();
    fence.check("alice", &path("team/alice")).unwrap();
    let error = fence.check("alice", &path("m/keys/profile-bob")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "vault-path m/keys/profile-bob is not allowed for namespace \"alice\"; \
         allowed is {any}/keys/profile-{namespace} or team/{namespace}"
    );
    assert!(matches!(fence.check("a/b", &path("m/k")), Err(FenceError::Namespace(_))));
    let error = Fence::default().check("alice", &path("m/keys/profile-alice")).unwrap_err();
    assert!(error.to_string().ends_with("allowed is nothing: no path template is configured"), "{error}");
}

#[test]
fn a_default_path_is_expanded() {
    let template = PathTemplate::parse("minio/keys/profile-{namespace}").unwrap();
    assert_eq!(template.expand("team_a").unwrap().as_str(), "minio/keys/profile-team-a");
    assert!(matches!(template.expand("a/b"), Err(FenceError::Namespace(_))));
    let ambiguous = PathTemplate::parse(LEGACY_TEMPLATE).unwrap();
    assert!(ambiguous.expand("alice").unwrap_err().to_string().contains("{any}"));
}
