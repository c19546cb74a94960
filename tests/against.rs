//! What would take a person's rights from them again, or let one past them: callers of a low role, sources that send again
//! or take back, splits between an approval and its execution, persons of whom there is no profile.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use onefold_core::fragment::ObservedAt;
use onefold_core::reads::ReadCall;
use onefold_proto::v1 as pb;
use onefold_proto::v1::admin_service_client::AdminServiceClient;
use onefold_proto::v1::privacy_service_client::PrivacyServiceClient;
use onefold_server::clock::{Clock, SystemClock};
use onefold_tests::calls::with_key;
use onefold_tests::consent::{at, of_profile, of_record, reasons, said};
use onefold_tests::privacy::{correction, lift, objection, request, restriction, verification};
use onefold_tests::{House, identifier, person, reason, record, text};
use pb::ConsentDecision::{Granted, Released, Restricted, Withdrawn};
use pb::PrivacyRequestKind as Kind;
use serde_json::Value;
use tonic::transport::Channel;

/// A clock that stands where it is put.
struct Put(AtomicI64);

impl Clock for Put {
    fn now(&self) -> ObservedAt {
        ObservedAt(self.0.load(Ordering::Relaxed) * 1_000_000)
    }
}

const THEN: i64 = 1_700_000_000;
const ADA: &str = "ada@harbour-mail.net";

async fn house(dir: &tempfile::TempDir) -> House {
    let mut house = House::open(&dir.path().join("data")).await;
    house.sources(&["crm", "shop"]).await;
    house
}

async fn correct(
    house: &mut House,
    subject: pb::ConsentSubject,
    identifiers: &[(&str, &str)],
    texts: &[(&str, &str)],
) -> Result<String, tonic::Status> {
    let (name, etag) = house.ask_in_scope(Kind::Rectification, subject).await?;
    let request = correction(&name, &etag, identifiers, texts);
    house.privacy.execute_rectification(request).await.map(|_| name)
}

async fn shown(house: &mut House, of: (&str, &str), name: &str) -> Option<String> {
    let key = pb::lookup_profile_request::Key::Record(record(of.0, of.1));
    let request = pb::LookupProfileRequest { key: Some(key), view: pb::ProfileView::Full as i32, ..Default::default() };
    let profile = house.profiles.lookup_profile(request).await.unwrap().into_inner().profile.unwrap();
    let value = profile.values.into_iter().find(|value| value.name == name)?;
    match value.value? {
        pb::golden_value::Value::Text(text) => Some(text),
        _ => None,
    }
}

