//! What a match model promises, whatever it is fed.

use onefold_matching::pair::comparison::{Aspect, SILENT};
use onefold_matching::pair::schema::{Field, FieldKind};
use onefold_matching::pair::train::{Census, Options, Rows, train};
use onefold_matching::pair::{Features, Matcher, Model, Schema, Symbols};
use proptest::prelude::*;
use smallvec::SmallVec;

fn features(texts: &[String]) -> Features {
    let mut features = Features::default();
    texts.iter().for_each(|text| features.push(text));
    features
}

fn schema() -> Schema {
    let mut schema = Schema::person();
    schema.fields.push(Field::namespace("card", FieldKind::Identifier));
    schema.fields.push(Field::attribute("note", FieldKind::Text));
    schema.fields.push(Field::attribute("size", FieldKind::Number));
    schema
}

/// Texts as a normaliser would give them, and some that none would.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => Just(String::new()),
        4 => "[a-d]{1,6}",
        2 => "[a-c]{2,4} [a-c]{2,5}",
        1 => "(васильев|ивано|ng|müller|öz|陳大文|e)",
        1 => "19[0-9]{6}",
        1 => "[a-c]{1,3}@[a-c]{1,3}\\.de",
        1 => "\\PC{0,12}",
    ]
}

fn record(fields: usize) -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec(text(), fields)
}

fn rows_of(matcher: &Matcher, symbols: &mut Symbols, records: &[Vec<String>]) -> Vec<u32> {
    let mut rows = Vec::new();
    records.iter().for_each(|texts| matcher.row(symbols, &features(texts), &mut rows));
    rows
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    /// LAW 2: neither which row is named first nor how symbols are numbered shows in weight, waterfall or keys.
    #[test]
    fn weights_and_keys_hang_on_content_alone(a in record(18), b in record(18), other in record(18)) {
        for schema in [schema(), { let mut schema = Schema::organisation(); schema.fields.extend(self::schema().fields.split_off(15)); schema }] {
            let stride = schema.fields.len();
            let fit = |texts: &[String]| texts.iter().cycle().take(stride).cloned().collect::<Vec<_>>();
            let (a, b, other) = (fit(&a), fit(&b), fit(&other));
            let matcher = Matcher::new(Model::untrained(schema));
            let mut symbols = Symbols::default();
            let rows = rows_of(&matcher, &mut symbols, &[a.clone(), b.clone()]);
            let (one, two) = rows.split_at(stride);
            let weight = matcher.weigh(&symbols, one, two);
            prop_assert!(weight.is_finite());
            prop_assert_eq!(weight.to_bits(), matcher.weigh(&symbols, two, one).to_bits(), "symmetric");
            for above in [-40.0, -3.0, -0.005, 0.0, 0.005, 3.0, 40.0] {
                let least = weight + above;
                let wanted = (weight >= least).then(|| weight.to_bits());
                let found = matcher.weigh_above(&symbols, one, two, least);
                prop_assert_eq!(found.map(f32::to_bits), wanted, "above {} of {}", least, weight);
            }
            let fall = matcher.waterfall(&symbols, one, two);
            prop_assert!((fall.total_bits - weight).abs() < 1e-3, "{} {}", fall.total_bits, weight);
            prop_assert!(fall.bars.iter().all(|bar| bar.level != SILENT || bar.m_bits == 0.0));

            let mut renumbered = Symbols::default();
            let rows_again = rows_of(&matcher, &mut renumbered, &[other, b, a]);
            let (two_again, one_again) = (&rows_again[stride..2 * stride], &rows_again[2 * stride..]);
            prop_assert_eq!(weight.to_bits(), matcher.weigh(&renumbered, one_again, two_again).to_bits());
            let keys = |symbols: &Symbols, row: &[u32]| {
                let mut keys = SmallVec::new();
                matcher.keys(symbols, row, &mut keys);
                keys
            };
            prop_assert_eq!(keys(&symbols, one), keys(&renumbered, one_again));
            prop_assert!(keys(&symbols, one).windows(2).all(|pair| pair[0] < pair[1]), "sorted, no key twice");
        }
    }

    /// LAW 7: what no row holds is gone, and what rows hold stays what it was through releases and compaction.
    #[test]
    fn released_texts_are_gone_and_kept_ones_stay(
        texts in proptest::collection::vec("[a-z]{200,400}", 2..40),
        keep in proptest::collection::vec(any::<bool>(), 40),
    ) {
        let mut schema = Schema::person();
        schema.fields.truncate(1);
        let matcher = Matcher::new(Model::untrained(schema));
        let mut symbols = Symbols::default();
        let records: Vec<Vec<String>> = texts.iter().map(|text| vec![text.clone()]).collect();
        let rows = rows_of(&matcher, &mut symbols, &records);
        for (symbol, _) in rows.iter().zip(&keep).filter(|(_, keep)| !**keep) {
            symbols.release(*symbol);
        }
        for ((symbol, text), _) in rows.iter().zip(&texts).zip(&keep).filter(|(_, keep)| **keep) {
            prop_assert_eq!(symbols.text(*symbol), text.as_str());
        }
    }
}

