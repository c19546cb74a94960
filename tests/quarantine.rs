//! What waits in quarantine is somebody's: an erasure finds it, what it took out does not come again, a no that came with it is
//! heard, and a yes waits along (laws 6 and 7).
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::path::Path;

use onefold_proto::v1 as pb;
use onefold_tests::consent::{at, of_record, reasons, said};
use onefold_tests::{House, identifier, journey, person, reason};
use pb::ConsentDecision::{Granted, Released, Suppressed as Barred, Withdrawn};
use pb::IngestStatus::{Accepted, Quarantined, Rejected, Suppressed};

const THEN: i64 = 1_790_000_000;
const ADA: &str = "ada@harbour-mail.net";

async fn open(data: &Path) -> House {
    let mut house = House::open(data).await;
    house.sources(&["crm", "shop"]).await;
    journey::contract(&mut house, true).await;
    house
}

/// A record of a source whose contract it breaks.
fn broken(key: &str, identifiers: &[(&str, &str)], note: &str) -> pb::Fragment {
    let texts: &[(&str, &str)] = if note.is_empty() { &[] } else { &[("note", note)] };
    person("ledger", key, THEN, identifiers, texts)
}

/// The same record with what its contract asks for.
fn mended(key: &str, identifiers: &[(&str, &str)]) -> pb::Fragment {
    person("ledger", key, THEN + 100, identifiers, &[("plan", "gold")])
}

fn says_no(mut fragment: pb::Fragment, evidence: &str) -> pb::Fragment {
    let saying = pb::ConsentSaying { evidence: evidence.to_owned(), ..said(Withdrawn, THEN + 50) };
    fragment.consents.push(pb::FragmentConsent { identifier: None, saying: Some(saying) });
    fragment
}

async fn held(house: &mut House) -> usize {
    let list = pb::ListQuarantineRequest::default();
    house.ingest.list_quarantine(list).await.unwrap().into_inner().quarantined.len()
}

async fn restart(house: House, data: &Path, alone: bool) -> House {
    house.close().await;
    if alone {
        std::fs::remove_dir_all(data.join("checkpoint")).unwrap();
    }
    House::open(data).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_erasure_took_out_of_quarantine_is_stopped_when_it_comes_again() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = open(&data).await;
    // By its own identifier, with what was said; again of the same record, without it; by a mention alone; by its key.
    let own = || says_no(broken("own", &[("email", ADA)], ""), "call with Ada Byron");
    let bare = || broken("own", &[], "no address of hers is here");
    let mention = || says_no(broken("mention", &[], &format!("write to {ADA}")), "call with the sender");
    let key = || broken(ADA, &[], "");
    for fragment in [own(), bare(), mention(), key(), broken("bob", &[("email", "bob@harbour-mail.net")], "")] {
        assert_eq!(house.put(fragment).await.status(), Quarantined);
    }
    let said = house.statements(of_record("ledger", "own")).await.unwrap().remove(0).statement_id;
    let said_by_mention = house.statements(of_record("ledger", "mention")).await.unwrap().remove(0).statement_id;

    // An export holds what is hers, the statement that waits with it among that, and not what only mentions her.
    let access = house.ask_for(pb::PrivacyRequestKind::Access, vec![at("email", ADA)]).await.unwrap();
    let etag = house.preview_export(&access).await.unwrap().etag;
    let (text, _) = house.export(&access, &etag).await.unwrap();
    assert_eq!(text.matches("call with Ada Byron").count(), 1, "{text}");

    let request = house.ask_for_erasure(vec![at("email", ADA)]).await.unwrap();
    let preview = house.preview(&request).await.unwrap();
    assert_eq!((preview.quarantined, preview.statements), (4, 1), "{preview:?}");
    house.erase(&request, &preview.etag).await.unwrap();
    let mut stopped = 0;
    for alone in [false, true, false] {
        assert_eq!(held(&mut house).await, 1, "bob's, from the journal alone: {alone}");
        let receipt = |id: &str| pb::GetConsentReceiptRequest { statement_id: id.to_owned(), ..Default::default() };
        let gone = house.consent.get_consent_receipt(receipt(&said)).await.unwrap_err();
        assert_eq!(reason(&gone), "STATEMENT_NOT_FOUND");
        // What was said with a fragment that only mentioned her is of whoever sent it.
        house.consent.get_consent_receipt(receipt(&said_by_mention)).await.unwrap();
        for fragment in [own(), bare(), mention(), key(), mended("own", &[]), broken("new", &[], &format!("to {ADA}."))]
        {
            let record = fragment.record.clone();
            assert_eq!(house.put(fragment).await.status(), Suppressed, "{record:?}");
            stopped += 1;
        }
        let get = pb::GetPrivacyRequestRequest { name: request.clone() };
        let counted = house.privacy.get_privacy_request(get).await.unwrap().into_inner().request.unwrap();
        assert_eq!(counted.resends_stopped, stopped, "each is counted");
        house = restart(house, &data, alone).await;
    }
    // A record that only mentioned her is somebody else's, and is let in once it no longer does.
    assert_eq!(house.put(mended("mention", &[("email", "carl@harbour-mail.net")])).await.status(), Accepted);
    house.close().await;
}

