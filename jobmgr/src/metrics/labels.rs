//! Words for labels, of which there must not be too many: each makes a series, here and in the database of whoever
//! scrapes.

use std::collections::HashSet;
use std::sync::{LazyLock, PoisonError, RwLock};

/// How many jobspecs have numbers of their own.
const JOBSPECS: usize = 200;

/// What the others share.
pub const OTHERS: &str = "(others)";

/// Those that have.
static NAMES: LazyLock<Names> = LazyLock::new(Names::default);

/// The label of a jobspec that was run or is waited for.
pub(super) fn jobspec(name: &str) -> &'static str {
    NAMES.label(name)
}

/// The label of a name that may be a stranger's invention: that of a jobspec which has one already.
pub(super) fn known(name: &str) -> &'static str {
    NAMES.known(name)
}

/// A bounded number of names.
#[derive(Default)]
struct Names(RwLock<HashSet<&'static str>>);

impl Names {
    fn label(&self, name: &str) -> &'static str {
        let known = self.known(name);
        if known != OTHERS || name == OTHERS {
            return known;
        }
        let mut names = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if names.len() >= JOBSPECS {
            return OTHERS;
        }
        // At most so many, for the life of the process.
        let name: &'static str = Box::leak(name.to_owned().into_boxed_str());
        names.insert(name);
        names.get(name).copied().unwrap_or(OTHERS)
    }

    fn known(&self, name: &str) -> &'static str {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(name).copied().unwrap_or(OTHERS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_never_more_than_so_many() {
        let names = Names::default();
        assert_eq!((names.known("first"), names.label("first"), names.known("first")), (OTHERS, "first", "first"));
        for number in 0..2 * JOBSPECS {
            names.label(&format!("name-{number}"));
        }
        assert_eq!((names.label("one more"), names.label("first")), (OTHERS, "first"));
        assert_eq!(names.0.read().unwrap().len(), JOBSPECS);
    }
}
