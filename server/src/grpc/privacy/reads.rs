//! The log of reads, shown.

use std::sync::Arc;

use onefold_core::fault::{FaultReason, FieldFault};
use onefold_core::ids::{Place, ProfileOrdinal};
use onefold_core::reads::Reads;
use onefold_proto::v1 as pb;
use tonic::Status;

use crate::app::App;
use crate::app::error::{ReadError, WriteError};
use crate::app::reads::list::{self, Filter};
use crate::app::tenant::{LiveConfig, Tenant};
use crate::grpc::convert::consent::any_time;
use crate::grpc::convert::fragment::timestamp;
use crate::grpc::page::{self, Page};
use crate::grpc::{names, status};

/// Answers ListReads.
///
/// # Errors
/// What is wrong with the request, or that the log cannot be read.
pub async fn list(
    app: &Arc<App>,
    tenant: &Arc<Tenant>,
    request: pb::ListReadsRequest,
) -> Result<pb::ListReadsResponse, Status> {
    let mut faults = Vec::new();
    let mut time = |time: Option<&prost_types::Timestamp>, path| time.map(|time| any_time(time, path, &mut faults));
    let from = time(request.from_time.as_ref(), "from_time");
    let until = time(request.until_time.as_ref(), "until_time");
    let profile = match request.profile.as_str() {
        "" => None,
        name => match names::profile(name) {
            Ok((of, id)) if of == tenant.name => id.open(&tenant.keys.id),
            Ok(_) => None,
            Err(bad) => {
                faults.push(FieldFault::new("profile", FaultReason::Malformed, bad.0));
                None
            }
        },
    };
    if !faults.is_empty() {
        return Err(status::write(WriteError::Invalid(faults)));
    }
    let failed = |error| Status::from(status::ReadErrorIn { tenant: &tenant.name, error });
    if profile.is_none() && !request.profile.is_empty() {
        return Err(failed(ReadError::ProfileUnknown));
    }
    let query = format!("reads/{}/{}/{from:?}/{until:?}", tenant.name, request.profile);
    let page = Page::read(&app.page_key, &query, request.page_size, &request.page_token)?;
    let place = (page.from > 0).then_some(Place { segment: (page.from >> 32) as u32, offset: page.from as u32 });
    let filter = Filter { profile, from, until };
    let size = page.size;
    let found = app.reading(tenant, move |app, tenant| list::page(&app.shared, tenant, &filter, place, size)).await;
    let found = found.map_err(failed)?;
    let config = tenant.config();
    let next = found.next.map(|place| u64::from(place.segment) << 32 | u64::from(place.offset));
    Ok(pb::ListReadsResponse {
        reads: found.reads.into_iter().map(|(reads, shown)| noted(&reads, &shown, tenant, &config)).collect(),
        next_page_token: next.map(|next| page::seal(&app.page_key, &query, next)).unwrap_or_default(),
        missed: tenant.noting.missed(),
        noting: tenant.noting.is_on() && tenant.noting.is_whole(),
    })
}

fn noted(reads: &Reads, shown: &[(ProfileOrdinal, u32)], tenant: &Tenant, config: &LiveConfig) -> pb::NotedReads {
    let purpose = reads.purpose.and_then(|purpose| config.config.consent.purpose(purpose));
    pb::NotedReads {
        from_time: Some(timestamp(reads.from)),
        until_time: Some(timestamp(reads.until)),
        reader: reads.reader.to_string(),
        call: reads.call.as_str().to_owned(),
        purpose: purpose.map(|purpose| purpose.name.clone()).unwrap_or_default(),
        count: reads.count,
        profiles: shown
            .iter()
            .map(|(profile, count)| pb::ProfileReads {
                profile: names::of_profile(&tenant.name, tenant.profile_id(*profile)),
                count: *count,
            })
            .collect(),
    }
}
