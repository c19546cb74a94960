//! Postal codes.

/// Whether a code has the shape that its country gives codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PostcodeShape {
    /// It has.
    Fits,
    /// It has not: a typing error, or another country's code.
    Foreign,
    /// The country is unknown, or its codes are not in the table.
    Unknown,
}

/// A postal code in comparable form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Postcode {
    /// Letters and digits, lower case, without country prefix: `sw1a1aa`, `56566`.
    pub code: String,
    /// The four digits behind a ZIP code, if given.
    pub plus_four: Option<String>,
    /// Against the country's shape.
    pub shape: PostcodeShape,
}

impl Postcode {
    /// Reads a code as typed; `None` when no letter or digit is in it, or it is far too long for one.
    #[must_use]
    pub fn parse(raw: &str, country: Option<&str>) -> Option<Self> {
        let trimmed = raw.trim();
        if trimmed.is_empty() || trimmed.len() > 24 {
            return None;
        }
        let mut code: String =
            trimmed.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
        if code.is_empty() {
            return None;
        }
        // `D-81733`, `FL-2198`, `CH 8000`: the country in front of a code of digits.
        let digits_from = code.bytes().position(|byte| byte.is_ascii_digit()).unwrap_or(0);
        let numeric_behind = code[digits_from..].bytes().all(|byte| byte.is_ascii_digit());
        if (1..=3).contains(&digits_from) && numeric_behind && code.len() - digits_from >= 4 {
            code.drain(..digits_from);
        }
        let all_digits = code.bytes().all(|byte| byte.is_ascii_digit());
        let american = country.is_none_or(|country| matches!(country, "US" | "PR"));
        let mut plus_four = None;
        if all_digits && american && code.len() == 9 {
            plus_four = Some(code.split_off(5));
        }
        if all_digits && country == Some("US") && code.len() == 4 {
            // Spreadsheets drop the leading zero of New England.
            code.insert(0, '0');
        }
        let shape = country.map_or(PostcodeShape::Unknown, |country| shape(&code, country));
        Some(Self { code, plus_four, shape })
    }

    /// The leading part that names an area: the outward code of a British one, the first three characters of others. A
    /// coarse key, for finding candidates.
    #[must_use]
    pub fn area(&self) -> &str {
        let british = self.code.len() >= 5 && fits(&self.code, "GB");
        let len = if british { self.code.len() - 3 } else { self.code.len().min(3) };
        self.code.get(..len).unwrap_or(&self.code)
    }
}

fn shape(code: &str, country: &str) -> PostcodeShape {
    if !SHAPES.iter().any(|(countries, _)| countries.split(' ').any(|known| known == country)) {
        PostcodeShape::Unknown
    } else if fits(code, country) {
        PostcodeShape::Fits
    } else {
        PostcodeShape::Foreign
    }
}

fn fits(code: &str, country: &str) -> bool {
    SHAPES.iter().filter(|(countries, _)| countries.split(' ').any(|known| known == country)).any(|(_, patterns)| {
        patterns.split(' ').any(|pattern| {
            pattern.len() == code.len()
                && pattern.bytes().zip(code.bytes()).all(|(want, byte)| match want {
                    b'9' => byte.is_ascii_digit(),
                    b'A' => byte.is_ascii_alphabetic(),
                    b'*' => byte.is_ascii_alphanumeric(),
                    literal => literal == byte,
                })
        })
    })
}

/// `9` a digit, `A` a letter, `*` either. Source: the Universal Postal Union's addressing sheets.
const SHAPES: &[(&str, &str)] = &[
    ("US PR DE FR IT ES FI EE HR MX TR TH MY UA KW SA KR ID PE EG MA LT ME RS", "99999"),
    ("AT AU BE BG CH CY DK HU LI LU LV NO NZ PH SI TN ZA GE", "9999"),
    ("CN CO EC IN KZ RO RU SG VN BY", "999999"),
    ("SE CZ SK GR PL", "99999"),
    ("JP IL CL", "9999999"),
    ("BR", "99999999"),
    ("PT", "9999999 9999"),
    ("NL", "9999AA"),
    ("CA", "A9A9A9"),
    ("GB", "A99AA A999AA AA99AA AA999AA A9A9AA AA9A9AA"),
    ("IE", "A99**** A9A****"),
    ("AR", "9999 A9999AAA"),
    ("TW", "999 99999 999999"),
];
