use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use jobmgr_plugin_api::Result;

use crate::command::Commands;
use crate::refusal::refusal;
use crate::row::{Row, completed};

/// How much of the file's end is read: some hundred thousand jobs.
const END: u64 = 64 << 20;
/// How long the answer where the file is holds.
const KNOWN: Duration = Duration::from_secs(300);
/// States in which a job has not ended: a line is written too where a job is queued again or changes its size.
const NOT_ENDED: [&str; 5] = ["PENDING", "RUNNING", "SUSPENDED", "RESIZING", "REQUEUED"];

/// The file to which a controller with `JobCompType=jobcomp/filetxt` writes a line about every job that has ended.
#[derive(Default)]
pub struct Completions {
    place: Mutex<Option<(Instant, Option<PathBuf>)>>,
}

impl Completions {
    /// The last lines of the jobs that have ended and are wanted. Nothing where there is no such file, or none that can
    /// be read here.
    pub fn of(&self, commands: &Commands, is_wanted: impl Fn(&Row) -> bool) -> Result<Vec<Row>> {
        let Some(path) = self.place(commands)? else { return Ok(Vec::new()) };
        Ok(read(&path, is_wanted).unwrap_or_default())
    }

    fn place(&self, commands: &Commands) -> Result<Option<PathBuf>> {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((asked, path)) = &*place
            && asked.elapsed() < KNOWN
        {
            return Ok(path.clone());
        }
        let said = commands.call("scontrol", &["show".into(), "config".into()], "")?;
        if !said.ok {
            return Err(refusal("scontrol", &said));
        }
        let path = place_in(&said.stdout);
        *place = Some((Instant::now(), path.clone()));
        Ok(path)
    }
}

/// `JobCompLoc              = /var/log/slurm/jobcomp`
fn place_in(config: &str) -> Option<PathBuf> {
    let value = |name: &str| {
        let mut values = config.lines().filter_map(|line| line.split_once('='));
        values.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim())
    };
    let path = value("JobCompLoc").filter(|path| path.starts_with('/'))?;
    (value("JobCompType") == Some("jobcomp/filetxt")).then(|| path.into())
}

fn read(path: &Path, is_wanted: impl Fn(&Row) -> bool) -> io::Result<Vec<Row>> {
    let mut file = File::open(path)?;
    let from = file.metadata()?.len().saturating_sub(END);
    file.seek(SeekFrom::Start(from))?;
    let (mut lines, mut line) = (BufReader::with_capacity(256 << 10, file), Vec::new());
    let mut rows: Vec<Row> = Vec::new();
    // One whose beginning is not there is none, and neither is one that is being written.
    while {
        line.clear();
        lines.read_until(b'\n', &mut line)? > 0
    } && line.ends_with(b"\n")
    {
        let Some(row) = completed(&String::from_utf8_lossy(&line)) else { continue };
        if is_wanted(&row) {
            rows.retain(|other| other.id != row.id);
            rows.push(row);
        }
    }
    rows.retain(|row| !NOT_ENDED.contains(&row.record.state.as_str()));
    Ok(rows)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail where it likes")]

    use super::{place_in, read};

    #[test]
    fn the_place_of_the_file_is_in_the_configuration() {
        let config = "JobCompHost             = localhost\nJobCompLoc              = /var/log/a b\n";
        assert_eq!(place_in(config), None);
        let is = |kind: &str| place_in(&format!("{config}JobCompType             = {kind}\n"));
        assert_eq!(is("jobcomp/filetxt").unwrap().to_str(), Some("/var/log/a b"));
        assert_eq!(is("jobcomp/none"), None);
        assert_eq!(is("jobcomp/mysql"), None);
    }

    #[test]
    fn the_last_line_of_a_job_counts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jobcomp");
        let line =
            |id: u32, state: &str| format!("JobId={id} UserId=a(1) Name=jm-{id} JobState={state} ExitCode=0:0 \n");
        let text = [line(1, "PREEMPTED"), line(2, "FAILED"), line(3, "TIMEOUT"), "JobId=4 no\n".into()].concat();
        let more = [line(1, "COMPLETED"), line(3, "PENDING"), line(2, "TIMEOUT").trim_end().into()].concat();
        std::fs::write(&path, text + &more).unwrap();
        let rows = read(&path, |row| row.id != 9).unwrap();
        let states: Vec<_> = rows.iter().map(|row| (row.id, row.record.state.as_str())).collect();
        assert_eq!(states, [(2, "FAILED"), (1, "COMPLETED")]);
        assert!(read(&path, |row| row.id == 9).unwrap().is_empty());
        assert!(read(&dir.path().join("none"), |_| true).is_err());
    }
}
