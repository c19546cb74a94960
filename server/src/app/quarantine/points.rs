//! What a quarantined fragment is found by when somebody is erased: its record and identifiers, and whatever else in it reads as
//! an address or a number.
//!
//! Fragments are in quarantine because something in them is wrong: an address in a note, two numbers in one field, a name
//! where an address belongs. What is read out of such a text is somebody's all the same (law 7). Whose is not sure, so it leads
//! an erasure here and hands nothing over.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};

use onefold_core::fragment::{AttributeValue, Fragment};
use onefold_core::identifier::compatible;
use onefold_core::ids::{Digest128, NamespaceId};
use onefold_core::namespace::Normaliser;
use onefold_matching::prepared::Prepared;
use serde::{Deserialize, Serialize};

use crate::app::tenant::LiveConfig;

/// Addresses, and numbers, that one fragment may mention.
pub const MENTIONS_MAX: usize = 512;
/// What one held fragment may be found by: a mention is a value of every namespace of its kind, of a person and of an
/// organisation.
pub const POINTS_MAX: usize = 2_304;
/// Addresses, and numbers, that are read out of the identifiers of one fragment.
const CLAIMED_MAX: usize = 4_096;
/// Digits of a telephone number.
const DIGITS: std::ops::RangeInclusive<usize> = 7..=15;
/// A longer text is no number as a whole, with words in it (`ext. 12`).
const NUMBER_BYTES_MAX: usize = 64;

/// What a quarantined fragment is found by, by keyed digest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Points {
    /// Its record, and the identifiers that it names and that can be read.
    pub own: Box<[Digest128]>,
    /// What else stands in it.
    pub mentioned: Box<[Digest128]>,
}

impl Points {
    /// Those of a fragment, and whether that is all: it is not where more than [`MENTIONS_MAX`] are mentioned, or it would be
    /// found by more than `most`.
    pub fn of(fragment: &Fragment, prepared: &Prepared, config: &LiveConfig, most: usize) -> (Self, bool) {
        let own: Box<[Digest128]> =
            std::iter::once(prepared.record).chain(prepared.links.iter().map(|link| link.digest)).collect();
        let mut seen: HashSet<Digest128> = own.iter().copied().collect();
        let (read, mut whole) = Read::of(texts(fragment), MENTIONS_MAX);
        let claims = config.preparer().contact_points(fragment);
        let mut mentioned = Vec::new();
        for point in claims.into_iter().chain(read.points(fragment, config)) {
            if seen.insert(point) {
                if seen.len() > most {
                    whole = false;
                    break;
                }
                mentioned.push(point);
            }
        }
        (Self { own, mentioned: mentioned.into() }, whole)
    }

    /// The same, found by these too: what was said with it stands there.
    pub fn with(self, more: impl Iterator<Item = Digest128>) -> Self {
        let mut seen: HashSet<Digest128> = self.all().copied().collect();
        let more = more.filter(|point| seen.insert(*point));
        let mentioned = self.mentioned.iter().copied().chain(more).collect();
        Self { own: self.own, mentioned }
    }

    /// Whether any of its own is among these: then it is theirs, and does not only mention them.
    pub fn is_of(&self, points: &HashSet<Digest128>) -> bool {
        self.own.iter().any(|point| points.contains(point))
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Digest128> {
        self.own.iter().chain(&self.mentioned)
    }

    /// Its record.
    pub fn record(&self) -> Option<Digest128> {
        self.own.first().copied()
    }

    /// The identifiers that it would bring.
    pub fn links(&self) -> &[Digest128] {
        self.own.get(1..).unwrap_or_default()
    }

    /// Whether it names this as its own.
    pub fn name(&self, point: Digest128) -> bool {
        self.own.contains(&point)
    }
}

/// What the identifiers of a fragment say beyond themselves: a malformed one may have a whole address in it, and one in
/// letters of full width is the same in plain ones.
pub fn in_claims(fragment: &Fragment, config: &LiveConfig) -> Box<[Digest128]> {
    let claims = fragment.identifiers.iter().map(|claim| Cow::Borrowed(claim.raw.as_str()));
    let (read, _) = Read::of(claims.collect(), CLAIMED_MAX);
    let plain = fragment.identifiers.iter();
    let plain = plain.flat_map(|claim| config.preparer().plain_points(claim.namespace, &claim.raw));
    let points: BTreeSet<Digest128> = read.points(fragment, config).chain(plain).collect();
    points.into_iter().collect()
}

/// The values behind the points of a quarantined fragment, but for its record: each once.
pub fn values_of(fragment: &Fragment, config: &LiveConfig) -> BTreeSet<(NamespaceId, String)> {
    let (read, _) = Read::of(texts(fragment), MENTIONS_MAX);
    let values = |normaliser, texts: &BTreeSet<String>| {
        let texts = texts.iter().map(String::as_str);
        config.preparer().values_as(normaliser, fragment, texts).collect::<Vec<_>>()
    };
    let claims = config.preparer().contact_values(fragment);
    let mentions = [values(Normaliser::Email, &read.mails), values(Normaliser::Phone, &read.numbers)];
    claims.into_iter().chain(mentions.into_iter().flatten()).collect()
}

/// All in a text that reads as an address, and as a number. Its length is their bound.
pub fn in_text(text: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let (Read { mails, numbers }, _) = Read::of(vec![Cow::Borrowed(text)], usize::MAX);
    (mails, numbers)
}

/// What reads as an address or a number in some texts.
struct Read {
    mails: BTreeSet<String>,
    numbers: BTreeSet<String>,
}

impl Read {
    /// As many of each as there may be, and whether that is all.
    fn of(texts: Vec<Cow<'_, str>>, most: usize) -> (Self, bool) {
        let (mut mails, mut numbers) = (Found::up_to(most), Found::up_to(most));
        for text in &texts {
            for text in [Some(Cow::Borrowed(text.as_ref())), compatible(text).map(Cow::Owned)].into_iter().flatten() {
                mails_in(&text, &mut mails);
                numbers_in(&text, &mut numbers);
            }
        }
        let whole = !(mails.more || numbers.more);
        (Self { mails: mails.texts, numbers: numbers.texts }, whole)
    }

