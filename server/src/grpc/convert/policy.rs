//! Purposes, channels and caps on the wire.

mod terms;

use onefold_core::consent::policy::{Cap, CapScope, Channel, ConsentPolicy, FieldScope, Purpose, QuietHours, Regime};
use onefold_core::consent::{ChannelId, Jurisdiction, PurposeId};
use onefold_core::fault::{FaultReason, FieldFault};
use onefold_core::limits;
use onefold_proto::v1 as pb;

use super::consent::{basis, basis_out, regime_out};
use super::fragment::{is_attribute_name, too_long, too_many};
use crate::app::consent::person::is_zone;
use crate::app::tenant::LiveConfig;

/// Minutes of a day.
const DAY_MINUTES: u32 = 24 * 60;
/// Days in which a pending yes may be confirmed, and the longest that may be asked for.
const CONFIRM_DAYS: (u32, u32) = (30, 366);
/// Seconds that a reservation waits.
const RESERVATION_SECONDS: u32 = 15 * 60;

/// Reads a policy. Ordinals follow the one in force: what has a name keeps its ordinal.
///
/// # Errors
/// Every fault of it.
pub fn policy(wire: Option<pb::ConsentPolicy>, config: &LiveConfig) -> Result<ConsentPolicy, Vec<FieldFault>> {
    let Some(wire) = wire else {
        return Err(vec![FieldFault::new("policy", FaultReason::Missing, "give the policy")]);
    };
    let mut reading = Reading { config, faults: Vec::new() };
    let before = &config.config.consent;
    for (path, count, most) in [
        ("policy.purposes", wire.purposes.len(), limits::PURPOSES_MAX),
        ("policy.channels", wire.channels.len(), limits::CHANNELS_MAX),
        ("policy.caps", wire.caps.len(), limits::CAPS_MAX),
    ] {
        if count > most {
            return Err(vec![too_many(path, count, most)]);
        }
    }
    let names: Vec<String> = wire.purposes.iter().map(|purpose| purpose.name.clone()).collect();
    reading.names("policy.purposes", &names, before.purposes.iter().map(|purpose| purpose.name.as_str()));
    let names: Vec<String> = wire.channels.iter().map(|channel| channel.name.clone()).collect();
    reading.names("policy.channels", &names, before.channels.iter().map(|channel| channel.name.as_str()));
    let mut purposes: Vec<Purpose> =
        wire.purposes.into_iter().enumerate().map(|(at, wire)| reading.purpose(at, wire)).collect();
    let mut channels: Vec<Channel> =
        wire.channels.into_iter().enumerate().map(|(at, wire)| reading.channel(at, wire)).collect();
    // Known names keep their place, new ones follow.
    purposes.sort_by_key(|one| place(&one.name, before.purposes.iter().map(|known| known.name.as_str())));
    channels.sort_by_key(|one| place(&one.name, before.channels.iter().map(|known| known.name.as_str())));
    for (id, purpose) in (0..).zip(&mut purposes) {
        purpose.id = PurposeId(id);
    }
    for (id, channel) in (0..).zip(&mut channels) {
        channel.id = ChannelId(id);
    }
    let caps = wire.caps.into_iter().enumerate().map(|(at, cap)| reading.cap(at, cap, &purposes, &channels)).collect();
    if !wire.default_time_zone.is_empty() && !is_zone(&wire.default_time_zone) {
        reading.fault("policy.default_time_zone", "give an IANA name, e.g. Europe/Berlin, or leave it empty");
    }
    reading.bounded("policy.controller", &wire.controller);
    if wire.confirm_within_days > CONFIRM_DAYS.1 {
        reading.fault("policy.confirm_within_days", &format!("give 0 to {}", CONFIRM_DAYS.1));
    }
    if wire.reservation_seconds > limits::RESERVATION_SECONDS_MAX {
        reading.fault("policy.reservation_seconds", &format!("give 0 to {}", limits::RESERVATION_SECONDS_MAX));
    }
    let or = |given: u32, otherwise: u32| if given == 0 { otherwise } else { given };
    let policy = ConsentPolicy {
        purposes,
        channels,
        caps,
        default_time_zone: (!wire.default_time_zone.is_empty()).then_some(wire.default_time_zone),
        confirm_within_days: or(wire.confirm_within_days, CONFIRM_DAYS.0).min(CONFIRM_DAYS.1) as u16,
        reservation_seconds: or(wire.reservation_seconds, RESERVATION_SECONDS),
        controller: wire.controller,
    };
    if reading.faults.is_empty() { Ok(policy) } else { Err(reading.faults) }
}

