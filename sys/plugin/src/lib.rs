//! The C interface of plug-ins: what both sides agree on, and how libraries come and go.
