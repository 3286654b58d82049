//! Where the legacy injector was wrong, and what is new, case by case.

use boathouse_webhook::mutate::{Outcome, Output, Pod};
use serde_json::{Value, json};

use super::{LEGACY, ONE, apply, create, create_in, denied, notebook, patched};

const BOTH: [Output; 2] = [Output::FlexVolume, Output::Csi];

#[test]
fn missing_and_null_arrays_are_made() {
    for output in BOTH {
        for missing in [json!(null), json!("absent")] {
            let mut pod = notebook();
            for (parent, key) in [("/spec", "volumes"), ("/spec/containers/0", "volumeMounts")] {
                let parent = pod.pointer_mut(parent).unwrap().as_object_mut().unwrap();
                parent.insert(key.to_owned(), Value::Null);
                if missing == "absent" {
                    parent.remove(key);
                }
            }
            let (after, _) = patched(&pod, LEGACY, output);
            assert_eq!(after["spec"]["volumes"].as_array().unwrap().len(), 4);
            assert_eq!(after["spec"]["containers"][0]["volumeMounts"].as_array().unwrap().len(), 4);
        }
    }
}

#[test]
fn csi_has_the_same_keys_and_propagates() {
    let (flex, _) = patched(&notebook(), LEGACY, Output::FlexVolume);
    let (csi, _) = patched(&notebook(), LEGACY, Output::Csi);
    for (flex, csi) in flex["spec"]["volumes"].as_array().unwrap()[1..]
        .iter()
        .zip(&csi["spec"]["volumes"].as_array().unwrap()[1..])
    {
        assert_eq!(csi["name"], flex["name"]);
        let expected = json!({
            "driver": "boathouse.statcan.gc.ca",
            "volumeAttributes": flex["flexVolume"]["options"],
        });
        assert_eq!(csi["csi"], expected);
    }
    assert_eq!(
        csi["spec"]["containers"][0]["volumeMounts"][1],
        json!({
            "name": "premium-minio-tenant-1-private",
            "mountPath": "/home/jovyan/minio/premium-tenant-1/private",
            "mountPropagation": "HostToContainer",
        })
    );
    assert_eq!(flex["spec"]["containers"][0]["volumeMounts"][1].get("mountPropagation"), None);
}

#[test]
fn a_second_invocation_changes_nothing() {
    for first in BOTH {
        let (once, _) = patched(&notebook(), LEGACY, first);
        assert_eq!(create(&once, LEGACY, first), Outcome::Unchanged { warnings: vec![] });
    }
}

#[test]
fn an_unparsable_annotation_is_named() {
    for value in [json!(""), json!("yes"), json!("tRUE"), json!(" true"), json!("\u{202e}1")] {
        let mut pod = notebook();
        pod["metadata"]["annotations"]["data.statcan.gc.ca/inject-boathouse"] = value;
        let message = denied(&pod, ONE, Output::Csi);
        assert!(message.starts_with("annotation data.statcan.gc.ca/inject-boathouse is \""), "{message}");
        assert!(message.ends_with("write \"true\" or \"false\""), "{message}");
        assert!(message.is_ascii(), "{message}");
    }
    let mut pod = notebook();
    pod["metadata"]["annotations"]["boathouse.statcan.gc.ca/output"] = json!("CSI");
    assert_eq!(
        denied(&pod, ONE, Output::Csi),
        r#"annotation boathouse.statcan.gc.ca/output is "CSI"; write "csi" or "flexVolume""#
    );
}

#[test]
fn the_pods_own_output_wins() {
    for (annotation, key) in [("csi", "csi"), ("flexVolume", "flexVolume")] {
        for output in BOTH {
            let mut pod = notebook();
            pod["metadata"]["annotations"]["boathouse.statcan.gc.ca/output"] = json!(annotation);
            let (after, _) = patched(&pod, ONE, output);
            assert!(after["spec"]["volumes"][1].get(key).is_some(), "{after:#}");
        }
    }
}

