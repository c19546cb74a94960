//! Tenants, sources and namespaces: wire to configuration and back.

use std::collections::BTreeMap;

use onefold_core::config::{
    AttributeKind, AttributeRule, Contract, STEWARD_SOURCE, Source, Survivorship, TenantConfig, TenantSettings, told,
};
use onefold_core::fault::{FaultReason, FieldFault};
use onefold_core::ids::{NamespaceId, SourceId};
use onefold_core::limits;
use onefold_core::namespace::{Namespace, NamespaceClass, Normaliser};
use onefold_proto::v1 as pb;

use super::fragment::is_attribute_name;
use crate::app::etag::etag;
use crate::grpc::names;

/// The diversity limit that 0 means.
const DIVERSITY_LIMIT_DEFAULT: u16 = 4;
/// Highest trust and priority.
const RANK_MAX: u32 = 1_000;

fn is_name(name: &str, more: &[u8]) -> bool {
    (1..=limits::NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || more.contains(&b))
        && name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
}

fn bad_name(path: &str, allowed: &str) -> FieldFault {
    let most = limits::NAME_BYTES_MAX;
    let message = format!(
        "write it in lower case letters, digits and {allowed}, starting with a letter or digit, up to {most} bytes"
    );
    FieldFault::new(path, FaultReason::Malformed, message)
}

fn too_many(path: &str, count: usize, most: usize, faults: &mut Vec<FieldFault>) -> bool {
    let over = count > most;
    if over {
        let message = format!("{count} given, at most {most} are allowed");
        faults.push(FieldFault::new(path, FaultReason::TooLarge, message));
    }
    over
}

fn too_long(path: impl Into<String>, text: &str, most: usize, faults: &mut Vec<FieldFault>) {
    if text.len() > most {
        let message = format!("{} bytes given, at most {most} are allowed", text.len());
        faults.push(FieldFault::new(path, FaultReason::TooLarge, message));
    }
}

/// Bounds a list, and each text of a list that is not too long itself.
fn bounded(path: &str, texts: &[String], count_max: usize, bytes_max: usize, faults: &mut Vec<FieldFault>) {
    if too_many(path, texts.len(), count_max, faults) {
        return;
    }
    for (at, text) in texts.iter().enumerate() {
        too_long(format!("{path}[{at}]"), text, bytes_max, faults);
    }
}

fn checked<T>(value: T, faults: Vec<FieldFault>) -> Result<T, Vec<FieldFault>> {
    if faults.is_empty() { Ok(value) } else { Err(faults) }
}

fn survivorship(rule: i32) -> Result<Survivorship, ()> {
    Ok(match pb::SurvivorshipRule::try_from(rule).map_err(|_| ())? {
        pb::SurvivorshipRule::Unspecified | pb::SurvivorshipRule::MostRecent => Survivorship::MostRecent,
        pb::SurvivorshipRule::MostTrusted => Survivorship::MostTrusted,
        pb::SurvivorshipRule::MostFrequent => Survivorship::MostFrequent,
        pb::SurvivorshipRule::Longest => Survivorship::Longest,
        pb::SurvivorshipRule::AllValues => Survivorship::AllValues,
    })
}

fn survivorship_out(rule: Survivorship) -> pb::SurvivorshipRule {
    match rule {
        Survivorship::MostRecent => pb::SurvivorshipRule::MostRecent,
        Survivorship::MostTrusted => pb::SurvivorshipRule::MostTrusted,
        Survivorship::MostFrequent => pb::SurvivorshipRule::MostFrequent,
        Survivorship::Longest => pb::SurvivorshipRule::Longest,
        Survivorship::AllValues => pb::SurvivorshipRule::AllValues,
    }
}

