#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use super::*;
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn endpoints() {
    for text in ["/run/a.sock", "unix:///run/a.sock", "unix:/run/a.sock"] {
        assert_eq!(text.parse::<Endpoint>().unwrap().path(), Path::new("/run/a.sock"), "{text}");
    }
    assert_eq!("/run/a.sock".parse::<Endpoint>().unwrap().to_string(), "unix:///run/a.sock");
    for text in ["", "a.sock", "unix://run/a.sock", "tcp://1.2.3.4:5", "@abstract", "unix:"] {
        assert_eq!(text.parse::<Endpoint>(), Err(EndpointError::NotAbsolute(text.into())), "{text}");
    }
    assert!(matches!("/run/".parse::<Endpoint>(), Err(EndpointError::Directory(_))));
    assert!(matches!(format!("/{}", "a".repeat(106)).parse::<Endpoint>(), Err(EndpointError::TooLong(_))));
    let longest = format!("/{}", "a".repeat(105)).parse::<Endpoint>().unwrap();
    assert_eq!(longest.path().as_os_str().len(), MAX_PATH_BYTES);
}

#[tokio::test]
async fn a_file_that_is_left_is_replaced_by_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.sock");
    drop(bind_private(&path).await.unwrap().leave_file());
    assert!(path.exists() && UnixStream::connect(&path).await.is_err());
    let next = bind_private(&path).await.unwrap();
    UnixStream::connect(&path).await.unwrap();
    drop(next);
    assert!(!path.exists());
}

#[tokio::test]
async fn makes_the_directory_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deep/er/x.sock");
    let listener = bind_private(&path).await.unwrap();
    assert_eq!(mode(&path), 0o600);
    assert_eq!(listener.path(), path);
    let (client, server) = tokio::join!(UnixStream::connect(&path), listener.accept());
    client.unwrap();
    server.unwrap();
    drop(listener);
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 0);
}

#[tokio::test]
async fn keeps_the_mode_of_an_existing_directory() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o751)).unwrap();
    let _listener = bind_private(dir.path().join("x.sock")).await.unwrap();
    assert_eq!(mode(dir.path()), 0o751);
}

/// Another thread looks at the path all the time: it must never see a mode wider than 0600.
#[tokio::test(flavor = "multi_thread")]
async fn is_private_from_its_first_moment() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.sock");
    let stop = Arc::new(AtomicBool::new(false));
    let seen = Arc::new(AtomicU32::new(0));
    let watcher = {
        let (path, stop, seen) = (path.clone(), stop.clone(), seen.clone());
        std::thread::spawn(move || {
            let mut wide = BTreeSet::new();
            while !stop.load(Ordering::Relaxed) {
                if let Ok(meta) = fs::symlink_metadata(&path) {
                    seen.fetch_add(1, Ordering::Relaxed);
                    if meta.permissions().mode() & 0o777 != 0o600 {
                        wide.insert(format!("{:o}", meta.permissions().mode()));
                    }
                }
            }
            wide
        })
    };
    let mut rounds = 0;
    while rounds < 500 || seen.load(Ordering::Relaxed) == 0 {
        drop(bind_private(&path).await.unwrap());
        rounds += 1;
    }
    stop.store(true, Ordering::Relaxed);
    assert_eq!(watcher.join().unwrap(), BTreeSet::new());
}

#[tokio::test]
async fn replaces_a_socket_nobody_listens_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.sock");
    // std's listener leaves its file behind, as a killed process does.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let _listener = bind_private(&path).await.unwrap();
    assert_eq!(mode(&path), 0o600);
    UnixStream::connect(&path).await.unwrap();
}

