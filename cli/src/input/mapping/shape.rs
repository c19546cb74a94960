//! From a raw row and a mapping to a fragment.

use std::collections::HashMap;

use onefold_core::config::{BUILT_IN_ATTRIBUTES, Source, TenantConfig};
use onefold_core::fragment::{
    Affiliation, Attribute, AttributeValue, Fragment, Identifier, ObservedAt, PartyKind, SourceRecord, StageTold,
};
use onefold_core::hierarchy::Moment;
use onefold_core::ids::{AttributeId, NamespaceId, SourceId};
use onefold_core::limits;

use super::headers::JOINED;
use super::{DateOrder, Mapping, PartyRule, Role, as_name, guess, observed_at};
use crate::input::{Action, Columns, RawRecord, Refusal};

/// A row with a meaning.
pub struct Shaped {
    /// The input's own record id, or its line number.
    pub record_id: String,
    /// Whether the row has a key of its own; without one its line number stands in.
    pub keyed: bool,
    /// The true cluster, where the row tells it.
    pub truth: Option<String>,
    /// Whether the facts are stated or taken back.
    pub action: Action,
    /// The facts.
    pub fragment: Fragment,
    /// Values of free attributes that were cut to the bound on their length.
    pub values_cut: u32,
    /// Whether the row's time could not be read and counts as the beginning of time.
    pub time_unreadable: bool,
}

/// Shapes the rows of one file.
pub struct Shaper {
    mapping: Mapping,
    /// By column.
    roles: Vec<Role>,
    file_source: SourceId,
    moments: Moments,
}

impl Shaper {
    /// The file's own source is added to the tenant when it is new.
    pub fn new(mapping: Mapping, config: &mut TenantConfig) -> Result<Self, TooMany> {
        let file_source = source_id(&mapping.source, config)?;
        Ok(Self { mapping, roles: Vec::new(), file_source, moments: Moments::default() })
    }

    /// The mapping in use.
    #[must_use]
    pub const fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    /// Columns have the role that the mapping gives their name. It may also name columns that are not there yet, so places
    /// say nothing. Those that appear after the mapping was made are guessed by their header; identifiers of an unknown
    /// namespace stay attributes, since the rules of linking are settled by then.
    fn learn(&mut self, columns: &Columns, config: &TenantConfig) {
        while self.roles.len() < columns.names().len() {
            let column = &columns.names()[self.roles.len()..=self.roles.len()];
            if let Some(known) = self.mapping.columns.iter().find(|known| known.column == column[0]) {
                self.roles.push(known.role.clone());
                continue;
            }
            let mut role = guess(column, &[], &self.mapping.source, None).columns.remove(0).role;
            match &role {
                Role::Identifier(name) if config.namespace_named(name).is_none() => {
                    role = Role::Attribute(as_name(name))
                }
                Role::RecordId | Role::Truth | Role::Source | Role::ObservedAt
                    if self.mapping.column_of(&role).is_some() || self.roles.contains(&role) =>
                {
                    role = Role::Attribute(as_name(&column[0]));
                }
                _ => {}
            }
            self.roles.push(role);
        }
    }

