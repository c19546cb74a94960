//! LAW 6 through a real server: what was said follows the person through merges and comes apart in splits, nothing that
//! was said no to is lost, and every answer names its evidence.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::path::Path;

use onefold_proto::v1 as pb;
use onefold_tests::consent::{at, of_profile, of_record, reasons, said};
use onefold_tests::{House, identifier, person, reason, seconds};
use pb::ConsentDecision::{Denied, Granted, Objected, Pending, Released, Restricted, Suppressed, Withdrawn};
use tokio_stream::StreamExt;
use tonic_types::StatusExt;

const THEN: i64 = 1_700_000_000;

/// Two halves of one person, each with its yes.
async fn two_halves(house: &mut House) {
    house.sources(&["crm", "shop", "web"]).await;
    house.put(person("crm", "1", THEN, &[("email", "ada@acme-corp.com")], &[("given_name", "Ada")])).await;
    house.put(person("shop", "7", THEN, &[("email", "byron@acme-corp.com")], &[("family_name", "Byron")])).await;
    house.say(of_record("crm", "1"), said(Granted, THEN)).await.unwrap();
    house.say(at("email", "byron@acme-corp.com"), said(Granted, THEN)).await.unwrap();
}

/// The record that makes them one.
async fn merge(house: &mut House) -> pb::IngestResult {
    let both = [("email", "ada@acme-corp.com"), ("email", "byron@acme-corp.com")];
    house.put(person("web", "x", THEN + 1, &both, &[])).await
}

#[tokio::test]
async fn a_no_to_one_half_holds_for_the_whole_person_and_each_side_gets_its_own_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    two_halves(&mut house).await;
    let apart = house.may(of_record("shop", "7"), false).await.unwrap();
    assert!(apart.allowed && reasons(&apart) == ["GRANTED"], "{apart:?}");
    let merged = merge(&mut house).await;
    let no = house.say(at("email", "Byron@Acme-Corp.com "), said(Withdrawn, THEN + 5)).await.unwrap();
    for subject in [of_profile(&merged.profile), of_record("crm", "1"), at("email", "ada@acme-corp.com")] {
        let held = house.holds(subject.clone()).await.unwrap();
        assert_eq!(held.state(), pb::ConsentState::Withdrawn);
        assert_eq!(held.decided_by.as_slice(), std::slice::from_ref(&no.statement_id), "law 8");
        let verdict = house.may(subject, true).await.unwrap();
        assert!(!verdict.allowed && verdict.reservation_id.is_empty());
        assert_eq!(reasons(&verdict), ["WITHDRAWN"]);
        assert_eq!(verdict.reasons[0].decided_by.as_slice(), std::slice::from_ref(&no.statement_id));
    }
    house.retract("web", "x", THEN + 10).await;
    let (ada, byron) = (of_record("crm", "1"), of_record("shop", "7"));
    assert_eq!(house.holds(ada.clone()).await.unwrap().state(), pb::ConsentState::Granted);
    assert!(house.may(ada, false).await.unwrap().allowed);
    assert_eq!(house.holds(byron.clone()).await.unwrap().state(), pb::ConsentState::Withdrawn);
    // A newer yes from the same contact point lifts it; one from elsewhere does not.
    house.say(byron.clone(), said(Granted, THEN + 20)).await.unwrap();
    assert_eq!(house.holds(byron.clone()).await.unwrap().state(), pb::ConsentState::Withdrawn);
    house.say(at("email", "byron@acme-corp.com"), said(Granted, THEN + 20)).await.unwrap();
    assert_eq!(house.holds(byron).await.unwrap().state(), pb::ConsentState::Granted);
    house.close().await;
}

