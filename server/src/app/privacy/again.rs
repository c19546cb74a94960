//! What people denied is said again (law 6): after a restore what was denied since the backup, before anything is served; before
//! an erasure, without its words, what was denied at a record that is somebody else's today.
//!
//! The rows come from the ledger of stops. A restore errs to the side of the stop: a purpose or channel that the backup
//! does not know becomes every one, and a stop is heard wherever its person was known when they said it, until the sources
//! have told again what the backup lacks.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use onefold_core::consent::stops::{StandsOn, Stop};
use onefold_core::consent::{Decision, Subject as About};
use onefold_core::decision::{self, EntryKind};
use onefold_core::erasure::ErasurePlan;
use onefold_core::fragment::ObservedAt;
use onefold_core::ids::{Digest128, NamespaceId, Sequence, TenantId};
use onefold_store::journal::{JournalError, entry_room};
use onefold_store::stops::{StopLedger, StopRow};
use tokio::sync::oneshot;

use super::carry::{restrict_again, statement};
use crate::app::consent::Saying;
use crate::app::decide::Decided;
use crate::app::error::WriteError;
use crate::app::ingest::Item;
use crate::app::lane::{Lane, kind};
use crate::app::recover::StartError;
use crate::app::stops::{Follower, profile_at, together};
use crate::app::tenant::{LiveConfig, State, Tenant};

/// Statements that are said at once.
const AT_ONCE_MAX: usize = 512;
/// Bytes of one batch that says where stops are heard too.
const HEARD_BYTES_MAX: usize = 16 << 10;
/// Points of one statement for which it is said where they are heard too.
const POINTS_MAX: usize = 64;

/// Says again what the state does not know; how many. Doing it again is harmless.
fn say_again(lane: &mut Lane, tenant: &Arc<Tenant>, mut rows: Vec<StopRow>) -> Result<usize, StartError> {
    rows.sort_by_key(|row| row.sequence);
    let mut said = Said { ids: HashMap::new() };
    let unknown: Vec<StopRow> = {
        let state = tenant.state();
        let (known, unknown) = rows.into_iter().partition(|row| is_said(&state, row));
        let known: Vec<StopRow> = known;
        said.ids.extend(known.iter().map(|row| (row.sequence, row.sequence)));
        unknown
    };
    let mut rest = unknown.as_slice();
    while let Some(first) = rest.first() {
        let alone = |row: &StopRow| row.stop.upon_request || row.stop.ends.is_some();
        let count = if alone(first) { 1 } else { rest.iter().take(AT_ONCE_MAX).take_while(|row| !alone(row)).count() };
        let (now, later) = rest.split_at(count);
        said.say(lane, tenant, now)?;
        rest = later;
    }
    hear_elsewhere(lane, tenant, &unknown)?;
    Ok(unknown.len())
}

/// Says again, without a word of it, what an erasure takes along and others have a part in: what was denied at records of others while
/// these were the person's goes with the version that it came with; a no at a record that was taken back is heard at identifiers
/// that somebody else holds. False when the disk is full. Doing it again is harmless.
///
/// # Errors
/// [`JournalError`].
pub fn reword(lane: &mut Lane, tenant: &Arc<Tenant>, plan: &ErasurePlan) -> Result<bool, JournalError> {
    let mut stands: Vec<StandsOn> = Vec::new();
    let sayings: Vec<Saying> = {
        let state = tenant.state();
        let now = lane.shared.clock.now();
        let ledger = &state.consent.ledger;
        let of_others: HashSet<Digest128> = plan.former.iter().map(|key| key.record).collect();
        let records = plan.records.iter().map(|record| record.digest).chain(plan.held_records.iter().copied());
        let values = plan.suppressed.iter().map(|value| value.digest);
        let theirs: HashSet<Digest128> =
            records.chain(values).chain(plan.siblings.iter().map(|(_, digest)| *digest)).collect();
        // One that stays at others' points is heard no more where the erased person's alone led to.
        let all = plan.statements.iter().map(|id| (id, true)).chain(plan.statements_kept.iter().map(|id| (id, false)));
        let all = all.filter_map(|(id, goes)| Some((ledger.get(*id)?, goes)));
        let denied = all.filter(|(entry, _)| {
            let denies = entry.decision.is_stop() || entry.decision.is_hold();
            denies && !entry.ends_one && entry.confirmed_by.is_none()
        });
        let mut sayings = Vec::new();
        for (entry, goes) in denied {
            let points = ledger.points_of(entry.id);
            let mut say = |points: Vec<Digest128>| {
                let profile = points.first().and_then(|point| profile_at(&state, *point));
                let about = profile.map_or(About::Identifier { namespace: NamespaceId(0), raw: None }, About::Profile);
                let how = ("said again without its words", format!("statement/{}", entry.id.0));
                let mut said = statement((about, points), entry.decision, entry.purpose, how, now);
                (said.channel, said.given_at, said.jurisdiction) = (entry.channel, entry.given_at, entry.jurisdiction);
                sayings.push(Saying { pinned: true, restored: true, ..Saying::new(said, tenant) });
            };
            let is_at_record = |point: &&Digest128| goes && of_others.contains(*point) && !theirs.contains(*point);
            let at_record: Vec<Digest128> = points.iter().filter(is_at_record).copied().collect();
            if !at_record.is_empty() {
                say(at_record);
            }
            let leads = points.iter().filter(|point| theirs.contains(point));
            let heard = leads.flat_map(|point| ledger.heard_elsewhere(*point));
            let is_others = |point: &Digest128| {
                !theirs.contains(point) && !points.contains(point) && profile_at(&state, *point).is_some()
            };
            let heard_at: BTreeSet<Digest128> = heard.filter(is_others).collect();
            if !heard_at.is_empty() {
                // Heard there, and not said there: a yes at that very identifier answers what is said at it, whatever is older.
                let apart = [b"said again", entry.id.0.to_le_bytes().as_slice()].concat();
                let point = Digest128::of(&blake3::keyed_hash(&tenant.keys.index, &apart));
                say(vec![point]);
                stands.push(StandsOn { point, heard_at: heard_at.into_iter().collect(), of: None });
            }
        }
        sayings
    };
    if sayings.is_empty() {
        return Ok(true);
    }
    let (reply, mut answer) = oneshot::channel();
    let items = sayings.into_iter().map(|saying| Item::Say(Box::new(saying))).collect();
    lane.ingest_in_pieces(tenant, items, None, reply)?;
    lane.drain()?;
    Ok(matches!(answer.try_recv(), Ok(Ok(_))) && stand_on(lane, tenant, stands)?)
}

