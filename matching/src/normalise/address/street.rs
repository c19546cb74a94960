//! The street line: number, street, unit.

use std::sync::LazyLock;

use hashbrown::HashMap;

use crate::normalise::text::fold;

/// A street line, taken apart. Texts are folded; empty where unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreetLine {
    /// House number: `12`, `12a`, `12-14`.
    pub number: String,
    /// Street, kinds of street and points of the compass in one spelling: `n main street`, `hauptstrasse`.
    pub street: String,
    /// What tells doors of one house apart, without its mark: `152` of `Ste 152`, `# 152`, `Apt. 152`.
    pub unit: String,
    /// Number of a post office box.
    pub po_box: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    /// Starts with a digit and is no ordinal.
    Number(String),
    Word(String),
}

impl Piece {
    fn text(&self) -> &str {
        match self {
            Self::Number(text) | Self::Word(text) => text,
        }
    }
}

impl StreetLine {
    pub(super) fn parse(parts: &[&str], unit: &str, country: Option<&str>) -> Self {
        let mut line = Self::default();
        let mut street: Vec<Piece> = Vec::new();
        if let [only] = parts
            && NO_ADDRESS.contains(&fold(only).as_str())
        {
            return line;
        }
        for part in parts {
            let mut pieces = pieces(part);
            line.take_box(&mut pieces);
            line.take_unit(&mut pieces);
            if pieces.is_empty() {
                continue;
            }
            // A number beside a street: `12, High Street`. Anything else behind the first is a building or district.
            let numbers_only = pieces.iter().all(|piece| matches!(piece, Piece::Number(_)));
            if numbers_only && street.len() > 1 && matches!(street[0], Piece::Number(_)) {
                // The house has its number already: `500 6th St, 303`.
                pieces.iter().for_each(|piece| push(&mut line.unit, piece.text()));
                continue;
            }
            if street.is_empty() || numbers_only || street.iter().all(|piece| matches!(piece, Piece::Number(_))) {
                street.extend(pieces);
            } else if !has_street_word(&street) && has_street_word(&pieces) {
                street = pieces;
            }
        }
        line.take_number(&mut street, country);
        line.street = spell_street(&street, country);
        let mut given = pieces(unit);
        line.take_box(&mut given);
        line.take_unit(&mut given);
        for piece in given {
            push(&mut line.unit, piece.text());
        }
        line
    }

    fn take_box(&mut self, pieces: &mut Vec<Piece>) {
        let words: Vec<&str> = pieces.iter().map(Piece::text).collect();
        for mark in BOX_MARKS {
            let mark: Vec<&str> = mark.split(' ').collect();
            if let Some(at) = words.windows(mark.len()).position(|window| window == mark)
                && let Some(Piece::Number(number)) = pieces.get(at + mark.len())
            {
                self.po_box.clone_from(number);
                pieces.drain(at..=at + mark.len());
                return;
            }
        }
    }

    /// From a mark to the value behind it; a mark without a value is part of the street.
    fn take_unit(&mut self, pieces: &mut Vec<Piece>) {
        let mut at = 0;
        while at < pieces.len() {
            let marked = UNIT_MARKS.contains(&pieces[at].text());
            let value = pieces.get(at + 1).filter(|value| {
                matches!(value, Piece::Number(_))
                    || value.text().len() <= 2
                    || value.text().bytes().any(|byte| byte.is_ascii_digit())
            });
            match value {
                Some(value) if marked => {
                    push(&mut self.unit, value.text());
                    pieces.drain(at..at + 2);
                }
                _ => at += 1,
            }
        }
    }

    /// In front of the street or behind it, whichever holds a number; behind it, a single letter belongs to the number.
    fn take_number(&mut self, street: &mut Vec<Piece>, country: Option<&str>) {
        street.retain(|piece| !matches!(piece, Piece::Word(word) if matches!(word.as_str(), "no" | "nr" | "num" | "numero" | "nummer")));
        if let Some(Piece::Number(first)) = street.first() {
            self.number = first.clone();
            street.remove(0);
            // Italy and Australia write `3/12`: one means a staircase, the other a flat in front of the house.
            if matches!(country, Some("AU" | "NZ"))
                && let Some((unit, number)) = self.number.split_once('/')
            {
                push(&mut self.unit, unit);
                self.number = number.to_owned();
            }
            return;
        }
        let Some(at) = street.iter().rposition(|piece| matches!(piece, Piece::Number(_))).filter(|at| *at > 0) else {
            return;
        };
        let behind = street.len() - at - 1;
        let letter = match street.get(at + 1) {
            Some(Piece::Word(word)) if word.len() == 1 && behind == 1 => word.clone(),
            _ => String::new(),
        };
        if behind == 0 || !letter.is_empty() {
            self.number = format!("{}{letter}", street[at].text());
            street.truncate(at);
        }
    }
}

