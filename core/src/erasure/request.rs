//! A request of a person: its states, its clock, who verified and who approved it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::decision::{self, DecisionError};
use crate::fragment::ObservedAt;
use crate::ids::{Digest128, NamespaceId, ProfileOrdinal, Sequence};

/// Microseconds of a day.
const DAY: i64 = 86_400_000_000;
/// Bytes of a reference, a name of staff, a ground.
const TOKEN_BYTES_MAX: usize = 64;

/// What a person asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RequestKind {
    /// Erase what is held (GDPR Art. 17, CCPA §1798.105).
    Erasure,
    /// Show what is held (Art. 15).
    Access,
    /// Hand over what was given (Art. 20).
    Portability,
    /// Correct what is wrong (Art. 16).
    Rectification,
    /// Keep and do not use (Art. 18).
    Restriction,
    /// Stop a use (Art. 21).
    Objection,
    /// Do not sell or share (CCPA §1798.120).
    OptOutSaleShare,
    /// Limit the use of sensitive information (CCPA §1798.121).
    LimitSensitive,
}

impl RequestKind {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Erasure,
        Self::Access,
        Self::Portability,
        Self::Rectification,
        Self::Restriction,
        Self::Objection,
        Self::OptOutSaleShare,
        Self::LimitSensitive,
    ];

    /// The name on the wire and in exports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Erasure => "ERASURE",
            Self::Access => "ACCESS",
            Self::Portability => "PORTABILITY",
            Self::Rectification => "RECTIFICATION",
            Self::Restriction => "RESTRICTION",
            Self::Objection => "OBJECTION",
            Self::OptOutSaleShare => "OPT_OUT_SALE_SHARE",
            Self::LimitSensitive => "LIMIT_SENSITIVE",
        }
    }
}

/// Under which law a request is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Regulation {
    /// The European Union's regulation 2016/679.
    Gdpr,
    /// The United Kingdom's.
    UkGdpr,
    /// California's.
    Ccpa,
    /// Another state of the United States that follows Virginia's law.
    UsState,
    /// Brazil's.
    Lgpd,
    /// Canada's.
    Pipeda,
}

/// How long a law gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// Calendar months: to answer, and once more.
    Months(u32, u32),
    /// Calendar days: to answer, and once more.
    Days(u32, u32),
}

impl Regulation {
    /// All of them, with the names on the wire.
    pub const ALL: [(Self, &'static str); 6] = [
        (Self::Gdpr, "GDPR"),
        (Self::UkGdpr, "UK_GDPR"),
        (Self::Ccpa, "CCPA"),
        (Self::UsState, "US_STATE"),
        (Self::Lgpd, "LGPD"),
        (Self::Pipeda, "PIPEDA"),
    ];

    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(known, _)| *known == self).map_or("", |(_, name)| name)
    }

    /// How long it gives. Sources: GDPR Art. 12(3); CCPA §1798.130(a)(2); Virginia §59.1-577(B); LGPD Art. 19(II);
    /// PIPEDA s. 8(3)-(4).
    #[must_use]
    pub const fn clock(self) -> Clock {
        match self {
            Self::Gdpr | Self::UkGdpr => Clock::Months(1, 2),
            Self::Ccpa | Self::UsState => Clock::Days(45, 45),
            Self::Lgpd => Clock::Days(15, 0),
            Self::Pipeda => Clock::Days(30, 30),
        }
    }

    /// By when a request that came in at `received` is to be answered.
    #[must_use]
    pub fn due(self, received: ObservedAt) -> ObservedAt {
        match self.clock() {
            Clock::Months(months, _) => later_by_months(received, months),
            Clock::Days(days, _) => ObservedAt(received.0 + i64::from(days) * DAY),
        }
    }

    /// By when at the latest, once it was extended; `None` where the law knows no extension.
    #[must_use]
    pub fn extended(self, received: ObservedAt) -> Option<ObservedAt> {
        match self.clock() {
            Clock::Months(_, 0) | Clock::Days(_, 0) => None,
            Clock::Months(months, more) => Some(later_by_months(received, months + more)),
            Clock::Days(days, more) => Some(ObservedAt(received.0 + i64::from(days + more) * DAY)),
        }
    }
}

