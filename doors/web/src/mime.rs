//! Media types by file name: which `Content-Type` a file is sent with.

use std::borrow::Cow;
use std::fmt;

/// The type of a file whose name says nothing, unless [`MediaTypes::set_default`] names another one.
pub const DEFAULT_TYPE: &str = "application/octet-stream";

/// Where the general table is behind the registries or not what web clients expect: RFC 9239 (`text/javascript`), source
/// maps, HLS, RFC 8878, RFC 8081 (fonts). Sorted by ending.
const CORRECTIONS: &[(&str, &str)] = &[
    ("br", "application/x-brotli"),
    ("cjs", "text/javascript"),
    ("deb", "application/vnd.debian.binary-package"),
    ("m3u8", "application/vnd.apple.mpegurl"),
    ("m4a", "audio/mp4"),
    ("map", "application/json"),
    ("mjs", "text/javascript"),
    ("opus", "audio/ogg"),
    ("otf", "font/otf"),
    ("ts", "video/mp2t"),
    ("ttf", "font/ttf"),
    ("woff", "font/woff"),
    ("yaml", "application/yaml"),
    ("yml", "application/yaml"),
    ("zst", "application/zstd"),
];

/// What a build without the general table knows. Sorted by ending.
#[cfg(any(test, not(feature = "mime-table")))]
const FREQUENT: &[(&str, &str)] = &[
    ("7z", "application/x-7z-compressed"),
    ("aac", "audio/aac"),
    ("atom", "application/atom+xml"),
    ("avif", "image/avif"),
    ("bin", "application/octet-stream"),
    ("bmp", "image/bmp"),
    ("bz2", "application/x-bzip2"),
    ("css", "text/css"),
    ("csv", "text/csv"),
    ("doc", "application/msword"),
    ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ("eot", "application/vnd.ms-fontobject"),
    ("epub", "application/epub+zip"),
    ("flac", "audio/flac"),
    ("gif", "image/gif"),
    ("gz", "application/gzip"),
    ("htm", "text/html"),
    ("html", "text/html"),
    ("ico", "image/x-icon"),
    ("ics", "text/calendar"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("js", "text/javascript"),
    ("json", "application/json"),
    ("jsonld", "application/ld+json"),
    ("log", "text/plain"),
    ("md", "text/markdown"),
    ("mkv", "video/x-matroska"),
    ("mov", "video/quicktime"),
    ("mp3", "audio/mpeg"),
    ("mp4", "video/mp4"),
    ("mpeg", "video/mpeg"),
    ("odt", "application/vnd.oasis.opendocument.text"),
    ("oga", "audio/ogg"),
    ("ogg", "audio/ogg"),
    ("ogv", "video/ogg"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("rss", "application/rss+xml"),
    ("rtf", "application/rtf"),
    ("svg", "image/svg+xml"),
    ("tar", "application/x-tar"),
    ("tif", "image/tiff"),
    ("tiff", "image/tiff"),
    ("toml", "text/x-toml"),
    ("txt", "text/plain"),
    ("vtt", "text/vtt"),
    ("wasm", "application/wasm"),
    ("wav", "audio/wav"),
    ("weba", "audio/webm"),
    ("webm", "video/webm"),
    ("webmanifest", "application/manifest+json"),
    ("webp", "image/webp"),
    ("woff2", "font/woff2"),
    ("xhtml", "application/xhtml+xml"),
    ("xml", "text/xml"),
    ("xz", "application/x-xz"),
    ("zip", "application/zip"),
];

/// Longest ending that is looked up, in bytes; a longer one has the default type.
pub const ENDING_LEN_MAX: usize = 32;

/// Longest type an operator may write, in bytes.
pub const TYPE_LEN_MAX: usize = 255;

/// Longest charset an operator may write, in bytes (RFC 2978 has 40).
pub const CHARSET_LEN_MAX: usize = 40;

/// What bytes of text are taken for unless [`MediaTypes::set_charset`] says something else.
const UTF_8: Option<Cow<'static, str>> = Some(Cow::Borrowed("utf-8"));

/// A type as it goes on the wire: its name, and which charset follows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MediaType {
    essence: Cow<'static, str>,
    /// Of text.
    charset: Option<Cow<'static, str>>,
}

impl MediaType {
    /// The name without the charset Ringway adds, `text/html`. A type the operator wrote is given back as written.
    #[must_use]
    pub fn essence(&self) -> &str {
        &self.essence
    }

    /// Appends the field value, `text/html; charset=utf-8`.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.essence.as_bytes());
        if let Some(charset) = &self.charset {
            out.extend_from_slice(b"; charset=");
            out.extend_from_slice(charset.as_bytes());
        }
    }

    /// A type as is, with the charset where its kind wants one.
    fn of(essence: Cow<'static, str>) -> Self {
        let charset = if is_text(&essence) { UTF_8 } else { None };
        Self { essence, charset }
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.essence)?;
        match &self.charset {
            Some(charset) => write!(f, "; charset={charset}"),
            None => Ok(()),
        }
    }
}

