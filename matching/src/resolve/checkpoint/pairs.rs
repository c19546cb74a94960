//! Texts, rows and edges.
//!
//! Texts: slot · length · bytes, numbered from one for each kind of party. Rows, for live records: one number for each place,
//! 0 for nothing. Edges, for each record: how many lead to later records, then each against the one before · weight, in steps.

use hashbrown::HashMap;
use onefold_core::fragment::PartyKind;

use crate::index::edges::{in_steps, of_steps};
use crate::index::records::flag;
use crate::index::rows::ABSENT;
use crate::pair::Symbol;
use crate::resolve::Engine;
use crate::resolve::checkpoint::bytes::{put, read_rows, write_rows};
use crate::resolve::checkpoint::{CheckpointError, Head, SectionSink, SectionSource};

const PARTIES: [(PartyKind, &str); 2] =
    [(PartyKind::Person, "texts_of_persons"), (PartyKind::Organisation, "texts_of_organisations")];

/// The texts that live rows hold, by kind of party, in the order of their first rows: slot and symbol.
pub(super) struct Texts {
    listed: [Vec<(u8, Symbol)>; 2],
    numbers: [HashMap<Symbol, u32>; 2],
}

impl Texts {
    pub(super) fn counts(&self) -> [u32; 2] {
        [self.listed[0].len() as u32, self.listed[1].len() as u32]
    }
}

impl Engine {
    pub(super) fn texts(&self) -> Texts {
        let mut texts = Texts { listed: [Vec::new(), Vec::new()], numbers: [HashMap::new(), HashMap::new()] };
        for record in 0..self.records.warm.count() {
            let kind = self.records.warm[record].party() as usize;
            for (slot, symbol) in (0..).zip(&self.rows.of(record)) {
                if *symbol != ABSENT {
                    let next = texts.listed[kind].len() as u32 + 1;
                    texts.numbers[kind].entry(*symbol).or_insert_with(|| {
                        texts.listed[kind].push((slot, *symbol));
                        next
                    });
                }
            }
        }
        texts
    }

    pub(super) fn write_pairs<E>(&self, texts: &Texts, sink: &mut SectionSink<'_, E>) -> Result<(), E> {
        if self.rows.is_off() {
            return Ok(());
        }
        for (party, name) in PARTIES {
            let symbols = &self.rows.kin(party).symbols;
            write_rows(name, texts.listed[party as usize].iter(), sink, |out, (slot, symbol)| {
                let text = symbols.text(*symbol);
                out.push(*slot);
                put(out, text.len() as u64);
                out.extend_from_slice(text.as_bytes());
            })?;
        }
        let all = 0..self.records.warm.count();
        write_rows("rows", all.clone(), sink, |out, record| {
            let warm = &self.records.warm[record];
            let known = warm.has(flag::LIVE) && self.rows.known(record);
            out.push(known.into());
            if known {
                for symbol in &self.rows.of(record) {
                    put(out, texts.numbers[warm.party() as usize].get(symbol).copied().unwrap_or(0).into());
                }
            }
        })?;
        write_rows("edges", all, sink, |out, record| {
            let mut later: Vec<(u32, f32)> = self.edges.of(record).filter(|(other, _)| *other > record).collect();
            later.sort_unstable_by_key(|(other, _)| *other);
            put(out, later.len() as u64);
            let mut before = record;
            for (other, weight) in later {
                put(out, u64::from(other - before - 1));
                out.extend_from_slice(&in_steps(weight).to_le_bytes());
                before = other;
            }
        })?;
        let mut crossed: Vec<u32> = self.crossed.iter().copied().collect();
        crossed.sort_unstable();
        write_rows("crossed", crossed.into_iter(), sink, |out, key| put(out, key.into()))
    }

    /// To be called when all else is there.
    pub(super) fn read_pairs(&mut self, head: &Head, source: &mut SectionSource<'_>) -> Result<(), CheckpointError> {
        if self.rows.is_off() {
            return Ok(());
        }
        let mut symbols: [Vec<(u8, Symbol)>; 2] = Default::default();
        for (party, name) in PARTIES {
            let read = &mut symbols[party as usize];
            read_rows(name, head.texts[party as usize], source, |bytes| {
                let slot = bytes.byte()?;
                let len = bytes.number()?;
                let text = std::str::from_utf8(bytes.take(usize::try_from(len).ok()?)?).ok()?;
                read.push((slot, self.rows.intern_text(party, slot.into(), text)?));
                Some(())
            })?;
        }
        self.rows.cover(head.records);
        let (mut record, mut row) = (0, vec![ABSENT; self.rows.stride()]);
        read_rows("rows", head.records, source, |bytes| {
            let warm = &self.records.warm[record];
            let party = warm.party();
            if bytes.byte()? != 0 {
                if !warm.has(flag::LIVE) {
                    return None;
                }
                for (place, cell) in row.iter_mut().enumerate() {
                    let number: usize = bytes.small()?;
                    *cell = ABSENT;
                    let Some(number) = number.checked_sub(1) else { continue };
                    let (slot, symbol) = *symbols[party as usize].get(number)?;
                    if usize::from(slot) != place {
                        return None;
                    }
                    *cell = symbol;
                }
                self.rows.put_back(party, record, &row);
            }
            record += 1;
            Some(())
        })?;
        // Each was counted once when it was interned, before any row held it.
        for (party, _) in PARTIES {
            for (_, symbol) in &symbols[party as usize] {
                self.rows.release(party, *symbol);
            }
        }
        let mut record = 0_u32;
        read_rows("edges", head.records, source, |bytes| {
            let mut before = record;
            for _ in 0..bytes.number()? {
                let other = before.checked_add(1)?.checked_add(bytes.small()?)?;
                let weight = of_steps(i16::from_le_bytes(bytes.array()?));
                let live =
                    |record: u32| self.records.warm.get(record as usize).is_some_and(|warm| warm.has(flag::LIVE));
                if !live(record) || !live(other) {
                    return None;
                }
                self.edges.add(record, other, weight);
                before = other;
            }
            record += 1;
            Some(())
        })?;
        let unmatched = std::mem::take(&mut self.unmatched);
        for record in 0..head.records {
            if self.records.warm[record].has(flag::LIVE) {
                self.post_keys(record);
            }
        }
        self.unmatched = unmatched;
        self.crossed.clear();
        read_rows("crossed", head.crossed, source, |bytes| self.crossed.insert(bytes.small()?).then_some(()))
    }
}
