//! Resource names: `tenants/{tenant}`, `tenants/{tenant}/profiles/{profile}`. Never personal data.

use onefold_core::fragment::PartyKind;
use onefold_core::hierarchy::AccountId;
use onefold_core::ids::{ProfileId, Sequence};

/// The tenant that an empty `parent` means.
pub const DEFAULT_TENANT: &str = "default";

/// A name of another shape than the field asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadName(pub &'static str);

/// The tenant of a `parent` or tenant `name`; empty is the default tenant.
pub fn tenant(parent: &str) -> Result<&str, BadName> {
    if parent.is_empty() {
        return Ok(DEFAULT_TENANT);
    }
    match parent.strip_prefix("tenants/") {
        Some(name) if !name.is_empty() && !name.contains('/') => Ok(name),
        _ => Err(BadName("write it as tenants/{tenant}")),
    }
}

/// Tenant and profile id of a profile's name.
pub fn profile(name: &str) -> Result<(&str, ProfileId), BadName> {
    const SHAPE: BadName = BadName("write it as tenants/{tenant}/profiles/{profile}");
    let (parent, id) = name.split_once("/profiles/").ok_or(SHAPE)?;
    if parent.is_empty() {
        return Err(SHAPE);
    }
    Ok((tenant(parent).map_err(|_| SHAPE)?, ProfileId::parse(id).map_err(|_| SHAPE)?))
}

/// Tenant and account id of an account's name.
pub fn account(name: &str) -> Result<(&str, AccountId), BadName> {
    const SHAPE: BadName = BadName("write it as tenants/{tenant}/accounts/{account}");
    let (parent, id) = name.split_once("/accounts/").ok_or(SHAPE)?;
    if parent.is_empty() {
        return Err(SHAPE);
    }
    Ok((tenant(parent).map_err(|_| SHAPE)?, AccountId::parse(id).map_err(|_| SHAPE)?))
}

/// Tenant and entry of a judgement's name.
pub fn judgement(name: &str) -> Result<(&str, Sequence), BadName> {
    const SHAPE: BadName = BadName("write it as tenants/{tenant}/judgements/{judgement}");
    let (parent, entry) = name.split_once("/judgements/").ok_or(SHAPE)?;
    let plain = !parent.is_empty() && entry.bytes().all(|byte| byte.is_ascii_digit());
    let entry = entry.parse().ok().filter(|_| plain).ok_or(SHAPE)?;
    Ok((tenant(parent).map_err(|_| SHAPE)?, Sequence(entry)))
}

/// Tenant and kind of party of a match model's name.
pub fn model(name: &str) -> Result<(&str, PartyKind), BadName> {
    const SHAPE: BadName =
        BadName("write it as tenants/{tenant}/models/persons or tenants/{tenant}/models/organisations");
    let (parent, kind) = name.split_once("/models/").ok_or(SHAPE)?;
    let party = match kind {
        "persons" => PartyKind::Person,
        "organisations" => PartyKind::Organisation,
        _ => return Err(SHAPE),
    };
    if parent.is_empty() {
        return Err(SHAPE);
    }
    Ok((tenant(parent).map_err(|_| SHAPE)?, party))
}

/// The name of a judgement.
pub fn of_judgement(tenant: &str, entry: Sequence) -> String {
    format!("tenants/{tenant}/judgements/{}", entry.0)
}

/// The name of a match model.
pub fn of_model(tenant: &str, party: PartyKind) -> String {
    let kind = match party {
        PartyKind::Person => "persons",
        PartyKind::Organisation => "organisations",
    };
    format!("tenants/{tenant}/models/{kind}")
}

/// The name of an account.
pub fn of_account(tenant: &str, id: AccountId) -> String {
    format!("tenants/{tenant}/accounts/{id}")
}

/// The name of a tenant.
pub fn of_tenant(tenant: &str) -> String {
    format!("tenants/{tenant}")
}

/// The name of a profile.
pub fn of_profile(tenant: &str, id: ProfileId) -> String {
    format!("tenants/{tenant}/profiles/{id}")
}

/// The known name nearest to a mistyped one, if it is near enough to be worth saying.
pub fn nearest<'a>(typed: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|name| (strsim::osa_distance(typed, name), name))
        .filter(|(distance, name)| *distance <= 1 + name.len().min(typed.len()) / 3)
        .min()
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_shape() {
        assert_eq!(tenant(""), Ok("default"));
        assert_eq!(tenant("tenants/acme"), Ok("acme"));
        for bad in ["acme", "tenants/", "tenants/a/b", "/tenants/a"] {
            assert!(tenant(bad).is_err(), "{bad:?}");
        }
        for bad in ["", "tenants/a/judgements/", "tenants/a/judgements/-1", "/judgements/1", "tenants/a/judgements/+1"]
        {
            assert!(judgement(bad).is_err(), "{bad:?}");
        }
        assert_eq!(judgement(&of_judgement("acme", Sequence(7))), Ok(("acme", Sequence(7))));
        for party in [PartyKind::Person, PartyKind::Organisation] {
            assert_eq!(model(&of_model("acme", party)), Ok(("acme", party)));
        }
        assert!(model("tenants/acme/models/dogs").is_err() && model("/models/persons").is_err());
        let id = ProfileId::seal(onefold_core::ids::ProfileOrdinal(3), &[1; 32]);
        assert_eq!(profile(&of_profile("acme", id)), Ok(("acme", id)));
        for bad in ["", "/profiles/", "tenants/acme", "tenants/acme/profiles/p_1"] {
            assert!(profile(bad).is_err(), "{bad:?}");
        }
    }
}
