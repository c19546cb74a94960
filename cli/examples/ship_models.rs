//! Fits the models that ship, and writes them where the library embeds them:
//! `cargo run --release -p onefold-cli --example ship_models [FOLDER]`, by default `matching/src/pair/shipped`.
//!
//! They are fitted with labels to generated populations. What a generated population has too little or too much of is
//! tempered: its typing habits count as much as the usual ones, names that it does not know are taken for no rarer than a
//! surname of a small town, and of values only those stay that several parties share and that mean something elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use onefold_cli::generate::{ClusterId, Population, Sizes, fragment, tenant};
use onefold_core::fragment::PartyKind;
use onefold_core::identifier::region;
use onefold_matching::normalise::company::trade_words;
use onefold_matching::pair::schema::FieldKind;
use onefold_matching::pair::symbols::Symbols;
use onefold_matching::pair::train::{Census, Options, Rows, train};
use onefold_matching::pair::{Extractor, Features, Matcher, Model, Schema};

/// Small on purpose: a value that so many records do not show is taken for no rarer than it can be shown to be.
const PARTIES: u32 = 5_000;
const SEED: u64 = 20_260_101;
/// Chance that two records drawn at random are one party: a tenant of some hundred thousand records.
const MATCH_PRIOR: f64 = 1.0 / 131_072.0;
/// Of organisations: lists of them are shorter.
const MATCH_PRIOR_ORGANISATIONS: f64 = 1.0 / 16_384.0;
/// Kin for each match.
const KIN_SHARE: f64 = 0.5;
/// Where the lines lie: nothing is known yet of the tenant's own data, so more is asked for than of a fitted model.
const LINK_BITS: f64 = 5.0;
const REVIEW_BITS: f64 = -1.0;
/// Distinct parties behind a value that stays.
const PARTIES_MIN: usize = 3;
/// One in so many names of organisations holds each trade word, where the population has none.
const TRADE_WORD_IN: u64 = 100;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).map_or_else(|| PathBuf::from("matching/src/pair/shipped"), PathBuf::from);
    std::fs::create_dir_all(&folder)?;
    for (schema, file, version) in [
        (Schema::person(), "persons.json", "shipped persons 2"),
        (Schema::organisation(), "organisations.json", "shipped organisations 1"),
    ] {
        let model = fitted(schema, version)?;
        model.check()?;
        std::fs::write(folder.join(file), model.to_json() + "\n")?;
    }
    Ok(())
}

fn fitted(schema: Schema, version: &str) -> Result<Model, Box<dyn Error>> {
    let config = Arc::new(tenant());
    let sizes = match schema.party {
        PartyKind::Person => Sizes { people: PARTIES, companies: 0 },
        PartyKind::Organisation => Sizes { people: 0, companies: PARTIES },
    };
    let extractor = Extractor::new(&schema, &config)?;
    let records: Vec<(ClusterId, Features)> = Population::new(SEED, sizes)
        .filter_map(|record| {
            let fragment = fragment(&record, &config)?;
            let features = extractor.features(&fragment, region::of(&fragment, &config));
            (fragment.party == schema.party).then_some((record.cluster, features))
        })
        .collect();

    let mut census = Census::new(&schema);
    records.iter().for_each(|(_, features)| census.add(features));
    let habits = Model::untrained(schema.clone());
    let mut model = habits.clone();
    census.tell(&mut model);
    let matcher = Matcher::new(model.clone());
    let (mut symbols, mut rows) = (Symbols::default(), Vec::new());
    records.iter().for_each(|(_, features)| matcher.row(&mut symbols, features, &mut rows));
    let labels: Vec<Option<u32>> = records.iter().map(|(cluster, _)| Some(cluster.ordinal)).collect();
    let options = Options { labels: Some(&labels), version };
    let mut model = train(model, &Rows { symbols: &symbols, rows: &rows }, options);

    temper(&mut model, &habits);
    keep_what_several_share(&mut model, &records);
    if schema.party == PartyKind::Organisation {
        let names = model.frequencies.iter_mut().zip(&schema.fields);
        for (frequencies, _) in names.filter(|(_, field)| field.kind == FieldKind::OrganisationName) {
            for word in trade_words() {
                let count = frequencies.records.div_ceil(TRADE_WORD_IN);
                let held = frequencies.words.entry(word.to_owned()).or_insert(count);
                *held = (*held).max(count);
            }
        }
    }
    model.match_prior = match schema.party {
        PartyKind::Person => MATCH_PRIOR,
        PartyKind::Organisation => MATCH_PRIOR_ORGANISATIONS,
    };
    model.kin_prior = model.match_prior * KIN_SHARE;
    if model.sister_prior > 0.0 {
        model.sister_prior = model.kin_prior;
    }
    model.link_bits = LINK_BITS;
    model.review_bits = REVIEW_BITS;
    Ok(model)
}

