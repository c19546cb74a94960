//! No sequence of moves, merges and splits shows a cycle or loses a statement; a split gives back what was before.

use std::collections::{BTreeMap, BTreeSet};

use onefold_core::hierarchy::view::{Companies, Edge, Node, ParkedReason, View};
use onefold_core::hierarchy::{AccountFacts, AccountKind, AccountOrdinal, Forest, Moment, Refused, Step};
use onefold_core::ids::{Digest128, SourceId};
use onefold_core::laws;
use onefold_core::limits::ACCOUNT_LEVELS_MAX;
use proptest::collection::vec;
use proptest::prelude::*;

const ACCOUNTS: u32 = 12;

/// Which accounts are one party: by account, the smallest number of its party.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Parties(Vec<u32>);

impl Parties {
    fn apart() -> Self {
        Self((0..ACCOUNTS).collect())
    }

    fn members(&self, account: u32) -> Vec<u32> {
        (0..ACCOUNTS).filter(|other| self.0[*other as usize] == self.0[account as usize]).collect()
    }

    fn merge(&mut self, a: u32, b: u32) {
        let (a, b) = (self.0[a as usize], self.0[b as usize]);
        self.0.iter_mut().filter(|party| **party == a || **party == b).for_each(|party| *party = a.min(b));
    }

    fn split(&mut self, account: u32) {
        for member in self.members(account) {
            self.0[member as usize] = member;
        }
    }
}

impl Companies for Parties {
    fn together(&self, account: AccountOrdinal) -> Option<Vec<AccountOrdinal>> {
        let members = self.members(account.0);
        (members.len() > 1).then(|| members.into_iter().map(AccountOrdinal).collect())
    }

    fn trust(&self, source: SourceId) -> u16 {
        source.0 * 100
    }
}

fn facts(number: u32) -> AccountFacts {
    AccountFacts {
        record: Digest128([number as u8; 16]),
        source: SourceId((number % 3) as u16),
        kind: AccountKind::Organisation,
        // Some come into being while others are moved about.
        since: if number % 4 == 3 { Moment(i64::from(number) * 3) } else { Moment::ALWAYS },
        domains: Vec::new(),
        name: None,
    }
}

#[derive(Clone, Debug)]
enum Act {
    Move(u32, Option<u32>, i64),
    Merge(u32, u32),
    Split(u32),
}

fn act() -> impl Strategy<Value = Act> {
    let account = 0..ACCOUNTS;
    prop_oneof![
        3 => (account.clone(), proptest::option::weighted(0.9, 0..ACCOUNTS), 0..6i64)
            .prop_map(|(child, parent, at)| Act::Move(child, parent, at * 10)),
        2 => (account.clone(), account.clone()).prop_map(|(a, b)| Act::Merge(a, b)),
        1 => account.prop_map(Act::Split),
    ]
}

fn grown() -> Forest {
    let mut forest = Forest::default();
    for number in 0..ACCOUNTS {
        forest.put(facts(number));
    }
    forest
}

/// Moves if it may, and says whether it did. A naive look at every date decides whether it should have.
fn try_move(forest: &mut Forest, child: u32, parent: Option<u32>, from: i64) -> Result<bool, TestCaseError> {
    let (child, from) = (AccountOrdinal(child), Moment(from));
    let step = Step { from, parent: parent.map(AccountOrdinal) };
    let mut after = forest.clone();
    after.set_parent(child, step);
    let sound = dates().all(|at| laws::hierarchy_is_a_forest(&told(&after, at)).is_ok());
    if let Some(parent) = step.parent {
        let checked = forest.check_parent(child, parent, from);
        prop_assert_eq!(checked.is_ok(), sound, "{:?}", checked);
        if let Err(Refused::Cycle { below }) = checked {
            // The way that it names is one: from the parent up to the account at some date.
            let mut way = vec![parent];
            way.extend(below);
            way.push(child);
            let holds = dates()
                .filter(|at| *at >= from)
                .any(|at| way.windows(2).all(|pair| forest.parent(pair[0], at) == Some(pair[1])));
            prop_assert!(holds, "{way:?} is no way");
        }
    } else {
        prop_assert!(sound);
    }
    if sound {
        *forest = after;
    }
    Ok(sound)
}

fn dates() -> impl Iterator<Item = Moment> {
    (0..70).step_by(5).map(Moment)
}

fn told(forest: &Forest, at: Moment) -> BTreeMap<AccountOrdinal, Option<AccountOrdinal>> {
    (0..forest.len() as u32).map(AccountOrdinal).map(|account| (account, forest.parent(account, at))).collect()
}

/// All of the view, by node: members, the edges that count, those that do not, the children.
type Shown = BTreeMap<AccountOrdinal, (Node, Vec<Edge>, Vec<(Edge, ParkedReason)>, Vec<AccountOrdinal>)>;

