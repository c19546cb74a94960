//! The model test: random histories over gRPC, with restarts clean and killed, against a naive recompute from ground
//! state. Laws 2, 4, 5 and 8; and that order, batching and parallel streams do not show.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

mod facts;
mod ids;
mod oracle;

use std::collections::{BTreeMap, BTreeSet};

use ids::{Clusters, Ids};
use onefold_proto::v1 as pb;
use onefold_tests::child::{Child, Launch};
use onefold_tests::dice::{Dice, how_many};
use onefold_tests::traffic::{Ledger, Message, Mill, open_sources};
use onefold_tests::{Clients, House, identifier, record, text};
use oracle::{Ground, Record, record_of};
use pb::{IngestStatus, NamespaceClass, SurvivorshipRule};
use tempfile::TempDir;

const SOURCES: [&str; 3] = ["crm", "shop", "ledger"];
const FAMILIES: [(&str, &str); 5] =
    [("Ada", "King"), ("Bruno", "Stone"), ("Carla", "Mertz"), ("Dario", "Vogel"), ("Edda", "Lund")];
const NICKNAMES: [&str; 5] = ["ad", "bee", "chip", "doodle", "eddington"];

/// One server and what it must agree with.
struct Model {
    dice: Dice,
    launch: Launch,
    server: Option<(Child, Clients)>,
    ground: Ground,
    /// Whether fragments of `ledger` need a plan.
    strict: bool,
    sent: Vec<Message>,
    /// Everything that reached the graph, in the order of its arrival.
    applied: Vec<Message>,
    quarantine: BTreeMap<String, pb::Fragment>,
    ids: Ids,
    clusters: Clusters,
    /// Records of which it is not known which was heard of first.
    unsure: BTreeSet<Record>,
    /// What was done, for the reader of a failure.
    story: Vec<String>,
    _dir: TempDir,
}

impl Model {
    async fn new(seed: u64) -> Self {
        let dir = TempDir::new().unwrap();
        let mut launch = Launch::new(env!("CARGO_BIN_EXE_onefold-test-server"), &dir.path().join("data"));
        launch.checkpoint_every = 60;
        let server = launch.start().await;
        let mut model = Self {
            dice: Dice::new(seed),
            launch,
            server: Some(server),
            ground: Ground::default(),
            strict: true,
            sent: Vec::new(),
            applied: Vec::new(),
            quarantine: BTreeMap::new(),
            ids: Ids::default(),
            clusters: Clusters::new(),
            unsure: BTreeSet::new(),
            story: Vec::new(),
            _dir: dir,
        };
        for source in SOURCES {
            model.put_source(source, 500).await;
        }
        let club = pb::Namespace {
            name: "club".to_owned(),
            class: NamespaceClass::Identifying as i32,
            normaliser: pb::Normaliser::Folded as i32,
            priority: 300,
            diversity_limit: 2,
            ..Default::default()
        };
        let request = pb::PutNamespaceRequest { namespace: Some(club), ..Default::default() };
        model.clients().admin.put_namespace(request).await.unwrap();
        model.learn_namespaces().await;
        model
    }

    fn clients(&mut self) -> &mut Clients {
        &mut self.server.as_mut().unwrap().1
    }

    async fn learn_namespaces(&mut self) {
        let known = self.clients().admin.list_namespaces(pb::ListNamespacesRequest::default()).await.unwrap();
        // Without the etag: they are put to other servers too.
        let untagged = |known: pb::Namespace| (known.name.clone(), pb::Namespace { etag: String::new(), ..known });
        self.ground.namespaces = known.into_inner().namespaces.into_iter().map(untagged).collect();
    }

    async fn put_source(&mut self, name: &str, trust: u32) {
        let mut contract = pb::DataContract::default();
        if name == "ledger" && self.strict {
            contract.attributes.push(pb::AttributeRule {
                name: "plan".to_owned(),
                required: true,
                ..Default::default()
            });
        }
        let source = pb::Source { name: name.to_owned(), trust, contract: Some(contract), ..Default::default() };
        let request = pb::PutSourceRequest { source: Some(source), ..Default::default() };
        self.clients().admin.put_source(request).await.unwrap();
        self.ground.trust.insert(name.to_owned(), trust);
    }

