#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

#[path = "cluster_fake.rs"]
mod fake;

use super::*;
use fake::{Fake, Objects, trusts};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::time::{Duration, SystemTime};

fn authorities(secret: &Value) -> usize {
    String::from_utf8(entry(secret, "ca.crt")).unwrap().matches("BEGIN CERTIFICATE").count()
}

fn made(cluster: &Cluster) -> Value {
    cluster.secret(None, Bundle::default()).unwrap()
}

/// A Secret with a pair that works, with little of its life left.
fn old() -> Value {
    let params = |name: &str| {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_before = (SystemTime::now() - Duration::from_secs(90 * 86_400)).into();
        params.not_after = (SystemTime::now() + Duration::from_secs(10 * 86_400)).into();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params
    };
    let mut authority = params("authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = params("webhook.ns.svc").signed_by(&key, &authority).unwrap();
    json!({
        "metadata": { "name": "webhook-tls" },
        "data": {
            "tls.crt": STANDARD.encode(certificate.pem()),
            "tls.key": STANDARD.encode(key.serialize_pem()),
            "ca.crt": STANDARD.encode(authority.pem()),
            "more": "aGVyZQ==",
        },
    })
}

/// Where nothing was trusted before, the widened bundle is the final one.
const FIRST: [&str; 4] = ["get", "patch", "create", "get"];
const RENEWAL: [&str; 5] = ["get", "patch", "replace", "get", "patch"];

#[tokio::test]
async fn a_second_run_changes_nothing() {
    let (fake, cluster, _account) = Fake::start().await;
    cluster.ensure().await.unwrap();
    let made = fake.secret();
    assert_eq!(made["type"], "kubernetes.io/tls");
    fake.assert_settled();
    assert_eq!(fake.lock().requests, FIRST);
    fake.lock().requests.clear();
    cluster.ensure().await.unwrap();
    assert_eq!(fake.lock().requests, ["get"]);
    assert_eq!(fake.secret(), made);
}

#[tokio::test]
async fn an_empty_secret_is_filled_and_needs_no_right_to_make_one() {
    let (fake, cluster, _account) = Fake::start().await;
    let labels = json!({ "app": "webhook" });
    fake.lock().secret =
        Some(json!({ "type": "Opaque", "metadata": { "name": "webhook-tls", "labels": labels } }));
    cluster.ensure().await.unwrap();
    assert_eq!(fake.lock().requests, ["get", "patch", "replace", "get"]);
    let secret = fake.secret();
    assert_eq!((&secret["type"], &secret["metadata"]["labels"]), (&json!("Opaque"), &labels));
    assert_eq!(authorities(&secret), 1);
}

#[tokio::test]
async fn what_is_made_can_be_served_and_is_trusted() {
    let (fake, cluster, _account) = Fake::start().await;
    cluster.ensure().await.unwrap();
    let secret = fake.secret();
    let directory = tempfile::tempdir().unwrap();
    let [certificate, key] = ["tls.crt", "tls.key"].map(|name| {
        let path = directory.path().join(name);
        std::fs::write(&path, entry(&secret, name)).unwrap();
        path
    });
    crate::tls::Pair::read(&certificate, &key).unwrap();
    assert!(trusts(&fake.bundles()[1], &entry(&secret, "tls.crt")));
}

#[tokio::test]
async fn an_old_certificate_is_replaced_and_its_authority_trusted_further() {
    let (fake, cluster, _account) = Fake::start().await;
    let old = old();
    fake.serves(&old);
    cluster.ensure().await.unwrap();
    assert_eq!(fake.lock().requests, RENEWAL);
    let new = fake.secret();
    assert_ne!(new["data"]["tls.crt"], old["data"]["tls.crt"]);
    assert_eq!(new["data"]["more"], old["data"]["more"]);
    assert_eq!(authorities(&new), 2);
    assert!(entry(&new, "ca.crt").ends_with(&entry(&old, "ca.crt")));
    fake.assert_always_trusted();
    fake.assert_settled();
}

#[tokio::test]
async fn a_run_that_dies_leaves_what_is_served_trusted_and_the_next_repairs() {
    for writes in 0..3 {
        let (fake, cluster, _account) = Fake::start().await;
        let old = old();
        fake.serves(&old);
        fake.lock().fails_after = Some(writes);
        for _ in 0..20 {
            // The second time on nothing can be written at all.
            let error = cluster.ensure().await.unwrap_err().to_string();
            assert!(error.contains("HTTP 500"), "{error}");
        }
        assert_eq!(fake.lock().states.len(), writes + 1);
        let [was, now] = [&old, &fake.secret()].map(|secret| entry(secret, "tls.crt"));
        assert_eq!(was == now, writes < 2);
        for bundle in fake.bundles() {
            assert!(trusts(&bundle, &was) && trusts(&bundle, &now));
            assert_eq!(
                Bundle::living(&decoded(&bundle), Timestamp::now()).certificates().count(),
                1 + writes.min(1)
            );
        }
        fake.lock().fails_after = None;
        cluster.ensure().await.unwrap();
        fake.assert_always_trusted();
        fake.assert_settled();
        assert_eq!(authorities(&fake.secret()), 2);
        assert!(trusts(&fake.bundles()[0], &was));
    }
}

#[tokio::test]
async fn runs_that_cannot_write_the_secret_do_not_fill_the_bundle() {
    let (fake, cluster, _account) = Fake::start().await;
    let old = old();
    fake.serves(&old);
    for _ in 0..2 * WIDEST {
        fake.lock().fails_after = Some(1);
        cluster.ensure().await.unwrap_err();
    }
    let bundle = fake.bundles().swap_remove(0);
    assert_eq!(Bundle::living(&decoded(&bundle), Timestamp::now()).certificates().count(), WIDEST);
    fake.lock().fails_after = None;
    cluster.ensure().await.unwrap();
    fake.assert_always_trusted();
    fake.assert_settled();
    assert_eq!(authorities(&fake.secret()), 2);
}

#[tokio::test]
async fn a_secret_that_was_emptied_does_not_take_the_trust_away() {
    let (fake, cluster, _account) = Fake::start().await;
    cluster.ensure().await.unwrap();
    let served = entry(&fake.secret(), "tls.crt");
    fake.lock().secret.as_mut().unwrap()["data"] = json!({});
    cluster.ensure().await.unwrap();
    let states = fake.lock().states.clone();
    assert!(states[1..].iter().all(|(bundles, _)| bundles.iter().all(|bundle| trusts(bundle, &served))));
    assert_ne!(entry(&fake.secret(), "tls.crt"), served);
    fake.assert_settled();
}

#[tokio::test]
async fn what_cannot_be_used_is_replaced() {
    let (_fake, cluster, _account) = Fake::start().await;
    let [good, other] = [(); 2].map(|()| made(&cluster));
    for (name, value, expected) in [
        ("tls.crt", json!(""), "the Secret has no tls.crt"),
        ("tls.crt", json!("!"), "the Secret has no tls.crt"),
        ("ca.crt", Value::Null, "the Secret has no ca.crt"),
        ("tls.key", json!("bm8="), "tls.key holds no private key in PEM form"),
        ("tls.key", other["data"]["tls.key"].clone(), "tls.key is not the key of tls.crt"),
        ("ca.crt", other["data"]["ca.crt"].clone(), "an API server that trusts ca.crt refuses it"),
        ("tls.crt", other["data"]["tls.crt"].clone(), "an API server that trusts ca.crt refuses it"),
    ] {
        let (fake, cluster, _account) = Fake::start().await;
        let mut bad = good.clone();
        bad["data"][name] = value;
        assert!(
            cluster.objection(Some(&bad)).unwrap().contains(expected),
            "{:?}",
            cluster.objection(Some(&bad))
        );
        fake.lock().secret = Some(bad);
        cluster.ensure().await.unwrap();
        assert!(fake.lock().requests.contains(&"replace"));
        assert_eq!(cluster.objection(Some(&fake.secret())), None);
        fake.assert_settled();
    }
}

#[tokio::test]
async fn another_job_that_was_first_wins() {
    for before in [false, true] {
        let (fake, cluster, _account) = Fake::start().await;
        if before {
            fake.serves(&old());
        }
        let theirs = cluster.secret(before.then(|| fake.secret()).as_ref(), Bundle::default()).unwrap();
        let write = if before { "replace" } else { "create" };
        let written = theirs.clone();
        fake.lock().race = Some((
            write,
            Box::new(move |objects| {
                for hook in 0..2 {
                    // It has widened the bundle before.
                    let bundle = decoded(&objects.bundles()[hook]);
                    let both = [bundle, entry(&written, "ca.crt")].concat();
                    objects.webhooks[hook]["clientConfig"]["caBundle"] = STANDARD.encode(both).into();
                }
                objects.version += 1;
                objects.write_secret(written);
            }),
        ));
        cluster.ensure().await.unwrap();
        assert_eq!(fake.secret()["data"], theirs["data"]);
        assert_eq!(fake.lock().requests, ["get", "patch", write, "get", "patch"]);
        fake.assert_settled();
        if before {
            fake.assert_always_trusted();
        }
    }
}

#[tokio::test]
async fn a_bundle_that_was_changed_meanwhile_is_read_again() {
    let (fake, cluster, _account) = Fake::start().await;
    let old = old();
    fake.serves(&old);
    let theirs = decoded(made(&cluster)["data"]["ca.crt"].as_str().unwrap());
    let theirs = String::from_utf8(theirs).unwrap();
    let more = theirs.clone();
    fake.lock().race = Some(("patch", Box::new(move |objects| objects.widen(&more))));
    cluster.ensure().await.unwrap();
    assert_eq!(fake.lock().requests, ["get", "patch", "get", "patch", "replace", "get", "patch"]);
    let widened = String::from_utf8(decoded(&fake.lock().states[2].0[0])).unwrap();
    assert!(
        widened.contains(&theirs),
        "another's authority is dropped before it is known whose Secret it will be"
    );
    fake.assert_always_trusted();
    fake.assert_settled();
}

#[tokio::test]
async fn two_jobs_at_once_agree() {
    let (fake, cluster, _account) = Fake::start().await;
    fake.serves(&old());
    let (one, two) = tokio::join!(cluster.ensure(), cluster.ensure());
    one.unwrap();
    two.unwrap();
    fake.assert_always_trusted();
    fake.assert_settled();
    assert_eq!(authorities(&fake.secret()), 2);
}

#[tokio::test]
async fn the_bundle_of_somebody_else_goes_once_the_secret_is_good() {
    let (fake, cluster, _account) = Fake::start().await;
    let [served, theirs] = [old(), made(&cluster)];
    fake.serves(&served);
    let theirs = String::from_utf8(entry(&theirs, "ca.crt")).unwrap();
    fake.lock().widen(&theirs);
    cluster.ensure().await.unwrap();
    fake.assert_always_trusted();
    fake.assert_settled();
    assert!(!String::from_utf8(entry(&fake.secret(), "ca.crt")).unwrap().contains(&theirs));
}

#[tokio::test]
async fn somebody_who_never_stops_is_told_of() {
    let (fake, cluster, _account) = Fake::start().await;
    fn spoil(objects: &mut Objects) {
        objects.version += 1;
        objects.race = Some(("patch", Box::new(spoil)));
    }
    fake.lock().race = Some(("patch", Box::new(spoil)));
    let error = cluster.ensure().await.unwrap_err().to_string();
    assert!(error.contains("mutatingwebhookconfigurations/hook: HTTP 422"), "{error}");
    assert!(error.ends_with("run this again"), "{error}");
    assert!(fake.lock().secret.is_none());
}

#[tokio::test]
async fn a_missing_configuration_is_named_and_the_secret_made_all_the_same() {
    let (fake, mut cluster, _account) = Fake::start().await;
    cluster.configuration = "other".into();
    let error = cluster.ensure().await.unwrap_err().to_string();
    assert!(error.contains("mutatingwebhookconfigurations/other: HTTP 404"), "{error}");
    assert_eq!(cluster.objection(Some(&fake.secret())), None);
}
