//! A request that a controller forwarded (OpenDSR): the controller's number for it, who is called when its status changes,
//! and how far they were told. What they are to be told follows from the states of the request alone, so that nothing of it
//! is lost with a crash: what is not written down as told is told again.
//!
//! Holds no value of a person: the controller's number is a random one, addresses of callbacks are made of a few plain
//! characters, and the content of the request is a keyed digest.

use serde::{Deserialize, Serialize};

use super::request::{PrivacyPolicy, PrivacyRequest, RequestKind, RequestState};
use crate::fragment::ObservedAt;
use crate::ids::{Digest128, Sequence};

/// Callbacks of one request.
pub const CALLBACKS_MAX: usize = 5;
/// Bytes of the address of a callback.
pub const CALLBACK_BYTES_MAX: usize = 512;

/// Where a request stands, in the words of OpenDSR 2.0 section 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ForwardedStatus {
    /// It came in, and nobody has looked at it.
    Pending,
    /// It is known to be the person's, and is acted on.
    InProgress,
    /// It was fulfilled.
    Completed,
    /// It was taken back, or refused.
    Cancelled,
}

impl ForwardedStatus {
    /// What a state is in these words.
    #[must_use]
    pub const fn of(state: RequestState) -> Self {
        match state {
            RequestState::Received => Self::Pending,
            RequestState::Verified | RequestState::Approved | RequestState::InProgress => Self::InProgress,
            RequestState::Completed => Self::Completed,
            RequestState::Refused | RequestState::Cancelled => Self::Cancelled,
        }
    }

    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A request came from a controller. In the journal behind the request's first entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forwarded {
    /// The request.
    pub request: Sequence,
    /// The controller's number, a UUID.
    pub number: [u8; 16],
    /// Keyed digest of all that the controller sent: the same number with other content is another request.
    pub content: Digest128,
    /// Whom to call when its status changes.
    pub callbacks: Vec<String>,
    /// When it was taken in.
    pub taken_at: ObservedAt,
}

/// A callback was told of a change, or is told no more of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallbackEnded {
    /// Of which request.
    pub request: Sequence,
    /// Which of its callbacks.
    pub callback: u8,
    /// Which change, from 0.
    pub change: u8,
    /// It was never taken, and is not tried again.
    pub gave_up: bool,
    /// When.
    pub at: ObservedAt,
}

/// A change that callbacks are told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusChange {
    /// The new status.
    pub status: ForwardedStatus,
    /// Whether what is held can be fetched.
    pub has_results: bool,
    /// When.
    pub at: ObservedAt,
}

/// All that is kept of a forwarded request beside the request itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forward {
    /// Whence it came.
    pub from: Forwarded,
    /// Its changes, in order.
    pub changes: Vec<StatusChange>,
    /// Of each callback, how many changes it needs no more.
    pub ended: Vec<u8>,
    /// Calls that were given up.
    pub given_up: u8,
}

/// Whether what is held of a person can be fetched now: the request asks for it, and nothing stands in the way but that it
/// is done.
#[must_use]
pub fn has_results(request: &PrivacyRequest, policy: &PrivacyPolicy) -> bool {
    let asks = matches!(request.kind, RequestKind::Access | RequestKind::Portability);
    let may = match request.state {
        RequestState::Approved => true,
        RequestState::Verified => !policy.asks_a_second(request.kind),
        _ => false,
    };
    asks && may
}

impl Forward {
    /// A request that came in just now.
    #[must_use]
    pub fn new(from: Forwarded, request: &PrivacyRequest, policy: &PrivacyPolicy) -> Self {
        let ended = vec![0; from.callbacks.len()];
        let mut this = Self { from, changes: Vec::new(), ended, given_up: 0 };
        this.follow(request, policy);
        this
    }

    /// Follows the request to its new state.
    pub fn follow(&mut self, request: &PrivacyRequest, policy: &PrivacyPolicy) {
        let verified = request.verification.as_ref().map(|verification| verification.at);
        let approved = request.approval.as_ref().map(|approval| approval.at);
        let change = StatusChange {
            status: ForwardedStatus::of(request.state),
            has_results: has_results(request, policy),
            at: request.ended_at.or(approved).or(verified).unwrap_or(self.from.taken_at),
        };
        let last = self.changes.last().map(|last| (last.status, last.has_results));
        if last != Some((change.status, change.has_results)) {
            self.changes.push(change);
        }
    }

