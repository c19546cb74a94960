//! A whole hierarchy at once: every row is checked against every other and against what is known, and every fault is told.
//! Either all of it may be taken or nothing is.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::{Account, AccountOrdinal, Forest, Moment};
use crate::ids::Digest128;
use crate::limits::{ACCOUNT_LEVELS_MAX, LEVELS_LOOKED_AT_MAX, PARENT_STEPS_MAX};

/// The part of a row that the hierarchy rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Line in the caller's file, from 1.
    pub line: u32,
    /// Keyed digest of the account's source record.
    pub record: Digest128,
    /// That of its parent; none: at the top.
    pub parent: Option<Digest128>,
}

/// What is wrong with a row.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowFault {
    /// The same account twice.
    #[error("the account stands in line {first} already: keep one of the two")]
    Duplicate {
        /// The line that names it first.
        first: u32,
    },
    /// Its own parent.
    #[error("the account is its own parent: leave the parent empty for one at the top")]
    SelfParent,
    /// A parent that nobody knows.
    #[error("the parent stands neither in this file nor in the hierarchy: add a row for it, or correct its key")]
    Orphan,
    /// The parent lies below the account.
    #[error("the account lies above itself through line(s) {}: correct one of these parents", shown(lines, *more))]
    Cycle {
        /// The first lines of the circle, this one in front; accounts that are not in the file have none.
        lines: Vec<u32>,
        /// How many lines it has beyond these.
        more: usize,
    },
    /// The parent is closed.
    #[error("the parent is closed: give an open one")]
    ParentClosed,
    /// Below more levels than there may be.
    #[error("the account would lie below more than the {ACCOUNT_LEVELS_MAX} levels there may be")]
    TooDeep,
    /// More changes of parent than one account may have.
    #[error("the account has changed its parent {PARENT_STEPS_MAX} times, the most there may be")]
    TooManySteps,
}

/// Lines of a circle that a fault names at most.
const LINES_SHOWN_MAX: usize = 20;

fn shown(lines: &[u32], more: usize) -> String {
    let mut text: Vec<String> = lines.iter().map(u32::to_string).collect();
    if more > 0 {
        text.push(format!("… and {more} more"));
    }
    text.join(", ")
}

/// An account of the result: known already, or only in the file.
type Name = Digest128;

/// From when on a row's parent is to hold, as far as it is to be written down: `None` where it is the parent already.
/// Without a date, which is [`Moment::ALWAYS`], it holds from ever of an account that is new and from `now` of one that is
/// known, whose past and plans stay where nothing changes.
#[must_use]
pub fn holds_from(forest: &Forest, row: &Row, from: Moment, now: Moment) -> Option<Moment> {
    let known = forest.find(row.record);
    let Some(account) = known.and_then(|known| forest.get(known)) else { return Some(from) };
    let begins = from.or_now(now);
    let there = account.step(begins).and_then(|step| step.parent);
    let parent = row.parent.map(|parent| forest.find(parent));
    let same = match (parent, there) {
        (None, None) => true,
        (Some(Some(parent)), Some(there)) => parent == there,
        _ => false,
    };
    // A date that is given says so from then on for ever; what was planned for later is replaced.
    let planned = from != Moment::ALWAYS && account.parents.last().is_some_and(|last| last.from > begins);
    if same && !planned { None } else { Some(begins) }
}

