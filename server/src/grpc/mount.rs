//! How every service is mounted: bounds of its messages, compression, and answers too small to be worth it.

use prost::Message;
use tonic::Response;

/// Answers below this are sent as they are: compressing them costs more than it saves.
pub const COMPRESSED_BYTES_MIN: usize = 1 << 10;

/// Puts the server's bounds and encodings on a generated service: `mounted!(XServer::new(x))`.
macro_rules! mounted {
    ($service:expr) => {
        $service
            .max_decoding_message_size($crate::config::MESSAGE_IN_BYTES_MAX)
            .max_encoding_message_size($crate::config::MESSAGE_OUT_BYTES_MAX)
            .accept_compressed(tonic::codec::CompressionEncoding::Gzip)
            .accept_compressed(tonic::codec::CompressionEncoding::Zstd)
            .send_compressed(tonic::codec::CompressionEncoding::Gzip)
            .send_compressed(tonic::codec::CompressionEncoding::Zstd)
    };
}
pub(super) use mounted;

/// The answer to a unary call; compressed, where the caller takes that, from [`COMPRESSED_BYTES_MIN`] on.
pub fn answer<M: Message>(message: M) -> Response<M> {
    let small = message.encoded_len() < COMPRESSED_BYTES_MIN;
    let mut response = Response::new(message);
    if small {
        response.disable_compression();
    }
    response
}
