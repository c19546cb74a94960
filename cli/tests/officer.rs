//! README's minutes of a privacy officer, word by word, with the real binary: preview, erase, receipt, verify, import once more,
//! restore a backup of before.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod served;

use onefold_proto::v1 as pb;
use onefold_proto::v1::admin_service_client::AdminServiceClient;
use onefold_proto::v1::consent_service_client::ConsentServiceClient;
use onefold_proto::v1::ingest_service_client::IngestServiceClient;
use onefold_proto::v1::privacy_service_client::PrivacyServiceClient;

use self::served::{Served, onefold, run, text};

/// The line that a command tells to type next, in words, and without the program's name.
fn told(said: &str) -> Vec<&str> {
    let line = said.lines().find_map(|line| line.strip_prefix("  onefold erase ")).unwrap();
    std::iter::once("erase").chain(line.split(' ')).collect()
}

#[test]
fn preview_erase_receipt_verify_import_again_and_restore() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (data, file, receipt, backup, restored) =
        (at("data"), at("crm.csv"), at("receipt.json"), at("backup"), at("restored"));
    let rows = "id,email,first_name\n7,mia88@harbour-mail.net,Mia\n8,nora@harbour-mail.net,Nora\n";
    std::fs::write(&file, rows).unwrap();
    let served = Served::start(&data);
    served.fine(&["import", text(&file)]);
    served.fine(&["backup", text(&backup)]);
    let card = served.fine(&["lookup", "email", "mia88@harbour-mail.net"]);
    let profile = card.split_whitespace().find(|word| word.starts_with("p_")).unwrap().to_owned();

    let preview = served.fine(&["erase", "email", "mia88@harbour-mail.net"]);
    assert!(preview.contains("crm crm") || preview.contains("crm 7: member of p_"), "{preview}");
    assert!(preview.contains("nothing is erased yet"), "{preview}");
    let erased = served.fine(&[&told(&preview)[..], &["--receipt", text(&receipt)]].concat());
    assert!(erased.contains(": completed"), "{erased}");
    let (found, said) = served.run(&["lookup", "id", &profile]);
    assert!(!found && said.contains("PROFILE_ERASED"), "{said}");
    assert!(served.fine(&["audit", "verify", "--receipt", text(&receipt)]).contains("the receipt holds"));
    assert!(served.fine(&["audit", "verify"]).contains("the log is whole"));
    let open = served.fine(&["requests", "list", "--open"]);
    assert!(!open.contains("erasure"), "what was previewed is what was erased: {open}");
    let again = served.fine(&["import", text(&file)]);
    assert!(again.lines().any(|line| line.split_whitespace().take(2).eq(["suppressed", "1"])), "{again}");
    let list = served.fine(&["requests", "list"]);
    assert!(list.lines().any(|line| line.contains("completed") && line.ends_with('1')), "{list}");

    // A request that came in otherwise, as those of controllers do, waits for the officer to verify it.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let subject = pb::consent_subject::Subject::Identifier(pb::Identifier {
        namespace: "email".to_owned(),
        value: "nora@harbour-mail.net".to_owned(),
    });
    let request = pb::CreatePrivacyRequestRequest {
        kind: pb::PrivacyRequestKind::Erasure as i32,
        subjects: vec![pb::ConsentSubject { subject: Some(subject) }],
        ..Default::default()
    };
    let address = format!("http://{}", served.address);
    let taken = runtime.block_on(async {
        let mut client = PrivacyServiceClient::connect(address).await.unwrap();
        client.create_privacy_request(request).await.unwrap().into_inner().request.unwrap()
    });
    let number = taken.name.rsplit('/').next().unwrap().to_owned();
    let (erases, said) = served.run(&["erase", "--request", &number, "--yes"]);
    assert!(!erases && said.contains("PRIVACY_REQUEST_STATE"), "{said}");
    let verified = served.fine(&["requests", "verify", &number, "--method", "passport", "--by", "dpo"]);
    assert!(verified.contains(": verified") && verified.contains("verified by: dpo"), "{verified}");
    let cancelled = served.fine(&["requests", "cancel", &number, "--ground", "changed-their-mind"]);
    assert!(cancelled.contains(": cancelled"), "{cancelled}");
    served.stop();
    let whole = run(onefold().args(["audit", "verify"]).arg(&data));
    assert!(whole.0 && whole.1.contains("erasures: 1, all in the ledger"), "{}", whole.1);

    let ledger = data.join("erasures/ledger");
    let back = run(onefold().arg("restore").args([&backup, &restored]).arg("--ledger").arg(&ledger));
    assert!(back.0 && back.1.contains("since: 1, carried out by the first start"), "{}", back.1);
    let served = Served::start(&restored);
    let (found, said) = served.run(&["lookup", "id", &profile]);
    assert!(!found && said.contains("PROFILE_ERASED"), "{said}");
    let again = served.fine(&["import", text(&file)]);
    assert!(again.lines().any(|line| line.split_whitespace().take(2).eq(["suppressed", "1"])), "{again}");
    served.fine(&["lookup", "email", "nora@harbour-mail.net"]);
    served.stop();
}

