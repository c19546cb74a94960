//! Stages on a real server: steps that are not allowed are refused with those that are, history is kept, a merged party has
//! the stage that the rule says, and a split gives each side its own back. Laws 1 and 3.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::path::Path;

use onefold_proto::v1 as pb;
use onefold_tests::accounts::{account, somebody};
use onefold_tests::{House, organisation, person, reason, seconds};
use tonic_types::StatusExt;

fn stage(name: &str, initial: bool, next: &[&str]) -> pb::Stage {
    pb::Stage { name: name.to_owned(), initial, next: next.iter().map(|name| (*name).to_owned()).collect() }
}

async fn define(house: &mut House, rule: pb::StageRule) {
    let stages = vec![
        stage("lead", true, &["mql"]),
        stage("mql", false, &["sql"]),
        stage("sql", false, &["customer"]),
        stage("customer", false, &[]),
    ];
    let pipeline = Some(pb::Pipeline { stages, merge_rule: rule as i32 });
    let lifecycle = Some(pb::Lifecycle { persons: pipeline.clone(), accounts: pipeline });
    let request = pb::PutLifecycleRequest { lifecycle: lifecycle.clone(), ..Default::default() };
    assert_eq!(house.accounts.put_lifecycle(request).await.unwrap().into_inner().lifecycle, lifecycle);
}

fn of_person(key: Option<pb::PersonKey>) -> Option<pb::StageSubject> {
    Some(pb::StageSubject { subject: key.map(pb::stage_subject::Subject::Person) })
}

fn of_account(key: Option<pb::AccountKey>) -> Option<pb::StageSubject> {
    Some(pb::StageSubject { subject: key.map(pb::stage_subject::Subject::Account) })
}

async fn set(house: &mut House, subject: Option<pb::StageSubject>, stage: &str) -> Result<String, tonic::Status> {
    let request = pb::SetStageRequest { subject, stage: stage.to_owned(), ..Default::default() };
    Ok(house.accounts.set_stage(request).await?.into_inner().stage.unwrap_or_default().stage)
}

async fn get(house: &mut House, subject: Option<pb::StageSubject>) -> (String, Vec<String>) {
    let request = pb::GetStageRequest { subject, ..Default::default() };
    let found = house.accounts.get_stage(request).await.unwrap().into_inner();
    (found.stage.unwrap_or_default().stage, found.allowed)
}

async fn history(house: &mut House, subject: Option<pb::StageSubject>) -> Vec<(String, String)> {
    let mut request = pb::ListStageHistoryRequest { subject, page_size: 2, ..Default::default() };
    let mut all = Vec::new();
    loop {
        let page = house.accounts.list_stage_history(request.clone()).await.unwrap().into_inner();
        all.extend(page.events.into_iter().map(|event| (event.source, event.stage)));
        if page.next_page_token.is_empty() {
            return all;
        }
        request.page_token = page.next_page_token;
    }
}

fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter().map(|(source, stage)| ((*source).to_owned(), (*stage).to_owned())).collect()
}

async fn put_person(house: &mut House, source: &str, at: i64, email: &str) {
    let result = house.put(person(source, "ada", at, &[("email", email)], &[("full_name", "Ada Lovelace")])).await;
    assert_eq!(result.status(), pb::IngestStatus::Accepted);
}

