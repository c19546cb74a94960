//! A no is heard: under another country's numbers, after a kill, behind a merge.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use onefold_proto::v1 as pb;
use onefold_tests::child::Launch;
use onefold_tests::consent::{at, of_record, reasons, said};
use onefold_tests::dice::{Dice, how_many};
use onefold_tests::{Clients, House, identifier, person};
use pb::ConsentDecision::{Granted, Withdrawn};

use super::{THEN, join, one_person_in_halves};

#[tokio::test(flavor = "multi_thread")]
async fn a_no_is_heard_while_numbers_are_read_under_another_country() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    house.sources(&["crm"]).await;
    house.read_numbers_in("DE").await;
    for number in 0..400 {
        let phone = format!("030 76{number:05}");
        house.put(person("crm", &number.to_string(), THEN, &[("phone", &phone)], &[])).await;
        house.say(at("phone", &phone), said(Withdrawn, THEN)).await.unwrap();
    }
    let may = |number: usize| pb::DecideContactRequest {
        subject: Some(at("phone", &format!("030 76{number:05}"))),
        purpose: "marketing".to_owned(),
        channel: "email".to_owned(),
        // Where silence is a yes, a no that is not heard is one.
        jurisdiction: "US".to_owned(),
        ..Default::default()
    };
    let changing = Arc::new(AtomicBool::new(true));
    let asker = {
        let (mut consent, changing) = (house.consent.clone(), Arc::clone(&changing));
        tokio::spawn(async move {
            let mut heard = 0;
            while changing.load(Ordering::Relaxed) {
                for number in [0, 200, 399] {
                    let verdict = consent.decide_contact(may(number)).await.unwrap().into_inner().verdict.unwrap();
                    assert!(!verdict.allowed, "{number}: {verdict:?}");
                    heard += usize::from(reasons(&verdict) == ["WITHDRAWN"]);
                }
            }
            heard
        })
    };
    for code in ["AT", "DE", "AT", "DE", "AT", "DE", "AT", "DE"] {
        house.read_numbers_in(code).await;
        let verdict = house.consent.decide_contact(may(7)).await.unwrap().into_inner().verdict.unwrap();
        assert_eq!(reasons(&verdict), ["WITHDRAWN"], "{code}");
    }
    changing.store(false, Ordering::Relaxed);
    assert!(asker.await.unwrap() > 0, "some were decided");
    house.close().await;
}

#[tokio::test]
async fn links_and_confirmations_count_when_numbers_are_read_under_another_country() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    let mut policy = house.policy().await.unwrap();
    policy.channels[0].double_opt_in = true;
    house.set_policy(policy).await.unwrap();
    house.read_numbers_in("DE").await;
    let (before, after, asked) = ("030 7600001", "030 7600002", "030 7600003");
    let mut tokens = Vec::new();
    for phone in [before, after] {
        let issue = pb::IssueUnsubscribeTokenRequest {
            identifier: Some(identifier("phone", phone)),
            purpose: "marketing".to_owned(),
            ..Default::default()
        };
        tokens.push(house.consent.issue_unsubscribe_token(issue).await.unwrap().into_inner().token);
    }
    let click = |token: &str| pb::UnsubscribeRequest { token: token.to_owned(), ..Default::default() };
    house.consent.unsubscribe(click(&tokens[0])).await.unwrap();
    let pending = house.say(at("phone", asked), said(Granted, THEN)).await.unwrap();
    assert!(pending.pending);
    house.read_numbers_in("AT").await;
    house.consent.unsubscribe(click(&tokens[1])).await.unwrap();
    let confirm = pb::ConfirmConsentRequest { confirmation_token: pending.confirmation_token, ..Default::default() };
    house.consent.confirm_consent(confirm).await.unwrap();
    for (phone, want) in [(before, "WITHDRAWN"), (after, "WITHDRAWN"), (asked, "GRANTED")] {
        let ask = pb::DecideContactRequest {
            subject: Some(at("phone", phone)),
            purpose: "marketing".to_owned(),
            channel: "email".to_owned(),
            // Where silence is a yes, a no that is not heard is one.
            jurisdiction: "US".to_owned(),
            ..Default::default()
        };
        let verdict = house.consent.decide_contact(ask).await.unwrap().into_inner().verdict.unwrap();
        assert_eq!(reasons(&verdict), [want], "{phone}");
    }
    house.close().await;
}

