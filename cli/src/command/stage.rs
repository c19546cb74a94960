//! `onefold stage`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use onefold_cli::output::{Side, Table, count};
use onefold_proto::v1 as pb;

use super::account::{key, person, time};
use super::{Failure, by_hand, card, for_people, online, paint, read_message, say, say_json};
use crate::client::{Client, PAGE_SIZE, Target, wire};

/// Stages of persons and accounts: what there is, who stands where, and how they came there.
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Says which stages there are; without a file shows them.
    Define(Define),
    /// A person or an account reaches a stage.
    Set(Set),
    /// Shows the stage and where it leads.
    Show(Show),
    /// Shows every stage that was reached.
    History(Show),
}

#[derive(Args)]
struct Define {
    /// A Lifecycle as JSON, e.g. {"persons":{"stages":[{"name":"lead","initial":true,"next":["customer"]},
    /// {"name":"customer"}],"mergeRule":"STAGE_RULE_FURTHEST"}}.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    target: Target,
}

/// Whose stage.
#[derive(Args)]
struct Who {
    /// A person: SOURCE:KEY or a profile id.
    #[arg(value_name = "PERSON", required_unless_present = "account")]
    person: Option<String>,
    /// An account instead: SOURCE:KEY, its id, or its profile's id.
    #[arg(long, value_name = "ACCOUNT", conflicts_with = "person")]
    account: Option<String>,
}

#[derive(Args)]
struct Set {
    /// Name of the stage.
    stage: String,
    #[command(flatten)]
    who: Who,
    /// When it was reached: 2026-04-01. Without it: now.
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// Why.
    #[arg(long, value_name = "TEXT", default_value = "")]
    note: String,
    #[command(flatten)]
    target: Target,
}

#[derive(Args)]
struct Show {
    #[command(flatten)]
    who: Who,
    /// The purpose that it is read for, where the tenant asks for one of who reads persons.
    #[arg(long, value_name = "NAME", default_value = "")]
    purpose: String,
    #[command(flatten)]
    target: Target,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.verb {
        Verb::Define(define) => online(defined(define)),
        Verb::Set(set) => online(reached(set)),
        Verb::Show(show) => online(shown(show)),
        Verb::History(show) => online(history(show)),
    }
}

fn subject(who: &Who, target: &Target) -> Result<Option<pb::StageSubject>, Failure> {
    use pb::stage_subject::Subject;
    let subject = match (&who.person, &who.account) {
        (_, Some(account)) => Subject::Account(key(target, account)?),
        (Some(text), None) => Subject::Person(person(target, text)?),
        (None, None) => return Err(Failure::usage("name a person, or an account with --account")),
    };
    Ok(Some(pb::StageSubject { subject: Some(subject) }))
}

async fn defined(define: &Define) -> Result<(), Failure> {
    let target = &define.target;
    let wanted = read_message::<pb::Lifecycle>("Lifecycle", define.file.as_ref())?;
    let client = Client::connect(target).await?;
    let (lifecycle, call) = match wanted {
        Some(lifecycle) => {
            let request =
                pb::PutLifecycleRequest { parent: target.parent(), lifecycle: Some(lifecycle), ..Default::default() };
            let done = client.ask(|| async { client.accounts().put_lifecycle(request.clone()).await }).await?;
            let call = wire::grpcurl(&client.address, "AccountService/PutLifecycle", "PutLifecycleRequest", &request);
            (done.lifecycle, call)
        }
        None => {
            let request = pb::GetLifecycleRequest { parent: target.parent() };
            let done = client.ask(|| async { client.accounts().get_lifecycle(request.clone()).await }).await?;
            let call = wire::grpcurl(&client.address, "AccountService/GetLifecycle", "GetLifecycleRequest", &request);
            (done.lifecycle, call)
        }
    };
    let lifecycle = lifecycle.unwrap_or_default();
    let Some(paint) = for_people(target, "Lifecycle", &lifecycle)? else { return Ok(()) };
    let mut text = String::new();
    for (party, pipeline) in [("persons", lifecycle.persons), ("accounts", lifecycle.accounts)] {
        let pipeline = pipeline.unwrap_or_default();
        let rule = match pipeline.merge_rule() {
            pb::StageRule::MostRecent => "reached last",
            pb::StageRule::MostTrusted => "of the most trusted source",
            pb::StageRule::Furthest | pb::StageRule::Unspecified => "furthest",
        };
        text.push_str(&paint.heading(&format!("{party}: merged ones have the stage {rule}")));
        text.push('\n');
        let mut table = Table::new(&[("stage", Side::Left), ("", Side::Left), ("leads to", Side::Left)]);
        for stage in pipeline.stages {
            let begins = if stage.initial { "begins" } else { "" };
            table.row([stage.name, begins.to_owned(), stage.next.join(", ")]);
        }
        text.push_str(&table.render(paint));
    }
    say(&(text + &by_hand(&call, paint)))
}

