//! Fields that nobody knows: requests with such fields are refused, and the document says so.

use serde_json::Value;

const SCHEMAS: &str = "#/components/schemas/";

/// Closes each object that a request below `/v1` may have: it has no properties but those that are told.
pub fn close(document: &mut Value) {
    let mut names = Vec::new();
    for (path, item) in document["paths"].as_object().into_iter().flatten() {
        for operation in item.as_object().into_iter().flatten().map(|(_, operation)| operation) {
            if path.starts_with("/v1/") {
                references(&operation["requestBody"], &mut names);
            }
        }
    }
    let mut done = 0;
    while let Some(name) = names.get(done).cloned() {
        done += 1;
        let schema = &mut document["components"]["schemas"][name];
        references(schema, &mut names);
        if let Some(schema) = schema.as_object_mut()
            && schema.contains_key("properties")
        {
            schema.entry("additionalProperties").or_insert(Value::Bool(false));
        }
    }
}

/// The schemas that are referred to, each once.
fn references(value: &Value, names: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields.values().for_each(|value| references(value, names)),
        Value::Array(items) => items.iter().for_each(|value| references(value, names)),
        Value::String(text) => {
            let name = text.strip_prefix(SCHEMAS).filter(|name| names.iter().all(|known| known != name));
            names.extend(name.map(str::to_owned));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_submitted_is_closed_and_what_is_answered_is_open() {
        let answer = json!({ "$ref": "#/components/schemas/Answer" });
        let body = json!({ "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Many" } } } });
        let post = json!({ "post": { "requestBody": body, "responses": { "200": { "content": answer } } } });
        let mut document = json!({
            "paths": { "/v1/many": post },
            "components": { "schemas": {
                "Many": { "properties": { "items": { "items": { "$ref": "#/components/schemas/One" } } } },
                "One": { "properties": { "kind": { "$ref": "#/components/schemas/Kind" } } },
                "Kind": { "enum": ["a"] },
                "Answer": { "properties": {} },
            } },
        });
        close(&mut document);
        let schemas = &document["components"]["schemas"];
        let closed = |name: &str| schemas[name].get("additionalProperties") == Some(&json!(false));
        assert_eq!(["Many", "One", "Kind", "Answer"].map(closed), [true, true, false, false]);
    }
}
