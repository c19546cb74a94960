//! Reads for a purpose beside profiles: roles, proposals, stages, statements. What a person's word does not permit is not
//! shown, and it is said what was left out.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use onefold_proto::v1 as pb;
use onefold_tests::accounts::{account, somebody, source_account};
use onefold_tests::consent::{at, of_record, said};
use onefold_tests::{House, journey, person, reason};
use pb::ConsentDecision::{Granted, Objected, Withdrawn};
use tonic_types::StatusExt;

const THEN: i64 = 1_700_000_000;

/// Ada and Bob work at the plant; Ada says yes to marketing by e-mail.
async fn house(dir: &tempfile::TempDir) -> House {
    let mut house = House::open(&dir.path().join("data")).await;
    house.sources(&["crm"]).await;
    let mut plant = source_account("crm", "plant", "Plant Works");
    plant.domains = vec!["plant-works.net".to_owned()];
    let request = pb::PutAccountRequest { account: Some(plant), ..Default::default() };
    house.accounts.put_account(request).await.unwrap();
    for (key, address) in [("ada", "ada@plant-works.net"), ("bob", "bob@plant-works.net")] {
        house.put(person("crm", key, THEN, &[("email", address)], &[("company", "Plant Works")])).await;
        house.affiliate("crm", key, "plant").await.unwrap();
    }
    house.say(of_record("crm", "ada"), said(Granted, THEN)).await.unwrap();
    let stages = vec![pb::Stage { name: "lead".to_owned(), initial: true, ..Default::default() }];
    let lifecycle =
        Some(pb::Lifecycle { persons: Some(pb::Pipeline { stages, ..Default::default() }), accounts: None });
    house.accounts.put_lifecycle(pb::PutLifecycleRequest { lifecycle, ..Default::default() }).await.unwrap();
    house
}

fn subject(key: &str) -> Option<pb::StageSubject> {
    Some(pb::StageSubject { subject: somebody("crm", key).map(pb::stage_subject::Subject::Person) })
}

fn affiliations(of: pb::list_affiliations_request::Of, purpose: &str) -> pb::ListAffiliationsRequest {
    pb::ListAffiliationsRequest { of: Some(of), purpose: purpose.to_owned(), ..Default::default() }
}

/// Accounts, persons, those with and without a stage, records of nobody, and how many a roll-up of the plant leaves out.
async fn counted(house: &mut House, purpose: &str) -> ([u64; 6], Option<[u64; 3]>) {
    let request = pb::GetRollupRequest {
        key: account("crm", "plant"),
        purpose: purpose.to_owned(),
        consent_purposes: vec!["marketing".to_owned()],
        ..Default::default()
    };
    let sum = house.accounts.get_rollup(request).await.unwrap().into_inner();
    let staged = sum.persons_by_stage.values().sum();
    let persons = [sum.person_count, staged, sum.persons_without_stage, sum.unresolved_person_count];
    let email = sum.consent_coverage.iter().find(|one| one.channel == "email");
    let email = email.map(|one| [one.permitted_count, one.stopped_count, one.not_granted_count]);
    let [people, staged, without, nobody] = persons;
    ([sum.account_count, people, staged, without, nobody, sum.withheld_count], email)
}

/// An account of one person tells of that person, so a roll-up for a purpose counts those alone who permit it.
#[tokio::test(flavor = "multi_thread")]
async fn a_roll_up_counts_for_a_purpose_whoever_permits_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = house(&dir).await;
    house.affiliate("crm", "nobody", "plant").await.unwrap();
    let set = pb::SetStageRequest { subject: subject("bob"), stage: "lead".to_owned(), ..Default::default() };
    house.accounts.set_stage(set).await.unwrap();
    assert_eq!(counted(&mut house, "").await, ([1, 2, 1, 1, 1, 0], Some([1, 0, 1])));
    let ada_alone = ([1, 1, 0, 1, 0, 2], Some([1, 0, 0]));
    assert_eq!(counted(&mut house, "marketing").await, ada_alone, "Bob, who said nothing, and nobody are left out");
    assert_eq!(
        counted(&mut house, "support").await,
        ([1, 2, 1, 1, 0, 1], None),
        "what was said of marketing is not its own"
    );
    house.say(of_record("crm", "ada"), said(Withdrawn, THEN + 1)).await.unwrap();
    assert_eq!(counted(&mut house, "marketing").await, ([1, 0, 0, 0, 0, 3], Some([0, 0, 0])));
    house.close().await;
}

