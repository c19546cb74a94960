//! Data contracts: what a source promised, checked fragment by fragment; every fault is found, not just the first.
//!
//! Messages name rules, never values.

use std::collections::BTreeMap;

use regex::{Regex, RegexBuilder};

use crate::config::{AttributeKind, AttributeRule, Contract, TenantConfig};
use crate::fault::{FaultReason, FieldFault};
use crate::fragment::{AttributeValue, Fragment, Vocabulary};
use crate::identifier::{canonicalise, region};
use crate::ids::NamespaceId;
use crate::namespace::NamespaceClass;

/// Bytes that one compiled pattern may take.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// A contract with its patterns compiled.
#[derive(Clone, Debug, Default)]
pub struct CompiledContract {
    contract: Contract,
    patterns: BTreeMap<String, Regex>,
}

impl CompiledContract {
    /// Compiles a contract.
    ///
    /// # Errors
    /// A fault for every pattern that is no regular expression or compiles too large, and for every rule whose bounds
    /// allow nothing.
    pub fn compile(contract: &Contract) -> Result<Self, Vec<FieldFault>> {
        let mut faults = Vec::new();
        let mut patterns = BTreeMap::new();
        for (name, rule) in &contract.attributes {
            if let Some(pattern) = &rule.pattern {
                match RegexBuilder::new(&format!("^(?:{pattern})$")).size_limit(PATTERN_BYTES_MAX).build() {
                    Ok(regex) => {
                        patterns.insert(name.clone(), regex);
                    }
                    Err(error) => {
                        let path = format!("source.contract.attributes[{name}].pattern");
                        faults.push(FieldFault::new(path, FaultReason::Malformed, format!("is no pattern: {error}")));
                    }
                }
            }
            if let (Some(minimum), Some(maximum)) = (rule.minimum, rule.maximum)
                && minimum > maximum
            {
                let path = format!("source.contract.attributes[{name}].minimum");
                faults.push(FieldFault::new(
                    path,
                    FaultReason::Malformed,
                    "lies above the maximum: nothing is allowed",
                ));
            }
        }
        if faults.is_empty() { Ok(Self { contract: contract.clone(), patterns }) } else { Err(faults) }
    }

    /// Every fault of a fragment under this contract. `is_date` tells whether a text reads as a calendar date.
    #[must_use]
    pub fn check(&self, fragment: &Fragment, config: &TenantConfig, is_date: impl Fn(&str) -> bool) -> Vec<FieldFault> {
        let mut faults = one_value_of_each_unique_namespace(fragment, config);
        self.identifiers(fragment, config, &mut faults);
        self.attributes(fragment, config, &is_date, &mut faults);
        faults
    }

    fn identifiers(&self, fragment: &Fragment, config: &TenantConfig, faults: &mut Vec<FieldFault>) {
        if self.contract.require_any_namespace.is_empty() && !self.contract.strict_identifiers {
            return;
        }
        let region = region::of(fragment, config);
        let mut present = false;
        for claim in &fragment.identifiers {
            let Some(namespace) = config.namespace(claim.namespace) else { continue };
            match canonicalise(namespace.normaliser, &claim.raw, region) {
                Ok(_) => present |= self.contract.require_any_namespace.contains(&claim.namespace),
                Err(why) if self.contract.strict_identifiers => {
                    let path = format!("identifiers[{}]", namespace.name);
                    faults.push(FieldFault::new(path, FaultReason::ContractBroken, why.to_string()));
                }
                Err(_) => {}
            }
        }
        if !present && !self.contract.require_any_namespace.is_empty() {
            let name = |id: &NamespaceId| config.namespace(*id).map_or("", |namespace| namespace.name.as_str());
            let names: Vec<&str> = self.contract.require_any_namespace.iter().map(name).collect();
            let message = format!("the source's contract asks for at least one of {}, well formed", names.join(", "));
            faults.push(FieldFault::new("identifiers", FaultReason::ContractBroken, message));
        }
    }

