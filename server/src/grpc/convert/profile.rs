//! Profiles, events and explanations on the wire.

use onefold_core::change::ProfileChange;
use onefold_core::config::Survivorship;
use onefold_core::consent::permit::Permit;
use onefold_core::fragment::{AttributeValue, Vocabulary};
use onefold_core::ids::ProfileOrdinal;
use onefold_core::namespace::NamespaceClass;
use onefold_core::profile::{Detail, GoldenIdentifier, GoldenValue, Provenance};
use onefold_proto::v1 as pb;

use super::fragment::{party_out, record_out, timestamp};
use super::review;
use crate::app::explain::{How, Obstacle, ReadableLink, Why};
use crate::app::feed::Event;
use crate::app::read::Loaded;
use crate::app::tenant::{LiveConfig, Tenant};
use crate::grpc::names;

/// What of a profile is shown.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// FULL view.
    pub full: bool,
    /// Only these fields; empty is all.
    pub mask: Vec<String>,
}

impl Shown {
    /// Reads view and mask.
    ///
    /// # Errors
    /// The first path of the mask that names no field of a profile.
    pub fn read(view: pb::ProfileView, mask: Option<prost_types::FieldMask>) -> Result<Self, String> {
        const FIELDS: &[&str] = &[
            "name",
            "party_kind",
            "values",
            "identifiers",
            "record_count",
            "sequence",
            "observed_time",
            "other_values",
            "records",
            "traits_json",
        ];
        let mask = mask.map(|mask| mask.paths).unwrap_or_default();
        let unknown = mask.iter().position(|path| {
            let field = path.split_once('.').map_or(path.as_str(), |(field, _)| field);
            !FIELDS.contains(&field) || (path.contains('.') && field != "values")
        });
        match unknown {
            Some(at) => Err(format!("paths[{at}] names no field of a profile; known are {}", FIELDS.join(", "))),
            None => Ok(Self { full: view == pb::ProfileView::Full, mask }),
        }
    }

    /// Takes from a profile of the view what the mask does not name.
    pub fn narrow(&self, profile: &mut pb::Profile) {
        if self.mask.is_empty() {
            return;
        }
        let all = std::mem::take(profile);
        // The name stays: without it an answer would not say whose it is.
        profile.name = all.name;
        if self.field("party_kind") {
            profile.party_kind = all.party_kind;
        }
        if self.field("values") {
            profile.values = all.values.into_iter().filter(|value| self.value(&value.name)).collect();
        }
        if self.field("identifiers") {
            profile.identifiers = all.identifiers;
        }
        if self.field("record_count") {
            profile.record_count = all.record_count;
        }
        if self.field("sequence") {
            profile.sequence = all.sequence;
        }
        if self.field("observed_time") {
            profile.observed_time = all.observed_time;
        }
        if self.field("other_values") {
            profile.other_values = all.other_values;
        }
        if self.field("records") {
            profile.records = all.records;
        }
        if self.field("traits_json") {
            profile.traits_json = all.traits_json;
        }
    }

    fn field(&self, name: &str) -> bool {
        self.mask.is_empty()
            || self.mask.iter().any(|path| path.split_once('.').map_or(path.as_str(), |(f, _)| f) == name)
    }

    fn value(&self, attribute: &str) -> bool {
        self.mask.is_empty()
            || self.mask.iter().any(|path| match path.split_once('.') {
                Some(("values", wanted)) => {
                    attribute == wanted || attribute.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('.'))
                }
                _ => path == "values",
            })
    }
}

