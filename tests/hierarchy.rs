//! Accounts on a real server: whatever is moved, merged, split, killed or loaded, nobody lies above itself and nothing that
//! was told is lost. Laws 1, 3, 9 and 10.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use onefold_proto::v1 as pb;
use onefold_tests::accounts::{account, named, somebody, source_account};
use onefold_tests::child::Launch;
use onefold_tests::dice::{Dice, how_many};
use onefold_tests::{Clients, House, organisation, person, reason, record, seconds};
use tonic::Code;
use tonic_types::StatusExt;

/// A company's fragment; those with one registration are one party.
fn company(key: &str, at: i64, registration: &str) -> pb::Fragment {
    let name = format!("Works {key} Ltd");
    organisation("crm", key, at, &[("registration_id", registration)], &[("legal_name", &name)])
}

fn names(accounts: &[pb::Account]) -> Vec<String> {
    let mut names: Vec<String> = accounts.iter().map(|account| account.display_name.clone()).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn two_accounts_that_are_one_company_have_the_children_of_both_and_part_as_they_were() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    house.sources(&["crm"]).await;
    let keys: Vec<String> = ["top", "a", "b", "a1", "a2", "b1"].map(str::to_owned).into();
    for (key, above) in
        [("top", None), ("a", Some("top")), ("b", None), ("a1", Some("a")), ("a2", Some("a")), ("b1", Some("b"))]
    {
        house.put_account("crm", key, above).await.unwrap();
    }
    for (key, registration) in [("a", "HRB-1001"), ("b", "HRB-2002")] {
        assert_eq!(house.put(company(key, 1_000, registration)).await.status(), pb::IngestStatus::Accepted);
    }
    let apart = house.hierarchy("crm", &keys).await;
    apart.check();
    assert_eq!(apart.0.len(), 6);

    let before_merge = house.get_account(account("crm", "b")).await.unwrap().profile;

    // A correction: they are one company.
    house.put(company("b", 2_000, "HRB-1001")).await;
    let merged = house.get_account(account("crm", "b")).await.unwrap();
    assert_eq!(merged.parts.len(), 2);
    assert!(merged.profile.starts_with("tenants/default/profiles/p_"), "{}", merged.profile);
    assert_eq!(merged, house.get_account(account("crm", "a")).await.unwrap());
    let by_profile = Some(pb::AccountKey { key: Some(pb::account_key::Key::Profile(merged.profile.clone())) });
    assert_eq!(merged, house.get_account(by_profile).await.unwrap());
    assert_eq!(merged.ancestors.first().map(|above| above.display_name.as_str()), Some("Company top"));
    let below = house.children(named(&merged.name)).await.unwrap();
    assert_eq!(names(&below), ["Company a1", "Company a2", "Company b1"]);
    for child in &below {
        assert_eq!(
            *child,
            house.get_account(named(&child.name)).await.unwrap(),
            "from above it is what it is by itself"
        );
    }
    assert_eq!(house.rollup(account("crm", "top")).await.unwrap().account_count, 5);
    house.hierarchy("crm", &keys).await.check();

    // What is told meanwhile belongs to the source account that it is told of.
    house.put_account("crm", "b2", Some("b")).await.unwrap();
    house.put(company("b", 3_000, "HRB-2002")).await;
    assert_eq!(names(&house.children(account("crm", "a")).await.unwrap()), ["Company a1", "Company a2"]);
    assert_eq!(names(&house.children(account("crm", "b")).await.unwrap()), ["Company b1", "Company b2"]);
    let mut again = house.hierarchy("crm", &keys).await;
    again.check();
    let b = again.0.values_mut().find(|account| account.display_name == "Company b").unwrap();
    // The one thing that was told since, and the profile's id: a merged id redirects for ever, a split opens another.
    b.child_count -= 1;
    assert_ne!(b.profile, before_merge);
    b.profile.clone_from(&before_merge);
    assert_eq!(again, apart);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_that_closes_a_circle_shows_what_it_parks_and_an_impossible_move_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    house.sources(&["crm"]).await;
    for (key, above) in [("a", None), ("b", Some("a")), ("c", Some("b"))] {
        house.put_account("crm", key, above).await.unwrap();
    }
    for (below, above, want, code) in [
        ("a", "c", "ACCOUNT_CYCLE", Code::FailedPrecondition),
        ("a", "a", "ACCOUNT_SELF_PARENT", Code::InvalidArgument),
        ("a", "nobody", "ACCOUNT_NOT_FOUND", Code::NotFound),
        ("nobody", "a", "ACCOUNT_NOT_FOUND", Code::NotFound),
    ] {
        let refused = house.move_account(account("crm", below), account("crm", above)).await.unwrap_err();
        assert_eq!((reason(&refused).as_str(), refused.code()), (want, code), "{below} under {above}");
    }
    house.put(company("a", 1_000, "HRB-7")).await;
    house.put(company("c", 1_000, "HRB-7")).await;
    let keys: Vec<String> = ["a", "b", "c"].map(str::to_owned).into();
    let merged = house.hierarchy("crm", &keys).await;
    merged.check();
    let parked: Vec<&pb::ParkedParent> = merged.0.values().flat_map(|account| &account.parked_parents).collect();
    assert_eq!(parked.len(), 1, "{parked:?}");
    assert_eq!(parked[0].reason, "CYCLE");
    house.retract("crm", "c", 2_000).await;
    let apart = house.hierarchy("crm", &keys).await;
    apart.check();
    assert!(apart.0.values().all(|account| account.parked_parents.is_empty()));
    assert_eq!(house.rollup(account("crm", "a")).await.unwrap().depth, 3);
    house.close().await;
}

