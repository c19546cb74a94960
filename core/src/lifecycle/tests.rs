use super::*;

fn stage(name: &str, initial: bool, next: &[&str]) -> StageDraft {
    StageDraft { name: name.to_owned(), initial, next: next.iter().map(|name| (*name).to_owned()).collect() }
}

fn sales(rule: StageRule) -> PipelineDraft {
    let stages = vec![
        stage("lead", true, &["mql"]),
        stage("mql", false, &["sql", "lead"]),
        stage("sql", false, &["customer"]),
        stage("customer", true, &[]),
    ];
    PipelineDraft { stages, rule }
}

fn lifecycle(rule: StageRule) -> Lifecycle {
    Lifecycle::default().redefined(&sales(rule), &PipelineDraft::default()).unwrap()
}

#[test]
fn steps_are_allowed_or_refused_with_those_that_are() {
    let life = lifecycle(StageRule::Furthest);
    let person = PartyKind::Person;
    let id = |name: &str| life.names.iter().position(|known| known == name).map(|at| StageId(at as u16));
    type Wanted<'a> = Result<&'a str, &'a [&'a str]>;
    let table: [(Option<&str>, &str, Wanted<'_>); 7] = [
        (None, "lead", Ok("lead")),
        (None, "sql", Err(&["lead", "customer"])),
        (Some("lead"), "mql", Ok("mql")),
        (Some("lead"), "lead", Ok("lead")),
        (Some("lead"), "customer", Err(&["mql"])),
        (Some("mql"), "lead", Ok("lead")),
        (Some("customer"), "lead", Err(&[])),
    ];
    for (from, to, want) in table {
        match (life.step(person, from.and_then(id), to), want) {
            (Ok(got), Ok(want)) => assert_eq!(life.name(got), want, "{from:?} to {to}"),
            (Err(StageRefused::Forbidden { allowed, .. }), Err(want)) => assert_eq!(allowed, want, "{from:?} to {to}"),
            (got, want) => panic!("{from:?} to {to}: {got:?}, not {want:?}"),
        }
    }
    assert!(matches!(life.step(person, None, "nowhere"), Err(StageRefused::Unknown { known }) if known.len() == 4));
    assert_eq!(life.step(PartyKind::Organisation, None, "lead"), Err(StageRefused::Undefined(PartyKind::Organisation)));
}

#[test]
fn a_merged_party_has_the_stage_that_the_rule_says() {
    let reached = |record: u8, stage: u16, at: i64, trust: u16| Reached {
        record: Digest128([record; 16]),
        stage: StageId(stage),
        at: Moment(at),
        trust,
    };
    let all = [reached(1, 3, 10, 100), reached(2, 1, 30, 200), reached(3, 0, 20, 900)];
    for (rule, want) in [(StageRule::Furthest, 3), (StageRule::MostRecent, 1), (StageRule::MostTrusted, 0)] {
        let life = lifecycle(rule);
        for turn in 0..3 {
            let mut turned = all;
            turned.rotate_left(turn);
            let stage = life.effective(PartyKind::Person, &turned).map(|reached| reached.stage);
            assert_eq!(stage, Some(StageId(want)), "{rule:?}");
        }
        // Alone again, each has its own.
        for one in all {
            assert_eq!(life.effective(PartyKind::Person, &[one]), Some(one));
        }
    }
    assert_eq!(lifecycle(StageRule::Furthest).effective(PartyKind::Person, &[]), None);
}

#[test]
fn names_keep_their_ordinals_and_what_is_gone_holds_nobody() {
    let life = lifecycle(StageRule::Furthest);
    let other = PipelineDraft {
        stages: vec![stage("new", true, &["customer"]), stage("customer", false, &[])],
        rule: StageRule::Furthest,
    };
    let after = life.redefined(&other, &PipelineDraft::default()).unwrap();
    assert_eq!(after.names, ["lead", "mql", "sql", "customer", "new"]);
    assert_eq!(after.step(PartyKind::Person, Some(StageId(1)), "new"), Ok(StageId(4)), "out of a stage that is gone");
    assert_eq!(after.redefined(&sales(StageRule::Furthest), &PipelineDraft::default()).unwrap().names, after.names);
}

#[test]
fn every_fault_of_a_definition_is_told() {
    let bad = PipelineDraft {
        stages: vec![stage("Lead", false, &["sql"]), stage("mql", false, &[]), stage("mql", false, &[])],
        rule: StageRule::Furthest,
    };
    let faults = Lifecycle::default().redefined(&PipelineDraft::default(), &bad).unwrap_err();
    let told: Vec<(&str, FaultReason)> = faults.iter().map(|fault| (fault.path.as_str(), fault.reason)).collect();
    assert_eq!(
        told,
        [
            ("accounts.stages[0].name", FaultReason::Malformed),
            ("accounts.stages[0].next[0]", FaultReason::Unknown),
            ("accounts.stages[2].name", FaultReason::Repeated),
            ("accounts.stages", FaultReason::Missing),
        ]
    );
}
