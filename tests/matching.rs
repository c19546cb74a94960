//! Matching by weight as callers meet it: fragments link and part as they come, stewards outrank evidence, models change
//! under a preview, and a restart forgets nothing.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use onefold_core::fragment::ObservedAt;
use onefold_proto::v1 as pb;
use onefold_server::clock::{Clock, SystemClock};
use onefold_tests::{House, identifier, person, reason, record};

const PERSONS: &str = "tenants/default/models/persons";

/// A server whose tenant matches by weight, with small checkpoints.
async fn house(data: &Path) -> House {
    let mut config = House::config(data);
    config.match_models = true;
    House::open_with(config).await
}

/// Somebody with a name that few have, as one system spells it.
fn ada(key: &str, at: i64, given: &str, birth: &str) -> pb::Fragment {
    let texts = [
        ("given_name", given),
        ("family_name", "Quillfeather"),
        ("birth_date", birth),
        ("street", "17 Larkspur Lane"),
        ("city", "Harrogate"),
        ("postcode", "HG1 2QX"),
    ];
    person("crm", key, at, &[], &texts)
}

async fn profile_of(house: &mut House, key: &str) -> String {
    let key = pb::lookup_profile_request::Key::Record(record("crm", key));
    let request = pb::LookupProfileRequest { key: Some(key), ..Default::default() };
    house.profiles.lookup_profile(request).await.unwrap().into_inner().profile.unwrap().name
}

async fn explain(house: &mut House, one: &str, other: &str) -> pb::ExplainLinkResponse {
    let request = pb::ExplainLinkRequest {
        first: Some(record("crm", one)),
        second: Some(record("crm", other)),
        ..Default::default()
    };
    house.profiles.explain_link(request).await.unwrap().into_inner()
}

async fn judge(
    house: &mut House,
    pairs: &[(&str, &str, pb::Verdict)],
    expire_time: Option<prost_types::Timestamp>,
) -> Result<pb::JudgeResponse, tonic::Status> {
    let judgements = pairs.iter().map(|(one, other, verdict)| pb::PairJudgement {
        first: Some(record("crm", one)),
        second: Some(record("crm", other)),
        verdict: *verdict as i32,
    });
    let request = pb::JudgeRequest {
        judgements: judgements.collect(),
        author: "steward".to_owned(),
        reason: "asked them".to_owned(),
        expire_time,
        ..Default::default()
    };
    house.reviews.judge(request).await.map(tonic::Response::into_inner)
}

async fn set(house: &mut House, choice: pb::model_choice::Choice) -> pb::SetModelResponse {
    let model = Some(pb::ModelChoice { choice: Some(choice) });
    let request = pb::SetModelRequest { name: PERSONS.to_owned(), model, ..Default::default() };
    house.admin.set_model(request).await.unwrap().into_inner()
}

async fn digest(house: &mut House) -> String {
    house.admin.get_digest(pb::GetDigestRequest::default()).await.unwrap().into_inner().graph_digest
}

