//! LAW 7: erased is erased. Persons with unmistakable values go through every path; some are erased; then every byte of
//! every file is read, and everything decrypted that the remaining keys open, and nothing of theirs is found, while the
//! others answer as before. What is sent again is stopped. A kill at any moment changes none of it.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use onefold_core::erasure::Receipt;
use onefold_core::ids::SlotId;
use onefold_proto::v1 as pb;
use onefold_store::erasures::ErasureLedger;
use onefold_tests::canary::{canary, found_in, in_the_clear, mail};
use onefold_tests::child::Launch;
use onefold_tests::consent::{at, of_profile, of_record, said};
use onefold_tests::dice::{Dice, how_many};
use onefold_tests::journey::{arrive, prepare, seen};
use onefold_tests::{House, SEGMENT_BYTES, organisation, person, reason, record};

/// Everybody of whom something can be read with the keys that are left.
fn with_the_keys(data: &Path) -> BTreeSet<usize> {
    onefold_tests::canary::with_the_keys(data, SEGMENT_BYTES)
}

#[tokio::test(flavor = "multi_thread")]
async fn erased_is_erased_and_provable() {
    let people = how_many("ONEFOLD_CANARIES", 60);
    let erased: BTreeSet<usize> = (0..people).filter(|who| who % 10 == 1).collect();
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut config = House::config(&data);
    config.checkpoint_every = 200;
    let mut house = House::open_with(config.clone()).await;
    prepare(&mut house).await;
    for who in 0..people {
        arrive(&mut house, who).await.unwrap();
    }
    house.close().await;
    assert_eq!(in_the_clear(&data), BTreeSet::new(), "nothing lies in the clear before either");
    assert_eq!(with_the_keys(&data), (0..people).collect(), "the search finds everybody while the keys are there");

    let mut house = House::open_with(config.clone()).await;
    let mut others = BTreeMap::new();
    for who in (0..people).filter(|who| !erased.contains(who)) {
        others.insert(who, seen(&mut house, who).await.unwrap());
    }
    let cursor = house.events("", 0).await.unwrap().last().unwrap().sequence;
    let trusted = house.receipt_key().await.unwrap();
    let mut names = BTreeMap::new();
    for who in &erased {
        let profile = house.lookup("email", &mail(*who)).await.unwrap().name;
        let request = house.ask_for_erasure(vec![at("email", &mail(*who))]).await.unwrap();
        let preview = house.preview(&request).await.unwrap();
        let shown: Vec<(&str, &str)> =
            preview.records.iter().map(|record| (record.source.as_str(), record.evidence.as_str())).collect();
        assert_eq!(shown, [("crm", "MEMBER_OF_PROFILE"), ("shop", "MEMBER_OF_PROFILE")]);
        let holders = preview.identifiers.iter().map(|one| one.held_by.len() + one.once_held_by.len());
        assert!(preview.identifiers.len() == 3 && holders.min() > Some(0), "{:?}", preview.identifiers);
        assert!(preview.records.iter().all(|record| record.key == canary(*who) && record.profile == profile));
        let count = |of: &[pb::NamedCount]| of.iter().map(|c| (c.name.clone(), c.count)).collect::<Vec<_>>();
        assert_eq!(count(&preview.suppressed), [("email".to_owned(), 1), ("user_id".to_owned(), 1)]);
        assert_eq!(count(&preview.shared), [("phone".to_owned(), 1)], "a household's telephone");
        assert_eq!((preview.quarantined, preview.statements, preview.statements_kept), (1, 2, 0));
        assert_eq!(reason(&house.erase(&request, &"0".repeat(32)).await.unwrap_err()), "SCOPE_CHANGED");
        let done = house.erase(&request, &preview.etag).await.unwrap();
        assert_eq!(done.state(), pb::PrivacyRequestState::Completed);
        let text = house.receipt(&request).await.unwrap();
        let receipt = Receipt::read(&text, Some(&trusted)).unwrap();
        assert_eq!(receipt.request, request);
        assert_eq!(receipt.removed.iter().map(|line| line.count).sum::<u32>(), 2 + 1 + 2 + 1);
        assert_eq!(receipt.key_destroyed.iter().map(|line| line.count).sum::<u32>(), preview.keys);
        assert!(receipt.kept.iter().any(|kept| kept.what.contains("phone")), "{:?}", receipt.kept);
        let mut in_receipt = BTreeSet::new();
        found_in(text.as_bytes(), &mut in_receipt);
        assert!(in_receipt.is_empty());
        assert_eq!(reason(&house.erase(&request, &preview.etag).await.unwrap_err()), "PRIVACY_REQUEST_STATE");
        assert_eq!(reason(&house.get(&profile).await.unwrap_err()), "PROFILE_ERASED");
        names.insert(*who, (request, profile));
    }
    let told: Vec<pb::ProfileEvent> = house.events("", cursor).await.unwrap();
    let told: BTreeSet<String> = told
        .into_iter()
        .filter(|event| event.kind() == pb::ProfileEventKind::Erased && !event.stays_live)
        .map(|event| event.profile)
        .collect();
    assert_eq!(told, names.values().map(|(_, profile)| profile.clone()).collect(), "the feed tells it");

    // Twice: once as it goes on, once after a restart from the journal alone.
    for round in 0..2u64 {
        for (who, (request, profile)) in &names {
            assert_eq!(reason(&house.get(profile).await.unwrap_err()), "PROFILE_ERASED");
            assert_eq!(reason(&house.lookup("email", &mail(*who)).await.unwrap_err()), "PROFILE_NOT_FOUND");
            let again = person("crm", &canary(*who), 1_790_000_000, &[("email", &mail(*who))], &[]);
            assert_eq!(house.put(again).await.status(), pb::IngestStatus::Suppressed);
            let elsewhere =
                person("shop", &format!("new-{}", canary(*who)), 1_790_000_000, &[("email", &mail(*who))], &[]);
            assert_eq!(house.put(elsewhere).await.status(), pb::IngestStatus::Suppressed);
            let broken = person("ledger", &canary(*who), 1_790_000_000, &[("email", &mail(*who))], &[]);
            assert_eq!(house.put(broken).await.status(), pb::IngestStatus::Suppressed);
            // As a company's address, and by calls about the record.
            let company = format!("co-{}", canary(*who));
            let company = organisation("shop", &company, 1_790_000_000, &[("email", &mail(*who))], &[]);
            assert_eq!(house.put(company).await.status(), pb::IngestStatus::Suppressed);
            house.put_account("crm", "acme-beside", None).await.unwrap();
            let told = house.affiliate("crm", &canary(*who), "acme-beside").await.unwrap_err();
            assert_eq!(reason(&told), "SUPPRESSED", "{told}");
            assert_eq!(reason(&house.put_account("crm", &canary(*who), None).await.unwrap_err()), "SUPPRESSED");
            let yes = said(pb::ConsentDecision::Granted, 1_700_000_003);
            assert_eq!(reason(&house.say(at("email", &mail(*who)), yes).await.unwrap_err()), "SUPPRESSED");
            let verdict = house.may(at("email", &mail(*who)), false).await.unwrap();
            assert!(!verdict.allowed, "{verdict:?}");
            let get = pb::GetPrivacyRequestRequest { name: request.clone() };
            let counted = house.privacy.get_privacy_request(get).await.unwrap().into_inner().request.unwrap();
            assert_eq!(counted.resends_stopped, 7 * (round + 1), "each is counted");
        }
        for (who, before) in &others {
            assert_eq!(&seen(&mut house, *who).await.unwrap(), before);
        }
        house.close().await;
        assert_eq!(in_the_clear(&data), BTreeSet::new());
        assert_eq!(with_the_keys(&data), (0..people).filter(|who| !erased.contains(who)).collect());
        if round == 0 {
            fs::remove_dir_all(data.join("checkpoint")).unwrap();
        }
        house = House::open_with(config.clone()).await;
    }

    // Without the ledger the journal itself says whose the destroyed keys were.
    house.close().await;
    fs::remove_dir_all(data.join("erasures")).unwrap();
    fs::remove_dir_all(data.join("checkpoint")).unwrap();
    house = House::open_with(config).await;
    assert_eq!(ErasureLedger::read(&ErasureLedger::path(&data)).unwrap().len(), erased.len());
    for (who, before) in &others {
        assert_eq!(&seen(&mut house, *who).await.unwrap(), before);
    }

    // Who comes back by their own act is let in, as somebody new.
    let (who, (_, profile)) = names.first_key_value().unwrap();
    let request = pb::ReadmitRequest {
        subjects: vec![at("email", &mail(*who)), of_record("crm", &canary(*who))],
        by: "dpo".to_owned(),
        ground: "new-sign-up".to_owned(),
        ..Default::default()
    };
    assert_eq!(house.privacy.readmit(request).await.unwrap().into_inner().lifted, 3);
    let back = house.put(person("crm", &canary(*who), 1_790_000_001, &[("email", &mail(*who))], &[])).await;
    assert_eq!(back.status(), pb::IngestStatus::Accepted);
    assert_ne!(&back.profile, profile);
    assert_eq!(reason(&house.get(profile).await.unwrap_err()), "PROFILE_ERASED");
    house.close().await;
}

