//! Connections that libraries have made, maintained ones among them, and messages to all connections.

use crate::stand::{Like, PATIENCE, Stand, alone, build, drivers, eventually, until_unmapped};
use crate::tls;
use ringway_socket::Framing;
use ringway_socket::library::census;
use ringway_testkit::Scratch;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;

/// A library that keeps a connection to the place in its configuration, says its version there, and tells all connections
/// what one of them says.
const SOURCE: &str = r#"
#include "ringway.h"
#include <stdlib.h>
static const ringway_server *server;
struct instance { ringway_service service; size_t len; char target[64]; };
static int32_t worker_start(void *raw, void **worker) {
    struct instance *instance = raw;
    ringway_bytes target = {instance->target, instance->len};
    *worker = NULL;
    return server->connect(instance->service, target, RINGWAY_CONNECT_MAINTAIN, &server);
}
static int32_t opened(void *raw, void *worker, ringway_conn *conn, void **user) {
    (void)raw, (void)worker;
    if (!(server->conn_flags(conn) & RINGWAY_CONN_OUTBOUND)) return *user ? -1 : RINGWAY_GO_ON;
    if (*user != (void *)&server) return -2;
    return server->conn_send(conn, ringway_text("hello VERSION"));
}
static int32_t message(void *raw, void *worker, ringway_conn *conn, void **user, ringway_bytes_mut message) {
    (void)worker, (void)conn, (void)user;
    struct instance *instance = raw;
    ringway_bytes all = {message.data, message.len};
    return server->broadcast(instance->service, RINGWAY_BINARY, all);
}
static int32_t create(const ringway_setup *setup, void **raw) {
    struct instance *instance = calloc(1, sizeof *instance);
    instance->service = setup->service;
    memcpy(instance->target, setup->config.data, instance->len = setup->config.len);
    *raw = instance;
    return 0;
}
static const ringway_connection_handler handler = {.struct_size = sizeof handler, .flags = RINGWAY_BROADCAST,
    .worker_start = worker_start, .opened = opened, .message = message};
static const ringway_plugin plugin = {.struct_size = sizeof plugin, .abi = RINGWAY_ABI, .name = "outward", .version = "1",
    .create = create, .destroy = free, .connection = &handler};
const ringway_plugin *ringway_plugin_entry(const ringway_server *from) { server = from; return &plugin; }
"#;

/// A library that asks over TLS, if it has a place to ask at, and answers with what TLS has agreed on.
const SESSIONS: &str = r#"
#include "ringway.h"
#include <stdio.h>
static const ringway_server *server;
static ringway_service service;
static int32_t worker_start(void *instance, void **worker) {
    const ringway_bytes *target = instance;
    *worker = NULL;
    return target->len ? server->connect(service, *target, RINGWAY_CONNECT_TLS, NULL) : 0;
}
static int32_t opened(void *instance, void *worker, ringway_conn *conn, void **user) {
    (void)instance, (void)worker, (void)user;
    return server->conn_flags(conn) & RINGWAY_CONN_OUTBOUND ? server->conn_send(conn, ringway_text("who")) : RINGWAY_GO_ON;
}
static int32_t message(void *instance, void *worker, ringway_conn *conn, void **user, ringway_bytes_mut message) {
    (void)instance, (void)worker, (void)user;
    ringway_bytes all = {message.data, message.len}, version = server->conn_session(conn, RINGWAY_SESSION_VERSION);
    ringway_bytes name = server->conn_session(conn, RINGWAY_SESSION_SERVER_NAME);
    if (server->conn_flags(conn) & RINGWAY_CONN_OUTBOUND) return server->log(service, RINGWAY_LOG_INFO, all), RINGWAY_CLOSE;
    char text[128];
    ringway_bytes said = {text, (size_t)snprintf(text, sizeof text, "%.*s %.*s %u", (int)version.len, version.data, (int)name.len,
                                                 name.data ? name.data : "", server->conn_flags(conn))};
    return server->conn_send(conn, said);
}
static int32_t create(const ringway_setup *setup, void **instance) {
    static char target[64];
    static ringway_bytes kept;
    service = setup->service;
    memcpy(target, setup->config.data, setup->config.len);
    kept.data = target, kept.len = setup->config.len;
    *instance = &kept;
    return 0;
}
static const ringway_connection_handler handler = {.struct_size = sizeof handler, .worker_start = worker_start,
    .opened = opened, .message = message};
