//! What this program is, and what this machine offers it.

use crate::engine::ring;
use std::fmt::Write;

/// The version; with what the kernel offers and what would be chosen when `verbose`.
pub(crate) fn text(verbose: bool) -> String {
    let mut text = format!("ringway {}\n", env!("CARGO_PKG_VERSION"));
    if verbose {
        add_machine(&mut text);
    }
    text
}

fn add_machine(text: &mut String) {
    let uname = rustix::system::uname();
    let kernel = uname.release().to_string_lossy();
    let cores = crate::cores::count();
    let driver = match ring::probe() {
        Ok(features) => format!("uring ({features})"),
        Err(error) => format!("epoll (io_uring is not used: {error})"),
    };
    // Writing to a string cannot fail.
    let _infallible = writeln!(
        text,
        "kernel         Linux {kernel}\n\
         cores          {cores}\n\
         driver         {driver}\n\
         tcp fast open  {}\n\
         sandbox        {}\n\
         doors          {}",
        fast_open(),
        sandbox(),
        doors()
    );
}

/// What this build can do.
fn doors() -> String {
    let all = [
        ("static files over HTTP/1.1", true),
        ("TLS", cfg!(feature = "tls")),
        ("HTTP/2", cfg!(feature = "h2")),
        ("CGI", cfg!(feature = "cgi")),
        ("FastCGI", cfg!(feature = "fastcgi")),
        ("proxy", cfg!(feature = "proxy")),
        ("WebDAV", cfg!(feature = "dav")),
    ];
    let built_in: Vec<&str> = all.iter().filter(|(_, is_there)| *is_there).map(|(name, _)| *name).collect();
    built_in.join(", ")
}

/// What a server process can be confined by.
#[cfg(feature = "sandbox")]
fn sandbox() -> String {
    crate::sandbox::offers()
}

#[cfg(not(feature = "sandbox"))]
fn sandbox() -> String {
    "not built in".to_owned()
}

/// What `net.ipv4.tcp_fastopen` allows: bit 0 is for clients, bit 1 for servers.
fn fast_open() -> String {
    let setting = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_fastopen").unwrap_or_default();
    let bits: u32 = setting.trim().parse().unwrap_or(0);
    let may = |bit: u32| if bits & bit != 0 { "allowed" } else { "switched off" };
    format!("clients {}, servers {} (net.ipv4.tcp_fastopen = {})", may(1), may(2), setting.trim())
}
