//! Calls of any RPC by its descriptor, with credentials or none.

use std::time::Duration;

use onefold_proto::v1::FILE_DESCRIPTOR_SET;
use prost::bytes::{Buf, BufMut};
use prost_reflect::{DescriptorPool, MethodDescriptor};
use tokio_stream::StreamExt;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::reason;

/// Messages as bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let length = from.remaining();
        Ok(Some(from.copy_to_bytes(length).to_vec()))
    }
}

/// A request with a key or a token, if there is one.
///
/// # Panics
/// When it is no metadata.
pub fn with_key<T>(message: T, key: Option<&str>) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(key) = key {
        let bearer = format!("Bearer {key}").parse().expect("a key is visible ASCII");
        request.metadata_mut().insert("authorization", bearer);
    }
    request
}

/// Calls any method with one message and takes its first answer; empty where there is none, or none at once.
///
/// # Errors
/// What the server says.
///
/// # Panics
/// When the connection is gone.
pub async fn ask(channel: &Channel, path: &str, message: Vec<u8>, key: Option<&str>) -> Result<Vec<u8>, Status> {
    let mut grpc = tonic::client::Grpc::new(channel.clone()).max_decoding_message_size(16 << 20);
    grpc.ready().await.expect("the connection is there");
    let request = with_key(tokio_stream::iter([message]), key);
    let path_of = path.parse().expect("a method has a path");
    let mut answers = grpc.streaming(request, path_of, Raw).await?.into_inner();
    // A feed on which nothing happens is silent.
    if path.ends_with("/WatchProfiles") {
        let first = tokio::time::timeout(Duration::from_millis(300), answers.next()).await;
        return first.ok().flatten().transpose().map(Option::unwrap_or_default);
    }
    answers.next().await.transpose().map(Option::unwrap_or_default)
}

/// Every method of ours, by the descriptor.
///
/// # Panics
/// When there are suspiciously few.
#[must_use]
pub fn methods() -> Vec<MethodDescriptor> {
    let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("the descriptor set was made by the build");
    let ours: Vec<_> = pool.services().filter(|service| service.package_name() == "onefold.v1").collect();
    let all: Vec<_> = ours.iter().flat_map(|service| service.methods().collect::<Vec<_>>()).collect();
    assert!(all.len() > 80, "{}", all.len());
    all
}

/// Where a method is called.
#[must_use]
pub fn path(method: &MethodDescriptor) -> String {
    format!("/{}/{}", method.parent_service().full_name(), method.name())
}

/// That a call was refused so.
///
/// # Panics
/// When it was not.
pub fn assert_refused<T: std::fmt::Debug>(what: &str, answer: Result<T, Status>, code: Code, why: &str) {
    let status = answer.expect_err(what);
    assert_eq!((status.code(), reason(&status).as_str()), (code, why), "{what}: {status:?}");
}
