//! What receipts tell of a purpose, on the wire.

use onefold_core::consent::Jurisdiction;
use onefold_core::consent::terms::{ReceiptTerms, Recipient, RecipientRole, Sensitivity};
use onefold_core::fault::{FaultReason, FieldFault};
use onefold_core::limits;
use onefold_proto::v1 as pb;

use super::Reading;
use crate::grpc::convert::fragment::too_many;

/// Whether a text names its scheme and holds nothing that an address cannot.
fn is_iri(text: &str) -> bool {
    let plain = text.chars().all(|sign| !sign.is_whitespace() && !sign.is_control() && !"<>\"{}|\\^`".contains(sign));
    let scheme = |scheme: &str| {
        scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    };
    plain && text.split_once(':').is_some_and(|(before, behind)| scheme(before) && !behind.is_empty())
}

impl Reading<'_> {
    /// Reads the terms of a purpose; nothing is told where there are none.
    pub(super) fn terms(&mut self, path: &str, wire: Option<pb::ReceiptTerms>) -> ReceiptTerms {
        let Some(wire) = wire else { return ReceiptTerms::default() };
        let at = |field: &str| format!("{path}.{field}");
        let most = limits::RECEIPT_TERMS_MAX;
        for (field, text) in [
            ("notice_iri", &wire.notice_iri),
            ("retention_period", &wire.retention_period),
            ("withdrawal_method", &wire.withdrawal_method),
        ] {
            self.bounded(&at(field), text);
        }
        for (field, count) in [
            ("storage_locations", wire.storage_locations.len()),
            ("recipients", wire.recipients.len()),
            ("rights", wire.rights.len()),
        ] {
            if count > most {
                self.faults.push(too_many(&at(field), count, most));
            }
        }
        if !wire.notice_iri.is_empty() && !is_iri(&wire.notice_iri) {
            let message = "give where the notice is with its scheme, e.g. https://acme.example/privacy";
            self.fault(&at("notice_iri"), message);
        }
        let mut storage_locations = Vec::new();
        for (place, text) in wire.storage_locations.iter().take(most).enumerate() {
            let path = at(&format!("storage_locations[{place}]"));
            if let Some(location) = self.jurisdiction(&path, text) {
                self.once(&path, storage_locations.contains(&location));
                storage_locations.push(location);
            }
        }
        let mut recipients: Vec<Recipient> = Vec::new();
        for (place, wire) in wire.recipients.into_iter().take(most).enumerate() {
            let path = at(&format!("recipients[{place}]"));
            self.once(&format!("{path}.name"), recipients.iter().any(|known| known.name == wire.name));
            recipients.extend(self.recipient(&path, wire));
        }
        for (place, right) in wire.rights.iter().take(most).enumerate() {
            let path = at(&format!("rights[{place}]"));
            self.told(&path, right);
            self.once(&path, wire.rights[..place].contains(right));
        }
        let sensitivity = match pb::DataSensitivity::try_from(wire.data_sensitivity) {
            Ok(pb::DataSensitivity::Unspecified) => None,
            Ok(pb::DataSensitivity::Ordinary) => Some(Sensitivity::Ordinary),
            Ok(pb::DataSensitivity::Sensitive) => Some(Sensitivity::Sensitive),
            Ok(pb::DataSensitivity::SpecialCategory) => Some(Sensitivity::SpecialCategory),
            Err(_) => {
                self.fault(&at("data_sensitivity"), "no sensitivity has this number");
                None
            }
        };
        ReceiptTerms {
            notice_iri: wire.notice_iri,
            storage_locations,
            retention_period: wire.retention_period,
            recipients,
            rights: wire.rights,
            sensitivity,
            withdrawal_method: wire.withdrawal_method,
        }
    }

    fn recipient(&mut self, path: &str, wire: pb::DataRecipient) -> Option<Recipient> {
        self.told(&format!("{path}.name"), &wire.name);
        self.bounded(&format!("{path}.contact"), &wire.contact);
        let role = match pb::RecipientRole::try_from(wire.role) {
            Ok(pb::RecipientRole::Processor) => Some(RecipientRole::Processor),
            Ok(pb::RecipientRole::ThirdParty) => Some(RecipientRole::ThirdParty),
            Ok(pb::RecipientRole::Unspecified) | Err(_) => {
                self.fault(&format!("{path}.role"), "give RECIPIENT_ROLE_PROCESSOR or RECIPIENT_ROLE_THIRD_PARTY");
                None
            }
        };
        let jurisdiction = match wire.jurisdiction.as_str() {
            "" => None,
            text => self.jurisdiction(&format!("{path}.jurisdiction"), text),
        };
        Some(Recipient { name: wire.name, role: role?, contact: wire.contact, jurisdiction })
    }

    fn jurisdiction(&mut self, path: &str, text: &str) -> Option<Jurisdiction> {
        match Jurisdiction::parse(text) {
            Ok(jurisdiction) => Some(jurisdiction),
            Err(bad) => {
                self.fault(path, &bad.to_string());
                None
            }
        }
    }

    /// A text that must say something.
    fn told(&mut self, path: &str, text: &str) {
        self.bounded(path, text);
        if text.trim().is_empty() {
            self.faults.push(FieldFault::new(path, FaultReason::Missing, "is empty: fill it in or leave it out"));
        }
    }

    fn once(&mut self, path: &str, is_there: bool) {
        if is_there {
            self.faults.push(FieldFault::new(path, FaultReason::Repeated, "is there already"));
        }
    }
}

