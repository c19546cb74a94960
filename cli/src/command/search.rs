//! `onefold search`.

use clap::Args;
use onefold_proto::v1 as pb;

use super::{Failure, by_hand, card, for_people, online, say};
use crate::client::{Client, Target, wire};

/// Who this might be, of whom only some attributes are known, misspelt perhaps.
#[derive(Args)]
pub struct Arguments {
    /// What is known, as NAME=VALUE, e.g. family_name=Lovelase city=London.
    #[arg(required = true, value_name = "NAME=VALUE")]
    known: Vec<String>,
    /// Looks for organisations instead of persons.
    #[arg(long)]
    organisations: bool,
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = 5)]
    most: i32,
    /// The purpose that the profiles are read for.
    #[arg(long, value_name = "NAME", default_value = "")]
    purpose: String,
    #[command(flatten)]
    target: Target,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    online(search(arguments))
}

async fn search(arguments: &Arguments) -> Result<(), Failure> {
    let mut attributes = Vec::with_capacity(arguments.known.len());
    for text in &arguments.known {
        let Some((name, value)) = text.split_once('=').filter(|(name, value)| !name.is_empty() && !value.is_empty())
        else {
            return Err(Failure::usage(format!("`{text}`: write NAME=VALUE, e.g. family_name=Lovelace")));
        };
        let value = Some(pb::attribute::Value::Text(value.to_owned()));
        attributes.push(pb::Attribute { name: name.to_owned(), value });
    }
    let party_kind = if arguments.organisations { pb::PartyKind::Organisation } else { pb::PartyKind::Person };
    let request = pb::SearchProfilesRequest {
        parent: arguments.target.parent(),
        party_kind: party_kind as i32,
        attributes,
        max_results: arguments.most.max(1),
        purpose: arguments.purpose.clone(),
        ..Default::default()
    };
    let client = Client::connect(&arguments.target).await?;
    let found = client.ask(|| async { client.profiles().search_profiles(request.clone()).await }).await?;
    let Some(paint) = for_people(&arguments.target, "SearchProfilesResponse", &found)? else { return Ok(()) };
    let mut text = if found.results.is_empty() { "nobody is like that\n".to_owned() } else { String::new() };
    for result in &found.results {
        text.push_str(&paint.heading(&format!("{:+.1} bits", result.evidence_bits)));
        text.push_str("  ");
        text.push_str(&result.profile.as_ref().map(|profile| card::render(profile, false, paint)).unwrap_or_default());
        text.push('\n');
    }
    if !found.withheld.is_empty() {
        let left_out: Vec<&str> = found.withheld.iter().map(|one| one.field.as_str()).collect();
        text.push_str(&format!("not compared, since the purpose may not read it: {}\n", left_out.join(", ")));
    }
    let call = wire::grpcurl(&client.address, "ProfileService/SearchProfiles", "SearchProfilesRequest", &request);
    say(&(text + &by_hand(&call, paint)))
}
