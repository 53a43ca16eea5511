//! The file in which a job says how far it is: `JOBMGR_PROGRESS`, which jobmgr names in its environment.

#[cfg_attr(unix, path = "unix.rs")]
#[cfg_attr(not(unix), path = "windows.rs")]
mod platform;

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::Context;

/// How often the file of a job on this machine is worth a look.
pub const EVERY: Duration = Duration::from_millis(200);
/// How much of its end is read; a line that does not fit is none.
const END: u64 = 4096;

/// The file, and what it said last. The job may do with it what it likes: only a regular file is read, without following
/// links, and only its end.
#[derive(Debug)]
pub struct Progress {
    path: PathBuf,
    due: Instant,
    told: Option<(f64, String)>,
    warned: bool,
}

impl Progress {
    /// The file at this place, whether or not it is there yet.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), due: Instant::now() + EVERY, told: None, warned: false }
    }

    /// The file of a job with this environment, if it has one.
    pub fn of(env: &BTreeMap<String, String>) -> Option<Self> {
        env.get("JOBMGR_PROGRESS").filter(|path| !path.is_empty()).map(Self::at)
    }

    /// When [`tick`](Self::tick) looks again.
    pub fn due(&self) -> Instant {
        self.due
    }

    /// As [`look`](Self::look), where it is time to: every [`EVERY`].
    pub fn tick(&mut self, ctx: &Context<'_>) {
        if Instant::now() >= self.due {
            self.look(ctx);
        }
    }

    /// Tells what its last whole line says, if that is new: `42 some text`, `42.5% some text` or only `42`. The first
    /// line that is something else is a warning.
    pub fn look(&mut self, ctx: &Context<'_>) {
        self.due = Instant::now() + EVERY;
        let Some(line) = self.end().as_deref().and_then(last_line) else { return };
        match parse(&line) {
            Some(now) if self.told.as_ref() == Some(&now) => {}
            Some((percent, message)) => {
                ctx.progress(percent, message.clone());
                self.told = Some((percent, message));
            }
            None if self.warned => {}
            None => {
                self.warned = true;
                let start: String = line.chars().take(80).collect();
                ctx.warn(format!("JOBMGR_PROGRESS: {start:?} is not a line such as \"42 some text\" (0 to 100)"));
            }
        }
    }

    fn end(&self) -> Option<Vec<u8>> {
        let mut file = platform::open_untrusted(&self.path).ok()?;
        let size = file.metadata().ok().filter(std::fs::Metadata::is_file)?.len();
        file.seek(SeekFrom::Start(size.saturating_sub(END))).ok()?;
        let mut end = Vec::new();
        file.take(END).read_to_end(&mut end).ok()?;
        Some(end)
    }
}

/// The last line that has an end and is not blank.
fn last_line(text: &[u8]) -> Option<String> {
    let end = text.iter().rposition(|byte| *byte == b'\n')?;
    let text = String::from_utf8_lossy(&text[..end]);
    text.lines().map(str::trim).rfind(|line| !line.is_empty()).map(String::from)
}

fn parse(line: &str) -> Option<(f64, String)> {
    let (number, message) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let percent: f64 = number.strip_suffix('%').unwrap_or(number).parse().ok()?;
    (0.0..=100.0).contains(&percent).then(|| (percent, message.trim().into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Event;
    use crate::test::Host;

    #[test]
    fn only_a_number_from_0_to_100_is_progress() {
        assert_eq!(parse("42 some text"), Some((42.0, "some text".into())));
        assert_eq!(parse("99.5%  done soon"), Some((99.5, "done soon".into())));
        assert_eq!(parse("7"), Some((7.0, String::new())));
        for wrong in ["", "half", "101 x", "-1 x", "NaN x", "inf", "%", "5%% x"] {
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

    #[test]
    fn what_is_new_is_told_once() {
        let dir = std::env::temp_dir().join(format!("jobmgr-progress-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("progress");
        let (host, mut progress) = (Host::default(), Progress::at(&path));
        for text in ["", "1 a\n", "1 a\n", "1 a\n2 b\n3", "what\n", "ever\n"] {
            std::fs::write(&path, text).unwrap();
            progress.look(&host.context());
        }
        std::fs::remove_dir_all(dir).unwrap();
        progress.look(&host.context());
        let told = |percent: f64, message: &str| Event::Progress { percent, message: message.into() };
        let warning = "JOBMGR_PROGRESS: \"what\" is not a line such as \"42 some text\" (0 to 100)";
        assert_eq!(host.events(), [told(1.0, "a"), told(2.0, "b"), Event::Warning(warning.into())]);
    }
}
