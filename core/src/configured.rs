//! How a tenant's configuration lies in the journal. Version 1 knew purposes without what receipts tell of them
//! ([`ReceiptTerms`]); it is read for ever.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::{Source, Survivorship, TenantConfig};
use crate::consent::policy::{Cap, Channel, ConsentPolicy, FieldScope, Purpose, Regime};
use crate::consent::terms::ReceiptTerms;
use crate::consent::{Jurisdiction, LawfulBasis, PurposeId};
use crate::decision::{ConfigChanged, DecisionError, TenantOpened};
use crate::namespace::Namespace;

/// The version of this form, the first byte.
const VERSION: u8 = 2;
/// The one before.
const WITHOUT_TERMS: u8 = 1;

/// A configuration with what its entry says beside it, in the order of their fields.
type Entry<Config, Beside> = (Config, Beside);

/// [`TenantConfig`] of version 1.
#[derive(Deserialize)]
struct ConfigBefore {
    name: String,
    display_name: String,
    default_region: Option<String>,
    sources: Vec<Source>,
    namespaces: Vec<Namespace>,
    attribute_names: Vec<String>,
    survivorship: BTreeMap<String, Survivorship>,
    default_survivorship: Survivorship,
    consent: PolicyBefore,
}

/// [`ConsentPolicy`] of version 1.
#[derive(Deserialize)]
struct PolicyBefore {
    purposes: Vec<PurposeBefore>,
    channels: Vec<Channel>,
    caps: Vec<Cap>,
    default_time_zone: Option<String>,
    confirm_within_days: u16,
    reservation_seconds: u32,
    controller: String,
}

/// [`Purpose`] of version 1.
#[derive(Deserialize)]
struct PurposeBefore {
    id: PurposeId,
    name: String,
    display_name: String,
    description: String,
    vocabulary_iri: String,
    lawful_basis: LawfulBasis,
    default_regime: Regime,
    regimes: Vec<(Jurisdiction, Regime)>,
    reads: FieldScope,
}

impl From<PurposeBefore> for Purpose {
    fn from(before: PurposeBefore) -> Self {
        Self {
            id: before.id,
            name: before.name,
            display_name: before.display_name,
            description: before.description,
            vocabulary_iri: before.vocabulary_iri,
            lawful_basis: before.lawful_basis,
            default_regime: before.default_regime,
            regimes: before.regimes,
            reads: before.reads,
            terms: ReceiptTerms::default(),
        }
    }
}

impl From<ConfigBefore> for TenantConfig {
    fn from(before: ConfigBefore) -> Self {
        let policy = before.consent;
        Self {
            name: before.name,
            display_name: before.display_name,
            default_region: before.default_region,
            sources: before.sources,
            namespaces: before.namespaces,
            attribute_names: before.attribute_names,
            survivorship: before.survivorship,
            default_survivorship: before.default_survivorship,
            consent: ConsentPolicy {
                purposes: policy.purposes.into_iter().map(Purpose::from).collect(),
                channels: policy.channels,
                caps: policy.caps,
                default_time_zone: policy.default_time_zone,
                confirm_within_days: policy.confirm_within_days,
                reservation_seconds: policy.reservation_seconds,
                controller: policy.controller,
            },
        }
    }
}

fn encode<Beside: Serialize>(config: &TenantConfig, beside: &Beside) -> Vec<u8> {
    let entry: Entry<&TenantConfig, &Beside> = (config, beside);
    postcard::to_extend(&entry, vec![VERSION]).expect("a configuration in memory always encodes")
}

fn decode<'a, Beside: Deserialize<'a>>(bytes: &'a [u8]) -> Result<Entry<TenantConfig, Beside>, DecisionError> {
    let damaged = |_| DecisionError::Damaged;
    match bytes.split_first() {
        Some((&VERSION, body)) => postcard::from_bytes(body).map_err(damaged),
        Some((&WITHOUT_TERMS, body)) => {
            let (config, beside): Entry<ConfigBefore, Beside> = postcard::from_bytes(body).map_err(damaged)?;
            Ok((config.into(), beside))
        }
        Some((&version, _)) => Err(DecisionError::Version(version)),
        None => Err(DecisionError::Damaged),
    }
}

impl TenantOpened {
    /// The payload of a journal entry.
    ///
    /// # Panics
    /// Never: every configuration has an encoding and the sink is memory.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode(&self.config, &self.wrapped_keys)
    }

    /// Reads what [`TenantOpened::encode`] wrote, in this form or an older one.
    ///
    /// # Errors
    /// [`DecisionError`] for another version or damaged bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecisionError> {
        decode(bytes).map(|(config, wrapped_keys)| Self { config, wrapped_keys })
    }
}

