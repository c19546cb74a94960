//! What the lane is asked to do.

use std::sync::Arc;

use onefold_core::access::ApiKey;
use onefold_core::config::{Source, TenantConfig, TenantSettings};
use onefold_core::ids::Sequence;
use onefold_core::namespace::Namespace;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::app::error::WriteError;
use crate::app::hierarchy::act::{Act, Done};
use crate::app::ingest::{Answer, Item};
use crate::app::requests::RequestKey;
use crate::app::tenant::Tenant;
use crate::app::{access, backup, consent, models, privacy, review};
use crate::traces::{self, Cause};

/// What of a configuration a change was about, as it is afterwards: the answer to the change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Changed {
    /// Its settings.
    Settings(TenantSettings),
    /// A source.
    Source(Source),
    /// A namespace.
    Namespace(Namespace),
    /// Something that is read back otherwise.
    Other,
}

/// A change to a tenant's configuration.
pub type ConfigChange = Box<dyn FnOnce(&mut TenantConfig) -> Result<Changed, WriteError> + Send>;

/// What the lane does.
pub enum Command {
    /// Take items of one tenant.
    Ingest {
        /// Whose.
        tenant: Arc<Tenant>,
        /// What, in order.
        items: Vec<Item>,
        /// The call's name, where its caller gave it one.
        request: Option<RequestKey>,
        /// One answer each.
        reply: oneshot::Sender<Result<Vec<Answer>, WriteError>>,
    },
    /// Open a tenant.
    OpenTenant {
        /// Its settings.
        settings: TenantSettings,
        /// The call's name, where its caller gave it one.
        request: Option<RequestKey>,
        /// The settings as they were opened with.
        reply: oneshot::Sender<Result<TenantSettings, WriteError>>,
    },
    /// Change a configuration.
    Reconfigure {
        /// Whose.
        tenant: Arc<Tenant>,
        /// How.
        change: ConfigChange,
        /// The call's name, where its caller gave it one.
        request: Option<RequestKey>,
        /// What was changed, as it is afterwards.
        reply: oneshot::Sender<Result<Changed, WriteError>>,
    },
    /// Learn attribute names.
    LearnNames {
        /// Whose.
        tenant: Arc<Tenant>,
        /// Which.
        names: Vec<String>,
        /// Done.
        reply: oneshot::Sender<Result<(), WriteError>>,
    },
    /// Destroy what is in quarantine under these entries.
    Discard {
        /// Whose.
        tenant: Arc<Tenant>,
        /// Which.
        entries: Vec<Sequence>,
        /// The call's name, where its caller gave it one.
        request: Option<RequestKey>,
        /// How many were there.
        reply: oneshot::Sender<Result<u64, WriteError>>,
    },
    /// Decide on contacts and count them.
    Contact(Box<consent::reserve::Work>),
    /// Take in what is told of accounts.
    Accounts {
        /// Whose.
        tenant: Arc<Tenant>,
        /// What.
        act: Box<Act>,
        /// The call's name, where its caller gave it one.
        request: Option<RequestKey>,
        /// What came of it.
        reply: oneshot::Sender<Result<Done, WriteError>>,
    },
    /// Put a match model in force.
    SetModel {
        /// Whose.
        tenant: Arc<Tenant>,
        /// Which.
        wanted: Box<models::Wanted>,
        /// The call's name, where its caller gave it one.
        request: Option<RequestKey>,
        /// Sequence of the last consequence.
        reply: oneshot::Sender<Result<Sequence, WriteError>>,
    },
    /// Take or take back judgements.
    Rule {
        /// Whose.
        tenant: Arc<Tenant>,
        /// Which.
        ruling: Box<review::Ruling>,
        /// The call's name, where its caller gave it one.
        request: Option<RequestKey>,
        /// What came of it.
        reply: oneshot::Sender<Result<review::Ruled, WriteError>>,
    },
    /// Write down which identifiers records held once, before fragments are dropped that say so.
    KeepFormer {
        /// Whose.
        tenant: Arc<Tenant>,
        /// Done.
        reply: oneshot::Sender<Result<(), WriteError>>,
    },
    /// A step of a privacy request.
    Privacy(Box<privacy::act::Work>),
    /// Give or take back a key.
    Key {
        /// Whose.
        tenant: Arc<Tenant>,
        /// Which.
        act: Box<access::Act>,
        /// The call's name, where its caller gave it one.
        request: Option<RequestKey>,
        /// The key as it is now.
        reply: oneshot::Sender<Result<ApiKey, WriteError>>,
    },
    /// Name the moment of a backup.
    Moment(oneshot::Sender<Result<backup::Moment, WriteError>>),
    /// See whether the disk has room again.
    ProbeRoom,
    /// Nothing is asked: what nothing hurries may be done if nobody waits. Comes every
    /// [`REST_OFFERED_EVERY`](super::REST_OFFERED_EVERY).
    Rest,
    /// Write a last checkpoint and end.
    Stop,
    /// Any of these, asked for by something that is traced.
    Caused {
        /// What.
        command: Box<Command>,
        /// By what.
        cause: Box<Cause>,
    },
}

impl Command {
    /// Goes along with what asks for it here, where that is traced.
    pub fn caused(self) -> Self {
        match traces::cause() {
            Some(cause) => Self::Caused { command: Box::new(self), cause: Box::new(cause) },
            None => self,
        }
    }

    /// Answers that the disk has no room.
    pub(super) fn refuse(self) {
        match self {
            Self::Ingest { reply, .. } => drop(reply.send(Err(WriteError::DiskFull))),
            Self::OpenTenant { reply, .. } => drop(reply.send(Err(WriteError::DiskFull))),
            Self::Reconfigure { reply, .. } => drop(reply.send(Err(WriteError::DiskFull))),
            Self::LearnNames { reply, .. } => drop(reply.send(Err(WriteError::DiskFull))),
            Self::Discard { reply, .. } => drop(reply.send(Err(WriteError::DiskFull))),
            Self::Contact(work) => work.refuse(),
            Self::Accounts { reply, .. } => drop(reply.send(Err(WriteError::DiskFull))),
            Self::SetModel { reply, .. } => drop(reply.send(Err(WriteError::DiskFull))),
            Self::Rule { reply, .. } => drop(reply.send(Err(WriteError::DiskFull))),
            Self::KeepFormer { reply, .. } => drop(reply.send(Err(WriteError::DiskFull))),
            Self::Privacy(work) => drop(work.reply.send(Err(WriteError::DiskFull))),
            Self::Key { reply, .. } => drop(reply.send(Err(WriteError::DiskFull))),
            Self::Moment(reply) => drop(reply.send(Err(WriteError::DiskFull))),
            Self::Caused { command, .. } => command.refuse(),
            Self::ProbeRoom | Self::Rest | Self::Stop => {}
        }
    }
}