/// Moves accounts about and lets records be one party or two, at random, until told.
async fn churn(mut clients: Clients, mut dice: Dice, keys: Arc<Vec<String>>, acts: usize) -> usize {
    let mut moved = 0;
    for _ in 0..acts {
        let (key, other) = (dice.pick(&keys).clone(), dice.pick(&keys).clone());
        if dice.once_in(3) {
            let registration = format!("HRB-{}", dice.below(keys.len() as u64 / 3));
            let at = 10_000 + dice.below(1_000_000) as i64;
            clients.put(company(&key, at, &registration)).await;
            continue;
        }
        let above = if dice.once_in(6) { None } else { account("crm", &other) };
        match clients.move_account(account("crm", &key), above).await {
            Ok(_) => moved += 1,
            Err(status) => {
                let why = reason(&status);
                assert!(
                    ["ACCOUNT_CYCLE", "ACCOUNT_SELF_PARENT", "LANE_FULL", "LIMIT_REACHED"].contains(&why.as_str()),
                    "{status}"
                );
            }
        }
    }
    moved
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_moves_and_merges_never_show_a_cycle_and_lose_nothing() {
    let mut dice = Dice::from_environment("ONEFOLD_HIERARCHY_SEED", 20_260_404);
    let acts = how_many("ONEFOLD_HIERARCHY_ACTS", 120);
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = House::open(&data).await;
    house.sources(&["crm"]).await;
    let keys: Arc<Vec<String>> = Arc::new((0..18).map(|number| format!("k{number}")).collect());
    for key in keys.iter() {
        house.put_account("crm", key, None).await.unwrap();
    }
    let over = Arc::new(AtomicBool::new(false));
    let mut reader = Clients::clone(&house);
    let (read_keys, ends) = (Arc::clone(&keys), Arc::clone(&over));
    // Each answer is of one moment: whatever happens beside it, its own way up repeats nobody.
    let reading = tokio::spawn(async move {
        let mut looks = 0;
        while !ends.load(Ordering::Relaxed) {
            for key in read_keys.iter() {
                let found = reader.get_account(account("crm", key)).await.unwrap();
                let mut way: Vec<&str> = found.ancestors.iter().map(|above| above.name.as_str()).collect();
                way.push(&found.name);
                way.sort_unstable();
                let length = way.len();
                way.dedup();
                assert_eq!(way.len(), length, "{found:?}");
                looks += 1;
            }
        }
        looks
    });
    let tasks: Vec<_> =
        (0..4).map(|_| tokio::spawn(churn(Clients::clone(&house), dice.fork(), Arc::clone(&keys), acts))).collect();
    let mut moved = 0;
    for task in tasks {
        moved += task.await.unwrap();
    }
    over.store(true, Ordering::Relaxed);
    assert!(reading.await.unwrap() > 0 && moved > acts, "{moved} moves");
    let before = house.hierarchy("crm", &keys).await;
    before.check();
    // The roots' subtrees hold every account once.
    let mut counted = 0;
    for root in before.0.values().filter(|account| account.ancestors.is_empty()) {
        counted += house.rollup(named(&root.name)).await.unwrap().account_count;
    }
    assert_eq!(counted, before.0.len() as u64);
    house.close().await;
    // From the checkpoint, and from the journal alone.
    for drop_checkpoint in [false, true] {
        if drop_checkpoint {
            std::fs::remove_dir_all(data.join("checkpoint")).unwrap();
            std::fs::create_dir(data.join("checkpoint")).unwrap();
        }
        let mut again = House::open(&data).await;
        assert_eq!(again.hierarchy("crm", &keys).await, before, "drop_checkpoint {drop_checkpoint}");
        again.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_of_accounts_survives_being_killed() {
    let mut dice = Dice::from_environment("ONEFOLD_HIERARCHY_CRASH_SEED", 7_411);
    let rounds = how_many("ONEFOLD_HIERARCHY_CRASH_ROUNDS", 5);
    let dir = tempfile::tempdir().unwrap();
    let mut launch = Launch::new(env!("CARGO_BIN_EXE_onefold-test-server"), &dir.path().join("data"));
    launch.checkpoint_every = 60;
    let mut told: Vec<(String, Option<String>)> = Vec::new();
    for round in 0..rounds {
        let (mut child, mut clients) = launch.start().await;
        if round == 0 {
            clients.sources(&["crm"]).await;
        }
        for (key, above) in &told {
            let found = clients.get_account(account("crm", key)).await.unwrap();
            let parent = found.ancestors.first().map(|above| above.display_name.clone());
            assert_eq!(parent, above.as_ref().map(|above| format!("Company {above}")), "{key} in round {round}");
            let roles = pb::ListAffiliationsRequest {
                of: Some(pb::list_affiliations_request::Of::Account(account("crm", key).unwrap())),
                ..Default::default()
            };
            let roles = clients.accounts.list_affiliations(roles).await.unwrap().into_inner().affiliations;
            assert_eq!(roles.len(), 1, "{key} in round {round}");
            assert_eq!(
                (roles[0].role.as_str(), roles[0].person.clone()),
                ("buyer", Some(record("crm", &format!("p-{key}"))))
            );
        }
        // Written until the kill comes in the middle of it; the last call may be there or not, whole.
        let stop = 5 + dice.below(25) as usize;
        for number in 0..stop {
            let key = format!("r{round}-{number}");
            let above = if told.is_empty() || dice.once_in(4) { None } else { Some(dice.pick(&told).0.clone()) };
            clients.put_account("crm", &key, above.as_deref()).await.unwrap();
            let request = pb::PutAffiliationRequest {
                person: somebody("crm", &format!("p-{key}")),
                account: account("crm", &key),
                role: "buyer".to_owned(),
                ..Default::default()
            };
            clients.accounts.put_affiliation(request).await.unwrap();
            told.push((key, above));
        }
        let mut late = Clients::clone(&clients);
        let cut = tokio::spawn(async move { late.put_account("crm", &format!("late-{round}"), None).await });
        child.kill();
        let _ = cut.await;
    }
    let (child, mut clients) = launch.start().await;
    let keys: Vec<String> = told.into_iter().map(|(key, _)| key).collect();
    clients.hierarchy("crm", &keys).await.check();
    child.stop();
}

fn row(line: u32, key: &str, above: Option<&str>) -> pb::ImportHierarchyRow {
    pb::ImportHierarchyRow {
        line,
        account: Some(source_account("crm", key, &format!("Company {key}"))),
        parent: above.map(|above| record("crm", above)),
    }
}

async fn import(
    clients: &mut Clients,
    rows: Vec<pb::ImportHierarchyRow>,
    validate_only: bool,
) -> pb::ImportHierarchyResponse {
    let start = pb::ImportHierarchyStart { validate_only, ..Default::default() };
    let mut messages = vec![pb::ImportHierarchyRequest { start: Some(start), rows: Vec::new() }];
    messages.extend(rows.chunks(500).map(|rows| pb::ImportHierarchyRequest { start: None, rows: rows.to_vec() }));
    clients.accounts.import_hierarchy(tokio_stream::iter(messages)).await.unwrap().into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_is_taken_whole_or_told_every_fault_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = House::open(&data).await;
    house.sources(&["crm"]).await;
    house.put_account("crm", "known", None).await.unwrap();
    let mut bad = vec![
        row(2, "a", Some("known")),
        row(3, "a", None),
        row(4, "b", Some("nobody")),
        row(5, "c", Some("c")),
        row(6, "d", Some("e")),
        row(7, "e", Some("d")),
        row(8, "", None),
        row(9, "", None),
        row(10, "", None),
        row(11, "f", None),
    ];
    // Rows of sources that nobody knows are looked at like the others.
    bad[6].account.as_mut().unwrap().record = Some(record("unheard", "x"));
    bad[7].account.as_mut().unwrap().record = Some(record("unheard", "y"));
    bad[7].parent = Some(record("unheard", "y"));
    bad[8].account.as_mut().unwrap().record = Some(record("unheard", "x"));
    bad[9].parent = Some(record("unheard", "x"));
    let told = import(&mut house, bad, false).await;
    let faults: Vec<(u32, &str, &str)> = told
        .faults
        .iter()
        .map(|fault| {
            let inner = fault.fault.as_ref().unwrap();
            (fault.line, inner.field.as_str(), inner.reason.as_str())
        })
        .collect();
    assert_eq!(told.account_count, 0);
    for want in [
        (3, "record", "REPEATED"),
        (4, "parent", "UNKNOWN"),
        (5, "parent", "MALFORMED"),
        (6, "parent", "MALFORMED"),
        (7, "parent", "MALFORMED"),
        (8, "account.record.source", "UNKNOWN"),
        (9, "account.record.source", "UNKNOWN"),
        (9, "parent", "MALFORMED"),
        (10, "record", "REPEATED"),
        (11, "parent.source", "UNKNOWN"),
    ] {
        assert!(faults.contains(&want), "{want:?} in {faults:?}");
    }
    assert!(!faults.contains(&(11, "parent", "UNKNOWN")), "the row above is there: {faults:?}");
    let gone = house.get_account(account("crm", "a")).await.unwrap_err();
    assert_eq!(reason(&gone), "ACCOUNT_NOT_FOUND", "nothing half-loaded");

    // Without rows that cannot be read, a parent that nobody knows is told too.
    let told = import(&mut house, vec![row(2, "a", Some("nobody"))], false).await;
    assert_eq!(
        told.faults.iter().map(|f| (f.line, f.fault.as_ref().unwrap().reason.as_str())).collect::<Vec<_>>(),
        [(2, "UNKNOWN")]
    );

    // Children before their parents, in several messages; only looked at first.
    let above = |at: u32| match at {
        0..=700 => "n701",
        701..=1_498 => "n1499",
        _ => "known",
    };
    let rows: Vec<pb::ImportHierarchyRow> =
        (0..1_500).map(|at| row(at + 2, &format!("n{at}"), Some(above(at)))).collect();
    let looked = import(&mut house, rows.clone(), true).await;
    assert_eq!((looked.account_count, looked.faults.len()), (0, 0), "{:?}", looked.faults.first());
    assert_eq!(house.rollup(account("crm", "known")).await.unwrap().account_count, 1);
    let loaded = import(&mut house, rows, false).await;
    assert_eq!((loaded.account_count, loaded.faults.len()), (1_500, 0));
    let sum = house.rollup(account("crm", "known")).await.unwrap();
    assert_eq!((sum.account_count, sum.depth), (1_501, 4));
    // There are only so many levels, by an import or by a move.
    let chain = |at: u32| row(at + 2, &format!("c{at}"), at.checked_sub(1).map(|at| format!("c{at}")).as_deref());
    let told = import(&mut house, (0..1_002).map(chain).collect(), false).await;
    assert_eq!(told.faults.iter().map(|fault| fault.line).collect::<Vec<_>>(), [1_002, 1_003]);
    assert_eq!(import(&mut house, (0..1_000).map(chain).collect(), false).await.account_count, 1_000);
    house.put_account("crm", "top", None).await.unwrap();
    let refused = house.move_account(account("crm", "c0"), account("crm", "top")).await.unwrap_err();
    assert_eq!(reason(&refused), "LIMIT_REACHED");
    let last = house.get_account(account("crm", "c999")).await.unwrap();
    assert_eq!(last.ancestors.len(), 65, "64 and the ultimate parent");
    assert_eq!(house.children(account("crm", "c998")).await.unwrap(), [last]);
    house.close().await;
    std::fs::remove_dir_all(data.join("checkpoint")).unwrap();
    std::fs::create_dir(data.join("checkpoint")).unwrap();
    let mut again = House::open(&data).await;
    assert_eq!(again.rollup(account("crm", "known")).await.unwrap(), sum);
    again.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn moves_have_dates_and_closed_accounts_stay_where_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    house.sources(&["crm"]).await;
    for key in ["old", "new", "x"] {
        house.put_account("crm", key, None).await.unwrap();
    }
    let moved = |above: &str, at: i64| pb::MoveAccountRequest {
        key: account("crm", "x"),
        parent_account: account("crm", above),
        effective_time: Some(seconds(at)),
        ..Default::default()
    };
    house.accounts.move_account(moved("old", 1_000)).await.unwrap();
    house.accounts.move_account(moved("new", 2_000)).await.unwrap();
    for (at, want) in
        [(500, None), (1_000, Some("Company old")), (1_999, Some("Company old")), (2_000, Some("Company new"))]
    {
        let request =
            pb::GetAccountRequest { key: account("crm", "x"), as_of_time: Some(seconds(at)), ..Default::default() };
        let found = house.accounts.get_account(request).await.unwrap().into_inner().account.unwrap();
        assert_eq!(found.ancestors.first().map(|above| above.display_name.as_str()), want, "as of {at}");
        let request =
            pb::GetRollupRequest { key: account("crm", "old"), as_of_time: Some(seconds(at)), ..Default::default() };
        let count = house.accounts.get_rollup(request).await.unwrap().into_inner().account_count;
        assert_eq!(count, if want == Some("Company old") { 2 } else { 1 }, "as of {at}");
    }
    // The rows of a nightly load say what is so by now; they undo neither what was nor what is planned.
    let far = 4_000_000_000;
    house.accounts.move_account(moved("old", far)).await.unwrap();
    let ancestors = async |house: &mut House, at: i64| {
        let request =
            pb::GetAccountRequest { key: account("crm", "x"), as_of_time: Some(seconds(at)), ..Default::default() };
        let found = house.accounts.get_account(request).await.unwrap().into_inner().account.unwrap();
        found.ancestors.into_iter().map(|above| above.display_name).collect::<Vec<_>>()
    };
    for (above, planned) in [("new", "Company old"), ("old", "Company old")] {
        let rows = vec![row(2, "old", None), row(3, "new", None), row(4, "x", Some(above))];
        assert_eq!(import(&mut house, rows, false).await.account_count, 3);
        assert_eq!(ancestors(&mut house, 500).await, [""; 0], "before it was told");
        assert_eq!(ancestors(&mut house, 1_000).await, ["Company old"]);
        assert_eq!(ancestors(&mut house, 2_000).await, ["Company new"]);
        let now = house.get_account(account("crm", "x")).await.unwrap().ancestors;
        assert_eq!(now[0].display_name, format!("Company {above}"));
        assert_eq!(ancestors(&mut house, far).await, [planned]);
    }
    house.accounts.move_account(moved("new", 3_000)).await.unwrap();
    // Under what lies below it at any later date it may not go.
    let request = pb::MoveAccountRequest {
        key: account("crm", "new"),
        parent_account: account("crm", "x"),
        effective_time: Some(seconds(1_500)),
        ..Default::default()
    };
    assert_eq!(reason(&house.accounts.move_account(request).await.unwrap_err()), "ACCOUNT_CYCLE");

    let close =
        |key: &str, reopen: bool| pb::CloseAccountRequest { key: account("crm", key), reopen, ..Default::default() };
    house.accounts.close_account(close("new", false)).await.unwrap();
    let sum = house.rollup(account("crm", "new")).await.unwrap();
    assert_eq!((sum.account_count, sum.closed_account_count), (2, 1), "what is below a closed account stays there");
    let refused = house.move_account(account("crm", "old"), account("crm", "new")).await.unwrap_err();
    assert_eq!(reason(&refused), "PARENT_CLOSED");
    // One that is new is under it from the beginning, and would be today.
    let refused = house.put_account("crm", "late", Some("new")).await.unwrap_err();
    assert_eq!(reason(&refused), "PARENT_CLOSED");
    let rows = vec![row(2, "late", Some("new")), row(3, "x", Some("new"))];
    let faults = import(&mut house, rows, false).await.faults;
    assert_eq!(
        faults.iter().map(|fault| fault.line).collect::<Vec<_>>(),
        [2],
        "who was below it stays there: {faults:?}"
    );
    house.accounts.close_account(close("new", true)).await.unwrap();
    house.move_account(account("crm", "old"), account("crm", "new")).await.unwrap();

    // What begins later is nobody's child before, and nobody's parent.
    let mut young = source_account("crm", "young", "Company young");
    young.start_time = Some(seconds(5_000));
    let request = pb::PutAccountRequest {
        account: Some(young),
        parent_account: account("crm", "new"),
        parent_effective_time: Some(seconds(0)),
        ..Default::default()
    };
    house.accounts.put_account(request).await.unwrap();
    let request = pb::PutAccountRequest {
        account: Some(source_account("crm", "leaf", "Company leaf")),
        parent_account: account("crm", "young"),
        parent_effective_time: Some(seconds(0)),
        ..Default::default()
    };
    house.accounts.put_account(request).await.unwrap();
    for (at, young, leaf) in [(4_999, 0, 0), (5_000, 1, 2)] {
        for (key, above) in [("young", young), ("leaf", leaf)] {
            let request =
                pb::GetAccountRequest { key: account("crm", key), as_of_time: Some(seconds(at)), ..Default::default() };
            let found = house.accounts.get_account(request).await.unwrap().into_inner().account.unwrap();
            assert_eq!(found.ancestors.len(), above, "{key} as of {at}");
        }
    }
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn people_have_roles_and_leads_are_proposed_an_account_with_evidence() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    house.sources(&["crm", "web"]).await;
    let mut acme = source_account("crm", "acme", "Acme Industries GmbH");
    acme.domains = vec!["https://www.acme-industries.com/".to_owned(), "gmail.com".to_owned()];
    let request = pb::PutAccountRequest { account: Some(acme), ..Default::default() };
    house.accounts.put_account(request).await.unwrap();
    house.put_account("crm", "plant", Some("acme")).await.unwrap();
    let lead = [("email", "ada@acme-industries.com"), ("email", "ada.lovelace@gmail.com")];
    let profile = house.put(person("web", "lead-1", 1_000, &lead, &[("full_name", "Ada Lovelace")])).await.profile;
    house.put(person("crm", "stranger", 1_000, &[("email", "bob@gmail.com")], &[("full_name", "Bob Roe")])).await;

    let propose = |person: Option<pb::PersonKey>, companies: &[&str]| pb::ProposeAccountsRequest {
        person,
        company_names: companies.iter().map(|name| (*name).to_owned()).collect(),
        ..Default::default()
    };
    let found = house.accounts.propose_accounts(propose(somebody("web", "lead-1"), &["ACME Industries"])).await;
    let found = found.unwrap().into_inner().proposals;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].account.as_ref().unwrap().display_name, "Acme Industries GmbH");
    let evidence: Vec<(&str, &str)> = found[0].evidence.iter().map(|e| (e.reason.as_str(), e.value.as_str())).collect();
    assert_eq!(evidence, [("ACCOUNT_DOMAIN", "acme-industries.com"), ("COMPANY_NAME", "ACME Industries")]);
    let nobody = house.accounts.propose_accounts(propose(somebody("crm", "stranger"), &[])).await.unwrap().into_inner();
    assert_eq!(nobody.proposals, [], "a free-mail address proves nothing, though the account names its domain");

    // The organisation's own fragments know a domain too.
    let org = organisation("crm", "plant", 1_000, &[("domain", "plant-works.net")], &[("legal_name", "Plant Works")]);
    house.put(org).await;
    let request = pb::ProposeAccountsRequest { addresses: vec!["x@plant-works.net".to_owned()], ..Default::default() };
    let found = house.accounts.propose_accounts(request).await.unwrap().into_inner().proposals;
    assert_eq!(found.iter().map(|p| p.evidence[0].reason.as_str()).collect::<Vec<_>>(), ["ORGANISATION_DOMAIN"]);

    let by_profile = Some(pb::PersonKey { key: Some(pb::person_key::Key::Profile(profile.clone())) });
    let confirm =
        pb::ConfirmAccountRequest { person: by_profile.clone(), account: account("crm", "acme"), ..Default::default() };
    house.accounts.confirm_account(confirm).await.unwrap();
    let role = pb::PutAffiliationRequest {
        person: by_profile.clone(),
        account: account("crm", "plant"),
        role: "Engineer".to_owned(),
        start_time: Some(seconds(1_000)),
        ..Default::default()
    };
    house.accounts.put_affiliation(role).await.unwrap();
    let sum = house.rollup(account("crm", "acme")).await.unwrap();
    assert_eq!((sum.account_count, sum.person_count), (2, 1), "one person in two accounts counts once");

    let list = |as_of_time| pb::ListAffiliationsRequest {
        of: Some(pb::list_affiliations_request::Of::Person(by_profile.clone().unwrap())),
        as_of_time,
        ..Default::default()
    };
    let all = house.accounts.list_affiliations(list(None)).await.unwrap().into_inner().affiliations;
    let mut told: Vec<(&str, &str)> = all.iter().map(|a| (a.role.as_str(), a.origin.as_str())).collect();
    told.sort_unstable();
    assert_eq!(told, [("", "CONFIRMED"), ("Engineer", "STATED")]);
    assert!(all.iter().all(|a| a.profile == profile));
    let end = |role: &str| pb::EndAffiliationRequest {
        person: by_profile.clone(),
        account: account("crm", "plant"),
        role: role.to_owned(),
        end_time: Some(seconds(2_000)),
        ..Default::default()
    };
    house.accounts.end_affiliation(end("ENGINEER")).await.unwrap();
    assert_eq!(reason(&house.accounts.end_affiliation(end("Boss")).await.unwrap_err()), "AFFILIATION_NOT_FOUND");
    for (at, want) in [(1_500, 1), (2_000, 0)] {
        let found = house.accounts.list_affiliations(list(Some(seconds(at)))).await.unwrap().into_inner().affiliations;
        assert_eq!(found.iter().filter(|a| a.role == "Engineer").count(), want, "at {at}");
    }
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_feed_tells_of_accounts_and_no_tenant_sees_anothers() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    house.sources(&["crm"]).await;
    let first = house.put_account("crm", "a", None).await.unwrap();
    house.put(company("a", 1_000, "HRB-1")).await;
    house.put_account("crm", "b", Some("a")).await.unwrap();
    let events = house.events("", 0).await.unwrap();
    let kinds: Vec<pb::ProfileEventKind> = events.iter().map(pb::ProfileEvent::kind).collect();
    use pb::ProfileEventKind::{AccountChanged, Created};
    assert_eq!(kinds, [AccountChanged, Created, AccountChanged]);
    assert_eq!((events[0].account.as_str(), events[0].profile.as_str()), (first.name.as_str(), ""));
    for pair in events.windows(2) {
        assert_eq!(pair[1].previous_sequence, pair[0].sequence, "no gap");
    }

    let tenant = pb::Tenant { name: "tenants/other".to_owned(), ..Default::default() };
    house.admin.create_tenant(pb::CreateTenantRequest { tenant: Some(tenant), ..Default::default() }).await.unwrap();
    let id = first.name.rsplit('/').next().unwrap();
    let foreign = format!("tenants/other/accounts/{id}");
    for (parent, name) in
        [("tenants/other", foreign.as_str()), ("tenants/other", first.name.as_str()), ("", foreign.as_str())]
    {
        let request = pb::GetAccountRequest { parent: parent.to_owned(), key: named(name), ..Default::default() };
        let status = house.accounts.get_account(request).await.unwrap_err();
        assert_eq!((status.code(), reason(&status).as_str()), (Code::NotFound, "ACCOUNT_NOT_FOUND"), "{parent} {name}");
    }
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_told_by_its_field_and_has_a_bound() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    house.sources(&["crm"]).await;
    house.put_account("crm", "a", None).await.unwrap();
    house.put_account("crm", "b", Some("a")).await.unwrap();
    let with = |change: &dyn Fn(&mut pb::SourceAccount)| {
        let mut account = source_account("crm", "x", "Acme");
        change(&mut account);
        pb::PutAccountRequest { account: Some(account), ..Default::default() }
    };
    let table: [(&str, pb::PutAccountRequest); 8] = [
        ("account", pb::PutAccountRequest::default()),
        ("account.display_name", with(&|account| account.display_name = " ".to_owned())),
        ("account.display_name", with(&|account| account.display_name = "x".repeat(513))),
        ("account.owner", with(&|account| account.owner = "x".repeat(513))),
        ("account.domains", with(&|account| account.domains = vec!["acme.com".to_owned(); 33])),
        ("account.domains[0]", with(&|account| account.domains = vec!["co.uk".to_owned()])),
        ("account.record.source", with(&|account| account.record = Some(record("unheard", "x")))),
        ("account.start_time", with(&|account| account.start_time = Some(seconds(i64::MAX)))),
    ];
    for (field, request) in table {
        let status = house.accounts.put_account(request).await.unwrap_err();
        assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, "REQUEST_INVALID"), "{field}");
        let told = status.get_details_bad_request().unwrap().field_violations;
        assert!(told.iter().any(|fault| fault.field == field), "{field} in {told:?}");
    }
    assert_eq!(reason(&house.get_account(account("crm", "x")).await.unwrap_err()), "ACCOUNT_NOT_FOUND");

    // A profile stands for several source accounts, so nothing is told of it.
    let profile = house.put(company("a", 1_000, "HRB-1")).await.profile;
    let by_profile = Some(pb::AccountKey { key: Some(pb::account_key::Key::Profile(profile)) });
    let status = house.move_account(by_profile, None).await.unwrap_err();
    assert_eq!(reason(&status), "REQUEST_INVALID");

    // A page token belongs to its query.
    house.put_account("crm", "c", Some("a")).await.unwrap();
    let mut request = pb::ListChildrenRequest { key: account("crm", "a"), page_size: 1, ..Default::default() };
    let page = house.accounts.list_children(request.clone()).await.unwrap().into_inner();
    request.key = account("crm", "b");
    request.page_token = page.next_page_token;
    assert_eq!(reason(&house.accounts.list_children(request).await.unwrap_err()), "PAGE_TOKEN_INVALID");
    house.close().await;
}

