#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;
use boathouse_bucket::HttpConfig;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use tempfile::TempDir;

/// Any certificate; what is written before it makes bundles differ.
const CERTIFICATE: &str = include_str!("../../../crates/bucket/tests/data/certificate.pem");

fn bundle(comment: &str) -> String {
    format!("# {comment}\n{CERTIFICATE}")
}

/// A state directory and a directory of bundles, as kubelet mounts a ConfigMap.
struct Node {
    tree: TempDir,
}

impl Node {
    fn new() -> Self {
        let node = Self { tree: tempfile::tempdir().unwrap() };
        fs::create_dir_all(node.bin()).unwrap();
        node
    }

    fn bin(&self) -> PathBuf {
        self.tree.path().join("bin")
    }

    fn directory(&self) -> PathBuf {
        self.tree.path().join("authorities")
    }

    /// Replaces the whole directory's content by a change of one link; what it led to is gone then.
    fn swap(&self, version: &str, bundles: &[(&str, &str)]) {
        let (directory, data) = (self.directory(), self.directory().join("..data"));
        let own = directory.join(format!("..{version}"));
        fs::create_dir_all(&own).unwrap();
        for (name, content) in bundles {
            fs::write(own.join(format!("{name}.pem")), content).unwrap();
            let link = directory.join(format!("{name}.pem"));
            let _ = fs::remove_file(&link);
            symlink(format!("..data/{name}.pem"), link).unwrap();
        }
        let old = fs::read_link(&data);
        symlink(format!("..{version}"), directory.join("..new")).unwrap();
        fs::rename(directory.join("..new"), data).unwrap();
        if let Ok(old) = old {
            fs::remove_dir_all(directory.join(old)).unwrap();
        }
    }

    fn open(&self, ca_file: Option<&Path>) -> Result<Authorities, AuthorityError> {
        let http = Http::new(HttpConfig::default()).unwrap();
        Authorities::open(&self.bin(), http, ca_file, Some(self.directory()))
    }
}

fn volume(ca: Option<&str>, endpoint: &str) -> VolumeSpec {
    let mut spec = VolumeSpec::new("alice".parse().unwrap());
    spec.endpoint = Some(endpoint.parse().unwrap());
    spec.ca = ca.map(|name| name.parse().unwrap());
    spec
}

fn file(authorities: &Authorities, ca: Option<&str>) -> Option<PathBuf> {
    authorities.of(&volume(ca, "https://minio:9000")).unwrap().ca_file
}

fn error(authorities: &Authorities, ca: &str) -> String {
    authorities.of(&volume(Some(ca), "https://minio:9000")).unwrap_err().to_string()
}

/// A ConfigMap's file lies in the container alone, and is readable for root alone if its volume says so.
#[test]
fn the_bundle_for_all_is_copied_and_readable_for_every_daemon() {
    let node = Node::new();
    node.swap("1", &[]);
    let ca = node.tree.path().join("ca");
    fs::write(&ca, bundle("all")).unwrap();
    fs::set_permissions(&ca, fs::Permissions::from_mode(0o400)).unwrap();
    let authorities = node.open(Some(&ca)).unwrap();
    let copy = file(&authorities, None).unwrap();
    assert_eq!(authorities.ca_file(), Some(copy.as_path()));
    assert!(copy.starts_with(node.bin()));
    assert_eq!(fs::metadata(&copy).unwrap().mode() & 0o777, 0o644);
    assert_eq!(fs::read_to_string(&copy).unwrap(), bundle("all"));
    assert_eq!(authorities.of(&volume(None, "http://minio:9000")).unwrap().ca_file, None);
    fs::write(node.tree.path().join("junk"), "junk").unwrap();
    let error = node.open(Some(&node.tree.path().join("junk"))).unwrap_err().to_string();
    assert!(error.contains("/junk: no certificate in PEM form"), "{error}");
    fs::remove_file(&ca).unwrap();
    let error = node.open(Some(&ca)).unwrap_err().to_string();
    assert!(error.contains("--s3-ca-file"), "{error}");
}

#[test]
fn each_volume_has_the_bundle_it_names() {
    let node = Node::new();
    node.swap("1", &[("one", &bundle("one")), ("two", &bundle("two")), ("first", &bundle("one"))]);
    let authorities = node.open(None).unwrap();
    assert_eq!(file(&authorities, None), None);
    let [one, two, first] = ["one", "two", "first"].map(|name| file(&authorities, Some(name)).unwrap());
    assert_eq!(fs::read_to_string(&one).unwrap(), bundle("one"));
    assert_eq!(fs::read_to_string(&two).unwrap(), bundle("two"));
    assert_eq!(first, one, "the same content is installed once");
}

#[test]
fn a_changed_bundle_counts_at_once_and_the_old_copy_stays() {
    let node = Node::new();
    node.swap("1", &[("one", &bundle("one"))]);
    let authorities = node.open(None).unwrap();
    let old = file(&authorities, Some("one")).unwrap();
    assert_eq!(file(&authorities, Some("one")).unwrap(), old);
    node.swap("2", &[("one", &bundle("newer"))]);
    let new = file(&authorities, Some("one")).unwrap();
    assert_eq!(fs::read_to_string(new).unwrap(), bundle("newer"));
    assert_eq!(fs::read_to_string(old).unwrap(), bundle("one"), "mounts use it");
}

#[test]
fn a_bundle_that_is_not_there_is_named_with_those_that_are() {
    let node = Node::new();
    node.swap("1", &[]);
    let authorities = node.open(None).unwrap();
    let directory = node.directory();
    let expected = |there: &str| {
        format!(
            "ca \"two\": there is no two.pem in {}; {there}; write another name, or have the bundle added there",
            directory.display()
        )
    };
    assert_eq!(error(&authorities, "two"), expected("there are no bundles yet"));
    node.swap("2", &[("one", &bundle("one")), ("b", &bundle("b"))]);
    assert_eq!(error(&authorities, "two"), expected("there are \"b\", \"one\""));
    node.swap("3", &[("two", &bundle("two"))]);
    assert!(file(&authorities, Some("two")).is_some(), "no restart");
    let many: Vec<String> = (0..30).map(|n| format!("n{n}")).collect();
    assert!(there(&many).ends_with("\"n19\" and 10 more"));
}

#[test]
fn what_is_no_bundle_is_named_as_the_operator_knows_it() {
    let node = Node::new();
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    node.swap("1", &[("empty", ""), ("text", "no PEM"), ("broken", broken)]);
    let authorities = node.open(None).unwrap();
    for name in ["empty", "text", "broken"] {
        let said = error(&authorities, name);
        let file = node.directory().join(format!("{name}.pem"));
        assert!(said.starts_with(&format!("authorities of S3 servers {}: ", file.display())), "{said}");
        assert!(said.contains("write certificates in PEM form") && !said.contains("/bin/"), "{said}");
    }
    node.swap("2", &[("text", &bundle("text"))]);
    assert!(file(&authorities, Some("text")).is_some());
}

#[test]
fn without_a_directory_no_volume_can_name_a_bundle() {
    let node = Node::new();
    let error = node.open(None).unwrap_err().to_string();
    assert!(error.contains("/authorities: ") && error.contains("--s3-ca-dir"), "{error}");
    let http = Http::new(HttpConfig::default()).unwrap();
    let authorities = Authorities::open(&node.bin(), http, None, None).unwrap();
    let error = self::error(&authorities, "one");
    assert!(error.starts_with("ca \"one\": ") && error.contains("--s3-ca-dir"), "{error}");
}