/// What persons said of a purpose is counted for that one: another is told that it is left out, whatever it may read.
#[tokio::test(flavor = "multi_thread")]
async fn a_roll_up_for_a_purpose_covers_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = house(&dir).await;
    house
        .say(of_record("crm", "ada"), pb::ConsentSaying { purpose: "analytics".to_owned(), ..said(Granted, THEN) })
        .await
        .unwrap();
    for (purpose, covered, withheld) in [
        ("", &["analytics", "marketing"][..], &[][..]),
        ("analytics", &["analytics"], &["consent_coverage.marketing"]),
        ("marketing", &["marketing"], &["consent_coverage.analytics"]),
        ("support", &[], &["consent_coverage.analytics", "consent_coverage.marketing"]),
    ] {
        let request = pb::GetRollupRequest {
            key: account("crm", "plant"),
            purpose: purpose.to_owned(),
            consent_purposes: vec!["marketing".to_owned(), "analytics".to_owned()],
            ..Default::default()
        };
        let sum = house.accounts.get_rollup(request).await.unwrap().into_inner();
        let mut shown: Vec<&str> = sum.consent_coverage.iter().map(|one| one.purpose.as_str()).collect();
        shown.sort_unstable();
        shown.dedup();
        let mut fields: Vec<&str> = sum.withheld.iter().map(|one| one.field.as_str()).collect();
        fields.sort_unstable();
        assert_eq!((shown.as_slice(), fields.as_slice()), (covered, withheld), "{purpose}");
        assert!(sum.withheld.iter().all(|one| one.reason == "NOT_IN_PURPOSE"));
    }
    house.close().await;
}

/// Notes are words that somebody wrote: they may say anything, and a purpose that reads a few fields does not read them.
#[tokio::test(flavor = "multi_thread")]
async fn notes_of_stages_are_for_purposes_that_read_everything() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = house(&dir).await;
    let note = "met her at the fair, moved to Berlin".to_owned();
    let set = pb::SetStageRequest {
        subject: subject("ada"),
        stage: "lead".to_owned(),
        note: note.clone(),
        ..Default::default()
    };
    house.accounts.set_stage(set).await.unwrap();
    for (purpose, shown, withheld) in
        [("", note.as_str(), &[][..]), ("support", note.as_str(), &[]), ("marketing", "", &["events.note"])]
    {
        let request =
            pb::ListStageHistoryRequest { subject: subject("ada"), purpose: purpose.to_owned(), ..Default::default() };
        let found = house.accounts.list_stage_history(request).await.unwrap().into_inner();
        let notes: Vec<&str> = found.events.iter().map(|event| event.note.as_str()).collect();
        let fields: Vec<&str> = found.withheld.iter().map(|one| one.field.as_str()).collect();
        assert_eq!((notes.as_slice(), fields.as_slice()), (&[shown][..], withheld), "{purpose}");
    }
    house.close().await;
}

/// By what a receipt for a purpose names the person, and what it says that it withholds.
async fn named_by(house: &mut House, statement: &str, purpose: &str) -> (Option<String>, Vec<String>) {
    let (statement_id, purpose) = (statement.to_owned(), purpose.to_owned());
    let request = pb::GetConsentReceiptRequest { statement_id, purpose, ..Default::default() };
    let found = house.consent.get_consent_receipt(request).await.unwrap().into_inner();
    let found: serde_json::Value = serde_json::from_str(&found.receipt_json).unwrap();
    let named = &found["consent_record"]["pii_principal_id"];
    let named = named["value"].as_str().or(named["key"].as_str()).map(str::to_owned);
    let withheld = found["withheld"].as_array().into_iter().flatten().map(|one| one.as_str().unwrap().to_owned());
    (named, withheld.collect())
}

