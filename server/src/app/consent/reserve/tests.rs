//! A crash leaves whole batches and nothing of the next: what must not be parted stands in one.

use std::ops::ControlFlow;

use onefold_core::consent::{ChannelId, Decision, LawfulBasis, PurposeId, Statement, Subject};
use onefold_core::decision::{RequestAnswered, decode};
use onefold_core::ids::{Digest128, Place};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::*;
use crate::app::consent::Saying;
use crate::app::consent::contact::Whom;
use crate::app::ingest::Item;
use crate::app::recover;
use crate::clock::SystemClock;
use crate::config::Config;
use crate::grpc::DEFAULT_TENANT;
use crate::metrics::Meters;

const CALLS: u32 = 400;

/// Somebody of whom nothing is known, who may be sent what their own contract needs.
fn ask(tenant: &Tenant, number: u32) -> Ask {
    let config = tenant.config();
    let email = config.namespace_named("email").unwrap();
    let raw = format!("somebody-{number}@acme-corp.com");
    let read = config.preparer().read_identifier(email, &raw).unwrap();
    Ask {
        whom: Whom::Identifier { namespace: email, raw, read, version: config.version },
        purpose: config.config.consent.purpose_named("service").map(|purpose| purpose.id).unwrap_or(PurposeId(0)),
        channel: ChannelId(0),
        at: None,
        jurisdiction: None,
        reserve: true,
    }
}

/// A yes at the address of every third: the answer that names it is longer than others, so that batches fill at many places.
async fn some_say_yes(app: &App, tenant: &Arc<Tenant>) {
    let yes = |number: u32| {
        let Ask { whom: Whom::Identifier { namespace, read, .. }, purpose, .. } = ask(tenant, number) else {
            unreachable!("it is asked by an address")
        };
        let given_at = ObservedAt(1_700_000_000_000_000);
        let statement = Statement {
            subject: Subject::Identifier { namespace, raw: None },
            points: read.points().to_vec(),
            purpose: Some(purpose),
            channel: None,
            decision: Decision::Granted,
            lawful_basis: LawfulBasis::Consent,
            jurisdiction: None,
            notice: String::new(),
            language: String::new(),
            source: None,
            method: String::new(),
            evidence: String::new(),
            given_at,
            expires_at: None,
            confirmed_at: None,
            recorded_at: given_at,
            confirms: None,
            signals: Vec::new(),
            undated: false,
        };
        Item::Say(Box::new(Saying::new(statement, tenant)))
    };
    app.ingest(tenant, (0..CALLS).step_by(3).map(yes).collect(), None).await.unwrap();
}

#[test]
fn a_contact_that_is_counted_stands_in_one_batch_with_the_answer_to_the_call_that_named_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::new(dir.path().join("data"), ([127, 0, 0, 1], 0).into());
    config.match_models = false;
    let opened = recover::open(&config, Arc::new(SystemClock), Arc::new(Meters::new(crate::grpc::calls()))).unwrap();
    let (app, runtime) = (Arc::clone(&opened.app), Runtime::new().unwrap());
    let tenant = app.tenant(DEFAULT_TENANT).unwrap();
    runtime.block_on(async {
        some_say_yes(&app, &tenant).await;
        let mut calls = JoinSet::new();
        for number in 0..CALLS {
            let (app, tenant) = (Arc::clone(&app), Arc::clone(&tenant));
            calls.spawn(async move {
                let mut id = [0; 16];
                id[..4].copy_from_slice(&number.to_le_bytes());
                let named = Some(RequestKey { id, content: Digest128(id) });
                let first = app.decide_contacts(&tenant, vec![ask(&tenant, number)], named).await.unwrap().remove(0);
                let again = app.decide_contacts(&tenant, vec![ask(&tenant, number)], named).await.unwrap().remove(0);
                assert!(first.allows() && first.reservation.is_some(), "{first:?}");
                assert_eq!(first.reservation, again.reservation, "counted once");
            });
        }
        while let Some(done) = calls.join_next().await {
            done.unwrap();
        }
    });
    let (mut counted, mut full) = (0, 0);
    let scanned = app.shared.journal.scan(Place { segment: 1, offset: 0 }, |batch| {
        let (mut made, mut told) = (Vec::new(), Vec::new());
        for entry in batch.entries() {
            if entry.kind == kind(EntryKind::ContactReserved) {
                made.push(entry.sequence);
            } else if entry.kind == kind(EntryKind::RequestAnswered) {
                let answered: RequestAnswered = decode(entry.bytes().unwrap_or_default())?;
                told.extend(decode::<Verdict>(&answered.answer)?.reservation.map(|(sequence, _)| sequence));
            }
        }
        assert_eq!(made, told, "in the batch that ends at {:?}", batch.end);
        counted += made.len();
        full += usize::from(made.len() >= 16);
        Ok(ControlFlow::Continue(()))
    });
    scanned.unwrap();
    assert_eq!(counted as u32, CALLS);
    assert!(full > 0, "no batch was filled");
    drop((app, tenant));
    drop(opened.app);
    opened.threads.join();
}
