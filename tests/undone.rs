//! LAWS 4, 6 and 7 when what joined people is gone again: an id of before leads to the records that it stood for, whoever asks by an
//! address that only a record told which was taken back is the person whose profile lives on, and a restriction goes along
//! with the person from one record to the next.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::fs;
use std::path::Path;

use onefold_proto::v1 as pb;
use onefold_tests::consent::{at, of_profile, of_record, reasons};
use onefold_tests::privacy::request;
use onefold_tests::{House, person, reason, record};
use pb::PrivacyRequestKind as Kind;

const THEN: i64 = 1_700_000_000;

/// Down and up again: from a checkpoint, and from the journal alone.
async fn restart(house: House, data: &Path, alone: bool) -> House {
    house.close().await;
    if alone {
        fs::remove_dir_all(data.join("checkpoint")).unwrap();
    }
    House::open(data).await
}

/// The name of the profile that a record is in.
async fn profile_of(house: &mut House, source: &str, key: &str) -> String {
    let key = Some(pb::lookup_profile_request::Key::Record(record(source, key)));
    let request = pb::LookupProfileRequest { key, ..Default::default() };
    house.profiles.lookup_profile(request).await.unwrap().into_inner().profile.unwrap().name
}

async fn history(house: &mut House, name: &str) -> (pb::ProfileState, Vec<String>) {
    let request = pb::ListProfileHistoryRequest { name: name.to_owned(), page_size: 100, ..Default::default() };
    let history = house.profiles.list_profile_history(request).await.unwrap().into_inner();
    (history.state(), history.current)
}

/// The records in the scope of an erasure, and why each is.
async fn scope(house: &mut House, subject: pb::ConsentSubject) -> Vec<(String, String, String)> {
    let name = house.ask_for_erasure(vec![subject]).await.unwrap();
    let records = house.preview(&name).await.unwrap().records;
    let mut shown: Vec<_> = records.into_iter().map(|one| (one.source, one.key, one.evidence)).collect();
    shown.sort_unstable();
    shown
}

fn told(source: &str, key: &str, evidence: &str) -> (String, String, String) {
    (source.to_owned(), key.to_owned(), evidence.to_owned())
}

/// Two people were one profile for a while. The younger id, which was merged into the older, is the younger one's again, in
/// every answer, after every restart: their data is handed to nobody else, and nobody else is erased in their place.
#[tokio::test(flavor = "multi_thread")]
async fn an_id_whose_merge_was_undone_leads_to_the_records_that_it_stood_for() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = House::open(&data).await;
    house.sources(&["crm", "shop", "till"]).await;
    let (one, two) = ("one@harbour-mail.net", "two@harbour-mail.net");
    house.put(person("crm", "1", THEN, &[("email", one)], &[])).await;
    house.put(person("shop", "2", THEN, &[("email", two)], &[])).await;
    // Taken back before they were joined: whose it was is known afterwards too.
    house.put(person("till", "2b", THEN, &[("email", two)], &[])).await;
    house.retract("till", "2b", THEN + 1).await;
    let (first, second) = (profile_of(&mut house, "crm", "1").await, profile_of(&mut house, "shop", "2").await);
    // Of a third, half goes back to where it came from, and half stays.
    let (three, four) = ("three@harbour-mail.net", "four@harbour-mail.net");
    house.put(person("crm", "3", THEN, &[("email", three), ("email", four)], &[])).await;
    house.put(person("shop", "3b", THEN, &[("email", four)], &[])).await;
    let third = profile_of(&mut house, "shop", "3b").await;

    house.put(person("till", "x", THEN, &[("email", one), ("email", two), ("email", three)], &[])).await;
    for id in [&second, &third] {
        assert_eq!(house.get(id).await.unwrap().name, first);
    }
    let asked = house.ask_for_erasure(vec![of_profile(&second)]).await.unwrap();
    assert_eq!(house.preview(&asked).await.unwrap().records.len(), 6, "one person, as far as anybody knows");
    house.put(person("crm", "3", THEN + 1, &[("email", one)], &[])).await;
    house.retract("till", "x", THEN + 2).await;

    for alone in [false, true] {
        let now = profile_of(&mut house, "shop", "2").await;
        assert_ne!(now, second, "no id is used again");
        assert_eq!(house.get(&second).await.unwrap().name, now);
        assert_eq!(history(&mut house, &second).await, (pb::ProfileState::Merged, vec![now.clone()]));
        // What joined the two was told of both; taken back, it goes with whoever is erased.
        let joined = told("till", "x", "RETRACTED_SHARING_IDENTIFIER");
        let own = [told("shop", "2", "MEMBER_OF_PROFILE"), told("till", "2b", "RETRACTED_FROM_PROFILE")];
        let wanted: Vec<_> = own.into_iter().chain([joined]).collect();
        assert_eq!(scope(&mut house, of_profile(&second)).await, wanted);
        let mut records = house.preview(&asked).await.unwrap().records;
        records.sort_by(|a, b| a.source.cmp(&b.source));
        let keys: Vec<&str> = records.iter().map(|one| one.key.as_str()).collect();
        assert_eq!(keys, ["2", "2b", "x"], "though it was asked while they were one");
        // What the third stood for is in two.
        let split = house.get(&third).await.unwrap_err();
        assert_eq!(reason(&split), "PROFILE_SPLIT");
        let parts = vec![first.clone(), profile_of(&mut house, "shop", "3b").await];
        assert_eq!(history(&mut house, &third).await, (pb::ProfileState::Split, parts));
        let unclear = request(Kind::Erasure, vec![of_profile(&third)]);
        let unclear = house.privacy.create_privacy_request(unclear).await.unwrap_err();
        assert_eq!(reason(&unclear), "PROFILE_SPLIT");
        house = restart(house, &data, alone).await;
    }
    house.forget(vec![of_profile(&second)]).await.unwrap();
    assert_eq!(house.lookup("email", one).await.unwrap().name, first);
    assert_eq!(reason(&house.get(&second).await.unwrap_err()), "PROFILE_ERASED");
    house.close().await;
}

