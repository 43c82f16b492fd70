//! What a handler works under, as its room wants it: framing, limits, urgent data.

use crate::config::settings::{self, FramingKind, Limits};
use crate::config::values::{HandlerSource, Size};
use crate::socket::datagrams::DatagramRules;
use crate::socket::{ByteOrder, ConnectionLimits, Framing, FramingLimits, Urgent, builtin_framing};

/// Bytes of the number that says how long a message is, unless somebody says it.
const LENGTH_BYTES: u8 = 4;

/// How messages of an endpoint are told apart.
pub(super) fn framing(endpoint: &settings::Endpoint) -> Framing {
    let Some(written) = &endpoint.framing else { return usual(endpoint.handler.as_ref()) };
    match written.kind {
        FramingKind::None => Framing::None,
        FramingKind::Length => Framing::Length {
            bytes: written.bytes.unwrap_or(LENGTH_BYTES),
            order: match written.order.unwrap_or_default() {
                settings::ByteOrder::Big => ByteOrder::Big,
                settings::ByteOrder::Little => ByteOrder::Little,
            },
            inclusive: written.inclusive.unwrap_or(false),
        },
        FramingKind::Lines => Framing::lines(),
        FramingKind::Delimiter => {
            Framing::Delimiter(written.delimiter.as_deref().unwrap_or_default().as_bytes().into())
        }
        FramingKind::Fixed => Framing::Fixed(written.size.map_or(0, bytes)),
        FramingKind::Handler => Framing::Handler,
        FramingKind::Websocket => Framing::WebSocket,
        FramingKind::Auto => Framing::Auto(Box::new(usual(endpoint.handler.as_ref()))),
    }
}

/// What a handler wants where nobody says anything else.
fn usual(handler: Option<&HandlerSource>) -> Framing {
    match handler {
        Some(HandlerSource::Builtin(name)) => builtin_framing(name),
        _ => Framing::None,
    }
}

pub(super) fn framing_limits(limits: &Limits) -> FramingLimits {
    let (usual, message_bytes_max) = (FramingLimits::default(), bytes(limits.message_size));
    let assembling_bytes_max = usual.assembling_bytes_max.max(message_bytes_max.saturating_mul(2));
    FramingLimits { message_bytes_max, assembling_bytes_max, ..usual }
}

pub(super) fn connection_limits(limits: &Limits) -> ConnectionLimits {
    ConnectionLimits {
        idle_ms_max: limits.idle_timeout.ms(),
        read_ms_max: limits.read_timeout.ms(),
        stall_ms_max: limits.send_timeout.ms(),
        // Whoever may receive a message may be sent one.
        queue_bytes_max: ConnectionLimits::default().queue_bytes_max.max(2 * bytes(limits.message_size)),
    }
}

pub(super) fn urgent(urgent: settings::Urgent) -> Urgent {
    match urgent {
        settings::Urgent::Abort => Urgent::Abort,
        settings::Urgent::Inline => Urgent::Inline,
        settings::Urgent::Separate => Urgent::Separate,
    }
}

/// Peers are known where somebody has said how many, to handlers in libraries, which may keep something for each, and to the relay,
/// which has subscribers.
pub(super) fn datagram_rules(endpoint: &settings::Endpoint, limits: &Limits) -> DatagramRules {
    let own = &endpoint.limits;
    let is_library = endpoint.handler.as_ref().is_some_and(|handler| handler.library().is_some());
    let is_relay =
        matches!(&endpoint.handler, Some(HandlerSource::Builtin(name)) if name == "multicast-relay");
    let knows = is_library || is_relay || own.connections.is_some() || own.connections_per_address.is_some();
    DatagramRules {
        peers_max: if knows { usize::try_from(limits.connections).unwrap_or(usize::MAX) } else { 0 },
        peers_per_address_max: limits.connections_per_address,
        peer_idle_ms: limits.idle_timeout.ms(),
        ..DatagramRules::default()
    }
}

pub(super) fn bytes(size: Size) -> usize {
    usize::try_from(size.bytes()).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn framed(framing: serde_json::Value, handler: &str) -> Framing {
        let mut endpoint = json!({ "name": "x", "listen": ["127.0.0.1:0"], "handler": handler });
        if !framing.is_null() {
            endpoint["framing"] = framing;
        }
        super::framing(&serde_json::from_value(endpoint).expect("an endpoint"))
    }

    #[test]
    fn framings_are_as_they_are_written_and_else_as_handlers_want_them() {
        let four = Framing::Length { bytes: 4, order: ByteOrder::Big, inclusive: false };
        assert_eq!(framed(json!(null), "builtin:length-echo"), Framing::Handler);
        assert_eq!(framed(json!({ "kind": "length" }), "builtin:echo"), four);
        let two = json!({ "kind": "length", "bytes": 2, "order": "little", "inclusive": true });
        let two_bytes = Framing::Length { bytes: 2, order: ByteOrder::Little, inclusive: true };
        assert_eq!(framed(two, "builtin:echo"), two_bytes);
        assert_eq!(framed(json!(null), "builtin:chat"), Framing::lines());
        assert_eq!(
            framed(json!({ "kind": "auto" }), "builtin:chat"),
            Framing::Auto(Box::new(Framing::lines()))
        );
        assert_eq!(framed(json!({ "kind": "none" }), "builtin:chat"), Framing::None);
        assert_eq!(framed(json!({ "kind": "fixed", "size": "188 B" }), "lib:/x.so"), Framing::Fixed(188));
        assert_eq!(framed(json!(null), "lib:/x.so"), Framing::None);
        let ends = json!({ "kind": "delimiter", "delimiter": "\r\n.\r\n" });
        assert_eq!(framed(ends, "lib:/x.so"), Framing::Delimiter(Box::new(*b"\r\n.\r\n")));
    }
}
