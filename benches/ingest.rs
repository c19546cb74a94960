//! Durable deterministic ingest over gRPC against (a) a server that acknowledges the same stream without doing anything
//! and (b) a bare append-and-sync log of the same bytes. One run, ratios.
//!
//! `cargo bench -p onefold-benches --bench ingest -- --fragments 300000 --connections 2 --rounds 3`

use std::io::Write;
use std::sync::Arc;

use onefold_benches::load::{self, Failure, argument};
use onefold_benches::{fragments, idle};
use onefold_server::Server;
use prost::Message;

/// Fragments that one sync of the bare log covers: what a group commit of the server covers under this load.
const LOG_BATCH: usize = 1_024;

fn bare_log(fragments: &[onefold_proto::v1::Fragment]) -> Result<f64, Failure> {
    let dir = tempfile::tempdir_in(".")?;
    let mut file = std::fs::File::create(dir.path().join("log"))?;
    let start = load::now();
    let mut buffer = Vec::new();
    for batch in fragments.chunks(LOG_BATCH) {
        buffer.clear();
        for fragment in batch {
            fragment.encode_length_delimited(&mut buffer)?;
        }
        file.write_all(&buffer)?;
        file.sync_data()?;
    }
    Ok(fragments.len() as f64 / start.elapsed().as_secs_f64())
}

fn main() -> Result<(), Failure> {
    let count = argument("--fragments", 300_000);
    let connections = argument("--connections", 2);
    let rounds = argument("--rounds", 3);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let workload = Arc::new(fragments(7, count));
    let bytes: usize = workload.iter().map(Message::encoded_len).sum();
    println!("{count} fragments, {:.0} bytes each as protobuf, {connections} connections", bytes as f64 / count as f64);
    println!(
        "{:>5} {:>14} {:>14} {:>14} {:>8} {:>8}",
        "round", "idle server/s", "bare log/s", "onefold/s", "of idle", "of log"
    );
    for round in 1..=rounds {
        let idle = runtime.block_on(async {
            let address = idle::serve(Vec::new(), idle::From::Messages).await?;
            let (took, _) = load::ingest(address, Arc::clone(&workload), connections).await?;
            Ok::<f64, Failure>(count as f64 / took.as_secs_f64())
        })?;
        let log = bare_log(&workload)?;
        let dir = tempfile::tempdir_in(".")?;
        let (ours, accepted) = runtime.block_on(async {
            let config = load::config(&dir.path().join("data"));
            let server = Server::start(config).await?;
            load::sources(server.address()).await?;
            let (took, accepted) = load::ingest(server.address(), Arc::clone(&workload), connections).await?;
            server.stop().await?;
            Ok::<_, Failure>((count as f64 / took.as_secs_f64(), accepted))
        })?;
        println!("{round:>5} {idle:>14.0} {log:>14.0} {ours:>14.0} {:>8.2} {:>8.2}", ours / idle, ours / log);
        if accepted != count as u64 {
            return Err(format!("{accepted} of {count} fragments were accepted").into());
        }
    }
    Ok(())
}
