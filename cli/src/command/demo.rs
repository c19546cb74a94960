//! `onefold demo`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use onefold_cli::generate::{ClusterId, Origin, Population, Record, Sizes};
use onefold_cli::output::{Paint, Side, Table, bar, count};
use onefold_core::fragment::PartyKind;
use onefold_proto::v1 as pb;
use onefold_server::{Config, ServeError, Server, StartError, telemetry};
use tokio::sync::mpsc;

use super::serve::{Signals, banner_line, program, start_failure, to_option};
use super::{Failure, card, explain, online, paint, rate, say};
use crate::client::{Client, Target, request_id};
use crate::clock::Stopwatch;
use crate::ingest::rows::timestamp;
use crate::ingest::stream::Upload;
use crate::ingest::tally::Tally;
use crate::ingest::{At, ROWS_WAITING_MAX, Row, Sending};

/// One seed for all, so that two people see the same demo.
const SEED: u64 = 7;
/// True people whose records are remembered, to pick the one that is shown.
const REMEMBERED_MAX: usize = 4_000;
/// Candidates that are looked at before the best so far is shown.
const LOOKED_AT_MAX: usize = 40;
/// Records of the person that is shown, so that the screen holds it.
const RECORDS_SHOWN: std::ops::RangeInclusive<u32> = 4..=6;

/// Starts a server on an empty directory, streams generated customers of six systems and their companies into it, shows
/// one person who was in several of them, and why, and stays until Ctrl-C.
#[derive(Args)]
pub struct Arguments {
    /// How many people; each gives about three records.
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    people: u32,
    /// The data directory; otherwise a temporary one that is removed at the end.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Leaves the temporary directory where it is.
    #[arg(long)]
    keep: bool,
    /// Where to listen; otherwise 127.0.0.1:7700, or a free port when that is taken.
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Ends after showing.
    #[arg(long)]
    once: bool,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    telemetry::start("warn", false).map_err(Failure::new)?;
    let temporary = match arguments.data {
        Some(_) => None,
        None => Some(
            tempfile::Builder::new()
                .prefix("onefold-demo-")
                .tempdir()
                .map_err(|error| Failure::new(format!("no temporary directory can be made: {error}")))?,
        ),
    };
    let data = match (&arguments.data, &temporary) {
        (Some(data), _) => data.clone(),
        (None, Some(temporary)) => temporary.path().to_owned(),
        (None, None) => PathBuf::from("./onefold-demo"),
    };
    let outcome = online(demo(arguments, &data));
    match temporary {
        Some(temporary) if arguments.keep => {
            let kept = temporary.keep();
            say(&format!("the data is kept: {} serve --data {}\n", program(), kept.display()))?;
        }
        _ => {}
    }
    outcome
}

async fn demo(arguments: &Arguments, data: &Path) -> Result<(), Failure> {
    let watch = Stopwatch::start();
    let mut signals = Signals::catch()?;
    let paint = paint(&std::io::stdout());
    let server = start(arguments.listen, data).await?;
    let address = server.address();
    say(&banner_line(&server, data, paint))?;
    let story = tokio::select! {
        story = story(arguments, address, &watch, paint) => Some(story),
        () = signals.next() => None,
    };
    let told = match story {
        Some(Ok(())) if !arguments.once => {
            say("\nthe server runs until Ctrl-C\n")?;
            let ended = server.run_until(async {
                signals.next().await;
                let _ = say("\nending in order\n");
            });
            return ended.await.map_err(|error| start_failure(&error, data));
        }
        Some(outcome) => outcome,
        None => Ok(()),
    };
    server.stop().await.map_err(|error| start_failure(&error, data))?;
    told
}

/// The usual address, unless it is taken and none was asked for.
async fn start(listen: Option<SocketAddr>, data: &Path) -> Result<Server, Failure> {
    let usual = SocketAddr::from(([127, 0, 0, 1], 7700));
    let started = match Server::start(Config::new(data, listen.unwrap_or(usual))).await {
        Err(StartError::Listen { source, .. })
            if listen.is_none() && source.kind() == std::io::ErrorKind::AddrInUse =>
        {
            Server::start(Config::new(data, SocketAddr::from(([127, 0, 0, 1], 0)))).await
        }
        other => other,
    };
    started.map_err(|error| start_failure(&ServeError::from(error), data))
}

