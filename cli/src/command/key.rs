//! `onefold key`.

use clap::{Args, Subcommand};
use onefold_cli::output::{Side, Table};
use onefold_proto::v1 as pb;

use super::{Failure, by_hand, online, paint, say, say_json};
use crate::client::{Client, PAGE_SIZE, Target, request_id, wire};
use crate::clock;

/// API keys: who may call a server that was started with `--require-auth`.
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Makes a key and prints it, once: nobody can show it again.
    Create(Create),
    /// Shows the keys of a tenant, never their secrets.
    List(List),
    /// Takes a key back, at once.
    Revoke(Revoke),
}

#[derive(Args)]
struct Create {
    /// For people: which program holds it.
    label: String,
    /// What its holder may do; may be given several times: ingest, reader, steward, privacy-officer, auditor, admin.
    #[arg(long, value_name = "ROLE", required = true, value_parser = role)]
    role: Vec<pb::Role>,
    /// Days that it is good for; without it until it is revoked.
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u16).range(1..))]
    days: Option<u16>,
    /// Good for every tenant, and for what is of none: tenants, backups.
    #[arg(long)]
    all_tenants: bool,
    #[command(flatten)]
    target: Target,
}

#[derive(Args)]
struct List {
    #[command(flatten)]
    target: Target,
}

#[derive(Args)]
struct Revoke {
    /// The key's id, `tenants/…/apiKeys/…`, or the key itself up to its second `_`.
    key: String,
    #[command(flatten)]
    target: Target,
}

fn role(text: &str) -> Result<pb::Role, String> {
    let name = format!("ROLE_{}", text.to_ascii_uppercase().replace('-', "_"));
    pb::Role::from_str_name(&name)
        .filter(|role| *role != pb::Role::Unspecified)
        .ok_or_else(|| "roles are ingest, reader, steward, privacy-officer, auditor, admin".to_owned())
}

fn role_name(role: i32) -> String {
    let name = pb::Role::try_from(role).map_or("", |role| role.as_str_name());
    name.trim_start_matches("ROLE_").to_ascii_lowercase().replace('_', "-")
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.verb {
        Verb::Create(create) => online(make(create)),
        Verb::List(list) => online(show(list)),
        Verb::Revoke(revoke) => online(end(revoke)),
    }
}

async fn make(create: &Create) -> Result<(), Failure> {
    const DAY_SECONDS: i64 = 24 * 60 * 60;
    let client = Client::connect(&create.target).await?;
    let expire_time = create.days.map(|days| {
        let now = clock::now();
        prost_types::Timestamp { seconds: now.seconds + i64::from(days) * DAY_SECONDS, nanos: now.nanos }
    });
    let key = pb::ApiKey {
        display_name: create.label.clone(),
        roles: create.role.iter().map(|role| *role as i32).collect(),
        all_tenants: create.all_tenants,
        expire_time,
        ..Default::default()
    };
    let request =
        pb::CreateApiKeyRequest { parent: create.target.parent(), api_key: Some(key), request_id: request_id() };
    let made = client.ask(|| async { client.admin().create_api_key(request.clone()).await }).await?;
    let name = made.api_key.as_ref().map(|key| key.name.clone()).unwrap_or_default();
    if made.secret.is_empty() {
        return Err(Failure::new(format!(
            "the key {name} was made, but the answer that held it was lost\nhint: `onefold key revoke {name}`, and make another"
        )));
    }
    if create.target.json {
        return say_json(&wire::json("CreateApiKeyResponse", &made));
    }
    // The key alone on standard output, so that it can go straight into a file.
    eprintln!("made {name}; the key is shown this once:");
    say(&(made.secret + "\n"))
}

async fn show(list: &List) -> Result<(), Failure> {
    let client = Client::connect(&list.target).await?;
    let mut request =
        pb::ListApiKeysRequest { parent: list.target.parent(), page_size: PAGE_SIZE, ..Default::default() };
    let call = wire::grpcurl(&client.address, "AdminService/ListApiKeys", "ListApiKeysRequest", &request);
    let mut api_keys = Vec::new();
    loop {
        let page = client.ask(|| async { client.admin().list_api_keys(request.clone()).await }).await?;
        api_keys.extend(page.api_keys);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    if list.target.json {
        let response = pb::ListApiKeysResponse { api_keys, next_page_token: String::new() };
        return say_json(&wire::json("ListApiKeysResponse", &response));
    }
    let paint = paint(&std::io::stdout());
    let columns = ["key", "roles", "tenants", "until", ""].map(|name| (name, Side::Left));
    let mut table = Table::new(&columns);
    for key in api_keys {
        let roles: Vec<String> = key.roles.iter().map(|role| role_name(*role)).collect();
        let until = match (&key.revoke_time, &key.expire_time) {
            (Some(time), _) => format!("revoked {}", day(time)),
            (None, Some(time)) => day(time),
            (None, None) => "no end".to_owned(),
        };
        let reach = if key.all_tenants { "all" } else { "own" };
        table.row([key.name, roles.join(","), reach.to_owned(), until, key.display_name]);
    }
    say(&(table.render(paint) + &by_hand(&call, paint)))
}

fn day(time: &prost_types::Timestamp) -> String {
    jiff::Timestamp::from_second(time.seconds).map_or_else(|_| String::new(), |time| time.to_string())
}

async fn end(revoke: &Revoke) -> Result<(), Failure> {
    let client = Client::connect(&revoke.target).await?;
    let id = revoke.key.strip_prefix("ofk_").map_or(revoke.key.as_str(), |rest| rest.split('_').next().unwrap_or(rest));
    let name = if id.contains('/') { id.to_owned() } else { format!("{}/apiKeys/{id}", revoke.target.parent()) };
    let request = pb::RevokeApiKeyRequest { name, request_id: request_id() };
    let done = client.ask(|| async { client.admin().revoke_api_key(request.clone()).await }).await?;
    let key = done.api_key.unwrap_or_default();
    if revoke.target.json {
        return say_json(&wire::json("ApiKey", &key));
    }
    say(&format!("revoked {}\n", key.name))
}
