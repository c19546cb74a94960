//! Everything that is held about a person, as one text: for access (GDPR Art. 15), or what the person provided, for
//! portability (Art. 20).
//!
//! The scope is [`plan`](super::plan)'s, as of an erasure. [`held`] finds what is kept, [`veil`] withholds what is
//! somebody else's too, [`document`] is the shape of the text, the rest fills it in. The text is written piece by piece;
//! no more than one profile is held at a time.

mod consent;
pub mod document;
mod held;
mod records;
mod told;
mod veil;

use std::collections::HashSet;
use std::io::{self, Write};

use onefold_core::erasure::{ErasurePlan, PrivacyRequest, RequestKind};
use onefold_core::fragment::Vocabulary as _;
use onefold_core::ids::{Digest128, ProfileOrdinal, Sequence, SourceId};

use self::document::{Asked, Disclosure, Suppression, Text, time};
use self::held::{History, Picture};
use self::veil::Veil;
use super::receipt;
use crate::app::App;
use crate::app::error::{ReadError, WriteError};
use crate::app::reads::{self, How, What};
use crate::app::tenant::{LiveConfig, Tenant};

/// Exports that are written at once; further ones wait.
pub const AT_ONCE_MAX: usize = 2;

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// BLAKE3 of the text.
    pub digest: blake3::Hash,
    /// Its length.
    pub bytes: u64,
}

/// Why there is no whole text.
#[derive(Debug)]
pub enum ExportError {
    /// Nothing is handed over.
    Refused(WriteError),
    /// The tenant wants no read that is not in the log of reads, and the log cannot be written.
    NotLogged,
    /// The reader is gone.
    Gone,
}

impl From<WriteError> for ExportError {
    fn from(error: WriteError) -> Self {
        Self::Refused(error)
    }
}

impl From<ReadError> for ExportError {
    fn from(error: ReadError) -> Self {
        if matches!(error, ReadError::NotLogged) {
            return Self::NotLogged;
        }
        if !matches!(error, ReadError::Damaged(_)) {
            tracing::error!(error = %error, "an export cannot be read");
        }
        Self::Refused(error.into())
    }
}

impl From<io::Error> for ExportError {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

/// Counts and digests what passes.
struct Digesting<'a, W> {
    out: &'a mut W,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl<W: Write> Write for Digesting<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// How many statements a plan leaves out, since they stand at identifiers that others hold too.
pub fn statements_at_shared(tenant: &Tenant, plan: &ErasurePlan) -> u32 {
    held::statements_at_shared(&tenant.state(), plan) as u32
}

/// What the parts of the text are made from.
struct Making<'a> {
    app: &'a App,
    tenant: &'a Tenant,
    picture: &'a Picture,
    history: &'a History,
    veil: Veil<'a>,
    /// Keyed digests of what is this person's for sure: records, and identifiers that nobody else holds.
    points: HashSet<Digest128>,
    /// The statements that are shown.
    listed: HashSet<Sequence>,
}

impl Making<'_> {
    fn config(&self) -> &LiveConfig {
        &self.picture.config
    }

    /// Whether any of these is this person's for sure.
    fn are_theirs(&self, points: &[Digest128]) -> bool {
        points.iter().any(|point| self.points.contains(point))
    }

    fn source(&self, source: SourceId) -> String {
        self.config().config.source(source).to_owned()
    }
}

/// Writes what is held about whom a request is about, as of now, with the scope that the caller saw. Changes nothing:
/// that it was handed over is written down by the lane, which looks at the scope again. Not for asynchronous threads.
///
/// # Errors
/// [`ExportError`].
pub fn write(
    app: &App,
    tenant: &Tenant,
    (id, scope): (Sequence, Digest128),
    who: How,
    out: &mut impl Write,
) -> Result<Done, ExportError> {
    let picture = Picture::take(tenant, id, scope)?;
    let history = History::read(&app.shared, tenant, &picture)?;
    let (veil, points) = (Veil::new(&picture.config, tenant, picture.scope()), picture.points.clone());
    let mut making = Making { app, tenant, picture: &picture, history: &history, veil, points, listed: HashSet::new() };
    making.learn()?;
    let listed = picture.statements.iter().filter(|(_, points, _)| making.are_theirs(points));
    making.listed = listed.map(|(entry, ..)| entry.id).collect();
    // Handing over is a read too.
    let shown = picture.profiles.iter().map(|(profile, _)| What::Profile(*profile));
    app.shared.reads.note(tenant, who, shown)?;
    let mut out = Digesting { out, hasher: blake3::Hasher::new(), bytes: 0 };
    making.all(&mut out)?;
    out.flush()?;
    Ok(Done { digest: out.hasher.finalize(), bytes: out.bytes })
}

