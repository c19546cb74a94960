//! What is withheld: values that are somebody else's too.
//!
//! Which these are is learned from all identifiers that will be shown, superseded and quarantined ones included: by the
//! rule by which a preview marks them. Then every text is looked at before it is shown: one that reads as such a value,
//! or has one in it as it was typed, or a number of it without its country, whatever digits stand beside it, is withheld as
//! well, wherever it stands.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use onefold_core::fragment::{Fragment, Identifier, PartyKind};
use onefold_core::ids::{Digest128, NamespaceId};
use onefold_core::namespace::{Namespace, NamespaceClass, Normaliser};
use onefold_matching::prepare::Preparer;
use onefold_matching::prepared::LinkValue;

use super::document::{Shown, Withheld, WithheldCount};
use crate::app::tenant::{LiveConfig, State, Tenant};

/// Shorter texts are not searched for inside others: they would be found everywhere.
const WORD_CHARS_MIN: usize = 5;

/// A telephone number's last digits that are enough to know it by.
const DIGITS_MIN: usize = 6;
/// As many where other digits stand right beside them.
const DIGITS_AMONG_OTHERS_MIN: usize = 7;
/// Digits of a country in front of a number.
const COUNTRY_DIGITS_MAX: usize = 3;

/// Knows what is withheld, and counts it.
pub struct Veil<'a> {
    config: &'a LiveConfig,
    /// By keyed digest; `None` is the person's own.
    known: HashMap<Digest128, Option<Withheld>>,
    /// Namespaces with withheld values.
    namespaces: BTreeSet<NamespaceId>,
    /// Withheld values as they were typed, folded.
    words: BTreeMap<String, Withheld>,
    /// Those of them that are numbers: their digits.
    numbers: Vec<(String, Withheld)>,
    part: &'static str,
    counts: BTreeMap<(&'static str, String, Withheld), u32>,
}

/// A claim as its own fragment reads it: a telephone number belongs to the fragment's country.
fn digest_of(preparer: &Preparer, fragment: &Fragment, claim: &Identifier) -> Option<Digest128> {
    let alone = Fragment { identifiers: vec![claim.clone()], ..fragment.clone() };
    let points = preparer.contact_points(&alone);
    match (fragment.party, points.as_slice()) {
        (PartyKind::Person, [person, _]) => Some(*person),
        (PartyKind::Organisation, [_, organisation]) => Some(*organisation),
        _ => None,
    }
}

fn folded(text: &str) -> String {
    text.trim().to_lowercase()
}

/// The digits that stand together in a text, parted where it has letters: in each part, groups of digits and nothing else.
fn runs(text: &str) -> impl Iterator<Item = Vec<&str>> {
    fn groups(run: &str) -> Vec<&str> {
        run.split(|character: char| !character.is_ascii_digit()).filter(|group| !group.is_empty()).collect()
    }
    text.split(char::is_alphabetic).map(groups).filter(|groups| !groups.is_empty())
}

/// The numbers in a text that are long enough for a telephone's: their digits, without zeroes in front.
fn numbers(text: &str) -> impl Iterator<Item = String> + '_ {
    let numbers = runs(text).map(|groups| groups.concat().trim_start_matches('0').to_owned());
    numbers.filter(|digits| digits.len() >= DIGITS_MIN)
}

/// Noughts in front of a number that are looked past.
const ZEROES_MAX: usize = 8;

/// Whether a number is among these groups of digits: some of them that stand together are all of it, or its end; or its
/// digits, but perhaps for those of its country, stand between others.
fn is_among(known: &str, groups: &[&str]) -> bool {
    for from in 0..groups.len() {
        let mut digits = String::new();
        for group in &groups[from..] {
            digits.push_str(group);
            let number = digits.trim_start_matches('0');
            if number.len() > known.len() || digits.len() > known.len() + ZEROES_MAX {
                break;
            }
            if number.len() >= DIGITS_MIN && known.ends_with(number) {
                return true;
            }
        }
    }
    let all = groups.concat();
    let tails = (1..=COUNTRY_DIGITS_MAX).filter_map(|country| known.get(country..));
    let tails = tails.filter(|tail| tail.len() >= DIGITS_AMONG_OTHERS_MIN);
    std::iter::once(known).chain(tails).any(|tail| all.contains(tail))
}

