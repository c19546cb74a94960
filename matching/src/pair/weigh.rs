//! The compiled model: rows, keys and weights.

use std::fmt;

use hashbrown::HashMap;
use smallvec::SmallVec;

use super::blocking::{Rule, rules};
use super::comparison::{Aspect, Frequency, Level, SILENT};
use super::features::Features;
use super::metric::{PHONE_TAIL, last};
use super::model::{Model, PROBABILITY_MIN};
use super::schema::FieldKind;
use super::symbols::{ABSENT, Facts, Symbol, Symbols, Word, hash_text, mix, words_of};
use super::train::MATCHES_AGREE;
use crate::normalise::name::full_forms;
use crate::normalise::text::{romanise, skeleton};

/// One comparison level in bits.
#[derive(Clone, Copy, Debug, Default)]
struct Bits {
    m: f32,
    u: f32,
}

#[derive(Clone, Debug)]
struct Compiled {
    kinship: f32,
    levels: Box<[Bits]>,
}

#[derive(Clone, Debug, Default)]
struct Slot {
    kind: Option<FieldKind>,
    /// log2 of the share of records, by hash of the value.
    values: HashMap<u64, f32>,
    /// For values that the table does not hold.
    rare: f32,
    /// log2 of the chance that two strangers agree.
    agreement: f32,
    /// Inverse document frequency in bits, by hash of the word.
    words: HashMap<u64, f32>,
    rare_word: f32,
}

/// How common whole names are.
struct Names {
    given: usize,
    family: usize,
    /// Place of the comparison of family names.
    comparison: usize,
    /// log2 of the share of records, by hash of both.
    shares: HashMap<u64, f32>,
}

impl Names {
    fn new(model: &Model) -> Option<Self> {
        let (given, family) = model.schema.slot(FieldKind::GivenName).zip(model.schema.slot(FieldKind::FamilyName))?;
        let comparison = model.comparisons.iter().position(|one| matches!(one.aspect, Aspect::FamilyName { .. }))?;
        let records = model.frequencies[family].records.max(1) as f64;
        let own = 1.0 + model.match_prior * records * MATCHES_AGREE;
        let shares = model
            .whole_names
            .iter()
            .flat_map(|(name, count)| {
                let share = ((*count as f64 - own).max(0.5) / records).log2() as f32;
                // Parts may hold spaces, so every way to part the name is entered; only one is ever asked for.
                name.match_indices(' ')
                    .map(move |(at, _)| (whole(hash_text(&name[..at]), hash_text(&name[at + 1..])), share))
            })
            .collect();
        Some(Self { given, family, comparison, shares })
    }
}

const fn whole(given: u64, family: u64) -> u64 {
    mix(mix(given) ^ family)
}

/// A model, ready to work: immutable, shared by all threads.
pub struct Matcher {
    model: Model,
    comparisons: Vec<Compiled>,
    slots: Vec<Slot>,
    rules: Vec<Rule>,
    names: Option<Names>,
    match_prior: f32,
    kin_prior: f32,
}

impl fmt::Debug for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Matcher({}, {} comparisons)", self.model.version, self.comparisons.len())
    }
}

/// What one comparison says about a pair.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bar {
    /// Its level.
    pub level: Level,
    /// log2 of the level's chance among matches.
    pub m_bits: f32,
    /// log2 of the level's chance among strangers, as typical for the level.
    pub u_bits: f32,
    /// What the frequency of the value adds to `u_bits`: negative for a rare one.
    pub frequency_bits: f32,
    /// log2 of the level's chance among kin, the value's frequency included.
    pub kin_bits: f32,
}

/// Where a weight comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct Waterfall {
    /// log2 odds of the prior against the likelier alternative.
    pub prior_bits: f32,
    /// Whether kin are a likelier alternative than strangers.
    pub against_kin: bool,
    /// By comparison.
    pub bars: Vec<Bar>,
    /// Log of the match odds: the weight.
    pub total_bits: f32,
}

