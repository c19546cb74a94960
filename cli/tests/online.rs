//! The commands that talk to a server, as their users meet them: the real binary on both ends.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "online/campaign.rs"]
mod campaign;

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use onefold_cli::generate::{Population, Sizes, write};
use serde_json::Value;

/// `onefold serve` as a child process.
struct Served {
    child: Child,
    address: String,
}

impl Served {
    /// Starts on this directory and waits until it listens. Port 0 takes a free one.
    fn start(data: &Path, listen: &str) -> Self {
        let mut child = onefold()
            .args(["serve", "--listen", listen, "--log", "warn", "--data"])
            .arg(data)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut banner = String::new();
        lines.read_line(&mut banner).unwrap();
        let address = banner.trim().rsplit(' ').next().unwrap().to_owned();
        assert!(banner.contains("serves on 127.0.0.1:"), "{banner:?}");
        // The pipe stays open and read, so that the server can say its last words.
        std::thread::spawn(move || lines.read_to_end(&mut Vec::new()));
        Self { child, address }
    }

    fn run(&self, arguments: &[&str]) -> Said {
        said(onefold().args(arguments).env("ONEFOLD_ADDR", &self.address).output().unwrap())
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let said = self.run(&[arguments, &["--json"]].concat());
        serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {} {}", said.out, said.err))
    }

    /// As a power cut does it: no word, no flush.
    fn kill(mut self) -> String {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::mem::take(&mut self.address)
    }

    /// Asks for an orderly end.
    fn terminate(mut self) -> Option<i32> {
        Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn onefold() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_onefold"));
    command.stdin(Stdio::null()).env_remove("ONEFOLD_ADDR").env_remove("ONEFOLD_TENANT").env_remove("ONEFOLD_LOG");
    command
}

struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

fn said(output: Output) -> Said {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// Files of several systems for so many people.
fn population(folder: &Path, people: u32) -> Vec<String> {
    write::directory(Population::new(11, Sizes { people, companies: people / 20 }), folder, |_| {}).unwrap();
    let files = ["crm.csv", "webshop.csv", "support.ndjson", "pos.tsv", "newsletter.csv", "events.ndjson", "erp.csv"];
    files.iter().map(|file| folder.join(file).display().to_string()).collect()
}

fn number(value: &Value, field: &str) -> u64 {
    value[field].as_u64().unwrap_or_else(|| panic!("{field} in {value}"))
}

#[test]
fn a_second_import_is_all_duplicates_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let files = population(folder.path(), 300);
    let served = Served::start(&folder.path().join("data"), "127.0.0.1:0");
    let import: Vec<&str> = std::iter::once("import").chain(files.iter().map(String::as_str)).collect();

    let first = served.json(&import);
    let rows = number(&first, "rows");
    assert!(rows > 700, "{first}");
    assert_eq!((number(&first, "accepted"), number(&first, "rejected")), (rows, 0), "{first}");
    let digest = served.json(&["digest", "--golden"]);

    let second = served.json(&import);
    assert_eq!((number(&second, "duplicates"), number(&second, "accepted")), (rows, 0), "{second}");
    let again = served.json(&["digest", "--golden"]);
    for field in ["graphDigest", "goldenDigest", "liveRecordCount", "sequence"] {
        assert_eq!(digest[field], again[field], "{field}");
    }
    assert_eq!(digest["liveRecordCount"], rows.to_string(), "64-bit numbers are text in proto JSON");

    // A corrected file is newer than what it corrects.
    let list = folder.path().join("list.csv");
    let list_text = list.display().to_string();
    std::fs::write(&list, "id,email,first_name\n7,ada@lovelace-mail.org,Ada\n").unwrap();
    assert_eq!(number(&served.json(&["import", &list_text]), "accepted"), 1);
    std::fs::write(&list, "id,email,first_name\n7,ada@lovelace-mail.org,Augusta\n").unwrap();
    assert_eq!(number(&served.json(&["import", &list_text]), "accepted"), 1);
    let card = served.run(&["lookup", "email", "ADA@lovelace-mail.org", "--full"]);
    assert!(
        card.out.contains("Augusta") && card.out.contains("list:7") && card.out.contains("1 record"),
        "{}",
        card.out
    );
    assert!(card.out.contains("grpcurl -plaintext -d '{"), "{}", card.out);
    assert_eq!(served.terminate(), Some(0), "an orderly end is no failure");
}

#[test]
fn a_kill_in_the_middle_of_an_import_loses_and_doubles_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let files = population(folder.path(), 4_000);
    let arguments: Vec<&str> =
        ["import", "--json", "--retry-seconds", "120"].into_iter().chain(files.iter().map(String::as_str)).collect();

    let unbroken = Served::start(&folder.path().join("unbroken"), "127.0.0.1:0");
    let whole: Value = serde_json::from_str(&unbroken.run(&arguments).out).unwrap();
    let rows = number(&whole, "rows");
    let want = unbroken.json(&["digest", "--golden"]);
    drop(unbroken);

    let data = folder.path().join("broken");
    let first = Served::start(&data, "127.0.0.1:0");
    let import = onefold()
        .args(&arguments)
        .env("ONEFOLD_ADDR", &first.address)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Somewhere in the middle: some rows are in, and not all.
    let landed = |served: &Served| served.json(&["stats"])["liveRecordCount"].as_str().unwrap().parse::<u64>().unwrap();
    while landed(&first) < rows / 10 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let address = first.kill();
    let second = Served::start(&data, &address);
    let outcome = said(import.wait_with_output().unwrap());
    assert_eq!(outcome.code, Some(0), "{}", outcome.err);
    let told: Value = serde_json::from_str(&outcome.out).unwrap();
    assert_eq!(number(&told, "rows"), rows, "each row has one answer: {told}");
    assert!(number(&told, "reconnects") >= 1, "the kill came too late to test anything: {told}");
    assert_eq!(number(&told, "accepted") + number(&told, "duplicatesResent"), rows, "{told}");

    let got = second.json(&["digest", "--golden"]);
    for field in ["graphDigest", "goldenDigest", "liveRecordCount", "profileCount"] {
        assert_eq!(got[field], want[field], "{field}");
    }
}

