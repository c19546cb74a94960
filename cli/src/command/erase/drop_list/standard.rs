//! The forms in which the lists of DROP know people, and their hashes.
//!
//! SHA-256 over UTF-8, in base64. Of one field: e-mail addresses in lower case without spaces; telephones by their last ten
//! digits; device ids (of telephones and of television sets) and vehicles by letters and digits. Of several: each field is
//! hashed, what comes out is joined in base64, and hashed again: given name, family name, birth date, ZIP code; given name,
//! family name, vehicle. Source: technical specifications of the platform, 1.2.0 of 2 July 2026, "Working with the data", whose
//! worked examples are the test below.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use onefold_core::date::{DateCustom, read_date};
use onefold_core::fragment::ObservedAt;
use onefold_matching::normalise::name::PersonName;
use onefold_matching::normalise::text::fold;
use onefold_proto::v1 as pb;

/// Digits by which the lists know a telephone.
const PHONE_DIGITS: usize = 10;
/// Letters and digits by which they know a ZIP code.
const ZIP_LENGTH: usize = 5;
/// Bytes of a hash.
const HASH_BYTES: usize = 32;
/// How many forms of one field of one person are put together with those of the others.
const FORMS_MAX: usize = 8;

/// A hash of a list.
pub type Hash = [u8; HASH_BYTES];

pub fn hash_of(standard: &str) -> Hash {
    let mut hash = [0; HASH_BYTES];
    hash.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, standard.as_bytes()).as_ref());
    hash
}

/// The hash that a cell holds.
pub fn parsed(cell: &str) -> Option<Hash> {
    STANDARD.decode(cell).ok()?.try_into().ok()
}

/// A field as it is put together with others.
fn field(standard: &str) -> String {
    STANDARD.encode(hash_of(standard))
}

