//! What becomes of statements.

use onefold_core::consent::state::{Question, Said as Heard};
use onefold_core::consent::{Decision, Statement, Subject};
use onefold_core::decision::{self, EntryKind};
use onefold_core::fault::{FaultReason, FieldFault};
use onefold_core::fragment::ObservedAt;
use onefold_core::ids::{Digest128, Sequence};
use onefold_core::limits;
use onefold_store::journal::JournalError;

use super::decided::Effect;
use super::{Deciding, Drafted};
use crate::app::consent::{Said, Saying};
use crate::app::ingest::Outcome;

/// A link that is followed again within this time says nothing new.
const SAME_CLICK_MICROS: i64 = 60 * 1_000_000;

impl Deciding<'_> {
    /// Records the statements that came with a fragment of a record. What was answered of the fragment holds for them too.
    pub(super) fn say_all(
        &mut self,
        mut says: Vec<Saying>,
        record: Digest128,
        drafted: Drafted,
    ) -> Result<Drafted, JournalError> {
        if matches!(drafted.outcome, Outcome::Suppressed { .. }) {
            self.keep_stops_of_others(&mut says, record);
        }
        self.say_each(says, drafted)
    }

    /// What came with something that was erased is of the same person, and is not kept (law 7). But a record that is live is
    /// somebody else's: an erased person's address stands in it by mistake. A no that is said at it, at what it holds, or at an
    /// address that somebody has, is theirs (law 6).
    fn keep_stops_of_others(&self, says: &mut Vec<Saying>, record: Digest128) {
        if says.is_empty() {
            return;
        }
        let is_live = self.known(record).is_some_and(|(version, _)| !version.retracted);
        let holds = self.links.get(&record).cloned().unwrap_or_else(|| self.state.engine.links_of(record));
        let is_theirs = |point: &Digest128| {
            let own = *point == record || holds.iter().any(|value| value.digest == *point);
            (is_live && own) || !self.state.engine.profiles_at(*point).is_empty()
        };
        says.retain(|Saying { statement, .. }| {
            let denies = statement.decision.is_stop() || statement.decision.is_hold();
            denies && statement.points.iter().any(is_theirs)
        });
    }

    /// Records these statements, whatever became of what they came with.
    pub(super) fn say_each(&mut self, says: Vec<Saying>, mut drafted: Drafted) -> Result<Drafted, JournalError> {
        if says.is_empty() {
            return Ok(drafted);
        }
        for saying in says {
            self.say(saying)?;
        }
        if let Outcome::Accepted { sequence, .. }
        | Outcome::Duplicate { sequence, .. }
        | Outcome::Superseded { sequence, .. }
        | Outcome::Suppressed { sequence }
        | Outcome::Quarantined { sequence, .. } = &mut drafted.outcome
        {
            *sequence = self.sequence;
        }
        Ok(drafted)
    }

    /// Records a statement, once.
    pub(super) fn say(&mut self, saying: Saying) -> Result<Outcome, JournalError> {
        let Saying { mut statement, content, records_max, pinned, once, restored } = saying;
        let ledger = &self.state.consent.ledger;
        let known = |statement| Outcome::Said { sequence: self.sequence, statement, known: true };
        if let Some(id) = self.said.known(content).or_else(|| ledger.known(content)) {
            return Ok(known(id));
        }
        let refuse = |path: &str, reason, message: &str| {
            Ok(Outcome::Rejected { faults: vec![FieldFault::new(path, reason, message)] })
        };
        if let Some(request) = self.stops(&statement).filter(|_| !restored) {
            return Ok(self.stopped(request).outcome);
        }
        if ledger.len() + self.said.len() >= limits::STATEMENTS_MAX {
            let message = format!("the ledger holds {} statements, the most there may be", limits::STATEMENTS_MAX);
            return refuse("", FaultReason::TooLarge, &message);
        }
        // A word that ends a restriction names it too, and was checked by who says it.
        if let Some(pending) = statement.confirms.filter(|_| statement.decision != Decision::Released) {
            match self.confirmable(pending, statement.given_at) {
                Ok(None) => {}
                Ok(Some(confirmed_by)) => return Ok(known(confirmed_by)),
                Err(why) => return refuse("token", FaultReason::Unknown, why),
            }
        }
        if once {
            let purposes = self.config.config.consent.purposes.iter().map(|purpose| purpose.id);
            let asked = purposes.filter(|purpose| statement.purpose.is_none_or(|only| only == *purpose));
            let stop = |purpose| {
                let question = Question::now(purpose, statement.channel, statement.given_at);
                ledger.stop_at(&self.said, &statement.points, &question)
            };
            let stops: Option<Vec<_>> = asked.map(stop).collect();
            // LAW 6: a no of long ago does not stand for one of today: a yes from in between may still be on its way, and
            // would lift the old one only. Nor does one that a record brings here, which may go elsewhere.
            let since = statement.given_at.0.saturating_sub(SAME_CLICK_MICROS);
            let settled = self.overlay.is_empty();
            let fresh = |stops: &Vec<Heard>| settled && stops.iter().all(|stop| stop.at.0 >= since);
            if let Some(newest) = stops.filter(fresh).and_then(|stops| stops.into_iter().max()) {
                return Ok(known(newest.statement));
            }
        }
        match &statement.subject {
            Subject::Profile(profile) if !pinned => {
                let ends = self.state.engine.live_ends(*profile);
                let members: Vec<_> = ends.iter().flat_map(|profile| self.state.engine.members(*profile)).collect();
                // A no to a profile that was split since is a no to each part; a yes is a yes to neither.
                let unclear = ends.len() > 1 && !(statement.decision.is_stop() || statement.decision.is_hold());
                if members.is_empty() || members.len() > records_max || unclear {
                    let message =
                        "is not there any more, or grew while this was on its way; look it up and say it again";
                    return refuse("subject.profile", FaultReason::Unknown, message);
                }
                statement.points = members.iter().map(|member| member.digest).collect();
            }
            Subject::Profile(_) | Subject::Record(_) | Subject::Identifier { .. } => {}
        }
        // LAW 6: a stop whose time our own clock gave is later than every yes that was told before it, also when the clock
        // was set back meanwhile, or the two came through different doors in one moment and share this group.
        let stops = statement.decision.is_stop() || statement.decision.is_hold();
        if stops && statement.given_at >= statement.recorded_at {
            let newest = self.state.consent.ledger.newest_lift_at(&self.said, &statement.points);
            statement.given_at = statement.given_at.max(newest.unwrap_or(statement.given_at));
        }
        let plain = decision::encode(&statement);
        let of = if statement.undated { EntryKind::StatementUndated } else { EntryKind::StatementRecorded };
        // Under a key of its own: what a record says may be erased as somebody else's, and a no that was said of it stands.
        let (sequence, place, slot) = self.seal(of, None, false, &plain)?;
        let said = Said::of(statement, sequence, place, slot, &self.tenant.keys);
        self.said.record(said.entry, &said.points, content);
        if let Some(confirms) = said.confirms {
            self.confirmed.insert(confirms, sequence);
        }
        self.effects.push(Effect::Hear(Box::new(said)));
        Ok(Outcome::Said { sequence, statement: sequence, known: false })
    }

    /// LAW 7: the request that a statement is stopped by: somebody at its points was erased.
    pub(super) fn stops(&self, statement: &Statement) -> Option<Sequence> {
        let plain = match &statement.subject {
            Subject::Identifier { namespace, raw: Some(raw) } => self.config.preparer().plain_points(*namespace, raw),
            _ => Vec::new(),
        };
        self.state.privacy.stops(statement.points.iter().copied().chain(plain))
    }

    /// Whether a pending statement may be confirmed now: `Ok(Some(..))` when it was already.
    fn confirmable(&self, pending: Sequence, now: ObservedAt) -> Result<Option<Sequence>, &'static str> {
        let ledger = &self.state.consent.ledger;
        let Some(entry) = ledger.get(pending).filter(|entry| entry.decision == Decision::Pending) else {
            return Err("is of no statement that waits for confirmation");
        };
        if let Some(by) = entry.confirmed_by.or_else(|| self.confirmed.get(&pending).copied()) {
            return Ok(Some(by));
        }
        let days = i64::from(self.config.config.consent.confirm_within_days);
        if now.0 > entry.recorded_at.0.saturating_add(days * 24 * 60 * 60 * 1_000_000) {
            return Err("came too late: ask for consent again");
        }
        let Some(purpose) = entry.purpose else { return Err("is of no purpose") };
        // A no that came after the question is the last word: a link in an old message does not undo it.
        let question = Question::now(purpose, entry.channel, now);
        let asked_at = if entry.undated { entry.recorded_at } else { entry.counts_from() };
        match ledger.stop_at(&self.said, ledger.points_of(pending), &question) {
            Some(stop) if stop.at >= asked_at => Err("is of a question that was answered with no since"),
            _ => Ok(None),
        }
    }
}