/// The same day so many months later, or the last of that month where it has no such day (regulation 1182/71 Art. 3).
#[must_use]
pub fn later_by_months(at: ObservedAt, months: u32) -> ObservedAt {
    let (days, rest) = (at.0.div_euclid(DAY), at.0.rem_euclid(DAY));
    let (year, month, day) = civil(days);
    let total = year * 12 + i64::from(month) - 1 + i64::from(months);
    let (year, month) = (total.div_euclid(12), total.rem_euclid(12) as u32 + 1);
    let last = match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    };
    ObservedAt(days_from_civil(year, month, day.min(last)) * DAY + rest)
}

/// Year, month and day of a day counted from 1970 (the algorithm of Howard Hinnant's `civil_from_days`).
fn civil(days: i64) -> (i64, u32, u32) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let of_era = z.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = (of_year - (153 * shifted + 2) / 5 + 1) as u32;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 } as u32;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let shifted = i64::from(if month > 2 { month - 3 } else { month + 9 });
    let of_year = (153 * shifted + 2) / 5 + i64::from(day) - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Where a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RequestState {
    /// Came in.
    Received,
    /// It is known that it comes from the person, or from who may speak for them.
    Verified,
    /// Somebody else looked at the scope and said yes.
    Approved,
    /// Decided, durable, and being carried out.
    InProgress,
    /// Done; there is a receipt.
    Completed,
    /// Not done, with the ground.
    Refused,
    /// Taken back.
    Cancelled,
}

impl RequestState {
    /// Whether nothing more will happen.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Refused | Self::Cancelled)
    }
}

impl fmt::Display for RequestState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Received => "received",
            Self::Verified => "verified",
            Self::Approved => "approved",
            Self::InProgress => "in progress",
            Self::Completed => "completed",
            Self::Refused => "refused",
            Self::Cancelled => "cancelled",
        })
    }
}

/// Whom a request is about, without a value of theirs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// Profiles.
    pub profiles: Vec<ProfileOrdinal>,
    /// Source records, by keyed digest.
    pub records: Vec<Digest128>,
    /// Identifiers, by namespace and keyed digest.
    pub identifiers: Vec<(NamespaceId, Digest128)>,
}

/// How it was made sure that the request is the person's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// How, in one word: a token, no personal data.
    pub method: String,
    /// Who did it.
    pub by: String,
    /// When.
    pub at: ObservedAt,
}

/// Somebody said yes to a scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Who.
    pub by: String,
    /// When.
    pub at: ObservedAt,
    /// To which scope: the digest of the plan.
    pub scope: Digest128,
}

/// More time, with the reason that the person was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extension {
    /// Until when.
    pub until: ObservedAt,
    /// Why: a token, no personal data.
    pub ground: String,
    /// When it was decided.
    pub at: ObservedAt,
}

/// A consumer of the feed that must say that it erased too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmation {
    /// Which.
    pub consumer: String,
    /// By when.
    pub due_at: ObservedAt,
    /// When it said so.
    pub confirmed_at: Option<ObservedAt>,
}

/// What an erasure did, or an export held, in figures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// Source records by the name of their source.
    pub records: Vec<(String, u32)>,
    /// Suppressed identifiers by the name of their namespace.
    pub suppressed: Vec<(String, u32)>,
    /// Identifiers that others hold too, by namespace.
    pub shared: Vec<(String, u32)>,
    /// Quarantined fragments.
    pub quarantined: u32,
    /// Consent statements.
    pub statements: u32,
    /// Statements that stand at others too.
    pub statements_kept: u32,
    /// Keys of roles, stages and accounts.
    pub told: u32,
    /// Keys destroyed in all.
    pub keys: u32,
    /// Profiles that lost records.
    pub profiles: u32,
    /// The log before: segment, offset, chain.
    pub before: (u32, u32, [u8; 32]),
    /// The sequence of the decision.
    pub first: Sequence,
}

/// A request, whole: the journal keeps each new state of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrivacyRequest {
    /// Its id: the sequence of its first entry.
    pub id: Sequence,
    /// What is asked for.
    pub kind: RequestKind,
    /// Under which law.
    pub regulation: Regulation,
    /// Where it stands.
    pub state: RequestState,
    /// The caller's own number for it: a token, no personal data.
    pub reference: String,
    /// Whom it is about; empty once it is completed.
    pub subject: Subject,
    /// When it came in.
    pub received_at: ObservedAt,
    /// By when it is to be answered.
    pub due_at: ObservedAt,
    /// More time.
    pub extension: Option<Extension>,
    /// How it was verified.
    pub verification: Option<Verification>,
    /// Who approved.
    pub approval: Option<Approval>,
    /// Why it was refused or cancelled: a token.
    pub ground: Option<String>,
    /// When it ended.
    pub ended_at: Option<ObservedAt>,
    /// What was done.
    pub figures: Option<Figures>,
    /// Who must erase too.
    pub confirmations: Vec<Confirmation>,
}

