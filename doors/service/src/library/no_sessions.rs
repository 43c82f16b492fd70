//! Sessions of libraries, where the program is built without any.

use super::LibraryOptions;
use ringway_engine::WorkerHandle;
use ringway_engine::heap::{LocalFuture, local_future};
use ringway_http::status::Status;
use ringway_plugin::Fault;
use ringway_web::exchange::Exchange;

/// There is none.
#[derive(Clone, Debug)]
pub(crate) enum Browser {}

pub(crate) type Trouble = (Status, String);

pub(crate) type Finding = LocalFuture<Result<Browser, Trouble>>;

pub(crate) fn find(
    _options: &LibraryOptions,
    _worker: &WorkerHandle,
    _exchange: &Exchange<'_>,
) -> Option<Finding> {
    None
}

pub(crate) fn keep(browser: Browser) -> LocalFuture<Result<Option<String>, Trouble>> {
    local_future(async move { match browser {} })
}

pub(crate) fn value(browser: &Browser, _name: &[u8]) -> Option<String> {
    match *browser {}
}

pub(crate) fn set(browser: &Browser, _name: &str, _value: Option<&str>) -> Result<(), Fault> {
    match *browser {}
}

pub(crate) fn log_in(browser: &Browser, _user: &str) -> Result<(), Fault> {
    match *browser {}
}

impl Browser {
    pub(crate) fn user(&self) -> Option<String> {
        match *self {}
    }

    pub(crate) fn log_out(&self) {
        match *self {}
    }
}