/// The model in force, with other lines.
async fn with_lines(house: &mut House, link_bits: f64, review_bits: f64) -> String {
    let request = pb::GetModelRequest { name: PERSONS.to_owned() };
    let model = house.admin.get_model(request).await.unwrap().into_inner().model.unwrap();
    let mut artefact: serde_json::Value = serde_json::from_str(&model.artefact_json).unwrap();
    artefact["link_bits"] = link_bits.into();
    artefact["review_bits"] = review_bits.into();
    artefact["version"] = format!("links from {link_bits}").into();
    artefact.to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fragments_without_a_shared_identifier_link_and_part_with_their_evidence() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = house(dir.path()).await;
    house.sources(&["crm"]).await;
    house.put(ada("1", 10, "Adelaide", "1974-03-09")).await;
    house.put(ada("2", 10, "Adelaide", "1974-03-09")).await;
    let mut other = ada("3", 10, "Bartholomew", "1951-11-30");
    other.attributes.retain(|one| one.name == "given_name" || one.name == "birth_date");
    house.put(other).await;
    let (one, two, three) =
        (profile_of(&mut house, "1").await, profile_of(&mut house, "2").await, profile_of(&mut house, "3").await);
    assert_eq!(one, two, "one person twice");
    assert_ne!(one, three);

    let why = explain(&mut house, "1", "2").await;
    assert!(why.linked);
    assert_eq!((why.path.len(), why.path[0].kind.as_str()), (1, "MATCH"));
    let evidence = why.r#match.unwrap();
    let parts: f64 = evidence.comparisons.iter().map(|part| part.weight_bits + part.frequency_bits).sum();
    let sum = evidence.prior_bits + parts + evidence.alternatives_bits;
    assert!((sum - evidence.total_bits).abs() < 1e-3, "{sum} of {evidence:?}");
    assert!(evidence.total_bits >= evidence.link_bits && !evidence.model_version.is_empty());
    assert!(evidence.comparisons.iter().any(|part| part.comparison.contains("birth")), "{evidence:?}");
    let apart = explain(&mut house, "1", "3").await;
    assert!(!apart.linked);
    let reasons: Vec<&str> = apart.obstacles.iter().map(|one| one.reason.as_str()).collect();
    assert!(reasons.contains(&"NO_SHARED_KEY") || reasons.contains(&"WEIGHT_FELL_SHORT"), "{reasons:?}");

    // What rested on the fragment goes with it: superseded by another person's facts, they part.
    let mut changed = ada("2", 20, "Bartholomew", "1951-11-30");
    changed.attributes.retain(|one| one.name == "given_name" || one.name == "birth_date");
    house.put(changed).await;
    assert_ne!(profile_of(&mut house, "1").await, profile_of(&mut house, "2").await);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stewards_outrank_evidence_and_a_restart_forgets_no_judgement() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = house(dir.path()).await;
    house.sources(&["crm"]).await;
    let strict = with_lines(&mut house, 90.0, 0.0).await;
    set(&mut house, pb::model_choice::Choice::ArtefactJson(strict)).await;
    for key in ["1", "2", "3"] {
        house.put(ada(key, 10, "Adelaide", "1974-03-09")).await;
    }
    let asked = house.reviews.list_questions(pb::ListQuestionsRequest::default()).await.unwrap().into_inner();
    assert_eq!(asked.questions.len(), 3, "{asked:?}");
    assert!(asked.questions.iter().all(|question| question.doubt() == pb::Doubt::Between));
    assert!(asked.questions[0].evidence.as_ref().unwrap().total_bits > 0.0);
    // Page by page they are the same.
    let mut paged = Vec::new();
    let mut request = pb::ListQuestionsRequest { page_size: 1, ..Default::default() };
    loop {
        let page = house.reviews.list_questions(request.clone()).await.unwrap().into_inner();
        paged.extend(page.questions);
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(paged, asked.questions);

    judge(&mut house, &[("1", "2", pb::Verdict::Same), ("2", "3", pb::Verdict::Different)], None).await.unwrap();
    let one = profile_of(&mut house, "1").await;
    assert_eq!(one, profile_of(&mut house, "2").await);
    assert_ne!(one, profile_of(&mut house, "3").await);
    assert_eq!(explain(&mut house, "1", "2").await.path[0].kind, "JUDGEMENT");
    // 1 is 2, and 2 is not 3.
    let refused = judge(&mut house, &[("1", "3", pb::Verdict::Same)], None).await.unwrap_err();
    assert_eq!(reason(&refused), "JUDGEMENT_CONTRADICTED");
    // All or none: the first of these could stand alone.
    let refused = judge(
        &mut house,
        &[("2", "3", pb::Verdict::Unsure), ("1", "2", pb::Verdict::Same), ("9", "1", pb::Verdict::Same)],
        None,
    );
    assert_eq!(reason(&refused.await.unwrap_err()), "RECORD_NOT_FOUND");
    assert_ne!(one, profile_of(&mut house, "3").await);

    let before = digest(&mut house).await;
    let told = house.reviews.list_judgements(pb::ListJudgementsRequest::default()).await.unwrap().into_inner();
    assert_eq!(told.judgements.len(), 2);
    assert_eq!((told.judgements[0].author.as_str(), told.judgements[0].reason.as_str()), ("steward", "asked them"));
    assert!(told.judgements[0].seen_bits.is_some_and(|bits| bits > 0.0));
    house.close().await;

    // From the checkpoint, and again from the journal alone.
    for checkpoint in [true, false] {
        if !checkpoint {
            std::fs::remove_dir_all(dir.path().join("checkpoint")).unwrap();
        }
        let mut house = self::house(dir.path()).await;
        assert_eq!(digest(&mut house).await, before, "checkpoint {checkpoint}");
        let again = house.reviews.list_judgements(pb::ListJudgementsRequest::default()).await.unwrap().into_inner();
        assert_eq!(again, told);
        house.close().await;
    }
    let mut house = self::house(dir.path()).await;
    let about = pb::ListJudgementsRequest { record: Some(record("crm", "3")), ..Default::default() };
    let about = house.reviews.list_judgements(about).await.unwrap().into_inner().judgements;
    assert_eq!(about.len(), 1);
    let withdraw = pb::WithdrawJudgementsRequest {
        names: told.judgements.iter().map(|one| one.name.clone()).collect(),
        ..Default::default()
    };
    let done = house.reviews.withdraw_judgements(withdraw.clone()).await.unwrap().into_inner();
    assert_eq!(done.withdrawn_count, 2);
    assert_eq!(house.reviews.withdraw_judgements(withdraw).await.unwrap().into_inner().withdrawn_count, 0);
    assert_ne!(profile_of(&mut house, "1").await, profile_of(&mut house, "2").await, "evidence decides again");
    let left = house.reviews.list_judgements(pb::ListJudgementsRequest::default()).await.unwrap().into_inner();
    assert!(left.judgements.is_empty());
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn profiles_are_merged_and_split_by_hand_within_law_5() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = house(dir.path()).await;
    house.sources(&["crm"]).await;
    for (key, given) in [("1", "Adelaide"), ("2", "Adelaide"), ("3", "Wilhelmina")] {
        house.put(ada(key, 10, given, "1974-03-09")).await;
    }
    let one = profile_of(&mut house, "1").await;
    let split = pb::SplitProfileRequest {
        name: one.clone(),
        records: vec![record("crm", "2")],
        author: "steward".to_owned(),
        reason: "mother and daughter".to_owned(),
        request_id: "7f1c2d34-0a1b-4c5d-8e9f-001122334455".to_owned(),
        ..Default::default()
    };
    let done = house.reviews.split_profile(split.clone()).await.unwrap().into_inner();
    assert_eq!(done.profiles.len(), 2, "{done:?}");
    assert_eq!(house.reviews.split_profile(split).await.unwrap().into_inner(), done, "a repeat gets the first answer");
    let (first, second) = (profile_of(&mut house, "1").await, profile_of(&mut house, "2").await);
    assert_ne!(first, second);
    assert_eq!(explain(&mut house, "1", "2").await.obstacles[0].reason, "JUDGED_DIFFERENT");

    let refused = house.reviews.merge_profiles(merge(&[&first, &second])).await;
    // The judgement replaces the one on the same pair: the last word stands.
    assert_eq!(refused.unwrap().into_inner().profile, first);
    assert_eq!(profile_of(&mut house, "1").await, profile_of(&mut house, "2").await);

    // A party has one customer number: judged the same, and still two (law 5).
    let mut numbered = ada("1", 20, "Adelaide", "1974-03-09");
    numbered.identifiers.push(identifier("user_id", "u-100"));
    house.put(numbered).await;
    let mut numbered = ada("4", 20, "Adelaide", "1990-01-31");
    numbered.identifiers.push(identifier("user_id", "u-200"));
    house.put(numbered).await;
    let (one, four) = (profile_of(&mut house, "1").await, profile_of(&mut house, "4").await);
    assert_ne!(one, four);
    let done = house.reviews.merge_profiles(merge(&[&one, &four])).await.unwrap().into_inner();
    assert_eq!((done.profile.as_str(), done.judgements.len()), ("", 3), "1, 2 and 4, each with each");
    assert_ne!(profile_of(&mut house, "1").await, profile_of(&mut house, "4").await);

    let nobody = pb::SplitProfileRequest { records: vec![record("crm", "3")], name: one, ..Default::default() };
    let refused = house.reviews.split_profile(nobody).await.unwrap_err();
    assert_eq!(reason(&refused), "REQUEST_INVALID", "no author, no reason");
    house.close().await;
}

fn merge(names: &[&str]) -> pb::MergeProfilesRequest {
    pb::MergeProfilesRequest {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        author: "steward".to_owned(),
        reason: "one person".to_owned(),
        ..Default::default()
    }
}

/// Records of somebody else, none of which says anything of Ada's.
fn william(key: &str) -> pb::Fragment {
    let texts = [
        ("given_name", "Wilhelm"),
        ("family_name", "Ostrander"),
        ("birth_date", "1951-11-30"),
        ("street", "4 Mill Road"),
        ("city", "Aberdeen"),
        ("postcode", "AB10 1AB"),
    ];
    person("crm", key, 10, &[], &texts)
}

/// One pair was judged for two profiles: the one record went over, and the others, which contradict the profile that it came
/// to, stayed behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_merge_by_hand_takes_all_records_along_and_outlives_any_one_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = house(dir.path()).await;
    house.sources(&["crm"]).await;
    for key in ["1", "2", "3"] {
        house.put(ada(key, 10, "Adelaide", "1974-03-09")).await;
    }
    for key in ["w1", "w2", "w3"] {
        house.put(william(key)).await;
    }
    let (ada, william) = (profile_of(&mut house, "1").await, profile_of(&mut house, "w1").await);
    assert_eq!([profile_of(&mut house, "3").await, profile_of(&mut house, "w3").await], [ada.clone(), william.clone()]);
    assert_ne!(ada, william);
    let done = house.reviews.merge_profiles(merge(&[&ada, &william])).await.unwrap().into_inner();
    assert_eq!((done.profile.as_str(), done.judgements.len()), (ada.as_str(), 9));
    for key in ["1", "2", "3", "w1", "w2", "w3"] {
        assert_eq!(profile_of(&mut house, key).await, ada, "record {key}");
    }
    let again = house.reviews.merge_profiles(merge(&[&ada, &william])).await.unwrap_err();
    assert_eq!(reason(&again), "REQUEST_INVALID", "they are one already");

    // Whichever record is taken back, the others stay together.
    let all = ["1", "2", "3", "w1", "w2", "w3"];
    for gone in all {
        house.retract("crm", gone, 20).await;
        let rest: Vec<&str> = all.into_iter().filter(|key| *key != gone).collect();
        let whole = profile_of(&mut house, rest[0]).await;
        for key in &rest {
            assert_eq!(profile_of(&mut house, key).await, whole, "record {key} without {gone}");
        }
        let back =
            if gone.starts_with('w') { self::william(gone) } else { self::ada(gone, 10, "Adelaide", "1974-03-09") };
        house.put(pb::Fragment { observed_time: Some(onefold_tests::seconds(30)), ..back }).await;
        assert_eq!(profile_of(&mut house, gone).await, whole, "{gone} is back");
    }
    house.close().await;
}

