//! The guess: headers first, then a look at the values, then what the columns say together.

use std::collections::{BTreeMap, HashSet};

use onefold_core::namespace::{NamespaceClass, built_in};

use super::headers::{Meaning, meaning, plain_role};
use super::time::DateOrder;
use super::{ColumnMapping, Ground, Mapping, PartyRule, Role, as_name, own_namespace};
use crate::input::{Action, RawRecord};

/// Values of the sample by column.
struct Look<'a> {
    values: Vec<&'a str>,
    distinct: usize,
    rows: usize,
}

impl Look<'_> {
    /// Share of the values for which it holds, out of a thousand; 0 without values.
    fn permille(&self, holds: impl Fn(&str) -> bool) -> usize {
        let hits = self.values.iter().filter(|value| holds(value)).count();
        (hits * 1000).checked_div(self.values.len()).unwrap_or(0)
    }

    /// Whether most rows have one, and no two rows the same unless a log of changes tells of a row again and again. Rows
    /// that lack theirs are refused one by one, which says more than another key for all.
    fn is_key(&self, changes: bool) -> bool {
        self.values.len() * 2 >= self.rows.max(1) && (changes || self.distinct == self.values.len())
    }
}

/// Guesses the meaning of a file with these columns from its first rows. The guess does not hang on the order of the
/// columns. `source` is the source's name where no column tells it, `truth` the column that the user named as truth.
#[must_use]
pub fn guess(columns: &[String], sample: &[&RawRecord], source: &str, truth: Option<&str>) -> Mapping {
    let looks = looks(columns.len(), sample);
    let meanings: Vec<Option<Meaning>> = columns.iter().map(|column| meaning(column)).collect();
    let with = |wanted: fn(&Meaning) -> bool| meanings.iter().flatten().any(wanted);
    let birth_parts = with(|m| *m == Meaning::Day)
        && with(|m| *m == Meaning::Month)
        && with(|m| *m == Meaning::Year)
        && !with(|m| *m == Meaning::Attribute("birth_date"));
    let party = party(&meanings, &looks, birth_parts);
    let record_id = record_id(columns, &meanings, &looks, is_change_log(sample));
    let observed = best(columns, &meanings, |meaning| match meaning {
        Meaning::ObservedAt(rank) => Some(*rank),
        _ => None,
    });
    let mut mapped: Vec<ColumnMapping> = Vec::with_capacity(columns.len());
    for (place, column) in columns.iter().enumerate() {
        let look = &looks[place];
        let own = || Role::Attribute(as_name(column));
        let (role, ground) = match &meanings[place] {
            _ if truth == Some(column) => (Role::Truth, Ground::Given),
            Some(Meaning::RecordId(_) | Meaning::BareId) if record_id == Some(place) => {
                (Role::RecordId, Ground::Header)
            }
            Some(Meaning::ObservedAt(_)) if observed == Some(place) => (Role::ObservedAt, Ground::Header),
            Some(Meaning::RecordId(_) | Meaning::BareId | Meaning::ObservedAt(_)) => (own(), Ground::Nothing),
            Some(Meaning::Company) if party == PartyRule::Person => {
                (Role::Attribute("employer".to_owned()), Ground::Header)
            }
            Some(Meaning::Company) => (Role::Attribute("legal_name".to_owned()), Ground::Header),
            Some(Meaning::Day) if birth_parts => (Role::BirthDay, Ground::Header),
            Some(Meaning::Month) if birth_parts => (Role::BirthMonth, Ground::Header),
            Some(Meaning::Year) if birth_parts => (Role::BirthYear, Ground::Header),
            Some(known) => plain_role(known).map_or_else(|| (own(), Ground::Nothing), |role| (role, Ground::Header)),
            None => by_values(column, look).map_or_else(|| (own(), Ground::Nothing), |role| (role, Ground::Values)),
        };
        let distinct = (look.distinct * 1000).checked_div(look.values.len()).unwrap_or(0);
        mapped.push(ColumnMapping {
            column: column.clone(),
            role,
            ground,
            filled_permille: (look.values.len() * 1000).checked_div(look.rows).unwrap_or(0).min(1000) as u32,
            distinct_permille: distinct as u32,
        });
    }
    let namespaces = settle_namespaces(&mut mapped, sample);
    let dates = mapped.iter().zip(&looks).filter(|(column, _)| column.role == Role::ObservedAt);
    let date_order = DateOrder::guess(dates.flat_map(|(_, look)| look.values.iter().copied()));
    Mapping { party, source: as_name(source), date_order, columns: mapped, namespaces }
}

