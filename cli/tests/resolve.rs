//! `onefold resolve` and `onefold generate` as their users meet them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use onefold_cli::generate::{Population, Sizes, write};
use serde_json::Value;

fn onefold(arguments: &[&str], folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_onefold"))
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// record_id to profile_id, in the file's order.
fn profiles(path: &Path) -> Vec<(String, String)> {
    let mut reader = csv::Reader::from_path(path).unwrap();
    assert_eq!(reader.headers().unwrap(), vec!["record_id", "profile_id"]);
    reader.records().map(|row| row.unwrap()).map(|row| (row[0].to_owned(), row[1].to_owned())).collect()
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

#[test]
fn every_row_appears_and_shared_identifiers_link() {
    let text = b"record_id,email,name\na,x@y.de,Ada\nb,X@Y.DE ,Ada\nbroken,row\nc,z@y.de,Bob\n";
    let folder = folder(&[("in.csv", text)]);
    let output = onefold(&["resolve", "in.csv", "--out", "out.csv", "--json", "report.json"], folder.path());
    let (code, out, err) = said(&output);
    assert_eq!(code, Some(0), "{err}");
    let rows = profiles(&folder.path().join("out.csv"));
    let ids: Vec<&str> = rows.iter().map(|(record, _)| record.as_str()).collect();
    assert_eq!(ids, ["a", "b", "4", "c"], "in the input's order, a refused row by its line");
    assert_eq!(rows[0].1, rows[1].1);
    assert_eq!(rows.iter().map(|(_, profile)| profile).collect::<BTreeSet<_>>().len(), 3);
    assert!(out.contains("in.csv: line 4: has 2 fields where the header has 3"), "{out}");
    assert!(out.contains("identifier:email"), "{out}");
    assert!(!out.contains('\u{1b}'), "no colour in a pipe");
    let report = json(&folder.path().join("report.json"));
    assert_eq!(
        (&report["rows"], &report["records"], &report["profiles"], &report["refused_rows"]),
        (&4.into(), &3.into(), &2.into(), &1.into())
    );
}

/// A row without an id is known by its line, and took the place of the record whose id is that number, or of the row on that
/// line of another file of its source.
#[test]
fn a_row_without_an_id_is_no_other_record() {
    let folder = folder(&[
        ("in.csv", b"record_id,email,name\n1,a@acme.de,Ada Byron\n,b@acme.de,Bob Cole\n3,c@acme.de,Cid Dorn\n"),
        ("one.csv", b"source,email,name\ncrm,a@acme.de,Ada Byron\n"),
        ("two.csv", b"source,email,name\ncrm,b@acme.de,Bob Cole\n"),
    ]);
    for files in [&["in.csv"][..], &["one.csv", "two.csv"]] {
        let arguments = [&["resolve", "--out", "out.csv", "--json", "report.json"], files].concat();
        let (code, _, err) = said(&onefold(&arguments, folder.path()));
        assert_eq!(code, Some(0), "{err}");
        let report = json(&folder.path().join("report.json"));
        assert_eq!(&report["records"], &report["rows"], "{files:?}");
    }
}

#[test]
fn what_goes_wrong_names_file_place_and_cure() {
    let files: &[(&str, &[u8])] = &[
        ("good.csv", b"record_id,email\na,x@y.de\n"),
        ("empty.csv", b""),
        ("header.csv", b"record_id,email\n"),
        ("bare.csv", b"record_id,cluster_id\na,1\n"),
        ("bad.toml", b"[columns]\nemail = \"identifier:emial\"\n"),
        ("other.toml", b"[columns]\nemal = \"identifier:email\"\n"),
        ("pattern.toml", b"[namespaces.email]\nblocked_patterns = [\"(\"]\n"),
    ];
    let folder = folder(files);
    let table: &[(&[&str], i32, &[&str])] = &[
        (&["none.csv"], 1, &["none.csv", "cannot be opened"]),
        (&["empty.csv"], 1, &["empty.csv", "empty", "header line"]),
        (&["header.csv"], 1, &["header.csv", "no row below the header"]),
        (&["bare.csv"], 1, &["bare.csv: line 1", "record_id, cluster_id", "--mapping"]),
        (&["good.csv", "--truth", "emial"], 2, &["--truth", "did you mean `email`?"]),
        (&["good.csv", "--mapping", "bad.toml"], 2, &["bad.toml", "columns.email", "did you mean `email`?"]),
        (&["good.csv", "--mapping", "other.toml"], 2, &["no file has a column `emal`", "did you mean `email`?"]),
        (&["good.csv", "--mapping", "none.toml"], 2, &["none.toml", "cannot be read"]),
        (&["good.csv", "--mapping", "pattern.toml"], 1, &["blocked_patterns[0]", "email"]),
        (&["good.csv", "--encoding", "ebcdic"], 2, &["is no known encoding"]),
        (&["good.csv", "--delimiter", "é"], 2, &["one ASCII character"]),
        (&["good.csv", "--delimiter", "\""], 2, &["one ASCII character"]),
        (&["good.csv", "--colour"], 2, &["--colour"]),
        (&["good.csv", "--json", "no/such/folder.json"], 1, &["no/such/folder.json", "cannot be written"]),
    ];
    for (arguments, code, wanted) in table {
        let mut whole = vec!["resolve"];
        whole.extend_from_slice(arguments);
        whole.extend_from_slice(&["--out", "out.csv"]);
        let (got, _, err) = said(&onefold(&whole, folder.path()));
        assert_eq!(got, Some(*code), "{arguments:?}: {err}");
        for want in *wanted {
            assert!(err.contains(want), "{arguments:?}: {want:?} not in {err}");
        }
    }
    let (code, _, err) = said(&onefold(&["resolve", "good.csv", "--out", "no/such/out.csv"], folder.path()));
    assert_eq!(code, Some(1));
    assert!(err.contains("no/such/out.csv: cannot be written"), "{err}");
}

#[test]
fn a_printed_mapping_gives_the_same_answer_and_an_edited_one_another() {
    let text = b"record_id,mail,tel\na,x@y.de,+442071838750\nb,x@y.de,+442071838751\nc,q@y.de,+442071838751\n";
    let folder = folder(&[("in.csv", text)]);
    let answer = |arguments: &[&str]| {
        let mut whole = vec!["resolve", "in.csv", "--out", "out.csv"];
        whole.extend_from_slice(arguments);
        let (code, _, err) = said(&onefold(&whole, folder.path()));
        assert_eq!(code, Some(0), "{err}");
        let rows = profiles(&folder.path().join("out.csv"));
        rows.iter().map(|(_, profile)| rows.iter().position(|(_, other)| other == profile)).collect::<Vec<_>>()
    };
    let (_, printed, _) = said(&onefold(&["resolve", "in.csv", "--print-mapping"], folder.path()));
    std::fs::write(folder.path().join("m.toml"), &printed).unwrap();
    assert_eq!(answer(&[]), [Some(0), Some(0), Some(0)]);
    assert_eq!(answer(&["--mapping", "m.toml"]), answer(&[]));
    let edited = printed.replace("\"identifier:phone\"", "\"ignore\"");
    assert_ne!(edited, printed, "{printed}");
    std::fs::write(folder.path().join("m.toml"), edited).unwrap();
    assert_eq!(answer(&["--mapping", "m.toml"]), [Some(0), Some(0), Some(2)]);
}

#[test]
fn generated_sources_resolve_together_and_the_truth_is_no_feature() {
    let folder = folder(&[]);
    let generate = ["generate", "--seed", "5", "--people", "400", "--companies", "60", "--out", "g"];
    let (code, _, err) = said(&onefold(&generate, folder.path()));
    assert_eq!(code, Some(0), "{err}");
    let mut inputs: Vec<String> = std::fs::read_dir(folder.path().join("g"))
        .unwrap()
        .map(|entry| format!("g/{}", entry.unwrap().file_name().to_string_lossy()))
        .filter(|name| !name.ends_with("truth.csv"))
        .collect();
    inputs.sort();
    assert_eq!(inputs.len(), 9);
    let resolve = |extra: &[&str]| {
        let mut arguments = vec!["resolve"];
        arguments.extend(inputs.iter().map(String::as_str));
        arguments.extend_from_slice(&["--out", "out.csv", "--json", "r.json"]);
        arguments.extend_from_slice(extra);
        let (code, out, err) = said(&onefold(&arguments, folder.path()));
        assert_eq!(code, Some(0), "{err}");
        (json(&folder.path().join("r.json")), out, std::fs::read(folder.path().join("out.csv")).unwrap())
    };
    let (plain, _, bytes) = resolve(&[]);
    let (scored, out, same) = resolve(&["--truth", "cluster_id"]);
    assert_eq!((plain["digest"].as_str(), &bytes), (scored["digest"].as_str(), &same), "scoring changes nothing");
    assert_eq!(plain["refused_rows"], 0);
    let truth = &scored["truth"];
    assert!(truth["pairwise"]["precision"].as_f64() > Some(0.9), "{truth}");
    assert!(truth["pairwise"]["recall"].as_f64() > Some(0.4), "{truth}");
    assert!(truth["worst_false_splits"].as_array().is_some_and(|worst| worst.len() == 10), "{truth}");
    for link in truth["worst_false_links"].as_array().into_iter().flatten() {
        let chain = link["because"].as_array().unwrap();
        assert!(chain.iter().any(|tie| tie["wrong"] == true), "a chain between two parties has a wrong link: {link}");
    }
    let mut truths = csv::Reader::from_path(folder.path().join("g/truth.csv")).unwrap();
    let all: BTreeSet<String> = truths.records().map(|row| row.unwrap()[0].to_owned()).collect();
    let got: BTreeSet<String> =
        profiles(&folder.path().join("out.csv")).into_iter().map(|(record, _)| record).collect();
    assert_eq!(got, all, "every generated record is in the answer under its own id");
    // Values are shown masked: no whole address of the input is in the readable report.
    let crm = std::fs::read_to_string(folder.path().join("g/newsletter.csv")).unwrap();
    let addresses = crm.lines().skip(1).filter_map(|line| line.split(',').nth(4)).filter(|text| text.contains('@'));
    for address in addresses {
        assert!(!out.contains(address.trim()), "a whole address in the report");
    }
}

#[test]
fn the_answer_does_not_hang_on_the_order_of_rows_or_files() {
    let mut bytes = Vec::new();
    write::combined(Population::new(11, Sizes { people: 300, companies: 40 }), &mut bytes).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (header, rows) = text.split_once('\n').unwrap();
    let mut turned: Vec<&str> = rows.lines().collect();
    turned.reverse();
    let (one, two) = turned.split_at(turned.len() / 2);
    let table = |rows: &[&str]| format!("{header}\n{}\n", rows.join("\n")).into_bytes();
    let folder = folder(&[("whole.csv", text.as_bytes()), ("b.csv", &table(one)), ("a.csv", &table(two))]);
    let digest = |inputs: &[&str]| {
        let mut arguments = vec!["resolve", "--out", "out.csv", "--json", "r.json"];
        arguments.extend_from_slice(inputs);
        let (code, _, err) = said(&onefold(&arguments, folder.path()));
        assert_eq!(code, Some(0), "{err}");
        let report = json(&folder.path().join("r.json"));
        (report["digest"].clone(), report["profiles"].clone(), report["records"].clone())
    };
    let whole = digest(&["whole.csv"]);
    assert_eq!(whole, digest(&["a.csv", "b.csv"]));
    assert_eq!(whole, digest(&["b.csv", "a.csv"]));
}

#[test]
fn deletes_take_a_record_back() {
    let lines = concat!(
        r#"{"op":"c","after":{"record_id":"1","email":"x@y.de"},"source":{"ts_ms":1000,"table":"t"}}"#,
        "\n",
        r#"{"op":"c","after":{"record_id":"2","email":"x@y.de"},"source":{"ts_ms":1000,"table":"t"}}"#,
        "\n",
        r#"{"op":"d","before":{"record_id":"2"},"source":{"ts_ms":2000,"table":"t"}}"#,
        "\n",
    );
    let folder = folder(&[("t.ndjson", lines.as_bytes())]);
    let (code, _, err) = said(&onefold(&["resolve", "t.ndjson", "--out", "o.csv", "--json", "r.json"], folder.path()));
    assert_eq!(code, Some(0), "{err}");
    let report = json(&folder.path().join("r.json"));
    assert_eq!((&report["records"], &report["profiles"], &report["retracted_rows"]), (&1.into(), &1.into(), &1.into()));
    let rows = profiles(&folder.path().join("o.csv"));
    assert_eq!(
        rows.iter().map(|(_, profile)| profile).collect::<BTreeSet<_>>().len(),
        3,
        "a retracted row is nobody's"
    );
}

#[test]
fn a_record_that_contradicts_itself_is_refused_and_the_rest_links() {
    let lines = concat!(
        r#"{"record_id":"1","user_id":["a","b"],"email":"x@y.de"}"#,
        "\n",
        r#"{"record_id":"2","user_id":"a"}"#,
        "\n",
        r#"{"record_id":"3","user_id":["b","b"]}"#,
        "\n",
    );
    let folder = folder(&[("t.ndjson", lines.as_bytes())]);
    let (code, out, err) = said(&onefold(&["resolve", "t.ndjson", "--out", "o.csv"], folder.path()));
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("line 1: holds two different values of user_id"), "{out}");
    let rows = profiles(&folder.path().join("o.csv"));
    assert_eq!(rows.iter().map(|(record, _)| record.as_str()).collect::<Vec<_>>(), ["1", "2", "3"]);
    assert_eq!(rows.iter().map(|(_, profile)| profile).collect::<BTreeSet<_>>().len(), 3);
}

/// Where the labelled sets and the scorer lie beside the workspace.
fn shared(part: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared").join(part);
    if !path.exists() {
        eprintln!("skipped: {part} is not beside the workspace");
        return None;
    }
    Some(path)
}

#[test]
fn figures_are_those_of_the_common_scorer() {
    let (Some(data), Some(tool)) = (shared("data"), shared("tools/score.py")) else { return };
    if !Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: no python3");
        return;
    }
    let folder = folder(&[]);
    // A set with unlabelled records as well: every third label of one set is taken away.
    let text = std::fs::read_to_string(data.join("restaurants/records.csv")).unwrap();
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let mut writer = csv::Writer::from_path(folder.path().join("partly.csv")).unwrap();
    writer.write_record(reader.headers().unwrap()).unwrap();
    for (number, row) in reader.records().enumerate() {
        let row = row.unwrap();
        writer
            .write_record(row.iter().enumerate().map(|(at, field)| if at == 1 && number % 3 == 0 { "" } else { field }))
            .unwrap();
    }
    writer.flush().unwrap();
    drop(writer);
    let sets = ["senzing_truthset", "restaurants", "fake_1000", "febrl1", "synth_companies_6k", "rldata500"];
    let mut inputs: Vec<PathBuf> = sets.iter().map(|set| data.join(set).join("records.csv")).collect();
    inputs.push(folder.path().join("partly.csv"));
    for input in inputs {
        let input = input.to_str().unwrap();
        let arguments = ["resolve", input, "--out", "o.csv", "--json", "r.json", "--truth", "cluster_id"];
        let (code, _, err) = said(&onefold(&arguments, folder.path()));
        assert_eq!(code, Some(0), "{input}: {err}");
        let output =
            Command::new("python3").arg(&tool).args([input, "o.csv"]).current_dir(folder.path()).output().unwrap();
        let theirs: Value = serde_json::from_slice(&output.stdout).unwrap();
        let ours = json(&folder.path().join("r.json"))["truth"].clone();
        assert_eq!((&theirs["missing"], &theirs["extra"]), (&0.into(), &0.into()), "{input}");
        assert_eq!(ours["unlabelled"], theirs["unlabelled"], "{input}");
        let pairs: BTreeMap<&str, &str> = [("right", "tp"), ("false_links", "fp"), ("false_splits", "fn")].into();
        for (name, their_name) in pairs {
            assert_eq!(ours["pairs"][name], theirs["pairwise"][their_name], "{input} {name}");
        }
        for kind in ["pairwise", "bcubed"] {
            for rate in ["precision", "recall", "f1"] {
                let (our, their) = (ours[kind][rate].as_f64().unwrap(), theirs[kind][rate].as_f64().unwrap());
                assert!((our - their).abs() < 1e-6, "{input} {kind} {rate}: {our} {their}");
            }
        }
    }
}

