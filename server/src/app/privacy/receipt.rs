//! From a request that was carried out to the receipt that proves it.

use onefold_core::erasure::{
    ConsumerLine, KeptLine, LineCount, LogHead, PrivacyRequest, Receipt, SuppressionLine, words_of,
};
use onefold_core::fragment::ObservedAt;
use onefold_core::ids::Sequence;
use onefold_core::limits;
use onefold_store::journal::Position;

use crate::app::tenant::Tenant;

/// What the installation's signing key is derived for.
pub const SIGNING_KEY: &str = "signing of receipts";

/// What is true of every backup.
const BACKUP_HORIZON: &str = "Copies of the data directory made before this erasure still hold the sealed content and \
     its keys; they must not be opened but through a restore that applies the erasure ledger. Copies made after it hold \
     nothing that can be read.";

/// A moment in words that sort.
pub fn time(at: ObservedAt) -> String {
    jiff::Timestamp::from_microsecond(at.0).map_or_else(
        |_| String::new(),
        |time| {
            let seconds = time.as_second();
            jiff::Timestamp::from_second(seconds).map_or_else(|_| String::new(), |whole| whole.to_string())
        },
    )
}

/// Bytes of a request's name at most: that of its tenant, and a number.
pub const NAME_BYTES_MAX: usize = "tenants//privacyRequests/".len() + limits::NAME_BYTES_MAX + 20;

/// The name of a request.
pub fn name(tenant: &str, id: Sequence) -> String {
    format!("tenants/{tenant}/privacyRequests/{}", id.0)
}

/// The receipt, not signed yet. `after` is the head of the log once all keys were destroyed.
pub fn write(tenant: &Tenant, asked: &PrivacyRequest, last: Sequence, after: &Position) -> Receipt {
    let figures = asked.figures.clone().unwrap_or_default();
    let policy = tenant.state().privacy.policy.clone();
    let ended = asked.ended_at.unwrap_or(ObservedAt(0));
    let line = |what: String, count: u32| LineCount { what, count };
    let some = |lines: Vec<LineCount>| lines.into_iter().filter(|line| line.count > 0).collect::<Vec<_>>();
    let mut removed: Vec<LineCount> =
        figures.records.iter().map(|(source, count)| line(format!("source records of {source}"), *count)).collect();
    removed.push(line("quarantined fragments".to_owned(), figures.quarantined));
    removed.push(line("consent statements".to_owned(), figures.statements));
    removed.push(line("profiles they were part of, emptied of them".to_owned(), figures.profiles));
    let keys = vec![
        line("keys of roles, stages, accounts and judgements".to_owned(), figures.told),
        line("keys of records, statements and quarantined fragments".to_owned(), figures.keys - figures.told),
    ];
    let review = time(ObservedAt(ended.0 + i64::from(policy.review_after_days) * 86_400_000_000));
    let records: u32 = figures.records.iter().map(|(_, count)| count).sum();
    let mut suppressions = vec![("source record".to_owned(), records)];
    suppressions.extend(figures.suppressed);
    let suppressions = suppressions
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(namespace, count)| SuppressionLine { namespace, count, review_time: review.clone() })
        .collect();
    let keep = |what: String, count: u32, ground: &str, until: &str| KeptLine {
        what,
        count,
        ground: ground.to_owned(),
        until: until.to_owned(),
    };
    let mut kept: Vec<KeptLine> = figures
        .shared
        .iter()
        .map(|(namespace, count)| {
            let what = format!("identifiers of {namespace}");
            keep(what, *count, "others hold them too, from records of their own", "those others ask")
        })
        .collect();
    if figures.statements_kept > 0 {
        let ground = "they stand at other persons' records too";
        kept.push(keep("consent statements".to_owned(), figures.statements_kept, ground, "those others ask"));
    }
    kept.push(keep(
        "record of this request, without a value of the person".to_owned(),
        1,
        "proof of compliance",
        &review,
    ));
    let consumers = asked
        .confirmations
        .iter()
        .map(|one| ConsumerLine { consumer: one.consumer.clone(), confirm_by: time(one.due_at) })
        .collect();
    let (segment, offset, chain) = figures.before;
    let mut receipt = Receipt {
        receipt_version: 1,
        software: format!("onefold {}", env!("CARGO_PKG_VERSION")),
        tenant: tenant.name.clone(),
        request: name(&tenant.name, asked.id),
        reference: asked.reference.clone(),
        regulation: asked.regulation.as_str().to_owned(),
        received_time: time(asked.received_at),
        due_time: time(asked.answer_by()),
        erased_time: time(ended),
        verification: asked.verification.as_ref().map(|how| how.method.clone()).unwrap_or_default(),
        removed: some(removed),
        key_destroyed: some(keys),
        kept,
        suppressions,
        consumers,
        first_sequence: figures.first.0,
        last_sequence: last.0,
        log_before: LogHead::new(segment, offset, &chain),
        log_after: LogHead::new(after.segment, after.offset, &after.chain),
        backup_horizon: BACKUP_HORIZON.to_owned(),
        words: Vec::new(),
        public_key: String::new(),
        signature: String::new(),
    };
    receipt.words = words_of(&receipt);
    receipt
}
