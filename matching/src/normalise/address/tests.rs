use proptest::prelude::*;

use super::*;

/// `number/street/unit`, and `box n` where there is one.
fn line(street: &str, unit: &str, country: &str) -> String {
    let address = PostalAddress::parse(AddressFields { street, unit, country, ..AddressFields::default() }, None);
    address.map_or_else(String::new, |PostalAddress { line, .. }| {
        let box_number = if line.po_box.is_empty() { String::new() } else { format!(" box {}", line.po_box) };
        format!("{}/{}/{}{box_number}", line.number, line.street, line.unit)
    })
}

#[test]
fn street_lines() {
    for (street, unit, country, want) in [
        ("4320 Fernwal Ave", "", "US", "4320/fernwal avenue/"),
        ("353 Sw 34Th Street", "", "US", "353/sw 34th street/"),
        ("353 Southwest 34th St.", "", "US", "353/sw 34th street/"),
        ("28 E Railroad St", "", "US", "28/e railroad street/"),
        ("427 North 12Th Stree", "", "US", "427/n 12th street/"),
        ("12 Fifth Avenue", "", "US", "12/5th avenue/"),
        ("4019 E Blue Skies Ste 152", "", "US", "4019/e blue skies/152"),
        ("4019 East Blue Skies, Suite 152", "", "US", "4019/e blue skies/152"),
        ("4019 E Blue Skies #152", "", "", "4019/e blue skies/152"),
        ("4019 E Blue Skies", "Apt. 152", "", "4019/e blue skies/152"),
        ("12 St James St", "", "GB", "12/saint james street/"),
        ("Flat 3, 12 High Street", "", "GB", "12/high street/3"),
        ("12, High Street", "", "GB", "12/high street/"),
        ("3/12 High St", "", "AU", "12/high street/3"),
        ("12-14 High Rd", "", "GB", "12-14/high road/"),
        ("Hauptstraße 97", "", "DE", "97/hauptstrasse/"),
        ("Hauptstraße97", "", "Deutschland", "97/hauptstrasse/"),
        ("Hauptstr. 97 a", "", "DE", "97a/hauptstrasse/"),
        ("Haupt Str. 97A", "", "DE", "97a/hauptstrasse/"),
        ("Am Markt 80", "", "DE", "80/am markt/"),
        ("Ansbacher Strasse 23", "", "", "23/ansbacherstrasse/"),
        ("Via Garibaldi 89", "", "IT", "89/via garibaldi/"),
        ("V.le Mazzini, 12", "", "IT", "12/v le mazzini/"),
        ("157 rue de la République", "", "FR", "157/rue de la republique/"),
        ("157, r. de la Republique", "", "FR", "157/rue de la republique/"),
        ("Avda. de la Constitución nº 3", "", "ES", "3/avenida de la constitucion/"),
        ("DOTTNINGGATAN 43", "", "SE", "43/dottninggatan/"),
        ("P.O. Box 1234", "", "US", "// box 1234"),
        ("PO Box 1234, 12 Main St", "", "US", "12/main street/ box 1234"),
        ("Postfach 10 12", "", "DE", "12// box 10"),
        ("500 6Th St, 303", "", "US", "500/6th street/303"),
        ("In Store Pickup", "", "", ""),
        ("Rose Cottage", "", "GB", "/rose cottage/"),
        ("", "", "", ""),
    ] {
        assert_eq!(line(street, unit, country), want, "{street:?} {unit:?} {country}");
    }
}

