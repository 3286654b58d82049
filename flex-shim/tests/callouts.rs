//! The program against an agent that does what a test says, and against none.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use common::{command, line};
use csi_proto::agent::v1::request::Call;
use csi_proto::agent::v1::{Request, Response, Status};
use csi_proto::frame;

const TARGET: &str = "/var/lib/kubelet/pods/5f1c/volumes/statcan.gc.ca~boathouse/data";

/// Runs a callout and takes its answer apart: status and message.
fn answer<S: AsRef<OsStr>>(command: Command, arguments: &[S]) -> (String, String) {
    let answer: serde_json::Value = serde_json::from_str(&line(command, arguments)).unwrap();
    let text = |key: &str| answer[key].as_str().unwrap().to_owned();
    (text("status"), text("message"))
}

/// Stands in for the node plugin: takes one connection and does with it what the test says.
struct FakeAgent<T> {
    directory: tempfile::TempDir,
    serving: JoinHandle<T>,
}

impl<T: Send + 'static> FakeAgent<T> {
    fn new(serve: impl FnOnce(UnixStream) -> T + Send + 'static) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("agent.sock")).unwrap();
        let serving = thread::spawn(move || serve(listener.accept().unwrap().0));
        Self { directory, serving }
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("agent.sock")
    }

    fn seen(self) -> T {
        self.serving.join().unwrap()
    }
}

/// An agent that reads the request and answers it.
fn answering(status: i32, message: &str) -> FakeAgent<Request> {
    let response = Response { status, message: message.to_owned() };
    FakeAgent::new(move |mut stream| {
        let request = frame::read(&mut stream).unwrap();
        frame::write(&mut stream, &response).unwrap();
        request
    })
}

#[test]
fn mount_is_passed_on_as_it_came() {
    let agent = answering(Status::Success.into(), "mounted");
    let options: OsString = OsString::from_vec(b"{\"bucket\":\"alice\",\"x\":\"\\u003c \xff \n\"}".to_vec());
    let outcome =
        answer(command(Some(&agent.socket()), Some("7")), &["mount".into(), TARGET.into(), options.clone()]);
    assert_eq!(outcome, ("Success".to_owned(), "mounted".to_owned()));
    let Some(Call::Mount(request)) = agent.seen().call else { panic!("not a mount") };
    assert_eq!(request.target_path, TARGET);
    assert_eq!(request.options_json, options.into_vec());
}

#[test]
fn unmount_is_passed_on() {
    let agent = answering(Status::Success.into(), "");
    let outcome = answer(command(Some(&agent.socket()), None), &["unmount", TARGET]);
    assert_eq!(outcome, ("Success".to_owned(), String::new()));
    let Some(Call::Unmount(request)) = agent.seen().call else { panic!("not an unmount") };
    assert_eq!(request.target_path, TARGET);
}

#[test]
fn the_longest_document_kubelet_can_pass_gets_through() {
    let agent = answering(Status::Success.into(), "");
    let options = format!("{{\"bucket\":\"{}\"}}", "a".repeat(127 * 1024));
    assert_eq!(answer(command(Some(&agent.socket()), None), &["mount", TARGET, &options]).0, "Success");
    let Some(Call::Mount(request)) = agent.seen().call else { panic!("not a mount") };
    assert_eq!(request.options_json, options.into_bytes());
}

#[test]
fn a_failure_is_told_in_one_line_whatever_its_text() {
    let text = "bucket \"alice\" does not exist\n\tgoofys said: \\ \u{1b}[31m é\u{2028}\r\n";
    for callout in [&["mount", TARGET, "{}"][..], &["unmount", TARGET]] {
        let agent = answering(Status::Failure.into(), text);
        let outcome = answer(command(Some(&agent.socket()), None), callout);
        assert_eq!(outcome, ("Failure".to_owned(), text.to_owned()));
    }
}