async fn story(arguments: &Arguments, address: SocketAddr, watch: &Stopwatch, paint: Paint) -> Result<(), Failure> {
    let target = Target { to: address.to_string(), tenant: "default".to_owned(), json: false, ..Default::default() };
    let client = Client::connect(&target).await?;
    sources(&client, &target).await?;
    let sizes = Sizes { people: arguments.people, companies: arguments.people / 20 };
    let upload_watch = Stopwatch::start();
    let (tally, people) = stream(&client, &target, sizes).await?;
    let took = upload_watch.elapsed().as_secs_f64();
    let request = pb::GetStatisticsRequest { parent: target.parent() };
    let stats = client.ask(|| async { client.admin().get_statistics(request.clone()).await }).await?;
    let mut text = format!(
        "\n{}\n",
        paint.heading(&format!(
            "{} records of {} systems, {} profiles",
            count(stats.live_record_count),
            stats.live_records_by_source.len(),
            count(stats.profile_count)
        ))
    );
    let mut table = Table::new(&[("source", Side::Left), ("records", Side::Right), ("", Side::Left)]);
    let most = stats.live_records_by_source.values().max().copied().unwrap_or(1).max(1);
    let mut by_source: Vec<_> = stats.live_records_by_source.iter().collect();
    by_source.sort_by(|a, b| b.1.cmp(a.1).then_with(|| a.0.cmp(b.0)));
    for (source, records) in by_source {
        table.row([source.clone(), count(*records), bar(u32::try_from(records * 1_000 / most).unwrap_or(1_000))]);
    }
    text.push_str(&table.render(paint));
    text.push_str(&format!(
        "  each of the {} was durable when it was answered: {took:.2} s, {} a second\n",
        count(tally.rows),
        count((tally.rows as f64 / took.max(0.001)) as u64)
    ));
    say(&text)?;
    let shown = one_person(&client, &target, &people, paint).await?;
    let to = to_option(address);
    let program = program();
    let mut tries: Vec<String> = shown.map(|shown| shown.tries).unwrap_or_default();
    tries.push("watch --snapshot --stop-at-end".to_owned());
    let lines: Vec<String> = tries.iter().map(|line| format!("  {program} {line}{to}\n")).collect();
    let ready = format!("{:.1} s from nothing to here; try", watch.elapsed().as_secs_f64());
    say(&format!("\n{}\n{}", paint.heading(&ready), lines.concat()))
}

/// Opens a source for each system of the generated population.
pub(super) async fn sources(client: &Client, target: &Target) -> Result<(), Failure> {
    for origin in Origin::ALL {
        let source = pb::Source {
            name: origin.name().to_owned(),
            display_name: origin.name().to_owned(),
            // The books are believed over what customers type.
            trust: match origin {
                Origin::Crm | Origin::Erp => 800,
                Origin::Events | Origin::Newsletter => 200,
                _ => 500,
            },
            ..Default::default()
        };
        let (parent, source) = (target.parent(), Some(source));
        let request = pb::PutSourceRequest { parent, source, request_id: request_id() };
        client.ask(|| async { client.admin().put_source(request.clone()).await }).await?;
    }
    Ok(())
}

/// The records of some true people, by which the one to show is picked.
type People = BTreeMap<ClusterId, Vec<(Origin, String)>>;

async fn stream(client: &Client, target: &Target, sizes: Sizes) -> Result<(Tally, People), Failure> {
    // About 2.9 records a person and 2.2 a company.
    let expected = u64::from(sizes.people) * 29 / 10 + u64::from(sizes.companies) * 22 / 10;
    let bar = ProgressBar::new(expected);
    if let Ok(style) = ProgressStyle::with_template("  {bar:30} {human_pos} records, {rate} {msg}") {
        bar.set_style(style.with_key("rate", rate));
    }
    let (to_stream, mut from_reader) = mpsc::channel(ROWS_WAITING_MAX);
    let generator = tokio::task::spawn_blocking(move || {
        let mut people = People::new();
        for (place, record) in Population::new(SEED, sizes).enumerate() {
            if record.cluster.party == PartyKind::Person
                && (people.len() < REMEMBERED_MAX || people.contains_key(&record.cluster))
            {
                people.entry(record.cluster).or_default().push((record.origin, record.record_id.clone()));
            }
            let at = At { file: 0, line: place as u64 + 1 };
            let sending = Sending { at, action: pb::stream_fragments_request::Action::Put(fragment(&record)) };
            if to_stream.blocking_send(Row::Send(Box::new(sending))).is_err() {
                break;
            }
        }
        people
    });
    let upload =
        Upload { client, parent: target.parent(), create_sources: true, retry_for: Duration::from_secs(10), bar: &bar };
    let mut tally = Tally::default();
    let outcome = upload.run(&mut from_reader, &mut tally).await;
    drop(from_reader);
    bar.finish_and_clear();
    outcome?;
    let people = generator.await.map_err(|_| Failure::new("the generator was interrupted"))?;
    Ok((tally, people))
}

