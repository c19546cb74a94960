//! Everybody of a file: who may be contacted and who may not, and what is no recipient at all.

use super::Served;

#[test]
fn a_file_of_recipients_is_answered_row_by_row_and_what_is_none_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::start(&folder.path().join("data"), "127.0.0.1:0");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let people = file("people.csv", "id,email\n1,ada@acme-corp.com\n2,byron@acme-corp.com\n3,carl@acme-corp.com\n");
    assert_eq!(served.run(&["import", &people, "--source", "crm"]).code, Some(0));
    let marketing = ["--purpose", "marketing", "--channel", "email"];
    for (decision, key) in [("granted", "1"), ("withdrawn", "2")] {
        served.json(&[&["consent", "record", decision, "record", "crm", key][..], &marketing[..]].concat());
    }

    // A quote that never ends and a row that names nobody swallow no other; CRLF does as well.
    let mixed = "email,ada@acme-corp.com\r\nrecord,crm,2\r\nwho\r\nid,p_nobody\r\nshoe_size,44\r\n\"email\",carl@acme-corp.com\r\n\
        email,dora@acme-corp.com\r\n";
    let (mixed, out) = (file("mixed.csv", mixed), folder.path().join("answers.csv").display().to_string());
    let many =
        |file: &str, more: &[&str]| served.run(&[&["decide", "--file", file][..], &marketing[..], more].concat());
    let said = many(&mixed, &["--out", &out]);
    assert_eq!(said.code, Some(1), "{}{}", said.out, said.err);
    for named in ["mixed.csv:3:", "mixed.csv:4:", "mixed.csv:5:", "3 row(s) could not be asked about"] {
        assert!(said.err.contains(named), "{named} in {}", said.err);
    }
    let answers = std::fs::read_to_string(&out).unwrap();
    let mut answers: Vec<Vec<&str>> = answers.lines().skip(1).map(|line| line.split(',').take(3).collect()).collect();
    answers.sort();
    let wanted = [
        ["1", "allowed", "GRANTED"],
        ["2", "denied", "WITHDRAWN"],
        ["3", "bad-row", ""],
        ["4", "bad-row", ""],
        ["5", "bad-row", ""],
        ["6", "denied", "NOT_GRANTED"],
        ["7", "denied", "NOT_GRANTED"],
    ];
    assert_eq!(answers, wanted);
    assert!(said.out.contains("allowed: 1") && said.out.contains("NOT_GRANTED: 2"), "{}", said.out);

    // Who may not be contacted is no failure; a file of addresses names their namespace once.
    let list = file("list.csv", "email\nada@acme-corp.com\nbyron@acme-corp.com\n");
    let said = many(&list, &["--json", "--reserve"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let sum: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((&sum["allowed"], &sum["denied"], &sum["bad"]), (&1.into(), &1.into(), &0.into()));
    assert_eq!((&sum["allowedByReason"]["GRANTED"], &sum["deniedByReason"]["WITHDRAWN"]), (&1.into(), &1.into()));
    // Nor has it to be named: whoever stands first is asked about too.
    let said = many(&file("bare.csv", "ada@acme-corp.com\nbyron@acme-corp.com\n"), &["--json"]);
    let sum: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((&sum["allowed"], &sum["denied"]), (&1.into(), &1.into()), "{}", said.err);
    let said = many(&file("cut.csv", "email;ada@acme-corp.com\nemail;byron@acme-corp.com\n"), &["--json"]);
    let sum: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((&sum["allowed"], &sum["denied"]), (&1.into(), &1.into()), "{}", said.err);
    let said = many(&file("odd.csv", "two words\n"), &[]);
    assert!(said.code == Some(1) && said.err.contains("odd.csv:1:"), "{}{}", said.out, said.err);
    assert_eq!(many(&file("empty.csv", ""), &[]).code, Some(0));
    assert_eq!(many(&folder.path().join("missing.csv").display().to_string(), &[]).code, Some(2));
    assert_eq!(served.run(&["decide", "--file", &list]).code, Some(2), "what for, and over what?");
}
