//! `onefold tenant`.

use clap::{Args, Subcommand};
use onefold_cli::output::{Side, Table};
use onefold_proto::v1 as pb;

use super::{Failure, by_hand, for_people, online, paint, say, say_json};
use crate::client::{Client, Target, request_id, wire};

/// Tenants: isolated customers of one installation. `default` is there from the start.
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Opens a tenant with the built-in namespaces.
    Create(Create),
    /// Changes what is named of a tenant; golden values follow at once.
    Update(Update),
    /// Shows all tenants.
    List(List),
}

#[derive(Args)]
struct Create {
    /// Lower case letters, digits and `-`.
    name: String,
    /// For people.
    #[arg(long, value_name = "TEXT")]
    display_name: Option<String>,
    /// Country whose telephone numbers come without a country code (ISO 3166, e.g. US); otherwise such numbers are kept
    /// as digits.
    #[arg(long, value_name = "CODE")]
    region: Option<String>,
    #[command(flatten)]
    target: Target,
}

#[derive(Args)]
struct Update {
    /// The tenant.
    name: String,
    /// For people.
    #[arg(long, value_name = "TEXT")]
    display_name: Option<String>,
    /// Country whose telephone numbers come without a country code (ISO 3166), or `none`.
    #[arg(long, value_name = "CODE")]
    region: Option<String>,
    /// How the golden value of an attribute or group is picked, e.g. `birth_date=most-trusted`; may be given several
    /// times. Rules: most-recent, most-trusted, most-frequent, longest, all-values.
    #[arg(long, value_name = "NAME=RULE", value_parser = named_rule)]
    survivorship: Vec<(String, pb::SurvivorshipRule)>,
    /// The rule for attributes that have none of their own.
    #[arg(long, value_name = "RULE", value_parser = rule)]
    default_survivorship: Option<pb::SurvivorshipRule>,
    #[command(flatten)]
    target: Target,
}

/// A rule by its name, in the words of the option.
fn rule(text: &str) -> Result<pb::SurvivorshipRule, String> {
    let name = format!("SURVIVORSHIP_RULE_{}", text.to_ascii_uppercase().replace('-', "_"));
    pb::SurvivorshipRule::from_str_name(&name)
        .filter(|rule| *rule != pb::SurvivorshipRule::Unspecified)
        .ok_or_else(|| "rules are most-recent, most-trusted, most-frequent, longest, all-values".to_owned())
}

fn named_rule(text: &str) -> Result<(String, pb::SurvivorshipRule), String> {
    let (name, text) = text.split_once('=').ok_or("write NAME=RULE, e.g. birth_date=most-trusted")?;
    Ok((name.to_owned(), rule(text)?))
}

#[derive(Args)]
struct List {
    #[command(flatten)]
    target: Target,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.verb {
        Verb::Create(create) => online(make(create)),
        Verb::Update(update) => online(change(update)),
        Verb::List(list) => online(show(list)),
    }
}

async fn make(create: &Create) -> Result<(), Failure> {
    let client = Client::connect(&create.target).await?;
    let tenant = pb::Tenant {
        name: format!("tenants/{}", create.name.strip_prefix("tenants/").unwrap_or(&create.name)),
        display_name: create.display_name.clone().unwrap_or_default(),
        default_region: create.region.as_deref().unwrap_or_default().to_ascii_uppercase(),
        ..Default::default()
    };
    let request = pb::CreateTenantRequest { tenant: Some(tenant), request_id: request_id() };
    let made = client.ask(|| async { client.admin().create_tenant(request.clone()).await }).await?;
    let tenant = made.tenant.unwrap_or_default();
    let Some(paint) = for_people(&create.target, "Tenant", &tenant)? else { return Ok(()) };
    let again = pb::CreateTenantRequest { tenant: request.tenant, ..Default::default() };
    let call = wire::grpcurl(&client.address, "AdminService/CreateTenant", "CreateTenantRequest", &again);
    let name = tenant.name.strip_prefix("tenants/").unwrap_or(&tenant.name);
    say(&format!("opened {}\nnext: onefold import FILE --tenant {name}\n{}", tenant.name, by_hand(&call, paint)))
}

async fn change(update: &Update) -> Result<(), Failure> {
    let client = Client::connect(&update.target).await?;
    let name = format!("tenants/{}", update.name.strip_prefix("tenants/").unwrap_or(&update.name));
    let known = pb::GetTenantRequest { name };
    let known = client.ask(|| async { client.admin().get_tenant(known.clone()).await }).await?;
    let mut tenant = known.tenant.unwrap_or_default();
    if let Some(text) = &update.display_name {
        tenant.display_name.clone_from(text);
    }
    if let Some(region) = &update.region {
        tenant.default_region = if region == "none" { String::new() } else { region.to_ascii_uppercase() };
    }
    for (name, rule) in &update.survivorship {
        tenant.survivorship.insert(name.clone(), *rule as i32);
    }
    if let Some(rule) = update.default_survivorship {
        tenant.default_survivorship = rule as i32;
    }
    let request = pb::UpdateTenantRequest { tenant: Some(tenant), request_id: request_id() };
    let done = client.ask(|| async { client.admin().update_tenant(request.clone()).await }).await?;
    let tenant = done.tenant.unwrap_or_default();
    let Some(paint) = for_people(&update.target, "Tenant", &tenant)? else { return Ok(()) };
    let shown = pb::Tenant { etag: String::new(), ..request.tenant.unwrap_or_default() };
    let again = pb::UpdateTenantRequest { tenant: Some(shown), ..Default::default() };
    let call = wire::grpcurl(&client.address, "AdminService/UpdateTenant", "UpdateTenantRequest", &again);
    say(&format!("changed {}\n{}", tenant.name, by_hand(&call, paint)))
}

async fn show(list: &List) -> Result<(), Failure> {
    let client = Client::connect(&list.target).await?;
    let tenants = client.all_tenants().await?;
    if list.target.json {
        let response = pb::ListTenantsResponse { tenants, next_page_token: String::new() };
        return say_json(&wire::json("ListTenantsResponse", &response));
    }
    let paint = paint(&std::io::stdout());
    let mut table = Table::new(&[("tenant", Side::Left), ("region", Side::Left), ("", Side::Left)]);
    for tenant in tenants {
        table.row([tenant.name, tenant.default_region, tenant.display_name]);
    }
    let request = pb::ListTenantsRequest::default();
    let call = wire::grpcurl(&client.address, "AdminService/ListTenants", "ListTenantsRequest", &request);
    say(&(table.render(paint) + &by_hand(&call, paint)))
}
