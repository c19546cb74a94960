//! The contact decision under fire: never more than k contacts in any window, whoever asks at once, whatever merges,
//! splits, dies and comes back.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use onefold_core::fragment::ObservedAt;
use onefold_proto::v1 as pb;
use onefold_server::clock::Clock;
use onefold_tests::child::Launch;
use onefold_tests::consent::{at, of_record, reasons, said};
use onefold_tests::dice::{Dice, how_many};
use onefold_tests::{Clients, House, identifier, organisation, person, reason, seconds};
use pb::ConsentDecision::{Granted, Withdrawn};
use tokio_stream::StreamExt;

const THEN: i64 = 1_700_000_000;

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

/// A clock that stands where it is put.
#[derive(Debug)]
struct Stopped(AtomicI64);

impl Clock for Stopped {
    fn now(&self) -> ObservedAt {
        ObservedAt(self.0.load(Ordering::Relaxed) * 1_000_000)
    }
}

async fn one_person_in_halves(clients: &mut Clients, number: usize) {
    let key = number.to_string();
    for (source, name) in [("crm", "left"), ("shop", "right")] {
        let email = format!("{name}{key}@acme-corp.com");
        clients.put(person(source, &key, THEN, &[("email", &email)], &[])).await;
        clients.say(of_record(source, &key), said(Granted, THEN)).await.unwrap();
    }
}

async fn join(clients: &mut Clients, number: usize, time: i64) {
    let key = number.to_string();
    let (left, right) = (format!("left{key}@acme-corp.com"), format!("right{key}@acme-corp.com"));
    clients.put(person("web", &key, time, &[("email", &left), ("email", &right)], &[])).await;
}

/// Asks for either half until it is refused often enough; how often it was allowed.
async fn hammer(mut clients: Clients, number: usize, mut dice: Dice) -> [u32; 2] {
    let mut allowed = [0, 0];
    for _ in 0..12 {
        let side = usize::from(dice.once_in(2));
        let who = of_record(["crm", "shop"][side], &number.to_string());
        match clients.may(who, true).await {
            Ok(verdict) => allowed[side] += u32::from(verdict.allowed),
            Err(_) => return allowed,
        }
    }
    allowed
}

