//! `onefold requests`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use onefold_cli::output::{Side, Table};
use onefold_proto::v1 as pb;

use super::consent::Who;
use super::whole::write_text;
use super::{Failure, card, online, paint, say, say_json};
use crate::client::{Client, PAGE_SIZE, Target, request_id, wire};

/// Requests of persons: list, show, verify, approve, extend, refuse, cancel, confirm, receipt, readmit, policy.
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// All requests, oldest first.
    List {
        /// Only those that have not ended.
        #[arg(long)]
        open: bool,
        /// Only those where somebody waits longer than they must.
        #[arg(long)]
        overdue: bool,
        #[command(flatten)]
        target: Target,
    },
    /// One request.
    Show {
        /// Its number.
        number: String,
        #[command(flatten)]
        target: Target,
    },
    /// The request is the person's, or of who may speak for them: for one that came in otherwise than by this tool.
    Verify {
        /// Its number.
        number: String,
        /// How it was made sure: one word.
        #[arg(long, value_name = "WORD", default_value = "by-hand")]
        method: String,
        /// Who you are: one word.
        #[arg(long, value_name = "WORD", default_value = "officer")]
        by: String,
        #[command(flatten)]
        target: Target,
    },
    /// Says yes to the scope that a preview showed. Not for who verified.
    Approve {
        /// Its number.
        number: String,
        /// The scope.
        #[arg(long, value_name = "ETAG")]
        etag: String,
        /// Who you are: one word.
        #[arg(long, value_name = "WORD")]
        by: String,
        #[command(flatten)]
        target: Target,
    },
    /// Takes more time, once, where the law knows it.
    Extend {
        /// Its number.
        number: String,
        /// Why, as the person was told: one word.
        #[arg(long, value_name = "WORD")]
        ground: String,
        #[command(flatten)]
        target: Target,
    },
    /// Does not do it.
    Refuse {
        /// Its number.
        number: String,
        /// Why: one word.
        #[arg(long, value_name = "WORD")]
        ground: String,
        #[command(flatten)]
        target: Target,
    },
    /// The person took it back.
    Cancel {
        /// Its number.
        number: String,
        /// Why: one word.
        #[arg(long, value_name = "WORD")]
        ground: String,
        #[command(flatten)]
        target: Target,
    },
    /// A consumer of the feed erased too.
    Confirm {
        /// Its number.
        number: String,
        /// Which consumer.
        consumer: String,
        #[command(flatten)]
        target: Target,
    },
    /// The signed receipt of a completed erasure.
    Receipt {
        /// Its number.
        number: String,
        /// Writes it to this file; without it, to standard output.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        #[command(flatten)]
        target: Target,
    },
    /// Lets an identifier or a source record come back that was erased: the person came by their own act.
    Readmit {
        #[command(flatten)]
        who: Who,
        /// Who you are: one word.
        #[arg(long, value_name = "WORD")]
        by: String,
        /// Why: one word.
        #[arg(long, value_name = "WORD")]
        ground: String,
        #[command(flatten)]
        target: Target,
    },
    /// Shows who must approve and who must confirm; with an option, sets all of it.
    Policy {
        /// A second person must approve: true or false.
        #[arg(long, value_name = "BOOL")]
        second_person: Option<bool>,
        /// A second person must approve requests of this kind too; may be given again. `none` asks for one of no further kind.
        #[arg(long, value_name = "KIND", value_parser = kind)]
        second_person_for: Vec<pb::PrivacyRequestKind>,
        /// Whoever is shown personal data must name a purpose, but for stewards, privacy officers and auditors: true or false.
        #[arg(long, value_name = "BOOL")]
        purpose_required: Option<bool>,
        /// A consumer of the feed that must confirm erasures; may be given again.
        #[arg(long, value_name = "WORD")]
        consumer: Vec<String>,
        /// Within so many days.
        #[arg(long, value_name = "DAYS")]
        confirm_within_days: Option<u32>,
        /// After so many days somebody looks whether a suppression is still needed.
        #[arg(long, value_name = "DAYS")]
        review_after_days: Option<u32>,
        /// Whether reads of personal data are noted.
        #[arg(long, value_enum, value_name = "MODE")]
        read_log: Option<ReadLog>,
        /// For how many days.
        #[arg(long, value_name = "DAYS")]
        read_log_days: Option<u32>,
        #[command(flatten)]
        target: Target,
    },
}

