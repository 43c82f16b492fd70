//! Sessions as a browser's requests see them, the same in every store.

use crate::stand::{Place, on_worker};
use ringway_engine::WorkerHandle;
use ringway_service::session::{Session, SessionError, SessionOptions, Sessions};
use ringway_service::sqlite::{Sqlite, SqliteOptions};

/// A browser with one cookie.
pub(crate) struct Browser {
    pub(crate) sessions: Sessions,
    worker: WorkerHandle,
    pub(crate) cookie: Option<String>,
}

impl Browser {
    pub(crate) fn new(sessions: &Sessions, worker: &WorkerHandle) -> Self {
        Self { sessions: sessions.clone(), worker: worker.clone(), cookie: None }
    }

    /// The session of a request.
    pub(crate) async fn request(&self) -> Session {
        self.try_request().await.expect("the store answers")
    }

    pub(crate) async fn try_request(&self) -> Result<Session, SessionError> {
        let cookie = self.cookie.clone().unwrap_or_default();
        self.sessions.load(&self.worker, &[b"other=1", cookie.as_bytes()]).await
    }

    /// The answer of a request, with the cookie that it sets.
    pub(crate) async fn answer(&mut self, session: &Session) -> Option<String> {
        let set = session.save().await.expect("it is kept");
        if let Some(set) = &set {
            let pair = set.split(';').next().expect("a pair").to_owned();
            self.cookie = (!pair.ends_with('=')).then_some(pair);
        }
        set
    }
}

/// What must hold in each store.
async fn a_session_lives(sessions: Sessions, worker: WorkerHandle) {
    let mut browser = Browser::new(&sessions, &worker);
    let empty = browser.request().await;
    assert_eq!((empty.get::<u32>("count"), empty.user()), (Ok(None), None));
    assert_eq!(browser.answer(&empty).await, None, "nothing was set, nothing is kept");

    let first = browser.request().await;
    first.set("count", &7_u32).expect("room");
    let cookie = browser.answer(&first).await.expect("it is new");
    for part in ["__Host-session=", "; Path=/", "; Secure", "; HttpOnly", "; SameSite=Lax", "; Max-Age="] {
        assert!(cookie.contains(part), "{part:?} is not in {cookie:?}");
    }
    let second = browser.request().await;
    assert_eq!(second.get::<u32>("count"), Ok(Some(7)));
    assert!(matches!(second.get::<String>("count"), Err(SessionError::Value(_))));
    assert_eq!(browser.answer(&second).await, None);

    changes_of_two_requests_meet(&mut browser).await;
    a_log_in_gives_another_id(&mut browser).await;
    a_log_out_ends_it_for_all(&mut browser).await;
    ids_are_ours(&mut browser).await;
}

async fn changes_of_two_requests_meet(browser: &mut Browser) {
    let (left, right) = (browser.request().await, browser.request().await);
    left.set("left", "l").expect("room");
    right.set("right", "r").expect("room");
    right.remove("count");
    assert_eq!((browser.answer(&left).await, browser.answer(&right).await), (None, None));
    let both = browser.request().await;
    assert_eq!(both.get::<String>("left").expect("text").as_deref(), Some("l"));
    assert_eq!(both.get::<String>("right").expect("text").as_deref(), Some("r"));
    assert_eq!(both.get::<u32>("count"), Ok(None));
}

async fn a_log_in_gives_another_id(browser: &mut Browser) {
    let form = browser.request().await;
    let token = form.csrf_token().expect("random");
    assert!(form.is_csrf_token(&token) && !form.is_csrf_token("x"));
    browser.answer(&form).await;
    assert!(browser.request().await.is_csrf_token(&token));
    let before = browser.cookie.clone();
    let session = browser.request().await;
    session.log_in("ada").expect("room");
    assert!(browser.answer(&session).await.is_some());
    assert_ne!(before, browser.cookie);
    let after = browser.request().await;
    assert_eq!(after.user().as_deref(), Some("ada"));
    assert_eq!(after.get::<String>("left").expect("text").as_deref(), Some("l"));
    assert!(!after.is_csrf_token(&token), "a stranger's form");
    let mut thief =
        Browser { cookie: before, sessions: browser.sessions.clone(), worker: browser.worker.clone() };
    let old = thief.request().await;
    assert_eq!((old.user(), old.get::<String>("left")), (None, Ok(None)));
    assert_eq!(thief.answer(&old).await, None);
}

async fn a_log_out_ends_it_for_all(browser: &mut Browser) {
    let (late, session) = (browser.request().await, browser.request().await);
    session.log_out();
    assert_eq!((session.user(), session.get::<String>("left")), (None, Ok(None)));
    let before = browser.cookie.clone();
    let cookie = browser.answer(&session).await.expect("it is taken away");
    assert!(cookie.contains("Max-Age=0") && browser.cookie.is_none());
    late.set("zombie", &true).expect("room");
    let cookie = browser.answer(&late).await.expect("it is taken away");
    assert!(cookie.contains("Max-Age=0"), "{cookie}");
    browser.cookie = before;
    let gone = browser.request().await;
    assert_eq!((gone.user(), gone.get::<bool>("zombie")), (None, Ok(None)));
}

