//! Values that can be recognised by who knows them, and by nobody else.

/// Letters of the front that stay.
const FRONT: usize = 2;

/// The value with most of it hidden: `in***@acme.com`, `+44***23`, `f8***5d`. The host of an address stays, since it is
/// what tells why a shared one is shared.
#[must_use]
pub fn mask(value: &str) -> String {
    let value = value.trim();
    if let Some((user, host)) = value.rsplit_once('@')
        && !user.is_empty()
    {
        return format!("{}***@{}", front(user), host.to_lowercase());
    }
    // The scheme of a web address says nothing.
    let value = value.split_once("://").map_or(value, |(_, rest)| rest);
    let value = value.strip_prefix("www.").unwrap_or(value).trim_end_matches('/');
    let letters: Vec<char> = value.chars().collect();
    let kept = if letters.len() > 6 { 2 } else { 0 };
    let back: String = letters[letters.len() - kept..].iter().collect();
    let lead = if value.starts_with('+') { 3 } else { FRONT };
    let front: String = letters.iter().take(lead.min(letters.len() / 2)).collect();
    format!("{front}***{back}")
}

fn front(user: &str) -> String {
    user.chars().take(FRONT.min(user.chars().count() / 2)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_is_left() {
        let table = [
            ("info@Acme.com", "in***@acme.com"),
            ("ab@x.de", "a***@x.de"),
            ("a@x.de", "***@x.de"),
            ("+447700900123", "+44***23"),
            ("https://www.acme.com/", "ac***om"),
            ("4235538664", "42***64"),
            ("123", "1***"),
            ("é", "***"),
            ("", "***"),
        ];
        for (value, want) in table {
            assert_eq!(mask(value), want, "{value}");
        }
    }
}
