//! Stages that come with fragments: facts of the live fragment, beside what calls told; one that is no step is kept, not
//! entered, and shown with its reason. Laws 1, 2, 3 and 7.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::path::Path;

use onefold_proto::v1 as pb;
use onefold_tests::accounts::{account, somebody};
use onefold_tests::dice::{Dice, how_many};
use onefold_tests::{House, organisation, person, reason, record, seconds};

const AT: i64 = 1_700_000_000;

async fn define(house: &mut House, stages: &[(&str, bool, &[&str])], rule: pb::StageRule) {
    let stage = |(name, initial, next): &(&str, bool, &[&str])| pb::Stage {
        name: (*name).to_owned(),
        initial: *initial,
        next: next.iter().map(|name| (*name).to_owned()).collect(),
    };
    let pipeline = Some(pb::Pipeline { stages: stages.iter().map(stage).collect(), merge_rule: rule as i32 });
    let lifecycle = Some(pb::Lifecycle { persons: pipeline.clone(), accounts: pipeline });
    house.accounts.put_lifecycle(pb::PutLifecycleRequest { lifecycle, ..Default::default() }).await.unwrap();
}

async fn define_sales(house: &mut House) {
    let sales: [(&str, bool, &[&str]); 4] =
        [("lead", true, &["mql"]), ("mql", false, &["sql"]), ("sql", false, &["customer"]), ("customer", false, &[])];
    define(house, &sales, pb::StageRule::Furthest).await;
}

fn told(stages: &[(&str, i64)]) -> Vec<pb::FragmentStage> {
    let one = |(stage, at): &(&str, i64)| pb::FragmentStage {
        stage: (*stage).to_owned(),
        reached_time: (*at != 0).then(|| seconds(AT + at)),
    };
    stages.iter().map(one).collect()
}

fn ada(source: &str, at: i64, email: &str, stages: &[(&str, i64)]) -> pb::Fragment {
    pb::Fragment { stages: told(stages), ..person(source, "ada", AT + at, &[("email", email)], &[]) }
}

const MAIL: &str = "ada@lovelace-mail.org";

fn of_person(source: &str) -> Option<pb::StageSubject> {
    Some(pb::StageSubject { subject: somebody(source, "ada").map(pb::stage_subject::Subject::Person) })
}

fn of_account(key: &str) -> Option<pb::StageSubject> {
    Some(pb::StageSubject { subject: account("crm", key).map(pb::stage_subject::Subject::Account) })
}

async fn stands(house: &mut House, subject: Option<pb::StageSubject>) -> Option<(String, i64)> {
    let request = pb::GetStageRequest { subject, ..Default::default() };
    let found = house.accounts.get_stage(request).await.unwrap().into_inner().stage?;
    Some((found.stage, found.reached_time.unwrap().seconds - AT))
}

fn at(stage: &str, since: i64) -> Option<(String, i64)> {
    Some((stage.to_owned(), since))
}

async fn set(house: &mut House, stage: &str, since: i64) -> Result<(), tonic::Status> {
    let reached_time = Some(seconds(AT + since));
    let request =
        pb::SetStageRequest { subject: of_person("crm"), stage: stage.to_owned(), reached_time, ..Default::default() };
    house.accounts.set_stage(request).await.map(drop)
}

/// Source, stage, origin, why it was not entered.
async fn history(house: &mut House, subject: Option<pb::StageSubject>) -> Vec<String> {
    let request = pb::ListStageHistoryRequest { subject, ..Default::default() };
    let found = house.accounts.list_stage_history(request).await.unwrap().into_inner().events;
    let line = |event: pb::StageEvent| {
        assert_eq!(event.not_entered.is_empty(), event.not_entered_reason.is_empty());
        assert!(event.sequence > 0);
        format!("{} {} {} {}", event.source, event.stage, event.origin, event.not_entered_reason).trim_end().to_owned()
    };
    found.into_iter().map(line).collect()
}

async fn reopened(house: House, data: &Path, drop_derived: bool) -> House {
    house.close().await;
    if drop_derived {
        for derived in ["checkpoint", "keyed"] {
            std::fs::remove_dir_all(data.join(derived)).unwrap();
            std::fs::create_dir(data.join(derived)).unwrap();
        }
    }
    House::open(data).await
}

