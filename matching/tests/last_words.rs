//! LAW 2: what a retracted record held last follows from what was said of it, in whatever order it came.

use onefold_core::decision::LateVersion;
use onefold_core::fragment::{ObservedAt, PartyKind};
use onefold_core::ids::{Digest128, NamespaceId, Place, SlotId, SourceId};
use onefold_matching::prepared::{LinkValue, Prepared};
use onefold_matching::resolve::{Arrival, Engine, LinkRules};
use proptest::prelude::*;

const RECORD: Digest128 = Digest128([7; 16]);
const PLACE: Place = Place { segment: 1, offset: 1 };

#[derive(Clone, Debug)]
enum Word {
    Put { at: i64, value: u8 },
    Retract { at: i64 },
}

fn prepared(at: i64, value: u8) -> Prepared {
    // Nought is a fragment without identifiers.
    let links = (value > 0).then_some(LinkValue { namespace: NamespaceId(6), digest: Digest128([value; 16]) });
    Prepared {
        plain: Vec::new(),
        record: RECORD,
        facts: Digest128([value + 100; 16]),
        source: SourceId(0),
        observed_at: ObservedAt(at),
        party: PartyKind::Person,
        links: links.into_iter().collect(),
        name: None,
        features: None,
        corrects: false,
    }
}

/// Whether the record is live, what it holds or held last, and which version that is.
fn told(words: &[Word], reload: usize) -> (bool, Vec<LinkValue>, Option<(ObservedAt, Digest128)>) {
    let rules = || LinkRules::of(&onefold_core::config::TenantConfig::new("t", "T"));
    let mut engine = Engine::new(rules());
    for (at, word) in words.iter().enumerate() {
        match word {
            Word::Put { at, value } => {
                let fragment = prepared(*at, *value);
                let live = engine.record(RECORD).is_none_or(|view| view.live);
                if engine.put(&fragment, PLACE, SlotId(1)) == Arrival::Superseded && !live {
                    let values = fragment.links.iter().map(|link| (link.namespace, link.digest)).collect();
                    let (observed_at, facts) = (fragment.observed_at, fragment.facts);
                    engine.came_late(&LateVersion { record: RECORD, observed_at, facts, values }, SlotId(1));
                }
            }
            Word::Retract { at } => {
                engine.retract(RECORD, ObservedAt(*at), PLACE);
            }
        }
        if at == reload {
            engine.settle();
            let mut sections = std::collections::BTreeMap::new();
            let written: Result<(), ()> = engine.write_to(&mut |name, bytes| {
                sections.insert(name.to_owned(), bytes.to_vec());
                Ok(())
            });
            assert!(written.is_ok());
            engine = Engine::read_from(rules(), &mut |name| sections.get(name).cloned()).expect("it was just written");
        }
    }
    let live = engine.record(RECORD).is_some_and(|view| view.live);
    let held = if live { engine.links_of(RECORD) } else { engine.last_links_of(RECORD) };
    (live, held, engine.last_version_of(RECORD))
}

fn words() -> impl Strategy<Value = Vec<Word>> {
    let word = prop_oneof![
        3 => (0..6i64, 0..4u8).prop_map(|(at, value)| Word::Put { at, value }),
        1 => (0..7i64).prop_map(|at| Word::Retract { at }),
    ];
    proptest::collection::vec(word, 1..9)
}

proptest! {
    #[test]
    fn what_was_held_last_depends_on_no_order(
        (one, other) in words().prop_flat_map(|words| (Just(words.clone()), Just(words).prop_shuffle())),
        reload in 0..9usize,
    ) {
        prop_assert_eq!(told(&one, usize::MAX), told(&other, reload));
    }
}

/// Where the key of before cannot be read, what comes late is sealed under another, and that is the one to destroy.
#[test]
fn what_comes_late_says_under_which_key_it_lies() {
    let mut engine = Engine::new(LinkRules::of(&onefold_core::config::TenantConfig::new("t", "T")));
    engine.put(&prepared(1, 1), PLACE, SlotId(1));
    engine.retract(RECORD, ObservedAt(5), PLACE);
    let late = |at, value| LateVersion {
        record: RECORD,
        observed_at: ObservedAt(at),
        facts: Digest128([value + 100; 16]),
        values: vec![(NamespaceId(6), Digest128([value; 16]))],
    };
    assert!(engine.came_late(&late(3, 2), SlotId(9)));
    assert_eq!(engine.record(RECORD).and_then(|view| view.slot), Some(SlotId(9)));
    assert!(!engine.came_late(&late(2, 3), SlotId(4)), "it is not the last");
    assert_eq!(engine.record(RECORD).and_then(|view| view.slot), Some(SlotId(9)));
}
