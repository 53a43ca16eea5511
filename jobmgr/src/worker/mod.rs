//! (Skeleton.)

/// Opens what lies below a folder, and nothing else.
#[cfg(target_os = "linux")]
mod beneath;
/// From the folder `artifacts` to the store.
pub mod collect;
/// The MIME type of an artifact.
pub mod mime;
/// The end of an attempt's temporary directory.
pub mod remove;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod test_rights;