/// Whether reads of personal data are noted.
#[derive(Clone, Copy, ValueEnum)]
enum ReadLog {
    /// Where callers are asked who they are.
    Default,
    /// No.
    Off,
    /// Yes; where the log cannot be written, reads go on.
    On,
    /// Yes; where the log cannot be written, reads are refused.
    Strict,
}

impl ReadLog {
    const fn wire(self) -> pb::ReadLogMode {
        match self {
            Self::Default => pb::ReadLogMode::Unspecified,
            Self::Off => pb::ReadLogMode::Off,
            Self::On => pb::ReadLogMode::On,
            Self::Strict => pb::ReadLogMode::Strict,
        }
    }

    const fn words(mode: pb::ReadLogMode) -> &'static str {
        match mode {
            pb::ReadLogMode::Unspecified => "noted where callers are asked who they are",
            pb::ReadLogMode::Off => "not noted",
            pb::ReadLogMode::On => "noted",
            pb::ReadLogMode::Strict => "noted, or refused",
        }
    }
}

/// A kind of request by its name in lower case; `none` is none.
fn kind(text: &str) -> Result<pb::PrivacyRequestKind, String> {
    const PREFIX: &str = "PRIVACY_REQUEST_KIND_";
    let name = match text {
        "none" => "UNSPECIFIED".to_owned(),
        text => text.to_uppercase().replace('-', "_"),
    };
    let known = pb::PrivacyRequestKind::from_str_name(&format!("{PREFIX}{name}"));
    known.filter(|_| text != "unspecified").ok_or_else(|| {
        "write erasure, access, portability, rectification, restriction, objection, opt_out_sale_share, limit_sensitive, or \
         none"
            .to_owned()
    })
}

/// The name of a kind, for people.
fn kind_name(kind: pb::PrivacyRequestKind) -> String {
    kind.as_str_name().trim_start_matches("PRIVACY_REQUEST_KIND_").to_lowercase().replace('_', " ")
}

/// The full name of a request.
pub fn named(target: &Target, number: &str) -> String {
    if number.contains('/') { number.to_owned() } else { format!("{}/privacyRequests/{number}", target.parent()) }
}

fn state(request: &pb::PrivacyRequest) -> &'static str {
    match pb::PrivacyRequestState::try_from(request.state) {
        Ok(pb::PrivacyRequestState::Received) => "received",
        Ok(pb::PrivacyRequestState::Verified) => "verified",
        Ok(pb::PrivacyRequestState::Approved) => "approved",
        Ok(pb::PrivacyRequestState::InProgress) => "in progress",
        Ok(pb::PrivacyRequestState::Completed) => "completed",
        Ok(pb::PrivacyRequestState::Refused) => "refused",
        Ok(pb::PrivacyRequestState::Cancelled) => "cancelled",
        Ok(pb::PrivacyRequestState::Unspecified) | Err(_) => "unknown",
    }
}

/// A request for people.
pub fn show(request: &pb::PrivacyRequest) -> String {
    let paint = paint(&std::io::stdout());
    let late = if request.overdue { ", OVERDUE" } else { "" };
    let mut text = paint.heading(&format!("{}: {}{late}", request.name, state(request))) + "\n";
    let mut line = |what: &str, value: &str| {
        if !value.is_empty() {
            text.push_str(&format!("  {what}: {value}\n"));
        }
    };
    line("kind", &kind_name(request.kind()));
    line("reference", &request.reference);
    line("law", &request.regulation);
    line("received", &card::time(request.received_time.as_ref()));
    if request.acknowledge_time.is_some() {
        line("receipt to be confirmed by", &card::time(request.acknowledge_time.as_ref()));
    }
    line("to be answered by", &card::time(request.due_time.as_ref()));
    line("verified", &request.verification_method);
    line("verified by", &request.verified_by);
    line("approved by", &request.approved_by);
    line("more time because", &request.extension_ground);
    line("ground", &request.ground);
    if request.end_time.is_some() {
        line("ended", &card::time(request.end_time.as_ref()));
    }
    line("handed to", &request.delivered_to);
    line("digest of what was handed over", &request.delivered_digest);
    for one in &request.confirmations {
        let when = match &one.confirm_time {
            Some(time) => format!("confirmed {}", card::time(Some(time))),
            None => format!("must confirm by {}", card::time(one.due_time.as_ref())),
        };
        line(&one.consumer, &when);
    }
    for done in &request.outcomes {
        let ground = if done.ground.is_empty() { String::new() } else { format!(", because {}", done.ground) };
        let of = format!("{} record(s), {} identifier(s)", done.records, done.identifiers);
        line(&done.did.to_lowercase(), &format!("{} by {}{ground}: {of}", card::time(done.time.as_ref()), done.by));
    }
    if request.resends_stopped > 0 {
        line("sent again and stopped", &request.resends_stopped.to_string());
    }
    text
}

