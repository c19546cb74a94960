//! Law 6 as algebra: what statements say together.
//!
//! For one purpose and channel, [`Voices`] keeps of every point the newest of each kind of word. Joining two of them is
//! associative, commutative and idempotent, so neither order of arrival nor the way clusters were merged shows; the
//! verdict on the join can only become stricter by a merge.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::consent::{ChannelId, Decision, PurposeId};
use crate::fragment::ObservedAt;
use crate::ids::{Digest128, Sequence};

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// For this purpose.
    pub purpose: PurposeId,
    /// Over this channel; `None` asks for what was said of every channel.
    pub channel: Option<ChannelId>,
    /// The moment at which expiry is judged.
    pub at: ObservedAt,
    /// Only what had been said by then; `None` takes everything, for a decision of today.
    pub said_by: Option<ObservedAt>,
    /// Only what had been recorded by then.
    pub known_by: Option<ObservedAt>,
}

impl Question {
    /// As it stands now: everything that is known counts.
    #[must_use]
    pub const fn now(purpose: PurposeId, channel: Option<ChannelId>, at: ObservedAt) -> Self {
        Self { purpose, channel, at, said_by: None, known_by: None }
    }
}

/// One word at one point. Later beats earlier; at one moment the stricter word, then the later entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Said {
    /// When it counts from.
    pub at: ObservedAt,
    /// What.
    pub word: Decision,
    /// Which statement.
    pub statement: Sequence,
}

/// The newest of each kind of word at one point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Voice {
    /// Denied, withdrawn or objected.
    pub stop: Option<Said>,
    /// Granted and in force.
    pub grant: Option<Said>,
    /// Granted once, and expired.
    pub expired: Option<Said>,
    /// Waits for confirmation.
    pub pending: Option<Said>,
    /// Suppressed.
    pub suppressed: Option<Said>,
    /// Restricted.
    pub restricted: Option<Said>,
    /// Restricted upon the person's request: no plain word releases it.
    pub bound: Option<Said>,
    /// Released.
    pub released: Option<Said>,
    /// Lifts stops of this point and grants nothing: a yes of a record that was retracted since.
    pub lifted: Option<Said>,
}

impl Voice {
    /// The stop, unless a newer grant of this very point lifts it.
    #[must_use]
    pub fn stop_in_force(&self) -> Option<Said> {
        let lifts = self.grant.max(self.lifted);
        self.stop.filter(|stop| lifts.is_none_or(|lift| lift.at <= stop.at))
    }

    fn holds_in_force(&self) -> impl Iterator<Item = Said> {
        let released = self.released;
        let in_force = move |hold: &Said| released.is_none_or(|released| released.at <= hold.at);
        self.suppressed.into_iter().chain(self.restricted).filter(in_force).chain(self.bound)
    }

    fn join(&mut self, other: &Self) {
        // `None` is the least, so the greater of two options is the newer word.
        self.stop = self.stop.max(other.stop);
        self.grant = self.grant.max(other.grant);
        self.expired = self.expired.max(other.expired);
        self.pending = self.pending.max(other.pending);
        self.suppressed = self.suppressed.max(other.suppressed);
        self.restricted = self.restricted.max(other.restricted);
        self.bound = self.bound.max(other.bound);
        self.released = self.released.max(other.released);
        self.lifted = self.lifted.max(other.lifted);
    }
}

/// What was said at each point, for one question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Voices {
    points: BTreeMap<Digest128, Voice>,
}

/// What holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum State {
    /// Nobody said anything. Not granted.
    Unknown,
    /// A yes has run out. Not granted.
    Expired,
    /// Waits for confirmation. Not granted.
    Pending,
    /// Yes.
    Granted,
    /// No, when asked.
    Denied,
    /// No, after a yes.
    Withdrawn,
    /// No to a use that needed no yes.
    Objected,
}

impl State {
    /// Whether a stop is in force.
    #[must_use]
    pub const fn is_stopped(self) -> bool {
        matches!(self, Self::Denied | Self::Withdrawn | Self::Objected)
    }

    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Expired => "EXPIRED",
            Self::Pending => "PENDING",
            Self::Granted => "GRANTED",
            Self::Denied => "DENIED",
            Self::Withdrawn => "WITHDRAWN",
            Self::Objected => "OBJECTED",
        }
    }
}