    /// Whether the fragment goes to quarantine under the contracts in force.
    fn breaks(&self, fragment: &pb::Fragment) -> bool {
        let planless = !fragment.attributes.iter().any(|attribute| attribute.name == "plan");
        let of_ledger = fragment.record.as_ref().is_some_and(|record| record.source == "ledger");
        self.strict && of_ledger && planless || self.ground.contradict([fragment])
    }

    fn message(&mut self) -> Message {
        if !self.sent.is_empty() && self.dice.once_in(7) {
            return self.dice.pick(&self.sent).clone();
        }
        let dice = &mut self.dice;
        let (source, key) = (*dice.pick(&SOURCES), format!("k{}", dice.below(8)));
        // So few moments that versions meet in one.
        let observed_time = Some(onefold_tests::seconds(1_700_000_000 + dice.below(14) as i64));
        if dice.once_in(9) {
            return Message::Retract(pb::Retraction { record: Some(record(source, &key)), observed_time });
        }
        let organisation = dice.once_in(9);
        let mut identifiers = Vec::new();
        for _ in 0..=dice.below(3) {
            let n = dice.below(5);
            identifiers.push(match dice.below(12) {
                0..=2 => identifier("email", &format!("{}{n}@harbour-mail.net", dice.word(&["p", "P", " p"]))),
                3 => identifier("phone", &format!("+1 202-456-11{:02}", n / 2)),
                4 => identifier("phone", &format!("+1202456 11{:02}", n / 2)),
                5 => identifier("user_id", &format!("u{}", n / 2)),
                6 => identifier("loyalty_id", &format!("kx{}z", n * 131 + 7)),
                7 => identifier("device_id", &format!("{}-{n}", dice.word(&["dev", "DEV"]))),
                8 => identifier("club", &format!("harbour {}", n / 2)),
                9 => identifier("account_key", &format!("acc-{}", n / 3)),
                10 => identifier("email", dice.word(&["noreply@harbour-mail.net", "p9@example.com", "no address"])),
                _ => {
                    let junk = [("club", "null"), ("device_id", "NULL"), ("phone", "+1 202 555 0123")];
                    let (namespace, value) = *dice.pick(&junk);
                    identifier(namespace, value)
                }
            });
        }
        let mut attributes = Vec::new();
        let (given, family) = *dice.pick(&FAMILIES);
        if organisation {
            attributes.push(text("legal_name", dice.word(&["Nordwind Logistik GmbH", "Seeblick Hotels AG"])));
        } else if !dice.once_in(5) {
            attributes.push(text("given_name", given));
            attributes
                .push(text("family_name", &if dice.once_in(3) { family.to_uppercase() } else { family.to_owned() }));
        }
        if dice.once_in(2) {
            attributes.push(text("nickname", dice.word(&NICKNAMES)));
        }
        if !dice.once_in(3) {
            let value = Some(pb::attribute::Value::Number(dice.below(3) as f64));
            attributes.push(pb::Attribute { name: "plan".to_owned(), value });
        }
        let party = if organisation { pb::PartyKind::Organisation } else { pb::PartyKind::Person };
        Message::Put(pb::Fragment {
            record: Some(record(source, &key)),
            observed_time,
            party_kind: party as i32,
            identifiers,
            attributes,
            traits_json: if dice.once_in(6) { "{\"note\": 1}".to_owned() } else { String::new() },
            consents: Vec::new(),
            affiliations: Vec::new(),
            stages: Vec::new(),
        })
    }

    /// Takes an answered message into the ground; in the order of arrival the answer is known beforehand.
    fn answered(&mut self, message: Message, result: &pb::IngestResult, in_order: bool) {
        let wanted = match &message {
            Message::Put(fragment) if self.breaks(fragment) => {
                let held = self.quarantine.insert(result.quarantine_id.clone(), fragment.clone());
                assert!(held.is_none_or(|held| held == *fragment), "one handle for two fragments: {message:?}");
                IngestStatus::Quarantined
            }
            message => {
                if !in_order && !self.ground.age.contains_key(&record_of(message)) {
                    self.unsure.insert(record_of(message));
                }
                self.applied.push(message.clone());
                if !in_order || self.ground.may_pass_on(message) {
                    self.ids.passed_on(&record_of(message));
                }
                self.ground.take(message)
            }
        };
        if in_order || wanted == IngestStatus::Quarantined {
            assert_eq!(result.status(), wanted, "{message:?}");
        }
        self.sent.push(message);
    }