#[tokio::test]
async fn stages_live_and_go_with_their_fragment_beside_what_calls_told() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = House::open(&data).await;
    house.sources(&["crm", "web"]).await;
    // Stages may be told before anybody defined them: they count from then on.
    let first = house.put(ada("crm", 10, MAIL, &[("Lead", 1), ("MQL", 5)])).await;
    assert_eq!(first.status(), pb::IngestStatus::Accepted);
    assert_eq!(stands(&mut house, of_person("crm")).await, None);
    let waiting = ["crm lead FRAGMENT LIFECYCLE_UNDEFINED", "crm mql FRAGMENT LIFECYCLE_UNDEFINED"];
    assert_eq!(history(&mut house, of_person("crm")).await, waiting);
    define_sales(&mut house).await;
    assert_eq!(stands(&mut house, of_person("crm")).await, at("mql", 5));
    let again = house.put(ada("crm", 10, MAIL, &[("lead", 1), ("mql", 5)])).await;
    assert_eq!(again.status(), pb::IngestStatus::Duplicate);
    // A call starts from where the fragment left, and stays when the fragment goes.
    assert_eq!(reason(&set(&mut house, "customer", 6).await.unwrap_err()), "STAGE_FORBIDDEN");
    set(&mut house, "sql", 6).await.unwrap();
    // What is no step from there is kept and not entered; the fragment is taken all the same.
    let odd = house.put(ada("crm", 20, MAIL, &[("lead", 9), ("friend", 9)])).await;
    assert_eq!(odd.status(), pb::IngestStatus::Accepted);
    house.put(ada("crm", 15, MAIL, &[("customer", 8)])).await;
    let shown = ["crm sql CALL", "crm lead FRAGMENT STAGE_FORBIDDEN", "crm friend FRAGMENT STAGE_UNKNOWN"];
    for drop_derived in [false, true] {
        assert_eq!(stands(&mut house, of_person("crm")).await, at("sql", 6), "{drop_derived}");
        let mut found = history(&mut house, of_person("crm")).await;
        found[1..].sort_by_key(|line| shown.iter().position(|want| want == line));
        assert_eq!(found, shown, "{drop_derived}");
        house = reopened(house, &data, drop_derived).await;
    }
    // Without a time of its own a stage is as old as the observation.
    house.put(ada("crm", 30, MAIL, &[("customer", 0)])).await;
    assert_eq!(stands(&mut house, of_person("crm")).await, at("customer", 30));
    house.retract("crm", "ada", AT + 40).await;
    assert_eq!(stands(&mut house, of_person("crm")).await, at("sql", 6));
    assert_eq!(history(&mut house, of_person("crm")).await, ["crm sql CALL"]);
    house.close().await;
}

#[tokio::test]
async fn sales_and_marketing_disagree_and_a_split_gives_each_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    house.sources(&["crm", "web"]).await;
    define_sales(&mut house).await;
    house.put(ada("crm", 10, MAIL, &[("customer", 3)])).await;
    house.put(ada("web", 10, MAIL, &[("mql", 5)])).await;
    for (rule, want) in [(pb::StageRule::Furthest, at("customer", 3)), (pb::StageRule::MostRecent, at("mql", 5))] {
        let sales: [(&str, bool, &[&str]); 4] = [
            ("lead", true, &["mql"]),
            ("mql", false, &["sql"]),
            ("sql", false, &["customer"]),
            ("customer", false, &[]),
        ];
        define(&mut house, &sales, rule).await;
        assert_eq!(stands(&mut house, of_person("web")).await, want);
    }
    assert_eq!(history(&mut house, of_person("web")).await, ["crm customer FRAGMENT", "web mql FRAGMENT"]);
    house.put(ada("web", 20, "augusta@lovelace-mail.org", &[("mql", 5)])).await;
    assert_eq!(stands(&mut house, of_person("web")).await, at("mql", 5));
    assert_eq!(stands(&mut house, of_person("crm")).await, at("customer", 3));
    // Erased is erased.
    house.forget(vec![onefold_tests::consent::of_record("web", "ada")]).await.unwrap();
    assert_eq!(history(&mut house, of_person("web")).await, Vec::<String>::new());
    assert_eq!(stands(&mut house, of_person("crm")).await, at("customer", 3));
    house.close().await;
}