#[tokio::test]
async fn a_no_outlives_the_fragment_that_brought_it_and_the_record_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    house.sources(&["crm", "shop"]).await;
    let with = |mut fragment: pb::Fragment, decision, identifier: Option<pb::Identifier>| {
        let saying = pb::ConsentSaying { given_time: None, ..said(decision, 0) };
        fragment.consents = vec![pb::FragmentConsent { saying: Some(saying), identifier }];
        fragment
    };
    let email = [("email", "ada@acme-corp.com")];
    let first = house.put(with(person("crm", "1", THEN, &email, &[]), Withdrawn, None)).await;
    assert_eq!(first.status(), pb::IngestStatus::Accepted);
    house.put(person("shop", "2", THEN, &email, &[])).await;
    // The same fragment again says nothing new; a newer one without statements takes nothing back.
    let again = house.put(with(person("crm", "1", THEN, &email, &[]), Withdrawn, None)).await;
    assert_eq!(again.status(), pb::IngestStatus::Duplicate);
    assert_eq!(house.statements(of_record("crm", "1")).await.unwrap().len(), 1);
    house.put(person("crm", "1", THEN + 5, &email, &[("given_name", "Ada")])).await;
    let held = house.holds(of_record("shop", "2")).await.unwrap();
    assert_eq!(held.state(), pb::ConsentState::Withdrawn);
    // An older fragment that arrives late is superseded, and what it says is heard.
    let late = house.put(with(person("crm", "1", THEN - 5, &email, &[]), Granted, None)).await;
    assert_eq!(late.status(), pb::IngestStatus::Superseded);
    let history = house.statements(of_record("crm", "1")).await.unwrap();
    assert_eq!(history.len(), 2);
    assert_eq!(history[0].saying.as_ref().unwrap().source, "crm", "the record's own source said it");
    assert_eq!(history[0].saying.as_ref().unwrap().given_time, Some(seconds(THEN)));
    // The source forgets its record: the no stands on at the address.
    house.retract("crm", "1", THEN + 10).await;
    assert_eq!(house.holds(of_record("shop", "2")).await.unwrap().state(), pb::ConsentState::Withdrawn);
    assert_eq!(reasons(&house.may(at("email", "ada@acme-corp.com"), false).await.unwrap()), ["WITHDRAWN"]);
    // A statement about the address stays there without any record.
    house
        .put(with(
            person("crm", "3", THEN, &[("email", "c@acme-corp.com")], &[]),
            Objected,
            Some(identifier("email", "c@acme-corp.com")),
        ))
        .await;
    house.retract("crm", "3", THEN + 10).await;
    assert_eq!(reasons(&house.may(at("email", "c@acme-corp.com"), false).await.unwrap()), ["OBJECTED"]);
    // A fragment that breaks its contract waits in quarantine; what it says does not.
    let contract = pb::DataContract { require_any_namespace: vec!["phone".to_owned()], ..Default::default() };
    let source = pb::Source { name: "shop".to_owned(), contract: Some(contract), ..Default::default() };
    house.admin.put_source(pb::PutSourceRequest { source: Some(source), ..Default::default() }).await.unwrap();
    let held = house
        .put(with(person("shop", "2", THEN + 20, &email, &[]), Denied, Some(identifier("email", "d@acme-corp.com"))))
        .await;
    assert_eq!(held.status(), pb::IngestStatus::Quarantined);
    assert_eq!(reasons(&house.may(at("email", "d@acme-corp.com"), false).await.unwrap()), ["DENIED"]);
    // A bad statement refuses the whole fragment, and names the field.
    let mut bad = with(person("shop", "9", THEN, &email, &[]), Granted, None);
    bad.consents[0].saying.as_mut().unwrap().purpose = "marketting".to_owned();
    let refused = house.put(bad).await;
    assert_eq!(refused.status(), pb::IngestStatus::Rejected);
    assert_eq!(refused.faults[0].field, "consents[0].saying.purpose");
    assert!(refused.faults[0].message.contains("`marketing`"), "{}", refused.faults[0].message);
    house.close().await;
}

#[tokio::test]
async fn a_pending_yes_counts_once_it_is_confirmed_and_never_over_a_later_no() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    house.sources(&["crm"]).await;
    let mut policy = house.policy().await.unwrap();
    policy.channels[0].double_opt_in = true;
    house.set_policy(policy).await.unwrap();
    let (ada, eve) = (at("email", "ada@acme-corp.com"), at("email", "eve@acme-corp.com"));
    let asked = house.say(ada.clone(), said(Granted, THEN)).await.unwrap();
    assert!(asked.pending && !asked.confirmation_token.is_empty());
    assert_eq!(reasons(&house.may(ada.clone(), false).await.unwrap()), ["PENDING"]);
    let confirm =
        |token: &str| pb::ConfirmConsentRequest { confirmation_token: token.to_owned(), ..Default::default() };
    for bad in ["", "k_1_00", &asked.statement_id, &asked.confirmation_token.replace('k', "c")] {
        assert_eq!(reason(&house.consent.confirm_consent(confirm(bad)).await.unwrap_err()), "REQUEST_INVALID", "{bad}");
    }
    let yes =
        house.consent.confirm_consent(confirm(&asked.confirmation_token)).await.unwrap().into_inner().result.unwrap();
    let again =
        house.consent.confirm_consent(confirm(&asked.confirmation_token)).await.unwrap().into_inner().result.unwrap();
    assert!(again.known && again.statement_id == yes.statement_id, "a link may be followed twice");
    assert!(house.may(ada.clone(), false).await.unwrap().allowed);
    let history = house.statements(ada).await.unwrap();
    assert_eq!(history[0].confirmed_by, yes.statement_id);
    assert_eq!(history[1].confirms, asked.statement_id);
    let asked = house.say(eve.clone(), said(Pending, THEN)).await.unwrap();
    house.say(eve.clone(), said(Withdrawn, THEN + 1)).await.unwrap();
    house.consent.confirm_consent(confirm(&asked.confirmation_token)).await.unwrap_err();
    assert_eq!(reasons(&house.may(eve, false).await.unwrap()), ["WITHDRAWN"]);
    house.close().await;
}

