//! Access and portability: everything that is held about a person is handed over with its provenance, nothing of anybody
//! else, and it is written down that it was.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;

use onefold_core::fragment::ObservedAt;
use onefold_proto::v1 as pb;
use onefold_server::clock::Clock;
use onefold_tests::accounts::{account, somebody};
use onefold_tests::consent::{at, of_record, said};
use onefold_tests::{Clients, House, person, reason, record};
use pb::PrivacyRequestKind::{Access, Erasure, Portability};
use serde_json::Value;

const THEN: i64 = 1_700_000_000;
const HOME_PHONE: &str = "+4930123456";

/// A clock that stands.
#[derive(Debug)]
struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> ObservedAt {
        ObservedAt(1_790_000_000_000_000)
    }
}

/// A value of somebody's that is like nobody else's.
fn canary(who: &str, what: &str) -> String {
    format!("zq{who}{what}")
}

fn mail(who: &str) -> String {
    format!("{}@harbour-mail.net", canary(who, "mail"))
}

async fn prepare(clients: &mut Clients) {
    clients.sources(&["crm", "shop"]).await;
    let mut contract = pb::DataContract::default();
    contract.attributes.push(pb::AttributeRule { name: "plan".to_owned(), required: true, ..Default::default() });
    let source = pb::Source { name: "ledger".to_owned(), trust: 500, contract: Some(contract), ..Default::default() };
    clients.admin.put_source(pb::PutSourceRequest { source: Some(source), ..Default::default() }).await.unwrap();
    clients.put_account("crm", "acme", None).await.unwrap();
    let stage = pb::Stage { name: "lead".to_owned(), initial: true, next: Vec::new() };
    let pipeline = Some(pb::Pipeline { stages: vec![stage], ..Default::default() });
    let lifecycle = Some(pb::Lifecycle { persons: pipeline.clone(), accounts: pipeline });
    clients.accounts.put_lifecycle(pb::PutLifecycleRequest { lifecycle, ..Default::default() }).await.unwrap();
}

/// Somebody through every path: a record in two versions, a second one, one taken back, one in quarantine; consent, a
/// contact, a role, a stage, a judgement. The telephone is the household's.
async fn arrive(clients: &mut Clients, who: &str) {
    let (mail, key) = (mail(who), canary(who, "crm"));
    let phone = ("phone", HOME_PHONE);
    let number = canary(who, "number");
    let old: &[(&str, &str)] = &[("name.given", &canary(who, "oldname")), ("note", &canary(who, "oldnote"))];
    clients.put(person("crm", &key, THEN, &[("email", &mail), phone, ("user_id", &number)], old)).await;
    let note = format!("call {HOME_PHONE} after six");
    let new: &[(&str, &str)] = &[("name.given", &canary(who, "name")), ("note", &note)];
    let mut fragment = person("crm", &key, THEN + 1, &[("email", &mail), phone, ("user_id", &number)], new);
    fragment.traits_json =
        format!(r#"{{"likes": "{}", "home": "030 123456", "desk": "7, 030 123456 / 21"}}"#, canary(who, "trait"));
    clients.put(fragment).await;
    let city: &[(&str, &str)] = &[("address.city", &canary(who, "city"))];
    clients.put(person("shop", &canary(who, "shop"), THEN + 2, &[("email", &mail)], city)).await;
    let gone: &[(&str, &str)] = &[("name.family", &canary(who, "gone"))];
    clients.put(person("shop", &canary(who, "gonekey"), THEN + 3, &[("email", &mail)], gone)).await;
    clients.retract("shop", &canary(who, "gonekey"), THEN + 4).await;
    let held: &[(&str, &str)] = &[("name.given", &canary(who, "held"))];
    let broken =
        clients.put(person("ledger", &canary(who, "ledger"), THEN + 5, &[("email", &mail), phone], held)).await;
    assert_eq!(broken.status(), pb::IngestStatus::Quarantined);
    let mut yes = said(pb::ConsentDecision::Granted, THEN + 6);
    yes.collection_method = canary(who, "form");
    clients.say(at("email", &mail), yes).await.unwrap();
    let mut no = said(pb::ConsentDecision::Denied, THEN + 7);
    no.channel = "sms".to_owned();
    clients.say(of_record("shop", &canary(who, "shop")), no).await.unwrap();
    // What is said at the household's telephone is everybody's there.
    let mut home = said(pb::ConsentDecision::Objected, THEN + 8);
    home.channel = "phone".to_owned();
    clients.say(at("phone", HOME_PHONE), home).await.unwrap();
    assert!(clients.may(at("email", &mail), true).await.unwrap().allowed);
    let request = pb::PutAffiliationRequest {
        person: somebody("crm", &key),
        account: account("crm", "acme"),
        role: canary(who, "role"),
        ..Default::default()
    };
    clients.accounts.put_affiliation(request).await.unwrap();
    let subject = Some(pb::StageSubject { subject: somebody("crm", &key).map(pb::stage_subject::Subject::Person) });
    let note = canary(who, "stagenote");
    let request = pb::SetStageRequest { subject, stage: "lead".to_owned(), note, ..Default::default() };
    clients.accounts.set_stage(request).await.unwrap();
    judge(clients, (&key, &canary(who, "shop")), ("crm", "shop"), pb::Verdict::Same, &canary(who, "reason")).await;
}

async fn judge(clients: &mut Clients, keys: (&str, &str), of: (&str, &str), verdict: pb::Verdict, why: &str) {
    let pair = pb::PairJudgement {
        first: Some(record(of.0, keys.0)),
        second: Some(record(of.1, keys.1)),
        verdict: verdict as i32,
    };
    let (author, reason) = ("steward".to_owned(), why.to_owned());
    let request = pb::JudgeRequest { judgements: vec![pair], author, reason, ..Default::default() };
    clients.reviews.judge(request).await.unwrap();
}

/// All words of ours in a text.
fn canaries(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| word.starts_with("zq")).map(str::to_owned).collect()
}

