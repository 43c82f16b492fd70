//! Names: hidden ones, odd ones, and the ways out of the root that there must not be.

use crate::server::{Driver, Setup};
use ringway_testkit::Scratch;
use std::os::unix::fs::symlink;

on_both_drivers!(
    dot_names_are_hidden,
    nothing_leads_out_of_the_root,
    links_that_stay_inside_are_followed,
    odd_names_are_served,
    what_is_neither_file_nor_directory_is_refused,
);

fn dot_names_are_hidden(driver: Driver) {
    let site = Scratch::new("dots");
    site.file(".git/config", b"secret");
    site.file(".env", b"secret");
    site.file("sub/.htpasswd", b"secret");
    site.file(".well-known/security.txt", b"contact");
    site.file(".well-known/.hidden", b"secret");
    site.file("...", b"secret");
    let server = Setup::new(driver, site.path()).start();
    for target in [
        "/.git/config",
        "/.git/",
        "/.git",
        "/.env",
        "/%2egit/config",
        "/%2Eenv",
        "/sub/.htpasswd",
        "/sub/../.env",
        "/.well-known/.hidden",
        "/.well-known/../.env",
        "/...",
        "/.well-knownx",
    ] {
        let answer = server.get(target);
        assert_eq!(answer.status, 404, "{target}");
        assert!(!answer.body.windows(6).any(|window| window == b"secret"), "{target}");
    }
    assert_eq!(server.get("/.well-known/security.txt").body, b"contact");
    assert_eq!(server.get("/%2ewell-known/security.txt").body, b"contact");
}

fn nothing_leads_out_of_the_root(driver: Driver) {
    let place = Scratch::new("escape");
    place.file("secret.txt", b"secret");
    place.file("site/ok.txt", b"ok");
    place.file("site/sub/ok.txt", b"ok");
    place.file("site2/secret.txt", b"secret");
    let root = place.path().join("site");
    symlink("../secret.txt", root.join("relative")).expect("a link");
    symlink(place.path().join("secret.txt"), root.join("absolute")).expect("a link");
    symlink("/", root.join("slash")).expect("a link");
    symlink("..", root.join("up")).expect("a link");
    symlink("/proc/self/root", root.join("magic")).expect("a link");
    symlink("loop", root.join("loop")).expect("a link");
    let server = Setup::new(driver, &root).start();
    let shown = place.path().display();
    for (target, statuses) in [
        ("/../secret.txt", &[400][..]),
        ("/sub/../../secret.txt", &[400]),
        ("/%2e%2e/secret.txt", &[400]),
        ("/.%2e/secret.txt", &[400]),
        ("/..%2fsecret.txt", &[400]),
        ("/..%5csecret.txt", &[400]),
        ("/..\\secret.txt", &[400]),
        ("/%252e%252e/secret.txt", &[404]),
        ("/%c0%ae%c0%ae/secret.txt", &[404]),
        ("/..;/secret.txt", &[404]),
        ("/sub/..%00/secret.txt", &[400]),
        ("/ok.txt%00.html", &[400]),
        ("/%", &[400]),
        ("/%zz", &[400]),
        ("/ok.txt#fragment", &[400]),
        ("/../site2/secret.txt", &[400]),
        ("/relative", &[403, 404]),
        ("/absolute", &[403, 404]),
        ("/slash/etc/passwd", &[403, 404]),
        ("/slash/", &[403, 404]),
        ("/up/secret.txt", &[403, 404]),
        ("/up/", &[403, 404]),
        ("/magic/etc/passwd", &[403, 404]),
        ("/loop", &[403, 404]),
        (&format!("/{shown}/secret.txt"), &[404]),
        (&format!("//{shown}/secret.txt"), &[404]),
    ] {
        let answer = server.get(target);
        assert!(statuses.contains(&answer.status), "{target}: {}", answer.status);
        let text = String::from_utf8_lossy(&answer.body);
        assert!(!text.contains("secret") && !text.contains("root:"), "{target}: {text}");
    }
    for target in ["/ok.txt", "/sub/../ok.txt", "/./sub/./ok.txt", "//ok.txt", "/sub//ok.txt", "/%6fk.txt"] {
        assert_eq!(server.get(target).body, b"ok", "{target}");
    }
    let long = format!("/{}", "a".repeat(5000));
    assert_eq!(server.get(&long).status, 414, "longer than any path");
    let long_name = format!("/{}", "a".repeat(300));
    assert_eq!(server.get(&long_name).status, 404, "longer than any name");
}

fn links_that_stay_inside_are_followed(driver: Driver) {
    let site = Scratch::new("links");
    site.file("release-2/index.html", b"two");
    site.file("release-1/index.html", b"one");
    symlink("release-2", site.path().join("current")).expect("a link");
    symlink("release-1/index.html", site.path().join("file.html")).expect("a link");
    symlink("gone", site.path().join("dangling")).expect("a link");
    let server = Setup::new(driver, site.path()).start();
    assert_eq!(server.get("/current/").body, b"two");
    assert_eq!(server.get("/current").status, 301);
    assert_eq!(server.get("/file.html").body, b"one");
    assert_eq!(server.get("/dangling").status, 404);
}

fn odd_names_are_served(driver: Driver) {
    let site = Scratch::new("odd");
    let names: [(&[u8], &str); 8] = [
        (b"a b.txt", "/a%20b.txt"),
        (b"100%.txt", "/100%25.txt"),
        (b"what?.txt", "/what%3F.txt"),
        (b"hash#.txt", "/hash%23.txt"),
        (b"plus+.txt", "/plus+.txt"),
        ("été ☀.txt".as_bytes(), "/%C3%A9t%C3%A9%20%E2%98%80.txt"),
        (b"latin\xe9.txt", "/latin%E9.txt"),
        (b"~!$&'()*,;=:@.txt", "/~!$&'()*,;=:@.txt"),
    ];
    for (name, _) in names {
        use std::os::unix::ffi::OsStrExt;
        std::fs::write(site.path().join(std::ffi::OsStr::from_bytes(name)), name).expect("a file");
    }
    let server = Setup::new(driver, site.path()).start();
    for (name, target) in names {
        let answer = server.get(target);
        assert_eq!((answer.status, &answer.body[..]), (200, name), "{target}");
    }
    // Browsers escape what lies beyond ASCII; who does not means the same.
    assert_eq!(server.get("/été%20☀.txt").body, "été ☀.txt".as_bytes());
    let page = String::from_utf8_lossy(&server.get("/").body).into_owned();
    for (_, target) in names {
        // What a browser makes of the page must lead to the file.
        let links = page.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next());
        let mut plain = links.map(|link| link.replace("&amp;", "&").replace("&#39;", "'"));
        let file = server.get(target).body;
        assert!(
            plain.any(|link| server.get(&format!("/{}", link.trim_start_matches("./"))).body == file),
            "{target}"
        );
    }
}

fn what_is_neither_file_nor_directory_is_refused(driver: Driver) {
    let site = Scratch::new("special");
    let pipe = site.path().join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).expect("a FIFO");
    let _socket = std::os::unix::net::UnixListener::bind(site.path().join("socket")).expect("a socket");
    let server = Setup::new(driver, site.path()).start();
    for target in ["/pipe", "/socket"] {
        let answer = server.get(target);
        assert!(matches!(answer.status, 403 | 404), "{target}: {}", answer.status);
    }
    assert_eq!(server.get("/").status, 200);
}
