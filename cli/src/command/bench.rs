//! `onefold bench`: an open-loop load generator.
//!
//! Calls are due at moments fixed beforehand and are made then, however long those before take. A latency runs from the
//! moment a call was due, so that a server that stalls cannot hide it by keeping the generator waiting (Gil Tene,
//! "How not to measure latency": coordinated omission).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::{Args, ValueEnum};
use hdrhistogram::Histogram;
use indicatif::ProgressBar;
use onefold_cli::generate::{Population, Sizes};
use onefold_cli::output::{Side, Table, count};
use onefold_proto::v1 as pb;
use onefold_server::{Config, ServeError, Server, telemetry};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;

use super::demo::{fragment, sources};
use super::serve::start_failure;
use super::{Failure, online, paint, say, say_json};
use crate::client::{Client, Target};
use crate::clock::Stopwatch;
use crate::ingest::stream::Upload;
use crate::ingest::tally::Tally;
use crate::ingest::{At, ROWS_WAITING_MAX, Row, Sending};

/// Calls that may be late at once; a server that is further behind does not hold the rate.
const LATE_MAX: usize = 100_000;
/// Calls under way at once, per connection; the server takes a hundred streams of one.
const UNDER_WAY_MAX: usize = 96;
/// Fragments without an answer on one stream.
const WINDOW: usize = 4_096;
/// Keys of one batch lookup.
const BATCH_KEYS: usize = 50;
/// Keys that lookups and decisions go round.
const KEYS_MAX: usize = 100_000;
/// The longest latency told apart, in microseconds.
const LATENCY_MAX: u64 = 600_000_000;

/// What is asked of the server.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Load {
    /// Lookups of one identifier each.
    Lookup,
    /// Lookups of 50 identifiers each.
    Batch,
    /// Contact decisions.
    Decide,
    /// Fragments, each durable when it is answered.
    Ingest,
    /// Lookups at the rate, beside fragments as fast as they are taken.
    Mixed,
}

/// Puts a server under load and tells the latencies, with generated people. Calls come at a fixed rate whatever the
/// server does. Without `--to` a server is started on a temporary directory; with it, the people are written into the
/// tenant, so name one of its own.
#[derive(Args)]
pub struct Arguments {
    /// What to ask.
    load: Load,
    /// Calls a second; fragments a second for `ingest`, where 0 is as fast as they are taken.
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    rate: u64,
    /// How long.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    seconds: u64,
    /// Records that are there before it begins.
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    records: u32,
    /// Connections.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    connections: u32,
    /// A server that runs already.
    #[arg(long, value_name = "ADDR")]
    to: Option<String>,
    /// The tenant.
    #[arg(long, value_name = "NAME", default_value = "default")]
    tenant: String,
    /// Links by identifiers alone; of a server that is started here.
    #[arg(long, conflicts_with = "to")]
    exact_only: bool,
    /// Where a server that is started here keeps its data; removed at the end.
    #[arg(long, value_name = "DIR", conflicts_with = "to")]
    scratch: Option<PathBuf>,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    if arguments.rate == 0 && arguments.load != Load::Ingest {
        return Err(Failure::usage("--rate 0 is for `ingest` alone: every other load needs its calls a second"));
    }
    if arguments.seconds == 0 {
        return Err(Failure::usage("--seconds must be 1 or more"));
    }
    telemetry::start("warn", false).map_err(Failure::new)?;
    online(bench(arguments))
}

async fn bench(arguments: &Arguments) -> Result<(), Failure> {
    let Some(to) = &arguments.to else {
        let mut builder = tempfile::Builder::new();
        builder.prefix("onefold-bench-");
        let scratch = match &arguments.scratch {
            Some(dir) => builder.tempdir_in(dir),
            None => builder.tempdir(),
        };
        let scratch = scratch.map_err(|error| Failure::new(format!("no temporary directory can be made: {error}")))?;
        let mut config = Config::new(scratch.path().join("data"), SocketAddr::from(([127, 0, 0, 1], 0)));
        config.match_models = !arguments.exact_only;
        let failed = |error| start_failure(&error, scratch.path());
        let server = Server::start(config).await.map_err(|error| failed(ServeError::from(error)))?;
        let outcome = measure(arguments, &server.address().to_string()).await;
        server.stop().await.map_err(failed)?;
        return outcome;
    };
    measure(arguments, to).await
}

/// What came of a load.
struct Measured {
    what: &'static str,
    /// Asked for; `None` when it went as fast as it could.
    rate: Option<u64>,
    calls: u64,
    errors: u64,
    seconds: f64,
    latencies: Histogram<u64>,
}