fn list<'a>(text: &'a Value, name: &str) -> &'a Vec<Value> {
    text[name].as_array().unwrap_or_else(|| panic!("{name} of {text:#}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn all_of_one_person_and_nothing_of_another() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = House::open_at(House::config(&data), Arc::new(Stopped)).await;
    prepare(&mut house).await;
    arrive(&mut house, "ada").await;
    arrive(&mut house, "bob").await;
    // Whatever a steward says of both is said of somebody else too.
    let keys = (&*canary("ada", "crm"), &*canary("bob", "crm"));
    judge(&mut house, keys, ("crm", "crm"), pb::Verdict::Different, "zqbobreason lives with zqadareason").await;

    let name = house.ask_for(Access, vec![at("email", &mail("ada"))]).await.unwrap();
    let preview = house.preview_export(&name).await.unwrap();
    let shown: BTreeSet<(String, String)> =
        preview.records.iter().map(|record| (record.source.clone(), record.evidence.clone())).collect();
    let want = [("crm", "MEMBER_OF_PROFILE"), ("shop", "MEMBER_OF_PROFILE"), ("shop", "RETRACTED_FROM_PROFILE")];
    assert_eq!(shown, want.map(|(a, b)| (a.to_owned(), b.to_owned())).into());
    let withheld: Vec<(&str, u32)> = preview.withheld.iter().map(|c| (c.name.as_str(), c.count)).collect();
    assert_eq!(withheld, [("phone", 1)], "the household's telephone");
    assert_eq!((preview.quarantined, preview.statements, preview.profiles.len()), (1, 2, 1));
    assert_eq!((preview.statements_shared, preview.statements_withheld), (0, 1), "the one at the telephone");
    assert_eq!(reason(&house.export(&name, &"0".repeat(32)).await.unwrap_err()), "SCOPE_CHANGED");
    assert_eq!(reason(&house.erase(&name, &preview.etag).await.unwrap_err()), "PRIVACY_REQUEST_KIND");
    let (text, end) = house.export(&name, &preview.etag).await.unwrap();

    let all = [
        "mail",
        "crm",
        "number",
        "oldname",
        "oldnote",
        "name",
        "trait",
        "shop",
        "city",
        "gone",
        "gonekey",
        "ledger",
        "held",
        "form",
        "role",
        "stagenote",
        "reason",
    ];
    let want: BTreeSet<String> = all.iter().map(|what| canary("ada", what)).collect();
    assert_eq!(canaries(&text), want, "all of hers and nothing of his");
    for typed in [HOME_PHONE, "030 123456", "4930123456"] {
        assert!(!text.contains(typed), "{typed} is the household's");
    }
    let read: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&read["format"], &read["format_version"]), (&"onefold-access-export".into(), &1.into()));
    let profile = &list(&read, "profiles")[0];
    let given = list(profile, "attributes").iter().find(|value| value["name"] == "name.given").unwrap();
    assert_eq!(given["value"], canary("ada", "name").as_str());
    assert_eq!(given["record"]["source"], "crm", "with its provenance");
    assert!(given["rule"].is_string() && given["observed_time"].is_string());
    let crm = list(&read, "records").iter().find(|record| record["source"] == "crm").unwrap();
    let versions: Vec<bool> = list(crm, "versions").iter().map(|version| version["live"].as_bool().unwrap()).collect();
    assert_eq!(versions, [false, true], "the superseded one is kept, so it is shown");
    let taken_back = list(&read, "records").iter().find(|record| record["retractions"].is_array()).unwrap();
    assert_eq!(taken_back["evidence"], "RETRACTED_FROM_PROFILE");
    assert_eq!(list(&read, "quarantined").len(), 1);
    let decisions: Vec<&str> =
        list(&read, "statements").iter().map(|said| said["decision"].as_str().unwrap()).collect();
    assert_eq!(decisions, ["GRANTED", "DENIED"]);
    let of_mail = |holding: &&Value| holding["purpose"] == "marketing" && holding["channel"] == "email";
    assert_eq!(list(&read, "effective_consent").iter().find(of_mail).unwrap()["state"], "GRANTED");
    let listed: Vec<&Value> = list(&read, "statements").iter().map(|said| &said["sequence"]).collect();
    for holding in list(&read, "effective_consent") {
        for by in ["decided_by", "suppressed_by", "restricted_by"] {
            let all = holding[by].as_array().into_iter().flatten();
            assert_eq!(all.filter(|id| !listed.contains(id)).count(), 0, "it names what is not here: {holding}");
        }
    }
    assert_eq!(list(&read, "contacts").len(), 1, "the contact with her, not the one with him");
    let told: Vec<&str> = list(&read, "accounts").iter().map(|told| told["what"].as_str().unwrap()).collect();
    assert_eq!(told, ["ROLE", "STAGE"]);
    let judged = list(&read, "judgements");
    assert_eq!(judged.len(), 2);
    assert!(judged.iter().all(|one| one["author"]["withheld"] == "NAMES_SOMEBODY_ELSE"), "who judged is somebody else");
    assert_eq!(judged[1]["reason"]["withheld"], "NAMES_SOMEBODY_ELSE");
    let others = list(&judged[1], "records").iter().filter(|one| one["withheld"] == "NAMES_SOMEBODY_ELSE").count();
    assert_eq!(others, 1, "his record is withheld, hers is not");
    assert_eq!(list(&read, "requests").len(), 1, "this very request");
    let counted = |part: &str, what: &str| {
        let mut all = list(&read, "withheld").iter();
        let found = all.find(|one| one["part"] == part && one["what"] == what);
        found.map(|one| (one["reason"].as_str().unwrap().to_owned(), one["count"].as_u64().unwrap()))
    };
    let by_others = |count| Some(("HELD_BY_OTHERS".to_owned(), count));
    assert_eq!(counted("profiles", "phone"), by_others(1));
    assert_eq!(counted("records", "phone"), by_others(2), "in either version");
    assert_eq!(counted("records", "note"), by_others(1), "typed into a note");
    assert_eq!(counted("records", "a trait"), by_others(2), "typed otherwise into traits, once among other digits");
    assert_eq!(counted("quarantined", "phone"), by_others(1));
    assert_eq!(counted("statements", "a statement at a shared identifier"), by_others(1));
    assert_eq!(counted("effective_consent", "which statement it was").unwrap().0, "HELD_BY_OTHERS");

    // It is written down, once, with whom it went to and which text.
    assert_eq!(
        (end.digest.as_str(), end.bytes),
        (&*blake3::hash(text.as_bytes()).to_hex().to_string(), text.len() as u64)
    );
    let done = end.request.unwrap();
    assert_eq!(done.state(), pb::PrivacyRequestState::Completed);
    assert_eq!((done.delivered_to.as_str(), &done.delivered_digest), ("subject", &end.digest));
    assert_eq!(reason(&house.export(&name, &preview.etag).await.unwrap_err()), "PRIVACY_REQUEST_STATE");
    // The same state makes the same text, but for the request itself.
    let again = house.ask_for(Access, vec![at("email", &mail("ada"))]).await.unwrap();
    let etag = house.preview_export(&again).await.unwrap().etag;
    let (second, _) = house.export(&again, &etag).await.unwrap();
    let mut second: Value = serde_json::from_str(&second).unwrap();
    let mut first = read.clone();
    assert_eq!(list(&second, "requests").len(), 2, "the earlier request and to whom its export went");
    assert_eq!(list(&second, "requests")[0]["delivered_to"], "subject");
    for text in [&mut first, &mut second] {
        for own in ["request", "requests", "sequence"] {
            text.as_object_mut().unwrap().remove(own);
        }
    }
    assert_eq!(first, second);
    house.close().await;
    for from_journal in [false, true] {
        if from_journal {
            fs::remove_dir_all(data.join("checkpoint")).unwrap();
        }
        let mut house = House::open(&data).await;
        let get = pb::GetPrivacyRequestRequest { name: name.clone() };
        let known = house.privacy.get_privacy_request(get).await.unwrap().into_inner().request.unwrap();
        assert_eq!((known.delivered_to.as_str(), &known.delivered_digest), ("subject", &end.digest));
        house.close().await;
    }
}

