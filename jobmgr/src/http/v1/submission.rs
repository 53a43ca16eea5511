//! What a client submits: read, checked as a whole, and made a job of.

use serde_json::{Map, Value};

use super::super::Api;
use super::super::abouts::Known;
use super::super::caller::Caller;
use super::json::Object;
use super::problem::{Code, FieldError, Problem};
use super::time;
use super::webhooks::OwnDraft;
use crate::domain::input::InputId;
use crate::domain::job::Parameters;
use crate::domain::jobspec::{About, ParameterType};
use crate::domain::parameters::{self, Texts};
use crate::domain::submission::{Labels, MAX_LABELS, NewJob, check_label};

/// A submission whose jobspec is not looked at yet.
pub struct Draft {
    name: Option<String>,
    values: Map<String, Value>,
    priority: Option<i64>,
    labels: Labels,
    run_after_ms: Option<i64>,
    max_retries: Option<i64>,
    webhook: Option<OwnDraft>,
    errors: Vec<FieldError>,
    /// What comes before the names of its fields.
    prefix: String,
}

impl Draft {
    /// Reads one; what is wrong with it is told by [`Draft::job`]. `prefix`: where in the body it is.
    pub fn read(mut object: Object, prefix: &str) -> Self {
        let name = object.text("name");
        if name.is_none() {
            object.wrong::<()>("name", "is required: the name of a jobspec");
        }
        let values = object.map("parameters").unwrap_or_default();
        let priority = object.integer("priority", 0..=100);
        let labels = labels(&mut object).unwrap_or_default();
        let run_after_ms = run_after(&mut object);
        let max_retries = object.integer("maxRetries", 0..=100);
        let webhook = OwnDraft::read(&mut object);
        let errors = object.errors();
        let prefix = prefix.to_owned();
        Self { name, values, priority, labels, run_after_ms, max_retries, webhook, errors, prefix }
    }

    /// The job that comes of it.
    ///
    /// # Errors
    /// All that is wrong with it, or that there is no such jobspec.
    pub async fn job(self, api: &Api, caller: &Caller) -> Result<NewJob, Problem> {
        self.job_with(api, caller, &[]).await
    }

    /// The same, with files for these parameters that are being uploaded with it; the job has none of them yet.
    ///
    /// # Errors
    /// As [`Draft::job`].
    pub async fn job_with(self, api: &Api, caller: &Caller, files: &[String]) -> Result<NewJob, Problem> {
        let Self { name, mut values, priority, labels, run_after_ms, max_retries, webhook, mut errors, prefix } = self;
        let Some(name) = name else { return Err(Problem::invalid(errors)) };
        let about = known(api, &name).await?;
        let place = format!("{prefix}parameters");
        errors.extend(named(uploaded(&about, &mut values, files), &place));
        let Checked { parameters, inputs, wrong } = check(api, caller, &about, &values, Texts::Serve, files).await?;
        errors.extend(named(wrong, &place));
        let webhook = webhook.map(|own| own.own(api, &prefix, &mut errors)).transpose()?.flatten();
        if !errors.is_empty() {
            return Err(Problem::invalid(errors));
        }
        let priority = priority.unwrap_or(about.priority);
        let (queue_timeout, user_id) = (about.queue_timeout(), caller.user_id);
        Ok(NewJob {
            name,
            parameters,
            priority,
            labels,
            run_after_ms,
            max_retries,
            queue_timeout,
            webhook,
            user_id,
            inputs,
            ..NewJob::default()
        })
    }
}

/// Values as they are stored.
pub struct Checked {
    /// Those that are secret are sealed.
    pub parameters: Parameters,
    /// The uploaded files among them.
    pub inputs: Vec<InputId>,
    /// All that is wrong; then the rest is of no use.
    pub wrong: Vec<parameters::Wrong>,
}

