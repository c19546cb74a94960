//! Blocking: the cheap test that makes two records a candidate pair. Two records are compared when they share a key whose
//! block is within the bound; several rules make keys, so that no single mistake hides a pair.

use smallvec::SmallVec;

use super::schema::{FieldKind, Schema};
use super::symbols::{ABSENT, Symbol, Symbols, mix};

/// What of a field goes into a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The whole value.
    Whole(usize),
    /// Its coarse form: see [`super::weigh::Matcher`].
    Coarse(usize),
    /// The first four letters, of a date the year.
    Front(usize),
    /// What is behind the fourth letter, of a date month and day.
    Back(usize),
    /// The first letter.
    Initial(usize),
    /// The first three letters: a slip further behind does no harm.
    Prefix(usize),
}

/// A way to make keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// One key of all parts, when all are there.
    All(SmallVec<[Part; 3]>),
    /// Likewise, whichever of the two comes first: fields are exchanged now and then.
    EitherOrder(Part, Part),
    /// One key for each of the rarest words, and for each two of them.
    Words(usize),
}

/// Words of a value that make keys of their own.
const KEY_WORDS: usize = 5;

impl Rule {
    /// The fields that the rule speaks of.
    pub fn slots(&self) -> SmallVec<[usize; 3]> {
        match self {
            Self::All(parts) => parts.iter().map(|part| part.slot()).collect(),
            Self::EitherOrder(a, b) => SmallVec::from_slice(&[a.slot(), b.slot()]),
            Self::Words(slot) => SmallVec::from_slice(&[*slot]),
        }
    }

    /// The rule in words.
    #[must_use]
    pub fn name(&self, schema: &Schema) -> String {
        let named = |slot: usize| schema.fields[slot].name.as_str();
        match self {
            Self::All(parts) => {
                let parts: Vec<String> = parts.iter().map(|part| part.name(named(part.slot()))).collect();
                parts.join(" and ")
            }
            Self::EitherOrder(a, b) => format!("{} and {} in either order", named(a.slot()), named(b.slot())),
            Self::Words(slot) => format!("a rare word of {}", named(*slot)),
        }
    }

    /// Appends the row's keys. `number` keeps the keys of two rules apart.
    pub fn keys(&self, number: u16, symbols: &Symbols, row: &[Symbol], out: &mut SmallVec<[u64; 16]>) {
        self.keys_of(number, symbols, row, &mut |_, part| part.hash(symbols, row), out);
    }

    /// The same, with the hashes of parts asked of `hash`, which is told the place of the part in the rule.
    fn keys_of(
        &self,
        number: u16,
        symbols: &Symbols,
        row: &[Symbol],
        hash: &mut dyn FnMut(usize, Part) -> Option<u64>,
        out: &mut SmallVec<[u64; 16]>,
    ) {
        let seed = mix(0x6f6e_6566_6f6c_6400 ^ u64::from(number));
        match self {
            Self::All(parts) => {
                let mut key = seed;
                for (place, part) in parts.iter().enumerate() {
                    let Some(hash) = hash(place, *part) else { return };
                    key = mix(key ^ hash).wrapping_add(seed);
                }
                out.push(key);
            }
            Self::EitherOrder(a, b) => {
                if let (Some(a), Some(b)) = (hash(0, *a), hash(1, *b)) {
                    out.push(mix(seed ^ mix(a.min(b)) ^ a.max(b)));
                }
            }
            Self::Words(slot) => {
                let mut rarest: SmallVec<[(f32, u64); 16]> =
                    symbols.words(row[*slot]).iter().map(|word| (-word.rarity, word.hash)).collect();
                rarest.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
                rarest.dedup_by_key(|word| word.1);
                rarest.truncate(KEY_WORDS);
                for (at, (_, word)) in rarest.iter().enumerate() {
                    out.push(mix(seed ^ word));
                    for (_, other) in &rarest[at + 1..] {
                        out.push(mix(seed ^ mix(*word.min(other)) ^ word.max(other)));
                    }
                }
            }
        }
    }
}

/// Rules made ready: what several of them speak of is hashed once for each row.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    rules: Vec<Rule>,
    /// By rule: where its parts are among `parts`.
    places: Vec<SmallVec<[u8; 3]>>,
    parts: Vec<Part>,
}

impl Plan {
    pub(super) fn new(rules: Vec<Rule>) -> Self {
        let mut parts: Vec<Part> = Vec::new();
        let mut place = |part: &Part| {
            let known = parts.iter().position(|known| known == part);
            // A few dozen: each field has less than ten.
            known.unwrap_or_else(|| {
                parts.push(*part);
                parts.len() - 1
            }) as u8
        };
        let places = rules
            .iter()
            .map(|rule| match rule {
                Rule::All(parts) => parts.iter().map(&mut place).collect(),
                Rule::EitherOrder(a, b) => [a, b].into_iter().map(&mut place).collect(),
                Rule::Words(_) => SmallVec::new(),
            })
            .collect();
        Self { rules, places, parts }
    }

    pub(super) fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Appends the keys of all rules.
    pub(super) fn keys(&self, symbols: &Symbols, row: &[Symbol], out: &mut SmallVec<[u64; 16]>) {
        let hashes: SmallVec<[Option<u64>; 32]> = self.parts.iter().map(|part| part.hash(symbols, row)).collect();
        for ((number, rule), places) in (0..).zip(&self.rules).zip(&self.places) {
            rule.keys_of(number, symbols, row, &mut |place, _| hashes[usize::from(places[place])], out);
        }
    }
}

