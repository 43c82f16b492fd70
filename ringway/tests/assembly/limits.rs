//! Limits: bandwidth, connections, and what operators see of them.

use crate::served::{ENDPOINT, Served, drivers, files};
use ringway_testkit::Client;
use std::process::Command;
use std::time::{Duration, Instant};

/// Bytes of the large file.
const LARGE: usize = 600_000;

/// How long a transfer takes.
fn took(served: &Served, host: &str) -> Duration {
    let before = Instant::now();
    assert_eq!(served.ask(host, "/large", "").body.len(), LARGE);
    before.elapsed()
}

#[test]
fn a_site_keeps_to_its_bandwidth() {
    let folder = files("run-governor", &[("large", &"x".repeat(LARGE))]);
    // 600 kB at 1 MB/s: half a second at the least, whatever the first moments let through.
    let text = format!(
        "{ENDPOINT}\n[[site]]\nnames = [\"slow\"]\nroot = \".\"\ngovernor = {{ rate = \"1 MB/s\" }}\n[[site]]\nnames = [\"*\"]\nroot = \".\"\n"
    );
    for driver in drivers() {
        let mut served = Served::new(&text, folder.path(), driver);
        let slow = took(&served, "slow");
        assert!(slow > Duration::from_millis(250), "{slow:?}");
        let free = took(&served, "free");
        assert!(free < slow, "{free:?} and {slow:?}");
        served.reload(&text.replace("1 MB/s", "1 Gbit/s"), folder.path()).expect("it is taken");
        let faster = took(&served, "slow");
        assert!(faster < slow, "{faster:?} and {slow:?}");
    }
}

/// Asks so often over one connection of HTTP/2: statuses, and how many answers say when to come back.
fn ask_over_h2(served: &Served, host: &str, name: &str, times: usize) -> (Vec<u16>, usize) {
    let url = format!("http://{}/{name}", served.addresses[0]);
    let said = Command::new("nghttp")
        .args(["-n", "-v", "-t", "60", "-m", &times.to_string(), "-H", &format!(":authority: {host}"), &url])
        .output()
        .expect("nghttp runs");
    assert!(said.status.success(), "{said:?}");
    let said = String::from_utf8(said.stdout).expect("text");
    let status =
        |line: &str| line.split(":status: ").nth(1).map(|status| status.trim().parse().expect("a status"));
    (said.lines().filter_map(status).collect(), said.matches("retry-after: ").count())
}

#[test]
fn requests_over_http2_ask_the_governor() {
    let folder = files("run-governor-h2", &[("part", &"x".repeat(20_000)), ("large", &"x".repeat(LARGE))]);
    let with = |governor: &str| {
        format!(
            "{ENDPOINT}\n[[site]]\nnames = [\"slow\"]\nroot = \".\"\ngovernor = {{ {governor} }}\n\
             [[site]]\nnames = [\"*\"]\nroot = \".\"\n"
        )
    };
    for driver in drivers() {
        let mut served = Served::new(&with("rate = \"1 MB/s\""), folder.path(), driver);
        let before = Instant::now();
        // 800 kB at 1 MB/s: nobody is refused, and it takes its time.
        assert_eq!(ask_over_h2(&served, "slow", "part", 40), (vec![200; 40], 0));
        let slow = before.elapsed();
        assert!(slow > Duration::from_millis(400), "{slow:?}");
        // While a transfer has the line, nobody may wait for it.
        let busy = with("rate = \"100 kB/s\", queue = 0");
        served.reload(&busy, folder.path()).expect("it is taken");
        let mut transfer = served.client();
        transfer.send(b"GET /large HTTP/1.1\r\nHost: slow\r\n\r\n").expect("it is taken");
        assert_eq!(transfer.stream().peek(&mut [0]).expect("it begins"), 1);
        let (statuses, told) = ask_over_h2(&served, "slow", "part", 10);
        let refused = statuses.iter().filter(|status| **status == 503).count();
        assert!(statuses.len() == 10 && refused > 0, "{statuses:?}");
        assert_eq!(told, refused);
        assert_eq!(ask_over_h2(&served, "free", "part", 40), (vec![200; 40], 0));
    }
}

#[test]
fn a_connection_keeps_to_its_rate() {
    let folder = files("run-rate", &[("large", &"x".repeat(LARGE))]);
    let text = format!(
        "{ENDPOINT}[limits]\nconnection_rate = \"1 MB/s\"\nconnection_burst = \"1 KiB\"\n[[site]]\nnames = [\"*\"]\nroot = \".\"\n"
    );
    let served = Served::new(&text, folder.path(), drivers()[0]);
    let slow = took(&served, "x");
    assert!(slow > Duration::from_millis(400), "{slow:?}");
}

#[test]
fn connections_that_are_too_many_are_told() {
    let folder = files("run-busy", &[("index.html", "i")]);
    let text = format!(
        "{ENDPOINT}[limits]\nconnections = 1\nover_capacity = \"busy\"\n[[site]]\nnames = [\"*\"]\nroot = \".\"\n"
    );
    let served = Served::new(&text, folder.path(), drivers()[0]);
    let ask = |client: &mut Client| {
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("it is taken");
        client.answer(false).expect("an answer").status
    };
    let mut clients: Vec<Client> = (0..6).map(|_| served.client()).collect();
    let statuses: Vec<u16> = clients.iter_mut().map(ask).collect();
    // Two workers, one connection each; the kernel chooses whose each is.
    assert!(statuses.contains(&200) && statuses.contains(&503), "{statuses:?}");
}

#[cfg(feature = "console")]
#[test]
fn operators_see_what_is_configured() {
    let folder = files("run-faces", &[("index.html", "i")]);
    let text = format!(
        "{ENDPOINT}\n[governor]\nrate = \"100 Mbit/s\"\n[[site]]\nnames = [\"a.example\", \"b.example\"]\nroot = \".\"\n"
    );
    let mut served = Served::new(&text, folder.path(), drivers()[0]);
    served.get("a.example", "/");
    served.get("b.example", "/nothing");
    let snapshot = served.running.faces().snapshot();
    let site = snapshot.sites.iter().find(|site| site.name == "a.example").expect("the site");
    assert_eq!(site.requests(), 2);
    assert_eq!(snapshot.governors.len(), 1);
    assert_eq!(
        (&*snapshot.governors[0].name, snapshot.governors[0].limit_bits_per_s),
        ("server", 100_000_000)
    );
    let posts = served.running.faces().posts();
    assert_eq!(posts.endpoints.len(), 1);
    let address = posts.endpoints[0].as_ref().map(|post| post.address.clone());
    assert_eq!(address, Some(served.addresses[0].to_string()));
    served
        .reload(&text.replace("[governor]\nrate = \"100 Mbit/s\"\n", ""), folder.path())
        .expect("it is taken");
    let snapshot = served.running.faces().snapshot();
    assert!(snapshot.governors.is_empty());
    let site = snapshot.sites.iter().find(|site| site.name == "a.example").expect("the site");
    assert_eq!(site.requests(), 2, "counters outlive a reload");
}