fn letters_and_digits(text: &str) -> String {
    text.chars().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// The form in which a list hashes an identifier alone; none for kinds that it does not know.
pub fn of_identifier(namespace: &str, value: &str) -> Option<String> {
    // `ios.idfa` is a device's as `idfa` is.
    match namespace.rsplit('.').next().unwrap_or(namespace) {
        "email" => Some(value.chars().filter(|letter| !letter.is_whitespace()).flat_map(char::to_lowercase).collect()),
        "phone" => {
            let digits: String = value.chars().filter(char::is_ascii_digit).collect();
            digits.len().checked_sub(PHONE_DIGITS).map(|from| digits[from..].to_owned())
        }
        "device_id" | "maid" | "idfa" | "gaid" | "aaid" | "ctv_id" | "ctvid" => Some(letters_and_digits(value)),
        _ => None,
    }
    .filter(|standard| !standard.is_empty())
}

/// Letters and digits in lower case, the four behind a dash and zeroes in front left out, the first five.
fn zip(text: &str) -> String {
    let base = text.trim().split_once('-').map_or(text, |(base, _)| base);
    letters_and_digits(base).trim_start_matches('0').chars().take(ZIP_LENGTH).collect()
}

/// The ways to write a name: its letters as they are, and without their accents.
fn name_forms(text: &str) -> [String; 2] {
    [letters_and_digits(text), letters_and_digits(&fold(text))]
}

/// The birth dates that a text may mean, in the custom of the country whose list it is.
fn birth_dates(text: &str, observed_at: ObservedAt) -> impl Iterator<Item = String> {
    let read = read_date(text, DateCustom::of(Some("US"), observed_at));
    let dates = read.into_iter().flat_map(|read| [Some(read.date), read.other]).flatten();
    dates.filter_map(|date| Some(format!("{:04}{:02}{:02}", date.year, date.month?, date.day?)))
}

/// The fields of a person by which lists know them, each in all its forms.
#[derive(Default)]
struct Forms {
    names: BTreeSet<[String; 2]>,
    births: BTreeSet<String>,
    zips: BTreeSet<String>,
    vehicles: BTreeSet<String>,
}

impl Forms {
    fn of(profile: &pb::Profile) -> Self {
        let values = || profile.values.iter().chain(&profile.other_values);
        let texts = |name: &'static str| {
            values().filter(move |value| value.name == name).filter_map(|value| match &value.value {
                Some(pb::golden_value::Value::Text(text)) => Some(text.as_str()),
                _ => None,
            })
        };
        let mut forms = Self::default();
        let mut given: Vec<String> = texts("given_name").map(str::to_owned).collect();
        for middle in texts("middle_name") {
            given.extend(texts("given_name").map(|given| format!("{given} {middle}")));
        }
        let mut names: Vec<(String, String)> = Vec::new();
        for family in texts("family_name") {
            names.extend(given.iter().map(|given| (given.clone(), family.to_owned())));
        }
        for full in texts("full_name").filter_map(PersonName::parse) {
            names.push((format!("{} {}", full.given, full.middle), full.family.clone()));
            names.push((full.given, full.family));
        }
        for (given, family) in names {
            let [plain, folded] = [name_forms(&given), name_forms(&family)];
            let pairs = plain.into_iter().zip(folded).map(|(given, family)| [given, family]);
            forms.names.extend(pairs.filter(|pair| pair.iter().all(|name| !name.is_empty())));
        }
        let observed_at = profile.observed_time.as_ref().map_or(0, |time| time.seconds.saturating_mul(1_000_000));
        forms.births.extend(texts("birth_date").flat_map(|text| birth_dates(text, ObservedAt(observed_at))));
        forms.zips.extend(texts("address.postcode").map(zip).filter(|zip| !zip.is_empty()));
        let vehicles = profile.identifiers.iter().filter(|identifier| identifier.namespace == "vin");
        forms.vehicles.extend(vehicles.map(|vehicle| letters_and_digits(&vehicle.value)));
        forms
    }

    /// What names, with other fields behind them, hash to; and whether some were left out.
    fn hashes(&self) -> (Vec<Hash>, bool) {
        let fields = |of: &BTreeSet<String>| of.iter().take(FORMS_MAX).map(|one| field(one)).collect::<Vec<String>>();
        let names: Vec<String> =
            self.names.iter().take(2 * FORMS_MAX).map(|[given, family]| field(given) + &field(family)).collect();
        let (births, zips, vehicles) = (fields(&self.births), fields(&self.zips), fields(&self.vehicles));
        let mut hashes = Vec::new();
        for name in &names {
            for birth in &births {
                hashes.extend(zips.iter().map(|zip| hash_of(&[name, birth, zip].map(String::as_str).concat())));
            }
            hashes.extend(vehicles.iter().map(|vehicle| hash_of(&[name, vehicle].map(String::as_str).concat())));
        }
        let is_over = |of: &BTreeSet<String>| of.len() > FORMS_MAX;
        let over =
            self.names.len() > 2 * FORMS_MAX || [&self.births, &self.zips, &self.vehicles].into_iter().any(is_over);
        (hashes, over)
    }
}

