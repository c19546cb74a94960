//! How long a client's stream may be silent.

use tonic::Status;

use super::status;
use crate::app::App;

/// Waits for what a stream brings next, but not for ever: a client that is gone without a word holds nothing.
///
/// # Errors
/// DEADLINE_EXCEEDED, `STREAM_SILENT`.
pub async fn next<T>(app: &App, coming: impl Future<Output = T>) -> Result<T, Status> {
    tokio::time::timeout(app.message_wait, coming).await.map_err(|_| status::stream_silent(app.message_wait))
}
