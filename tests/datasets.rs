//! The labelled person sets whose columns hold identifiers, imported through a running server: killed (SIGKILL) in the
//! middle, started again, everything sent again, the counts and digests are those of an unbroken run.
//!
//! The sets lie beside the project, in `../shared/data`; one that is not there is skipped, saying so.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use onefold_cli::input::Item;
use onefold_cli::input::mapping::Shaper;
use onefold_cli::resolve::open::{OpenOptions, open, tenant};
use onefold_core::config::TenantConfig;
use onefold_core::fragment::{AttributeValue, Fragment, PartyKind, Vocabulary};
use onefold_proto::v1 as pb;
use onefold_tests::child::Launch;
use onefold_tests::traffic::Message;
use onefold_tests::{Clients, House, identifier, record};
use tokio_stream::StreamExt;

/// A set as messages, and what a tenant needs to take them.
struct Set {
    messages: Vec<Message>,
    config: TenantConfig,
}

fn records_of(set: &str) -> Option<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let file = workspace.join("../shared/data").join(set).join("records.csv");
    if file.is_file() {
        return Some(file);
    }
    println!("skipped: {set} is not in {}", workspace.join("../shared/data").display());
    None
}

/// Reads a set as the `onefold` command reads it, the truth left out.
fn read(file: &Path) -> Set {
    let options = OpenOptions { truth: Some("cluster_id".to_owned()), ..Default::default() };
    let mut inputs = open(&[file.to_owned()], &options).unwrap();
    assert!(inputs[0].mapping.has_linking_identifier(), "the set has identifiers");
    let mut config = tenant(&inputs, None);
    let input = inputs.remove(0);
    let mut reader = input.reader;
    let mut shaper = Shaper::new(input.mapping, &mut config).unwrap();
    let mut fragments = Vec::new();
    while let Some(item) = reader.next_item().unwrap() {
        let Item::Record(raw) = item else { panic!("every row of a published set can be read") };
        match shaper.shape(raw, reader.columns(), &mut config) {
            Ok(shaped) => fragments.push(shaped.fragment),
            Err(refusal) => panic!("line {}: {}", refusal.line, refusal.reason),
        }
    }
    let messages = fragments.into_iter().map(|fragment| Message::Put(on_the_wire(fragment, &config))).collect();
    Set { messages, config }
}

fn on_the_wire(fragment: Fragment, names: &TenantConfig) -> pb::Fragment {
    let micros = fragment.observed_at.0;
    let value = |value| match value {
        AttributeValue::Text(text) => pb::attribute::Value::Text(text),
        AttributeValue::Number(number) => pb::attribute::Value::Number(number),
        AttributeValue::Flag(flag) => pb::attribute::Value::Flag(flag),
    };
    let party = match fragment.party {
        PartyKind::Person => pb::PartyKind::Person,
        PartyKind::Organisation => pb::PartyKind::Organisation,
    };
    pb::Fragment {
        record: Some(record(names.source(fragment.record.source), &fragment.record.key)),
        observed_time: Some(prost_types::Timestamp {
            seconds: micros.div_euclid(1_000_000),
            nanos: (micros.rem_euclid(1_000_000) * 1_000) as i32,
        }),
        party_kind: party as i32,
        identifiers: fragment
            .identifiers
            .into_iter()
            .map(|claim| identifier(Vocabulary::namespace(names, claim.namespace), &claim.raw))
            .collect(),
        attributes: fragment
            .attributes
            .into_iter()
            .map(|attribute| pb::Attribute {
                name: names.attribute(attribute.name).to_owned(),
                value: Some(value(attribute.value)),
            })
            .collect(),
        traits_json: String::new(),
        consents: Vec::new(),
        affiliations: Vec::new(),
        stages: Vec::new(),
    }
}

