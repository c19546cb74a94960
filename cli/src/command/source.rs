//! `onefold source`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use onefold_cli::output::{Side, Table};
use onefold_proto::v1 as pb;

use super::{Failure, by_hand, for_people, online, paint, read_message, say, say_json};
use crate::client::{Client, Target, request_id, wire};

/// Trust of a new source, out of 1000.
const TRUST_DEFAULT: u32 = 500;

/// Sources: the systems that send fragments, how far they are believed, and what they promise.
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Makes a source, or changes what is named of one that is there.
    Put(Put),
    /// Shows all sources.
    List(List),
}

#[derive(Args)]
struct Put {
    /// Lower case letters, digits, `_`, `-`, `.`.
    name: String,
    /// For people.
    #[arg(long, value_name = "TEXT")]
    display_name: Option<String>,
    /// 0 to 1000: the most-trusted-source rule believes the higher.
    #[arg(long, value_name = "N")]
    trust: Option<u32>,
    /// What its fragments must look like: a DataContract as JSON, e.g.
    /// {"requireAnyNamespace":["email"],"attributes":[{"name":"given_name","required":true}]}.
    #[arg(long, value_name = "FILE")]
    contract: Option<PathBuf>,
    /// Asks nothing of its fragments any more.
    #[arg(long, conflicts_with = "contract")]
    no_contract: bool,
    #[command(flatten)]
    target: Target,
}

#[derive(Args)]
struct List {
    #[command(flatten)]
    target: Target,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.verb {
        Verb::Put(put) => online(change(put)),
        Verb::List(list) => online(show(list)),
    }
}

async fn change(put: &Put) -> Result<(), Failure> {
    let contract = read_message::<pb::DataContract>("DataContract", put.contract.as_ref())?;
    let client = Client::connect(&put.target).await?;
    let parent = put.target.parent();
    let known = client.all_sources(&parent).await?.into_iter().find(|source| source.name == put.name);
    let fresh = known.is_none();
    let mut source = known.unwrap_or_else(|| pb::Source {
        name: put.name.clone(),
        display_name: put.name.clone(),
        trust: TRUST_DEFAULT,
        ..Default::default()
    });
    if let Some(text) = &put.display_name {
        source.display_name.clone_from(text);
    }
    source.trust = put.trust.unwrap_or(source.trust);
    if contract.is_some() || put.no_contract {
        source.contract = contract;
    }
    let request = pb::PutSourceRequest { parent, source: Some(source), request_id: request_id() };
    let done = client.ask(|| async { client.admin().put_source(request.clone()).await }).await?;
    let source = done.source.unwrap_or_default();
    let Some(paint) = for_people(&put.target, "Source", &source)? else { return Ok(()) };
    let shown = pb::Source { etag: String::new(), ..request.source.unwrap_or_default() };
    let again = pb::PutSourceRequest { parent: request.parent, source: Some(shown), ..Default::default() };
    let call = wire::grpcurl(&client.address, "AdminService/PutSource", "PutSourceRequest", &again);
    let word = if fresh { "made" } else { "changed" };
    let asks_otherwise = !fresh && (put.contract.is_some() || put.no_contract);
    let replay = if asks_otherwise {
        format!("\nwhat waits in quarantine can try again: onefold quarantine replay --source {}", source.name)
    } else {
        String::new()
    };
    say(&format!("{word} the source {}, trust {}{replay}\n{}", source.name, source.trust, by_hand(&call, paint)))
}

async fn show(list: &List) -> Result<(), Failure> {
    let client = Client::connect(&list.target).await?;
    let parent = list.target.parent();
    let sources = client.all_sources(&parent).await?;
    if list.target.json {
        let response = pb::ListSourcesResponse { sources, next_page_token: String::new() };
        return say_json(&wire::json("ListSourcesResponse", &response));
    }
    let paint = paint(&std::io::stdout());
    let mut table =
        Table::new(&[("source", Side::Left), ("trust", Side::Right), ("contract", Side::Left), ("", Side::Left)]);
    for source in sources {
        let contract = source.contract.as_ref().map(promises).unwrap_or_default();
        let other_name = if source.display_name == source.name { String::new() } else { source.display_name };
        table.row([source.name, source.trust.to_string(), contract, other_name]);
    }
    let request = pb::ListSourcesRequest { parent, ..Default::default() };
    let call = wire::grpcurl(&client.address, "AdminService/ListSources", "ListSourcesRequest", &request);
    say(&(table.render(paint) + &by_hand(&call, paint)))
}

fn asked(what: &str, required: bool, allowed: &[String]) -> String {
    let which = if allowed.is_empty() { String::new() } else { format!(" of {}", allowed.join(", ")) };
    if required { format!("a {what}{which} required") } else { format!("any {what}{which}") }
}

/// A contract on one line.
fn promises(contract: &pb::DataContract) -> String {
    let mut parts = Vec::new();
    if !contract.require_any_namespace.is_empty() {
        parts.push(format!("one of {}", contract.require_any_namespace.join(", ")));
    }
    if contract.strict_identifiers {
        parts.push("well-formed identifiers".to_owned());
    }
    let required: Vec<&str> =
        contract.attributes.iter().filter(|rule| rule.required).map(|rule| rule.name.as_str()).collect();
    if !required.is_empty() {
        parts.push(format!("{} required", required.join(", ")));
    }
    if !contract.attributes.is_empty() {
        parts.push(format!("{} attribute rule(s)", contract.attributes.len()));
    }
    if let Some(roles) = &contract.affiliations {
        parts.push(asked("role", roles.required, &roles.allowed_roles));
    }
    if let Some(stages) = &contract.stages {
        parts.push(asked("stage", stages.required, &stages.allowed));
        if stages.only_steps {
            parts.push("stages that are steps".to_owned());
        }
    }
    if contract.closed {
        parts.push("no other attributes".to_owned());
    }
    parts.join("; ")
}
