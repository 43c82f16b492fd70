//! Health, metrics, dashboard and console of a configured server.

use crate::served::{ENDPOINT, Served, drivers, files};
use ringway::console::{Request, execute::execute};

/// Sends the token whose SHA-256 is below.
const BEARER: &str = "Authorization: Bearer token\r\n";
const TOKEN: &str = "3c469e9d6c5875d37a43f353d4f88e61fcf812c66eee3457465a40b0da4153e0";

fn text(allow: &str) -> String {
    format!(
        r#"{ENDPOINT}
[health]
enabled = true
[metrics]
enabled = true
allow = ["{allow}"]
[dashboard]
enabled = true
path = "/panel"
auth = {{ kind = "bearer", users = ["admin"] }}
[[user]]
name = "admin"
tokens = ["{TOKEN}"]
[[site]]
names = ["a.example"]
root = "."
[[site.rule]]
action = "deny"
paths = ["/**"]
methods = ["GET"]
from = ["0.0.0.0/0"]
"#
    )
}

#[test]
fn faces_are_on_every_site_before_its_own_rules() {
    let folder = files("run-faces", &[("index.html", "i")]);
    for driver in drivers() {
        let mut served = Served::new(&text("127.0.0.0/8"), folder.path(), driver);
        assert_eq!(served.get("a.example", "/").0, 403, "the site's rules hold for all else");
        for host in ["a.example", "nobody.example"] {
            assert_eq!(served.get(host, "/health/live"), (200, "live\n".to_owned()), "{host}");
            assert_eq!(served.get(host, "/health/ready"), (200, "ready\n".to_owned()), "{host}");
            assert_eq!(served.ask(host, "/panel/", "").status, 401, "{host}");
            assert_eq!(served.ask(host, "/panel/", BEARER).status, 200, "{host}");
        }
        let (status, metrics) = served.get("a.example", "/metrics");
        assert_eq!(status, 200);
        let refused = "ringway_requests_total{site=\"a.example\",code_class=\"4xx\"} 2";
        assert!(metrics.contains(refused), "{metrics}");

        // Another configuration: the counters go on, and the networks are others.
        served.reload(&text("192.0.2.0/24"), folder.path()).expect("it is good");
        assert_eq!(served.get("a.example", "/metrics").0, 404);
        let request = Request { command: "sites".to_owned(), arguments: Vec::new() };
        let answer = execute(served.running.faces(), &request);
        assert_eq!(answer.data[0]["requests_by_class"][4], 3, "{}", answer.text);
    }
}