/// Reads a tenant.
///
/// # Errors
/// Every fault of it.
pub fn tenant(wire: Option<pb::Tenant>) -> Result<TenantSettings, Vec<FieldFault>> {
    let Some(wire) = wire else {
        return Err(vec![FieldFault::new("tenant", FaultReason::Missing, "give the tenant")]);
    };
    let mut faults = Vec::new();
    let name = match names::tenant(&wire.name) {
        Ok(name) if !wire.name.is_empty() && is_name(name, b"-") => name.to_owned(),
        _ => {
            faults.push(bad_name("tenant.name", "`-`, after `tenants/`"));
            String::new()
        }
    };
    too_long("tenant.display_name", &wire.display_name, limits::DISPLAY_NAME_BYTES_MAX, &mut faults);
    let region = wire.default_region;
    let is_code = region.len() == 2 && region.bytes().all(|b| b.is_ascii_uppercase());
    if !is_code && !region.is_empty() {
        let message = "give an ISO 3166 code of two capitals, e.g. US, or leave it empty";
        faults.push(FieldFault::new("tenant.default_region", FaultReason::Malformed, message));
    }
    let mut rules = BTreeMap::new();
    too_many("tenant.survivorship", wire.survivorship.len(), limits::SURVIVORSHIP_RULES_MAX, &mut faults);
    for (attribute, rule) in wire.survivorship.into_iter().take(limits::SURVIVORSHIP_RULES_MAX) {
        match survivorship(rule) {
            Ok(rule) if is_attribute_name(&attribute) => {
                rules.insert(attribute, rule);
            }
            _ => faults.push(FieldFault::new(
                "tenant.survivorship",
                FaultReason::Malformed,
                "an attribute name or rule is not valid",
            )),
        }
    }
    let default_survivorship = survivorship(wire.default_survivorship).unwrap_or_else(|()| {
        faults.push(FieldFault::new("tenant.default_survivorship", FaultReason::Unknown, "no rule has this number"));
        Survivorship::default()
    });
    let settings = TenantSettings {
        name,
        display_name: wire.display_name,
        default_region: (!region.is_empty()).then_some(region),
        survivorship: rules,
        default_survivorship,
    };
    checked(settings, faults)
}

/// A tenant on the wire.
pub fn tenant_out(settings: &TenantSettings) -> pb::Tenant {
    pb::Tenant {
        name: names::of_tenant(&settings.name),
        display_name: settings.display_name.clone(),
        default_region: settings.default_region.clone().unwrap_or_default(),
        survivorship: settings.survivorship.iter().map(|(k, v)| (k.clone(), survivorship_out(*v) as i32)).collect(),
        default_survivorship: survivorship_out(settings.default_survivorship) as i32,
        etag: etag(settings),
    }
}

/// Reads a source; its ordinal is given by the lane.
///
/// # Errors
/// Every fault of it.
pub fn source(wire: Option<pb::Source>, config: &TenantConfig) -> Result<Source, Vec<FieldFault>> {
    let Some(wire) = wire else {
        return Err(vec![FieldFault::new("source", FaultReason::Missing, "give the source")]);
    };
    let mut faults = Vec::new();
    if !is_name(&wire.name, b"_-.") {
        faults.push(bad_name("source.name", "`_`, `-`, `.`"));
    }
    if wire.name == STEWARD_SOURCE {
        let message = "is the source of corrections by stewards, and is made by itself";
        faults.push(FieldFault::new("source.name", FaultReason::Malformed, message));
    }
    too_long("source.display_name", &wire.display_name, limits::DISPLAY_NAME_BYTES_MAX, &mut faults);
    if wire.trust > RANK_MAX {
        faults.push(FieldFault::new("source.trust", FaultReason::TooLarge, format!("give 0 to {RANK_MAX}")));
    }
    let contract = contract(wire.contract.unwrap_or_default(), config, &mut faults);
    let trust = wire.trust as u16;
    checked(Source { id: SourceId(0), name: wire.name, display_name: wire.display_name, trust, contract }, faults)
}

