//! Everything at once, and far too much of it.
//!
//! *Mixed*: look-ups in an open loop, alone and then beside fragments, contact decisions and erasures, in turns; the same beside
//! streams of fragments as fast as they are taken. *Overload*: what the server does at most, then ten times the callers, who come again
//! when they are told to, then three and ten times as much in an open loop, then half of it. The server is a process of its own, so that
//! its memory is its own; ratios within one run.
//!
//! `cargo bench -p onefold-benches --bench storm -- --fragments 100000 --seconds 15`
//! (`--lookups`, `--puts`, `--decisions`, `--erasures`: rates of the mixed part; `--part 1`, `2` (look-ups), `3` (fragments) or `4` (look-ups beside streams) for one alone, `--beside` fragments for that; `--server-cpus 0` with
//! `taskset --cpu-list 1` in front of it all: so a flood of calls costs the callers' core and not the server's)

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use onefold_benches::load::{self, Failure, argument, erasure_of};
use onefold_benches::open::{self, Lines, Ready, Run};
use onefold_benches::{contact, fragments};
use onefold_proto::v1 as pb;
use onefold_proto::v1::privacy_service_client::PrivacyServiceClient;
use onefold_server::Server;
use prost::Message;
use prost::bytes::Bytes;
use tonic::Status;
use tonic::transport::Channel;

/// Callers that find out what a server does at most.
const CALLERS: usize = 64;
/// Connections of a flood: together they may have more calls under way than the server takes.
const CONNECTIONS: usize = 48;
/// Identifiers of one batch look-up.
const BATCH_KEYS: usize = 100;

/// The server, in a process of its own.
struct Own {
    process: Child,
    address: SocketAddr,
}

impl Own {
    fn start(data: &Path) -> Result<Self, Failure> {
        let program = std::env::current_exe()?;
        let mut command = match std::env::args().skip_while(|one| one != "--server-cpus").nth(1) {
            Some(cpus) => {
                let mut command = Command::new("taskset");
                command.arg("--cpu-list").arg(cpus).arg(program);
                command
            }
            None => Command::new(program),
        };
        let mut process = command.arg("--serve").arg(data).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let out = process.stdout.take().ok_or("the server's output is piped")?;
        let line = BufReader::new(out).lines().next().ok_or("the server did not start")??;
        Ok(Self { process, address: line.parse()? })
    }

    /// Resident memory in MiB: now, or (`VmHWM`) the most there ever was.
    fn mib(&self, figure: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with(figure));
        line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).unwrap_or_default() >> 10
    }

    /// Lets it go down in order.
    fn stop(mut self) -> Result<(), Failure> {
        drop(self.process.stdin.take());
        self.process.wait()?;
        Ok(())
    }
}

/// The process that serves: says where, and ends when nobody holds its input any more.
fn serve(data: &str) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let server = Server::start(load::config(Path::new(data))).await?;
        println!("{}", server.address());
        tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink())).await??;
        server.stop().await?;
        Ok(())
    })
}

fn ready(path: &'static str, message: &impl Message) -> Ready {
    Ready { path, message: Bytes::from(message.encode_to_vec()) }
}

fn lookup(key: &pb::Identifier) -> Ready {
    let key = Some(pb::lookup_profile_request::Key::Identifier(key.clone()));
    ready("/onefold.v1.ProfileService/LookupProfile", &pb::LookupProfileRequest { key, ..Default::default() })
}

fn batch(keys: &[pb::Identifier]) -> Ready {
    let key = |key: &pb::Identifier| pb::ProfileKey { key: Some(pb::profile_key::Key::Identifier(key.clone())) };
    // Little is asked for: answers that are longer than what finds them keep callers busy, not the server.
    let read_mask = Some(prost_types::FieldMask { paths: vec!["name".to_owned()] });
    let request =
        pb::BatchLookupProfilesRequest { keys: keys.iter().map(key).collect(), read_mask, ..Default::default() };
    ready("/onefold.v1.ProfileService/BatchLookupProfiles", &request)
}

/// A record that nobody sent before, of somebody of whom nothing was sent before.
fn put(like: &pb::Fragment) -> Ready {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut fragment = like.clone();
    if let Some(record) = &mut fragment.record {
        record.key = format!("storm-{number}");
    }
    for identifier in &mut fragment.identifiers {
        identifier.value = match identifier.namespace.as_str() {
            "email" => format!("storm.{number}@harbour-mail.net"),
            "phone" => format!("+4930{:08}", number % 100_000_000),
            _ => format!("storm-{number}"),
        };
    }
    let request = pb::PutFragmentRequest { fragment: Some(fragment), ..Default::default() };
    ready("/onefold.v1.IngestService/PutFragment", &request)
}

fn puts(like: Vec<pb::Fragment>) -> impl Fn(u64, Channel) -> Asked + Clone + Send + Sync + 'static {
    let like = Arc::new(like);
    move |number, channel| {
        let call = put(&like[number as usize % like.len()]);
        Box::pin(call.call(channel))
    }
}

