//! Who shows proofs in these tests: a plain server of files, and one that speaks TLS.

use ringway_acme::Prover;
use ringway_tls::Certificates;
use rustls::{ServerConfig, ServerConnection};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

/// How long a client may keep a server waiting.
const WAIT: Duration = Duration::from_secs(10);

/// Both servers; they run until the tests end.
pub(crate) struct Provers {
    shown: Arc<Shows>,
    http: u16,
    tls: u16,
}

/// What is shown.
struct Shows {
    files: Mutex<HashMap<String, String>>,
    certificates: Arc<Certificates>,
    names: AtomicUsize,
}

impl Provers {
    pub(crate) fn start() -> Self {
        let made = ringway_tls::self_signed(&[], SystemTime::now()).expect("a certificate");
        let (certificates, _problems) = Certificates::new(&[made], SystemTime::now()).expect("it is good");
        let shown = Arc::new(Shows { files: Mutex::default(), certificates, names: AtomicUsize::new(0) });
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let versions = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let resolver: Arc<Certificates> = Arc::clone(&shown.certificates);
        let mut config = versions.expect("versions").with_no_client_auth().with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"acme-tls/1".to_vec()];
        let config = Arc::new(config);
        let files = Arc::clone(&shown);
        let http = serve(move |stream| answer(&files, stream));
        let tls = serve(move |mut stream| {
            let mut connection = ServerConnection::new(Arc::clone(&config)).expect("a connection");
            while connection.is_handshaking() && connection.complete_io(&mut stream).is_ok() {}
        });
        Self { shown, http, tls }
    }

    pub(crate) fn http_port(&self) -> u16 {
        self.http
    }

    pub(crate) fn tls_port(&self) -> u16 {
        self.tls
    }

    pub(crate) fn prover(&self) -> Arc<dyn Prover> {
        Arc::clone(&self.shown) as Arc<dyn Prover>
    }

    /// How many proofs are shown now.
    pub(crate) fn shown(&self) -> usize {
        self.shown.files.lock().expect("nobody panicked").len() + self.shown.names.load(Ordering::Relaxed)
    }
}

impl Prover for Shows {
    fn show_file(&self, token: &str, authorization: &str) {
        self.files.lock().expect("nobody panicked").insert(token.to_owned(), authorization.to_owned());
    }

    fn hide_file(&self, token: &str) {
        self.files.lock().expect("nobody panicked").remove(token);
    }

    fn show_certificate(&self, name: &str, proof: [u8; 32]) -> Result<(), String> {
        self.names.fetch_add(1, Ordering::Relaxed);
        self.certificates.set_challenge(name, proof).map_err(|problem| problem.to_string())
    }

    fn hide_certificate(&self, name: &str) {
        self.names.fetch_sub(1, Ordering::Relaxed);
        self.certificates.clear_challenge(name);
    }
}

/// Shows nothing: files go nowhere, certificates are refused.
pub(crate) struct FilesOnly;

impl Prover for FilesOnly {
    fn show_file(&self, _token: &str, _authorization: &str) {}
    fn hide_file(&self, _token: &str) {}
    fn show_certificate(&self, _name: &str, _proof: [u8; 32]) -> Result<(), String> {
        Err("there is no endpoint with TLS".to_owned())
    }
    fn hide_certificate(&self, _name: &str) {}
}

/// Hands each connection to `act`; says on which port.
fn serve(act: impl Fn(TcpStream) + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            stream.set_read_timeout(Some(WAIT)).expect("a time limit");
            act(stream);
        }
    });
    port
}

/// Answers one request for a token.
fn answer(shown: &Shows, mut stream: TcpStream) {
    let mut reader = BufReader::new(&stream);
    let mut first = String::new();
    let mut line = String::new();
    let _nothing_came = reader.read_line(&mut first);
    while reader.read_line(&mut line).is_ok_and(|len| len > 2) {
        line.clear();
    }
    let token = first.split(' ').nth(1).and_then(|path| path.strip_prefix("/.well-known/acme-challenge/"));
    let found = token.and_then(|token| shown.files.lock().expect("nobody panicked").get(token).cloned());
    let (status, body) = found.map_or(("404 Not Found", String::new()), |body| ("200 OK", body));
    let _gone = write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
}