    /// The digests of these, as either kind of party would hold them. Where the fragment is from says how numbers are read.
    fn points<'a>(&'a self, fragment: &'a Fragment, config: &'a LiveConfig) -> impl Iterator<Item = Digest128> + 'a {
        let read = |normaliser, texts: &'a BTreeSet<String>| {
            config.preparer().points_as(normaliser, fragment, texts.iter().map(String::as_str))
        };
        read(Normaliser::Email, &self.mails).chain(read(Normaliser::Phone, &self.numbers))
    }
}

/// What was found, each once.
struct Found {
    texts: BTreeSet<String>,
    most: usize,
    /// There is more.
    more: bool,
}

impl Found {
    const fn up_to(most: usize) -> Self {
        Self { texts: BTreeSet::new(), most, more: false }
    }

    fn put(&mut self, text: &str) {
        if self.texts.len() < self.most {
            self.texts.insert(text.to_owned());
        } else {
            self.more |= !self.texts.contains(text);
        }
    }
}

/// Every text of a fragment.
fn texts(fragment: &Fragment) -> Vec<Cow<'_, str>> {
    let claims = fragment.identifiers.iter().map(|claim| Cow::Borrowed(claim.raw.as_str()));
    let attributes = fragment.attributes.iter().filter_map(|attribute| match &attribute.value {
        AttributeValue::Text(text) => Some(Cow::Borrowed(text.as_str())),
        AttributeValue::Number(number) => Some(Cow::Owned(number.to_string())),
        AttributeValue::Flag(_) => None,
    });
    let roles = fragment.affiliations.iter().flat_map(|told| [told.account.key.as_str(), told.role.as_str()]);
    let stages = fragment.stages.iter().map(|told| told.name.as_str());
    let key = std::iter::once(fragment.record.key.as_str());
    let mut texts: Vec<Cow<'_, str>> =
        claims.chain(attributes).chain(roles.chain(stages).chain(key).map(Cow::Borrowed)).collect();
    if let Some(traits) = &fragment.traits {
        match serde_json::from_str(traits) {
            Ok(value) => inside(value, &mut texts),
            Err(_) => texts.push(Cow::Borrowed(traits)),
        }
    }
    texts
}

