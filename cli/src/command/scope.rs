//! What requests of persons have in common on the command line: how one is taken in, and how its scope is shown.

use clap::Args;
use onefold_proto::v1 as pb;

use super::consent::Who;
use super::{Failure, card};
use crate::client::{Client, Target, request_id};

/// The law of requests that name none.
pub const USUAL_LAW: &str = "GDPR";

/// How a request is taken in.
#[derive(Args)]
pub struct Taking {
    /// Under which law: GDPR, UK_GDPR, CCPA, US_STATE, LGPD, PIPEDA. Without it GDPR; CCPA for a list of California's DROP.
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
}

impl Taking {
    /// Takes in a request and verifies it; its name.
    pub async fn take_in(
        &self,
        client: &Client,
        target: &Target,
        kind: pb::PrivacyRequestKind,
        words: &[String],
    ) -> Result<String, Failure> {
        let request = pb::CreatePrivacyRequestRequest {
            parent: target.parent(),
            kind: kind as i32,
            regulation: self.law(USUAL_LAW).to_owned(),
            reference: self.reference.clone(),
            subjects: vec![Who { words: words.to_vec() }.subject(target)?],
            received_time: None,
            request_id: request_id(),
        };
        let taken = client.ask(|| async { client.privacy().create_privacy_request(request.clone()).await }).await?;
        let name = taken.request.unwrap_or_default().name;
        self.verify(client, &name, request_id()).await?;
        Ok(name)
    }

    /// Says that a request is the person's.
    pub async fn verify(&self, client: &Client, name: &str, request_id: String) -> Result<(), Failure> {
        let (name, method, by) = (name.to_owned(), self.verified.clone(), self.by.clone());
        let request = pb::VerifyPrivacyRequestRequest { name, method, by, request_id };
        client.ask(|| async { client.privacy().verify_privacy_request(request.clone()).await }).await.map(drop)
    }

    /// One of many requests that are taken in alike.
    pub fn request(&self, target: &Target, law: &str, subject: pb::ConsentSubject) -> pb::CreatePrivacyRequestRequest {
        pb::CreatePrivacyRequestRequest {
            parent: target.parent(),
            kind: pb::PrivacyRequestKind::Erasure as i32,
            regulation: law.to_owned(),
            reference: self.reference.clone(),
            subjects: vec![subject],
            received_time: None,
            request_id: String::new(),
        }
    }

    /// The law that was named, or else this one.
    pub fn law<'a>(&'a self, usual: &'a str) -> &'a str {
        self.regulation.as_deref().unwrap_or(usual)
    }

    /// All that is said of such requests, for their names.
    pub fn said<'a>(&'a self, law: &'a str) -> [&'a [u8]; 4] {
        [law, &self.reference, &self.verified, &self.by].map(str::as_bytes)
    }
}

/// Counts by name, in one line.
pub fn counts(of: &[pb::NamedCount]) -> String {
    let all: Vec<String> = of.iter().map(|one| format!("{} {}", one.count, one.name)).collect();
    if all.is_empty() { "none".to_owned() } else { all.join(", ") }
}

/// The records in scope, a line each with its evidence.
pub fn records(of: &[pb::ScopedRecord]) -> String {
    if of.is_empty() {
        return "  no source record\n".to_owned();
    }
    let line = |record: &pb::ScopedRecord| {
        let of = if record.profile.is_empty() { String::new() } else { format!(" {}", card::short(&record.profile)) };
        let why = match record.evidence.as_str() {
            "NAMED" => "named by the request".to_owned(),
            "MEMBER_OF_PROFILE" => format!("member of{of}"),
            "RETRACTED_SHARING_IDENTIFIER" => format!("taken back by its source, held the same {}", record.namespace),
            _ => format!("taken back by its source, was in{of}"),
        };
        let key = if record.key.is_empty() { "(no live content)" } else { &record.key };
        format!("  {} {key}: {why}\n", record.source)
    };
    of.iter().map(line).collect()
}
