//! What a jobspec's types can't say.

use std::time::Duration;

use serde_json::{Map, Value};

use super::{ExecutorCheck, Jobspec, Parameter, ParameterType, Retry, file, names, retry};
use crate::domain::duration::GoDuration;
use crate::domain::gpu::GIVEN;
use crate::domain::job::Reason;
use crate::domain::settings::{self, Document, Mistake};
use crate::domain::{labels, parameters};

/// TOML's date-times come through serde as a table with this key.
const DATETIME: &str = "$__toml_private_datetime";

/// The longest first pause before a job is run again.
const LONGEST_BACKOFF: Duration = Duration::from_secs(86_400);

/// Checks a jobspec as it was read; `document` knows where its values stand.
pub(super) fn jobspec(file: file::Jobspec, document: &Document<'_>) -> Result<Jobspec, Mistake> {
    let wrong = |path: &str, text: String| document.mistake(path, text);
    command(&file).map_err(|text| wrong("Command", text))?;
    for (index, argument) in file.arguments.iter().enumerate() {
        no_nul(argument).map_err(|text| wrong(&format!("Arguments.{index}"), format!("'Arguments' {text}")))?;
    }
    if let Some(directory) = &file.working_directory {
        let text = if directory.is_empty() { Err("is empty; leave it out".into()) } else { no_nul(directory) };
        text.map_err(|text: String| wrong("WorkingDirectory", format!("'WorkingDirectory' {text}")))?;
    }
    for (index, name) in file.preserve_env_vars.iter().enumerate() {
        names::variable(name)
            .map_err(|text| wrong(&format!("PreserveEnvVars.{index}"), format!("'PreserveEnvVars': {text}")))?;
    }
    for (name, value) in &file.env {
        names::fixed(name).and_then(|()| no_nul(value)).map_err(|text| wrong(&format!("Env.{name}"), text))?;
    }
    if !names::is_executor(&file.executor) {
        let text = format!("executor '{}' is not valid; use up to 63 of a-z 0-9 _ -, such as process", file.executor);
        return Err(wrong("Executor", text));
    }
    if !(0..=100).contains(&file.priority) {
        return Err(wrong("Priority", format!("'Priority' must be 0 to 100, and is {}", file.priority)));
    }
    labels::check(&file.requires)
        .map_err(|(index, text)| wrong(&format!("Requires.{index}"), format!("'Requires': {text}")))?;
    let gpus = gpus(file.gpus).map_err(|text| wrong("Gpus", text))?;
    let is_given = |name: &&String| gpus > 0 && GIVEN.iter().any(|given| given.eq_ignore_ascii_case(name));
    if let Some(name) = file.env.keys().find(is_given) {
        let text =
            format!("'{name}' is set to the GPUs that the job is given, since there is 'Gpus'; remove one of them");
        return Err(wrong(&format!("Env.{name}"), text));
    }
    Ok(Jobspec {
        description: file.description,
        command: file.command,
        arguments: file.arguments,
        working_directory: file.working_directory,
        preserve_env_vars: file.preserve_env_vars,
        env: file.env,
        timeout: if file.timeout.is_zero() { file::default_timeout() } else { file.timeout },
        kill_grace: file.kill_grace,
        executor: file.executor,
        options: options(file.options, "Options", document)?,
        priority: file.priority,
        parameters: all_parameters(file.parameters, document)?,
        hash: String::new(),
        requires: file.requires,
        gpus,
        max_running: max_running(file.max_running).map_err(|text| wrong("MaxRunning", text))?,
        queue_timeout: queue_timeout(file.queue_timeout).map_err(|text| wrong("QueueTimeout", text))?,
        retry: file.retry.map(|retry| again(retry, document)).transpose()?,
        rerun_after_crash: file.rerun_after_crash,
        keep: file.keep,
        keep_failed: file.keep_failed,
        keep_artifacts: file.keep_artifacts,
    })
}