/// Why a step is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrivacyError {
    /// There is no such request.
    #[error("there is no such privacy request")]
    Unknown,
    /// The request stands elsewhere.
    #[error("the request is {state}; {needs}")]
    State {
        /// Where it stands.
        state: RequestState,
        /// What would have to be.
        needs: &'static str,
    },
    /// The step is none of this kind of request.
    #[error("this step is for {needs}")]
    Kind {
        /// Which requests it is for.
        needs: &'static str,
    },
    /// There is nothing to export.
    #[error("nothing is held of this person; tell them so, and refuse the request with that ground")]
    NothingHeld,
    /// Nobody is held of whom anything could be said.
    #[error("nothing is held of whom the request is about: there is nothing to restrict, to object to or to correct")]
    ScopeEmpty,
    /// A correction is of one person.
    #[error("the request leads to several profiles; a correction is of one: make a request for each")]
    SeveralProfiles,
    /// There is no restriction of this request to end.
    #[error("this request restricts nothing: only a restriction that was carried out can be lifted")]
    NotRestricted,
    /// The tenant's policy has no purpose of this kind.
    #[error(
        "no purpose of the consent policy is {what}: name `purposes`, or give one of them the vocabulary_iri https://w3id.org/dpv#{term}"
    )]
    NoPurpose {
        /// Which use.
        what: &'static str,
        /// The term that would say so.
        term: &'static str,
    },
    /// The scope is another than the one that was seen.
    #[error("the scope has changed since it was previewed; look at it and decide anew")]
    ScopeChanged,
    /// The one who verified cannot approve too.
    #[error("a second person must do this: neither by the name nor by the key of the one who verified")]
    SecondPerson,
    /// The law knows no extension, or it was extended already.
    #[error("this request cannot be extended: {0}")]
    NoExtension(&'static str),
    /// The consumer is none that must confirm.
    #[error("this consumer does not have to confirm this request")]
    ConsumerUnknown,
    /// Not carried out yet.
    #[error("there is no receipt before the request is completed")]
    NoReceipt,
    /// Erased and must not come back.
    #[error("an identifier or record of this was erased and must not come back")]
    Suppressed,
}

/// What a tenant wants of its requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrivacyPolicy {
    /// A second person must approve an erasure or an export.
    pub second_person: bool,
    /// Consumers of the feed that must confirm erasures.
    pub consumers: Vec<String>,
    /// Within so many days.
    pub confirm_within_days: u16,
    /// After so many days a suppression is to be looked at again.
    pub review_after_days: u16,
    /// A second person must approve requests of these kinds too.
    pub second_person_for: Vec<RequestKind>,
    /// Whoever reads profiles says what for.
    pub purpose_required: bool,
}

impl Default for PrivacyPolicy {
    fn default() -> Self {
        Self {
            second_person: false,
            consumers: Vec::new(),
            confirm_within_days: 30,
            review_after_days: 1_095,
            second_person_for: Vec::new(),
            purpose_required: false,
        }
    }
}

/// Fields that came to the policy since the journal first kept one.
const FIELDS_SINCE: usize = 2;

impl PrivacyPolicy {
    /// From the journal, whichever shape it was kept in: fields are only added, and one that was not there is empty or no,
    /// which is a zero.
    ///
    /// # Errors
    /// [`DecisionError`] for what is none.
    pub fn read(payload: &[u8]) -> Result<Self, DecisionError> {
        let mut bytes = payload.to_vec();
        for _ in 0..FIELDS_SINCE {
            if let Ok(policy) = decision::decode(&bytes) {
                return Ok(policy);
            }
            bytes.push(0);
        }
        decision::decode(&bytes)
    }

    /// Whether a second person must approve requests of this kind.
    #[must_use]
    pub fn asks_a_second(&self, kind: RequestKind) -> bool {
        let always = matches!(kind, RequestKind::Erasure | RequestKind::Access | RequestKind::Portability);
        (self.second_person && always) || self.second_person_for.contains(&kind)
    }

