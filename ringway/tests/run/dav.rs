//! A drive (WebDAV) served by a confined process, as its users and its operator meet it.

use crate::stand::{Running, Stand, eventually, on_both_drivers, text};
use ringway_testkit::{Answer, Client};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::process::{Signal, kill_process};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Barrier;

const OPEN: &str = "dav = { anonymous = true, sync = \"fast\" }";

/// The suites of `litmus`, each of which ends with a line of its own.
const LITMUS_SUITES: [&str; 5] = ["basic", "copymove", "props", "locks", "http"];

const LOCK: &str =
    "<lockinfo xmlns=\"DAV:\"><lockscope><exclusive/></lockscope><locktype><write/></locktype></lockinfo>";

fn drive(name: &str, driver: &str, settings: &str) -> Stand {
    let mut stand = Stand::new(&format!("run-dav-{name}-{driver}"), driver);
    stand.more = settings.to_owned();
    stand.write();
    stand
}

fn ask(client: &mut Client, line: &str, fields: &str, body: &[u8]) -> Answer {
    let head = format!("{line} HTTP/1.1\r\nHost: test\r\n{fields}Content-Length: {}\r\n\r\n", body.len());
    client.send(&[head.as_bytes(), body].concat()).unwrap();
    client.answer(line.starts_with("HEAD ")).unwrap_or_else(|error| panic!("{line}: {error}"))
}

fn once(running: &Running, line: &str, fields: &str, body: &[u8]) -> Answer {
    ask(&mut Client::connect(running.address()).unwrap(), line, fields, body)
}

fn run(mut command: Command, input: &str) -> (bool, String) {
    let name = format!("{:?}", command.get_program());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{name} is needed: {error}"));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.success(), text(&output.stdout) + &text(&output.stderr))
}

/// How many files processes have under way.
fn under_way(stand: &Stand) -> usize {
    let sessions = std::fs::read_dir(stand.at("site/.ringway-dav/tmp")).map(Iterator::collect::<Vec<_>>);
    let sessions = sessions.unwrap_or_default().into_iter().map(|session| session.unwrap().path());
    sessions.map(|session| std::fs::read_dir(session).map_or(0, Iterator::count)).sum()
}

#[test]
fn all_of_litmus_passes() {
    on_both_drivers(|driver| {
        let stand = drive("litmus", driver, OPEN);
        let running = stand.start();
        let mut litmus = Command::new("litmus");
        // It writes a log where it stands.
        litmus
            .arg("--keep-going")
            .arg(format!("http://{}/", running.address()))
            .current_dir(stand.at("other"));
        let (passed, said) = run(litmus, "");
        for suite in LITMUS_SUITES {
            let summary = said.lines().find(|line| line.starts_with(&format!("<- summary for `{suite}'")));
            assert!(summary.is_some_and(|line| line.ends_with("100.0%")), "{suite}: {said}");
        }
        assert!(passed && !said.contains("WARNING") && !said.contains("SKIPPED"), "{said}");
        running.stop();
    });
}

