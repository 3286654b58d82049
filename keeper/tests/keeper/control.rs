//! The control socket: status, watch, shutdown; and who outlives whom.

use std::io::Write as _;
use std::time::{Duration, Instant};

use csi_proto::frame;
use csi_proto::keeper::v1::request::Call;
use csi_proto::keeper::v1::{Exit, Reply, Request, StatusRequest, WatchRequest};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::fixture::{Mount, ask};

crate::trials!(
    status_tells_what_was_launched,
    a_killed_keeper_takes_its_daemon_along,
    a_daemon_s_exit_is_watched_with_its_last_words,
    a_daemon_s_death_by_signal_is_told_from_an_exit,
    the_keeper_ignores_the_terminal_s_signals,
    shutdown_waits_for_the_daemon_to_leave_by_itself,
    shutdown_ends_a_daemon_that_stays,
    shutdown_kills_a_daemon_that_will_not_listen,
    shutdown_works_after_the_daemon_is_gone,
    watchers_that_leave_free_their_place,
    nonsense_on_the_control_socket_harms_nobody,
);

fn status_tells_what_was_launched() {
    let mut mount = Mount::new();
    mount.order("print starting up");
    let status = wait_for(&mount, |status| !status.last_output.is_empty());
    assert_eq!(status.mount_id, "m1");
    assert_eq!(status.keeper_pid, i32::try_from(mount.keeper.id()).unwrap());
    assert_eq!(status.daemon_pid, mount.daemon_pid);
    assert_eq!(status.exit, None);
    assert_eq!(status.last_output, "starting up\n");
    assert_eq!(status.current.unwrap(), crate::fixture::generation("g1"));
    assert_eq!(status.login.unwrap().jwt, "jwt-1");
    assert_eq!((status.fetches, status.uses.len()), (0, 0));
}

fn a_killed_keeper_takes_its_daemon_along() {
    let mut mount = Mount::new();
    let watch = mount.connect();
    frame::write(&mut &watch, &Request { call: Some(Call::Watch(WatchRequest {})) }).unwrap();
    let start = Instant::now();
    kill(Pid::from_raw(mount.keeper_pid), Signal::SIGKILL).unwrap();
    assert_eq!(mount.line(), "", "the daemon still holds its descriptor");
    assert!(frame::read::<Reply>(&mut &watch).is_err(), "the connection closes instead of an answer");
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

fn a_daemon_s_exit_is_watched_with_its_last_words() {
    let mut mount = Mount::new();
    let watch = mount.connect();
    frame::write(&mut &watch, &Request { call: Some(Call::Watch(WatchRequest {})) }).unwrap();
    watch.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert!(frame::read::<Reply>(&mut &watch).is_err(), "answered before the daemon's exit");
    watch.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    mount.order("print main.FATAL Unable to access bucket");
    assert_eq!(mount.order("exit 7"), "", "nobody but the daemon holds its descriptor");
    let status = frame::read::<Reply>(&mut &watch).unwrap().status.unwrap();
    let exit = status.exit.unwrap();
    assert_eq!((exit.code, exit.signal), (7, 0));
    assert!(exit.at_ms.abs_diff(boathouse_keeper::time::now_ms()) < 5_000);
    assert_eq!(status.last_output, "main.FATAL Unable to access bucket\n");
    let again = mount.ask(Call::Watch(WatchRequest {})).status.unwrap();
    assert_eq!(again.exit, Some(exit), "a later watch is answered at once");
    assert_eq!(mount.status().exit, Some(exit));
    assert!(mount.keeper.try_wait().unwrap().is_none(), "the keeper stays to be asked");
}

fn a_daemon_s_death_by_signal_is_told_from_an_exit() {
    let mut mount = Mount::new();
    kill(Pid::from_raw(mount.daemon_pid), Signal::SIGKILL).unwrap();
    assert_eq!(mount.line(), "");
    let exit = mount.ask(Call::Watch(WatchRequest {})).status.unwrap().exit.unwrap();
    assert_eq!((exit.code, exit.signal), (-1, 9));
}

fn the_keeper_ignores_the_terminal_s_signals() {
    let mut mount = Mount::new();
    for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGPIPE] {
        kill(Pid::from_raw(mount.keeper_pid), signal).unwrap();
    }
    assert_eq!(mount.status().exit, None);
    assert_eq!(mount.order("print x"), "printed");
    // The test's fixture had it blocked: a keeper that is asked to end does.
    kill(Pid::from_raw(mount.keeper_pid), Signal::SIGTERM).unwrap();
    assert_eq!(mount.line(), "");
}

