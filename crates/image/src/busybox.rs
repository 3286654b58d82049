//! Two images for pods in tests, from the machine's own static busybox.

use crate::Archive;
use crate::description::{Architecture, Entry, Image, ImagePath, Reference};
use crate::error::ImageError;
use std::path::Path;
use std::process::{Command, Stdio};

/// Where Debian's busybox-static is.
const BUSYBOX: &str = "/bin/busybox";

/// Process 1 of a pid namespace is not ended by a signal it has no handler for, so `sleep` alone would wait for
/// SIGKILL. A shell also reaps what other containers of the pod leave to it when they share its namespace.
const PAUSE: &str = "trap 'exit 0' TERM INT; sleep 2147483647 & wait";

/// Writes `localhost/busybox:1`, busybox with a link for each of its applets, to `<directory>/busybox.tar`.
///
/// # Errors
/// [`ImageError::Busybox`] without a `/bin/busybox`, [`ImageError::Dynamic`] if it is not static.
pub fn busybox(directory: &Path) -> Result<Archive, ImageError> {
    busybox_image()?.write(directory)
}

/// What [`busybox`] writes, to build on.
///
/// # Errors
/// [`ImageError::Busybox`] without a `/bin/busybox`.
pub fn busybox_image() -> Result<Image, ImageError> {
    let program = Path::new(BUSYBOX);
    with_applets(program, &applets(program)?)
}

/// Writes `localhost/pause:1`, which waits until it is told to end, to `<directory>/pause.tar`.
///
/// # Errors
/// As [`busybox`].
pub fn pause(directory: &Path) -> Result<Archive, ImageError> {
    let program = Path::new(BUSYBOX);
    // It is not used; the question is whether there is a busybox.
    applets(program)?;
    let mut image = bare("localhost/pause", program)?;
    image.entrypoint = [BUSYBOX, "sh", "-c", PAUSE].map(str::to_owned).to_vec();
    // Nobody: it needs no rights.
    image.user = "65535:65535".to_owned();
    image.write(directory)
}

fn with_applets(program: &Path, applets: &str) -> Result<Image, ImageError> {
    let mut image = bare("localhost/busybox", program)?;
    for applet in applets.lines() {
        let link = ImagePath::new(format!("/bin/{applet}"))?;
        // busybox lists itself.
        image.entries.entry(link).or_insert(Entry::Symlink { target: "busybox".to_owned() });
    }
    image.entries.insert(ImagePath::new("/tmp")?, Entry::Directory { mode: 0o1777 });
    image.environment.insert("PATH".to_owned(), "/bin".to_owned());
    image.command = vec!["/bin/sh".to_owned()];
    Ok(image)
}

/// An image with nothing but the one program.
fn bare(repository: &str, program: &Path) -> Result<Image, ImageError> {
    let mut image = Image::new(Reference::new(repository, "1")?, Architecture::of_host()?);
    let file = Entry::File { source: program.to_owned(), mode: 0o755 };
    image.entries.insert(ImagePath::new(BUSYBOX)?, file);
    Ok(image)
}

/// What it can do, a name a line.
fn applets(program: &Path) -> Result<String, ImageError> {
    let failed = |outcome: String| ImageError::Busybox { program: program.to_owned(), outcome };
    let output = Command::new(program)
        .arg("--list")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| failed(format!("did not start: {error}")))?;
    if !output.status.success() {
        return Err(failed(format!("ended with {}", output.status)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn every_applet_is_a_link() {
        let image = with_applets(Path::new("/x/busybox"), "[\nbusybox\nsh\n").unwrap();
        let entry = |path: &str| &image.entries[&ImagePath::new(path).unwrap()];
        assert_eq!(image.entries.len(), 4);
        assert_eq!(*entry(BUSYBOX), Entry::File { source: "/x/busybox".into(), mode: 0o755 });
        for applet in ["/bin/[", "/bin/sh"] {
            assert_eq!(*entry(applet), Entry::Symlink { target: "busybox".to_owned() });
        }
    }

    #[test]
    fn without_a_busybox_it_is_said_what_to_install() {
        let error = applets(Path::new("/x/busybox")).unwrap_err().to_string();
        assert_eq!(
            error,
            "`/x/busybox --list` did not start: No such file or directory (os error 2); \
             install a static one (Debian: apt-get install busybox-static)"
        );
    }
}