#[test]
fn what_breaks_its_contract_waits_and_comes_in_after_the_fix() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::start(&folder.path().join("data"), "127.0.0.1:0");
    let contract = folder.path().join("contract.json");
    std::fs::write(
        &contract,
        r#"{"requireAnyNamespace": ["email"], "attributes": [{"name": "given_name", "required": true}]}"#,
    )
    .unwrap();
    let put = served.run(&["source", "put", "leads", "--trust", "300", "--contract", contract.to_str().unwrap()]);
    assert_eq!(put.code, Some(0), "{}", put.err);
    let leads = folder.path().join("leads.csv");
    std::fs::write(&leads, "id,email,first_name\n1,a@acme-corp.com,Ada\n2,,Bob\n3,c@acme-corp.com,\nbroken\n").unwrap();

    let import = served.run(&["import", leads.to_str().unwrap()]);
    assert_eq!(import.code, Some(1), "a rejected row shows in the exit code");
    for part in
        ["line 3: identifiers: at least one", "line 4: attributes[given_name]: is required", "line 5: has 1 field"]
    {
        assert!(import.out.contains(part), "{part}: {}", import.out);
    }
    let list = served.json(&["quarantine", "list"]);
    assert_eq!(list["totalSize"], "2");
    let held: Vec<&str> =
        list["quarantined"].as_array().unwrap().iter().map(|one| one["record"]["key"].as_str().unwrap()).collect();
    assert_eq!(held, ["3", "2"], "newest first");

    let still = served.json(&["quarantine", "replay"]);
    assert_eq!((&still["releasedCount"], &still["keptCount"]), (&"0".into(), &"2".into()), "nothing was mended yet");
    // Mended in part: a name is no longer asked for. What is not named of the source stays as it was.
    std::fs::write(&contract, r#"{"requireAnyNamespace": ["email"]}"#).unwrap();
    served.run(&["source", "put", "leads", "--contract", contract.to_str().unwrap()]);
    let sources = served.json(&["source", "list"]);
    assert_eq!(sources["sources"][0]["trust"], 300);
    let part = served.json(&["quarantine", "replay"]);
    assert_eq!((&part["releasedCount"], &part["keptCount"]), (&"1".into(), &"1".into()));
    let id = served.json(&["quarantine", "list"])["quarantined"][0]["quarantineId"].as_str().unwrap().to_owned();
    let gone = served.run(&["quarantine", "discard", &id]);
    assert!(gone.out.contains("1 discarded\n"), "{} {}", gone.out, gone.err);
    let again = served.run(&["quarantine", "discard", &id]);
    assert!(again.out.contains("0 discarded; 1 not there"), "{} {}", again.out, again.err);
    assert_eq!(served.json(&["stats"])["liveRecordCount"], "2");
}

#[test]
fn links_and_refusals_are_explained_and_ids_live_on() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::start(&folder.path().join("data"), "127.0.0.1:0");
    let import = |name: &str, text: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        let said = served.run(&["import", file.to_str().unwrap()]);
        assert_eq!(said.code, Some(0), "{} {}", said.out, said.err);
    };
    import("crm.csv", "id,email,first_name,user_id\n1,ada@acme-corp.com,Ada,\n2,,Bob,u1\n3,,Rob,u2\n");
    import("pos.csv", "id,phone,loyalty_id\n9,+1 212 736 5000,L77\n");
    let before = served.json(&["lookup", "record", "pos", "9"])["name"].as_str().unwrap().to_owned();
    let kept = served.json(&["lookup", "record", "crm", "1"])["name"].as_str().unwrap().to_owned();
    assert_ne!(before, kept);
    import("web.csv", "id,email,phone\n5,Ada@ACME-corp.com,(212) 736-5000\n");

    let why = served.run(&["explain", "crm:1", "pos:9"]);
    let chain =
        ["crm:1\n    │  email ada@acme-corp.com", "\n  web:5\n    │  phone +12127365000", "weakest", "\n  pos:9\n"];
    for part in chain {
        assert!(why.out.contains(part), "{part:?} in {} {}", why.out, why.err);
    }
    let apart = served.run(&["explain", "crm:2", "crm:3"]);
    assert!(apart.out.contains("are not one profile") && apart.out.contains("NO_SHARED_KEY"), "{}", apart.out);

    let id = before.rsplit('/').next().unwrap();
    let short = kept.rsplit('/').next().unwrap();
    let history = served.run(&["history", id]);
    assert!(history.out.contains(&format!("{id} lives on in {short}")), "{}", history.out);
    assert!(history.out.contains(&format!("merged into {short}")), "{}", history.out);
    let redirected = served.run(&["lookup", "id", id]);
    assert!(redirected.out.starts_with(&format!("{id} lives on in {short}")), "{}", redirected.out);
    let how = served.run(&["explain", short]);
    assert!(how.out.contains("held together by 2 links") && how.out.contains("fall apart"), "{}", how.out);

    let feed = served.run(&["watch", "--stop-at-end", "--json"]);
    let messages: Vec<Value> = feed.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let merged = messages.iter().find(|one| one["event"]["kind"] == "PROFILE_EVENT_KIND_MERGED").unwrap();
    assert_eq!((&merged["event"]["profile"], &merged["event"]["others"][0]), (&before.into(), &kept.into()));
    // Each names the one before it: no gap, and a later cursor gives the rest.
    for pair in messages.windows(2) {
        assert_eq!(pair[1]["event"]["previousSequence"], pair[0]["event"]["sequence"]);
    }
    let cursor = messages[1]["cursor"].as_str().unwrap();
    let rest = served.run(&["watch", "--stop-at-end", "--json", "--cursor", cursor]);
    assert_eq!(rest.out.lines().count(), messages.len() - 2);
    let snapshot = served.run(&["watch", "--snapshot", "--stop-at-end"]);
    assert!(snapshot.out.contains("3 profiles; what follows happened since"), "{}", snapshot.out);
}