#[tokio::test]
async fn one_click_is_enough_and_nobody_can_click_for_another() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    house.sources(&["crm"]).await;
    house.put(person("crm", "1", THEN, &[("email", "ada@acme-corp.com")], &[])).await;
    house.say(of_record("crm", "1"), said(Granted, THEN)).await.unwrap();
    let issue = pb::IssueUnsubscribeTokenRequest {
        identifier: Some(identifier("email", "ada@acme-corp.com")),
        purpose: "marketing".to_owned(),
        ..Default::default()
    };
    let token = house.consent.issue_unsubscribe_token(issue).await.unwrap().into_inner().token;
    assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric()), "fit for a link");
    let unsubscribe = |parent: &str, token: &str| pb::UnsubscribeRequest {
        parent: parent.to_owned(),
        token: token.to_owned(),
        ..Default::default()
    };
    let mut bent = token.clone();
    bent.replace_range(60..61, if &token[60..61] == "0" { "1" } else { "0" });
    for bad in ["", "00", bent.as_str()] {
        assert_eq!(reason(&house.consent.unsubscribe(unsubscribe("", bad)).await.unwrap_err()), "REQUEST_INVALID");
    }
    let other = pb::Tenant { name: "tenants/other".to_owned(), ..Default::default() };
    house.admin.create_tenant(pb::CreateTenantRequest { tenant: Some(other), ..Default::default() }).await.unwrap();
    house.consent.unsubscribe(unsubscribe("tenants/other", &token)).await.unwrap_err();
    assert!(house.may(of_record("crm", "1"), false).await.unwrap().allowed, "nothing of this withdrew anything");
    let first = house.consent.unsubscribe(unsubscribe("", &token)).await.unwrap().into_inner().result.unwrap();
    let second = house.consent.unsubscribe(unsubscribe("", &token)).await.unwrap().into_inner().result.unwrap();
    assert!(!first.known && second.known && first.statement_id == second.statement_id);
    assert_eq!(reasons(&house.may(of_record("crm", "1"), false).await.unwrap()), ["WITHDRAWN"]);
    // A no of long ago does not stand for the click of today: a yes from in between comes late, and lifts the old one only.
    let eve = at("email", "eve@acme-corp.com");
    house.say(eve.clone(), said(Withdrawn, THEN)).await.unwrap();
    let issue = pb::IssueUnsubscribeTokenRequest {
        identifier: Some(identifier("email", "eve@acme-corp.com")),
        purpose: "marketing".to_owned(),
        ..Default::default()
    };
    let token = house.consent.issue_unsubscribe_token(issue).await.unwrap().into_inner().token;
    let click = house.consent.unsubscribe(unsubscribe("", &token)).await.unwrap().into_inner().result.unwrap();
    assert!(!click.known, "{click:?}");
    house.say(eve.clone(), said(Granted, THEN + 1)).await.unwrap();
    assert_eq!(reasons(&house.may(eve, false).await.unwrap()), ["WITHDRAWN"]);
    // A yes dated into the future would outlive every later click.
    house.say(at("email", "ada@acme-corp.com"), said(Granted, 4_000_000_000)).await.unwrap_err();
    house.close().await;
}

/// A browser that says "do not sell or share" says no to that use: a yes to it that carries the signal is no clear yes, whichever door
/// it comes by. Of another purpose the signal says nothing.
#[tokio::test]
async fn a_yes_to_sale_or_sharing_that_carries_the_browsers_no_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    house.sources(&["crm"]).await;
    let who = || at("email", "ada@acme-corp.com");
    let signal = |raw: &str| pb::ConsentSignal {
        kind: pb::ConsentSignalKind::Gpc as i32,
        raw: raw.to_owned(),
        ..Default::default()
    };
    let of = |purpose: &str, decision, raw: &str| pb::ConsentSaying {
        purpose: purpose.to_owned(),
        channel: String::new(),
        signals: vec![signal(raw)],
        ..said(decision, THEN)
    };
    for decision in [Granted, Pending] {
        let refused = house.say(who(), of("sale_or_sharing", decision, "1")).await.unwrap_err();
        assert_eq!(reason(&refused), "REQUEST_INVALID");
        let faults = refused.get_details_bad_request().unwrap().field_violations;
        assert_eq!(faults[0].field, "saying.signals[0]", "{faults:?}");
        assert!(faults[0].description.contains("record OBJECTED"), "{faults:?}");
    }
    let mut fragment = person("crm", "1", THEN, &[("email", "ada@acme-corp.com")], &[]);
    let saying = Some(of("sale_or_sharing", Granted, "1"));
    fragment.consents.push(pb::FragmentConsent { identifier: None, saying });
    let rejected = house.put(fragment).await;
    assert_eq!(rejected.status(), pb::IngestStatus::Rejected);
    assert!(rejected.faults.iter().any(|fault| fault.field.ends_with("signals[0]")), "{:?}", rejected.faults);
    // No signal, another purpose, and the no itself.
    house.say(who(), of("sale_or_sharing", Granted, "0")).await.unwrap();
    house.say(who(), of("marketing", Granted, "1")).await.unwrap();
    house.say(who(), of("sale_or_sharing", Objected, "1")).await.unwrap();
    house.close().await;
}