async fn measure(arguments: &Arguments, to: &str) -> Result<(), Failure> {
    let target =
        Target { to: to.to_owned(), tenant: arguments.tenant.clone(), json: arguments.json, ..Default::default() };
    let mut clients = Vec::new();
    for _ in 0..arguments.connections {
        clients.push(Client::connect(&target).await?);
    }
    let first = clients.first().cloned().ok_or_else(|| Failure::usage("--connections must be 1 or more"))?;
    sources(&first, &target).await?;
    let people = Generated::begin();
    let prepared = people.fill(&first, &target, arguments.records).await?;
    let (keys, people) = prepared;
    if keys.is_empty() && arguments.load != Load::Ingest {
        return Err(Failure::usage("--records is too small: nobody to look up"));
    }
    let keys = Arc::new(keys);
    let measured = match arguments.load {
        Load::Ingest => vec![ingest(&clients, &target, people, arguments.rate, arguments.seconds).await?],
        Load::Mixed => {
            let (writer, readers) = match clients.split_first() {
                Some((writer, readers)) if !readers.is_empty() => (vec![writer.clone()], readers.to_vec()),
                _ => (vec![first.clone()], vec![first]),
            };
            let (written, read) = tokio::join!(
                ingest(&writer, &target, people, 0, arguments.seconds),
                open_loop(&readers, arguments, &target, &keys, Load::Lookup),
            );
            vec![read?, written?]
        }
        load => vec![open_loop(&clients, arguments, &target, &keys, load).await?],
    };
    tell(arguments, &measured)
}

/// The endless population, and how far it was used.
struct Generated(Box<dyn Iterator<Item = pb::Fragment> + Send>);

impl Generated {
    fn begin() -> Self {
        // A seed of its own: the demo's people are others. More than any run can take.
        let sizes = Sizes { people: 50_000_000, companies: 2_500_000 };
        Self(Box::new(Population::new(11, sizes).map(|record| fragment(&record))))
    }

    /// Writes so many records; gives identifiers of theirs, and the rest of the population.
    async fn fill(
        self,
        client: &Client,
        target: &Target,
        records: u32,
    ) -> Result<(Vec<pb::Identifier>, Self), Failure> {
        let bar = ProgressBar::hidden();
        let upload = Upload {
            client,
            parent: target.parent(),
            create_sources: true,
            retry_for: Duration::from_secs(10),
            bar: &bar,
        };
        let (to_stream, mut rows) = mpsc::channel(ROWS_WAITING_MAX);
        let generator = tokio::task::spawn_blocking(move || {
            let Self(mut people) = self;
            let mut keys = Vec::new();
            for (place, fragment) in people.by_ref().take(records as usize).enumerate() {
                let known = |one: &&pb::Identifier| one.namespace == "email" && one.value.contains('@');
                if keys.len() < KEYS_MAX {
                    keys.extend(fragment.identifiers.iter().find(known).cloned());
                }
                let at = At { file: 0, line: place as u64 + 1 };
                let sending = Sending { at, action: pb::stream_fragments_request::Action::Put(fragment) };
                if to_stream.blocking_send(Row::Send(Box::new(sending))).is_err() {
                    break;
                }
            }
            (keys, Self(people))
        });
        let outcome = upload.run(&mut rows, &mut Tally::default()).await;
        drop(rows);
        outcome?;
        generator.await.map_err(|_| Failure::new("the generator was interrupted"))
    }
}

fn histogram() -> Result<Histogram<u64>, Failure> {
    Histogram::new_with_max(LATENCY_MAX, 3).map_err(|error| Failure::new(error.to_string()))
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX).min(LATENCY_MAX)
}

