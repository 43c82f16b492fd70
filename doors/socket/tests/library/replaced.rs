//! Libraries replaced under traffic: open connections end where they began, new ones get the new version, old versions are unmapped.

use crate::stand::{Like, LineClient, Stand, alone, build, drivers, is_mapped, until_unmapped};
use ringway_socket::Framing;
use ringway_socket::library::census;
use ringway_testkit::Scratch;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A library that answers each line with its version, the configuration, and how many lines its connection has said.
const SOURCE: &str = r#"
#include "ringway.h"
#include <stdio.h>
#include <stdlib.h>
static const ringway_server *server;
struct instance { char config[32]; };
static int32_t message(void *raw, void *worker, ringway_conn *conn, void **user, ringway_bytes_mut message) {
    struct instance *instance = raw;
    int *count = *user;
    (void)message;
    if (!worker || *(int *)worker != VERSION) return -1;
    char text[64];
    ringway_bytes said = {text, (size_t)snprintf(text, sizeof text, "%d %s %d", VERSION, instance->config, ++*count)};
    return server->conn_send(conn, said) == RINGWAY_OK ? RINGWAY_GO_ON : -2;
}
static int32_t opened(void *instance, void *worker, ringway_conn *conn, void **user) {
    (void)instance, (void)worker, (void)conn;
    return (*user = calloc(1, sizeof(int))) ? RINGWAY_GO_ON : RINGWAY_CLOSE;
}
static void closed(void *instance, void *worker, void *user, int32_t reason) {
    (void)instance, (void)worker, (void)reason;
    free(user);
}
static int32_t datagram(void *raw, void *worker, ringway_peer *peer, void **user, ringway_bytes_mut payload) {
    struct instance *instance = raw;
    (void)worker, (void)payload;
    if (!*user) *user = calloc(1, sizeof(int));
    char text[64];
    ringway_bytes said = {text, (size_t)snprintf(text, sizeof text, "%d %s %d", VERSION, instance->config, ++*(int *)*user)};
    server->peer_send(peer, said);
    return payload.data[0] == 'f' ? RINGWAY_CLOSE : RINGWAY_GO_ON;
}
static void expired(void *instance, void *worker, void *user) {
    (void)instance, (void)worker;
    free(user);
}
static int32_t worker_start(void *instance, void **worker) {
    (void)instance;
    int *state = malloc(sizeof *state);
    if (state) *state = VERSION;
    *worker = state;
    return state ? 0 : -1;
}
static void worker_stop(void *instance, void *worker) { (void)instance; free(worker); }
static int32_t create(const ringway_setup *setup, void **raw) {
    struct instance *instance = calloc(1, sizeof *instance);
    if (setup->config.len) memcpy(instance->config, setup->config.data, setup->config.len);
    if (strcmp(instance->config, "refuse") == 0) { snprintf(setup->error, setup->error_bytes, "as asked"); free(instance); return 1; }
    *raw = instance;
    return 0;
}
static void tick(void *instance, void *worker) { (void)instance, (void)worker; }
static const ringway_connection_handler handler = {.struct_size = sizeof handler, .tick_ms = 1, .worker_start = worker_start,
    .worker_stop = worker_stop, .opened = opened, .message = message, .closed = closed, .tick = tick, .datagram = datagram,
    .expired = expired};
static const ringway_plugin plugin = {.struct_size = sizeof plugin, .abi = RINGWAY_ABI, .name = "versions", .version = "v",
    .create = create, .destroy = free, .connection = &handler};
const ringway_plugin *ringway_plugin_entry(const ringway_server *from) { server = from; return &plugin; }
"#;

pub(crate) fn version(scratch: &Scratch, number: usize) -> PathBuf {
    build(scratch, "versions", &SOURCE.replace("VERSION", &number.to_string()))
}

/// Says something; version, configuration and count of the answer.
fn ask(client: &mut LineClient) -> (usize, String, usize) {
    read(&client.ask("x"))
}

fn read(answer: &str) -> (usize, String, usize) {
    let words: Vec<&str> = answer.split(' ').collect();
    let [version, config, count] = words[..] else { panic!("{answer:?}") };
    (version.parse().expect("a number"), config.to_owned(), count.parse().expect("a number"))
}

#[test]
fn open_connections_stay_with_their_version_and_new_ones_get_the_new_one() {
    let _alone = alone();
    let scratch = Scratch::new("versions");
    for driver in drivers() {
        let like = Like::framed(Framing::lines());
        let stand = Stand::start(driver, &version(&scratch, 1), "a", &like);
        let mut one = stand.lines_of();
        assert_eq!(ask(&mut one), (1, "a".to_owned(), 1));
        stand.library.replace(&version(&scratch, 2), "b").expect("a good one");
        let mut two = stand.lines_of();
        assert_eq!(ask(&mut two), (2, "b".to_owned(), 1));
        assert_eq!(ask(&mut one), (1, "a".to_owned(), 2), "it stays");
        let refused = stand.library.replace(&scratch.path().join("versions.so"), "refuse");
        assert!(refused.expect_err("as asked").to_string().contains("as asked"));
        assert_eq!(ask(&mut stand.lines_of()).0, 2, "everything stays as it was");
        // The same file with another configuration is another instance.
        stand.library.replace(&scratch.path().join("versions.so"), "c").expect("a good one");
        assert_eq!(ask(&mut stand.lines_of()), (2, "c".to_owned(), 1));
        assert_eq!((ask(&mut one).2, ask(&mut two).2), (3, 2));
        drop((one, two));
        stand.until_resting();
        let in_use = || census::libraries().iter().filter(|library| library.name == "versions").count();
        crate::stand::eventually("one version is left", || {
            if in_use() == 1 { Ok(()) } else { Err(census::libraries()) }
        });
        stand.stop();
    }
    until_unmapped("versions");
}

