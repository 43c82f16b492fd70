//! Endpoints in processes of their own: deaths, reloads and upgrades of one, while everybody else goes on.

use crate::stand::{PATIENCE, Running, Stand, eventually, get, on_both_drivers, text};
use ringway::tls::self_signed;
use ringway_testkit::Client;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::{Instant, SystemTime};

/// An isolated endpoint `echo`; `more` settings of it.
fn endpoint(listen: &str, handler: &str, more: &str) -> String {
    format!(
        "[[endpoint]]\nname = \"echo\"\nlisten = [\"{listen}\"]\nhandler = \"{handler}\"\nisolate = \"process\"\n{more}\n"
    )
}

/// The process that serves `echo`, as it was said last, and where.
fn serving(running: &Running) -> (Pid, Option<SocketAddr>) {
    let said = running.said();
    let line =
        said.lines().rfind(|line| line.starts_with("Endpoint \"echo\" is served")).expect("it is said");
    let pid = line.split("(pid ").nth(1).and_then(|rest| rest.split(')').next()).expect("its number");
    let at = line.split("127.0.0.2:").nth(1).map(|rest| {
        let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
        SocketAddr::from(([127, 0, 0, 2], port.parse().expect("a port")))
    });
    (Pid::from_raw(pid.parse().expect("a number")).expect("not 0"), at)
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("an option");
    stream
}

fn echoes(stream: &mut (impl Read + Write), bytes: &[u8]) {
    stream.write_all(bytes).expect("it reads");
    let mut answer = vec![0; bytes.len()];
    stream.read_exact(&mut answer).expect("the answer comes");
    assert_eq!(answer, bytes);
}

/// Waits until another process than `before` serves.
fn next(running: &Running, before: Pid) -> Pid {
    eventually("another process serves", || Some(serving(running).0).filter(|process| *process != before))
}

#[test]
fn a_process_that_dies_is_started_again_and_nobody_else_notices() {
    on_both_drivers(|driver| {
        let mut stand = Stand::new(&format!("run-isolated-{driver}"), driver);
        stand.more = endpoint("127.0.0.2:0", "builtin:echo", "");
        stand.write();
        let mut running = stand.start();
        let (first, at) = serving(&running);
        let at = at.expect("it is told where");
        assert_eq!(running.servers().len(), 2, "one for all others, one for the endpoint");
        let mut other = Client::connect(running.address()).unwrap();
        assert_eq!(get(&mut other, "/").status, 200);
        let mut open = connect(at);
        echoes(&mut open, b"before");
        kill_process(first, Signal::KILL).unwrap();
        let died = Instant::now();
        assert!(!open.read(&mut [0]).is_ok_and(|count| count > 0), "it ends with its process");
        // Nobody is refused: whoever comes now waits for the next process.
        let mut waiting = connect(at);
        echoes(&mut waiting, b"after");
        eprintln!("back after {} ms", died.elapsed().as_millis());
        assert_eq!(get(&mut other, "/").body, b"one", "on the connection that was open before");
        running.wait_to_say("of endpoint \"echo\" died: the server process was ended by signal 9");
        assert_ne!(next(&running, first), first);
        assert!(running.said().contains("is started again in 100 ms"), "{}", running.said());
        drop((open, waiting, other));
        let said = running.stop();
        assert!(!said.contains("ringway: server process"), "the other one lived: {said}");
    });
}

#[test]
fn it_is_reloaded_replaced_and_given_up_without_a_lost_connection() {
    on_both_drivers(|driver| {
        let mut stand = Stand::new(&format!("run-isolated-reload-{driver}"), driver);
        stand.more = endpoint("127.0.0.2:0", "builtin:echo", "");
        stand.write();
        let running = stand.start();
        let (first, at) = serving(&running);
        let at = at.expect("it is told where");
        let mut open = connect(at);
        echoes(&mut open, b"one");
        stand.more = endpoint("127.0.0.2:0", "builtin:echo", "limits = { idle_timeout = \"90s\" }");
        stand.write();
        assert!(stand.reload().contains("Reloaded"));
        echoes(&mut open, b"two");
        assert_eq!(serving(&running).0, first, "the same process takes the new settings");
        assert!(stand.upgrade().contains("Upgraded"));
        let second = next(&running, first);
        echoes(&mut connect(at), b"three");
        assert_eq!(get(&mut Client::connect(running.address()).unwrap(), "/").status, 200);
        // It is served with all others from now on, on the same listening sockets.
        drop(open);
        stand.more = stand.more.replace("isolate = \"process\"", "");
        stand.write();
        assert!(stand.reload().contains("Reloaded"));
        echoes(&mut connect(at), b"four");
        eventually("its process ends", || (!running.servers().contains(&second)).then_some(()));
        stand.more = endpoint("127.0.0.2:0", "builtin:echo", "");
        stand.write();
        assert!(stand.reload().contains("Reloaded"));
        echoes(&mut connect(at), b"five");
        next(&running, second);
        running.stop();
    });
}

