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
