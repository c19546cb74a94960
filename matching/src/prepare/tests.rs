use onefold_core::fragment::{Attribute, AttributeValue, Identifier, ObservedAt, SourceRecord};
use onefold_core::identifier::junk::JunkKind;

use super::*;

fn config() -> TenantConfig {
    TenantConfig::new("acme", "Acme")
}

fn namespace(name: &str) -> NamespaceId {
    config().namespace_named(name).unwrap().id
}

fn fragment(party: PartyKind, identifiers: &[(&str, &str)], attributes: &[(AttributeId, &str)]) -> Fragment {
    let mut fragment = Fragment {
        record: SourceRecord { source: SourceId(0), key: "k1".to_owned() },
        observed_at: ObservedAt(7),
        party,
        identifiers: identifiers
            .iter()
            .map(|(name, raw)| Identifier { namespace: namespace(name), raw: (*raw).to_owned() })
            .collect(),
        attributes: attributes
            .iter()
            .map(|(name, text)| Attribute { name: *name, value: AttributeValue::Text((*text).to_owned()) })
            .collect(),
        traits: None,
        affiliations: Vec::new(),
        stages: Vec::new(),
    };
    fragment.canonicalise();
    fragment
}

fn preparer() -> Preparer {
    Preparer::new(Arc::new(config()), [7; 32]).unwrap()
}

#[test]
fn what_a_source_typed_and_what_a_caller_asks_meet_in_one_digest() {
    let preparer = preparer();
    let (prepared, notes) = preparer.prepare(&fragment(
        PartyKind::Person,
        &[("email", " Ada@Acme.COM"), ("email", "ada@acme.com"), ("phone", "(202) 362-0175"), ("crm_id", "A-1")],
        &[],
    ));
    assert_eq!(notes, []);
    assert_eq!(prepared.links.len(), 3, "the same address twice is one value");
    for (name, raw) in [("email", "ada@acme.com"), ("phone", "+12023620175"), ("crm_id", "A-1")] {
        let link = preparer.link_value(namespace(name), PartyKind::Person, raw).unwrap();
        assert!(prepared.links.contains(&link), "{name}");
        let of_company = preparer.link_value(namespace(name), PartyKind::Organisation, raw).unwrap();
        assert_ne!(link.digest, of_company.digest, "a person and an organisation share no value");
    }
    assert_eq!(prepared.record, preparer.record_digest(SourceId(0), "k1"));
    assert_ne!(prepared.record, preparer.record_digest(SourceId(1), "k1"));
}

#[test]
fn another_key_makes_other_digests_and_the_same_facts() {
    let fragment = fragment(PartyKind::Person, &[("email", "ada@acme.com")], &[(attribute::FULL_NAME, "Ada Byron")]);
    let (ours, _) = preparer().prepare(&fragment);
    let (theirs, _) = Preparer::new(Arc::new(config()), [8; 32]).unwrap().prepare(&fragment);
    assert_ne!(ours.links, theirs.links);
    assert_ne!(ours.record, theirs.record);
    assert_ne!(ours.name, theirs.name);
    assert_eq!(ours.facts, theirs.facts, "facts are compared across installations");
}

#[test]
fn what_links_nobody_is_noted_and_never_dropped_in_silence() {
    let preparer = preparer();
    let mut fragment = fragment(
        PartyKind::Person,
        &[("email", "ada"), ("email", "noreply@acme.com"), ("phone", "n/a"), ("user_id", "u1")],
        &[],
    );
    fragment.identifiers.push(Identifier { namespace: NamespaceId(999), raw: "x".to_owned() });
    let (prepared, notes) = preparer.prepare(&fragment);
    assert_eq!(prepared.links.len(), 1);
    let reason = |namespace: NamespaceId, raw: &str| {
        let at = fragment.identifiers.iter().position(|i| i.namespace == namespace && i.raw == raw).unwrap();
        notes.iter().find(|note| note.identifier == at).unwrap().reason
    };
    assert_eq!(reason(namespace("email"), "ada"), NoteReason::Malformed(InvalidIdentifier::NoAt));
    assert_eq!(
        reason(namespace("email"), "noreply@acme.com"),
        NoteReason::Blocked(BlockReason::Junk(JunkKind::NoReply))
    );
    assert_eq!(reason(namespace("phone"), "n/a"), NoteReason::Malformed(InvalidIdentifier::BadCharacter));
    assert_eq!(reason(NamespaceId(999), "x"), NoteReason::UnknownNamespace);
    assert_eq!(
        preparer.link_value(namespace("email"), PartyKind::Person, "noreply@acme.com"),
        Err(LookupError::Blocked(BlockReason::Junk(JunkKind::NoReply)))
    );
    assert_eq!(preparer.link_value(NamespaceId(999), PartyKind::Person, "x"), Err(LookupError::UnknownNamespace));
}

