//! What callers tell of accounts, on its way into the lane.

use std::sync::Arc;

use onefold_core::fault::FieldFault;
use onefold_core::fragment::PartyKind;
use onefold_core::hierarchy::entry::{AccountPut, AffiliationStated};
use onefold_core::hierarchy::{AccountOrdinal, Moment, Refused};
use onefold_core::ids::{Digest128, Place, Sequence, SourceId};
use onefold_core::lifecycle::{PipelineDraft, StageRefused};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::untold::Untold;
use crate::app::App;
use crate::app::error::WriteError;
use crate::app::lane::Command;
use crate::app::requests::RequestKey;
use crate::app::tenant::Tenant;

/// One row of an import.
#[derive(Clone, Debug)]
pub struct ImportRow {
    /// Line in the caller's file, from 1.
    pub line: u32,
    /// The account; its parent is said for the moment of the load.
    pub account: AccountPut,
    /// Where that lies of which it keeps what it does not tell.
    pub kept_of: Option<Place>,
}

/// One thing told of accounts.
#[derive(Clone, Debug)]
pub enum Act {
    /// An account and what is told of it.
    Put(AccountPut),
    /// Its parent from a moment on.
    Move {
        /// Keyed digest of the account's source record.
        account: Digest128,
        /// That of the parent; none: to the top.
        parent: Option<Digest128>,
        /// From when on.
        from: Moment,
    },
    /// Its closing.
    Close {
        /// Keyed digest of the account's source record.
        account: Digest128,
        /// From when on; none: it is open again.
        at: Option<Moment>,
    },
    /// A whole hierarchy, or nothing of it.
    Import {
        /// The rows.
        rows: Vec<ImportRow>,
        /// From when on the parents hold.
        from: Moment,
        /// What no row tells.
        untold: Untold,
        /// Only look.
        only_check: bool,
    },
    /// Roles of a person's source records, all in one account.
    Affiliate(Vec<AffiliationStated>),
    /// The end of a role.
    EndAffiliation {
        /// The person's source records, by digest.
        persons: Vec<Digest128>,
        /// Keyed digest of the account's source record.
        account: Digest128,
        /// Keyed digest of the role.
        role: Digest128,
        /// When it ends.
        until: Moment,
    },
    /// A stage that source records of one party reach.
    Stage {
        /// Person, or organisation for an account.
        party: PartyKind,
        /// The source records, by digest, and who keeps them.
        records: Vec<(Digest128, SourceId)>,
        /// Name of the stage.
        stage: String,
        /// When it is reached.
        at: Moment,
        /// Why, in words.
        note: String,
    },
    /// The stages there are.
    Define(PipelineDraft, PipelineDraft),
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// Where in the order of events; of what was known already, at most there.
    pub sequence: Sequence,
    /// The oldest account that it is about.
    pub account: Option<AccountOrdinal>,
    /// How many accounts it is about.
    pub count: u32,
    /// Faults of an import's rows, with their lines: nothing was taken.
    pub faults: Vec<(u32, FieldFault)>,
    /// Faults beyond those.
    pub more_faults: usize,
}

impl Done {
    /// One that takes at least as many bytes as any that was taken in.
    pub(super) const LARGEST: Self = Self {
        sequence: Sequence(u64::MAX),
        account: Some(AccountOrdinal(u32::MAX)),
        count: u32::MAX,
        faults: Vec::new(),
        more_faults: 0,
    };

    /// Done, about these accounts, oldest first.
    pub fn about(sequence: Sequence, accounts: &[AccountOrdinal]) -> Self {
        let count = accounts.len() as u32;
        Self { sequence, account: accounts.first().copied(), count, ..Self::default() }
    }
}

/// Why something told of accounts is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HierarchyError {
    /// There is no such account.
    #[error("there is no such account")]
    AccountUnknown,
    /// The parent is none.
    #[error("there is no such account to be the parent")]
    ParentUnknown,
    /// There is no such affiliation.
    #[error("there is no such affiliation")]
    AffiliationUnknown,
    /// It is about a source record that was erased.
    #[error("this source record was erased, and nothing that is told of it is kept; `Readmit` lets it come back")]
    Suppressed,
    /// A parent that may not be.
    #[error(transparent)]
    Parent(#[from] Refused),
    /// A stage that may not be.
    #[error(transparent)]
    Stage(#[from] StageRefused),
}

impl App {
    /// Tells something of accounts. Whole or not at all. A call that its caller named gets its first answer again.
    ///
    /// # Errors
    /// [`WriteError`] when nothing was written; [`WriteError::Hierarchy`] says what is in the way.
    pub async fn tell_accounts(
        &self,
        tenant: &Arc<Tenant>,
        act: Act,
        request: Option<RequestKey>,
    ) -> Result<Done, WriteError> {
        let tenant = Arc::clone(tenant);
        let act = Box::new(act);
        self.ask(|reply: oneshot::Sender<_>| Command::Accounts { tenant, act, request, reply }).await
    }
}
