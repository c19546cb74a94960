#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods)]
use onefold_core::{config::*, contract::*, fragment::*, ids::*, profile::*};
use std::{hint::black_box, time::Instant};
fn main() {
    let config = TenantConfig::new("t", "T");
    let text = |n: u16, t: &str| Attribute { name: AttributeId(n), value: AttributeValue::Text(t.to_owned()) };
    let frags: Vec<Fragment> = (0..5)
        .map(|i| {
            let mut f = Fragment {
                record: SourceRecord { source: SourceId(0), key: format!("k{i}") },
                observed_at: ObservedAt(i),
                party: PartyKind::Person,
                identifiers: vec![
                    Identifier { namespace: NamespaceId(6), raw: "Ju.Huseman@yahoo.com".into() },
                    Identifier { namespace: NamespaceId(7), raw: "(706) 965-0600".into() },
                    Identifier { namespace: NamespaceId(9), raw: format!("F871FBAE-2CD4-{i}") },
                ],
                attributes: vec![
                    text(1, "Juanita"),
                    text(3, "Huseman"),
                    text(5, "1985-04-11"),
                    text(7, "4090 Camellia Estates Ln"),
                    text(9, "Sardinia"),
                    text(11, "45171"),
                ],
                traits: None,
            };
            f.canonicalise();
            f
        })
        .collect();
    let refs: Vec<&Fragment> = frags.iter().collect();
    let compiled = CompiledContract::compile(&Contract::default(), &config).unwrap();
    for _ in 0..3 {
        let s = Instant::now();
        for _ in 0..100_000 {
            black_box(unify(black_box(&refs), &config, Detail::Golden));
        }
        println!("unify 5: {} ns", s.elapsed().as_nanos() / 100_000);
        let s = Instant::now();
        for _ in 0..100_000 {
            black_box(unify(black_box(&refs[..1]), &config, Detail::Golden));
        }
        println!("unify 1: {} ns", s.elapsed().as_nanos() / 100_000);
        let s = Instant::now();
        for _ in 0..100_000 {
            black_box(check(black_box(refs[0]), &config, &compiled));
            black_box(check_limits(refs[0], &config, ObservedAt(0)));
        }
        println!("check: {} ns", s.elapsed().as_nanos() / 100_000);
    }
}
