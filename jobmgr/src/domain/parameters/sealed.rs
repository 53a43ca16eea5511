//! Values that nobody may read, as they are stored.

use crate::domain::job::Parameters;

/// What stands for such a value where a job is shown.
pub const MASK: &str = "***";

/// What a sealed value begins with; no value that a client gives has it.
const MARK: char = '\0';

/// A sealed value as it is stored.
pub fn seal(sealed: &str) -> String {
    format!("{MARK}{sealed}")
}

/// What was sealed, if the stored value is that.
pub fn sealed(stored: &str) -> Option<&str> {
    stored.strip_prefix(MARK)
}

/// Whether one of them is sealed.
pub fn any_sealed(stored: &Parameters) -> bool {
    stored.values().any(|value| sealed(value).is_some())
}

/// The values as a job is shown.
pub fn masked(mut stored: Parameters) -> Parameters {
    for value in stored.values_mut().filter(|value| sealed(value).is_some()) {
        MASK.clone_into(value);
    }
    stored
}
