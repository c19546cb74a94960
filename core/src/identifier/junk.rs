//! Values that are well formed and mean nothing: typed to get past a form, filled in by a system, reserved for
//! documentation. On by default; a namespace can switch them off.
//!
//! Sources: RFC 2606 and 6761 (reserved names), the North American plan's 555-01xx, Ofcom's and ACMA's numbers for
//! drama, the blocked-value lists of customer data platforms, well-known faulty device ids.

use super::phone::{EXTENSION_MARK, LOCAL_MARK};
use super::{Canonical, domain};
use crate::namespace::Normaliser;

/// Why a value means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JunkKind {
    /// A word that stands for an absent value: `null`, `n/a`, `unknown`, `test`.
    Placeholder,
    /// Zeroes, dashes, one character over and over, or digits in sequence.
    Pattern,
    /// Nobody reads it: `noreply@…`, `mailer-daemon@…`.
    NoReply,
    /// Reserved for documentation, tests or drama: `example.com`, `.invalid`, 555-01xx.
    Reserved,
    /// A mailbox provider's domain, where a company's is asked for.
    FreeMail,
    /// A platform's domain, under which many companies have a page: `facebook.com`.
    Platform,
    /// A number that many devices or people are known to share by mistake.
    KnownShared,
}

impl JunkKind {
    /// In words, for people: fits behind "is".
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Placeholder => "a placeholder",
            Self::Pattern => "a filler pattern",
            Self::NoReply => "an address that nobody reads",
            Self::Reserved => "reserved for documentation and tests",
            Self::FreeMail => "a mailbox provider's domain",
            Self::Platform => "a platform's domain",
            Self::KnownShared => "a value known to be shared by mistake",
        }
    }
}

/// Why this canonical value means nothing, if so.
#[must_use]
pub fn junk(normaliser: Normaliser, value: &Canonical) -> Option<JunkKind> {
    let text = value.as_str();
    match normaliser {
        Normaliser::Email => junk_email(text),
        Normaliser::Phone => junk_phone(text),
        Normaliser::Domain => junk_domain(text),
        Normaliser::Alphanumeric => junk_number(text),
        Normaliser::Verbatim | Normaliser::Folded => junk_id(text),
    }
}

/// Words that stand for nothing, lower case, letters and digits only; sorted.
const PLACEHOLDERS: &[&str] = &[
    "android",
    "anon",
    "anonymous",
    "anonymoususer",
    "blank",
    "browser",
    "declined",
    "default",
    "deleted",
    "desktop",
    "donotuse",
    "dummy",
    "empty",
    "error",
    "fake",
    "false",
    "guest",
    "guestuser",
    "invalid",
    "ios",
    "keine",
    "keineangabe",
    "leer",
    "missing",
    "mobile",
    "na",
    "nan",
    "nil",
    "ninguno",
    "noaplica",
    "noapplicable",
    "nodata",
    "nodevice",
    "nodeviceid",
    "noinfo",
    "noname",
    "none",
    "nonegiven",
    "noneprovided",
    "nophone",
    "notapplicable",
    "notassigned",
    "notavailable",
    "notgiven",
    "notknown",
    "notprovided",
    "notset",
    "novalue",
    "null",
    "objectobject",
    "pending",
    "private",
    "refused",
    "sample",
    "sinnombre",
    "tba",
    "tbc",
    "tbd",
    "test",
    "tester",
    "testing",
    "testtest",
    "testuser",
    "tobefilledbyoem",
    "true",
    "unbekannt",
    "undefined",
    "unidentified",
    "unknown",
    "unknownuser",
    "unlisted",
    "unspecified",
    "void",
    "web",
    "webuser",
    "withheld",
    "xxx",
    "xxxx",
];

/// Numbers known to be in many hands, as letters and digits, lower case; sorted.
const KNOWN_SHARED: &[&str] = &[
    "004999010640000",  // IMEI of cloned handsets
    "0123456789abcdef", // serial of unlocked handsets
    "020000000000",     // the address that phones show instead of their own
    "078051120",        // the wallet insert, and an advertisement: SSNs printed by the thousand
    "219099999",
    "457555462",
    "9774d56d682e549c", // one Android release gave it to every device
    "dead00beef",
    "ffffffffffff",
];

