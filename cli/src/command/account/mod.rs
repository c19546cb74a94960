//! `onefold account`.

mod import;
mod people;
mod show;
mod tell;

use clap::{Args, Subcommand};
use onefold_core::hierarchy::AccountId;
use onefold_proto::v1 as pb;
use prost_types::Timestamp;

use super::Failure;
use crate::client::Target;

/// Accounts: who belongs to whom, and which people belong to them. An account is written SOURCE:KEY, as the source knows
/// it, or by its id (a_…); a company's profile id (p_…) names the account that it is served as.
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Takes in an account, or replaces what is told of it.
    Put(tell::Put),
    /// Shows an account and where it stands.
    Get(show::Get),
    /// Puts an account under another, or to the top.
    Move(tell::Move),
    /// Closes an account, or opens it again.
    Close(tell::Close),
    /// Shows an account and what is below it.
    Tree(show::Tree),
    /// Counts over an account and everything below it.
    Rollup(show::Rollup),
    /// Loads a hierarchy from a CSV file: all of it, or every fault with its line.
    Import(import::Import),
    /// Which accounts a person may belong to, and why.
    Propose(people::Propose),
    /// Confirms that a person belongs to an account.
    Confirm(people::Confirm),
    /// Says that a person has a role in an account, ends it, or shows all roles.
    Affiliate(people::Affiliate),
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.verb {
        Verb::Put(put) => tell::put(put),
        Verb::Get(get) => show::get(get),
        Verb::Move(to) => tell::move_to(to),
        Verb::Close(close) => tell::close(close),
        Verb::Tree(tree) => show::tree(tree),
        Verb::Rollup(rollup) => show::rollup(rollup),
        Verb::Import(import) => import::run(import),
        Verb::Propose(propose) => people::propose(propose),
        Verb::Confirm(confirm) => people::confirm(confirm),
        Verb::Affiliate(affiliate) => people::affiliate(affiliate),
    }
}

/// SOURCE:KEY.
pub(super) fn record(text: &str) -> Result<pb::SourceRecord, Failure> {
    match text.split_once(':') {
        Some((source, key)) if !source.is_empty() && !key.is_empty() => {
            Ok(pb::SourceRecord { source: source.to_owned(), key: key.to_owned() })
        }
        _ => Err(Failure::usage(format!("`{text}` names no source record: write SOURCE:KEY, e.g. crm:4711"))),
    }
}

/// An account as the user writes it.
pub(super) fn key(target: &Target, text: &str) -> Result<pb::AccountKey, Failure> {
    use pb::account_key::Key;
    let id = text.rsplit('/').next().unwrap_or(text);
    let key = match (AccountId::parse(id), onefold_core::ids::ProfileId::parse(id)) {
        (Ok(id), _) => Key::Name(format!("{}/accounts/{id}", target.parent())),
        (_, Ok(_)) => Key::Profile(target.profile(id)?),
        _ => Key::Record(record(text)?),
    };
    Ok(pb::AccountKey { key: Some(key) })
}

/// A person as the user writes it: SOURCE:KEY or a profile id.
pub(super) fn person(target: &Target, text: &str) -> Result<pb::PersonKey, Failure> {
    use pb::person_key::Key;
    let id = text.rsplit('/').next().unwrap_or(text);
    let key = match onefold_core::ids::ProfileId::parse(id) {
        Ok(_) => Key::Profile(target.profile(id)?),
        Err(_) => Key::Record(record(text)?),
    };
    Ok(pb::PersonKey { key: Some(key) })
}

/// A day or a moment in UTC: 2026-04-01, or 2026-04-01T12:30:00Z.
pub(super) fn time(text: &str) -> Result<Timestamp, Failure> {
    let moment = text.parse::<jiff::Timestamp>().or_else(|_| {
        let midnight = text.parse::<jiff::civil::Date>()?.to_zoned(jiff::tz::TimeZone::UTC)?;
        Ok::<_, jiff::Error>(midnight.timestamp())
    });
    match moment {
        Ok(moment) => Ok(Timestamp { seconds: moment.as_second(), nanos: moment.subsec_nanosecond() }),
        Err(_) => Err(Failure::usage(format!(
            "`{text}` is no time: write a day as 2026-04-01, or a moment as 2026-04-01T12:30:00Z"
        ))),
    }
}

fn times(text: Option<&String>) -> Result<Option<Timestamp>, Failure> {
    text.map(|text| time(text)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_people_and_times_read_as_people_write_them() {
        let target = Target { to: String::new(), tenant: "acme".to_owned(), json: false, ..Default::default() };
        use pb::account_key::Key;
        let crm = pb::SourceRecord { source: "crm".to_owned(), key: "47:11".to_owned() };
        assert_eq!(key(&target, "crm:47:11").unwrap().key, Some(Key::Record(crm)));
        let id = AccountId::seal(onefold_core::hierarchy::AccountOrdinal(3), &[1; 32]);
        let full = format!("tenants/acme/accounts/{id}");
        for text in [id.to_string(), full.clone()] {
            assert_eq!(key(&target, &text).unwrap().key, Some(Key::Name(full.clone())));
        }
        for bad in ["", "crm", "crm:", ":x", "a_1"] {
            assert!(key(&target, bad).is_err() && person(&target, bad).is_err(), "{bad}");
        }
        assert_eq!(time("1970-01-02").unwrap().seconds, 86_400);
        assert_eq!(time("1970-01-01T00:01:00Z").unwrap().seconds, 60);
        assert!(time("yesterday").is_err());
    }
}
