//! Starts that cannot be, and disks that are full: the fault is named, nothing is lost, and the server lives. Law 10.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::path::Path;
use std::process::Command;

use onefold_proto::v1 as pb;
use onefold_server::{Config, Server};
use onefold_tests::traffic::{Message, open_sources};
use onefold_tests::{House, person, reason, text};
use pb::IngestStatus::{Accepted, Duplicate};
use tempfile::TempDir;
use tonic::{Code, Status};
use tonic_types::StatusExt;

const AT: i64 = 1_700_000_000;

/// What the start says.
async fn refusal(config: Config) -> String {
    match Server::start(config).await {
        Ok(_) => panic!("the server starts"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_cannot_be_says_why() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let config = || House::config(&data);
    let mut house = House::open(&data).await;
    open_sources(&mut house, "").await;
    house.assert_lives("before").await;
    let digest = house.digest().await;

    let told = refusal(config()).await;
    assert!(told.contains("in use by another process"), "{told}");
    house.assert_lives("meanwhile").await;
    let meanwhile = house.digest().await;
    assert_ne!(meanwhile, digest);
    house.close().await;

    let told = refusal(Config { segment_bytes: (2 << 20) - 1, ..config() }).await;
    assert!(told.contains("segment_bytes") && told.contains("2097152"), "{told}");
    let remote = Config { listen: ([0, 0, 0, 0], 0).into(), ..config() };
    let told = refusal(remote).await;
    assert!(told.contains("without encryption or authentication"), "{told}");
    let key_file = |text: &str| {
        let file = dir.path().join("root.key");
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        Config { root_key_file: Some(file), ..config() }
    };
    let told = refusal(key_file(&"7".repeat(64))).await;
    assert!(told.contains("the root key is not the one"), "{told}");
    for bad in ["", "not a key", &"z".repeat(64), &"7".repeat(63)] {
        let told = refusal(key_file(bad)).await;
        assert!(told.contains("64 hexadecimal digits"), "{told}");
    }
    let told = refusal(Config { root_key_file: Some(dir.path().join("none")), ..config() }).await;
    assert!(told.contains("none") && told.contains("cannot be read"), "{told}");

    let broken = |file: &str, content: Option<&[u8]>| {
        let path = data.join(file);
        let kept = std::fs::read(&path).unwrap();
        match content {
            Some(content) => std::fs::write(&path, content).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        move || {
            std::fs::write(&path, &kept).unwrap();
            // The key must not become readable by others on its way back.
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        }
    };
    let table: [(&str, Option<&[u8]>, &str); 6] = [
        ("FORMAT", Some(b"onefold data 99\n"), "format 99"),
        ("FORMAT", Some(b"\0\0\0"), "is damaged"),
        ("FORMAT", Some(b""), "is damaged"),
        ("FORMAT", None, "is not a data directory"),
        ("keys/root.key", None, "without the root key nothing"),
        ("keys/root.key", Some(b"00"), "without the root key nothing"),
    ];
    for (file, content, says) in table {
        let mend = broken(file, content);
        let told = refusal(config()).await;
        assert!(told.contains(says), "{file}: {told}");
        mend();
    }
    std::fs::set_permissions(data.join("keys/root.key"), std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let told = refusal(config()).await;
    assert!(told.contains("chmod 600"), "{told}");
    std::fs::set_permissions(data.join("keys/root.key"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();

    // A whole segment of the journal gone is damage, not a fresh start.
    let segment = std::fs::read_dir(data.join("journal")).unwrap().next().unwrap().unwrap().path();
    let kept = std::fs::read(&segment).unwrap();
    let mut flipped = kept.clone();
    flipped[200] ^= 1;
    std::fs::write(&segment, flipped).unwrap();
    let checkpoint = std::fs::read_dir(data.join("checkpoint")).unwrap().next().unwrap().unwrap().path();
    std::fs::rename(&checkpoint, dir.path().join("aside")).unwrap();
    let told = refusal(config()).await;
    assert!(told.contains("journal"), "{told}");
    std::fs::rename(dir.path().join("aside"), &checkpoint).unwrap();
    std::fs::write(&segment, kept).unwrap();

    let elsewhere = dir.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    std::fs::write(elsewhere.join("thesis.txt"), "mine").unwrap();
    let told = refusal(House::config(&elsewhere)).await;
    assert!(told.contains("thesis.txt"), "{told}");

    let mut house = House::open(&data).await;
    assert_eq!(house.digest().await, meanwhile, "refusing changed nothing");
    house.assert_lives("after").await;
    house.close().await;
}

/// A small file system in memory; `None`, saying so, where it cannot be mounted.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount(size: &str) -> Option<Self> {
        let dir = TempDir::new().unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(dir.path())
            .output();
        if mount.is_ok_and(|output| output.status.success()) {
            return Some(Self(dir));
        }
        println!("skipped: a small file system cannot be mounted here");
        None
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn fill(&self) {
        let mut ballast = std::fs::File::create(self.path().join("ballast")).unwrap();
        while std::io::Write::write_all(&mut ballast, &[1; 4_096]).is_ok() {}
    }

    fn free(&self) {
        std::fs::remove_file(self.path().join("ballast")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).output();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_writes_and_goes_on_once_there_is_room() {
    let Some(disk) = SmallDisk::mount("64m") else { return };
    let config = || {
        let mut config = House::config(&disk.path().join("data"));
        config.segment_bytes = 4 << 20;
        config
    };
    let mut house = House::open_with(config()).await;
    open_sources(&mut house, "").await;
    let fat = |key: usize| {
        let attributes = (0..5).map(|n| text(&format!("note_{n}"), &"w".repeat(4_000))).collect();
        let email = format!("f{key}@harbour-mail.net");
        Message::Put(pb::Fragment { attributes, ..person("shop", &key.to_string(), AT, &[("email", &email)], &[]) })
    };
    let mut kept = Vec::new();
    for key in 0..20 {
        let results = house.stream("", &[fat(key)]).await.unwrap();
        assert_eq!(results[0].status(), Accepted);
        kept.push(fat(key));
    }
    disk.fill();
    let mut key = 20;
    let full = loop {
        match house.stream("", &[fat(key)]).await {
            Ok(results) => {
                assert_eq!(results[0].status(), Accepted);
                kept.push(fat(key));
                key += 1;
            }
            Err(status) => break status,
        }
        assert!(key < 4_000, "the disk fills up");
    };
    println!("{key} fragments before the disk was full");
    let told = |status: &Status| (status.code(), reason(status));
    let disk_full = || (Code::Unavailable, "DISK_FULL".to_owned());
    assert_eq!(told(&full), disk_full());
    assert!(full.get_details_retry_info().is_some(), "and when to try again");
    let Message::Put(refused) = fat(key) else { unreachable!() };
    assert_eq!(told(&house.try_put(refused.clone()).await.unwrap_err()), disk_full());
    let request = pb::PutSourceRequest {
        source: Some(pb::Source { name: "crm".to_owned(), trust: 9, ..Default::default() }),
        ..Default::default()
    };
    // What is small may still find room in the segment that was reserved before.
    if let Err(status) = house.admin.put_source(request).await {
        assert_eq!(told(&status), disk_full());
    }
    let tenant = pb::Tenant { name: "tenants/west".to_owned(), ..Default::default() };
    let status = house
        .admin
        .create_tenant(pb::CreateTenantRequest { tenant: Some(tenant), ..Default::default() })
        .await
        .unwrap_err();
    assert_eq!(told(&status), disk_full());

    let mut health = onefold_tests::health::connect(house.server().address()).await.unwrap();
    for (service, serves) in [("", 2), ("onefold.v1.IngestService", 2), ("onefold.v1.ProfileService", 1)] {
        health.becomes(service, serves).await.unwrap();
    }

    // Reads go on, and a start on the full disk reads as well.
    let digest = house.digest().await;
    assert_eq!(house.lookup("email", "f3@harbour-mail.net").await.unwrap().record_count, 1);
    house.close().await;
    let mut house = House::open_with(config()).await;
    assert_eq!(house.digest().await, digest, "nothing acknowledged is lost");
    assert_eq!(house.lookup("email", "f3@harbour-mail.net").await.unwrap().record_count, 1);
    assert_eq!(told(&house.try_put(refused.clone()).await.unwrap_err()), disk_full());

    let mut health = onefold_tests::health::connect(house.server().address()).await.unwrap();
    health.becomes("onefold.v1.IngestService", 2).await.unwrap();
    disk.free();
    // Nobody has to write for the server to notice.
    health.becomes("", 1).await.unwrap();
    assert_eq!(house.try_put(refused).await.unwrap().status(), Accepted);
    let again = house.stream("", &kept).await.unwrap();
    assert!(again.iter().all(|result| result.status() == Duplicate), "nothing acknowledged is lost");
    // What is read by key has caught up as well: a merge shows in the history.
    let bridge =
        person("crm", "bridge", AT, &[("email", "f1@harbour-mail.net"), ("email", "f2@harbour-mail.net")], &[]);
    let bridge = house.put(bridge).await;
    let request = pb::ListProfileHistoryRequest { name: bridge.profile, ..Default::default() };
    let history = house.profiles.list_profile_history(request).await.unwrap().into_inner();
    assert!(history.events.iter().any(|event| event.kind() == pb::ProfileEventKind::Absorbed), "{history:?}");
    let digest = house.digest().await;
    house.close().await;
    let mut house = House::open_with(config()).await;
    assert_eq!(house.digest().await, digest);
    house.close().await;
}

/// What is read by key goes to sled, which after a failed write answers nothing but that failure. It used to stay behind
/// until the next start.
#[tokio::test(flavor = "multi_thread")]
async fn histories_catch_up_by_themselves_once_the_disk_has_room() {
    let Some(disk) = SmallDisk::mount("64m") else { return };
    let config = || {
        let mut config = House::config(&disk.path().join("data"));
        config.segment_bytes = 8 << 20;
        // With each checkpoint what sled holds is written out.
        config.checkpoint_every = 64;
        config
    };
    let mut house = House::open_with(config()).await;
    open_sources(&mut house, "").await;
    let anchor = house.put(person("crm", "anchor", AT, &[("email", "anchor@harbour-mail.net")], &[])).await.profile;
    let history = |house: &House| {
        let mut profiles = house.profiles.clone();
        let request = pb::ListProfileHistoryRequest { name: anchor.clone(), page_size: 1_000, ..Default::default() };
        async move { profiles.list_profile_history(request).await.map(|answer| answer.into_inner().events) }
    };
    let absorbed = |events: &[pb::ProfileEvent]| {
        events.iter().filter(|event| event.kind() == pb::ProfileEventKind::Absorbed).count()
    };
    disk.fill();
    let (mut merges, mut failed) = (0, None);
    while failed.is_none() {
        // Someone new, who turns out to be the anchor's: a merge is history.
        let (own, at) = (format!("n{merges}@harbour-mail.net"), AT + 1);
        house.put(person("crm", &format!("n{merges}"), AT, &[("email", &own)], &[])).await;
        let both = [("email", own.as_str()), ("email", "anchor@harbour-mail.net")];
        assert_eq!(house.put(person("crm", &format!("n{merges}"), at, &both, &[])).await.status(), Accepted);
        merges += 1;
        failed = history(&house).await.err();
        assert!(merges < 800, "sled fails on a full disk");
    }
    println!("sled failed after {merges} merges");
    let failed = failed.unwrap();
    assert_eq!((failed.code(), reason(&failed).as_str()), (Code::Unavailable, "HISTORY_BEHIND"));
    assert!(failed.get_details_retry_info().is_some(), "and when to try again");
    house.assert_lives("without-sled").await;

    disk.free();
    let mut events = history(&house).await;
    while let Err(status) = events {
        assert_eq!(reason(&status), "HISTORY_BEHIND", "{status:?}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        events = history(&house).await;
    }
    assert_eq!(absorbed(&events.unwrap()), merges, "what was merged meanwhile is told as well");
    let own = "last@harbour-mail.net";
    house.put(person("crm", "last", AT, &[("email", own)], &[])).await;
    let both = [("email", own), ("email", "anchor@harbour-mail.net")];
    house.put(person("crm", "last", AT + 1, &both, &[])).await;
    let events = history(&house).await.unwrap();
    assert_eq!(absorbed(&events), merges + 1, "and what comes now goes on");
    house.close().await;
    let house = House::open_with(config()).await;
    assert_eq!(history(&house).await.unwrap(), events);
    house.close().await;
}

/// One damaged key must not cost more than the record it opens.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_meets_a_damaged_record_is_refused_and_changes_nothing() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let mut house = House::open(&data).await;
    open_sources(&mut house, "").await;
    for who in 0..20 {
        let mail = format!("p{who}@harbour-mail.net");
        house.put(person("crm", &format!("k{who}"), AT, &[("email", &mail)], &[])).await;
    }
    let digest = house.digest().await;
    house.close().await;
    // The fourth slot behind the header of 64 bytes.
    let file = data.join("vault/0/slots");
    let mut slots = std::fs::read(&file).unwrap();
    slots[64 + 3 * 32 + 5] ^= 0x10;
    std::fs::write(&file, slots).unwrap();

    let mut house = House::open(&data).await;
    assert_eq!(house.graph_digest().await, digest.0, "what the checkpoint holds is served");
    let namespace = pb::Namespace { name: "badge_no".to_owned(), ..Default::default() };
    let put = pb::PutNamespaceRequest { namespace: Some(namespace), ..Default::default() };
    let refused = house.admin.put_namespace(put).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::DataLoss, "DATA_DAMAGED"), "{refused:?}");
    assert!(refused.message().contains("slot 3 of the vault") && refused.message().contains("segment 1"), "{refused}");
    let damaged = house.lookup("email", "p3@harbour-mail.net").await.unwrap_err();
    assert_eq!(reason(&damaged), "DATA_DAMAGED");
    assert_eq!(house.graph_digest().await, digest.0, "nothing was changed");
    let request = pb::GetDigestRequest { include_golden_values: true, ..Default::default() };
    let refused = house.admin.get_digest(request).await.unwrap_err();
    assert_eq!(reason(&refused), "DATA_DAMAGED", "a digest leaves nothing out in silence");
    house.assert_lives("after").await;
    for who in (0..20).filter(|who| *who != 3) {
        house.lookup("email", &format!("p{who}@harbour-mail.net")).await.unwrap();
    }
    house.close().await;
}

/// One damaged fragment in quarantine must not hide the others, nor keep them there.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_fragment_in_quarantine_is_named_and_the_others_go_on() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let mut house = House::open(&data).await;
    open_sources(&mut house, "").await;
    let contract = |forbids: bool| pb::PutSourceRequest {
        source: Some(pb::Source {
            name: "crm".to_owned(),
            contract: forbids
                .then(|| pb::DataContract { require_any_namespace: vec!["phone".to_owned()], ..Default::default() }),
            ..Default::default()
        }),
        ..Default::default()
    };
    house.admin.put_source(contract(true)).await.unwrap();
    for who in 0..3 {
        let mail = format!("q{who}@harbour-mail.net");
        let held = house.put(person("crm", &format!("k{who}"), AT, &[("email", &mail)], &[])).await;
        assert_eq!(held.status(), pb::IngestStatus::Quarantined);
    }
    house.close().await;
    let file = data.join("vault/0/slots");
    let mut slots = std::fs::read(&file).unwrap();
    slots[64 + 32 + 5] ^= 0x10;
    std::fs::write(&file, slots).unwrap();

    let mut house = House::open(&data).await;
    let list = || pb::ListQuarantineRequest { include_fragments: true, ..Default::default() };
    let listed = house.ingest.list_quarantine(list()).await.unwrap().into_inner();
    let damaged: Vec<_> = listed.quarantined.iter().filter(|one| one.fragment.is_none()).collect();
    assert_eq!((listed.quarantined.len(), listed.total_size, damaged.len()), (3, 3, 1));
    let fault = &damaged[0].faults[0];
    assert_eq!((fault.reason.as_str(), damaged[0].record.as_ref().unwrap().source.as_str()), ("DAMAGED", "crm"));
    assert!(fault.message.contains("slot 1 of the vault") && fault.message.contains("discard it"), "{fault:?}");

    house.admin.put_source(contract(false)).await.unwrap();
    let replayed = house.ingest.replay_quarantine(pb::ReplayQuarantineRequest::default()).await.unwrap().into_inner();
    assert_eq!((replayed.released_count, replayed.kept_count), (2, 1));
    house.lookup("email", "q2@harbour-mail.net").await.unwrap();
    let quarantine_ids = vec![damaged[0].quarantine_id.clone()];
    let discard = pb::DiscardQuarantineRequest { quarantine_ids, ..Default::default() };
    assert_eq!(house.ingest.discard_quarantine(discard).await.unwrap().into_inner().discarded_count, 1);
    let again = house.put(person("crm", "k1", AT, &[("email", "q1@harbour-mail.net")], &[])).await;
    assert_eq!(again.status(), Accepted);
    house.close().await;
}
