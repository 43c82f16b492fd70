//! Protocols for Ringway's endpoints: each of the examples is a library that a server loads.
