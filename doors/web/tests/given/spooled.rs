//! Bodies that are spooled, and forms, as handlers have them.

use super::stand::{Stand, counted, eventually, on_each_driver, pattern};
use super::{by_length, in_chunks, post, text};
use std::sync::atomic::Ordering;

#[test]
fn short_bodies_stay_in_memory_and_long_ones_go_to_a_file() {
    on_each_driver(|stand| {
        let mut files = 0;
        for len in [0, 1, 16 * 1024, 16 * 1024 + 1, 900_000] {
            let body = pattern(len);
            for framed in [by_length(&body), in_chunks(&body, 5_000)] {
                let mut client = stand.client();
                client.send(&post("/spool", "", &framed)).expect("it reads");
                // Read twice, as who tries again does.
                let answer = client.answer(false).expect("an answer");
                assert_eq!(text(&answer), format!("{} {}", counted(&body), counted(&body)), "{len}");
                files += u64::from(len > 16 * 1024);
            }
        }
        assert_eq!(stand.space.files_made(), files);
        eventually("everything is given back", || stand.space.disk_bytes() + stand.space.memory_bytes() == 0);
        stand.stop();
    });
}

#[test]
fn what_is_too_long_or_finds_no_room_is_refused() {
    on_each_driver(|stand| {
        // Longer than one may be.
        for framed in [by_length(&pattern(1_500_001)), in_chunks(&pattern(1_500_001), 60_000)] {
            let mut client = stand.client();
            client.send(&post("/spool", "", &framed)).expect("it reads and drops");
            assert_eq!(client.answer(false).expect("an answer").status, 413);
        }
        // One that holds most of the room leaves too little for another, and lets it go when it ends.
        let body = pattern(1_400_000);
        let mut first = stand.client();
        first.send(&post("/hold", "", &by_length(&body))).expect("it reads");
        eventually("it is spooled", || stand.space.disk_bytes() == 1_400_000);
        let mut second = stand.client();
        second.send(&post("/spool", "", &by_length(&body))).expect("it reads and drops");
        assert_eq!(second.answer(false).expect("an answer").status, 507);
        stand.gate.open();
        assert_eq!(text(&first.answer(false).expect("an answer")), format!("{0} {0}", counted(&body)));
        eventually("everything is given back", || stand.space.disk_bytes() == 0);
        let mut third = stand.client();
        third.send(&post("/spool", "", &by_length(&body))).expect("it reads");
        assert_eq!(third.answer(false).expect("an answer").status, 200);
        stand.stop();
    });
}

#[test]
fn who_goes_away_leaves_nothing_behind() {
    on_each_driver(|stand| {
        for _ in 0..4 {
            let mut client = stand.client();
            client
                .send(&post("/spool", "Content-Length: 1000000\r\n\r\n", &pattern(500_000)))
                .expect("it reads");
            client.abort().expect("a reset");
        }
        let mut client = stand.client();
        client.send(&post("/spool", "Content-Length: 1000000\r\n\r\n", &pattern(200_000))).expect("it reads");
        assert_eq!(client.answer(false).expect("an answer").status, 408);
        eventually("everything is given back", || stand.space.disk_bytes() + stand.space.memory_bytes() == 0);
        stand.stop();
    });
}

#[test]
fn a_full_disk_is_507() {
    let Some(disk) = small_disk() else {
        eprintln!("SKIPPED: a small file system cannot be mounted here");
        return;
    };
    for driver in super::stand::drivers() {
        let stand = Stand::on(driver, &disk.0);
        let mut client = stand.client();
        client.send(&post("/spool", "", &by_length(&pattern(1_000_000)))).expect("it reads and drops");
        assert_eq!(client.answer(false).expect("an answer").status, 507);
        let mut client = stand.client();
        client.send(&post("/spool", "", &by_length(&pattern(100_000)))).expect("it reads");
        assert_eq!(client.answer(false).expect("an answer").status, 200, "there is room again");
        stand.stop();
    }
}

/// A file system of 256 KiB, unmounted when it is dropped.
struct Disk(std::path::PathBuf);

fn small_disk() -> Option<Disk> {
    let path = std::env::temp_dir().join(format!("ringway-spool-{}", std::process::id()));
    std::fs::create_dir_all(&path).ok()?;
    let flags = rustix::mount::MountFlags::empty();
    match rustix::mount::mount("tmpfs", &path, "tmpfs", flags, c"size=256k") {
        Ok(()) => Some(Disk(path)),
        Err(_not_allowed) => {
            let _ = std::fs::remove_dir(&path);
            None
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[test]
fn forms_are_read_while_they_arrive() {
    on_each_driver(|stand| {
        let file = pattern(300_000);
        let mut form = b"--b-o\r\nContent-Disposition: form-data; name=\"who\"\r\n\r\nme\r\n--b-o\r\n\
            Content-Type: image/png\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a b.png\"\r\n\r\n"
            .to_vec();
        form.extend_from_slice(&file);
        form.extend_from_slice(b"\r\n--b-o--\r\n");
        let fields = "Content-Type: multipart/form-data; boundary=b-o\r\n";
        let wanted = format!("who - - {}\nf a b.png image/png {}\n", counted(b"me"), counted(&file));
        for framed in [by_length(&form), in_chunks(&form, 700)] {
            for sizes in [&[usize::MAX][..], &[1_001]] {
                let mut client = stand.client();
                client.send_in_pieces(&post("/form", fields, &framed), sizes).expect("it reads");
                assert_eq!(text(&client.answer(false).expect("an answer")), wanted);
            }
        }
        // A short one byte by byte, so that every head and delimiter comes in pieces.
        let short = [&form[..form.len() - file.len() - 11], b"x\r\n--b-o--\r\n"].concat();
        let mut client = stand.client();
        client.send_in_pieces(&post("/form", fields, &by_length(&short)), &[1]).expect("it reads");
        let answer = text(&client.answer(false).expect("an answer"));
        assert_eq!(answer, format!("who - - {}\nf a b.png image/png {}\n", counted(b"me"), counted(b"x")));
        for (fields, body, status) in [
            (fields, &form[..form.len() - 6], 400),
            (fields, b"--b-o\r\n\r\n", 400),
            ("Content-Type: text/plain\r\n", &form, 415),
            ("", &form, 415),
        ] {
            let mut client = stand.client();
            client.send(&post("/form", fields, &by_length(body))).expect("it reads");
            assert_eq!(client.answer(false).expect("an answer").status, status, "{fields}");
        }
        assert_eq!(stand.gate.taken.load(Ordering::Relaxed), 0);
        stand.stop();
    });
}
