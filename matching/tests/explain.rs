//! LAW 8: every link has its evidence, every refusal its reason.

use std::collections::BTreeSet;
use std::sync::Arc;

use onefold_core::fragment::{ObservedAt, PartyKind};
use onefold_core::ids::{Digest128, NamespaceId, Place, ProfileOrdinal, SlotId, SourceId};
use onefold_core::namespace::NamespaceClass::{Identifying, Supporting, Unique};
use onefold_matching::pair::{Features, Symbol, Symbols};
use onefold_matching::prepared::{LinkValue, Prepared};
use onefold_matching::resolve::{
    Cut, Engine, Evidence, Explanation, GenericReason, LinkRules, NamespaceRule, SeparateReason, Thresholds,
    ValueStanding, Weigher,
};
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use smallvec::SmallVec;

const USER: u16 = 0;
const EMAIL: u16 = 1;
const PHONE: u16 = 2;
const DOMAIN: u16 = 3;

fn rules() -> LinkRules {
    let rule = |class, priority, diversity_limit| NamespaceRule { class, priority, diversity_limit };
    LinkRules {
        namespaces: vec![
            rule(Unique, 900, 4),
            rule(Identifying, 600, 2),
            rule(Identifying, 500, 2),
            rule(Supporting, 100, 50),
        ],
        names: Vec::new(),
        value_records_max: 8,
        cluster_records_max: 6,
    }
}

fn digest(text: &str) -> Digest128 {
    Digest128::of(&blake3::hash(text.as_bytes()))
}

fn value(namespace: u16, number: u32) -> LinkValue {
    LinkValue { namespace: NamespaceId(namespace), digest: digest(&format!("v{namespace}/{number}")) }
}

fn record(number: u32) -> Digest128 {
    digest(&format!("r{number}"))
}

/// A record's values, and a name where it matters.
type Row<'a> = (&'a [(u16, u32)], Option<u64>);

/// Somebody's fragment that links by these values.
fn prepared(number: u32, links: Vec<LinkValue>) -> Prepared {
    Prepared {
        plain: Vec::new(),
        record: record(number),
        facts: digest(&format!("f{number}")),
        source: SourceId(0),
        observed_at: ObservedAt(0),
        party: PartyKind::Person,
        links,
        name: None,
        features: None,
        corrects: false,
    }
}

fn put(engine: &mut Engine, number: u32, prepared: &Prepared) {
    engine.put(prepared, Place { segment: 1, offset: number }, SlotId(number));
}

