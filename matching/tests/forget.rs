//! LAW 7 in the engine: forgetting records leaves the state that never saw them, restarts included.

#[path = "oracle/looks.rs"]
mod looks;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use looks::{Dice, LINES, Looks, features};
use onefold_core::change::ProfileChange;
use onefold_core::fragment::{ObservedAt, PartyKind};
use onefold_core::ids::{Digest128, NamespaceId, Place, ProfileOrdinal, SlotId, SourceId};
use onefold_core::laws::{self, Answer, Replica};
use onefold_core::namespace::NamespaceClass::{Identifying, Supporting, Unique};
use onefold_matching::prepared::{LinkValue, Prepared};
use onefold_matching::resolve::{Engine, Judgement, LinkRules, NamespaceRule, Standing, Stats, Verdict, Weigher};
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;

const NOWHERE: Place = Place { segment: 1, offset: 2 };

fn digest(kind: &str, content: &str) -> Digest128 {
    Digest128::of(&blake3::hash(format!("{kind}/{content}").as_bytes()))
}

fn record(number: u8) -> Digest128 {
    digest("record", &number.to_string())
}

type Says = (BTreeSet<(u16, u8)>, Option<u64>, Option<Looks>);

fn link((namespace, value): &(u16, u8)) -> LinkValue {
    LinkValue { namespace: NamespaceId(*namespace), digest: digest("value", &format!("{namespace}/{value}")) }
}

/// What a record says, or said last before it was retracted.
fn said_by(engine: &Engine, record: Digest128) -> Vec<LinkValue> {
    engine.links_of(record).into_iter().chain(engine.last_links_of(record)).collect()
}

fn prepared(number: u8, at: i64, (values, name, looks): &Says) -> Prepared {
    let mut links: Vec<LinkValue> = values.iter().map(link).collect();
    links.sort();
    Prepared {
        plain: Vec::new(),
        record: record(number),
        facts: digest("facts", &format!("{number}/{at}/{values:?}/{name:?}/{looks:?}")),
        source: SourceId(u16::from(number % 3)),
        observed_at: ObservedAt(at),
        party: PartyKind::Person,
        links,
        name: *name,
        features: looks.map(features),
        corrects: false,
    }
}

fn rules() -> LinkRules {
    let rule = |class, priority, diversity_limit| NamespaceRule { class, priority, diversity_limit };
    LinkRules {
        namespaces: vec![
            rule(Unique, 900, 3),
            rule(Identifying, 600, 2),
            rule(Identifying, 500, 3),
            rule(Supporting, 100, 2),
        ],
        names: Vec::new(),
        value_records_max: 6,
        cluster_records_max: 7,
    }
}

fn models(seed: Option<u8>) -> [Option<Arc<dyn Weigher>>; 2] {
    [seed.map(|seed| Arc::new(Dice { seed, lines: LINES }) as Arc<dyn Weigher>), None]
}

fn says() -> impl Strategy<Value = Says> {
    let value =
        prop_oneof![2 => (0..1u16, 0..4u8), 4 => (1..2u16, 0..5u8), 3 => (2..3u16, 0..4u8), 1 => (3..4u16, 0..2u8)];
    let name = prop_oneof![Just(None), (0..4u64).prop_map(Some), Just(Some(7))];
    let looks = prop_oneof![1 => Just(None), 4 => (0..6u8, [0..4u8, 0..4u8]).prop_map(Some)];
    (btree_set(value, 0..4), name, looks)
}

#[derive(Clone, Debug)]
enum Verb {
    Put(u8, i64, Says),
    Retract(u8, i64),
    Judge(u8, u8, Verdict),
    Settle,
}

/// Records from this number on are the ones that are forgotten.
const FORGOTTEN_FROM: u8 = 100;

fn verb() -> impl Strategy<Value = Verb> {
    let number = || prop_oneof![3 => 0..10u8, 2 => FORGOTTEN_FROM..FORGOTTEN_FROM + 6];
    let verdict = prop_oneof![Just(Verdict::Same), Just(Verdict::Different), Just(Verdict::Unsure)];
    prop_oneof![
        10 => (number(), 0..6i64, says()).prop_map(|(number, at, says)| Verb::Put(number, at, says)),
        2 => (number(), 0..7i64).prop_map(|(number, at)| Verb::Retract(number, at)),
        1 => (number(), number(), verdict).prop_map(|(one, other, verdict)| Verb::Judge(one, other, verdict)),
        4 => Just(Verb::Settle),
    ]
}

/// What the journal keeps: only what applied.
enum Entry {
    Put(Prepared),
    Retract(Digest128, i64),
    Judge(Digest128, Digest128, Judgement),
    Change(ProfileChange),
    Settled,
    Forget(Vec<u32>),
}

