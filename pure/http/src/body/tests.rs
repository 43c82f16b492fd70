//! Every body of these tests is fed split at every byte; data and outcome must not depend on it.