/// A receipt names the person by what its reader may read, as a list of statements does.
#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_withholds_the_address_that_its_purpose_may_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = house(&dir).await;
    let address = "ada@plant-works.net";
    let withheld = (None, vec!["consent_record.pii_principal_id".to_owned()]);
    let shown = |word: &str| (Some(word.to_owned()), Vec::new());
    // Marketing reads addresses and no keys, support both, and what analytics reads is neither.
    let mut by_mail = Vec::new();
    for (purpose, mail, record) in [
        ("marketing", shown(address), withheld.clone()),
        ("support", shown(address), shown("ada")),
        ("analytics", withheld.clone(), withheld.clone()),
    ] {
        let yes = || pb::ConsentSaying { purpose: purpose.to_owned(), ..said(Granted, THEN) };
        let at_mail = house.say(at("email", address), yes()).await.unwrap().statement_id;
        let of_key = house.say(of_record("crm", "ada"), yes()).await.unwrap().statement_id;
        assert_eq!(named_by(&mut house, &at_mail, "").await, shown(address), "{purpose}");
        assert_eq!(named_by(&mut house, &at_mail, purpose).await, mail, "{purpose}");
        assert_eq!(named_by(&mut house, &of_key, purpose).await, record, "{purpose}");
        by_mail.push(at_mail);
    }
    // Whoever says no is named to nobody of that purpose, though it is told that they did.
    let no = house.say(at("email", address), said(Withdrawn, THEN + 1)).await.unwrap().statement_id;
    for statement in [&by_mail[0], &no] {
        assert_eq!(named_by(&mut house, statement, "marketing").await, withheld);
    }
    assert_eq!(named_by(&mut house, &by_mail[1], "support").await, shown(address));
    house.close().await;
}