/// Says again what a restore left to be said, before anything is served. What was said in a tenant that this backup does not
/// know, a later one may: the ledger goes on telling of it.
///
/// # Errors
/// [`StartError`]: what was denied must hold then.
pub fn after_restore(lane: &mut Lane, follower: &mut Follower) -> Result<(), StartError> {
    let data = lane.shared.dir.path().to_owned();
    let mut of_tenants: HashMap<TenantId, Vec<StopRow>> = HashMap::new();
    for row in StopLedger::pending(&data)? {
        of_tenants.entry(row.tenant).or_default().push(row);
    }
    for tenant in lane.shared.tenants() {
        if let Some(rows) = of_tenants.remove(&tenant.id) {
            let count = say_again(lane, &tenant, rows)?;
            tracing::info!(tenant = %tenant.name, count, "what was denied since the backup was said again");
        }
    }
    follower.keep(&of_tenants.into_values().flatten().collect::<Vec<_>>())?;
    Ok(StopLedger::pending_done(&data)?)
}

/// Whether the log holds this very statement.
pub fn is_said(state: &State, row: &StopRow) -> bool {
    let of = |stop: &Stop| (stop.decision, stop.given_at, stop.recorded_at);
    let held = state.consent.ledger.get(row.sequence);
    held.is_some_and(|entry| (entry.decision, entry.given_at, entry.recorded_at) == of(&row.stop))
}

/// Under which ids statements are known now, by those that they had.
struct Said {
    ids: HashMap<Sequence, Sequence>,
}

impl Said {
    fn say(&mut self, lane: &mut Lane, tenant: &Arc<Tenant>, rows: &[StopRow]) -> Result<(), StartError> {
        let made: Vec<(Sequence, Saying)> = {
            let (state, config) = (tenant.state(), tenant.config());
            let now = lane.shared.clock.now();
            rows.iter()
                .filter_map(|row| Some((row.sequence, self.saying((&state, &config), tenant, row, now)?)))
                .collect()
        };
        let contents: Vec<(Sequence, Digest128)> =
            made.iter().map(|(before, saying)| (*before, saying.content)).collect();
        let known = |content: Digest128| tenant.state().consent.ledger.known(content);
        let mut sayings = made.into_iter().map(|(_, saying)| saying);
        if rows.iter().any(|row| row.stop.upon_request) {
            // One at a time. Its batch is whole or not there: a restriction that is known has its request.
            if let Some(saying) = sayings.next().filter(|saying| known(saying.content).is_none()) {
                let (reply, answer) = oneshot::channel();
                restrict_again(lane, tenant, saying, reply)?;
                told(lane, answer)?;
            }
        } else {
            let items = sayings.map(|saying| Item::Say(Box::new(saying))).collect();
            let (reply, answer) = oneshot::channel();
            lane.ingest_in_pieces(tenant, items, None, reply)?;
            told(lane, answer)?;
        }
        for (before, content) in contents {
            let now = known(content).ok_or_else(|| {
                StartError::Replay(
                    "what was denied since the backup cannot be said again: the ledger is full".to_owned(),
                )
            })?;
            self.ids.insert(before, now);
        }
        Ok(())
    }

