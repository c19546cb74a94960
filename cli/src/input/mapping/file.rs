//! A mapping in a file: TOML or JSON, for all inputs or for one by its name.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use onefold_core::namespace::{Namespace, NamespaceClass, Normaliser, built_in};
use serde_json::{Map, Value};

use super::{ColumnMapping, DateOrder, Ground, Mapping, PLAIN, PartyRule, Role, is_name, nearest, own_namespace};

/// A mapping file that cannot be used; the message says where and what to write instead.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}", file.display())]
pub struct MappingFault {
    /// Which file.
    pub file: PathBuf,
    /// What is wrong and how to mend it.
    pub why: String,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Section {
    party: Option<PartyRule>,
    source: Option<String>,
    date_order: Option<DateOrder>,
    columns: BTreeMap<String, Role>,
}

/// What a mapping file says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MappingFile {
    path: PathBuf,
    common: Section,
    files: BTreeMap<String, Section>,
    namespaces: Vec<Namespace>,
}

const SECTION_KEYS: &[&str] = &["party", "source", "date_order", "columns"];
const NAMESPACE_KEYS: &[&str] =
    &["class", "normaliser", "priority", "diversity_limit", "junk_defaults", "blocked_values", "blocked_patterns"];
const PARTIES: &[(&str, PartyRule)] =
    &[("person", PartyRule::Person), ("organisation", PartyRule::Organisation), ("by_row", PartyRule::ByRow)];
const ORDERS: &[(&str, DateOrder)] = &[("dmy", DateOrder::Dmy), ("mdy", DateOrder::Mdy)];
const CLASSES: &[(&str, NamespaceClass)] = &[
    ("unique", NamespaceClass::Unique),
    ("identifying", NamespaceClass::Identifying),
    ("supporting", NamespaceClass::Supporting),
];
const NORMALISERS: &[(&str, Normaliser)] = &[
    ("email", Normaliser::Email),
    ("phone", Normaliser::Phone),
    ("domain", Normaliser::Domain),
    ("alphanumeric", Normaliser::Alphanumeric),
    ("verbatim", Normaliser::Verbatim),
    ("folded", Normaliser::Folded),
];

impl MappingFile {
    /// Reads a mapping file; JSON when it is named so, TOML otherwise.
    ///
    /// # Errors
    /// [`MappingFault`]: not readable, not TOML or JSON, or something in it that is not known.
    pub fn read(path: &Path) -> Result<Self, MappingFault> {
        let fault = |why: String| MappingFault { file: path.to_owned(), why };
        let text = std::fs::read_to_string(path).map_err(|error| fault(format!("cannot be read: {error}")))?;
        let json = path.extension().is_some_and(|ending| ending == "json");
        Self::parse(&text, json, path)
    }

    /// Reads a mapping from text.
    ///
    /// # Errors
    /// As [`MappingFile::read`].
    pub fn parse(text: &str, json: bool, path: &Path) -> Result<Self, MappingFault> {
        let fault = |why: String| MappingFault { file: path.to_owned(), why };
        let whole: Map<String, Value> = if json {
            serde_json::from_str(text).map_err(|error| fault(error.to_string()))?
        } else {
            toml::from_str(text).map_err(|error| fault(error.to_string()))?
        };
        let mut this = Self { path: path.to_owned(), ..Self::default() };
        let mut common = Map::new();
        for (key, value) in whole {
            match key.as_str() {
                "file" => {
                    for (name, section) in object("file", &value).map_err(fault)? {
                        let at = format!("file.{name}");
                        this.files.insert(
                            name.clone(),
                            section_of(&at, object(&at, section).map_err(fault)?).map_err(fault)?,
                        );
                    }
                }
                "namespaces" => {
                    for (name, law) in object("namespaces", &value).map_err(fault)? {
                        this.namespaces.push(namespace_of(name, law).map_err(fault)?);
                    }
                }
                _ => drop(common.insert(key, value)),
            }
        }
        if let Some(key) = common.keys().find(|key| !SECTION_KEYS.contains(&key.as_str())) {
            let known = SECTION_KEYS.iter().chain(&["file", "namespaces"]).copied();
            return Err(fault(unknown("key", key, "", known)));
        }
        this.common = section_of("", &common).map_err(fault)?;
        this.check_namespaces().map_err(fault)?;
        Ok(this)
    }

    fn check_namespaces(&self) -> Result<(), String> {
        let built_in = built_in();
        let known = || built_in.iter().chain(&self.namespaces).map(|namespace| namespace.name.as_str());
        for section in std::iter::once(&self.common).chain(self.files.values()) {
            for (column, role) in &section.columns {
                if let Role::Identifier(name) = role
                    && !known().any(|other| other == name)
                {
                    let mut why = unknown("namespace", name, &format!("columns.{column}"), known());
                    let _ = write!(why, "; a new one is made by a [namespaces.{name}] table");
                    return Err(why);
                }
            }
        }
        Ok(())
    }

