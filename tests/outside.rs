//! Identifiers that are held outside live profiles: what a deletion list is compared with beside these. Each place where one is held
//! says so, as a live profile would show it; of whom is erased, live or another tenant's there is nothing.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use onefold_proto::v1 as pb;
use onefold_tests::consent::{at, of_record, said};
use onefold_tests::traffic::Message;
use onefold_tests::{Clients, House, journey, person, reason};
use pb::ConsentDecision::Withdrawn;
use pb::HeldPlace::{Quarantine, RetractedRecord, Statement};
use pb::IngestStatus::Quarantined;

const THEN: i64 = 1_790_000_000;

fn mail(who: &str) -> String {
    format!("{who}@harbour-mail.net")
}

type Told = BTreeSet<(pb::HeldPlace, String, String, bool)>;

async fn told(clients: &mut Clients, parent: &str) -> Told {
    let request = pb::StreamHeldIdentifiersRequest { parent: parent.to_owned() };
    let mut stream = clients.privacy.stream_held_identifiers(request).await.unwrap().into_inner();
    let mut told = Told::new();
    let mut all = Vec::new();
    while let Some(some) = stream.message().await.unwrap() {
        assert!(!some.held.is_empty());
        all.extend(some.held);
    }
    for held in all {
        let at = held.place();
        assert!(!held.identifiers.is_empty());
        told.extend(held.identifiers.into_iter().map(|one| (at, one.namespace, one.value, one.shared)));
    }
    told
}

fn want(of: &[(pb::HeldPlace, &str, &str, bool)]) -> Told {
    of.iter()
        .map(|(at, namespace, value, shared)| (*at, (*namespace).to_owned(), (*value).to_owned(), *shared))
        .collect()
}

/// Down and up again: from a checkpoint, and from the journal alone.
async fn restart(house: House, data: &Path, alone: bool) -> House {
    house.close().await;
    if alone {
        std::fs::remove_dir_all(data.join("checkpoint")).unwrap();
    }
    House::open(data).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_live_profile_shows_is_told_place_by_place_and_nothing_of_whom_is_erased() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = House::open(&data).await;
    house.sources(&["crm"]).await;
    journey::contract(&mut house, true).await;
    let put = |key: &str, identifiers: &[(&str, &str)]| person("crm", key, THEN, identifiers, &[]);

    house.put(put("live", &[("email", &mail("live"))])).await;
    house.say(at("email", " Said@Harbour-Mail.NET "), said(Withdrawn, THEN)).await.unwrap();
    house.say(of_record("crm", "live"), said(Withdrawn, THEN)).await.unwrap();
    // An address in its place and a number; one in a text; one that is no address as a whole.
    let phone = "+14155552671";
    let broken = person("ledger", "1", THEN, &[("email", &mail("Waits")), ("phone", phone)], &[]);
    assert_eq!(house.put(broken).await.status(), Quarantined);
    let broken = person("ledger", "2", THEN, &[], &[("note", "write to noted@harbour-mail.net")]);
    assert_eq!(house.put(broken).await.status(), Quarantined);
    house.put(put("gone", &[("email", &mail("gone")), ("crm_id", "Gone7")])).await;
    house.retract("crm", "gone", THEN + 1).await;
    // It was two persons': it leads to neither.
    for user in ["u1", "u2"] {
        house.put(put(user, &[("email", &mail("two")), ("user_id", user)])).await;
        house.retract("crm", user, THEN + 1).await;
    }
    // An address of nobody in particular.
    house.put(put("robot", &[("email", &mail("noreply"))])).await;
    house.retract("crm", "robot", THEN + 1).await;
    // Taken back and told again; taken back without ever having been told.
    house.put(put("back", &[("email", &mail("back"))])).await;
    house.retract("crm", "back", THEN + 1).await;
    house.put(person("crm", "back", THEN + 2, &[("email", &mail("back"))], &[])).await;
    house.retract("crm", "unheard", THEN + 1).await;

    let all = [
        (Statement, "email", "said@harbour-mail.net", false),
        (Quarantine, "email", "waits@harbour-mail.net", false),
        (Quarantine, "phone", phone, false),
        (Quarantine, "email", "noted@harbour-mail.net", false),
        (RetractedRecord, "email", "gone@harbour-mail.net", false),
        (RetractedRecord, "crm_id", "Gone7", false),
        (RetractedRecord, "email", "noreply@harbour-mail.net", true),
        (RetractedRecord, "email", "two@harbour-mail.net", true),
        (RetractedRecord, "user_id", "u1", false),
        (RetractedRecord, "user_id", "u2", false),
    ];
    for alone in [false, true] {
        let told = told(&mut house, "").await;
        assert_eq!(told, want(&all), "from the journal alone next: {alone}");
        house = restart(house, &data, alone).await;
    }
    // Restricted is held.
    house.restrict(at("email", &mail("said"))).await.unwrap();
    assert!(told(&mut house, "").await.is_superset(&want(&all)));

    // Each by itself: all that the place holds goes, and nothing else.
    let mut left = want(&all);
    let mut gone = 0;
    for who in ["said", "waits", "noted", "gone"] {
        house.forget(vec![at("email", &mail(who))]).await.unwrap();
        let is_with = |value: &str| match who {
            "waits" => value == phone || value == "waits@harbour-mail.net",
            "gone" => value == "Gone7" || value == "gone@harbour-mail.net",
            _ => value == mail(who),
        };
        gone += left.len();
        left.retain(|(_, _, value, _)| !is_with(value));
        gone -= left.len();
        assert_eq!(told(&mut house, "").await, left, "{who}");
    }
    assert_eq!(gone, 6);
    for alone in [false, true] {
        house = restart(house, &data, alone).await;
        assert_eq!(told(&mut house, "").await, left, "{alone}");
    }
    // Named by the record, what was two persons' goes one by one, and what is left leads to whom it is left of.
    for key in ["u1", "robot"] {
        house.forget(vec![of_record("crm", key)]).await.unwrap();
    }
    let of_one = [(RetractedRecord, "email", "two@harbour-mail.net", false), (RetractedRecord, "user_id", "u2", false)];
    assert_eq!(told(&mut house, "").await, want(&of_one));

    let tenant = pb::Tenant { name: "tenants/south".to_owned(), ..Default::default() };
    let request = pb::CreateTenantRequest { tenant: Some(tenant), ..Default::default() };
    house.admin.create_tenant(request).await.unwrap();
    assert_eq!(told(&mut house, "tenants/south").await, Told::new());
    let request = pb::StreamHeldIdentifiersRequest { parent: "tenants/unheard".to_owned() };
    let refused = house.privacy.stream_held_identifiers(request).await.unwrap_err();
    assert_eq!(reason(&refused), "TENANT_UNKNOWN");
    house.close().await;
}

