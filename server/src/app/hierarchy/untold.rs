//! What the rows of an import do not tell: of accounts that are known it stays as it is.
//!
//! Owners and domains lie sealed in the journal, so they are read before the rows go down the lane; in the lane only what
//! was told of since is read again.

use std::sync::Arc;

use onefold_core::decision::EntryKind;
use onefold_core::hierarchy::entry::AccountPut;
use onefold_core::ids::Place;

use super::act::ImportRow;
use super::read::told_at;
use crate::app::Shared;
use crate::app::error::ReadError;
use crate::app::tenant::Tenant;

/// The fields that no row of an import tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Untold {
    /// Who looks after it.
    pub owner: bool,
    /// Its domains.
    pub domains: bool,
    /// What it is.
    pub kind: bool,
    /// Since when it exists.
    pub start_time: bool,
    /// Its parent.
    pub parent: bool,
}

impl Untold {
    /// The names of the fields.
    pub const NAMES: &'static [&'static str] = &["owner", "domains", "kind", "start_time", "parent"];

    /// Notes a field by its name; whether there is one.
    pub fn name(&mut self, name: &str) -> bool {
        let field = match name {
            "owner" => &mut self.owner,
            "domains" => &mut self.domains,
            "kind" => &mut self.kind,
            "start_time" => &mut self.start_time,
            "parent" => &mut self.parent,
            _ => return false,
        };
        *field = true;
        true
    }

    /// Whether anything has to be read for the rows; the parent has not.
    const fn is_kept_in_words(self) -> bool {
        self.owner || self.domains || self.kind || self.start_time
    }

    fn keep(self, row: &mut AccountPut, known: AccountPut) {
        if self.owner {
            row.owner = known.owner;
        }
        if self.domains {
            row.domains = known.domains;
        }
        if self.kind {
            row.kind = known.kind;
        }
        if self.start_time {
            row.since = known.since;
        }
    }
}

/// Fills in what the rows do not tell, as it is known by now; of rows that were filled in before only what was told since.
/// Waits for the disk.
///
/// # Errors
/// [`ReadError`] when what is known cannot be read.
pub fn fill(shared: &Shared, tenant: &Arc<Tenant>, rows: &mut [ImportRow], untold: Untold) -> Result<(), ReadError> {
    if !untold.is_kept_in_words() {
        return Ok(());
    }
    let places: Vec<Option<Place>> = {
        let (config, state) = (tenant.config(), tenant.state());
        let accounts = &state.accounts;
        let place = |row: &ImportRow| {
            let record = &row.account.record;
            let account = accounts.forest.find(config.preparer().record_digest(record.source, &record.key))?;
            accounts.rows.get(account.0 as usize)?.place
        };
        rows.iter().map(place).collect()
    };
    for (row, place) in rows.iter_mut().zip(places) {
        let Some(place) = place.filter(|place| row.kept_of != Some(*place)) else { continue };
        if let Some(known) = told_at::<AccountPut>(shared, tenant, place, EntryKind::AccountPut)? {
            untold.keep(&mut row.account, known);
        }
        row.kept_of = Some(place);
    }
    Ok(())
}
