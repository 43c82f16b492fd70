//! A policy file for players of an old plug-in: asked for with one message, answered with one, closed.

use super::{BuiltinError, Settings};
use crate::connection::Connection;
use crate::handler::{Handler, HandlerFactory};
use crate::message::Message;
use std::fs;
use std::rc::Rc;
use std::sync::Arc;

/// The settings it knows.
pub(super) const SETTINGS: &[&str] = &["file", "policy"];

/// The one question, without the zero byte behind it.
const QUESTION: &[u8] = b"<policy-file-request/>";

/// The longest policy, in bytes.
const POLICY_BYTES_MAX: u64 = 64 * 1024;

/// A policy that lets nobody in.
const CLOSED: &str = "<?xml version=\"1.0\"?><cross-domain-policy><site-control permitted-cross-domain-policies=\"none\"/></cross-domain-policy>";

struct Policy {
    answer: Arc<[u8]>,
}

impl Handler for Policy {
    fn message(&self, conn: &mut Connection<'_>, message: Message<'_>) {
        let asked = message.whole();
        if asked.strip_suffix(b"\0").unwrap_or(asked) == QUESTION {
            // Where no more can be sent, the connection ends for a reason of its own.
            let _closed = conn.send_raw(&self.answer);
        }
        conn.close();
    }
}

pub(super) fn make(settings: &Settings) -> Result<HandlerFactory, BuiltinError> {
    let wrong = |wanted: String| BuiltinError::Value { name: "file".into(), wanted: wanted.into() };
    let mut text = match (settings.text("file"), settings.text("policy")) {
        (Some(_), Some(_)) => return Err(wrong("left out where policy is set".to_owned())),
        (Some(path), None) => {
            let bytes = fs::metadata(path).map(|found| found.len()).unwrap_or(0);
            if bytes > POLICY_BYTES_MAX {
                return Err(wrong(format!("a file of up to {POLICY_BYTES_MAX} bytes; {path} has {bytes}")));
            }
            fs::read(path).map_err(|error| wrong(format!("a readable file: {path}: {error}")))?
        }
        (None, policy) => policy.unwrap_or(CLOSED).as_bytes().to_vec(),
    };
    text.push(0);
    let answer: Arc<[u8]> = text.into();
    Ok(Arc::new(move |_worker| Ok(Rc::new(Policy { answer: Arc::clone(&answer) }) as Rc<dyn Handler>)))
}
