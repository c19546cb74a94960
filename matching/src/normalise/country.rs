//! Whose law an address names: its country, and the part of it, as people write them.
//!
//! A table beside the one that telephone numbers are read by: what that one reads is in what was linked, and must not change with
//! this one.

use std::sync::LazyLock;

use hashbrown::HashMap;
use onefold_core::consent::Jurisdiction;
use onefold_core::identifier::region::country_code;

use super::text::fold;

/// Longer texts name no country.
const NAME_BYTES_MAX: usize = 96;
/// Codes that are no country of ISO 3166-1 and have a law.
const OTHERS: [&str; 2] = ["EU", "XK"];

/// By what people write: countries, and the parts of each.
#[derive(Default)]
struct Table {
    countries: HashMap<String, Jurisdiction>,
    parts: HashMap<Jurisdiction, HashMap<String, Jurisdiction>>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut table = Table::default();
    let lines = include_str!("countries.txt").lines().filter_map(|line| line.split_once('='));
    for (code, names) in lines {
        let (code, names) = (code.trim(), names.split(',').map(key));
        let Ok(law) = Jurisdiction::parse(code) else { continue };
        match code.split_once('-') {
            None => table.countries.extend(names.map(|name| (name, law))),
            Some((country, part)) => {
                let Ok(country) = Jurisdiction::parse(country) else { continue };
                let parts = table.parts.entry(country).or_default();
                parts.extend(names.chain([key(part), key(code)]).map(|name| (name, law)));
            }
        }
    }
    table
});

/// Folded, without dots and a leading article: `U.S.A.` is `usa`, and `The Netherlands` are `netherlands`.
fn key(text: &str) -> String {
    let folded = fold(&text.replace('.', ""));
    match folded.strip_prefix("the ") {
        Some(name) => name.to_owned(),
        None => folded,
    }
}

/// The law of a country as people write it: an ISO 3166-1 code of two or three letters, a name in English or in its own language;
/// also a part of one (`US-CA`), and `EU`. `None` when it is none of those.
#[must_use]
pub fn law_of(text: &str) -> Option<Jurisdiction> {
    let text = text.trim();
    if text.len() > NAME_BYTES_MAX {
        return None;
    }
    if let Some(law) = TABLE.countries.get(&key(text)) {
        return Some(*law);
    }
    if let Some(code) = country_code(text) {
        return Jurisdiction::parse(code).ok();
    }
    let law = Jurisdiction::parse(text).ok()?;
    let country = law.as_str().get(..2)?;
    let is_part = law.as_str().len() > 2 && country_code(country).is_some();
    (is_part || OTHERS.contains(&law.as_str())).then_some(law)
}

/// Whether the parts of a country are known, of which some have laws of their own: of the United States and Canada.
#[must_use]
pub fn has_parts(country: Jurisdiction) -> bool {
    TABLE.parts.contains_key(&country)
}

/// The part of a country that a region names, by its code or its name.
#[must_use]
pub fn part_of(country: Jurisdiction, region: &str) -> Option<Jurisdiction> {
    let parts = TABLE.parts.get(&country)?;
    if region.len() > NAME_BYTES_MAX {
        return None;
    }
    parts.get(&key(region)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn law(code: &str) -> Jurisdiction {
        Jurisdiction::parse(code).unwrap()
    }

    #[test]
    fn countries_are_read_as_people_write_them() {
        let table = [
            ("DE", &["de", " DE ", "DEU", "Germany", "DEUTSCHLAND", "Bundesrepublik  Deutschland"][..]),
            ("GR", &["EL", "GR", "grc", "Greece", "Ελλάδα", "ΕΛΛΑΔΑ"]),
            ("GB", &["UK", "U.K.", "GB", "GBR", "United Kingdom", "the United Kingdom", "Scotland"]),
            ("US", &["us", "U.S.A.", "USA", "United States of America", "États-Unis"]),
            ("NL", &["The Netherlands", "Nederland", "NLD"]),
            ("BR", &["Brasil", "Brazil", "BRA"]),
            ("KR", &["대한민국", "South Korea", "Korea, Republic of"]),
            ("JP", &["日本", "JPN"]),
            ("CN", &["中国"]),
            ("IN", &["भारत", "Bharat"]),
            ("TR", &["Türkiye", "Turkiye", "Turkey"]),
            ("CH", &["Schweiz", "Suisse", "CHE"]),
            // What the table for telephone numbers knows.
            ("AR", &["Argentina", "AR"]),
            ("US-CA", &["US-CA", "us-ca"]),
            ("EU", &["EU"]),
        ];
        for (want, texts) in table {
            for text in texts {
                assert_eq!(law_of(text), Some(law(want)), "{text:?}");
            }
        }
        for none in ["", " ", "ZZ", "Bavaria", "Europe", "X", "ZZ-CA", "12", &"Germany ".repeat(30)] {
            assert_eq!(law_of(none), None, "{none:?}");
        }
    }

    #[test]
    fn every_country_of_the_union_and_of_the_table_reads_its_own_code_and_three_letters() {
        let europe = "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IS IT LI LT LU LV MT NL NO PL PT RO SE SI SK";
        let others = "GB CH US CA BR AU NZ JP KR CN IN MX ZA TR";
        for code in europe.split(' ').chain(others.split(' ')) {
            assert_eq!(law_of(code), Some(law(code)));
            let line = include_str!("countries.txt").lines().find(|line| line.starts_with(&format!("{code} = ")));
            let first = line.and_then(|line| line.split_once('=')).unwrap().1.split(',').next().unwrap().trim();
            assert!(first.len() == 3 && first.bytes().all(|byte| byte.is_ascii_uppercase()), "{code}: {first}");
            assert_eq!(law_of(first), Some(law(code)), "{first}");
        }
        let lines = include_str!("countries.txt").lines().filter_map(|line| line.split_once('='));
        let mut seen = std::collections::BTreeMap::new();
        for (code, names) in lines.filter(|(code, _)| !code.starts_with('#')) {
            for name in names.split(',').map(key) {
                let country = code.trim().split_once('-').map(|(country, _)| country);
                let before = seen.insert((country, name.clone()), code.trim()).filter(|before| *before != code.trim());
                assert_eq!(before, None, "{name} is two");
            }
        }
    }

    #[test]
    fn regions_are_read_in_their_country() {
        let table = [
            ("US", "CA", Some("US-CA")),
            ("US", "California", Some("US-CA")),
            ("US", "calif.", Some("US-CA")),
            ("US", "US-CA", Some("US-CA")),
            ("US", "Washington, D.C.", Some("US-DC")),
            ("US", "Ontario", None),
            ("CA", "Québec", Some("CA-QC")),
            ("CA", "on", Some("CA-ON")),
            ("CA", "California", None),
            ("DE", "BY", None),
            ("US-CA", "CA", None),
        ];
        for (country, region, want) in table {
            assert_eq!(part_of(law(country), region), want.map(law), "{country} {region}");
        }
        assert!(has_parts(law("US")) && has_parts(law("CA")) && !has_parts(law("DE")));
    }
}
