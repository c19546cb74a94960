use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use onefold_core::config::TenantConfig;

use super::{DateOrder, Mapping, MappingFile, PartyRule, Role, Shaper, as_name, guess, observed_at};
use crate::generate::{Population, Sizes, write};
use crate::input::{Item, ReadOptions, Reader};

fn mapping_of(name: &str, text: &str) -> Mapping {
    let mut reader = Reader::from_bytes(
        Path::new(name),
        Box::new(std::io::Cursor::new(text.as_bytes().to_vec())),
        &ReadOptions::default(),
    )
    .map_err(|error| error.to_string())
    .unwrap();
    reader.sample().unwrap();
    let columns = reader.columns().names().to_vec();
    guess(&columns, &reader.sample().unwrap(), "file", None)
}

fn roles(mapping: &Mapping) -> BTreeMap<String, String> {
    mapping.columns.iter().map(|column| (column.column.clone(), column.role.to_string())).collect()
}

/// Where the labelled sets lie beside the workspace.
pub(crate) fn data_sets() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    if !folder.is_dir() {
        eprintln!("skipped: the labelled data sets are not beside the workspace");
        return None;
    }
    Some(folder)
}

#[test]
fn headers_of_the_labelled_sets_are_understood() {
    let Some(folder) = data_sets() else { return };
    const FEBRL: &str = "record_id=record_id cluster_id=truth given_name=attribute:given_name surname=attribute:family_name \
        street_number=attribute:address.street address_1=attribute:address.street address_2=attribute:address.unit \
        suburb=attribute:address.city postcode=attribute:address.postcode state=attribute:address.region \
        date_of_birth=attribute:birth_date soc_sec_id=identifier:tax_id";
    let person = PartyRule::Person;
    let organisation = PartyRule::Organisation;
    let table = [
        ("febrl1", person, FEBRL),
        ("febrl2", person, FEBRL),
        ("febrl3", person, FEBRL),
        ("febrl4", person, &format!("{FEBRL} source=source")),
        ("febrl_dsgen_c10k", person, &format!("{FEBRL} phone_number=identifier:phone age=attribute:age")),
        ("epbrn_d", person, "day=birth_day month=birth_month year=birth_year surname=attribute:family_name"),
        (
            "fake_1000",
            person,
            "first_name=attribute:given_name dob=attribute:birth_date email=identifier:email city=attribute:address.city",
        ),
        (
            "historical_50k",
            person,
            "full_name=attribute:full_name first_and_surname=ignore dob=attribute:birth_date birth_place=attribute:birth_place \
             postcode_fake=attribute:address.postcode gender=attribute:gender occupation=attribute:occupation",
        ),
        (
            "rldata500",
            person,
            "fname_c1=attribute:given_name fname_c2=attribute:given_name lname_c1=attribute:family_name \
             lname_c2=attribute:family_name by=birth_year bm=birth_month bd=birth_day",
        ),
        ("census_secondstring", person, "initial=attribute:middle_name street=attribute:address.street source=source"),
        (
            "senzing_truthset",
            PartyRule::ByRow,
            "primary_name_full=attribute:full_name primary_name_org=attribute:legal_name primary_name_last=attribute:family_name \
             native_name_full=attribute:full_name secondary_name_org=attribute:trading_name passport_number=identifier:passport_id \
             drivers_license_number=identifier:driver_licence_id ssn_number=identifier:tax_id \
             tax_id_number=identifier:tax_id_number national_id_number=identifier:national_id email_address=identifier:email \
             phone_number=identifier:phone lei_number=identifier:registration_id record_type=record_type \
             addr_line1=attribute:address.street addr_full=attribute:address.full addr_postal_code=attribute:address.postcode \
             passport_country=attribute:passport_country rel_anchor_key=ignore employer=attribute:employer",
        ),
        (
            "synth_people_20k",
            person,
            "seen_at=observed_at full_name=attribute:full_name suffix=attribute:name_suffix device_id=identifier:device_id \
             loyalty_id=identifier:loyalty_id unit=attribute:address.unit phone=identifier:phone",
        ),
        (
            "synth_companies_6k",
            organisation,
            "name=name trading_name=attribute:trading_name website=identifier:domain reg_no=identifier:registration_id \
             industry=attribute:industry email=identifier:email region=attribute:address.region",
        ),
        ("nber_assignees_dev", organisation, "organization=attribute:legal_name patents=attribute:patents"),
        ("affiliations", organisation, "affiliation=attribute:legal_name"),
        (
            "restaurants",
            organisation,
            "name=name addr=attribute:address.street phone=identifier:phone type=attribute:type",
        ),
        ("cora", organisation, "author=attribute:author year=attribute:year"),
        ("dblp_acm", organisation, "authors=attribute:authors source=source"),
        ("abt_buy", organisation, "name=name price=attribute:price"),
        ("amazon_google", organisation, "title=attribute:title manufacturer=attribute:manufacturer"),
    ];
    for (set, party, wanted) in table {
        let path = folder.join(set).join("records.csv");
        let mut reader = Reader::open(&path, &ReadOptions::default()).map_err(|error| error.to_string()).unwrap();
        let columns = reader.columns().names().to_vec();
        let mapping = guess(&columns, &reader.sample().unwrap(), set, None);
        let got = roles(&mapping);
        for pair in wanted.split_whitespace().chain(["record_id=record_id", "cluster_id=truth"]) {
            let (column, role) = pair.split_once('=').unwrap();
            assert_eq!(got.get(column).map(String::as_str), Some(role), "{set}: {column}");
        }
        assert_eq!(mapping.party, party, "{set}");
    }
}

