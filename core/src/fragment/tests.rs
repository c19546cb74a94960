use proptest::prelude::*;

use super::*;
use crate::config::TenantConfig;

fn fragment(value: AttributeValue) -> Fragment {
    Fragment {
        record: SourceRecord { source: SourceId(0), key: "1".to_owned() },
        observed_at: ObservedAt(5),
        party: PartyKind::Person,
        identifiers: vec![Identifier { namespace: NamespaceId(6), raw: "ada@acme.com".to_owned() }],
        attributes: vec![Attribute { name: AttributeId(1), value }],
        traits: Some("{}".to_owned()),
        affiliations: Vec::new(),
        stages: Vec::new(),
    }
}

#[test]
fn facts_of_different_types_are_different_facts() {
    let config = TenantConfig::new("t", "T");
    let values = [
        AttributeValue::Text("\u{1}".to_owned()),
        AttributeValue::Flag(true),
        AttributeValue::Flag(false),
        AttributeValue::Text("\0\0\0\0\0\0\0\0".to_owned()),
        AttributeValue::Number(0.0),
    ];
    let digests: std::collections::BTreeSet<Digest128> =
        values.iter().map(|value| fragment(value.clone()).fact_digest(&config)).collect();
    assert_eq!(digests.len(), values.len());
}

#[test]
fn a_stored_fragment_reads_back_and_names_the_version_it_cannot_read() {
    let stored = fragment(AttributeValue::Number(1.5));
    let mut bytes = stored.encode();
    assert_eq!(Fragment::decode(&bytes), Ok(stored));
    for cut in 1..bytes.len() {
        assert_eq!(Fragment::decode(&bytes[..cut]), Err(FragmentDecodeError::Damaged), "cut at {cut}");
    }
    bytes[0] = 3;
    assert_eq!(Fragment::decode(&bytes), Err(FragmentDecodeError::Version(3)));
}

proptest! {
    #[test]
    fn fragments_read_back_in_either_form(
        (source, key, party, traits) in
            (any::<u16>(), "\\PC{0,20}", any::<bool>(), proptest::option::of("\\PC{0,20}")),
        observed_at in prop_oneof![any::<i64>(), (-90_000..90_000i64).prop_map(|days| days * UNITS[0])],
        identifiers in proptest::collection::vec((any::<u16>(), "\\PC{0,20}"), 0..6),
        values in proptest::collection::vec((any::<u16>(), prop_oneof![
            "\\PC{0,40}".prop_map(AttributeValue::Text),
            (-1e300..1e300f64).prop_map(AttributeValue::Number),
            any::<bool>().prop_map(AttributeValue::Flag),
        ]), 0..6),
        roles in proptest::collection::vec(
            (any::<u16>(), "\\PC{0,20}", "\\PC{0,20}", any::<i64>(), proptest::option::of(any::<i64>())), 0..4),
        stages in proptest::collection::vec(("\\PC{0,20}", proptest::option::of(any::<i64>())), 0..4),
    ) {
        let plain = Fragment {
            record: SourceRecord { source: SourceId(source), key },
            observed_at: ObservedAt(observed_at),
            party: if party { PartyKind::Person } else { PartyKind::Organisation },
            identifiers: identifiers
                .into_iter()
                .map(|(namespace, raw)| Identifier { namespace: NamespaceId(namespace), raw })
                .collect(),
            attributes: values
                .into_iter()
                .map(|(name, value)| Attribute { name: AttributeId(name), value })
                .collect(),
            traits,
            affiliations: Vec::new(),
            stages: Vec::new(),
        };
        let before = postcard::to_extend(&plain, vec![POSTCARD_VERSION]).unwrap();
        prop_assert!(plain.encode().len() <= before.len());
        prop_assert_eq!(Fragment::decode(&before), Ok(plain.clone()));
        let affiliations = roles
            .into_iter()
            .map(|(source, key, role, since, until)| Affiliation {
                account: SourceRecord { source: SourceId(source), key },
                role,
                since: Moment(since),
                until: until.map(Moment),
            })
            .collect();
        let stages =
            stages.into_iter().map(|(name, at)| StageTold { at: at.map(Moment), name }).collect();
        let fragment = Fragment { affiliations, stages, ..plain };
        prop_assert_eq!(Fragment::decode(&fragment.encode()), Ok(fragment));
    }

    #[test]
    fn any_bytes_are_a_fragment_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        let mut stored = vec![CODEC_VERSION];
        stored.extend(bytes);
        let _ = Fragment::decode(&stored);
    }
}
