//! The compiled model: rows, keys and weights.

use std::fmt;
use std::sync::LazyLock;

use hashbrown::HashMap;
use smallvec::SmallVec;

use super::blocking::{Plan, Rule, rules};
use super::ceiling::{Ceilings, cost};
use super::comparison::{Aspect, Frequency, Level, Pair, SILENT};
use super::features::{Features, SEVERAL};
use super::metric::{PHONE_TAIL, last};
use super::model::{Model, PROBABILITY_MIN};
use super::schema::FieldKind;
use super::symbols::{ABSENT, Facts, Symbol, Symbols, Word, hash_text, letters, mix, words_of};
use super::train::MATCHES_AGREE;
use crate::normalise::name::full_forms;
use crate::normalise::text::{romanise, skeleton};

/// One comparison level in bits.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bits {
    pub(super) m: f32,
    pub(super) u: f32,
    /// Among kin, at the usual frequency.
    kin: f32,
    /// Among sisters, likewise.
    sisters: f32,
}

#[derive(Clone, Debug)]
struct Compiled {
    kinship: Likeness,
    sisterhood: Likeness,
    levels: Box<[Bits]>,
    /// What the comparison can bring at most.
    ceilings: Ceilings,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Slot {
    kind: Option<FieldKind>,
    /// log2 of the share of records, by hash of the value.
    values: HashMap<u64, f32>,
    /// For values that the table does not hold.
    pub(super) rare: f32,
    /// log2 of the chance that two strangers agree.
    pub(super) agreement: f32,
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
    /// The comparisons, the cheap ones first.
    order: Vec<usize>,
    slots: Vec<Slot>,
    plan: Plan,
    names: Option<Names>,
    match_prior: f32,
    kin_prior: f32,
    /// `None` where there are no sisters.
    sister_prior: Option<f32>,
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
    /// log2 of the level's chance among near ones, the value's frequency included.
    pub kin_bits: f32,
}

/// Where a weight comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct Waterfall {
    /// log2 odds of the prior against the likelier alternative.
    pub prior_bits: f32,
    /// Whether near ones (kin, or sister companies) are a likelier alternative than strangers.
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
        let slots: Vec<Slot> = model
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
        let comparisons: Vec<Compiled> = model
            .comparisons
            .iter()
            .map(|comparison| {
                let (kinship, sisterhood) = (Likeness::new(comparison.kinship), Likeness::new(comparison.sisterhood));
                let levels: Box<[Bits]> = comparison
                    .levels
                    .iter()
                    .map(|level| {
                        let (m, u) = (bits(level.m), bits(level.u));
                        Bits { m, u, kin: kinship.bits(m, u), sisters: sisterhood.bits(m, u) }
                    })
                    .collect();
                let ceilings = Ceilings::new(&comparison.aspect, kinship, &levels, &slots);
                Compiled { kinship, sisterhood, levels, ceilings }
            })
            .collect();
        let mut order: Vec<usize> = (0..comparisons.len()).collect();
        order.sort_by_key(|at| cost(&model.comparisons[*at].aspect));
        let plan = Plan::new(rules(&model.schema));
        let names = Names::new(&model);
        let (match_prior, kin_prior) = (bits(model.match_prior), bits(model.kin_prior));
        let sister_prior = (model.sister_prior > 0.0).then(|| bits(model.sister_prior));
        Self { model, comparisons, order, slots, plan, names, match_prior, kin_prior, sister_prior }
    }

    /// The model.
    #[must_use]
    pub const fn model(&self) -> &Model {
        &self.model
    }

    /// The blocking rules, by number.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        self.plan.rules()
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

    /// log2 of the chance that two records drawn at random are one party, in bits.
    #[must_use]
    pub const fn prior_bits(&self) -> f32 {
        self.match_prior
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
        self.plan.keys(symbols, row, out);
        out.sort_unstable();
        out.dedup();
    }

    /// The match weight in bits: log2 of the odds that the two rows are one party, prior included. Symmetric and finite.
    #[must_use]
    pub fn weigh(&self, symbols: &Symbols, a: &[Symbol], b: &[Symbol]) -> f32 {
        self.weigh_above(symbols, a, b, f32::NEG_INFINITY).unwrap_or(f32::MIN)
    }

    /// log2 of the odds that the two rows are one party rather than near ones; strangers are left out.
    #[must_use]
    pub fn weigh_against_kin(&self, symbols: &Symbols, a: &[Symbol], b: &[Symbol]) -> f32 {
        let rows = Pair::new(symbols, a, b);
        let (mut one, mut kin) = (self.match_prior, self.kin_prior);
        let mut sisters = self.sister_prior.unwrap_or(f32::NEG_INFINITY);
        for (comparison, compiled) in self.model.comparisons.iter().zip(&self.comparisons) {
            let outcome = comparison.aspect.compare(&rows);
            if outcome.level != SILENT {
                let bits = compiled.levels[usize::from(outcome.level)];
                let u = bits.u + self.frequency_bits(outcome.frequency);
                one += bits.m;
                kin += compiled.kinship.bits(bits.m, u);
                sisters += compiled.sisterhood.bits(bits.m, u);
            }
        }
        if let Some((comparison, bits)) = self.whole_name_bits(symbols, a, b) {
            kin += bits * self.comparisons[comparison].kinship.unlike();
        }
        one - log2_sum(kin, sisters)
    }

    /// The match weight of two clusters, of each comparison the best that two of their rows come to. What one record does not
    /// tell another may, so two clusters can plainly differ of which no two records do.
    #[must_use]
    pub fn weigh_whole(&self, symbols: &Symbols, ones: &[&[Symbol]], others: &[&[Symbol]], strangers: bool) -> f32 {
        let (mut one, mut kin) = (self.match_prior, self.kin_prior);
        let mut far = if strangers { 0.0 } else { f32::NEG_INFINITY };
        let mut sisters = self.sister_prior.unwrap_or(f32::NEG_INFINITY);
        for (comparison, compiled) in self.model.comparisons.iter().zip(&self.comparisons) {
            let mut best: Option<(f32, f32)> = None;
            for a in ones {
                for b in others {
                    let outcome = comparison.aspect.compare(&Pair::new(symbols, a, b));
                    if outcome.level == SILENT {
                        continue;
                    }
                    let bits = compiled.levels[usize::from(outcome.level)];
                    let found = (bits.m, bits.u + self.frequency_bits(outcome.frequency));
                    let gain = |(m, u): (f32, f32)| m - u;
                    if best
                        .is_none_or(|best| gain(found).total_cmp(&gain(best)).then(found.0.total_cmp(&best.0)).is_gt())
                    {
                        best = Some(found);
                    }
                }
            }
            if let Some((m, u)) = best {
                one += m;
                far += u;
                kin += compiled.kinship.bits(m, u);
                sisters += compiled.sisterhood.bits(m, u);
            }
        }
        one - log2_sum(far, log2_sum(kin, sisters))
    }

    /// The match weight if it is `least` or more. Stops as soon as what is still to be compared cannot lift it there, so
    /// that most pairs cost a look at their symbols and one or two comparisons.
    #[must_use]
    pub fn weigh_above(&self, symbols: &Symbols, a: &[Symbol], b: &[Symbol], least: f32) -> Option<f32> {
        // What is to come at most, against strangers and against kin.
        let (mut over_strangers, mut over_kin) = (0.0_f32, 0.0_f32);
        let mut ceilings: SmallVec<[(f32, f32); 32]> = SmallVec::new();
        for at in &self.order {
            let ceiling = self.comparisons[*at].ceilings.of(a, b);
            over_strangers += ceiling.0;
            over_kin += ceiling.1;
            ceilings.push(ceiling);
        }
        let (mut one, mut strangers, mut kin) = (self.match_prior, 0.0_f32, self.kin_prior);
        let mut sisters = self.sister_prior.unwrap_or(f32::NEG_INFINITY);
        let rows = Pair::new(symbols, a, b);
        for (at, ceiling) in self.order.iter().zip(ceilings) {
            if (one - strangers + over_strangers).min(one - kin + over_kin) < least - ROUNDING_BITS {
                return None;
            }
            let (comparison, compiled) = (&self.model.comparisons[*at], &self.comparisons[*at]);
            over_strangers -= ceiling.0;
            over_kin -= ceiling.1;
            let outcome = comparison.aspect.compare(&rows);
            if outcome.level == SILENT {
                continue;
            }
            let bits = compiled.levels[usize::from(outcome.level)];
            one += bits.m;
            if outcome.frequency == Frequency::Usual {
                strangers += bits.u;
                kin += bits.kin;
                sisters += bits.sisters;
            } else {
                let u = bits.u + self.frequency_bits(outcome.frequency);
                strangers += u;
                kin += compiled.kinship.bits(bits.m, u);
                if self.sister_prior.is_some() {
                    sisters += compiled.sisterhood.bits(bits.m, u);
                }
            }
        }
        if let Some((comparison, bits)) = self.whole_name_bits(symbols, a, b) {
            strangers += bits;
            // Kin are strangers by their given names: a common whole name is as common among them.
            kin += bits * self.comparisons[comparison].kinship.unlike();
        }
        let weight = one - log2_sum(strangers, log2_sum(kin, sisters));
        (weight >= least).then_some(weight)
    }

    /// For two records of one whole name that the model counted: the comparison of family names, and by how many bits the
    /// name is commoner than its parts make it.
    pub(crate) fn whole_name_bits(&self, symbols: &Symbols, a: &[Symbol], b: &[Symbol]) -> Option<(usize, f32)> {
        let names = self.names.as_ref()?;
        let (given, family) = (a[names.given], a[names.family]);
        if given == ABSENT || family == ABSENT || given != b[names.given] || family != b[names.family] {
            return None;
        }
        let name = whole(hash_text(symbols.text(given)), hash_text(symbols.text(family)));
        let share = *names.shares.get(&name)?;
        let (given, family) = (&symbols.entries[given], &symbols.entries[family]);
        Some((names.comparison, (share - given.log_frequency - family.log_frequency).max(0.0)))
    }

    /// The weight, taken apart.
    #[must_use]
    pub fn waterfall(&self, symbols: &Symbols, a: &[Symbol], b: &[Symbol]) -> Waterfall {
        let rows = Pair::new(symbols, a, b);
        let mut bars = Vec::with_capacity(self.comparisons.len());
        let (mut one, mut strangers, mut kin) = (self.match_prior, 0.0_f32, self.kin_prior);
        let mut sisters = self.sister_prior.unwrap_or(f32::NEG_INFINITY);
        let mut sister_bits = Vec::with_capacity(self.comparisons.len());
        for (comparison, compiled) in self.model.comparisons.iter().zip(&self.comparisons) {
            let outcome = comparison.aspect.compare(&rows);
            let mut bar = Bar { level: outcome.level, m_bits: 0.0, u_bits: 0.0, frequency_bits: 0.0, kin_bits: 0.0 };
            let mut sister = 0.0;
            if outcome.level != SILENT {
                let Bits { m, u, .. } = compiled.levels[usize::from(outcome.level)];
                bar.m_bits = m;
                bar.u_bits = u;
                bar.frequency_bits = self.frequency_bits(outcome.frequency);
                bar.kin_bits = compiled.kinship.bits(m, u + bar.frequency_bits);
                sister = compiled.sisterhood.bits(m, u + bar.frequency_bits);
                one += m;
                strangers += u + bar.frequency_bits;
                kin += bar.kin_bits;
                sisters += sister;
            }
            bars.push(bar);
            sister_bits.push(sister);
        }
        if let Some((comparison, bits)) = self.whole_name_bits(symbols, a, b) {
            let near = bits * self.comparisons[comparison].kinship.unlike();
            bars[comparison].frequency_bits += bits;
            bars[comparison].kin_bits += near;
            strangers += bits;
            kin += near;
        }
        let total_bits = one - log2_sum(strangers, log2_sum(kin, sisters));
        let mut kin_prior = self.kin_prior;
        if let Some(prior) = self.sister_prior.filter(|_| sisters > kin) {
            // The likelier of the two kinds of near ones is told of.
            bars.iter_mut().zip(sister_bits).for_each(|(bar, sister)| bar.kin_bits = sister);
            (kin, kin_prior) = (sisters, prior);
        }
        let against_kin = kin > strangers;
        let prior_bits = if against_kin { self.match_prior - kin_prior } else { self.match_prior };
        Waterfall { prior_bits, against_kin, bars, total_bits }
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

/// Sums of figures are as exact as this.
const ROUNDING_BITS: f32 = 0.01;
/// How far the words of one value are independent of each other: 1 were wholly, 0 not at all.
const WORD_INDEPENDENCE: f32 = 0.6;
/// Bits that a whole text's rarity counts for at most.
pub(super) const WHOLE_BITS_MAX: f32 = 30.0;
/// Bits by which the rarity of shared words moves a level that rests on part of a text.
const PARTS_BITS_MAX: f32 = 6.0;

/// How alike near ones are in an aspect: some share it as one party does, the others as strangers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Likeness {
    /// log2 of the share of the alike.
    alike: f32,
    /// log2 of the others' share.
    others: f32,
}