/// A backup that was cut off was taken for a data directory, and files of an earlier one stayed in it: a root key among them.
#[test]
fn a_backup_that_was_cut_off_is_told_by_name_and_taken_again_without_what_was_left() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (data, backup) = (at("data"), at("backup"));
    let served = Served::start(&data);
    served.fine(&["backup", text(&backup)]);
    let (fine, said) = served.run(&["backup", text(&data)]);
    assert!(!fine && said.contains("is a data directory"), "{said}");

    std::fs::write(backup.join("FORMAT"), "onefold backup, not finished\n").unwrap();
    for left in ["keys/old.key", "vault/7"] {
        std::fs::write(backup.join(left), "of before").unwrap();
    }
    for manifest_too in [false, true] {
        if manifest_too {
            std::fs::remove_file(backup.join("manifest.json")).unwrap();
        }
        let serve = run(onefold().args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(&backup));
        assert!(!serve.0 && serve.1.contains("is an unfinished backup"), "{}", serve.1);
        let ledger = data.join("erasures/ledger");
        let back = run(onefold().arg("restore").args([&backup, &at("nowhere")]).arg("--ledger").arg(&ledger));
        assert!(!back.0 && back.1.contains("is an unfinished backup"), "{}", back.1);
        assert!(!at("nowhere").exists());
    }
    served.fine(&["backup", text(&backup)]);
    assert!(!backup.join("keys/old.key").exists() && !backup.join("vault/7").exists());
    served.fine(&["backup", text(&backup)]);
    let back = run(onefold()
        .arg("restore")
        .args([&backup, &at("restored")])
        .arg("--ledger")
        .arg(data.join("erasures/ledger")));
    assert!(back.0, "{}", back.1);
    served.stop();
}

fn hashed(text: &str) -> String {
    use base64::Engine as _;
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    base64::engine::general_purpose::STANDARD.encode(digest.as_ref())
}

/// Two numbers of two countries have one hash in a list of DROP: an objection stood at one of them only. An address that names
/// nobody to us (a blocked one) was answered "not found" while somebody held it, and a broken hash in the first row was taken
/// for a header.
#[test]
fn a_row_of_a_deletion_list_acts_on_all_that_it_means() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (file, list, answers) = (at("crm.csv"), at("drop.csv"), at("answers.csv"));
    let rows = "id,user_id,email,phone\n1,u1,ada@harbour-mail.net,+14155552671\n2,u2,berta@harbour-mail.net,+524155552671\n\
                3,u3,noreply@harbour-mail.net,\n4,u4,dora@harbour-mail.net,+13035550177\n";
    std::fs::write(&file, rows).unwrap();
    let served = Served::start(&at("data"));
    served.fine(&["import", text(&file), "--source", "crm"]);

    let drop = |rows: &str| {
        std::fs::write(&list, rows).unwrap();
        served.run(&["erase", "--drop", text(&list), "--answers", text(&answers), "--yes"])
    };
    let whole = hashed("dora@harbour-mail.net");
    let (fine, said) = drop(&format!("a,{}\nb,{whole}\n", &whole[1..]));
    assert!(!fine && said.contains("drop.csv:1: no cell is a base64 SHA-256"), "{said}");
    served.fine(&["lookup", "email", "dora@harbour-mail.net"]);

    let rows =
        [("a", "4155552671"), ("b", "noreply@harbour-mail.net")].map(|(id, of)| format!("{id},{}\n", hashed(of)));
    let (fine, said) = drop(&format!("ID,Hash\n{}", rows.concat()));
    assert!(fine, "{said}");
    let told = std::fs::read_to_string(&answers).unwrap();
    assert_eq!(told, "Id,Status\na,4\nb,3\n", "what the platform takes, and nothing else");
    for of in ["ada@harbour-mail.net", "berta@harbour-mail.net"] {
        let state = served.fine(&["consent", "state", "email", of, "--purpose", "sale_or_sharing", "--json"]);
        assert!(state.contains("OBJECTED"), "{of}: {state}");
    }
    assert!(!served.run(&["lookup", "record", "crm", "3"]).0, "it was hers alone: she is erased");
    let requests = served.fine(&["requests", "list", "--json"]);
    assert!(
        requests.contains("CCPA") && !requests.contains("GDPR"),
        "a list of California's is under its law: {requests}"
    );
    served.stop();
}