/// What an earlier split of one record said does not stand in the way of undoing it by a merge.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_merge_by_hand_undoes_a_split_by_hand() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = house(dir.path()).await;
    house.sources(&["crm"]).await;
    for key in ["1", "2", "3", "4"] {
        house.put(ada(key, 10, "Adelaide", "1974-03-09")).await;
    }
    for leaves in [&["1"][..], &["2"], &["3"], &["4"], &["1", "3"], &["3", "4"], &["1", "2", "4"]] {
        let whole = profile_of(&mut house, "1").await;
        let split = pb::SplitProfileRequest {
            name: whole,
            records: leaves.iter().map(|key| record("crm", key)).collect(),
            author: "steward".to_owned(),
            reason: "mother and daughter".to_owned(),
            ..Default::default()
        };
        let parts = house.reviews.split_profile(split).await.unwrap().into_inner().profiles;
        assert_eq!(parts.len(), 2);
        let done = house.reviews.merge_profiles(merge(&[&parts[0], &parts[1]])).await.unwrap().into_inner();
        for key in ["1", "2", "3", "4"] {
            assert_eq!(profile_of(&mut house, key).await, done.profile, "{key} after {leaves:?} left");
        }
    }
    // The same from the journal alone, in which each judgement comes by itself.
    let before = digest(&mut house).await;
    house.close().await;
    std::fs::remove_dir_all(dir.path().join("checkpoint")).unwrap();
    let mut house = self::house(dir.path()).await;
    assert_eq!(digest(&mut house).await, before);
    house.close().await;
}

