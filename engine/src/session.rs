//! Sessions: what the two ends of a filtered connection have agreed on in their handshake.

/// What a handshake agreed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// The application protocol (RFC 7301), such as `h2`; empty when none was agreed on.
    pub alpn: Box<[u8]>,
    /// The name the client asked for (RFC 6066 section 3), in lower case.
    pub server_name: Option<Box<str>>,
    /// The version: `TLSv1.2` or `TLSv1.3`.
    pub protocol: &'static str,
    /// The cipher suite, by its IANA name.
    pub cipher: &'static str,
    /// Who the client has proved to be.
    pub client_certificate: Option<ClientCertificate>,
    /// Whether keys of an earlier connection were used again.
    pub is_resumed: bool,
}

/// A client's certificate, which was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The subject's distinguished name in the notation of RFC 4514, such as `CN=alice,O=Example`.
    pub subject: Box<str>,
    /// SHA-256 of the certificate.
    pub fingerprint: [u8; 32],
}
