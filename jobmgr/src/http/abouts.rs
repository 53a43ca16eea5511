//! What is to be known of jobs before they are run: their usual priority, how long they may wait.
//!
//! A process with a worker has the files. One without asks what the living workers publish; its own folder counts only
//! where no worker tells.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::domain::jobspec::About;
use crate::jobspecs::Jobspecs;
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
        let local = || self.jobspecs.get(name).ok().map(|jobspec| About::of(&jobspec));
        if self.works_here
            && let Some(about) = local()
        {
            return about;
        }
        let published = self.published().await.get(name).cloned();
        published.or_else(local).unwrap_or_default()
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
