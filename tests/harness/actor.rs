//! A caller with a memory: does one thing after the other to records of its own, keeps outside of the store what was
//! acknowledged, and knows at any time what the server must show. A call that was on its way when the server died is
//! either wholly there or wholly absent, and the same call again (with its `request_id`) brings it to its end once.

use std::collections::{BTreeMap, BTreeSet};

use onefold_proto::v1 as pb;
use tonic::{Code, Status};

use crate::accounts::{account, somebody};
use crate::canary::{canary, mail};
use crate::consent::{at, of_record, said};
use crate::dice::Dice;
use crate::traffic::{Message, open_sources};
use crate::{Clients, person, reason, record, seconds};

/// Contacts that a person may have in the window of the cap.
pub const CAP: u32 = 5;
const THEN: i64 = 1_700_000_000;
/// Persons of two records that come, change and go.
const PERSONS: usize = 4;
/// Records that stay. 0 speaks about its consent, 1 and 2 are contacted, 3 to 6 are judged.
const STAYING: usize = 7;
/// Of them, those that have a stage.
const STAGED: usize = 3;
const ACCOUNTS: usize = 4;
/// Persons that are erased, one after the other.
const CANARIES: usize = 12;
const STAGES: [&str; 3] = ["lead", "mql", "customer"];

/// What one call does.
#[derive(Clone, Debug)]
enum Act {
    Put(pb::PutFragmentRequest),
    Retract(pb::RetractRecordRequest),
    Judge(pb::JudgeRequest),
    Say(pb::RecordConsentRequest),
    Contact(usize, pb::DecideContactRequest),
    Move(usize, usize, pb::MoveAccountRequest),
    Stage(usize, pb::SetStageRequest),
    Ask(usize, pb::CreatePrivacyRequestRequest),
    Verify(usize, pb::VerifyPrivacyRequestRequest),
    Erase(usize, pb::ExecuteErasureRequest),
}

/// How far a canary is on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Way {
    Unknown,
    Here,
    Asked(String),
    Verified(String),
    Gone(String),
}

/// What the server shows of all that an actor has.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// Live records: the golden note and the records of their profile.
    records: BTreeMap<String, (String, BTreeSet<String>)>,
    /// When what was said of the consent of record 0.
    said: Vec<(i64, i32)>,
    /// Parents of the accounts.
    parents: Vec<String>,
    /// Stages of the staying records that have one.
    stages: Vec<Vec<String>>,
    /// Of every canary: whether it is found, and whether its request is completed.
    canaries: Vec<(bool, bool)>,
}

/// Everything that was acknowledged to an actor.
#[derive(Clone, Debug)]
struct Known {
    live: BTreeMap<(String, String), pb::Fragment>,
    same: bool,
    said: Vec<(i64, i32)>,
    parents: [Option<usize>; ACCOUNTS],
    stages: [usize; STAGED],
    allowed: [u32; 2],
    canaries: Vec<Way>,
}

/// The caller.
#[derive(Clone, Debug)]
pub struct Actor {
    number: usize,
    dice: Dice,
    made: i64,
    known: Known,
    under_way: Option<Act>,
    /// Acts that were acknowledged.
    pub done: usize,
    /// It stops after so many.
    pub most: usize,
    /// Calls whose answer did not come, and of these the ones that were there nevertheless.
    pub in_doubt: (usize, usize),
}

fn note(fragment: &pb::Fragment) -> String {
    let value = fragment.attributes.iter().find(|attribute| attribute.name == "note");
    match value.and_then(|attribute| attribute.value.as_ref()) {
        Some(pb::attribute::Value::Text(text)) => text.clone(),
        _ => String::new(),
    }
}

fn made(fragment: &pb::Fragment) -> i64 {
    fragment.observed_time.map_or(0, |time| time.seconds)
}

fn key_of(fragment: &pb::Fragment) -> (String, String) {
    fragment.record.clone().map(|record| (record.source, record.key)).unwrap_or_default()
}