async fn reopened(house: House, data: &Path, drop_checkpoint: bool) -> House {
    house.close().await;
    if drop_checkpoint {
        for derived in ["checkpoint", "keyed"] {
            std::fs::remove_dir_all(data.join(derived)).unwrap();
            std::fs::create_dir(data.join(derived)).unwrap();
        }
    }
    House::open(data).await
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_are_allowed_or_refused_and_the_history_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = House::open(&data).await;
    house.sources(&["crm", "web"]).await;
    put_person(&mut house, "web", 1_000, "ada@lovelace-mail.org").await;
    let ada = || of_person(somebody("web", "ada"));
    assert_eq!(reason(&set(&mut house, ada(), "lead").await.unwrap_err()), "LIFECYCLE_UNDEFINED");
    define(&mut house, pb::StageRule::Furthest).await;

    let refused = set(&mut house, ada(), "customer").await.unwrap_err();
    assert_eq!(reason(&refused), "STAGE_FORBIDDEN");
    assert_eq!(refused.get_details_error_info().unwrap().metadata["allowed"], "lead");
    assert_eq!(set(&mut house, ada(), "lead").await.unwrap(), "lead");
    assert_eq!(set(&mut house, ada(), "mql").await.unwrap(), "mql");
    assert_eq!(set(&mut house, ada(), "mql").await.unwrap(), "mql", "again is harmless");
    let refused = set(&mut house, ada(), "lead").await.unwrap_err();
    assert_eq!(refused.get_details_error_info().unwrap().metadata["allowed"], "sql");
    assert_eq!(reason(&set(&mut house, ada(), "friend").await.unwrap_err()), "STAGE_UNKNOWN");
    assert_eq!(get(&mut house, ada()).await, ("mql".to_owned(), vec!["sql".to_owned()]));
    let told = pairs(&[("web", "lead"), ("web", "mql")]);
    assert_eq!(history(&mut house, ada()).await, told);
    for drop_checkpoint in [false, true] {
        house = reopened(house, &data, drop_checkpoint).await;
        assert_eq!(get(&mut house, ada()).await.0, "mql");
        assert_eq!(history(&mut house, ada()).await, told, "drop_checkpoint {drop_checkpoint}");
    }
    // The profile's readers hear of it.
    let events = house.events("", 0).await.unwrap();
    use pb::ProfileEventKind::{Created, Updated};
    assert_eq!(events.iter().map(pb::ProfileEvent::kind).collect::<Vec<_>>(), [Created, Updated, Updated]);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_follows_the_rule_and_a_split_restores_each_side() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    for (name, trust) in [("crm", 900), ("web", 100)] {
        let source = pb::Source { name: name.to_owned(), trust, ..Default::default() };
        house.admin.put_source(pb::PutSourceRequest { source: Some(source), ..Default::default() }).await.unwrap();
    }
    define(&mut house, pb::StageRule::Furthest).await;
    put_person(&mut house, "crm", 1_000, "ada@lovelace-mail.org").await;
    put_person(&mut house, "web", 1_000, "augusta@lovelace-mail.org").await;
    let side = |source: &str| of_person(somebody(source, "ada"));
    for stage in ["lead", "mql", "sql"] {
        set(&mut house, side("web"), stage).await.unwrap();
    }
    set(&mut house, side("crm"), "lead").await.unwrap();
    assert_eq!(get(&mut house, side("crm")).await.0, "lead");

    put_person(&mut house, "web", 2_000, "ada@lovelace-mail.org").await;
    for (rule, want) in
        [(pb::StageRule::Furthest, "sql"), (pb::StageRule::MostRecent, "lead"), (pb::StageRule::MostTrusted, "lead")]
    {
        define(&mut house, rule).await;
        for source in ["crm", "web"] {
            assert_eq!(get(&mut house, side(source)).await.0, want, "{rule:?}");
        }
    }
    define(&mut house, pb::StageRule::Furthest).await;
    let both = pairs(&[("web", "lead"), ("web", "mql"), ("web", "sql"), ("crm", "lead")]);
    assert_eq!(history(&mut house, side("crm")).await, both);

    // Told of the whole person, it is told of every record that the profile holds.
    let profile = house.lookup("email", "ada@lovelace-mail.org").await.unwrap().name;
    let whole = of_person(Some(pb::PersonKey { key: Some(pb::person_key::Key::Profile(profile)) }));
    assert_eq!(set(&mut house, whole, "customer").await.unwrap(), "customer");
    put_person(&mut house, "web", 3_000, "augusta@lovelace-mail.org").await;
    for source in ["crm", "web"] {
        assert_eq!(get(&mut house, side(source)).await.0, "customer");
    }
    assert_eq!(history(&mut house, side("crm")).await, pairs(&[("crm", "lead"), ("crm", "customer")]));
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_have_stages_too_and_a_subtree_counts_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    house.sources(&["crm"]).await;
    define(&mut house, pb::StageRule::Furthest).await;
    for (key, above) in [("top", None), ("a", Some("top")), ("b", Some("top"))] {
        house.put_account("crm", key, above).await.unwrap();
    }
    for (key, stages) in [("a", &["lead", "mql"][..]), ("b", &["lead"])] {
        for stage in stages {
            set(&mut house, of_account(account("crm", key)), stage).await.unwrap();
        }
        house.put(organisation("crm", key, 1_000, &[("registration_id", "HRB-9")], &[])).await;
    }
    let merged = house.get_account(account("crm", "b")).await.unwrap();
    assert_eq!((merged.parts.len(), merged.stage.map(|stage| stage.stage)), (2, Some("mql".to_owned())));
    put_person(&mut house, "crm", 1_000, "ada@lovelace-mail.org").await;
    set(&mut house, of_person(somebody("crm", "ada")), "lead").await.unwrap();
    for key in ["ada", "nobody-yet"] {
        let role = pb::PutAffiliationRequest {
            person: somebody("crm", key),
            account: account("crm", "b"),
            ..Default::default()
        };
        house.accounts.put_affiliation(role).await.unwrap();
    }
    let sum = house.rollup(account("crm", "top")).await.unwrap();
    assert_eq!((sum.account_count, sum.source_account_count, sum.accounts_without_stage), (2, 3, 1));
    assert_eq!(sum.accounts_by_stage.into_iter().collect::<Vec<_>>(), [("mql".to_owned(), 1)]);
    assert_eq!((sum.person_count, sum.unresolved_person_count), (1, 1));
    assert_eq!(sum.persons_by_stage.into_iter().collect::<Vec<_>>(), [("lead".to_owned(), 1)]);
    house.retract("crm", "b", 2_000).await;
    assert_eq!(get(&mut house, of_account(account("crm", "b"))).await.0, "lead", "apart, each has its own");
    house.close().await;
}

