//! Messages with a length before them, measured by the handler itself and sent back.

use super::{BuiltinError, Settings};
use crate::connection::Connection;
use crate::framing::{ByteOrder, Found, Framing, FramingLimits, Measure};
use crate::handler::{Handler, HandlerFactory};
use crate::message::Message;
use std::rc::Rc;
use std::sync::Arc;

/// The settings it knows.
pub(super) const SETTINGS: &[&str] = &["bytes", "order", "inclusive"];

/// What the lengths are like is a framing as any: the handler asks it where the endpoint does not.
struct LengthEcho {
    framing: Framing,
}

impl Handler for LengthEcho {
    fn message(&self, conn: &mut Connection<'_>, message: Message<'_>) {
        super::sent_or_abort(conn, |conn| conn.reply(message));
    }

    fn measure(&self, _user: u64, input: &[u8]) -> Measure {
        // How long is too long is for the endpoint to say.
        let limits = FramingLimits { message_bytes_max: usize::MAX, ..FramingLimits::default() };
        match self.framing.next(input, 0, &limits, &mut |_| Measure::Wrong) {
            Found::Whole { total, .. } | Found::NeedMore(Some(total)) => Measure::Bytes(total),
            Found::NeedMore(None) => Measure::NeedMore,
            Found::Wrong(_) => Measure::Wrong,
        }
    }
}

pub(super) fn make(settings: &Settings) -> Result<HandlerFactory, BuiltinError> {
    let wrong = |name: &str, wanted: &str| BuiltinError::Value { name: name.into(), wanted: wanted.into() };
    let bytes = match settings.number("bytes", 4, 1..=8)? {
        1 => 1,
        2 => 2,
        4 => 4,
        8 => 8,
        _ => return Err(wrong("bytes", "1, 2, 4 or 8")),
    };
    let order = match settings.text("order") {
        None | Some("big") => ByteOrder::Big,
        Some("little") => ByteOrder::Little,
        Some(_) => return Err(wrong("order", "\"big\" or \"little\"")),
    };
    let framing = Framing::Length { bytes, order, inclusive: settings.flag("inclusive", false)? };
    Ok(Arc::new(move |_worker| Ok(Rc::new(LengthEcho { framing: framing.clone() }) as Rc<dyn Handler>)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_are_those_of_the_framing() {
        let echo =
            LengthEcho { framing: Framing::Length { bytes: 2, order: ByteOrder::Little, inclusive: true } };
        assert_eq!(echo.measure(0, &[7]), Measure::NeedMore);
        assert_eq!(echo.measure(0, &[7, 0]), Measure::Bytes(7));
        assert_eq!(echo.measure(0, &[2, 0, 9]), Measure::Bytes(2));
        assert_eq!(echo.measure(0, &[1, 0]), Measure::Wrong);
    }
}