#[test]
fn whole_addresses_in_one_line() {
    for (whole, home, want) in [
        ("173 John Lane, Camden, NJ 08030", Some("US"), "173 john lane|camden|nj|08030|-"),
        ("1515 Adela Ln, LV, NV", Some("US"), "1515 adela lane|lv|nv|-|-"),
        ("Fieldstrasse 10, FL-2198 Triesen, Liechtenstein", None, "10 fieldstrasse|triesen||2198|LI"),
        ("Ansbacher Strasse 23, 56422 Dusseldorf", Some("DE"), "23 ansbacherstrasse|dusseldorf||56422|-"),
        ("10 Downing St, London SW1A 2AA, UK", None, "10 downing street|london||sw1a2aa|GB"),
    ] {
        let address = PostalAddress::parse(AddressFields { street: whole, ..AddressFields::default() }, home).unwrap();
        let got = format!(
            "{} {}|{}|{}|{}|{}",
            address.line.number,
            address.line.street,
            address.city,
            address.region,
            address.postcode.map_or_else(|| "-".to_owned(), |postcode| postcode.code),
            address.country.unwrap_or("-")
        );
        assert_eq!(got, want, "{whole}");
    }
}

#[test]
fn towns_and_regions() {
    let address =
        |city, region| PostalAddress::parse(AddressFields { city, region, ..AddressFields::default() }, None).unwrap();
    for (city, want) in [
        ("St. Louis", "saint louis"),
        ("Saint Louis", "saint louis"),
        ("Mt Vernon", "mount vernon"),
        ("PARIS CEDEX", "paris"),
    ] {
        assert_eq!(address(city, "").city, want);
    }
    for (region, want) in
        [("New York", "ny"), ("N.Y.", "n y"), ("ny", "ny"), ("Queensland", "qld"), ("Bayern", "bayern")]
    {
        assert_eq!(address("x", region).region, want);
    }
}

#[test]
fn postcodes() {
    use PostcodeShape::{Fits, Foreign, Unknown};
    for (raw, country, code, plus_four, area, shape) in [
        ("56566-7756", Some("US"), "56566", Some("7756"), "565", Fits),
        ("565667756", Some("US"), "56566", Some("7756"), "565", Fits),
        ("2139", Some("US"), "02139", None, "021", Fits),
        ("2139", Some("AU"), "2139", None, "213", Fits),
        ("SW1A 1AA", Some("GB"), "sw1a1aa", None, "sw1a", Fits),
        ("tw3 3uq", None, "tw33uq", None, "tw3", Unknown),
        ("D-81733", Some("DE"), "81733", None, "817", Fits),
        ("482 98", Some("SE"), "48298", None, "482", Fits),
        ("K1A 0B1", Some("CA"), "k1a0b1", None, "k1a", Fits),
        ("1012 AB", Some("NL"), "1012ab", None, "101", Fits),
        ("81733", Some("GB"), "81733", None, "817", Foreign),
        ("8173", Some("DE"), "8173", None, "817", Foreign),
        ("12", Some("HK"), "12", None, "12", Unknown),
    ] {
        let got = Postcode::parse(raw, country).unwrap();
        let got = (got.code.as_str(), got.plus_four.as_deref(), got.area(), got.shape);
        assert_eq!(got, (code, plus_four, area, shape), "{raw} {country:?}");
    }
    assert_eq!(Postcode::parse(" - ", None), None);
    assert_eq!(Postcode::parse(&"1".repeat(30), None), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]
    #[test]
    fn any_text_gives_a_bounded_answer(
        street in prop_oneof![any::<String>(), "([0-9]{1,3}[ab]?|st|Str|#|apt|N|Haupt|straße|,|/|-| |box|é|no){0,12}"],
        unit in "\\PC{0,10}", city in any::<String>(), postcode in "\\PC{0,12}",
        country in prop::sample::select(vec!["", "US", "GB", "DE", "AU"]),
    ) {
        let fields = AddressFields { street: &street, unit: &unit, city: &city, region: "", postcode: &postcode, country };
        if let Some(PostalAddress { line, city: town, .. }) = PostalAddress::parse(fields, None) {
            let len = line.number.len() + line.street.len() + line.unit.len() + line.po_box.len();
            prop_assert!(len <= 3 * (street.len() + unit.len()) + 64, "{:?}", line);
            prop_assert!(town.len() <= 3 * (city.len() + street.len()) + 64);
        }
    }
}