fn released(given: i64) -> pb::ConsentSaying {
    pb::ConsentSaying { purpose: String::new(), channel: String::new(), ..said(Released, given) }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_officer_restricts_no_source_releases() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = house(&dir).await;
    house.put(person("crm", "1", THEN, &[("email", ADA)], &[])).await;
    house.say(of_record("crm", "1"), said(Granted, THEN)).await.unwrap();
    // One that a source said itself, which a source may release.
    let own = pb::ConsentSaying { purpose: String::new(), channel: String::new(), ..said(Restricted, THEN + 1) };
    house.say(of_record("crm", "1"), own).await.unwrap();
    let name = house.restrict(at("email", ADA)).await.unwrap();
    // Long after the restriction by every clock: at every point, by every way in.
    let profile = house.lookup("email", ADA).await.unwrap().name;
    for subject in [of_record("crm", "1"), at("email", ADA), of_profile(&profile)] {
        house.say(subject, released(0)).await.ok();
    }
    let now = SystemClock.now().0 / 1_000_000;
    for subject in [of_record("crm", "1"), at("email", ADA), of_profile(&profile)] {
        house.say(subject, released(now)).await.unwrap();
    }
    let mut fragment = person("crm", "1", now, &[("email", ADA)], &[]);
    fragment.consents.push(pb::FragmentConsent { identifier: None, saying: Some(released(now)) });
    house.put(fragment).await;
    for alone in [false, true] {
        assert_eq!(reasons(&house.may(of_record("crm", "1"), false).await.unwrap()), ["RESTRICTED"], "alone: {alone}");
        let data = dir.path().join("data");
        house.close().await;
        if alone {
            std::fs::remove_dir_all(data.join("checkpoint")).unwrap();
        }
        house = House::open(&data).await;
    }
    assert_eq!(reasons(&house.may(of_record("crm", "1"), false).await.unwrap()), ["RESTRICTED"]);
    house.privacy.lift_restriction(lift(&name)).await.unwrap();
    assert!(house.may(of_record("crm", "1"), false).await.unwrap().allowed, "the source's own was released");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_source_takes_back_a_correction() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = house(&dir).await;
    let wrong = [("family_name", "Lovelase")];
    house.put(person("crm", "1", THEN, &[("email", ADA)], &wrong)).await;
    house.put(person("shop", "1", THEN + 1, &[("email", ADA)], &wrong)).await;
    let name = correct(&mut house, at("email", ADA), &[], &[("family_name", "Lovelace")]).await.unwrap();
    let key = name.rsplit('/').next().unwrap();
    let refused = house.retract("rectification", key, 1_790_000_000).await;
    assert_eq!(refused.status(), pb::IngestStatus::Rejected, "{refused:?}");
    let right = Some("Lovelace".to_owned());
    assert_eq!(shown(&mut house, ("crm", "1"), "family_name").await, right);
    // Nor by taking back the record that the correction was made beside.
    house.retract("crm", "1", 1_790_000_000).await;
    assert_eq!(shown(&mut house, ("shop", "1"), "family_name").await, right);
    house.put(person("crm", "1", 1_790_000_001, &[("email", ADA)], &wrong)).await;
    house.retract("shop", "1", 1_790_000_002).await;
    assert_eq!(shown(&mut house, ("crm", "1"), "family_name").await, right);
    // Where the last one is taken back it waits, and holds when a source tells of the person again.
    house.retract("crm", "1", 1_790_000_003).await;
    house.put(person("crm", "1", 1_790_000_004, &[("email", ADA)], &wrong)).await;
    assert_eq!(shown(&mut house, ("crm", "1"), "family_name").await, right);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_correction_that_cannot_hold_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = house(&dir).await;
    house.put(person("crm", "1", THEN, &[("email", ADA), ("user_id", "u1")], &[("given_name", "Ad")])).await;
    // A party has one user_id: beside u1 another cannot stand, so the correction would be of nobody.
    let refused = correct(&mut house, at("email", ADA), &[("user_id", "u2")], &[("given_name", "Ada")]).await;
    let status = refused.unwrap_err();
    assert_eq!(reason(&status), "REQUEST_INVALID", "{status:?}");
    assert_eq!(house.statistics().await.live_record_count, 1, "nothing of it is kept");
    assert_eq!(shown(&mut house, ("crm", "1"), "given_name").await.as_deref(), Some("Ad"));
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_split_voids_what_was_approved() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = house(&dir).await;
    house.put(person("crm", "1", THEN, &[("email", ADA)], &[("given_name", "Ada")])).await;
    house.put(person("shop", "7", THEN, &[("email", ADA)], &[("given_name", "Berta")])).await;
    let profile = house.lookup("email", ADA).await.unwrap().name;
    let (name, etag) = house.ask_in_scope(Kind::Erasure, of_profile(&profile)).await.unwrap();
    let approval = pb::ApprovePrivacyRequestRequest {
        name: name.clone(),
        by: "second".to_owned(),
        etag: etag.clone(),
        request_id: String::new(),
    };
    house.privacy.approve_privacy_request(approval).await.unwrap();
    let split = pb::SplitProfileRequest {
        name: profile,
        records: vec![record("shop", "7")],
        author: "steward".to_owned(),
        reason: "somebody else".to_owned(),
        ..Default::default()
    };
    house.reviews.split_profile(split).await.unwrap();
    let refused = house.erase(&name, &etag).await.unwrap_err();
    assert_eq!(reason(&refused), "SCOPE_CHANGED");
    house.assert_lives("x").await;
    assert_eq!(shown(&mut house, ("shop", "7"), "given_name").await.as_deref(), Some("Berta"));
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_profile_is_found_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = house(&dir).await;
    let mut contract = pb::DataContract::default();
    contract.attributes.push(pb::AttributeRule { name: "plan".to_owned(), required: true, ..Default::default() });
    let source = pb::Source { name: "ledger".to_owned(), trust: 500, contract: Some(contract), ..Default::default() };
    house.admin.put_source(pb::PutSourceRequest { source: Some(source), ..Default::default() }).await.unwrap();
    // A subscriber to a newsletter, and a record that waits in quarantine: nobody made a profile of either.
    let (reader, held) = ("reader@harbour-mail.net", "held@harbour-mail.net");
    let mut yes = said(Granted, THEN);
    yes.collection_method = "zqform".to_owned();
    house.say(at("email", reader), yes).await.unwrap();
    let broken = house.put(person("ledger", "1", THEN, &[("email", held)], &[("given_name", "Zqheld")])).await;
    assert_eq!(broken.status(), pb::IngestStatus::Quarantined);
    for (mail, wanted) in [(reader, "zqform"), (held, "Zqheld")] {
        let (name, etag) = house.ask_in_scope(Kind::Access, at("email", mail)).await.unwrap();
        let (text, _) = house.export(&name, &etag).await.unwrap();
        assert!(text.contains(wanted), "{text}");
        let name = house.ask_for_erasure(vec![at("email", mail)]).await.unwrap();
        let preview = house.preview(&name).await.unwrap();
        assert_eq!(preview.statements + preview.quarantined, 1, "{preview:?}");
        house.erase(&name, &preview.etag).await.unwrap();
        assert_eq!(reasons(&house.may(at("email", mail), false).await.unwrap()), ["SUPPRESSED"]);
        let again = house.put(person("shop", mail, THEN, &[("email", mail)], &[])).await;
        assert_eq!(again.status(), pb::IngestStatus::Suppressed);
        // That there is an entry which stops them is told who asks: it is kept of them.
        let (name, etag) = house.ask_in_scope(Kind::Access, at("email", mail)).await.unwrap();
        let (text, _) = house.export(&name, &etag).await.unwrap();
        let text: Value = serde_json::from_str(&text).unwrap();
        let kept = text["suppressions"].as_array().unwrap();
        let kept: BTreeSet<&str> = kept.iter().map(|one| one["namespace"].as_str().unwrap()).collect();
        assert_eq!(kept, BTreeSet::from(["email"]), "{text}");
    }
    // Of whom nothing is held nothing is kept either: they may come.
    let nobody = "nobody@harbour-mail.net";
    house.forget(vec![at("email", nobody)]).await.unwrap();
    let first = house.put(person("shop", "new", THEN, &[("email", nobody)], &[])).await;
    assert_eq!(first.status(), pb::IngestStatus::Accepted);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_default_country_lets_nobody_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = house(&dir).await;
    house.read_numbers_in("DE").await;
    let typed = "030 1234567";
    house.put(person("crm", "1", THEN, &[("phone", typed)], &[])).await;
    house.put(person("crm", "2", THEN, &[("phone", "030 7654321")], &[])).await;
    house.say(of_record("crm", "2"), said(Granted, THEN)).await.unwrap();
    let token =
        pb::IssueUnsubscribeTokenRequest { identifier: Some(identifier("phone", "030 7654321")), ..Default::default() };
    let token = house.consent.issue_unsubscribe_token(token).await.unwrap().into_inner().token;
    house.consent.unsubscribe(pb::UnsubscribeRequest { token, ..Default::default() }).await.unwrap();
    assert_eq!(reasons(&house.may(of_record("crm", "2"), false).await.unwrap()), ["WITHDRAWN"]);
    house.forget(vec![of_record("crm", "1")]).await.unwrap();
    house.read_numbers_in("FR").await;
    for alone in [false, true] {
        // Sent under another record's key, in the same national spelling.
        let again = house.put(person("shop", &format!("9{alone}"), THEN, &[("phone", typed)], &[])).await;
        assert_eq!(again.status(), pb::IngestStatus::Suppressed, "{again:?}");
        assert_eq!(reasons(&house.may(at("phone", typed), false).await.unwrap()), ["SUPPRESSED"]);
        // A click has no number that could be read anew.
        assert_eq!(reasons(&house.may(of_record("crm", "2"), false).await.unwrap()), ["WITHDRAWN"]);
        // Who says where they are is somebody else.
        let french = [("address.country", "FR")];
        let other =
            house.put(person("shop", &format!("8{alone}"), THEN, &[("phone", "01 42 68 53 00")], &french)).await;
        assert_eq!(other.status(), pb::IngestStatus::Accepted);
        let data = dir.path().join("data");
        house.close().await;
        if alone {
            std::fs::remove_dir_all(data.join("checkpoint")).unwrap();
        }
        house = House::open(&data).await;
    }
    // They come by their own act, in the spelling of today.
    let request = pb::ReadmitRequest {
        subjects: vec![at("phone", typed)],
        by: "dpo".to_owned(),
        ground: "came-again".to_owned(),
        ..Default::default()
    };
    assert!(house.privacy.readmit(request).await.unwrap().into_inner().lifted > 0);
    let back = house.put(person("shop", "7", THEN, &[("phone", typed)], &[])).await;
    assert_eq!(back.status(), pb::IngestStatus::Accepted);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_decided_about_somebody_is_in_the_log_of_reads() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = house(&dir).await;
    let policy = pb::PrivacyPolicy { read_log: pb::ReadLogMode::On as i32, ..Default::default() };
    let request = pb::UpdatePrivacyPolicyRequest { policy: Some(policy), ..Default::default() };
    house.privacy.update_privacy_policy(request).await.unwrap();
    house.put(person("crm", "1", THEN, &[("email", ADA)], &[])).await;
    let statement = house.say(at("email", ADA), said(Withdrawn, THEN)).await.unwrap().statement_id;
    house.may(at("email", ADA), false).await.unwrap();
    let receipt = pb::GetConsentReceiptRequest { statement_id: statement, ..Default::default() };
    house.consent.get_consent_receipt(receipt).await.unwrap();
    let profile = house.lookup("email", ADA).await.unwrap().name;
    let mut calls = BTreeSet::new();
    for _ in 0..100 {
        let request = pb::ListReadsRequest { profile: profile.clone(), ..Default::default() };
        let reads = house.privacy.list_reads(request).await.unwrap().into_inner().reads;
        calls = reads.into_iter().map(|read| read.call).collect();
        if calls.len() == 3 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let wanted = ["DecideContact", "GetConsentReceipt", "LookupProfile"].map(str::to_owned);
    assert_eq!(calls, BTreeSet::from(wanted));
    house.close().await;
}

const ADMIN: &str = "an-administrators-key-of-32-chars-or-more";

async fn key_of(channel: &Channel, roles: &[pb::Role]) -> String {
    named_key_of(channel, "", roles).await
}

async fn named_key_of(channel: &Channel, name: &str, roles: &[pb::Role]) -> String {
    let roles = roles.iter().map(|role| *role as i32).collect();
    let key = pb::ApiKey { roles, display_name: name.to_owned(), ..Default::default() };
    let request = pb::CreateApiKeyRequest { api_key: Some(key), ..Default::default() };
    let made = AdminServiceClient::new(channel.clone()).create_api_key(with_key(request, Some(ADMIN))).await;
    made.unwrap().into_inner().secret
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_person_has_a_key_of_their_own_and_no_control_is_taken_off_by_whom_it_watches() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = House::config(&dir.path().join("data"));
    config.require_auth = true;
    config.admin_key = Some(ADMIN.to_owned());
    let house = House::open_with(config).await;
    let channel =
        Channel::from_shared(format!("http://{}", house.server().address())).unwrap().connect().await.unwrap();
    let officer = [pb::Role::PrivacyOfficer];
    let (one, two) = (key_of(&channel, &officer).await, key_of(&channel, &officer).await);
    let mut privacy = PrivacyServiceClient::new(channel.clone());
    let policy = |second_person, read_log: pb::ReadLogMode| pb::UpdatePrivacyPolicyRequest {
        policy: Some(pb::PrivacyPolicy { second_person, read_log: read_log as i32, ..Default::default() }),
        ..Default::default()
    };
    let strict = policy(true, pb::ReadLogMode::Strict);
    privacy.update_privacy_policy(with_key(strict.clone(), Some(&one))).await.unwrap();
    for weaker in [policy(false, pb::ReadLogMode::Strict), policy(true, pb::ReadLogMode::Off)] {
        let refused = privacy.update_privacy_policy(with_key(weaker.clone(), Some(&one))).await.unwrap_err();
        assert_eq!(reason(&refused), "ROLE_NOT_ALLOWED", "{weaker:?}");
        privacy.update_privacy_policy(with_key(weaker, Some(ADMIN))).await.unwrap();
        privacy.update_privacy_policy(with_key(strict.clone(), Some(&one))).await.unwrap();
    }
    // A reader of the feed does not say of another that it erased.
    let confirm = |consumer: &str| pb::ConfirmErasureRequest {
        name: "tenants/default/privacyRequests/1".to_owned(),
        consumer: consumer.to_owned(),
        ..Default::default()
    };
    let mailer = named_key_of(&channel, "mailer", &[pb::Role::Reader]).await;
    for (consumer, key, why) in [
        ("billing", &mailer, "ROLE_NOT_ALLOWED"),
        ("mailer", &mailer, "PRIVACY_REQUEST_NOT_FOUND"),
        ("billing", &one, "PRIVACY_REQUEST_NOT_FOUND"),
    ] {
        let refused = privacy.confirm_erasure(with_key(confirm(consumer), Some(key))).await.unwrap_err();
        assert_eq!(reason(&refused), why, "{consumer}");
    }
    let request = request(Kind::Erasure, vec![at("email", ADA)]);
    let made = privacy.create_privacy_request(with_key(request, Some(&one))).await.unwrap().into_inner();
    let name = made.request.unwrap().name;
    let request = pb::VerifyPrivacyRequestRequest { by: "ada".to_owned(), ..verification(&name) };
    let verified = privacy.verify_privacy_request(with_key(request, Some(&one))).await.unwrap().into_inner();
    let by = verified.request.unwrap().verified_by;
    assert!(by.starts_with("ada@key:"), "{by}");
    let preview = pb::PreviewErasureRequest { name: name.clone() };
    let etag = privacy.preview_erasure(with_key(preview, Some(&one))).await.unwrap().into_inner().etag;
    let approve = |by: &str| pb::ApprovePrivacyRequestRequest {
        name: name.clone(),
        by: by.to_owned(),
        etag: etag.clone(),
        ..Default::default()
    };
    // One key under another name, and one name with another key, are one person.
    for (by, key) in [("berta", &one), ("ada", &two)] {
        let refused = privacy.approve_privacy_request(with_key(approve(by), Some(key))).await.unwrap_err();
        assert_eq!(reason(&refused), "SECOND_PERSON_NEEDED", "{by}");
    }
    privacy.approve_privacy_request(with_key(approve("berta"), Some(&two))).await.unwrap();
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_request_waits_for_a_second_person_where_that_is_wanted() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = house(&dir).await;
    house.put(person("crm", "1", THEN, &[("email", ADA)], &[])).await;
    let second_person_for = vec![Kind::Restriction as i32, Kind::Rectification as i32];
    let policy = pb::PrivacyPolicy { second_person_for: second_person_for.clone(), ..Default::default() };
    let request = pb::UpdatePrivacyPolicyRequest { policy: Some(policy), ..Default::default() };
    let set = house.privacy.update_privacy_policy(request).await.unwrap().into_inner().policy.unwrap();
    let mut wanted = second_person_for;
    wanted.sort_unstable();
    assert_eq!(set.second_person_for, wanted);
    let early = correct(&mut house, at("email", ADA), &[], &[("given_name", "Ada")]).await.unwrap_err();
    assert_eq!(reason(&early), "PRIVACY_REQUEST_STATE");
    let (name, etag) = house.ask_in_scope(Kind::Restriction, at("email", ADA)).await.unwrap();
    let restrict = restriction(&name, &etag);
    assert_eq!(
        reason(&house.privacy.execute_restriction(restrict.clone()).await.unwrap_err()),
        "PRIVACY_REQUEST_STATE"
    );
    let approval =
        pb::ApprovePrivacyRequestRequest { name: name.clone(), by: "counsel".to_owned(), etag, ..Default::default() };
    house.privacy.approve_privacy_request(approval).await.unwrap();
    house.privacy.execute_restriction(restrict).await.unwrap();
    let alone = house.privacy.lift_restriction(lift(&name)).await.unwrap_err();
    assert_eq!(reason(&alone), "SECOND_PERSON_NEEDED", "who verified the restriction does not end it alone");
    let by_another = pb::LiftRestrictionRequest { by: "counsel".to_owned(), ..lift(&name) };
    house.privacy.lift_restriction(by_another).await.unwrap();
    // An objection asks for one person, as before.
    let (name, etag) = house.ask_in_scope(Kind::Objection, at("email", ADA)).await.unwrap();
    house.privacy.execute_objection(objection(&name, &etag, &[])).await.unwrap();
    house.close().await;
}

/// The whole feed for a purpose: what it shows of each profile by its given name, and of whom nothing, by the reason.
async fn watched(house: &mut House, cursor: Option<u64>) -> (BTreeSet<String>, BTreeSet<String>, u64) {
    let request = pb::WatchProfilesRequest {
        cursor: cursor.unwrap_or_default(),
        snapshot: cursor.is_none(),
        view: pb::ProfileView::Full as i32,
        purpose: "marketing".to_owned(),
        stop_at_end: true,
        ..Default::default()
    };
    let mut stream = house.profiles.watch_profiles(request).await.unwrap().into_inner();
    let (mut shown, mut withheld, mut reached) = (BTreeSet::new(), BTreeSet::new(), 0);
    while let Some(message) = stream.message().await.unwrap() {
        reached = reached.max(message.cursor);
        let snapshot = match message.message {
            Some(pb::watch_profiles_response::Message::Snapshot(profile)) => Some(profile),
            _ => None,
        };
        let profile = snapshot.or(message.profile);
        if message.not_permitted.is_empty() {
            let values = profile.iter().flat_map(|profile| &profile.values);
            shown.extend(values.filter(|value| value.name == "given_name").map(|value| format!("{:?}", value.value)));
        } else {
            withheld.extend(message.not_permitted);
            let profile = profile.unwrap_or_default();
            assert!(profile.values.is_empty() && profile.identifiers.is_empty(), "{profile:?}");
        }
    }
    (shown, withheld, reached)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_for_a_purpose_shows_nobody_whom_the_purpose_must_not_see() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = house(&dir).await;
    for (key, mail, name) in [("1", ADA, "Ada"), ("2", "bo@harbour-mail.net", "Bo"), ("3", "cy@harbour-mail.net", "Cy")]
    {
        house.put(person("crm", key, THEN, &[("email", mail)], &[("given_name", name), ("plan", "gold")])).await;
    }
    for key in ["1", "2"] {
        house.say(of_record("crm", key), said(Granted, THEN)).await.unwrap();
    }
    house.restrict(of_record("crm", "2")).await.unwrap();
    let (shown, withheld, cursor) = watched(&mut house, None).await;
    assert_eq!(shown.len(), 1, "{shown:?}");
    assert!(shown.iter().all(|name| name.contains("Ada")), "{shown:?}");
    let of = |reasons: &[&str]| reasons.iter().map(|reason| (*reason).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(withheld, of(&["NOT_GRANTED", "RESTRICTED"]));
    // A no is an event: whoever keeps a copy by the feed hears of it.
    house.say(of_record("crm", "1"), said(Withdrawn, THEN + 1)).await.unwrap();
    let (shown, withheld, _) = watched(&mut house, Some(cursor)).await;
    assert_eq!((shown, withheld), (BTreeSet::new(), of(&["WITHDRAWN"])));
    let bare = pb::WatchProfilesRequest { purpose: "marketing".to_owned(), ..Default::default() };
    assert_eq!(reason(&house.profiles.watch_profiles(bare).await.unwrap_err()), "REQUEST_INVALID");
    let unheard = pb::WatchProfilesRequest {
        purpose: "marketting".to_owned(),
        view: pb::ProfileView::Basic as i32,
        ..Default::default()
    };
    assert_eq!(reason(&house.profiles.watch_profiles(unheard).await.unwrap_err()), "REQUEST_INVALID");
    house.close().await;
}

/// What a feed for marketing tells next; nothing, where it tells nothing for a while.
async fn told(house: &mut House, cursor: u64, tries: u32) -> (BTreeSet<String>, u64) {
    for _ in 0..tries {
        let (shown, withheld, reached) = watched(house, Some(cursor)).await;
        assert_eq!(shown, BTreeSet::new());
        if !withheld.is_empty() {
            return (withheld, reached);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    (BTreeSet::new(), cursor)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_tells_of_a_yes_that_runs_out_once() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let clock = Arc::new(Put(AtomicI64::new(THEN + 10)));
    let open = |clock: &Arc<Put>| House::open_at(House::config(&data), Arc::clone(clock) as _);
    let mut house = open(&clock).await;
    house.sources(&["crm"]).await;
    for (key, mail, until) in [("1", ADA, 100), ("2", "bo@harbour-mail.net", 200)] {
        house.put(person("crm", key, THEN, &[("email", mail)], &[("given_name", key)])).await;
        let yes = pb::ConsentSaying {
            expire_time: Some(prost_types::Timestamp { seconds: THEN + until, nanos: 0 }),
            ..said(Granted, THEN)
        };
        house.say(of_record("crm", key), yes).await.unwrap();
    }
    let (shown, withheld, cursor) = watched(&mut house, None).await;
    assert_eq!((shown.len(), withheld), (2, BTreeSet::new()));
    clock.0.store(THEN + 100, Ordering::Relaxed);
    let expired = BTreeSet::from(["EXPIRED".to_owned()]);
    let (withheld, cursor) = told(&mut house, cursor, 100).await;
    assert_eq!(withheld, expired, "nobody said anything, and the copy must go all the same");
    // What ran out while the server was down is told when it is up again, and nothing is told twice.
    house.close().await;
    clock.0.store(THEN + 300, Ordering::Relaxed);
    house = open(&clock).await;
    let (withheld, cursor) = told(&mut house, cursor, 100).await;
    assert_eq!(withheld, expired);
    for checkpoint in [true, false] {
        house.close().await;
        if !checkpoint {
            std::fs::remove_dir_all(data.join("checkpoint")).unwrap();
        }
        house = open(&clock).await;
        assert_eq!(told(&mut house, cursor, 25).await.0, BTreeSet::new(), "{checkpoint}");
    }
    house.close().await;
}

/// Calls that the test itself makes for no purpose; that take none and are for whose work is about the data; that cannot be
/// made without one.
const TRIED_APART: &[ReadCall] = &[
    ReadCall::GetProfile,
    ReadCall::LookupProfile,
    ReadCall::BatchLookupProfiles,
    ReadCall::SearchProfiles,
    ReadCall::WatchProfiles,
    ReadCall::ExplainProfile,
    ReadCall::ExplainLink,
    ReadCall::GetConsentState,
    ReadCall::DecideContact,
    ReadCall::DecideContacts,
];

/// Reads everything of a person beside profiles that a purpose can be named to; how each call is refused, if it is.
async fn persons_read_for(house: &mut House, purpose: &str, statement: &str) -> Vec<(ReadCall, Option<String>)> {
    let purpose = || purpose.to_owned();
    let statement_id = statement.to_owned();
    let receipt = pb::GetConsentReceiptRequest { statement_id, purpose: purpose(), ..Default::default() };
    let person = || Some(pb::PersonKey { key: Some(pb::person_key::Key::Record(record("crm", "1"))) });
    let subject = || Some(pb::StageSubject { subject: person().map(pb::stage_subject::Subject::Person) });
    let propose = pb::ProposeAccountsRequest { person: person(), purpose: purpose(), ..Default::default() };
    let of = person().map(pb::list_affiliations_request::Of::Person);
    let list = pb::ListAffiliationsRequest { of, purpose: purpose(), ..Default::default() };
    let key = onefold_tests::accounts::account("crm", "firm");
    let rollup = pb::GetRollupRequest { key, purpose: purpose(), ..Default::default() };
    let stage = pb::GetStageRequest { subject: subject(), purpose: purpose(), ..Default::default() };
    let history = pb::ListStageHistoryRequest { subject: subject(), purpose: purpose(), ..Default::default() };
    let ada = Some(onefold_tests::consent::of_record("crm", "1"));
    let said = pb::ListStatementsRequest { subject: ada, purpose: purpose(), ..Default::default() };
    let why = |status: tonic::Status| reason(&status);
    vec![
        (ReadCall::ProposeAccounts, house.accounts.propose_accounts(propose).await.err().map(why)),
        (ReadCall::ListAffiliations, house.accounts.list_affiliations(list).await.err().map(why)),
        (ReadCall::GetRollup, house.accounts.get_rollup(rollup).await.err().map(why)),
        (ReadCall::GetStage, house.accounts.get_stage(stage).await.err().map(why)),
        (ReadCall::ListStageHistory, house.accounts.list_stage_history(history).await.err().map(why)),
        (ReadCall::ListStatements, house.consent.list_statements(said).await.err().map(why)),
        (ReadCall::GetConsentReceipt, house.consent.get_consent_receipt(receipt).await.err().map(why)),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_purpose_is_asked_for_nobody_reads_without_one() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = House::open(&data).await;
    house.sources(&["crm"]).await;
    house.put(person("crm", "1", THEN, &[("email", ADA)], &[("given_name", "Ada")])).await;
    let profile = house.lookup("email", ADA).await.unwrap().name;
    house.put(person("crm", "2", THEN, &[("email", "bob@harbour-mail.net")], &[])).await;
    house.put_account("crm", "firm", None).await.unwrap();
    house.affiliate("crm", "1", "firm").await.unwrap();
    let support = pb::ConsentSaying { purpose: "support".to_owned(), ..said(Granted, THEN) };
    let said = house.say(of_record("crm", "1"), support).await.unwrap().statement_id;
    let policy = pb::PrivacyPolicy { purpose_required: true, ..Default::default() };
    let request = pb::UpdatePrivacyPolicyRequest { policy: Some(policy), ..Default::default() };
    house.privacy.update_privacy_policy(request).await.unwrap();
    for alone in [false, true] {
        // What was kept ready is not handed out either.
        assert_eq!(reason(&house.lookup("email", ADA).await.unwrap_err()), "REQUEST_INVALID", "{alone}");
        assert_eq!(reason(&house.get(&profile).await.unwrap_err()), "REQUEST_INVALID");
        assert_eq!(reason(&house.batch(std::slice::from_ref(&profile)).await.unwrap_err()), "REQUEST_INVALID");
        let watch = pb::WatchProfilesRequest { view: pb::ProfileView::Basic as i32, ..Default::default() };
        assert_eq!(reason(&house.profiles.watch_profiles(watch).await.unwrap_err()), "REQUEST_INVALID");
        let search = pb::SearchProfilesRequest { attributes: vec![text("given_name", "Ada")], ..Default::default() };
        assert_eq!(reason(&house.profiles.search_profiles(search).await.unwrap_err()), "REQUEST_INVALID");
        let explain = pb::ExplainProfileRequest { name: profile.clone() };
        assert_eq!(reason(&house.profiles.explain_profile(explain).await.unwrap_err()), "ROLE_NOT_ALLOWED");
        // What names no purpose is for whose work is about the data, who is nobody here.
        let records = (Some(record("crm", "1")), Some(record("crm", "2")));
        let explain = pb::ExplainLinkRequest { first: records.0, second: records.1, ..Default::default() };
        assert_eq!(reason(&house.profiles.explain_link(explain).await.unwrap_err()), "ROLE_NOT_ALLOWED");
        let ada = || onefold_tests::consent::of_record("crm", "1");
        let state = pb::GetConsentStateRequest { subject: Some(ada()), ..Default::default() };
        assert_eq!(reason(&house.consent.get_consent_state(state).await.unwrap_err()), "ROLE_NOT_ALLOWED");
        let state =
            pb::GetConsentStateRequest { subject: Some(ada()), purpose: "support".to_owned(), ..Default::default() };
        house.consent.get_consent_state(state).await.unwrap();
        for (purpose, refused) in
            [("", Some("REQUEST_INVALID")), ("unheard", Some("REQUEST_INVALID")), ("support", None)]
        {
            let told = persons_read_for(&mut house, purpose, &said).await;
            for (call, answer) in &told {
                assert_eq!(answer.as_deref(), refused, "{call:?} for {purpose:?}");
            }
            let tried = |call: &&ReadCall| told.iter().any(|(one, _)| one == *call) || TRIED_APART.contains(call);
            let all = ReadCall::ALL.iter().filter(|call| call.asks_purpose());
            assert_eq!(all.filter(|call| !tried(call)).collect::<Vec<_>>(), Vec::<&ReadCall>::new(), "try it here");
        }
        let for_support =
            pb::GetProfileRequest { name: profile.clone(), purpose: "support".to_owned(), ..Default::default() };
        house.profiles.get_profile(for_support).await.unwrap();
        house.close().await;
        if alone {
            std::fs::remove_dir_all(data.join("checkpoint")).unwrap();
        }
        house = House::open(&data).await;
    }
    assert_eq!(reason(&house.get(&profile).await.unwrap_err()), "REQUEST_INVALID");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_steward_parts_a_correction_from_whom_it_was_made_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = house(&dir).await;
    let wrong = [("family_name", "Lovelase")];
    for key in ["1", "2", "3"] {
        house.put(person("crm", key, THEN, &[("email", ADA)], &wrong)).await;
    }
    let made = correct(&mut house, at("email", ADA), &[], &[("family_name", "Lovelace")]).await.unwrap();
    let more = correct(&mut house, at("email", ADA), &[], &[("given_name", "Ada")]).await.unwrap();
    let number = |name: &str| name.rsplit('/').next().unwrap().to_owned();
    let (author, why) = ("steward".to_owned(), "by hand".to_owned());
    // Neither by taking the judgement back, nor by another one.
    let all =
        house.reviews.list_judgements(pb::ListJudgementsRequest::default()).await.unwrap().into_inner().judgements;
    assert_eq!(all.len(), 7, "each beside each record, and the second beside the first");
    let names = vec![all[0].name.clone()];
    let withdraw = pb::WithdrawJudgementsRequest { names, ..Default::default() };
    assert_eq!(reason(&house.reviews.withdraw_judgements(withdraw).await.unwrap_err()), "REQUEST_INVALID");
    let pair = pb::PairJudgement {
        first: Some(record("crm", "1")),
        second: Some(record("rectification", &number(&made))),
        verdict: pb::Verdict::Different as i32,
    };
    let judge =
        pb::JudgeRequest { judgements: vec![pair], author: author.clone(), reason: why.clone(), ..Default::default() };
    assert_eq!(reason(&house.reviews.judge(judge).await.unwrap_err()), "REQUEST_INVALID");
    let profile = house.lookup("email", ADA).await.unwrap().name;
    let split = |records: Vec<pb::SourceRecord>| pb::SplitProfileRequest {
        name: profile.clone(),
        records,
        author: author.clone(),
        reason: why.clone(),
        ..Default::default()
    };
    let alone = split(vec![record("rectification", &number(&more))]);
    assert_eq!(reason(&house.reviews.split_profile(alone).await.unwrap_err()), "REQUEST_INVALID");
    // One of the records beside which they were made is parted from the others: they stay with those.
    house.reviews.split_profile(split(vec![record("crm", "1")])).await.unwrap();
    assert_eq!(shown(&mut house, ("crm", "1"), "family_name").await.as_deref(), Some("Lovelase"));
    for key in ["2", "3"] {
        assert_eq!(shown(&mut house, ("crm", key), "family_name").await.as_deref(), Some("Lovelace"));
        assert_eq!(shown(&mut house, ("crm", key), "given_name").await.as_deref(), Some("Ada"));
    }
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_correction_leaves_a_merged_profile_with_whom_it_was_made_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = house(&dir).await;
    house.put(person("crm", "7", THEN, &[("email", "bob@harbour-mail.net")], &[("family_name", "Moore")])).await;
    for key in ["1", "2"] {
        house.put(person("crm", key, THEN, &[("email", ADA)], &[("family_name", "Lovelase")])).await;
    }
    correct(&mut house, at("email", ADA), &[], &[("family_name", "Lovelace")]).await.unwrap();
    let (author, why) = ("steward".to_owned(), "by hand".to_owned());
    let mut names = Vec::new();
    for mail in ["bob@harbour-mail.net", ADA] {
        names.push(house.lookup("email", mail).await.unwrap().name);
    }
    let merge = pb::MergeProfilesRequest { names, author: author.clone(), reason: why.clone(), ..Default::default() };
    house.reviews.merge_profiles(merge).await.unwrap();
    let name = house.lookup("email", ADA).await.unwrap().name;
    assert_eq!(house.lookup("email", "bob@harbour-mail.net").await.unwrap().name, name);
    let records = vec![record("crm", "1"), record("crm", "2")];
    let split = pb::SplitProfileRequest { name, records, author, reason: why, ..Default::default() };
    house.reviews.split_profile(split).await.unwrap();
    assert_eq!(shown(&mut house, ("crm", "1"), "family_name").await.as_deref(), Some("Lovelace"));
    assert_eq!(shown(&mut house, ("crm", "7"), "family_name").await.as_deref(), Some("Moore"));
    house.close().await;
}
