//! Fitting a model to data, without labels or with some.
//!
//! Frequencies are counted; u comes from pairs drawn at random, nearly all of them strangers; m by expectation maximisation
//! over candidate pairs (Dempster, Laird, Rubin 1977; Winkler 1988). Candidates that one blocking rule found agree on what
//! the rule speaks of whether they match or not, so each rule's pairs teach every comparison but those. The model's usual
//! habits stand in as a prior, so that little data moves little. Draws are seeded: the same rows give the same model.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use smallvec::SmallVec;

use super::comparison::{Aspect, Level, Pair as RowPair, SILENT};
use super::features::Features;
use super::model::{Frequencies, LevelModel, Model, PROBABILITY_MIN};
use super::schema::{FieldKind, Schema};
use super::symbols::{Symbol, Symbols, mix, words_of};
use super::weigh::{Matcher, kin_bits, log2_sum};

/// Random pairs for u.
const RANDOM_PAIRS: usize = 400_000;
/// Candidate pairs of one rule at most; more are thinned evenly.
const RULE_PAIRS_MAX: usize = 120_000;
/// Candidate pairs of all rules for the priors at most.
const PRIOR_PAIRS_MAX: usize = 1_500_000;
/// Rounds of expectation maximisation.
const ROUNDS: usize = 12;
/// How many pairs the usual habits count for, by comparison.
const HABIT_PAIRS: f64 = 30.0;
/// And what share of the pairs seen they count for beside that, so that no level of a large file is ruled out.
const HABIT_SHARE: f64 = 0.03;
/// How many random pairs the usual u counts for.
const HABIT_STRANGERS: f64 = 200.0;
/// Share of matches that agree on a value, near enough for taking them out of frequencies.
pub(crate) const MATCHES_AGREE: f64 = 0.6;
/// A value that fewer records hold is left out of the model: it may be one person's alone.
const SHARED_VALUE_MIN: u64 = 3;

/// What training may use.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// By row: the true party, where it is known.
    pub labels: Option<&'a [Option<u32>]>,
    /// Version that the model is given.
    pub version: &'a str,
}

/// Counts what there is of each value and word.
#[derive(Debug)]
pub struct Census {
    records: Vec<u64>,
    values: Vec<HashMap<String, u64>>,
    words: Vec<HashMap<String, u64>>,
    worded: Vec<bool>,
    /// Places of given and family name.
    names: Option<(usize, usize)>,
    whole_names: HashMap<String, u64>,
}

impl Census {
    /// Nothing counted yet.
    #[must_use]
    pub fn new(schema: &Schema) -> Self {
        let fields = schema.fields.len();
        Self {
            records: vec![0; fields],
            values: vec![HashMap::new(); fields],
            words: vec![HashMap::new(); fields],
            worded: schema.fields.iter().map(|field| field.kind.is_worded()).collect(),
            names: schema.slot(FieldKind::GivenName).zip(schema.slot(FieldKind::FamilyName)),
            whole_names: HashMap::new(),
        }
    }

    /// Counts one record.
    pub fn add(&mut self, features: &Features) {
        if let Some((given, family)) = self.names
            && let (Some(given), Some(family)) = (features.texts().nth(given), features.texts().nth(family))
            && !given.is_empty()
            && !family.is_empty()
        {
            count(&mut self.whole_names, &format!("{given} {family}"));
        }
        for (at, text) in features.texts().enumerate() {
            if text.is_empty() {
                continue;
            }
            self.records[at] += 1;
            count(&mut self.values[at], text);
            if self.worded[at] {
                let mut words: SmallVec<[&str; 16]> = words_of(text).map(|(_, word)| word).collect();
                words.sort_unstable();
                words.dedup();
                words.into_iter().for_each(|word| count(&mut self.words[at], word));
            }
        }
    }

    /// Puts the frequencies of what several parties share into a model.
    pub fn tell(self, model: &mut Model) {
        let shared = |counts: HashMap<String, u64>| -> BTreeMap<String, u64> {
            counts.into_iter().filter(|(_, n)| *n >= SHARED_VALUE_MIN).collect()
        };
        model.whole_names = shared(self.whole_names);
        model.frequencies = self
            .records
            .iter()
            .zip(self.values)
            .zip(self.words)
            .map(|((records, values), words)| {
                let total = (*records).max(1) as f64;
                let agreement = values.values().map(|n| (*n as f64 / total).powi(2)).sum();
                Frequencies { records: *records, agreement, values: shared(values), words: shared(words) }
            })
            .collect();
    }
}