/// An address that only older versions of records held leads nobody back, by whatever record it comes again; one that
/// somebody else holds now is not this person's alone.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_of_before_does_not_bring_anybody_back() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = House::open(&data).await;
    house.sources(&["crm", "shop"]).await;
    let mail = |name: &str| format!("{name}@harbour-mail.net");
    let version = |time: i64, names: &[&str]| {
        let mails: Vec<String> = names.iter().map(|name| mail(name)).collect();
        let identifiers: Vec<(&str, &str)> = mails.iter().map(|mail| ("email", mail.as_str())).collect();
        person("crm", "1", time, &identifiers, &[])
    };
    house.put(version(10, &["first", "moved-on", "handed-on"])).await;
    // An address that another record had too, and left too; and one that somebody else has today.
    house.put(person("shop", "7", 10, &[("email", &mail("moved-on")), ("user_id", "u7")], &[])).await;
    house.put(version(20, &["second"])).await;
    house.put(person("shop", "7", 20, &[("user_id", "u7")], &[])).await;
    house.put(person("shop", "8", 20, &[("email", &mail("handed-on")), ("user_id", "u8")], &[])).await;
    house.say(at("email", &mail("first")), said(pb::ConsentDecision::Withdrawn, 15)).await.unwrap();
    house.put(version(30, &["third"])).await;
    house.close().await;
    std::fs::remove_dir_all(data.join("checkpoint")).unwrap();
    let mut house = House::open(&data).await;
    let request = house.ask_for_erasure(vec![at("email", &mail("third"))]).await.unwrap();
    let preview = house.preview(&request).await.unwrap();
    let count = |of: &[pb::NamedCount]| of.iter().map(|c| (c.name.clone(), c.count)).collect::<Vec<_>>();
    assert_eq!(count(&preview.suppressed), [("email".to_owned(), 4)], "the three of before are shown too");
    assert_eq!(preview.statements, 1, "what was said at the old address goes along");
    house.erase(&request, &preview.etag).await.unwrap();
    for (name, status) in [
        ("first", pb::IngestStatus::Suppressed),
        ("second", pb::IngestStatus::Suppressed),
        ("third", pb::IngestStatus::Suppressed),
        ("moved-on", pb::IngestStatus::Suppressed),
        ("handed-on", pb::IngestStatus::Accepted),
    ] {
        let again = person("crm", &format!("new-{name}"), 10, &[("email", &mail(name))], &[]);
        assert_eq!(house.put(again).await.status(), status, "{name}");
    }
    house.close().await;
}

