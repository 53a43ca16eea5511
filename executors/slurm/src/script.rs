use std::collections::BTreeMap;
use std::fmt::Write;

/// What the nodes run.
pub struct Script<'a> {
    /// The job's command and its arguments.
    pub command: &'a [String],
    /// What is set beside what Slurm sets.
    pub env: &'a BTreeMap<String, String>,
    /// Where it starts.
    pub directory: &'a str,
    /// A variable's value as a word of the shell: paths may be others on the nodes.
    pub word: &'a dyn Fn(&str) -> String,
}

/// For a job whose folder the nodes see. Leaves its job id in `id`, runs the command, and leaves the end in `exit`: `exited 5` or `signaled 9`, and `stopped`
/// behind it where somebody asked the job to end.
///
/// A shell's status is 128 + n both for signal n and for `exit`; but for a signal it says something, and what it says
/// goes into a file of its own. (It keeps silent about SIGINT and SIGPIPE, so these two come as exit codes.) The traps
/// keep the shell alive when Slurm signals every process of the job: the command's end is still written down.
///
/// A controller that lost its last seconds may start a job again that runs or ran already; the script knows, and does
/// not. A requeued job has another restart count.
pub fn job(script: &Script<'_>, folder: &str) -> String {
    let folder = quote(folder);
    let (exports, command) = (script.exports(), script.command(&[]));
    format!(
        "#!/bin/sh
folder={folder} stopped=
trap : HUP INT QUIT USR1 USR2 ALRM XCPU
trap 'stopped=\" stopped\"' TERM
mkdir \"$folder/begun-${{SLURM_RESTART_COUNT:-0}}\" || exit 75
rm -f \"$folder/exit\" \"$folder/signal\"
echo \"$SLURM_JOB_ID\" > \"$folder/id.new\" && mv -f \"$folder/id.new\" \"$folder/id\"
exec 3>&2 2>\"$folder/signal\"
(
exec 2>&3 3>&-
unset folder stopped
cd {directory} || exit 126
{exports}{command}
)
status=$?
exec 2>&3 3>&-
if [ \"$status\" -gt 128 ] && [ -s \"$folder/signal\" ]; then
    end=\"signaled $((status - 128))\"
else
    end=\"exited $status\"
fi
echo \"$end$stopped\" > \"$folder/exit.new\" && mv -f \"$folder/exit.new\" \"$folder/exit\"
exit \"$status\"
",
        directory = quote(script.directory),
    )
}

/// What Slurm keeps: only where the script is. When the folder is gone, because the job was given up, a submission that
/// arrives late finds nothing to run.
pub fn launcher(folder: &str) -> String {
    format!("#!/bin/sh\nexec /bin/sh {}\n", quote(&format!("{folder}/job.sh")))
}

impl Script<'_> {
    /// Lines that set the variables.
    pub fn exports(&self) -> String {
        self.env.iter().filter(|(name, _)| is_name(name)).fold(String::new(), |mut text, (name, value)| {
            // Writing to a string does not fail.
            let _ = writeln!(text, "export {name}={}", (self.word)(value));
            text
        })
    }

    /// The line that becomes the command, with these words of the shell before its own. Variables that a shell has no
    /// names for are set by `env`.
    pub fn command(&self, before: &[String]) -> String {
        let odd: Vec<_> = self.env.iter().filter(|(name, _)| !is_name(name)).collect();
        let mut words = vec!["exec".to_owned()];
        if !odd.is_empty() {
            words.push("/usr/bin/env".into());
            words.extend(
                odd.iter().map(|(name, value)| format!("{}{}", quote(&format!("{name}=")), (self.word)(value))),
            );
        }
        words.extend_from_slice(before);
        words.extend(self.command.iter().map(|word| quote(word)));
        words.join(" ")
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// One word of a shell, whatever is in it (but NUL, which no argument can have).
pub fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(all(test, unix))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail where it likes")]

    use std::collections::BTreeMap;
    use std::process::Command;

    use super::{Script, job, quote};

    const NASTY: [&str; 8] = ["a b", "it's", "$(id)`id`", "\"\\$HOME\\\"", "two\nlines\n", "-n", "*", "é;exit 9 #"];

    /// Runs it with each shell of this machine; gives the standard output and what is in `exit`.
    fn run(command: &[&str], env: &[(&str, &str)]) -> Vec<(String, String)> {
        let mut ends = Vec::new();
        for shell in ["sh", "bash", "dash"] {
            let folder = tempfile::tempdir().unwrap();
            let name = folder.path().join("it's $HOME");
            std::fs::create_dir(&name).unwrap();
            let env: BTreeMap<_, _> = env.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
            let command: Vec<_> = command.iter().map(|word| (*word).to_owned()).collect();
            let name = name.to_str().unwrap();
            let text = job(&Script { command: &command, env: &env, directory: name, word: &quote }, name);
            std::fs::write(folder.path().join("job.sh"), text).unwrap();
            let Ok(output) = Command::new(shell).arg(folder.path().join("job.sh")).env("SLURM_JOB_ID", "7").output()
            else {
                continue;
            };
            assert_eq!(std::fs::read_to_string(format!("{name}/id")).unwrap(), "7\n");
            let exit = std::fs::read_to_string(format!("{name}/exit")).unwrap();
            ends.push((String::from_utf8(output.stdout).unwrap(), exit));
        }
        assert!(!ends.is_empty(), "there is no shell");
        ends
    }

    #[test]
    fn arguments_and_variables_arrive_as_they_are() {
        let mut command = vec!["sh", "-c", r#"printf '[%s]' "$@"; printf '<%s>' "$X" "$folder""#, "-"];
        command.extend(NASTY);
        let value = NASTY.join("'");
        for (stdout, exit) in run(&command, &[("X", &value), ("folder", "theirs")]) {
            let want: String = NASTY.iter().map(|text| format!("[{text}]")).collect();
            assert_eq!(stdout, format!("{want}<{value}><theirs>"));
            assert_eq!(exit, "exited 0\n");
        }
    }

    #[test]
    fn a_variable_may_have_a_name_that_shells_do_not_know() {
        for (stdout, _) in run(&["env"], &[("A.B", "it's odd"), ("PATH", "/usr/bin:/bin")]) {
            assert!(stdout.lines().any(|line| line == "A.B=it's odd"), "{stdout}");
        }
    }

    #[test]
    fn it_runs_once_and_again_only_when_it_was_requeued() {
        let folder = tempfile::tempdir().unwrap();
        let name = folder.path().to_str().unwrap();
        let command = ["sh", "-c", "echo ran >> ran; exit 3"].map(Into::into);
        let text = job(&Script { command: &command, env: &BTreeMap::new(), directory: name, word: &quote }, name);
        std::fs::write(folder.path().join("job.sh"), text).unwrap();
        let start = |restarts: &str| {
            let mut shell = Command::new("sh");
            shell.arg(folder.path().join("job.sh")).env("SLURM_JOB_ID", "7").stderr(std::process::Stdio::null());
            if !restarts.is_empty() {
                shell.env("SLURM_RESTART_COUNT", restarts);
            }
            shell.status().unwrap().code()
        };
        assert_eq!([start(""), start(""), start("0"), start("1"), start("1")], [3, 75, 75, 3, 75].map(Some));
        let read = |file: &str| std::fs::read_to_string(folder.path().join(file)).unwrap();
        assert_eq!((read("ran").as_str(), read("exit").as_str()), ("ran\nran\n", "exited 3\n"));
    }

    #[test]
    fn exits_and_signals_are_told_apart() {
        let cases = [
            ("exit 5", "exited 5"),
            ("exit 137", "exited 137"),
            ("kill -9 $$", "signaled 9"),
            ("kill -15 $$", "signaled 15"),
        ];
        for (command, want) in cases {
            for (_, exit) in run(&["sh", "-c", command], &[]) {
                assert_eq!(exit.trim(), want, "{command}");
            }
        }
        for (_, exit) in run(&["/nowhere/to/be/found"], &[]) {
            assert_eq!(exit.trim(), "exited 127");
        }
    }
}