fn gpus(count: Option<i64>) -> Result<usize, String> {
    let refused = |count| format!("'Gpus' must be 1 to 64, and is {count}; leave it out for a job that needs none");
    let serves = |count: i64| usize::try_from(count).ok().filter(|count| (1..=64).contains(count));
    count.map_or(Ok(0), |count| serves(count).ok_or_else(|| refused(count)))
}

fn max_running(most: Option<i64>) -> Result<Option<u64>, String> {
    let refused = |most| format!("'MaxRunning' must be 1 to 1000000, and is {most}; leave it out for no limit");
    let serves = |most: i64| u64::try_from(most).ok().filter(|most| (1..=1_000_000).contains(most));
    most.map(|most| serves(most).ok_or_else(|| refused(most))).transpose()
}

fn queue_timeout(given: Option<GoDuration>) -> Result<Option<Duration>, String> {
    let refused = |given| format!("'QueueTimeout' must be more than 0s, and is {given}; leave it out to wait for ever");
    let serves = |given: GoDuration| given.to_std().filter(|given| !given.is_zero());
    given.map(|given| serves(given).ok_or_else(|| refused(given))).transpose()
}

/// When the job is run again.
fn again(file: file::Retry, document: &Document<'_>) -> Result<Retry, Mistake> {
    let wrong = |path: &str, text: String| document.mistake(path, text);
    let max = u32::try_from(file.max).ok().filter(|max| (1..=100).contains(max));
    let max = max.ok_or_else(|| {
        let text = format!("'Max' must be 1 to 100, and is {}; leave out Retry to run nothing again", file.max);
        wrong("Retry.Max", text)
    })?;
    if file.backoff > LONGEST_BACKOFF {
        let [most, given] = [LONGEST_BACKOFF, file.backoff].map(GoDuration::from);
        return Err(wrong("Retry.Backoff", format!("'Backoff' must be 0s to {most}, and is {given}")));
    }
    if file.on.is_empty() {
        let text = "'On' is empty; leave it out, or name the reasons after which the job is run again";
        return Err(wrong("Retry.On", text.to_owned()));
    }
    let mut on = Vec::new();
    for (index, word) in file.on.iter().enumerate() {
        let path = format!("Retry.On.{index}");
        let reason = reason(word).map_err(|text| wrong(&path, text))?;
        if on.contains(&reason) {
            return Err(wrong(&path, format!("'On': '{word}' is there twice; remove one of them")));
        }
        on.push(reason);
    }
    Ok(Retry { max, backoff: file.backoff, on })
}

fn reason(word: &str) -> Result<Reason, String> {
    let known = retry::REASONS.into_iter().find(|reason| reason.as_str() == word);
    known.ok_or_else(|| {
        let words = retry::REASONS.map(Reason::as_str).join(", ");
        format!("'On': '{}' is not a reason that a job can cause; use {words}", word.escape_debug())
    })
}

/// Whether the executor exists and takes its options.
pub(super) fn executor(jobspec: &Jobspec, check: &ExecutorCheck, document: &Document<'_>) -> Result<(), Mistake> {
    let options = Value::Object(jobspec.options.clone());
    check(&jobspec.executor, &options).map_err(|(path, text)| {
        let key = path.split('.').next().unwrap_or(&path);
        document.mistake(&path, format!("'{key}': {}", settings::in_our_words(&text)))
    })
}

fn command(file: &file::Jobspec) -> Result<(), String> {
    if file.command.is_empty() {
        return Err("'Command' is empty; it names the executable to run".to_owned());
    }
    no_nul(&file.command).map_err(|text| format!("'Command' {text}"))
}

fn no_nul(text: &str) -> Result<(), String> {
    if text.contains('\0') { Err("must not contain a NUL byte".to_owned()) } else { Ok(()) }
}

/// Options are JSON for the executor: date-times become texts, and numbers must be finite.
fn options(mut table: Map<String, Value>, path: &str, document: &Document<'_>) -> Result<Map<String, Value>, Mistake> {
    for (key, value) in &mut table {
        option(value, &format!("{path}.{key}"), document)?;
    }
    Ok(table)
}

