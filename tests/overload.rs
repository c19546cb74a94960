//! Far more calls at once than the server can take: what is refused says when to come again, what is acknowledged is there,
//! memory stays bounded, and afterwards everything is as before. Law 10.
#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods, reason = "test code; it measures")]

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use onefold_proto::v1 as pb;
use onefold_tests::child::Launch;
use onefold_tests::dice::how_many;
use onefold_tests::traffic::Message;
use onefold_tests::{Clients, person, reason, text};
use tonic::{Code, Request};
use tonic_types::StatusExt;

/// Connections that flood; each may have a hundred calls under way.
const CONNECTIONS: usize = 24;
/// How long a caller waits.
const DEADLINE: Duration = Duration::from_secs(4);
/// Bytes that the server may grow by.
const GROWTH_MAX: u64 = 256 << 20;

/// Resident bytes of a process; `None` where the system does not say.
fn resident(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kilobytes| kilobytes << 10)
}

fn fat(number: usize) -> pb::Fragment {
    let email = format!("o{number}@harbour-mail.net");
    let attributes = (0..5).map(|n| text(&format!("note_{n}"), &"w".repeat(4_000))).collect();
    pb::Fragment { attributes, ..person("crm", &format!("o{number}"), 1_700_000_000, &[("email", &email)], &[]) }
}

fn p99(took: &mut [Duration]) -> Duration {
    took.sort_unstable();
    took.get((took.len() * 99).div_ceil(100).saturating_sub(1)).copied().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_shed_in_order_and_nothing_acknowledged_is_lost() {
    let calls = how_many("ONEFOLD_FLOOD_CALLS", 3_000);
    let dir = tempfile::tempdir().unwrap();
    let launch = Launch::new(env!("CARGO_BIN_EXE_onefold-test-server"), &dir.path().join("data"));
    let (child, mut clients) = launch.start().await;
    clients.sources(&["crm"]).await;
    let mut alone = Vec::new();
    for number in 0..100 {
        let begun = Instant::now();
        assert_eq!(clients.put(fat(calls + number)).await.status(), pb::IngestStatus::Accepted);
        alone.push(begun.elapsed());
    }
    let before = resident(child.id());
    let (over, process) = (Arc::new(AtomicBool::new(false)), child.id());
    let watched = {
        let over = Arc::clone(&over);
        tokio::spawn(async move {
            let mut most = 0;
            while !over.load(Ordering::Relaxed) {
                most = most.max(resident(process).unwrap_or(0));
                tokio::time::sleep(Duration::from_millis(25)).await;
            }
            most
        })
    };
    let mut callers = Vec::new();
    for _ in 0..CONNECTIONS {
        callers.push(Clients::connect(child.address()).await.unwrap());
    }
    // All at once: none waits for the answer of another.
    let under_way: Vec<_> = (0..calls)
        .map(|number| {
            let mut caller = callers[number % CONNECTIONS].ingest.clone();
            tokio::spawn(async move {
                let begun = Instant::now();
                let mut request =
                    Request::new(pb::PutFragmentRequest { fragment: Some(fat(number)), ..Default::default() });
                request.set_timeout(DEADLINE);
                (number, caller.put_fragment(request).await, begun.elapsed())
            })
        })
        .collect();
    let (mut accepted, mut took, mut refused) = (Vec::new(), Vec::new(), BTreeMap::<String, usize>::new());
    for call in under_way {
        let (number, told, elapsed) = call.await.unwrap();
        match told {
            Ok(answer) => {
                assert_eq!(answer.into_inner().result.unwrap().status(), pb::IngestStatus::Accepted);
                accepted.push(number);
                took.push(elapsed);
            }
            Err(status) => {
                let shed = matches!(status.code(), Code::Unavailable | Code::ResourceExhausted);
                let late = matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled);
                assert!(shed || late, "{status:?}");
                assert!(!shed || status.get_details_retry_info().is_some(), "when to come again: {status:?}");
                *refused.entry(format!("{:?} {}", status.code(), reason(&status))).or_default() += 1;
            }
        }
    }
    // Normal again at once: the backlog was bounded.
    let begun = Instant::now();
    let after = tokio::time::timeout(Duration::from_secs(10), clients.try_put(fat(calls + 200))).await;
    let recovered = begun.elapsed();
    assert_eq!(after.expect("the server answers").expect("and takes it").status(), pb::IngestStatus::Accepted);
    over.store(true, Ordering::Relaxed);
    let most = watched.await.unwrap();
    println!(
        "{calls} at once: {} accepted, p99 {:?} (alone {:?}), refused {refused:?}; {} MiB more; one call later {recovered:?}",
        accepted.len(),
        p99(&mut took),
        p99(&mut alone),
        most.saturating_sub(before.unwrap_or(0)) >> 20,
    );
    if let Some(before) = before {
        assert!(most < before + GROWTH_MAX, "the server grew from {before} to {most} bytes");
    }
    assert!(!accepted.is_empty(), "a flood does not stop everything");
    let again: Vec<Message> = accepted.iter().map(|number| Message::Put(fat(*number))).collect();
    let results = clients.stream("", &again).await.unwrap();
    assert!(
        results.iter().all(|result| result.status() == pb::IngestStatus::Duplicate),
        "what was acknowledged is there"
    );
    child.stop();
}