/// Checks rows that are to say who is whose parent from `from` on, all at once; without a date as [`holds_from`] says.
///
/// # Errors
/// Every fault with its line, in order of the lines.
pub fn check(forest: &Forest, rows: &[Row], from: Moment, now: Moment) -> Result<(), Vec<(u32, RowFault)>> {
    let begins = from.or_now(now);
    let mut faults = Vec::new();
    let mut by_record: HashMap<Name, &Row> = HashMap::with_capacity(rows.len());
    for row in rows {
        match by_record.entry(row.record) {
            std::collections::hash_map::Entry::Occupied(first) => {
                faults.push((row.line, RowFault::Duplicate { first: first.get().line }));
            }
            std::collections::hash_map::Entry::Vacant(place) => {
                place.insert(row);
            }
        }
    }
    let mut written: HashSet<Name> = HashSet::with_capacity(rows.len());
    for row in rows {
        let known = |record| forest.find(record).and_then(|ordinal| forest.get(ordinal));
        match row.parent {
            Some(parent) if parent == row.record => faults.push((row.line, RowFault::SelfParent)),
            Some(parent) if known(parent).is_none() && !by_record.contains_key(&parent) => {
                faults.push((row.line, RowFault::Orphan));
            }
            // Who is below an account when it closes stays there, and may be told again.
            Some(parent)
                if known(parent).is_some_and(|parent| parent.is_closed(begins))
                    && forest.find(row.record).and_then(|below| forest.parent(below, begins))
                        != forest.find(parent) =>
            {
                faults.push((row.line, RowFault::ParentClosed));
            }
            _ => {}
        }
        let Some(from) = holds_from(forest, row, from, now) else { continue };
        written.insert(row.record);
        let steps = known(row.record).map_or(0, |account| account.parents.partition_point(|step| step.from < from));
        if steps >= PARENT_STEPS_MAX {
            faults.push((row.line, RowFault::TooManySteps));
        }
    }
    let loaded = Loaded { forest, rows: &by_record, written: &written };
    let found = faults.len();
    let tops = loaded.circles(rows, begins, &mut faults);
    if !faults[found..].iter().any(|(_, fault)| matches!(fault, RowFault::Cycle { .. })) {
        loaded.depths(rows, begins, &tops, &mut faults);
        if from == Moment::ALWAYS {
            loaded.past(rows, &mut faults);
        }
    }
    if faults.is_empty() {
        return Ok(());
    }
    // One circle found at several dates is one fault.
    faults.sort_by_key(|(line, _)| *line);
    let circles = |a: &RowFault, b: &RowFault| matches!((a, b), (RowFault::Cycle { .. }, RowFault::Cycle { .. }));
    faults.dedup_by(|a, b| a.0 == b.0 && (a.1 == b.1 || circles(&a.1, &b.1)));
    Err(faults)
}

/// The hierarchy as it would be.
struct Loaded<'a> {
    forest: &'a Forest,
    rows: &'a HashMap<Name, &'a Row>,
    /// Those of them whose parent is written down. The others stay as they are, with what is planned.
    written: &'a HashSet<Name>,
}

/// The most levels at and below accounts on ways through a row, and the line of such a row.
type Through = HashMap<Name, (usize, u32)>;

/// How many levels there are at and above accounts.
#[derive(Default)]
struct Tops {
    /// Of each row, at the moment of the load.
    rows: Vec<usize>,
    /// Of known accounts above rows, at the moments at which they are planned to move later.
    later: Vec<(Moment, Name, usize)>,
}

/// An account that was passed on a walk up: on which, and how many levels there are from it up; not known on a circle.
type Passed = (u32, usize);