/// What is known of two texts must not outlive them: their symbols will mean others.
#[test]
fn symbols_that_mean_other_texts_are_not_taken_for_the_old_ones() {
    let matcher = Matcher::new(Model::untrained(Schema::person()));
    let stride = matcher.stride();
    let pair_of = |one: &str, other: &str| -> Vec<Vec<String>> {
        let texts =
            |given: &str| (0..stride).map(|at| if at == 0 { given.to_owned() } else { String::new() }).collect();
        vec![texts(one), texts(other)]
    };
    let mut symbols = Symbols::default();
    let weigh = |symbols: &mut Symbols, one: &str, other: &str| {
        let rows = rows_of(&matcher, symbols, &pair_of(one, other));
        (matcher.weigh(symbols, &rows[..stride], &rows[stride..]), rows)
    };
    for round in 0..3_000 {
        let (one, other) = (format!("annabella{}", round % 7), format!("annabelle{}", round % 11));
        let (like, rows) = weigh(&mut symbols, &one, &other);
        rows.iter().for_each(|symbol| symbols.release(*symbol));
        let (unlike, rows) = weigh(&mut symbols, "zoe", &format!("quentin{}", round % 13));
        rows.iter().for_each(|symbol| symbols.release(*symbol));
        assert!(like > unlike + 3.0, "round {round}: {like} and {unlike}");
    }
}

#[test]
fn an_artefact_reads_back_and_a_broken_one_names_its_fault() {
    let model = Model::untrained(schema());
    assert_eq!(Model::from_json(&model.to_json()).unwrap(), model);
    type Spoil = fn(&mut Model);
    let broken: [(&str, Spoil); 7] = [
        ("format 9", |model| model.format = 9),
        ("match_prior", |model| model.match_prior = 0.0),
        ("link_bits", |model| model.review_bits = model.link_bits + 1.0),
        ("block_records_max", |model| model.block_records_max = 1),
        ("comparisons[0].levels", |model| model.comparisons[0].levels.truncate(3)),
        ("frequencies", |model| model.frequencies.truncate(3)),
        ("comparisons[0].aspect", |model| {
            if let Aspect::GivenName { middle, .. } = &mut model.comparisons[0].aspect {
                *middle = 99;
            }
        }),
    ];
    for (fault, spoil) in broken {
        let mut spoilt = model.clone();
        spoil(&mut spoilt);
        let told = Model::from_json(&spoilt.to_json()).unwrap_err().to_string();
        assert!(told.contains(fault), "{fault}: {told}");
    }
    assert!(Model::from_json("{").unwrap_err().to_string().contains("cannot be read"));
}