#[test]
fn not_supported_reaches_kubelet_for_unmount_only() {
    let agent = answering(Status::NotSupported.into(), "FlexVolume mounts are switched off");
    let outcome = answer(command(Some(&agent.socket()), None), &["mount", TARGET, "{}"]);
    assert_eq!(outcome, ("Failure".to_owned(), "FlexVolume mounts are switched off".to_owned()));
    let agent = answering(Status::NotSupported.into(), "");
    let outcome = answer(command(Some(&agent.socket()), None), &["unmount", TARGET]);
    assert_eq!(outcome, ("Not supported".to_owned(), "unmount not supported".to_owned()));
}

#[test]
fn an_unknown_status_is_a_failure() {
    for status in [0, 42, -1] {
        let agent = answering(status, "?");
        let (status, message) = answer(command(Some(&agent.socket()), None), &["mount", TARGET, "{}"]);
        assert!(status == "Failure" && message.contains("unknown status"), "{message}");
    }
}

/// Mounts against an agent that misbehaves after it read the request.
fn failed_mount(seconds: &str, serve: impl FnOnce(&mut UnixStream) + Send + 'static) -> (String, Duration) {
    let agent = FakeAgent::new(move |mut stream| {
        let _: Request = frame::read(&mut stream).unwrap();
        serve(&mut stream);
    });
    let socket = agent.socket();
    let begun = Instant::now();
    let (status, message) =
        answer(command(Some(&socket), Some(seconds)), &["mount", TARGET, "{\"k\":\"s3cret\"}"]);
    let took = begun.elapsed();
    agent.seen();
    assert_eq!(status, "Failure");
    assert!(message.starts_with(&format!("mount: agent socket {}: ", socket.display())), "{message}");
    assert!(!message.contains("s3cret"), "{message}");
    (message, took)
}

#[test]
fn a_node_plugin_that_goes_away_is_a_failure() {
    let (message, _) = failed_mount("30", |_| {});
    assert!(message.contains("closed the connection before it answered"), "{message}");
    let (message, _) = failed_mount("30", |stream| stream.write_all(&[0, 0, 0, 9, 8]).unwrap());
    assert!(message.contains("closed the connection before it answered"), "{message}");
}

#[test]
fn an_answer_that_is_none_is_a_failure() {
    let (message, _) = failed_mount("30", |stream| stream.write_all(&u32::MAX.to_be_bytes()).unwrap());
    assert!(message.contains("could not be read"), "{message}");
    let (message, _) = failed_mount("30", |stream| stream.write_all(&[0, 0, 0, 2, 0xff, 0xff]).unwrap());
    assert!(message.contains("could not be read"), "{message}");
}

#[test]
fn a_node_plugin_that_never_answers_runs_into_the_time_limit_and_is_told() {
    let (message, took) = failed_mount("1", |stream| {
        // The end of the connection is how the node plugin learns that nobody waits any more.
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0);
    });
    assert!(message.contains("did not answer within 1 s"), "{message}");
    assert!((Duration::from_secs(1)..Duration::from_secs(10)).contains(&took), "{took:?}");
}

#[test]
fn an_answer_that_drips_runs_into_the_time_limit_too() {
    let (message, took) = failed_mount("1", |stream| {
        stream.write_all(&1000u32.to_be_bytes()).unwrap();
        while stream.write_all(&[0]).is_ok() {
            thread::sleep(Duration::from_millis(50));
        }
    });
    assert!(message.contains("did not answer within 1 s"), "{message}");
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn an_agent_that_is_not_there_is_named_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let refusing = directory.path().join("refusing.sock");
    drop(UnixListener::bind(&refusing).unwrap());
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    for socket in [directory.path().join("absent.sock"), refusing, file, directory.path().to_owned()] {
        for callout in [&["mount", TARGET, "{\"k\":\"s3cret\"}"][..], &["unmount", TARGET]] {
            let (status, message) = answer(command(Some(&socket), None), callout);
            assert_eq!(status, "Failure");
            let expected = format!("{}: agent socket {}: ", callout[0], socket.display());
            assert!(message.starts_with(&expected), "{message}");
            assert!(message.ends_with("is boathouse-node running on this node?"), "{message}");
            assert!(!message.contains("s3cret"), "{message}");
        }
    }
    let long = directory.path().join("x".repeat(200));
    assert_eq!(answer(command(Some(&long), None), &["unmount", TARGET]).0, "Failure");
}

