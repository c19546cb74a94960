//! LAW 7 at length: many persons with unmistakable values go through every path of a real server, which is killed on the
//! way; a tenth of them is erased, amid kills. Then every byte of every file and of the backups taken since is read, and
//! everything decrypted that the remaining keys open: nothing of theirs is found, and the others answer as before. What is
//! sent again, replayed, restored from an old backup or imported once more brings nobody back, and says so.
//!
//! `ONEFOLD_CANARIES=10000 ONEFOLD_ERASURE_KILLS=200` is the long form; the seed is printed.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::time::Duration;

use onefold_core::erasure::Receipt;
use onefold_proto::v1 as pb;
use onefold_server::audit;
use onefold_tests::backups::{back_up, restore_after};
use onefold_tests::canary::{canary, found_in, in_the_clear, mail, with_the_keys};
use onefold_tests::child::{Child, Launch};
use onefold_tests::consent::at;
use onefold_tests::dice::{Dice, how_many};
use onefold_tests::journey::{arrive, arrive_at_desks, contract, fragments, given_on, prepare, seen};
use onefold_tests::privacy::{request, verification};
use onefold_tests::traffic::Message;
use onefold_tests::{Clients, SEGMENT_BYTES, identifier, reason, text};
use tonic::Status;

/// Persons that arrive side by side.
const ARRIVING: usize = 16;
/// Persons that are searched for and given an export.
const SAMPLE: usize = 20;

/// Sends them on their way side by side; those that arrived whole.
async fn arrive_all(clients: &Clients, who: &[usize]) -> BTreeSet<usize> {
    let mut tasks = Vec::new();
    for lane in 0..ARRIVING {
        let (mut clients, mine) = (clients.clone(), who.iter().skip(lane).step_by(ARRIVING).copied());
        let mine: Vec<usize> = mine.collect();
        tasks.push(tokio::spawn(async move {
            let mut arrived = Vec::new();
            for who in mine {
                let mut told = arrive(&mut clients, who).await;
                if told.is_ok() {
                    told = arrive_at_desks(&mut clients, who).await;
                }
                let contact = match told {
                    Ok(()) => clients.may(at("email", &mail(who)), true).await,
                    Err(status) => Err(status),
                };
                match contact {
                    Ok(verdict) => assert!(verdict.allowed, "{who}: {verdict:?}"),
                    // The server is gone.
                    Err(_) => break,
                }
                arrived.push(who);
            }
            arrived
        }));
    }
    let mut arrived = BTreeSet::new();
    for task in tasks {
        arrived.extend(task.await.unwrap());
    }
    arrived
}

/// Kills the server while somebody is at work with it.
async fn kill_amid<T: Send + 'static>(
    mut child: Child,
    pause: Duration,
    work: impl Future<Output = T> + Send + 'static,
) -> T {
    let work = tokio::spawn(work);
    tokio::time::sleep(pause).await;
    child.kill();
    work.await.unwrap()
}

/// A search by the person's own name and address: those whose values the answer holds.
async fn searched(clients: &mut Clients, who: usize) -> BTreeSet<usize> {
    let word = canary(who);
    let request = pb::SearchProfilesRequest {
        attributes: vec![text("given_name", &word), text("family_name", &word)],
        identifiers: vec![identifier("email", &mail(who))],
        ..Default::default()
    };
    let results = clients.profiles.search_profiles(request).await.unwrap().into_inner().results;
    let mut found = BTreeSet::new();
    for result in results {
        let profile = clients.get(&result.profile.unwrap_or_default().name).await.unwrap();
        found_in(format!("{profile:?}").as_bytes(), &mut found);
    }
    found
}

/// The handles of what is held in quarantine, by person.
async fn quarantined(clients: &mut Clients) -> BTreeMap<usize, String> {
    let mut request = pb::ListQuarantineRequest { page_size: 1_000, ..Default::default() };
    let mut held = BTreeMap::new();
    loop {
        let page = clients.ingest.list_quarantine(request.clone()).await.unwrap().into_inner();
        for one in page.quarantined {
            let mut of = BTreeSet::new();
            found_in(one.record.unwrap().key.as_bytes(), &mut of);
            held.insert(of.pop_first().unwrap(), one.quarantine_id);
        }
        if page.next_page_token.is_empty() {
            return held;
        }
        request.page_token = page.next_page_token;
    }
}

/// Somebody on the way to be forgotten.
#[derive(Clone, Debug)]
struct Leaving {
    who: usize,
    /// The name of the request, once it was told.
    request: Option<String>,
}

