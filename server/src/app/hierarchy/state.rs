//! What memory keeps of accounts, affiliations and stages. No text: what has a name lies sealed in the journal, at the
//! place that stands here.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use onefold_core::decision::{self, DecisionError};
use onefold_core::fragment::PartyKind;
use onefold_core::hierarchy::affiliation::{Affiliations, Held};
use onefold_core::hierarchy::entry::{
    AccountClosed, AccountPut, AccountVacated, AffiliationEnded, AffiliationStated, ParentSet, StageSet,
};
use onefold_core::hierarchy::{Account, AccountFacts, AccountOrdinal, Forest, Moment, Step};
use onefold_core::ids::{Digest128, Place, Sequence, SlotId, SourceId};
use onefold_core::lifecycle::told::{Told, Walk};
use onefold_core::lifecycle::{LeftOut, Lifecycle, LifecycleDefined, StageId};
use serde::{Deserialize, Serialize};

use super::digest::Digester;

/// Where the last word on an account's facts lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Its entry in the journal; `None` when its content is gone.
    pub place: Option<Place>,
    /// Sequence of the last change to the account.
    pub changed: Sequence,
}

/// The stage that a source record stands at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageHeld {
    /// Which.
    pub stage: StageId,
    /// Since when.
    pub at: Moment,
    /// Who keeps the record.
    pub source: SourceId,
}

/// Of whom a fragment tells stages, which system says so, and which stages when.
pub type SaidStages = (PartyKind, SourceId, Vec<(Moment, String)>);

/// What the live fragment of a record tells beside its facts. It goes with that fragment.
#[derive(Clone, Debug, Default)]
pub struct Says {
    /// Roles of its person in accounts.
    pub roles: Vec<Held>,
    /// Of which kind of party its stages are, who keeps the record, and when it reached which; none: it tells of none.
    pub stages: Option<SaidStages>,
}

/// The stages that the live fragment of a record tells of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToldStages {
    /// Person, or organisation for an account.
    pub party: PartyKind,
    /// Who keeps the record.
    pub source: SourceId,
    /// Sequence of the fragment.
    pub sequence: Sequence,
    /// When which was reached.
    pub told: Vec<Told>,
}

/// A statement, ready to be applied.
#[derive(Clone, Debug)]
pub enum Effect {
    /// An account, and its parent where one was told along.
    Put(AccountFacts, Option<ParentSet>),
    /// A parent.
    Parent(ParentSet),
    /// A closing.
    Closed(AccountClosed),
    /// A role: keyed digest of it, and the rest.
    Affiliated(Digest128, AffiliationStated),
    /// The end of a role.
    Ended(AffiliationEnded),
    /// A stage.
    Stage(StageSet),
}

impl Effect {
    /// The kind of party that it is told of: an account, or a person with roles and stages.
    pub const fn party(&self) -> PartyKind {
        match self {
            Self::Put(..) | Self::Parent(_) | Self::Closed(_) => PartyKind::Organisation,
            Self::Affiliated(..) | Self::Ended(_) => PartyKind::Person,
            Self::Stage(set) => set.party,
        }
    }

    /// An account as told.
    pub fn put(account: &AccountPut, record: Digest128, digester: &Digester<'_>) -> Self {
        let mut domains: Vec<Digest128> = account.domains.iter().filter_map(|raw| digester.domain(raw)).collect();
        domains.sort_unstable();
        domains.dedup();
        let (source, kind, since) = (account.record.source, account.kind, account.since);
        let name = digester.name(&account.name);
        Self::Put(AccountFacts { record, source, kind, since, domains, name }, account.parent)
    }
}

/// All that is told of accounts. Only the lane changes it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Accounts {
    /// Accounts and their parents.
    pub forest: Forest,
    /// By account.
    pub rows: Vec<Row>,
    /// The key of each subject's content. A source may know a person and an account by one key: each has a key of its own,
    /// but for what older releases wrote ([`super::apart`]).
    pub slots: HashMap<(PartyKind, Digest128), SlotId>,
    /// Persons in accounts.
    pub affiliations: Affiliations,
    /// Where calls said that source records stand.
    pub stages: HashMap<(PartyKind, Digest128), StageHeld>,
    /// What the live fragments of source records say of it.
    pub told_stages: HashMap<Digest128, ToldStages>,
    /// The stages there are.
    pub lifecycle: Arc<Lifecycle>,
    by_domain: HashMap<Digest128, Vec<AccountOrdinal>>,
    by_name: HashMap<Digest128, Vec<AccountOrdinal>>,
    /// Accounts that fragments changed since the feed was told last.
    untold: BTreeSet<AccountOrdinal>,
}

