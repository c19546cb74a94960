//! Caps hold for persons, households and accounts, whoever asks and whatever happens meanwhile.

use onefold_proto::v1 as pb;
use onefold_tests::child::Launch;
use onefold_tests::consent::{at, of_record, reasons, said};
use onefold_tests::dice::{Dice, how_many};
use onefold_tests::{Clients, House, organisation, person};
use pb::ConsentDecision::Granted;

use super::{THEN, join, one_person_in_halves};

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
    for (key, to) in [("g1", "east"), ("g2", "east"), ("g3", "west"), ("g4", "west"), ("g5", "later"), ("g6", "later")]
    {
        let email = format!("{key}@acme-corp.com");
        house.put(person("crm", key, THEN, &[("email", &email)], &[])).await;
        house.say(of_record("crm", key), said(Granted, THEN)).await.unwrap();
        if to != "later" {
            house.affiliate("crm", key, to).await.unwrap();
        }
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
    // A role may be told before its account is, and what was had then counts when it comes.
    for key in ["g5", "g6"] {
        let mut told = person("crm", key, THEN + 1, &[("email", &format!("{key}@acme-corp.com"))], &[]);
        let account = Some(onefold_tests::record("crm", "later"));
        told.affiliations.push(pb::FragmentAffiliation { account, role: "buyer".to_owned(), ..Default::default() });
        house.put(told).await;
    }
    let three =
        ask_for(house.clients(), vec!["g5".to_owned()], Dice::from_environment("ONEFOLD_DECIDE_SEED", 1), 9).await;
    assert_eq!(three.iter().sum::<u32>(), 3, "each");
    house.put_account("crm", "later", None).await.unwrap();
    let two =
        ask_for(house.clients(), vec!["g6".to_owned()], Dice::from_environment("ONEFOLD_DECIDE_SEED", 1), 9).await;
    assert_eq!(two.iter().sum::<u32>(), 2, "of five");
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
