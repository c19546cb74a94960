//! LAW 6 where things come out of order: a no that comes after its record was retracted, or with a fragment that is held in
//! quarantine, is heard as if it had come in time. LAW 2: by the same people, whichever came first.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::path::Path;

use onefold_proto::v1 as pb;
use onefold_server::clock::{Clock, SystemClock};
use onefold_tests::child::Launch;
use onefold_tests::consent::{at, of_record, reasons, said};
use onefold_tests::{House, journey, person, reason};
use pb::ConsentDecision::{Granted, Objected, Withdrawn};

const THEN: i64 = 1_790_000_000;

fn mail(who: usize) -> String {
    format!("late{who}@harbour-mail.net")
}

fn says(mut fragment: pb::Fragment, decision: pb::ConsentDecision, given: i64) -> pb::Fragment {
    fragment.consents.push(pb::FragmentConsent { identifier: None, saying: Some(said(decision, given)) });
    fragment
}

/// A record of the shop's with this address, which says yes.
async fn yes(house: &mut House, who: usize) {
    let fragment = person("shop", &who.to_string(), THEN, &[("email", &mail(who))], &[]);
    house.put(says(fragment, Granted, THEN)).await;
}

async fn answers(house: &mut House, who: usize) -> Vec<String> {
    let verdict = house.may(at("email", &mail(who)), false).await.unwrap();
    reasons(&verdict).into_iter().map(str::to_owned).collect()
}

async fn restart(house: House, data: &Path, alone: bool) -> House {
    house.close().await;
    if alone {
        std::fs::remove_dir_all(data.join("checkpoint")).unwrap();
    }
    House::open(data).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_no_of_a_retracted_record_is_heard_whenever_it_comes() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = House::open(&data).await;
    house.sources(&["crm", "shop"]).await;
    for who in 0..6 {
        yes(&mut house, who).await;
    }
    let known = |who: usize, at: i64| person("crm", &who.to_string(), at, &[("email", &mail(who))], &[]);
    let no = |who: usize, at: i64| says(known(who, at), Withdrawn, THEN + 50);
    // In its order; after the retraction; where the retraction came first of all.
    house.put(known(0, THEN)).await;
    house.put(no(0, THEN + 50)).await;
    house.retract("crm", "0", THEN + 90).await;
    house.put(known(1, THEN)).await;
    house.retract("crm", "1", THEN + 90).await;
    assert_eq!(house.put(no(1, THEN + 50)).await.status(), pb::IngestStatus::Superseded);
    house.retract("crm", "2", THEN + 90).await;
    assert_eq!(house.put(no(2, THEN + 50)).await.status(), pb::IngestStatus::Superseded);
    // By a call about a record that is not there any more.
    house.put(known(3, THEN)).await;
    house.retract("crm", "3", THEN + 90).await;
    house.say(of_record("crm", "3"), said(Withdrawn, THEN + 50)).await.unwrap();
    // The record's last word before the retraction was another address: it is that which the no is about.
    house.put(person("crm", "4", THEN, &[("email", &mail(4))], &[])).await;
    house.retract("crm", "4", THEN + 90).await;
    house.put(says(person("crm", "4", THEN + 50, &[("email", &mail(5))], &[]), Withdrawn, THEN + 50)).await;
    for alone in [false, true] {
        for who in [0, 1, 2, 3, 5] {
            assert_eq!(answers(&mut house, who).await, ["WITHDRAWN"], "{who}, from the journal alone: {alone}");
        }
        assert_eq!(answers(&mut house, 4).await, ["GRANTED"]);
        house = restart(house, &data, alone).await;
    }
    // Back again, and of somebody else: it is the record's own.
    house.put(person("crm", "1", THEN + 100, &[("email", "other@harbour-mail.net")], &[])).await;
    assert_eq!(answers(&mut house, 1).await, ["GRANTED"]);
    let other = house.may(at("email", "other@harbour-mail.net"), false).await.unwrap();
    assert_eq!(reasons(&other), ["WITHDRAWN"]);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_no_in_quarantine_is_heard_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = House::open(&data).await;
    house.sources(&["crm", "shop"]).await;
    journey::contract(&mut house, true).await;
    for who in 0..2 {
        yes(&mut house, who).await;
    }
    let broken = |who: usize| person("ledger", &who.to_string(), THEN, &[("email", &mail(who))], &[]);
    for _ in 0..2 {
        let held = house.put(says(broken(0), Withdrawn, THEN + 50)).await;
        assert_eq!(held.status(), pb::IngestStatus::Quarantined);
    }
    house.put(broken(1)).await;
    for alone in [false, true] {
        assert_eq!(answers(&mut house, 0).await, ["WITHDRAWN"], "from the journal alone: {alone}");
        assert_eq!(answers(&mut house, 1).await, ["GRANTED"]);
        house = restart(house, &data, alone).await;
    }
    // Mended, it says so itself; of another address it says nothing of this one.
    journey::contract(&mut house, false).await;
    house.put(person("ledger", "0", THEN + 100, &[("email", "other@harbour-mail.net")], &[])).await;
    assert_eq!(answers(&mut house, 0).await, ["GRANTED"]);
    house.close().await;
}