#[test]
fn what_goes_wrong_is_said_on_one_screen() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::start(&folder.path().join("data"), "127.0.0.1:0");
    let file = folder.path().join("x.csv");
    std::fs::write(&file, "id,email\n1,someone@acme-corp.com\n").unwrap();
    let file = file.to_str().unwrap();
    served.run(&["import", file]);
    let table: &[(&[&str], i32, &[&str])] = &[
        (&["stats", "--to", "127.0.0.1:1"], 1, &["no server answers at 127.0.0.1:1", "refused", "onefold serve"]),
        (&["stats", "--to", "localhost"], 2, &["names no port", "localhost:7700"]),
        (&["stats", "--to", "https://localhost:1"], 1, &["no server answers at https://localhost:1"]),
        (&["stats", "--tenant", "nobody"], 1, &["TENANT_UNKNOWN", "onefold tenant list"]),
        (&["lookup", "emial", "a@b.de"], 1, &["identifier.namespace", "the nearest is `email`"]),
        (&["lookup", "email", "other@acme-corp.com"], 1, &["PROFILE_NOT_FOUND"]),
        (&["lookup", "record", "y", "1"], 1, &["record.source", "the nearest is `x`"]),
        (&["lookup", "record", "1"], 2, &["lookup record SOURCE 1"]),
        (&["lookup", "id", "p_1"], 2, &["`p_1` is no profile id"]),
        (&["explain", "x:1", "x"], 2, &["`x` is no record: write SOURCE:KEY"]),
        (&["explain", "x:1"], 2, &["one record alone"]),
        (&["import", "none.csv"], 1, &["none.csv: cannot be opened"]),
        (
            &["import", file, "--source", "z", "--create-sources=false"],
            1,
            &["no source `z`", "did you mean `x`", "source put"],
        ),
        (&["import", file, "--source", "No Good"], 1, &["source.name"]),
        (&["source", "put", "s", "--contract", "none.json"], 2, &["none.json: cannot be read"]),
        (&["source", "put", "s", "--contract", file], 2, &["is no DataContract as JSON", "requireAnyNamespace"]),
        (&["watch", "--cursor", "999999", "--stop-at-end"], 1, &["CURSOR_AHEAD"]),
        (&["tenant", "create", "default"], 1, &["ALREADY_EXISTS"]),
        (&["tenant", "update", "default", "--survivorship", "x=best"], 2, &["most-recent, most-trusted"]),
        (&["serve", "--listen", "0.0.0.0:0", "--data", "nowhere"], 2, &["--allow-insecure-remote"]),
    ];
    for (arguments, code, parts) in table {
        let said = served.run(arguments);
        assert_eq!(said.code, Some(*code), "{arguments:?}: {} {}", said.out, said.err);
        for part in *parts {
            assert!(said.err.contains(part), "{arguments:?} should say {part:?}: {}", said.err);
        }
        assert!(said.err.lines().count() <= 8, "{arguments:?} says too much: {}", said.err);
    }
    let data = folder.path().join("data");
    let taken = served.run(&["serve", "--listen", "127.0.0.1:0", "--data", data.to_str().unwrap()]);
    assert!(taken.code == Some(1) && taken.err.contains("in use by another process"), "{}", taken.err);
    let port = served.run(&["serve", "--listen", &served.address, "--data", "elsewhere"]);
    assert!(port.code == Some(1) && port.err.contains("another server listens there"), "{}", port.err);
}

#[test]
fn rows_without_a_key_are_known_by_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::start(&folder.path().join("data"), "127.0.0.1:0");
    let [one, two] = ["one.csv", "two.csv"].map(|name| folder.path().join(name).display().to_string());
    std::fs::write(&one, "email,2nd_note\na@acme-corp.com,x\nb@acme-corp.com,y\n").unwrap();
    std::fs::write(&two, "email,source\nc@acme-corp.com,list\n").unwrap();
    let both = served.run(&["import", &one, &two, "--source", "list"]);
    assert!(both.out.contains("a row's key is its place, as in one.csv:2"), "{}", both.out);
    // Alone, in another order, from another command: the same records.
    let alone = served.json(&["import", &two, "--source", "list"]);
    assert_eq!(number(&alone, "duplicates"), 1);
    // A pipe has no time of its own: the same rows again are no news.
    for field in ["accepted", "duplicates"] {
        let mut piped = onefold();
        piped.args(["import", "-", "--json"]).env("ONEFOLD_ADDR", &served.address);
        piped.stdin(std::fs::File::open(&two).unwrap());
        let told: Value = serde_json::from_str(&said(piped.output().unwrap()).out).unwrap();
        assert_eq!(number(&told, field), 1, "{told}");
    }
    let card = served.json(&["lookup", "record", "list", "one.csv:3", "--full"]);
    assert_eq!(card["identifiers"][0]["value"], "b@acme-corp.com");
    assert_eq!(card["values"][0]["name"], "_2nd_note", "a header becomes a name that the wire takes");
}

