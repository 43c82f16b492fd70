//! Who gets in: passwords verified elsewhere and remembered, tokens, and what attackers pay.

use crate::stand::{Stand, on_each_driver, says};
use argon2::password_hash::PasswordHasher;
use ringway_pace::TokenRate;
use ringway_testkit::{Client, Scratch};
use ringway_web::auth::gate::{Gate, GateLimits};
use ringway_web::auth::tokens::Tokens;
use ringway_web::auth::users::{UserTable, Users};
use ringway_web::auth::{Auth, AuthOptions};
use ringway_web::log::errors::{ErrorFormat, ErrorLog, Level};
use ringway_web::log::files::{LogFile, Rotation};
use ringway_web::pipeline::{Served, ServedStage};
use ringway_web::site::Site;
use ringway_web::sites::Sites;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A line of users whose hash takes `passes` over `kib`.
fn user(name: &str, password: &str, kib: u32, passes: u32) -> String {
    let params = argon2::Params::new(kib, passes, 1, None).expect("parameters");
    let hash = argon2::Argon2::from(params).hash_password(password.as_bytes()).expect("a hash");
    format!("{name}:{hash}\n")
}

fn basic(credentials: &str) -> String {
    use base64ct::Encoding as _;
    format!("Authorization: Basic {}\r\n", base64ct::Base64::encode_string(credentials.as_bytes()))
}