#[tokio::test]
async fn refuses_a_second_instance_and_keeps_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.sock");
    let _first = bind_private(&path).await.unwrap();
    let err = bind_private(&path).await.unwrap_err();
    assert!(matches!(err, BindError::InUse(_)), "{err}");
    assert!(err.to_string().contains(path.to_str().unwrap()), "{err}");
    UnixStream::connect(&path).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_starts_at_once_exactly_one_wins() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let starts: Vec<_> = (0..16)
        .map(|_| {
            tokio::spawn({
                let path = path.clone();
                async move { bind_private(path).await }
            })
        })
        .collect();
    let mut won = Vec::new();
    for start in starts {
        match start.await.unwrap() {
            Ok(listener) => won.push(listener),
            Err(err) => assert!(matches!(err, BindError::InUse(_)), "{err}"),
        }
    }
    assert_eq!(won.len(), 1);
    UnixStream::connect(&path).await.unwrap();
}

/// Connects again and again until it works, and then twenty times more. The answer is what went wrong.
fn connect_until_served(path: &Path, begun: &AtomicBool) -> BTreeSet<io::ErrorKind> {
    let mut errors = BTreeSet::new();
    let mut served = 0;
    while served < 20 {
        match std::os::unix::net::UnixStream::connect(path) {
            Ok(_) => served += 1,
            Err(err) if served == 0 => drop(errors.insert(err.kind())),
            Err(err) => panic!("served, and then {err}"),
        }
        begun.store(true, Ordering::Relaxed);
    }
    errors
}

/// A client sees what was there before, or the new server: never a socket that refuses in between, nor a name that is
/// gone for a moment.
#[tokio::test(flavor = "multi_thread")]
async fn appears_at_once_and_answering() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..400 {
        let path = dir.path().join(format!("{round}.sock"));
        let before = if round % 2 == 0 {
            io::ErrorKind::NotFound
        } else {
            drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
            io::ErrorKind::ConnectionRefused
        };
        let begun = Arc::new(AtomicBool::new(false));
        let client = {
            let (path, begun) = (path.clone(), begun.clone());
            std::thread::spawn(move || connect_until_served(&path, &begun))
        };
        while !begun.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        let _listener = bind_private(&path).await.unwrap();
        assert_eq!(client.join().unwrap(), BTreeSet::from([before]), "round {round}");
    }
}

#[tokio::test]
async fn the_hidden_name_is_cleared_of_a_crash_and_of_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let (path, hidden) = (dir.path().join("x.sock"), dir.path().join(".x.sock"));
    drop(std::os::unix::net::UnixListener::bind(&hidden).unwrap());
    drop(bind_private(&path).await.unwrap());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);

    let other = bind_private(&hidden).await.unwrap();
    let err = bind_private(&path).await.unwrap_err();
    assert!(matches!(&err, BindError::InUse(used) if *used == hidden), "{err}");
    UnixStream::connect(&hidden).await.unwrap();
    drop(other);

    fs::write(&hidden, "data").unwrap();
    let err = bind_private(&path).await.unwrap_err();
    assert!(matches!(&err, BindError::NotASocket(found) if *found == hidden), "{err}");
    assert_eq!(fs::read(&hidden).unwrap(), b"data");
}

#[tokio::test]
async fn leaves_what_is_not_a_socket() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::write(path("file"), "data").unwrap();
    fs::create_dir(path("directory")).unwrap();
    nix::unistd::mkfifo(&path("fifo"), Mode::S_IRUSR).unwrap();
    // A link is not followed, not even to a socket that may be replaced.
    drop(std::os::unix::net::UnixListener::bind(path("stale")).unwrap());
    std::os::unix::fs::symlink("stale", path("link")).unwrap();
    for name in ["file", "directory", "fifo", "link"] {
        let before = identity(&path(name)).unwrap();
        let err = bind_private(path(name)).await.unwrap_err();
        assert!(matches!(err, BindError::NotASocket(_)), "{name}: {err}");
        assert_eq!(identity(&path(name)).unwrap(), before, "{name}");
    }
    assert_eq!(fs::read(path("file")).unwrap(), b"data");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 5);
}

#[tokio::test]
async fn does_not_remove_its_successors_socket() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.sock");
    let old = bind_private(&path).await.unwrap();
    fs::remove_file(&path).unwrap();
    let _new = bind_private(&path).await.unwrap();
    drop(old);
    UnixStream::connect(&path).await.unwrap();
}
