//! The compact memory of one tenant's resolution: who holds which value, and which profile holds whom.
//!
//! Everything is a dense 32-bit index into a column: records ([`records`]), values ([`values`]), profiles
//! ([`profiles`]). Lists of indexes share one arena ([`lists`]), so that a list of one item costs nothing beyond its
//! handle. What records are compared by are rows of interned texts ([`rows`], [`packed`]); who might be compared with whom is found
//! by blocking keys ([`postings`]); what came of it are [`edges`]. What retracted records said is [`bygone`], which records changed hands [`handed`]. There is no allocation of its own for any record.

pub(crate) mod bygone;
pub(crate) mod column;
pub(crate) mod edges;
pub(crate) mod handed;
pub(crate) mod lists;
pub(crate) mod number;
pub(crate) mod packed;
pub(crate) mod postings;
pub(crate) mod profiles;
pub(crate) mod records;
pub(crate) mod rows;
pub(crate) mod values;

/// "No such index".
pub(crate) const NONE: u32 = u32::MAX;
