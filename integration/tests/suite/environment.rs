//! The node plugin by its environment alone, as a chart sets it: Vault behind TLS, in a namespace.

use crate::scene::{LIFE, Scene};
use crate::world::{Case, Shared, beside};
use anyhow::{Context as _, ensure};
use boathouse_testkit::node::NodeOptions;
use boathouse_testkit::stack::{AUTH_MOUNT, AUTH_ROLE, ENGINE_MOUNT, Stack, Tenant};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::json;
use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// OpenBao's namespace, as it prefixes paths.
const NAMESPACE: &str = "boat";

pub(crate) fn cases() -> Vec<Case> {
    vec![beside!(vault_behind_tls_in_a_namespace), beside!(variables_set_to_nothing_count_as_unset)]
}

/// TLS in front of the test's OpenBao, with a certificate of its own.
struct Front {
    address: SocketAddr,
    authority: PathBuf,
    serving: JoinHandle<()>,
}

impl Drop for Front {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn tls_in_front_of_vault(stack: &Stack) -> anyhow::Result<Front> {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()])?;
    let authority = stack.tree().directory("front")?.join("ca.pem");
    fs::write(&authority, made.cert.pem())?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let config =
        ServerConfig::builder().with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key)?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let vault = stack.bao().address().strip_prefix("http://").context("the stack's OpenBao speaks TLS")?;
    let vault = vault.to_owned();
    let serving = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, vault) = (acceptor.clone(), vault.clone());
            tokio::spawn(async move {
                let mut near = acceptor.accept(stream).await?;
                let mut far = TcpStream::connect(vault).await?;
                copy_bidirectional(&mut near, &mut far).await
            });
        }
    });
    Ok(Front { address, authority, serving })
}

/// What the stack has at its root, for one tenant, in a namespace.
async fn namespace(stack: &Stack, tenant: &Tenant) -> anyhow::Result<()> {
    let vault = stack.vault();
    let below = |path: &str| format!("{NAMESPACE}/{path}");
    vault.write(&format!("sys/namespaces/{NAMESPACE}"), &json!({})).await?;
    vault.write(&below(&format!("sys/auth/{AUTH_MOUNT}")), &json!({ "type": "jwt" })).await?;
    let keys = json!({ "jwt_validation_pubkeys": [stack.identities().public_key()] });
    vault.write(&below(&format!("auth/{AUTH_MOUNT}/config")), &keys).await?;
    let rules = format!("path \"{}\" {{ capabilities = [\"read\"] }}", tenant.vault_path);
    vault.write(&below("sys/policies/acl/keys"), &json!({ "policy": rules })).await?;
    let role = json!({
        "role_type": "jwt",
        "user_claim": "sub",
        "bound_audiences": ["vault"],
        "token_policies": ["keys"],
    });
    vault.write(&below(&format!("auth/{AUTH_MOUNT}/role/{AUTH_ROLE}")), &role).await?;
    let engine = json!({ "type": "vault-plugin-secrets-minio" });
    vault.write(&below(&format!("sys/mounts/{ENGINE_MOUNT}")), &engine).await?;
    vault.write(&below(&format!("{ENGINE_MOUNT}/config")), &stack.minio().engine_config()).await?;
    let role = json!({ "policy": tenant.role, "user_name_prefix": tenant.user_prefix, "default_ttl": LIFE.as_secs() });
    vault.write(&below(&format!("{ENGINE_MOUNT}/roles/{}", tenant.role)), &role).await?;
    Ok(())
}

/// The options of a stack, Vault's address taken away: the environment names it.
fn by_environment(options: NodeOptions, variables: &[(&str, OsString)]) -> NodeOptions {
    let mut options = options;
    let address = options.arguments.iter().position(|word| word == "--vault-addr");
    if let Some(at) = address {
        options.arguments.drain(at..at + 2);
    }
    options.environment = variables.iter().map(|(name, value)| (name.into(), value.clone())).collect();
    options
}

async fn vault_behind_tls_in_a_namespace(shared: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let front = tls_in_front_of_vault(stack).await?;
    let variables = [
        ("VAULT_ADDR", format!("https://{}", front.address).into()),
        ("VAULT_CACERT", front.authority.clone().into()),
        ("VAULT_NAMESPACE", NAMESPACE.into()),
    ];
    let scene =
        Scene::with(shared, stack, "environment", |options| by_environment(options, &variables)).await?;
    // The root namespace's role would do as well: without it only the other one is left.
    stack.vault().delete(&format!("{ENGINE_MOUNT}/roles/{}", scene.tenant.role)).await?;
    namespace(stack, &scene.tenant).await?;
    let volume = scene.volume("nb");
    let target = scene.node.publish(stack.identities(), &volume).await?;
    fs::write(target.join("f"), "1")?;
    ensure!(scene.users(stack).await?.len() == 1);
    scene.node.unpublish(&volume.id(), &target).await?;
    scene.finish(stack).await
}

async fn variables_set_to_nothing_count_as_unset(shared: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let nothing = OsString::new;
    let variables = [
        ("VAULT_ADDR", stack.bao().address().into()),
        ("VAULT_CACERT", nothing()),
        ("VAULT_NAMESPACE", nothing()),
        ("BOATHOUSE_S3_CA_FILE", nothing()),
        ("BOATHOUSE_S3_CA_DIR", nothing()),
        ("BOATHOUSE_DEFAULT_VAULT_PATH", nothing()),
        // No token file beside it: false must be as good as unset.
        ("BOATHOUSE_FLEX", "0".into()),
    ];
    let scene = Scene::with(shared, stack, "nothing", |options| by_environment(options, &variables)).await?;
    let volume = scene.volume("nb");
    let target = scene.node.publish(stack.identities(), &volume).await?;
    scene.node.unpublish(&volume.id(), &target).await?;
    scene.finish(stack).await
}
