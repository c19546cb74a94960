//! `onefold rights`: what a person may ask for beside erasure and access.

use clap::{Args, Subcommand};
use onefold_proto::v1 as pb;

use super::consent::Who;
use super::requests::{named, show};
use super::{Failure, by_hand, for_people, online, say};
use crate::client::{Client, Target, request_id, wire};

/// Restricts, objects, corrects: takes in the request, verifies it and carries it out.
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Kept and not used from now on: reads for a purpose and contacts are refused (GDPR Art. 18).
    Restrict {
        #[command(flatten)]
        asked: Asked,
    },
    /// Used again: ends a restriction.
    Lift {
        /// The number of the request that restricted.
        number: String,
        /// Who you are: one word.
        #[arg(long, value_name = "WORD", default_value = "officer")]
        by: String,
        /// Why: one word.
        #[arg(long, value_name = "WORD")]
        ground: String,
        #[command(flatten)]
        target: Target,
    },
    /// No to a use (GDPR Art. 21): of direct marketing, unless purposes are named.
    Object {
        /// A purpose of the consent policy; may be given again.
        #[arg(long, value_name = "NAME")]
        purpose: Vec<String>,
        /// California's no to sale and sharing (CCPA §1798.120).
        #[arg(long, conflicts_with = "limit_sensitive")]
        opt_out_sale: bool,
        /// California's limit on sensitive information (CCPA §1798.121).
        #[arg(long)]
        limit_sensitive: bool,
        #[command(flatten)]
        asked: Asked,
    },
    /// Corrects what is wrong (GDPR Art. 16): what is given stands above what sources send, also later.
    Rectify {
        /// What is right, as NAME=VALUE; may be given again. Give a group such as address.* whole.
        #[arg(long = "set", value_name = "NAME=VALUE", required_unless_present = "identifier")]
        set: Vec<String>,
        /// An identifier that is right, as NAMESPACE=VALUE; may be given again.
        #[arg(long, value_name = "NAMESPACE=VALUE")]
        identifier: Vec<String>,
        #[command(flatten)]
        asked: Asked,
    },
}

#[derive(Args)]
struct Asked {
    #[command(flatten)]
    who: Who,
    /// Under which law: GDPR, UK_GDPR, CCPA, US_STATE, LGPD, PIPEDA.
    #[arg(long, value_name = "LAW")]
    regulation: Option<String>,
    /// Your own number for it: one word, no personal data.
    #[arg(long, value_name = "WORD", default_value = "")]
    reference: String,
    /// How it was made sure that the request is the person's: one word.
    #[arg(long, value_name = "WORD", default_value = "by-hand")]
    verified: String,
    /// Who you are: one word.
    #[arg(long, value_name = "WORD", default_value = "officer")]
    by: String,
    #[command(flatten)]
    target: Target,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    online(act(&arguments.command))
}

/// Takes in the request and verifies it; answers with its name and its scope.
async fn take_in(
    client: &Client,
    asked: &Asked,
    kind: pb::PrivacyRequestKind,
    law: &str,
) -> Result<(String, String), Failure> {
    let request = pb::CreatePrivacyRequestRequest {
        parent: asked.target.parent(),
        kind: kind as i32,
        regulation: asked.regulation.clone().unwrap_or_else(|| law.to_owned()),
        reference: asked.reference.clone(),
        subjects: vec![asked.who.subject(&asked.target)?],
        received_time: None,
        request_id: request_id(),
    };
    let taken = client.ask(|| async { client.privacy().create_privacy_request(request.clone()).await }).await?;
    let name = taken.request.unwrap_or_default().name;
    let request = pb::VerifyPrivacyRequestRequest {
        name: name.clone(),
        method: asked.verified.clone(),
        by: asked.by.clone(),
        request_id: request_id(),
    };
    client.ask(|| async { client.privacy().verify_privacy_request(request.clone()).await }).await?;
    let request = pb::PreviewErasureRequest { name: name.clone() };
    let preview = client.ask(|| async { client.privacy().preview_erasure(request.clone()).await }).await?;
    Ok((name, preview.etag))
}

fn pair(text: &String) -> Result<(&str, &str), Failure> {
    let pair = text.split_once('=').filter(|(name, value)| !name.is_empty() && !value.is_empty());
    pair.ok_or_else(|| Failure::usage(format!("`{text}`: write NAME=VALUE, e.g. family_name=Lovelace")))
}

