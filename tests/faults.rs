//! The n-th write or sync of a running server fails (EIO, ENOSPC, half of it written, half of it written and the power gone):
//! nothing is acknowledged that failed, nothing acknowledged is lost, a failed sync of ground ends the server, and the next
//! start recovers. Laws 3 and 10.
//!
//! `ONEFOLD_FAULTS=0` goes through all of them; the default samples. Needs a C compiler, and says so where there is none.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use onefold_tests::actor::{Actor, prepare};
use onefold_tests::child::{Child, Launch, copy_of};
use onefold_tests::dice::{Dice, how_many};

/// Acts of one run.
const ACTS: usize = 60;
const KINDS: [&str; 5] = ["EIO", "ENOSPC", "HALF_EIO", "SHORT", "TORN"];

/// What the shim says: calls counted, and the one that failed with its file.
fn told(file: &Path) -> (u64, Option<(String, String)>) {
    let text = fs::read_to_string(file).unwrap_or_default();
    let failed = text.lines().next().and_then(|line| {
        let mut words = line.split(' ').skip(1);
        Some((words.next()?.to_owned(), words.next()?.to_owned()))
    });
    let count = text.get(..12).and_then(|digits| digits.parse().ok()).unwrap_or(0);
    (count, failed)
}

/// Waits a while for it to end by itself.
async fn ends(child: &mut Child) -> bool {
    // Calls in flight are waited for at most ten seconds.
    for _ in 0..750 {
        if child.has_ended() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    false
}

#[tokio::test(flavor = "multi_thread")]
async fn whichever_write_or_sync_fails_no_acknowledgement_is_a_lie() {
    let dir = tempfile::tempdir().unwrap();
    let Some(shim) = onefold_tests::recording::compile("fault", dir.path()) else { return };
    let mut dice = Dice::from_environment("ONEFOLD_FAULT_SEED", 20_261_129);
    let (template, data, count) = (dir.path().join("template"), dir.path().join("data"), dir.path().join("told"));
    let mut plain = Launch::new(env!("CARGO_BIN_EXE_onefold-test-server"), &template);
    (plain.segment_bytes, plain.checkpoint_every) = (4 << 20, 120);
    let mut actor = Actor::new(0, dice.fork());
    actor.most = ACTS;
    let (child, mut clients) = plain.start().await;
    prepare(&mut clients, std::slice::from_mut(&mut actor)).await;
    actor.done = 0;
    child.stop();
    plain.data = data.clone();
    let failing = |at: u64, kind: &str| {
        let mut launch = plain.clone();
        let environment = [
            ("LD_PRELOAD", shim.clone().into_os_string()),
            ("ONEFOLD_FAULT_BASE", data.clone().into_os_string()),
            ("ONEFOLD_FAULT_TOLD", count.clone().into_os_string()),
            ("ONEFOLD_FAULT_AT", at.to_string().into()),
            ("ONEFOLD_FAULT_KIND", kind.into()),
        ];
        launch.environment.extend(environment.map(|(name, value)| (name.into(), value)));
        launch
    };
    copy_of(&template, &data, &[]);
    let (child, clients) = failing(0, "EIO").start().await;
    let done = actor.clone().act(clients).await.done;
    child.stop();
    let (calls, _) = told(&count);
    assert!(done == ACTS && calls > ACTS as u64, "{done} acts and {calls} writes and syncs");
    let samples = match how_many("ONEFOLD_FAULTS", 25) {
        0 => calls as usize * KINDS.len(),
        some => some,
    };
    let (mut hit, mut never_started, mut ended) = (BTreeMap::<String, u32>::new(), 0, 0);
    for sample in 0..samples {
        let kind = KINDS[sample % KINDS.len()];
        let at = if samples as u64 >= calls { (sample / KINDS.len()) as u64 + 1 } else { 1 + dice.below(calls) };
        fs::remove_dir_all(&data).unwrap();
        copy_of(&template, &data, &[]);
        let mut child = failing(at, kind).spawn();
        let mut after = actor.clone();
        match child.connect().await {
            Some(clients) => {
                let acting = tokio::time::timeout(Duration::from_secs(20), actor.clone().act(clients)).await;
                after = acting.unwrap_or_else(|_| panic!("call {at}, {kind}: the server hangs"));
            }
            None => never_started += 1,
        }
        let (_, failed) = told(&count);
        let (call, file) = failed.unwrap_or_default();
        let what = format!("call {at}, {kind}: {call} of {file}, after {} acts", after.done);
        let ground = ["journal/", "vault/", "erasures"].iter().any(|part| file.starts_with(part));
        if call == "sync" && ground {
            assert!(ends(&mut child).await, "{what}: a server whose sync failed goes on");
        }
        ended += u32::from(child.has_ended());
        child.kill();
        let (_, said) = child.end();
        assert!(!said.contains("panicked"), "{what}: {said}");
        *hit.entry(format!("{call} {}", file.split('/').next().unwrap_or_default())).or_default() += 1;
        let mut child = plain.spawn();
        let Some(mut clients) = child.connect().await else { panic!("{what}: does not start: {}", child.end().1) };
        assert_eq!(after.check(&mut clients).await, Ok(()), "{what}");
        assert_eq!(after.exhaust(&mut clients).await, Ok(()), "{what}");
        let digest = clients.digest().await;
        child.stop();
        fs::remove_dir_all(data.join("checkpoint")).unwrap();
        let (child, mut clients) = plain.start().await;
        assert_eq!(clients.digest().await, digest, "{what}: the journal tells another state");
        child.stop();
    }
    println!("{samples} faults in {calls} calls: {never_started} starts refused, {ended} servers ended; {hit:?}");
}