/// Says yes and no by turns about one record until the server is gone. The statements that were acknowledged, in order.
async fn say_by_turns(mut clients: Clients, key: String, from: i64) -> Vec<(String, pb::ConsentDecision)> {
    let mut acknowledged = Vec::new();
    for at in from.. {
        let word = if at % 2 == 0 { Granted } else { Withdrawn };
        match clients.say(of_record("crm", &key), said(word, at)).await {
            Ok(result) => acknowledged.push((result.statement_id, word)),
            Err(_) => break,
        }
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_loses_no_statement_that_was_acknowledged() {
    let mut dice = Dice::from_environment("ONEFOLD_DECIDE_SEED", 20_261_129);
    let dir = tempfile::tempdir().unwrap();
    let mut launch = Launch::new(env!("CARGO_BIN_EXE_onefold-test-server"), &dir.path().join("data"));
    launch.checkpoint_every = 50;
    let people = ["a", "b", "c", "d", "e", "f"];
    let (child, mut clients) = launch.start().await;
    clients.sources(&["crm"]).await;
    for key in people {
        let email = format!("{key}@acme-corp.com");
        clients.put(person("crm", key, THEN, &[("email", &email)], &[])).await;
    }
    child.stop();
    // Kept here, outside of the server: what it said that it has.
    let mut acknowledged: Vec<Vec<(String, pb::ConsentDecision)>> = vec![Vec::new(); people.len()];
    let mut next = [THEN; 6];
    for round in 0..how_many("ONEFOLD_DECIDE_KILLS", 4) {
        let (mut child, clients) = launch.start().await;
        let speakers: Vec<_> = (people.iter().zip(next))
            .map(|(key, from)| tokio::spawn(say_by_turns(clients.clone(), (*key).to_owned(), from)))
            .collect();
        tokio::time::sleep(std::time::Duration::from_millis(20 + dice.below(150))).await;
        child.kill();
        for (known, speaker) in acknowledged.iter_mut().zip(speakers) {
            known.extend(speaker.await.unwrap());
        }
        let (child, mut clients) = launch.start().await;
        for (at, key) in people.iter().enumerate() {
            let told = clients.statements(of_record("crm", key)).await.unwrap();
            let kept: Vec<(String, pb::ConsentDecision)> =
                told.iter().map(|one| (one.statement_id.clone(), one.saying.as_ref().unwrap().decision())).collect();
            // Whole, in order and once; of each round at most the one whose answer was on its way may be there beside them.
            let mut rest = kept.iter();
            for known in &acknowledged[at] {
                assert!(rest.any(|one| one == known), "round {round}, {key}: {known:?} is lost");
            }
            assert!(kept.len() <= acknowledged[at].len() + round + 1, "round {round}, {key}");
            let last = kept.last().map(|(_, word)| *word);
            let verdict = clients.may(of_record("crm", key), false).await.unwrap();
            assert_eq!(verdict.allowed, last == Some(Granted), "round {round}, {key}: {verdict:?} after {last:?}");
            next[at] = told
                .iter()
                .filter_map(|one| one.saying.as_ref()?.given_time)
                .map(|at| at.seconds)
                .max()
                .unwrap_or(THEN)
                + 1;
        }
        child.stop();
    }
    assert!(acknowledged.iter().all(|known| known.len() > 4), "the server was under load");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_after_a_merge_was_answered_never_hears_yes_over_a_no() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    house.sources(&["crm", "shop", "web"]).await;
    for number in 0..how_many("ONEFOLD_DECIDE_ROUNDS", 10) {
        one_person_in_halves(&mut house, number).await;
        let key = number.to_string();
        house.say(of_record("shop", &key), said(Withdrawn, THEN + 1)).await.unwrap();
        let merged = Arc::new(AtomicI64::new(0));
        let askers: Vec<_> = (0..4)
            .map(|at| {
                let (mut clients, merged, key) = (Clients::clone(&house), Arc::clone(&merged), key.clone());
                tokio::spawn(async move {
                    let mut late = 0;
                    while late < 5 {
                        let after = merged.load(Ordering::SeqCst) == 1;
                        let verdict = clients.may(of_record("crm", &key), at % 2 == 0).await.unwrap();
                        assert!(!(after && verdict.allowed), "allowed after the merge: {verdict:?}");
                        if !verdict.allowed {
                            // The no is of the other half: whoever saw it saw the merge, and nobody asks before it again.
                            assert_eq!(reasons(&verdict), ["WITHDRAWN"]);
                            merged.store(1, Ordering::SeqCst);
                        }
                        late += u32::from(after);
                    }
                })
            })
            .collect();
        join(&mut house, number, THEN + 2).await;
        merged.store(1, Ordering::SeqCst);
        for asker in askers {
            asker.await.unwrap();
        }
    }
    house.close().await;
}
