//! Follows the journal with the ledger of stops: who said no, kept outside of every backup (law 6 across a restore).
//!
//! One thread looks a few times a second at what was said and is durable, and appends what denies. Nobody waits for it:
//! what it lacks when a crash comes is in the journal, and the next start appends it. Whom an erasure took out of memory it
//! takes out of the file too.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use onefold_core::consent::ledger::Entry;
use onefold_core::consent::stops::Stop;
use onefold_core::ids::{Digest128, Sequence, TenantId};
use onefold_matching::prepared::LinkValue;
use onefold_store::erasures::{ErasureLedger, ErasureRow};
use onefold_store::ledger::LedgerError;
use onefold_store::stops::{ErasedPoints, StopLedger, StopRow};

use super::Shared;
use super::privacy::plan::scoped_value;
use super::tenant::{LiveConfig, State, Tenant};
use crate::clock::Stopwatch;

/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Statements that are looked at while the state is held.
const AT_ONCE_MAX: usize = 64;
/// The longest wait after a failure before it is tried again.
const TRY_AGAIN_MAX: Duration = Duration::from_secs(60);
/// Writing the file anew takes at most one of so many parts of the time.
const REWRITE_SHARE: u32 = 20;
/// Points at which one stop is heard beside its own; of a larger cluster the records come first.
const HEARD_AT_MAX: usize = 256;

/// The thread's belongings.
pub struct Follower {
    shared: Arc<Shared>,
    /// None while it cannot be written.
    ledger: Option<Open>,
    wait: Duration,
    failed_since: Option<(Stopwatch, Duration)>,
    rewritten: Option<(Stopwatch, Duration)>,
}

/// The file, and what it holds.
struct Open {
    ledger: StopLedger,
    /// The last statement of each tenant that was looked at.
    reached: HashMap<TenantId, Sequence>,
    /// Erasures that were taken out of it.
    erasures: u64,
}

impl Open {
    /// Opens it, or begins it. One that is damaged, or another installation's, is begun anew: memory knows all that it held.
    fn new(shared: &Shared, erased: &[ErasureRow]) -> Result<Self, LedgerError> {
        let (data, of) = (shared.dir.path(), shared.root.installation());
        let taken_out = ErasedPoints::of(erased);
        let (mut reached, mut touched): (HashMap<TenantId, Sequence>, bool) = (HashMap::new(), false);
        let mut see = |row: StopRow| {
            touched |= taken_out.touches(&row);
            let last = reached.entry(row.tenant).or_default();
            *last = row.sequence.max(*last);
        };
        let ledger = match StopLedger::open_visiting(data, of, &mut see) {
            Ok((ledger, _)) => ledger,
            Err(error) if error.is_of_no_use() => {
                tracing::error!(error = %error, "the ledger of stops is written anew from the journal");
                let path = StopLedger::path(data);
                fs::remove_file(path).map_err(|source| LedgerError::Io { what: "the ledger of stops", source })?;
                reached = HashMap::new();
                StopLedger::open_visiting(data, of, |_| {})?.0
            }
            Err(error) => return Err(error),
        };
        let (told, has) = (shared.heads.told().map_or(0, |told| told.stops), ledger.ever());
        if has < told {
            tracing::error!(
                told,
                has,
                "the ledger of stops lost rows since it was signed what it holds; they are put back"
            );
        }
        // What a crash kept an erasure from taking out goes with the next round.
        let erasures = if touched { u64::MAX } else { erased.len() as u64 };
        Ok(Self { ledger, reached, erasures })
    }

    /// Appends what a tenant's people denied since the last look.
    fn follow(&mut self, tenant: &Tenant) -> Result<(), LedgerError> {
        let durable = tenant.durable();
        let reached = self.reached.entry(tenant.id).or_default();
        loop {
            let (rows, last) = {
                let (config, state) = (tenant.config(), tenant.state());
                let news = state.consent.ledger.after(*reached);
                let news = &news[..news.partition_point(|entry| entry.id <= durable).min(AT_ONCE_MAX)];
                let Some(last) = news.last().map(|entry| entry.id) else { return Ok(()) };
                let rows = news.iter().filter_map(|entry| row_of(&state, &config, tenant.id, entry));
                (rows.collect::<Vec<_>>(), last)
            };
            if !rows.is_empty() {
                self.ledger.append(&rows)?;
            }
            *reached = last;
        }
    }
}