/// A generated record as its source would send it.
pub(super) fn fragment(record: &Record) -> pb::Fragment {
    let party = match record.cluster.party {
        PartyKind::Person => pb::PartyKind::Person,
        PartyKind::Organisation => pb::PartyKind::Organisation,
    };
    pb::Fragment {
        record: Some(pb::SourceRecord { source: record.origin.name().to_owned(), key: record.record_id.clone() }),
        observed_time: Some(timestamp(record.observed_at())),
        party_kind: party as i32,
        identifiers: record
            .identifiers()
            .map(|(namespace, value)| pb::Identifier { namespace: namespace.to_owned(), value: value.to_owned() })
            .collect(),
        attributes: record
            .attributes()
            .map(|(name, value)| pb::Attribute {
                name: name.to_owned(),
                value: Some(pb::attribute::Value::Text(value.into_owned())),
            })
            .collect(),
        traits_json: String::new(),
        consents: Vec::new(),
        affiliations: Vec::new(),
        stages: Vec::new(),
    }
}

/// What to try about the person that was shown.
struct Shown {
    tries: Vec<String>,
}

/// Shows a person who was in several systems, and the chain between two records that share nothing directly.
async fn one_person(client: &Client, target: &Target, people: &People, paint: Paint) -> Result<Option<Shown>, Failure> {
    let mut candidates: Vec<_> = people.values().collect();
    let systems = |records: &[(Origin, String)]| {
        let mut origins: Vec<Origin> = records.iter().map(|(origin, _)| *origin).collect();
        origins.sort_unstable();
        origins.dedup();
        origins.len()
    };
    candidates.sort_by_key(|records| std::cmp::Reverse(systems(records)));
    let mut best: Option<(usize, pb::Profile, Chain)> = None;
    for records in candidates.into_iter().take(LOOKED_AT_MAX) {
        let Some((origin, key)) = records.first() else { continue };
        let profile = lookup(client, target, origin.name(), key).await?;
        if !RECORDS_SHOWN.contains(&profile.record_count) {
            continue;
        }
        let chain = longest_chain(client, target, &profile).await?;
        let by_email = profile.identifiers.iter().any(|one| one.namespace == "email" && one.links);
        let score = chain.why.path.len() * 10 + systems(records) * 4 + usize::from(by_email) * 5;
        if best.as_ref().is_none_or(|(before, ..)| score > *before) {
            best = Some((score, profile, chain));
        }
    }
    let Some((_, profile, Chain { first, second, why })) = best else { return Ok(None) };
    let text = format!(
        "\n{}\n\n{}\n{}",
        paint.heading("one of them, unified"),
        card::render(&profile, true, paint),
        explain::drawn(&why, &first, &second, paint)
    );
    say(&text)?;
    let mut tries = vec![format!("explain {first} {second}")];
    let found_by = ["email", "user_id", "loyalty_id", "phone"]
        .iter()
        .find_map(|namespace| profile.identifiers.iter().find(|one| one.namespace == *namespace && one.links));
    if let Some(one) = found_by {
        tries.insert(0, format!("lookup {} '{}' --full", one.namespace, one.value));
    }
    Ok(Some(Shown { tries }))
}

async fn lookup(client: &Client, target: &Target, source: &str, key: &str) -> Result<pb::Profile, Failure> {
    let record = pb::SourceRecord { source: source.to_owned(), key: key.to_owned() };
    let request = pb::LookupProfileRequest {
        parent: target.parent(),
        key: Some(pb::lookup_profile_request::Key::Record(record)),
        view: pb::ProfileView::Full as i32,
        ..Default::default()
    };
    let found = client.ask(|| async { client.profiles().lookup_profile(request.clone()).await }).await?;
    Ok(found.profile.unwrap_or_default())
}

/// Two records and why they are one.
#[derive(Default)]
struct Chain {
    first: String,
    second: String,
    why: pb::ExplainLinkResponse,
}

/// The two records of a profile with the most steps between them.
async fn longest_chain(client: &Client, target: &Target, profile: &pb::Profile) -> Result<Chain, Failure> {
    let mut best = Chain::default();
    for (place, first) in profile.records.iter().enumerate() {
        for second in &profile.records[place + 1..] {
            let request = pb::ExplainLinkRequest {
                parent: target.parent(),
                first: Some(first.clone()),
                second: Some(second.clone()),
            };
            let why = client.ask(|| async { client.profiles().explain_link(request.clone()).await }).await?;
            if why.path.len() > best.why.path.len() {
                best = Chain { first: card::record(first), second: card::record(second), why };
            }
        }
    }
    Ok(best)
}
