//! A profile as people read it.

use onefold_cli::output::{Paint, Side, Table, count};
use onefold_proto::v1 as pb;
use prost_types::Timestamp;

/// The last part of `tenants/{tenant}/profiles/{profile}`.
pub fn short(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// `source:key`.
pub fn record(record: &pb::SourceRecord) -> String {
    format!("{}:{}", record.source, record.key)
}

/// A time in UTC: the day alone at midnight, since most sources tell no more.
pub fn time(at: Option<&Timestamp>) -> String {
    let Some(at) = at else { return "-".to_owned() };
    let Ok(time) = jiff::Timestamp::new(at.seconds, at.nanos) else { return "-".to_owned() };
    let text = time.strftime("%Y-%m-%d %H:%M:%S").to_string();
    text.strip_suffix(" 00:00:00").map(str::to_owned).unwrap_or(text)
}

fn value(value: &pb::GoldenValue) -> String {
    match &value.value {
        Some(pb::golden_value::Value::Text(text)) => text.clone(),
        Some(pb::golden_value::Value::Number(number)) => number.to_string(),
        Some(pb::golden_value::Value::Flag(flag)) => if *flag { "yes" } else { "no" }.to_owned(),
        None => String::new(),
    }
}

fn said_by(provenance: Option<&pb::Provenance>) -> [String; 2] {
    let Some(provenance) = provenance else { return [String::new(), String::new()] };
    [provenance.record.as_ref().map(record).unwrap_or_default(), time(provenance.observed_time.as_ref())]
}

fn values(text: &mut String, heading: &str, values: &[pb::GoldenValue], full: bool, paint: Paint) {
    if values.is_empty() {
        return;
    }
    text.push_str(&format!("\n{}\n", paint.heading(heading)));
    if full {
        let mut table = Table::new(&[
            ("name", Side::Left),
            ("value", Side::Left),
            ("said by", Side::Left),
            ("observed", Side::Left),
            ("rule", Side::Left),
            ("records", Side::Right),
        ]);
        for one in values {
            let [by, at] = said_by(one.provenance.as_ref());
            let rule = one.rule.to_lowercase().replace('_', " ");
            table.row([one.name.clone(), value(one), by, at, rule, count(u64::from(one.support))]);
        }
        text.push_str(&table.render(paint));
    } else {
        let mut table = Table::new(&[("", Side::Left), ("", Side::Left)]);
        for one in values {
            table.row([one.name.clone(), value(one)]);
        }
        text.push_str(&table.render(paint));
    }
}

/// The card.
pub fn render(profile: &pb::Profile, full: bool, paint: Paint) -> String {
    let kind = match profile.party_kind() {
        pb::PartyKind::Organisation => "organisation",
        _ => "person",
    };
    let records =
        if profile.record_count == 1 { "1 record".to_owned() } else { format!("{} records", profile.record_count) };
    let mut text = format!(
        "{}  {kind}, {records}, last observed {}, sequence {}\n",
        paint.heading(short(&profile.name)),
        time(profile.observed_time.as_ref()),
        count(profile.sequence)
    );
    values(&mut text, "values", &profile.values, full, paint);
    if !profile.identifiers.is_empty() {
        text.push_str(&format!("\n{}\n", paint.heading("identifiers")));
        let mut table = Table::new(&[("", Side::Left), ("", Side::Left), ("", Side::Left), ("", Side::Left)]);
        for one in &profile.identifiers {
            let by = one.provenance.first().and_then(|first| first.record.as_ref()).map(record).unwrap_or_default();
            let more = one.provenance.len().saturating_sub(1);
            let by = if more > 0 { format!("{by} and {more} more") } else { by };
            let links = if one.links { "" } else { "does not link" };
            table.row([one.namespace.clone(), one.value.clone(), links.to_owned(), by]);
        }
        text.push_str(&table.render(paint));
    }
    if full {
        values(&mut text, "passed over", &profile.other_values, full, paint);
        if !profile.records.is_empty() {
            text.push_str(&format!("\n{}\n", paint.heading("records")));
            for one in &profile.records {
                text.push_str(&format!("  {}\n", record(one)));
            }
        }
        if !profile.traits_json.is_empty() {
            text.push_str(&format!("\n{}\n  {}\n", paint.heading("traits"), profile.traits_json));
        }
    }
    text
}
