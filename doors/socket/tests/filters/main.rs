//! Filters on real connections, on both drivers: libraries in C, those that do wrong, and the ones that are built in.

use ringway_engine::ring::socket::Address;
use ringway_engine::ring::{DriverChoice, RingOptions, probe};
use ringway_engine::{Endpoint, EndpointLimits, Server, ServerOptions};
use ringway_socket::filters::{FilterOptions, FilterSpec, Filters, TraceLevel};
use ringway_socket::{Settings, SocketProtocol, Terms, builtin};
use ringway_testkit::Scratch;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long anything may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(30);

fn drivers() -> Vec<DriverChoice> {
    match std::thread::spawn(probe).join().expect("no panic") {
        Ok(_features) => vec![DriverChoice::Uring, DriverChoice::Epoll],
        Err(reason) => {
            eprintln!("SKIPPED on io_uring: {reason}");
            vec![DriverChoice::Epoll]
        }
    }
}

/// Builds a library in C into the scratch folder.
fn build(scratch: &Scratch, source: &str, name: &str) {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut cc = Command::new("cc");
    cc.args(["-std=c11", "-O1", "-fPIC", "-shared", "-fvisibility=hidden", "-pthread", "-Wall", "-Werror"]);
    cc.arg(format!("-I{}", here.join("../../sys/plugin/include").display())).arg(here.join(source));
    assert!(cc.arg("-o").arg(scratch.path().join(name)).status().expect("a C compiler").success());
}

/// The plug-ins in Rust, built as they are outside of this repository: by cargo.
fn in_rust(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("this test is a file");
    let target = own.ancestors().nth(3).expect("cargo's directories").join("plugins");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--offline", "--examples", "--target-dir"]).arg(&target);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contrib/plugin/rust");
    let output = cargo.current_dir(folder).output().expect("cargo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    target.join(format!("debug/examples/lib{name}.so"))
}

/// An echo behind filters.
struct Stand {
    server: Option<Server>,
    filters: Filters,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Stand {
    fn start(driver: DriverChoice, folder: &Path, filters: &[&str]) -> Self {
        let texts: Vec<String> = filters.iter().map(|text| (*text).to_owned()).collect();
        let specs = FilterSpec::parse_all(&texts, folder).expect("they are filters");
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let heard = Arc::clone(&lines);
        let options = FilterOptions {
            endpoint: "test".to_owned(),
            listener: Arc::new(move |level, line| {
                heard.lock().expect("no panic").push(format!("{level:?} {line}"));
            }),
            trusts: Arc::new(|peer| peer.is_some_and(|peer| peer.ip().is_loopback())),
        };
        let filters = Filters::load(&specs, options).expect("good libraries");
        let echo = builtin("echo", &Settings::default()).expect("it is there");
        let protocol = SocketProtocol::factory(echo, Arc::new(Terms::default()));
        let endpoint = Endpoint {
            filter: Some(filters.factory(None)),
            limits: EndpointLimits { connections_per_address_max: 3, ..EndpointLimits::default() },
            ..Endpoint::new(Address::Tcp(SocketAddr::from(([127, 0, 0, 1], 0))), protocol)
        };
        let ring = RingOptions { driver, ..RingOptions::default() };
        let options = ServerOptions { workers: 1, ring, ..ServerOptions::default() };
        let server = Server::start(&[endpoint], &options).expect("the server starts");
        Self { server: Some(server), filters, lines }
    }

    fn connect(&self) -> TcpStream {
        let server = self.server.as_ref().expect("it runs");
        let Address::Tcp(address) = server.addresses()[0] else { panic!("not a TCP endpoint") };
        let stream = TcpStream::connect(address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("an option");
        stream.set_write_timeout(Some(PATIENCE)).expect("an option");
        stream
    }

    fn until_heard(&self, what: &str) {
        let until = Instant::now() + PATIENCE;
        while !self.lines.lock().expect("no panic").iter().any(|line| line.contains(what)) {
            assert!(Instant::now() < until, "{what}: {:?}", self.lines.lock().expect("no panic"));
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn stop(mut self) {
        let server = self.server.take().expect("it runs");
        server.drain(Duration::from_secs(5));
        assert_eq!(server.wait(PATIENCE).expect("no worker dies").panics, 0);
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        if let Some(server) = &self.server {
            server.drain(Duration::ZERO);
        }
    }
}

/// Sends bytes in pieces of many sizes, ends, and gives what came back.
fn exchange(mut stream: TcpStream, bytes: &[u8]) -> Vec<u8> {
    let mut writer = stream.try_clone().expect("a duplicate");
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let (mut rest, mut size) = (bytes, 1);
            while !rest.is_empty() {
                let (part, left) = rest.split_at(size.min(rest.len()));
                writer.write_all(part).expect("it reads");
                (rest, size) = (left, (size * 7 + 3) % 40_009);
            }
            writer.shutdown(Shutdown::Write).expect("an end");
        });
        let mut received = Vec::new();
        stream.read_to_end(&mut received).expect("all of it, and an end");
        received
    })
}