fn answer(target: &Target, request: Option<pb::PrivacyRequest>) -> Result<(), Failure> {
    let request = request.unwrap_or_default();
    if target.json { say_json(&wire::json("PrivacyRequest", &request)) } else { say(&show(&request)) }
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    online(act(&arguments.command))
}

async fn act(command: &Command) -> Result<(), Failure> {
    match command {
        Command::List { open, overdue, target } => list(target, *open, *overdue).await,
        Command::Show { number, target } => {
            let client = Client::connect(target).await?;
            let request = pb::GetPrivacyRequestRequest { name: named(target, number) };
            let got = client.ask(|| async { client.privacy().get_privacy_request(request.clone()).await }).await?;
            answer(target, got.request)
        }
        Command::Verify { number, method, by, target } => {
            let client = Client::connect(target).await?;
            let (name, by, method) = (named(target, number), by.clone(), method.clone());
            let request = pb::VerifyPrivacyRequestRequest { name, method, by, request_id: request_id() };
            let got = client.ask(|| async { client.privacy().verify_privacy_request(request.clone()).await }).await?;
            answer(target, got.request)
        }
        Command::Approve { number, etag, by, target } => {
            let client = Client::connect(target).await?;
            let (name, by, etag) = (named(target, number), by.clone(), etag.clone());
            let request = pb::ApprovePrivacyRequestRequest { name, by, etag, request_id: request_id() };
            let got = client.ask(|| async { client.privacy().approve_privacy_request(request.clone()).await }).await?;
            answer(target, got.request)
        }
        Command::Extend { number, ground, target } => {
            let client = Client::connect(target).await?;
            let (name, ground) = (named(target, number), ground.clone());
            let request = pb::ExtendPrivacyRequestRequest { name, ground, request_id: request_id() };
            let got = client.ask(|| async { client.privacy().extend_privacy_request(request.clone()).await }).await?;
            answer(target, got.request)
        }
        Command::Refuse { number, ground, target } => {
            let client = Client::connect(target).await?;
            let (name, ground) = (named(target, number), ground.clone());
            let request = pb::RefusePrivacyRequestRequest { name, ground, request_id: request_id() };
            let got = client.ask(|| async { client.privacy().refuse_privacy_request(request.clone()).await }).await?;
            answer(target, got.request)
        }
        Command::Cancel { number, ground, target } => {
            let client = Client::connect(target).await?;
            let (name, ground) = (named(target, number), ground.clone());
            let request = pb::CancelPrivacyRequestRequest { name, ground, request_id: request_id() };
            let got = client.ask(|| async { client.privacy().cancel_privacy_request(request.clone()).await }).await?;
            answer(target, got.request)
        }
        Command::Confirm { number, consumer, target } => {
            let client = Client::connect(target).await?;
            let (name, consumer) = (named(target, number), consumer.clone());
            let request = pb::ConfirmErasureRequest { name, consumer, request_id: request_id() };
            let got = client.ask(|| async { client.privacy().confirm_erasure(request.clone()).await }).await?;
            answer(target, got.request)
        }
        Command::Receipt { number, out, target } => {
            let client = Client::connect(target).await?;
            let request = pb::GetErasureReceiptRequest { name: named(target, number) };
            let got = client.ask(|| async { client.privacy().get_erasure_receipt(request.clone()).await }).await?;
            match out {
                Some(file) => write_text(file, &(got.receipt_json + "\n")),
                None => say(&(got.receipt_json + "\n")),
            }
        }
        Command::Readmit { who, by, ground, target } => {
            let client = Client::connect(target).await?;
            let request = pb::ReadmitRequest {
                parent: target.parent(),
                subjects: vec![who.subject(target)?],
                by: by.clone(),
                ground: ground.clone(),
                request_id: request_id(),
            };
            let got = client.ask(|| async { client.privacy().readmit(request.clone()).await }).await?;
            if target.json {
                return say_json(&wire::json("ReadmitResponse", &got));
            }
            say(&format!("{} suppression(s) lifted\n", got.lifted))
        }
        Command::Policy {
            second_person,
            second_person_for,
            purpose_required,
            consumer,
            confirm_within_days,
            review_after_days,
            read_log,
            read_log_days,
            target,
        } => {
            let client = Client::connect(target).await?;
            let request = pb::GetPrivacyPolicyRequest { parent: target.parent() };
            let known = client.ask(|| async { client.privacy().get_privacy_policy(request.clone()).await }).await?;
            let changes = second_person.is_some()
                || !second_person_for.is_empty()
                || purpose_required.is_some()
                || !consumer.is_empty()
                || confirm_within_days.is_some()
                || review_after_days.is_some()
                || read_log.is_some()
                || read_log_days.is_some();
            let mut policy = known.policy.unwrap_or_default();
            if changes {
                policy.second_person = second_person.unwrap_or(policy.second_person);
                policy.purpose_required = purpose_required.unwrap_or(policy.purpose_required);
                if !second_person_for.is_empty() {
                    let none = pb::PrivacyRequestKind::Unspecified;
                    let kinds = second_person_for.iter().filter(|kind| **kind != none);
                    policy.second_person_for = kinds.map(|kind| *kind as i32).collect();
                }
                if !consumer.is_empty() {
                    policy.consumers.clone_from(consumer);
                }
                policy.confirm_within_days = confirm_within_days.unwrap_or(policy.confirm_within_days);
                policy.review_after_days = review_after_days.unwrap_or(policy.review_after_days);
                policy.read_log = read_log.map_or(policy.read_log, |mode| mode.wire() as i32);
                policy.read_log_retention_days = read_log_days.unwrap_or(policy.read_log_retention_days);
                let request = pb::UpdatePrivacyPolicyRequest {
                    parent: target.parent(),
                    policy: Some(policy),
                    request_id: request_id(),
                };
                let now =
                    client.ask(|| async { client.privacy().update_privacy_policy(request.clone()).await }).await?;
                policy = now.policy.unwrap_or_default();
            }
            if target.json {
                return say_json(&wire::json("PrivacyPolicy", &policy));
            }
            let consumers = if policy.consumers.is_empty() { "none".to_owned() } else { policy.consumers.join(", ") };
            let further: Vec<String> = policy.second_person_for().map(kind_name).collect();
            let further = if further.is_empty() { "none".to_owned() } else { further.join(", ") };
            say(&format!(
                "a second person must approve erasures and exports: {}; requests of these kinds too: {further}\nconsumers that must confirm within {} days: {consumers}\n\
                 suppressions are looked at after {} days\n\
                 reads of personal data: {}, kept for {} days; must name a purpose: {}\nreceipts are signed with {}\n",
                policy.second_person,
                policy.confirm_within_days,
                policy.review_after_days,
                ReadLog::words(policy.read_log()),
                policy.read_log_retention_days,
                policy.purpose_required,
                known.receipt_public_key
            ))
        }
    }
}

