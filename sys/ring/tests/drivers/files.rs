//! Files: opened below a directory, measured, read; and let go of when nobody waits.

use crate::bench::{Bench, errno, on_each, on_kernel, pattern};
use ringway_ring::{Handle, Op, OpenFile, Payload, ReadFile, StatFile, WriteFile};
use ringway_testkit::Scratch;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};

const FILE: u64 = 6;

fn directory(scratch: &Scratch) -> Handle {
    Handle::new(OwnedFd::from(File::open(scratch.path()).expect("there")))
}

fn open(bench: &mut Bench, directory: &Handle, path: &str) -> Result<Handle, Option<i32>> {
    let open = OpenFile::beneath(directory.clone(), path.as_bytes()).expect("no NUL");
    bench.submit(Op::Open(open), FILE);
    let completion = bench.next_of(FILE);
    if completion.result.is_err() {
        return Err(errno(&completion));
    }
    assert_eq!(completion.result.expect("checked"), 0);
    let Payload::Finished(Op::Open(mut open)) = completion.payload else { panic!("an open") };
    Ok(Handle::new(open.opened.take().expect("opened")))
}

#[test]
fn a_file_is_opened_measured_and_read() {
    on_each(|bench| {
        let scratch = Scratch::new("files");
        let contents = pattern(1, 0, 150_000);
        scratch.file("a/b", &contents);
        let file = open(bench, &directory(&scratch), "a/b").expect("there");
        bench.submit(Op::Stat(StatFile::new(file.clone())), FILE);
        let completion = bench.next_of(FILE);
        assert_eq!(completion.result.expect("open"), 0);
        let Payload::Finished(Op::Stat(stat)) = completion.payload else { panic!("a stat") };
        assert_eq!((stat.len(), u32::from(stat.mode()) & libc::S_IFMT), (150_000, libc::S_IFREG));
        assert!(stat.modified().0 > 1_600_000_000 && !stat.is_empty());
        // At the start, across the end, behind it; never more than asked for or held.
        let cases = [(0, 70_000, 65_536), (149_000, 5000, 1000), (150_000, 10, 0), (7, 300, 300)];
        for (offset, want, expected) in cases {
            let mut buffer = bench.ring.pool().get((want as usize).min(65_536)).expect("memory");
            buffer.fill(0);
            bench.submit(Op::Read(ReadFile::new(file.clone(), buffer, offset, want)), FILE);
            let completion = bench.next_of(FILE);
            assert_eq!(completion.result.expect("readable"), expected, "{offset} on {}", bench.name());
            let Payload::Finished(Op::Read(read)) = completion.payload else { panic!("a read") };
            let (from, bytes) = (usize::try_from(offset).expect("small"), expected as usize);
            assert!(read.buffer[..bytes] == contents[from..from + bytes]);
            assert!(read.buffer[bytes..].iter().all(|&byte| byte == 0), "written behind the result");
        }
    });
}

#[test]
fn a_read_that_wants_more_than_its_buffer_is_cut() {
    on_each(|bench| {
        let scratch = Scratch::new("files");
        scratch.file("f", &pattern(1, 0, 10_000));
        let file = open(bench, &directory(&scratch), "f").expect("there");
        let neighbours: Vec<_> = (0..8).map(|_| bench.ring.pool().get(256).expect("memory")).collect();
        let mut read = ReadFile::new(file, bench.ring.pool().get(256).expect("memory"), 0, 1);
        read.want = u32::MAX;
        bench.submit(Op::Read(read), FILE);
        assert_eq!(bench.next_of(FILE).result.expect("readable"), 256, "on {}", bench.name());
        assert!(neighbours.iter().all(|buffer| buffer.iter().all(|&byte| byte == 0)));
    });
}

#[test]
fn writes_append_what_follows_the_mark() {
    on_each(|bench| {
        let scratch = Scratch::new("files");
        let path = scratch.file("log", b"old\n");
        let file = File::options().append(true).open(&path).expect("ours");
        let file = Handle::new(OwnedFd::from(file));
        for (line, done, expected) in [("one\n", 0, 4), ("skipped two\n", 8, 4), ("", 0, 0)] {
            let write = WriteFile::new(file.clone(), line.as_bytes().to_vec(), done);
            bench.submit(Op::Write(write), FILE);
            let completion = bench.next_of(FILE);
            assert_eq!(completion.result.expect("room"), expected, "{line:?} on {}", bench.name());
            let Payload::Finished(Op::Write(write)) = completion.payload else { panic!("a write") };
            assert_eq!(write.bytes, line.as_bytes(), "the bytes come back");
        }
        assert_eq!(std::fs::read(&path).expect("ours"), b"old\none\ntwo\n");
    });
}

