//! Servers from configurations: what is configured is what is served, and another configuration takes over while it runs.
#![cfg(feature = "config")]

mod access;
mod encrypted;
#[cfg(feature = "console")]
mod faces;
mod limits;
mod logs;
mod many;
mod reload;
mod served;
mod site;
#[cfg(feature = "console")]
mod upstream;