#[tokio::test]
async fn an_organisation_tells_of_its_account_and_the_feed_says_so() {
    use pb::ProfileEventKind::{AccountChanged, Created, Updated};
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = House::open(&data).await;
    house.sources(&["crm"]).await;
    define_sales(&mut house).await;
    house.put_account("crm", "acme", None).await.unwrap();
    let acme = |at: i64, stages: &[(&str, i64)]| pb::Fragment {
        stages: told(stages),
        ..organisation("crm", "acme", AT + at, &[("registration_id", "HRB-9")], &[])
    };
    house.put(acme(1, &[("lead", 1)])).await;
    house.put(acme(2, &[("lead", 1)])).await;
    house.put(acme(3, &[("lead", 1), ("mql", 3)])).await;
    assert_eq!(stands(&mut house, of_account("acme")).await, at("mql", 3));
    let shown = house.get_account(account("crm", "acme")).await.unwrap();
    assert_eq!(shown.stage.map(|stage| stage.stage), Some("mql".to_owned()));
    // A role that comes with a fragment changes its account too.
    let role = pb::FragmentAffiliation { account: Some(record("crm", "acme")), ..Default::default() };
    let with_role = |at: i64, roles: Vec<pb::FragmentAffiliation>| pb::Fragment {
        affiliations: roles,
        ..person("crm", "ada", AT + at, &[("email", MAIL)], &[])
    };
    house.put(with_role(1, vec![role.clone()])).await;
    house.put(with_role(2, vec![role])).await;
    house.put(with_role(3, vec![])).await;
    let kinds = |events: Vec<pb::ProfileEvent>| events.iter().map(pb::ProfileEvent::kind).collect::<Vec<_>>();
    let want = [
        AccountChanged, // put
        Created,
        AccountChanged,
        Updated,
        Updated,
        AccountChanged, // its stages
        Created,
        AccountChanged,
        Updated,
        Updated,
        AccountChanged, // the role
    ];
    assert_eq!(kinds(house.events("", 0).await.unwrap()), want);
    let before = house.get_account(account("crm", "acme")).await.unwrap();
    house = reopened(house, &data, true).await;
    assert_eq!(house.get_account(account("crm", "acme")).await.unwrap(), before);
    assert_eq!(kinds(house.events("", 0).await.unwrap()), want);
    house.close().await;
}

async fn put_contract(house: &mut House, contract: pb::DataContract) {
    let source = pb::Source { name: "crm".to_owned(), contract: Some(contract.clone()), ..Default::default() };
    let request = pb::PutSourceRequest { source: Some(source), ..Default::default() };
    let put = house.admin.put_source(request).await.unwrap().into_inner().source.unwrap();
    assert_eq!(put.contract, Some(contract));
}

#[tokio::test]
async fn a_contract_says_which_stages_and_roles_come_and_whether_they_must_be_steps() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = House::open(&data).await;
    house.sources(&["crm"]).await;
    define_sales(&mut house).await;
    let stages = pb::StageContract { required: true, allowed: vec!["Lead".into(), "MQL".into()], only_steps: true };
    let roles = pb::AffiliationContract { required: true, allowed_roles: vec!["Buyer".into()] };
    put_contract(
        &mut house,
        pb::DataContract { stages: Some(stages), affiliations: Some(roles), ..Default::default() },
    )
    .await;
    house = reopened(house, &data, true).await;
    let fragment = |stages: &[(&str, i64)], role: Option<&str>| {
        let told = |role: &str| pb::FragmentAffiliation {
            account: Some(record("crm", "acme")),
            role: role.to_owned(),
            ..Default::default()
        };
        pb::Fragment { affiliations: role.map(told).into_iter().collect(), ..ada("crm", 10, MAIL, stages) }
    };
    let table = [
        (fragment(&[], None), vec!["affiliations MISSING", "stages MISSING"]),
        (fragment(&[("sql", 1)], Some("Chair")), vec!["affiliations CONTRACT_BROKEN", "stages CONTRACT_BROKEN"]),
        (fragment(&[("mql", 1), ("lead", 5)], Some("BUYER")), vec!["stages[lead] CONTRACT_BROKEN"]),
    ];
    for (fragment, want) in table {
        let held = house.put(fragment).await;
        assert_eq!(held.status(), pb::IngestStatus::Quarantined);
        let faults: Vec<String> = held.faults.iter().map(|fault| format!("{} {}", fault.field, fault.reason)).collect();
        assert_eq!(faults, want);
    }
    assert_eq!(stands(&mut house, of_person("crm")).await, None);
    // What waits is looked at again, by the steps that are allowed then.
    let held = house.put(fragment(&[("lead", 1), ("mql", 2), ("lead", 5)], Some("Buyer"))).await;
    let replay =
        || pb::ReplayQuarantineRequest { quarantine_ids: vec![held.quarantine_id.clone()], ..Default::default() };
    house.ingest.replay_quarantine(replay()).await.unwrap();
    assert_eq!(stands(&mut house, of_person("crm")).await, None);
    define(&mut house, &[("lead", true, &["mql"]), ("mql", false, &["lead"])], pb::StageRule::Furthest).await;
    house.ingest.replay_quarantine(replay()).await.unwrap();
    assert_eq!(stands(&mut house, of_person("crm")).await, at("lead", 5));
    // An organisation has no role to tell of.
    let acme = organisation("crm", "acme", AT, &[("registration_id", "HRB-9")], &[]);
    let taken = house.put(pb::Fragment { stages: told(&[("lead", 1)]), ..acme }).await;
    assert_eq!(taken.status(), pb::IngestStatus::Accepted, "{taken:?}");
    let bad = [("", "stages[0].stage"), ("x", "stages[1].reached_time")];
    for (name, field) in bad {
        let late = pb::FragmentStage { stage: "lead".to_owned(), reached_time: Some(seconds(i64::MAX)) };
        let mut fragment = fragment(&[("lead", 1)], Some("Buyer"));
        match name {
            "" => fragment.stages[0].stage = String::new(),
            _ => fragment.stages.push(late),
        }
        let refused = house.put(fragment).await;
        assert_eq!(refused.status(), pb::IngestStatus::Rejected);
        assert_eq!(refused.faults.iter().map(|fault| fault.field.as_str()).collect::<Vec<_>>(), [field]);
    }
    house.close().await;
}

