use std::collections::BTreeMap;

use super::{Mistake, Place};

/// Where the values of a table stand, by their paths in it, for when the text is gone; the table's own path is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places(pub(super) BTreeMap<String, Place>);

impl Places {
    /// A mistake in the value at `path`, or in the nearest table around it.
    pub fn mistake(&self, path: &str, text: impl Into<String>) -> Mistake {
        let mut path = path;
        loop {
            if let Some(place) = self.0.get(path) {
                return Mistake { place: place.clone(), text: text.into() };
            }
            if path.is_empty() {
                return Mistake::whole(text);
            }
            path = path.rsplit_once('.').map_or("", |(around, _)| around);
        }
    }
}