    /// The statement of a row. None when it ends what is not in force here.
    fn saying(
        &self,
        (state, config): (&State, &LiveConfig),
        tenant: &Tenant,
        row: &StopRow,
        now: ObservedAt,
    ) -> Option<Saying> {
        let stop = &row.stop;
        let policy = &config.config.consent;
        let purpose = stop.purpose.as_ref().map(|name| policy.purposes.iter().find(|purpose| purpose.name == *name));
        let channel = stop.channel.as_ref().map(|name| policy.channels.iter().find(|channel| channel.name == *name));
        if stop.decision == Decision::Released && (purpose == Some(None) || channel == Some(None)) {
            // What it released was said of every purpose, or channel, just now: it stays.
            return None;
        }
        let confirms = match stop.ends {
            Some(restriction) => Some(*self.ids.get(&restriction)?),
            None => None,
        };
        let how = ("said again after a restore", format!("ledger-of-stops/{}", row.sequence.0));
        let about = about(state, stop);
        let mut said = statement((about, stop.points.clone()), stop.decision, None, how, now);
        said.purpose = purpose.flatten().map(|purpose| purpose.id);
        said.channel = channel.flatten().map(|channel| channel.id);
        said.given_at = stop.given_at;
        said.jurisdiction = stop.jurisdiction;
        said.confirms = confirms;
        Some(Saying { pinned: true, restored: true, ..Saying::new(said, tenant) })
    }
}

/// What came of it, once it is durable.
fn told<T>(lane: &Lane, mut answer: oneshot::Receiver<Result<T, WriteError>>) -> Result<(), StartError> {
    lane.drain()?;
    match answer.try_recv() {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(WriteError::DiskFull)) => Err(JournalError::NoSpace.into()),
        Ok(Err(error)) => {
            Err(StartError::Replay(format!("what was denied since the backup cannot be said again: {error}")))
        }
        Err(_) => Err(JournalError::Poisoned.into()),
    }
}

/// Whom it is about, as far as that is known here.
fn about(state: &State, stop: &Stop) -> About {
    let profile = stop.points.iter().find_map(|point| profile_at(state, *point));
    match profile {
        Some(profile) if !stop.by_identifier => About::Profile(profile),
        _ => {
            let members = profile.map(|profile| state.engine.members(profile)).unwrap_or_default();
            let values = members.iter().flat_map(|member| state.engine.links_of(member.digest));
            let named = values.into_iter().find(|value| stop.points.contains(&value.digest));
            About::Identifier { namespace: named.map_or(NamespaceId(0), |value| value.namespace), raw: None }
        }
    }
}

/// Says where stops are heard beside their points, because the backup knows less of these people.
fn hear_elsewhere(lane: &mut Lane, tenant: &Arc<Tenant>, rows: &[StopRow]) -> Result<(), StartError> {
    let more: Vec<StandsOn> = {
        let state = tenant.state();
        let mut more = Vec::new();
        for row in rows {
            for point in row.stop.points.iter().take(POINTS_MAX) {
                let heard_at = row.stop.out_of_reach(&together(&state, *point));
                if !heard_at.is_empty() {
                    more.push(StandsOn { point: *point, heard_at, of: None });
                }
            }
        }
        more
    };
    if stand_on(lane, tenant, more)? { Ok(()) } else { Err(JournalError::NoSpace.into()) }
}

/// Says where stops are heard beside the points at which they were said. False when the disk is full.
fn stand_on(lane: &mut Lane, tenant: &Arc<Tenant>, more: Vec<StandsOn>) -> Result<bool, JournalError> {
    let mut more = more.into_iter().peekable();
    while more.peek().is_some() {
        let (mut payloads, mut room, mut stands) = (Vec::new(), 0, Vec::new());
        while let Some(one) = more.next_if(|_| room < HEARD_BYTES_MAX) {
            let payload = decision::encode(&one);
            room += entry_room(payload.len());
            payloads.push(payload);
            stands.push(one);
        }
        let Some(mut group) = lane.begin(room + lane.settled_room())? else { return Ok(false) };
        let mut sequence = tenant.state().sequence;
        for payload in payloads {
            sequence = sequence.next();
            group.builder.push(tenant.id, sequence, kind(EntryKind::StopsStandOn), |_, out| {
                out.extend_from_slice(&payload);
            })?;
        }
        let group = lane.settle(tenant, group, Decided::standing_on(stands, sequence))?;
        lane.commit(group)?;
    }
    lane.drain()?;
    Ok(true)
}
