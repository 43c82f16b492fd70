//! Cache rules: what caches are told of files, by path and media type.

use crate::mime;
use crate::pattern::Pattern;
use std::fmt;

/// Most rules of a handler.
pub const CACHE_RULES_MAX: usize = 256;

/// Longest value of `Cache-Control`, in bytes.
pub const CONTROL_BYTES_MAX: usize = 256;

/// Longest time to expiry, in seconds: a year, as RFC 9111 recommends at most.
pub const EXPIRES_S_MAX: u32 = 31_536_000;

/// Which files a rule is for and what caches are told of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheRule {
    /// Paths of files as clients ask for them, index files by their own name. All, when there is none.
    pub paths: Option<Pattern>,
    /// Media types, such as `text/css` and `image/*`. All, when there is none.
    pub types: Vec<Box<str>>,
    /// Value of `Cache-Control`; none is sent when it is empty.
    pub control: Box<str>,
    /// `Expires` is so many seconds after the answer; none is sent when it is 0.
    pub expires_s: u32,
}

/// Why a rule is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CacheRuleError {
    /// The value cannot be sent.
    Control(String),
    /// Neither a media type nor `type/*`.
    Type(String),
    /// More than [`EXPIRES_S_MAX`] seconds.
    Expires(u32),
    /// More than [`CACHE_RULES_MAX`].
    TooMany,
}

impl fmt::Display for CacheRuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Control(value) => write!(f, "{value:?} cannot be sent as Cache-Control"),
            Self::Type(text) => {
                write!(f, "{text:?} is no media type; write it as in \"text/css\" or \"image/*\"")
            }
            Self::Expires(seconds) => write!(f, "{seconds} seconds are more than a year ({EXPIRES_S_MAX})"),
            Self::TooMany => write!(f, "there are at most {CACHE_RULES_MAX} cache rules"),
        }
    }
}

impl std::error::Error for CacheRuleError {}

/// The rules of a handler; the first whose path and type both fit counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheRules {
    rules: Vec<CacheRule>,
    prefix: Box<[u8]>,
}

impl CacheRules {
    /// No rules yet, for a handler whose paths begin with `prefix` (see [`crate::static_files::FilesOptions::prefix`]).
    #[must_use]
    pub fn new(prefix: &[u8]) -> Self {
        Self { rules: Vec::new(), prefix: prefix.into() }
    }

    /// Adds a rule behind the others.
    ///
    /// # Errors
    /// [`CacheRuleError`].
    pub fn add(&mut self, rule: CacheRule) -> Result<(), CacheRuleError> {
        if self.rules.len() >= CACHE_RULES_MAX {
            return Err(CacheRuleError::TooMany);
        }
        let is_sendable = rule.control.bytes().all(|byte| (0x20..0x7f).contains(&byte));
        if !is_sendable || rule.control.len() > CONTROL_BYTES_MAX {
            return Err(CacheRuleError::Control(rule.control.into()));
        }
        if let Some(wrong) = rule.types.iter().find(|text| !mime::is_sendable(text)) {
            return Err(CacheRuleError::Type(wrong.to_string()));
        }
        if rule.expires_s > EXPIRES_S_MAX {
            return Err(CacheRuleError::Expires(rule.expires_s));
        }
        self.rules.push(rule);
        Ok(())
    }

    /// The rule for the file `name` (below the root, without slash before it) of type `essence`. For loading, not for every
    /// request.
    #[must_use]
    pub fn find(&self, name: &[u8], essence: &str) -> Option<&CacheRule> {
        if self.rules.is_empty() {
            return None;
        }
        let path = [&self.prefix, &b"/"[..], name].concat();
        self.rules.iter().find(|rule| {
            rule.paths.as_ref().is_none_or(|paths| paths.matches(&path).is_some())
                && (rule.types.is_empty() || rule.types.iter().any(|wanted| is_type(wanted, essence)))
        })
    }
}

/// Whether a type is the wanted one, or of the wanted kind.
fn is_type(wanted: &str, essence: &str) -> bool {
    let bare = essence.split(';').next().unwrap_or_default().trim_end();
    match wanted.strip_suffix('*') {
        Some(kind) => bare.get(..kind.len()).is_some_and(|start| start.eq_ignore_ascii_case(kind)),
        None => bare.eq_ignore_ascii_case(wanted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(paths: &str, types: &[&str], control: &str) -> CacheRule {
        CacheRule {
            paths: (!paths.is_empty()).then(|| Pattern::parse(paths).unwrap()),
            types: types.iter().map(|one| (*one).into()).collect(),
            control: control.into(),
            expires_s: 0,
        }
    }

    #[test]
    fn the_first_rule_that_fits_counts() {
        let mut rules = CacheRules::new(b"/static");
        assert!(rules.find(b"a.css", "text/css").is_none());
        rules.add(rule("/static/fresh/**", &[], "no-store")).unwrap();
        rules.add(rule("", &["image/*", "TEXT/CSS"], "max-age=1")).unwrap();
        rules.add(rule("/static/**", &[], "max-age=2")).unwrap();
        let control =
            |name: &str, essence: &str| rules.find(name.as_bytes(), essence).map(|rule| &*rule.control);
        assert_eq!(control("fresh/a.css", "text/css"), Some("no-store"));
        assert_eq!(control("a.css", "text/css"), Some("max-age=1"));
        assert_eq!(control("a.css", "text/css; charset=x"), Some("max-age=1"));
        assert_eq!(control("a.png", "image/png"), Some("max-age=1"));
        assert_eq!(control("a.html", "text/html"), Some("max-age=2"));
        assert_eq!(control("a", "imagery/png"), Some("max-age=2"));
    }

    #[test]
    fn what_could_not_be_sent_is_refused() {
        let mut rules = CacheRules::default();
        let split = rules.add(rule("", &[], "no-store\r\nX: y"));
        assert_eq!(split, Err(CacheRuleError::Control("no-store\r\nX: y".into())));
        assert_eq!(rules.add(rule("", &["x"], "")), Err(CacheRuleError::Type("x".into())));
        let late = CacheRule { expires_s: EXPIRES_S_MAX + 1, ..CacheRule::default() };
        assert_eq!(rules.add(late), Err(CacheRuleError::Expires(EXPIRES_S_MAX + 1)));
        for _ in 0..CACHE_RULES_MAX {
            rules.add(CacheRule::default()).unwrap();
        }
        assert_eq!(rules.add(CacheRule::default()), Err(CacheRuleError::TooMany));
    }
}
