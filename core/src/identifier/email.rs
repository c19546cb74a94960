//! E-mail addresses.
//!
//! RFC 5321 §2.4 lets hosts tell local parts apart by case and advises against it; nobody does, so both sides fold to
//! lower case. Tags (`+news`) and dots stay: they are part of the address as its owner gave it, and what they mean is a
//! provider's secret. [`provider_key`] offers the mailbox behind the address as supporting evidence.

use super::plain::lower;
use super::{Canonical, InvalidIdentifier, domain, trim};

/// Bytes in a local part (RFC 5321 §4.5.3.1.1).
const LOCAL_BYTES_MAX: usize = 64;

/// The canonical text of an address: without `mailto:`, display name and angle brackets, lower case, host in ASCII.
///
/// # Errors
/// [`InvalidIdentifier`] when it is no address that mail could reach.
pub fn canonicalise(raw: &str) -> Result<String, InvalidIdentifier> {
    let bare = bare_address(raw);
    if bare.is_empty() {
        return Err(InvalidIdentifier::Empty);
    }
    let (local, host) = bare.rsplit_once('@').ok_or(InvalidIdentifier::NoAt)?;
    let local = lower(unquote(trim(local)));
    if local.is_empty() {
        return Err(InvalidIdentifier::NoLocalPart);
    }
    if local.len() > LOCAL_BYTES_MAX {
        return Err(InvalidIdentifier::LocalPartTooLong);
    }
    if !local.chars().all(is_local_char) {
        return Err(InvalidIdentifier::BadCharacter);
    }
    let mut address = local;
    address.push('@');
    domain::push_host(&mut address, trim(host))?;
    Ok(address)
}

/// `Ada <ada@example.org>`, `<ada@…>`, `mailto:ada@…?subject=…` all mean the address inside.
fn bare_address(raw: &str) -> &str {
    let mut bare = trim(raw);
    if let Some(inner) = bare.strip_suffix('>').and_then(|head| head.rsplit_once('<')) {
        bare = trim(inner.1);
    }
    if bare.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("mailto:")) {
        bare = bare[7..].split('?').next().unwrap_or_default();
    }
    trim(bare)
}

/// Quotes that are not needed go: `"ada"@…` is `ada@…`. What needs them is refused by [`is_local_char`].
fn unquote(local: &str) -> &str {
    local.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(local)
}

/// RFC 5322 `atext` and the dot, and anything beyond ASCII that is not space or control (RFC 6531). Dots may lead,
/// trail and repeat: some carriers give out such addresses.
fn is_local_char(c: char) -> bool {
    if c.is_ascii() {
        c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c)
    } else {
        !super::is_padding(c) && c != char::REPLACEMENT_CHARACTER
    }
}

/// Hosts under which one mailbox has several names; the first is the key's.
const SAME_MAILBOX: &[&[&str]] = &[
    &["gmail.com", "googlemail.com"],
    &["icloud.com", "me.com", "mac.com"],
    &["proton.me", "protonmail.com", "pm.me", "protonmail.ch"],
    &["yandex.ru", "ya.ru", "yandex.com", "yandex.by", "yandex.kz"],
    &["fastmail.com", "fastmail.fm"],
];

/// Hosts where dots in the local part do not count.
const DOTS_IGNORED: &[&str] = &["gmail.com"];

/// Hosts where a tag opens with a hyphen.
const HYPHEN_TAGS: &[&str] =
    &["yahoo.com", "yahoo.co.uk", "yahoo.de", "yahoo.fr", "yahoo.es", "yahoo.it", "ymail.com", "rocketmail.com"];

/// The mailbox that probably stands behind a canonical address: tag cut off, dots dropped where the provider drops
/// them, aliases of one provider's hosts joined. Supporting evidence, never an identity. `None` if `address` is none.
#[must_use]
pub fn provider_key(address: &Canonical) -> Option<String> {
    let (local, host) = address.as_str().rsplit_once('@')?;
    let host = SAME_MAILBOX.iter().find(|names| names.contains(&host)).map_or(host, |names| names[0]);
    let mut mailbox = cut_tag(local, '+');
    if HYPHEN_TAGS.contains(&host) {
        mailbox = cut_tag(mailbox, '-');
    }
    let mailbox = if DOTS_IGNORED.contains(&host) { mailbox.replace('.', "") } else { mailbox.to_owned() };
    (!mailbox.is_empty()).then(|| format!("{mailbox}@{host}"))
}

/// Mailboxes of a job and not of a person, sorted: those of RFC 2142, and what firms of several countries call theirs.
const ROLE_MAILBOXES: &[&str] = &[
    "abuse",
    "account",
    "accounting",
    "accounts",
    "admin",
    "administration",
    "admissions",
    "billing",
    "bookings",
    "buero",
    "bureau",
    "career",
    "careers",
    "compta",
    "contact",
    "contacto",
    "contato",
    "customercare",
    "customerservice",
    "desk",
    "enquiries",
    "enquiry",
    "feedback",
    "finance",
    "frontdesk",
    "hello",
    "help",
    "helpdesk",
    "hostmaster",
    "hr",
    "info",
    "information",
    "inquiries",
    "invoice",
    "invoices",
    "jobs",
    "kontakt",
    "mail",
    "marketing",
    "media",
    "news",
    "newsletter",
    "noc",
    "office",
    "orders",
    "payroll",
    "post",
    "postmaster",
    "press",
    "privacy",
    "purchasing",
    "reception",
    "recruiting",
    "recruitment",
    "sales",
    "secretary",
    "security",
    "service",
    "services",
    "shop",
    "staff",
    "support",
    "team",
    "vendas",
    "ventas",
    "verkauf",
    "webmaster",
];

/// Whether a canonical address is that of a job (`info@`, `sales@`), which says nothing about who a person is, whoever
/// answers it today. RFC 2142 names the first of them.
#[must_use]
pub fn is_role_mailbox(address: &str) -> bool {
    address.rsplit_once('@').is_some_and(|(local, _)| ROLE_MAILBOXES.binary_search(&cut_tag(local, '+')).is_ok())
}

fn cut_tag(local: &str, opens: char) -> &str {
    match local.split_once(opens) {
        Some((mailbox, _)) if !mailbox.is_empty() => mailbox,
        _ => local,
    }
}