/// A list with everything that can become of a row, under a policy that asks for a second person: one whom an officer refuses
/// was erased under another name; one who was erased between two runs was answered "not found"; names were not compared, and
/// device ids with their dashes. The one who was answered is answered alike for ever.
#[test]
fn a_deletion_list_waits_for_the_officers_and_follows_them() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (file, list, answers) = (at("crm.csv"), at("drop.csv"), at("answers.csv"));
    let rows = "id,email,phone,given_name,family_name,birth_date,postcode,device_id\n\
                1,ada@harbour-mail.net,+14155552671,Ada,Byron,,,\n\
                2,,,Danielle,Johnson,1985-07-04,91790,\n\
                3,cleo@harbour-mail.net,,Cleo,Winter,,,a3f1c2d4-5678-90ab-cdef-1234567890ab\n";
    std::fs::write(&file, rows).unwrap();
    let served = Served::start(&at("data"));
    served.fine(&["import", text(&file), "--source", "crm"]);
    served.fine(&["requests", "policy", "--second-person", "true"]);

    let danielle = "PQOfn1RffEKmqMmNAzDKKaoZCwxWbQZkQzPWmQo9REA=";
    let rows = [
        ("mail00000000", hashed("ada@harbour-mail.net")),
        ("tel000000000", hashed("4155552671")),
        ("ndz000000000", danielle.to_owned()),
        ("maid00000000", hashed("a3f1c2d4567890abcdef1234567890ab")),
        ("nobody000000", hashed("nobody@harbour-mail.net")),
    ]
    .map(|(id, hash)| format!("{id},{hash}\n"));
    std::fs::write(&list, format!("ID,Hash\n{}", rows.concat())).unwrap();
    let drop = || {
        let (fine, said) = served.run(&["erase", "--drop", text(&list), "--answers", text(&answers), "--yes"]);
        (fine, said, std::fs::read_to_string(&answers).unwrap())
    };
    for _ in 0..2 {
        let (fine, said, told) = drop();
        assert!(!fine && said.contains("4 row(s) wait"), "{said}");
        assert_eq!(told, "Id,Status\nnobody000000,5\n", "what waits is not answered yet");
    }
    let log = std::fs::read_to_string(at("answers.csv.log")).unwrap();
    let request = |id: &str| {
        let row = log.lines().rfind(|row| row.starts_with(id)).unwrap();
        row.rsplit(['/', ',']).next().unwrap().to_owned()
    };
    assert_eq!(request("mail"), request("tel"), "one person, one request");

    // Ada is refused, Danielle is approved and carried out, Cleo waits on.
    served.fine(&["requests", "refuse", &request("mail"), "--ground", "legal-hold"]);
    let shown = served.fine(&["erase", "--request", &request("ndz")]);
    let mut words = self::told(&shown);
    let etag = words[words.iter().position(|word| *word == "--etag").unwrap() + 1];
    served.fine(&["requests", "approve", &request("ndz"), "--etag", etag, "--by", "berta"]);
    words.extend(["--receipt", "receipt.json"]);
    let receipt = at("receipt.json");
    *words.last_mut().unwrap() = text(&receipt);
    served.fine(&words);
    let (fine, said, told) = drop();
    assert!(!fine && said.contains("1 row(s) wait"), "{said}");
    assert_eq!(told, "Id,Status\nmail00000000,2\ntel000000000,2\nndz000000000,3\nnobody000000,5\n");
    served.fine(&["lookup", "email", "ada@harbour-mail.net"]);
    assert!(!served.run(&["lookup", "record", "crm", "2"]).0, "Danielle is erased");

    // A run that is cut off before its end forgets nothing.
    std::fs::remove_file(&answers).unwrap();
    assert_eq!(drop().2, told);
    served.stop();
}

