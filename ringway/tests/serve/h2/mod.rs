//! HTTP/2 over plain TCP, as clients that know of it speak it.

mod bodies;
mod floods;
mod life;
mod peer;
mod spec;
mod tools;