#[tokio::test]
async fn the_order_in_which_stages_arrive_does_not_show() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    house.sources(&["crm"]).await;
    define_sales(&mut house).await;
    let mut dice = Dice::from_environment("ONEFOLD_STAGES_SEED", 20_261_126);
    for round in 0..how_many("ONEFOLD_STAGES_ROUNDS", 12) {
        let key = format!("p{round}");
        let email = format!("{key}@harbour-mail.net");
        let mut steps: Vec<i64> = (0..4).collect();
        dice.shuffle(&mut steps);
        for step in steps {
            let told = told(&[("lead", 1), (["mql", "sql", "customer", "mql"][step as usize], 10 + step)]);
            let fragment = person("crm", &key, AT + 10 * step, &[("email", &email)], &[]);
            match step {
                2 => drop(house.retract("crm", &key, AT + 15).await),
                _ => drop(house.put(pb::Fragment { stages: told, ..fragment }).await),
            }
        }
        let subject = somebody("crm", &key).map(pb::stage_subject::Subject::Person);
        assert_eq!(stands(&mut house, Some(pb::StageSubject { subject })).await, at("mql", 13), "round {round}");
    }
    house.close().await;
}

/// By what its fragment tells a person fell back when the stage it stood at was left out, and by a call it did not.
#[tokio::test]
async fn a_stage_that_is_left_out_keeps_those_who_stand_at_it() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = House::open(&data).await;
    house.sources(&["crm"]).await;
    define_sales(&mut house).await;
    house.put_account("crm", "acme", None).await.unwrap();
    let reached = [("lead", 1), ("mql", 5)];
    let acme = organisation("crm", "acme", AT, &[("registration_id", "HRB-9")], &[]);
    house.put(pb::Fragment { stages: told(&reached), ..acme.clone() }).await;
    house.put(ada("crm", 10, MAIL, &reached)).await;
    let short: [(&str, bool, &[&str]); 2] = [("lead", true, &["customer"]), ("customer", false, &[])];
    define(&mut house, &short, pb::StageRule::Furthest).await;
    for drop_derived in [false, false, true] {
        assert_eq!(stands(&mut house, of_person("crm")).await, at("mql", 5), "{drop_derived}");
        assert_eq!(stands(&mut house, of_account("acme")).await, at("mql", 5), "{drop_derived}");
        house = reopened(house, &data, drop_derived).await;
    }
    // The same history sent again is the same. They may move on to anywhere, and nobody comes in.
    house.put(ada("crm", 20, MAIL, &reached)).await;
    assert_eq!(stands(&mut house, of_person("crm")).await, at("mql", 5));
    assert_eq!(reason(&set(&mut house, "mql", 40).await.unwrap_err()), "STAGE_UNKNOWN");
    set(&mut house, "customer", 50).await.unwrap();
    assert_eq!(stands(&mut house, of_person("crm")).await, at("customer", 50));
    // Reached when it is told, which is after the stage was left out.
    let late = pb::Fragment { stages: told(&[("lead", 1), ("mql", 0)]), observed_time: None, ..acme };
    house.put(late).await;
    assert_eq!(stands(&mut house, of_account("acme")).await, at("lead", 1));
    assert_eq!(history(&mut house, of_account("acme")).await[1], "crm mql FRAGMENT STAGE_UNKNOWN");
    house.close().await;
}
