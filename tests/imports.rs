//! Loads of a hierarchy that tell a part of it: what no row tells stays as it is.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use onefold_proto::v1 as pb;
use onefold_tests::accounts::{account, source_account};
use onefold_tests::{House, reason, record, seconds};

const SINCE: i64 = 1_500_000_000;

/// A row with a name, and nothing else.
fn row(line: u32, key: &str, name: &str) -> pb::ImportHierarchyRow {
    pb::ImportHierarchyRow { line, account: Some(source_account("crm", key, name)), parent: None }
}

async fn import(
    house: &mut House,
    untold: &[&str],
    rows: Vec<pb::ImportHierarchyRow>,
) -> Result<pb::ImportHierarchyResponse, tonic::Status> {
    let untold_fields = untold.iter().map(|field| (*field).to_owned()).collect();
    let start = pb::ImportHierarchyStart { untold_fields, ..Default::default() };
    let messages = vec![pb::ImportHierarchyRequest { start: Some(start), rows }];
    Ok(house.accounts.import_hierarchy(tokio_stream::iter(messages)).await?.into_inner())
}

/// Name, owner, domains, kind, since when, and the account above.
async fn known(house: &mut House, key: &str) -> (String, String, Vec<String>, i32, i64, String) {
    let found = house.get_account(account("crm", key)).await.unwrap();
    let above = found.ancestors.first().map(|above| above.display_name.clone()).unwrap_or_default();
    let part = found.parts.into_iter().next().unwrap();
    let since = part.start_time.map_or(0, |time| time.seconds);
    (part.display_name, part.owner, part.domains, part.kind, since, above)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_file_has_no_column_for_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = House::open(&data).await;
    house.sources(&["crm"]).await;
    house.put_account("crm", "top", None).await.unwrap();
    let (organisation, household) = (pb::AccountKind::Organisation as i32, pb::AccountKind::Household as i32);
    let told = pb::SourceAccount {
        record: Some(record("crm", "a")),
        display_name: "Works".to_owned(),
        kind: household,
        owner: "Grace".to_owned(),
        domains: vec!["works.net".to_owned(), "works.org".to_owned()],
        start_time: Some(seconds(SINCE)),
        ..Default::default()
    };
    let put =
        pb::PutAccountRequest { account: Some(told), parent_account: account("crm", "top"), ..Default::default() };
    house.accounts.put_account(put.clone()).await.unwrap();
    let domains = || vec!["works.net".to_owned(), "works.org".to_owned()];
    let all = |name: &str| (name.to_owned(), "Grace".to_owned(), domains(), household, SINCE, "Company top".to_owned());
    assert_eq!(known(&mut house, "a").await, all("Works"));

    // Names alone; of an account that is new the rest is empty.
    let every = ["owner", "domains", "kind", "start_time", "parent"];
    let rows = vec![row(2, "a", "Works Ltd"), row(3, "b", "New Ltd")];
    assert_eq!(import(&mut house, &every, rows).await.unwrap().account_count, 2);
    assert_eq!(known(&mut house, "a").await, all("Works Ltd"));
    let new = ("New Ltd".to_owned(), String::new(), Vec::new(), organisation, 0, String::new());
    assert_eq!(known(&mut house, "b").await, new);

    // A column that is there empties with an empty cell, and only that one.
    assert_eq!(import(&mut house, &every[1..], vec![row(2, "a", "Works")]).await.unwrap().account_count, 1);
    assert_eq!(
        known(&mut house, "a").await,
        ("Works".into(), String::new(), domains(), household, SINCE, "Company top".into())
    );
    house.accounts.put_account(put).await.unwrap();
    assert_eq!(import(&mut house, &["owner"], vec![row(2, "a", "Works")]).await.unwrap().account_count, 1);
    let told = ("Works".to_owned(), "Grace".to_owned(), Vec::new(), organisation, 0, String::new());
    assert_eq!(known(&mut house, "a").await, told, "to the top, as before");
    house.close().await;
    std::fs::remove_dir_all(data.join("checkpoint")).unwrap();
    let mut house = House::open(&data).await;
    assert_eq!(known(&mut house, "a").await, told);
    // A field that there is not would be lost without a word.
    let refused = import(&mut house, &["owner", "colour"], vec![row(2, "a", "Works")]).await.unwrap_err();
    assert_eq!(reason(&refused), "REQUEST_INVALID");
    house.close().await;
}