    /// One random verb. True when it was settled as one, so that law 4 can be told exactly.
    async fn step(&mut self) -> bool {
        match self.dice.below(100) {
            0..=49 => {
                let message = self.message();
                let result = self.clients().stream("", std::slice::from_ref(&message)).await.unwrap().remove(0);
                self.story.push(format!("{:?} {message:?}", result.status()));
                self.answered(message, &result, true);
                true
            }
            50..=64 => {
                let count = 2 + self.dice.index(10);
                let messages: Vec<Message> = (0..count).map(|_| self.message()).collect();
                let results = self.clients().stream("", &messages).await.unwrap();
                for (message, result) in messages.into_iter().zip(&results) {
                    self.story.push(format!("batch: {:?} {message:?}", result.status()));
                    self.answered(message, result, true);
                }
                false
            }
            65..=71 => {
                let streams: Vec<Vec<Message>> = (0..3).map(|_| (0..4).map(|_| self.message()).collect()).collect();
                let clients = self.clients().clone();
                let running: Vec<_> = streams
                    .into_iter()
                    .map(|messages| {
                        let mut clients = clients.clone();
                        tokio::spawn(async move { (clients.stream("", &messages).await.unwrap(), messages) })
                    })
                    .collect();
                for stream in running {
                    let (results, messages) = stream.await.unwrap();
                    for (message, result) in messages.into_iter().zip(&results) {
                        self.story.push(format!("parallel: {:?} {message:?}", result.status()));
                        self.answered(message, result, false);
                    }
                }
                false
            }
            72..=80 => self.change_namespace().await,
            81..=84 => {
                let rules = [
                    SurvivorshipRule::MostRecent,
                    SurvivorshipRule::MostTrusted,
                    SurvivorshipRule::MostFrequent,
                    SurvivorshipRule::Longest,
                    SurvivorshipRule::AllValues,
                ];
                self.ground.survivorship = *self.dice.pick(&rules);
                let request = pb::GetTenantRequest { name: "tenants/default".to_owned() };
                let mut tenant = self.clients().admin.get_tenant(request).await.unwrap().into_inner().tenant.unwrap();
                tenant.default_survivorship = self.ground.survivorship as i32;
                let request = pb::UpdateTenantRequest { tenant: Some(tenant), ..Default::default() };
                self.clients().admin.update_tenant(request).await.unwrap();
                self.story.push(format!("{:?}", self.ground.survivorship));
                false
            }
            85..=88 => {
                let (source, trust) = (*self.dice.pick(&SOURCES), 100 * self.dice.below(10) as u32);
                if source == "ledger" {
                    self.strict = self.dice.once_in(2);
                }
                self.put_source(source, trust).await;
                self.story.push(format!("{source}: trust {trust}, strict {}", self.strict));
                false
            }
            89..=91 => self.replay().await,
            92 => {
                let Some(id) = self.quarantine.keys().next().cloned() else { return false };
                let request = pb::DiscardQuarantineRequest { quarantine_ids: vec![id.clone()], ..Default::default() };
                let discarded = self.clients().ingest.discard_quarantine(request).await.unwrap().into_inner();
                assert_eq!(discarded.discarded_count, 1);
                self.quarantine.remove(&id);
                self.story.push(format!("discard {id}"));
                false
            }
            roll => {
                let (mut child, _) = self.server.take().unwrap();
                if roll < 96 {
                    child.stop()
                } else {
                    child.kill()
                }
                self.server = Some(self.launch.start().await);
                self.story.push(if roll < 96 { "restart".to_owned() } else { "killed".to_owned() });
                false
            }
        }
    }

