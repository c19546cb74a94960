//! Names of persons.
//!
//! A name is given in parts or whole, in either order, with titles, suffixes and nicknames. [`PersonName`] keeps the parts
//! that comparisons need, folded. Parsing a whole name is guessing by position: the last word, with the particles before
//! it, is the family name, unless a comma or capitals say otherwise, or the script puts the family name first.

use std::borrow::Cow;
use std::sync::LazyLock;

use hashbrown::HashMap;

use super::text::{fold, fold_into, romanise};

/// A person's name in comparable form. All texts are folded; empty where unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PersonName {
    /// First given name, possibly an initial.
    pub given: String,
    /// Further given names and initials, parted by a space.
    pub middle: String,
    /// Family name with its particles; several words parted by a space (`garcia lopez`, `van der berg`).
    pub family: String,
    /// What parts namesakes of one family.
    pub suffix: Option<GenerationalSuffix>,
    /// A name in quotes or brackets: `William "Bill" Smith`.
    pub nickname: String,
}

/// What parts namesakes of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GenerationalSuffix {
    /// `Sr`.
    Senior,
    /// `Jr`, `II`.
    Junior,
    /// `III`.
    Third,
    /// `IV`.
    Fourth,
    /// `V`.
    Fifth,
}

impl GenerationalSuffix {
    /// The one way to write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Senior => "sr",
            Self::Junior => "jr",
            Self::Third => "iii",
            Self::Fourth => "iv",
            Self::Fifth => "v",
        }
    }

    /// Reads a folded word.
    #[must_use]
    pub fn read(word: &str) -> Option<Self> {
        Some(match word {
            "sr" | "snr" | "senior" | "sen" => Self::Senior,
            "jr" | "jnr" | "junior" | "jun" | "ii" | "2nd" | "filho" => Self::Junior,
            "iii" | "3rd" => Self::Third,
            "iv" | "4th" => Self::Fourth,
            "v" | "5th" => Self::Fifth,
            _ => return None,
        })
    }
}

impl PersonName {
    /// From separate fields, each as typed: fields swapped, whole names in one field and titles are all seen in them, so
    /// each is cleaned; `None` when no letter is in any.
    #[must_use]
    pub fn from_parts(given: &str, middle: &str, family: &str, suffix: &str) -> Option<Self> {
        let mut name = Self { suffix: GenerationalSuffix::read(&fold(suffix)), ..Self::default() };
        if family.is_empty() && given.contains(' ') {
            // A form with one field for names often fills the first of two columns.
            name = Self::parse(given)?;
        } else if given.is_empty() && family.contains([' ', ',']) && !starts_with_particle(family) {
            name = Self::parse(family)?;
        } else {
            name.read_given(given);
            name.family = fold(family);
            while let Some((rest, last)) = name.family.rsplit_once(' ') {
                if let Some(found) = GenerationalSuffix::read(last).filter(|_| last != "v") {
                    name.suffix = name.suffix.or(Some(found));
                } else if !CREDENTIALS.contains(&last) {
                    break;
                }
                name.family.truncate(rest.len());
            }
        }
        fold_into(middle, &mut name.middle);
        name.unless_empty()
    }

    fn read_given(&mut self, given: &str) {
        let (bare, nickname) = cut_nickname(given);
        self.nickname = nickname;
        let folded = fold(&bare);
        if !folded.contains(' ') {
            self.given = folded;
            return;
        }
        if PLACEHOLDERS.contains(&folded.as_str()) {
            return;
        }
        let mut words = folded.split(' ').filter(|word| !word.is_empty()).peekable();
        while let Some(first) = words.next() {
            if TITLES.contains(&first) && words.peek().is_some() {
                continue;
            }
            first.clone_into(&mut self.given);
            break;
        }
        let mut further: Vec<&str> = words.collect();
        // `Morris II` in a field for given names; `V` and `Jun` are initials and names as well.
        if let Some(found) = further.last().and_then(|word| GenerationalSuffix::read(word))
            && !further.last().is_some_and(|word| matches!(*word, "v" | "jun" | "sen" | "filho"))
        {
            self.suffix = self.suffix.or(Some(found));
            further.pop();
        }
        further.into_iter().for_each(|word| push_word(&mut self.middle, word));
    }

