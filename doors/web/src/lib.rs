//! placeholder

pub mod accept;
pub mod access_log;
pub mod answer;
pub mod civil;
mod clock_table;
pub mod codings;
pub mod entry;
pub mod error_page;
pub mod escape;
pub mod file_cache;
pub mod listing;
pub mod load;
pub mod mime;
pub mod open_error;
pub mod path;
pub mod root;
#[cfg(test)]
mod test_dir;
pub mod watch;
