//! `/proc/<pid>/mountinfo`, as proc_pid_mountinfo(5) describes it.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

/// Device number of a mounted filesystem. Every bind mount of one FUSE session shows the same one, and no
/// other filesystem does: it is how the targets of a source are found without touching either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Device {
    /// Major number (0 for FUSE).
    pub major: u32,
    /// Minor number; for FUSE also the name of its directory below `/sys/fs/fuse/connections`.
    pub minor: u32,
}

/// One line of the mount table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Unique while the mount exists; the kernel gives the ids of gone mounts out again.
    pub mount_id: u32,
    /// The mount this one is mounted on.
    pub parent_id: u32,
    /// Device of the mounted filesystem.
    pub device: Device,
    /// Directory inside the filesystem that is mounted here (`/` unless a subdirectory was bound).
    pub root: PathBuf,
    /// Where it is mounted.
    pub mount_point: PathBuf,
    /// Whether this mount (not the filesystem) is read-only.
    pub read_only: bool,
    /// Whether it is in a peer group, so that mounts made below it are seen elsewhere (mount_namespaces(7)).
    pub shared: bool,
    /// Filesystem type, `fuse.goofys` for ours.
    pub fs_type: String,
    /// Mount source, as given to mount(2).
    pub source: OsString,
    /// Options of the filesystem, the same wherever it is mounted, separated by commas.
    pub fs_options: String,
}

/// A line that is not what proc_pid_mountinfo(5) promises.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: no {field}")]
pub struct ParseError {
    /// Line number from 1.
    pub line: usize,
    /// The field that is missing or malformed.
    pub field: &'static str,
}

/// Reads a whole mountinfo document.
pub fn parse(document: &[u8]) -> Result<Vec<Entry>, ParseError> {
    document
        .split(|byte| *byte == b'\n')
        .enumerate()
        .filter(|(_, line)| !line.is_empty())
        .map(|(index, line)| entry(line).map_err(|field| ParseError { line: index + 1, field }))
        .collect()
}

/// The mount that a path shows: of those stacked on it, the one that no other is mounted on. Not the one with
/// the highest id: ids are reused.
#[must_use]
pub fn top_at<'a>(table: &'a [Entry], path: &Path) -> Option<&'a Entry> {
    let stacked: Vec<&Entry> = table.iter().filter(|entry| entry.mount_point == path).collect();
    stacked.iter().copied().find(|entry| !stacked.iter().any(|other| other.parent_id == entry.mount_id))
}

fn entry(line: &[u8]) -> Result<Entry, &'static str> {
    let mut fields = line.split(|byte| *byte == b' ');
    let mount_id = number(fields.next().ok_or("mount id")?).ok_or("mount id")?;
    let parent_id = number(fields.next().ok_or("parent id")?).ok_or("parent id")?;
    let device = device(fields.next().ok_or("device")?).ok_or("device")?;
    let root = unescape(fields.next().ok_or("root")?);
    let mount_point = unescape(fields.next().ok_or("mount point")?);
    let options = fields.next().ok_or("mount options")?;
    // Any number of optional fields (propagation), ended by a lone dash.
    let mut shared = false;
    loop {
        match fields.next().ok_or("separator")? {
            b"-" => break,
            field => shared |= field.starts_with(b"shared:"),
        }
    }
    let fs_type = fields.next().ok_or("filesystem type")?;
    let source = fields.next().ok_or("source")?;
    let fs_options = fields.next().ok_or("filesystem options")?;
    Ok(Entry {
        mount_id,
        parent_id,
        device,
        root: root.into(),
        mount_point: mount_point.into(),
        read_only: options.split(|byte| *byte == b',').any(|option| option == b"ro"),
        shared,
        fs_type: String::from_utf8_lossy(fs_type).into_owned(),
        source: unescape(source),
        fs_options: String::from_utf8_lossy(fs_options).into_owned(),
    })
}

