//! What a fragment must look like: the bounds that hold for all, and what its source promised.
//!
//! Every check reports all faults, not just the first. Fields are named by meaning (`identifiers[email]`,
//! `attributes[birth_date]`), since a fragment in canonical order no longer knows where its caller wrote them.

use std::collections::BTreeMap;

use regex::Regex;

use crate::config::{AttributeKind, AttributeRule, Contract, TenantConfig, told};
use crate::date::{DateCustom, read_date};
use crate::fault::{FaultReason, FieldFault};
use crate::fragment::{Attribute, AttributeValue, Fragment, ObservedAt, PartyKind, Vocabulary};
use crate::identifier::{BlockRules, canonicalise, region, whole_match};
use crate::ids::{AttributeId, NamespaceId};
use crate::limits;
use crate::namespace::{Namespace, NamespaceClass};

/// A source's contract with its patterns compiled.
#[derive(Clone, Debug, Default)]
pub struct CompiledContract {
    require_any_namespace: Vec<NamespaceId>,
    strict_identifiers: bool,
    closed: bool,
    rules: BTreeMap<String, CompiledRule>,
    roles: Option<AttributeRule>,
    stages: Option<AttributeRule>,
    steps: bool,
}

#[derive(Clone, Debug)]
struct CompiledRule {
    rule: AttributeRule,
    pattern: Option<Regex>,
}

