//! The clocks, the steps and who may take them, the policy as it was kept before.

use super::law::{DAY, civil, days_from_civil};
use super::steps::may_be_one;
use super::*;
use crate::decision;

fn at(year: i64, month: u32, day: u32) -> ObservedAt {
    ObservedAt(days_from_civil(year, month, day) * DAY + 123)
}

fn noon(year: i64, month: u32, day: u32) -> ObservedAt {
    ObservedAt(days_from_civil(year, month, day) * DAY + DAY / 2)
}

/// What a request of a kind under a law is due by, extended to, and confirmed by: received, due, extended, acknowledged.
type Clocks = (Regulation, RequestKind, ObservedAt, ObservedAt, Option<ObservedAt>, Option<ObservedAt>);

#[test]
fn every_law_has_its_clock() {
    use RequestKind::{Access, Erasure, LimitSensitive, OptOutSaleShare};
    let table: [Clocks; 13] = [
        (Regulation::Gdpr, Erasure, at(2026, 1, 31), at(2026, 2, 28), Some(at(2026, 4, 30)), None),
        (Regulation::UkGdpr, Access, at(2024, 1, 31), at(2024, 2, 29), Some(at(2024, 4, 30)), None),
        (Regulation::Gdpr, OptOutSaleShare, at(2026, 11, 26), at(2026, 12, 26), Some(at(2027, 2, 26)), None),
        // Wednesday in California still, and the second Wednesday behind it.
        (Regulation::Ccpa, Erasure, at(2026, 11, 26), at(2027, 1, 10), Some(at(2027, 2, 24)), Some(at(2026, 12, 10))),
        (Regulation::Ccpa, OptOutSaleShare, noon(2026, 11, 20), noon(2026, 12, 11), None, None),
        (Regulation::Ccpa, LimitSensitive, noon(2026, 11, 26), noon(2026, 12, 17), None, None),
        (Regulation::Ccpa, OptOutSaleShare, noon(2026, 11, 28), noon(2026, 12, 18), None, None),
        (Regulation::Ccpa, OptOutSaleShare, noon(2026, 11, 29), noon(2026, 12, 18), None, None),
        // Monday in Greenwich, Sunday in California.
        (Regulation::Ccpa, OptOutSaleShare, at(2026, 11, 30), at(2026, 12, 19), None, None),
        (Regulation::UsState, OptOutSaleShare, at(2026, 11, 20), at(2027, 1, 4), Some(at(2027, 2, 18)), None),
        (Regulation::UsState, Erasure, at(2026, 11, 20), at(2027, 1, 4), Some(at(2027, 2, 18)), None),
        (Regulation::Lgpd, Erasure, at(2026, 11, 26), at(2026, 12, 11), None, None),
        (Regulation::Pipeda, Erasure, at(2026, 11, 1), at(2026, 12, 1), Some(at(2026, 12, 31)), None),
    ];
    for (row, (law, kind, received, due, extended, acknowledged)) in table.into_iter().enumerate() {
        let asked = PrivacyRequest::new((Sequence(1), kind, law), String::new(), Subject::default(), received);
        assert_eq!(asked.answer_by(), due, "{row}: {law:?} {kind:?}");
        assert_eq!(law.extended(kind, received), extended, "{row}: {law:?} {kind:?}");
        assert_eq!(asked.acknowledge_by(), acknowledged, "{row}: {law:?} {kind:?}");
        let mut longer = asked;
        let may = longer.extend("complex".into(), received).is_ok();
        assert_eq!((may, longer.answer_by()), (extended.is_some(), extended.unwrap_or(due)), "{row}: {law:?} {kind:?}");
    }
    for kind in RequestKind::ALL {
        let confirmed = Regulation::Ccpa.acknowledged(kind, noon(2026, 11, 27)).is_some();
        let opts_out = Regulation::Ccpa.extended(kind, noon(2026, 11, 27)).is_none();
        let want = match kind {
            Erasure | Access | RequestKind::Portability | RequestKind::Rectification => (true, false),
            OptOutSaleShare | LimitSensitive => (false, true),
            RequestKind::Restriction | RequestKind::Objection => (false, false),
        };
        assert_eq!((confirmed, opts_out), want, "{kind:?}");
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
