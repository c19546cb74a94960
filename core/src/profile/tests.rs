use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::config::{Contract, Source, attribute};
use crate::fragment::{Attribute, Identifier, Vocabulary};
use crate::ids::SourceId;

/// Sources `s0` to `s3` of trust 0, 100, 200, 300; attribute `score` beside the built-in ones.
fn config(rules: &[(&str, Survivorship)], default: Survivorship) -> TenantConfig {
    let mut config = TenantConfig::new("acme", "Acme");
    for n in 0..4u16 {
        config.sources.push(Source {
            id: SourceId(n),
            name: format!("s{n}"),
            display_name: String::new(),
            trust: n * 100,
            contract: Contract::default(),
        });
    }
    config.survivorship = rules.iter().map(|(name, rule)| ((*name).to_owned(), *rule)).collect();
    config.default_survivorship = default;
    config
}

fn fragment(source: u16, key: &str, at: i64, attributes: &[(AttributeId, &str)]) -> Fragment {
    let mut fragment = Fragment {
        record: SourceRecord { source: SourceId(source), key: key.to_owned() },
        observed_at: ObservedAt(at),
        party: PartyKind::Person,
        identifiers: Vec::new(),
        attributes: attributes
            .iter()
            .map(|(name, text)| Attribute { name: *name, value: AttributeValue::Text((*text).to_owned()) })
            .collect(),
        traits: None,
        affiliations: Vec::new(),
        stages: Vec::new(),
    };
    fragment.canonicalise();
    fragment
}

/// `name=value@source:support` per golden value, losers behind a `-`.
fn lines(golden: &Golden<'_>, config: &TenantConfig) -> Vec<String> {
    let show = |sign: &str, name: AttributeId, value: &GoldenValue<'_>| {
        let text = value.value.as_text().unwrap_or("?");
        format!("{sign}{}={text}@{}:{}", config.attribute(name), value.provenance.record.key, value.support)
    };
    golden
        .attributes
        .iter()
        .flat_map(|attribute| {
            let values = attribute.values.iter().map(|value| show("", attribute.name, value));
            values.chain(attribute.losers.iter().map(|value| show("-", attribute.name, value))).collect::<Vec<_>>()
        })
        .collect()
}

fn unified(fragments: &[Fragment], config: &TenantConfig, detail: Detail) -> Vec<String> {
    let fragments: Vec<&Fragment> = fragments.iter().collect();
    unify(&fragments, config, detail).map_or_else(Vec::new, |golden| lines(&golden, config))
}

#[test]
fn each_rule_picks_its_own() {
    let fragments = [
        fragment(0, "a", 40, &[(attribute::GIVEN_NAME, "Jo")]),
        fragment(3, "b", 30, &[(attribute::GIVEN_NAME, "Joanna")]),
        fragment(1, "c", 20, &[(attribute::GIVEN_NAME, "Joan")]),
        fragment(2, "d", 10, &[(attribute::GIVEN_NAME, " JOAN ")]),
        fragment(3, "e", 50, &[(attribute::GIVEN_NAME, "  ")]),
    ];
    for (rule, want) in [
        (Survivorship::MostRecent, &["given_name=Jo@a:1", "-given_name=Joanna@b:1", "-given_name=Joan@c:2"][..]),
        (Survivorship::MostTrusted, &["given_name=Joanna@b:1", "-given_name= JOAN @d:2", "-given_name=Jo@a:1"]),
        (Survivorship::MostFrequent, &["given_name=Joan@c:2", "-given_name=Jo@a:1", "-given_name=Joanna@b:1"]),
        (Survivorship::Longest, &["given_name=Joanna@b:1", "-given_name=Joan@c:2", "-given_name=Jo@a:1"]),
        (Survivorship::AllValues, &["given_name=Jo@a:1", "given_name=Joanna@b:1", "given_name=Joan@c:2"]),
    ] {
        let by_default = config(&[], rule);
        assert_eq!(unified(&fragments, &by_default, Detail::WithLosers), want, "{rule:?} by default");
        let by_name = config(&[("given_name", rule)], Survivorship::Longest);
        assert_eq!(unified(&fragments, &by_name, Detail::WithLosers), want, "{rule:?} by name");
        let golden: Vec<&str> = want.iter().copied().filter(|line| !line.starts_with('-')).collect();
        assert_eq!(unified(&fragments, &by_default, Detail::Golden), golden, "{rule:?} without losers");
    }
}

