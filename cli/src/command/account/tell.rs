//! `onefold account put`, `move`, `close`.

use clap::{Args, ValueEnum};
use onefold_proto::v1 as pb;

use super::{key, record, show, times};
use crate::client::{Client, Target, wire};
use crate::command::{Failure, by_hand, for_people, online, say};

#[derive(Args)]
pub struct Put {
    /// The account, as its source knows it.
    #[arg(value_name = "SOURCE:KEY")]
    account: String,
    /// Its name.
    name: String,
    /// The account above it; without it, its parent stays as it is.
    #[arg(long, value_name = "ACCOUNT")]
    parent: Option<String>,
    /// Who looks after it.
    #[arg(long, value_name = "TEXT", default_value = "")]
    owner: String,
    /// A domain of it; may be given several times.
    #[arg(long, value_name = "DOMAIN")]
    domain: Vec<String>,
    /// What it is.
    #[arg(long, default_value = "organisation")]
    kind: Kind,
    /// Since when it exists: 2026-04-01. Without it: always.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    #[command(flatten)]
    target: Target,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    /// A company, authority or other body.
    Organisation,
    /// People who live and buy together.
    Household,
}

#[derive(Args)]
pub struct Move {
    /// Which account.
    account: String,
    /// The account above it.
    #[arg(value_name = "PARENT", required_unless_present = "top")]
    parent: Option<String>,
    /// To the top, under nobody.
    #[arg(long, conflicts_with = "parent")]
    top: bool,
    /// From when on: 2026-04-01. Without it: now.
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    #[command(flatten)]
    target: Target,
}

#[derive(Args)]
pub struct Close {
    /// Which account.
    account: String,
    /// From when on: 2026-04-01. Without it: now.
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Opens it again.
    #[arg(long, conflicts_with = "from")]
    reopen: bool,
    #[command(flatten)]
    target: Target,
}

pub fn put(put: &Put) -> Result<(), Failure> {
    let target = &put.target;
    let parent_account = put.parent.as_ref().map(|parent| key(target, parent)).transpose()?;
    let kind = match put.kind {
        Kind::Organisation => pb::AccountKind::Organisation,
        Kind::Household => pb::AccountKind::Household,
    };
    let account = pb::SourceAccount {
        record: Some(record(&put.account)?),
        display_name: put.name.clone(),
        kind: kind as i32,
        owner: put.owner.clone(),
        domains: put.domain.clone(),
        start_time: times(put.since.as_ref())?,
        ..Default::default()
    };
    let request = pb::PutAccountRequest {
        parent: target.parent(),
        account: Some(account),
        parent_account,
        parent_effective_time: None,
        ..Default::default()
    };
    online(async {
        let client = Client::connect(target).await?;
        let done = client.ask(|| async { client.accounts().put_account(request.clone()).await }).await?;
        let call = wire::grpcurl(&client.address, "AccountService/PutAccount", "PutAccountRequest", &request);
        told(target, "took in", done.account.unwrap_or_default(), &call)
    })
}

pub fn move_to(to: &Move) -> Result<(), Failure> {
    let target = &to.target;
    let request = pb::MoveAccountRequest {
        parent: target.parent(),
        key: Some(key(target, &to.account)?),
        parent_account: to.parent.as_ref().map(|parent| key(target, parent)).transpose()?,
        effective_time: times(to.from.as_ref())?,
        ..Default::default()
    };
    online(async {
        let client = Client::connect(target).await?;
        let done = client.ask(|| async { client.accounts().move_account(request.clone()).await }).await?;
        let call = wire::grpcurl(&client.address, "AccountService/MoveAccount", "MoveAccountRequest", &request);
        told(target, "moved", done.account.unwrap_or_default(), &call)
    })
}

pub fn close(close: &Close) -> Result<(), Failure> {
    let target = &close.target;
    let request = pb::CloseAccountRequest {
        parent: target.parent(),
        key: Some(key(target, &close.account)?),
        close_time: times(close.from.as_ref())?,
        reopen: close.reopen,
        ..Default::default()
    };
    online(async {
        let client = Client::connect(target).await?;
        let done = client.ask(|| async { client.accounts().close_account(request.clone()).await }).await?;
        let call = wire::grpcurl(&client.address, "AccountService/CloseAccount", "CloseAccountRequest", &request);
        let word = if close.reopen { "opened again" } else { "closed" };
        told(target, word, done.account.unwrap_or_default(), &call)
    })
}

fn told(target: &Target, word: &str, account: pb::Account, call: &str) -> Result<(), Failure> {
    let Some(paint) = for_people(target, "Account", &account)? else { return Ok(()) };
    say(&format!("{word} {}\n{}{}", account.display_name, show::card(&account, paint), by_hand(call, paint)))
}
