//! Hosting: services that are linked into the program or lie in libraries, as routes, console and dashboard have them.

#[cfg(all(feature = "libraries", feature = "sessions"))]
mod belongings;
#[cfg(all(feature = "libraries", not(feature = "sessions")))]
#[path = "no_belongings.rs"]
mod belongings;
mod directory;
mod hosted;
#[cfg(feature = "develop")]
mod pages;
mod source;
#[cfg(feature = "libraries")]
mod stamp;

#[cfg(feature = "libraries")]
pub use crate::config::section::text as section_text;
#[cfg(feature = "libraries")]
pub use belongings::library_options;
pub use directory::{Directory, directory, link};
pub use hosted::ServicePost;
pub(crate) use hosted::{Hosted, KeptServices, Surroundings};
#[cfg(feature = "develop")]
pub(crate) use pages::ReloadedPages;
#[cfg(feature = "libraries")]
pub(crate) use stamp::of as stamp_of;