impl CompiledContract {
    /// Compiles a contract.
    ///
    /// # Errors
    /// Every fault of the contract itself: a pattern that is no regular expression, bounds that nothing can meet, a
    /// namespace that does not exist, a rule that asks for two types at once.
    pub fn compile(contract: &Contract, config: &TenantConfig) -> Result<Self, Vec<FieldFault>> {
        let mut faults = Vec::new();
        for id in &contract.require_any_namespace {
            if config.namespace(*id).is_none() {
                let message = "names a namespace that does not exist";
                faults.push(FieldFault::new("contract.require_any_namespace", FaultReason::Unknown, message));
            }
        }
        let mut rules = BTreeMap::new();
        let of_told = |name: &str| [told::ROLES, told::STAGES, told::STEPS].contains(&name);
        for (name, rule) in contract.attributes.iter().filter(|(name, _)| !of_told(name)) {
            let pattern = rule.pattern.as_deref().and_then(|pattern| match whole_match(pattern) {
                Ok(regex) => Some(regex),
                Err(why) => {
                    let path = format!("contract.attributes[{name}].pattern");
                    faults.push(FieldFault::new(path, FaultReason::Malformed, why));
                    None
                }
            });
            rule_faults(name, rule, &mut faults);
            rules.insert(name.clone(), CompiledRule { rule: rule.clone(), pattern });
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        Ok(Self {
            require_any_namespace: contract.require_any_namespace.clone(),
            strict_identifiers: contract.strict_identifiers,
            closed: contract.closed,
            rules,
            roles: contract.attributes.get(told::ROLES).cloned(),
            stages: contract.attributes.get(told::STAGES).cloned(),
            steps: contract.attributes.contains_key(told::STEPS),
        })
    }

    /// Whether a stage that would not be entered breaks the contract.
    #[must_use]
    pub const fn binds_to_steps(&self) -> bool {
        self.steps
    }
}

/// Rules that no value can meet.
fn rule_faults(name: &str, rule: &AttributeRule, faults: &mut Vec<FieldFault>) {
    let mut fault = |field: &str, message: &str| {
        faults.push(FieldFault::new(format!("contract.attributes[{name}].{field}"), FaultReason::Malformed, message));
    };
    let textual = matches!(rule.kind, AttributeKind::Any | AttributeKind::Text | AttributeKind::Date);
    let numeric = matches!(rule.kind, AttributeKind::Any | AttributeKind::Number);
    if !textual && rule.pattern.is_some() {
        fault("pattern", "asks for a text where `kind` asks for something else");
    }
    if !textual && !rule.allowed.is_empty() {
        fault("allowed", "asks for a text where `kind` asks for something else");
    }
    for (field, bound) in [("minimum", rule.minimum), ("maximum", rule.maximum)] {
        if let Some(bound) = bound {
            if !numeric {
                fault(field, "asks for a number where `kind` asks for something else");
            }
            if !bound.is_finite() {
                fault(field, "is not a finite number");
            }
        }
    }
    if let (Some(minimum), Some(maximum)) = (rule.minimum, rule.maximum)
        && minimum > maximum
    {
        fault("minimum", "is above `maximum`, so no number is allowed");
    }
}

/// A namespace's compiled rules, of those by which the tenant's values link.
pub type RulesOf<'a> = dyn Fn(NamespaceId) -> Option<&'a BlockRules> + 'a;

/// Every fault of a fragment under its source's contract and the tenant's namespaces; empty when it keeps both.
#[must_use]
pub fn check(
    fragment: &Fragment,
    config: &TenantConfig,
    contract: &CompiledContract,
    rules: &RulesOf<'_>,
) -> Vec<FieldFault> {
    let mut faults = Vec::new();
    check_identifiers(fragment, config, contract, &mut faults);
    check_unique(fragment, config, rules, &mut faults);
    check_attributes(fragment, config, contract, &mut faults);
    check_told(fragment, contract, &mut faults);
    faults
}

/// Roles in accounts, which an organisation has none of, and stages.
fn check_told(fragment: &Fragment, contract: &CompiledContract, faults: &mut Vec<FieldFault>) {
    let roles: Vec<&str> = fragment.affiliations.iter().map(|told| told.role.trim()).collect();
    let stages: Vec<&str> = fragment.stages.iter().map(|told| told.name.as_str()).collect();
    let asked = [
        ("affiliations", "role in an account", contract.roles.as_ref(), roles),
        ("stages", "stage", contract.stages.as_ref(), stages),
    ];
    for (path, what, rule, given) in asked {
        let Some(rule) = rule else { continue };
        let has_none = path == "affiliations" && fragment.party == PartyKind::Organisation;
        if rule.required && given.is_empty() && !has_none {
            faults.push(FieldFault::new(path, FaultReason::Missing, format!("at least one {what} is required")));
        }
        let allowed = |text: &&str| rule.allowed.iter().any(|known| known.to_lowercase() == text.to_lowercase());
        if !rule.allowed.is_empty() && !given.iter().all(allowed) {
            let message = format!("names a {what} that is none of the {} allowed", rule.allowed.len());
            faults.push(FieldFault::new(path, FaultReason::ContractBroken, message));
        }
    }
}

fn check_identifiers(
    fragment: &Fragment,
    config: &TenantConfig,
    contract: &CompiledContract,
    faults: &mut Vec<FieldFault>,
) {
    let asks = contract.strict_identifiers || !contract.require_any_namespace.is_empty();
    if !asks {
        return;
    }
    let region = region::of(fragment, config);
    let mut required_seen = contract.require_any_namespace.is_empty();
    for claim in &fragment.identifiers {
        let Some(namespace) = config.namespace(claim.namespace) else {
            if contract.strict_identifiers {
                let message = "names a namespace that does not exist";
                faults.push(FieldFault::new("identifiers[?]", FaultReason::Unknown, message));
            }
            continue;
        };
        match canonicalise(namespace.normaliser, &claim.raw, region) {
            Ok(_) => required_seen |= contract.require_any_namespace.contains(&claim.namespace),
            Err(why) if contract.strict_identifiers => {
                faults.push(FieldFault::new(identifier_path(&namespace.name), FaultReason::Malformed, why.to_string()));
            }
            Err(_) => {}
        }
    }
    if !required_seen {
        let names: Vec<&str> =
            contract.require_any_namespace.iter().map(|id| Vocabulary::namespace(config, *id)).collect();
        let message = format!("at least one well-formed value of {} is required", names.join(", "));
        faults.push(FieldFault::new("identifiers", FaultReason::Missing, message));
    }
}

/// LAW 5 at the door: a party holds at most one value of a unique namespace, so one fragment cannot claim two. Values
/// that never link (malformed or blocked) do not count.
fn check_unique(fragment: &Fragment, config: &TenantConfig, rules: &RulesOf<'_>, faults: &mut Vec<FieldFault>) {
    // Identifiers are sorted, so those of one namespace lie side by side.
    for claims in fragment.identifiers.chunk_by(|left, right| left.namespace == right.namespace) {
        let Some(namespace) = config.namespace(claims[0].namespace) else { continue };
        if claims.len() < 2 || namespace.class != NamespaceClass::Unique {
            continue;
        }
        let raws: Vec<&str> = claims.iter().map(|claim| claim.raw.as_str()).collect();
        if distinct_linking(namespace, rules(namespace.id), &raws, region::of(fragment, config)) > 1 {
            let message = "holds two different values of a namespace of which a party has one";
            faults.push(FieldFault::new(identifier_path(&namespace.name), FaultReason::Repeated, message));
        }
    }
}

fn distinct_linking(namespace: &Namespace, rules: Option<&BlockRules>, raws: &[&str], region: Option<&str>) -> usize {
    let mut values: Vec<_> =
        raws.iter().filter_map(|raw| canonicalise(namespace.normaliser, raw, region).ok()).collect();
    values.sort_unstable();
    values.dedup();
    values.retain(|value| rules.is_none_or(|rules| rules.blocked(value).is_none()));
    values.len()
}

fn check_attributes(
    fragment: &Fragment,
    config: &TenantConfig,
    contract: &CompiledContract,
    faults: &mut Vec<FieldFault>,
) {
    let custom = DateCustom::of(region::of(fragment, config), fragment.observed_at);
    for attribute in &fragment.attributes {
        let name = config.attribute(attribute.name);
        match contract.rules.get(name) {
            Some(rule) => check_value(name, &attribute.value, rule, custom, faults),
            None if contract.closed => {
                let message = "is not among the attributes of this source's contract";
                faults.push(FieldFault::new(attribute_path(name), FaultReason::ContractBroken, message));
            }
            None => {}
        }
    }
    for (name, rule) in contract.rules.iter().filter(|(_, rule)| rule.rule.required) {
        let given = |attribute: &Attribute| config.attribute(attribute.name) == name && !is_blank(&attribute.value);
        if !fragment.attributes.iter().any(given) {
            let message = match rule.rule.kind {
                AttributeKind::Any => "is required".to_owned(),
                kind => format!("is required, as {}", kind_name(kind)),
            };
            faults.push(FieldFault::new(attribute_path(name), FaultReason::Missing, message));
        }
    }
}

fn check_value(
    name: &str,
    value: &AttributeValue,
    rule: &CompiledRule,
    custom: DateCustom,
    faults: &mut Vec<FieldFault>,
) {
    let mut fault =
        |reason: FaultReason, message: String| faults.push(FieldFault::new(attribute_path(name), reason, message));
    if is_blank(value) {
        // An empty text is an absent value: `required` speaks of it.
        return;
    }
    let CompiledRule { rule, pattern } = rule;
    let fits = match (rule.kind, value) {
        (AttributeKind::Any, _)
        | (AttributeKind::Text, AttributeValue::Text(_))
        | (AttributeKind::Number, AttributeValue::Number(_))
        | (AttributeKind::Flag, AttributeValue::Flag(_)) => true,
        (AttributeKind::Date, AttributeValue::Text(text)) => read_date(text, custom).is_some(),
        _ => false,
    };
    if !fits {
        fault(FaultReason::Malformed, format!("must be {}", kind_name(rule.kind)));
        return;
    }
    match value {
        AttributeValue::Text(text) => {
            if pattern.as_ref().is_some_and(|pattern| !pattern.is_match(text)) {
                fault(FaultReason::ContractBroken, "does not match the contract's pattern".to_owned());
            }
            if !rule.allowed.is_empty() && !rule.allowed.contains(text) {
                fault(FaultReason::ContractBroken, format!("is none of the {} texts allowed", rule.allowed.len()));
            }
        }
        AttributeValue::Number(number) => {
            if let Some(minimum) = rule.minimum.filter(|minimum| number < minimum) {
                fault(FaultReason::ContractBroken, format!("is below the contract's minimum of {minimum}"));
            }
            if let Some(maximum) = rule.maximum.filter(|maximum| number > maximum) {
                fault(FaultReason::ContractBroken, format!("is above the contract's maximum of {maximum}"));
            }
        }
        AttributeValue::Flag(_) => {}
    }
}

fn is_blank(value: &AttributeValue) -> bool {
    value.as_text().is_some_and(|text| text.trim().is_empty())
}

const fn kind_name(kind: AttributeKind) -> &'static str {
    match kind {
        AttributeKind::Any => "a value",
        AttributeKind::Text => "a text",
        AttributeKind::Number => "a number",
        AttributeKind::Flag => "yes or no",
        AttributeKind::Date => "a calendar date, such as 1985-04-11",
    }
}

