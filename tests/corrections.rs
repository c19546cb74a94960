//! A correction beside matching by weight: what a steward says of a name or a birth date contradicts what sources say, and
//! must not part the person for it. Those who do differ stay apart as before.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::path::Path;

use onefold_proto::v1 as pb;
use onefold_tests::consent::at;
use onefold_tests::privacy::correction;
use onefold_tests::{House, person, record, text};
use pb::PrivacyRequestKind as Kind;

const THEN: i64 = 1_700_000_000;
const LATER: i64 = 1_795_000_000;
const ADA: &str = "ada@harbour-mail.net";
const WRONG: [(&str, &str); 3] =
    [("given_name", "Adelaide"), ("family_name", "Quillfeather"), ("birth_date", "1974-03-09")];
const RIGHT: [(&str, &str); 3] =
    [("given_name", "Adelaide"), ("family_name", "Brandywine"), ("birth_date", "1981-11-27")];

async fn open(data: &Path) -> House {
    let mut config = House::config(data);
    config.match_models = true;
    House::open_with(config).await
}

async fn restart(house: House, data: &Path, alone: bool) -> House {
    house.close().await;
    if alone {
        std::fs::remove_dir_all(data.join("checkpoint")).unwrap();
    }
    open(data).await
}

async fn correct(house: &mut House, mail: &str, identifiers: &[(&str, &str)], texts: &[(&str, &str)]) {
    let (name, etag) = house.ask_in_scope(Kind::Rectification, at("email", mail)).await.unwrap();
    house.privacy.execute_rectification(correction(&name, &etag, identifiers, texts)).await.unwrap();
}

async fn profile_of(house: &mut House, (source, key): (&str, &str)) -> pb::Profile {
    let key = pb::lookup_profile_request::Key::Record(record(source, key));
    let request = pb::LookupProfileRequest { key: Some(key), view: pb::ProfileView::Full as i32, ..Default::default() };
    house.profiles.lookup_profile(request).await.unwrap().into_inner().profile.unwrap()
}

