//! `onefold model`.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use onefold_cli::output::{Paint, Side, Table, count};
use onefold_proto::v1 as pb;

use super::whole::write_text;
use super::{Failure, by_hand, card, for_people, online, paint, read_text, say, say_json};
use crate::client::{Client, Target, request_id, wire};

/// Match models: what is compared, how much it weighs, and what another model would change.
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// The models in force.
    List(List),
    /// Writes a model's artefact: JSON, fit for a diff.
    Show(Show),
    /// Fits a model to the records that the server holds, without labels. Changes nothing.
    Train(Train),
    /// What would merge, split and change under another model. Changes nothing.
    Preview(Change),
    /// Puts another model in force: everything known is resolved again under it.
    Use(Change),
}

/// Whom a model matches.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Party {
    /// Persons.
    Persons,
    /// Organisations.
    Organisations,
}

impl Party {
    fn name(self, target: &Target) -> String {
        let kind = match self {
            Self::Persons => "persons",
            Self::Organisations => "organisations",
        };
        format!("{}/models/{kind}", target.parent())
    }
}

#[derive(Args)]
struct List {
    #[command(flatten)]
    target: Target,
}

#[derive(Args)]
struct Show {
    /// Whom it matches.
    #[arg(value_enum, default_value = "persons")]
    party: Party,
    #[command(flatten)]
    target: Target,
}

#[derive(Args)]
struct Train {
    /// Whom it matches.
    #[arg(value_enum, default_value = "persons")]
    party: Party,
    /// Where to write the artefact.
    #[arg(long, short, value_name = "FILE")]
    out: PathBuf,
    /// Its version, as evidence cites it.
    #[arg(long, value_name = "TEXT", default_value = "trained")]
    version: String,
    /// An attribute that the built-in comparisons do not know, and how it is compared: NAME:text, NAME:number or
    /// NAME:identifier; may be given more than once.
    #[arg(long, value_name = "NAME:KIND")]
    compare: Vec<String>,
    #[command(flatten)]
    target: Target,
}

#[derive(Args)]
struct Change {
    /// A file with an artefact, `shipped` for the model of this release, or `none` for identifiers alone.
    model: String,
    /// Whom it matches; a file says so itself.
    #[arg(long, value_enum, default_value = "persons")]
    party: Party,
    #[command(flatten)]
    target: Target,
}

impl Change {
    /// The model that is meant, and whom it matches.
    fn choice(&self) -> Result<(pb::ModelChoice, Party), Failure> {
        use pb::model_choice::Choice;
        let (choice, party) = match self.model.as_str() {
            "shipped" => (Choice::Shipped(true), self.party),
            "none" => (Choice::None(true), self.party),
            file => {
                let text = read_text(Path::new(file))?;
                let model = onefold_matching::pair::Model::from_json(&text)
                    .map_err(|error| Failure::usage(format!("{file}: {error}")))?;
                let party = match model.schema.party {
                    onefold_core::fragment::PartyKind::Person => Party::Persons,
                    onefold_core::fragment::PartyKind::Organisation => Party::Organisations,
                };
                (Choice::ArtefactJson(text), party)
            }
        };
        Ok((pb::ModelChoice { choice: Some(choice) }, party))
    }
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.verb {
        Verb::List(list) => online(list_all(list)),
        Verb::Show(show) => online(show_one(show)),
        Verb::Train(train) => online(train_one(train)),
        Verb::Preview(change) => online(preview(change)),
        Verb::Use(change) => online(put_in_force(change)),
    }
}

async fn list_all(list: &List) -> Result<(), Failure> {
    let client = Client::connect(&list.target).await?;
    let request = pb::ListModelsRequest { parent: list.target.parent() };
    let found = client.ask(|| async { client.admin().list_models(request.clone()).await }).await?;
    let Some(paint) = for_people(&list.target, "ListModelsResponse", &found)? else { return Ok(()) };
    let mut table = Table::new(&[
        ("matches", Side::Left),
        ("version", Side::Left),
        ("links from", Side::Right),
        ("asks from", Side::Right),
        ("since", Side::Right),
    ]);
    for model in &found.models {
        let matches = model.name.rsplit('/').next().unwrap_or_default().to_owned();
        let bits = |bits: f64| format!("{bits:+.1}");
        let since = count(model.sequence);
        table.row([matches, model.version.clone(), bits(model.link_bits), bits(model.review_bits), since]);
    }
    let text = if found.models.is_empty() {
        "no model is in force: identifiers alone link\n".to_owned()
    } else {
        table.render(paint)
    };
    let call = wire::grpcurl(&client.address, "AdminService/ListModels", "ListModelsRequest", &request);
    say(&(text + &by_hand(&call, paint)))
}

