//! LAW 10: memory per fragment has a bound.

use onefold_core::config::TenantConfig;
use onefold_core::fragment::{ObservedAt, PartyKind};
use onefold_core::ids::{Digest128, NamespaceId, Place, SlotId, SourceId};
use onefold_matching::prepared::{LinkValue, Prepared};
use onefold_matching::resolve::{Engine, LinkRules};

fn digest(kind: &str, number: u32) -> Digest128 {
    Digest128::of(&blake3::keyed_hash(&[7; 32], format!("{kind}{number}").as_bytes()))
}

/// Fragment `number` of a population in which each person has two and a half, with three identifiers each.
fn prepared(number: u32) -> Prepared {
    let person = number.wrapping_mul(2_654_435_761) % 40_000;
    let value = |namespace, kind, number| LinkValue { namespace: NamespaceId(namespace), digest: digest(kind, number) };
    let mut links = vec![
        value(6, "mail", person * 2 + number % 2),
        value(7, "phone", if number.is_multiple_of(20) { person / 3 } else { 1_000_000 + person }),
        value(9, "device", person * 3 + number % 3),
    ];
    links.sort_unstable();
    Prepared {
        plain: Vec::new(),
        record: digest("record", number),
        facts: digest("facts", number),
        source: SourceId(1),
        observed_at: ObservedAt(i64::from(number)),
        party: PartyKind::Person,
        links,
        name: Some(u64::from(person)),
        features: None,
        corrects: false,
    }
}

#[test]
fn a_fragment_with_three_identifiers_takes_at_most_220_bytes() {
    const FRAGMENTS: u32 = 100_000;
    let mut engine = Engine::new(LinkRules::of(&TenantConfig::new("t", "T")));
    let mut most = 0.0f64;
    for number in 0..FRAGMENTS {
        engine.put(&prepared(number), Place { segment: 1, offset: number }, SlotId(number));
        if number % 512 == 511 {
            engine.settle();
        }
        // Tables double: the bound is to hold right after, too.
        if number >= 50_000 && number % 5_000 == 0 {
            most = most.max(engine.memory_bytes() as f64 / f64::from(number));
        }
    }
    engine.settle();
    let bytes = engine.memory_bytes() as f64 / f64::from(FRAGMENTS);
    println!("{bytes:.1} bytes per fragment at {FRAGMENTS}, {most:.1} at most on the way; {:?}", engine.stats());
    assert!(bytes <= 220.0, "{bytes:.1} bytes per fragment");
    assert!(most <= 240.0, "{most:.1} bytes per fragment on the way");

    // What is taken back and sent again finds its old room.
    let before = engine.memory_bytes();
    for round in 1..4i64 {
        for number in 0..FRAGMENTS / 4 {
            let fragment = prepared(number);
            let at = i64::from(FRAGMENTS) * round;
            engine.retract(fragment.record, ObservedAt(at), Place { segment: 1, offset: 0 });
            let again = Prepared { observed_at: ObservedAt(at + 1), ..fragment };
            engine.put(&again, Place { segment: 1, offset: 0 }, SlotId(number));
            if number % 512 == 511 {
                engine.settle();
            }
        }
        engine.settle();
    }
    let after = engine.memory_bytes();
    assert!(after < before + before / 20, "{before} bytes grew to {after}");
}