#[test]
fn what_does_not_start_is_tried_ever_less_often_and_others_are_served() {
    let mut stand = Stand::new("run-isolated-broken", "auto");
    // A library, but not one for Ringway: that is seen where it is loaded.
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let library = maps.split_whitespace().find(|part| part.contains("/libc.so")).expect("the C library");
    stand.file("broken.so", &std::fs::read(library).unwrap());
    stand.more = endpoint("127.0.0.2:0", "lib:broken.so", "");
    stand.write();
    let output = stand.command(std::path::Path::new(crate::stand::binary()), "run");
    let mut running = Running::starting(output, stand.at("pid"), "Ready");
    running.wait_to_say("the process of endpoint \"echo\" does not start");
    for wait_ms in [100, 200, 400] {
        running.wait_to_say(&format!("Endpoint \"echo\" is started again in {wait_ms} ms."));
    }
    assert_eq!(running.get("/").body, b"one");
    stand.more = endpoint("127.0.0.2:0", "builtin:echo", "");
    stand.write();
    assert!(stand.reload().contains("Reloaded"));
    echoes(&mut connect(serving(&running).1.expect("it is told where")), b"well");
    // Something else that does not start leaves what serves.
    stand.more = endpoint("127.0.0.2:0", "lib:broken.so", "");
    stand.write();
    let refused = stand.ask("reload");
    assert!(!refused.status.success());
    let said = text(&refused.stdout) + &text(&refused.stderr);
    assert!(said.contains("endpoint \"echo\""), "{said}");
    echoes(&mut connect(serving(&running).1.expect("it is told where")), b"still");
    running.stop();
}

#[test]
fn unix_sockets_and_datagrams_find_the_next_process_too() {
    on_both_drivers(|driver| {
        let mut stand = Stand::new(&format!("run-isolated-kinds-{driver}"), driver);
        let path = stand.at("echo.sock");
        stand.more = endpoint(&format!("unix:{}", path.display()), "builtin:echo", "");
        stand.write();
        let running = stand.start();
        let first = serving(&running).0;
        echoes(&mut UnixStream::connect(&path).unwrap(), b"before");
        kill_process(first, Signal::KILL).unwrap();
        echoes(&mut UnixStream::connect(&path).unwrap(), b"after");
        running.stop();
        assert!(!path.exists());

        let port = UdpSocket::bind("127.0.0.2:0").unwrap().local_addr().unwrap();
        stand.more = endpoint(&port.to_string(), "builtin:udp-echo", "");
        stand.write();
        let running = stand.start();
        let first = serving(&running).0;
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut buffer = [0; 64];
        for (round, text) in [b"one", b"two"].into_iter().enumerate() {
            if round > 0 {
                kill_process(first, Signal::KILL).unwrap();
                eventually("it is gone", || (!running.servers().contains(&first)).then_some(()));
            }
            // What comes meanwhile waits in the socket.
            socket.send_to(text, port).unwrap();
            let count = socket.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..count], text);
        }
        running.stop();
    });
}

/// Says something through TLS and waits until it comes back.
fn echoes_encrypted(at: SocketAddr) {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-quiet", "-connect", &at.to_string()]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("openssl is needed for this test");
    child.stdin.as_mut().unwrap().write_all(b"secret\n").unwrap();
    let mut answer = [0; 7];
    let heard = child.stdout.as_mut().unwrap().read_exact(&mut answer);
    child.kill().unwrap();
    child.wait().unwrap();
    heard.expect("the answer comes");
    assert_eq!(&answer, b"secret\n");
}

#[test]
fn a_process_of_one_endpoint_speaks_tls() {
    on_both_drivers(|driver| {
        let mut stand = Stand::new(&format!("run-isolated-tls-{driver}"), driver);
        let made = self_signed(&["one.example".to_owned()], SystemTime::now()).unwrap();
        stand.file("key.pem", &made.key.bytes);
        stand.file("cert.pem", &made.chain.bytes);
        stand.more = endpoint("127.0.0.2:0", "builtin:echo", "tls = true")
            + "[[certificate]]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n";
        stand.write();
        let running = stand.start();
        let (first, at) = serving(&running);
        echoes_encrypted(at.expect("it is told where"));
        kill_process(first, Signal::KILL).unwrap();
        let second = next(&running, first);
        echoes_encrypted(at.expect("it is told where"));
        assert_ne!(first, second);
        running.stop();
    });
}
