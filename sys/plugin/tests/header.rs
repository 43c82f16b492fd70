//! The header and the Rust types are one interface: a C compiler says how large and where everything is.

use ringway_plugin::abi::{self, closed, code, conn, flag, said, session};
use ringway_testkit::Scratch;
use std::fmt::Write as _;
use std::mem::offset_of;
use std::path::Path;
use std::process::Command;

/// Sizes and offsets, as Rust has them: the C name of each, and its number.
macro_rules! layout {
    ($lines:ident, $($c:literal = $rust:ty { $($member:ident),* $(,)? })*) => {$(
        $lines.push((format!("sizeof({})", $c), size_of::<$rust>()));
        $($lines.push((
            format!("offsetof({}, {})", $c, stringify!($member)),
            offset_of!($rust, $member),
        ));)*
    )*};
}

fn expected() -> Vec<(String, usize)> {
    let mut lines = Vec::new();
    layout! { lines,
        "ringway_bytes" = abi::Bytes { data, len }
        "ringway_bytes_mut" = abi::BytesMut { data, len }
        "ringway_key" = abi::Key { words }
        "ringway_field" = abi::Field { name, value }
        "ringway_answer" = abi::Answer { struct_size, status, fields, fields_len, body, length }
        "ringway_server" = abi::Server {
            struct_size, abi, version, log, method, target, path, query, field, field_at, peer, user, flags, route, param,
            query_value, form_value, body, answer, later, answer_later, begin, write, end, abort, wait, resume_body, open_socket, socket_send,
            socket_close, socket_join, socket_leave, group_send, conn_send, conn_send_as, conn_send_in_place, conn_send_raw, conn_send_file, conn_when_sent,
            conn_shut, conn_close, conn_abort, conn_pause, conn_resume, conn_set_timeout, conn_queued, conn_flags, conn_kind,
            conn_peer, conn_session, conn_key, conn_join, conn_leave, post_send, post_shut, post_close, post_nudge, broadcast, connect,
            peer_address, peer_send, peer_send_to,
            add_field, remove_field, set_user, answer_status, answer_field, pass_later, filter_up, filter_down, filter_peer,
            filter_flags, cookie, set_cookie, session_value, session_set, session_user, session_log_in, session_log_out,
            answer_file,
        }
        "ringway_setup" = abi::Setup { struct_size, kind, service, name, config, error, error_bytes }
        "ringway_route" = abi::Route { method, pattern, number, reserved }
        "ringway_request_handler" = abi::RequestHandler {
            struct_size, flags, body_bytes_max, routes, routes_len, worker_start, worker_stop, request, body, writable, over,
            socket,
        }
        "ringway_socket_handler" = abi::SocketHandler { struct_size, message_bytes_max, opened, message, closed }
        "ringway_connection_handler" = abi::ConnectionHandler {
            struct_size, flags, tick_ms, reserved, message_bytes_max, worker_start, worker_stop, opened, message, ended, written,
            timeout, nudged, draining, urgent, closed, tick, measure, datagram, expired,
        }
        "ringway_served" = abi::Served {
            struct_size, status, body_bytes, duration_us, method, target, peer, user, site,
        }
        "ringway_stage_hook" = abi::StageHook {
            struct_size, flags, worker_start, worker_stop, accepted, request, answer, over, served, closed,
        }
        "ringway_stream_filter" = abi::StreamFilter {
            struct_size, flags, worker_start, worker_stop, accept, read, write, writev, send_file, ended, finish, interest, close,
        }
        "ringway_plugin" = abi::Plugin {
            struct_size, abi, name, version, create, destroy, health, connection, request, stage, filter,
        }
    }
    lines
}

