//! Identifiers that are held outside live profiles: in quarantine, of source records that were taken back, and of statements. What
//! a deletion list is compared with beside live profiles, since all of it is found and erased by the identifier.
//!
//! A few entries are looked up at a time, in one consistent picture of these; they are opened one by one without a lock. Of whom is
//! erased meanwhile there is nothing to open.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Bound;

use onefold_core::consent::Subject;
use onefold_core::consent::ledger::Entry;
use onefold_core::decision::Sealed;
use onefold_core::ids::{Digest128, NamespaceId, Place, Sequence};
use onefold_matching::prepare::LookupError;
use onefold_store::vault::VaultError;

use super::export::ExportError;
use crate::app::consent::read::statement_at;
use crate::app::error::ReadError;
use crate::app::quarantine::{self, points};
use crate::app::read::{fragment_at, gone_at};
use crate::app::reads::{How, What};
use crate::app::tenant::{Held, State, Tenant};
use crate::app::{App, Shared};

/// Entries that are looked up at a time.
const PAGE_MAX: usize = 512;

/// Where something is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Where {
    /// In a fragment that waits in quarantine.
    Quarantine,
    /// In what a retracted record said last.
    Retracted,
    /// In a statement about it.
    Statement,
}

/// An identifier, in the form in which live profiles show it. Personal data: not for logs.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identifier {
    /// Its namespace.
    pub namespace: NamespaceId,
    /// Its value.
    pub value: String,
    /// It leads to no retracted record, since it is not known to be one person's, or must not link.
    pub shared: bool,
}

impl fmt::Debug for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identifier({:?}, ..)", self.namespace)
    }
}

/// Hands over the identifiers of each place that holds some, until all are told or `put` says no. Each is noted as a read before.
/// Not for asynchronous threads.
///
/// # Errors
/// What cannot be read, and what `put` says.
pub fn all(
    app: &App,
    tenant: &Tenant,
    how: How,
    mut put: impl FnMut(Where, Vec<Identifier>) -> Result<(), ExportError>,
) -> Result<(), ExportError> {
    let mut told = |at: Where, what: What, identifiers: BTreeSet<Identifier>| {
        if identifiers.is_empty() {
            return Ok(());
        }
        app.shared.reads.note(tenant, how, [what])?;
        put(at, identifiers.into_iter().collect())
    };
    let mut after = Sequence(0);
    loop {
        let page = tenant.seen(|state| quarantined(state, after))?;
        let Some((last, _)) = page.last() else { break };
        after = *last;
        for (entry, held) in page {
            let found = in_quarantine(app, tenant, entry, held)?;
            told(Where::Quarantine, What::Entry(entry), found)?;
        }
    }
    let mut from = Some(0);
    while let Some(ordinal) = from {
        let page = tenant.seen(|state| state.engine.retracted_since(ordinal).take(PAGE_MAX).collect::<Vec<_>>())?;
        from = page.last().and_then(|(ordinal, ..)| ordinal.checked_add(1));
        for (_, record, place) in page {
            let found = of_retracted(&app.shared, tenant, record, place)?;
            told(Where::Retracted, What::Some, found)?;
        }
    }
    let mut after = Sequence(0);
    loop {
        let page = tenant.seen(|state| statements(state, after))?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.id;
        for entry in page.iter().filter(|entry| entry.by_identifier) {
            let found = of_statement(&app.shared, tenant, entry)?;
            told(Where::Statement, What::Entry(entry.id), found.into_iter().collect())?;
        }
    }
}

fn quarantined(state: &State, after: Sequence) -> Vec<(Sequence, Held)> {
    let behind = state.quarantine.range((Bound::Excluded(after), Bound::Unbounded));
    behind.take(PAGE_MAX).map(|(entry, held)| (*entry, *held)).collect()
}

fn statements(state: &State, after: Sequence) -> Vec<Entry> {
    state.consent.ledger.after(after).iter().take(PAGE_MAX).copied().collect()
}

fn in_quarantine(app: &App, tenant: &Tenant, entry: Sequence, held: Held) -> Result<BTreeSet<Identifier>, ReadError> {
    let opened = match quarantine::open(app, tenant, entry, held) {
        Ok(opened) => opened,
        Err(error) => return is_gone(&app.shared, tenant, held.place, error).map(|()| BTreeSet::new()),
    };
    let Some(opened) = opened else { return Ok(BTreeSet::new()) };
    let values = points::values_of(&opened.fragment, &tenant.config()).into_iter();
    Ok(values.map(|(namespace, value)| Identifier { namespace, value, shared: false }).collect())
}

/// What a retracted record said last, as far as it is found by that.
fn of_retracted(
    shared: &Shared,
    tenant: &Tenant,
    record: Digest128,
    place: Place,
) -> Result<BTreeSet<Identifier>, ReadError> {
    let fragment = match fragment_at(shared, &tenant.vault, place) {
        Ok(fragment) => fragment,
        // It was erased, or came back.
        Err(_) if tenant.state().engine.last_place_of(record) != Some(place) => return Ok(BTreeSet::new()),
        Err(error) => return is_gone(shared, tenant, place, error).map(|()| BTreeSet::new()),
    };
    let config = tenant.config();
    let read = |(namespace, value): (NamespaceId, String)| {
        (config.preparer().link_value(namespace, fragment.party, &value), namespace, value)
    };
    let read: Vec<_> = config.preparer().contact_values(&fragment).into_iter().map(read).collect();
    let state = tenant.state();
    if state.engine.last_place_of(record) != Some(place) {
        return Ok(BTreeSet::new());
    }
    let links = state.engine.last_links_of(record);
    let found = |(link, namespace, value)| {
        let shared = match link {
            // Of a later version, which the record is found by, nothing but digests is kept.
            Ok(link) if links.binary_search(&link).is_err() => return None,
            Ok(link) => state.engine.live_holders(link) == 0 && !state.engine.leads_to_retracted(link),
            Err(LookupError::Blocked(_)) => true,
            Err(_) => return None,
        };
        Some(Identifier { namespace, value, shared })
    };
    Ok(read.into_iter().filter_map(found).collect())
}

/// What a statement is about; none where only its digest is known, as of a one-click unsubscribe.
fn of_statement(shared: &Shared, tenant: &Tenant, entry: &Entry) -> Result<Option<Identifier>, ReadError> {
    let said = match statement_at(shared, &tenant.vault, entry) {
        Ok(said) => said,
        // It was erased.
        Err(_) if tenant.state().consent.ledger.get(entry.id).is_none() => return Ok(None),
        Err(error) => return Err(error),
    };
    let Some(Subject::Identifier { namespace, raw: Some(raw) }) = said.map(|said| said.subject) else {
        return Ok(None);
    };
    let value = tenant.config().preparer().contact_value(namespace, &raw);
    Ok(value.map(|value| Identifier { namespace, value, shared: false }))
}

/// What lay here cannot be opened since it, or its key, was destroyed: there is nothing to tell.
///
/// # Errors
/// The same error where that is not why.
fn is_gone(shared: &Shared, tenant: &Tenant, place: Place, error: ReadError) -> Result<(), ReadError> {
    let Ok(entry) = shared.journal.read(place) else { return Err(error) };
    let slot = entry.payload.as_deref().map(Sealed::parse);
    let destroyed = match slot {
        None => true,
        Some(Ok(sealed)) => {
            let key = tenant.vault.key(sealed.slot);
            matches!(key, Err(VaultError::Destroyed(_) | VaultError::HalfDestroyed(_)))
        }
        Some(Err(_)) => false,
    };
    if destroyed { gone_at(shared, place) } else { Err(error) }
}
