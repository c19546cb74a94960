//! `onefold consent`.

mod policy;

use clap::{Args, Subcommand, ValueEnum};
use onefold_cli::output::{Side, Table, count};
use onefold_proto::v1 as pb;
use pb::consent_subject::Subject;

use super::{Failure, by_hand, card, for_people, online, paint, say, say_json};
use crate::client::{Client, PAGE_SIZE, Target, wire};
use crate::clock;

/// What persons allowed and forbade, and what it comes to.
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Records a statement.
    Record(Box<Record>),
    /// Shows what holds, and the statements that decided it.
    State(State),
    /// Shows everything that was ever said about somebody.
    History(History),
    /// Prints the receipt of a statement as JSON (ISO/IEC TS 27560).
    Receipt(Receipt),
    /// Confirms a pending yes by its token (double opt-in).
    Confirm(Confirm),
    /// Makes an unsubscribe token for an address, or withdraws what a token names.
    Unsubscribe(Unsubscribe),
    /// Shows purposes, channels and caps, or replaces them from a file.
    Policy(policy::Policy),
}

/// Who: a namespace and a value, `record SOURCE KEY`, or `id PROFILE`.
#[derive(Args)]
pub struct Who {
    /// A namespace and a value (`email ada@example.com`), `record SOURCE KEY`, or `id PROFILE`.
    #[arg(required = true, num_args = 2..=3, value_name = "WHO")]
    pub words: Vec<String>,
}

impl Who {
    /// As the services want it.
    pub fn subject(&self, target: &Target) -> Result<pb::ConsentSubject, Failure> {
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        let subject = match words.as_slice() {
            ["id", id] => Subject::Profile(target.profile(id)?),
            ["record", source, key] => {
                Subject::Record(pb::SourceRecord { source: (*source).to_owned(), key: (*key).to_owned() })
            }
            ["record", _] | [_, _, _] | [] | [_] => {
                return Err(Failure::usage("say who: NAMESPACE VALUE, record SOURCE KEY, or id PROFILE"));
            }
            [namespace, value] => {
                Subject::Identifier(pb::Identifier { namespace: (*namespace).to_owned(), value: (*value).to_owned() })
            }
            _ => return Err(Failure::usage("too many words\nhint: put a value with blanks in quotes")),
        };
        Ok(pb::ConsentSubject { subject: Some(subject) })
    }
}

/// What was said.
#[derive(Clone, Copy, ValueEnum)]
enum Decision {
    Granted,
    Denied,
    Withdrawn,
    Objected,
    Pending,
    Suppressed,
    Restricted,
    Released,
}

impl Decision {
    const fn wire(self) -> pb::ConsentDecision {
        match self {
            Self::Granted => pb::ConsentDecision::Granted,
            Self::Denied => pb::ConsentDecision::Denied,
            Self::Withdrawn => pb::ConsentDecision::Withdrawn,
            Self::Objected => pb::ConsentDecision::Objected,
            Self::Pending => pb::ConsentDecision::Pending,
            Self::Suppressed => pb::ConsentDecision::Suppressed,
            Self::Restricted => pb::ConsentDecision::Restricted,
            Self::Released => pb::ConsentDecision::Released,
        }
    }
}

