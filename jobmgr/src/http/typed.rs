//! The OpenAPI document with an operation for each jobspec, so that generated clients and the page know its parameters.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::domain::jobspec::{About, ParameterType};

/// The path of the operation for any jobspec, after which the others are made.
const ANY: &str = "/v1/run/{jobspec}";

/// Adds to `document` an operation and a schema for each of these jobspecs.
pub fn add(document: &mut Value, jobspecs: &BTreeMap<String, About>) {
    // Else the page makes names up.
    document["paths"][ANY]["post"]["requestBody"]["content"]["application/json"]["example"] = json!({});
    let any = document["paths"][ANY]["post"].clone();
    let mut taken = BTreeSet::new();
    for (name, about) in jobspecs {
        let word = word(name, &mut taken);
        let schema = format!("Run_{word}");
        document["paths"][format!("/v1/run/{}", encoded(name))] =
            json!({ "post": operation(&any, name, &word, about) });
        document["components"]["schemas"][schema] = parameters(about);
    }
}

/// The schema of the parameters as OpenAPI 3.0 has it: a list of what is required is not empty, and of a whole number it
/// can say how large it may be.
fn parameters(about: &About) -> Value {
    let mut schema = about.parameters.clone();
    for (_, property) in schema["properties"].as_object_mut().into_iter().flatten() {
        if property["type"] == "integer" {
            property["format"] = json!("int64");
        }
    }
    if schema["required"].as_array().is_some_and(Vec::is_empty)
        && let Some(schema) = schema.as_object_mut()
    {
        schema.remove("required");
    }
    schema
}

fn operation(any: &Value, name: &str, word: &str, about: &About) -> Value {
    let mut operation = any.clone();
    let description = about.description.as_deref().unwrap_or_default();
    operation["summary"] = json!(format!("Run {name}"));
    operation["description"] = json!(format!(
        "{description}{}Submits a job of the jobspec `{name}`; the body is its parameters.",
        if description.is_empty() { "" } else { "\n\n" }
    ));
    operation["operationId"] = json!(format!("run_{word}"));
    if let Some(parameters) = operation["parameters"].as_array_mut() {
        parameters.retain(|parameter| parameter["in"] != "path");
    }
    let mut media = json!({ "schema": { "$ref": format!("#/components/schemas/Run_{word}") } });
    media["example"] = Value::Object(example(about));
    operation["requestBody"]["content"]["application/json"] = media;
    operation
}

/// The path of the operation for the form of any jobspec.
const ANY_FORM: &str = "/v1/run/{jobspec}/upload";
/// The type of forms with files.
const FORM: &str = "multipart/form-data";

/// Takes the bodies from operations whose body is a form with files: there are generators of clients that make nothing
/// of a document with one. `POST /v1/inputs` serves programs.
pub fn without_forms(document: &mut Value) {
    let Some(paths) = document["paths"].as_object_mut() else { return };
    let operations = paths.values_mut().filter_map(Value::as_object_mut).flat_map(Map::values_mut);
    for operation in operations.filter(|operation| operation["requestBody"]["content"][FORM].is_object()) {
        operation.as_object_mut().and_then(|operation| operation.remove("requestBody"));
        let description = operation["description"].as_str().unwrap_or_default();
        let more = "The body is `multipart/form-data`, of which many generators of clients know nothing; so only the \
                    document in the page at `/docs` describes it. Programs upload files with `POST /v1/inputs`.";
        operation["description"] = json!(format!("{description}\n\n{more}"));
    }
}

/// Takes the bodies from the failures of operations that become something else than HTTP: a generator for Rust makes of
/// them what can't be compiled. They are problems there too.
pub fn without_bodies_of_upgrades(document: &mut Value) {
    let Some(paths) = document["paths"].as_object_mut() else { return };
    let operations = paths.values_mut().filter_map(Value::as_object_mut).flat_map(Map::values_mut);
    for operation in operations.filter(|operation| operation["responses"]["101"].is_object()) {
        let answers = operation["responses"].as_object_mut();
        for answer in answers.into_iter().flat_map(Map::values_mut).filter_map(Value::as_object_mut) {
            answer.remove("content");
        }
    }
}

/// Adds to `document` a form for each of these jobspecs that has files.
pub fn add_forms(document: &mut Value, jobspecs: &BTreeMap<String, About>) {
    let any = document["paths"][ANY_FORM]["post"].clone();
    let mut taken = BTreeSet::new();
    for (name, about) in jobspecs {
        let word = word(name, &mut taken);
        if about.declared().iter().any(|declared| declared.kind == ParameterType::File) {
            document["paths"][format!("/v1/run/{}/upload", encoded(name))] =
                json!({ "post": form(&any, name, &word, about) });
        }
    }
}

fn form(any: &Value, name: &str, word: &str, about: &About) -> Value {
    let mut operation = any.clone();
    operation["summary"] = json!(format!("Run {name} with files"));
    operation["description"] =
        json!(format!("Submits a job of the jobspec `{name}`; each part is one of its parameters."));
    operation["operationId"] = json!(format!("run_{word}_with_files"));
    if let Some(parameters) = operation["parameters"].as_array_mut() {
        parameters.retain(|parameter| parameter["in"] != "path");
    }
    let mut schema = parameters(about);
    for declared in about.declared().into_iter().filter(|declared| declared.kind == ParameterType::File) {
        let property = &mut schema["properties"][&declared.name];
        let description = property.get("description").cloned();
        *property = json!({ "type": "string", "format": "binary" });
        if let Some(description) = description {
            property["description"] = description;
        }
    }
    operation["requestBody"]["content"][FORM] = json!({ "schema": schema });
    operation
}

