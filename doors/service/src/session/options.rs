//! What a service says about its sessions.

use crate::cookie::SameSite;

/// How sessions are kept and told apart.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// The cookie's name. Where it is secure and for the whole site, browsers are told by the prefix `__Host-` that no other
    /// host may set it.
    pub cookie: String,
    /// Below which path it is sent.
    pub path: String,
    /// With which requests of other sites it is sent.
    pub same_site: SameSite,
    /// Whether it is sent over TLS only. Browsers make an exception for localhost.
    pub is_secure: bool,
    /// Seconds without a request after which a session is over.
    pub idle_s: u64,
    /// Seconds after which it is over however much it is used, counted from its beginning or the last log-in.
    pub absolute_s: u64,
    /// Most bytes of a session's names and values.
    pub bytes_max: usize,
    /// Most sessions. Beyond that the least recently used of those who are not logged in end, and nobody is who is for one who
    /// is not. Redis has limits of its own (`maxmemory`).
    pub sessions_max: usize,
    /// Most bytes of all sessions in memory, about.
    pub memory_bytes_max: usize,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            cookie: "session".to_owned(),
            path: "/".to_owned(),
            same_site: SameSite::Lax,
            is_secure: true,
            idle_s: 24 * 3_600,
            absolute_s: 14 * 24 * 3_600,
            bytes_max: 16 * 1_024,
            sessions_max: 250_000,
            memory_bytes_max: 256 * 1_024 * 1_024,
        }
    }
}

impl SessionOptions {
    /// The name as browsers see it.
    pub(super) fn full_name(&self) -> String {
        let is_hosts = self.is_secure && self.path == "/";
        format!("{}{}", if is_hosts { "__Host-" } else { "" }, self.cookie)
    }
}