#[test]
fn headers_of_other_systems_are_understood() {
    let table = [
        ("Email Address", "identifier:email"),
        ("customerEmail", "identifier:email"),
        ("HOME_PHONE", "identifier:phone"),
        ("phone2", "identifier:phone"),
        ("traits.firstName", "attribute:given_name"),
        ("requester.name", "name"),
        ("userId", "identifier:user_id"),
        ("previousId", "identifier:anonymous_id"),
        ("Kundennummer", "identifier:crm_id"),
        ("billing_address.zip", "attribute:address.postcode"),
        ("billing zip", "attribute:address.postcode"),
        ("Straße", "attribute:address.street"),
        ("Prénom", "attribute:given_name"),
        ("Größe", "attribute:grosse"),
        ("by", "attribute:by"),
        ("company_name", "attribute:legal_name"),
        ("product_name", "attribute:product_name"),
        ("national_id_country", "attribute:national_id_country"),
        ("externalIds.ios.idfa", "identifier:ios.idfa"),
        ("email.value", "identifier:email"),
        ("contact.phone.value", "identifier:phone"),
        ("company.value", "attribute:company.value"),
        ("identifiers.email", "identifier:email"),
        ("identifiers.badge", "identifier:badge"),
    ];
    for (header, want) in table {
        let mapping = guess(&[header.to_owned()], &[], "file", None);
        assert_eq!(mapping.columns[0].role.to_string(), want, "{header}");
    }
}

#[test]
fn values_speak_where_headers_do_not() {
    let mapping = mapping_of(
        "t.csv",
        "kontakt,x,n\na@b.de,(212) 555-1234,12345678901\nc@d.fr,(212) 555-1235,22345678901\ne@f.it,(212) 555-1236,3\n\
         g@h.es,+44 7700 900123,4\ni@j.pl,212-555-1238,5\n",
    );
    let got = roles(&mapping);
    assert_eq!(got["kontakt"], "identifier:email");
    assert_eq!(got["x"], "identifier:phone");
    assert_eq!(got["n"], "attribute:n", "bare digits may be anything");
}

#[test]
fn files_of_persons_and_of_organisations_are_told_apart() {
    let table = [
        ("first_name,last_name,email,company,website,industry", PartyRule::Person),
        ("name,email,phone", PartyRule::Person),
        ("name,phone,city", PartyRule::Organisation),
        ("company,email,phone", PartyRule::Organisation),
        ("company_name,website,reg_no,contact_email", PartyRule::Organisation),
        ("name,registration_number,industry", PartyRule::Organisation),
        ("full_name,company", PartyRule::Person),
        ("email,device_id", PartyRule::Person),
        ("name,entity_type,email", PartyRule::ByRow),
    ];
    for (headers, party) in table {
        let columns: Vec<String> = headers.split(',').map(str::to_owned).collect();
        assert_eq!(guess(&columns, &[], "file", None).party, party, "{headers}");
    }
    let mapping = mapping_of("t.csv", "name,email\nAcme GmbH,a@b.de\nBolt Ltd,b@b.de\nAda King,c@d.de\n");
    assert_eq!(mapping.party, PartyRule::Organisation, "legal forms among the names");
}

