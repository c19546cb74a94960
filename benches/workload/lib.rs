//! Seeded workloads, do-nothing servers to measure against, and a load generator.

pub mod contact;
pub mod idle;
pub mod load;
pub mod open;

use onefold_cli::generate::{Population, Record, Sizes};
use onefold_core::fragment::PartyKind;
use onefold_proto::v1 as pb;

/// The names of the sources that the workload sends from.
pub const SOURCES: &[&str] =
    &["crm", "webshop", "support", "pos", "newsletter", "events", "erp", "invoice", "directory"];

/// About this many fragments of people and companies, the same for the same seed.
#[must_use]
pub fn fragments(seed: u64, count: usize) -> Vec<pb::Fragment> {
    let mut people = count as u32 / 3;
    loop {
        let sizes = Sizes { people, companies: people / 20 };
        let found: Vec<pb::Fragment> =
            Population::new(seed, sizes).take(count).map(|record| fragment(&record)).collect();
        if found.len() >= count {
            return found;
        }
        people += people / 4 + 16;
    }
}

/// A generated record on the wire.
#[must_use]
pub fn fragment(record: &Record) -> pb::Fragment {
    let observed = record.observed_at().0;
    pb::Fragment {
        record: Some(pb::SourceRecord { source: record.origin.name().to_owned(), key: record.record_id.clone() }),
        observed_time: Some(prost_types::Timestamp {
            seconds: observed.div_euclid(1_000_000),
            nanos: (observed.rem_euclid(1_000_000) * 1_000) as i32,
        }),
        party_kind: match record.cluster.party {
            PartyKind::Person => pb::PartyKind::Person,
            PartyKind::Organisation => pb::PartyKind::Organisation,
        } as i32,
        identifiers: record
            .identifiers()
            .filter(|(_, value)| !value.trim().is_empty())
            .map(|(namespace, value)| pb::Identifier { namespace: namespace.to_owned(), value: value.to_owned() })
            .collect(),
        attributes: record
            .attributes()
            .filter(|(_, value)| !value.trim().is_empty())
            .map(|(name, value)| pb::Attribute {
                name: name.to_owned(),
                value: Some(pb::attribute::Value::Text(value.into_owned())),
            })
            .collect(),
        traits_json: String::new(),
        consents: Vec::new(),
        affiliations: Vec::new(),
        stages: Vec::new(),
    }
}