fn contract(wire: pb::DataContract, config: &TenantConfig, faults: &mut Vec<FieldFault>) -> Contract {
    let mut require_any_namespace = Vec::new();
    let path = "source.contract.require_any_namespace";
    too_many(path, wire.require_any_namespace.len(), limits::NAMESPACES_MAX, faults);
    for (at, name) in wire.require_any_namespace.iter().enumerate().take(limits::NAMESPACES_MAX) {
        match config.namespace_named(name) {
            Some(namespace) => require_any_namespace.push(namespace.id),
            None => {
                let path = format!("source.contract.require_any_namespace[{at}]");
                let near = names::nearest(name, config.namespaces.iter().map(|n| n.name.as_str()));
                let hint = near.map(|near| format!("; the nearest is `{near}`")).unwrap_or_default();
                faults.push(FieldFault::new(path, FaultReason::Unknown, format!("no namespace has this name{hint}")));
            }
        }
    }
    let mut attributes = BTreeMap::new();
    // What lies past the limit is not read, and the fault refuses the whole.
    too_many("source.contract.attributes", wire.attributes.len(), limits::CONTRACT_RULES_MAX, faults);
    for (at, rule) in wire.attributes.into_iter().enumerate().take(limits::CONTRACT_RULES_MAX) {
        let path = |field: &str| format!("source.contract.attributes[{at}].{field}");
        if !is_attribute_name(&rule.name) {
            faults.push(bad_name(&path("name"), "`_`, `.`"));
        }
        let kind = match pb::AttributeKind::try_from(rule.kind) {
            Ok(pb::AttributeKind::Unspecified) => AttributeKind::Any,
            Ok(pb::AttributeKind::Text) => AttributeKind::Text,
            Ok(pb::AttributeKind::Number) => AttributeKind::Number,
            Ok(pb::AttributeKind::Flag) => AttributeKind::Flag,
            Ok(pb::AttributeKind::Date) => AttributeKind::Date,
            Err(_) => {
                faults.push(FieldFault::new(path("kind"), FaultReason::Unknown, "no kind has this number"));
                AttributeKind::Any
            }
        };
        too_long(path("pattern"), &rule.pattern, limits::PATTERN_BYTES_MAX, faults);
        let (count, bytes) = (limits::ALLOWED_VALUES_MAX, limits::ALLOWED_VALUE_BYTES_MAX);
        bounded(&path("allowed"), &rule.allowed, count, bytes, faults);
        let read = AttributeRule {
            required: rule.required,
            kind,
            pattern: (!rule.pattern.is_empty()).then_some(rule.pattern),
            allowed: rule.allowed,
            minimum: rule.minimum,
            maximum: rule.maximum,
        };
        if attributes.insert(rule.name, read).is_some() {
            faults.push(FieldFault::new(path("name"), FaultReason::Repeated, "the attribute has a rule already"));
        }
    }
    let mut asked = |name: &str, path: &str, required: bool, allowed: Vec<String>| {
        bounded(path, &allowed, limits::ALLOWED_VALUES_MAX, limits::ALLOWED_VALUE_BYTES_MAX, faults);
        if required || !allowed.is_empty() {
            attributes.insert(name.to_owned(), AttributeRule { required, allowed, ..AttributeRule::default() });
        }
    };
    if let Some(wire) = wire.affiliations {
        asked(told::ROLES, "source.contract.affiliations.allowed_roles", wire.required, wire.allowed_roles);
    }
    if let Some(wire) = wire.stages {
        asked(told::STAGES, "source.contract.stages.allowed", wire.required, wire.allowed);
        if wire.only_steps {
            attributes.insert(told::STEPS.to_owned(), AttributeRule { required: true, ..AttributeRule::default() });
        }
    }
    Contract { require_any_namespace, strict_identifiers: wire.strict_identifiers, closed: wire.closed, attributes }
}

/// A source on the wire.
pub fn source_out(source: &Source, config: &TenantConfig) -> pb::Source {
    let name = |id: &NamespaceId| config.namespace(*id).map(|n| n.name.clone()).unwrap_or_default();
    let rules = &source.contract.attributes;
    let (roles, stages) = (rules.get(told::ROLES), rules.get(told::STAGES));
    let only_steps = rules.contains_key(told::STEPS);
    let affiliations =
        roles.map(|rule| pb::AffiliationContract { required: rule.required, allowed_roles: rule.allowed.clone() });
    let stages = (only_steps || stages.is_some()).then(|| pb::StageContract {
        required: stages.is_some_and(|rule| rule.required),
        allowed: stages.map(|rule| rule.allowed.clone()).unwrap_or_default(),
        only_steps,
    });
    let attributes = rules.iter().filter(|(name, _)| !name.starts_with('@')).map(|(name, rule)| pb::AttributeRule {
        name: name.clone(),
        required: rule.required,
        kind: match rule.kind {
            AttributeKind::Any => pb::AttributeKind::Unspecified,
            AttributeKind::Text => pb::AttributeKind::Text,
            AttributeKind::Number => pb::AttributeKind::Number,
            AttributeKind::Flag => pb::AttributeKind::Flag,
            AttributeKind::Date => pb::AttributeKind::Date,
        } as i32,
        pattern: rule.pattern.clone().unwrap_or_default(),
        allowed: rule.allowed.clone(),
        minimum: rule.minimum,
        maximum: rule.maximum,
    });
    pb::Source {
        name: source.name.clone(),
        display_name: source.display_name.clone(),
        trust: u32::from(source.trust),
        contract: Some(pb::DataContract {
            require_any_namespace: source.contract.require_any_namespace.iter().map(name).collect(),
            strict_identifiers: source.contract.strict_identifiers,
            closed: source.contract.closed,
            attributes: attributes.collect(),
            affiliations,
            stages,
        }),
        etag: etag(source),
    }
}

