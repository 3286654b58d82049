//! Things that go away when their guard is dropped, also when a test panics.

mod mount;
mod process;
mod spawner;
mod tree;

pub use mount::MountGuard;
pub use process::{GuardError, ProcessGuard};
pub use tree::TempTree;
pub(crate) use tree::{PREFIX as TREE_PREFIX, parent as tree_parent};
