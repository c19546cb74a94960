//! Fuzzy search: found in spite of misspellings, the likeliest first, and the same whatever the order of arrival.

use std::sync::Arc;

use onefold_core::config::TenantConfig;
use onefold_core::fragment::{ObservedAt, PartyKind};
use onefold_core::ids::{Digest128, Place, SlotId, SourceId};
use onefold_matching::pair::{Features, Matcher, Schema, shipped_persons};
use onefold_matching::prepared::Prepared;
use onefold_matching::resolve::{Engine, LinkRules, Weigher};

fn prepared(number: u16, texts: &[(&str, &str)]) -> Prepared {
    let mut features = Features::default();
    for field in &Schema::person().fields {
        features.push(texts.iter().find(|(name, _)| *name == field.name).map_or("", |(_, text)| *text));
    }
    let mut digest = [0; 16];
    digest[..2].copy_from_slice(&number.to_be_bytes());
    Prepared {
        plain: Vec::new(),
        record: Digest128(digest),
        facts: Digest128(digest),
        source: SourceId(0),
        observed_at: ObservedAt(i64::from(number)),
        party: PartyKind::Person,
        links: Vec::new(),
        name: None,
        features: Some(features),
        corrects: false,
    }
}

fn engine(records: &[Prepared]) -> Engine {
    let model: Arc<dyn Weigher> = Arc::new(Matcher::new(shipped_persons().clone()));
    let mut engine = Engine::with_models(LinkRules::of(&TenantConfig::new("search", "Search")), [Some(model), None]);
    for (number, record) in (0..).zip(records) {
        engine.put(record, Place { segment: 1, offset: number }, SlotId(number));
    }
    engine.settle();
    engine
}

/// A town of many Smiths, and one whom somebody looks for.
fn town() -> Vec<Prepared> {
    let given = ["mary", "john", "emily", "james", "susan", "robert", "karen", "david"];
    let mut records: Vec<Prepared> = (0..400)
        .map(|number| {
            let date = format!("19{:02}{:02}{:02}", 40 + number % 60, 1 + number % 12, 1 + number % 28);
            let city = if number % 3 == 0 { "akron" } else { "boise" };
            let person = [
                ("given_name", given[usize::from(number) % given.len()]),
                ("family_name", "smith"),
                ("birth_date", &date),
                ("city", city),
            ];
            prepared(number, &person)
        })
        .collect();
    records.push(prepared(900, &[("given_name", "wendell"), ("family_name", "throckmorton"), ("city", "akron")]));
    records.push(prepared(901, &[("given_name", "wendell"), ("family_name", "abernathy"), ("city", "boise")]));
    records
}

#[test]
fn a_misspelt_name_and_a_town_find_the_person() {
    let engine = engine(&town());
    for sought in [
        [("given_name", "wendel"), ("family_name", "throkmorton"), ("city", "akron")],
        [("given_name", "wendell"), ("family_name", "trockmorten"), ("city", "akron")],
        [("given_name", "w"), ("family_name", "throckmorton"), ("city", "")],
    ] {
        let hits = engine.search(&prepared(999, &sought), 3);
        assert_eq!(hits.first().map(|hit| hit.record), Some(prepared(900, &[]).record), "{sought:?}");
        assert!(hits.windows(2).all(|pair| pair[0].evidence_bits >= pair[1].evidence_bits));
    }
}

#[test]
fn blocks_too_large_for_linking_are_searched_and_leave_no_trace() {
    let engine = engine(&town());
    let before = (engine.digest(), engine.memory_bytes());
    let hits = engine.search(&prepared(999, &[("family_name", "smith"), ("city", "akron")]), 1_000);
    assert!(hits.len() > 100, "{} found", hits.len());
    assert!(hits.iter().all(|hit| hit.evidence_bits > 0.0));
    assert_eq!(engine.search(&prepared(999, &[("family_name", "smith"), ("city", "akron")]), 5), hits[..5]);
    assert!(engine.search(&prepared(999, &[("family_name", "ünlü")]), 5).is_empty());
    assert_eq!(before, (engine.digest(), engine.memory_bytes()));
}

#[test]
fn the_order_of_arrival_does_not_show() {
    let mut records = town();
    let forth = engine(&records);
    records.reverse();
    let back = engine(&records);
    let probe = prepared(999, &[("given_name", "mary"), ("family_name", "smyth"), ("city", "akron")]);
    let told = |engine: &Engine| -> Vec<(Digest128, u32)> {
        engine.search(&probe, 50).iter().map(|hit| (hit.record, hit.evidence_bits.to_bits())).collect()
    };
    assert_eq!(told(&forth), told(&back));
    assert!(!told(&forth).is_empty());
}
