//! LAW 4: an id that was merged leads to what it held when it was, also when the merge is undone or a record is given to somebody
//! else, after a restart from a checkpoint, and after one from the journal.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use onefold_core::config::TenantConfig;
use onefold_core::fragment::{ObservedAt, PartyKind};
use onefold_core::ids::{Digest128, NamespaceId, Place, ProfileOrdinal, SlotId, SourceId};
use onefold_matching::prepared::{LinkValue, Prepared};
use onefold_matching::resolve::{Engine, Judgement, LinkRules, Standing, Verdict};

const PLACE: Place = Place { segment: 1, offset: 1 };

fn email() -> NamespaceId {
    TenantConfig::new("t", "T").namespace_named("email").unwrap().id
}

fn value(number: u8) -> LinkValue {
    LinkValue { namespace: email(), digest: Digest128([number; 16]) }
}

fn record(number: u8) -> Digest128 {
    Digest128([100 + number; 16])
}

fn prepared(number: u8, at: i64, values: &[u8]) -> Prepared {
    let mut facts = [200 + number; 16];
    facts[0] = u8::try_from(at).unwrap();
    Prepared {
        plain: Vec::new(),
        record: record(number),
        facts: Digest128(facts),
        source: SourceId(0),
        observed_at: ObservedAt(at),
        party: PartyKind::Person,
        links: values.iter().map(|number| value(*number)).collect(),
        name: None,
        features: None,
        corrects: false,
    }
}

