//! Postal addresses.
//!
//! No world parser: a line is folded, its unit and house number are found by their marks and places, and words for kinds
//! of street are spelled out per language. What two people write of one door comes out alike often enough to compare; what
//! is not understood stays in the street's text.

mod postcode;
mod street;

pub use postcode::{Postcode, PostcodeShape};
pub use street::StreetLine;

use std::sync::LazyLock;

use hashbrown::HashMap;
use onefold_core::identifier::region::country_code;

use super::text::fold;

/// An address's fields as a source gives them; empty where it gives none.
#[derive(Clone, Copy, Debug, Default)]
pub struct AddressFields<'a> {
    /// Street and house number, or the whole address in one line.
    pub street: &'a str,
    /// Flat, suite, floor.
    pub unit: &'a str,
    /// Town.
    pub city: &'a str,
    /// State, province, canton.
    pub region: &'a str,
    /// Postal code.
    pub postcode: &'a str,
    /// Country, as code or name.
    pub country: &'a str,
}

/// An address in comparable form. Texts are folded; empty where unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PostalAddress {
    /// Street line, taken apart.
    pub line: StreetLine,
    /// Town, `st` and the like spelled out.
    pub city: String,
    /// State or province: its usual code where it is known (`ny`, `nsw`), folded otherwise.
    pub region: String,
    /// Postal code.
    pub postcode: Option<Postcode>,
    /// ISO 3166 code.
    pub country: Option<&'static str>,
}

impl PostalAddress {
    /// Reads the fields; `home` is the country to assume where the address names none. `None` when nothing is in them.
    #[must_use]
    pub fn parse(fields: AddressFields<'_>, home: Option<&str>) -> Option<Self> {
        let mut address = Self { country: country_code(fields.country), ..Self::default() };
        let whole_in_one_line = fields.street.contains(',') && fields.city.is_empty() && fields.postcode.is_empty();
        let mut street_parts: Vec<&str> = split_line(fields.street).collect();
        if whole_in_one_line {
            address.take_tail(&mut street_parts, home);
        }
        let country = address.country.or_else(|| home.and_then(country_code));
        address.line = StreetLine::parse(&street_parts, fields.unit, country);
        if !fields.city.is_empty() {
            address.city = city(fields.city);
        }
        if !fields.region.is_empty() {
            address.region = region(fields.region);
        }
        if let Some(found) = Postcode::parse(fields.postcode, country) {
            address.postcode = Some(found);
        }
        let empty = address.line == StreetLine::default()
            && address.city.is_empty()
            && address.region.is_empty()
            && address.postcode.is_none()
            && address.country.is_none();
        (!empty).then_some(address)
    }

    /// Takes country, postcode, region and city off the end of a whole address: `…, Camden, NJ 08030`, `…, 56422
    /// Dusseldorf, Germany`.
    fn take_tail(&mut self, parts: &mut Vec<&str>, home: Option<&str>) {
        if let Some(last) = parts.last().filter(|_| parts.len() > 1)
            // Two letters are a state's code rather than a country's.
            && (last.len() > 2 || last.eq_ignore_ascii_case("uk"))
            && let Some(code) = country_code(last)
        {
            self.country = Some(code);
            parts.pop();
        }
        let country = self.country.or_else(|| home.and_then(country_code));
        for _ in 0..3 {
            let Some(part) = parts.last().copied().filter(|_| parts.len() > 1) else { return };
            if street::is_part_of_street(part, &parts[..parts.len() - 1]) {
                return;
            }
            let done = self.take_place(part, country);
            parts.pop();
            if done {
                return;
            }
        }
    }

    /// Reads one part behind the street; true when the city was found, which ends the tail.
    fn take_place(&mut self, part: &str, country: Option<&str>) -> bool {
        let mut words: Vec<&str> = part.split_whitespace().collect();
        if self.postcode.is_none() {
            // A code at either end, in one or two words: `NJ 08030`, `56422 Dusseldorf`, `London SW1A 1AA`.
            for (from, to) in [
                (0, 1),
                (words.len().saturating_sub(1), words.len()),
                (words.len().saturating_sub(2), words.len()),
                (0, 2),
            ] {
                if from >= to || to > words.len() {
                    continue;
                }
                let code = words[from..to].concat();
                if let Some(found) = Postcode::parse(&code, country).filter(|found| {
                    found.code.contains(|c: char| c.is_ascii_digit())
                        && found.shape != PostcodeShape::Foreign
                        && found.code.len() >= 4
                }) {
                    self.postcode = Some(found);
                    words.drain(from..to);
                    break;
                }
            }
        }
        let rest = words.join(" ");
        if rest.is_empty() {
            return false;
        }
        let folded = fold(&rest);
        if self.region.is_empty()
            && (REGIONS.contains_key(folded.as_str()) || (folded.len() <= 3 && REGION_CODES.contains(&folded.as_str())))
        {
            self.region = region(&rest);
            return false;
        }
        self.city = city(&rest);
        true
    }
}

fn split_line(line: &str) -> impl Iterator<Item = &str> {
    line.split([',', ';', '\n', '|']).map(str::trim).filter(|part| !part.is_empty())
}

/// A town: folded, short words spelled out, delivery marks gone.
fn city(raw: &str) -> String {
    let folded = fold(raw);
    let mut city = String::with_capacity(folded.len() + 8);
    for (place, word) in folded.split(' ').enumerate() {
        let word = match word {
            "st" if place == 0 => "saint",
            "ste" if place == 0 => "sainte",
            "ft" if place == 0 => "fort",
            "mt" => "mount",
            "n" if place == 0 => "north",
            "s" if place == 0 => "south",
            "e" if place == 0 => "east",
            "w" if place == 0 => "west",
            "twp" => "township",
            "hts" => "heights",
            "cedex" => continue,
            _ => word,
        };
        if !city.is_empty() {
            city.push(' ');
        }
        city.push_str(word);
    }
    city
}

fn region(raw: &str) -> String {
    let folded = fold(raw);
    REGIONS.get(folded.as_str()).map_or(folded, |code| (*code).to_owned())
}

/// Full names of states and provinces that have codes in everyday use: the United States, Canada, Australia.
static REGIONS: LazyLock<HashMap<&'static str, &'static str>> = LazyLock::new(|| {
    include_str!("address/regions.txt")
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(code, name)| (name.trim(), code.trim()))
        .collect()
});

static REGION_CODES: LazyLock<Vec<&'static str>> = LazyLock::new(|| REGIONS.values().copied().collect());

#[cfg(test)]
mod tests;
