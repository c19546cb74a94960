//! Lookups by identifier against servers that answer with profiles of the same size from memory, one from messages, one
//! from bytes that are ready. One run, ratios; `first` is the first lookup of every key after a start.
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
        let data = dir.path().join("data");
        let server = Server::start(load::config(&data)).await?;
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
            "{:>6} {:>9} {:>9} {:>9} {:>8} {:>9} {:>7} {:>7} {:>7} {:>8} {:>9} {:>8} {:>8} {:>8} {:>6}",
            "round",
            "idle/s",
            "bytes/s",
            "onefold/s",
            "of idle",
            "of bytes",
            "idle us",
            "bytes us",
            "ours us",
            "of idle",
            "of bytes",
            "idle p99",
            "bytes p99",
            "ours p99",
            "ratio"
        );
        let idle = idle::serve(profiles.clone(), idle::From::Messages).await?;
        let bytes = idle::serve(profiles, idle::From::Bytes).await?;
        let asked = async |address, calls| load::lookups(address, Arc::clone(&keys), CONNECTIONS, CALLERS, calls).await;
        for round in 1..=rounds {
            // In turns, so that what else the machine does is spread over all three.
            let runs = [asked(idle, calls).await?, asked(bytes, calls).await?, asked(server.address(), calls).await?];
            tell(&round.to_string(), &runs, calls);
        }
        // After a start nothing is kept yet: every key once, each read from disk.
        server.stop().await?;
        let server = Server::start(load::config(&data)).await?;
        let calls = keys.len();
        let runs = [asked(idle, calls).await?, asked(bytes, calls).await?, asked(server.address(), calls).await?];
        tell("first", &runs, calls);
        server.stop().await?;
        Ok(())
    })
}

/// One line: the two do-nothing servers, and ours. All found, or the line says so.
fn tell(round: &str, [idle, bytes, ours]: &[load::Calls; 3], calls: usize) {
    println!(
        "{round:>6} {:>9.0} {:>9.0} {:>9.0} {:>8.2} {:>9.2} {:>7.1} {:>7.1} {:>7.1} {:>8.2} {:>9.2} {:>8.0} {:>8.0} {:>8.0} {:>6.2}",
        idle.rate(),
        bytes.rate(),
        ours.rate(),
        ours.rate() / idle.rate(),
        ours.rate() / bytes.rate(),
        idle.cost(),
        bytes.cost(),
        ours.cost(),
        idle.cost() / ours.cost(),
        bytes.cost() / ours.cost(),
        idle.p99(),
        bytes.p99(),
        ours.p99(),
        ours.p99() / idle.p99(),
    );
    if ours.hits + (CONNECTIONS * CALLERS) < calls {
        println!("{:>6} only {} of {calls} were found", "", ours.hits);
    }
}