#[test]
fn a_bare_id_is_the_key_only_when_it_is_one() {
    assert_eq!(roles(&mapping_of("t.csv", "id,email\n1,a@b.de\n2,c@d.de\n"))["id"], "record_id");
    assert_eq!(roles(&mapping_of("t.csv", "id,email\n1,a@b.de\n1,c@d.de\n"))["id"], "attribute:id");
    assert_eq!(roles(&mapping_of("t.csv", "id,record_id\n1,7\n2,8\n"))["id"], "attribute:id");
}

#[test]
fn truth_by_option_is_no_feature() {
    let columns = ["person_id".to_owned(), "email".to_owned()];
    let mapping = guess(&columns, &[], "file", Some("person_id"));
    assert_eq!(mapping.columns[0].role, Role::Truth);
}

#[test]
fn times_are_read_as_files_write_them() {
    let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_microsecond();
    let table = [
        ("2024-03-04", DateOrder::Mdy, Some(at("2024-03-04T00:00:00Z"))),
        ("20240304", DateOrder::Mdy, Some(at("2024-03-04T00:00:00Z"))),
        ("2024-03-04 05:06:07", DateOrder::Mdy, Some(at("2024-03-04T05:06:07Z"))),
        ("2024-03-04T05:06:07+02:00", DateOrder::Mdy, Some(at("2024-03-04T03:06:07Z"))),
        ("03/04/2024", DateOrder::Mdy, Some(at("2024-03-04T00:00:00Z"))),
        ("04/03/2024", DateOrder::Dmy, Some(at("2024-03-04T00:00:00Z"))),
        ("04.03.2024", DateOrder::Mdy, Some(at("2024-03-04T00:00:00Z"))),
        ("1709510400", DateOrder::Mdy, Some(at("2024-03-04T00:00:00Z"))),
        ("1709510400000", DateOrder::Mdy, Some(at("2024-03-04T00:00:00Z"))),
        ("31/31/2024", DateOrder::Mdy, None),
        ("soon", DateOrder::Mdy, None),
        ("", DateOrder::Mdy, None),
    ];
    for (text, order, want) in table {
        assert_eq!(observed_at(text, order).map(|at| at.0), want, "{text:?}");
    }
    assert_eq!(DateOrder::guess(["01/02/2024", "13/02/2024"].into_iter()), DateOrder::Dmy);
    assert_eq!(DateOrder::guess(["01/02/2024", "01/22/2024"].into_iter()), DateOrder::Mdy);
}

#[test]
fn a_printed_mapping_reads_back_as_the_guess() {
    let mut bytes = Vec::new();
    write::combined(Population::new(1, Sizes { people: 60, companies: 20 }), &mut bytes).unwrap();
    let text = String::from_utf8(bytes).unwrap().replacen("tax_id", "national_id", 1).replacen("region", "we\"ird", 1);
    let guessed = mapping_of("t.csv", &text);
    let printed = MappingFile::print(&[("t.csv".to_owned(), &guessed)]);
    let file = MappingFile::parse(&printed, false, Path::new("m.toml")).map_err(|fault| fault.to_string()).unwrap();
    let mut again = guessed.clone();
    for column in &mut again.columns {
        column.role = Role::Ignore;
    }
    again.party = PartyRule::Person;
    file.apply(Path::new("some/where/t.csv"), true, &mut again).map_err(|fault| fault.to_string()).unwrap();
    assert_eq!(roles(&again), roles(&guessed));
    assert_eq!((again.party, again.date_order, &again.source), (guessed.party, guessed.date_order, &guessed.source));
    assert_eq!(again.namespaces, guessed.namespaces);
}

