//! WebSockets (RFC 6455) as pure machines: hand-shakes, frames, messages, closing. No I/O and no clock.
#![forbid(unsafe_code)]
