//! What runs in place of goofys: obeys orders, one a line, over the descriptor it was given as `/dev/fuse`.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, ExitCode};

use csi_proto::frame;
use csi_proto::keeper::v1::Reply;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use nix::sys::stat::fstat;

pub(crate) fn main() -> ExitCode {
    let number: RawFd = std::env::var("BOATHOUSE_FUSE_FD").unwrap().parse().unwrap();
    // SAFETY: the keeper opened it for this process, and nothing else here uses the number.
    let fuse = UnixStream::from(unsafe { OwnedFd::from_raw_fd(number) });
    writeln!(&fuse, "ready").unwrap();
    for line in BufReader::new(&fuse).lines() {
        let line = line.unwrap();
        let (order, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let answer = match order {
            "exit" => return ExitCode::from(rest.parse::<u8>().unwrap()),
            "print" => {
                eprintln!("{rest}");
                "printed".to_owned()
            }
            "ignore-term" => {
                // SAFETY: SIG_IGN runs no code.
                unsafe {
                    nix::sys::signal::signal(nix::sys::signal::SIGTERM, nix::sys::signal::SigHandler::SigIgn)
                }
                .unwrap();
                "ignored".to_owned()
            }
            "mount" => mount(&fuse),
            "unmount" => {
                format!("{:?}", Command::new("fusermount").args(["-u", "-z", "/d"]).status().unwrap().code())
            }
            "fetch" => fetch(),
            "connect" => connect(rest),
            other => format!("unknown order {other}"),
        };
        writeln!(&fuse, "{answer}").unwrap();
    }
    ExitCode::SUCCESS
}

/// Gets the descriptor as a FUSE library does, and compares it with the inherited one.
fn mount(fuse: &UnixStream) -> String {
    let (here, there) = UnixStream::pair().unwrap();
    nix::fcntl::fcntl(&there, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
    let status = Command::new("fusermount3")
        .args(["-o", "nosuid,nodev,fsname=bucket,subtype=goofys", "--", "/dummy"])
        .env("_FUSE_COMMFD", there.as_raw_fd().to_string())
        .status()
        .unwrap();
    drop(there);
    let mut byte = [0_u8; 32];
    let mut parts = [std::io::IoSliceMut::new(&mut byte)];
    let mut space = nix::cmsg_space!([RawFd; 2]);
    let message = recvmsg::<()>(here.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::empty()).unwrap();
    let mut numbers = Vec::new();
    for control in message.cmsgs().unwrap() {
        if let ControlMessageOwned::ScmRights(received) = control {
            numbers.extend(received);
        }
    }
    // SAFETY: just received, used nowhere else.
    let received: Vec<OwnedFd> = numbers.iter().map(|&n| unsafe { OwnedFd::from_raw_fd(n) }).collect();
    let same = received.iter().all(|fd| fstat(fd).unwrap().st_ino == fstat(fuse).unwrap().st_ino);
    format!("exit {:?}, {} byte, {} descriptor, same {same}", status.code(), message.bytes, received.len())
}

/// Asks for keys as an AWS SDK does; the answer on one line.
fn fetch() -> String {
    let uri = std::env::var("AWS_CONTAINER_CREDENTIALS_FULL_URI").unwrap();
    let token = std::env::var("AWS_CONTAINER_AUTHORIZATION_TOKEN").unwrap();
    let (host, path) = uri.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: {token}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.replace("\r\n", "|")
}

/// Knocks at a control socket.
fn connect(path: &str) -> String {
    match UnixStream::connect(path) {
        Err(error) => format!("{:?}", error.kind()),
        Ok(stream) => match frame::read::<Reply>(&mut &stream) {
            Ok(reply) => format!("told {:?}, status {}", reply.error, reply.status.is_some()),
            Err(error) => format!("{error}"),
        },
    }
}
