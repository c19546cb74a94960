//! What callers ask for, on its way into the lane.

use std::sync::Arc;

use onefold_core::consent::PurposeId;
use onefold_core::erasure::{CallbackEnded, PrivacyPolicy, PrivacyRequest, Regulation, RequestKind, Subject};
use onefold_core::ids::{Digest128, Sequence};
use onefold_core::reads::{ReadLogMark, ReadLogPolicy, Reader};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::app::App;
use crate::app::error::WriteError;
use crate::app::ingest::Arriving;
use crate::app::lane::Command;
use crate::app::requests::RequestKey;
use crate::app::tenant::Tenant;

/// A request comes from a controller.
#[derive(Clone, Debug)]
pub struct Forwarding {
    /// The controller's number for it.
    pub number: [u8; 16],
    /// Keyed digest of all that it sent.
    pub content: Digest128,
    /// Whom to call when the status changes.
    pub callbacks: Vec<String>,
}

/// One step.
#[derive(Clone, Debug)]
pub enum Act {
    /// A request came in.
    Create {
        /// What is asked for.
        kind: RequestKind,
        /// Under which law.
        regulation: Regulation,
        /// The caller's number.
        reference: String,
        /// Whom it is about.
        subject: Subject,
        /// When it came in.
        received_at: onefold_core::fragment::ObservedAt,
        /// From which controller, where one forwarded it. A number that is known brings nothing new.
        forwarding: Option<Forwarding>,
    },
    /// It is the person's.
    Verify {
        /// Which request.
        id: Sequence,
        /// How.
        method: String,
        /// Who.
        by: String,
    },
    /// Somebody says yes to a scope.
    Approve {
        /// Which request.
        id: Sequence,
        /// Who.
        by: String,
        /// To which scope.
        scope: Digest128,
    },
    /// Carry it out.
    Execute {
        /// Which request.
        id: Sequence,
        /// The scope that the caller saw.
        scope: Digest128,
    },
    /// What is held was handed over.
    Deliver {
        /// Which request.
        id: Sequence,
        /// The scope that the caller saw.
        scope: Digest128,
        /// To whom it went.
        to: String,
        /// BLAKE3 of the text.
        digest: [u8; 32],
        /// Its length in bytes.
        bytes: u64,
    },
    /// Keep and do not use from now on.
    Restrict {
        /// Which request.
        id: Sequence,
        /// The scope that the caller saw.
        scope: Digest128,
        /// Who does it.
        by: String,
    },
    /// End a restriction.
    Lift {
        /// Which request restricted.
        id: Sequence,
        /// Who does it.
        by: String,
        /// Why.
        ground: String,
    },
    /// Write down a no to uses.
    Object {
        /// Which request.
        id: Sequence,
        /// The scope that the caller saw.
        scope: Digest128,
        /// Who does it.
        by: String,
        /// To which; none: those that the request's kind means.
        purposes: Vec<PurposeId>,
    },
    /// Correct.
    Rectify {
        /// Which request.
        id: Sequence,
        /// The scope that the caller saw.
        scope: Digest128,
        /// Who does it.
        by: String,
        /// What is right, as a record of the steward's own.
        arriving: Box<Arriving>,
        /// So many values.
        values: u32,
    },
    /// More time.
    Extend {
        /// Which request.
        id: Sequence,
        /// Why.
        ground: String,
    },
    /// Not done.
    Refuse {
        /// Which request.
        id: Sequence,
        /// Why.
        ground: String,
    },
    /// Taken back.
    Cancel {
        /// Which request.
        id: Sequence,
        /// Why.
        ground: String,
    },
    /// Taken back by the controller that forwarded it: as long as nobody acts on it, which is judged where it is written.
    TakeBack {
        /// Which request.
        id: Sequence,
        /// Why.
        ground: String,
    },
    /// A consumer erased too.
    Confirm {
        /// Which request.
        id: Sequence,
        /// Who.
        consumer: String,
    },
    /// Let come back.
    Readmit {
        /// What.
        digests: Vec<Digest128>,
        /// Who.
        by: String,
        /// Why.
        ground: String,
        /// Whose call it is.
        caller: Reader,
    },
    /// Other wishes, of requests and of the log of reads; and whose call it is.
    SetPolicy(PrivacyPolicy, ReadLogPolicy, Reader),
    /// The log of reads ends here.
    MarkReads(ReadLogMark),
    /// A controller was told of a change, or is told no more of it.
    EndCallback(CallbackEnded),
}

/// What came of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// The request as it stands then.
    pub request: Option<PrivacyRequest>,
    /// How many were let come back.
    pub count: u64,
    /// Where in the order of events.
    pub sequence: Sequence,
}

/// Where the answer goes.
pub type Answer = oneshot::Sender<Result<Done, WriteError>>;

/// A step for the lane.
pub struct Work {
    /// Whose.
    pub tenant: Arc<Tenant>,
    /// What.
    pub act: Act,
    /// The call's name, where its caller gave it one.
    pub request: Option<RequestKey>,
    /// What came of it.
    pub reply: Answer,
}

impl App {
    /// Takes a step. Whole or not at all; an erasure that was begun is carried to its end even if the server dies.
    ///
    /// # Errors
    /// [`WriteError`] when nothing was done; [`WriteError::Privacy`] says what is in the way.
    pub async fn privacy(
        &self,
        tenant: &Arc<Tenant>,
        act: Act,
        request: Option<RequestKey>,
    ) -> Result<Done, WriteError> {
        let tenant = Arc::clone(tenant);
        self.ask(|reply| Command::Privacy(Box::new(Work { tenant, act, request, reply }))).await
    }
}
