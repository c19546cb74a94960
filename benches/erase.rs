//! What an erasure costs at two sizes of the data, ten times apart: the call that carries it out, and the write behind it.
//! One run, ratios.
//!
//! `cargo bench -p onefold-benches --bench erase -- --fragments 1000000 --subjects 100`

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use onefold_benches::load::{self, Failure, argument, erasure_of};
use onefold_benches::{SOURCES, fragments};
use onefold_proto::v1 as pb;
use onefold_proto::v1::ingest_service_client::IngestServiceClient;
use onefold_proto::v1::privacy_service_client::PrivacyServiceClient;
use onefold_server::Server;

/// Source records of one subject.
const RECORDS: usize = 20;

fn mail(subject: usize) -> String {
    format!("subject{subject}@harbour-mail.net")
}

fn fragment(key: String, source: &str, mail: String) -> pb::Fragment {
    pb::Fragment {
        record: Some(pb::SourceRecord { source: source.to_owned(), key }),
        observed_time: Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 0 }),
        party_kind: pb::PartyKind::Person as i32,
        identifiers: vec![pb::Identifier { namespace: "email".to_owned(), value: mail }],
        ..Default::default()
    }
}

/// The workload with all records of the subjects spread over it.
fn workload(count: usize, subjects: usize) -> Vec<pb::Fragment> {
    let of_subjects: Vec<pb::Fragment> = (0..RECORDS)
        .flat_map(|number| {
            let source = SOURCES[number % SOURCES.len()];
            (0..subjects).map(move |subject| fragment(format!("s{subject}-{number}"), source, mail(subject)))
        })
        .collect();
    let others = fragments(7, count);
    let share = others.len().div_ceil(of_subjects.len().max(1)).max(1);
    let mut all = Vec::with_capacity(others.len() + of_subjects.len());
    let mut some = of_subjects.into_iter();
    for chunk in others.chunks(share) {
        all.extend_from_slice(chunk);
        all.extend(some.next());
    }
    all.extend(some);
    all
}

/// In the order in which they are called for each subject.
#[derive(Default)]
struct Took {
    preview: Vec<Duration>,
    erase: Vec<Duration>,
    next_write: Vec<Duration>,
    write: Vec<Duration>,
}

impl Took {
    fn rows(&mut self) -> [(&'static str, &mut Vec<Duration>); 4] {
        [
            ("preview", &mut self.preview),
            ("erase", &mut self.erase),
            ("the write behind it", &mut self.next_write),
            ("a write on its own", &mut self.write),
        ]
    }
}

async fn put(client: &mut IngestServiceClient<tonic::transport::Channel>, key: String) -> Result<Duration, Failure> {
    let fragment = fragment(key.clone(), "crm", format!("{key}@harbour-mail.net"));
    let request = pb::PutFragmentRequest { fragment: Some(fragment), ..Default::default() };
    let start = load::now();
    client.put_fragment(request).await?;
    Ok(start.elapsed())
}

async fn erase_all(address: SocketAddr, subjects: usize) -> Result<Took, Failure> {
    let url = format!("http://{address}");
    let mut privacy = PrivacyServiceClient::connect(url.clone()).await?;
    let mut ingest = IngestServiceClient::connect(url).await?;
    let mut took = Took::default();
    for subject in 0..subjects {
        let identifier = pb::Identifier { namespace: "email".to_owned(), value: mail(subject) };
        let name = erasure_of(&mut privacy, identifier).await?;
        took.write.push(put(&mut ingest, format!("alone{subject}")).await?);

        let start = load::now();
        let request = pb::PreviewErasureRequest { name: name.clone() };
        let preview = privacy.preview_erasure(request).await?.into_inner();
        took.preview.push(start.elapsed());
        if preview.records.len() != RECORDS {
            return Err(format!("{} records in scope, not {RECORDS}", preview.records.len()).into());
        }
        let request = pb::ExecuteErasureRequest { name, etag: preview.etag, ..Default::default() };
        let start = load::now();
        let done = privacy.execute_erasure(request).await?.into_inner().request.unwrap_or_default();
        took.erase.push(start.elapsed());
        if done.state() != pb::PrivacyRequestState::Completed {
            return Err("an erasure was not completed".into());
        }
        took.next_write.push(put(&mut ingest, format!("behind{subject}")).await?);
    }
    Ok(took)
}

fn at(sorted: &[Duration], share: f64) -> f64 {
    let at = (sorted.len().saturating_sub(1)) as f64 * share;
    sorted.get(at.round() as usize).map_or(0.0, Duration::as_secs_f64) * 1e3
}

fn main() -> Result<(), Failure> {
    let count = argument("--fragments", 1_000_000);
    let subjects = argument("--subjects", 100);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    println!("{subjects} subjects of {RECORDS} records each, one after the other, in ms");
    println!(
        "{:>9} {:>20} {:>8} {:>8} {:>8} {:>12} {:>12}",
        "fragments", "", "median", "p99", "most", "of a tenth", "p99 of it"
    );
    let mut before: Vec<(f64, f64)> = Vec::new();
    for size in [count / 10, count] {
        let dir = tempfile::tempdir_in(".")?;
        let mut took = runtime.block_on(async {
            let server = Server::start(load::config(&dir.path().join("data"))).await?;
            load::sources(server.address()).await?;
            load::ingest(server.address(), Arc::new(workload(size, subjects)), 2).await?;
            let took = erase_all(server.address(), subjects).await?;
            server.stop().await?;
            Ok::<_, Failure>(took)
        })?;
        let mut figures = Vec::new();
        for (number, (what, times)) in took.rows().into_iter().enumerate() {
            times.sort_unstable();
            let (half, p99, most) = (at(times, 0.5), at(times, 0.99), at(times, 1.0));
            let ratios = before.get(number).map(|(low, high)| format!("{:>12.2} {:>12.2}", half / low, p99 / high));
            println!("{size:>9} {what:>20} {half:>8.2} {p99:>8.2} {most:>8.2} {}", ratios.unwrap_or_default());
            figures.push((half, p99));
        }
        before = figures;
    }
    Ok(())
}
