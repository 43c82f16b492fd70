//! The plug-ins of `contrib/plugin`, in C and in Rust, do what they say.

use crate::stand::{Like, Stand, alone, drivers, in_c, in_rust, root, until_unmapped};
use ringway_socket::Framing;
use ringway_socket::library::{Library, LibraryOptions};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Command;

/// Bytes that tell their place.
fn pattern(count: usize) -> Vec<u8> {
    let byte = |at: usize| (at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[0];
    (0..count).map(byte).collect()
}

/// Sends `bytes` in pieces while as many are read back, which must be the same.
fn exchange(stream: &mut TcpStream, bytes: &[u8], piece: usize) {
    let mut writer = stream.try_clone().expect("a descriptor");
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for part in bytes.chunks(piece) {
                writer.write_all(part).expect("the server reads");
            }
        });
        let mut found = vec![0; bytes.len()];
        stream.read_exact(&mut found).expect("the whole echo comes");
        let place = found.iter().zip(bytes).position(|(one, other)| one != other);
        assert_eq!(place, None, "first difference of {} bytes", bytes.len());
    });
}

#[test]
fn the_echo_in_c_gives_back_what_came() {
    let _alone = alone();
    for driver in drivers() {
        let stand = Stand::start(driver, &in_c("echo"), "", &Like::default());
        assert_eq!(stand.library.identity(), ("echo".to_owned(), "1".to_owned()));
        let mut stream = stand.connect();
        exchange(&mut stream, &pattern(3_000_000), 70_001);
        stream.write_all(b"last").expect("it reads");
        stream.shutdown(Shutdown::Write).expect("a half-close");
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).expect("a good end");
        assert_eq!(rest, b"last");
        stand.until_resting();
        assert_eq!(stand.counted().faults, 0, "{:?}", stand.heard());
        stand.stop();
    }
    until_unmapped("echo");
}

#[test]
fn cmake_builds_what_make_builds() {
    let _alone = alone();
    let scratch = ringway_testkit::Scratch::new("cmake");
    let mut cmake = Command::new("cmake");
    cmake.arg("-S").arg(root().join("contrib/plugin")).arg("-B").arg(scratch.path());
    let configured = match cmake.env_remove("CFLAGS").output() {
        Err(error) => return eprintln!("SKIPPED: there is no cmake (Debian's package): {error}"),
        Ok(output) => output,
    };
    assert!(configured.status.success(), "{}", String::from_utf8_lossy(&configured.stderr));
    let built = Command::new("cmake").arg("--build").arg(scratch.path()).output().expect("cmake");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let made = std::fs::read_dir(in_c("echo").parent().expect("a directory")).expect("make has built");
    let names: Vec<_> = made.flatten().map(|file| file.file_name()).collect();
    assert!(names.len() >= 6, "{names:?}");
    for name in names {
        assert!(scratch.path().join(&name).exists(), "{name:?}");
    }
    let echo = LibraryOptions::default();
    let echo = Library::load(&scratch.path().join("echo.so"), "", echo).expect("a good library");
    assert_eq!(echo.identity().0, "echo");
    drop(echo);
    until_unmapped("echo");
}

#[test]
fn the_length_echo_measures_its_messages() {
    let _alone = alone();
    let mut bytes = Vec::new();
    for size in [0_u32, 1, 64, 1_000, 16_000, 70_000, 3, 200_000, 65_532, 65_533, 12, 1_048_576] {
        bytes.extend_from_slice(&size.to_be_bytes());
        bytes.extend_from_slice(&pattern(size as usize));
    }
    for driver in drivers() {
        let like = Like { message_bytes_max: 2 << 20, ..Like::framed(Framing::Handler) };
        let stand = Stand::start(driver, &in_c("length_echo"), "", &like);
        for piece in [3, 1_000, 65_536, bytes.len()] {
            let mut stream = stand.connect();
            let few = if piece == 3 { 1_081 } else { bytes.len() };
            exchange(&mut stream, &bytes[..few], piece);
        }
        stand.until_heard("12 messages, ended for reason 0");
        // What is longer than the handler takes ends the connection.
        let mut stream = stand.connect();
        stream.write_all(&[0, 0x20, 0, 0]).expect("it reads");
        assert_eq!(stream.read(&mut [0; 1]).unwrap_or(0), 0);
        stand.until_heard("0 messages, ended for reason 4");
        stand.until_resting();
        stand.stop();
    }
    until_unmapped("length_echo");
}

