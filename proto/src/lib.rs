//! Onefold's wire contract: the messages and services of `onefold.v1`, generated from `proto/onefold/v1`.

/// Package `onefold.v1`.
#[allow(missing_docs, clippy::all, clippy::disallowed_methods)]
pub mod v1 {
    tonic::include_proto!("onefold.v1");

    /// The encoded descriptor set, for server reflection.
    pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/onefold_descriptor.bin"));
}
