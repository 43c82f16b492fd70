//! What a script is told of a request: meta-variables (RFC 3875 section 4.1), the usual ones besides, and `HTTP_*`.

use std::fmt::{self, Write};
use std::net::{IpAddr, SocketAddr};

use crate::head::{Field, Known, Request};

/// What is told to a script besides the request's head.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The request.
    pub request: &'a Request<'a>,
    /// What follows the `?`, undecoded, as a rewrite may have left it.
    pub query: Option<&'a [u8]>,
    /// The part of the path that names the script, decoded: `SCRIPT_NAME`.
    pub script_name: &'a [u8],
    /// What follows that in the path, decoded: `PATH_INFO`. Empty: nothing.
    pub path_info: &'a [u8],
    /// The directory of the site, without a slash at its end: `DOCUMENT_ROOT`, and before the path information
    /// `PATH_TRANSLATED`.
    pub document_root: &'a [u8],
    /// The script's file: `SCRIPT_FILENAME`.
    pub script_filename: &'a [u8],
    /// Who asks; `None` where that is no address (a Unix socket).
    pub remote: Option<SocketAddr>,
    /// Where it was asked; `None` where that is no address.
    pub local: Option<SocketAddr>,
    /// What the server is called when the request does not say (HTTP/1.0).
    pub server_name: &'a [u8],
    /// Whether the request came over TLS.
    pub is_https: bool,
    /// The user who was let in, and how (`Basic`).
    pub user: Option<(&'a [u8], &'a [u8])>,
    /// `SERVER_PROTOCOL`, such as `HTTP/1.1`.
    pub protocol: &'a str,
    /// `SERVER_SOFTWARE`, such as `ringway`.
    pub software: &'a str,
    /// Bytes of the body that the script can read; `None` when there is no body, or nobody knows.
    pub content_length: Option<u64>,
    /// Whether the script is told `HTTP_AUTHORIZATION`, which holds the client's password where the server itself has not
    /// asked for it.
    pub tells_authorization: bool,
}

/// The scratch memory was too small: see [`Facts::scratch_bytes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShortScratch;

impl fmt::Display for ShortScratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("scratch memory is too small for a variable")
    }
}

impl std::error::Error for ShortScratch {}

/// The longest text of an address, port or number: an IPv4 address within an IPv6 one.
const NUMBER_BYTES_MAX: usize = 48;

/// The longest name of a method, and what else stands before values.
const SPARE_BYTES: usize = NUMBER_BYTES_MAX + PREFIX.len();

const PREFIX: &[u8] = b"HTTP_";

/// Fields that are no `HTTP_*`: told otherwise, about the connection only, or dangerous. `Proxy` would become `HTTP_PROXY`,
/// which programs take for the proxy they shall send their own requests through (CVE-2016-5385 and its kin).
const NOT_TOLD: [&[u8]; 14] = [
    b"host",
    b"proxy",
    b"content-type",
    b"content-length",
    b"connection",
    b"keep-alive",
    b"proxy-connection",
    b"proxy-authorization",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
    b"expect",
    b"http2-settings",
];