    /// What is owed next to each callback: which, and the number of the change. One after the other, so that each hears of the
    /// changes in their order.
    pub fn owed(&self) -> impl Iterator<Item = (u8, u8)> + '_ {
        let owed = (0..).zip(&self.ended).filter(|(_, ended)| usize::from(**ended) < self.changes.len());
        owed.map(|(callback, ended)| (callback, *ended))
    }

    /// A callback needs a change no more.
    pub fn end(&mut self, one: &CallbackEnded) {
        let Some(ended) = self.ended.get_mut(usize::from(one.callback)) else { return };
        if *ended == one.change {
            *ended += 1;
            self.given_up += u8::from(one.gave_up);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Approval, Figures, Regulation, Subject, Verification};
    use super::*;

    fn request(kind: RequestKind) -> PrivacyRequest {
        PrivacyRequest::new((Sequence(7), kind, Regulation::Gdpr), "n".into(), Subject::default(), ObservedAt(1))
    }

    fn forward(asked: &PrivacyRequest, policy: &PrivacyPolicy) -> Forward {
        let callbacks = vec!["https://a.example/x".to_owned(), "https://b.example/x".to_owned()];
        let (number, content) = ([3; 16], Digest128([4; 16]));
        Forward::new(
            Forwarded { request: asked.id, number, content, callbacks, taken_at: ObservedAt(5) },
            asked,
            policy,
        )
    }

    fn said(forward: &Forward) -> Vec<(&'static str, bool, i64)> {
        forward.changes.iter().map(|change| (change.status.as_str(), change.has_results, change.at.0)).collect()
    }

    #[test]
    fn callbacks_hear_of_every_status_once_and_in_order() {
        let policy = PrivacyPolicy::default();
        let mut asked = request(RequestKind::Erasure);
        let mut held = forward(&asked, &policy);
        asked.verify(Verification { method: "m".into(), by: "a".into(), at: ObservedAt(10) }).unwrap();
        held.follow(&asked, &policy);
        asked.state = RequestState::InProgress;
        held.follow(&asked, &policy);
        asked.delivered(Figures::default(), ObservedAt(20));
        held.follow(&asked, &policy);
        assert_eq!(said(&held), [("pending", false, 5), ("in_progress", false, 10), ("completed", false, 20)]);
        assert_eq!(held.owed().collect::<Vec<_>>(), [(0, 0), (1, 0)]);
        let ended = |callback, change, gave_up| CallbackEnded {
            request: Sequence(7),
            callback,
            change,
            gave_up,
            at: ObservedAt(30),
        };
        held.end(&ended(1, 0, false));
        // Twice is once, and a change that is not the next one ends nothing.
        held.end(&ended(1, 0, false));
        held.end(&ended(1, 2, false));
        held.end(&ended(9, 0, false));
        assert_eq!(held.owed().collect::<Vec<_>>(), [(0, 0), (1, 1)]);
        for change in 0..3 {
            held.end(&ended(0, change, change == 1));
            held.end(&ended(1, change, false));
        }
        assert_eq!((held.owed().count(), held.given_up), (0, 1));
    }

    #[test]
    fn results_are_there_when_nothing_stands_in_the_way_but_fetching_them() {
        let strict = PrivacyPolicy { second_person: true, ..PrivacyPolicy::default() };
        for (policy, at_verification) in [(PrivacyPolicy::default(), true), (strict, false)] {
            let mut asked = request(RequestKind::Access);
            let mut held = forward(&asked, &policy);
            asked.verify(Verification { method: "m".into(), by: "a".into(), at: ObservedAt(10) }).unwrap();
            held.follow(&asked, &policy);
            assert_eq!(has_results(&asked, &policy), at_verification);
            let scope = Digest128([1; 16]);
            asked.approve(Approval { by: "b".into(), at: ObservedAt(11), scope }, scope).unwrap();
            held.follow(&asked, &policy);
            assert!(has_results(&asked, &policy));
            asked.delivered(Figures::default(), ObservedAt(20));
            held.follow(&asked, &policy);
            assert!(!has_results(&asked, &policy), "once");
            let changes = said(&held);
            assert_eq!(changes.last(), Some(&("completed", false, 20)));
            assert_eq!(changes.iter().filter(|(.., results, _)| *results).count(), 1, "{changes:?}");
            assert_eq!(changes.len(), if at_verification { 3 } else { 4 });
        }
        assert!(!has_results(&request(RequestKind::Erasure), &PrivacyPolicy::default()));
    }

    #[test]
    fn every_state_has_its_word() {
        let table = [
            (RequestState::Received, "pending"),
            (RequestState::Verified, "in_progress"),
            (RequestState::Approved, "in_progress"),
            (RequestState::InProgress, "in_progress"),
            (RequestState::Completed, "completed"),
            (RequestState::Refused, "cancelled"),
            (RequestState::Cancelled, "cancelled"),
        ];
        for (state, word) in table {
            assert_eq!(ForwardedStatus::of(state).as_str(), word, "{state}");
        }
    }
}
