//! Somebody has several addresses: whichever of them another system knows, it is the same person, under the model that ships.
//! So it is where systems share a key of that person, though each knows another address.
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

/// A key that the model does not compare says as much as one that it does: more for a customer number than for a device that a
/// household passes round.
#[test]
fn a_shared_key_outweighs_another_address_and_not_another_person() {
    const CARD: (&str, &str) = ("crm_id", "C-55501");
    const DEVICE: (&str, &str) = ("device_id", "dev-9912-aa");
    const BROWSER: (&str, &str) = ("anonymous_id", "an-771234");
    type Half = (Vec<(&'static str, &'static str)>, Vec<(AttributeId, &'static str)>);
    type Case<'a> = (&'a str, [Half; 2], &'a [(&'static str, &'static str)], bool);
    let half = |identifiers: &[_], attributes: &[_]| -> Half { (identifiers.to_vec(), attributes.to_vec()) };
    let mail = [[("email", "x@acme-corp.com")], [("email", "y@globex-corp.com")]].map(|held| half(&held, &[]));
    let reach = [("x@acme-corp.com", "+12127365001"), ("y@globex-corp.com", "+13105557144")]
        .map(|(mail, phone)| half(&[("email", mail), ("phone", phone)], &[]));
    let born = ["1980-02-03", "1955-11-30"].map(|date| half(&[], &[(attribute::BIRTH_DATE, date)]));
    let given = ["Anna", "Peter"]
        .map(|given| half(&[], &[(attribute::GIVEN_NAME, given), (attribute::FAMILY_NAME, "Throckmorton")]));
    let married = [("Throckmorton", "1980-02-03"), ("Byron", "1980-02-03")].map(|(family, date)| {
        let told = [(attribute::GIVEN_NAME, "Anna"), (attribute::FAMILY_NAME, family), (attribute::BIRTH_DATE, date)];
        half(&[], &told)
    });
    let other = [("Wilhelmina", "Quillfeather", "1931-02-03"), ("Okonkwo", "Adeyemi", "1999-11-30")].map(
        |(given, family, date)| {
            half(
                &[],
                &[(attribute::GIVEN_NAME, given), (attribute::FAMILY_NAME, family), (attribute::BIRTH_DATE, date)],
            )
        },
    );
    let table: [Case; 13] = [
        ("another address, one card", mail.clone(), &[CARD], true),
        ("another address, one device", mail.clone(), &[DEVICE], true),
        ("another address, one browser", mail, &[BROWSER], true),
        ("another address and number, one card", reach.clone(), &[CARD], true),
        ("another address and number, one device", reach, &[DEVICE], false),
        ("another birth date, one card", born.clone(), &[CARD], false),
        ("another birth date, one device", born, &[DEVICE], false),
        ("a couple, one card", given.clone(), &[CARD], false),
        ("a couple, one device", given, &[DEVICE], false),
        ("another family name, one card", married.clone(), &[CARD], true),
        ("another family name, one device", married, &[DEVICE], true),
        ("somebody else, one card", other.clone(), &[CARD], false),
        ("somebody else, one device", other, &[DEVICE], false),
    ];
    for (case, halves, shared, wanted) in table {
        let halves = halves.map(|(identifiers, attributes)| ([shared, &identifiers].concat(), attributes));
        let told = [0, 1].map(|at| (halves[at].0.as_slice(), halves[at].1.as_slice()));
        assert_eq!(are_one(told), wanted, "{case}");
    }
}
