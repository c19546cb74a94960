//! `onefold consent policy`: purposes, channels and caps as a lawyer reads them.

use std::path::PathBuf;

use clap::Args;
use onefold_cli::output::{Paint, Side, Table};
use onefold_proto::v1 as pb;

use crate::client::{Client, Target, wire};
use crate::command::{Failure, by_hand, for_people, read_text, say};

/// Which policy, or none but the one in force.
#[derive(Args)]
pub struct Policy {
    /// Replaces the policy by a ConsentPolicy as JSON; `--json` prints the one in force.
    #[arg(long, value_name = "FILE")]
    set: Option<PathBuf>,
    #[command(flatten)]
    target: Target,
}

/// Shows the policy, or puts one in force.
pub async fn show(policy: &Policy) -> Result<(), Failure> {
    let target = &policy.target;
    let client = Client::connect(target).await?;
    let (found, call) = match &policy.set {
        Some(file) => {
            let text = read_text(file)?;
            let policy = wire::from_json::<pb::ConsentPolicy>("ConsentPolicy", &text, &file.display().to_string())?;
            let request =
                pb::UpdateConsentPolicyRequest { parent: target.parent(), policy: Some(policy), ..Default::default() };
            let done = client.ask(|| async { client.consent().update_consent_policy(request.clone()).await }).await?;
            let method = "ConsentService/UpdateConsentPolicy";
            (done.policy, wire::grpcurl(&client.address, method, "UpdateConsentPolicyRequest", &request))
        }
        None => {
            let request = pb::GetConsentPolicyRequest { parent: target.parent() };
            let found = client.ask(|| async { client.consent().get_consent_policy(request.clone()).await }).await?;
            let method = "ConsentService/GetConsentPolicy";
            (found.policy, wire::grpcurl(&client.address, method, "GetConsentPolicyRequest", &request))
        }
    };
    let found = found.unwrap_or_default();
    let Some(paint) = for_people(target, "ConsentPolicy", &found)? else { return Ok(()) };
    say(&(policy_card(&found, paint) + &by_hand(&call, paint)))
}

/// A policy as a lawyer reads it.
fn policy_card(policy: &pb::ConsentPolicy, paint: Paint) -> String {
    let silence = |regime: pb::ConsentRegime| if regime == pb::ConsentRegime::OptOut { "yes" } else { "no" };
    let mut text = paint.heading("purposes") + "\n";
    let mut table = Table::new(&[
        ("", Side::Left),
        ("silence means", Side::Left),
        ("lawful basis", Side::Left),
        ("may read", Side::Left),
    ]);
    for purpose in &policy.purposes {
        let mut rule = silence(purpose.default_regime()).to_owned();
        for law in &purpose.regimes {
            rule.push_str(&format!("; {} in {}", silence(law.regime()), law.jurisdiction));
        }
        let basis =
            purpose.lawful_basis().as_str_name().trim_start_matches("LAWFUL_BASIS_").to_lowercase().replace('_', " ");
        let reads = if purpose.reads_all {
            "everything".to_owned()
        } else {
            let named = purpose.reads_attributes.iter().chain(&purpose.reads_namespaces);
            named.map(String::as_str).collect::<Vec<_>>().join(", ")
        };
        table.row([purpose.name.clone(), rule, basis, reads]);
    }
    text.push_str(&table.render(paint));
    let told: Vec<String> = policy.purposes.iter().filter_map(told).collect();
    if !told.is_empty() {
        text.push_str(&format!("\n{}\n{}", paint.heading("receipts tell"), told.concat()));
    }
    text.push_str(&format!("\n{}\n", paint.heading("channels")));
    let clock = |minute: u32| format!("{:02}:{:02}", minute / 60, minute % 60);
    let mut table = Table::new(&[("", Side::Left), ("silent", Side::Left), ("", Side::Left)]);
    for channel in &policy.channels {
        let silent: Vec<String> = channel
            .quiet_hours
            .iter()
            .map(|hours| format!("{} to {}", clock(hours.from_minute), clock(hours.until_minute)))
            .collect();
        let twice = if channel.double_opt_in { "a yes is asked twice" } else { "" };
        table.row([channel.name.clone(), silent.join(", "), twice.to_owned()]);
    }
    text.push_str(&table.render(paint));
    text.push_str(&format!("\n{}\n", paint.heading("caps")));
    for cap in &policy.caps {
        let of = |name: &str, all: &str| if name.is_empty() { all.to_owned() } else { name.to_owned() };
        let (purpose, channel) = (of(&cap.purpose, "any purpose"), of(&cap.channel, "any channel"));
        let who = match cap.scope() {
            pb::CapScope::Unspecified | pb::CapScope::Person => "person",
            pb::CapScope::Household => "household",
            pb::CapScope::Account => "account",
        };
        let (name, most, seconds) = (&cap.name, cap.most, cap.window_seconds);
        text.push_str(&format!("  {name}: {most} in {seconds} s for each {who}, {purpose}, {channel}\n"));
    }
    if policy.caps.is_empty() {
        text.push_str("  none\n");
    }
    text
}

/// What receipts tell of a purpose, a line each; nothing where the tenant says nothing.
fn told(purpose: &pb::ConsentPurpose) -> Option<String> {
    let terms = purpose.receipt_terms.as_ref()?;
    let recipient = |recipient: &pb::DataRecipient| {
        let role = if recipient.role() == pb::RecipientRole::Processor { "processor" } else { "third party" };
        let law = if recipient.jurisdiction.is_empty() { "" } else { ", " };
        format!("{} ({role}{law}{})", recipient.name, recipient.jurisdiction)
    };
    let sensitivity = match terms.data_sensitivity() {
        pb::DataSensitivity::Unspecified => "",
        pb::DataSensitivity::Ordinary => "ordinary",
        pb::DataSensitivity::Sensitive => "sensitive",
        pb::DataSensitivity::SpecialCategory => "of a special category",
    };
    let lines = [
        ("notice", terms.notice_iri.clone()),
        ("kept in", terms.storage_locations.join(", ")),
        ("kept for", terms.retention_period.clone()),
        ("received by", terms.recipients.iter().map(recipient).collect::<Vec<_>>().join("; ")),
        ("rights", terms.rights.join("; ")),
        ("the data is", sensitivity.to_owned()),
        ("withdrawn by", terms.withdrawal_method.clone()),
    ];
    let mut text = format!("  {}\n", purpose.name);
    for (what, words) in lines.iter().filter(|(_, words)| !words.is_empty()) {
        text.push_str(&format!("    {what}: {words}\n"));
    }
    Some(text)
}
