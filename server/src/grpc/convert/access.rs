//! API keys: wire to words and back.

use onefold_core::access::{ApiKey, KeyId, Role};
use onefold_core::fault::{FaultReason, FieldFault};
use onefold_core::limits;
use onefold_proto::v1 as pb;

use super::consent::any_time;
use super::fragment::timestamp;
use crate::app::access::Wanted;
use crate::grpc::names::{self, BadName};

const ROLES: [(pb::Role, Role); 6] = [
    (pb::Role::Ingest, Role::Ingest),
    (pb::Role::Reader, Role::Reader),
    (pb::Role::Steward, Role::Steward),
    (pb::Role::PrivacyOfficer, Role::PrivacyOfficer),
    (pb::Role::Auditor, Role::Auditor),
    (pb::Role::Admin, Role::Admin),
];

/// What a new key is to be.
///
/// # Errors
/// Every fault.
pub fn wanted(wire: Option<pb::ApiKey>) -> Result<Wanted, Vec<FieldFault>> {
    let mut faults = Vec::new();
    let wire = wire.unwrap_or_default();
    let most = limits::DISPLAY_NAME_BYTES_MAX;
    if wire.display_name.len() > most {
        let message = format!("{} bytes given, at most {most} are allowed", wire.display_name.len());
        faults.push(FieldFault::new("api_key.display_name", FaultReason::TooLarge, message));
    }
    let mut roles = Vec::new();
    for (at, role) in wire.roles.iter().enumerate() {
        match ROLES.iter().find(|(known, _)| *known as i32 == *role) {
            Some((_, role)) => roles.push(*role),
            None => {
                let message = "give INGEST, READER, STEWARD, PRIVACY_OFFICER, AUDITOR or ADMIN";
                faults.push(FieldFault::new(format!("api_key.roles[{at}]"), FaultReason::Malformed, message));
            }
        }
    }
    if wire.roles.is_empty() {
        faults.push(FieldFault::new("api_key.roles", FaultReason::Missing, "name at least one role"));
    }
    roles.sort_unstable();
    roles.dedup();
    let expires_at = wire.expire_time.as_ref().map(|time| any_time(time, "api_key.expire_time", &mut faults));
    if !faults.is_empty() {
        return Err(faults);
    }
    Ok(Wanted { display_name: wire.display_name, roles, all_tenants: wire.all_tenants, expires_at })
}

/// Tenant and id of a key's name.
pub fn name(name: &str) -> Result<(&str, KeyId), BadName> {
    const SHAPE: BadName = BadName("write it as tenants/{tenant}/apiKeys/{key}");
    let (parent, id) = name.split_once("/apiKeys/").ok_or(SHAPE)?;
    if parent.is_empty() {
        return Err(SHAPE);
    }
    Ok((names::tenant(parent).map_err(|_| SHAPE)?, KeyId::parse(id).ok_or(SHAPE)?))
}

/// A key as callers see it.
pub fn out(key: &ApiKey, tenant: &str) -> pb::ApiKey {
    let role = |role: &Role| ROLES.iter().find(|(_, known)| known == role).map_or(0, |(wire, _)| *wire as i32);
    pb::ApiKey {
        name: format!("tenants/{tenant}/apiKeys/{}", key.id),
        display_name: key.display_name.clone(),
        roles: key.roles.iter().map(role).collect(),
        all_tenants: key.all_tenants,
        create_time: Some(timestamp(key.created_at)),
        expire_time: key.expires_at.map(timestamp),
        revoke_time: key.revoked_at.map(timestamp),
    }
}
