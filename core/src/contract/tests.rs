use super::*;
use crate::fragment::{Identifier, PartyKind, SourceRecord};
use crate::ids::SourceId;

const NOW: ObservedAt = ObservedAt(1_700_000_000_000_000);

fn config() -> TenantConfig {
    let mut config = TenantConfig::new("acme", "Acme");
    config.attribute_names.push("score".to_owned());
    config.attribute_names.push("vip".to_owned());
    config
}

fn fragment(identifiers: &[(&str, &str)], attributes: &[(&str, AttributeValue)]) -> Fragment {
    let config = config();
    let mut fragment = Fragment {
        record: SourceRecord { source: SourceId(0), key: "k".to_owned() },
        observed_at: NOW,
        party: PartyKind::Person,
        identifiers: identifiers
            .iter()
            .map(|(name, raw)| Identifier {
                namespace: config.namespace_named(name).unwrap().id,
                raw: (*raw).to_owned(),
            })
            .collect(),
        attributes: attributes
            .iter()
            .map(|(name, value)| {
                let at = config.attribute_names.iter().position(|known| known == name).unwrap();
                Attribute { name: AttributeId(at as u16), value: value.clone() }
            })
            .collect(),
        traits: None,
        affiliations: Vec::new(),
        stages: Vec::new(),
    };
    fragment.canonicalise();
    fragment
}

fn text(text: &str) -> AttributeValue {
    AttributeValue::Text(text.to_owned())
}

fn faults(contract: &Contract, fragment: &Fragment) -> Vec<(String, FaultReason)> {
    let compiled = CompiledContract::compile(contract, &config()).unwrap();
    checked(fragment, &config(), &compiled).into_iter().map(|fault| (fault.path, fault.reason)).collect()
}

fn checked(fragment: &Fragment, config: &TenantConfig, contract: &CompiledContract) -> Vec<FieldFault> {
    let region = config.default_region.as_deref();
    let rules = config.namespaces.iter().map(|namespace| BlockRules::compile(namespace, region).unwrap());
    let rules: Vec<BlockRules> = rules.collect();
    check(fragment, config, contract, &|id| rules.get(usize::from(id.0)))
}

fn rule(change: impl FnOnce(&mut AttributeRule)) -> Contract {
    let mut rule = AttributeRule::default();
    change(&mut rule);
    Contract { attributes: [("score".to_owned(), rule)].into(), ..Contract::default() }
}

#[test]
fn each_rule_is_kept_and_broken() {
    use AttributeValue::{Flag, Number};
    use FaultReason::{ContractBroken, Malformed, Missing};
    let table = [
        ("required", rule(|r| r.required = true), text("x"), text("  "), Missing),
        ("text", rule(|r| r.kind = AttributeKind::Text), text("x"), Number(1.0), Malformed),
        ("number", rule(|r| r.kind = AttributeKind::Number), Number(1.0), text("1"), Malformed),
        ("flag", rule(|r| r.kind = AttributeKind::Flag), Flag(true), text("yes"), Malformed),
        ("date", rule(|r| r.kind = AttributeKind::Date), text("15-Mar-92"), text("1992-02-30"), Malformed),
        ("date of another type", rule(|r| r.kind = AttributeKind::Date), text("1992"), Number(1992.0), Malformed),
        ("pattern", rule(|r| r.pattern = Some("[A-Z]{2}".to_owned())), text("AB"), text("ABC"), ContractBroken),
        ("allowed", rule(|r| r.allowed = vec!["a".to_owned(), "b".to_owned()]), text("b"), text("c"), ContractBroken),
        ("minimum", rule(|r| r.minimum = Some(1.0)), Number(1.0), Number(0.9), ContractBroken),
        ("maximum", rule(|r| r.maximum = Some(1.0)), Number(1.0), Number(1.1), ContractBroken),
    ];
    for (what, contract, good, bad, reason) in table {
        assert_eq!(faults(&contract, &fragment(&[], &[("score", good)])), [], "{what}");
        let broken = faults(&contract, &fragment(&[], &[("score", bad)]));
        assert_eq!(broken, [("attributes[score]".to_owned(), reason)], "{what}");
    }
    let closed = Contract { closed: true, ..rule(|_| {}) };
    assert_eq!(faults(&closed, &fragment(&[], &[("score", text("x"))])), []);
    let broken = faults(&closed, &fragment(&[], &[("vip", Flag(true))]));
    assert_eq!(broken, [("attributes[vip]".to_owned(), ContractBroken)]);
}