/// The place of a name among those that are known; behind all of them when it is new.
fn place<'a>(name: &str, mut known: impl Iterator<Item = &'a str>) -> usize {
    known.position(|known| known == name).unwrap_or(usize::MAX)
}

struct Reading<'a> {
    config: &'a LiveConfig,
    faults: Vec<FieldFault>,
}

impl Reading<'_> {
    fn fault(&mut self, path: &str, message: &str) {
        self.faults.push(FieldFault::new(path, FaultReason::Malformed, message));
    }

    fn bounded(&mut self, path: &str, text: &str) {
        if text.len() > limits::STATEMENT_TEXT_BYTES_MAX {
            self.faults.push(too_long(path.to_owned(), text.len(), limits::STATEMENT_TEXT_BYTES_MAX));
        }
    }

    fn names<'b>(&mut self, path: &str, names: &[String], known: impl Iterator<Item = &'b str>) {
        for (at, name) in names.iter().enumerate() {
            if name.contains('.') || !is_attribute_name(name) {
                let most = limits::NAME_BYTES_MAX;
                let message = format!("write it in lower case letters, digits and `_`, up to {most} bytes");
                self.fault(&format!("{path}[{at}].name"), &message);
            }
            if names[..at].contains(name) {
                let message = "is there already";
                self.faults.push(FieldFault::new(format!("{path}[{at}].name"), FaultReason::Repeated, message));
            }
        }
        for gone in known.filter(|known| !names.iter().any(|name| name == known)) {
            self.fault(
                path,
                &format!("`{gone}` is missing: statements may name it, so it can be changed and not removed"),
            );
        }
    }

    fn regime(&mut self, path: &str, wire: i32) -> Regime {
        match pb::ConsentRegime::try_from(wire) {
            Ok(pb::ConsentRegime::OptOut) => Regime::OptOut,
            Ok(pb::ConsentRegime::OptIn | pb::ConsentRegime::Unspecified) => Regime::OptIn,
            Err(_) => {
                self.fault(path, "no regime has this number");
                Regime::OptIn
            }
        }
    }

    fn purpose(&mut self, at: usize, wire: pb::ConsentPurpose) -> Purpose {
        let path = |field: &str| format!("policy.purposes[{at}].{field}");
        let lawful_basis = basis(wire.lawful_basis()).unwrap_or_default();
        self.bounded(&path("display_name"), &wire.display_name);
        self.bounded(&path("description"), &wire.description);
        self.bounded(&path("vocabulary_iri"), &wire.vocabulary_iri);
        let default_regime = self.regime(&path("default_regime"), wire.default_regime);
        for (field, count, most) in [
            ("regimes", wire.regimes.len(), limits::REGIMES_MAX),
            ("reads_attributes", wire.reads_attributes.len(), limits::READABLE_FIELDS_MAX),
            ("reads_namespaces", wire.reads_namespaces.len(), limits::READABLE_FIELDS_MAX),
        ] {
            if count > most {
                self.faults.push(too_many(&path(field), count, most));
            }
        }
        let mut regimes: Vec<(Jurisdiction, Regime)> = Vec::new();
        for (place, one) in wire.regimes.into_iter().take(limits::REGIMES_MAX).enumerate() {
            let path = path(&format!("regimes[{place}]"));
            let regime = self.regime(&format!("{path}.regime"), one.regime);
            match Jurisdiction::parse(&one.jurisdiction) {
                Ok(law) if regimes.iter().any(|(known, _)| *known == law) => {
                    self.fault(&format!("{path}.jurisdiction"), "has a rule already");
                }
                Ok(law) => regimes.push((law, regime)),
                Err(bad) => self.fault(&format!("{path}.jurisdiction"), &bad.to_string()),
            }
        }
        for (place, name) in wire.reads_attributes.iter().take(limits::READABLE_FIELDS_MAX).enumerate() {
            if !is_attribute_name(name) {
                self.fault(&path(&format!("reads_attributes[{place}]")), "is no name of an attribute or group");
            }
        }
        let mut namespaces = Vec::new();
        for (place, name) in wire.reads_namespaces.iter().take(limits::READABLE_FIELDS_MAX).enumerate() {
            match self.config.namespace_named(name) {
                Some(namespace) => namespaces.push(namespace),
                None => self.fault(&path(&format!("reads_namespaces[{place}]")), "no namespace has this name"),
            }
        }
        let terms = self.terms(&path("receipt_terms"), wire.receipt_terms);
        Purpose {
            id: PurposeId(0),
            name: wire.name,
            display_name: wire.display_name,
            description: wire.description,
            vocabulary_iri: wire.vocabulary_iri,
            lawful_basis,
            default_regime,
            regimes,
            reads: FieldScope { all: wire.reads_all, attributes: wire.reads_attributes, namespaces },
            terms,
        }
    }

    fn channel(&mut self, at: usize, wire: pb::ConsentChannel) -> Channel {
        let path = |field: &str| format!("policy.channels[{at}].{field}");
        self.bounded(&path("display_name"), &wire.display_name);
        if wire.quiet_hours.len() > limits::QUIET_HOURS_MAX {
            self.faults.push(too_many(&path("quiet_hours"), wire.quiet_hours.len(), limits::QUIET_HOURS_MAX));
        }
        let mut quiet_hours = Vec::new();
        for (place, hours) in wire.quiet_hours.iter().take(limits::QUIET_HOURS_MAX).enumerate() {
            if hours.from_minute >= DAY_MINUTES
                || hours.until_minute > DAY_MINUTES
                || hours.from_minute == hours.until_minute
            {
                let message = "give two different minutes of the day: from_minute 0 to 1439, until_minute 0 to 1440, the end of the day";
                self.fault(&path(&format!("quiet_hours[{place}]")), message);
            } else {
                let (from_minute, until_minute) = (hours.from_minute as u16, hours.until_minute as u16);
                quiet_hours.push(QuietHours { from_minute, until_minute });
            }
        }
        Channel {
            id: ChannelId(0),
            name: wire.name,
            display_name: wire.display_name,
            double_opt_in: wire.double_opt_in,
            quiet_hours,
        }
    }

    fn cap(&mut self, at: usize, wire: pb::ContactCap, purposes: &[Purpose], channels: &[Channel]) -> Cap {
        let path = |field: &str| format!("policy.caps[{at}].{field}");
        if wire.name.is_empty() || wire.name.len() > limits::NAME_BYTES_MAX {
            self.fault(&path("name"), &format!("give a name of up to {} bytes", limits::NAME_BYTES_MAX));
        }
        let purpose = purposes.iter().find(|purpose| purpose.name == wire.purpose).map(|purpose| purpose.id);
        if purpose.is_none() && !wire.purpose.is_empty() {
            self.fault(&path("purpose"), "no purpose of the policy has this name");
        }
        let channel = channels.iter().find(|channel| channel.name == wire.channel).map(|channel| channel.id);
        if channel.is_none() && !wire.channel.is_empty() {
            self.fault(&path("channel"), "no channel of the policy has this name");
        }
        if wire.most > limits::CAP_CONTACTS_MAX {
            self.fault(&path("most"), &format!("give 0 to {}", limits::CAP_CONTACTS_MAX));
        }
        if !(1..=limits::CAP_WINDOW_SECONDS_MAX).contains(&wire.window_seconds) {
            self.fault(&path("window_seconds"), &format!("give 1 to {}", limits::CAP_WINDOW_SECONDS_MAX));
        }
        let scope = match pb::CapScope::try_from(wire.scope) {
            Ok(pb::CapScope::Unspecified | pb::CapScope::Person) => CapScope::Person,
            Ok(pb::CapScope::Household) => CapScope::Household,
            Ok(pb::CapScope::Account) => CapScope::Account,
            Err(_) => {
                self.fault(&path("scope"), "give CAP_SCOPE_PERSON, CAP_SCOPE_HOUSEHOLD or CAP_SCOPE_ACCOUNT");
                CapScope::Person
            }
        };
        Cap { name: wire.name, purpose, channel, most: wire.most, window_seconds: wire.window_seconds, scope }
    }
}