/// A clock that a test moves.
#[derive(Debug)]
struct Ahead(AtomicI64);

impl Clock for Ahead {
    fn now(&self) -> ObservedAt {
        ObservedAt(SystemClock.now().0 + self.0.load(Ordering::Relaxed))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_judgement_ends_when_it_was_said_to_end() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(Ahead(AtomicI64::new(0)));
    let mut config = House::config(dir.path());
    config.match_models = true;
    let mut house = House::open_at(config, Arc::clone(&clock) as Arc<dyn Clock>).await;
    house.sources(&["crm"]).await;
    for key in ["1", "2"] {
        house.put(ada(key, 10, "Adelaide", "1974-03-09")).await;
    }
    let hour = prost_types::Timestamp { seconds: clock.now().0 / 1_000_000 + 3_600, nanos: 0 };
    judge(&mut house, &[("1", "2", pb::Verdict::Different)], Some(hour)).await.unwrap();
    assert_ne!(profile_of(&mut house, "1").await, profile_of(&mut house, "2").await);
    let past = judge(&mut house, &[("1", "2", pb::Verdict::Same)], Some(onefold_tests::seconds(5))).await;
    assert_eq!(reason(&past.unwrap_err()), "REQUEST_INVALID");
    clock.0.store(3_601_000_000, Ordering::Relaxed);
    for _ in 0..100 {
        if profile_of(&mut house, "1").await == profile_of(&mut house, "2").await {
            house.close().await;
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    panic!("the judgement is still in force");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_preview_says_what_a_change_of_model_then_does() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = house(dir.path()).await;
    house.sources(&["crm"]).await;
    for (key, given, birth) in [
        ("1", "Adelaide", "1974-03-09"),
        ("2", "Adelaide", "1974-03-09"),
        ("3", "Wilhelmina", "1951-11-30"),
        ("4", "Wilhelmina", "1951-11-30"),
    ] {
        house.put(ada(key, 10, given, birth)).await;
    }
    let matched = digest(&mut house).await;
    let choices = [
        pb::model_choice::Choice::None(true),
        pb::model_choice::Choice::Shipped(true),
        pb::model_choice::Choice::ArtefactJson(with_lines(&mut house, 90.0, 10.0).await),
    ];
    let mut seen = vec![matched.clone()];
    for choice in choices {
        let preview = pb::PreviewModelRequest {
            name: PERSONS.to_owned(),
            model: Some(pb::ModelChoice { choice: Some(choice.clone()) }),
            examples_max: 0,
        };
        let before = digest(&mut house).await;
        let told = house.admin.preview_model(preview).await.unwrap().into_inner();
        assert_eq!(digest(&mut house).await, before, "a preview changes nothing");
        let done = set(&mut house, choice).await;
        assert_eq!(digest(&mut house).await, told.graph_digest);
        let stats = house.admin.get_statistics(pb::GetStatisticsRequest::default()).await.unwrap().into_inner();
        assert_eq!(stats.profile_count, told.profile_count_then);
        assert!(stats.sequence >= done.sequence);
        assert_eq!(told.merged_count + told.split_count > 0, told.profile_count_now != told.profile_count_then);
        assert_eq!(told.examples.len() as u64, told.merged_count + told.split_count);
        seen.push(told.graph_digest);
    }
    assert_eq!(seen[2], matched, "the shipped model again");
    assert_ne!(seen[1], matched);
    assert_eq!(seen[1], seen[3], "nothing weighs so much");
    let now = digest(&mut house).await;
    house.close().await;
    std::fs::remove_dir_all(dir.path().join("checkpoint")).unwrap();
    let mut house = self::house(dir.path()).await;
    assert_eq!(digest(&mut house).await, now, "replayed with the models as they came");
    // What comes after the restart is matched by the model in force.
    set(&mut house, pb::model_choice::Choice::Shipped(true)).await;
    assert_eq!(digest(&mut house).await, matched);

    let stale = pb::SetModelRequest {
        name: PERSONS.to_owned(),
        model: Some(pb::ModelChoice { choice: Some(pb::model_choice::Choice::None(true)) }),
        etag: "0123456789abcdef".to_owned(),
        ..Default::default()
    };
    assert_eq!(reason(&house.admin.set_model(stale).await.unwrap_err()), "ETAG_STALE");
    for (artefact, field) in [("{}", "model.artefact_json"), ("no", "model.artefact_json")] {
        let model = Some(pb::ModelChoice { choice: Some(pb::model_choice::Choice::ArtefactJson(artefact.to_owned())) });
        let bad = pb::SetModelRequest { name: PERSONS.to_owned(), model, ..Default::default() };
        let refused = house.admin.set_model(bad).await.unwrap_err();
        assert!(refused.message().contains(field), "{refused:?}");
    }
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_is_found_by_a_misspelt_name_and_a_town() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = house(dir.path()).await;
    house.sources(&["crm"]).await;
    house.put(ada("1", 10, "Adelaide", "1974-03-09")).await;
    let texts = [("given_name", "Ben"), ("family_name", "Smith"), ("city", "Leeds")];
    house.put(person("crm", "2", 10, &[], &texts)).await;
    let search = |texts: &[(&str, &str)]| pb::SearchProfilesRequest {
        attributes: texts.iter().map(|(name, value)| onefold_tests::text(name, value)).collect(),
        ..Default::default()
    };
    let misspelt = search(&[("given_name", "Adelade"), ("family_name", "Quilfeather"), ("city", "Harrogate")]);
    let found = house.profiles.search_profiles(misspelt.clone()).await.unwrap().into_inner().results;
    assert_eq!(found[0].profile.as_ref().unwrap().name, profile_of(&mut house, "1").await, "{found:?}");
    assert!(found[0].evidence_bits > 5.0, "{found:?}");
    let before = digest(&mut house).await;
    assert_eq!(digest(&mut house).await, before, "a search leaves no trace");
    let nobody = search(&[("family_name", "Zyxwv"), ("city", "Ulm")]);
    assert!(house.profiles.search_profiles(nobody).await.unwrap().into_inner().results.is_empty());
    let refused = house.profiles.search_profiles(search(&[("familyname", "x")])).await.unwrap_err();
    assert!(refused.message().contains("family_name"), "{refused:?}");
    assert_eq!(reason(&house.profiles.search_profiles(search(&[])).await.unwrap_err()), "REQUEST_INVALID");
    set(&mut house, pb::model_choice::Choice::None(true)).await;
    assert_eq!(reason(&house.profiles.search_profiles(misspelt).await.unwrap_err()), "MODEL_NOT_FOUND");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trained_model_holds_nothing_that_is_one_persons_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = house(dir.path()).await;
    house.sources(&["crm"]).await;
    let none = pb::TrainModelRequest { name: PERSONS.to_owned(), version: "v".to_owned(), ..Default::default() };
    assert_eq!(reason(&house.admin.train_model(none).await.unwrap_err()), "REQUEST_INVALID", "nothing to learn from");
    // One person in many records, beside others of common names.
    for at in 0..8 {
        house.put(ada(&format!("ada{at}"), 10, "Adelaide", "1974-03-09")).await;
    }
    for at in 0..40 {
        let (given, birth) =
            (["Anna", "Ben", "Carla", "Dan"][at % 4], format!("19{:02}-0{}-1{}", 40 + at, 1 + at % 9, at % 10));
        let texts = [("given_name", given), ("family_name", ["Smith", "Jones"][at % 2]), ("birth_date", &birth)];
        house.put(person("crm", &format!("p{at}"), 10, &[], &texts)).await;
    }
    let request = pb::TrainModelRequest { name: PERSONS.to_owned(), version: "mine".to_owned(), ..Default::default() };
    let trained = house.admin.train_model(request).await.unwrap().into_inner();
    assert_eq!(trained.record_count, 48);
    let artefact = trained.artefact_json.to_lowercase();
    assert!(artefact.contains("smith") && artefact.contains("\"mine\""));
    for alone in ["quillfeather", "adelaide", "larkspur", "hg1", "19740309"] {
        assert!(!artefact.contains(alone), "{alone}");
    }
    set(&mut house, pb::model_choice::Choice::ArtefactJson(trained.artefact_json)).await;
    let models = house.admin.list_models(pb::ListModelsRequest::default()).await.unwrap().into_inner().models;
    let versions: Vec<&str> = models.iter().map(|model| model.version.as_str()).collect();
    assert!(versions.contains(&"mine"), "{versions:?}");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn training_and_previews_pass_over_who_is_erased_meanwhile() {
    const PEOPLE: usize = 400;
    const ERASED_AT_ONCE: usize = 15;
    let dir = tempfile::tempdir().unwrap();
    let mut house = house(dir.path()).await;
    house.sources(&["crm"]).await;
    for at in 0..PEOPLE {
        // No two are alike: an erasure takes a whole profile.
        let born = format!("19{:02}-{:02}-{:02}", 40 + at % 60, 1 + at / 60, 1 + at % 28);
        let part = |at: usize| ["ba", "cor", "del", "fin", "gul", "hart", "jem", "kov", "lun", "mos"][at % 10];
        let (given, family) =
            (format!("{}{}a", part(at), part(at / 10)), format!("{}{}", part(at / 100), part(at + 3)));
        let texts = [("given_name", given.as_str()), ("family_name", &family), ("birth_date", &born), ("shoe", "42")];
        house.put(person("crm", &format!("p{at}"), 10, &[], &texts)).await;
    }
    let shoe = pb::CustomField { attribute: "shoe".to_owned(), kind: "number".to_owned() };
    let request =
        pb::TrainModelRequest { name: PERSONS.to_owned(), version: "mine".to_owned(), custom_fields: vec![shoe] };
    let trained = house.admin.train_model(request.clone()).await.unwrap().into_inner();
    assert_eq!(trained.record_count as usize, PEOPLE);
    // It compares what the rows do not hold, so each fragment is read again.
    let preview = pb::PreviewModelRequest {
        name: PERSONS.to_owned(),
        model: Some(pb::ModelChoice { choice: Some(pb::model_choice::Choice::ArtefactJson(trained.artefact_json)) }),
        examples_max: 0,
    };
    let (mut admin, ended) = (house.admin.clone(), Arc::new(AtomicI64::new(0)));
    let until = Arc::clone(&ended);
    let (asked, wanted) = (request.clone(), preview.clone());
    let studies = tokio::spawn(async move {
        while until.load(Ordering::Acquire) == 0 {
            admin.train_model(asked.clone()).await?;
            admin.preview_model(wanted.clone()).await?;
        }
        Ok::<(), tonic::Status>(())
    });
    let left = 100;
    for from in (left..PEOPLE).step_by(ERASED_AT_ONCE) {
        let them = (from..from + ERASED_AT_ONCE).map(|at| onefold_tests::consent::of_record("crm", &format!("p{at}")));
        house.forget(them.collect()).await.unwrap();
    }
    ended.store(1, Ordering::Release);
    studies.await.unwrap().unwrap();
    assert_eq!(house.admin.train_model(request).await.unwrap().into_inner().record_count, left as u64);
    let told = house.admin.preview_model(preview).await.unwrap().into_inner();
    let stats = house.admin.get_statistics(pb::GetStatisticsRequest::default()).await.unwrap().into_inner();
    assert_eq!(told.profile_count_now, stats.profile_count);
    house.close().await;
}
