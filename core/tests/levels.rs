//! LAW 10: at no date does a hierarchy have more levels than there may be, whatever was put, moved, planned and loaded, in
//! whatever order.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use onefold_core::hierarchy::import::{self, Row};
use onefold_core::hierarchy::{AccountFacts, AccountKind, AccountOrdinal, Forest, Moment, Refused, Step};
use onefold_core::ids::{Digest128, SourceId};
use onefold_core::limits::{ACCOUNT_LEVELS_MAX, LEVELS_LOOKED_AT_MAX};
use proptest::collection::vec;
use proptest::prelude::*;

/// Chains that are moved about whole, each of so many accounts.
const CHAINS: u32 = 7;
const LENGTH: u32 = 240;
const ALWAYS: Moment = Moment::ALWAYS;

fn record(number: u32) -> Digest128 {
    Digest128::of(&blake3::hash(&number.to_le_bytes()))
}

fn facts(number: u32) -> AccountFacts {
    let (source, kind, since) = (SourceId(0), AccountKind::Organisation, ALWAYS);
    AccountFacts { record: record(number), source, kind, since, domains: Vec::new(), name: None }
}

fn under(parent: u32, from: Moment) -> Step {
    Step { from, parent: Some(AccountOrdinal(parent)) }
}

/// Chains of so many accounts, each below the one before it; the first of each is at the top.
fn chains(count: u32, length: u32) -> Forest {
    let mut forest = Forest::default();
    for number in 0..count * length {
        let account = forest.put(facts(number));
        if number % length > 0 {
            forest.set_parent(account, under(number - 1, ALWAYS));
        }
    }
    forest.measure();
    forest
}

/// The levels that there are at a date, counted anew; `None` where somebody lies above themselves.
fn levels(forest: &Forest, at: Moment) -> Option<usize> {
    let mut deep = vec![0_usize; forest.len()];
    for start in 0..forest.len() as u32 {
        let (mut way, mut next) = (Vec::new(), Some(AccountOrdinal(start)));
        while let Some(account) = next.filter(|account| deep[account.0 as usize] == 0) {
            if way.len() > forest.len() {
                return None;
            }
            way.push(account);
            next = forest.parent(account, at);
        }
        let mut above = next.map_or(0, |account| deep[account.0 as usize]);
        for account in way.into_iter().rev() {
            above += 1;
            deep[account.0 as usize] = above;
        }
    }
    deep.into_iter().max()
}

#[derive(Clone, Debug)]
enum Act {
    /// A chain goes below an account, or to the top.
    Move(u32, Option<u32>, i64),
    /// A new account below another.
    Put(u32, i64),
    /// Chains, or accounts that are new, below accounts, all at once; from a date, or from now on.
    Load(Vec<(Option<u32>, Option<u32>)>, Option<i64>, i64),
    /// What changed is counted; or it is not, so that the next one walks.
    Measure,
}

fn act() -> impl Strategy<Value = Act> {
    let chain = || (0..CHAINS).prop_map(|chain| chain * LENGTH);
    // Mostly the end of a chain, so that it soon goes deep.
    let place = || {
        let end = (1..=CHAINS).prop_map(|chain| chain * LENGTH - 1);
        proptest::option::weighted(0.9, prop_oneof![4 => end, 1 => 0..CHAINS * LENGTH])
    };
    let date = || (0..8i64).prop_map(|at| at * 10);
    prop_oneof![
        6 => (chain(), place(), date()).prop_map(|(chain, place, at)| Act::Move(chain, place, at)),
        1 => (0..CHAINS * LENGTH, date()).prop_map(|(place, at)| Act::Put(place, at)),
        4 => (vec((proptest::option::weighted(0.7, chain()), place()), 1..4), proptest::option::of(date()), date())
            .prop_map(|(rows, from, now)| Act::Load(rows, from, now)),
        2 => Just(Act::Measure),
    ]
}

