//! What a server tells whoever watches over it: metrics that change by what was done, logs at every level, and in neither
//! anything of a person.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::net::SocketAddr;
use std::time::Duration;

use onefold_proto::v1 as pb;
use onefold_server::{Config, Server, StartError};
use onefold_tests::child::Launch;
use onefold_tests::consent::{at, of_record};
use onefold_tests::scrape::{Page, http, scrape};
use onefold_tests::{Clients, House, person, reason};
use tokio_stream::StreamExt;

/// What every value of a person here holds.
const CANARY: &str = "zqxwcanary";

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn watched(data: &std::path::Path) -> Config {
    Config { metrics_listen: Some(loopback()), ..House::config(data) }
}

fn mail(who: usize) -> String {
    format!("{CANARY}{who}@harbour-mail.net")
}

/// Everything that a caller can do with personal data, and some things that are refused.
async fn do_everything(clients: &mut Clients) {
    clients.sources(&["crm", "shop"]).await;
    for who in 0..3 {
        let (key, mail) = (format!("{CANARY}-{who}"), mail(who));
        let texts = [("given_name", format!("{CANARY}ada")), ("unheard_of", format!("{CANARY}oddity"))];
        let texts: Vec<(&str, &str)> = texts.iter().map(|(name, text)| (*name, text.as_str())).collect();
        clients.put(person("crm", &key, 10, &[("email", &mail)], &texts)).await;
        clients.put(person("shop", &key, 10, &[("email", &mail)], &[])).await;
        clients.put(person("shop", &key, 10, &[("email", &mail)], &[])).await;
    }
    let old = person("crm", &format!("{CANARY}-0"), 5, &[("email", &mail(0))], &[]);
    clients.put(old).await;
    clients.lookup("email", &mail(0)).await.unwrap();
    let unknown = clients.lookup("email", &format!("{CANARY}nobody@harbour-mail.net")).await.unwrap_err();
    assert_eq!(reason(&unknown), "PROFILE_NOT_FOUND");
    let wrong = clients.lookup(&format!("{CANARY}namespace"), "x").await.unwrap_err();
    assert_eq!(reason(&wrong), "REQUEST_INVALID");
    let bad = clients.put(person("crm", &format!("{CANARY}-9"), 10, &[(&format!("{CANARY}kind"), "v")], &[])).await;
    assert_eq!(bad.status(), pb::IngestStatus::Rejected);
    let search = pb::SearchProfilesRequest {
        party_kind: pb::PartyKind::Person as i32,
        attributes: vec![onefold_tests::text("given_name", &format!("{CANARY}ada"))],
        ..Default::default()
    };
    // Without a model it is refused; what was asked for is in the log all the same, if anywhere.
    let _ = clients.profiles.search_profiles(search).await;
    clients.forget(vec![of_record("crm", &format!("{CANARY}-1"))]).await.unwrap();
    let again = clients.put(person("crm", &format!("{CANARY}-1"), 20, &[("email", &mail(1))], &[])).await;
    assert_eq!(again.status(), pb::IngestStatus::Suppressed);
    clients.ask_for_erasure(vec![at("email", &mail(2))]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_follow_what_is_done_and_hold_no_values() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open_with(watched(&dir.path().join("data"))).await;
    let door = house.server().metrics_address().unwrap();
    let (before, _) = scrape(door).await;
    assert_eq!(before.get("onefold_ready"), 1.0);
    assert_eq!(before.get("onefold_records{tenant=\"default\"}"), 0.0);
    do_everything(&mut house).await;
    let mut watch = house.profiles.watch_profiles(pb::WatchProfilesRequest::default()).await.unwrap().into_inner();
    watch.next().await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let (after, text) = scrape(door).await;

    let outcome = |name: &str| after.get(&format!("onefold_fragments_total{{tenant=\"default\",outcome=\"{name}\"}}"));
    let outcomes = ["accepted", "duplicate", "superseded", "rejected", "suppressed", "quarantined"].map(outcome);
    assert_eq!(outcomes, [6.0, 3.0, 1.0, 1.0, 1.0, 0.0]);
    let call = |method: &str, code: &str| {
        let service = if method == "PutFragment" { "IngestService" } else { "ProfileService" };
        after.get(&format!(
            "onefold_rpc_duration_seconds_count{{service=\"onefold.v1.{service}\",method=\"{method}\",code=\"{code}\"}}"
        ))
    };
    assert_eq!(call("PutFragment", "OK"), 12.0);
    assert_eq!(call("LookupProfile", "OK"), 1.0);
    assert_eq!(call("LookupProfile", "NOT_FOUND"), 1.0);
    assert_eq!(call("LookupProfile", "INVALID_ARGUMENT"), 1.0);
    assert_eq!(after.get("onefold_errors_total{reason=\"PROFILE_NOT_FOUND\"}"), 1.0);
    let of = |name: &str| after.get(&format!("{name}{{tenant=\"default\"}}"));
    assert_eq!([of("onefold_profiles"), of("onefold_largest_cluster_records")], [2.0, 2.0], "{text}");
    assert_eq!(of("onefold_records"), 4.0, "the erased person's two are gone");
    assert_eq!(after.get("onefold_cluster_records_count"), 2.0);
    assert_eq!(after.get("onefold_cluster_records_sum"), 4.0);
    assert_eq!(after.get("onefold_cluster_records_bucket{le=\"1\"}"), 0.0);
    assert_eq!(after.get("onefold_cluster_records_bucket{le=\"2\"}"), 2.0);
    assert_eq!([of("onefold_resends_stopped_total"), of("onefold_feed_readers")], [1.0, 1.0]);
    assert!(of("onefold_suppressions") >= 1.0);
    let requests =
        |name: &str, kind: &str| after.get(&format!("onefold_privacy_{name}{{tenant=\"default\",kind=\"{kind}\"}}"));
    assert_eq!([requests("requests_open", "erasure"), requests("requests_overdue", "erasure")], [1.0, 0.0]);
    assert_eq!(requests("requests_open", "other"), 0.0);
    let due = requests("next_due_timestamp_seconds", "erasure");
    assert!(due > 1.7e9, "a month from now: {due}");
    assert!(after.get("onefold_rpc_in_flight") >= 1.0, "the watch");
    assert!(after.get("onefold_journal_sync_seconds_count") > before.get("onefold_journal_sync_seconds_count"));
    assert!(after.get("onefold_batch_entries_sum") >= 12.0);
    assert!(after.sum("onefold_disk_free_bytes") > 0.0 && after.get("onefold_connections") >= 1.0);
    assert!(!text.contains(CANARY), "{text}");
    let again = before.kinds.keys().all(|family| after.kinds.contains_key(family));
    assert!(again, "no family goes away");

    every_metric_is_in_the_manual(&after);
    drop(watch);
    house.close().await;
}

/// Whoever is woken by an alert finds out what the figure means.
fn every_metric_is_in_the_manual(page: &Page) {
    let manual = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations.md");
    let manual = std::fs::read_to_string(manual).unwrap();
    let rows: Vec<&str> = manual.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let names: Vec<&str> = rows.iter().map(|row| row.split('{').next().unwrap()).collect();
    for family in page.kinds.keys() {
        assert!(names.contains(&family.as_str()), "{family} has no row in docs/operations.md");
    }
    let theirs = names.iter().filter(|name| name.starts_with("onefold_") || name.starts_with("process_"));
    let rules =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/prometheus-rules.yml")).unwrap();
    let words = rules.split(|sign: char| !sign.is_ascii_alphanumeric() && sign != '_');
    for word in words.filter(|word| word.starts_with("onefold_")) {
        let name = ["_bucket", "_count", "_sum"].iter().find_map(|end| word.strip_suffix(end)).unwrap_or(word);
        assert!(page.kinds.contains_key(name), "an alert asks for {word}, which is not on the page");
    }
    // What was said of a checkpoint shows once there is one.
    let gone: Vec<_> =
        theirs.filter(|name| !page.kinds.contains_key(**name) && **name != "onefold_checkpoint_age_seconds").collect();
    assert!(gone.is_empty(), "{gone:?} are in docs/operations.md alone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_door_of_the_metrics_gives_one_page_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let house = House::open_with(watched(&dir.path().join("data"))).await;
    let door = house.server().metrics_address().unwrap();
    let table = [
        ("GET / HTTP/1.1", "HTTP/1.1 404"),
        ("GET /metrics/../../etc/passwd HTTP/1.1", "HTTP/1.1 404"),
        ("POST /metrics HTTP/1.1\r\nContent-Length: 0", "HTTP/1.1 405"),
        ("HEAD /metrics HTTP/1.1", "HTTP/1.1 200"),
        ("nonsense", "HTTP/1.1 400"),
    ];
    for (request, wanted) in table {
        let (head, body) = http(door, request).await;
        assert!(head.starts_with(wanted), "{request}: {head}");
        assert!(!body.contains("onefold_records"), "{request}: {body}");
    }
    let plain = House::open(&dir.path().join("other")).await;
    assert_eq!(plain.server().metrics_address(), None, "off unless it is asked for");
    plain.close().await;
    house.close().await;
    assert!(tokio::net::TcpStream::connect(door).await.is_err(), "shut with the server");
}

#[tokio::test]
async fn metrics_leave_loopback_by_name_only() {
    let dir = tempfile::tempdir().unwrap();
    let open = Config { metrics_listen: Some(SocketAddr::from(([0, 0, 0, 0], 0))), ..House::config(dir.path()) };
    let refused = Server::start(open.clone()).await.unwrap_err();
    assert!(matches!(refused, StartError::RemoteMetrics(_)), "{refused}");
    assert!(refused.to_string().contains("--allow-remote-metrics"));
    let data = dir.path().join("data");
    let server = Server::start(Config { allow_remote_metrics: true, data, ..open }).await.unwrap();
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_are_json_lines_without_values_at_every_level() {
    let dir = tempfile::tempdir().unwrap();
    let mut launch = Launch::new(env!("CARGO_BIN_EXE_onefold-test-server"), &dir.path().join("data"));
    launch.environment.push(("ONEFOLD_TEST_LOG".into(), "trace".into()));
    let (mut child, mut clients) = launch.start().await;
    do_everything(&mut clients).await;
    drop(clients);
    child.terminate();
    let (status, said) = child.end();
    assert!(status.success(), "{status}");
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines.len() > 100, "{} lines", lines.len());
    for line in lines {
        let parsed: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
        assert!(parsed["level"].is_string() && parsed["timestamp"].is_string(), "{line}");
        assert!(!line.to_ascii_lowercase().contains(CANARY), "{line}");
    }
}
