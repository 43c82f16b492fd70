//! The files under /proc that tell of one process, kept open: reading one again is a single call and cannot meet another
//! process that was given the same number.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::Duration;

/// No file read here is longer; `status` of a process in thousands of groups is cut, behind the lines read here.
const FILE_BYTES_MAX: usize = 16 * 1024;

/// Opens a file for reading.
pub(super) fn open(path: &str) -> io::Result<File> {
    File::open(path)
}

/// A buffer for reading small files again and again.
#[derive(Debug)]
pub(super) struct Reader {
    buffer: Vec<u8>,
}

impl Reader {
    pub(super) fn new() -> Reader {
        Reader { buffer: vec![0; FILE_BYTES_MAX] }
    }

    /// The whole file from its beginning. A file of a process that is gone is an error (`ESRCH`) or empty.
    pub(super) fn text(&mut self, file: &File) -> io::Result<&str> {
        let mut filled = 0;
        while filled < self.buffer.len() {
            match file.read_at(&mut self.buffer[filled..], filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                // A signal came; nothing was read.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        std::str::from_utf8(&self.buffer[..filled]).map_err(|_not_text| io::ErrorKind::InvalidData.into())
    }
}

/// What `/proc/PID/stat` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) zombie: bool,
    pub(super) parent: u32,
    pub(super) threads: u64,
    /// In clock ticks, rounded down.
    pub(super) user_ticks: u64,
    pub(super) system_ticks: u64,
    /// Of children that were waited for, and of theirs.
    pub(super) reaped_user_ticks: u64,
    pub(super) reaped_system_ticks: u64,
    pub(super) started: u64,
}

impl Stat {
    /// Reads it; the name in parentheses may contain anything, so fields are counted from behind it.
    pub(super) fn parse(text: &str) -> Option<Stat> {
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().take(20).collect();
        // Fields are numbered in proc(5) from 1; the first one here is the third, the state.
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        Some(Stat {
            // A process lives on when its first thread has ended and others have not.
            zombie: matches!(*fields.first()?, "Z" | "X") && number(20)? <= 1,
            parent: u32::try_from(number(4)?).ok()?,
            threads: number(20)?,
            user_ticks: number(14)?,
            system_ticks: number(15)?,
            reaped_user_ticks: number(16)?,
            reaped_system_ticks: number(17)?,
            started: number(22)?,
        })
    }
}

/// What `schedstat` of a thread says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Schedule {
    /// Nanoseconds on a core.
    pub(super) ran: u64,
    /// Nanoseconds ready to run but without a core.
    pub(super) waited: u64,
    /// How often it was given a core.
    pub(super) turns: u64,
}

impl Schedule {
    pub(super) fn parse(text: &str) -> Option<Schedule> {
        let mut fields = text.split_ascii_whitespace().map(|field| field.parse::<u64>().ok());
        Some(Schedule { ran: fields.next()??, waited: fields.next()??, turns: fields.next()?? })
    }
}

/// The number in KiB behind `name` in a file of lines such as `VmHWM:  123 kB`.
pub(super) fn kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// How long a clock tick is.
pub(crate) fn tick() -> Duration {
    let rate = rustix::param::clock_ticks_per_second().max(1);
    Duration::from_nanos(1_000_000_000 / rate)
}

#[test]
fn a_name_may_contain_parentheses_and_spaces() {
    let line = "7 (a) b (c) S 3 7 7 0 -1 4194560 1 2 3 4 11 12 13 14 20 0 5 0 4711 1000 20 0 0";
    let stat = Stat::parse(line).expect("it can be read");
    let expected = Stat {
        zombie: false,
        parent: 3,
        threads: 5,
        user_ticks: 11,
        system_ticks: 12,
        reaped_user_ticks: 13,
        reaped_system_ticks: 14,
        started: 4711,
    };
    assert_eq!(stat, expected);
    assert_eq!(Stat::parse("7 (cut"), None);
    assert_eq!(Stat::parse("7 (cut) S 3"), None);
}

#[test]
fn schedules_and_sizes_are_read() {
    assert_eq!(Schedule::parse("12 34 5\n"), Some(Schedule { ran: 12, waited: 34, turns: 5 }));
    assert_eq!(Schedule::parse(""), None);
    assert_eq!(kib("VmPeak:\t 9 kB\nVmHWM:\t  123 kB\n", "VmHWM"), Some(123));
    assert_eq!(kib("VmHWM2: 1 kB\n", "VmHWM"), None);
}

#[test]
fn a_file_is_read_again_from_its_beginning() {
    let file = open("/proc/self/stat").expect("it is there");
    let mut reader = Reader::new();
    let first = Stat::parse(reader.text(&file).expect("read")).expect("parsed");
    let second = Stat::parse(reader.text(&file).expect("read again")).expect("parsed again");
    assert_eq!(first.started, second.started);
}