/// An account of which nothing is known.
fn vacant(record: Digest128) -> AccountFacts {
    AccountFacts {
        record,
        source: SourceId(u16::MAX),
        kind: onefold_core::hierarchy::AccountKind::Organisation,
        since: Moment::ALWAYS,
        domains: Vec::new(),
        name: None,
    }
}

/// What a checkpoint keeps of [`Accounts`].
#[derive(Serialize, Deserialize)]
struct Written {
    accounts: Vec<Account>,
    rows: Vec<Row>,
    slots: Vec<(PartyKind, Digest128, SlotId)>,
    affiliations: Vec<(Digest128, Held)>,
    stages: Vec<(PartyKind, Digest128, StageHeld)>,
    lifecycle: Lifecycle,
    told_stages: Vec<(Digest128, ToldStages)>,
    /// Stages that are left out.
    left_out: Vec<LeftOut>,
}

impl Accounts {
    /// Applies a statement about a subject, written at a place under a key. Answers with the account that it changes; a
    /// person's stage changes none.
    pub fn apply(
        &mut self,
        record: Digest128,
        effect: Effect,
        (place, slot, sequence): (Place, SlotId, Sequence),
    ) -> Option<AccountOrdinal> {
        self.slots.insert((effect.party(), record), slot);
        let account = match effect {
            Effect::Put(facts, parent) => {
                let account = self.put(facts);
                self.rows[account.0 as usize].place = Some(place);
                if let Some(parent) = parent {
                    self.set_parent(account, parent);
                }
                account
            }
            Effect::Parent(parent) => {
                let account = self.forest.find(record)?;
                self.set_parent(account, parent);
                account
            }
            Effect::Closed(closed) => {
                let account = self.forest.find(record)?;
                self.forest.close(account, closed.at);
                account
            }
            Effect::Affiliated(role, stated) => {
                let AffiliationStated { account, since, until, origin, .. } = stated;
                self.affiliations.put(record, Held { account, role, since, until, origin, place, slot });
                self.forest.find(account)?
            }
            Effect::Ended(AffiliationEnded { account, role, until }) => {
                self.affiliations.end(record, account, role, until);
                self.forest.find(account)?
            }
            Effect::Stage(set) => {
                let StageSet { party, source, stage, at, .. } = set;
                self.stages.insert((party, record), StageHeld { stage, at, source });
                match party {
                    PartyKind::Person => return None,
                    PartyKind::Organisation => self.forest.find(record)?,
                }
            }
        };
        self.rows[account.0 as usize].changed = sequence;
        Some(account)
    }

    /// What the live fragment of a record says, in place of what the one before said; nothing when there is no live one
    /// any more. What calls told stays.
    pub fn fragment_says(&mut self, record: Digest128, says: Says, sequence: Sequence) {
        let roles = |of: &Affiliations| -> BTreeSet<_> {
            let held = of.of_person(record).iter().filter(|held| held.is_of_fragment());
            held.map(|held| (held.account, held.role, held.since, held.until)).collect()
        };
        let before = roles(&self.affiliations);
        if !(before.is_empty() && says.roles.is_empty()) {
            self.affiliations.of_fragment(record, says.roles);
            let after = roles(&self.affiliations);
            for (account, ..) in before.symmetric_difference(&after) {
                self.changed_by_fragment(*account, sequence);
            }
        }
        let word = |(at, name): (Moment, String)| Told { at, stage: self.lifecycle.word(&name) };
        let known = match says.stages {
            None => self.told_stages.remove(&record),
            Some((party, source, stages)) => {
                let told = stages.into_iter().map(word).collect();
                self.told_stages.insert(record, ToldStages { party, source, sequence, told })
            }
        };
        let now = self.told_stages.get(&record);
        let of_account = |stages: &ToldStages| stages.party == PartyKind::Organisation;
        if (known.as_ref().is_some_and(of_account) || now.is_some_and(of_account))
            && known.as_ref().map(|known| (known.party, &known.told)) != now.map(|now| (now.party, &now.told))
        {
            self.changed_by_fragment(record, sequence);
        }
    }

