//! The program's own pages: those that only starting needed are let go of.

use crate::check;
use std::io;

unsafe extern "C" {
    /// The first byte of the program in memory; the linker defines it.
    static __executable_start: u8;
    /// The first byte behind its code.
    static etext: u8;
}

/// Takes the pages of the program's code and constants out of this process's memory. Those that are still wanted come back from the
/// page cache when they are used, at a minor fault for sixteen; what only starting needed does not. Returns the bytes of the
/// range.
///
/// # Errors
/// What `madvise(2)` says; nothing has changed then.
pub fn let_go() -> io::Result<usize> {
    let (start, end) = ((&raw const __executable_start).addr(), (&raw const etext).addr());
    // SAFETY: I1: no memory is passed.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    let page = usize::try_from(page).map_err(io::Error::other)?;
    let (start, end) = (start.next_multiple_of(page), end / page * page);
    let len = end.saturating_sub(start);
    // SAFETY: I4: headers, constants and code lie before `etext` and are mapped from the program's file, private and never
    // written, so that a page that is dropped is read again as it was.
    let done = unsafe { libc::madvise(std::ptr::without_provenance_mut(start), len, libc::MADV_DONTNEED) };
    check(done.into()).map(|_| len)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Resident memory that is mapped from files, in KiB.
    fn resident_kib() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").expect("it is readable");
        let line = status.lines().find(|line| line.starts_with("RssFile:")).expect("every process has it");
        line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
    }

    #[test]
    fn the_program_goes_on_with_less_memory() {
        let before = resident_kib();
        let len = let_go().expect("it is ours");
        let after = resident_kib();
        assert!(len > 100_000, "{len}");
        assert!(after < before, "{before} {after}");
        // Code that was not used for long, and constants, are as they were.
        let mut words: Vec<String> =
            (0..100).map(|number| format!("{:?}", f64::from(number) / 7.0)).collect();
        words.sort();
        assert_eq!(words[0], "0.0");
    }
}
