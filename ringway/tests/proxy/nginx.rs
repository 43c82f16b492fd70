//! The real nginx behind.

use crate::stand::{Setup, ask, eventually};
use ringway_testkit::Scratch;
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

/// An nginx of a test's own.
struct Nginx {
    child: Child,
    address: SocketAddr,
    _scratch: Scratch,
}

impl Nginx {
    fn start(name: &str) -> Self {
        let scratch = Scratch::new(name);
        let folder = scratch.path().to_owned();
        let port = ringway_testkit::free_port();
        std::fs::create_dir(folder.join("files")).unwrap();
        std::fs::write(folder.join("files/small"), [b's'; 100]).unwrap();
        std::fs::write(folder.join("files/large"), vec![b'l'; 200 * 1024]).unwrap();
        let at = folder.display();
        let config = format!(
            "user root; daemon off; pid {at}/pid; error_log {at}/errors; worker_processes 1; events {{}}\n\
             http {{ access_log off; client_max_body_size 10m;\n\
               client_body_temp_path {at}/a; proxy_temp_path {at}/b; fastcgi_temp_path {at}/c; uwsgi_temp_path {at}/d;\n\
               scgi_temp_path {at}/e; gzip on; gzip_proxied any; gzip_types *; gzip_min_length 1;\n\
               server {{ listen 127.0.0.1:{port}; root {at}/files;\n\
                 location /put/ {{ dav_methods PUT DELETE; alias {at}/files/; }}\n\
                 location /whence {{ return 200 \"$http_x_forwarded_for $http_x_forwarded_proto $http_x_forwarded_host $host\"; }}\n\
                 location /moved {{ return 301 /elsewhere; }} }} }}\n"
        );
        std::fs::write(folder.join("conf"), config).unwrap();
        let mut command = Command::new("nginx");
        command.arg("-p").arg(&folder).arg("-c").arg(folder.join("conf")).stdin(Stdio::null());
        let child = command.stderr(Stdio::null()).spawn().expect("nginx is installed");
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        eventually("nginx to listen", || TcpStream::connect(address).ok());
        Self { child, address, _scratch: scratch }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its workers end with it when it is asked to end, not when it is killed.
        if let Some(process) = rustix::process::Pid::from_raw(self.child.id().cast_signed()) {
            let _ended = rustix::process::kill_process(process, rustix::process::Signal::TERM);
        }
        let _reaped = self.child.wait();
    }
}

#[test]
fn nginx_serves_through_ringway() {
    let nginx = Nginx::start("proxy-nginx-files");
    let ringway = Setup::before(&[nginx.address]).start("proxy-nginx");
    let mut client = ringway.client();
    for _ in 0..50 {
        assert_eq!(ask(&mut client, "GET /small", "", b"").body, [b's'; 100]);
        assert_eq!(ask(&mut client, "GET /large", "", b"").body, vec![b'l'; 200 * 1024]);
    }
    let answer = ask(&mut client, "GET /large", "Range: bytes=10-19\r\n", b"");
    assert_eq!((answer.status, answer.body.len()), (206, 10));
    let tag = ask(&mut client, "HEAD /small", "", b"").field("etag").unwrap().to_owned();
    assert_eq!(ask(&mut client, "GET /small", &format!("If-None-Match: {tag}\r\n"), b"").status, 304);
    let zipped = ask(&mut client, "GET /large", "Accept-Encoding: gzip\r\n", b"");
    assert_eq!(zipped.field("content-encoding"), Some("gzip"));
    assert!(zipped.body.len() < 10_000 && zipped.body.starts_with(&[0x1f, 0x8b]));
    assert_eq!(ask(&mut client, "GET /moved", "", b"").status, 301);
    assert_eq!(ask(&mut client, "GET /nothing", "", b"").status, 404);
    assert_eq!(ask(&mut client, "GET /whence", "", b"").body, b"127.0.0.1 http test.example test.example");
}

#[test]
fn nginx_takes_uploads_through_ringway() {
    let nginx = Nginx::start("proxy-nginx-uploads-files");
    let setup = Setup { proxy: "body_size = \"10 MiB\"".to_owned(), ..Setup::before(&[nginx.address]) };
    let ringway = setup.start("proxy-nginx-uploads");
    let mut client = ringway.client();
    let body: Vec<u8> =
        (0..1_048_576_u32).map(|place| place.wrapping_mul(2_654_435_761).to_be_bytes()[1]).collect();
    assert_eq!(ask(&mut client, "PUT /put/up", "", &body).status, 201);
    assert_eq!(ask(&mut client, "GET /up", "", b"").body, body);
    client.send(b"PUT /put/chunked HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
    for chunk in body.chunks(30_000) {
        client.send(format!("{:x}\r\n", chunk.len()).as_bytes()).unwrap();
        client.send(&[chunk, b"\r\n"].concat()).unwrap();
    }
    client.send(b"0\r\n\r\n").unwrap();
    assert_eq!(client.answer(false).unwrap().status, 201);
    assert_eq!(ask(&mut client, "GET /chunked", "", b"").body, body);
}