impl<'a> Veil<'a> {
    /// Withholds nothing yet.
    pub fn new(config: &'a LiveConfig) -> Self {
        Self {
            config,
            known: HashMap::new(),
            namespaces: BTreeSet::new(),
            words: BTreeMap::new(),
            numbers: Vec::new(),
            part: "",
            counts: BTreeMap::new(),
        }
    }

    /// Looks at the identifiers of a fragment that will be shown. `scope` are the ordinals of the person's records.
    pub fn learn(&mut self, tenant: &Tenant, fragment: &Fragment, scope: &HashSet<u32>) {
        let config = self.config;
        let claims: Vec<(&Identifier, Digest128)> = fragment
            .identifiers
            .iter()
            .filter_map(|claim| Some((claim, digest_of(config.preparer(), fragment, claim)?)))
            .collect();
        let state = tenant.state();
        for (claim, digest) in claims {
            self.learn_value(&state, claim, digest, scope);
        }
    }

    fn learn_value(&mut self, state: &State, claim: &Identifier, digest: Digest128, scope: &HashSet<u32>) {
        let reason = *self.known.entry(digest).or_insert_with(|| {
            let class = self.config.config.namespace(claim.namespace).map(|namespace| namespace.class);
            let held = state.engine.held_beyond(LinkValue { namespace: claim.namespace, digest }, scope);
            match class {
                None | Some(NamespaceClass::Supporting) => None,
                _ if held.generic => Some(Withheld::NamesNobody),
                _ if held.shared => Some(Withheld::HeldByOthers),
                _ => None,
            }
        });
        if let Some(reason) = reason {
            self.namespaces.insert(claim.namespace);
            self.words.insert(folded(&claim.raw), reason);
            let is_phone = |namespace: &Namespace| namespace.normaliser == Normaliser::Phone;
            let is_phone = self.config.config.namespace(claim.namespace).is_some_and(is_phone);
            // A telephone number may say in words where it is extended to.
            if is_phone || !claim.raw.contains(char::is_alphabetic) {
                self.numbers.extend(numbers(&claim.raw).map(|digits| (digits, reason)));
            }
        }
    }

    /// What is shown from now on stands in this part of the text.
    pub fn enter(&mut self, part: &'static str) {
        self.part = part;
    }

    /// Counts something that is withheld.
    pub fn count(&mut self, what: &str, reason: Withheld) {
        *self.counts.entry((self.part, what.to_owned(), reason)).or_default() += 1;
    }

