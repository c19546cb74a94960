//! What a size costs: memory per fragment, disk against the encoded fragments, start-up from a checkpoint and from the
//! journal alone.
//!
//! `cargo bench -p onefold-benches --bench scale -- --fragments 1000000`

use std::path::Path;
use std::sync::Arc;

use onefold_benches::fragments;
use onefold_benches::load::{self, Failure, argument};
use onefold_proto::v1 as pb;
use onefold_proto::v1::admin_service_client::AdminServiceClient;
use onefold_server::Server;
use prost::Message;

/// Bytes that files below a directory take on disk.
fn on_disk(path: &Path) -> std::io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0;
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { on_disk(&entry.path())? } else { metadata.blocks() * 512 };
    }
    Ok(bytes)
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1_024
}

fn main() -> Result<(), Failure> {
    let count = argument("--fragments", 1_000_000);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut workload = Arc::new(fragments(7, count));
    let encoded: usize = workload.iter().map(Message::encoded_len).sum();
    println!("{count} fragments, {:.0} bytes each as protobuf", encoded as f64 / count as f64);
    let dir = tempfile::tempdir_in(".")?;
    let data = dir.path().join("data");
    let config = || load::config(&data);
    runtime.block_on(async {
        let server = Server::start(config()).await?;
        load::sources(server.address()).await?;
        let mut admin = AdminServiceClient::connect(format!("http://{}", server.address())).await?;
        let (took, _) = load::ingest(server.address(), Arc::clone(&workload), 2).await?;
        println!("ingest              {:>10.0} fragments/s", count as f64 / took.as_secs_f64());
        let stats = admin.get_statistics(pb::GetStatisticsRequest::default()).await?.into_inner();
        println!(
            "profiles            {:>10}   largest {} records",
            stats.profile_count, stats.largest_profile_record_count
        );
        println!(
            "derived state       {:>10.1} bytes a fragment",
            stats.memory_bytes as f64 / stats.live_record_count as f64
        );
        workload = Arc::default();
        let before = admin.get_digest(pb::GetDigestRequest::default()).await?.into_inner();
        drop(admin);
        server.stop().await?;
        for part in ["journal", "vault", "checkpoint", "keyed"] {
            println!(
                "disk: {part:<13} {:>10.2} of the encoded fragments",
                on_disk(&data.join(part))? as f64 / encoded as f64
            );
        }
        println!("disk: all           {:>10.2} of the encoded fragments", on_disk(&data)? as f64 / encoded as f64);

        for (what, drop_checkpoint) in [("checkpoint", false), ("journal alone", true)] {
            if drop_checkpoint {
                std::fs::remove_dir_all(data.join("checkpoint"))?;
                std::fs::create_dir(data.join("checkpoint"))?;
            }
            let rss = resident();
            let start = load::now();
            let server = Server::start(config()).await?;
            let took = start.elapsed();
            let found = server.recovered().clone();
            println!(
                "start: {what:<13} {:>9.2} s   ({} entries replayed, resident {:+} MiB)",
                took.as_secs_f64(),
                found.replayed_entries,
                (resident() as i64 - rss as i64) >> 20
            );
            let mut admin = AdminServiceClient::connect(format!("http://{}", server.address())).await?;
            let after = admin.get_digest(pb::GetDigestRequest::default()).await?.into_inner();
            if after.graph_digest != before.graph_digest {
                return Err("the digest is another one after the restart".into());
            }
            drop(admin);
            server.stop().await?;
        }
        Ok(())
    })
}
