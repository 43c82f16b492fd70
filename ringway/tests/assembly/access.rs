//! Who may do what: rules, rates, users.

use crate::served::{ENDPOINT, Served, drivers, files};
use ringway::web::auth::password::PasswordHash;

/// `alice:wonder` and `bob:builder`, as a client sends them.
const ALICE: &str = "Authorization: Basic YWxpY2U6d29uZGVy\r\n";
const BOB: &str = "Authorization: Basic Ym9iOmJ1aWxkZXI=\r\n";

/// SHA-256 of `token`.
const TOKEN: &str = "3c469e9d6c5875d37a43f353d4f88e61fcf812c66eee3457465a40b0da4153e0";

#[test]
fn rules_decide_in_their_order() {
    let folder =
        files("run-rules", &[("index.html", "i"), ("secret/x", "s"), ("open/x", "o"), ("a.png", "p")]);
    let text = format!(
        r#"{ENDPOINT}
[[site]]
names = ["*"]
root = "."
[[site.rule]]
action = "allow"
paths = ["/secret/open"]
[[site.rule]]
action = "deny"
paths = ["/secret/**"]
from = ["127.0.0.0/8"]
[[site.rule]]
action = "hide"
headers = {{ "user-agent" = "*bot*" }}
[[site.rule]]
action = "deny"
paths = ["/*.png"]
foreign_pages = {{ except = ["friend.example"] }}
[[site.rule]]
action = "close"
methods = ["TRACE"]
"#
    );
    for driver in drivers() {
        let served = Served::new(&text, folder.path(), driver);
        assert_eq!(served.get("x", "/").0, 200);
        assert_eq!(served.get("x", "/secret/x").0, 403);
        assert_eq!(served.get("x", "/secret/%2e/x").0, 403);
        assert_eq!(served.get("x", "/secret/open").0, 404);
        assert_eq!(served.ask("x", "/", "User-Agent: a BOT\r\n").status, 404);
        assert_eq!(served.ask("x", "/a.png", "Referer: https://thief.example/\r\n").status, 403);
        assert_eq!(served.ask("x", "/a.png", "Referer: https://friend.example/\r\n").status, 200);
        let mut client = served.client();
        client.send(b"TRACE / HTTP/1.1\r\nHost: x\r\n\r\n").expect("it is taken");
        assert_eq!(client.until_end().unwrap_or_default(), b"");
    }
}

#[test]
fn requests_are_counted_by_address() {
    let folder = files("run-rates", &[("index.html", "i"), ("slow/x", "s")]);
    let text = format!(
        "{ENDPOINT}\n[[site]]\nnames = [\"*\"]\nroot = \".\"\n[[site.route]]\npath = \"/slow/**\"\nrate_limit = {{ rate = \"1/h\", burst = 2 }}\n\
         [[site]]\nnames = [\"exempt\"]\nroot = \".\"\nrate_limit = {{ rate = \"1/h\", burst = 1, except = [\"127.0.0.0/8\"] }}\n"
    );
    let served = Served::new(&text, folder.path(), drivers()[0]);
    let statuses: Vec<u16> = (0..4).map(|_| served.get("x", "/slow/x").0).collect();
    assert_eq!(statuses, [200, 200, 429, 429]);
    assert_eq!(served.get("x", "/").0, 200);
    assert!((0..4).all(|_| served.get("exempt", "/").0 == 200));
}

#[test]
fn users_come_in_and_others_do_not() {
    let folder =
        files("run-users", &[("index.html", "i"), ("open/x", "o"), ("bots/x", "b"), ("file/x", "f")]);
    let hash = |password: &str| PasswordHash::create(password.as_bytes()).expect("a hash");
    folder.file("users", format!("bob:{}\n", hash("builder")).as_bytes());
    let text = format!(
        r#"{ENDPOINT}
[[user]]
name = "alice"
password = "{}"
[[user]]
name = "bob"
password = "{}"
[[user]]
name = "bot"
tokens = ["{TOKEN}"]
[[site]]
names = ["*"]
root = "."
auth = {{ kind = "basic", realm = "Here", users = ["alice"] }}
[[site.route]]
path = "/open/**"
auth = {{ kind = "none" }}
[[site.route]]
path = "/bots/**"
auth = {{ kind = "bearer" }}
[[site.route]]
path = "/file/**"
auth = {{ kind = "basic", users_file = "users" }}
[[site.route]]
path = "/marked/**"
headers = {{ set = {{ "X-Marked" = "yes" }} }}
"#,
        hash("wonder"),
        hash("builder"),
    );
    for driver in drivers() {
        let served = Served::new(&text, folder.path(), driver);
        let asked = served.ask("x", "/", "");
        assert_eq!(asked.status, 401);
        assert!(
            asked.field("www-authenticate").is_some_and(|ask| ask.starts_with("Basic realm=\"Here\"")),
            "{}",
            asked.head
        );
        assert_eq!(served.ask("x", "/", ALICE).status, 200);
        assert_eq!(served.ask("x", "/", BOB).status, 403);
        assert_eq!(served.ask("x", "/open/x", "").status, 200);
        assert_eq!(served.ask("x", "/marked/x", "").status, 401);
        assert_eq!(served.ask("x", "/marked/x", ALICE).status, 404);
        assert_eq!(served.ask("x", "/bots/x", ALICE).status, 401);
        assert_eq!(served.ask("x", "/bots/x", "Authorization: Bearer token\r\n").status, 200);
        assert_eq!(served.ask("x", "/file/x", BOB).status, 200);
        assert_eq!(served.ask("x", "/file/x", ALICE).status, 401);
    }
}
