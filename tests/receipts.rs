//! Receipts of consent in the shape of ISO/IEC TS 27560: what the tenant tells of a purpose and nothing that it does not, and
//! what became of a yes since.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use onefold_core::limits::RECEIPT_EVENTS_MAX;
use onefold_proto::v1 as pb;
use onefold_server::config::Config;
use onefold_tests::consent::{at, of_record, said};
use onefold_tests::{House, person, reason, seconds};
use pb::ConsentDecision::{Denied, Granted, Pending, Suppressed, Withdrawn};
use serde_json::{Value, json};
use tonic_types::StatusExt;

const THEN: i64 = 1_700_000_000;

async fn receipt_for(house: &mut House, statement: &str) -> Value {
    let request = pb::GetConsentReceiptRequest { statement_id: statement.to_owned(), ..Default::default() };
    let found = house.consent.get_consent_receipt(request).await.unwrap().into_inner();
    serde_json::from_str(&found.receipt_json).unwrap()
}

fn terms() -> pb::ReceiptTerms {
    let recipient = |name: &str, role: pb::RecipientRole, jurisdiction: &str| pb::DataRecipient {
        name: name.to_owned(),
        role: role as i32,
        contact: String::new(),
        jurisdiction: jurisdiction.to_owned(),
    };
    pb::ReceiptTerms {
        notice_iri: "https://acme.example/privacy".to_owned(),
        storage_locations: vec!["DE".to_owned(), "eu".to_owned()],
        retention_period: "P3Y".to_owned(),
        recipients: vec![
            recipient("Mail Works", pb::RecipientRole::Processor, "DE"),
            recipient("Ad House", pb::RecipientRole::ThirdParty, ""),
        ],
        rights: vec!["access".to_owned(), "erasure".to_owned()],
        data_sensitivity: pb::DataSensitivity::Sensitive as i32,
        withdrawal_method: "https://acme.example/leave".to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_tells_what_the_tenant_tells_of_a_purpose_and_invents_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = House::open(&data).await;
    house.sources(&["crm"]).await;
    house.put(person("crm", "1", THEN, &[("email", "ada@harbour-mail.net")], &[])).await;
    let version = pb::ConsentSaying { notice_version: "2026-03".to_owned(), ..said(Granted, THEN) };
    let yes = house.say(of_record("crm", "1"), version).await.unwrap().statement_id;
    let everything = pb::ConsentSaying { purpose: String::new(), ..said(Denied, THEN - 5) };
    let no = house.say(at("email", "ada@harbour-mail.net"), everything).await.unwrap().statement_id;

    let plain = receipt_for(&mut house, &yes).await;
    let purpose = plain["consent_record"]["purposes"][0].as_object().unwrap();
    for absent in
        ["privacy_notice", "storage_locations", "retention_period", "recipient_third_parties", "privacy_rights"]
    {
        assert!(!purpose.contains_key(absent), "{absent}: {plain}");
    }
    assert_eq!(purpose["pii_information"].as_object().unwrap().len(), 1, "{plain}");
    let categories: Vec<&str> =
        purpose["pii_information"]["attributes"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    for category in ["identifiers.email", "identifiers.phone", "full_name"] {
        assert!(categories.contains(&category), "identifiers are personal data too: {categories:?}");
    }
    assert_eq!(plain["consent_record"]["privacy_notice"], "2026-03", "nothing but the version is known");
    let offered = plain["consent_record"]["withdrawal_method"].as_str().unwrap();
    assert!(offered.contains("ConsentService.Unsubscribe") && !offered.contains("one-click"), "{offered}");

    let mut policy = house.policy().await.unwrap();
    policy.purposes[0].receipt_terms = Some(terms());
    house.set_policy(policy.clone()).await.unwrap();
    for kept in [None, Some(true), Some(false)] {
        if let Some(checkpoint) = kept {
            house.close().await;
            if !checkpoint {
                std::fs::remove_dir_all(data.join("checkpoint")).unwrap();
            }
            house = House::open_with(Config { one_click: true, ..House::config(&data) }).await;
        }
        let told = receipt_for(&mut house, &yes).await;
        let (record, purpose) = (&told["consent_record"], &told["consent_record"]["purposes"][0]);
        for place in [record, purpose] {
            assert_eq!(place["privacy_notice"], "https://acme.example/privacy", "{kept:?}");
            assert_eq!(place["withdrawal_method"], "https://acme.example/leave");
        }
        assert_eq!(record["privacy_notice_version"], "2026-03");
        assert_eq!(purpose["storage_locations"], json!(["DE", "EU"]));
        assert_eq!(purpose["retention_period"], "P3Y");
        let recipients = json!([
            { "party_name": "Mail Works", "party_role": "processor", "jurisdiction": "DE" },
            { "party_name": "Ad House", "party_role": "third_party" },
        ]);
        assert_eq!(purpose["recipient_third_parties"], recipients);
        assert_eq!(purpose["privacy_rights"], json!(["access", "erasure"]));
        assert_eq!(purpose["pii_information"]["sensitive_pii_category"], true);
        assert_eq!(purpose["pii_information"]["special_pii_category"], false);
        // Of every purpose: what one of them tells is not said of all.
        let all = receipt_for(&mut house, &no).await;
        assert_eq!(all["consent_record"]["purposes"][0]["retention_period"], "P3Y");
        assert_eq!(all["consent_record"]["purposes"][1]["retention_period"], Value::Null);
        assert_eq!(all["consent_record"]["privacy_notice"], Value::Null);
        let offered = all["consent_record"]["withdrawal_method"].as_str().unwrap();
        assert_eq!(offered.contains("one-click"), kept.is_some(), "{offered}");
    }

    policy.purposes[0].receipt_terms = Some(pb::ReceiptTerms { storage_locations: vec!["Mars".to_owned()], ..terms() });
    let refused = house.set_policy(policy).await.unwrap_err();
    assert_eq!(reason(&refused), "REQUEST_INVALID");
    let faults = refused.get_details_bad_request().unwrap().field_violations;
    assert_eq!(faults[0].field, "policy.purposes[0].receipt_terms.storage_locations[0]", "{faults:?}");
    house.close().await;
}

fn word<'a>(event: &'a Value, field: &str) -> &'a str {
    event[field].as_str().unwrap_or("-")
}