/// LAW 6: whose fragment mentions somebody is not that person. An erasure takes the fragment and stops it when it comes again; a no
/// that came with it stands, whether it came before or after.
#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_takes_no_no_of_whoever_only_mentions_its_person() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = open(&data).await;
    let mail = |who: usize| format!("bystander{who}@harbour-mail.net");
    let mentions = |who: usize| broken(&format!("b{who}"), &[("email", &mail(who))], &format!("wife: {ADA}"));
    house.put(person("crm", "ada", THEN, &[("email", ADA)], &[])).await;
    for who in 0..4 {
        house.put(person("shop", &who.to_string(), THEN, &[("email", &mail(who))], &[])).await;
        house.say(at("email", &mail(who)), said(pb::ConsentDecision::Granted, THEN)).await.unwrap();
    }
    async fn answers(house: &mut House, address: &str) -> Vec<String> {
        let verdict = house.may(at("email", address), false).await.unwrap();
        reasons(&verdict).into_iter().map(str::to_owned).collect()
    }
    // Said with a fragment that waits; and at a record that is live, of which a newer fragment waits.
    assert_eq!(house.put(says_no(mentions(0), "by letter")).await.status(), Quarantined);
    let older = person("ledger", "b1", THEN - 10, &[("email", "old@harbour-mail.net")], &[("plan", "gold")]);
    assert_eq!(house.put(older).await.status(), Accepted);
    house.say(of_record("ledger", "b1"), said(Withdrawn, THEN + 1)).await.unwrap();
    assert_eq!(house.put(mentions(1)).await.status(), Quarantined);
    for who in 0..2 {
        assert_eq!(answers(&mut house, &mail(who)).await, ["WITHDRAWN"], "{who} before");
    }
    let request = house.ask_for_erasure(vec![at("email", ADA)]).await.unwrap();
    let preview = house.preview(&request).await.unwrap();
    assert_eq!((preview.quarantined, preview.statements), (2, 0), "{preview:?}");
    house.erase(&request, &preview.etag).await.unwrap();
    assert_eq!(held(&mut house).await, 0);

    // Afterwards: at the record, and at the address itself.
    assert_eq!(house.put(says_no(mentions(2), "by letter")).await.status(), Suppressed);
    let mut by_address = mentions(3);
    let identifier = Some(onefold_tests::identifier("email", &mail(3)));
    by_address.consents.push(pb::FragmentConsent { identifier, saying: Some(said(Withdrawn, THEN + 50)) });
    assert_eq!(house.put(by_address).await.status(), Suppressed);
    for alone in [false, true, false] {
        for who in 0..4 {
            assert_eq!(answers(&mut house, &mail(who)).await, ["WITHDRAWN"], "{who}, from the journal alone: {alone}");
        }
        assert_eq!(house.statements(of_record("ledger", "b0")).await.unwrap().len(), 1, "it is shown as it was said");
        // Sent again it says nothing new.
        assert_eq!(house.put(says_no(mentions(2), "by letter")).await.status(), Suppressed);
        assert_eq!(house.statements(of_record("ledger", "b2")).await.unwrap().len(), 1);
        house = restart(house, &data, alone).await;
    }
    // What the record says anew of itself counts from then on.
    for who in [0, 2] {
        let other = format!("other{who}@harbour-mail.net");
        assert_eq!(house.put(mended(&format!("b{who}"), &[("email", &other)])).await.status(), Accepted);
        assert_eq!(answers(&mut house, &mail(who)).await, ["GRANTED"], "{who}");
        assert_eq!(answers(&mut house, &other).await, ["WITHDRAWN"], "{who}");
    }
    house.close().await;
}

