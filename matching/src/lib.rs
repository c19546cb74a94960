//! From a fragment and its neighbours to a decision.

mod index;
pub mod prepared;
pub mod resolve;
