//! Services in shared libraries, on real sockets and both drivers: what they answer, what they do wrong, how they are replaced.

mod faults;
mod replaced;
mod rust;
#[cfg(feature = "websockets")]
mod sockets;
mod stand;

use ringway_service::library::{Level, Library};
use ringway_testkit::Scratch;
use stand::{As, Stand, build, drivers, eventually, example, get, post, text};
use std::io::{Read, Write};

#[test]
fn the_service_in_c_answers_as_its_author_meant() {
    let scratch = Scratch::new("c-service");
    let library = example(&scratch);
    for driver in drivers() {
        for place in [As::Handler(""), As::Service("")] {
            let stand = Stand::start(driver, &library, "", place, 1);
            answers_as_meant(&stand, "");
            stand.stop();
        }
        for place in [As::Handler("/app"), As::Service("/app")] {
            let stand = Stand::start(driver, &library, " greeting = \"Ahoy\"\n", place, 1);
            assert_eq!(text(&stand.get("/app/hello/you")), "Ahoy, you!\n");
            answers_as_meant(&stand, "/app");
            assert_eq!(stand.get("/hello/you").status, 404);
            assert_eq!(stand.get("/application/hello/you").status, 404);
            stand.stop();
        }
    }
}

fn answers_as_meant(stand: &Stand, mount: &str) {
    let answer = stand.get(&format!("{mount}/hello/w%C3%B6rld"));
    assert!(text(&answer).ends_with(", wörld!\n"), "{}", text(&answer));
    assert_eq!(answer.field("content-type"), Some("text/plain; charset=utf-8"));
    for count in 1..=3 {
        assert_eq!(text(&stand.get(&format!("{mount}/counter"))), format!("{count}\n"));
    }
    assert_eq!(text(&stand.get(&format!("{mount}/later"))), "from a thread\n");
    let lines: String = (1..=10_000).rev().map(|number| format!("{number}\n")).collect();
    let answer = stand.get(&format!("{mount}/count-down?a=b&from=10000"));
    assert_eq!(text(&answer), format!("counting\n{lines}"));
    assert_eq!(stand.get(&format!("{mount}/nowhere")).status, 404);
    let wrong = stand.get(&format!("{mount}/echo"));
    assert_eq!((wrong.status, wrong.field("allow")), (405, Some("POST, OPTIONS")));
    let mut client = stand.client();
    client.send(format!("OPTIONS {mount}/echo HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).expect("it reads");
    let options = client.answer(false).expect("an answer");
    assert_eq!((options.status, options.field("allow")), (204, Some("POST, OPTIONS")));
    let form = "Content-Type: application/x-www-form-urlencoded; charset=utf-8\r\n";
    let mut client = stand.client();
    let echo = format!("{mount}/echo");
    client.send(&post(&echo, form, b"other=1&text=a+b%26c")).expect("it reads");
    assert_eq!(text(&client.answer(false).expect("an answer")), "a b&c");
    client.send(&post(&echo, form, b"other=1")).expect("it reads");
    assert_eq!(client.answer(false).expect("an answer").status, 400);
    client.send(&post(&echo, "Content-Type: text/plain\r\n", b"text=1")).expect("it reads");
    assert_eq!(client.answer(false).expect("an answer").status, 400, "it is no form");
    client.send(format!("HEAD {mount}/counter HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).expect("it reads");
    let head = client.answer(true).expect("a head");
    assert_eq!((head.status, head.field("content-length")), (200, Some("2")));
    let body = [b"text=".to_vec(), vec![b'x'; 65_536]].concat();
    client.send(&post(&echo, form, &body)).expect("it reads");
    assert_eq!(client.answer(false).expect("an answer").status, 413, "it takes 64 KiB");
}

#[test]
fn settings_that_a_library_does_not_like_are_told_with_its_name() {
    let scratch = Scratch::new("c-settings");
    let library = example(&scratch);
    let error = Library::load(&library, "colour = 3").expect_err("it does not know that").to_string();
    assert!(error.contains("service.so: the only setting is `greeting`"), "{error}");
    let library = Library::load(&library, "").expect("it needs none");
    assert_eq!(library.identity(), ("c-service".to_owned(), "1.0".to_owned()));
    assert_eq!(library.routes()[1], ("POST".to_owned(), "/echo".to_owned()));
    assert_eq!((library.routes().len(), library.health()), (5, Ok(())));
}

#[test]
fn what_a_service_does_and_says_is_counted_and_kept() {
    let scratch = Scratch::new("c-counts");
    let library = build(&scratch, "faults.c", "faults", &[]);
    let stand = Stand::start(drivers()[0], &library, "", As::Service(""), 1);
    assert_eq!(stand.get("/fine").status, 200);
    assert_eq!(stand.get("/nothing").status, 500);
    assert_eq!(stand.get("/pass").status, 404);
    let totals = stand.service.stats().totals();
    assert_eq!((totals.requests, totals.errors, totals.in_flight), (3, 1, 0));
    let lines = stand.service.log().since(0);
    assert!(lines.iter().any(|line| line.text.contains("has neither answered")), "{lines:?}");
    let stats = stand.library.stats();
    assert_eq!((stats.requests, stats.passed, stats.faults), (3, 1, 1));
    assert!(stand.heard.lock().expect("no panic").iter().all(|(level, _)| *level == Level::Error));
    stand.stop();
}

#[test]
fn bodies_go_through_a_library_in_pieces_no_faster_than_they_are_taken() {
    let scratch = Scratch::new("c-pieces");
    let library = build(&scratch, "pieces.c", "pieces", &[]);
    for driver in drivers() {
        let stand = Stand::with(driver, &library, "", As::Handler(""), 1, 20_000).expect("good");
        let body: Vec<u8> =
            (0..5_000_000_u32).map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
        let client = stand.client();
        let (mut up, mut down) = (client.stream().try_clone().expect("a socket"), client);
        let sent = body.clone();
        let sender = std::thread::spawn(move || {
            up.write_all(&post("/echo", "", &sent)).expect("it reads all");
        });
        let answer = down.answer(false).expect("an answer");
        sender.join().expect("it is sent");
        assert_eq!(answer.status, 200);
        assert!(answer.body == body, "{} bytes", answer.body.len());
        // The connection is good for more.
        for size in [0, 1, 300_000] {
            down.send(&post("/echo", "", &body[..size])).expect("it reads");
            assert!(down.answer(false).expect("an answer").body == body[..size], "{size} bytes");
        }
        down.send(&post("/echo", "Expect: 100-continue\r\n", b"")).expect("it reads");
        assert_eq!(down.answer(false).expect("an answer").body, b"");
        drop(down);
        stand.stop();
    }
}

#[test]
fn a_client_that_does_not_read_stops_the_whole_way_back() {
    let scratch = Scratch::new("c-pressure");
    let library = build(&scratch, "pieces.c", "pieces", &[]);
    let stand = Stand::with(drivers()[0], &library, "", As::Handler(""), 1, 20_000).expect("good");
    let mut client = stand.client();
    let length = 80_000_000_u64;
    let head = format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
    client.send(head.as_bytes()).expect("it reads");
    let mut stream = client.stream().try_clone().expect("a socket");
    stream.set_nonblocking(true).expect("a socket");
    let (block, mut sent, mut quiet) = (vec![7; 65_536], 0_u64, 0);
    // What sockets and queues hold is all that goes in: some megabytes.
    while quiet < 200 {
        match stream.write(&block) {
            Ok(count) => (sent, quiet) = (sent + count as u64, 0),
            Err(_full) => {
                quiet += 1;
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        }
        assert!(sent < 40_000_000, "it takes what nobody reads");
    }
    stream.set_nonblocking(false).expect("a socket");
    let mut reading = stream.try_clone().expect("a socket");
    let reader = std::thread::spawn(move || {
        let (mut memory, mut sevens) = (vec![0; 65_536], 0_u64);
        while sevens < length {
            let count = reading.read(&mut memory).expect("it goes on");
            assert!(count > 0, "{sevens}");
            sevens += memory[..count].iter().filter(|byte| **byte == 7).count() as u64;
        }
    });
    let mut left = length - sent;
    while left > 0 {
        let count = left.min(65_536);
        stream.write_all(&block[..usize::try_from(count).expect("small")]).expect("it goes on");
        left -= count;
    }
    reader.join().expect("all came back");
    drop((client, stream));
    stand.stop();
}

#[test]
fn who_wants_no_more_of_a_body_or_says_nonsense_of_it_ends_it() {
    let scratch = Scratch::new("c-stop");
    let library = build(&scratch, "pieces.c", "pieces", &[]);
    for driver in drivers() {
        let stand = Stand::start(driver, &library, "", As::Handler(""), 1);
        let mut client = stand.client();
        client.send(&post("/", "", b"stop")).expect("it reads");
        assert_eq!(client.answer(false).expect("an answer").status, 200);
        client.send(get("/").as_bytes()).expect("it is the next request");
        assert_eq!(client.answer(false).expect("an answer").status, 200);
        // A client that is there keeps a server that stops waiting for it.
        drop(client);
        let mut client = stand.client();
        client.send(&post("/", "", b"junk")).expect("it reads");
        let cut = client.answer(false);
        assert!(cut.is_err() || cut.is_ok_and(|answer| answer.status == 500), "no whole answer");
        eventually("a word about it", || stand.has_heard("its body callback says 4711"));
        // A body that is none is no library's matter.
        let mut client = stand.client();
        client
            .send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n")
            .expect("it reads");
        assert!(client.until_end().is_ok_and(|all| !all.ends_with(b"0\r\n\r\n")), "no whole answer");
        drop(client);
        stand.stop();
    }
}
