//! Tests of RESP: every kind of value at every split, limits, and what is not RESP.

use super::*;
use proptest::prelude::*;

const MAX: usize = 1 << 20;

/// All values of `bytes`, which come in pieces of `step`.
fn decode(bytes: &[u8], step: usize, max: usize) -> Result<Vec<Value>, Fault> {
    let mut decoder = Decoder::new(max);
    let mut values = Vec::new();
    for piece in bytes.chunks(step.max(1)) {
        let mut input = piece;
        while let Some(value) = decoder.next(&mut input)? {
            values.push(value);
        }
        assert!(input.is_empty());
    }
    Ok(values)
}

fn one(bytes: &[u8]) -> Result<Vec<Value>, Fault> {
    let whole = decode(bytes, bytes.len(), MAX);
    for split in 1..bytes.len() {
        let mut decoder = Decoder::new(MAX);
        let mut values = Vec::new();
        let outcome = [&bytes[..split], &bytes[split..]].into_iter().try_for_each(|mut input| {
            while let Some(value) = decoder.next(&mut input)? {
                values.push(value);
            }
            Ok(())
        });
        assert_eq!(outcome.map(|()| values), whole, "split at {split}");
    }
    whole
}

fn bytes(text: &str) -> Value {
    Value::Bytes(text.into())
}

#[test]
fn every_kind_of_value_is_read_at_every_split() {
    let cases: &[(&str, Value)] = &[
        ("+OK\r\n", Value::Status("OK".into())),
        ("-ERR no\r\n", Value::Error("ERR no".into())),
        (":-12\r\n", Value::Int(-12)),
        ("$5\r\na\r\nbc\r\n", bytes("a\r\nbc")),
        ("$0\r\n\r\n", bytes("")),
        ("$-1\r\n", Value::Nil),
        ("*-1\r\n", Value::Nil),
        ("_\r\n", Value::Nil),
        ("*0\r\n", Value::Array(vec![])),
        ("*2\r\n:1\r\n*1\r\n$1\r\nx\r\n", Value::Array(vec![Value::Int(1), Value::Array(vec![bytes("x")])])),
        ("~1\r\n#t\r\n", Value::Array(vec![Value::Bool(true)])),
        ("%1\r\n+k\r\n,1.5\r\n", Value::Map(vec![(Value::Status("k".into()), Value::Double(1.5))])),
        (">2\r\n+message\r\n#f\r\n", Value::Push(vec![Value::Status("message".into()), Value::Bool(false)])),
        ("=7\r\ntxt:abc\r\n", bytes("abc")),
        ("!3\r\nERR\r\n", Value::Error("ERR".into())),
        ("(123456789012345678901234567890\r\n", Value::Status("123456789012345678901234567890".into())),
        ("|1\r\n+ttl\r\n:5\r\n:7\r\n", Value::Int(7)),
        ("*2\r\n|1\r\n+a\r\n*0\r\n:1\r\n:2\r\n", Value::Array(vec![Value::Int(1), Value::Int(2)])),
    ];
    for (text, value) in cases {
        assert_eq!(one(text.as_bytes()), Ok(vec![value.clone()]), "{text:?}");
    }
    let all: String = cases.iter().map(|(text, _)| *text).collect();
    let values: Vec<Value> = cases.iter().map(|(_, value)| value.clone()).collect();
    for step in 1..20 {
        assert_eq!(decode(all.as_bytes(), step, MAX).as_ref(), Ok(&values), "in pieces of {step}");
    }
}

