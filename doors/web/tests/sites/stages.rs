//! Stages: what they decide, wait for and leave for others; and that a request goes on where it stood.

use crate::stand::{on_each_driver, route, says};
use ringway_engine::heap::local_future;
use ringway_engine::{Session, WorkerHandle};
use ringway_http::response::EncodeError;
use ringway_http::status::Status;
use ringway_web::exchange::Exchange;
use ringway_web::pipeline::{
    AnswerStage, Finish, Handled, Handler, Reply, RequestStage, Served, ServedStage, Verdict,
};
use ringway_web::site::Site;
use ringway_web::sites::Sites;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// Knows the user after a while, and counts how often it was asked.
struct Door(Arc<AtomicUsize>);

impl RequestStage for Door {
    fn request(&self, exchange: &mut Exchange<'_>) -> Result<Verdict, EncodeError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        let is_welcome = exchange.query != Some(b"no");
        let checked = exchange.pool.run(move || is_welcome);
        Ok(Verdict::Later(local_future(async move {
            let is_welcome = checked.expect("there is room").await.expect("it is true or not");
            let finish: Finish = Box::new(move |exchange: &mut Exchange<'_>| {
                if !is_welcome {
                    let lines = b"WWW-Authenticate: Basic realm=\"a\"\r\n";
                    return exchange.error_with(Status::UNAUTHORIZED, lines).map(Handled::Answer);
                }
                exchange.set_user(Rc::from("ann"));
                exchange.add_field(b"X-Door", b"open")?;
                Ok(Handled::NotMine)
            });
            finish
        })))
    }
}

/// Says who asks for what, with `n` bytes of field where the path is `/long`.
struct Mirror;

impl Handler for Mirror {
    fn handle(&self, exchange: &mut Exchange<'_>) -> Result<Handled, EncodeError> {
        if exchange.path == b"/later" && exchange.query != Some(b"rewritten") {
            exchange.rewrite(b"/rewritten path", Some(b"rewritten")).expect("it is normal");
            return Ok(Handled::Later(local_future(async {
                let finish: Finish = Box::new(|exchange: &mut Exchange<'_>| Mirror.handle(exchange));
                finish
            })));
        }
        if exchange.path == b"/long" {
            exchange.add_field(b"X-Long", &[b'x'; 4000])?;
        }
        let has_session =
            exchange.session().is_some_and(|session: Rc<Session>| session.server_name.is_some());
        let text = format!(
            "{} {}?{} {has_session}",
            exchange.user().map_or("-", |user| user),
            exchange.path.escape_ascii(),
            exchange.query.unwrap_or_default().escape_ascii()
        );
        let reply = exchange.text(Status::OK, b"Content-Type: text/plain\r\n", text.into_bytes())?;
        Ok(Handled::Answer(reply))
    }
}

/// Puts its own answer in place of what was not found.
struct Soften;

impl AnswerStage for Soften {
    fn answer(&self, exchange: &mut Exchange<'_>, reply: Reply) -> Result<Handled, EncodeError> {
        match reply.plan.status {
            Status::NOT_FOUND => exchange.text(Status::GONE, b"", b"softened".to_vec()).map(Handled::Answer),
            _ => Ok(Handled::Answer(reply)),
        }
    }
}

type Lines = Arc<Mutex<Vec<String>>>;

struct Book(Lines);

impl ServedStage for Book {
    fn served(&self, served: &Served<'_>) {
        let user = served.user.unwrap_or("-");
        let line = format!("{} {user} {} {}", served.site.name, served.status, served.protocol);
        self.0.lock().expect("nobody panics").push(line);
    }