    /// Namespaces that the file makes or changes.
    #[must_use]
    pub fn namespaces(&self) -> &[Namespace] {
        &self.namespaces
    }

    /// Whether it says which source `input` is.
    #[must_use]
    pub fn names_source(&self, input: &Path) -> bool {
        let own = self.of(input).and_then(|section| section.source.as_ref());
        own.or(self.common.source.as_ref()).is_some()
    }

    /// What it says of this file alone: by its name, or by its path as it was given.
    fn of(&self, input: &Path) -> Option<&Section> {
        let name = input.file_name().and_then(|name| name.to_str()).unwrap_or("-");
        self.files.get(name).or_else(|| self.files.get(input.to_str().unwrap_or("-")))
    }

    /// Lays what the file says over the guess for `input`. With `complete`, the columns of the guess are all there are.
    ///
    /// # Errors
    /// [`MappingFault`] for a column that the input does not have.
    pub fn apply(&self, input: &Path, complete: bool, mapping: &mut Mapping) -> Result<(), MappingFault> {
        let name = input.file_name().and_then(|name| name.to_str()).unwrap_or("-");
        let own = self.of(input).map(|own| (own, true));
        for (section, strict) in std::iter::once((&self.common, false)).chain(own) {
            mapping.party = section.party.unwrap_or(mapping.party);
            mapping.date_order = section.date_order.unwrap_or(mapping.date_order);
            if let Some(source) = &section.source {
                mapping.source.clone_from(source);
            }
            for (column, role) in &section.columns {
                match mapping.columns.iter_mut().find(|known| known.column == *column) {
                    Some(known) => (known.role, known.ground) = (role.clone(), Ground::Given),
                    None if strict && complete => {
                        let known = mapping.columns.iter().map(|known| known.column.as_str());
                        let why = unknown("column", column, &format!("file.{name}.columns"), known);
                        return Err(MappingFault { file: self.path.clone(), why });
                    }
                    None if complete => {}
                    None => mapping.columns.push(given(column, role)),
                }
            }
        }
        for namespace in &self.namespaces {
            mapping.namespaces.retain(|known| known.name != namespace.name);
            mapping.namespaces.push(namespace.clone());
        }
        Ok(())
    }

    /// Columns that the file names for all inputs and that none of the inputs has.
    #[must_use]
    pub fn unused_columns<'a>(&'a self, mappings: &[&Mapping]) -> Vec<&'a str> {
        let used =
            |column: &str| mappings.iter().any(|mapping| mapping.columns.iter().any(|known| known.column == column));
        self.common.columns.keys().map(String::as_str).filter(|column| !used(column)).collect()
    }

    /// The mappings as a file that [`MappingFile::read`] understands, to be edited.
    #[must_use]
    pub fn print(inputs: &[(String, &Mapping)]) -> String {
        let mut text = String::from(
            "# What the columns mean: record_id, truth, source, observed_at, record_type, name, birth_day,\n",
        );
        text.push_str(
            "# birth_month, birth_year, affiliation, affiliation_role, stage, stage_time,\n# identifier:NAMESPACE, attribute:NAME, ignore.\n",
        );
        let mut namespaces = BTreeMap::new();
        for (name, mapping) in inputs {
            let _ = write!(
                text,
                "\n[file.{}]\nparty = \"{}\"\nsource = \"{}\"\ndate_order = \"{}\"\n\n[file.{}.columns]\n",
                quoted(name),
                mapping.party,
                mapping.source,
                mapping.date_order,
                quoted(name)
            );
            for column in &mapping.columns {
                let _ = writeln!(text, "{} = \"{}\"", quoted(&column.column), column.role);
            }
            namespaces.extend(mapping.namespaces.iter().map(|namespace| (&namespace.name, namespace)));
        }
        for (name, namespace) in namespaces {
            let _ = write!(
                text,
                "\n[namespaces.{}]\nclass = \"{}\"\nnormaliser = \"{}\"\npriority = {}\ndiversity_limit = {}\njunk_defaults = {}\n",
                quoted(name),
                word_of(CLASSES, namespace.class),
                word_of(NORMALISERS, namespace.normaliser),
                namespace.priority,
                namespace.diversity_limit,
                namespace.junk_defaults,
            );
            let blocked =
                [("blocked_values", &namespace.blocked_values), ("blocked_patterns", &namespace.blocked_patterns)];
            for (key, list) in blocked.into_iter().filter(|(_, list)| !list.is_empty()) {
                let list: Vec<String> = list.iter().map(|text| quoted(text)).collect();
                let _ = writeln!(text, "{key} = [{}]", list.join(", "));
            }
        }
        text
    }
}

