//! What several parties share, and what is one party's alone: the latter has no place in a model (LAW 7).

use hashbrown::{HashMap, HashSet};

use super::features::Features;
use super::model::Model;
use super::schema::FieldKind;
use super::symbols::words_of;

/// A value that fewer parties hold is left out: however often one person sent it, it is still one person's.
pub const SHARED_PARTIES_MIN: usize = 3;

/// Who holds each text, as far as it matters.
#[derive(Default)]
struct Holders(HashMap<String, HashSet<u32>>);

impl Holders {
    fn note(&mut self, text: &str, party: u32) {
        match self.0.get_mut(text) {
            Some(of) if of.len() < SHARED_PARTIES_MIN => drop(of.insert(party)),
            Some(_) => {}
            None => drop(self.0.insert(text.to_owned(), HashSet::from_iter([party]))),
        }
    }

    fn share(&self, text: &str) -> bool {
        self.0.get(text).is_some_and(|of| of.len() >= SHARED_PARTIES_MIN)
    }
}

/// Leaves out of a model's frequencies what fewer than [`SHARED_PARTIES_MIN`] of these parties say. Each row comes with the
/// number of its party.
pub fn keep_shared<'a>(model: &mut Model, rows: impl Iterator<Item = (&'a Features, u32)>) {
    let fields = model.schema.fields.len();
    let names = model.schema.slot(FieldKind::GivenName).zip(model.schema.slot(FieldKind::FamilyName));
    let mut values: Vec<Holders> = (0..fields).map(|_| Holders::default()).collect();
    let mut words: Vec<Holders> = (0..fields).map(|_| Holders::default()).collect();
    let mut whole_names = Holders::default();
    for (features, party) in rows {
        let texts: Vec<&str> = features.texts().collect();
        for (at, text) in texts.iter().enumerate() {
            let frequencies = &model.frequencies[at];
            if frequencies.values.contains_key(*text) {
                values[at].note(text, party);
            }
            for (_, word) in words_of(text).filter(|(_, word)| frequencies.words.contains_key(*word)) {
                words[at].note(word, party);
            }
        }
        if let Some((given, family)) = names {
            let whole = format!("{} {}", texts[given], texts[family]);
            if model.whole_names.contains_key(&whole) {
                whole_names.note(&whole, party);
            }
        }
    }
    for (at, frequencies) in model.frequencies.iter_mut().enumerate() {
        frequencies.values.retain(|text, _| values[at].share(text));
        frequencies.words.retain(|text, _| words[at].share(text));
    }
    model.whole_names.retain(|text, _| whole_names.share(text));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pair::Schema;
    use crate::pair::train::Census;

    #[test]
    fn what_one_party_sent_often_is_left_out() {
        let schema = Schema::person();
        let row = |given: &str, family: &str, email: &str| {
            let mut features = Features::default();
            for field in &schema.fields {
                features.push(match field.kind {
                    FieldKind::GivenName => given,
                    FieldKind::FamilyName => family,
                    FieldKind::Email => email,
                    _ => "",
                });
            }
            features
        };
        let mut rows: Vec<(Features, u32)> = (0..5).map(|_| (row("ada", "zyx", "ada@zyx.example"), 0)).collect();
        rows.extend((1..4).map(|party| (row("ada", "smith", ""), party)));
        let mut census = Census::new(&schema);
        rows.iter().for_each(|(features, _)| census.add(features));
        let mut model = Model::untrained(schema.clone());
        census.tell(&mut model);
        let email = schema.slot(FieldKind::Email).expect("persons have one");
        assert!(model.frequencies[email].values.contains_key("ada@zyx.example"), "five records hold it");
        keep_shared(&mut model, rows.iter().map(|(features, party)| (features, *party)));
        let told = model.to_json();
        assert!(!told.contains("zyx"), "{told}");
        assert!(told.contains("smith") && model.whole_names.contains_key("ada smith"));
    }
}