#[test]
fn a_log_of_changes_ends_where_its_table_ended() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::start(&folder.path().join("data"), "127.0.0.1:0");
    let file = folder.path().join("cdc.ndjson");
    let change = |op: &str, key: &str, email: &str, at: u64| {
        let row = format!(r#"{{"{key}":7,"email":"{email}"}}"#);
        let (before, after) = if op == "d" { (row.as_str(), "null") } else { ("null", row.as_str()) };
        format!(r#"{{"op":"{op}","before":{before},"after":{after},"source":{{"table":"people"}},"ts_ms":{at}}}"#)
            + "\n"
    };
    let log = |key| {
        change("c", key, "old@acme-corp.com", 1_700_000_000_000)
            + &change("u", key, "new@acme-corp.com", 1_700_000_001_000)
    };
    std::fs::write(&file, log("id")).unwrap();
    let path = file.to_str().unwrap();
    assert_eq!(number(&served.json(&["import", path]), "accepted"), 2);
    let card = served.run(&["lookup", "record", "people", "7"]);
    assert!(card.out.contains("new@acme-corp.com") && !card.out.contains("old@"), "{} {}", card.out, card.err);
    std::fs::write(&file, log("id") + &change("d", "id", "new@acme-corp.com", 1_700_000_002_000)).unwrap();
    assert_eq!(served.run(&["import", path]).code, Some(0));
    assert!(served.run(&["lookup", "record", "people", "7"]).err.contains("PROFILE_"), "it was retracted");
    assert_eq!(served.json(&["stats"])["liveRecordCount"], "0");
    // A row that takes back nothing that can be named is refused, not guessed at.
    std::fs::write(&file, change("d", "number", "x@acme-corp.com", 1_700_000_003_000)).unwrap();
    let nameless = served.run(&["import", path]);
    assert_eq!(nameless.code, Some(1));
    assert!(nameless.out.contains("line 1: takes a record back and names none"), "{}", nameless.out);
}

#[test]
fn tenants_and_namespaces_are_kept_and_changed() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::start(&folder.path().join("data"), "127.0.0.1:0");
    assert_eq!(served.run(&["tenant", "create", "acme", "--region", "de"]).code, Some(0));
    let tenants = served.json(&["tenant", "list"]);
    assert_eq!(tenants["tenants"][0]["name"], "tenants/acme");
    assert_eq!(tenants["tenants"][0]["defaultRegion"], "DE");
    let rule = ["tenant", "update", "acme", "--display-name", "Acme", "--survivorship", "given_name=longest"];
    let updated = served.json(&rule);
    assert_eq!((&updated["displayName"], &updated["defaultRegion"]), (&"Acme".into(), &"DE".into()), "the rest stays");
    assert_eq!(updated["survivorship"]["given_name"], "SURVIVORSHIP_RULE_LONGEST");

    let made = served.json(&[
        "namespace",
        "put",
        "membership",
        "--class",
        "identifying",
        "--normaliser",
        "folded",
        "--tenant",
        "acme",
    ]);
    assert_eq!(made["class"], "NAMESPACE_CLASS_IDENTIFYING");
    let file = folder.path().join("m.csv");
    std::fs::write(&file, "id,membership,first_name\n1,M-1,Robert\n2,m-1 ,Bob\n").unwrap();
    let mapping = folder.path().join("m.toml");
    std::fs::write(&mapping, "[columns]\nmembership = \"identifier:membership\"\n[namespaces.membership]\n").unwrap();
    let (file, mapping) = (file.to_str().unwrap(), mapping.to_str().unwrap());
    assert_eq!(number(&served.json(&["import", file, "--mapping", mapping, "--tenant", "acme"]), "accepted"), 2);
    let count = || served.json(&["stats", "--tenant", "acme"])["profileCount"].as_str().unwrap().to_owned();
    assert_eq!(count(), "1", "folded values are one value");
    let card = served.json(&["lookup", "membership", "M-1", "--tenant", "acme"]);
    assert_eq!(card["values"][0]["text"], "Robert", "the longest, by the tenant's rule");
    assert_eq!(served.json(&["stats"])["liveRecordCount"], "0", "the other tenant sees nothing");

    // A change of one law keeps the others, and what hung on it comes apart.
    let blocked = served.json(&["namespace", "put", "membership", "--block", "m-1", "--tenant", "acme"]);
    assert_eq!((&blocked["normaliser"], &blocked["blockedValues"][0]), (&"NORMALISER_FOLDED".into(), &"m-1".into()));
    assert_eq!(count(), "2");
    served.run(&["namespace", "put", "membership", "--unblock", "m-1", "--tenant", "acme"]);
    assert_eq!(count(), "1");
}

#[test]
fn the_demo_shows_one_person_and_why_in_little_time() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("demo");
    let mut child = onefold()
        .args(["demo", "--once", "--people", "600", "--listen", "127.0.0.1:0", "--data"])
        .arg(&data)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Far over what it needs, also for a debug build on a busy machine.
    for _ in 0..1_200 {
        if child.try_wait().unwrap().is_some() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(child.try_wait().unwrap().is_some(), "the demo takes longer than a minute");
    let said = said(child.wait_with_output().unwrap());
    assert_eq!(said.code, Some(0), "{} {}", said.out, said.err);
    for part in ["one of them, unified", "are one profile", "weakest", "lookup ", "explain ", "watch --snapshot"] {
        assert!(said.out.contains(part), "{part}: {}", said.out);
    }
    // What it showed is there for a server that is started on the same directory.
    let served = Served::start(&data, "127.0.0.1:0");
    let name = said.out.lines().find_map(|line| line.strip_prefix("p_")).unwrap();
    let id = format!("p_{}", name.split(' ').next().unwrap());
    assert_eq!(served.run(&["lookup", "id", &id]).code, Some(0));
}

#[test]
fn the_wire_contract_is_exported_whole() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("proto");
    let said = said(onefold().args(["proto", "export", "--out"]).arg(&out).output().unwrap());
    assert_eq!(said.code, Some(0), "{}", said.err);
    let whole = std::fs::read_dir(out.join("onefold/v1")).unwrap().count();
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/proto/onefold/v1");
    assert_eq!(whole, std::fs::read_dir(own).unwrap().count(), "a file of the contract is missing");
}