impl Facts<'_> {
    /// Scratch memory that is enough for [`Facts::environment`], in bytes.
    pub const fn scratch_bytes(&self) -> usize {
        // A name and the values of its lines, joined, are shorter than those lines; a translated path is two others.
        let head = self.request.as_bytes().len();
        let translated = self.document_root.len() + self.path_info.len();
        SPARE_BYTES + if head > translated { head } else { translated }
    }

    /// Gives every variable once, name and value. `scratch` is for those that are put together here.
    ///
    /// A field's name becomes that of a variable by `-` turning into `_`. A field that has already `_` in its name, or
    /// anything else but letters, digits and `-`, is left out: it could be taken for another one. Lines of the same name
    /// are joined, as their sender meant them (RFC 9110 section 5.3; `Cookie` with a semicolon, RFC 6265).
    ///
    /// # Errors
    /// [`ShortScratch`] below [`Facts::scratch_bytes`]; some variables are missing then.
    pub fn environment(
        &self,
        scratch: &mut [u8],
        mut pair: impl FnMut(&[u8], &[u8]),
    ) -> Result<(), ShortScratch> {
        self.about_server(scratch, &mut pair)?;
        self.about_client(scratch, &mut pair)?;
        self.about_script(scratch, &mut pair)?;
        self.about_request(scratch, &mut pair)?;
        self.fields(scratch, &mut pair)
    }

    fn about_server(
        &self,
        scratch: &mut [u8],
        pair: &mut impl FnMut(&[u8], &[u8]),
    ) -> Result<(), ShortScratch> {
        pair(b"GATEWAY_INTERFACE", b"CGI/1.1");
        pair(b"SERVER_SOFTWARE", self.software.as_bytes());
        pair(b"SERVER_PROTOCOL", self.protocol.as_bytes());
        let host = self.request.host();
        pair(b"SERVER_NAME", host.map_or(self.server_name, |host| host.name()));
        let port = match (self.local, host.and_then(|host| host.port())) {
            (Some(local), _) => local.port(),
            (None, Some(port)) => port,
            (None, None) if self.is_https => 443,
            (None, None) => 80,
        };
        pair(b"SERVER_PORT", text(scratch, port)?);
        if let Some(local) = self.local {
            pair(b"SERVER_ADDR", text(scratch, plain(local.ip()))?);
        }
        pair(b"REQUEST_SCHEME", if self.is_https { b"https" } else { b"http" });
        if self.is_https {
            pair(b"HTTPS", b"on");
        }
        Ok(())
    }

    fn about_client(
        &self,
        scratch: &mut [u8],
        pair: &mut impl FnMut(&[u8], &[u8]),
    ) -> Result<(), ShortScratch> {
        match self.remote {
            Some(remote) => {
                pair(b"REMOTE_ADDR", text(scratch, plain(remote.ip()))?);
                pair(b"REMOTE_PORT", text(scratch, remote.port())?);
            }
            // It must be there (section 4.1.8), and scripts count on it.
            None => pair(b"REMOTE_ADDR", b""),
        }
        if let Some((name, kind)) = self.user {
            pair(b"AUTH_TYPE", kind);
            pair(b"REMOTE_USER", name);
        }
        Ok(())
    }

    fn about_script(
        &self,
        scratch: &mut [u8],
        pair: &mut impl FnMut(&[u8], &[u8]),
    ) -> Result<(), ShortScratch> {
        pair(b"SCRIPT_NAME", self.script_name);
        pair(b"SCRIPT_FILENAME", self.script_filename);
        pair(b"DOCUMENT_ROOT", self.document_root);
        if !self.path_info.is_empty() {
            pair(b"PATH_INFO", self.path_info);
            let len = join(scratch, 0, self.document_root)?;
            let len = join(scratch, len, self.path_info)?;
            pair(b"PATH_TRANSLATED", &scratch[..len]);
        }
        // By this php-cgi knows that a server has started it.
        pair(b"REDIRECT_STATUS", b"200");
        Ok(())
    }

    fn about_request(
        &self,
        scratch: &mut [u8],
        pair: &mut impl FnMut(&[u8], &[u8]),
    ) -> Result<(), ShortScratch> {
        pair(b"REQUEST_METHOD", self.request.method().as_str().as_bytes());
        pair(b"REQUEST_URI", origin_form(self.request.target()));
        pair(b"QUERY_STRING", self.query.unwrap_or_default());
        if let Some(length) = self.content_length {
            pair(b"CONTENT_LENGTH", text(scratch, length)?);
        }
        if let Some(media_type) = self.request.sole(Known::ContentType) {
            pair(b"CONTENT_TYPE", media_type);
        }
        if let Some(host) = self.request.host() {
            // An absolute target overrides the field (RFC 9112 section 3.2.2).
            pair(b"HTTP_HOST", host.as_bytes());
        }
        Ok(())
    }

    fn fields(&self, scratch: &mut [u8], pair: &mut impl FnMut(&[u8], &[u8])) -> Result<(), ShortScratch> {
        let mut rest = self.request.fields();
        let mut before = 0_usize;
        while let Some(field) = rest.next() {
            let is_again = || self.request.fields().take(before).any(|other| is_same(other, field));
            if self.is_told(field.name) && !is_again() {
                let name_end = variable(scratch, field.name)?;
                let (name, room) = scratch.split_at_mut(name_end);
                match joined(room, field, rest.clone())? {
                    Some(len) => pair(name, &room[..len]),
                    None => pair(name, field.value),
                }
            }
            before += 1;
        }
        Ok(())
    }

    fn is_told(&self, name: &[u8]) -> bool {
        if !name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-') {
            return false;
        }
        if name.eq_ignore_ascii_case(b"authorization") {
            return self.tells_authorization;
        }
        !NOT_TOLD.iter().any(|other| other.len() == name.len() && other.eq_ignore_ascii_case(name))
    }
}