/// The texts in free-form traits, names too.
fn inside(value: serde_json::Value, texts: &mut Vec<Cow<'_, str>>) {
    use serde_json::Value;
    match value {
        Value::String(text) => texts.push(Cow::Owned(text)),
        Value::Number(number) => texts.push(Cow::Owned(number.to_string())),
        Value::Array(values) => values.into_iter().for_each(|value| inside(value, texts)),
        Value::Object(fields) => {
            for (name, value) in fields {
                texts.push(Cow::Owned(name));
                inside(value, texts);
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

/// What stands around each `@`, with what may be part of an address and mostly is not (`mail=ada@…`), and without it.
fn mails_in(text: &str, found: &mut Found) {
    let ends_local = |c: char| c.is_whitespace() || c.is_control() || "<>()[]{},;:\\\"@".contains(c);
    let is_host = |c: char| c.is_alphanumeric() || c == '-' || c == '.';
    for (at, _) in text.match_indices('@') {
        let (before, behind) = (&text[..at], &text[at + 1..]);
        let local = &before[before
            .rfind(ends_local)
            .map_or(0, |from| from + before[from..].chars().next().map_or(1, char::len_utf8))..];
        let host = &behind[..behind.find(|c| !is_host(c)).unwrap_or(behind.len())];
        let host = host.trim_matches(|c| c == '.' || c == '-');
        let plain = |c: char| c.is_alphanumeric() || "._-+".contains(c);
        let bare = local.rsplit(|c| !plain(c)).next().unwrap_or_default().trim_start_matches(['.', '-']);
        for local in [local, bare].into_iter().filter(|local| !local.is_empty() && !host.is_empty()) {
            found.put(&format!("{local}@{host}"));
        }
    }
}

fn digits_of(text: &str) -> usize {
    text.chars().filter(|c| c.is_numeric()).count()
}

/// What stands together as the digits of a number do; of several in a row each, and some of them.
fn numbers_in(text: &str, found: &mut Found) {
    if digits_of(text) < *DIGITS.start() {
        return;
    }
    let mut take = |piece: &str| {
        let piece = piece.trim_matches(|c: char| !c.is_numeric() && c != '+' && c != '(');
        if DIGITS.contains(&digits_of(piece)) {
            found.put(piece);
        }
    };
    if text.len() <= NUMBER_BYTES_MAX {
        take(text);
    }
    let is_of_number = |c: char| c.is_numeric() || " ()-./+\u{a0}".contains(c);
    for run in text.split(|c| !is_of_number(c)) {
        let starts = run.match_indices('+').map(|(at, _)| at).filter(|at| *at > 0);
        let mut from = 0;
        for to in starts.chain([run.len()]) {
            let piece = &run[from..to];
            from = to;
            take(piece);
            piece.split('/').for_each(&mut take);
            let words: Vec<&str> = piece.split([' ', '\u{a0}', '/']).filter(|word| digits_of(word) > 0).collect();
            for first in 0..words.len() {
                let mut together = String::new();
                for word in &words[first..] {
                    together.push_str(word);
                    if digits_of(&together) > *DIGITS.end() {
                        break;
                    }
                    take(&together);
                    together.push(' ');
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> (Vec<String>, Vec<String>) {
        let (mut mails, mut numbers) = (Found::up_to(MENTIONS_MAX), Found::up_to(MENTIONS_MAX));
        mails_in(text, &mut mails);
        numbers_in(text, &mut numbers);
        (mails.texts.into_iter().collect(), numbers.texts.into_iter().collect())
    }

    #[test]
    fn addresses_are_read_out_of_whatever_stands_around_them() {
        let table = [
            ("ada@harbour-mail.net", "ada@harbour-mail.net"),
            ("Ada Byron (ada@harbour-mail.net), at home", "ada@harbour-mail.net"),
            ("mail=ada+x@harbour-mail.net;", "ada+x@harbour-mail.net"),
            ("write to ada@harbour-mail.net.", "ada@harbour-mail.net"),
            ("[\"ada@harbour-mail.net\"]", "ada@harbour-mail.net"),
            ("gr\u{fc}n <ada@harbour-mail.net>", "ada@harbour-mail.net"),
            ("a@b.de ada@harbour-mail.net bob@c.de", "ada@harbour-mail.net"),
            ("\u{4e2d}\u{6587}\u{ff1a}ada@harbour-mail.net", "ada@harbour-mail.net"),
        ];
        for (text, want) in table {
            assert!(found(text).0.iter().any(|mail| mail == want), "{text}: {:?}", found(text).0);
        }
        for text in ["", "@", "a@", "@b.de", "no address"] {
            assert_eq!(found(text).0, Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn what_is_too_much_is_told() {
        let text: String = (0..=MENTIONS_MAX).map(|number| format!("a{number}@harbour-mail.net ")).collect();
        let mut mails = Found::up_to(MENTIONS_MAX);
        mails_in(&text, &mut mails);
        assert!(mails.more && mails.texts.len() == MENTIONS_MAX);
        let mut once = Found::up_to(MENTIONS_MAX);
        mails_in(&"ada@harbour-mail.net ".repeat(2 * MENTIONS_MAX), &mut once);
        assert!(!once.more, "what is said again is not more");
    }

    #[test]
    fn numbers_are_read_out_of_whatever_stands_around_them() {
        let table = [
            ("+49 30 123456", "+49 30 123456"),
            ("call 030/123456 after 6", "030/123456"),
            ("+49 30 123456 / +49 171 1234567", "+49 30 123456"),
            ("+49 30 123456 / +49 171 1234567", "+49 171 1234567"),
            ("030 123456 0171 1234567 7", "0171 1234567"),
            ("tel:030123456,0171-1234567", "0171-1234567"),
            ("room 12, (030) 123456-0", "(030) 123456-0"),
        ];
        for (text, want) in table {
            assert!(found(text).1.iter().any(|number| number == want), "{text}: {:?}", found(text).1);
        }
        for text in ["", "12 34", "123456", "no number"] {
            assert_eq!(found(text).1, Vec::<String>::new(), "{text}");
        }
    }
}
