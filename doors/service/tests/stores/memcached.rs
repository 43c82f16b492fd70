//! The memcached client against a real server that is killed and started again.

use crate::daemon::Daemon;
use crate::stand::{PATIENCE, on_each_driver};
use ringway_service::link::LinkError;
use ringway_service::memcached::{
    Memcached, MemcachedError, MemcachedOptions, Standing, Store, StoreAddress,
};
use std::sync::{Arc, Mutex};
use std::time::Instant;

#[test]
fn values_are_kept_until_the_server_is_killed() {
    let server = Arc::new(Mutex::new(Daemon::memcached("values")));
    on_each_driver(move |worker| {
        let server = Arc::clone(&server);
        async move {
            let address = StoreAddress::Unix(server.lock().expect("no panic").socket());
            let options =
                MemcachedOptions { retry_ms_min: 5, retry_ms_max: 20, ..MemcachedOptions::default() };
            let cache = Memcached::connect(&worker, address, options);
            values_are_stored_as_asked(&cache).await;
            server.lock().expect("no panic").kill();
            let until = Instant::now() + PATIENCE / 2;
            while !matches!(cache.standing(), Standing::Degraded(_)) {
                assert!(Instant::now() < until, "it is never missed");
                worker.sleep_until(worker.now_ms() + 1).await;
            }
            assert!(matches!(cache.get(b"k").await, Err(MemcachedError::Link(LinkError::Degraded(_)))));
            server.lock().expect("no panic").again();
            while cache.standing() != Standing::Up {
                assert!(Instant::now() < until, "it is never found");
                worker.sleep_until(worker.now_ms() + 1).await;
            }
            assert_eq!(cache.get(b"k").await, Ok(None), "it keeps nothing");
        }
    });
}

async fn values_are_stored_as_asked(cache: &Memcached) {
    assert_eq!(cache.get(b"k").await, Ok(None));
    assert_eq!(cache.set(b"k", b"x", 0, Store::Replace).await, Ok(false));
    assert_eq!(cache.set(b"k", b"a\r\nEN\r\n", 60, Store::Add).await, Ok(true));
    assert_eq!(cache.set(b"k", b"other", 60, Store::Add).await, Ok(false));
    let found = cache.get(b"k").await.expect("an answer").expect("a value");
    assert_eq!(found.data, b"a\r\nEN\r\n");
    assert_eq!(cache.set(b"k", b"mine", 60, Store::Unchanged(found.unique)).await, Ok(true));
    assert_eq!(cache.set(b"k", b"late", 60, Store::Unchanged(found.unique)).await, Ok(false));
    assert_eq!(cache.get(b"k").await.expect("an answer").map(|found| found.data), Some(b"mine".to_vec()));
    assert_eq!((cache.delete(b"k").await, cache.delete(b"k").await), (Ok(true), Ok(false)));
    assert_eq!((cache.add(b"n", 2, 60).await, cache.add(b"n", 40, 60).await), (Ok(2), Ok(42)));
    assert_eq!(cache.delete(b"n").await, Ok(true));
    assert_eq!(cache.get(b"a b").await, Err(MemcachedError::Key));
    let large = vec![b'x'; 2 << 20];
    let refused = cache.set(b"large", &large, 0, Store::Set).await;
    assert!(
        matches!(&refused, Err(MemcachedError::Refused(text)) if text.contains("too large")),
        "{refused:?}"
    );
    assert_eq!(cache.get(b"large").await, Ok(None), "and it goes on");
}
