//! `ringway dev` as a developer uses it: a package that is changed, broken, mended and crashed while it is asked.
#![forbid(unsafe_code)]

mod new;
mod stand;

use ringway_testkit::Client;
use rustix::process::{Pid, Signal, test_kill_process};
use stand::{PATIENCE, Package, SERVER, eventually};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Processes whose program is below `folder`.
fn processes_of(folder: &Path) -> Vec<Pid> {
    let all = fs::read_dir("/proc").expect("there are processes").flatten();
    let number = |name: std::ffi::OsString| name.to_str().and_then(|name| name.parse().ok());
    all.filter(|entry| fs::read_link(entry.path().join("exe")).is_ok_and(|file| file.starts_with(folder)))
        .filter_map(|entry| Pid::from_raw(number(entry.file_name())?))
        .collect()
}

#[test]
fn a_package_is_built_run_and_built_again_without_a_refused_request() {
    let package = Package::new("dev-course");
    let mut developed = package.develop(&["--set", "greeting=hello", "--stats"]);
    let page = developed.shows("<h1>one</h1>");
    assert!(page.contains(r#"["--set", "greeting=hello", "--stats"]"#), "{page}");

    // Somebody asks all the time.
    let (address, is_over) = (developed.address, Arc::new(AtomicBool::new(false)));
    let (over, asked) = (Arc::clone(&is_over), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&asked);
    let asking = std::thread::spawn(move || {
        while !over.load(Ordering::Relaxed) {
            let mut client = Client::connect(address).expect("connections are taken");
            client.set_patience(PATIENCE);
            client.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("taken");
            assert_eq!(client.answer(false).expect("an answer").status, 200);
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    package.says("two");
    developed.shows("<h1>two</h1>");
    package.write("src/main.rs", &SERVER.replace("fn main() {", "fn main() { let x: u8 = \"<b>\";"));
    eventually("the compiler complains", || developed.said().contains("mismatched types").then_some(()));
    developed.shows("<h1>two</h1>");
    package.says("three");
    developed.shows("<h1>three</h1>");
    is_over.store(true, Ordering::Relaxed);
    asking.join().expect("every request was answered by a program");
    assert!(asked.load(Ordering::Relaxed) > 50);

    eventually("only one is left", || (processes_of(&package.path()).len() == 1).then_some(()));
    developed.signal(Signal::INT);
    assert!(developed.wait().success());
    assert!(processes_of(&package.path()).is_empty());
}

#[test]
fn what_does_not_compile_is_shown_until_it_does() {
    let package = Package::new("dev-broken");
    package.write("src/main.rs", "fn main() {\n    let x: u8 = \"<script>alert(1)</script>\";\n}\n");
    let developed = package.develop(&[]);
    let page = developed.shows("It does not compile");
    assert!(page.contains("&lt;script&gt;alert(1)") && !page.contains("<script>alert"), "{page}");
    assert!(page.contains("<span class=\"b c9\">error[E0308]"), "colours: {page}");
    let answer = developed.ask("/any/where").expect("an answer");
    assert_eq!((answer.status, answer.field("cache-control")), (503, Some("no-store")));
    // For who wants no page.
    let mut client = Client::connect(developed.address).expect("open");
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\nAccept: application/json\r\n\r\n").expect("taken");
    let plain = client.answer(false).expect("an answer");
    assert_eq!(plain.field("content-type"), Some("text/plain; charset=utf-8"));
    assert!(String::from_utf8(plain.body).expect("text").contains("mismatched types"));

    // The page follows: its script's stream tells of the program that serves.
    let script =
        page.split("<script src=\"http://").nth(1).and_then(|rest| rest.split('"').next()).expect("a script");
    let (host, path) = script.split_once('/').expect("a path");
    let address = host.parse().expect("an address");
    let get = |path: &str| {
        let mut client = Client::connect(address).expect("it listens");
        client.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).expect("taken");
        client
    };
    let answer = get(&format!("/{path}")).answer(false).expect("the script");
    assert_eq!((answer.status, answer.field("content-type")), (200, Some("text/javascript; charset=utf-8")));
    let (secret, _) = path.split_once('/').expect("a secret");
    for wrong in ["/", "/reload.js", "/x/0/reload.js", &format!("/{secret}/0/other"), &format!("/{secret}")] {
        assert_eq!(get(wrong).answer(false).expect("an answer").status, 404, "{wrong}");
    }
    let mut stream = get(&format!("/{secret}/0/events"));
    let mut told = String::new();
    let mut until = |what: &str| {
        eventually(what, || {
            use std::io::Read;
            let mut buffer = [0; 1024];
            stream.set_patience(PATIENCE);
            let count = stream.stream().read(&mut buffer).expect("a stream");
            told.push_str(&String::from_utf8_lossy(&buffer[..count]));
            told.contains(what).then_some(())
        });
    };
    until("\"phase\":\"broken\",\"running\":0");
    package.write("src/main.rs", SERVER);
    until("\"phase\":\"running\",\"running\":1");
    developed.shows("<h1>one</h1>");
}

#[test]
fn a_program_that_crashes_is_shown_and_started_again() {
    let package = Package::new("dev-crash");
    let developed = package.develop(&[]);
    developed.shows("<h1>one</h1>");
    let before = processes_of(&package.path());
    let _broken_off = developed.ask("/crash");
    eventually("another one serves", || {
        let now = processes_of(&package.path());
        (now.len() == 1 && now != before).then_some(())
    });
    developed.shows("<h1>one</h1>");
    assert!(developed.said().contains("asked to <crash>"));
    // One that cannot live is shown with its last words.
    package.write("src/main.rs", "fn main() { panic!(\"no <life>\") }");
    developed.shows("<h1>one</h1>");
    eventually("it crashes", || developed.said().contains("no <life>").then_some(()));
    developed.shows("<h1>one</h1>");
    let _broken_off = developed.ask("/crash");
    let page = developed.shows("The program has crashed");
    assert!(page.contains("asked to &lt;crash&gt;") || page.contains("no &lt;life&gt;"), "{page}");
    package.says("mended");
    developed.shows("<h1>mended</h1>");
}

#[test]
fn a_broken_manifest_and_a_missing_program_are_explained() {
    let package = Package::new("dev-manifest");
    package.write("Cargo.toml", "[package\n");
    let developed = package.develop(&[]);
    developed.shows("It does not compile");
    developed.shows("unclosed table");
    package.write(
        "Cargo.toml",
        "[package]\nname = \"developed\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n",
    );
    developed.shows("<h1>one</h1>");
}

#[test]
fn nothing_is_left_of_one_that_is_killed() {
    let package = Package::new("dev-killed");
    let mut developed = package.develop(&[]);
    developed.shows("<h1>one</h1>");
    let programs = processes_of(&package.path());
    assert_eq!(programs.len(), 1);
    developed.signal(Signal::KILL);
    developed.wait();
    eventually("the kernel ends its program", || test_kill_process(programs[0]).is_err().then_some(()));
}

#[test]
fn over_tls_pages_come_from_the_first_moment_on() {
    let package = Package::new("dev-tls");
    package.write("src/main.rs", "fn main() { nothing }\n");
    let developed = package.develop(&["--tls"]);
    let output = std::process::Command::new("curl")
        .args(["--silent", "--insecure", "--max-time", "60", "--header", "Accept: text/html"])
        .arg(format!("https://{}/", developed.address))
        .output()
        .expect("curl is there");
    let page = String::from_utf8_lossy(&output.stdout);
    assert!(page.contains("<h1>"), "{page}");
    let key = package.path().join("target/ringway-dev/key.pem");
    let mode = {
        use std::os::unix::fs::MetadataExt;
        fs::metadata(key).expect("it was made").mode() & 0o777
    };
    assert_eq!(mode, 0o600);
}

#[test]
fn wrong_use_is_explained() {
    let ask = |arguments: &[&str]| {
        let output =
            std::process::Command::new(env!("CARGO_BIN_EXE_ringway")).arg("dev").args(arguments).output();
        let output = output.expect("it runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for (arguments, said) in [
        (&["/nowhere/at/all"][..], "there is no directory /nowhere/at/all"),
        (&[".", "--set", "x"], "--set takes KEY=VALUE"),
        (&[".", "--port", "99999"], "--port takes a whole number"),
        (&[".", "--colour"], "--colour"),
    ] {
        let (code, sentence) = ask(arguments);
        assert_eq!(code, Some(2));
        assert!(sentence.contains(said), "{sentence}");
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("bound").port().to_string();
    let package = Package::new("dev-taken");
    let path = package.path();
    let (code, sentence) = ask(&[path.to_str().expect("UTF-8"), "--port", &port]);
    assert_eq!(code, Some(2));
    assert!(sentence.contains("cannot listen on"), "{sentence}");
}
