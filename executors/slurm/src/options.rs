use jobmgr_plugin_api::{Error, Result};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::Wrap;

/// What a jobspec may say in `[Options]`. Each is an option of `sbatch`, in its notation; what is left out is as the
/// cluster has it.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "PascalCase")]
pub struct Options {
    /// `--partition`: one, or several with commas.
    pub partition: Option<String>,
    /// `--account`: who pays.
    pub account: Option<String>,
    /// `--qos`: the quality of service.
    pub qos: Option<String>,
    /// `--reservation`.
    pub reservation: Option<String>,
    /// `--time`: how long it may run, such as `30` (minutes), `2:00:00` or `1-12:00:00`.
    pub time: Option<String>,
    /// `--cpus-per-task`.
    pub cpus: Option<u32>,
    /// `--ntasks`: how many tasks `srun` in the job may start.
    pub tasks: Option<u32>,
    /// `--mem`: memory per node, such as `500M` or `16G`.
    pub memory: Option<String>,
    /// `--gres`: such as `gpu:2`.
    pub gres: Option<String>,
    /// `--nodes`: such as `2` or `2-4`.
    pub nodes: Option<String>,
    /// `--constraint`: features of the nodes.
    pub constraint: Option<String>,
    /// `--exclusive`: no other job on its nodes.
    pub exclusive: bool,
    /// `--nice`: a lower priority; negative ones are for administrators.
    pub nice: Option<i32>,
    /// `--requeue`: Slurm itself starts the job again when its node fails or it is preempted. Without it the job ends
    /// then, and jobmgr does what its jobspec says about retries.
    pub requeue: bool,
    /// Runs the command under `jobmgr wrap`, so that its output and artifacts come home from nodes that share no folder
    /// with jobmgr.
    pub wrap: Option<Wrap>,
    /// More options of `sbatch`, each in one piece: `["--licenses=matlab:1", "--hold"]`.
    pub extra: Vec<String>,
}

/// What this executor says to `sbatch` itself. A shorter form that means one of these is no way around.
const OWN: [&str; 19] = [
    "--array",
    "--chdir",
    "--cluster-constraint",
    "--clusters",
    "--comment",
    "--error",
    "--export",
    "--export-file",
    "--get-user-env",
    "--help",
    "--input",
    "--job-name",
    "--no-requeue",
    "--open-mode",
    "--output",
    "--parsable",
    "--requeue",
    "--test-only",
    "--wait",
];
/// The same, but others begin like it.
const OWN_EXACT: [&str; 5] = ["--quiet", "--usage", "--version", "--wrap", "--verbose"];

impl Options {
    fn texts(&self) -> [(&'static str, &'static str, &Option<String>); 9] {
        [
            ("Partition", "partition", &self.partition),
            ("Account", "account", &self.account),
            ("Qos", "qos", &self.qos),
            ("Reservation", "reservation", &self.reservation),
            ("Time", "time", &self.time),
            ("Memory", "mem", &self.memory),
            ("Gres", "gres", &self.gres),
            ("Nodes", "nodes", &self.nodes),
            ("Constraint", "constraint", &self.constraint),
        ]
    }

    /// Refuses what can't be right on any cluster.
    pub(crate) fn check(&self) -> Result<()> {
        for (key, _, value) in self.texts() {
            let Some(value) = value else { continue };
            if value.trim().is_empty() || value.chars().any(char::is_control) {
                return Err(Error::invalid(format!("{key}: must be one line of text, and is {value:?}")));
            }
        }
        for (key, value) in [("Cpus", self.cpus), ("Tasks", self.tasks)] {
            if value == Some(0) {
                return Err(Error::invalid(format!("{key}: must be at least 1, and is 0")));
            }
        }
        self.wrap.iter().try_for_each(Wrap::check)?;
        self.extra.iter().try_for_each(|extra| check_extra(extra))
    }

    /// As `sbatch` takes them.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let texts = self.texts().into_iter().filter_map(|(_, name, value)| Some((name, value.clone()?)));
        let mut arguments: Vec<_> = texts.map(|(name, value)| format!("--{name}={value}")).collect();
        let numbers = [("cpus-per-task", self.cpus), ("ntasks", self.tasks)];
        arguments.extend(numbers.into_iter().filter_map(|(name, value)| Some(format!("--{name}={}", value?))));
        arguments.extend(self.nice.map(|nice| format!("--nice={nice}")));
        arguments.extend(self.exclusive.then(|| "--exclusive".to_owned()));
        arguments.push(if self.requeue { "--requeue" } else { "--no-requeue" }.to_owned());
        arguments.extend(self.extra.iter().cloned());
        arguments
    }
}

fn check_extra(extra: &str) -> Result<()> {
    let name = extra.split('=').next().unwrap_or_default();
    if !name.starts_with("--") || name.len() < 4 || extra.contains(['\0', '\n']) {
        return Err(Error::invalid(format!(
            "Extra: must be options such as \"--licenses=matlab:1\", and one is {extra:?}"
        )));
    }
    if OWN.iter().any(|own| own.starts_with(name)) || OWN_EXACT.contains(&name) {
        return Err(Error::invalid(format!("Extra: {name} is said by jobmgr itself")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Options;

    fn with(extra: &str) -> Options {
        Options { extra: vec![extra.into()], ..Options::default() }
    }

    #[test]
    fn what_jobmgr_says_itself_is_refused_in_short_forms_too() {
        for extra in ["--job-name=x", "--job", "--outp=/etc/x", "--arr=1-9", "--wrap=id", "--wait", "--comm=x"] {
            let error = with(extra).check().unwrap_err().to_string();
            assert!(error.ends_with("is said by jobmgr itself"), "{extra}: {error}");
        }
        for extra in ["-n5", "licenses", "--", "--x\n"] {
            assert!(with(extra).check().unwrap_err().to_string().starts_with("Extra: must be options"), "{extra}");
        }
        for extra in ["--licenses=a:1", "--wait-all-nodes=1", "--hold", "--mail-type=END", "--exclude=n1"] {
            with(extra).check().unwrap();
        }
    }

    #[test]
    fn options_are_sbatchs() {
        let options = Options {
            partition: Some("a,b".into()),
            memory: Some("1G".into()),
            cpus: Some(2),
            nice: Some(-5),
            exclusive: true,
            ..with("--hold")
        };
        let arguments = options.arguments().join(" ");
        assert_eq!(arguments, "--partition=a,b --mem=1G --cpus-per-task=2 --nice=-5 --exclusive --no-requeue --hold");
        let empty = Options { qos: Some(" ".into()), ..Options::default() };
        assert_eq!(empty.check().unwrap_err().to_string(), "Qos: must be one line of text, and is \" \"");
        let none = Options { cpus: Some(0), ..Options::default() };
        assert_eq!(none.check().unwrap_err().to_string(), "Cpus: must be at least 1, and is 0");
    }
}
