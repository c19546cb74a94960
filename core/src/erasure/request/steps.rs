//! The steps of a request: which may be taken when, and by whom.

use super::{
    Approval, Extension, Figures, PrivacyError, PrivacyPolicy, PrivacyRequest, Regulation, RequestKind, RequestState,
    Subject, Verification,
};
use crate::fragment::ObservedAt;
use crate::ids::{Digest128, Sequence};

/// Between the name that somebody gives themselves and whom they were let in as; in no token.
const LET_IN_AS: char = '@';

/// Who takes a step: what they call themselves, and whom they were let in as where callers are asked who they are.
#[must_use]
pub fn signed(name: &str, let_in_as: Option<&str>) -> String {
    let_in_as.map_or_else(|| name.to_owned(), |caller| format!("{name}{LET_IN_AS}{caller}"))
}

/// Whether one person may be behind both: one name, or let in as one. A name is what somebody types; a key is not.
pub(super) fn may_be_one(one: &str, other: &str) -> bool {
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
            due_at: regulation.due(kind, received_at),
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

    /// By when the person is to be told that it came in, where the law asks for that.
    #[must_use]
    pub fn acknowledge_by(&self) -> Option<ObservedAt> {
        self.regulation.acknowledged(self.kind, self.received_at)
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
        let Some(until) = self.regulation.extended(self.kind, self.received_at) else {
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