fn files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        if entry.path().is_dir() { found.extend(files(&entry.path())) } else { found.push(entry.path()) }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn no_name_owner_role_or_note_lies_in_clear_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = House::open(&data).await;
    house.sources(&["crm"]).await;
    let mut told = source_account("crm", "canary-key", "canary-name");
    told.owner = "canary-owner".to_owned();
    told.domains = vec!["canary-domain.com".to_owned()];
    let request = pb::PutAccountRequest { account: Some(told), ..Default::default() };
    house.accounts.put_account(request).await.unwrap();
    let request = pb::PutAffiliationRequest {
        person: somebody("crm", "canary-person"),
        account: account("crm", "canary-key"),
        role: "canary-role".to_owned(),
        ..Default::default()
    };
    house.accounts.put_affiliation(request).await.unwrap();
    let stages = vec![pb::Stage { name: "lead".to_owned(), initial: true, next: Vec::new() }];
    let persons = Some(pb::Pipeline { stages, merge_rule: 0 });
    let lifecycle = Some(pb::Lifecycle { persons, accounts: None });
    house.accounts.put_lifecycle(pb::PutLifecycleRequest { lifecycle, ..Default::default() }).await.unwrap();
    let subject = pb::stage_subject::Subject::Person(somebody("crm", "canary-person").unwrap());
    let request = pb::SetStageRequest {
        subject: Some(pb::StageSubject { subject: Some(subject) }),
        stage: "lead".to_owned(),
        note: "canary-note".to_owned(),
        ..Default::default()
    };
    house.accounts.set_stage(request).await.unwrap();
    house.close().await;
    let all = files(&data);
    assert!(all.iter().any(|file| std::fs::metadata(file).unwrap().len() > 0));
    for file in all {
        let bytes = std::fs::read(&file).unwrap();
        let clear = bytes.windows(6).any(|window| window == b"canary");
        assert!(!clear, "{} holds what was told in clear", file.display());
    }
    let mut again = House::open(&data).await;
    let found = again.get_account(account("crm", "canary-key")).await.unwrap();
    assert_eq!((found.display_name.as_str(), found.owner.as_str()), ("canary-name", "canary-owner"));
    again.close().await;
}

