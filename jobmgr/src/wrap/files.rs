use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What is in a folder.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Plain files: their paths below it with `/`, and where they are; in the order of the first.
    pub files: Vec<(String, PathBuf)>,
    /// What else is there.
    pub skipped: Vec<String>,
}

/// Looks through a folder and those in it; follows no links.
pub(super) fn list(folder: &Path) -> io::Result<Found> {
    let mut found = Found::default();
    let mut folders = vec![(String::new(), folder.to_owned())];
    while let Some((below, folder)) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = format!("{below}{}", entry.file_name().to_string_lossy());
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push((format!("{name}/"), entry.path()));
            } else if kind.is_file() {
                found.files.push((name, entry.path()));
            } else {
                let what = if kind.is_symlink() { "a link" } else { "no plain file" };
                found.skipped.push(format!("'{name}' was left out: it is {what}"));
            }
        }
    }
    found.files.sort();
    found.skipped.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_files_of_all_folders_are_found() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        for name in ["z", "a/y", "a/b/x"] {
            fs::write(dir.path().join(name), name).unwrap();
        }
        #[cfg(unix)]
        std::os::unix::fs::symlink("z", dir.path().join("l")).unwrap();
        let found = list(dir.path()).unwrap();
        let names: Vec<_> = found.files.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a/b/x", "a/y", "z"]);
        #[cfg(unix)]
        assert_eq!(found.skipped, ["'l' was left out: it is a link"]);
    }
}
