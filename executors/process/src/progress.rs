//! The file in which a job says how far it is.

use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::time::Instant;

use jobmgr_plugin_api::{Context, Job};

use crate::{Options, PROGRESS_EVERY, platform};

/// How much of the file's end is read; a line that does not fit is none.
const TAIL: u64 = 4096;

/// Watches the file that `JOBMGR_PROGRESS` names. The job may do with it what it likes: only a regular file is read,
/// and only its end.
pub struct Progress {
    path: PathBuf,
    /// When to look again.
    pub next: Instant,
    last: Option<(f64, String)>,
    warned: bool,
}

impl Progress {
    /// What there is to watch, if the job has such a file.
    pub fn of(job: &Job<Options>) -> Option<Self> {
        let path = job.env.get("JOBMGR_PROGRESS").filter(|path| !path.is_empty())?;
        Some(Self { path: path.into(), next: Instant::now() + PROGRESS_EVERY, last: None, warned: false })
    }

    /// Looks if it is time to.
    pub fn tick(&mut self, ctx: &Context<'_>) {
        if Instant::now() >= self.next {
            self.look(ctx);
        }
    }

    /// Tells what the last complete line says, if that is new.
    pub fn look(&mut self, ctx: &Context<'_>) {
        self.next = Instant::now() + PROGRESS_EVERY;
        let Some(tail) = self.tail() else { return };
        let Some(line) = last_line(&tail) else { return };
        match parse(&line) {
            Some(now) if self.last.as_ref() == Some(&now) => {}
            Some((percent, message)) => {
                ctx.progress(percent, message.clone());
                self.last = Some((percent, message));
            }
            None if self.warned => {}
            None => {
                self.warned = true;
                let start: String = line.chars().take(80).collect();
                ctx.warn(format!("JOBMGR_PROGRESS: {start:?} is not a line such as \"42 some text\" (0 to 100)"));
            }
        }
    }

    fn tail(&self) -> Option<Vec<u8>> {
        let mut file = platform::open_untrusted(&self.path).ok()?;
        let meta = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
        file.seek(SeekFrom::Start(meta.len().saturating_sub(TAIL))).ok()?;
        let mut tail = Vec::new();
        file.take(TAIL).read_to_end(&mut tail).ok()?;
        Some(tail)
    }
}

/// The last line that has an end and is not blank.
fn last_line(tail: &[u8]) -> Option<String> {
    let end = tail.iter().rposition(|byte| *byte == b'\n')?;
    let text = String::from_utf8_lossy(&tail[..end]);
    text.lines().map(str::trim).rfind(|line| !line.is_empty()).map(String::from)
}

/// `42 some text`, `42.5% some text` or only `42`.
fn parse(line: &str) -> Option<(f64, String)> {
    let (number, message) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let percent: f64 = number.strip_suffix('%').unwrap_or(number).parse().ok()?;
    (0.0..=100.0).contains(&percent).then(|| (percent, message.trim().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_number_from_0_to_100_is_progress() {
        assert_eq!(parse("42 some text"), Some((42.0, "some text".into())));
        assert_eq!(parse("99.5%  done soon"), Some((99.5, "done soon".into())));
        assert_eq!(parse("7"), Some((7.0, String::new())));
        for wrong in ["", "half", "101 x", "-1 x", "NaN x", "inf", "%"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_line_without_its_end_does_not_count() {
        assert_eq!(last_line(b"1 a\n2 b\n3 c").as_deref(), Some("2 b"));
        assert_eq!(last_line(b"1 a\r\n\n").as_deref(), Some("1 a"));
        assert_eq!(last_line(b"1 a"), None);
        assert_eq!(last_line(b"\n\n"), None);
    }
}
