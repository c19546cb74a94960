//! Between the wire and the domain, one file per message family.

pub mod config;
pub mod fragment;
pub mod outcome;
pub mod profile;