/// LAW 6 beside LAW 7: an erased person's address in somebody else's live record stops the fragment and takes no no of its own. What
/// comes with a record that nobody knows is the erased person's, and is not kept.
#[tokio::test(flavor = "multi_thread")]
async fn a_no_of_a_live_record_is_heard_though_its_fragment_names_somebody_erased() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = open(&data).await;
    let mail = |who: usize| format!("bea{who}@harbour-mail.net");
    house.put(person("crm", "ada", THEN, &[("email", ADA)], &[])).await;
    for who in 0..2 {
        house.put(person("shop", &who.to_string(), THEN, &[("email", &mail(who))], &[])).await;
        house.say(at("email", &mail(who)), said(pb::ConsentDecision::Granted, THEN)).await.unwrap();
    }
    house.forget(vec![at("email", ADA)]).await.unwrap();
    let with_hers = |who: usize| {
        let key = who.to_string();
        person("shop", &key, THEN + 50, &[("email", &mail(who)), ("email", ADA)], &[])
    };
    let at_mail = |mut fragment: pb::Fragment, mail: &str| {
        let identifier = Some(onefold_tests::identifier("email", mail));
        fragment.consents.push(pb::FragmentConsent { identifier, saying: Some(said(Withdrawn, THEN + 50)) });
        fragment
    };
    // At the record, and at its address; with a new record of hers at her new address.
    assert_eq!(house.put(says_no(with_hers(0), "by letter")).await.status(), Suppressed);
    assert_eq!(house.put(at_mail(with_hers(1), &mail(1))).await.status(), Suppressed);
    let new = "ada-anew@harbour-mail.net";
    let hers = person("shop", "new", THEN + 50, &[("email", new), ("email", ADA)], &[]);
    assert_eq!(house.put(at_mail(says_no(hers, "call with Ada Byron"), new)).await.status(), Suppressed);
    for alone in [false, true] {
        for who in 0..2 {
            let verdict = house.may(at("email", &mail(who)), false).await.unwrap();
            assert_eq!(reasons(&verdict), ["WITHDRAWN"], "{who}, from the journal alone: {alone}");
        }
        assert_eq!(house.statements(at("email", new)).await.unwrap().len(), 0, "LAW 7");
        house = restart(house, &data, alone).await;
    }
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_of_the_same_key_stays_when_a_held_record_is_erased() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = open(&dir.path().join("data")).await;
    house.put_account("ledger", "17", None).await.unwrap();
    assert_eq!(house.put(broken("17", &[("email", ADA)], "")).await.status(), Quarantined);
    house.forget(vec![at("email", ADA)]).await.unwrap();
    assert_eq!(held(&mut house).await, 0);
    house.put_account("ledger", "17", None).await.unwrap();
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_mentions_more_than_can_be_found_again_is_not_held_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = open(&dir.path().join("data")).await;
    let notes = |count: usize| {
        let note = |page: usize| {
            let mails = (page * 64..count.min((page + 1) * 64)).map(|who| format!("m{who}@harbour-mail.net"));
            (format!("note{page}"), mails.collect::<Vec<_>>().join(" "))
        };
        (0..count.div_ceil(64)).map(note).collect::<Vec<_>>()
    };
    let fragment = |key: &str, count: usize| {
        let texts = notes(count);
        let texts: Vec<(&str, &str)> = texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        person("ledger", key, THEN, &[], &texts)
    };
    assert_eq!(house.put(fragment("some", 512)).await.status(), Quarantined);
    let refused = house.put(fragment("more", 513)).await;
    assert_eq!(refused.status(), Rejected);
    assert!(refused.faults.iter().any(|fault| fault.message.contains("than can be held")), "{:?}", refused.faults);
    // As values of three namespaces a third of them is as much.
    let all = house.admin.list_namespaces(pb::ListNamespacesRequest::default()).await.unwrap().into_inner().namespaces;
    let email = all.into_iter().find(|namespace| namespace.name == "email").unwrap();
    for name in ["work_mail", "home_mail"] {
        let namespace = pb::Namespace { name: name.to_owned(), etag: String::new(), ..email.clone() };
        let request = pb::PutNamespaceRequest { namespace: Some(namespace), ..Default::default() };
        house.admin.put_namespace(request).await.unwrap();
    }
    assert_eq!(held(&mut house).await, 1, "what is held stays");
    assert_eq!(house.put(fragment("third", 383)).await.status(), Quarantined);
    assert_eq!(house.put(fragment("more than a third", 384)).await.status(), Rejected);
    // All that was held is found by all that it mentions, also as values of the new namespaces.
    let request = house.ask_for_erasure(vec![at("home_mail", "m511@harbour-mail.net")]).await.unwrap();
    assert_eq!(house.preview(&request).await.unwrap().quarantined, 1);
    house.close().await;
}

