//! What the OpenAPI document says of each operation about who may: a token, and the answers to those who may not. It comes
//! from the table of routes, so that no operation can leave it out.

use serde_json::{Map, Value, json};

use super::refusal::is_classic;
use super::scopes::{self, Need};

/// The name of the scheme in the document.
const SCHEME: &str = "bearer";

/// Adds the scheme, and to each operation what it needs.
pub fn add(document: &mut Value) {
    document["components"]["securitySchemes"][SCHEME] = json!({
        "type": "http",
        "scheme": "bearer",
        "description": "A token: `jm_...`, as `jobmgr token create` prints it.",
    });
    // For all of them at once: of an operation that has its own, generators for Python make one that can't do without a
    // token, which it can where a server needs none.
    document["security"] = json!([{ SCHEME: [] }, {}]);
    let Some(paths) = document["paths"].as_object_mut() else { return };
    for (path, item) in paths {
        let Some(methods) = item.as_object_mut() else { continue };
        for (method, operation) in methods {
            let method = method.to_uppercase().parse().ok();
            let need = method.and_then(|method| scopes::need(&method, path));
            match need.map(|(_, need)| need).filter(|need| need.needs_caller()) {
                Some(need) => describe(operation, path, need),
                None => operation["security"] = json!([]),
            }
        }
    }
}

fn describe(operation: &mut Value, path: &str, need: Need) {
    let description = operation["description"].as_str().unwrap_or_default();
    operation["description"] = json!(format!("{description}\n\nNeeds {}.", need.in_words()));
    let Some(responses) = operation["responses"].as_object_mut() else { return };
    let (kind, schema) = match is_classic(path) {
        true => ("application/json", "ClassicError"),
        false => ("application/problem+json", "Problem"),
    };
    let content = json!({ kind: { "schema": { "$ref": format!("#/components/schemas/{schema}") } } });
    let wait = header("Retry-After", "Seconds to wait.", json!({ "type": "integer", "format": "int32" }));
    let scheme = header("WWW-Authenticate", "Always `Bearer`.", json!({ "type": "string" }));
    let added = [
        ("401", "There is no token, or none that holds: `unauthorized`.", Some(scheme)),
        ("403", "The token may not do this: `forbidden`.", None),
        ("429", "Too many requests, wrong tokens or queued jobs: `rate_limited`. Wait.", Some(wait.clone())),
        ("503", "The database or the store is not available. Try again.", Some(wait)),
    ];
    for (status, description, headers) in added {
        if responses.contains_key(status) {
            continue;
        }
        let mut response = json!({ "description": description, "content": content });
        if let Some(headers) = headers {
            response["headers"] = headers;
        }
        responses.insert(status.to_owned(), response);
    }
    sort(responses);
}

fn header(name: &str, description: &str, schema: Value) -> Value {
    json!({ name: { "description": description, "required": true, "schema": schema } })
}

/// By their statuses, as people look for them.
fn sort(responses: &mut Map<String, Value>) {
    let mut sorted: Vec<_> = std::mem::take(responses).into_iter().collect();
    sorted.sort_by(|(one, _), (other, _)| one.cmp(other));
    responses.extend(sorted);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_operation_says_what_it_needs() {
        let document: Value = serde_json::from_str(&super::super::openapi()).unwrap();
        assert_eq!(document["components"]["securitySchemes"][SCHEME]["scheme"], "bearer");
        let operation = |path: &str, method: &str| &document["paths"][path][method];
        for (path, method) in [("/v1/jobs", "post"), ("/jobs/get", "get"), ("/v1/jobspecs", "get")] {
            let operation = operation(path, method);
            assert!(operation["security"].is_null(), "{path}");
            for status in ["401", "403", "429", "503"] {
                assert!(operation["responses"][status].is_object(), "{path} {status}");
            }
        }
        let named = &operation("/v1/workers/{id}/drain", "post");
        assert!(named["description"].as_str().unwrap().ends_with("Needs a token with the scope `admin`."));
        let greeting = operation("/healthz", "get");
        assert!(greeting["security"] == json!([]) && greeting["responses"]["401"].is_null());
        assert_eq!(document["security"], json!([{ "bearer": [] }, {}]));
    }
}
