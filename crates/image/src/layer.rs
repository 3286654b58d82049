//! The one layer: a tar of everything in the image.
//!
//! It is not compressed. Then its digest depends on the files alone and not on a compressor's version, `diff_id` and
//! blob are the same, and importing it is a copy. Who pushes it to a registry compresses it there.

use crate::description::{Architecture, DIRECTORY_MODE, Entry, Image, ImagePath};
use crate::elf::Elf;
use crate::error::{ImageError, io};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, Write};
use std::path::Path;
use tar::{Builder, EntryType, Header};

/// As much of a file as its ELF headers take.
const BEGINNING: u64 = 4096;

/// Writes the layer of `image` to `out`; `path` is that file's name in messages.
pub(crate) fn write(image: &Image, out: impl Write, path: &Path) -> Result<(), ImageError> {
    let mut layer = Builder::new(out);
    for (place, entry) in with_parents(&image.entries)? {
        match entry {
            Entry::File { source, mode } => {
                let (file, size) = open(&source, image.architecture)?;
                let mut header = header(EntryType::Regular, mode);
                header.set_size(size);
                let mut content = file.take(size);
                let added = layer.append_data(&mut header, place.relative(), &mut content);
                added.map_err(io("put into the layer", &source))?;
                // The header has promised all of it.
                if content.limit() > 0 {
                    return Err(ImageError::Changed { path: source });
                }
            }
            Entry::Symlink { target } => {
                let mut header = header(EntryType::Symlink, 0o777);
                layer.append_link(&mut header, place.relative(), target).map_err(io("write", path))?;
            }
            Entry::Directory { mode } => {
                let mut header = header(EntryType::Directory, mode);
                let name = format!("{}/", place.relative());
                layer.append_data(&mut header, name, std::io::empty()).map_err(io("write", path))?;
            }
        }
    }
    layer.into_inner().and_then(|mut out| out.flush()).map_err(io("write", path))
}

/// All that depends on the machine or the moment is zero: time, owner, group.
pub(crate) fn header(kind: EntryType, mode: u32) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(0);
    header
}

/// Adds directories that are only said by what lies in them. A map has one order, and a directory comes before
/// what is in it.
fn with_parents(entries: &BTreeMap<ImagePath, Entry>) -> Result<BTreeMap<ImagePath, Entry>, ImageError> {
    let mut all = entries.clone();
    for path in entries.keys() {
        for parent in path.parents() {
            let found = all.entry(parent.clone()).or_insert(Entry::Directory { mode: DIRECTORY_MODE });
            if !matches!(found, Entry::Directory { .. }) {
                return Err(ImageError::Parent { path: path.to_string(), parent: parent.to_string() });
            }
        }
    }
    Ok(all)
}

fn open(source: &Path, architecture: Architecture) -> Result<(File, u64), ImageError> {
    let mut file = File::open(source).map_err(io("read", source))?;
    let size = file.metadata().map_err(io("look at", source))?.len();
    let mut beginning = Vec::new();
    (&file).take(BEGINNING).read_to_end(&mut beginning).map_err(io("read", source))?;
    file.rewind().map_err(io("read", source))?;
    if let Some(elf) = Elf::read(&beginning) {
        if !elf.is_for(architecture) {
            let path = source.to_owned();
            return Err(ImageError::Machine { path, found: elf.machine(), wanted: architecture });
        }
        if elf.dynamic {
            return Err(ImageError::Dynamic { path: source.to_owned() });
        }
    }
    Ok((file, size))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;
    use crate::description::Reference;
    use crate::elf::tests::{ARM64, DYNAMIC, STATIC, X86_64, header};
    use std::io::sink;

    #[test]
    fn programs_that_could_not_run_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("program");
        let layer = |machine, kind| {
            std::fs::write(&program, header(machine, kind)).unwrap();
            let mut image = Image::new(Reference::new("x", "1").unwrap(), Architecture::Arm64);
            let entry = Entry::File { source: program.clone(), mode: 0o755 };
            image.entries.insert(ImagePath::new("/program").unwrap(), entry);
            write(&image, sink(), Path::new("layer")).map_err(|error| error.to_string())
        };
        let name = program.display();
        assert_eq!(layer(ARM64, STATIC), Ok(()));
        assert_eq!(
            layer(X86_64, STATIC),
            Err(format!("{name} is a program for amd64, the image is for arm64"))
        );
        assert_eq!(
            layer(ARM64, DYNAMIC),
            Err(format!(
                "{name} is linked dynamically, and an image has no libraries; use a static build of it"
            ))
        );
    }
}