/// A record links otherwise since the configuration changed, says no, and is taken back: where the no is heard is the same behind a
/// kill, whether the record came before the last checkpoint or behind it.
#[tokio::test(flavor = "multi_thread")]
async fn a_no_is_heard_by_what_its_record_linked_by_when_it_was_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let launch = Launch::new(env!("CARGO_BIN_EXE_onefold-test-server"), &data);
    let (child, mut clients) = launch.start().await;
    clients.sources(&["crm", "shop"]).await;
    // Numbers without a country's code, which nobody can read yet.
    let number = |who: usize| format!("30 123456{}", 7 + who);
    let unreadable = |who: usize| {
        let phone = format!("0{}", number(who));
        person("crm", &who.to_string(), THEN, &[("phone", &phone)], &[])
    };
    clients.put(unreadable(0)).await;
    drop(clients);
    child.stop();
    let (mut child, mut clients) = launch.start().await;
    for who in 1..3 {
        clients.put(unreadable(who)).await;
    }
    clients.read_numbers_in("DE").await;
    for who in 0..3 {
        let phone = format!("+49 {}", number(who));
        let shop = person("shop", &who.to_string(), THEN, &[("phone", &phone)], &[]);
        clients.put(says(shop, Granted, THEN)).await;
        clients.say(of_record("crm", &who.to_string()), said(Withdrawn, THEN + 50)).await.unwrap();
        clients.retract("crm", &who.to_string(), THEN + 90).await;
    }
    for start in 0..3 {
        for who in 0..3 {
            let phone = format!("+49 {}", number(who));
            for subject in [at("phone", &phone), of_record("shop", &who.to_string())] {
                let verdict = clients.may(subject, false).await.unwrap();
                assert_eq!(reasons(&verdict), ["WITHDRAWN"], "{who} at start {start}");
            }
        }
        drop(clients);
        child.kill();
        if start == 1 {
            std::fs::remove_dir_all(data.join("checkpoint")).unwrap();
        }
        (child, clients) = launch.start().await;
    }
    drop(clients);
    child.stop();
}