#[test]
fn accounts_and_stages_are_told_shown_and_loaded_from_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::start(&folder.path().join("data"), "127.0.0.1:0");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    assert_eq!(served.run(&["source", "put", "crm"]).code, Some(0));

    let bad = file("bad.csv", "key,name,parent\nhq,Acme,\nde,Acme DE,hq\nde,Acme DE,hq\nx,X,y\ny,Y,x\nz,Z,nobody\n");
    let told = served.run(&["account", "import", &bad]);
    assert_eq!(told.code, Some(1), "{}", told.err);
    for want in ["bad.csv:4: record: ", "bad.csv:5: parent: ", "bad.csv:6: parent: ", "bad.csv:7: parent: "] {
        assert!(told.out.contains(want), "{want} in {}", told.out);
    }
    assert!(told.err.contains("nothing was taken in"), "{}", told.err);
    assert_eq!(served.run(&["account", "get", "crm:hq"]).code, Some(1));

    // What cannot be read of a row is told beside what is wrong with the others, and hides nothing of them.
    let torn = file(
        "torn.csv",
        "key,name,parent,kind,since\nhq,Acme,,firm,\nde,DE\nat,AT,de,,soon\nch,CH,nobody,,\nli,LI,li,,\n",
    );
    let told = served.run(&["account", "import", &torn]);
    assert_eq!(told.code, Some(1), "{}", told.err);
    let wants = ["2: row: kind", "3: row: has 2 columns, the header 5", "4: row: since", "5: parent: ", "6: parent: "];
    let lines: Vec<&str> = told.out.lines().filter(|line| line.contains("torn.csv:")).collect();
    assert_eq!(lines.len(), wants.len(), "{}", told.out);
    for (line, want) in lines.iter().zip(wants) {
        assert!(line.contains(&format!("torn.csv:{want}")), "{want} in {}", told.out);
    }
    let shown = served.run(&["account", "import", &torn, "--json"]);
    assert!(shown.out.contains("has 2 columns"), "{}", shown.out);

    // Latin-1 is read as such, and what is no UTF-8 where that was asked for is refused row by row.
    let latin = folder.path().join("latin.csv");
    std::fs::write(&latin, b"key,name,parent\nM\xfcller,One,\nM\xe4ller,Two,M\xfcller\nM\xfcller,Three,\n").unwrap();
    let latin = latin.display().to_string();
    let told = served.run(&["account", "import", &latin]);
    assert!(told.code == Some(1) && told.err.contains("Latin-1"), "{}", told.err);
    let lines: Vec<&str> = told.out.lines().filter(|line| line.contains("latin.csv:")).collect();
    assert!(lines.len() == 1 && lines[0].contains(":4: record: the account stands"), "{}", told.out);
    let told = served.run(&["account", "import", &latin, "--encoding", "utf-8"]);
    assert_eq!(told.out.matches("row: is damaged").count(), 3, "{}", told.out);
    // A quote that is open to the end, or to another row's quotes, swallowed the rows behind it without a word.
    for (name, text) in [
        ("open.csv", "key,parent,name\nhq,,Acme\nde,hq,\"Acme DE\nat,hq,Acme AT\nch,hq,Acme CH\n"),
        ("closed.csv", "key,parent,name\nhq,,Acme\nde,hq,\"Acme DE\nat,hq,\"Acme, AT\"\nch,hq,Acme CH\n"),
    ] {
        let told = served.run(&["account", "import", &file(name, text)]);
        assert_eq!(told.code, Some(1), "{}{}", told.out, told.err);
        assert!(told.out.contains(&format!("{name}:3: row: ")) && told.out.contains("quote"), "{}", told.out);
        assert_eq!(served.run(&["account", "get", "crm:hq"]).code, Some(1), "{name}: nothing was taken in");
    }
    // Of two columns of one name the second was passed over.
    for (name, header, row) in
        [("twice.csv", "key,name,parent,Parent", "hq,Acme,,nobody"), ("keys.csv", "key,key,name", "hq,de,Acme")]
    {
        let told = served.run(&["account", "import", &file(name, &format!("{header}\n{row}\n"))]);
        assert_eq!(told.code, Some(2), "{}{}", told.out, told.err);
        assert!(told.err.contains(&format!("{name}:1: ")) && told.err.contains("2 times"), "{}", told.err);
    }
    // As spreadsheets save it: UTF-16 with semicolons.
    let wide = folder.path().join("wide.csv");
    let text = "\u{feff}key;name;parent\r\nhq;Acme Zürich;\r\nde;Acme DE;hq\r\n";
    std::fs::write(&wide, text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>()).unwrap();
    let looked = served.run(&["account", "import", "--check", &wide.display().to_string()]);
    assert!(looked.code == Some(0) && looked.out.contains("2 rows without a fault"), "{}{}", looked.out, looked.err);

    let good = file("good.csv", "key,name,parent,domains\nde,Acme DE,hq,\nhq,Acme,,acme-works.com\nat,Acme AT,de,\n");
    let loaded = served.json(&["account", "import", &good]);
    assert_eq!(loaded["accountCount"], 3);
    let cut = served.run(&["account", "tree", "crm:hq", "--most", "2", "--json"]);
    assert!(cut.err.contains("more than 2 accounts"), "{}", cut.err);
    let cut: Value = serde_json::from_str(&cut.out).unwrap();
    assert_eq!((cut["accounts"].as_array().unwrap().len(), &cut["more"]), (2, &true.into()));
    assert!(!served.run(&["account", "tree", "crm:hq", "--json"]).err.contains("more than"));
    assert_eq!(served.json(&["account", "tree", "crm:hq"])["more"], false);
    let tree = served.run(&["account", "tree", "crm:hq"]);
    let names: Vec<&str> = tree.out.lines().take(3).map(|line| line.split("  a_").next().unwrap()).collect();
    assert_eq!(names, ["Acme", "  Acme DE", "    Acme AT"], "{}", tree.out);
    assert!(tree.out.contains("grpcurl -plaintext -d '{"), "{}", tree.out);

    let refused = served.run(&["account", "move", "crm:hq", "crm:at"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.contains("cycle"), "{}", refused.err);
    let moved = served.json(&["account", "move", "crm:at", "crm:hq"]);
    assert_eq!(moved["ancestors"][0]["displayName"], "Acme");
    let id = moved["name"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    let card = served.run(&["account", "get", &id]);
    assert!(card.out.contains("Acme AT") && card.out.contains("crm:at"), "{}", card.out);
    assert_eq!(served.run(&["account", "put", "crm:ch", "Acme CH", "--parent", &id, "--owner", "Ruth"]).code, Some(0));
    assert_eq!(served.run(&["account", "close", "crm:ch"]).code, Some(0));

    let stages = file(
        "stages.json",
        r#"{"persons":{"stages":[{"name":"lead","initial":true,"next":["customer"]},{"name":"customer"}]}}"#,
    );
    assert_eq!(served.run(&["stage", "define", &stages]).code, Some(0));
    let person = file("people.csv", "id,email\n1,ada@acme-works.com\n");
    assert_eq!(served.run(&["import", &person, "--source", "crm"]).code, Some(0));
    let proposed = served.json(&["account", "propose", "crm:1"]);
    assert_eq!(proposed["proposals"][0]["evidence"][0]["reason"], "ACCOUNT_DOMAIN");
    assert_eq!(served.run(&["account", "confirm", "crm:1", "crm:hq", "--role", "buyer"]).code, Some(0));
    let refused = served.run(&["stage", "set", "customer", "crm:1"]);
    assert!(refused.code == Some(1) && refused.err.contains("lead"), "{}", refused.err);
    assert_eq!(served.run(&["stage", "set", "lead", "crm:1"]).code, Some(0));
    assert_eq!(served.json(&["stage", "show", "crm:1"])["stage"]["stage"], "lead");
    assert!(served.run(&["stage", "history", "crm:1"]).out.contains("lead"));
    let sum = served.json(&["account", "rollup", "crm:hq"]);
    assert_eq!(
        (&sum["accountCount"], &sum["closedAccountCount"], &sum["personCount"]),
        (&"4".into(), &"1".into(), &"1".into())
    );
    let roles = served.run(&["account", "affiliate", "--of-account", "crm:hq"]);
    assert!(
        roles.out.contains("crm:1") && roles.out.contains("buyer") && roles.out.contains("confirmed"),
        "{}",
        roles.out
    );
    assert_eq!(served.terminate(), Some(0));
}

#[test]
fn a_load_is_made_as_asked_and_told_in_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let served = Served::start(&dir.path().join("data"), "127.0.0.1:0");
    let common = ["--to", &served.address, "--records", "1500", "--seconds", "1", "--json"];
    for (load, rate, kinds) in [
        ("lookup", "300", &["lookups"][..]),
        ("batch", "20", &["batch lookups of 50"]),
        ("decide", "100", &["contact decisions"]),
        ("ingest", "200", &["fragments"]),
        ("mixed", "100", &["lookups", "fragments"]),
    ] {
        let said = served.run(&[&["bench", load, "--rate", rate], &common[..]].concat());
        let told: Value =
            serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("{load}: {}{}", said.out, said.err));
        let told = told.as_array().unwrap();
        assert_eq!(told.iter().map(|one| one["what"].as_str().unwrap()).collect::<Vec<_>>(), kinds, "{load}");
        for one in told {
            let calls = one["calls"].as_u64().unwrap();
            match one["rateAsked"].as_u64() {
                Some(_) => assert_eq!(calls.to_string(), rate, "{load}: every call that was due was made"),
                None => assert!(calls > 0, "{load}"),
            }
            assert!(one["latencyMicros"]["max"].as_u64() >= one["latencyMicros"]["p50"].as_u64(), "{one}");
        }
        // People who were sent before are known, and answered as duplicates: for lookups that is no error.
        if load != "ingest" {
            assert_eq!(told[0]["errors"], 0, "{load}");
        }
    }
    let refused = served.run(&["bench", "lookup", "--rate", "0"]);
    assert!(refused.err.contains("--rate 0 is for `ingest` alone"), "{}", refused.err);
}