#[test]
fn an_input_is_never_written_over_and_an_output_is_whole_or_not_there() {
    let text = b"record_id,email\na,x@y.de\nb,x@y.de\n";
    let folder = folder(&[("in.csv", text)]);
    for out in ["in.csv", "./in.csv"] {
        let (code, _, err) = said(&onefold(&["resolve", "in.csv", "--out", out], folder.path()));
        assert_eq!(code, Some(2), "{err}");
        assert!(err.contains("in.csv is one of the inputs"), "{err}");
    }
    assert_eq!(std::fs::read(folder.path().join("in.csv")).unwrap(), text);
    std::fs::write(folder.path().join("out.csv"), "what stood there before").unwrap();
    assert_eq!(said(&onefold(&["resolve", "in.csv", "--out", "out.csv"], folder.path())).0, Some(0));
    assert_eq!(profiles(&folder.path().join("out.csv")).len(), 2);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "no draft is left behind");
    for (option, file) in [("--json", "in.csv"), ("--json", "out.csv")] {
        let arguments = ["resolve", "in.csv", "--out", "out.csv", option, file];
        assert_eq!(said(&onefold(&arguments, folder.path())).0, Some(2), "{option} {file}");
    }
    assert_eq!(profiles(&folder.path().join("out.csv")).len(), 2);
}

