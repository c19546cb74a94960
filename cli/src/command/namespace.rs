//! `onefold namespace`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use onefold_cli::output::{Side, Table};
use onefold_proto::v1 as pb;

use super::{Failure, by_hand, for_people, online, paint, read_message, say, say_json};
use crate::client::{Client, Target, request_id, wire};

/// Namespaces: kinds of identifier, and what a shared value of one proves.
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Makes a namespace, or changes what is named of one that is there; everything known is resolved again.
    Put(Put),
    /// Shows all namespaces.
    List(List),
}

#[derive(Args)]
struct Put {
    /// Lower case letters, digits, `_`, `.`.
    name: String,
    /// The whole namespace as JSON; the options are laid over it.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// What a shared value proves.
    #[arg(long)]
    class: Option<Class>,
    /// How raw values become comparable; cannot change once the namespace is there.
    #[arg(long)]
    normaliser: Option<Normaliser>,
    /// 0 to 1000: strength among namespaces of one class.
    #[arg(long, value_name = "N")]
    priority: Option<u32>,
    /// More distinct names, or distinct unique identifiers, than this behind one value make it generic.
    #[arg(long, value_name = "N")]
    diversity_limit: Option<u32>,
    /// A value that shall never link; may be given several times.
    #[arg(long, value_name = "VALUE")]
    block: Vec<String>,
    /// A regular expression for whole values that shall never link; may be given several times.
    #[arg(long, value_name = "PATTERN")]
    block_pattern: Vec<String>,
    /// A value that may link again; may be given several times.
    #[arg(long, value_name = "VALUE")]
    unblock: Vec<String>,
    #[command(flatten)]
    target: Target,
}

#[derive(Clone, Copy, ValueEnum)]
enum Class {
    /// One value belongs to one party, which has at most one: links, and keeps apart.
    Unique,
    /// One value belongs to one party, which may have several: links.
    Identifying,
    /// Never links by itself.
    Supporting,
}

#[derive(Clone, Copy, ValueEnum)]
enum Normaliser {
    /// Lower case, domain in ASCII.
    Email,
    /// E.164.
    Phone,
    /// Registrable domain.
    Domain,
    /// Letters and digits only, lower case.
    Alphanumeric,
    /// Trimmed.
    Verbatim,
    /// Trimmed, lower case.
    Folded,
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
    let given = read_message::<pb::Namespace>("Namespace", put.file.as_ref())?;
    let client = Client::connect(&put.target).await?;
    let parent = put.target.parent();
    let known = client.all_namespaces(&parent).await?.into_iter().find(|namespace| namespace.name == put.name);
    let fresh = known.is_none();
    let mut namespace = given.or(known).unwrap_or_default();
    namespace.name.clone_from(&put.name);
    lay_over(put, &mut namespace);
    let request = pb::PutNamespaceRequest { parent, namespace: Some(namespace), request_id: request_id() };
    let done = client.ask(|| async { client.admin().put_namespace(request.clone()).await }).await?;
    let namespace = done.namespace.unwrap_or_default();
    let Some(paint) = for_people(&put.target, "Namespace", &namespace)? else { return Ok(()) };
    let shown = pb::Namespace { etag: String::new(), ..request.namespace.unwrap_or_default() };
    let again = pb::PutNamespaceRequest { parent: request.parent, namespace: Some(shown), ..Default::default() };
    let call = wire::grpcurl(&client.address, "AdminService/PutNamespace", "PutNamespaceRequest", &again);
    let word = if fresh { "made" } else { "changed" };
    say(&format!("{word} the namespace {}, {}\n{}", namespace.name, class(&namespace), by_hand(&call, paint)))
}

fn lay_over(put: &Put, namespace: &mut pb::Namespace) {
    if let Some(class) = put.class {
        namespace.set_class(match class {
            Class::Unique => pb::NamespaceClass::Unique,
            Class::Identifying => pb::NamespaceClass::Identifying,
            Class::Supporting => pb::NamespaceClass::Supporting,
        });
    }
    if let Some(normaliser) = put.normaliser {
        namespace.set_normaliser(match normaliser {
            Normaliser::Email => pb::Normaliser::Email,
            Normaliser::Phone => pb::Normaliser::Phone,
            Normaliser::Domain => pb::Normaliser::Domain,
            Normaliser::Alphanumeric => pb::Normaliser::Alphanumeric,
            Normaliser::Verbatim => pb::Normaliser::Verbatim,
            Normaliser::Folded => pb::Normaliser::Folded,
        });
    }
    namespace.priority = put.priority.unwrap_or(namespace.priority);
    namespace.diversity_limit = put.diversity_limit.unwrap_or(namespace.diversity_limit);
    for value in &put.block {
        if !namespace.blocked_values.contains(value) {
            namespace.blocked_values.push(value.clone());
        }
    }
    for pattern in &put.block_pattern {
        if !namespace.blocked_patterns.contains(pattern) {
            namespace.blocked_patterns.push(pattern.clone());
        }
    }
    namespace.blocked_values.retain(|value| !put.unblock.contains(value));
    namespace.blocked_patterns.retain(|pattern| !put.unblock.contains(pattern));
}

fn class(namespace: &pb::Namespace) -> &'static str {
    match namespace.class() {
        pb::NamespaceClass::Unique => "unique",
        pb::NamespaceClass::Supporting => "supporting",
        pb::NamespaceClass::Identifying | pb::NamespaceClass::Unspecified => "identifying",
    }
}

fn normaliser(namespace: &pb::Namespace) -> String {
    let name = namespace.normaliser().as_str_name().trim_start_matches("NORMALISER_");
    if name == "UNSPECIFIED" { "verbatim".to_owned() } else { name.to_lowercase() }
}

async fn show(list: &List) -> Result<(), Failure> {
    let client = Client::connect(&list.target).await?;
    let parent = list.target.parent();
    let namespaces = client.all_namespaces(&parent).await?;
    if list.target.json {
        let response = pb::ListNamespacesResponse { namespaces, next_page_token: String::new() };
        return say_json(&wire::json("ListNamespacesResponse", &response));
    }
    let paint = paint(&std::io::stdout());
    let mut table = Table::new(&[
        ("namespace", Side::Left),
        ("class", Side::Left),
        ("values", Side::Left),
        ("priority", Side::Right),
        ("diversity", Side::Right),
        ("blocked", Side::Right),
    ]);
    for one in &namespaces {
        table.row([
            one.name.clone(),
            class(one).to_owned(),
            normaliser(one),
            one.priority.to_string(),
            one.diversity_limit.to_string(),
            (one.blocked_values.len() + one.blocked_patterns.len()).to_string(),
        ]);
    }
    let request = pb::ListNamespacesRequest { parent, ..Default::default() };
    let call = wire::grpcurl(&client.address, "AdminService/ListNamespaces", "ListNamespacesRequest", &request);
    say(&(table.render(paint) + &by_hand(&call, paint)))
}