/// A run that was cut off between an erasure and its answer said "not found" of whom it had erased, and of the person's other
/// rows.
#[test]
fn a_deletion_list_that_was_cut_off_behind_an_erasure_knows_whom_it_erased() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (file, list, answers, log) = (at("crm.csv"), at("drop.csv"), at("answers.csv"), at("answers.csv.log"));
    std::fs::write(&file, "id,email,phone\n1,ada@harbour-mail.net,+14155552671\n").unwrap();
    let served = Served::start(&at("data"));
    served.fine(&["import", text(&file), "--source", "crm"]);
    let rows = [("mail00000000", "ada@harbour-mail.net"), ("tel000000000", "4155552671")];
    let rows = rows.map(|(id, of)| format!("{id},{}\n", hashed(of)));
    std::fs::write(&list, format!("ID,Hash\n{}", rows.concat())).unwrap();
    let drop = || {
        served.fine(&["erase", "--drop", text(&list), "--answers", text(&answers), "--yes"]);
        std::fs::read_to_string(&answers).unwrap()
    };
    let told = drop();
    assert_eq!(told, "Id,Status\nmail00000000,3\ntel000000000,3\n");
    let kept = std::fs::read_to_string(&log).unwrap();
    let begun: Vec<&str> = kept.lines().take_while(|row| row.split(',').nth(2) != Some("3")).collect();
    std::fs::write(&log, begun.join("\n") + "\n").unwrap();
    assert_eq!(drop(), told);
    served.stop();
}

fn identifier(namespace: &str, value: &str) -> pb::Identifier {
    pb::Identifier { namespace: namespace.to_owned(), value: value.to_owned() }
}

/// A server, spoken to without the command line.
struct Wire {
    runtime: tokio::runtime::Runtime,
    address: String,
}

impl Wire {
    fn of(served: &Served) -> Self {
        Self { runtime: tokio::runtime::Runtime::new().unwrap(), address: format!("http://{}", served.address) }
    }

    /// A source without a contract, and one whose contract no fragment here meets.
    fn sources(&self) {
        let contract = pb::DataContract { require_any_namespace: vec!["tax_id".to_owned()], ..Default::default() };
        self.runtime.block_on(async {
            let mut admin = AdminServiceClient::connect(self.address.clone()).await.unwrap();
            for (name, contract) in [("crm", None), ("strict", Some(contract))] {
                let source = pb::Source { name: name.to_owned(), trust: 500, contract, ..Default::default() };
                let request = pb::PutSourceRequest { source: Some(source), ..Default::default() };
                admin.put_source(request).await.unwrap();
            }
        });
    }