/// However an erased person is written, and through whatever door: in other cases and spaces, a telephone number in other forms and
/// under another default region, older or newer, by another source, in the consents that a stranger's fragment brings.
#[tokio::test(flavor = "multi_thread")]
async fn no_door_lets_an_erased_person_in_by_another_spelling() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    house.sources(&["crm", "shop"]).await;
    let region = async |house: &mut House, code: &str| {
        let name = "tenants/default".to_owned();
        let tenant = pb::Tenant { name, default_region: code.to_owned(), ..Default::default() };
        let request = pb::UpdateTenantRequest { tenant: Some(tenant), ..Default::default() };
        house.admin.update_tenant(request).await.unwrap();
    };
    region(&mut house, "DE").await;
    let (mail, phone) = (mail(1), "030 2000 0417");
    let hers = [("email", mail.as_str()), ("phone", phone), ("user_id", "Ada-1")];
    house.put(person("crm", "c1", 1_700_000_000, &hers, &[])).await;
    let request = house.forget(vec![at("email", &mail)]).await.unwrap().name;
    let shouted = format!("  {} ", mail.to_uppercase());
    let spellings: [(&str, &str); 8] = [
        ("email", &shouted),
        ("phone", "+49 (30) 2000-0417"),
        ("phone", "0049 30 20000417"),
        ("phone", "03020000417"),
        ("phone", "tel:+493020000417"),
        ("user_id", "Ada-1"),
        ("user_id", " Ada-1 "),
        ("email", &mail),
    ];
    let mut stopped = 0;
    for now in ["DE", "AT"] {
        region(&mut house, now).await;
        for (number, (namespace, value)) in spellings.into_iter().enumerate() {
            for time in [1_600_000_000, 1_700_000_000, 1_790_000_000] {
                let again = person("shop", &format!("s{number}"), time, &[(namespace, value)], &[]);
                let told = house.put(again).await;
                assert_eq!(told.status(), pb::IngestStatus::Suppressed, "{namespace} {number} at {time} in {now}");
                stopped += 1;
            }
        }
        for time in [1_600_000_000, 1_700_000_000, 1_790_000_000] {
            let bare = person("crm", "c1", time, &[("loyalty_id", "other")], &[]);
            assert_eq!(house.put(bare).await.status(), pb::IngestStatus::Suppressed, "the record itself");
            stopped += 1;
        }
        assert_eq!(house.retract("crm", "c1", 1_790_000_000).await.status(), pb::IngestStatus::Suppressed);
        stopped += 1;
    }
    // Somebody else's fragment brings a word about her.
    let mut bob = person("shop", "bob", 1_700_000_000, &[("email", "bob@harbour-mail.net")], &[]);
    let identifier = Some(onefold_tests::identifier("email", &shouted));
    let yes = said(pb::ConsentDecision::Granted, 1_700_000_003);
    bob.consents.push(pb::FragmentConsent { identifier, saying: Some(yes) });
    house.put(bob).await;
    assert!(house.statements(at("email", &mail)).await.unwrap().is_empty(), "nothing is kept of it");
    assert!(!house.may(at("email", &mail), false).await.unwrap().allowed);
    let get = pb::GetPrivacyRequestRequest { name: request };
    let counted = house.privacy.get_privacy_request(get).await.unwrap().into_inner().request.unwrap();
    assert!(counted.resends_stopped >= stopped, "{} of {stopped} are counted", counted.resends_stopped);
    house.close().await;
}