/// Those whom a point stands for: the record's person, or whoever alone holds the identifier.
pub(super) fn profile_at(state: &State, point: Digest128) -> Option<onefold_core::ids::ProfileOrdinal> {
    let mut profiles = state.engine.profiles_at(point).into_iter();
    profiles.next().filter(|_| profiles.next().is_none())
}

/// The point, and all that is known together with it.
pub(super) fn together(state: &State, point: Digest128) -> HashSet<Digest128> {
    let members = profile_at(state, point).map(|profile| state.engine.members(profile)).unwrap_or_default();
    let values = members.iter().flat_map(|member| state.engine.links_of(member.digest)).map(|value| value.digest);
    members.iter().map(|member| member.digest).chain(values).chain([point]).collect()
}

/// What a statement denies, as the ledger keeps it. None when it denies nothing, or was erased.
fn row_of(state: &State, config: &LiveConfig, tenant: TenantId, entry: &Entry) -> Option<StopRow> {
    let ledger = &state.consent.ledger;
    let points = ledger.points_of(entry.id).to_vec();
    if points.is_empty() || !entry.decision.outlives_restores() {
        return None;
    }
    let policy = &config.config.consent;
    let purpose = entry.purpose.and_then(|id| policy.purposes.iter().find(|purpose| purpose.id == id));
    let channel = entry.channel.and_then(|id| policy.channels.iter().find(|channel| channel.id == id));
    let mut heard_at = stands_with(state, config, &points);
    // What a record held that is not there any more, or is in quarantine.
    let elsewhere = points.iter().flat_map(|point| ledger.heard_elsewhere(*point));
    let elsewhere: BTreeSet<Digest128> = elsewhere.filter(|point| !heard_at.contains(point)).collect();
    heard_at.extend(elsewhere.into_iter().filter(|point| !points.contains(point)));
    heard_at.truncate(HEARD_AT_MAX);
    let stop = Stop {
        heard_at,
        points,
        by_identifier: entry.by_identifier,
        purpose: purpose.map(|purpose| purpose.name.clone()),
        channel: channel.map(|channel| channel.name.clone()),
        decision: entry.decision,
        given_at: entry.given_at,
        recorded_at: entry.recorded_at,
        jurisdiction: entry.jurisdiction,
        ends: entry.ends_one.then(|| ledger.ended_by(entry.id)).flatten(),
        upon_request: ledger.is_bound(entry.id),
    };
    Some(StopRow { tenant, sequence: entry.id, stop })
}

/// The records of those at these points, and the identifiers that are theirs alone; without the points themselves.
fn stands_with(state: &State, config: &LiveConfig, points: &[Digest128]) -> Vec<Digest128> {
    let profiles: BTreeSet<_> = points.iter().filter_map(|point| profile_at(state, *point)).collect();
    let members: Vec<_> = profiles.iter().flat_map(|profile| state.engine.members(*profile)).collect();
    let scope: HashSet<u32> = members.iter().filter_map(|member| state.engine.ordinal_of(member.digest)).collect();
    let mut heard_at: Vec<Digest128> = members.iter().map(|member| member.digest).take(HEARD_AT_MAX).collect();
    for member in &members {
        if heard_at.len() >= HEARD_AT_MAX {
            break;
        }
        // What a record that was taken back held last is no less theirs who hold it today.
        let is_alone = |value: &LinkValue| {
            let scoped = scoped_value(state, config, *value, &scope);
            let held_by = members.iter().filter(|other| state.engine.links_of(other.digest).contains(value)).count();
            scoped.identifying && !scoped.generic && state.engine.live_holders(*value) as usize <= held_by
        };
        let alone = state.engine.links_of(member.digest).into_iter().filter(is_alone);
        heard_at.extend(alone.map(|value| value.digest));
    }
    let mut seen: HashSet<Digest128> = points.iter().copied().collect();
    heard_at.retain(|point| seen.insert(*point));
    heard_at
}

