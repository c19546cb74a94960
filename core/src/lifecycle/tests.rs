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

/// Whoever stood at a stage by what a fragment tells fell back when it was left out; whoever stood there by a call did not.
#[test]
fn a_stage_that_is_left_out_keeps_those_who_reached_it_before() {
    let person = PartyKind::Person;
    let before = lifecycle(StageRule::Furthest);
    let id = |name: &str| before.names.iter().position(|known| known == name).map(|at| StageId(at as u16)).unwrap();
    let short = PipelineDraft {
        stages: vec![stage("lead", true, &["customer"]), stage("customer", false, &[])],
        rule: StageRule::Furthest,
    };
    let redefined = |life: &Lifecycle, draft: &PipelineDraft, at: i64| {
        let next = life.redefined(draft, &PipelineDraft::default()).unwrap();
        let defined = LifecycleDefined { lifecycle: next, at: Some(Moment(at)) };
        let read = LifecycleDefined::read(&crate::decision::encode(&defined)).unwrap();
        read.lifecycle.in_place_of(life, read.at)
    };
    let after = redefined(&before, &short, 100);
    let walked = |life: &Lifecycle, told: &[(i64, &str)]| {
        let words: Vec<Told> = told.iter().map(|(at, name)| Told { at: Moment(*at), stage: life.word(name) }).collect();
        let walk = life.walk(person, &[], &words);
        (walk.stands.map(|(stage, at)| (life.name(stage).to_owned(), at.0)), walk.refused)
    };
    let forbidden = |from: &str| Some(NotEntered::Forbidden { from: id(from) });
    type Row<'a> = (&'a [(i64, &'a str)], (&'a str, i64), Vec<Option<NotEntered>>);
    let table: Vec<Row<'_>> = vec![
        (&[(5, "lead"), (9, "mql")], ("mql", 9), vec![None, None]),
        (&[(9, "mql")], ("mql", 9), vec![None]),
        // At one moment in the order that they had, and never past a step that was none.
        (&[(9, "sql"), (9, "mql"), (9, "lead")], ("sql", 9), vec![None, None, None]),
        (&[(5, "lead"), (9, "sql")], ("lead", 5), vec![None, forbidden("lead")]),
        (&[(5, "customer"), (9, "mql")], ("customer", 5), vec![None, forbidden("customer")]),
        (&[(5, "lead"), (9, "mql"), (12, "customer")], ("mql", 9), vec![None, None, forbidden("mql")]),
        // Out of what is gone they may go everywhere, and nobody comes in.
        (&[(5, "lead"), (9, "mql"), (120, "customer")], ("customer", 120), vec![None, None, None]),
        (&[(5, "lead"), (120, "mql")], ("lead", 5), vec![None, Some(NotEntered::Unknown)]),
    ];
    for (told, (stage, at), refused) in &table {
        assert_eq!(walked(&after, told), (Some(((*stage).to_owned(), *at)), refused.clone()), "{told:?}");
    }
    // Another definition changes nothing of it; one that has the stage again makes it one again.
    let later = redefined(&redefined(&after, &sales(StageRule::Furthest), 200), &short, 300);
    assert_eq!(walked(&later, &[(5, "lead"), (250, "mql")]).0, Some(("mql".to_owned(), 250)));
    let more = PipelineDraft { stages: vec![stage("lead", true, &[])], rule: StageRule::Furthest };
    assert_eq!(walked(&redefined(&after, &more, 400), &[(5, "lead"), (9, "mql")]).0, Some(("mql".to_owned(), 9)));
    assert_eq!(
        walked(&redefined(&after, &sales(StageRule::Furthest), 200), &[(5, "lead"), (120, "mql")]).1,
        [None, None]
    );
    // Of another kind of party it never was a stage.
    let both = Lifecycle::default().redefined(&short, &sales(StageRule::Furthest)).unwrap();
    assert_eq!(walked(&both, &[(5, "mql")]), (None, vec![Some(NotEntered::Unknown)]));
}

#[test]
fn a_definition_of_before_is_read() {
    let known = lifecycle(StageRule::MostTrusted);
    let read = LifecycleDefined::read(&crate::decision::encode(&known)).unwrap();
    assert_eq!(read, LifecycleDefined { lifecycle: known.clone(), at: None });
    let now = LifecycleDefined { lifecycle: known, at: Some(Moment(7)) };
    assert_eq!(LifecycleDefined::read(&crate::decision::encode(&now)).unwrap(), now);
    assert!(LifecycleDefined::read(&[1, 200]).is_err());
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