#[test]
fn the_chat_tells_all_members() {
    let _alone = alone();
    for driver in drivers() {
        for workers in [1, 2] {
            let like = Like { workers, ..Like::framed(Framing::lines()) };
            let stand = Stand::start(driver, &in_c("chat"), "", &like);
            let (mut ann, mut bob) = (stand.lines_of(), stand.lines_of());
            assert_eq!(ann.hear(), "What is your name?");
            assert_eq!(ann.ask(""), "A name has 1 to 32 bytes. What is yours?");
            assert_eq!(ann.ask("Ann\r"), "Ann is here");
            assert_eq!(bob.hear(), "What is your name?");
            assert_eq!(bob.ask("Bob"), "Bob is here");
            assert_eq!(ann.hear(), "Bob is here");
            for round in 0..50 {
                assert_eq!(ann.ask(&format!("line {round}")), format!("Ann: line {round}"));
                assert_eq!(bob.hear(), format!("Ann: line {round}"));
            }
            drop(bob);
            assert_eq!(ann.hear(), "Bob has left");
            drop(ann);
            stand.until_resting();
            stand.stop();
        }
    }
    until_unmapped("chat");
}

#[test]
fn the_gateway_in_c_passes_everything_on_both_ways() {
    let _alone = alone();
    for driver in drivers() {
        let target = Stand::start(driver, &in_c("echo"), "", &Like::default());
        let config = format!("target = \"{}\"\n", target.address());
        let like = Like { workers: 2, ..Like::default() };
        let stand = Stand::start(driver, &in_c("gateway"), &config, &like);
        let mut streams: Vec<_> = (0..4).map(|_| stand.connect()).collect();
        for stream in &mut streams {
            exchange(stream, &pattern(2_000_000), 50_001);
        }
        let mut stream = streams.pop().expect("some");
        stream.write_all(b"last").expect("it reads");
        stream.shutdown(Shutdown::Write).expect("a half-close");
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).expect("a good end");
        assert_eq!(rest, b"last");
        drop(streams);
        target.until_resting();
        stand.until_resting();
        // Where nobody is, nobody is spoken to.
        let nowhere = target.address();
        target.stop();
        let gone =
            Stand::start(driver, &in_c("gateway"), &format!("target = \"{nowhere}\"\n"), &Like::default());
        let mut stream = gone.connect();
        assert!(!matches!(stream.read(&mut [0; 1]), Ok(1..)), "the end");
        drop(stream);
        gone.until_resting();
        gone.stop();
        stand.stop();
    }
    until_unmapped("gateway");
    until_unmapped("echo");
}

#[test]
fn the_echo_of_datagrams_answers_whoever_asks() {
    let _alone = alone();
    for driver in drivers() {
        let stand = Stand::datagrams(driver, &in_c("udp_echo"), "", &Like::default());
        let (one, other) = (stand.socket(), stand.socket());
        let mut room = [0; 2_000];
        for size in [1, 100, 1_400] {
            one.send(&pattern(size)).expect("loopback");
            other.send(b"other").expect("loopback");
            let came = one.recv(&mut room).expect("an answer");
            assert_eq!(room[..came], pattern(size));
            let came = other.recv(&mut room).expect("an answer");
            assert_eq!(&room[..came], b"other");
        }
        stand.stop();
    }
    until_unmapped("udp_echo");
}

#[test]
fn the_discard_in_rust_counts() {
    let _alone = alone();
    for driver in drivers() {
        let stand = Stand::start(driver, &in_rust("discard"), "", &Like::default());
        let mut stream = stand.connect();
        stream.write_all(&pattern(100_000)).expect("it reads");
        drop(stream);
        stand.until_heard("100000 bytes, Peer");
        stand.until_resting();
        stand.stop();
    }
}

