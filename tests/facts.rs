//! The digest of a fragment's facts, as the recompute sees it: ties break by content, so two installations agree.

use std::collections::BTreeSet;

use onefold_proto::v1 as pb;
use pb::attribute::Value;

/// BLAKE3 over the parts of the facts, each behind its length, names in order.
pub fn digest(fragment: &pb::Fragment) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    let mut part = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
    };
    let record = fragment.record.clone().unwrap_or_default();
    let at = fragment.observed_time.unwrap_or_default();
    part(record.source.as_bytes());
    part(record.key.as_bytes());
    part(&(at.seconds * 1_000_000 + i64::from(at.nanos) / 1_000).to_le_bytes());
    part(&[u8::from(fragment.party_kind() == pb::PartyKind::Organisation)]);
    let claims: BTreeSet<_> = fragment.identifiers.iter().map(|claim| (&claim.namespace, claim.value.trim())).collect();
    part(&(claims.len() as u64).to_le_bytes());
    for (namespace, value) in claims {
        part(namespace.as_bytes());
        part(value.as_bytes());
    }
    let mut attributes: Vec<&pb::Attribute> = fragment.attributes.iter().collect();
    attributes.sort_by_key(|attribute| &attribute.name);
    for attribute in attributes {
        part(attribute.name.as_bytes());
        let (kind, bytes) = match &attribute.value {
            Some(Value::Text(text)) => (b"t", text.clone().into_bytes()),
            Some(Value::Number(number)) => (b"n", number.to_bits().to_le_bytes().to_vec()),
            Some(Value::Flag(flag)) => (b"f", vec![u8::from(*flag)]),
            None => continue,
        };
        part(kind);
        part(&bytes);
    }
    part(fragment.traits_json.as_bytes());
    let mut short = [0; 16];
    short.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    short
}