/// Clients come, talk and go until they are told to stop; how many answers they had.
fn traffic(address: SocketAddr, stop: &AtomicBool, newest: &AtomicUsize) -> usize {
    let mut answers = 0;
    while !stop.load(Ordering::Relaxed) {
        let least = newest.load(Ordering::SeqCst);
        let mut client = LineClient::to(address);
        let (own, _, count) = ask(&mut client);
        assert!(own >= least && count == 1, "version {own} after {least} was there, count {count}");
        for round in 2..20 {
            let (again, _, count) = ask(&mut client);
            assert_eq!((again, count), (own, round), "a connection stays with its version");
        }
        answers += 19;
    }
    answers
}

#[test]
fn a_library_is_replaced_many_times_under_traffic_and_every_old_one_is_unmapped() {
    const TIMES: usize = 100;
    let _alone = alone();
    let scratch = Scratch::new("replaced");
    for driver in drivers() {
        let before = census::totals();
        let like = Like { workers: 2, ..Like::framed(Framing::lines()) };
        let stand = Stand::start(driver, &version(&scratch, 0), "a", &like);
        let address = stand.address();
        let (stop, newest) = (AtomicBool::new(false), AtomicUsize::new(0));
        // Two builds, used in turn, of which each is loaded anew each time.
        let builds =
            [version(&scratch, 1), version(&scratch, 2)].map(|path| std::fs::read(path).expect("built"));
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..4).map(|_| scope.spawn(|| traffic(address, &stop, &newest))).collect();
            for round in 0..TIMES {
                let fresh = scratch.file("versions.fresh", &builds[round.min(1)]);
                let path = scratch.path().join("versions.so");
                std::fs::rename(fresh, &path).expect("the same directory");
                stand.library.replace(&path, "a").expect("a good one");
                newest.store(round.min(1) + 1, Ordering::SeqCst);
            }
            stop.store(true, Ordering::Relaxed);
            let answers: usize =
                clients.into_iter().map(|client| client.join().expect("no client lost")).sum();
            assert!(answers > 0);
            eprintln!("{driver:?}: {answers} answers while {TIMES} versions came");
        });
        stand.until_resting();
        let counted = stand.counted();
        assert_eq!((counted.faults, counted.errors, counted.panics), (0, 0, 0), "{:?}", stand.heard());
        assert!(census::wait(crate::stand::PATIENCE, |now| now.unmapped - before.unmapped >= TIMES as u64));
        let maps = std::fs::read_to_string("/proc/self/maps").expect("this process");
        let mut there: Vec<&str> =
            maps.lines().filter_map(|line| line.split("ringway-versions-").nth(1)).collect();
        there.dedup();
        assert_eq!(there.len(), 1, "the last one alone: {there:?}");
        stand.stop();
        until_unmapped("versions");
        let after = census::totals();
        assert_eq!(after.lingering, before.lingering);
        assert_eq!(after.loaded - before.loaded, after.unmapped - before.unmapped);
    }
    assert!(!is_mapped("versions"));
}

#[test]
fn datagrams_go_over_to_the_new_version_with_nothing_left_behind() {
    let _alone = alone();
    let scratch = Scratch::new("datagrams");
    for driver in drivers() {
        for peers_max in [0, 100] {
            let like = Like { peers_max, ..Like::default() };
            let stand = Stand::datagrams(driver, &version(&scratch, 1), "a", &like);
            let socket = stand.socket();
            let say = |what: &[u8]| {
                socket.send(what).expect("loopback");
                let mut room = [0; 100];
                let came = socket.recv(&mut room).expect("an answer");
                read(str::from_utf8(&room[..came]).expect("a text"))
            };
            let second = if peers_max > 0 { 2 } else { 1 };
            assert_eq!((say(b"x").2, say(b"x").2), (1, second), "a peer is known where peers are");
            assert_eq!((say(b"f").2, say(b"x").2), (if peers_max > 0 { 3 } else { 1 }, 1), "and forgotten");
            stand.library.replace(&version(&scratch, 2), "b").expect("a good one");
            assert_eq!(say(b"x"), (2, "b".to_owned(), 1));
            let in_use = || census::libraries().iter().filter(|library| library.name == "versions").count();
            crate::stand::eventually("one version is left", || {
                if in_use() == 1 { Ok(()) } else { Err(census::libraries()) }
            });
            stand.stop();
        }
    }
    until_unmapped("versions");
}