fn is_placeholder(text: &str) -> bool {
    // Placeholders are short; longer texts need no copy.
    if text.len() > 24 {
        return false;
    }
    let mut word = [0u8; 24];
    let mut len = 0;
    for byte in text.bytes().filter(u8::is_ascii_alphanumeric) {
        word[len] = byte.to_ascii_lowercase();
        len += 1;
    }
    if !text.is_ascii() {
        return false;
    }
    std::str::from_utf8(&word[..len]).is_ok_and(|word| PLACEHOLDERS.binary_search(&word).is_ok())
}

/// The character that fills all of the text's letters and digits, and how many there are.
fn filler(text: &str) -> (Option<char>, usize) {
    let mut alphanumerics = text.chars().filter(|c| c.is_alphanumeric());
    let Some(first) = alphanumerics.next() else { return (None, 0) };
    let mut count = 1;
    for c in alphanumerics {
        if c != first {
            return (None, usize::MAX);
        }
        count += 1;
    }
    (Some(first), count)
}

/// `4000000000`: what is typed to fill a field of digits without thinking of nine of them.
fn is_round(digits: &str) -> bool {
    digits.len() >= 8
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && digits[1..].bytes().all(|byte| byte == b'0')
}

/// Digits that go up or down by one each, along the keyboard: 0 follows 9 and 9 follows 0.
fn is_sequence(digits: &str, at_least: usize) -> bool {
    let steps = |by: u8| {
        digits.bytes().zip(digits.bytes().skip(1)).all(|(digit, next)| {
            digit.is_ascii_digit() && next.is_ascii_digit() && (next - b'0') == (digit - b'0' + by) % 10
        })
    };
    digits.len() >= at_least && (steps(1) || steps(9))
}

/// Registration, card and tax numbers: long by nature, so that filler shows early.
fn junk_number(text: &str) -> Option<JunkKind> {
    if is_placeholder(text) {
        return Some(JunkKind::Placeholder);
    }
    match filler(text) {
        (Some('0'), _) => return Some(JunkKind::Pattern),
        (Some(_), 5..) => return Some(JunkKind::Pattern),
        _ => {}
    }
    if is_sequence(text, 7) || is_round(text) {
        return Some(JunkKind::Pattern);
    }
    KNOWN_SHARED.binary_search(&text).is_ok().then_some(JunkKind::KnownShared)
}

/// Opaque ids: a short `1111` may be a counter's value, so only what no counter reaches is filler.
fn junk_id(text: &str) -> Option<JunkKind> {
    if is_placeholder(text) {
        return Some(JunkKind::Placeholder);
    }
    match filler(text) {
        (None, 0) | (Some('0'), _) | (Some(_), 10..) => return Some(JunkKind::Pattern),
        (Some('x' | 'X'), 2..) => return Some(JunkKind::Placeholder),
        _ => {}
    }
    if text.len() <= 24 && text.is_ascii() {
        let bare: String =
            text.bytes().filter(u8::is_ascii_alphanumeric).map(|b| char::from(b.to_ascii_lowercase())).collect();
        if KNOWN_SHARED.binary_search(&bare.as_str()).is_ok() {
            return Some(JunkKind::KnownShared);
        }
    }
    None
}

const NO_REPLY: &[&str] = &[
    "autoreply",
    "bounce",
    "bounces",
    "donotreply",
    "dontreply",
    "mailerdaemon",
    "nepasrepondre",
    "nobody",
    "noreplay",
    "noreply",
    "noresponder",
    "unsubscribe",
];