/// They were written in place: whoever read one meanwhile, or met a full disk, had half of it.
#[cfg(unix)]
#[test]
fn every_output_takes_the_place_of_the_old_one_whole() {
    use std::os::unix::fs::MetadataExt;
    let folder = folder(&[("in.csv", b"record_id,email\na,x@y.de\nb,x@y.de\n"), ("report.json", b"old")]);
    std::fs::create_dir(folder.path().join("models")).unwrap();
    std::fs::write(folder.path().join("models/person.json"), "old").unwrap();
    std::os::unix::fs::symlink("report.json", folder.path().join("link.json")).unwrap();
    let inode = |file: &str| std::fs::metadata(folder.path().join(file)).unwrap().ino();
    let before = ["report.json", "models/person.json"].map(inode);
    let arguments = ["resolve", "in.csv", "--out", "out.csv", "--json", "link.json", "--save-model", "models"];
    let (code, _, err) = said(&onefold(&arguments, folder.path()));
    assert_eq!(code, Some(0), "{err}");
    let after = ["report.json", "models/person.json"].map(inode);
    assert!(before[0] != after[0] && before[1] != after[1], "written into the old file");
    assert!(json(&folder.path().join("link.json"))["records"].is_u64());
    assert!(folder.path().join("link.json").is_symlink(), "what the link leads to is replaced");
    assert!(json(&folder.path().join("models/person.json")).is_object());
}

