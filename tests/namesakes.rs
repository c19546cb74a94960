//! A source may know a person and an account by one key. What people merge into says nothing of accounts, nor what companies
//! merge into of people.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use onefold_core::lifecycle::StageId;
use onefold_proto::v1 as pb;
use onefold_tests::accounts::{account, somebody};
use onefold_tests::consent::{of_record, said};
use onefold_tests::{House, organisation, person, reason, record};
use pb::ConsentDecision::Granted;

const THEN: i64 = 1_700_000_000;

fn of_account(key: &str) -> Option<pb::StageSubject> {
    Some(pb::StageSubject { subject: account("crm", key).map(pb::stage_subject::Subject::Account) })
}

fn of_person(key: &str) -> Option<pb::StageSubject> {
    Some(pb::StageSubject { subject: somebody("crm", key).map(pb::stage_subject::Subject::Person) })
}

async fn set(house: &mut House, subject: Option<pb::StageSubject>, stage: &str) {
    let request = pb::SetStageRequest { subject, stage: stage.to_owned(), ..Default::default() };
    house.accounts.set_stage(request).await.unwrap();
}

async fn stands(house: &mut House, subject: Option<pb::StageSubject>) -> Option<String> {
    let request = pb::GetStageRequest { subject, ..Default::default() };
    house.accounts.get_stage(request).await.unwrap().into_inner().stage.map(|stage| stage.stage)
}

async fn roles(house: &mut House, of: pb::list_affiliations_request::Of) -> Vec<pb::Affiliation> {
    let request = pb::ListAffiliationsRequest { of: Some(of), ..Default::default() };
    house.accounts.list_affiliations(request).await.unwrap().into_inner().affiliations
}

/// Accounts 17 and 18, each of a company of its own; and stages.
async fn house(dir: &tempfile::TempDir) -> House {
    let mut house = House::open(&dir.path().join("data")).await;
    house.sources(&["crm"]).await;
    for key in ["17", "18"] {
        house.put_account("crm", key, None).await.unwrap();
    }
    let stages = vec![pb::Stage { name: "lead".to_owned(), initial: true, ..Default::default() }];
    let pipeline = || Some(pb::Pipeline { stages: stages.clone(), ..Default::default() });
    let lifecycle = Some(pb::Lifecycle { persons: pipeline(), accounts: pipeline() });
    house.accounts.put_lifecycle(pb::PutLifecycleRequest { lifecycle, ..Default::default() }).await.unwrap();
    house
}