    /// An account that is told of later says then that it changed.
    fn changed_by_fragment(&mut self, record: Digest128, sequence: Sequence) {
        if let Some(account) = self.forest.find(record) {
            self.rows[account.0 as usize].changed = sequence;
            self.untold.insert(account);
        }
    }

    /// Accounts that fragments changed since this was asked last.
    pub fn take_untold(&mut self) -> BTreeSet<AccountOrdinal> {
        std::mem::take(&mut self.untold)
    }

    /// Where a source record stands, since when, and who keeps it: by what calls told and its live fragment tells.
    pub fn stands(&self, party: PartyKind, record: Digest128) -> Option<StageHeld> {
        let called = self.stages.get(&(party, record));
        let Some(told) = self.told_stages.get(&record).filter(|told| told.party == party) else {
            return called.copied();
        };
        let (stage, at) = self.walk(party, called, &told.told).stands?;
        Some(StageHeld { stage, at, source: told.source })
    }

    /// The walk over the last call and stages that a fragment tells.
    pub fn walk(&self, party: PartyKind, called: Option<&StageHeld>, told: &[Told]) -> Walk {
        let called = called.map(|held| (held.at, held.stage));
        self.lifecycle.walk(party, called.as_slice(), told)
    }

    /// The stages there are from now on. Names that fragments told before may be known now.
    pub fn define(&mut self, LifecycleDefined { lifecycle, at }: LifecycleDefined) {
        let lifecycle = lifecycle.in_place_of(&self.lifecycle, at);
        for one in self.told_stages.values_mut().flat_map(|stages| &mut stages.told) {
            one.stage = lifecycle.word(lifecycle.spoken(&one.stage));
        }
        self.lifecycle = Arc::new(lifecycle);
    }

    fn put(&mut self, facts: AccountFacts) -> AccountOrdinal {
        if let Some(known) = self.forest.find(facts.record) {
            self.index(known, false);
        }
        let account = self.forest.put(facts);
        if self.rows.len() < self.forest.len() {
            self.rows.push(Row::default());
        }
        self.index(account, true);
        account
    }

    /// A parent that is told before it is itself: only while a batch is applied, whose accounts all come.
    fn set_parent(&mut self, account: AccountOrdinal, set: ParentSet) {
        let parent = match set.parent {
            None => None,
            Some(record) => match self.forest.find(record) {
                Some(parent) => Some(parent),
                None => return,
            },
        };
        self.forest.set_parent(account, Step { from: set.from, parent });
    }

    /// An account whose content is gone keeps its ordinal, which changes name accounts by.
    pub fn keep_vacant(&mut self, record: Digest128) {
        if self.forest.find(record).is_none() {
            self.put(vacant(record));
        }
    }

    /// What stays of an account once its content is gone; `None` when the record is none.
    pub fn vacated(&self, record: Digest128) -> Option<AccountVacated> {
        let account = self.forest.find(record)?;
        let known = self.forest.get(account)?;
        let record_of = |parent: AccountOrdinal| self.forest.get(parent).map(|above| above.facts.record);
        let parent = |step: &Step| ParentSet { parent: step.parent.and_then(record_of), from: step.from };
        Some(AccountVacated {
            record,
            closed: known.closed,
            parents: known.parents.iter().map(parent).collect(),
            changed: self.rows.get(account.0 as usize)?.changed,
        })
    }

    /// LAW 1: puts an erased account back where it stood. A replay reads nothing of what was said of it under its own
    /// key, and those below it hang on it.
    pub fn vacate(&mut self, vacated: &AccountVacated) {
        self.keep_vacant(vacated.record);
        let Some(account) = self.forest.find(vacated.record) else { return };
        self.forest.close(account, vacated.closed);
        self.forest.set_parent(account, Step { from: Moment::ALWAYS, parent: None });
        for set in &vacated.parents {
            self.set_parent(account, *set);
        }
        let row = &mut self.rows[account.0 as usize];
        row.changed = row.changed.max(vacated.changed);
    }

    /// The keys of what calls told of a source record as this kind of party: the account and its stages, or a person's
    /// roles and stages.
    pub fn slots_of(&self, party: PartyKind, record: Digest128) -> BTreeSet<SlotId> {
        let mut slots: BTreeSet<SlotId> = self.slots.get(&(party, record)).copied().into_iter().collect();
        if party == PartyKind::Person {
            let held = self.affiliations.of_person(record).iter();
            slots.extend(held.filter(|held| !held.is_of_fragment()).map(|held| held.slot));
        }
        slots
    }

