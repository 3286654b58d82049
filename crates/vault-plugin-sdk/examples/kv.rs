//! A key-value engine: the smallest useful plugin. Build it, copy it to the host's plugin directory,
//! register it with its SHA-256 and enable it:
//!
//! ```text
//! bao plugin register -sha256=$(sha256sum kv | cut -d' ' -f1) -command=kv secret kv-example
//! bao secrets enable -path=notes kv-example
//! bao write notes/data/greeting value=hello ttl=1h
//! bao read notes/data/greeting
//! bao list notes/data
//! bao path-help notes/data/greeting
//! ```

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use vault_plugin_sdk::{
    Backend, Error, Field, Operation, Path, Plugin, Request, Response, Result, handler, pattern,
};

/// What is stored under `data/<key>`.
#[derive(Serialize, Deserialize)]
struct Note {
    value: String,
    /// Seconds since 1970; zero means never.
    expires: u64,
}

/// The engine of one mount. It has no state of its own: the host keeps it all.
struct Notes;

impl Notes {
    async fn write(self: Arc<Self>, req: Request) -> Result<Option<Response>> {
        if !req.fields.is_set("value") {
            return Err(Error::bad_request("missing value"));
        }
        let ttl = req.fields.duration("ttl").as_secs();
        let expires = if ttl == 0 { 0 } else { now() + ttl };
        let note = Note { value: req.fields.str("value").to_owned(), expires };
        req.storage.put(&key(&req), &note).await?;
        Ok(None)
    }

    async fn read(self: Arc<Self>, req: Request) -> Result<Option<Response>> {
        let Some(note) = req.storage.get::<Note>(&key(&req)).await? else { return Ok(None) };
        if note.expires != 0 && note.expires <= now() {
            req.storage.delete(&key(&req)).await?;
            return Ok(None);
        }
        let mut response = Response::new().with("value", note.value);
        if note.expires != 0 {
            response = response.with("ttl", note.expires - now());
        }
        Ok(Some(response))
    }

    async fn delete(self: Arc<Self>, req: Request) -> Result<Option<Response>> {
        req.storage.delete(&key(&req)).await?;
        Ok(None)
    }

    async fn list(self: Arc<Self>, req: Request) -> Result<Option<Response>> {
        Ok(Some(Response::list(req.storage.list("data/").await?)))
    }

    /// Lets policies allow create without update.
    async fn exists(self: Arc<Self>, req: Request) -> Result<bool> {
        Ok(req.storage.get_bytes(&key(&req)).await?.is_some())
    }
}

fn key(req: &Request) -> String {
    format!("data/{}", req.fields.str("key"))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs())
}

fn backend() -> Backend {
    let notes = Arc::new(Notes);
    Backend::new("Keeps short texts.")
        .path(
            Path::new(format!("data/{}", pattern::name("key")))
                .field(Field::string("key").describe("Name of the note"))
                .field(Field::string("value").describe("The text").required().sensitive())
                .field(Field::duration("ttl").describe("How long to keep it; for ever if unset"))
                .on(Operation::Read, handler(&notes, Notes::read))
                .on(Operation::Delete, handler(&notes, Notes::delete))
                .on_write(handler(&notes, Notes::write))
                .exists(handler(&notes, Notes::exists))
                .help("One note", "Write, read and delete a note."),
        )
        .path(
            Path::new(pattern::list("data"))
                .on(Operation::List, handler(&notes, Notes::list))
                .help("All notes", "Lists the names of all notes, also of those that ran out unread."),
        )
        .seal_wrap(["data/"])
}

fn main() -> ExitCode {
    vault_plugin_sdk::run(Plugin::new("kv-example", "v0.1.0", |_setup| backend()))
}