impl Actor {
    /// An actor with a number of its own.
    #[must_use]
    pub fn new(number: usize, dice: Dice) -> Self {
        let known = Known {
            live: BTreeMap::new(),
            same: false,
            said: Vec::new(),
            parents: [None; ACCOUNTS],
            stages: [0; STAGED],
            allowed: [0; 2],
            canaries: vec![Way::Unknown; CANARIES],
        };
        Self { number, dice, made: 0, known, under_way: None, done: 0, most: usize::MAX, in_doubt: (0, 0) }
    }

    fn key(&self, kind: char, number: usize) -> String {
        format!("a{}{kind}{number}", self.number)
    }

    fn who(&self, canary: usize) -> usize {
        self.number * CANARIES + canary
    }

    fn stamp(&mut self) -> (i64, String) {
        self.made += 1;
        (THEN + self.made, format!("{:08x}-0000-4000-8000-{:012x}", self.number + 1, self.made))
    }

    fn fragment(&mut self, source: &str, key: &str, email: &str) -> pb::PutFragmentRequest {
        let (time, request_id) = self.stamp();
        let note = format!("v{}", self.made);
        let fragment = Some(person(source, key, time, &[("email", email)], &[("note", &note)]));
        pb::PutFragmentRequest { fragment, request_id, ..Default::default() }
    }

