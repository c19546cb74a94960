//! What broke its contract: kept, shown, replayed, discarded.

use std::collections::BTreeSet;
use std::sync::Arc;

use onefold_core::decision::{EntryKind, Quarantined, Sealed};
use onefold_core::fault::{FaultReason, FieldFault};
use onefold_core::fragment::{Fragment, ObservedAt, Vocabulary};
use onefold_core::ids::{Digest128, Sequence, SourceId};
use onefold_core::limits;
use onefold_matching::prepared::Prepared;

use super::consent::{Saying, points_under};
use super::error::{Damaged, ReadError, WriteError};
use super::ingest::{Answer, Arriving, Item};
use super::lane::Command;
use super::read::durable_at;
use super::requests::RequestKey;
use super::tenant::{Held, LiveConfig, Tenant};
use super::{App, Shared, lane};
use crate::secret;

pub mod found_by;
pub mod points;

use points::{MENTIONS_MAX, POINTS_MAX, Points};

/// Fragments that one replay takes at most.
pub const REPLAY_MAX: usize = 1_000;

/// Fragments that are read again between two short locks of the state.
const FOUND_AGAIN_STEP: usize = 1_024;

/// Hexadecimal digits of a handle's tag.
const TAG_DIGITS: usize = 16;

/// The handle that callers know a quarantined fragment by: its entry and a keyed tag, so that the handle of another
/// tenant is as unknown as an invented one (law 9) and cannot name a fragment of this one by accident.
pub fn handle(entry: Sequence, id_key: &[u8; 32]) -> String {
    let mut bytes = [0; 18];
    bytes[..10].copy_from_slice(b"quarantine");
    bytes[10..].copy_from_slice(&entry.0.to_le_bytes());
    let tag = blake3::keyed_hash(id_key, &bytes).to_hex();
    format!("q_{:x}_{}", entry.0, &tag[..TAG_DIGITS])
}

/// The entry behind a handle, `None` when it is none of this tenant's.
///
/// # Errors
/// [`InvalidHandle`] for a text of another shape.
pub fn parse_handle(text: &str, id_key: &[u8; 32]) -> Result<Option<Sequence>, InvalidHandle> {
    let (entry, tag) = text.strip_prefix("q_").and_then(|body| body.split_once('_')).ok_or(InvalidHandle)?;
    let entry = u64::from_str_radix(entry, 16).map(Sequence).map_err(|_| InvalidHandle)?;
    if tag.len() != TAG_DIGITS || !tag.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(InvalidHandle);
    }
    Ok(secret::same(&handle(entry, id_key), text).then_some(entry))
}

/// A text that is no handle at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidHandle;

/// What is held already, where something is to be held.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeldBefore {
    /// Fragments.
    pub fragments: usize,
    /// What they are found by, together.
    pub points: usize,
    /// Fragments of the same record.
    pub of_record: usize,
}

/// Why a fragment that is found by these points cannot be held beside what is held; `None` where it can. `is_whole`: these are all
/// that it would be found by.
pub fn no_room(before: HeldBefore, points: &Points, is_whole: bool) -> Option<String> {
    if !is_whole {
        return Some(format!(
            "it mentions more addresses and numbers that may be somebody's than can be held: at most {MENTIONS_MAX} of each, and \
             {POINTS_MAX} as values of all namespaces; mend its faults and send it again"
        ));
    }
    let most = limits::QUARANTINE_MAX;
    if before.fragments >= most {
        return Some(format!("the quarantine holds {most} fragments, the most there may be; replay or discard some"));
    }
    let most = limits::QUARANTINE_OF_RECORD_MAX;
    if before.of_record >= most {
        return Some(format!(
            "the quarantine holds {most} fragments of this record, the most there may be; mend its source, and replay or discard some"
        ));
    }
    let (most, found_by) = (limits::QUARANTINE_POINTS_MAX, before.points);
    (found_by + points.all().count() > most).then(|| {
        format!(
            "the fragments in quarantine name and mention {found_by} addresses and numbers, and {most} are the most there may be; \
             replay or discard some"
        )
    })
}

/// What tells a quarantined fragment from another, so that each is held once: keyed digest of the record and digest of the
/// facts. A fragment whose time was left to us is the same whenever it comes.
pub fn content(
    fragment: &Fragment,
    undated: bool,
    prepared: &Prepared,
    names: &dyn Vocabulary,
) -> (Digest128, Digest128) {
    if !undated {
        return (prepared.record, prepared.facts);
    }
    let timeless = Fragment { observed_at: ObservedAt(i64::MIN), ..fragment.clone() };
    (prepared.record, timeless.fact_digest(names))
}

/// The same of a fragment that came with statements of these contents which wait with it: with others it is another one.
pub fn with_said(
    (record, facts): (Digest128, Digest128),
    said: impl Iterator<Item = Digest128>,
) -> (Digest128, Digest128) {
    let said: BTreeSet<Digest128> = said.collect();
    if said.is_empty() {
        return (record, facts);
    }
    let mut hasher = blake3::Hasher::new();
    std::iter::once(&facts).chain(&said).for_each(|digest| {
        hasher.update(&digest.0);
    });
    (record, Digest128::of(&hasher.finalize()))
}

