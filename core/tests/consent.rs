//! LAW 6 over random histories: joins, merges, splits, retractions, and caps under all of them.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::collections::BTreeSet;

use onefold_core::consent::contact::{Contact, LocalTime, Reason, allows, decide};
use onefold_core::consent::ledger::{Entry, Ledger};
use onefold_core::consent::permit::permit;
use onefold_core::consent::policy::{Cap, CapScope, ConsentPolicy, Laws, QuietHours, Regime};
use onefold_core::consent::reserve::{
    CannotSettle, Counted, Reservation, Reservations, Standing, account_charge, is_reached,
};
use onefold_core::consent::state::{Question, State};
use onefold_core::consent::{ChannelId, Decision, Jurisdiction, PurposeId};
use onefold_core::fragment::ObservedAt;
use onefold_core::ids::{Digest128, Place, Sequence, SlotId};
use onefold_core::laws;
use proptest::collection::vec;
use proptest::prelude::*;

const MARKETING: PurposeId = PurposeId(0);
const EMAIL: ChannelId = ChannelId(0);
const NOW: ObservedAt = ObservedAt(1_000);

fn point(number: u8) -> Digest128 {
    Digest128([number; 16])
}

/// One statement of a history: at which of eight points, what, when, until when.
#[derive(Clone, Debug)]
struct Told {
    points: BTreeSet<u8>,
    purpose: Option<u16>,
    channel: Option<u16>,
    decision: Decision,
    given_at: i64,
    expires_at: Option<i64>,
}

fn told() -> impl Strategy<Value = Told> {
    let decision = prop_oneof![
        4 => Just(Decision::Granted),
        2 => Just(Decision::Withdrawn),
        1 => Just(Decision::Denied),
        1 => Just(Decision::Objected),
        1 => Just(Decision::Pending),
        1 => Just(Decision::Suppressed),
        1 => Just(Decision::Restricted),
        1 => Just(Decision::Released),
    ];
    let points = proptest::collection::btree_set(0..8u8, 1..4);
    let all = proptest::option::weighted(0.8, 0..2u16);
    (points, 0..2u16, all.clone(), all, decision, 0..20i64, proptest::option::weighted(0.2, 900..1_100i64)).prop_map(
        |(points, purpose, channel, named, decision, given_at, expires_at)| Told {
            points,
            purpose: if decision.may_name_no_purpose() { named.map(|_| purpose) } else { Some(purpose) },
            channel,
            decision,
            given_at: given_at * 50,
            expires_at,
        },
    )
}

fn ledger(history: &[Told]) -> Ledger {
    let mut ledger = Ledger::default();
    for (told, at) in history.iter().zip(1u64..) {
        let entry = Entry {
            id: Sequence(at),
            place: Place { segment: 1, offset: at as u32 },
            slot: SlotId(0),
            purpose: told.purpose.map(PurposeId),
            channel: told.channel.map(ChannelId),
            decision: told.decision,
            given_at: ObservedAt(told.given_at),
            recorded_at: ObservedAt(told.given_at.max(at as i64)),
            expires_at: told.expires_at.map(ObservedAt),
            jurisdiction: None,
            by_identifier: false,
            confirmed_by: None,
            ends_one: false,
            undated: false,
        };
        let points: Vec<Digest128> = told.points.iter().map(|p| point(*p)).collect();
        ledger.record(entry, &points, Digest128([at as u8; 16]));
    }
    ledger
}

fn question() -> Question {
    Question::now(MARKETING, Some(EMAIL), NOW)
}

fn points(of: &BTreeSet<u8>) -> Vec<Digest128> {
    of.iter().map(|p| point(*p)).collect()
}

/// Law 6 in its own words, without the join: is there a stop that no newer grant of a point of its own lifts?
fn stopped_by_the_letter(history: &[Told], cluster: &BTreeSet<u8>) -> bool {
    let bears =
        |told: &Told| told.purpose.is_none_or(|p| p == MARKETING.0) && told.channel.is_none_or(|c| c == EMAIL.0);
    let at = |told: &Told, here: u8| told.points.contains(&here) && bears(told);
    history.iter().filter(|told| told.decision.is_stop()).any(|stop| {
        stop.points.iter().filter(|here| cluster.contains(here)).any(|here| {
            at(stop, *here)
                && !history.iter().any(|grant| {
                    grant.decision == Decision::Granted
                        && at(grant, *here)
                        && grant.expires_at.is_none_or(|end| NOW.0 < end)
                        && grant.given_at > stop.given_at
                })
        })
    })
}