/// The profile with this address has all these records, the correction, and nothing else.
async fn is_whole(house: &mut House, records: &[(&str, &str)], what: &str) {
    let name = house.lookup("email", ADA).await.unwrap().name;
    for of in records {
        let profile = profile_of(house, *of).await;
        assert_eq!((&profile.name, profile.record_count as usize), (&name, records.len() + 1), "{what}: {of:?}");
        let family = profile.values.iter().find(|value| value.name == "family_name").unwrap();
        let right = pb::golden_value::Value::Text("Brandywine".to_owned());
        assert_eq!(family.value, Some(right), "{what}: {of:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_whose_name_and_birth_date_are_corrected_stays_one() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = open(&data).await;
    house.sources(&["crm", "shop", "web"]).await;
    let all = [("crm", "1"), ("shop", "1"), ("web", "1")];
    for (source, key) in &all[..2] {
        house.put(person(source, key, THEN, &[("email", ADA)], &WRONG)).await;
    }
    correct(&mut house, ADA, &[], &RIGHT).await;
    is_whole(&mut house, &all[..2], "corrected").await;
    // A third source has the old values, and is theirs as it was theirs before.
    house.put(person("web", "1", THEN + 1, &[("email", ADA)], &WRONG)).await;
    is_whole(&mut house, &all, "sent by another").await;
    for alone in [false, true] {
        house = restart(house, &data, alone).await;
        is_whole(&mut house, &all, "restarted").await;
    }
    let search = pb::SearchProfilesRequest {
        attributes: vec![text("given_name", "Adelaide"), text("family_name", "Brandywine")],
        ..Default::default()
    };
    let found = house.profiles.search_profiles(search).await.unwrap().into_inner().results;
    let name = house.lookup("email", ADA).await.unwrap().name;
    assert_eq!(found[0].profile.as_ref().unwrap().name, name, "found by what is right: {found:?}");

    house.retract("web", "1", LATER).await;
    // The sources that had them take the right values over, one by one.
    for (at, (source, key)) in all[..2].iter().enumerate() {
        house.put(person(source, key, LATER + at as i64, &[("email", ADA)], &RIGHT)).await;
        is_whole(&mut house, &all[..2], "taken over").await;
    }
    let request = house.ask_for_erasure(vec![at("email", ADA)]).await.unwrap();
    let preview = house.preview(&request).await.unwrap();
    let live = preview.records.iter().filter(|record| record.evidence == "MEMBER_OF_PROFILE");
    assert_eq!(live.count(), 3, "{preview:?}");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_shares_a_corrected_address_and_is_somebody_else_stays_apart() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = open(&data).await;
    house.sources(&["crm"]).await;
    let other = [("given_name", "Bertram"), ("family_name", "Oakenshield"), ("birth_date", "1951-06-02")];
    house.put(person("crm", "1", THEN, &[("email", ADA)], &WRONG)).await;
    house.put(person("crm", "2", THEN, &[("email", "household@harbour-mail.net")], &other)).await;
    // The person reads the household's mail.
    correct(&mut house, ADA, &[("email", "household@harbour-mail.net")], &RIGHT).await;
    for alone in [false, true] {
        let (one, two) = (profile_of(&mut house, ("crm", "1")).await, profile_of(&mut house, ("crm", "2")).await);
        assert_ne!(one.name, two.name);
        assert_eq!((one.record_count, two.record_count), (2, 1));
        house = restart(house, &data, alone).await;
    }
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_correction_outlives_each_record_that_it_was_made_beside() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = open(&dir.path().join("data")).await;
    house.sources(&["crm"]).await;
    for key in ["1", "2"] {
        house.put(person("crm", key, THEN, &[("email", ADA)], &WRONG)).await;
    }
    correct(&mut house, ADA, &[], &RIGHT).await;
    correct(&mut house, ADA, &[("phone", "+49302000001")], &[]).await;
    house.put(person("crm", "3", THEN, &[("email", ADA)], &WRONG)).await;
    house.retract("crm", "1", LATER).await;
    house.retract("crm", "2", LATER).await;
    let profile = profile_of(&mut house, ("crm", "3")).await;
    assert_eq!(profile.record_count, 3, "both corrections went with what is left");
    assert_eq!(house.lookup("phone", "+49302000001").await.unwrap().name, profile.name);
    house.close().await;
}

/// Its family name and its records, the correction's among them.
async fn shown(house: &mut House, of: (&str, &str)) -> (String, u32) {
    let profile = profile_of(house, of).await;
    let family = profile.values.iter().find(|value| value.name == "family_name").unwrap();
    let Some(pb::golden_value::Value::Text(family)) = &family.value else { panic!("{family:?}") };
    (family.clone(), profile.record_count)
}

/// A source gives a record of a person whose name was corrected to somebody else, while another record of theirs says what that one
/// gave up: the correction stays with the person, is never shown as the other's, and goes with an erasure. Where nobody else says
/// it, the person may only have another address, and keeps the correction.
#[tokio::test(flavor = "multi_thread")]
async fn a_correction_does_not_go_along_to_whom_a_record_is_given() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = House::open(&data).await;
    house.sources(&["crm", "shop"]).await;
    let (cleo, moves) = ("cleo@harbour-mail.net", "moves@harbour-mail.net");
    let names = |family| [("given_name", "Any"), ("family_name", family)];
    // Both were there when Ada was corrected, twice; of Cleo's only the first was.
    for (source, key, mail) in [("crm", "1", ADA), ("crm", "5", ADA), ("crm", "7", cleo), ("crm", "9", moves)] {
        house.put(person(source, key, THEN, &[("email", mail)], &names("Quillfeather"))).await;
    }
    for mail in [ADA, cleo, moves] {
        correct(&mut house, mail, &[], &names("Brandywine")).await;
    }
    correct(&mut house, ADA, &[("phone", "+49302000001")], &[]).await;
    house.put(person("shop", "c2", THEN, &[("email", cleo)], &names("Quillfeather"))).await;
    assert_eq!(shown(&mut house, ("shop", "c2")).await, ("Brandywine".to_owned(), 3));

    house.put(person("crm", "5", LATER, &[("email", "bob@harbour-mail.net")], &names("Oakenshield"))).await;
    house.put(person("crm", "7", LATER, &[("email", "dan@harbour-mail.net")], &names("Underhill"))).await;
    house.put(person("crm", "9", LATER, &[("email", "moved@harbour-mail.net")], &names("Quillfeather"))).await;
    let wanted = [
        ("crm", "1", "Brandywine", 3),
        ("crm", "5", "Oakenshield", 1),
        ("crm", "7", "Underhill", 1),
        ("shop", "c2", "Brandywine", 2),
        ("crm", "9", "Brandywine", 2),
    ];
    for alone in [false, true] {
        for (source, key, family, records) in wanted {
            assert_eq!(shown(&mut house, (source, key)).await, (family.to_owned(), records), "{source} {key} {alone}");
        }
        house.close().await;
        if alone {
            std::fs::remove_dir_all(data.join("checkpoint")).unwrap();
        }
        house = House::open(&data).await;
    }
    for (mail, stays) in [(ADA, ("crm", "5", "Oakenshield")), (cleo, ("crm", "7", "Underhill"))] {
        house.forget(vec![at("email", mail)]).await.unwrap();
        assert!(house.lookup("email", mail).await.is_err());
        let (source, key, family) = stays;
        assert_eq!(shown(&mut house, (source, key)).await, (family.to_owned(), 1));
    }
    assert!(house.lookup("phone", "+49302000001").await.is_err(), "both corrections went with her");
    house.close().await;
}

/// One after the other is given to somebody else, and the last is taken back: the correction stays with whatever says who she is.
#[tokio::test(flavor = "multi_thread")]
async fn a_correction_stays_while_one_record_after_the_other_is_given_away() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = House::open(&data).await;
    house.sources(&["crm"]).await;
    let names = |family| [("given_name", "Any"), ("family_name", family)];
    for key in ["1", "2", "3"] {
        house.put(person("crm", key, THEN, &[("email", ADA)], &names("Quillfeather"))).await;
    }
    correct(&mut house, ADA, &[], &names("Brandywine")).await;
    house.put(person("crm", "4", THEN, &[("email", ADA)], &names("Quillfeather"))).await;
    for key in ["1", "2", "3"] {
        let other = format!("other{key}@harbour-mail.net");
        house.put(person("crm", key, LATER, &[("email", &other)], &names("Underhill"))).await;
        assert_eq!(shown(&mut house, ("crm", key)).await, ("Underhill".to_owned(), 1));
    }
    assert_eq!(shown(&mut house, ("crm", "4")).await, ("Brandywine".to_owned(), 2));
    house.put(person("crm", "6", THEN, &[("email", ADA)], &names("Quillfeather"))).await;
    house.retract("crm", "4", LATER).await;
    for alone in [false, true] {
        assert_eq!(shown(&mut house, ("crm", "6")).await, ("Brandywine".to_owned(), 2), "{alone}");
        house.close().await;
        if alone {
            std::fs::remove_dir_all(data.join("checkpoint")).unwrap();
        }
        house = House::open(&data).await;
    }
    house.close().await;
}