fn count(counts: &mut HashMap<String, u64>, text: &str) {
    match counts.get_mut(text) {
        Some(n) => *n += 1,
        None => drop(counts.insert(text.to_owned(), 1)),
    }
}

/// One pair's levels, and what the frequencies of its values add to the bits of u.
struct Pair {
    levels: SmallVec<[Level; 16]>,
    frequency_bits: SmallVec<[f32; 16]>,
}

/// What a pass over the candidates of one rule learns from. Its strangers are no random pairs: they agree on what the rule
/// speaks of, and so on what comes with it (a household's address, a research group's venue), and have a u of their own.
struct Pass {
    pairs: Vec<Pair>,
    /// By comparison: the rule speaks of it.
    masked: Vec<bool>,
    /// How many pairs each of them stands for.
    scale: f64,
    /// Share of matches among the pairs.
    matches: f64,
    /// By comparison and level: chance of the level among the pass's own strangers.
    u: Vec<Vec<f64>>,
}

/// The rows to learn from.
pub struct Rows<'a> {
    /// Interned by a matcher of the model with the data's own frequencies.
    pub symbols: &'a Symbols,
    /// All rows, one after the other.
    pub rows: &'a [Symbol],
}

impl Rows<'_> {
    fn len(&self, stride: usize) -> usize {
        self.rows.len() / stride.max(1)
    }
}

/// Fits the model. `model` brings schema, frequencies and habits; rows were interned by its matcher.
#[must_use]
pub fn train(model: Model, data: &Rows<'_>, options: Options<'_>) -> Model {
    let matcher = Matcher::new(model.clone());
    let stride = matcher.stride();
    let count = data.len(stride);
    let row = |at: usize| &data.rows[at * stride..(at + 1) * stride];
    let mut trained = model;
    options.version.clone_into(&mut trained.version);
    if count < 2 {
        return trained;
    }
    let effort = effort(data, count);
    let strangers = Strangers::draw(&trained, data.symbols, row, count, RANDOM_PAIRS / effort);
    strangers.fit(&mut trained, 0.0);
    let matcher = Matcher::new(trained.clone());
    let alone = strangers.excess(&trained);
    let mut passes = passes(&matcher, data, count, RULE_PAIRS_MAX / effort);
    if passes.is_empty() && options.labels.is_none() {
        // Nothing is left to learn m from, and so nothing that would tell matches from strangers among random pairs, but
        // that more of them are near each other than strangers usually are.
        let matches = alone.clamp(PROBABILITY_MIN, 0.4);
        trained.match_prior = matches;
        strangers.fit(&mut trained, matches);
    }
    let mut habits = Model::untrained(trained.schema.clone());
    for round in 0..DECONTAMINATIONS {
        if round == 0 {
            settle_sources(&mut habits, &mut trained);
        }
        if let Some(labels) = options.labels {
            fit_labelled(&mut trained, &matcher, data, labels);
        } else {
            for _ in 0..ROUNDS {
                maximise(&mut trained, &habits, &mut passes);
            }
        }
        fit_priors(&mut trained, data, count, PRIOR_PAIRS_MAX / effort);
        let matches = trained.match_prior;
        strangers.fit(&mut trained, matches);
    }
    trained
}

/// How many times as much as usual a pair costs to compare: texts are compared word by word, each with each, and of long
/// ones a smaller sample must do.
fn effort(data: &Rows<'_>, count: usize) -> usize {
    /// Comparisons of words that cost as much as all else of a pair.
    const WORD_PAIRS: usize = 100;
    /// Rows that are looked at.
    const SAMPLE: usize = 1_000;
    let stride = data.rows.len() / count.max(1);
    let step = (count / SAMPLE).max(1);
    let rows: Vec<&[Symbol]> = (0..count).step_by(step).map(|at| &data.rows[at * stride..(at + 1) * stride]).collect();
    let words = |row: &&[Symbol]| row.iter().map(|symbol| data.symbols.words(*symbol).len().pow(2)).sum::<usize>();
    let mean = rows.iter().map(words).sum::<usize>() / rows.len().max(1);
    (mean / WORD_PAIRS).clamp(1, EFFORT_MAX)
}

