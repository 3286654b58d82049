//! Launches that fail leave nothing; the program's command line; its memory.

use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use csi_proto::frame;
use csi_proto::keeper::v1::launch_reply::Outcome;
use csi_proto::keeper::v1::{Launch, LaunchReply};

use crate::fixture::{self, exit_of, launch, program, public_dir, say_launch, socket_name, spawn_keeper};

crate::trials!(
    a_launch_that_fails_says_why_and_leaves_nothing,
    a_launch_without_a_descriptor_is_refused,
    a_control_socket_in_the_way_is_left_alone,
    a_node_plugin_that_dies_before_launch_leaves_no_keeper,
    the_descriptor_is_closed_when_the_launch_fails,
    the_command_line_is_only_for_reading,
    a_keeper_is_small,
);

/// Runs a launch that must fail, and returns the reason.
fn refused(fuse: Option<&UnixStream>, launch: &Launch) -> String {
    let (node, stdin) = UnixStream::pair().unwrap();
    let mut keeper = spawn_keeper(stdin);
    let reply = say_launch(&node, fuse, launch);
    let Some(Outcome::Error(reason)) = reply.outcome else { panic!("launched: {reply:?}") };
    assert_eq!(exit_of(&mut keeper).code(), Some(1));
    reason
}

fn a_launch_that_fails_says_why_and_leaves_nothing() {
    for (named, spoil) in [
        ("/no/such/daemon", (|l| l.daemon_path = "/no/such/daemon".into()) as fn(&mut Launch)),
        ("/etc/passwd", |l| l.daemon_path = "/etc/passwd".into()),
        ("daemon_uid", |l| l.daemon_uid = 0),
        ("helper_dir", |l| l.helper_dir = "bin".into()),
        ("/no/such/dir/control", |l| l.control_socket = "/no/such/dir/control".into()),
        ("access_key", |l| l.generation.as_mut().unwrap().access_key.clear()),
        ("poll_ms", |l| l.poll_ms = 0),
    ] {
        let dir = public_dir();
        let mut launch = launch(dir.path());
        spoil(&mut launch);
        let (fuse, _other) = UnixStream::pair().unwrap();
        let reason = refused(Some(&fuse), &launch);
        assert!(reason.contains(named), "{reason} does not name {named}");
        assert!(!reason.contains("SK-g1"), "{reason}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "{named}: something is left");
    }
}

fn a_launch_without_a_descriptor_is_refused() {
    let dir = public_dir();
    let reason = refused(None, &launch(dir.path()));
    assert!(reason.contains("/dev/fuse") && reason.contains("no descriptor"), "{reason}");
}

fn a_control_socket_in_the_way_is_left_alone() {
    let dir = public_dir();
    std::fs::write(dir.path().join("control"), "someone's").unwrap();
    let (fuse, _other) = UnixStream::pair().unwrap();
    let reason = refused(Some(&fuse), &launch(dir.path()));
    assert!(reason.contains("bind control socket"), "{reason}");
    assert_eq!(std::fs::read(dir.path().join("control")).unwrap(), b"someone's");
}

fn a_node_plugin_that_dies_before_launch_leaves_no_keeper() {
    let (node, stdin) = UnixStream::pair().unwrap();
    let mut keeper = spawn_keeper(stdin);
    drop(node);
    assert_eq!(exit_of(&mut keeper).code(), Some(1));
}

fn the_descriptor_is_closed_when_the_launch_fails() {
    let dir = public_dir();
    let (node, stdin) = UnixStream::pair().unwrap();
    let (fuse, other) = UnixStream::pair().unwrap();
    let name = socket_name(&fuse);
    let mut keeper = spawn_keeper(stdin);
    let spoiled = Launch { daemon_path: "/no/such/daemon".into(), ..launch(dir.path()) };
    let reply = say_launch(&node, Some(&fuse), &spoiled);
    assert!(matches!(reply.outcome, Some(Outcome::Error(_))));
    drop(fuse);
    assert!(exit_of(&mut keeper).code().is_some());
    other.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let ended = std::io::Read::read(&mut &other, &mut [0]);
    assert!(matches!(ended, Ok(0)), "{name} is still open somewhere: {ended:?}");
    assert!(frame::read::<LaunchReply>(&mut &node).is_err(), "one reply is all");
}

fn the_command_line_is_only_for_reading() {
    for (arguments, code, named) in [
        (&["--help"][..], 0, "boathouse-node"),
        (&["--version"], 0, env!("CARGO_PKG_VERSION")),
        (&["--verbose"], 2, "--verbose"),
        (&[], 2, "stdin"),
    ] {
        let output =
            Command::new(program("boathouse-keeper")).args(arguments).stdin(Stdio::null()).output().unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(text.contains(named), "{text}");
    }
}

/// Beside goofys, each mount costs one keeper: its proportional set size after a conversation and a fetch.
///
/// Measured with four, as code is shared; the bound for a debug build is looser, because it is another program.
fn a_keeper_is_small() {
    let mut mounts: Vec<_> = (0..4).map(|_| fixture::Mount::new()).collect();
    for mount in &mut mounts {
        mount.order("fetch");
        mount.status();
    }
    let bound = if cfg!(debug_assertions) { 4096 } else { 1024 };
    for mount in &mounts {
        let (all, own) = memory_kib(mount.keeper_pid);
        assert!(all < bound && own < 256, "{all} KiB, {own} KiB of it its own");
        eprintln!("keeper: {all} KiB PSS, {own} KiB of it its own");
    }
}

/// Proportional set size, and the part of it that no file backs.
fn memory_kib(pid: i32) -> (u64, u64) {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches("kB").trim().parse().unwrap()
    };
    (field("Pss:"), field("Pss_Anon:"))
}