    /// The row as a fragment; sources and attribute names that are new are added to the tenant.
    ///
    /// # Errors
    /// [`Refusal`] for a row over a bound, or with nothing in it.
    pub fn shape(&mut self, raw: RawRecord, columns: &Columns, config: &mut TenantConfig) -> Result<Shaped, Refusal> {
        self.learn(columns, config);
        let line = raw.line;
        let mut refused = Refusal { line, reason: String::new(), key: raw.key.clone() };
        let by_role = |role: &Role| {
            raw.fields.iter().find(|(column, _)| self.roles.get(*column as usize) == Some(role)).map(|(_, text)| text)
        };
        let key = by_role(&Role::RecordId).or(raw.key.as_ref()).cloned();
        let keyed = key.is_some();
        let record_id = key.unwrap_or_else(|| line.to_string());
        refused.key = Some(record_id.clone());
        if record_id.len() > limits::SOURCE_KEY_BYTES_MAX {
            refused.reason = format!("its record id is longer than {} bytes", limits::SOURCE_KEY_BYTES_MAX);
            return Err(refused);
        }
        let truth = by_role(&Role::Truth).cloned();
        let source = match by_role(&Role::Source).or(raw.source.as_ref()) {
            Some(name) => source_id(&as_name(name), config)
                .map_err(|fault| Refusal { reason: fault.to_string(), ..refused.clone() })?,
            None => self.file_source,
        };
        let party = raw.party.unwrap_or(match self.mapping.party {
            PartyRule::Person => PartyKind::Person,
            PartyRule::Organisation => PartyKind::Organisation,
            PartyRule::ByRow => by_role(&Role::RecordType).map_or(PartyKind::Person, |text| party_of(text)),
        });
        let time = by_role(&Role::ObservedAt);
        let read = time.map(|text| observed_at(text, self.mapping.date_order));
        let mut observed = raw.observed_at.or(read.flatten()).unwrap_or(ObservedAt(0));
        if raw.in_order && keyed {
            observed = self.moments.of((source, &record_id), observed);
        }
        let untold = raw.observed_at.is_none() && read.flatten().is_none();
        let time_unreadable = untold && (raw.time_unreadable || read.is_some());
        let mut fragment = Fragment {
            record: SourceRecord { source, key: record_id.clone() },
            observed_at: observed,
            party,
            identifiers: Vec::new(),
            attributes: Vec::new(),
            traits: None,
            affiliations: Vec::new(),
            stages: Vec::new(),
        };
        let stage_time = by_role(&Role::StageTime).cloned();
        let affiliation_role = by_role(&Role::AffiliationRole).cloned().unwrap_or_default();
        let mut birth = Birth::default();
        let mut values_cut = 0;
        for (column, text) in raw.fields {
            let role = &self.roles[column as usize];
            let added = match role {
                Role::Identifier(name) => identifier(&mut fragment, name, text, config),
                Role::Attribute(name) => {
                    let text = cut_if_free(name, text, &mut values_cut);
                    attribute(&mut fragment, name, text, config)
                }
                Role::Name => {
                    let name = if party == PartyKind::Person { "full_name" } else { "legal_name" };
                    attribute(&mut fragment, name, text, config)
                }
                Role::BirthDay => birth.set(2, text),
                Role::BirthMonth => birth.set(1, text),
                Role::BirthYear => birth.set(0, text),
                Role::Affiliation => affiliation(&mut fragment, text, &affiliation_role),
                Role::Stage => stage(&mut fragment, &text, stage_time.as_deref(), self.mapping.date_order),
                // Taken with the account, with the stage.
                Role::AffiliationRole | Role::StageTime => Ok(()),
                Role::RecordId | Role::Truth | Role::Source | Role::ObservedAt | Role::RecordType | Role::Ignore => {
                    Ok(())
                }
            };
            if let Err(reason) = added {
                refused.reason = format!("column `{}`: {reason}", columns.names()[column as usize]);
                return Err(refused);
            }
        }
        if let Some(date) = birth.text() {
            attribute(&mut fragment, "birth_date", date, config)
                .map_err(|reason| Refusal { reason, ..refused.clone() })?;
        }
        if fragment.identifiers.len() > limits::IDENTIFIERS_MAX {
            refused.reason = format!("holds more than {} identifiers", limits::IDENTIFIERS_MAX);
            return Err(refused);
        }
        if fragment.attributes.len() > limits::ATTRIBUTES_MAX {
            refused.reason = format!("holds more than {} attributes", limits::ATTRIBUTES_MAX);
            return Err(refused);
        }
        fragment.canonicalise();
        Ok(Shaped { record_id, keyed, truth, action: raw.action, fragment, values_cut, time_unreadable })
    }
}

/// Records whose last time is remembered.
const MOMENTS_MAX: usize = 65_536;
/// Times are told in milliseconds at the coarsest, and none is moved into the next.
const MOVED_MICROS_MAX: i64 = 999;

/// The times of what comes in order. Of two changes to one record at one time the later gets the next microsecond, so that
/// it is the newer one. The same file gives the same times, so sending it again changes nothing.
#[derive(Default)]
struct Moments(HashMap<(SourceId, String), (ObservedAt, ObservedAt)>);

impl Moments {
    fn of(&mut self, (source, key): (SourceId, &str), told: ObservedAt) -> ObservedAt {
        // Changes at one time stand close to each other, so what is forgotten here is hardly missed.
        if self.0.len() >= MOMENTS_MAX {
            self.0.clear();
        }
        let last = self.0.entry((source, key.to_owned())).or_insert((ObservedAt(i64::MIN), ObservedAt(i64::MIN)));
        if told < last.0 {
            return told;
        }
        let given =
            if told > last.1 { told } else { ObservedAt((last.1.0 + 1).min(told.0.saturating_add(MOVED_MICROS_MAX))) };
        *last = (told, given);
        given
    }
}

fn party_of(text: &str) -> PartyKind {
    let folded = text.to_ascii_lowercase();
    let organisation =
        ["org", "company", "business", "firm", "account", "corporat", "legal"].iter().any(|word| folded.contains(word));
    if organisation { PartyKind::Organisation } else { PartyKind::Person }
}

/// More sources than one tenant may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than {} sources: is the source column another thing? `--mapping` can say so", limits::SOURCES_MAX)]
pub struct TooMany;

fn source_id(name: &str, config: &mut TenantConfig) -> Result<SourceId, TooMany> {
    if let Some(source) = config.source_named(name) {
        return Ok(source.id);
    }
    if config.sources.len() >= limits::SOURCES_MAX {
        return Err(TooMany);
    }
    let id = SourceId(config.sources.len() as u16);
    config.sources.push(Source {
        id,
        name: name.to_owned(),
        display_name: name.to_owned(),
        trust: 500,
        contract: onefold_core::config::Contract::default(),
    });
    Ok(id)
}