/// Looks at the values of a submission: their types, that uploaded files are there and the caller's, and seals what is
/// secret. The files of `coming` have no numbers yet.
///
/// # Errors
/// When the database fails, or there is no key for secrets.
pub async fn check(
    api: &Api,
    caller: &Caller,
    about: &About,
    values: &Map<String, Value>,
    texts: Texts,
    coming: &[String],
) -> Result<Checked, Problem> {
    let (mut parameters, mut wrong) = match parameters::check(about, values, texts) {
        Ok(parameters) => (parameters, Vec::new()),
        Err(wrong) => (Parameters::new(), wrong),
    };
    let mut files = parameters::files(about, values);
    files.retain(|(name, _)| !coming.contains(name));
    let most = api.config.max_inputs;
    if files.len() + coming.len() > most {
        wrong.push((String::new(), format!("a job may be given {most} files at most")));
    }
    let inputs: Vec<InputId> = files.iter().map(|(_, id)| *id).collect();
    if !files.is_empty() {
        let there = api.store.inputs(inputs.clone()).await.map_err(|error| Problem::failed(&error))?;
        let seen = |id: InputId| there.iter().any(|input| input.id == id && caller.sees(input.user_id));
        let hidden = files.into_iter().filter(|(_, id)| !seen(*id));
        wrong.extend(hidden.map(|(name, id)| (name, format!("there is no input {id}; POST /v1/inputs uploads one"))));
    }
    if wrong.is_empty() {
        seal(api, about, &mut parameters)?;
    }
    Ok(Checked { parameters, inputs, wrong })
}

/// Seals what is secret.
fn seal(api: &Api, about: &About, parameters: &mut Parameters) -> Result<(), Problem> {
    api.secrets.seal_parameters(about, parameters).map_err(|error| {
        tracing::error!(%error, "a secret parameter can't be encrypted");
        Problem::unavailable()
    })
}

/// Has files stand among the values that are uploaded with them; what is wrong with that.
pub fn uploaded(about: &About, values: &mut Map<String, Value>, files: &[String]) -> Vec<parameters::Wrong> {
    let declared = about.declared();
    let mut wrong = Vec::new();
    for file in files {
        let kind = declared.iter().find(|declared| declared.name == *file).map(|declared| &declared.kind);
        if kind.is_some_and(|kind| *kind != ParameterType::File) {
            wrong.push((file.clone(), "is not of the type file; give its value in 'job'".to_owned()));
        } else if values.insert(file.clone(), i64::MAX.into()).is_some() {
            wrong.push((file.clone(), "is given in 'job' too; give it once".to_owned()));
        }
    }
    wrong
}

/// What is known of a jobspec of this name.
///
/// # Errors
/// There is none, or it can't be read.
pub async fn known(api: &Api, name: &str) -> Result<About, Problem> {
    match api.abouts.find(name).await {
        Known::Jobspec(about) => Ok(*about),
        Known::Broken(why) => Err(Problem::new(Code::InvalidJobspec, why)),
        Known::Nobody => Err(Problem::no_jobspec(name)),
    }
}

/// What is wrong with parameters, where in the body they are.
pub fn named(wrong: Vec<parameters::Wrong>, place: &str) -> impl Iterator<Item = FieldError> {
    wrong.into_iter().map(move |(name, message)| {
        let field = match (place, name.as_str()) {
            (place, "") => place.to_owned(),
            ("", name) => name.to_owned(),
            (place, name) => format!("{place}.{name}"),
        };
        FieldError { field, message }
    })
}

/// The labels in `labels`, where there is such a field.
pub fn labels(object: &mut Object) -> Option<Labels> {
    let mut labels = Labels::new();
    let given = object.map("labels")?;
    if given.len() > MAX_LABELS {
        object.wrong::<()>("labels", format!("may be {MAX_LABELS} at most, and are {}", given.len()));
    }
    for (name, value) in given {
        let Value::String(value) = value else {
            object.wrong::<()>(&format!("labels.{name}"), "must be a text");
            continue;
        };
        match check_label(&name, &value) {
            Ok(()) => drop(labels.insert(name, value)),
            Err(right) => object.wrong::<()>(&format!("labels.{name}"), right).unwrap_or_default(),
        }
    }
    Some(labels)
}

fn run_after(object: &mut Object) -> Option<i64> {
    let text = object.text("runAfter")?;
    let time = time::from_rfc3339(&text);
    if time.is_none() { object.wrong("runAfter", time::RIGHT) } else { time }
}