fn role(to: &str, role: &str) -> pb::FragmentAffiliation {
    pb::FragmentAffiliation {
        account: Some(onefold_tests::record("crm", to)),
        role: role.to_owned(),
        ..Default::default()
    }
}

fn with_roles(key: &str, at: i64, roles: Vec<pb::FragmentAffiliation>) -> pb::Fragment {
    let email = format!("{key}@harbour-mail.net");
    let fragment = onefold_tests::person("crm", key, at, &[("email", &email)], &[]);
    pb::Fragment { affiliations: roles, ..fragment }
}

/// The roles of a person's record: account, role, origin.
async fn roles_of(house: &mut House, key: &str) -> Vec<(String, String, String)> {
    roles_of_record(house, "crm", key).await
}

async fn roles_of_record(house: &mut House, source: &str, key: &str) -> Vec<(String, String, String)> {
    let of = pb::list_affiliations_request::Of::Person(somebody(source, key).unwrap());
    let request = pb::ListAffiliationsRequest { of: Some(of), ..Default::default() };
    let found = house.accounts.list_affiliations(request).await.unwrap().into_inner().affiliations;
    let mut roles: Vec<_> = found.into_iter().map(|a| (a.account.unwrap().display_name, a.role, a.origin)).collect();
    roles.sort();
    roles
}

