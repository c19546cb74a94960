//! `onefold explain`.

use clap::Args;
use onefold_cli::output::{Paint, Side, Table, count};
use onefold_proto::v1 as pb;

use super::{Failure, by_hand, card, for_people, online, say, waterfall};
use crate::client::{Client, Target, wire};

/// Records of one link that are listed.
const RECORDS_SHOWN: usize = 6;

/// Why two source records are one profile, or every reason why not; or how one profile hangs together.
#[derive(Args)]
#[command(override_usage = "onefold explain [OPTIONS] SOURCE:KEY SOURCE:KEY\n       onefold explain [OPTIONS] PROFILE")]
pub struct Arguments {
    /// Two source records, or one profile id.
    #[arg(required = true, num_args = 1..=2, value_name = "WHAT")]
    what: Vec<String>,
    #[command(flatten)]
    target: Target,
}

/// Reads `source:key`; the key may hold further colons.
pub fn record(text: &str) -> Result<pb::SourceRecord, Failure> {
    match text.split_once(':') {
        Some((source, key)) if !source.is_empty() && !key.is_empty() => {
            Ok(pb::SourceRecord { source: source.to_owned(), key: key.to_owned() })
        }
        _ => Err(Failure::usage(format!("`{text}` is no record: write SOURCE:KEY, e.g. crm:1017"))),
    }
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let target = &arguments.target;
    match arguments.what.as_slice() {
        [first, second] => {
            let request = pb::ExplainLinkRequest {
                parent: target.parent(),
                first: Some(record(first)?),
                second: Some(record(second)?),
            };
            online(link(target, request))
        }
        [one] if !one.starts_with("p_") && !one.contains("/profiles/") && one.contains(':') => Err(Failure::usage(
            format!("one record alone has nothing to explain: name another beside `{one}`, or a profile id"),
        )),
        [one] => online(profile(target, pb::ExplainProfileRequest { name: target.profile(one)? })),
        _ => Err(Failure::usage("name two records as SOURCE:KEY, or one profile id")),
    }
}

async fn link(target: &Target, request: pb::ExplainLinkRequest) -> Result<(), Failure> {
    let client = Client::connect(target).await?;
    let why = client.ask(|| async { client.profiles().explain_link(request.clone()).await }).await?;
    let Some(paint) = for_people(target, "ExplainLinkResponse", &why)? else { return Ok(()) };
    let [first, second] =
        [&request.first, &request.second].map(|one| one.as_ref().map(card::record).unwrap_or_default());
    let call = wire::grpcurl(&client.address, "ProfileService/ExplainLink", "ExplainLinkRequest", &request);
    say(&(drawn(&why, &first, &second, paint) + &by_hand(&call, paint)))
}

/// Two records and what lies between them.
pub fn drawn(why: &pb::ExplainLinkResponse, first: &str, second: &str, paint: Paint) -> String {
    let profile = |name: &str| if name.is_empty() { "no profile" } else { card::short(name) }.to_owned();
    if why.linked {
        let heading = paint.heading(&format!("{first} and {second} are one profile, {}", profile(&why.first_profile)));
        let path = chain(&why.path, why.weakest as usize, first, paint);
        return format!("{heading}\n\n{path}{}", weighed(why, first, second, paint));
    }
    let heading = paint.heading(&format!("{first} and {second} are not one profile"));
    let mut text = format!(
        "{heading}\n  {first} is in {}\n  {second} is in {}\n\n{}\n",
        profile(&why.first_profile),
        profile(&why.second_profile),
        paint.heading("what stands between them")
    );
    text.push_str(&obstacles(&why.obstacles, paint));
    text + &weighed(why, first, second, paint)
}

/// How the two match by weight, where a model says so.
fn weighed(why: &pb::ExplainLinkResponse, first: &str, second: &str, paint: Paint) -> String {
    let Some(evidence) = &why.r#match else { return String::new() };
    let heading = paint.heading(&format!("how {first} and {second} match, in bits"));
    format!("\n{heading}\n{}", waterfall::drawn(evidence, paint))
}

/// From record to record, the shared value beside each step.
fn chain(path: &[pb::Link], weakest: usize, from: &str, paint: Paint) -> String {
    let mut text = format!("  {from}\n");
    let mut at = from.to_owned();
    for (step, link) in path.iter().enumerate() {
        let mark =
            if step == weakest && path.len() > 1 { paint.warning("   ← the weakest step") } else { String::new() };
        let (held, kind) = match link.kind.as_str() {
            "MATCH" => (shown(&link.value), "by weight".to_owned()),
            "JUDGEMENT" => (shown(&link.value), "a steward's".to_owned()),
            _ => (
                format!("{} {}", link.namespace, shown(&link.value)),
                format!("{}, priority {}", link.class.to_lowercase(), link.priority),
            ),
        };
        text.push_str(&format!("    │  {held}  {}{mark}\n", paint.faint(&format!("({kind})"))));
        let ends: Vec<String> = link.records.iter().map(card::record).collect();
        let next = ends.iter().rev().find(|end| **end != at).cloned().unwrap_or_default();
        text.push_str(&format!("  {next}\n"));
        at = next;
    }
    if path.is_empty() {
        text.push_str("  (the same record)\n");
    }
    text
}

