//! What cannot be done is refused with one sentence and exit code 2.

use crate::stand::{Server, run};

/// Asserts that a command is refused with one line that says `part`.
fn refused(arguments: &[&str], part: &str) {
    let output = run(arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
    assert!(output.stdout.is_empty(), "{arguments:?} prints {}", String::from_utf8_lossy(&output.stdout));
    assert!(stderr.starts_with("ringway-lab: ") && stderr.lines().count() == 1, "{arguments:?}: {stderr:?}");
    assert!(stderr.contains(part), "{arguments:?} does not say {part:?} but {stderr:?}");
}

#[test]
fn bad_flags_of_clients() {
    let load = |flags: &[&str], part: &str| {
        refused(&[&["echo", "load", "127.0.0.1:9", "--quiet"], flags].concat(), part);
    };
    load(&["--connections", "0"], "1..=60000");
    load(&["--connections", "60001"], "1..=60000");
    load(&["--message-bytes", "0"], "a message has 1 to 1048576 bytes");
    load(&["--message-bytes", "10-5"], "a message has 1 to 1048576 bytes");
    load(&["--window", "1025"], "1..=1024");
    load(&["--pause-ms", "5-"], "a pause takes 0 to 3600000 ms");
    load(&["--disconnect-per-mille", "1001"], "0..=1000");
    load(&["--messages", "5", "--seconds", "5"], "cannot be used with");
    load(&["--core", "4000"], "there is no core 4000");
    refused(&["echo", "load", "localhost"], "invalid value 'localhost'");
    refused(&["echo", "load"], "ADDRESS");
}

#[test]
fn bad_flags_of_servers() {
    refused(&["echo", "serve", "iocp"], "invalid value 'iocp'");
    refused(&["echo", "serve", "epoll", "--wait", "sometimes"], "no wait mode");
    refused(&["echo", "serve", "plain-epoll", "--wait", "polled"], "plain-epoll has no engine");
    refused(&["echo", "serve", "plain-blocking", "--framing", "length"], "cannot take messages apart");
    refused(&["echo", "serve", "plain-epoll", "--udp"], "plain-epoll does not serve datagrams");
    refused(&["echo", "serve", "plain-blocking", "--udp", "--port", "always"], "it has no port");
    refused(&["echo", "serve", "epoll", "--port", "always"], "--udp");
    refused(&["echo", "pingpong", "--message-bytes", "64-4096"], "at most 2048 bytes");
    refused(&["ceiling", "serve", "epoll", "--body-bytes", "67108865"], "a body has 0 to 67108864 bytes");
    refused(&["ceiling", "serve", "epoll", "--echo", "--close"], "cannot be used with");
    refused(&["ceiling", "--connections", "0"], "1..=10000");
    refused(&["ceiling", "--kinds", "none"], "invalid value 'none'");
    refused(&["echo", "pingpong", "--connections", "17"], "1..=16");
    refused(&["echo"], "an instrument is needed");
}

#[test]
fn an_address_that_is_taken() {
    let server = Server::start(&["echo", "serve", "epoll"]);
    let address = server.address.to_string();
    for kind in ["epoll", "plain-epoll"] {
        refused(&["echo", "serve", kind, "--address", &address], &format!("cannot listen on {address}"));
    }
}
