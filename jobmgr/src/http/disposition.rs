//! Stands in for `crate::domain::disposition` until it is there.

/// How a browser should treat a file.
pub fn disposition(_name: &str, _mime: &str) -> String {
    "attachment".to_owned()
}
