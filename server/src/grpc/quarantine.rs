//! The quarantine on the wire.

use std::sync::Arc;

use onefold_core::fault::FaultReason;
use onefold_core::fragment::Vocabulary as _;
use onefold_core::ids::{Sequence, SourceId};
use onefold_proto::v1 as pb;
use tonic::Status;

use super::convert::consent::waiting_out;
use super::convert::fragment::{fragment_out, timestamp};
use super::convert::outcome::fault;
use super::page::{self, Page};
use super::status;
use crate::app::App;
use crate::app::error::ReadError;
use crate::app::quarantine;
use crate::app::tenant::Tenant;

/// Answers ListQuarantine; notes which entries it shows.
pub fn list(
    app: &App,
    tenant: &Arc<Tenant>,
    request: &pb::ListQuarantineRequest,
    noted: &mut Vec<Sequence>,
) -> Result<pb::ListQuarantineResponse, Status> {
    let source = source(tenant, &request.source)?;
    let query = format!("quarantine/{}/{}", tenant.name, request.source);
    let page = Page::read(&app.page_key, &query, request.page_size, &request.page_token)?;
    let (found, total) = quarantine::page(tenant, source, page.from, page.size + 1);
    let config = tenant.config();
    let more = found.len() > page.size;
    let mut quarantined = Vec::with_capacity(found.len());
    let mut last = 0;
    for (entry, held) in found.into_iter().take(page.size) {
        last = entry.0;
        let opened = match quarantine::open(app, tenant, entry, held) {
            Ok(Some(opened)) => opened,
            Ok(None) => continue,
            // One that is damaged must not hide the others.
            Err(ReadError::Damaged(damaged)) => {
                tracing::error!(error = %damaged, "a quarantined fragment is damaged");
                let source = config.config.source(held.source).to_owned();
                quarantined.push(pb::QuarantinedFragment {
                    quarantine_id: quarantine::handle(entry, &tenant.keys.id),
                    record: Some(pb::SourceRecord { source, ..Default::default() }),
                    faults: vec![fault(quarantine::unreadable(&damaged))],
                    ..Default::default()
                });
                continue;
            }
            Err(error) => return Err(Status::from(status::ReadErrorIn { tenant: &tenant.name, error })),
        };
        noted.push(opened.entry);
        let mut shown = fragment_out(&opened.fragment, &config);
        let says = opened.kept.says.into_iter();
        shown.consents = says.map(|said| waiting_out(said, tenant, &config)).collect();
        quarantined.push(pb::QuarantinedFragment {
            quarantine_id: quarantine::handle(opened.entry, &tenant.keys.id),
            record: shown.record.clone(),
            faults: opened.kept.faults.into_iter().map(fault).collect(),
            received_time: Some(timestamp(opened.kept.received_at)),
            fragment: request.include_fragments.then_some(shown),
        });
    }
    let next_page_token = if more { page::seal(&app.page_key, &query, last) } else { String::new() };
    Ok(pb::ListQuarantineResponse { quarantined, next_page_token, total_size: total as u64 })
}

/// The entries that a replay names, or the oldest of its source.
pub fn chosen(tenant: &Tenant, request: &pb::ReplayQuarantineRequest) -> Result<Vec<Sequence>, Status> {
    if request.quarantine_ids.is_empty() {
        Ok(quarantine::oldest(tenant, source(tenant, &request.source)?))
    } else {
        named(tenant, &request.quarantine_ids)
    }
}

/// The entries behind handles; those that are none of the tenant's are left out.
pub fn named(tenant: &Tenant, handles: &[String]) -> Result<Vec<Sequence>, Status> {
    if handles.len() > quarantine::REPLAY_MAX {
        let most = quarantine::REPLAY_MAX;
        return Err(status::field("quarantine_ids", FaultReason::TooLarge, format!("at most {most} are allowed")));
    }
    handles
        .iter()
        .enumerate()
        .filter_map(|(at, text)| {
            let entry = quarantine::parse_handle(text, &tenant.keys.id).map_err(|_| {
                status::field(
                    &format!("quarantine_ids[{at}]"),
                    FaultReason::Malformed,
                    "give ids as ListQuarantine shows them",
                )
            });
            entry.transpose()
        })
        .collect()
}

fn source(tenant: &Tenant, name: &str) -> Result<Option<SourceId>, Status> {
    if name.is_empty() {
        return Ok(None);
    }
    let found = tenant.config().source_named(name);
    found.map(Some).ok_or_else(|| status::field("source", FaultReason::Unknown, "no source has this name"))
}
