//! Filters as a configuration names them.

use super::TraceLevel;
use std::fmt;
use std::path::{Path, PathBuf};

/// Most filters of an endpoint.
pub(crate) const FILTERS_MAX: usize = 16;

/// One filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilterSpec {
    /// `tls`: where the endpoint's TLS stands among the others.
    Tls,
    /// `trace`, `trace:off`, `trace:sizes`, `trace:bytes`, `trace:secrets`.
    Trace(TraceLevel),
    /// `proxy-protocol`: a proxy says first whose connection it is.
    ProxyProtocol,
    /// `flow:RATE`: so many bytes a second in each direction, such as `flow:1MiB`.
    Flow {
        /// Bytes a second; at least one.
        bytes_per_s: u64,
    },
    /// `lib:PATH`, or `lib:PATH?CONFIG`: a library of kind 4, and what it is configured with.
    Library {
        /// Its file.
        path: PathBuf,
        /// Its configuration, as text.
        config: String,
    },
}

/// Why a filter is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterSpecError(String);

impl fmt::Display for FilterSpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for FilterSpecError {}

impl FilterSpec {
    /// Reads a filter. Relative paths of libraries are below `folder`.
    ///
    /// # Errors
    /// [`FilterSpecError`] says what it is to be.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, FilterSpecError> {
        let (name, value) = text.split_once(':').map_or((text, None), |(name, value)| (name, Some(value)));
        match (name, value) {
            ("tls", None) => Ok(Self::Tls),
            ("proxy-protocol", None) => Ok(Self::ProxyProtocol),
            ("trace", None) => Ok(Self::Trace(TraceLevel::default())),
            ("trace", Some(level)) => TraceLevel::named(level).map(Self::Trace).ok_or_else(|| {
                FilterSpecError(format!("a trace is off, sizes, bytes or secrets, not `{level}`"))
            }),
            ("flow", Some(rate)) => match rate_of(rate) {
                Some(bytes_per_s) => Ok(Self::Flow { bytes_per_s }),
                None => Err(FilterSpecError(format!(
                    "`{rate}` is no rate: bytes a second, such as 64KiB or 1MiB, and not none"
                ))),
            },
            ("flow", None) => Err(FilterSpecError("a flow has a rate, such as `flow:1MiB`".to_owned())),
            ("lib", Some(rest)) if !rest.trim().is_empty() => {
                let (path, config) = rest.split_once('?').unwrap_or((rest, ""));
                Ok(Self::Library { path: folder.join(path), config: config.trim().to_owned() })
            }
            ("lib", _) => Err(FilterSpecError("a library has a path, such as `lib:xor.so`".to_owned())),
            _ => Err(FilterSpecError(format!(
                "there is no filter `{text}`: tls, trace, trace:bytes, proxy-protocol, flow:RATE, lib:PATH"
            ))),
        }
    }

    /// Reads the filters of an endpoint, the first nearest to the wire.
    ///
    /// # Errors
    /// The place of the first that is none, and why.
    pub fn parse_all(texts: &[String], folder: &Path) -> Result<Vec<Self>, (usize, FilterSpecError)> {
        let mut specs = Vec::with_capacity(texts.len());
        for (at, text) in texts.iter().enumerate() {
            let wrong = |reason: String| (at, FilterSpecError(reason));
            if at >= FILTERS_MAX {
                return Err(wrong(format!("an endpoint has at most {FILTERS_MAX} filters")));
            }
            let spec = Self::parse(text, folder).map_err(|error| (at, error))?;
            let is_sole = matches!(spec, Self::Tls | Self::ProxyProtocol | Self::Trace(_));
            let is_same = |other: &Self| std::mem::discriminant(other) == std::mem::discriminant(&spec);
            if is_sole && specs.iter().any(is_same) {
                return Err(wrong(format!("there is a `{text}` before it, and one is enough")));
            }
            specs.push(spec);
        }
        Ok(specs)
    }
}

/// Bytes, such as `100`, `64KiB`, `1MiB`, `2GiB`.
fn rate_of(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit: u64 = match unit.trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit).filter(|rate| *rate > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<FilterSpec, String> {
        FilterSpec::parse(text, Path::new("/etc/ringway")).map_err(|error| error.to_string())
    }

    #[test]
    fn filters_are_read() {
        assert_eq!(parse("tls"), Ok(FilterSpec::Tls));
        assert_eq!(parse("trace"), Ok(FilterSpec::Trace(TraceLevel::Sizes)));
        assert_eq!(parse("trace:bytes"), Ok(FilterSpec::Trace(TraceLevel::Bytes)));
        assert_eq!(parse("proxy-protocol"), Ok(FilterSpec::ProxyProtocol));
        assert_eq!(parse("flow:64KiB"), Ok(FilterSpec::Flow { bytes_per_s: 65_536 }));
        let library = |path: &str, config: &str| {
            Ok(FilterSpec::Library { path: path.into(), config: config.to_owned() })
        };
        assert_eq!(parse("lib:xor.so"), library("/etc/ringway/xor.so", ""));
        assert_eq!(parse("lib:/a/xor.so?key=42"), library("/a/xor.so", "key=42"));
    }

    #[test]
    fn what_is_none_is_explained() {
        for (text, words) in [
            ("xor", "there is no filter `xor`"),
            ("trace:much", "off, sizes, bytes or secrets"),
            ("flow", "such as `flow:1MiB`"),
            ("flow:0", "no rate"),
            ("flow:99999999999999GiB", "no rate"),
            ("flow:1 parsec", "no rate"),
            ("lib:", "has a path"),
            ("tls:", "there is no filter"),
        ] {
            let reason = parse(text).expect_err(text);
            assert!(reason.contains(words), "{text}: {reason}");
        }
        let all = |texts: &[&str]| {
            let texts: Vec<_> = texts.iter().map(|text| (*text).to_owned()).collect();
            FilterSpec::parse_all(&texts, Path::new("/")).map_err(|(at, error)| (at, error.to_string()))
        };
        assert_eq!(all(&["tls", "lib:a", "lib:a"]).map(|specs| specs.len()), Ok(3));
        assert!(matches!(all(&["trace", "lib:a", "trace:bytes"]), Err((2, _))));
        assert!(matches!(all(&["lib:a"; 17]), Err((16, _))));
    }
}