    /// Sets up what the actor needs, on a server that is not killed meanwhile.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn prepare(&mut self, clients: &mut Clients) {
        for number in 0..STAYING {
            let key = self.key('c', number);
            let put = self.fragment("crm", &key, &format!("{key}@acme-corp.com"));
            self.perform(clients, Act::Put(put)).await.expect("a put");
        }
        for number in [1, 2] {
            let yes = said(pb::ConsentDecision::Granted, THEN);
            clients.say(of_record("crm", &self.key('c', number)), yes).await.expect("a yes");
        }
        for number in 0..ACCOUNTS {
            clients.put_account("crm", &self.key('f', number), None).await.expect("an account");
        }
    }

    /// Acts until the server is gone or fails.
    ///
    /// # Panics
    /// When the server refuses what it must take.
    pub async fn act(mut self, mut clients: Clients) -> Self {
        while self.done < self.most {
            let Some(act) = self.next(&mut clients).await else { break };
            self.under_way = Some(act.clone());
            match self.perform(&mut clients, act).await {
                Ok(()) => self.under_way = None,
                Err(_) => break,
            }
        }
        self
    }

    /// Something to do; `None` when the server is gone.
    async fn next(&mut self, clients: &mut Clients) -> Option<Act> {
        Some(match self.dice.below(20) {
            0..6 => {
                let (which, source) = (self.dice.index(PERSONS), self.dice.word(&["crm", "shop"]).to_owned());
                let (key, way) = (self.key('p', which), self.dice.below(2));
                Act::Put(self.fragment(&source, &key, &format!("{key}-{way}@acme-corp.com")))
            }
            6 => {
                let (which, source) = (self.dice.index(PERSONS), self.dice.word(&["crm", "shop"]).to_owned());
                let (time, request_id) = self.stamp();
                let record = Some(record(&source, &self.key('p', which)));
                let retraction = Some(pb::Retraction { record, observed_time: Some(seconds(time)) });
                Act::Retract(pb::RetractRecordRequest { retraction, request_id, ..Default::default() })
            }
            7 | 8 => {
                let verdict = if self.known.same { pb::Verdict::Different } else { pb::Verdict::Same };
                Act::Judge(self.judgement(verdict))
            }
            9..12 => {
                let (time, request_id) = self.stamp();
                let word = self.dice.once_in(2);
                let word = if word { pb::ConsentDecision::Granted } else { pb::ConsentDecision::Withdrawn };
                let subject = Some(of_record("crm", &self.key('c', 0)));
                let saying = Some(said(word, time));
                Act::Say(pb::RecordConsentRequest { subject, saying, request_id, ..Default::default() })
            }
            12 => {
                let which = self.dice.index(2);
                Act::Contact(which, self.contact(which))
            }
            13..16 => {
                let (child, above) = (self.dice.index(ACCOUNTS), self.dice.index(ACCOUNTS));
                let (_, request_id) = self.stamp();
                let (key, parent_account) =
                    (account("crm", &self.key('f', child)), account("crm", &self.key('f', above)));
                Act::Move(
                    child,
                    above,
                    pb::MoveAccountRequest { key, parent_account, request_id, ..Default::default() },
                )
            }
            16 => {
                let which = self.dice.index(STAGED);
                let at = self.known.stages[which];
                let Some(stage) = STAGES.get(at) else { return Box::pin(self.next(clients)).await };
                let (_, request_id) = self.stamp();
                let person = somebody("crm", &self.key('c', which));
                let subject = Some(pb::StageSubject { subject: person.map(pb::stage_subject::Subject::Person) });
                let stage = (*stage).to_owned();
                Act::Stage(which, pb::SetStageRequest { subject, stage, request_id, ..Default::default() })
            }
            _ => return self.towards_an_erasure(clients).await,
        })
    }

    /// The next step of the first canary that is not gone.
    async fn towards_an_erasure(&mut self, clients: &mut Clients) -> Option<Act> {
        let Some(which) = self.known.canaries.iter().position(|way| !matches!(way, Way::Gone(_))) else {
            return Box::pin(self.next(clients)).await;
        };
        let who = self.who(which);
        Some(match self.known.canaries[which].clone() {
            Way::Unknown => Act::Put(self.fragment("shop", &canary(who), &mail(who))),
            Way::Here => {
                let (_, request_id) = self.stamp();
                let (kind, subjects) = (pb::PrivacyRequestKind::Erasure as i32, vec![at("email", &mail(who))]);
                let request = pb::CreatePrivacyRequestRequest { kind, subjects, request_id, ..Default::default() };
                Act::Ask(which, request)
            }
            Way::Asked(name) => {
                let (_, request_id) = self.stamp();
                let (method, by) = ("email-link".to_owned(), "dpo".to_owned());
                Act::Verify(which, pb::VerifyPrivacyRequestRequest { name, method, by, request_id })
            }
            Way::Verified(name) | Way::Gone(name) => {
                let etag = clients.preview(&name).await.ok()?.etag;
                let (_, request_id) = self.stamp();
                Act::Erase(which, pb::ExecuteErasureRequest { name, etag, request_id })
            }
        })
    }

    /// Two pairs in one call: never one of them without the other.
    fn judgement(&mut self, verdict: pb::Verdict) -> pb::JudgeRequest {
        let (_, request_id) = self.stamp();
        let pair = |first, second| pb::PairJudgement {
            first: Some(record("crm", &self.key('c', first))),
            second: Some(record("crm", &self.key('c', second))),
            verdict: verdict as i32,
        };
        let judgements = vec![pair(3, 4), pair(5, 6)];
        let (author, reason) = ("steward".to_owned(), "the voice on the telephone".to_owned());
        pb::JudgeRequest { judgements, author, reason, request_id, ..Default::default() }
    }

    fn contact(&mut self, which: usize) -> pb::DecideContactRequest {
        let (_, request_id) = self.stamp();
        pb::DecideContactRequest {
            subject: Some(of_record("crm", &self.key('c', 1 + which))),
            purpose: "marketing".to_owned(),
            channel: "email".to_owned(),
            reserve: true,
            request_id,
            ..Default::default()
        }
    }

    /// Makes the call and takes in its answer.
    ///
    /// # Errors
    /// When no answer came.
    ///
    /// # Panics
    /// When it is refused.
    async fn perform(&mut self, clients: &mut Clients, act: Act) -> Result<(), Status> {
        let told = match act.clone() {
            Act::Put(request) => {
                let result = clients.ingest.put_fragment(request).await;
                result.map(|answer| {
                    let status = answer.into_inner().result.unwrap_or_default().status();
                    assert!(matches!(status, pb::IngestStatus::Accepted | pb::IngestStatus::Duplicate), "{status:?}");
                    String::new()
                })
            }
            Act::Retract(request) => clients.ingest.retract_record(request).await.map(|_| String::new()),
            Act::Judge(request) => clients.reviews.judge(request).await.map(|_| String::new()),
            Act::Say(request) => clients.consent.record_consent(request).await.map(|_| String::new()),
            Act::Contact(_, request) => clients.consent.decide_contact(request).await.and_then(|answer| {
                let verdict = answer.into_inner().verdict.unwrap_or_default();
                // Denied, since nobody knows whether it is on disk: counted all the same, it may be.
                if verdict.reasons.iter().any(|reason| reason.reason == "UNAVAILABLE") {
                    return Err(Status::unavailable("the disk did not answer"));
                }
                Ok(if verdict.allowed { "yes".to_owned() } else { String::new() })
            }),
            Act::Move(_, _, request) => clients.accounts.move_account(request).await.map(|_| "moved".to_owned()),
            Act::Stage(_, request) => clients.accounts.set_stage(request).await.map(|_| String::new()),
            Act::Ask(_, request) => clients
                .privacy
                .create_privacy_request(request)
                .await
                .map(|answer| answer.into_inner().request.unwrap_or_default().name),
            Act::Verify(_, request) => clients.privacy.verify_privacy_request(request).await.map(|_| String::new()),
            Act::Erase(_, request) => clients.privacy.execute_erasure(request).await.map(|answer| {
                let state = answer.into_inner().request.unwrap_or_default().state();
                assert_eq!(state, pb::PrivacyRequestState::Completed);
                String::new()
            }),
        };
        let told = match told {
            Ok(told) => told,
            // A circle is refused, and changes nothing.
            Err(status) if matches!(reason(&status).as_str(), "ACCOUNT_CYCLE" | "ACCOUNT_SELF_PARENT") => String::new(),
            Err(status) if matches!(status.code(), Code::Unavailable | Code::Internal) => return Err(status),
            Err(status) if reason(&status).is_empty() => return Err(status),
            Err(status) => panic!("actor {}: {act:?} is refused: {status}", self.number),
        };
        self.done += 1;
        self.known.take(self.number, act, &told);
        Ok(())
    }

    /// What the server shows.
    ///
    /// # Errors
    /// What it says.
    pub async fn observe(&self, clients: &mut Clients) -> Result<Seen, Status> {
        let mut seen = Seen::default();
        let staying = (0..STAYING).map(|number| ("crm", self.key('c', number)));
        let changing = (0..PERSONS).flat_map(|number| ["crm", "shop"].map(|source| (source, self.key('p', number))));
        for (source, key) in staying.chain(changing) {
            let request = pb::LookupProfileRequest {
                key: Some(pb::lookup_profile_request::Key::Record(record(source, &key))),
                view: pb::ProfileView::Full as i32,
                ..Default::default()
            };
            let profile = match clients.profiles.lookup_profile(request).await {
                Ok(found) => found.into_inner().profile.unwrap_or_default(),
                Err(status) if status.code() == Code::NotFound => continue,
                Err(status) => return Err(status),
            };
            let golden = profile.values.iter().find(|value| value.name == "note");
            let note = match golden.and_then(|value| value.value.clone()) {
                Some(pb::golden_value::Value::Text(text)) => text,
                other => format!("{other:?}"),
            };
            let members = profile.records.iter().map(|record| format!("{}/{}", record.source, record.key)).collect();
            seen.records.insert(format!("{source}/{key}"), (note, members));
        }
        for one in clients.statements(of_record("crm", &self.key('c', 0))).await? {
            let saying = one.saying.unwrap_or_default();
            seen.said.push((saying.given_time.map_or(0, |time| time.seconds), saying.decision));
        }
        seen.said.sort_unstable();
        for number in 0..ACCOUNTS {
            let found = clients.get_account(account("crm", &self.key('f', number))).await?;
            seen.parents.push(found.ancestors.first().map(|above| above.display_name.clone()).unwrap_or_default());
        }
        for number in 0..STAGED {
            let person = somebody("crm", &self.key('c', number));
            let subject = Some(pb::StageSubject { subject: person.map(pb::stage_subject::Subject::Person) });
            let request = pb::ListStageHistoryRequest { subject, page_size: 50, ..Default::default() };
            let told = clients.accounts.list_stage_history(request).await?.into_inner().events;
            let own = |event: &pb::StageEvent| event.stage.clone();
            let mut stages: Vec<String> = told.iter().map(own).collect();
            stages.sort();
            seen.stages.push(stages);
        }
        for (which, way) in self.known.canaries.iter().enumerate() {
            let here = match clients.lookup("email", &mail(self.who(which))).await {
                Ok(_) => true,
                Err(status) if status.code() == Code::NotFound => false,
                Err(status) => return Err(status),
            };
            let completed = match way {
                Way::Asked(name) | Way::Verified(name) | Way::Gone(name) => {
                    let request = pb::GetPrivacyRequestRequest { name: name.clone() };
                    let found = clients.privacy.get_privacy_request(request).await?.into_inner().request;
                    found.unwrap_or_default().state() == pb::PrivacyRequestState::Completed
                }
                Way::Unknown | Way::Here => false,
            };
            seen.canaries.push((here, completed));
        }
        Ok(seen)
    }

    /// After a start: everything that was acknowledged is shown, and nothing else but, whole, what was on its way; which
    /// is then sent again.
    ///
    /// # Errors
    /// The difference.
    pub async fn check(&mut self, clients: &mut Clients) -> Result<(), String> {
        let failed = |status: Status| format!("actor {}: a read failed: {status}", self.number);
        let seen = self.observe(clients).await.map_err(failed)?;
        let before = self.known.shows(self.number);
        let Some(act) = self.under_way.take() else {
            return differ(self.number, "what was acknowledged", &before, &seen);
        };
        self.in_doubt.0 += 1;
        let mut after = self.known.clone();
        for told in ["moved", ""] {
            after = self.known.clone();
            after.take(self.number, act.clone(), told);
            if seen == after.shows(self.number) {
                break;
            }
        }
        if seen != before {
            differ(self.number, &format!("{act:?}, half done"), &after.shows(self.number), &seen)?;
            self.in_doubt.1 += 1;
        }
        self.perform(clients, act.clone()).await.map_err(|status| format!("{act:?} again: {status}"))?;
        let failed = |status: Status| format!("actor {}: a read failed: {status}", self.number);
        let seen = self.observe(clients).await.map_err(failed)?;
        differ(self.number, &format!("{act:?}, sent again"), &self.known.shows(self.number), &seen)
    }

    /// Contacts both persons until they are refused: each had the cap, and not one more.
    ///
    /// # Errors
    /// When that is not so.
    pub async fn exhaust(&mut self, clients: &mut Clients) -> Result<(), String> {
        for which in 0..2 {
            for _ in 0..=CAP {
                let act = Act::Contact(which, self.contact(which));
                self.perform(clients, act).await.map_err(|status| status.to_string())?;
            }
            if self.known.allowed[which] != CAP {
                return Err(format!("actor {}: {} contacts of {CAP}", self.number, self.known.allowed[which]));
            }
        }
        Ok(())
    }

    /// The fragments that are live.
    pub fn live(&self) -> impl Iterator<Item = Message> + '_ {
        self.known.live.values().cloned().map(Message::Put)
    }

    /// The judgement in force, to be told to another server.
    pub fn judged(&mut self) -> Option<pb::JudgeRequest> {
        self.known.same.then(|| self.judgement(pb::Verdict::Same))
    }

    /// The canaries that are live, and those that are gone.
    #[must_use]
    pub fn canaries(&self) -> (BTreeSet<usize>, BTreeSet<usize>) {
        let (mut here, mut gone) = (BTreeSet::new(), BTreeSet::new());
        for (which, way) in self.known.canaries.iter().enumerate() {
            match way {
                Way::Unknown => false,
                Way::Gone(_) => gone.insert(self.who(which)),
                _ => here.insert(self.who(which)),
            };
        }
        (here, gone)
    }
}