/// An absolute target without what is before its path.
fn origin_form(target: &[u8]) -> &[u8] {
    if matches!(target.first(), None | Some(b'/' | b'*')) {
        return target;
    }
    let authority = target.windows(3).position(|window| window == b"://").map_or(0, |at| at + 3);
    let path = target[authority..].iter().position(|byte| matches!(byte, b'/' | b'?'));
    path.map_or(b"/", |path| &target[authority + path..])
}

fn is_same(one: Field<'_>, other: Field<'_>) -> bool {
    one.name.len() == other.name.len() && one.name.eq_ignore_ascii_case(other.name)
}

/// Writes the variable's name to the front of `scratch`; its length.
fn variable(scratch: &mut [u8], name: &[u8]) -> Result<usize, ShortScratch> {
    let start = join(scratch, 0, PREFIX)?;
    let end = join(scratch, start, name)?;
    for byte in &mut scratch[start..end] {
        *byte = if *byte == b'-' { b'_' } else { byte.to_ascii_uppercase() };
    }
    Ok(end)
}

/// Writes the values of `first` and of the lines of its name in `rest` to the front of `room`; `None` when there are no such
/// lines.
fn joined<'b>(
    room: &mut [u8],
    first: Field<'_>,
    rest: impl Iterator<Item = Field<'b>>,
) -> Result<Option<usize>, ShortScratch> {
    let mut others = rest.filter(|other| is_same(*other, first)).peekable();
    if others.peek().is_none() {
        return Ok(None);
    }
    let separator: &[u8] = if first.name.eq_ignore_ascii_case(b"cookie") { b"; " } else { b", " };
    let mut len = join(room, 0, first.value)?;
    for other in others {
        len = join(room, len, separator)?;
        len = join(room, len, other.value)?;
    }
    Ok(Some(len))
}

/// Appends bytes to the `len` that are there; the new length.
fn join(scratch: &mut [u8], len: usize, bytes: &[u8]) -> Result<usize, ShortScratch> {
    let place = scratch.get_mut(len..len + bytes.len()).ok_or(ShortScratch)?;
    place.copy_from_slice(bytes);
    Ok(len + bytes.len())
}

/// An IPv4 client of an IPv6 socket is an IPv4 client.
fn plain(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

fn text(scratch: &mut [u8], value: impl fmt::Display) -> Result<&[u8], ShortScratch> {
    let mut text = Text { scratch, len: 0 };
    match write!(text, "{value}") {
        Ok(()) => Ok(&text.scratch[..text.len]),
        Err(fmt::Error) => Err(ShortScratch),
    }
}

struct Text<'m> {
    scratch: &'m mut [u8],
    len: usize,
}