/// Whoever asks by an address that only a record told which its source took back is asked about whole. Where somebody has the
/// address today, it is they; where it led to several, or the profile came apart since, it names none of them.
#[tokio::test(flavor = "multi_thread")]
async fn who_asks_by_an_address_that_was_taken_back_is_found_whole() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = House::open(&data).await;
    house.sources(&["crm", "shop", "old"]).await;
    let (before, now, phone) = ("before@harbour-mail.net", "now@harbour-mail.net", "+49302000011");
    house.put(person("crm", "a", THEN, &[("email", before), ("phone", phone)], &[])).await;
    house.put(person("shop", "b", THEN, &[("phone", phone), ("email", now)], &[])).await;
    house.retract("crm", "a", THEN + 1).await;
    let whole = [told("crm", "a", "RETRACTED_FROM_PROFILE"), told("shop", "b", "MEMBER_OF_PROFILE")];
    for alone in [false, true] {
        assert_eq!(scope(&mut house, at("email", before)).await, whole, "the key can still be read, and is shown");
        house = restart(house, &data, alone).await;
    }
    // Two profiles had it last.
    let both = "both@harbour-mail.net";
    for (key, user) in [("c", "u-c"), ("d", "u-d")] {
        house.put(person("old", key, THEN, &[("email", both), ("user_id", user)], &[])).await;
        house.put(person("shop", key, THEN, &[("user_id", user)], &[])).await;
        house.retract("old", key, THEN + 1).await;
    }
    let shared =
        house.privacy.create_privacy_request(request(Kind::Access, vec![at("email", both)])).await.unwrap_err();
    assert_eq!(reason(&shared), "IDENTIFIER_SHARED");
    // The profile gave a record away since: with which half the other was nobody knows.
    house.put(person("old", "e", THEN, &[("email", "e@harbour-mail.net"), ("user_id", "u-e")], &[])).await;
    house.put(person("shop", "e", THEN, &[("user_id", "u-e"), ("phone", "+49302000012")], &[])).await;
    house.put(person("crm", "e", THEN, &[("user_id", "u-e")], &[])).await;
    house.retract("old", "e", THEN + 1).await;
    house.put(person("crm", "e", THEN + 1, &[("user_id", "u-f")], &[])).await;
    let alone = [told("old", "e", "RETRACTED_SHARING_IDENTIFIER")];
    assert_eq!(scope(&mut house, at("email", "e@harbour-mail.net")).await, alone);
    // Somebody has it today: they alone are asked about.
    house.put(person("crm", "n", THEN, &[("email", before), ("user_id", "u-n")], &[])).await;
    let shown = scope(&mut house, at("email", before)).await;
    assert!(shown.contains(&told("crm", "n", "MEMBER_OF_PROFILE")), "{shown:?}");
    assert!(!shown.iter().any(|(source, key, _)| (source.as_str(), key.as_str()) == ("shop", "b")), "{shown:?}");
    house.close().await;
}

