//! From a streamed fragment to a served profile, over loopback, through restarts.

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