#[test]
fn curl_and_cadaver_use_the_drive() {
    let stand = drive("clients", "auto", OPEN);
    let running = stand.start();
    let url = format!("http://{}", running.address());
    let body: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    stand.file("body", &body);
    let curl = |arguments: &[&str]| {
        let mut command = Command::new("curl");
        command.args(["-sS", "--fail", "-m", "60"]).args(arguments);
        let (is_done, said) = run(command, "");
        assert!(is_done, "curl {arguments:?}: {said}");
        said
    };
    let source = stand.at("body");
    let source = source.to_str().unwrap();
    // Over HTTP/1.1 with a length and in chunks, and over HTTP/2.
    for (name, how) in [
        ("sized", "--http1.1"),
        ("chunked", "-HTransfer-Encoding: chunked"),
        ("two", "--http2-prior-knowledge"),
    ] {
        curl(&[how, "-T", source, &format!("{url}/{name}")]);
        assert!(std::fs::read(stand.at(&format!("site/{name}"))).unwrap() == body, "{name}");
        let copy = stand.at("copy");
        curl(&[
            how.strip_prefix("-H").map_or(how, |_| "--http1.1"),
            "-o",
            copy.to_str().unwrap(),
            &format!("{url}/{name}"),
        ]);
        assert!(std::fs::read(copy).unwrap() == body, "{name}");
    }
    assert_eq!(under_way(&stand), 0);
    stand.file("small", b"from cadaver");
    let mut cadaver = Command::new("cadaver");
    cadaver.arg(format!("{url}/")).current_dir(stand.at("")).env("HOME", stand.at(""));
    let script = "mkcol new\ncd new\nput small\nlock small\nunlock small\npropset small colour red\npropget small colour\n\
                  copy small twin\nmove twin moved\nls\nget moved fetched\ndelete small\nquit\n";
    let (_, said) = run(cadaver, script);
    assert!(!said.contains("failed") && said.contains("red"), "{said}");
    assert_eq!(std::fs::read(stand.at("fetched")).unwrap(), b"from cadaver");
    let left: Vec<_> =
        std::fs::read_dir(stand.at("site/new")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["moved"], "{said}");
    running.stop();
}

#[test]
fn tags_are_those_of_get_and_keep_updates_from_being_lost() {
    let stand = drive("tags", "auto", OPEN);
    let running = stand.start();
    let mut client = Client::connect(running.address()).unwrap();
    let made = ask(&mut client, "PUT /file", "If-None-Match: *\r\n", b"one");
    let tag = made.field("etag").unwrap().to_owned();
    assert_eq!(
        (made.status, ask(&mut client, "PUT /file", "If-None-Match: *\r\n", b"two").status),
        (201, 412)
    );
    // The file has hardly settled, so GET calls its tag weak.
    let got = ask(&mut client, "GET /file", "", b"");
    assert_eq!((got.field("etag").unwrap().trim_start_matches("W/"), &got.body[..]), (&tag[..], &b"one"[..]));
    let told = ask(&mut client, "PROPFIND /file", "Depth: 0\r\n", b"");
    assert!(text(&told.body).contains(&tag.replace('"', "&quot;")), "{}", text(&told.body));
    let condition = format!("If-Match: {}\r\n", got.field("etag").unwrap());
    assert_eq!(ask(&mut client, "PUT /file", &condition, b"three").status, 204);
    assert_eq!(ask(&mut client, "PUT /file", &condition, b"four").status, 412);
    assert_eq!(ask(&mut client, "DELETE /file", &condition, b"").status, 412);
    assert_eq!(ask(&mut client, "GET /file", "", b"").body, b"three", "what is kept open is not what was");
    // Somebody who waits for "100 Continue" is told at once.
    let line = "PUT /file HTTP/1.1\r\nHost: test\r\nIf-Match: \"gone\"\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n";
    client.send(line.as_bytes()).unwrap();
    assert_eq!(client.answer(false).unwrap().status, 412);
    running.stop();
}

#[test]
fn of_many_that_write_against_one_state_exactly_one_wins() {
    const WRITERS: usize = 8;
    const ROUNDS: usize = 20;
    on_both_drivers(|driver| {
        let stand = drive("race", driver, OPEN);
        let running = stand.start();
        let mut tag = once(&running, "PUT /file", "", b"begin").field("etag").unwrap().to_owned();
        for round in 0..ROUNDS {
            let barrier = Barrier::new(WRITERS);
            let write = |writer: usize| {
                let mut client = Client::connect(running.address()).unwrap();
                barrier.wait();
                let body = format!("{round} {writer} ").repeat(5000);
                (ask(&mut client, "PUT /file", &format!("If-Match: {tag}\r\n"), body.as_bytes()), body)
            };
            let answers: Vec<(Answer, String)> = std::thread::scope(|scope| {
                let writers: Vec<_> = (0..WRITERS).map(|writer| scope.spawn(move || write(writer))).collect();
                writers.into_iter().map(|writer| writer.join().unwrap()).collect()
            });
            let (won, lost): (Vec<_>, Vec<_>) =
                answers.into_iter().partition(|(answer, _)| answer.status == 204);
            assert_eq!(won.len(), 1, "round {round}: {lost:?}");
            assert!(lost.iter().all(|(answer, _)| answer.status == 412), "round {round}");
            assert_eq!(once(&running, "GET /file", "", b"").body, won[0].1.as_bytes());
            won[0].0.field("etag").unwrap().clone_into(&mut tag);
        }
        assert_eq!(under_way(&stand), 0);
        running.stop();
    });
}

