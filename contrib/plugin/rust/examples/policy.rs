//! Policy files, as players of Flash ask for them before they connect: `<policy-file-request/>` and a zero byte, answered with the file, a zero
//! byte and the end. With framing = { kind = "delimiter", ... } for the zero byte; behind TLS as well. The configuration says which ports
//! may be connected to: `ports = "80,443"`.

use ringway_sdk::{Connection, ConnectionHandler, Endpoint, Message, Setup};

const REQUEST: &[u8] = b"<policy-file-request/>";

struct Policy {
    file: Vec<u8>,
}

impl ConnectionHandler for Policy {
    type Worker = ();
    type State = ();

    const MESSAGE_BYTES_MAX: u64 = 64;

    fn create(setup: &Setup<'_>, _endpoint: Endpoint<()>) -> Result<Self, String> {
        let ports = setup.config().split('"').nth(1).unwrap_or("*");
        if !ports.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b',' | b'-' | b'*')) {
            return Err(format!("{ports:?} are no ports: such as \"80,443\""));
        }
        let file = format!(
            "<?xml version=\"1.0\"?>\n<cross-domain-policy>\n  \
             <allow-access-from domain=\"*\" to-ports=\"{ports}\"/>\n</cross-domain-policy>\n"
        );
        Ok(Self { file: file.into_bytes() })
    }

    fn worker(&self) -> Self::Worker {}

    fn message(&self, (): &(), conn: &mut Connection<'_>, (): &mut (), message: Message<'_>) {
        // Whoever asks for something else hears nothing.
        if *message == *REQUEST {
            let _gone = conn.send(&self.file);
        }
        conn.close();
    }
}

ringway_sdk::export!("policy"; connection: Policy);