impl Matcher {
    /// Compiles a model that passes [`Model::check`].
    #[must_use]
    pub fn new(model: Model) -> Self {
        let bits = |probability: f64| probability.max(PROBABILITY_MIN).log2() as f32;
        let comparisons = model
            .comparisons
            .iter()
            .map(|comparison| Compiled {
                kinship: comparison.kinship as f32,
                levels: comparison.levels.iter().map(|level| Bits { m: bits(level.m), u: bits(level.u) }).collect(),
            })
            .collect();
        let slots = model
            .schema
            .fields
            .iter()
            .zip(&model.frequencies)
            .map(|(field, frequencies)| {
                let records = frequencies.records.max(1) as f64;
                // Of a value's other holders, so many are the same party: they say nothing of strangers.
                let own = 1.0 + model.match_prior * records * MATCHES_AGREE;
                let share = |count: u64| ((count as f64 - own).max(0.5) / records).log2() as f32;
                // What the table leaves out is held by about one party.
                let rare = (0.5 / records.max(1_000.0)).log2() as f32;
                let idf = |count: f64| (1.0 + records / count).log2() as f32;
                Slot {
                    kind: Some(field.kind),
                    values: frequencies.values.iter().map(|(value, n)| (hash_text(value), share(*n))).collect(),
                    rare,
                    agreement: bits(if frequencies.agreement > 0.0 {
                        frequencies.agreement
                    } else {
                        1.5 / records.max(1_000.0)
                    }),
                    words: frequencies.words.iter().map(|(word, n)| (hash_text(word), idf(*n as f64))).collect(),
                    rare_word: idf(1.0),
                }
            })
            .collect();
        let rules = rules(&model.schema);
        let names = Names::new(&model);
        let (match_prior, kin_prior) = (bits(model.match_prior), bits(model.kin_prior));
        Self { model, comparisons, slots, rules, names, match_prior, kin_prior }
    }

    /// The model.
    #[must_use]
    pub const fn model(&self) -> &Model {
        &self.model
    }

    /// The blocking rules, by number.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Symbols in a row.
    #[must_use]
    pub fn stride(&self) -> usize {
        self.slots.len()
    }

    /// Match weight from which two records are linked, in bits.
    #[must_use]
    pub fn link_bits(&self) -> f32 {
        self.model.link_bits as f32
    }

    /// Match weight from which a steward is asked, in bits.
    #[must_use]
    pub fn review_bits(&self) -> f32 {
        self.model.review_bits as f32
    }

    /// Match weight below which two records contradict each other, in bits.
    #[must_use]
    pub fn conflict_bits(&self) -> f32 {
        self.model.conflict_bits as f32
    }

    /// Records in a block at most.
    #[must_use]
    pub const fn block_records_max(&self) -> u32 {
        self.model.block_records_max
    }

    /// Interns the features: appends one symbol for each field.
    pub fn row(&self, symbols: &mut Symbols, features: &Features, out: &mut Vec<Symbol>) {
        for (at, (slot, text)) in self.slots.iter().zip(features.texts()).enumerate() {
            out.push(symbols.intern(at as u8, text, |text| slot.facts(text)));
        }
    }

    /// The row's blocking keys, sorted, no key twice.
    pub fn keys(&self, symbols: &Symbols, row: &[Symbol], out: &mut SmallVec<[u64; 16]>) {
        out.clear();
        for (number, rule) in (0..).zip(&self.rules) {
            rule.keys(number, symbols, row, out);
        }
        out.sort_unstable();
        out.dedup();
    }

    /// The match weight in bits: log2 of the odds that the two rows are one party, prior included. Symmetric and finite.
    #[must_use]
    pub fn weigh(&self, symbols: &Symbols, a: &[Symbol], b: &[Symbol]) -> f32 {
        let (a, b) = ordered(symbols, a, b);
        let (mut one, mut strangers, mut kin) = (self.match_prior, 0.0_f32, self.kin_prior);
        for (comparison, compiled) in self.model.comparisons.iter().zip(&self.comparisons) {
            let outcome = comparison.aspect.compare(symbols, a, b);
            if outcome.level == SILENT {
                continue;
            }
            let Bits { m, u } = compiled.levels[usize::from(outcome.level)];
            let u = u + self.frequency_bits(outcome.frequency);
            one += m;
            strangers += u;
            kin += kin_bits(compiled.kinship, m, u);
        }
        if let Some((comparison, bits)) = self.whole_name_bits(symbols, a, b) {
            strangers += bits;
            // Kin are strangers by their given names: a common whole name is as common among them.
            kin += bits * (1.0 - self.comparisons[comparison].kinship);
        }
        one - log2_sum(strangers, kin)
    }