/// A media type that cannot be sent: empty, too long, or with bytes that have no place in a header field.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InvalidType(String);

impl fmt::Display for InvalidType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no media type or charset; write it as in \"text/plain\" or \"utf-8\"", self.0)
    }
}

impl std::error::Error for InvalidType {}

/// The table of types: the operator's entries first, then the built-in table.
#[derive(Clone, Debug)]
pub struct MediaTypes {
    overrides: Vec<(Box<str>, MediaType)>,
    default: MediaType,
    charset: Option<Cow<'static, str>>,
}

impl Default for MediaTypes {
    fn default() -> Self {
        Self { overrides: Vec::new(), default: MediaType::of(Cow::Borrowed(DEFAULT_TYPE)), charset: UTF_8 }
    }
}

impl MediaTypes {
    /// Has files that end in `.ending` sent as `media_type`, exactly as written when it names a parameter of its own.
    ///
    /// # Errors
    /// [`InvalidType`] when the type could not be sent.
    pub fn set(&mut self, ending: &str, media_type: &str) -> Result<(), InvalidType> {
        let ending: Box<str> = ending.trim_start_matches('.').to_ascii_lowercase().into();
        let media_type = parse(media_type)?;
        match self.overrides.binary_search_by(|(have, _)| have.cmp(&ending)) {
            Ok(at) => self.overrides[at].1 = media_type,
            Err(at) => self.overrides.insert(at, (ending, media_type)),
        }
        Ok(())
    }

    /// Has files of unknown ending sent as `media_type`.
    ///
    /// # Errors
    /// [`InvalidType`] when the type could not be sent.
    pub fn set_default(&mut self, media_type: &str) -> Result<(), InvalidType> {
        self.default = parse(media_type)?;
        Ok(())
    }

    /// Has files of text said to be in `charset` (`utf-8` by default), or in none.
    ///
    /// # Errors
    /// [`InvalidType`] when it is no name of a charset.
    pub fn set_charset(&mut self, charset: Option<&str>) -> Result<(), InvalidType> {
        let is_name = |charset: &str| {
            let is_good =
                |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':' | b'+');
            (1..=CHARSET_LEN_MAX).contains(&charset.len()) && charset.bytes().all(is_good)
        };
        if let Some(wrong) = charset.filter(|charset| !is_name(charset)) {
            return Err(InvalidType(wrong.to_owned()));
        }
        self.charset = charset.map(|charset| Cow::Owned(charset.to_owned()));
        Ok(())
    }

    /// The type of the file called `name` (a whole path will do). Allocates only for what the operator wrote.
    #[must_use]
    pub fn of_name(&self, name: &[u8]) -> MediaType {
        let found = self.find(name);
        match found.charset {
            Some(_) => MediaType { charset: self.charset.clone(), ..found },
            None => found,
        }
    }

    fn find(&self, name: &[u8]) -> MediaType {
        let mut lower = [0_u8; ENDING_LEN_MAX];
        let Some(ending) = ending_of(name, &mut lower) else {
            return self.default.clone();
        };
        if let Ok(at) = self.overrides.binary_search_by(|(have, _)| have.as_ref().cmp(ending)) {
            return self.overrides[at].1.clone();
        }
        if let Ok(at) = CORRECTIONS.binary_search_by(|(have, _)| (*have).cmp(ending)) {
            return MediaType::of(Cow::Borrowed(CORRECTIONS[at].1));
        }
        match general(ending) {
            Some(essence) => MediaType::of(Cow::Borrowed(essence)),
            None => self.default.clone(),
        }
    }
}

/// The type that the registries give an ending.
#[cfg(feature = "mime-table")]
fn general(ending: &str) -> Option<&'static str> {
    mime_guess::from_ext(ending).first_raw()
}

/// The type of what small sites are made of: the general table is a tenth of an embedded binary.
#[cfg(not(feature = "mime-table"))]
fn general(ending: &str) -> Option<&'static str> {
    let at = FREQUENT.binary_search_by(|(have, _)| (*have).cmp(ending)).ok()?;
    Some(FREQUENT[at].1)
}

/// The lower-case ending of the last segment of `name`, without its dot.
fn ending_of<'a>(name: &[u8], lower: &'a mut [u8; ENDING_LEN_MAX]) -> Option<&'a str> {
    let at = memchr::memrchr2(b'.', b'/', name)?;
    let ending = &name[at + 1..];
    if name[at] == b'/' || ending.is_empty() || ending.len() > lower.len() {
        return None;
    }
    let lower = &mut lower[..ending.len()];
    lower.copy_from_slice(ending);
    lower.make_ascii_lowercase();
    str::from_utf8(lower).ok()
}