#[tokio::test]
async fn the_past_can_be_asked_and_the_answer_proven() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    house.sources(&["crm"]).await;
    house.put(person("crm", "1", THEN, &[("email", "ada@acme-corp.com")], &[])).await;
    let who = of_record("crm", "1");
    let expires = pb::ConsentSaying { expire_time: Some(seconds(THEN + 500)), ..said(Granted, THEN) };
    let detailed = pb::ConsentSaying {
        notice_version: "newsletter 2026-03".to_owned(),
        jurisdiction: "de".to_owned(),
        evidence: "form 17, line 4".to_owned(),
        signals: vec![pb::ConsentSignal {
            kind: pb::ConsentSignalKind::Gpc as i32,
            raw: "1".to_owned(),
            ..Default::default()
        }],
        ..expires
    };
    let yes = house.say(who.clone(), detailed.clone()).await.unwrap();
    assert!(house.say(who.clone(), detailed).await.unwrap().known, "the same again is the same");
    house.say(who.clone(), said(Withdrawn, THEN + 700)).await.unwrap();
    let states = [
        (THEN - 1, pb::ConsentState::Unknown),
        (THEN + 1, pb::ConsentState::Granted),
        (THEN + 600, pb::ConsentState::Expired),
        (THEN + 700, pb::ConsentState::Withdrawn),
    ];
    for (moment, want) in states {
        let request = pb::GetConsentStateRequest {
            subject: Some(who.clone()),
            purpose: "marketing".to_owned(),
            channel: "email".to_owned(),
            as_of_time: Some(seconds(moment)),
            ..Default::default()
        };
        let found = house.consent.get_consent_state(request).await.unwrap().into_inner();
        assert_eq!(found.states[0].state(), want, "as of {}", moment - THEN);
        assert_eq!(found.states[0].regime(), pb::ConsentRegime::OptIn, "the statement names Germany");
    }
    let known_then = pb::GetConsentStateRequest {
        subject: Some(who.clone()),
        purpose: "marketing".to_owned(),
        channel: "email".to_owned(),
        known_time: Some(seconds(THEN + 1)),
        ..Default::default()
    };
    let found = house.consent.get_consent_state(known_then).await.unwrap().into_inner();
    assert_eq!(found.states[0].state(), pb::ConsentState::Unknown, "nothing had come here by then");
    let request = pb::GetConsentReceiptRequest { statement_id: yes.statement_id.clone(), ..Default::default() };
    let receipt = house.consent.get_consent_receipt(request).await.unwrap().into_inner().receipt_json;
    for field in [
        "\"schema_version\":\"ISO/IEC TS 27560:2023\"",
        "\"privacy_notice\":\"newsletter 2026-03\"",
        "\"privacy_notice_version\":\"newsletter 2026-03\"",
        "\"jurisdiction\":\"DE\"",
        "\"event_state\":\"given\"",
        "\"event_state\":\"expired\"",
        "\"event_state\":\"withdrawn\"",
        "\"evidence\":\"form 17, line 4\"",
        "\"dpv_iri\":\"https://w3id.org/dpv#DirectMarketing\"",
        "\"kind\":\"GPC\"",
        &yes.statement_id,
    ] {
        assert!(receipt.contains(field), "{field} in {receipt}");
    }
    let unknown = pb::GetConsentReceiptRequest { statement_id: "c_1_0".to_owned(), ..Default::default() };
    assert_eq!(reason(&house.consent.get_consent_receipt(unknown).await.unwrap_err()), "STATEMENT_NOT_FOUND");
    house.close().await;
}

#[tokio::test]
async fn holds_end_only_when_they_are_released() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    house.sources(&["crm"]).await;
    house.put(person("crm", "1", THEN, &[("email", "ada@acme-corp.com")], &[])).await;
    let (who, address) = (of_record("crm", "1"), at("email", "ada@acme-corp.com"));
    house.say(who.clone(), said(Granted, THEN)).await.unwrap();
    let all =
        |decision, given| pb::ConsentSaying { purpose: String::new(), channel: String::new(), ..said(decision, given) };
    house.say(address.clone(), all(Suppressed, THEN + 1)).await.unwrap();
    house.say(who.clone(), all(Restricted, THEN + 1)).await.unwrap();
    house.say(address.clone(), said(Granted, THEN + 2)).await.unwrap();
    assert_eq!(reasons(&house.may(who.clone(), false).await.unwrap()), ["RESTRICTED", "SUPPRESSED"]);
    house.say(address, all(Released, THEN + 3)).await.unwrap();
    assert_eq!(reasons(&house.may(who.clone(), false).await.unwrap()), ["RESTRICTED"]);
    house.say(who.clone(), all(Released, THEN + 3)).await.unwrap();
    assert!(house.may(who.clone(), false).await.unwrap().allowed);
    // A no to everything is one statement.
    house.say(who.clone(), all(Objected, THEN + 4)).await.unwrap();
    assert_eq!(reasons(&house.may(who, false).await.unwrap()), ["OBJECTED"]);
    house.close().await;
}