fn differ(number: usize, what: &str, want: &Seen, seen: &Seen) -> Result<(), String> {
    if want == seen {
        return Ok(());
    }
    Err(format!("actor {number}: {what}:\nmust be {want:?}\nand is  {seen:?}"))
}

impl Known {
    /// What an acknowledged act changes.
    fn take(&mut self, number: usize, act: Act, told: &str) {
        match act {
            Act::Put(request) => {
                let fragment = request.fragment.unwrap_or_default();
                let key = key_of(&fragment);
                if let Some(which) = (0..CANARIES).find(|which| canary(number * CANARIES + which) == key.1) {
                    self.canaries[which] = Way::Here;
                }
                self.live.insert(key, fragment);
            }
            Act::Retract(request) => {
                let record = request.retraction.and_then(|retraction| retraction.record).unwrap_or_default();
                self.live.remove(&(record.source, record.key));
            }
            Act::Judge(_) => self.same = !self.same,
            Act::Say(request) => {
                let saying = request.saying.unwrap_or_default();
                self.said.push((saying.given_time.map_or(0, |time| time.seconds), saying.decision));
            }
            Act::Contact(which, _) => self.allowed[which] += u32::from(told == "yes"),
            Act::Move(child, above, _) => {
                if told == "moved" {
                    self.parents[child] = Some(above);
                }
            }
            Act::Stage(which, _) => self.stages[which] += 1,
            Act::Ask(which, _) => self.canaries[which] = Way::Asked(told.to_owned()),
            Act::Verify(which, request) => self.canaries[which] = Way::Verified(request.name),
            Act::Erase(which, request) => {
                self.canaries[which] = Way::Gone(request.name);
                self.live.remove(&("shop".to_owned(), canary(number * CANARIES + which)));
            }
        }
    }

