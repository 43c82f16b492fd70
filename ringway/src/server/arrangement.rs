//! The configuration of a server that was put together in code: what `[[service]]`, `[[site]]` and `[[endpoint]]` would say.

use super::Server;
use super::options::{LogFormat, Options, PORT};
use crate::config::settings::Config;
use crate::listen;
use crate::service::Service;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The one endpoint.
const ENDPOINT: &str = "web";

/// The names under which a certificate that is made is provided.
pub(super) const MADE_CERTIFICATE: &str = "/made/certificate.pem";
pub(super) const MADE_KEY: &str = "/made/key.pem";

/// Where a service keeps its data unless somebody says where.
const DATA: &str = "data";

/// The configuration; `passed` are the names of sockets that take the place of addresses.
///
/// # Errors
/// A sentence.
pub(super) fn configuration(server: &Server, options: &Options, passed: &[String]) -> Result<Config, String> {
    let services: BTreeMap<&str, &Service> = server
        .sites
        .iter()
        .flat_map(|site| &site.services)
        .map(|(_, service)| (service.name(), service))
        .collect();
    let mut settings = own_settings(&services, &options.settings)?;
    let data = absolute(options.data.as_deref().unwrap_or(Path::new(DATA)))?;
    let mut service = |name: &str| {
        let config = settings.remove(name).unwrap_or_default();
        json!({ "name": name, "data": data.join(name), "config": config })
    };
    let services: Vec<Value> = services.keys().map(|name| service(name)).collect();
    let sites = server.sites.iter().map(site).collect::<Result<Vec<_>, _>>()?;
    if sites.is_empty() {
        return Err("there is nothing to serve: give the server a service.".to_owned());
    }
    let config = json!({
        "server": { "workers": options.workers, "driver": driver(options) },
        "console": { "enabled": options.console.is_some() || options.stats },
        "log": { "access": log(options)? },
        "endpoint": [{ "name": ENDPOINT, "listen": addresses(server, options, passed)?, "tls": has_tls(options) }],
        "certificate": certificates(options),
        "service": services,
        "site": sites,
    });
    serde_json::from_value(config).map_err(|error| format!("this cannot be served: {error}."))
}

/// Whether connections are encrypted.
pub(super) fn has_tls(options: &Options) -> bool {
    options.tls || options.certificate.is_some()
}

/// What `--set` says, by service.
fn own_settings(
    services: &BTreeMap<&str, &Service>,
    said: &[(String, String)],
) -> Result<BTreeMap<String, Map<String, Value>>, String> {
    let mut settings: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for (key, value) in said {
        let named = key.split_once('.').filter(|(first, _)| services.contains_key(*first));
        let (service, key) = match (named, services.len(), services.keys().next()) {
            (Some((service, key)), ..) => (service, key),
            (None, 1, Some(only)) => (*only, key.as_str()),
            _ => {
                let names = services.keys().copied().collect::<Vec<_>>().join(", ");
                return Err(format!(
                    "--set takes SERVICE.KEY=VALUE here, and {key:?} names none of {names}."
                ));
            }
        };
        put(settings.entry(service.to_owned()).or_default(), key, read(value))?;
    }
    Ok(settings)
}

/// Puts a value where a dotted key says.
fn put(table: &mut Map<String, Value>, key: &str, value: Value) -> Result<(), String> {
    let Some((first, rest)) = key.split_once('.') else {
        table.insert(key.to_owned(), value);
        return Ok(());
    };
    match table.entry(first).or_insert_with(|| Value::Object(Map::new())) {
        Value::Object(inner) => put(inner, rest, value),
        _ => Err(format!("--set: {first:?} has a value already and cannot have {rest:?} in it.")),
    }
}

/// A value as TOML has it; what is none is text.
fn read(text: &str) -> Value {
    let table = toml::from_str::<Map<String, Value>>(&format!("value = {text}"));
    let value = table.ok().filter(|table| table.len() == 1).and_then(|mut table| table.remove("value"));
    value.unwrap_or_else(|| text.into())
}

fn site(site: &super::Site) -> Result<Value, String> {
    let routes = site.services.iter().map(|(path, service)| {
        if !path.starts_with('/') {
            return Err(format!("the path of a service begins with a slash, and {path:?} does not."));
        }
        let below = path.trim_end_matches("/**").trim_end_matches('/');
        Ok(json!({ "path": format!("{below}/**"), "service": service.name() }))
    });
    let routes = routes.collect::<Result<Vec<_>, _>>()?;
    let root = site.root.as_deref().map(absolute).transpose()?;
    Ok(json!({ "names": site.names, "root": root, "route": routes }))
}

/// Where to listen: what the command line says, else the program, else the usual port on loopback addresses that exist.
fn addresses(server: &Server, options: &Options, passed: &[String]) -> Result<Vec<String>, String> {
    if !passed.is_empty() {
        return Ok(passed.to_vec());
    }
    let said = if options.listen.is_empty() { &server.listen } else { &options.listen };
    let usual = [PORT.to_owned()];
    let said = if said.is_empty() { usual.as_slice() } else { said.as_slice() };
    let mut addresses = Vec::new();
    for text in said {
        let parsed = listen::parse(text)?;
        let is_plain_port = !text.contains(':');
        addresses.extend(parsed.iter().enumerate().filter_map(|(at, address)| {
            // A free port is another one for each address.
            let is_wanted = at == 0 || !(is_plain_port && (text == "0" || !has_ipv6()));
            is_wanted.then(|| address.to_string())
        }));
    }
    Ok(addresses)
}

/// Whether this machine has the loopback address of IPv6.
fn has_ipv6() -> bool {
    std::net::UdpSocket::bind("[::1]:0").is_ok()
}

fn certificates(options: &Options) -> Value {
    match &options.certificate {
        Some((certificate, key)) => json!([{ "cert": certificate, "key": key }]),
        None if options.tls => json!([{ "cert": MADE_CERTIFICATE, "key": MADE_KEY }]),
        None => json!([]),
    }
}

fn driver(options: &Options) -> &'static str {
    use crate::engine::ring::DriverChoice;
    match options.driver {
        DriverChoice::Auto => "auto",
        DriverChoice::Uring => "uring",
        DriverChoice::Epoll => "epoll",
    }
}

fn log(options: &Options) -> Result<Value, String> {
    let format = match options.log {
        LogFormat::Off => "off",
        LogFormat::Combined => "combined",
        LogFormat::Json => "json",
    };
    Ok(match &options.log_file {
        Some(path) => json!({ "format": format, "path": absolute(path)? }),
        None => json!({ "format": format }),
    })
}

fn absolute(path: &Path) -> Result<PathBuf, String> {
    std::path::absolute(path).map_err(|error| format!("cannot find {}: {error}.", path.display()))
}

/// What is served, for people.
pub(super) fn told(server: &Server) -> String {
    let services = server.sites.iter().flat_map(|site| {
        site.services.iter().map(|(path, service)| match path.as_str() {
            "/" => service.name().to_owned(),
            path => format!("{} below {path}", service.name()),
        })
    });
    let files = server.sites.iter().filter_map(|site| Some(site.root.as_ref()?.display().to_string()));
    services.chain(files).collect::<Vec<_>>().join(", ")
}
