//! Lookups by identifier against a server that answers with profiles of the same size from memory. One run, ratios.
//!
//! `cargo bench -p onefold-benches --bench lookup -- --fragments 300000 --calls 200000 --keys 50000`

use std::sync::Arc;

use onefold_benches::load::{self, Failure, argument};
use onefold_benches::{fragments, idle};
use onefold_proto::v1 as pb;
use onefold_proto::v1::profile_service_client::ProfileServiceClient;
use onefold_server::Server;

const CONNECTIONS: usize = 4;
const CALLERS: usize = 4;

fn main() -> Result<(), Failure> {
    let count = argument("--fragments", 300_000);
    let calls = argument("--calls", 200_000);
    let distinct = argument("--keys", 50_000);
    let rounds = argument("--rounds", 3);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let workload = Arc::new(fragments(7, count));
    let keys: Vec<pb::Identifier> = workload
        .iter()
        .flat_map(|fragment| &fragment.identifiers)
        .filter(|identifier| identifier.namespace == "email" || identifier.namespace == "phone")
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
        let mut client = ProfileServiceClient::connect(format!("http://{}", server.address())).await?;
        // Only what finds somebody: the do-nothing server always answers with a profile.
        let (mut found, mut profiles) = (Vec::new(), Vec::new());
        for step in keys.chunks(500) {
            let key = |identifier: &pb::Identifier| pb::ProfileKey {
                key: Some(pb::profile_key::Key::Identifier(identifier.clone())),
            };
            let request = pb::BatchLookupProfilesRequest { keys: step.iter().map(key).collect(), ..Default::default() };
            let results = client.batch_lookup_profiles(request).await?.into_inner().results;
            for (identifier, result) in step.iter().zip(results) {
                if let Some(profile) = result.profile {
                    found.push(identifier.clone());
                    profiles.push(profile);
                }
            }
        }
        let keys = Arc::new(found);
        profiles.truncate(5_000);
        let size: usize = profiles.iter().map(prost::Message::encoded_len).sum();
        println!(
            "{count} fragments, {calls} lookups of {} keys, {:.0} bytes an answer, {} callers in a closed loop",
            keys.len(),
            size as f64 / profiles.len() as f64,
            CONNECTIONS * CALLERS
        );
        println!(
            "{:>5} {:>10} {:>10} {:>8} {:>12} {:>12} {:>8} {:>7}",
            "round", "idle/s", "onefold/s", "of idle", "idle p99 us", "ours p99 us", "ratio", "found"
        );
        let idle = idle::serve(profiles).await?;
        for round in 1..=rounds {
            let (took_idle, idle_latency, _) =
                load::lookups(idle, Arc::clone(&keys), CONNECTIONS, CALLERS, calls).await?;
            let (took, latency, found) =
                load::lookups(server.address(), Arc::clone(&keys), CONNECTIONS, CALLERS, calls).await?;
            let (theirs, ours) = (calls as f64 / took_idle.as_secs_f64(), calls as f64 / took.as_secs_f64());
            let p99 = |latencies: &hdrhistogram::Histogram<u64>| latencies.value_at_quantile(0.99) as f64 / 1_000.0;
            println!(
                "{round:>5} {theirs:>10.0} {ours:>10.0} {:>8.2} {:>12.0} {:>12.0} {:>8.2} {:>6.0}%",
                ours / theirs,
                p99(&idle_latency),
                p99(&latency),
                p99(&latency) / p99(&idle_latency),
                100.0 * found as f64 / calls as f64
            );
        }
        server.stop().await?;
        Ok(())
    })
}