    /// Whether calls told of a source record as this kind of party, and it was not erased since.
    pub fn is_told(&self, party: PartyKind, record: Digest128) -> bool {
        self.slots.contains_key(&(party, record))
    }

    /// Forgets what is told of these source records: what their fragments said, and what calls told under keys that are
    /// destroyed. What calls told of the other kind of party has a key of its own, and stays. An account keeps its ordinal,
    /// which changes name accounts by, and where it stands, by which others hang in the tree: what stays is what
    /// [`Accounts::vacated`] writes down.
    pub fn forget(&mut self, records: &[Digest128], destroyed: &[SlotId]) {
        let destroyed: HashSet<SlotId> = destroyed.iter().copied().collect();
        for record in records {
            self.affiliations.of_fragment(*record, None);
            self.told_stages.remove(record);
            for party in [PartyKind::Person, PartyKind::Organisation] {
                if !self.slots_of(party, *record).iter().any(|slot| destroyed.contains(slot)) {
                    continue;
                }
                self.slots.remove(&(party, *record));
                self.stages.remove(&(party, *record));
                match party {
                    PartyKind::Person => self.affiliations.forget(*record),
                    PartyKind::Organisation => {
                        if let Some(account) = self.forest.find(*record) {
                            self.put(vacant(*record));
                            self.rows[account.0 as usize].place = None;
                        }
                    }
                }
            }
        }
    }

    /// Lets an account be found by its domains and its name, or no longer.
    fn index(&mut self, account: AccountOrdinal, add: bool) {
        fn change(
            table: &mut HashMap<Digest128, Vec<AccountOrdinal>>,
            key: Digest128,
            account: AccountOrdinal,
            add: bool,
        ) {
            let holders = table.entry(key).or_default();
            holders.retain(|holder| *holder != account);
            if add {
                holders.push(account);
            }
            if holders.is_empty() {
                table.remove(&key);
            }
        }
        let Some(known) = self.forest.get(account) else { return };
        for domain in &known.facts.domains {
            change(&mut self.by_domain, *domain, account, add);
        }
        if let Some(name) = known.facts.name {
            change(&mut self.by_name, name, account, add);
        }
    }

    /// Accounts that have this domain.
    pub fn of_domain(&self, domain: Digest128) -> &[AccountOrdinal] {
        self.by_domain.get(&domain).map_or(&[], Vec::as_slice)
    }

    /// Accounts that have this name.
    pub fn of_name(&self, name: Digest128) -> &[AccountOrdinal] {
        self.by_name.get(&name).map_or(&[], Vec::as_slice)
    }

    /// What a checkpoint keeps.
    pub fn write(&self) -> Vec<u8> {
        let mut slots: Vec<_> = self.slots.iter().map(|((party, record), slot)| (*party, *record, *slot)).collect();
        slots.sort_unstable();
        let written = Written {
            accounts: self.forest.accounts().to_vec(),
            rows: self.rows.clone(),
            slots,
            affiliations: self.affiliations.iter().map(|(person, held)| (person, *held)).collect(),
            stages: self.stages.iter().map(|((party, record), held)| (*party, *record, *held)).collect(),
            lifecycle: Lifecycle::clone(&self.lifecycle),
            told_stages: self.told_stages.iter().map(|(record, told)| (*record, told.clone())).collect(),
            left_out: self.lifecycle.left_out.clone(),
        };
        decision::encode(&written)
    }

    /// Reads what [`Accounts::write`] wrote.
    ///
    /// # Errors
    /// When the bytes are of another version or damaged.
    pub fn read(bytes: &[u8]) -> Result<Self, DecisionError> {
        let written: Written = decision::decode(bytes)?;
        let lifecycle = Lifecycle { left_out: written.left_out, ..written.lifecycle };
        let mut accounts = Self {
            forest: Forest::of(written.accounts),
            rows: written.rows,
            slots: written.slots.into_iter().map(|(party, record, slot)| ((party, record), slot)).collect(),
            lifecycle: Arc::new(lifecycle),
            told_stages: written.told_stages.into_iter().collect(),
            ..Self::default()
        };
        for (person, held) in written.affiliations {
            accounts.affiliations.put(person, held);
        }
        for (party, record, held) in written.stages {
            accounts.stages.insert((party, record), held);
        }
        for account in (0..accounts.forest.len() as u32).map(AccountOrdinal) {
            accounts.index(account, true);
        }
        Ok(accounts)
    }
}
