//! Logs: files opened once, however many sites write to them.

use super::{AssemblyError, Kept};
use crate::config::settings::{self, LogFormat, LogLevel};
use crate::config::values::LogTarget;
use crate::web::access_log::Format;
use crate::web::log::errors::{ErrorFormat, ErrorLog, Level};
use crate::web::log::files::{LogFile, Rotation};
use std::io;

/// An access log: how lines are written, and where.
pub(super) type Access = (Format, LogFile);

pub(super) fn access_log(log: &settings::AccessLog, kept: &Kept) -> Result<Option<Access>, AssemblyError> {
    let format = match log.format {
        LogFormat::Off => return Ok(None),
        LogFormat::Combined => Format::Combined,
        LogFormat::Json => Format::Json,
    };
    let bytes_max = log.rotate_size.map_or(0, |size| size.bytes());
    let rotation = Rotation { bytes_max, kept: log.rotate_keep.into() };
    Ok(Some((format, open(&log.path, rotation, kept)?)))
}

pub(super) fn error_log(log: &settings::ErrorLog, kept: &Kept) -> Result<ErrorLog, AssemblyError> {
    let level = match log.level {
        LogLevel::Error => Level::Error,
        LogLevel::Warn => Level::Warn,
        LogLevel::Notice => Level::Notice,
        LogLevel::Info => Level::Info,
        LogLevel::Debug => Level::Debug,
    };
    let format = match log.format {
        settings::ErrorFormat::Text => ErrorFormat::Text,
        settings::ErrorFormat::Json => ErrorFormat::Json,
    };
    Ok(ErrorLog::new(open(&log.path, Rotation::default(), kept)?, format, level))
}

/// The log of a service: as the error log is written, with everything in it.
#[cfg(feature = "services")]
pub(super) fn service_log(target: &LogTarget, kept: &Kept) -> Result<ErrorLog, AssemblyError> {
    Ok(ErrorLog::whole(open(target, Rotation::default(), kept)?, ErrorFormat::Text, Level::Debug))
}

fn open(target: &LogTarget, rotation: Rotation, kept: &Kept) -> Result<LogFile, AssemblyError> {
    let opened: io::Result<LogFile> = match target {
        LogTarget::Stdout => kept.logs.stdout(),
        LogTarget::Stderr => LogFile::stderr(),
        LogTarget::File(path) => kept.logs.append(path, rotation),
    };
    opened.map_err(|error| AssemblyError::new(format_args!("cannot write the log {target}"), error))
}