/// The events of a receipt: what each brought about, and of which kind it is.
fn course(receipt: &Value) -> Vec<(&str, &str)> {
    let events = receipt["events"].as_array().unwrap().iter();
    events.map(|event| (word(event, "event_state"), word(event, "event_type"))).collect()
}

fn for_all(decision: pb::ConsentDecision, given: i64) -> pb::ConsentSaying {
    pb::ConsentSaying { purpose: String::new(), channel: String::new(), ..said(decision, given) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_tells_what_became_of_a_question_and_of_the_yes_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    house.sources(&["crm", "shop"]).await;
    let phone = ("phone", "+4930123456");
    house.put(person("crm", "1", THEN, &[("email", "ada@harbour-mail.net"), ("user_id", "u1"), phone], &[])).await;
    house.put(person("shop", "2", THEN, &[("email", "bob@harbour-mail.net"), ("user_id", "u2"), phone], &[])).await;
    let mut policy = house.policy().await.unwrap();
    policy.channels[0].double_opt_in = true;
    house.set_policy(policy).await.unwrap();

    let asked = house.say(of_record("crm", "1"), said(Granted, THEN)).await.unwrap();
    assert!(asked.pending);
    let receipt = receipt_for(&mut house, &asked.statement_id).await;
    assert_eq!(course(&receipt), [("requested", "request")]);
    let confirm = pb::ConfirmConsentRequest { confirmation_token: asked.confirmation_token, ..Default::default() };
    let yes = house.consent.confirm_consent(confirm).await.unwrap().into_inner().result.unwrap();
    let receipt = receipt_for(&mut house, &asked.statement_id).await;
    assert_eq!(course(&receipt), [("requested", "request"), ("given", "explicit")]);
    assert_eq!(receipt["events"][0]["confirmed_by"], yes.statement_id.as_str());
    assert_eq!(receipt["events"][1]["confirms"], asked.statement_id.as_str());

    // Elsewhere, and of something else.
    let sms = pb::ConsentSaying { channel: "sms".to_owned(), ..said(Granted, THEN + 1) };
    house.say(of_record("crm", "1"), sms).await.unwrap();
    let support = pb::ConsentSaying { purpose: "support".to_owned(), ..said(Granted, THEN + 1) };
    house.say(of_record("crm", "1"), support).await.unwrap();
    house.say(of_record("shop", "2"), said(Denied, THEN + 1)).await.unwrap();
    // At the telephone of both it is not known who of them spoke.
    house.say(at(phone.0, phone.1), said(Denied, THEN + 2)).await.unwrap();
    assert_eq!(course(&receipt_for(&mut house, &yes.statement_id).await).len(), 2);

    // A link in a message, and a no to everything, are of the same person.
    let issue = pb::IssueUnsubscribeTokenRequest {
        identifier: Some(onefold_tests::identifier("email", "ada@harbour-mail.net")),
        purpose: "marketing".to_owned(),
        ..Default::default()
    };
    let token = house.consent.issue_unsubscribe_token(issue).await.unwrap().into_inner().token;
    let click = pb::UnsubscribeRequest { token, ..Default::default() };
    let click = house.consent.unsubscribe(click).await.unwrap().into_inner().result.unwrap();
    house.say(of_record("crm", "1"), for_all(Suppressed, THEN + 3)).await.unwrap();
    let receipt = receipt_for(&mut house, &yes.statement_id).await;
    let wanted = [("requested", "request"), ("-", "-"), ("given", "explicit"), ("withdrawn", "explicit")];
    assert_eq!(course(&receipt), wanted, "{receipt}");
    assert_eq!(receipt["events"][1]["decision"], "SUPPRESSED", "a hold is no consent, and not its end");
    assert_eq!(receipt["events"][3]["record_id"], click.statement_id.as_str());
    // What it is a receipt of stands in front of them.
    assert_eq!(receipt["consent_record"]["record_id"], yes.statement_id.as_str());
    // The click names an address and every channel: it is the same person, and one yes more that it took back.
    let receipt = receipt_for(&mut house, &click.statement_id).await;
    let channels: Vec<&str> =
        receipt["events"].as_array().unwrap().iter().map(|event| word(event, "channel")).collect();
    assert_eq!(channels, ["email", "sms", "-", "email", "-"], "{receipt}");
    // At the telephone it is that of neither.
    let at_phone = house.statements(at(phone.0, phone.1)).await.unwrap();
    assert_eq!(at_phone.len(), 1);
    assert_eq!(course(&receipt_for(&mut house, &at_phone[0].statement_id).await), [("refused", "explicit")]);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ran_out_is_told_and_what_was_taken_back_before_did_not_run_out() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    house.sources(&["crm"]).await;
    let until = |decision, given, end| pb::ConsentSaying { expire_time: Some(seconds(end)), ..said(decision, given) };
    for key in ["1", "2", "3"] {
        house.put(person("crm", key, THEN, &[("user_id", key)], &[])).await;
    }
    let yes = house.say(of_record("crm", "1"), until(Granted, THEN, THEN + 500)).await.unwrap().statement_id;
    let receipt = receipt_for(&mut house, &yes).await;
    assert_eq!(course(&receipt), [("given", "explicit"), ("expired", "explicit")]);
    assert_eq!(receipt["events"][1]["event_time"], "2023-11-14T22:21:40Z");
    assert_eq!(receipt["events"][1]["record_id"], yes.as_str());
    // A new yes does not undo that the first one ended.
    house.say(of_record("crm", "1"), said(Granted, THEN + 600)).await.unwrap();
    let wanted = [("given", "explicit"), ("expired", "explicit"), ("given", "explicit")];
    assert_eq!(course(&receipt_for(&mut house, &yes).await), wanted);

    let yes = house.say(of_record("crm", "2"), until(Granted, THEN, THEN + 500)).await.unwrap().statement_id;
    house.say(of_record("crm", "2"), for_all(Withdrawn, THEN + 100)).await.unwrap();
    let wanted = [("given", "explicit"), ("withdrawn", "explicit")];
    assert_eq!(course(&receipt_for(&mut house, &yes).await), wanted);

    let asked = house.say(of_record("crm", "3"), until(Pending, THEN, THEN + 500)).await.unwrap().statement_id;
    let wanted = [("requested", "request"), ("expired", "request")];
    assert_eq!(course(&receipt_for(&mut house, &asked).await), wanted, "nobody answered");
    let told = pb::ConsentSaying { lawful_basis: pb::LawfulBasis::Contract as i32, ..said(Granted, THEN + 700) };
    let told = house.say(of_record("crm", "3"), told).await.unwrap().statement_id;
    assert_eq!(course(&receipt_for(&mut house, &told).await)[2], ("given", "notice"), "no yes was asked for");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_course_goes_along_in_a_merge_and_comes_apart_in_a_split() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    house.sources(&["crm", "shop", "web"]).await;
    house.put(person("crm", "1", THEN, &[("email", "ada@harbour-mail.net")], &[])).await;
    house.put(person("shop", "7", THEN, &[("email", "byron@harbour-mail.net")], &[])).await;
    let yes = house.say(of_record("crm", "1"), said(Granted, THEN)).await.unwrap().statement_id;
    house.say(at("email", "byron@harbour-mail.net"), said(Withdrawn, THEN + 5)).await.unwrap();
    let alone = [("given", "explicit")];
    assert_eq!(course(&receipt_for(&mut house, &yes).await), alone);
    let both = [("email", "ada@harbour-mail.net"), ("email", "byron@harbour-mail.net")];
    house.put(person("web", "x", THEN + 1, &both, &[])).await;
    assert_eq!(course(&receipt_for(&mut house, &yes).await), [("given", "explicit"), ("withdrawn", "explicit")]);
    house.retract("web", "x", THEN + 10).await;
    assert_eq!(course(&receipt_for(&mut house, &yes).await), alone);
    // Where the record itself is gone, what stands at it is known still.
    house.retract("crm", "1", THEN + 11).await;
    assert_eq!(course(&receipt_for(&mut house, &yes).await), alone);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_has_a_bound_and_says_what_it_leaves_out() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    house.sources(&["crm"]).await;
    house.put(person("crm", "1", THEN, &[("user_id", "1")], &[])).await;
    let first = house.say(of_record("crm", "1"), said(Granted, THEN)).await.unwrap().statement_id;
    for at in 1..=RECEIPT_EVENTS_MAX as i64 + 1 {
        house.say(of_record("crm", "1"), said(Granted, THEN + at)).await.unwrap();
    }
    let receipt = receipt_for(&mut house, &first).await;
    let events = receipt["events"].as_array().unwrap();
    assert_eq!((events.len(), &receipt["events_left_out"]), (RECEIPT_EVENTS_MAX, &json!(2)));
    assert_eq!(events[0]["record_id"], first.as_str(), "what it is a receipt of is in it");
    let newest = house.statements(of_record("crm", "1")).await.unwrap().pop().unwrap().statement_id;
    assert_eq!(events.last().unwrap()["record_id"], newest.as_str());
    house.close().await;
}