static const ringway_plugin plugin = {.struct_size = sizeof plugin, .abi = RINGWAY_ABI, .name = "sessions", .version = "1",
    .create = create, .connection = &handler};
const ringway_plugin *ringway_plugin_entry(const ringway_server *from) { server = from; return &plugin; }
"#;

#[test]
fn libraries_speak_tls_both_ways_and_know_what_was_agreed_on() {
    let _alone = alone();
    let scratch = Scratch::new("sessions");
    let path = build(&scratch, "sessions", SESSIONS);
    for driver in drivers() {
        let (filter, client_tls) = tls::pair(tls::NAME);
        let asked = Like { tls: Some(filter), ..Like::framed(Framing::lines()) };
        let asked = Stand::start(driver, &path, "", &asked);
        let asks = Like { client_tls: Some(client_tls), ..Like::framed(Framing::lines()) };
        let asks = Stand::start(driver, &path, &asked.address().to_string(), &asks);
        asks.until_heard("TLSv1.3 localhost 1");
        asked.until_resting();
        asks.stop();
        asked.stop();
    }
    until_unmapped("sessions");
}

fn version(scratch: &Scratch, number: u32) -> PathBuf {
    build(scratch, "outward", &SOURCE.replace("VERSION", &number.to_string()))
}

/// The next connection that comes, within bounds.
fn accept(listener: &TcpListener) -> BufReader<TcpStream> {
    listener.set_nonblocking(true).expect("an option");
    let stream = eventually("a connection comes", || match listener.accept() {
        Ok((stream, _)) => Ok(stream),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Err("none"),
        Err(error) => panic!("{error}"),
    });
    stream.set_nonblocking(false).expect("an option");
    stream.set_read_timeout(Some(PATIENCE)).expect("an option");
    BufReader::new(stream)
}

fn line(stream: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    stream.read_line(&mut line).expect("a line");
    line.trim_end().to_owned()
}

#[test]
fn what_is_maintained_comes_again_until_another_version_has_its_own() {
    let _alone = alone();
    let scratch = Scratch::new("outward");
    for driver in drivers() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let target = listener.local_addr().expect("bound").to_string();
        let like = Like::framed(Framing::lines());
        let stand = Stand::start(driver, &version(&scratch, 1), &target, &like);
        let mut first = accept(&listener);
        assert_eq!(line(&mut first), "hello 1");
        drop(first);
        let mut again = accept(&listener);
        assert_eq!(line(&mut again), "hello 1", "it is made anew");
        // What one connection says all hear, the one outward too.
        let (mut one, mut two) = (stand.lines_of(), stand.lines_of());
        assert_eq!(one.ask("to all"), "to all");
        assert_eq!((two.hear().as_str(), line(&mut again).as_str()), ("to all", "to all"));
        assert_eq!(two.ask("again"), "again");
        drop((one, two));
        stand.library.replace(&version(&scratch, 2), &target).expect("a good one");
        let mut newer = accept(&listener);
        assert_eq!(line(&mut newer), "hello 2");
        let mut rest = Vec::new();
        again.read_to_end(&mut rest).expect("the old version's connection ends");
        drop(again);
        let in_use = || census::libraries().iter().filter(|library| library.name == "outward").count();
        eventually("the old version goes", || if in_use() == 1 { Ok(()) } else { Err(census::libraries()) });
        drop(listener);
        drop(newer);
        stand.stop();
    }
    until_unmapped("outward");
}
