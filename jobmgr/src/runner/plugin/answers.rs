use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::pool::{Entry, lock};
use super::schema::Wrong;
use crate::runner::link::Failure;

/// How long an executor may take over one answer.
const LIMIT: Duration = Duration::from_secs(1);
/// How long a library may take to open for it.
const OPENING: Duration = Duration::from_secs(10);
/// How many answers are kept of an executor; it is asked anew for more.
const KEPT: usize = 10_000;

/// Of a library's file and of options.
type Hash = [u8; 32];

/// What an executor says about options beyond its schema. It is foreign code: it is asked in a runner, once for each,
/// and what it does there counts for nothing but the answer.
#[derive(Default)]
pub(super) struct Answers {
    /// Options that it has not answered for yet count as right.
    known: Mutex<HashMap<Hash, Option<Wrong>>>,
    /// The library that did not answer, by its SHA-256: it is not asked again.
    mute: Mutex<Option<String>>,
    /// Held by the one who asks.
    turn: tokio::sync::Mutex<()>,
    asking: TaskTracker,
}

impl Answers {
    /// Waits until it has answered for all that it was asked.
    pub(super) async fn all(&self) {
        self.asking.close();
        self.asking.wait().await;
    }

    fn is_mute(&self, sha256: &str) -> bool {
        lock(&self.mute).as_deref() == Some(sha256)
    }
}

impl Entry {
    /// What the executor says about options that its schema takes. Where it has not been asked yet, it is now.
    ///
    /// # Errors
    /// The key that is wrong, and what it says about it.
    pub(super) fn validated(self: &Arc<Self>, options: &Value) -> Result<(), Wrong> {
        let Some(sha256) = lock(&self.known).as_ref().map(|known| known.sha256.clone()) else { return Ok(()) };
        let hash: Hash = Sha256::new().chain_update(&sha256).chain_update(options.to_string()).finalize().into();
        if let Some(answer) = lock(&self.answers.known).get(&hash) {
            return answer.clone().map_or(Ok(()), Err);
        }
        self.ask(hash, sha256, options.clone());
        Ok(())
    }

    fn ask(self: &Arc<Self>, hash: Hash, sha256: String, options: Value) {
        // Without a runtime nobody is there who could wait for an answer.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if self.answers.is_mute(&sha256) {
            return;
        }
        let mut known = lock(&self.answers.known);
        if known.len() >= KEPT {
            known.clear();
        }
        known.insert(hash, None);
        drop(known);
        let entry = Arc::clone(self);
        let asking = async move {
            let Some(wrong) = entry.answer(&sha256, &options).await else { return };
            lock(&entry.answers.known).insert(hash, Some(wrong));
            if let Some(changed) = entry.changed.get() {
                changed();
            }
        };
        self.answers.asking.spawn_on(asking, &runtime);
    }

    /// Asks the executor; `None`: it takes them, or does not say.
    async fn answer(&self, sha256: &str, options: &Value) -> Option<Wrong> {
        let _turn = self.answers.turn.lock().await;
        if self.answers.is_mute(sha256) {
            return None;
        }
        let opened = tokio::time::timeout(OPENING, self.at_hand()).await.ok()?.ok()?;
        let said = tokio::time::timeout(LIMIT, opened.runner.validate(options)).await;
        let said = said.unwrap_or_else(|_| Err(Failure::Executor(format!("no answer within {LIMIT:?}"))));
        match said {
            Ok(()) => {
                self.keep(opened);
                None
            }
            Err(Failure::Invalid(why)) => {
                let wrong = (place(options, &why), why);
                // Another file by now: these options are seen anew with it.
                let same = opened.sha256 == sha256;
                self.keep(opened);
                same.then_some(wrong)
            }
            Err(failure) => {
                warn!(executor = self.name, "[Executors.{}] can't say whether options are right: {failure}", self.name);
                *lock(&self.answers.mute) = Some(sha256.to_owned());
                None
            }
        }
    }
}

/// Which option a text is about: the first that it names.
fn place(options: &Value, text: &str) -> String {
    let mut words = text.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '-');
    let key = words.find(|word| options.get(word).is_some());
    key.map_or_else(|| "Options".to_owned(), |key| format!("Options.{key}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::place;

    #[test]
    fn the_first_option_that_is_named_is_meant() {
        let options = json!({"Mode": "x", "Max_Size": 1});
        for (text, expected) in [
            ("Mode: 'invalid' is not valid", "Options.Mode"),
            ("'Max_Size' is too large for this 'Mode'", "Options.Max_Size"),
            ("Modes: there are none", "Options"),
            ("", "Options"),
        ] {
            assert_eq!(place(&options, text), expected, "{text}");
        }
    }
}