/// Every bound of [`limits`] that a fragment goes over (law 10), and times too far ahead of `now`.
#[must_use]
pub fn check_limits(fragment: &Fragment, config: &TenantConfig, now: ObservedAt) -> Vec<FieldFault> {
    let mut faults = Vec::new();
    let mut too_large = |path: String, max: usize, unit: &str| {
        faults.push(FieldFault::new(path, FaultReason::TooLarge, format!("is over the limit of {max} {unit}")));
    };
    if fragment.record.key.len() > limits::SOURCE_KEY_BYTES_MAX {
        too_large("key".to_owned(), limits::SOURCE_KEY_BYTES_MAX, "bytes");
    }
    if fragment.identifiers.len() > limits::IDENTIFIERS_MAX {
        too_large("identifiers".to_owned(), limits::IDENTIFIERS_MAX, "identifiers");
    }
    if fragment.attributes.len() > limits::ATTRIBUTES_MAX {
        too_large("attributes".to_owned(), limits::ATTRIBUTES_MAX, "attributes");
    }
    for claim in fragment.identifiers.iter().filter(|claim| claim.raw.len() > limits::IDENTIFIER_BYTES_MAX) {
        too_large(path_of_identifier(config, claim.namespace), limits::IDENTIFIER_BYTES_MAX, "bytes");
    }
    for attribute in &fragment.attributes {
        if attribute.value.as_text().is_some_and(|text| text.len() > limits::ATTRIBUTE_BYTES_MAX) {
            too_large(path_of_attribute(config, attribute.name), limits::ATTRIBUTE_BYTES_MAX, "bytes");
        }
    }
    if fragment.traits.as_ref().is_some_and(|traits| traits.len() > limits::TRAITS_BYTES_MAX) {
        too_large("traits".to_owned(), limits::TRAITS_BYTES_MAX, "bytes");
    }
    if is_too_large(fragment) {
        too_large("fragment".to_owned(), limits::FRAGMENT_BYTES_MAX, "bytes in all");
    }
    if fragment.record.key.is_empty() {
        faults.push(FieldFault::new("key", FaultReason::Missing, "the source's key of the record is required"));
    }
    for attribute in &fragment.attributes {
        if matches!(attribute.value, AttributeValue::Number(number) if !number.is_finite()) {
            let path = path_of_attribute(config, attribute.name);
            faults.push(FieldFault::new(path, FaultReason::Malformed, "must be a finite number"));
        }
    }
    let latest = now.0.saturating_add(limits::OBSERVED_AHEAD_SECONDS_MAX * 1_000_000);
    if fragment.observed_at.0 > latest {
        let hours = limits::OBSERVED_AHEAD_SECONDS_MAX / 3_600;
        let message = format!("is more than {hours} hours ahead of the server's clock");
        faults.push(FieldFault::new("observed_time", FaultReason::InTheFuture, message));
    }
    faults
}