/// A record with two persons' addresses in it does not say that the one goes on without the record that took a new address.
#[tokio::test(flavor = "multi_thread")]
async fn a_correction_does_not_go_over_a_record_of_two_persons() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = House::open(&data).await;
    house.sources(&["crm", "shop"]).await;
    let names = |family| [("family_name", family)];
    let bob = "bob@harbour-mail.net";
    house.put(person("crm", "ada", THEN, &[("email", ADA)], &names("Quillfeather"))).await;
    house.put(person("crm", "bob", THEN, &[("email", bob), ("user_id", "bob")], &names("Oakenshield"))).await;
    let both = [("email", ADA), ("email", bob), ("user_id", "ada")];
    house.put(person("shop", "br", THEN, &both, &[])).await;
    correct(&mut house, ADA, &[], &names("Brandywine")).await;
    let apart = profile_of(&mut house, ("crm", "bob")).await.name != profile_of(&mut house, ("shop", "br")).await.name;
    house.put(person("crm", "ada", LATER, &[("email", "ada2@harbour-mail.net")], &names("Quillfeather"))).await;
    house.retract("shop", "br", LATER).await;
    assert!(apart, "the unique ids keep them apart");
    for alone in [false, true] {
        assert_eq!(shown(&mut house, ("crm", "bob")).await.0, "Oakenshield", "alone: {alone}");
        assert_eq!(shown(&mut house, ("crm", "ada")).await.0, "Brandywine", "alone: {alone}");
        house = restart_plain(house, &data, alone).await;
    }
    house.close().await;
}

async fn restart_plain(house: House, data: &Path, alone: bool) -> House {
    house.close().await;
    if alone {
        std::fs::remove_dir_all(data.join("checkpoint")).unwrap();
    }
    House::open(data).await
}