/// What a source took back is the person's still: it is found by what it shares with the rest, what it alone said is
/// suppressed, its key goes, and preview and receipt tell of it. Another person's that shared a telephone stays.
#[tokio::test(flavor = "multi_thread")]
async fn what_only_retracted_records_said_goes_and_stays_away() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = House::open(&data).await;
    house.sources(&["crm", "shop", "old"]).await;
    let (word, other) = (canary(1), canary(2));
    let (now, before, long_ago) = (mail(1), format!("before-{}", mail(1)), format!("long-ago-{}", mail(1)));
    let phone = "+49302000001";
    let says = |source: &str, key: &str, ids: &[(&str, &str)]| person(source, key, 1_700_000_000, ids, &[]);
    // Never in one profile with the live record: its e-mail of before came only with records that were taken back.
    let gone = [
        says("shop", "s1", &[("email", &before), ("loyalty_id", &word)]),
        says("old", "o1", &[("email", &long_ago), ("email", &before)]),
        says("old", "o2", &[("email", &mail(2)), ("phone", phone), ("user_id", &other)]),
    ];
    for (at, fragment) in gone.into_iter().enumerate() {
        let taken = fragment.record.clone().unwrap();
        assert_eq!(house.put(fragment).await.status(), pb::IngestStatus::Accepted);
        house.retract(&taken.source, &taken.key, 1_700_000_100 + at as i64).await;
    }
    let lives = says("crm", "c1", &[("email", &now), ("loyalty_id", &word), ("phone", phone), ("user_id", &word)]);
    house.put(lives).await;
    let neighbour = says("crm", "c2", &[("phone", phone), ("user_id", "neighbour")]);
    house.put(neighbour).await;

    // Twice asked: by what lives, and by what only retracted records ever said.
    for subject in [at("email", &long_ago), at("email", &now)] {
        let request = house.ask_for_erasure(vec![subject.clone()]).await.unwrap();
        let preview = house.preview(&request).await.unwrap();
        let shown: Vec<(&str, &str, &str)> = preview
            .records
            .iter()
            .map(|record| (record.source.as_str(), record.evidence.as_str(), record.namespace.as_str()))
            .collect();
        let shares = "RETRACTED_SHARING_IDENTIFIER";
        let live = subject == at("email", &now);
        let by = if live { "loyalty_id" } else { "email" };
        let mut wanted = vec![("shop", shares, by), ("old", shares, "email")];
        wanted.extend(live.then_some(("crm", "MEMBER_OF_PROFILE", "")));
        assert_eq!(shown.len(), wanted.len(), "{shown:?}");
        assert!(shown.iter().all(|found| wanted.iter().any(|one| (one.0, one.1) == (found.0, found.1))), "{shown:?}");
        if !live {
            continue;
        }
        let count = |of: &[pb::NamedCount]| of.iter().map(|c| (c.name.clone(), c.count)).collect::<Vec<_>>();
        let suppressed = [("email".to_owned(), 3), ("loyalty_id".to_owned(), 1), ("user_id".to_owned(), 1)];
        assert_eq!(count(&preview.suppressed), suppressed, "what only retracted records said too");
        assert_eq!(count(&preview.shared), [("phone".to_owned(), 1)]);
        assert_eq!(preview.keys, 3);
        house.erase(&request, &preview.etag).await.unwrap();
        let receipt = Receipt::read(&house.receipt(&request).await.unwrap(), None).unwrap();
        let removed: Vec<(&str, u32)> = receipt.removed.iter().map(|line| (line.what.as_str(), line.count)).collect();
        for source in ["crm", "shop", "old"] {
            assert!(removed.contains(&(&format!("source records of {source}"), 1)), "{removed:?}");
        }
    }
    for round in 0..2 {
        for (number, address) in [&now, &before, &long_ago].into_iter().enumerate() {
            let again = says("old", &format!("new-{number}"), &[("email", address)]);
            assert_eq!(house.put(again).await.status(), pb::IngestStatus::Suppressed, "{round} {number}");
        }
        let back = says("old", &format!("o2-{round}"), &[("email", &mail(2))]);
        assert_eq!(house.put(back).await.status(), pb::IngestStatus::Accepted, "another person's");
        house.close().await;
        assert_eq!((in_the_clear(&data), with_the_keys(&data)), (BTreeSet::new(), BTreeSet::from([2])));
        if round == 0 {
            fs::remove_dir_all(data.join("checkpoint")).unwrap();
        }
        house = House::open(&data).await;
    }
    house.close().await;
}