/// Makes the tenant know the sources and namespaces of the set.
async fn prepare(clients: &mut Clients, config: &TenantConfig) {
    let names: Vec<&str> = config.sources.iter().map(|source| source.name.as_str()).collect();
    clients.sources(&names).await;
    let known = clients.admin.list_namespaces(pb::ListNamespacesRequest::default()).await.unwrap().into_inner();
    let known: BTreeSet<String> = known.namespaces.into_iter().map(|namespace| namespace.name).collect();
    for own in config.namespaces.iter().filter(|namespace| !known.contains(&namespace.name)) {
        let namespace = pb::Namespace {
            name: own.name.clone(),
            class: pb::NamespaceClass::Identifying as i32,
            normaliser: pb::Normaliser::Alphanumeric as i32,
            priority: own.priority.into(),
            diversity_limit: own.diversity_limit.into(),
            ..Default::default()
        };
        let request = pb::PutNamespaceRequest { namespace: Some(namespace), ..Default::default() };
        clients.admin.put_namespace(request).await.unwrap();
    }
}

/// Counts and digests: all that two runs can be told apart by.
async fn told(clients: &mut Clients) -> (Vec<u64>, (String, String)) {
    let counts = clients.statistics().await;
    let counts = vec![
        counts.live_record_count,
        counts.profile_count,
        counts.value_count,
        counts.generic_value_count,
        counts.largest_profile_record_count,
        counts.quarantined_count,
    ];
    (counts, clients.digest().await)
}

/// Streams a set until the server is gone; how many were answered.
async fn stream_until_gone(clients: &mut Clients, messages: &[Message], answered: &AtomicUsize) {
    let requests: Vec<_> = (0..).zip(messages).map(|(number, message)| message.request("", number)).collect();
    let Ok(answers) = clients.ingest.stream_fragments(tokio_stream::iter(requests)).await else { return };
    let mut answers = answers.into_inner();
    while let Some(Ok(_)) = answers.next().await {
        answered.fetch_add(1, Ordering::Relaxed);
    }
}

async fn import(set: &str) {
    let Some(file) = records_of(set) else { return };
    let Set { messages, config } = read(&file);
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];

    let mut house = House::open(&dirs[0].path().join("data")).await;
    prepare(&mut house, &config).await;
    house.stream("", &messages).await.unwrap();
    let unbroken = told(&mut house).await;
    house.close().await;

    let launch = Launch::new(env!("CARGO_BIN_EXE_onefold-test-server"), &dirs[1].path().join("data"));
    let (mut child, mut clients) = launch.start().await;
    prepare(&mut clients, &config).await;
    let answered = Arc::new(AtomicUsize::new(0));
    let streaming = {
        // A small set is one batch: what lies behind the kill was never sent.
        let sent = messages[..messages.len() * 2 / 3].to_vec();
        let (mut clients, messages, answered) = (clients.clone(), sent, Arc::clone(&answered));
        tokio::spawn(async move { stream_until_gone(&mut clients, &messages, &answered).await })
    };
    while answered.load(Ordering::Relaxed) < messages.len() / 3 && !streaming.is_finished() {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    child.kill();
    streaming.await.unwrap();
    let before = answered.load(Ordering::Relaxed);
    let (child, mut clients) = launch.start().await;
    let found = clients.statistics().await.live_record_count + clients.statistics().await.quarantined_count;
    let results = clients.stream("", &messages).await.unwrap();
    let again = results[..before].iter().filter(|result| result.status() == pb::IngestStatus::Accepted).count();
    assert_eq!(again, 0, "{set}: {before} rows were acknowledged before the kill");
    let broken = told(&mut clients).await;
    assert_eq!(broken, unbroken, "{set}");
    child.stop();
    println!(
        "{set}: {} rows, {before} acknowledged and {found} there after the kill; {} profiles",
        messages.len(),
        unbroken.0[1]
    );
    assert!(unbroken.0[1] < unbroken.0[0], "{set}: something links");
}

#[tokio::test(flavor = "multi_thread")]
async fn small_sets_survive_a_kill_in_the_middle() {
    for set in ["senzing_truthset", "febrl1", "fake_1000"] {
        import(set).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn febrl_sets_survive_a_kill_in_the_middle() {
    for set in ["febrl2", "febrl3", "febrl4", "febrl_dsgen_c10k"] {
        import(set).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_thousand_people_survive_a_kill_in_the_middle() {
    import("synth_people_20k").await;
}