fn decision(key: &pb::Identifier) -> Ready {
    let subject = Some(pb::consent_subject::Subject::Identifier(key.clone()));
    let request = pb::DecideContactRequest {
        subject: Some(pb::ConsentSubject { subject }),
        purpose: "marketing".to_owned(),
        channel: "email".to_owned(),
        ..Default::default()
    };
    ready("/onefold.v1.ConsentService/DecideContact", &request)
}

/// Goes round ready calls, each far from the one before. Nobody found, or several, is an answer.
fn round(calls: Vec<Ready>) -> impl Fn(u64, Channel) -> Asked + Clone + Send + Sync + 'static {
    let calls = Arc::new(calls);
    move |number, channel| {
        let call = calls[(number.wrapping_mul(104_729) % calls.len() as u64) as usize].clone();
        Box::pin(async move {
            match call.call(channel).await {
                Err(status) if matches!(status.code(), tonic::Code::NotFound | tonic::Code::FailedPrecondition) => {
                    Ok(())
                }
                other => other,
            }
        })
    }
}

type Asked = std::pin::Pin<Box<dyn Future<Output = Result<(), Status>> + Send>>;

/// Erases whoever holds this identifier: asked for, verified, looked at, carried out.
async fn erase(channel: Channel, identifier: pb::Identifier) -> Result<(), Status> {
    let mut privacy = PrivacyServiceClient::new(channel);
    let name = erasure_of(&mut privacy, identifier).await?;
    let etag = privacy.preview_erasure(pb::PreviewErasureRequest { name: name.clone() }).await?.into_inner().etag;
    let request = pb::ExecuteErasureRequest { name, etag, ..Default::default() };
    match privacy.execute_erasure(request).await {
        // What is looked at may change before it is erased: the officer looks again.
        Err(status) if status.code() == tonic::Code::Aborted => Ok(()),
        other => other.map(drop),
    }
}

fn tell(what: &str, run: &Run, more: &str) {
    let at = |quantile| run.done.value_at_quantile(quantile) as f64 / 1e3;
    println!(
        "{what:>28} {:>9.0} {:>9.0} {:>9.0} {:>8.2} {:>8.2} {:>8.2} {:>8.2} {more} {}",
        run.rate,
        run.offered(),
        run.goodput(),
        at(0.5),
        at(0.99),
        at(0.999),
        run.shed_p99(),
        run.ends
            .iter()
            .filter(|(end, _)| *end != "done")
            .map(|(end, count)| format!("{end} {count}"))
            .chain((run.unsent > 0).then(|| format!("unsent {}", run.unsent)))
            .collect::<Vec<_>>()
            .join(", "),
    );
}

/// Look-ups alone, and beside everything else, in turns.
async fn mixed(own: &Own, workload: &[pb::Fragment], more: &[pb::Fragment], lasts: Duration) -> Result<(), Failure> {
    let rate = |name, default| argument(name, default) as f64;
    let (lookups, put_rate) = (rate("--lookups", 1_000), rate("--puts", 1_000));
    let (decisions, erasures) = (rate("--decisions", 300), rate("--erasures", 2));
    let keys = mails(workload);
    contact::grant(own.address, Arc::new(keys.iter().step_by(2).take(20_000).cloned().collect()), 1_700_000_000)
        .await?;
    let asked = round(keys.iter().take(50_000).map(lookup).collect());
    let decided = round(keys.iter().take(20_000).map(decision).collect());
    let fresh = puts(more.to_vec());
    let leave: Arc<Vec<pb::Identifier>> = Arc::new(keys.iter().rev().step_by(7).cloned().collect());
    let (readers, writers) = (Lines::open(own.address, 4).await?, Lines::open(own.address, 4).await?);
    println!("mixed: {put_rate} fragments, {decisions} decisions, {erasures} erasures a second beside the look-ups");
    let (mut worst, mut gone) = (0_f64, 0);
    for _ in 0..3 {
        let alone = open::calls(lookups, lasts, &readers, asked.clone()).await?;
        tell("look-ups alone", &alone, "");
        let leaving = Arc::clone(&leave);
        let from = gone;
        let erased = move |number: u64, channel: Channel| {
            erase(channel, leaving[(from + number as usize) % leaving.len()].clone())
        };
        gone += (lasts.as_secs_f64() * erasures * 2.0) as usize;
        let (beside, written, checked, left) = tokio::try_join!(
            open::calls(lookups, lasts, &readers, asked.clone()),
            open::calls(put_rate, lasts, &writers, fresh.clone()),
            open::calls(decisions, lasts, &readers, decided.clone()),
            open::calls(erasures, lasts, &writers, erased),
        )?;
        let ratio = beside.p99() / alone.p99();
        worst = worst.max(ratio);
        tell("look-ups beside", &beside, &format!("p99 {ratio:.2} times"));
        tell("fragments", &written, "");
        tell("decisions", &checked, "");
        tell("erasures", &left, "");
    }
    println!("look-ups beside: p99 at most {worst:.2} times that of look-ups alone (aim: below 2)\n");
    Ok(())
}