/// A value for each parameter that must be given or has a default.
fn example(about: &About) -> Map<String, Value> {
    let properties = about.parameters["properties"].as_object();
    let declared = about.declared();
    let must = |name: &String| declared.iter().any(|declared| declared.name == *name && declared.required);
    let values = properties.into_iter().flatten().filter_map(|(name, schema)| {
        let usual = match schema["type"].as_str() {
            Some("integer") => json!(1),
            Some("number") => json!(0.5),
            Some("boolean") => json!(true),
            _ => schema["enum"].get(0).cloned().unwrap_or_else(|| json!("text")),
        };
        let value = schema.get("default").cloned().or_else(|| must(name).then_some(usual))?;
        Some((name.clone(), value))
    });
    values.collect()
}

/// The name as clients in any language can have it, of its own among all.
fn word(name: &str, taken: &mut BTreeSet<String>) -> String {
    let word: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    // Generators change the case of letters.
    let mut own = word.clone();
    let mut number = 2;
    while !taken.insert(own.to_ascii_lowercase().replace('_', "")) {
        own = format!("{word}_{number}");
        number += 1;
    }
    own
}

/// The name as a part of a path.
fn encoded(name: &str) -> String {
    name.bytes().fold(String::new(), |mut path, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => path.push(byte.into()),
            _ => write!(path, "%{byte:02X}").unwrap_or_default(),
        }
        path
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::jobspec::Jobspec;

    fn about(text: &str) -> About {
        About::of(&Jobspec::parse(text).unwrap())
    }

    fn document(jobspecs: &[(&str, &str)]) -> Value {
        let jobspecs = jobspecs.iter().map(|(name, text)| ((*name).to_owned(), about(text))).collect();
        let mut document = serde_json::from_str(&super::super::openapi()).unwrap();
        add(&mut document, &jobspecs);
        document
    }

    #[test]
    fn forms_are_for_people() {
        let text = "Command = 'x'\n[[Parameter]]\nName = 'data'\nType = 'file'\nDescription = 'it'\n\
                    [[Parameter]]\nName = 'n'\nType = 'int'\nOptional = true";
        let jobspecs = [("files", text), ("plain", "Command = 'x'")].map(|(name, text)| (name.to_owned(), about(text)));
        let jobspecs = BTreeMap::from(jobspecs);
        let programs = super::super::openapi_with(&jobspecs);
        assert!(!programs.contains("\"multipart/form-data\""), "generators stumble over it");
        let programs: Value = serde_json::from_str(&programs).unwrap();
        let upload = &programs["paths"]["/v1/jobs/upload"]["post"];
        assert!(upload["requestBody"].is_null() && upload["description"].as_str().unwrap().contains("/v1/inputs"));
        let data = &programs["components"]["schemas"]["Run_files"]["properties"]["data"];
        assert_eq!((&data["type"], &data["x-jobmgr-type"]), (&json!("integer"), &json!("file")));
        let mut people = json!({ "paths": { ANY_FORM: { "post": { "requestBody": { "required": true } } } } });
        add_forms(&mut people, &jobspecs);
        let schema = &people["paths"]["/v1/run/files/upload"]["post"]["requestBody"]["content"][FORM]["schema"];
        let file = json!({ "type": "string", "format": "binary", "description": "it" });
        assert_eq!((&schema["properties"]["data"], &schema["required"]), (&file, &json!(["data"])));
        assert_eq!(schema["properties"]["n"], json!({ "type": "integer", "format": "int64" }));
        assert!(people["paths"]["/v1/run/plain/upload"].is_null());
    }

    #[test]
    fn each_jobspec_has_its_operation_and_schema() {
        let text = "Command = 'x'\nDescription = 'Draws'\n[[Parameter]]\nName = 'n'\nType = 'int'\n\
                    [[Parameter]]\nName = 'mode'\nType = 'enum'\nValues = ['a']\nDefault = 'a'\n\
                    [[Parameter]]\nName = 'more'\nType = 'string'\nOptional = true\n";
        let document = document(&[("draw-it", text), ("Draw it", "Command = 'x'"), ("é", "Command = 'x'")]);
        let operation = &document["paths"]["/v1/run/draw-it"]["post"];
        assert_eq!(
            (&operation["operationId"], &operation["summary"]),
            (&json!("run_draw_it_2"), &json!("Run draw-it"))
        );
        assert!(operation["description"].as_str().unwrap().starts_with("Draws\n"));
        let media = &operation["requestBody"]["content"]["application/json"];
        assert_eq!(media["schema"]["$ref"], "#/components/schemas/Run_draw_it_2");
        assert_eq!(media["example"], json!({ "mode": "a", "n": 1 }));
        let schema = &document["components"]["schemas"]["Run_draw_it_2"];
        assert_eq!(schema["properties"]["n"]["format"], "int64");
        assert_eq!((&schema["required"], &schema["properties"]["mode"]["enum"]), (&json!(["n"]), &json!(["a"])));
        assert!(operation["parameters"].as_array().unwrap().iter().all(|parameter| parameter["in"] != "path"));
        assert!(document["paths"]["/v1/run/Draw%20it"]["post"].is_object());
        assert_eq!(document["components"]["schemas"]["Run_Draw_it"].get("required"), None);
        assert_eq!(document["paths"]["/v1/run/%C3%A9"]["post"]["operationId"], "run__");
        assert!(document["paths"][ANY]["post"].is_object());
    }
}
