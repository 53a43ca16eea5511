//! Which scope each route needs: one line per route. What has no line is closed to everybody.

use poem::http::Method;

use crate::auth::{Scope, Scopes};

/// What a caller needs for a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nothing: the route does not ask who calls, or its address is signed.
    Nothing,
    /// Nothing; but who shows a token, or needs none, is shown more.
    Maybe,
    /// Any scope. The route shows what the caller may see: with `submit` alone, what is its own user's.
    Any,
    /// `read`: what it shows is nobody's own.
    Read,
    /// `submit`.
    Submit,
    /// `admin`.
    Admin,
}

impl Need {
    /// Whether these scopes are enough.
    pub fn met_by(self, scopes: Scopes) -> bool {
        match self {
            Need::Nothing | Need::Maybe => true,
            Need::Any => !scopes.is_empty(),
            Need::Read => scopes.allow(Scope::Read),
            Need::Submit => scopes.allow(Scope::Submit),
            Need::Admin => scopes.allow(Scope::Admin),
        }
    }

    /// Whether there must be a caller.
    pub fn needs_caller(self) -> bool {
        !matches!(self, Need::Nothing | Need::Maybe)
    }

    /// What the document says.
    pub fn in_words(self) -> &'static str {
        match self {
            Need::Nothing | Need::Maybe => "no token",
            Need::Any => "any token",
            Need::Read => "a token with the scope `read`",
            Need::Submit => "a token with the scope `submit`",
            Need::Admin => "a token with the scope `admin`",
        }
    }
}

/// Method and path of every route, as the OpenAPI document writes them.
pub const ROUTES: &[(&str, &str, Need)] = &[
    ("GET", "/", Need::Nothing),
    ("GET", "/healthz", Need::Nothing),
    ("GET", "/readyz", Need::Nothing),
    ("GET", "/docs", Need::Maybe),
    ("GET", "/openapi.json", Need::Maybe),
    // Their addresses are signed.
    ("GET", "/artifacts/content", Need::Nothing),
    ("PUT", "/artifacts/upload", Need::Nothing),
    ("GET", "/inputs/content", Need::Nothing),
    // The original's.
    ("POST", "/jobs/start", Need::Submit),
    ("GET", "/jobs/get", Need::Any),
    ("GET", "/artifacts/download", Need::Any),
    // Jobs.
    ("GET", "/v1/jobs", Need::Any),
    ("POST", "/v1/jobs", Need::Submit),
    ("POST", "/v1/jobs/batch", Need::Submit),
    ("POST", "/v1/run/{jobspec}", Need::Submit),
    ("POST", "/v1/jobs/upload", Need::Submit),
    ("POST", "/v1/run/{jobspec}/upload", Need::Submit),
    // Input files.
    ("POST", "/v1/inputs", Need::Submit),
    ("GET", "/v1/inputs/{id}", Need::Any),
    ("DELETE", "/v1/inputs/{id}", Need::Submit),
    ("GET", "/v1/jobs/{id}", Need::Any),
    ("DELETE", "/v1/jobs/{id}", Need::Admin),
    ("POST", "/v1/jobs/{id}/cancel", Need::Submit),
    ("POST", "/v1/jobs/{id}/retry", Need::Submit),
    ("GET", "/v1/jobs/{id}/attempts", Need::Any),
    ("GET", "/v1/jobs/{id}/logs", Need::Any),
    ("GET", "/v1/jobs/{id}/artifacts", Need::Any),
    ("GET", "/v1/jobs/{id}/artifacts.zip", Need::Any),
    ("GET", "/v1/artifacts/{id}/content", Need::Any),
    ("GET", "/v1/jobs/{id}/deliveries", Need::Any),
    ("GET", "/v1/jobspecs", Need::Any),
    ("GET", "/v1/jobspecs/{name}", Need::Any),
    ("GET", "/v1/stats", Need::Any),
    ("GET", "/v1/executors", Need::Any),
    ("GET", "/metrics", Need::Read),
    // What becomes of jobs, as it happens.
    ("GET", "/v1/jobs/{id}/events", Need::Any),
    ("GET", "/v1/events", Need::Any),
    ("GET", "/v1/events/ws", Need::Any),
    // Who is told of what becomes of jobs.
    ("GET", "/v1/webhooks", Need::Admin),
    ("POST", "/v1/webhooks", Need::Admin),
    ("GET", "/v1/webhooks/{id}", Need::Admin),
    ("PATCH", "/v1/webhooks/{id}", Need::Admin),
    ("DELETE", "/v1/webhooks/{id}", Need::Admin),
    ("POST", "/v1/webhooks/{id}/rotate", Need::Admin),
    ("POST", "/v1/webhooks/{id}/test", Need::Admin),
    ("GET", "/v1/webhooks/{id}/deliveries", Need::Admin),
    ("POST", "/v1/webhooks/{id}/deliveries/{delivery}/redeliver", Need::Admin),
    // The server.
    ("GET", "/v1/workers", Need::Read),
    ("POST", "/v1/workers/{id}/drain", Need::Admin),
    ("GET", "/v1/me", Need::Any),
    ("GET", "/v1/tokens", Need::Admin),
    ("POST", "/v1/tokens", Need::Admin),
    ("DELETE", "/v1/tokens/{id}", Need::Admin),
];