/// How each read of this person for marketing is refused, if it is.
async fn refusals(house: &mut House, key: &str) -> Vec<Option<String>> {
    let purpose = || "marketing".to_owned();
    let propose = pb::ProposeAccountsRequest { person: somebody("crm", key), purpose: purpose(), ..Default::default() };
    let of = somebody("crm", key).map(pb::list_affiliations_request::Of::Person).unwrap();
    let stage = pb::GetStageRequest { subject: subject(key), purpose: purpose(), ..Default::default() };
    let history = pb::ListStageHistoryRequest { subject: subject(key), purpose: purpose(), ..Default::default() };
    let why = |status: tonic::Status| reason(&status);
    vec![
        house.accounts.propose_accounts(propose).await.err().map(why),
        house.accounts.list_affiliations(affiliations(of, "marketing")).await.err().map(why),
        house.accounts.get_stage(stage).await.err().map(why),
        house.accounts.list_stage_history(history).await.err().map(why),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_stages_and_proposals_are_shown_to_what_a_person_permits() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = house(&dir).await;
    assert_eq!(refusals(&mut house, "ada").await, vec![None; 4]);
    assert_eq!(refusals(&mut house, "bob").await, vec![Some("PURPOSE_NOT_PERMITTED".to_owned()); 4], "he said nothing");

    // Of an account, who does not permit it is left out and counted; a record's key may hold anything.
    let at_plant = || account("crm", "plant").map(pb::list_affiliations_request::Of::Account).unwrap();
    let all = house.accounts.list_affiliations(affiliations(at_plant(), "")).await.unwrap().into_inner();
    assert_eq!((all.affiliations.len(), all.withheld_count, all.withheld.len()), (2, 0, 0));
    let some = house.accounts.list_affiliations(affiliations(at_plant(), "marketing")).await.unwrap().into_inner();
    assert_eq!((some.affiliations.len(), some.withheld_count), (1, 1));
    assert_eq!((some.affiliations[0].person.clone(), some.affiliations[0].role.as_str()), (None, ""));
    let fields: Vec<&str> = some.withheld.iter().map(|one| one.field.as_str()).collect();
    assert_eq!(fields, ["affiliations.person", "affiliations.role"], "words that somebody wrote may say anything");
    assert!(all.affiliations.iter().all(|one| one.role == "buyer"));
    let ada = all.affiliations.iter().find(|one| one.person.as_ref().unwrap().key == "ada").unwrap();
    assert_eq!(some.affiliations[0].profile, ada.profile);
    let support = house.accounts.list_affiliations(affiliations(at_plant(), "support")).await.unwrap().into_inner();
    assert_eq!((support.affiliations.len(), support.withheld_count, support.withheld.len()), (2, 0, 0));

    // Marketing reads e-mail addresses and no employer.
    let propose = pb::ProposeAccountsRequest {
        person: somebody("crm", "ada"),
        purpose: "marketing".to_owned(),
        ..Default::default()
    };
    let found = house.accounts.propose_accounts(propose.clone()).await.unwrap().into_inner();
    let evidence: Vec<&str> = found.proposals[0].evidence.iter().map(|one| one.reason.as_str()).collect();
    assert_eq!(evidence, ["ACCOUNT_DOMAIN"]);
    assert_eq!(found.withheld.iter().map(|one| one.field.as_str()).collect::<Vec<_>>(), ["values.company"]);
    let whole = pb::ProposeAccountsRequest { purpose: String::new(), ..propose };
    let found = house.accounts.propose_accounts(whole).await.unwrap().into_inner();
    assert_eq!((found.proposals[0].evidence.len(), found.withheld.len()), (2, 0));

    // A no closes all of it at once.
    house.say(of_record("crm", "ada"), said(Withdrawn, THEN + 1)).await.unwrap();
    assert_eq!(refusals(&mut house, "ada").await, vec![Some("PURPOSE_NOT_PERMITTED".to_owned()); 4]);
    let none = house.accounts.list_affiliations(affiliations(at_plant(), "marketing")).await.unwrap().into_inner();
    assert_eq!((none.affiliations.len(), none.withheld_count), (0, 2));
    // Of a record that nobody sent nothing is permitted either.
    assert_eq!(refusals(&mut house, "nobody").await, vec![Some("PROFILE_NOT_FOUND".to_owned()); 4]);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_are_shown_to_the_purpose_they_are_about() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = house(&dir).await;
    let of = |purpose: &str, at| pb::ConsentSaying { purpose: purpose.to_owned(), ..said(Withdrawn, at) };
    house.say(of_record("crm", "ada"), of("support", THEN + 1)).await.unwrap();
    house.say(of_record("crm", "ada"), pb::ConsentSaying { channel: String::new(), ..of("", THEN + 2) }).await.unwrap();
    let read = |purpose: &str| pb::ListStatementsRequest {
        subject: Some(of_record("crm", "ada")),
        purpose: purpose.to_owned(),
        ..Default::default()
    };
    for (purpose, shown, withheld) in [("", 3, 0), ("marketing", 2, 1), ("support", 2, 1), ("service", 1, 2)] {
        let found = house.consent.list_statements(read(purpose)).await.unwrap().into_inner();
        assert_eq!((found.statements.len(), found.withheld_count), (shown, withheld), "{purpose}");
    }
    assert_eq!(reason(&house.consent.list_statements(read("unheard")).await.unwrap_err()), "REQUEST_INVALID");

    // Of a receipt likewise: what is of another purpose is refused, or not in it.
    let receipt = |statement_id: &str, purpose: &str| pb::GetConsentReceiptRequest {
        statement_id: statement_id.to_owned(),
        purpose: purpose.to_owned(),
        ..Default::default()
    };
    let all = house.statements(of_record("crm", "ada")).await.unwrap();
    let [marketing, support, every] = [0, 1, 2].map(|at| all[at].statement_id.as_str());
    let refused = house.consent.get_consent_receipt(receipt(marketing, "support")).await.unwrap_err();
    assert_eq!(reason(&refused), "PURPOSE_NOT_PERMITTED");
    assert_eq!(refused.get_error_details().error_info().unwrap().metadata["reasons"], "NOT_IN_PURPOSE");
    for (statement, purpose, purposes, events) in [
        (marketing, "", 1, 2),
        (marketing, "marketing", 1, 2),
        (support, "support", 1, 2),
        (every, "", 6, 3),
        (every, "marketing", 1, 2),
        (every, "service", 1, 1),
    ] {
        let found = house.consent.get_consent_receipt(receipt(statement, purpose)).await.unwrap().into_inner();
        let found: serde_json::Value = serde_json::from_str(&found.receipt_json).unwrap();
        let count = |list: &serde_json::Value| list.as_array().unwrap().len();
        let found = (count(&found["consent_record"]["purposes"]), count(&found["events"]));
        assert_eq!(found, (purposes, events), "{statement} for {purpose:?}");
    }
    assert_eq!(
        reason(&house.consent.get_consent_receipt(receipt(every, "unheard")).await.unwrap_err()),
        "REQUEST_INVALID"
    );
    // Whose address it was said at is shown to what may read it, and to who asked by it.
    for key in ["ada", "bob"] {
        let mail = onefold_tests::consent::at("email", &format!("{key}@plant-works.net"));
        house.say(mail, said(Granted, THEN)).await.unwrap();
        house.say(of_record("crm", key), said(if key == "ada" { Granted } else { Withdrawn }, THEN + 9)).await.unwrap();
    }
    let mut shown = async |subject: pb::ConsentSubject, purpose: &str| {
        let request = pb::ListStatementsRequest { subject: Some(subject), ..read(purpose) };
        let found = house.consent.list_statements(request).await.unwrap().into_inner().statements;
        let of = |one: pb::ConsentStatement| one.subject.and_then(|subject| subject.subject);
        let identifier = |subject: &_| matches!(subject, pb::consent_subject::Subject::Identifier(_));
        found.into_iter().filter_map(of).filter(identifier).count()
    };
    let mail = |key: &str| onefold_tests::consent::at("email", &format!("{key}@plant-works.net"));
    assert_eq!(shown(of_record("crm", "ada"), "").await, 1);
    assert_eq!(shown(of_record("crm", "ada"), "marketing").await, 1);
    assert_eq!(shown(of_record("crm", "bob"), "marketing").await, 0, "bob said no");
    assert_eq!(shown(mail("bob"), "marketing").await, 1);
    house.close().await;
}

/// What somebody wrote about a statement may say anything, and the browser on which a signal was seen is an identifier: a purpose
/// sees them where it may read everything, or those identifiers.
#[tokio::test(flavor = "multi_thread")]
async fn evidence_and_signals_are_shown_to_purposes_that_may_read_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = house(&dir).await;
    let signal = |kind: pb::ConsentSignalKind, raw: &str| pb::ConsentSignal {
        kind: kind as i32,
        raw: raw.to_owned(),
        device: "dev-canary-77".to_owned(),
        ..Default::default()
    };
    let tcf = "COtybn4PA_zT4KjACBENAPCIAEBAAECAAIAAAAAAAAAA";
    let mut statements = Vec::new();
    for purpose in ["analytics", "marketing", "support"] {
        let yes = pb::ConsentSaying {
            purpose: purpose.to_owned(),
            evidence: "mail of ada@plant-works.net".to_owned(),
            collection_method: "call to +12127365000".to_owned(),
            signals: vec![signal(pb::ConsentSignalKind::Gpc, "1"), signal(pb::ConsentSignalKind::Tcf, tcf)],
            ..said(Granted, THEN + 5)
        };
        statements.push((purpose, house.say(of_record("crm", "ada"), yes).await.unwrap().statement_id));
    }
    let words = ["mail of ada@plant-works.net", "+12127365000", "dev-canary-77", tcf];
    let mut fields = ["statements.saying.collection_method", "statements.saying.evidence"].to_vec();
    fields.extend(["statements.saying.signals.device", "statements.saying.signals.raw"]);
    for (purpose, id) in statements {
        let all = purpose == "support";
        let request = pb::ListStatementsRequest {
            subject: Some(of_record("crm", "ada")),
            purpose: purpose.to_owned(),
            ..Default::default()
        };
        let found = house.consent.list_statements(request).await.unwrap().into_inner();
        let withheld: Vec<&str> = found.withheld.iter().map(|one| one.field.as_str()).collect();
        assert_eq!(withheld, if all { Vec::new() } else { fields.clone() }, "{purpose}");
        let text = format!("{:?}", found.statements);
        for word in words {
            assert_eq!(text.contains(word), all, "{purpose}: {word}");
        }
        // That there was a signal of a browser is shown, and what a consent manager's says of other purposes is not.
        let decoded: Vec<&String> = found.statements.iter().flat_map(|one| &one.signals_decoded).collect();
        assert!(decoded.iter().any(|line| line.starts_with("GPC")), "{decoded:?}");
        assert_eq!(decoded.iter().any(|line| line.starts_with("TCF")), all, "{purpose}: {decoded:?}");

        let receipt = |purpose: &str| pb::GetConsentReceiptRequest {
            statement_id: id.clone(),
            purpose: purpose.to_owned(),
            ..Default::default()
        };
        let text = house.consent.get_consent_receipt(receipt(purpose)).await.unwrap().into_inner().receipt_json;
        for word in words {
            assert_eq!(text.contains(word), all, "{purpose}: {word}");
        }
        let parsed: serde_json::Value = serde_json::from_str(&text).unwrap();
        let named = |field: &str| {
            let all = parsed["withheld"].as_array();
            all.is_some_and(|all| all.iter().any(|one| one == field))
        };
        for field in ["events.evidence", "events.signals.raw", "consent_record.collection_method"] {
            assert_eq!(named(field), !all, "{purpose}: {field}: {text}");
        }
        let whole = house.consent.get_consent_receipt(receipt("")).await.unwrap().into_inner().receipt_json;
        assert!(words.iter().all(|word| whole.contains(word)), "read for nothing: {whole}");
    }
    house.close().await;
}