/// A population with known habits: each person two records; names differ in a tenth of the pairs, cities in half.
fn population(persons: u32) -> (Vec<Vec<String>>, Vec<Option<u32>>) {
    let mut records = Vec::new();
    let mut labels = Vec::new();
    let mut seed = 7_u64;
    let mut below = move |bound: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % bound
    };
    let word = |number: u64| -> String {
        (0..6).map(|at| char::from(b'a' + ((number / 7_u64.pow(at)) % 7 * 3 + u64::from(at) % 3) as u8)).collect()
    };
    for person in 0..persons {
        let (given, family, day, city) = (below(4_000), below(9_000), below(20_000), below(30));
        for copy in 0..2 {
            let mut texts = vec![String::new(); Schema::person().fields.len()];
            texts[0] = word(if copy == 1 && below(10) == 0 { below(4_000) } else { given });
            texts[2] = word(family + 50_000);
            texts[4] = format!("19{:02}{:02}{:02}", day % 100, day / 100 % 12 + 1, day / 1_200 % 28 + 1);
            texts[9] = word(if copy == 1 && below(2) == 0 { below(30) } else { city } + 200_000);
            records.push(texts);
            labels.push(Some(person));
        }
    }
    (records, labels)
}

#[test]
fn training_finds_the_habits_without_labels_and_with_them() {
    let (records, labels) = population(1_500);
    let mut census = Census::new(&Schema::person());
    records.iter().for_each(|texts| census.add(&features(texts)));
    let mut untrained = Model::untrained(Schema::person());
    census.tell(&mut untrained);
    let matcher = Matcher::new(untrained.clone());
    let mut symbols = Symbols::default();
    let rows = rows_of(&matcher, &mut symbols, &records);
    let data = Rows { symbols: &symbols, rows: &rows };
    let truth = 1_500.0 / (3_000.0 * 2_999.0 / 2.0);
    for labels in [None, Some(labels.as_slice())] {
        let model = train(untrained.clone(), &data, Options { labels, version: "test" });
        model.check().unwrap();
        let level = |name: &str, at: usize| model.comparisons.iter().find(|one| one.name == name).unwrap().levels[at];
        assert!((0.8..0.95).contains(&level("given_name", 1).m), "given {:?}", level("given_name", 1));
        assert!(level("birth_date", 1).m > 0.9 && level("birth_date", 1).u < 0.002, "{:?}", level("birth_date", 1));
        assert!((truth * 0.7..truth * 1.3).contains(&model.match_prior), "{} for {truth}", model.match_prior);
        let again = train(untrained.clone(), &data, Options { labels, version: "test" });
        assert_eq!(again, model, "the same rows give the same model");
        let matcher = Matcher::new(model);
        let stride = matcher.stride();
        let row = |at: usize| &rows[at * stride..(at + 1) * stride];
        let right =
            (0..1_500).filter(|person| matcher.weigh(&symbols, row(2 * person), row(2 * person + 1)) > 0.0).count();
        let wrong =
            (0..1_499).filter(|person| matcher.weigh(&symbols, row(2 * person), row(2 * person + 2)) > 0.0).count();
        assert!(right > 1_450 && wrong == 0, "{right} right, {wrong} wrong");
    }
}

#[test]
fn a_value_of_few_parties_stays_out_of_the_model() {
    let (mut records, _) = population(400);
    records[0][2] = "unmistakable".to_owned();
    records[1][2] = "unmistakable".to_owned();
    let mut census = Census::new(&Schema::person());
    records.iter().for_each(|texts| census.add(&features(texts)));
    let mut model = Model::untrained(Schema::person());
    census.tell(&mut model);
    let frequencies = model.frequencies;
    assert!(!frequencies[2].values.contains_key("unmistakable"), "two records may be one person");
    assert!(frequencies[9].values.len() > 20, "cities are shared");
}

#[test]
fn a_model_is_read_as_it_was_written_to_the_last_bit() {
    let mut model = Model::untrained(Schema::person());
    for round in 0..40 {
        // Numbers of which many are read as their neighbours where a reader takes the quick way.
        let (mut at, levels) = (0, model.comparisons.iter_mut().flat_map(|comparison| &mut comparison.levels));
        for level in levels {
            at += 1;
            level.m = f64::from(37 * at + round) / 7_919.0;
            level.u = 0.000_098_6 / f64::from(at + round);
        }
        assert_eq!(Model::from_json(&model.to_json()).unwrap(), model, "round {round}");
    }
}
