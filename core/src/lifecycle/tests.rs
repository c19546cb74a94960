use proptest::prelude::*;

use super::told::{NotEntered, StageWord, Told};
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

#[test]
fn what_fragments_tell_is_entered_where_it_is_a_step() {
    let life = lifecycle(StageRule::Furthest);
    let id = |name: &str| match life.word(name) {
        StageWord::Known(id) => id,
        StageWord::Other(_) => panic!("{name} is no stage"),
    };
    let forbidden = |from: &str| Some(NotEntered::Forbidden { from: id(from) });
    type Row<'a> = (&'a [(i64, &'a str)], &'a [(i64, &'a str)], Option<(&'a str, i64)>, Vec<Option<NotEntered>>);
    // Calls, told stages, where it stands, what was not entered.
    let table: Vec<Row<'_>> = vec![
        (&[], &[], None, vec![]),
        (&[], &[(5, "sql")], Some(("sql", 5)), vec![None]),
        (&[], &[(5, "lead"), (9, "mql")], Some(("mql", 9)), vec![None, None]),
        (&[], &[(9, "mql"), (5, "lead")], Some(("mql", 9)), vec![None, None]),
        (&[], &[(5, "mql"), (5, "lead")], Some(("mql", 5)), vec![None, None]),
        (&[], &[(5, "lead"), (9, "customer")], Some(("lead", 5)), vec![None, forbidden("lead")]),
        (&[], &[(5, "friend"), (9, "lead")], Some(("lead", 9)), vec![Some(NotEntered::Unknown), None]),
        // What a call told is where the next step starts from, and has the last word at its moment.
        (&[(3, "customer")], &[(5, "lead")], Some(("customer", 3)), vec![forbidden("customer")]),
        (&[(3, "lead"), (7, "mql")], &[(9, "sql")], Some(("sql", 9)), vec![None]),
        (&[(5, "lead")], &[(5, "customer")], Some(("lead", 5)), vec![None]),
        (&[(7, "mql")], &[(5, "mql"), (9, "mql")], Some(("mql", 7)), vec![None, None]),
        (&[(7, "mql")], &[(5, "customer")], Some(("mql", 7)), vec![None]),
    ];
    for (calls, told, stands, refused) in table {
        let calls: Vec<(Moment, StageId)> = calls.iter().map(|(at, name)| (Moment(*at), id(name))).collect();
        let words: Vec<Told> = told.iter().map(|(at, name)| Told { at: Moment(*at), stage: life.word(name) }).collect();
        let walk = life.walk(PartyKind::Person, &calls, &words);
        assert_eq!(walk.stands, stands.map(|(name, at)| (id(name), Moment(at))), "{calls:?} {told:?}");
        assert_eq!(walk.refused, refused, "{calls:?} {told:?}");
        // Without a definition nothing that fragments tell counts.
        let none = life.walk(PartyKind::Organisation, &[], &words);
        assert_eq!((none.stands, none.refused), (None, vec![Some(NotEntered::Undefined); told.len()]));
    }
    let why = life.refusal(PartyKind::Person, NotEntered::Forbidden { from: id("lead") });
    assert_eq!(why.to_string(), "lead does not lead there; allowed: mql");
}

proptest! {
    /// Law 2: the order in which stages are written down does not show; and only the last call decides where a record
    /// stands, which is why memory keeps no other.
    #[test]
    fn a_walk_depends_on_times_alone(
        (told, shuffled) in proptest::collection::vec((0..8_i64, 0..5_u16), 0..6)
            .prop_flat_map(|told| (Just(told.clone()), Just(told).prop_shuffle())),
        calls in proptest::collection::vec((0..8_i64, 0..4_u16), 0..4),
    ) {
        let life = lifecycle(StageRule::Furthest);
        let word = |stage: u16| if stage < 4 { StageWord::Known(StageId(stage)) } else { StageWord::Other("x".into()) };
        let all = |told: &[(i64, u16)]| -> Vec<Told> {
            told.iter().map(|(at, stage)| Told { at: Moment(*at), stage: word(*stage) }).collect()
        };
        let mut calls: Vec<(Moment, StageId)> =
            calls.into_iter().map(|(at, stage)| (Moment(at), StageId(stage))).collect();
        calls.sort_by_key(|(at, _)| *at);
        let walk = |told: &[(i64, u16)], calls: &[(Moment, StageId)]| life.walk(PartyKind::Person, calls, &all(told));
        let whole = walk(&told, &calls);
        prop_assert_eq!(whole.stands, walk(&shuffled, &calls).stands);
        prop_assert_eq!(whole.stands, walk(&told, &calls[calls.len().saturating_sub(1)..]).stands);
    }
}
