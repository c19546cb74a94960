//! Persons with unmistakable values on their way through every path of a server.

use onefold_proto::v1 as pb;
use tonic::Status;

use crate::accounts::{account, somebody};
use crate::canary::{canary, mail};
use crate::consent::{at, of_record, said};
use crate::{Clients, person, record};

const THEN: i64 = 1_700_000_000;

/// Sources, one of them with a contract that [`fragments`] breaks, and an account.
///
/// # Panics
/// When one is refused.
pub async fn prepare(clients: &mut Clients) {
    clients.sources(&["crm", "shop", "desk"]).await;
    contract(clients, true).await;
    clients.put_account("crm", "acme", None).await.expect("an account");
}

/// The source `ledger` with its contract, which asks for an attribute that nobody gives, or does not.
///
/// # Panics
/// When it is refused.
pub async fn contract(clients: &mut Clients, required: bool) {
    let mut contract = pb::DataContract::default();
    contract.attributes.push(pb::AttributeRule { name: "plan".to_owned(), required, ..Default::default() });
    let source = pb::Source { name: "ledger".to_owned(), trust: 500, contract: Some(contract), ..Default::default() };
    let request = pb::PutSourceRequest { source: Some(source), ..Default::default() };
    clients.admin.put_source(request).await.expect("a source");
}

/// What the sources say of somebody: two records that are one profile, and one that waits in quarantine. Every third
/// person shares a telephone with the next two.
#[must_use]
pub fn fragments(who: usize) -> [pb::Fragment; 3] {
    let (word, mail) = (canary(who), mail(who));
    let phone = format!("+4930{:07}", 2_000_000 + who / 3);
    let names: &[(&str, &str)] = &[("name.given", &word), ("name.family", &word)];
    [
        person("crm", &word, THEN, &[("email", &mail), ("phone", &phone), ("user_id", &word)], names),
        person("shop", &word, THEN + 1, &[("email", &mail)], &[("name.family", &word)]),
        person("ledger", &word, THEN + 2, &[("email", &mail)], names),
    ]
}

/// A record that was this person's first and somebody else's since, as keys and numbers are given out again: what it said
/// first, and what it says then. Of every second person such a record is the neighbour's before anything is backed up; of
/// everybody another one is nobody's that we know, and it is up to the caller when.
#[must_use]
pub fn given_on(who: usize, late: bool) -> [pb::Fragment; 2] {
    let (word, mail) = (canary(who), mail(who));
    let key = format!("{}{who}", if late { "late" } else { "soon" });
    let next = if late { format!("{key}@desk.example") } else { self::mail(who - who % 2) };
    [
        person("desk", &key, THEN, &[("email", &mail)], &[("name.given", &word), ("city", &word)]),
        person("desk", &key, THEN + 10, &[("email", &next)], &[]),
    ]
}

/// One person through every path: [`fragments`], a statement about each kind of subject, a role in an account, a judgement
/// whose reason speaks of the person. Whoever was there already is there once.
///
/// # Errors
/// What the server says.
///
/// # Panics
/// When a fragment is answered otherwise than it should be.
pub async fn arrive(clients: &mut Clients, who: usize) -> Result<(), Status> {
    use pb::IngestStatus::{Accepted, Duplicate, Quarantined};
    let (word, mail) = (canary(who), mail(who));
    for (fragment, wanted) in fragments(who).into_iter().zip([Accepted, Accepted, Quarantined]) {
        let told = clients.try_put(fragment).await?.status();
        assert!(told == wanted || told == Duplicate, "{who}: {told:?}");
    }
    let yes = || pb::ConsentSaying { language: word.clone(), ..said(pb::ConsentDecision::Granted, THEN + 3) };
    clients.say(at("email", &mail), yes()).await?;
    clients.say(of_record("shop", &word), yes()).await?;
    let request = pb::PutAffiliationRequest {
        person: somebody("crm", &word),
        account: account("crm", "acme"),
        role: word.clone(),
        ..Default::default()
    };
    clients.accounts.put_affiliation(request).await?;
    let pair = pb::PairJudgement {
        first: Some(record("crm", &word)),
        second: Some(record("shop", &word)),
        verdict: pb::Verdict::Same as i32,
    };
    let (author, reason) = ("steward".to_owned(), format!("{word} said so"));
    let request = pb::JudgeRequest { judgements: vec![pair], author, reason, ..Default::default() };
    clients.reviews.judge(request).await.map(drop)
}

/// Records of [`given_on`] as they are before a backup.
///
/// # Errors
/// What the server says.
///
/// # Panics
/// When a fragment is answered otherwise than it should be.
pub async fn arrive_at_desks(clients: &mut Clients, who: usize) -> Result<(), Status> {
    use pb::IngestStatus::{Accepted, Duplicate, Superseded};
    let [first, then] = given_on(who, false);
    let [late, _] = given_on(who, true);
    for fragment in [first, then, late].into_iter().skip(if who % 2 == 1 { 0 } else { 2 }) {
        let told = clients.try_put(fragment).await?.status();
        assert!([Accepted, Duplicate, Superseded].contains(&told), "{who}: {told:?}");
    }
    Ok(())
}

/// What the rest of the world sees of somebody.
///
/// # Errors
/// What the server says.
pub async fn seen(clients: &mut Clients, who: usize) -> Result<pb::Profile, Status> {
    let mut profile = clients.lookup("email", &mail(who)).await?;
    profile.sequence = 0;
    Ok(profile)
}

impl Clients {
    /// The key that receipts are signed with.
    ///
    /// # Errors
    /// What the server says.
    pub async fn receipt_key(&mut self) -> Result<String, Status> {
        let request = pb::GetPrivacyPolicyRequest::default();
        Ok(self.privacy.get_privacy_policy(request).await?.into_inner().receipt_public_key)
    }
}