fn option(value: &mut Value, path: &str, document: &Document<'_>) -> Result<(), Mistake> {
    match value {
        // TOML has no null; serde makes one of `nan` and `inf`.
        Value::Null => Err(document.mistake(path, "an option must be a finite number; it is inf or nan")),
        Value::Object(table) => {
            if let Some(datetime) = table.get_mut(DATETIME).map(Value::take) {
                *value = datetime;
                return Ok(());
            }
            table.iter_mut().try_for_each(|(key, value)| option(value, &format!("{path}.{key}"), document))
        }
        Value::Array(items) => {
            let mut items = items.iter_mut().enumerate();
            items.try_for_each(|(index, value)| option(value, &format!("{path}.{index}"), document))
        }
        _ => Ok(()),
    }
}

fn all_parameters(files: Vec<file::Parameter>, document: &Document<'_>) -> Result<Vec<Parameter>, Mistake> {
    let variables = {
        let given: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
        names::of_parameters(&given)
            .map_err(|(index, text)| document.mistake(&format!("Parameter.{index}.Name"), text))?
    };
    let each = files.into_iter().zip(variables).enumerate();
    each.map(|(index, (file, variables))| {
        parameter(file, variables).map_err(|(key, text)| document.mistake(&format!("Parameter.{index}.{key}"), text))
    })
    .collect()
}

/// One parameter; the error names the key that it is about.
fn parameter(file: file::Parameter, variables: Vec<String>) -> Result<Parameter, (&'static str, String)> {
    let name = file.name;
    let kind = kind(&name, &file.r#type, file.values.into_iter().map(|value| value.0).collect())?;
    if kind == ParameterType::File && file.default.is_some() {
        return Err(("Default", format!("parameter '{name}' is a file, which has no Default; use Optional = true")));
    }
    if file.secret && kind == ParameterType::File {
        return Err(("Secret", format!("parameter '{name}' is a file; Secret is for values, files are not encrypted")));
    }
    if file.secret && file.default.is_some() {
        return Err(("Default", format!("parameter '{name}' is secret; a Default would stand here for all to read")));
    }
    let default = match &file.default {
        None => None,
        Some(value) => Some(parameters::normalize(&kind, &value.0).map_err(|right| {
            ("Default", format!("the default '{}' of parameter '{name}' is not valid: {right}", value.0.escape_debug()))
        })?),
    };
    let (description, optional, secret) = (file.description, file.optional, file.secret);
    Ok(Parameter { name, kind, description, default, optional, secret, variables })
}

fn kind(name: &str, word: &str, values: Vec<String>) -> Result<ParameterType, (&'static str, String)> {
    let kind = match word {
        "string" => ParameterType::String,
        "int" => ParameterType::Int,
        "float" => ParameterType::Float,
        "bool" => ParameterType::Bool,
        "file" => ParameterType::File,
        "enum" => return Ok(ParameterType::Enum(choices(name, values).map_err(|text| ("Values", text))?)),
        _ => {
            let text =
                format!("type '{word}' of parameter '{name}' is not valid; use string, int, float, bool, enum or file");
            return Err(("Type", text));
        }
    };
    match values.is_empty() {
        true => Ok(kind),
        false => Err(("Values", format!("parameter '{name}' has Values; they are for the type enum, not for {word}"))),
    }
}

fn choices(name: &str, values: Vec<String>) -> Result<Vec<String>, String> {
    if values.is_empty() {
        return Err(format!("parameter '{name}' is an enum and needs Values, such as [\"plain\", \"loud\"]"));
    }
    for (index, value) in values.iter().enumerate() {
        no_nul(value).map_err(|text| format!("the values of parameter '{name}' {text}"))?;
        if values[..index].contains(value) {
            return Err(format!("parameter '{name}' has the value '{value}' twice"));
        }
    }
    Ok(values)
}