#[test]
fn national_numbers_are_read_in_the_country_of_the_address() {
    let preparer = preparer();
    let (prepared, _) = preparer.prepare(&fragment(
        PartyKind::Organisation,
        &[("phone", "030 901820")],
        &[(attribute::ADDRESS_COUNTRY, "Deutschland")],
    ));
    let link = preparer.link_value(namespace("phone"), PartyKind::Organisation, "+4930901820").unwrap();
    assert_eq!(prepared.links, [link]);
}

#[test]
fn typing_habits_of_one_name_count_once() {
    let person = |attributes: &[(AttributeId, &str)]| name_skeleton(&fragment(PartyKind::Person, &[], attributes));
    use attribute::{FAMILY_NAME, FULL_NAME, GIVEN_NAME};
    let jon = person(&[(FULL_NAME, "Jon Smith")]);
    assert!(jon.is_some());
    for same in [
        &[(FULL_NAME, "SMITH, JON")][..],
        &[(FULL_NAME, "J. Smith")],
        &[(FULL_NAME, "Mr Jon R Smyth Jr.")],
        &[(GIVEN_NAME, "jon"), (FAMILY_NAME, "SMITH")],
        &[(GIVEN_NAME, "Jonathan"), (FAMILY_NAME, "Smith-Jones")],
        &[(GIVEN_NAME, "Jack"), (FAMILY_NAME, "Smith")],
    ] {
        assert_eq!(person(same), jon, "{same:?}");
    }
    for other in
        [&[(FULL_NAME, "Mary Smith")][..], &[(FULL_NAME, "Jon Jones")], &[(FULL_NAME, "Smith")], &[(FULL_NAME, "张伟")]]
    {
        assert_ne!(person(other), jon, "{other:?}");
    }
    assert_eq!(person(&[(FULL_NAME, "Bob Reed")]), person(&[(FULL_NAME, "Reed, Robert")]));
    assert_eq!(person(&[(FULL_NAME, "Hans Müller")]), person(&[(FULL_NAME, "HANS MUELLER")]));
    assert_eq!(
        person(&[(GIVEN_NAME, "Shook"), (FAMILY_NAME, "David")]),
        person(&[(FULL_NAME, "David Shook")]),
        "turned fields"
    );
    assert_eq!(person(&[(FULL_NAME, "Unknown Unknown")]), None);
    assert_eq!(person(&[(FULL_NAME, "  ")]), None);
    assert_eq!(person(&[]), None);
    assert_ne!(person(&[(FULL_NAME, "张伟")]), person(&[(FULL_NAME, "王杰")]));

    let company = |name: &str| name_skeleton(&fragment(PartyKind::Organisation, &[], &[(attribute::LEGAL_NAME, name)]));
    assert_eq!(company("Totten & Navarrete Utilities Inc."), company("TOTTEN AND NAVARRETE UTILITIES COMPANY"));
    assert_ne!(company("Acme Ltd"), company("Apex Ltd"));
    assert!(company("Limited").is_some());
}

#[test]
fn a_bad_pattern_is_a_configuration_error() {
    let mut config = config();
    config.namespaces[6].blocked_patterns = vec!["(".to_owned()];
    assert!(matches!(Preparer::new(Arc::new(config), [7; 32]), Err(PrepareError::BlockRules(_))));
}
