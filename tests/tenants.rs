//! LAW 9: one tenant never sees another. Two tenants hold equal data; whatever one of them gives out, used on the other,
//! answers exactly as something that nobody ever gave out: code, message, details, and no effect.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use onefold_proto::v1 as pb;
use onefold_tests::dice::Dice;
use onefold_tests::traffic::{Ledger, Message, Mill, open_sources};
use onefold_tests::{Clients, House, person, reason, record};
use tonic::{Response, Status};

const OURS: &str = "tenants/north";
const THEIRS: &str = "tenants/south";

/// Everything that a caller can tell an answer by.
fn whole<T: std::fmt::Debug>(answer: Result<Response<T>, Status>) -> String {
    match answer {
        Ok(answer) => format!("{:?}", answer.into_inner()),
        Err(status) => format!("{:?} {:?} {:?}", status.code(), status.message(), status.details()),
    }
}

/// Handles of one tenant, or made up.
struct Handles {
    profile: String,
    key: String,
    email: String,
    sources_token: String,
    quarantine_token: String,
    history_token: String,
    quarantine_id: String,
}

/// Opens a tenant and fills it; the handle of the first fragment of all, which breaks its contract.
async fn tenant_with(house: &mut House, name: &str, ledger: &Ledger) -> String {
    let tenant = pb::Tenant { name: name.to_owned(), default_region: "US".to_owned(), ..Default::default() };
    house.admin.create_tenant(pb::CreateTenantRequest { tenant: Some(tenant), ..Default::default() }).await.unwrap();
    open_sources(house, name).await;
    let broken = Message::Put(person("ledger", "first", 1_700_000_000, &[], &[]));
    let first = house.stream(name, &[broken]).await.unwrap().remove(0).quarantine_id;
    house.stream(name, &ledger.sent).await.unwrap();
    first
}

/// A profile that merged others, so that its history has pages.
async fn merged_twice(clients: &mut Clients, parent: &str) -> String {
    let mut at = 1_800_000_000;
    let mut profile = String::new();
    for key in ["m1", "m2", "m3", "bridge"] {
        at += 1;
        let email = format!("{key}@merge-mail.net");
        let all = [("email", "m1@merge-mail.net"), ("email", "m2@merge-mail.net"), ("email", "m3@merge-mail.net")];
        let identifiers: &[(&str, &str)] = if key == "bridge" { &all } else { &[("email", email.as_str())] };
        let fragment = person("crm", key, at - 150_000_000, identifiers, &[]);
        let request =
            pb::PutFragmentRequest { parent: parent.to_owned(), fragment: Some(fragment), ..Default::default() };
        profile = clients.ingest.put_fragment(request).await.unwrap().into_inner().result.unwrap().profile;
    }
    profile
}

async fn handles(clients: &mut Clients, parent: &str, quarantine_id: String) -> Handles {
    let profile = merged_twice(clients, parent).await;
    let list = pb::ListSourcesRequest { parent: parent.to_owned(), page_size: 1, ..Default::default() };
    let sources_token = clients.admin.list_sources(list).await.unwrap().into_inner().next_page_token;
    let list = pb::ListQuarantineRequest { parent: parent.to_owned(), page_size: 1, ..Default::default() };
    let quarantine = clients.ingest.list_quarantine(list).await.unwrap().into_inner();
    let history = pb::ListProfileHistoryRequest { name: profile.clone(), page_size: 1, ..Default::default() };
    let history = clients.profiles.list_profile_history(history).await.unwrap().into_inner();
    for token in [&sources_token, &quarantine.next_page_token, &history.next_page_token] {
        assert!(!token.is_empty());
    }
    Handles {
        profile,
        key: "only-here".to_owned(),
        email: "only-here@harbour-mail.net".to_owned(),
        sources_token,
        quarantine_token: quarantine.next_page_token,
        history_token: history.next_page_token,
        quarantine_id,
    }
}

