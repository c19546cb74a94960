//! The parts of the `onefold` command that other crates may use: file readers, column mapping, the generator of seeded
//! populations, and the pipeline of `onefold resolve`.

pub mod generate;
pub mod input;
pub mod output;
pub mod resolve;
