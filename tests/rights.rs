//! What a person may ask for beside erasure and access, through a real server: restriction and its end, objection, opt-outs,
//! rectification. Each is done whole, follows merges, outlives a restart from a checkpoint and from the journal alone, and
//! goes with an erasure.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::fs;
use std::path::Path;

use onefold_proto::v1 as pb;
use onefold_tests::consent::{at, of_profile, of_record, reasons, said};
use onefold_tests::privacy::{correction, lift, objection, restriction};
use onefold_tests::{House, identifier, person, reason};
use pb::ConsentDecision::{Granted, Suppressed};
use pb::PrivacyRequestKind as Kind;

const THEN: i64 = 1_700_000_000;
const ADA: &str = "ada@harbour-mail.net";

async fn read(house: &mut House, record: (&str, &str), purpose: &str) -> Result<pb::Profile, tonic::Status> {
    let key = pb::lookup_profile_request::Key::Record(onefold_tests::record(record.0, record.1));
    let request = pb::LookupProfileRequest {
        key: Some(key),
        view: pb::ProfileView::Full as i32,
        purpose: purpose.to_owned(),
        ..Default::default()
    };
    Ok(house.profiles.lookup_profile(request).await?.into_inner().profile.unwrap_or_default())
}

/// The value that a profile shows, and the source that says so.
fn golden(profile: &pb::Profile, name: &str) -> Option<(String, String)> {
    let value = profile.values.iter().find(|value| value.name == name)?;
    let Some(pb::golden_value::Value::Text(text)) = &value.value else { return None };
    let record = value.provenance.as_ref()?.record.as_ref()?;
    Some((text.clone(), record.source.clone()))
}

