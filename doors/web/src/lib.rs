//! The web door: HTTP/1.1 on the engine, in five stages, with files as the first handler.
#![forbid(unsafe_code)]

pub mod accept;
pub mod access_log;
pub mod answer;
#[cfg(feature = "auth")]
pub mod auth;
pub mod body_source;
pub mod cache_rules;
#[cfg(feature = "cgi")]
pub mod cgi;
pub mod civil;
pub mod clock;
mod clock_table;
pub mod codings;
#[cfg(feature = "compress")]
pub mod compress;
mod connection;
#[cfg(feature = "dav")]
pub mod dav;
pub mod entry;
pub mod error_page;
pub mod escape;
pub mod exchange;
mod execution;
#[cfg(feature = "fastcgi")]
pub mod fastcgi;
pub mod field_edits;
pub mod file_cache;
pub mod file_store;
#[cfg(feature = "bodies")]
pub mod form;
mod governed;
#[cfg(feature = "guests")]
pub mod guest;
#[cfg(feature = "h2")]
mod h2;
pub mod limit;
pub mod limits;
pub mod listing;
pub mod load;
pub mod log;
pub mod mime;
pub mod open_error;
pub mod output;
pub mod path;
pub mod pattern;
pub mod pipeline;
pub mod protocol;
#[cfg(feature = "proxy")]
pub mod proxy;
#[cfg(feature = "proxy-protocol")]
pub mod proxy_protocol;
#[cfg(feature = "sites")]
pub mod redirect;
#[cfg(feature = "bodies")]
pub mod request_body;
#[cfg(feature = "sites")]
pub mod respond;
pub mod rewrite;
pub mod root;
pub mod routes;
pub mod rules;
#[cfg(feature = "scripts")]
pub mod scripts;
pub mod site;
pub mod site_counters;
pub mod sites;
mod slow;
#[cfg(feature = "bodies")]
pub mod spool;
pub mod static_files;
pub mod template;
#[cfg(test)]
mod test_dir;
mod timing;
pub mod tries;
#[cfg(feature = "proxy")]
pub mod trust;
#[cfg(feature = "upstream")]
pub mod upstream;
#[cfg(feature = "sites")]
pub mod user_dirs;
pub mod watch;
