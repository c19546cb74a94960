//! Requests of controllers by OpenDSR 2.0, over HTTP/1.1 to a real server: taken in once, followed, taken back, carried out by
//! the privacy officer, and told of by signed calls that outlive failures and a kill.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use onefold_proto::v1 as pb;
use onefold_proto::v1::admin_service_client::AdminServiceClient;
use onefold_server::opendsr::OpenDsr;
use onefold_server::{Config, Server};
use onefold_tests::calls::with_key;
use onefold_tests::child::Launch;
use onefold_tests::{House, person};
use rcgen::{CertificateParams, KeyPair};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

const ADMIN: &str = "an-administrators-key-of-32-chars-or-more";
const KEY: &str = include_str!("harness/opendsr_key.pem");
const MAIL: &str = "ada.canary@harbour-mail.net";
const FIRST: &str = "a7551968-d5d6-44b2-9831-815ac9017798";
const SECOND: &str = "b7551968-d5d6-44b2-9831-815ac9017799";

/// Key and certificate in this folder.
fn issue(dir: &Path) {
    let key = KeyPair::from_pem(KEY).unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    std::fs::write(dir.join("cert.pem"), certificate.pem()).unwrap();
    std::fs::write(dir.join("key.pem"), KEY).unwrap();
    std::fs::set_permissions(dir.join("key.pem"), std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn config(dir: &Path, callback_host: &str) -> Config {
    issue(dir);
    let opendsr = OpenDsr {
        domain: "localhost".to_owned(),
        certificate: dir.join("cert.pem"),
        key: dir.join("key.pem"),
        identities: vec![("loyalty".to_owned(), "loyalty_id".to_owned())],
        callback_hosts: vec![callback_host.to_owned()],
        callback_authority: None,
        allow_private_callbacks: true,
    };
    Config { opendsr: Some(opendsr), ..House::config(&dir.join("data")) }
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{:?} {:?}", self.status, self.body))
    }

    /// What it says, once it is known that it was signed.
    fn signed(&self) -> Value {
        is_signed(&self.headers, &self.body);
        self.json()
    }

    fn said(&self) -> String {
        String::from_utf8(self.body.to_vec()).unwrap()
    }
}

/// That a body was signed with the key of the certificate.
fn is_signed(headers: &HeaderMap, body: &[u8]) {
    let public = KeyPair::from_pem(KEY).unwrap();
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public.public_key_raw());
    for header in ["x-opendsr-signature", "x-opengdpr-signature"] {
        let signature = STANDARD.decode(headers[header].as_bytes()).unwrap();
        public.verify(body, &signature).unwrap();
        let mut bent = body.to_vec();
        bent[0] ^= 1;
        public.verify(&bent, &signature).unwrap_err();
    }
    assert_eq!(headers["x-opendsr-processor-domain"], "localhost");
}

/// One request over HTTP/1.1 with a key, if there is one.
async fn send(to: SocketAddr, key: Option<&str>, method: Method, path: &str, kind: &str, body: &str) -> Answer {
    let stream = TcpStream::connect(to).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
    if !kind.is_empty() {
        request = request.header("content-type", kind);
    }
    if let Some(key) = key {
        request = request.header("authorization", format!("Bearer {key}"));
    }
    let answer = sender.send_request(request.body(Full::new(Bytes::from(body.to_owned()))).unwrap()).await.unwrap();
    let (head, body) = answer.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer { status: head.status, headers: head.headers, body }
}

async fn get(to: SocketAddr, key: Option<&str>, path: &str) -> Answer {
    send(to, key, Method::GET, path, "", "").await
}

async fn post(to: SocketAddr, key: Option<&str>, path: &str, body: &Value) -> Answer {
    send(to, key, Method::POST, path, "application/json", &body.to_string()).await
}

async fn delete(to: SocketAddr, key: Option<&str>, path: &str) -> Answer {
    send(to, key, Method::DELETE, path, "", "").await
}

