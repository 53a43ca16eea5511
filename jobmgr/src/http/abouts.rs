//! What is to be known of jobs before they are run: their usual priority, how long they may wait.
//!
//! A process with a worker has the files. One without asks what the living workers publish; its own folder counts only
//! where no worker tells.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::domain::jobspec::About;
use crate::jobspecs::{self, Jobspecs};
use crate::store::{Store, StoreError};

/// How long what was read of the workers' jobspecs counts.
const FRESH: Duration = Duration::from_secs(1);

/// Both sources; cheap to clone.
#[derive(Clone)]
pub struct Abouts {
    store: Store,
    jobspecs: Jobspecs,
    works_here: bool,
    published: Arc<Mutex<Option<Published>>>,
}

/// What is known of a name.
pub enum Known {
    /// Its jobspec.
    Jobspec(Box<About>),
    /// There is a file that can't serve, and why.
    Broken(String),
    /// No jobspec has it.
    Nobody,
}

struct Published {
    abouts: Arc<HashMap<String, About>>,
    read: Instant,
}

impl Abouts {
    /// `works_here`: this process has a worker, which runs what is in the folder.
    pub fn new(store: Store, jobspecs: Jobspecs, works_here: bool) -> Self {
        Self { store, jobspecs, works_here, published: Arc::default() }
    }

    /// What is known of this name; the usual where nobody has such a jobspec.
    pub async fn of(&self, name: &str) -> About {
        match self.find(name).await {
            Known::Jobspec(about) => *about,
            Known::Broken(_) | Known::Nobody => About::default(),
        }
    }

    /// What is known of this name.
    pub async fn find(&self, name: &str) -> Known {
        let local = match self.jobspecs.get(name) {
            Ok(jobspec) => Known::Jobspec(Box::new(About::of(&jobspec))),
            Err(why) if [jobspecs::INVALID_NAME, jobspecs::UNKNOWN].contains(&why.as_str()) => Known::Nobody,
            Err(why) => Known::Broken(why),
        };
        if self.works_here && matches!(local, Known::Jobspec(_)) {
            return local;
        }
        let published = self.published().await.get(name).cloned();
        published.map_or(local, |about| Known::Jobspec(Box::new(about)))
    }

    /// All that are known, by name.
    pub async fn all(&self) -> BTreeMap<String, Result<About, String>> {
        let mut all = BTreeMap::new();
        for (name, read) in self.jobspecs.list() {
            all.insert(name, read.map(|jobspec| About::of(&jobspec)));
        }
        for (name, about) in self.published().await.iter() {
            let ours = all.get(name).is_some_and(Result::is_ok) && self.works_here;
            if !ours {
                all.insert(name.clone(), Ok(about.clone()));
            }
        }
        all
    }

    /// What the living workers publish. One reads it at a time, and the others wait for that. What was read before
    /// serves on while the database fails.
    async fn published(&self) -> Arc<HashMap<String, About>> {
        let mut published = self.published.lock().await;
        if let Some(known) = published.as_ref().filter(|known| known.read.elapsed() < FRESH) {
            return Arc::clone(&known.abouts);
        }
        let abouts = match self.read().await {
            Ok(abouts) => Arc::new(abouts),
            Err(error) => {
                tracing::warn!(%error, "can't read which jobspecs the workers have");
                published.as_ref().map_or_else(Arc::default, |known| Arc::clone(&known.abouts))
            }
        };
        *published = Some(Published { abouts: Arc::clone(&abouts), read: Instant::now() });
        abouts
    }

    async fn read(&self) -> Result<HashMap<String, About>, StoreError> {
        let offers = self.store.offers().await?;
        // What can't be read is as good as not told.
        Ok(offers
            .into_iter()
            .filter_map(|offer| Some((offer.name, serde_json::from_str(&offer.about).ok()?)))
            .collect())
    }
}