#[test]
fn the_generator_in_rust_goes_as_fast_as_its_reader() {
    let _alone = alone();
    for driver in drivers() {
        let stand = Stand::start(driver, &in_rust("generator"), "", &Like::default());
        let mut stream = stand.connect();
        let mut bytes = vec![0; 74 * 20_000];
        stream.read_exact(&mut bytes).expect("there is no end");
        for (number, line) in bytes.chunks(74).enumerate() {
            let first = b' ' + u8::try_from(number % 95).expect("below 95");
            assert_eq!((line[0], &line[72..]), (first, &b"\r\n"[..]), "line {number}");
        }
        drop(stream);
        stand.until_resting();
        stand.stop();
    }
}

#[test]
fn the_mailbox_in_rust_is_read() {
    let _alone = alone();
    for driver in drivers() {
        let like = Like::framed(Framing::lines());
        let config = "mails = [\"Dear Ann\", \".dot\"]\n";
        let stand = Stand::start(driver, &in_rust("mail"), config, &like);
        let mut client = stand.lines_of();
        assert_eq!(client.hear(), "+OK a mailbox of Ringway's");
        assert_eq!(client.ask("STAT"), "-ERR not now");
        assert_eq!(client.ask("USER ann"), "+OK and the password?");
        assert_eq!(client.ask("PASS secret"), "+OK you are in");
        assert_eq!(client.ask("STAT"), "+OK 2 12");
        assert_eq!(client.ask("retr 2"), "+OK 4 bytes");
        assert_eq!((client.hear().as_str(), client.hear().as_str()), ("..dot", "."));
        assert_eq!(client.ask("DELE 1"), "+OK it is gone");
        assert_eq!(client.ask("RETR 1"), "-ERR there is no such mail");
        assert_eq!(client.ask("LIST"), "+OK 1 mails");
        assert_eq!((client.hear().as_str(), client.hear().as_str()), ("2 4", "."));
        assert_eq!(client.ask("QUIT"), "+OK until next time");
        assert_eq!(client.hear(), "");
        stand.until_resting();
        stand.stop();
    }
}

#[test]
fn the_policy_file_in_rust_is_given_to_who_asks_for_it() {
    let _alone = alone();
    for driver in drivers() {
        let like = Like::framed(Framing::Delimiter(Box::new([0])));
        let stand = Stand::start(driver, &in_rust("policy"), "ports = \"80,443\"\n", &like);
        let ask = |what: &[u8]| {
            let mut stream = stand.connect();
            stream.write_all(what).expect("it reads");
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).expect("a good end");
            String::from_utf8(answer).expect("a text")
        };
        let file = ask(b"<policy-file-request/>\0");
        assert!(file.contains("to-ports=\"80,443\"") && file.ends_with(">\n\0"), "{file}");
        assert_eq!(ask(b"<other/>\0"), "");
        stand.until_resting();
        stand.stop();
    }
}

#[test]
fn the_relay_in_rust_sends_to_all_its_addresses() {
    let _alone = alone();
    let receivers = [(), ()].map(|()| std::net::UdpSocket::bind("127.0.0.1:0").expect("loopback"));
    let to =
        receivers.each_ref().map(|socket| format!("{:?}", socket.local_addr().expect("bound").to_string()));
    for driver in drivers() {
        let stand = Stand::datagrams(
            driver,
            &in_rust("relay"),
            &format!("to = [{}]", to.join(", ")),
            &Like::default(),
        );
        stand.socket().send(b"to all").expect("loopback");
        for receiver in &receivers {
            receiver.set_read_timeout(Some(crate::stand::PATIENCE)).expect("an option");
            let mut room = [0; 100];
            let (came, _from) = receiver.recv_from(&mut room).expect("the datagram");
            assert_eq!(&room[..came], b"to all");
        }
        stand.stop();
    }
}