#[test]
fn what_is_not_resp_is_a_fault() {
    let cases: &[(&[u8], Fault)] = &[
        (b"HTTP/1.1 400 Bad Request\r\n", Fault::Kind(b'H')),
        (b"\r\n", Fault::Kind(b'\r')),
        (b"+OK\n", Fault::Ending),
        (b"+O\rK\r\n", Fault::Ending),
        (b"$2\r\nabcd", Fault::Ending),
        (b":1x\r\n", Fault::Number),
        (b":+1\r\n", Fault::Number),
        (b":\r\n", Fault::Number),
        (b"$-2\r\n", Fault::Number),
        (b"$?\r\n", Fault::Number),
        (b"*-2\r\n", Fault::Number),
        (b"*9223372036854775807\r\n", Fault::TooLarge),
        (b"%9223372036854775807\r\n", Fault::TooLarge),
        (b"$9223372036854775807\r\n", Fault::TooLarge),
        (b"$99999999999999999999\r\n", Fault::Number),
        (b"#x\r\n", Fault::Kind(b'#')),
        (b"+\xff\r\n", Fault::Text),
        (b",one\r\n", Fault::Number),
    ];
    for (bytes, fault) in cases {
        assert_eq!(one(bytes), Err(*fault), "{:?}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn limits_hold_before_memory_is_taken() {
    assert_eq!(decode(b"*1000\r\n", 7, 999 * VALUE_BYTES), Err(Fault::TooLarge));
    assert_eq!(decode(b"$1000\r\n", 7, 1_000), Err(Fault::TooLarge));
    // Many small ones are as large as one large one.
    let many = format!("*100\r\n{}", "$9\r\n123456789\r\n".repeat(100));
    assert_eq!(decode(many.as_bytes(), 50, 100 * VALUE_BYTES + 500), Err(Fault::TooLarge));
    assert!(decode(many.as_bytes(), 50, 101 * VALUE_BYTES + 900).is_ok());
    // Each value has the whole limit.
    let twice = "$900\r\n".to_owned() + &"x".repeat(900) + "\r\n";
    assert_eq!(decode(twice.repeat(5).as_bytes(), 64, 1_000).map(|values| values.len()), Ok(5));
    let deep = "*1\r\n".repeat(DEPTH_MAX) + ":1\r\n";
    assert!(decode(deep.as_bytes(), 3, MAX).is_ok());
    assert_eq!(decode(("*1\r\n".to_owned() + &deep).as_bytes(), 3, MAX), Err(Fault::TooDeep));
    let endless = "+".to_owned() + &"x".repeat(crate::line::LINE_BYTES_MAX + 1);
    assert_eq!(decode(endless.as_bytes(), 1_000, MAX), Err(Fault::TooLarge));
}

#[test]
fn commands_are_arrays_of_their_arguments() {
    let command = Command::new("SET").arg("key").arg(b"a\r\nb").arg("PX").number(5_u32);
    let mut bytes = Vec::new();
    command.encode(&mut bytes);
    assert_eq!(bytes, b"*5\r\n$3\r\nSET\r\n$3\r\nkey\r\n$4\r\na\r\nb\r\n$2\r\nPX\r\n$1\r\n5\r\n");
    assert_eq!(command.name(), b"SET");
    assert_eq!(Command::new("").name(), b"");
}

fn value() -> impl Strategy<Value = Value> {
    let text = "[ -~]{0,8}";
    let leaf = prop_oneof![
        Just(Value::Nil),
        any::<i64>().prop_map(Value::Int),
        any::<bool>().prop_map(Value::Bool),
        (-1e9..1e9).prop_map(Value::Double),
        text.prop_map(Value::Status),
        text.prop_map(Value::Error),
        proptest::collection::vec(any::<u8>(), 0..40).prop_map(Value::Bytes),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::Push),
            proptest::collection::vec((inner.clone(), inner), 0..3).prop_map(Value::Map),
        ]
    })
}

/// A value as a server writes it.
fn write(value: &Value, target: &mut Vec<u8>) {
    let mut line = |text: String| target.extend_from_slice((text + "\r\n").as_bytes());
    match value {
        Value::Nil => line("_".into()),
        Value::Int(number) => line(format!(":{number}")),
        Value::Double(number) => line(format!(",{number}")),
        Value::Bool(is_so) => line(if *is_so { "#t" } else { "#f" }.into()),
        Value::Status(text) => line(format!("+{text}")),
        Value::Error(text) => line(format!("-{text}")),
        Value::Bytes(bytes) => {
            line(format!("${}", bytes.len()));
            target.extend_from_slice(bytes);
            target.extend_from_slice(b"\r\n");
        }
        Value::Array(items) | Value::Push(items) => {
            line(format!("{}{}", if matches!(value, Value::Push(_)) { '>' } else { '*' }, items.len()));
            items.iter().for_each(|item| write(item, target));
        }
        Value::Map(pairs) => {
            line(format!("%{}", pairs.len()));
            for (key, value) in pairs {
                write(key, target);
                write(value, target);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(6),
        ..ProptestConfig::with_cases(200)
    })]

    #[test]
    fn what_is_written_is_read(values in proptest::collection::vec(value(), 1..4), step in 1_usize..50) {
        let mut bytes = Vec::new();
        values.iter().for_each(|value| write(value, &mut bytes));
        prop_assert_eq!(decode(&bytes, step, MAX), Ok(values));
    }

    #[test]
    fn noise_ends_the_same_in_any_pieces(bytes in "[+:$*0-9a\r\n-]{0,60}", step in 1_usize..9) {
        let whole = decode(bytes.as_bytes(), bytes.len(), 4_096);
        prop_assert_eq!(decode(bytes.as_bytes(), step, 4_096), whole);
    }
}
