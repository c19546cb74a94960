//! LAW 6 and LAW 2: where a no is heard follows from what was said, what waits in quarantine and what the record said last, in
//! whatever order these came.

use onefold_core::fragment::{Fragment, Identifier, PartyKind, SourceRecord};
use onefold_core::ids::SourceId;

use super::*;
use crate::app::ingest::Arriving;

const ADDRESSES: u8 = 4;

/// What happens to the one record of this history; its time is its place in the history as it was made.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Comes {
    /// A fragment with this address, which is taken.
    Put(u8),
    /// One that is held.
    Held(u8),
    Retraction,
    /// A no at the record.
    No,
}

type Told = (i64, Comes);

fn mail(address: u8) -> String {
    format!("waits{address}@harbour-mail.net")
}

fn arriving(tenant: &Tenant, at: i64, address: u8) -> Box<Arriving> {
    let config = tenant.config();
    let namespace = config.namespace_named("email").unwrap();
    let identifiers = vec![Identifier { namespace, raw: mail(address) }];
    let fragment = Fragment {
        record: SourceRecord { source: SourceId(0), key: "one".to_owned() },
        observed_at: ObservedAt(THEN + at * SECOND),
        party: PartyKind::Person,
        identifiers,
        attributes: Vec::new(),
        traits: None,
        affiliations: Vec::new(),
        stages: Vec::new(),
    };
    Box::new(Arriving::of(&fragment, false, &config).0)
}

fn record(tenant: &Tenant) -> Digest128 {
    tenant.config().preparer().record_digest(SourceId(0), "one")
}

fn item(tenant: &Tenant, (at, comes): Told) -> Item {
    match comes {
        Comes::Put(address) => Item::Put(arriving(tenant, at, address)),
        Comes::Held(address) => {
            let faults = vec![FieldFault::new("plan", FaultReason::Missing, "is not there")];
            Item::Quarantine { arriving: arriving(tenant, at, address), faults, received_at: ObservedAt(THEN) }
        }
        Comes::Retraction => Item::Retract { record: record(tenant), at: ObservedAt(THEN + at * SECOND) },
        Comes::No => {
            let Item::Say(mut saying) =
                (Act { address: 0, does: Does::Says(Decision::Withdrawn), given: 1, came: 1 }).item(tenant)
            else {
                panic!("an act is a statement");
            };
            saying.statement.subject = Subject::Record(SourceRecord { source: SourceId(0), key: "one".to_owned() });
            saying.statement.points = vec![record(tenant)];
            Item::Say(Box::new(Saying::new(saying.statement, tenant)))
        }
    }
}

/// At which addresses the no is heard: where it stands, and, where the record is live, at what leads to it.
fn heard(bench: &Bench) -> Vec<bool> {
    let tenant = bench.tenant();
    let email = tenant.config().namespace_named("email").unwrap();
    (0..ADDRESSES)
        .map(|address| {
            let point = tenant.config().preparer().link_value(email, PartyKind::Person, &mail(address)).unwrap().digest;
            let leads = tenant.state().engine.links_of(record(&tenant)).iter().any(|link| link.digest == point);
            bench.holds(if leads { record(&tenant) } else { point }) == Holds::Withdrawn
        })
        .collect()
}

/// The same, by what a history says, and no more.
fn wanted(history: &[Told]) -> Vec<bool> {
    let puts = history.iter().filter_map(|(at, comes)| match comes {
        Comes::Put(address) => Some((*at, *address)),
        _ => None,
    });
    let last = puts.max();
    let no = history.iter().any(|(_, comes)| *comes == Comes::No);
    let of = |address| {
        let waits = |(at, comes): &Told| *comes == Comes::Held(address) && last.is_none_or(|(last, _)| *at > last);
        no && (last.is_some_and(|(_, held)| held == address) || history.iter().any(waits))
    };
    (0..ADDRESSES).map(of).collect()
}

fn history(roll: &mut impl FnMut(u64) -> u64) -> Vec<Told> {
    let length = 2 + roll(6) as i64;
    (1..=length)
        .map(|at| {
            let address = roll(u64::from(ADDRESSES)) as u8;
            let comes = match roll(8) {
                0..=2 => Comes::Put(address),
                3..=5 => Comes::Held(address),
                6 => Comes::Retraction,
                _ => Comes::No,
            };
            (at, comes)
        })
        .chain([(0, Comes::No)])
        .collect()
}

