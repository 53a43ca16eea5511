//! What jobspecs say about how long their jobs are kept: those of this process, and those of workers that are alive or
//! were so a day ago: who is being started anew still has its say.

use std::collections::BTreeMap;

use super::rules::Keep;
use crate::domain::jobspec::About;
use crate::jobspecs::Jobspecs;
use crate::store::{Offer, Store, StoreError};

/// By name; `None`: there is a jobspec, and nobody can read it now.
#[derive(Debug, Default)]
pub struct Book(BTreeMap<String, Option<Keep>>);

impl Book {
    /// Reads them all. Of a name that several have, the one of this process counts.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn read(store: &Store, jobspecs: &Jobspecs) -> Result<Self, StoreError> {
        let jobspecs = jobspecs.clone();
        let own = tokio::task::spawn_blocking(move || jobspecs.list()).await.unwrap_or_default();
        let mut book = Self::default();
        for offer in store.known_offers().await? {
            book.add_offer(offer);
        }
        book.0.extend(own.into_iter().map(|(name, spec)| (name, spec.ok().map(|spec| Keep::from(&*spec)))));
        Ok(book)
    }

    fn add_offer(&mut self, offer: Offer) {
        let keep = serde_json::from_str::<About>(&offer.about).ok().map(|about| Keep::from(&about));
        self.0.insert(offer.name, keep);
    }

    /// What it says of jobs of this name; `None`: they are left alone, as nobody knows now.
    pub fn of(&self, name: &str) -> Option<Keep> {
        self.0.get(name).copied().unwrap_or(Some(Keep::default()))
    }

    /// Whether any jobspec says anything.
    pub fn says(&self) -> bool {
        self.0.values().flatten().any(Keep::says)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_published_jobspec_counts_and_an_unreadable_one_stops() {
        let mut book = Book::default();
        for (name, about) in [("old", "{}"), ("new", "{\"keepMs\": 5}"), ("broken", "{")] {
            book.add_offer(Offer { name: name.into(), hash: String::new(), about: about.into() });
        }
        assert_eq!(book.of("old"), Some(Keep::default()));
        assert_eq!(book.of("new").unwrap().jobs.unwrap().as_millis(), 5);
        assert_eq!(book.of("broken"), None);
        assert_eq!(book.of("nobody's"), Some(Keep::default()));
        assert!(book.says());
    }
}
