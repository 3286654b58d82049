//! The program as it runs: TLS, files that are replaced, and its end.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod files;
mod limits;
mod program;

use files::{Authority, Files, authority, write_pair};
use nix::sys::signal::Signal;
use program::Program;
use reqwest::{ClientBuilder, Response, Version};
use serde_json::Value;
use std::process::Command;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const REVIEW: &str = include_str!("../data/review.json");

async fn ask(program: &Program, client: ClientBuilder) -> reqwest::Result<Response> {
    client.build().unwrap().post(program.url("/mutate")).body(REVIEW).send().await
}

/// Whether somebody who trusts `authority` alone gets an answer, over a connection of its own.
async fn accepted(program: &Program, authority: &Authority) -> bool {
    ask(program, program.client(authority)).await.is_ok()
}

#[tokio::test]
async fn reviews_are_answered_over_both_versions_of_http() {
    let root = authority("root");
    let program = Program::start(&Files::new(&root));
    for (client, version) in
        [(program.client(&root), Version::HTTP_2), (program.client(&root).http1_only(), Version::HTTP_11)]
    {
        let answer = ask(&program, client).await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.version()), (200, version));
        let answer: Value = answer.json().await.unwrap();
        assert_eq!(answer["response"]["patchType"], "JSONPatch");
    }
    assert_eq!(program.monitoring("/readyz").await, "ok\n");
}

#[tokio::test]
async fn a_new_certificate_is_served_and_a_broken_one_is_not() {
    let [old, new] = ["old", "new"].map(authority);
    let files = Files::new(&old);
    let program = Program::start(&files);
    assert!(accepted(&program, &old).await && !accepted(&program, &new).await);

    files.swap(|version| std::fs::write(version.join("tls.key"), "no key").unwrap());
    program.wait_for_metric("boathouse_webhook_stale{file=\"certificate\"} 1").await;
    assert!(accepted(&program, &old).await);

    files.swap(|version| write_pair(version, &new));
    program.wait_for_metric("boathouse_webhook_stale{file=\"certificate\"} 0").await;
    assert!(accepted(&program, &new).await && !accepted(&program, &old).await);

    program.signal(Signal::SIGTERM);
    let (_, log) = program.end().await;
    assert!(log.contains("tls.key: nothing of the right kind"), "{log}");
    assert!(!log.contains("PRIVATE"), "{log}");
}

#[tokio::test]
async fn new_instances_are_used_and_broken_ones_are_not() {
    let root = authority("root");
    let files = Files::new(&root);
    let program = Program::start(&files);
    let patched = async || -> Value {
        let answer: Value = ask(&program, program.client(&root)).await.unwrap().json().await.unwrap();
        answer["response"].clone()
    };
    let before = patched().await;

    files.swap(|version| std::fs::write(version.join("instances.yaml"), "instances:\n- nme: x\n").unwrap());
    program.wait_for_metric("boathouse_webhook_stale{file=\"instances\"} 1").await;
    assert_eq!(patched().await, before);

    let text = include_str!("../../instances.yaml").replace("minio_premium_tenant_1", "another_mount");
    files.swap(|version| std::fs::write(version.join("instances.yaml"), text).unwrap());
    program.wait_for_metric("boathouse_webhook_stale{file=\"instances\"} 0").await;
    assert_ne!(patched().await, before);

    program.signal(Signal::SIGTERM);
    let (_, log) = program.end().await;
    let line = log.lines().find(|line| line.contains("cannot use the new version")).unwrap();
    assert!(line.contains("instances.yaml: ") && line.contains("line 2") && line.contains("nme"), "{line}");
}

#[tokio::test]
async fn a_request_under_way_is_answered_and_the_next_connection_refused() {
    let root = authority("root");
    let program = Program::start(&Files::new(&root));
    let mut connection = limits::connect(&program, &root).await;

    let body = REVIEW;
    let length = body.len();
    let head = format!(
        "POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n\r\n"
    );
    let (first, rest) = body.split_at(length / 2);
    connection.write_all(head.as_bytes()).await.unwrap();
    // It asks for the body: the request is under way.
    let mut go_on = [0; 25];
    connection.read_exact(&mut go_on).await.unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    connection.write_all(first.as_bytes()).await.unwrap();
    connection.flush().await.unwrap();
    program.signal(Signal::SIGTERM);
    while TcpStream::connect(program.reviews).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    connection.write_all(rest.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("JSONPatch"), "{answer}");
    let (status, log) = program.end().await;
    assert!(status.success(), "{log}");
}

#[test]
fn what_is_missing_at_the_start_is_named() {
    let start = |files: &Files| {
        Command::new(env!("CARGO_BIN_EXE_boathouse-webhook"))
            .env_clear()
            .args(["serve", "--listen=127.0.0.1:0", "--metrics-addr=127.0.0.1:0"])
            .arg("--tls-cert")
            .arg(files.path("tls.crt"))
            .arg("--tls-key")
            .arg(files.path("absent.key"))
            .arg("--instances")
            .arg(files.path("instances.yaml"))
            .output()
            .unwrap()
    };
    let output = start(&Files::new(&authority("root")));
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && log.contains("absent.key: No such file"), "{log}");
}