/// More than are looked up at a time, of each kind; erased while they are told.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_erased_while_it_is_told_breaks_it_off_for_nobody() {
    const EACH: usize = 1_300;
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    house.sources(&["crm"]).await;
    journey::contract(&mut house, true).await;
    let mut messages = Vec::new();
    for who in 0..EACH {
        let (gone, waits) = (format!("gone{who}"), format!("waits{who}"));
        for (source, key) in [("crm", gone), ("ledger", waits)] {
            let put = person(source, &key, THEN, &[("email", &mail(&key))], &[]);
            messages.push(Message::Put(put));
        }
        let record = Some(onefold_tests::record("crm", &format!("gone{who}")));
        let retraction = pb::Retraction { record, observed_time: None };
        messages.push(Message::Retract(retraction));
    }
    house.stream("", &messages).await.unwrap();
    for who in 0..EACH {
        house.say(at("email", &mail(&format!("said{who}"))), said(Withdrawn, THEN)).await.unwrap();
    }
    assert_eq!(told(&mut house, "").await.len(), 3 * EACH);
    let mut other = house.clients();
    let erasing = tokio::spawn(async move {
        for who in (0..EACH).rev().step_by(40) {
            for of in ["gone", "waits", "said"] {
                other.forget(vec![at("email", &mail(&format!("{of}{who}")))]).await.unwrap();
            }
        }
    });
    let mut turns = 0;
    while !erasing.is_finished() || turns < 2 {
        assert!(told(&mut house, "").await.len() > 2 * EACH);
        turns += 1;
    }
    erasing.await.unwrap();
    assert_eq!(told(&mut house, "").await.len(), 3 * (EACH - EACH.div_ceil(40)));
    house.close().await;
}

/// It is a read of personal data like any other: told in the log, to whom it was shown of too.
#[tokio::test(flavor = "multi_thread")]
async fn that_it_was_told_is_noted() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    house.sources(&["crm"]).await;
    journey::contract(&mut house, true).await;
    let policy = pb::PrivacyPolicy { read_log: pb::ReadLogMode::On as i32, ..Default::default() };
    let request = pb::UpdatePrivacyPolicyRequest { policy: Some(policy), ..Default::default() };
    house.privacy.update_privacy_policy(request).await.unwrap();
    let broken = person("ledger", "1", THEN, &[("email", &mail("waits"))], &[]);
    assert_eq!(house.put(broken).await.status(), Quarantined);
    assert_eq!(told(&mut house, "").await.len(), 1);
    let list = pb::ListReadsRequest::default();
    let mut noted = Vec::new();
    for _ in 0..200 {
        noted = house.privacy.list_reads(list.clone()).await.unwrap().into_inner().reads;
        if !noted.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let of = |read: &pb::NotedReads| (read.call.clone(), read.count);
    assert_eq!(noted.iter().map(of).collect::<Vec<_>>(), [("StreamHeldIdentifiers".to_owned(), 1)]);
    let access = house.ask_for(pb::PrivacyRequestKind::Access, vec![at("email", &mail("waits"))]).await.unwrap();
    let etag = house.preview_export(&access).await.unwrap().etag;
    let (text, _) = house.export(&access, &etag).await.unwrap();
    let text: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(text["disclosures"][0]["call"], "StreamHeldIdentifiers", "{text}");
    house.close().await;
}