#[test]
fn a_mapping_makes_roles_in_accounts_of_columns_and_an_organisation_has_none() {
    let text = "id,email,firm,post,kind\n1,a@b.de,acme,Buyer,person\n2,c@d.de,,Buyer,person\n3,e@f.de,acme,,company\n";
    let mut mapping = mapping_of("t.csv", text);
    let told = "[columns]\nfirm = \"affiliation\"\npost = \"affiliation_role\"\nkind = \"record_type\"\n";
    let file = MappingFile::parse(told, false, Path::new("m.toml")).map_err(|fault| fault.to_string()).unwrap();
    file.apply(Path::new("t.csv"), true, &mut mapping).map_err(|fault| fault.to_string()).unwrap();
    mapping.party = PartyRule::ByRow;
    let mut config = TenantConfig::new("t", "T");
    let bytes = Box::new(std::io::Cursor::new(text.as_bytes().to_vec()));
    let opened = Reader::from_bytes(Path::new("t.csv"), bytes, &ReadOptions::default());
    let mut reader = opened.map_err(|error| error.to_string()).unwrap();
    let mut shaper = Shaper::new(mapping, &mut config).map_err(|fault| fault.to_string()).unwrap();
    let mut found = Vec::new();
    while let Some(item) = reader.next_item().unwrap() {
        let Item::Record(raw) = item else { panic!("a row was refused") };
        let shaped = shaper.shape(raw, reader.columns(), &mut config).map_err(|refusal| refusal.reason).unwrap();
        let roles: Vec<(String, String)> =
            shaped.fragment.affiliations.into_iter().map(|one| (one.account.key, one.role)).collect();
        found.push(roles);
    }
    assert_eq!(found, [vec![("acme".to_owned(), "Buyer".to_owned())], vec![], vec![]]);
}

/// A mapping may name columns that a file of JSON lines shows late or never. They used to take the place of whatever came
/// next: a note became a telephone number, and linked.
#[test]
fn a_column_that_shows_late_has_the_meaning_of_its_own_name() {
    let mut reader = Reader::from_bytes(
        Path::new("t.ndjson"),
        Box::new(std::io::Cursor::new(
            [
                &"{\"id\":1,\"email\":\"a@acme.de\"}\n".repeat(super::super::SAMPLE_ROWS),
                "{\"note\":\"x\",\"fon\":\"y\"}\n",
            ]
            .concat()
            .into_bytes(),
        )),
        &ReadOptions::default(),
    )
    .map_err(|error| error.to_string())
    .unwrap();
    let columns = |reader: &mut Reader| {
        reader.sample().unwrap();
        reader.columns().names().to_vec()
    };
    let columns = columns(&mut reader);
    let mut mapping = guess(&columns, &reader.sample().unwrap(), "file", None);
    let text = "[columns]\nabsent = \"identifier:phone\"\nfon = \"identifier:phone\"";
    let file = MappingFile::parse(text, false, Path::new("m.toml")).unwrap();
    file.apply(Path::new("t.ndjson"), false, &mut mapping).map_err(|fault| fault.to_string()).unwrap();
    let mut config = TenantConfig::new("t", "T");
    let mut shaper = Shaper::new(mapping, &mut config).unwrap();
    let mut last = None;
    while let Some(item) = reader.next_item().unwrap() {
        let Item::Record(raw) = item else { panic!("a row was refused") };
        last =
            Some(shaper.shape(raw, reader.columns(), &mut config).map_err(|refusal| refusal.reason).unwrap().fragment);
    }
    let last = last.unwrap();
    let identifiers: Vec<&str> = last.identifiers.iter().map(|identifier| identifier.raw.as_str()).collect();
    assert_eq!(identifiers, ["y"]);
    assert_eq!(last.attributes.len(), 1, "the note");
}