#[tokio::test]
async fn a_read_for_a_purpose_shows_what_the_purpose_may_see() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    house.sources(&["crm"]).await;
    let values = [("given_name", "Ada"), ("birth_date", "1815-12-10")];
    let put =
        house.put(person("crm", "1", THEN, &[("email", "ada@acme-corp.com"), ("tax_id", "12345678")], &values)).await;
    let read = |purpose: &str| pb::GetProfileRequest {
        name: put.profile.clone(),
        view: pb::ProfileView::Full as i32,
        purpose: purpose.to_owned(),
        ..Default::default()
    };
    let refused = house.profiles.get_profile(read("marketing")).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (tonic::Code::PermissionDenied, "PURPOSE_NOT_PERMITTED"));
    assert_eq!(reason(&house.profiles.get_profile(read("marketting")).await.unwrap_err()), "REQUEST_INVALID");
    house.say(of_record("crm", "1"), said(Granted, THEN)).await.unwrap();
    let found = house.profiles.get_profile(read("marketing")).await.unwrap().into_inner();
    let profile = found.profile.unwrap();
    assert_eq!(profile.values.iter().map(|value| value.name.as_str()).collect::<Vec<_>>(), ["given_name"]);
    assert_eq!(profile.identifiers.iter().map(|one| one.namespace.as_str()).collect::<Vec<_>>(), ["email"]);
    let withheld: Vec<&str> = found.withheld.iter().map(|one| one.field.as_str()).collect();
    assert_eq!(withheld, ["identifiers.tax_id", "records", "values.birth_date"]);
    assert!(!format!("{profile:?}").contains("1815"), "what is withheld is nowhere");
    let whole = house.profiles.get_profile(read("")).await.unwrap().into_inner();
    assert!(whole.withheld.is_empty() && whole.profile.unwrap().values.len() == 2);
    house
        .say(of_record("crm", "1"), pb::ConsentSaying { channel: String::new(), ..said(Withdrawn, THEN + 1) })
        .await
        .unwrap();
    house.profiles.get_profile(read("marketing")).await.unwrap_err();
    let key = pb::ProfileKey { key: Some(pb::profile_key::Key::Name(put.profile.clone())) };
    let batch =
        pb::BatchLookupProfilesRequest { keys: vec![key], purpose: "marketing".to_owned(), ..Default::default() };
    let results = house.profiles.batch_lookup_profiles(batch).await.unwrap().into_inner().results;
    assert_eq!(results[0].reason, "PURPOSE_NOT_PERMITTED");
    house.close().await;
}

#[tokio::test]
async fn bad_statements_are_refused_with_every_fault_and_never_end_a_stream() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    house.sources(&["crm"]).await;
    let who = || at("email", "ada@acme-corp.com");
    let undated = pb::ConsentSaying { given_time: None, ..said(Granted, 0) };
    let cases = [
        (who(), undated.clone(), "saying.given_time"),
        (who(), pb::ConsentSaying { purpose: String::new(), ..said(Granted, THEN) }, "saying.purpose"),
        (who(), pb::ConsentSaying { decision: 0, ..said(Granted, THEN) }, "saying.decision"),
        (who(), pb::ConsentSaying { expire_time: Some(seconds(THEN)), ..said(Withdrawn, THEN) }, "saying.expire_time"),
        (who(), pb::ConsentSaying { jurisdiction: "Bavaria".to_owned(), ..said(Granted, THEN) }, "saying.jurisdiction"),
        (who(), pb::ConsentSaying { evidence: "x".repeat(2_000), ..said(Granted, THEN) }, "saying.evidence"),
        (at("email", "no address"), said(Granted, THEN), "subject.identifier.value"),
        (at("e-mail", "ada@acme-corp.com"), said(Granted, THEN), "subject.identifier.namespace"),
        (of_profile("tenants/default/profiles/p_00000000000000000000"), said(Granted, THEN), "subject.profile"),
    ];
    let mut requests = Vec::new();
    for (number, (subject, saying, field)) in (0..).zip(cases.clone()) {
        use tonic_types::StatusExt;
        let status = house.say(subject.clone(), saying.clone()).await.unwrap_err();
        let fields: Vec<String> =
            status.get_details_bad_request().unwrap().field_violations.into_iter().map(|f| f.field).collect();
        assert_eq!(fields, [field]);
        assert!(!status.message().contains("no address"), "no personal data in errors");
        let (subject, saying) = (Some(subject), Some(saying));
        requests.push(pb::StreamConsentsRequest { client_sequence: number, subject, saying, ..Default::default() });
    }
    requests.push(pb::StreamConsentsRequest {
        client_sequence: 99,
        subject: Some(who()),
        saying: Some(said(Granted, THEN)),
        ..Default::default()
    });
    let answers = house.consent.stream_consents(tokio_stream::iter(requests)).await.unwrap().into_inner();
    let answers: Vec<_> = answers.map(Result::unwrap).collect().await;
    assert_eq!(answers.len(), cases.len() + 1);
    for (answer, (.., field)) in answers.iter().zip(&cases) {
        assert_eq!(answer.result.as_ref().unwrap().faults[0].field, *field);
    }
    assert!(!answers[cases.len()].result.as_ref().unwrap().statement_id.is_empty());
    // A named call gets its first answer again.
    let mut named = pb::RecordConsentRequest {
        subject: Some(who()),
        saying: Some(pb::ConsentSaying { given_time: None, ..said(Withdrawn, 0) }),
        request_id: "7f1c2d34-0a1b-4c5d-8e9f-001122334455".to_owned(),
        ..Default::default()
    };
    let first = house.consent.record_consent(named.clone()).await.unwrap().into_inner().result.unwrap();
    let second = house.consent.record_consent(named.clone()).await.unwrap().into_inner().result.unwrap();
    assert_eq!(first, second);
    named.saying.as_mut().unwrap().purpose = "analytics".to_owned();
    assert_eq!(reason(&house.consent.record_consent(named).await.unwrap_err()), "REQUEST_ID_REUSED");
    house.close().await;
}