#[test]
fn a_bad_time_limit_is_named_and_does_not_touch_init() {
    for bad in ["0", "120", "-1", "1.5", "soon"] {
        let (status, message) = answer(command(None, Some(bad)), &["mount", TARGET, "{}"]);
        assert_eq!(status, "Failure");
        assert!(
            message.contains("BOATHOUSE_FLEX_TIMEOUT_SECONDS") && message.contains("from 1 to 119"),
            "{message}"
        );
        assert_eq!(answer(command(None, Some(bad)), &["init"]).0, "Success");
    }
}

#[test]
fn a_wrong_command_line_is_a_failure() {
    let wrong: [&[&str]; 9] = [
        &[],
        &["mount"],
        &["mount", TARGET],
        &["mount", TARGET, "{}", "x"],
        &["unmount"],
        &["unmount", TARGET, "x"],
        &["mount", "", "{}"],
        &["mount", "relative", "{}"],
        &["unmount", "./relative"],
    ];
    for arguments in wrong {
        let (status, message) = answer(command(None, None), arguments);
        assert!(status == "Failure" && !message.contains("socket"), "{arguments:?}: {message}");
    }
}

#[test]
fn bytes_that_are_no_text_are_answered_in_json() {
    let bytes = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
    let (status, message) = answer(command(None, None), &[bytes(b"\xff\xfe\n")]);
    assert_eq!((status.as_str(), message.as_str()), ("Not supported", "\u{fffd}\u{fffd}\n not supported"));
    let (status, message) = answer(command(None, None), &["mount".into(), bytes(b"/pods/\xff"), "{}".into()]);
    assert!(status == "Failure" && message.contains("is not UTF-8"), "{message}");
    let (_, message) = answer(command(None, None), &["x".repeat(100_000)]);
    assert!(message.len() < 1000, "an unknown word is shortened");
}

#[test]
fn every_other_word_is_not_supported() {
    for word in ["getvolumename", "bogus", "", " ", "INIT", "--init", "help"] {
        let outcome = answer(command(None, None), &[word, "{}"]);
        assert_eq!(outcome, ("Not supported".to_owned(), format!("{word} not supported")));
    }
}

#[test]
fn init_asks_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("agent.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    listener.set_nonblocking(true).unwrap();
    line(command(Some(&socket), None), &["init"]);
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn the_target_directory_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let (empty, gone) = (directory.path().join("empty"), directory.path().join("gone"));
    std::fs::create_dir(&empty).unwrap();
    for target in [&empty, &gone] {
        let target = target.to_str().unwrap();
        for status in [Status::Success, Status::Failure] {
            answer(command(Some(&answering(status.into(), "").socket()), None), &["mount", target, "{}"]);
            answer(command(Some(&answering(status.into(), "").socket()), None), &["unmount", target]);
        }
    }
    assert!(empty.is_dir() && empty.read_dir().unwrap().next().is_none());
    assert!(!gone.exists());
}

#[test]
fn nobody_listening_to_the_answer_is_no_error() {
    for callout in [&["init"][..], &["unmount", TARGET], &["bogus"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let absent = tempfile::tempdir().unwrap().path().join("absent.sock");
        let mut command = command(Some(&absent), None);
        let output = command.args(callout).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{callout:?}");
        assert!(output.stderr.is_empty(), "{callout:?}");
    }
}

#[test]
fn people_get_help_and_a_version() {
    for flag in ["--help", "-h"] {
        let output = command(None, None).arg(flag).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && output.stderr.is_empty());
        for word in ["init", "unmount <target", "BOATHOUSE_AGENT_SOCKET", "/run/boathouse/agent.sock", "110"]
        {
            assert!(text.contains(word), "{word}");
        }
    }
    for flag in ["--version", "-V"] {
        assert_eq!(
            line(command(None, None), &[flag]),
            concat!("boathouse ", env!("CARGO_PKG_VERSION"), "\n")
        );
    }
}