    /// What the server must show of it.
    fn shows(&self, number: usize) -> Seen {
        let group = |(source, key): &(String, String), fragment: &pb::Fragment| -> BTreeSet<(String, String)> {
            let judged = |pair: [usize; 2]| pair.map(|at| format!("a{number}c{at}"));
            let own = (source.clone(), key.clone());
            let pair = [judged([3, 4]), judged([5, 6])].into_iter().find(|pair| self.same && pair.contains(key));
            match pair {
                Some(pair) => pair.map(|key| ("crm".to_owned(), key)).into(),
                None => self
                    .live
                    .iter()
                    .filter(|(_, other)| other.identifiers == fragment.identifiers)
                    .map(|(key, _)| key.clone())
                    .chain([own])
                    .collect(),
            }
        };
        let mut seen = Seen { said: self.said.clone(), ..Seen::default() };
        seen.said.sort_unstable();
        for (key, fragment) in &self.live {
            if crate::canary::is_canary(&key.1) {
                continue;
            }
            let members = group(key, fragment);
            // The newest word is the golden one.
            let newest =
                members.iter().filter_map(|member| self.live.get(member)).max_by_key(|fragment| made(fragment));
            let golden = newest.map(note).unwrap_or_default();
            let names = members.into_iter().map(|(source, key)| format!("{source}/{key}")).collect();
            seen.records.insert(format!("{}/{}", key.0, key.1), (golden, names));
        }
        for parent in self.parents {
            seen.parents.push(parent.map_or_else(String::new, |above| format!("Company a{number}f{above}")));
        }
        for reached in self.stages {
            let mut stages: Vec<String> = STAGES[..reached].iter().map(|stage| (*stage).to_owned()).collect();
            stages.sort();
            seen.stages.push(stages);
        }
        for way in &self.canaries {
            let here = matches!(way, Way::Here | Way::Asked(_) | Way::Verified(_));
            seen.canaries.push((here, matches!(way, Way::Gone(_))));
        }
        seen
    }
}

/// Sets up a server for these actors: sources, a cap, stages, and what each needs.
///
/// # Panics
/// When it refuses.
pub async fn prepare(clients: &mut Clients, actors: &mut [Actor]) {
    open_sources(clients, "").await;
    clients.cap(CAP).await.expect("a server takes it");
    let stage = |name: &str, initial, next: &[&str]| pb::Stage {
        name: name.to_owned(),
        initial,
        next: next.iter().map(|name| (*name).to_owned()).collect(),
    };
    let stages = vec![stage("lead", true, &["mql"]), stage("mql", false, &["customer"]), stage("customer", false, &[])];
    let persons = Some(pb::Pipeline { stages, merge_rule: pb::StageRule::Furthest as i32 });
    let lifecycle = Some(pb::Lifecycle { persons, ..Default::default() });
    clients
        .accounts
        .put_lifecycle(pb::PutLifecycleRequest { lifecycle, ..Default::default() })
        .await
        .expect("a server takes it");
    for actor in actors {
        actor.prepare(clients).await;
    }
}