#[test]
fn where_a_no_is_heard_depends_on_no_order() {
    let seed: u64 = 20_261_128;
    let mut dice = seed;
    let mut roll = |sides: u64| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) % sides
    };
    for round in 0..30 {
        let made = history(&mut roll);
        for turn in 0..3 {
            let mut shuffled = made.clone();
            for last in (1..shuffled.len()).rev() {
                shuffled.swap(last, roll(last as u64 + 1) as usize);
            }
            let mut bench = Bench::new();
            let stop = roll(shuffled.len() as u64) as usize;
            for (place, told) in shuffled.iter().enumerate() {
                let item = item(&bench.tenant(), *told);
                bench.together(vec![item]);
                if place == stop {
                    bench = bench.reopened(turn == 0);
                }
            }
            let found = heard(&bench);
            bench.close();
            assert_eq!(found, wanted(&made), "seed {seed}, round {round}: {shuffled:?}, reopened behind {stop}");
        }
        let bench = Bench::new();
        let tenant = bench.tenant();
        let items = made.iter().map(|told| item(&tenant, *told)).collect();
        bench.together(items);
        assert_eq!(heard(&bench), wanted(&made), "seed {seed}, round {round}: in one group: {made:?}");
        drop(tenant);
        bench.close();
    }
}

#[test]
fn what_is_discarded_was_said_and_what_came_newer_says_otherwise() {
    let table: &[(&str, &[Told], &[u8])] = &[
        ("held and discarded", &[(0, Comes::No), (2, Comes::Held(2))], &[2]),
        ("beside an older one", &[(0, Comes::No), (1, Comes::Put(1)), (2, Comes::Held(2))], &[1, 2]),
        ("beside a newer one", &[(0, Comes::No), (2, Comes::Held(2)), (3, Comes::Put(3))], &[3]),
    ];
    for (case, history, want) in table {
        for alone in [false, true] {
            let bench = Bench::new();
            for told in *history {
                let item = item(&bench.tenant(), *told);
                bench.together(vec![item]);
            }
            let (app, tenant) = (Arc::clone(bench.app()), bench.tenant());
            let entries = crate::app::quarantine::oldest(&tenant, None);
            let gone = bench.runtime.block_on(crate::app::quarantine::discard(&app, &tenant, entries, None));
            assert_eq!(gone.unwrap(), 1, "{case}");
            drop((app, tenant));
            let bench = bench.reopened(alone);
            let found: Vec<u8> = (0..ADDRESSES).zip(heard(&bench)).filter(|(_, no)| *no).map(|(at, _)| at).collect();
            assert_eq!(found, *want, "{case}, from the journal alone: {alone}");
            bench.close();
        }
    }
}

/// One step of a history in which fragments are discarded and replayed.
#[derive(Clone, Copy, Debug)]
enum Step {
    Comes(i64, Comes),
    /// The fragment that waits and was observed then.
    Discard(i64),
    /// The same, with its address.
    Replay(i64, u8),
}

fn waiting_since(tenant: &Tenant, at: i64) -> Sequence {
    let observed_at = ObservedAt(THEN + at * SECOND);
    let state = tenant.state();
    let found = state.quarantine.iter().find(|(_, held)| held.version.0 == observed_at);
    *found.unwrap().0
}

fn takes(bench: &Bench, step: Step) {
    let (app, tenant) = (Arc::clone(bench.app()), bench.tenant());
    match step {
        Step::Comes(at, comes) => {
            bench.together(vec![item(&tenant, (at, comes))]);
        }
        Step::Discard(at) => {
            let entries = vec![waiting_since(&tenant, at)];
            let gone = bench.runtime.block_on(crate::app::quarantine::discard(&app, &tenant, entries, None));
            assert_eq!(gone.unwrap(), 1);
        }
        Step::Replay(at, address) => {
            let entry = waiting_since(&tenant, at);
            bench.together(vec![Item::Replay { arriving: arriving(&tenant, at, address), entry }]);
        }
    }
}

/// At which addresses the no is heard after these steps, and again after a start from the checkpoint and from the journal alone.
fn heard_after(steps: &[Step]) -> Vec<u8> {
    let mut bench = Bench::new();
    steps.iter().for_each(|step| takes(&bench, *step));
    let found = |bench: &Bench| -> Vec<u8> {
        (0..ADDRESSES).zip(heard(bench)).filter(|(_, no)| *no).map(|(address, _)| address).collect()
    };
    let live = found(&bench);
    for alone in [false, true] {
        bench = bench.reopened(alone);
        assert_eq!(found(&bench), live, "{steps:?}, from the journal alone: {alone}");
    }
    bench.close();
    live
}