#[tokio::test]
async fn a_rollup_counts_whom_consent_allows_to_be_reached() {
    use onefold_tests::consent::{of_record, said};
    use pb::ConsentDecision::{Granted, Restricted, Withdrawn};
    const AT: i64 = 1_700_000_000;
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    house.sources(&["crm", "shop", "web"]).await;
    house.put_account("crm", "top", None).await.unwrap();
    house.put_account("crm", "below", Some("top")).await.unwrap();
    let people: [(&str, &str, Option<pb::ConsentDecision>, &str); 6] = [
        ("yes", "top", Some(Granted), ""),
        ("against", "below", Some(Withdrawn), ""),
        ("kept", "below", Some(Restricted), ""),
        ("silent", "below", None, "DE"),
        ("american", "top", None, "US"),
        ("twin", "below", None, ""),
    ];
    for (key, to, word, country) in people {
        let email = format!("{key}@harbour-mail.net");
        let texts: &[(&str, &str)] = if country.is_empty() { &[] } else { &[("address.country", country)] };
        let source = if key == "twin" { "shop" } else { "crm" };
        house.put(person(source, key, AT, &[("email", &email)], texts)).await;
        if let Some(word) = word {
            house.say(of_record(source, key), said(word, AT)).await.unwrap();
        }
        let role = pb::PutAffiliationRequest {
            person: somebody(source, key),
            account: account("crm", to),
            ..Default::default()
        };
        house.accounts.put_affiliation(role).await.unwrap();
    }
    let sums = async |house: &mut House, purposes: &[&str]| {
        let request = pb::GetRollupRequest {
            key: account("crm", "top"),
            consent_purposes: purposes.iter().map(|purpose| (*purpose).to_owned()).collect(),
            ..Default::default()
        };
        house.accounts.get_rollup(request).await.map(tonic::Response::into_inner)
    };
    let of = |sum: &pb::GetRollupResponse, channel: &str| {
        let one = sum.consent_coverage.iter().find(|one| one.purpose == "marketing" && one.channel == channel).unwrap();
        [one.permitted_count, one.stopped_count, one.not_granted_count]
    };
    let apart = sums(&mut house, &["marketing", "service", "marketing"]).await.unwrap();
    assert_eq!((apart.person_count, of(&apart, "email"), of(&apart, "post")), (6, [2, 2, 2], [1, 0, 5]));
    let channels = house.policy().await.unwrap().channels.len();
    assert_eq!(apart.consent_coverage.len(), 2 * channels, "each purpose once");
    // The twin turns out to be who said no: one person fewer, and the no covers both.
    let both = [("email", "twin@harbour-mail.net"), ("email", "against@harbour-mail.net")];
    let joined = house.put(person("web", "bridge", AT, &both, &[])).await;
    assert!(joined.faults.is_empty(), "{joined:?}");
    let merged = sums(&mut house, &["marketing"]).await.unwrap();
    assert_eq!((merged.person_count, of(&merged, "email")), (5, [2, 2, 1]));
    house.retract("web", "bridge", AT + 1).await;
    assert_eq!(of(&sums(&mut house, &["marketing"]).await.unwrap(), "email"), [2, 2, 2], "apart, each has its own");
    assert!(sums(&mut house, &[]).await.unwrap().consent_coverage.is_empty());
    assert_eq!(reason(&sums(&mut house, &["marketting"]).await.unwrap_err()), "REQUEST_INVALID");
    house.close().await;
}

