//! Counts over an account with 100,000 descendants, against a do-nothing call of the same server.
//!
//! `cargo bench -p onefold-benches --bench rollup -- --accounts 100000 --calls 50`

use std::time::Duration;

use onefold_benches::load::{self, Failure, argument};
use onefold_proto::v1 as pb;
use onefold_proto::v1::account_service_client::AccountServiceClient;
use onefold_server::Server;

/// Children of one account.
const FAN_OUT: usize = 12;
/// Rows of one message.
const MESSAGE_ROWS: usize = 1_000;

fn record(number: usize) -> pb::SourceRecord {
    pb::SourceRecord { source: "crm".to_owned(), key: number.to_string() }
}

fn row(number: usize) -> pb::ImportHierarchyRow {
    let account = pb::SourceAccount {
        record: Some(record(number)),
        display_name: format!("Company {number}"),
        ..Default::default()
    };
    let parent = (number > 0).then(|| record((number - 1) / FAN_OUT));
    pb::ImportHierarchyRow { line: number as u32 + 1, account: Some(account), parent }
}

fn of(number: usize) -> Option<pb::AccountKey> {
    Some(pb::AccountKey { key: Some(pb::account_key::Key::Record(record(number))) })
}

fn percentile(sorted: &[Duration], share: f64) -> f64 {
    let at = (sorted.len().saturating_sub(1)) as f64 * share;
    sorted.get(at as usize).map_or(0.0, Duration::as_secs_f64) * 1e3
}

fn main() -> Result<(), Failure> {
    let count = argument("--accounts", 100_000);
    let calls = argument("--calls", 50);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let dir = tempfile::tempdir_in(".")?;
    runtime.block_on(async {
        let config = load::config(&dir.path().join("data"));
        let server = Server::start(config).await?;
        load::sources(server.address()).await?;
        let mut client = AccountServiceClient::connect(format!("http://{}", server.address())).await?;
        let rows: Vec<pb::ImportHierarchyRow> = (0..=count).map(row).collect();
        let messages: Vec<pb::ImportHierarchyRequest> = rows
            .chunks(MESSAGE_ROWS)
            .map(|rows| pb::ImportHierarchyRequest { start: None, rows: rows.to_vec() })
            .collect();
        let start = load::now();
        let done = client.import_hierarchy(tokio_stream::iter(messages)).await?.into_inner();
        println!(
            "import              {:>10.2} s   {} accounts, durable",
            start.elapsed().as_secs_f64(),
            done.account_count
        );

        let (mut whole, mut leaf) = (Vec::new(), Vec::new());
        for _ in 0..calls {
            for (number, took) in [(0, &mut whole), (count, &mut leaf)] {
                let request = pb::GetRollupRequest { key: of(number), ..Default::default() };
                let start = load::now();
                let sum = client.get_rollup(request).await?.into_inner();
                took.push(start.elapsed());
                let want = if number == 0 { count as u64 + 1 } else { 1 };
                if sum.account_count != want {
                    return Err(format!("{} accounts counted, not {want}", sum.account_count).into());
                }
            }
        }
        for (what, took) in [("whole tree", &mut whole), ("one leaf", &mut leaf)] {
            took.sort_unstable();
            let (half, most) = (percentile(took, 0.5), percentile(took, 0.99));
            println!("roll-up: {what:<10} {half:>10.2} ms at the median, {most:.2} ms p99");
        }
        server.stop().await?;
        Ok(())
    })
}