/// Whether the whole fragment is over [`limits::FRAGMENT_BYTES_MAX`]. Cheap for all that are far below it.
#[must_use]
pub fn is_too_large(fragment: &Fragment) -> bool {
    encoded_bytes_at_most(fragment) > limits::FRAGMENT_BYTES_MAX && fragment.encode().len() > limits::FRAGMENT_BYTES_MAX
}

/// An upper bound of the encoded length without encoding: texts, and at most 15 bytes around each.
fn encoded_bytes_at_most(fragment: &Fragment) -> usize {
    let identifiers: usize = fragment.identifiers.iter().map(|claim| claim.raw.len() + 15).sum();
    let attributes: usize =
        fragment.attributes.iter().map(|attribute| attribute.value.as_text().map_or(0, str::len) + 15).sum();
    let affiliations: usize =
        fragment.affiliations.iter().map(|role| role.account.key.len() + role.role.len() + 48).sum();
    let stages: usize = fragment.stages.iter().map(|stage| stage.name.len() + 24).sum();
    let traits = fragment.traits.as_ref().map_or(0, String::len);
    64 + fragment.record.key.len() + identifiers + attributes + traits + affiliations + stages
}

fn path_of_identifier(config: &TenantConfig, id: NamespaceId) -> String {
    identifier_path(Vocabulary::namespace(config, id))
}

fn path_of_attribute(config: &TenantConfig, id: AttributeId) -> String {
    attribute_path(config.attribute(id))
}

fn identifier_path(name: &str) -> String {
    format!("identifiers[{name}]")
}

fn attribute_path(name: &str) -> String {
    format!("attributes[{name}]")
}

#[cfg(test)]
mod tests;
