//! What the server is told at start.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Largest message taken from a client.
pub const MESSAGE_IN_BYTES_MAX: usize = 4 << 20;
/// Largest message given to a client.
pub const MESSAGE_OUT_BYTES_MAX: usize = 16 << 20;
/// Streams that one connection may have open at once.
pub const STREAMS_PER_CONNECTION_MAX: u32 = 100;
/// After this a connection takes no new calls, and its client opens another; what is under way on it ends in peace. There
/// is no grace after which it is cut: given one, tonic 0.14 does not tell the client at all before it cuts.
pub const CONNECTION_AGE_MAX: Duration = Duration::from_secs(30 * 60);
/// Bytes of metadata that one request may bring.
pub const METADATA_BYTES_MAX: u32 = 8 << 10;
/// Journal entries between two checkpoints, when nothing else is said.
pub const CHECKPOINT_EVERY_DEFAULT: u64 = 1_000_000;

/// How to serve.
#[derive(Clone, Debug)]
pub struct Config {
    /// The data directory; made on the first start.
    pub data: PathBuf,
    /// Where to listen. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// File with the root key, 64 hexadecimal digits, kept outside the data directory; none: `keys/root.key` in it.
    pub root_key_file: Option<PathBuf>,
    /// Journal entries between two checkpoints.
    pub checkpoint_every: u64,
    /// Bytes of one journal segment.
    pub segment_bytes: u32,
    /// Serve on an address that other machines can reach, without encryption or authentication.
    pub allow_insecure_remote: bool,
}

impl Config {
    /// Serve this directory at this address, all else as by default.
    #[must_use]
    pub fn new(data: impl Into<PathBuf>, listen: SocketAddr) -> Self {
        Self {
            data: data.into(),
            listen,
            root_key_file: None,
            checkpoint_every: CHECKPOINT_EVERY_DEFAULT,
            segment_bytes: 64 << 20,
            allow_insecure_remote: false,
        }
    }
}