#[tokio::test(flavor = "multi_thread")]
async fn never_more_than_the_cap_under_many_callers_and_merges() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    house.sources(&["crm", "shop", "web"]).await;
    house.cap(3).await.unwrap();
    let mut dice = Dice::from_environment("ONEFOLD_DECIDE_SEED", 20_261_125);
    // Joined before anybody asks: both halves together get what one person gets.
    one_person_in_halves(&mut house, 0).await;
    join(&mut house, 0, THEN + 1).await;
    let callers: Vec<_> = (0..8).map(|_| tokio::spawn(hammer(Clients::clone(&house), 0, dice.fork()))).collect();
    let mut allowed = 0;
    for caller in callers {
        allowed += caller.await.unwrap().iter().sum::<u32>();
    }
    assert_eq!(allowed, 3, "two halves of one person share the sum");
    // Joined and parted while everybody asks: no half is ever charged with more than the cap.
    for number in 1..=how_many("ONEFOLD_DECIDE_ROUNDS", 6) {
        one_person_in_halves(&mut house, number).await;
        let callers: Vec<_> =
            (0..6).map(|_| tokio::spawn(hammer(Clients::clone(&house), number, dice.fork()))).collect();
        join(&mut house, number, THEN + 1).await;
        house.retract("web", &number.to_string(), THEN + 2).await;
        join(&mut house, number, THEN + 3).await;
        let mut sides = [0, 0];
        for caller in callers {
            let more = caller.await.unwrap();
            sides = [sides[0] + more[0], sides[1] + more[1]];
        }
        assert!(sides[0] <= 3 && sides[1] <= 3, "person {number}: {sides:?}");
        let after = house.may(of_record("crm", &number.to_string()), true).await.unwrap();
        assert_eq!(reasons(&after), ["CAP_REACHED"], "together they had at least as many as one may have: {sides:?}");
        assert_eq!(after.reasons[0].cap, "daily");
    }
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_gives_nobody_one_more() {
    let rounds = how_many("ONEFOLD_DECIDE_KILLS", 4);
    let mut dice = Dice::from_environment("ONEFOLD_DECIDE_SEED", 20_261_126);
    let dir = tempfile::tempdir().unwrap();
    let mut launch = Launch::new(env!("CARGO_BIN_EXE_onefold-test-server"), &dir.path().join("data"));
    launch.checkpoint_every = 40;
    let (child, mut clients) = launch.start().await;
    clients.sources(&["crm", "shop", "web"]).await;
    clients.cap(4).await.unwrap();
    for number in 0..rounds {
        one_person_in_halves(&mut clients, number).await;
    }
    child.stop();
    for number in 0..rounds {
        let mut allowed = 0;
        for kill in 0..3 {
            let (mut child, mut clients) = launch.start().await;
            if kill == 1 {
                join(&mut clients, number, THEN + 1).await;
            }
            let callers: Vec<_> = (0..4).map(|_| tokio::spawn(hammer(clients.clone(), number, dice.fork()))).collect();
            tokio::time::sleep(std::time::Duration::from_millis(dice.below(60))).await;
            child.kill();
            for caller in callers {
                let sides = caller.await.unwrap();
                // Before the merge the other half is another person, so only one is followed all the way.
                allowed += if kill == 0 { sides[0] } else { sides[0] + sides[1] };
            }
        }
        let (child, mut clients) = launch.start().await;
        let last = hammer(clients.clone(), number, dice.fork()).await;
        allowed += last[0] + last[1];
        assert!(allowed <= 4, "person {number}: {allowed} contacts");
        let refused = clients.may(of_record("crm", &number.to_string()), true).await.unwrap();
        assert_eq!(reasons(&refused), ["CAP_REACHED"], "person {number}");
        child.stop();
    }
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

/// People of one household, each with an own address of e-mail, and a yes.
async fn family(clients: &mut Clients, surname: &str, keys: &[&str]) {
    for key in keys {
        let email = format!("{key}@acme-corp.com");
        let home = [
            ("given_name", *key),
            ("family_name", surname),
            ("address.street", "12 High Street"),
            ("address.city", "Camden"),
            ("address.postcode", "08030"),
        ];
        clients.put(person("crm", key, THEN, &[("email", &email)], &home)).await;
        clients.say(of_record("crm", key), said(Granted, THEN)).await.unwrap();
    }
}

/// Asks for one of these records so many times; how often it was allowed for each.
async fn ask_for(mut clients: Clients, keys: Vec<String>, mut dice: Dice, times: usize) -> Vec<u32> {
    let mut allowed = vec![0; keys.len()];
    for _ in 0..times {
        let which = dice.below(keys.len() as u64) as usize;
        match clients.may(of_record("crm", &keys[which]), true).await {
            Ok(verdict) => allowed[which] += u32::from(verdict.allowed),
            Err(_) => break,
        }
    }
    allowed
}

async fn sum_for(clients: &Clients, keys: &[&str], dice: &mut Dice) -> Vec<u32> {
    let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
    let callers: Vec<_> =
        (0..8).map(|_| tokio::spawn(ask_for(clients.clone(), keys.clone(), dice.fork(), 8))).collect();
    let mut sum = vec![0; keys.len()];
    for caller in callers {
        for (sum, more) in sum.iter_mut().zip(caller.await.unwrap()) {
            *sum += more;
        }
    }
    sum
}

#[tokio::test(flavor = "multi_thread")]
async fn a_household_and_an_account_share_a_cap_and_stay_several_people() {
    use pb::CapScope::{Account, Household, Person};
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    house.sources(&["crm"]).await;
    house.caps(&[("each", 3, Person), ("home", 4, Household), ("firm", 5, Account)]).await.unwrap();
    let mut dice = Dice::from_environment("ONEFOLD_DECIDE_SEED", 20_261_127);
    family(&mut house, "Lovelace", &["ada", "byron", "annabella"]).await;
    family(&mut house, "Babbage", &["charles"]).await;
    let of = |house: &House, key: &str| {
        let (mut clients, email) = (house.clients(), format!("{key}@acme-corp.com"));
        async move { clients.lookup("email", &email).await.unwrap().name }
    };
    assert_ne!(of(&house, "ada").await, of(&house, "byron").await, "a household merges nobody");
    let sums = sum_for(&house, &["ada", "byron", "annabella"], &mut dice).await;
    assert_eq!(sums.iter().sum::<u32>(), 4, "a household shares the sum: {sums:?}");
    assert!(sums.iter().all(|one| *one <= 3), "{sums:?}");
    let refused = house.may(of_record("crm", "annabella"), false).await.unwrap();
    assert!(refused.reasons.iter().any(|reason| reason.cap == "home"), "{refused:?}");
    assert!(refused.reasons[0].message.contains("household"), "{refused:?}");
    assert!(house.may(of_record("crm", "charles"), false).await.unwrap().allowed, "one door, another surname");

    // Colleagues share a firm; two firms that turn out to be one share the sum, and after a split each has its own.
    let firm =
        |key: &str| organisation("crm", key, THEN, &[("registration_id", "HRB-7")], &[("legal_name", "Works Ltd")]);
    for (key, above) in [("east", None), ("west", None)] {
        house.put_account("crm", key, above).await.unwrap();
    }
    for (key, to) in [("g1", "east"), ("g2", "east"), ("g3", "west"), ("g4", "west")] {
        let email = format!("{key}@acme-corp.com");
        house.put(person("crm", key, THEN, &[("email", &email)], &[])).await;
        house.say(of_record("crm", key), said(Granted, THEN)).await.unwrap();
        house.affiliate("crm", key, to).await.unwrap();
    }
    let east = sum_for(&house, &["g1", "g2"], &mut dice).await;
    assert_eq!(east.iter().sum::<u32>(), 5, "{east:?}");
    assert!(house.may(of_record("crm", "g3"), true).await.unwrap().allowed, "the other firm");
    house.put(firm("east")).await;
    house.put(firm("west")).await;
    let merged = house.may(of_record("crm", "g3"), true).await.unwrap();
    assert_eq!(merged.reasons.iter().map(|reason| reason.cap.as_str()).collect::<Vec<_>>(), ["firm"], "{merged:?}");
    house.retract("crm", "west", THEN + 1).await;
    let west = sum_for(&house, &["g3", "g4"], &mut dice).await;
    assert_eq!(west.iter().sum::<u32>(), 4, "one of five was had before the merge: {west:?}");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_gives_no_household_and_no_account_one_more() {
    use pb::CapScope::{Account, Household};
    let mut dice = Dice::from_environment("ONEFOLD_DECIDE_SEED", 20_261_128);
    let dir = tempfile::tempdir().unwrap();
    let mut launch = Launch::new(env!("CARGO_BIN_EXE_onefold-test-server"), &dir.path().join("data"));
    launch.checkpoint_every = 40;
    let (child, mut clients) = launch.start().await;
    clients.sources(&["crm"]).await;
    clients.caps(&[("home", 4, Household), ("firm", 6, Account)]).await.unwrap();
    family(&mut clients, "Lovelace", &["ada", "byron"]).await;
    family(&mut clients, "Babbage", &["charles", "henry"]).await;
    clients.put_account("crm", "firm", None).await.unwrap();
    for key in ["ada", "charles", "henry"] {
        clients.affiliate("crm", key, "firm").await.unwrap();
    }
    child.stop();
    let keys = ["ada", "byron", "charles", "henry"].map(str::to_owned);
    let mut allowed = [0; 4];
    for round in 0..=how_many("ONEFOLD_DECIDE_KILLS", 4) {
        let (mut child, clients) = launch.start().await;
        let last = round == how_many("ONEFOLD_DECIDE_KILLS", 4);
        let times = if last { 10 } else { 60 };
        let callers: Vec<_> =
            (0..4).map(|_| tokio::spawn(ask_for(clients.clone(), keys.to_vec(), dice.fork(), times))).collect();
        if !last {
            tokio::time::sleep(std::time::Duration::from_millis(dice.below(40))).await;
            child.kill();
        }
        for caller in callers {
            for (sum, more) in allowed.iter_mut().zip(caller.await.unwrap()) {
                *sum += more;
            }
        }
        if last {
            child.stop();
        }
    }
    let [ada, byron, charles, henry] = allowed;
    assert!(ada + byron <= 4 && charles + henry <= 4, "a household had {allowed:?}");
    assert!(ada + charles + henry <= 6, "the firm had {allowed:?}");
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

#[tokio::test]
async fn a_contact_follows_the_person_to_their_addresses_and_no_further() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    house.sources(&["crm", "shop", "web"]).await;
    house.cap(1).await.unwrap();
    let yes = |house: &House, subject: pb::ConsentSubject| {
        let mut clients: Clients = Clients::clone(house);
        async move { clients.say(subject, said(Granted, THEN)).await.unwrap() }
    };
    let capped = ["CAP_REACHED"];
    // By record, then by address; and when the record is gone and comes back under another key.
    house.put(person("crm", "1", THEN, &[("email", "ada@acme-corp.com")], &[])).await;
    yes(&house, at("email", "ada@acme-corp.com")).await;
    assert!(house.may(of_record("crm", "1"), true).await.unwrap().allowed);
    assert_eq!(reasons(&house.may(at("email", "ada@acme-corp.com"), true).await.unwrap()), capped);
    house.retract("crm", "1", THEN + 1).await;
    assert_eq!(reasons(&house.may(at("email", "ada@acme-corp.com"), true).await.unwrap()), capped, "nobody holds it");
    house.put(person("shop", "9", THEN, &[("email", "ada@acme-corp.com")], &[])).await;
    assert_eq!(reasons(&house.may(of_record("shop", "9"), true).await.unwrap()), capped, "another key");
    // A contact with a person of two halves is charged to both, whichever address it goes to; parted, each has had it.
    for (source, key, email) in [("crm", "2", "byron@acme-corp.com"), ("shop", "2", "lovelace@acme-corp.com")] {
        house.put(person(source, key, THEN, &[("email", email)], &[])).await;
        yes(&house, at("email", email)).await;
    }
    let both = [("email", "byron@acme-corp.com"), ("email", "lovelace@acme-corp.com")];
    house.put(person("web", "2", THEN, &both, &[])).await;
    assert!(house.may(at("email", "byron@acme-corp.com"), true).await.unwrap().allowed);
    house.retract("web", "2", THEN + 1).await;
    for subject in [of_record("crm", "2"), of_record("shop", "2"), at("email", "lovelace@acme-corp.com")] {
        assert_eq!(reasons(&house.may(subject, true).await.unwrap()), capped);
    }
    // An address that two people share joins no caps: who was contacted alone there before is one of them.
    let home = [("phone", "+12125550123"), ("email", "charles@acme-corp.com")];
    house.put(person("crm", "3", THEN, &home, &[("given_name", "Charles"), ("family_name", "Babbage")])).await;
    yes(&house, of_record("crm", "3")).await;
    assert!(house.may(of_record("crm", "3"), true).await.unwrap().allowed);
    let georgiana = [("given_name", "Georgiana"), ("family_name", "Whitmore")];
    let hers = [("phone", "+12125550123"), ("email", "georgiana@acme-corp.com")];
    house.put(person("shop", "3", THEN, &hers, &georgiana)).await;
    yes(&house, of_record("shop", "3")).await;
    let (his, her) =
        (house.lookup("email", "charles@acme-corp.com").await, house.lookup("email", "georgiana@acme-corp.com").await);
    if his.unwrap().name == her.unwrap().name {
        // They were taken for one: a steward says that they are two.
        let pair = pb::PairJudgement {
            first: Some(onefold_tests::record("crm", "3")),
            second: Some(onefold_tests::record("shop", "3")),
            verdict: pb::Verdict::Different as i32,
        };
        let (author, why) = ("steward".to_owned(), "by hand".to_owned());
        let judge = pb::JudgeRequest { judgements: vec![pair], author, reason: why, ..Default::default() };
        house.reviews.judge(judge).await.unwrap();
    }
    assert_eq!(reasons(&house.may(of_record("crm", "3"), true).await.unwrap()), capped);
    assert!(house.may(of_record("shop", "3"), true).await.unwrap().allowed, "his contact is not hers");
    house.close().await;
}

#[tokio::test]
async fn reservations_are_confirmed_released_or_expire() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(Stopped(AtomicI64::new(THEN)));
    let mut house = House::open_at(House::config(&dir.path().join("data")), Arc::clone(&clock) as _).await;
    house.sources(&["crm"]).await;
    house.cap(2).await.unwrap();
    house.put(person("crm", "1", THEN, &[("email", "ada@acme-corp.com")], &[])).await;
    let who = of_record("crm", "1");
    house.say(who.clone(), said(Granted, THEN)).await.unwrap();
    let confirm = |id: &str| pb::ConfirmReservationRequest { reservation_id: id.to_owned(), ..Default::default() };
    let release = |id: &str| pb::ReleaseReservationRequest { reservation_id: id.to_owned(), ..Default::default() };
    let first = house.may(who.clone(), true).await.unwrap().reservation_id;
    let second = house.may(who.clone(), true).await.unwrap().reservation_id;
    assert_eq!(reasons(&house.may(who.clone(), true).await.unwrap()), ["CAP_REACHED"]);
    house.consent.release_reservation(release(&first)).await.unwrap();
    house.consent.release_reservation(release(&first)).await.unwrap();
    assert_eq!(reason(&house.consent.confirm_reservation(confirm(&first)).await.unwrap_err()), "RESERVATION_RELEASED");
    // A named call gets its first verdict again, and reserves once.
    let named = pb::DecideContactRequest {
        subject: Some(at("email", "ada@acme-corp.com")),
        purpose: "marketing".to_owned(),
        channel: "email".to_owned(),
        reserve: true,
        request_id: "7f1c2d34-0a1b-4c5d-8e9f-001122334455".to_owned(),
        ..Default::default()
    };
    let once = house.consent.decide_contact(named.clone()).await.unwrap().into_inner().verdict.unwrap();
    let twice = house.consent.decide_contact(named.clone()).await.unwrap().into_inner().verdict.unwrap();
    assert!(once.allowed && once == twice);
    let other = pb::DecideContactRequest { channel: "post".to_owned(), ..named };
    assert_eq!(reason(&house.consent.decide_contact(other).await.unwrap_err()), "REQUEST_ID_REUSED");
    house.consent.release_reservation(release(&once.reservation_id)).await.unwrap();
    // The other way of naming her is counted with her.
    let third = house.may(at("email", "ada@acme-corp.com"), true).await.unwrap();
    assert!(third.allowed, "{third:?}");
    house.consent.confirm_reservation(confirm(&second)).await.unwrap();
    house.consent.confirm_reservation(confirm(&second)).await.unwrap();
    assert_eq!(
        reason(&house.consent.release_reservation(release(&second)).await.unwrap_err()),
        "RESERVATION_CONFIRMED"
    );
    for unknown in ["", "r_1_0", &second.replace('r', "c")] {
        let status = house.consent.confirm_reservation(confirm(unknown)).await.unwrap_err();
        assert_eq!(reason(&status), "RESERVATION_NOT_FOUND");
    }
    // The third was never confirmed: it counts no more, and cannot be confirmed any more.
    clock.0.store(THEN + 901, Ordering::Relaxed);
    assert_eq!(
        reason(&house.consent.confirm_reservation(confirm(&third.reservation_id)).await.unwrap_err()),
        "RESERVATION_EXPIRED"
    );
    let fourth = house.may(who.clone(), true).await.unwrap();
    assert!(fourth.allowed);
    house.consent.confirm_reservation(confirm(&fourth.reservation_id)).await.unwrap();
    assert_eq!(reasons(&house.may(who.clone(), true).await.unwrap()), ["CAP_REACHED"]);
    // A day later the first contact that happened has left the window; a clock set back lets nobody have more.
    clock.0.store(THEN + 86_400, Ordering::Relaxed);
    assert!(house.may(who.clone(), false).await.unwrap().allowed);
    clock.0.store(THEN + 1_000, Ordering::Relaxed);
    assert_eq!(reasons(&house.may(who, false).await.unwrap()), ["CAP_REACHED"]);
    house.close().await;
}

#[tokio::test]
async fn two_that_leave_in_one_moment_both_leave() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(Stopped(AtomicI64::new(THEN)));
    let mut house = House::open_at(House::config(&dir.path().join("data")), clock as _).await;
    let mails = ["ada@acme-corp.com", "byron@acme-corp.com"];
    for mail in mails {
        house.say(at("email", mail), said(Granted, THEN)).await.unwrap();
        let identifier = Some(onefold_tests::identifier("email", mail));
        let token = pb::IssueUnsubscribeTokenRequest { identifier, ..Default::default() };
        let token = house.consent.issue_unsubscribe_token(token).await.unwrap().into_inner().token;
        house.consent.unsubscribe(pb::UnsubscribeRequest { token, ..Default::default() }).await.unwrap();
    }
    for mail in mails {
        assert_eq!(reasons(&house.may(at("email", mail), false).await.unwrap()), ["WITHDRAWN"], "{mail}");
    }
    house.close().await;
}