const NO_MAIL: &[&str] = &[
    "abc",
    "asdf",
    "customer",
    "customernoemail",
    "declinedemail",
    "donotemail",
    "dontemail",
    "email",
    "myemail",
    "na",
    "no",
    "noemail",
    "noemailaddress",
    "noemailgiven",
    "noemailprovided",
    "nomail",
    "nomailaddress",
    "noone",
    "notavailable",
    "qwerty",
    "someone",
    "xx",
    "xxx",
    "xxxx",
    "youremail",
    "yourname",
];

/// Second-level names that people type when they have no address.
const FAKE_HOSTS: &[&str] = &[
    "abc.com",
    "aaa.com",
    "asdf.com",
    "dummy.com",
    "fake.com",
    "invalid.com",
    "na.com",
    "noemail.com",
    "noemail.org",
    "nomail.com",
    "none.com",
    "none.none",
    "noreply.com",
    "null.com",
    "test.com",
    "unknown.com",
    "xxx.com",
    "xyz.xyz",
];

fn junk_email(text: &str) -> Option<JunkKind> {
    let (local, host) = text.rsplit_once('@')?;
    if is_reserved_host(host) {
        return Some(JunkKind::Reserved);
    }
    let mailbox = local.split('+').next().unwrap_or(local);
    let mut word = [0u8; 24];
    let mut len = 0;
    for byte in mailbox.bytes().filter(|byte| !matches!(byte, b'.' | b'-' | b'_' | b'/')) {
        if len == word.len() {
            // No junk name is that long: what opens like one, with a reference behind it, still is one.
            return (mailbox.starts_with("noreply")
                || mailbox.starts_with("no-reply")
                || mailbox.starts_with("donotreply"))
            .then_some(JunkKind::NoReply);
        }
        word[len] = byte;
        len += 1;
    }
    let word = std::str::from_utf8(&word[..len]).unwrap_or_default();
    if NO_REPLY.contains(&word) || word.starts_with("noreply") || word.starts_with("donotreply") {
        return Some(JunkKind::NoReply);
    }
    let stem = word.trim_end_matches(|c: char| c.is_ascii_digit());
    let numbered_test = matches!(stem, "test" | "tester" | "testing" | "testuser");
    if PLACEHOLDERS.binary_search(&word).is_ok()
        || NO_MAIL.contains(&word)
        || numbered_test
        || FAKE_HOSTS.contains(&host)
    {
        return Some(JunkKind::Placeholder);
    }
    match filler(mailbox) {
        (None, 0) | (Some('0'), _) | (Some(_), 5..) => Some(JunkKind::Pattern),
        _ => None,
    }
}

/// RFC 2606, RFC 6761 and RFC 6762.
fn is_reserved_host(host: &str) -> bool {
    let under = |name: &str| host.strip_suffix(name).is_some_and(|head| head.is_empty() || head.ends_with('.'));
    [
        "example.com",
        "example.net",
        "example.org",
        "example.edu",
        "test",
        "invalid",
        "example",
        "localhost",
        "local",
        "localdomain",
    ]
    .iter()
    .any(|name| under(name))
}

/// Where companies have pages among many others; sorted. Their own staff lose a supporting key, and no more.
const PLATFORMS: &[&str] = &[
    "about.me",
    "airbnb.com",
    "alibaba.com",
    "amazon.co.uk",
    "amazon.com",
    "amazon.de",
    "apple.com",
    "bing.com",
    "bit.ly",
    "booking.com",
    "canva.com",
    "crunchbase.com",
    "discord.gg",
    "ebay.com",
    "etsy.com",
    "facebook.com",
    "fb.com",
    "fb.me",
    "flickr.com",
    "github.com",
    "glassdoor.com",
    "goo.gl",
    "google.com",
    "indeed.com",
    "instagram.com",
    "issuu.com",
    "linkedin.com",
    "linktr.ee",
    "meetup.com",
    "notion.so",
    "pinterest.com",
    "reddit.com",
    "snapchat.com",
    "soundcloud.com",
    "t.co",
    "t.me",
    "telegram.me",
    "threads.net",
    "tiktok.com",
    "tripadvisor.com",
    "tumblr.com",
    "twitch.tv",
    "twitter.com",
    "vimeo.com",
    "vk.com",
    "wa.me",
    "whatsapp.com",
    "wikipedia.org",
    "wordpress.com",
    "x.com",
    "xing.com",
    "yell.com",
    "yelp.com",
    "youtu.be",
    "youtube.com",
];