fn asked(number: &str, kind: &str, callback: Option<&str>) -> Value {
    json!({
        "regulation": "gdpr",
        "subject_request_id": number,
        "subject_request_type": kind,
        "submitted_time": "2026-10-02T15:00:00Z",
        "subject_identities": [{"identity_type": "email", "identity_format": "raw", "identity_value": MAIL}],
        "api_version": "2.0",
        "status_callback_urls": callback.into_iter().collect::<Vec<_>>(),
        "extensions": {"another-processor.example": {"id": 1}},
    })
}

/// Whom controllers have called: takes every call, or refuses it as it was told to.
#[derive(Clone)]
struct Controller {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
    refuses: Arc<Mutex<VecDeque<StatusCode>>>,
}

impl Controller {
    async fn listen(at: SocketAddr, refuses: &[StatusCode]) -> Self {
        let listener = TcpListener::bind(at).await.unwrap();
        let refuses = Arc::new(Mutex::new(refuses.iter().copied().collect::<VecDeque<_>>()));
        let this = Self { address: listener.local_addr().unwrap(), heard: Arc::default(), refuses };
        let all = this.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let one = all.clone();
                let answer = service_fn(move |request: Request<hyper::body::Incoming>| {
                    let one = one.clone();
                    async move {
                        let (head, body) = request.into_parts();
                        assert_eq!((head.method, head.uri.path()), (Method::POST, "/opendsr/callbacks"));
                        let body = body.collect().await?.to_bytes();
                        let refused = one.refuses.lock().unwrap().pop_front();
                        if refused.is_none() {
                            one.heard.lock().unwrap().push((head.headers, body));
                        }
                        let mut answer = Response::new(Full::new(Bytes::new()));
                        *answer.status_mut() = refused.unwrap_or(StatusCode::ACCEPTED);
                        Ok::<_, hyper::Error>(answer)
                    }
                });
                tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
            }
        });
        this
    }

    fn host(&self) -> String {
        self.address.to_string()
    }

    fn url(&self) -> String {
        format!("http://{}/opendsr/callbacks", self.address)
    }

    /// The statuses that it was told, once there are so many; each signed.
    async fn statuses(&self, count: usize) -> Vec<String> {
        for _ in 0..600 {
            if self.heard.lock().unwrap().len() >= count {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let heard = self.heard.lock().unwrap().clone();
        let of = |(headers, body): &(HeaderMap, Bytes)| {
            is_signed(headers, body);
            let said: Value = serde_json::from_slice(body).unwrap();
            assert_eq!(said["status_callback_url"], self.url());
            assert_eq!(said["controller_id"], "default");
            assert!(said["expected_completion_time"].is_string());
            said["request_status"].as_str().unwrap().to_owned()
        };
        heard.iter().map(of).collect()
    }
}

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// The name of the one request there is, verified.
async fn verified(house: &mut House) -> String {
    let name = house.privacy_requests(false).await.unwrap().pop().unwrap().name;
    let request = pb::VerifyPrivacyRequestRequest {
        name: name.clone(),
        method: "controller".to_owned(),
        by: "dpo".to_owned(),
        ..Default::default()
    };
    house.privacy.verify_privacy_request(request).await.unwrap();
    name
}

/// Whether these bytes are in any file below a folder.
fn is_on_disk(folder: &Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            is_on_disk(&path, bytes)
        } else {
            std::fs::read(path).unwrap().windows(bytes.len()).any(|window| window == bytes)
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_that_a_controller_forwards_is_followed_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let refuses = [StatusCode::INTERNAL_SERVER_ERROR, StatusCode::SERVICE_UNAVAILABLE];
    let controller = Controller::listen(loopback(), &refuses).await;
    let mut house = House::open_with(config(dir.path(), &controller.host())).await;
    let at = house.server().address();
    house.sources(&["crm"]).await;
    house.put(person("crm", "1", 1_700_000_000, &[("email", MAIL)], &[])).await;

    // Who we are: signed with the key of the certificate that it names.
    let discovery = get(at, None, "/v2/discovery").await;
    let says = discovery.signed();
    assert_eq!(says["api_version"], "2.0");
    assert_eq!(says["processor_certificate"], "https://localhost/v2/certificate.pem");
    assert_eq!(says["supported_subject_request_types"], json!(["erasure", "access", "portability"]));
    for kind in ["email", "ios_advertising_id", "controller_customer_id", "loyalty"] {
        let one = json!({"identity_type": kind, "identity_format": "raw"});
        assert!(says["supported_identities"].as_array().unwrap().contains(&one), "{kind}");
    }
    let certificate = get(at, None, "/v2/certificate.pem").await;
    assert_eq!(certificate.said(), std::fs::read_to_string(dir.path().join("cert.pem")).unwrap().replace("\r\n", "\n"));

    let request = asked(FIRST, "erasure", Some(&controller.url()));
    let taken = post(at, None, "/v2/requests", &request).await;
    assert_eq!(taken.status, StatusCode::CREATED, "{}", taken.said());
    let says = taken.signed();
    assert_eq!((&says["controller_id"], &says["subject_request_id"]), (&json!("default"), &json!(FIRST)));
    // A month from when the person asked, not from when the request came here.
    assert_eq!(says["expected_completion_time"], "2026-11-02T15:00:00Z");
    assert_eq!(STANDARD.decode(says["encoded_request"].as_str().unwrap()).unwrap(), request.to_string().as_bytes());
    // Again is the same; the same number for something else is not.
    let again = post(at, None, "/v2/requests", &request).await;
    assert_eq!((again.status, again.json()), (StatusCode::CREATED, says));
    let other = post(at, None, "/v2/requests", &asked(FIRST, "access", None)).await;
    assert_eq!(
        (other.status, other.json()["error"]["errors"][0]["reason"].clone()),
        (StatusCode::BAD_REQUEST, json!("REQUEST_ID_REUSED"))
    );
    assert_eq!(house.privacy_requests(false).await.unwrap().len(), 1);

    let status = get(at, None, &format!("/v2/requests/{FIRST}")).await.signed();
    assert_eq!(status["request_status"], "pending");
    assert_eq!(status["results_url"], Value::Null);
    let name = verified(&mut house).await;
    let status = get(at, None, &format!("/v2/requests/{FIRST}")).await.signed();
    assert_eq!(status["request_status"], "in_progress");
    assert_eq!(status["extensions"]["localhost"]["request"], json!(name));
    let refused = delete(at, None, &format!("/v2/requests/{FIRST}")).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert!(refused.said().contains("only one that is pending can be cancelled"), "{}", refused.said());
    let etag = house.preview(&name).await.unwrap().etag;
    house.erase(&name, &etag).await.unwrap();
    let status = get(at, None, &format!("/v2/requests/{FIRST}")).await.signed();
    assert_eq!((&status["request_status"], &status["results_count"]), (&json!("completed"), &json!(1)));
    let result = house.put(person("crm", "1", 1_700_000_001, &[("email", MAIL)], &[])).await;
    assert_eq!(result.status(), pb::IngestStatus::Suppressed, "{result:?}");

    // Two calls failed; every change is told all the same, in order, and once.
    assert_eq!(controller.statuses(3).await, ["pending", "in_progress", "completed"]);
    assert!(!is_on_disk(&dir.path().join("data"), MAIL.as_bytes()));
    house.close().await;
    let house = House::open_with(config(dir.path(), &controller.host())).await;
    let status = get(house.server().address(), None, &format!("/v2/requests/{FIRST}")).await.signed();
    assert_eq!(status["request_status"], "completed");
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(controller.heard.lock().unwrap().len(), 3, "a restart tells nothing twice");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_taken_is_named_and_repeats_nothing_of_the_person() {
    let dir = tempfile::tempdir().unwrap();
    let house = House::open_with(config(dir.path(), "controller.example")).await;
    let at = house.server().address();
    let good = asked(FIRST, "erasure", None);
    let with = |field: &str, value: Value| {
        let mut request = good.clone();
        request[field] = value;
        request
    };
    let identity = |kind: &str, format: &str, value: &str| json!([{"identity_type": kind, "identity_format": format, "identity_value": value}]);
    let far = "2999-01-01T00:00:00Z";
    let table = [
        (with("regulation", json!("lgpd")), "regulation must be one of gdpr, ccpa"),
        (with("regulation", Value::Null), "regulation is required"),
        (
            with("subject_request_id", json!("A7551968-D5D6-44B2-9831-815AC9017798")),
            "subject_request_id must be a UUID",
        ),
        (with("subject_request_type", json!("rectification")), "subject_request_type must be one of erasure, access"),
        (with("submitted_time", json!("yesterday")), "submitted_time must be a time of RFC 3339"),
        (with("submitted_time", json!("1970-01-01T00:00:00Z")), "submitted_time is more than ten years ago"),
        (with("submitted_time", json!(far)), "submitted_time a request cannot come tomorrow"),
        (with("api_version", json!("3.0")), "api_version this is version 2.0"),
        (with("subject_identities", json!([])), "subject_identities name at least one identity"),
        (with("subject_identities", identity("shoe_size", "raw", MAIL)), "subject_identities[0].identity_type"),
        (with("subject_identities", identity("email", "sha256", MAIL)), "subject_identities[0].identity_format"),
        (with("subject_identities", identity("email", "raw", "canary")), "subject_identities[0].identity_value"),
        (with("subject_identities", json!([{"identity_type": 1}])), "subject_identities[0].identity_value is required"),
        (with("status_callback_urls", json!(["https://evil.example/x"])), "status_callback_urls[0] is of a host"),
        (
            with("status_callback_urls", json!(["http://controller.example/x"])),
            "status_callback_urls[0] must begin with https",
        ),
        (
            with("status_callback_urls", json!(["https://controller.example/canary@x"])),
            "status_callback_urls[0] may hold",
        ),
        (
            with("extensions", json!({"localhost": {"tenant": "x"}})),
            "extensions.localhost this processor has no extension",
        ),
        (json!([]), "body must be a JSON object"),
    ];
    for (request, why) in table {
        let refused = post(at, None, "/v2/requests", &request).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{why}");
        let error = refused.json()["error"].clone();
        assert_eq!(error["code"], 400);
        assert!(error["message"].as_str().unwrap().contains(why), "{why}: {error}");
        assert!(!refused.said().contains("canary"), "{}", refused.said());
    }
    // Every fault at once.
    let empty = post(at, None, "/v2/requests", &json!({})).await.json();
    let named: Vec<&Value> = empty["error"]["errors"].as_array().unwrap().iter().collect();
    assert_eq!(named.len(), 5, "{named:?}");
    let kind = "application/json";
    for (method, path, kind, body, want) in [
        (Method::POST, "/v2/requests", kind, "{\"canary\": ", StatusCode::BAD_REQUEST),
        (Method::POST, "/v2/requests", "text/plain", "{}", StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (Method::POST, "/v2/requests", kind, &"x".repeat(70_000), StatusCode::PAYLOAD_TOO_LARGE),
        (Method::GET, "/v2/requests", "", "", StatusCode::METHOD_NOT_ALLOWED),
        (Method::POST, "/v2/discovery", kind, "{}", StatusCode::METHOD_NOT_ALLOWED),
        (Method::GET, "/v2/nothing", "", "", StatusCode::NOT_FOUND),
        (Method::GET, "/elsewhere", "", "", StatusCode::NOT_FOUND),
        (Method::GET, "/v2/requests/canary", "", "", StatusCode::NOT_FOUND),
        (Method::GET, &format!("/v2/requests/{FIRST}"), "", "", StatusCode::NOT_FOUND),
        (Method::DELETE, &format!("/v2/requests/{FIRST}"), "", "", StatusCode::NOT_FOUND),
        (Method::GET, "/v2/tenants/nobody/requests/x", "", "", StatusCode::NOT_FOUND),
    ] {
        let refused = send(at, None, method, path, kind, body).await;
        assert_eq!(refused.status, want, "{path}: {}", refused.said());
        assert!(!refused.said().contains("canary"), "{}", refused.said());
        assert_eq!(refused.json()["error"]["code"], want.as_u16());
    }
    // As OpenGDPR 1.0 has it: another name, and no regulation.
    let mut older = good.clone();
    older.as_object_mut().unwrap().remove("regulation");
    older["api_version"] = json!("1.0");
    assert_eq!(post(at, None, "/v1/opengdpr_requests", &older).await.status, StatusCode::CREATED);
    let cancelled = delete(at, None, &format!("/v1/opengdpr_requests/{FIRST}")).await;
    assert_eq!(cancelled.status, StatusCode::ACCEPTED);
    assert_eq!(cancelled.signed()["subject_request_id"], FIRST);
    let again = delete(at, None, &format!("/v2/requests/{FIRST}")).await;
    assert_eq!(again.status, StatusCode::ACCEPTED, "again is harmless");
    let status = get(at, None, &format!("/v2/requests/{FIRST}")).await.signed();
    assert_eq!(status["request_status"], "cancelled");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_reaches_requests_of_another_tenant_or_without_the_role() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { require_auth: true, admin_key: Some(ADMIN.to_owned()), ..config(dir.path(), "c.example") };
    let server = Server::start(config).await.unwrap();
    let at = server.address();
    let channel = tonic::transport::Channel::from_shared(format!("http://{at}")).unwrap().connect().await.unwrap();
    let mut admin = AdminServiceClient::new(channel);
    let mut keys = Vec::new();
    for (tenant, role) in
        [("north", pb::Role::PrivacyOfficer), ("south", pb::Role::PrivacyOfficer), ("north", pb::Role::Reader)]
    {
        let name = format!("tenants/{tenant}");
        let request = pb::CreateTenantRequest {
            tenant: Some(pb::Tenant { name: name.clone(), ..Default::default() }),
            ..Default::default()
        };
        let _ = admin.create_tenant(with_key(request, Some(ADMIN))).await;
        let key = pb::ApiKey { roles: vec![role as i32], ..Default::default() };
        let request = pb::CreateApiKeyRequest { parent: name, api_key: Some(key), ..Default::default() };
        keys.push(admin.create_api_key(with_key(request, Some(ADMIN))).await.unwrap().into_inner().secret);
    }
    let [north, south, reader] = &keys[..] else { panic!("three keys") };
    let request = asked(FIRST, "access", None);
    for (key, want) in [(None, 401), (Some("nonsense"), 401), (Some(reader.as_str()), 403)] {
        let refused = post(at, key, "/v2/requests", &request).await;
        assert_eq!(refused.status.as_u16(), want);
        assert_eq!(refused.headers.contains_key("www-authenticate"), want == 401);
    }
    let taken = post(at, Some(north), "/v2/requests", &request).await;
    assert_eq!((taken.status, &taken.json()["controller_id"]), (StatusCode::CREATED, &json!("north")));
    let path = format!("/v2/requests/{FIRST}");
    assert_eq!(get(at, Some(north), &path).await.status, StatusCode::OK);
    assert_eq!(get(at, Some(north), &format!("/v2/tenants/north/requests/{FIRST}")).await.status, StatusCode::OK);
    // Of another tenant it is as unknown as an invented one; another tenant is as forbidden as an invented one.
    let theirs = get(at, Some(south), &path).await;
    let invented = get(at, Some(south), &format!("/v2/requests/{SECOND}")).await;
    assert_eq!((theirs.status, theirs.body), (StatusCode::NOT_FOUND, invented.body));
    assert_eq!(delete(at, Some(south), &path).await.status, StatusCode::NOT_FOUND);
    let theirs = get(at, Some(south), &format!("/v2/tenants/north/requests/{FIRST}")).await;
    let invented = get(at, Some(south), &format!("/v2/tenants/nobody/requests/{FIRST}")).await;
    assert_eq!((theirs.status, theirs.body), (StatusCode::FORBIDDEN, invented.body));
    // The same number is another request in another tenant.
    assert_eq!(post(at, Some(south), "/v2/requests", &request).await.status, StatusCode::CREATED);
    assert_eq!(delete(at, Some(south), &path).await.status, StatusCode::ACCEPTED);
    assert_eq!(get(at, Some(north), &path).await.json()["request_status"], "pending");
    // Discovery answers whoever asks: it says who we are.
    assert_eq!(get(at, None, "/v2/discovery").await.status, StatusCode::OK);
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn results_are_fetched_once_by_who_may() {
    let dir = tempfile::tempdir().unwrap();
    let controller = Controller::listen(loopback(), &[]).await;
    let mut house = House::open_with(config(dir.path(), &controller.host())).await;
    let at = house.server().address();
    house.sources(&["crm"]).await;
    house.put(person("crm", "1", 1_700_000_000, &[("email", MAIL)], &[("given_name", "Ada")])).await;
    assert_eq!(
        post(at, None, "/v2/requests", &asked(FIRST, "access", Some(&controller.url()))).await.status,
        StatusCode::CREATED
    );
    let path = format!("/v2/tenants/default/requests/{FIRST}/results");
    let early = get(at, None, &path).await;
    assert_eq!(early.status, StatusCode::BAD_REQUEST);
    assert!(early.said().contains("nothing to fetch"), "{}", early.said());
    verified(&mut house).await;
    let status = get(at, None, &format!("/v2/requests/{FIRST}")).await.signed();
    assert_eq!(status["results_url"], json!(format!("https://localhost{path}")));
    let export = get(at, None, &path).await;
    assert_eq!(export.status, StatusCode::OK);
    let text = export.json();
    assert_eq!(text["format"], "onefold-access-export");
    assert!(export.said().contains(MAIL) && export.said().contains("Ada"));
    let request = house.privacy_requests(false).await.unwrap().pop().unwrap();
    assert_eq!(request.state(), pb::PrivacyRequestState::Completed);
    assert_eq!(request.delivered_to, "opendsr/anonymous");
    assert_eq!(request.delivered_digest, blake3::hash(&export.body).to_hex().to_string());
    assert_eq!(get(at, None, &path).await.status, StatusCode::BAD_REQUEST, "once");
    let status = get(at, None, &format!("/v2/requests/{FIRST}")).await.signed();
    assert_eq!((&status["request_status"], &status["results_count"]), (&json!("completed"), &json!(1)));
    assert_eq!(controller.statuses(3).await, ["pending", "in_progress", "completed"]);
    let urls: Vec<bool> = controller
        .heard
        .lock()
        .unwrap()
        .iter()
        .map(|(_, body)| body.windows(11).any(|text| text == b"results_url"))
        .collect();
    assert_eq!(urls, [false, true, false]);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn callbacks_outlive_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    issue(dir.path());
    // A controller that is down for now.
    let listener = TcpListener::bind(loopback()).await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut launch = Launch::new(env!("CARGO_BIN_EXE_onefold-test-server"), &dir.path().join("data"));
    launch.environment.push(("ONEFOLD_TEST_OPENDSR".into(), dir.path().into()));
    launch.environment.push(("ONEFOLD_TEST_CALLBACK_HOST".into(), address.to_string().into()));
    let (mut child, _) = launch.start().await;
    let url = format!("http://{address}/opendsr/callbacks");
    let taken = post(child.address(), None, "/v2/requests", &asked(FIRST, "erasure", Some(&url))).await;
    assert_eq!(taken.status, StatusCode::CREATED, "{}", taken.said());
    let cancelled = delete(child.address(), None, &format!("/v2/requests/{FIRST}")).await;
    assert_eq!(cancelled.status, StatusCode::ACCEPTED);
    child.kill();
    let controller = Controller::listen(address, &[StatusCode::BAD_GATEWAY]).await;
    let (mut child, _) = launch.start().await;
    let status = get(child.address(), None, &format!("/v2/requests/{FIRST}")).await.signed();
    assert_eq!(status["request_status"], "cancelled");
    assert_eq!(controller.statuses(2).await, ["pending", "cancelled"]);
    child.kill();
    // What was taken was written down, but for what a kill may have come before: at most the last one comes again.
    let (child, _) = launch.start().await;
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    let heard = controller.heard.lock().unwrap().len();
    assert!((2..=3).contains(&heard), "{heard}");
    child.stop();
}
