use std::path::Path;

use proptest::prelude::*;

use super::{
    Action, COLUMN_NAME_BYTES_MAX, COLUMNS_MAX, Encoding, Item, ROW_BYTES_MAX, ReadError, ReadOptions, Reader,
};

/// Rows as (line, fields as text by column name) and refusals as (line, reason).
type Seen = (Vec<(u64, Vec<(String, String)>)>, Vec<(u64, String)>);

/// Line, and what it gives.
type Lines<'a> = Vec<(u64, &'a str)>;
/// Column and text.
type Fields<'a> = Vec<(&'a str, &'a str)>;

fn open(name: &str, bytes: &[u8]) -> Result<Reader, ReadError> {
    Reader::from_bytes(Path::new(name), Box::new(std::io::Cursor::new(bytes.to_vec())), &ReadOptions::default())
}

fn read(name: &str, bytes: &[u8]) -> Seen {
    let mut reader = open(name, bytes).map_err(|error| error.to_string()).unwrap();
    let (mut rows, mut refused) = (Vec::new(), Vec::new());
    while let Some(item) = reader.next_item().unwrap() {
        match item {
            Item::Record(record) => {
                let names = reader.columns().names();
                let fields = record.fields.into_iter().map(|(at, text)| (names[at as usize].clone(), text)).collect();
                rows.push((record.line, fields));
            }
            Item::Refused(refusal) => refused.push((refusal.line, refusal.reason)),
        }
    }
    (rows, refused)
}

fn row(line: u64, fields: &[(&str, &str)]) -> (u64, Vec<(String, String)>) {
    (line, fields.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect())
}

#[test]
fn broken_tables_lose_only_the_broken_rows() {
    let quote = "text follows a closing quote; a quote inside a quoted field is doubled";
    let never = "a quote is opened and never closed";
    #[rustfmt::skip]
    let table: Vec<(&str, &[u8], Lines<'_>, Lines<'_>)> = vec![
        ("plain", b"a,b\n1,2\n3,4\n", vec![(2, "1|2"), (3, "3|4")], vec![]),
        ("no end of line at the end", b"a,b\n1,2", vec![(2, "1|2")], vec![]),
        ("windows", b"a,b\r\n1,2\r\n", vec![(2, "1|2")], vec![]),
        ("old macintosh", b"a,b\r1,2\r3,4\r", vec![(2, "1|2"), (3, "3|4")], vec![]),
        ("blank lines", b"\n\na,b\n\n1,2\n  \n3,4\n", vec![(5, "1|2"), (7, "3|4")], vec![]),
        ("quoted", b"a,b\n\"x, \"\"y\"\"\",2\n", vec![(2, "x, \"y\"|2")], vec![]),
        ("several lines", b"a,b\n\"x\ny\",2\n3,4\n", vec![(2, "x\ny|2"), (4, "3|4")], vec![]),
        ("quote inside a plain field", b"a,b\n5\" nail,2\n3,4\n", vec![(2, "5\" nail|2"), (3, "3|4")], vec![]),
        ("too few and too many", b"a,b\n1\n1,2,3\n4,5\n", vec![(4, "4|5")],
            vec![(2, "has 1 fields where the header has 2"), (3, "has 3 fields where the header has 2")]),
        ("open to the end", b"a,b\n\"1,2\n3,4\n5,6\n", vec![(3, "3|4"), (4, "5|6")], vec![(2, never)]),
        ("open to the next quoted row", b"a,b\n\"1,2\n3,\"4\"\n5,6\n", vec![(3, "3|4"), (4, "5|6")], vec![(2, quote)]),
        ("text behind a quote", b"a,b\n\"1\"x,2\n3,4\n", vec![(3, "3|4")], vec![(2, quote)]),
        ("glued by a stray quote", b"a,b\n1,\"2\n3,4\n5\",6\n7,8\n", vec![(3, "3|4"), (4, "5\"|6"), (5, "7|8")],
            vec![(2, "has 3 fields where the header has 2")]),
        ("one wrong byte", b"a,b\n\xc3\xa9,2\n\xe9,4\n5,6\n", vec![(2, "\u{e9}|2"), (4, "5|6")],
            vec![(3, super::NOT_TEXT)]),
        // What stood behind it in its field was dropped without a word.
        ("a carriage return in a field", b"a,b\n1,x\ry\n\"2\",z\n", vec![(2, "1|x\ry"), (3, "2|z")], vec![]),
        ("semicolons", b"a;b\n1,5;2\n", vec![(2, "1,5|2")], vec![]),
        ("tabs", b"a\tb\n1\t2\n", vec![(2, "1|2")], vec![]),
        ("bars", b"a|b\n1|2\n", vec![(2, "1|2")], vec![]),
        ("a first line that tells", b"sep=;\r\na;b\r\n1,5;2\r\n", vec![(3, "1,5|2")], vec![]),
        ("and one in quotes", b"\"SEP=|\"\na|b\n1,2,3|4\n", vec![(3, "1,2,3|4")], vec![]),
        ("and a name like it", b"sep=x,b\n1,2\n", vec![(2, "1|2")], vec![]),
        ("one column", b"email\nx@y.de\n", vec![(2, "x@y.de")], vec![]),
        ("trailing empties are absent", b"a,b,c\n1,,\n", vec![(2, "1")], vec![]),
    ];
    for (name, bytes, rows, refused) in table {
        let (got_rows, got_refused) = read("t.csv", bytes);
        let got: Vec<(u64, String)> = got_rows
            .into_iter()
            .map(|(line, fields)| (line, fields.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join("|")))
            .collect();
        let want: Vec<(u64, String)> = rows.iter().map(|(line, text)| (*line, (*text).to_owned())).collect();
        assert_eq!(got, want, "{name}");
        let want: Vec<(u64, String)> = refused.iter().map(|(line, text)| (*line, (*text).to_owned())).collect();
        assert_eq!(got_refused, want, "{name}");
    }
}