    fn put(&self, source: &str, key: &str, identifiers: &[(&str, &str)], note: &str) -> pb::IngestStatus {
        let text = Some(pb::attribute::Value::Text(note.to_owned()));
        let fragment = pb::Fragment {
            record: Some(pb::SourceRecord { source: source.to_owned(), key: key.to_owned() }),
            observed_time: Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 0 }),
            party_kind: pb::PartyKind::Person as i32,
            identifiers: identifiers.iter().map(|(namespace, value)| identifier(namespace, value)).collect(),
            attributes: vec![pb::Attribute { name: "note".to_owned(), value: text }],
            ..Default::default()
        };
        let request = pb::PutFragmentRequest { fragment: Some(fragment), ..Default::default() };
        self.runtime.block_on(async {
            let mut client = IngestServiceClient::connect(self.address.clone()).await.unwrap();
            client.put_fragment(request).await.unwrap().into_inner().result.unwrap().status()
        })
    }

    fn retract(&self, key: &str) {
        let record = Some(pb::SourceRecord { source: "crm".to_owned(), key: key.to_owned() });
        let retraction = Some(pb::Retraction { record, observed_time: None });
        let request = pb::RetractRecordRequest { retraction, ..Default::default() };
        self.runtime.block_on(async {
            let mut client = IngestServiceClient::connect(self.address.clone()).await.unwrap();
            client.retract_record(request).await.unwrap();
        });
    }

    fn say(&self, namespace: &str, value: &str) {
        let subject = pb::consent_subject::Subject::Identifier(identifier(namespace, value));
        let saying = pb::ConsentSaying {
            purpose: "marketing".to_owned(),
            decision: pb::ConsentDecision::Withdrawn as i32,
            ..Default::default()
        };
        let request = pb::RecordConsentRequest {
            subject: Some(pb::ConsentSubject { subject: Some(subject) }),
            saying: Some(saying),
            ..Default::default()
        };
        self.runtime.block_on(async {
            let mut client = ConsentServiceClient::connect(self.address.clone()).await.unwrap();
            client.record_consent(request).await.unwrap();
        });
    }

    /// What is held outside live profiles, each value once.
    fn held(&self) -> std::collections::BTreeSet<String> {
        self.runtime.block_on(async {
            let mut client = PrivacyServiceClient::connect(self.address.clone()).await.unwrap();
            let request = pb::StreamHeldIdentifiersRequest::default();
            let mut stream = client.stream_held_identifiers(request).await.unwrap().into_inner();
            let mut held = std::collections::BTreeSet::new();
            while let Some(some) = stream.message().await.unwrap() {
                held.extend(some.held.into_iter().flat_map(|place| place.identifiers).map(|one| one.value));
            }
            held
        })
    }
}

/// Who was held in quarantine alone, of a record that was taken back, or by a statement about an address was answered "not
/// found", and stayed.
#[test]
fn a_deletion_list_finds_who_is_held_without_a_live_profile() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (list, answers) = (at("drop.csv"), at("answers.csv"));
    let served = Served::start(&at("data"));
    let wire = Wire::of(&served);
    wire.sources();
    let (kept, waits) = (pb::IngestStatus::Accepted, pb::IngestStatus::Quarantined);
    assert_eq!(wire.put("crm", "live", &[("email", "live@harbour-mail.net")], "-"), kept);
    wire.say("email", "live@harbour-mail.net");
    wire.say("email", "said@harbour-mail.net");
    let both = [("email", "waits@harbour-mail.net"), ("phone", "+14155557101")];
    assert_eq!(wire.put("strict", "waits", &both, "-"), waits);
    assert_eq!(wire.put("strict", "notes", &[], "write to noted@harbour-mail.net"), waits);
    let both = [("email", "gone@harbour-mail.net"), ("phone", "+14155557102"), ("device_id", "A3F1-7")];
    assert_eq!(wire.put("crm", "gone", &both, "-"), kept);
    wire.retract("gone");
    for user in ["u1", "u2"] {
        let of = [("email", "two@harbour-mail.net"), ("user_id", user)];
        assert_eq!(wire.put("crm", user, &of, "-"), kept);
        wire.retract(user);
    }
    wire.say("phone", "+14155552671");
    wire.say("phone", "+524155552671");
    let rows = [
        ("live", "live@harbour-mail.net", 3),
        ("said", "said@harbour-mail.net", 3),
        ("waits", "waits@harbour-mail.net", 3),
        ("calls", "4155557101", 3),
        ("noted", "noted@harbour-mail.net", 3),
        ("maid", "a3f17", 3),
        ("gone", "gone@harbour-mail.net", 3),
        ("rings", "4155557102", 3),
        ("two", "two@harbour-mail.net", 4),
        ("lands", "4155552671", 4),
        ("nobody", "nobody@harbour-mail.net", 5),
    ];
    let list_of: String = rows.iter().map(|(id, of, _)| format!("{id},{}\n", hashed(of))).collect();
    std::fs::write(&list, format!("ID,Hash\n{list_of}")).unwrap();
    let looked = served.fine(&["erase", "--drop", text(&list)]);
    let want = "11 row(s): 1 of one person each, 2 that several hold, 1 of nobody, 7 held without a live profile";
    assert!(looked.contains(want), "{looked}");
    let drop = || {
        served.fine(&["erase", "--drop", text(&list), "--answers", text(&answers), "--yes"]);
        std::fs::read_to_string(&answers).unwrap()
    };
    let want: String = rows.iter().map(|(id, _, code)| format!("{id},{code}\n")).collect();
    let want = format!("Id,Status\n{want}");
    // What is left is what leads to nobody, and what nobody may be sold by.
    let left: Vec<String> =
        ["+14155552671", "+524155552671", "two@harbour-mail.net", "u1", "u2"].map(str::to_owned).to_vec();
    for _ in 0..3 {
        assert_eq!(drop(), want);
        assert_eq!(wire.held().into_iter().collect::<Vec<_>>(), left);
        let state =
            served.fine(&["consent", "state", "phone", "+14155552671", "--purpose", "sale_or_sharing", "--json"]);
        assert!(state.contains("OBJECTED"), "{state}");
        for key in ["waits", "gone", "live"] {
            assert!(!served.run(&["lookup", "record", "crm", key]).0);
        }
    }
    let requests = served.fine(&["requests", "list"]);
    assert_eq!(requests.matches("completed").count(), 5, "one for each person: {requests}");
    // Who is let in and held again since is erased again.
    served.fine(&["requests", "readmit", "email", "said@harbour-mail.net", "--ground", "asked", "--by", "dpo"]);
    wire.say("email", "said@harbour-mail.net");
    assert!(wire.held().contains("said@harbour-mail.net"));
    assert_eq!(drop(), want);
    assert_eq!(wire.held().into_iter().collect::<Vec<_>>(), left);
    served.stop();
}