/// A no that names a country with an opt-out rule, said of another purpose: heard from elsewhere, it makes nothing lawful that was
/// not without it.
#[tokio::test(flavor = "multi_thread")]
async fn the_law_of_a_no_that_is_only_heard_allows_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = House::open(&data).await;
    house.sources(&["crm", "shop"]).await;
    journey::contract(&mut house, true).await;
    let no = || pb::ConsentSaying {
        purpose: "sale_or_sharing".to_owned(),
        channel: "sms".to_owned(),
        jurisdiction: "US".to_owned(),
        ..said(Objected, THEN + 50)
    };
    let of = |source: &str, who: usize| person(source, &who.to_string(), THEN, &[("email", &mail(who))], &[]);
    // In quarantine, beside a person and where nobody is; of a record that is taken back; and taken in, for comparison.
    let with_no = |mut fragment: pb::Fragment| {
        fragment.consents.push(pb::FragmentConsent { identifier: None, saying: Some(no()) });
        fragment
    };
    house.put(of("shop", 0)).await;
    for who in 0..2 {
        assert_eq!(house.put(with_no(of("ledger", who))).await.status(), pb::IngestStatus::Quarantined);
    }
    house.put(of("shop", 2)).await;
    house.put(with_no(of("crm", 2))).await;
    house.retract("crm", "2", THEN + 90).await;
    house.put(with_no(of("crm", 3))).await;
    house.retract("crm", "3", THEN + 90).await;
    house.put(of("shop", 4)).await;
    house.put(with_no(of("crm", 4))).await;
    for alone in [false, true] {
        for who in 0..5 {
            let why = answers(&mut house, who).await;
            assert!(
                why.iter().any(|reason| reason == "NOT_GRANTED"),
                "{who}: {why:?}, from the journal alone: {alone}"
            );
        }
        for who in [0, 2, 4] {
            let key = pb::lookup_profile_request::Key::Identifier(onefold_tests::identifier("email", &mail(who)));
            let request =
                pb::LookupProfileRequest { key: Some(key), purpose: "marketing".to_owned(), ..Default::default() };
            let refused = house.profiles.lookup_profile(request).await.unwrap_err();
            assert_eq!(reason(&refused), "PURPOSE_NOT_PERMITTED", "{who}");
        }
        house = restart(house, &data, alone).await;
    }
    // Said of the person themselves, it tells their law.
    house.say(at("email", &mail(0)), no()).await.unwrap();
    assert_eq!(answers(&mut house, 0).await, ["OPT_OUT_REGIME"]);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_sent_every_night_lifts_no_no() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = House::open(&data).await;
    house.sources(&["shop"]).await;
    let nightly = |night: i64| {
        let mut fragment = person("shop", "0", THEN + night * 86_400, &[("email", &mail(0))], &[]);
        let identifier = Some(onefold_tests::identifier("email", &mail(0)));
        let saying = Some(pb::ConsentSaying { given_time: None, ..said(Granted, 0) });
        fragment.consents.push(pb::FragmentConsent { identifier, saying });
        fragment
    };
    house.put(nightly(0)).await;
    assert_eq!(answers(&mut house, 0).await, ["GRANTED"]);
    house.put(nightly(1)).await;
    let told = house.statements(at("email", &mail(0))).await.unwrap();
    assert_eq!(told.len(), 1, "one statement, however often it comes: {told:?}");
    assert_eq!(told[0].saying.as_ref().unwrap().given_time, None, "nobody said when");
    let receipt = pb::GetConsentReceiptRequest { statement_id: told[0].statement_id.clone(), ..Default::default() };
    let receipt = house.consent.get_consent_receipt(receipt).await.unwrap().into_inner().receipt_json;
    let receipt: serde_json::Value = serde_json::from_str(&receipt).unwrap();
    let event = &receipt["events"][0];
    assert_eq!((&event["event_time"], &event["undated"]), (&serde_json::Value::Null, &true.into()), "{event}");
    house.say(at("email", &mail(0)), said(Withdrawn, THEN + 86_500)).await.unwrap();
    for alone in [false, true] {
        house.put(nightly(2 + i64::from(alone))).await;
        assert_eq!(answers(&mut house, 0).await, ["WITHDRAWN"]);
        house = restart(house, &data, alone).await;
    }
    assert_eq!(answers(&mut house, 0).await, ["WITHDRAWN"]);
    // Who says when does.
    house.say(at("email", &mail(0)), said(Granted, THEN + 3 * 86_400)).await.unwrap();
    assert_eq!(answers(&mut house, 0).await, ["GRANTED"]);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_click_is_recorded_though_the_no_of_a_retracted_record_is_heard_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    house.sources(&["crm", "shop"]).await;
    yes(&mut house, 0).await;
    house.put(person("crm", "0", THEN, &[("email", &mail(0))], &[])).await;
    let now = SystemClock.now().0 / 1_000_000;
    house.say(of_record("crm", "0"), said(Withdrawn, now)).await.unwrap();
    house.retract("crm", "0", now).await;
    assert_eq!(answers(&mut house, 0).await, ["WITHDRAWN"]);
    let issue = pb::IssueUnsubscribeTokenRequest {
        identifier: Some(onefold_tests::identifier("email", &mail(0))),
        purpose: "marketing".to_owned(),
        channel: "email".to_owned(),
        ..Default::default()
    };
    let token = house.consent.issue_unsubscribe_token(issue).await.unwrap().into_inner().token;
    house.consent.unsubscribe(pb::UnsubscribeRequest { token, ..Default::default() }).await.unwrap();
    // The record turns out to be somebody else's, and takes its own no along.
    house.put(person("crm", "0", now + 10, &[("email", "other@harbour-mail.net")], &[])).await;
    assert_eq!(answers(&mut house, 0).await, ["WITHDRAWN"], "what was clicked stays");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_way_of_asking_passes_over_who_said_no() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    house.sources(&["crm", "shop"]).await;
    // Blocked, so that it links nobody: somebody holds it all the same.
    yes(&mut house, 0).await;
    house.say(at("email", &mail(0)), said(Granted, THEN)).await.unwrap();
    house.say(of_record("shop", "0"), said(Withdrawn, THEN + 50)).await.unwrap();
    assert_eq!(answers(&mut house, 0).await, ["WITHDRAWN"]);
    let list = pb::ListNamespacesRequest::default();
    let all = house.admin.list_namespaces(list).await.unwrap().into_inner().namespaces;
    let mut email = all.into_iter().find(|namespace| namespace.name == "email").unwrap();
    email.blocked_values.push(mail(0));
    let request = pb::PutNamespaceRequest { namespace: Some(email), ..Default::default() };
    house.admin.put_namespace(request).await.unwrap();
    assert_eq!(answers(&mut house, 0).await, ["IDENTIFIER_SHARED"]);
    assert_eq!(reasons(&house.may(of_record("shop", "0"), false).await.unwrap()), ["WITHDRAWN"]);

    // A company's address at which a person turns up.
    let desk = mail(1);
    house.put(onefold_tests::organisation("crm", "firm", THEN, &[("email", &desk)], &[])).await;
    house.say(of_record("crm", "firm"), said(Withdrawn, THEN + 50)).await.unwrap();
    assert_eq!(answers(&mut house, 1).await, ["WITHDRAWN"]);
    yes(&mut house, 1).await;
    assert_eq!(answers(&mut house, 1).await, ["WITHDRAWN"], "whoever opens the letter");
    assert_eq!(reasons(&house.may(of_record("shop", "1"), false).await.unwrap()), ["GRANTED"], "the person alone");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_said_with_a_fragment_in_quarantine_goes_with_its_person() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    house.sources(&["crm", "shop"]).await;
    journey::contract(&mut house, true).await;
    let broken = person("ledger", "0", THEN, &[("email", &mail(0))], &[]);
    let held = house.put(says(broken, Withdrawn, THEN + 50)).await;
    assert_eq!(held.status(), pb::IngestStatus::Quarantined);
    let statement_id = house.statements(at("email", &mail(0))).await.unwrap().remove(0).statement_id;
    let receipt = || pb::GetConsentReceiptRequest { statement_id: statement_id.clone(), ..Default::default() };
    house.consent.get_consent_receipt(receipt()).await.unwrap();
    let request = house.ask_for_erasure(vec![at("email", &mail(0))]).await.unwrap();
    let preview = house.preview(&request).await.unwrap();
    assert_eq!((preview.quarantined, preview.statements), (1, 1), "{preview:?}");
    house.erase(&request, &preview.etag).await.unwrap();
    assert_eq!(reason(&house.consent.get_consent_receipt(receipt()).await.unwrap_err()), "STATEMENT_NOT_FOUND");
    house.close().await;
}