    /// Whether less is controlled than before: a second person, or a purpose, where there was one needed.
    #[must_use]
    pub fn is_weaker_than(&self, before: &Self) -> bool {
        let alone = RequestKind::ALL.iter().any(|kind| before.asks_a_second(*kind) && !self.asks_a_second(*kind));
        alone || (before.purpose_required && !self.purpose_required)
    }
}

/// Between the name that somebody gives themselves and whom they were let in as; in no token.
const LET_IN_AS: char = '@';

/// Who takes a step: what they call themselves, and whom they were let in as where callers are asked who they are.
#[must_use]
pub fn signed(name: &str, let_in_as: Option<&str>) -> String {
    let_in_as.map_or_else(|| name.to_owned(), |caller| format!("{name}{LET_IN_AS}{caller}"))
}

/// Whether one person may be behind both: one name, or let in as one. A name is what somebody types; a key is not.
fn may_be_one(one: &str, other: &str) -> bool {
    let parts = |by: &'_ str| {
        by.split_once(LET_IN_AS).map_or((by.to_owned(), None), |(n, c)| (n.to_owned(), Some(c.to_owned())))
    };
    let ((name, caller), (other_name, other_caller)) = (parts(one), parts(other));
    name == other_name || (caller.is_some() && caller == other_caller)
}

impl PrivacyRequest {
    /// A request that came in.
    #[must_use]
    pub fn new(
        (id, kind, regulation): (Sequence, RequestKind, Regulation),
        reference: String,
        subject: Subject,
        received_at: ObservedAt,
    ) -> Self {
        Self {
            id,
            kind,
            regulation,
            state: RequestState::Received,
            reference,
            subject,
            received_at,
            due_at: regulation.due(received_at),
            extension: None,
            verification: None,
            approval: None,
            ground: None,
            ended_at: None,
            figures: None,
            confirmations: Vec::new(),
        }
    }

    /// By when it is to be answered, extensions counted.
    #[must_use]
    pub fn answer_by(&self) -> ObservedAt {
        self.extension.as_ref().map_or(self.due_at, |extension| extension.until)
    }

    /// Whether somebody waits longer than they must: for the answer, or for a consumer that has not confirmed.
    #[must_use]
    pub fn is_overdue(&self, now: ObservedAt) -> bool {
        let unanswered = !self.state.is_final() && now > self.answer_by();
        unanswered || self.confirmations.iter().any(|one| one.confirmed_at.is_none() && now > one.due_at)
    }

    fn needs(&self, states: &[RequestState], needs: &'static str) -> Result<(), PrivacyError> {
        if states.contains(&self.state) { Ok(()) } else { Err(PrivacyError::State { state: self.state, needs }) }
    }

    /// It is the person's.
    ///
    /// # Errors
    /// [`PrivacyError::State`].
    pub fn verify(&mut self, verification: Verification) -> Result<(), PrivacyError> {
        self.needs(&[RequestState::Received], "only a received request can be verified")?;
        self.verification = Some(verification);
        self.state = RequestState::Verified;
        Ok(())
    }

    /// Somebody says yes to the scope as it is.
    ///
    /// # Errors
    /// [`PrivacyError::State`], [`PrivacyError::ScopeChanged`], [`PrivacyError::SecondPerson`].
    pub fn approve(&mut self, approval: Approval, scope: Digest128) -> Result<(), PrivacyError> {
        self.needs(&[RequestState::Verified, RequestState::Approved], "verify it before it is approved")?;
        if approval.scope != scope {
            return Err(PrivacyError::ScopeChanged);
        }
        if self.verification.as_ref().is_some_and(|verification| may_be_one(&verification.by, &approval.by)) {
            return Err(PrivacyError::SecondPerson);
        }
        self.approval = Some(approval);
        self.state = RequestState::Approved;
        Ok(())
    }

    /// Whether it, of one of these kinds, may be carried out with this scope, which the caller saw.
    ///
    /// # Errors
    /// [`PrivacyError`], saying what is missing.
    pub fn may_execute(
        &self,
        kinds: &[RequestKind],
        seen: Digest128,
        scope: Digest128,
        policy: &PrivacyPolicy,
    ) -> Result<(), PrivacyError> {
        if !kinds.contains(&self.kind) {
            let needs = match kinds.first() {
                Some(RequestKind::Restriction) => "requests for restriction",
                Some(RequestKind::Objection) => "objections and opt-outs",
                Some(RequestKind::Rectification) => "requests for rectification",
                _ => "requests for erasure",
            };
            return Err(PrivacyError::Kind { needs });
        }
        self.may_carry_out(seen, scope, policy)
    }