/// Earlier words of a record were taken for further records much like it, and the model learned from them what matches are.
#[test]
fn what_a_record_said_before_teaches_the_model_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (mut all, mut newest) = (String::from("record_id,updated_at,first_name,last_name,city\n"), String::new());
    newest.push_str(&all);
    let (given, family) = (["Ada", "Bo", "Cy", "Di", "Ed", "Flo", "Guy"], ["Ames", "Bell", "Cole", "Dunn", "Eads"]);
    for person in 0..140 {
        let row = |year: u32, city: &str| {
            let (given, family) = (given[person % 7], family[person / 7 % 5]);
            format!("r{person},{year}-01-01,{given},{family}{person},{city}\n")
        };
        all.push_str(&(row(2020, "Rome") + &row(2024, "Oslo") + &row(2022, "Lima")));
        newest.push_str(&row(2024, "Oslo"));
    }
    for (name, text) in [("all", &all), ("newest", &newest)] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
        std::fs::write(folder.path().join(name).join("people.csv"), text).unwrap();
        let input = format!("{name}/people.csv");
        let arguments = ["resolve", &input, "--out", "out.csv", "--save-model", name];
        let (code, _, err) = said(&onefold(&arguments, folder.path()));
        assert_eq!(code, Some(0), "{err}");
    }
    let model = |name: &str| std::fs::read_to_string(folder.path().join(name).join("person.json")).unwrap();
    assert!(model("all") == model("newest"));
}

/// Two exports of one name, in two folders, are two files; and line 3 of each, which cannot be read, are two rows.
#[test]
fn rows_known_by_their_place_never_meet_in_the_output() {
    let folder = tempfile::tempdir().unwrap();
    for day in ["a", "b"] {
        std::fs::create_dir(folder.path().join(day)).unwrap();
        let text = format!("email,name\n{day}@acme-corp.com,Ada\n{day},broken,row\n");
        std::fs::write(folder.path().join(day).join("export.csv"), text).unwrap();
    }
    let output = onefold(&["resolve", "a/export.csv", "b/export.csv", "--out", "out.csv"], folder.path());
    assert_eq!(said(&output).0, Some(0), "{}", said(&output).2);
    let ids: Vec<String> = profiles(&folder.path().join("out.csv")).into_iter().map(|(record, _)| record).collect();
    assert_eq!(ids, ["export.csv:2", "export.csv:3", "b/export.csv:2", "b/export.csv:3"]);
}
