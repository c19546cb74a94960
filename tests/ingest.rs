//! From a streamed fragment to a served profile, over loopback, through restarts.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use onefold_proto::v1 as pb;
use onefold_tests::{House, person, reason, record};
use pb::IngestStatus;

fn status(result: &pb::IngestResult) -> IngestStatus {
    IngestStatus::try_from(result.status).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_records_become_one_person_and_part_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    house.sources(&["crm", "shop"]).await;
    let crm = house
        .put(person("crm", "1", 100, &[("email", "Ada@Acme.com")], &[("given_name", "Ada"), ("family_name", "King")]))
        .await;
    let shop = house.put(person("shop", "9", 200, &[("phone", "(202) 456-1111")], &[("given_name", "A.")])).await;
    assert_eq!((status(&crm), status(&shop)), (IngestStatus::Accepted, IngestStatus::Accepted), "{crm:?} {shop:?}");
    assert_ne!(crm.profile, shop.profile);

    // The bridge.
    let bridge = house
        .put(person(
            "shop",
            "10",
            300,
            &[("email", "ada@acme.com"), ("phone", "+1 202 456 1111")],
            &[("given_name", "Ada")],
        ))
        .await;
    assert_eq!(bridge.profile, crm.profile, "a merge keeps the oldest id");
    let merged = house.get(&shop.profile).await.unwrap();
    assert_eq!(merged.name, crm.profile, "the old id answers with the profile that it lives on in");
    assert_eq!(merged.records.len(), 3);
    let names: Vec<&str> = merged.values.iter().map(|v| v.name.as_str()).collect();
    assert_eq!(names, ["family_name", "given_name"]);
    assert_eq!(merged.values[0].provenance.as_ref().unwrap().record, Some(record("crm", "1")), "law 8");
    assert_eq!(house.lookup("phone", "202-456-1111").await.unwrap().name, crm.profile);

    // A restart changes nothing.
    let before = house.digest().await;
    house.close().await;
    let mut house = House::open(&dir.path().join("data")).await;
    assert_eq!(house.digest().await, before);
    assert_eq!(house.get(&shop.profile).await.unwrap().name, crm.profile);

    // The bridge goes, and the two part.
    let gone = house.retract("shop", "10", 400).await;
    assert_eq!(status(&gone), IngestStatus::Accepted);
    let ada = house.lookup("email", "ada@acme.com").await.unwrap();
    let other = house.lookup("phone", "2024561111").await.unwrap();
    assert_eq!(ada.name, crm.profile);
    assert_ne!(other.name, crm.profile, "a split opens a new id");
    let error = house.lookup("email", "eve@acme.com").await.unwrap_err();
    assert_eq!((error.code(), reason(&error).as_str()), (tonic::Code::NotFound, "PROFILE_NOT_FOUND"));
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sending_again_is_harmless_and_a_named_call_is_answered_once() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = House::open(&data).await;
    house.sources(&["crm"]).await;
    let fragment = person("crm", "1", 100, &[("email", "ada@acme.com")], &[("given_name", "Ada")]);
    let named = pb::PutFragmentRequest {
        fragment: Some(fragment.clone()),
        request_id: "7f1c2d34-0a1b-4c5d-8e9f-001122334455".to_owned(),
        ..Default::default()
    };
    let first = house.ingest.put_fragment(named.clone()).await.unwrap().into_inner().result.unwrap();
    assert_eq!(status(&first), IngestStatus::Accepted);
    assert_eq!(status(&house.put(fragment.clone()).await), IngestStatus::Duplicate);
    let older = person("crm", "1", 50, &[("email", "old@acme.com")], &[]);
    assert_eq!(status(&house.put(older).await), IngestStatus::Superseded);
    // Without a time of its own the same facts are the same fragment.
    let mut undated = person("crm", "1", 0, &[("email", "ada@acme.com")], &[("given_name", "Ada")]);
    undated.observed_time = None;
    assert_eq!(status(&house.put(undated).await), IngestStatus::Duplicate);
    for _ in 0..2 {
        let again = house.ingest.put_fragment(named.clone()).await.unwrap().into_inner().result.unwrap();
        assert_eq!(again, first, "the first answer, word for word");
        let mut other = named.clone();
        other.fragment = Some(person("crm", "2", 100, &[], &[]));
        let error = house.ingest.put_fragment(other).await.unwrap_err();
        assert_eq!((error.code(), reason(&error).as_str()), (tonic::Code::InvalidArgument, "REQUEST_ID_REUSED"));
        house.close().await;
        house = House::open(&data).await;
    }
    assert_eq!(house.statistics().await.live_record_count, 1);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_its_contract_waits_in_quarantine_and_comes_back_after_a_fix() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = House::open(&data).await;
    let contract = |required: bool| pb::DataContract {
        require_any_namespace: vec!["email".to_owned()],
        attributes: vec![
            pb::AttributeRule { name: "family_name".to_owned(), required, ..Default::default() },
            pb::AttributeRule {
                name: "birth_date".to_owned(),
                kind: pb::AttributeKind::Date as i32,
                ..Default::default()
            },
        ],
        ..Default::default()
    };
    let put_source = |contract| pb::PutSourceRequest {
        source: Some(pb::Source { name: "crm".to_owned(), contract: Some(contract), ..Default::default() }),
        ..Default::default()
    };
    house.admin.put_source(put_source(contract(true))).await.unwrap();
    let broken =
        house.put(person("crm", "1", 100, &[("email", "ada@acme.com")], &[("birth_date", "a while ago")])).await;
    assert_eq!(status(&broken), IngestStatus::Quarantined);
    let fields: Vec<&str> = broken.faults.iter().map(|fault| fault.field.as_str()).collect();
    assert_eq!(fields, ["attributes[birth_date]", "attributes[family_name]"], "every fault");
    assert!(!format!("{:?}", broken.faults).contains("a while ago"), "no personal data in a fault");
    let again =
        house.put(person("crm", "1", 100, &[("email", "ada@acme.com")], &[("birth_date", "a while ago")])).await;
    assert_eq!(again.quarantine_id, broken.quarantine_id, "the same fragment is held once");
    let nameless = house.put(person("crm", "2", 100, &[("email", "eve@acme.com")], &[])).await;
    assert_eq!(status(&nameless), IngestStatus::Quarantined);

    house.close().await;
    let mut house = House::open(&data).await;
    let list = pb::ListQuarantineRequest { include_fragments: true, ..Default::default() };
    let held = house.ingest.list_quarantine(list.clone()).await.unwrap().into_inner();
    assert_eq!(held.total_size, 2);
    assert_eq!(held.quarantined[1].quarantine_id, broken.quarantine_id);
    let kept = held.quarantined[1].fragment.as_ref().unwrap();
    assert_eq!(kept.identifiers[0].value, "ada@acme.com", "nothing is lost");

    house.admin.put_source(put_source(contract(false))).await.unwrap();
    let replay = pb::ReplayQuarantineRequest::default();
    let replayed = house.ingest.replay_quarantine(replay).await.unwrap().into_inner();
    assert_eq!((replayed.released_count, replayed.kept_count), (1, 1));
    assert_eq!(house.lookup("email", "eve@acme.com").await.unwrap().record_count, 1);
    let discard =
        pb::DiscardQuarantineRequest { quarantine_ids: vec![broken.quarantine_id.clone()], ..Default::default() };
    assert_eq!(house.ingest.discard_quarantine(discard).await.unwrap().into_inner().discarded_count, 1);
    house.close().await;
    let mut house = House::open(&data).await;
    assert_eq!(house.ingest.list_quarantine(list).await.unwrap().into_inner().total_size, 0);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_a_namespace_reaches_what_is_known_already() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = House::open(&data).await;
    house.sources(&["crm", "shop"]).await;
    for (source, key) in [("crm", "1"), ("shop", "1")] {
        house.put(person(source, key, 100, &[("phone", "+442071838750")], &[("family_name", "King")])).await;
    }
    assert_eq!(house.statistics().await.profile_count, 1);
    let namespaces = house.admin.list_namespaces(pb::ListNamespacesRequest::default()).await.unwrap().into_inner();
    let mut phone = namespaces.namespaces.into_iter().find(|namespace| namespace.name == "phone").unwrap();
    phone.blocked_values = vec!["+442071838750".to_owned()];
    let put = |namespace| pb::PutNamespaceRequest { namespace: Some(namespace), ..Default::default() };
    house.admin.put_namespace(put(phone.clone())).await.unwrap();
    assert_eq!(house.statistics().await.profile_count, 2, "the blocked value links nobody any more");
    let explain = pb::ExplainLinkRequest {
        first: Some(record("crm", "1")),
        second: Some(record("shop", "1")),
        ..Default::default()
    };
    let why = house.profiles.explain_link(explain.clone()).await.unwrap().into_inner();
    assert!(!why.linked);
    assert_eq!(why.obstacles[0].reason, "BLOCKED");
    let before = house.digest().await;
    house.close().await;
    let mut house = House::open(&data).await;
    assert_eq!(house.digest().await, before);
    // Whatever there is is replaced: the etag is of an older reading.
    phone.etag.clear();
    phone.blocked_values.clear();
    house.admin.put_namespace(put(phone)).await.unwrap();
    assert_eq!(house.statistics().await.profile_count, 1);
    let why = house.profiles.explain_link(explain).await.unwrap().into_inner();
    assert!(why.linked);
    assert_eq!((why.path.len(), why.path[0].value.as_str()), (1, "+442071838750"));
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_feed_tells_everything_once_and_a_read_can_ask_for_its_own_write() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    house.sources(&["crm"]).await;
    let mut last = pb::IngestResult::default();
    for key in 0..300 {
        let email = format!("person{}@acme.com", key % 100);
        last = house.put(person("crm", &key.to_string(), 100, &[("email", &email)], &[("family_name", "King")])).await;
    }
    let read = pb::GetProfileRequest { name: last.profile.clone(), min_sequence: last.sequence, ..Default::default() };
    assert_eq!(house.profiles.get_profile(read).await.unwrap().into_inner().profile.unwrap().record_count, 3);
    let early = pb::GetProfileRequest { name: last.profile.clone(), min_sequence: u64::MAX, ..Default::default() };
    let error = house.profiles.get_profile(early).await.unwrap_err();
    assert_eq!((error.code(), reason(&error).as_str()), (tonic::Code::Unavailable, "SEQUENCE_NOT_REACHED"));

    let watch = pb::WatchProfilesRequest { stop_at_end: true, ..Default::default() };
    let mut feed = house.profiles.watch_profiles(watch).await.unwrap().into_inner();
    let (mut previous, mut created, mut updated) = (0, 0, 0);
    let mut middle = 0;
    while let Some(message) = feed.message().await.unwrap() {
        let Some(pb::watch_profiles_response::Message::Event(event)) = message.message else { panic!("an event") };
        assert_eq!(event.previous_sequence, previous, "no gap");
        previous = event.sequence;
        match event.kind() {
            pb::ProfileEventKind::Created => created += 1,
            pb::ProfileEventKind::Updated => updated += 1,
            other => panic!("{other:?}"),
        }
        if created + updated == 150 {
            middle = message.cursor;
        }
    }
    assert_eq!((created, updated), (100, 200));
    let resume = pb::WatchProfilesRequest { cursor: middle, stop_at_end: true, ..Default::default() };
    let mut feed = house.profiles.watch_profiles(resume).await.unwrap().into_inner();
    let mut rest = 0;
    while feed.message().await.unwrap().is_some() {
        rest += 1;
    }
    assert_eq!(rest, 150, "resumed from the cursor");
    let ahead = pb::WatchProfilesRequest { cursor: u64::MAX, ..Default::default() };
    let error = house.profiles.watch_profiles(ahead).await.unwrap_err();
    assert_eq!((error.code(), reason(&error).as_str()), (tonic::Code::OutOfRange, "CURSOR_AHEAD"));

    let snapshot = pb::WatchProfilesRequest {
        snapshot: true,
        stop_at_end: true,
        view: pb::ProfileView::Full as i32,
        ..Default::default()
    };
    let mut feed = house.profiles.watch_profiles(snapshot).await.unwrap().into_inner();
    let mut records = 0;
    while let Some(message) = feed.message().await.unwrap() {
        match message.message {
            Some(pb::watch_profiles_response::Message::Snapshot(profile)) => records += profile.records.len(),
            Some(pb::watch_profiles_response::Message::SnapshotEnd(end)) => assert_eq!(end.profile_count, 100),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(records, 300);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn masks_views_and_batches_show_what_was_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    house.sources(&["crm"]).await;
    let texts = [("given_name", "Ada"), ("address.street", "1 Main St"), ("address.city", "York")];
    let put = house.put(person("crm", "1", 100, &[("email", "ada@acme.com"), ("user_id", "u1")], &texts)).await;
    let mask = prost_types::FieldMask { paths: vec!["values.address".to_owned(), "record_count".to_owned()] };
    let read = pb::GetProfileRequest { name: put.profile.clone(), read_mask: Some(mask), ..Default::default() };
    for _ in 0..2 {
        let shown = house.profiles.get_profile(read.clone()).await.unwrap().into_inner().profile.unwrap();
        let names: Vec<&str> = shown.values.iter().map(|value| value.name.as_str()).collect();
        assert_eq!(names, ["address.city", "address.street"]);
        assert_eq!((shown.record_count, shown.identifiers.len(), shown.sequence), (1, 0, 0));
    }
    let wrong = pb::GetProfileRequest {
        read_mask: Some(prost_types::FieldMask { paths: vec!["shoe_size".to_owned()] }),
        ..read
    };
    assert_eq!(house.profiles.get_profile(wrong).await.unwrap_err().code(), tonic::Code::InvalidArgument);
    let identifier = |namespace: &str, value: &str| pb::ProfileKey {
        key: Some(pb::profile_key::Key::Identifier(pb::Identifier {
            namespace: namespace.to_owned(),
            value: value.to_owned(),
        })),
    };
    let batch = pb::BatchLookupProfilesRequest {
        keys: vec![
            identifier("email", "ADA@acme.com"),
            identifier("email", "eve@acme.com"),
            identifier("emial", "ada@acme.com"),
            identifier("email", "nonsense"),
            pb::ProfileKey { key: Some(pb::profile_key::Key::Record(record("crm", "1"))) },
            pb::ProfileKey { key: Some(pb::profile_key::Key::Name(put.profile.clone())) },
        ],
        ..Default::default()
    };
    let results = house.profiles.batch_lookup_profiles(batch).await.unwrap().into_inner().results;
    let reasons: Vec<&str> = results.iter().map(|result| result.reason.as_str()).collect();
    assert_eq!(reasons, ["", "PROFILE_NOT_FOUND", "NAMESPACE_UNKNOWN", "IDENTIFIER_INVALID", "", ""]);
    let error = house.lookup("emial", "ada@acme.com").await.unwrap_err();
    assert!(error.message().contains("the nearest is `email`"), "{}", error.message());
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orderly_stop_makes_the_next_start_quick() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = House::open(&data).await;
    house.sources(&["crm"]).await;
    for key in 0..20 {
        house.put(person("crm", &key.to_string(), 100, &[("user_id", &key.to_string())], &[])).await;
    }
    let before = house.digest().await;
    house.close().await;
    for _ in 0..2 {
        let mut house = House::open(&data).await;
        let found = house.server().recovered().clone();
        assert!(found.from_checkpoint, "{found:?}");
        assert_eq!((found.replayed_entries, found.live_records), (0, 20));
        assert_eq!(house.digest().await, before);
        house.close().await;
    }
    // Without the checkpoint the journal alone gives the same.
    std::fs::remove_dir_all(data.join("checkpoint")).unwrap();
    let mut house = House::open(&data).await;
    assert!(!house.server().recovered().from_checkpoint);
    assert_eq!(house.digest().await, before);
    house.close().await;
}
