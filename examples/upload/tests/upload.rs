//! Files from a form: what comes is what is given back, whatever it is called.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

use ringway_testkit::{Program, Scratch};
use std::process::Command;

fn form(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, content) in files {
        let head = format!(
            "--BORDER\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
             Content-Type: text/html\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--BORDER--\r\n");
    body
}

#[test]
fn what_is_uploaded_is_given_back_as_it_was() {
    let scratch = Scratch::new("upload");
    let mut command = Command::new(env!("CARGO_BIN_EXE_example-upload"));
    command.args(["--port", "0", "--workers", "2", "--data"]).arg(scratch.path());
    let program = Program::start(&mut command).unwrap();
    let mut client = program.client().unwrap();
    let mut ask = |head: &str, body: &[u8]| {
        client
            .send(format!("{head}\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes())
            .unwrap();
        client.send(body).unwrap();
        client.answer(false).unwrap()
    };
    let post = "POST / HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=BORDER";
    let large: Vec<u8> = (0..3_000_000_u32).map(|number| number.to_le_bytes()[number as usize % 4]).collect();
    let body =
        form(&[("../../<etc>\u{e9}.html", &large), ("small.txt", b"a --BORDER is not the end\r\n--BORDE")]);
    assert_eq!(ask(post, &body).status, 303);
    let page = String::from_utf8(ask("GET / HTTP/1.1", b"").body).unwrap();
    assert!(page.contains("small.txt</a></td><td>34 bytes") && page.contains("2.8 MiB"), "{page}");
    assert!(page.contains("&lt;etc&gt;") && !page.contains("<etc>"), "{page}");
    let links: Vec<&str> =
        page.split("<a href=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert_eq!(links.len(), 2);
    let given = ask(&format!("GET /{} HTTP/1.1", links[1]), b"");
    assert!(given.status == 200 && given.body == large, "{}", given.head);
    assert_eq!(given.field("content-disposition"), Some("attachment"));
    assert_eq!(ask(&format!("GET /{} HTTP/1.1\r\nRange: bytes=3-6", links[0]), b"").body, b"-BOR");
    for (head, body, status) in [
        ("GET /files/99/x HTTP/1.1", &b""[..], 404),
        ("GET /files/x/x HTTP/1.1", b"", 400),
        (post, &form(&[]), 422),
        ("POST / HTTP/1.1\r\nContent-Type: text/plain", b"x", 415),
        (post, b"--BORDER\r\nnonsense", 400),
    ] {
        assert_eq!(ask(head, body).status, status, "{head}");
    }
    assert!(program.stop().unwrap().success());
}