#[derive(Args)]
struct Record {
    /// What was said.
    #[arg(value_enum)]
    decision: Decision,
    #[command(flatten)]
    who: Who,
    /// For which purpose; a no without one is of every purpose.
    #[arg(long, value_name = "NAME", default_value = "")]
    purpose: String,
    /// Over which channel; without one: every channel.
    #[arg(long, value_name = "NAME", default_value = "")]
    channel: String,
    /// When it was said, e.g. 2026-03-01T12:00:00Z; now, unless told.
    #[arg(long, value_name = "TIME")]
    given: Option<String>,
    /// Until when a yes holds.
    #[arg(long, value_name = "TIME")]
    expires: Option<String>,
    /// Under whose law: DE, US-CA, EU.
    #[arg(long, value_name = "CODE", default_value = "")]
    jurisdiction: String,
    /// Which version of which notice was shown.
    #[arg(long, value_name = "TEXT", default_value = "")]
    notice: String,
    /// How it was collected.
    #[arg(long, value_name = "TEXT", default_value = "")]
    method: String,
    /// Where the proof lies.
    #[arg(long, value_name = "TEXT", default_value = "")]
    evidence: String,
    /// The source that collected it.
    #[arg(long, value_name = "NAME", default_value = "")]
    source: String,
    /// The browser said Global Privacy Control (`Sec-GPC: 1`): with a yes to sale or sharing it is refused.
    #[arg(long)]
    gpc: bool,
    /// The IAB TCF v2 string behind it, kept as it is.
    #[arg(long, value_name = "STRING")]
    tcf: Option<String>,
    /// The IAB GPP string behind it, kept as it is.
    #[arg(long, value_name = "STRING")]
    gpp: Option<String>,
    /// On which device or browser the signals were seen.
    #[arg(long, value_name = "TEXT", default_value = "")]
    device: String,
    #[command(flatten)]
    target: Target,
}

impl Record {
    /// The signals that came with it, seen when it was said.
    fn signals(&self, seen: prost_types::Timestamp) -> Vec<pb::ConsentSignal> {
        use pb::ConsentSignalKind::{Gpc, Gpp, Tcf};
        let gpc = self.gpc.then(|| "1".to_owned());
        let all = [(Gpc, gpc), (Tcf, self.tcf.clone()), (Gpp, self.gpp.clone())];
        let signal = |(kind, raw): (pb::ConsentSignalKind, Option<String>)| {
            let (seen_time, device) = (Some(seen), self.device.clone());
            Some(pb::ConsentSignal { kind: kind as i32, raw: raw?, seen_time, device })
        };
        all.into_iter().filter_map(signal).collect()
    }
}

#[derive(Args)]
struct State {
    #[command(flatten)]
    who: Who,
    /// Only this purpose.
    #[arg(long, value_name = "NAME", default_value = "")]
    purpose: String,
    /// Only this channel.
    #[arg(long, value_name = "NAME", default_value = "")]
    channel: String,
    /// As of this moment: what the person had said by then.
    #[arg(long, value_name = "TIME")]
    as_of: Option<String>,
    /// Only what had been recorded by this moment.
    #[arg(long, value_name = "TIME")]
    known_by: Option<String>,
    #[command(flatten)]
    target: Target,
}

#[derive(Args)]
struct History {
    #[command(flatten)]
    who: Who,
    /// The purpose that it is read for, where the tenant asks for one.
    #[arg(long, value_name = "NAME", default_value = "")]
    purpose: String,
    #[command(flatten)]
    target: Target,
}

#[derive(Args)]
struct Receipt {
    /// The statement's handle, as `consent record` and `consent history` show it.
    statement: String,
    /// The purpose that it is read for, where the tenant asks for one.
    #[arg(long, value_name = "NAME", default_value = "")]
    purpose: String,
    #[command(flatten)]
    target: Target,
}

#[derive(Args)]
struct Confirm {
    /// The token that `consent record pending` gave.
    token: String,
    /// Where the proof lies.
    #[arg(long, value_name = "TEXT", default_value = "")]
    evidence: String,
    #[command(flatten)]
    target: Target,
}

#[derive(Args)]
struct Unsubscribe {
    /// Withdraws what this token names.
    #[arg(long, value_name = "TOKEN", conflicts_with_all = ["address", "purpose", "channel"])]
    token: Option<String>,
    /// Makes a token for this address: NAMESPACE VALUE.
    #[arg(num_args = 2, value_names = ["NAMESPACE", "VALUE"], required_unless_present = "token")]
    address: Vec<String>,
    /// Of this purpose; without one: of every purpose.
    #[arg(long, value_name = "NAME", default_value = "")]
    purpose: String,
    /// Over this channel; without one: over every channel.
    #[arg(long, value_name = "NAME", default_value = "")]
    channel: String,
    #[command(flatten)]
    target: Target,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.verb {
        Verb::Record(record) => online(do_record(record)),
        Verb::State(state) => online(show_state(state)),
        Verb::History(history) => online(show_history(history)),
        Verb::Receipt(receipt) => online(show_receipt(receipt)),
        Verb::Confirm(confirm) => online(do_confirm(confirm)),
        Verb::Unsubscribe(unsubscribe) => online(do_unsubscribe(unsubscribe)),
        Verb::Policy(policy) => online(policy::show(policy)),
    }
}