struct House {
    model: Option<u8>,
    engine: Engine,
    journal: Vec<Entry>,
    replica: Replica,
}

impl House {
    fn new(model: Option<u8>) -> Self {
        let engine = Engine::with_models(rules(), models(model));
        Self { model, engine, journal: Vec::new(), replica: Replica::default() }
    }

    fn put(&mut self, offered: &Prepared) {
        if self.engine.put(offered, NOWHERE, SlotId(1)).applies() {
            self.journal.push(Entry::Put(offered.clone()));
        }
    }

    fn run(&mut self, verbs: &[Verb], takes: impl Fn(u8) -> bool) {
        for verb in verbs {
            match verb {
                Verb::Put(number, at, says) if takes(*number) => self.put(&prepared(*number, *at, says)),
                Verb::Retract(number, at) if takes(*number) => {
                    let arrival = self.engine.retract(record(*number), ObservedAt(*at), NOWHERE);
                    if arrival.applies() {
                        self.journal.push(Entry::Retract(record(*number), *at));
                    }
                }
                Verb::Judge(one, other, verdict) if takes(*one) && takes(*other) => {
                    let known = |number: u8| self.engine.record(record(number)).is_some();
                    let judgement = Judgement { verdict: *verdict, seen_bits: None, expires_at: None };
                    if known(*one)
                        && known(*other)
                        && self.engine.judge_pair(record(*one), record(*other), judgement).is_ok()
                    {
                        self.journal.push(Entry::Judge(record(*one), record(*other), judgement));
                    }
                }
                Verb::Settle => self.settle(),
                _ => {}
            }
        }
        self.settle();
    }

    fn settle(&mut self) {
        let changes = self.engine.settle();
        let before = self.replica.clone();
        let live = |record| self.engine.record(record).is_some_and(|view| view.live);
        for change in &changes {
            self.replica.apply(change, &live).expect("the feed tells one story");
        }
        self.replica.settled(&live);
        let age = |record: Digest128| self.engine.ordinal_of(record).map_or(0, u64::from);
        laws::ids_are_a_contract(&before, &self.replica, &age).expect("law 4");
        self.journal.extend(changes.into_iter().map(Entry::Change));
        self.journal.push(Entry::Settled);
        for (profile, answer) in &self.replica.answers {
            match answer {
                Answer::Erased => assert_eq!(self.engine.standing(*profile), Standing::Erased),
                Answer::Live(members) => {
                    let held: BTreeSet<Digest128> =
                        self.engine.members(*profile).iter().map(|view| view.digest).collect();
                    assert_eq!(&held, members);
                }
                _ => assert!(self.engine.members(*profile).is_empty()),
            }
            let leads_to = self.replica.leads_to(*profile);
            let live = leads_to.iter().filter(|end| self.engine.standing(**end) == Standing::Live);
            assert!(self.engine.live_ends(*profile).iter().eq(live), "{profile:?}");
        }
        assert!(self.engine.settle().is_empty(), "nothing is left to settle");
    }

    fn forget_all(&mut self) {
        let known = (FORGOTTEN_FROM..=u8::MAX).map(record).filter(|record| self.engine.record(*record).is_some());
        let known: Vec<Digest128> = known.collect();
        let doomed: Vec<u32> = known.iter().filter_map(|record| self.engine.ordinal_of(*record)).collect();
        assert_eq!(self.engine.forget(&doomed) as usize, doomed.len());
        assert_eq!(self.engine.forget(&doomed), 0, "once is enough");
        assert!(self.engine.judgements().all(|(one, other, _)| !known.contains(&one) && !known.contains(&other)));
        known.iter().for_each(|record| self.replica.forget(*record));
        self.journal.push(Entry::Forget(doomed));
        self.settle();
    }