/// Does it where it may be done; whether it was.
fn take(forest: &mut Forest, act: Act) -> bool {
    match act {
        Act::Move(chain, place, at) => {
            let (account, step) = (AccountOrdinal(chain), Step { from: Moment(at), parent: place.map(AccountOrdinal) });
            let may = step.parent.is_none_or(|parent| forest.check_parent(account, parent, step.from).is_ok());
            if may {
                forest.set_parent(account, step);
            }
            may
        }
        Act::Put(place, at) => {
            let may = forest.check_parent(AccountOrdinal(u32::MAX), AccountOrdinal(place), Moment(at)).is_ok();
            if may {
                let account = forest.put(facts(forest.len() as u32));
                forest.set_parent(account, under(place, Moment(at)));
            }
            may
        }
        Act::Load(rows, from, now) => {
            let (from, now) = (from.map_or(ALWAYS, Moment), Moment(now));
            let next = forest.len() as u32;
            let row = |(line, (chain, place)): (u32, (Option<u32>, Option<u32>))| Row {
                line,
                record: record(chain.unwrap_or(next + line)),
                parent: place.map(record),
            };
            let rows: Vec<Row> = (2..).zip(rows).map(row).collect();
            let may = import::check(forest, &rows, from, now).is_ok();
            if may {
                let set: Vec<_> =
                    rows.iter().filter_map(|row| Some((row, import::holds_from(forest, row, from, now)?))).collect();
                for (row, from) in set {
                    let account = forest.put(AccountFacts { record: row.record, ..facts(0) });
                    let parent = row.parent.map(|parent| forest.find(parent).unwrap());
                    forest.set_parent(account, Step { from, parent });
                }
            }
            may
        }
        Act::Measure => {
            forest.measure();
            false
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn no_sequence_goes_deeper_than_there_are_levels(acts in vec(act(), 1..40), again in any::<bool>()) {
        let mut forest = chains(CHAINS, LENGTH);
        for act in acts {
            let shown = format!("{act:?}");
            if !take(&mut forest, act) {
                continue;
            }
            for at in (-10..90).step_by(10).map(Moment) {
                let levels = levels(&forest, at);
                prop_assert!(levels.is_some_and(|levels| levels <= ACCOUNT_LEVELS_MAX), "{levels:?} at {at:?}: {shown}");
            }
            if again {
                // As a start finds it.
                forest = Forest::of(forest.accounts().to_vec());
            }
        }
    }
}

/// A planned move joined chains that were checked at the day of another.
#[test]
fn a_plan_counts_on_the_day_on_which_it_holds() {
    let mut forest = chains(3, 400);
    let [one, two, three] = [0, 400, 800].map(AccountOrdinal);
    forest.check_parent(two, AccountOrdinal(399), Moment(30)).unwrap();
    forest.set_parent(two, under(399, Moment(30)));
    forest.measure();
    for measured in [true, false] {
        if !measured {
            let new = forest.put(facts(1_200));
            forest.set_parent(new, under(0, ALWAYS));
        }
        // Above or below, on whatever day: together they are 1,200.
        assert_eq!(forest.check_parent(one, AccountOrdinal(1_199), Moment(29)), Err(Refused::TooDeep));
        assert_eq!(forest.check_parent(three, AccountOrdinal(799), Moment(10)), Err(Refused::TooDeep));
        assert_eq!(forest.check_parent(three, AccountOrdinal(599), Moment(31)), Ok(()));
    }
}

#[test]
fn a_load_counts_what_hangs_below_its_rows_and_what_is_planned_above_them() {
    const NONE: [u32; 0] = [];
    let row = |line, of: u32, parent: u32| Row { line, record: record(of), parent: Some(record(parent)) };
    let lines = |forest: &Forest, rows: &[Row]| -> Vec<u32> {
        let faults = import::check(forest, rows, ALWAYS, Moment(5)).err().unwrap_or_default();
        faults.into_iter().map(|(line, _)| line).collect()
    };
    let forest = chains(3, 400);
    assert_eq!(lines(&forest, &[row(2, 400, 399)]), NONE, "800 levels");
    assert_eq!(lines(&forest, &[row(2, 400, 399), row(3, 800, 799)]), [3], "1,200, by two rows");
    assert_eq!(lines(&forest, &[row(2, 5_000, 399), row(3, 400, 5_000), row(4, 800, 598)]), NONE, "1,000 by a new one");
    assert_eq!(lines(&forest, &[row(2, 5_000, 399), row(3, 400, 5_000), row(4, 800, 599)]), [4], "1,001");
    // The first chain is planned to go below another.
    let mut planned = chains(3, 400);
    planned.set_parent(AccountOrdinal(0), under(799, Moment(50)));
    planned.measure();
    assert_eq!(lines(&planned, &[row(2, 800, 199)]), NONE, "600, then 1,000");
    assert_eq!(lines(&planned, &[row(2, 800, 200)]), [2], "1,001 from that day on");
    assert_eq!(lines(&planned, &[row(2, 800, 200), row(3, 0, 5_001), row(4, 5_001, 799)]), [2], "that day is today");
}

/// An account that is new hangs where it does from ever, so where the one above it once lay counts too.
#[test]
fn what_is_new_counts_where_its_parent_once_was() {
    let mut forest = chains(2, 500);
    forest.set_parent(AccountOrdinal(500), under(499, Moment(1)));
    forest.set_parent(AccountOrdinal(500), Step { from: Moment(2), parent: None });
    forest.measure();
    let row = Row { line: 2, record: record(5_000), parent: Some(record(999)) };
    let deep = Err(vec![(2, import::RowFault::TooDeep)]);
    assert_eq!(import::check(&forest, &[row], ALWAYS, Moment(5)), deep, "on the first day it would be the 1,001st");
    assert_eq!(import::check(&forest, &[row], Moment(5), Moment(5)), Ok(()));
}

/// What is turned upside down at once is as deep as it was.
#[test]
fn a_load_that_turns_a_chain_round_is_taken() {
    let mut forest = chains(1, 900);
    let rows: Vec<Row> = (0..900)
        .map(|at: u32| Row { line: at, record: record(at), parent: (at < 899).then(|| record(at + 1)) })
        .collect();
    assert_eq!(import::check(&forest, &rows, ALWAYS, Moment(5)), Ok(()));
    for row in &rows {
        let parent = row.parent.map(|parent| forest.find(parent).unwrap());
        forest.set_parent(forest.find(row.record).unwrap(), Step { from: Moment(5), parent });
    }
    forest.measure();
    assert_eq!(levels(&forest, Moment(5)), Some(900));
    // What the bound still says of before is walked after all.
    let new = forest.put(facts(900));
    assert_eq!(forest.check_parent(AccountOrdinal(899), new, Moment(6)), Ok(()));
    assert_eq!(forest.check_parent(new, AccountOrdinal(0), Moment(6)), Ok(()));
}

/// A check of whom a million lie below is a look at a number; where that says too much, it ends at a bound.
#[test]
fn a_wide_hierarchy_is_not_walked() {
    let wide = LEVELS_LOOKED_AT_MAX as u32 + 10;
    let mut forest = Forest::default();
    let (top, other) = (forest.put(facts(0)), forest.put(facts(1)));
    for number in 2..wide {
        let account = forest.put(facts(number));
        forest.set_parent(account, under(0, ALWAYS));
    }
    // Not measured, it is walked, and refused rather than walked on.
    assert_eq!(forest.check_parent(top, other, Moment(0)), Err(Refused::TooDeep));
    forest.measure();
    assert_eq!(forest.check_parent(top, other, Moment(0)), Ok(()));
}
