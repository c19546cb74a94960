//! Profiles, source records in all their versions, and what waits in quarantine.

use std::io::Write;

use onefold_core::config::Survivorship;
use onefold_core::decision::EntryKind;
use onefold_core::erasure::Evidence;
use onefold_core::fragment::{AttributeValue, Fragment, ObservedAt, PartyKind, Vocabulary as _};
use onefold_core::ids::ProfileOrdinal;
use onefold_core::profile::{Detail, GoldenValue, Provenance};

use super::document::{
    Attribute, Claim, Golden, GoldenIdentifier, Identifier, Profile, Quarantined, ReachedStage, Record, Retraction,
    Role, Shown, SourceRecord, Text, Version, Withheld, moment, time,
};
use super::held::Written;
use super::{ExportError, Making};
use crate::app::error::ReadError;
use crate::app::quarantine::{self, Opened};
use crate::app::read::{self, fragment_at};

const fn party(party: PartyKind) -> &'static str {
    match party {
        PartyKind::Person => "PERSON",
        PartyKind::Organisation => "ORGANISATION",
    }
}

const fn rule(rule: Survivorship) -> &'static str {
    match rule {
        Survivorship::MostRecent => "MOST_RECENT",
        Survivorship::MostTrusted => "MOST_TRUSTED",
        Survivorship::MostFrequent => "MOST_FREQUENT",
        Survivorship::Longest => "LONGEST",
        Survivorship::AllValues => "ALL_VALUES",
    }
}

