//! Numbers and opaque ids: registration, tax and card numbers, user and device ids.

use icu_normalizer::ComposingNormalizerBorrowed;

use super::{InvalidIdentifier, is_padding, trim};

const NFC: ComposingNormalizerBorrowed<'static> = ComposingNormalizerBorrowed::new_nfc();

/// First characters of the runs of ten decimal digits that people type: Arabic-Indic, extended Arabic-Indic, N'Ko,
/// Devanagari, Bengali, Gurmukhi, Gujarati, Oriya, Tamil, Telugu, Kannada, Malayalam, Thai, Lao, Tibetan, Myanmar,
/// Khmer, Mongolian, full-width.
const DIGIT_ZEROES: [u32; 19] = [
    0x0660, 0x06f0, 0x07c0, 0x0966, 0x09e6, 0x0a66, 0x0ae6, 0x0b66, 0x0be6, 0x0c66, 0x0ce6, 0x0d66, 0x0e50, 0x0ed0,
    0x0f20, 0x1040, 0x17e0, 0x1810, 0xff10,
];

/// The ASCII digit that this decimal digit stands for, in any script of [`DIGIT_ZEROES`].
pub(super) fn ascii_digit(c: char) -> Option<char> {
    if c.is_ascii() {
        return c.is_ascii_digit().then_some(c);
    }
    let code = u32::from(c);
    DIGIT_ZEROES
        .iter()
        .find(|zero| (**zero..**zero + 10).contains(&code))
        .and_then(|zero| char::from_digit(code - zero, 10))
}

/// Full-width forms of ASCII (U+FF01 to U+FF5E) and digits of other scripts, as ASCII.
fn narrow(c: char) -> char {
    match u32::from(c) {
        code @ 0xff01..=0xff5e => char::from_u32(code - 0xff01 + 0x21).unwrap_or(c),
        _ => ascii_digit(c).unwrap_or(c),
    }
}

/// Lower case in composed form (NFC). Composing can uncover another capital, so it runs to a fixed point, which every
/// known text reaches in the second round.
pub(super) fn lower(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let mut folded = NFC.normalize(&text.to_lowercase()).into_owned();
    for _ in 0..3 {
        let again = NFC.normalize(&folded.to_lowercase()).into_owned();
        if again == folded {
            break;
        }
        folded = again;
    }
    folded
}

/// Letters and digits only, lower case: the form of numbers that people group, hyphenate and capitalise as they like.
///
/// # Errors
/// [`InvalidIdentifier::Empty`] when no letter or digit is left.
pub fn alphanumeric(raw: &str) -> Result<String, InvalidIdentifier> {
    let kept: String = if raw.is_ascii() {
        raw.bytes().filter(u8::is_ascii_alphanumeric).map(|byte| char::from(byte.to_ascii_lowercase())).collect()
    } else {
        let kept: String = NFC.normalize(raw).chars().map(narrow).filter(|c| c.is_alphanumeric()).collect();
        // Lower case of a letter can carry a combining mark (`İ`), which is no letter.
        lower(&kept).chars().filter(|c| c.is_alphanumeric()).collect()
    };
    if kept.is_empty() { Err(InvalidIdentifier::Empty) } else { Ok(kept) }
}

/// Trimmed, otherwise as it came: opaque ids in which case matters.
///
/// # Errors
/// [`InvalidIdentifier::Empty`] when nothing is left.
pub fn verbatim(raw: &str) -> Result<String, InvalidIdentifier> {
    let trimmed = trim(raw);
    if trimmed.is_empty() { Err(InvalidIdentifier::Empty) } else { Ok(trimmed.to_owned()) }
}

/// Trimmed, lower case, composed.
///
/// # Errors
/// [`InvalidIdentifier::Empty`] when nothing is left.
pub fn folded(raw: &str) -> Result<String, InvalidIdentifier> {
    let trimmed = trim(raw);
    if trimmed.is_empty() {
        return Err(InvalidIdentifier::Empty);
    }
    let text = lower(trimmed);
    debug_assert!(!text.ends_with(is_padding));
    Ok(text)
}
