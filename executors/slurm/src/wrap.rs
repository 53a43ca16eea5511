use std::path::Path;

use jobmgr_plugin_api::wrapped::{self, Report};
use jobmgr_plugin_api::{Context, Ending, Error, Job, Outcome, Result};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::Options;
use crate::script::{Script, quote};

/// Slurm takes no larger script unless it is told to (`max_script_size`).
const MAX_SCRIPT: usize = 4 << 20;

/// Runs the command under `jobmgr wrap`, which uploads what it left, for nodes that share no folder with jobmgr.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "PascalCase")]
pub struct Wrap {
    /// Where the nodes have the program `jobmgr`.
    pub path: String,
    /// How many artifacts the job may leave at most.
    pub artifacts: u32,
}

impl Default for Wrap {
    fn default() -> Self {
        Self { path: "/usr/local/bin/jobmgr".into(), artifacts: 50 }
    }
}

impl Wrap {
    pub(crate) fn check(&self) -> Result<()> {
        if !Path::new(&self.path).has_root() || self.path.contains(['\0', '\n']) {
            let path = &self.path;
            return Err(Error::invalid(format!(
                "Wrap.Path: must be the absolute path of the program 'jobmgr' on the nodes, and is {path:?}"
            )));
        }
        Ok(())
    }
}

/// The whole of what a node needs: nothing of it is anywhere else.
///
/// The job's temporary directory is made on the node, beside the addresses for the uploads, and is removed with them.
/// Until then `$1` is the one and `$2` the other; no variable of the job's can change those. The trap keeps the shell
/// alive when Slurm signals every process of the job.
pub fn script(job: &Job<Options>, wrap: &Wrap, grants: &str) -> String {
    let word = |text: &str| inside(text, &job.dir).map_or_else(|| quote(text), |rest| format!("\"$1\"{}", quote(rest)));
    let directory = word(&job.working_directory);
    let script = Script { command: &job.command, env: &job.env, directory: &job.working_directory, word: &word };
    let before = [quote(&wrap.path), "wrap".into(), "--log".into(), "--grants".into(), "\"$2\"".into(), "--".into()];
    format!(
        "#!/bin/sh
trap : HUP INT QUIT USR1 USR2 ALRM XCPU TERM
scratch=$(mktemp -d \"${{TMPDIR:-/tmp}}/jobmgr-XXXXXX\") || exit 75
trap 'rm -rf \"$scratch\"' EXIT
mkdir \"$scratch/work\" \"$scratch/work/artifacts\" || exit 75
printf %s {grants} > \"$scratch/grants\" || exit 75
(
set -- \"$scratch/work\" \"$scratch/grants\"
unset scratch
cd {directory} || exit 126
{exports}{command}
)
exit
",
        grants = quote(grants),
        exports = script.exports(),
        command = script.command(&before),
    )
}

/// What follows the job's temporary directory in a path in it.
fn inside<'a>(path: &'a str, dir: &str) -> Option<&'a str> {
    path.strip_prefix(dir).filter(|rest| !dir.is_empty() && (rest.is_empty() || rest.starts_with('/')))
}

/// The addresses for what the job will leave.
pub fn grants(wrap: &Wrap, ctx: &Context<'_>) -> Result<String> {
    let grants = wrapped::grants(ctx, wrap.artifacts)?;
    if grants.len() > MAX_SCRIPT / 2 {
        let (count, size, most) = (wrap.artifacts, grants.len(), MAX_SCRIPT / 2);
        return Err(Error::invalid(format!(
            "Wrap.Artifacts: the addresses for {count} files, and for the job's input files, take {size} bytes; at most \
             {most} fit into a script"
        )));
    }
    Ok(grants)
}