#[tokio::test]
async fn a_clock_that_is_set_back_gives_nobody_one_more_and_undoes_no_withdrawal() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(Stopped(AtomicI64::new(THEN)));
    let config = || House::config(&dir.path().join("data"));
    let mut house = House::open_at(config(), Arc::clone(&clock) as _).await;
    house.sources(&["crm"]).await;
    house.cap(1).await.unwrap();
    house.put(person("crm", "1", THEN, &[("email", "ada@acme-corp.com")], &[])).await;
    let who = of_record("crm", "1");
    house.say(who.clone(), said(Granted, THEN)).await.unwrap();
    let confirm = |id: &str| pb::ConfirmReservationRequest { reservation_id: id.to_owned(), ..Default::default() };
    let first = house.may(who.clone(), true).await.unwrap().reservation_id;
    // An hour too far: the first has expired, and the second takes its place.
    clock.0.store(THEN + 3_600, Ordering::Relaxed);
    let second = house.may(who.clone(), true).await.unwrap();
    assert!(second.allowed);
    for restart in [false, true] {
        clock.0.store(THEN + 60, Ordering::Relaxed);
        assert_eq!(reasons(&house.may(who.clone(), true).await.unwrap()), ["CAP_REACHED"], "{restart}");
        let late = house.consent.confirm_reservation(confirm(&first)).await.unwrap_err();
        assert_eq!(reason(&late), "RESERVATION_EXPIRED", "{restart}");
        house.close().await;
        for entry in std::fs::read_dir(dir.path().join("data/checkpoint")).unwrap() {
            std::fs::remove_file(entry.unwrap().path()).unwrap();
        }
        house = House::open_at(config(), Arc::clone(&clock) as _).await;
    }
    house.consent.confirm_reservation(confirm(&second.reservation_id)).await.unwrap();
    // A year too far: nothing of before counts there, but it does again once the clock is set back.
    clock.0.store(THEN + 366 * 86_400, Ordering::Relaxed);
    assert!(house.may(who.clone(), true).await.unwrap().allowed);
    for restart in [false, true] {
        clock.0.store(THEN + 120, Ordering::Relaxed);
        assert_eq!(reasons(&house.may(who.clone(), true).await.unwrap()), ["CAP_REACHED"], "{restart}");
        house.close().await;
        house = House::open_at(config(), Arc::clone(&clock) as _).await;
    }
    // Who withdraws after they granted has withdrawn, whatever the clock says meanwhile.
    let word = |decision| pb::ConsentSaying { given_time: None, ..said(decision, 0) };
    for (channel, stop) in [("email", pb::ConsentDecision::Withdrawn), ("post", pb::ConsentDecision::Objected)] {
        let over = |decision| pb::ConsentSaying { channel: channel.to_owned(), ..word(decision) };
        clock.0.store(THEN + 7_200, Ordering::Relaxed);
        let yes = pb::ConsentSaying { given_time: Some(seconds(THEN + 7_200)), ..over(Granted) };
        house.say(who.clone(), yes).await.unwrap();
        clock.0.store(THEN + 3_700, Ordering::Relaxed);
        house.say(who.clone(), over(stop)).await.unwrap();
        let may = pb::DecideContactRequest {
            subject: Some(who.clone()),
            purpose: "marketing".to_owned(),
            channel: channel.to_owned(),
            ..Default::default()
        };
        for at in [THEN + 3_700, THEN + 90_000_000] {
            clock.0.store(at, Ordering::Relaxed);
            let verdict = house.consent.decide_contact(may.clone()).await.unwrap().into_inner().verdict.unwrap();
            assert!(!verdict.allowed, "{channel} {at}: {verdict:?}");
        }
    }
    house.close().await;
}

