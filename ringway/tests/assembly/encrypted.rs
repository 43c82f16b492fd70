//! TLS: certificates by name, from files.

use crate::served::{Served, drivers, files};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

fn certificates() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/good/certificates")
}

fn ask(served: &Served, name: &str) -> String {
    let mut roots = RootCertStore::empty();
    let der = CertificateDer::from_pem_file(certificates().join("good.pem")).expect("a certificate");
    roots.add(der).expect("it is one");
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let server = ServerName::try_from(name.to_owned()).expect("a name");
    let session = ClientConnection::new(Arc::new(config), server).expect("a session");
    let mut stream = StreamOwned::new(session, TcpStream::connect(served.addresses[0]).expect("it listens"));
    write!(stream, "GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n").expect("it is taken");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer, ended as it should be");
    answer
}

#[test]
fn sites_are_served_over_tls() {
    let folder = files("run-tls", &[("a/index.html", "over tls"), ("b/index.html", "below")]);
    let (cert, key) = (certificates().join("good.pem"), certificates().join("good.key"));
    let text = format!(
        "[log.access]\nformat = \"off\"\n[[endpoint]]\nname = \"https\"\nlisten = [\"127.0.0.1:0\"]\ntls = true\nhttp2 = false\n\
         [[certificate]]\ncert = \"{}\"\nkey = \"{}\"\n[[site]]\nnames = [\"example.org\"]\nroot = \"a\"\n\
         [[site]]\nnames = [\"*.example.org\"]\nroot = \"b\"\n",
        cert.display(),
        key.display()
    );
    for driver in drivers() {
        let mut served = Served::new(&text, folder.path(), driver);
        assert!(ask(&served, "example.org").ends_with("\r\n\r\nover tls"));
        assert!(ask(&served, "www.example.org").ends_with("\r\n\r\nbelow"));
        served.reload(&text.replace("\"a\"", "\"b\""), folder.path()).expect("it is taken");
        assert!(ask(&served, "example.org").ends_with("\r\n\r\nbelow"));
    }
}

/// What a client that speaks both is told to speak.
fn agreed(served: &Served) -> Option<Vec<u8>> {
    let mut roots = RootCertStore::empty();
    let der = CertificateDer::from_pem_file(certificates().join("good.pem")).expect("a certificate");
    roots.add(der).expect("it is one");
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let server = ServerName::try_from("example.org").expect("a name");
    let mut session = ClientConnection::new(Arc::new(config), server).expect("a session");
    let mut socket = TcpStream::connect(served.addresses[0]).expect("it listens");
    while session.is_handshaking() {
        session.complete_io(&mut socket).expect("a handshake");
    }
    session.alpn_protocol().map(<[u8]>::to_vec)
}

#[test]
fn http2_is_spoken_where_it_is_configured() {
    let folder = files("run-alpn", &[("index.html", "i")]);
    let (cert, key) = (certificates().join("good.pem"), certificates().join("good.key"));
    let text = format!(
        "[log.access]\nformat = \"off\"\n[[endpoint]]\nname = \"https\"\nlisten = [\"127.0.0.1:0\"]\ntls = true\n\
         [[certificate]]\ncert = \"{}\"\nkey = \"{}\"\n[[site]]\nnames = [\"*\"]\nroot = \".\"\n",
        cert.display(),
        key.display()
    );
    let mut served = Served::new(&text, folder.path(), drivers()[0]);
    assert_eq!(agreed(&served).as_deref(), Some(&b"h2"[..]));
    let without = text.replace("tls = true", "tls = true\nhttp2 = false");
    served.reload(&without, folder.path()).expect("it is taken");
    assert_eq!(agreed(&served).as_deref(), Some(&b"http/1.1"[..]));
}

#[test]
fn tickets_are_given_where_they_are_configured() {
    let folder = files("run-tickets", &[("index.html", "i")]);
    let (cert, key) = (certificates().join("good.pem"), certificates().join("good.key"));
    let text = format!(
        "[log.access]\nformat = \"off\"\n[tls]\ntickets = true\n[[endpoint]]\nname = \"https\"\nlisten = [\"127.0.0.1:0\"]\ntls = true\n\
         [[certificate]]\ncert = \"{}\"\nkey = \"{}\"\n[[site]]\nnames = [\"*\"]\nroot = \".\"\n",
        cert.display(),
        key.display()
    );
    let mut served = Served::new(&text, folder.path(), drivers()[0]);
    assert!(tickets(&served) > 0);
    served.reload(&text.replace("tickets = true", "tickets = false"), folder.path()).expect("it is taken");
    assert_eq!(tickets(&served), 0);
}

/// How many tickets a client of TLS 1.3 gets.
fn tickets(served: &Served) -> u32 {
    let mut roots = RootCertStore::empty();
    let der = CertificateDer::from_pem_file(certificates().join("good.pem")).expect("a certificate");
    roots.add(der).expect("it is one");
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let server = ServerName::try_from("example.org").expect("a name");
    let session = ClientConnection::new(Arc::new(config), server).expect("a session");
    let mut stream = StreamOwned::new(session, TcpStream::connect(served.addresses[0]).expect("it listens"));
    write!(stream, "GET / HTTP/1.1\r\nHost: example.org\r\nConnection: close\r\n\r\n").expect("it is taken");
    stream.read_to_string(&mut String::new()).expect("an answer, ended as it should be");
    stream.conn.tls13_tickets_received()
}
