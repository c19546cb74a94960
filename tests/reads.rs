//! The log of reads: it tells who was shown whom, survives restarts and kills within its promise, holds no value, and
//! whatever is changed or cut in it is found and named.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use onefold_proto::v1 as pb;
use onefold_server::audit::{self, AuditError};
use onefold_tests::accounts::{account, source_account};
use onefold_tests::child::Launch;
use onefold_tests::consent::at;
use onefold_tests::{Clients, House, organisation, person, reason};

const THEN: i64 = 1_700_000_000;
/// The log promises a second; a busy machine is given more.
const SOON: Duration = Duration::from_secs(20);

async fn set(clients: &mut Clients, mode: pb::ReadLogMode) {
    let policy = pb::PrivacyPolicy { read_log: mode as i32, ..Default::default() };
    let request = pb::UpdatePrivacyPolicyRequest { policy: Some(policy), ..Default::default() };
    clients.privacy.update_privacy_policy(request).await.unwrap();
}

fn mail(who: &str) -> String {
    format!("zqmail{who}@harbour-mail.net")
}

async fn arrive(clients: &mut Clients, who: &str) -> String {
    let name = format!("zqname{who}");
    let fragment = person("crm", who, THEN, &[("email", &mail(who))], &[("name.given", &name)]);
    clients.put(fragment).await.profile
}

async fn listed(clients: &mut Clients, parent: &str, profile: &str) -> pb::ListReadsResponse {
    let mut request = pb::ListReadsRequest {
        parent: parent.to_owned(),
        profile: profile.to_owned(),
        page_size: 1,
        ..Default::default()
    };
    let mut all = pb::ListReadsResponse::default();
    loop {
        let page = clients.privacy.list_reads(request.clone()).await.unwrap().into_inner();
        all.reads.extend(page.reads);
        (all.missed, all.noting) = (page.missed, page.noting);
        if page.next_page_token.is_empty() {
            return all;
        }
        request.page_token = page.next_page_token;
    }
}

/// How often a profile was shown through each call, once so many reads of it are in the log.
async fn shown(clients: &mut Clients, profile: &str, times: u32) -> Vec<(String, u32)> {
    let waited = std::time::Duration::from_millis(100);
    for _ in 0..SOON.as_millis() / waited.as_millis() {
        let all = listed(clients, "", profile).await;
        let of = |read: &pb::NotedReads| (read.call.clone(), read.profiles.iter().map(|one| one.count).sum::<u32>());
        let mut by_call: std::collections::BTreeMap<String, u32> = std::collections::BTreeMap::new();
        all.reads.iter().map(of).for_each(|(call, count)| *by_call.entry(call).or_default() += count);
        if by_call.values().sum::<u32>() >= times {
            return by_call.into_iter().collect();
        }
        tokio::time::sleep(waited).await;
    }
    panic!("the reads are not in the log");
}