    /// From a whole name as typed; `None` when no letter is in it.
    #[must_use]
    pub fn parse(full: &str) -> Option<Self> {
        let (bare, nickname) = cut_nickname(full);
        let mut name = Self { nickname, ..Self::default() };
        if let Some((family, given)) = family_first_script(&bare) {
            name.family = fold(family);
            name.given = fold(given);
            return name.unless_empty();
        }
        let mut parts: Vec<&str> =
            bare.split([',', '，', ';']).map(str::trim).filter(|part| !part.is_empty()).collect();
        // `Smith, John, Jr.` and `John Smith, MD`: what follows a comma may be no name at all.
        while parts.len() > 1 && name.reads_as_suffix(parts[parts.len() - 1]) {
            parts.pop();
        }
        match parts.as_slice() {
            [] => return None,
            [whole] => name.read_whole(whole),
            [family, given @ ..] => {
                let mut words = Words::of(family);
                words.strip_suffixes(&mut name.suffix);
                name.family = words.join();
                let mut rest = Words::default();
                given.iter().for_each(|part| rest.extend(part));
                rest.strip_titles();
                rest.strip_suffixes(&mut name.suffix);
                name.take_given(&rest.words);
            }
        }
        name.unless_empty()
    }

    fn reads_as_suffix(&mut self, part: &str) -> bool {
        let words = Words::of(part);
        let all = !words.words.is_empty()
            && words.words.iter().all(|word| {
                let word = word.folded.as_str();
                GenerationalSuffix::read(word).is_some()
                    || CREDENTIALS.contains(&word)
                    || CREDENTIALS_BEHIND_COMMA.contains(&word)
            });
        if all {
            self.suffix = words.words.iter().find_map(|word| GenerationalSuffix::read(&word.folded)).or(self.suffix);
        }
        all
    }

    fn read_whole(&mut self, whole: &str) {
        let mut words = Words::of(whole);
        words.strip_titles();
        words.strip_suffixes(&mut self.suffix);
        let words = words.words;
        match words.len() {
            0 => {}
            1 => {
                // One word is a given name when it is known as one, and a family name otherwise.
                let word = words[0].folded.clone();
                if is_known_given(&word) { self.given = word } else { self.family = word }
            }
            _ => {
                let capitals = |word: &Word| word.capitals;
                let last = words.len() - 1;
                let family_leads = capitals(&words[0])
                    && !words[1..].iter().any(capitals)
                    && reads_as_family(&words[0].folded, &words[1].folded);
                let last_is_initial = words[last].folded.chars().count() == 1 && words[0].folded.chars().count() > 1;
                if family_leads || (last_is_initial && words.len() == 2) {
                    self.family = words[0].folded.clone();
                    self.take_given(&words[1..]);
                } else {
                    let mut start = last;
                    while start > 1 && PARTICLES.contains(&words[start - 1].folded.as_str()) {
                        start -= 1;
                    }
                    for word in &words[start..] {
                        push_word(&mut self.family, &word.folded);
                    }
                    self.take_given(&words[..start]);
                }
            }
        }
    }

    fn take_given(&mut self, words: &[Word]) {
        if let Some((first, rest)) = words.split_first() {
            self.given = first.folded.clone();
            for word in rest {
                push_word(&mut self.middle, &word.folded);
            }
        }
    }

    fn unless_empty(mut self) -> Option<Self> {
        // `Unknown Unknown` is nobody's name; one such word beside a real one may be (there are people named Null).
        let is_placeholder = |part: &str| part.is_empty() || PLACEHOLDERS.contains(&part);
        if is_placeholder(&self.given) && is_placeholder(&self.family) {
            self.given.clear();
            self.family.clear();
        }
        let empty =
            self.given.is_empty() && self.family.is_empty() && self.middle.is_empty() && self.nickname.is_empty();
        (!empty).then_some(self)
    }

    /// The family name without particles: `berg` of `van der berg`.
    #[must_use]
    pub fn family_core(&self) -> &str {
        let mut core = self.family.as_str();
        while let Some((first, rest)) = core.split_once(' ') {
            if !PARTICLES.contains(&first) {
                break;
            }
            core = rest;
        }
        core
    }

    /// ASCII spelling of given and family name, where either is of another script: a weaker key.
    #[must_use]
    pub fn romanised(&self) -> Option<(String, String)> {
        if self.given.is_ascii() && self.family.is_ascii() {
            return None;
        }
        let ascii = |part: &str| romanise(part).unwrap_or_else(|| part.to_owned());
        Some((ascii(&self.given), ascii(&self.family)))
    }
}

struct Word {
    folded: String,
    /// Written in capitals, two or more of them.
    capitals: bool,
    /// Written as names are: a capital first, no dot behind.
    as_name: bool,
}

#[derive(Default)]
struct Words {
    words: Vec<Word>,
}

impl Words {
    fn of(text: &str) -> Self {
        let mut words = Self::default();
        words.extend(text);
        words
    }

    fn extend(&mut self, text: &str) {
        for raw in text.split_whitespace() {
            let folded = fold(raw);
            if !folded.is_empty() {
                let letters = raw.chars().filter(|c| c.is_alphabetic()).count();
                let capitals = letters >= 2 && raw.chars().all(|c| !c.is_lowercase());
                let as_name = raw.starts_with(char::is_uppercase) && !raw.ends_with('.');
                self.words.push(Word { folded, capitals, as_name });
            }
        }
    }

