//! What the person allowed and forbade, what it comes to, and the contacts that were allowed.

use std::io::Write;

use onefold_core::consent::signal::SignalKind;
use onefold_core::consent::{ChannelId, PurposeId, Statement as Said, Subject};
use onefold_core::ids::{Digest128, Sequence};

use super::document::{Contact, Effective, Identifier, Signal, Statement, Text, Withheld, Words, time};
use super::held::standing;
use super::{ExportError, Making};
use crate::app::consent::read::{AsOf, Who, holdings, statement_at};
use crate::app::error::ReadError;
use crate::app::read::ProfileKey;

const fn kind(kind: SignalKind) -> &'static str {
    match kind {
        SignalKind::Gpc => "GPC",
        SignalKind::Tcf => "TCF",
        SignalKind::Gpp => "GPP",
    }
}

impl Making<'_> {
    fn purpose(&self, purpose: PurposeId) -> String {
        self.config().config.consent.purpose(purpose).map(|known| known.name.clone()).unwrap_or_default()
    }

    fn channel(&self, channel: ChannelId) -> String {
        self.config().config.consent.channel(channel).map(|known| known.name.clone()).unwrap_or_default()
    }

    pub(super) fn statements<W: Write>(&mut self, text: &mut Text<'_, W>) -> Result<(), ExportError> {
        self.veil.enter("statements");
        text.list("statements", |put| {
            for (entry, points, wholly) in &self.picture.statements {
                if !self.listed.contains(&entry.id) {
                    self.veil.count("a statement", Withheld::WhoseIsUnsure);
                    continue;
                }
                let mut shown = Statement {
                    sequence: entry.id.0,
                    given_time: time(entry.given_at),
                    recorded_time: time(entry.recorded_at),
                    expire_time: entry.expires_at.map(time),
                    purpose: entry.purpose.map(|purpose| self.purpose(purpose)),
                    channel: entry.channel.map(|channel| self.channel(channel)),
                    decision: entry.decision.as_str(),
                    jurisdiction: entry.jurisdiction.map(|law| law.as_str().to_owned()),
                    confirmed_by: entry.confirmed_by.filter(|by| self.is_listed(*by)).map(|by| by.0),
                    words: None,
                    withheld: None,
                };
                if self.picture.of_others.said(entry.id, points) {
                    shown.withheld = Some(Withheld::NamesSomebodyElse);
                    self.veil.count("the words of a statement", Withheld::NamesSomebodyElse);
                } else if *wholly {
                    let said = statement_at(&self.app.shared, &self.tenant.vault, entry)?;
                    shown.words = said.map(|said| self.words(said));
                } else {
                    shown.withheld = Some(Withheld::SaidOfOthersToo);
                    self.veil.count("the words of a statement", Withheld::SaidOfOthersToo);
                }
                put(shown)?;
            }
            Ok::<_, ExportError>(())
        })?;
        for _ in 0..self.picture.statements_at_shared {
            self.veil.count("a statement at a shared identifier", Withheld::HeldByOthers);
        }
        Ok(())
    }

    /// What was said with a fragment in quarantine and waits with it. The words are shown where they are of nobody else.
    pub(super) fn waiting(&mut self, fragment: Sequence, says: Vec<Said>, points: &[Digest128]) -> Vec<Statement> {
        let mut shown = Vec::with_capacity(says.len());
        for said in says {
            let wholly = said.points.iter().all(|point| points.contains(point));
            let mut statement = Statement {
                sequence: fragment.0,
                given_time: time(said.given_at),
                recorded_time: time(said.recorded_at),
                expire_time: said.expires_at.map(time),
                purpose: said.purpose.map(|purpose| self.purpose(purpose)),
                channel: said.channel.map(|channel| self.channel(channel)),
                decision: said.decision.as_str(),
                jurisdiction: said.jurisdiction.map(|law| law.as_str().to_owned()),
                ..Statement::default()
            };
            if wholly {
                statement.words = Some(self.words(said));
            } else {
                statement.withheld = Some(Withheld::SaidOfOthersToo);
                self.veil.count("the words of a statement", Withheld::SaidOfOthersToo);
            }
            shown.push(statement);
        }
        shown
    }

    /// Whether a statement that something names is in the text; counts it where it is not.
    fn is_listed(&mut self, id: Sequence) -> bool {
        let is = self.listed.contains(&id);
        if !is {
            let unsure = self.picture.statements.iter().any(|(entry, ..)| entry.id == id);
            let reason = if unsure { Withheld::WhoseIsUnsure } else { Withheld::HeldByOthers };
            self.veil.count("which statement it was", reason);
        }
        is
    }

    fn words(&mut self, said: Said) -> Words {
        let (subject, identifier, record) = match &said.subject {
            Subject::Profile(_) => ("PROFILE", None, None),
            Subject::Record(record) => ("RECORD", None, Some(self.named(record))),
            Subject::Identifier { namespace, raw } => {
                let shown = raw.as_ref().map(|raw| Identifier {
                    namespace: self.veil.namespace(*namespace),
                    value: self.veil.value(*namespace, raw),
                });
                ("IDENTIFIER", shown, None)
            }
        };
        let signal = |signal: onefold_core::consent::Signal| Signal {
            kind: kind(signal.kind),
            text: signal.raw,
            seen_time: signal.seen_at.map(time),
            device: signal.device,
        };
        Words {
            subject,
            identifier,
            record,
            lawful_basis: said.lawful_basis.as_str(),
            source: said.source.map(|source| self.source(source)),
            evidence: self.veil.text("the evidence of a statement", &said.evidence),
            notice: said.notice,
            language: said.language,
            method: said.method,
            signals: said.signals.into_iter().map(signal).collect(),
        }
    }

    /// What holds for every purpose and channel, profile by profile.
    pub(super) fn effective<W: Write>(&mut self, text: &mut Text<'_, W>) -> Result<(), ExportError> {
        let policy = &self.config().config.consent;
        let channels = || policy.channels.iter().map(|channel| Some(channel.id)).chain([None]);
        let asked: Vec<(PurposeId, Option<ChannelId>)> =
            policy.purposes.iter().flat_map(|purpose| channels().map(move |channel| (purpose.id, channel))).collect();
        self.veil.enter("effective_consent");
        text.list("effective_consent", |put| {
            for (profile, _) in &self.picture.profiles {
                let key = ProfileKey::Id(self.tenant.profile_id(*profile));
                let who = Who { key, points: Vec::new() };
                let found = match holdings(self.app, self.tenant, &who, &asked, AsOf::default()) {
                    Ok(found) => found.seen,
                    Err(ReadError::ProfileUnknown | ReadError::ProfileEmptied) => continue,
                    Err(error) => return Err(error.into()),
                };
                for holding in found {
                    let mut ids = |of: &[Sequence]| {
                        of.iter().filter(|id| self.is_listed(**id)).map(|id| id.0).collect::<Vec<_>>()
                    };
                    let decided_by = ids(&holding.effective.decided_by);
                    let suppressed_by = ids(&holding.effective.suppressed_by);
                    let restricted_by = ids(&holding.effective.restricted_by);
                    put(Effective {
                        profile: self.profile_id(*profile),
                        purpose: self.purpose(holding.purpose),
                        channel: holding.channel.map(|channel| self.channel(channel)),
                        state: holding.effective.state.as_str(),
                        decided_by,
                        suppressed_by,
                        restricted_by,
                    })?;
                }
            }
            Ok(())
        })
    }

    pub(super) fn contacts<W: Write>(&mut self, text: &mut Text<'_, W>) -> Result<(), ExportError> {
        self.veil.enter("contacts");
        text.list("contacts", |put| {
            for (id, (at, contact)) in &self.history.contacts {
                if !self.are_theirs(&contact.charged) {
                    self.veil.count("a contact", Withheld::WhoseIsUnsure);
                    continue;
                }
                put(Contact {
                    sequence: id.0,
                    decided_time: time(*at),
                    purpose: self.purpose(contact.purpose),
                    channel: self.channel(contact.channel),
                    contact_time: time(contact.at),
                    standing: standing(contact.standing),
                })?;
            }
            Ok(())
        })
    }
}