/// Down and up again: from a checkpoint, and from the journal alone.
async fn restart(house: House, data: &Path, alone: bool) -> House {
    house.close().await;
    if alone {
        fs::remove_dir_all(data.join("checkpoint")).unwrap();
    }
    House::open(data).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_restricted_is_kept_and_not_used_until_it_is_lifted() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = House::open(&data).await;
    house.sources(&["crm", "shop"]).await;
    house.put(person("crm", "1", THEN, &[("email", ADA), ("phone", "+49302000001")], &[("given_name", "Ada")])).await;
    house.say(of_record("crm", "1"), said(Granted, THEN)).await.unwrap();
    // Somebody else's telephone too: restricting Ada does not restrict them.
    house.put(person("crm", "2", THEN, &[("phone", "+49302000001"), ("user_id", "u2")], &[])).await;
    house.put(person("crm", "1b", THEN, &[("user_id", "u1"), ("email", ADA)], &[])).await;
    house.say(of_record("crm", "2"), said(Granted, THEN)).await.unwrap();
    // A suppression of before: lifting the restriction must not lift it.
    let bounced = pb::ConsentSaying { purpose: String::new(), channel: String::new(), ..said(Suppressed, THEN + 1) };
    house.say(at("email", ADA), bounced).await.unwrap();
    assert!(read(&mut house, ("crm", "1"), "marketing").await.is_ok());

    let (name, etag) = house.ask_in_scope(Kind::Restriction, at("email", ADA)).await.unwrap();
    let wrong = house.erase(&name, &etag).await.unwrap_err();
    assert_eq!(reason(&wrong), "PRIVACY_REQUEST_KIND");
    let stale = house.privacy.execute_restriction(restriction(&name, &"0".repeat(32))).await.unwrap_err();
    assert_eq!(reason(&stale), "SCOPE_CHANGED");
    let early = house.privacy.lift_restriction(lift(&name)).await.unwrap_err();
    assert_eq!(reason(&early), "NOT_RESTRICTED");
    let mut named = restriction(&name, &etag);
    named.request_id = "7f1c2d34-0a1b-4c5d-8e9f-001122334455".to_owned();
    let done = house.privacy.execute_restriction(named.clone()).await.unwrap().into_inner();
    assert_eq!(done.request.as_ref().unwrap().state(), pb::PrivacyRequestState::Completed);
    assert_eq!(house.privacy.execute_restriction(named).await.unwrap().into_inner(), done, "the same call again");
    let again = house.privacy.execute_restriction(restriction(&name, &etag)).await.unwrap_err();
    assert_eq!(reason(&again), "PRIVACY_REQUEST_STATE");

    for alone in [false, true] {
        let may = house.may(of_record("crm", "1"), false).await.unwrap();
        assert_eq!(reasons(&may), ["RESTRICTED", "SUPPRESSED"]);
        for purpose in ["marketing", "support", "service"] {
            let refused = read(&mut house, ("crm", "1"), purpose).await.unwrap_err();
            assert_eq!(reason(&refused), "PURPOSE_NOT_PERMITTED", "{purpose}");
        }
        assert!(read(&mut house, ("crm", "1"), "").await.is_ok(), "kept, and shown to who asks for no purpose");
        assert!(house.may(of_record("crm", "2"), false).await.unwrap().allowed, "the neighbour is free");
        house = restart(house, &data, alone).await;
    }
    // It follows a merge: a record that comes later and is found to be Ada's is restricted with her.
    house.put(person("shop", "9", THEN, &[("email", "other@harbour-mail.net")], &[("given_name", "Ada")])).await;
    house.say(of_record("shop", "9"), said(Granted, THEN)).await.unwrap();
    assert!(house.may(of_record("shop", "9"), false).await.unwrap().allowed);
    let both = [("email", ADA), ("email", "other@harbour-mail.net")];
    house.put(person("shop", "x", THEN + 1, &both, &[])).await;
    assert_eq!(reasons(&house.may(of_record("shop", "9"), false).await.unwrap()), ["RESTRICTED", "SUPPRESSED"]);
    // Taking in goes on, and a split gives each side its own back.
    house.retract("shop", "x", THEN + 2).await;
    assert!(house.may(of_record("shop", "9"), false).await.unwrap().allowed);

    let lifted = house.privacy.lift_restriction(lift(&name)).await.unwrap().into_inner().request.unwrap();
    let outcomes: Vec<(&str, &str)> =
        lifted.outcomes.iter().map(|done| (done.did.as_str(), done.ground.as_str())).collect();
    assert_eq!(outcomes, [("RESTRICTED", ""), ("LIFTED", "dispute-settled")], "audited");
    let known = house.privacy.lift_restriction(lift(&name)).await.unwrap().into_inner().request.unwrap();
    assert_eq!(known.outcomes.len(), 2, "once");
    for alone in [false, true] {
        assert_eq!(reasons(&house.may(of_record("crm", "1"), false).await.unwrap()), ["SUPPRESSED"]);
        assert!(read(&mut house, ("crm", "1"), "marketing").await.is_ok());
        house = restart(house, &data, alone).await;
    }
    // What was restricted can be erased.
    let (name, etag) = house.ask_in_scope(Kind::Restriction, at("email", ADA)).await.unwrap();
    house.privacy.execute_restriction(restriction(&name, &etag)).await.unwrap();
    let request = house.ask_for_erasure(vec![at("email", ADA)]).await.unwrap();
    let preview = house.preview(&request).await.unwrap();
    assert_eq!((preview.statements, preview.statements_kept), (5, 0), "its own statements go along: {preview:?}");
    house.erase(&request, &preview.etag).await.unwrap();
    let nothing = house.privacy.lift_restriction(lift(&name)).await.unwrap().into_inner().request.unwrap();
    assert!(nothing.outcomes[1].statements.is_empty(), "nothing is left to lift");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_no_to_a_use_stands_at_every_way_to_reach_the_person() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = House::open(&data).await;
    house.sources(&["crm"]).await;
    house.put(person("crm", "1", THEN, &[("email", ADA), ("phone", "+49302000001"), ("user_id", "u1")], &[])).await;
    house.put(person("crm", "2", THEN, &[("phone", "+49302000001"), ("user_id", "u2")], &[])).await;
    house.say(of_record("crm", "1"), said(Granted, THEN)).await.unwrap();
    let (name, etag) = house.ask_in_scope(Kind::Objection, at("email", ADA)).await.unwrap();
    let unknown = house.privacy.execute_objection(objection(&name, &etag, &["marketting"])).await.unwrap_err();
    assert_eq!(reason(&unknown), "REQUEST_INVALID");
    assert!(unknown.message().contains("marketing") || !unknown.details().is_empty());
    let done = house.privacy.execute_objection(objection(&name, &etag, &[])).await.unwrap().into_inner();
    let outcome = done.request.unwrap().outcomes.remove(0);
    assert_eq!((outcome.did.as_str(), outcome.records, outcome.statements.len()), ("OBJECTED", 1, 1));
    for alone in [false, true] {
        for subject in [of_record("crm", "1"), at("email", ADA)] {
            assert_eq!(reasons(&house.may(subject, false).await.unwrap()), ["OBJECTED"]);
        }
        let household = house.holds(at("phone", "+49302000001")).await.unwrap();
        assert_eq!(household.state(), pb::ConsentState::Objected, "no letter box of the household's either");
        house = restart(house, &data, alone).await;
    }
    // A newer yes of the source, from another point than the e-mail address, does not lift it there.
    house.say(of_record("crm", "1"), said(Granted, 1_790_000_000)).await.unwrap();
    assert_eq!(reasons(&house.may(at("email", ADA), false).await.unwrap()), ["OBJECTED"]);

    // California's: what the policy has is found by its term, and where it has nothing, that is said.
    let (name, etag) = house.ask_in_scope(Kind::OptOutSaleShare, at("email", ADA)).await.unwrap();
    let done = house.privacy.execute_objection(objection(&name, &etag, &[])).await.unwrap().into_inner();
    let statement = done.request.unwrap().outcomes[0].statements[0].clone();
    let said = house.statements(of_record("crm", "1")).await.unwrap();
    let sale = said.iter().find(|one| one.statement_id == statement).unwrap();
    assert_eq!(sale.saying.as_ref().unwrap().purpose, "sale_or_sharing");
    let (name, etag) = house.ask_in_scope(Kind::LimitSensitive, at("email", ADA)).await.unwrap();
    let none = house.privacy.execute_objection(objection(&name, &etag, &[])).await.unwrap_err();
    assert_eq!(reason(&none), "PURPOSE_NOT_CONFIGURED");
    assert!(none.message().contains("vocabulary_iri"), "{none}");
    let (name, etag) = house.ask_in_scope(Kind::Objection, at("email", "nobody@harbour-mail.net")).await.unwrap();
    // Of somebody who is not here the no stands at the address that was named.
    house.privacy.execute_objection(objection(&name, &etag, &[])).await.unwrap();
    let held = house.holds(at("email", "nobody@harbour-mail.net")).await.unwrap();
    assert_eq!(held.state(), pb::ConsentState::Objected);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_steward_corrects_outranks_what_sources_send_again() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = House::open(&data).await;
    let source = pb::Source { name: "erp".to_owned(), trust: 1_000, ..Default::default() };
    house.admin.put_source(pb::PutSourceRequest { source: Some(source), ..Default::default() }).await.unwrap();
    house.sources(&["crm"]).await;
    let wrong = [("family_name", "Lovelase"), ("address.city", "Londn"), ("address.street", "St James Sq 12")];
    house.put(person("erp", "1", THEN, &[("email", ADA)], &wrong)).await;
    house.put(person("crm", "1", THEN + 1, &[("email", ADA)], &wrong)).await;
    let (name, etag) = house.ask_in_scope(Kind::Rectification, at("email", ADA)).await.unwrap();
    let empty = house.privacy.execute_rectification(correction(&name, &etag, &[], &[])).await.unwrap_err();
    assert_eq!(reason(&empty), "REQUEST_INVALID");
    let right = [("family_name", "Lovelace"), ("address.city", "London"), ("address.street", "St James Sq 12")];
    let mut bad = correction(&name, &etag, &[], &right);
    bad.identifiers.push(identifier("email", "no address"));
    assert_eq!(reason(&house.privacy.execute_rectification(bad).await.unwrap_err()), "REQUEST_INVALID");
    let mut good = correction(&name, &etag, &[], &right);
    good.identifiers.push(identifier("email", "ada.lovelace@harbour-mail.net"));
    good.request_id = "7f1c2d34-0a1b-4c5d-8e9f-001122334466".to_owned();
    let first = house.privacy.execute_rectification(good.clone()).await.unwrap().into_inner();
    let done = first.request.clone().unwrap();
    assert_eq!((done.outcomes[0].did.as_str(), done.outcomes[0].values), ("RECTIFIED", 4));
    let again = house.privacy.execute_rectification(good.clone()).await.unwrap().into_inner();
    assert_eq!(again, first, "whom it was for is forgotten, and the same call is answered all the same");
    let mut other = good.clone();
    other.attributes.pop();
    assert_eq!(reason(&house.privacy.execute_rectification(other).await.unwrap_err()), "REQUEST_ID_REUSED");
    let unnamed = pb::ExecuteRectificationRequest { request_id: String::new(), ..good.clone() };
    let ended = house.privacy.execute_rectification(unnamed).await.unwrap_err();
    assert_eq!(reason(&ended), "PRIVACY_REQUEST_STATE");

    for alone in [false, true] {
        // Sent again, newer than the correction, by the most trusted source.
        for (source, hours) in [("erp", 1), ("crm", 2)] {
            let at = 1_795_000_000 + hours * 3_600 + i64::from(alone);
            let again = person(source, "1", at, &[("email", ADA)], &wrong);
            house.put(again).await;
        }
        let profile = read(&mut house, ("crm", "1"), "").await.unwrap();
        let from = |value: &str| Some((value.to_owned(), "rectification".to_owned()));
        assert_eq!(golden(&profile, "family_name"), from("Lovelace"), "{profile:?}");
        assert_eq!(golden(&profile, "address.city"), from("London"));
        assert_eq!(golden(&profile, "address.street"), from("St James Sq 12"));
        assert_eq!(profile.record_count, 3);
        let by_new = house.lookup("email", "ada.lovelace@harbour-mail.net").await.unwrap();
        assert_eq!(by_new.name, profile.name, "the corrected address leads to the person");
        house = restart(house, &data, alone).await;
        let again = house.privacy.execute_rectification(good.clone()).await.unwrap().into_inner();
        assert_eq!((again.sequence, again.request.unwrap().outcomes), (first.sequence, done.outcomes.clone()));
    }
    // Nobody sends to the stewards' source, nor makes it less.
    let forged = house.put(person("rectification", "7", THEN, &[("email", ADA)], &[])).await;
    assert_eq!(forged.status(), pb::IngestStatus::Rejected);
    let source = pb::Source { name: "rectification".to_owned(), trust: 1, ..Default::default() };
    let refused = house.admin.put_source(pb::PutSourceRequest { source: Some(source), ..Default::default() }).await;
    assert_eq!(reason(&refused.unwrap_err()), "REQUEST_INVALID");

    let (name, etag) = house.ask_in_scope(Kind::Rectification, at("email", "nobody@harbour-mail.net")).await.unwrap();
    let nobody = house.privacy.execute_rectification(correction(&name, &etag, &[], &right)).await.unwrap_err();
    assert_eq!(reason(&nobody), "SCOPE_EMPTY");
    // It goes with the person.
    let profile = read(&mut house, ("crm", "1"), "").await.unwrap().name;
    let request = house.ask_for_erasure(vec![of_profile(&profile)]).await.unwrap();
    let preview = house.preview(&request).await.unwrap();
    let mut sources: Vec<&str> = preview.records.iter().map(|record| record.source.as_str()).collect();
    sources.sort_unstable();
    assert_eq!(sources, ["crm", "erp", "rectification"]);
    house.erase(&request, &preview.etag).await.unwrap();
    assert_eq!(reason(&house.get(&profile).await.unwrap_err()), "PROFILE_ERASED");
    house.close().await;
}