/// Everything that can be asked about these people.
async fn everything(house: &mut House, people: &[pb::ConsentSubject]) -> Vec<String> {
    let mut all = Vec::new();
    for who in people {
        let request = pb::GetConsentStateRequest { subject: Some(who.clone()), ..Default::default() };
        all.push(format!("{:?}", house.consent.get_consent_state(request).await.map(tonic::Response::into_inner).ok()));
        all.push(format!("{:?}", house.statements(who.clone()).await.ok()));
        let mut verdict = house.may(who.clone(), false).await.unwrap();
        verdict.decide_time = None;
        all.push(format!("{verdict:?}"));
    }
    all.push(format!("{:?}", house.events("", 0).await.unwrap()));
    all
}

fn forget_checkpoints(data: &Path) {
    for file in std::fs::read_dir(data.join("checkpoint")).unwrap() {
        std::fs::remove_file(file.unwrap().path()).unwrap();
    }
}

#[tokio::test]
async fn a_restart_from_a_checkpoint_or_from_the_journal_alone_forgets_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = House::open(&data).await;
    two_halves(&mut house).await;
    house.cap(2).await.unwrap();
    let kept = house.may(of_record("crm", "1"), true).await.unwrap();
    let confirm = pb::ConfirmReservationRequest { reservation_id: kept.reservation_id, ..Default::default() };
    house.consent.confirm_reservation(confirm).await.unwrap();
    house.say(of_record("shop", "7"), said(Withdrawn, THEN + 5)).await.unwrap();
    house.say(at("phone", "(212) 736-5000"), said(Objected, THEN + 4)).await.unwrap();
    house.retract("shop", "7", THEN + 6).await;
    house.put(person("crm", "8", THEN, &[("email", "byron@acme-corp.com"), ("phone", "+12127365000")], &[])).await;
    house.put(person("crm", "9", THEN, &[("email", "c@acme-corp.com")], &[])).await;
    let people =
        [of_record("crm", "1"), of_record("crm", "8"), of_record("crm", "9"), at("email", "byron@acme-corp.com")];
    let before = everything(&mut house, &people).await;
    assert!(before[5].contains("WITHDRAWN"), "the retracted record's no stands at the address: {}", before[5]);
    let events = house.events("", 0).await.unwrap();
    let mut previous = 0;
    for event in &events {
        assert_eq!(event.previous_sequence, previous, "the feed has a gap");
        previous = event.sequence;
    }
    assert!(events.iter().any(|event| event.kind() == pb::ProfileEventKind::ConsentChanged));
    house.close().await;
    let mut house = House::open(&data).await;
    assert_eq!(everything(&mut house, &people).await, before, "from the checkpoint");
    house.close().await;
    forget_checkpoints(&data);
    let mut house = House::open(&data).await;
    assert_eq!(everything(&mut house, &people).await, before, "from the journal alone");
    // Numbers are read otherwise from now on, and what was said at them moves along.
    let tenant =
        pb::Tenant { name: "tenants/default".to_owned(), default_region: "GB".to_owned(), ..Default::default() };
    house.admin.update_tenant(pb::UpdateTenantRequest { tenant: Some(tenant), ..Default::default() }).await.unwrap();
    assert_eq!(house.statements(at("phone", "(212) 736-5000")).await.unwrap().len(), 1);
    // One more may still be sent to Ada today, and not two.
    assert!(house.may(of_record("crm", "1"), true).await.unwrap().allowed);
    assert_eq!(reasons(&house.may(of_record("crm", "1"), true).await.unwrap()), ["CAP_REACHED"]);
    house.close().await;
}

#[tokio::test]
async fn what_was_said_lies_on_the_disk_encrypted() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = House::open(&data).await;
    house.sources(&["crm"]).await;
    let canary = "zanzibar-quokka-17";
    let saying = pb::ConsentSaying { evidence: canary.to_owned(), ..said(Granted, THEN) };
    house.say(at("email", "zanzibar-quokka-17@acme-corp.com"), saying.clone()).await.unwrap();
    house.say(of_record("crm", canary), saying).await.unwrap();
    assert!(house.may(of_record("crm", canary), true).await.unwrap().reasons.len() == 1);
    house.close().await;
    let mut files = vec![data];
    let mut read = 0;
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        read += bytes.len();
        assert!(!bytes.windows(canary.len()).any(|window| window == canary.as_bytes()), "{}", path.display());
    }
    assert!(read > 1_000, "there was something to read");
}