/// What a match model compares lies in the engine as text, and in its checkpoints.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_model_compares_and_a_steward_judged_goes_too() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut config = House::config(&data);
    config.match_models = true;
    let mut house = House::open_with(config.clone()).await;
    prepare(&mut house).await;
    for who in [1, 2] {
        let word = canary(who);
        let texts: &[(&str, &str)] = &[("given_name", &word), ("family_name", &word), ("city", &word)];
        for source in ["crm", "shop"] {
            house.put(person(source, &word, 1_700_000_000, &[("email", &mail(who))], texts)).await;
        }
    }
    let pair = pb::PairJudgement {
        first: Some(record("crm", &canary(1))),
        second: Some(record("crm", &canary(2))),
        verdict: pb::Verdict::Different as i32,
    };
    let (author, reason) = ("steward".to_owned(), format!("{} is somebody else", canary(1)));
    let request = pb::JudgeRequest { judgements: vec![pair], author, reason, ..Default::default() };
    house.reviews.judge(request).await.unwrap();
    house.close().await;
    assert_eq!(with_the_keys(&data), BTreeSet::from([1, 2]));

    let mut house = House::open_with(config.clone()).await;
    house.forget(vec![at("email", &mail(1))]).await.unwrap();
    let judged = |told: tonic::Response<pb::ListJudgementsResponse>| told.into_inner().judgements.len();
    assert_eq!(judged(house.reviews.list_judgements(pb::ListJudgementsRequest::default()).await.unwrap()), 0);
    let digest = house.digest().await;
    house.close().await;
    assert_eq!(in_the_clear(&data), BTreeSet::new());
    assert_eq!(with_the_keys(&data), BTreeSet::from([2]));
    // From the journal alone, where the judgement can no longer be read.
    fs::remove_dir_all(data.join("checkpoint")).unwrap();
    let mut house = House::open_with(config).await;
    assert_eq!(house.digest().await, digest);
    assert_eq!(judged(house.reviews.list_judgements(pb::ListJudgementsRequest::default()).await.unwrap()), 0);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_needs_who_it_needs_and_consumers_confirm() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    prepare(&mut house).await;
    arrive(&mut house, 1).await.unwrap();
    let policy = pb::PrivacyPolicy { second_person: true, consumers: vec!["mailer".to_owned()], ..Default::default() };
    let request = pb::UpdatePrivacyPolicyRequest { policy: Some(policy), ..Default::default() };
    house.privacy.update_privacy_policy(request).await.unwrap();
    let name = house.ask_for_erasure(vec![at("email", &mail(1))]).await.unwrap();
    let etag = house.preview(&name).await.unwrap().etag;
    assert_eq!(reason(&house.erase(&name, &etag).await.unwrap_err()), "PRIVACY_REQUEST_STATE");
    let approve = |by: &str, etag: &str| pb::ApprovePrivacyRequestRequest {
        name: name.clone(),
        by: by.to_owned(),
        etag: etag.to_owned(),
        ..Default::default()
    };
    let alone = house.privacy.approve_privacy_request(approve("dpo", &etag)).await.unwrap_err();
    assert_eq!(reason(&alone), "SECOND_PERSON_NEEDED");
    house.privacy.approve_privacy_request(approve("counsel", &etag)).await.unwrap();
    // Another record of the person comes in: the approval was of another scope.
    house.put(person("shop", "late", 1_700_000_009, &[("email", &mail(1))], &[])).await;
    assert_eq!(reason(&house.erase(&name, &etag).await.unwrap_err()), "SCOPE_CHANGED");
    let etag = house.preview(&name).await.unwrap().etag;
    assert_eq!(reason(&house.erase(&name, &etag).await.unwrap_err()), "SCOPE_CHANGED", "the approval is void");
    house.privacy.approve_privacy_request(approve("counsel", &etag)).await.unwrap();
    let request = pb::ExecuteErasureRequest {
        name: name.clone(),
        etag,
        request_id: "7f1c2d34-0a1b-4c5d-8e9f-001122334455".into(),
    };
    let first = house.privacy.execute_erasure(request.clone()).await.unwrap().into_inner();
    let again = house.privacy.execute_erasure(request).await.unwrap().into_inner();
    assert_eq!(first, again, "the same call again gets the first answer");
    let confirm = |consumer: &str| pb::ConfirmErasureRequest {
        name: name.clone(),
        consumer: consumer.to_owned(),
        ..Default::default()
    };
    let unknown = house.privacy.confirm_erasure(confirm("billing")).await.unwrap_err();
    assert_eq!(reason(&unknown), "CONSUMER_UNKNOWN");
    let done = house.privacy.confirm_erasure(confirm("mailer")).await.unwrap().into_inner().request.unwrap();
    assert!(done.confirmations[0].confirm_time.is_some());
    // A request about somebody who is not here is answered too, and one that came in long ago is overdue.
    let old = pb::CreatePrivacyRequestRequest {
        kind: pb::PrivacyRequestKind::Erasure as i32,
        subjects: vec![at("email", "nobody@harbour-mail.net")],
        received_time: Some(onefold_tests::seconds(1_600_000_000)),
        ..Default::default()
    };
    let old = house.privacy.create_privacy_request(old).await.unwrap().into_inner().request.unwrap();
    assert!(old.overdue);
    for (seconds, why) in [(0, "ten years ago"), (4_000_000_000, "tomorrow")] {
        let wrong = pb::CreatePrivacyRequestRequest {
            kind: pb::PrivacyRequestKind::Erasure as i32,
            subjects: vec![at("email", "nobody@harbour-mail.net")],
            received_time: Some(onefold_tests::seconds(seconds)),
            ..Default::default()
        };
        let refused = house.privacy.create_privacy_request(wrong).await.unwrap_err();
        let told = tonic_types::StatusExt::get_details_bad_request(&refused).unwrap().field_violations;
        assert!(told[0].field == "received_time" && told[0].description.contains(why), "{seconds}: {told:?}");
    }
    let list = pb::ListPrivacyRequestsRequest { overdue_only: true, ..Default::default() };
    let overdue = house.privacy.list_privacy_requests(list).await.unwrap().into_inner().requests;
    assert_eq!(overdue.iter().map(|request| &request.name).collect::<Vec<_>>(), [&old.name]);
    let word = pb::CreatePrivacyRequestRequest {
        kind: pb::PrivacyRequestKind::Erasure as i32,
        reference: "Ada Lovelace, ada@example.org".to_owned(),
        subjects: vec![of_profile("tenants/default/profiles/x")],
        ..Default::default()
    };
    assert_eq!(reason(&house.privacy.create_privacy_request(word).await.unwrap_err()), "REQUEST_INVALID");
    house.close().await;
}

