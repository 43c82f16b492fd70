//! PHP by php-cgi, as old sites have it.

use crate::stand::{Scripts, Served, on_both_drivers, text};
use ringway::config::settings::Driver;
use ringway_testkit::Answer;

/// Where Debian has it.
const PHP: &str = "/usr/bin/php-cgi";

/// A site of PHP and files, with this program as the interpreter.
fn site(name: &str, driver: Driver, files: &[(&str, &str)]) -> (Scripts, Served) {
    assert!(std::path::Path::new(PHP).exists(), "php-cgi is missing: see `cargo xtask needs`");
    let mut scripts = Scripts::new(name);
    scripts.more = format!(
        "[[site.route]]\npath = \"/**\"\ncgi = {{ interpreters = {{ php = \"{PHP}\" }}, executables = false, index = [\"index.php\"], \
         body_size = \"8MiB\" }}\n"
    );
    for (name, contents) in files {
        scripts.file(&format!("site/{name}"), contents);
    }
    let served = scripts.serve(driver);
    (scripts, served)
}

fn is_ok(answer: &Answer, served: &Served) {
    assert_eq!(answer.status, 200, "{}{}", text(answer), served.said());
}

#[test]
fn pages_parameters_uploads_and_path_information() {
    on_both_drivers(|driver| {
        let (_scripts, served) = site(
            "php",
            driver,
            &[
                ("index.php", "<?php echo 'home';"),
                ("info.php", "<?php phpinfo();"),
                (
                    "echo.php",
                    "<?php echo json_encode([$_SERVER['PATH_INFO'] ?? '', $_GET, $_POST, $_SERVER['SCRIPT_NAME'], $_SERVER['PHP_SELF']]);",
                ),
                ("hash.php", "<?php echo hash('sha256', file_get_contents('php://input'));"),
                ("file.php", "<?php echo $_FILES['f']['name'], ' ', filesize($_FILES['f']['tmp_name']);"),
                (
                    "code.php",
                    "<?php http_response_code(418); header('X-A: b'); setcookie('c', 'd'); echo 'tea';",
                ),
                ("away.php", "<?php header('Location: /index.php');"),
                ("big.php", "<?php for ($i = 0; $i < 3000; $i++) echo str_repeat('x', 1024);"),
                ("broken.php", "<?php throw new Exception('it is broken');"),
                ("style.css", "body {}"),
            ],
        );
        assert_eq!(text(&served.get("/")), "home", "{}", served.said());
        assert!(text(&served.get("/info.php")).contains("CGI/FastCGI"));
        let echo = served.post("/echo.php/a/b?x=1", "application/x-www-form-urlencoded", b"y=2&z=%20");
        is_ok(&echo, &served);
        assert_eq!(text(&echo), r#"["\/a\/b",{"x":"1"},{"y":"2","z":" "},"\/echo.php","\/echo.php\/a\/b"]"#);
        let million = vec![b'a'; 1_000_000];
        let hash = served.post("/hash.php", "application/octet-stream", &million);
        assert_eq!(
            text(&hash),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
            "{}",
            served.said()
        );
        let form = "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"n.txt\"\r\nContent-Type: text/plain\r\n\r\nhello\r\n--b--\r\n";
        let upload = served.post("/file.php", "multipart/form-data; boundary=b", form.as_bytes());
        assert_eq!(text(&upload), "n.txt 5", "{}", served.said());
        let code = served.get("/code.php");
        assert_eq!((code.status, code.field("x-a"), code.field("set-cookie")), (418, Some("b"), Some("c=d")));
        let away = served.get("/away.php");
        assert_eq!(
            (away.status, away.field("location")),
            (302, Some("/index.php")),
            "PHP says its status itself"
        );
        assert_eq!(served.get("/big.php").body.len(), 3_072_000);
        let broken = served.get("/broken.php");
        assert_eq!(broken.status, 500, "{}", text(&broken));
        assert_eq!(served.get("/style.css").field("content-type"), Some("text/css; charset=utf-8"));
        assert_eq!(served.get("/none.php").status, 404);
        served.stop();
    });
}

#[test]
fn sessions_and_databases_last_over_requests() {
    on_both_drivers(|driver| {
        let (scripts, served) = site(
            "php-sessions",
            driver,
            &[
                (
                    "count.php",
                    "<?php session_save_path(__DIR__); session_start(); $_SESSION['n'] = ($_SESSION['n'] ?? 0) + 1; echo $_SESSION['n'];",
                ),
                (
                    "db.php",
                    "<?php $db = new PDO('sqlite:' . __DIR__ . '/x.db'); $db->exec('create table if not exists t(n)'); \
                     $db->exec('insert into t values(1)'); echo $db->query('select count(*) from t')->fetchColumn();",
                ),
            ],
        );
        let first = served.get("/count.php");
        is_ok(&first, &served);
        let cookie = first.field("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        let again = || {
            let request = format!("GET /count.php HTTP/1.1\r\nHost: a\r\nCookie: {cookie}\r\n\r\n");
            text(&served.ask(&request))
        };
        assert_eq!((again(), again()), ("2".to_owned(), "3".to_owned()));
        // Where PHP comes without SQLite the page says so.
        let rows = [served.get("/db.php"), served.get("/db.php")].map(|answer| text(&answer));
        if rows[0].contains("could not find driver") || served.said().contains("could not find driver") {
            eprintln!("SKIPPED: this PHP has no SQLite");
        } else {
            assert_eq!(rows, ["1", "2"], "{}", served.said());
        }
        served.stop();
        drop(scripts);
    });
}
