//! Who was let back in, by whom and on what ground, and what became of the privacy policy, is told from the log: by page, by
//! person, and to nobody else's tenant. Law 8.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use onefold_proto::v1 as pb;
use onefold_tests::canary::mail;
use onefold_tests::consent::{at, of_profile, of_record};
use onefold_tests::{Clients, House, person, reason};
use pb::decision::What;

async fn listed(
    clients: &mut Clients,
    subject: Option<pb::ConsentSubject>,
    page_size: i32,
) -> (Vec<pb::Decision>, usize) {
    let mut request = pb::ListDecisionsRequest { subject, page_size, ..Default::default() };
    let (mut all, mut pages) = (Vec::new(), 0);
    loop {
        let page = clients.privacy.list_decisions(request.clone()).await.unwrap().into_inner();
        all.extend(page.decisions);
        pages += 1;
        if page.next_page_token.is_empty() {
            return (all, pages);
        }
        request.page_token = page.next_page_token;
    }
}

async fn let_back(clients: &mut Clients, subjects: Vec<pb::ConsentSubject>, ground: &str) {
    let (by, ground) = ("dpo".to_owned(), ground.to_owned());
    clients.privacy.readmit(pb::ReadmitRequest { subjects, by, ground, ..Default::default() }).await.unwrap();
}

async fn second_person(clients: &mut Clients, wanted: bool) {
    let policy = Some(pb::PrivacyPolicy { second_person: wanted, read_log: 2, ..Default::default() });
    let request = pb::UpdatePrivacyPolicyRequest { policy, ..Default::default() };
    clients.privacy.update_privacy_policy(request).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn readmissions_and_changes_of_the_policy_are_told_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = House::open(&data).await;
    house.sources(&["crm"]).await;
    for who in 0..2 {
        house.put(person("crm", &who.to_string(), 1_700_000_000, &[("email", &mail(who))], &[])).await;
        house.forget(vec![at("email", &mail(who))]).await.unwrap();
    }
    assert_eq!(listed(&mut house, None, 0).await, (Vec::new(), 1));
    let_back(&mut house, vec![at("email", &mail(0))], "new-sign-up").await;
    second_person(&mut house, true).await;
    second_person(&mut house, false).await;
    let_back(&mut house, vec![at("email", &mail(1)), of_record("crm", "1")], "court-order").await;

    let (all, _) = listed(&mut house, None, 0).await;
    let told: Vec<String> = all
        .iter()
        .map(|decision| match decision.what.as_ref().unwrap() {
            What::Readmission(back) => format!("{} {} {}", back.by, back.ground, back.digests.len()),
            What::PrivacyPolicy(policy) => format!("{} {}", policy.second_person, policy.read_log),
        })
        .collect();
    assert_eq!(told, ["dpo new-sign-up 1", "true 2", "false 2", "dpo court-order 2"]);
    assert!(all.windows(2).all(|two| two[0].sequence < two[1].sequence));
    assert!(all.iter().all(|decision| decision.caller == "anonymous" && decision.time.is_some()));
    assert!(!format!("{all:?}").contains('@'), "no value of a person");
    // One at a time, and of one person alone: by their address in any spelling, or by their record.
    let (paged, pages) = listed(&mut house, None, 1).await;
    assert!(paged == all && pages >= 4, "{pages} pages");
    for subject in [at("email", &mail(1).to_uppercase()), of_record("crm", "1")] {
        assert_eq!(listed(&mut house, Some(subject), 0).await.0, all[3..]);
    }
    assert_eq!(listed(&mut house, Some(at("email", &mail(9))), 0).await.0, []);
    let profile =
        pb::ListDecisionsRequest { subject: Some(of_profile("tenants/default/profiles/x")), ..Default::default() };
    assert_eq!(reason(&house.privacy.list_decisions(profile).await.unwrap_err()), "REQUEST_INVALID");

    let north = pb::Tenant { name: "tenants/north".to_owned(), ..Default::default() };
    let request = pb::CreateTenantRequest { tenant: Some(north), ..Default::default() };
    house.admin.create_tenant(request).await.unwrap();
    let elsewhere = pb::ListDecisionsRequest { parent: "tenants/north".to_owned(), ..Default::default() };
    assert!(house.privacy.list_decisions(elsewhere).await.unwrap().into_inner().decisions.is_empty());
    house.close().await;
    let mut house = House::open(&data).await;
    assert_eq!(listed(&mut house, None, 0).await.0, all, "after a start");
    house.close().await;
}