/// What a purpose may not read is no clue, and who may not be read leaves no gap.
#[tokio::test(flavor = "multi_thread")]
async fn a_search_for_a_purpose_tells_nothing_of_what_it_may_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = House::config(&dir.path().join("data"));
    config.match_models = true;
    let mut house = House::open_with(config).await;
    house.sources(&["crm"]).await;
    for (key, birth) in [("1", "1974-03-09"), ("2", "1981-06-30")] {
        let texts = [
            ("given_name", "Adelaide"),
            ("family_name", "Quillfeather"),
            ("birth_date", birth),
            ("address.city", "Harrogate"),
            ("address.postcode", "HG1 2QX"),
        ];
        house.put(person("crm", key, THEN, &[("email", &format!("adelaide{key}@plant-works.net"))], &texts)).await;
    }
    house.say(of_record("crm", "1"), said(Granted, THEN)).await.unwrap();
    house.say(of_record("crm", "2"), said(Withdrawn, THEN)).await.unwrap();
    let mut search = async |purpose: &str, texts: &[(&str, &str)], most| {
        let request = pb::SearchProfilesRequest {
            attributes: texts.iter().map(|(name, value)| onefold_tests::text(name, value)).collect(),
            purpose: purpose.to_owned(),
            max_results: most,
            ..Default::default()
        };
        house.profiles.search_profiles(request).await.map(tonic::Response::into_inner)
    };
    let named = [("given_name", "Adelaide"), ("family_name", "Quillfeather")];
    let plain = search("marketing", &named, 10).await.unwrap();
    assert_eq!((plain.results.len(), plain.withheld_count, plain.withheld.len()), (1, 0, 0), "{plain:?}");
    // Marketing reads names and no birth date: right or wrong, it is not compared.
    let mut answers = Vec::new();
    for birth in ["1974-03-09", "1981-06-30", "1999-12-31"] {
        let mut texts = named.to_vec();
        texts.push(("birth_date", birth));
        answers.push(search("marketing", &texts, 10).await.unwrap());
    }
    let left_out: Vec<&str> = answers[0].withheld.iter().map(|one| one.field.as_str()).collect();
    assert_eq!(left_out, ["values.birth_date"]);
    assert_eq!(answers[0].results, plain.results);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    let refused = search("marketing", &[("birth_date", "1974-03-09")], 10).await.unwrap_err();
    assert_eq!(reason(&refused), "REQUEST_INVALID");
    assert!(refused.message().contains("birth_date"), "{refused:?}");
    // Who said no is like what is asked for, takes nobody's place and is not counted.
    let one = search("marketing", &named, 1).await.unwrap();
    assert_eq!((one.results, one.withheld_count), (plain.results, 0));
    // Without a purpose all of it counts.
    let mut texts = named.to_vec();
    texts.push(("birth_date", "1981-06-30"));
    let found = search("", &texts, 10).await.unwrap();
    assert_eq!((found.results.len(), found.withheld.len()), (2, 0));
    assert!(found.results[0].evidence_bits > found.results[1].evidence_bits, "{found:?}");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_only_set_a_stage_is_not_told_where_somebody_stands() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = house(&dir).await;
    let set = |at| pb::SetStageRequest {
        subject: subject("ada"),
        stage: "lead".to_owned(),
        reached_time: Some(onefold_tests::seconds(at)),
        ..Default::default()
    };
    assert_eq!(house.accounts.set_stage(set(THEN)).await.unwrap().into_inner().stage.unwrap().stage, "lead");
    // Nor by a refusal: a lead does not become a customer at once.
    let stage = |(name, next): (&str, &[&str])| pb::Stage {
        name: name.to_owned(),
        initial: name == "lead",
        next: next.iter().map(|next| (*next).to_owned()).collect(),
    };
    let stages: [(&str, &[&str]); 3] = [("lead", &["mql"]), ("mql", &["customer"]), ("customer", &[])];
    let persons = Some(pb::Pipeline { stages: stages.map(stage).to_vec(), ..Default::default() });
    let lifecycle = Some(pb::Lifecycle { persons, accounts: None });
    house.accounts.put_lifecycle(pb::PutLifecycleRequest { lifecycle, ..Default::default() }).await.unwrap();
    let skips = || pb::SetStageRequest { stage: "customer".to_owned(), ..set(THEN + 1) };
    let refused = house.accounts.set_stage(skips()).await.unwrap_err();
    let told = refused.get_error_details().error_info().unwrap().metadata.clone();
    assert_eq!((reason(&refused).as_str(), told["from"].as_str()), ("STAGE_FORBIDDEN", "lead"));
    let policy = pb::PrivacyPolicy { purpose_required: true, ..Default::default() };
    let request = pb::UpdatePrivacyPolicyRequest { policy: Some(policy), ..Default::default() };
    house.privacy.update_privacy_policy(request).await.unwrap();
    let done = house.accounts.set_stage(set(THEN + 1)).await.unwrap().into_inner();
    assert!(done.stage.is_none() && done.sequence > 0, "{done:?}");
    let refused = house.accounts.set_stage(skips()).await.unwrap_err();
    let told = refused.get_error_details().error_info().unwrap().metadata.clone();
    assert_eq!(reason(&refused), "STAGE_FORBIDDEN");
    assert!(!told.contains_key("from") && !told.contains_key("allowed"), "{told:?}");
    assert!(!refused.message().starts_with("lead") && !refused.message().contains("mql"), "{refused:?}");
    let shown = pb::GetStageRequest { subject: subject("ada"), purpose: "support".to_owned(), ..Default::default() };
    assert_eq!(house.accounts.get_stage(shown).await.unwrap().into_inner().stage.unwrap().stage, "lead");
    house.close().await;
}

