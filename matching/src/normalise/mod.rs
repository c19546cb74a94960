//! Brings names, dates and addresses to comparable form.
//!
//! Every function here is pure and total: any text gives an answer, none panics, and a folded text folds to itself.
//! Where the right reading is not certain, the structs keep what they know apart instead of guessing twice.

pub mod address;
pub mod company;
pub mod country;
pub mod date;
pub mod name;
pub mod text;
