//! A key-value engine: notes to write, read, list and delete, and leases to share them. The test of the repository
//! that runs it in a host types what a reader would:
//!
//! ```text
//! cargo build --release --package vault-plugin-sdk --example kv     # and copy it to the plugin directory
//! bao plugin register -sha256=$(sha256sum kv | cut -d' ' -f1) -command=kv secret kv-example
//! bao secrets enable -path=notes kv-example
//! bao write notes/data/greeting value=hello tags=english,short share_ttl=30m
//! bao read notes/share/greeting                  # a lease; renew and revoke it with `bao lease`
//! bao read notes/shared/<id from the lease>
//! ```
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::Map;
use vault_plugin_sdk::{
    Backend, Error, Field, Operation, Path, Plugin, Request, Response, Result, Secret, SecretType, handler,
    pattern,
};

/// The secret type of a lease, and the kind of an entry in the write-ahead log: what undoes a share is the same.
const SHARE: &str = "share";

/// What is stored under `data/<key>`. Storage takes what serde can turn into JSON; the host encrypts it.
#[derive(Serialize, Deserialize)]
struct Note {
    value: String,
    tags: Vec<String>,
    share_ttl: Duration,
}

/// The engine of one mount. It may hold clients and caches, but nothing that must not get lost: a host may end the
/// process at any time.
struct Notes;

/// Handlers take the engine and the request. `Ok(None)` is "no content": 204 for a write, 404 for a read. Errors of
/// storage are passed on with `?` and never reworded: a standby recognises its own by the text.
impl Notes {
    async fn write(self: Arc<Self>, req: Request) -> Result<Option<Response>> {
        // Fields are typed: what cannot be converted was refused before this handler was called.
        let (value, tags) = (req.fields.str("value").to_owned(), req.fields.list("tags").to_vec());
        if value.is_empty() {
            // HTTP 400. The text reaches the caller: say what to write, and quote no secret.
            return Err(Error::bad_request("value is missing: give the note's text"));
        }
        let note = Note { value, tags, share_ttl: req.fields.duration("share_ttl") };
        req.storage.put(&data_key(&req), &note).await?;
        Ok(None)
    }

    async fn read(self: Arc<Self>, req: Request) -> Result<Option<Response>> {
        let note: Option<Note> = req.storage.get(&data_key(&req)).await?;
        Ok(note.map(|note| {
            let seconds = note.share_ttl.as_secs();
            Response::new().with("value", note.value).with("tags", note.tags).with("share_ttl", seconds)
        }))
    }

    async fn delete(self: Arc<Self>, req: Request) -> Result<Option<Response>> {
        req.storage.delete(&data_key(&req)).await?;
        Ok(None)
    }

    async fn list(self: Arc<Self>, req: Request) -> Result<Option<Response>> {
        Ok(Some(Response::list(req.storage.list("data/").await?)))
    }

    /// Tells create from update, so that a policy can allow one without the other.
    async fn exists(self: Arc<Self>, req: Request) -> Result<bool> {
        Ok(req.storage.get_bytes(&data_key(&req)).await?.is_some())
    }

    /// Issues a lease: an id under which the note can be read for as long as the lease lives.
    async fn share(self: Arc<Self>, req: Request) -> Result<Option<Response>> {
        let Some(note) = req.storage.get::<Note>(&data_key(&req)).await? else { return Ok(None) };
        // First the log, then the side effect. Nobody tells an engine that the host has stored the lease, so the entry
        // is not struck out with the answer: dated to the end of the longest lease, it ends a share that was lost.
        let end = SystemTime::now() + req.system.max_lease_ttl().await?;
        req.wal().write(&req.id, SHARE, &req.id, end).await?;
        req.storage.put(&share_key(&req.id), req.fields.str("key")).await?;
        // What renew and revoke will need. The host keeps it, encrypted, and never shows it.
        let internal = Map::from_iter([("id".to_owned(), req.id.as_str().into())]);
        // A length of zero is the mount's default, and so is the maximum: the mount's.
        let lease = Secret::new(SHARE, internal).ttl(note.share_ttl, Duration::ZERO);
        Ok(Some(Response::new().with("id", req.id).with_secret(lease)))
    }

