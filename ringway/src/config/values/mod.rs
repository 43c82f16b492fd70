//! Values: what settings are made of beyond numbers and booleans, each written as a string and read exactly.

mod address;
mod amount;
mod file;
mod handler;
mod name;
mod pattern;

pub use address::{BackendAddress, Cidr, Host, Listen};
pub use amount::{Rate, RequestRate, Size, Span};
pub(in crate::config) use file::made_absolute;
pub use file::{FilePath, LogTarget};
pub use handler::{FilterText, HandlerSource};
pub use name::{Group, HeaderName, HeaderText, Label, MediaRange, MediaTypeText, Method, SiteName};
pub use pattern::{LocalTarget, PathPattern, PrefixPath, Target, TextPattern, TryStep, UrlText};

/// Gives a type that is written as a string its faces: serde and JSON schema, from `FromStr` and `Display`.
macro_rules! written_as_text {
    ($type:ident, $format:literal, $description:literal, [$($example:literal),+]) => {
        impl $type {
            /// What the format is called, and what is said of it.
            pub(super) const FORMAT: (&'static str, &'static str) = ($format, $description);
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string",
                    "format": $format,
                    "examples": [$($example),+],
                })
            }
        }
    };
}
pub(crate) use written_as_text;

/// All formats.
const DESCRIPTIONS: [(&str, &str); 27] = [
    Span::FORMAT,
    Size::FORMAT,
    Rate::FORMAT,
    RequestRate::FORMAT,
    Cidr::FORMAT,
    Listen::FORMAT,
    Host::FORMAT,
    BackendAddress::FORMAT,
    Target::FORMAT,
    FilePath::FORMAT,
    LogTarget::FORMAT,
    HandlerSource::FORMAT,
    FilterText::FORMAT,
    SiteName::FORMAT,
    Label::FORMAT,
    Group::FORMAT,
    HeaderName::FORMAT,
    HeaderText::FORMAT,
    MediaTypeText::FORMAT,
    MediaRange::FORMAT,
    Method::FORMAT,
    PathPattern::FORMAT,
    TextPattern::FORMAT,
    PrefixPath::FORMAT,
    LocalTarget::FORMAT,
    TryStep::FORMAT,
    UrlText::FORMAT,
];

/// How the text of a value of `format` is checked; `None` for a format that is not ours.
#[must_use]
pub fn check_format(format: &str, text: &str) -> Option<Result<(), String>> {
    fn check<T: std::str::FromStr<Err = String>>(text: &str) -> Result<(), String> {
        text.parse::<T>().map(|_value| ())
    }
    Some(match format {
        "span" => check::<Span>(text),
        "size" => check::<Size>(text),
        "rate" => check::<Rate>(text),
        "request-rate" => check::<RequestRate>(text),
        "cidr" => check::<Cidr>(text),
        "listen" => check::<Listen>(text),
        "host" => check::<Host>(text),
        "backend" => check::<BackendAddress>(text),
        "path" => check::<FilePath>(text),
        "handler" => check::<HandlerSource>(text),
        "filter" => check::<FilterText>(text),
        "log-target" => check::<LogTarget>(text),
        "site-name" => check::<SiteName>(text),
        "label" => check::<Label>(text),
        "group" => check::<Group>(text),
        "header-name" => check::<HeaderName>(text),
        "header-text" => check::<HeaderText>(text),
        "media-type" => check::<MediaTypeText>(text),
        "media-range" => check::<MediaRange>(text),
        "method" => check::<Method>(text),
        "path-pattern" => check::<PathPattern>(text),
        "text-pattern" => check::<TextPattern>(text),
        "prefix-path" => check::<PrefixPath>(text),
        "local-target" => check::<LocalTarget>(text),
        "try-step" => check::<TryStep>(text),
        "target" => check::<Target>(text),
        "url" => check::<UrlText>(text),
        _ => return None,
    })
}

/// The number behind a text of `format`, for ranges; `None` for formats without order.
#[must_use]
pub fn amount_of(format: &str, text: &str) -> Option<u64> {
    match format {
        "span" => text.parse::<Span>().ok().map(|span| span.ms()),
        "size" => text.parse::<Size>().ok().map(|size| size.bytes()),
        "rate" => text.parse::<Rate>().ok().map(|rate| rate.bits()),
        _ => None,
    }
}

/// What is said of a format in the reference; empty for a format that is not ours.
#[must_use]
pub fn describe(format: &str) -> &'static str {
    DESCRIPTIONS.iter().find(|(name, _)| *name == format).map_or("", |(_, text)| text)
}
