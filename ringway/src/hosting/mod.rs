//! Hosting: services that are linked into the program or lie in libraries, as routes, console and dashboard have them.

mod directory;
mod hosted;
#[cfg(feature = "develop")]
mod pages;
#[cfg(feature = "libraries")]
mod section;
mod source;

pub use directory::{Directory, directory, link};
pub use hosted::ServicePost;
pub(crate) use hosted::{Hosted, KeptServices, Surroundings};
#[cfg(feature = "develop")]
pub(crate) use pages::ReloadedPages;
