//! Accounts, the people in them, and the stages of both: what is told, and what is served of it.
//!
//! What is told goes down the lane as an [`act::Act`] and into the journal sealed under its subject's key; [`state`] is
//! what memory keeps of it: places, dates and keyed digests, no text. [`read`] serves it as a view over the engine's
//! profiles, [`rollup`] counts a subtree, [`propose`] finds the account of a person, [`history`] tells what was said,
//! `apart` keeps the account and the person apart whom a source knows by one key.

pub mod act;
mod apart;
mod commit;
pub mod digest;
pub mod history;
pub mod propose;
pub mod read;
mod replay;
pub mod rollup;
pub mod state;
pub(super) mod steps;
pub mod untold;
mod write;

pub(super) use apart::keep_apart;
pub(super) use commit::act as commit;
pub(super) use replay::{history_in, replay};