/// Behind the head of a file they became part of a name.
#[test]
fn zero_bytes_are_refused_wherever_they_stand() {
    let many: String = (0..10_000).map(|at| format!("{at},good\n")).collect();
    let bytes = [b"a,b\n", many.as_bytes(), b"x,Z\0e\ny,good\n"].concat();
    let (rows, refused) = read("t.csv", &bytes);
    assert_eq!(rows.len(), 10_001);
    assert_eq!(refused, [(10_002, super::NOT_TEXT.to_owned())]);
}

#[test]
fn files_that_are_no_tables_say_what_to_do() {
    let table: [(&str, &[u8], &str); 7] = [
        ("empty.csv", b"", "the file is empty"),
        ("blank.csv", b" \n\n", "the file is empty"),
        ("no_header.csv", b"ada@example.org,12,London\n", "line 1: looks like data, not like column names"),
        ("numbers.csv", b"1,2,3\n4,5,6\n", "line 1: looks like data"),
        ("array.json", b"[{\"a\":1}]", "one object a line is needed"),
        ("book.csv", b"PK\x03\x04\x00\x00\x00", "spreadsheet"),
        ("quote.csv", b"\"a,b\n1,2\n", "the header cannot be read"),
    ];
    for (name, bytes, want) in table {
        let error = open(name, bytes).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.starts_with(name) && error.contains(want), "{name}: {error}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let error = Reader::open(Path::new("/nowhere/x.csv"), &ReadOptions::default()).err().unwrap().to_string();
    assert!(error.starts_with("/nowhere/x.csv: cannot be opened"), "{error}");
    let error = Reader::open(&std::env::temp_dir(), &ReadOptions::default()).err().unwrap().to_string();
    assert!(error.contains("directory"), "{error}");
}

#[test]
fn a_header_with_a_name_twice_or_none_is_mended_and_told() {
    let mut reader = open("t.csv", b"a,a,,b\n1,2,3,4\n").map_err(|error| error.to_string()).unwrap();
    assert_eq!(reader.columns().names(), ["a", "a_2", "column_3", "b"]);
    assert_eq!(reader.notes().len(), 1);
    assert_eq!(reader.sample().unwrap().len(), 1);
    assert!(matches!(reader.next_item(), Ok(Some(Item::Record(_)))), "the sample comes again");
}

#[test]
fn encodings_are_told_apart() {
    let text = "name;city\nZoë;Łódź\n";
    let utf16 = |order: fn(u16) -> [u8; 2], mark: &[u8]| -> Vec<u8> {
        mark.iter().copied().chain(text.encode_utf16().flat_map(order)).collect()
    };
    let marked: Vec<u8> = b"\xef\xbb\xbf".iter().copied().chain(text.bytes()).collect();
    let table = [
        (text.as_bytes().to_vec(), Encoding::Utf8, "Zoë", "Łódź"),
        (marked, Encoding::Utf8, "Zoë", "Łódź"),
        (utf16(u16::to_le_bytes, b"\xff\xfe"), Encoding::Utf16Le, "Zoë", "Łódź"),
        (utf16(u16::to_be_bytes, b"\xfe\xff"), Encoding::Utf16Be, "Zoë", "Łódź"),
        (utf16(u16::to_le_bytes, b""), Encoding::Utf16Le, "Zoë", "Łódź"),
        (utf16(u16::to_be_bytes, b""), Encoding::Utf16Be, "Zoë", "Łódź"),
        (b"name;city\nZo\xeb;M\xfcnchen\n".to_vec(), Encoding::Latin1, "Zoë", "München"),
    ];
    for (bytes, encoding, name, city) in table {
        let reader = open("t.csv", &bytes).map_err(|error| error.to_string()).unwrap();
        assert_eq!(reader.encoding(), encoding);
        let (rows, refused) = read("t.csv", &bytes);
        assert_eq!(rows, [row(2, &[("name", name), ("city", city)])], "{encoding}");
        assert!(refused.is_empty());
    }
    // `utf-16` names no order of bytes; a mark does.
    let options = ReadOptions { encoding: "utf-16".parse().ok(), ..ReadOptions::default() };
    let bytes = Box::new(std::io::Cursor::new(utf16(u16::to_be_bytes, b"\xfe\xff")));
    let reader = Reader::from_bytes(Path::new("t.csv"), bytes, &options).map_err(|error| error.to_string()).unwrap();
    assert_eq!(
        (reader.encoding(), reader.columns().names()),
        (Encoding::Utf16Be, &["name".to_owned(), "city".to_owned()][..])
    );
}

/// Half a pair was read as a sign of its own, and made part of the name.
#[test]
fn rows_of_utf_16_that_are_no_text_are_refused() {
    let units = |text: &str| text.encode_utf16().collect::<Vec<u16>>();
    let file = |broken: &[u16]| {
        let mut all = units("\u{feff}name,city\nAda,Rome\nB");
        all.extend_from_slice(broken);
        all.extend(units("o,Oslo\nZo\u{1f600}\u{feff},Lima\n"));
        all
    };
    for broken in [&[0xd83d][..], &[0xde00], &[0xde00, 0xd83d], &[0xd83d, 0xd83d]] {
        for order in [u16::to_le_bytes, u16::to_be_bytes] {
            let bytes: Vec<u8> = file(broken).into_iter().flat_map(order).collect();
            let (rows, refused) = read("t.csv", &bytes);
            let whole = [
                row(2, &[("name", "Ada"), ("city", "Rome")]),
                row(4, &[("name", "Zo\u{1f600}\u{feff}"), ("city", "Lima")]),
            ];
            assert_eq!(rows, whole, "{broken:x?}");
            assert!(refused.len() == 1 && refused[0].0 == 3 && refused[0].1.contains("no text"), "{refused:?}");
        }
    }
    // Cut off in the middle of a unit.
    let mut bytes: Vec<u8> =
        units("\u{feff}name,city\nAda,Rome\nBo,Oslo").into_iter().flat_map(u16::to_le_bytes).collect();
    bytes.push(b'x');
    let (rows, refused) = read("t.csv", &bytes);
    assert_eq!((rows.len(), refused.len()), (1, 1));
}

/// A time that could not be read was passed over in silence, and the file's time taken for it.
#[test]
fn unreadable_times_of_envelopes_are_noted() {
    let segment = |time: &str| format!(r#"{{"type":"identify","userId":"u","timestamp":{time}}}"#);
    let debezium = |time: &str| format!(r#"{{"op":"c","after":{{"id":1}},"source":{{"ts_ms":{time}}}}}"#);
    let table = [
        (segment(r#""2024-01-01T10:00:00Z""#), false),
        (segment(r#""01.01.2024, ten o'clock""#), true),
        (segment("1704103200"), true),
        (segment("null"), false),
        (debezium("1700000000000"), false),
        (debezium(r#""yesterday""#), true),
        (debezium("null"), false),
    ];
    for (line, unreadable) in table {
        let (records, _) = records(line.as_bytes());
        assert_eq!(records.iter().map(|record| record.time_unreadable).collect::<Vec<_>>(), [unreadable], "{line}");
    }
}

#[test]
fn lines_over_the_bound_are_refused_and_the_next_is_read() {
    let long = "x".repeat(ROW_BYTES_MAX + 1);
    let (rows, refused) = read("t.csv", format!("a,b\n1,{long}\n3,4\n").as_bytes());
    assert_eq!(rows, [row(3, &[("a", "3"), ("b", "4")])]);
    assert_eq!(refused, [(2, "is longer than 1024 KiB".to_owned())]);
    let (rows, refused) = read("t.ndjson", format!("{{\"a\":\"{long}\"}}\n{{\"a\":1}}\n").as_bytes());
    assert_eq!(rows, [row(2, &[("a", "1")])]);
    assert_eq!(refused.len(), 1);
}

#[test]
fn columns_and_their_names_have_a_bound() {
    let (fits, long) = ("n".repeat(COLUMN_NAME_BYTES_MAX), "n".repeat(COLUMN_NAME_BYTES_MAX + 1));
    let many = |count: usize| (0..count).map(|at| format!("c{at}")).collect::<Vec<_>>().join(",");
    let table = [
        (format!("a,b,{fits}\n1,2,3\n"), None),
        (format!("a,b,{long}\n1,2,3\n"), Some("line 1: the name of column 3 has 1025 bytes; at most 1024 are read")),
        (format!("sep=;\na;{long}\n1;2\n"), Some("line 2: the name of column 2 has 1025 bytes")),
        (format!("{}\n", many(COLUMNS_MAX)), None),
        (format!("{}\n", many(COLUMNS_MAX + 1)), Some("line 1: has 2001 columns; at most 2000 are read")),
    ];
    for (text, want) in table {
        let fault = open("t.csv", text.as_bytes()).err().map(|error| error.to_string());
        let short = fault.as_deref().map(|fault| &fault[..fault.len().min(200)]);
        assert_eq!(fault.is_some(), want.is_some(), "{short:?}");
        assert!(fault.unwrap_or_default().contains(want.unwrap_or_default()), "{want:?}");
    }
    // Of JSON lines the line alone is refused, by the place where the parser stands and never by what is written there.
    let half = "m".repeat(COLUMN_NAME_BYTES_MAX / 2);
    let path = format!("{{\"{half}\":{{\"{half}\":1}}}}");
    let lines = format!("{{\"{fits}\":1}}\n{{\"a\":{{\"{long}\":1}}}}\n{path}\n{{\"a\":1}}\n");
    let (rows, refused) = read("t.ndjson", lines.as_bytes());
    assert_eq!(rows, [row(1, &[(&fits, "1")]), row(4, &[("a", "1")])]);
    assert!(refused[0].1.starts_with("names a field by more than 1024 bytes at column 103"), "{}", refused[0].1);
    assert_eq!((refused.len(), refused[0].0), (2, 2));
    assert_eq!(refused[1], (3, "names a field by a path of 1025 bytes; at most 1024 are read".to_owned()));
    // And of one whose names are all new: nothing is kept of what is refused.
    let lines: String = (0..COLUMNS_MAX + 9).map(|at| format!("{{\"c{at}\":1}}\n")).collect();
    let (rows, refused) = read("t.ndjson", lines.as_bytes());
    assert_eq!((rows.len(), refused.len()), (COLUMNS_MAX, 9));
    assert_eq!(refused[0], (COLUMNS_MAX as u64 + 1, "brings the file to more than 2000 columns".to_owned()));
}

/// An export with one stray quote took time by the square of its lines: the open row was read anew at every line.
#[test]
fn a_stray_quote_costs_no_more_than_its_row() {
    let rows = 90_000;
    let text = format!("a,b\n\"1,2\n{}", "3,4\n".repeat(rows));
    let (read_rows, refused) = read("t.csv", text.as_bytes());
    assert_eq!((read_rows.len(), refused.len()), (rows, 1));
    let (read_rows, refused) = read("t.csv", format!("a,b\n\"{}\",2\n", "x\n".repeat(rows)).as_bytes());
    assert_eq!((read_rows.len(), refused.len()), (1, 0), "a long row of many lines is a row");
}

/// Rows that each open a quote which the next one closes and opens again were read a thousand times each.
#[test]
fn many_stray_quotes_cost_no_more_than_one() {
    let rows = 90_000;
    let stray = "a\",b,\"c\n".repeat(rows);
    let (read_rows, refused) = read("t.csv", format!("a,b,c\n{stray}").as_bytes());
    assert_eq!((read_rows.len(), refused.len()), (0, rows));
    let (read_rows, refused) = read("t.csv", format!("a,b,c\n{stray}x\",y\n1,2,3\n").as_bytes());
    let lines: Vec<u64> = read_rows.iter().map(|(line, _)| *line).collect();
    assert_eq!((lines, refused.len()), (vec![rows as u64 + 3], rows + 1));
}

#[test]
fn json_lines_are_flattened_and_bad_ones_refused() {
    let deep = "{\"a\":".repeat(12) + "1" + &"}".repeat(12);
    let table: Vec<(&str, Option<Fields<'_>>)> = vec![
        (
            r#"{"a":1,"b":{"c":"x","d":[1,2]},"e":null,"f":" ","g":true}"#,
            Some(vec![("a", "1"), ("b.c", "x"), ("b.d", "1"), ("b.d", "2"), ("g", "true")]),
        ),
        (r#"{"emails":[{"value":"a"},{"value":"b"}]}"#, Some(vec![("emails.value", "a"), ("emails.value", "b")])),
        // Identifiers as objects are read: as on the wire, or as a value with something beside it.
        (
            r#"{"identifiers":[{"namespace":"email","value":"a@b.de"},{"namespace":"badge","value":"7"}]}"#,
            Some(vec![("identifiers.email", "a@b.de"), ("identifiers.badge", "7")]),
        ),
        (
            r#"{"email":{"value":"a@b.de","verified":true},"phone":[{"number":"+49301"}],"userId":{"id":7}}"#,
            Some(vec![("email", "a@b.de"), ("email.verified", "true"), ("phone", "+49301"), ("userId", "7")]),
        ),
        (r#"{"size":{"value":"L"}}"#, Some(vec![("size.value", "L")])),
        (r#"{"card":12345678901234567890}"#, Some(vec![("card", "12345678901234567890")])),
        (r#"{"card":1234567890123456789012}"#, None),
        (r#"{"n":-5,"x":1.5}"#, Some(vec![("n", "-5"), ("x", "1.5")])),
        (r#"{"email":"a","name":"x","email":"b"}"#, None),
        (r#"{"a":[{"b":1,"b":2}]}"#, None),
        (r#"{"a":"#, None),
        (r#"["a"]"#, None),
        ("hello", None),
        (&deep, None),
    ];
    for (line, want) in table {
        let (rows, refused) = read("t.ndjson", format!("{line}\n").as_bytes());
        match want {
            Some(fields) => assert_eq!(rows, [row(1, &fields)], "{line}"),
            None => {
                assert_eq!((rows.len(), refused.len()), (0, 1), "{line}");
                assert!(!refused[0].1.contains("hello"), "no value in the reason: {}", refused[0].1);
            }
        }
    }
}

fn records(bytes: &[u8]) -> (Vec<super::RawRecord>, Vec<String>) {
    let mut reader = open("t.ndjson", bytes).map_err(|error| error.to_string()).unwrap();
    let mut records = Vec::new();
    while let Some(item) = reader.next_item().unwrap() {
        if let Item::Record(record) = item {
            records.push(record);
        }
    }
    (records, reader.columns().names().to_vec())
}

#[test]
fn calls_of_an_event_stream_become_records() {
    let line = |text: &str| records(text.as_bytes());
    let (identify, columns) = line(
        r#"{"type":"identify","messageId":"m1","userId":"u1","anonymousId":"v1","traits":{"email":"a@b.de"},
            "context":{"device":{"id":"d1"},"externalIds":[{"id":"9","type":"ios.idfa"}],"ip":"1.2.3.4"},
            "originalTimestamp":"2024-01-01T10:00:00Z","sentAt":"2024-01-01T10:00:05Z","receivedAt":"2024-01-01T09:00:06Z"}"#
            .replace('\n', " ")
            .as_str(),
    );
    assert_eq!(identify[0].key.as_deref(), Some("m1"));
    // Received less the five seconds that lay between seeing and sending.
    let want: jiff::Timestamp = "2024-01-01T09:00:01Z".parse().unwrap();
    assert_eq!(identify[0].observed_at.map(|at| at.0), Some(want.as_microsecond()));
    let mut names = columns;
    names.sort();
    assert_eq!(names, ["anonymousId", "context.device.id", "externalIds.ios.idfa", "traits.email", "userId"]);

    let (track, columns) =
        line(r#"{"type":"track","event":"Bought","anonymousId":"v1","properties":{"email":"not mine"}}"#);
    assert_eq!(columns, ["anonymousId"], "what a user did is no fact about the user");
    assert_eq!(track[0].key.as_ref().map(String::len), Some(32), "keyed by its own bytes");

    let (group, _) =
        line(r#"{"type":"group","messageId":"m2","userId":"u1","groupId":"g1","traits":{"name":"Acme GmbH"}}"#);
    assert_eq!(group.len(), 2, "a user in an account, and the account");
    assert_eq!(group[1].key.as_deref(), Some("group:g1"));
    assert_eq!(group[1].party, Some(onefold_core::fragment::PartyKind::Organisation));

    // Ids that are numbers count as well: nothing that a group tells is dropped.
    let numbers = r#"{"type":"group","messageId":7,"userId":1,"groupId":42,"traits":{"name":"Acme GmbH"}}"#;
    let (group, _) = line(numbers);
    let keys: Vec<Option<&str>> = group.iter().map(|record| record.key.as_deref()).collect();
    assert_eq!(keys, [Some("7"), Some("group:42")]);
    let (_, refused) = read("t.ndjson", br#"{"type":"group","userId":"u1","traits":{"name":"Acme GmbH"}}"#);
    assert!(refused.len() == 1 && refused[0].1.contains("groupId"), "{refused:?}");

    let (other, columns) = line(r#"{"type":"individual","name":"x"}"#);
    assert_eq!((other.len(), columns.len()), (1, 2), "another thing that happens to have a type");
}

#[test]
fn changes_of_a_database_become_puts_and_retractions() {
    let text = concat!(
        r#"{"op":"c","before":null,"after":{"id":1,"email":"a@b.de"},"source":{"ts_ms":1700000000000,"table":"customers"}}"#,
        "\n",
        r#"{"payload":{"op":"d","before":{"id":1},"after":null,"source":{"ts_ms":1700000001000,"table":"customers"}}}"#,
        "\nnull\n",
    );
    let (changes, _) = records(text.as_bytes());
    assert_eq!(changes.len(), 2, "the tombstone says nothing new");
    assert_eq!((changes[0].action, changes[1].action), (Action::Put, Action::Retract));
    assert_eq!(changes[1].observed_at.map(|at| at.0), Some(1_700_000_001_000_000));
    assert_eq!(changes[0].source.as_deref(), Some("customers"));
    let (_, refused) = read("t.ndjson", br#"{"op":"d","before":null,"after":null}"#);
    assert_eq!(refused.len(), 1, "a delete that does not say of what");
}

proptest! {
    /// What a well-behaved writer writes comes back, whatever is in it, in any of the delimiters.
    #[test]
    fn tables_come_back(
        rows in proptest::collection::vec(proptest::collection::vec("[a-z,;|\t\"'\n é]{0,8}", 3), 1..20),
        delimiter in prop::sample::select(vec![b',', b';', b'\t', b'|']),
    ) {
        let mut writer = csv::WriterBuilder::new().delimiter(delimiter).from_writer(Vec::new());
        writer.write_record(["alpha", "beta", "gamma"]).unwrap();
        for row in &rows {
            writer.write_record(row).unwrap();
        }
        let bytes = writer.into_inner().unwrap();
        let options = ReadOptions { delimiter: Some(delimiter), ..ReadOptions::default() };
        let mut reader = Reader::from_bytes(Path::new("t.csv"), Box::new(std::io::Cursor::new(bytes)), &options)
            .map_err(|error| error.to_string()).unwrap();
        let mut got = Vec::new();
        while let Some(item) = reader.next_item().unwrap() {
            match item {
                Item::Refused(refusal) => prop_assert!(false, "{}", refusal.reason),
                Item::Record(record) => {
                    let mut row = vec![String::new(); 3];
                    for (at, text) in record.fields {
                        row[at as usize] = text;
                    }
                    got.push(row);
                }
            }
        }
        let want: Vec<Vec<String>> = rows
            .iter()
            .map(|row| row.iter().map(|text| text.trim().to_owned()).collect())
            .collect();
        prop_assert_eq!(got, want);
    }

    /// Any bytes at all: an answer, never a panic, and no row read twice.
    #[test]
    fn any_bytes_get_an_answer(bytes in proptest::collection::vec(prop_oneof![
        4 => prop::sample::select(b"\",\n\r;{}[]:ab1 ".to_vec()), 1 => any::<u8>()
    ], 0..300)) {
        for name in ["t.csv", "t.ndjson"] {
            if let Ok(mut reader) = open(name, &bytes) {
                let mut lines = Vec::new();
                while let Some(item) = reader.next_item().unwrap() {
                    lines.push(match item {
                        Item::Record(record) => record.line,
                        Item::Refused(refusal) => refusal.line,
                    });
                }
                prop_assert!(lines.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", lines);
            }
        }
    }
}

/// An indented file used to be refused line by line, which said nothing of what it is.
#[test]
fn json_over_several_lines_is_named_and_how_to_make_lines_of_it() {
    let long = format!("{{\n  \"note\": \"{}\",\n  \"a\": [\n    1\n", "x ".repeat(40_000));
    for text in
        ["{\n  \"a\": 1,\n  \"b\": {\n    \"c\": 2\n  }\n}\n{\n  \"a\": 2\n}\n", "{ \"a\": 1,\n\"b\": 2 }", &long]
    {
        let told = open("t.json", text.as_bytes()).map(|_| ()).map_err(|error| error.to_string()).unwrap_err();
        assert!(told.contains("several lines") && told.contains("`jq -c . FILE`"), "{told}");
    }
    let told = open("t.ndjson", b"[\n  {\"a\": 1}\n]\n").map(|_| ()).map_err(|error| error.to_string()).unwrap_err();
    assert!(told.contains("one JSON array") && told.contains("`jq -c '.[]' FILE`"), "{told}");
    // A damaged first line is one refused row.
    for text in [
        "{\"a\": \"x\n{\"a\": 2}\n{\"a\": 3}\n",
        "{\"a\":\n{\"a\": 2}\n{\"a\": 3}\n",
        "{\"a\": 1,\n{\"a\": 2}\n{\"a\": 3}\n",
    ] {
        let (rows, refused) = read("t.json", text.as_bytes());
        assert_eq!((rows.len(), refused.len()), (2, 1), "{text}");
    }
}
