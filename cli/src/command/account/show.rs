//! `onefold account get`, `tree`, `rollup`.

use clap::Args;
use onefold_cli::output::{Paint, Side, Table, count};
use onefold_proto::v1 as pb;

use super::{key, times};
use crate::client::{Client, PAGE_SIZE, Target, wire};
use crate::command::{Failure, by_hand, card as cards, for_people, online, paint, say, say_json};

#[derive(Args)]
pub struct Get {
    /// Which account.
    account: String,
    /// As of this day: 2026-04-01. Without it: now.
    #[arg(long, value_name = "TIME")]
    as_of: Option<String>,
    #[command(flatten)]
    target: Target,
}

#[derive(Args)]
pub struct Tree {
    /// The account at the top.
    account: String,
    /// Levels below it.
    #[arg(long, value_name = "N", default_value_t = 3)]
    depth: usize,
    /// Accounts shown at most.
    #[arg(long, value_name = "N", default_value_t = 200)]
    most: usize,
    /// As of this day: 2026-04-01. Without it: now.
    #[arg(long, value_name = "TIME")]
    as_of: Option<String>,
    #[command(flatten)]
    target: Target,
}

#[derive(Args)]
pub struct Rollup {
    /// The account at the top.
    account: String,
    /// Also count whom consent allows to be reached for this purpose, by channel. Repeatable.
    #[arg(long, value_name = "PURPOSE")]
    purpose: Vec<String>,
    /// What the persons are counted for: who does not permit it is left out, and it is said of how many.
    #[arg(long = "for", value_name = "PURPOSE", default_value = "")]
    reads_for: String,
    /// As of this day: 2026-04-01. Without it: now.
    #[arg(long, value_name = "TIME")]
    as_of: Option<String>,
    #[command(flatten)]
    target: Target,
}

pub fn get(get: &Get) -> Result<(), Failure> {
    let target = &get.target;
    let request = pb::GetAccountRequest {
        parent: target.parent(),
        key: Some(key(target, &get.account)?),
        as_of_time: times(get.as_of.as_ref())?,
        min_sequence: 0,
    };
    online(async {
        let client = Client::connect(target).await?;
        let found = client.ask(|| async { client.accounts().get_account(request.clone()).await }).await?;
        let account = found.account.unwrap_or_default();
        let Some(paint) = for_people(target, "Account", &account)? else { return Ok(()) };
        let call = wire::grpcurl(&client.address, "AccountService/GetAccount", "GetAccountRequest", &request);
        say(&(card(&account, paint) + &by_hand(&call, paint)))
    })
}

/// An account as people read it.
pub fn card(account: &pb::Account, paint: Paint) -> String {
    let mut text = paint.heading(&format!("{}  {}", account.display_name, cards::short(&account.name)));
    if account.closed {
        text.push_str(&paint.warning("  closed"));
    }
    text.push('\n');
    let mut line = |what: &str, value: &str| {
        if !value.is_empty() {
            text.push_str(&format!("  {what:<9} {value}\n"));
        }
    };
    line("profile", cards::short(&account.profile));
    line("owner", &account.owner);
    line("stage", &account.stage.as_ref().map(stage).unwrap_or_default());
    let above: Vec<&str> = account.ancestors.iter().map(|above| above.display_name.as_str()).collect();
    line("under", &above.join(" < "));
    line("children", &count(u64::from(account.child_count)));
    let mut table =
        Table::new(&[("told by", Side::Left), ("name", Side::Left), ("domains", Side::Left), ("since", Side::Left)]);
    for part in &account.parts {
        let by = part.record.as_ref().map(cards::record).unwrap_or_else(|| "(erased)".to_owned());
        table.row([by, part.display_name.clone(), part.domains.join(" "), cards::time(part.start_time.as_ref())]);
    }
    text.push_str(&table.render(paint));
    for parked in &account.parked_parents {
        let name = |to: &Option<pb::AccountRef>| to.as_ref().map(|to| to.display_name.clone()).unwrap_or_default();
        let why = match parked.reason.as_str() {
            "SAME_PARTY" => "both are one party",
            "OTHER_PARENT" => "a source that is believed more names another",
            "CYCLE" => "it would close a circle",
            other => other,
        };
        let told = format!("{} under {} does not count: {why}", name(&parked.child), name(&parked.parent));
        text.push_str(&format!("  {}\n", paint.warning(&told)));
    }
    text
}

/// A stage and since when.
pub fn stage(stage: &pb::StageState) -> String {
    format!("{} since {}", stage.stage, cards::time(stage.reached_time.as_ref()))
}