/// How the job ended, from what Slurm and its report say of it.
///
/// # Errors
/// When it ended well, but what it left did not all arrive.
pub fn judge(mut slurms: Outcome, report: Option<&Report>, ctx: &Context<'_>) -> Result<Outcome> {
    let was_killed = matches!(slurms.ending, Ending::Killed(_));
    match report {
        Some(report) => {
            if !was_killed {
                slurms.ending = report.outcome()?.ending;
            }
            (slurms.exit_code, slurms.signal) = (report.exit_code, report.signal);
            Ok(slurms)
        }
        None if slurms.exit_code == Some(0) => {
            Err(Error::failed("the command ended well, but 'jobmgr wrap' has not reported what it left"))
        }
        None => {
            ctx.warn(if was_killed {
                "it was ended before 'jobmgr wrap' could upload what it left"
            } else {
                "'jobmgr wrap' has not reported: do the nodes have it at 'Wrap.Path', and do they reach the server?"
            });
            Ok(slurms)
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail where it likes")]

    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    use jobmgr_plugin_api::wrapped::Report;
    use jobmgr_plugin_api::{Ending, Event, Job, KillReason, Outcome, test::Host};

    use super::{Wrap, judge, script};
    use crate::Options;

    /// Says what it was given, as `jobmgr wrap` would have been.
    const TELLS: &str = "#!/bin/sh\n[ \"$1 $2 $3 $5\" = 'wrap --log --grants --' ] || exit 9
cat \"$4\"; shift 5; printf '|%s' \"$@\"; printf '|%s|%s|' \"$X\" \"$scratch\"; [ -d \"$DIR/artifacts\" ] && pwd
[ \"$PWD\" = \"$DIR\" ] && exit 6\n";

    #[test]
    fn a_node_gets_all_of_it_and_keeps_nothing() {
        let node = tempfile::tempdir().unwrap();
        let program = node.path().join("it's");
        std::fs::write(&program, TELLS).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut job = Job::new("1", 1, "jm-1", Options::default());
        job.dir = "/on/the/server".into();
        job.working_directory.clone_from(&job.dir);
        job.command = ["a b", "$1 it's"].map(Into::into).to_vec();
        for (name, value) in
            [("X", "/on/the/server2 $2"), ("DIR", "/on/the/server"), ("scratch", "theirs"), ("A.B", "x")]
        {
            job.env.insert(name.into(), value.into());
        }
        let wrap = Wrap { path: program.display().to_string(), ..Wrap::default() };
        let text = script(&job, &wrap, "{\"it's\": 1}");
        let mut shell = Command::new("sh");
        let output = shell.args(["-c", &text]).env("TMPDIR", node.path()).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let start = "{\"it's\": 1}|a b|$1 it's|/on/the/server2 $2|theirs|";
        assert!(said.starts_with(&format!("{start}{}/jobmgr-", node.path().display())), "{said}");
        assert_eq!(output.status.code(), Some(6), "{said}");
        assert_eq!(std::fs::read_dir(node.path()).unwrap().count(), 1, "the scratch folder is gone");
    }

    #[test]
    fn the_report_says_more_than_slurm() {
        let host = Host::default();
        let report = |exit_code, signal, problems: &[&str]| {
            let mut report = Report::default();
            (report.exit_code, report.signal) = (exit_code, signal);
            report.problems = problems.iter().map(|&text| text.into()).collect();
            report
        };
        let judged = |slurms: Outcome, report: &Report| judge(slurms, Some(report), &host.context());
        let outcome = judged(Outcome::exited(137), &report(None, Some(9), &[])).unwrap();
        assert_eq!(outcome.ending, Ending::Signaled(9));
        let killed = Outcome::killed(KillReason::Preempted).with_message("Slurm: PREEMPTED");
        let outcome = judged(killed, &report(Some(3), None, &["lost"])).unwrap();
        assert_eq!((outcome.ending, outcome.exit_code), (Ending::Killed(KillReason::Preempted), Some(3)));
        let error = judged(Outcome::exited(74), &report(Some(0), None, &["'x' is lost"])).unwrap_err();
        assert_eq!(error.to_string(), "the command ended well, but 'x' is lost");
        assert!(judge(Outcome::exited(0), None, &host.context()).is_err());
        assert!(host.events().is_empty());
        assert_eq!(judge(Outcome::exited(127), None, &host.context()).unwrap(), Outcome::exited(127));
        assert!(matches!(&host.events()[..], [Event::Warning(text)] if text.contains("'Wrap.Path'")));
    }

    #[test]
    fn the_program_is_named_by_its_whole_path() {
        assert!(Wrap { path: "jobmgr".into(), ..Wrap::default() }.check().is_err());
        Wrap::default().check().unwrap();
    }
}
