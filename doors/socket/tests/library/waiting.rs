//! Libraries that may wait are called on threads: they echo, measure, are replaced and unmapped as on workers.

use crate::replaced::version;
use crate::stand::{Like, Stand, alone, build, drivers, eventually, in_c, until_unmapped};
use ringway_socket::Framing;
use ringway_socket::library::census;
use ringway_testkit::Scratch;
use std::io::{Read, Write};
use std::net::Shutdown;

/// A library that sleeps for every line that says so, and gives back all.
const SLEEPY: &str = r#"
#include "ringway.h"
#include <time.h>
static const ringway_server *server;
static int32_t message(void *instance, void *worker, ringway_conn *conn, void **user, ringway_bytes_mut message) {
    (void)instance, (void)worker, (void)user;
    if (message.len == 5 && memcmp(message.data, "sleep", 5) == 0) {
        struct timespec time = {0, 200 * 1000 * 1000};
        nanosleep(&time, NULL);
    }
    ringway_bytes all = {message.data, message.len};
    return server->conn_send_in_place(conn, all) == RINGWAY_OK ? RINGWAY_GO_ON : -2;
}
static int32_t create(const ringway_setup *setup, void **raw) { (void)setup; *raw = NULL; return 0; }
static void destroy(void *raw) { (void)raw; }
static const ringway_connection_handler handler = {.struct_size = sizeof handler, .message = message};
static const ringway_plugin plugin = {.struct_size = sizeof plugin, .abi = RINGWAY_ABI, .name = "sleepy", .version = "1",
    .create = create, .destroy = destroy, .connection = &handler};
const ringway_plugin *ringway_plugin_entry(const ringway_server *from) { server = from; return &plugin; }
"#;

fn on_threads(framing: Framing) -> Like {
    Like { threads: 3, message_bytes_max: 2 << 20, ..Like::framed(framing) }
}

#[test]
fn a_library_that_sleeps_keeps_nobody_waiting() {
    let _alone = alone();
    let scratch = Scratch::new("socket-sleepy");
    let sleepy = build(&scratch, "sleepy", SLEEPY);
    for driver in drivers() {
        let stand = Stand::start(driver, &sleepy, "", &on_threads(Framing::lines()));
        let (mut slow, mut quick) = (stand.lines_of(), stand.lines_of());
        slow.say("sleep");
        // Many fit into the time that the other sleeps; how many is the machine's matter, their order is not.
        for round in 0..200 {
            let text = format!("round {round}");
            assert_eq!(quick.ask(&text), text);
        }
        slow.say("awake");
        assert_eq!((slow.hear(), slow.hear()), ("sleep".to_owned(), "awake".to_owned()));
        assert!(
            stand.heard().iter().all(|line| !line.contains("has kept the worker")),
            "no worker was kept: {:?}",
            stand.heard()
        );
        drop((slow, quick));
        stand.until_resting();
        stand.stop();
    }
    until_unmapped("sleepy");
}

#[test]
fn the_echo_and_the_length_echo_work_on_threads() {
    let _alone = alone();
    for driver in drivers() {
        let stand = Stand::start(driver, &in_c("echo"), "", &on_threads(Framing::None));
        let mut stream = stand.connect();
        let bytes: Vec<u8> = (0..500_000_u32).flat_map(u32::to_be_bytes).collect();
        std::thread::scope(|scope| {
            let mut writer = stream.try_clone().expect("a descriptor");
            let sent = &bytes;
            scope.spawn(move || {
                writer.write_all(sent).expect("it reads");
                writer.shutdown(Shutdown::Write).expect("a half-close");
            });
            let mut found = Vec::new();
            stream.read_to_end(&mut found).expect("a good end");
            assert!(found == bytes, "{} of {} bytes", found.len(), bytes.len());
        });
        stand.until_resting();
        stand.stop();
        let stand = Stand::start(driver, &in_c("length_echo"), "", &on_threads(Framing::Handler));
        let mut stream = stand.connect();
        for size in [0_u32, 1, 64, 70_000, 3] {
            let mut message = size.to_be_bytes().to_vec();
            message.extend((0..size).map(|at| at.to_be_bytes()[3]));
            stream.write_all(&message).expect("it reads");
            let mut answer = vec![0; message.len()];
            stream.read_exact(&mut answer).expect("the answer comes");
            assert!(answer == message, "a message of {size} bytes");
        }
        drop(stream);
        stand.until_resting();
        assert_eq!(stand.counted().faults, 0, "{:?}", stand.heard());
        stand.stop();
    }
    until_unmapped("echo");
    until_unmapped("length_echo");
}

#[test]
fn a_library_on_threads_is_replaced_and_unmapped() {
    let _alone = alone();
    let scratch = Scratch::new("socket-waiting-versions");
    for driver in drivers() {
        let stand = Stand::start(driver, &version(&scratch, 1), "a", &on_threads(Framing::lines()));
        let mut old = stand.lines_of();
        assert_eq!(old.ask("x"), "1 a 1");
        stand.library.replace(&version(&scratch, 2), "b").expect("a good library");
        let mut new = stand.lines_of();
        assert_eq!((new.ask("x"), old.ask("x")), ("2 b 1".to_owned(), "1 a 2".to_owned()));
        drop(old);
        let in_use = || census::libraries().iter().filter(|library| library.name == "versions").count();
        eventually(
            "the old one is unmapped",
            || {
                if in_use() == 1 { Ok(()) } else { Err(census::libraries()) }
            },
        );
        assert_eq!(new.ask("x"), "2 b 2");
        drop(new);
        stand.until_resting();
        stand.stop();
    }
    until_unmapped("versions");
}