fn push(into: &mut String, word: &str) {
    if !into.is_empty() {
        into.push(' ');
    }
    into.push_str(word);
}

/// Words and numbers of a line. Numbers keep what ties two of them (`12-14`, `3/12`) and a letter (`12a`); a number glued
/// to a word (`Hauptstraße97`, `Apt4`) comes off; `#` is a mark of its own.
fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let text = text.replace('#', " # ").replace("n°", " no ").replace("Nº", " no ").replace("nº", " no ");
    for chunk in text.split(|c: char| c.is_whitespace() || c == ',' || c == ';') {
        let chunk = chunk.trim_matches(|c: char| !c.is_alphanumeric() && c != '#');
        if chunk == "#" {
            pieces.push(Piece::Word("#".to_owned()));
        } else if let Some(number) = number(chunk) {
            pieces.push(Piece::Number(number));
        } else {
            for word in fold(chunk).split(' ').filter(|word| !word.is_empty()) {
                push_word(word, &mut pieces);
            }
        }
    }
    pieces
}

fn push_word(word: &str, pieces: &mut Vec<Piece>) {
    let letters = word.trim_end_matches(|c: char| c.is_ascii_digit());
    if word.starts_with(|c: char| c.is_ascii_digit()) && !is_ordinal(word) {
        pieces.push(Piece::Number(word.to_owned()));
    } else if letters.len() < word.len() && letters.chars().count() >= 2 && letters.chars().all(char::is_alphabetic) {
        pieces.push(Piece::Word(letters.to_owned()));
        pieces.push(Piece::Number(word[letters.len()..].to_owned()));
    } else {
        pieces.push(Piece::Word(word.to_owned()));
    }
}

/// `12`, `12a`, `12-14`, `3/12b`; never an ordinal.
fn number(chunk: &str) -> Option<String> {
    let well_formed = |part: &str| {
        let letters = part.trim_start_matches(|c: char| c.is_ascii_digit());
        letters.len() < part.len() && letters.len() <= 1 && letters.bytes().all(|byte| byte.is_ascii_alphabetic())
    };
    let parts: Vec<&str> = chunk.split(['-', '/', '–']).collect();
    let is_number = parts.len() <= 3
        && parts.iter().enumerate().all(|(place, part)| {
            well_formed(part) || (place > 0 && part.len() == 1 && part.bytes().all(|byte| byte.is_ascii_alphabetic()))
        });
    is_number.then(|| chunk.replace('–', "-").to_ascii_lowercase())
}

fn is_ordinal(word: &str) -> bool {
    let ending = word.trim_start_matches(|c: char| c.is_ascii_digit());
    ending.len() < word.len() && matches!(ending, "st" | "nd" | "rd" | "th" | "e" | "er" | "eme")
}

/// Whether a part behind a comma still tells the door: a unit (`Suite 152`), a short number (`12`), a numbered street, or
/// the street of a number that stands alone before it (`12, High Street`).
pub(super) fn is_part_of_street(part: &str, before: &[&str]) -> bool {
    let only_numbers = |pieces: &[Piece]| pieces.iter().all(|piece| matches!(piece, Piece::Number(_)));
    let found = pieces(part);
    match found.as_slice() {
        [] => true,
        [Piece::Number(number)] => number.len() < 4,
        [first, ..] => {
            is_all_unit(found.clone())
                || (matches!(first, Piece::Number(_)) && has_street_word(&found))
                || before.iter().all(|part| only_numbers(&pieces(part)))
        }
    }
}

fn is_all_unit(mut pieces: Vec<Piece>) -> bool {
    StreetLine::default().take_unit(&mut pieces);
    pieces.is_empty()
}

fn has_street_word(pieces: &[Piece]) -> bool {
    pieces.iter().any(|piece| match piece {
        Piece::Word(word) => STREET_WORDS.contains_key(word.as_str()) || glued_street(word).is_some(),
        Piece::Number(_) => false,
    })
}

/// `hauptstr` is `hauptstrasse`; `None` for words that end in no kind of street.
fn glued_street(word: &str) -> Option<String> {
    for (short, full) in
        [("strasse", "strasse"), ("strase", "strasse"), ("str", "strasse"), ("straat", "straat"), ("gatan", "gatan")]
    {
        if let Some(stem) = word.strip_suffix(short)
            && stem.len() >= 3
        {
            return Some(format!("{stem}{full}"));
        }
    }
    None
}