#[test]
fn a_process_that_dies_in_a_put_leaves_the_old_file_and_nothing_else() {
    on_both_drivers(|driver| {
        let stand = drive("killed", driver, OPEN);
        let running = stand.start();
        assert_eq!(once(&running, "PUT /file", "", b"old").status, 201);
        let mut client = Client::connect(running.address()).unwrap();
        client.send(b"PUT /file HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000\r\n\r\n").unwrap();
        client.send(&vec![b'x'; 600_000]).unwrap();
        eventually("half of it is on the disk", || (under_way(&stand) == 1).then_some(()));
        assert_eq!(once(&running, "GET /file", "", b"").body, b"old");
        let server = running.servers()[0];
        kill_process(server, Signal::KILL).unwrap();
        eventually("another process serves", || {
            running.servers().first().filter(|process| **process != server).copied()
        });
        eventually("it has removed what was left", || (under_way(&stand) == 0).then_some(()));
        assert_eq!(once(&running, "GET /file", "", b"").body, b"old");
        // And one whose client goes away.
        let mut client = Client::connect(running.address()).unwrap();
        client.send(b"PUT /new HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000\r\n\r\nhalf").unwrap();
        eventually("it has begun", || (under_way(&stand) == 1).then_some(()));
        client.abort().unwrap();
        eventually("it is removed", || (under_way(&stand) == 0).then_some(()));
        assert_eq!(once(&running, "GET /new", "", b"").status, 404);
        running.stop();
    });
}

#[test]
fn locks_outlive_reloads_and_restarts() {
    let stand = drive("locks", "auto", OPEN);
    let running = stand.start();
    let locked = once(&running, "LOCK /file", "Timeout: Second-3000\r\n", LOCK.as_bytes());
    assert_eq!(locked.status, 201, "{}", text(&locked.body));
    let condition = format!("If: ({})\r\n", locked.field("lock-token").unwrap());
    let check = |running: &Running| {
        assert_eq!(once(running, "PUT /file", "", b"x").status, 423);
        assert_eq!(once(running, "PUT /file", &condition, b"x").status, 204);
    };
    check(&running);
    stand.reload();
    check(&running);
    running.stop();
    let running = stand.start();
    check(&running);
    let unlock = format!("Lock-Token: {}\r\n", locked.field("lock-token").unwrap());
    assert_eq!(once(&running, "UNLOCK /file", &unlock, b"").status, 204);
    assert_eq!(once(&running, "PUT /file", "", b"x").status, 204);
    running.stop();
}

/// A file system that is removed with its directory.
struct Small<'a>(&'a Path);

impl Drop for Small<'_> {
    fn drop(&mut self) {
        let _nobody_uses_it = unmount(self.0, UnmountFlags::DETACH);
    }
}

