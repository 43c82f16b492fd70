//! Scripts of several kinds: a shell's, Python's, a program of C; directories, files beside scripts, what no script is.

use crate::stand::{Scripts, on_both_drivers, text, variable};
use std::process::Command;

#[test]
fn a_shell_script_is_told_what_the_rfc_says() {
    on_both_drivers(|driver| {
        let scripts = Scripts::new("shell");
        scripts.shell("env.sh", "printf 'Content-Type: text/plain\\n\\n'; env; pwd");
        let served = scripts.serve(driver);
        let answer = served.ask(
            "GET /cgi/env.sh/more%20info?a=b+c HTTP/1.1\r\nHost: example.org:81\r\nX-Two-Words: yes\r\nProxy: http://evil\r\n\
             Authorization: Basic eDp5\r\nX_Real_IP: 1\r\n\r\n",
        );
        assert_eq!(
            (answer.status, answer.field("content-type")),
            (200, Some("text/plain")),
            "{}",
            served.said()
        );
        let told = text(&answer);
        let folder = scripts.at("cgi");
        let expected = [
            ("GATEWAY_INTERFACE", "CGI/1.1"),
            ("REQUEST_METHOD", "GET"),
            ("SCRIPT_NAME", "/cgi/env.sh"),
            ("PATH_INFO", "/more info"),
            ("QUERY_STRING", "a=b+c"),
            ("SERVER_NAME", "example.org"),
            ("SERVER_PORT", "81"),
            ("SERVER_PROTOCOL", "HTTP/1.1"),
            ("REMOTE_ADDR", "127.0.0.1"),
            ("HTTP_X_TWO_WORDS", "yes"),
            ("REDIRECT_STATUS", "200"),
            ("SCRIPT_FILENAME", &folder.join("env.sh").display().to_string()),
            ("DOCUMENT_ROOT", &scripts.at("site").display().to_string()),
            ("PATH_TRANSLATED", &scripts.at("site/more info").display().to_string()),
        ];
        for (name, value) in expected {
            assert_eq!(variable(&told, name).as_deref(), Some(value), "{name}: {told}");
        }
        for name in ["HTTP_PROXY", "HTTP_AUTHORIZATION", "HTTP_X_REAL_IP", "CONTENT_LENGTH", "HOME", "CARGO"]
        {
            assert_eq!(variable(&told, name), None, "{name}: {told}");
        }
        assert!(told.lines().any(|line| line == folder.display().to_string()), "its own folder: {told}");
        served.stop();
    });
}

#[test]
fn python_reads_what_was_sent_and_answers_piece_by_piece() {
    on_both_drivers(|driver| {
        let mut scripts = Scripts::new("python");
        scripts.settings =
            ", executables = false, interpreters = { py = \"/usr/bin/python3\" }, body_size = \"8MiB\""
                .to_owned();
        scripts.file(
            "cgi/sum.py",
            "import sys, hashlib, os\nbody = sys.stdin.buffer.read()\nassert len(body) == int(os.environ['CONTENT_LENGTH'])\n\
             print('Content-Type: text/plain\\r\\nX-Length: %d\\r\\n\\r' % len(body))\nprint(hashlib.sha256(body).hexdigest(), flush=True)\n\
             sys.stdout.flush()\nsys.stdout.buffer.write(b'x' * 3000000)\nprint('end of it', file=sys.stderr)\n",
        );
        scripts.file("cgi/plain.txt", "no script");
        let served = scripts.serve(driver);
        let body: Vec<u8> = (0..4_000_000_u32).map(|at| u8::try_from(at * 7 % 251).unwrap()).collect();
        scripts.scratch.file("body", &body);
        let sum = Command::new("sha256sum").arg(scripts.at("body")).output().unwrap();
        let sum = String::from_utf8_lossy(&sum.stdout)[..64].to_owned();
        let answer = served.post("/cgi/sum.py", "application/octet-stream", &body);
        assert_eq!((answer.status, answer.field("x-length")), (200, Some("4000000")), "{}", served.said());
        assert_eq!(answer.body.len(), 65 + 3_000_000);
        assert_eq!(text(&answer)[..64], sum);
        served.wait_to_say("/cgi/sum.py says: end of it");
        assert_eq!(
            served.get("/cgi/plain.txt").status,
            404,
            "it has no interpreter, so it is another handler's"
        );
        served.stop();
    });
}

#[test]
fn a_program_of_c_answers() {
    on_both_drivers(|driver| {
        let scripts = Scripts::new("c");
        let source = scripts.file(
            "hello.c",
            "#include <stdio.h>\n#include <stdlib.h>\nint main(void) {\n  printf(\"Status: 201 Made\\r\\nContent-Type: text/plain\\r\\n\
             Content-Length: 6\\r\\n\\r\\nhello!\");\n  return 0;\n}\n",
        );
        let made = Command::new("cc").arg("-o").arg(scripts.at("cgi/hello")).arg(source).status().unwrap();
        assert!(made.success());
        let served = scripts.serve(driver);
        let mut client = served.client();
        // A length was said, so the connection goes on.
        for _ in 0..20 {
            client.send(b"GET /cgi/hello HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            let answer = client.answer(false).unwrap();
            assert_eq!((answer.status, text(&answer).as_str()), (201, "hello!"));
            assert_eq!(answer.field("content-length"), Some("6"));
        }
        served.stop();
    });
}

#[test]
fn directories_and_files_beside_scripts() {
    on_both_drivers(|driver| {
        let mut scripts = Scripts::new("beside");
        scripts.settings = ", index = [\"index.sh\"]".to_owned();
        scripts.more = "[[site.route]]\npath = \"/**\"\ncgi = { interpreters = { sh = \"/bin/sh\" }, executables = false, index = [\"home.sh\"] }\n"
            .to_owned();
        scripts.shell("deep/index.sh", "printf 'Content-Type: a/b\\n\\nindex of '; printf $SCRIPT_NAME");
        scripts.file("cgi/plain.txt", "no script");
        scripts.file("site/page.html", "a page");
        scripts.file("site/home.sh", "printf 'Content-Type: a/b\\n\\nhome'");
        scripts.file("site/app.sh", "printf 'Content-Type: a/b\\n\\n'; printf \"app $PATH_INFO\"");
        scripts.file("site/sub/index.html", "sub");
        let served = scripts.serve(driver);
        let got = |target: &str| {
            let answer = served.get(target);
            (answer.status, text(&answer))
        };
        assert_eq!(got("/cgi/deep/"), (200, "index of /cgi/deep/index.sh".to_owned()));
        let redirect = served.get("/cgi/deep?x=y");
        assert_eq!((redirect.status, redirect.field("location")), (301, Some("/cgi/deep/?x=y")));
        assert_eq!(got("/cgi/plain.txt").0, 404, "what is no script is refused among scripts");
        assert_eq!(got("/cgi/none").0, 404);
        assert_eq!(got("/"), (200, "home".to_owned()));
        assert_eq!(got("/app.sh/info"), (200, "app /info".to_owned()));
        assert_eq!(got("/page.html"), (200, "a page".to_owned()));
        assert_eq!(got("/sub/"), (200, "sub".to_owned()));
        assert_eq!(got("/none.sh").0, 404);
        served.stop();
    });
}
