//! How fast and how small live matching is, on a generated population:
//! `cargo run --release -p onefold-cli --example match_speed [FRAGMENTS]`.
//!
//! Trains on the first fragments, and weighs the candidate pairs among them: as linking does, which gives a pair up once it
//! cannot reach the review line, and to the end. Then puts and settles all fragments in batches, as the lane of a server
//! does; preparing is not counted, since servers do it on other threads. Then writes a checkpoint and reads it back.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use onefold_cli::generate::{Population, Sizes, fragment, tenant};
use onefold_core::fragment::{Fragment, PartyKind};
use onefold_core::identifier::region;
use onefold_core::ids::{Place, SlotId};
use onefold_matching::pair::train::{Census, Options, Rows, train};
use onefold_matching::pair::{Extractor, Features, Matcher, Model, Schema, Symbols};
use onefold_matching::prepare::Preparer;
use onefold_matching::prepared::Prepared;
use onefold_matching::resolve::{Engine, LinkRules, Weigher};

const BATCH: usize = 512;
/// Fragments that the models are trained on at most.
const TRAINING: usize = 50_000;
/// Candidate pairs that are weighed one by one at most.
const PAIRS: usize = 2_000_000;

#[expect(clippy::disallowed_methods, reason = "this program measures")]
fn clock() -> Instant {
    Instant::now()
}

fn main() -> Result<(), Box<dyn Error>> {
    let wanted: usize = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(100_000);
    let people = u32::try_from(wanted / 3)?.max(1);
    let config = Arc::new(tenant());
    let preparer = Preparer::new(Arc::clone(&config), [7; 32])?;
    let population = Population::new(7, Sizes { people, companies: people / 20 });
    let fragments: Vec<Fragment> = population.filter_map(|record| fragment(&record, &config)).take(wanted).collect();
    let extractors = [Extractor::new(&Schema::person(), &config)?, Extractor::new(&Schema::organisation(), &config)?];
    let features = |fragment: &Fragment| -> Features {
        extractors[fragment.party as usize].features(fragment, region::of(fragment, &config))
    };
    let start = clock();
    let models = [
        trained(PartyKind::Person, Schema::person(), &fragments, &features),
        trained(PartyKind::Organisation, Schema::organisation(), &fragments, &features),
    ];
    println!("trained in {:.1} s", start.elapsed().as_secs_f64());
    weigh_pairs(&models[PartyKind::Person as usize], &fragments, &features);
    let models = models.map(|model| Some(Arc::new(Matcher::new(model)) as Arc<dyn Weigher>));

    let mut engine = Engine::with_models(LinkRules::of(&config), models.clone());
    let (mut putting, mut settling, mut slowest) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    let mut done = 0;
    for batch in fragments.chunks(BATCH) {
        let batch: Vec<Prepared> = batch
            .iter()
            .map(|fragment| {
                let (mut prepared, _) = preparer.prepare(fragment);
                prepared.features = Some(features(fragment));
                prepared
            })
            .collect();
        let begin = clock();
        std::hint::black_box(engine.look_ahead(&batch));
        for prepared in &batch {
            engine.put(prepared, Place { segment: 1, offset: done }, SlotId(done));
            done += 1;
        }
        let put = clock();
        engine.settle();
        let settled = clock();
        putting += put - begin;
        settling += settled - put;
        slowest = slowest.max(settled - begin);
        if done.is_multiple_of(BATCH as u32 * 200) {
            let each = (putting + settling).as_secs_f64() * 1e6 / f64::from(done);
            println!(
                "{done:>9} put {:.2} s, settled {:.2} s, {each:.1} us each, {:.0} bytes each",
                putting.as_secs_f64(),
                settling.as_secs_f64(),
                engine.memory_bytes() as f64 / f64::from(done)
            );
        }
    }
    let rate = f64::from(done) / (putting + settling).as_secs_f64();
    println!("{done} fragments: {rate:.0}/s, slowest batch {slowest:?}");
    println!("{:?}", engine.stats());
    println!("{:.1} bytes per fragment", engine.memory_bytes() as f64 / f64::from(done));
    for (part, bytes) in engine.memory_parts() {
        println!("{:>8.1} {part}", bytes as f64 / f64::from(done));
    }

    let start = clock();
    let mut sections: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    engine.write_to(&mut |name, bytes| {
        sections.insert(name.to_owned(), bytes.to_vec());
        Ok::<(), std::convert::Infallible>(())
    })?;
    let written = clock();
    let bytes: usize = sections.values().map(Vec::len).sum();
    let read = Engine::read_with_models(LinkRules::of(&config), models, &mut |name| sections.remove(name))?;
    println!(
        "checkpoint of {:.1} bytes per fragment written in {:.2} s, read in {:.2} s",
        bytes as f64 / f64::from(done),
        (written - start).as_secs_f64(),
        written.elapsed().as_secs_f64()
    );
    assert_eq!(read.digest(), engine.digest());
    Ok(())
}

