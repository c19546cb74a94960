//! Fitting a model to data, without labels or with some.
//!
//! Frequencies are counted; u comes from pairs drawn at random, nearly all of them strangers; m by expectation maximisation
//! over candidate pairs (Dempster, Laird, Rubin 1977; Winkler 1988). Candidates that one blocking rule found agree on what
//! the rule speaks of whether they match or not, so each rule's pairs teach every comparison but those. The model's usual
//! habits stand in as a prior, so that little data moves little. Draws are seeded: the same rows give the same model.

use std::collections::BTreeMap;
use std::num::NonZero;

use hashbrown::HashMap;
use smallvec::SmallVec;

use super::comparison::{Aspect, Level, Pair as RowPair, SILENT};
use super::features::Features;
use super::model::{ComparisonModel, Frequencies, LevelModel, Model, PROBABILITY_MIN};
use super::schema::{FieldKind, Schema};
use super::symbols::{Symbol, Symbols, mix, words_of};
use super::weigh::{Likeness, Matcher, log2_sum};

/// Random pairs for u.
const RANDOM_PAIRS: usize = 250_000;
/// Candidate pairs of one rule at most; more are thinned evenly.
const RULE_PAIRS_MAX: usize = 15_000;
/// Candidate pairs of all rules for the priors at most.
const PRIOR_PAIRS_MAX: usize = 150_000;
/// Records in a block that is learned from at most: larger ones than those that are linked by, for there is more to be seen
/// of strangers in them.
const TRAINING_BLOCK_MAX: usize = 100;
/// Rounds of expectation maximisation.
const ROUNDS: usize = 12;
/// Pairs of kin that a population is taken to have at least.
const KIN_HABIT_PAIRS: f64 = 50.0;
/// Once they are nearly there.
const ROUNDS_AGAIN: usize = 5;
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

/// Pairs, one after the other: the level of each comparison, and what the frequency of its values adds to the bits of u.
#[derive(Default)]
struct Pairs {
    outcomes: Vec<(Level, f32)>,
    width: usize,
}

/// Threads that compare pairs at most.
const THREADS_MAX: usize = 8;
/// Pairs for which threads are worth their making.
const PARALLEL_MIN: usize = 2_000;

fn outcomes(matcher: &Matcher, data: &Rows<'_>, pairs: &[(u32, u32)]) -> Vec<(Level, f32)> {
    let comparisons = &matcher.model().comparisons;
    let stride = matcher.stride();
    let row = |at: u32| &data.rows[at as usize * stride..(at as usize + 1) * stride];
    let mut outcomes = Vec::with_capacity(pairs.len() * comparisons.len());
    for (a, b) in pairs {
        let (a, b) = (row(*a), row(*b));
        let rows = RowPair::new(data.symbols, a, b);
        let first = outcomes.len();
        outcomes.extend(comparisons.iter().map(|comparison| {
            let outcome = comparison.aspect.compare(&rows);
            (outcome.level, matcher.frequency_bits(outcome.frequency))
        }));
        if let Some((comparison, bits)) = matcher.whole_name_bits(data.symbols, a, b) {
            outcomes[first + comparison].1 += bits;
        }
    }
    outcomes
}

