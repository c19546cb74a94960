//! Other match models. What they would change shows on a copy of the engine.

use std::sync::Arc;

use crate::index::records::flag;
use crate::index::rows::Rows;
use crate::resolve::{Engine, Weigher};

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
}