/// Samples are made smaller by this at most.
const EFFORT_MAX: usize = 20;

/// Rounds of fitting: random pairs hold matches too, which are taken out of u once their share is known.
const DECONTAMINATIONS: usize = 2;

/// How often two records of one system are one party, nothing but the data can say.
fn settle_sources(habits: &mut Model, trained: &mut Model) {
    for (habit, fitted) in habits.comparisons.iter_mut().zip(&mut trained.comparisons) {
        if is_source(&habit.aspect, &trained.schema) {
            habit.levels.iter_mut().zip(&mut fitted.levels).for_each(|(habit, fitted)| {
                habit.m = fitted.u;
                fitted.m = fitted.u;
            });
        }
    }
}

fn is_source(aspect: &Aspect, schema: &Schema) -> bool {
    matches!(aspect, Aspect::Exact(slot) if schema.fields[*slot].kind == FieldKind::Source)
}

/// Levels of pairs drawn at random.
struct Strangers {
    seen: Vec<Vec<f64>>,
    usual: Vec<Vec<f64>>,
    /// By slot: the chance that two records agree, matches included.
    agreement: Vec<f64>,
}

/// What is left of an observed share when matches explain all of it.
const UNEXPLAINED: f64 = 0.05;

impl Strangers {
    fn draw<'a>(
        model: &Model,
        symbols: &Symbols,
        row: impl Fn(usize) -> &'a [Symbol],
        count: usize,
        most: usize,
    ) -> Self {
        let mut seen: Vec<Vec<f64>> = model.comparisons.iter().map(|one| vec![0.0; one.levels.len()]).collect();
        let whole = count * (count - 1) / 2;
        let draws = most.min(whole);
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut below = |bound: usize| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            ((u128::from(mix(state)) * bound as u128) >> 64) as usize
        };
        for draw in 0..draws {
            let (a, b) = if draws == whole { nth_pair(draw) } else { (below(count), below(count)) };
            if a == b {
                continue;
            }
            let rows = RowPair::new(symbols, row(a), row(b));
            for (comparison, seen) in model.comparisons.iter().zip(&mut seen) {
                seen[usize::from(comparison.aspect.compare(&rows).level)] += 1.0;
            }
        }
        let usual = model.comparisons.iter().map(|one| one.levels.iter().map(|level| level.u).collect()).collect();
        let agreement = model.frequencies.iter().map(|one| one.agreement).collect();
        Self { seen, usual, agreement }
    }

    /// The share of random pairs that usual strangers do not explain: by the comparison that knows it best, how many more
    /// are near each other than the usual u has it, over the share of matches that are.
    fn excess(&self, model: &Model) -> f64 {
        let shares =
            model.comparisons.iter().zip(&self.seen).zip(&self.usual).filter_map(|((comparison, seen), usual)| {
                let total: f64 = seen[1..].iter().sum();
                let whole: f64 = usual[1..].iter().sum();
                let near = 1..=comparison.aspect.near_levels();
                if near.is_empty() || total < 100.0 || is_source(&comparison.aspect, &model.schema) {
                    return None;
                }
                let over: f64 = near.clone().map(|level| (seen[level] / total - usual[level] / whole).max(0.0)).sum();
                let m: f64 = near.map(|level| comparison.levels[level].m).sum();
                Some((total, over / m.max(PROBABILITY_MIN)))
            });
        shares.max_by(|a, b| a.0.total_cmp(&b.0)).map_or(0.0, |(_, excess)| excess)
    }

    /// u by level, when so large a share of random pairs are matches.
    fn fit(&self, model: &mut Model, matches: f64) {
        for ((comparison, seen), usual) in model.comparisons.iter_mut().zip(&self.seen).zip(&self.usual) {
            let source = is_source(&comparison.aspect, &model.schema);
            let total: f64 = seen[1..].iter().sum();
            let habit: f64 = usual[1..].iter().sum();
            let mut sum = 0.0;
            for ((level, seen), usual) in comparison.levels[1..].iter_mut().zip(&seen[1..]).zip(&usual[1..]) {
                let observed = seen / total.max(1.0);
                let apart = if source { observed } else { (observed - matches * level.m).max(UNEXPLAINED * observed) };
                let prior = usual / habit.max(PROBABILITY_MIN);
                level.u = (apart * total + HABIT_STRANGERS * prior) / (total + HABIT_STRANGERS);
                sum += level.u;
            }
            comparison.levels[1..].iter_mut().for_each(|level| level.u /= sum);
        }
        for (frequencies, agreement) in model.frequencies.iter_mut().zip(&self.agreement) {
            frequencies.agreement = (agreement - matches * MATCHES_AGREE).max(UNEXPLAINED * agreement);
        }
    }
}

