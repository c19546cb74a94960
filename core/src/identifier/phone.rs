//! Telephone numbers.
//!
//! The canonical form is E.164 (`+442071838750`), with the extension kept (`;ext=12`, RFC 3966 §5.3): behind one
//! switchboard sit many people, and only the extension tells them apart. A number that cannot be placed in any country
//! keeps its digits behind a mark (`~5551234567`), so that it still equals itself and never equals a full number.

use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumber, PhoneNumberFormat, enums::Region};

use super::plain::ascii_digit;
use super::{InvalidIdentifier, trim};

/// Digits of the shortest number that can tell parties apart.
const DIGITS_MIN: usize = 7;
/// Digits of the longest number (ITU-T E.164 §6.1).
const DIGITS_MAX: usize = 15;
/// Digits of the longest extension worth keeping.
const EXTENSION_DIGITS_MAX: usize = 8;
/// Opens the form of a number without a country.
pub(super) const LOCAL_MARK: char = '~';
/// Stands before an extension in the canonical form.
pub(super) const EXTENSION_MARK: &str = ";ext=";

/// The canonical text of a telephone number; `region` is where a number without a country code is dialled from.
///
/// # Errors
/// [`InvalidIdentifier`] when there are too few or too many digits, or letters that are no part of a number.
pub fn canonicalise(raw: &str, region: Option<&str>) -> Result<String, InvalidIdentifier> {
    let bare = without_scheme(trim(raw));
    if bare.is_empty() {
        return Err(InvalidIdentifier::Empty);
    }
    let (number, extension) = split_extension(bare);
    if extension.is_some() && split_extension(number).1.is_some() {
        // Which of the two would it be?
        return Err(InvalidIdentifier::BadCharacter);
    }
    let mut text = canonical_number(number, region)?;
    if let Some(extension) = extension {
        text.push_str(EXTENSION_MARK);
        text.extend(extension.chars().filter_map(ascii_digit));
    }
    Ok(text)
}

fn canonical_number(number: &str, region: Option<&str>) -> Result<String, InvalidIdentifier> {
    if let Some(digits) = number.strip_prefix(LOCAL_MARK)
        && digits.bytes().all(|byte| byte.is_ascii_digit())
    {
        return local_form(digits);
    }
    let north_american = region.is_some_and(|code| matches!(code, "US" | "CA"));
    if let Some(text) = north_american_number(number, north_american) {
        return Ok(text);
    }
    let region = region.and_then(|code| Region::from_code(code).ok());
    if let Some(text) = full_number(number, region)? {
        return Ok(text);
    }
    if let Some(text) = double_zero_number(number)? {
        return Ok(text);
    }
    if number.chars().any(char::is_alphabetic) {
        return Err(InvalidIdentifier::BadCharacter);
    }
    let digits: String = number.chars().filter_map(ascii_digit).collect();
    local_form(&digits)
}

/// The commonest case without the library's regular expressions, at a tenth of the cost: ten digits of the North
/// American plan, with or without its country code. A property test holds it to the library's answer.
fn north_american_number(number: &str, region_is_north_american: bool) -> Option<String> {
    let mut text = String::with_capacity(12);
    text.push_str("+1");
    let mut international = false;
    for byte in number.bytes() {
        match byte {
            b'0'..=b'9' if text.len() < 13 => text.push(char::from(byte)),
            b'+' if text.len() == 2 && !international => international = true,
            b' ' | b'(' | b')' | b'-' | b'.' => {}
            _ => return None,
        }
    }
    if text.len() == 13 && text.as_bytes()[2] == b'1' && (international || region_is_north_american) {
        text.remove(2);
    } else if international || !region_is_north_american {
        return None;
    }
    // In the North American plan neither area code nor exchange starts with 0 or 1.
    let digits = text.as_bytes();
    (digits.len() == 12 && digits[2] >= b'2' && digits[5] >= b'2').then_some(text)
}