    /// Other laws for a namespace. Everything is resolved again under them, in one settlement.
    async fn change_namespace(&mut self) -> bool {
        let names = ["email", "loyalty_id", "device_id", "club", "phone"];
        let name = *self.dice.pick(&names);
        let dice = &mut self.dice;
        let classes = [NamespaceClass::Unique, NamespaceClass::Identifying, NamespaceClass::Supporting];
        let blocked: Vec<String> = match name {
            "email" if dice.once_in(2) => vec!["p1@harbour-mail.net".to_owned()],
            "device_id" if dice.once_in(2) => vec!["dev-2".to_owned()],
            _ => Vec::new(),
        };
        let namespace = pb::Namespace {
            class: *dice.pick(&classes) as i32,
            priority: *dice.pick(&[300, 500, 600, 700]),
            diversity_limit: 1 + dice.below(4) as u32,
            blocked_values: blocked,
            ..self.ground.namespaces[name].clone()
        };
        self.story.push(format!("{namespace:?}"));
        let request = pb::PutNamespaceRequest { namespace: Some(namespace), ..Default::default() };
        self.clients().admin.put_namespace(request).await.unwrap();
        self.learn_namespaces().await;
        true
    }

    async fn replay(&mut self) -> bool {
        let request = pb::ReplayQuarantineRequest {
            quarantine_ids: self.quarantine.keys().cloned().collect(),
            ..Default::default()
        };
        if request.quarantine_ids.is_empty() {
            return false;
        }
        let replayed = self.clients().ingest.replay_quarantine(request).await.unwrap().into_inner();
        let held = std::mem::take(&mut self.quarantine);
        let mut kept = 0;
        for ((id, fragment), result) in held.into_iter().zip(&replayed.results) {
            if self.breaks(&fragment) {
                assert_eq!((result.status(), &result.quarantine_id), (IngestStatus::Quarantined, &id));
                kept += 1;
                self.quarantine.insert(id, fragment);
            } else {
                let message = Message::Put(fragment);
                self.applied.push(message.clone());
                if self.ground.may_pass_on(&message) {
                    self.ids.passed_on(&record_of(&message));
                }
                assert_eq!(result.status(), self.ground.take(&message), "replay of {message:?}");
            }
        }
        assert_eq!((replayed.kept_count, replayed.released_count), (kept, replayed.results.len() as u64 - kept));
        self.story.push(format!("replay: {kept} kept of {}", replayed.results.len()));
        false
    }

    /// Compares the server with the recompute.
    async fn agree(&mut self, settled_as_one: bool) {
        let profiles = self.clients().snapshot("").await.unwrap();
        let live = self.ground.live();
        let mut clusters = Clusters::new();
        for profile in &profiles {
            let records: BTreeSet<Record> =
                profile.records.iter().map(|record| (record.source.clone(), record.key.clone())).collect();
            let members: BTreeMap<&Record, &pb::Fragment> =
                records.iter().map(|record| (record, *live.get(record).expect("every record shown is live"))).collect();
            let together = records.len() > 1;
            assert!(!(together && self.ground.contradict(members.values().copied())), "law 5: {records:?}");
            // LAW 8: every golden value and every identifier has a live source that says so.
            let of = |provenance: &pb::Provenance| {
                let record = provenance.record.clone().unwrap();
                members[&(record.source, record.key)]
            };
            for value in profile.values.iter().chain(&profile.other_values) {
                let fragment = of(value.provenance.as_ref().unwrap());
                let says = |attribute: &pb::Attribute| {
                    attribute.name == value.name && attribute.value.clone().map(shown) == value.value.clone()
                };
                assert!(fragment.attributes.iter().any(says), "law 8: {value:?} {fragment:?}");
            }
            for found in &profile.identifiers {
                assert!(!found.provenance.is_empty(), "law 8: {found:?}");
                for provenance in &found.provenance {
                    let names = of(provenance).identifiers.iter().any(|claim| claim.namespace == found.namespace);
                    assert!(names, "law 8: {found:?}");
                }
            }
            for attribute in ["nickname", "family_name"] {
                // Case aside two names agree, and one of them is shown.
                let fold = |texts: Vec<String>| {
                    let mut seen = Vec::new();
                    for text in texts.into_iter().map(|text| text.to_lowercase()) {
                        if !seen.contains(&text) {
                            seen.push(text);
                        }
                    }
                    seen
                };
                let values = profile.values.iter().filter(|value| value.name == attribute);
                let shown = values.filter_map(|value| match &value.value {
                    Some(pb::golden_value::Value::Text(text)) => Some(text.clone()),
                    _ => None,
                });
                let recent = [SurvivorshipRule::Unspecified, SurvivorshipRule::MostRecent];
                if attribute == "nickname" || recent.contains(&self.ground.survivorship) {
                    assert_eq!(fold(shown.collect()), fold(self.ground.golden(&records, attribute)), "{records:?}");
                }
            }
            clusters.insert(profile.name.clone(), records);
        }
        let found: BTreeSet<BTreeSet<Record>> = clusters.values().cloned().collect();
        assert_eq!(found, self.ground.clusters(), "law 2");
        let (live, quarantined) = (live.len() as u64, self.quarantine.len() as u64);
        let statistics = self.clients().statistics().await;
        assert_eq!((statistics.live_record_count, statistics.quarantined_count), (live, quarantined));

        let (clients, ids) = (&mut self.server.as_mut().unwrap().1, &mut self.ids);
        ids.follow(clients).await;
        let told: BTreeSet<&String> =
            ids.answers.iter().filter(|(_, answer)| **answer == ids::Answer::Live).map(|(id, _)| id).collect();
        assert_eq!(told, clusters.keys().collect(), "the feed tells which profiles are live");
        if settled_as_one {
            let age = |record: &Record| {
                if self.unsure.contains(record) { None } else { self.ground.age.get(record).copied() }
            };
            ids.check_handed_on(&self.clusters, &clusters, &age);
        }
        ids.check_led(clients, &clusters).await;
        self.clusters = clusters;
    }