pub fn tree(tree: &Tree) -> Result<(), Failure> {
    let target = &tree.target;
    let as_of_time = times(tree.as_of.as_ref())?;
    let top = key(target, &tree.account)?;
    online(async {
        let client = Client::connect(target).await?;
        let parent = target.parent();
        let request = pb::GetAccountRequest { parent: parent.clone(), key: Some(top), as_of_time, min_sequence: 0 };
        let found = client.ask(|| async { client.accounts().get_account(request.clone()).await }).await?;
        let mut shown: Vec<(usize, pb::Account)> = Vec::new();
        let mut open = vec![(0, found.account.unwrap_or_default())];
        while let Some((level, account)) = open.pop() {
            if shown.len() >= tree.most.max(1) {
                open.push((level, account));
                break;
            }
            if level < tree.depth && account.child_count > 0 {
                let room = tree.most.max(1) - shown.len();
                let mut below = children(&client, &parent, &account.name, as_of_time, room).await?;
                below.reverse();
                open.extend(below.into_iter().map(|below| (level + 1, below)));
            }
            shown.push((level, account));
        }
        if target.json {
            if !open.is_empty() {
                eprintln!("onefold: more than {} accounts: --most N shows more", tree.most);
            }
            let accounts = shown.into_iter().map(|(_, account)| account).collect();
            let all = pb::ListChildrenResponse { accounts, next_page_token: String::new() };
            let mut json = wire::json("ListChildrenResponse", &all);
            json["more"] = (!open.is_empty()).into();
            return say_json(&json);
        }
        let paint = paint(&std::io::stdout());
        let mut text = String::new();
        for (level, account) in &shown {
            let below =
                if account.child_count == 0 { String::new() } else { format!("  {} below", account.child_count) };
            let closed = if account.closed { "  closed" } else { "" };
            let (gap, id) = ("  ".repeat(*level), cards::short(&account.name));
            text.push_str(&format!(
                "{gap}{}  {}\n",
                account.display_name,
                paint.faint(&format!("{id}{below}{closed}"))
            ));
        }
        if !open.is_empty() {
            text.push_str(&paint.warning(&format!("more than {} accounts: --most N shows more\n", tree.most)));
        }
        let name = shown.first().map(|(_, account)| account.name.clone()).unwrap_or_default();
        let request = list(&parent, &name, as_of_time, String::new());
        let call = wire::grpcurl(&client.address, "AccountService/ListChildren", "ListChildrenRequest", &request);
        say(&(text + &by_hand(&call, paint)))
    })
}

fn list(
    parent: &str,
    name: &str,
    as_of_time: Option<prost_types::Timestamp>,
    page_token: String,
) -> pb::ListChildrenRequest {
    let key = Some(pb::AccountKey { key: Some(pb::account_key::Key::Name(name.to_owned())) });
    pb::ListChildrenRequest { parent: parent.to_owned(), key, as_of_time, page_size: PAGE_SIZE, page_token }
}

async fn children(
    client: &Client,
    parent: &str,
    name: &str,
    as_of_time: Option<prost_types::Timestamp>,
    most: usize,
) -> Result<Vec<pb::Account>, Failure> {
    let mut all = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = list(parent, name, as_of_time, page_token);
        let page = client.ask(|| async { client.accounts().list_children(request.clone()).await }).await?;
        all.extend(page.accounts);
        page_token = page.next_page_token;
        if page_token.is_empty() || all.len() >= most {
            return Ok(all);
        }
    }
}

pub fn rollup(rollup: &Rollup) -> Result<(), Failure> {
    let target = &rollup.target;
    let request = pb::GetRollupRequest {
        parent: target.parent(),
        key: Some(key(target, &rollup.account)?),
        as_of_time: times(rollup.as_of.as_ref())?,
        min_sequence: 0,
        consent_purposes: rollup.purpose.clone(),
        purpose: rollup.reads_for.clone(),
    };
    online(async {
        let client = Client::connect(target).await?;
        let sum = client.ask(|| async { client.accounts().get_rollup(request.clone()).await }).await?;
        let Some(paint) = for_people(target, "GetRollupResponse", &sum)? else { return Ok(()) };
        let mut table = Table::new(&[("", Side::Left), ("", Side::Right), ("", Side::Left)]);
        let mut row = |what: String, number: u64, note: &str| table.row([what, count(number), note.to_owned()]);
        row("accounts".to_owned(), sum.account_count, "merged ones once, closed ones included");
        row("source accounts".to_owned(), sum.source_account_count, "");
        row("closed".to_owned(), sum.closed_account_count, "");
        row("levels".to_owned(), sum.depth, "");
        row("persons".to_owned(), sum.person_count, "with a role in any of them");
        row("unresolved".to_owned(), sum.unresolved_person_count, "records with a role and no live profile");
        if !rollup.reads_for.is_empty() {
            row("left out".to_owned(), sum.withheld_count, "persons and records that do not permit it");
        }
        for (party, stages, without) in [
            ("accounts", &sum.accounts_by_stage, sum.accounts_without_stage),
            ("persons", &sum.persons_by_stage, sum.persons_without_stage),
        ] {
            let mut stages: Vec<(&String, &u64)> = stages.iter().collect();
            stages.sort();
            for (stage, number) in stages {
                row(format!("{party}: {stage}"), *number, "");
            }
            row(format!("{party}: no stage"), without, "");
        }
        let mut text = table.render(paint);
        if !sum.consent_coverage.is_empty() {
            let mut table = Table::new(&[
                ("purpose", Side::Left),
                ("channel", Side::Left),
                ("may be reached", Side::Right),
                ("said no", Side::Right),
                ("said nothing", Side::Right),
            ]);
            for of in &sum.consent_coverage {
                let numbers = [of.permitted_count, of.stopped_count, of.not_granted_count].map(count);
                let [permitted, stopped, silent] = numbers;
                table.row([of.purpose.clone(), of.channel.clone(), permitted, stopped, silent]);
            }
            text.push('\n');
            text.push_str(&table.render(paint));
        }
        if !sum.withheld.is_empty() {
            let fields: Vec<&str> = sum.withheld.iter().map(|one| one.field.as_str()).collect();
            text.push_str(&format!("withheld, not in the purpose {}: {}\n", rollup.reads_for, fields.join(", ")));
        }
        let call = wire::grpcurl(&client.address, "AccountService/GetRollup", "GetRollupRequest", &request);
        say(&(text + &by_hand(&call, paint)))
    })
}
