//! A program in one process.

use crate::stand::{ask, drivers, echoes, eventually, get, on, program, said, socket, start, text};
use ringway_testkit::{Client, Program, Scratch};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Duration;

pub(crate) fn a_program_serves_in_one_process() {
    for driver in drivers() {
        let scratch = Scratch::new("services-alone");
        let folder = scratch.path();
        let arguments = [
            "--port",
            "0",
            "--driver",
            driver,
            "--workers",
            "1",
            "--set",
            "hello.greeting=Servus",
            "--set",
            "hello.times_max=2",
            "--stats",
            "--console",
            "console.sock",
            "--log-file",
            "access.log",
        ];
        let running = start(folder, &arguments);
        let address = running.address();
        assert!(running.said().contains("Serving hello, echo below /echo"), "{}", running.said());
        assert_eq!(said(address, "/greet/Ann?times=7"), (200, "Servus, Ann!\nServus, Ann!\n".to_owned()));
        let (status, body) = said(address, "/greet/Ann?times=x");
        assert!(status == 400 && body.contains("times"), "{status} {body}");
        assert_eq!(said(address, "/panic").0, 500);
        assert_eq!(said(address, "/nothing").0, 404);
        assert_eq!(said(address, "/keep"), (200, "kept false".to_owned()), "nothing confines it");
        std::fs::remove_file(std::env::temp_dir().join("ringway-services-elsewhere"))
            .expect("it was written");
        assert_eq!(std::fs::read(folder.join("data/hello/kept")).expect("it is there"), b"kept");
        let mut open = socket(address);
        assert!(echoes(&mut open));
        let listed = text(&ask(folder, &["console", "-s", "console.sock", "services"]).stdout);
        assert!(listed.contains("echo") && listed.contains("*/echo/**"), "{listed}");
        drop(open);
        let mut kept = Client::connect(address).expect("it listens");
        assert_eq!(on(&mut kept, "/greet/Bo").status, 200);
        let logged = || std::fs::read_to_string(folder.join("access.log")).unwrap_or_default();
        eventually("the access log has it", || logged().contains("GET /greet/Bo HTTP/1.1").then_some(()));
        assert!(running.stop().expect("it ends").success());
    }
}

pub(crate) fn wrong_use_is_told() {
    let scratch = Scratch::new("services-wrong");
    for (arguments, told) in [
        (vec!["--port", "0", "--set", "hello.greting=x"], "`greting`: unknown field `greting`"),
        (vec!["--port", "0", "--set", "hello.times_max=many"], "`times_max`: invalid type: string \"many\""),
        (vec!["--port", "0", "--set", "greeting=x"], "SERVICE.KEY=VALUE"),
        (vec!["--port", "x"], "whole number"),
        (vec!["--config", "missing.toml"], "cannot read missing.toml"),
        (vec!["nonsense"], "no command"),
    ] {
        let output = ask(scratch.path(), &arguments);
        let complaint = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {complaint}");
        assert!(complaint.contains(told), "{arguments:?}: {complaint}");
    }
    let help = ask(scratch.path(), &["--help"]);
    assert!(help.status.success() && text(&help.stdout).contains("--set KEY=VALUE"));
}

pub(crate) fn passed_sockets_are_served_and_the_manager_is_told() {
    for driver in drivers() {
        let scratch = Scratch::new("services-passed");
        let manager = UnixDatagram::bind(scratch.path().join("notify")).expect("a socket");
        manager.set_read_timeout(Some(Duration::from_secs(60))).expect("a socket");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        // Somebody is waiting already.
        let mut early = Client::connect(address).expect("it listens");
        let own = program(scratch.path(), &[]);
        let script = "exec 3<&0 0</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\"";
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]).arg(own.get_program()).args(["--driver", driver]);
        command.env(crate::stand::SERVES, "1").env("NOTIFY_SOCKET", scratch.path().join("notify"));
        command.current_dir(scratch.path()).stdin(Stdio::from(OwnedFd::from(listener)));
        let mut child = command.stderr(Stdio::null()).spawn().expect("a shell");
        let mut heard = [0; 500];
        let bytes = eventually("it is told", || match manager.recv(&mut heard) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => None,
            received => Some(received.expect("it is told")),
        });
        assert!(text(&heard[..bytes]).starts_with("READY=1\n"), "{}", text(&heard[..bytes]));
        assert_eq!(on(&mut early, "/greet/Ann").status, 200);
        assert_eq!(get(address, "/count").status, 200);
        let process = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(process, rustix::process::Signal::TERM).expect("it lives");
        assert!(child.wait().expect("it ends").success());
    }
}

pub(crate) fn pages_reload_themselves_where_they_are_developed() {
    let scratch = Scratch::new("services-develop");
    for driver in drivers() {
        let mut command = program(scratch.path(), &["--port", "0", "--driver", driver]);
        let running =
            Program::start(command.env("RINGWAY_DEV", "http://127.0.0.1:9/abc/1/")).expect("it serves");
        let page = get(running.address(), "/page");
        let (body, tag) =
            (text(&page.body), "<script src=\"http://127.0.0.1:9/abc/1/reload.js\" async></script>\n");
        assert!(body.starts_with("<!doctype html>") && body.ends_with(&format!("</p>\n{tag}")), "{body}");
        assert_eq!(page.field("content-length"), Some(page.body.len().to_string().as_str()));
        assert_eq!(page.field("cache-control"), Some("no-store"));
        assert_eq!(said(running.address(), "/greet/Ann").1, "Hello, Ann!\n", "text is no page");
        running.stop().expect("it ends");
        let running = start(scratch.path(), &["--port", "0", "--driver", driver]);
        assert!(!text(&get(running.address(), "/page").body).contains("script"));
        running.stop().expect("it ends");
    }
}

pub(crate) fn connections_are_encrypted_if_wanted() {
    let scratch = Scratch::new("services-tls");
    let running = start(scratch.path(), &["--port", "0", "--tls", "--workers", "1"]);
    assert!(running.said().contains("https://127.0.0.1:"), "{}", running.said());
    let mut client = Client::connect(running.address()).expect("it listens");
    // A ClientHello that is none: who speaks TLS answers with an alert (RFC 8446, section 6).
    client.send(b"\x16\x03\x01\0\x04nope").expect("it reads");
    assert_eq!(client.exact(1).expect("an alert"), [0x15]);
    running.stop().expect("it ends");
}