#[tokio::test]
async fn a_yes_must_still_hold_when_the_contact_happens() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(Stopped(AtomicI64::new(THEN)));
    let mut house = House::open_at(House::config(&dir.path().join("data")), Arc::clone(&clock) as _).await;
    house.sources(&["crm"]).await;
    house.put(person("crm", "1", THEN, &[("email", "ada@acme-corp.com")], &[])).await;
    let who = of_record("crm", "1");
    let yes = pb::ConsentSaying { expire_time: Some(seconds(THEN + 3_600)), ..said(Granted, THEN) };
    house.say(who.clone(), yes).await.unwrap();
    for (at, want) in [(0, true), (3_599, true), (3_600, false), (7_200, false)] {
        for reserve in [false, true] {
            let request = pb::DecideContactRequest {
                subject: Some(who.clone()),
                purpose: "marketing".to_owned(),
                channel: "email".to_owned(),
                contact_time: Some(seconds(THEN + at)),
                reserve,
                ..Default::default()
            };
            let verdict = house.consent.decide_contact(request).await.unwrap().into_inner().verdict.unwrap();
            assert_eq!(verdict.allowed, want, "{at}: {verdict:?}");
            assert!(want || reasons(&verdict) == ["EXPIRED"], "{at}: {verdict:?}");
        }
    }
    house.close().await;
}