#[test]
fn a_mapping_makes_stages_of_columns() {
    let text = "id,email,phase,since\n1,a@b.de, MQL ,2026-03-01\n2,c@d.de,,\n3,e@f.de,lead,\n4,g@h.de,lead,soon\n";
    let mut mapping = mapping_of("t.csv", text);
    let told = "[columns]\nphase = \"stage\"\nsince = \"stage_time\"\n";
    let file = MappingFile::parse(told, false, Path::new("m.toml")).map_err(|fault| fault.to_string()).unwrap();
    file.apply(Path::new("t.csv"), true, &mut mapping).map_err(|fault| fault.to_string()).unwrap();
    let mut config = TenantConfig::new("t", "T");
    let bytes = Box::new(std::io::Cursor::new(text.as_bytes().to_vec()));
    let opened = Reader::from_bytes(Path::new("t.csv"), bytes, &ReadOptions::default());
    let mut reader = opened.map_err(|error| error.to_string()).unwrap();
    let mut shaper = Shaper::new(mapping, &mut config).map_err(|fault| fault.to_string()).unwrap();
    let mut found = Vec::new();
    while let Some(item) = reader.next_item().unwrap() {
        let Item::Record(raw) = item else { panic!("a row was refused") };
        found.push(match shaper.shape(raw, reader.columns(), &mut config) {
            Ok(shaped) => Ok(shaped.fragment.stages.into_iter().map(|one| (one.name, one.at.map(|at| at.0))).collect()),
            Err(refusal) => Err(refusal.reason),
        });
    }
    let first_of_march = 1_772_323_200_000_000;
    let unreadable = "column `phase`: the time at which the stage was reached cannot be read";
    type Read = Vec<(String, Option<i64>)>;
    let want: [Result<Read, String>; 4] = [
        Ok(vec![("mql".to_owned(), Some(first_of_march))]),
        Ok(vec![]),
        Ok(vec![("lead".to_owned(), None)]),
        Err(unreadable.to_owned()),
    ];
    assert_eq!(found, want);
}

#[test]
fn faults_of_a_mapping_name_the_nearest_known_word() {
    let table = [
        ("colums = 1", "no key is called `colums`; did you mean `columns`?"),
        ("party = \"persn\"", "party: no value is called `persn`; did you mean `person`?"),
        (
            "[columns]\nmail = \"identifier:emial\"",
            "columns.mail: no namespace is called `emial`; did you mean `email`?",
        ),
        ("[columns]\nmail = \"recordid\"", "columns.mail: no meaning is called `recordid`; did you mean `record_id`?"),
        ("[columns]\nmail = 3", "columns.mail: must be a text"),
        ("[namespaces.card]\nclas = \"unique\"", "namespaces.card: no key is called `clas`; did you mean `class`?"),
        ("[file.\"t.csv\"]\nsorce = \"x\"", "file.t.csv: no key is called `sorce`; did you mean `source`?"),
        ("[columns", "TOML parse error"),
    ];
    for (text, want) in table {
        let fault = MappingFile::parse(text, false, Path::new("m.toml")).err().map(|fault| fault.to_string());
        assert!(fault.as_ref().is_some_and(|fault| fault.contains(want)), "{text}: {fault:?}");
    }
    let file = MappingFile::parse("[file.\"t.csv\".columns]\nemial = \"ignore\"", false, Path::new("m.toml")).unwrap();
    let mut mapping = mapping_of("t.csv", "email,name\na@b.de,x\n");
    let fault =
        file.apply(Path::new("t.csv"), true, &mut mapping).err().map(|fault| fault.to_string()).unwrap_or_default();
    assert!(fault.contains("did you mean `email`?"), "{fault}");
    let json = MappingFile::parse(
        r#"{"columns":{"card":"identifier:card"},"namespaces":{"card":{"class":"unique"}}}"#,
        true,
        Path::new("m.json"),
    );
    assert_eq!(json.map(|file| file.namespaces().len()).ok(), Some(1));
}

#[test]
fn a_printed_mapping_reads_back_with_what_it_blocks() {
    let text = "[columns]\ncard = \"identifier:card\"\n[namespaces.card]\nblocked_values = [\"0 \\\"1\\\"\"]\nblocked_patterns = [\"a\\\\d\"]";
    let file = MappingFile::parse(text, false, Path::new("m.toml")).unwrap();
    let mut mapping = mapping_of("t.csv", "card,name\n1,x\n");
    file.apply(Path::new("t.csv"), true, &mut mapping).map_err(|fault| fault.to_string()).unwrap();
    let printed = MappingFile::print(&[("t.csv".to_owned(), &mapping)]);
    let again = MappingFile::parse(&printed, false, Path::new("m.toml"))
        .map_err(|fault| format!("{fault}\n{printed}"))
        .unwrap();
    assert_eq!(again.namespaces(), file.namespaces());
}

#[test]
fn any_text_becomes_a_name() {
    for (text, want) in [
        ("First Name", "first_name"),
        ("firstName", "first_name"),
        ("a.b", "a.b"),
        ("é", "e"),
        ("!", "column"),
        ("X--Y", "x_y"),
    ] {
        assert_eq!(as_name(text), want);
    }
}