#[test]
fn rows_without_their_key_are_refused_and_an_empty_table_is_no_fault() {
    let dir = tempfile::tempdir().unwrap();
    let served = Served::start(&dir.path().join("data"), "127.0.0.1:0");
    let write = |name: &str, text: &str| {
        let file = dir.path().join(name);
        std::fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let gaps = write("gaps.csv", "id,email\n1,a@harbour-mail.net\n,b@harbour-mail.net\n3,c@harbour-mail.net\n");
    let said = served.run(&["import", &gaps, "--source", "crm"]);
    assert!(said.out.contains("has no record id") || said.err.contains("has no record id"), "{}{}", said.out, said.err);
    let found = served.json(&["lookup", "email", "c@harbour-mail.net", "--full"]);
    assert_eq!(found["records"][0]["key"], "3", "{found}");
    assert!(served.run(&["lookup", "email", "b@harbour-mail.net"]).code != Some(0), "refused is refused");

    let empty = write("empty.csv", "id,email\n");
    let said = served.run(&["import", &empty, "--source", "crm"]);
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);

    let calls = write(
        "calls.ndjson",
        "{\"type\":\"identify\",\"traits\":{\"email\":\"d@harbour-mail.net\"}}\n{\"type\":\"identify\",\"userId\":\"u1\"}\n",
    );
    let said = served.run(&["import", &calls, "--source", "web"]);
    let all = said.out + &said.err;
    assert!(all.contains("needs userId or anonymousId"), "{all}");
    assert!(served.run(&["lookup", "user_id", "u1"]).code == Some(0), "{all}");
}