    /// All that was withheld.
    pub fn counts(&self) -> Vec<WithheldCount> {
        let count = |((part, what, reason), count): (&(&'static str, String, Withheld), &u32)| WithheldCount {
            part,
            what: what.clone(),
            reason: *reason,
            count: *count,
        };
        self.counts.iter().map(count).collect()
    }

    /// Why a text is withheld, if it is.
    fn reason(&self, text: &str) -> Option<Withheld> {
        if self.words.is_empty() {
            return None;
        }
        let folded = folded(text);
        if let Some(reason) = self.words.get(&folded) {
            return Some(*reason);
        }
        let inside =
            |(word, _): &(&String, &Withheld)| word.chars().count() >= WORD_CHARS_MIN && folded.contains(*word);
        if let Some((_, reason)) = self.words.iter().find(inside) {
            return Some(*reason);
        }
        for groups in runs(text) {
            if let Some((_, reason)) = self.numbers.iter().find(|(known, _)| is_among(known, &groups)) {
                return Some(*reason);
            }
        }
        let preparer = self.config.preparer();
        let read = self.namespaces.iter().flat_map(|namespace| {
            [PartyKind::Person, PartyKind::Organisation]
                .into_iter()
                .filter_map(|party| preparer.contact_point(*namespace, party, text).ok())
        });
        let mut reasons = read.filter_map(|value| self.known.get(&value.digest).copied().flatten());
        reasons.next()
    }

    /// An identifier's value.
    pub fn identifier(&mut self, fragment: &Fragment, claim: &Identifier) -> Shown<String> {
        let digest = digest_of(self.config.preparer(), fragment, claim);
        let reason = digest.and_then(|digest| self.known.get(&digest).copied().flatten());
        let name = self.namespace(claim.namespace);
        self.shown(&name, reason.or_else(|| self.reason(&claim.raw)), || claim.raw.clone())
    }

    /// An identifier's value outside of a fragment.
    pub fn value(&mut self, namespace: NamespaceId, text: &str) -> Shown<String> {
        let name = self.namespace(namespace);
        self.shown(&name, self.reason(text), || text.to_owned())
    }

    /// A text of any other kind; `what` says which.
    pub fn text(&mut self, what: &str, text: &str) -> Shown<String> {
        self.shown(what, self.reason(text), || text.to_owned())
    }

    fn shown<T>(&mut self, what: &str, reason: Option<Withheld>, value: impl FnOnce() -> T) -> Shown<T> {
        match reason {
            None => Shown::Value(value()),
            Some(withheld) => {
                self.count(what, withheld);
                Shown::Withheld { withheld }
            }
        }
    }

    /// Free-form traits: texts inside of them, and names, are looked at one by one.
    pub fn traits(&mut self, text: &str) -> serde_json::Value {
        match serde_json::from_str(text) {
            Ok(value) => self.inside(value),
            Err(_) => self.inside(serde_json::Value::String(text.to_owned())),
        }
    }

    fn inside(&mut self, value: serde_json::Value) -> serde_json::Value {
        use serde_json::Value;
        match value {
            Value::String(text) => match self.text("a trait", &text) {
                Shown::Value(text) => Value::String(text),
                Shown::Withheld { withheld } => serde_json::json!({ "withheld": withheld }),
            },
            Value::Number(number) => match self.reason(&number.to_string()) {
                None => Value::Number(number),
                Some(withheld) => {
                    self.count("a trait", withheld);
                    serde_json::json!({ "withheld": withheld })
                }
            },
            Value::Array(values) => Value::Array(values.into_iter().map(|value| self.inside(value)).collect()),
            Value::Object(fields) => {
                let field = |(name, value): (String, Value)| match self.reason(&name) {
                    None => Some((name, self.inside(value))),
                    Some(withheld) => {
                        self.count("a trait and its name", withheld);
                        None
                    }
                };
                Value::Object(fields.into_iter().filter_map(field).collect())
            }
            value @ (Value::Null | Value::Bool(_)) => value,
        }
    }

    /// The name of a namespace.
    pub fn namespace(&self, namespace: NamespaceId) -> String {
        self.config.config.namespace(namespace).map(|known| known.name.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_however_they_are_typed() {
        let table: &[(&str, &[&str])] = &[
            ("+49 (30) 123456", &["4930123456"]),
            ("030/123456", &["30123456"]),
            ("call 0049-30-123.456 or 17 after 6", &["4930123456"]),
            ("12 345", &[]),
            ("no number", &[]),
        ];
        for (text, want) in table {
            assert_eq!(numbers(text).collect::<Vec<_>>(), *want, "{text}");
        }
    }

    /// Digits beside a shared number made it another number, and it was shown.
    #[test]
    fn a_number_is_known_whatever_digits_stand_beside_it() {
        let table = [
            ("+49 30 123456", true),
            ("030 123456, 17", true),
            ("12: 030-123456", true),
            ("2026-11-27 18:30 +49 (0)30 123456 2x", true),
            ("room 4 / 123456 / 9", true),
            ("ticket 8849301234567", true),
            ("no. 77030123456", true),
            ("49_30_12_34_56", true),
            ("030 123457, 17", false),
            ("12 34 57 89", false),
            ("4930 and 123 and 456", false),
            ("", false),
        ];
        for (text, want) in table {
            assert_eq!(runs(text).any(|groups| is_among("4930123456", &groups)), want, "{text}");
        }
    }
}