async fn ids_are_ours(browser: &mut Browser) {
    let chosen = format!("__Host-session={}", "A".repeat(32));
    browser.cookie = Some(chosen.clone());
    let session = browser.request().await;
    session.log_in("bob").expect("room");
    browser.answer(&session).await.expect("it is new");
    assert_ne!(browser.cookie, Some(chosen));
    assert_eq!(browser.request().await.user().as_deref(), Some("bob"));
    let ours = browser.cookie.clone().expect("a cookie");
    // Another host of the domain has set one of the name, too.
    browser.cookie = Some(format!("__Host-session=foreign; {ours}"));
    assert_eq!(browser.request().await.user().as_deref(), Some("bob"));
    for wrong in ["", "__Host-session=", &ours[..ours.len() - 1], &format!("{ours}A"), "session=x"] {
        browser.cookie = Some(wrong.to_owned());
        assert_eq!(browser.request().await.user(), None, "{wrong:?}");
    }
    browser.cookie = None;
}

async fn limits_are_told(sessions: Sessions, worker: WorkerHandle) {
    let browser = Browser::new(&sessions, &worker);
    let session = browser.request().await;
    let large = "x".repeat(2_000);
    assert_eq!(session.set("v", &large), Err(SessionError::TooLarge));
    assert_eq!(session.get::<String>("v"), Ok(None));
    assert_eq!(session.set("v", &large[..900]), Ok(()));
    assert_eq!(session.set("v", &large[..901]), Ok(()), "in its place");
    assert_eq!(session.set("w", &large[..900]), Err(SessionError::TooLarge));
}

fn small() -> SessionOptions {
    SessionOptions { bytes_max: 1_000, ..SessionOptions::default() }
}

#[test]
fn sessions_in_memory() {
    let (sessions, limited) = (Sessions::memory(SessionOptions::default()), Sessions::memory(small()));
    on_worker(move |worker| {
        let (sessions, limited) = (sessions.clone(), limited.clone());
        async move {
            a_session_lives(sessions, worker.clone()).await;
            limits_are_told(limited, worker).await;
        }
    });
}

#[test]
fn sessions_in_sqlite() {
    let place = Place::new("sessions");
    let database = Sqlite::open(place.path().join("s.db"), &SqliteOptions::default(), &[]).expect("it opens");
    let sessions = Sessions::sqlite(&database, SessionOptions::default()).expect("a table");
    on_worker(move |worker| a_session_lives(sessions.clone(), worker));
}

#[cfg(feature = "redis")]
#[test]
fn sessions_in_redis() {
    use ringway_service::redis::{Redis, RedisOptions};
    let server = crate::daemon::Daemon::redis("sessions");
    let redis = Redis::new(&server.url(), RedisOptions::default()).expect("a URL");
    let sessions = Sessions::redis(&redis, "s:", SessionOptions::default());
    on_worker(move |worker| a_session_lives(sessions.clone(), worker));
}

#[cfg(feature = "redis")]
#[test]
fn sessions_in_redis_are_gone_by_themselves_and_outlive_a_server_that_is_killed() {
    use ringway_service::redis::{Command, Redis, RedisOptions, Standing, Value};
    use std::sync::{Arc, Mutex};
    let server = Arc::new(Mutex::new(crate::daemon::Daemon::redis("outlive")));
    let url = server.lock().expect("no panic").url();
    let quick = RedisOptions { retry_ms_min: 5, retry_ms_max: 20, ..RedisOptions::default() };
    let redis = Redis::new(&url, quick).expect("a URL");
    let brief = SessionOptions { idle_s: 500, absolute_s: 100, ..SessionOptions::default() };
    let sessions = Sessions::redis(&redis, "s:", brief);
    on_worker(move |worker| {
        let (server, redis, sessions) = (Arc::clone(&server), redis.clone(), sessions.clone());
        async move {
            let mut browser = Browser::new(&sessions, &worker);
            let session = browser.request().await;
            session.log_in("ada").expect("room");
            browser.answer(&session).await.expect("new");
            let client = redis.client(&worker);
            let Ok(Value::Array(keys)) = client.command(&Command::new("KEYS").arg("*")).await else {
                panic!("keys")
            };
            let [Value::Bytes(key)] = &keys[..] else { panic!("{keys:?}") };
            let cookie = browser.cookie.clone().expect("a cookie");
            assert!(key.starts_with(b"s:") && key.len() == 2 + 64);
            assert!(!cookie.contains(&String::from_utf8_lossy(&key[2..10]).into_owned()), "ids are hashed");
            let left = client.command(&Command::new("TTL").arg(key)).await.expect("a number");
            assert!(matches!(left, Value::Int(98..=100)), "{left:?}");
            server.lock().expect("no panic").kill();
            while client.standing() == Standing::Up {
                worker.sleep_until(worker.now_ms() + 1).await;
            }
            while !matches!(client.standing(), Standing::Degraded(_)) {
                worker.sleep_until(worker.now_ms() + 1).await;
            }
            assert!(matches!(browser.try_request().await, Err(SessionError::Unavailable(_))));
            server.lock().expect("no panic").again();
            while client.standing() != Standing::Up {
                worker.sleep_until(worker.now_ms() + 1).await;
            }
            assert_eq!(browser.request().await.user().as_deref(), Some("ada"));
        }
    });
}