    /// For two records of one whole name that the model counted: the comparison of family names, and by how many bits the
    /// name is commoner than its parts make it.
    pub(crate) fn whole_name_bits(&self, symbols: &Symbols, a: &[Symbol], b: &[Symbol]) -> Option<(usize, f32)> {
        let names = self.names.as_ref()?;
        let (given, family) = (a[names.given], a[names.family]);
        if given == ABSENT || family == ABSENT || given != b[names.given] || family != b[names.family] {
            return None;
        }
        let (given, family) = (&symbols.entries[given], &symbols.entries[family]);
        let share = *names.shares.get(&whole(given.hash, family.hash))?;
        Some((names.comparison, (share - given.log_frequency - family.log_frequency).max(0.0)))
    }

    /// The weight, taken apart.
    #[must_use]
    pub fn waterfall(&self, symbols: &Symbols, a: &[Symbol], b: &[Symbol]) -> Waterfall {
        let (a, b) = ordered(symbols, a, b);
        let mut bars = Vec::with_capacity(self.comparisons.len());
        let (mut one, mut strangers, mut kin) = (self.match_prior, 0.0_f32, self.kin_prior);
        for (comparison, compiled) in self.model.comparisons.iter().zip(&self.comparisons) {
            let outcome = comparison.aspect.compare(symbols, a, b);
            let mut bar = Bar { level: outcome.level, m_bits: 0.0, u_bits: 0.0, frequency_bits: 0.0, kin_bits: 0.0 };
            if outcome.level != SILENT {
                let Bits { m, u } = compiled.levels[usize::from(outcome.level)];
                bar.m_bits = m;
                bar.u_bits = u;
                bar.frequency_bits = self.frequency_bits(outcome.frequency);
                bar.kin_bits = kin_bits(compiled.kinship, m, u + bar.frequency_bits);
                one += m;
                strangers += u + bar.frequency_bits;
                kin += bar.kin_bits;
            }
            bars.push(bar);
        }
        if let Some((comparison, bits)) = self.whole_name_bits(symbols, a, b) {
            let near = bits * (1.0 - self.comparisons[comparison].kinship);
            bars[comparison].frequency_bits += bits;
            bars[comparison].kin_bits += near;
            strangers += bits;
            kin += near;
        }
        let against_kin = kin > strangers;
        let prior_bits = if against_kin { self.match_prior - self.kin_prior } else { self.match_prior };
        Waterfall { prior_bits, against_kin, bars, total_bits: one - log2_sum(strangers, kin) }
    }

    /// How much rarer or commoner than usual is that on which a level rests, in bits of u.
    pub(crate) fn frequency_bits(&self, frequency: Frequency) -> f32 {
        match frequency {
            Frequency::Usual => 0.0,
            Frequency::Value { slot, share_bits } => share_bits - self.slots[usize::from(slot)].agreement,
            Frequency::Words { slot, rarity_bits, whole } => {
                let slot = &self.slots[usize::from(slot)];
                if let Some(share_bits) = whole {
                    // Of a value that the model counted, its count says all; of another, its words say how rare it is.
                    let words = (-WORD_INDEPENDENCE * rarity_bits).max(-WHOLE_BITS_MAX);
                    let share_bits = if share_bits > slot.rare + 0.01 { share_bits } else { share_bits.min(words) };
                    share_bits - slot.agreement
                } else {
                    let over = WORD_INDEPENDENCE * (slot.rare_word - rarity_bits);
                    over.clamp(0.0, PARTS_BITS_MAX)
                }
            }
        }
    }
}