async fn show_one(show: &Show) -> Result<(), Failure> {
    let client = Client::connect(&show.target).await?;
    let request = pb::GetModelRequest { name: show.party.name(&show.target) };
    let found = client.ask(|| async { client.admin().get_model(request.clone()).await }).await?;
    if show.target.json {
        return say_json(&wire::json("GetModelResponse", &found));
    }
    say(&(found.model.map(|model| model.artefact_json).unwrap_or_default() + "\n"))
}

async fn train_one(train: &Train) -> Result<(), Failure> {
    let custom_fields = train.compare.iter().map(|text| custom(text)).collect::<Result<Vec<_>, _>>()?;
    let client = Client::connect(&train.target).await?;
    let name = train.party.name(&train.target);
    let request = pb::TrainModelRequest { name, version: train.version.clone(), custom_fields };
    let found = client.ask(|| async { client.admin().train_model(request.clone()).await }).await?;
    write_text(&train.out, &found.artefact_json)?;
    if train.target.json {
        return say_json(&serde_json::json!({ "recordCount": found.record_count, "file": train.out }));
    }
    let paint = paint(&std::io::stdout());
    let file = train.out.display();
    let call = wire::grpcurl(&client.address, "AdminService/TrainModel", "TrainModelRequest", &request);
    say(&format!(
        "  fitted to {} records, written to {file}\n\nnext\n  onefold model preview {file}\n  onefold model use {file}\n{}",
        count(found.record_count),
        by_hand(&call, paint)
    ))
}

fn custom(text: &str) -> Result<pb::CustomField, Failure> {
    match text.split_once(':') {
        Some((attribute, kind)) => Ok(pb::CustomField { attribute: attribute.to_owned(), kind: kind.to_owned() }),
        None => Err(Failure::usage(format!("`{text}`: write NAME:text, NAME:number or NAME:identifier"))),
    }
}

async fn preview(change: &Change) -> Result<(), Failure> {
    let (model, party) = change.choice()?;
    let client = Client::connect(&change.target).await?;
    let request = pb::PreviewModelRequest { name: party.name(&change.target), model: Some(model), examples_max: 0 };
    let found = client.ask(|| async { client.admin().preview_model(request.clone()).await }).await?;
    if change.target.json {
        return say_json(&wire::json("PreviewModelResponse", &found));
    }
    say(&changes(&found, paint(&std::io::stdout())))
}

fn changes(found: &pb::PreviewModelResponse, paint: Paint) -> String {
    let mut table = Table::new(&[("", Side::Left), ("now", Side::Right), ("then", Side::Right)]);
    let row = |what: &str, now: u64, then: u64| [what.to_owned(), count(now), count(then)];
    table.row(row("profiles", found.profile_count_now, found.profile_count_then));
    table.row(row("pairs worth a question or a link", found.edge_count_now, found.edge_count_then));
    let mut text = table.render(paint);
    text.push_str(&format!(
        "\n  {} would live on in another, {} would be taken apart, {} changes in all\n",
        count(found.merged_count),
        count(found.split_count),
        count(found.changed_count)
    ));
    for example in &found.examples {
        let others: Vec<&str> = example.others.iter().map(|name| card::short(name)).collect();
        let what = match example.change.as_str() {
            "MERGED" => format!("into {}", others.join(", ")),
            _ if others.is_empty() => "into profiles of their own".to_owned(),
            _ => format!("{} and profiles of their own", others.join(", ")),
        };
        text.push_str(&format!("    {}  {} {what}\n", card::short(&example.profile), example.change.to_lowercase()));
    }
    text
}

async fn put_in_force(change: &Change) -> Result<(), Failure> {
    let (model, party) = change.choice()?;
    let client = Client::connect(&change.target).await?;
    let request = pb::SetModelRequest {
        name: party.name(&change.target),
        model: Some(model),
        etag: String::new(),
        request_id: request_id(),
    };
    let done = client.ask(|| async { client.admin().set_model(request.clone()).await }).await?;
    if change.target.json {
        return say_json(&wire::json("SetModelResponse", &done));
    }
    let what = match &done.model {
        Some(model) => format!("model {} is in force", model.version),
        None => "identifiers alone link".to_owned(),
    };
    say(&format!("  {what}; everything is resolved under it, as of sequence {}\n", count(done.sequence)))
}
