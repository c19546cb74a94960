//! `onefold decide`.

mod many;

use std::path::PathBuf;

use clap::Args;
use onefold_proto::v1 as pb;

use super::consent::{Who, time};
use super::{Failure, by_hand, card, for_people, online, paint, say, say_json};
use crate::client::{Client, Target, wire};

/// Whether a person may be contacted now, and every reason; or what became of a contact that was reserved.
#[derive(Args)]
#[command(
    override_usage = "onefold decide [OPTIONS] --purpose NAME --channel NAME WHO\n       onefold decide [OPTIONS] --purpose NAME --channel NAME --file FILE\n       onefold decide [OPTIONS] --confirm RESERVATION\n       onefold decide [OPTIONS] --release RESERVATION"
)]
pub struct Arguments {
    /// A namespace and a value (`email ada@example.com`), `record SOURCE KEY`, or `id PROFILE`.
    #[arg(num_args = 2..=3, value_name = "WHO", required_unless_present_any = ["confirm", "release", "file"])]
    words: Vec<String>,
    /// What for.
    #[arg(long, value_name = "NAME", required_unless_present_any = ["confirm", "release"])]
    purpose: Option<String>,
    /// Over which channel.
    #[arg(long, value_name = "NAME", required_unless_present_any = ["confirm", "release"])]
    channel: Option<String>,
    /// When the contact is to happen, e.g. 2026-03-01T12:00:00Z; now, unless told.
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// Under whose law, where you know: DE, US-CA.
    #[arg(long, value_name = "CODE", default_value = "")]
    jurisdiction: String,
    /// Counts an allowed contact from now on.
    #[arg(long)]
    reserve: bool,
    /// The reserved contact happened.
    #[arg(long, value_name = "RESERVATION", conflicts_with_all = ["release", "words"])]
    confirm: Option<String>,
    /// The reserved contact will not happen.
    #[arg(long, value_name = "RESERVATION", conflicts_with = "words")]
    release: Option<String>,
    /// Asks about everybody of a CSV file in UTF-8 or UTF-16, and tells how many may be contacted and why the others may not.
    /// Each row says who in the same words (`email,ada@example.com`, `record,SOURCE,KEY`, `id,PROFILE`), between commas,
    /// semicolons or tabs; in a file of one column the first row may name the namespace of all others. Without that, e-mail addresses
    /// and telephone numbers with a `+` are known as such. A row that cannot be asked about is named, and the rest answered.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["words", "confirm", "release"])]
    file: Option<PathBuf>,
    /// Where to write the answer to each row of `--file`, as CSV: line, answer, reasons, profile, reservation.
    #[arg(long, value_name = "FILE", requires = "file")]
    out: Option<PathBuf>,
    #[command(flatten)]
    target: Target,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    match (&arguments.confirm, &arguments.release, &arguments.file) {
        (Some(id), ..) => online(settle(id, true, &arguments.target)),
        (_, Some(id), _) => online(settle(id, false, &arguments.target)),
        (.., Some(file)) => online(many::run(arguments, file)),
        _ => online(decide(&Who { words: arguments.words.clone() }, arguments)),
    }
}

async fn decide(who: &Who, arguments: &Arguments) -> Result<(), Failure> {
    let target = &arguments.target;
    let request = pb::DecideContactRequest {
        parent: target.parent(),
        subject: Some(who.subject(target)?),
        purpose: arguments.purpose.clone().unwrap_or_default(),
        channel: arguments.channel.clone().unwrap_or_default(),
        contact_time: time(arguments.at.as_ref())?,
        reserve: arguments.reserve,
        jurisdiction: arguments.jurisdiction.clone(),
        request_id: if arguments.reserve { request_id()? } else { String::new() },
    };
    let client = Client::connect(target).await?;
    let answered = client.ask(|| async { client.consent().decide_contact(request.clone()).await }).await?;
    let verdict = answered.verdict.unwrap_or_default();
    let Some(paint) = for_people(target, "ContactVerdict", &verdict)? else { return Ok(()) };
    let word = if verdict.allowed { "allowed" } else { "denied" };
    let whom = if verdict.profile.is_empty() { String::new() } else { format!(": {}", card::short(&verdict.profile)) };
    let mut text = paint.heading(&format!("{word}{whom}")) + "\n";
    for reason in &verdict.reasons {
        let by =
            if reason.decided_by.is_empty() { String::new() } else { format!("  {}", reason.decided_by.join(" ")) };
        text.push_str(&format!("  {}: {}{by}\n", reason.reason, reason.message));
    }
    if !verdict.reservation_id.is_empty() {
        let until = card::time(verdict.reservation_expire_time.as_ref());
        text.push_str(&format!("  reserved until {until}: onefold decide --confirm {}\n", verdict.reservation_id));
    }
    let call = wire::grpcurl(&client.address, "ConsentService/DecideContact", "DecideContactRequest", &request);
    say(&(text + &by_hand(&call, paint)))
}

/// A name for the call, so that an answer that is lost and asked for again does not reserve twice.
fn request_id() -> Result<String, Failure> {
    let mut id = [0u8; 16];
    getrandom::fill(&mut id).map_err(|error| Failure::new(format!("no randomness can be had: {error}")))?;
    Ok(id.iter().map(|byte| format!("{byte:02x}")).collect())
}

async fn settle(id: &str, happened: bool, target: &Target) -> Result<(), Failure> {
    let client = Client::connect(target).await?;
    let (word, call) = if happened {
        let request = pb::ConfirmReservationRequest {
            parent: target.parent(),
            reservation_id: id.to_owned(),
            ..Default::default()
        };
        client.ask(|| async { client.consent().confirm_reservation(request.clone()).await }).await?;
        let method = "ConsentService/ConfirmReservation";
        ("confirmed", wire::grpcurl(&client.address, method, "ConfirmReservationRequest", &request))
    } else {
        let request = pb::ReleaseReservationRequest {
            parent: target.parent(),
            reservation_id: id.to_owned(),
            ..Default::default()
        };
        client.ask(|| async { client.consent().release_reservation(request.clone()).await }).await?;
        let method = "ConsentService/ReleaseReservation";
        ("released", wire::grpcurl(&client.address, method, "ReleaseReservationRequest", &request))
    };
    if target.json {
        return say_json(&serde_json::json!({ "reservationId": id, "standing": word }));
    }
    say(&format!("{word}\n{}", by_hand(&call, paint(&std::io::stdout()))))
}