#[test]
fn all_faults_are_told_at_once() {
    let mut contract = rule(|r| {
        r.kind = AttributeKind::Text;
        r.pattern = Some("[0-9]+".to_owned());
        r.allowed = vec!["1".to_owned()];
    });
    contract.closed = true;
    contract.strict_identifiers = true;
    contract.require_any_namespace = vec![config().namespace_named("phone").unwrap().id];
    contract.attributes.insert("vip".to_owned(), AttributeRule { required: true, ..AttributeRule::default() });
    let broken = faults(
        &contract,
        &fragment(
            &[("email", "ada"), ("user_id", "a"), ("user_id", "b")],
            &[("score", text("x")), ("gender", text("f"))],
        ),
    );
    let paths: Vec<&str> = broken.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "identifiers[email]",
            "identifiers",
            "identifiers[user_id]",
            "attributes[gender]",
            "attributes[score]",
            "attributes[score]",
            "attributes[vip]",
        ]
    );
}

#[test]
fn messages_hold_no_values() {
    let contract = Contract { strict_identifiers: true, ..rule(|r| r.allowed = vec!["a".to_owned()]) };
    let compiled = CompiledContract::compile(&contract, &config()).unwrap();
    let fragment =
        fragment(&[("email", "canary"), ("user_id", "canary1"), ("user_id", "canary2")], &[("score", text("canary"))]);
    let faults = checked(&fragment, &config(), &compiled);
    assert_eq!(faults.len(), 3);
    assert!(faults.iter().all(|fault| !format!("{fault:?}").contains("canary")));
}

#[test]
fn required_namespaces_want_a_well_formed_value() {
    let ids = ["email", "phone"].map(|name| config().namespace_named(name).unwrap().id);
    let contract = Contract { require_any_namespace: ids.to_vec(), ..Contract::default() };
    assert_eq!(faults(&contract, &fragment(&[("phone", "202 362 0175"), ("email", "x")], &[])), []);
    for missing in [&[("email", "x")][..], &[("user_id", "u")], &[]] {
        assert_eq!(faults(&contract, &fragment(missing, &[])), [("identifiers".to_owned(), FaultReason::Missing)]);
    }
}

#[test]
fn two_values_of_a_unique_namespace_are_a_fault_unless_one_never_links() {
    let contract = Contract::default();
    let repeated = vec![("identifiers[tax_id]".to_owned(), FaultReason::Repeated)];
    for (values, want) in [
        (["12-3456781", "99-8877665"], repeated),
        (["12-3456781", "123456781"], vec![]),
        (["12-3456781", "n/a"], vec![]),
        (["12-3456781", "--"], vec![]),
    ] {
        assert_eq!(faults(&contract, &fragment(&values.map(|value| ("tax_id", value)), &[])), want, "{values:?}");
    }
    assert_eq!(faults(&contract, &fragment(&[("email", "a@b.com"), ("email", "c@b.com")], &[])), []);
}

/// What links is decided by the tenant's rules. The check read blocked telephone numbers as ones of the fragment's own country,
/// held a value for blocked that links, and let a record in that contradicts itself.
#[test]
fn values_that_link_by_the_tenants_rules_count_in_every_country() {
    let mut config = config();
    config.default_region = Some("US".to_owned());
    let phone = config.namespaces.iter_mut().find(|namespace| namespace.name == "phone").unwrap();
    (phone.class, phone.blocked_values) = (NamespaceClass::Unique, vec!["030 26391234".to_owned()]);
    let german = fragment(&[("phone", "030 26391234"), ("phone", "030 26395678")], &[("address.country", text("DE"))]);
    let contract = CompiledContract::compile(&Contract::default(), &config).unwrap();
    let faults: Vec<String> = checked(&german, &config, &contract).into_iter().map(|fault| fault.path).collect();
    assert_eq!(faults, ["identifiers[phone]"]);
}