/// A basic string of TOML, which JSON's escapes are a part of.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn given(column: &str, role: &Role) -> ColumnMapping {
    ColumnMapping {
        column: column.to_owned(),
        role: role.clone(),
        ground: Ground::Given,
        filled_permille: 0,
        distinct_permille: 0,
    }
}

fn word_of<T: PartialEq>(table: &[(&'static str, T)], value: T) -> &'static str {
    table.iter().find(|(_, other)| *other == value).map_or("", |(word, _)| word)
}

fn unknown<'a>(kind: &str, name: &str, at: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    let place = if at.is_empty() { String::new() } else { format!("{at}: ") };
    match nearest(name, known.clone()) {
        Some(near) => format!("{place}no {kind} is called `{name}`; did you mean `{near}`?"),
        None => {
            let list: Vec<&str> = known.take(20).collect();
            format!("{place}no {kind} is called `{name}`; known are {}", list.join(", "))
        }
    }
}

fn object<'a>(at: &str, value: &'a Value) -> Result<&'a Map<String, Value>, String> {
    value.as_object().ok_or_else(|| format!("{at}: must be a table"))
}

fn word<T: Copy>(at: &str, value: &Value, table: &[(&'static str, T)]) -> Result<T, String> {
    let text = value.as_str().ok_or_else(|| format!("{at}: must be a text"))?;
    match table.iter().find(|(word, _)| *word == text) {
        Some((_, value)) => Ok(*value),
        None => Err(unknown("value", text, at, table.iter().map(|(word, _)| *word))),
    }
}

fn section_of(at: &str, section: &Map<String, Value>) -> Result<Section, String> {
    let mut this = Section::default();
    let under = |key: &str| if at.is_empty() { key.to_owned() } else { format!("{at}.{key}") };
    for (key, value) in section {
        let here = under(key);
        match key.as_str() {
            "party" => this.party = Some(word(&here, value, PARTIES)?),
            "date_order" => this.date_order = Some(word(&here, value, ORDERS)?),
            "source" => {
                let name = value.as_str().filter(|name| is_name(name));
                let name =
                    name.ok_or_else(|| format!("{here}: must be lower case letters, digits, `_`, `-` or `.`"))?;
                this.source = Some(name.to_owned());
            }
            "columns" => {
                for (column, role) in object(&here, value)? {
                    let here = format!("{here}.{column}");
                    let text = role.as_str().ok_or_else(|| format!("{here}: must be a text"))?;
                    let known = PLAIN.iter().map(|(word, _)| *word).chain(["identifier:NAMESPACE", "attribute:NAME"]);
                    let role = Role::parse(text).ok_or_else(|| unknown("meaning", text, &here, known))?;
                    this.columns.insert(column.clone(), role);
                }
            }
            _ => return Err(unknown("key", key, at, SECTION_KEYS.iter().copied())),
        }
    }
    Ok(this)
}

fn namespace_of(name: &str, law: &Value) -> Result<Namespace, String> {
    let at = format!("namespaces.{name}");
    if !is_name(name) {
        return Err(format!("{at}: the name must be lower case letters, digits, `_` or `.`"));
    }
    let known = built_in().into_iter().find(|namespace| namespace.name == name);
    let mut namespace = known.unwrap_or_else(|| own_namespace(name));
    let small = |at: &str, value: &Value| -> Result<u16, String> {
        let number = value.as_u64().and_then(|number| u16::try_from(number).ok());
        number.ok_or_else(|| format!("{at}: must be a number from 0 to {}", u16::MAX))
    };
    let texts = |at: &str, value: &Value| -> Result<Vec<String>, String> {
        let list = value.as_array().and_then(|list| list.iter().map(|one| one.as_str().map(str::to_owned)).collect());
        list.ok_or_else(|| format!("{at}: must be a list of texts"))
    };
    for (key, value) in object(&at, law)? {
        let here = format!("{at}.{key}");
        match key.as_str() {
            "class" => namespace.class = word(&here, value, CLASSES)?,
            "normaliser" => namespace.normaliser = word(&here, value, NORMALISERS)?,
            "priority" => namespace.priority = small(&here, value)?,
            "diversity_limit" => namespace.diversity_limit = small(&here, value)?,
            "junk_defaults" => {
                namespace.junk_defaults = value.as_bool().ok_or_else(|| format!("{here}: must be true or false"))?;
            }
            "blocked_values" => namespace.blocked_values = texts(&here, value)?,
            "blocked_patterns" => namespace.blocked_patterns = texts(&here, value)?,
            _ => return Err(unknown("key", key, &at, NAMESPACE_KEYS.iter().copied())),
        }
    }
    Ok(namespace)
}