/// A profile on the wire; `None` without a fragment.
pub fn profile(loaded: &Loaded, shown: &Shown, tenant: &Tenant) -> Option<pb::Profile> {
    let config = loaded.config.as_ref();
    let detail = if shown.full { Detail::WithLosers } else { Detail::Golden };
    let golden = loaded.golden(detail)?;
    let mut out = pb::Profile {
        name: names::of_profile(&tenant.name, tenant.profile_id(loaded.profile)),
        party_kind: party_out(golden.party) as i32,
        record_count: golden.records as u32,
        sequence: loaded.changed.0,
        observed_time: Some(timestamp(golden.last_observed_at)),
        ..Default::default()
    };
    for attribute in &golden.attributes {
        let name = Vocabulary::attribute(config.config.as_ref(), attribute.name);
        let on_wire = |value: &GoldenValue<'_>| pb::GoldenValue {
            name: name.to_owned(),
            value: Some(match value.value {
                AttributeValue::Text(text) => pb::golden_value::Value::Text(text.clone()),
                AttributeValue::Number(number) => pb::golden_value::Value::Number(*number),
                AttributeValue::Flag(flag) => pb::golden_value::Value::Flag(*flag),
            }),
            provenance: shown.full.then(|| provenance(&value.provenance, config)),
            support: if shown.full { value.support } else { 0 },
            rule: if shown.full { rule(attribute.rule).to_owned() } else { String::new() },
        };
        out.values.extend(attribute.values.iter().map(on_wire));
        out.other_values.extend(attribute.losers.iter().map(on_wire));
    }
    out.values.sort_by(|a, b| a.name.cmp(&b.name));
    out.other_values.sort_by(|a, b| a.name.cmp(&b.name));
    out.identifiers = golden
        .identifiers
        .iter()
        .map(|identifier| pb::ProfileIdentifier {
            namespace: Vocabulary::namespace(config.config.as_ref(), identifier.namespace).to_owned(),
            value: identifier.value.clone(),
            links: links(identifier, config),
            provenance: if shown.full {
                identifier.claims.iter().map(|claim| provenance(&claim.provenance, config)).collect()
            } else {
                Vec::new()
            },
        })
        .collect();
    out.identifiers.sort_by(|a, b| (&a.namespace, &a.value).cmp(&(&b.namespace, &b.value)));
    if shown.full {
        out.records = loaded.records().into_iter().map(|record| record_out(record, config)).collect();
        out.traits_json = golden.traits.map(|(text, _)| text.to_owned()).unwrap_or_default();
    }
    shown.narrow(&mut out);
    Some(out)
}

/// Takes from a profile what a permit does not open, and names it.
pub fn withhold(profile: &mut pb::Profile, permit: &Permit, config: &LiveConfig) -> Vec<pb::Withheld> {
    let mut withheld = std::collections::BTreeSet::new();
    for values in [&mut profile.values, &mut profile.other_values] {
        values.retain(|value| {
            let open = permit.attribute(&value.name);
            if !open {
                withheld.insert(format!("values.{}", value.name));
            }
            open
        });
    }
    profile.identifiers.retain(|identifier| {
        let open = config.namespace_named(&identifier.namespace).is_some_and(|namespace| permit.namespace(namespace));
        if !open {
            withheld.insert(format!("identifiers.{}", identifier.namespace));
        }
        open
    });
    if !permit.everything() {
        // A record's key, and free-form traits, may hold anything.
        if !std::mem::take(&mut profile.traits_json).is_empty() {
            withheld.insert("traits_json".to_owned());
        }
        if !std::mem::take(&mut profile.records).is_empty() {
            withheld.insert("records".to_owned());
        }
        let claims = profile.values.iter_mut().chain(&mut profile.other_values);
        claims.for_each(|value| value.provenance = None);
        profile.identifiers.iter_mut().for_each(|identifier| identifier.provenance.clear());
    }
    super::account::withheld(withheld)
}

/// Whether the namespace and its block rules let a value link; whether it is generic today is Explain's to say.
fn links(identifier: &GoldenIdentifier<'_>, config: &LiveConfig) -> bool {
    config.config.namespace(identifier.namespace).is_some_and(|n| n.class != NamespaceClass::Supporting)
        && identifier.canonical().is_some_and(|value| config.preparer().may_link(identifier.namespace, &value))
}

