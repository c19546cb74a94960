//! Contacts counted, in the lane: decided and charged as one, durable before they are told.

use std::sync::Arc;

use onefold_core::consent::contact::Reason;
use onefold_core::consent::reserve::{CannotSettle, Reservation, Standing};
use onefold_core::decision::{self, ContactReserved, EntryKind, ReservationSettled};
use onefold_core::fragment::ObservedAt;
use onefold_core::ids::Sequence;
use onefold_core::limits;
use onefold_store::journal::{JournalError, entry_room};
use serde::Serialize;
use tokio::sync::oneshot;

use super::contact::{Ask, Found, Verdict, evaluate};
use crate::app::App;
use crate::app::error::WriteError;
use crate::app::lane::{Command, Group, Lane, Next, SETTLED_ROOM, kind};
use crate::app::requests::{RequestKey, known, remember, room_to_remember};
use crate::app::tenant::Tenant;
use crate::app::writer::{Commit, Reply};
use crate::clock::Stopwatch;

/// Time as it passed while the server ran. What was counted is forgotten by this: a clock that leaps ahead and is set back
/// must not have made the lane forget contacts that count again.
#[derive(Debug)]
pub(in crate::app) struct Passing {
    since: ObservedAt,
    stopwatch: Stopwatch,
}

impl Passing {
    /// From the last time that was counted by; a server that was down catches up when it is started again.
    fn from(tenant: &Tenant, now: ObservedAt) -> Self {
        let latest = tenant.state().consent.reservations.latest();
        Self { since: latest.map_or(now, |latest| latest.min(now)), stopwatch: Stopwatch::start() }
    }

    /// The clock's time, but no later than time can have passed.
    fn at_most(&self, now: ObservedAt) -> ObservedAt {
        let passed = i64::try_from(self.stopwatch.elapsed().as_micros()).unwrap_or(i64::MAX);
        now.min(ObservedAt(self.since.0.saturating_add(passed)))
    }
}

/// Commands that share a batch at most.
const WORKS_MAX: usize = 1_024;
/// Bytes of a batch; few in tests, so that they see batches fill.
const BATCH_BYTES: usize = if cfg!(test) { 8 << 10 } else { SETTLED_ROOM };
/// Bytes of what became of a reservation, at most.
const SETTLED_BYTES: usize = 32;

/// What the lane does about contacts.
pub enum Work {
    /// Decide and count.
    Reserve {
        /// Whose.
        tenant: Arc<Tenant>,
        /// What is asked, and what was found.
        asks: Vec<(Ask, Found)>,
        /// The call's name, where its caller gave it one.
        request: Option<RequestKey>,
        /// One each; `None` when the profile changed meanwhile.
        reply: oneshot::Sender<Result<Vec<Option<Verdict>>, WriteError>>,
    },
    /// Confirm or release.
    Settle {
        /// Whose.
        tenant: Arc<Tenant>,
        /// Which.
        reservation: Sequence,
        /// What became of it.
        to: Standing,
        /// The call's name, where its caller gave it one.
        request: Option<RequestKey>,
        /// Whether it was possible.
        reply: oneshot::Sender<Result<Result<(), CannotSettle>, WriteError>>,
    },
}

impl Work {
    /// Answers that the disk has no room.
    pub(in crate::app) fn refuse(self) {
        match self {
            Self::Reserve { reply, .. } => drop(reply.send(Err(WriteError::DiskFull))),
            Self::Settle { reply, .. } => drop(reply.send(Err(WriteError::DiskFull))),
        }
    }
}

/// Does this work and what of its kind waits behind it. Gives back the command that waits behind those.
pub(in crate::app) fn run(lane: &mut Lane, first: Work) -> Result<Option<Command>, JournalError> {
    let mut works = vec![first];
    let mut after = None;
    while works.len() < WORKS_MAX {
        match lane.next_if(|next| matches!(next, Command::Contact(_))) {
            Next::Wanted(Command::Contact(work)) => works.push(*work),
            Next::Wanted(_) | Next::Nothing => break,
            Next::Other(other) => {
                after = Some(other);
                break;
            }
        }
    }
    let mut group = lane.begin(BATCH_BYTES)?;
    for work in works {
        match work {
            Work::Reserve { tenant, asks, request, reply } => {
                match known::<Verdict>(&tenant, request) {
                    Some(Ok(verdict)) => {
                        let verdict = as_of_now(&tenant, lane.shared.clock.now(), &asks, verdict);
                        give(lane, &mut group, &tenant, reply, Ok(vec![verdict]))?;
                        continue;
                    }
                    Some(Err(error)) => {
                        drop(reply.send(Err(error)));
                        continue;
                    }
                    None => {}
                }
                let verdicts = reserve(lane, &mut group, &tenant, &asks, request)?;
                if let [Some(verdict)] = verdicts.as_slice()
                    && verdict.reservation.is_none()
                {
                    note(lane, &mut group, &tenant, request, verdict)?;
                }
                give(lane, &mut group, &tenant, reply, Ok(verdicts))?;
            }
            Work::Settle { tenant, reservation, to, request, reply } => {
                match known::<()>(&tenant, request) {
                    Some(Ok(())) => {
                        give(lane, &mut group, &tenant, reply, Ok(Ok(())))?;
                        continue;
                    }
                    Some(Err(error)) => {
                        drop(reply.send(Err(error)));
                        continue;
                    }
                    None => {}
                }
                let settled = settle(lane, &mut group, &tenant, (reservation, to), request)?;
                give(lane, &mut group, &tenant, reply, settled)?;
            }
        }
    }
    if let Some(group) = group {
        lane.commit(group)?;
    }
    Ok(after)
}

