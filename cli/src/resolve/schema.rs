//! Which aspects the files tell of: the built-in ones, and whatever other columns there are.

use onefold_core::config::BUILT_IN_ATTRIBUTES;
use onefold_core::fragment::PartyKind;
use onefold_matching::pair::schema::{FIELDS_MAX, Field, FieldKind, Schema};

use super::open::Input;
use crate::input::RawRecord;
use crate::input::mapping::{PartyRule, Role};

/// Built-in attributes that the built-in aspects do not read, and that are worth comparing.
const FURTHER: &[&str] = &["birth_place", "occupation", "industry", "nationality", "job_title"];

/// The schema of persons and that of organisations, for those parties that the files may hold.
///
/// # Errors
/// When a file cannot be read.
pub fn schemas(inputs: &mut [Input]) -> Result<Vec<Schema>, super::ResolveError> {
    let mut parties = Vec::new();
    for input in inputs.iter() {
        match input.mapping.party {
            PartyRule::Person => parties.push(PartyKind::Person),
            PartyRule::Organisation => parties.push(PartyKind::Organisation),
            PartyRule::ByRow => parties.extend([PartyKind::Person, PartyKind::Organisation]),
        }
    }
    parties.sort_unstable();
    parties.dedup();
    let mut schemas: Vec<Schema> = parties
        .into_iter()
        .map(|party| match party {
            PartyKind::Person => Schema::person(),
            PartyKind::Organisation => Schema::organisation(),
        })
        .collect();
    for input in inputs {
        let columns: Vec<Role> = input.mapping.columns.iter().map(|column| column.role.clone()).collect();
        let sample = input.reader.sample()?;
        for (at, role) in columns.iter().enumerate() {
            let Some(field) = further(role, at, &sample) else { continue };
            for schema in &mut schemas {
                if schema.fields.len() < FIELDS_MAX && !schema.fields.iter().any(|known| known.name == field.name) {
                    schema.fields.push(field.clone());
                }
            }
        }
    }
    Ok(schemas)
}

/// The field of a column that the built-in schemas do not know.
fn further(role: &Role, column: usize, sample: &[&RawRecord]) -> Option<Field> {
    match role {
        Role::Identifier(name) if !matches!(name.as_str(), "email" | "phone" | "domain") => {
            Some(Field::namespace(name, FieldKind::Identifier))
        }
        Role::Attribute(name) if FURTHER.contains(&name.as_str()) => Some(Field::attribute(name, FieldKind::Text)),
        Role::Attribute(name) if !BUILT_IN_ATTRIBUTES.contains(&name.as_str()) => {
            Some(Field::attribute(name, if is_number(column, sample) { FieldKind::Number } else { FieldKind::Text }))
        }
        _ => None,
    }
}

/// Whether nearly all values of the column are numbers, but for marks around them.
fn is_number(column: usize, sample: &[&RawRecord]) -> bool {
    let values: Vec<&str> = sample
        .iter()
        .flat_map(|row| &row.fields)
        .filter(|(at, _)| *at as usize == column)
        .map(|(_, text)| text.as_str())
        .collect();
    let plain = |text: &&&str| {
        let bare = text.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        !bare.is_empty() && bare.replace(',', "").parse::<f64>().is_ok()
    };
    !values.is_empty() && values.iter().filter(plain).count() * 10 >= values.len() * 9
}
