//! The `ringway` binary as its users meet it: started as a process, asked over real sockets, on both drivers.
#![forbid(unsafe_code)]

/// Makes a test of each function, which runs it on both drivers at once; a driver this kernel refuses is skipped, loudly.
macro_rules! on_both_drivers {
    ($($name:ident),+ $(,)?) => {
        mod on_both_drivers {
            $(#[test]
            fn $name() {
                crate::server::on_both_drivers(super::$name);
            })+
        }
    };
}

mod abuse;
mod bodies;
mod changing;
mod command;
mod connections;
#[cfg(feature = "console")]
mod console;
mod directories;
mod exhaustion;
mod files;
mod framing;
#[cfg(feature = "h2")]
mod h2;
mod log;
mod mixture;
mod names;
mod server;
mod slow_attacks;
mod timing;
#[cfg(feature = "tls")]
mod tls;