/// What a route needs, and its path as the table has it; `None`: it has no line, and is closed.
pub fn need(method: &Method, path: &str) -> Option<(&'static str, Need)> {
    let line = ROUTES.iter().find(|(known, template, _)| *known == method.as_str() && are_alike(template, path));
    line.map(|(_, template, need)| (*template, *need))
}

/// Whether two paths are the same but for the names of their parameters: in the table of routes they have others
/// (`/v1/jobs/:param0`) than in the document (`/v1/jobs/{id}`).
fn are_alike(one: &str, other: &str) -> bool {
    let is_parameter = |part: &str| part.starts_with(':') || part.starts_with('{') && part.ends_with('}');
    let (ones, others) = (one.split('/'), other.split('/'));
    ones.clone().count() == others.clone().count()
        && ones.zip(others).all(|(one, other)| one == other || is_parameter(one) && is_parameter(other))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_route_without_a_line_is_closed() {
        for path in ["/v1/jobs/:param0", "/v1/jobs/{id}"] {
            assert_eq!(need(&Method::GET, path), Some(("/v1/jobs/{id}", Need::Any)), "{path}");
        }
        assert_eq!(need(&Method::POST, "/v1/jobs/batch"), Some(("/v1/jobs/batch", Need::Submit)));
        for (method, path) in [(Method::PUT, "/v1/jobs/:id"), (Method::GET, "/v1/jobs/"), (Method::GET, "/v2")] {
            assert_eq!(need(&method, path), None, "{method} {path}");
        }
    }

    /// With `routes::tests`, which looks at the routes that there are: no line too many, none missing.
    #[test]
    fn the_document_has_the_same_routes() {
        let document: serde_json::Value = serde_json::from_str(&super::super::openapi()).unwrap();
        let described: BTreeSet<(String, String)> = document["paths"]
            .as_object()
            .unwrap()
            .iter()
            .flat_map(|(path, item)| {
                item.as_object().unwrap().keys().map(|method| (method.to_uppercase(), path.clone()))
            })
            .collect();
        let not_told = ["/docs", "/openapi.json", "/artifacts/content", "/artifacts/upload", "/inputs/content"];
        let lines = ROUTES.iter().filter(|(_, path, _)| !not_told.contains(path));
        let lines: Vec<(String, String)> =
            lines.map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned())).collect();
        let distinct: BTreeSet<_> = lines.iter().cloned().collect();
        assert_eq!(distinct.len(), lines.len(), "a route has two lines");
        assert_eq!(distinct, described, "scopes.rs and the routes differ");
    }

    #[test]
    fn needs_are_met_by_scopes() {
        let [read, submit, admin] = Scope::ALL.map(|scope| Scopes::of([scope]));
        let met = |need: Need| [read, submit, admin, Scopes::default()].map(|scopes| need.met_by(scopes));
        assert_eq!(met(Need::Nothing), [true; 4]);
        assert_eq!(met(Need::Any), [true, true, true, false]);
        assert_eq!(met(Need::Read), [true, false, true, false]);
        assert_eq!(met(Need::Submit), [false, true, true, false]);
        assert_eq!(met(Need::Admin), [false, false, true, false]);
    }
}