/// The shop gives a key of Ada's to Bob. Whoever kept her second id, or asks by an address that only a record told which was taken
/// back, is led to Ada or to nobody: neither is Bob's data handed out, nor is he erased in her place. The same by the journal
/// alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_somebody_elses_by_now_leads_nobody_to_them() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = House::open(&data).await;
    house.sources(&["crm", "shop", "old"]).await;
    let (ada, second, bob) = ("ada@harbour-mail.net", "ada2@harbour-mail.net", "bob@harbour-mail.net");
    house.put(person("crm", "m1", THEN, &[("email", ada)], &[])).await;
    house.put(person("shop", "m2", THEN, &[("email", second)], &[])).await;
    let (first, former) = (profile_of(&mut house, "crm", "m1").await, profile_of(&mut house, "shop", "m2").await);
    house.put(person("shop", "m2", THEN + 1, &[("email", second), ("email", ada)], &[])).await;
    assert_eq!(house.get(&former).await.unwrap().name, first);
    house.put(person("shop", "m2", THEN + 2, &[("email", bob)], &[("given_name", "Bob")])).await;
    // An address of Carla's that a record told which was taken back; the one that is left of her is Dario's by now.
    let (carla, dario) = ("carla@harbour-mail.net", "dario@harbour-mail.net");
    let phone = "+49302000013";
    house.put(person("old", "c", THEN, &[("email", carla), ("phone", phone)], &[])).await;
    house.put(person("shop", "c", THEN, &[("phone", phone)], &[])).await;
    house.retract("old", "c", THEN + 1).await;
    house.put(person("shop", "c", THEN + 2, &[("email", dario)], &[])).await;
    // Of one that was emptied the key goes to Edda: she does not get its id.
    house.put(person("old", "e", THEN, &[("email", "before-edda@harbour-mail.net")], &[])).await;
    let emptied = profile_of(&mut house, "old", "e").await;
    house.retract("old", "e", THEN + 1).await;
    house.put(person("old", "e", THEN + 2, &[("email", "edda@harbour-mail.net")], &[])).await;
    for alone in [false, true, true] {
        assert_eq!(house.get(&former).await.unwrap().name, first);
        assert_eq!(history(&mut house, &former).await, (pb::ProfileState::Merged, vec![first.clone()]));
        assert_eq!(scope(&mut house, of_profile(&former)).await, [told("crm", "m1", "MEMBER_OF_PROFILE")]);
        assert_ne!(house.lookup("email", bob).await.unwrap().name, first);
        let taken_back = [told("old", "c", "RETRACTED_SHARING_IDENTIFIER")];
        assert_eq!(scope(&mut house, at("email", carla)).await, taken_back);
        assert_eq!(reason(&house.get(&emptied).await.unwrap_err()), "PROFILE_EMPTIED");
        house = restart(house, &data, alone).await;
    }
    // Ada's record goes to somebody else as well: nobody has what the id stood for.
    house.put(person("crm", "m1", THEN + 3, &[("email", "fritz@harbour-mail.net")], &[])).await;
    for alone in [false, true] {
        assert_eq!(reason(&house.get(&former).await.unwrap_err()), "PROFILE_EMPTIED");
        assert_eq!(history(&mut house, &former).await, (pb::ProfileState::Emptied, Vec::new()));
        house = restart(house, &data, alone).await;
    }
    house.close().await;
}

/// LAW 6: a system is replaced by another. Who was restricted in the old one stays so in the new one, whatever address goes.
#[tokio::test(flavor = "multi_thread")]
async fn a_restriction_goes_along_from_record_to_record() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = House::open(&data).await;
    house.sources(&["crm", "shop", "till"]).await;
    let (mail, user) = ("moves@harbour-mail.net", "u-moves");
    house.put(person("crm", "q", THEN, &[("email", mail)], &[])).await;
    let name = house.restrict(at("email", mail)).await.unwrap();
    house.put(person("shop", "q2", THEN, &[("email", mail), ("user_id", user)], &[])).await;
    house.retract("crm", "q", THEN + 1).await;
    house.put(person("shop", "q2", THEN + 2, &[("user_id", user)], &[])).await;
    let is_restricted = |verdict: &pb::ContactVerdict| reasons(verdict).contains(&"RESTRICTED");
    for alone in [false, true] {
        for subject in [of_record("shop", "q2"), at("user_id", user)] {
            assert!(is_restricted(&house.may(subject, false).await.unwrap()), "{alone}");
        }
        house = restart(house, &data, alone).await;
    }
    // And on to a third system, when the second goes too.
    house.retract("shop", "q2", THEN + 3).await;
    house.put(person("till", "q3", THEN, &[("user_id", user)], &[])).await;
    assert!(is_restricted(&house.may(of_record("till", "q3"), false).await.unwrap()));
    // Not to strangers: whoever has the address next has it without this.
    let stranger = person("crm", "s", THEN, &[("email", "s@harbour-mail.net"), ("user_id", "u-s")], &[]);
    house.put(stranger).await;
    assert!(!is_restricted(&house.may(of_record("crm", "s"), false).await.unwrap()));
    house.privacy.lift_restriction(onefold_tests::privacy::lift(&name)).await.unwrap();
    for alone in [false, true] {
        assert!(!is_restricted(&house.may(of_record("till", "q3"), false).await.unwrap()), "lifted is lifted");
        house = restart(house, &data, alone).await;
    }
    house.close().await;
}