/// Calls at moments fixed beforehand.
async fn open_loop(
    clients: &[Client],
    arguments: &Arguments,
    target: &Target,
    keys: &Arc<Vec<pb::Identifier>>,
    load: Load,
) -> Result<Measured, Failure> {
    let (rate, seconds) = (arguments.rate, arguments.seconds);
    let calls = rate.saturating_mul(seconds);
    let watch = Arc::new(Stopwatch::start());
    let (results_in, mut results) = mpsc::unbounded_channel();
    let late = Arc::new(AtomicU64::new(0));
    let lanes: Vec<(Client, Arc<Semaphore>)> =
        clients.iter().map(|client| (client.clone(), Arc::new(Semaphore::new(UNDER_WAY_MAX)))).collect();
    let runtime = tokio::runtime::Handle::current();
    let (keys, parent, pacing) = (Arc::clone(keys), target.parent(), Arc::clone(&watch));
    let counted = Arc::clone(&late);
    // A thread of its own: the timers of the runtime are no finer than a millisecond.
    let pacer = tokio::task::spawn_blocking(move || {
        for call in 0..calls {
            let due = Duration::from_nanos((u128::from(call) * 1_000_000_000 / u128::from(rate)) as u64);
            if let Some(wait) = due.checked_sub(pacing.elapsed()) {
                std::thread::sleep(wait);
            }
            if counted.fetch_add(1, Ordering::AcqRel) as usize >= LATE_MAX {
                return false;
            }
            let (client, room) = lanes[call as usize % lanes.len()].clone();
            let (keys, parent, watch) = (Arc::clone(&keys), parent.clone(), Arc::clone(&pacing));
            let (results, counted) = (results_in.clone(), Arc::clone(&counted));
            runtime.spawn(async move {
                let fine = match room.acquire().await {
                    Ok(_permit) => make(&client, load, &parent, &keys, call).await,
                    Err(_) => Err(tonic::Status::cancelled("the run ended")),
                };
                counted.fetch_sub(1, Ordering::AcqRel);
                // Who counts has gone when the run failed.
                let _ = results.send((watch.elapsed().saturating_sub(due), fine));
            });
        }
        true
    });
    let mut latencies = histogram()?;
    let mut errors = 0;
    let mut first_error = None;
    while let Some((latency, fine)) = results.recv().await {
        latencies.saturating_record(micros(latency));
        if let Err(status) = fine {
            errors += 1;
            first_error.get_or_insert(status);
        }
    }
    let seconds = watch.elapsed().as_secs_f64();
    if !pacer.await.unwrap_or(false) {
        return Err(Failure::new(format!(
            "the server does not hold {rate} a second: {} calls were waiting when the run was broken off",
            count(LATE_MAX as u64)
        )));
    }
    if let Some(status) = first_error.filter(|_| errors == calls) {
        return Err(clients.first().map_or_else(|| Failure::new(status.message()), |client| client.failed(&status)));
    }
    let what = match load {
        Load::Batch => "batch lookups of 50",
        Load::Decide => "contact decisions",
        _ => "lookups",
    };
    Ok(Measured { what, rate: Some(rate), calls, errors, seconds, latencies })
}

/// One call. That nobody is found, or that many share the value, is an answer.
async fn make(
    client: &Client,
    load: Load,
    parent: &str,
    keys: &[pb::Identifier],
    call: u64,
) -> Result<(), tonic::Status> {
    // A step that is prime goes round all keys, far from the one before.
    let key = |place: u64| keys[(place.wrapping_mul(104_729) % keys.len() as u64) as usize].clone();
    let parent = parent.to_owned();
    let answer = match load {
        Load::Batch => {
            let keys = (0..BATCH_KEYS as u64).map(|place| pb::ProfileKey {
                key: Some(pb::profile_key::Key::Identifier(key(call * BATCH_KEYS as u64 + place))),
            });
            let request = pb::BatchLookupProfilesRequest { parent, keys: keys.collect(), ..Default::default() };
            client.profiles().batch_lookup_profiles(request).await.map(drop)
        }
        Load::Decide => {
            let subject = pb::consent_subject::Subject::Identifier(key(call));
            let request = pb::DecideContactRequest {
                parent,
                subject: Some(pb::ConsentSubject { subject: Some(subject) }),
                purpose: "marketing".to_owned(),
                channel: "email".to_owned(),
                ..Default::default()
            };
            client.consent().decide_contact(request).await.map(drop)
        }
        Load::Lookup | Load::Ingest | Load::Mixed => {
            let identifier = Some(pb::lookup_profile_request::Key::Identifier(key(call)));
            let request = pb::LookupProfileRequest { parent, key: identifier, ..Default::default() };
            client.profiles().lookup_profile(request).await.map(drop)
        }
    };
    match answer {
        Err(status) if matches!(status.code(), tonic::Code::NotFound | tonic::Code::FailedPrecondition) => Ok(()),
        other => other,
    }
}