#[test]
fn groups_are_taken_whole_from_one_fragment() {
    use attribute::{ADDRESS_CITY, ADDRESS_COUNTRY, ADDRESS_POSTCODE, ADDRESS_STREET};
    let moved = [
        fragment(1, "old", 10, &[(ADDRESS_STREET, "1 Elm St"), (ADDRESS_CITY, "Akron"), (ADDRESS_POSTCODE, "44303")]),
        fragment(1, "new", 20, &[(ADDRESS_STREET, "9 Oak Ave"), (ADDRESS_CITY, "Boise")]),
    ];
    let plain = config(&[], Survivorship::MostRecent);
    assert_eq!(
        unified(&moved, &plain, Detail::Golden),
        ["address.street=9 Oak Ave@new:1", "address.city=Boise@new:1"],
        "the old postcode does not stand beside the new street"
    );
    assert_eq!(
        unified(&moved, &plain, Detail::WithLosers)[2..],
        ["address.city=Boise@new:1", "-address.city=Akron@old:1", "-address.postcode=44303@old:1"]
    );
    let restated = [moved[0].clone(), fragment(0, "pos", 30, &[(ADDRESS_POSTCODE, "44303")])];
    assert_eq!(
        unified(&restated, &plain, Detail::Golden),
        ["address.street=1 Elm St@old:1", "address.city=Akron@old:1", "address.postcode=44303@old:2"],
        "a part restated does not drive out the whole"
    );
    let own_rule = config(&[("address.country", Survivorship::MostRecent)], Survivorship::Longest);
    let apart = [moved[0].clone(), fragment(0, "pos", 30, &[(ADDRESS_COUNTRY, "US")])];
    assert_eq!(unified(&apart, &own_rule, Detail::Golden).last().map(String::as_str), Some("address.country=US@pos:1"));
    let by_group = config(&[("address", Survivorship::MostTrusted)], Survivorship::MostRecent);
    let trusted = [fragment(3, "registry", 1, &[(ADDRESS_CITY, "Reno")]), moved[1].clone()];
    assert_eq!(unified(&trusted, &by_group, Detail::Golden), ["address.city=Reno@registry:1"]);
}

#[test]
fn identifiers_keep_every_claim() {
    let mut config = config(&[], Survivorship::MostRecent);
    config.default_region = Some("US".to_owned());
    let namespace = |name: &str| config.namespace_named(name).unwrap().id;
    let with = |key: &str, at: i64, claims: &[(&str, &str)]| {
        let mut fragment = fragment(0, key, at, &[]);
        fragment.identifiers = claims
            .iter()
            .map(|(name, raw)| Identifier { namespace: namespace(name), raw: (*raw).to_owned() })
            .collect();
        fragment.canonicalise();
        fragment
    };
    let fragments = [
        with("a", 10, &[("email", "ada@acme.com"), ("phone", "(202) 362-0175")]),
        with("b", 20, &[("email", "ADA@acme.com"), ("phone", "+12023620175"), ("email", "nonsense")]),
    ];
    let golden = unify(&fragments.iter().collect::<Vec<_>>(), &config, Detail::Golden).unwrap();
    let shown: Vec<(NamespaceId, &str, bool, Vec<&str>)> = golden
        .identifiers
        .iter()
        .map(|i| (i.namespace, i.value.as_str(), i.well_formed, i.claims.iter().map(|claim| claim.raw).collect()))
        .collect();
    assert_eq!(
        shown,
        [
            (namespace("email"), "ada@acme.com", true, vec!["ADA@acme.com", "ada@acme.com"]),
            (namespace("email"), "nonsense", false, vec!["nonsense"]),
            (namespace("phone"), "+12023620175", true, vec!["+12023620175", "(202) 362-0175"]),
        ]
    );
    assert_eq!((golden.records, golden.first_observed_at.0, golden.last_observed_at.0), (2, 10, 20));
    assert!(!format!("{golden:?}").to_lowercase().contains("ada@"), "nothing shows the value");
}

