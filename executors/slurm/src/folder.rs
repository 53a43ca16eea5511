use std::fs;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use jobmgr_plugin_api::{Context, Error, Job, Outcome, Result, Stream};

use crate::{Options, script};

/// How much output is read at once.
const PIECE: usize = 64 << 10;
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
        let work = self.path.join("work");
        let map = |path: &str| if is_shared { moved(path, &job.dir, &work) } else { path.to_owned() };
        if is_shared {
            fs::create_dir_all(work.join("artifacts"))?;
        }
        let env = job.env.iter().map(|(name, value)| (name.clone(), map(value))).collect();
        let directory = map(&job.working_directory);
        let (folder, command) = (self.name(), &job.command);
        let text = script::job(&script::Script { command, env: &env, directory: &directory, folder: &folder });
        let new = self.path.join("job.sh.new");
        fs::write(&new, text)?;
        fs::rename(new, self.path.join("job.sh"))?;
        Ok(directory)
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

/// Passes on what a file has after `from`, as far as it goes now.
fn pass_on(path: &Path, from: u64, to: impl Fn(&[u8]) -> Result<()>) -> Result<()> {
    let length = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_file() => meta.len(),
        Ok(_) => return Err(Error::failed(format!("{} is no file any more", path.display()))),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if length <= from {
        return Ok(());
    }
    let mut file = fs::File::open(path)?;
    file.seek(SeekFrom::Start(from))?;
    // A job that writes without a pause must not keep its other stream from being read.
    let (mut left, mut piece) = (length - from, vec![0; PIECE]);
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        let count = file.read(&mut piece[..most])?;
        if count == 0 {
            break;
        }
        to(&piece[..count])?;
        left -= count as u64;
    }
    Ok(())
}

/// Moves files and folders. Links and whatever else is no file stays: it could lead anywhere.
fn bring(from: &Path, to: &Path) -> io::Result<()> {
    let kind = match fs::symlink_metadata(from) {
        Ok(meta) => meta.file_type(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if kind.is_dir() {
        fs::create_dir_all(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            bring(&entry.path(), &to.join(entry.file_name()))?;
        }
    } else if kind.is_file() && fs::rename(from, to).is_err() {
        // Another disk. What is half copied is copied again.
        fs::copy(from, to)?;
        fs::remove_file(from)?;
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
