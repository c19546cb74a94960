//! `onefold lookup`.

use clap::Args;
use onefold_proto::v1 as pb;

use super::{Failure, by_hand, card, for_people, online, say};
use crate::client::{Client, Target, wire};

/// Shows the one profile behind an identifier, a source record or a profile id.
#[derive(Args)]
#[command(
    override_usage = "onefold lookup [OPTIONS] NAMESPACE VALUE\n       onefold lookup [OPTIONS] record SOURCE KEY\n       onefold lookup [OPTIONS] id PROFILE"
)]
pub struct Arguments {
    /// A namespace and a value (`email ada@example.com`), `record SOURCE KEY`, or `id PROFILE`.
    #[arg(required = true, num_args = 2..=3, value_name = "WHAT")]
    what: Vec<String>,
    /// Also shows who said each value, the values that lost, and the source records.
    #[arg(long)]
    full: bool,
    /// Only persons, or only organisations; otherwise persons first.
    #[arg(long, value_parser = ["person", "organisation"])]
    party: Option<String>,
    /// Answers from a state that has reached this sequence.
    #[arg(long, value_name = "N", default_value_t = 0)]
    min_sequence: u64,
    /// Only what this purpose may read, and what is withheld.
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    purpose: String,
    #[command(flatten)]
    target: Target,
}

enum Question {
    Get(pb::GetProfileRequest),
    Lookup(pb::LookupProfileRequest),
}

fn question(arguments: &Arguments) -> Result<Question, Failure> {
    use pb::lookup_profile_request::Key;
    let view = if arguments.full { pb::ProfileView::Full } else { pb::ProfileView::Basic } as i32;
    let min_sequence = arguments.min_sequence;
    let purpose = arguments.purpose.clone();
    let words: Vec<&str> = arguments.what.iter().map(String::as_str).collect();
    let key = match words.as_slice() {
        ["id", id] => {
            let name = arguments.target.profile(id)?;
            return Ok(Question::Get(pb::GetProfileRequest { name, view, read_mask: None, min_sequence, purpose }));
        }
        ["record", source, key] => {
            Key::Record(pb::SourceRecord { source: (*source).to_owned(), key: (*key).to_owned() })
        }
        ["record", one] => {
            return Err(Failure::usage(format!(
                "a record is its source and its key: onefold lookup record SOURCE {one}"
            )));
        }
        [namespace, value] => {
            Key::Identifier(pb::Identifier { namespace: (*namespace).to_owned(), value: (*value).to_owned() })
        }
        _ => {
            return Err(Failure::usage(
                "too many words: lookup NAMESPACE VALUE, lookup record SOURCE KEY, or lookup id PROFILE\nhint: put a value with blanks in quotes",
            ));
        }
    };
    let party_kind = match arguments.party.as_deref() {
        Some("organisation") => pb::PartyKind::Organisation,
        Some(_) => pb::PartyKind::Person,
        None => pb::PartyKind::Unspecified,
    } as i32;
    let parent = arguments.target.parent();
    Ok(Question::Lookup(pb::LookupProfileRequest {
        parent,
        key: Some(key),
        party_kind,
        view,
        read_mask: None,
        min_sequence,
        purpose,
    }))
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let question = question(arguments)?;
    online(async {
        let client = Client::connect(&arguments.target).await?;
        let (found, withheld, call) = match &question {
            Question::Get(request) => {
                let asked = client.ask(|| async { client.profiles().get_profile(request.clone()).await }).await?;
                let call = wire::grpcurl(&client.address, "ProfileService/GetProfile", "GetProfileRequest", request);
                (asked.profile, asked.withheld, call)
            }
            Question::Lookup(request) => {
                let asked = client.ask(|| async { client.profiles().lookup_profile(request.clone()).await }).await?;
                let call =
                    wire::grpcurl(&client.address, "ProfileService/LookupProfile", "LookupProfileRequest", request);
                (asked.profile, asked.withheld, call)
            }
        };
        let profile = found.unwrap_or_default();
        let Some(paint) = for_people(&arguments.target, "Profile", &profile)? else { return Ok(()) };
        let mut text = card::render(&profile, arguments.full, paint);
        if !withheld.is_empty() {
            let fields: Vec<&str> = withheld.iter().map(|field| field.field.as_str()).collect();
            text.push_str(&format!("\nwithheld, not in the purpose {}: {}\n", arguments.purpose, fields.join(", ")));
        }
        if let Question::Get(request) = &question
            && request.name != profile.name
        {
            text = format!("{} lives on in {}\n{text}", card::short(&request.name), card::short(&profile.name));
        }
        say(&(text + &by_hand(&call, paint)))
    })
}