async fn list(target: &Target, open_only: bool, overdue_only: bool) -> Result<(), Failure> {
    let client = Client::connect(target).await?;
    let mut request = pb::ListPrivacyRequestsRequest {
        parent: target.parent(),
        open_only,
        overdue_only,
        page_size: PAGE_SIZE,
        page_token: String::new(),
    };
    let mut all = pb::ListPrivacyRequestsResponse::default();
    loop {
        let page = client.ask(|| async { client.privacy().list_privacy_requests(request.clone()).await }).await?;
        all.requests.extend(page.requests);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    if target.json {
        return say_json(&wire::json("ListPrivacyRequestsResponse", &all));
    }
    let mut table = Table::new(&[
        ("number", Side::Right),
        ("kind", Side::Left),
        ("state", Side::Left),
        ("law", Side::Left),
        ("reference", Side::Left),
        ("answer by", Side::Left),
        ("stopped", Side::Right),
        ("", Side::Left),
    ]);
    for request in &all.requests {
        table.row([
            request.name.rsplit('/').next().unwrap_or_default().to_owned(),
            kind_name(request.kind()),
            state(request).to_owned(),
            request.regulation.clone(),
            request.reference.clone(),
            card::time(request.due_time.as_ref()),
            request.resends_stopped.to_string(),
            if request.overdue { "overdue".to_owned() } else { String::new() },
        ]);
    }
    say(&table.render(paint(&std::io::stdout())))
}
