//! Every RPC of the descriptor, so that a new one fails here until it is listed: credentials that are no good let nobody in and
//! look alike, and what one tenant gave out is to another as if nobody had (law 9).
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use onefold_core::fragment::ObservedAt;
use onefold_server::clock::Clock;
use onefold_tests::calls::{ask, methods, path};
use onefold_tests::{House, reason};
use prost::Message;
use prost_reflect::{DynamicMessage, MethodDescriptor};
use serde_json::{Value, json};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

const ADMIN: &str = "an-administrators-key-of-32-chars-or-more";
const NOW: i64 = 1_800_000_000;
const OURS: &str = "tenants/north";
const THEIRS: &str = "tenants/south";

/// What of a call a handle goes into, or that it takes none but the tenant's name, which `auth.rs` walks. In place of
/// `{name}` stands the handle of that name; `{own …}` is one of the tenant that is asked.
enum Takes {
    Nothing,
    Handles(&'static [&'static str]),
}
use Takes::{Handles, Nothing};

const WALK: &[(&str, Takes)] = &[
    ("StreamFragments", Nothing),
    ("PutFragment", Nothing),
    ("RetractRecord", Nothing),
    ("ListQuarantine", Handles(&[r#"{"parent":"{tenant}","pageSize":1,"pageToken":"{quarantine page}"}"#])),
    ("ReplayQuarantine", Handles(&[r#"{"parent":"{tenant}","quarantineIds":["{quarantine}"]}"#])),
    ("DiscardQuarantine", Handles(&[r#"{"parent":"{tenant}","quarantineIds":["{quarantine}"]}"#])),
    ("GetProfile", Handles(&[r#"{"name":"{profile}"}"#])),
    (
        "LookupProfile",
        Handles(&[
            r#"{"parent":"{tenant}","identifier":{"namespace":"email","value":"{email}"}}"#,
            r#"{"parent":"{tenant}","record":{"source":"crm","key":"{key}"}}"#,
        ]),
    ),
    (
        "BatchLookupProfiles",
        Handles(&[
            r#"{"parent":"{tenant}","keys":[{"name":"{profile}"}]}"#,
            r#"{"parent":"{tenant}","keys":[{"identifier":{"namespace":"email","value":"{email}"}}]}"#,
        ]),
    ),
    ("SearchProfiles", Handles(&[r#"{"parent":"{tenant}","identifiers":[{"namespace":"email","value":"{email}"}]}"#])),
    (
        "ExplainLink",
        Handles(&[
            r#"{"parent":"{tenant}","first":{"source":"crm","key":"{key}"},"second":{"source":"crm","key":"m1"}}"#,
        ]),
    ),
    ("ExplainProfile", Handles(&[r#"{"name":"{profile}"}"#])),
    (
        "ListProfileHistory",
        Handles(&[r#"{"name":"{profile}"}"#, r#"{"name":"{own merged}","pageSize":1,"pageToken":"{history page}"}"#]),
    ),
    ("WatchProfiles", Handles(&[r#"{"parent":"{tenant}","cursor":"{sequence}","stopAtEnd":true}"#])),
    (
        "RecordConsent",
        Handles(&[
            r#"{"parent":"{tenant}","subject":{"profile":"{profile}"},"saying":{"purpose":"marketing","decision":"CONSENT_DECISION_DENIED"}}"#,
        ]),
    ),
    (
        "StreamConsents",
        Handles(&[
            r#"{"parent":"{tenant}","subject":{"profile":"{profile}"},"saying":{"purpose":"marketing","decision":"CONSENT_DECISION_DENIED"}}"#,
        ]),
    ),
    ("GetConsentState", Handles(&[r#"{"parent":"{tenant}","subject":{"profile":"{profile}"}}"#])),
    (
        "ListStatements",
        Handles(&[
            r#"{"parent":"{tenant}","subject":{"profile":"{profile}"}}"#,
            r#"{"parent":"{tenant}","subject":{"identifier":{"namespace":"email","value":"m1@merge-mail.net"}},"pageSize":1,"pageToken":"{statements page}"}"#,
        ]),
    ),
    ("ConfirmConsent", Handles(&[r#"{"parent":"{tenant}","confirmationToken":"{confirmation}"}"#])),
    ("IssueUnsubscribeToken", Nothing),
    ("Unsubscribe", Handles(&[r#"{"parent":"{tenant}","token":"{unsubscribe}"}"#])),
    ("GetConsentReceipt", Handles(&[r#"{"parent":"{tenant}","statementId":"{statement}"}"#])),
    (
        "DecideContact",
        Handles(&[
            r#"{"parent":"{tenant}","subject":{"profile":"{profile}"},"purpose":"marketing","channel":"email"}"#,
        ]),
    ),
    (
        "DecideContacts",
        Handles(&[
            r#"{"decide":{"parent":"{tenant}","subject":{"profile":"{profile}"},"purpose":"marketing","channel":"email"}}"#,
        ]),
    ),
    ("ConfirmReservation", Handles(&[r#"{"parent":"{tenant}","reservationId":"{reservation}"}"#])),
    ("ReleaseReservation", Handles(&[r#"{"parent":"{tenant}","reservationId":"{reservation}"}"#])),
    ("GetConsentPolicy", Nothing),
    ("UpdateConsentPolicy", Nothing),
    (
        "PutAccount",
        Handles(&[
            r#"{"parent":"{tenant}","account":{"record":{"source":"crm","key":"new"},"displayName":"New"},"parentAccount":{"name":"{account}"}}"#,
        ]),
    ),
    (
        "GetAccount",
        Handles(&[
            r#"{"parent":"{tenant}","key":{"name":"{account}"}}"#,
            r#"{"parent":"{tenant}","key":{"profile":"{profile}"}}"#,
        ]),
    ),
    (
        "MoveAccount",
        Handles(&[
            r#"{"parent":"{tenant}","key":{"name":"{account}"}}"#,
            r#"{"parent":"{tenant}","key":{"record":{"source":"crm","key":"house1"}},"parentAccount":{"name":"{account}"}}"#,
        ]),
    ),
    ("CloseAccount", Handles(&[r#"{"parent":"{tenant}","key":{"name":"{account}"}}"#])),
    (
        "ListChildren",
        Handles(&[
            r#"{"parent":"{tenant}","key":{"name":"{account}"}}"#,
            r#"{"parent":"{tenant}","key":{"record":{"source":"crm","key":"house0"}},"pageSize":1,"pageToken":"{children page}"}"#,
        ]),
    ),
    ("GetRollup", Handles(&[r#"{"parent":"{tenant}","key":{"name":"{account}"}}"#])),
    ("ImportHierarchy", Nothing),
    (
        "PutAffiliation",
        Handles(&[
            r#"{"parent":"{tenant}","person":{"profile":"{profile}"},"account":{"record":{"source":"crm","key":"house0"}},"role":"buyer"}"#,
            r#"{"parent":"{tenant}","person":{"record":{"source":"crm","key":"m1"}},"account":{"name":"{account}"},"role":"buyer"}"#,
        ]),
    ),
    (
        "EndAffiliation",
        Handles(&[
            r#"{"parent":"{tenant}","person":{"record":{"source":"crm","key":"m1"}},"account":{"name":"{account}"},"role":"buyer"}"#,
        ]),
    ),
    (
        "ListAffiliations",
        Handles(&[
            r#"{"parent":"{tenant}","account":{"name":"{account}"}}"#,
            r#"{"parent":"{tenant}","person":{"profile":"{profile}"}}"#,
            r#"{"parent":"{tenant}","person":{"record":{"source":"crm","key":"m1"}},"pageSize":1,"pageToken":"{affiliations page}"}"#,
        ]),
    ),
    ("ProposeAccounts", Handles(&[r#"{"parent":"{tenant}","person":{"profile":"{profile}"}}"#])),
    (
        "ConfirmAccount",
        Handles(&[
            r#"{"parent":"{tenant}","person":{"record":{"source":"crm","key":"m1"}},"account":{"name":"{account}"}}"#,
        ]),
    ),
    ("PutLifecycle", Nothing),
    ("GetLifecycle", Nothing),
    (
        "SetStage",
        Handles(&[
            r#"{"parent":"{tenant}","subject":{"person":{"profile":"{profile}"}},"stage":"customer"}"#,
            r#"{"parent":"{tenant}","subject":{"account":{"name":"{account}"}},"stage":"customer"}"#,
        ]),
    ),
    ("GetStage", Handles(&[r#"{"parent":"{tenant}","subject":{"person":{"profile":"{profile}"}}}"#])),
    (
        "ListStageHistory",
        Handles(&[
            r#"{"parent":"{tenant}","subject":{"account":{"name":"{account}"}}}"#,
            r#"{"parent":"{tenant}","subject":{"person":{"record":{"source":"crm","key":"m1"}}},"pageSize":1,"pageToken":"{stages page}"}"#,
        ]),
    ),
    // Its tokens are of another make than the rest; that they belong to one tenant is told beside them, `grpc/review.rs`.
    ("ListQuestions", Handles(&[])),
    (
        "Judge",
        Handles(&[
            r#"{"parent":"{tenant}","judgements":[{"first":{"source":"crm","key":"{key}"},"second":{"source":"crm","key":"m1"},"verdict":"VERDICT_DIFFERENT"}],"author":"a","reason":"r"}"#,
        ]),
    ),
    ("WithdrawJudgements", Handles(&[r#"{"parent":"{tenant}","names":["{judgement}"]}"#])),
    ("ListJudgements", Handles(&[r#"{"parent":"{tenant}","pageSize":1,"pageToken":"{judgements page}"}"#])),
    (
        "MergeProfiles",
        Handles(&[r#"{"parent":"{tenant}","names":["{own merged}","{profile}"],"author":"a","reason":"r"}"#]),
    ),
    (
        "SplitProfile",
        Handles(&[r#"{"name":"{profile}","records":[{"source":"crm","key":"m1"}],"author":"a","reason":"r"}"#]),
    ),
    (
        "CreatePrivacyRequest",
        Handles(&[
            r#"{"parent":"{tenant}","kind":"PRIVACY_REQUEST_KIND_ACCESS","subjects":[{"profile":"{profile}"}]}"#,
        ]),
    ),
    ("GetPrivacyRequest", Handles(&[r#"{"name":"{request}"}"#])),
    ("ListPrivacyRequests", Handles(&[r#"{"parent":"{tenant}","pageSize":1,"pageToken":"{requests page}"}"#])),
    ("VerifyPrivacyRequest", Handles(&[r#"{"name":"{request}","method":"letter","by":"officer"}"#])),
    ("PreviewErasure", Handles(&[r#"{"name":"{request}"}"#])),
    ("ApprovePrivacyRequest", Handles(&[r#"{"name":"{request}","by":"other","etag":"{scope}"}"#])),
    ("ExecuteErasure", Handles(&[r#"{"name":"{request}","etag":"{scope}"}"#])),
    ("PreviewAccessExport", Handles(&[r#"{"name":"{request}"}"#])),
    ("StreamAccessExport", Handles(&[r#"{"name":"{request}","etag":"{scope}","deliveredTo":"letter"}"#])),
    ("StreamHeldIdentifiers", Nothing),
    ("ExecuteRestriction", Handles(&[r#"{"name":"{request}","etag":"{scope}","by":"officer"}"#])),
    ("LiftRestriction", Handles(&[r#"{"name":"{request}","by":"officer","ground":"settled"}"#])),
    (
        "ExecuteObjection",
        Handles(&[r#"{"name":"{request}","etag":"{scope}","by":"officer","purposes":["marketing"]}"#]),
    ),
    (
        "ExecuteRectification",
        Handles(&[
            r#"{"name":"{request}","etag":"{scope}","by":"officer","attributes":[{"name":"given_name","text":"Ada"}]}"#,
        ]),
    ),
    ("ExtendPrivacyRequest", Handles(&[r#"{"name":"{request}","ground":"many"}"#])),
    ("RefusePrivacyRequest", Handles(&[r#"{"name":"{request}","ground":"unfounded"}"#])),
    ("CancelPrivacyRequest", Handles(&[r#"{"name":"{request}","ground":"withdrawn"}"#])),
    ("ConfirmErasure", Handles(&[r#"{"name":"{request}","consumer":"mailer"}"#])),
    ("GetErasureReceipt", Handles(&[r#"{"name":"{request}"}"#])),
    (
        "Readmit",
        Handles(&[r#"{"parent":"{tenant}","subjects":[{"profile":"{profile}"}],"by":"officer","ground":"asked"}"#]),
    ),
    ("GetPrivacyPolicy", Nothing),
    (
        "ListReads",
        Handles(&[
            r#"{"parent":"{tenant}","profile":"{profile}"}"#,
            r#"{"parent":"{tenant}","pageSize":1,"pageToken":"{reads page}"}"#,
        ]),
    ),
    ("ListDecisions", Handles(&[r#"{"parent":"{tenant}","pageSize":1,"pageToken":"{decisions page}"}"#])),
    ("UpdatePrivacyPolicy", Nothing),
    ("VerifyLog", Nothing),
    ("StreamBackup", Nothing),
    ("CreateTenant", Nothing),
    ("GetTenant", Nothing),
    ("ListTenants", Nothing),
    ("UpdateTenant", Nothing),
    ("PutSource", Nothing),
    ("ListSources", Handles(&[r#"{"parent":"{tenant}","pageSize":1,"pageToken":"{sources page}"}"#])),
    ("PutNamespace", Nothing),
    ("ListNamespaces", Handles(&[r#"{"parent":"{tenant}","pageSize":1,"pageToken":"{namespaces page}"}"#])),
    ("ListModels", Nothing),
    ("GetModel", Nothing),
    ("TrainModel", Nothing),
    ("PreviewModel", Nothing),
    ("SetModel", Nothing),
    ("GetStatistics", Nothing),
    ("GetDigest", Nothing),
    ("CreateApiKey", Nothing),
    ("ListApiKeys", Handles(&[r#"{"parent":"{tenant}","pageSize":1,"pageToken":"{keys page}"}"#])),
    ("RevokeApiKey", Handles(&[r#"{"name":"{api key}"}"#])),
];

/// A clock that stands until it is moved, so that two answers do not differ by the time.
#[derive(Debug)]
struct Hand(AtomicI64);

impl Clock for Hand {
    fn now(&self) -> ObservedAt {
        ObservedAt(self.0.load(Ordering::SeqCst))
    }
}

/// A server and what to call on it.
struct Walker {
    house: House,
    channel: Channel,
    methods: BTreeMap<String, MethodDescriptor>,
    clock: Arc<Hand>,
}

/// Everything that a caller can tell an answer by.
type Told = Result<Vec<u8>, (Code, String, Vec<u8>)>;

fn told(answer: Result<Vec<u8>, Status>) -> Told {
    answer.map_err(|status| (status.code(), status.message().to_owned(), status.details().to_vec()))
}

impl Walker {
    async fn open(data: &std::path::Path) -> Self {
        let mut config = House::config(data);
        (config.require_auth, config.admin_key) = (true, Some(ADMIN.to_owned()));
        let clock = Arc::new(Hand(AtomicI64::new(NOW * 1_000_000)));
        let house = House::open_at(config, clock.clone()).await;
        let address = format!("http://{}", house.server().address());
        let channel = Channel::from_shared(address).unwrap().connect().await.unwrap();
        let methods = methods().into_iter().map(|method| (method.name().to_owned(), method)).collect();
        Self { house, channel, methods, clock }
    }

    async fn ask(&self, method: &str, message: &Value, key: &str) -> Result<Vec<u8>, Status> {
        let method = &self.methods[method];
        let message = DynamicMessage::deserialize(method.input(), message)
            .unwrap_or_else(|error| panic!("{}: {error}: {message}", method.name()));
        ask(&self.channel, &path(method), message.encode_to_vec(), Some(key)).await
    }

    /// Asks for what must be given, as JSON.
    async fn get(&self, method: &str, message: Value, key: &str) -> Value {
        let answer = self.ask(method, &message, key).await.unwrap_or_else(|error| panic!("{method}: {error:?}"));
        let answer = DynamicMessage::decode(self.methods[method].output(), answer.as_slice()).unwrap();
        serde_json::to_value(answer).unwrap()
    }

    async fn key(&self, parent: &str, key: Value) -> (String, String) {
        let made = self.get("CreateApiKey", json!({"parent": parent, "apiKey": key}), ADMIN).await;
        (text(&made["secret"]), text(&made["apiKey"]["name"]))
    }
}

#[track_caller]
fn text(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    assert!(!text.is_empty() && text != "null", "there is none");
    text
}

const ROLES: [&str; 6] =
    ["ROLE_INGEST", "ROLE_READER", "ROLE_STEWARD", "ROLE_PRIVACY_OFFICER", "ROLE_AUDITOR", "ROLE_ADMIN"];

#[test]
fn every_rpc_is_in_the_walk_once() {
    let declared: BTreeSet<String> = methods().iter().map(|method| method.name().to_owned()).collect();
    let walked: BTreeSet<String> = WALK.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(declared, walked, "say in WALK which handles a new RPC takes");
    assert_eq!(WALK.len(), walked.len(), "once each");
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_are_no_good_look_alike_on_every_rpc() {
    let dir = tempfile::tempdir().unwrap();
    let walker = Walker::open(&dir.path().join("data")).await;
    let good = json!({"roles": ROLES});
    let (kept, _) = walker.key("", good.clone()).await;
    let soon = json!({"roles": ROLES, "expireTime": "2027-01-15T08:01:00Z"});
    let (expired, _) = walker.key("", soon).await;
    let (revoked, name) = walker.key("", good).await;
    walker.get("RevokeApiKey", json!({"name": name}), ADMIN).await;
    walker.clock.0.fetch_add(3_600 * 1_000_000, Ordering::SeqCst);
    let (id, secret) = kept.rsplit_once('_').unwrap();
    let wrong = [
        expired,
        revoked,
        format!("{id}_{}", "0".repeat(secret.len())),
        format!("{id}_{}", secret.to_uppercase()),
        format!("{kept}0"),
        format!("ofk_{}_{secret}", "0".repeat(16)),
        id.to_owned(),
        ADMIN.to_uppercase(),
        "eyJhbGciOiJub25lIn0.e30.".to_owned(),
        "x".repeat(6_000),
    ];
    for method in walker.methods.values() {
        let path = path(method);
        let missing = ask(&walker.channel, &path, vec![], None).await.expect_err(&path);
        assert_eq!(
            (missing.code(), reason(&missing).as_str()),
            (Code::Unauthenticated, "CREDENTIALS_MISSING"),
            "{path}"
        );
        let mut first = None;
        for key in &wrong {
            let refused = told(ask(&walker.channel, &path, vec![], Some(key)).await);
            assert_eq!(refused.as_ref().unwrap_err().0, Code::Unauthenticated, "{path} {key}");
            assert_eq!(first.get_or_insert_with(|| refused.clone()), &refused, "{path} {key}");
        }
    }
    // Another scheme, no scheme, and two of them.
    let mut admin = walker.house.clients().admin;
    for given in [format!("Basic {kept}"), kept.clone(), format!("Bearer Bearer {kept}"), "Bearer".to_owned()] {
        let mut request = Request::new(onefold_proto::v1::GetTenantRequest::default());
        request.metadata_mut().insert("authorization", given.parse().unwrap());
        assert_eq!(reason(&admin.get_tenant(request).await.unwrap_err()), "CREDENTIALS_INVALID", "{given}");
    }
    assert!(walker.ask("GetTenant", &json!({}), &kept).await.is_ok());
    walker.house.close().await;
}

/// Fills a tenant, and takes the handles that it gives out; those that are numbers are of things that come last.
async fn fill(walker: &Walker, tenant: &str, only: &str) -> (String, BTreeMap<&'static str, String>) {
    walker.get("CreateTenant", json!({"tenant": {"name": tenant, "defaultRegion": "US"}}), ADMIN).await;
    let (key, _) = walker.key(tenant, json!({"roles": ROLES})).await;
    let get = |method: &'static str, message: Value| {
        let (mut message, key) = (message, key.as_str());
        message["parent"] = json!(tenant);
        async move { walker.get(method, message, key).await }
    };
    let mut handles = BTreeMap::new();
    for source in ["crm", "shop"] {
        get("PutSource", json!({"source": {"name": source, "trust": 500}})).await;
    }
    get("PutSource", json!({"source": {"name": "strict", "contract": {"requireAnyNamespace": ["email"]}}})).await;
    let email = |value: &str| json!({"namespace": "email", "value": value});
    let record = |key: &str| json!({"source": "crm", "key": key});
    let fragment = |key: &str, emails: &[&str]| {
        let identifiers: Vec<Value> = emails.iter().map(|value| email(value)).collect();
        json!({"fragment": {"record": record(key), "observedTime": "2020-01-01T00:00:00Z", "partyKind": "PARTY_KIND_PERSON", "identifiers": identifiers}})
    };
    for key in ["m1", "m2", "m3"] {
        get("PutFragment", fragment(key, &[&format!("{key}@merge-mail.net")])).await;
    }
    let all = ["m1@merge-mail.net", "m2@merge-mail.net", "m3@merge-mail.net"];
    let merged = text(&get("PutFragment", fragment("bridge", &all)).await["result"]["profile"]);
    for key in ["q1", "q2"] {
        let mut broken = fragment(key, &[]);
        broken["fragment"]["record"]["source"] = json!("strict");
        handles.insert("quarantine", text(&get("PutFragment", broken).await["result"]["quarantineId"]));
    }
    let house = |key: &str| json!({"record": record(key)});
    for (house_key, parent) in [("house0", None), ("house1", Some("house0")), ("house2", Some("house0"))] {
        let mut put = json!({"account": {"record": record(house_key), "displayName": house_key}});
        if let Some(parent) = parent {
            put["parentAccount"] = house(parent);
        }
        get("PutAccount", put).await;
        let role = json!({"person": house("m1"), "account": house(house_key), "role": "buyer"});
        get("PutAffiliation", role).await;
    }
    let stages = json!({"stages": [{"name": "lead", "initial": true, "next": ["customer"]}, {"name": "customer"}], "mergeRule": 1});
    get("PutLifecycle", json!({"lifecycle": {"persons": stages, "accounts": stages}})).await;
    for (stage, day) in [("lead", 1), ("customer", 2)] {
        let reached = format!("2021-01-0{day}T00:00:00Z");
        get("SetStage", json!({"subject": {"person": house("m1")}, "stage": stage, "reachedTime": reached})).await;
    }
    let at = json!({"identifier": email("m1@merge-mail.net")});
    for (day, decision) in ["GRANTED", "DENIED", "GRANTED"].into_iter().enumerate() {
        let given = format!("2022-01-0{}T00:00:00Z", day + 1);
        let saying =
            json!({"purpose": "marketing", "decision": format!("CONSENT_DECISION_{decision}"), "givenTime": given});
        get("RecordConsent", json!({"subject": at, "saying": saying})).await;
    }
    let judged = |key: &str| {
        let pair = json!({"first": record(key), "second": record("m1"), "verdict": "VERDICT_DIFFERENT"});
        json!({"judgements": [pair], "author": "a", "reason": "r"})
    };
    for key in ["j1", "j2"] {
        get("PutFragment", fragment(key, &[&format!("{key}@else-mail.net")])).await;
        get("Judge", judged(key)).await;
    }
    let erase = json!({"kind": "PRIVACY_REQUEST_KIND_ERASURE", "subjects": [at]});
    for _ in 0..2 {
        get("CreatePrivacyRequest", erase.clone()).await;
    }
    // Without a model nothing is searched.
    let model = json!({"name": format!("{tenant}/models/persons"), "model": {"shipped": true}});
    walker.get("SetModel", model, &key).await;
    let page = |of: Value| text(&of["nextPageToken"]);
    let one = |mut of: Value| {
        of["pageSize"] = json!(1);
        of
    };
    handles.insert("quarantine page", page(get("ListQuarantine", one(json!({}))).await));
    let history = walker.get("ListProfileHistory", json!({"name": merged, "pageSize": 1}), &key).await;
    handles.insert("history page", page(history));
    handles.insert("statements page", page(get("ListStatements", one(json!({"subject": at}))).await));
    handles.insert("children page", page(get("ListChildren", one(json!({"key": house("house0")}))).await));
    handles.insert("affiliations page", page(get("ListAffiliations", one(json!({"person": house("m1")}))).await));
    let stages = json!({"subject": {"person": house("m1")}});
    handles.insert("stages page", page(get("ListStageHistory", one(stages)).await));
    handles.insert("judgements page", page(get("ListJudgements", one(json!({}))).await));
    // Two of them, so that the first page is not the last.
    for _ in 0..2 {
        let back = json!({"subjects": [{"identifier": {"namespace": "email", "value": "back@harbour-mail.net"}}], "by": "officer", "ground": "asked"});
        get("Readmit", back).await;
    }
    handles.insert("decisions page", page(get("ListDecisions", one(json!({}))).await));
    handles.insert("requests page", page(get("ListPrivacyRequests", one(json!({}))).await));
    handles.insert("sources page", page(get("ListSources", one(json!({}))).await));
    handles.insert("namespaces page", page(get("ListNamespaces", one(json!({}))).await));
    let reads = loop {
        // Reads are noted a moment after they were answered, those of one moment in one page.
        walker.get("GetProfile", json!({"name": merged}), &key).await;
        let reads = get("ListReads", one(json!({}))).await;
        match reads.get("nextPageToken") {
            Some(token) => break text(token),
            None => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    };
    handles.insert("reads page", reads);
    handles.insert("merged", merged);

    // What this tenant alone has, so that a number of it is none of the other's.
    if only.is_empty() {
        return (key, handles);
    }
    let alone = format!("{only}@alone-mail.net");
    let profile = text(&get("PutFragment", fragment(only, &[&alone])).await["result"]["profile"]);
    let subject = json!({"identifier": email(&alone)});
    let pending = json!({"purpose": "marketing", "channel": "email", "decision": "CONSENT_DECISION_PENDING", "givenTime": "2022-01-01T00:00:00Z"});
    let said = get("RecordConsent", json!({"subject": subject, "saying": pending})).await;
    handles.insert("statement", text(&said["result"]["statementId"]));
    handles.insert("confirmation", text(&said["result"]["confirmationToken"]));
    let grant = json!({"subject": subject, "saying": {"purpose": "marketing", "decision": "CONSENT_DECISION_GRANTED", "givenTime": "2022-01-01T00:00:00Z"}});
    get("RecordConsent", grant).await;
    let contact = json!({"subject": subject, "purpose": "marketing", "channel": "email", "reserve": true});
    handles.insert("reservation", text(&get("DecideContact", contact).await["verdict"]["reservationId"]));
    let issued = get("IssueUnsubscribeToken", json!({"identifier": email(&alone)})).await;
    handles.insert("unsubscribe", text(&issued["token"]));
    let account = get("PutAccount", json!({"account": {"record": record("alone"), "displayName": "Alone"}})).await;
    handles.insert("account", text(&account["account"]["name"]));
    handles.insert("judgement", text(&get("Judge", judged(only)).await["names"][0]));
    let request = text(&get("CreatePrivacyRequest", erase).await["request"]["name"]);
    let scope = walker.get("PreviewErasure", json!({"name": request}), &key).await;
    handles.insert("scope", text(&scope["etag"]));
    handles.insert("request", request);
    let (_, name) = walker.key(tenant, json!({"roles": ["ROLE_READER"]})).await;
    handles.insert("api key", name);
    handles.insert("keys page", page(get("ListApiKeys", one(json!({}))).await));
    let counted = get("GetStatistics", json!({})).await;
    handles.insert("sequence", text(&counted["sequence"]));
    handles.insert("profile", profile);
    handles.insert("email", alone);
    handles.insert("key", only.to_owned());
    (key, handles)
}

/// A handle of the same shape that nobody gave out.
fn invented(name: &str, handle: &str) -> String {
    if let Ok(number) = handle.rsplit('/').next().unwrap().parse::<u64>() {
        let cut = handle.rfind('/').map_or(0, |at| at + 1);
        return format!("{}{}", &handle[..cut], number + 1_000);
    }
    if matches!(name, "email" | "key") {
        return format!("no{handle}");
    }
    let mut changed: Vec<char> = handle.chars().collect();
    let last = changed.last_mut().unwrap();
    *last = if *last == '0' { '1' } else { '0' };
    changed.into_iter().collect()
}

fn filled(template: &str, tenant: &str, handles: &BTreeMap<&str, String>, own: &BTreeMap<&str, String>) -> Value {
    let mut message = template.replace("{tenant}", tenant);
    for (name, handle) in own {
        message = message.replace(&format!("{{own {name}}}"), handle);
    }
    for (name, handle) in handles {
        // A name leads into the tenant that is asked.
        let handle = match handle.strip_prefix(THEIRS) {
            Some(inside) => format!("{tenant}{inside}"),
            None => handle.clone(),
        };
        message = message.replace(&format!("{{{name}}}"), &handle);
    }
    serde_json::from_str(&message).unwrap_or_else(|error| panic!("{error}: {message}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_tenant_gave_out_is_unknown_to_another_on_every_rpc() {
    let dir = tempfile::tempdir().unwrap();
    let walker = Walker::open(&dir.path().join("data")).await;
    let (our_key, ours) = fill(&walker, OURS, "").await;
    let (their_key, theirs) = fill(&walker, THEIRS, "alone").await;
    let none: BTreeMap<&str, String> = theirs.iter().map(|(name, of)| (*name, invented(name, of))).collect();
    let sequence = || walker.get("GetStatistics", json!({"parent": OURS}), &our_key);
    let before = sequence().await;
    let mut asked = 0;
    for (method, takes) in WALK {
        let Handles(templates) = takes else { continue };
        for template in *templates {
            let with_theirs = filled(template, OURS, &theirs, &ours);
            let with_none = filled(template, OURS, &none, &ours);
            assert_ne!(with_theirs, with_none, "{method} takes no handle");
            let foreign = told(walker.ask(method, &with_theirs, &our_key).await);
            let unheard = told(walker.ask(method, &with_none, &our_key).await);
            assert_eq!(foreign, unheard, "law 9: {method} {with_theirs}");
            let at_home = told(walker.ask(method, &filled(template, THEIRS, &theirs, &theirs), &their_key).await);
            assert_ne!(foreign, at_home, "{method} does not depend on its handle: {template}");
            // Under their own name they are out of reach.
            let named = filled(template, THEIRS, &theirs, &theirs);
            let reached = walker.ask(method, &named, &our_key).await.expect_err(method);
            assert_eq!(reason(&reached), "TENANT_NOT_ALLOWED", "{method} {named}");
            asked += 1;
        }
    }
    assert!(asked > 60, "{asked}");
    assert_eq!(before["sequence"], sequence().await["sequence"], "nothing of it had an effect");
    walker.house.close().await;
}
