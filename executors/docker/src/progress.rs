//! The file in which a job says how far it is: `JOBMGR_PROGRESS`, which lies in the job's directory.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::time::Duration;

use jobmgr_plugin_api::Context;

use crate::platform;

/// How often it is looked at.
pub const PROGRESS_EVERY: Duration = Duration::from_millis(200);
/// How much of its end is read; a longer line is none.
const END: u64 = 4096;

/// The file, and what it said last.
pub struct Progress {
    path: PathBuf,
    told: Option<(f64, String)>,
    warned: bool,
}

impl Progress {
    /// The file of a job with this environment, if it has one.
    pub fn of(env: &BTreeMap<String, String>) -> Option<Self> {
        let path = env.get("JOBMGR_PROGRESS").filter(|path| !path.is_empty())?;
        Some(Self { path: path.into(), told: None, warned: false })
    }

    /// Tells what its last whole line says, if that is new.
    pub fn look(&mut self, ctx: &Context<'_>) {
        let Some(line) = self.last_line() else { return };
        match read(&line) {
            Some(now) if self.told.as_ref() != Some(&now) => {
                ctx.progress(now.0, now.1.clone());
                self.told = Some(now);
            }
            None if !self.warned => {
                self.warned = true;
                let start: String = line.chars().take(80).collect();
                ctx.warn(format!("JOBMGR_PROGRESS: {start:?} is not a line such as \"42 some text\" (0 to 100)"));
            }
            _ => {}
        }
    }

    fn last_line(&self) -> Option<String> {
        let mut file = platform::open_untrusted(&self.path).ok()?;
        let size = file.metadata().ok().filter(std::fs::Metadata::is_file)?.len();
        file.seek(SeekFrom::Start(size.saturating_sub(END))).ok()?;
        let mut end = Vec::new();
        file.take(END).read_to_end(&mut end).ok()?;
        let whole = end.iter().rposition(|byte| *byte == b'\n')?;
        let text = String::from_utf8_lossy(&end[..whole]).into_owned();
        text.lines().map(str::trim).rfind(|line| !line.is_empty()).map(str::to_owned)
    }
}

/// `42 some text`, `42.5% some text` or only `42`.
fn read(line: &str) -> Option<(f64, String)> {
    let (number, text) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let percent = number.trim_end_matches('%').parse::<f64>().ok().filter(|percent| (0.0..=100.0).contains(percent))?;
    Some((percent, text.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_number_and_a_text() {
        assert_eq!(read("42.5%  nearly there"), Some((42.5, "nearly there".into())));
        assert_eq!(read("100"), Some((100.0, String::new())));
        for wrong in ["half", "101", "-1 x", "NaN"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