/// What is held without a live profile waits for the officers like everybody, one request a person, and follows them.
#[test]
fn who_is_held_without_a_live_profile_waits_for_the_officers_too() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (list, answers) = (at("drop.csv"), at("answers.csv"));
    let served = Served::start(&at("data"));
    let wire = Wire::of(&served);
    wire.sources();
    served.fine(&["requests", "policy", "--second-person", "true"]);
    let both = [("email", "gone@harbour-mail.net"), ("phone", "+14155557102")];
    wire.put("crm", "gone", &both, "-");
    wire.retract("gone");
    wire.say("email", "said@harbour-mail.net");
    // Kept by an officer under one name, and not erased under another: what was taken back shares it.
    wire.put("crm", "live", &[("email", "live@harbour-mail.net"), ("phone", "+14155557103")], "-");
    wire.put("crm", "old", &[("email", "old@harbour-mail.net"), ("phone", "+14155557103")], "-");
    wire.retract("old");
    let rows = [
        ("gone", "gone@harbour-mail.net"),
        ("rings", "4155557102"),
        ("said", "said@harbour-mail.net"),
        ("live", "live@harbour-mail.net"),
        ("old", "old@harbour-mail.net"),
    ];
    let rows: String = rows.iter().map(|(id, of)| format!("{id},{}\n", hashed(of))).collect();
    std::fs::write(&list, format!("ID,Hash\n{rows}")).unwrap();
    let drop = || {
        let (_, said) = served.run(&["erase", "--drop", text(&list), "--answers", text(&answers), "--yes"]);
        (said, std::fs::read_to_string(&answers).unwrap())
    };
    for _ in 0..2 {
        let (said, told) = drop();
        assert!(said.contains("5 row(s) wait") && told == "Id,Status\n", "{said}");
    }
    let request = |id: &str| {
        let log = std::fs::read_to_string(at("answers.csv.log")).unwrap();
        let row = log.lines().rfind(|row| row.starts_with(id)).unwrap().to_owned();
        row.rsplit(['/', ',']).next().unwrap().to_owned()
    };
    assert_eq!(request("gone"), request("rings"), "one person, one request");
    assert_eq!(request("live"), request("old"));
    served.fine(&["requests", "refuse", &request("said"), "--ground", "legal-hold"]);
    served.fine(&["requests", "refuse", &request("live"), "--ground", "legal-hold"]);
    let shown = served.fine(&["erase", "--request", &request("gone")]);
    let words = self::told(&shown);
    let etag = words[words.iter().position(|word| *word == "--etag").unwrap() + 1];
    served.fine(&["requests", "approve", &request("gone"), "--etag", etag, "--by", "berta"]);
    let want = "Id,Status\ngone,3\nrings,3\nsaid,2\nlive,2\nold,2\n";
    for _ in 0..2 {
        let (said, told) = drop();
        assert_eq!(told, want, "{said}");
    }
    assert!(wire.held().contains("said@harbour-mail.net") && wire.held().contains("old@harbour-mail.net"));
    served.stop();
}
