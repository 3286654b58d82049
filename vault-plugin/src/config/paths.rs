//! The paths of configs.

use std::sync::Arc;

use secrecy::ExposeSecret;
use vault_plugin_sdk::{Error, Field, Operation, Path, Request, Response, Result, Storage, handler, pattern};

use super::{Cluster, Config, FOLDER, KEY, MinTls, REDACTED};
use crate::{Engine, limits, roles, statics};

pub(super) const ENDPOINT: &str = "endpoint";
pub(super) const ACCESS_KEY_ID: &str = "accessKeyId";
pub(super) const SECRET_ACCESS_KEY: &str = "secretAccessKey";
pub(super) const USE_SSL: &str = "useSSL";
pub(super) const EXPOSE_SECRET_ON_READ: &str = "expose_secret_on_read";
pub(super) const CA_CERTIFICATE: &str = "ca_certificate";
pub(super) const CLIENT_CERTIFICATE: &str = "client_certificate";
pub(super) const CLIENT_KEY: &str = "client_key";
pub(super) const MIN_TLS_VERSION: &str = "min_tls_version";
pub(super) const REGION: &str = "region";
const NAME: &str = "name";
/// Path of the default cluster's rotation, and folder of the others'. Hosts ask for sudo by whole paths and
/// beginnings of paths, so that the cluster's name has to be last. No cluster can be called `rotate-root`.
pub(crate) const ROTATE_ROOT: &str = "config/rotate-root";

/// How many users of a cluster a refusal names.
const NAMED: usize = 10;

/// The paths; rotations first, whose last segment would pass for a cluster's name.
pub(crate) fn paths(engine: &Arc<Engine>) -> [Path; 4] {
    let rotate = |pattern: String| {
        Path::new(pattern).on(Operation::Update, handler(engine, Engine::rotate_root)).help(
            "Give the admin user a new secret",
            "The secret is known to nobody but this engine afterwards. Not for MinIO's root, whose secret is \
             set in the server's environment.",
        )
    };
    let text = "A write changes the fields it names. The admin user needs admin:CreateUser, admin:DeleteUser, \
                admin:GetUser and admin:AttachUserOrGroupPolicy; for policy_document also admin:CreatePolicy and \
                admin:DeletePolicy; for groups admin:AddUserToGroup; for service accounts \
                admin:CreateServiceAccount, admin:UpdateServiceAccount, admin:RemoveServiceAccount and \
                admin:ListServiceAccounts.";
    let one = |path: Path| {
        fields(path)
            .on(Operation::Read, handler(engine, Engine::read_config))
            .on(Operation::Update, handler(engine, Engine::write_config))
            .on(Operation::Delete, handler(engine, Engine::delete_config))
    };
    let plain = one(Path::new(pattern::list(KEY)))
        .on(Operation::List, handler(engine, Engine::list_configs))
        .help("The default MinIO, and its admin user", text);
    let name = || Field::string(NAME).describe("Name of the cluster");
    let named = one(Path::new(format!("{FOLDER}{}", pattern::name(NAME))).field(name()))
        .help("One more MinIO, and its admin user", text);
    [
        rotate(ROTATE_ROOT.to_owned()),
        rotate(format!("{ROTATE_ROOT}/{}", pattern::name(NAME))).field(name()),
        plain,
        named,
    ]
}

fn fields(path: Path) -> Path {
    path.field(Field::string(ENDPOINT).describe("MinIO server, host:port"))
        .field(Field::string(ACCESS_KEY_ID).describe("Access key of the admin user"))
        .field(Field::string(SECRET_ACCESS_KEY).describe("Secret key of the admin user").sensitive())
        .field(Field::bool(USE_SSL).describe("HTTPS instead of HTTP").default_bool(false))
        .field(
            Field::bool(EXPOSE_SECRET_ON_READ)
                .describe("Whether reading the config shows secretAccessKey, as the Go plugin does")
                .default_bool(false),
        )
        .field(Field::string(CA_CERTIFICATE).describe("Authorities to trust in place of the system's, PEM"))
        .field(Field::string(CLIENT_CERTIFICATE).describe("Certificate to show to MinIO, PEM"))
        .field(
            Field::string(CLIENT_KEY).describe("Key of client_certificate, PEM; never read back").sensitive(),
        )
        .field(Field::string(MIN_TLS_VERSION).describe("Oldest TLS to speak: 1.2 (default) or 1.3"))
        .field(Field::string(REGION).describe("Region in signatures; us-east-1 unless MinIO was given one"))
}

