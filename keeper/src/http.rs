//! A small HTTP/1.1 server for one thread: short requests, short answers, one per connection.
//!
//! All connections are polled together, so that one that says nothing delays no other; each has
//! [`TIME_LIMIT`] to finish.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use httparse::{EMPTY_HEADER, Request};
use nix::poll::{PollFd, PollFlags, poll};
use zeroize::Zeroizing;

use crate::hygiene;
use crate::latch::until;

/// How long a client may take to send its request.
pub const TIME_LIMIT: Duration = Duration::from_secs(2);

/// The longest request head that is read.
pub const MAX_REQUEST: usize = 8 * 1024;

/// How many clients may be connected; the oldest makes room for the next.
pub const MAX_CLIENTS: usize = 64;

const MAX_HEADERS: usize = 32;

/// An answer, with a JSON body.
#[derive(Debug)]
pub struct Response {
    /// 200, or one of the refusals.
    pub status: u16,
    /// The JSON text.
    pub body: Zeroizing<String>,
}

impl Response {
    fn bytes(&self) -> Zeroizing<Vec<u8>> {
        let reason = match self.status {
            200 => "OK",
            401 => "Unauthorized",
            403 => "Forbidden",
            404 => "Not Found",
            405 => "Method Not Allowed",
            _ => "Error",
        };
        let head = format!(
            "HTTP/1.1 {} {reason}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Cache-Control: no-store\r\nConnection: close\r\n\r\n",
            self.status,
            self.body.len()
        );
        let mut bytes = Zeroizing::new(Vec::with_capacity(head.len() + self.body.len()));
        bytes.extend_from_slice(head.as_bytes());
        bytes.extend_from_slice(self.body.as_bytes());
        bytes
    }
}

/// A connection whose request is not complete yet.
struct Client {
    stream: TcpStream,
    received: Zeroizing<Vec<u8>>,
    deadline: Instant,
}

/// Serves `listener` for ever; `answer` is called once per complete request.
///
/// # Errors
/// The listener cannot be made non-blocking; nothing was served.
pub fn serve(listener: &TcpListener, mut answer: impl FnMut(&Request<'_, '_>) -> Response) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let mut clients: Vec<Client> = Vec::new();
    loop {
        let mut polled = vec![PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        polled.extend(clients.iter().map(|client| PollFd::new(client.stream.as_fd(), PollFlags::POLLIN)));
        if poll(&mut polled, until(clients.iter().map(|client| client.deadline).min())).is_err() {
            // EINTR, or ENOMEM: nothing is lost by asking again a little later.
            std::thread::sleep(Duration::from_millis(10));
            continue;
        }
        let ready: Vec<bool> = polled.iter().map(|fd| fd.any().unwrap_or(true)).collect();
        drop(polled);
        let now = Instant::now();
        let mut ready = ready.into_iter();
        let knocked = ready.next().unwrap_or(false);
        clients.retain_mut(|client| {
            let speaks = ready.next().unwrap_or(false);
            (!speaks || client.advance(&mut answer)) && now < client.deadline
        });
        if knocked {
            welcome(listener, &mut clients);
        }
    }
}

fn welcome(listener: &TcpListener, clients: &mut Vec<Client>) {
    match listener.accept() {
        Ok((stream, _)) => {
            if stream.set_nonblocking(true).is_err() {
                return;
            }
            if clients.len() >= MAX_CLIENTS {
                clients.remove(0);
            }
            let received = Zeroizing::new(Vec::with_capacity(1024));
            clients.push(Client { stream, received, deadline: Instant::now() + TIME_LIMIT });
        }
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
        // Out of descriptors or memory, or the client is gone already: not in a hot loop.
        Err(_) => std::thread::sleep(Duration::from_millis(10)),
    }
}

impl Client {
    /// Reads what is there and answers when the request is complete; whether to keep the connection.
    fn advance(&mut self, answer: &mut impl FnMut(&Request<'_, '_>) -> Response) -> bool {
        let mut buffer = Zeroizing::new([0; 1024]);
        match self.stream.read(buffer.as_mut()) {
            Ok(0) => return false,
            Ok(length) => self.received.extend_from_slice(&buffer[..length]),
            Err(error) => return matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
        }
        let mut headers = [EMPTY_HEADER; MAX_HEADERS];
        let mut request = Request::new(&mut headers);
        match request.parse(&self.received) {
            Ok(httparse::Status::Partial) => self.received.len() < MAX_REQUEST,
            Ok(httparse::Status::Complete(_)) => {
                // An answer fits a socket's send buffer; a client that left misses it.
                let _ = self.stream.write_all(&answer(&request).bytes());
                let _ = self.stream.shutdown(Shutdown::Write);
                hygiene::rest();
                false
            }
            Err(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use std::net::SocketAddr;

    fn server() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            serve(&listener, |request| Response {
                status: 200,
                body: Zeroizing::new(format!("{:?}", request.path.unwrap_or_default())),
            })
        });
        address
    }

    /// What comes back until the server closes, and how long that took.
    fn talk(address: SocketAddr, parts: &[&[u8]]) -> (String, Duration) {
        let start = Instant::now();
        let mut stream = TcpStream::connect(address).unwrap();
        for part in parts {
            // The server may have closed already.
            let _ = stream.write_all(part);
            std::thread::sleep(Duration::from_millis(20));
        }
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        (String::from_utf8(answer).unwrap(), start.elapsed())
    }

    #[test]
    fn a_request_in_pieces_is_answered_and_the_connection_closed() {
        let (answer, _) = talk(server(), &[b"GET /a HT", b"TP/1.1\r\nHost: x\r\n", b"\r\n"]);
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("Connection: close\r\n") && answer.ends_with("\r\n\r\n\"/a\""), "{answer}");
    }

    #[test]
    fn a_silent_client_delays_nobody_and_is_dropped() {
        let address = server();
        let silent: Vec<_> = (0..5).map(|_| TcpStream::connect(address).unwrap()).collect();
        let (answer, took) = talk(address, &[b"GET /b HTTP/1.1\r\n\r\n"]);
        assert!(answer.ends_with("\"/b\"") && took < Duration::from_millis(500), "{took:?}: {answer}");
        let start = Instant::now();
        for mut client in silent {
            assert_eq!(client.read(&mut [0]).unwrap(), 0);
        }
        assert!(start.elapsed() < TIME_LIMIT + Duration::from_millis(500), "{:?}", start.elapsed());
    }

    #[test]
    fn too_long_or_malformed_requests_get_no_answer() {
        let long = format!("GET /a HTTP/1.1\r\nx: {}", "y".repeat(MAX_REQUEST));
        let many = format!("GET /a HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(MAX_HEADERS + 1));
        for request in [long.as_bytes(), many.as_bytes(), b"\x16\x03\x01\x02\x00\x01", b"GET\r\n\r\n"] {
            let (answer, took) = talk(server(), &[request]);
            assert_eq!(answer, "");
            assert!(took < Duration::from_secs(1), "{took:?}");
        }
    }

    #[test]
    fn a_crowd_of_silent_clients_does_not_lock_others_out() {
        let address = server();
        let _silent: Vec<_> = (0..MAX_CLIENTS + 10).map(|_| TcpStream::connect(address).unwrap()).collect();
        let (answer, took) = talk(address, &[b"GET /c HTTP/1.1\r\n\r\n"]);
        assert!(answer.ends_with("\"/c\"") && took < Duration::from_secs(1), "{took:?}: {answer}");
    }
}
