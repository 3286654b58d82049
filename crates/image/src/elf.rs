//! What a program needs from the image around it. Offsets and numbers are those of elf(5), 64-bit, little-endian.

use crate::description::Architecture;

/// A 64-bit little-endian ELF file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Elf {
    /// `e_machine`.
    machine: u16,
    /// It asks for an interpreter (`PT_INTERP`), which is the dynamic linker.
    pub(crate) dynamic: bool,
}

const IDENTITY: &[u8] = b"\x7fELF\x02\x01";
const EM_X86_64: u16 = 62;
const EM_AARCH64: u16 = 183;
const PT_INTERP: u32 = 3;

impl Elf {
    /// Reads a file's beginning; the program headers directly follow the file header in everything that linkers
    /// write. `None` if it is no such file.
    pub(crate) fn read(beginning: &[u8]) -> Option<Self> {
        if !beginning.starts_with(IDENTITY) {
            return None;
        }
        let machine = u16::from_le_bytes(field(beginning, 18)?);
        let table = usize::try_from(u64::from_le_bytes(field(beginning, 32)?)).ok()?;
        let size = usize::from(u16::from_le_bytes(field(beginning, 54)?));
        let count = usize::from(u16::from_le_bytes(field(beginning, 56)?));
        let kinds = (0..count).filter_map(|index| field(beginning, table + index * size));
        Some(Self { machine, dynamic: kinds.map(u32::from_le_bytes).any(|kind| kind == PT_INTERP) })
    }

    /// Whether it runs on `architecture`.
    pub(crate) fn is_for(self, architecture: Architecture) -> bool {
        self.machine
            == match architecture {
                Architecture::Amd64 => EM_X86_64,
                Architecture::Arm64 => EM_AARCH64,
            }
    }

    /// The processor, for messages.
    pub(crate) fn machine(self) -> String {
        match self.machine {
            EM_X86_64 => Architecture::Amd64.name().to_owned(),
            EM_AARCH64 => Architecture::Arm64.name().to_owned(),
            other => format!("ELF machine {other}"),
        }
    }
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    pub(crate) const X86_64: u16 = EM_X86_64;
    pub(crate) const ARM64: u16 = EM_AARCH64;
    pub(crate) const DYNAMIC: u32 = PT_INTERP;
    /// `PT_LOAD`, which every program has.
    pub(crate) const STATIC: u32 = 1;

    /// A file header with one program header of this kind.
    pub(crate) fn header(machine: u16, kind: u32) -> Vec<u8> {
        let mut bytes = vec![0; 64 + 56];
        bytes[..IDENTITY.len()].copy_from_slice(IDENTITY);
        bytes[18..20].copy_from_slice(&machine.to_le_bytes());
        bytes[32..40].copy_from_slice(&64_u64.to_le_bytes());
        bytes[54..56].copy_from_slice(&56_u16.to_le_bytes());
        bytes[56..58].copy_from_slice(&1_u16.to_le_bytes());
        bytes[64..68].copy_from_slice(&kind.to_le_bytes());
        bytes
    }

    #[test]
    fn programs_say_what_they_need() {
        let fixed = Elf::read(&header(ARM64, STATIC)).unwrap();
        assert!(fixed.is_for(Architecture::Arm64) && !fixed.is_for(Architecture::Amd64) && !fixed.dynamic);
        assert_eq!(fixed.machine(), "arm64");
        assert!(Elf::read(&header(X86_64, DYNAMIC)).unwrap().dynamic);
        assert_eq!(Elf::read(&header(243, STATIC)).unwrap().machine(), "ELF machine 243");
        assert_eq!(Elf::read(b"#!/bin/sh\n"), None);
        assert_eq!(Elf::read(&header(X86_64, STATIC)[..40]), None);
    }

    /// The programs of this workspace are static, and so is this test.
    #[test]
    fn this_program_is_static_and_for_this_machine() {
        let this = Elf::read(&std::fs::read(std::env::current_exe().unwrap()).unwrap()).unwrap();
        assert!(this.is_for(Architecture::of_host().unwrap()));
        assert!(!this.dynamic);
    }
}
