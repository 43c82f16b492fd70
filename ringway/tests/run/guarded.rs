//! What guards a site, while the server process is confined: users who change, rules, compressed files, logs that rotate.

use crate::stand::{Stand, binary, eventually, on_both_drivers};
use ringway_testkit::{Answer, Client};
use rustix::process::Signal;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

const SITE: &str = r#"
[site.auth]
kind = "basic"
users_file = "access/users"

[site.compression]
enabled = true
codings = ["gzip"]

[[site.rule]]
action = "hide"
paths = ["/private/**"]

[site.access_log]
format = "json"
path = "logs/access.log"
rotate_size = "64 KiB"
rotate_keep = 3
"#;

/// `alice:one` and `alice:two`.
const ONE: &str = "YWxpY2U6b25l";
const TWO: &str = "YWxpY2U6dHdv";

fn passwd(stand: &Stand, password: &str) {
    let mut command = Command::new(binary());
    command.arg("passwd").arg(stand.at("access/users")).arg("alice");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(password.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

fn ask(client: &mut Client, target: &str, credentials: &str, fields: &str) -> Answer {
    let lines = format!("Host: test\r\nAuthorization: Basic {credentials}\r\n{fields}");
    client.send(format!("GET {target} HTTP/1.1\r\n{lines}\r\n").as_bytes()).unwrap();
    client.answer(false).unwrap()
}

#[test]
fn users_rules_compression_and_logs_work_in_confinement() {
    on_both_drivers(|driver| {
        let mut stand = Stand::new(&format!("run-guarded-{driver}"), driver);
        stand.more = SITE.to_owned();
        stand.write();
        ["access", "logs"].iter().for_each(|folder| std::fs::create_dir(stand.at(folder)).unwrap());
        stand.file("site/style.css", &b"body { color: black }\n".repeat(1000));
        let style = std::fs::File::options().write(true).open(stand.at("site/style.css")).unwrap();
        style.set_modified(SystemTime::now() - Duration::from_secs(100)).unwrap();
        passwd(&stand, "one");
        let running = stand.start();

        assert_eq!(running.get("/").status, 401);
        let mut client = Client::connect(running.address()).unwrap();
        assert_eq!(ask(&mut client, "/", ONE, "").status, 200);
        assert_eq!(ask(&mut client, "/", TWO, "").status, 401);
        assert_eq!(ask(&mut client, "/private/x", ONE, "").status, 404);
        let coded = ask(&mut client, "/style.css", ONE, "Accept-Encoding: gzip\r\n");
        assert_eq!((coded.status, coded.field("Content-Encoding")), (200, Some("gzip")));

        // The file of users is another one now, and the old password no longer good.
        passwd(&stand, "two");
        assert_eq!(ask(&mut client, "/", TWO, "").status, 200);
        let mut other = Client::connect(running.address()).unwrap();
        eventually("the old password is forgotten", || {
            (ask(&mut other, "/", ONE, "").status == 401).then_some(())
        });

        // Lines of more than a kilobyte, until the file was put aside.
        let agent = format!("User-Agent: {}\r\n", "a".repeat(1000));
        eventually("the log is put aside", || {
            assert_eq!(ask(&mut client, "/", TWO, &agent).status, 200);
            stand.at("logs/access.log.1").exists().then_some(())
        });
        std::fs::rename(stand.at("logs/access.log"), stand.at("logs/moved")).unwrap();
        running.signal(Signal::USR1);
        eventually("the log is opened anew", || {
            assert_eq!(ask(&mut client, "/", TWO, "").status, 200);
            std::fs::read(stand.at("logs/access.log")).is_ok_and(|lines| !lines.is_empty()).then_some(())
        });
        running.stop();
        let log = std::fs::read_to_string(stand.at("logs/access.log.1")).unwrap();
        assert!(log.contains("\"user\":\"alice\"") && log.contains("\"rule\":\"1\""), "{log}");
    });
}
