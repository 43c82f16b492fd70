//! Upstreams of a configuration: TLS towards backends, and what a reload takes over.

use crate::served::{ENDPOINT, Served, drivers, files};
use ringway::engine::{EndpointLimits, Outbound, Server, ServerOptions, WorkerHandle};
use ringway::web::upstream::{Balance, Group, Key, Standing, Tried, Upstream};
use std::path::Path;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

fn upstream(served: &Served, name: &str) -> Arc<Group> {
    let posts = served.running.faces().posts();
    let found = posts.upstreams.iter().find(|group| group.name() == name);
    Arc::clone(found.expect("it is configured"))
}

/// What a backend of the group answers; or why not.
fn ask(group: &Arc<Group>) -> Result<String, String> {
    let (sender, outcome) = channel();
    let (sender, group) = (Mutex::new(sender), Arc::clone(group));
    let options = ServerOptions {
        workers: 1,
        outbound: vec![Outbound::held(EndpointLimits::default())],
        on_start: Some(Arc::new(move |worker: &WorkerHandle| {
            let upstream = Upstream::of(&group, worker);
            let sender = sender.lock().expect("no panic").clone();
            worker.spawn(async move {
                let _test_gave_up = sender.send(exchange(&upstream).await);
            });
        })),
        ..ServerOptions::default()
    };
    let server = Server::start(&[], &options).expect("it starts");
    let outcome = outcome.recv_timeout(PATIENCE).expect("it ends");
    server.drain(Duration::ZERO);
    assert_eq!(server.wait(PATIENCE).expect("no worker dies").panics, 0);
    outcome
}

async fn exchange(upstream: &Upstream) -> Result<String, String> {
    let lease = upstream.lease(&Key::default(), &mut Tried::default()).await;
    let mut lease = lease.map_err(|error| error.to_string())?;
    let question = b"GET / HTTP/1.1\r\nHost: example.org\r\nConnection: close\r\n\r\n";
    let question = lease.stream.slice_of(question).expect("room");
    lease.stream.send(question);
    let mut text = String::new();
    while let Some(bytes) = lease.stream.read().await.map_err(|error| error.to_string())? {
        text.push_str(&String::from_utf8_lossy(&bytes));
    }
    Ok(text)
}

#[test]
fn backends_are_believed_by_their_certificates() {
    let certificates = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/good/certificates");
    let (cert, key) = (certificates.join("good.pem"), certificates.join("good.key"));
    let folder = files("upstream-tls", &[("index.html", "over tls")]);
    let behind = format!(
        "[log.access]\nformat = \"off\"\n[[endpoint]]\nname = \"https\"\nlisten = [\"127.0.0.1:0\"]\ntls = true\nhttp2 = false\n\
         [[certificate]]\ncert = \"{}\"\nkey = \"{}\"\n[[site]]\nnames = [\"example.org\"]\nroot = \".\"\n",
        cert.display(),
        key.display()
    );
    for driver in drivers() {
        let behind = Served::new(&behind, folder.path(), driver);
        let one = |name: &str, tls: &str| {
            let backend = format!("backend = [{{ address = \"{}\" }}]", behind.addresses[0]);
            format!("[[upstream]]\nname = \"{name}\"\n{backend}\ntls = {tls}\n")
        };
        let ca = format!("ca = \"{}\"", cert.display());
        let front = [
            ENDPOINT.to_owned(),
            one("known", &format!("{{ server_name = \"example.org\", {ca} }}")),
            one("other", &format!("{{ server_name = \"other.test\", {ca} }}")),
            one("foreign", "{ server_name = \"example.org\" }"),
            one("open", "{ verify = false }"),
            "[[site]]\nnames = [\"*\"]\nroot = \".\"\n".to_owned(),
        ];
        let front = Served::new(&front.concat(), folder.path(), driver);
        for name in ["known", "open"] {
            let answer = ask(&upstream(&front, name)).expect(name);
            assert!(answer.ends_with("over tls"), "{name}: {answer}");
        }
        for name in ["other", "foreign"] {
            let group = upstream(&front, name);
            let error = ask(&group).expect_err(name);
            assert!(error.contains("certificate") && error.contains(&format!("of {name}")), "{error}");
            assert_eq!(group.backends()[0].figures().connect_failures, 1);
        }
    }
}

#[test]
fn a_reload_keeps_what_is_known_of_backends() {
    let folder = files("upstream-reload", &[("index.html", "i")]);
    let text = |weight: u16, balance: &str| {
        format!(
            "{ENDPOINT}[[upstream]]\nname = \"app\"\nbalance = \"{balance}\"\nfail_max = 1\n\
             [[upstream.backend]]\naddress = \"127.0.0.1:1\"\nweight = {weight}\n\
             [[upstream.backend]]\naddress = \"127.0.0.1:2\"\n[[site]]\nnames = [\"*\"]\nroot = \".\"\n"
        )
    };
    let mut served = Served::new(&text(1, "first-alive"), folder.path(), drivers()[0]);
    let first = upstream(&served, "app");
    assert!(ask(&first).expect_err("nobody listens").contains("refused"));
    assert!(first.drain("127.0.0.1:2", true));
    served.reload(&text(1, "first-alive"), folder.path()).expect("it is taken");
    assert!(Arc::ptr_eq(&upstream(&served, "app"), &first), "nothing has changed");
    served.reload(&text(7, "source-hash"), folder.path()).expect("it is taken");
    let second = upstream(&served, "app");
    assert_eq!((second.options().balance, second.options().backends[0].weight), (Balance::SourceHash, 7));
    assert_ne!(second.backends()[0].standing(), Standing::Up, "it is as down as before");
    assert!(second.backends()[1].is_drained());
    assert_eq!(second.backends()[0].figures().failures, first.backends()[0].figures().failures);
}
