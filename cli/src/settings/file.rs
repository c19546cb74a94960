//! The configuration file: TOML, flat, every fault with its line.

use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Fault, Kind, SETTINGS, Setting, Value};
use crate::input::mapping::nearest;

/// What a configuration file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigFile {
    /// Where it lies.
    pub path: PathBuf,
    /// The place of a setting in [`SETTINGS`], the line, the value.
    pub values: Vec<(usize, usize, Value)>,
}

impl ConfigFile {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// Every fault in it, in the order of lines; behind a line that is no TOML the next ones may go unread.
    pub fn read(path: &Path) -> Result<Self, Vec<Fault>> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, path),
            Err(error) => Err(vec![Fault::new(path.display().to_string(), format!("cannot be read: {error}"))]),
        }
    }

    /// Reads the text of a configuration file; relative paths in it are from the folder that it lies in.
    ///
    /// # Errors
    /// As [`ConfigFile::read`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, Vec<Fault>> {
        let line_of = |at: usize| 1 + text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count();
        let mut faults: Vec<(usize, String)> = Vec::new();
        let mut values = Vec::new();
        let (table, wrong) = DeTable::parse_recoverable(text);
        for error in &wrong {
            let line = error.span().map_or(1, |span| line_of(span.start));
            // The error's own text would repeat the line, which may hold a secret at the wrong place.
            faults.push((line, error.message().trim().replace('\n', "; ")));
        }
        for (key, value) in table.get_ref() {
            let line = line_of(key.span().start);
            let name = key.get_ref().as_ref();
            match Setting::place(name) {
                None => faults.push((line, unknown(name, value.get_ref()))),
                Some(place) => match taken(SETTINGS[place].kind, value) {
                    Ok(value) => values.push((place, line, from_folder(SETTINGS[place].kind, value, path))),
                    // What is no TOML was told already.
                    Err(_) if faults.iter().any(|(told, _)| *told == line) => {}
                    Err(why) => faults.push((line_of(value.span().start), format!("{name} {why}"))),
                },
            }
        }
        if faults.is_empty() {
            values.sort_unstable_by_key(|(place, ..)| *place);
            return Ok(Self { path: path.to_owned(), values });
        }
        faults.sort();
        Err(faults.into_iter().map(|(line, why)| Fault::new(format!("{}:{line}", path.display()), why)).collect())
    }
}

/// What to write in the place of a key that is none.
fn unknown(name: &str, value: &DeValue<'_>) -> String {
    let keys = || SETTINGS.iter().map(|setting| setting.key);
    if let DeValue::Table(inner) = value {
        let joined = inner.iter().map(|(key, _)| format!("{name}_{}", key.get_ref()));
        let known = joined.filter_map(|joined| nearest(&joined, keys())).next();
        let instead = known.map_or_else(String::new, |key| format!("; did you mean `{key} = …` without a section?"));
        return format!("there is no section [{name}]: settings stand without sections{instead}");
    }
    let name_as_ours = name.to_lowercase().replace('-', "_");
    let near = nearest(&name_as_ours, keys())
        // `root_key` means `root_key_file`, and nothing of that length is near it.
        .or_else(|| keys().find(|key| name_as_ours.len() > 2 && key.starts_with(&name_as_ours)));
    match near {
        Some(near) if near.ends_with("_file") && !name_as_ours.ends_with("_file") => format!(
            "there is no setting `{name}`; did you mean `{near}`? Secrets do not stand in this file: name one that holds it"
        ),
        Some(near) => format!("there is no setting `{name}`; did you mean `{near}`?"),
        None => format!("there is no setting `{name}`; `onefold config example` shows all there are"),
    }
}

fn taken(kind: Kind, value: &Spanned<DeValue<'_>>) -> Result<Value, String> {
    match (kind, value.get_ref()) {
        (Kind::Flag, DeValue::Boolean(flag)) => Ok(Value::Flag(*flag)),
        (Kind::Whole(..), DeValue::Integer(number)) => {
            let number = u64::from_str_radix(number.as_str(), number.radix());
            number.map_err(|_| kind.wanted()).and_then(|number| kind.within(number))
        }
        (Kind::Path | Kind::Address | Kind::Text, DeValue::String(text)) => kind.text(text),
        (Kind::Texts, DeValue::Array(list)) => {
            let text = |one: &Spanned<DeValue<'_>>| one.get_ref().as_str().map(str::to_owned);
            list.iter().map(text).collect::<Option<Vec<_>>>().map(Value::Texts).ok_or_else(|| kind.wanted())
        }
        _ => Err(kind.wanted()),
    }
}

fn from_folder(kind: Kind, value: Value, file: &Path) -> Value {
    match (kind, value, file.parent()) {
        (Kind::Path, Value::Text(path), Some(folder)) if !path.starts_with("https://") => {
            Value::Text(folder.join(path).display().to_string())
        }
        (_, value, _) => value,
    }
}
