//! The end of an attempt's temporary directory, whatever the job did to it.

#[cfg(target_os = "linux")]
#[path = "remove/linux.rs"]
mod platform;
#[cfg(windows)]
#[path = "remove/windows.rs"]
mod platform;

#[cfg(test)]
#[cfg(target_os = "linux")]
#[path = "remove/tests.rs"]
mod tests;

/// Removes `dir` with everything in it. Folders that forbid it are opened up first; no link is followed and no other
/// file system is entered. What can't be removed stays, the rest goes. A `dir` that is not there is no error.
///
/// # Errors
/// How many entries stay, the first of them and why.
pub fn remove_tree(dir: &std::path::Path) -> std::io::Result<()> {
    platform::remove_tree(dir)
}