    /// Back from a checkpoint, and back from the journal with the keys of what was forgotten gone.
    fn restart(&mut self) {
        let mut sections: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        let kept = self.engine.write_to(&mut |name, bytes| {
            sections.insert(name.to_owned(), bytes.to_vec());
            Ok::<(), std::convert::Infallible>(())
        });
        kept.expect("memory takes it");
        for number in FORGOTTEN_FROM..FORGOTTEN_FROM + 6 {
            let held = |bytes: &Vec<u8>| bytes.windows(16).any(|window| window == record(number).0);
            let known = self.engine.record(record(number)).is_some();
            assert!(known || !sections.values().any(held), "a checkpoint holds the digest of a forgotten record");
        }
        // Nor of a value that nobody else says or, retracted, said last.
        let said: BTreeSet<LinkValue> =
            self.engine.all_records().flat_map(|view| said_by(&self.engine, view.digest)).collect();
        for value in (0..4u16).flat_map(|namespace| (0..6u8).map(move |value| link(&(namespace, value)))) {
            let held = |bytes: &Vec<u8>| bytes.windows(16).any(|window| window == value.digest.0);
            assert!(said.contains(&value) || !sections.values().any(held), "a checkpoint holds a forgotten value");
        }
        let read = Engine::read_with_models(rules(), models(self.model), &mut |name| sections.get(name).cloned());
        same_state(&self.engine, &read.expect("the engine reads what it wrote"));
        let last_forget = self.journal.iter().rposition(|entry| matches!(entry, Entry::Forget(_))).unwrap_or(0);
        let doomed: BTreeSet<Digest128> = (FORGOTTEN_FROM..=u8::MAX).map(record).collect();
        let mut engine = Engine::with_models(rules(), models(self.model));
        for (at, entry) in self.journal.iter().enumerate() {
            match entry {
                Entry::Put(prepared) if at < last_forget && doomed.contains(&prepared.record) => {
                    engine.put_vacant(prepared.record, NOWHERE, SlotId(1));
                }
                Entry::Put(prepared) => drop(engine.put(prepared, NOWHERE, SlotId(1))),
                Entry::Retract(record, at) => drop(engine.retract(*record, ObservedAt(*at), NOWHERE)),
                Entry::Judge(one, other, judgement) => {
                    engine.judge_pair(*one, *other, *judgement).expect("it was taken before");
                }
                Entry::Change(change) => engine.redo(change).expect("the changes fit the arrivals"),
                Entry::Settled => engine.redone(),
                Entry::Forget(ordinals) => drop(engine.forget(ordinals)),
            }
        }
        engine.finish_replay();
        same_state(&self.engine, &engine);
        self.engine = engine;
    }
}

/// Figures that must not tell whether somebody was ever there.
fn figures(engine: &Engine) -> Stats {
    Stats { memory_bytes: 0, records: 0, profiles_opened: 0, ..engine.stats() }
}

fn same_state(one: &Engine, other: &Engine) {
    assert_eq!(one.digest(), other.digest());
    assert_eq!(figures(one), figures(other));
    assert!(one.all_records().eq(other.all_records()));
    for profile in (0..one.stats().profiles_opened).map(ProfileOrdinal) {
        assert_eq!(one.standing(profile), other.standing(profile));
        assert_eq!(one.members(profile), other.members(profile));
        assert_eq!(one.lives_on(profile), other.lives_on(profile));
        assert_eq!(one.retracted_from(&[profile]), other.retracted_from(&[profile]));
    }
    for view in one.all_records() {
        assert_eq!(one.links_of(view.digest), other.links_of(view.digest));
        assert_eq!(one.last_links_of(view.digest), other.last_links_of(view.digest));
        assert!(view.live || one.links_of(view.digest).is_empty());
        assert!(!view.live || one.last_links_of(view.digest).is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, failure_persistence: None, ..ProptestConfig::default() })]

    /// Forgetting leaves the graph, the figures and the judgements of a house that never saw the records; whoever comes
    /// back is new.
    #[test]
    fn forgetting_leaves_the_state_that_never_saw(
        verbs in vec(verb(), 1..60),
        more in vec(verb(), 0..20),
        model in prop_oneof![1 => Just(None), 3 => (0..8u8).prop_map(Some)],
    ) {
        let (mut house, mut never) = (House::new(model), House::new(model));
        house.run(&verbs, |_| true);
        house.forget_all();
        never.run(&verbs, |number| number < FORGOTTEN_FROM);
        // Of judgements that contradict each other the first is taken, so without some others are.
        let judged = verbs.iter().any(|verb| matches!(verb, Verb::Judge(one, other, _) if *one.max(other) >= FORGOTTEN_FROM));
        if !judged {
            prop_assert_eq!(house.engine.digest(), never.engine.digest());
            prop_assert_eq!(figures(&house.engine), figures(&never.engine));
        }
        // Of what was retracted nothing is left either.
        for view in never.engine.all_records() {
            prop_assert_eq!(house.engine.last_links_of(view.digest), never.engine.last_links_of(view.digest));
            let scope = |engine: &Engine| engine.ordinal_of(view.digest).into_iter().collect();
            let led = |engine: &Engine| -> BTreeSet<Digest128> {
                engine.retracted_with(&scope(engine), []).iter().map(|led| led.view.digest).collect()
            };
            prop_assert_eq!(led(&house.engine), led(&never.engine));
        }
        house.restart();
        house.run(&more, |_| true);
        if !judged && !more.iter().any(|verb| matches!(verb, Verb::Judge(..))) {
            never.run(&more, |_| true);
            prop_assert_eq!(house.engine.digest(), never.engine.digest());
        }
        house.restart();
    }
}