fn sample(len: usize) -> Vec<u8> {
    (0..len as u64).map(|at| at.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[2]).collect()
}

#[test]
fn bytes_are_changed_on_the_wire_and_are_the_handlers_own_above() {
    let scratch = Scratch::new("filters-xor");
    build(&scratch, "../../contrib/plugin/xor.c", "xor.so");
    build(&scratch, "tests/filters/filters.c", "filters.so");
    let sent = sample(600_000);
    for driver in drivers() {
        // The wire sees bytes XOR 42; between the two there are plain ones, and the handler has them XOR 7.
        let filters = ["lib:xor.so?42", "lib:filters.so?copies", "lib:filters.so?halves", "lib:xor.so?7"];
        let stand = Stand::start(driver, scratch.path(), &filters);
        assert!(exchange(stand.connect(), &sent) == sent, "{driver:?}");
        stand.stop();
        let stand = Stand::start(driver, scratch.path(), &["trace:bytes", "lib:xor.so?42"]);
        assert_eq!(exchange(stand.connect(), b"\x2a\x2bplain"), b"\x2a\x2bplain");
        stand.until_heard("received, bytes 7: \"*+plain\"");
        stand.until_heard("is over: 7 bytes received, 7 sent");
        stand.filters.trace().set(TraceLevel::Off);
        let before = stand.lines.lock().expect("no panic").len();
        assert_eq!(exchange(stand.connect(), b"quiet"), b"quiet");
        assert_eq!(stand.lines.lock().expect("no panic").len(), before, "it was switched off");
        stand.stop();
    }
}

#[test]
fn a_filter_in_rust_stands_beside_one_in_c() {
    let scratch = Scratch::new("filters-rust");
    build(&scratch, "../../contrib/plugin/xor.c", "xor.so");
    let (rust, sent) = (format!("lib:{}?7", in_rust("xor").display()), sample(300_000));
    for driver in drivers() {
        // Both of them: what is on the wire is XOR 7 XOR 7.
        let stand = Stand::start(driver, scratch.path(), &[&rust, "trace:bytes", "lib:xor.so?7"]);
        assert_eq!(exchange(stand.connect(), b"abc"), b"abc");
        stand.until_heard("received, bytes 3: \"fed\"");
        assert!(exchange(stand.connect(), &sent) == sent);
        stand.stop();
    }
}

#[test]
fn filters_speak_first_and_last() {
    let scratch = Scratch::new("filters-words");
    build(&scratch, "tests/filters/filters.c", "filters.so");
    build(&scratch, "../../contrib/plugin/xor.c", "xor.so");
    for driver in drivers() {
        let stand = Stand::start(driver, scratch.path(), &["lib:filters.so?greets"]);
        let mut stream = stand.connect();
        let mut words = [0; 6];
        stream.read_exact(&mut words).expect("it speaks first");
        assert_eq!(&words, b"hello ");
        assert_eq!(exchange(stream, b"me"), b"me bye");
        stand.stop();
    }
}