    fn strip_titles(&mut self) {
        let titles = self.words.iter().take_while(|word| TITLES.contains(&word.folded.as_str())).count();
        self.words.drain(..titles.min(self.words.len().saturating_sub(1)));
    }

    fn strip_suffixes(&mut self, suffix: &mut Option<GenerationalSuffix>) {
        while self.words.len() > 1 {
            let word = &self.words[self.words.len() - 1];
            let last = word.folded.as_str();
            // A lone `V` behind two words is more often an initial than a fifth, and `Jun` a name where it is written as one.
            let as_suffix = match last {
                "v" => self.words.len() > 3,
                "jun" | "sen" => !word.as_name,
                _ => true,
            };
            if let Some(found) = GenerationalSuffix::read(last).filter(|_| as_suffix) {
                *suffix = suffix.or(Some(found));
            } else if !CREDENTIALS.contains(&last) || self.words.len() < 3 {
                return;
            }
            self.words.pop();
        }
    }

    fn join(&self) -> String {
        let mut joined = String::new();
        self.words.iter().for_each(|word| push_word(&mut joined, &word.folded));
        joined
    }
}

/// Whether a word in capitals in front of one that is not is a family name (`SMITH Jon`) rather than a given name or
/// initials that somebody wrote so (`ADA Lovelace`, `TJ Miller`). A given name behind it says yes; without one a known given
/// name or a short word in front says no, unless it is a family name that is short.
fn reads_as_family(first: &str, second: &str) -> bool {
    is_known_given(second)
        || SHORT_FAMILY_NAMES.contains(&first)
        || (first.chars().count() > 3 && !is_known_given(first))
}

fn push_word(into: &mut String, word: &str) {
    if !into.is_empty() {
        into.push(' ');
    }
    into.push_str(word);
}

/// Takes a nickname in quotes or brackets out of a name.
fn cut_nickname(text: &str) -> (Cow<'_, str>, String) {
    if text.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b' ') {
        return (Cow::Borrowed(text), String::new());
    }
    for (open, close) in [('"', '"'), ('(', ')'), ('“', '”'), ('„', '“'), ('«', '»'), ('（', '）')] {
        if let Some((before, rest)) = text.split_once(open)
            && let Some((inside, after)) = rest.split_once(close)
        {
            return (Cow::Owned(format!("{before} {after}")), fold(inside));
        }
    }
    (Cow::Borrowed(text), String::new())
}

/// Chinese, Japanese and Korean names without a space: the family name leads. `None` for all others.
fn family_first_script(text: &str) -> Option<(&str, &str)> {
    let text = text.trim();
    let ideographic =
        |c: char| matches!(u32::from(c), 0x3400..=0x9fff | 0xf900..=0xfaff | 0xac00..=0xd7a3 | 0x3040..=0x30ff);
    if text.is_ascii() || !text.chars().all(|c| ideographic(c) || c == ' ' || c == '\u{3000}') {
        return None;
    }
    if let Some((family, given)) = text.split_once([' ', '\u{3000}']) {
        return Some((family, given));
    }
    let count = text.chars().count();
    let family_chars = match count {
        0 | 1 => return None,
        2 | 3 if DOUBLE_FAMILY_NAMES.iter().any(|double| text.starts_with(double)) && count > 2 => 2,
        2 | 3 => 1,
        _ => 2,
    };
    let split = text.char_indices().nth(family_chars).map_or(text.len(), |(at, _)| at);
    Some(text.split_at(split))
}

const DOUBLE_FAMILY_NAMES: &[&str] =
    &["欧阳", "歐陽", "司马", "司馬", "诸葛", "諸葛", "上官", "东方", "司徒", "남궁", "황보", "제갈", "선우"];

fn starts_with_particle(family: &str) -> bool {
    family.split_whitespace().next().is_some_and(|first| PARTICLES.contains(&fold(first).as_str()))
}

/// Family names of two or three letters, as writers put them in capitals in front.
const SHORT_FAMILY_NAMES: &[&str] = &[
    "an", "bae", "bui", "cai", "cha", "cho", "chu", "cui", "dai", "doi", "du", "fan", "fu", "gao", "go", "goh", "gu",
    "guo", "ha", "han", "hao", "he", "ho", "hu", "hur", "ito", "jia", "jin", "kim", "ko", "koh", "lai", "lam", "lau",
    "le", "lee", "leu", "li", "lim", "lin", "liu", "lo", "low", "lu", "luo", "luu", "ly", "ma", "mai", "mao", "min",
    "mo", "mok", "na", "ng", "ngo", "nie", "noh", "oh", "ong", "ota", "ou", "pan", "pei", "qi", "qin", "qiu", "ren",
    "roh", "ryu", "sa", "seo", "shi", "sim", "sin", "so", "son", "su", "sun", "ta", "tan", "tao", "teo", "to", "toh",
    "tse", "tu", "vo", "vu", "wan", "wei", "wen", "woo", "wu", "xia", "xie", "xu", "xue", "yan", "yao", "ye", "yi",
    "yin", "yoo", "you", "yu", "yun", "yup", "zhu", "zou",
];

