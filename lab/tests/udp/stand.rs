//! What the tests of `udp` share: receivers that run, generators, and reading what they said.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Output, Stdio};

/// The receivers.
pub(crate) const SERVERS: [&str; 7] = [
    "ring-polled",
    "ring-event",
    "ring-port-1",
    "ring-port-N",
    "plain-polled",
    "plain-port-1",
    "plain-port-N",
];

/// `ringway-lab udp` with flags that are separated by spaces.
pub(crate) fn udp(flags: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringway-lab"));
    command.arg("udp").args(flags.split_whitespace()).stdin(Stdio::null());
    command
}

/// What a command that succeeds says as JSON.
pub(crate) fn json(flags: &str) -> Value {
    let output = udp(flags).args(["--json", "-"]).output().expect("the lab starts");
    assert!(output.status.success(), "{flags}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// A receiver that runs; it ends when its trial does, or with the test.
pub(crate) struct Serving {
    child: Child,
    /// Where it listens.
    pub(crate) addresses: Vec<String>,
}

impl Serving {
    /// Starts a receiver, of 64-byte datagrams if nothing else is said, and waits until it listens.
    pub(crate) fn start(flags: &str) -> Serving {
        let mut command = udp(&format!("serve --json - {flags}"));
        for (flag, value) in [("--size", "64"), ("--timeout", "30")] {
            if !flags.contains(flag) {
                command.args([flag, value]);
            }
        }
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the lab starts");
        let mut line = String::new();
        let stderr = child.stderr.as_mut().expect("a pipe");
        BufReader::with_capacity(1, stderr).read_line(&mut line).expect("a line");
        let rest = line.strip_prefix("listening on ").unwrap_or_else(|| panic!("{flags}: {line}"));
        let addresses =
            rest.split_whitespace().take_while(|word| !word.starts_with('(')).map(str::to_owned).collect();
        Serving { child, addresses }
    }

    /// The addresses as `udp send --to` wants them.
    pub(crate) fn to(&self) -> String {
        self.addresses.join(",")
    }

    /// Waits for the end: exit code, JSON on standard output, and the rest of what was said.
    pub(crate) fn finish(mut self) -> (Option<i32>, Value, String) {
        let (mut out, mut err) = (String::new(), String::new());
        self.child.stdout.take().expect("a pipe").read_to_string(&mut out).expect("text");
        self.child.stderr.take().expect("a pipe").read_to_string(&mut err).expect("text");
        let status = self.child.wait().expect("it ends");
        (status.code(), serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}")), err)
    }

    /// What a receiver says that succeeds.
    pub(crate) fn succeed(self) -> Value {
        let (code, value, err) = self.finish();
        assert_eq!(code, Some(0), "{err}");
        value
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// A figure of the first table.
pub(crate) fn figure(outcome: &Value, name: &str) -> f64 {
    let rows = outcome["tables"][0]["rows"].as_array().expect("rows");
    let row = rows.iter().find(|row| row["what"] == name).unwrap_or_else(|| panic!("{name} in {rows:?}"));
    let value = &row["value"];
    value["value"].as_f64().or(value.as_f64()).unwrap_or_else(|| panic!("{name} is a number: {value}"))
}

/// A table by its name.
pub(crate) fn table<'a>(outcome: &'a Value, name: &str) -> &'a Vec<Value> {
    let tables = outcome["tables"].as_array().expect("tables");
    let table =
        tables.iter().find(|table| table["name"] == name).unwrap_or_else(|| panic!("no table {name}"));
    table["rows"].as_array().expect("rows")
}

/// The one sentence of a command that is refused.
pub(crate) fn refusal(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(output.stdout.is_empty());
    let line = said.strip_suffix('\n').expect("a line");
    assert!(!line.contains('\n'), "one sentence: {said}");
    line.strip_prefix("ringway-lab: ").expect("who says it").to_owned()
}
