use std::fs::Metadata;

/// A file's number there is not stable in Rust's library; size and time have to do.
pub(super) fn identity(_metadata: &Metadata) -> (u64, u64) {
    (0, 0)
}

/// Rights are in lists there, which the folder of a program is expected to keep.
pub(super) fn writable_by(_metadata: &Metadata) -> Option<String> {
    None
}
