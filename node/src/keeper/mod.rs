//! Talking to keepers: started once through their inherited socket, then asked through their control socket.

mod client;
mod launch;

pub use client::{Keeper, KeeperError};
pub use launch::launch;
