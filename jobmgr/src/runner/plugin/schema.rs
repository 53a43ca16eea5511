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
    if !options.is_object() {
        return Err(("Options".into(), "must be a table".into()));
    }
    let Ok(validator) = jsonschema::validator_for(schema) else {
        // A schema that is none says nothing; the executor looks at the options itself.
        return Ok(());
    };
    let Some(error) = validator.iter_errors(options).next() else { return Ok(()) };
    let mut path = format!("Options{}", error.instance_path().as_str().replace('/', "."));
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
        _ => format!("'{}': {error}{}", path.rsplit('.').next().unwrap_or_default(), examples(schema, &error)),
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

    use super::check;

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
