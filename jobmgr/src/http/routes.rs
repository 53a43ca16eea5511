//! From a path and a method to what answers.

use std::collections::HashMap;
use std::sync::Arc;

use poem::endpoint::BoxEndpoint;
use poem::http::header::ALLOW;
use poem::http::{HeaderValue, Method, StatusCode};
use poem::{Endpoint, Request, Response, Result, Route};
use poem_openapi::OpenApi;
use tokio_util::sync::CancellationToken;

use super::classic::{Download, Get, Start};
use super::home::Home;
use super::v1::{Artifacts, Attempts, Batch, Cancel, Collection, Events, JobEvents, Jobs, Jobspecs, Logs, Run, Stats, Workers, Zip};
use super::{Api, content, docs, front, upload};

/// Everything that the OpenAPI document describes.
pub type Described = (
    (Start, Get, Download, Home),
    (Collection, Batch, Run, Jobs, Cancel, Logs, Attempts, Artifacts, Zip),
    (Jobspecs, Workers, Stats),
    (JobEvents, Events),
);

/// The routes: those of the document, made from the same source, and a few that it need not tell. What answers for
/// long gives up when `closing`.
pub fn routes(api: Arc<Api>, closing: CancellationToken) -> Route {
    let mut table = HashMap::new();
    content::add_routes(&api, &mut table);
    upload::add_routes(&api, &mut table);
    docs::add_routes(&api.abouts, &mut table);
    let classic = (
        Start { api: api.clone() },
        Get { api: api.clone() },
        Download { api: api.clone() },
        Home { api: api.clone() },
    );
    let jobs = (
        Collection { api: api.clone(), closing: closing.clone() },
        Batch { api: api.clone() },
        Run { api: api.clone(), closing: closing.clone() },
        Jobs { api: api.clone(), closing: closing.clone() },
        Cancel { api: api.clone() },
        Logs { api: api.clone(), closing: closing.clone() },
        Attempts { api: api.clone() },
        Artifacts { api: api.clone() },
        Zip { api: api.clone() },
    );
    let events = (JobEvents { api: api.clone(), closing: closing.clone() }, Events { api: api.clone(), closing });
    let server = (Jobspecs { api: api.clone() }, Workers { api: api.clone() }, Stats { api });
    let described: Described = (classic, jobs, server, events);
    described.add_routes(&mut table);
    table.into_iter().fold(Route::new(), |route, (path, methods)| route.at(path, Resource::new(methods)))
}

/// What answers under one path.
struct Resource {
    methods: Vec<(Method, BoxEndpoint<'static>)>,
    allow: HeaderValue,
}

impl Resource {
    fn new(methods: HashMap<Method, BoxEndpoint<'static>>) -> Self {
        let mut names: Vec<&str> = methods.keys().map(Method::as_str).collect();
        if names.contains(&"GET") && !names.contains(&"HEAD") {
            names.push("HEAD");
        }
        names.sort_unstable();
        let allow = HeaderValue::try_from(names.join(", ")).unwrap_or_else(|_| HeaderValue::from_static(""));
        Self { methods: methods.into_iter().collect(), allow }
    }

    fn of(&self, method: &Method) -> Option<&BoxEndpoint<'static>> {
        self.methods.iter().find(|(served, _)| served == method).map(|(_, endpoint)| endpoint)
    }

    /// `HEAD` is answered as `GET`; hyper leaves the body out.
    fn serving(&self, method: &Method) -> Option<&BoxEndpoint<'static>> {
        match self.of(method) {
            None if method == Method::HEAD => self.of(&Method::GET),
            found => found,
        }
    }

    fn not_allowed(&self) -> Response {
        let allow = self.allow.to_str().unwrap_or_default();
        let body = format!("This address does not serve that method; it serves {allow}.\n");
        let mut response = front::text(StatusCode::METHOD_NOT_ALLOWED, body);
        response.headers_mut().insert(ALLOW, self.allow.clone());
        response
    }
}

impl Endpoint for Resource {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        match self.serving(request.method()) {
            Some(endpoint) => endpoint.call(request).await,
            None => Ok(self.not_allowed()),
        }
    }
}