/// A no with a fragment in quarantine is heard at the fragment's address while it waits, whatever else of its record came, and in
/// whatever order; a newer fragment, replayed or sent anew, ends it.
#[tokio::test(flavor = "multi_thread")]
async fn a_no_that_waits_is_heard_in_every_order() {
    #[derive(Clone, Copy, Debug)]
    enum Comes {
        Older,
        Held,
        Retraction,
    }
    use Comes::{Held, Older, Retraction};
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = open(&data).await;
    let orders: &[&[Comes]] = &[
        &[Held],
        &[Older, Held],
        &[Held, Older],
        &[Older, Held, Retraction],
        &[Older, Retraction, Held],
        &[Held, Older, Retraction],
        &[Held, Retraction, Older],
        &[Retraction, Held, Older],
        &[Retraction, Older, Held],
    ];
    let mail = |who: usize, which: &str| format!("{which}{who}@harbour-mail.net");
    for (who, order) in orders.iter().enumerate() {
        // Somebody else says yes at each address.
        for which in ["old", "new", "other"] {
            let yes = person("shop", &mail(who, which), THEN, &[("email", &mail(who, which))], &[]);
            house.put(yes).await;
            house.say(of_record("shop", &mail(who, which)), said(pb::ConsentDecision::Granted, THEN)).await.unwrap();
        }
        for comes in *order {
            let (key, old, new) = (who.to_string(), mail(who, "old"), mail(who, "new"));
            match comes {
                Older => {
                    let older = person("ledger", &key, THEN - 100, &[("email", &old)], &[("plan", "gold")]);
                    house.put(older).await;
                }
                Held => {
                    let held = says_no(broken(&key, &[("email", &new)], ""), "");
                    assert_eq!(house.put(held).await.status(), Quarantined);
                }
                Retraction => {
                    house.retract("ledger", &key, THEN + 60).await;
                }
            }
        }
    }
    async fn answers(house: &mut House, address: String) -> Vec<String> {
        let verdict = house.may(at("email", &address), false).await.unwrap();
        reasons(&verdict).into_iter().map(str::to_owned).collect()
    }
    for alone in [false, true] {
        for (who, order) in orders.iter().enumerate() {
            let told = (answers(&mut house, mail(who, "new")).await, answers(&mut house, mail(who, "old")).await);
            let old = if order.len() == 1 { "GRANTED" } else { "WITHDRAWN" };
            // Where both records are there they are one person, who said no.
            assert_eq!(
                told,
                (vec!["WITHDRAWN".to_owned()], vec![old.to_owned()]),
                "{order:?}, from the journal: {alone}"
            );
        }
        house = restart(house, &data, alone).await;
    }
    // Sent anew, with another address; or replayed once the contract asks for less.
    for who in 0..orders.len() - 1 {
        let anew = mended(&who.to_string(), &[("email", &mail(who, "other"))]);
        assert_eq!(house.put(anew).await.status(), Accepted);
    }
    for alone in [false, true] {
        for (who, order) in orders.iter().enumerate().take(orders.len() - 1) {
            assert_eq!(
                answers(&mut house, mail(who, "new")).await,
                ["GRANTED"],
                "{order:?}, from the journal: {alone}"
            );
            assert_eq!(answers(&mut house, mail(who, "other")).await, ["WITHDRAWN"], "{order:?}");
        }
        house = restart(house, &data, alone).await;
    }
    house.close().await;
}