#[test]
fn what_a_filter_does_wrong_costs_its_connection_and_is_told() {
    let scratch = Scratch::new("filters-wrong");
    build(&scratch, "tests/filters/filters.c", "filters.so");
    let faults = [
        ("lies", "`ringway_stream_filter.read` says that it has taken 5 bytes of 4"),
        ("fails", "`ringway_stream_filter.read` says -7"),
        ("floods", "`ringway_stream_filter.read` says -8"),
        ("refuses", "`ringway_stream_filter.accept` says 1: it does not want it"),
        ("cut", "`ringway_stream_filter.ended` says 5"),
    ];
    for driver in drivers() {
        for (mode, words) in faults {
            let stand =
                Stand::start(driver, scratch.path(), &["flow:64MiB", &format!("lib:filters.so?{mode}")]);
            for _ in 0..3 {
                let mut stream = stand.connect();
                // It may be gone already.
                let _sent = stream.write_all(b"four").and_then(|()| stream.shutdown(Shutdown::Write));
                let mut received = Vec::new();
                let ended = stream.read_to_end(&mut received);
                assert!(ended.is_err() || received.is_empty() || mode == "cut", "{mode}: {received:?}");
            }
            stand.until_heard(words);
            stand.until_heard("filters.so");
            stand.stop();
        }
        let stand = Stand::start(driver, scratch.path(), &["lib:filters.so?wanders"]);
        for _ in 0..2 {
            assert_eq!(exchange(stand.connect(), b"here"), b"here");
        }
        stand.until_heard("it called `filter_up` with a filter outside of the callback that was given it");
        stand.stop();
    }
}

#[test]
fn a_flow_is_no_faster_than_it_says_and_loses_nothing() {
    let scratch = Scratch::new("filters-flow");
    let sent = sample(60_000);
    for driver in drivers() {
        let stand = Stand::start(driver, scratch.path(), &["flow:100000"]);
        let began = Instant::now();
        assert!(exchange(stand.connect(), &sent) == sent);
        // A tenth of a second's bytes pass at once.
        assert!(began.elapsed() >= Duration::from_millis(450), "{:?}", began.elapsed());
        stand.stop();
    }
}

#[test]
fn a_proxy_says_within_the_filters_whose_a_connection_is() {
    let scratch = Scratch::new("filters-proxy");
    build(&scratch, "../../contrib/plugin/xor.c", "xor.so");
    let xor = |bytes: &[u8]| bytes.iter().map(|byte| byte ^ 90).collect::<Vec<u8>>();
    for driver in drivers() {
        let stand = Stand::start(driver, scratch.path(), &["lib:xor.so", "proxy-protocol", "trace:sizes"]);
        let hello = b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 80\r\nhello";
        assert_eq!(exchange(stand.connect(), &xor(hello)), xor(b"hello"));
        // As many of one client as the endpoint lets in, whatever address they come from.
        let mut open = Vec::new();
        for _ in 0..3 {
            let mut stream = stand.connect();
            stream.write_all(&xor(hello)).expect("it reads");
            stream.read_exact(&mut [0; 5]).expect("an echo");
            open.push(stream);
        }
        let refused = exchange_or_nothing(&stand, &xor(hello));
        assert!(refused.is_empty(), "a fourth one of that client");
        let other = xor(b"PROXY TCP4 192.0.2.8 192.0.2.1 4711 80\r\nhi");
        assert_eq!(exchange(stand.connect(), &other), xor(b"hi"), "another one is let in");
        drop(open);
        assert!(exchange_or_nothing(&stand, &xor(b"GET / HTTP/1.1\r\n\r\n")).is_empty());
        stand.until_heard("is refused: there is no PROXY protocol header");
        stand.stop();
    }
}

/// What comes back before the connection ends, however it does.
fn exchange_or_nothing(stand: &Stand, bytes: &[u8]) -> Vec<u8> {
    let mut stream = stand.connect();
    let _sent = stream.write_all(bytes);
    let mut received = Vec::new();
    let _ended = stream.read_to_end(&mut received);
    received
}
