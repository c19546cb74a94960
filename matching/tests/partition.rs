//! LAWS 2 and 5 of the pure function itself, with what the engine does not feed it yet: judgements and pairs kept apart.

use std::collections::{BTreeMap, BTreeSet};

use onefold_core::fragment::PartyKind;
use onefold_core::ids::{Digest128, NamespaceId};
use onefold_core::laws;
use onefold_matching::resolve::partition::{
    Across, Component, Grounds, Link, Node, ParkReason, Partition, Rank, Tier, admits, harmless_bits, partition,
};
use onefold_matching::resolve::{Shared, Thresholds};
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;

fn facts(node: usize) -> Digest128 {
    Digest128::of(&blake3::hash(&node.to_le_bytes()))
}

fn component() -> impl Strategy<Value = Component> {
    let nodes = vec(vec((0..2u16, 0..3u32), 0..3), 10);
    let tier = prop_oneof![Just(Tier::Judgement), Just(Tier::Unique), Just(Tier::Identifying), Just(Tier::Probable)];
    let links = vec((tier, 0..2u16, btree_set(0..10u32, 1..4)), 0..14);
    (nodes, links, btree_set((0..10u32, 0..10u32), 0..3), 2..12u32).prop_map(|(nodes, links, apart, records_max)| {
        let nodes = nodes.into_iter().enumerate().map(|(node, uniques)| Node {
            facts: facts(node),
            party: PartyKind::Person,
            uniques: uniques.into_iter().map(|(namespace, value)| (NamespaceId(namespace), value)).collect(),
        });
        let links = links.into_iter().map(|(tier, weakness, members)| Link {
            rank: Rank { tier, weakness, members: members.len() as u32 },
            shared: Shared::NOTHING,
            members: members.into_iter().collect(),
        });
        Component {
            nodes: nodes.collect(),
            links: links.collect(),
            apart: apart.into_iter().filter(|(a, b)| a != b).collect(),
            records_max,
            thresholds: [Some(LINES), None],
        }
    })
}

const LINES: Thresholds = Thresholds { link_bits: 4.0, review_bits: 0.0, conflict_bits: -6.0, block_records_max: 4 };

/// What two nodes weigh: by their facts and a seed, so that no order shows.
fn weight(component: &Component, seed: u8, one: u32, other: u32) -> Option<f32> {
    let [a, b] = [one, other].map(|node| component.nodes[node as usize].facts.0);
    let mut dice = blake3::Hasher::new();
    dice.update(&[seed]).update(&a.min(b)).update(&a.max(b));
    match dice.finalize().as_bytes()[0] {
        0..30 => None,
        30..60 => Some(-9.0),
        byte => Some(f32::from(byte) / 25.0),
    }
}

fn clusters_of(component: &Component, seed: u8) -> Partition {
    partition(component, &|_, one, other| weight(component, seed, one, other))
}