/// Numbers that both sides write down.
fn constants() -> Vec<(&'static str, i64)> {
    let mut constants = vec![
        ("RINGWAY_ABI", abi::ABI.into()),
        ("RINGWAY_DONE", said::DONE.into()),
        ("RINGWAY_LATER", said::LATER.into()),
        ("RINGWAY_PASS", said::PASS.into()),
        ("RINGWAY_REFUSE", said::REFUSE.into()),
        ("RINGWAY_WANTS_READ", abi::filter::WANTS_READ.into()),
        ("RINGWAY_WANTS_WRITE", abi::filter::WANTS_WRITE.into()),
        ("RINGWAY_FILTER_TLS", abi::filter::TLS.into()),
        ("RINGWAY_MORE", said::MORE.into()),
        ("RINGWAY_PAUSE", said::PAUSE.into()),
        ("RINGWAY_STOP", said::STOP.into()),
        ("RINGWAY_BODY_PIECES", flag::BODY_PIECES.into()),
        ("RINGWAY_NEEDS_CLIENT", flag::NEEDS_CLIENT.into()),
        ("RINGWAY_SESSIONS", flag::SESSIONS.into()),
        ("RINGWAY_COOKIE_PLAIN", flag::COOKIE_PLAIN.into()),
        ("RINGWAY_COOKIE_SCRIPTS", flag::COOKIE_SCRIPTS.into()),
        ("RINGWAY_COOKIE_STRICT", flag::COOKIE_STRICT.into()),
        ("RINGWAY_BROADCAST", flag::BROADCAST.into()),
        ("RINGWAY_REQUEST_TLS", flag::REQUEST_TLS.into()),
        ("RINGWAY_REQUEST_HAS_BODY", flag::REQUEST_HAS_BODY.into()),
        ("RINGWAY_TEXT", abi::message::TEXT.into()),
        ("RINGWAY_BINARY", abi::message::BINARY.into()),
        ("RINGWAY_LENGTH_UNKNOWN", abi::LENGTH_UNKNOWN.cast_signed()),
    ];
    constants.extend(of_connections());
    let codes = [
        ("RINGWAY_OK", code::OK),
        ("RINGWAY_E_GONE", code::GONE),
        ("RINGWAY_E_STATE", code::STATE),
        ("RINGWAY_E_INVALID", code::INVALID),
        ("RINGWAY_E_LIMIT", code::LIMIT),
        ("RINGWAY_E_FULL", code::FULL),
        ("RINGWAY_E_THREAD", code::THREAD),
        ("RINGWAY_E_TIME", code::TIME),
        ("RINGWAY_E_SERVER", code::SERVER),
    ];
    constants.extend(codes.map(|(name, code)| (name, code.into())));
    let kinds = ["CONNECTION", "REQUEST", "STAGE", "FILTER"];
    for (kind, name) in abi::Kind::ALL.into_iter().zip(kinds) {
        constants.push((Box::leak(format!("RINGWAY_KIND_{name}").into_boxed_str()), kind as i64));
    }
    constants
}

fn of_connections() -> [(&'static str, i64); 21] {
    [
        ("RINGWAY_GO_ON", said::GO_ON.into()),
        ("RINGWAY_CLOSE", said::CLOSE.into()),
        ("RINGWAY_NEED_MORE", said::NEED_MORE),
        ("RINGWAY_WRONG", said::WRONG),
        ("RINGWAY_CLOSED_PEER", closed::PEER.into()),
        ("RINGWAY_CLOSED_HANDLER", closed::HANDLER.into()),
        ("RINGWAY_CLOSED_BROKEN", closed::BROKEN.into()),
        ("RINGWAY_CLOSED_TIME", closed::TIME.into()),
        ("RINGWAY_CLOSED_LIMIT", closed::LIMIT.into()),
        ("RINGWAY_CLOSED_SERVER", closed::SERVER.into()),
        ("RINGWAY_CLOSED_FAULT", closed::FAULT.into()),
        ("RINGWAY_CLOSED_UNREACHABLE", closed::UNREACHABLE.into()),
        ("RINGWAY_CONN_TLS", conn::TLS.into()),
        ("RINGWAY_CONN_OUTBOUND", conn::OUTBOUND.into()),
        ("RINGWAY_CONN_ENDED", conn::ENDED.into()),
        ("RINGWAY_CONNECT_MAINTAIN", conn::CONNECT_MAINTAIN.into()),
        ("RINGWAY_CONNECT_TLS", conn::CONNECT_TLS.into()),
        ("RINGWAY_SESSION_VERSION", session::VERSION.into()),
        ("RINGWAY_SESSION_SERVER_NAME", session::SERVER_NAME.into()),
        ("RINGWAY_SESSION_PROTOCOL", session::PROTOCOL.into()),
        ("RINGWAY_SESSION_CLIENT", session::CLIENT.into()),
    ]
}

fn header() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/include"))
}