#[test]
fn a_campaign_is_planned_from_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::start(&folder.path().join("data"), "127.0.0.1:0");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let import = |path: &str| assert_eq!(served.run(&["import", path]).code, Some(0));
    let marketing = ["--purpose", "marketing", "--channel", "email"];
    let decide =
        |address: &str, more: &[&str]| served.json(&[&["decide", "email", address][..], &marketing[..], more].concat());
    let reasons = |verdict: &Value| -> Vec<String> {
        let reasons = verdict["reasons"].as_array().unwrap().iter();
        reasons.map(|reason| reason["reason"].as_str().unwrap().to_owned()).collect()
    };
    import(&file(
        "crm.csv",
        "id,email,phone,first_name,time_zone\n17,ada@acme-corp.com,+12127365000,Ada,Europe/Berlin\n",
    ));
    import(&file("shop.csv", "id,email,last_name\nA-9,byron@acme-corp.com,Byron\n"));
    let granted = served.json(
        &[
            &["consent", "record", "granted", "email", "ada@acme-corp.com", "--notice", "newsletter 2026-03"][..],
            &[
                "--jurisdiction",
                "DE",
                "--tcf",
                "COvFyGBOvFyGBAbAAAENAPCAAOAAAAAAAAAAAEEUACCKAAA.IFoEUQQgAIQwgIwQABAEAAAAOIAACAIAAAAQ",
                "--device",
                "laptop",
            ][..],
            &marketing[..],
        ]
        .concat(),
    );
    let first = granted["statementId"].as_str().unwrap().to_owned();
    served.json(&[&["consent", "record", "granted", "record", "shop", "A-9"][..], &marketing[..]].concat());
    assert_eq!(reasons(&decide("ada@acme-corp.com", &[])), ["GRANTED"]);
    assert_eq!(reasons(&decide("byron@acme-corp.com", &[])), ["GRANTED"]);

    // One person after all: a no at one address holds for both, and names itself.
    import(&file("web.csv", "id,email,phone\ns-1,byron@acme-corp.com,+12127365000\n"));
    let withdrawn = served
        .json(&[&["consent", "record", "withdrawn", "email", "byron@acme-corp.com"][..], &marketing[..]].concat());
    let denied = decide("ada@acme-corp.com", &[]);
    assert_eq!((&denied["allowed"], reasons(&denied)), (&false.into(), vec!["WITHDRAWN".to_owned()]));
    assert_eq!(denied["reasons"][0]["decidedBy"][0], withdrawn["statementId"]);
    let shown = served.run(&[&["decide", "email", "ada@acme-corp.com"][..], &marketing[..]].concat());
    assert!(shown.out.contains("denied: ") && shown.out.contains("WITHDRAWN: the person withdrew"), "{}", shown.out);
    let nobody = served.run(&["consent", "history", "record", "crm", "none"]);
    assert_eq!(nobody.code, Some(1), "{}", nobody.out);
    assert!(nobody.err.contains("nobody is known by this"), "{}", nobody.err);
    let history = served.run(&["consent", "history", "record", "crm", "17"]);
    assert!(history.out.starts_with("3 statements") && history.out.contains("signals of"), "{}", history.out);
    let receipt: Value = serde_json::from_str(&served.run(&["consent", "receipt", &first]).out).unwrap();
    assert!(receipt.to_string().contains("newsletter 2026-03"), "{receipt}");

    // Parted, each side has its own back; the cap holds in the moment of the decision.
    let profile = denied["profile"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    let parted = served.run(&["review", "split", &profile, "web:s-1", "--author", "anna"]);
    assert_eq!(parted.code, Some(0), "{}", parted.err);
    assert_eq!(reasons(&decide("ada@acme-corp.com", &[])), ["GRANTED"]);
    let byron = served.json(&[&["decide", "record", "shop", "A-9"][..], &marketing[..]].concat());
    assert_eq!(reasons(&byron), ["WITHDRAWN"]);
    let mut policy = served.json(&["consent", "policy"]);
    policy["caps"] = serde_json::json!([{ "name": "weekly", "most": 1, "windowSeconds": 604_800 }]);
    policy["purposes"][0]["receiptTerms"] = serde_json::json!({
        "retentionPeriod": "P3Y",
        "recipients": [{ "name": "Mail Works", "role": "RECIPIENT_ROLE_PROCESSOR", "jurisdiction": "DE" }],
    });
    let policy = file("policy.json", &policy.to_string());
    let card = served.run(&["consent", "policy", "--set", &policy]);
    assert_eq!(card.code, Some(0), "{}", card.err);
    for line in ["receipts tell", "    kept for: P3Y", "    received by: Mail Works (processor, DE)"] {
        assert!(card.out.contains(line), "{line}: {}", card.out);
    }
    let receipt = served.run(&["consent", "receipt", &first, "--purpose", "marketing"]);
    let receipt: Value = serde_json::from_str(&receipt.out).unwrap();
    assert_eq!(receipt["consent_record"]["purposes"][0]["retention_period"], "P3Y", "{receipt}");
    let reserved = decide("ada@acme-corp.com", &["--reserve"]);
    assert_eq!(reasons(&reserved), ["GRANTED"]);
    let reservation = reserved["reservationId"].as_str().unwrap();
    assert_eq!(served.run(&["decide", "--confirm", reservation]).code, Some(0));
    assert_eq!(reasons(&decide("ada@acme-corp.com", &["--reserve"])), ["CAP_REACHED"]);

    // What fails says so on the other stream, and nothing that is no JSON stands where JSON is read.
    let bad: [&[&str]; 5] = [
        &["consent", "state", "email", "nothing", "--json"],
        &["consent", "receipt", "none"],
        &["decide", "email", "nothing", "--purpose", "marketing", "--channel", "email", "--json"],
        &["decide", "email", "ada@acme-corp.com", "--purpose", "marketting", "--channel", "email", "--json"],
        &["account", "get", "crm:none", "--json"],
    ];
    for args in bad {
        let refused = served.run(args);
        assert_ne!(refused.code, Some(0), "{args:?}");
        assert!(refused.out.is_empty() && !refused.err.is_empty(), "{args:?}: {}", refused.out);
    }
    assert_eq!(served.terminate(), Some(0));
}

/// base64(SHA-256) of a text, as a deletion list has it.
fn hashed(text: &str) -> String {
    use base64::Engine as _;
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    base64::engine::general_purpose::STANDARD.encode(digest.as_ref())
}