    fn attributes(
        &self,
        fragment: &Fragment,
        config: &TenantConfig,
        is_date: &dyn Fn(&str) -> bool,
        faults: &mut Vec<FieldFault>,
    ) {
        let broken = |name: &str, message: String| {
            FieldFault::new(format!("attributes[{name}]"), FaultReason::ContractBroken, message)
        };
        for (name, rule) in &self.contract.attributes {
            let mut values = fragment.attributes.iter().filter(|a| config.attribute(a.name) == name).peekable();
            if rule.required && values.peek().is_none() {
                faults.push(broken(name, "the source's contract requires it".to_owned()));
            }
            for attribute in values {
                let found = self.value(name, rule, &attribute.value, is_date);
                faults.extend(found.into_iter().map(|message| broken(name, message)));
            }
        }
        if self.contract.closed {
            for attribute in &fragment.attributes {
                let name = config.attribute(attribute.name);
                if !self.contract.attributes.contains_key(name) {
                    faults.push(broken(name, "the source's contract is closed and does not know it".to_owned()));
                }
            }
        }
    }

    fn value(
        &self,
        name: &str,
        rule: &AttributeRule,
        value: &AttributeValue,
        is_date: &dyn Fn(&str) -> bool,
    ) -> Vec<String> {
        let mut found = Vec::new();
        let kind_fits = match (rule.kind, value) {
            (AttributeKind::Any, _)
            | (AttributeKind::Text, AttributeValue::Text(_))
            | (AttributeKind::Number, AttributeValue::Number(_))
            | (AttributeKind::Flag, AttributeValue::Flag(_)) => true,
            (AttributeKind::Date, AttributeValue::Text(text)) => is_date(text),
            _ => false,
        };
        if !kind_fits {
            found.push(format!("the source's contract asks for {}", kind_name(rule.kind)));
        }
        if let AttributeValue::Text(text) = value {
            if self.patterns.get(name).is_some_and(|pattern| !pattern.is_match(text)) {
                found.push("does not match the contract's pattern".to_owned());
            }
            if !rule.allowed.is_empty() && !rule.allowed.contains(text) {
                found.push("is none of the contract's allowed values".to_owned());
            }
        }
        if let AttributeValue::Number(number) = value {
            if let Some(minimum) = rule.minimum.filter(|minimum| number < minimum) {
                found.push(format!("lies below the contract's minimum of {minimum}"));
            }
            if let Some(maximum) = rule.maximum.filter(|maximum| number > maximum) {
                found.push(format!("lies above the contract's maximum of {maximum}"));
            }
        }
        found
    }
}

/// LAW 5: a party holds at most one value of a unique namespace, and a fragment describes one party.
fn one_value_of_each_unique_namespace(fragment: &Fragment, config: &TenantConfig) -> Vec<FieldFault> {
    let region = region::of(fragment, config);
    let mut first: BTreeMap<NamespaceId, String> = BTreeMap::new();
    let mut faults = Vec::new();
    for claim in &fragment.identifiers {
        let Some(namespace) = config.namespace(claim.namespace) else { continue };
        if namespace.class != NamespaceClass::Unique {
            continue;
        }
        let Ok(value) = canonicalise(namespace.normaliser, &claim.raw, region) else { continue };
        let value = value.into_string();
        if first.get(&claim.namespace).is_some_and(|known| *known != value) {
            let path = format!("identifiers[{}]", namespace.name);
            let message = "a party holds one value of this namespace, and the fragment has several";
            faults.push(FieldFault::new(path, FaultReason::Repeated, message));
        }
        first.entry(claim.namespace).or_insert(value);
    }
    faults
}