fn trained(
    party: PartyKind,
    schema: Schema,
    fragments: &[Fragment],
    features: &dyn Fn(&Fragment) -> Features,
) -> Model {
    let sample: Vec<Features> =
        fragments.iter().filter(|fragment| fragment.party == party).take(TRAINING).map(features).collect();
    let mut census = Census::new(&schema);
    sample.iter().for_each(|features| census.add(features));
    let mut model = Model::untrained(schema);
    census.tell(&mut model);
    let matcher = Matcher::new(model.clone());
    let (mut symbols, mut rows) = (Symbols::default(), Vec::new());
    sample.iter().for_each(|features| matcher.row(&mut symbols, features, &mut rows));
    train(model, &Rows { symbols: &symbols, rows: &rows }, Options { labels: None, version: "measured" })
}

/// Nanoseconds for each candidate pair of persons.
fn weigh_pairs(model: &Model, fragments: &[Fragment], features: &dyn Fn(&Fragment) -> Features) {
    let matcher = Matcher::new(model.clone());
    let (stride, block_max) = (matcher.stride(), matcher.block_records_max() as usize);
    let (mut symbols, mut rows) = (Symbols::default(), Vec::new());
    let persons = fragments.iter().filter(|fragment| fragment.party == PartyKind::Person).take(TRAINING);
    persons.for_each(|fragment| matcher.row(&mut symbols, &features(fragment), &mut rows));
    let row = |at: u32| &rows[at as usize * stride..(at as usize + 1) * stride];
    let mut keyed: Vec<(u64, u32)> = Vec::new();
    let mut keys = smallvec::SmallVec::new();
    for at in 0..(rows.len() / stride) as u32 {
        matcher.keys(&symbols, row(at), &mut keys);
        keyed.extend(keys.iter().map(|key| (*key, at)));
    }
    keyed.sort_unstable();
    let mut pairs: Vec<(u32, u32)> = Vec::new();
    for block in keyed.chunk_by(|a, b| a.0 == b.0).filter(|block| block.len() <= block_max) {
        for (at, (_, one)) in block.iter().enumerate() {
            pairs.extend(block[at + 1..].iter().map(|(_, other)| (*one, *other)));
        }
    }
    pairs.sort_unstable();
    pairs.dedup();
    pairs.truncate(PAIRS);
    let review = matcher.review_bits();
    let nanos = |elapsed: Duration| elapsed.as_secs_f64() * 1e9 / pairs.len().max(1) as f64;
    // The second round finds what the first one found out about pairs of texts, as a server does that runs for a while.
    for round in ["first", "second"] {
        let start = clock();
        let near = pairs.iter().filter(|(a, b)| matcher.weigh_above(&symbols, row(*a), row(*b), review).is_some());
        let near = near.count();
        let above = clock();
        let total: f64 = pairs.iter().map(|(a, b)| f64::from(matcher.weigh(&symbols, row(*a), row(*b)))).sum();
        std::hint::black_box(total);
        println!(
            "{} candidate pairs of {stride} fields, {near} worth a question, {round} round: {:.0} ns a pair to the review line, \
             {:.0} ns to the end",
            pairs.len(),
            nanos(above - start),
            nanos(above.elapsed())
        );
    }
}
