//! Other match models: what would change, and the change.

use std::sync::Arc;

use onefold_core::change::ProfileChange;

use crate::index::records::flag;
use crate::index::rows::Rows;
use crate::resolve::{Engine, Weigher};

/// What other models would make of the same fragments and judgements.
#[derive(Clone, Debug)]
pub struct Preview {
    /// What would become of the profiles. Ordinals of profiles that would be opened are only guessed.
    pub changes: Vec<ProfileChange>,
    /// Live profiles now and then.
    pub profiles: (u32, u32),
    /// Pairs worth a question or a link, now and then.
    pub edges: (u64, u64),
    /// The digest of the graph that would be.
    pub digest: blake3::Hash,
}

impl Engine {
    /// Puts other match models in force, by kind of party. Every record is dirty afterwards: the next [`Engine::settle`]
    /// resolves all afresh.
    ///
    /// Answers whether the rows could be carried over. If not (the models compare other aspects), each live fragment must be
    /// prepared for the new models and handed to [`Engine::prepare_again`] before anything is settled.
    pub fn set_models(&mut self, weighers: [Option<Arc<dyn Weigher>>; 2]) -> bool {
        let mut rows = Rows::new(weighers);
        let mut carried = true;
        for record in 0..self.records.warm.count() {
            let warm = &self.records.warm[record];
            if !warm.has(flag::LIVE) {
                continue;
            }
            let party = warm.party();
            if let Some(features) = self.rows.features(party, record) {
                if rows.compares_like(&self.rows, party) {
                    rows.intern(party, Some(&features));
                    rows.keep(record);
                } else {
                    carried = false;
                }
            } else if rows.weigher(party).is_some() && self.rows.weigher(party).is_none() {
                carried = false;
            }
        }
        self.rows = rows;
        self.match_all();
        for record in 0..self.records.warm.count() {
            if self.records.warm[record].has(flag::LIVE) {
                self.touch_record(record, flag::REOPENED);
            }
        }
        for value in 0..self.values.column.count() {
            if self.values.column[value].holders.len > 0 {
                self.touch_value(value, 0);
            }
        }
        carried
    }

    /// What [`Engine::set_models`] and a settlement would change, while nothing does: the whole engine is copied for it, so
    /// it takes as much memory again for a while. `None` when the models compare other aspects: then the fragments are
    /// needed.
    #[must_use]
    pub fn preview(&self, weighers: [Option<Arc<dyn Weigher>>; 2]) -> Option<Preview> {
        let mut other = self.clone();
        // What is not settled yet would change anyway.
        other.settle();
        let (profiles, edges) = (other.profiles.live, other.edges.count);
        if !other.set_models(weighers) {
            return None;
        }
        let changes = other.settle();
        Some(Preview {
            changes,
            profiles: (profiles, other.profiles.live),
            edges: (edges, other.edges.count),
            digest: other.digest(),
        })
    }
}
