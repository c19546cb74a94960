//! May we contact this person now: a pure function of what is known, with every reason.

use serde::{Deserialize, Serialize};

use crate::consent::policy::{Cap, CapScope, Channel, ConsentPolicy, Laws, Purpose, Regime};
use crate::consent::reserve::{Counted, Reservations, is_reached};
use crate::consent::state::{Effective, State};
use crate::consent::{ChannelId, PurposeId};
use crate::fragment::ObservedAt;
use crate::ids::{Digest128, Sequence};

/// One reason. An allowed contact has the reasons that allow it, a denied one all that forbid it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// The person said yes.
    Granted(Vec<Sequence>),
    /// Nobody said no, and the law that applies asks for no yes.
    OptOutRegime,
    /// The person said no.
    Stopped(State, Vec<Sequence>),
    /// Nobody said yes.
    NotGranted,
    /// A yes has run out.
    Expired(Vec<Sequence>),
    /// A yes waits for its confirmation.
    Pending(Vec<Sequence>),
    /// A contact point is suppressed.
    Suppressed(Vec<Sequence>),
    /// The person's data is kept and not used.
    Restricted(Vec<Sequence>),
    /// It is the wrong time of the day where the person is.
    QuietHours,
    /// The channel has quiet hours, and nobody knows what time it is where the person is.
    TimeZoneUnknown,
    /// There were enough contacts.
    CapReached {
        /// The name of the cap.
        cap: String,
        /// So many contacts.
        most: u32,
        /// In any span of so many seconds.
        window_seconds: u32,
        /// Whose contacts it counts.
        scope: CapScope,
    },
    /// The identifier is held by several persons.
    IdentifierShared,
    /// The profile is not there, or not one any more.
    ProfileGone,
    /// Something that is needed to decide cannot be read now.
    Unavailable,
}

impl Reason {
    /// Whether it allows.
    #[must_use]
    pub const fn allows(&self) -> bool {
        matches!(self, Self::Granted(_) | Self::OptOutRegime)
    }

    /// The name on the wire: a promise to clients, never renamed.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Granted(_) => "GRANTED",
            Self::OptOutRegime => "OPT_OUT_REGIME",
            Self::Stopped(state, _) => state.as_str(),
            Self::NotGranted => "NOT_GRANTED",
            Self::Expired(_) => "EXPIRED",
            Self::Pending(_) => "PENDING",
            Self::Suppressed(_) => "SUPPRESSED",
            Self::Restricted(_) => "RESTRICTED",
            Self::QuietHours => "QUIET_HOURS",
            Self::TimeZoneUnknown => "TIME_ZONE_UNKNOWN",
            Self::CapReached { .. } => "CAP_REACHED",
            Self::IdentifierShared => "IDENTIFIER_SHARED",
            Self::ProfileGone => "PROFILE_GONE",
            Self::Unavailable => "UNAVAILABLE",
        }
    }
}

/// What time it is where the person is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalTime {
    /// The minute of the day in each time zone that is known of the person.
    Minutes(Vec<u16>),
    /// No time zone is known.
    Unknown,
}

/// A contact that is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Contact<'a> {
    /// What for.
    pub purpose: &'a Purpose,
    /// Over which channel.
    pub channel: &'a Channel,
    /// When it is to happen.
    pub at: ObservedAt,
    /// When it is decided.
    pub now: ObservedAt,
}

impl Contact<'_> {
    /// The ordinals of purpose and channel.
    #[must_use]
    pub const fn kind(&self) -> (PurposeId, ChannelId) {
        (self.purpose.id, self.channel.id)
    }
}

/// The reasons that what was said gives for or against a use.
#[must_use]
pub fn consent_reasons(effective: &Effective, regime: Regime) -> Vec<Reason> {
    let mut reasons = Vec::new();
    if !effective.restricted_by.is_empty() {
        reasons.push(Reason::Restricted(effective.restricted_by.clone()));
    }
    if !effective.suppressed_by.is_empty() {
        reasons.push(Reason::Suppressed(effective.suppressed_by.clone()));
    }
    let decided_by = effective.decided_by.clone();
    reasons.push(match (effective.state, regime) {
        (State::Granted, _) => Reason::Granted(decided_by),
        (state, _) if state.is_stopped() => Reason::Stopped(state, decided_by),
        (_, Regime::OptOut) => Reason::OptOutRegime,
        (State::Pending, Regime::OptIn) => Reason::Pending(decided_by),
        (State::Expired, Regime::OptIn) => Reason::Expired(decided_by),
        (_, Regime::OptIn) => Reason::NotGranted,
    });
    reasons
}

/// Decides. Empty of forbidding reasons means allow; the answer then holds the allowing ones.
#[must_use]
pub fn decide(
    contact: Contact<'_>,
    effective: &Effective,
    laws: &Laws,
    local: &LocalTime,
    policy: &ConsentPolicy,
    counted: &Counted,
    reservations: &Reservations,
) -> Vec<Reason> {
    let mut reasons = consent_reasons(effective, contact.purpose.regime(laws));
    if !contact.channel.quiet_hours.is_empty() {
        match local {
            LocalTime::Unknown => reasons.push(Reason::TimeZoneUnknown),
            // Wherever the person may be: of several time zones each must be awake.
            LocalTime::Minutes(minutes) => {
                let quiet = |minute: &u16| contact.channel.quiet_hours.iter().any(|hours| hours.hold(*minute));
                if minutes.iter().any(quiet) {
                    reasons.push(Reason::QuietHours);
                }
            }
        }
    }
    let (purpose, channel) = contact.kind();
    for cap in policy.caps.iter().filter(|cap| cap.counts(purpose, channel)) {
        let is_full = |(charges, further): (&[Digest128], &[Sequence])| {
            is_reached(cap, &reservations.times_with(charges, further, cap, contact.now), contact.at)
        };
        if counted.groups(cap.scope).any(is_full) {
            let Cap { most, window_seconds, scope, .. } = *cap;
            reasons.push(Reason::CapReached { cap: cap.name.clone(), most, window_seconds, scope });
        }
    }
    if reasons.iter().any(|reason| !reason.allows()) {
        reasons.retain(|reason| !reason.allows());
    }
    reasons
}

/// Whether these reasons allow.
#[must_use]
pub fn allows(reasons: &[Reason]) -> bool {
    !reasons.is_empty() && reasons.iter().all(Reason::allows)
}
