//! What is in scope, shown; and what is held, handed over in pieces.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use onefold_core::erasure::{ErasurePlan, Evidence, ScopedRecord};
use onefold_core::fragment::{PartyKind, Vocabulary as _};
use onefold_core::ids::{Digest128, Sequence};
use onefold_core::reads::ReadCall;
use onefold_proto::v1 as pb;
use pb::stream_access_export_response::Part;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status};

use super::{Privacy, hexadecimal};
use crate::app::App;
use crate::app::error::ReadError;
use crate::app::privacy;
use crate::app::privacy::act::Act;
use crate::app::privacy::evidence::{Fate, IdentifierEvidence};
use crate::app::privacy::export::{self, ExportError};
use crate::app::read::fragment_at;
use crate::app::tenant::Tenant;
use crate::grpc::{names, rights, status};

/// Bytes of one piece.
const PIECE_BYTES: usize = 64 << 10;
/// Pieces that may wait for a slow reader.
const DEPTH_MAX: usize = 4;
/// How long a reader may leave them waiting: what is written holds one of few places.
const READER_WAIT_MAX: Duration = Duration::from_secs(60);

/// The answers of one export.
pub type Pieces = ReceiverStream<Result<pb::StreamAccessExportResponse, Status>>;

/// Counts by name.
pub fn counts(of: Vec<(String, u32)>) -> Vec<pb::NamedCount> {
    of.into_iter().map(|(name, count)| pb::NamedCount { name, count }).collect()
}

/// The profiles in scope.
pub fn profiles(tenant: &Tenant, plan: &ErasurePlan) -> Vec<String> {
    plan.profiles.iter().map(|profile| names::of_profile(&tenant.name, tenant.profile_id(*profile))).collect()
}

/// The accounts of which all that was told would go.
pub fn accounts(tenant: &Tenant, plan: &ErasurePlan) -> Vec<String> {
    let state = tenant.state();
    let told = plan.told_of.iter().filter(|told| told.party == PartyKind::Organisation);
    let accounts = told.filter_map(|told| state.accounts.forest.find(told.record));
    accounts.map(|account| names::of_account(&tenant.name, tenant.account_id(account))).collect()
}

/// The records in scope, each with its evidence. Not for asynchronous threads.
pub fn records(app: &App, tenant: &Tenant, plan: &ErasurePlan) -> Vec<pb::ScopedRecord> {
    let config = tenant.config();
    let record = |record: &ScopedRecord| {
        let place = {
            let state = tenant.state();
            let live = state.engine.record(record.digest).filter(|view| view.live).map(|view| view.place);
            live.or_else(|| state.engine.last_place_of(record.digest))
        };
        let key = place.and_then(|place| fragment_at(&app.shared, &tenant.vault, place).ok());
        let (evidence, of) = match record.evidence {
            Evidence::Named => ("NAMED", None),
            Evidence::Shares(_) => ("RETRACTED_SHARING_IDENTIFIER", None),
            Evidence::Corrects => ("CORRECTS_RECORDS", None),
            Evidence::Member(of) => ("MEMBER_OF_PROFILE", Some(of)),
            Evidence::RetractedFrom(of) => ("RETRACTED_FROM_PROFILE", Some(of)),
        };
        pb::ScopedRecord {
            source: config.config.source(record.source).to_owned(),
            key: key.map(|fragment| fragment.record.key).unwrap_or_default(),
            evidence: evidence.to_owned(),
            profile: of.map(|of| names::of_profile(&tenant.name, tenant.profile_id(of))).unwrap_or_default(),
            namespace: match record.evidence {
                Evidence::Shares(of) => config.config.namespace(of).map(|known| known.name.clone()).unwrap_or_default(),
                _ => String::new(),
            },
        }
    };
    plan.records.iter().map(record).collect()
}

/// Identifiers in scope and their evidence.
pub fn identifiers(tenant: &Tenant, of: Vec<IdentifierEvidence>) -> Vec<pb::ScopedIdentifier> {
    let config = tenant.config();
    let identifier = |one: IdentifierEvidence| pb::ScopedIdentifier {
        namespace: config.config.namespace(one.namespace).map(|known| known.name.clone()).unwrap_or_default(),
        fate: match one.fate {
            Fate::Suppressed => "SUPPRESSED",
            Fate::HeldByOthers => "HELD_BY_OTHERS",
            Fate::NamesNobody => "NAMES_NOBODY",
        }
        .to_owned(),
        held_by: one.held_by,
        once_held_by: one.once_held_by,
        named: one.named,
    };
    of.into_iter().map(identifier).collect()
}

