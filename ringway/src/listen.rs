//! Listening addresses as people write them.

use ringway_engine::ring::socket::Address;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Turns what was written into addresses: `8080` and `localhost:8080` are both loopback addresses, `:8080` is every
/// address of the machine, `192.0.2.1:80` and `[2001:db8::1]:80` are themselves, `unix:/path` is a Unix socket.
///
/// # Errors
/// One sentence that says what is wrong and what would be right.
pub fn parse(text: &str) -> Result<Vec<Address>, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        return match path {
            "" => Err(format!("{text:?} names no path; write unix:/path/to/socket.")),
            path => Ok(vec![Address::Unix(path.into())]),
        };
    }
    if let Some(port) = text.strip_prefix("localhost:").or(Some(text)).filter(|port| !port.contains(':')) {
        return Ok(both(Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST, port_of(text, port)?));
    }
    if let Some(port) = text.strip_prefix(':') {
        return Ok(both(Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED, port_of(text, port)?));
    }
    match text.parse::<SocketAddr>() {
        Ok(address) => Ok(vec![Address::Tcp(address)]),
        Err(_unspecific) => Err(format!(
            "{text:?} is no address; write a port (8080), an address with port (127.0.0.1:8080, [::1]:8080, :8080) or \
             unix:/path."
        )),
    }
}

/// Whether only this machine reaches the address.
#[must_use]
pub fn is_local(address: &Address) -> bool {
    match address {
        Address::Tcp(tcp) => tcp.ip().is_loopback(),
        Address::Unix(_) => true,
    }
}

/// The address as a browser takes it, with `https` where TLS is spoken; every address of the machine is shown as the loopback one.
#[must_use]
pub fn url(address: &Address, is_tls: bool) -> String {
    let scheme = if is_tls { "https" } else { "http" };
    match address {
        Address::Tcp(tcp) if tcp.ip().is_unspecified() && tcp.is_ipv4() => {
            format!("{scheme}://127.0.0.1:{}/", tcp.port())
        }
        Address::Tcp(tcp) if tcp.ip().is_unspecified() => format!("{scheme}://[::1]:{}/", tcp.port()),
        Address::Tcp(tcp) => format!("{scheme}://{tcp}/"),
        Address::Unix(path) => format!("unix:{}", path.display()),
    }
}

fn both(v4: Ipv4Addr, v6: Ipv6Addr, port: u16) -> Vec<Address> {
    let tcp = |ip: IpAddr| Address::Tcp(SocketAddr::new(ip, port));
    vec![tcp(IpAddr::V4(v4)), tcp(IpAddr::V6(v6))]
}

fn port_of(text: &str, port: &str) -> Result<u16, String> {
    port.parse().map_err(|_unspecific| format!("{text:?} has no port from 0 to 65535."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Result<Vec<String>, String> {
        parse(text).map(|all| all.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn people_write_addresses_in_many_ways() {
        let is = |text: &str, expected: &[&str]| assert_eq!(shown(text).expect(text), expected);
        is("8080", &["127.0.0.1:8080", "[::1]:8080"]);
        is("localhost:80", &["127.0.0.1:80", "[::1]:80"]);
        is(":80", &["0.0.0.0:80", "[::]:80"]);
        is("192.0.2.1:8000", &["192.0.2.1:8000"]);
        is("[2001:db8::1]:8000", &["[2001:db8::1]:8000"]);
        is("unix:/run/x", &["unix:/run/x"]);
    }

    #[test]
    fn nonsense_is_refused_with_a_sentence() {
        for text in
            ["", "80a", "70000", ":", "localhost:", "1.2.3.4", "1.2.3.4:", "[::1]", "unix:", "host:80"]
        {
            let sentence = shown(text).expect_err(text);
            assert!(sentence.contains(&format!("{text:?}")) && sentence.ends_with('.'), "{sentence}");
        }
    }
}
