//! What comes goes back: whole, in order, however it is framed and cut.

use crate::stand::{Setup, on_each_driver, pattern};
use ringway_socket::{ByteOrder, Framing};
use std::io::{Read, Write};
use std::net::Shutdown;

/// Sends `bytes` in pieces of `piece` while reading as many back; they must be the same.
fn exchange(stream: &mut std::net::TcpStream, bytes: &[u8], piece: usize) {
    let mut writer = stream.try_clone().expect("a descriptor");
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for part in bytes.chunks(piece) {
                writer.write_all(part).expect("the server reads");
            }
        });
        let mut found = vec![0; bytes.len()];
        stream.read_exact(&mut found).expect("the whole echo comes");
        let place = found.iter().zip(bytes).position(|(one, other)| one != other);
        assert_eq!(place, None, "first difference of {} bytes", bytes.len());
    });
}

#[test]
fn bytes_come_back_and_the_end_after_them() {
    on_each_driver(|driver| {
        let stand = Setup::builtin(driver, "echo").start();
        let mut stream = stand.connect();
        exchange(&mut stream, &pattern(0, 300_000), 7_001);
        stream.write_all(b"last").expect("it reads");
        stream.shutdown(Shutdown::Write).expect("a half-close");
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).expect("a good end");
        assert_eq!(rest, b"last");
        stand.until_resting();
        let counted = stand.counted();
        assert_eq!((counted.bytes_in, counted.bytes_out), (300_004, 300_004));
        assert_eq!((counted.opened, counted.errors), (1, 0));
        stand.stop();
    });
}

#[test]
fn messages_with_lengths_come_back_in_order() {
    let framing = Framing::Length { bytes: 4, order: ByteOrder::Big, inclusive: false };
    let mut bytes = Vec::new();
    for size in [0, 1, 64, 1_000, 16_000, 70_000, 3, 200_000, 65_532, 65_533, 12] {
        let size: u32 = size;
        bytes.extend_from_slice(&size.to_be_bytes());
        bytes.extend_from_slice(&pattern(size as usize, size as usize));
    }
    on_each_driver(|driver| {
        let stand = Setup::builtin(driver, "echo").on(|terms| terms.framing = framing.clone()).start();
        for piece in [3, 1_000, 65_536, bytes.len()] {
            let mut stream = stand.connect();
            let bytes = if piece == 3 { &bytes[..1_081] } else { &bytes[..] };
            exchange(&mut stream, bytes, piece);
        }
        stand.until_resting();
        assert_eq!(stand.counted().messages_in, 4 + 3 * 11);
        stand.stop();
    });
}

#[test]
fn long_messages_in_a_row_all_come_back() {
    let framing = Framing::Length { bytes: 4, order: ByteOrder::Big, inclusive: false };
    let mut bytes = Vec::new();
    for size in [50_000, 1_040_000, 60_000, 1_048_572, 1, 1_040_000] {
        let size: u32 = size;
        bytes.extend_from_slice(&size.to_be_bytes());
        bytes.extend_from_slice(&pattern(size as usize, size as usize));
    }
    on_each_driver(|driver| {
        for queue_bytes_max in [1_000, 1 << 20] {
            let stand = Setup::builtin(driver, "echo")
                .on(|terms| terms.framing = framing.clone())
                .on(|terms| terms.limits.queue_bytes_max = queue_bytes_max)
                .start();
            let mut stream = stand.connect();
            exchange(&mut stream, &bytes, bytes.len());
            drop(stream);
            stand.until_resting();
            assert_eq!((stand.counted().messages_out, stand.counted().errors), (6, 0));
            stand.stop();
        }
    });
}