/// Fragments on one stream a connection, at a rate or as fast as they are taken.
async fn ingest(
    clients: &[Client],
    target: &Target,
    people: Generated,
    rate: u64,
    seconds: u64,
) -> Result<Measured, Failure> {
    let watch = Arc::new(Stopwatch::start());
    let ends = Duration::from_secs(seconds);
    let mut streams = Vec::new();
    let mut outs = Vec::new();
    for client in clients {
        let (out, outbound) = mpsc::channel::<pb::StreamFragmentsRequest>(WINDOW);
        let room = Arc::new(Semaphore::new(WINDOW));
        let (ours, window, watch) = (client.clone(), Arc::clone(&room), Arc::clone(&watch));
        streams.push(tokio::spawn(async move {
            let mut latencies = histogram()?;
            let (mut answered, mut errors) = (0, 0);
            let answers = ours.ingest().stream_fragments(ReceiverStream::new(outbound)).await;
            let mut answers = answers.map_err(|status| ours.failed(&status))?.into_inner();
            while let Some(answer) = answers.message().await.map_err(|status| ours.failed(&status))? {
                // The client's number is the moment at which the fragment was due.
                let due = Duration::from_micros(answer.client_sequence);
                latencies.saturating_record(micros(watch.elapsed().saturating_sub(due)));
                answered += 1;
                let taken = answer.result.is_some_and(|result| result.status() == pb::IngestStatus::Accepted);
                errors += u64::from(!taken);
                window.add_permits(1);
            }
            Ok::<_, Failure>((latencies, answered, errors))
        }));
        outs.push((out, room));
    }
    let (parent, pacing, runtime) = (target.parent(), Arc::clone(&watch), tokio::runtime::Handle::current());
    let pacer = tokio::task::spawn_blocking(move || {
        let Generated(people) = people;
        for (place, fragment) in people.enumerate() {
            let now = pacing.elapsed();
            let due = match rate {
                0 => now,
                rate => Duration::from_nanos((place as u128 * 1_000_000_000 / u128::from(rate)) as u64),
            };
            if due.max(now) >= ends {
                break;
            }
            if let Some(wait) = due.checked_sub(now) {
                std::thread::sleep(wait);
            }
            let (out, room) = &outs[place % outs.len()];
            match runtime.block_on(room.acquire()) {
                Ok(permit) => permit.forget(),
                Err(_) => break,
            }
            let due = if rate == 0 { pacing.elapsed() } else { due };
            let request = pb::StreamFragmentsRequest {
                parent: parent.clone(),
                client_sequence: micros(due),
                action: Some(pb::stream_fragments_request::Action::Put(fragment)),
            };
            if out.blocking_send(request).is_err() {
                break;
            }
        }
    });
    let mut latencies = histogram()?;
    let (mut calls, mut errors) = (0, 0);
    for stream in streams {
        let outcome = stream.await.map_err(|_| Failure::new("a stream was interrupted"))?;
        let (theirs, answered, refused) = outcome?;
        latencies.add(theirs).map_err(|error| Failure::new(error.to_string()))?;
        calls += answered;
        errors += refused;
    }
    pacer.await.map_err(|_| Failure::new("the generator was interrupted"))?;
    let rate = (rate > 0).then_some(rate);
    Ok(Measured { what: "fragments", rate, calls, errors, seconds: watch.elapsed().as_secs_f64(), latencies })
}

fn tell(arguments: &Arguments, measured: &[Measured]) -> Result<(), Failure> {
    const QUANTILES: [f64; 4] = [0.5, 0.9, 0.99, 0.999];
    if arguments.json {
        let of = |one: &Measured| {
            serde_json::json!({
                "what": one.what,
                "rateAsked": one.rate,
                "calls": one.calls,
                "errors": one.errors,
                "seconds": one.seconds,
                "perSecond": one.calls as f64 / one.seconds,
                "latencyMicros": {
                    "p50": one.latencies.value_at_quantile(0.5),
                    "p90": one.latencies.value_at_quantile(0.9),
                    "p99": one.latencies.value_at_quantile(0.99),
                    "p999": one.latencies.value_at_quantile(0.999),
                    "max": one.latencies.max(),
                },
            })
        };
        return say_json(&measured.iter().map(of).collect());
    }
    let right = Side::Right;
    let mut table = Table::new(&[
        ("what", Side::Left),
        ("asked/s", right),
        ("done/s", right),
        ("errors", right),
        ("p50 ms", right),
        ("p90 ms", right),
        ("p99 ms", right),
        ("p99.9 ms", right),
        ("max ms", right),
    ]);
    let millis = |micros: u64| format!("{:.2}", micros as f64 / 1_000.0);
    for one in measured {
        let [p50, p90, p99, p999] = QUANTILES.map(|quantile| millis(one.latencies.value_at_quantile(quantile)));
        table.row([
            one.what.to_owned(),
            one.rate.map_or_else(|| "all".to_owned(), count),
            count((one.calls as f64 / one.seconds) as u64),
            count(one.errors),
            p50,
            p90,
            p99,
            p999,
            millis(one.latencies.max()),
        ]);
    }
    let note = "latencies run from the moment a call was due, not from when it was made";
    let paint = paint(&std::io::stdout());
    say(&format!("{}\n{}\n", table.render(paint), paint.faint(&format!("  {note}"))))
}