fn provenance(said: &Provenance<'_>, config: &LiveConfig) -> pb::Provenance {
    pb::Provenance { record: Some(record_out(said.record, config)), observed_time: Some(timestamp(said.observed_at)) }
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

/// An event of the feed on the wire.
pub fn event(event: &Event, tenant: &Tenant) -> pb::ProfileEvent {
    let name = |profile: &ProfileOrdinal| names::of_profile(&tenant.name, tenant.profile_id(*profile));
    let (kind, others, stays_live) = match &event.change {
        ProfileChange::Created { .. } => (pb::ProfileEventKind::Created, Vec::new(), true),
        ProfileChange::Updated { .. } => (pb::ProfileEventKind::Updated, Vec::new(), true),
        ProfileChange::Merged { into, .. } => (pb::ProfileEventKind::Merged, vec![name(into)], false),
        ProfileChange::Split { stays, into, .. } => {
            (pb::ProfileEventKind::Split, into.iter().map(|(part, _)| name(part)).collect(), *stays)
        }
        ProfileChange::Emptied { .. } => (pb::ProfileEventKind::Emptied, Vec::new(), false),
        ProfileChange::Erased { gone, .. } => (pb::ProfileEventKind::Erased, Vec::new(), !gone),
        ProfileChange::ConsentChanged { .. } => (pb::ProfileEventKind::ConsentChanged, Vec::new(), true),
        ProfileChange::AccountChanged { .. } => (pb::ProfileEventKind::AccountChanged, Vec::new(), true),
    };
    let account = match &event.change {
        ProfileChange::AccountChanged { account } => names::of_account(&tenant.name, tenant.account_id(*account)),
        _ => String::new(),
    };
    pb::ProfileEvent {
        sequence: event.sequence.0,
        previous_sequence: event.previous.0,
        kind: kind as i32,
        profile: event.change.subject().as_ref().map(name).unwrap_or_default(),
        others,
        stays_live,
        commit_time: Some(timestamp(event.committed_at)),
        account,
    }
}

/// An explanation on the wire.
pub fn why(why: Why, tenant: &Tenant, config: &LiveConfig) -> pb::ExplainLinkResponse {
    let name = |profile: ProfileOrdinal| names::of_profile(&tenant.name, tenant.profile_id(profile));
    match why {
        Why::Together { profile, path, weakest, evidence } => pb::ExplainLinkResponse {
            linked: true,
            first_profile: name(profile),
            second_profile: name(profile),
            path: path.into_iter().map(|step| link(step, config)).collect(),
            weakest: weakest.unwrap_or(0) as u32,
            obstacles: Vec::new(),
            r#match: evidence.map(review::evidence),
        },
        Why::Apart { profiles: [first, second], obstacles, evidence } => pb::ExplainLinkResponse {
            linked: false,
            first_profile: first.map(name).unwrap_or_default(),
            second_profile: second.map(name).unwrap_or_default(),
            path: Vec::new(),
            weakest: 0,
            obstacles: obstacles.into_iter().map(|found| obstacle(found, config)).collect(),
            r#match: evidence.map(review::evidence),
        },
    }
}

/// How a profile is held together, on the wire.
pub fn how(how: How, name: String, config: &LiveConfig) -> pb::ExplainProfileResponse {
    pb::ExplainProfileResponse {
        name,
        links: how.links.into_iter().map(|found| link(found, config)).collect(),
        weakest: how.weakest.into_iter().map(|found| link(found, config)).collect(),
        possible_links: how.possible.into_iter().map(|found| obstacle(found, config)).collect(),
    }
}

fn link(found: ReadableLink, config: &LiveConfig) -> pb::Link {
    let namespace = found.namespace.and_then(|id| config.config.namespace(id));
    pb::Link {
        namespace: namespace.map(|n| n.name.clone()).unwrap_or_default(),
        value: found.value,
        class: match namespace.map(|n| n.class) {
            Some(NamespaceClass::Unique) => "UNIQUE",
            Some(NamespaceClass::Identifying) => "IDENTIFYING",
            Some(NamespaceClass::Supporting) => "SUPPORTING",
            None => "",
        }
        .to_owned(),
        priority: namespace.map_or(0, |n| u32::from(n.priority)),
        records: found.records.iter().map(|record| record_out(record, config)).collect(),
        r#match: found.evidence.map(review::evidence),
        kind: found.kind.to_owned(),
    }
}

fn obstacle(found: Obstacle, config: &LiveConfig) -> pb::Obstacle {
    let namespace = found.namespace.and_then(|id| config.config.namespace(id));
    pb::Obstacle {
        reason: found.reason.to_owned(),
        message: found.message,
        namespace: namespace.map(|n| n.name.clone()).unwrap_or_default(),
        value: found.value,
    }
}