#[tokio::test]
async fn what_is_known_of_one_half_makes_nothing_lawful_to_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    house.sources(&["crm", "shop", "web"]).await;
    let (silent, american) = ("ada@acme-corp.com", "byron@acme-corp.com");
    house.put(person("crm", "1", THEN, &[("email", silent)], &[])).await;
    house.put(person("shop", "7", THEN, &[("email", american)], &[("address.country", "US")])).await;
    assert_eq!(reasons(&house.may(at("email", silent), false).await.unwrap()), ["NOT_GRANTED"]);
    assert_eq!(reasons(&house.may(at("email", american), false).await.unwrap()), ["OPT_OUT_REGIME"]);
    merge(&mut house).await;
    for address in [silent, american] {
        assert_eq!(reasons(&house.may(at("email", address), true).await.unwrap()), ["NOT_GRANTED"], "{address}");
    }
    assert_eq!(house.holds(of_record("shop", "7")).await.unwrap().regime(), pb::ConsentRegime::OptIn);
    // Where the caller knows the law, or a statement names it, that is the law of the half which names none.
    let mut ask = pb::DecideContactRequest {
        subject: Some(at("email", silent)),
        purpose: "marketing".to_owned(),
        channel: "email".to_owned(),
        jurisdiction: "US".to_owned(),
        ..Default::default()
    };
    let claimed = house.consent.decide_contact(ask.clone()).await.unwrap().into_inner().verdict.unwrap();
    assert_eq!(reasons(&claimed), ["OPT_OUT_REGIME"]);
    ask.jurisdiction = "DE".to_owned();
    let claimed = house.consent.decide_contact(ask).await.unwrap().into_inner().verdict.unwrap();
    assert_eq!(reasons(&claimed), ["NOT_GRANTED"]);
    house.retract("web", "x", THEN + 2).await;
    assert_eq!(reasons(&house.may(at("email", american), false).await.unwrap()), ["OPT_OUT_REGIME"], "as before");
    // A country that is none is no law.
    house.put(person("shop", "7", THEN + 3, &[("email", american)], &[("address.country", "Atlantis")])).await;
    assert_eq!(reasons(&house.may(at("email", american), false).await.unwrap()), ["NOT_GRANTED"]);
    house.close().await;
}

#[tokio::test]
async fn a_yes_to_one_address_confirms_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    two_halves(&mut house).await;
    let mut policy = house.policy().await.unwrap();
    policy.channels[0].double_opt_in = true;
    house.set_policy(policy).await.unwrap();
    let waiting = "carol@acme-corp.com";
    house.put(person("crm", "2", THEN, &[("email", waiting)], &[])).await;
    let pending = house.say(at("email", waiting), said(Granted, THEN)).await.unwrap();
    assert!(pending.pending);
    let all = [("email", "ada@acme-corp.com"), ("email", "byron@acme-corp.com"), ("email", waiting)];
    house.put(person("web", "x", THEN + 1, &all, &[])).await;
    let there = house.may(at("email", waiting), true).await.unwrap();
    assert_eq!(reasons(&there), ["PENDING"]);
    assert_eq!(there.reasons[0].decided_by.as_slice(), std::slice::from_ref(&pending.statement_id), "law 8");
    assert_eq!(reasons(&house.may(at("email", "byron@acme-corp.com"), false).await.unwrap()), ["GRANTED"]);
    let confirm = pb::ConfirmConsentRequest { confirmation_token: pending.confirmation_token, ..Default::default() };
    house.consent.confirm_consent(confirm).await.unwrap();
    assert_eq!(reasons(&house.may(at("email", waiting), true).await.unwrap()), ["GRANTED"]);
    house.close().await;
}

#[tokio::test]
async fn a_call_that_is_repeated_after_a_no_is_told_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    two_halves(&mut house).await;
    house.cap(1).await.unwrap();
    let ask = pb::DecideContactRequest {
        subject: Some(of_record("crm", "1")),
        purpose: "marketing".to_owned(),
        channel: "email".to_owned(),
        reserve: true,
        request_id: "0f8fad5b-d9cb-469f-a165-70867728950e".to_owned(),
        ..Default::default()
    };
    let first = house.consent.decide_contact(ask.clone()).await.unwrap().into_inner().verdict.unwrap();
    assert!(first.allowed && !first.reservation_id.is_empty());
    let again = house.consent.decide_contact(ask.clone()).await.unwrap().into_inner().verdict.unwrap();
    assert_eq!((again.allowed, &again.reservation_id), (true, &first.reservation_id), "counted once");
    house.say(of_record("crm", "1"), said(Withdrawn, THEN + 5)).await.unwrap();
    let again = house.consent.decide_contact(ask).await.unwrap().into_inner().verdict.unwrap();
    assert!(!again.allowed);
    assert_eq!(reasons(&again), ["WITHDRAWN"]);
    house.close().await;
}

