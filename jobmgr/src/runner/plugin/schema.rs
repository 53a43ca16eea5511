use jsonschema::error::ValidationErrorKind;
use serde_json::Value;

use crate::domain::settings;

/// What is wrong in a jobspec: the key (`Options.Image`), and what would be right.
pub type Wrong = (String, String);

/// Whether options are as a schema wants them.
///
/// # Errors
/// The first thing that is wrong.
pub(super) fn check(schema: &Value, options: &Value) -> Result<(), Wrong> {
    table(schema, "Options", options, |error| error.to_string())
}

/// Whether a configuration is as a schema wants it. It may hold secrets, so that its values are not shown.
///
/// # Errors
/// The first thing that is wrong, below `Config`.
pub(super) fn check_config(schema: &Value, config: &Value) -> Result<(), Wrong> {
    table(schema, "Config", config, |error| error.masked_with("the value").to_string())
}

/// `told` says what is wrong with a value.
fn table(
    schema: &Value,
    name: &str,
    options: &Value,
    told: impl Fn(&jsonschema::ValidationError<'_>) -> String,
) -> Result<(), Wrong> {
    if !options.is_object() {
        return Err((name.to_owned(), "must be a table".into()));
    }
    let Ok(validator) = jsonschema::validator_for(schema) else {
        // A schema that is none says nothing; the executor looks at the options itself.
        return Ok(());
    };
    let Some(error) = validator.iter_errors(options).next() else { return Ok(()) };
    let mut path = format!("{name}{}", error.instance_path().as_str().replace('/', "."));
    let text = match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            let known = error.schema_path().as_str().rsplit_once('/').and_then(|(around, _)| schema.pointer(around));
            let known = known.and_then(|schema| schema["properties"].as_object());
            let names: Vec<&str> = known.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
            let key = unexpected.first().cloned().unwrap_or_default();
            let text = settings::unknown(&key, names.into_iter());
            path = format!("{path}.{key}");
            text
        }
        ValidationErrorKind::Required { property } => {
            format!("key '{}' is missing", property.as_str().unwrap_or_default())
        }
        _ => {
            let key = path.rsplit('.').next().unwrap_or_default();
            format!("'{key}': {}{}", told(&error), examples(schema, &error))
        }
    };
    Err((path, text))
}

/// What the schema says would be right, in words: a pattern says little to those who write jobspecs.
fn examples(schema: &Value, error: &jsonschema::ValidationError<'_>) -> String {
    let around = error.schema_path().as_str().rsplit_once('/').and_then(|(around, _)| schema.pointer(around));
    let examples = around.and_then(|schema| schema["examples"].as_array());
    let examples: Vec<_> = examples.into_iter().flatten().map(Value::to_string).collect();
    if examples.is_empty() { String::new() } else { format!("; use one such as {}", examples.join(", ")) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{check, check_config};

    #[test]
    fn what_is_wrong_is_told_with_its_key() {
        let schema = json!({
            "type": "object", "additionalProperties": false, "required": ["Image"],
            "properties": {"Image": {"type": "string"}, "Mounts": {"type": "array", "items": {"type": "string"}}}
        });
        let wrong = |options| check(&schema, &options).unwrap_err();
        assert_eq!(check(&schema, &json!({"Image": "x"})), Ok(()));
        assert_eq!(wrong(json!({})), ("Options".into(), "key 'Image' is missing".into()));
        assert_eq!(
            wrong(json!({"Image": "x", "Imag": 1})),
            ("Options.Imag".into(), "unknown key 'Imag'; did you mean 'Image'?".into())
        );
        let (path, text) = wrong(json!({"Image": "x", "Mounts": ["a", 1]}));
        assert_eq!(path, "Options.Mounts.1");
        assert!(text.contains("is not of type"), "{text}");
        assert_eq!(wrong(json!([1])), ("Options".into(), "must be a table".into()));
    }

    #[test]
    fn what_a_configuration_says_is_not_shown() {
        let schema =
            json!({"type": "object", "additionalProperties": false, "properties": {"Token": {"type": "string"}}});
        let (path, text) = check_config(&schema, &json!({"Token": 4711})).unwrap_err();
        assert_eq!((&*path, &*text), ("Config.Token", "'Token': the value is not of type \"string\""));
        let (path, text) = check_config(&schema, &json!({"Tokn": "s3cret"})).unwrap_err();
        assert_eq!((&*path, &*text), ("Config.Tokn", "unknown key 'Tokn'; did you mean 'Token'?"));
    }

    #[derive(schemars::JsonSchema)]
    #[expect(dead_code, reason = "only its schema is used")]
    struct Sized {
        memory: Option<jobmgr_plugin_api::Size>,
    }

    #[test]
    fn what_would_be_right_is_told_where_the_schema_has_examples() {
        let schema = schemars::schema_for!(Sized).to_value();
        for right in [json!({}), json!({"memory": 5}), json!({"memory": "1.5 GiB"}), json!({"memory": "64m"})] {
            assert_eq!(check(&schema, &right), Ok(()), "{right}");
        }
        for bad in [json!("much"), json!("1 gib"), json!(-1), json!(true)] {
            let (path, text) = check(&schema, &json!({ "memory": bad })).unwrap_err();
            assert_eq!(path, "Options.memory");
            assert!(text.starts_with(&format!("'memory': {bad} ")), "{text}");
            assert!(text.ends_with("; use one such as 1073741824, \"512MiB\", \"2GiB\""), "{text}");
        }
    }
}