    /// The same facts in another order, in other batches, over parallel streams.
    async fn order_does_not_matter(&mut self) {
        let digest = self.clients().digest().await;
        let dir = TempDir::new().unwrap();
        let mut house = House::open(&dir.path().join("data")).await;
        for (name, trust) in self.ground.trust.iter().rev() {
            let source = pb::Source { name: name.clone(), trust: *trust, ..Default::default() };
            let request = pb::PutSourceRequest { source: Some(source), ..Default::default() };
            house.admin.put_source(request).await.unwrap();
        }
        let request = pb::GetTenantRequest { name: "tenants/default".to_owned() };
        let mut tenant = house.admin.get_tenant(request).await.unwrap().into_inner().tenant.unwrap();
        tenant.default_survivorship = self.ground.survivorship as i32;
        house
            .admin
            .update_tenant(pb::UpdateTenantRequest { tenant: Some(tenant), ..Default::default() })
            .await
            .unwrap();
        // Own namespaces must be there before the fragments; the other laws come in the middle.
        let identifying = NamespaceClass::Identifying as i32;
        let club = pb::Namespace { class: identifying, ..self.ground.namespaces["club"].clone() };
        let request = pb::PutNamespaceRequest { namespace: Some(club), ..Default::default() };
        house.admin.put_namespace(request).await.unwrap();
        let mut messages = self.applied.clone();
        self.dice.shuffle(&mut messages);
        // What the laws in force would refuse at the door came in under earlier ones.
        let (mut first, mut rest): (Vec<_>, Vec<_>) = messages
            .into_iter()
            .partition(|message| matches!(message, Message::Put(fragment) if self.ground.contradict([fragment])));
        first.extend(rest.split_off(rest.len() / 2));
        in_parallel(&house, &first, &mut self.dice).await;
        for namespace in self.ground.namespaces.values() {
            let request = pb::PutNamespaceRequest { namespace: Some(namespace.clone()), ..Default::default() };
            house.admin.put_namespace(request).await.unwrap();
        }
        in_parallel(&house, &rest, &mut self.dice).await;
        assert_eq!(house.statistics().await.quarantined_count, 0);
        assert_eq!(house.digest().await, digest, "law 2");
        house.close().await;
    }
}

fn shown(value: pb::attribute::Value) -> pb::golden_value::Value {
    match value {
        pb::attribute::Value::Text(text) => pb::golden_value::Value::Text(text),
        pb::attribute::Value::Number(number) => pb::golden_value::Value::Number(number),
        pb::attribute::Value::Flag(flag) => pb::golden_value::Value::Flag(flag),
    }
}