    /// Whether what is held may be handed over with this scope, which the caller saw.
    ///
    /// # Errors
    /// [`PrivacyError`], saying what is missing.
    pub fn may_deliver(&self, seen: Digest128, scope: Digest128, policy: &PrivacyPolicy) -> Result<(), PrivacyError> {
        if !matches!(self.kind, RequestKind::Access | RequestKind::Portability) {
            return Err(PrivacyError::Kind { needs: "requests for access or portability" });
        }
        self.may_carry_out(seen, scope, policy)
    }

    fn may_carry_out(&self, seen: Digest128, scope: Digest128, policy: &PrivacyPolicy) -> Result<(), PrivacyError> {
        if policy.asks_a_second(self.kind) {
            self.needs(&[RequestState::Approved], "a second person must approve it first")?;
        } else {
            self.needs(&[RequestState::Verified, RequestState::Approved], "verify it before it is carried out")?;
        }
        let approved = self.approval.as_ref().is_none_or(|approval| approval.scope == scope);
        if seen != scope || !approved {
            return Err(PrivacyError::ScopeChanged);
        }
        Ok(())
    }

    /// Whether somebody may end the restriction that this request brought: where a second person is asked for, not who
    /// verified it.
    ///
    /// # Errors
    /// [`PrivacyError::SecondPerson`].
    pub fn may_lift(&self, by: &str, policy: &PrivacyPolicy) -> Result<(), PrivacyError> {
        let verified = self.verification.as_ref().is_some_and(|verification| may_be_one(&verification.by, by));
        if policy.asks_a_second(self.kind) && verified { Err(PrivacyError::SecondPerson) } else { Ok(()) }
    }

    /// More time.
    ///
    /// # Errors
    /// [`PrivacyError::State`] when it ended, [`PrivacyError::NoExtension`].
    pub fn extend(&mut self, ground: String, now: ObservedAt) -> Result<(), PrivacyError> {
        if self.state.is_final() {
            return Err(PrivacyError::State { state: self.state, needs: "it has ended" });
        }
        if self.extension.is_some() {
            return Err(PrivacyError::NoExtension("it was extended once"));
        }
        // The person must be told the reasons within the first term (GDPR Art. 12(3), CCPA §1798.130).
        if now > self.due_at {
            return Err(PrivacyError::NoExtension("the first term is over"));
        }
        let Some(until) = self.regulation.extended(self.received_at) else {
            return Err(PrivacyError::NoExtension("the law knows no extension"));
        };
        self.extension = Some(Extension { until, ground, at: now });
        Ok(())
    }

    /// It is not done: refused by us, or taken back by the person.
    ///
    /// # Errors
    /// [`PrivacyError::State`] when it ended or is being carried out.
    pub fn end(&mut self, state: RequestState, ground: String, now: ObservedAt) -> Result<(), PrivacyError> {
        if self.state.is_final() || self.state == RequestState::InProgress {
            return Err(PrivacyError::State {
                state: self.state,
                needs: "it can only be ended before it is carried out",
            });
        }
        self.state = state;
        self.ground = Some(ground);
        self.ended_at = Some(now);
        self.subject = Subject::default();
        Ok(())
    }

    /// What was asked for was handed over. Whom it was about is forgotten.
    pub fn delivered(&mut self, figures: Figures, now: ObservedAt) {
        self.state = RequestState::Completed;
        self.ended_at = Some(now);
        self.figures = Some(figures);
        self.subject = Subject::default();
    }

    /// A consumer erased too; again is harmless.
    ///
    /// # Errors
    /// [`PrivacyError::ConsumerUnknown`].
    pub fn confirm(&mut self, consumer: &str, now: ObservedAt) -> Result<(), PrivacyError> {
        let found = self.confirmations.iter_mut().find(|one| one.consumer == consumer);
        found.ok_or(PrivacyError::ConsumerUnknown)?.confirmed_at.get_or_insert(now);
        Ok(())
    }
}

