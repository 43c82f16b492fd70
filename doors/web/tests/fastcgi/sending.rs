//! Files that programs have the server send: where they may lie, and what stays of the program's own answer.

use crate::program::{Program, Request, Served};
use crate::stand::{Setup, Stand, drivers, text, upstream};
use ringway_testkit::Scratch;
use std::io;

/// Says the field that the query holds, with others beside it.
fn redirect(served: &mut Served, request: &Request) -> io::Result<bool> {
    let field = request.param("QUERY_STRING").replace("%20", " ");
    let (name, value) = field.split_once('=').unwrap_or((&field, ""));
    let fields = match request.param("PATH_INFO") {
        "/typed" => "Content-Type: application/x-odd\r\nContent-Disposition: attachment\r\nETag: \"own\"\r\n",
        "/bare" => "",
        _ => "Set-Cookie: a=b\r\nContent-Type: text/html\r\n",
    };
    served.answer(&format!("{fields}{name}: {value}\r\n\r\nnot this"))
}

#[test]
fn files_are_sent_from_where_they_may_and_from_nowhere_else() {
    let place = Scratch::new("fastcgi-send");
    place.file("secret/report.pdf", b"the report");
    place.file("secret/a b.txt", b"spaced");
    place.file("secret/sub/deep.txt", b"deep");
    place.file("outside.txt", b"outside");
    std::os::unix::fs::symlink("../outside.txt", place.path().join("secret/link.txt")).unwrap();
    let disk = place.path().join("secret").display().to_string();
    for driver in drivers() {
        let program = Program::start(&place, "send", redirect);
        let stand = Stand::app(Setup { place: &place, driver, upstream: upstream(&[&program.address()]) });
        for (field, status, body) in [
            ("X-Accel-Redirect=/protected/report.pdf", 200, "the report"),
            ("X-Accel-Redirect=/protected/sub/deep.txt", 200, "deep"),
            (&format!("X-Sendfile={disk}/report.pdf"), 200, "the report"),
            (&format!("X-Sendfile={disk}/a%20b.txt"), 200, "spaced"),
            (&format!("X-Sendfile={disk}/sub/deep.txt"), 200, "deep"),
            ("X-Accel-Redirect=/protected/none.txt", 404, ""),
            ("X-Accel-Redirect=/protected/../outside.txt", 502, ""),
            ("X-Accel-Redirect=/protected/link.txt", 403, ""),
            ("X-Accel-Redirect=/elsewhere", 502, ""),
            ("X-Accel-Redirect=/protectedly/x", 502, ""),
            ("X-Accel-Redirect=report.pdf", 502, ""),
            (&format!("X-Sendfile={disk}/../outside.txt"), 502, ""),
            (&format!("X-Sendfile={disk}"), 502, ""),
            ("X-Sendfile=/etc/passwd", 502, ""),
            ("X-Sendfile=", 502, ""),
        ] {
            let answer = stand.get(&format!("/app/x?{field}"));
            assert_eq!(answer.status, status, "{field}: {}", text(&answer));
            if status == 200 {
                assert_eq!(text(&answer), body, "{field}");
                assert_eq!(answer.field("set-cookie"), Some("a=b"));
                let length = body.len().to_string();
                assert_eq!(answer.field("content-length"), Some(length.as_str()));
            }
            assert!(answer.field("x-accel-redirect").is_none() && answer.field("x-sendfile").is_none());
            assert!(!text(&answer).contains("outside"));
        }
        stand.logged(&["fastcgi: ", &program.address(), "in none of the directories", "/etc/passwd"]);

        let typed = stand.get("/app/typed?X-Accel-Redirect=/protected/report.pdf");
        assert_eq!(typed.field("content-type"), Some("application/x-odd"));
        assert_eq!(typed.field("content-disposition"), Some("attachment"));
        assert!(typed.field("etag").is_some_and(|tag| tag != "\"own\""), "{}", typed.head);
        let bare = stand.get("/app/bare?X-Accel-Redirect=/protected/report.pdf");
        assert_eq!(bare.field("content-type"), Some("application/pdf"));
        let part = stand.ask(
            b"GET /app/x?X-Accel-Redirect=/protected/report.pdf HTTP/1.1\r\nHost: a\r\nRange: bytes=4-5\r\n\r\n",
        );
        assert_eq!((part.status, text(&part).as_str()), (206, "re"));
        let posted = stand.post("/app/x?X-Accel-Redirect=/protected/report.pdf", "", b"form");
        assert_eq!((posted.status, text(&posted).as_str()), (200, "the report"));
        // Nobody gets there without the program.
        assert_eq!(stand.get("/protected/report.pdf").status, 404);
        stand.stop();
    }
}

#[test]
fn a_location_of_this_server_is_answered_by_this_server() {
    let place = Scratch::new("fastcgi-local");
    std::fs::create_dir(place.path().join("secret")).unwrap();
    for driver in drivers() {
        let program = Program::start(&place, "local", redirect);
        let stand = Stand::app(Setup { place: &place, driver, upstream: upstream(&[&program.address()]) });
        assert_eq!(text(&stand.get("/app/bare?Location=/elsewhere")), "elsewhere");
        // With anything beside it, it is the client's to follow.
        let told = stand.get("/app/x?Location=/elsewhere");
        assert_eq!((told.status, told.field("location")), (302, Some("/elsewhere")));
        let absolute = stand.get("/app/bare?Location=https://example.org/");
        assert_eq!((absolute.status, absolute.field("location")), (302, Some("https://example.org/")));
        stand.stop();
    }
}
