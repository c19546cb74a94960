//! `onefold account propose`, `confirm`, `affiliate`.

use clap::Args;
use onefold_cli::output::{Side, Table, count};
use onefold_proto::v1 as pb;

use super::{key, person, times};
use crate::client::{Client, PAGE_SIZE, Target, wire};
use crate::command::{Failure, by_hand, card, for_people, online, paint, say, say_json};

#[derive(Args)]
pub struct Propose {
    /// The person: SOURCE:KEY or a profile id.
    #[arg(value_name = "PERSON", required_unless_present_any = ["address", "company"])]
    person: Option<String>,
    /// An e-mail or web address as a further clue; may be given several times.
    #[arg(long, value_name = "ADDRESS")]
    address: Vec<String>,
    /// A company's name as a further clue; may be given several times.
    #[arg(long, value_name = "NAME")]
    company: Vec<String>,
    /// The purpose that it is read for, where the tenant asks for one.
    #[arg(long, value_name = "NAME", default_value = "")]
    purpose: String,
    #[command(flatten)]
    target: Target,
}

#[derive(Args)]
pub struct Confirm {
    /// The person: SOURCE:KEY or a profile id.
    person: String,
    /// The account.
    account: String,
    /// The role there.
    #[arg(long, value_name = "TEXT", default_value = "")]
    role: String,
    #[command(flatten)]
    target: Target,
}

#[derive(Args)]
pub struct Affiliate {
    /// The person: SOURCE:KEY or a profile id.
    #[arg(value_name = "PERSON", required_unless_present = "of_account")]
    person: Option<String>,
    /// The account; without it all roles of the person are shown.
    #[arg(value_name = "ACCOUNT")]
    account: Option<String>,
    /// The role there.
    #[arg(long, value_name = "TEXT", default_value = "")]
    role: String,
    /// Since when: 2026-04-01. Without it: always.
    #[arg(long, value_name = "TIME", conflicts_with = "end")]
    since: Option<String>,
    /// Until when: 2026-04-01.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Ends the role: at `--until`, or now.
    #[arg(long)]
    end: bool,
    /// Shows all roles in this account instead.
    #[arg(long, value_name = "ACCOUNT", conflicts_with_all = ["person", "account", "end", "since", "until"])]
    of_account: Option<String>,
    /// The purpose that it is read for, where roles are shown and the tenant asks for one.
    #[arg(long, value_name = "NAME", default_value = "")]
    purpose: String,
    #[command(flatten)]
    target: Target,
}

pub fn propose(propose: &Propose) -> Result<(), Failure> {
    let target = &propose.target;
    let request = pb::ProposeAccountsRequest {
        parent: target.parent(),
        person: propose.person.as_ref().map(|text| person(target, text)).transpose()?,
        addresses: propose.address.clone(),
        company_names: propose.company.clone(),
        purpose: propose.purpose.clone(),
    };
    online(async {
        let client = Client::connect(target).await?;
        let found = client.ask(|| async { client.accounts().propose_accounts(request.clone()).await }).await?;
        let Some(paint) = for_people(target, "ProposeAccountsResponse", &found)? else { return Ok(()) };
        let mut table = Table::new(&[("account", Side::Left), ("name", Side::Left), ("because of", Side::Left)]);
        for proposal in &found.proposals {
            let account = proposal.account.clone().unwrap_or_default();
            let mut why: Vec<String> = proposal
                .evidence
                .iter()
                .map(|one| format!("{} {}", one.reason.to_lowercase().replace('_', " "), one.value))
                .collect();
            if proposal.rival_count > 0 {
                why.push(format!("shared with {} other(s)", proposal.rival_count));
            }
            table.row([card::short(&account.name).to_owned(), account.display_name, why.join(", ")]);
        }
        let text = if found.proposals.is_empty() {
            "no account has these domains or names\n".to_owned()
        } else {
            table.render(paint) + "\nto confirm: onefold account confirm PERSON ACCOUNT\n"
        };
        let call = wire::grpcurl(&client.address, "AccountService/ProposeAccounts", "ProposeAccountsRequest", &request);
        say(&(text + &by_hand(&call, paint)))
    })
}

pub fn confirm(confirm: &Confirm) -> Result<(), Failure> {
    let target = &confirm.target;
    let request = pb::ConfirmAccountRequest {
        parent: target.parent(),
        person: Some(person(target, &confirm.person)?),
        account: Some(key(target, &confirm.account)?),
        role: confirm.role.clone(),
        ..Default::default()
    };
    online(async {
        let client = Client::connect(target).await?;
        let done = client.ask(|| async { client.accounts().confirm_account(request.clone()).await }).await?;
        let Some(paint) = for_people(target, "ConfirmAccountResponse", &done)? else { return Ok(()) };
        let call = wire::grpcurl(&client.address, "AccountService/ConfirmAccount", "ConfirmAccountRequest", &request);
        say(&format!("{} belongs to {} from now on\n{}", confirm.person, confirm.account, by_hand(&call, paint)))
    })
}