#[test]
fn the_requests_namespace_counts() {
    let bucket = |request: Option<&str>, own: Option<&str>| {
        let mut pod = notebook();
        if let Some(own) = own {
            pod["metadata"]["namespace"] = json!(own);
        }
        match create_in(request, &pod, ONE, Output::Csi) {
            Outcome::Patched { patch, .. } => {
                apply(&pod, &patch).unwrap()["spec"]["volumes"][1]["csi"]["volumeAttributes"].take()
            }
            Outcome::Denied { message } => json!(message),
            Outcome::Unchanged { .. } => panic!("unchanged"),
        }
    };
    assert_eq!(bucket(Some("alice"), None)["vault-path"], "minio/keys/profile-alice");
    assert_eq!(bucket(Some("alice"), Some("bob"))["vault-path"], "minio/keys/profile-alice");
    assert_eq!(bucket(None, Some("bob"))["vault-path"], "minio/keys/profile-bob");
    assert_eq!(bucket(Some("data_team"), None)["vault-path"], "minio/keys/profile-data-team");
    assert!(bucket(None, None).as_str().unwrap().contains("namespace"));
}

#[test]
fn a_namespace_without_a_legal_bucket_is_refused_in_words() {
    let Outcome::Denied { message } = create_in(Some("ab"), &notebook(), ONE, Output::Csi) else {
        panic!("was let through")
    };
    assert!(message.contains("instance lake") && message.contains("namespace \"ab\""), "{message}");
    assert!(message.contains("bucket \"ab\": is 2 characters long"), "{message}");
}

#[test]
fn init_containers_and_unknown_fields_are_untouched() {
    let mut pod = notebook();
    pod["spec"]["initContainers"] = json!([{"name": "wait", "restartPolicy": "Always"}, {"name": "i"}]);
    pod["spec"]["ephemeralContainers"] = json!([{"name": "debug"}]);
    pod["spec"]["fieldOfTheFuture"] = json!({"a": [1, {"b": null}]});
    pod["spec"]["containers"][0]["anotherOne"] = json!(1.5);
    for output in BOTH {
        let (after, _) = patched(&pod, LEGACY, output);
        for pointer in [
            "/metadata",
            "/spec/initContainers",
            "/spec/ephemeralContainers",
            "/spec/fieldOfTheFuture",
            "/spec/containers/0/anotherOne",
        ] {
            assert_eq!(after.pointer(pointer), pod.pointer(pointer), "{pointer}");
        }
    }
}

#[test]
fn a_pod_that_the_api_server_is_yet_to_name() {
    let mut pod = notebook();
    let metadata = pod["metadata"].as_object_mut().unwrap();
    metadata.remove("name");
    metadata.insert("generateName".to_owned(), json!("nb-"));
    let (after, _) = patched(&pod, ONE, Output::Csi);
    assert_eq!(after["metadata"], pod["metadata"]);
}

#[test]
fn what_is_not_there_is_no_trouble() {
    for pod in [json!({}), json!({"metadata": null, "spec": null}), json!({"spec": {"containers": null}})] {
        assert_eq!(create(&pod, ONE, Output::Csi), Outcome::Unchanged { warnings: vec![] }, "{pod}");
    }
}

