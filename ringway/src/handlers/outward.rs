//! TLS of connections that handlers open: whoever the authorities of this machine vouch for is believed.

use crate::config::settings;
use crate::socket::outbound::ClientTls;
use crate::tls::{Authorities, TlsClient};
use std::io;
use std::sync::{Arc, LazyLock};

/// Read once, where it is first wanted; why it cannot be had is said by each connection that wants it.
static CLIENT: LazyLock<Result<TlsClient, String>> =
    LazyLock::new(|| TlsClient::new(&Authorities::System, Vec::new()).map_err(|problem| problem.to_string()));

/// What encrypts an endpoint's connections outward; `None` where it has none.
pub(super) fn tls(endpoint: &settings::Endpoint) -> Option<ClientTls> {
    if endpoint.reaches().is_empty() {
        return None;
    }
    // Read here, where waiting for a disk keeps no worker.
    LazyLock::force(&CLIENT);
    let filter = |name: &str| {
        let client = CLIENT.as_ref().map_err(|reason| io::Error::other(reason.clone()))?;
        client
            .filter(name)
            .map_err(|problem| io::Error::new(io::ErrorKind::InvalidInput, problem.to_string()))
    };
    Some(ClientTls { filter: Arc::new(filter), server_name: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn handlers_that_connect_have_tls_and_others_do_not() {
        let has_tls = |settings: serde_json::Value| {
            let mut all = json!({ "name": "x", "listen": ["127.0.0.1:0"] });
            if let (Some(all), Some(settings)) = (all.as_object_mut(), settings.as_object()) {
                all.extend(settings.clone());
            }
            let endpoint: settings::Endpoint = serde_json::from_value(all).expect("good settings");
            tls(&endpoint).is_some()
        };
        assert!(has_tls(json!({ "handler": "builtin:gateway", "config": { "targets": ["127.0.0.1:1"] } })));
        assert!(has_tls(json!({ "handler": "lib:/x.so", "connect": ["127.0.0.1:1"] })));
        assert!(!has_tls(json!({ "handler": "builtin:echo" })));
    }
}
