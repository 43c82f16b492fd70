//! Every request of these tests is fed split at every byte; the outcome must not depend on it.
