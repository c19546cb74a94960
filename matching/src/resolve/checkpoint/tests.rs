use std::collections::BTreeMap;

use onefold_core::change::ProfileChange;
use onefold_core::fragment::{ObservedAt, PartyKind};
use onefold_core::ids::{NamespaceId, Place, SlotId, SourceId};
use onefold_core::namespace::NamespaceClass::{Identifying, Supporting, Unique};
use proptest::prelude::*;

use super::*;
use crate::prepared::{LinkValue, Prepared};
use crate::resolve::NamespaceRule;

type Sections = BTreeMap<String, Vec<u8>>;

fn digest(kind: &str, number: u64) -> Digest128 {
    Digest128::of(&blake3::hash(format!("{kind}{number}").as_bytes()))
}

/// A value is crowded above `value_records_max` holders and not listed above four times that; few are within reach of
/// short histories.
fn rules(value_records_max: u32) -> LinkRules {
    let rule = |class, priority| NamespaceRule { class, priority, diversity_limit: 2 };
    LinkRules {
        namespaces: vec![rule(Unique, 900), rule(Unique, 800), rule(Identifying, 600), rule(Supporting, 100)],
        names: Vec::new(),
        value_records_max,
        cluster_records_max: 7,
    }
}

fn written(engine: &Engine) -> Sections {
    let mut sections = Sections::new();
    let kept = engine.write_to(&mut |name, bytes| {
        assert!(sections.insert(name.to_owned(), bytes.to_vec()).is_none(), "{name} was written twice");
        Ok::<(), std::convert::Infallible>(())
    });
    kept.unwrap();
    sections
}

fn read(rules: LinkRules, sections: &Sections) -> Result<Engine, CheckpointError> {
    Engine::read_from(rules, &mut |name| sections.get(name).cloned())
}

/// All that the engine's later doings depend on: everything but the order of rings and what lies where in memory.
fn state(engine: &Engine) -> impl PartialEq + std::fmt::Debug + use<> {
    let records: Vec<_> = (0..engine.records.warm.count())
        .map(|record| {
            let (warm, cold) = (&engine.records.warm[record], &engine.records.cold[record]);
            let held = (engine.values_of(record).to_vec(), engine.uniques_of(record).len());
            let told = (warm.name, warm.profile, warm.source, warm.flags, held);
            assert_eq!(engine.records.find(cold.digest), Some(record));
            (cold.digest, cold.facts, cold.observed_at, cold.place, engine.records.slots[record], told)
        })
        .collect();
    let values: Vec<_> = Spare::of(&engine.values.spare)
        .others(engine.values.column.count())
        .map(|value| {
            let held = &engine.values.column[value];
            assert_eq!(engine.values.find(held.link_value()), Some(value));
            let flags = held.flags & !value_flag::COUNTED;
            (held.link_value(), flags, held.holders.len, engine.holders(value).to_vec(), engine.behind(value))
        })
        .collect();
    let profiles: Vec<_> = (0..engine.profiles.column.count())
        .map(|ordinal| {
            let profile = &engine.profiles.column[ordinal];
            let mut members: Vec<u32> = engine.profiles.members(&engine.records.warm, ordinal).collect();
            members.sort_unstable();
            let ended = matches!(profile.kind, Kind::Merged | Kind::Split);
            let into = if ended { profile.head } else { NONE };
            let list = engine.lists.get(&profile.list).to_vec();
            (profile.kind, into, profile.count, members, list, profile.contested)
        })
        .collect();
    let counts = (engine.records.live, engine.profiles.live, engine.values.generic, engine.values.parked);
    let dirty = (engine.dirty_records.clone(), engine.dirty_values.clone(), engine.replaying);
    let left: Vec<Vec<u32>> =
        (0..engine.profiles.column.count()).map(|profile| engine.profiles.left(profile).collect()).collect();
    let bygone: Vec<_> = engine.bygone.iter().collect();
    let beside: Vec<_> = (0..engine.records.warm.count()).map(|record| engine.bygone.beside(record).to_vec()).collect();
    let handed = &engine.profiles.handed;
    let partings: Vec<_> = handed.partings().map(|(turn, parting)| (turn, parting.clone())).collect();
    let handed: (Vec<_>, Vec<_>, Vec<_>) = (handed.turns().collect(), partings, handed.ended().collect());
    (records, values, profiles, engine.values.spare.clone(), counts, dirty, (left, bygone, beside, handed))
}

#[derive(Clone, Debug)]
enum Verb {
    Put(Prepared, Place, u32),
    Retract(u64, i64),
    Move(u64, Place),
    Settle,
}

