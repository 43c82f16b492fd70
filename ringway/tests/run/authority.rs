//! Certificates from an authority, Pebble: had by a confined server process, by either proof, shown, kept, and still there after a
//! new start.

use crate::stand::{Running, Stand, eventually, on_both_drivers};
use ringway_testkit::{Pebble, free_port};
use std::process::{Command, Stdio};
use std::time::SystemTime;

#[test]
fn certificates_are_had_and_kept_by_confined_servers() {
    on_both_drivers(|driver| {
        for challenge in ["http-01", "tls-alpn-01"] {
            had_and_kept(driver, challenge);
        }
    });
}

fn had_and_kept(driver: &str, challenge: &str) {
    let mut stand = Stand::new(&format!("run-acme-{driver}-{challenge}"), driver);
    let own = ringway_tls::self_signed(&[], SystemTime::now()).unwrap();
    stand.file("cert.pem", &own.chain.bytes);
    stand.file("key.pem", &own.key.bytes);
    let (plain, secure) = (free_port(), free_port());
    let pebble = Pebble::start(plain, secure, &stand.at(""));
    stand.listen = format!("127.0.0.1:{plain}");
    stand.more = format!(
        "[[endpoint]]\nname = \"secure\"\nlisten = [\"127.0.0.1:{secure}\"]\ntls = true\n\
         [acme]\ndirectory = \"{}\"\nemail = \"operator@example.org\"\nagree = true\nchallenges = [\"{challenge}\"]\n\
         storage = \"kept\"\nca = \"cert.pem\"\n\
         [[certificate]]\nacme = true\nnames = [\"www.example\"]\n",
        pebble.directory()
    );
    stand.write();
    let running = stand.start();
    eventually("a certificate of the authority is shown", || is_issued(secure).then_some(()));
    assert_eq!(running.get("/").body, b"one");
    running.stop();
    drop(pebble);
    // The authority is gone; what was kept is shown from the first moment.
    let again: Running = stand.start();
    assert!(is_issued(secure));
    again.stop();
}

/// Whether what is shown on the port was issued by Pebble.
fn is_issued(port: u16) -> bool {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &format!("127.0.0.1:{port}"), "-servername", "www.example"]);
    let output = command.stdin(Stdio::null()).output().expect("openssl can be started");
    String::from_utf8_lossy(&output.stdout).contains("issuer=CN = Pebble")
}
