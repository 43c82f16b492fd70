//! What a file must be before the loader may see it: an ELF shared library of this machine, whole.
//!
//! The loader maps what a file's headers say. Where the file is shorter than that, touching it would be the end of the process.

use std::fmt;

/// Why a file is no library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotALibrary {
    /// It does not begin as ELF files do.
    Magic,
    /// It is for machines with other words.
    Words,
    /// It is for another machine, by its number in ELF headers.
    Machine(u16),
    /// It is a program, an object file or a core, by its number in ELF headers.
    Type(u16),
    /// It ends before its headers say it does.
    Truncated,
}

impl fmt::Display for NotALibrary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic => f.write_str("it is no shared library: it does not begin as one (ELF)"),
            Self::Words => f.write_str("it is a library for machines with other words than this one's"),
            Self::Machine(number) => write!(
                f,
                "it is a library for another machine ({}); this one is {}",
                machine_name(*number),
                machine_name(OWN_MACHINE)
            ),
            Self::Type(1) => f.write_str("it is an object file; link it with -shared"),
            Self::Type(2) => f.write_str("it is a program, not a shared library; link it with -shared"),
            Self::Type(_) => f.write_str("it is no shared library"),
            Self::Truncated => f.write_str("it is not whole: it ends before its headers say it does"),
        }
    }
}

/// The number of this machine in ELF headers.
const OWN_MACHINE: u16 = if cfg!(target_arch = "x86_64") {
    62
} else if cfg!(target_arch = "aarch64") {
    183
} else if cfg!(target_arch = "riscv64") {
    243
} else {
    0
};

/// Bytes of the header, and of a program header.
const HEADER_BYTES: usize = 64;
const PROGRAM_HEADER_BYTES: usize = 56;

/// A shared library, in the header.
const TYPE_SHARED: u16 = 3;

/// A part of the file that is mapped, and one that the loader reads.
const LOAD: u32 = 1;
const DYNAMIC: u32 = 2;

/// Looks at a file's headers.
///
/// # Errors
/// What it is instead.
pub fn check(file: &[u8]) -> Result<(), NotALibrary> {
    if !file.starts_with(b"\x7fELF") {
        return Err(NotALibrary::Magic);
    }
    if file.len() < HEADER_BYTES {
        return Err(NotALibrary::Truncated);
    }
    let order = if cfg!(target_endian = "little") { 1 } else { 2 };
    if file[4] != 2 || file[5] != order {
        return Err(NotALibrary::Words);
    }
    let machine = u16::from_ne_bytes(at(file, 18)?);
    if machine != OWN_MACHINE {
        return Err(NotALibrary::Machine(machine));
    }
    let kind = u16::from_ne_bytes(at(file, 16)?);
    if kind != TYPE_SHARED {
        return Err(NotALibrary::Type(kind));
    }
    segments(file)
}

/// Whether every part that is mapped is there.
fn segments(file: &[u8]) -> Result<(), NotALibrary> {
    let table = size(u64::from_ne_bytes(at(file, 32)?))?;
    let entry_bytes = usize::from(u16::from_ne_bytes(at(file, 54)?));
    let count = usize::from(u16::from_ne_bytes(at(file, 56)?));
    if entry_bytes != PROGRAM_HEADER_BYTES {
        return Err(NotALibrary::Truncated);
    }
    let mut is_dynamic = false;
    for index in 0..count {
        let entry = table.checked_add(index * PROGRAM_HEADER_BYTES).ok_or(NotALibrary::Truncated)?;
        let kind = u32::from_ne_bytes(at(file, entry)?);
        let offset = size(u64::from_ne_bytes(at(file, entry + 8)?))?;
        let bytes = size(u64::from_ne_bytes(at(file, entry + 32)?))?;
        let end = offset.checked_add(bytes).ok_or(NotALibrary::Truncated)?;
        if matches!(kind, LOAD | DYNAMIC) && end > file.len() {
            return Err(NotALibrary::Truncated);
        }
        is_dynamic |= kind == DYNAMIC;
    }
    if is_dynamic { Ok(()) } else { Err(NotALibrary::Type(0)) }
}

fn size(value: u64) -> Result<usize, NotALibrary> {
    usize::try_from(value).map_err(|_beyond_memory| NotALibrary::Truncated)
}

fn at<const N: usize>(file: &[u8], offset: usize) -> Result<[u8; N], NotALibrary> {
    let end = offset.checked_add(N).ok_or(NotALibrary::Truncated)?;
    let bytes = file.get(offset..end).ok_or(NotALibrary::Truncated)?;
    bytes.try_into().map_err(|_other_length| NotALibrary::Truncated)
}

fn machine_name(number: u16) -> String {
    match number {
        3 => "i386".to_owned(),
        40 => "arm".to_owned(),
        62 => "x86-64".to_owned(),
        183 => "aarch64".to_owned(),
        243 => "RISC-V".to_owned(),
        number => format!("number {number}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The smallest file that passes: a header, one part that is mapped and one that the loader reads.
    fn library() -> Vec<u8> {
        let mut file = vec![0; HEADER_BYTES + 2 * PROGRAM_HEADER_BYTES];
        file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        file[16..18].copy_from_slice(&TYPE_SHARED.to_ne_bytes());
        file[18..20].copy_from_slice(&OWN_MACHINE.to_ne_bytes());
        file[32..40].copy_from_slice(&(HEADER_BYTES as u64).to_ne_bytes());
        file[54..56].copy_from_slice(&56u16.to_ne_bytes());
        file[56..58].copy_from_slice(&2u16.to_ne_bytes());
        for (index, kind) in [LOAD, DYNAMIC].into_iter().enumerate() {
            let entry = HEADER_BYTES + index * PROGRAM_HEADER_BYTES;
            file[entry..entry + 4].copy_from_slice(&kind.to_ne_bytes());
            file[entry + 32..entry + 40].copy_from_slice(&176u64.to_ne_bytes());
        }
        file
    }

    #[test]
    fn what_is_no_library_is_told_by_its_header() {
        assert_eq!(check(&library()), Ok(()));
        assert_eq!(check(b""), Err(NotALibrary::Magic));
        assert_eq!(check(b"#!/bin/sh\n"), Err(NotALibrary::Magic));
        for (place, value, error) in [
            (4, 1, NotALibrary::Words),
            (5, 2, NotALibrary::Words),
            (18, 3, NotALibrary::Machine(3)),
            (16, 1, NotALibrary::Type(1)),
            (16, 2, NotALibrary::Type(2)),
            (64 + 56, 4, NotALibrary::Type(0)),
            (64 + 32, 177, NotALibrary::Truncated),
            (64 + 15, 255, NotALibrary::Truncated),
        ] {
            let mut file = library();
            file[place] = value;
            assert_eq!(check(&file), Err(error), "byte {place} is {value}");
        }
    }

    #[test]
    fn a_file_cut_anywhere_is_none() {
        let file = library();
        for len in 4..file.len() {
            assert_eq!(check(&file[..len]), Err(NotALibrary::Truncated), "{len} bytes");
        }
    }
}