/// An engine with these records.
fn engine(records: &[Row<'_>]) -> Engine {
    let mut engine = Engine::new(rules());
    for (number, (values, name)) in (0..).zip(records) {
        let mut links: Vec<LinkValue> = values.iter().map(|(namespace, number)| value(*namespace, *number)).collect();
        links.sort();
        put(&mut engine, number, &Prepared { name: *name, ..prepared(number, links) });
    }
    engine.settle();
    engine
}

fn reasons(engine: &Engine, one: u32, other: u32) -> Vec<SeparateReason> {
    match engine.explain(record(one), record(other)) {
        Explanation::Separate { reasons, .. } => reasons,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_path_names_each_link_and_the_weakest() {
    // A long way by mail and a short one that ends in a phone: the fewest steps win.
    let engine = engine(&[
        (&[(USER, 1), (EMAIL, 1)], None),
        (&[(EMAIL, 1), (EMAIL, 2)], None),
        (&[(EMAIL, 2), (PHONE, 9)], None),
        (&[(USER, 1), (PHONE, 9)], None),
    ]);
    let Explanation::Together { path, weakest, .. } = engine.explain(record(0), record(2)) else { panic!() };
    let steps: Vec<_> = path.iter().map(|step| (step.from, step.evidence, step.to)).collect();
    // Both ways have two steps; two mails are a weaker pair than a user id and a phone by their sum of weakness.
    let held = |namespace, number| Evidence::Value(value(namespace, number));
    assert_eq!(steps, [(record(0), held(USER, 1), record(3)), (record(3), held(PHONE, 9), record(2))]);
    assert_eq!(weakest, Some(1));
    assert_eq!(engine.explain(record(0), record(99)), Explanation::NotLive(record(99)));
    let Explanation::Together { path, weakest, .. } = engine.explain(record(0), record(0)) else { panic!() };
    assert_eq!((path.len(), weakest), (0, None));
}

#[test]
fn every_refusal_has_its_reason() {
    let apart = engine(&[(&[(EMAIL, 1)], None), (&[(EMAIL, 2)], None)]);
    assert_eq!(reasons(&apart, 0, 1), [SeparateReason::NothingShared]);

    let supporting = engine(&[(&[(DOMAIN, 1)], None), (&[(DOMAIN, 1)], None)]);
    assert_eq!(reasons(&supporting, 0, 1), [SeparateReason::Supporting(value(DOMAIN, 1))]);

    let generic = engine(&[(&[(EMAIL, 1)], Some(1)), (&[(EMAIL, 1)], Some(2)), (&[(EMAIL, 1)], Some(3))]);
    let why = GenericReason::Names { names: 3, limit: 2 };
    assert_eq!(reasons(&generic, 0, 1), [SeparateReason::Generic(value(EMAIL, 1), why)]);
    assert_eq!(generic.value(value(EMAIL, 1)), ValueStanding::Generic(why));

    let vetoed = engine(&[(&[(USER, 1), (EMAIL, 1)], None), (&[(USER, 2), (EMAIL, 1)], None)]);
    let why = SeparateReason::Vetoed { value: value(EMAIL, 1), namespace: NamespaceId(USER) };
    assert_eq!(reasons(&vetoed, 0, 1), [why]);
    assert_eq!(vetoed.stats().parked_links, 1, "shown, not dropped");

    // The third record could join either; since the mail is held by two parties it joins neither.
    let contested =
        engine(&[(&[(USER, 1), (EMAIL, 1)], None), (&[(USER, 2), (EMAIL, 1)], None), (&[(EMAIL, 1)], None)]);
    assert_eq!(reasons(&contested, 0, 2), [SeparateReason::Contested { value: value(EMAIL, 1), profiles: 3 }]);

    let contradicting = engine(&[(&[(USER, 1), (USER, 2), (EMAIL, 1)], None), (&[(EMAIL, 1)], None)]);
    let why = SeparateReason::Contradicting { value: value(EMAIL, 1), record: record(0) };
    assert_eq!(reasons(&contradicting, 0, 1), [why]);

    let four: &[(u16, u32)] = &[(EMAIL, 1)];
    let three: &[(u16, u32)] = &[(EMAIL, 2)];
    let large = engine(&[
        (four, None),
        (four, None),
        (four, None),
        (&[(EMAIL, 1), (PHONE, 1)], None),
        (&[(EMAIL, 2), (PHONE, 1)], None),
        (three, None),
        (three, None),
    ]);
    // The phone has the fewest holders of its strength, but mails come first: four and three are too many together.
    assert_eq!(reasons(&large, 0, 6), [SeparateReason::TooLarge { value: value(PHONE, 1), records: 7, limit: 6 }]);
}

#[test]
fn a_crowded_value_turns_generic_and_back() {
    let mut records: Vec<Row<'_>> = vec![(&[(EMAIL, 1), (PHONE, 1)], None); 6];
    let full = engine(&records);
    assert_eq!(full.stats().profiles, 1);
    let mail: &[(u16, u32)] = &[(EMAIL, 1)];
    records.extend([(mail, None); 60]);
    let mut crowded = engine(&records);
    let why = GenericReason::Crowded { records: 66, limit: 8 };
    assert_eq!(crowded.value(value(EMAIL, 1)), ValueStanding::Generic(why));
    assert_eq!(crowded.stats().profiles, 61, "six hold on by their phone");
    for number in 6..66 {
        crowded.retract(record(number), ObservedAt(1), Place { segment: 1, offset: 0 });
        if number % 7 == 0 {
            crowded.settle();
        }
    }
    crowded.settle();
    assert_eq!(crowded.digest(), full.digest());
    assert_eq!(crowded.stats().generic_values, 0);
    assert!(matches!(crowded.value(value(EMAIL, 1)), ValueStanding::Profiles { more: false, .. }));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    /// The cut splits the cluster, and nothing smaller does: tried by removing every set of links.
    #[test]
    fn the_cut_is_a_smallest_one(values in vec(btree_set(0..7u32, 1..5), 2..7)) {
        let held: Vec<Vec<(u16, u32)>> =
            values.iter().map(|values| values.iter().map(|value| (PHONE, *value)).collect()).collect();
        let records: Vec<_> = held.iter().map(|values| (values.as_slice(), None)).collect();
        let engine = engine(&records);
        for profile in engine.live_profiles(ProfileOrdinal(0)) {
            let growth = engine.growth(profile).unwrap();
            let steps: u32 = growth.links.iter().map(|link| link.joined - 1).sum();
            prop_assert_eq!(steps as usize, growth.records.len() - 1, "the steps build the cluster");
            let splits = |without: &[usize]| {
                let mut reached = BTreeSet::from([growth.records[0]]);
                loop {
                    let before = reached.len();
                    let left = growth.links.iter().enumerate().filter(|(index, _)| !without.contains(index));
                    for (_, link) in left {
                        if link.records.iter().any(|record| reached.contains(record)) {
                            reached.extend(&link.records);
                        }
                    }
                    if reached.len() == before {
                        return before < growth.records.len();
                    }
                }
            };
            match &growth.cut {
                Cut::None => prop_assert_eq!(growth.records.len(), 1),
                Cut::AtLeastTwo => prop_assert!(false, "small clusters are cut exactly"),
                Cut::Smallest(cut) => {
                    prop_assert!(splits(cut));
                    let all = growth.links.len();
                    for chosen in 0u32..1 << all {
                        let set: Vec<usize> = (0..all).filter(|bit| chosen >> bit & 1 == 1).collect();
                        prop_assert!(set.len() >= cut.len() || !splits(&set));
                    }
                }
            }
        }
    }
}

/// A model of four looks: `a` and `b` are one, `c` and `d` are one, `b` and `c` match, and the two that they are of do not.
#[derive(Debug)]
struct Looks;

impl Weigher for Looks {
    fn stride(&self) -> usize {
        1
    }

    fn row(&self, symbols: &mut Symbols, features: &Features, out: &mut Vec<Symbol>) {
        out.extend(features.texts().take(1).map(|text| symbols.intern_plain(0, text)));
    }

    fn keys(&self, _: &Symbols, _: &[Symbol], out: &mut SmallVec<[u64; 16]>) {
        out.push(1);
    }

    fn weigh(&self, symbols: &Symbols, one: &[Symbol], other: &[Symbol]) -> f32 {
        match (symbols.text(one[0]), symbols.text(other[0])) {
            ("a", "b") | ("b", "a") | ("c", "d") | ("d", "c") => 9.0,
            ("b", "c") | ("c", "b") => 6.0,
            _ => -1.5,
        }
    }

    fn weigh_whole(&self, _: &Symbols, ones: &[&[Symbol]], others: &[&[Symbol]], strangers: bool) -> Option<f32> {
        assert!(strangers, "the link is by weight");
        Some(if (ones.len(), others.len()) == (2, 2) { -2.0 } else { 9.0 })
    }

    fn thresholds(&self) -> Thresholds {
        Thresholds { link_bits: 2.0, review_bits: 0.0, conflict_bits: -30.0, block_records_max: 9 }
    }

    fn aspects(&self) -> [u8; 32] {
        [0; 32]
    }

    fn fingerprint(&self) -> [u8; 32] {
        [0; 32]
    }
}

#[test]
fn clusters_that_are_unlike_as_wholes_say_so() {
    let mut engine = Engine::with_models(rules(), [Some(Arc::new(Looks)), None]);
    for (number, look) in (0..).zip(["a", "b", "c", "d"]) {
        let mut features = Features::default();
        features.push(look);
        put(&mut engine, number, &Prepared { features: Some(features), ..prepared(number, Vec::new()) });
        engine.settle();
    }
    assert_eq!(engine.profile_of(record(0)), engine.profile_of(record(1)));
    assert_eq!(engine.profile_of(record(2)), engine.profile_of(record(3)));
    assert_eq!(reasons(&engine, 1, 2), [SeparateReason::Unlike { weight_bits: -2.0, least_bits: 3.0 }]);
}