/// From a Friday in California: opt-outs are due behind fifteen working days, whatever else after forty-five days.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_due_when_the_law_says_of_its_kind() {
    const DAY: i64 = 86_400;
    const FRIDAY: i64 = 1_763_726_400;
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    let table = [
        (Kind::OptOutSaleShare, "CCPA", 21, None),
        (Kind::LimitSensitive, "CCPA", 21, None),
        (Kind::Access, "CCPA", 45, Some(14)),
        (Kind::OptOutSaleShare, "US_STATE", 45, None),
        (Kind::Access, "GDPR", 30, None),
    ];
    for (kind, law, due, acknowledged) in table {
        let request = pb::CreatePrivacyRequestRequest {
            kind: kind as i32,
            regulation: law.to_owned(),
            subjects: vec![at("email", ADA)],
            received_time: Some(prost_types::Timestamp { seconds: FRIDAY, nanos: 0 }),
            ..Default::default()
        };
        let taken = house.privacy.create_privacy_request(request).await.unwrap().into_inner().request.unwrap();
        let days = |time: Option<prost_types::Timestamp>| time.map(|time| (time.seconds - FRIDAY) / DAY);
        assert_eq!((days(taken.due_time), days(taken.acknowledge_time)), (Some(due), acknowledged), "{kind:?} {law}");
    }
    house.close().await;
}