/// Where what waits with a fragment stands under a configuration: it is found by that too.
pub fn points_of_said(kept: &Quarantined, config: &LiveConfig) -> impl Iterator<Item = Digest128> {
    kept.says.iter().flat_map(|said| points_under(config, said))
}

/// A quarantined fragment, opened.
#[derive(Debug)]
pub struct Opened {
    /// Its entry.
    pub entry: Sequence,
    /// The fragment.
    pub fragment: Fragment,
    /// What was kept with it.
    pub kept: Quarantined,
}

/// The newest entries before `before` (0: the newest of all), and how many there are in all.
pub fn page(tenant: &Tenant, source: Option<SourceId>, before: u64, size: usize) -> (Vec<(Sequence, Held)>, usize) {
    let state = tenant.state();
    let upper = if before == 0 { Sequence(u64::MAX) } else { Sequence(before) };
    let found = state
        .quarantine
        .range(..upper)
        .rev()
        .filter(|(_, held)| source.is_none_or(|source| held.source == source))
        .take(size)
        .map(|(entry, held)| (*entry, *held))
        .collect();
    (found, state.quarantine.len())
}

/// The oldest entries, for a replay of all.
pub fn oldest(tenant: &Tenant, source: Option<SourceId>) -> Vec<Sequence> {
    let state = tenant.state();
    let of_source = |held: &Held| source.is_none_or(|source| held.source == source);
    state.quarantine.iter().filter(|(_, held)| of_source(held)).map(|(entry, _)| *entry).take(REPLAY_MAX).collect()
}