#[test]
fn a_write_that_waits_for_a_reader_holds_nothing_else_up() {
    on_kernel(|bench| {
        let scratch = Scratch::new("files");
        scratch.file("f", b"contents");
        let directory = directory(&scratch);
        let (mut reader, mut writer) = std::io::pipe().expect("a pipe");
        // SAFETY: I6: no memory is passed.
        let room = unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_GETPIPE_SZ) };
        let room = usize::try_from(room).expect("a size");
        std::io::Write::write_all(&mut writer, &vec![0; room]).expect("room");
        let pipe = Handle::new(OwnedFd::from(writer));
        let text = pattern(1, 0, 300_000);
        bench.submit(Op::Write(WriteFile::new(pipe, text.clone(), 0)), 1);
        for _ in 0..5 {
            open(bench, &directory, "f").expect("there");
            assert!(bench.try_next_of(1).is_none(), "nobody has read on {}", bench.name());
        }
        // A write may be short; what was written is the front of it.
        let mut got = Vec::new();
        let mut buffer = [0; 4096];
        let completion = loop {
            let count = std::io::Read::read(&mut reader, &mut buffer).expect("the pipe is open");
            got.extend_from_slice(&buffer[..count]);
            bench.poll();
            if let Some(completion) = bench.try_next_of(1) {
                break completion;
            }
        };
        let written = completion.result.as_ref().copied().expect("a reader") as usize;
        drop(completion);
        std::io::Read::read_to_end(&mut reader, &mut got).expect("the operation has let go of the pipe");
        assert!(written > 0 && got[room..] == text[..written], "{written} on {}", bench.name());
    });
}

#[test]
fn missing_files_and_ways_out_of_the_directory_are_refused() {
    on_kernel(|bench| {
        let scratch = Scratch::new("files");
        scratch.file("inside/file", b"in");
        scratch.file("secret", b"out");
        std::os::unix::fs::symlink("../secret", scratch.path().join("inside/link")).expect("a link");
        std::os::unix::fs::symlink("file", scratch.path().join("inside/fine")).expect("a link");
        let root = File::open(scratch.path().join("inside")).expect("there");
        let root = Handle::new(OwnedFd::from(root));
        assert_eq!(open(bench, &root, "none").err(), Some(Some(libc::ENOENT)));
        for way_out in ["../secret", "link", "/etc/passwd", "file/../../secret"] {
            let error = open(bench, &root, way_out).err().flatten();
            let expected = if way_out.starts_with("file/") { libc::ENOTDIR } else { libc::EXDEV };
            assert_eq!(error, Some(expected), "{way_out} on {}", bench.name());
        }
        open(bench, &root, "fine").expect("a link that stays inside");
        assert!(OpenFile::beneath(root, b"a\0b").is_err());
    });
}

#[test]
fn orphaned_file_operations_complete_and_close_what_they_opened() {
    on_each(|bench| {
        let scratch = Scratch::new("files");
        let path = scratch.file("f", &pattern(1, 0, 100_000));
        let (directory, file) =
            (directory(&scratch), Handle::new(OwnedFd::from(File::open(path).expect("there"))));
        for round in 0..60 {
            let buffer = bench.ring.pool().get(65_536).expect("memory");
            let ops = [
                Op::Open(OpenFile::beneath(directory.clone(), b"f").expect("no NUL")),
                Op::Stat(StatFile::new(file.clone())),
                Op::Read(ReadFile::new(file.clone(), buffer, 0, 65_536)),
            ];
            let ids = ops.map(|op| bench.submit(op, FILE));
            if round % 2 == 0 {
                bench.poll();
                while bench.try_next_of(FILE).is_some() {}
            }
            ids.into_iter().for_each(|id| bench.ring.orphan(id));
            assert!(bench.ring.orphans() <= bench.ring.in_flight());
        }
        bench.drive("all orphans", |bench| {
            assert!(bench.try_next_of(FILE).is_none(), "nobody waits any more");
            bench.ring.in_flight() == 0
        });
        assert_eq!((directory.holders(), file.holders()), (1, 1), "on {}", bench.name());
    });
}

#[test]
fn what_a_full_disk_has_not_taken_is_not_said_to_be_written() {
    on_kernel(|bench| {
        let scratch = Scratch::new("full");
        let Some(disk) = small_disk(scratch.path()) else { return };
        let path = disk.0.join("f");
        for appends in [true, false] {
            let file = File::options().create(true).write(true).append(appends).open(&path).expect("room");
            let file = Handle::new(OwnedFd::from(file));
            let mut written = 0;
            let error = loop {
                let bytes = vec![1; 65_536 + 777];
                let write = match appends {
                    true => WriteFile::new(file.clone(), bytes, 0),
                    false => WriteFile::at(file.clone(), bytes, 0, written),
                };
                bench.submit(Op::Write(write), FILE);
                match bench.next_of(FILE).result {
                    Ok(count) => written += u64::from(count),
                    Err(error) => break error,
                }
                assert!(written <= 1 << 20, "{written} bytes on a disk of 1 MiB, on {}", bench.name());
            };
            assert_eq!(error.raw_os_error(), Some(libc::ENOSPC), "on {}", bench.name());
            assert_eq!(std::fs::metadata(&path).expect("ours").len(), written, "on {}", bench.name());
            std::fs::remove_file(&path).expect("ours");
        }
    });
}

/// A disk of 1 MiB, as long as this lives.
struct Disk(std::path::PathBuf);

impl Drop for Disk {
    fn drop(&mut self) {
        let _gone = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn small_disk(place: &std::path::Path) -> Option<Disk> {
    let place = place.join("disk");
    std::fs::create_dir(&place).expect("ours");
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
        .arg(&place)
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: nothing may be mounted here");
        return None;
    }
    Some(Disk(place))
}