impl Pairs {
    /// Compares all pairs, on as many threads as there are: which one looks at a pair shows nowhere.
    fn of(matcher: &Matcher, data: &Rows<'_>, pairs: &[(u32, u32)]) -> Self {
        let width = matcher.model().comparisons.len();
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(THREADS_MAX);
        if pairs.len() < PARALLEL_MIN || threads == 1 {
            return Self { outcomes: outcomes(matcher, data, pairs), width };
        }
        let parts: Vec<Vec<(Level, f32)>> = std::thread::scope(|scope| {
            let parts = pairs.chunks(pairs.len().div_ceil(threads));
            let running: Vec<_> = parts.map(|part| scope.spawn(move || outcomes(matcher, data, part))).collect();
            let joined = running.into_iter().map(|part| part.join());
            joined.map(|part| part.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
        });
        Self { outcomes: parts.concat(), width }
    }

    fn len(&self) -> usize {
        self.outcomes.len() / self.width.max(1)
    }

    fn each(&self) -> impl Iterator<Item = &[(Level, f32)]> {
        self.outcomes.chunks_exact(self.width.max(1))
    }
}

/// What a pass over the candidates of one rule learns from. Its strangers are no random pairs: they agree on what the rule
/// speaks of, and so on what comes with it (a household's address, a research group's venue), and have a u of their own.
struct Pass {
    pairs: Pairs,
    /// The comparisons that the rule does not speak of.
    open: Vec<usize>,
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
    let telling = strangers.telling(&trained);
    let mut passes = passes(&matcher, data, count, RULE_PAIRS_MAX / effort, &telling);
    let mut habits = Model::untrained(trained.schema.clone());
    // Where nothing is left to learn m from, nothing tells matches from strangers among random pairs but that some are
    // nearer each other than strangers are.
    let least = if passes.is_empty() && options.labels.is_none() {
        strangers.excess(&trained).clamp(PROBABILITY_MIN, 0.4)
    } else {
        0.0
    };
    if least > 0.0 {
        strangers.fit(&mut trained, least);
        // A number of which nothing is known may be a count or a price as well as a year: it says nothing.
        for (habit, fitted) in habits.comparisons.iter_mut().zip(&mut trained.comparisons) {
            if matches!(habit.aspect, Aspect::Number(_)) {
                silence(habit, fitted);
            }
        }
    }
    for round in 0..DECONTAMINATIONS {
        if round == 0 {
            settle_sources(&mut habits, &mut trained);
        }
        if let Some(labels) = options.labels {
            fit_labelled(&mut trained, &matcher, data, labels);
        } else {
            for _ in 0..if round == 0 { ROUNDS } else { ROUNDS_AGAIN } {
                maximise(&mut trained, &habits, &mut passes);
            }
        }
        let sums = fit_priors(&mut trained, data, count, PRIOR_PAIRS_MAX / effort);
        trained.match_prior = trained.match_prior.max(least);
        if round + 1 == DECONTAMINATIONS {
            draw_line(&mut trained, &sums);
        }
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
            silence(habit, fitted);
        }
    }
}