/// Two officers at one request erase once; at two requests about one person the later one finds another scope than it saw.
#[tokio::test(flavor = "multi_thread")]
async fn two_officers_at_once_erase_once() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = House::open(&data).await;
    prepare(&mut house).await;
    let (mut one, mut other) = (house.clients(), house.clients());
    for who in 0..8 {
        arrive(&mut house, who).await.unwrap();
    }
    for who in 0..8 {
        let first = house.ask_for_erasure(vec![at("email", &mail(who))]).await.unwrap();
        let second = house.ask_for_erasure(vec![of_record("crm", &canary(who))]).await.unwrap();
        let etag = house.preview(&first).await.unwrap().etag;
        let same = who % 2 == 0;
        let theirs = if same {
            (first.clone(), etag.clone())
        } else {
            (second.clone(), house.preview(&second).await.unwrap().etag)
        };
        let (a, b) = tokio::join!(one.erase(&first, &etag), other.erase(&theirs.0, &theirs.1));
        let refused: Vec<String> = [&a, &b].into_iter().filter_map(|end| Some(reason(end.as_ref().err()?))).collect();
        assert_eq!(refused, [if same { "PRIVACY_REQUEST_STATE" } else { "SCOPE_CHANGED" }], "{who}");
        assert_eq!(reason(&house.lookup("email", &mail(who)).await.unwrap_err()), "PROFILE_NOT_FOUND");
    }
    house.close().await;
    assert_eq!(onefold_server::audit::verify(&data, None, None).unwrap().erasures, 8, "once each");
    assert_eq!(with_the_keys(&data), BTreeSet::new());
}

/// Killed (SIGKILL) at random moments while persons are erased: each erasure is whole or not begun, what was answered
/// holds, and what was begun is brought to its end by the next start.
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_moment_leaves_nobody_half_erased() {
    let rounds = how_many("ONEFOLD_ERASURE_KILLS", 10);
    let mut dice = Dice::from_environment("ONEFOLD_ERASURE_SEED", 20_261_126);
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut launch = Launch::new(env!("CARGO_BIN_EXE_onefold-test-server"), &data);
    launch.checkpoint_every = 150;
    let people = 4 * rounds;
    let (child, mut clients) = launch.start().await;
    prepare(&mut clients).await;
    for who in 0..people {
        arrive(&mut clients, who).await.unwrap();
    }
    child.stop();
    let mut asked: BTreeSet<usize> = BTreeSet::new();
    let mut answered: BTreeSet<usize> = BTreeSet::new();
    let mut next = 0;
    for round in 0..rounds {
        let (mut child, mut clients) = launch.start().await;
        assert!(
            clients
                .privacy_requests(false)
                .await
                .unwrap()
                .iter()
                .all(|r| r.state() != pb::PrivacyRequestState::InProgress),
            "round {round}: a start brings to its end what was begun"
        );
        for who in &answered {
            assert_eq!(reason(&clients.lookup("email", &mail(*who)).await.unwrap_err()), "PROFILE_NOT_FOUND");
        }
        let pause = Duration::from_micros(500 + dice.below(60_000));
        let mut on = clients.clone();
        let from = next;
        let work = tokio::spawn(async move {
            let mut begun = Vec::new();
            let mut done = Vec::new();
            for who in from..from + 3 {
                begun.push(who);
                match on.forget(vec![at("email", &mail(who))]).await {
                    Ok(_) => done.push(who),
                    Err(_) => break,
                }
            }
            (begun, done)
        });
        tokio::time::sleep(pause).await;
        child.kill();
        let (begun, done) = work.await.unwrap();
        next = begun.last().map_or(next, |last| last + 1).min(people - 3);
        asked.extend(begun);
        answered.extend(done);
    }
    let (child, mut clients) = launch.start().await;
    let requests = clients.privacy_requests(false).await.unwrap();
    let completed = requests.iter().filter(|request| request.state() == pb::PrivacyRequestState::Completed).count();
    assert!(completed >= answered.len());
    for request in requests.iter().filter(|request| request.state() == pb::PrivacyRequestState::Completed) {
        let text = clients.receipt(&request.name).await.unwrap();
        Receipt::read(&text, None).unwrap();
    }
    let mut here = BTreeSet::new();
    for who in 0..people {
        match clients.lookup("email", &mail(who)).await {
            Ok(profile) => {
                assert_eq!(profile.record_count, 2, "whole");
                here.insert(who);
            }
            Err(status) => assert_eq!(reason(&status), "PROFILE_NOT_FOUND"),
        }
    }
    assert!(
        here.is_disjoint(&answered) && (0..people).filter(|who| !asked.contains(who)).all(|who| here.contains(&who))
    );
    let digest = clients.graph_digest().await;
    child.stop();
    assert_eq!(in_the_clear(&data), BTreeSet::new());
    assert_eq!(with_the_keys(&data), here, "who is not here cannot be read by any key");
    let ledger = ErasureLedger::read(&ErasureLedger::path(&data)).unwrap();
    assert_eq!(ledger.len(), completed, "the ledger knows each of them");
    assert!(ledger.iter().all(|row| row.erased.slots.iter().all(|slot| *slot != SlotId(u32::MAX))));
    // From the journal alone, once more.
    fs::remove_dir_all(data.join("checkpoint")).unwrap();
    let (child, mut clients) = launch.start().await;
    assert_eq!(clients.graph_digest().await, digest);
    child.stop();
}

