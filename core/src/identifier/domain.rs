//! Host names and the registrable domains that stand for companies.

use idna::AsciiDenyList;
use psl::{Psl, Type};

use super::{Canonical, InvalidIdentifier, trim};

/// Bytes in a host name (RFC 1035 §2.3.4, without the root's dot).
const HOST_BYTES_MAX: usize = 253;
/// Bytes in one label (RFC 1035 §2.3.4).
const LABEL_BYTES_MAX: usize = 63;

/// The registrable domain of a host name, web address or e-mail address: lower case, ASCII, without scheme, user,
/// `www.`, port and path. Under a private suffix the tenant's own label stays (`acme.github.io`).
///
/// # Errors
/// [`InvalidIdentifier`] when no registrable domain is in it.
pub fn canonicalise(raw: &str) -> Result<String, InvalidIdentifier> {
    let host = host_part(raw);
    if host.is_empty() {
        return Err(InvalidIdentifier::Empty);
    }
    if host.starts_with('[') || host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Err(InvalidIdentifier::NetworkAddress);
    }
    let mut ascii = String::with_capacity(host.len());
    push_host(&mut ascii, host)?;
    let registrable = psl::List.domain(ascii.as_bytes()).ok_or(InvalidIdentifier::PublicSuffix)?;
    let start = ascii.len() - registrable.as_bytes().len();
    Ok(ascii.split_off(start))
}

/// What lies between scheme and path, without user and port.
fn host_part(raw: &str) -> &str {
    let mut rest = trim(raw);
    if let Some((scheme, after)) = rest.split_once("://")
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
    {
        rest = after;
    }
    rest = rest.trim_start_matches('/');
    rest = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    rest = rest.rsplit('@').next().unwrap_or_default();
    if let Some((host, port)) = rest.rsplit_once(':')
        && port.bytes().all(|byte| byte.is_ascii_digit())
        && !rest.ends_with(']')
    {
        rest = host;
    }
    trim(rest)
}

/// Appends a host name in canonical form: IDNA to ASCII, lower case, no trailing dot, at least two labels.
pub(super) fn push_host(into: &mut String, host: &str) -> Result<(), InvalidIdentifier> {
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.is_empty() {
        return Err(InvalidIdentifier::BadHost);
    }
    let start = into.len();
    // Nearly all hosts are plain ASCII without Punycode, for which IDNA does nothing but lower case.
    if host.bytes().all(is_host_byte) && !has_punycode(host) {
        into.push_str(host);
        into[start..].make_ascii_lowercase();
    } else {
        let ascii =
            idna::domain_to_ascii_cow(host.as_bytes(), AsciiDenyList::URL).map_err(|_| InvalidIdentifier::BadHost)?;
        into.push_str(ascii.strip_suffix('.').unwrap_or(&ascii));
    }
    check_host(&into[start..])
}

fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

fn has_punycode(host: &str) -> bool {
    host.split('.').any(|label| label.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case("xn--")))
}

fn check_host(host: &str) -> Result<(), InvalidIdentifier> {
    if host.len() > HOST_BYTES_MAX {
        return Err(InvalidIdentifier::BadHost);
    }
    let mut labels = 0;
    let mut last = "";
    for label in host.split('.') {
        let well_formed = !label.is_empty()
            && label.len() <= LABEL_BYTES_MAX
            && label.bytes().all(is_host_byte)
            && !label.starts_with('-')
            && !label.ends_with('-');
        if !well_formed {
            return Err(InvalidIdentifier::BadHost);
        }
        labels += 1;
        last = label;
    }
    if labels < 2 {
        return Err(InvalidIdentifier::NoTopLevelDomain);
    }
    // A numeric last label is an address (WHATWG URL §3.5), never a domain.
    if last.bytes().all(|byte| byte.is_ascii_digit()) { Err(InvalidIdentifier::NetworkAddress) } else { Ok(()) }
}

/// What a registrable domain says about who is behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DomainStanding {
    /// Its holder's own: evidence of a company.
    Own,
    /// A provider of mailboxes for anybody: evidence of nothing.
    FreeMail,
    /// A label under a hosting provider's suffix (`acme.github.io`): its holder's, and no company's address.
    Hosted,
}

/// What the domain (of a canonical domain or e-mail address) says about its holder.
#[must_use]
pub fn standing(value: &Canonical) -> DomainStanding {
    let host = value.as_str().rsplit('@').next().unwrap_or_default();
    if is_free_mail(host) {
        DomainStanding::FreeMail
    } else if psl::List.suffix(host.as_bytes()).is_some_and(|suffix| suffix.typ() == Some(Type::Private)) {
        DomainStanding::Hosted
    } else {
        DomainStanding::Own
    }
}

/// Whether anybody can have a mailbox there. `host` is lower case ASCII.
#[must_use]
pub fn is_free_mail(host: &str) -> bool {
    FREE_MAIL.binary_search(&host).is_ok() || FREE_MAIL_FAMILIES.iter().any(|family| in_family(host, family))
}

/// `yahoo.co.uk`, `hotmail.fr`: one brand under many top-level domains.
fn in_family(host: &str, family: &str) -> bool {
    host.strip_prefix(family).and_then(|rest| rest.strip_prefix('.')).is_some_and(|suffix| {
        suffix.len() <= 6
            && suffix.split('.').count() <= 2
            && suffix.split('.').all(|part| (2..=3).contains(&part.len()))
    })
}

const FREE_MAIL_FAMILIES: &[&str] = &["gmx", "hotmail", "live", "outlook", "yahoo", "yandex"];

/// Sorted. Mailbox providers open to anybody, access providers that give their customers mailboxes included.
const FREE_MAIL: &[&str] = &include!("free_mail.in");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_free_mail_list_is_sorted_so_that_a_binary_search_finds_all() {
        assert!(FREE_MAIL.is_sorted());
        assert!(FREE_MAIL.iter().all(|host| is_free_mail(host) && *host == host.to_ascii_lowercase()));
        for (host, want) in [
            ("gmail.com", true),
            ("yahoo.co.uk", true),
            ("hotmail.fr", true),
            ("t-online.de", true),
            ("live.com", true),
            ("yahoo.example.com", false),
            ("live.company", false),
            ("acme.com", false),
        ] {
            assert_eq!(is_free_mail(host), want, "{host}");
        }
    }
}
