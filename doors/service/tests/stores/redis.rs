//! The Redis client against a real server that is stopped, killed and started again.

use crate::daemon::Daemon;
use crate::stand::{PATIENCE, on_each_driver, on_worker};
use ringway_engine::WorkerHandle;
use ringway_service::link::LinkError;
use ringway_service::redis::{Command, Redis, RedisClient, RedisError, RedisOptions, Standing, Value};
use std::sync::{Arc, Mutex};
use std::time::Instant;

fn options() -> RedisOptions {
    RedisOptions {
        timeout_ms: 10_000,
        connect_ms: 10_000,
        retry_ms_min: 10,
        retry_ms_max: 100,
        ..RedisOptions::default()
    }
}

fn client(url: &str, worker: &WorkerHandle) -> (Redis, RedisClient) {
    let redis = Redis::new(url, options()).expect("a URL");
    let client = redis.client(worker);
    (redis, client)
}

/// Waits until something is so.
async fn eventually(worker: &WorkerHandle, what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let until = Instant::now() + PATIENCE / 2;
    while !is_so().await {
        assert!(Instant::now() < until, "never: {what}");
        worker.sleep_until(worker.now_ms() + 5).await;
    }
}

#[test]
fn commands_are_answered() {
    let server = Daemon::redis("commands");
    let url = server.url();
    on_each_driver(move |worker| {
        let url = url.clone();
        async move {
            let (_redis, client) = client(&url, &worker);
            client.command(&Command::new("FLUSHALL")).await.expect("done");
            assert_eq!(client.get("none").await, Ok(None));
            client.set("key", b"a\r\n\0b").await.expect("set");
            assert_eq!(client.get("key").await, Ok(Some(b"a\r\n\0b".to_vec())));
            assert_eq!((client.delete("key").await, client.delete("key").await), (Ok(true), Ok(false)));
            assert_eq!((client.add("count", 5).await, client.add("count", -7).await), (Ok(5), Ok(-2)));
            client.set_for("brief", "x", 1).await.expect("set");
            eventually(&worker, "it is gone", async || client.get("brief").await == Ok(None)).await;
            let wrong = client.command(&Command::new("LPUSH").arg("count").arg("x")).await;
            assert!(
                matches!(&wrong, Err(RedisError::Refused(text)) if text.starts_with("WRONGTYPE")),
                "{wrong:?}"
            );
            let list = [
                Command::new("RPUSH").arg("list").arg("a").arg("b"),
                Command::new("LRANGE").arg("list").arg("0").arg("-1"),
            ];
            let both = vec![
                Value::Int(2),
                Value::Array(vec![Value::Bytes(b"a".to_vec()), Value::Bytes(b"b".to_vec())]),
            ];
            assert_eq!(client.pipeline(&list).await, Ok(both));
            assert_eq!(client.pipeline(&[]).await, Ok(vec![]));
            for name in ["blpop", "SUBSCRIBE", "Select", "MULTI"] {
                let refused = client.command(&Command::new(name).arg("x")).await;
                assert_eq!(refused, Err(RedisError::Shared(name.to_uppercase())));
            }
            assert_eq!(client.standing(), Standing::Up);
        }
    });
}

#[test]
fn a_transaction_is_done_whole_or_refused() {
    let server = Daemon::redis("transaction");
    let url = server.url();
    on_worker(move |worker| {
        let url = url.clone();
        async move {
            let (_redis, client) = client(&url, &worker);
            let add = |name: &str| Command::new("INCR").arg(name);
            let done = client.transaction(&[add("a"), add("b"), add("a")]).await;
            assert_eq!(done, Ok(vec![Value::Int(1), Value::Int(1), Value::Int(2)]));
            let refused = client.transaction(&[add("a"), Command::new("NONSENSE")]).await;
            assert!(
                matches!(&refused, Err(RedisError::Refused(text)) if text.starts_with("EXECABORT")),
                "{refused:?}"
            );
            assert_eq!(client.get("a").await, Ok(Some(b"2".to_vec())), "nothing was done");
        }
    });
}