/// The same handle as if this tenant had given it out.
fn under(parent: &str, name: &str) -> String {
    format!("{parent}/profiles/{}", name.rsplit('/').next().unwrap())
}

/// Uses handles on a tenant in every call that takes one; all that it answers.
async fn used_on(clients: &mut Clients, parent: &str, handles: &Handles) -> Vec<(&'static str, String)> {
    let name = under(parent, &handles.profile);
    let at = || parent.to_owned();
    let source_record = || Some(record("crm", &handles.key));
    let identifier = onefold_tests::identifier("email", &handles.email);
    let by_name = |name: &str| pb::ProfileKey { key: Some(pb::profile_key::Key::Name(name.to_owned())) };
    let mut answers = Vec::new();
    let mut note = |call, answer| answers.push((call, answer));

    let request = pb::GetProfileRequest { name: name.clone(), ..Default::default() };
    note("GetProfile", whole(clients.profiles.get_profile(request).await));
    let request = pb::ExplainProfileRequest { name: name.clone() };
    note("ExplainProfile", whole(clients.profiles.explain_profile(request).await));
    let request = pb::ListProfileHistoryRequest { name: name.clone(), ..Default::default() };
    note("ListProfileHistory", whole(clients.profiles.list_profile_history(request).await));
    let keys = vec![by_name(&name), by_name(&handles.profile)];
    let request = pb::BatchLookupProfilesRequest { parent: at(), keys, ..Default::default() };
    note("BatchLookupProfiles", whole(clients.profiles.batch_lookup_profiles(request).await));
    for key in [
        pb::lookup_profile_request::Key::Record(record("crm", &handles.key)),
        pb::lookup_profile_request::Key::Identifier(identifier),
    ] {
        let request = pb::LookupProfileRequest { parent: at(), key: Some(key), ..Default::default() };
        note("LookupProfile", whole(clients.profiles.lookup_profile(request).await));
    }
    let second = Some(record("crm", "m1"));
    let request = pb::ExplainLinkRequest { parent: at(), first: source_record(), second };
    note("ExplainLink", whole(clients.profiles.explain_link(request).await));
    let request = pb::ListSourcesRequest { parent: at(), page_size: 1, page_token: handles.sources_token.clone() };
    note("ListSources", whole(clients.admin.list_sources(request).await));
    let request = pb::ListQuarantineRequest {
        parent: at(),
        page_size: 1,
        page_token: handles.quarantine_token.clone(),
        ..Default::default()
    };
    note("ListQuarantine", whole(clients.ingest.list_quarantine(request).await));
    let own = clients.lookup_in(parent, "email", "m1@merge-mail.net").await.unwrap().name;
    let request = pb::ListProfileHistoryRequest { name: own, page_size: 1, page_token: handles.history_token.clone() };
    note("ListProfileHistory, page", whole(clients.profiles.list_profile_history(request).await));
    let quarantine_ids = vec![handles.quarantine_id.clone()];
    let request =
        pb::ReplayQuarantineRequest { parent: at(), quarantine_ids: quarantine_ids.clone(), ..Default::default() };
    note("ReplayQuarantine", whole(clients.ingest.replay_quarantine(request).await));
    let request = pb::DiscardQuarantineRequest { parent: at(), quarantine_ids, ..Default::default() };
    note("DiscardQuarantine", whole(clients.ingest.discard_quarantine(request).await));
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_tenant_gives_out_is_unknown_to_another() {
    let mut mill = Mill::new(Dice::new(9), 40, 0);
    let mut ledger = Ledger::default();
    for _ in 0..150 {
        ledger.note(mill.message());
    }
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    let mut first = Vec::new();
    for tenant in [OURS, THEIRS] {
        first.push(tenant_with(&mut house, tenant, &ledger).await);
    }
    let theirs = handles(&mut house, THEIRS, first.remove(1)).await;
    let ours = handles(&mut house, OURS, first.remove(0)).await;
    let mut digests = Vec::new();
    for tenant in [OURS, THEIRS] {
        let request = pb::GetDigestRequest { parent: tenant.to_owned(), include_golden_values: true, min_sequence: 0 };
        let digest = house.admin.get_digest(request).await.unwrap().into_inner();
        digests.push((digest.graph_digest, digest.golden_digest));
    }
    assert_eq!(digests[0], digests[1], "equal data has equal digests");
    assert_ne!(ours.profile.rsplit('/').next(), theirs.profile.rsplit('/').next(), "and other ids");

    // What only they have, beside what both have.
    let only = person("crm", &theirs.key, 1_700_000_000, &[("email", &theirs.email)], &[]);
    let request = pb::PutFragmentRequest { parent: THEIRS.to_owned(), fragment: Some(only), ..Default::default() };
    house.ingest.put_fragment(request).await.unwrap();

    let changed = |text: &str| {
        let mut changed: Vec<char> = text.chars().collect();
        let last = changed.last_mut().unwrap();
        *last = if *last == '0' { '1' } else { '0' };
        changed.into_iter().collect::<String>()
    };
    let invented = Handles {
        profile: changed(&theirs.profile),
        key: "no-where".to_owned(),
        email: "no-where@harbour-mail.net".to_owned(),
        sources_token: changed(&theirs.sources_token),
        quarantine_token: changed(&theirs.quarantine_token),
        history_token: changed(&theirs.history_token),
        quarantine_id: changed(&theirs.quarantine_id),
    };
    let before = house.admin.get_statistics(pb::GetStatisticsRequest { parent: OURS.to_owned() }).await.unwrap();
    let with_theirs = used_on(&mut house, OURS, &theirs).await;
    let with_invented = used_on(&mut house, OURS, &invented).await;
    for (theirs, invented) in with_theirs.iter().zip(&with_invented) {
        assert_eq!(theirs, invented, "law 9");
    }
    let after = house.admin.get_statistics(pb::GetStatisticsRequest { parent: OURS.to_owned() }).await.unwrap();
    let (before, after) = (before.into_inner(), after.into_inner());
    assert_eq!((before.sequence, before.quarantined_count), (after.sequence, after.quarantined_count), "no effect");

    // The same handles work where they belong, so the calls above were calls.
    let at_home = used_on(&mut house, THEIRS, &theirs).await;
    for (call, answer) in &at_home {
        let foreign = with_theirs.iter().find(|(other, _)| other == call).unwrap();
        assert_ne!(&foreign.1, answer, "{call} does not depend on the handle");
    }

    // A tenant that does not exist, and names of another shape.
    let request = pb::GetStatisticsRequest { parent: "tenants/west".to_owned() };
    let status = house.admin.get_statistics(request).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (tonic::Code::NotFound, "TENANT_UNKNOWN"));
    let request = pb::GetStatisticsRequest { parent: "west".to_owned() };
    let status = house.admin.get_statistics(request).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (tonic::Code::InvalidArgument, "REQUEST_INVALID"));

    // A stream may change its tenant on the way; each message goes where it says.
    let one = Message::Put(person("crm", "way", 1_700_000_000, &[], &[]));
    let requests = vec![one.request(OURS, 0), one.request("", 1), one.request(THEIRS, 2), one.request(OURS, 3)];
    let mut answers = house.ingest.stream_fragments(tokio_stream::iter(requests)).await.unwrap().into_inner();
    let mut told = Vec::new();
    while let Some(answer) = answers.message().await.unwrap() {
        let result = answer.result.unwrap();
        told.push((result.status(), result.profile.rsplit_once("/profiles/").unwrap().0.to_owned()));
    }
    use pb::IngestStatus::{Accepted, Duplicate};
    let wanted = [(Accepted, OURS), (Duplicate, OURS), (Accepted, THEIRS), (Duplicate, OURS)];
    assert_eq!(told, wanted.map(|(status, tenant)| (status, tenant.to_owned())));
    house.close().await;
}
