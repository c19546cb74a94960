//! Identifiers that are held outside live profiles, handed over place by place.

use std::sync::Arc;
use std::time::Duration;

use onefold_core::reads::ReadCall;
use onefold_proto::v1 as pb;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status};

use crate::app::App;
use crate::app::error::ReadError;
use crate::app::privacy::export::ExportError;
use crate::app::privacy::outside::{self, Identifier, Where};
use crate::app::tenant::{LiveConfig, Tenant};
use crate::grpc::{rights, status};

/// Messages that may wait for a slow reader.
const DEPTH_MAX: usize = 4;
/// About how many bytes one message has: many small ones would be taken for a flood.
const MESSAGE_BYTES: usize = 64 << 10;
/// Bytes of an identifier beside its value, about.
const IDENTIFIER_BYTES: usize = 32;
/// How long a reader may leave them waiting: who reads holds one of few places.
const READER_WAIT_MAX: Duration = Duration::from_secs(60);

/// The answers of one call.
pub type Places = ReceiverStream<Result<pb::StreamHeldIdentifiersResponse, Status>>;

const fn place(at: Where) -> pb::HeldPlace {
    match at {
        Where::Quarantine => pb::HeldPlace::Quarantine,
        Where::Retracted => pb::HeldPlace::RetractedRecord,
        Where::Statement => pb::HeldPlace::Statement,
    }
}

fn held(identifier: &Identifier, config: &LiveConfig) -> pb::HeldIdentifier {
    let namespace = config.config.namespace(identifier.namespace).map(|known| known.name.clone());
    pb::HeldIdentifier {
        namespace: namespace.unwrap_or_default(),
        value: identifier.value.clone(),
        shared: identifier.shared,
    }
}

/// Gathers what is told until a message is full.
struct Telling {
    out: mpsc::Sender<Result<pb::StreamHeldIdentifiersResponse, Status>>,
    runtime: Handle,
    held: Vec<pb::HeldOutside>,
    bytes: usize,
}

impl Telling {
    fn tell(&mut self, at: Where, identifiers: &[Identifier], config: &LiveConfig) -> Result<(), ExportError> {
        let mut some = Vec::new();
        for identifier in identifiers {
            self.bytes += identifier.value.len() + IDENTIFIER_BYTES;
            some.push(held(identifier, config));
            if self.bytes >= MESSAGE_BYTES {
                self.held.push(pb::HeldOutside { place: place(at) as i32, identifiers: std::mem::take(&mut some) });
                self.flush()?;
            }
        }
        if !some.is_empty() {
            self.held.push(pb::HeldOutside { place: place(at) as i32, identifiers: some });
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ExportError> {
        self.bytes = 0;
        match std::mem::take(&mut self.held) {
            held if held.is_empty() => Ok(()),
            held => self.send(Ok(pb::StreamHeldIdentifiersResponse { held })),
        }
    }

    fn send(&self, message: Result<pb::StreamHeldIdentifiersResponse, Status>) -> Result<(), ExportError> {
        let sent = self.runtime.block_on(tokio::time::timeout(READER_WAIT_MAX, self.out.send(message)));
        sent.ok().and_then(Result::ok).ok_or(ExportError::Gone)
    }
}

/// Hands them over.
///
/// # Errors
/// What stands in the way before the first; what does later ends the stream.
pub async fn stream(app: &Arc<App>, tenant: Arc<Tenant>) -> Result<Response<Places>, Status> {
    let turn = Arc::clone(&app.exports).acquire_owned().await.map_err(|_| status::stopping())?;
    let how = (rights::reader(), ReadCall::StreamHeldIdentifiers, None);
    let (out, places) = mpsc::channel(DEPTH_MAX);
    let mut telling = Telling { out, runtime: Handle::current(), held: Vec::new(), bytes: 0 };
    let app = Arc::clone(app);
    tokio::task::spawn_blocking(move || {
        let _turn = turn;
        let told = outside::all(&app, &tenant, how, |at, identifiers| telling.tell(at, &identifiers, &tenant.config()));
        let failed = match told.and_then(|()| telling.flush()) {
            // A reader that is gone has lost interest.
            Ok(()) | Err(ExportError::Gone) => return,
            Err(ExportError::Refused(error)) => status::write(error),
            Err(ExportError::NotLogged) => {
                status::ReadErrorIn { tenant: &tenant.name, error: ReadError::NotLogged }.into()
            }
        };
        let _ = telling.send(Err(failed));
    });
    Ok(Response::new(ReceiverStream::new(places)))
}