fn told(roles: &[(&str, &str, &str)]) -> Vec<(String, String, String)> {
    let told = |(account, role, origin): &(&str, &str, &str)| {
        (format!("Company {account}"), (*role).to_owned(), (*origin).to_owned())
    };
    roles.iter().map(told).collect()
}

#[tokio::test]
async fn roles_that_come_with_a_fragment_live_and_go_with_it() {
    const AT: i64 = 1_700_000_000;
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = House::open(&data).await;
    house.sources(&["crm", "shop", "web"]).await;
    // The account may come after the role.
    house.put(with_roles("ada", AT, vec![role("acme", "Buyer"), role("plant", "")])).await;
    assert_eq!(roles_of(&mut house, "ada").await, []);
    house.put_account("crm", "acme", None).await.unwrap();
    house.put_account("crm", "plant", Some("acme")).await.unwrap();
    let both = told(&[("acme", "Buyer", "FRAGMENT"), ("plant", "", "FRAGMENT")]);
    assert_eq!(roles_of(&mut house, "ada").await, both);
    assert_eq!(house.rollup(account("crm", "acme")).await.unwrap().person_count, 1);
    let fault = house.put(with_roles("ada", AT, vec![role("acme", "Buyer"), role("plant", "")])).await;
    assert_eq!(fault.status(), pb::IngestStatus::Duplicate);
    // What a call says is a fact of its own, and only that is ended by a call.
    house.affiliate("crm", "ada", "acme").await.unwrap();
    let end = pb::EndAffiliationRequest {
        person: somebody("crm", "ada"),
        account: account("crm", "plant"),
        ..Default::default()
    };
    assert_eq!(reason(&house.accounts.end_affiliation(end).await.unwrap_err()), "AFFILIATION_NOT_FOUND");
    // A newer fragment replaces, an older one is ignored.
    house.put(with_roles("ada", AT + 10, vec![role("plant", "Owner")])).await;
    house.put(with_roles("ada", AT + 5, vec![role("acme", "Late")])).await;
    let newer = told(&[("acme", "buyer", "STATED"), ("plant", "Owner", "FRAGMENT")]);
    assert_eq!(roles_of(&mut house, "ada").await, newer);
    house.close().await;
    let mut house = House::open(&data).await;
    assert_eq!(roles_of(&mut house, "ada").await, newer, "from a checkpoint");
    house.close().await;
    for entry in std::fs::read_dir(data.join("checkpoint")).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    let mut house = House::open(&data).await;
    assert_eq!(roles_of(&mut house, "ada").await, newer, "from the journal alone");
    // A retraction takes them back, a merge and a split move none.
    let grace = with_roles("grace", AT, vec![role("acme", "Chair")]);
    house.put(pb::Fragment { record: Some(record("shop", "grace")), ..grace }).await;
    let pair = [("email", "ada@harbour-mail.net"), ("email", "grace@harbour-mail.net")];
    house.put(onefold_tests::person("web", "bridge", AT, &pair, &[])).await;
    assert_eq!(house.rollup(account("crm", "acme")).await.unwrap().person_count, 1, "one person");
    house.retract("web", "bridge", AT + 1).await;
    assert_eq!(house.rollup(account("crm", "acme")).await.unwrap().person_count, 2);
    assert_eq!(roles_of_record(&mut house, "shop", "grace").await, told(&[("acme", "Chair", "FRAGMENT")]));
    house.retract("crm", "ada", AT + 20).await;
    assert_eq!(roles_of(&mut house, "ada").await, told(&[("acme", "buyer", "STATED")]));
    // Erased is erased.
    house.forget(vec![onefold_tests::consent::of_record("shop", "grace")]).await.unwrap();
    let of = pb::list_affiliations_request::Of::Account(account("crm", "acme").unwrap());
    let request = pb::ListAffiliationsRequest { of: Some(of), ..Default::default() };
    let left = house.accounts.list_affiliations(request).await.unwrap().into_inner().affiliations;
    assert!(left.iter().all(|a| a.person.as_ref().is_some_and(|person| person.key != "grace")), "{left:?}");
    house.close().await;
}

