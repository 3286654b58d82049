//! What an archive holds, byte for byte and field by field.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use boathouse_image::{Architecture, Entry, Image, ImageError, ImagePath, Reference};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use tempfile::TempDir;

fn path(path: &str) -> ImagePath {
    ImagePath::new(path).unwrap()
}

/// Two scripts, a link and a directory; `order` is the one in which they are added.
fn image(sources: &Path, order: [usize; 4]) -> Image {
    let file = |name: &str, mode| {
        let source = sources.join(name);
        if !source.exists() {
            fs::write(&source, format!("#!/bin/{name}\n")).unwrap();
        }
        Entry::File { source, mode }
    };
    let entries = [
        (path("/usr/local/bin/one"), file("one", 0o755)),
        (path("/etc/two"), file("two", 0o640)),
        (path("/usr/local/bin/link"), Entry::Symlink { target: "one".to_owned() }),
        (path("/tmp"), Entry::Directory { mode: 0o1777 }),
    ];
    let reference = Reference::new("localhost/thing", "7").unwrap();
    let mut image = Image::new(reference, Architecture::of_host().unwrap());
    for index in order {
        let (path, entry) = entries[index].clone();
        image.entries.insert(path, entry);
    }
    image.entrypoint = vec!["/usr/local/bin/one".to_owned(), "--flag".to_owned()];
    image.environment.insert("PATH".to_owned(), "/usr/local/bin".to_owned());
    image.user = "65532:65532".to_owned();
    image.labels.insert("org.opencontainers.image.title".to_owned(), "thing".to_owned());
    image
}

struct Member {
    name: String,
    mode: u32,
    kind: tar::EntryType,
    link: String,
    content: Vec<u8>,
}

/// What is in a tar; that nothing of the host is.
fn members(archive: &[u8]) -> Vec<Member> {
    let mut archive = tar::Archive::new(archive);
    let mut members = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let header = entry.header();
        let of_host = [header.mtime().unwrap(), header.uid().unwrap(), header.gid().unwrap()];
        assert_eq!(of_host, [0, 0, 0]);
        assert_eq!(header.username().unwrap().unwrap_or_default(), "");
        let (mode, kind) = (header.mode().unwrap(), header.entry_type());
        let name = entry.path().unwrap().display().to_string();
        let link = entry.link_name().unwrap().map(|link| link.display().to_string()).unwrap_or_default();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        members.push(Member { name, mode, kind, link, content });
    }
    members
}

fn blobs(archive: &Path) -> BTreeMap<String, Vec<u8>> {
    members(&fs::read(archive).unwrap()).into_iter().map(|member| (member.name, member.content)).collect()
}

fn blob<'a>(blobs: &'a BTreeMap<String, Vec<u8>>, descriptor: &Value) -> &'a [u8] {
    let digest = descriptor["digest"].as_str().unwrap();
    let content = &blobs[&format!("blobs/{}", digest.replace(':', "/"))];
    assert_eq!(descriptor["size"], content.len());
    content
}