/// The pairs of a triangle, one after the other.
fn nth_pair(n: usize) -> (usize, usize) {
    let high = ((((8 * n + 1) as f64).sqrt() - 1.0) / 2.0) as usize;
    // The square root may be off by one in floating point.
    let high = if high * (high + 1) / 2 > n { high - 1 } else { high };
    let high = if (high + 1) * (high + 2) / 2 <= n { high + 1 } else { high };
    (high + 1, n - high * (high + 1) / 2)
}

/// The candidate pairs of each rule.
fn passes(matcher: &Matcher, data: &Rows<'_>, count: usize, most: usize) -> Vec<Pass> {
    let model = matcher.model();
    let mut passes = Vec::new();
    for (number, rule) in (0..).zip(matcher.rules()) {
        let slots = rule.slots();
        let masked: Vec<bool> = model
            .comparisons
            .iter()
            .map(|comparison| comparison.aspect.slots().iter().any(|slot| slots.contains(slot)))
            .collect();
        if masked.iter().all(|masked| *masked) {
            continue;
        }
        let mut found = Vec::new();
        blocks(
            data,
            matcher.stride(),
            count,
            |symbols, row, keys| rule.keys(number, symbols, row, keys),
            |block| {
                if block.len() <= matcher.block_records_max() as usize {
                    for (at, a) in block.iter().enumerate() {
                        found.extend(block[at + 1..].iter().map(|b| (*a, *b)));
                    }
                }
            },
        );
        found.sort_unstable();
        found.dedup();
        let scale = (found.len() as f64 / most as f64).max(1.0);
        let thinned = thin(found, most);
        let pairs: Vec<Pair> = thinned.into_iter().map(|(a, b)| pair(matcher, data, a, b)).collect();
        if !pairs.is_empty() {
            let u = model.comparisons.iter().map(|one| one.levels.iter().map(|level| level.u).collect()).collect();
            passes.push(Pass { pairs, masked, scale, matches: 0.2, u });
        }
    }
    passes
}

/// Calls `block` with the records of each key.
pub(crate) fn blocks(
    data: &Rows<'_>,
    stride: usize,
    count: usize,
    keys: impl Fn(&Symbols, &[Symbol], &mut SmallVec<[u64; 16]>),
    mut block: impl FnMut(&[u32]),
) {
    let mut entries: Vec<(u64, u32)> = Vec::new();
    let mut found = SmallVec::new();
    for record in 0..count {
        found.clear();
        keys(data.symbols, &data.rows[record * stride..(record + 1) * stride], &mut found);
        entries.extend(found.iter().map(|key| (*key, record as u32)));
    }
    entries.sort_unstable();
    entries.dedup();
    let mut members = Vec::new();
    for run in entries.chunk_by(|a, b| a.0 == b.0) {
        if run.len() > 1 {
            members.clear();
            members.extend(run.iter().map(|(_, record)| *record));
            block(&members);
        }
    }
}

/// At most so many, spread evenly by a hash of the pair.
fn thin(mut pairs: Vec<(u32, u32)>, most: usize) -> Vec<(u32, u32)> {
    if pairs.len() > most {
        pairs.sort_by_cached_key(|(a, b)| mix(u64::from(*a) << 32 | u64::from(*b)));
        pairs.truncate(most);
    }
    pairs
}