/// Letters of full width, in circles or joined are the same address to whoever reads it: what was erased in one form is stopped in
/// every other, by whichever door it comes.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_erased_in_one_form_of_letters_is_stopped_in_every_other() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = open(&dir.path().join("data")).await;
    let wide = |text: &str| -> String {
        let wide = |c: char| char::from_u32(c as u32 + 0xfee0).unwrap();
        text.chars().map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { wide(c) } else { c }).collect()
    };
    // The local part alone: host names are read as one in any case.
    let forms: [&dyn Fn(usize) -> String; 4] = [
        &|who| format!("fitz{who}@harbour-mail.net"),
        &|who| format!("{}@harbour-mail.net", wide(&format!("fitz{who}"))),
        &|who| format!("\u{fb01}tz{who}@harbour-mail.net"),
        &|who| format!("fitz{who}@{}.net", wide("harbour-mail")),
    ];
    for (at_first, held) in forms.iter().enumerate() {
        for namespace in ["email", "user_id"] {
            let who = 10 * at_first + usize::from(namespace == "email");
            let fragment = person("crm", &format!("{namespace}{who}"), THEN, &[(namespace, &held(who))], &[]);
            assert_eq!(house.put(fragment).await.status(), Accepted);
            house.forget(vec![of_record("crm", &format!("{namespace}{who}"))]).await.unwrap();
            for (then, form) in forms.iter().enumerate() {
                let case = format!("{namespace}: erased in form {at_first}, sent in form {then}");
                let again = person("shop", &format!("{namespace}{who}{then}"), THEN, &[(namespace, &form(who))], &[]);
                assert_eq!(house.put(again).await.status(), Suppressed, "{case}");
                let saying = said(pb::ConsentDecision::Granted, THEN);
                let refused = house.say(at(namespace, &form(who)), saying).await.map(drop);
                assert_eq!(
                    refused.map_err(|status| reason(&status).to_owned()),
                    Err("SUPPRESSED".to_owned()),
                    "{case}"
                );
            }
        }
    }
    // Of somebody who lives on under the plain form nothing is stopped.
    house.put(person("crm", "wide", THEN, &[("email", &forms[1](90))], &[])).await;
    house.put(person("shop", "plain", THEN, &[("email", &forms[0](90))], &[])).await;
    house.forget(vec![of_record("crm", "wide")]).await.unwrap();
    let newer = person("shop", "plain", THEN + 1, &[("email", &forms[0](90))], &[]);
    assert_eq!(house.put(newer).await.status(), Accepted);
    house.close().await;
}