fn looks<'a>(columns: usize, sample: &[&'a RawRecord]) -> Vec<Look<'a>> {
    let mut looks: Vec<Look<'a>> =
        (0..columns).map(|_| Look { values: Vec::new(), distinct: 0, rows: sample.len() }).collect();
    for record in sample {
        for (column, text) in &record.fields {
            if let Some(look) = looks.get_mut(*column as usize) {
                look.values.push(text);
            }
        }
    }
    for look in &mut looks {
        look.distinct = look.values.iter().collect::<HashSet<_>>().len();
    }
    looks
}

/// The column of the best rank; ties by the name, so that the order of columns does not matter.
fn best(columns: &[String], meanings: &[Option<Meaning>], rank: impl Fn(&Meaning) -> Option<u8>) -> Option<usize> {
    let ranked = meanings
        .iter()
        .enumerate()
        .filter_map(|(place, meaning)| Some((rank(meaning.as_ref()?)?, &columns[place], place)));
    ranked.min().map(|(_, _, place)| place)
}

/// Whether the rows are changes of a table: their envelope tells the time and no key.
fn is_change_log(sample: &[&RawRecord]) -> bool {
    sample
        .iter()
        .any(|record| record.key.is_none() && (record.action == Action::Retract || record.observed_at.is_some()))
}

