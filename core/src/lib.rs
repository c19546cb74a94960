//! Onefold's nouns and the laws they keep.
//!
//! Values in, values out: no I/O, no async, no clock, no dice. Everything that another room passes around is named
//! here; everything that must always hold is a function in [`laws`].

pub mod access;
pub mod change;
pub mod config;
mod configured;
pub mod consent;
pub mod contract;
pub mod date;
pub mod decision;
pub mod erasure;
pub mod fault;
pub mod fragment;
pub mod head;
mod hex;
pub mod hierarchy;
pub mod identifier;
pub mod ids;
pub mod judgement;
pub mod laws;
pub mod lifecycle;
pub mod limits;
pub mod namespace;
mod packed;
pub mod profile;
pub mod reads;
mod settled;