fn prepared() -> impl Strategy<Value = Prepared> {
    let value = (0..4u16, prop_oneof![Just(0u64), 0..5u64]).prop_map(|(namespace, value)| LinkValue {
        namespace: NamespaceId(namespace),
        digest: digest("value", value + 100 * u64::from(namespace)),
    });
    let links = proptest::collection::btree_set(value, 0..4);
    let times = prop_oneof![
        3 => (0..9i64).prop_map(|day| day * 86_400_000_000),
        2 => (-9..9i64).prop_map(|second| second * 1_000_000),
        2 => (-9..9i64).prop_map(|milli| milli * 1_000),
        2 => -9..9i64,
        1 => any::<i64>(),
        1 => prop_oneof![Just(i64::MIN), Just(i64::MAX)],
    ];
    let name = prop_oneof![3 => (0..3u64).prop_map(Some), 1 => Just(None)];
    (0..16u64, any::<u64>(), 0..3u16, times, any::<bool>(), links, name).prop_map(
        |(record, facts, source, at, organisation, links, name)| Prepared {
            plain: Vec::new(),
            record: digest("record", record),
            facts: digest("facts", facts),
            source: SourceId(source),
            observed_at: ObservedAt(at),
            party: if organisation { PartyKind::Organisation } else { PartyKind::Person },
            links: links.into_iter().collect(),
            name,
            features: None,
            corrects: false,
        },
    )
}

fn place() -> impl Strategy<Value = Place> {
    prop_oneof![
        (1..3u32, 0..2_000u32).prop_map(|(segment, offset)| Place { segment, offset }),
        (any::<u32>(), any::<u32>()).prop_map(|(segment, offset)| Place { segment, offset }),
    ]
}

fn verb() -> impl Strategy<Value = Verb> {
    let slot = prop_oneof![0..20u32, 0..u32::MAX];
    prop_oneof![
        12 => (prepared(), place(), slot).prop_map(|(prepared, place, slot)| Verb::Put(prepared, place, slot)),
        3 => (0..20u64, prop_oneof![Just(i64::MAX), -9..9i64]).prop_map(|(record, at)| Verb::Retract(record, at)),
        1 => (0..16u64, place()).prop_map(|(record, place)| Verb::Move(record, place)),
        3 => Just(Verb::Settle),
    ]
}

