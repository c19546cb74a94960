//! What is withheld: values that are somebody else's too.
//!
//! Which these are is learned from all identifiers that will be shown, superseded and quarantined ones included: by the
//! rule by which a preview marks them. Then every text is looked at before it is shown: one that reads as such a value,
//! or has one in it as it was typed, or a number of it without its country, whatever digits stand beside it, is withheld as
//! well, wherever it stands. So is a text in which an address or a number stands that is somebody else's alone, in whatever
//! spelling [`points`] reads it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use onefold_core::fragment::{Fragment, Identifier, PartyKind};
use onefold_core::identifier::region;
use onefold_core::ids::{Digest128, NamespaceId};
use onefold_core::namespace::{Namespace, NamespaceClass, Normaliser};
use onefold_matching::prepare::Preparer;
use onefold_matching::prepared::LinkValue;

use super::document::{Shown, Withheld, WithheldCount};
use crate::app::quarantine::points;
use crate::app::tenant::{LiveConfig, State, Tenant};

/// Shorter texts are not searched for inside others: they would be found everywhere.
const WORD_CHARS_MIN: usize = 5;

/// A telephone number's last digits that are enough to know it by.
const DIGITS_MIN: usize = 6;
/// As many where other digits stand right beside them.
const DIGITS_AMONG_OTHERS_MIN: usize = 7;
/// Digits of a country in front of a number.
const COUNTRY_DIGITS_MAX: usize = 3;

/// What stands for an `@` where none is to stand.
const AT_SIGNS: [&str; 5] = ["%40", "&#64;", "(at)", "[at]", "{at}"];

/// Knows what is withheld, and counts it.
pub struct Veil<'a> {
    config: &'a LiveConfig,
    tenant: &'a Tenant,
    /// The ordinals of the person's records.
    scope: HashSet<u32>,
    /// Where the fragments are from that will be shown: how numbers in them are read.
    regions: BTreeSet<Option<String>>,
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

/// A text with its `@` where something else stands for them.
fn with_at_signs(text: &str) -> Cow<'_, str> {
    let mut plain = Cow::Borrowed(text);
    for sign in AT_SIGNS {
        let lower = plain.to_ascii_lowercase();
        let (mut out, mut from) = (String::new(), 0);
        for (at, _) in lower.match_indices(sign) {
            out.push_str(plain[from..at].trim());
            out.push('@');
            from = at + sign.len();
        }
        if from > 0 {
            out.push_str(plain[from..].trim_start());
            plain = Cow::Owned(out);
        }
    }
    plain
}

impl<'a> Veil<'a> {
    /// Withholds nothing yet. `scope` are the ordinals of the person's records.
    pub fn new(config: &'a LiveConfig, tenant: &'a Tenant, scope: HashSet<u32>) -> Self {
        Self {
            config,
            tenant,
            scope,
            regions: BTreeSet::from([config.config.default_region.clone()]),
            known: HashMap::new(),
            namespaces: BTreeSet::new(),
            words: BTreeMap::new(),
            numbers: Vec::new(),
            part: "",
            counts: BTreeMap::new(),
        }
    }

    /// Looks at the identifiers of a fragment that will be shown.
    pub fn learn(&mut self, fragment: &Fragment) {
        let (config, tenant) = (self.config, self.tenant);
        if let Some(own) = region::own(fragment) {
            self.regions.insert(Some(own.to_owned()));
        }
        let claims: Vec<(&Identifier, Digest128)> = fragment
            .identifiers
            .iter()
            .filter_map(|claim| Some((claim, digest_of(config.preparer(), fragment, claim)?)))
            .collect();
        let state = tenant.state();
        for (claim, digest) in claims {
            self.learn_value(&state, claim, digest);
        }
    }

    fn learn_value(&mut self, state: &State, claim: &Identifier, digest: Digest128) {
        let scope = &self.scope;
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
        self.of_the_persons(text).or_else(|| self.of_others(text))
    }

    /// Whether an address or a number stands in a text that leads to somebody else, and not to this person.
    fn of_others(&self, text: &str) -> Option<Withheld> {
        let (mails, numbers) = points::in_text(&with_at_signs(text));
        let namespaces = self.config.config.namespaces.iter();
        let found = namespaces.flat_map(|namespace| {
            let found = match namespace.normaliser {
                Normaliser::Email => Some(&mails),
                Normaliser::Phone => Some(&numbers),
                _ => None,
            };
            found.into_iter().flatten().map(move |raw| (namespace, raw))
        });
        let leads = |(namespace, raw): (&Namespace, &String)| {
            let digests = self.read(namespace, raw);
            // How it is read that it is this person's, that is it.
            let known: Vec<Option<Withheld>> =
                digests.iter().filter_map(|digest| self.known.get(digest)).copied().collect();
            if !known.is_empty() {
                return known.into_iter().flatten().next();
            }
            let state = self.tenant.state();
            let beyond = |digest| state.engine.held_beyond(LinkValue { namespace: namespace.id, digest }, &self.scope);
            let is_others = digests.into_iter().map(beyond).any(|held| held.shared && !held.generic);
            is_others.then_some(Withheld::NamesSomebodyElse)
        };
        found.filter_map(leads).next()
    }

    /// The digests that a value may have, for either kind of party and from wherever it is.
    fn read(&self, namespace: &Namespace, raw: &str) -> Vec<Digest128> {
        let preparer = self.config.preparer();
        if namespace.normaliser == Normaliser::Phone {
            let with_country = raw.starts_with(|first: char| first.is_ascii_digit() && first != '0');
            let whole = with_country.then(|| format!("+{raw}"));
            let under =
                |raw: &str, region: &Option<String>| preparer.contact_point_under(namespace.id, raw, region.as_deref());
            let raws = || std::iter::once(raw).chain(whole.as_deref());
            return self.regions.iter().flat_map(|region| raws().flat_map(move |raw| under(raw, region))).collect();
        }
        let both = [PartyKind::Person, PartyKind::Organisation].into_iter();
        both.filter_map(|party| Some(preparer.contact_point(namespace.id, party, raw).ok()?.digest)).collect()
    }

    /// Why a text is withheld in which a value of the person's stands, or of a record of theirs.
    fn of_the_persons(&self, text: &str) -> Option<Withheld> {
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
        let known = digest.and_then(|digest| self.known.get(&digest).copied());
        let name = self.namespace(claim.namespace);
        let reason = match known {
            // What is the person's own is, though another kind of value read alike may be somebody else's.
            Some(reason) => reason.or_else(|| self.of_the_persons(&claim.raw)),
            None => self.reason(&claim.raw),
        };
        self.shown(&name, reason, || claim.raw.clone())
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

    #[test]
    fn an_at_sign_is_known_however_it_is_written() {
        let table = [
            ("bob (at) harbour-mail.net", "bob@harbour-mail.net"),
            ("Bob[AT]harbour-mail.net, or cleo{at}b.de", "Bob@harbour-mail.net, or cleo@b.de"),
            ("mailto:bob%40harbour-mail.net", "mailto:bob@harbour-mail.net"),
            ("bob&#64;harbour-mail.net", "bob@harbour-mail.net"),
            ("\u{130} (at) x (at) y ", "\u{130}@x@y "),
            ("at home", "at home"),
        ];
        for (text, want) in table {
            assert_eq!(with_at_signs(text), want, "{text}");
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