fn pair(matcher: &Matcher, data: &Rows<'_>, a: u32, b: u32) -> Pair {
    let stride = matcher.stride();
    let row = |at: u32| &data.rows[at as usize * stride..(at as usize + 1) * stride];
    let rows = RowPair::new(data.symbols, row(a), row(b));
    let mut pair = Pair { levels: SmallVec::new(), frequency_bits: SmallVec::new() };
    for comparison in &matcher.model().comparisons {
        let outcome = comparison.aspect.compare(&rows);
        pair.levels.push(outcome.level);
        pair.frequency_bits.push(matcher.frequency_bits(outcome.frequency));
    }
    if let Some((comparison, bits)) = matcher.whole_name_bits(data.symbols, row(a), row(b)) {
        pair.frequency_bits[comparison] += bits;
    }
    pair
}

/// One round: what share of each pair is a match under the present m, and the m that this makes likeliest.
fn maximise(model: &mut Model, habits: &Model, passes: &mut [Pass]) {
    let bits = |probability: f64| probability.max(PROBABILITY_MIN).log2() as f32;
    let m_bits: Vec<Vec<f32>> =
        model.comparisons.iter().map(|one| one.levels.iter().map(|level| bits(level.m)).collect()).collect();
    let mut seen: Vec<Vec<f64>> = model.comparisons.iter().map(|one| vec![0.0; one.levels.len()]).collect();
    for pass in passes {
        let u_bits: Vec<Vec<f32>> = pass.u.iter().map(|levels| levels.iter().map(|u| bits(*u)).collect()).collect();
        let mut strangers: Vec<Vec<f64>> = pass.u.iter().map(|levels| vec![0.0; levels.len()]).collect();
        let mut matches = 0.0;
        let (prior, other) = (bits(pass.matches), bits(1.0 - pass.matches));
        for pair in &pass.pairs {
            let (mut one, mut far) = (prior, other);
            for at in 0..m_bits.len() {
                let level = pair.levels[at];
                if level != SILENT && !pass.masked[at] {
                    one += m_bits[at][usize::from(level)];
                    far += u_bits[at][usize::from(level)] + pair.frequency_bits[at];
                }
            }
            let share = f64::from((one - log2_sum(one, far)).exp2());
            matches += share;
            for at in 0..m_bits.len() {
                let level = usize::from(pair.levels[at]);
                if pair.levels[at] != SILENT && !pass.masked[at] {
                    seen[at][level] += share * pass.scale;
                    strangers[at][level] += 1.0 - share;
                }
            }
        }
        pass.matches = (matches / pass.pairs.len() as f64).clamp(1e-4, 0.999);
        for ((u, strangers), comparison) in pass.u.iter_mut().zip(&strangers).zip(&model.comparisons) {
            let total: f64 = strangers[1..].iter().sum();
            for ((u, strangers), level) in u[1..].iter_mut().zip(&strangers[1..]).zip(&comparison.levels[1..]) {
                *u = (strangers + HABIT_STRANGERS * level.u) / (total + HABIT_STRANGERS);
            }
        }
    }
    for ((comparison, habit), seen) in model.comparisons.iter_mut().zip(&habits.comparisons).zip(&seen) {
        let most = differ_max(&comparison.aspect);
        set_matches(&mut comparison.levels, &habit.levels, seen, most);
    }
}

fn set_matches(levels: &mut [LevelModel], habit: &[LevelModel], seen: &[f64], most: f64) {
    let total: f64 = seen[1..].iter().sum();
    let whole: f64 = habit[1..].iter().map(|level| level.m).sum();
    let weight = HABIT_PAIRS + HABIT_SHARE * total;
    for ((level, habit), seen) in levels[1..].iter_mut().zip(&habit[1..]).zip(&seen[1..]) {
        level.m = (seen + weight * habit.m / whole) / (total + weight);
    }
    hold(levels, most);
}

/// Holds the share of matches that differ to what one party can be: beyond it, the pairs taken for matches are kin.
fn hold(levels: &mut [LevelModel], most: f64) {
    let Some((last, rest)) = levels[1..].split_last_mut() else { return };
    if last.m > most {
        let scale = (1.0 - most) / (1.0 - last.m).max(PROBABILITY_MIN);
        rest.iter_mut().for_each(|level| level.m *= scale);
        last.m = most;
    }
}

