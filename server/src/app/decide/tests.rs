//! What one group decides is what its acts would come to one after another (law 6).

use std::sync::atomic::{AtomicI64, Ordering};

use onefold_core::consent::state::{Question, State as Holds};
use onefold_core::consent::{Decision, LawfulBasis, PurposeId, Statement, Subject};
use onefold_core::ids::NamespaceId;
use tokio::runtime::Runtime;

use super::*;
use crate::app::App;
use crate::app::consent::Saying;
use crate::app::recover::{self, Opened};
use crate::clock::Clock;
use crate::config::Config;
use crate::grpc::DEFAULT_TENANT;
use crate::metrics::Meters;

mod waiting;

const SECOND: i64 = 1_000_000;
const THEN: i64 = 1_700_000_000 * SECOND;

/// A clock that stands until it is set.
#[derive(Debug)]
struct Stopped(AtomicI64);

impl Clock for Stopped {
    fn now(&self) -> ObservedAt {
        ObservedAt(self.0.load(Ordering::Relaxed))
    }
}

struct Bench {
    opened: Opened,
    runtime: Runtime,
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self::open(tempfile::tempdir().unwrap())
    }

    fn open(dir: tempfile::TempDir) -> Self {
        let mut config = Config::new(dir.path().join("data"), ([127, 0, 0, 1], 0).into());
        config.match_models = false;
        let clock = Arc::new(Stopped(AtomicI64::new(THEN + 1_000 * SECOND)));
        let opened = recover::open(&config, clock, Arc::new(Meters::new(crate::grpc::calls()))).unwrap();
        Self { opened, runtime: Runtime::new().unwrap(), dir }
    }

    fn app(&self) -> &Arc<App> {
        &self.opened.app
    }

    fn tenant(&self) -> Arc<Tenant> {
        self.app().tenant(DEFAULT_TENANT).unwrap()
    }

    /// In one group: a command is never taken apart.
    fn together(&self, items: Vec<Item>) -> Vec<Outcome> {
        let answers = self.runtime.block_on(self.app().ingest(&self.tenant(), items, None)).unwrap();
        answers.into_iter().map(|Answer { outcome }| outcome).collect()
    }

    /// What holds at an address.
    fn holds(&self, point: Digest128) -> Holds {
        let question = Question::now(PurposeId(0), None, ObservedAt(THEN + 2_000 * SECOND));
        self.tenant().state().consent.ledger.voices(&[point], &question).effective().state
    }

    fn close(self) -> tempfile::TempDir {
        let Self { opened, dir, .. } = self;
        drop(opened.app);
        opened.threads.join();
        dir
    }

    /// Stopped and started again, from its checkpoint or from the journal alone.
    fn reopened(self, alone: bool) -> Self {
        let dir = self.close();
        if alone {
            std::fs::remove_dir_all(dir.path().join("data").join("checkpoint")).unwrap();
        }
        Self::open(dir)
    }
}

/// Something said at an address, at a second, which came to its door at another.
#[derive(Clone, Copy, Debug)]
struct Act {
    address: u8,
    does: Does,
    given: i64,
    came: i64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Does {
    Says(Decision),
    /// Follows the link of a question that was asked before.
    Confirms(Sequence),
    /// Follows a link to unsubscribe.
    Clicks,
}

fn point(address: u8) -> Digest128 {
    Digest128([address + 1; 16])
}

impl Act {
    fn item(self, tenant: &Tenant) -> Item {
        let Self { address, does, given, came } = self;
        let at = |second: i64| ObservedAt(THEN + second * SECOND);
        let statement = Statement {
            subject: Subject::Identifier { namespace: NamespaceId(6), raw: None },
            points: vec![point(address)],
            purpose: (does != Does::Clicks).then_some(PurposeId(0)),
            channel: None,
            decision: match does {
                Does::Says(decision) => decision,
                Does::Confirms(_) => Decision::Granted,
                Does::Clicks => Decision::Withdrawn,
            },
            lawful_basis: LawfulBasis::Consent,
            jurisdiction: None,
            notice: String::new(),
            language: String::new(),
            source: None,
            method: String::new(),
            evidence: String::new(),
            given_at: at(given),
            expires_at: None,
            confirmed_at: None,
            recorded_at: at(came),
            confirms: if let Does::Confirms(pending) = does { Some(pending) } else { None },
            signals: Vec::new(),
            undated: false,
        };
        Item::Say(Box::new(Saying { once: does == Does::Clicks, ..Saying::new(statement, tenant) }))
    }
}

/// What a statement's outcome comes to, whatever its number.
fn kind_of(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Said { known: false, .. } => "said",
        Outcome::Said { known: true, .. } => "known",
        Outcome::Rejected { .. } => "refused",
        _ => "other",
    }
}

/// A question at each address, which waits for its confirmation.
fn questions(bench: &Bench) -> [Sequence; 2] {
    [0, 1].map(|address| {
        let act = Act { address, does: Does::Says(Decision::Pending), given: 0, came: 0 };
        match bench.together(vec![act.item(&bench.tenant())]).remove(0) {
            Outcome::Said { statement, known: false, .. } => statement,
            other => panic!("{other:?}"),
        }
    })
}

/// An act of a history: at which address, what (yes, withdrawal, no, confirmation, click), and its two times.
type Told = (u8, u8, i64, i64);

