//! The model: a versioned, frozen artefact that people can read and compare.
//!
//! Three hypotheses about a pair of records are weighed against each other: one party, two strangers, and two parties that
//! live close together (a household, twins, a parent and a child of one name). The third is why a shared surname, address
//! and telephone do not make a couple one person: kin share them as readily as one person's records do. Companies have a
//! fourth beside it: sisters of one group, who share a name and a domain as kin share an address. With none of them in
//! sight the model is that of Fellegi and Sunter (1969), with term-frequency adjustment (Winkler 2000).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::comparison::{Aspect, aspects};
use super::schema::{FieldKind, Schema};
use onefold_core::fragment::PartyKind;

/// The format of the artefact that this release writes and reads.
pub const MODEL_FORMAT: u32 = 1;

/// Records in a block at most, unless the model says otherwise. A larger one is dropped whole: truncating it would let the
/// order of arrival show (LAW 2).
pub const BLOCK_RECORDS_MAX: u32 = 50;

/// A share of pairs. Levels of probability 0 would be infinite evidence, so none is.
pub const PROBABILITY_MIN: f64 = 1e-7;

/// One comparison level's probabilities.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LevelModel {
    /// Chance of the level among matches that have both values.
    pub m: f64,
    /// Chance of it among strangers that have both.
    pub u: f64,
}

/// One comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ComparisonModel {
    /// Its name, for people.
    pub name: String,
    /// What is compared.
    pub aspect: Aspect,
    /// How alike kin are here: 0 as strangers, 1 as one party.
    pub kinship: f64,
    /// How alike two companies of one group are here, likewise.
    #[serde(default)]
    pub sisterhood: f64,
    /// By level; the first, silence, is not used.
    pub levels: Vec<LevelModel>,
}

/// How often values of one field occur.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Frequencies {
    /// Records with a value.
    pub records: u64,
    /// Sum over all values of the square of their share: the chance that two strangers agree.
    pub agreement: f64,
    /// Number of records by value, for values of several parties only.
    pub values: BTreeMap<String, u64>,
    /// Number of records by word, for worded fields, likewise.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub words: BTreeMap<String, u64>,
}

/// A frozen model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// [`MODEL_FORMAT`].
    pub format: u32,
    /// Its name and version, as evidence cites it.
    pub version: String,
    /// What it compares.
    pub schema: Schema,
    /// Chance that two records drawn at random are one party.
    pub match_prior: f64,
    /// Chance that they are kin.
    pub kin_prior: f64,
    /// Chance that they are companies of one group; nought where there are no groups.
    #[serde(default)]
    pub sister_prior: f64,
    /// Match weight from which two records are linked, in bits.
    pub link_bits: f64,
    /// Match weight from which a steward is asked, in bits.
    pub review_bits: f64,
    /// Match weight below which two records contradict each other, in bits.
    pub conflict_bits: f64,
    /// Records in a block at most.
    pub block_records_max: u32,
    /// The comparisons.
    pub comparisons: Vec<ComparisonModel>,
    /// By field, in the schema's order.
    pub frequencies: Vec<Frequencies>,
    /// Number of records by given and family name together, parted by a space, for names of several parties only. Given
    /// names go with family names, so a whole name is commoner than its parts make it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub whole_names: BTreeMap<String, u64>,
}

/// A model that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// Not readable as one.
    #[error("the model cannot be read: {0}")]
    Unreadable(String),
    /// Written by a newer release.
    #[error("the model has format {0}, this release reads format {MODEL_FORMAT}")]
    Format(u32),
    /// A field holds what cannot be.
    #[error("{field}: {why}")]
    Invalid {
        /// Which, as a path.
        field: String,
        /// What is wrong, and what is allowed.
        why: String,
    },
}

impl Model {
    /// The model for a schema before any data was seen: usual habits of typing, no frequencies.
    #[must_use]
    pub fn untrained(schema: Schema) -> Self {
        let comparisons = aspects(&schema)
            .into_iter()
            .map(|aspect| {
                let name = aspect.name(&schema);
                let (kinship, levels) = usual(&aspect, &schema);
                let sisterhood = sisterhood(&aspect, &schema);
                ComparisonModel { name, aspect, kinship, sisterhood, levels }
            })
            .collect();
        let frequencies = vec![Frequencies::default(); schema.fields.len()];
        let link_bits = usual_link_bits(&schema);
        let sister_prior = if has_groups(&schema) { 1e-5 } else { 0.0 };
        Self {
            format: MODEL_FORMAT,
            version: "untrained".to_owned(),
            schema,
            match_prior: 1e-5,
            kin_prior: 1e-5,
            sister_prior,
            link_bits,
            review_bits: link_bits - REVIEW_BAND,
            conflict_bits: CONFLICT_BITS,
            block_records_max: BLOCK_RECORDS_MAX,
            comparisons,
            frequencies,
            whole_names: BTreeMap::new(),
        }
    }