fn by_facts(component: &Component, seed: u8) -> Vec<BTreeSet<Digest128>> {
    let clusters = clusters_of(component, seed).clusters;
    let facts = |node: &u32| component.nodes[*node as usize].facts;
    clusters.iter().map(|nodes| nodes.iter().map(facts).collect()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn clusters_keep_what_must_be_apart_and_every_parked_link_has_a_reason(component in component(), seed in 0..4u8) {
        let clusters = by_facts(&component, seed);
        let uniques: BTreeMap<Digest128, Vec<(NamespaceId, Digest128)>> = component
            .nodes
            .iter()
            .map(|node| (node.facts, node.uniques.iter().map(|(n, v)| (*n, facts(*v as usize))).collect()))
            .collect();
        let apart: Vec<_> = component.apart.iter().map(|(a, b)| (facts(*a as usize), facts(*b as usize))).collect();
        laws::exclusive_means_exclusive(&clusters, &uniques, &apart).unwrap();
        laws::partition_is_total(&component.nodes.iter().map(|node| node.facts).collect(), &clusters).unwrap();
        let outcome = clusters_of(&component, seed);
        for nodes in outcome.clusters.iter().filter(|nodes| nodes.len() > 1) {
            prop_assert!(nodes.len() <= component.records_max as usize);
        }
        let parked: BTreeSet<u32> = outcome.parked.iter().map(|(link, _)| *link).collect();
        for (index, link) in (0..).zip(&component.links) {
            let contradicts = |node: &&u32| {
                let held = &component.nodes[**node as usize].uniques;
                held.iter().any(|a| held.iter().any(|b| a.0 == b.0 && a.1 != b.1))
            };
            let joins = link.members.iter().filter(|member| !contradicts(member));
            let reached: BTreeSet<u32> = joins.map(|member| outcome.cluster_of[*member as usize]).collect();
            prop_assert_eq!(parked.contains(&index), reached.len() > 1, "parked, or all its members are together");
        }
    }

    #[test]
    fn the_order_in_which_it_is_told_does_not_show(
        seed in 0..4u8, (component, order, links) in component().prop_flat_map(|component| {
            let links = Just(component.links.clone()).prop_shuffle();
            (Just(component), Just((0..10u32).collect::<Vec<_>>()).prop_shuffle(), links)
        })
    ) {
        let mut told = Component { links, ..component.clone() };
        for (old, new) in (0..).zip(&order) {
            told.nodes[*new as usize] = component.nodes[old as usize].clone();
        }
        let renamed = |node: &u32| order[*node as usize];
        for link in &mut told.links {
            link.members = link.members.iter().map(renamed).collect();
        }
        told.apart = component.apart.iter().map(|(a, b)| (renamed(b), renamed(a))).collect();
        laws::order_does_not_matter(&by_facts(&component, seed), &by_facts(&told, seed)).unwrap();
    }
}

#[test]
fn each_bar_has_its_reason() {
    let node = |index: usize, unique: Option<u32>| Node {
        facts: facts(index),
        party: PartyKind::Person,
        uniques: unique.map(|value| (NamespaceId(7), value)).into_iter().collect(),
    };
    let link = Link {
        rank: Rank { tier: Tier::Identifying, weakness: 0, members: 2 },
        shared: Shared::NOTHING,
        members: [0, 1].into_iter().collect(),
    };
    let table = [
        ("nothing bars it", [None, Some(1)], vec![], 2, -1.0, None),
        ("two values", [Some(1), Some(2)], vec![], 2, 9.0, Some(ParkReason::Exclusive(NamespaceId(7)))),
        ("a judgement", [None, None], vec![(1, 0)], 2, 9.0, Some(ParkReason::Apart)),
        ("too large", [None, None], vec![], 1, 9.0, Some(ParkReason::TooLarge)),
        ("a contradiction", [None, None], vec![], 2, -7.0, Some(ParkReason::Contradiction)),
        ("in the mean", [None, None], vec![], 2, -1.5, Some(ParkReason::Contradiction)),
    ];
    for (case, [one, other], apart, records_max, weight, wanted) in table {
        let nodes = vec![node(0, one), node(1, other)];
        let thresholds = [Some(LINES), None];
        let component = Component { nodes, links: vec![link.clone()], apart, records_max, thresholds };
        let outcome = partition(&component, &|_, _, _| Some(weight));
        assert_eq!(outcome.parked.first().map(|(_, reason)| *reason), wanted, "{case}");
        assert_eq!(outcome.clusters.len(), if wanted.is_some() { 2 } else { 1 }, "{case}");
    }
}

/// Two pairs weigh enough, and all four together do not: seat and registration of the two companies are told by different
/// records.
#[test]
fn clusters_that_are_unlike_as_wholes_are_not_joined_by_records_that_tell_little() {
    struct About {
        across: f32,
        whole: f32,
    }
    impl Across for About {
        fn pair(&self, _: Grounds, one: u32, other: u32) -> Option<f32> {
            Some(if (one, other) == (0, 2) || (one, other) == (2, 0) { 5.0 } else { self.across })
        }

        fn whole(&self, grounds: Grounds, ones: &[u32], others: &[u32]) -> Option<f32> {
            assert_eq!((grounds.tier, ones.len(), others.len()), (Tier::Probable, 2, 2));
            Some(self.whole)
        }
    }
    let node = |index: usize| Node { facts: facts(index), party: PartyKind::Organisation, uniques: Default::default() };
    let link = |weakness: u16, one: u32, other: u32| {
        let tier = if weakness == 0 { Tier::Unique } else { Tier::Probable };
        let members = [one, other].into_iter().collect();
        Link { rank: Rank { tier, weakness, members: 2 }, shared: Shared::NOTHING, members }
    };
    let links = vec![link(0, 0, 1), link(0, 2, 3), link(9, 0, 2)];
    let table = [
        ("as wholes they are unlike", -1.5, 3.9, true),
        ("as wholes they match", -1.5, 4.0, false),
        ("no pair speaks against it, so nobody asks", -0.9, -9.0, false),
    ];
    for (case, across, whole, apart) in table {
        let component = Component {
            nodes: (0..4).map(node).collect(),
            links: links.clone(),
            records_max: 9,
            thresholds: [None, Some(LINES)],
            ..Component::default()
        };
        let outcome = partition(&component, &About { across, whole });
        assert_eq!(outcome.clusters.len(), if apart { 2 } else { 1 }, "{case}");
        let parked = if apart { vec![(2, ParkReason::Contradiction)] } else { Vec::new() };
        assert_eq!(outcome.parked, parked, "{case}");
    }
}

proptest! {
    /// What an even cluster rests on: harmless weights are admitted, however many and whichever.
    #[test]
    fn harmless_weights_are_admitted(
        over in vec(0.0..40.0f32, 0..60), conflict_bits in -20.0..-1.0f32, link_bits in 1.0..9.0f32
    ) {
        let lines = Thresholds { link_bits, review_bits: 0.0, conflict_bits, block_records_max: 4 };
        prop_assert!(harmless_bits(&lines) >= conflict_bits);
        let cross: Vec<f32> = over.iter().map(|over| harmless_bits(&lines) + over).collect();
        prop_assert_eq!(admits(&cross, &lines), Ok(()));
    }
}
