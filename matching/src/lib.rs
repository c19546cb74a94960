//! From a fragment and its neighbours to a decision.

pub mod prepared;
