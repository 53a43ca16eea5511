//! What a jobspec may say in `[Options]`. Known on every platform, so that a jobspec can move.

use jobmgr_plugin_api::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Size;

/// The smallest memory that a process can begin in.
const LEAST_MEMORY: u64 = 1 << 20;
/// The least that a scheduler gives: a hundredth of a processor.
const LEAST_CPUS: f64 = 0.01;
/// More processors than a machine has.
const MOST_CPUS: f64 = 65_536.0;
/// A program needs some files before it can do anything.
const LEAST_FILES: u64 = 16;

/// What a jobspec may say in `[Options]`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "PascalCase")]
pub struct Options {
    /// Windows: the command may be a `.bat` or `.cmd` file. `cmd.exe` reads their arguments by rules of its own
    /// (CVE-2024-24576), so say yes only if none of them comes from a stranger.
    pub allow_batch: bool,
    /// Linux: who the job runs as, with all groups of that user: `name`, `name:group`, or numbers. jobmgr must be root
    /// for that.
    pub user: Option<String>,
    /// What the job may use.
    pub limits: Limits,
    /// Linux: what of the file system the job may see and change.
    pub sandbox: Sandbox,
}

/// What a job may use, all of its processes together.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "PascalCase")]
pub struct Limits {
    /// Memory without swap: bytes, or a size such as "2GiB". A job that needs more is killed.
    pub memory: Option<Size>,
    /// Processors' time: 1.5 is all of one and half of another one.
    #[schemars(range(min = 0.01))]
    pub cpus: Option<f64>,
    /// Processes and threads.
    #[schemars(range(min = 1))]
    pub pids: Option<u64>,
    /// Files that each process may have open.
    #[schemars(range(min = 16))]
    pub files: Option<u64>,
}

/// What of the file system a job may see and change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Sandbox {
    /// All that its user may.
    #[default]
    None,
    /// It may read everything, and write only in its own directory (and to /dev/null and the like).
    Readonly,
    /// As `readonly`, and it may read only the system's folders, its own directory, its command and its working
    /// directory.
    Private,
}

impl Options {
    /// Whether the job is a process like any other.
    pub fn is_plain(&self) -> bool {
        self.user.is_none() && self.limits == Limits::default() && self.sandbox == Sandbox::None
    }

    /// Checks what the schema can't say.
    ///
    /// # Errors
    /// [`Kind::Invalid`](jobmgr_plugin_api::Kind::Invalid), naming the option.
    pub fn check(&self) -> Result<()> {
        if let Some(user) = &self.user {
            let mut parts = user.split(':');
            let wrong = parts.clone().count() > 2 || parts.any(|part| part.is_empty() || part.contains(['\0', '/']));
            if wrong {
                let why = format!("'User': '{user}' is not NAME, NAME:GROUP or their numbers");
                return Err(Error::invalid(why));
            }
        }
        self.limits.check()
    }
}

impl Limits {
    fn check(&self) -> Result<()> {
        let wrong = |name: &str, least: String, found: String| {
            Err(Error::invalid(format!(
                "'Limits.{name}' must be at least {least}, and is {found}; leave it out for no limit"
            )))
        };
        if let Some(memory) = self.memory.filter(|memory| memory.0 < LEAST_MEMORY) {
            return wrong("Memory", Size(LEAST_MEMORY).to_string(), memory.to_string());
        }
        if let Some(cpus) = self.cpus.filter(|cpus| !(LEAST_CPUS..=MOST_CPUS).contains(cpus)) {
            return Err(Error::invalid(format!(
                "'Limits.Cpus' must be {LEAST_CPUS} to {MOST_CPUS}, and is {cpus}; leave it out for no limit"
            )));
        }
        if let Some(pids) = self.pids.filter(|pids| *pids == 0) {
            return wrong("Pids", "1".into(), pids.to_string());
        }
        if let Some(files) = self.files.filter(|files| *files < LEAST_FILES) {
            return wrong("Files", LEAST_FILES.to_string(), files.to_string());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jobmgr_plugin_api::serde_json::{self, json};

    fn check(options: serde_json::Value) -> Result<(), String> {
        let options: Options = serde_json::from_value(options).map_err(|error| error.to_string())?;
        options.check().map_err(|error| error.to_string())
    }

    #[test]
    fn what_can_not_be_meant_is_refused_with_its_name() {
        for (options, said) in [
            (json!({"User": ""}), "'User': '' is not NAME, NAME:GROUP or their numbers"),
            (json!({"User": "a:b:c"}), "'User': 'a:b:c' is not"),
            (json!({"User": "a:"}), "'User': 'a:' is not"),
            (json!({"Limits": {"Memory": "100KiB"}}), "'Limits.Memory' must be at least 1MiB, and is 100KiB"),
            (json!({"Limits": {"Memory": "2 GiBi"}}), "'2 GiBi' is not a size; use a number of bytes, or a size such"),
            (json!({"Limits": {"Memory": -1}}), "must not be negative, and is -1"),
            (json!({"Limits": {"Cpus": 0.0}}), "'Limits.Cpus' must be 0.01 to 65536, and is 0"),
            (json!({"Limits": {"Cpus": 1e300}}), "'Limits.Cpus' must be 0.01 to 65536"),
            (json!({"Limits": {"Pids": 0}}), "'Limits.Pids' must be at least 1, and is 0"),
            (json!({"Limits": {"Files": 3}}), "'Limits.Files' must be at least 16, and is 3"),
            (json!({"Limits": {"Disk": 3}}), "unknown field `Disk`"),
            (json!({"Sandbox": "all"}), "unknown variant `all`, expected one of `none`, `readonly`, `private`"),
        ] {
            let found = check(options.clone()).unwrap_err();
            assert!(found.starts_with(said), "{options}: {found}");
        }
    }

    #[test]
    fn only_a_job_without_any_of_them_is_plain() {
        let options = |json| serde_json::from_value::<Options>(json).unwrap();
        assert!(options(json!({})).is_plain());
        assert!(options(json!({"AllowBatch": true, "Limits": {}, "Sandbox": "none"})).is_plain());
        for json in [json!({"User": "x"}), json!({"Limits": {"Files": 64}}), json!({"Sandbox": "readonly"})] {
            assert!(!options(json.clone()).is_plain(), "{json}");
            assert!(check(json).is_ok());
        }
    }
}
