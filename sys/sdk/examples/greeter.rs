//! A plug-in in Rust: greets, counts, answers from a thread of its own, and shows what a panic costs.

use ringway_sdk::{Answer, Later, Log, Reply, Request, RequestHandler, Route, Setup};
use std::cell::Cell;
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

const HELLO: u32 = 1;
const COUNT: u32 = 2;
const LATER: u32 = 3;
const LINES: u32 = 4;
const PANIC: u32 = 5;
const FORM: u32 = 6;

/// How long a client may take for the next piece of an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the thread is asked for: an answer, or so many lines.
enum Job {
    Answer(Later),
    Lines(Later, u32),
}

struct Greeter {
    greeting: String,
    log: Log,
    jobs: Mutex<Option<Sender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl RequestHandler for Greeter {
    type Worker = Cell<u64>;

    const ROUTES: &'static [Route] = &[
        Route::new(c"GET", c"/hello/{name}", HELLO),
        Route::new(c"GET", c"/count", COUNT),
        Route::new(c"GET", c"/later", LATER),
        Route::new(c"GET", c"/lines/{count}", LINES),
        Route::any(c"/panic", PANIC),
        Route::new(c"POST", c"/form", FORM),
    ];

    fn create(setup: &Setup<'_>) -> Result<Self, String> {
        let greeting = match setup.config().trim() {
            "" => "Hello",
            text if text.len() < 100 => text,
            _ => return Err("the greeting has 100 characters or more".to_owned()),
        };
        let (sender, jobs) = channel();
        let thread = std::thread::spawn(move || jobs.into_iter().for_each(work));
        setup.log().info("greetings are at hand");
        Ok(Self {
            greeting: greeting.to_owned(),
            log: setup.log(),
            jobs: Mutex::new(Some(sender)),
            thread: Mutex::new(Some(thread)),
        })
    }

    fn worker(&self) -> Cell<u64> {
        Cell::new(0)
    }

    fn request(&self, count: &Cell<u64>, request: &Request<'_>) -> Reply {
        match request.route() {
            HELLO => {
                let Some(name) = request.param_str("name") else {
                    return Answer::text("a name is UTF-8").status(400).into();
                };
                Answer::text(format!("{}, {name}!", self.greeting)).into()
            }
            COUNT => {
                count.set(count.get() + 1);
                Answer::json(format!("{{\"count\":{}}}", count.get())).into()
            }
            LATER => self.ask(request, Job::Answer),
            LINES => match request.param_str("count").and_then(|count| count.parse().ok()) {
                Some(count) => self.ask(request, |later| Job::Lines(later, count)),
                None => Answer::text("that is no number").status(400).into(),
            },
            PANIC => panic!("as {} was asked to", request.peer().unwrap_or("somebody")),
            FORM => match request.form_value("text") {
                Some(text) => Answer::text(text.to_owned())
                    .field("X-Fields", request.fields().count().to_string())
                    .into(),
                None => Answer::new(400).into(),
            },
            _ => Reply::Pass,
        }
    }
}

impl Greeter {
    fn ask(&self, request: &Request<'_>, job: impl FnOnce(Later) -> Job) -> Reply {
        let Some((later, reply)) = request.later() else { return Answer::new(503).into() };
        if let Ok(jobs) = self.jobs.lock()
            && let Some(jobs) = &*jobs
            && jobs.send(job(later)).is_err()
        {
            self.log.error("the thread is gone");
        }
        reply
    }
}

impl Drop for Greeter {
    fn drop(&mut self) {
        // The thread ends with the last job, and before the code it runs.
        drop(self.jobs.lock().ok().and_then(|mut jobs| jobs.take()));
        if let Some(thread) = self.thread.lock().ok().and_then(|mut thread| thread.take()) {
            let _panicked = thread.join();
        }
    }
}

/// What the thread does. Clients that have left are no news to it.
fn work(job: Job) {
    let _gone = match job {
        Job::Answer(later) => later.answer(&Answer::text("from a thread")),
        Job::Lines(later, count) => lines(later, count),
    };
}

fn lines(later: Later, count: u32) -> Result<(), ringway_sdk::Fault> {
    let mut body = later.begin(&Answer::text(""))?;
    for number in 0..count {
        body.write(format!("{number}\n").as_bytes(), PATIENCE)?;
    }
    body.end()
}

ringway_sdk::export!(Greeter, "greeter");
