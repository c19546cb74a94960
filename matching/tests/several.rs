//! Somebody has several addresses: whichever of them another system knows, it is the same person, under the model that ships.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use onefold_core::config::{TenantConfig, attribute};
use onefold_core::fragment::{Attribute, AttributeValue, Fragment, Identifier, ObservedAt, PartyKind, SourceRecord};
use onefold_core::ids::{AttributeId, Digest128, Place, SlotId, SourceId};
use onefold_matching::pair::{Matcher, shipped_persons};
use onefold_matching::prepare::Preparer;
use onefold_matching::resolve::{Engine, Explanation, LinkRules, SeparateReason, Weigher};

type Told<'a> = (&'a [(&'a str, &'a str)], &'a [(AttributeId, &'a str)]);

/// An engine that holds these two, and their records.
fn engine_of(records: [Told<'_>; 2]) -> (Engine, Vec<Digest128>) {
    let config = Arc::new(TenantConfig::new("acme", "Acme"));
    let preparer = Preparer::with_schemas(Arc::clone(&config), [7; 32], [&shipped_persons().schema]).unwrap();
    let model: Arc<dyn Weigher> = Arc::new(Matcher::new(shipped_persons().clone()));
    let mut engine = Engine::with_models(LinkRules::of(&config), [Some(model), None]);
    let records = (0u32..).zip(records).map(|(number, (identifiers, attributes))| {
        let mut fragment = Fragment {
            record: SourceRecord { source: SourceId(0), key: number.to_string() },
            observed_at: ObservedAt(7),
            party: PartyKind::Person,
            identifiers: identifiers
                .iter()
                .map(|(name, raw)| Identifier {
                    namespace: config.namespace_named(name).unwrap().id,
                    raw: (*raw).to_owned(),
                })
                .collect(),
            attributes: attributes
                .iter()
                .map(|(name, text)| Attribute { name: *name, value: AttributeValue::Text((*text).to_owned()) })
                .collect(),
            traits: None,
            affiliations: Vec::new(),
            stages: Vec::new(),
        };
        fragment.canonicalise();
        let prepared = preparer.prepare(&fragment).0;
        engine.put(&prepared, Place { segment: 1, offset: number }, SlotId(number));
        engine.settle();
        prepared.record
    });
    let found = records.collect();
    (engine, found)
}

/// Whether these two are one profile.
fn are_one(records: [Told<'_>; 2]) -> bool {
    let (engine, found) = engine_of(records);
    engine.profile_of(found[0]) == engine.profile_of(found[1])
}

/// The first by the alphabet alone was compared, so that a shared address spoke against its holders.
#[test]
fn any_of_several_addresses_links() {
    let (a, b, c) = (("email", "a@acme-corp.com"), ("email", "b@acme-corp.com"), ("email", "c@acme-corp.com"));
    let named = [(attribute::GIVEN_NAME, "Bea"), (attribute::FAMILY_NAME, "Byron")];
    let other = [(attribute::GIVEN_NAME, "Wendell"), (attribute::FAMILY_NAME, "Throckmorton")];
    for shared in [a, b] {
        assert!(are_one([(&[a, b], &named), (&[shared], &[])]), "{shared:?}");
        assert!(are_one([(&[shared], &[]), (&[b, a], &named)]), "{shared:?}, the other way round");
    }
    assert!(are_one([(&[a, b], &named[..1]), (&[b, c], &named[1..])]));
    assert!(are_one([(&[a, b, ("user_id", "gg7")], &[]), (&[b], &[])]));
    let (one, two) = (("phone", "+12127365001"), ("phone", "+12127365002"));
    for shared in [one, two] {
        assert!(are_one([(&[one, two], &named), (&[shared], &[])]), "{shared:?}");
    }
    // Names that contradict each other still do.
    assert!(!are_one([(&[a, b], &named), (&[b, c], &other)]));
    let many: Vec<String> = (0..12).map(|at| format!("m{at:02}@acme-corp.com")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|address| ("email", address.as_str())).collect();
    assert!(are_one([(&many, &named), (&many[11..], &[])]));
    // What a job answers to is not compared, what else the person has is.
    assert!(are_one([(&[("email", "info@acme-corp.com"), b], &named), (&[b], &[])]));
}

/// LAW 8: what keeps two holders of a value apart is told as it is. That somebody "provably different" holds it was not so.
#[test]
fn what_speaks_against_a_shared_value_is_told() {
    let born = |date: &'static str| [(attribute::BIRTH_DATE, date)];
    let mail = [("email", "u@acme-corp.com")];
    let (engine, found) = engine_of([(&mail, &born("1980-02-03")), (&mail, &born("1955-11-30"))]);
    let Explanation::Separate { reasons, .. } = engine.explain(found[0], found[1]) else {
        panic!("two birth dates are two people");
    };
    let unlike = |reason: &SeparateReason| matches!(reason, SeparateReason::Unlike { weight_bits, least_bits } if weight_bits < least_bits);
    assert!(reasons.iter().any(unlike), "{reasons:?}");
    assert!(!reasons.iter().any(|reason| matches!(reason, SeparateReason::Contested { .. })), "{reasons:?}");
}