/// The effective state, with its evidence (law 8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// What holds.
    pub state: State,
    /// The statements that decided it, in order of recording.
    pub decided_by: Vec<Sequence>,
    /// Suppressions in force.
    pub suppressed_by: Vec<Sequence>,
    /// Restrictions in force.
    pub restricted_by: Vec<Sequence>,
}

impl Effective {
    /// Whether a stop or a hold is in force.
    #[must_use]
    pub fn forbids(&self) -> bool {
        self.state.is_stopped() || !(self.suppressed_by.is_empty() && self.restricted_by.is_empty())
    }
}

impl Voices {
    /// Adds one word at one point.
    pub fn hear(&mut self, point: Digest128, said: Said, live: bool) {
        let mut voice = Voice::default();
        let place = match said.word {
            Decision::Denied | Decision::Withdrawn | Decision::Objected => &mut voice.stop,
            Decision::Granted if live => &mut voice.grant,
            Decision::Granted => &mut voice.expired,
            Decision::Pending if live => &mut voice.pending,
            Decision::Pending => &mut voice.expired,
            Decision::Suppressed => &mut voice.suppressed,
            Decision::Restricted => &mut voice.restricted,
            Decision::Released => &mut voice.released,
        };
        *place = Some(said);
        self.points.entry(point).or_default().join(&voice);
    }

    /// Adds a yes that lifts the stops of its point, while it is in force, and grants nothing.
    pub fn lift(&mut self, point: Digest128, said: Said, live: bool) {
        if live {
            let voice = Voice { lifted: Some(said), ..Voice::default() };
            self.points.entry(point).or_default().join(&voice);
        }
    }

    /// Adds a restriction that was carried out upon the person's request, and is in force: only the word that was made for
    /// it ends it.
    pub fn bind(&mut self, point: Digest128, said: Said) {
        let voice = Voice { bound: Some(said), ..Voice::default() };
        self.points.entry(point).or_default().join(&voice);
    }

    /// The join: what both say.
    #[must_use]
    pub fn join(mut self, other: &Self) -> Self {
        for (point, voice) in &other.points {
            self.points.entry(*point).or_default().join(voice);
        }
        self
    }

    /// The newest stop in force.
    #[must_use]
    pub fn newest_stop(&self) -> Option<Said> {
        self.points.values().filter_map(Voice::stop_in_force).max()
    }

    /// What it comes to. LAW 6: any stop in force wins; then any grant; unknown is not granted.
    #[must_use]
    pub fn effective(&self) -> Effective {
        let voices = || self.points.values();
        let holds = |word: Decision| {
            sorted(voices().flat_map(Voice::holds_in_force).filter(|said| said.word == word).map(|said| said.statement))
        };
        let stops: Vec<Said> = voices().filter_map(Voice::stop_in_force).collect();
        let newest = |of: fn(&Voice) -> Option<Said>| voices().filter_map(of).max();
        let all = |of: fn(&Voice) -> Option<Said>| sorted(voices().filter_map(of).map(|said| said.statement));
        let (state, decided_by) = if let Some(newest) = stops.iter().max() {
            let state = match newest.word {
                Decision::Denied => State::Denied,
                Decision::Objected => State::Objected,
                _ => State::Withdrawn,
            };
            (state, sorted(stops.iter().map(|stop| stop.statement)))
        } else if newest(|voice| voice.grant).is_some() {
            (State::Granted, all(|voice| voice.grant))
        } else if newest(|voice| voice.pending).is_some() {
            (State::Pending, all(|voice| voice.pending))
        } else if newest(|voice| voice.expired).is_some() {
            (State::Expired, all(|voice| voice.expired))
        } else {
            (State::Unknown, Vec::new())
        };
        Effective {
            state,
            decided_by,
            suppressed_by: holds(Decision::Suppressed),
            restricted_by: holds(Decision::Restricted),
        }
    }
}

fn sorted(statements: impl Iterator<Item = Sequence>) -> Vec<Sequence> {
    let mut all: Vec<Sequence> = statements.collect();
    all.sort_unstable();
    all.dedup();
    all
}
