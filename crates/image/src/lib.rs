//! Container images from files, without a container daemon.
//!
//! An [`Image`] says which files lie where and how the program in it is started. [`Image::write`] makes an archive of it that
//! containerd, Docker, Podman and skopeo read. The same description and the same files give the same bytes, on
//! every machine: nothing of the host but the files' contents goes in.
//!
//! - [`List`]: `deploy/images/images.toml`, what the product's images are made of, and their Dockerfiles.
//! - [`busybox()`], [`pause`]: two images for tests, from Debian's busybox.

mod archive;
mod busybox;
mod description;
mod dockerfile;
mod elf;
mod error;
mod layer;
mod list;
mod oci;

pub use archive::Archive;
pub use busybox::{busybox, busybox_image, pause};
pub use description::{Architecture, Entry, Image, ImagePath, Reference};
pub use error::ImageError;
pub use list::{List, ListError};
