use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use jobmgr_plugin_api::{Context, Error, Job, Outcome, Result, Stream};

use crate::bring::bring;
use crate::output::pass_on;
use crate::script::{self, quote};
use crate::{Options, wrap};

/// The output of standard output and standard error.
const OUTPUT: [(Stream, &str); 2] = [(Stream::Stdout, "stdout"), (Stream::Stderr, "stderr")];
/// Names of variables that lead to what the job leaves for jobmgr.
const RESULTS: [&str; 2] = ["JOBMGR_ARTIFACTS_DIR", "JOBMGR_OUTPUT"];

/// What the script says of the command's end.
#[derive(Debug, Clone, PartialEq)]
pub struct Exit {
    /// The end.
    pub outcome: Outcome,
    /// Slurm, for whatever reason, had asked the job to end.
    pub was_stopped: bool,
}

/// What a job has on the disk that the nodes see.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where the job's folder is.
    pub fn of(job: &Job<Options>, shared: Option<&Path>) -> Self {
        Self::at(shared.map_or_else(|| Path::new(&job.dir).join(".slurm"), |shared| shared.join(&job.key)))
    }

    pub fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// As `sbatch` takes it: `%` begins a pattern there.
    pub fn pattern(&self, name: &str) -> Result<String> {
        let path = self.path.join(name).display().to_string();
        if path.contains(['\\', '\n']) {
            return Err(Error::invalid(format!(
                "sbatch can't write into '{path}': there is a backslash or a line in it"
            )));
        }
        Ok(path.replace('%', "%%"))
    }

    /// Makes the folder and the script in it; with `is_shared` a place for what is the job's temporary directory here.
    /// Gives the script's name for the directory where the job starts.
    pub fn prepare(&self, job: &Job<Options>, is_shared: bool) -> io::Result<String> {
        make_private(&self.path)?;
        let work = self.work(is_shared);
        let map = |path: &str| work.as_deref().map_or_else(|| path.to_owned(), |work| moved(path, &job.dir, work));
        if let Some(work) = &work {
            fs::create_dir_all(work.join("artifacts"))?;
            copy_inputs(&Path::new(&job.dir).join("inputs"), &work.join("inputs"))?;
        }
        let directory = map(&job.working_directory);
        let word = |text: &str| quote(&map(text));
        let (folder, command) = (self.name(), &job.command);
        self.write(&script::job(
            &script::Script { command, env: &job.env, directory: &directory, word: &word },
            &folder,
        ))?;
        Ok(directory)
    }

    /// Makes the folder, which nobody but jobmgr sees then, and in it the script that Slurm is given whole. Gives the
    /// script.
    pub fn prepare_wrapped(&self, job: &Job<Options>, how: &wrap::Wrap, grants: &str) -> io::Result<String> {
        make_private(&self.path)?;
        let script = wrap::script(job, how, grants);
        self.write(&script)?;
        Ok(script)
    }

    fn write(&self, script: &str) -> io::Result<()> {
        let new = self.path.join("job.sh.new");
        fs::write(&new, script)?;
        fs::rename(new, self.path.join("job.sh"))
    }

    /// What is the job's temporary directory on the nodes, where it is another than here.
    fn work(&self, is_shared: bool) -> Option<PathBuf> {
        is_shared.then(|| self.path.join("work"))
    }

    /// The file in which the job says how far it is.
    pub fn progress(&self, job: &Job<Options>, is_shared: bool) -> Option<PathBuf> {
        let path = job.env.get("JOBMGR_PROGRESS").filter(|path| !path.is_empty())?;
        Some(self.work(is_shared).map_or_else(|| path.into(), |work| moved(path, &job.dir, &work).into()))
    }

    /// What the script left about the end.
    pub fn exit(&self) -> Option<Exit> {
        let text = fs::read_to_string(self.path.join("exit")).ok()?;
        let mut words = text.split_whitespace();
        let (how, number) = (words.next()?, words.next()?.parse().ok()?);
        let outcome = match how {
            "exited" => Outcome::exited(number),
            "signaled" => Outcome::signaled(number),
            _ => return None,
        };
        Some(Exit { outcome, was_stopped: words.next() == Some("stopped") })
    }

    /// The number that Slurm gave to the job that began here.
    pub fn id(&self) -> Option<u64> {
        fs::read_to_string(self.path.join("id")).ok()?.trim().parse().ok()
    }

    /// Whether the script has left this.
    pub fn has(&self, name: &str) -> bool {
        self.path.join(name).exists()
    }

    /// Passes the output on from these positions. What is not there yet is nothing.
    pub fn output(&self, from: [u64; 2], ctx: &Context<'_>) -> Result<()> {
        for ((stream, name), from) in OUTPUT.into_iter().zip(from) {
            pass_on(&self.path.join(name), from, |data| ctx.log(stream, data))?;
        }
        Ok(())
    }

    /// Brings what the job left for jobmgr to where jobmgr looks for it.
    pub fn bring_home(&self, job: &Job<Options>) -> io::Result<()> {
        let work = self.path.join("work");
        for name in RESULTS {
            let Some(home) = job.env.get(name) else { continue };
            let away = moved(home, &job.dir, &work);
            if away != *home {
                bring(Path::new(&away), Path::new(home))?;
            }
        }
        Ok(())
    }

    pub fn remove(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// A path in the job's temporary directory, as the nodes see it.
fn moved(path: &str, dir: &str, work: &Path) -> String {
    match path.strip_prefix(dir) {
        Some("") => work.display().to_string(),
        Some(rest) if rest.starts_with('/') && !dir.is_empty() => format!("{}{rest}", work.display()),
        _ => path.to_owned(),
    }
}

/// The files that the job was given, to where the nodes see them. What is there already is written anew.
fn copy_inputs(from: &Path, to: &Path) -> io::Result<()> {
    if !from.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

/// Others must not read a job's environment.
#[cfg(unix)]
fn make_private(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(not(unix))]
fn make_private(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail where it likes")]

    use super::*;

    #[test]
    fn files_are_copied_to_where_the_nodes_see_them() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("inputs"), dir.path().join("work/inputs"));
        copy_inputs(&from, &to).unwrap();
        assert!(!to.exists());
        fs::create_dir(&from).unwrap();
        fs::write(from.join("a b"), "one").unwrap();
        // Done again, as after an order that was not answered.
        for _ in 0..2 {
            copy_inputs(&from, &to).unwrap();
            assert_eq!(fs::read_to_string(to.join("a b")).unwrap(), "one");
        }
    }
}