impl Follower {
    /// Opens the ledger; `erased` is what the erasure ledger holds. A disk that has no room for it keeps nobody from
    /// reading: it is tried again.
    pub fn open(shared: &Arc<Shared>, erased: &[ErasureRow]) -> Self {
        let mut follower =
            Self { shared: Arc::clone(shared), ledger: None, wait: LOOK_EVERY, failed_since: None, rewritten: None };
        match Open::new(shared, erased) {
            Ok(open) => follower.ledger = Some(open),
            Err(error) => follower.fall_behind(&error),
        }
        follower
    }

    /// The tenants that the ledger tells of, as far as it can be read.
    pub fn tells_of(&self) -> Vec<TenantId> {
        self.ledger.iter().flat_map(|open| open.reached.keys().copied()).collect()
    }

    /// Keeps rows of tenants that are not here.
    ///
    /// # Errors
    /// [`LedgerError`]: they must not be lost.
    pub fn keep(&mut self, rows: &[StopRow]) -> Result<(), LedgerError> {
        if rows.is_empty() {
            return Ok(());
        }
        let open = match &mut self.ledger {
            Some(open) => open,
            none => none
                .insert(Open::new(&self.shared, &ErasureLedger::read(&ErasureLedger::path(self.shared.dir.path()))?)?),
        };
        open.ledger.append(rows)?;
        for row in rows {
            let last = open.reached.entry(row.tenant).or_default();
            *last = row.sequence.max(*last);
        }
        Ok(())
    }

    /// Works until the sender is gone, and then once more.
    pub fn run(mut self, stop: &Receiver<()>) {
        loop {
            let ends = matches!(stop.recv_timeout(LOOK_EVERY), Err(RecvTimeoutError::Disconnected));
            let waits = self.failed_since.as_ref().is_some_and(|(since, wait)| since.elapsed() < *wait);
            if ends || !waits {
                self.look(ends);
            }
            if ends {
                // The lane's last head lacks what was appended just now.
                self.shared.sign_head();
                return;
            }
        }
    }

    fn look(&mut self, last: bool) {
        let went = self.catch_up(last);
        if let Some(open) = &self.ledger {
            self.shared.heads.stops_were_given(open.ledger.ever());
        }
        match went {
            Ok(()) => (self.wait, self.failed_since) = (LOOK_EVERY, None),
            Err(error) => self.fall_behind(&error),
        }
    }

    fn fall_behind(&mut self, error: &LedgerError) {
        tracing::error!(
            error = %error,
            "the ledger of stops falls behind: a restore would not know the latest withdrawals; it is tried again"
        );
        // What lies at its end is not known: it is opened anew.
        self.ledger = None;
        self.wait = (self.wait * 2).min(TRY_AGAIN_MAX);
        self.failed_since = Some((Stopwatch::start(), self.wait));
    }

    fn catch_up(&mut self, last: bool) -> Result<(), LedgerError> {
        let data = self.shared.dir.path();
        let open = match &mut self.ledger {
            Some(open) => open,
            none => none.insert(Open::new(&self.shared, &ErasureLedger::read(&ErasureLedger::path(data))?)?),
        };
        for tenant in self.shared.tenants() {
            open.follow(&tenant)?;
        }
        let erasures = self.shared.erasures.rows();
        let rests = |(since, took): &(Stopwatch, Duration)| since.elapsed() < *took * REWRITE_SHARE;
        if open.erasures == erasures || (!last && self.rewritten.as_ref().is_some_and(rests)) {
            return Ok(());
        }
        // LAW 7: whoever was erased goes out of here too.
        let began = Stopwatch::start();
        let erased = ErasedPoints::of(&ErasureLedger::read(&ErasureLedger::path(data))?);
        open.ledger.rewrite(data, |row| erased.take_out_of(row))?;
        open.erasures = erasures;
        self.rewritten = Some((Stopwatch::start(), began.elapsed()));
        Ok(())
    }
}
