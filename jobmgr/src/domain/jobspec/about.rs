//! What a process that does not have a jobspec needs to know of it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Jobspec, Parameter, ParameterType};
use crate::domain::job::DEFAULT_PRIORITY;

/// The key of a schema that says that a number is that of an uploaded file.
const TYPE: &str = "x-jobmgr-type";

/// A jobspec as workers publish it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct About {
    /// One line for people.
    pub description: Option<String>,
    /// The priority of jobs that name none.
    pub priority: i64,
    /// How long a job may wait for its first start, in milliseconds.
    pub queue_timeout_ms: Option<u64>,
    /// How long a job may run, in milliseconds.
    pub timeout_ms: u64,
    /// Which executor runs it.
    pub executor: String,
    /// How long its ended jobs are kept, in milliseconds; `None`: as `[Retention]` says, like the two below.
    pub keep_ms: Option<u64>,
    /// The same for failed jobs.
    pub keep_failed_ms: Option<u64>,
    /// The same for artifacts.
    pub keep_artifacts_ms: Option<u64>,
    /// The labels that a worker needs.
    pub requires: Vec<String>,
    /// How many of the worker's GPUs it has for itself.
    pub gpus: usize,
    /// The JSON Schema of its parameters.
    pub parameters: Value,
}

impl Default for About {
    fn default() -> Self {
        Self {
            description: None,
            priority: DEFAULT_PRIORITY,
            queue_timeout_ms: None,
            timeout_ms: 0,
            executor: String::new(),
            keep_ms: None,
            keep_failed_ms: None,
            keep_artifacts_ms: None,
            requires: Vec::new(),
            gpus: 0,
            parameters: json!({ "type": "object" }),
        }
    }
}

impl About {
    /// What others need to know of this jobspec.
    pub fn of(jobspec: &Jobspec) -> Self {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self {
            description: jobspec.description.clone(),
            priority: jobspec.priority,
            queue_timeout_ms: jobspec.queue_timeout.map(millis),
            timeout_ms: millis(jobspec.timeout),
            executor: jobspec.executor.clone(),
            keep_ms: jobspec.keep.map(millis),
            keep_failed_ms: jobspec.keep_failed.map(millis),
            keep_artifacts_ms: jobspec.keep_artifacts.map(millis),
            requires: jobspec.requires.clone(),
            gpus: jobspec.gpus,
            parameters: schema(&jobspec.parameters),
        }
    }

    /// The parameters; those of types that are not known here are left out.
    pub fn declared(&self) -> Vec<Declared> {
        let required = |name: &str| {
            self.parameters["required"].as_array().is_some_and(|names| names.iter().any(|one| one == name))
        };
        let properties = self.parameters["properties"].as_object();
        let declared = properties.into_iter().flatten().filter_map(|(name, schema)| {
            Some(Declared {
                name: name.clone(),
                kind: kind(schema)?,
                required: required(name),
                secret: schema["writeOnly"] == true,
            })
        });
        declared.collect()
    }

    /// How long a job may wait for its first start.
    pub fn queue_timeout(&self) -> Option<Duration> {
        self.queue_timeout_ms.map(Duration::from_millis)
    }
}

/// A parameter as others know it.
#[derive(Debug, Clone, PartialEq)]
pub struct Declared {
    /// Its name.
    pub name: String,
    /// What its values are.
    pub kind: ParameterType,
    /// Whether a value must be given.
    pub required: bool,
    /// Whether its value is shown to nobody.
    pub secret: bool,
}

fn kind(schema: &Value) -> Option<ParameterType> {
    let words = |values: &Vec<Value>| values.iter().filter_map(|value| Some(value.as_str()?.to_owned())).collect();
    match (schema["type"].as_str()?, schema["enum"].as_array()) {
        ("string", Some(values)) => Some(ParameterType::Enum(words(values))),
        ("string", None) => Some(ParameterType::String),
        ("integer", _) if schema[TYPE] == "file" => Some(ParameterType::File),
        ("integer", _) => Some(ParameterType::Int),
        ("number", _) => Some(ParameterType::Float),
        ("boolean", _) => Some(ParameterType::Bool),
        _ => None,
    }
}

