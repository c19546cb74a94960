//! BackupService: a copy of everything, in a stream.

use std::collections::HashMap;
use std::sync::Arc;

use onefold_core::reads::ReadCall;
use onefold_proto::v1 as pb;
use onefold_proto::v1::backup_service_server::BackupService;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::convert::fragment::timestamp;
use super::{reading, status};
use crate::app::App;
use crate::app::backup::Part;

/// Chunks that may wait for a slow reader.
const DEPTH_MAX: usize = 4;

/// The service.
#[derive(Clone, Debug)]
pub struct Backups {
    /// The use cases.
    pub app: Arc<App>,
}

fn failed(error: &std::io::Error) -> Status {
    tracing::error!(error = %error, "a backup cannot be read");
    status::internal("the files cannot be read; the server's log says why")
}

type Out = mpsc::Sender<Result<pb::StreamBackupResponse, Status>>;

fn part(part: pb::stream_backup_response::Part) -> pb::StreamBackupResponse {
    pb::StreamBackupResponse { part: Some(part) }
}

/// Sends what the caller lacks. An error ends the stream without its end.
fn send(parts: &[Part], have: &HashMap<String, (u64, String)>, out: &Out) -> std::io::Result<()> {
    use pb::stream_backup_response::Part as Wire;
    let mut sent = 0;
    for file in parts {
        let mut offset = match have.get(&file.path) {
            Some((bytes, digest)) => file.lacks_from(*bytes, digest)?,
            None => 0,
        };
        loop {
            let content = file.read(offset)?;
            if content.is_empty() {
                break;
            }
            let bytes = content.len() as u64;
            let chunk = pb::BackupChunk { path: file.path.clone(), offset, content };
            if out.blocking_send(Ok(part(Wire::Chunk(chunk)))).is_err() {
                return Ok(());
            }
            offset += bytes;
            sent += bytes;
        }
    }
    // A reader that is gone has lost interest.
    let _ = out.blocking_send(Ok(part(Wire::End(pb::BackupEnd { bytes: sent }))));
    Ok(())
}

#[tonic::async_trait]
impl BackupService for Backups {
    type StreamBackupStream = ReceiverStream<Result<pb::StreamBackupResponse, Status>>;

    async fn stream_backup(
        &self,
        request: Request<pb::StreamBackupRequest>,
    ) -> Result<Response<Self::StreamBackupStream>, Status> {
        let have: HashMap<String, (u64, String)> =
            request.into_inner().have.into_iter().map(|file| (file.path, (file.bytes, file.digest))).collect();
        for tenant in self.app.tenants() {
            reading::showing(&self.app, &tenant, ReadCall::StreamBackup, None)?;
        }
        let taken_time = Some(timestamp(self.app.now()));
        // Until all is sent, no file is replaced by a shorter one.
        let copying = Arc::clone(&self.app.shared.copying).read_owned().await;
        let moment = self.app.moment().await.map_err(status::write)?;
        let position = moment.position;
        let (out, answers) = mpsc::channel(DEPTH_MAX);
        let app = Arc::clone(&self.app);
        tokio::task::spawn_blocking(move || {
            let _copying = copying;
            let copied = app.parts(moment).and_then(|parts| {
                let file = |file: &Part| pb::BackupFile {
                    path: file.path.clone(),
                    bytes: file.bytes,
                    digest: file.digest.to_hex().to_string(),
                };
                let head = pb::BackupHead {
                    files: parts.iter().map(file).collect(),
                    segment: position.segment,
                    offset: position.offset,
                    chain: position.chain.iter().map(|byte| format!("{byte:02x}")).collect(),
                    taken_time,
                    software: format!("onefold {}", env!("CARGO_PKG_VERSION")),
                };
                if out.blocking_send(Ok(part(pb::stream_backup_response::Part::Head(head)))).is_err() {
                    return Ok(());
                }
                send(&parts, &have, &out)
            });
            if let Err(error) = copied {
                let _ = out.blocking_send(Err(failed(&error)));
            }
        });
        Ok(Response::new(ReceiverStream::new(answers)))
    }
}
