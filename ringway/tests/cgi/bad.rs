//! Scripts that do what they should not: the client gets 502 or 504, the log says why, and nothing of them is left.

use crate::stand::{Scripts, eventually, on_both_drivers, text, wait_until_dead};
use std::io::Read;

#[test]
fn answers_that_are_none_are_told_apart() {
    on_both_drivers(|driver| {
        let scripts = Scripts::new("no-answers");
        let long = "x".repeat(300);
        scripts.shell("silent", "exit 3");
        scripts.shell("html", "echo '<html>'; echo; echo hello");
        scripts.shell("blank", "echo; echo hello");
        scripts.shell("half", "printf 'Content-Type: a/b\\n'");
        scripts.shell("status", "printf 'Status: 20\\n\\n'");
        scripts.shell("endless-head", &format!("while :; do echo 'X-A: {long}'; done"));
        scripts.shell("killed", "kill -9 $$");
        scripts.shell("complains", "echo 'no such table' >&2; exit 1");
        scripts.program("cgi/lost", "#!/nowhere/interpreter\n");
        scripts.program("cgi/text", "printf 'Content-Type: a/b\\n\\na shell'\n");
        let served = scripts.serve(driver);
        let cases = [
            ("silent", "it ended with code 3 without an answer"),
            ("html", "its answer does not begin with header fields"),
            ("blank", "its answer begins with an empty line"),
            ("half", "without an answer"),
            ("status", "its answer has no valid status"),
            ("endless-head", "the head of its answer is over the limit"),
            ("killed", "without an answer it was killed"),
            ("complains", "says: no such table"),
            ("lost", "its interpreter is missing"),
            ("text", "is no program"),
        ];
        for (name, why) in cases {
            assert_eq!(served.get(&format!("/cgi/{name}")).status, 502, "{name}");
            eventually(&format!("{name}: {why}"), || {
                let said = served.said();
                said.lines()
                    .any(|line| line.contains(&format!("/cgi/{name}")) && line.contains(why))
                    .then_some(())
            });
        }
        assert_eq!(served.get("/cgi/silent").status, 502);
        served.stop();
    });
}

