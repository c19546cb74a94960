//! Tenants, sources and namespaces: wire to configuration and back.

use std::collections::BTreeMap;

use onefold_core::config::{AttributeKind, AttributeRule, Contract, Source, Survivorship, TenantConfig};
use onefold_core::fault::{FaultReason, FieldFault};
use onefold_core::ids::{NamespaceId, SourceId};
use onefold_core::limits;
use onefold_core::namespace::{Namespace, NamespaceClass, Normaliser};
use onefold_proto::v1 as pb;

use super::fragment::is_attribute_name;
use crate::grpc::names;

/// The diversity limit that 0 means.
const DIVERSITY_LIMIT_DEFAULT: u16 = 4;
/// Highest trust and priority.
const RANK_MAX: u32 = 1_000;
/// Values, patterns or rules in one list of the configuration.
const LIST_MAX: usize = 10_000;

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

/// The part of a tenant's configuration that CreateTenant and UpdateTenant set.
#[derive(Debug)]
pub struct TenantSettings {
    /// Name without `tenants/`.
    pub name: String,
    /// For people.
    pub display_name: String,
    /// ISO 3166 code.
    pub default_region: Option<String>,
    /// By attribute or group.
    pub survivorship: BTreeMap<String, Survivorship>,
    /// For the rest.
    pub default_survivorship: Survivorship,
}

impl TenantSettings {
    /// A new tenant's configuration.
    pub fn into_config(self) -> TenantConfig {
        let mut config = TenantConfig::new(self.name, self.display_name);
        config.default_region = self.default_region;
        config.survivorship = self.survivorship;
        config.default_survivorship = self.default_survivorship;
        config
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
    let region = wire.default_region;
    let is_code = region.len() == 2 && region.bytes().all(|b| b.is_ascii_uppercase());
    if !is_code && !region.is_empty() {
        let message = "give an ISO 3166 code of two capitals, e.g. US, or leave it empty";
        faults.push(FieldFault::new("tenant.default_region", FaultReason::Malformed, message));
    }
    let mut rules = BTreeMap::new();
    for (attribute, rule) in wire.survivorship {
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
pub fn tenant_out(config: &TenantConfig) -> pb::Tenant {
    pb::Tenant {
        name: names::of_tenant(&config.name),
        display_name: config.display_name.clone(),
        default_region: config.default_region.clone().unwrap_or_default(),
        survivorship: config.survivorship.iter().map(|(k, v)| (k.clone(), survivorship_out(*v) as i32)).collect(),
        default_survivorship: survivorship_out(config.default_survivorship) as i32,
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
    if wire.trust > RANK_MAX {
        faults.push(FieldFault::new("source.trust", FaultReason::TooLarge, format!("give 0 to {RANK_MAX}")));
    }
    let contract = contract(wire.contract.unwrap_or_default(), config, &mut faults);
    let trust = wire.trust as u16;
    checked(Source { id: SourceId(0), name: wire.name, display_name: wire.display_name, trust, contract }, faults)
}

fn contract(wire: pb::DataContract, config: &TenantConfig, faults: &mut Vec<FieldFault>) -> Contract {
    let mut require_any_namespace = Vec::new();
    for (at, name) in wire.require_any_namespace.iter().enumerate() {
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
    for (at, rule) in wire.attributes.into_iter().enumerate().take(limits::ATTRIBUTES_MAX) {
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
    Contract { require_any_namespace, strict_identifiers: wire.strict_identifiers, closed: wire.closed, attributes }
}

/// A source on the wire.
pub fn source_out(source: &Source, config: &TenantConfig) -> pb::Source {
    let name = |id: &NamespaceId| config.namespace(*id).map(|n| n.name.clone()).unwrap_or_default();
    let attributes = source.contract.attributes.iter().map(|(name, rule)| pb::AttributeRule {
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
        }),
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
    let class = match wire.class() {
        pb::NamespaceClass::Unspecified | pb::NamespaceClass::Identifying => NamespaceClass::Identifying,
        pb::NamespaceClass::Unique => NamespaceClass::Unique,
        pb::NamespaceClass::Supporting => NamespaceClass::Supporting,
    };
    let normaliser = match wire.normaliser() {
        pb::Normaliser::Unspecified | pb::Normaliser::Verbatim => Normaliser::Verbatim,
        pb::Normaliser::Email => Normaliser::Email,
        pb::Normaliser::Phone => Normaliser::Phone,
        pb::Normaliser::Domain => Normaliser::Domain,
        pb::Normaliser::Alphanumeric => Normaliser::Alphanumeric,
        pb::Normaliser::Folded => Normaliser::Folded,
    };
    if wire.priority > RANK_MAX {
        faults.push(FieldFault::new("namespace.priority", FaultReason::TooLarge, format!("give 0 to {RANK_MAX}")));
    }
    if wire.diversity_limit > RANK_MAX {
        let message = format!("give 1 to {RANK_MAX}, or 0 for {DIVERSITY_LIMIT_DEFAULT}");
        faults.push(FieldFault::new("namespace.diversity_limit", FaultReason::TooLarge, message));
    }
    for (path, list) in
        [("namespace.blocked_values", &wire.blocked_values), ("namespace.blocked_patterns", &wire.blocked_patterns)]
    {
        if list.len() > LIST_MAX {
            faults.push(FieldFault::new(path, FaultReason::TooLarge, format!("at most {LIST_MAX} are allowed")));
        }
    }
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
    }
}