/// A household's telephone and mailbox are no more the erased person's than the others': they go with the records, are told as
/// kept, and stop nobody else. What was the person's alone stops whoever brings it.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_household_shares_stays_with_those_who_stay() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = House::open(&data).await;
    house.sources(&["crm", "shop"]).await;
    let (phone, mailbox) = ("+49302000001", "family@harbour-mail.net");
    let says = |source: &str, key: &str, at: i64, user: &str, own: &str| {
        let ids = [("phone", phone), ("email", mailbox), ("user_id", user), ("email", own)];
        person(source, key, at, &ids, &[("given_name", user)])
    };
    for fragment in [
        says("crm", "a", 10, "anna", "anna@harbour-mail.net"),
        says("shop", "a2", 10, "anna", "anna@harbour-mail.net"),
        says("crm", "b", 10, "bert", "bert@harbour-mail.net"),
    ] {
        assert_eq!(house.put(fragment).await.status(), pb::IngestStatus::Accepted);
    }
    let bert = house.lookup("user_id", "bert").await.unwrap();
    assert_ne!(house.lookup("user_id", "anna").await.unwrap().name, bert.name, "two persons");
    let yes = said(pb::ConsentDecision::Granted, 1_700_000_000);
    house.say(at("email", mailbox), yes).await.unwrap();

    let request = house.ask_for_erasure(vec![at("user_id", "anna")]).await.unwrap();
    let preview = house.preview(&request).await.unwrap();
    let count = |of: &[pb::NamedCount]| of.iter().map(|c| (c.name.clone(), c.count)).collect::<Vec<_>>();
    assert_eq!(count(&preview.suppressed), [("email".to_owned(), 1), ("user_id".to_owned(), 1)]);
    assert_eq!(count(&preview.shared), [("email".to_owned(), 1), ("phone".to_owned(), 1)]);
    assert_eq!((preview.records.len(), preview.statements), (2, 0), "what was said at the mailbox stays");
    let mut told: Vec<(&str, &str, &[u32], bool)> =
        preview.identifiers.iter().map(|one| (&*one.namespace, &*one.fate, &*one.held_by, one.named)).collect();
    told.sort_unstable();
    let both: &[u32] = &[0, 1];
    let want = [
        ("email", "HELD_BY_OTHERS", both, false),
        ("email", "SUPPRESSED", both, false),
        ("phone", "HELD_BY_OTHERS", both, false),
        ("user_id", "SUPPRESSED", both, true),
    ];
    assert_eq!(told, want, "each with the records that hold it");
    house.erase(&request, &preview.etag).await.unwrap();
    let receipt = Receipt::read(&house.receipt(&request).await.unwrap(), None).unwrap();
    for namespace in ["email", "phone"] {
        let kept = receipt.kept.iter().find(|kept| kept.what == format!("identifiers of {namespace}")).unwrap();
        assert!(kept.count == 1 && kept.ground.starts_with("others hold them too"), "{kept:?}");
    }

    for round in 0..2 {
        let newer = 20 + round;
        assert!(house.get(&bert.name).await.is_ok(), "round {round}");
        assert_eq!(house.lookup("phone", phone).await.unwrap().name, bert.name, "it is Bert's alone now");
        let stays = says("crm", "b", newer, "bert", "bert@harbour-mail.net");
        assert_eq!(house.put(stays).await.status(), pb::IngestStatus::Accepted, "round {round}");
        let child = says(
            "shop",
            &format!("c{round}"),
            newer,
            &format!("carl{round}"),
            &format!("carl{round}@harbour-mail.net"),
        );
        assert_eq!(house.put(child).await.status(), pb::IngestStatus::Accepted, "round {round}");
        let by_record = person("crm", "a", newer, &[("phone", phone)], &[]);
        assert_eq!(house.put(by_record).await.status(), pb::IngestStatus::Suppressed, "round {round}");
        let by_own = says("shop", "a3", newer, "someone", "anna@harbour-mail.net");
        assert_eq!(house.put(by_own).await.status(), pb::IngestStatus::Suppressed, "round {round}");
        let child = vec![of_record("shop", &format!("c{round}"))];
        house.forget(child).await.unwrap();
        house.close().await;
        if round == 0 {
            fs::remove_dir_all(data.join("checkpoint")).unwrap();
        }
        house = House::open(&data).await;
    }
    house.close().await;
}

