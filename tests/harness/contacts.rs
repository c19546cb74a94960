//! Consent, contacts, accounts and stages beside the traffic, and what must be there of them whatever befell the server.

use onefold_proto::v1 as pb;
use tonic::Status;

use crate::Clients;
use crate::accounts::account;
use crate::consent::{at, said};
use crate::traffic::SOURCES;

/// Contacts that a person may have.
const CAP: u32 = 2;
/// Persons and accounts of one round.
const PER_ROUND: usize = 6;
const AT: i64 = 1_700_000_000;

/// One thing that was acknowledged.
#[derive(Debug)]
enum Told {
    Said { email: String, statement: String, stops: bool },
    Contacted { email: String },
    Account { key: String, stage: bool },
}

/// What was acknowledged, each with how far the disk's log was when the answer was in hand.
#[derive(Debug, Default)]
pub struct Contacts {
    told: Vec<(Told, u64)>,
    ready: Option<u64>,
}

fn of_account(key: &str) -> Option<pb::StageSubject> {
    Some(pb::StageSubject { subject: account(SOURCES[0], key).map(pb::stage_subject::Subject::Account) })
}

impl Contacts {
    /// One round of work; `now` says how far the log is.
    ///
    /// # Errors
    /// What the server says.
    pub async fn round(&mut self, clients: &mut Clients, round: usize, now: impl Fn() -> u64) -> Result<(), Status> {
        if self.ready.is_none() {
            clients.cap(CAP).await?;
            let lead = pb::Stage { name: "lead".to_owned(), initial: true, next: Vec::new() };
            let pipeline = Some(pb::Pipeline { stages: vec![lead], merge_rule: 0 });
            let lifecycle = Some(pb::Lifecycle { persons: pipeline.clone(), accounts: pipeline });
            clients.accounts.put_lifecycle(pb::PutLifecycleRequest { lifecycle, ..Default::default() }).await?;
            self.ready = Some(now());
        }
        for number in 0..PER_ROUND {
            let (email, key) = (format!("c{round}-{number}@contact-mail.net"), format!("account-{round}-{number}"));
            let yes = clients.say(at("email", &email), said(pb::ConsentDecision::Granted, AT)).await?;
            let told = Told::Said { email: email.clone(), statement: yes.statement_id, stops: false };
            self.told.push((told, now()));
            for _ in 0..=CAP {
                let verdict = clients.may(at("email", &email), true).await?;
                if verdict.allowed {
                    let reservation_id = verdict.reservation_id;
                    let confirm = pb::ConfirmReservationRequest { reservation_id, ..Default::default() };
                    clients.consent.confirm_reservation(confirm).await?;
                    self.told.push((Told::Contacted { email: email.clone() }, now()));
                }
            }
            if number % 3 == 0 {
                let no = clients.say(at("email", &email), said(pb::ConsentDecision::Withdrawn, AT + 1)).await?;
                self.told.push((Told::Said { email, statement: no.statement_id, stops: true }, now()));
            }
            clients.put_account(SOURCES[0], &key, None).await?;
            self.told.push((Told::Account { key: key.clone(), stage: false }, now()));
            let stage = "lead".to_owned();
            let request = pb::SetStageRequest { subject: of_account(&key), stage, ..Default::default() };
            clients.accounts.set_stage(request).await?;
            self.told.push((Told::Account { key, stage: true }, now()));
        }
        Ok(())
    }

    /// What is missing of all that was acknowledged when the log was `length` long, and who could be contacted once more.
    ///
    /// # Errors
    /// What the server says where it must not refuse.
    pub async fn check(&self, clients: &mut Clients, length: u64) -> Result<Vec<String>, Status> {
        let mut broken = Vec::new();
        if self.ready.is_none_or(|ready| ready > length) {
            return Ok(broken);
        }
        let told = || self.told.iter().filter(|(_, at)| *at <= length).map(|(told, _)| told);
        for one in told() {
            match one {
                Told::Said { email, statement, stops } => {
                    let known = clients.statements(at("email", email)).await?;
                    if !known.iter().any(|known| known.statement_id == *statement) {
                        broken.push(format!("the statement {statement} is gone"));
                    }
                    if *stops && clients.may(at("email", email), false).await?.allowed {
                        broken.push(format!("{email} withdrew and may be contacted"));
                    }
                }
                Told::Contacted { .. } => {}
                Told::Account { key, stage } => match clients.get_account(account(SOURCES[0], key)).await {
                    Ok(found) if *stage && found.stage.is_none() => broken.push(format!("{key} lost its stage")),
                    Ok(_) => {}
                    Err(status) => broken.push(format!("{key}: {status}")),
                },
            }
        }
        let mut emails: Vec<&String> = told()
            .filter_map(|one| match one {
                Told::Contacted { email } => Some(email),
                Told::Said { .. } | Told::Account { .. } => None,
            })
            .collect();
        emails.sort();
        for same in emails.chunk_by(|a, b| a == b) {
            let mut contacts = same.len() as u32;
            for _ in 0..=CAP {
                contacts += u32::from(clients.may(at("email", same[0]), true).await?.allowed);
            }
            if contacts > CAP {
                broken.push(format!("{} may have {contacts} contacts, not {CAP}", same[0]));
            }
        }
        Ok(broken)
    }
}
