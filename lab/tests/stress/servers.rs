//! Servers of the tests: a thread for each connection, honest or not, on every transport.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;

use ringway_testkit::Scratch;
use ringway_ws::handshake::accept_key;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// What is read and written.
pub(crate) trait Wire: Read + Write + Send {}
impl<T: Read + Write + Send> Wire for T {}

/// A server that calls `serve` with each connection and its number on a thread of its own. Its threads end with their
/// connections, the listener with the test's process.
pub(crate) fn tcp(serve: impl Fn(&mut TcpStream, usize) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("it listens").to_string();
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let serve = Arc::clone(&serve);
            std::thread::spawn(move || serve(&mut stream.expect("a connection"), number));
        }
    });
    address
}

/// The same on a Unix socket.
pub(crate) fn unix(path: &Path, serve: impl Fn(&mut dyn Wire) + Send + Sync + 'static) -> String {
    let listener = UnixListener::bind(path).expect("a place");
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let serve = Arc::clone(&serve);
            std::thread::spawn(move || serve(&mut stream.expect("a connection")));
        }
    });
    format!("unix:{}", path.display())
}

/// The same behind TLS, and the file of the certificate that it made for itself.
pub(crate) fn tls(
    place: &Scratch,
    serve: impl Fn(&mut dyn Wire, usize) + Send + Sync + 'static,
) -> (String, String) {
    let made = ringway_tls::self_signed(&[], std::time::SystemTime::now()).expect("a certificate");
    let certificate = CertificateDer::from_pem_slice(&made.chain.bytes).expect("PEM");
    let key = PrivateKeyDer::from_pem_slice(&made.key.bytes).expect("PEM");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("they belong together");
    let config = Arc::new(config);
    let address = tcp(move |stream, number| {
        let server = ServerConnection::new(Arc::clone(&config)).expect("a configuration");
        let stream = stream.try_clone().expect("a descriptor");
        let mut sealed = StreamOwned::new(server, stream);
        serve(&mut sealed, number);
        sealed.conn.send_close_notify();
        while sealed.conn.wants_write() && sealed.conn.write_tls(&mut sealed.sock).is_ok() {}
    });
    (address, place.file("authority.pem", &made.chain.bytes).display().to_string())
}

/// Says everything again, with `change` made to it; `change` is told where in the stream it stands.
pub(crate) fn echo(stream: &mut (impl Wire + ?Sized), mut change: impl FnMut(usize, &mut Vec<u8>)) {
    let mut offset = 0;
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        let mut bytes = buffer[..count].to_vec();
        change(offset, &mut bytes);
        offset += count;
        if stream.write_all(&bytes).and_then(|()| stream.flush()).is_err() {
            return;
        }
    }
}

/// Says everything again.
pub(crate) fn honest(stream: &mut (impl Wire + ?Sized)) {
    echo(stream, |_, _| ());
}

/// The handshake of a WebSocket, with `change` made to the answer.
pub(crate) fn shake(stream: &mut dyn Wire, change: impl Fn(String) -> String) -> io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).map_err(io::Error::other)?;
    let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).expect("a key");
    let accept = accept_key(key.as_bytes().try_into().expect("24 letters"));
    let accept = String::from_utf8_lossy(&accept).into_owned();
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    stream.write_all(change(answer).as_bytes())?;
    stream.flush()
}

/// A client's frame: its first byte and its payload, unmasked.
pub(crate) fn frame(stream: &mut dyn Wire) -> io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 2];
    stream.read_exact(&mut head)?;
    assert_eq!(head[1] & 0x80, 0x80, "a client masks");
    let mut length = u64::from(head[1] & 0x7f);
    if length >= 126 {
        let mut bytes = [0; 8];
        let from = if length == 126 { 6 } else { 0 };
        stream.read_exact(&mut bytes[from..])?;
        length = u64::from_be_bytes(bytes);
    }
    let mut mask = [0; 4];
    stream.read_exact(&mut mask)?;
    let mut payload = vec![0; usize::try_from(length).expect("short")];
    stream.read_exact(&mut payload)?;
    payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    Ok((head[0], payload))
}

/// A server's frame.
pub(crate) fn framed(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..=125 => frame.push(u8::try_from(length).expect("short")),
        length => {
            frame.push(127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend(payload);
    frame
}

/// An echo of WebSocket messages; `answer` makes the frames of each message from its number, first byte and payload.
pub(crate) fn websocket(stream: &mut dyn Wire, answer: impl Fn(usize, u8, Vec<u8>) -> Vec<u8>) {
    let mut number = 0;
    if shake(stream, |answer| answer).is_err() {
        return;
    }
    while let Ok((first, payload)) = frame(stream) {
        let frames = match first & 0x0f {
            0x8 => framed(0x88, &payload),
            0xa => continue,
            _ => answer(number, first, payload),
        };
        number += 1;
        if stream.write_all(&frames).and_then(|()| stream.flush()).is_err() || first & 0x0f == 0x8 {
            return;
        }
    }
}
