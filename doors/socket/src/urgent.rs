//! Urgent data of TCP (RFC 9293 section 3.8.5): what becomes of the byte that a peer marks.

/// What becomes of urgent data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Urgent {
    /// It is an ordinary byte where it stands, as RFC 6093 recommends.
    #[default]
    Inline,
    /// It is taken out and given to [`crate::Handler::urgent`].
    Separate,
    /// The connection is reset.
    Abort,
}
