//! Write Vault and OpenBao secrets engines in Rust.
//!
//! An engine declares a [`Backend`] (paths with typed fields, secret types, write-ahead-log
//! rollback, initialisation) for each mount, and hands a [`Plugin`] to [`run`]:
//!
//! ```no_run
//! use std::process::ExitCode;
//! use std::sync::Arc;
//! use vault_plugin_sdk::{handler, pattern, Backend, Error, Field, Operation, Path, Plugin, Request, Response, Result};
//!
//! struct Greeter;
//!
//! impl Greeter {
//!     async fn greet(self: Arc<Self>, req: Request) -> Result<Option<Response>> {
//!         let name = req.fields.str("name");
//!         let greeting: String = req
//!             .storage
//!             .get("greeting")
//!             .await?
//!             .ok_or_else(|| Error::bad_request("write a greeting first"))?;
//!         Ok(Some(Response::new().with("text", format!("{greeting}, {name}"))))
//!     }
//! }
//!
//! fn main() -> ExitCode {
//!     vault_plugin_sdk::run(Plugin::new("greeter", "v1.0.0", |_setup| {
//!         let engine = Arc::new(Greeter);
//!         Backend::new("Greets people.").path(
//!             Path::new(format!("greet/{}", pattern::name("name")))
//!                 .field(Field::string("name").describe("Whom to greet"))
//!                 .on(Operation::Read, handler(&engine, Greeter::greet))
//!                 .help("Greet one person", "Reads the stored greeting."),
//!         )
//!     }))
//! }
//! ```
//!
//! One process serves any number of mounts (plugin multiplexing); the factory given to
//! [`Plugin::new`] runs once per mount and must not use storage, which the host does not offer
//! while it only registers the plugin. Use [`Backend::on_initialize`] for that.
//! Hosts that know plugin protocols 3 and 4 only are served too, with a process for each mount; [`legacy`]
//! says how they start it.
//!
//! Engines are tested without a host through [`testing::Mount`].
//!
//! # A complete engine
//!
//! `examples/kv.rs` has all that an engine can consist of. A test runs it in a real host.
//!
#![doc = concat!("````no_run\n", include_str!("../examples/kv.rs"), "````")]

mod backend;
mod convert;
mod dispatch;
mod error;
pub mod field;
mod help;
mod instances;
pub mod legacy;
mod openapi;
mod path;
pub mod pattern;
mod request;
mod response;
mod serve;
mod service;
pub mod storage;
mod system;
pub mod testing;
pub mod ttl;
mod wal;

pub use backend::{Backend, Context, SecretType, Setup};
pub use error::{Error, Result};
pub use field::{Field, FieldData, FieldType};
pub use path::{Handler, HandlerFuture, Path, handler};
pub use request::{LeasedSecret, Operation, Request};
pub use response::{Response, Secret};
pub use serve::{Plugin, ServeError, run, serve};
pub use storage::{Storage, StorageError};
pub use system::{Entity, EntityAlias, SystemError, SystemView};
pub use wal::{Wal, WalEntry};