/// What the acts of a history come to: in one group, or each in its own.
fn after(history: &[Told], one_group: bool) -> (Vec<&'static str>, Vec<String>, [Holds; 2]) {
    let bench = Bench::new();
    let asked = questions(&bench);
    let tenant = bench.tenant();
    let item = |&(address, does, given, came): &Told| {
        let does = match does {
            0 => Does::Says(Decision::Granted),
            1 => Does::Says(Decision::Withdrawn),
            2 => Does::Says(Decision::Denied),
            3 => Does::Confirms(asked[usize::from(address)]),
            _ => Does::Clicks,
        };
        Act { address, does, given, came }.item(&tenant)
    };
    let items: Vec<Item> = history.iter().map(item).collect();
    let outcomes = match one_group {
        true => bench.together(items),
        false => items.into_iter().flat_map(|item| bench.together(vec![item])).collect(),
    };
    let kinds = outcomes.iter().map(kind_of).collect();
    let said = {
        let state = tenant.state();
        let row = |entry: &onefold_core::consent::ledger::Entry| {
            let confirmed = entry.confirmed_by.is_some();
            format!(
                "{} {} {} {confirmed}",
                entry.decision.as_str(),
                entry.given_at.0 - THEN,
                entry.recorded_at.0 - THEN
            )
        };
        state.consent.ledger.all().map(row).collect()
    };
    let holds = [bench.holds(point(0)), bench.holds(point(1))];
    drop(tenant);
    bench.close();
    (kinds, said, holds)
}

#[test]
fn a_yes_does_not_win_over_a_no_that_shares_its_group() {
    let table: &[(&str, &[Told], &[&str], Holds)] = &[
        ("a no, then the confirmation", &[(0, 1, 5, 5), (0, 3, 6, 6)], &["said", "refused"], Holds::Withdrawn),
        ("a click, then the confirmation", &[(0, 4, 5, 5), (0, 3, 6, 6)], &["said", "refused"], Holds::Withdrawn),
        ("a yes of a later door, then a click", &[(0, 0, 9, 9), (0, 4, 5, 5)], &["said", "said"], Holds::Withdrawn),
        ("a yes of a later door, then a no", &[(0, 0, 9, 9), (0, 1, 5, 5)], &["said", "said"], Holds::Withdrawn),
        ("a confirmation, then a click", &[(0, 3, 9, 9), (0, 4, 5, 5)], &["said", "said"], Holds::Withdrawn),
        ("two clicks", &[(0, 4, 5, 5), (0, 4, 6, 6)], &["said", "known"], Holds::Withdrawn),
        ("a click, a yes, a click", &[(0, 4, 5, 5), (0, 0, 6, 6), (0, 4, 7, 7)], &["said"; 3], Holds::Withdrawn),
        ("two confirmations", &[(0, 3, 5, 5), (0, 3, 6, 6)], &["said", "known"], Holds::Granted),
        ("a no elsewhere", &[(1, 1, 5, 5), (0, 3, 6, 6)], &["said", "said"], Holds::Granted),
        ("a yes that is newer", &[(0, 1, 5, 5), (0, 0, 6, 6)], &["said", "said"], Holds::Granted),
        ("a yes that comes twice", &[(0, 0, 5, 5), (0, 0, 5, 6)], &["said", "known"], Holds::Granted),
    ];
    for (name, history, kinds, holds) in table {
        let (said, _, held) = after(history, true);
        assert_eq!((said.as_slice(), held[0]), (*kinds, *holds), "{name}");
    }
}

#[test]
fn one_group_comes_to_what_many_come_to() {
    let seed: u64 = 20_261_127;
    let mut dice = seed;
    let mut roll = |sides: u64| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) % sides
    };
    for round in 0..40 {
        let length = 2 + roll(8);
        let history: Vec<Told> = (0..length)
            .map(|_| {
                let came = 1 + roll(90) as i64;
                // A click's and a confirmation's time is that of its door; other words may tell an earlier or later one.
                let does = roll(5) as u8;
                let given = if does < 3 { came + roll(20) as i64 - 10 } else { came };
                (roll(2) as u8, does, given, came)
            })
            .collect();
        assert_eq!(after(&history, true), after(&history, false), "seed {seed}, round {round}: {history:?}");
    }
}

#[test]
fn a_click_is_recorded_where_a_record_of_its_group_may_take_the_no_along() {
    let bench = Bench::new();
    let tenant = bench.tenant();
    let clicks = |second| Act { address: 0, does: Does::Clicks, given: second, came: second }.item(&tenant);
    let kinds = |items| bench.together(items).iter().map(kind_of).collect::<Vec<_>>();
    assert_eq!(kinds(vec![clicks(5)]), ["said"]);
    assert_eq!(kinds(vec![clicks(6)]), ["known"], "the no that stands is of now");
    let retracts = Item::Retract { record: point(9), at: ObservedAt(THEN) };
    assert_eq!(kinds(vec![retracts, clicks(7)]), ["other", "said"], "it may stand elsewhere once the group is done");
    drop(tenant);
    bench.close();
}

#[test]
fn what_looks_at_records_waits_for_fragments_in_front_of_it() {
    let bench = Bench::new();
    let asked = questions(&bench);
    let tenant = bench.tenant();
    let confirms = || Act { address: 0, does: Does::Confirms(asked[0]), given: 5, came: 5 }.item(&tenant);
    let clicks = || Act { address: 0, does: Does::Clicks, given: 5, came: 5 }.item(&tenant);
    let retracts = || Item::Retract { record: point(9), at: ObservedAt(THEN) };
    let run = |items| vec![(Arc::clone(&tenant), items, tokio::sync::oneshot::channel().0)];
    let share = |before, after: Item| crate::app::lane::share_a_group(&run(before), &tenant, &[after]);
    assert!(!share(vec![retracts()], confirms()), "a no of the record is heard at its addresses afterwards");
    assert!(share(vec![retracts()], clicks()), "a click is recorded, whatever is heard");
    assert!(share(vec![clicks()], confirms()));
    assert!(share(vec![confirms()], retracts()));
    drop(tenant);
    bench.close();
}