async fn reached(set: &Set) -> Result<(), Failure> {
    let target = &set.target;
    let request = pb::SetStageRequest {
        parent: target.parent(),
        subject: subject(&set.who, target)?,
        stage: set.stage.clone(),
        reached_time: set.at.as_ref().map(|at| time(at)).transpose()?,
        note: set.note.clone(),
        ..Default::default()
    };
    let client = Client::connect(target).await?;
    let done = client.ask(|| async { client.accounts().set_stage(request.clone()).await }).await?;
    let Some(paint) = for_people(target, "SetStageResponse", &done)? else { return Ok(()) };
    let call = wire::grpcurl(&client.address, "AccountService/SetStage", "SetStageRequest", &request);
    let stands = match &done.stage {
        Some(stage) => format!("stands at {} since {}", stage.stage, card::time(stage.reached_time.as_ref())),
        None => "set; where it stands is shown for a purpose: onefold stage show --purpose NAME".to_owned(),
    };
    say(&format!("{stands}\n{}", by_hand(&call, paint)))
}

async fn shown(show: &Show) -> Result<(), Failure> {
    let target = &show.target;
    let request = pb::GetStageRequest {
        parent: target.parent(),
        subject: subject(&show.who, target)?,
        min_sequence: 0,
        purpose: show.purpose.clone(),
    };
    let client = Client::connect(target).await?;
    let found = client.ask(|| async { client.accounts().get_stage(request.clone()).await }).await?;
    let Some(paint) = for_people(target, "GetStageResponse", &found)? else { return Ok(()) };
    let call = wire::grpcurl(&client.address, "AccountService/GetStage", "GetStageRequest", &request);
    let stands = match &found.stage {
        Some(stage) => format!("stands at {} since {}", stage.stage, card::time(stage.reached_time.as_ref())),
        None => "stands at no stage".to_owned(),
    };
    let leads = if found.allowed.is_empty() { "nowhere".to_owned() } else { found.allowed.join(", ") };
    say(&format!("{stands}; from here to: {leads}\n{}", by_hand(&call, paint)))
}

async fn history(show: &Show) -> Result<(), Failure> {
    let target = &show.target;
    let mut request = pb::ListStageHistoryRequest {
        parent: target.parent(),
        subject: subject(&show.who, target)?,
        page_size: PAGE_SIZE,
        page_token: String::new(),
        purpose: show.purpose.clone(),
    };
    let client = Client::connect(target).await?;
    let (mut events, mut withheld) = (Vec::new(), Vec::new());
    loop {
        let page = client.ask(|| async { client.accounts().list_stage_history(request.clone()).await }).await?;
        events.extend(page.events);
        if !page.withheld.is_empty() {
            withheld = page.withheld;
        }
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    if target.json {
        let all = pb::ListStageHistoryResponse { events, next_page_token: String::new(), withheld };
        return say_json(&wire::json("ListStageHistoryResponse", &all));
    }
    let paint = paint(&std::io::stdout());
    let mut table = Table::new(&[
        ("sequence", Side::Right),
        ("reached", Side::Left),
        ("stage", Side::Left),
        ("source", Side::Left),
        ("", Side::Left),
    ]);
    for event in events {
        let reached = card::time(event.reached_time.as_ref());
        let how = match (event.origin.as_str(), event.not_entered.as_str()) {
            ("FRAGMENT", "") => "told by the record".to_owned(),
            ("FRAGMENT", why) => format!("told by the record, not entered: {why}"),
            _ => event.note,
        };
        table.row([count(event.sequence), reached, event.stage, event.source, how]);
    }
    let call = wire::grpcurl(&client.address, "AccountService/ListStageHistory", "ListStageHistoryRequest", &request);
    let mut text = table.render(paint);
    for one in withheld {
        text.push_str(&format!("{}: the purpose may not see it\n", one.field));
    }
    say(&(text + &by_hand(&call, paint)))
}