#[test]
fn what_is_no_pod_is_an_error() {
    for (pod, words) in [
        (json!(null), "expected an object"),
        (json!([]), "expected an object"),
        (json!({"metadata": []}), "expected an object"),
        (json!({"metadata": {"namespace": 7}}), "expected a string"),
        (json!({"spec": {"containers": {}}}), "expected an array"),
        (json!({"spec": {"volumes": [{"name": "v", "flexVolume": []}]}}), "expected an object"),
        (json!({"spec": {"volumes": vec![json!({}); 4097]}}), "more than 4096 elements"),
    ] {
        let error = Pod::parse(&pod.to_string()).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    assert!(Pod::parse(r#"{"spec": {}, "spec": {}}"#).unwrap_err().to_string().contains("duplicate field"));
}

#[test]
fn what_is_read_only_when_it_is_needed_is_refused_by_its_field() {
    let mut pod = notebook();
    pod["spec"]["containers"][0]["volumeMounts"] = json!([{"name": 7}]);
    assert!(denied(&pod, ONE, Output::Csi).starts_with("container \"nb\": volumeMounts: \"invalid type"));
    pod["metadata"]["annotations"] = json!({"data.statcan.gc.ca/inject-boathouse": 7});
    assert!(denied(&pod, ONE, Output::Csi).starts_with("metadata.annotations: \"invalid type"));
    pod["metadata"]["annotations"] = json!({});
    assert_eq!(create(&pod, ONE, Output::Csi), Outcome::Unchanged { warnings: vec![] });
}

#[test]
fn rules_pick_containers() {
    let mut pod = notebook();
    pod["spec"]["containers"] = json!([{"name": "proxy"}, {"name": "main"}, {"name": "log"}]);
    pod["metadata"]["labels"] = json!({"app": "batch"});
    let picked = |rule: &str| {
        let (after, _) = patched(&pod, &format!("containers: [{rule}]{ONE}"), Output::Csi);
        let containers = after["spec"]["containers"].as_array().unwrap().clone();
        containers
            .iter()
            .filter(|c| c.get("volumeMounts").is_some())
            .map(|c| c["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(picked("{mountIn: [main]}"), ["main"]);
    assert_eq!(picked("{mountIn: [2, proxy, 9]}"), ["proxy", "log"]);
    assert_eq!(picked("{mountIn: ['*']}"), ["proxy", "main", "log"]);
    assert_eq!(picked("{podLabel: app, mountIn: [main]}"), ["main"]);
    assert_eq!(picked("{podLabel: app=batch, firstContainer: proxy, mountIn: [main]}"), ["main"]);
    // Does not apply, so the first container it is.
    assert_eq!(picked("{podLabel: app=web, mountIn: [main]}"), ["proxy"]);
    assert_eq!(picked("{podLabel: other, mountIn: [main]}"), ["proxy"]);
    assert_eq!(picked("{firstContainer: main, mountIn: [main]}"), ["proxy"]);
    // The first that applies counts.
    assert_eq!(picked("{podLabel: app, mountIn: [log]}, {mountIn: [main]}"), ["log"]);
}

#[test]
fn read_only_is_said_in_the_volume_and_in_the_mount() {
    let instances = ONE.replace("\"{profile}\"", "\"{profile}\", readOnly: true");
    for (output, key) in [(Output::FlexVolume, "flexVolume"), (Output::Csi, "csi")] {
        let (after, _) = patched(&notebook(), &instances, output);
        assert_eq!(after["spec"]["volumes"][1][key]["readOnly"], true);
        assert_eq!(after["spec"]["containers"][0]["volumeMounts"][1]["readOnly"], true);
    }
    let whole = format!("{ONE}    readOnly: true\n");
    let (after, _) = patched(&notebook(), &whole, Output::Csi);
    assert_eq!(after["spec"]["volumes"][1]["csi"]["readOnly"], true);
}

#[test]
fn an_optional_directory_says_so_and_is_left_out_where_it_cannot_be() {
    let instances = format!("{ONE}    optional: true\n");
    for (output, pointer) in
        [(Output::FlexVolume, "/flexVolume/options"), (Output::Csi, "/csi/volumeAttributes")]
    {
        let (after, _) = patched(&notebook(), &instances, output);
        let attributes = after["spec"]["volumes"][1].pointer(pointer).unwrap();
        assert_eq!(attributes["optional"], "true");
    }
    let Outcome::Unchanged { warnings } = create_in(Some("ab"), &notebook(), &instances, Output::Csi) else {
        panic!("was changed")
    };
    let [warning] = &warnings[..] else { panic!("{warnings:?}") };
    assert!(warning.starts_with("optional directory /home/jovyan/minio/lake/private was not added: bucket"));
}