/// Of a member it can come out later that their telephone is one that was erased: a decision denies them then, and a roll-up
/// counts them as stopped, though nobody said no.
#[tokio::test(flavor = "multi_thread")]
async fn a_roll_up_counts_who_holds_what_was_erased_as_stopped() {
    use onefold_tests::consent::{of_record, reasons, said};
    use pb::ConsentDecision::Granted;
    const AT: i64 = 1_700_000_000;
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    house.sources(&["crm", "shop"]).await;
    house.put_account("crm", "top", None).await.unwrap();
    // In France the second one's number is none, so that nobody knows whose it is.
    house.read_numbers_in("FR").await;
    for (key, phone) in [("erased", "+49 30 1234567"), ("kept", "030 1234567"), ("free", "+49 30 7654321")] {
        house.put(person("crm", key, AT, &[("phone", phone), ("user_id", key)], &[])).await;
        house.say(of_record("crm", key), said(Granted, AT)).await.unwrap();
        house.affiliate("crm", key, "top").await.unwrap();
    }
    let email = async |house: &mut House| {
        let (key, consent_purposes) = (account("crm", "top"), vec!["marketing".to_owned()]);
        let request = pb::GetRollupRequest { key, consent_purposes, ..Default::default() };
        let sum = house.accounts.get_rollup(request).await.unwrap().into_inner();
        let one = sum.consent_coverage.iter().find(|one| one.channel == "email").unwrap();
        [one.permitted_count, one.stopped_count, one.not_granted_count]
    };
    assert_eq!(email(&mut house).await, [3, 0, 0]);
    house.forget(vec![of_record("crm", "erased")]).await.unwrap();
    assert_eq!(email(&mut house).await, [2, 0, 0], "who was erased is a member no more");
    house.read_numbers_in("DE").await;
    let denied = house.may(of_record("crm", "kept"), false).await.unwrap();
    assert_eq!(reasons(&denied), ["SUPPRESSED"]);
    assert_eq!(email(&mut house).await, [1, 1, 0], "as a decision does");
    house.close().await;
}

/// The parents and the closing of an account lie under its own key. Once that was destroyed a start without a checkpoint
/// could not read them: all that lay below an erased account fell out of the tree.
#[tokio::test(flavor = "multi_thread")]
async fn an_erased_account_stands_where_it_stood_however_memory_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = House::open(&data).await;
    house.sources(&["crm"]).await;
    let keys = ["before", "top", "middle", "low"];
    for (key, above) in [("before", None), ("top", None), ("middle", Some("before")), ("low", Some("middle"))] {
        house.put_account("crm", key, above).await.unwrap();
        house.put(organisation("crm", key, 1_000, &[], &[("legal_name", &format!("Works {key} Ltd"))])).await;
    }
    house.move_account(account("crm", "middle"), account("crm", "top")).await.unwrap();
    house.affiliate("crm", "ada", "low").await.unwrap();
    let close = pb::CloseAccountRequest { key: account("crm", "middle"), ..Default::default() };
    house.accounts.close_account(close).await.unwrap();

    // What is served of all of them now and long ago, and counted.
    let seen = async |house: &mut House| {
        let mut all = Vec::new();
        for key in keys {
            for as_of_time in [None, Some(seconds(1_000))] {
                let request = pb::GetAccountRequest { key: account("crm", key), as_of_time, ..Default::default() };
                let found = house.accounts.get_account(request).await.unwrap().into_inner().account.unwrap();
                let request = pb::GetRollupRequest { key: account("crm", key), as_of_time, ..Default::default() };
                all.push((found, house.accounts.get_rollup(request).await.unwrap().into_inner()));
            }
        }
        all
    };
    let way =
        |account: &pb::Account| account.ancestors.iter().map(|above| above.display_name.clone()).collect::<Vec<_>>();
    house.forget(vec![onefold_tests::consent::of_record("crm", "middle")]).await.unwrap();
    let live = seen(&mut house).await;
    // Two for each: now, and long ago.
    assert_eq!(way(&live[6].0), ["", "Company top"], "its name is gone, its place is not");
    assert_eq!(way(&live[7].0), ["", "Company before"]);
    assert_eq!((live[2].1.account_count, live[2].1.closed_account_count, live[2].1.unresolved_person_count), (3, 1, 1));
    for drop_checkpoint in [false, true] {
        house = reopened(house, &data, drop_checkpoint).await;
        assert_eq!(seen(&mut house).await, live, "without a checkpoint: {drop_checkpoint}");
    }
    house.close().await;
}
