//! Onefold.