/// From wherever it is to its end.
async fn go_on(clients: &mut Clients, leaving: &mut Leaving) -> Result<(), Status> {
    let name = match &leaving.request {
        Some(name) => name.clone(),
        None => {
            let request = pb::CreatePrivacyRequestRequest {
                // The same call again, should its answer be lost: a kill must not leave a request that nobody knows.
                request_id: format!("00000000-0000-4000-8000-{:012x}", leaving.who),
                ..request(pb::PrivacyRequestKind::Erasure, vec![at("email", &mail(leaving.who))])
            };
            let told = clients.privacy.create_privacy_request(request).await?.into_inner();
            leaving.request.insert(told.request.unwrap().name).clone()
        }
    };
    let request = pb::GetPrivacyRequestRequest { name: name.clone() };
    let found = clients.privacy.get_privacy_request(request).await?.into_inner().request.unwrap();
    match found.state() {
        pb::PrivacyRequestState::Completed => return Ok(()),
        pb::PrivacyRequestState::Received => {
            clients.privacy.verify_privacy_request(verification(&name)).await?;
        }
        pb::PrivacyRequestState::Verified => {}
        other => panic!("{leaving:?} is {other:?}: a start brings to its end what was begun"),
    }
    let etag = clients.preview(&name).await?.etag;
    let done = clients.erase(&name, &etag).await?;
    assert_eq!(done.state(), pb::PrivacyRequestState::Completed);
    Ok(())
}

/// Forgets one after the other until all are gone or the server is; who is left, and who was answered.
async fn forget_all(mut clients: Clients, mut queue: VecDeque<Leaving>) -> (VecDeque<Leaving>, Vec<Leaving>) {
    let mut done = Vec::new();
    while let Some(mut leaving) = queue.pop_front() {
        match go_on(&mut clients, &mut leaving).await {
            Ok(()) => done.push(leaving),
            Err(_) => {
                queue.push_front(leaving);
                break;
            }
        }
    }
    (queue, done)
}

/// That nobody of these comes back, by any way in; and that each is told so.
async fn stays_away(clients: &mut Clients, gone: &BTreeSet<usize>, people: usize) {
    for who in gone {
        assert_eq!(reason(&clients.lookup("email", &mail(*who)).await.unwrap_err()), "PROFILE_NOT_FOUND", "{who}");
        for fragment in fragments(*who) {
            assert_eq!(clients.put(fragment).await.status(), pb::IngestStatus::Suppressed, "{who} is sent again");
        }
        for late in [false, true] {
            let [theirs, of_others] = given_on(*who, late);
            assert_eq!(clients.put(theirs).await.status(), pb::IngestStatus::Suppressed, "{who}, late: {late}");
            assert_ne!(
                clients.put(of_others).await.status(),
                pb::IngestStatus::Suppressed,
                "not of {who}, late: {late}"
            );
        }
    }
    // The file of the first day, once more.
    let file: Vec<Message> = (0..people).flat_map(|who| fragments(who).map(Message::Put)).collect();
    let answers = clients.stream("", &file).await.unwrap();
    for (message, answer) in file.iter().zip(answers) {
        let mut of = BTreeSet::new();
        found_in(message.record().1.as_bytes(), &mut of);
        let suppressed = answer.status() == pb::IngestStatus::Suppressed;
        assert_eq!(suppressed, !of.is_disjoint(gone), "{:?}: {answer:?}", message.record());
    }
    for who in gone {
        assert_eq!(reason(&clients.lookup("email", &mail(*who)).await.unwrap_err()), "PROFILE_NOT_FOUND", "{who}");
    }
}