#[test]
fn silence_and_long_lives_end_with_the_whole_group() {
    on_both_drivers(|driver| {
        let mut scripts = Scripts::new("silence");
        scripts.settings = ", timeout = \"300ms\"".to_owned();
        let others = "trap '' TERM; sleep 1000 & echo $! >> ../pids; sh -c 'trap \"\" TERM; sleep 1000' & echo $! >> ../pids; echo $$ >> ../pids";
        scripts.shell("hangs", &format!("{others}; wait; sleep 1000"));
        scripts.shell("stalls", &format!("printf 'Content-Type: a/b\\n\\nhalf'; {others}; wait; sleep 1000"));
        let served = scripts.serve(driver);
        assert_eq!(served.get("/cgi/hangs").status, 504);
        served.wait_to_say(
            "the script of /cgi/hangs did not answer as it should: it said nothing for longer than it may",
        );
        let mut client = served.client();
        client.send(b"GET /cgi/stalls HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        assert!(client.answer(false).is_err(), "half an answer is not given for a whole one");
        served.wait_to_say("/cgi/stalls did not answer as it should");
        let pids = std::fs::read_to_string(scripts.at("pids")).unwrap();
        assert_eq!(pids.lines().count(), 6);
        wait_until_dead(&pids);
        served.stop();

        scripts.settings = ", run_time = \"300ms\", timeout = \"30s\"".to_owned();
        scripts.shell("busy", "while :; do echo $$ > ../pid; done");
        scripts.shell("talks", "printf 'Content-Type: a/b\\n\\n'; while echo x; do sleep 0.01; done");
        let served = scripts.serve(driver);
        assert_eq!(served.get("/cgi/busy").status, 504);
        served.wait_to_say("/cgi/busy did not answer as it should: it ran for longer than it may");
        let mut client = served.client();
        client.send(b"GET /cgi/talks HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        assert!(client.answer(false).is_err(), "half an answer is not given for a whole one");
        served.wait_to_say("/cgi/talks did not answer as it should: it ran for longer than it may");
        served.stop();
    });
}

#[test]
fn limits_of_time_memory_and_processes_hold() {
    on_both_drivers(|driver| {
        let mut scripts = Scripts::new("limits");
        scripts.settings =
            ", cpu_time = \"1s\", memory = \"64MiB\", run_time = \"5s\", interpreters = { py = \"/usr/bin/python3\" }".to_owned();
        scripts.shell("spins", "while :; do :; done");
        scripts.file("cgi/eats.py", "x = b'x' * 500000000\nprint('Content-Type: a/b\\n\\nate it')\n");
        if rustix::process::geteuid().is_root() {
            // The kernel does not hold root to a number of processes.
            scripts.settings += ", user = \"61235\", group = \"61235\", processes = 30";
            for folder in ["", "cgi"] {
                let opened = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
                std::fs::set_permissions(scripts.at(folder), opened).unwrap();
            }
            scripts.shell("bomb", "b() { b | b & }; b; b; b; wait; sleep 1000");
        } else {
            eprintln!("SKIPPED: without root the processes of this user are counted together");
        }
        let served = scripts.serve(driver);
        assert_eq!(served.get("/cgi/spins").status, 502);
        served.wait_to_say("/cgi/spins did not answer as it should: without an answer it was");
        assert_eq!(served.get("/cgi/eats.py").status, 502);
        served.wait_to_say("/cgi/eats.py says: MemoryError");
        if scripts.at("cgi/bomb").exists() {
            assert!([502, 504].contains(&served.get("/cgi/bomb").status));
            eventually("the bomb is gone", || {
                let count = processes_of(61_235);
                assert!(count <= 30, "{count} processes");
                (count == 0).then_some(())
            });
        }
        assert_eq!(served.get("/cgi/none").status, 404, "the server lives");
        served.stop();
    });
}

fn processes_of(user: u32) -> usize {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let own = all.filter(|entry| {
        let status = std::fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        status.contains(&format!("Uid:\t{user}\t")) && !status.contains("State:\tZ")
    });
    own.count()
}

#[test]
fn whoever_leaves_ends_the_script_before_and_behind_its_head() {
    on_both_drivers(|driver| {
        let scripts = Scripts::new("leaving");
        let others = "trap '' TERM; sleep 1000 & echo $! >> ../pids; echo $$ >> ../pids; echo >> ../pids";
        scripts.shell("before", &format!("{others}; wait; sleep 1000"));
        scripts.shell("behind", &format!("printf 'Content-Type: a/b\\n\\nfirst'; {others}; while echo more; do sleep 0.01; done; sleep 1000"));
        let served = scripts.serve(driver);
        // A script that says nothing more, and clients that go with and without a word.
        scripts.shell("still", &format!("printf 'Content-Type: a/b\\n\\nfirst'; {others}; wait; sleep 1000"));
        for (name, with_reset) in [
            ("before", true),
            ("before", false),
            ("behind", true),
            ("behind", false),
            ("still", true),
            ("still", false),
        ] {
            let mut client = served.client();
            client.send(format!("GET /cgi/{name} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).unwrap();
            if name != "before" {
                assert!(client.stream().read(&mut [0; 64]).unwrap() > 0);
            }
            let pids = eventually("it runs", || {
                std::fs::read_to_string(scripts.at("pids")).ok().filter(|pids| pids.ends_with("\n\n"))
            });
            let left = std::time::Instant::now();
            if with_reset {
                client.abort().unwrap();
            } else {
                drop(client);
            }
            wait_until_dead(&pids);
            assert!(
                left.elapsed() < std::time::Duration::from_secs(30),
                "{name}: long before it was silent for too long"
            );
            std::fs::remove_file(scripts.at("pids")).unwrap();
        }
        served.stop();
    });
}

#[test]
fn what_closes_early_or_lies_about_its_length_harms_nobody() {
    on_both_drivers(|driver| {
        let scripts = Scripts::new("early");
        scripts.shell(
            "closes",
            "printf 'Content-Type: a/b\\n\\nall of it'; exec 1>&-; read x < ../wait; echo $x > ../result",
        );
        scripts.shell("deaf", "exec 0<&-; printf 'Content-Type: a/b\\n\\ndid not listen'");
        scripts.shell("short", "printf 'Content-Length: 10\\n\\nfour'");
        let made = std::process::Command::new("mkfifo").arg(scripts.at("wait")).status().unwrap();
        assert!(made.success());
        let served = scripts.serve(driver);
        assert_eq!(text(&served.get("/cgi/closes")), "all of it");
        std::fs::write(scripts.at("wait"), "done\n").unwrap();
        eventually("it came to its own end", || {
            std::fs::read_to_string(scripts.at("result")).ok().filter(|result| result == "done\n")
        });
        let answer = served.post("/cgi/deaf", "a/b", &vec![0; 500_000]);
        assert_eq!(text(&answer), "did not listen");
        let mut client = served.client();
        client.send(b"GET /cgi/short HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        assert!(client.answer(false).is_err());
        served.wait_to_say(
            "/cgi/short did not answer as it should: it wrote less than its Content-Length said",
        );
        served.stop();
    });
}

#[test]
fn beyond_so_many_clients_wait_and_then_are_sent_away() {
    on_both_drivers(|driver| {
        let mut scripts = Scripts::new("crowd");
        scripts.settings = ", at_once = 1, queue = 1".to_owned();
        scripts.shell("waits", "echo up >> ../up; read x < ../wait; printf 'Content-Type: a/b\\n\\ndone'");
        let made = std::process::Command::new("mkfifo").arg(scripts.at("wait")).status().unwrap();
        assert!(made.success());
        let served = scripts.serve(driver);
        let request = b"GET /cgi/waits HTTP/1.1\r\nHost: a\r\n\r\n";
        let mut first = served.client();
        first.send(request).unwrap();
        eventually("the first runs", || std::fs::read_to_string(scripts.at("up")).ok());
        // One of the two that come now waits, whichever; the other is sent away.
        let mut others = [served.client(), served.client()];
        for client in &mut others {
            client.send(request).unwrap();
            client.set_patience(std::time::Duration::from_millis(200));
        }
        let (refused, answer) = eventually("one is sent away", || {
            others.iter_mut().enumerate().find_map(|(at, client)| Some((at, client.answer(false).ok()?)))
        });
        assert_eq!((answer.status, answer.field("retry-after")), (503, Some("1")));
        std::fs::write(scripts.at("wait"), "go\n").unwrap();
        assert_eq!(text(&first.answer(false).unwrap()), "done");
        let waits = &mut others[1 - refused];
        waits.set_patience(crate::stand::PATIENCE);
        std::fs::write(scripts.at("wait"), "go\n").unwrap();
        assert_eq!(text(&waits.answer(false).unwrap()), "done");
        served.stop();
    });
}