fn namespace_id(name: &str, config: &TenantConfig) -> Option<NamespaceId> {
    config.namespace_named(name).map(|namespace| namespace.id)
}

fn identifier(fragment: &mut Fragment, name: &str, raw: String, config: &TenantConfig) -> Result<(), String> {
    let Some(namespace) = namespace_id(name, config) else {
        return Err(format!("no namespace is called `{name}`"));
    };
    if raw.len() > limits::IDENTIFIER_BYTES_MAX {
        return Err(format!("an identifier is longer than {} bytes", limits::IDENTIFIER_BYTES_MAX));
    }
    fragment.identifiers.push(Identifier { namespace, raw });
    Ok(())
}

fn attribute_id(name: &str, config: &mut TenantConfig) -> Result<AttributeId, String> {
    if let Some(place) = config.attribute_names.iter().position(|known| known == name) {
        return Ok(AttributeId(place as u16));
    }
    if config.attribute_names.len() >= limits::ATTRIBUTE_NAMES_MAX {
        return Err(format!("more than {} attribute names", limits::ATTRIBUTE_NAMES_MAX));
    }
    config.attribute_names.push(name.to_owned());
    Ok(AttributeId((config.attribute_names.len() - 1) as u16))
}

/// A role of a person in an account of the record's own source; a row of an organisation has none.
fn affiliation(fragment: &mut Fragment, key: String, role: &str) -> Result<(), String> {
    if fragment.party == PartyKind::Organisation {
        return Ok(());
    }
    if key.len() > limits::SOURCE_KEY_BYTES_MAX || role.len() > limits::ACCOUNT_TEXT_BYTES_MAX {
        return Err("names an account or a role that is too long".to_owned());
    }
    let account = SourceRecord { source: fragment.record.source, key };
    fragment.affiliations.push(Affiliation { account, role: role.to_owned(), since: Moment::ALWAYS, until: None });
    Ok(())
}

/// A stage, reached when the column beside it says, or when the record was observed.
fn stage(fragment: &mut Fragment, name: &str, time: Option<&str>, order: DateOrder) -> Result<(), String> {
    let name = name.trim().to_lowercase();
    if name.is_empty() {
        return Ok(());
    }
    if name.len() > limits::NAME_BYTES_MAX {
        return Err(format!("names a stage of more than {} bytes", limits::NAME_BYTES_MAX));
    }
    let at = match time.map(str::trim).filter(|time| !time.is_empty()) {
        None => None,
        Some(time) => match observed_at(time, order) {
            Some(at) => Some(Moment(at.0)),
            None => return Err("the time at which the stage was reached cannot be read".to_owned()),
        },
    };
    fragment.stages.push(StageTold { at, name });
    Ok(())
}

fn attribute(fragment: &mut Fragment, name: &str, text: String, config: &mut TenantConfig) -> Result<(), String> {
    let id = attribute_id(name, config)?;
    if JOINED.contains(&name)
        && let Some(Attribute { value: AttributeValue::Text(before), .. }) =
            fragment.attributes.iter_mut().find(|attribute| attribute.name == id)
    {
        before.push(' ');
        before.push_str(&text);
        if before.len() > limits::ATTRIBUTE_BYTES_MAX {
            return Err(too_long());
        }
        return Ok(());
    }
    if text.len() > limits::ATTRIBUTE_BYTES_MAX {
        return Err(too_long());
    }
    fragment.attributes.push(Attribute { name: id, value: AttributeValue::Text(text) });
    Ok(())
}

/// A long description in a column that resolution does not know is no reason to lose the record: it is cut, and counted.
fn cut_if_free(name: &str, mut text: String, cut: &mut u32) -> String {
    if text.len() > limits::ATTRIBUTE_BYTES_MAX && !BUILT_IN_ATTRIBUTES.contains(&name) {
        let end = (0..=limits::ATTRIBUTE_BYTES_MAX).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        *cut += 1;
    }
    text
}

fn too_long() -> String {
    format!("a value is longer than {} bytes", limits::ATTRIBUTE_BYTES_MAX)
}

/// A birth date in three columns: year, month, day.
#[derive(Default)]
struct Birth([Option<String>; 3]);

impl Birth {
    fn set(&mut self, part: usize, text: String) -> Result<(), String> {
        self.0[part] = Some(text);
        Ok(())
    }

    /// `yyyy-mm-dd`, shorter where the day or the month is missing; as written where a part is no number.
    fn text(self) -> Option<String> {
        let [year, month, day] = self.0;
        let two = |text: String| text.parse::<u8>().map_or(text, |number| format!("{number:02}"));
        match (year, month.map(two), day.map(two)) {
            (Some(year), Some(month), Some(day)) => Some(format!("{year}-{month}-{day}")),
            (Some(year), Some(month), None) => Some(format!("{year}-{month}")),
            (Some(year), None, _) => Some(year),
            (None, ..) => None,
        }
    }
}