impl Making<'_> {
    fn all(&mut self, out: &mut impl Write) -> Result<(), ExportError> {
        let asked = &self.picture.asked;
        let mut text = Text::open(out)?;
        let provided_only = asked.kind == RequestKind::Portability;
        text.put("format", if provided_only { &"onefold-portability-export" } else { &"onefold-access-export" })?;
        text.put("format_version", &document::FORMAT_VERSION)?;
        text.put("software", &format!("onefold {}", env!("CARGO_PKG_VERSION")))?;
        text.put("tenant", &self.tenant.name)?;
        text.put("controller", &self.config().config.consent.controller)?;
        text.put("request", &receipt::name(&self.tenant.name, asked.id))?;
        text.put("reference", &asked.reference)?;
        text.put("regulation", &asked.regulation.as_str())?;
        text.put("received_time", &time(asked.received_at))?;
        text.put("exported_time", &time(self.app.now()))?;
        text.put("sequence", &self.picture.sequence.0)?;
        if !provided_only {
            self.profiles(&mut text)?;
        }
        self.records(&mut text, provided_only)?;
        self.statements(&mut text)?;
        if !provided_only {
            self.quarantined(&mut text)?;
            self.effective(&mut text)?;
            self.contacts(&mut text)?;
            self.accounts(&mut text)?;
            self.judgements(&mut text)?;
            self.requests(&mut text)?;
            self.suppressions(&mut text)?;
            self.disclosures(&mut text)?;
        }
        text.put("withheld", &self.veil.counts())?;
        Ok(text.close()?)
    }

    /// Privacy requests that named the person, this one included.
    fn requests<W: Write>(&mut self, text: &mut Text<'_, W>) -> Result<(), ExportError> {
        text.list("requests", |put| {
            for id in &self.history.asked {
                let found = {
                    let state = self.tenant.state();
                    state.privacy.requests.get(id).cloned().map(|asked| (asked, state.privacy.exports.get(id).cloned()))
                };
                if let Some((asked, exported)) = found {
                    put(shown(&self.tenant.name, &asked, exported.map(|exported| exported.to)))?;
                }
            }
            Ok(())
        })
    }
}

impl Making<'_> {
    /// What is kept of the person so that nothing of them comes back.
    fn suppressions<W: Write>(&mut self, text: &mut Text<'_, W>) -> Result<(), ExportError> {
        text.list("suppressions", |put| {
            for (one, resends_stopped) in &self.picture.suppressions {
                put(Suppression {
                    namespace: one.namespace.map(|namespace| self.veil.namespace(namespace)),
                    since_time: time(one.created_at),
                    review_time: time(one.review_at),
                    request: receipt::name(&self.tenant.name, one.request),
                    resends_stopped: *resends_stopped,
                })?;
            }
            Ok(())
        })
    }

    /// Who was shown the person's data, as far back as the log of reads is kept.
    fn disclosures<W: Write>(&mut self, text: &mut Text<'_, W>) -> Result<(), ExportError> {
        let profiles: Vec<ProfileOrdinal> = self.picture.profiles.iter().map(|(profile, _)| *profile).collect();
        let entries: Vec<Sequence> = self.picture.quarantined.iter().map(|(entry, ..)| *entry).collect();
        let purpose = |purpose| self.config().config.consent.purpose(purpose).map(|known| known.name.clone());
        text.list("disclosures", |put| {
            reads::list::of_person(&self.app.shared, self.tenant, &profiles, &entries, &mut |reads, times| {
                put(Disclosure {
                    from_time: time(reads.from),
                    until_time: time(reads.until),
                    reader: reads.reader.to_string(),
                    call: reads.call.as_str(),
                    purpose: reads.purpose.and_then(purpose),
                    times,
                })
            })
        })
    }
}

fn shown(tenant: &str, asked: &PrivacyRequest, delivered_to: Option<String>) -> Asked {
    Asked {
        name: receipt::name(tenant, asked.id),
        kind: asked.kind.as_str(),
        regulation: asked.regulation.as_str(),
        state: asked.state.to_string(),
        received_time: time(asked.received_at),
        end_time: asked.ended_at.map(time),
        delivered_to,
    }
}
