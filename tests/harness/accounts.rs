//! Words about accounts, and what must be true of a hierarchy however it came about.

use std::collections::{BTreeMap, BTreeSet};

use onefold_proto::v1 as pb;
use tonic::Status;

use crate::{Clients, record};

/// An account named by its source record.
#[must_use]
pub fn account(source: &str, key: &str) -> Option<pb::AccountKey> {
    Some(pb::AccountKey { key: Some(pb::account_key::Key::Record(record(source, key))) })
}

/// An account by its id's full name.
#[must_use]
pub fn named(name: &str) -> Option<pb::AccountKey> {
    Some(pb::AccountKey { key: Some(pb::account_key::Key::Name(name.to_owned())) })
}

/// A person named by a source record.
#[must_use]
pub fn somebody(source: &str, key: &str) -> Option<pb::PersonKey> {
    Some(pb::PersonKey { key: Some(pb::person_key::Key::Record(record(source, key))) })
}

/// A source account.
#[must_use]
pub fn source_account(source: &str, key: &str, name: &str) -> pb::SourceAccount {
    pb::SourceAccount { record: Some(record(source, key)), display_name: name.to_owned(), ..Default::default() }
}

impl Clients {
    /// Takes in an account under a parent of the same source, from the beginning of time.
    ///
    /// # Errors
    /// What the server says.
    pub async fn put_account(&mut self, source: &str, key: &str, above: Option<&str>) -> Result<pb::Account, Status> {
        let request = pb::PutAccountRequest {
            account: Some(source_account(source, key, &format!("Company {key}"))),
            parent_account: above.and_then(|above| account(source, above)),
            ..Default::default()
        };
        Ok(self.accounts.put_account(request).await?.into_inner().account.expect("an account"))
    }

    /// Gives a person of a source a role in an account of the same source, for ever.
    ///
    /// # Errors
    /// What the server says.
    pub async fn affiliate(&mut self, source: &str, person: &str, to: &str) -> Result<(), Status> {
        let request = pb::PutAffiliationRequest {
            person: somebody(source, person),
            account: account(source, to),
            role: "buyer".to_owned(),
            ..Default::default()
        };
        self.accounts.put_affiliation(request).await.map(drop)
    }

    /// Moves an account, from now on.
    ///
    /// # Errors
    /// What the server says.
    pub async fn move_account(
        &mut self,
        key: Option<pb::AccountKey>,
        parent_account: Option<pb::AccountKey>,
    ) -> Result<pb::Account, Status> {
        let request = pb::MoveAccountRequest { key, parent_account, ..Default::default() };
        Ok(self.accounts.move_account(request).await?.into_inner().account.expect("an account"))
    }

    /// The account behind a key.
    ///
    /// # Errors
    /// What the server says.
    pub async fn get_account(&mut self, key: Option<pb::AccountKey>) -> Result<pb::Account, Status> {
        let request = pb::GetAccountRequest { key, ..Default::default() };
        Ok(self.accounts.get_account(request).await?.into_inner().account.expect("an account"))
    }

    /// All accounts right below one.
    ///
    /// # Errors
    /// What the server says.
    pub async fn children(&mut self, key: Option<pb::AccountKey>) -> Result<Vec<pb::Account>, Status> {
        let mut request = pb::ListChildrenRequest { key, page_size: 7, ..Default::default() };
        let mut all = Vec::new();
        loop {
            let page = self.accounts.list_children(request.clone()).await?.into_inner();
            all.extend(page.accounts);
            if page.next_page_token.is_empty() {
                return Ok(all);
            }
            request.page_token = page.next_page_token;
        }
    }

    /// Counts below an account.
    ///
    /// # Errors
    /// What the server says.
    pub async fn rollup(&mut self, key: Option<pb::AccountKey>) -> Result<pb::GetRollupResponse, Status> {
        let request = pb::GetRollupRequest { key, ..Default::default() };
        Ok(self.accounts.get_rollup(request).await?.into_inner())
    }

    /// All accounts of these source records, by name, each as it is served.
    ///
    /// # Panics
    /// When one cannot be read.
    pub async fn hierarchy(&mut self, source: &str, keys: &[String]) -> Hierarchy {
        let mut all = BTreeMap::new();
        for key in keys {
            let found = self.get_account(account(source, key)).await.expect("the account");
            all.insert(found.name.clone(), found);
        }
        Hierarchy(all)
    }
}

/// A hierarchy as it is served.
#[derive(Clone, Debug, PartialEq)]
pub struct Hierarchy(pub BTreeMap<String, pb::Account>);

impl Hierarchy {
    /// Every source account stands in exactly one account, nobody lies above itself, and every statement of a parent that
    /// is in force either counts or is shown with its reason.
    ///
    /// # Panics
    /// When that is not so.
    pub fn check(&self) {
        let mut holder: BTreeMap<&str, &str> = BTreeMap::new();
        for (name, account) in &self.0 {
            for part in &account.parts {
                assert!(holder.insert(&part.name, name).is_none(), "{} stands in two accounts", part.name);
            }
        }
        let parent = |name: &str| self.0[name].ancestors.first().map(|above| above.name.as_str());
        for (name, account) in &self.0 {
            let way: Vec<&str> = account.ancestors.iter().map(|above| above.name.as_str()).collect();
            let distinct: BTreeSet<&&str> = way.iter().collect();
            assert!(distinct.len() == way.len() && !way.contains(&name.as_str()), "{name} lies above itself: {way:?}");
            let mut walked = Vec::new();
            let mut at = parent(name);
            while let Some(above) = at {
                walked.push(above);
                assert!(walked.len() <= self.0.len(), "the way up from {name} does not end");
                at = parent(above);
            }
            assert_eq!(walked, way, "{name} and those above it tell the same way");

            let told: BTreeSet<(&str, &str)> = account
                .parts
                .iter()
                .filter_map(|part| Some((part.name.as_str(), part.parents.last()?.parent.as_str())))
                .filter(|(_, above)| !above.is_empty())
                .collect();
            let parked: BTreeSet<(&str, &str)> = account
                .parked_parents
                .iter()
                .map(|edge| (name_of(edge.child.as_ref()), name_of(edge.parent.as_ref())))
                .collect();
            assert!(parked.is_subset(&told), "{name} parks what was never told");
            for (_, above) in told.difference(&parked) {
                assert_eq!(holder.get(above).copied(), parent(name), "a parent of {name} is neither counted nor shown");
            }
            assert_eq!(told.is_empty() || told.len() == parked.len(), parent(name).is_none(), "{name}");
        }
    }
}

fn name_of(to: Option<&pb::AccountRef>) -> &str {
    to.map_or("", |to| to.name.as_str())
}
