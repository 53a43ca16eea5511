//! The file, then the environment over it, then the checks.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::{Config, check};
use crate::domain::settings::{Document, Mistake, Place};

/// The name of the file.
pub const FILE: &str = "config.toml";

/// What our variables begin with.
const PREFIX: &str = "JOBMGR_";

/// What a job's parameters begin with, which a job may hand down to a jobmgr that it starts.
const PARAMETER: &str = "JOBMGR_PARAMETER_";

/// How large the file may be, in bytes.
const MAX_SIZE: u64 = 1 << 20;

/// What is wrong with the configuration: one line that names the key, where it came from and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

impl From<Mistake> for ConfigError {
    fn from(mistake: Mistake) -> Self {
        ConfigError(match mistake.place {
            Place::Outside(_) => mistake.to_string(),
            Place::Line { .. } => format!("{FILE}, {mistake}"),
            Place::Whole => format!("{FILE}: {mistake}"),
        })
    }
}

impl Config {
    /// The configuration of the working directory `dir`: its `config.toml`, if there is one, and what the
    /// variables of `env` set over it.
    ///
    /// # Errors
    /// The first key that is wrong.
    pub fn load(dir: &Path, env: impl Iterator<Item = (String, String)>) -> Result<Config, ConfigError> {
        let text = read(&dir.join(FILE))?;
        let variables = ours(env);
        let mut document = Document::read::<Config>(&text)?;
        for (name, value) in &variables {
            set(&mut document, name, value)?;
        }
        let mut config: Config = document.value()?;
        check::config(&config, &document)?;
        // What its library says about it is known later.
        for (name, executor) in &mut config.executors {
            executor.places = document.places(&format!("Executors.{name}"));
        }
        Ok(config)
    }
}

/// The file's text; empty where there is none.
fn read(path: &Path) -> Result<String, ConfigError> {
    let wrong = |text: String| ConfigError(format!("{FILE}: {text}"));
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        Err(error) => return Err(wrong(format!("can't be read: {error}"))),
    };
    let mut bytes = Vec::new();
    file.take(MAX_SIZE + 1).read_to_end(&mut bytes).map_err(|error| wrong(format!("can't be read: {error}")))?;
    if bytes.len() as u64 > MAX_SIZE {
        return Err(wrong(format!("is larger than {MAX_SIZE} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| wrong("is not UTF-8 text".to_owned()))
}

/// The variables that are for us, in the order of their names: others of the same prefix have no section.
fn ours(env: impl Iterator<Item = (String, String)>) -> Vec<(String, String)> {
    let begins =
        |name: &str, start: &str| name.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start));
    let is_ours = |name: &str| begins(name, PREFIX) && !begins(name, PARAMETER) && name[PREFIX.len()..].contains("__");
    let mut variables: Vec<_> = env.filter(|(name, _)| is_ours(name)).collect();
    variables.sort();
    variables
}

fn set<'t>(document: &mut Document<'t>, name: &str, value: &'t str) -> Result<(), Mistake> {
    let path: Vec<&str> = name[PREFIX.len()..].split("__").collect();
    let wrong = |text| Mistake { place: Place::Outside(name.to_owned()), text };
    let (path, kind) = document.resolve(&path).map_err(wrong)?;
    document.set(&path, kind, value, name)
}
