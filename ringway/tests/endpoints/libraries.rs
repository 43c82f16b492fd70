//! Handlers in libraries: served confined, replaced under traffic, filtered, and alone in a process.

use crate::site::{Place, connect_to, echoed, rest};
use crate::stand::{Stand, done, eventually, on_both_drivers, text};
use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

/// A handler that answers each message with a letter before it, and dies of the message `die`.
const HANDLER: &str = include_str!("letter.c");

/// Builds the handler, in its place at once.
fn build(stand: &Stand, letter: char) {
    stand.file("letter.c", HANDLER.replace("LETTER", &letter.to_string()).as_bytes());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut cc = Command::new("cc");
    cc.args(["-std=c11", "-Wall", "-Werror", "-O1", "-fPIC", "-shared", "-fvisibility=hidden", "-pthread"]);
    cc.arg(format!("-I{}", root.join("sys/plugin/include").display()));
    cc.arg(stand.at("letter.c")).arg("-o").arg(stand.at("letter.new"));
    assert!(cc.status().expect("a C compiler").success());
    std::fs::rename(stand.at("letter.new"), stand.at("letter.so")).unwrap();
}

fn tables(more: &str) -> String {
    format!(
        "[[endpoint]]\nname = \"letters\"\nlisten = [\"127.0.0.1:0\"]\nhandler = \"lib:letter.so\"\nframing = \"lines\"\n{more}"
    )
}

fn start(name: &str, driver: &str, tables: &str) -> Place {
    started(Stand::new(name, driver), tables)
}

fn started(mut stand: Stand, tables: &str) -> Place {
    build(&stand, 'a');
    stand.console = "socket = \"console.sock\"".to_owned();
    stand.more = tables.to_owned();
    stand.write();
    let running = stand.start();
    Place { stand, running }
}

/// Says a line; what comes back.
fn said(stream: &mut (impl Read + Write), line: &str) -> String {
    stream.write_all(format!("{line}\n").as_bytes()).unwrap();
    let mut heard = Vec::new();
    while heard.last() != Some(&b'\n') {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        heard.push(byte[0]);
    }
    text(&heard)
}

#[test]
fn a_library_is_replaced_under_traffic() {
    on_both_drivers(|driver| {
        let place = start(&format!("endpoints-library-{driver}"), driver, &tables(""));
        let mut old = place.connect("letters");
        assert_eq!(said(&mut old, "x"), "ax\n");
        let going = AtomicBool::new(true);
        std::thread::scope(|scope| {
            let traffic = scope.spawn(|| {
                let mut asked = 0_u32;
                while going.load(Ordering::Relaxed) {
                    let mut stream = place.connect("letters");
                    for number in 0..20 {
                        let answer = said(&mut stream, &number.to_string());
                        assert_eq!(answer[1..], format!("{number}\n"), "whoever answers");
                        asked += 1;
                    }
                }
                asked
            });
            for letter in ['b', 'c', 'd'] {
                build(&place.stand, letter);
                let told = done(&place.ask(&["replace", "letters"]));
                assert!(told.contains("serves new connections"), "{told}");
                assert_eq!(said(&mut place.connect("letters"), "new"), format!("{letter}new\n"));
                assert_eq!(said(&mut old, "old"), "aold\n");
            }
            going.store(false, Ordering::Relaxed);
            assert!(traffic.join().unwrap() > 0);
        });
        assert_eq!(place.figure("letters", "replaced"), 3);
        std::fs::write(place.stand.at("letter.so"), b"\x7fELF, but no more").unwrap();
        let refused = place.ask(&["replace", "letters"]);
        let told = text(&refused.stdout);
        assert!(!refused.status.success() && told.contains("was not replaced"), "{told}");
        assert!(told.contains("letter.so"), "it says which file: {told}");
        assert_eq!(said(&mut place.connect("letters"), "still"), "dstill\n");
        place.running.stop();
    });
}

#[test]
fn a_reload_loads_what_lies_there_now() {
    let mut place = start("endpoints-library-reload", "auto", &tables(""));
    let mut old = place.connect("letters");
    assert_eq!(said(&mut old, "x"), "ax\n");
    build(&place.stand, 'z');
    place.reload(&tables(""));
    assert_eq!(said(&mut place.connect("letters"), "x"), "zx\n");
    assert_eq!(said(&mut old, "x"), "ax\n");
    place.running.stop();
}

#[test]
fn filters_stand_before_handlers() {
    let filtered = "filters = [\"trace:bytes\", \"flow:1MiB\"]\n[log.error]\npath = \"error.log\"\nlevel = \"debug\"\n\
        [[endpoint]]\nname = \"proxied\"\nlisten = [\"127.0.0.1:0\"]\nhandler = \"builtin:echo\"\n\
        filters = [\"proxy-protocol\"]\ntrusted = [\"127.0.0.0/8\"]\n";
    let place = start("endpoints-filters", "auto", &tables(filtered));
    assert_eq!(said(&mut place.connect("letters"), "wire"), "awire\n");
    let log = place.stand.at("error.log");
    eventually("the filter tells", || {
        std::fs::read_to_string(&log).ok().filter(|log| log.contains("filter") && log.contains("wire"))
    });
    let mut proxied = place.connect("proxied");
    proxied.write_all(b"PROXY TCP4 192.0.2.7 192.0.2.1 1234 80\r\n").unwrap();
    assert_eq!(echoed(&mut proxied, b"behind a proxy"), b"behind a proxy");
    let mut unproxied = place.connect("proxied");
    unproxied.write_all(b"no such header\r\n").unwrap();
    assert_eq!(rest(&mut unproxied), b"");
    place.running.stop();
}

#[test]
fn a_handler_that_waits_keeps_nobody_waiting() {
    let place = start("endpoints-blocking", "auto", &tables("blocking = true\n"));
    let mut slow = place.connect("letters");
    slow.write_all(b"wait\n").unwrap();
    for number in 0..20 {
        let mut stream = place.connect("letters");
        assert_eq!(said(&mut stream, &number.to_string()), format!("a{number}\n"));
    }
    let mut heard = [0; 6];
    slow.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"await\n");
    place.running.stop();
}

#[test]
fn a_handler_that_dies_alone_takes_nobody_along() {
    let stand = Stand::new("endpoints-isolated", "auto");
    let at = stand.at("letters.sock");
    let alone = tables("isolate = \"process\"\n").replace("127.0.0.1:0", &format!("unix:{}", at.display()));
    let echo = "[[endpoint]]\nname = \"echo\"\nlisten = [\"127.0.0.1:0\"]\nhandler = \"builtin:echo\"\n";
    let place = started(stand, &format!("{alone}{echo}"));
    let mut other = place.connect("echo");
    // Until its process is there, who connects waits in the queue.
    let mut stream = connect_to(&at);
    assert_eq!(said(&mut stream, "x"), "ax\n");
    stream.write_all(b"die\n").unwrap();
    assert_eq!(rest(&mut stream), b"");
    assert_eq!(echoed(&mut other, b"still here"), b"still here");
    assert_eq!(said(&mut connect_to(&at), "y"), "ay\n", "the next process serves what waits");
    eventually("the console tells of the death", || {
        text(&place.ask(&["endpoints"]).stdout).contains("letters").then_some(())
    });
    build(&place.stand, 'q');
    let told = done(&place.ask(&["replace", "letters"]));
    assert!(told.contains("serves new connections"), "{told}");
    assert_eq!(said(&mut connect_to(&at), "z"), "qz\n");
    place.running.stop();
}