#[test]
fn the_same_input_gives_the_same_bytes_in_any_order() {
    let [sources, first, second] = [(); 3].map(|()| TempDir::new().unwrap());
    let one = image(sources.path(), [0, 1, 2, 3]).write(first.path()).unwrap();
    // Neither the time nor the modes of the files on this machine count.
    for name in ["one", "two"] {
        let path = sources.path().join(name);
        fs::write(&path, fs::read(&path).unwrap()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::File::open(&path).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    }
    let other = image(sources.path(), [3, 2, 1, 0]).write(second.path()).unwrap();
    assert_eq!(one.digest, other.digest);
    assert_eq!(fs::read(&one.path).unwrap(), fs::read(&other.path).unwrap());
    // Known from an earlier run on another day: a change of the format is a change of every digest.
    let expected = "sha256:671c2f0b817f9cf6cec1a07d5aeacd60551d095e0d7bbe12f4f6d303a92d1830";
    if cfg!(target_arch = "x86_64") {
        assert_eq!(one.digest, expected);
    }

    fs::write(sources.path().join("two"), "changed").unwrap();
    let changed = image(sources.path(), [0, 1, 2, 3]).write(second.path()).unwrap();
    assert_ne!(changed.digest, one.digest);
    assert_eq!(fs::read_dir(second.path()).unwrap().count(), 1, "a temporary file is left");
}

#[test]
fn the_layer_holds_what_was_described() {
    let [sources, out] = [(); 2].map(|()| TempDir::new().unwrap());
    let archive = image(sources.path(), [0, 1, 2, 3]).write(out.path()).unwrap();
    let blobs = blobs(&archive.path);
    let index: Value = serde_json::from_slice(&blobs["index.json"]).unwrap();
    assert_eq!(index["manifests"][0]["digest"], archive.digest);
    let manifest: Value = serde_json::from_slice(blob(&blobs, &index["manifests"][0])).unwrap();
    let layer = blob(&blobs, &manifest["layers"][0]);
    let listed: Vec<String> = members(layer)
        .into_iter()
        .map(|Member { name, mode, kind, link, content }| {
            format!("{kind:?} {mode:o} {name} {link}{}", String::from_utf8(content).unwrap().trim_end())
        })
        .collect();
    assert_eq!(
        listed,
        [
            "Directory 755 etc/ ",
            "Regular 640 etc/two #!/bin/two",
            "Directory 1777 tmp/ ",
            "Directory 755 usr/ ",
            "Directory 755 usr/local/ ",
            "Directory 755 usr/local/bin/ ",
            "Symlink 777 usr/local/bin/link one",
            "Regular 755 usr/local/bin/one #!/bin/one",
        ]
    );
}

#[test]
fn both_formats_name_the_same_blobs() {
    let [sources, out] = [(); 2].map(|()| TempDir::new().unwrap());
    let archive = image(sources.path(), [0, 1, 2, 3]).write(out.path()).unwrap();
    assert_eq!(archive.path, out.path().join("thing.tar"));
    assert_eq!(archive.size, fs::metadata(&archive.path).unwrap().len());
    let blobs = blobs(&archive.path);
    let index: Value = serde_json::from_slice(&blobs["index.json"]).unwrap();
    let manifest: Value = serde_json::from_slice(blob(&blobs, &index["manifests"][0])).unwrap();
    let docker: Value = serde_json::from_slice(&blobs["manifest.json"]).unwrap();
    assert_eq!(docker[0]["RepoTags"][0], "localhost/thing:7");
    assert_eq!(index["manifests"][0]["annotations"]["io.containerd.image.name"], "localhost/thing:7");
    for (path, descriptor) in
        [(&docker[0]["Config"], &manifest["config"]), (&docker[0]["Layers"][0], &manifest["layers"][0])]
    {
        assert_eq!(blobs[path.as_str().unwrap()], blob(&blobs, descriptor));
    }
    let config: Value = serde_json::from_slice(blob(&blobs, &manifest["config"])).unwrap();
    assert_eq!(config["rootfs"]["diff_ids"][0], manifest["layers"][0]["digest"]);
    assert_eq!(config["architecture"], Architecture::of_host().unwrap().name());
    assert_eq!(
        config["config"],
        serde_json::json!({
            "User": "65532:65532",
            "Env": ["PATH=/usr/local/bin"],
            "Entrypoint": ["/usr/local/bin/one", "--flag"],
            "WorkingDir": "/",
            "Labels": { "org.opencontainers.image.title": "thing" },
        })
    );
}

#[test]
fn a_long_path_is_kept_whole() {
    let [sources, out] = [(); 2].map(|()| TempDir::new().unwrap());
    let mut image = image(sources.path(), [0, 1, 2, 3]);
    let long = format!("/{}/file", "d".repeat(200));
    image.entries.insert(path(&long), image.entries[&path("/etc/two")].clone());
    let archive = image.write(out.path()).unwrap();
    let blobs = blobs(&archive.path);
    let layer = blobs.values().max_by_key(|content| content.len()).unwrap();
    assert!(members(layer).iter().any(|member| member.name == long[1..]));
}

#[test]
fn what_cannot_be_an_image_is_named() {
    let [sources, out] = [(); 2].map(|()| TempDir::new().unwrap());
    let good = image(sources.path(), [0, 1, 2, 3]);
    let error = |entry: (&str, Entry)| {
        let mut image = good.clone();
        image.entries.insert(path(entry.0), entry.1);
        image.write(out.path()).unwrap_err()
    };

    let absent = sources.path().join("absent");
    let missing = error(("/absent", Entry::File { source: absent.clone(), mode: 0o644 }));
    assert_eq!(
        missing.to_string(),
        format!("read {}: No such file or directory (os error 2)", absent.display())
    );

    let below = error(("/etc/two/three", Entry::Directory { mode: 0o755 }));
    assert!(matches!(below, ImageError::Parent { .. }), "{below}");
    assert_eq!(
        below.to_string(),
        "/etc/two/three cannot be in the image: /etc/two is there too and is no directory"
    );

    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0, "something is left of a failure");
}
