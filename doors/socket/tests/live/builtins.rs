//! The handlers that the server brings, as their peers meet them.

use crate::stand::{Setup, Stand, on_each_driver, read_line};
use ringway_engine::ring::DriverChoice;
use ringway_socket::{Settings, builtin, builtin_framing};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

fn start(driver: DriverChoice, name: &str, settings: &[(&str, &str)]) -> Stand {
    let settings: Settings =
        settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let handlers = builtin(name, &settings).expect("settings as they should be");
    Setup::new(driver, handlers).on(|terms| terms.framing = builtin_framing(name)).start()
}

fn ask(stream: &mut TcpStream, line: &str) -> String {
    stream.write_all(format!("{line}\r\n").as_bytes()).expect("it reads");
    read_line(stream)
}

#[test]
fn the_generator_goes_on_for_a_slow_reader_and_ends_where_it_is_told() {
    on_each_driver(|driver| {
        let stand = start(driver, "generator", &[("bytes_max", "10000000")]);
        let mut stream = stand.connect();
        let mut text = Vec::new();
        stream.read_to_end(&mut text).expect("a good end");
        assert_eq!(text.len(), 10_000_000);
        let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
        assert!(lines[0].starts_with(b" !\"#$%") && lines[95].starts_with(b" !\"#$%"));
        stand.until_resting();
        assert_eq!((stand.counted().bytes_out, stand.counted().errors), (10_000_000, 0));
        stand.stop();
    });
}

#[test]
fn what_is_discarded_is_counted() {
    on_each_driver(|driver| {
        let stand = start(driver, "discard", &[]);
        let mut stream = stand.connect();
        stream.write_all(&vec![7; 300_000]).expect("it reads");
        stream.shutdown(Shutdown::Write).expect("a half-close");
        assert_eq!(stream.read(&mut [0; 8]).expect("a good end"), 0);
        stand.until_resting();
        assert_eq!((stand.counted().bytes_in, stand.counted().bytes_out), (300_000, 0));
        stand.stop();
    });
}

#[test]
fn a_handler_measures_its_own_messages() {
    on_each_driver(|driver| {
        let stand = start(driver, "length-echo", &[("bytes", "2"), ("order", "little")]);
        let mut stream = stand.connect();
        let said = b"\x03\x00abc\x00\x00\x01\x00x";
        for byte in said {
            stream.write_all(&[*byte]).expect("it reads");
        }
        let mut answer = [0; 10];
        stream.read_exact(&mut answer).expect("the echo comes");
        assert_eq!(&answer, said);
        drop(stream);
        stand.until_resting();
        assert_eq!(stand.counted().messages_in, 3);
        stand.stop();
    });
}

#[test]
fn guests_of_the_chat_hear_each_other() {
    on_each_driver(|driver| {
        let mut setup = Setup::builtin(driver, "chat").on(|terms| terms.framing = builtin_framing("chat"));
        // Guests of different workers hear each other, too.
        setup.options.workers = 2;
        let stand = setup.start();
        let (mut ada, mut bob) = (stand.connect(), stand.connect());
        assert!(read_line(&mut ada).starts_with("welcome; you are guest "));
        assert!(read_line(&mut bob).starts_with("welcome; you are guest "));
        while !ask(&mut ada, "/who").starts_with('2') {}
        ada.write_all(b"/name Ada\n").expect("it reads");
        while read_line(&mut ada) != "you are Ada" {}
        ada.write_all(b"hello, \x07all\n").expect("it reads");
        while read_line(&mut bob) != "Ada: hello, all" {}
        assert!(ask(&mut bob, "/what").starts_with("there are /name"));
        assert!(ask(&mut bob, "/name <b>").starts_with("a name has up to"));
        ada.write_all(b"/quit\n").expect("it reads");
        while read_line(&mut bob) != "Ada has left" {}
        drop((ada, bob));
        stand.until_resting();
        stand.stop();
    });
}

#[test]
fn the_maildrop_is_read() {
    on_each_driver(|driver| {
        let stand = start(driver, "mail", &[("user", "ada"), ("password", "secret")]);
        let mut stream = stand.connect();
        assert_eq!(read_line(&mut stream), "+OK maildrop ready");
        assert_eq!(ask(&mut stream, "USER ada"), "+OK send the password");
        assert!(ask(&mut stream, "PASS secret").starts_with("+OK maildrop has 1 "));
        assert!(ask(&mut stream, "RETR 1").starts_with("+OK"));
        let mut lines = Vec::new();
        while lines.last().is_none_or(|line| line != ".") {
            lines.push(read_line(&mut stream));
        }
        assert_eq!(lines[0], "Subject: welcome");
        assert_eq!(ask(&mut stream, "QUIT"), "+OK bye");
        assert_eq!(stream.read(&mut [0; 8]).expect("a good end"), 0);
        drop(stream);
        stand.until_resting();
        stand.stop();
    });
}

#[test]
fn the_policy_is_told_once() {
    on_each_driver(|driver| {
        let stand = start(driver, "policy", &[("policy", "<policy/>")]);
        for (asked, told) in [("<policy-file-request/>\0", "<policy/>\0"), ("GET / HTTP/1.1\0", "")] {
            let mut stream = stand.connect();
            stream.write_all(asked.as_bytes()).expect("it reads");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).expect("a good end");
            assert_eq!(answer, told);
        }
        stand.until_resting();
        stand.stop();
    });
}
