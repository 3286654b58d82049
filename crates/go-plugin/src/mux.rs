//! All connections over one: yamux, in clear, with TLS and HTTP/2 inside each of its streams.
//!
//! Container runners ask for this, since only one socket crosses the container's wall. We are the
//! yamux server; the host's first stream is its main connection.

use std::future::Future as _;
use std::io;
use std::pin::pin;
use std::task::Poll;

use futures::future::poll_fn;
use tokio::sync::{mpsc, oneshot};
use tokio_util::compat::{FuturesAsyncReadCompatExt as _, TokioAsyncReadCompatExt as _};
use tokio_util::sync::CancellationToken;
use yamux::{Connection, ConnectionError, Mode, Stream};

use crate::conn::{Conn, Io};

type Reply = oneshot::Sender<Result<Stream, ConnectionError>>;

/// Opens streams towards the host.
#[derive(Clone)]
pub(crate) struct Opener(mpsc::Sender<Reply>);

impl Opener {
    pub(crate) async fn open(&self) -> io::Result<Conn> {
        let (reply, stream) = oneshot::channel();
        let closed = || io::Error::new(io::ErrorKind::NotConnected, "the multiplexed connection is closed");
        self.0.send(reply).await.map_err(|_| closed())?;
        match stream.await {
            Ok(Ok(stream)) => Ok(Conn::new(stream.compat())),
            Ok(Err(error)) => Err(io::Error::other(error)),
            Err(_) => Err(closed()),
        }
    }
}

/// The requests of all [`Opener`]s, for the connection that will serve them.
pub(crate) struct Opens(mpsc::Receiver<Reply>);

pub(crate) fn opener() -> (Opener, Opens) {
    let (send, receive) = mpsc::channel(8);
    (Opener(send), Opens(receive))
}

/// Runs yamux over `io` until it closes; the host's streams go to `inbound`. With `drained` it sends
/// what is still buffered and closes.
pub(crate) async fn drive(
    io: impl Io + 'static,
    mut opens: Opens,
    inbound: mpsc::UnboundedSender<Conn>,
    drained: CancellationToken,
) {
    let mut drained = pin!(drained.cancelled_owned());
    let mut closing = false;
    let mut connection = Connection::new(io.compat(), yamux::Config::default(), Mode::Server);
    let mut waiting: Option<Reply> = None;
    poll_fn(|cx| {
        closing = closing || drained.as_mut().poll(cx).is_ready();
        if closing {
            return connection.poll_close(cx).map(|closed| {
                if let Err(error) = closed {
                    tracing::debug!(%error, "multiplexed connection did not close cleanly");
                }
            });
        }
        loop {
            if waiting.is_none()
                && let Poll::Ready(Some(reply)) = opens.0.poll_recv(cx)
            {
                waiting = Some(reply);
            }
            if waiting.is_some()
                && let Poll::Ready(stream) = connection.poll_new_outbound(cx)
                && let Some(reply) = waiting.take()
            {
                // A caller that gave up drops the stream, which closes it.
                let _ = reply.send(stream);
                continue;
            }
            // This also moves the bytes of all open streams.
            match connection.poll_next_inbound(cx) {
                Poll::Ready(Some(Ok(stream))) => {
                    let _ = inbound.send(Conn::new(stream.compat()));
                }
                Poll::Ready(Some(Err(error))) => {
                    tracing::debug!(%error, "multiplexed connection ended");
                    return Poll::Ready(());
                }
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use futures::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn streams_both_ways() {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let (opener, opens) = opener();
        let (inbound, mut accepted) = mpsc::unbounded_channel();
        tokio::spawn(drive(ours, opens, inbound, CancellationToken::new()));

        // The host: opens one stream and says hello; echoes on streams opened to it.
        let mut host = Connection::new(theirs.compat(), yamux::Config::default(), Mode::Client);
        let mut first = poll_fn(|cx| host.poll_new_outbound(cx)).await.unwrap();
        tokio::spawn(async move {
            first.write_all(b"hello").await.unwrap();
            futures::AsyncWriteExt::flush(&mut first).await.unwrap();
            std::future::pending::<()>().await;
        });
        tokio::spawn(async move {
            while let Some(Ok(mut stream)) = poll_fn(|cx| host.poll_next_inbound(cx)).await {
                tokio::spawn(async move {
                    let mut buf = [0; 4];
                    stream.read_exact(&mut buf).await.unwrap();
                    stream.write_all(&buf).await.unwrap();
                    futures::AsyncWriteExt::flush(&mut stream).await.unwrap();
                    std::future::pending::<()>().await;
                });
            }
        });

        let mut main = accepted.recv().await.unwrap();
        let mut hello = [0; 5];
        tokio::io::AsyncReadExt::read_exact(&mut main, &mut hello).await.unwrap();
        assert_eq!(&hello, b"hello");
        for _ in 0..2 {
            let mut back = opener.open().await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut back, b"echo").await.unwrap();
            tokio::io::AsyncWriteExt::flush(&mut back).await.unwrap();
            let mut buf = [0; 4];
            tokio::io::AsyncReadExt::read_exact(&mut back, &mut buf).await.unwrap();
            assert_eq!(&buf, b"echo");
        }
    }

    #[tokio::test]
    async fn a_closed_connection_refuses() {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let (opener, opens) = opener();
        let (inbound, _accepted) = mpsc::unbounded_channel();
        let driver = tokio::spawn(drive(ours, opens, inbound, CancellationToken::new()));
        drop(theirs);
        driver.await.unwrap();
        assert_eq!(opener.open().await.err().unwrap().kind(), io::ErrorKind::NotConnected);
    }

    #[tokio::test]
    async fn what_was_written_arrives_before_the_close() {
        let (ours, theirs) = tokio::io::duplex(64);
        let (opener, opens) = opener();
        let (inbound, _accepted) = mpsc::unbounded_channel();
        let drained = CancellationToken::new();
        tokio::spawn(drive(ours, opens, inbound, drained.clone()));
        let mut host = Connection::new(theirs.compat(), yamux::Config::default(), Mode::Client);
        let host = tokio::spawn(async move {
            let mut got = Vec::new();
            let mut stream = poll_fn(|cx| host.poll_next_inbound(cx)).await.unwrap().unwrap();
            let read = tokio::spawn(async move {
                stream.read_to_end(&mut got).await.unwrap();
                got
            });
            while poll_fn(|cx| host.poll_next_inbound(cx)).await.is_some_and(|next| next.is_ok()) {}
            read.await.unwrap()
        });
        let mut stream = opener.open().await.unwrap();
        let sent = vec![7; 4096];
        tokio::io::AsyncWriteExt::write_all(&mut stream, &sent).await.unwrap();
        drained.cancel();
        assert_eq!(host.await.unwrap(), sent);
    }
}
