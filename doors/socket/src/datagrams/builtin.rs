//! The handlers of datagrams that the server brings, by name.

use crate::builtin::{BuiltinError, Settings, list};
use crate::datagrams::{DatagramHandlerFactory, RelayOptions, echo, relay};
use std::net::SocketAddr;

/// What makes a handler of its settings.
type Make = fn(&Settings) -> Result<DatagramHandlerFactory, BuiltinError>;

/// The handlers by name, with the settings that each knows.
const HANDLERS: &[(&str, &[&str], Make)] =
    &[("udp-echo", &[], |_| Ok(echo())), ("multicast-relay", &["to", "subscribe"], relay_of)];

/// The handler of datagrams of that name with these settings: `udp-echo`; `multicast-relay` with `to` (addresses with their ports,
/// commas between them) and `subscribe`.
///
/// # Errors
/// [`BuiltinError`] says which name or setting is wrong, and what there is.
pub fn builtin(name: &str, settings: &Settings) -> Result<DatagramHandlerFactory, BuiltinError> {
    let found = HANDLERS.iter().find(|(known, ..)| *known == name);
    let Some((_, known, make)) = found else {
        return Err(BuiltinError::unknown(name, HANDLERS.iter().map(|(known, ..)| *known)));
    };
    settings.check_names(known)?;
    make(settings)
}

fn relay_of(settings: &Settings) -> Result<DatagramHandlerFactory, BuiltinError> {
    let wrong = |wanted: String| BuiltinError::Value { name: "to".into(), wanted: wanted.into() };
    let mut to = Vec::new();
    for text in list(settings.text("to").unwrap_or_default()) {
        let address = text.parse::<SocketAddr>().ok().filter(|address| address.port() > 0);
        let told = || wrong(format!("addresses with their ports such as \"239.1.2.3:5000\", not {text:?}"));
        to.push(address.ok_or_else(told)?);
    }
    relay(RelayOptions { to, subscribe: settings.flag("subscribe", false)? }).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(name: &str, settings: &[(&str, &str)]) -> String {
        let settings = settings.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        builtin(name, &settings).err().expect("it is wrong").to_string()
    }

    #[test]
    fn wrong_names_and_settings_are_explained() {
        assert!(error("echo", &[]).contains("there are udp-echo, multicast-relay"));
        assert_eq!(error("udp-echo", &[("to", "x")]), "this handler has no setting to, and no other");
        assert!(error("multicast-relay", &[]).contains("addresses to send to, or subscribers"));
        assert!(error("multicast-relay", &[("to", "239.1.2.3:0")]).contains("not \"239.1.2.3:0\""));
        let settings = [("to", "[\"239.1.2.3:5000\", \"[ff15::1]:5000\"]")];
        let settings = settings.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        assert!(builtin("multicast-relay", &settings).is_ok());
    }
}