/// The cluster a request is about, by its path: only the named clusters' paths have the field.
pub(super) fn cluster(req: &Request) -> Result<Cluster> {
    if matches!(req.path.as_str(), KEY | FOLDER | ROTATE_ROOT) {
        return Ok(Cluster::default());
    }
    let name = req.fields.str(NAME);
    limits::line(NAME, name, limits::NAME)?;
    Ok(Cluster::named(name))
}

impl Engine {
    async fn list_configs(self: Arc<Self>, req: Request) -> Result<Option<Response>> {
        Ok(Some(Response::list(req.storage.list(FOLDER).await?)))
    }

    async fn read_config(self: Arc<Self>, req: Request) -> Result<Option<Response>> {
        let cluster = cluster(&req)?;
        let config = match Config::load(&req.storage, &cluster).await? {
            Some(config) => config,
            // As the Go plugin answers.
            None if cluster.is_default() => Config::default(),
            None => return Ok(None),
        };
        Ok(Some(shown(&config)))
    }

    async fn write_config(self: Arc<Self>, req: Request) -> Result<Option<Response>> {
        let cluster = cluster(&req)?;
        let _writing = self.writing.lock().await;
        let mut config = Config::load(&req.storage, &cluster).await?.unwrap_or_default();
        config.take(&req.fields)?;
        let key = cluster.key();
        req.storage.put(&key, &config).await?;
        self.clients.forget(&key);
        Ok(None)
    }

    async fn delete_config(self: Arc<Self>, req: Request) -> Result<Option<Response>> {
        let cluster = cluster(&req)?;
        // A first rotation calls MinIO before its static role is stored. In this order, as settle_root
        // takes the second under the first.
        let (_statics, _writing) = (self.statics.lock().await, self.writing.lock().await);
        let mut users = used_by(&req.storage, &cluster).await?;
        if !users.is_empty() {
            let rest = users.len().saturating_sub(NAMED);
            users.truncate(NAMED);
            let more = if rest == 0 { String::new() } else { format!(" and {rest} more") };
            return Err(Error::bad_request(format!(
                "{cluster} is used by {}{more}: delete them first",
                users.join(", ")
            )));
        }
        let key = cluster.key();
        req.storage.delete(&key).await?;
        self.clients.forget(&key);
        Ok(None)
    }
}

/// Paths of the roles and static roles of a cluster.
async fn used_by(storage: &Storage, cluster: &Cluster) -> Result<Vec<String>> {
    let mut users = roles::of_cluster(storage, cluster).await?;
    users.extend(statics::of_cluster(storage, cluster).await?);
    Ok(users)
}

/// Fields the Go plugin does not know are shown only where they are set.
fn shown(config: &Config) -> Response {
    let secret = config.secret_access_key.expose_secret();
    let secret = if secret.is_empty() || config.expose_secret_on_read { secret } else { REDACTED };
    let mut response = Response::new()
        .with(ENDPOINT, &config.endpoint)
        .with(ACCESS_KEY_ID, &config.access_key_id)
        .with(SECRET_ACCESS_KEY, secret)
        .with(USE_SSL, config.use_ssl);
    if config.expose_secret_on_read {
        response = response.with(EXPOSE_SECRET_ON_READ, true);
    }
    let key = if config.client_key.expose_secret().is_empty() { "" } else { REDACTED };
    let min_tls = match config.min_tls_version {
        None => "",
        Some(MinTls::V1_2) => "1.2",
        Some(MinTls::V1_3) => "1.3",
    };
    for (name, value) in [
        (CA_CERTIFICATE, config.ca_certificate.as_str()),
        (CLIENT_CERTIFICATE, &config.client_certificate),
        (CLIENT_KEY, key),
        (MIN_TLS_VERSION, min_tls),
        (REGION, &config.region),
    ] {
        if !value.is_empty() {
            response = response.with(name, value);
        }
    }
    response
}