#[tokio::test(flavor = "multi_thread")]
async fn people_who_merge_make_no_one_company_of_the_accounts_that_have_their_keys() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = house(&dir).await;
    house.caps(&[("firm", 1, pb::CapScope::Account)]).await.unwrap();
    // Colleagues of either company, and one person whom the source knows by the keys of both.
    for (key, at) in [("a", "17"), ("b", "18")] {
        house.put(person("crm", key, THEN, &[("email", &format!("{key}@acme-corp.com"))], &[])).await;
        house.say(of_record("crm", key), said(Granted, THEN)).await.unwrap();
        house.affiliate("crm", key, at).await.unwrap();
    }
    set(&mut house, of_account("17"), "lead").await;
    for key in ["17", "18"] {
        house.put(person("crm", key, THEN, &[("email", "ada@acme-corp.com")], &[])).await;
    }
    let ada = house.lookup("email", "ada@acme-corp.com").await.unwrap().name;
    for key in ["17", "18"] {
        let shown = house.get_account(account("crm", key)).await.unwrap();
        assert_eq!((shown.parts.len(), shown.profile.as_str()), (1, ""), "{shown:?}");
        let sum = house.rollup(account("crm", key)).await.unwrap();
        assert_eq!((sum.account_count, sum.source_account_count, sum.person_count), (1, 1, 1), "{sum:?}");
    }
    let by_profile = Some(pb::AccountKey { key: Some(pb::account_key::Key::Profile(ada)) });
    assert_eq!(reason(&house.get_account(by_profile).await.unwrap_err()), "ACCOUNT_NOT_FOUND");
    assert_eq!(stands(&mut house, of_account("17")).await.as_deref(), Some("lead"));
    assert_eq!(stands(&mut house, of_account("18")).await, None);
    for key in ["a", "b"] {
        let verdict = house.may(of_record("crm", key), true).await.unwrap();
        assert!(verdict.allowed, "two firms have a cap each: {verdict:?}");
    }
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn companies_that_merge_make_no_one_person_of_the_people_who_have_their_keys() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = house(&dir).await;
    house.caps(&[("firm", 1, pb::CapScope::Account)]).await.unwrap();
    // Two people with a role and a stage, of whom no fragment came; the fragments of their keys are of one company.
    for (key, at) in [("27", "17"), ("28", "18")] {
        house.affiliate("crm", key, at).await.unwrap();
        let works = [("legal_name", "Works Ltd")];
        house.put(organisation("crm", key, THEN, &[("registration_id", "HRB-7")], &works)).await;
        house.say(of_record("crm", key), said(Granted, THEN)).await.unwrap();
    }
    set(&mut house, of_person("27"), "lead").await;
    assert_eq!(stands(&mut house, of_person("27")).await.as_deref(), Some("lead"));
    assert_eq!(stands(&mut house, of_person("28")).await, None);
    let sum = house.rollup(account("crm", "17")).await.unwrap();
    assert_eq!((sum.person_count, sum.unresolved_person_count), (0, 1), "{sum:?}");
    let at = roles(&mut house, pb::list_affiliations_request::Of::Account(account("crm", "17").unwrap())).await;
    assert_eq!(at.iter().map(|one| one.profile.as_str()).collect::<Vec<_>>(), [""], "no company has the role");
    let propose = pb::ProposeAccountsRequest { person: somebody("crm", "27"), ..Default::default() };
    assert_eq!(reason(&house.accounts.propose_accounts(propose).await.unwrap_err()), "PROFILE_NOT_FOUND");
    // The company is written to as itself, whatever role a namesake has.
    house.put(person("crm", "c", THEN, &[("email", "c@acme-corp.com")], &[])).await;
    house.say(of_record("crm", "c"), said(Granted, THEN)).await.unwrap();
    house.affiliate("crm", "c", "17").await.unwrap();
    assert!(house.may(of_record("crm", "27"), true).await.unwrap().allowed);
    assert!(house.may(of_record("crm", "c"), true).await.unwrap().allowed);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cap_counts_people_of_an_account_that_is_told_of_later() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = house(&dir).await;
    house.caps(&[("firm", 1, pb::CapScope::Account)]).await.unwrap();
    for key in ["m1", "m2"] {
        let mut told = person("crm", key, THEN, &[("email", &format!("{key}@acme-corp.com"))], &[]);
        told.affiliations = vec![pb::FragmentAffiliation {
            account: Some(record("crm", "later")),
            role: "buyer".to_owned(),
            ..Default::default()
        }];
        assert_eq!(house.put(told).await.status(), pb::IngestStatus::Accepted);
        house.say(of_record("crm", key), said(Granted, THEN)).await.unwrap();
    }
    assert!(house.may(of_record("crm", "m1"), true).await.unwrap().allowed);
    let caps = |verdict: pb::ContactVerdict| verdict.reasons.into_iter().map(|reason| reason.cap).collect::<Vec<_>>();
    let before = house.may(of_record("crm", "m2"), true).await.unwrap();
    assert_eq!(caps(before), ["firm"], "of one account, though nobody told of it yet");
    house.put_account("crm", "later", None).await.unwrap();
    let after = house.may(of_record("crm", "m2"), true).await.unwrap();
    assert_eq!(caps(after), ["firm"], "what was charged before it came counts");
    house.close().await;
}

/// All that is served of an account.
async fn seen(house: &mut House, key: &str) -> (pb::Account, pb::GetRollupResponse, Vec<pb::StageEvent>) {
    let request = pb::ListStageHistoryRequest { subject: of_account(key), ..Default::default() };
    let history = house.accounts.list_stage_history(request).await.unwrap().into_inner().events;
    (house.get_account(account("crm", key)).await.unwrap(), house.rollup(account("crm", key)).await.unwrap(), history)
}

