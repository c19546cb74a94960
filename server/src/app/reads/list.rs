//! Reading the log of reads.

use std::collections::HashMap;
use std::ops::ControlFlow;

use onefold_core::decision;
use onefold_core::fragment::ObservedAt;
use onefold_core::ids::{Place, ProfileOrdinal, Sequence};
use onefold_core::reads::{READS_NOTED, Reads};
use onefold_store::journal::JournalError;

use super::writer::begun_at;
use crate::app::Shared;
use crate::app::error::ReadError;
use crate::app::tenant::Tenant;

/// What is looked for.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Reads of this profile, under whatever id it had then.
    pub profile: Option<ProfileOrdinal>,
    /// Reads that ended at this moment or later.
    pub from: Option<ObservedAt>,
    /// Reads that began before this moment.
    pub until: Option<ObservedAt>,
}

/// A page of the log.
#[derive(Debug, Default)]
pub struct Page {
    /// In order; of each the profiles that are looked for.
    pub reads: Vec<(Reads, Vec<(ProfileOrdinal, u32)>)>,
    /// Where the next page begins; none at the end.
    pub next: Option<Place>,
}

/// Bytes of names that one page shows at most, roughly.
const PAGE_PROFILES_MAX: usize = 1 << 17;

/// A page of a tenant's log from a place on. Not for asynchronous threads.
///
/// # Errors
/// [`ReadError::Damaged`] or [`ReadError::Store`] when it cannot be read.
pub fn page(
    shared: &Shared,
    tenant: &Tenant,
    filter: &Filter,
    from: Option<Place>,
    size: usize,
) -> Result<Page, ReadError> {
    let Some(log) = shared.reads.of(tenant.id) else { return Ok(Page::default()) };
    let mut page = Page::default();
    let mut same = filter.profile.map(|profile| Same::new(tenant, [profile]));
    let mut names = 0;
    let start = match (from, filter.from) {
        (Some(place), _) => place,
        (None, Some(since)) => {
            // All of a segment is older than what the next one begins with.
            let mut first = log.first();
            while first < log.durable().segment
                && begun_at(&log, first + 1).map_err(unreadable)?.is_some_and(|at| at < since)
            {
                first += 1;
            }
            Place { segment: first, offset: 0 }
        }
        (None, None) => Place { segment: log.first(), offset: 0 },
    };
    let end = log.scan(start, |batch| {
        for entry in batch.entries().filter(|entry| entry.kind.0 == READS_NOTED) {
            let Some(payload) = entry.bytes() else { continue };
            let reads: Reads = decision::decode(payload)?;
            if filter.from.is_some_and(|from| reads.until < from)
                || filter.until.is_some_and(|until| reads.from >= until)
            {
                continue;
            }
            let shown: Vec<(ProfileOrdinal, u32)> = match &mut same {
                Some(same) => reads.profiles().filter(|(profile, _)| same.is(*profile)).collect(),
                None => reads.profiles().collect(),
            };
            if same.is_some() && shown.is_empty() {
                continue;
            }
            names += shown.len();
            page.reads.push((reads, shown));
        }
        let full = page.reads.len() >= size || names >= PAGE_PROFILES_MAX;
        Ok(if full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    });
    let end = end.map_err(unreadable)?;
    page.next = (end < log.durable() && (page.reads.len() >= size || names >= PAGE_PROFILES_MAX)).then_some(end);
    Ok(page)
}

/// What keeps a log from being read.
pub fn unreadable(error: JournalError) -> ReadError {
    match error {
        JournalError::Damaged(damage) => {
            ReadError::at(Place { segment: damage.segment, offset: damage.offset }, JournalError::Damaged(damage))
        }
        error => ReadError::Store(error.into()),
    }
}

/// Tells whether what was read under an id then is one of some profiles today.
struct Same<'a> {
    tenant: &'a Tenant,
    wanted: Vec<ProfileOrdinal>,
    known: HashMap<ProfileOrdinal, bool>,
}

impl<'a> Same<'a> {
    fn new(tenant: &'a Tenant, wanted: impl IntoIterator<Item = ProfileOrdinal>) -> Self {
        let wanted: Vec<ProfileOrdinal> = wanted.into_iter().collect();
        let state = tenant.state();
        let ends = wanted.iter().flat_map(|profile| state.engine.live_ends(*profile));
        let wanted = wanted.iter().copied().chain(ends).collect();
        Self { tenant, wanted, known: HashMap::new() }
    }

    fn is(&mut self, profile: ProfileOrdinal) -> bool {
        let Self { tenant, wanted, known } = self;
        *known.entry(profile).or_insert_with(|| {
            wanted.contains(&profile) || tenant.state().engine.live_ends(profile).iter().any(|end| wanted.contains(end))
        })
    }
}

/// Hands over every read of these profiles, under whatever ids they had then, or of these entries: with how often. Not for
/// asynchronous threads.
///
/// # Errors
/// As [`page`], and what `put` says.
pub fn of_person<E: From<ReadError>>(
    shared: &Shared,
    tenant: &Tenant,
    profiles: &[ProfileOrdinal],
    entries: &[Sequence],
    put: &mut dyn FnMut(&Reads, u64) -> Result<(), E>,
) -> Result<(), E> {
    let Some(log) = shared.reads.of(tenant.id) else { return Ok(()) };
    let mut same = Same::new(tenant, profiles.iter().copied());
    let mut failed = None;
    let scanned = log.scan(Place { segment: log.first(), offset: 0 }, |batch| {
        for entry in batch.entries().filter(|entry| entry.kind.0 == READS_NOTED) {
            let Some(payload) = entry.bytes() else { continue };
            let reads: Reads = decision::decode(payload)?;
            let of_profiles: u64 =
                reads.profiles().filter(|(profile, _)| same.is(*profile)).map(|(_, times)| u64::from(times)).sum();
            let times = of_profiles + reads.entries().filter(|entry| entries.contains(entry)).count() as u64;
            if times > 0
                && let Err(error) = put(&reads, times)
            {
                failed = Some(error);
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    });
    scanned.map_err(|error| E::from(unreadable(error)))?;
    failed.map_or(Ok(()), Err)
}