const fn kind_name(kind: AttributeKind) -> &'static str {
    match kind {
        AttributeKind::Any => "any value",
        AttributeKind::Text => "text",
        AttributeKind::Number => "a number",
        AttributeKind::Flag => "yes or no",
        AttributeKind::Date => "a calendar date",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fragment::{Attribute, Identifier, ObservedAt, PartyKind, SourceRecord};
    use crate::ids::{AttributeId, SourceId};

    fn fragment(
        config: &TenantConfig,
        identifiers: &[(&str, &str)],
        attributes: &[(&str, AttributeValue)],
    ) -> Fragment {
        let attribute = |name: &str| config.attribute_names.iter().position(|known| known == name).unwrap() as u16;
        Fragment {
            record: SourceRecord { source: SourceId(0), key: "1".into() },
            observed_at: ObservedAt(0),
            party: PartyKind::Person,
            identifiers: identifiers
                .iter()
                .map(|(n, raw)| Identifier { namespace: config.namespace_named(n).unwrap().id, raw: (*raw).into() })
                .collect(),
            attributes: attributes
                .iter()
                .map(|(n, value)| Attribute { name: AttributeId(attribute(n)), value: value.clone() })
                .collect(),
            traits: None,
        }
    }

    #[test]
    fn every_fault_is_found_and_no_value_is_repeated() {
        let mut config = TenantConfig::new("t", "T");
        config.attribute_names.extend(["age".to_owned(), "tier".to_owned(), "joined".to_owned()]);
        let text = |text: &str| AttributeValue::Text(text.into());
        let rule = |change: &dyn Fn(&mut AttributeRule)| {
            let mut rule = AttributeRule::default();
            change(&mut rule);
            rule
        };
        let contract = Contract {
            require_any_namespace: vec![config.namespace_named("email").unwrap().id],
            strict_identifiers: true,
            closed: true,
            attributes: BTreeMap::from([
                ("given_name".to_owned(), rule(&|r| r.required = true)),
                ("tier".to_owned(), rule(&|r| r.allowed = vec!["gold".into(), "silver".into()])),
                (
                    "age".to_owned(),
                    rule(&|r| (r.kind, r.minimum, r.maximum) = (AttributeKind::Number, Some(0.0), Some(130.0))),
                ),
                ("joined".to_owned(), rule(&|r| r.kind = AttributeKind::Date)),
                ("address.postcode".to_owned(), rule(&|r| r.pattern = Some("[0-9]{5}".into()))),
            ]),
        };
        let compiled = CompiledContract::compile(&contract).unwrap();
        let is_date = |text: &str| text == "2024-01-02";
        let good = fragment(
            &config,
            &[("email", "ada@acme.com")],
            &[
                ("given_name", text("Ada")),
                ("tier", text("gold")),
                ("age", AttributeValue::Number(36.0)),
                ("joined", text("2024-01-02")),
                ("address.postcode", text("12345")),
            ],
        );
        assert_eq!(compiled.check(&good, &config, is_date), []);
        let bad = fragment(
            &config,
            &[("email", "SECRET-at-nowhere"), ("user_id", "SECRET1"), ("user_id", "SECRET2")],
            &[
                ("tier", text("SECRET")),
                ("age", AttributeValue::Number(131.0)),
                ("joined", text("SECRET")),
                ("address.postcode", text("x12345")),
                ("job_title", text("SECRET")),
            ],
        );
        let faults = compiled.check(&bad, &config, is_date);
        let paths: Vec<&str> = faults.iter().map(|fault| fault.path.as_str()).collect();
        let want = [
            "identifiers[user_id]",
            "identifiers[email]",
            "identifiers",
            "attributes[address.postcode]",
            "attributes[age]",
            "attributes[given_name]",
            "attributes[joined]",
            "attributes[tier]",
            "attributes[job_title]",
        ];
        assert_eq!(paths, want);
        assert!(!format!("{faults:?}").contains("SECRET"), "a fault names the rule, never the value");
    }

    #[test]
    fn a_contract_that_allows_nothing_or_has_no_pattern_is_refused() {
        for (pattern, minimum) in
            [(Some("(".to_owned()), None), (Some("(a{9999}){9999}".to_owned()), None), (None, Some(2.0))]
        {
            let rule = AttributeRule { pattern, minimum, maximum: Some(1.0), ..AttributeRule::default() };
            let contract = Contract { attributes: BTreeMap::from([("age".to_owned(), rule)]), ..Contract::default() };
            assert_eq!(CompiledContract::compile(&contract).unwrap_err().len(), 1);
        }
    }
}