/// Look-ups alone, and beside two streams of fragments that send as fast as they are answered, in turns.
async fn flat_out(own: &Own, keys: &[pb::Identifier], more: &[pb::Fragment], lasts: Duration) -> Result<(), Failure> {
    let lookups = argument("--lookups", 1_000) as f64;
    let asked = round(keys.iter().take(50_000).map(lookup).collect());
    let readers = Lines::open(own.address, 4).await?;
    for part in more.chunks(more.len().div_ceil(3)) {
        let alone = open::calls(lookups, lasts, &readers, asked.clone()).await?;
        tell("look-ups alone", &alone, "");
        let (part, until) = (Arc::new(part.to_vec()), load::now() + lasts);
        let (beside, (took, accepted)) = tokio::try_join!(
            open::calls(lookups, lasts, &readers, asked.clone()),
            load::ingest_until(own.address, part, 2, Some(until)),
        )?;
        let rate = accepted as f64 / took.as_secs_f64();
        tell("look-ups beside", &beside, &format!("{rate:.0} fragments/s durable for {:.1} s", took.as_secs_f64()));
    }
    println!("look-ups beside as many fragments as are taken: p99 below 5 ms is the aim\n");
    Ok(())
}

/// What the server does at most, then far more than that.
async fn overload<F>(own: &Own, what: &str, lasts: Duration, make: F) -> Result<(), Failure>
where
    F: Fn(u64, Channel) -> Asked + Clone + Send + Sync + 'static,
{
    let lines = Lines::open(own.address, CONNECTIONS).await?;
    let most = open::closed(CALLERS, lasts, &lines, make.clone()).await?;
    let capacity = most.goodput();
    tell(&format!("{what}: {CALLERS} callers"), &most, "");
    let half = open::calls(capacity / 2.0, lasts, &lines, make.clone()).await?;
    tell("half", &half, "");
    let before = own.mib("VmRSS");
    // Ten times the callers, who come again when they are told to.
    let run = open::closed(CALLERS * 10, lasts, &lines, make.clone()).await?;
    let (good, slow) = (run.goodput() / capacity, run.p99() / most.p99());
    let grown = own.mib("VmHWM").saturating_sub(before);
    let more = format!("goodput {good:.2}, p99 {slow:.1} times that of {CALLERS} callers, +{grown} MiB;");
    tell(&format!("{} callers", CALLERS * 10), &run, &more);
    for times in [3.0, 10.0] {
        let run = open::calls(capacity * times, lasts, &lines, make.clone()).await?;
        let grown = own.mib("VmHWM").saturating_sub(before);
        let (good, slow, slower) = (run.goodput() / capacity, run.p99() / most.p99(), run.p99() / half.p99());
        let more = format!(
            "goodput {good:.2}, p99 {slow:.1} times that of {CALLERS} callers, {slower:.1} that at half, +{grown} MiB;"
        );
        tell(&format!("{times} times"), &run, &more);
        let first = open::calls(capacity / 2.0, Duration::from_secs(2), &lines, make.clone()).await?;
        let then = open::calls(capacity / 2.0, lasts, &lines, make.clone()).await?;
        tell("half, the first 2 s", &first, "");
        tell("half, then", &then, &format!("p99 {:.1} times that before;", then.p99() / half.p99()));
    }
    println!();
    Ok(())
}

/// Addresses that find somebody.
fn mails(workload: &[pb::Fragment]) -> Vec<pb::Identifier> {
    let all = workload.iter().flat_map(|fragment| &fragment.identifiers).filter(|one| one.namespace == "email");
    all.filter(|one| onefold_core::identifier::email::canonicalise(&one.value).is_ok()).cloned().collect()
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(data) = arguments.iter().position(|one| one == "--serve").and_then(|at| arguments.get(at + 1)) {
        return serve(data);
    }
    let count = argument("--fragments", 100_000);
    let lasts = Duration::from_secs(argument("--seconds", 15) as u64);
    let part = argument("--part", 0);
    let beside = if matches!(part, 0 | 4) { argument("--beside", 600_000) } else { 20_000 };
    let dir = tempfile::tempdir_in(".")?;
    let own = Own::start(&dir.path().join("data"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let mut workload = fragments(7, count + beside);
        let more = workload.split_off(count);
        load::sources(own.address).await?;
        load::ingest(own.address, Arc::new(workload.clone()), 2).await?;
        println!(
            "{count} fragments; latencies in ms from when a call was due, of those that were shed from when it was sent"
        );
        println!(
            "{:>28} {:>9} {:>9} {:>9} {:>8} {:>8} {:>8} {:>8}",
            "", "asked/s", "sent/s", "done/s", "p50", "p99", "p99.9", "shed p99"
        );
        if matches!(part, 0 | 1) {
            mixed(&own, &workload, &more, lasts).await?;
        }
        if matches!(part, 0 | 4) {
            flat_out(&own, &mails(&workload), &more, lasts).await?;
        }
        if matches!(part, 0 | 2) {
            let keys = mails(&workload);
            overload(&own, "batch look-ups", lasts, round(keys.chunks(BATCH_KEYS).map(batch).collect())).await?;
        }
        if matches!(part, 0 | 3) {
            overload(&own, "fragments", lasts, puts(more)).await?;
        }
        Ok::<_, Failure>(())
    })?;
    own.stop()
}