fn schema(parameters: &[Parameter]) -> Value {
    let properties: Map<String, Value> =
        parameters.iter().map(|parameter| (parameter.name.clone(), property(parameter))).collect();
    let needed = |parameter: &&Parameter| !parameter.optional && parameter.default.is_none();
    let required: Vec<&str> = parameters.iter().filter(needed).map(|parameter| parameter.name.as_str()).collect();
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

fn property(parameter: &Parameter) -> Value {
    let mut property = match &parameter.kind {
        ParameterType::String => json!({ "type": "string" }),
        ParameterType::Int => json!({ "type": "integer" }),
        ParameterType::Float => json!({ "type": "number" }),
        ParameterType::Bool => json!({ "type": "boolean" }),
        ParameterType::Enum(values) => json!({ "type": "string", "enum": values }),
        ParameterType::File => json!({ "type": "integer", "format": "int64", "minimum": 1, TYPE: "file" }),
    };
    if parameter.secret {
        property["writeOnly"] = json!(true);
        if parameter.kind == ParameterType::String {
            property["format"] = json!("password");
        }
    }
    if let Some(description) = &parameter.description {
        property["description"] = json!(description);
    }
    if let Some(default) = &parameter.default {
        // As a value of its type; what is no JSON is a text.
        let typed = serde_json::from_str(default).ok().filter(|_| property["type"] != "string");
        property["default"] = typed.unwrap_or_else(|| json!(default));
    }
    property
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_secrets_are_known_by_their_schema() {
        let text = "Command = 'x'\n[[Parameter]]\nName = 'data'\nType = 'file'\n\
                    [[Parameter]]\nName = 'key'\nType = 'string'\nSecret = true\nOptional = true";
        let about = About::of(&Jobspec::parse(text).unwrap());
        let properties = &about.parameters["properties"];
        let file = json!({ "type": "integer", "format": "int64", "minimum": 1, "x-jobmgr-type": "file" });
        assert_eq!(properties["data"], file);
        assert_eq!(properties["key"], json!({ "type": "string", "writeOnly": true, "format": "password" }));
        let declared: Vec<_> = about.declared().into_iter().map(|one| (one.kind, one.required, one.secret)).collect();
        assert_eq!(declared, [(ParameterType::File, true, false), (ParameterType::String, false, true)]);
    }

    #[test]
    fn what_is_published_is_what_the_file_says() {
        let text = "Command = 'x'\nPriority = 7\nQueueTimeout = '2s'\nRequires = ['gpu']\nGpus = 2\nKeep = '2d'\nKeepFailed = '3d'\n\
                    [[Parameter]]\nName = 'n'\nType = 'int'\nDefault = 5\n\
                    [[Parameter]]\nName = 'mode'\nType = 'enum'\nValues = ['1', '2']\nDefault = '1'\n\
                    [[Parameter]]\nName = 'text'\nType = 'string'\nDescription = 'any'";
        let about = About::of(&Jobspec::parse(text).unwrap());
        assert_eq!(
            (about.priority, about.queue_timeout(), about.timeout_ms),
            (7, Some(Duration::from_secs(2)), 10_000)
        );
        assert_eq!((about.requires.as_slice(), about.gpus), (&["gpu".to_owned()][..], 2));
        let day = 24 * 3_600_000;
        assert_eq!(
            (about.keep_ms, about.keep_failed_ms, about.keep_artifacts_ms),
            (Some(2 * day), Some(3 * day), None)
        );
        assert_eq!(about.parameters["properties"]["n"], json!({ "type": "integer", "default": 5 }));
        assert_eq!(about.parameters["properties"]["mode"]["default"], json!("1"));
        assert_eq!(about.parameters["required"], json!(["text"]));
        let declared = |name: &str, kind, required| Declared { name: name.into(), kind, required, secret: false };
        let words = ParameterType::Enum(vec!["1".into(), "2".into()]);
        assert_eq!(
            about.declared(),
            [
                declared("n", ParameterType::Int, false),
                declared("mode", words, false),
                declared("text", ParameterType::String, true)
            ]
        );
        let text = serde_json::to_string(&about).unwrap();
        assert_eq!(serde_json::from_str::<About>(&text).unwrap(), about);
        // What an older or newer worker says, as far as it goes.
        assert_eq!(serde_json::from_str::<About>("{\"later\": 1}").unwrap(), About::default());
    }
}