/// Said by every retracted record, once more and plainly: which of them identifiers lead to from a scope.
fn led_to(engine: &Engine, scope: &HashSet<u32>, seed: LinkValue) -> BTreeSet<Digest128> {
    let rules = rules();
    let class = |value: &LinkValue| rules.namespaces[usize::from(value.namespace.0)].class;
    let all: Vec<(u32, bool, Vec<LinkValue>, Digest128)> = engine
        .all_records()
        .map(|view| {
            (engine.ordinal_of(view.digest).unwrap_or(u32::MAX), view.live, said_by(engine, view.digest), view.digest)
        })
        .collect();
    let of_scope = || all.iter().filter(|(ordinal, ..)| scope.contains(ordinal)).flat_map(|(_, _, said, _)| said);
    let known: Vec<LinkValue> = of_scope().copied().filter(|value| class(value) == Unique).collect();
    let leads = |value: &LinkValue| {
        let holders: Vec<_> = all.iter().filter(|(_, live, said, _)| !live && said.contains(value)).collect();
        let elsewhere =
            all.iter().any(|(ordinal, live, said, _)| *live && !scope.contains(ordinal) && said.contains(value));
        let mut uniques: Vec<LinkValue> =
            holders.iter().flat_map(|(_, _, said, _)| said).copied().filter(|value| class(value) == Unique).collect();
        uniques.sort_unstable();
        uniques.dedup();
        let other = |one: &LinkValue| {
            let in_scope = known.iter().any(|known| known.namespace == one.namespace);
            if in_scope {
                !known.contains(one)
            } else {
                uniques.iter().any(|two| two.namespace == one.namespace && two != one)
            }
        };
        let generic = engine.held_beyond(*value, scope).generic;
        class(value) != Supporting && !elsewhere && !generic && holders.len() <= 6 && !uniques.iter().any(other)
    };
    let mut values: BTreeSet<LinkValue> = of_scope().copied().chain([seed]).collect();
    let mut led: BTreeSet<Digest128> = BTreeSet::new();
    loop {
        let open: Vec<LinkValue> = values.iter().copied().filter(leads).collect();
        let more = all.iter().filter(|(ordinal, live, said, _)| {
            !live && !scope.contains(ordinal) && said.iter().any(|value| open.contains(value))
        });
        let more: Vec<_> = more.collect();
        let before = (values.len(), led.len());
        values.extend(more.iter().flat_map(|(_, _, said, _)| said));
        led.extend(more.iter().map(|(.., digest)| *digest));
        if before == (values.len(), led.len()) {
            return led;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, failure_persistence: None, ..ProptestConfig::default() })]

    /// The lookup finds what a walk over everything finds.
    #[test]
    fn retracted_records_are_found_by_what_they_said(
        verbs in vec(verb(), 1..80), retracted in btree_set(0..10u8, 0..8), at in 0..10u8, seed in (1..3u16, 0..5u8),
    ) {
        let mut house = House::new(None);
        house.run(&verbs, |number| number < FORGOTTEN_FROM);
        let retractions: Vec<Verb> = retracted.iter().map(|number| Verb::Retract(*number, 9)).collect();
        house.run(&retractions, |_| true);
        let engine = &house.engine;
        let members = engine.profile_of(record(at)).map(|profile| engine.members(profile)).unwrap_or_default();
        let scope: HashSet<u32> = members.iter().filter_map(|view| engine.ordinal_of(view.digest)).collect();
        let found = engine.retracted_with(&scope, [link(&seed)]);
        prop_assert!(found.iter().all(|led| !led.view.live));
        let found: BTreeSet<Digest128> = found.into_iter().map(|led| led.view.digest).collect();
        prop_assert_eq!(found, led_to(engine, &scope, link(&seed)));
    }
}

/// A value that somebody else holds is told apart from one that only the forgotten hold.
#[test]
fn what_others_hold_too_is_seen() {
    let says = |values: &[(u16, u8)]| (values.iter().copied().collect(), Some(1), None);
    let mut house = House::new(None);
    house.put(&prepared(FORGOTTEN_FROM, 1, &says(&[(1, 1), (2, 2)])));
    house.put(&prepared(1, 1, &says(&[(1, 1)])));
    house.settle();
    let scope = [house.engine.ordinal_of(record(FORGOTTEN_FROM)).expect("it came")].into_iter().collect();
    let held: Vec<bool> = house
        .engine
        .links_of(record(FORGOTTEN_FROM))
        .into_iter()
        .map(|value| house.engine.held_beyond(value, &scope).shared)
        .collect();
    assert_eq!(held, [true, false]);
    house.forget_all();
    assert_eq!(house.engine.links_of(record(1)).len(), 1);
}