proptest! {
    /// The meaning of a column does not hang on where it stands.
    #[test]
    fn the_guess_is_stable_under_column_order(order in Just((0..31usize).collect::<Vec<_>>()).prop_shuffle(), seed in 0..20u64) {
        let mut bytes = Vec::new();
        write::combined(Population::new(seed, Sizes { people: 10, companies: 3 }), &mut bytes).unwrap();
        let mut reader = csv::Reader::from_reader(bytes.as_slice());
        let header = reader.headers().unwrap().clone();
        prop_assert_eq!(header.len(), order.len());
        let mut shuffled = csv::Writer::from_writer(Vec::new());
        shuffled.write_record(order.iter().map(|place| &header[*place])).unwrap();
        for row in reader.records() {
            let row = row.unwrap();
            shuffled.write_record(order.iter().map(|place| &row[*place])).unwrap();
        }
        let shuffled = String::from_utf8(shuffled.into_inner().unwrap()).unwrap();
        let straight = mapping_of("t.csv", std::str::from_utf8(&bytes).unwrap());
        let turned = mapping_of("t.csv", &shuffled);
        prop_assert_eq!(roles(&straight), roles(&turned));
        prop_assert_eq!(straight.party, turned.party);
    }
}

/// All changes of one transaction carry the time of its commit: a row inserted and updated in it, or deleted and inserted
/// anew, has two events of one time. The digest of the facts used to choose between them.
#[test]
fn changes_to_one_row_at_one_time_keep_their_order() {
    let change = |op: &str, id: u8, millis: u64, more: &str| {
        let side = if op == "d" { "before" } else { "after" };
        format!(
            "{{\"op\":\"{op}\",\"{side}\":{{\"id\":{id},\"email\":\"a{id}@b.de\"}},\"source\":{{\"table\":\"c\",\"ts_ms\":{millis}{more}}}}}\n"
        )
    };
    let text = [
        change("c", 1, 1_700_000_000_000, ""),
        change("u", 1, 1_700_000_000_000, ""),
        change("c", 2, 1_700_000_000_000, ""),
        change("d", 1, 1_700_000_000_000, ""),
        change("c", 1, 1_700_000_000_000, ""),
        // Finer times are taken, where they are of the same moment.
        change("u", 2, 1_700_000_000_001, ",\"ts_us\":1700000000001250"),
        change("u", 2, 1_700_000_000_001, ",\"ts_us\":1700000000001250"),
        change("u", 2, 1_700_000_000_001, ",\"ts_us\":1700000000001251"),
        change("u", 1, 1_700_000_000_002, ",\"ts_us\":5"),
        // An older one stays older.
        change("u", 1, 1_600_000_000_000, ""),
    ]
    .concat();
    let times = |text: &str| -> Vec<i64> {
        let bytes = Box::new(std::io::Cursor::new(text.as_bytes().to_vec()));
        let opened = Reader::from_bytes(Path::new("t.ndjson"), bytes, &ReadOptions::default());
        let mut reader = opened.map_err(|error| error.to_string()).unwrap();
        reader.sample().unwrap();
        let columns = reader.columns().names().to_vec();
        let mapping = guess(&columns, &reader.sample().unwrap(), "file", None);
        let mut config = TenantConfig::new("t", "T");
        let mut shaper = Shaper::new(mapping, &mut config).map_err(|fault| fault.to_string()).unwrap();
        let mut times = Vec::new();
        while let Some(item) = reader.next_item().unwrap() {
            let Item::Record(raw) = item else { panic!("a row was refused") };
            let shaped = shaper.shape(raw, reader.columns(), &mut config).map_err(|refusal| refusal.reason).unwrap();
            assert!(shaped.keyed);
            times.push(shaped.fragment.observed_at.0 - 1_700_000_000_000_000);
        }
        times
    };
    let want = [0, 1, 0, 2, 3, 1_250, 1_251, 1_252, 2_000, -100_000_000_000_000];
    assert_eq!(times(&text), want);
    let many = times(&change("u", 1, 1_700_000_000_000, "").repeat(1_500));
    assert_eq!((many[998], many[999], many[1_499]), (998, 999, 999), "never into the next millisecond");
}