/// The hashes that a profile has by its names; and whether it says so much that some were left out.
pub fn of_names(profile: &pb::Profile) -> (Vec<Hash>, bool) {
    Forms::of(profile).hashes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(name: &str, text: &str) -> pb::GoldenValue {
        let value = Some(pb::golden_value::Value::Text(text.to_owned()));
        pb::GoldenValue { name: name.to_owned(), value, ..Default::default() }
    }

    #[test]
    fn single_fields_hash_as_the_platform_says() {
        let table = [
            ("email", "Anna.Smith@Domain.com", "KA18MT/ph6IHYjzT9zwETySDQyvSh87YuoSBpOQtkhE="),
            ("phone", "+1(415)555-9317", "vGM7y5n+hBXRSEAklhHDPCbysyNgYTmXdMcagGUOY8E="),
            ("device_id", "a3f1c2d4-5678-90ab-cdef-1234567890ab", "250KY6lOgzYUB3EHrkbDCE2kMEZQE69SF38muhoDudI="),
            ("ios.idfa", "a3f1c2d4-5678-90ab-cdef-1234567890ab", "250KY6lOgzYUB3EHrkbDCE2kMEZQE69SF38muhoDudI="),
            ("device_id", "SmartTV_9F8E7D6C", "d9fxuTIrKksBXYDlaWsvQbcyUUfCbUx7v78gd+KP+tc="),
        ];
        for (namespace, typed, want) in table {
            let hash = of_identifier(namespace, typed).map(|standard| field(&standard));
            assert_eq!(hash.as_deref(), Some(want), "{namespace}");
            assert_eq!(parsed(want), of_identifier(namespace, typed).map(|standard| hash_of(&standard)));
        }
        for (namespace, typed) in [("phone", "12345"), ("crm_id", "7"), ("device_id", "-")] {
            assert_eq!(of_identifier(namespace, typed), None, "{namespace}");
        }
        for bad in ["", "id", "vGM7y5n+hBXRSEAklhHDPCbysyNgYTmXdMcagGUOY8", "AAAA"] {
            assert_eq!(parsed(bad), None, "{bad}");
        }
    }

    #[test]
    fn fields_of_several_hash_as_the_platform_says() {
        let dates: Vec<String> = birth_dates("July 4, 1776", ObservedAt(0)).collect();
        let table = [
            (letters_and_digits("Juan Pablo"), "91hIbrbzNeqHs3o81O5yNrXUj7wDd2shvZ6THKi9qz8="),
            (letters_and_digits("Martinez"), "2wRPGbwBNxhShjRczx8GfS2c4cjvs4NJskeWloUNtp8="),
            (dates.concat(), "skXYXxBER6HQTZ3rXSZH1wVGLQ054mS5rbR/bwvzy4I="),
            (zip("91790-3771"), "2FPZucR4x7U8KlM+SFAX4LPGhwNz/PIZUCSUdDh0o/s="),
            (zip("M1B 1A1"), "n8L9q8mVeT6Xt9/EeUNiTukGDrkbPJ3DvOEx14uElxk="),
            (zip("00712345"), "aeNUYKh7Xw5sqpxSbSP9eOHsj6iXewbUyavv89DIuhQ="),
            (letters_and_digits("1HGCM82633A004352"), "iNswy1m+0VSt8jAfFrvaiQ1R/0HAbgSwNGkwqo6QBss="),
        ];
        for (standard, want) in table {
            assert_eq!(field(&standard), want, "{standard}");
        }
        assert_eq!(zip("02139-1234"), "2139");
    }

    /// By a name in parts or in one, by a value that lost, with or without accents.
    #[test]
    fn persons_are_known_by_all_that_they_are_called() {
        let ndz = parsed("PQOfn1RffEKmqMmNAzDKKaoZCwxWbQZkQzPWmQo9REA=").unwrap();
        let of = |values: Vec<pb::GoldenValue>, other_values| {
            of_names(&pb::Profile { values, other_values, ..Default::default() })
        };
        let rest = |birth: &str| vec![value("birth_date", birth), value("address.postcode", "91790")];
        let parts = vec![value("given_name", "Danielle"), value("family_name", "Johnson")];
        for (names, rest) in [
            (parts.clone(), rest("1985-07-04")),
            (parts.clone(), rest("July 4, 1985")),
            (vec![value("full_name", "Danielle Johnson")], rest("07/04/1985")),
            (vec![value("full_name", "Johnson, Danielle Mae")], rest("1985-07-04")),
            (vec![value("given_name", "Daniëlle"), value("family_name", "Johnson")], rest("1985-07-04")),
        ] {
            let (hashes, over) = of(names.clone(), rest.clone());
            assert!(hashes.contains(&ndz) && !over, "{names:?} {rest:?}");
            assert!(of(rest, names).0.contains(&ndz), "values that lost count");
        }
        assert_eq!(of(parts.clone(), vec![]), (vec![], false), "a name alone is no identity");

        let vehicle = pb::ProfileIdentifier {
            namespace: "vin".to_owned(),
            value: "1HGCM82633A004352".to_owned(),
            ..Default::default()
        };
        let eve = pb::Profile {
            values: vec![value("given_name", "Eve"), value("family_name", "Genesis")],
            identifiers: vec![vehicle],
            ..Default::default()
        };
        let name_vin = parsed("rtnDuXIe63jXYQQXW5r07GJ7lSsrib8+46QuKFwkOmk=").unwrap();
        assert_eq!(of_names(&eve), (vec![name_vin], false));

        let many = (10..30).map(|day| value("birth_date", &format!("1985-07-{day}"))).collect();
        let (hashes, over) = of(parts, [many, vec![value("address.postcode", "91790")]].concat());
        assert_eq!((hashes.len(), over), (FORMS_MAX, true), "what one person says has a bound, and is told");
    }
}