#[test]
fn many_are_under_way_at_once_and_large_ones_among_them() {
    let server = Daemon::redis("many");
    let url = server.url();
    on_each_driver(move |worker| {
        let url = url.clone();
        async move {
            let (_redis, client) = client(&url, &worker);
            let large = "x".repeat(1_000_000);
            let set = client.command(&Command::new("SET").arg("large").arg(&large));
            let asked: Vec<_> =
                (0..5_000).map(|number| client.command(&Command::new("ECHO").number(number))).collect();
            let got = client.command(&Command::new("GET").arg("large"));
            assert_eq!(set.await, Ok(Value::Status("OK".to_owned())));
            for (number, answer) in asked.into_iter().enumerate() {
                assert_eq!(answer.await, Ok(Value::Bytes(number.to_string().into_bytes())));
            }
            assert_eq!(got.await, Ok(Value::Bytes(large.into_bytes())));
        }
    });
}

#[test]
fn at_its_limit_a_client_refuses_and_goes_on() {
    let server = Daemon::redis("limit");
    let url = server.url();
    on_worker(move |worker| {
        let url = url.clone();
        async move {
            let few = RedisOptions { requests_max: 3, ..options() };
            let redis = Redis::new(&url, few).expect("a URL");
            let client = redis.client(&worker);
            let ping = || client.command(&Command::new("PING"));
            let asked: Vec<_> = (0..5).map(|_| ping()).collect();
            let mut outcomes = Vec::new();
            for answer in asked {
                outcomes.push(answer.await.is_ok());
            }
            assert_eq!(outcomes, [true, true, true, false, false]);
            assert_eq!(ping().await, Ok(Value::Status("PONG".to_owned())));
            // What nobody waits for makes room without being sent.
            drop((ping(), ping(), ping()));
            eventually(&worker, "there is room", async || ping().await.is_ok()).await;
        }
    });
}

#[test]
fn a_server_that_is_killed_is_missed_at_once_and_found_again() {
    let server = Arc::new(Mutex::new(Daemon::redis("killed")));
    on_each_driver(move |worker| {
        let server = Arc::clone(&server);
        async move {
            let url = server.lock().expect("no panic").url();
            let (_redis, client) = client(&url, &worker);
            client.set("kept", "yes").await.expect("set");
            server.lock().expect("no panic").kill();
            eventually(&worker, "it is missed", async || matches!(client.standing(), Standing::Degraded(_)))
                .await;
            let started = Instant::now();
            for _ in 0..100 {
                let answer = client.get("kept").await;
                assert!(matches!(answer, Err(RedisError::Link(LinkError::Degraded(_)))), "{answer:?}");
            }
            assert!(started.elapsed().as_millis() < 10_000, "one of them was waited for");
            server.lock().expect("no panic").again();
            eventually(&worker, "it is found", async || {
                client.get("kept").await == Ok(Some(b"yes".to_vec()))
            })
            .await;
            assert_eq!(client.standing(), Standing::Up);
        }
    });
}

#[test]
fn a_server_that_does_not_answer_costs_the_time_that_was_set() {
    let server = Arc::new(Mutex::new(Daemon::redis("stopped")));
    on_worker(move |worker| {
        let server = Arc::clone(&server);
        async move {
            let url = server.lock().expect("no panic").url();
            let redis = Redis::new(&url, RedisOptions { timeout_ms: 100, ..options() }).expect("a URL");
            let client = redis.client(&worker);
            // A machine with much to do may be late by itself.
            eventually(&worker, "it is set", async || client.set("key", "x").await.is_ok()).await;
            server.lock().expect("no panic").signal("STOP");
            let answer = client.get("key").await;
            assert!(
                matches!(answer, Err(RedisError::Link(LinkError::TimedOut | LinkError::Degraded(_)))),
                "{answer:?}"
            );
            // It takes connections and does not answer on them either: that is as good as none.
            eventually(&worker, "it is given up", async || {
                matches!(client.standing(), Standing::Degraded(_))
            })
            .await;
            server.lock().expect("no panic").signal("CONT");
            eventually(&worker, "it is found", async || client.get("key").await == Ok(Some(b"x".to_vec())))
                .await;
        }
    });
}