fn clusters() -> impl Strategy<Value = Vec<BTreeSet<u8>>> {
    vec(proptest::collection::btree_set(0..8u8, 1..5), 3)
}

fn jurisdiction() -> impl Strategy<Value = Jurisdiction> {
    prop_oneof![Just("US"), Just("US-CA"), Just("DE"), Just("EU"), Just("BR")]
        .prop_map(|code| Jurisdiction::parse(code).unwrap())
}

/// Of some records the law is known, of others it is not; of a person there is at least one.
fn laws_of_a_person() -> impl Strategy<Value = Laws> {
    (vec(jurisdiction(), 0..3), any::<bool>(), any::<bool>()).prop_map(|(known, unknown, unread)| Laws {
        unknown: unknown || known.is_empty(),
        known,
        unread,
    })
}

fn regime() -> impl Strategy<Value = Regime> {
    prop_oneof![Just(Regime::OptIn), Just(Regime::OptOut)]
}

fn rules() -> impl Strategy<Value = (Vec<(Jurisdiction, Regime)>, Regime)> {
    (vec((jurisdiction(), regime()), 0..4), regime())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn what_is_said_is_a_join_and_a_merge_only_restricts(
        history in vec(told(), 0..14),
        clusters in clusters(),
        regimes in vec(prop_oneof![Just(Regime::OptIn), Just(Regime::OptOut)], 3),
    ) {
        let ledger = ledger(&history);
        let voices: Vec<_> = clusters.iter().map(|c| ledger.voices(&points(c), &question())).collect();
        prop_assert_eq!(laws::consent_is_a_join(&voices[0], &voices[1], &voices[2]), Ok(()));
        let strictest = regimes.iter().copied().max().unwrap();
        let parts: Vec<_> = voices.iter().cloned().zip(regimes).collect();
        prop_assert_eq!(laws::a_merge_only_restricts(&parts, strictest), Ok(()));
        // Joining what is said of the parts is what is said of the whole; a split gives each part its own back.
        let whole: BTreeSet<u8> = clusters.iter().flatten().copied().collect();
        let merged = voices.iter().skip(1).fold(voices[0].clone(), |all, part| all.join(part));
        prop_assert_eq!(&merged, &ledger.voices(&points(&whole), &question()));
        for (cluster, before) in clusters.iter().zip(&voices) {
            prop_assert_eq!(&ledger.voices(&points(cluster), &question()), before);
        }
    }

    /// Whatever the rules of a purpose are, and under whatever laws the halves live: the law of each goes on to hold.
    #[test]
    fn a_merge_brings_nobody_under_a_milder_law(
        history in vec(told(), 0..14),
        clusters in clusters(),
        laws in vec(laws_of_a_person(), 3),
        (rules, default_regime) in rules(),
    ) {
        let ledger = ledger(&history);
        let mut purpose = ConsentPolicy::default().purposes.swap_remove(0);
        (purpose.regimes, purpose.default_regime) = (rules, default_regime);
        let parts: Vec<_> = clusters
            .iter()
            .zip(&laws)
            .map(|(cluster, laws)| (ledger.voices(&points(cluster), &question()), purpose.regime(laws)))
            .collect();
        let merged = Laws {
            known: laws.iter().flat_map(|laws| laws.known.clone()).collect(),
            unknown: laws.iter().any(|laws| laws.unknown),
            unread: laws.iter().any(|laws| laws.unread),
        };
        prop_assert_eq!(Some(purpose.regime(&merged)), laws.iter().map(|laws| purpose.regime(laws)).max());
        prop_assert_eq!(laws::a_merge_only_restricts(&parts, purpose.regime(&merged)), Ok(()));
        // Parted, each is under its own law again.
        for ((cluster, laws), (before, regime)) in clusters.iter().zip(&laws).zip(&parts) {
            prop_assert_eq!(&ledger.voices(&points(cluster), &question()), before);
            prop_assert_eq!(purpose.regime(laws), *regime);
        }
    }

    #[test]
    fn the_join_says_what_the_letter_of_the_law_says(history in vec(told(), 0..14), clusters in clusters()) {
        let ledger = ledger(&history);
        for cluster in clusters {
            let effective = ledger.voices(&points(&cluster), &question()).effective();
            prop_assert_eq!(effective.state.is_stopped(), stopped_by_the_letter(&history, &cluster));
            for id in &effective.decided_by {
                prop_assert!(ledger.get(*id).is_some(), "law 8: {id:?} is evidence");
            }
            if effective.state == State::Granted {
                let granted = history.iter().any(|t| {
                    t.decision == Decision::Granted && !t.points.is_disjoint(&cluster) && t.purpose == Some(MARKETING.0)
                });
                prop_assert!(granted, "unknown is not granted");
            }
        }
    }

    #[test]
    fn the_order_of_recording_does_not_show(
        (history, shuffled) in vec(told(), 0..12).prop_flat_map(|h| (Just(h.clone()), Just(h).prop_shuffle())),
        clusters in clusters(),
    ) {
        // Times of recording are left out: they are of the order. A yes of this history is never dated ahead of them.
        let (one, other) = (ledger(&history), ledger(&shuffled));
        for cluster in clusters {
            let of = |ledger: &Ledger| {
                let effective = ledger.voices(&points(&cluster), &question()).effective();
                (effective.state.is_stopped(), effective.state == State::Granted, effective.suppressed_by.is_empty(), effective.restricted_by.is_empty())
            };
            prop_assert_eq!(of(&one), of(&other));
        }
    }

    #[test]
    fn a_retraction_loses_no_stop_and_a_checkpoint_nothing(
        history in vec(told(), 0..14),
        gone in 0..8u8,
        held in 0..8u8,
        heard in 0..8u8,
    ) {
        let mut ledger = ledger(&history);
        let alone = |ledger: &Ledger, p: u8| ledger.voices(&[point(p)], &question()).effective();
        let (before, beside) = (alone(&ledger, gone), alone(&ledger, held));
        let elsewhere = alone(&ledger, heard);
        // It was heard at another point already, since a discard or a restore.
        ledger.stand_on(point(gone), &[point(heard)], None);
        let heard_before = alone(&ledger, heard);
        ledger.record_left(point(gone), || vec![point(held)]);
        let after = alone(&ledger, held);
        prop_assert!(!heard_before.state.is_stopped() || alone(&ledger, heard).state.is_stopped(), "it is heard there still");
        if gone != held {
            prop_assert_eq!(after.state.is_stopped(), before.state.is_stopped() || beside.state.is_stopped());
            prop_assert!(after.state != State::Granted || beside.state == State::Granted, "a retracted record grants nothing");
        }
        let kept = Ledger::from_rows(ledger.to_rows());
        prop_assert_eq!(&kept, &ledger);
        ledger.record_is_back(point(gone), (ObservedAt(0), point(0)));
        prop_assert_eq!(alone(&ledger, held), beside);
        prop_assert_eq!(alone(&ledger, heard), elsewhere);
    }

    #[test]
    fn never_more_than_the_cap_whatever_the_clusters(
        steps in vec((0..6u8, 0..6u8, 0..400i64, 0..4u8), 1..60),
        most in 1..4u32,
    ) {
        // People of six records that merge and split at random; contacts are asked for at random times.
        let cap = Cap { name: "cap".to_owned(), purpose: None, channel: None, most, window_seconds: 100, scope: CapScope::Person };
        let mut reservations = Reservations::default();
        let mut person: [u8; 6] = [0, 1, 2, 3, 4, 5];
        let mut next = Sequence(0);
        let second = |at: i64| ObservedAt(at * 1_000_000);
        for (a, b, at, what) in steps {
            match what {
                0 => { let (from, into) = (person[a as usize], person[b as usize]); for p in &mut person { if *p == from { *p = into; } } }
                1 => { person[a as usize] = 10 + a; }
                _ => {
                    let records: Vec<Digest128> = (0..6u8).filter(|r| person[*r as usize] == person[a as usize]).map(point).collect();
                    let now = second(500);
                    if !is_reached(&cap, &reservations.times(&records, &cap, now), second(at)) {
                        next = next.next();
                        reservations.reserve(next, Reservation {
                            purpose: MARKETING, channel: EMAIL, at: second(at), expires_at: second(1_000), charged: records, standing: Standing::Open,
                        }, second(at));
                    }
                }
            }
            // Of every record alone, and so of every person that can come about, no span holds more than the cap.
            for record in 0..6u8 {
                let times = reservations.times(&[point(record)], &cap, second(500));
                for start in &times {
                    let within = times.iter().filter(|t| *t >= start && t.0 - start.0 < 100 * 1_000_000).count();
                    prop_assert!(within <= most as usize, "record {record}: {within} contacts");
                }
            }
        }
    }

    #[test]
    fn never_more_than_the_cap_in_any_scope(
        steps in vec((0..6u8, 0..6u8, 0..400i64, 0..7u8), 1..80),
        most in 1..4u32,
    ) {
        // Six records of people, in three households and four accounts. People merge and split, move house and change
        // their employer; accounts merge and split. One contact counts for all three scopes at once.
        let scopes = [CapScope::Person, CapScope::Household, CapScope::Account];
        let caps = scopes.map(|scope| Cap { name: scope.as_str().to_owned(), purpose: None, channel: None, most, window_seconds: 100, scope });
        let mut reservations = Reservations::default();
        let (mut person, mut home, mut work) = ([0, 1, 2, 3, 4, 5], [None; 6], [None; 6]);
        let mut company: [u8; 4] = [0, 1, 2, 3];
        let (house, account) = (|h: u8| point(100 + h), |a: u8| account_charge(point(50 + a)));
        let second = |at: i64| ObservedAt(at * 1_000_000);
        let mut next = Sequence(0);
        for (a, b, at, what) in steps {
            let (of, to) = (a as usize, b as usize);
            match what {
                0 => { let (from, into) = (person[of], person[to]); person.iter_mut().filter(|p| **p == from).for_each(|p| *p = into); }
                1 => person[of] = 10 + a,
                2 => home[of] = Some(b % 3),
                3 => work[of] = Some(b % 4),
                4 => company[of % 4] = if a == b { 10 + a } else { company[to % 4] },
                _ => {
                    let records: Vec<usize> = (0..6).filter(|r| person[*r] == person[of]).collect();
                    let mut households: Vec<Digest128> = records.iter().filter_map(|r| home[*r]).map(house).collect();
                    households.sort_unstable();
                    households.dedup();
                    let employers: BTreeSet<u8> = records.iter().filter_map(|r| work[*r]).map(|w| company[w as usize]).collect();
                    let together = |one: &u8| (0..4u8).filter(|a| company[*a as usize] == *one).map(account).collect::<Vec<_>>();
                    let counted = Counted {
                        person: records.iter().map(|r| point(*r as u8)).collect(),
                        households,
                        accounts: employers.iter().map(together).collect(),
                        ..Counted::default()
                    };
                    let is_full = |cap: &Cap| counted.groups(cap.scope).any(|(group, _)| is_reached(cap, &reservations.times(group, cap, second(500)), second(at)));
                    if !caps.iter().any(is_full) {
                        next = next.next();
                        let mut charged = counted.person.clone();
                        charged.extend(counted.households.iter().chain(counted.accounts.iter().flatten()));
                        reservations.reserve(next, Reservation {
                            purpose: MARKETING, channel: EMAIL, at: second(at), expires_at: second(1_000), charged, standing: Standing::Open,
                        }, second(at));
                    }
                }
            }
            for charge in (0..6).map(point).chain((0..3).map(house)).chain((0..4).map(account)) {
                let times = reservations.times(&[charge], &caps[0], second(500));
                for start in &times {
                    let within = times.iter().filter(|t| *t >= start && t.0 - start.0 < 100 * 1_000_000).count();
                    prop_assert!(within <= most as usize, "{charge:?}: {within} contacts");
                }
            }
        }
    }
}