/// A no of another's record is heard at an address that both held: what is told of it is that, and not whose it is.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_only_heard_is_shown_without_the_others_words() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    house.sources(&["crm", "shop"]).await;
    journey::contract(&mut house, true).await;
    let phone = ("phone", "+12127365000");
    house.put(person("crm", "bert-canary", THEN, &[phone, ("user_id", "UB")], &[])).await;
    let ada = [phone, ("user_id", "UA"), ("email", "ada@plant-works.net")];
    house.put(person("shop", "ada", THEN, &ada, &[])).await;
    let yes = house.say(of_record("shop", "ada"), said(Granted, THEN)).await.unwrap().statement_id;
    let signal = pb::ConsentSignal {
        kind: pb::ConsentSignalKind::Gpc as i32,
        raw: "1".to_owned(),
        device: "canary device".to_owned(),
        ..Default::default()
    };
    let words = |decision, at| pb::ConsentSaying {
        evidence: "canary evidence".to_owned(),
        collection_method: "canary method".to_owned(),
        notice_version: "canary notice".to_owned(),
        jurisdiction: "DE".to_owned(),
        signals: vec![signal.clone()],
        ..said(decision, at)
    };
    // One that was taken back, and one of which a fragment waits that would bring her address.
    house.say(of_record("crm", "bert-canary"), words(Objected, THEN + 1)).await.unwrap();
    house.retract("crm", "bert-canary", THEN + 5).await;
    let mut waits = person("ledger", "carl-canary", THEN, &[("email", "ada@plant-works.net")], &[]);
    waits.consents.push(pb::FragmentConsent { identifier: None, saying: Some(words(Withdrawn, THEN + 2)) });
    assert_eq!(house.put(waits).await.status(), pb::IngestStatus::Quarantined);

    for purpose in ["", "marketing"] {
        let request = pb::ListStatementsRequest {
            subject: Some(of_record("shop", "ada")),
            purpose: purpose.to_owned(),
            ..Default::default()
        };
        let found = house.consent.list_statements(request).await.unwrap().into_inner();
        assert!(!format!("{found:?}").contains("canary"), "for {purpose:?}: {found:?}");
        let told: Vec<_> = found
            .statements
            .iter()
            .map(|one| {
                let saying = one.saying.clone().unwrap();
                let words = (saying.signals.len(), one.signals_decoded.len(), saying.jurisdiction);
                assert!(!one.only_heard || words == (0, 0, String::new()), "{one:?}");
                let given = saying.given_time.unwrap().seconds - THEN;
                (one.only_heard, saying.decision, saying.purpose, saying.channel, given)
            })
            .collect();
        let one = |heard: bool, decision: pb::ConsentDecision, given: i64| {
            (heard, decision as i32, "marketing".to_owned(), "email".to_owned(), given)
        };
        assert_eq!(told, [one(false, Granted, 0), one(true, Objected, 1), one(true, Withdrawn, 2)], "for {purpose:?}");
    }
    // Her own receipt tells that there was a no, and not of whom.
    let request = pb::GetConsentReceiptRequest { statement_id: yes, ..Default::default() };
    let receipt = house.consent.get_consent_receipt(request).await.unwrap().into_inner().receipt_json;
    assert!(receipt.contains("\"only_heard\"") && !receipt.contains("canary"), "{receipt}");
    // Whoever asks by the record itself is told all.
    for (source, key) in [("crm", "bert-canary"), ("ledger", "carl-canary")] {
        let own = house.statements(of_record(source, key)).await.unwrap().remove(0);
        assert!(!own.only_heard && own.subject.is_some(), "{own:?}");
        assert_eq!(own.saying.unwrap().evidence, "canary evidence");
    }
    house.close().await;
}
