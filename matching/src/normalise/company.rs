//! Company names: what is the name, what is the legal form.
//!
//! The legal form is cut off, longest first, and kept as its own part: `Acme Ltd` and `Acme GmbH` have one core and may
//! still be two companies. Abbreviations typed with dots become words (`S.p.A.` is `spa`), `&` and `+` become `and`,
//! common trade words are spelled out.

use std::borrow::Cow;
use std::sync::LazyLock;

use hashbrown::HashMap;
use onefold_core::identifier::region::country_code;

use super::text::{fold, fold_into, romanise};

/// A company's name in comparable form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CompanyName {
    /// The name without its legal form: folded words, parted by one space, trade words spelled out, without a leading
    /// `the`. Never empty: a name that is nothing but legal forms keeps them.
    pub core: String,
    /// The legal form in its usual short spelling, such as `gmbh`, `co ltd`, `inc`; several as written, outermost last.
    pub forms: Vec<&'static str>,
    /// First letters of the core's words, `and` and `of` left out, when there are at least two: `ibm`.
    pub acronym: Option<String>,
    /// ASCII spelling of a core in another script: a weaker key.
    pub romanised: Option<String>,
    /// What somebody noted beside the name, folded: `do not use`, `old`, `hq`, a branch's town behind a legal form.
    pub remark: String,
}

impl CompanyName {
    /// Reads a name as written; `None` when no letter or digit is in it.
    #[must_use]
    pub fn parse(raw: &str) -> Option<Self> {
        let mut name = Self::read(raw)?;
        // In scripts without spaces, one form taken off can uncover another that stands against the name.
        for _ in 0..FORM_WORDS_MAX {
            if name.core.is_ascii() {
                break;
            }
            let Some(mut again) = Self::read(&name.core).filter(|again| again.core != name.core) else { break };
            again.forms.append(&mut name.forms);
            again.remark = name.remark;
            name = again;
        }
        Some(name)
    }

    fn read(raw: &str) -> Option<Self> {
        let (bare, remark) = cut_remarks(raw);
        let mut forms = Vec::new();
        let bare = cut_glued_forms(&bare, &mut forms);
        let folded = fold_words(bare);
        let bound = 3 * raw.len() + 64;
        let mut spelled = 0;
        let mut words: Vec<&str> = folded
            .split(' ')
            .filter(|word| !word.is_empty())
            .map(|word| {
                let full = TRADE_WORDS.get(word).copied().filter(|full| spelled + full.len() < bound).unwrap_or(word);
                spelled += full.len() + 1;
                full
            })
            .collect();
        if words.is_empty() {
            return None;
        }
        loop {
            let before = (words.len(), forms.len());
            strip_form(&mut words, &mut forms);
            strip_fillers(&mut words);
            if (words.len(), forms.len()) == before {
                break;
            }
        }
        forms.reverse();
        let mut core = String::new();
        join(&words, &mut core);
        let mut acronym = String::new();
        for word in words.iter().filter(|word| !matches!(**word, "and" | "of" | "the" | "for")) {
            acronym.extend(word.chars().next());
        }
        let romanised = romanise(&core);
        Some(Self { core, forms, acronym: (acronym.chars().count() >= 2).then_some(acronym), romanised, remark })
    }
}

/// Takes off what is noted beside a name: between asterisks, in brackets when it is a known remark or a country, behind a
/// dash when it is a known remark or the name before it ends in a legal form. A name that is all remark stays.
fn cut_remarks(raw: &str) -> (Cow<'_, str>, String) {
    // Nearly all names hold none of the marks.
    if !raw.contains(['*', '(', '[', '-', '–']) {
        return (Cow::Borrowed(raw), String::new());
    }
    let mut bare = raw.to_owned();
    let mut remark = String::new();
    for (open, close) in [('*', '*'), ('(', ')'), ('[', ']')] {
        let mut from = 0;
        while let Some(start) = bare.get(from..).and_then(|rest| rest.find(open)).map(|at| from + at) {
            let Some(end) = bare[start + 1..].find(close).map(|at| start + 1 + at) else { break };
            if open != '*' && end - start > BRACKETED_BYTES_MAX {
                // Too long for what is looked for: a thousand open brackets are not folded a thousand times.
                from = start + 1;
                continue;
            }
            let inside = fold(&bare[start + 1..end]);
            if open == '*' || REMARKS.contains(&inside.as_str()) || country_code(&bare[start + 1..end]).is_some() {
                fold_into(&inside, &mut remark);
                bare.replace_range(start..=end, " ");
            }
            from = start + 1;
            // Replacing shifts what follows; the next mark is looked for behind this one, on a character's boundary.
            while !bare.is_char_boundary(from.min(bare.len())) {
                from += 1;
            }
        }
    }
    if let Some(dash) = bare.rfind(" - ").or_else(|| bare.rfind(" – ")) {
        let behind = fold(&bare[dash..]);
        let before = as_looked_up(&bare[..dash]);
        let mut words: Vec<&str> = before.split(' ').collect();
        let count = words.len();
        strip_form(&mut words, &mut Vec::new());
        let behind_form = words.len() < count;
        if REMARKS.contains(&behind.as_str()) || behind_form {
            fold_into(&behind, &mut remark);
            bare.truncate(dash);
        }
    }
    if fold(&bare).is_empty() { (Cow::Borrowed(raw), String::new()) } else { (Cow::Owned(bare), remark) }
}

/// Bytes between brackets that can be a remark or the name of a country.
const BRACKETED_BYTES_MAX: usize = 64;