    async fn shared(self: Arc<Self>, req: Request) -> Result<Option<Response>> {
        let key: Option<String> = req.storage.get(&share_key(req.fields.str("id"))).await?;
        let key = key.ok_or_else(|| Error::not_found("this share has ended, or never was"))?;
        let note: Option<Note> = req.storage.get(&format!("data/{key}")).await?;
        Ok(note.map(|note| Response::new().with("value", note.value)))
    }

    /// A share has no end of its own, so it goes on. The host caps what is asked for at the lease's maximum.
    async fn renew(self: Arc<Self>, req: Request) -> Result<Option<Response>> {
        Ok(req.secret.map(|lease| Response::renewed(&lease, lease.ttl, lease.max_ttl)))
    }

    /// Hosts call this until it succeeds, so it must succeed when there is nothing left to do.
    async fn revoke(self: Arc<Self>, req: Request) -> Result<Option<Response>> {
        let lease = req.secret.as_ref().ok_or_else(|| Error::internal("revoke without a lease"))?;
        let id: String = lease.internal("id")?;
        req.storage.delete(&share_key(&id)).await?;
        req.wal().delete(&id).await?;
        Ok(None)
    }
}

fn data_key(req: &Request) -> String {
    format!("data/{}", req.fields.str("key"))
}

fn share_key(id: &str) -> String {
    format!("shares/{id}")
}

/// Everything the host is told about the engine. Help and the OpenAPI document are made from it.
fn backend() -> Backend {
    let notes = Arc::new(Notes);
    // A named part of a path is a field like any other.
    let named = |folder: &str, name: &str| Path::new(format!("{folder}/{}", pattern::name(name)));
    let hour = Duration::from_hours(1);
    let ttl = Field::duration("share_ttl").describe("How long a share lives; 0 for the mount's default");
    let note = named("data", "key")
        .field(Field::string("key").describe("Name of the note"))
        .field(Field::string("value").describe("The text").required().sensitive())
        .field(Field::list("tags").describe("Words to find it by"))
        .field(ttl.default_duration(hour))
        .on(Operation::Read, handler(&notes, Notes::read))
        .on(Operation::Delete, handler(&notes, Notes::delete))
        .on_write(handler(&notes, Notes::write))
        .exists(handler(&notes, Notes::exists))
        .help("One note", "Write, read and delete a note. A write replaces all of it.");
    let all = Path::new(pattern::list("data"))
        .on(Operation::List, handler(&notes, Notes::list))
        .help("All notes", "Lists the names of the notes.");
    let share = named("share", "key")
        .field(Field::string("key").describe("Name of the note"))
        .on(Operation::Read, handler(&notes, Notes::share))
        .help("Share a note", "Gives an id on a lease, to read the note by.");
    let shared = named("shared", "id")
        .field(Field::string("id").describe("The id that the lease came with"))
        .on(Operation::Read, handler(&notes, Notes::shared))
        .help("A shared note", "Reads the note for as long as the lease lives.");
    Backend::new("Keeps short texts and shares them on leases.")
        .paths([note, all, share, shared])
        .secret(SecretType::new(SHARE, handler(&notes, Notes::revoke)).renew(handler(&notes, Notes::renew)))
        // Called with entries of the log, ten minutes after their date; then they are deleted.
        .on_rollback(async |context, entry| {
            let id: String = entry.decode()?;
            Ok(context.storage.delete(&share_key(&id)).await?)
        })
        // Encrypted by the seal as well, where the host can.
        .seal_wrap(["data/"])
}

fn main() -> ExitCode {
    // The closure runs once per mount. It must not use storage: a host registers a plugin without any.
    vault_plugin_sdk::run(Plugin::new("kv-example", "v0.1.0", |_setup| backend()))
}