#[test]
fn a_full_disk_and_a_quota_are_told_of_and_leave_what_was_there() {
    on_both_drivers(|driver| {
        let stand = drive("full", driver, &OPEN.replace(" }", ", quota = \"8 MiB\" }"));
        let site = stand.at("site");
        let sized = std::ffi::CString::new("size=2m").unwrap();
        let on_disk = mount("tmpfs", &site, "tmpfs", MountFlags::empty(), sized.as_c_str());
        let _small = Small(&site);
        if let Err(error) = on_disk {
            return eprintln!("SKIPPED: no file system can be mounted here: {error}");
        }
        let running = stand.start();
        let put = |size: usize| once(&running, "PUT /file", "", &vec![b'x'; size]);
        assert_eq!(put(1_000_000).status, 201);
        let full = put(1_500_000);
        assert_eq!(full.status, 507);
        assert!(text(&full.body).contains("sufficient-disk-space"), "{}", text(&full.body));
        assert_eq!(once(&running, "GET /file", "", b"").body.len(), 1_000_000);
        eventually("the half is removed", || (under_way(&stand) == 0).then_some(()));
        // Told before anything of it is sent.
        let mut client = Client::connect(running.address()).unwrap();
        client
            .send(b"PUT /other HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 8388608\r\n\r\n")
            .unwrap();
        let over = client.answer(false).unwrap();
        assert_eq!(over.status, 507);
        assert!(text(&over.body).contains("quota-not-exceeded"), "{}", text(&over.body));
        assert_eq!(once(&running, "DELETE /file", "", b"").status, 204);
        // A worker that has served the file has it open until it is told that it is gone.
        eventually("there is room again", || (put(1_500_000).status == 201).then_some(()));
        running.stop();
    });
}

#[test]
fn users_have_their_own_locks_and_rules_hold_for_destinations() {
    // `ann:one` and `bob:two`.
    let users = BTreeMap::from([("ann", ("one", "YW5uOm9uZQ==")), ("bob", ("two", "Ym9iOnR3bw=="))]);
    let settings = "dav = { quota = \"1 GiB\" }\nauth = { kind = \"basic\", users_file = \"access/users\" }\n\
                    [[site.rule]]\naction = \"deny\"\npaths = [\"/closed/**\"]\n\
                    [[site.route]]\npath = \"/elsewhere/**\"\nroot = \"site\"\n";
    let stand = drive("users", "auto", settings);
    std::fs::create_dir(stand.at("access")).unwrap();
    ["closed", "elsewhere"].iter().for_each(|name| std::fs::create_dir(stand.at("site").join(name)).unwrap());
    for (name, (password, _)) in &users {
        let mut passwd = Command::new(crate::stand::binary());
        passwd.arg("passwd").arg(stand.at("access/users")).arg(name);
        assert!(run(passwd, password).0);
    }
    let running = stand.start();
    let of = |user: &str| format!("Authorization: Basic {}\r\n", users[user].1);
    assert_eq!(once(&running, "PUT /file", "", b"x").status, 401);
    let locked = once(&running, "LOCK /file", &of("ann"), LOCK.as_bytes());
    assert_eq!(locked.status, 201);
    let token = format!("If: ({})\r\n", locked.field("lock-token").unwrap());
    let put = |user: &str| once(&running, "PUT /file", &(of(user) + &token), b"x").status;
    assert_eq!((put("bob"), put("ann")), (423, 204));
    let unlock = format!("{}Lock-Token: {}\r\n", of("bob"), locked.field("lock-token").unwrap());
    assert_eq!(once(&running, "UNLOCK /file", &unlock, b"").status, 403);
    let to = |destination: &str| {
        once(&running, "COPY /file", &format!("{}Destination: {destination}\r\n", of("ann")), b"").status
    };
    assert_eq!((to("/copy"), to("http://test/other"), to("http://test:80/copy")), (201, 201, 204));
    assert_eq!(
        (to("/closed/copy"), to("/elsewhere/copy"), to("/.x"), to("/a/../../b")),
        (403, 403, 403, 400)
    );
    assert_eq!((to("http://example.org/copy"), to("copy"), to("/missing/copy")), (502, 400, 409));
    assert_eq!(
        once(&running, "PUT /elsewhere/file", &of("ann"), b"x").status,
        405,
        "that route is for reading"
    );
    let allow = once(&running, "POST /file", &of("ann"), b"x");
    assert_eq!(allow.status, 405);
    assert!(allow.field("allow").unwrap().contains("PROPFIND"));
    running.stop();
}
