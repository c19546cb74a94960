//! Match models on the wire.

use onefold_core::change::ProfileChange;
use onefold_core::fault::{FaultReason, FieldFault};
use onefold_core::fragment::PartyKind;
use onefold_core::ids::ProfileOrdinal;
use onefold_matching::pair::schema::FIELDS_MAX;
use onefold_matching::pair::{Field, FieldKind, Model, Schema};
use onefold_proto::v1 as pb;

use super::fragment::is_attribute_name;
use crate::app::models::{ARTEFACT_BYTES_MAX, Choice, Preview};
use crate::app::tenant::Tenant;
use crate::grpc::names;

/// Bytes of a model's version at most.
const VERSION_BYTES_MAX: usize = 64;
/// Examples of a preview, when nothing is said, and at most.
const EXAMPLES_DEFAULT: usize = 10;
const EXAMPLES_MAX: usize = 100;

fn fault(path: &str, reason: FaultReason, message: impl Into<String>) -> Vec<FieldFault> {
    vec![FieldFault::new(path, reason, message)]
}

/// The model that a choice names.
///
/// # Errors
/// What is wrong with the artefact, by its field.
pub fn choice(wire: Option<pb::ModelChoice>, party: PartyKind) -> Result<Option<Model>, Vec<FieldFault>> {
    use pb::model_choice::Choice as Wire;
    const PATH: &str = "model.artefact_json";
    let choice = match wire.and_then(|choice| choice.choice) {
        Some(Wire::Shipped(true)) => Choice::Shipped,
        Some(Wire::None(true)) => Choice::None,
        Some(Wire::ArtefactJson(json)) => {
            if json.len() > ARTEFACT_BYTES_MAX {
                let message = format!("{} bytes given, at most {ARTEFACT_BYTES_MAX} are allowed", json.len());
                return Err(fault(PATH, FaultReason::TooLarge, message));
            }
            let model =
                Model::from_json(&json).map_err(|error| fault(PATH, FaultReason::Malformed, error.to_string()))?;
            if model.schema.party != party {
                let message = "matches the other kind of party than `name`";
                return Err(fault(PATH, FaultReason::Malformed, message));
            }
            version(&model.version).map_err(|faults| {
                faults
                    .into_iter()
                    .map(|f| FieldFault::new(format!("{PATH}: version"), f.reason, f.message))
                    .collect::<Vec<_>>()
            })?;
            Choice::Model(Box::new(model))
        }
        Some(Wire::Shipped(false) | Wire::None(false)) | None => {
            let message = "say which: an artefact, `shipped` or `none`";
            return Err(fault("model", FaultReason::Missing, message));
        }
    };
    Ok(choice.model(party))
}

/// The version that a model is to have.
///
/// # Errors
/// When there is none, or it is too long.
pub fn version(wire: &str) -> Result<String, Vec<FieldFault>> {
    let trimmed = wire.trim();
    if trimmed.is_empty() || trimmed.len() > VERSION_BYTES_MAX {
        let message = format!("give 1 to {VERSION_BYTES_MAX} bytes, e.g. `2026-11 fitted`: evidence cites it");
        return Err(fault("version", FaultReason::Missing, message));
    }
    Ok(trimmed.to_owned())
}

/// What a model to be trained compares: what the one in force does, or the built-in fields, and these beside.
///
/// # Errors
/// Every field that cannot be compared.
pub fn schema(party: PartyKind, base: Option<Schema>, custom: &[pb::CustomField]) -> Result<Schema, Vec<FieldFault>> {
    let mut schema = base.unwrap_or_else(|| match party {
        PartyKind::Person => Schema::person(),
        PartyKind::Organisation => Schema::organisation(),
    });
    let mut faults = Vec::new();
    for (index, field) in custom.iter().enumerate() {
        let path = |part: &str| format!("custom_fields[{index}].{part}");
        let kind = match field.kind.as_str() {
            "text" => Some(FieldKind::Text),
            "number" => Some(FieldKind::Number),
            "identifier" => Some(FieldKind::Identifier),
            _ => {
                let message = "give `text`, `number` or `identifier`";
                faults.push(FieldFault::new(path("kind"), FaultReason::Unknown, message));
                None
            }
        };
        if !is_attribute_name(&field.attribute) {
            let message = "is no name of an attribute";
            faults.push(FieldFault::new(path("attribute"), FaultReason::Malformed, message));
        } else if let Some(kind) = kind
            && schema.fields.iter().all(|known| known.name != field.attribute)
        {
            schema.fields.push(Field::attribute(&field.attribute, kind));
        }
    }
    if schema.fields.len() > FIELDS_MAX {
        let message = format!("the model would compare {} fields, at most {FIELDS_MAX} can be", schema.fields.len());
        faults.push(FieldFault::new("custom_fields", FaultReason::TooLarge, message));
    }
    if faults.is_empty() { Ok(schema) } else { Err(faults) }
}

/// How many examples a caller wants.
///
/// # Errors
/// When it is negative.
pub fn examples(wire: i32) -> Result<usize, Vec<FieldFault>> {
    match usize::try_from(wire) {
        Ok(0) => Ok(EXAMPLES_DEFAULT),
        Ok(most) => Ok(most.min(EXAMPLES_MAX)),
        Err(_) => Err(fault("examples_max", FaultReason::Malformed, "give 0 for the default, or a positive number")),
    }
}

/// A preview, with the first examples of each kind.
pub fn preview(found: &Preview, tenant: &Tenant, most: usize) -> pb::PreviewModelResponse {
    let name = |profile: ProfileOrdinal| names::of_profile(&tenant.name, tenant.profile_id(profile));
    let known = tenant.state().times.len() as u32;
    let (mut merged, mut split, mut changed) = (0, 0, 0);
    let mut examples = Vec::new();
    for change in &found.changes {
        changed += 1;
        match change {
            ProfileChange::Merged { from, into, .. } => {
                merged += 1;
                if merged <= most as u64 {
                    let (profile, others) = (name(*from), vec![name(*into)]);
                    examples.push(pb::PreviewExample { profile, change: "MERGED".to_owned(), others });
                }
            }
            ProfileChange::Split { from, into, .. } => {
                split += 1;
                if split <= most as u64 {
                    // Profiles that the split would open have no id yet.
                    let with_id = into.iter().filter(|(part, _)| part.0 < known);
                    let (profile, others) = (name(*from), with_id.map(|(part, _)| name(*part)).collect());
                    examples.push(pb::PreviewExample { profile, change: "SPLIT".to_owned(), others });
                }
            }
            _ => {}
        }
    }
    pb::PreviewModelResponse {
        profile_count_now: found.profiles.0.into(),
        profile_count_then: found.profiles.1.into(),
        merged_count: merged,
        split_count: split,
        changed_count: changed,
        edge_count_now: found.edges.0,
        edge_count_then: found.edges.1,
        graph_digest: found.digest.to_hex().to_string(),
        examples,
    }
}