/// Sends messages over three streams, in batches of any size.
async fn in_parallel(clients: &Clients, messages: &[Message], dice: &mut Dice) {
    let share = messages.len().div_ceil(3).max(1);
    let streams: Vec<_> = messages
        .chunks(share)
        .map(|share| {
            let (mut clients, mut rest, mut dice) = (clients.clone(), share.to_vec(), dice.fork());
            tokio::spawn(async move {
                while !rest.is_empty() {
                    let later = rest.split_off((1 + dice.index(40)).min(rest.len()));
                    clients.stream("", &rest).await.unwrap();
                    rest = later;
                }
            })
        })
        .collect();
    for stream in streams {
        stream.await.unwrap();
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let from = self.story.len().saturating_sub(how_many("ONEFOLD_MODEL_STORY", 40));
            println!("what was done, the last of {} lines:\n{}", self.story.len(), self.story[from..].join("\n"));
        }
    }
}

async fn history(seed: u64, steps: usize) {
    println!("history ONEFOLD_MODEL_SEED={seed}");
    let mut model = Model::new(seed).await;
    let mut looked = true;
    for step in 0..steps {
        let settled_as_one = model.step().await && looked;
        // Now and then several verbs go by before anybody looks.
        looked = !model.dice.once_in(3) || step + 1 == steps;
        if looked {
            model.agree(settled_as_one).await;
        }
    }
    let ids = model.ids.clone();
    ids.check_answers(model.clients()).await;
    model.order_does_not_matter().await;
    println!(
        "{} live in {} profiles, {} ids given out, {} in quarantine",
        model.ground.live().len(),
        model.clusters.len(),
        ids.answers.len(),
        model.quarantine.len()
    );
    if let Some((child, _)) = model.server.take() {
        child.stop();
    }
}

/// Histories of their own seeds; `ONEFOLD_MODEL_HISTORIES` for more, `ONEFOLD_MODEL_SEED` for one again.
#[tokio::test(flavor = "multi_thread")]
async fn random_histories_agree_with_a_recompute() {
    let (histories, steps) = (how_many("ONEFOLD_MODEL_HISTORIES", 10), how_many("ONEFOLD_MODEL_STEPS", 120));
    let first = how_many("ONEFOLD_MODEL_SEED", 20_260_300) as u64;
    let seeds: Vec<u64> = (first..first + histories as u64).collect();
    let (even, odd): (Vec<u64>, Vec<u64>) = seeds.into_iter().partition(|seed| seed % 2 == 0);
    let run = |seeds: Vec<u64>| {
        tokio::spawn(async move {
            for seed in seeds {
                history(seed, steps).await;
            }
        })
    };
    let (one, other) = (run(even), run(odd));
    one.await.unwrap();
    other.await.unwrap();
}

/// LAW 2 at a size where batches fill: 1,500 messages one way and another, with a kill in between.
#[tokio::test(flavor = "multi_thread")]
async fn order_batching_and_parallel_streams_do_not_show() {
    let mut dice = Dice::from_environment("ONEFOLD_ORDER_SEED", 20_260_301);
    let mut mill = Mill::new(dice.fork(), 120, 200);
    let mut ledger = Ledger::default();
    for _ in 0..1_500 {
        ledger.note(mill.message());
    }
    let dirs: Vec<TempDir> = (0..2).map(|_| TempDir::new().unwrap()).collect();

    let mut house = House::open(&dirs[0].path().join("data")).await;
    open_sources(&mut house, "").await;
    house.stream("", &ledger.sent).await.unwrap();
    let (digest, live) = (house.digest().await, house.statistics().await.live_record_count);
    house.close().await;
    assert_eq!(live, ledger.live().len() as u64);

    let launch = Launch::new(env!("CARGO_BIN_EXE_onefold-test-server"), &dirs[1].path().join("data"));
    let (mut child, mut clients) = launch.start().await;
    open_sources(&mut clients, "").await;
    let mut messages = ledger.sent.clone();
    dice.shuffle(&mut messages);
    let (first, rest) = messages.split_at(700);
    in_parallel(&clients, first, &mut dice).await;
    child.kill();
    let (child, mut clients) = launch.start().await;
    in_parallel(&clients, rest, &mut dice).await;
    assert_eq!(clients.digest().await, digest, "law 2");
    child.stop();
}