/// What an export would hold. Not for asynchronous threads.
///
/// # Errors
/// As [`privacy::preview`].
pub fn preview(app: &App, tenant: &Tenant, id: Sequence) -> Result<pb::PreviewAccessExportResponse, Status> {
    let (plan, figures) = privacy::preview(tenant, id).map_err(status::write)?;
    Ok(pb::PreviewAccessExportResponse {
        etag: hexadecimal(&plan.scope().0),
        records: records(app, tenant, &plan),
        withheld: counts(figures.shared),
        quarantined: figures.quarantined,
        statements: figures.statements,
        statements_shared: figures.statements_kept,
        statements_withheld: export::statements_at_shared(tenant, &plan),
        profiles: profiles(tenant, &plan),
    })
}

type Out = mpsc::Sender<Result<pb::StreamAccessExportResponse, Status>>;

/// Cuts a text into pieces and hands them on; a reader that does not read in time is gone.
struct Cutter {
    out: Out,
    runtime: Handle,
    piece: Vec<u8>,
}

impl Cutter {
    fn send(&self, part: Part) -> io::Result<()> {
        let message = Ok(pb::StreamAccessExportResponse { part: Some(part) });
        let sent = self.runtime.block_on(tokio::time::timeout(READER_WAIT_MAX, self.out.send(message)));
        sent.ok().and_then(Result::ok).ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for Cutter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PIECE_BYTES - self.piece.len());
        self.piece.extend_from_slice(&bytes[..taken]);
        if self.piece.len() == PIECE_BYTES {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        match std::mem::take(&mut self.piece) {
            piece if piece.is_empty() => Ok(()),
            piece => self.send(Part::Json(piece)),
        }
    }
}

/// Hands over what is held, and writes down that it was.
///
/// # Errors
/// What stands in the way before the first piece; what does later ends the stream.
pub async fn stream(
    service: Privacy,
    tenant: Arc<Tenant>,
    id: Sequence,
    scope: Digest128,
    to: String,
) -> Result<Response<Pieces>, Status> {
    let place = Arc::clone(&service.app.exports).acquire_owned().await;
    let place = place.map_err(|_| status::stopping())?;
    let who = (rights::reader(), ReadCall::StreamAccessExport, None);
    let (out, pieces) = mpsc::channel(DEPTH_MAX);
    let (app, of) = (Arc::clone(&service.app), Arc::clone(&tenant));
    let mut cutter = Cutter { out: out.clone(), runtime: Handle::current(), piece: Vec::new() };
    let written = tokio::task::spawn_blocking(move || {
        let _place = place;
        export::write(&app, &of, (id, scope), who, &mut cutter)
    });
    tokio::spawn(rights::carried(async move {
        let ended = match written.await {
            Ok(Ok(done)) => {
                let act = Act::Deliver { id, scope, to, digest: *done.digest.as_bytes(), bytes: done.bytes };
                service.step(&tenant, act, None).await.map(|noted| pb::AccessExportEnd {
                    request: noted.request.map(|request| service.shown(&tenant, &request)),
                    digest: done.digest.to_hex().to_string(),
                    bytes: done.bytes,
                    sequence: noted.sequence.0,
                })
            }
            Ok(Err(ExportError::Refused(error))) => Err(status::write(error)),
            Ok(Err(ExportError::NotLogged)) => {
                Err(status::ReadErrorIn { tenant: &tenant.name, error: ReadError::NotLogged }.into())
            }
            Ok(Err(ExportError::Gone)) => return,
            Err(_) => Err(status::internal("the export was interrupted")),
        };
        let part = |end| pb::StreamAccessExportResponse { part: Some(Part::End(end)) };
        // A reader that is gone finds the request completed.
        let _ = out.send(ended.map(part)).await;
    }));
    Ok(Response::new(ReceiverStream::new(pieces)))
}
