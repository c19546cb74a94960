//! The parts of the `onefold` command that other crates may use: file readers, column mapping, the generator of seeded
//! populations, the pipeline of `onefold resolve`, and the settings of `onefold serve`.

pub mod generate;
pub mod input;
pub mod output;
pub mod resolve;
pub mod settings;