fn shutdown_waits_for_the_daemon_to_leave_by_itself() {
    let mut mount = Mount::new();
    let orders = mount.fuse.get_ref().try_clone().unwrap();
    let leaves = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        writeln!(&orders, "exit 0").unwrap();
    });
    let start = Instant::now();
    let status = mount.shutdown(Duration::from_secs(20));
    let took = start.elapsed();
    leaves.join().unwrap();
    assert_eq!(status.exit.map(|exit| (exit.code, exit.signal)), Some((0, 0)));
    assert!(took >= Duration::from_millis(280) && took < Duration::from_secs(2), "{took:?}");
    assert!(!mount.control().exists(), "the socket is gone before the answer");
    assert_eq!(mount.keeper_exit().code(), Some(0));
}

fn shutdown_ends_a_daemon_that_stays() {
    let mut mount = Mount::new();
    let start = Instant::now();
    let status = mount.shutdown(Duration::from_millis(100));
    assert_eq!(status.exit.map(|exit| (exit.code, exit.signal)), Some((-1, 15)));
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(100) && took < Duration::from_secs(2), "{took:?}");
    assert_eq!(mount.line(), "");
    assert_eq!(mount.keeper_exit().code(), Some(0));
}

fn shutdown_kills_a_daemon_that_will_not_listen() {
    let mut mount = Mount::new();
    assert_eq!(mount.order("ignore-term"), "ignored");
    let status = mount.shutdown(Duration::ZERO);
    assert_eq!(status.exit.map(|exit: Exit| (exit.code, exit.signal)), Some((-1, 9)));
    assert_eq!(mount.keeper_exit().code(), Some(0));
}

fn shutdown_works_after_the_daemon_is_gone() {
    let mut mount = Mount::new();
    mount.order("exit 3");
    let start = Instant::now();
    let status = mount.shutdown(Duration::from_secs(20));
    assert_eq!(status.exit.map(|exit| exit.code), Some(3));
    assert!(start.elapsed() < Duration::from_secs(1));
    assert_eq!(mount.keeper_exit().code(), Some(0));
}

fn watchers_that_leave_free_their_place() {
    let mount = Mount::new();
    for _ in 0..3 * boathouse_keeper::control::MAX_CONNECTIONS {
        let watch = mount.connect();
        frame::write(&mut &watch, &Request { call: Some(Call::Watch(WatchRequest {})) }).unwrap();
        drop(watch);
        // A place is free as soon as the keeper has noticed, which is not at once.
        let deadline = Instant::now() + Duration::from_secs(5);
        while mount.ask(Call::Status(StatusRequest {})).status.is_none() {
            assert!(Instant::now() < deadline, "the keeper does not notice that watchers have left");
        }
    }
}

fn nonsense_on_the_control_socket_harms_nobody() {
    let mount = Mount::new();
    let stream = mount.connect();
    frame::write(&mut &stream, &Request { call: None }).unwrap();
    let reply: Reply = frame::read(&mut &stream).unwrap();
    assert!(!reply.error.is_empty() && reply.status.is_none());
    assert!(ask(&stream, Call::Status(StatusRequest {})).status.is_some(), "the connection goes on");
    (&stream).write_all(&[0xff; 64]).unwrap();
    assert!(frame::read::<Reply>(&mut &stream).is_err(), "an impossible length ends it");
    assert!(mount.ask(Call::Status(StatusRequest {})).status.is_some());
}

/// The status once `ready` says so, within five seconds.
fn wait_for(
    mount: &Mount,
    ready: impl Fn(&csi_proto::keeper::v1::Status) -> bool,
) -> csi_proto::keeper::v1::Status {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let status = mount.status();
        if ready(&status) || Instant::now() > deadline {
            return status;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