fn spell_street(pieces: &[Piece], country: Option<&str>) -> String {
    let mut words: Vec<String> = Vec::with_capacity(pieces.len());
    let last = pieces.len().saturating_sub(1);
    for (place, piece) in pieces.iter().enumerate() {
        let word = piece.text();
        let spelled = match word {
            // Saint in front of a name, street behind one.
            "st" if place == 0 && last > 0 => "saint".to_owned(),
            "str" => match country {
                Some("NL" | "BE") => "straat".to_owned(),
                Some("US" | "GB" | "CA" | "AU") => "street".to_owned(),
                Some("RO") => "strada".to_owned(),
                _ => "strasse".to_owned(),
            },
            _ => match DIRECTIONS.iter().find(|(_, names)| names.contains(&word)) {
                Some((short, _)) if last > 0 => (*short).to_owned(),
                _ => match STREET_WORDS.get(word) {
                    Some(full) => (*full).to_owned(),
                    None => glued_street(word).unwrap_or_else(|| word.to_owned()),
                },
            },
        };
        // `Berliner Straße` and `Berlinerstr.` are one; `north east` is `ne`.
        match words.last_mut() {
            Some(previous) if GLUED_KINDS.contains(&spelled.as_str()) => previous.push_str(&spelled),
            Some(previous) if matches!(previous.as_str(), "n" | "s") && matches!(spelled.as_str(), "e" | "w") => {
                previous.push_str(&spelled);
            }
            _ => words.push(spelled),
        }
    }
    words.join(" ")
}

/// German kinds of street, written as one word with the name or not.
const GLUED_KINDS: &[&str] = &["strasse", "gasse", "platz", "weg", "allee", "ring", "damm", "ufer"];

const DIRECTIONS: &[(&str, &[&str])] = &[
    ("n", &["n", "north", "nth"]),
    ("s", &["s", "south", "sth", "so"]),
    ("e", &["e", "east"]),
    ("w", &["w", "west"]),
    ("ne", &["ne", "northeast"]),
    ("nw", &["nw", "northwest"]),
    ("se", &["se", "southeast"]),
    ("sw", &["sw", "southwest"]),
];

const UNIT_MARKS: &[&str] = &[
    "#",
    "apt",
    "apartment",
    "appt",
    "app",
    "appartement",
    "unit",
    "ste",
    "suite",
    "rm",
    "room",
    "fl",
    "floor",
    "flr",
    "bldg",
    "building",
    "bld",
    "lot",
    "trlr",
    "trailer",
    "spc",
    "space",
    "flat",
    "villa",
    "shop",
    "office",
    "level",
    "lvl",
    "wohnung",
    "whg",
    "etage",
    "stock",
    "top",
    "tur",
    "int",
    "interno",
    "scala",
    "piso",
    "puerta",
    "pta",
    "esc",
    "escalera",
    "dept",
    "bte",
    "boite",
    "bus",
    "lgh",
    "door",
];

/// What forms and systems put where no address was given, folded.
const NO_ADDRESS: &[&str] = &[
    "address unknown",
    "general delivery",
    "homeless",
    "in store pickup",
    "n a",
    "na",
    "no address",
    "no fixed abode",
    "no fixed address",
    "none",
    "null",
    "not available",
    "not provided",
    "pick up",
    "pickup",
    "return to sender",
    "same",
    "same as above",
    "same as billing",
    "same as shipping",
    "store pickup",
    "tbd",
    "test",
    "unknown",
    "xxx",
];

const BOX_MARKS: &[&str] = &[
    "p o box",
    "po box",
    "pob",
    "gpo box",
    "post office box",
    "postfach",
    "postbus",
    "casella postale",
    "c p",
    "boite postale",
    "bp",
    "b p",
    "apartado",
    "apdo",
    "locked bag",
    "private bag",
    "box",
];

/// Spelling to the word in full. One line of the data file: `full = spelling, spelling, …`.
static STREET_WORDS: LazyLock<HashMap<&'static str, &'static str>> = LazyLock::new(|| {
    let mut table = HashMap::new();
    for line in include_str!("street_words.txt").lines().filter(|line| !line.starts_with('#')) {
        let Some((full, spellings)) = line.split_once('=') else { continue };
        let full = full.trim();
        for spelling in std::iter::once(full).chain(spellings.split(',').map(str::trim)).filter(|word| !word.is_empty())
        {
            table.insert(spelling, full);
        }
    }
    table
});