fn junk_domain(text: &str) -> Option<JunkKind> {
    if is_reserved_host(text) {
        Some(JunkKind::Reserved)
    } else if FAKE_HOSTS.contains(&text) {
        Some(JunkKind::Placeholder)
    } else if domain::is_free_mail(text) {
        Some(JunkKind::FreeMail)
    } else if PLATFORMS.binary_search(&text).is_ok() {
        Some(JunkKind::Platform)
    } else {
        None
    }
}

fn junk_phone(text: &str) -> Option<JunkKind> {
    let number = text.split(EXTENSION_MARK).next().unwrap_or(text);
    let (digits, national) = match number.strip_prefix('+') {
        Some(digits) => (digits, &digits[calling_code_len(digits).min(digits.len())..]),
        None => {
            let digits = number.strip_prefix(LOCAL_MARK).unwrap_or(number);
            (digits, digits.strip_prefix('0').unwrap_or(digits))
        }
    };
    let uniform = |text: &str| text.bytes().all(|byte| Some(byte) == text.bytes().next());
    let last_seven = &digits[digits.len().saturating_sub(7)..];
    if uniform(national)
        || uniform(digits)
        || uniform(last_seven)
        || is_sequence(national, 7)
        || is_round(national)
        || is_sequence(digits, 7)
    {
        return Some(JunkKind::Pattern);
    }
    is_drama_number(digits, national, number.starts_with('+')).then_some(JunkKind::Reserved)
}

/// Digits of the country calling code that opens an E.164 number (ITU-T E.164 annex: codes are prefix-free).
fn calling_code_len(digits: &str) -> usize {
    match digits.as_bytes() {
        [b'1' | b'7', ..] => 1,
        [b'2', b'0' | b'7', ..]
        | [b'3', b'0'..=b'4' | b'6' | b'9', ..]
        | [b'4', b'0' | b'1' | b'3'..=b'9', ..]
        | [b'5', b'1'..=b'8', ..]
        | [b'6', b'0'..=b'6', ..]
        | [b'8', b'1' | b'2' | b'4' | b'6', ..]
        | [b'9', b'0'..=b'5' | b'8', ..] => 2,
        _ => 3,
    }
}

fn is_drama_number(digits: &str, national: &str, placed: bool) -> bool {
    let north_american = |local: &str| local.starts_with("55501") || local == "5551212";
    if !placed {
        // A local number without its country: seven or ten digits of the North American plan.
        return matches!(digits.len(), 7 | 10) && north_american(&digits[digits.len() - 7..]);
    }
    if digits.starts_with('1') && national.len() == 10 {
        return north_american(&national[3..]);
    }
    // Ofcom: 07700 900xxx, 020 7946 0xxx, 01632 960xxx and the like. ACMA: 0491 57x xxx, (0x) 5550 xxxx, 7010 xxxx.
    if digits.starts_with("44") {
        return [
            "7700900", "2079460", "1632960", "1134960", "1144960", "1154960", "1164960", "1174960", "1184960",
            "1214960", "1314960", "1414960", "1514960", "1614960", "1914980", "8081570", "9098790", "3069990",
        ]
        .iter()
        .any(|prefix| national.starts_with(prefix));
    }
    digits.starts_with("61")
        && (["491570", "491571", "491572", "491573", "491574"].iter().any(|prefix| national.starts_with(prefix))
            || (national.len() == 9 && (national[1..].starts_with("5550") || national[1..].starts_with("7010"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted_so_that_a_binary_search_finds_all() {
        assert!(PLACEHOLDERS.is_sorted());
        assert!(KNOWN_SHARED.is_sorted());
        assert!(PLATFORMS.is_sorted());
        assert!(PLACEHOLDERS.iter().all(|word| is_placeholder(word)));
    }
}
