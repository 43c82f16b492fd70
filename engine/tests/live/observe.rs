//! Looking at a running server from another thread.

use crate::stand::echo::{TaskEcho, TurnEcho};
use crate::stand::{PATIENCE, Setup, Stand, eventually, exchange, on_each_driver};
use ringway_engine::{ConnectionFacts, DoorTotals};

fn seen(stand: &Stand, most: usize) -> Vec<ConnectionFacts> {
    stand.server().observer().connections(most, PATIENCE)
}

#[test]
fn connections_are_listed_with_their_peers_and_what_they_carried() {
    on_each_driver(|driver| {
        let mut setup = Setup::new(driver, |_| TurnEcho::default());
        setup.options.workers = 2;
        let stand = setup.start();
        assert_eq!(seen(&stand, 10), []);
        let mut clients: Vec<_> = (0..6).map(|_| stand.connect()).collect();
        clients.iter_mut().for_each(|client| exchange(client, 1000, 1000));
        for client in &clients {
            let address = client.local_addr().ok();
            let facts = eventually("what was sent is acknowledged", || {
                let all = seen(&stand, 10);
                assert_eq!(all.len(), clients.len());
                let found = all.iter().find(|facts| facts.peer == address).expect("it is listed").clone();
                if found.bytes_acknowledged == Some(1000) { Ok(found) } else { Err(Box::new(found)) }
            });
            assert_eq!(facts.bytes_received, Some(1000));
            assert!(!facts.has_task && !facts.is_filtered && !facts.is_closing, "{facts:?}");
            assert_eq!((facts.unread_bytes, facts.queued, facts.endpoint), (0, 0, 0));
        }
        let open = DoorTotals { open: 6, accepted: 6, refused: 0 };
        assert_eq!(stand.server().observer().endpoints(), [open]);
        assert!(seen(&stand, 3).len() <= 3, "no more than asked for");
        drop(clients);
        stand.until_resting();
        assert_eq!(seen(&stand, 10), []);
        let observer = stand.server().observer();
        stand.stop();
        assert_eq!(observer.connections(10, PATIENCE), [], "a worker that has stopped is not waited for");
        assert_eq!(observer.totals().accepted, 6);
        assert_eq!(observer.endpoints(), [DoorTotals { open: 0, ..open }]);
        assert_eq!(observer.workers().iter().map(|worker| worker.accepted).sum::<u64>(), 6);
    });
}

#[test]
fn busy_time_passes_while_a_worker_works_and_tasks_are_told() {
    on_each_driver(|driver| {
        let stand = Stand::start(driver, |_| TaskEcho::default());
        let mut client = stand.connect();
        exchange(&mut client, 1_000_000, 10_000);
        let busy_ns = stand.totals().busy_ns;
        assert!(busy_ns > 10_000, "a megabyte in {busy_ns} ns");
        assert!(seen(&stand, 1)[0].has_task);
        drop(client);
        stand.until_resting();
        assert_eq!(stand.stop().panics, 0);
    });
}
