//! What kubelet asks for.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use crate::status::DriverStatus;

/// One command line, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Callout {
    Init,
    Mount {
        target: String,
        options: Vec<u8>,
    },
    Unmount {
        target: String,
    },
    /// A callout of the interface, or any other word, that this driver has no use for.
    Other(String),
    Help,
    Version,
}

impl Callout {
    /// Takes the arguments behind the program's name apart; the error is the answer to give.
    pub(crate) fn parse(arguments: &[OsString]) -> Result<Self, DriverStatus> {
        let Some((name, rest)) = arguments.split_first() else {
            return Err(DriverStatus::failure("no callout given; kubelet calls init, mount or unmount"));
        };
        match name.as_bytes() {
            b"init" => Ok(Self::Init),
            b"mount" => match rest {
                [target, options] => Ok(Self::Mount {
                    target: parse_target("mount", target)?,
                    options: options.as_bytes().to_vec(),
                }),
                _ => Err(wrong_count("mount", "a target directory and a JSON document", rest.len())),
            },
            b"unmount" => match rest {
                [target] => Ok(Self::Unmount { target: parse_target("unmount", target)? }),
                _ => Err(wrong_count("unmount", "a target directory", rest.len())),
            },
            b"--help" | b"-h" => Ok(Self::Help),
            b"--version" | b"-V" => Ok(Self::Version),
            _ => Ok(Self::Other(shown(name))),
        }
    }
}

fn wrong_count(callout: &str, needed: &str, given: usize) -> DriverStatus {
    DriverStatus::failure(format!("{callout} needs {needed}, but got {given} arguments"))
}

/// The node plugin has another working directory, so only an absolute path means the same to it.
fn parse_target(callout: &str, target: &OsStr) -> Result<String, DriverStatus> {
    let flaw = match target.to_str() {
        None => "is not UTF-8",
        Some(path) if !path.starts_with('/') => "is not an absolute path",
        Some(path) => return Ok(path.to_owned()),
    };
    Err(DriverStatus::failure(format!("{callout}: the target directory \"{}\" {flaw}", shown(target))))
}

/// An argument as a message may repeat it.
fn shown(argument: &OsStr) -> String {
    let text = argument.to_string_lossy();
    match text.char_indices().nth(200) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into_owned(),
    }
}
