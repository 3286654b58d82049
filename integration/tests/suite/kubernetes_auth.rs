//! Login through the `kubernetes` auth plugin, which asks an API server about each token.

use crate::scene::{Scene, refused};
use crate::world::{Case, Shared, beside};
use anyhow::{Context as _, ensure};
use boathouse_testkit::stack::{ENGINE_MOUNT, Identities, Stack};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use tonic::Code;

const MOUNT: &str = "kubernetes";

pub(crate) fn cases() -> Vec<Case> {
    vec![beside!(a_token_reviewed_by_the_api_server_logs_in)]
}

/// A fake API server: it answers TokenReviews, by the key the tokens are signed with, and nothing else. A real
/// one comes with the end-to-end suite on a real node.
fn fake_token_review(identities: &Identities) -> anyhow::Result<SocketAddr> {
    let key = DecodingKey::from_ec_pem(identities.public_key().as_bytes())?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    // Ends with the test process.
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = review(stream, &key);
        }
    });
    Ok(address)
}

fn review(mut stream: TcpStream, key: &DecodingKey) -> anyhow::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let mut review: Value = serde_json::from_slice(&body)?;
    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_audience(&["vault"]);
    let token = review["spec"]["token"].as_str().unwrap_or_default();
    review["status"] = match decode::<Value>(token, key, &validation) {
        Ok(good) => json!({
            "authenticated": true,
            "audiences": ["vault"],
            "user": {
                "username": good.claims["sub"],
                "uid": good.claims["kubernetes.io"]["serviceaccount"]["uid"],
                "groups": ["system:serviceaccounts"],
            },
        }),
        Err(error) => json!({ "authenticated": false, "error": error.to_string() }),
    };
    let answer = review.to_string();
    let head = "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nConnection: close\r\n";
    write!(stream, "{head}Content-Length: {}\r\n\r\n{answer}", answer.len())?;
    Ok(())
}

async fn a_token_reviewed_by_the_api_server_logs_in(shared: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let api_server = fake_token_review(stack.identities())?;
    let vault = stack.vault();
    vault.write(&format!("sys/auth/{MOUNT}"), &json!({ "type": "kubernetes" })).await?;
    // Asked for, though the fake speaks plain HTTP.
    let authority = rcgen::generate_simple_self_signed(["api".to_owned()])?.cert.pem();
    let config = json!({
        "kubernetes_ca_cert": authority,
        "kubernetes_host": format!("http://{api_server}"),
        "token_reviewer_jwt": "reviewer",
        "disable_local_ca_jwt": true,
    });
    vault.write(&format!("auth/{MOUNT}/config"), &config).await?;
    let mounts = vault.read("sys/auth").await?;
    let accessor = mounts["data"][format!("{MOUNT}/")]["accessor"].as_str().context("accessor")?;
    let namespace = format!("{{{{identity.entity.aliases.{accessor}.metadata.service_account_namespace}}}}");
    let rules = format!("path \"{ENGINE_MOUNT}/keys/profile-{namespace}\" {{ capabilities = [\"read\"] }}\n");
    vault.write("sys/policies/acl/tenant-by-kubernetes", &json!({ "policy": rules })).await?;
    let role = json!({
        "bound_service_account_names": ["*"],
        "bound_service_account_namespaces": ["*"],
        "audience": "vault",
        "token_policies": ["tenant-by-kubernetes"],
    });
    vault.write(&format!("auth/{MOUNT}/role/boathouse"), &role).await?;

    let scene = Scene::with(shared, stack, "by-kubernetes", |options| {
        options.flag("--vault-auth-mount", MOUNT).flag("--vault-auth-kind", "kubernetes")
    })
    .await?;
    let volume = scene.volume("nb");
    let target = scene.node.publish(stack.identities(), &volume).await?;
    std::fs::write(target.join("x"), "1")?;
    ensure!(scene.users(stack).await?.len() == 1);
    let stranger = Identities::generate()?;
    let answer = scene.node.publish(&stranger, &scene.volume("other")).await;
    refused(answer, Code::PermissionDenied, &["login", MOUNT])?;
    scene.node.unpublish(&volume.id(), &target).await?;
    scene.finish(stack).await
}
