//! Many sites on real sockets and both drivers: names, routes, files, stages, and the change to other sites.

mod access;
#[cfg(feature = "auth")]
mod auth;
#[cfg(feature = "compress")]
mod compress;
mod encrypted;
mod files;
mod naming;
mod overload;
mod reload;
mod routing;
#[cfg(feature = "scripts")]
mod scripts;
mod stages;

mod stand;