/// A time as the user wrote it.
pub fn time(text: Option<&String>) -> Result<Option<prost_types::Timestamp>, Failure> {
    let Some(text) = text else { return Ok(None) };
    let time: jiff::Timestamp = text.parse().map_err(|error| {
        Failure::usage(format!("`{text}` is no time: {error}\nhint: write it as 2026-03-01T12:00:00Z"))
    })?;
    Ok(Some(prost_types::Timestamp { seconds: time.as_second(), nanos: time.subsec_nanosecond() }))
}

async fn do_record(record: &Record) -> Result<(), Failure> {
    let target = &record.target;
    // A no counts from when it is heard, by the server's clock: one that runs behind here must not put it before a yes.
    let told = time(record.given.as_ref())?;
    let given = told.unwrap_or_else(clock::now);
    let needs_time = matches!(record.decision.wire(), pb::ConsentDecision::Granted | pb::ConsentDecision::Pending);
    let saying = pb::ConsentSaying {
        purpose: record.purpose.clone(),
        channel: record.channel.clone(),
        decision: record.decision.wire() as i32,
        jurisdiction: record.jurisdiction.clone(),
        notice_version: record.notice.clone(),
        source: record.source.clone(),
        collection_method: record.method.clone(),
        evidence: record.evidence.clone(),
        given_time: told.or(needs_time.then_some(given)),
        expire_time: time(record.expires.as_ref())?,
        signals: record.signals(given),
        ..Default::default()
    };
    let subject = Some(record.who.subject(target)?);
    let request =
        pb::RecordConsentRequest { parent: target.parent(), subject, saying: Some(saying), request_id: String::new() };
    let client = Client::connect(target).await?;
    let done = client.ask(|| async { client.consent().record_consent(request.clone()).await }).await?;
    let call = wire::grpcurl(&client.address, "ConsentService/RecordConsent", "RecordConsentRequest", &request);
    tell(&done.result.unwrap_or_default(), "recorded", target, &call)
}

/// Says what became of a statement.
fn tell(result: &pb::ConsentResult, word: &str, target: &Target, call: &str) -> Result<(), Failure> {
    if target.json {
        return say_json(&wire::json("ConsentResult", result));
    }
    let known = if result.known { "known already, " } else { "" };
    let mut text = format!("{known}{word} as {}, sequence {}\n", result.statement_id, result.sequence);
    if result.pending {
        text.push_str("  it counts once it is confirmed: onefold consent confirm ");
        text.push_str(&result.confirmation_token);
        text.push('\n');
    }
    say(&(text + &by_hand(call, paint(&std::io::stdout()))))
}

