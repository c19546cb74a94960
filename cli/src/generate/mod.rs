//! Seeded people and companies with truth: the same bytes for the same seed on every platform and in every release.
//!
//! [`Population`] yields [`Record`]s one household or company at a time, in memory that does not grow with the sizes;
//! [`mod@write`] turns them into the files that different systems would hand over.
//!
//! What is hard about real data is in it, in known measure: namesakes, households that share a phone and a tablet,
//! twins, a father and a son of one name, moves, married names, nicknames, typing and scanning faults, missing fields,
//! junk values, a shop's kiosk, `info@` boxes, names in several scripts.

mod companies;
mod dice;
mod fragment;
mod people;
mod population;
mod record;
mod typo;
#[rustfmt::skip]
mod words;
pub mod write;

pub use dice::{Dice, split_mix};
pub use fragment::{fragment, prepared, tenant};
pub use population::{Population, Sizes};
pub use record::{ClusterId, EventKind, Origin, Record};

#[cfg(test)]
mod tests;