#[test]
fn nobody_has_no_profile() {
    assert_eq!(unify(&[], &config(&[], Survivorship::MostRecent), Detail::Golden), None);
}

fn value() -> impl Strategy<Value = AttributeValue> {
    prop_oneof![
        6 => prop::sample::select(vec!["x", "X", " x", "yy", "Yy", "zzz", "", " "]).prop_map(|text| AttributeValue::Text(text.to_owned())),
        1 => prop::sample::select(vec![0.0, 1.5]).prop_map(AttributeValue::Number),
        1 => any::<bool>().prop_map(AttributeValue::Flag),
    ]
}

fn any_fragment() -> impl Strategy<Value = Fragment> {
    let attribute = (prop::sample::select(vec![1u16, 3, 7, 9, 11, 12]), value())
        .prop_map(|(name, value)| Attribute { name: AttributeId(name), value });
    let claim = (
        prop::sample::select(vec![0u16, 6, 7]),
        prop::sample::select(vec!["a@b.com", "A@b.com", "2023620175", "u", "?"]),
    )
        .prop_map(|(namespace, raw)| Identifier { namespace: NamespaceId(namespace), raw: raw.to_owned() });
    // Few keys and times, so that ties, and two fragments of one record, are common.
    (0..5u16, 0..4u8, 0..4i64, vec(attribute, 0..6), vec(claim, 0..4), prop::option::of("[a-c]")).prop_map(
        |(source, key, at, attributes, identifiers, traits)| {
            let mut fragment = Fragment {
                record: SourceRecord { source: SourceId(source), key: key.to_string() },
                observed_at: ObservedAt(at),
                party: PartyKind::Person,
                identifiers,
                attributes,
                traits,
                affiliations: Vec::new(),
                stages: Vec::new(),
            };
            fragment.canonicalise();
            fragment
        },
    )
}

fn any_config() -> impl Strategy<Value = TenantConfig> {
    let rule = || {
        prop::sample::select(vec![
            Survivorship::MostRecent,
            Survivorship::MostTrusted,
            Survivorship::MostFrequent,
            Survivorship::Longest,
            Survivorship::AllValues,
        ])
    };
    (rule(), rule(), rule(), prop::option::of(rule())).prop_map(|(default, name, group, country)| {
        let mut rules = vec![("given_name", name), ("address", group)];
        rules.extend(country.map(|rule| ("address.country", rule)));
        config(&rules, default)
    })
}