/// What is left in these directories: in the clear nobody, with the keys those who are here and nobody else.
fn assert_nothing_left(what: &str, data: &Path, here: &BTreeSet<usize>) {
    assert_eq!(in_the_clear(data), BTreeSet::new(), "{what}: in the clear");
    let readable = with_the_keys(data, SEGMENT_BYTES);
    let too_many: Vec<&usize> = readable.difference(here).take(10).collect();
    let missing: Vec<&usize> = here.difference(&readable).take(10).collect();
    assert!(too_many.is_empty(), "{what}: of {too_many:?} something can be read");
    assert!(missing.is_empty(), "{what}: the search does not find {missing:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_left_of_whoever_was_erased_anywhere() {
    let people = how_many("ONEFOLD_CANARIES", 200);
    let kills = how_many("ONEFOLD_ERASURE_KILLS", 4);
    let mut dice = Dice::from_environment("ONEFOLD_CANARY_SEED", 20_261_130);
    let erased: BTreeSet<usize> = (0..people).filter(|who| who % 10 == 1).collect();
    let here: BTreeSet<usize> = (0..people).filter(|who| !erased.contains(who)).collect();
    let everybody: BTreeSet<usize> = (0..people).collect();
    let dir = tempfile::tempdir().unwrap();
    let (data, old, late) = (dir.path().join("data"), dir.path().join("old"), dir.path().join("late"));
    let mut launch = Launch::new(env!("CARGO_BIN_EXE_onefold-test-server"), &data);
    launch.checkpoint_every = 700;
    // What a model compares lies in memory, and in checkpoints, as text.
    launch.environment.push(("ONEFOLD_TEST_MATCH_MODELS".into(), "1".into()));

    // Everybody arrives, through a crash in the middle.
    let (child, mut clients) = launch.start().await;
    prepare(&mut clients).await;
    let first: Vec<usize> = (0..people / 2).collect();
    let at_work = clients.clone();
    let pause = Duration::from_millis(30 + dice.below(300));
    let arrived = kill_amid(child, pause, async move { arrive_all(&at_work, &first).await }).await;
    println!("{} of {people} had arrived when the server was killed", arrived.len());
    let (child, mut clients) = launch.start().await;
    let rest: Vec<usize> = everybody.difference(&arrived).copied().collect();
    assert_eq!(arrive_all(&clients, &rest).await.len(), rest.len());
    let mut handed_over = 0;
    for who in (0..people).step_by(people.div_ceil(SAMPLE)).flat_map(|who| [who, who + 1]).filter(|who| *who < people) {
        let name = clients.ask_for(pb::PrivacyRequestKind::Access, vec![at("email", &mail(who))]).await.unwrap();
        let etag = clients.preview_export(&name).await.unwrap().etag;
        let (export, _) = clients.export(&name, &etag).await.unwrap();
        let mut of = BTreeSet::new();
        found_in(export.as_bytes(), &mut of);
        assert_eq!(of, BTreeSet::from([who]), "an export speaks of one person");
        assert!(searched(&mut clients, who).await.contains(&who), "{who} is found by what is known");
        handed_over += 1;
    }
    let held = quarantined(&mut clients).await;
    assert_eq!(held.len(), people);
    let mut backed_up = BTreeMap::new();
    for who in &here {
        backed_up.insert(*who, seen(&mut clients, *who).await.unwrap());
    }
    back_up(&mut clients, &old).await;
    for who in 0..people {
        let [_, of_others] = given_on(who, true);
        assert_eq!(clients.put(of_others).await.status(), pb::IngestStatus::Accepted, "{who}");
    }
    let mut before = BTreeMap::new();
    for who in &here {
        before.insert(*who, seen(&mut clients, *who).await.unwrap());
    }
    let mut profiles = BTreeMap::new();
    for who in &erased {
        profiles.insert(*who, seen(&mut clients, *who).await.unwrap().name);
    }
    let trusted = clients.receipt_key().await.unwrap();
    child.stop();
    assert_nothing_left("before anybody was erased", &data, &everybody);
    assert_eq!(in_the_clear(&old), BTreeSet::new(), "a backup holds nothing in the clear either");

    // A tenth is erased, and the server killed again and again while it is.
    let mut queue: VecDeque<Leaving> = erased.iter().map(|who| Leaving { who: *who, request: None }).collect();
    let mut done: Vec<Leaving> = Vec::new();
    let (mut rounds, mut amid) = (0, 0);
    while amid < kills && !queue.is_empty() {
        rounds += 1;
        let (child, clients) = launch.start().await;
        // So that there is somebody to erase for all kills that are left.
        let share = queue.len().div_ceil(kills - amid).min(queue.len());
        let mine: VecDeque<Leaving> = queue.drain(..share).collect();
        let pause = Duration::from_micros(500 + dice.below(15_000 * share as u64));
        let (left, gone) = kill_amid(child, pause, forget_all(clients, mine)).await;
        amid += usize::from(!left.is_empty());
        queue.extend(left);
        done.extend(gone);
        // The start that mends is killed as well, now and then.
        if dice.once_in(4) {
            let mut child = launch.spawn();
            tokio::time::sleep(Duration::from_micros(dice.below(80_000))).await;
            child.kill();
        }
    }
    println!("{rounds} kills, {amid} of them amid erasures; {} erased by then", done.len());
    assert!(amid > 0 || kills == 0, "no kill met an erasure on its way");
    let (child, mut clients) = launch.start().await;
    let (left, gone) = forget_all(clients.clone(), queue).await;
    assert!(left.is_empty(), "{left:?}");
    done.extend(gone);
    assert!(clients.privacy_requests(true).await.unwrap().is_empty(), "nothing is left open");
    for leaving in &done {
        let receipt = clients.receipt(leaving.request.as_ref().unwrap()).await.unwrap();
        let (mut of, read) = (BTreeSet::new(), Receipt::read(&receipt, Some(&trusted)).unwrap());
        found_in(receipt.as_bytes(), &mut of);
        assert!(of.is_empty() && read.removed.iter().any(|line| line.what.contains("crm")), "{receipt}");
    }
    back_up(&mut clients, &late).await;
    for (who, before) in &before {
        assert_eq!(&seen(&mut clients, *who).await.unwrap(), before, "the others answer as before");
    }
    for who in erased.iter().take(SAMPLE) {
        assert!(!searched(&mut clients, *who).await.contains(who), "{who} is found by what is known");
    }
    let words = format!("{:?}", clients.events("", 0).await.unwrap());
    let mut told = BTreeSet::new();
    found_in(words.as_bytes(), &mut told);
    assert_eq!(told, BTreeSet::new(), "the feed holds no values");
    child.stop();
    assert_nothing_left("the directory", &data, &here);
    let of_all = audit::verify(&data, None, None).unwrap();
    assert_eq!((of_all.erasures, of_all.receipts), (erased.len() as u64, erased.len() as u64));

    // The backup taken since: as it lies, and with its keys.
    assert_eq!(in_the_clear(&late), BTreeSet::new());
    let from_late = dir.path().join("from-late");
    assert_eq!(restore_after(&data, &late, &from_late).unwrap().pending, 0);
    assert_nothing_left("the backup taken since", &from_late, &here);

    // Sent again, replayed, imported again.
    let (child, mut clients) = launch.start().await;
    for (who, profile) in &profiles {
        assert_eq!(reason(&clients.get(profile).await.unwrap_err()), "PROFILE_ERASED", "{who}");
    }
    let theirs: Vec<String> = erased.iter().map(|who| held[who].clone()).collect();
    for some in theirs.chunks(1_000) {
        let request = pb::ReplayQuarantineRequest { quarantine_ids: some.to_vec(), ..Default::default() };
        let told = clients.ingest.replay_quarantine(request).await.unwrap().into_inner();
        assert_eq!((told.released_count, told.kept_count), (0, 0), "of the erased nothing is held");
    }
    stays_away(&mut clients, &erased, people).await;
    contract(&mut clients, false).await;
    let mut released = 0;
    loop {
        let request = pb::ReplayQuarantineRequest::default();
        let told = clients.ingest.replay_quarantine(request).await.unwrap().into_inner();
        if told.released_count == 0 {
            break;
        }
        released += told.released_count;
    }
    assert_eq!(released, here.len() as u64, "those who are here, and nobody else");
    for who in &erased {
        assert_eq!(reason(&clients.lookup("email", &mail(*who)).await.unwrap_err()), "PROFILE_NOT_FOUND", "{who}");
    }
    for leaving in &done {
        let request = pb::GetPrivacyRequestRequest { name: leaving.request.clone().unwrap() };
        let found = clients.privacy.get_privacy_request(request).await.unwrap().into_inner().request.unwrap();
        assert!(found.resends_stopped >= 3, "what was stopped is counted: {found:?}");
    }
    child.stop();
    assert_nothing_left("the directory after all was sent again", &data, &here);

    // The backup of before, which holds everybody and their keys.
    let from_old = dir.path().join("from-old");
    let restored = restore_after(&data, &old, &from_old).unwrap();
    assert_eq!((restored.known, restored.pending), (0, erased.len()), "it says whom it will not bring back");
    launch.data = from_old.clone();
    let (child, mut clients) = launch.start().await;
    for (who, before) in &backed_up {
        assert_eq!(&seen(&mut clients, *who).await.unwrap(), before, "the others are back as they were");
    }
    stays_away(&mut clients, &erased, people).await;
    let by_restore = |request: &&pb::PrivacyRequest| request.reference == "restored-ledger";
    let requests = clients.privacy_requests(false).await.unwrap();
    assert_eq!(requests.iter().filter(by_restore).count(), erased.len(), "the restore accounts for each");
    child.stop();
    assert_nothing_left("the backup of before, restored", &from_old, &here);
    println!("{people} people, {} erased, {handed_over} exports: nothing is left of them", erased.len());
}