async fn show_state(state: &State) -> Result<(), Failure> {
    let target = &state.target;
    let request = pb::GetConsentStateRequest {
        parent: target.parent(),
        subject: Some(state.who.subject(target)?),
        purpose: state.purpose.clone(),
        channel: state.channel.clone(),
        as_of_time: time(state.as_of.as_ref())?,
        known_time: time(state.known_by.as_ref())?,
        min_sequence: 0,
    };
    let client = Client::connect(target).await?;
    let found = client.ask(|| async { client.consent().get_consent_state(request.clone()).await }).await?;
    let Some(paint) = for_people(target, "GetConsentStateResponse", &found)? else { return Ok(()) };
    let heading =
        if found.profile.is_empty() { "no profile".to_owned() } else { card::short(&found.profile).to_owned() };
    let mut table = Table::new(&[
        ("purpose", Side::Left),
        ("channel", Side::Left),
        ("state", Side::Left),
        ("silence means", Side::Left),
        ("decided by", Side::Left),
    ]);
    for one in found.states.iter().filter(|one| is_told(one, state)) {
        let mut held = state_word(one);
        if !one.suppressed_by.is_empty() {
            held.push_str(", suppressed");
        }
        if !one.restricted_by.is_empty() {
            held.push_str(", restricted");
        }
        let channel = if one.channel.is_empty() { "(all)" } else { &one.channel };
        let silence = if one.regime() == pb::ConsentRegime::OptOut { "yes (opt-out)" } else { "no (opt-in)" };
        let by: Vec<&str> =
            one.decided_by.iter().chain(&one.suppressed_by).chain(&one.restricted_by).map(String::as_str).collect();
        table.row([one.purpose.clone(), channel.to_owned(), held, silence.to_owned(), by.join(" ")]);
    }
    let call = wire::grpcurl(&client.address, "ConsentService/GetConsentState", "GetConsentStateRequest", &request);
    say(&format!("{}\n{}{}", paint.heading(&heading), table.render(paint), by_hand(&call, paint)))
}

/// What nobody said anything about is left out, unless it was asked for by name.
fn is_told(one: &pb::EffectiveConsent, asked: &State) -> bool {
    one.state() != pb::ConsentState::Unknown
        || !one.suppressed_by.is_empty()
        || !one.restricted_by.is_empty()
        || (!asked.channel.is_empty() || !asked.purpose.is_empty())
            && (!one.channel.is_empty() || asked.channel.is_empty())
}

fn state_word(one: &pb::EffectiveConsent) -> String {
    one.state().as_str_name().trim_start_matches("CONSENT_STATE_").to_lowercase()
}