/// Terms on the wire; nothing where nothing is told.
pub(super) fn terms_out(terms: &ReceiptTerms) -> Option<pb::ReceiptTerms> {
    if *terms == ReceiptTerms::default() {
        return None;
    }
    let law = |law: &Jurisdiction| law.as_str().to_owned();
    let recipient = |recipient: &Recipient| pb::DataRecipient {
        name: recipient.name.clone(),
        role: match recipient.role {
            RecipientRole::Processor => pb::RecipientRole::Processor,
            RecipientRole::ThirdParty => pb::RecipientRole::ThirdParty,
        } as i32,
        contact: recipient.contact.clone(),
        jurisdiction: recipient.jurisdiction.as_ref().map(law).unwrap_or_default(),
    };
    let data_sensitivity = match terms.sensitivity {
        None => pb::DataSensitivity::Unspecified,
        Some(Sensitivity::Ordinary) => pb::DataSensitivity::Ordinary,
        Some(Sensitivity::Sensitive) => pb::DataSensitivity::Sensitive,
        Some(Sensitivity::SpecialCategory) => pb::DataSensitivity::SpecialCategory,
    };
    Some(pb::ReceiptTerms {
        notice_iri: terms.notice_iri.clone(),
        storage_locations: terms.storage_locations.iter().map(law).collect(),
        retention_period: terms.retention_period.clone(),
        recipients: terms.recipients.iter().map(recipient).collect(),
        rights: terms.rights.clone(),
        data_sensitivity: data_sensitivity as i32,
        withdrawal_method: terms.withdrawal_method.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::models::Models;
    use crate::app::tenant::LiveConfig;
    use crate::grpc::convert::policy::{policy, policy_out};

    fn live() -> LiveConfig {
        let config = onefold_core::config::TenantConfig::new("t", "T");
        LiveConfig::compile(config, 1, [7; 32], Models::default()).unwrap()
    }

    fn recipient(name: &str, role: pb::RecipientRole, jurisdiction: &str) -> pb::DataRecipient {
        let (name, jurisdiction) = (name.to_owned(), jurisdiction.to_owned());
        pb::DataRecipient { name, role: role as i32, contact: "https://mail.example".to_owned(), jurisdiction }
    }

    #[test]
    fn terms_survive_the_wire_and_nothing_told_stays_nothing() {
        let live = live();
        let mut wire = policy_out(&live);
        assert!(wire.purposes.iter().all(|purpose| purpose.receipt_terms.is_none()));
        wire.purposes[0].receipt_terms = Some(pb::ReceiptTerms {
            notice_iri: "https://acme.example/privacy".to_owned(),
            storage_locations: vec!["DE".to_owned(), "US-CA".to_owned()],
            retention_period: "P3Y".to_owned(),
            recipients: vec![
                recipient("Mail Works", pb::RecipientRole::Processor, "DE"),
                recipient("Ad House", pb::RecipientRole::ThirdParty, ""),
            ],
            rights: vec!["access".to_owned(), "erasure".to_owned()],
            data_sensitivity: pb::DataSensitivity::SpecialCategory as i32,
            withdrawal_method: "https://acme.example/leave".to_owned(),
        });
        let mut config = onefold_core::config::TenantConfig::clone(&live.config);
        config.consent = policy(Some(wire.clone()), &live).unwrap();
        let live = LiveConfig::compile(config, 2, [7; 32], Models::default()).unwrap();
        assert_eq!(policy_out(&live), wire);
        wire.purposes[0].receipt_terms = Some(pb::ReceiptTerms::default());
        assert_eq!(policy(Some(wire), &live).unwrap().purposes[0].terms, ReceiptTerms::default());
    }

    #[test]
    fn every_fault_of_the_terms_names_its_field() {
        let live = live();
        let mut wire = policy_out(&live);
        let mut twice = recipient("Mail Works", pb::RecipientRole::Unspecified, "Germany");
        twice.contact = "x".repeat(limits::STATEMENT_TEXT_BYTES_MAX + 1);
        wire.purposes[1].receipt_terms = Some(pb::ReceiptTerms {
            notice_iri: "acme.example/privacy".to_owned(),
            storage_locations: vec!["DE".to_owned(), "Mars".to_owned(), "de".to_owned()],
            retention_period: "x".repeat(limits::STATEMENT_TEXT_BYTES_MAX + 1),
            recipients: vec![recipient("Mail Works", pb::RecipientRole::Processor, ""), twice],
            rights: vec!["access".to_owned(), " ".to_owned(), "access".to_owned()],
            data_sensitivity: 9,
            withdrawal_method: "x".repeat(limits::STATEMENT_TEXT_BYTES_MAX + 1),
        });
        let faults = policy(Some(wire.clone()), &live).unwrap_err();
        let mut paths: Vec<&str> = faults.iter().map(|fault| fault.path.as_str()).collect();
        paths.sort_unstable();
        let at = |field: &str| format!("policy.purposes[1].receipt_terms.{field}");
        let mut wanted: Vec<String> = [
            "notice_iri",
            "storage_locations[1]",
            "storage_locations[2]",
            "retention_period",
            "recipients[1].name",
            "recipients[1].role",
            "recipients[1].contact",
            "recipients[1].jurisdiction",
            "rights[1]",
            "rights[2]",
            "data_sensitivity",
            "withdrawal_method",
        ]
        .map(at)
        .into();
        wanted.sort_unstable();
        assert_eq!(paths, wanted);
        let terms = pb::ReceiptTerms {
            rights: (0..=limits::RECEIPT_TERMS_MAX).map(|right| right.to_string()).collect(),
            ..Default::default()
        };
        wire.purposes[1].receipt_terms = Some(terms);
        let faults = policy(Some(wire), &live).unwrap_err();
        assert_eq!(faults.iter().map(|fault| fault.path.as_str()).collect::<Vec<_>>(), [at("rights")]);
        assert_eq!(faults[0].reason, FaultReason::TooLarge);
    }

    #[test]
    fn an_address_of_a_notice_names_its_scheme() {
        for good in ["https://acme.example/privacy", "urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66"] {
            assert!(is_iri(good), "{good}");
        }
        for bad in ["", "acme", "acme.example/privacy", "https:", "://x", "https://a b", "1a:b", "https://a\n"] {
            assert!(!is_iri(bad), "{bad:?}");
        }
    }
}
