//! What of a statement's words a reader for a purpose may see.

use onefold_core::consent::permit::Permit;
use onefold_core::consent::signal::Decoded;
use onefold_core::consent::{Signal, Statement};
use onefold_core::ids::NamespaceId;

/// The namespace of what signals name as their device.
pub const DEVICES: &str = "device_id";

/// What is shown beside what was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shows {
    /// Evidence, the way it was collected, and signals as they came: words that somebody wrote may say anything, and a consent
    /// manager's string tells of every other purpose.
    words: bool,
    /// The device or browser on which a signal was seen: an identifier.
    devices: bool,
}

impl Shows {
    /// To whoever reads for no purpose.
    pub const ALL: Self = Self { words: true, devices: true };

    /// To a purpose, by what everybody whom it is about permits; `devices` is the namespace of devices. Of nobody it is not known
    /// what they permit.
    pub fn to<'a>(permits: impl IntoIterator<Item = &'a Permit>, devices: Option<NamespaceId>) -> Self {
        let reads_devices =
            |permit: &Permit| permit.everything() || devices.is_some_and(|namespace| permit.namespace(namespace));
        let mut shows: Option<Self> = None;
        for permit in permits {
            let Self { words, devices } = shows.unwrap_or(Self::ALL);
            let words = words && permit.everything();
            shows = Some(Self { words, devices: devices && reads_devices(permit) });
        }
        shows.unwrap_or(Self { words: false, devices: false })
    }

    /// Takes out of a statement what is not shown. Answers with the fields in which there was something.
    pub fn veil(self, said: &mut Statement) -> Vec<&'static str> {
        let mut withheld = Vec::new();
        let mut take = |field: &'static str, text: &mut String| {
            if !text.is_empty() && !withheld.contains(&field) {
                withheld.push(field);
            }
            text.clear();
        };
        if !self.words {
            take("evidence", &mut said.evidence);
            take("collection_method", &mut said.method);
        }
        for signal in &mut said.signals {
            if !self.words && !says_only_its_kind(signal) {
                take("signals.raw", &mut signal.raw);
            }
            if !self.devices {
                take("signals.device", &mut signal.device);
            }
        }
        withheld
    }
}

/// A browser's signal is one digit, and says nothing but that it was given.
fn says_only_its_kind(signal: &Signal) -> bool {
    matches!(signal.decode(), Ok(Decoded::Gpc))
}

#[cfg(test)]
mod tests {
    use onefold_core::consent::contact::Reason;
    use onefold_core::consent::permit::permit;
    use onefold_core::consent::policy::{FieldScope, Purpose, Regime};
    use onefold_core::consent::state::{Effective, State};
    use onefold_core::consent::{Decision, LawfulBasis, PurposeId, SignalKind, Subject};
    use onefold_core::fragment::ObservedAt;

    use super::*;

    const DEVICE: NamespaceId = NamespaceId(3);

    fn permit_of(reads: FieldScope) -> Permit {
        let purpose = Purpose {
            id: PurposeId(0),
            name: "analytics".to_owned(),
            display_name: String::new(),
            description: String::new(),
            vocabulary_iri: String::new(),
            lawful_basis: LawfulBasis::Consent,
            default_regime: Regime::OptIn,
            regimes: Vec::new(),
            reads,
            terms: Default::default(),
        };
        let granted = Effective {
            state: State::Granted,
            decided_by: Vec::new(),
            suppressed_by: Vec::new(),
            restricted_by: Vec::new(),
        };
        let given = permit(&purpose, &[], &granted, Regime::OptIn).unwrap();
        assert!(given.why().iter().all(Reason::allows));
        given
    }

    fn said() -> Statement {
        let signal = |kind, raw: &str, device: &str| Signal {
            kind,
            raw: raw.to_owned(),
            seen_at: None,
            device: device.to_owned(),
        };
        Statement {
            subject: Subject::Identifier { namespace: DEVICE, raw: None },
            points: Vec::new(),
            purpose: Some(PurposeId(0)),
            channel: None,
            decision: Decision::Granted,
            lawful_basis: LawfulBasis::Consent,
            jurisdiction: None,
            notice: String::new(),
            language: String::new(),
            source: None,
            method: "call to +12127365000".to_owned(),
            evidence: "mail of ada@harbour-mail.net".to_owned(),
            given_at: ObservedAt(0),
            expires_at: None,
            confirmed_at: None,
            recorded_at: ObservedAt(0),
            confirms: None,
            signals: vec![signal(SignalKind::Gpc, "1", "canary-77"), signal(SignalKind::Tcf, "COtybn4PA", "")],
            undated: false,
        }
    }

    #[test]
    fn words_and_devices_are_shown_to_what_may_read_them() {
        let few = permit_of(FieldScope::default());
        let devices = permit_of(FieldScope { namespaces: vec![DEVICE], ..FieldScope::default() });
        let all = permit_of(FieldScope { all: true, ..FieldScope::default() });
        let table: &[(&[&Permit], &[&str])] = &[
            (&[&all], &[]),
            (&[&devices], &["evidence", "collection_method", "signals.raw"]),
            (&[&few], &["evidence", "collection_method", "signals.device", "signals.raw"]),
            (&[&all, &few], &["evidence", "collection_method", "signals.device", "signals.raw"]),
            (&[&all, &devices], &["evidence", "collection_method", "signals.raw"]),
            (&[], &["evidence", "collection_method", "signals.device", "signals.raw"]),
        ];
        for (permits, want) in table {
            let mut veiled = said();
            let shows = Shows::to(permits.iter().copied(), Some(DEVICE));
            assert_eq!(shows.veil(&mut veiled), *want);
            let hidden = |field: &str| want.contains(&field);
            assert_eq!(veiled.evidence.is_empty(), hidden("evidence"));
            assert_eq!(veiled.method.is_empty(), hidden("collection_method"));
            assert_eq!(veiled.signals[0].device.is_empty(), hidden("signals.device"));
            assert_eq!(veiled.signals[1].raw.is_empty(), hidden("signals.raw"));
            assert_eq!(veiled.signals[0].raw, "1", "that there was a signal is no secret");
        }
        let mut whole = said();
        assert!(Shows::ALL.veil(&mut whole).is_empty() && whole == said());
        assert_eq!(Shows::to([&few], None).veil(&mut said()).len(), 4, "a tenant without devices reads none");
    }
}
