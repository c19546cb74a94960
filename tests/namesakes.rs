//! A source may know a person and an account by one key. What people merge into says nothing of accounts, nor what companies
//! merge into of people.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

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