/// Whether a text is one word of letters, digits and `._:/-`: what is written down in the clear must not be able to hold
/// a name or an address by accident.
#[must_use]
pub fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= TOKEN_BYTES_MAX
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:/-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(year: i64, month: u32, day: u32) -> ObservedAt {
        ObservedAt(days_from_civil(year, month, day) * DAY + 123)
    }

    #[test]
    fn every_law_has_its_clock() {
        let table = [
            (Regulation::Gdpr, at(2026, 1, 31), at(2026, 2, 28), Some(at(2026, 4, 30))),
            (Regulation::UkGdpr, at(2024, 1, 31), at(2024, 2, 29), Some(at(2024, 4, 30))),
            (Regulation::Gdpr, at(2026, 11, 26), at(2026, 12, 26), Some(at(2027, 2, 26))),
            (Regulation::Ccpa, at(2026, 11, 26), at(2027, 1, 10), Some(at(2027, 2, 24))),
            (Regulation::Lgpd, at(2026, 11, 26), at(2026, 12, 11), None),
            (Regulation::Pipeda, at(2026, 11, 1), at(2026, 12, 1), Some(at(2026, 12, 31))),
        ];
        for (law, received, due, extended) in table {
            assert_eq!((law.due(received), law.extended(received)), (due, extended), "{law:?}");
        }
        for days in [-1_000_000, -719_468, -1, 0, 59, 60, 20_000, 1_000_000] {
            let (year, month, day) = civil(days);
            assert_eq!(days_from_civil(year, month, day), days);
        }
    }

    #[test]
    fn only_the_steps_that_may_be_are_taken() {
        let ids = (Sequence(1), RequestKind::Erasure, Regulation::Gdpr);
        let mut request = PrivacyRequest::new(ids, "T-1".into(), Subject::default(), at(2026, 11, 26));
        let (scope, other) = (Digest128([1; 16]), Digest128([2; 16]));
        let strict = PrivacyPolicy { second_person: true, ..PrivacyPolicy::default() };
        let verification = |by: &str| Verification { method: "email".into(), by: by.into(), at: at(2026, 11, 27) };
        let approval = |by: &str, scope| Approval { by: by.into(), at: at(2026, 11, 27), scope };
        assert!(
            request.may_execute(&[RequestKind::Erasure], scope, scope, &PrivacyPolicy::default()).is_err(),
            "not verified"
        );
        assert!(request.approve(approval("b", scope), scope).is_err(), "not verified");
        request.verify(verification("a")).unwrap();
        assert!(request.verify(verification("a")).is_err(), "once");
        assert!(request.may_execute(&[RequestKind::Erasure], scope, scope, &strict).is_err(), "not approved");
        let other_kind = request.may_execute(&[RequestKind::Restriction], scope, scope, &PrivacyPolicy::default());
        assert_eq!(other_kind, Err(PrivacyError::Kind { needs: "requests for restriction" }));
        assert!(request.may_execute(&[RequestKind::Erasure], scope, scope, &PrivacyPolicy::default()).is_ok());
        assert_eq!(
            request.may_execute(&[RequestKind::Erasure], other, scope, &PrivacyPolicy::default()),
            Err(PrivacyError::ScopeChanged)
        );
        assert_eq!(request.approve(approval("a", scope), scope), Err(PrivacyError::SecondPerson));
        assert_eq!(request.approve(approval("b", other), scope), Err(PrivacyError::ScopeChanged));
        request.approve(approval("b", scope), scope).unwrap();
        assert!(request.may_execute(&[RequestKind::Erasure], scope, scope, &strict).is_ok());
        assert_eq!(
            request.may_execute(&[RequestKind::Erasure], other, other, &strict),
            Err(PrivacyError::ScopeChanged),
            "the approval is void"
        );
        assert!(request.is_overdue(at(2026, 12, 27)) && !request.is_overdue(at(2026, 12, 25)));
        request.extend("complex".into(), at(2026, 12, 1)).unwrap();
        assert!(request.extend("complex".into(), at(2026, 12, 1)).is_err(), "once");
        assert!(!request.is_overdue(at(2026, 12, 27)));
        request.end(RequestState::Refused, "legal-claim".into(), at(2026, 12, 2)).unwrap();
        assert!(request.end(RequestState::Cancelled, "x".into(), at(2026, 12, 2)).is_err());
    }

    #[test]
    fn a_second_person_is_neither_of_one_name_nor_let_in_as_one() {
        let table = [
            ("dpo", "dpo", true),
            ("dpo", "counsel", false),
            ("dpo@key:1", "counsel@key:1", true),
            ("dpo@key:1", "dpo@key:2", true),
            ("dpo@key:1", "counsel@key:2", false),
            ("dpo", "counsel@key:1", false),
        ];
        for (one, other, may) in table {
            assert_eq!((may_be_one(one, other), may_be_one(other, one)), (may, may), "{one} {other}");
        }
        assert_eq!((signed("dpo", None), signed("dpo", Some("key:1"))), ("dpo".into(), "dpo@key:1".into()));
        assert!(!is_token(&signed("dpo", Some("key:1"))), "nobody can give themselves such a name");
    }

    #[test]
    fn a_policy_of_before_is_read() {
        let before = (true, vec!["mailer".to_owned()], 5_u16, 9_u16);
        let read = PrivacyPolicy::read(&decision::encode(&before)).unwrap();
        let kinds = RequestKind::ALL.map(|kind| read.asks_a_second(kind));
        assert_eq!(kinds, [true, true, true, false, false, false, false, false]);
        assert_eq!((read.consumers.as_slice(), read.review_after_days), (&["mailer".to_owned()][..], 9));
        assert!(!read.purpose_required);
        let kinds = (true, vec!["mailer".to_owned()], 5_u16, 9_u16, vec![RequestKind::Restriction]);
        let read_kinds = PrivacyPolicy::read(&decision::encode(&kinds)).unwrap();
        let now = PrivacyPolicy { second_person_for: vec![RequestKind::Restriction], ..read.clone() };
        assert_eq!(read_kinds, now);
        let now = PrivacyPolicy { purpose_required: true, ..now };
        assert_eq!(PrivacyPolicy::read(&decision::encode(&now)).unwrap(), now);
        assert!(read.is_weaker_than(&now) && !now.is_weaker_than(&read));
        assert!(PrivacyPolicy::read(&[1, 9, 9]).is_err());
    }

    #[test]
    fn each_kind_is_carried_out_by_its_own_step() {
        let scope = Digest128([1; 16]);
        let policy = PrivacyPolicy::default();
        for (kind, erases, delivers) in [
            (RequestKind::Erasure, true, false),
            (RequestKind::Access, false, true),
            (RequestKind::Portability, false, true),
            (RequestKind::Rectification, false, false),
            (RequestKind::Restriction, false, false),
            (RequestKind::Objection, false, false),
        ] {
            let ids = (Sequence(1), kind, Regulation::Gdpr);
            let subject = Subject { records: vec![Digest128([9; 16])], ..Subject::default() };
            let mut request = PrivacyRequest::new(ids, String::new(), subject, at(2026, 11, 26));
            let unverified = request.may_deliver(scope, scope, &policy);
            assert!(unverified.is_err(), "{kind:?}");
            let verification = Verification { method: "email".into(), by: "a".into(), at: at(2026, 11, 27) };
            request.verify(verification).unwrap();
            assert_eq!(request.may_execute(&[RequestKind::Erasure], scope, scope, &policy).is_ok(), erases, "{kind:?}");
            assert_eq!(request.may_deliver(scope, scope, &policy).is_ok(), delivers, "{kind:?}");
            if delivers {
                let other = Digest128([2; 16]);
                assert_eq!(request.may_deliver(scope, other, &policy), Err(PrivacyError::ScopeChanged));
                let strict = PrivacyPolicy { second_person: true, ..PrivacyPolicy::default() };
                assert!(matches!(request.may_deliver(scope, scope, &strict), Err(PrivacyError::State { .. })));
                request.delivered(Figures::default(), at(2026, 11, 28));
                assert_eq!(request.subject, Subject::default(), "whom it was about is forgotten");
                assert!(request.may_deliver(scope, scope, &policy).is_err(), "once");
            }
        }
    }

    #[test]
    fn what_stands_in_the_clear_holds_no_sentence() {
        for good in ["T-1", "dpo", "ticket/42", "a.b:c_d"] {
            assert!(is_token(good), "{good}");
        }
        for bad in ["", "Ada Lovelace", "ada@example.org", "é", &"x".repeat(65)] {
            assert!(!is_token(bad), "{bad}");
        }
    }
}
