//! TLS: keys that only the supervisor reads, certificates that are replaced, sessions that outlive server processes.

use crate::stand::{Stand, on_both_drivers};
use ringway::tls::self_signed;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::SystemTime;

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// What `openssl s_client` says to the end of the connection.
fn openssl(address: SocketAddr, arguments: &[&str]) -> String {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &address.to_string(), "-ign_eof"]).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("openssl is needed for this test");
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(REQUEST.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    drop(stdin);
    crate::stand::text(&[output.stdout, output.stderr].concat())
}

/// The certificate that the server shows, in PEM.
fn shown(said: &str) -> &str {
    let begin = said.find("-----BEGIN CERTIFICATE-----").unwrap_or_else(|| panic!("no certificate: {said}"));
    &said[begin..said.find("-----END CERTIFICATE-----").unwrap()]
}

fn write_certificate(stand: &Stand, name: &str) {
    let made = self_signed(&[name.to_owned()], SystemTime::now()).unwrap();
    stand.file("key.pem", &made.key.bytes);
    // Not even root can read it without its power: the server process has none.
    std::fs::set_permissions(stand.at("key.pem"), std::fs::Permissions::from_mode(0o000)).unwrap();
    stand.file("cert.pem", &made.chain.bytes);
}

fn encrypted(name: &str, driver: &str) -> Stand {
    let mut stand = Stand::new(name, driver);
    write_certificate(&stand, "one.example");
    stand.endpoint = "tls = true".to_owned();
    stand.more = "[[certificate]]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n".to_owned();
    stand.write();
    stand
}

#[test]
fn a_confined_server_process_speaks_tls_with_keys_it_cannot_read() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("SKIPPED: only root reads what nobody may");
    }
    on_both_drivers(|driver| {
        let stand = encrypted(&format!("run-tls-{driver}"), driver);
        let running = stand.start();
        for version in ["-tls1_3", "-tls1_2"] {
            let said = openssl(running.address(), &[version]);
            assert!(said.contains("one") && said.contains("200 OK"), "{said}");
        }
        running.stop();
    });
}

#[test]
fn sessions_are_resumed_by_the_next_server_process() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("SKIPPED: only root reads what nobody may");
    }
    on_both_drivers(|driver| {
        let mut stand = encrypted(&format!("run-tickets-{driver}"), driver);
        let running = stand.start();
        let file = stand.at("session");
        let file = file.to_str().unwrap();
        let new = openssl(running.address(), &["-tls1_3", "-sess_out", file]);
        assert!(new.contains("New, TLS"), "{new}");
        stand.server += "pool_threads = 3\n";
        stand.write();
        assert!(stand.reload().contains("server process 2"));
        let again = openssl(running.address(), &["-tls1_3", "-sess_in", file]);
        assert!(again.contains("Reused, TLS"), "{again}");
        assert!(stand.upgrade().contains("server process 3"));
        let again = openssl(running.address(), &["-tls1_3", "-sess_in", file]);
        assert!(again.contains("Reused, TLS"), "{again}");
        running.stop();
    });
}

#[test]
fn a_certificate_that_was_replaced_is_shown_without_being_asked() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("SKIPPED: only root reads what nobody may");
    }
    let stand = encrypted("run-renewed", "auto");
    let mut running = stand.start();
    let before = openssl(running.address(), &[]);
    write_certificate(&stand, "two.example");
    running.wait_to_say("Reloaded");
    let after = openssl(running.address(), &[]);
    assert_ne!(shown(&before), shown(&after));
    let servers = running.servers();
    assert_eq!(servers.len(), 1, "the same server process");
    // What is broken is not taken, and does not matter to those who are served.
    stand.file("cert.pem", b"nothing of the kind");
    running.wait_to_say("not reloaded");
    assert_eq!(shown(&openssl(running.address(), &[])), shown(&after));
    running.stop();
}