/// Only what the person holds as an identifier was withheld: whatever else a note, an attribute or a trait said of somebody
/// was handed over.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_text_says_of_how_to_reach_somebody_else_is_not_handed_over() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    house.sources(&["crm"]).await;
    let bob = [("email", "bob.zq@harbour-mail.net"), ("phone", "+491712345678")];
    house.put(person("crm", "bob", THEN, &bob, &[])).await;
    let of_others = [
        "bob.zq@harbour-mail.net",
        "her brother: BOB.ZQ@Harbour-Mail.net!",
        "mailto:bob.zq@harbour-mail.net",
        "bob.zq (at) harbour-mail.net",
        "bob.zq%40harbour-mail.net",
        "call +49 171 2345678",
        "0171/2345678 after six",
        "0049 171 234 5678",
        "491712345678",
    ];
    let of_nobody = [
        "ada.zq@harbour-mail.net",
        "nobody.zq@harbour-mail.net",
        "0171 2345679",
        "+49 172 1111111",
        "order 4711 of 2026-11-27",
        "room 7",
    ];
    let own = [("email", "ada.zq@harbour-mail.net"), ("phone", "+491721111111"), ("user_id", "491712345678")];
    let mut ada = person("crm", "ada", THEN, &own, &[("address.country", "DE"), ("note", of_others[6])]);
    let number = pb::attribute::Value::Number(491_712_345_678.0);
    ada.attributes.push(pb::Attribute { name: "line".to_owned(), value: Some(number) });
    let traits = serde_json::json!({ "others": of_others, "own": of_nobody, "line": 491_712_345_678_u64 });
    ada.traits_json = traits.to_string();
    house.put(ada).await;

    let name = house.ask_for(Access, vec![at("email", "ada.zq@harbour-mail.net")]).await.unwrap();
    let etag = house.preview_export(&name).await.unwrap().etag;
    let (text, _) = house.export(&name, &etag).await.unwrap();
    let read: Value = serde_json::from_str(&text).unwrap();
    let version = &list(&list(&read, "records")[0], "versions")[0];
    for traits in [&version["traits"], &list(&read, "profiles")[0]["traits"]] {
        for (shown, was) in list(traits, "others").iter().zip(of_others) {
            assert_eq!(shown["withheld"], "NAMES_SOMEBODY_ELSE", "{was}: {shown}");
        }
        assert_eq!(traits["own"], serde_json::json!(of_nobody));
        assert_eq!(traits["line"]["withheld"], "NAMES_SOMEBODY_ELSE");
    }
    for attribute in ["note", "line"] {
        let shown = list(version, "attributes").iter().find(|one| one["name"] == attribute).unwrap();
        assert_eq!(shown["value"]["withheld"], "NAMES_SOMEBODY_ELSE", "{attribute}");
    }
    let number = list(version, "identifiers").iter().find(|one| one["namespace"] == "user_id").unwrap();
    assert_eq!(number["value"], "491712345678", "her own number at a source, though it reads as his telephone");
    let counted: Vec<u64> = list(&read, "withheld")
        .iter()
        .filter(|one| one["part"] == "records" && one["reason"] == "NAMES_SOMEBODY_ELSE")
        .map(|one| one["count"].as_u64().unwrap())
        .collect();
    assert_eq!(counted.iter().sum::<u64>(), of_others.len() as u64 + 3, "{read:#}");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn portability_is_what_the_person_provided() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    prepare(&mut house).await;
    arrive(&mut house, "ada").await;
    arrive(&mut house, "bob").await;
    let name = house.ask_for(Portability, vec![at("email", &mail("ada"))]).await.unwrap();
    let etag = house.preview_export(&name).await.unwrap().etag;
    let (text, end) = house.export(&name, &etag).await.unwrap();
    assert_eq!(end.request.unwrap().kind(), Portability);
    let given = ["mail", "crm", "number", "name", "trait", "shop", "city", "form"];
    let want: BTreeSet<String> = given.iter().map(|what| canary("ada", what)).collect();
    assert_eq!(canaries(&text), want, "live facts and statements; nothing derived, judged, superseded or taken back");
    let read: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(read["format"], "onefold-portability-export");
    for derived in ["profiles", "judgements", "contacts", "effective_consent", "accounts", "requests", "quarantined"] {
        assert!(read.get(derived).is_none(), "{derived}");
    }
    assert_eq!((list(&read, "records").len(), list(&read, "statements").len()), (2, 2));
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_needs_what_an_erasure_needs_and_none_follows_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    prepare(&mut house).await;
    arrive(&mut house, "ada").await;
    let erasure = house.ask_for(Erasure, vec![at("email", &mail("ada"))]).await.unwrap();
    let etag = house.preview(&erasure).await.unwrap().etag;
    assert_eq!(reason(&house.export(&erasure, &etag).await.unwrap_err()), "PRIVACY_REQUEST_KIND");

    let policy = pb::PrivacyPolicy { second_person: true, ..Default::default() };
    let request = pb::UpdatePrivacyPolicyRequest { policy: Some(policy), ..Default::default() };
    house.privacy.update_privacy_policy(request).await.unwrap();
    let access = house.ask_for(Access, vec![at("email", &mail("ada"))]).await.unwrap();
    let etag = house.preview_export(&access).await.unwrap().etag;
    assert_eq!(reason(&house.export(&access, &etag).await.unwrap_err()), "PRIVACY_REQUEST_STATE", "not approved");
    let approve = |name: &str, etag: &str| pb::ApprovePrivacyRequestRequest {
        name: name.to_owned(),
        by: "counsel".to_owned(),
        etag: etag.to_owned(),
        ..Default::default()
    };
    house.privacy.approve_privacy_request(approve(&access, &etag)).await.unwrap();
    house.put(person("shop", "late", THEN + 9, &[("email", &mail("ada"))], &[])).await;
    assert_eq!(reason(&house.export(&access, &etag).await.unwrap_err()), "SCOPE_CHANGED");
    let etag = house.preview_export(&access).await.unwrap().etag;
    assert_eq!(reason(&house.export(&access, &etag).await.unwrap_err()), "SCOPE_CHANGED", "the approval is void");

    // She is erased while the request for access is open.
    let to_erase = house.preview(&erasure).await.unwrap().etag;
    house.privacy.approve_privacy_request(approve(&erasure, &to_erase)).await.unwrap();
    house.erase(&erasure, &to_erase).await.unwrap();
    assert_eq!(reason(&house.export(&access, &etag).await.unwrap_err()), "SCOPE_CHANGED");
    // What is kept to stop her from coming back is hers, and says nothing; so is that a contact was counted.
    let etag = house.preview_export(&access).await.unwrap().etag;
    house.privacy.approve_privacy_request(approve(&access, &etag)).await.unwrap();
    let (left, _) = house.export(&access, &etag).await.unwrap();
    assert!(!left.contains("zqada"), "{left}");
    let left: Value = serde_json::from_str(&left).unwrap();
    assert_eq!(list(&left, "records").len() + list(&left, "statements").len() + list(&left, "profiles").len(), 0);
    assert_eq!((list(&left, "suppressions").len(), list(&left, "contacts").len()), (1, 1), "{left}");
    assert_eq!(list(&left, "suppressions")[0]["request"], erasure.as_str());

    let access = house.ask_for(Access, vec![at("email", "nobody@harbour-mail.net")]).await.unwrap();
    let etag = house.preview_export(&access).await.unwrap().etag;
    house.privacy.approve_privacy_request(approve(&access, &etag)).await.unwrap();
    assert_eq!(reason(&house.export(&access, &etag).await.unwrap_err()), "NOTHING_HELD");
    let get = pb::GetPrivacyRequestRequest { name: access };
    let open = house.privacy.get_privacy_request(get).await.unwrap().into_inner().request.unwrap();
    assert_eq!(open.state(), pb::PrivacyRequestState::Approved, "nothing was handed over, so nothing is written down");
    assert_eq!(open.delivered_to, "");
    house.close().await;
}

