//! Upstreams as operators see them: metrics, the console's list, the dashboard's frames; and backends taken out.

use crate::stand::{Stand, eventually, on_each_driver};
use ringway::console::{Request, execute};
use ringway::engine::ring::DriverChoice;
use ringway::engine::{WorkerHandle, WorkerStart};
use ringway::web::upstream::{BackendOptions, Group, GroupOptions, Key, Tried, Upstream};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

/// From one request of a worker to the next, in milliseconds.
const PAUSE_MS: u64 = 5;

/// Two backends that answer, one where nobody listens, and workers that ask them.
pub(crate) struct Backends {
    pub(crate) group: Arc<Group>,
}

impl Backends {
    pub(crate) fn start() -> Self {
        let gone = TcpListener::bind("127.0.0.1:0").expect("loopback").local_addr().expect("bound");
        let addresses = [answering(), answering(), gone];
        let backend =
            |address: SocketAddr| BackendOptions::new(address.to_string().parse().expect("an address"));
        let mut backends: Vec<BackendOptions> = addresses.map(backend).into();
        backends[0].weight = 2;
        Self { group: Group::new(GroupOptions::new("app", backends), None, None).expect("it makes sense") }
    }

    pub(crate) fn stand(&self, driver: DriverChoice) -> Stand {
        let group = Arc::clone(&self.group);
        let on_start: WorkerStart = Arc::new(move |worker: &WorkerHandle| {
            worker.spawn(ask_for_ever(Upstream::of(&group, worker), worker.clone()));
        });
        Stand::start_with(driver, vec![Arc::clone(&self.group)], Some(on_start))
    }

    fn address(&self, place: usize) -> String {
        self.group.backends()[place].name().to_owned()
    }
}

async fn ask_for_ever(upstream: Upstream, worker: WorkerHandle) {
    loop {
        if let Ok(mut lease) = upstream.lease(&Key::default(), &mut Tried::default()).await {
            let question = lease.stream.slice_of(b"?").expect("room");
            lease.stream.send(question);
            if matches!(lease.stream.read().await, Ok(Some(_))) {
                lease.answered(200);
                lease.keep();
            }
        }
        worker.sleep_until(worker.now_ms() + PAUSE_MS).await;
    }
}

/// A backend that says a byte for a byte.
fn answering() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            std::thread::spawn(move || echo(connection));
        }
    });
    address
}

fn echo(mut connection: TcpStream) {
    let mut byte = [0];
    while connection.read_exact(&mut byte).is_ok() && connection.write_all(&byte).is_ok() {}
}

fn console(stand: &Stand, line: &str) -> (bool, String) {
    let mut words = line.split(' ').map(str::to_owned);
    let command = words.next().expect("a word");
    let answer = execute::execute(&stand.running, &Request { command, arguments: words.collect() });
    (answer.ok, answer.text)
}

#[test]
fn upstreams_are_told_of_by_every_face() {
    on_each_driver(|plain| {
        plain.stop();
        let backends = Backends::start();
        let stand = backends.stand(DriverChoice::Auto);
        let answered = |place: usize| backends.group.backends()[place].figures().answers.requests();
        eventually("both answer", || answered(0) > 5 && answered(1) > 5);
        let is_down = || backends.group.backends()[2].figures().downs > 0;
        eventually("the third is down", is_down);
        let (_, list) = console(&stand, "upstreams");
        let line = list.lines().find(|line| line.contains(&backends.address(2))).expect("it is listed");
        assert!(line.contains(" down ") && line.contains("refused"), "{list}");
        let text = String::from_utf8(stand.get("/metrics").body).expect("UTF-8");
        let series = |name: &str, place: usize| {
            let start = format!("{name}{{upstream=\"app\",backend=\"{}\"}} ", backends.address(place));
            let value = text.lines().find_map(|line| line.strip_prefix(start.as_str())).expect("a series");
            value.parse::<f64>().expect("a number")
        };
        let up = [0, 1, 2].map(|place| series("ringway_upstream_backend_up", place));
        assert_eq!(up, [1.0, 1.0, 0.0]);
        assert!(series("ringway_upstream_connect_failures_total", 2) >= 3.0);
        assert!(series("ringway_upstream_duration_seconds_count", 0) > 5.0);
        stand.stop();
    });
}

#[test]
fn a_backend_is_taken_out_and_in_again() {
    let backends = Backends::start();
    let stand = backends.stand(DriverChoice::Auto);
    let first = &backends.group.backends()[0];
    eventually("it answers", || first.figures().answers.requests() > 5);
    let address = backends.address(0);
    let (is_done, told) = console(&stand, &format!("drain-backend app {address}"));
    assert!(is_done && told.contains("no more requests"), "{told}");
    eventually("nothing is under way there", || first.in_flight() == 0 && first.connections() == 0);
    let before = first.figures().answers.requests();
    let others = || backends.group.backends()[1].figures().answers.requests();
    let so_far = others();
    eventually("the other goes on", || others() > so_far + 20);
    assert_eq!(first.figures().answers.requests(), before);
    assert!(console(&stand, "upstreams").1.contains("drained"));
    assert!(console(&stand, &format!("undrain-backend app {address}")).0);
    eventually("it answers again", || first.figures().answers.requests() > before);
    for (line, why) in
        [("drain-backend web x", "no upstream"), ("drain-backend app 127.0.0.1:1", "no backend")]
    {
        let (is_done, told) = console(&stand, line);
        assert!(!is_done && told.contains(why), "{told}");
    }
    stand.stop();
}
