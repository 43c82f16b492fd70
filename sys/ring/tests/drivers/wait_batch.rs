//! Waiting for a batch: few completions wait for more, an idle ring sleeps, limits hold.

use crate::bench::on_kernel;
use crate::datagrams::{receiver, sender};
use ringway_ring::{DatagramOptions, Payload, Wait};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_millis(60);

#[test]
fn an_idle_ring_sleeps_until_the_limit() {
    on_kernel(|bench| {
        let _receiver = receiver(bench, "127.0.0.1:0", &DatagramOptions::default());
        bench.glance();
        let at_most = Duration::from_millis(1);
        let began = Instant::now();
        let mut polls = 0;
        while began.elapsed() < LIMIT {
            bench.ring.poll(Wait::Batch { completions: 32, at_most, limit: Some(LIMIT) }).expect("sound");
            polls += 1;
        }
        // It must not come back each time the batch's time is up, which is sixty times. Once or twice is the kernel's
        // own business: taking an earlier ring apart interrupts this thread.
        assert!(polls <= 5, "{polls} polls on {}", bench.name());
        assert!(bench.try_next().is_none());
    });
}

#[test]
fn few_are_handed_over_when_the_time_is_up() {
    on_kernel(|bench| {
        let receiver = receiver(bench, "127.0.0.1:0", &DatagramOptions::default());
        bench.glance();
        sender(receiver.address).send(b"alone").expect("loopback");
        let at_most = Duration::from_millis(30);
        let began = Instant::now();
        // Without a limit: only the datagram can end it.
        bench.ring.poll(Wait::Batch { completions: 1000, at_most, limit: None }).expect("sound");
        let slept = began.elapsed();
        let completion = bench.try_next().expect("a batch");
        let Payload::Datagrams(batch) = completion.payload else { panic!("{completion:?}") };
        assert_eq!(batch.len(), 1);
        assert!(slept >= at_most, "{slept:?} on {}", bench.name());
        bench.ring.recycle(batch);
    });
}

#[test]
fn those_that_come_within_the_time_come_together() {
    on_kernel(|bench| {
        let receiver = receiver(bench, "127.0.0.1:0", &DatagramOptions::default());
        bench.glance();
        let address = receiver.address;
        // Sent one by one, each after the one before has been taken by the socket.
        let sending = std::thread::spawn(move || {
            let sender = sender(address);
            for number in 0..50u8 {
                sender.send(&[number]).expect("loopback");
            }
        });
        let at_most = Duration::from_millis(200);
        let (mut count, mut polls) = (0, 0);
        while count < 50 {
            bench.ring.poll(Wait::Batch { completions: 1000, at_most, limit: None }).expect("sound");
            polls += 1;
            while let Some(completion) = bench.ring.next_completion() {
                let Payload::Datagrams(batch) = completion.payload else { panic!("{completion:?}") };
                count += batch.len();
                bench.ring.recycle(batch);
            }
        }
        sending.join().expect("sent");
        // One that waits for each would poll some fifty times; a machine that stalls may cost a few.
        assert!(polls <= 10, "{polls} polls on {}", bench.name());
    });
}

#[test]
fn a_wake_from_another_thread_ends_the_wait() {
    on_kernel(|bench| {
        bench.glance();
        let waker = bench.ring.waker();
        let waking = std::thread::spawn(move || waker.wake());
        let at_most = Duration::from_millis(1);
        while !bench.ring.take_woken() {
            bench.ring.poll(Wait::Batch { completions: 32, at_most, limit: None }).expect("sound");
        }
        waking.join().expect("woke us");
    });
}