/// Usual habits count as much as those of the population.
fn temper(model: &mut Model, habits: &Model) {
    let source = model.schema.slot(FieldKind::Source);
    for (fitted, usual) in model.comparisons.iter_mut().zip(&habits.comparisons) {
        if fitted.aspect.slots().first().copied() == source {
            // Which systems send a party twice is another matter with every tenant.
            fitted.levels.clone_from(&usual.levels);
            continue;
        }
        let whole = |levels: &[f64]| levels.iter().sum::<f64>().max(f64::MIN_POSITIVE);
        let usual_m = whole(&usual.levels[1..].iter().map(|level| level.m).collect::<Vec<_>>());
        let usual_u = whole(&usual.levels[1..].iter().map(|level| level.u).collect::<Vec<_>>());
        for (level, usual) in fitted.levels[1..].iter_mut().zip(&usual.levels[1..]) {
            level.m = rounded((level.m + usual.m / usual_m) / 2.0);
            level.u = rounded((level.u + usual.u / usual_u) / 2.0);
        }
    }
    for frequencies in &mut model.frequencies {
        frequencies.agreement = rounded(frequencies.agreement);
    }
}

/// To four digits, for readers.
fn rounded(probability: f64) -> f64 {
    format!("{probability:.3e}").parse().unwrap_or(probability)
}

/// Whether values of this kind mean the same elsewhere.
const fn is_common_knowledge(kind: FieldKind) -> bool {
    matches!(
        kind,
        FieldKind::GivenName
            | FieldKind::MiddleName
            | FieldKind::FamilyName
            | FieldKind::City
            | FieldKind::Region
            | FieldKind::LegalForm
            | FieldKind::Gender
    )
}

fn keep_what_several_share(model: &mut Model, records: &[(ClusterId, Features)]) {
    for (at, field) in model.schema.fields.iter().enumerate() {
        let mut values: BTreeMap<&str, BTreeSet<u32>> = BTreeMap::new();
        let mut words: BTreeMap<&str, BTreeSet<u32>> = BTreeMap::new();
        for (cluster, features) in records {
            let text = features.texts().nth(at).unwrap_or_default();
            values.entry(text).or_default().insert(cluster.ordinal);
            for word in text.split(' ') {
                words.entry(word).or_default().insert(cluster.ordinal);
            }
        }
        // Misread names (`br0wn`) say how this population mistypes, and nothing of others.
        let shared = |parties: &BTreeMap<&str, BTreeSet<u32>>, text: &str| {
            !text.bytes().any(|byte| byte.is_ascii_digit())
                && parties.get(text).is_some_and(|parties| parties.len() >= PARTIES_MIN)
        };
        let frequencies = &mut model.frequencies[at];
        frequencies.values.retain(|value, _| is_common_knowledge(field.kind) && shared(&values, value));
        frequencies.words.retain(|word, _| shared(&words, word));
    }
    let slots = model.schema.slot(FieldKind::GivenName).zip(model.schema.slot(FieldKind::FamilyName));
    let Some((given, family)) = slots else { return };
    let mut names: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
    for (cluster, features) in records {
        let text = |slot: usize| features.texts().nth(slot).unwrap_or_default();
        names.entry(format!("{} {}", text(given), text(family))).or_default().insert(cluster.ordinal);
    }
    model.whole_names.retain(|name, _| names.get(name).is_some_and(|parties| parties.len() >= PARTIES_MIN));
}