/// What is wrong with a fragment may be the very value that is somebody's: two in one field, one in a note, one in other
/// letters. It was kept under its key after the erasure, and nothing led there.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_inside_of_what_is_malformed_goes_with_its_person() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = House::open(&data).await;
    prepare(&mut house).await;
    let (ada, bob) = (mail(1), mail(2));
    const PHONE: &str = "+493012345678";
    house.put(person("crm", "k1", 1_700_000_000, &[("email", &ada), ("phone", PHONE)], &[])).await;
    house.put(person("crm", "k2", 1_700_000_000, &[("email", &bob)], &[])).await;
    let wide: String = ada
        .chars()
        .map(|c| match c {
            'a'..='z' => char::from_u32(c as u32 - 'a' as u32 + 0xff41).unwrap(),
            c => c,
        })
        .collect();
    let (local, host) = (wide.split('@').next().unwrap(), ada.split('@').next_back().unwrap());
    let wide = format!("{local}@{host}");
    // The contract of this source wants what none of them has.
    let both = format!("{ada} / mobile 030/12345678");
    let mut in_traits = person("ledger", "l3", 1_700_000_001, &[], &[]);
    in_traits.traits_json = format!(r#"{{"contacts": [{{"\u0061lso": "{wide}"}}]}}"#);
    let theirs = [
        person("ledger", "l1", 1_700_000_001, &[("email", &both)], &[]),
        person("ledger", "l2", 1_700_000_001, &[], &[("note", "ring +49 30 12345678 after six, room 7")]),
        in_traits,
        person("ledger", &ada, 1_700_000_001, &[], &[("note", "her key is her address")]),
    ];
    for fragment in theirs.clone() {
        assert_eq!(house.put(fragment).await.status(), pb::IngestStatus::Quarantined);
    }
    // Read as hers once numbers without a country are of hers.
    let national = person("ledger", "l5", 1_700_000_001, &[], &[("note", "ring 030 12345678")]);
    assert_eq!(house.put(national).await.status(), pb::IngestStatus::Quarantined);
    let his = person("ledger", "l9", 1_700_000_001, &[("email", &bob)], &[("note", "ring +49 30 12345679")]);
    assert_eq!(house.put(his).await.status(), pb::IngestStatus::Quarantined);

    let request = house.ask_for_erasure(vec![at("email", &ada)]).await.unwrap();
    assert_eq!(house.preview(&request).await.unwrap().quarantined, 4);
    house.read_numbers_in("DE").await;
    for from_journal in [false, true] {
        assert_eq!(
            house.preview(&request).await.unwrap().quarantined,
            5,
            "from the journal alone next: {from_journal}"
        );
        house.close().await;
        if from_journal {
            fs::remove_dir_all(data.join("checkpoint")).unwrap();
        }
        house = House::open(&data).await;
    }
    assert_eq!(house.preview(&request).await.unwrap().quarantined, 5);
    // Whose they are is not sure: they are not handed over as hers.
    let access = house.ask_for(pb::PrivacyRequestKind::Access, vec![at("email", &ada)]).await.unwrap();
    let etag = house.preview_export(&access).await.unwrap().etag;
    let (text, _) = house.export(&access, &etag).await.unwrap();
    assert!(!text.contains("after six") && text.contains("WHOSE_IS_UNSURE"), "{text}");

    house.forget(vec![at("email", &ada)]).await.unwrap();
    let list = pb::ListQuarantineRequest::default();
    let left = house.ingest.list_quarantine(list).await.unwrap().into_inner().quarantined;
    assert_eq!(left.len(), 1, "his alone: {left:?}");
    house.close().await;
    assert_eq!(with_the_keys(&data), BTreeSet::from([2]));
    let mut house = House::open(&data).await;
    // And so it is stopped when it comes again: inside of something else, or in letters of full width.
    for (key, claim) in [("l1", &both), ("new", &wide), ("newer", &ada.replace('@', "\u{ff20}"))] {
        for source in ["ledger", "crm"] {
            let again = person(source, key, 1_790_000_000, &[("email", claim)], &[]);
            assert_eq!(house.put(again).await.status(), pb::IngestStatus::Suppressed, "{source} {key}");
        }
    }
    house.close().await;
}
