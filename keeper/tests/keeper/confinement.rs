//! What the daemon gets and what it does not; what the keeper makes of itself.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use crate::fixture::{self, GID, Mount, UID, descriptors, environment, proc_status};

crate::trials!(
    the_daemon_is_unprivileged,
    the_daemon_has_exactly_these_descriptors,
    the_daemon_has_exactly_this_environment,
    the_keeper_keeps_nothing_it_was_not_given,
    the_control_socket_is_for_root_alone,
    the_stand_in_hands_over_the_descriptor,
    the_stand_in_explains_what_is_missing,
);

fn the_daemon_is_unprivileged() {
    let mount = Mount::new();
    let status = |field| proc_status(mount.daemon_pid, field);
    assert_eq!(status("Uid"), format!("{UID} {UID} {UID} {UID}"));
    assert_eq!(status("Gid"), format!("{GID} {GID} {GID} {GID}"));
    assert_eq!(status("Groups"), "", "supplementary groups");
    for set in ["CapEff", "CapPrm", "CapAmb"] {
        assert_eq!(status(set), "0000000000000000", "{set}");
    }
    assert_eq!(status("NoNewPrivs"), "1");
    assert_eq!(status("PPid"), mount.keeper_pid.to_string());
    for set in ["SigBlk", "SigIgn"] {
        let ignored = u64::from_str_radix(&status(set), 16).unwrap();
        // Rust's start-up code ignores SIGPIPE (13) in the fake daemon itself; 32 and 33 are the C library's, which
        // lets nobody touch them.
        assert_eq!(ignored & !(1 << 12 | 1 << 31 | 1 << 32), 0, "{set}");
    }
    let limits = fs::read_to_string(format!("/proc/{}/limits", mount.daemon_pid)).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    let link = |name: &str| fs::read_link(format!("/proc/{}/{name}", mount.daemon_pid)).unwrap();
    assert_eq!(link("cwd"), std::path::Path::new("/"));
    let line = fs::read(format!("/proc/{}/cmdline", mount.daemon_pid)).unwrap();
    let line = String::from_utf8(line).unwrap();
    let words: Vec<&str> = line.split_terminator('\0').skip(1).collect();
    assert_eq!(words, ["--region", "us-east-1", "bucket:prefix"]);
}

fn the_daemon_has_exactly_these_descriptors() {
    let mount = Mount::new();
    let found = descriptors(mount.daemon_pid);
    let numbers: Vec<_> = found.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, [0, 1, 2, 100], "{found:?}");
    assert_eq!(found[0].1, "/dev/null");
    assert!(found[1].1.starts_with("pipe:") && found[1].1 == found[2].1, "{found:?}");
    assert!(found[3].1.starts_with("socket:"), "{found:?}");
    let keepers = descriptors(mount.keeper_pid);
    assert!(!keepers.iter().any(|(_, target)| *target == found[3].1), "the keeper kept it: {keepers:?}");
}

fn the_daemon_has_exactly_this_environment() {
    for ca_file in ["", "/etc/ssl/ca.pem"] {
        let mount = Mount::with(|launch| launch.ca_file = ca_file.into());
        let found = environment(mount.daemon_pid);
        let value = |name: &str| found.iter().find(|(n, _)| n == name).unwrap().1.clone();
        let (uri, token) =
            (value("AWS_CONTAINER_CREDENTIALS_FULL_URI"), value("AWS_CONTAINER_AUTHORIZATION_TOKEN"));
        assert!(uri.starts_with("http://127.0.0.1:") && uri.ends_with("/credentials"), "{uri}");
        assert_eq!(token.len(), 64, "256 bits in hexadecimal");
        let helper_dir = fixture::program("").to_str().unwrap().trim_end_matches('/').to_owned();
        let mut expected = vec![
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN", token.as_str()),
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri.as_str()),
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("BOATHOUSE_FUSE_FD", "100"),
            ("HOME", "/nonexistent"),
            ("PATH", helper_dir.as_str()),
        ];
        if !ca_file.is_empty() {
            expected.extend([("SSL_CERT_DIR", "/nonexistent"), ("SSL_CERT_FILE", ca_file)]);
        }
        let found: Vec<_> = found.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(found, expected);
    }
}

fn the_keeper_keeps_nothing_it_was_not_given() {
    let mount = Mount::new();
    let pid = mount.keeper_pid;
    let session = nix::unistd::getsid(Some(nix::unistd::Pid::from_raw(pid))).unwrap();
    assert_eq!(session.as_raw(), pid, "own session");
    // The pipes of three latches (two ends each) and the daemon's output, control socket, endpoint; the launch
    // socket is closed just after the reply.
    let most = 3 + 6 + 1 + 2;
    let deadline = Instant::now() + Duration::from_secs(2);
    let mut found = descriptors(pid);
    while found.len() > most && Instant::now() < deadline {
        found = descriptors(pid);
    }
    for (number, target) in &found {
        match number {
            0..=2 => assert_eq!(target, "/dev/null", "{number}"),
            _ => assert!(
                target.starts_with("pipe:") || target.starts_with("socket:"),
                "descriptor {number} is {target}"
            ),
        }
    }
    assert!(found.len() <= most, "{found:?}");
    assert_eq!(proc_status(pid, "Umask"), "0077");
    assert_eq!(proc_status(pid, "SigBlk"), "0000000000000000");
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap();
    assert_eq!(line.iter().filter(|&&byte| byte == 0).count(), 1, "no arguments");
}

fn the_control_socket_is_for_root_alone() {
    let mut mount = Mount::new();
    let control = mount.control();
    assert_eq!(fs::metadata(&control).unwrap().permissions().mode() & 0o7777, 0o600);
    let knock = format!("connect {}", control.display());
    assert_eq!(mount.order(&knock), "PermissionDenied");
    // Even if someone opened the file's mode, the peer's user decides.
    fs::set_permissions(&control, PermissionsExt::from_mode(0o666)).unwrap();
    let told = format!("told \"user {UID} may not talk to this keeper\", status false");
    assert_eq!(mount.order(&knock), told);
}

fn the_stand_in_hands_over_the_descriptor() {
    let mut mount = Mount::new();
    assert_eq!(mount.order("mount"), "exit Some(0), 1 byte, 1 descriptor, same true");
    assert_eq!(mount.order("unmount"), "Some(0)");
    assert_eq!(mount.order("mount"), "exit Some(0), 1 byte, 1 descriptor, same true");
}

fn the_stand_in_explains_what_is_missing() {
    for (arguments, comm, named) in [
        (&["-o", "ro", "--", "/d"][..], None, "_FUSE_COMMFD"),
        (&["-o", "ro", "--", "/d"], Some("0"), "BOATHOUSE_FUSE_FD"),
        (&["--frobnicate"], None, "--frobnicate"),
    ] {
        let mut command = std::process::Command::new(fixture::program("fusermount3"));
        command.args(arguments).env_remove("_FUSE_COMMFD").env_remove("BOATHOUSE_FUSE_FD");
        if let Some(number) = comm {
            command.env("_FUSE_COMMFD", number);
        }
        let output = command.output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains(named), "{stderr}");
    }
}