impl Loaded<'_> {
    /// The parent at a moment from the load on.
    fn parent(&self, name: Name, at: Moment) -> Option<Name> {
        if let Some(row) = self.rows.get(&name).filter(|_| self.written.contains(&name)) {
            // Its own fault is told already.
            return row.parent.filter(|parent| *parent != name);
        }
        let parent = self.forest.parent(self.forest.find(name)?, at)?;
        self.forest.get(parent).map(|parent| parent.facts.record)
    }

    /// Finds every circle, and who lies too deep: at the moment of the load, and at every later one at which an account that
    /// is not loaded is planned to move, since at no other moment anything new begins. Before the load only accounts that are
    /// new hang anywhere new, and below them nobody did.
    ///
    /// Answers with the levels at and above each row at the moment of the load, and at and above each account that moves later.
    fn circles(&self, rows: &[Row], from: Moment, faults: &mut Vec<(u32, RowFault)>) -> Tops {
        let mut known: HashMap<Name, Passed> = HashMap::with_capacity(rows.len());
        for (round, row) in (1..).zip(rows) {
            self.walk(row.record, from, round, &mut known, faults);
        }
        let mut tops = Tops::default();
        let above = |known: &HashMap<Name, Passed>, name| known.get(&name).map_or(0, |(_, levels)| *levels);
        tops.rows.extend(rows.iter().map(|row| above(&known, row.record)));
        // Whole hierarchies begin on one day, so what was passed at a date is passed once.
        let mut later: BTreeMap<Moment, Vec<Name>> = BTreeMap::new();
        for account in self.above(rows, from) {
            let name = account.facts.record;
            for step in account.parents.iter().filter(|step| step.from > from && step.parent.is_some()) {
                later.entry(step.from).or_default().push(name);
            }
        }
        for (at, names) in later {
            let mut known = HashMap::new();
            for (round, name) in (1..).zip(names) {
                self.walk(name, at, round, &mut known, faults);
                tops.later.push((at, name, above(&known, name)));
            }
        }
        tops
    }

    /// Finds rows below which known accounts would lie too deep: at the moment of the load, and at each later one at which
    /// something above them is planned to move. At any date a way that is new leads through rows. Below the lowest of them it is
    /// as it was, and all of it holds since the last of the moves on it.
    fn depths(&self, rows: &[Row], from: Moment, tops: &Tops, faults: &mut Vec<(u32, RowFault)>) {
        let bound = |row: &Row| self.forest.find(row.record).map_or(1, |account| self.forest.levels_bound(account));
        if self.too_deep(rows, from, tops, &bound).is_empty() {
            return;
        }
        // The bound may say too much.
        let mut looks = LEVELS_LOOKED_AT_MAX;
        let exact: HashMap<Name, usize> =
            rows.iter().map(|row| (row.record, self.levels_below(row, from, &mut looks))).collect();
        let exact = |row: &Row| exact.get(&row.record).copied().unwrap_or(1);
        faults.extend(self.too_deep(rows, from, tops, &exact).into_iter().map(|line| (line, RowFault::TooDeep)));
    }

    /// Finds rows of accounts that are new, and hang from ever below known ones, where these once lay deeper than they lie today.
    fn past(&self, rows: &[Row], faults: &mut Vec<(u32, RowFault)>) {
        let new: Vec<Row> = rows.iter().filter(|row| self.forest.find(row.record).is_none()).copied().collect();
        let Some(below) = self.through_rows(&new, &[], &|_: &Row| 1, |_| Vec::new()) else { return };
        for (name, (levels, line)) in below {
            let Some(account) = self.forest.find(name) else { continue };
            let above = self.forest.levels_up(account, AccountOrdinal(u32::MAX), Moment::ALWAYS);
            if above.is_ok_and(|above| above.saturating_add(levels) > ACCOUNT_LEVELS_MAX + 1) {
                faults.push((line, RowFault::TooDeep));
            }
        }
    }

    /// The levels at and below a row, but for what the load puts elsewhere.
    fn levels_below(&self, row: &Row, from: Moment, looks: &mut usize) -> usize {
        let Some(account) = self.forest.find(row.record) else { return 1 };
        let is_written = |child| self.forest.get(child).is_some_and(|known| self.written.contains(&known.facts.record));
        self.forest.levels_down(account, from, ACCOUNT_LEVELS_MAX, is_written, looks)
    }

    /// The lines of rows below which it goes too deep, where each has so many levels at and below itself.
    fn too_deep(&self, rows: &[Row], from: Moment, tops: &Tops, levels: &impl Fn(&Row) -> usize) -> BTreeSet<u32> {
        let written = |row: &&Row| self.written.contains(&row.record);
        let deep = |(row, above): (&Row, &usize)| above.saturating_add(levels(row)) > ACCOUNT_LEVELS_MAX + 1;
        let now = rows.iter().zip(&tops.rows).filter(|(row, _)| written(row)).filter(|both| deep(*both));
        // Who lies in the file too deep is told of already.
        let mut lines: BTreeSet<u32> =
            now.filter(|(_, above)| **above <= ACCOUNT_LEVELS_MAX).map(|(row, _)| row.line).collect();
        if tops.later.is_empty() {
            return lines;
        }
        let above = self.above(rows, from);
        let whenever = self.through_rows(rows, &above, levels, |account| {
            account.steps_from(from).filter_map(|(step, _)| step.parent).collect()
        });
        let mut of_date: Option<(Moment, Through)> = None;
        for (at, name, top) in &tops.later {
            let below = match &whenever {
                Some(below) => below.get(name),
                // A circle through several dates: each by itself.
                None => {
                    if of_date.as_ref().is_none_or(|(date, _)| date != at) {
                        let parents =
                            |account: &Account| account.step(*at).and_then(|step| step.parent).into_iter().collect();
                        let found = self.through_rows(rows, &above, levels, parents);
                        of_date = Some((*at, found.unwrap_or_default()));
                    }
                    of_date.as_ref().and_then(|(_, below)| below.get(name))
                }
            };
            if let Some((_, line)) = below.filter(|(below, _)| top.saturating_add(*below) > ACCOUNT_LEVELS_MAX + 1) {
                lines.insert(*line);
            }
        }
        lines
    }

    /// Of rows, and of accounts above them, the most levels at and below each on ways through a row, and the line of such a row;
    /// with the parents of known accounts as they are told. `None` where these make a circle.
    fn through_rows(
        &self,
        rows: &[Row],
        above: &[&Account],
        levels: &impl Fn(&Row) -> usize,
        parents: impl Fn(&Account) -> Vec<AccountOrdinal>,
    ) -> Option<Through> {
        let mut ups: HashMap<Name, Vec<Name>> = HashMap::with_capacity(rows.len() + above.len());
        let mut found: Through = HashMap::with_capacity(rows.len() + above.len());
        for row in rows.iter().filter(|row| self.written.contains(&row.record)) {
            ups.insert(row.record, row.parent.filter(|parent| *parent != row.record).into_iter().collect());
            found.insert(row.record, (levels(row), row.line));
        }
        for account in above {
            let mut all = parents(account);
            all.sort_unstable();
            all.dedup();
            let all = all.into_iter().filter_map(|parent| self.forest.get(parent)).map(|parent| parent.facts.record);
            ups.insert(account.facts.record, all.collect());
        }
        let mut waits: HashMap<Name, usize> = HashMap::with_capacity(ups.len());
        for parent in ups.values().flatten() {
            *waits.entry(*parent).or_default() += 1;
        }
        let mut next: Vec<Name> = ups.keys().filter(|name| !waits.contains_key(*name)).copied().collect();
        let mut passed = 0;
        while let Some(name) = next.pop() {
            let Some(all) = ups.get(&name) else { continue };
            passed += 1;
            let own = found.get(&name).copied();
            for parent in all {
                if let Some((levels, line)) = own {
                    let raised = (levels.saturating_add(1), line);
                    found.entry(*parent).and_modify(|known| *known = (*known).max(raised)).or_insert(raised);
                }
                let left = waits.entry(*parent).or_default();
                *left = left.saturating_sub(1);
                if *left == 0 {
                    next.push(*parent);
                }
            }
        }
        (passed == ups.len()).then_some(found)
    }

    /// The accounts that lie above a row that is written down, at whatever date from the load on, each once; the written ones
    /// left out. What is new leads through such a row, so nobody else is looked at, however large the hierarchy is.
    fn above(&self, rows: &[Row], from: Moment) -> Vec<&Account> {
        let written = rows.iter().filter(|row| self.written.contains(&row.record));
        let mut next: Vec<Name> = written.filter_map(|row| row.parent).collect();
        let (mut reached, mut found) = (HashSet::new(), Vec::new());
        while let Some(name) = next.pop() {
            if self.written.contains(&name) || !reached.insert(name) {
                continue;
            }
            let Some(account) = self.forest.find(name).and_then(|account| self.forest.get(account)) else { continue };
            let parents = account.steps_from(from).filter_map(|(step, _)| self.forest.get(step.parent?));
            next.extend(parents.map(|parent| parent.facts.record));
            found.push(account);
        }
        found
    }

    /// Walks up from an account until the top, an account of an earlier round, or one of this round: a circle.
    fn walk(
        &self,
        start: Name,
        at: Moment,
        round: u32,
        known: &mut HashMap<Name, Passed>,
        faults: &mut Vec<(u32, RowFault)>,
    ) {
        let mut way = Vec::new();
        let mut levels = 0;
        let mut next = Some(start);
        while let Some(name) = next {
            match known.get(&name) {
                Some((seen, _)) if *seen == round => {
                    let begins = way.iter().position(|passed| *passed == name).unwrap_or(0);
                    let lines: Vec<u32> =
                        way[begins..].iter().filter_map(|name| self.rows.get(name)).map(|row| row.line).collect();
                    for (turn, line) in lines.iter().enumerate() {
                        let around = lines.iter().cycle().skip(turn).take(lines.len().min(LINES_SHOWN_MAX));
                        let more = lines.len().saturating_sub(LINES_SHOWN_MAX);
                        faults.push((*line, RowFault::Cycle { lines: around.copied().collect(), more }));
                    }
                    return;
                }
                Some((_, above)) => {
                    levels = *above;
                    break;
                }
                None => {
                    known.insert(name, (round, 0));
                    way.push(name);
                    next = self.parent(name, at);
                }
            }
        }
        for name in way.into_iter().rev() {
            levels += 1;
            known.insert(name, (round, levels));
            if let Some(row) = self.rows.get(&name).filter(|_| levels > ACCOUNT_LEVELS_MAX) {
                faults.push((row.line, RowFault::TooDeep));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hierarchy::{AccountFacts, AccountKind, AccountOrdinal, Step};
    use crate::ids::SourceId;

    fn name(number: u8) -> Digest128 {
        Digest128([number; 16])
    }

    fn facts(number: u8) -> AccountFacts {
        let (source, kind, since) = (SourceId(0), AccountKind::Organisation, Moment::ALWAYS);
        AccountFacts { record: name(number), source, kind, since, domains: Vec::new(), name: None }
    }

    fn rows(told: &[(u8, Option<u8>)]) -> Vec<Row> {
        let row = |(line, (record, parent)): (u32, &(u8, Option<u8>))| Row {
            line,
            record: name(*record),
            parent: parent.map(name),
        };
        (2..).zip(told).map(row).collect()
    }

    /// 1 above 2; 8 below 3, which is closed at 50; 4 is planned to move below 2 at 100.
    fn known() -> Forest {
        let mut forest = Forest::default();
        let [one, two, three, four, eight] = [1, 2, 3, 4, 8].map(|number| forest.put(facts(number)));
        forest.set_parent(eight, Step { from: Moment(10), parent: Some(three) });
        forest.set_parent(two, Step { from: Moment::ALWAYS, parent: Some(one) });
        forest.close(three, Some(Moment(50)));
        forest.set_parent(four, Step { from: Moment(100), parent: Some(two) });
        forest
    }

    #[test]
    fn every_fault_is_told_with_its_line() {
        use RowFault::{Cycle, Duplicate, Orphan, ParentClosed, SelfParent};
        let cycle = |line: u32, lines: &[u32]| (line, Cycle { lines: lines.to_vec(), more: 0 });
        type Case<'a> = (&'a str, &'a [(u8, Option<u8>)], Vec<(u32, RowFault)>);
        let table: [Case<'_>; 10] = [
            ("new and known parents", &[(5, Some(6)), (6, Some(2)), (7, None)], vec![]),
            ("twice", &[(5, None), (5, None)], vec![(3, Duplicate { first: 2 })]),
            ("itself", &[(5, Some(5))], vec![(2, SelfParent)]),
            ("nobody", &[(5, Some(9))], vec![(2, Orphan)]),
            ("closed", &[(5, Some(3))], vec![(2, ParentClosed)]),
            ("below it when it closed", &[(8, Some(3)), (2, Some(3))], vec![(3, ParentClosed)]),
            (
                "a circle of the file",
                &[(5, Some(6)), (6, Some(5)), (7, Some(5))],
                vec![cycle(2, &[2, 3]), cycle(3, &[3, 2])],
            ),
            ("a circle through what is known", &[(1, Some(2))], vec![cycle(2, &[2])]),
            ("a circle that is planned", &[(1, Some(4))], vec![cycle(2, &[2])]),
            ("turned round at once", &[(1, Some(2)), (2, None)], vec![]),
        ];
        for (case, told, want) in table {
            let got = check(&known(), &rows(told), Moment(60), Moment(70));
            assert_eq!(got.err().unwrap_or_default(), want, "{case}");
        }
        // Of all times: what counts is who is closed by now.
        for (now, want) in [(49, vec![]), (50, vec![(2, ParentClosed)])] {
            let got = check(&known(), &rows(&[(5, Some(3)), (8, Some(3))]), Moment::ALWAYS, Moment(now));
            assert_eq!(got.err().unwrap_or_default(), want, "at {now}");
        }
    }

    /// A nightly load of the rows as they are took from every account its past and what was planned.
    #[test]
    fn without_a_date_what_is_so_already_is_left_alone() {
        let forest = known();
        let row = |record: u8, parent: Option<u8>| Row { line: 2, record: name(record), parent: parent.map(name) };
        let (always, now) = (Moment::ALWAYS, Moment(60));
        let table = [
            ("new", row(5, Some(1)), always, Some(always)),
            ("as it was", row(2, Some(1)), always, None),
            ("as it will not be", row(4, None), always, None),
            ("elsewhere now", row(2, Some(4)), always, Some(now)),
            ("to the top", row(2, None), always, Some(now)),
            ("below one that is new", row(2, Some(5)), always, Some(now)),
            ("from a date, as it is from then on", row(2, Some(1)), Moment(7), None),
            ("from a date, against a plan", row(4, None), Moment(7), Some(Moment(7))),
        ];
        for (case, row, from, want) in table {
            assert_eq!(holds_from(&forest, &row, from, now), want, "{case}");
        }
        // 4 is planned below 2: it stays so, and 2 may not go below it.
        let circle = check(&forest, &rows(&[(4, None), (2, Some(4))]), always, now);
        let through = |line: u32, lines: &[u32]| (line, RowFault::Cycle { lines: lines.to_vec(), more: 0 });
        assert_eq!(circle, Err(vec![through(2, &[2, 3]), through(3, &[3, 2])]));
        assert_eq!(check(&forest, &rows(&[(4, None), (2, Some(4))]), Moment(60), now), Ok(()));
    }

    #[test]
    fn nobody_lies_deeper_than_there_are_levels() {
        let wide = |number: u32| Digest128::of(&blake3::hash(&number.to_le_bytes()));
        let most = ACCOUNT_LEVELS_MAX as u32;
        let row = |at: u32| Row { line: at, record: wide(at), parent: at.checked_sub(1).map(wide) };
        for shuffled in [false, true] {
            let mut rows: Vec<Row> = (0..most + 2).map(row).collect();
            if shuffled {
                rows.reverse();
            }
            let deep = |line| (line, RowFault::TooDeep);
            let told = check(&Forest::default(), &rows, Moment::ALWAYS, Moment(0));
            assert_eq!(told, Err(vec![deep(most), deep(most + 1)]));
        }
        let rows: Vec<Row> = (0..most).map(row).collect();
        assert_eq!(check(&Forest::default(), &rows, Moment::ALWAYS, Moment(0)), Ok(()));
    }

    /// One row held up every write while each account of a large hierarchy walked up by itself.
    #[test]
    fn a_hierarchy_that_begins_on_one_day_is_walked_once() {
        let wide = |number: u32| Digest128::of(&blake3::hash(&number.to_le_bytes()));
        let mut forest = Forest::default();
        let most = 40_000;
        for at in 0..most {
            let account = forest.put(AccountFacts { record: wide(at), ..facts(0) });
            // Chains of 800, each below the one before it by a day more.
            if at % 800 > 0 {
                let from = Moment(1_000 + i64::from(at / 800));
                forest.set_parent(account, Step { from, parent: Some(crate::hierarchy::AccountOrdinal(at - 1)) });
            }
        }
        let row = Row { line: 2, record: wide(most), parent: Some(wide(799)) };
        assert_eq!(check(&forest, &[row], Moment(1), Moment(1)), Ok(()));
        let closes = Row { line: 2, record: wide(800), parent: Some(wide(1_599)) };
        assert!(matches!(check(&forest, &[closes], Moment(1), Moment(1)), Err(faults) if faults.len() == 1));
    }

    /// One row was checked against everybody whose parents have dates.
    #[test]
    fn only_what_lies_above_a_row_is_looked_at() {
        let wide = |number: u32| Digest128::of(&blake3::hash(&number.to_le_bytes()));
        let mut forest = Forest::default();
        // Ten chains of a hundred, each account below the one before it from a day of its own.
        for at in 0..1_000 {
            let account = forest.put(AccountFacts { record: wide(at), ..facts(0) });
            if at % 100 > 0 {
                let step = Step { from: Moment(1_000 + i64::from(at)), parent: Some(AccountOrdinal(at - 1)) };
                forest.set_parent(account, step);
            }
        }
        // The first of the second chain is planned to go below the first one's end.
        forest.set_parent(AccountOrdinal(100), Step { from: Moment(9_000), parent: Some(AccountOrdinal(99)) });
        let row = |record: u32, parent: u32| Row { line: 2, record: wide(record), parent: Some(wide(parent)) };
        let looked_at = |row: Row| {
            let (rows, written) = (HashMap::from([(row.record, &row)]), HashSet::from([row.record]));
            Loaded { forest: &forest, rows: &rows, written: &written }.above(&[row], Moment(1)).len()
        };
        assert_eq!(looked_at(row(2_000, 0)), 1);
        assert_eq!(looked_at(row(2_000, 204)), 5);
        assert_eq!(looked_at(row(2_000, 102)), 103, "by way of what is planned");
        assert_eq!(looked_at(row(50, 102)), 52, "down to the row itself");
        let circle = check(&forest, &[row(50, 102)], Moment(1), Moment(1));
        assert_eq!(circle, Err(vec![(2, RowFault::Cycle { lines: vec![2], more: 0 })]));
        assert_eq!(check(&forest, &[row(50, 204)], Moment(1), Moment(1)), Ok(()));
    }

    #[test]
    fn long_circles_are_told_short_and_in_reasonable_time() {
        let length: u32 = 20_000;
        let wide = |number: u32| {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&number.to_le_bytes());
            Digest128(bytes)
        };
        let rows: Vec<Row> = (0..length)
            .map(|at| Row { line: at + 2, record: wide(at), parent: Some(wide((at + 1) % length)) })
            .collect();
        let faults = check(&Forest::default(), &rows, Moment(0), Moment(0)).unwrap_err();
        assert_eq!(faults.len(), rows.len(), "each line of the circle is told");
        let (line, fault) = &faults[7];
        assert_eq!(*line, 9);
        assert!(fault.to_string().contains("9, 10, 11") && fault.to_string().contains("more"), "{fault}");
    }
}