/// A policy on the wire.
pub fn policy_out(config: &LiveConfig) -> pb::ConsentPolicy {
    let policy = &config.config.consent;
    let purpose = |purpose: &Purpose| pb::ConsentPurpose {
        name: purpose.name.clone(),
        display_name: purpose.display_name.clone(),
        description: purpose.description.clone(),
        vocabulary_iri: purpose.vocabulary_iri.clone(),
        lawful_basis: basis_out(purpose.lawful_basis) as i32,
        default_regime: regime_out(purpose.default_regime) as i32,
        regimes: purpose
            .regimes
            .iter()
            .map(|(law, regime)| pb::JurisdictionRegime {
                jurisdiction: law.as_str().to_owned(),
                regime: regime_out(*regime) as i32,
            })
            .collect(),
        reads_all: purpose.reads.all,
        reads_attributes: purpose.reads.attributes.clone(),
        reads_namespaces: purpose
            .reads
            .namespaces
            .iter()
            .filter_map(|id| config.config.namespace(*id))
            .map(|namespace| namespace.name.clone())
            .collect(),
        receipt_terms: terms::terms_out(&purpose.terms),
    };
    let channel = |channel: &Channel| pb::ConsentChannel {
        name: channel.name.clone(),
        display_name: channel.display_name.clone(),
        double_opt_in: channel.double_opt_in,
        quiet_hours: channel
            .quiet_hours
            .iter()
            .map(|hours| pb::QuietHours {
                from_minute: u32::from(hours.from_minute),
                until_minute: u32::from(hours.until_minute),
            })
            .collect(),
    };
    let cap = |cap: &Cap| pb::ContactCap {
        name: cap.name.clone(),
        purpose: cap.purpose.and_then(|id| policy.purpose(id)).map(|purpose| purpose.name.clone()).unwrap_or_default(),
        channel: cap.channel.and_then(|id| policy.channel(id)).map(|channel| channel.name.clone()).unwrap_or_default(),
        most: cap.most,
        window_seconds: cap.window_seconds,
        scope: match cap.scope {
            CapScope::Person => pb::CapScope::Person,
            CapScope::Household => pb::CapScope::Household,
            CapScope::Account => pb::CapScope::Account,
        } as i32,
    };
    pb::ConsentPolicy {
        purposes: policy.purposes.iter().map(purpose).collect(),
        channels: policy.channels.iter().map(channel).collect(),
        caps: policy.caps.iter().map(cap).collect(),
        default_time_zone: policy.default_time_zone.clone().unwrap_or_default(),
        confirm_within_days: u32::from(policy.confirm_within_days),
        reservation_seconds: policy.reservation_seconds,
        controller: policy.controller.clone(),
    }
}