/// How far the words of one value are independent of each other: 1 were wholly, 0 not at all.
const WORD_INDEPENDENCE: f32 = 0.6;
/// Bits that a whole text's rarity counts for at most.
const WHOLE_BITS_MAX: f32 = 30.0;
/// Bits by which the rarity of shared words moves a level that rests on part of a text.
const PARTS_BITS_MAX: f32 = 6.0;

/// The two rows in an order of their content, so that no comparison can tell which was named first: sums of fractions and
/// the pairing of words hang on it (LAW 2).
fn ordered<'a>(symbols: &Symbols, a: &'a [Symbol], b: &'a [Symbol]) -> (&'a [Symbol], &'a [Symbol]) {
    let hash = |symbol: &Symbol| symbols.entries[*symbol].hash;
    let first = a.iter().zip(b).find(|(left, right)| left != right);
    if first.is_some_and(|(left, right)| hash(left) > hash(right)) { (b, a) } else { (a, b) }
}

/// Kin share some aspects as one party does, others as strangers.
pub(crate) fn kin_bits(kinship: f32, m: f32, u: f32) -> f32 {
    log2_sum(m + kinship.max(1e-6).log2(), u + (1.0 - kinship).max(1e-6).log2())
}

/// log2(2^a + 2^b).
pub(crate) fn log2_sum(a: f32, b: f32) -> f32 {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    let apart = low - high;
    if apart < -24.0 { high } else { high + apart.exp2().ln_1p() * std::f32::consts::LOG2_E }
}

impl Slot {
    fn facts(&self, text: &str) -> Facts {
        let hash = hash_text(text);
        let log_frequency = self.values.get(&hash).copied().unwrap_or(self.rare);
        let kind = self.kind.unwrap_or(FieldKind::Text);
        Facts { log_frequency, coarse: coarse(kind, text), words: self.words_of(kind, text) }
    }

    fn words_of(&self, kind: FieldKind, text: &str) -> Box<[Word]> {
        if !kind.is_worded() {
            return Box::default();
        }
        let mut words: Vec<Word> = words_of(text)
            .map(|(start, word)| {
                let hash = hash_text(word);
                let rarity = self.words.get(&hash).copied().unwrap_or(self.rare_word);
                Word { hash, start: start as u16, len: word.len() as u16, weight: rarity, rarity }
            })
            .collect();
        let length = words.iter().map(|word| word.weight * word.weight).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
        words.iter_mut().for_each(|word| word.weight /= length);
        words.into_boxed_slice()
    }
}

/// Hash of the form that survives typing habits.
fn coarse(kind: FieldKind, text: &str) -> u32 {
    let fold = |hash: u64| (hash as u32).max(1);
    let sound = |text: &str| {
        let latin = romanise(text);
        let text = latin.as_deref().unwrap_or(text);
        let mut bones = String::new();
        skeleton(text, &mut bones);
        if bones.is_empty() { text.to_owned() } else { bones }
    };
    match kind {
        FieldKind::GivenName => fold(hash_text(&sound(full_forms(text).first().copied().unwrap_or(text)))),
        FieldKind::FamilyName => {
            // Behind the particles: `van der berg` is filed under `berg`.
            let word = text.split(' ').find(|word| word.chars().count() > 3).or_else(|| text.split(' ').next_back());
            fold(hash_text(&sound(word.unwrap_or(text))))
        }
        FieldKind::City => fold(hash_text(&sound(text))),
        FieldKind::Street => {
            // The street's own name leads in most languages that put the kind of street last; numbers name nothing.
            let word = text.split(' ').find(|word| word.len() > 3 && !word.bytes().any(|byte| byte.is_ascii_digit()));
            fold(hash_text(&sound(word.unwrap_or(text))))
        }
        FieldKind::OrganisationName => fold(hash_text(&sound(text.split(' ').next().unwrap_or(text)))),
        FieldKind::Phone => fold(hash_text(last(text, PHONE_TAIL))),
        FieldKind::Email => text.rsplit_once('@').map_or(0, |(user, _)| fold(hash_text(user))),
        FieldKind::Postcode => fold(hash_text(text.get(..3).unwrap_or(text))),
        _ => 0,
    }
}
