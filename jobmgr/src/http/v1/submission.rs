//! What a client submits: read, checked as a whole, and made a job of.

use serde_json::{Map, Value};

use super::super::Api;
use super::super::abouts::Known;
use super::json::Object;
use super::problem::{Code, FieldError, Problem};
use super::time;
use super::webhooks::OwnDraft;
use crate::domain::job::Parameters;
use crate::domain::jobspec::About;
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
    pub async fn job(self, api: &Api) -> Result<NewJob, Problem> {
        let Self { name, values, priority, labels, run_after_ms, max_retries, webhook, mut errors, prefix } = self;
        let Some(name) = name else { return Err(Problem::invalid(errors)) };
        let about = known(api, &name).await?;
        let parameters = match parameters::check(&about, &values, Texts::Serve) {
            Ok(parameters) => parameters,
            Err(wrong) => {
                errors.extend(named(wrong, &format!("{prefix}parameters")));
                Parameters::new()
            }
        };
        let webhook = webhook.map(|own| own.own(api, &prefix, &mut errors)).transpose()?.flatten();
        if !errors.is_empty() {
            return Err(Problem::invalid(errors));
        }
        let priority = priority.unwrap_or(about.priority);
        let queue_timeout = about.queue_timeout();
        let new = NewJob {
            name,
            parameters,
            priority,
            labels,
            run_after_ms,
            max_retries,
            queue_timeout,
            webhook,
            ..NewJob::default()
        };
        Ok(new)
    }
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