pub fn affiliate(affiliate: &Affiliate) -> Result<(), Failure> {
    use pb::list_affiliations_request::Of;
    let target = &affiliate.target;
    match (&affiliate.of_account, &affiliate.person, &affiliate.account) {
        (Some(account), ..) => list(affiliate, Of::Account(key(target, account)?)),
        (None, Some(who), None) => list(affiliate, Of::Person(person(target, who)?)),
        (None, Some(who), Some(account)) if affiliate.end => end(affiliate, who, account),
        (None, Some(who), Some(account)) => put(affiliate, who, account),
        (None, None, _) => Err(Failure::usage("name a person, or an account with --of-account")),
    }
}

fn put(affiliate: &Affiliate, who: &str, account: &str) -> Result<(), Failure> {
    let target = &affiliate.target;
    let request = pb::PutAffiliationRequest {
        parent: target.parent(),
        person: Some(person(target, who)?),
        account: Some(key(target, account)?),
        role: affiliate.role.clone(),
        start_time: times(affiliate.since.as_ref())?,
        end_time: times(affiliate.until.as_ref())?,
        ..Default::default()
    };
    online(async {
        let client = Client::connect(target).await?;
        let done = client.ask(|| async { client.accounts().put_affiliation(request.clone()).await }).await?;
        let Some(paint) = for_people(target, "PutAffiliationResponse", &done)? else { return Ok(()) };
        let call = wire::grpcurl(&client.address, "AccountService/PutAffiliation", "PutAffiliationRequest", &request);
        let records = done.affiliation_count;
        say(&format!("told of {records} record(s) of {who}\n{}", by_hand(&call, paint)))
    })
}

fn end(affiliate: &Affiliate, who: &str, account: &str) -> Result<(), Failure> {
    let target = &affiliate.target;
    let request = pb::EndAffiliationRequest {
        parent: target.parent(),
        person: Some(person(target, who)?),
        account: Some(key(target, account)?),
        role: affiliate.role.clone(),
        end_time: times(affiliate.until.as_ref())?,
        ..Default::default()
    };
    online(async {
        let client = Client::connect(target).await?;
        let done = client.ask(|| async { client.accounts().end_affiliation(request.clone()).await }).await?;
        let Some(paint) = for_people(target, "EndAffiliationResponse", &done)? else { return Ok(()) };
        let call = wire::grpcurl(&client.address, "AccountService/EndAffiliation", "EndAffiliationRequest", &request);
        say(&format!("ended\n{}", by_hand(&call, paint)))
    })
}

fn list(affiliate: &Affiliate, of: pb::list_affiliations_request::Of) -> Result<(), Failure> {
    let target = &affiliate.target;
    online(async {
        let client = Client::connect(target).await?;
        let mut request = pb::ListAffiliationsRequest {
            parent: target.parent(),
            of: Some(of),
            page_size: PAGE_SIZE,
            purpose: affiliate.purpose.clone(),
            ..Default::default()
        };
        let mut all = pb::ListAffiliationsResponse::default();
        loop {
            let page = client.ask(|| async { client.accounts().list_affiliations(request.clone()).await }).await?;
            all.affiliations.extend(page.affiliations);
            all.withheld_count += page.withheld_count;
            if !page.withheld.is_empty() {
                all.withheld = page.withheld;
            }
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                break;
            }
        }
        if target.json {
            return say_json(&wire::json("ListAffiliationsResponse", &all));
        }
        let paint = paint(&std::io::stdout());
        let mut table = Table::new(&[
            ("person", Side::Left),
            ("account", Side::Left),
            ("role", Side::Left),
            ("since", Side::Left),
            ("until", Side::Left),
            ("", Side::Left),
        ]);
        for one in all.affiliations {
            let who = one.person.as_ref().map_or_else(|| card::short(&one.profile).to_owned(), card::record);
            let account = one.account.unwrap_or_default().display_name;
            let (since, until) = (card::time(one.start_time.as_ref()), card::time(one.end_time.as_ref()));
            table.row([who, account, one.role, since, until, one.origin.to_lowercase()]);
        }
        let call =
            wire::grpcurl(&client.address, "AccountService/ListAffiliations", "ListAffiliationsRequest", &request);
        let mut text = table.render(paint);
        if all.withheld_count > 0 {
            text.push_str(&format!("and {} that the purpose may not see\n", count(u64::from(all.withheld_count))));
        }
        say(&(text + &by_hand(&call, paint)))
    })
}
