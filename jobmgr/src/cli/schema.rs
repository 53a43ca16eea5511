//! `jobmgr schema`: what editors complete and check TOML files with.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::complain;
use crate::config::Config;
use crate::runner::executors;
use crate::runner::plugin::Plugins;

/// Which schema.
#[derive(Args)]
pub(super) struct SchemaOf {
    /// Of which file
    #[arg(value_enum, default_value_t = File::Jobspec)]
    file: File,
}

#[derive(Clone, Copy, ValueEnum)]
enum File {
    /// jobspecs/NAME.toml
    Jobspec,
    /// config.toml
    Config,
}

/// An executor of the configuration; its schemas, where its library could be opened.
struct Known {
    name: String,
    options: Option<Value>,
    config: Option<Value>,
}

/// Prints it as JSON. An executor that can't be opened is left out, with a line to standard error.
pub(super) async fn print(what: SchemaOf) -> ExitCode {
    let known = match super::config() {
        Ok(config) => known(&config).await,
        // It was said; a schema is wanted all the more.
        Err(_) => Vec::new(),
    };
    let schema = match what.file {
        File::Jobspec => with_options(crate::domain::jobspec::schema(), &known),
        File::Config => with_config(crate::config::schema(), &known),
    };
    super::say(std::io::stdout(), format_args!("{schema:#}"));
    ExitCode::SUCCESS
}

async fn known(config: &Config) -> Vec<Known> {
    let opened = Plugins::new(&config.executors).look().await;
    let known = opened.into_iter().map(|(name, loaded)| match loaded {
        Ok(loaded) => {
            let own = |schema: &Value| schema.is_object().then(|| schema.clone());
            let description = &loaded.description;
            Known { name, options: own(&description.options_schema), config: own(&description.config_schema) }
        }
        Err(why) => {
            complain(&format!("[Executors.{name}] is left out: {why}"), 0);
            Known { name, options: None, config: None }
        }
    });
    known.collect()
}

/// Moves a schema into the definitions of another one, where its references lead into itself as before; gives the
/// reference to it.
fn adopt(root: &mut Value, place: &str, mut schema: Value) -> Value {
    let at = format!("#/definitions/{place}");
    lead(&mut schema, &at);
    if let Some(schema) = schema.as_object_mut() {
        schema.remove("$schema");
    }
    root["definitions"][place] = schema;
    json!({ "$ref": at })
}

fn lead(schema: &mut Value, at: &str) {
    match schema {
        Value::Array(parts) => parts.iter_mut().for_each(|part| lead(part, at)),
        Value::Object(parts) => {
            for (key, part) in parts {
                match part {
                    Value::String(to) if key == "$ref" && to.starts_with('#') => *to = format!("{at}{}", &to[1..]),
                    part => lead(part, at),
                }
            }
        }
        _ => {}
    }
}

/// Jobspecs: what `[Options]` may have depends on `Executor`.
fn with_options(mut root: Value, known: &[Known]) -> Value {
    if known.is_empty() {
        return root;
    }
    let names: Vec<&str> = executors::NAMES.into_iter().chain(known.iter().map(|known| known.name.as_str())).collect();
    root["properties"]["Executor"]["enum"] = json!(names);
    let mut cases = Vec::new();
    for Known { name, options, .. } in known {
        let Some(options) = options else { continue };
        // Without [Options] they are an empty table.
        let needed = !jsonschema::is_valid(options, &json!({}));
        let options = adopt(&mut root, &format!("Executors.{name}.Options"), options.clone());
        let mut then = json!({ "properties": { "Options": options } });
        if needed {
            then["required"] = json!(["Options"]);
        }
        let when = json!({ "properties": { "Executor": { "const": name } }, "required": ["Executor"] });
        cases.push(json!({ "if": when, "then": then }));
    }
    if !cases.is_empty() {
        root["allOf"] = json!(cases);
    }
    root
}

/// config.toml: what `[Executors.NAME.Config]` may have depends on NAME.
fn with_config(mut root: Value, known: &[Known]) -> Value {
    for Known { name, config, .. } in known {
        let Some(config) = config else { continue };
        let config = adopt(&mut root, &format!("Executors.{name}.Config"), config.clone());
        let own = json!({ "allOf": [{ "$ref": "#/definitions/Executor" }, { "properties": { "Config": config } }] });
        root["properties"]["Executors"]["properties"][name] = own;
    }
    root
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> [Known; 2] {
        let options = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object", "required": ["Mode"], "additionalProperties": false,
            "properties": { "Mode": { "$ref": "#/$defs/Mode" } },
            "$defs": { "Mode": { "enum": ["a", "b"] } }
        });
        let config = json!({ "type": "object", "properties": { "Size": { "type": "integer" } } });
        let absent = Known { name: "absent".into(), options: None, config: None };
        [Known { name: "mine".into(), options: Some(options), config: Some(config) }, absent]
    }

    #[test]
    fn options_are_those_of_the_executor() {
        let schema = with_options(crate::domain::jobspec::schema(), &known());
        let valid = |jobspec: Value| jsonschema::is_valid(&schema, &jobspec);
        assert!(valid(json!({ "Command": "x" })));
        assert!(valid(json!({ "Command": "x", "Executor": "mine", "Options": { "Mode": "a" } })));
        assert!(valid(json!({ "Command": "x", "Executor": "absent", "Options": { "any": 1 } })));
        assert!(!valid(json!({ "Command": "x", "Executor": "mine", "Options": { "Mode": "c" } })));
        assert!(!valid(json!({ "Command": "x", "Executor": "mine", "Options": { "Mode": "a", "More": 1 } })));
        assert!(!valid(json!({ "Command": "x", "Executor": "mine" })));
        assert!(!valid(json!({ "Command": "x", "Executor": "other" })));
    }

    #[test]
    fn a_configuration_is_that_of_the_executor() {
        let schema = with_config(crate::config::schema(), &known());
        let valid = |own: Value| {
            jsonschema::is_valid(&schema, &json!({ "Executors": { "mine": { "Plugin": "x", "Config": own } } }))
        };
        assert!(valid(json!({ "Size": 1 })));
        assert!(!valid(json!({ "Size": "x" })));
        assert!(!jsonschema::is_valid(&schema, &json!({ "Executors": { "mine": { "Config": {} } } })));
    }

    #[test]
    fn without_executors_nothing_changes() {
        assert_eq!(with_options(crate::domain::jobspec::schema(), &[]), crate::domain::jobspec::schema());
        assert_eq!(with_config(crate::config::schema(), &[]), crate::config::schema());
    }
}
