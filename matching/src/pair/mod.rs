//! How much two records look like one party: the probabilistic half of matching.
//!
//! A fragment's facts become [`Features`] (normalised texts by [`Schema`]), an engine interns them into rows of
//! [`Symbols`], and a frozen [`Matcher`] says which rows are worth comparing ([`Matcher::keys`]) and how strong the evidence
//! is ([`Matcher::weigh`], in bits). [`train`] makes a [`Model`] from data, with labels or without. Everything here is a pure
//! function of the rows' content and the model, so neither order nor numbering of symbols shows in a result (LAW 2).

pub mod blocking;
mod ceiling;
pub mod comparison;
pub mod evidence;
pub mod features;
mod known;
mod metric;
pub mod model;
pub mod schema;
pub mod shared;
mod shipped;
pub mod symbols;
pub mod train;
pub mod weigh;

pub use evidence::{MatchEvidence, Part};
pub use features::{Extractor, Features};
pub use model::Model;
pub use schema::{Field, FieldKind, Schema};
pub use shipped::{shipped_organisations, shipped_persons};
pub use symbols::{Symbol, Symbols};
pub use weigh::Matcher;