impl Making<'_> {
    /// Learns what is withheld from everything with identifiers in it.
    ///
    /// A record that its source took back belonged to a profile that may have been split since, and nobody can tell
    /// whose it is but by what it says: one without an identifier that is this person's for sure is left out.
    pub(super) fn learn(&mut self) -> Result<(), ExportError> {
        let own = &self.picture.own;
        for (scoped, _) in &self.picture.records {
            if !matches!(scoped.evidence, Evidence::RetractedFrom(_)) {
                continue;
            }
            let mut theirs = false;
            for written in self.history.fragments.get(&scoped.ordinal).into_iter().flatten() {
                if let Some(fragment) = self.fragment(written)? {
                    let links = self.config().preparer().prepare(&fragment).0.links;
                    theirs |= links.iter().any(|link| own.contains(&link.digest));
                }
            }
            if !theirs {
                self.points.remove(&scoped.digest);
            }
        }
        for written in self.history.fragments.values().flatten() {
            if let Some(fragment) = self.fragment(written)? {
                self.veil.learn(&fragment);
            }
        }
        for (entry, held, _) in &self.picture.quarantined {
            if let Some(opened) = quarantine::open(self.app, self.tenant, *entry, *held)? {
                self.veil.learn(&opened.fragment);
            }
        }
        Ok(())
    }

    /// A fragment as it was written; `None` when a rewrite dropped it, since a newer one superseded it.
    fn fragment(&self, written: &Written) -> Result<Option<Fragment>, ReadError> {
        let read = fragment_at(&self.app.shared, &self.tenant.vault, written.place);
        match read {
            Ok(fragment) => Ok(Some(fragment)),
            Err(error) => {
                let entry = self.app.shared.journal.read(written.place);
                if entry.is_ok_and(|entry| entry.payload.is_none()) { Ok(None) } else { Err(error) }
            }
        }
    }

    pub(super) fn named(&mut self, record: &onefold_core::fragment::SourceRecord) -> Record {
        let source = self.source(record.source);
        Record { source, key: self.veil.text("a record's key", &record.key) }
    }

    fn attribute(&mut self, name: &str, value: &AttributeValue) -> Shown<serde_json::Value> {
        match value {
            AttributeValue::Text(text) => match self.veil.text(name, text) {
                Shown::Value(text) => Shown::Value(text.into()),
                Shown::Withheld { withheld } => Shown::Withheld { withheld },
            },
            AttributeValue::Number(number) => match self.veil.text(name, &number.to_string()) {
                Shown::Value(_) => Shown::Value((*number).into()),
                Shown::Withheld { withheld } => Shown::Withheld { withheld },
            },
            AttributeValue::Flag(flag) => Shown::Value((*flag).into()),
        }
    }

    pub(super) fn profile_id(&self, profile: ProfileOrdinal) -> String {
        self.tenant.profile_id(profile).to_string()
    }

    pub(super) fn profiles<W: Write>(&mut self, text: &mut Text<'_, W>) -> Result<(), ExportError> {
        self.veil.enter("profiles");
        text.list("profiles", |put| {
            for (profile, stage) in &self.picture.profiles {
                let loaded = match read::load(&self.app.shared, self.tenant, *profile) {
                    Ok(loaded) => loaded,
                    // It ended meanwhile: then the scope is another one, and the lane says so.
                    Err(ReadError::ProfileUnknown) => continue,
                    Err(error) => return Err(error.into()),
                };
                let Some(golden) = loaded.golden(Detail::WithLosers) else { continue };
                let mut attributes = Vec::new();
                for attribute in &golden.attributes {
                    let name = self.config().config.attribute(attribute.name).to_owned();
                    let values = attribute.values.iter().map(|value| (true, value));
                    for (shown, value) in values.chain(attribute.losers.iter().map(|value| (false, value))) {
                        attributes.push(self.golden(&name, rule(attribute.rule), value, shown));
                    }
                }
                attributes.sort_by(|a, b| (&a.name, !a.shown).cmp(&(&b.name, !b.shown)));
                let mut identifiers = Vec::new();
                for identifier in &golden.identifiers {
                    let namespace = self.veil.namespace(identifier.namespace);
                    let claim = identifier.claims.first();
                    let of = claim.and_then(|claim| {
                        loaded.fragments().iter().find(|fragment| &fragment.record == claim.provenance.record)
                    });
                    let value = match (of, claim) {
                        (Some(fragment), Some(claim)) => {
                            let raw = claim.raw.to_owned();
                            let claim = onefold_core::fragment::Identifier { namespace: identifier.namespace, raw };
                            match self.veil.identifier(fragment, &claim) {
                                Shown::Value(_) => Shown::Value(identifier.value.clone()),
                                withheld @ Shown::Withheld { .. } => withheld,
                            }
                        }
                        _ => self.veil.value(identifier.namespace, &identifier.value),
                    };
                    let claimed_by = identifier.claims.iter().map(|claim| self.claim(&claim.provenance)).collect();
                    identifiers.push(GoldenIdentifier { namespace, value, claimed_by });
                }
                put(Profile {
                    id: self.profile_id(*profile),
                    party_kind: party(golden.party),
                    first_observed_time: time(golden.first_observed_at),
                    last_observed_time: time(golden.last_observed_at),
                    stage: stage.clone(),
                    attributes,
                    identifiers,
                    traits: golden.traits.map(|(traits, _)| self.veil.traits(traits)),
                })?;
            }
            Ok(())
        })
    }

    fn claim(&mut self, said: &Provenance<'_>) -> Claim {
        Claim { record: self.named(said.record), observed_time: time(said.observed_at) }
    }

    fn golden(&mut self, name: &str, rule: &'static str, value: &GoldenValue<'_>, shown: bool) -> Golden {
        Golden {
            name: name.to_owned(),
            value: self.attribute(name, value.value),
            shown,
            rule,
            support: value.support,
            record: self.named(value.provenance.record),
            observed_time: time(value.provenance.observed_at),
        }
    }

    fn version(&mut self, fragment: &Fragment, written: &Written, live: bool) -> Version {
        let mut identifiers = Vec::with_capacity(fragment.identifiers.len());
        for claim in &fragment.identifiers {
            let value = self.veil.identifier(fragment, claim);
            identifiers.push(Identifier { namespace: self.veil.namespace(claim.namespace), value });
        }
        let mut attributes = Vec::with_capacity(fragment.attributes.len());
        for attribute in &fragment.attributes {
            let name = self.config().config.attribute(attribute.name).to_owned();
            let value = self.attribute(&name, &attribute.value);
            attributes.push(Attribute { name, value });
        }
        attributes.sort_by(|a, b| a.name.cmp(&b.name));
        let mut roles = Vec::with_capacity(fragment.affiliations.len());
        for role in &fragment.affiliations {
            roles.push(Role {
                account: self.named(&role.account),
                role: self.veil.text("a role", &role.role),
                since_time: moment(role.since),
                until_time: role.until.and_then(moment),
            });
        }
        let mut stages = Vec::with_capacity(fragment.stages.len());
        for told in &fragment.stages {
            let stage = self.veil.text("a stage", &told.name);
            stages.push(ReachedStage { stage, reached_time: told.at.and_then(moment) });
        }
        Version {
            sequence: written.sequence.0,
            received_time: time(written.at),
            observed_time: time(fragment.observed_at),
            live,
            party_kind: party(fragment.party),
            identifiers,
            attributes,
            traits: fragment.traits.as_deref().map(|traits| self.veil.traits(traits)),
            roles,
            stages,
        }
    }

    /// Source records: all versions that are kept, or for portability what is live.
    pub(super) fn records<W: Write>(&mut self, text: &mut Text<'_, W>, live_only: bool) -> Result<(), ExportError> {
        self.veil.enter("records");
        text.list("records", |put| {
            for (scoped, view) in &self.picture.records {
                if !self.points.contains(&scoped.digest) {
                    self.veil.count("a record that its source took back", Withheld::WhoseIsUnsure);
                    continue;
                }
                let live_at = view.filter(|view| view.live).map(|view| view.place);
                let mut versions = Vec::new();
                let mut name = None;
                for written in self.history.fragments.get(&scoped.ordinal).into_iter().flatten() {
                    let live = live_at == Some(written.place);
                    if live_only && !live {
                        continue;
                    }
                    if let Some(fragment) = self.fragment(written)? {
                        name = Some(self.named(&fragment.record));
                        versions.push(self.version(&fragment, written, live));
                    }
                }
                for _ in 0..self.history.of_others.get(&scoped.ordinal).copied().filter(|_| !live_only).unwrap_or(0) {
                    self.veil.count("what a record said when it was another's", Withheld::NamesSomebodyElse);
                }
                let retractions = match live_only {
                    true => Vec::new(),
                    false => self.history.retractions.get(&scoped.ordinal).into_iter().flatten().collect(),
                };
                if versions.is_empty() && retractions.is_empty() {
                    continue;
                }
                let retraction = |(written, observed_at): &(Written, ObservedAt)| Retraction {
                    sequence: written.sequence.0,
                    received_time: time(written.at),
                    observed_time: time(*observed_at),
                };
                let (evidence, of) = match scoped.evidence {
                    Evidence::Named => ("NAMED", None),
                    Evidence::Shares(_) => ("RETRACTED_SHARING_IDENTIFIER", None),
                    Evidence::Corrects => ("CORRECTS_RECORDS", None),
                    Evidence::Member(of) => ("MEMBER_OF_PROFILE", Some(of)),
                    Evidence::RetractedFrom(of) => ("RETRACTED_FROM_PROFILE", Some(of)),
                };
                // Of a record whose content is gone nobody knows the key any more.
                let unnamed = || Record { source: self.source(scoped.source), key: Shown::Value(String::new()) };
                put(SourceRecord {
                    record: name.unwrap_or_else(unnamed),
                    evidence,
                    profile: of.map(|of| self.profile_id(of)),
                    versions,
                    retractions: retractions.into_iter().map(retraction).collect(),
                })?;
            }
            Ok(())
        })
    }

    pub(super) fn quarantined<W: Write>(&mut self, text: &mut Text<'_, W>) -> Result<(), ExportError> {
        self.veil.enter("quarantined");
        text.list("quarantined", |put| {
            for (entry, held, points) in &self.picture.quarantined {
                if !self.are_theirs(points) {
                    self.veil.count("a quarantined fragment", Withheld::WhoseIsUnsure);
                    continue;
                }
                let Some(Opened { fragment, kept, .. }) = quarantine::open(self.app, self.tenant, *entry, *held)?
                else {
                    continue;
                };
                let written =
                    Written { sequence: *entry, place: held.place, at: kept.received_at, kind: EntryKind::Quarantined };
                put(Quarantined {
                    record: self.named(&fragment.record),
                    faults: kept.faults.iter().map(ToString::to_string).collect(),
                    content: self.version(&fragment, &written, false),
                    consents: self.waiting(*entry, kept.says, points),
                })?;
            }
            Ok(())
        })
    }
}