fn number(field: &[u8]) -> Option<u32> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

fn device(field: &[u8]) -> Option<Device> {
    let colon = field.iter().position(|byte| *byte == b':')?;
    Some(Device { major: number(&field[..colon])?, minor: number(&field[colon + 1..])? })
}

/// The kernel writes space, tab, newline and backslash as three octal digits.
fn unescape(field: &[u8]) -> OsString {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        match (first, octal(tail)) {
            (b'\\', Some(byte)) => {
                plain.push(byte);
                rest = &tail[3..];
            }
            _ => {
                plain.push(*first);
                rest = tail;
            }
        }
    }
    OsString::from_vec(plain)
}

fn octal(digits: &[u8]) -> Option<u8> {
    let digits = digits.get(..3)?;
    let mut value: u32 = 0;
    for digit in digits {
        value = value * 8 + char::from(*digit).to_digit(8)?;
    }
    u8::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::ffi::OsStrExt as _;

    #[test]
    fn reads_a_fuse_line_with_optional_fields_and_escapes() {
        let line = b"611 29 0:77 / /var/lib/a\\040b/mount ro,nosuid,nodev shared:1 master:2 - fuse.goofys boathouse:1f rw,user_id=0\n";
        let entries = parse(line).unwrap();
        assert_eq!(
            entries,
            vec![Entry {
                mount_id: 611,
                parent_id: 29,
                device: Device { major: 0, minor: 77 },
                root: "/".into(),
                mount_point: "/var/lib/a b/mount".into(),
                read_only: true,
                shared: true,
                fs_type: "fuse.goofys".into(),
                source: "boathouse:1f".into(),
                fs_options: "rw,user_id=0".into(),
            }]
        );
    }

    #[test]
    fn reads_lines_without_optional_fields() {
        let entries =
            parse(b"1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 0:5 / /dev rw - devtmpfs devtmpfs rw\n").unwrap();
        assert_eq!(entries.len(), 2);
        assert!(!entries[0].read_only && !entries[0].shared);
    }

    #[test]
    fn the_top_is_decided_by_parents_not_by_ids() {
        let table = parse(
            b"76 29 0:50 / /t rw - fuse.goofys dead rw\n73 76 0:51 / /t rw - fuse.goofys new rw\n\
              29 1 8:1 / / rw - ext4 /dev/sda1 rw\n",
        )
        .unwrap();
        assert_eq!(top_at(&table, Path::new("/t")).unwrap().mount_id, 73);
        assert_eq!(top_at(&table, Path::new("/")).unwrap().mount_id, 29);
        assert!(top_at(&table, Path::new("/u")).is_none());
    }

    #[test]
    fn names_the_line_and_the_field_it_cannot_read() {
        let error = parse(b"1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 x / /dev rw - a b c\n").unwrap_err();
        assert_eq!(error, ParseError { line: 2, field: "device" });
        assert_eq!(parse(b"7 1 8:1 / /x rw shared:1 ext4\n").unwrap_err().field, "separator");
    }

    proptest! {
        #[test]
        fn never_panics(document in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = parse(&document);
        }

        /// Any path the kernel can show comes back as it was.
        #[test]
        fn escapes_round_trip(path in proptest::collection::vec(1u8.., 1..60)) {
            let escaped: Vec<u8> = path.iter().flat_map(|byte| match byte {
                b' ' | b'\t' | b'\n' | b'\\' => format!("\\{byte:03o}").into_bytes(),
                other => vec![*other],
            }).collect();
            let mut line = b"9 1 0:9 / ".to_vec();
            line.extend(&escaped);
            line.extend(b" rw - fuse.goofys x rw");
            let entries = parse(&line).unwrap();
            prop_assert_eq!(entries[0].mount_point.as_os_str().as_bytes(), Path::new(std::ffi::OsStr::from_bytes(&path)).as_os_str().as_bytes());
        }
    }
}