impl Write for Text<'_> {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        self.len = join(self.scratch, self.len, part.as_bytes()).map_err(|_short| fmt::Error)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::Limits;
    use std::collections::BTreeMap;

    /// The variables, each of which must have come once and have a sound name.
    fn told(facts: &Facts<'_>) -> BTreeMap<String, String> {
        let mut scratch = vec![0; facts.scratch_bytes()];
        let mut all = BTreeMap::new();
        let pair = |name: &[u8], value: &[u8]| {
            let name = String::from_utf8(name.to_vec()).expect("a name is ASCII");
            assert!(
                name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
            );
            let value = value.escape_ascii().to_string();
            assert!(all.insert(name.clone(), value).is_none(), "{name} came twice");
        };
        facts.environment(&mut scratch, pair).expect("the scratch memory is enough");
        all
    }

    fn facts<'a>(request: &'a Request<'a>) -> Facts<'a> {
        Facts {
            request,
            query: request.query(),
            script_name: b"/cgi/env.cgi",
            path_info: b"",
            document_root: b"/srv/www",
            script_filename: b"/srv/www/cgi/env.cgi",
            remote: Some("192.0.2.7:4000".parse().expect("an address")),
            local: Some("192.0.2.1:8080".parse().expect("an address")),
            server_name: b"default",
            is_https: false,
            user: None,
            protocol: "HTTP/1.1",
            software: "ringway",
            content_length: None,
            tells_authorization: false,
        }
    }

    fn with<T>(head: &str, act: impl FnOnce(Facts<'_>) -> T) -> T {
        let request = Request::parse(head.as_bytes(), &Limits::default()).expect("a request");
        act(facts(&request))
    }

    #[test]
    fn a_request_becomes_the_variables_of_the_rfc() {
        let head = "POST /cgi/env.cgi/more%20info?a=b+c HTTP/1.1\r\nHost: example.org:8080\r\nContent-Type: text/x\r\n\
                    Content-Length: 12\r\nUser-Agent: curl\r\nX-Two-Words: yes\r\n\r\n";
        let all = with(head, |facts| {
            told(&Facts {
                path_info: b"/more info",
                content_length: Some(12),
                user: Some((b"anna", b"Basic")),
                is_https: true,
                ..facts
            })
        });
        let expected = [
            ("AUTH_TYPE", "Basic"),
            ("CONTENT_LENGTH", "12"),
            ("CONTENT_TYPE", "text/x"),
            ("DOCUMENT_ROOT", "/srv/www"),
            ("GATEWAY_INTERFACE", "CGI/1.1"),
            ("HTTPS", "on"),
            ("HTTP_HOST", "example.org:8080"),
            ("HTTP_USER_AGENT", "curl"),
            ("HTTP_X_TWO_WORDS", "yes"),
            ("PATH_INFO", "/more info"),
            ("PATH_TRANSLATED", "/srv/www/more info"),
            ("QUERY_STRING", "a=b+c"),
            ("REDIRECT_STATUS", "200"),
            ("REMOTE_ADDR", "192.0.2.7"),
            ("REMOTE_PORT", "4000"),
            ("REMOTE_USER", "anna"),
            ("REQUEST_METHOD", "POST"),
            ("REQUEST_SCHEME", "https"),
            ("REQUEST_URI", "/cgi/env.cgi/more%20info?a=b+c"),
            ("SCRIPT_FILENAME", "/srv/www/cgi/env.cgi"),
            ("SCRIPT_NAME", "/cgi/env.cgi"),
            ("SERVER_ADDR", "192.0.2.1"),
            ("SERVER_NAME", "example.org"),
            ("SERVER_PORT", "8080"),
            ("SERVER_PROTOCOL", "HTTP/1.1"),
            ("SERVER_SOFTWARE", "ringway"),
        ];
        let expected: BTreeMap<_, _> =
            expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        assert_eq!(all, expected);
    }

    #[test]
    fn what_must_be_there_is_there_when_nothing_is_known() {
        let all = with("GET / HTTP/1.0\r\n\r\n", |facts| told(&Facts { remote: None, local: None, ..facts }));
        for (name, value) in
            [("SERVER_NAME", "default"), ("SERVER_PORT", "80"), ("REMOTE_ADDR", ""), ("QUERY_STRING", "")]
        {
            assert_eq!(all[name], value, "{name}");
        }
        for name in ["PATH_INFO", "PATH_TRANSLATED", "CONTENT_LENGTH", "HTTP_HOST", "HTTPS", "SERVER_ADDR"] {
            assert!(!all.contains_key(name), "{name}");
        }
        let ports = [("a", false, "80"), ("a", true, "443"), ("a:99", true, "99")];
        for (host, is_https, port) in ports {
            let head = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
            let all = with(&head, |facts| told(&Facts { local: None, is_https, ..facts }));
            assert_eq!(all["SERVER_PORT"], port);
        }
    }

    #[test]
    fn what_could_mislead_is_not_told() {
        let head = "GET / HTTP/1.1\r\nHost: a\r\nProxy: http://evil\r\nX_Real_Ip: 1\r\nX.Y: 1\r\nX'Y: 1\r\nConnection: close\r\n\
                    Keep-Alive: 1\r\nTE: trailers\r\nUpgrade: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\nContent-Type: x/y\r\n\
                    Authorization: Basic eDp5\r\nProxy-Authorization: Basic eDp5\r\n-: 1\r\n\r\n";
        let named = |all: BTreeMap<String, String>| -> Vec<String> {
            all.into_keys().filter(|name| name.starts_with("HTTP_")).collect()
        };
        assert_eq!(with(head, |facts| named(told(&facts))), ["HTTP_HOST", "HTTP__"]);
        let told_all = with(head, |facts| named(told(&Facts { tells_authorization: true, ..facts })));
        assert_eq!(told_all, ["HTTP_AUTHORIZATION", "HTTP_HOST", "HTTP__"]);
    }

    #[test]
    fn lines_of_one_name_are_joined() {
        let head = "GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nCookie: a=b\r\nx-a: 2\r\nCOOKIE: c=d\r\nX-A:\r\nX-B: 3\r\n\r\n";
        let all = with(head, |facts| told(&facts));
        assert_eq!(all["HTTP_X_A"], "1, 2, ");
        assert_eq!(all["HTTP_COOKIE"], "a=b; c=d");
        assert_eq!(all["HTTP_X_B"], "3");
    }

    #[test]
    fn an_absolute_target_names_the_host_and_addresses_are_plain() {
        let head = "GET http://real.example:81/a?b HTTP/1.1\r\nHost: other\r\n\r\n";
        let all = with(head, |facts| {
            told(&Facts { remote: Some("[::ffff:192.0.2.9]:5".parse().expect("an address")), ..facts })
        });
        assert_eq!(
            (all["HTTP_HOST"].as_str(), all["SERVER_NAME"].as_str()),
            ("real.example:81", "real.example")
        );
        assert_eq!((all["REQUEST_URI"].as_str(), all["REMOTE_ADDR"].as_str()), ("/a?b", "192.0.2.9"));
        assert_eq!(origin_form(b"http://a?b"), b"?b");
        assert_eq!(origin_form(b"http://a"), b"/");
        assert_eq!(origin_form(b"*"), b"*");
    }

    #[test]
    fn short_scratch_memory_is_an_error_and_never_a_panic() {
        let head = "GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nX-A: 22222222222222222222222222222222222222222222222222222222\r\n\r\n";
        with(head, |facts| {
            let enough = facts.scratch_bytes();
            assert_eq!(facts.environment(&mut vec![0; enough], |_, _| {}), Ok(()));
            let short: Vec<usize> = (0..enough)
                .filter(|size| facts.environment(&mut vec![0; *size], |_, _| {}).is_err())
                .collect();
            assert!(short.contains(&0) && short.contains(&40), "{short:?}");
        });
    }
}