#[test]
fn contracts_that_cannot_be_kept_are_refused_whole() {
    let mut contract = rule(|r| {
        r.pattern = Some("(".to_owned());
        r.minimum = Some(2.0);
        r.maximum = Some(1.0);
    });
    contract.require_any_namespace = vec![NamespaceId(999)];
    contract.attributes.insert(
        "vip".to_owned(),
        AttributeRule { kind: AttributeKind::Flag, pattern: Some("x".to_owned()), ..AttributeRule::default() },
    );
    let paths: Vec<String> =
        CompiledContract::compile(&contract, &config()).unwrap_err().into_iter().map(|fault| fault.path).collect();
    assert_eq!(
        paths,
        [
            "contract.require_any_namespace",
            "contract.attributes[score].pattern",
            "contract.attributes[score].minimum",
            "contract.attributes[vip].pattern",
        ]
    );
}

#[test]
fn limits_hold_to_the_byte() {
    let of = |change: &dyn Fn(&mut Fragment)| {
        let mut fragment = fragment(&[("email", "ada@acme.com")], &[("score", text("x"))]);
        change(&mut fragment);
        check_limits(&fragment, &config(), NOW).into_iter().map(|fault| (fault.path, fault.reason)).collect::<Vec<_>>()
    };
    use FaultReason::{InTheFuture, Malformed, Missing, TooLarge};
    type Change = Box<dyn Fn(&mut Fragment, usize)>;
    let table: Vec<(&str, Change, usize, FaultReason)> = vec![
        ("key", Box::new(|f, n| f.record.key = "k".repeat(n)), limits::SOURCE_KEY_BYTES_MAX, TooLarge),
        (
            "identifiers[email]",
            Box::new(|f, n| f.identifiers[0].raw = "i".repeat(n)),
            limits::IDENTIFIER_BYTES_MAX,
            TooLarge,
        ),
        (
            "attributes[score]",
            Box::new(|f, n| f.attributes[0].value = text(&"a".repeat(n))),
            limits::ATTRIBUTE_BYTES_MAX,
            TooLarge,
        ),
        (
            "identifiers",
            Box::new(|f, n| f.identifiers = vec![f.identifiers[0].clone(); n]),
            limits::IDENTIFIERS_MAX,
            TooLarge,
        ),
        (
            "attributes",
            Box::new(|f, n| f.attributes = vec![f.attributes[0].clone(); n]),
            limits::ATTRIBUTES_MAX,
            TooLarge,
        ),
        ("traits", Box::new(|f, n| f.traits = Some("t".repeat(n))), limits::TRAITS_BYTES_MAX, TooLarge),
    ];
    for (path, change, max, reason) in &table {
        assert_eq!(of(&|fragment| change(fragment, *max)), [], "{path}");
        assert_eq!(of(&|fragment| change(fragment, max + 1)), [((*path).to_owned(), *reason)], "{path}");
    }
    let whole =
        of(&|f| f.attributes = vec![Attribute { name: f.attributes[0].name, value: text(&"a".repeat(4_000)) }; 17]);
    assert_eq!(whole, [("fragment".to_owned(), TooLarge)]);
    assert_eq!(of(&|f| f.record.key.clear()), [("key".to_owned(), Missing)]);
    assert_eq!(
        of(&|f| f.attributes[0].value = AttributeValue::Number(f64::NAN)),
        [("attributes[score]".to_owned(), Malformed)]
    );
    let ahead = limits::OBSERVED_AHEAD_SECONDS_MAX * 1_000_000;
    assert_eq!(of(&|f| f.observed_at.0 += ahead), []);
    assert_eq!(of(&|f| f.observed_at.0 += ahead + 1), [("observed_time".to_owned(), InTheFuture)]);
    assert_eq!(of(&|f| f.observed_at.0 = i64::MIN), []);
}