#[tokio::test]
async fn quiet_hours_are_those_of_the_person() {
    // 2026-07-01T20:30:00Z: half past ten in Berlin, half past four in New York.
    const EVENING: i64 = 1_782_937_800;
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(Stopped(AtomicI64::new(EVENING)));
    let mut house = House::open_at(House::config(&dir.path().join("data")), Arc::clone(&clock) as _).await;
    house.sources(&["crm"]).await;
    let zones = [
        ("berlin", "Europe/Berlin"),
        ("york", "America/New_York"),
        ("london", "Europe/London"),
        ("nowhere", ""),
        ("odd", "Eastern"),
    ];
    for (key, zone) in zones {
        let email = format!("{key}@acme-corp.com");
        let texts: &[(&str, &str)] = if zone.is_empty() { &[] } else { &[("time_zone", zone)] };
        let put = house.put(person("crm", key, THEN, &[("email", &email)], texts)).await;
        let odd: Vec<&str> = put.faults.iter().map(|fault| fault.field.as_str()).collect();
        assert_eq!(odd, if key == "odd" { vec!["attributes[time_zone]"] } else { Vec::new() }, "{put:?}");
        house
            .say(of_record("crm", key), pb::ConsentSaying { channel: String::new(), ..said(Granted, THEN) })
            .await
            .unwrap();
    }
    let ask = |key: &str, at: Option<i64>| pb::DecideContactRequest {
        subject: Some(of_record("crm", key)),
        purpose: "marketing".to_owned(),
        channel: "sms".to_owned(),
        contact_time: at.map(seconds),
        ..Default::default()
    };
    let table = [
        ("berlin", None, vec!["QUIET_HOURS"]),
        ("berlin", Some(EVENING + 10 * 3_600), vec!["GRANTED"]),
        // What has passed cannot happen any more: it was before nine an hour ago.
        ("london", Some(EVENING - 3_500), vec!["QUIET_HOURS"]),
        ("york", None, vec!["GRANTED"]),
        ("nowhere", None, vec!["TIME_ZONE_UNKNOWN"]),
        ("odd", None, vec!["TIME_ZONE_UNKNOWN"]),
    ];
    for (key, moment, want) in table {
        let verdict = house.consent.decide_contact(ask(key, moment)).await.unwrap().into_inner().verdict.unwrap();
        assert_eq!(reasons(&verdict), want, "{key}");
    }
    // Somebody of two time zones is contacted when both are awake.
    let both = [("email", "berlin@acme-corp.com"), ("email", "york@acme-corp.com")];
    house.put(person("crm", "both", THEN, &both, &[])).await;
    let verdict = house.consent.decide_contact(ask("york", None)).await.unwrap().into_inner().verdict.unwrap();
    assert_eq!(reasons(&verdict), ["QUIET_HOURS"], "a merge can only restrict");
    let mut policy = house.policy().await.unwrap();
    policy.default_time_zone = "UTC".to_owned();
    house.set_policy(policy).await.unwrap();
    let verdict = house.consent.decide_contact(ask("nowhere", None)).await.unwrap().into_inner().verdict.unwrap();
    assert_eq!(reasons(&verdict), ["GRANTED"], "half past eight");
    // Where somebody is, and nobody knows what that is called, the tenant's own time says nothing; nor does another half's.
    for half in [[].as_slice(), &[("email", "odd@acme-corp.com"), ("email", "london@acme-corp.com")]] {
        if !half.is_empty() {
            house.put(person("crm", "halves", THEN, half, &[])).await;
        }
        let verdict = house.consent.decide_contact(ask("odd", None)).await.unwrap().into_inner().verdict.unwrap();
        assert_eq!(reasons(&verdict), ["TIME_ZONE_UNKNOWN"]);
    }
    house.close().await;
}

