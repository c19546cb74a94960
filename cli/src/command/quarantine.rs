//! `onefold quarantine`.

use clap::{Args, Subcommand};
use onefold_cli::output::{Side, Table, count};
use onefold_proto::v1 as pb;

use super::{Failure, by_hand, card, for_people, online, say};
use crate::client::{Client, Target, request_id, wire};

/// Entries that one call may name.
const NAMED_MAX: usize = 1_000;

/// Fragments that broke their source's contract: kept encrypted until they are replayed or discarded.
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Shows what waits, newest first, with every fault.
    List(List),
    /// Sends fragments through the door again, after a fix of the contract or the namespace.
    Replay(Replay),
    /// Removes fragments for good.
    Discard(Discard),
}

#[derive(Args)]
struct List {
    /// Only of this source.
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = 20)]
    most: usize,
    /// Shows the fragments themselves too.
    #[arg(long)]
    fragments: bool,
    #[command(flatten)]
    target: Target,
}

#[derive(Args)]
struct Replay {
    /// Which ones, by their handles; none: all.
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// Without handles: only of this source.
    #[arg(long, value_name = "NAME", conflicts_with = "ids")]
    source: Option<String>,
    #[command(flatten)]
    target: Target,
}

#[derive(Args)]
struct Discard {
    /// Which ones, by their handles.
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
    #[command(flatten)]
    target: Target,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.verb {
        Verb::List(list) => online(list_all(list)),
        Verb::Replay(replay) => online(replay_all(replay)),
        Verb::Discard(discard) => online(discard_all(discard)),
    }
}

async fn list_all(list: &List) -> Result<(), Failure> {
    let client = Client::connect(&list.target).await?;
    let request = pb::ListQuarantineRequest {
        parent: list.target.parent(),
        source: list.source.clone().unwrap_or_default(),
        include_fragments: list.fragments,
        ..Default::default()
    };
    let found = client.quarantined(&request, list.most.max(1)).await?;
    let Some(paint) = for_people(&list.target, "ListQuarantineResponse", &found)? else { return Ok(()) };
    let mut text = match found.total_size {
        0 => "nothing is in quarantine\n".to_owned(),
        all => paint.heading(&format!("{} of {} in quarantine", found.quarantined.len(), count(all))) + "\n",
    };
    for one in &found.quarantined {
        let record = one.record.as_ref().map(card::record).unwrap_or_default();
        text.push_str(&format!(
            "  {}  {record}, received {}\n",
            one.quarantine_id,
            card::time(one.received_time.as_ref())
        ));
        for fault in &one.faults {
            text.push_str(&format!("    {}: {} ({})\n", fault.field, fault.message, fault.reason));
        }
        if let Some(fragment) = &one.fragment {
            text.push_str(&format!("    {}\n", wire::json("Fragment", fragment)));
        }
    }
    if found.total_size > 0 {
        text.push_str("\nafter a fix: onefold quarantine replay\n");
    }
    let call = wire::grpcurl(&client.address, "IngestService/ListQuarantine", "ListQuarantineRequest", &request);
    say(&(text + &by_hand(&call, paint)))
}

async fn replay_all(replay: &Replay) -> Result<(), Failure> {
    let target = &replay.target;
    let client = Client::connect(target).await?;
    let mut ids = replay.ids.clone();
    if ids.is_empty() {
        // By their handles, since "the oldest thousand" would meet those again that stay.
        let request = pb::ListQuarantineRequest {
            parent: target.parent(),
            source: replay.source.clone().unwrap_or_default(),
            ..Default::default()
        };
        let found = client.quarantined(&request, usize::MAX).await?;
        ids = found.quarantined.into_iter().rev().map(|one| one.quarantine_id).collect();
    }
    let mut all = pb::ReplayQuarantineResponse::default();
    let mut request = pb::ReplayQuarantineRequest { parent: target.parent(), ..Default::default() };
    for some in ids.chunks(NAMED_MAX) {
        request.quarantine_ids = some.to_vec();
        request.request_id = request_id();
        let done = client.ask(|| async { client.ingest().replay_quarantine(request.clone()).await }).await?;
        all.released_count += done.released_count;
        all.kept_count += done.kept_count;
        all.results.extend(done.results);
    }
    let Some(paint) = for_people(target, "ReplayQuarantineResponse", &all)? else { return Ok(()) };
    let mut table = Table::new(&[("", Side::Left), ("", Side::Right)]);
    table.row(["released".to_owned(), count(all.released_count)]);
    table.row(["still broken, kept".to_owned(), count(all.kept_count)]);
    let mut text = table.render(paint);
    for (id, result) in
        ids.iter().zip(&all.results).filter(|(_, result)| result.status() == pb::IngestStatus::Quarantined).take(20)
    {
        let faults: Vec<String> =
            result.faults.iter().map(|fault| format!("{}: {}", fault.field, fault.message)).collect();
        text.push_str(&format!("  {id}  {}\n", faults.join("; ")));
    }
    request.quarantine_ids = replay.ids.clone();
    request.request_id.clear();
    request.source = replay.source.clone().unwrap_or_default();
    let call = wire::grpcurl(&client.address, "IngestService/ReplayQuarantine", "ReplayQuarantineRequest", &request);
    say(&(text + &by_hand(&call, paint)))
}

async fn discard_all(discard: &Discard) -> Result<(), Failure> {
    let target = &discard.target;
    let client = Client::connect(target).await?;
    let mut all = pb::DiscardQuarantineResponse::default();
    for some in discard.ids.chunks(NAMED_MAX) {
        let (parent, quarantine_ids) = (target.parent(), some.to_vec());
        let request = pb::DiscardQuarantineRequest { parent, quarantine_ids, request_id: request_id() };
        let done = client.ask(|| async { client.ingest().discard_quarantine(request.clone()).await }).await?;
        all.discarded_count += done.discarded_count;
    }
    let Some(paint) = for_people(target, "DiscardQuarantineResponse", &all)? else { return Ok(()) };
    let (parent, quarantine_ids) = (target.parent(), discard.ids.clone());
    let request = pb::DiscardQuarantineRequest { parent, quarantine_ids, ..Default::default() };
    let call = wire::grpcurl(&client.address, "IngestService/DiscardQuarantine", "DiscardQuarantineRequest", &request);
    let gone = match discard.ids.len() as u64 - all.discarded_count.min(discard.ids.len() as u64) {
        0 => String::new(),
        some => format!("; {some} not there"),
    };
    say(&format!("  {} discarded{gone}\n{}", count(all.discarded_count), by_hand(&call, paint)))
}