/// What forms and systems put where no name was given, folded.
const PLACEHOLDERS: &[&str] = &[
    "anonymous",
    "customer",
    "do not use",
    "fnu",
    "guest",
    "lnu",
    "n a",
    "na",
    "name",
    "nfn",
    "nln",
    "nmn",
    "no name",
    "none",
    "not available",
    "not given",
    "not provided",
    "null",
    "test",
    "tester",
    "unk",
    "unknown",
    "user",
    "xxx",
];

/// Words that open a family name and belong to it.
const PARTICLES: &[&str] = &[
    "af", "al", "am", "auf", "aus", "av", "ben", "bin", "binte", "bint", "da", "das", "de", "degli", "dei", "del",
    "della", "delle", "den", "der", "des", "di", "do", "dos", "du", "e", "el", "ibn", "la", "las", "le", "les", "lo",
    "los", "mac", "mc", "o", "op", "san", "santa", "st", "saint", "ten", "ter", "van", "vande", "vanden", "vander",
    "vom", "von", "y", "zu", "zum", "zur", "abu", "ap",
];

const TITLES: &[&str] = &[
    "mr",
    "mrs",
    "ms",
    "miss",
    "mx",
    "mister",
    "master",
    "dr",
    "doctor",
    "prof",
    "professor",
    "sir",
    "dame",
    "lady",
    "lord",
    "rev",
    "reverend",
    "fr",
    "father",
    "hon",
    "judge",
    "capt",
    "captain",
    "col",
    "gen",
    "lt",
    "maj",
    "sgt",
    "herr",
    "frau",
    "fraulein",
    "hr",
    "dipl",
    "ing",
    "mag",
    "m",
    "mme",
    "mlle",
    "monsieur",
    "madame",
    "mademoiselle",
    "sr",
    "sra",
    "srta",
    "senor",
    "senora",
    "don",
    "dona",
    "sig",
    "signor",
    "signora",
    "dott",
    "dottssa",
    "avv",
    "dhr",
    "mevr",
    "mw",
    "pan",
    "pani",
    "shri",
    "smt",
    "haji",
    "sheikh",
];

/// Degrees, professions and honours behind a name that are no family names.
const CREDENTIALS: &[&str] = &[
    "md", "phd", "dphil", "dds", "dmd", "dvm", "esq", "esquire", "cpa", "rn", "mba", "jd", "llm", "msc", "bsc", "edd",
    "psyd", "pmp", "cfa", "cfp", "obe", "mbe", "cbe", "kbe", "qc", "kc", "frcs", "frs", "usn", "usmc", "usaf", "lcsw",
    "pharmd", "deceased",
];

/// More of them, which are family names too (`Yo-Yo Ma`), so that they count behind a comma only.
const CREDENTIALS_BEHIND_COMMA: &[&str] = &["ba", "bs", "do", "ma", "med", "mp", "ms", "np", "od", "pa", "pe", "ret"];

/// Other forms of each given name, in the order of the data file.
static NICKNAMES: LazyLock<HashMap<&'static str, Vec<&'static str>>> = LazyLock::new(|| {
    let mut table: HashMap<&'static str, Vec<&'static str>> = HashMap::new();
    for line in include_str!("nicknames.txt").lines().filter(|line| !line.starts_with('#')) {
        let Some((full, forms)) = line.split_once(':') else { continue };
        for form in std::iter::once(full).chain(forms.split_whitespace()) {
            let roots = table.entry(form).or_default();
            if !roots.contains(&full) {
                // A name that is full itself is its own first root, whichever line comes first.
                if form == full { roots.insert(0, full) } else { roots.push(full) }
            }
        }
    }
    table
});

/// The full names that this folded given name may stand for, the likeliest first, itself included if it is one; empty
/// for a name without known forms.
#[must_use]
pub fn full_forms(given: &str) -> &'static [&'static str] {
    NICKNAMES.get(given).map_or(&[], Vec::as_slice)
}

/// Whether two folded given names may be forms of one name: `bob` and `robert`, `bill` and `billy`. Equal names are.
#[must_use]
pub fn may_be_same_given(left: &str, right: &str) -> bool {
    left == right || full_forms(left).iter().any(|root| full_forms(right).contains(root))
}

/// Whether a folded word is a given name of the data file. Many family names are given names too.
#[must_use]
pub fn is_known_given(word: &str) -> bool {
    NICKNAMES.contains_key(word)
}

#[cfg(test)]
mod tests;