/// What permits something counts when its fragment is let in, as if that had come at first, and is gone when it is discarded.
#[tokio::test(flavor = "multi_thread")]
async fn a_yes_waits_with_its_fragment_and_a_no_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = open(&data).await;
    let mail = |who: &str| format!("{who}@harbour-mail.net");
    let says = |key: &str, decision: pb::ConsentDecision, given: i64| {
        let mut fragment = broken(key, &[("email", &mail(key))], "");
        let identifier = Some(identifier("email", &mail(key)));
        fragment.consents.push(pb::FragmentConsent { identifier, saying: Some(said(decision, given)) });
        fragment
    };
    // Somebody whose no is older than the yes that is held, one of whom nothing was said, one whose contact point is suppressed; and
    // one whose no comes with what is held.
    let keys = ["older", "silent", "suppressed", "own", "denies"];
    for key in keys {
        house.put(person("crm", key, THEN, &[("email", &mail(key))], &[])).await;
    }
    house.say(at("email", &mail("older")), said(Withdrawn, THEN + 10)).await.unwrap();
    house.say(at("email", &mail("suppressed")), said(Barred, THEN + 10)).await.unwrap();
    house.say(at("email", &mail("denies")), said(Granted, THEN + 10)).await.unwrap();
    let mut of_record = broken("own", &[("email", &mail("own"))], "");
    of_record.consents.push(pb::FragmentConsent { identifier: None, saying: Some(said(Granted, THEN + 20)) });
    let fragments = [
        says("older", Granted, THEN + 20),
        says("silent", Granted, THEN + 20),
        says("suppressed", Released, THEN + 20),
        of_record,
        says("denies", Withdrawn, THEN + 20),
    ];
    for _ in 0..2 {
        for fragment in &fragments {
            assert_eq!(house.put(fragment.clone()).await.status(), Quarantined);
        }
    }
    assert_eq!(held(&mut house).await, fragments.len(), "each is held once");
    let waits = ["WITHDRAWN", "NOT_GRANTED", "SUPPRESSED", "NOT_GRANTED", "WITHDRAWN"];
    let mut ids = Vec::new();
    for alone in [false, true, false] {
        for (key, reason) in keys.iter().zip(waits) {
            let verdict = house.may(at("email", &mail(key)), false).await.unwrap();
            assert!(!verdict.allowed && reasons(&verdict).contains(&reason), "{key} {verdict:?}, alone: {alone}");
        }
        let list = pb::ListQuarantineRequest { include_fragments: true, ..Default::default() };
        let list = house.ingest.list_quarantine(list).await.unwrap().into_inner().quarantined;
        let with = list.iter().filter(|one| one.fragment.as_ref().is_some_and(|shown| !shown.consents.is_empty()));
        assert_eq!(with.count(), 4, "whoever mends it sees what waits with it");
        ids = list.into_iter().map(|one| (one.record.unwrap_or_default().key, one.quarantine_id)).collect();
        house = restart(house, &data, alone).await;
    }

    // With another yes it is another fragment that waits; of the two the second is discarded, which takes its yes along.
    assert_eq!(house.put(says("silent", Granted, THEN + 25)).await.status(), Quarantined);
    assert_eq!(held(&mut house).await, fragments.len() + 1);
    let is_older = |(key, _): &&(String, String)| key == "older";
    let discarded = ids.iter().find(is_older).unwrap().1.clone();
    let discard = pb::DiscardQuarantineRequest { quarantine_ids: vec![discarded], ..Default::default() };
    house.ingest.discard_quarantine(discard).await.unwrap();
    journey::contract(&mut house, false).await;
    house.ingest.replay_quarantine(pb::ReplayQuarantineRequest::default()).await.unwrap();
    assert_eq!(held(&mut house).await, 0);
    let counts = [vec!["WITHDRAWN"], vec!["GRANTED"], vec!["NOT_GRANTED"], vec!["GRANTED"], vec!["WITHDRAWN"]];
    for alone in [false, true, false] {
        for (key, want) in keys.iter().zip(&counts) {
            let verdict = house.may(at("email", &mail(key)), false).await.unwrap();
            assert_eq!(&reasons(&verdict), want, "{key}, from the journal alone: {alone}");
        }
        house = restart(house, &data, alone).await;
    }
    // It says what the same fragment says that kept its contract from the beginning, and is known when it comes again.
    house.put(says("silent", Granted, THEN + 20)).await;
    let mut at_first = says("first", Granted, THEN + 20);
    at_first.record.as_mut().unwrap().source = "shop".to_owned();
    assert_eq!(house.put(at_first).await.status(), Accepted);
    let given = |of: Vec<pb::ConsentStatement>| -> Vec<_> {
        of.into_iter().filter_map(|one| one.saying).map(|said| (said.decision, said.given_time)).collect()
    };
    let waited = given(house.statements(at("email", &mail("silent"))).await.unwrap());
    let straight = given(house.statements(at("email", &mail("first"))).await.unwrap());
    assert_eq!(waited.len(), 2, "both of them, each once");
    assert_eq!(waited[..1], straight[..]);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_named_by_a_yes_that_waits_is_erased_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = open(&data).await;
    let mut fragment = broken("1", &[("email", "bob@harbour-mail.net")], "");
    let saying = pb::ConsentSaying { evidence: "call with Ada Byron".to_owned(), ..said(Granted, THEN) };
    fragment.consents.push(pb::FragmentConsent { identifier: Some(identifier("email", ADA)), saying: Some(saying) });
    assert_eq!(house.put(fragment.clone()).await.status(), Quarantined);
    // Of Bob it is known that something was said, and not by whom.
    let access =
        house.ask_for(pb::PrivacyRequestKind::Access, vec![at("email", "bob@harbour-mail.net")]).await.unwrap();
    let etag = house.preview_export(&access).await.unwrap().etag;
    let (text, _) = house.export(&access, &etag).await.unwrap();
    assert!(text.contains("\"consents\"") && !text.contains("Ada Byron"), "{text}");
    house.forget(vec![at("email", ADA)]).await.unwrap();
    assert_eq!(held(&mut house).await, 0);
    // What comes again is held without it.
    assert_eq!(house.put(fragment).await.status(), Quarantined);
    journey::contract(&mut house, false).await;
    house.ingest.replay_quarantine(pb::ReplayQuarantineRequest::default()).await.unwrap();
    assert!(house.statements(at("email", ADA)).await.unwrap().is_empty());
    house.close().await;
}