#[test]
fn a_file_of_identities_and_a_deletion_list_are_answered_row_by_row_and_a_second_run_says_what_is_so_then() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    // Two have a telephone in common, and are two by their numbers.
    let people = "id,user_id,email,phone\n1,u1,ada@harbour-mail.net,+14155559317\n\
                  2,u2,berta@harbour-mail.net,+14155550001\n3,u3,cleo@harbour-mail.net,+14155550003\n\
                  4,u4,dora@harbour-mail.net,+14155550004\n5,u5,emil@harbour-mail.net,+14155550004\n";
    std::fs::write(path("crm.csv"), people).unwrap();
    let served = Served::start(&folder.path().join("data"), "127.0.0.1:0");
    let crm = path("crm.csv");
    let taken = served.run(&["import", &crm, "--source", "crm"]);
    assert_eq!(taken.code, Some(0), "{}", taken.err);

    // A fault in any row: nothing is done, and each fault is named with its line.
    let (rows, answers) = (path("rows.csv"), path("answers.csv"));
    std::fs::write(&rows, "email,ada@harbour-mail.net\nemail\nrecord,crm\n").unwrap();
    let bad = served.run(&["erase", "--file", &rows, "--answers", &answers, "--yes"]);
    assert_eq!(bad.code, Some(2), "{}", bad.err);
    assert!(bad.err.contains(":2: ") && bad.err.contains(":3: "), "{}", bad.err);
    // A quote that is never closed swallows nobody behind it.
    std::fs::write(&rows, "record,crm,1\nemail,\"berta@harbour-mail.net\nrecord,crm,3\n").unwrap();
    let bad = served.run(&["erase", "--file", &rows, "--answers", &answers, "--yes"]);
    assert_eq!(bad.code, Some(2), "{}", bad.err);
    assert!(bad.err.contains(":2: ") && bad.err.contains("quote") && bad.err.lines().count() == 1, "{}", bad.err);
    let bad = served.run(&["erase", "--drop", &rows, "--answers", &answers, "--yes"]);
    assert!(bad.code == Some(2) && bad.err.contains(":2: "), "{}", bad.err);
    assert_eq!(served.run(&["lookup", "email", "ada@harbour-mail.net"]).code, Some(0));

    std::fs::write(&rows, "email,ada@harbour-mail.net\n\nrecord,crm,2\nemail,nobody@harbour-mail.net\n").unwrap();
    let looked = served.run(&["erase", "--file", &rows]);
    assert!(looked.out.contains("3 row(s)") && looked.out.contains("2 with a profile"), "{}", looked.out);
    assert_eq!(served.json(&["requests", "list"])["requests"].as_array().map_or(0, Vec::len), 0, "a look asks nothing");
    let erase = |file: &str| served.run(&["erase", "--file", file, "--answers", &answers, "--yes"]);
    let first = erase(&rows);
    assert_eq!(first.code, Some(0), "{}", first.err);
    let told = std::fs::read_to_string(&answers).unwrap();
    let words: Vec<&str> = told.lines().skip(1).map(|line| line.split(',').nth(1).unwrap()).collect();
    assert_eq!(words, ["erased", "erased", "nothing-held"], "{told}");
    assert!(told.lines().skip(1).all(|line| line.contains("/privacyRequests/")), "{told}");
    assert_eq!(erase(&rows).code, Some(0));
    assert_eq!(std::fs::read_to_string(&answers).unwrap(), told, "what was done is answered as it was");
    assert_ne!(served.run(&["lookup", "email", "ada@harbour-mail.net"]).code, Some(0));

    // The platform's list: one of one person, a telephone of two, one of nobody.
    let (list, out) = (path("drop.csv"), path("drop-answers.csv"));
    let rows =
        [("a", "cleo@harbour-mail.net"), ("b", "4155550004"), ("c", "nobody@harbour-mail.net"), ("d", "4155550003")];
    let rows: String = rows.iter().map(|(id, text)| format!("{id},{}\n", hashed(text))).collect();
    std::fs::write(&list, format!("id,hash\n{rows}")).unwrap();
    let looked = served.run(&["erase", "--drop", &list]);
    assert!(looked.out.contains("2 of one person each, 1 that several hold, 1 of nobody"), "{}", looked.out);
    let done = served.run(&["erase", "--drop", &list, "--answers", &out, "--yes", "--regulation", "CCPA"]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    let told = std::fs::read_to_string(&out).unwrap();
    assert_eq!(told, "Id,Status\na,3\nb,4\nc,5\nd,3\n", "both of hers were deleted with her");
    let again = served.run(&["erase", "--drop", &list, "--answers", &out, "--yes", "--regulation", "CCPA"]);
    assert_eq!((again.code, std::fs::read_to_string(&out).unwrap()), (Some(0), told), "{}", again.err);
    assert_ne!(served.run(&["lookup", "email", "cleo@harbour-mail.net"]).code, Some(0));
    let state = served.json(&["consent", "state", "email", "dora@harbour-mail.net", "--purpose", "sale_or_sharing"]);
    assert!(state.to_string().contains("OBJECTED"), "{state}");

    // Lines may end as Windows ends them, a value that cannot be read fails alone, and who has come since is erased too.
    let (more, rows) = (path("more.csv"), path("windows.csv"));
    let import = |text: &str| {
        std::fs::write(&more, text).unwrap();
        let taken = served.run(&["import", &more, "--source", "crm"]);
        assert_eq!(taken.code, Some(0), "{}", taken.err);
    };
    import("id,user_id,email\n6,u6,frida@harbour-mail.net\n7,u7,gustav@harbour-mail.net\n");
    let who = ["frida@harbour-mail.net", "not an address", "gustav@harbour-mail.net", "late@harbour-mail.net"];
    std::fs::write(&rows, who.map(|who| format!("email,{who}\r\n")).concat()).unwrap();
    for late in ["nothing-held", "erased"] {
        assert_eq!(erase(&rows).code, Some(1), "one row failed");
        let told = std::fs::read_to_string(&answers).unwrap();
        let words: Vec<Vec<&str>> = told.lines().skip(1).map(|line| line.split(',').take(2).collect()).collect();
        assert_eq!(words, [["1", "erased"], ["2", "failed"], ["3", "erased"], ["4", late]], "{told}");
        assert!(!told.contains("not an address"), "{told}");
        import("id,user_id,email\n8,u8,late@harbour-mail.net\n");
    }
    for who in ["frida@harbour-mail.net", "gustav@harbour-mail.net", "late@harbour-mail.net"] {
        assert_ne!(served.run(&["lookup", "email", who]).code, Some(0), "{who}");
    }
    assert_eq!(served.terminate(), Some(0));
}

/// The limit came as a signal that ended the server without a word, and logs in files were full of codes for colours.
#[test]
fn a_limit_on_file_sizes_is_as_a_full_disk_and_is_told_in_plain_text() {
    let dir = tempfile::tempdir().unwrap();
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -f 1024; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_onefold"), "serve"]);
    limited.args(["--listen", "127.0.0.1:0", "--log", "warn", "--data"]).arg(dir.path().join("data"));
    let told = said(limited.stdin(Stdio::null()).env_remove("ONEFOLD_LOG").output().unwrap());
    assert_eq!(told.code, Some(1), "{}", told.err);
    assert!(told.err.contains("limit on file sizes") && told.err.contains("WARN"), "{}", told.err);
    assert!(!told.err.contains('\u{1b}'), "{:?}", told.err);
}

#[test]
fn a_trained_model_takes_the_place_of_the_old_one_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (crm, model, kept) = (path("crm.csv"), path("model.json"), path("kept.json"));
    std::fs::write(&crm, "id,first_name,last_name,city\n1,Ada,Byron,Leeds\n2,Ada,Byron,York\n3,Cleo,Smith,Leeds\n")
        .unwrap();
    let served = Served::start(&folder.path().join("data"), "127.0.0.1:0");
    assert_eq!(served.run(&["import", &crm]).code, Some(0));
    std::fs::write(&model, "the old one").unwrap();
    // A second name of the same file: writing into it would show there.
    std::fs::hard_link(&model, &kept).unwrap();
    let trained = served.run(&["model", "train", "--out", &model]);
    assert_eq!(trained.code, Some(0), "{}", trained.err);
    assert_eq!(std::fs::read_to_string(&kept).unwrap(), "the old one");
    let written: Value = serde_json::from_str(&std::fs::read_to_string(&model).unwrap()).unwrap();
    assert_eq!(written["version"], "trained");
    assert_eq!(served.run(&["model", "preview", &model]).code, Some(0), "it can be used");
    let nowhere = served.run(&["model", "train", "--out", &path("no/such/folder.json")]);
    assert!(nowhere.code == Some(1) && nowhere.err.contains("folder.json: cannot be written"), "{}", nowhere.err);
    assert_eq!(served.terminate(), Some(0));
}
