//! A caller that costs little: one thread, one HTTP/1.1 connection, one request at a time.

use super::Server;
use anyhow::{Context as _, ensure};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto::aws_lc_rs};
use serde_json::json;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(super) struct Connection {
    stream: StreamOwned<ClientConnection, TcpStream>,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Connection {
    pub(super) fn open(server: &Server) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(server.certificate.clone())?;
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let tls = ClientConnection::new(Arc::new(config), ServerName::try_from("127.0.0.1")?)?;
        let stream = TcpStream::connect(("127.0.0.1", server.port)).context("connect to the webhook")?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: StreamOwned::new(tls, stream), request: request(), answer: Vec::new() })
    }

    /// Asks for one review; gives the time to the last byte of its answer.
    pub(super) fn ask(&mut self) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        self.stream.write_all(&self.request)?;
        self.answer.clear();
        let mut part = [0; 16 * 1024];
        while !is_whole(&self.answer) {
            let read = self.stream.read(&mut part)?;
            ensure!(read > 0, "the webhook closed the connection");
            self.answer.extend_from_slice(&part[..read]);
        }
        let took = begun.elapsed();
        ensure!(
            self.answer.starts_with(b"HTTP/1.1 200") && contains(&self.answer, b"\"JSONPatch\""),
            "no patch: {}",
            String::from_utf8_lossy(&self.answer)
        );
        Ok(took)
    }
}

/// What the API server sends for a notebook's pod.
fn request() -> Vec<u8> {
    let body = json!({
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "7f0b2891-916f-4ed6-b7cd-27bff1815a8c",
            "kind": { "group": "", "version": "v1", "kind": "Pod" },
            "resource": { "group": "", "version": "v1", "resource": "pods" },
            "namespace": "alice",
            "operation": "CREATE",
            "userInfo": { "username": "system:serviceaccount:kubeflow:notebook-controller" },
            "object": {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "name": "nb-0",
                    "namespace": "alice",
                    "annotations": { "data.statcan.gc.ca/inject-boathouse": "true" },
                },
                "spec": {
                    "serviceAccountName": "default-editor",
                    "containers": [{
                        "name": "nb",
                        "image": "jupyter",
                        "volumeMounts": [{ "name": "ws", "mountPath": "/home/jovyan" }],
                    }],
                    "volumes": [{ "name": "ws", "emptyDir": {} }],
                },
            },
        },
    })
    .to_string();
    format!(
        "POST /mutate HTTP/1.1\r\nHost: webhook\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Whether head and body are there. The webhook says how long its answers are.
fn is_whole(answer: &[u8]) -> bool {
    let Some(head) = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { return false };
    let text = String::from_utf8_lossy(&answer[..head]);
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    length.is_some_and(|length| answer.len() >= head + 4 + length)
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|bytes| bytes == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_with_its_last_byte() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabcd";
        assert!(is_whole(answer));
        assert!(!is_whole(&answer[..answer.len() - 1]));
        assert!(!is_whole(b"HTTP/1.1 200 OK\r\n"));
    }
}