/// Makes a comparison say nothing, until data has it say something.
fn silence(habit: &mut ComparisonModel, fitted: &mut ComparisonModel) {
    for (habit, fitted) in habit.levels.iter_mut().zip(&mut fitted.levels) {
        habit.m = fitted.u;
        fitted.m = fitted.u;
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

    /// The share of random pairs that are so near each other as strangers hardly ever are, by the comparison that most
    /// records have a value for, over the share of matches that are.
    fn excess(&self, model: &Model) -> f64 {
        let shares = model.comparisons.iter().zip(&self.seen).filter_map(|(comparison, seen)| {
            let total: f64 = seen[1..].iter().sum();
            let near = 1..=comparison.aspect.near_levels();
            if near.is_empty() || total < 100.0 || is_source(&comparison.aspect, &model.schema) {
                return None;
            }
            let over: f64 = near.clone().map(|level| (1.0 - UNEXPLAINED) * seen[level] / total).sum();
            let m: f64 = near.map(|level| comparison.levels[level].m).sum();
            Some((total, over / m.max(PROBABILITY_MIN)))
        });
        shares.max_by(|a, b| a.0.total_cmp(&b.0)).map_or(0.0, |(_, excess)| excess)
    }

    /// By comparison: whether it tells enough to teach another one what matches are like. Most strangers agree on a legal
    /// form or a small number as readily as matches do.
    fn telling(&self, model: &Model) -> Vec<bool> {
        let several = |seen: &[f64]| seen[1..].iter().filter(|count| **count > 0.0).count() > 1;
        let strong = |aspect: &Aspect| !matches!(aspect, Aspect::Exact(_) | Aspect::Number(_));
        model.comparisons.iter().zip(&self.seen).map(|(one, seen)| several(seen) && strong(&one.aspect)).collect()
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
fn passes(matcher: &Matcher, data: &Rows<'_>, count: usize, most: usize, telling: &[bool]) -> Vec<Pass> {
    let model = matcher.model();
    let mut passes = Vec::new();
    for (number, rule) in (0..).zip(matcher.rules()) {
        let slots = rule.slots();
        let masked: Vec<bool> = model
            .comparisons
            .iter()
            .map(|comparison| comparison.aspect.slots().iter().any(|slot| slots.contains(slot)))
            .collect();
        // One comparison alone cannot tell matches from strangers: it takes two that agree with each other.
        if masked.iter().zip(telling).filter(|(masked, telling)| !**masked && **telling).count() < 2 {
            continue;
        }
        let (thinned, scale) = candidates(matcher, data, count, most, |symbols, row, keys| {
            rule.keys(number, symbols, row, keys);
        });
        let pairs = Pairs::of(matcher, data, &thinned);
        if pairs.len() > 0 {
            let open = (0..masked.len()).filter(|at| !masked[*at]).collect();
            let u = model.comparisons.iter().map(|one| one.levels.iter().map(|level| level.u).collect()).collect();
            passes.push(Pass { pairs, open, scale, matches: 0.2, u });
        }
    }
    passes
}

/// The pairs that share a key whose block is within the bound: about `most` of them, spread evenly, and how many each of
/// them stands for.
fn candidates(
    matcher: &Matcher,
    data: &Rows<'_>,
    count: usize,
    most: usize,
    keys: impl Fn(&Symbols, &[Symbol], &mut SmallVec<[u64; 16]>),
) -> (Vec<(u32, u32)>, f64) {
    let (stride, bound) = (matcher.stride(), TRAINING_BLOCK_MAX);
    let mut entries: Vec<(u64, u32)> = Vec::new();
    let mut found = SmallVec::new();
    for record in 0..count {
        found.clear();
        keys(data.symbols, &data.rows[record * stride..(record + 1) * stride], &mut found);
        entries.extend(found.iter().map(|key| (*key, record as u32)));
    }
    entries.sort_unstable();
    entries.dedup();
    let open = || entries.chunk_by(|a, b| a.0 == b.0).filter(|block| (2..=bound).contains(&block.len()));
    let all: usize = open().map(|block| block.len() * (block.len() - 1) / 2).sum();
    // Whether a pair is kept is said by the pair alone, so that a pair of two blocks is kept in both or in neither.
    let share = (1.25 * most as f64 / all.max(1) as f64).min(1.0);
    let line = (share * u64::MAX as f64) as u64;
    let mut pairs: Vec<(u32, u32)> = Vec::with_capacity(all.min(2 * most));
    for block in open() {
        for (at, (_, a)) in block.iter().enumerate() {
            pairs.extend(block[at + 1..].iter().map(|(_, b)| (*a, *b)).filter(|pair| turn(*pair) <= line));
        }
    }
    pairs.sort_unstable();
    pairs.dedup();
    let kept = pairs.len();
    let thinned = thin(pairs, most);
    let scale = kept as f64 / thinned.len().max(1) as f64 / share;
    (thinned, scale)
}

fn turn((a, b): (u32, u32)) -> u64 {
    mix(u64::from(a) << 32 | u64::from(b))
}

/// At most so many, spread evenly by a hash of the pair.
fn thin(mut pairs: Vec<(u32, u32)>, most: usize) -> Vec<(u32, u32)> {
    if pairs.len() > most {
        pairs.sort_by_cached_key(|pair| turn(*pair));
        pairs.truncate(most);
    }
    pairs
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
        for pair in pass.pairs.each() {
            let (mut one, mut far) = (prior, other);
            for at in &pass.open {
                let (level, frequency_bits) = pair[*at];
                if level != SILENT {
                    one += m_bits[*at][usize::from(level)];
                    far += u_bits[*at][usize::from(level)] + frequency_bits;
                }
            }
            let share = f64::from((one - log2_sum(one, far)).exp2());
            matches += share;
            for at in &pass.open {
                let level = usize::from(pair[*at].0);
                seen[*at][level] += share * pass.scale;
                strangers[*at][level] += 1.0 - share;
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
    for pair in Pairs::of(matcher, data, &thin(pairs, RANDOM_PAIRS)).each() {
        for (seen, (level, _)) in seen.iter_mut().zip(pair) {
            seen[usize::from(*level)] += 1.0;
        }
    }
    for ((comparison, habit), seen) in model.comparisons.iter_mut().zip(&habits.comparisons).zip(&seen) {
        let most = differ_max(&comparison.aspect);
        set_matches(&mut comparison.levels, &habit.levels, seen, most);
    }
}

/// The priors that make the expected number of matches among all candidates come out as the model itself sees it.
fn fit_priors(model: &mut Model, data: &Rows<'_>, count: usize, most: usize) -> Vec<Sums> {
    let matcher = Matcher::new(model.clone());
    let (thinned, scale) =
        candidates(&matcher, data, count, most, |symbols, row, keys| matcher.keys(symbols, row, keys));
    let bits = |probability: f64| probability.max(PROBABILITY_MIN).log2() as f32;
    let levels: Vec<Vec<(f32, f32)>> = model
        .comparisons
        .iter()
        .map(|one| one.levels.iter().map(|level| (bits(level.m), bits(level.u))).collect())
        .collect();
    let near: Vec<(Likeness, Likeness)> =
        model.comparisons.iter().map(|one| (Likeness::new(one.kinship), Likeness::new(one.sisterhood))).collect();
    let sums: Vec<Sums> = Pairs::of(&matcher, data, &thinned)
        .each()
        .map(|pair| {
            let mut sums = Sums::default();
            for (((kin, sisters), levels), (level, frequency_bits)) in near.iter().zip(&levels).zip(pair) {
                if *level != SILENT {
                    let (m, u) = levels[usize::from(*level)];
                    sums.one += m;
                    sums.kin += kin.bits(m, u + frequency_bits);
                    sums.sisters += sisters.bits(m, u + frequency_bits);
                    sums.strangers += u + frequency_bits;
                }
            }
            sums
        })
        .collect();
    let whole = count as f64 * (count as f64 - 1.0) / 2.0;
    let least = 0.02 * count as f64 / whole;
    let most = 50.0 * count as f64 / whole;
    // So many are kin in any population: what few pairs cannot show, they may not rule out.
    let kin_least = least.max(KIN_HABIT_PAIRS / whole).min(0.1);
    let (mut matches, mut kin) = ((0.5 * count as f64 / whole).clamp(least, most), kin_least);
    let mut sisters = if model.sister_prior > 0.0 { least } else { 0.0 };
    for _ in 0..20 {
        let priors = [matches.log2() as f32, kin.log2() as f32, sisters.log2() as f32];
        let mut seen = [0.0_f64; 3];
        for sums in &sums {
            let near = [sums.one + priors[0], sums.kin + priors[1], sums.sisters + priors[2]];
            let all = log2_sum(log2_sum(near[0], near[1]), log2_sum(near[2], sums.strangers));
            for (seen, near) in seen.iter_mut().zip(near) {
                *seen += f64::from((near - all).exp2());
            }
        }
        let share = |seen: f64| (seen * scale / whole).clamp(least, most).min(0.4);
        (matches, kin) = (share(seen[0]), share(seen[1]).max(kin_least));
        if sisters > 0.0 {
            sisters = share(seen[2]);
        }
    }
    model.match_prior = matches;
    model.kin_prior = kin;
    model.sister_prior = sisters;
    sums
}

/// The bits of a candidate pair under each hypothesis, without priors.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    one: f32,
    kin: f32,
    sisters: f32,
    strangers: f32,
}

/// Of the pairs that a fitted model links, so many shall be one party, as it sees it itself.
const EXPECTED_PRECISION: f64 = 0.96;
/// What is asked for at most, however few they are.
const ASKED_MAX: f64 = 0.985;
/// And more than that by so many standard errors: of few pairs a model is less to be trusted.
const STANDARD_ERRORS: f64 = 1.5;

/// Raises the line from which pairs are linked until what is linked is expected to be right often enough.
fn draw_line(model: &mut Model, sums: &[Sums]) {
    let [matches, kin, sisters] =
        [model.match_prior, model.kin_prior, model.sister_prior].map(|prior| prior.log2() as f32);
    let base = model.link_bits as f32;
    let mut weights: Vec<f32> = sums
        .iter()
        .map(|sums| {
            let near = log2_sum(sums.kin + kin, sums.sisters + sisters);
            sums.one + matches - log2_sum(near, sums.strangers)
        })
        .filter(|weight| *weight >= base)
        .collect();
    weights.sort_unstable_by(|a, b| b.total_cmp(a));
    let expected = EXPECTED_PRECISION;
    let error = (expected * (1.0 - expected) / weights.len().max(1) as f64).sqrt();
    let asked = (expected + STANDARD_ERRORS * error).min(ASKED_MAX);
    let (mut right, mut line) = (0.0_f64, f32::INFINITY);
    for (count, weight) in (1_u32..).zip(&weights) {
        right += 1.0 / (1.0 + f64::from(-weight).exp2());
        if right >= asked * f64::from(count) {
            line = *weight;
        }
    }
    let lowest = weights.last().copied().unwrap_or(base);
    // When even the least of them is enough, the line stays where habit has it.
    if line > lowest && line.is_finite() {
        let raised = f64::from((line * 10.0).floor()) / 10.0;
        model.review_bits += raised - model.link_bits;
        model.link_bits = raised;
    }
}
