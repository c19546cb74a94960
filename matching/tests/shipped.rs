//! The models that ship: readable, nobody's, and sensible on a first fragment.

use onefold_matching::pair::{Features, Matcher, Model, Schema, Symbols, shipped_organisations, shipped_persons};

/// Texts by the fields' names, as a normaliser gives them.
fn features(schema: &Schema, texts: &[(&str, &str)]) -> Features {
    let mut features = Features::default();
    for field in &schema.fields {
        features.push(texts.iter().find(|(name, _)| *name == field.name).map_or("", |(_, text)| *text));
    }
    features
}

fn weight(model: &Model, one: &[(&str, &str)], other: &[(&str, &str)]) -> f32 {
    let matcher = Matcher::new(model.clone());
    let (mut symbols, mut rows) = (Symbols::default(), Vec::new());
    matcher.row(&mut symbols, &features(&model.schema, one), &mut rows);
    matcher.row(&mut symbols, &features(&model.schema, other), &mut rows);
    let (one, other) = rows.split_at(matcher.stride());
    matcher.weigh(&symbols, one, other)
}

#[test]
fn they_compare_what_every_tenant_has() {
    assert_eq!(shipped_persons().schema, Schema::person());
    assert_eq!(shipped_organisations().schema, Schema::organisation());
    for model in [shipped_persons(), shipped_organisations()] {
        assert_eq!(Model::from_json(&model.to_json()).as_ref(), Ok(model));
    }
}

#[test]
fn they_hold_nobodys_data() {
    let personal = ["phone", "email", "birth_date", "street", "house_number", "unit", "postcode", "domain", "name"];
    for model in [shipped_persons(), shipped_organisations()] {
        for (field, frequencies) in model.schema.fields.iter().zip(&model.frequencies) {
            let kept = &frequencies.values;
            assert!(!personal.contains(&field.name.as_str()) || kept.is_empty(), "{}: {kept:?}", field.name);
            assert!(!kept.keys().any(|value| value.contains('@') || value.bytes().any(|byte| byte.is_ascii_digit())));
        }
    }
}

#[test]
fn a_suffix_parts_namesakes_of_one_family() {
    let model = shipped_persons();
    let of = |suffix: &'static str| {
        [
            ("given_name", "david"),
            ("family_name", "dobbins"),
            ("name_suffix", suffix),
            ("house_number", "1450"),
            ("street", "city rd"),
            ("city", "arlington"),
            ("postcode", "23208"),
        ]
    };
    let link = model.link_bits as f32;
    assert!(weight(model, &of("jr"), &of("jr")) >= link);
    assert!(weight(model, &of("jr"), &of("")) >= link);
    assert!(weight(model, &of("jr"), &of("sr")) < model.review_bits as f32);
}

#[test]
fn a_second_given_name_may_be_written_as_one_word_with_the_first() {
    let model = shipped_persons();
    let two = [("given_name", "ruth"), ("middle_name", "ann"), ("family_name", "beltran")];
    let one = [("given_name", "ruthann"), ("family_name", "beltran")];
    let other = [("given_name", "ruthless"), ("family_name", "beltran")];
    let (one, other) = (weight(model, &two, &one), weight(model, &two, &other));
    assert!(one > other + 1.0, "{one:.1} bits, and {other:.1} of another name that begins so");
}

#[test]
fn short_names_that_many_bear_are_two_names() {
    let model = shipped_persons();
    let of = |given: &'static str| [("given_name", given), ("family_name", "kusha"), ("phone", "13305550123")];
    let (slip, other) = (weight(model, &of("mark"), &of("marq")), weight(model, &of("mark"), &of("mary")));
    assert!(other + 2.0 < slip, "mark and mary {other:.1} bits, mark and marq {slip:.1}");
}

#[test]
fn one_person_is_linked_and_kin_are_not() {
    let model = shipped_persons();
    let ada = [
        ("given_name", "ada"),
        ("family_name", "throckmorton"),
        ("birth_date", "19751210"),
        ("house_number", "12"),
        ("street", "elm st"),
        ("city", "akron"),
        ("postcode", "44301"),
        ("phone", "13305550123"),
    ];
    let with = |changes: &[(&'static str, &'static str)]| -> Vec<(&'static str, &'static str)> {
        let kept = ada.iter().filter(|(name, _)| !changes.iter().any(|(changed, _)| changed == name)).copied();
        kept.chain(changes.iter().copied()).collect()
    };
    let (link, review) = (model.link_bits as f32, model.review_bits as f32);
    let table = [
        ("herself", with(&[]), true),
        (
            "mistyped, moved",
            with(&[
                ("family_name", "throckmortin"),
                ("street", ""),
                ("house_number", ""),
                ("city", ""),
                ("postcode", ""),
            ]),
            true,
        ),
        ("a date that slipped", with(&[("birth_date", "19751012"), ("phone", "")]), true),
        ("her husband", with(&[("given_name", "george"), ("birth_date", "19710302")]), false),
        ("her twin", with(&[("given_name", "grace")]), false),
        ("her daughter of one name", with(&[("birth_date", "20030812")]), false),
        ("with a suffix that the other side leaves out", with(&[("name_suffix", "jr")]), true),
    ];
    for (who, other, same) in table {
        let bits = weight(model, &ada, &other);
        assert_eq!(bits >= link, same, "{who}: {bits:.1} bits, linked from {link}");
    }
    let namesake = [("given_name", "john"), ("family_name", "smith"), ("city", "new york")];
    let bits = weight(model, &namesake, &namesake);
    assert!(bits < review, "a common name in a large town: {bits:.1} bits, asked about from {review}");
}

#[test]
fn one_company_is_linked_and_neighbours_are_not() {
    let model = shipped_organisations();
    let shop = [
        ("name", "blackwood bakery"),
        ("city", "akron"),
        ("postcode", "44301"),
        ("domain", "blackwoodbakery.com"),
        ("phone", "13305550123"),
    ];
    let misspelt =
        [("name", "blackwod bakery"), ("city", "akron"), ("domain", "blackwoodbakery.com"), ("phone", "13305550123")];
    let neighbour = [("name", "pemberton bakery"), ("city", "akron"), ("postcode", "44301")];
    let sister = [
        ("name", "blackwood bakery"),
        ("city", "boise"),
        ("postcode", "83701"),
        ("domain", "blackwoodbakery.com"),
        ("phone", "12085550199"),
    ];
    let link = model.link_bits as f32;
    let table = [
        ("itself, misspelt", &misspelt[..], true),
        ("a neighbour", &neighbour[..], false),
        ("a sister", &sister[..], false),
    ];
    for (who, other, same) in table {
        let bits = weight(model, &shop, other);
        assert_eq!(bits >= link, same, "{who}: {bits:.1} bits, linked from {link}");
    }
}