fn log_files(data: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for tenant in fs::read_dir(data.join("reads")).unwrap() {
        files.extend(fs::read_dir(tenant.unwrap().path()).unwrap().map(|file| file.unwrap().path()));
    }
    files.sort();
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_shown_whom_is_told_and_outlives_whom_it_tells_of() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = House::open(&data).await;
    house.sources(&["crm"]).await;
    let (ada, bob) = (arrive(&mut house, "ada").await, arrive(&mut house, "bob").await);
    house.get(&ada).await.unwrap();
    assert!(!listed(&mut house, "", "").await.noting, "nobody is asked who they are, so there is nobody to name");
    assert!(!data.join("reads").exists());

    set(&mut house, pb::ReadLogMode::On).await;
    house.get(&ada).await.unwrap();
    house.lookup("email", &mail("ada")).await.unwrap();
    house.batch(&[ada.clone(), bob.clone(), ada.clone()]).await.unwrap();
    house.holds(at("email", &mail("ada"))).await.unwrap();
    let want = [("BatchLookupProfiles", 2), ("GetConsentState", 1), ("GetProfile", 1), ("LookupProfile", 1)];
    let want: Vec<(String, u32)> = want.map(|(call, times)| (call.to_owned(), times)).into();
    assert_eq!(shown(&mut house, &ada, 5).await, want);
    assert_eq!(shown(&mut house, &bob, 1).await, [("BatchLookupProfiles".to_owned(), 1)]);
    let all = listed(&mut house, "", "").await;
    assert!(all.noting && all.missed == 0 && all.reads.iter().all(|read| read.reader == "anonymous"), "{all:?}");

    // The person is told of it, and the log of the telling.
    let name = house.ask_for(pb::PrivacyRequestKind::Access, vec![at("email", &mail("ada"))]).await.unwrap();
    let etag = house.preview_export(&name).await.unwrap().etag;
    let (text, _) = house.export(&name, &etag).await.unwrap();
    let text: serde_json::Value = serde_json::from_str(&text).unwrap();
    let told: Vec<&str> =
        text["disclosures"].as_array().unwrap().iter().map(|one| one["call"].as_str().unwrap()).collect();
    assert!(["GetProfile", "LookupProfile", "BatchLookupProfiles"].iter().all(|call| told.contains(call)), "{told:?}");
    let calls: Vec<String> = shown(&mut house, &ada, 7).await.into_iter().map(|(call, _)| call).collect();
    assert!(calls.contains(&"StreamAccessExport".to_owned()) && calls.contains(&"PreviewAccessExport".to_owned()));

    // Restart, erasure, restart: it stands, and holds nothing of hers.
    house.close().await;
    let mut house = House::open(&data).await;
    let before = shown(&mut house, &ada, 7).await;
    house.forget(vec![at("email", &mail("ada"))]).await.unwrap();
    house.close().await;
    for file in log_files(&data) {
        let bytes = fs::read(file).unwrap();
        assert!(!bytes.windows(2).any(|pair| pair == b"zq"), "no value in its bytes");
    }
    let audited = audit::verify(&data, None, None).unwrap();
    assert!(audited.reads > 0);
    let mut house = House::open(&data).await;
    let after = shown(&mut house, &ada, 7).await;
    assert!(before.iter().all(|one| after.iter().any(|two| two.0 == one.0 && two.1 >= one.1)), "{before:?} {after:?}");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_takes_back_no_more_than_a_moment() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let launch = Launch::new(env!("CARGO_BIN_EXE_onefold-test-server"), &data);
    let (child, mut clients) = launch.start().await;
    clients.sources(&["crm"]).await;
    set(&mut clients, pb::ReadLogMode::On).await;
    let ada = arrive(&mut clients, "ada").await;
    child.stop();
    let mut noted = 0;
    for round in 1..=4_u32 {
        let (mut child, mut clients) = launch.start().await;
        for _ in 0..5 * round {
            clients.get(&ada).await.unwrap();
        }
        // Once it is in the log it stays, whatever comes.
        noted = shown(&mut clients, &ada, noted + 5 * round).await.iter().map(|(_, times)| times).sum();
        clients.get(&ada).await.unwrap();
        child.kill();
    }
    let (child, mut clients) = launch.start().await;
    let found: u32 = shown(&mut clients, &ada, noted).await.iter().map(|(_, times)| times).sum();
    assert!((noted..=noted + 1).contains(&found), "{noted} were there, then {found}");
    child.stop();
    audit::verify(&data, None, None).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_changed_or_cut_is_found_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = House::open(&data).await;
    house.sources(&["crm"]).await;
    set(&mut house, pb::ReadLogMode::On).await;
    let ada = arrive(&mut house, "ada").await;
    for _ in 0..3 {
        house.get(&ada).await.unwrap();
        let seen: u32 = shown(&mut house, &ada, 1).await.iter().map(|(_, times)| times).sum();
        assert!(seen > 0);
    }
    house.close().await;
    audit::verify(&data, None, None).unwrap();
    let file = log_files(&data).into_iter().find(|file| fs::metadata(file).unwrap().len() > 200).unwrap();
    let whole = fs::read(&file).unwrap();
    for bit in (0..whole.len() * 8).step_by(whole.len() * 8 / 40) {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        fs::write(&file, &flipped).unwrap();
        let found = audit::verify(&data, None, None).unwrap_err();
        let named = matches!(found, AuditError::Reads { .. } | AuditError::ReadsCut { .. });
        assert!(named, "bit {bit}: {found}");
        fs::write(&file, &whole).unwrap();
    }
    audit::verify(&data, None, None).unwrap();
    // All of it gone, as if nobody had ever read.
    fs::rename(data.join("reads"), data.join("elsewhere")).unwrap();
    assert!(matches!(audit::verify(&data, None, None).unwrap_err(), AuditError::ReadsCut { .. }));
    fs::rename(data.join("elsewhere"), data.join("reads")).unwrap();
    audit::verify(&data, None, None).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn strict_refuses_what_it_cannot_note_and_other_tenants_see_none_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = House::open(&data).await;
    house.sources(&["crm"]).await;
    let ada = arrive(&mut house, "ada").await;
    let tenant = pb::Tenant { name: "tenants/other".to_owned(), ..Default::default() };
    house.admin.create_tenant(pb::CreateTenantRequest { tenant: Some(tenant), ..Default::default() }).await.unwrap();
    // A file lies where the log is to be: it cannot be opened, whoever we are.
    fs::write(data.join("reads"), b"in the way").unwrap();
    fs::set_permissions(data.join("reads"), fs::Permissions::from_mode(0o600)).unwrap();
    set(&mut house, pb::ReadLogMode::On).await;
    house.get(&ada).await.unwrap();
    let mut waited = 0;
    while listed(&mut house, "", "").await.missed == 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        waited += 1;
        assert!(waited < 100, "what is not in the log is counted");
    }
    house.get(&ada).await.unwrap();
    set(&mut house, pb::ReadLogMode::Strict).await;
    let refused = house.get(&ada).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused)), (tonic::Code::Unavailable, "READ_LOG_UNAVAILABLE".to_owned()));
    assert_eq!(reason(&house.lookup("email", &mail("ada")).await.unwrap_err()), "READ_LOG_UNAVAILABLE");
    assert!(!listed(&mut house, "", "").await.noting);
    // It is tried again by itself.
    fs::remove_file(data.join("reads")).unwrap();
    let mut waited = 0;
    while house.get(&ada).await.is_err() {
        tokio::time::sleep(Duration::from_millis(200)).await;
        waited += 1;
        assert!(waited < 100, "it mends");
    }
    assert_eq!(shown(&mut house, &ada, 1).await.len(), 1);
    assert_eq!(listed(&mut house, "tenants/other", "").await.reads, Vec::new(), "law 9");
    let elsewhere = pb::ListReadsRequest {
        parent: "tenants/other".to_owned(),
        profile: ada.replace("tenants/default", "tenants/other"),
        ..Default::default()
    };
    assert_eq!(reason(&house.privacy.list_reads(elsewhere).await.unwrap_err()), "PROFILE_NOT_FOUND");
    house.close().await;
}