/// Whether the type is text whose bytes are, as far as anyone can tell, UTF-8.
fn is_text(essence: &str) -> bool {
    if essence.contains(';') {
        return false; // The operator named the parameters.
    }
    essence.starts_with("text/")
        || essence.ends_with("+json")
        || matches!(
            essence,
            "application/json" | "application/javascript" | "image/svg+xml" | "application/yaml"
        )
}

/// A type as an operator writes it, checked.
fn parse(media_type: &str) -> Result<MediaType, InvalidType> {
    if !is_sendable(media_type) {
        return Err(InvalidType(media_type.to_owned()));
    }
    Ok(MediaType::of(Cow::Owned(media_type.to_owned())))
}

/// Whether a text is a media type that can stand in a field.
pub(crate) fn is_sendable(media_type: &str) -> bool {
    media_type.len() <= TYPE_LEN_MAX
        && media_type.bytes().all(|byte| (0x20..=0x7e).contains(&byte))
        && media_type.split_once('/').is_some_and(|(kind, sub)| !kind.is_empty() && !sub.is_empty())
        && media_type.trim() == media_type
}

#[cfg(test)]
mod tests {
    use super::*;

    fn type_of(name: &str) -> String {
        MediaTypes::default().of_name(name.as_bytes()).to_string()
    }

    #[test]
    fn names_have_the_types_the_web_expects() {
        for (name, wanted) in [
            ("index.html", "text/html; charset=utf-8"),
            ("A/B.HTML", "text/html; charset=utf-8"),
            ("app.mjs", "text/javascript; charset=utf-8"),
            ("app.js", "text/javascript; charset=utf-8"),
            ("app.js.map", "application/json; charset=utf-8"),
            ("x.svg", "image/svg+xml; charset=utf-8"),
            ("x.webmanifest", "application/manifest+json; charset=utf-8"),
            ("x.wasm", "application/wasm"),
            ("x.woff2", "font/woff2"),
            ("x.png", "image/png"),
            ("seg.ts", "video/mp2t"),
            ("a.tar.gz", "application/gzip"),
            ("a.zst", "application/zstd"),
            ("LICENSE", DEFAULT_TYPE),
            ("dir.d/LICENSE", DEFAULT_TYPE),
            ("dot.", DEFAULT_TYPE),
            ("", DEFAULT_TYPE),
            ("x.unheard-of", DEFAULT_TYPE),
        ] {
            assert_eq!(type_of(name), wanted, "{name}");
        }
        assert_eq!(MediaTypes::default().of_name(b"x.\xff\xfe").essence(), DEFAULT_TYPE);
        let long = format!("x.{}", "h".repeat(ENDING_LEN_MAX + 1));
        assert_eq!(type_of(&long), DEFAULT_TYPE);
    }

    #[test]
    fn tables_are_sorted_for_the_search() {
        assert!(CORRECTIONS.is_sorted_by(|a, b| a.0 < b.0));
        assert!(FREQUENT.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    #[cfg(feature = "mime-table")]
    fn the_small_table_says_what_the_large_one_does() {
        for &(ending, essence) in FREQUENT {
            let of_name = type_of(&format!("x.{ending}"));
            assert_eq!(of_name.split(';').next(), Some(essence), "{ending}");
        }
    }

    #[test]
    fn the_operator_has_the_last_word() {
        let mut types = MediaTypes::default();
        types.set(".HTML", "text/html; charset=iso-8859-1").unwrap();
        types.set("foo", "text/x-foo").unwrap();
        types.set("foo", "text/x-bar").unwrap();
        types.set_default("text/plain").unwrap();
        assert_eq!(types.of_name(b"a.html").to_string(), "text/html; charset=iso-8859-1");
        assert_eq!(types.of_name(b"a.foo").to_string(), "text/x-bar; charset=utf-8");
        assert_eq!(types.of_name(b"a").to_string(), "text/plain; charset=utf-8");
        let mut written = Vec::new();
        types.of_name(b"a.foo").write(&mut written);
        assert_eq!(written, b"text/x-bar; charset=utf-8");
    }

    #[test]
    fn text_is_in_the_charset_that_is_set() {
        let mut types = MediaTypes::default();
        types.set_charset(Some("iso-8859-1")).unwrap();
        assert_eq!(types.of_name(b"a.txt").to_string(), "text/plain; charset=iso-8859-1");
        assert_eq!(types.of_name(b"a.png").to_string(), "image/png");
        types.set_charset(None).unwrap();
        assert_eq!(types.of_name(b"a.txt").to_string(), "text/plain");
        for wrong in ["", "a b", "a;b", "a\r\nb", &"x".repeat(41)] {
            types.set_charset(Some(wrong)).unwrap_err();
        }
    }

    #[test]
    fn what_could_not_be_sent_is_refused() {
        for bad in ["", "text", "/x", "text/", "text/x\r\nSet-Cookie: a", " text/x", "text/ü"] {
            assert!(MediaTypes::default().set("x", bad).is_err(), "{bad:?}");
            assert!(MediaTypes::default().set_default(bad).is_err(), "{bad:?}");
        }
    }
}