// No personal data in logs: `Debug` of a fragment, and of the profile made of it, names counts and never content.
#[test]
fn debug_shows_nothing_of_a_person() {
    let config = TenantConfig::new("t", "T");
    let canary = || "canary".to_owned();
    let fragment = Fragment {
        record: SourceRecord { source: SourceId(0), key: canary() },
        observed_at: ObservedAt(5),
        party: PartyKind::Person,
        identifiers: vec![Identifier { namespace: NamespaceId(0), raw: canary() }],
        attributes: vec![
            Attribute { name: AttributeId(0), value: AttributeValue::Text(canary()) },
            Attribute { name: AttributeId(1), value: AttributeValue::Number(71_717_171.0) },
        ],
        traits: Some(r#"{"likes":"canary"}"#.to_owned()),
        affiliations: Vec::new(),
        stages: Vec::new(),
    };
    let golden = unify(&[&fragment], &config, Detail::WithLosers).unwrap();
    assert!(golden.traits.is_some() && golden.identifiers.len() == 1, "there is something to hide");
    let parts = format!("{:?} {:?} {:?}", golden.attributes, golden.identifiers, fragment.attributes);
    for shown in
        [format!("{fragment:?}"), format!("{fragment:#?}"), format!("{golden:?}"), format!("{golden:#?}"), parts]
    {
        assert!(!shown.contains("canary") && !shown.contains("71717171"), "{shown}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    // LAW 2
    #[test]
    fn the_order_of_fragments_does_not_show(
        (fragments, shuffled) in vec(any_fragment(), 1..9).prop_flat_map(|fragments| (Just(fragments.clone()), Just(fragments).prop_shuffle())),
        config in any_config(),
    ) {
        for detail in [Detail::Golden, Detail::WithLosers] {
            let one = unify(&fragments.iter().collect::<Vec<_>>(), &config, detail);
            let other = unify(&shuffled.iter().collect::<Vec<_>>(), &config, detail);
            prop_assert_eq!(&one, &other);
            // Re-sent fragments add nothing, not even support.
            let twice: Vec<&Fragment> = fragments.iter().chain(&shuffled).collect();
            prop_assert_eq!(&one, &unify(&twice, &config, detail));
        }
    }

    // LAW 8
    #[test]
    fn every_golden_value_has_a_live_source(fragments in vec(any_fragment(), 1..9), config in any_config()) {
        let golden = unify(&fragments.iter().collect::<Vec<_>>(), &config, Detail::WithLosers).unwrap();
        let live = |provenance: &Provenance<'_>| {
            fragments.iter().filter(|fragment| fragment.record == *provenance.record && fragment.observed_at == provenance.observed_at).collect::<Vec<_>>()
        };
        let mut winner_of_address = None;
        for attribute in &golden.attributes {
            prop_assert!(attribute.values.len() + attribute.losers.len() > 0);
            let name = config.attribute(attribute.name);
            let grouped = name.contains('.') && !config.survivorship.contains_key(name);
            if attribute.rule != Survivorship::AllValues && !grouped {
                prop_assert_eq!(attribute.values.len(), 1, "{}", name);
            }
            for value in attribute.values.iter().chain(&attribute.losers) {
                let says = live(&value.provenance).iter().any(|fragment| {
                    fragment.attributes.iter().any(|said| said.name == attribute.name && said.value == *value.value)
                });
                prop_assert!(says, "{} is said by nobody", name);
                prop_assert!(value.support >= 1 && value.support as usize <= golden.records);
            }
            if grouped && attribute.rule != Survivorship::AllValues {
                for value in &attribute.values {
                    let winner = *winner_of_address.get_or_insert(value.provenance);
                    prop_assert_eq!(winner, value.provenance, "a group is taken whole");
                }
            }
        }
        for identifier in &golden.identifiers {
            prop_assert!(!identifier.claims.is_empty());
            for claim in &identifier.claims {
                prop_assert!(live(&claim.provenance).iter().any(|fragment| fragment.identifiers.iter().any(|i| i.raw == claim.raw)));
            }
        }
    }

    // LAW 1: what a merge added, a split takes away; the profile of one fragment is that fragment.
    #[test]
    fn one_fragment_is_its_own_profile(fragment in any_fragment(), config in any_config()) {
        let golden = unify(&[&fragment], &config, Detail::WithLosers).unwrap();
        for said in fragment.attributes.iter().filter(|said| said.value.as_text().is_none_or(|text| !text.trim().is_empty())) {
            let attribute = golden.attributes.iter().find(|attribute| attribute.name == said.name).unwrap();
            prop_assert!(attribute.values[0].support == 1);
            let all: Vec<_> = attribute.values.iter().chain(&attribute.losers).collect();
            let same = |value: &AttributeValue| match (value, &said.value) {
                (AttributeValue::Text(a), AttributeValue::Text(b)) => a.trim().eq_ignore_ascii_case(b.trim()),
                (a, b) => a == b,
            };
            prop_assert!(all.iter().any(|value| same(value.value)));
        }
    }
}
