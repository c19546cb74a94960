//! What a tenant's namespaces mean for linking.

use onefold_core::config::TenantConfig;
use onefold_core::ids::NamespaceId;
use onefold_core::limits;
use onefold_core::namespace::NamespaceClass;

/// Live holders of one value before it counts as crowded, when nothing else is said.
pub const VALUE_RECORDS_MAX: u32 = 1_000;

/// Strength from which on kin share a value no more often than a mailbox: that of e-mail. Values of weaker namespaces, as of a
/// telephone or a device, are as often a household's.
const RARELY_KINS_PRIORITY: u16 = 600;

/// What a shared value of an identifying namespace says beside what the match model compares, in bits. Whole quarters, so that
/// sums are exact.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shared {
    /// For one party rather than two of one household.
    pub over_kin_bits: f32,
    /// For one party rather than two strangers.
    pub over_strangers_bits: f32,
}

impl Shared {
    /// The model has said all.
    pub const NOTHING: Self = Self { over_kin_bits: 0.0, over_strangers_bits: 0.0 };
    /// One mailbox in ten is a household's: what the model of persons takes of e-mail.
    const RARELY_KINS: Self = Self { over_kin_bits: 3.25, over_strangers_bits: 12.0 };
    /// One telephone in two is.
    const OFTEN_KINS: Self = Self { over_kin_bits: 1.0, over_strangers_bits: 12.0 };
}

/// The linking law of one namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamespaceRule {
    /// What a shared value proves.
    pub class: NamespaceClass,
    /// Strength among namespaces of one class: a higher one is tried first.
    pub priority: u16,
    /// More distinct names, or distinct values of a unique namespace, than this behind one value make it generic.
    pub diversity_limit: u16,
}

impl NamespaceRule {
    /// What a shared value says of two parties whose match model does not compare it.
    #[must_use]
    pub const fn shared(&self) -> Shared {
        match self.class {
            NamespaceClass::Identifying if self.priority < RARELY_KINS_PRIORITY => Shared::OFTEN_KINS,
            NamespaceClass::Identifying => Shared::RARELY_KINS,
            NamespaceClass::Unique | NamespaceClass::Supporting => Shared::NOTHING,
        }
    }
}

/// All that resolution needs of a tenant's configuration. Under equal rules equal fragments make equal clusters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkRules {
    /// By the namespace's ordinal; a namespace that is not listed never links.
    pub namespaces: Vec<NamespaceRule>,
    /// Their names, likewise: match models know namespaces by them. One without a name is compared by no model.
    pub names: Vec<String>,
    /// A value with more live holders than this is crowded, and generic whatever stands behind it.
    pub value_records_max: u32,
    /// Records in one cluster; a link that would go over it is parked.
    pub cluster_records_max: u32,
}

impl LinkRules {
    /// The rules of this configuration.
    #[must_use]
    pub fn of(config: &TenantConfig) -> Self {
        let namespaces = config
            .namespaces
            .iter()
            .map(|namespace| NamespaceRule {
                class: namespace.class,
                priority: namespace.priority,
                diversity_limit: namespace.diversity_limit,
            })
            .collect();
        Self {
            namespaces,
            names: config.namespaces.iter().map(|namespace| namespace.name.clone()).collect(),
            value_records_max: VALUE_RECORDS_MAX,
            cluster_records_max: u32::try_from(limits::CLUSTER_RECORDS_MAX).unwrap_or(u32::MAX),
        }
    }

    /// The rule of a namespace; one that does not exist only supports.
    #[must_use]
    pub fn rule(&self, namespace: NamespaceId) -> NamespaceRule {
        self.namespaces.get(usize::from(namespace.0)).copied().unwrap_or(NamespaceRule {
            class: NamespaceClass::Supporting,
            priority: 0,
            diversity_limit: 0,
        })
    }

    /// Its name, for match models.
    pub(crate) fn name(&self, namespace: NamespaceId) -> Option<&str> {
        self.names.get(usize::from(namespace.0)).map(String::as_str)
    }

    pub(crate) fn class(&self, namespace: u16) -> NamespaceClass {
        self.rule(NamespaceId(namespace)).class
    }

    pub(crate) fn is_unique(&self, namespace: u16) -> bool {
        self.class(namespace) == NamespaceClass::Unique
    }

    /// A short digest of the rules: derived state made under one set is not read under another.
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.value_records_max.to_le_bytes());
        hasher.update(&self.cluster_records_max.to_le_bytes());
        for name in &self.names {
            hasher.update(&(name.len() as u64).to_le_bytes()).update(name.as_bytes());
        }
        for rule in &self.namespaces {
            let class = match rule.class {
                NamespaceClass::Unique => 0u8,
                NamespaceClass::Identifying => 1,
                NamespaceClass::Supporting => 2,
            };
            hasher.update(&[class]);
            hasher.update(&rule.priority.to_le_bytes());
            hasher.update(&rule.diversity_limit.to_le_bytes());
        }
        *hasher.finalize().as_bytes()
    }
}