fn ask(stand: &Stand, fields: &str) -> ringway_testkit::Answer {
    stand.ask(&format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"))
}

fn generous() -> GateLimits {
    GateLimits { failures: TokenRate::new(1000, 1000, 1000), ..GateLimits::default() }
}

/// Sites of one that asks for proof.
fn guarded(options: AuthOptions, limits: GateLimits) -> impl Fn(&ringway_engine::WorkerHandle) -> Sites {
    let options = Arc::new(options);
    move |_| {
        let gate = Gate::new(limits.clone());
        let mut site = Site::with_handler("default", says("inside"));
        site.stages.push(Box::new(Auth::new(Arc::clone(&options), gate, None).expect("random bits")));
        Sites::new(site)
    }
}

/// Who was served.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<Option<String>>>>);

impl ServedStage for Seen {
    fn served(&self, served: &Served<'_>) {
        self.0.lock().expect("not poisoned").push(served.user.map(str::to_owned));
    }

    fn wants_details(&self) -> bool {
        false
    }
}

#[test]
fn passwords_and_tokens_let_in_and_the_log_knows_whom() {
    let seen = Seen::default();
    let text = [user("alice", "open sesame", 64, 1), user("b\u{f6}b", "gr\u{fc}n:1", 64, 1)].concat();
    let mut options = AuthOptions::new("inside");
    options.users = Some(Users::fixed(UserTable::parse(&text).expect("users")));
    let token = "ci:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    options.tokens = Some(Arc::new(Tokens::parse(token).expect("a token")));
    options.allowed = Some(["alice", "ci"].into_iter().map(Into::into).collect());
    let (options, stage_seen) = (Arc::new(options), seen.clone());
    let build = move |_: &_| {
        let mut site = Site::with_handler("default", says("inside"));
        let auth = Auth::new(Arc::clone(&options), Gate::new(generous()), None);
        site.stages.push(Box::new(auth.expect("random bits")));
        site.served.push(Box::new(stage_seen.clone()));
        Sites::new(site)
    };
    on_each_driver(build, |stand| {
        seen.0.lock().expect("not poisoned").clear();
        let asked = ask(stand, "");
        assert_eq!(asked.status, 401);
        assert!(asked.head.contains("WWW-Authenticate: Basic realm=\"inside\", charset=\"UTF-8\""));
        assert!(asked.head.contains("WWW-Authenticate: Bearer realm=\"inside\""), "{}", asked.head);
        for (fields, status) in [
            (basic("alice:open sesame"), 200),
            (basic("alice:open sesame"), 200),
            (basic("alice:Open sesame"), 401),
            (basic("Alice:open sesame"), 401),
            (basic("carol:open sesame"), 401),
            (basic("alice"), 401),
            // Who it is is known, and it is nobody who may.
            (basic("b\u{f6}b:gr\u{fc}n:1"), 403),
            ("Authorization: Bearer hello\r\n".to_owned(), 200),
            ("Authorization: Bearer Hello\r\n".to_owned(), 401),
            ("Authorization: Negotiate abc\r\n".to_owned(), 401),
        ] {
            assert_eq!(ask(stand, &fields).status, status, "{fields}");
        }
        assert!(ask(stand, "Authorization: Bearer x\r\n").head.contains("error=\"invalid_token\""));
        let seen = seen.0.lock().expect("not poisoned");
        let users: Vec<_> = seen.iter().flatten().map(String::as_str).collect();
        assert_eq!(users, ["alice", "alice", "b\u{f6}b", "ci"]);
    });
}

#[test]
fn what_was_right_is_remembered_on_a_connection_and_beside_it() {
    // Some ten milliseconds each, if each were verified.
    let mut options = AuthOptions::new("x");
    let table = UserTable::parse(&user("alice", "x", 8192, 3)).expect("users");
    options.users = Some(Users::fixed(table));
    on_each_driver(guarded(options, generous()), |stand| {
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", basic("alice:x"));
        let first = std::time::Instant::now();
        assert_eq!(stand.ask(&request).status, 200);
        let first = first.elapsed();
        let next = std::time::Instant::now();
        let mut client = stand.client();
        client.send(request.repeat(200).as_bytes()).expect("it is open");
        assert!(client.answers(200).expect("answers").iter().all(|answer| answer.status == 200));
        assert_eq!(stand.ask(&request).status, 200);
        assert!(next.elapsed() < first * 100, "200 took {:?}, one {first:?}", next.elapsed());
    });
}

#[test]
fn a_file_that_changes_counts_with_the_next_password() {
    let folder = Scratch::new("auth-file");
    let path = folder.file("users", user("alice", "one", 64, 1).as_bytes());
    let users_path = path.clone();
    let build = move |_: &_| {
        let mut options = AuthOptions::new("x");
        options.users = Some(Users::open(&users_path).expect("users"));
        let mut site = Site::with_handler("default", says("inside"));
        let log =
            LogFile::append(&users_path.with_file_name("error.log"), Rotation::default()).expect("a log");
        let log = ErrorLog::new(log, ErrorFormat::Text, Level::Info);
        let auth = Auth::new(Arc::new(options), Gate::new(generous()), Some(log.clone()));
        site.stages.push(Box::new(auth.expect("random bits")));
        Sites::new(site)
    };
    let replace = |text: &str| std::fs::rename(folder.file("new", text.as_bytes()), &path).expect("ours");
    on_each_driver(build, |stand| {
        replace(&user("alice", "one", 64, 1));
        assert_eq!(ask(stand, &basic("alice:one")).status, 200);
        replace(&user("alice", "two", 64, 1));
        assert_eq!(ask(stand, &basic("alice:two")).status, 200);
        assert_eq!(ask(stand, &basic("alice:one")).status, 401, "what was remembered is forgotten");
        replace("alice:broken\n");
        assert_eq!(ask(stand, &basic("alice:wrong")).status, 401);
        assert_eq!(ask(stand, &basic("alice:two")).status, 200, "a broken file changes nothing");
        replace(&user("alice", "one", 64, 1));
    });
    let log = std::fs::read_to_string(folder.path().join("error.log")).expect("a log");
    assert!(log.contains("error auth: ") && log.contains("line 1: this is no hash"), "{log}");
    assert!(log.contains("info auth: wrong password for \"alice\" from 127.0.0.1"), "{log}");
}

#[test]
fn who_is_wrong_too_often_must_wait_and_others_need_not() {
    let limits = GateLimits { failures: TokenRate::new(1, 86_400_000, 3), ..GateLimits::default() };
    let mut options = AuthOptions::new("x");
    options.users = Some(Users::fixed(UserTable::parse(&user("alice", "x", 64, 1)).expect("users")));
    on_each_driver(guarded(options, limits), |stand| {
        assert_eq!(ask(stand, &basic("alice:x")).status, 200);
        for _ in 0..3 {
            assert_eq!(ask(stand, &basic("alice:guess")).status, 401);
        }
        let refused = ask(stand, &basic("alice:guess"));
        assert_eq!(refused.status, 429);
        assert!(refused.field("Retry-After").is_some(), "{}", refused.head);
        assert_eq!(ask(stand, &basic("alice:x")).status, 200, "what was right stays right");
    });
}

#[test]
fn a_storm_of_wrong_passwords_is_bounded_and_the_rest_is_served() {
    let limits = GateLimits { running_max: 1, waiting_max: 4, per_address_max: 4, ..generous() };
    let mut options = AuthOptions::new("x");
    // Long enough that all of the storm is there before the first is done.
    let table = UserTable::parse(&user("alice", "x", 16_384, 8)).expect("users");
    options.users = Some(Users::fixed(table));
    on_each_driver(guarded(options, limits), |stand| {
        let mut storm: Vec<Client> = (0..40).map(|_| stand.client()).collect();
        for (number, client) in storm.iter_mut().enumerate() {
            let fields = basic(&format!("alice:guess {number}"));
            client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n").as_bytes()).expect("it is open");
        }
        // Nobody who does not send a password waits for those who do.
        assert_eq!(ask(stand, "").status, 401);
        let mut statuses = Vec::new();
        for client in &mut storm {
            client.set_patience(Duration::from_secs(60));
            statuses.push(client.answer(false).expect("an answer").status);
        }
        let count = |status| statuses.iter().filter(|&&one| one == status).count();
        assert_eq!(count(401) + count(429), 40, "{statuses:?}");
        assert!(count(429) >= 10, "{statuses:?}");
        assert_eq!(ask(stand, &basic("alice:x")).status, 200);
    });
}

#[test]
fn who_goes_away_leaves_room_for_others() {
    let limits = GateLimits { running_max: 1, waiting_max: 2, per_address_max: 3, ..generous() };
    let mut options = AuthOptions::new("x");
    let table = UserTable::parse(&user("alice", "x", 4096, 2)).expect("users");
    options.users = Some(Users::fixed(table));
    on_each_driver(guarded(options, limits), |stand| {
        for round in 0..5 {
            for number in 0..3 {
                let mut client = stand.client();
                let fields = basic(&format!("alice:{round} {number}"));
                let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
                client.send(request.as_bytes()).expect("it is open");
                client.abort().expect("it is open");
            }
        }
        let mut client = stand.client();
        client.set_patience(Duration::from_secs(30));
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", basic("alice:x"));
        // The abandoned ones are verified to their end at most; then there is room for good.
        let status = (0..1000).find_map(|_| {
            client.send(request.as_bytes()).expect("it is open");
            let status = client.answer(false).expect("an answer").status;
            (status != 429 && status != 503).then_some(status)
        });
        assert_eq!(status, Some(200));
    });
}
