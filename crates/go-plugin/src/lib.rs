//! The plugin side of HashiCorp's go-plugin, over gRPC on a unix socket.
//!
//! A host (Vault, OpenBao, Terraform, …) starts the plugin, says in the environment what it wants,
//! and reads one line from its stdout: where it listens and with which certificate. [`serve()`] does
//! this and then runs the services every plugin has (health, broker, controller, stdio) beside the
//! plugin's own:
//!
//! | part | module |
//! |---|---|
//! | environment, magic cookie, version choice, handshake line | [`handshake`] |
//! | mutual TLS: each side pins the other's certificate | [`tls`] |
//! | calling services the host offers | [`broker`] |
//! | several connections over one socket (containers) | `mux` |
//! | log lines the host understands | [`log`] |
//!
//! ```no_run
//! use go_plugin::{Config, Environment};
//!
//! # async fn example(routes: tonic::service::Routes) -> Result<(), go_plugin::ServeError> {
//! go_plugin::log::init();
//! let config = Config::new("MY_PLUGIN", "the cookie value", &[5]);
//! let stopped = go_plugin::serve(
//!     &config,
//!     &Environment::from_process(config.cookie_key),
//!     &mut std::io::stdout(),
//!     |_broker| routes,
//! )
//! .await?;
//! tracing::info!(?stopped, "bye");
//! # Ok(())
//! # }
//! ```

pub mod broker;
mod conn;
mod control;
pub mod handshake;
mod liveness;
pub mod log;
mod mux;
mod serve;
mod socket;
pub mod tls;

pub use broker::{Broker, BrokerError};
pub use handshake::{Config, Environment, HandshakeError};
pub use serve::{ServeError, Stopped, serve};
pub use tls::MutualTls;