/// E.164 by the library, if the number has a possible length for its country and digits enough to tell parties apart.
///
/// # Errors
/// [`InvalidIdentifier::BadCharacter`] when the library reads an extension where none was cut off: too long to be kept, or
/// written in a way of its own. Dropped, everybody behind that switchboard would be one.
fn full_number(number: &str, region: Option<Region>) -> Result<Option<String>, InvalidIdentifier> {
    let Ok(parsed) = PHONE_NUMBER_UTIL.parse(number, region) else { return Ok(None) };
    if parsed.extension.is_some() {
        return Err(InvalidIdentifier::BadCharacter);
    }
    let Some(mut text) = format_possible(&parsed) else { return Ok(None) };
    if number.starts_with('+') && number.bytes().filter(u8::is_ascii_digit).eq(text.bytes().skip(1)) {
        // Nothing was stripped: the library has just read these very digits.
        return Ok(Some(text));
    }
    // Stripping a trunk prefix can leave something that reads as yet another one. Such numbers settle or are no numbers.
    for _ in 0..3 {
        let Some(again) = PHONE_NUMBER_UTIL.parse(&text, None).ok().and_then(|number| format_possible(&number)) else {
            return Ok(None);
        };
        if again == text {
            return Ok(Some(text));
        }
        text = again;
    }
    Ok(None)
}

fn format_possible(number: &PhoneNumber) -> Option<String> {
    use rlibphonenumber::NumberLengthType::IsPossible;
    let text = match number.is_possible_with_reason() {
        Ok(IsPossible) => number.format_as(PhoneNumberFormat::E164).into_owned(),
        Ok(_) | Err(_) => return None,
    };
    (text.len() > DIGITS_MIN).then_some(text)
}

/// `00` opens an international number in most of the world, whatever the tenant's own region dials.
fn double_zero_number(number: &str) -> Result<Option<String>, InvalidIdentifier> {
    let inner = number.trim_start_matches(|c: char| c == '(' || c.is_whitespace());
    inner.strip_prefix("00").map_or(Ok(None), |rest| full_number(&format!("+{rest}"), None))
}

fn local_form(digits: &str) -> Result<String, InvalidIdentifier> {
    match digits.len() {
        0..DIGITS_MIN => Err(InvalidIdentifier::TooFewDigits),
        DIGITS_MIN..=DIGITS_MAX => Ok(format!("{LOCAL_MARK}{digits}")),
        _ => Err(InvalidIdentifier::TooManyDigits),
    }
}

fn without_scheme(text: &str) -> &str {
    const SCHEMES: [&str; 5] = ["tel:", "sms:", "callto:", "whatsapp:", "phone:"];
    SCHEMES
        .iter()
        .find(|scheme| text.get(..scheme.len()).is_some_and(|head| head.eq_ignore_ascii_case(scheme)))
        .map_or(text, |scheme| trim(&text[scheme.len()..]))
}

/// Cuts `x12`, `ext. 12`, `#12`, `;ext=12` off the end, if a whole number stands before it.
fn split_extension(text: &str) -> (&str, Option<&str>) {
    const MARKS: [&str; 12] =
        [";ext=", "extension", "extn", "ext", "x", "#", "доб", "poste", "anexo", "int", "durchwahl", "tst"];
    let head = text.trim_end_matches(|c: char| ascii_digit(c).is_some());
    let extension = &text[head.len()..];
    let digits = extension.chars().count();
    if head.is_empty() || digits == 0 || digits > EXTENSION_DIGITS_MAX {
        return (text, None);
    }
    let head = head.trim_end_matches([' ', '.', ':', '\u{a0}', '-']);
    // Nearly every number ends in a digit or a bracket here, and is done.
    if !head.ends_with(|c: char| c.is_alphabetic() || matches!(c, '=' | '#')) {
        return (text, None);
    };
    let mark = MARKS.iter().find(|mark| ends_with_ignoring_case(head, mark));
    let Some(before) = mark.map(|mark| &head[..head.len() - mark.len()]) else {
        return (text, None);
    };
    let before = before.trim_end_matches([' ', ',', ';', '.', '\u{a0}', '(']);
    let whole = before.chars().filter(|c| ascii_digit(*c).is_some()).count() >= DIGITS_MIN
        && !before.ends_with(char::is_alphabetic);
    if whole { (before, Some(extension)) } else { (text, None) }
}

fn ends_with_ignoring_case(text: &str, mark: &str) -> bool {
    text.len()
        .checked_sub(mark.len())
        .and_then(|start| text.get(start..))
        .is_some_and(|end| end.eq_ignore_ascii_case(mark))
}

/// Whether the quick path, where it answers at all, gives what the library gives.
#[cfg(test)]
pub(super) fn quick_path_agrees(number: &str, region: &str) -> bool {
    match north_american_number(number, true) {
        Some(quick) => full_number(number, Region::from_code(region).ok()) == Ok(Some(quick)),
        None => true,
    }
}