enum Verb {
    Put(u8, i64, &'static [u8]),
    Retract(u8, i64),
    Judge(u8, u8, Verdict),
}

/// An engine, and the same from a checkpoint and from the journal.
fn run(verbs: &[Verb]) -> [Engine; 3] {
    let rules = || LinkRules::of(&TenantConfig::new("t", "T"));
    let (mut engine, mut again) = (Engine::new(rules()), Engine::new(rules()));
    for verb in verbs {
        for engine in [&mut engine, &mut again] {
            match verb {
                Verb::Put(number, at, values) => {
                    let next = prepared(*number, *at, values);
                    let before = [engine.links_of(next.record), engine.last_links_of(next.record)].concat();
                    if engine.gives_up_all(&before, &next.links) {
                        engine.pass_on(next.record);
                    }
                    engine.put(&next, PLACE, SlotId(1));
                }
                Verb::Retract(number, at) => drop(engine.retract(record(*number), ObservedAt(*at), PLACE)),
                Verb::Judge(one, other, verdict) => {
                    let judgement = Judgement { verdict: *verdict, seen_bits: None, expires_at: None };
                    engine.withdraw_judgement(record(*one), record(*other));
                    engine.judge_pair(record(*one), record(*other), judgement).unwrap();
                }
            }
        }
        engine.settle().iter().for_each(|change| again.redo(change).unwrap());
        again.redone();
    }
    again.finish_replay();
    let mut sections: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let written: Result<(), ()> = engine.write_to(&mut |name, bytes| {
        sections.insert(name.to_owned(), bytes.to_vec());
        Ok(())
    });
    written.unwrap();
    let read = Engine::read_from(rules(), &mut |name| sections.get(name).cloned()).unwrap();
    [engine, again, read]
}

#[test]
fn a_merge_that_was_undone_leads_to_no_other_party() {
    use Verb::{Judge, Put, Retract};
    let bridge = [Put(1, 0, &[1]), Put(2, 0, &[2]), Put(3, 0, &[1, 2]), Retract(3, 1)];
    let steward = [Put(1, 0, &[1]), Put(2, 0, &[2]), Judge(1, 2, Verdict::Same), Judge(1, 2, Verdict::Different)];
    for verbs in [&bridge[..], &steward] {
        for engine in run(verbs) {
            let now = engine.profile_of(record(2)).unwrap();
            assert_eq!(now, ProfileOrdinal(2), "no id is used again");
            assert_eq!(engine.standing(ProfileOrdinal(1)), Standing::MergedInto(ProfileOrdinal(0)), "as it was told");
            assert_eq!(engine.lives_on(ProfileOrdinal(1)), Standing::MergedInto(now));
            assert_eq!(engine.live_ends(ProfileOrdinal(1)), [now]);
            assert_eq!(engine.lives_on(ProfileOrdinal(0)), Standing::Live);
        }
    }
}

#[test]
fn what_went_two_ways_is_split_and_what_comes_together_again_is_one() {
    use Verb::{Put, Retract};
    let apart = || {
        vec![
            Put(1, 0, &[1]),
            Put(2, 0, &[2, 3]),
            Put(3, 0, &[3]),
            Put(4, 0, &[1, 2]),
            // Record 2 stays with record 1, record 3 goes.
            Put(2, 1, &[1]),
        ]
    };
    for engine in run(&apart()) {
        let parts = vec![ProfileOrdinal(0), engine.profile_of(record(3)).unwrap()];
        assert_eq!(engine.lives_on(ProfileOrdinal(1)), Standing::SplitInto(parts.clone()));
        assert_eq!(engine.live_ends(ProfileOrdinal(1)), parts);
    }
    let together: Vec<Verb> = apart().into_iter().chain([Put(3, 1, &[1])]).collect();
    for engine in run(&together) {
        assert_eq!(engine.lives_on(ProfileOrdinal(1)), Standing::MergedInto(ProfileOrdinal(0)));
    }
    let emptied: Vec<Verb> = apart().into_iter().chain([Retract(2, 2), Retract(3, 2)]).collect();
    for engine in run(&emptied) {
        assert_eq!(engine.live_ends(ProfileOrdinal(1)), [ProfileOrdinal(0)], "record 2 was there last");
    }
}

/// A record that was taken back before the merge goes with those that it was with.
#[test]
fn what_was_taken_back_before_goes_with_its_own() {
    use Verb::{Put, Retract};
    let verbs = [Put(1, 0, &[1]), Put(2, 0, &[2]), Put(5, 0, &[2]), Retract(5, 1), Put(3, 0, &[1, 2]), Retract(3, 1)];
    for engine in run(&verbs) {
        let own = engine.profile_of(record(2)).unwrap();
        let of = |profile| engine.retracted_from(&[profile]).iter().map(|view| view.digest).collect::<Vec<_>>();
        assert_eq!(of(own), [record(5)]);
        assert_eq!(of(ProfileOrdinal(1)), [record(5)], "by the id of before");
        assert_eq!(of(ProfileOrdinal(0)), [record(3)]);
        // With which half the one was that joined them nobody knows any more.
        assert!(engine.led_to(value(9)).is_empty());
        assert_eq!(engine.last_place_of(record(5)), Some(PLACE));
        assert_eq!(engine.last_place_of(record(2)), None);
    }
}

#[test]
fn an_identifier_that_was_taken_back_leads_to_whoever_it_led_to() {
    use Verb::{Put, Retract};
    let held = || vec![Put(1, 0, &[1, 2]), Put(2, 0, &[2]), Put(3, 0, &[2]), Retract(1, 1)];
    for engine in run(&held()) {
        assert_eq!(engine.led_to(value(1)).into_iter().collect::<Vec<_>>(), [ProfileOrdinal(0)]);
        assert!(engine.led_to(value(2)).is_empty(), "somebody has it today");
    }
    let apart: Vec<Verb> = held().into_iter().chain([Put(3, 1, &[7])]).collect();
    let gone: Vec<Verb> = held().into_iter().chain([Retract(2, 1), Retract(3, 1)]).collect();
    for verbs in [apart, gone] {
        for engine in run(&verbs) {
            assert!(engine.led_to(value(1)).is_empty());
        }
    }
}

/// Records 1 and 2 are one person's, whose ids 0 and 1 became one. Then the source gives the key of record 2 to somebody else.
#[test]
fn a_record_that_is_somebody_elses_by_now_leads_no_id_to_them() {
    use Verb::{Put, Retract};
    let joined = || vec![Put(1, 0, &[1]), Put(2, 0, &[2]), Put(2, 1, &[2, 1])];
    let plus = |verbs: &[Verb]| -> Vec<Verb> { joined().into_iter().chain(verbs.iter().map(copy)).collect() };
    let (former, live) = (ProfileOrdinal(1), Standing::MergedInto(ProfileOrdinal(0)));
    // Another address of one's own is none of somebody else's.
    for engine in run(&plus(&[Put(2, 2, &[2]), Put(2, 3, &[2, 7])])) {
        assert_eq!(engine.lives_on(former), Standing::MergedInto(engine.profile_of(record(2)).unwrap()));
    }
    let passed_on = [
        vec![Put(2, 2, &[9])],
        // By way of nothing at all, and by way of a retraction.
        vec![Put(2, 2, &[]), Put(2, 3, &[9])],
        vec![Retract(2, 2), Put(2, 3, &[9])],
        // And once more.
        vec![Put(2, 2, &[9]), Put(2, 3, &[8])],
    ];
    for verbs in passed_on {
        for engine in run(&plus(&verbs)) {
            assert_ne!(engine.profile_of(record(2)), Some(ProfileOrdinal(0)));
            assert_eq!(engine.lives_on(former), live, "as it was told, since record 1 is there");
            assert_eq!(engine.live_ends(former), [ProfileOrdinal(0)]);
        }
        // Record 1 is somebody else's, too, or gone, and nobody has what the id stood for.
        let all: Vec<Verb> = verbs.iter().map(copy).chain([Put(1, 9, &[6])]).collect();
        for engine in run(&plus(&all)) {
            assert_eq!(engine.lives_on(former), Standing::Emptied);
            assert!(engine.live_ends(former).is_empty() && !engine.all_ends_erased(former));
        }
        let gone: Vec<Verb> = verbs.iter().map(copy).chain([Retract(1, 9)]).collect();
        for engine in run(&plus(&gone)) {
            assert_eq!(engine.lives_on(former), live);
            assert!(engine.live_ends(former).is_empty());
            assert_eq!(engine.retracted_from(&[former]).iter().map(|view| view.digest).next(), Some(record(1)));
        }
    }
}

/// The two were never one person: a record that joined them was taken back. Then record 2 is given to somebody else.
#[test]
fn where_the_merge_was_undone_before_it_leads_to_neither() {
    use Verb::{Put, Retract};
    let verbs = [Put(1, 0, &[1]), Put(2, 0, &[2]), Put(3, 0, &[1, 2]), Retract(3, 1), Put(2, 2, &[9])];
    for engine in run(&verbs) {
        assert_eq!(engine.live_ends(ProfileOrdinal(0)), [ProfileOrdinal(0)]);
        assert_eq!(engine.lives_on(ProfileOrdinal(1)), Standing::Emptied);
    }
}

/// An id that was emptied is not that of whoever gets the key later.
#[test]
fn an_emptied_id_is_taken_up_by_the_same_person_alone() {
    use Verb::{Put, Retract};
    let again: [(&'static [u8], bool); 3] = [(&[1], true), (&[1, 2], true), (&[2], false)];
    for (values, is_same) in again {
        for engine in run(&[Put(1, 0, &[1]), Retract(1, 1), Put(1, 2, values)]) {
            assert_eq!(engine.profile_of(record(1)) == Some(ProfileOrdinal(0)), is_same, "{values:?}");
            assert_eq!(engine.standing(ProfileOrdinal(0)) == Standing::Live, is_same, "{values:?}");
        }
    }
}

/// Record 1 was with record 2 when it was taken back. Its address leads to the profile for as long as record 2 is there and of
/// the same person.
#[test]
fn an_identifier_that_was_taken_back_leads_to_nobody_who_came_later() {
    use Verb::{Put, Retract};
    let held = || vec![Put(1, 0, &[1, 2]), Put(2, 0, &[2]), Retract(1, 1)];
    let led_to = |verbs: Vec<Verb>| run(&verbs).map(|engine| engine.led_to(value(1)).into_iter().next());
    let plus = |verbs: &[Verb]| -> Vec<Verb> { held().into_iter().chain(verbs.iter().map(copy)).collect() };
    assert_eq!(led_to(held()), [Some(ProfileOrdinal(0)); 3]);
    let stays = plus(&[Put(3, 0, &[2]), Put(2, 1, &[2, 5])]);
    assert_eq!(led_to(stays), [Some(ProfileOrdinal(0)); 3]);
    assert_eq!(led_to(plus(&[Put(2, 1, &[9])])), [None; 3], "the profile kept its id, and is somebody else's");
    // Record 3 came when record 1 was gone.
    assert_eq!(led_to(plus(&[Put(3, 0, &[2]), Retract(2, 1)])), [None; 3]);
    assert_eq!(led_to(plus(&[Put(3, 0, &[2]), Put(2, 1, &[9])])), [None; 3]);
}

fn copy(verb: &Verb) -> Verb {
    match verb {
        Verb::Put(number, at, values) => Verb::Put(*number, *at, values),
        Verb::Retract(number, at) => Verb::Retract(*number, *at),
        Verb::Judge(one, other, verdict) => Verb::Judge(*one, *other, *verdict),
    }
}