/// The first answer to a named call, as far as it still may be told. LAW 6: a contact that was allowed and is forbidden since is
/// not allowed again because its call is repeated; it stays reserved, for its caller to release. It is counted already, so no
/// cap is asked. `None` when the profile changed meanwhile.
fn as_of_now(tenant: &Tenant, now: ObservedAt, asks: &[(Ask, Found)], verdict: Verdict) -> Option<Verdict> {
    let [(ask, found)] = asks else { return Some(verdict) };
    if !verdict.allows() {
        return Some(verdict);
    }
    let (mut today, _) = evaluate(&tenant.state(), &tenant.config(), ask, found, now).ok()?;
    today.reasons.retain(|reason| !(reason.allows() || matches!(reason, Reason::CapReached { .. })));
    if today.reasons.is_empty() {
        return Some(verdict);
    }
    Some(Verdict { reservation: verdict.reservation, ..today })
}

/// Notes the answer to a named call that did nothing. What a call did stands in one batch with its answer.
fn note(
    lane: &mut Lane,
    group: &mut Option<Group>,
    tenant: &Arc<Tenant>,
    request: Option<RequestKey>,
    answer: &impl Serialize,
) -> Result<(), JournalError> {
    let room = room_to_remember(request, answer);
    if room > 0
        && has_room(lane, group, room)?
        && let Some(group) = group.as_mut()
    {
        remember(lane, tenant, request, answer, group)?;
    }
    Ok(())
}

/// Answers behind everything that was decided before.
fn give<T: Send + 'static>(
    lane: &Lane,
    group: &mut Option<Group>,
    tenant: &Arc<Tenant>,
    reply: oneshot::Sender<Result<T, WriteError>>,
    answer: Result<T, WriteError>,
) -> Result<(), JournalError> {
    let end = tenant.state().sequence;
    let told = move |written: Result<(), WriteError>| drop(reply.send(written.and(answer)));
    let (published, told) = ((Arc::clone(tenant), end), Reply::Then(Box::new(told)));
    let behind = |commit: &mut Commit| {
        commit.published.push(published);
        commit.replies.push(told);
    };
    match group {
        Some(group) => behind(&mut group.commit),
        // The disk is full; what was written before it was is on its way.
        None => {
            let mut commit = Commit::default();
            behind(&mut commit);
            lane.hand_on(commit)?;
        }
    }
    Ok(())
}

/// Makes sure that the batch has room; begins another where it is full. False when the disk is full.
fn has_room(lane: &mut Lane, group: &mut Option<Group>, bytes: usize) -> Result<bool, JournalError> {
    let is_full = group.as_ref().is_some_and(|group| group.builder.bytes() + bytes > BATCH_BYTES);
    if is_full && let Some(full) = group.take() {
        lane.commit(full)?;
        *group = lane.begin(BATCH_BYTES.max(2 * bytes))?;
    }
    Ok(group.is_some())
}

