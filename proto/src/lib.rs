//! Onefold's wire contract: the messages and services of `onefold.v1`, generated from `proto/onefold/v1`.

pub mod bounds;
pub mod codec;
mod encoded;

pub use encoded::Encoded;

/// Package `onefold.v1`.
#[allow(missing_docs, clippy::all, clippy::disallowed_methods)]
pub mod v1 {
    tonic::include_proto!("onefold.v1");

    /// The encoded descriptor set, for server reflection.
    pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/onefold_descriptor.bin"));

    /// The files of the contract by their import path, for clients in other languages.
    pub const PROTO_FILES: &[(&str, &str)] = &[
        ("onefold/v1/statement.proto", include_str!("../proto/onefold/v1/statement.proto")),
        ("onefold/v1/fragment.proto", include_str!("../proto/onefold/v1/fragment.proto")),
        ("onefold/v1/ingest.proto", include_str!("../proto/onefold/v1/ingest.proto")),
        ("onefold/v1/profile.proto", include_str!("../proto/onefold/v1/profile.proto")),
        ("onefold/v1/consent.proto", include_str!("../proto/onefold/v1/consent.proto")),
        ("onefold/v1/account.proto", include_str!("../proto/onefold/v1/account.proto")),
        ("onefold/v1/model.proto", include_str!("../proto/onefold/v1/model.proto")),
        ("onefold/v1/review.proto", include_str!("../proto/onefold/v1/review.proto")),
        ("onefold/v1/privacy.proto", include_str!("../proto/onefold/v1/privacy.proto")),
        ("onefold/v1/audit.proto", include_str!("../proto/onefold/v1/audit.proto")),
        ("onefold/v1/backup.proto", include_str!("../proto/onefold/v1/backup.proto")),
        ("onefold/v1/admin.proto", include_str!("../proto/onefold/v1/admin.proto")),
    ];
}
