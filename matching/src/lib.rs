//! From a fragment and its neighbours to a decision.

mod household;
mod index;
pub mod normalise;
pub mod pair;
pub mod prepare;
pub mod prepared;
pub mod resolve;