fn record_id(columns: &[String], meanings: &[Option<Meaning>], looks: &[Look<'_>], changes: bool) -> Option<usize> {
    best(columns, meanings, |meaning| match meaning {
        Meaning::RecordId(rank) => Some(*rank),
        _ => None,
    })
    .or_else(|| {
        let bare = meanings.iter().position(|meaning| *meaning == Some(Meaning::BareId))?;
        looks[bare].is_key(changes).then_some(bare)
    })
}

fn party(meanings: &[Option<Meaning>], looks: &[Look<'_>], birth_parts: bool) -> PartyRule {
    let known = || meanings.iter().flatten();
    if known().any(|meaning| *meaning == Meaning::RecordType) {
        return PartyRule::ByRow;
    }
    // What only a person or only an organisation has says much; what a contact list tells of employers says little.
    let of_person = |meaning: &Meaning| match meaning {
        Meaning::Attribute("full_name" | "given_name" | "family_name" | "middle_name" | "birth_date" | "gender") => 3,
        Meaning::Identifier("passport_id" | "driver_licence_id") => 3,
        Meaning::BirthDay | Meaning::BirthMonth | Meaning::BirthYear => 3,
        Meaning::Attribute("occupation" | "job_title") => 1,
        Meaning::Identifier("user_id" | "anonymous_id" | "loyalty_id" | "device_id") => 1,
        _ => 0,
    };
    let of_organisation = |meaning: &Meaning| match meaning {
        Meaning::Attribute("legal_name" | "trading_name") | Meaning::Identifier("registration_id") => 3,
        Meaning::Company => 2,
        Meaning::Attribute("industry") | Meaning::Identifier("domain") => 1,
        _ => 0,
    };
    let persons: u32 = known().map(of_person).sum::<u32>() + if birth_parts { 3 } else { 0 };
    let organisations: u32 = known().map(of_organisation).sum();
    if persons != organisations {
        return if persons > organisations { PartyRule::Person } else { PartyRule::Organisation };
    }
    // Only `name` is left to tell: companies give themselves away by legal forms, and people by having an address to
    // write to.
    let names =
        meanings.iter().zip(looks).filter(|(meaning, _)| **meaning == Some(Meaning::Name)).map(|(_, look)| look);
    let companies = names.clone().any(|look| look.permille(looks_like_company) > 100);
    let mail = known().any(|meaning| *meaning == Meaning::Identifier("email"));
    // Files of things (papers, products) tell of nobody: their columns are compared word by word, as organisations are.
    let identified = known().any(|meaning| matches!(meaning, Meaning::Identifier(_)));
    let things = names.clone().count() == 0 && !identified && persons == 0;
    if things || (names.count() > 0 && (companies || !mail)) { PartyRule::Organisation } else { PartyRule::Person }
}

fn looks_like_company(name: &str) -> bool {
    const FORMS: &[&str] = &[
        "inc",
        "llc",
        "ltd",
        "gmbh",
        "corp",
        "corporation",
        "co",
        "ag",
        "sa",
        "srl",
        "bv",
        "plc",
        "limited",
        "company",
        "university",
        "institute",
        "kg",
        "incorporated",
        "lp",
        "llp",
        "sarl",
        "spa",
        "nv",
        "oy",
        "ab",
        "as",
        "group",
        "department",
    ];
    let folded = name.to_lowercase().replace('.', "");
    folded.split(|letter: char| !letter.is_alphanumeric()).any(|word| FORMS.contains(&word)) || name.contains('&')
}

/// A column whose header says nothing may still show what it is.
fn by_values(column: &str, look: &Look<'_>) -> Option<Role> {
    if let Some(kind) = column.strip_prefix("externalIds.").or_else(|| column.strip_prefix("identifiers.")) {
        return Some(Role::Identifier(as_name(kind)));
    }
    if look.values.len() < 5 {
        return None;
    }
    let email = |text: &str| {
        text.split_once('@')
            .is_some_and(|(user, host)| !user.is_empty() && host.contains('.') && !text.trim().contains(' '))
    };
    let phone = |text: &str| {
        let digits = text.chars().filter(char::is_ascii_digit).count();
        let marks = text.chars().all(|letter| letter.is_ascii_digit() || " +-().".contains(letter));
        // Bare digits may be any number: a phone shows by its signs.
        marks
            && (9..=15).contains(&digits)
            && text.len() > digits
            && !text.contains("..")
            && text.matches('.').count() != 1
    };
    if look.permille(email) >= 800 {
        return Some(Role::Identifier("email".to_owned()));
    }
    (look.permille(phone) >= 800).then(|| Role::Identifier("phone".to_owned()))
}

/// Gives every identifier a namespace that fits: a namespace with one value a party cannot take two columns that
/// differ in one row, so a further column gets a namespace of its own. Returns the namespaces that are not built in.
fn settle_namespaces(columns: &mut [ColumnMapping], sample: &[&RawRecord]) -> Vec<onefold_core::namespace::Namespace> {
    let known = built_in();
    let unique = |name: &str| known.iter().any(|one| one.name == name && one.class == NamespaceClass::Unique);
    let mut by_namespace: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (place, column) in columns.iter().enumerate() {
        if let Role::Identifier(namespace) = &column.role {
            by_namespace.entry(namespace.clone()).or_default().push(place);
        }
    }
    for (namespace, mut places) in by_namespace {
        if !unique(&namespace) {
            continue;
        }
        let filled =
            |place: usize| sample.iter().filter(|row| row.fields.iter().any(|(at, _)| *at as usize == place)).count();
        places.sort_by(|a, b| filled(*b).cmp(&filled(*a)).then_with(|| columns[*a].column.cmp(&columns[*b].column)));
        for place in places.into_iter().skip(1) {
            let own = as_name(&columns[place].column);
            let own = if own == namespace { format!("{own}_2") } else { own };
            columns[place].role = Role::Identifier(own);
        }
    }
    let mut namespaces: Vec<String> = columns
        .iter()
        .filter_map(|column| match &column.role {
            Role::Identifier(name) if !known.iter().any(|one| one.name == *name) => Some(name.clone()),
            _ => None,
        })
        .collect();
    namespaces.sort();
    namespaces.dedup();
    namespaces.iter().map(|name| own_namespace(name)).collect()
}