#[tokio::test]
async fn every_fault_of_a_role_is_told_and_quarantine_keeps_roles_waiting() {
    const AT: i64 = 1_700_000_000;
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    house.sources(&["crm"]).await;
    house.put_account("crm", "acme", None).await.unwrap();
    let elsewhere = pb::FragmentAffiliation { account: Some(onefold_tests::record("erp", "1")), ..Default::default() };
    let backwards =
        pb::FragmentAffiliation { start_time: Some(seconds(10)), end_time: Some(seconds(5)), ..role("acme", "") };
    let long = role("acme", &"x".repeat(513));
    let table = [
        (with_roles("a", AT, vec![elsewhere]), "affiliations[0].account.source"),
        (with_roles("a", AT, vec![backwards]), "affiliations[0].end_time"),
        (with_roles("a", AT, vec![long]), "affiliations[0].role"),
        (with_roles("a", AT, vec![Default::default()]), "affiliations[0].account"),
        (with_roles("a", AT, vec![role("acme", "Buyer"), role("acme", "BUYER")]), "affiliations[1]"),
        (with_roles("a", AT, (0..33).map(|n| role(&n.to_string(), "")).collect()), "affiliations"),
        (
            pb::Fragment {
                party_kind: pb::PartyKind::Organisation as i32,
                ..with_roles("a", AT, vec![role("acme", "")])
            },
            "affiliations",
        ),
    ];
    for (fragment, field) in table {
        let result = house.put(fragment).await;
        assert_eq!(result.status(), pb::IngestStatus::Rejected, "{field}");
        assert_eq!(result.faults.iter().map(|fault| fault.field.as_str()).collect::<Vec<_>>(), [field]);
    }
    let source = |namespaces: &[&str]| pb::PutSourceRequest {
        source: Some(pb::Source {
            name: "crm".to_owned(),
            contract: Some(pb::DataContract {
                require_any_namespace: namespaces.iter().map(|name| (*name).to_owned()).collect(),
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    };
    house.admin.put_source(source(&["phone"])).await.unwrap();
    let held = house.put(with_roles("ada", AT, vec![role("acme", "Buyer")])).await;
    assert_eq!(held.status(), pb::IngestStatus::Quarantined);
    assert_eq!(roles_of(&mut house, "ada").await, []);
    house.admin.put_source(source(&[])).await.unwrap();
    let replay = pb::ReplayQuarantineRequest { quarantine_ids: vec![held.quarantine_id], ..Default::default() };
    house.ingest.replay_quarantine(replay).await.unwrap();
    assert_eq!(roles_of(&mut house, "ada").await, told(&[("acme", "Buyer", "FRAGMENT")]));
    house.close().await;
}

#[tokio::test]
async fn the_order_in_which_roles_arrive_does_not_show() {
    const AT: i64 = 1_700_000_000;
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    house.sources(&["crm"]).await;
    let mut dice = Dice::from_environment("ONEFOLD_HIERARCHY_SEED", 20_260_405);
    for name in ["acme", "plant"] {
        house.put_account("crm", name, None).await.unwrap();
    }
    for round in 0..how_many("ONEFOLD_HIERARCHY_ROUNDS", 12) {
        let key = format!("p{round}");
        // 0 to 3 are fragments, 4 takes the record back between the second and the third.
        let mut steps: Vec<i64> = (0..5).collect();
        dice.shuffle(&mut steps);
        for step in steps {
            let to = ["acme", "plant"][step as usize % 2];
            match step {
                4 => drop(house.retract("crm", &key, AT + 15).await),
                _ => drop(house.put(with_roles(&key, AT + 10 * step, vec![role(to, &format!("r{step}"))])).await),
            }
        }
        assert_eq!(roles_of(&mut house, &key).await, told(&[("plant", "r3", "FRAGMENT")]), "round {round}");
    }
    house.close().await;
}