    fn wants_details(&self) -> bool {
        false
    }
}

#[test]
fn a_stage_may_wait_and_the_request_goes_on_behind_it() {
    let (asked, lines) = (Arc::new(AtomicUsize::new(0)), Lines::default());
    let (count, book) = (Arc::clone(&asked), Arc::clone(&lines));
    let build = move |_worker: &WorkerHandle| {
        let mut site = Site::with_handler("guarded", Mirror);
        site.stages.push(Box::new(Door(Arc::clone(&count))));
        site.served.push(Box::new(Book(Arc::clone(&book))));
        let mut sites = Sites::new(Site::with_handler("open", Mirror));
        sites.add(site, &["guarded"]).unwrap();
        sites
    };
    on_each_driver(build, |stand| {
        asked.store(0, Ordering::Relaxed);
        lines.lock().unwrap().clear();
        assert_eq!(stand.get("open", "/x?y").body, b"- /x?y false");
        let answer = stand.get("guarded", "/x%20y/../z?q");
        assert_eq!((&*answer.body, answer.field("x-door")), (&b"ann /z?q false"[..], Some("open")));
        let refused = stand.get("guarded", "/x?no");
        assert_eq!((refused.status, refused.field("www-authenticate")), (401, Some("Basic realm=\"a\"")));
        assert_eq!(refused.field("x-door"), None);
        assert_eq!(asked.load(Ordering::Relaxed), 2);
        // Its head needs more memory than it is given at first: nobody who has passed is asked again.
        let long = stand.get("guarded", "/long");
        assert_eq!((long.status, long.field("x-long").map(str::len)), (200, Some(4000)));
        assert_eq!(long.body, b"ann /long? false");
        let count = |name: &str| long.head.matches(name).count();
        assert_eq!((count("X-Long: "), count("X-Door: ")), (1, 1), "what is done again is not said twice");
        assert_eq!(asked.load(Ordering::Relaxed), 3);
        // With a body, and with one that waits to be asked for.
        let post = "POST /p HTTP/1.1\r\nHost: guarded\r\nContent-Length: 2\r\n\r\nhi";
        assert_eq!(stand.ask(post).body, b"ann /p? false");
        let mut client = stand.client();
        client
            .send(b"POST /p HTTP/1.1\r\nHost: guarded\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
            .unwrap();
        // Nobody wants it: the client is told the outcome and need not send it.
        let answer = client.answer(false).unwrap();
        assert_eq!((answer.status, &*answer.body), (200, &b"ann /p? false"[..]));
        assert_eq!(asked.load(Ordering::Relaxed), 5);
        let expected = ["guarded ann 200 HTTP/1.1", "guarded - 401 HTTP/1.1"];
        assert_eq!(lines.lock().unwrap()[..2], expected);
    });
}

#[test]
fn a_rewritten_path_outlives_a_wait() {
    let build = |_worker: &WorkerHandle| Sites::new(Site::with_handler("site", Mirror));
    on_each_driver(build, |stand| {
        assert_eq!(stand.get("a", "/later?x").body, b"- /rewritten path?rewritten false");
    });
}

#[test]
fn stages_of_routes_guard_their_part_only_and_answers_can_be_replaced() {
    struct Closed;
    impl RequestStage for Closed {
        fn request(&self, exchange: &mut Exchange<'_>) -> Result<Verdict, EncodeError> {
            exchange.error(Status::FORBIDDEN).map(Verdict::Answer)
        }
    }
    struct Hang;
    impl RequestStage for Hang {
        fn request(&self, _exchange: &mut Exchange<'_>) -> Result<Verdict, EncodeError> {
            Ok(Verdict::Close)
        }
    }
    let build = |_worker: &WorkerHandle| {
        let mut site = Site::new("site");
        let mut closed = route("/private/**", says("private"));
        closed.stages.push(Box::new(Closed));
        let mut hang = route("/hang", says("hang"));
        hang.stages.push(Box::new(Hang));
        for route in [closed, hang, route("/open", says("open"))] {
            site.routes.add(route).unwrap();
        }
        site.answers.push(Box::new(Soften));
        Sites::new(site)
    };
    on_each_driver(build, |stand| {
        for target in ["/private", "/private/", "/private/x", "/%70rivate", "/x/../private/y", "//private"] {
            assert_eq!(stand.get("a", target).status, 403, "{target}");
        }
        assert_eq!(stand.get("a", "/open").body, b"open");
        let softened = stand.get("a", "/Private");
        assert_eq!((softened.status, &*softened.body), (410, &b"softened"[..]));
        let mut client = stand.client();
        client.send(b"GET /hang HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        assert_eq!(client.until_end().unwrap(), b"");
    });
}
