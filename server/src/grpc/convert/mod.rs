//! Between the wire and the domain, one file per message family.

pub mod access;
pub mod account;
pub mod config;
pub mod consent;
pub mod fragment;
pub mod models;
pub mod outcome;
pub mod policy;
pub mod profile;
pub mod receipt;
pub mod review;