fn shown(forest: &Forest, parties: &Parties, at: Moment) -> Shown {
    let view = View::new(forest, parties, at);
    let mut all = Shown::new();
    for account in (0..forest.len() as u32).map(AccountOrdinal) {
        let placement = view.placement(account);
        let node = placement.ancestry.path[0].clone();
        let children: Vec<AccountOrdinal> = view.children(account).iter().map(Node::key).collect();
        // Looked at from above, a child stands where it says itself, and has the children that it says.
        for child in &view.children(account) {
            let own = view.placement(child.key());
            assert_eq!(view.parked(child, &placement.ancestry), own.parked);
            assert_eq!(view.children_of(child, &placement.ancestry), view.children(child.key()));
            assert_eq!(own.ancestry.path[1..], placement.ancestry.path);
        }
        let parked = placement.parked.iter().map(|parked| (parked.edge, parked.reason)).collect();
        all.insert(node.key(), (node, placement.edges, parked, children));
    }
    all
}

fn check(forest: &Forest, parties: &Parties, at: Moment) -> Result<(), TestCaseError> {
    let view = View::new(forest, parties, at);
    let all = shown(forest, parties, at);
    let key = |account: AccountOrdinal| view.node(account).key();
    let parents: BTreeMap<AccountOrdinal, Option<AccountOrdinal>> =
        all.iter().map(|(node, (_, edges, ..))| (*node, edges.first().map(|edge| key(edge.parent)))).collect();
    laws::hierarchy_is_a_forest(&parents).map_err(|broken| TestCaseError::fail(broken.to_string()))?;

    // What is told of an account that is not there yet, or of one above it, is in force from then on.
    let there = |account: &AccountOrdinal| forest.get(*account).is_some_and(|known| known.exists(at));
    let told: BTreeSet<(AccountOrdinal, AccountOrdinal)> = told(forest, at)
        .into_iter()
        .filter_map(|(child, parent)| Some((child, parent?)))
        .filter(|(child, parent)| there(child) && there(parent))
        .collect();
    let name = |edge: &Edge| (edge.child, edge.parent);
    let counted: Vec<_> = all.values().flat_map(|(_, edges, ..)| edges.iter().map(name)).collect();
    let parked: Vec<_> = all.values().flat_map(|(_, _, parked, _)| parked.iter().map(|(edge, _)| name(edge))).collect();
    laws::no_parent_is_lost(&told, &counted, &parked).map_err(|broken| TestCaseError::fail(broken.to_string()))?;

    for (node, (_, edges, parked, children)) in &all {
        prop_assert!(edges.iter().all(|edge| parents[node] == Some(key(edge.parent))), "agreeing edges agree");
        // From above and from below it is the same hierarchy.
        for child in children {
            prop_assert_eq!(parents[child], Some(*node));
        }
        let below = parents.values().filter(|parent| **parent == Some(*node)).count();
        prop_assert_eq!(children.len(), below, "children of {:?}", node);
        for (edge, reason) in parked {
            prop_assert_eq!(*reason == ParkedReason::Inside, key(edge.parent) == *node, "{:?}", edge);
        }
        // The subtree is what a walk over all nodes finds below, each once.
        let mut walked = BTreeSet::new();
        let mut doubled = false;
        view.subtree(*node, |found, _| doubled |= !walked.insert(found.key()));
        prop_assert!(!doubled, "a node is visited twice");
        let under = |start: &AccountOrdinal| {
            let mut at = Some(*start);
            while let Some(here) = at {
                if here == *node {
                    return true;
                }
                at = parents[&here];
            }
            false
        };
        let naive: BTreeSet<AccountOrdinal> = parents.keys().copied().filter(under).collect();
        prop_assert_eq!(walked, naive);
        let top = view.ancestry(*node).path.last().map(Node::key);
        prop_assert_eq!(top.and_then(|top| parents[&top]), None, "the way up ends at a top");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_sequence_shows_a_cycle_or_loses_a_statement(acts in vec(act(), 1..40)) {
        let (mut forest, mut parties) = (grown(), Parties::apart());
        for act in acts {
            match act {
                Act::Move(child, parent, at) => {
                    try_move(&mut forest, child, parent, at)?;
                }
                Act::Merge(a, b) => parties.merge(a, b),
                Act::Split(account) => parties.split(account),
            }
            for at in [Moment(0), Moment(25), Moment(100)] {
                check(&forest, &parties, at)?;
            }
        }
        // Written down and read again it is the same.
        prop_assert_eq!(&Forest::of(forest.accounts().to_vec()), &forest);
    }

    #[test]
    fn a_split_gives_back_what_was_and_later_moves_too(
        before in vec((0..ACCOUNTS, 0..ACCOUNTS), 0..20),
        merged in vec((0..ACCOUNTS, 0..ACCOUNTS), 1..4),
        later in vec((0..ACCOUNTS, 0..ACCOUNTS), 0..6),
    ) {
        let mut forest = grown();
        for (child, parent) in before {
            try_move(&mut forest, child, Some(parent), 0)?;
        }
        let mut never = forest.clone();
        let mut parties = Parties::apart();
        for (a, b) in merged {
            parties.merge(a, b);
        }
        for (child, parent) in later {
            // A merge refuses no move that would have been taken without it, nor takes one that would not.
            let taken = try_move(&mut forest, child, Some(parent), 10)?;
            prop_assert_eq!(try_move(&mut never, child, Some(parent), 10)?, taken);
        }
        for account in 0..ACCOUNTS {
            parties.split(account);
        }
        for at in dates() {
            prop_assert_eq!(shown(&forest, &parties, at), shown(&never, &Parties::apart(), at));
        }
    }

    #[test]
    fn the_order_of_moves_of_different_accounts_does_not_show(
        (told, shuffled) in vec((0..ACCOUNTS, 0..ACCOUNTS), 0..10)
            .prop_map(|told| told.into_iter().collect::<BTreeMap<_, _>>().into_iter().collect::<Vec<_>>())
            .prop_flat_map(|told| (Just(told.clone()), Just(told).prop_shuffle())),
        merged in vec((0..ACCOUNTS, 0..ACCOUNTS), 0..5),
    ) {
        // What is refused depends on the order; of what is taken in both, the view does not.
        let (mut one, mut other) = (grown(), grown());
        let taken = |forest: &mut Forest, told: &[(u32, u32)]| -> Result<usize, TestCaseError> {
            let mut count = 0;
            for (child, parent) in told {
                count += usize::from(try_move(forest, *child, Some(*parent), 0)?);
            }
            Ok(count)
        };
        let both = taken(&mut one, &told)? == told.len() && taken(&mut other, &shuffled)? == told.len();
        prop_assume!(both);
        let mut parties = Parties::apart();
        for (a, b) in merged {
            parties.merge(a, b);
        }
        prop_assert_eq!(shown(&one, &parties, Moment(5)), shown(&other, &parties, Moment(5)));
    }
}

#[test]
fn a_merge_that_closes_a_circle_parks_its_weakest_edge_and_shows_it() {
    // B under A, C under B; then A and C turn out to be one company.
    let (a, b, c) = (AccountOrdinal(0), AccountOrdinal(1), AccountOrdinal(2));
    let mut forest = grown();
    forest.set_parent(b, Step { from: Moment(0), parent: Some(a) });
    forest.set_parent(c, Step { from: Moment(5), parent: Some(b) });
    let mut parties = Parties::apart();
    parties.merge(a.0, c.0);
    let view = View::new(&forest, &parties, Moment(10));
    // C's source is believed more than B's, so that B under A is the weakest.
    let placement = view.placement(b);
    assert_eq!(placement.edges, []);
    let weakest = Edge { child: b, parent: a, from: Moment(0) };
    assert_eq!(
        placement.parked.iter().map(|p| (p.edge, p.reason)).collect::<Vec<_>>(),
        [(weakest, ParkedReason::Cycle)]
    );
    assert_eq!(view.ancestry(c).path.iter().map(Node::key).collect::<Vec<_>>(), [a, b]);
    assert_eq!(view.children(b).iter().map(Node::key).collect::<Vec<_>>(), [a]);
    parties.split(a.0);
    let view = View::new(&forest, &parties, Moment(10));
    assert_eq!(view.ancestry(c).path.iter().map(Node::key).collect::<Vec<_>>(), [c, b, a]);
    assert_eq!(view.placement(b).parked, []);
}

#[test]
fn a_deep_chain_is_walked_without_a_deep_stack() {
    let depth = 100_000u32;
    let wide = |number: u32| {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&number.to_le_bytes());
        AccountFacts { record: Digest128(bytes), ..facts(0) }
    };
    let mut forest = Forest::default();
    for number in 0..depth {
        let account = forest.put(wide(number));
        if number > 0 {
            forest.set_parent(account, Step { from: Moment(0), parent: Some(AccountOrdinal(number - 1)) });
        }
    }
    let last = AccountOrdinal(depth - 1);
    let refused = forest.check_parent(AccountOrdinal(0), last, Moment(1));
    assert!(matches!(refused, Err(Refused::Cycle { below }) if below.len() == depth as usize - 2));

    struct Alone;
    impl Companies for Alone {
        fn together(&self, _: AccountOrdinal) -> Option<Vec<AccountOrdinal>> {
            None
        }
        fn trust(&self, _: SourceId) -> u16 {
            0
        }
    }
    // The levels of both are counted, whichever hangs on the other.
    let new = forest.put(wide(depth));
    let most = ACCOUNT_LEVELS_MAX as u32;
    for (below, above, fits) in [
        (new, AccountOrdinal(most - 2), true),
        (new, AccountOrdinal(most - 1), false),
        (AccountOrdinal(depth - most + 1), new, true),
        (AccountOrdinal(depth - most), new, false),
    ] {
        let want = if fits { Ok(()) } else { Err(Refused::TooDeep) };
        assert_eq!(forest.check_parent(below, above, Moment(1)), want, "{below:?} below {above:?}");
    }
    let view = View::new(&forest, &Alone, Moment(1));
    assert_eq!(view.ancestry(last).path.len(), depth as usize);
    let mut levels = Vec::new();
    view.subtree(AccountOrdinal(0), |_, level| levels.push(level));
    assert!(levels.into_iter().eq(0..depth as usize));
}