/// Reads a namespace; its ordinal is given by the lane.
///
/// # Errors
/// Every fault of it.
pub fn namespace(wire: Option<pb::Namespace>) -> Result<Namespace, Vec<FieldFault>> {
    let Some(wire) = wire else {
        return Err(vec![FieldFault::new("namespace", FaultReason::Missing, "give the namespace")]);
    };
    let mut faults = Vec::new();
    if !is_name(&wire.name, b"_.") {
        faults.push(bad_name("namespace.name", "`_`, `.`"));
    }
    // A number of a later release may stand for less power to link than the default has: it is refused, not guessed.
    let class = match pb::NamespaceClass::try_from(wire.class) {
        Ok(pb::NamespaceClass::Unspecified | pb::NamespaceClass::Identifying) => NamespaceClass::Identifying,
        Ok(pb::NamespaceClass::Unique) => NamespaceClass::Unique,
        Ok(pb::NamespaceClass::Supporting) => NamespaceClass::Supporting,
        Err(_) => {
            faults.push(FieldFault::new("namespace.class", FaultReason::Unknown, "no class has this number"));
            NamespaceClass::Supporting
        }
    };
    let normaliser = match pb::Normaliser::try_from(wire.normaliser) {
        Ok(pb::Normaliser::Unspecified | pb::Normaliser::Verbatim) => Normaliser::Verbatim,
        Ok(pb::Normaliser::Email) => Normaliser::Email,
        Ok(pb::Normaliser::Phone) => Normaliser::Phone,
        Ok(pb::Normaliser::Domain) => Normaliser::Domain,
        Ok(pb::Normaliser::Alphanumeric) => Normaliser::Alphanumeric,
        Ok(pb::Normaliser::Folded) => Normaliser::Folded,
        Err(_) => {
            faults.push(FieldFault::new("namespace.normaliser", FaultReason::Unknown, "no normaliser has this number"));
            Normaliser::Verbatim
        }
    };
    if wire.priority > RANK_MAX {
        faults.push(FieldFault::new("namespace.priority", FaultReason::TooLarge, format!("give 0 to {RANK_MAX}")));
    }
    if wire.diversity_limit > RANK_MAX {
        let message = format!("give 1 to {RANK_MAX}, or 0 for {DIVERSITY_LIMIT_DEFAULT}");
        faults.push(FieldFault::new("namespace.diversity_limit", FaultReason::TooLarge, message));
    }
    let (count, bytes) = (limits::BLOCKED_VALUES_MAX, limits::BLOCKED_VALUE_BYTES_MAX);
    bounded("namespace.blocked_values", &wire.blocked_values, count, bytes, &mut faults);
    let (count, bytes) = (limits::BLOCKED_PATTERNS_MAX, limits::PATTERN_BYTES_MAX);
    bounded("namespace.blocked_patterns", &wire.blocked_patterns, count, bytes, &mut faults);
    let diversity_limit =
        if wire.diversity_limit == 0 { DIVERSITY_LIMIT_DEFAULT } else { wire.diversity_limit.min(RANK_MAX) as u16 };
    let read = Namespace {
        id: NamespaceId(0),
        name: wire.name,
        class,
        normaliser,
        priority: wire.priority.min(RANK_MAX) as u16,
        diversity_limit,
        blocked_values: wire.blocked_values,
        blocked_patterns: wire.blocked_patterns,
        junk_defaults: !wire.allow_junk,
    };
    checked(read, faults)
}