/// Opens a quarantined fragment; `None` when it was replayed or discarded meanwhile.
///
/// # Errors
/// [`ReadError::Damaged`] when its content cannot be read, [`ReadError::Store`] when the disk fails.
pub fn open(app: &App, tenant: &Tenant, entry: Sequence, held: Held) -> Result<Option<Opened>, ReadError> {
    match read(&app.shared, tenant, entry, held) {
        Ok(opened) => Ok(Some(opened)),
        Err(_) if !tenant.state().quarantine.contains_key(&entry) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Finds every quarantined fragment by what it is found by under another configuration: a number may be read in another
/// country. One that is damaged stays what it was. All of it is kept, though there may be more than what comes may have: what is
/// held already is found by all that it mentions (law 7).
///
/// # Errors
/// [`ReadError::Store`] when the disk fails.
pub(super) fn find_again(shared: &Shared, tenant: &Tenant, config: &LiveConfig) -> Result<(), ReadError> {
    let held: Vec<(Sequence, Held)> = tenant.state().quarantine.iter().map(|(entry, held)| (*entry, *held)).collect();
    for step in held.chunks(FOUND_AGAIN_STEP) {
        let mut again = Vec::with_capacity(step.len());
        for (entry, held) in step {
            match read(shared, tenant, *entry, *held) {
                Ok(Opened { fragment, kept, .. }) => {
                    let (prepared, _) = config.preparer().prepare(&fragment);
                    let points = Points::of(&fragment, &prepared, config, usize::MAX).0;
                    again.push((*entry, points.with(points_of_said(&kept, config))));
                }
                Err(ReadError::Damaged(_)) => {}
                Err(error) => return Err(error),
            }
        }
        let mut state = tenant.state_mut();
        for (entry, points) in again {
            let record = points.record();
            state.privacy.quarantined.put(entry, points);
            record.into_iter().for_each(|record| state.hear_what_waits(record));
        }
    }
    Ok(())
}

fn read(shared: &Shared, tenant: &Tenant, entry: Sequence, held: Held) -> Result<Opened, ReadError> {
    durable_at(shared, held.place)?;
    let place = held.place;
    let found = shared.journal.read(place).map_err(|error| ReadError::at(place, error))?;
    let payload = found.payload.ok_or_else(|| ReadError::content_of(place, "the quarantined content was dropped"))?;
    let sealed = Sealed::parse(&payload).map_err(|error| ReadError::content_of(place, error))?;
    let kinds = [EntryKind::Quarantined, EntryKind::QuarantinedSaying];
    let Some(kind) = kinds.into_iter().find(|kind| lane::kind(*kind) == found.context.kind) else {
        return Err(ReadError::content_of(place, "the entry is no quarantined fragment"));
    };
    let key = tenant.vault.key(sealed.slot).map_err(|error| ReadError::key_of(place, error))?;
    let opened = found.context.open(&key, 0, &sealed.header, sealed.ciphertext);
    let plain = opened.map_err(|error| ReadError::content_of(place, error))?;
    let kept = Quarantined::decode(kind, &plain).map_err(|error| ReadError::content_of(place, error))?;
    let fragment = Fragment::decode(&kept.fragment).map_err(|error| ReadError::content_of(place, error))?;
    Ok(Opened { entry, fragment, kept })
}

/// Why an entry can be neither shown nor replayed: the others can, and this one can be discarded.
pub fn unreadable(damaged: &Damaged) -> FieldFault {
    let message = format!("what was held is damaged: {damaged}; discard it and send the record again");
    FieldFault::new("fragment", FaultReason::Damaged, message)
}

/// Sends entries through the door again, under the contracts in force. One answer each; an entry that is not there any
/// more is passed over.
///
/// # Errors
/// [`WriteError`] when nothing was written.
pub async fn replay(
    app: &Arc<App>,
    tenant: &Arc<Tenant>,
    entries: &[Sequence],
    request: Option<RequestKey>,
) -> Result<Vec<Answer>, WriteError> {
    let held: Vec<(Sequence, Held)> = {
        let state = tenant.state();
        entries.iter().filter_map(|entry| state.quarantine.get(entry).map(|held| (*entry, *held))).collect()
    };
    let (app_, tenant_) = (Arc::clone(app), Arc::clone(tenant));
    let items = tokio::task::spawn_blocking(move || -> Result<Vec<Item>, ReadError> {
        let config = tenant_.config();
        held.into_iter()
            .filter_map(|(entry, held)| {
                let opened = match open(&app_, &tenant_, entry, held).transpose()? {
                    Ok(opened) => opened,
                    Err(ReadError::Damaged(damaged)) => {
                        tracing::error!(error = %damaged, "a quarantined fragment is damaged");
                        return Some(Ok(Item::StillHeld { entry, faults: vec![unreadable(&damaged)] }));
                    }
                    Err(error) => return Some(Err(error)),
                };
                let (mut arriving, faults) = Arriving::of(&opened.fragment, opened.kept.undated, &config);
                let says = opened.kept.says.into_iter();
                arriving.says = says.map(|said| Saying::new(said, &tenant_).under(&config)).collect();
                Some(Ok(if faults.is_empty() {
                    Item::Replay { arriving: Box::new(arriving), entry }
                } else {
                    Item::StillHeld { entry, faults }
                }))
            })
            .collect()
    })
    .await
    .map_err(|_| WriteError::StoreFailed)?;
    let items = items.map_err(|error| {
        tracing::error!(error = ?error.to_string(), "a quarantined fragment cannot be read");
        WriteError::StoreFailed
    })?;
    app.ingest(tenant, items, request).await
}

/// Destroys entries. Answers with how many there were.
///
/// # Errors
/// [`WriteError`] when nothing was destroyed.
pub async fn discard(
    app: &App,
    tenant: &Arc<Tenant>,
    entries: Vec<Sequence>,
    request: Option<RequestKey>,
) -> Result<u64, WriteError> {
    let tenant = Arc::clone(tenant);
    app.ask(|reply| Command::Discard { tenant, entries, request, reply }).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_has_a_bound_of_each_and_of_all_and_says_which() {
        let points = |count: u32| {
            let own = (0..count).map(|number| Digest128(u128::from(number).to_le_bytes())).collect();
            Points { own, mentioned: Box::default() }
        };
        let (fragments, found_by) = (limits::QUARANTINE_MAX, limits::QUARANTINE_POINTS_MAX);
        let of_record = limits::QUARANTINE_OF_RECORD_MAX;
        let table = [
            ((0, 0, 0), true, None),
            ((0, 0, 0), false, Some("than can be held")),
            ((fragments - 1, 0, 0), true, None),
            ((fragments, 0, 0), true, Some("the quarantine holds 1000000 fragments")),
            ((1, found_by - 3, 0), true, None),
            ((1, found_by - 2, 0), true, Some("and 8000000 are the most there may be")),
            ((of_record, 0, of_record - 1), true, None),
            ((of_record, 0, of_record), true, Some("1024 fragments of this record")),
        ];
        for (before, is_whole, want) in table {
            let (fragments, found_by, of_record) = before;
            let got = no_room(HeldBefore { fragments, points: found_by, of_record }, &points(3), is_whole);
            let fits = match (&got, want) {
                (None, None) => true,
                (Some(got), Some(want)) => got.contains(want),
                _ => false,
            };
            assert!(fits, "{before:?} {is_whole}: {got:?}");
        }
    }

    #[test]
    fn handles_survive_their_text_and_belong_to_one_tenant() {
        let (ours, theirs) = ([1; 32], [2; 32]);
        for entry in [0, 1, 255, u64::MAX] {
            let text = handle(Sequence(entry), &ours);
            assert_eq!(parse_handle(&text, &ours), Ok(Some(Sequence(entry))));
            assert_eq!(parse_handle(&text, &theirs), Ok(None), "law 9");
        }
        for bad in ["", "q_", "q_x", "1f", "q_1f", "q_1f_", "q_1f_0123", "q_11112222333344445_0123456789abcdef"] {
            assert_eq!(parse_handle(bad, &ours), Err(InvalidHandle), "{bad:?}");
        }
    }
}