/// Runs it, and answers with the changes of each settlement.
fn run(engine: &mut Engine, verbs: &[Verb], changes: &mut Vec<Vec<ProfileChange>>) {
    for verb in verbs {
        match verb {
            Verb::Put(prepared, place, slot) => {
                let before = [engine.links_of(prepared.record), engine.last_links_of(prepared.record)].concat();
                if engine.judge(prepared).applies() && engine.gives_up_all(&before, &prepared.links) {
                    engine.pass_on(prepared.record);
                }
                engine.put(prepared, *place, SlotId(*slot));
            }
            Verb::Retract(record, at) => {
                engine.retract(digest("record", *record), ObservedAt(*at), Place { segment: 7, offset: 7 });
            }
            Verb::Move(record, place) => drop(engine.move_place(digest("record", *record), *place)),
            Verb::Settle => changes.push(engine.settle()),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// Settled or not, in the midst of a replay or not: what is read back is what was written, down to the order of
    /// holders and of free indexes, and goes on in the same way.
    #[test]
    fn what_is_read_back_is_what_was_written(
        verbs in proptest::collection::vec(verb(), 0..60),
        more in proptest::collection::vec(verb(), 1..20),
        crowded in prop_oneof![Just(1u32), Just(2), Just(5), Just(1_000)],
    ) {
        let mut engine = Engine::new(rules(crowded));
        let mut changes = Vec::new();
        run(&mut engine, &verbs, &mut changes);
        let sections = written(&engine);
        let mut back = read(rules(crowded), &sections).unwrap();
        prop_assert_eq!(state(&back), state(&engine));
        prop_assert_eq!(&written(&back), &sections);

        let (mut one, mut other) = (Vec::new(), Vec::new());
        run(&mut engine, &more, &mut one);
        run(&mut back, &more, &mut other);
        one.push(engine.settle());
        other.push(back.settle());
        prop_assert_eq!(one, other);
        prop_assert_eq!(state(&back), state(&engine));

        let mut replayed = Engine::new(rules(crowded));
        let mut settlements = changes.into_iter();
        for verb in &verbs {
            match verb {
                Verb::Settle => {
                    for change in settlements.next().unwrap() {
                        replayed.redo(&change).unwrap();
                    }
                    replayed.redone();
                }
                other => run(&mut replayed, std::slice::from_ref(other), &mut Vec::new()),
            }
        }
        let back = read(rules(crowded), &written(&replayed)).unwrap();
        prop_assert_eq!(state(&back), state(&replayed));
    }
}

/// LAW 10: what a fragment costs on disk has a bound. Two identifiers at most, one person in two and a half fragments, as
/// sources send them: moments of a day or of a millisecond, from five systems, some of them sent again.
#[test]
fn a_fragment_takes_at_most_75_bytes() {
    const FRAGMENTS: u64 = 20_000;
    let mut engine = Engine::new(rules(1_000));
    let mut identifiers = 0;
    for number in 0..FRAGMENTS {
        let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        let person = mixed % (FRAGMENTS * 2 / 5);
        let value = |namespace, number| LinkValue {
            namespace: NamespaceId(namespace),
            digest: digest("value", u64::from(namespace) << 40 | number),
        };
        let mut links = vec![value(2, person * 2 + mixed / 7 % 2)];
        if !number.is_multiple_of(7) {
            links.push(value(3, person * 3 + mixed / 11 % 3));
        }
        identifiers += links.len();
        let prepared = Prepared {
            plain: Vec::new(),
            record: digest("record", number - if number % 50 == 49 { 40 } else { 0 }),
            facts: digest("facts", number),
            source: SourceId((mixed % 5) as u16),
            observed_at: ObservedAt(
                if mixed.is_multiple_of(2) { 86_400_000_000 } else { 1_000 } * (number + mixed % 1_000) as i64,
            ),
            party: PartyKind::Person,
            links,
            name: Some(digest("name", person + mixed / 13 % 4 / 3).table_hash()),
            features: None,
            corrects: false,
        };
        engine.put(&prepared, Place { segment: 1, offset: number as u32 * 290 }, SlotId(number as u32));
        if number % 512 == 0 {
            engine.settle();
        }
    }
    engine.settle();
    let bytes: usize = written(&engine).values().map(Vec::len).sum();
    let (bytes, identifiers) = (bytes as f64 / FRAGMENTS as f64, identifiers as f64 / FRAGMENTS as f64);
    println!("{bytes:.1} bytes and {identifiers:.2} identifiers per fragment");
    assert!(bytes <= 75.0 && identifiers > 1.8, "{bytes:.1} bytes and {identifiers:.2} identifiers per fragment");
}

#[test]
fn a_head_that_claims_too_much_is_refused() {
    let none = || Head {
        replaying: false,
        records: 0,
        profiles: 0,
        profile_rows: 0,
        values: 0,
        spare: 0,
        dirty_records: 0,
        dirty_values: 0,
        texts: [0; 2],
        crossed: 0,
        judgements: 0,
        erased: 0,
        bygone: 0,
        last_versions: 0,
        handed: 0,
        partings: 0,
        ended_turns: 0,
    };
    let much = NONE - 1;
    let table = [
        ("records", Head { records: much, ..none() }),
        ("profiles", Head { profiles: much, ..none() }),
        ("profiles", Head { profiles: much, profile_rows: much, ..none() }),
        ("values", Head { values: much, ..none() }),
        ("spare", Head { spare: much, ..none() }),
        ("dirty_records", Head { dirty_records: much, ..none() }),
        ("dirty_values", Head { dirty_values: much, ..none() }),
        ("handed", Head { handed: much, ..none() }),
        ("partings", Head { partings: much, ..none() }),
        ("ended_turns", Head { ended_turns: much, ..none() }),
        ("head", Head { records: NONE, ..none() }),
    ];
    for (section, head) in table {
        let head = head.write(&rules(2), &Engine::new(rules(2)).rows.fingerprint());
        for noise in [0u8, 1, 2, 0x7F, 0x80, 0xFF] {
            let refused = Engine::read_from(rules(2), &mut |name| {
                Some(if name == "engine.head" { head.clone() } else { vec![noise; 1_000] })
            });
            assert_eq!(refused.err(), Some(CheckpointError::Damaged(section)), "{noise:#x}");
        }
        let missing = Engine::read_from(rules(2), &mut |name| (name == "engine.head").then(|| head.clone()));
        assert!(missing.is_err(), "{section}");
    }
}

/// What contradicts itself only between sections, which no section shows alone.
#[test]
fn contradictions_are_refused() {
    let mut engine = Engine::new(rules(1_000));
    for number in 0..3 {
        let value = LinkValue { namespace: NamespaceId(2), digest: digest("value", number / 2) };
        let prepared = Prepared {
            plain: Vec::new(),
            record: digest("record", number),
            facts: digest("facts", number),
            source: SourceId(0),
            observed_at: ObservedAt(0),
            party: PartyKind::Person,
            links: vec![value],
            name: None,
            features: None,
            corrects: false,
        };
        engine.put(&prepared, Place { segment: 1, offset: 0 }, SlotId(number as u32));
    }
    engine.settle();
    type Spoil = fn(&mut Engine);
    let table: [(&str, &str, Spoil); 7] = [
        ("a holder that is not known", "values", |engine| engine.values.column[1].holders.at = 3),
        ("a tombstone that holds a value", "values", |engine| engine.records.warm[2].flags &= !flag::LIVE),
        ("a member of a profile that ended", "records", |engine| engine.profiles.column[1].kind = Kind::Emptied),
        ("a profile that was never opened", "records", |engine| engine.records.warm[2].profile = 5),
        ("merged into itself", "profiles", |engine| {
            engine.profiles.column[1].kind = Kind::Merged;
            engine.profiles.column[1].head = 1;
        }),
        ("one free index twice", "spare", |engine| {
            engine.values.spare = vec![1, 1];
        }),
        ("one record dirty twice", "dirty_records", |engine| engine.dirty_records = vec![1, 1]),
    ];
    assert!(read(rules(1_000), &written(&engine)).is_ok());
    for (case, section, spoil) in table {
        let mut spoilt = engine.clone();
        spoil(&mut spoilt);
        assert_eq!(read(rules(1_000), &written(&spoilt)).err(), Some(CheckpointError::Damaged(section)), "{case}");
    }
}