/// The largest believable share of one party's pairs that plainly differ in this aspect.
const fn differ_max(aspect: &Aspect) -> f64 {
    match aspect {
        Aspect::GivenName { .. } => 0.1,
        Aspect::FamilyName { .. } | Aspect::Organisation { .. } => 0.25,
        Aspect::BirthDate(_) => 0.3,
        _ => 1.0,
    }
}

/// m from the pairs that the labels call one party.
fn fit_labelled(model: &mut Model, matcher: &Matcher, data: &Rows<'_>, labels: &[Option<u32>]) {
    let mut members: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (record, label) in (0..).zip(labels) {
        if let Some(label) = label {
            members.entry(*label).or_default().push(record);
        }
    }
    let habits = Model::untrained(model.schema.clone());
    let mut seen: Vec<Vec<f64>> = model.comparisons.iter().map(|one| vec![0.0; one.levels.len()]).collect();
    let mut pairs = Vec::new();
    for cluster in members.values() {
        for (at, a) in cluster.iter().enumerate() {
            pairs.extend(cluster[at + 1..].iter().map(|b| (*a, *b)));
        }
    }
    for (a, b) in thin(pairs, RANDOM_PAIRS) {
        let pair = pair(matcher, data, a, b);
        for (seen, level) in seen.iter_mut().zip(&pair.levels) {
            seen[usize::from(*level)] += 1.0;
        }
    }
    for ((comparison, habit), seen) in model.comparisons.iter_mut().zip(&habits.comparisons).zip(&seen) {
        let most = differ_max(&comparison.aspect);
        set_matches(&mut comparison.levels, &habit.levels, seen, most);
    }
}

/// The priors that make the expected number of matches among all candidates come out as the model itself sees it.
fn fit_priors(model: &mut Model, data: &Rows<'_>, count: usize, most: usize) {
    let matcher = Matcher::new(model.clone());
    let bound = matcher.block_records_max() as usize;
    let mut found: Vec<(u32, u32)> = Vec::new();
    blocks(
        data,
        matcher.stride(),
        count,
        |symbols, row, keys| matcher.keys(symbols, row, keys),
        |block| {
            if block.len() <= bound && found.len() < 20 * PRIOR_PAIRS_MAX {
                for (at, a) in block.iter().enumerate() {
                    found.extend(block[at + 1..].iter().map(|b| (*a, *b)));
                }
            }
        },
    );
    found.sort_unstable();
    found.dedup();
    let scale = (found.len() as f64 / most as f64).max(1.0);
    let thinned = thin(found, most);
    let sums: Vec<[f32; 3]> = thinned
        .iter()
        .map(|(a, b)| {
            let pair = pair(&matcher, data, *a, *b);
            let mut sums = [0.0_f32; 3];
            for (at, comparison) in model.comparisons.iter().enumerate() {
                let level = usize::from(pair.levels[at]);
                if level != usize::from(SILENT) {
                    let m = comparison.levels[level].m.max(PROBABILITY_MIN).log2() as f32;
                    sums[0] += m;
                    let u = comparison.levels[level].u.max(PROBABILITY_MIN).log2() as f32 + pair.frequency_bits[at];
                    sums[1] += kin_bits(comparison.kinship as f32, m, u);
                    sums[2] += u;
                }
            }
            sums
        })
        .collect();
    let whole = count as f64 * (count as f64 - 1.0) / 2.0;
    let least = 0.02 * count as f64 / whole;
    let most = 50.0 * count as f64 / whole;
    let (mut matches, mut kin) = ((0.5 * count as f64 / whole).clamp(least, most), least);
    for _ in 0..20 {
        let priors = [matches.log2() as f32, kin.log2() as f32, 0.0];
        let (mut match_sum, mut kin_sum) = (0.0_f64, 0.0_f64);
        for sums in &sums {
            let [one, near, far] = [sums[0] + priors[0], sums[1] + priors[1], sums[2] + priors[2]];
            let all = log2_sum(one, log2_sum(near, far));
            match_sum += f64::from((one - all).exp2());
            kin_sum += f64::from((near - all).exp2());
        }
        matches = (match_sum * scale / whole).clamp(least, most).min(0.4);
        kin = (kin_sum * scale / whole).clamp(least, most).min(0.4);
    }
    model.match_prior = matches;
    model.kin_prior = kin;
}