#[test]
fn subscriptions_hear_and_say_what_they_may_have_missed() {
    let server = Arc::new(Mutex::new(Daemon::redis("subscribe")));
    on_each_driver(move |worker| {
        let server = Arc::clone(&server);
        async move {
            let url = server.lock().expect("no panic").url();
            let (_redis, client) = client(&url, &worker);
            let (mut first, mut second) = (client.subscribe("news"), client.subscribe("news"));
            let other = client.subscribe("other");
            assert!(first.heard().await && other.heard().await);
            assert_eq!(client.publish("news", b"\0one").await, Ok(1), "one connection for all");
            client.publish("other", "for nobody").await.expect("said");
            assert_eq!(first.next().await.map(|message| message.payload.to_vec()), Some(b"\0one".to_vec()));
            assert_eq!(second.next().await.map(|message| message.payload.to_vec()), Some(b"\0one".to_vec()));
            drop(second);
            for number in 0..2_000 {
                client.publish("news", format!("{number}")).await.expect("said");
            }
            // The last of them has come when this has.
            let mut last = client.subscribe("last");
            last.heard().await;
            let oldest = first.next().await.expect("kept");
            assert_eq!((&*oldest.payload, first.missed()), (&b"976"[..], 976), "the oldest ones went");
            server.lock().expect("no panic").kill();
            server.lock().expect("no panic").again();
            eventually(&worker, "it has subscribed again", async || {
                client.publish("last", "back").await == Ok(1)
            })
            .await;
            assert_eq!(last.next().await.map(|message| message.payload.to_vec()), Some(b"back".to_vec()));
            assert_eq!(last.missed(), 1, "the connection broke once");
            drop((first, other));
            eventually(&worker, "nobody hears", async || client.publish("news", "x").await == Ok(0)).await;
        }
    });
}

#[test]
fn who_has_the_wrong_password_is_told_why() {
    let server = Daemon::redis("password");
    let url = server.url();
    on_worker(move |worker| {
        let url = url.clone();
        async move {
            let (redis, first) = client(&url, &worker);
            let same = redis.client(&worker);
            first.set("key", "of database 0").await.expect("set");
            assert_eq!(same.get("key").await, Ok(Some(b"of database 0".to_vec())));
            let (_other, other) = client(&format!("{url}?db=3"), &worker);
            assert_eq!(other.get("key").await, Ok(None));
            let set = Command::new("CONFIG").arg("SET").arg("requirepass").arg("right");
            first.command(&set).await.expect("set");
            let (_right, right) = client(&format!("{url}?pass=right"), &worker);
            assert_eq!(right.get("key").await, Ok(Some(b"of database 0".to_vec())));
            let (_wrong, wrong) = client(&format!("{url}?pass=wrong"), &worker);
            let refused = wrong.get("key").await;
            let Err(RedisError::Link(LinkError::Degraded(reason))) = &refused else { panic!("{refused:?}") };
            assert!(reason.contains("WRONGPASS"), "{reason}");
        }
    });
}

#[test]
fn what_is_no_redis_is_told() {
    let nobody = std::env::temp_dir().join("ringway-no-such-socket");
    on_worker(move |worker| {
        let url = format!("unix://{}", nobody.display());
        async move {
            let (_redis, client) = client(&url, &worker);
            let refused = client.get("key").await;
            assert!(matches!(refused, Err(RedisError::Link(LinkError::Degraded(_)))), "{refused:?}");
        }
    });
}
