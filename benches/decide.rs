//! Contact decisions and statements against a server that answers without deciding. One run, ratios.
//!
//! `cargo bench -p onefold-benches --bench decide -- --fragments 200000 --calls 100000 --keys 50000`

use std::sync::Arc;

use onefold_benches::load::{self, Failure, argument};
use onefold_benches::{contact, fragments};
use onefold_proto::v1 as pb;
use onefold_server::Server;

const CONNECTIONS: usize = 4;

fn main() -> Result<(), Failure> {
    let count = argument("--fragments", 200_000);
    let calls = argument("--calls", 100_000);
    let distinct = argument("--keys", 50_000);
    let rounds = argument("--rounds", 3);
    // Of each connection.
    let callers = argument("--callers", 4);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let workload = Arc::new(fragments(7, count));
    let keys: Vec<pb::Identifier> = workload
        .iter()
        .flat_map(|fragment| &fragment.identifiers)
        .filter(|identifier| identifier.namespace == "email" && identifier.value.contains('@'))
        .step_by(3)
        .take(distinct)
        .cloned()
        .collect();
    let dir = tempfile::tempdir_in(".")?;
    runtime.block_on(async {
        let config = load::config(&dir.path().join("data"));
        let server = Server::start(config).await?;
        load::sources(server.address()).await?;
        load::ingest(server.address(), Arc::clone(&workload), 2).await?;
        let idle = contact::serve_idle().await?;
        // Keys that are no address are refused, and would measure nothing.
        let mut good = Vec::new();
        for key in keys {
            if onefold_core::identifier::email::canonicalise(&key.value).is_ok() {
                good.push(key);
            }
        }
        let keys = Arc::new(good);
        let theirs = contact::grant(idle, Arc::clone(&keys), 1_700_000_000).await?.as_secs_f64();
        let ours = contact::grant(server.address(), Arc::clone(&keys), 1_700_000_000).await?.as_secs_f64();
        let all = keys.len() as f64;
        println!("{} statements in one stream: {:.0}/s, of idle {:.2}", keys.len(), all / ours, theirs / ours);
        println!("{calls} decisions for {} addresses, {} callers in a closed loop", keys.len(), CONNECTIONS * callers);
        println!(
            "{:>5} {:>9} {:>10} {:>10} {:>8} {:>8} {:>8} {:>8} {:>9} {:>9} {:>8} {:>8}",
            "round",
            "",
            "idle/s",
            "onefold/s",
            "of idle",
            "idle us",
            "ours us",
            "of idle",
            "idle p99",
            "ours p99",
            "ratio",
            "allowed"
        );
        for round in 1..=rounds {
            for reserve in [false, true] {
                let callers = (CONNECTIONS, callers);
                let theirs = contact::decisions(idle, Arc::clone(&keys), callers, calls, reserve).await?;
                let ours = contact::decisions(server.address(), Arc::clone(&keys), callers, calls, reserve).await?;
                println!(
                    "{round:>5} {:>9} {:>10.0} {:>10.0} {:>8.2} {:>8.1} {:>8.1} {:>8.2} {:>9.0} {:>9.0} {:>8.2} {:>7.0}%",
                    if reserve { "reserved" } else { "asked" },
                    theirs.rate(),
                    ours.rate(),
                    ours.rate() / theirs.rate(),
                    theirs.cost(),
                    ours.cost(),
                    theirs.cost() / ours.cost(),
                    theirs.p99(),
                    ours.p99(),
                    ours.p99() / theirs.p99(),
                    100.0 * ours.hits as f64 / ours.latencies.len() as f64
                );
            }
            let (theirs, _) = contact::campaign(idle, Arc::clone(&keys), calls, true).await?;
            let (ours, allowed) = contact::campaign(server.address(), Arc::clone(&keys), calls, true).await?;
            let (theirs, ours) = (calls as f64 / theirs.as_secs_f64(), calls as f64 / ours.as_secs_f64());
            println!(
                "{round:>5} {:>9} {theirs:>10.0} {ours:>10.0} {:>8.2} {:>64.0}%",
                "campaign",
                ours / theirs,
                100.0 * allowed as f64 / calls as f64
            );
        }
        server.stop().await?;
        Ok(())
    })
}