#[tokio::test]
async fn who_is_known_by_a_shared_number_alone_has_no_more_contacts_under_another_key() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    house.sources(&["crm", "shop", "web"]).await;
    house.cap(1).await.unwrap();
    let phone = [("phone", "+493076543217")];
    let (his, hers) = (
        [("given_name", "Bartholomew"), ("family_name", "Ashworth"), ("birth_date", "1950-03-04")],
        [("given_name", "Xiomara"), ("family_name", "Quintero"), ("birth_date", "1992-11-21")],
    );
    house.put(person("crm", "1", THEN, &phone, &his)).await;
    house.put(person("shop", "1", THEN, &phone, &hers)).await;
    // A steward says that they are two.
    let two = |one: (&str, &str), other: (&str, &str)| pb::JudgeRequest {
        judgements: vec![pb::PairJudgement {
            first: Some(onefold_tests::record(one.0, one.1)),
            second: Some(onefold_tests::record(other.0, other.1)),
            verdict: pb::Verdict::Different as i32,
        }],
        author: "steward".to_owned(),
        reason: "by hand".to_owned(),
        ..Default::default()
    };
    house.reviews.judge(two(("crm", "1"), ("shop", "1"))).await.unwrap();
    for (source, key) in [("crm", "1"), ("shop", "1")] {
        house.say(of_record(source, key), said(Granted, THEN)).await.unwrap();
    }
    assert!(house.may(of_record("crm", "1"), true).await.unwrap().allowed);
    assert!(house.may(of_record("shop", "1"), false).await.unwrap().allowed, "his contact is not hers");
    house.retract("crm", "1", THEN + 1).await;
    house.put(person("web", "7", THEN + 2, &phone, &his)).await;
    house.reviews.judge(two(("web", "7"), ("shop", "1"))).await.unwrap();
    house.say(of_record("web", "7"), said(Granted, THEN + 2)).await.unwrap();
    assert_eq!(reasons(&house.may(of_record("web", "7"), true).await.unwrap()), ["CAP_REACHED"]);
    house.close().await;
}

/// Whose law applies is read from an address as people write it; what cannot be read is noted, and permits nothing by itself.
#[tokio::test(flavor = "multi_thread")]
async fn the_law_of_an_address_is_read_as_people_write_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    house.sources(&["crm", "shop"]).await;
    let mut policy = house.policy().await.unwrap();
    let marketing = policy.purposes.iter_mut().find(|purpose| purpose.name == "marketing").unwrap();
    marketing.default_regime = pb::ConsentRegime::OptOut as i32;
    let strict = |jurisdiction: &str| pb::JurisdictionRegime {
        jurisdiction: jurisdiction.to_owned(),
        regime: pb::ConsentRegime::OptIn as i32,
    };
    marketing.regimes = ["EU", "GB", "BR", "US-CA", "CA-QC"].map(strict).to_vec();
    house.set_policy(policy).await.unwrap();
    let (asks, silent) = ("NOT_GRANTED", "OPT_OUT_REGIME");
    let (country, region) = (Some("attributes[address.country]"), Some("attributes[address.region]"));
    type Row<'a> = (&'a [(&'a str, &'a str)], &'a str, Option<&'a str>);
    let table: &[Row<'_>] = &[
        (&[("address.country", "de")], asks, None),
        (&[("address.country", "DEU")], asks, None),
        (&[("address.country", "Germany")], asks, None),
        (&[("address.country", "Deutschland")], asks, None),
        (&[("address.country", "EL")], asks, None),
        (&[("address.country", "UK")], asks, None),
        (&[("address.country", "United Kingdom")], asks, None),
        (&[("address.country", "Brasil")], asks, None),
        (&[("address.country", "Japan")], silent, None),
        (&[("address.country", "US"), ("address.region", "CA")], asks, None),
        (&[("address.country", "USA"), ("address.region", "California")], asks, None),
        (&[("address.country", "US"), ("address.region", "Texas")], silent, None),
        (&[("address.country", "Canada"), ("address.region", "Québec")], asks, None),
        (&[("address.country", "Canada"), ("address.region", "ON")], silent, None),
        (&[("address.country", "US")], silent, None),
        (&[], silent, None),
        // What is told and cannot be read may be any.
        (&[("address.country", "Germanien")], asks, country),
        (&[("address.country", "QQ")], asks, country),
        (&[("address.country", "US"), ("address.region", "Kalifornien")], asks, region),
        // Of a country without parts of its own the region says nothing.
        (&[("address.country", "Japan"), ("address.region", "Kantō")], silent, None),
    ];
    for (row, (texts, want, note)) in table.iter().enumerate() {
        let mail = format!("law{row}@acme-corp.com");
        let put = house.put(person("crm", &row.to_string(), THEN, &[("email", &mail)], texts)).await;
        assert_eq!(put.status(), pb::IngestStatus::Accepted, "{texts:?}");
        let noted: Vec<&str> = put.faults.iter().map(|fault| fault.field.as_str()).collect();
        assert_eq!(noted, note.iter().copied().collect::<Vec<_>>(), "{texts:?}");
        assert!(put.faults.iter().all(|fault| !fault.message.contains("Kalifornien")), "{:?}", put.faults);
        let verdict = house.may(at("email", &mail), false).await.unwrap();
        assert_eq!(reasons(&verdict), [*want], "{texts:?}");
    }
    // Another record of theirs whose country is known answers for itself alone; whoever knows the law says it.
    let unread = table.iter().position(|(_, _, note)| *note == country).unwrap();
    let mail = format!("law{unread}@acme-corp.com");
    house.put(person("shop", "known", THEN, &[("email", &mail)], &[("address.country", "JP")])).await;
    assert_eq!(reasons(&house.may(at("email", &mail), false).await.unwrap()), [asks]);
    let request = pb::DecideContactRequest {
        subject: Some(at("email", &mail)),
        purpose: "marketing".to_owned(),
        channel: "email".to_owned(),
        jurisdiction: "JP".to_owned(),
        ..Default::default()
    };
    let verdict = house.consent.decide_contact(request).await.unwrap().into_inner().verdict.unwrap();
    assert_eq!(reasons(&verdict), [silent]);
    house.close().await;
}