/// What operators of other systems note in the name field, folded.
const REMARKS: &[&str] = &[
    "archive",
    "archived",
    "branch",
    "closed",
    "deleted",
    "do not call",
    "do not contact",
    "do not use",
    "dup",
    "duplicate",
    "dupe",
    "formerly",
    "head office",
    "headquarters",
    "hq",
    "inactive",
    "main",
    "main office",
    "merged",
    "new",
    "obsolete",
    "old",
    "out of business",
    "prospect",
    "test",
];

/// Folded words, `&` and `+` as `and`, runs of single letters joined: `A. B. C. Co` is `abc co`.
fn fold_words(raw: &str) -> String {
    let mut folded = String::with_capacity(raw.len() + 8);
    if raw.contains(['&', '+', '＆']) {
        fold_into(&raw.replace(['&', '+', '＆'], " and "), &mut folded);
    } else {
        fold_into(raw, &mut folded);
    }
    let single = |word: &str| word.len() == 1 && word.as_bytes()[0].is_ascii_alphabetic();
    let mut words = folded.split(' ').peekable();
    let mut joined = String::with_capacity(folded.len());
    while let Some(word) = words.next() {
        if !joined.is_empty() {
            joined.push(' ');
        }
        joined.push_str(word);
        let mut run = single(word);
        while run && words.peek().is_some_and(|next| single(next)) {
            joined.extend(words.next());
            run = true;
        }
    }
    joined
}

/// Words that open or close a name and are left out at will.
fn strip_fillers(words: &mut Vec<&str>) {
    while words.len() > 1 && matches!(words[0], "the" | "and") {
        words.remove(0);
    }
    while words.len() > 1 && matches!(words[words.len() - 1], "and" | "the" | "dba") {
        words.pop();
    }
}

/// Words in the longest legal form.
const FORM_WORDS_MAX: usize = 7;

fn strip_form(words: &mut Vec<&str>, forms: &mut Vec<&'static str>) {
    let mut phrase = String::new();
    // A name keeps at least one word: `Limited` alone is a name.
    for len in (1..=FORM_WORDS_MAX.min(words.len().saturating_sub(1))).rev() {
        let tail = words.len() - len;
        join(&words[tail..], &mut phrase);
        if let Some(form) = FORMS.get(phrase.as_str()) {
            words.truncate(tail);
            forms.push(form);
            return;
        }
    }
    for len in (1..=FORM_WORDS_MAX.min(words.len().saturating_sub(1))).rev() {
        join(&words[..len], &mut phrase);
        if let Some(form) = LEADING_FORMS.get(phrase.as_str()) {
            words.drain(..len);
            forms.push(form);
            return;
        }
    }
}

/// Takes off forms that scripts without spaces write against the name.
fn cut_glued_forms<'a>(raw: &'a str, forms: &mut Vec<&'static str>) -> &'a str {
    if raw.is_ascii() {
        return raw;
    }
    let bare = |text: &'a str| {
        text.trim_matches(|c: char| c.is_whitespace() || c.is_ascii_punctuation() || "・（）「」–—".contains(c))
    };
    let mut rest = bare(raw);
    while let Some((shorter, form)) = GLUED_FORMS.iter().find_map(|form| {
        let cut = bare(rest.strip_suffix(form).or_else(|| rest.strip_prefix(form))?);
        (!fold(cut).is_empty()).then_some((cut, *form))
    }) {
        forms.push(form);
        rest = shorter;
    }
    rest
}

fn spelled_out(word: &str) -> &str {
    TRADE_WORDS.get(word).copied().unwrap_or(word)
}

fn join(words: &[&str], into: &mut String) {
    into.clear();
    for word in words {
        if !into.is_empty() {
            into.push(' ');
        }
        into.push_str(word);
    }
}

const GLUED_FORMS: [&str; 9] = [
    "股份有限公司",
    "有限责任公司",
    "有限責任公司",
    "有限公司",
    "株式会社",
    "株式會社",
    "有限会社",
    "合同会社",
    "주식회사",
];

type Table = LazyLock<HashMap<String, &'static str>>;

/// Spelling to short form. One line of the data file: `short = spelling, spelling, …`; a leading `^` marks a spelling that
/// opens names.
static FORMS: Table = LazyLock::new(|| read_table(include_str!("legal_forms.txt"), false, as_looked_up));
static LEADING_FORMS: Table = LazyLock::new(|| read_table(include_str!("legal_forms.txt"), true, as_looked_up));
static TRADE_WORDS: Table = LazyLock::new(|| read_table(include_str!("trade_words.txt"), false, str::to_owned));

/// The trade words of company names, spelled out: they tell little of which company it is.
pub fn trade_words() -> impl Iterator<Item = &'static str> {
    let mut words: Vec<&'static str> = TRADE_WORDS.values().copied().collect();
    words.sort_unstable();
    words.dedup();
    words.into_iter()
}

/// `spell` brings a line's spellings to the shape in which they are looked up.
fn read_table(text: &'static str, leading: bool, spell: fn(&str) -> String) -> HashMap<String, &'static str> {
    let mut table = HashMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((short, spellings)) = line.split_once('=') else { continue };
        let short = short.trim();
        if !leading {
            table.insert(short.to_owned(), short);
        }
        for spelling in spellings.split(',').map(str::trim).filter(|spelling| !spelling.is_empty()) {
            match spelling.strip_prefix('^') {
                Some(opening) if leading => drop(table.insert(spell(opening), short)),
                None if !leading => drop(table.insert(spell(spelling), short)),
                _ => {}
            }
        }
    }
    table
}

/// Legal forms are looked up after trade words were spelled out, so their spellings go the same way.
fn as_looked_up(phrase: &str) -> String {
    let folded = fold_words(phrase);
    let words: Vec<&str> = folded.split(' ').map(spelled_out).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests;
