//! Time: reservations that wait, clocks that are set, hours of silence, streams of questions.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use onefold_proto::v1 as pb;
use onefold_tests::consent::{at, of_record, reasons, said};
use onefold_tests::{House, person, reason, seconds};
use pb::ConsentDecision::Granted;
use tokio_stream::StreamExt;

use super::{Stopped, THEN};

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
    requests.push(request(600, "unheard@acme-corp.com".to_owned(), "marketing"));
    requests.push(request(601, "p1@acme-corp.com".to_owned(), "marketting"));
    requests.push(pb::DecideContactsRequest { client_sequence: 602, decide: None });
    let mut named = request(603, "p2@acme-corp.com".to_owned(), "marketing");
    named.decide.as_mut().unwrap().request_id = "4a9ed2cb-2c1c-4b0c-8f0e-0a2f5a1b7c11".to_owned();
    requests.push(named);
    let answers = house.consent.decide_contacts(tokio_stream::iter(requests)).await.unwrap().into_inner();
    let answers: Vec<_> = answers.map(Result::unwrap).collect().await;
    assert_eq!(answers.len(), 604);
    for (number, answer) in (0u64..).zip(&answers) {
        assert_eq!(answer.client_sequence, number, "in order");
        let verdict = answer.verdict.as_ref().unwrap();
        let want: &[&str] = match number {
            600 => &["NOT_GRANTED"],
            601 | 603 => &["REQUEST_INVALID"],
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
