use proptest::prelude::*;

use super::*;
use crate::config::Source;
use crate::fragment::{Attribute, Identifier, PartyKind};
use crate::ids::SourceId;

fn config(rules: &[(&str, Survivorship)]) -> TenantConfig {
    let mut config = TenantConfig::new("t", "T");
    for (id, (name, trust)) in [("crm", 900), ("shop", 500), ("web", 100)].into_iter().enumerate() {
        let id = SourceId(id as u16);
        config.sources.push(Source {
            id,
            name: name.into(),
            display_name: String::new(),
            trust,
            contract: Default::default(),
        });
    }
    config.survivorship = rules.iter().map(|(name, rule)| ((*name).to_owned(), *rule)).collect();
    config
}

fn fragment(config: &TenantConfig, source: u16, key: &str, at: i64, said: &[(&str, &str)]) -> Fragment {
    let attribute = |name: &str| config.attribute_names.iter().position(|known| known == name).unwrap() as u16;
    let mut fragment = Fragment {
        record: SourceRecord { source: SourceId(source), key: key.to_owned() },
        observed_at: ObservedAt(at),
        party: PartyKind::Person,
        identifiers: Vec::new(),
        attributes: said
            .iter()
            .map(|(name, value)| Attribute {
                name: AttributeId(attribute(name)),
                value: AttributeValue::Text((*value).to_owned()),
            })
            .collect(),
        traits: None,
    };
    fragment.canonicalise();
    fragment
}

fn shown(golden: &Golden, config: &TenantConfig, name: &str) -> Vec<String> {
    let of_name = golden.values.iter().filter(|value| config.attribute(value.attribute) == name);
    of_name.map(|value| value.value.as_text().unwrap().to_owned()).collect()
}

fn unified(fragments: &[Fragment], config: &TenantConfig) -> Golden {
    let members: Vec<Member<'_>> = fragments
        .iter()
        .map(|fragment| Member { fragment, trust: config.sources[usize::from(fragment.record.source.0)].trust })
        .collect();
    unify(&members, config)
}

#[test]
fn each_rule_picks_its_own_winner() {
    let table = [
        (Survivorship::MostRecent, vec!["Ada"]),
        (Survivorship::MostTrusted, vec!["Augusta Ada"]),
        (Survivorship::MostFrequent, vec!["Adah"]),
        (Survivorship::Longest, vec!["Augusta Ada"]),
        (Survivorship::AllValues, vec!["Ada", "Adah", "Augusta Ada"]),
    ];
    for (rule, want) in table {
        let config = config(&[("given_name", rule)]);
        let fragments = [
            fragment(&config, 0, "1", 10, &[("given_name", "Augusta Ada")]),
            fragment(&config, 1, "2", 20, &[("given_name", "Adah")]),
            fragment(&config, 2, "3", 30, &[("given_name", " adah")]),
            fragment(&config, 2, "4", 40, &[("given_name", "Ada"), ("family_name", "  ")]),
        ];
        let golden = unified(&fragments, &config);
        let got = shown(&golden, &config, "given_name");
        let got: Vec<&str> = got.iter().map(|text| text.trim()).collect();
        // Of values that are equal but for case and space the newest form is shown.
        assert_eq!(
            got.iter().map(|t| t.to_lowercase()).collect::<Vec<_>>(),
            want.iter().map(|t| t.to_lowercase()).collect::<Vec<_>>(),
            "{rule:?}"
        );
        assert!(shown(&golden, &config, "family_name").is_empty(), "blank text is no value");
    }
}

#[test]
fn the_most_trusted_source_is_believed_over_newer_ones_and_named_first() {
    let config = config(&[("given_name", Survivorship::MostTrusted)]);
    let fragments = [
        fragment(&config, 0, "1", 10, &[("given_name", "Ada")]),
        fragment(&config, 2, "2", 90, &[("given_name", "ADA")]),
        fragment(&config, 1, "3", 99, &[("given_name", "Eve")]),
    ];
    let golden = unified(&fragments, &config);
    assert_eq!(shown(&golden, &config, "given_name"), ["Ada"]);
    assert_eq!(golden.values[0].provenance.iter().map(|p| p.record.key.as_str()).collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(golden.others.len(), 1);
}

#[test]
fn an_address_is_taken_whole_from_one_fragment() {
    let config = config(&[]);
    let fragments = [
        fragment(
            &config,
            0,
            "1",
            10,
            &[("address.street", "1 Old Road"), ("address.city", "Leeds"), ("address.postcode", "LS1")],
        ),
        fragment(&config, 1, "2", 20, &[("address.street", "2 New Street"), ("address.city", "York")]),
    ];
    let golden = unified(&fragments, &config);
    assert_eq!(shown(&golden, &config, "address.street"), ["2 New Street"]);
    assert_eq!(shown(&golden, &config, "address.city"), ["York"]);
    assert!(shown(&golden, &config, "address.postcode").is_empty(), "the postcode of the other house");
}

#[test]
fn identifiers_are_shown_once_in_canonical_form_with_all_who_said_so() {
    let config = config(&[]);
    let email = config.namespace_named("email").unwrap().id;
    let mut first = fragment(&config, 0, "1", 10, &[]);
    first.identifiers = vec![Identifier { namespace: email, raw: " Ada@Example.ORG ".into() }];
    let mut second = fragment(&config, 1, "2", 20, &[]);
    second.identifiers = vec![
        Identifier { namespace: email, raw: "ada@example.org".into() },
        Identifier { namespace: email, raw: "not an address".into() },
    ];
    let golden = unified(&[first, second], &config);
    let got: Vec<(&str, bool, usize)> =
        golden.identifiers.iter().map(|i| (i.value.as_str(), i.well_formed, i.provenance.len())).collect();
    assert_eq!(got, [("ada@example.org", true, 2), ("not an address", false, 1)]);
}

proptest! {
    #[test]
    fn neither_order_nor_repetition_shows_and_every_value_has_a_live_source(
        facts in proptest::collection::vec((0..3u16, 0..6u8, 0..5i64, "[a-c]{0,2}", "[a-c]{0,2}"), 1..12),
        rule in 0..5usize,
        seed in any::<u64>(),
    ) {
        let rules = [Survivorship::MostRecent, Survivorship::MostTrusted, Survivorship::MostFrequent, Survivorship::Longest, Survivorship::AllValues];
        let config = config(&[("given_name", rules[rule]), ("address", rules[rule])]);
        let mut fragments: Vec<Fragment> = Vec::new();
        for (source, key, at, name, street) in facts {
            let key = key.to_string();
            if fragments.iter().all(|known| known.record.key != key || known.record.source.0 != source) {
                fragments.push(fragment(&config, source, &key, at, &[("given_name", &name), ("address.street", &street)]));
            }
        }
        let golden = unified(&fragments, &config);
        let mut shuffled = fragments.clone();
        let mut state = seed | 1;
        for index in (1..shuffled.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            shuffled.swap(index, (state >> 33) as usize % (index + 1));
        }
        prop_assert_eq!(&unified(&shuffled, &config), &golden);
        prop_assert_eq!(unified(&shuffled, &config).digest(&config), golden.digest(&config));
        for value in golden.values.iter().chain(&golden.others) {
            prop_assert!(!value.provenance.is_empty());
            for said in &value.provenance {
                let source = fragments.iter().find(|f| f.record == said.record && f.observed_at == said.observed_at);
                prop_assert!(source.is_some_and(|f| f.attributes.iter().any(|a| a.name == value.attribute)), "law 8");
            }
        }
    }
}