/// Two who were taken for one person, and are not: a record that went meanwhile is shown to whom it names, not to whom its
/// profile was left.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_back_from_a_profile_that_was_split_is_not_handed_to_the_wrong_half() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    prepare(&mut house).await;
    for who in ["ada", "bob"] {
        let mail = mail(who);
        let claims: &[(&str, &str)] = &[("email", &mail), ("phone", HOME_PHONE)];
        house.put(person("crm", &canary(who, "crm"), THEN, claims, &[])).await;
        house.put(person("shop", &canary(who, "gone"), THEN, claims, &[("note", &canary(who, "note"))])).await;
        house.retract("shop", &canary(who, "gone"), THEN + 1).await;
    }
    let both = house.lookup("email", &mail("ada")).await.unwrap().name;
    assert_eq!(house.lookup("email", &mail("bob")).await.unwrap().name, both, "one telephone, one person");
    let keys = (&*canary("ada", "crm"), &*canary("bob", "crm"));
    judge(&mut house, keys, ("crm", "crm"), pb::Verdict::Different, "two people").await;
    for (who, gone) in [("ada", "zqadagone"), ("bob", "zqbobgone")] {
        let name = house.ask_for(Access, vec![at("email", &mail(who))]).await.unwrap();
        let etag = house.preview_export(&name).await.unwrap().etag;
        let (text, _) = house.export(&name, &etag).await.unwrap();
        let found = canaries(&text);
        assert!(found.iter().all(|word| word.starts_with(&format!("zq{who}"))), "{who}: {found:?}");
        // All that was taken back stayed with the older half, and is shown to whom it names.
        let read: Value = serde_json::from_str(&text).unwrap();
        let unsure = list(&read, "withheld").iter().filter(|one| one["reason"] == "WHOSE_IS_UNSURE").count();
        assert_eq!((found.contains(gone), unsure), (true, usize::from(who == "ada")), "{who}");
    }
    house.close().await;
}

/// LAW 9.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_of_another_tenant_is_unknown() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    prepare(&mut house).await;
    arrive(&mut house, "ada").await;
    let tenant = pb::Tenant { name: "tenants/other".to_owned(), ..Default::default() };
    let request = pb::CreateTenantRequest { tenant: Some(tenant), ..Default::default() };
    house.admin.create_tenant(request).await.unwrap();
    let name = house.ask_for(Access, vec![at("email", &mail("ada"))]).await.unwrap();
    let etag = house.preview_export(&name).await.unwrap().etag;
    let elsewhere = name.replace("tenants/default", "tenants/other");
    assert_eq!(reason(&house.preview_export(&elsewhere).await.unwrap_err()), "PRIVACY_REQUEST_NOT_FOUND");
    assert_eq!(reason(&house.export(&elsewhere, &etag).await.unwrap_err()), "PRIVACY_REQUEST_NOT_FOUND");
    house.close().await;
}