/// The stages and roles of a person whom calls alone told of.
async fn told(house: &mut House, key: &str) -> (Option<String>, Vec<(String, String)>) {
    let of = pb::list_affiliations_request::Of::Person(somebody("crm", key).unwrap());
    let roles = roles(house, of).await.into_iter();
    let roles = roles.map(|one| (one.account.unwrap_or_default().display_name, one.role)).collect();
    (stands(house, of_person(key)).await, roles)
}

/// The server comes back from its checkpoint, or from its journal alone.
async fn again(house: House, data: &std::path::Path, from_journal: bool) -> House {
    house.close().await;
    if from_journal {
        for derived in ["checkpoint", "keyed"] {
            std::fs::remove_dir_all(data.join(derived)).unwrap();
            std::fs::create_dir(data.join(derived)).unwrap();
        }
    }
    House::open(data).await
}

/// A request, what its preview says of accounts and records, and its end.
async fn forget(house: &mut House, key: &str) -> (Vec<String>, usize) {
    let request = house.ask_for_erasure(vec![of_record("crm", key)]).await.unwrap();
    let preview = house.preview(&request).await.unwrap();
    house.erase(&request, &preview.etag).await.unwrap();
    (preview.accounts, preview.records.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_erased_takes_no_account_of_the_same_key_along() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = house(&dir).await;
    house.put_account("crm", "19", Some("17")).await.unwrap();
    house.move_account(account("crm", "17"), account("crm", "18")).await.unwrap();
    house.put(person("crm", "17", THEN, &[("email", "ada@acme-corp.com")], &[])).await;
    house.affiliate("crm", "17", "18").await.unwrap();
    house.affiliate("crm", "b", "17").await.unwrap();
    set(&mut house, of_account("17"), "lead").await;
    set(&mut house, of_person("17"), "lead").await;
    let before = seen(&mut house, "17").await;
    assert_eq!((before.0.stage.as_ref().map(|s| s.stage.as_str()), before.2.len()), (Some("lead"), 1), "{before:?}");

    // What is handed over to the person tells of no account that is not theirs.
    let (access, etag) = house.ask_in_scope(pb::PrivacyRequestKind::Access, of_record("crm", "17")).await.unwrap();
    let (text, _) = house.export(&access, &etag).await.unwrap();
    let read: serde_json::Value = serde_json::from_str(&text).unwrap();
    let all: Vec<&str> = read["accounts"].as_array().unwrap().iter().map(|one| one["what"].as_str().unwrap()).collect();
    assert_eq!(all, ["ROLE", "STAGE"]);
    assert!(!text.contains("Company 17"), "{text}");

    assert_eq!(forget(&mut house, "17").await, (Vec::new(), 1));
    for from_journal in [false, false, true] {
        assert_eq!(seen(&mut house, "17").await, before, "from the journal: {from_journal}");
        assert_eq!(told(&mut house, "17").await, (None, Vec::new()));
        house = again(house, &data, from_journal).await;
    }
    // The account can be told of still, the person cannot.
    assert_eq!(seen(&mut house, "17").await, before);
    house.put_account("crm", "17", Some("18")).await.unwrap();
    assert_eq!(reason(&house.affiliate("crm", "17", "18").await.unwrap_err()), "SUPPRESSED");
    let request = pb::SetStageRequest { subject: of_person("17"), stage: "lead".to_owned(), ..Default::default() };
    assert_eq!(reason(&house.accounts.set_stage(request).await.unwrap_err()), "SUPPRESSED");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_is_erased_takes_nobody_of_the_same_key_along() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = house(&dir).await;
    let low = house.put_account("crm", "27", Some("17")).await.unwrap();
    house.put_account("crm", "below", Some("27")).await.unwrap();
    house.put(organisation("crm", "27", THEN, &[("registration_id", "HRB-7")], &[("legal_name", "Works Ltd")])).await;
    house.affiliate("crm", "27", "18").await.unwrap();
    set(&mut house, of_person("27"), "lead").await;
    set(&mut house, of_account("27"), "lead").await;
    // One of whom no fragment ever came, and who has a namesake; and one account without.
    house.put_account("crm", "37", None).await.unwrap();
    house.affiliate("crm", "37", "18").await.unwrap();
    let plain = house.put_account("crm", "47", Some("17")).await.unwrap();
    house.put_account("crm", "below 47", Some("47")).await.unwrap();
    let namesake = seen(&mut house, "37").await;

    assert_eq!(forget(&mut house, "27").await, (vec![low.name], 1));
    let role = ("Company 18".to_owned(), "buyer".to_owned());
    assert_eq!(forget(&mut house, "37").await, (Vec::new(), 0), "the person, by their role");
    assert_eq!(forget(&mut house, "37").await, (Vec::new(), 0), "again is harmless");
    assert_eq!(forget(&mut house, "47").await, (vec![plain.name], 0), "nobody but the account has the key");
    let mut live = None;
    for from_journal in [false, false, true] {
        assert_eq!(told(&mut house, "27").await, (Some("lead".to_owned()), vec![role.clone()]), "{from_journal}");
        assert_eq!(told(&mut house, "37").await, (None, Vec::new()));
        assert_eq!(seen(&mut house, "37").await, namesake);
        for (key, below) in [("27", "below"), ("47", "below 47")] {
            let gone = house.get_account(account("crm", key)).await.unwrap();
            assert_eq!((gone.display_name.as_str(), gone.stage.as_ref()), ("", None), "{gone:?}");
            let stays = house.get_account(account("crm", below)).await.unwrap();
            let way: Vec<&str> = stays.ancestors.iter().map(|above| above.display_name.as_str()).collect();
            assert_eq!(way, ["", "Company 17"], "those below stand where they stood");
        }
        let now = (seen(&mut house, "27").await, seen(&mut house, "47").await);
        assert_eq!(live.get_or_insert_with(|| now.clone()), &now, "from the journal: {from_journal}");
        house = again(house, &data, from_journal).await;
    }
    house.affiliate("crm", "27", "17").await.unwrap();
    for key in ["27", "47"] {
        assert_eq!(reason(&house.put_account("crm", key, None).await.unwrap_err()), "SUPPRESSED");
    }
    assert_eq!(reason(&house.affiliate("crm", "37", "17").await.unwrap_err()), "SUPPRESSED");
    house.put_account("crm", "37", None).await.unwrap();
    house.close().await;
}

/// Older releases sealed what calls told of a person and of an account with the same key under one key.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_shared_its_key_with_the_erased_is_told_again_under_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = house(&dir).await;
    house.move_account(account("crm", "17"), account("crm", "18")).await.unwrap();
    house.put_account("crm", "below", Some("17")).await.unwrap();
    set(&mut house, of_account("17"), "lead").await;
    let close = pb::CloseAccountRequest { key: account("crm", "17"), ..Default::default() };
    house.accounts.close_account(close).await.unwrap();
    house.put(person("crm", "17", THEN, &[("email", "ada@acme-corp.com")], &[])).await;
    house.close().await;
    for derived in ["checkpoint", "keyed"] {
        std::fs::remove_dir_all(data.join(derived)).unwrap();
        std::fs::create_dir(data.join(derived)).unwrap();
    }
    onefold_tests::older::tell_namesake_under_one_key(&data, "17", "18", StageId(0));
    let mut house = House::open(&data).await;
    assert_eq!(told(&mut house, "17").await, (Some("lead".to_owned()), vec![("Company 18".into(), "buyer".into())]));
    // When it was told changes; what was told does not.
    let content = async |house: &mut House| {
        let (mut account, sum, history) = seen(house, "17").await;
        account.sequence = 0;
        (account, sum, history.into_iter().map(|event| (event.stage, event.reached_time)).collect::<Vec<_>>())
    };
    let before = content(&mut house).await;
    assert_eq!((before.0.parts[0].parents.len(), before.2.len()), (1, 1));
    assert_eq!(forget(&mut house, "17").await, (Vec::new(), 1));
    for from_journal in [false, false, true] {
        assert_eq!(content(&mut house).await, before, "from the journal: {from_journal}");
        assert_eq!(told(&mut house, "17").await, (None, Vec::new()));
        house = again(house, &data, from_journal).await;
    }
    house.close().await;
}