fn pairs(texts: &[String]) -> Result<Vec<(&str, &str)>, Failure> {
    texts.iter().map(pair).collect()
}

async fn act(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Restrict { asked } => {
            let client = Client::connect(&asked.target).await?;
            let (name, etag) = take_in(&client, asked, pb::PrivacyRequestKind::Restriction, "GDPR").await?;
            let request = pb::ExecuteRestrictionRequest { name, etag, by: asked.by.clone(), request_id: request_id() };
            let done = client.ask(|| async { client.privacy().execute_restriction(request.clone()).await }).await?;
            let Some(paint) = for_people(&asked.target, "ExecuteRestrictionResponse", &done)? else { return Ok(()) };
            let call = wire::grpcurl(
                &client.address,
                "PrivacyService/ExecuteRestriction",
                "ExecuteRestrictionRequest",
                &request,
            );
            say(&(show(&done.request.unwrap_or_default()) + &by_hand(&call, paint)))
        }
        Command::Lift { number, by, ground, target } => {
            let client = Client::connect(target).await?;
            let request = pb::LiftRestrictionRequest {
                name: named(target, number),
                by: by.clone(),
                ground: ground.clone(),
                request_id: request_id(),
            };
            let done = client.ask(|| async { client.privacy().lift_restriction(request.clone()).await }).await?;
            let Some(paint) = for_people(target, "LiftRestrictionResponse", &done)? else { return Ok(()) };
            let call =
                wire::grpcurl(&client.address, "PrivacyService/LiftRestriction", "LiftRestrictionRequest", &request);
            say(&(show(&done.request.unwrap_or_default()) + &by_hand(&call, paint)))
        }
        Command::Object { purpose, opt_out_sale, limit_sensitive, asked } => {
            let client = Client::connect(&asked.target).await?;
            let (kind, law) = match (opt_out_sale, limit_sensitive) {
                (true, _) => (pb::PrivacyRequestKind::OptOutSaleShare, "CCPA"),
                (_, true) => (pb::PrivacyRequestKind::LimitSensitive, "CCPA"),
                _ => (pb::PrivacyRequestKind::Objection, "GDPR"),
            };
            let (name, etag) = take_in(&client, asked, kind, law).await?;
            let request = pb::ExecuteObjectionRequest {
                name,
                etag,
                by: asked.by.clone(),
                purposes: purpose.clone(),
                request_id: request_id(),
            };
            let done = client.ask(|| async { client.privacy().execute_objection(request.clone()).await }).await?;
            let Some(paint) = for_people(&asked.target, "ExecuteObjectionResponse", &done)? else { return Ok(()) };
            let call =
                wire::grpcurl(&client.address, "PrivacyService/ExecuteObjection", "ExecuteObjectionRequest", &request);
            say(&(show(&done.request.unwrap_or_default()) + &by_hand(&call, paint)))
        }
        Command::Rectify { set, identifier, asked } => {
            let client = Client::connect(&asked.target).await?;
            let attribute = |(name, value): (&str, &str)| pb::Attribute {
                name: name.to_owned(),
                value: Some(pb::attribute::Value::Text(value.to_owned())),
            };
            let claim = |(namespace, value): (&str, &str)| pb::Identifier {
                namespace: namespace.to_owned(),
                value: value.to_owned(),
            };
            let attributes = pairs(set)?.into_iter().map(attribute).collect();
            let identifiers = pairs(identifier)?.into_iter().map(claim).collect();
            let (name, etag) = take_in(&client, asked, pb::PrivacyRequestKind::Rectification, "GDPR").await?;
            let request = pb::ExecuteRectificationRequest {
                name,
                etag,
                by: asked.by.clone(),
                identifiers,
                attributes,
                request_id: request_id(),
            };
            let done = client.ask(|| async { client.privacy().execute_rectification(request.clone()).await }).await?;
            let Some(paint) = for_people(&asked.target, "ExecuteRectificationResponse", &done)? else { return Ok(()) };
            let call = wire::grpcurl(
                &client.address,
                "PrivacyService/ExecuteRectification",
                "ExecuteRectificationRequest",
                &request,
            );
            say(&(show(&done.request.unwrap_or_default()) + &by_hand(&call, paint)))
        }
    }
}