/// Decides, and counts what is allowed. One ask of a call that has a name is counted in one batch with the answer: after a
/// crash the repeat finds both, or neither.
fn reserve(
    lane: &mut Lane,
    group: &mut Option<Group>,
    tenant: &Arc<Tenant>,
    asks: &[(Ask, Found)],
    request: Option<RequestKey>,
) -> Result<Vec<Option<Verdict>>, JournalError> {
    let request = request.filter(|_| asks.len() == 1);
    let config = tenant.config();
    let now = lane.shared.clock.now();
    let passed = lane.passing.entry(tenant.id).or_insert_with(|| Passing::from(tenant, now)).at_most(now);
    let waits = i64::from(config.config.consent.reservation_seconds) * 1_000_000;
    let mut verdicts = Vec::with_capacity(asks.len());
    for (ask, found) in asks {
        let evaluated = {
            let state = tenant.state();
            evaluate(&state, &config, ask, found, now).map(|found| (found, state.consent.reservations.len()))
        };
        let Ok(((mut verdict, charged), known)) = evaluated else {
            verdicts.push(None);
            continue;
        };
        if verdict.allows() && known >= limits::RESERVATIONS_MAX {
            tracing::error!("contacts are denied: the tenant has as many reservations as there may be");
            verdict.reasons = vec![Reason::Unavailable];
        }
        if verdict.allows() {
            let steady = tenant.state().consent.reservations.steady(now);
            let expires_at = ObservedAt(steady.0.saturating_add(waits));
            // No number takes more bytes than the greatest.
            verdict.reservation = Some((Sequence(u64::MAX), ObservedAt(i64::MAX)));
            let reservation = Reservation {
                purpose: ask.purpose,
                channel: ask.channel,
                at: ask.happens_at(now),
                expires_at,
                charged,
                standing: Standing::Open,
            };
            let payload = decision::encode(&ContactReserved { reservation: reservation.clone() });
            let room = entry_room(payload.len()) + room_to_remember(request, &verdict);
            let fits = has_room(lane, group, room)?;
            let Some(group) = group.as_mut().filter(|_| fits) else {
                verdicts.push(Some(Verdict::deny(Reason::Unavailable, Sequence(0), now)));
                continue;
            };
            let mut state = tenant.state_mut();
            let sequence = state.sequence.next();
            group.builder.push(tenant.id, sequence, kind(EntryKind::ContactReserved), |_, out| {
                out.extend_from_slice(&payload);
            })?;
            state.sequence = sequence;
            state.consent.reservations.reserve(sequence, reservation, steady);
            drop(state);
            verdict.reservation = Some((sequence, expires_at));
            verdict.seen = verdict.seen.max(sequence);
            remember(lane, tenant, request, &verdict, group)?;
        }
        verdicts.push(Some(verdict));
    }
    let past = i64::from(limits::CAP_WINDOW_SECONDS_MAX) + limits::CONTACT_AHEAD_SECONDS_MAX;
    tenant.state_mut().consent.reservations.forget_before(ObservedAt(passed.0.saturating_sub(past * 1_000_000)));
    Ok(verdicts)
}

fn settle(
    lane: &mut Lane,
    group: &mut Option<Group>,
    tenant: &Arc<Tenant>,
    (reservation, to): (Sequence, Standing),
    request: Option<RequestKey>,
) -> Result<Result<Result<(), CannotSettle>, WriteError>, JournalError> {
    let now = lane.shared.clock.now();
    let may = tenant.state().consent.reservations.may_settle(reservation, to, now);
    if may != Ok(true) {
        if may.is_ok() {
            note(lane, group, tenant, request, &())?;
        }
        return Ok(Ok(may.map(drop)));
    }
    let fits = has_room(lane, group, entry_room(SETTLED_BYTES) + room_to_remember(request, &()))?;
    let Some(group) = group.as_mut().filter(|_| fits) else { return Ok(Err(WriteError::DiskFull)) };
    let payload = decision::encode(&ReservationSettled { reservation, standing: to });
    let mut state = tenant.state_mut();
    let sequence = state.sequence.next();
    group.builder.push(tenant.id, sequence, kind(EntryKind::ReservationSettled), |_, out| {
        out.extend_from_slice(&payload);
    })?;
    state.sequence = sequence;
    state.consent.reservations.settle(reservation, to);
    drop(state);
    remember(lane, tenant, request, &(), group)?;
    Ok(Ok(Ok(())))
}

impl App {
    /// Sends decisions that reserve down the lane. What cannot be decided now stays without a verdict; what cannot be
    /// written is denied.
    pub(super) async fn reserve(
        &self,
        tenant: &Arc<Tenant>,
        asks: Vec<(usize, Ask, Found)>,
        request: Option<RequestKey>,
        verdicts: &mut [Option<Verdict>],
    ) -> Result<(), WriteError> {
        let places: Vec<usize> = asks.iter().map(|(at, ..)| *at).collect();
        let asks = asks.into_iter().map(|(_, ask, found)| (ask, found)).collect();
        let of = Arc::clone(tenant);
        let answered =
            self.ask(|reply| Command::Contact(Box::new(Work::Reserve { tenant: of, asks, request, reply }))).await;
        let now = self.now();
        match answered {
            Ok(answers) => {
                for (at, answer) in places.into_iter().zip(answers) {
                    verdicts[at] = answer;
                }
            }
            Err(WriteError::RequestIdReused) => return Err(WriteError::RequestIdReused),
            Err(_) => {
                for at in places {
                    verdicts[at] = Some(Verdict::deny(Reason::Unavailable, Sequence(0), now));
                }
            }
        }
        Ok(())
    }

    /// Confirms a reservation: the contact happened; or releases it: it will not. A call that its caller named is done
    /// once.
    ///
    /// # Errors
    /// [`WriteError`] when nothing was written; the inner error when it cannot be.
    pub async fn settle_reservation(
        &self,
        tenant: &Arc<Tenant>,
        reservation: Sequence,
        to: Standing,
        request: Option<RequestKey>,
    ) -> Result<Result<(), CannotSettle>, WriteError> {
        let tenant = Arc::clone(tenant);
        self.ask(|reply| Command::Contact(Box::new(Work::Settle { tenant, reservation, to, request, reply }))).await
    }
}

#[cfg(test)]
mod tests;