impl Likeness {
    pub(super) fn new(share: f64) -> Self {
        let bits = |share: f64| share.max(1e-6).log2() as f32;
        Self { alike: bits(share), others: bits(1.0 - share) }
    }

    /// log2 of a level's chance among near ones.
    pub(super) fn bits(self, m: f32, u: f32) -> f32 {
        log2_sum(m + self.alike, u + self.others)
    }

    /// Share of those who are as strangers.
    fn unlike(self) -> f32 {
        self.others.exp2()
    }
}

/// log2(2^a + 2^b), to a ten-thousandth of a bit: the table makes it as quick as it is the same on every machine.
#[inline]
pub(crate) fn log2_sum(a: f32, b: f32) -> f32 {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    let steps = (high - low) * SUM_STEPS as f32;
    // Also where nothing can be said of the difference.
    if steps.is_nan() || steps >= (SUM_BITS * SUM_STEPS) as f32 {
        return high;
    }
    let (table, at) = (&*SUMS, steps as usize);
    high + table[at] + (table[at + 1] - table[at]) * (steps - at as f32)
}

/// Differences from here on change no sum.
const SUM_BITS: usize = 24;
/// Entries of the table for each bit of difference.
const SUM_STEPS: usize = 32;

/// log2(1 + 2^-x) for x in steps.
static SUMS: LazyLock<Vec<f32>> = LazyLock::new(|| {
    let of = |at: usize| (1.0 + (-(at as f64) / SUM_STEPS as f64).exp2()).log2() as f32;
    (0..=SUM_BITS * SUM_STEPS + 1).map(of).collect()
});

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
                Word {
                    hash,
                    start: start as u16,
                    len: word.len() as u16,
                    weight: rarity,
                    rarity,
                    letters: letters(word),
                }
            })
            .collect();
        let length = words.iter().map(|word| word.weight * word.weight).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
        words.iter_mut().for_each(|word| word.weight /= length);
        words.into_boxed_slice()
    }
}

/// Of several values the first.
fn first(text: &str) -> &str {
    text.split(SEVERAL).next().unwrap_or(text)
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
        FieldKind::Phone => fold(hash_text(last(first(text), PHONE_TAIL))),
        FieldKind::Email => first(text).rsplit_once('@').map_or(0, |(user, _)| fold(hash_text(user))),
        FieldKind::Postcode => fold(hash_text(text.get(..3).unwrap_or(text))),
        _ => 0,
    }
}
