//! The contact decision under fire: never more than k contacts in any window, whoever asks at once, whatever merges,
//! splits, dies and comes back.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

mod caps;
mod moments;
mod stops;

use std::sync::atomic::{AtomicI64, Ordering};

use onefold_core::fragment::ObservedAt;
use onefold_proto::v1 as pb;
use onefold_server::clock::Clock;
use onefold_tests::consent::{of_record, said};
use onefold_tests::{Clients, person};
use pb::ConsentDecision::Granted;

const THEN: i64 = 1_700_000_000;

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