/// A namespace on the wire.
pub fn namespace_out(namespace: &Namespace) -> pb::Namespace {
    pb::Namespace {
        name: namespace.name.clone(),
        class: match namespace.class {
            NamespaceClass::Unique => pb::NamespaceClass::Unique,
            NamespaceClass::Identifying => pb::NamespaceClass::Identifying,
            NamespaceClass::Supporting => pb::NamespaceClass::Supporting,
        } as i32,
        normaliser: match namespace.normaliser {
            Normaliser::Email => pb::Normaliser::Email,
            Normaliser::Phone => pb::Normaliser::Phone,
            Normaliser::Domain => pb::Normaliser::Domain,
            Normaliser::Alphanumeric => pb::Normaliser::Alphanumeric,
            Normaliser::Verbatim => pb::Normaliser::Verbatim,
            Normaliser::Folded => pb::Normaliser::Folded,
        } as i32,
        priority: u32::from(namespace.priority),
        diversity_limit: u32::from(namespace.diversity_limit),
        blocked_values: namespace.blocked_values.clone(),
        blocked_patterns: namespace.blocked_patterns.clone(),
        allow_junk: !namespace.junk_defaults,
        etag: etag(namespace),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> TenantConfig {
        TenantConfig::new("t", "T")
    }

    fn text(bytes: usize) -> String {
        "x".repeat(bytes)
    }

    /// The only fault of what was read; none where it was taken.
    fn fault<T: std::fmt::Debug>(read: Result<T, Vec<FieldFault>>) -> Option<(String, FaultReason)> {
        let faults = read.err()?;
        assert_eq!(faults.len(), 1, "{faults:?}");
        faults.into_iter().next().map(|fault| (fault.path, fault.reason))
    }

    fn too_large(path: &str) -> Option<(String, FaultReason)> {
        Some((path.to_owned(), FaultReason::TooLarge))
    }

    fn a_tenant(name_bytes: usize, rules: usize) -> Option<pb::Tenant> {
        let survivorship = (0..rules).map(|at| (format!("a{at}"), 0)).collect();
        let (name, display_name) = ("tenants/t".to_owned(), text(name_bytes));
        Some(pb::Tenant { name, display_name, survivorship, ..Default::default() })
    }

    #[test]
    fn a_tenant_is_bounded() {
        assert_eq!(fault(tenant(a_tenant(256, 4_096))), None);
        assert_eq!(fault(tenant(a_tenant(257, 0))), too_large("tenant.display_name"));
        assert_eq!(fault(tenant(a_tenant(0, 4_097))), too_large("tenant.survivorship"));
    }

    fn a_source(contract: pb::DataContract) -> Option<pb::Source> {
        Some(pb::Source { name: "crm".to_owned(), contract: Some(contract), ..Default::default() })
    }

    fn rule(pattern_bytes: usize, allowed: usize, allowed_bytes: usize) -> pb::DataContract {
        let rule = pb::AttributeRule {
            name: "size".to_owned(),
            pattern: text(pattern_bytes),
            allowed: vec![text(allowed_bytes); allowed],
            ..Default::default()
        };
        pb::DataContract { attributes: vec![rule], ..Default::default() }
    }

    #[test]
    fn a_contract_is_bounded_and_nothing_of_it_is_dropped() {
        let config = config();
        let read = |contract| fault(source(a_source(contract), &config));
        assert_eq!(read(rule(1_024, 0, 0)), None);
        assert_eq!(read(rule(1_025, 0, 0)), too_large("source.contract.attributes[0].pattern"));
        assert_eq!(read(rule(0, 1_000, 256)), None);
        assert_eq!(read(rule(0, 1_001, 1)), too_large("source.contract.attributes[0].allowed"));
        assert_eq!(read(rule(0, 1, 257)), too_large("source.contract.attributes[0].allowed[0]"));

        let rules = |count: usize| pb::DataContract {
            attributes: (0..count)
                .map(|at| pb::AttributeRule { name: format!("a{at}"), ..Default::default() })
                .collect(),
            ..Default::default()
        };
        assert_eq!(source(a_source(rules(256)), &config).unwrap().contract.attributes.len(), 256);
        assert_eq!(read(rules(257)), too_large("source.contract.attributes"));

        let any = |count| pb::DataContract {
            require_any_namespace: vec![config.namespaces[0].name.clone(); count],
            ..Default::default()
        };
        assert_eq!(read(any(256)), None);
        assert_eq!(read(any(257)), too_large("source.contract.require_any_namespace"));
        let named = pb::Source { name: "crm".to_owned(), display_name: text(257), ..Default::default() };
        assert_eq!(fault(source(Some(named), &config)), too_large("source.display_name"));
    }

    #[test]
    fn a_namespace_is_bounded_and_its_numbers_are_never_guessed() {
        let read = |change: &dyn Fn(&mut pb::Namespace)| {
            let mut wire = pb::Namespace { name: "card".to_owned(), ..Default::default() };
            change(&mut wire);
            fault(namespace(Some(wire)))
        };
        let unknown = |path: &str| Some((path.to_owned(), FaultReason::Unknown));
        assert_eq!(read(&|_| {}), None);
        assert_eq!(read(&|wire| wire.class = 99), unknown("namespace.class"));
        assert_eq!(read(&|wire| wire.normaliser = 99), unknown("namespace.normaliser"));
        assert_eq!(read(&|wire| wire.blocked_values = vec![text(512); 10_000]), None);
        assert_eq!(read(&|wire| wire.blocked_values = vec![text(1); 10_001]), too_large("namespace.blocked_values"));
        assert_eq!(read(&|wire| wire.blocked_values = vec![text(513)]), too_large("namespace.blocked_values[0]"));
        assert_eq!(read(&|wire| wire.blocked_patterns = vec![text(1_024); 64]), None);
        assert_eq!(read(&|wire| wire.blocked_patterns = vec![text(1); 65]), too_large("namespace.blocked_patterns"));
        assert_eq!(read(&|wire| wire.blocked_patterns = vec![text(1_025)]), too_large("namespace.blocked_patterns[0]"));
    }
}