/// Whoever follows the feed hears of a no that begins, or ceases, to be heard at somebody's address, as of any change of consent.
#[tokio::test(flavor = "multi_thread")]
async fn the_feed_tells_where_a_no_begins_and_ends_to_be_heard() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = House::open(&data).await;
    house.sources(&["crm", "shop"]).await;
    journey::contract(&mut house, true).await;
    for who in 0..3 {
        yes(&mut house, who).await;
    }
    house.say(of_record("ledger", "x"), said(Withdrawn, THEN + 1)).await.unwrap();
    house.put(person("crm", "7", THEN, &[("email", "seven@harbour-mail.net")], &[])).await;
    house.say(of_record("crm", "7"), said(Withdrawn, THEN + 5)).await.unwrap();
    house.retract("crm", "7", THEN + 9).await;
    let mut cursor = house.events("", 0).await.unwrap().last().unwrap().sequence;
    let mut told = async |house: &mut House, who: usize, reason: &str, why: &str| {
        assert_eq!(answers(house, who).await, [reason], "{why}");
        let profile = house.lookup("email", &mail(who)).await.unwrap().name;
        let events = house.events("", cursor).await.unwrap();
        let is_told = |event: &&pb::ProfileEvent| event.kind() == pb::ProfileEventKind::ConsentChanged;
        let concerned: Vec<&str> = events.iter().filter(is_told).map(|event| event.profile.as_str()).collect();
        assert!(concerned.contains(&profile.as_str()), "{why}: {events:?}");
        cursor = events.last().unwrap().sequence;
    };
    let held = house.put(person("ledger", "x", THEN + 2, &[("email", &mail(0))], &[])).await;
    assert_eq!(held.status(), pb::IngestStatus::Quarantined);
    told(&mut house, 0, "WITHDRAWN", "a fragment of its record waits").await;
    let newer = person("ledger", "x", THEN + 3, &[("email", "newer@harbour-mail.net")], &[("plan", "gold")]);
    assert_eq!(house.put(newer).await.status(), pb::IngestStatus::Accepted);
    told(&mut house, 0, "GRANTED", "a newer one came").await;

    let late = house.put(person("crm", "7", THEN + 6, &[("email", &mail(2))], &[])).await;
    assert_eq!(late.status(), pb::IngestStatus::Superseded);
    told(&mut house, 2, "WITHDRAWN", "what the record said last came late").await;
    house.put(person("crm", "7", THEN + 20, &[("email", "back@harbour-mail.net")], &[])).await;
    told(&mut house, 2, "GRANTED", "the record is back, and is somebody else's").await;
    let end = house.events("", 0).await.unwrap().last().unwrap().sequence;
    for alone in [false, true] {
        house = restart(house, &data, alone).await;
        assert!(house.events("", end).await.unwrap().is_empty(), "a start tells nothing again, alone: {alone}");
    }
    house.close().await;
}