    /// Reads an artefact.
    ///
    /// # Errors
    /// [`ModelError`], which names the field.
    pub fn from_json(text: &str) -> Result<Self, ModelError> {
        let model: Self = serde_json::from_str(text).map_err(|fault| ModelError::Unreadable(fault.to_string()))?;
        model.check()?;
        Ok(model)
    }

    /// Writes the artefact, for people to read and to compare.
    ///
    /// # Panics
    /// Never: every part has a JSON form.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a model has a JSON form")
    }

    /// Checks what serde cannot.
    ///
    /// # Errors
    /// [`ModelError`], which names the field.
    pub fn check(&self) -> Result<(), ModelError> {
        let invalid = |field: String, why: &str| Err(ModelError::Invalid { field, why: why.to_owned() });
        if self.format != MODEL_FORMAT {
            return Err(ModelError::Format(self.format));
        }
        if self.schema.fields.is_empty() || self.schema.fields.len() > super::schema::FIELDS_MAX {
            return invalid("schema.fields".to_owned(), "must be 1 to 32 fields");
        }
        if self.frequencies.len() != self.schema.fields.len() {
            return invalid("frequencies".to_owned(), "must be one for each field of the schema");
        }
        for (name, value) in [("match_prior", self.match_prior), ("kin_prior", self.kin_prior)] {
            if !(value > 0.0 && value < 1.0) {
                return invalid(name.to_owned(), "must lie between 0 and 1");
            }
        }
        if !(0.0..1.0).contains(&self.sister_prior) {
            return invalid("sister_prior".to_owned(), "must lie between 0 and 1, or be 0");
        }
        for (name, value) in
            [("link_bits", self.link_bits), ("review_bits", self.review_bits), ("conflict_bits", self.conflict_bits)]
        {
            if !value.is_finite() {
                return invalid(name.to_owned(), "must be a number");
            }
        }
        if !(self.conflict_bits < self.review_bits && self.review_bits <= self.link_bits) {
            return invalid("link_bits".to_owned(), "conflict_bits < review_bits <= link_bits must hold");
        }
        if !(2..=10_000).contains(&self.block_records_max) {
            return invalid("block_records_max".to_owned(), "must be 2 to 10,000");
        }
        for (at, comparison) in self.comparisons.iter().enumerate() {
            let path = |part: &str| format!("comparisons[{at}].{part}");
            if comparison.aspect.all_slots().iter().any(|slot| *slot >= self.schema.fields.len()) {
                return invalid(path("aspect"), "names a field that the schema does not have");
            }
            if comparison.levels.len() != comparison.aspect.levels() {
                return invalid(path("levels"), "must be one for each level of the aspect");
            }
            for (part, share) in [("kinship", comparison.kinship), ("sisterhood", comparison.sisterhood)] {
                if !(0.0..=1.0).contains(&share) {
                    return invalid(path(part), "must lie between 0 and 1");
                }
            }
            let fits = |value: f64| (0.0..=1.0).contains(&value);
            if comparison.levels.iter().any(|level| !fits(level.m) || !fits(level.u)) {
                return invalid(path("levels"), "probabilities must lie between 0 and 1");
            }
        }
        Ok(())
    }
}

/// Bits below the link threshold in which a steward is asked.
const REVIEW_BAND: f64 = 5.0;

/// Two records contradict each other below this, in bits: what slips and moves bring about together lies above it.
const CONFLICT_BITS: f64 = -30.0;

/// From where a kind of party is linked, in bits. Weights overstate what they know where comparisons hang together, as words of
/// one text do; so the lines of organisations and things lie higher.
fn usual_link_bits(schema: &Schema) -> f64 {
    let texts = schema.fields.iter().filter(|field| field.kind == FieldKind::Text).count();
    match schema.party {
        PartyKind::Person => 0.0,
        PartyKind::Organisation if texts > 1 => 8.0,
        PartyKind::Organisation => 1.0,
    }
}

fn table(pairs: &[(f64, f64)]) -> Vec<LevelModel> {
    std::iter::once((0.0, 0.0)).chain(pairs.iter().copied()).map(|(m, u)| LevelModel { m, u }).collect()
}