impl Part {
    const fn slot(self) -> usize {
        match self {
            Self::Whole(slot)
            | Self::Coarse(slot)
            | Self::Front(slot)
            | Self::Back(slot)
            | Self::Initial(slot)
            | Self::Prefix(slot) => slot,
        }
    }

    fn name(self, field: &str) -> String {
        match self {
            Self::Whole(_) => field.to_owned(),
            Self::Coarse(_) => format!("sound of {field}"),
            Self::Front(_) => format!("front of {field}"),
            Self::Back(_) => format!("end of {field}"),
            Self::Initial(_) => format!("initial of {field}"),
            Self::Prefix(_) => format!("first letters of {field}"),
        }
    }

    fn hash(self, symbols: &Symbols, row: &[Symbol]) -> Option<u64> {
        let symbol = row[self.slot()];
        if symbol == ABSENT {
            return None;
        }
        let entry = &symbols.entries[symbol];
        let text = || symbols.text(symbol);
        match self {
            Self::Whole(_) => Some(super::symbols::hash_text(text())),
            Self::Coarse(_) => (entry.coarse != 0).then(|| mix(u64::from(entry.coarse))),
            Self::Front(_) => text().get(..4).map(super::symbols::hash_text),
            Self::Back(_) => {
                text().get(4..).filter(|back| !back.is_empty() && *back != "0101").map(super::symbols::hash_text)
            }
            Self::Prefix(_) => {
                let text = text();
                let end = text.char_indices().nth(3).map_or(text.len(), |(at, _)| at);
                Some(super::symbols::hash_text(&text[..end]))
            }
            Self::Initial(_) => text().chars().next().map(|c| mix(u64::from(u32::from(c)) + 7)),
        }
    }
}

/// The rules that fit a schema, in a fixed order.
#[must_use]
pub fn rules(schema: &Schema) -> Vec<Rule> {
    use Part::{Back, Coarse, Front, Initial, Prefix, Whole};
    let slot = |kind| schema.slot(kind);
    let mut rules = Vec::new();
    let mut all = |parts: &[Option<Part>]| {
        if let Some(parts) = parts.iter().copied().collect::<Option<SmallVec<[Part; 3]>>>() {
            rules.push(Rule::All(parts));
        }
    };
    let (given, family, birth) = (slot(FieldKind::GivenName), slot(FieldKind::FamilyName), slot(FieldKind::BirthDate));
    let (city, postcode) = (slot(FieldKind::City), slot(FieldKind::Postcode));
    let (street, house) = (slot(FieldKind::Street), slot(FieldKind::HouseNumber));
    all(&[birth.map(Whole)]);
    all(&[birth.map(Whole), family.map(Initial)]);
    all(&[birth.map(Whole), given.map(Initial)]);
    all(&[family.map(Coarse), birth.map(Front)]);
    all(&[family.map(Coarse), birth.map(Back)]);
    all(&[given.map(Coarse), birth.map(Back)]);
    all(&[given.map(Coarse), birth.map(Front), city.map(Coarse)]);
    all(&[family.map(Coarse)]);
    all(&[family.map(Coarse), given.map(Initial)]);
    all(&[family.map(Coarse), city.map(Coarse)]);
    all(&[family.map(Coarse), postcode.map(Whole)]);
    all(&[given.map(Coarse), postcode.map(Whole)]);
    all(&[postcode.map(Whole), birth.map(Front)]);
    all(&[given.map(Coarse), city.map(Coarse)]);
    all(&[street.map(Coarse), house.map(Whole)]);
    all(&[street.map(Coarse), given.map(Initial)]);
    all(&[street.map(Coarse), family.map(Initial)]);
    all(&[street.map(Coarse), city.map(Initial)]);
    all(&[slot(FieldKind::Phone).map(Coarse)]);
    all(&[slot(FieldKind::Email).map(Coarse)]);
    all(&[slot(FieldKind::Domain).map(Whole)]);
    if let (Some(given), Some(family)) = (given, family) {
        rules.push(Rule::EitherOrder(Coarse(given), Coarse(family)));
        rules.push(Rule::EitherOrder(Prefix(given), Prefix(family)));
    }
    let persons = given.is_some();
    for (at, field) in schema.fields.iter().enumerate() {
        match field.kind {
            FieldKind::Identifier => {
                rules.push(Rule::All(SmallVec::from_slice(&[Front(at)])));
                rules.push(Rule::All(SmallVec::from_slice(&[Back(at)])));
                rules.push(Rule::All(SmallVec::from_slice(&[Whole(at)])));
            }
            FieldKind::OrganisationName => rules.push(Rule::Words(at)),
            FieldKind::Text if !persons => rules.push(Rule::Words(at)),
            FieldKind::Text => {
                if let Some(family) = family {
                    rules.push(Rule::All(SmallVec::from_slice(&[Coarse(family), Whole(at)])));
                }
            }
            _ => {}
        }
    }
    let organisation = slot(FieldKind::OrganisationName);
    if let (Some(name), Some(postcode)) = (organisation, postcode) {
        rules.push(Rule::All(SmallVec::from_slice(&[Coarse(name), Whole(postcode)])));
    }
    if let (Some(name), Some(city)) = (organisation, city) {
        rules.push(Rule::All(SmallVec::from_slice(&[Coarse(name), Whole(city)])));
    }
    rules
}