#[test]
fn a_yes_dated_ahead_does_not_outlive_a_later_no() {
    let said = |decision, given_at| Told {
        points: BTreeSet::from([1]),
        purpose: Some(0),
        channel: None,
        decision,
        given_at,
        expires_at: None,
    };
    let mut ledger = Ledger::default();
    for (id, (told, recorded_at)) in
        [(said(Decision::Granted, 9_000), 10), (said(Decision::Withdrawn, 20), 20)].into_iter().enumerate()
    {
        let entry = Entry {
            id: Sequence(id as u64 + 1),
            place: Place { segment: 1, offset: 0 },
            slot: SlotId(0),
            purpose: Some(MARKETING),
            channel: None,
            decision: told.decision,
            given_at: ObservedAt(told.given_at),
            recorded_at: ObservedAt(recorded_at),
            expires_at: None,
            jurisdiction: None,
            by_identifier: false,
            confirmed_by: None,
            ends_one: false,
            undated: false,
        };
        ledger.record(entry, &[point(1)], Digest128([id as u8; 16]));
    }
    assert_eq!(ledger.voices(&[point(1)], &question()).effective().state, State::Withdrawn);
}

#[test]
fn the_strictest_known_law_applies() {
    let policy = ConsentPolicy::default();
    let marketing = policy.purpose_named("marketing").unwrap();
    let of = |codes: &[&str]| Laws {
        known: codes.iter().filter_map(|code| Jurisdiction::parse(code).ok()).collect(),
        unknown: codes.contains(&"?"),
        unread: codes.contains(&"unread"),
    };
    let table = [
        (&[][..], Regime::OptIn),
        (&["US"], Regime::OptOut),
        (&["US-CA"], Regime::OptOut),
        (&["DE"], Regime::OptIn),
        (&["US", "DE"], Regime::OptIn),
        (&["?"], Regime::OptIn),
        (&["US", "?"], Regime::OptIn),
        (&["US", "unread"], Regime::OptIn),
    ];
    for (codes, want) in table {
        assert_eq!(marketing.regime(&of(codes)), want, "{codes:?}");
    }
    let mut europe = marketing.clone();
    europe.default_regime = Regime::OptOut;
    europe.regimes = vec![(Jurisdiction::parse("EU").unwrap(), Regime::OptIn)];
    assert_eq!((europe.regime(&of(&["FR"])), europe.regime(&of(&["BR"]))), (Regime::OptIn, Regime::OptOut));
    // What is told and cannot be read may be any law; what is not told is what the policy says of nobody's.
    assert_eq!((europe.regime(&of(&["BR", "unread"])), europe.regime(&of(&["?"]))), (Regime::OptIn, Regime::OptOut));
    for bad in ["", "D", "DEU", "D1", "US-", "US-CALI", "é"] {
        assert!(Jurisdiction::parse(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn a_decision_names_every_reason_against_it() {
    let mut policy = ConsentPolicy::default();
    policy.caps.push(Cap {
        name: "weekly".to_owned(),
        purpose: None,
        channel: None,
        most: 0,
        window_seconds: 10,
        scope: CapScope::Person,
    });
    policy.channels[0].quiet_hours = vec![QuietHours { from_minute: 1_320, until_minute: 480 }];
    let contact = Contact { purpose: &policy.purposes[0], channel: &policy.channels[0], at: NOW, now: NOW };
    let told = |decision| Told {
        points: BTreeSet::from([1]),
        purpose: Some(0),
        channel: None,
        decision,
        given_at: 1,
        expires_at: None,
    };
    let ledger = ledger(&[told(Decision::Withdrawn), told(Decision::Suppressed)]);
    let effective = ledger.voices(&[point(1)], &question()).effective();
    let local = LocalTime::Minutes(vec![720, 30]);
    let reasons = decide(
        contact,
        &effective,
        &Laws::default(),
        &local,
        &policy,
        &Counted { person: vec![point(1)], ..Counted::default() },
        &Reservations::default(),
    );
    let names: Vec<&str> = reasons.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(names, ["SUPPRESSED", "WITHDRAWN", "QUIET_HOURS", "CAP_REACHED"]);
    assert!(!allows(&reasons) && !allows(&[]));
    let unknown = decide(
        contact,
        &effective,
        &Laws::default(),
        &LocalTime::Unknown,
        &policy,
        &Counted { person: vec![point(1)], ..Counted::default() },
        &Reservations::default(),
    );
    assert!(unknown.iter().any(|reason| reason.as_str() == "TIME_ZONE_UNKNOWN"));
}

#[test]
fn a_permit_opens_what_its_purpose_reads_and_nothing_without_a_yes() {
    let policy = ConsentPolicy::default();
    let marketing = policy.purpose_named("marketing").unwrap();
    let told = |decision, channel| Told {
        points: BTreeSet::from([1]),
        purpose: Some(0),
        channel,
        decision,
        given_at: 1,
        expires_at: None,
    };
    let asked = |history: &[Told], regime| {
        let ledger = ledger(history);
        let said_of = |channel| ledger.voices(&[point(1)], &Question::now(MARKETING, channel, NOW)).effective();
        let channels = [0, 1].map(|channel| said_of(Some(ChannelId(channel))));
        permit(marketing, &channels, &said_of(None), regime)
    };
    let permitted =
        asked(&[told(Decision::Granted, Some(0)), told(Decision::Withdrawn, Some(1))], Regime::OptIn).unwrap();
    assert!(permitted.attribute("given_name") && permitted.attribute("address.city"));
    assert!(!permitted.attribute("birth_date") && !permitted.attribute("given_names"));
    let later = |told: Told| Told { given_at: 2, ..told };
    let on_each = [0, 1].map(|channel| later(told(Decision::Withdrawn, Some(channel))));
    for refused in [
        vec![],
        vec![told(Decision::Granted, Some(0)), told(Decision::Withdrawn, None)],
        vec![told(Decision::Granted, Some(0)), told(Decision::Restricted, Some(1))],
        [vec![told(Decision::Granted, None)], on_each.to_vec()].concat(),
    ] {
        assert!(asked(&refused, Regime::OptIn).is_err(), "{refused:?}");
    }
    assert!(asked(&[], Regime::OptOut).is_ok());
    assert!(asked(&on_each[..1], Regime::OptOut).is_ok());
    let no_on_each = asked(&on_each, Regime::OptOut).unwrap_err();
    assert!(
        matches!(no_on_each.0[..], [Reason::Stopped(..)]),
        "silence about all together opens nothing: {no_on_each:?}"
    );
    // Where a tenant has no channels, what was said of all together is all that there is.
    let alone =
        |history: &[Told]| ledger(history).voices(&[point(1)], &Question::now(MARKETING, None, NOW)).effective();
    assert!(permit(marketing, &[], &alone(&[told(Decision::Granted, None)]), Regime::OptIn).is_ok());
    assert!(permit(marketing, &[], &alone(&[]), Regime::OptIn).is_err());
}

#[test]
fn reservations_settle_once_and_in_time() {
    let mut all = Reservations::default();
    let one = Reservation {
        purpose: MARKETING,
        channel: EMAIL,
        at: NOW,
        expires_at: ObservedAt(2_000),
        charged: vec![point(1)],
        standing: Standing::Open,
    };
    for id in 1..=3 {
        all.reserve(Sequence(id), one.clone(), NOW);
    }
    assert_eq!(all.may_settle(Sequence(1), Standing::Confirmed, NOW), Ok(true));
    all.settle(Sequence(1), Standing::Confirmed);
    all.settle(Sequence(2), Standing::Released);
    let late = ObservedAt(2_000);
    let table = [
        (1, Standing::Confirmed, late, Ok(false)),
        (1, Standing::Released, NOW, Err(CannotSettle::Confirmed)),
        (2, Standing::Confirmed, NOW, Err(CannotSettle::Released)),
        (3, Standing::Confirmed, late, Err(CannotSettle::Expired)),
        (3, Standing::Released, late, Ok(true)),
        (9, Standing::Released, NOW, Err(CannotSettle::Unknown)),
    ];
    for (id, to, now, want) in table {
        assert_eq!(all.may_settle(Sequence(id), to, now), want, "{id} {to:?}");
    }
    let cap =
        Cap { name: "c".to_owned(), purpose: None, channel: None, most: 9, window_seconds: 1, scope: CapScope::Person };
    assert_eq!((all.times(&[point(1)], &cap, NOW).len(), all.times(&[point(1)], &cap, late).len()), (2, 1));
    all.forget_before(ObservedAt(1_001));
    assert!(all.is_empty() && all.times(&[point(1)], &cap, NOW).is_empty());
}