impl ConfigChanged {
    /// The payload of a journal entry.
    ///
    /// # Panics
    /// Never: every configuration has an encoding and the sink is memory.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode(&self.config, &self.relinks)
    }

    /// Reads what [`ConfigChanged::encode`] wrote, in this form or an older one.
    ///
    /// # Errors
    /// [`DecisionError`] for another version or damaged bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecisionError> {
        decode(bytes).map(|(config, relinks)| Self { config, relinks })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Contract;
    use crate::consent::ChannelId;
    use crate::consent::policy::{CapScope, QuietHours};
    use crate::consent::terms::{Recipient, RecipientRole, Sensitivity};
    use crate::ids::{NamespaceId, SourceId};

    /// What version 1 wrote of [`before`], as it lies in journals: a tenant opened with the wrapped keys 1, 2, 3.
    const OPENED: &str = "010461636d650441636d65010244450100036372\
        6d00070000000000010966756c6c5f6e616d65010966756c6c5f6e616d6503010200096d61726b6574696e67014d0c7768\
        617420697320746f6c641e68747470733a2f2f773369642e6f72672f647076234d61726b6574696e6701010155532d4341\
        000000010966756c6c5f6e616d6501060107737570706f7274014d0c7768617420697320746f6c641e68747470733a2f2f\
        773369642e6f72672f647076234d61726b6574696e6701010155532d4341000000010966756c6c5f6e616d650106010005\
        656d61696c000101ec09e00301067765656b6c790101000280f52401010d4575726f70652f4265726c696e1e8407094163\
        6d6520476d624803010203";
    /// Bytes of the wrapped keys behind the configuration, in hexadecimal; a change of one has `01` there: it relinks.
    const KEYS: &str = "03010203";

    fn bytes(hex: &str) -> Vec<u8> {
        let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        (0..hex.len()).step_by(2).map(digit).collect()
    }

    /// The configuration that version 1 was given.
    fn before() -> TenantConfig {
        let purpose = |(id, name): (u16, &str)| Purpose {
            id: PurposeId(id),
            name: name.to_owned(),
            display_name: "M".to_owned(),
            description: "what is told".to_owned(),
            vocabulary_iri: "https://w3id.org/dpv#Marketing".to_owned(),
            lawful_basis: LawfulBasis::Contract,
            default_regime: Regime::OptIn,
            regimes: vec![(Jurisdiction::parse("US-CA").unwrap(), Regime::OptOut)],
            reads: FieldScope {
                all: false,
                attributes: vec!["full_name".to_owned()],
                namespaces: vec![NamespaceId(6)],
            },
            terms: ReceiptTerms::default(),
        };
        let source = Source {
            id: SourceId(0),
            name: "crm".to_owned(),
            display_name: String::new(),
            trust: 7,
            contract: Contract::default(),
        };
        let channel = Channel {
            id: ChannelId(0),
            name: "email".to_owned(),
            display_name: String::new(),
            double_opt_in: true,
            quiet_hours: vec![QuietHours { from_minute: 1260, until_minute: 480 }],
        };
        let cap = Cap {
            name: "weekly".to_owned(),
            purpose: Some(PurposeId(1)),
            channel: None,
            most: 2,
            window_seconds: 604_800,
            scope: CapScope::Household,
        };
        TenantConfig {
            name: "acme".to_owned(),
            display_name: "Acme".to_owned(),
            default_region: Some("DE".to_owned()),
            sources: vec![source],
            namespaces: Vec::new(),
            attribute_names: vec!["full_name".to_owned()],
            survivorship: BTreeMap::from([("full_name".to_owned(), Survivorship::Longest)]),
            default_survivorship: Survivorship::MostTrusted,
            consent: ConsentPolicy {
                purposes: [(0, "marketing"), (1, "support")].map(purpose).into(),
                channels: vec![channel],
                caps: vec![cap],
                default_time_zone: Some("Europe/Berlin".to_owned()),
                confirm_within_days: 30,
                reservation_seconds: 900,
                controller: "Acme GmbH".to_owned(),
            },
        }
    }

    #[test]
    fn what_version_1_wrote_is_read() {
        let opened = TenantOpened { config: before(), wrapped_keys: vec![1, 2, 3] };
        assert_eq!(TenantOpened::decode(&bytes(OPENED)), Ok(opened));
        let changed = bytes(&OPENED.replace(KEYS, "01"));
        assert_eq!(ConfigChanged::decode(&changed), Ok(ConfigChanged { config: before(), relinks: true }));
        assert_eq!(ConfigChanged::decode(&changed[..changed.len() - 1]), Err(DecisionError::Damaged));
    }

    #[test]
    fn what_is_written_now_is_read_with_all_of_its_terms() {
        let mut config = before();
        config.consent.purposes[1].terms = ReceiptTerms {
            notice_iri: "https://acme.example/privacy".to_owned(),
            storage_locations: vec![Jurisdiction::parse("EU").unwrap()],
            retention_period: "P3Y".to_owned(),
            recipients: vec![Recipient {
                name: "Mail Works".to_owned(),
                role: RecipientRole::Processor,
                contact: String::new(),
                jurisdiction: Jurisdiction::parse("DE").ok(),
            }],
            rights: vec!["access".to_owned()],
            sensitivity: Some(Sensitivity::SpecialCategory),
            withdrawal_method: "by letter".to_owned(),
        };
        let opened = TenantOpened { config: config.clone(), wrapped_keys: vec![9] };
        assert_eq!(TenantOpened::decode(&opened.encode()), Ok(opened));
        let changed = ConfigChanged { config, relinks: false };
        let mut bytes = changed.encode();
        assert_eq!(ConfigChanged::decode(&bytes), Ok(changed));
        bytes[0] = 3;
        assert_eq!(ConfigChanged::decode(&bytes), Err(DecisionError::Version(3)), "a newer release's, by name");
        assert_eq!(ConfigChanged::decode(&[]), Err(DecisionError::Damaged));
    }
}