/// An account names who looks after it: whoever is shown that is noted, be it by a list or by the answer to a change.
#[tokio::test(flavor = "multi_thread")]
async fn accounts_that_tell_of_a_person_are_noted_whatever_call_shows_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    house.sources(&["crm"]).await;
    set(&mut house, pb::ReadLogMode::On).await;
    house.put_account("crm", "acme", None).await.unwrap();
    house.put_account("crm", "plain", Some("acme")).await.unwrap();
    let list = |key: &str| pb::ListChildrenRequest { key: account("crm", key), ..Default::default() };
    assert_eq!(house.accounts.list_children(list("acme")).await.unwrap().into_inner().accounts.len(), 1);
    // None of these told of anybody. What is noted is the party whose account it is.
    let firm = organisation("crm", "owned", THEN, &[("domain", "owned-works.net")], &[]);
    assert_eq!(house.put(firm).await.status(), pb::IngestStatus::Accepted);
    let owned = pb::SourceAccount { owner: "zqowner".to_owned(), ..source_account("crm", "owned", "Owned") };
    let parent_account = account("crm", "acme");
    let put = pb::PutAccountRequest { account: Some(owned), parent_account, ..Default::default() };
    house.accounts.put_account(put).await.unwrap();
    house.accounts.list_children(list("acme")).await.unwrap();
    let key = || account("crm", "owned");
    let above = account("crm", "plain");
    let move_to = pb::MoveAccountRequest { key: key(), parent_account: above, ..Default::default() };
    house.accounts.move_account(move_to).await.unwrap();
    house.accounts.close_account(pb::CloseAccountRequest { key: key(), ..Default::default() }).await.unwrap();
    let mut noted = Vec::new();
    for _ in 0..SOON.as_millis() / 100 {
        let all = listed(&mut house, "", "").await.reads;
        noted = all.into_iter().map(|read| (read.call, read.count)).collect();
        noted.sort();
        if noted.len() >= 4 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let want = ["CloseAccount", "ListChildren", "MoveAccount", "PutAccount"].map(|call| (call.to_owned(), 1));
    assert_eq!(noted, want);
    house.close().await;
}
