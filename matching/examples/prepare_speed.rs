//! What preparing one fragment costs: `cargo run --release -p onefold-matching --example prepare_speed`.
//!
//! Seeded fragments of three identifiers and six attributes, on one thread; the best of five rounds.

#![expect(clippy::disallowed_methods, reason = "a speed example reads the clock")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use onefold_core::config::{TenantConfig, attribute};
use onefold_core::fragment::{Attribute, AttributeValue, Fragment, Identifier, ObservedAt, PartyKind, SourceRecord};
use onefold_core::identifier::{BlockRules, canonicalise};
use onefold_core::ids::{AttributeId, NamespaceId, SourceId};
use onefold_matching::prepare::{Preparer, name_skeleton};

const FRAGMENTS: usize = 20_000;
const ROUNDS: usize = 5;

const GIVEN: [&str; 12] =
    ["Juanita", "KAREN", "Walter", "bob", "Dr. Mary", "José", "Gwendolyn", "E", "Hans", "Adam", "Sabrina", "Liz"];
const FAMILY: [&str; 12] = [
    "Huseman",
    "SMITH",
    "van der Berg",
    "Flores",
    "Müller",
    "Bertrand",
    "Kirby-Jones",
    "Escalante",
    "O'Neil",
    "Trent",
    "Saladino",
    "Blaylock",
];
const PHONES: [&str; 8] = [
    "(706) 965-0600",
    "+15079540110",
    "510-961-1526",
    "4482892361",
    "+44 20 7183 8750",
    "0012088682599",
    "+49 30 901820",
    "734.820.4526 x12",
];

/// SplitMix64 (Steele, Lea & Flood 2014): seeded, so that two runs time the same fragments.
fn next(state: &mut u64) -> usize {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)) as usize
}

fn pick<'a>(state: &mut u64, from: &[&'a str]) -> &'a str {
    from[next(state) % from.len()]
}

fn fragments(config: &TenantConfig, phones: &[&str]) -> Vec<Fragment> {
    let mut state = 42;
    let namespace = |name: &str| config.namespace_named(name).map_or(NamespaceId(0), |namespace| namespace.id);
    let (email, phone, device) = (namespace("email"), namespace("phone"), namespace("device_id"));
    let text = |name: AttributeId, text: &str| Attribute { name, value: AttributeValue::Text(text.to_owned()) };
    (0..FRAGMENTS)
        .map(|n| {
            let (given, family) = (pick(&mut state, &GIVEN), pick(&mut state, &FAMILY));
            let number = next(&mut state) % 100_000;
            let mut fragment = Fragment {
                record: SourceRecord { source: SourceId(0), key: format!("crm-{n:08}") },
                observed_at: ObservedAt(n as i64),
                party: PartyKind::Person,
                identifiers: vec![
                    Identifier { namespace: email, raw: format!("Ju.Huseman{number}@Yahoo.com") },
                    Identifier { namespace: phone, raw: pick(&mut state, phones).to_owned() },
                    Identifier { namespace: device, raw: format!("F871FBAE-2CD4-45DB-AED3-{number:012}") },
                ],
                attributes: vec![
                    text(attribute::GIVEN_NAME, given),
                    text(attribute::FAMILY_NAME, family),
                    text(attribute::BIRTH_DATE, "1985-04-11"),
                    text(attribute::ADDRESS_STREET, "4090 Camellia Estates Ln"),
                    text(attribute::ADDRESS_CITY, "Sardinia"),
                    text(attribute::ADDRESS_POSTCODE, "45171"),
                ],
                traits: None,
                affiliations: Vec::new(),
                stages: Vec::new(),
            };
            fragment.canonicalise();
            fragment
        })
        .collect()
}

/// Nanoseconds per item, of the best round.
fn time<T>(items: &[T], mut work: impl FnMut(&T)) -> f64 {
    (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            items.iter().for_each(&mut work);
            start.elapsed().as_nanos() as f64 / items.len() as f64
        })
        .fold(f64::INFINITY, f64::min)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = Arc::new(TenantConfig::new("bench", "Bench"));
    let preparer = Preparer::new(Arc::clone(&config), [7; 32])?;
    let mixed = fragments(&config, &PHONES);
    let domestic = fragments(&config, &PHONES[..4]);
    println!(
        "prepare, one phone in two foreign   {:8.0} ns a fragment",
        time(&mixed, |f| drop(black_box(preparer.prepare(f))))
    );
    println!(
        "prepare, all phones domestic        {:8.0} ns a fragment",
        time(&domestic, |f| drop(black_box(preparer.prepare(f))))
    );
    println!(
        "  of which the digest of the facts  {:8.0} ns",
        time(&mixed, |f| {
            black_box(f.fact_digest(config.as_ref()));
        })
    );
    println!(
        "  of which the record's digest      {:8.0} ns",
        time(&mixed, |f| {
            black_box(preparer.record_digest(f.record.source, &f.record.key));
        })
    );
    println!("  of which the name                 {:8.0} ns", time(&mixed, |f| drop(black_box(name_skeleton(f)))));
    for (at, label) in ["email", "phone", "device_id"].iter().enumerate() {
        let Some(namespace) = config.namespace_named(label) else { continue };
        let rules = BlockRules::compile(namespace, Some("US"))?;
        let raw: Vec<&str> = mixed
            .iter()
            .filter_map(|f| f.identifiers.iter().find(|i| i.namespace == namespace.id).map(|i| i.raw.as_str()))
            .collect();
        let canonical: Vec<_> =
            raw.iter().filter_map(|raw| canonicalise(namespace.normaliser, raw, Some("US")).ok()).collect();
        println!(
            "  {at} {label:<10} canonical form        {:8.0} ns",
            time(&raw, |raw| drop(black_box(canonicalise(namespace.normaliser, raw, Some("US")))))
        );
        println!(
            "  {at} {label:<10} block rules           {:8.0} ns",
            time(&canonical, |value| {
                black_box(rules.blocked(value));
            })
        );
    }
    for phone in PHONES {
        println!(
            "  phone {phone:<20}            {:8.0} ns",
            time(&[(); 20_000], |()| drop(black_box(canonicalise(
                onefold_core::namespace::Normaliser::Phone,
                black_box(phone),
                Some("US")
            ))))
        );
    }
    Ok(())
}