/// What typing habits usually are: (m, u) by level, and how alike kin are. Rounded from what labelled sets of several
/// countries have in common; training moves them to the data.
fn usual(aspect: &Aspect, schema: &Schema) -> (f64, Vec<LevelModel>) {
    let kind_of = |slot: usize| schema.fields[slot].kind;
    match aspect {
        Aspect::GivenName { .. } => (
            0.02,
            table(&[
                (0.72, 0.006),
                (0.05, 0.003),
                (0.09, 0.003),
                (0.03, 0.02),
                (0.06, 0.03),
                (0.02, 0.0005),
                (0.03, 0.9375),
            ]),
        ),
        Aspect::FamilyName { .. } => (
            0.85,
            table(&[
                (0.76, 0.002),
                (0.01, 0.0002),
                (0.1, 0.002),
                (0.03, 0.02),
                (0.03, 0.01),
                (0.02, 0.0005),
                (0.05, 0.9653),
            ]),
        ),
        Aspect::MiddleName(_) => (0.05, table(&[(0.7, 0.02), (0.1, 0.03), (0.12, 0.06), (0.08, 0.89)])),
        Aspect::BirthDate(_) => {
            (0.03, table(&[(0.8, 0.0001), (0.09, 0.002), (0.03, 0.004), (0.02, 0.03), (0.03, 0.025), (0.03, 0.9389)]))
        }
        Aspect::Exact(slot) if kind_of(*slot) == FieldKind::Gender => (0.0, table(&[(0.98, 0.5), (0.02, 0.5)])),
        // Until data says otherwise, one system sends a party as often as another.
        Aspect::Exact(slot) if kind_of(*slot) == FieldKind::Source => (0.0, table(&[(0.5, 0.5), (0.5, 0.5)])),
        Aspect::Exact(_) => (0.0, table(&[(0.9, 0.2), (0.1, 0.8)])),
        Aspect::Address { .. } => (0.9, usual_address()),
        Aspect::Phone(_) => (0.5, table(&[(0.6, 0.0001), (0.05, 0.0002), (0.35, 0.9997)])),
        Aspect::Email(_) | Aspect::EmailBeside { .. } => {
            (0.1, table(&[(0.65, 0.00005), (0.07, 0.0001), (0.05, 0.0002), (0.23, 0.99965)]))
        }
        Aspect::Organisation { .. } => (
            0.0,
            table(&[
                (0.6, 0.0005),
                (0.12, 0.0005),
                (0.1, 0.001),
                (0.07, 0.004),
                (0.04, 0.01),
                (0.01, 0.0005),
                (0.03, 0.05),
                (0.03, 0.934),
            ]),
        ),
        Aspect::Identifier(_) => (0.02, table(&[(0.85, 0.0001), (0.06, 0.0005), (0.09, 0.9994)])),
        Aspect::Text(_) => (
            0.1,
            table(&[(0.6, 0.02), (0.1, 0.01), (0.08, 0.02), (0.06, 0.03), (0.05, 0.06), (0.05, 0.12), (0.06, 0.74)]),
        ),
        Aspect::Number(_) => (0.1, table(&[(0.75, 0.05), (0.08, 0.1), (0.06, 0.1), (0.05, 0.15), (0.06, 0.6)])),
    }
}

/// Whether parties of this schema come in groups of one name.
fn has_groups(schema: &Schema) -> bool {
    schema.party == PartyKind::Organisation && schema.slot(FieldKind::OrganisationName).is_some()
}

/// How alike two companies of one group are: they share a name and a domain, and have a seat and a registration each.
fn sisterhood(aspect: &Aspect, schema: &Schema) -> f64 {
    if !has_groups(schema) {
        return 0.0;
    }
    match aspect {
        Aspect::Organisation { .. } => 0.8,
        Aspect::Identifier(slot) if schema.fields[*slot].kind == FieldKind::Domain => 0.8,
        Aspect::EmailBeside { .. } | Aspect::Email(_) => 0.5,
        Aspect::Exact(slot) if schema.fields[*slot].kind == FieldKind::LegalForm => 0.5,
        Aspect::Address { .. } | Aspect::Phone(_) => 0.05,
        // Most groups keep to one trade.
        Aspect::Text(slot) if schema.fields[*slot].name == "industry" => 0.5,
        Aspect::Text(_) | Aspect::Number(_) => 0.1,
        _ => 0.02,
    }
}

/// Street by place: people move, and then both differ at once, which is why the two are one comparison.
fn usual_address() -> Vec<LevelModel> {
    // Rows: street silent, same door, close door, same street, partly, different. Columns: place silent, same, same code,
    // close, same town, different.
    const M: [[f64; 6]; 6] = [
        [0.0, 0.36, 0.11, 0.08, 0.17, 0.28],
        [0.55, 0.34, 0.06, 0.06, 0.05, 0.03],
        [0.14, 0.08, 0.02, 0.02, 0.02, 0.01],
        [0.05, 0.03, 0.01, 0.01, 0.01, 0.005],
        [0.04, 0.02, 0.005, 0.005, 0.005, 0.005],
        [0.22, 0.025, 0.01, 0.01, 0.03, 0.16],
    ];
    const U: [[f64; 6]; 6] = [
        [0.0, 0.001, 0.001, 0.002, 0.02, 0.976],
        [1e-5, 1e-5, 2e-6, 2e-6, 2e-6, 5e-6],
        [1e-4, 1e-5, 5e-6, 5e-6, 5e-6, 5e-5],
        [1e-3, 5e-5, 1e-5, 1e-5, 5e-5, 5e-4],
        [0.02, 2e-4, 1e-4, 1e-4, 4e-4, 0.015],
        [0.97889, 0.001, 0.001, 0.002, 0.02, 0.93],
    ];
    let mut levels = Vec::with_capacity(36);
    for (m_row, u_row) in M.iter().zip(&U) {
        for (m, u) in m_row.iter().zip(u_row) {
            levels.push(LevelModel { m: *m, u: *u });
        }
    }
    levels
}