async fn show_history(history: &History) -> Result<(), Failure> {
    let target = &history.target;
    let mut request = pb::ListStatementsRequest {
        parent: target.parent(),
        subject: Some(history.who.subject(target)?),
        page_size: PAGE_SIZE,
        page_token: String::new(),
        purpose: history.purpose.clone(),
    };
    let client = Client::connect(target).await?;
    let mut all = pb::ListStatementsResponse::default();
    loop {
        let page = client.ask(|| async { client.consent().list_statements(request.clone()).await }).await?;
        all.statements.extend(page.statements);
        all.profile = page.profile;
        all.withheld_count += page.withheld_count;
        for one in page.withheld {
            if !all.withheld.contains(&one) {
                all.withheld.push(one);
            }
        }
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    if all.profile.is_empty() && all.statements.is_empty() && all.withheld_count == 0 {
        return Err(Failure::new("nobody is known by this, and nothing was said of it".to_owned()));
    }
    let Some(paint) = for_people(target, "ListStatementsResponse", &all)? else { return Ok(()) };
    let mut table = Table::new(&[
        ("said", Side::Left),
        ("what", Side::Left),
        ("purpose", Side::Left),
        ("channel", Side::Left),
        ("about", Side::Left),
        ("statement", Side::Left),
    ]);
    for one in &all.statements {
        let said = one.saying.clone().unwrap_or_default();
        let what = said.decision().as_str_name().trim_start_matches("CONSENT_DECISION_").to_lowercase();
        let or_all = |text: &str| if text.is_empty() { "(all)".to_owned() } else { text.to_owned() };
        let when = card::time(said.given_time.as_ref());
        let statement = one.statement_id.clone();
        table.row([when, what, or_all(&said.purpose), or_all(&said.channel), about(one), statement]);
    }
    let heading = match all.statements.len() {
        0 => "nothing was said".to_owned(),
        1 => "1 statement".to_owned(),
        many => format!("{many} statements"),
    };
    let call = wire::grpcurl(&client.address, "ConsentService/ListStatements", "ListStatementsRequest", &request);
    let mut text = format!("{}\n{}", paint.heading(&heading), table.render(paint));
    if all.withheld_count > 0 {
        text.push_str(&format!("  and {} of other purposes\n", count(u64::from(all.withheld_count))));
    }
    if !all.withheld.is_empty() {
        let fields: Vec<&str> = all.withheld.iter().map(|one| one.field.as_str()).collect();
        text.push_str(&format!("  withheld, not in the purpose {}: {}\n", history.purpose, fields.join(", ")));
    }
    for one in all.statements.iter().filter(|one| !one.signals_decoded.is_empty()) {
        text.push_str(&format!("\n  signals of {}\n", one.statement_id));
        for line in &one.signals_decoded {
            text.push_str(&format!("    {line}\n"));
        }
    }
    say(&(text + &by_hand(&call, paint)))
}

fn about(statement: &pb::ConsentStatement) -> String {
    match statement.subject.as_ref().and_then(|subject| subject.subject.as_ref()) {
        Some(Subject::Profile(name)) => card::short(name).to_owned(),
        Some(Subject::Identifier(claim)) if claim.value.is_empty() => format!("{} of a link", claim.namespace),
        Some(Subject::Identifier(claim)) => format!("{} {}", claim.namespace, claim.value),
        Some(Subject::Record(record)) => card::record(record),
        None if statement.only_heard => "another record".to_owned(),
        None => String::new(),
    }
}

async fn show_receipt(receipt: &Receipt) -> Result<(), Failure> {
    let target = &receipt.target;
    let (statement_id, purpose) = (receipt.statement.clone(), receipt.purpose.clone());
    let request = pb::GetConsentReceiptRequest { parent: target.parent(), statement_id, purpose };
    let client = Client::connect(target).await?;
    let found = client.ask(|| async { client.consent().get_consent_receipt(request.clone()).await }).await?;
    let value = serde_json::from_str(&found.receipt_json).map_err(|error| Failure::new(error.to_string()))?;
    say_json(&value)
}

async fn do_confirm(confirm: &Confirm) -> Result<(), Failure> {
    let target = &confirm.target;
    let request = pb::ConfirmConsentRequest {
        parent: target.parent(),
        confirmation_token: confirm.token.clone(),
        evidence: confirm.evidence.clone(),
        ..Default::default()
    };
    let client = Client::connect(target).await?;
    let done = client.ask(|| async { client.consent().confirm_consent(request.clone()).await }).await?;
    let call = wire::grpcurl(&client.address, "ConsentService/ConfirmConsent", "ConfirmConsentRequest", &request);
    tell(&done.result.unwrap_or_default(), "confirmed", target, &call)
}

async fn do_unsubscribe(unsubscribe: &Unsubscribe) -> Result<(), Failure> {
    let target = &unsubscribe.target;
    let client = Client::connect(target).await?;
    if let Some(token) = &unsubscribe.token {
        let request = pb::UnsubscribeRequest { parent: target.parent(), token: token.clone(), ..Default::default() };
        let done = client.ask(|| async { client.consent().unsubscribe(request.clone()).await }).await?;
        let call = wire::grpcurl(&client.address, "ConsentService/Unsubscribe", "UnsubscribeRequest", &request);
        return tell(&done.result.unwrap_or_default(), "withdrawn", target, &call);
    }
    let [namespace, value] = unsubscribe.address.as_slice() else {
        return Err(Failure::usage("name the address: NAMESPACE VALUE, e.g. email ada@example.com"));
    };
    let request = pb::IssueUnsubscribeTokenRequest {
        parent: target.parent(),
        identifier: Some(pb::Identifier { namespace: namespace.clone(), value: value.clone() }),
        purpose: unsubscribe.purpose.clone(),
        channel: unsubscribe.channel.clone(),
    };
    let made = client.ask(|| async { client.consent().issue_unsubscribe_token(request.clone()).await }).await?;
    if target.json {
        return say_json(&wire::json("IssueUnsubscribeTokenResponse", &made));
    }
    let method = "ConsentService/IssueUnsubscribeToken";
    let call = wire::grpcurl(&client.address, method, "IssueUnsubscribeTokenRequest", &request);
    let hint = "the link of List-Unsubscribe, behind the public address of a server with --one-click:";
    say(&format!("{}\n  {hint}\n  {}\n{}", made.token, made.path, by_hand(&call, paint(&std::io::stdout()))))
}