#[test]
fn a_c_compiler_reads_the_header_as_rust_reads_the_types() {
    let mut program = "#include \"ringway.h\"\n#include <stdio.h>\nint main(void) {\n".to_owned();
    for (what, _) in expected() {
        writeln!(program, "printf(\"{what} %zu\\n\", {what});").expect("memory");
    }
    for (name, _) in constants() {
        writeln!(program, "printf(\"{name} %lld\\n\", (long long){name});").expect("memory");
    }
    program.push_str("return 0; }\n");
    let scratch = Scratch::new("header");
    let (source, binary) = (scratch.file("layout.c", program.as_bytes()), scratch.path().join("layout"));
    let include = format!("-I{}", header().display());
    let strict = ["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Wno-overlength-strings", "-Werror"];
    let built = Command::new("cc").args(strict).arg(include).arg(&source).arg("-o").arg(&binary).status();
    assert!(built.expect("a C compiler").success());
    let output = Command::new(&binary).output().expect("it runs");
    let mut found = String::from_utf8(output.stdout).expect("ASCII");
    let mut wanted = String::new();
    for (what, number) in expected() {
        writeln!(wanted, "{what} {number}").expect("memory");
    }
    for (name, number) in constants() {
        writeln!(wanted, "{name} {number}").expect("memory");
    }
    // Line by line, so that a difference is read at once.
    found.push_str("end\n");
    wanted.push_str("end\n");
    for (found, wanted) in found.lines().zip(wanted.lines()) {
        assert_eq!(found, wanted);
    }
}

#[test]
fn the_header_is_one_for_cpp_too_and_names_every_member() {
    let text = std::fs::read_to_string(header().join("ringway.h")).expect("it is committed");
    for (what, _) in expected() {
        let name = what.trim_start_matches("offsetof(").trim_start_matches("sizeof(").trim_end_matches(')');
        for word in name.split(", ") {
            assert!(text.contains(word), "{word}");
        }
    }
    assert!(text.contains("extern \"C\""));
    assert!(text.lines().all(|line| line.len() <= 132 && !line.ends_with(' ')));
}

/// A service that uses everything of the pleasant header once.
const SERVICE: &str = r#"
#include "ringway_service.h"
static void all(ringway_call *call) {
    ringway_sayf(call, "%s%s%s%s", ringway_param(call, "a"), ringway_path(call), ringway_peer_of(call), ringway_head(call, "b"));
    ringway_pass(call);
}
static void setup(ringway_app *app) {
    ringway_body_max(app, 1);
    ringway_on(app, NULL, "/{a}", all);
}
RINGWAY_SERVICE("all", "1.0", setup)
"#;

#[test]
fn the_pleasant_header_is_strict_c_and_cpp() {
    let scratch = Scratch::new("service-header");
    let object = scratch.path().join("service.o");
    let include = format!("-I{}", header().display());
    let strict = ["-Wall", "-Wextra", "-Wpedantic", "-Wno-overlength-strings", "-Werror", "-c"];
    for (compiler, standard, name) in [("cc", "-std=c11", "service.c"), ("c++", "-std=c++17", "service.cpp")]
    {
        let source = scratch.file(name, SERVICE.as_bytes());
        let mut command = Command::new(compiler);
        let built =
            command.arg(standard).args(strict).arg(&include).arg(source).arg("-o").arg(&object).status();
        assert!(built.expect("a compiler").success(), "{compiler}");
    }
    let text = std::fs::read_to_string(header().join("ringway_service.h")).expect("it is committed");
    assert!(text.lines().all(|line| line.len() <= 132 && !line.ends_with(' ')));
}