#[tokio::test]
async fn a_campaign_is_one_stream_and_what_cannot_be_decided_is_denied() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    house.sources(&["crm"]).await;
    house.cap(1).await.unwrap();
    let american = [("address.country", "US")];
    for number in 0..300 {
        let (key, email) = (number.to_string(), format!("p{number}@acme-corp.com"));
        house.put(person("crm", &key, THEN, &[("email", &email)], if number % 3 == 0 { &american } else { &[] })).await;
        if number % 3 == 1 {
            house.say(of_record("crm", &key), said(Granted, THEN)).await.unwrap();
        }
    }
    let request = |client_sequence: u64, email: String, purpose: &str| pb::DecideContactsRequest {
        client_sequence,
        decide: Some(pb::DecideContactRequest {
            subject: Some(at("email", &email)),
            purpose: purpose.to_owned(),
            channel: "email".to_owned(),
            reserve: true,
            ..Default::default()
        }),
    };
    let mut requests: Vec<_> =
        (0..600).map(|number| request(number, format!("p{}@acme-corp.com", number % 300), "marketing")).collect();
    requests.push(request(600, "nobody@acme-corp.com".to_owned(), "marketing"));
    requests.push(request(601, "p1@acme-corp.com".to_owned(), "marketting"));
    requests.push(pb::DecideContactsRequest { client_sequence: 602, decide: None });
    let answers = house.consent.decide_contacts(tokio_stream::iter(requests)).await.unwrap().into_inner();
    let answers: Vec<_> = answers.map(Result::unwrap).collect().await;
    assert_eq!(answers.len(), 603);
    for (number, answer) in (0u64..).zip(&answers) {
        assert_eq!(answer.client_sequence, number, "in order");
        let verdict = answer.verdict.as_ref().unwrap();
        let want: &[&str] = match number {
            600 => &["NOT_GRANTED"],
            601 => &["REQUEST_INVALID"],
            602 => &["REQUEST_INVALID", "REQUEST_INVALID", "REQUEST_INVALID"],
            _ if number % 3 == 2 => &["NOT_GRANTED"],
            300.. => &["CAP_REACHED"],
            _ if number % 3 == 0 => &["OPT_OUT_REGIME"],
            _ => &["GRANTED"],
        };
        assert_eq!(reasons(verdict), want, "{number}");
        assert_eq!(verdict.allowed, !verdict.reservation_id.is_empty());
        assert_eq!(verdict.allowed, number < 300 && number % 3 != 2, "{number}");
    }
    house.close().await;
}