#[test]
fn what_a_discard_left_behind_stays_when_its_record_is_retracted() {
    use Comes::{Held, No, Put, Retraction};
    use Step::{Comes as Told, Discard};
    let no = Told(0, No);
    let (put, held, retracted) = (Told(1, Put(1)), Told(2, Held(2)), Told(3, Retraction));
    for steps in [[no, put, held, Discard(2), retracted], [no, put, held, retracted, Discard(2)]] {
        assert_eq!(heard_after(&steps), [1, 2], "{steps:?}");
    }
}

#[test]
fn what_a_discard_left_behind_outlasts_what_is_older() {
    use Comes::{Held, No, Put, Retraction};
    use Step::{Comes as Told, Discard, Replay};
    let (no, older, newer) = (Told(0, No), Told(1, Held(1)), Told(2, Held(2)));
    let table: &[(&[Step], &[u8])] = &[
        (&[no, older, newer, Discard(2), Replay(1, 1)], &[1, 2]),
        (&[no, older, newer, Replay(1, 1), Discard(2)], &[1, 2]),
        (&[no, newer, Discard(2), Told(1, Put(1))], &[1, 2]),
        (&[no, Told(1, Put(1)), newer, Discard(2)], &[1, 2]),
        // What leads to the record today leads there no more once something older came after all.
        (&[no, Told(0, Put(2)), newer, Discard(2), Told(1, Put(1))], &[1, 2]),
        (&[no, newer, Discard(2), Told(4, Retraction), Told(1, Put(1))], &[1, 2]),
        // What is newer says otherwise, before and after.
        (&[no, newer, Discard(2), Told(3, Put(3))], &[3]),
        (&[no, Told(3, Put(3)), newer, Discard(2)], &[3]),
        (&[no, newer, Discard(2), Told(4, Retraction), Told(3, Put(3))], &[3]),
        (&[no, newer, Told(3, Held(3)), Discard(2), Discard(3)], &[2, 3]),
        (&[no, newer, Told(3, Held(3)), Discard(2), Replay(3, 3)], &[3]),
    ];
    for (steps, want) in table {
        assert_eq!(heard_after(steps), *want, "{steps:?}");
    }
}

/// Whether and when what waits is discarded changes nothing of where a no is heard; what is replayed counts as if it had come whole.
#[test]
fn neither_discards_nor_their_order_take_a_no_from_anywhere() {
    let seed: u64 = 20_261_129;
    let mut dice = seed;
    let mut roll = |sides: u64| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) % sides
    };
    for round in 0..20 {
        let made: Vec<Told> = history(&mut roll).into_iter().filter(|(_, comes)| *comes != Comes::No).collect();
        // 0: waits on, 1: is discarded, 2: is replayed.
        let fates: Vec<u64> = made.iter().map(|_| roll(3)).collect();
        let as_it_ends = made.iter().zip(&fates).map(|((at, comes), fate)| match (comes, fate) {
            (Comes::Held(address), 2) => (*at, Comes::Put(*address)),
            _ => (*at, *comes),
        });
        let ended: Vec<Told> = std::iter::once((0, Comes::No)).chain(as_it_ends).collect();
        let want: Vec<u8> =
            (0..ADDRESSES).zip(wanted(&ended)).filter(|(_, no)| *no).map(|(address, _)| address).collect();
        for _ in 0..3 {
            let mut order: Vec<usize> = (0..made.len()).collect();
            for last in (1..order.len()).rev() {
                order.swap(last, roll(last as u64 + 1) as usize);
            }
            let (mut steps, mut later) = (vec![Step::Comes(0, Comes::No)], Vec::new());
            for one in order {
                let (at, comes) = made[one];
                steps.push(Step::Comes(at, comes));
                later.extend(match (comes, fates[one]) {
                    (Comes::Held(_), 1) => Some(Step::Discard(at)),
                    (Comes::Held(address), 2) => Some(Step::Replay(at, address)),
                    _ => None,
                });
                // Now, or behind more of what comes.
                while !later.is_empty() && roll(2) == 0 {
                    steps.push(later.swap_remove(roll(later.len() as u64) as usize));
                }
            }
            steps.append(&mut later);
            assert_eq!(heard_after(&steps), want, "seed {seed}, round {round}: {steps:?}");
        }
    }
}