async fn profile(target: &Target, request: pb::ExplainProfileRequest) -> Result<(), Failure> {
    let client = Client::connect(target).await?;
    let how = client.ask(|| async { client.profiles().explain_profile(request.clone()).await }).await?;
    let Some(paint) = for_people(target, "ExplainProfileResponse", &how)? else { return Ok(()) };
    let call = wire::grpcurl(&client.address, "ProfileService/ExplainProfile", "ExplainProfileRequest", &request);
    say(&(held_together(&how, paint) + &by_hand(&call, paint)))
}

/// What holds a profile together, what it hangs by, and what does not join it to others.
pub fn held_together(how: &pb::ExplainProfileResponse, paint: Paint) -> String {
    let name = card::short(&how.name);
    let mut text = match how.links.len() {
        0 => paint.heading(&format!("{name} is one record; nothing holds it together")) + "\n",
        1 => {
            format!("{}\n{}", paint.heading(&format!("{name} is held together by one link")), links(&how.links, paint))
        }
        some => {
            let heading = format!("{name} is held together by {some} links, strongest first");
            format!("{}\n{}", paint.heading(&heading), links(&how.links, paint))
        }
    };
    if !how.weakest.is_empty() && how.links.len() > 1 {
        let heading = match how.weakest.len() {
            1 => "it would fall apart without".to_owned(),
            some => format!("it would fall apart without these {some}"),
        };
        text.push_str(&format!("\n{}\n{}", paint.heading(&heading), links(&how.weakest, paint)));
    }
    if !how.possible_links.is_empty() {
        let heading = paint.heading("shared with others and not joining them");
        text.push_str(&format!("\n{heading}\n{}", obstacles(&how.possible_links, paint)));
    }
    text
}

fn links(links: &[pb::Link], paint: Paint) -> String {
    let mut table = Table::new(&[
        ("namespace", Side::Left),
        ("value", Side::Left),
        ("class", Side::Left),
        ("holds together", Side::Left),
    ]);
    for link in links {
        let mut records: Vec<String> = link.records.iter().take(RECORDS_SHOWN).map(card::record).collect();
        if link.records.len() > RECORDS_SHOWN {
            records.push(format!("… {} in all", count(link.records.len() as u64)));
        }
        let class = match link.kind.as_str() {
            "MATCH" => "by weight".to_owned(),
            "JUDGEMENT" => "a steward's".to_owned(),
            _ => link.class.to_lowercase(),
        };
        table.row([link.namespace.clone(), shown(&link.value), class, records.join(", ")]);
    }
    table.render(paint)
}

fn obstacles(obstacles: &[pb::Obstacle], paint: Paint) -> String {
    let mut table =
        Table::new(&[("reason", Side::Left), ("namespace", Side::Left), ("value", Side::Left), ("", Side::Left)]);
    for one in obstacles {
        table.row([one.reason.clone(), one.namespace.clone(), one.value.clone(), one.message.clone()]);
    }
    table.render(paint)
}

fn shown(value: &str) -> String {
    if value.is_empty() { "(value not opened)".to_owned() } else { value.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_goes_from_record_to_record() {
        let record = |text: &str| super::record(text).unwrap();
        let link = |namespace: &str, from: &str, to: &str| pb::Link {
            namespace: namespace.to_owned(),
            value: "v".to_owned(),
            class: "IDENTIFYING".to_owned(),
            priority: 7,
            records: vec![record(from), record(to)],
            kind: "VALUE".to_owned(),
            r#match: None,
        };
        let why = pb::ExplainLinkResponse {
            linked: true,
            first_profile: "tenants/t/profiles/p_1".to_owned(),
            path: vec![link("email", "crm:1", "web:2"), link("phone", "web:2", "pos:a:b")],
            weakest: 1,
            ..Default::default()
        };
        assert_eq!(
            drawn(&why, "crm:1", "pos:a:b", Paint::Plain),
            "crm:1 and pos:a:b are one profile, p_1\n\n  crm:1\n    │  email v  (identifying, priority 7)\n  web:2\n    │  phone v  (identifying, priority 7)   ← the weakest step\n  pos:a:b\n"
        );
    }

    #[test]
    fn records_are_source_and_key() {
        assert_eq!(record("pos:a:b").map(|r| (r.source, r.key)).ok(), Some(("pos".to_owned(), "a:b".to_owned())));
        for bad in ["crm", "crm:", ":1", ""] {
            assert!(record(bad).is_err(), "{bad:?}");
        }
    }
}
