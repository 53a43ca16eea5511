//! From a path and a method to what answers.

use std::collections::HashMap;
use std::sync::Arc;

use poem::endpoint::BoxEndpoint;
use poem::http::header::ALLOW;
use poem::http::{HeaderValue, Method, StatusCode};
use poem::{Endpoint, Request, Response, Result, Route};
use poem_openapi::OpenApi;
use tokio_util::sync::CancellationToken;

use super::access::Routed;
use super::classic::{Download, Get, Start};
use super::home::Home;
use super::metrics::Metrics;
use super::refusal::Refusal;
use super::scopes::{self, Need};
use super::v1::{
    Artifacts, Attempts, Batch, Cancel, Collection, Deliveries, Events, Executors, Inputs, JobEvents, Jobs, Jobspecs,
    Logs, Me, Run, Stats, Tokens, Upload, Webhook, Webhooks, Workers, Zip,
};
use super::{Api, Audit, Caller, Gate, content, docs, fetch, front, metrics, upload};

/// Everything that the OpenAPI document describes.
pub type Described = (
    (Start, Get, Download, Home),
    (Collection, Batch, Run, Jobs, Cancel, Logs, Attempts, Artifacts, Zip),
    (Inputs, Upload),
    (JobEvents, Events),
    (Webhooks, Webhook, Deliveries),
    (Jobspecs, Workers, Executors, Stats, Metrics, Me, Tokens),
);

/// The routes: those of the document, made from the same source, and a few that it need not tell. What answers for
/// long gives up when `closing`.
pub fn routes(api: Arc<Api>, closing: CancellationToken) -> Route {
    let mut table = HashMap::new();
    let guard = Guard { gate: Arc::clone(&api.gate), audit: api.audit.clone() };
    content::add_routes(&api, &mut table);
    upload::add_routes(&api, &mut table);
    fetch::add_routes(&api, &mut table);
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
    let files = (Inputs { api: api.clone() }, Upload { api: api.clone(), closing: closing.clone() });
    let events = (JobEvents { api: api.clone(), closing: closing.clone() }, Events { api: api.clone(), closing });
    let webhooks = (Webhooks { api: api.clone() }, Webhook { api: api.clone() }, Deliveries { api: api.clone() });
    let server = (
        Jobspecs { api: api.clone() },
        Workers { api: api.clone() },
        Executors { api: api.clone() },
        Stats { api: api.clone() },
        Metrics::new(api.clone()),
        Me { api: api.clone() },
        Tokens { api },
    );
    let described: Described = (classic, jobs, files, events, webhooks, server);
    described.add_routes(&mut table);
    table.into_iter().fold(Route::new(), |route, (path, methods)| {
        let resource = Resource::new(&path, methods, guard.clone());
        route.at(path, resource)
    })
}

/// What lets a request pass.
#[derive(Clone)]
struct Guard {
    gate: Arc<Gate>,
    audit: Audit,
}

/// What answers a method of a path.
struct Served {
    method: Method,
    /// Its path as the document writes it, and who may; `None`: nobody has said, so nobody may.
    need: Option<(&'static str, Need)>,
    endpoint: BoxEndpoint<'static>,
}

/// What answers under one path. Who may is decided here, by the route and never by the path as it was sent.
struct Resource {
    /// For numbers and the log: its path as the document writes it.
    name: Routed,
    methods: Vec<Served>,
    allow: HeaderValue,
    guard: Guard,
}

impl Resource {
    fn new(path: &str, methods: HashMap<Method, BoxEndpoint<'static>>, guard: Guard) -> Self {
        let mut names: Vec<&str> = methods.keys().map(Method::as_str).collect();
        if names.contains(&"GET") && !names.contains(&"HEAD") {
            names.push("HEAD");
        }
        names.sort_unstable();
        let allow = HeaderValue::try_from(names.join(", ")).unwrap_or_else(|_| HeaderValue::from_static(""));
        let served = |(method, endpoint)| Served { need: scopes::need(&method, path), method, endpoint };
        let methods: Vec<Served> = methods.into_iter().map(served).collect();
        let documented = methods.iter().find_map(|served| served.need).map(|(path, _)| path);
        Self { name: Routed(documented.unwrap_or(path).into()), methods, allow, guard }
    }

    fn of(&self, method: &Method) -> Option<&Served> {
        self.methods.iter().find(|served| served.method == method)
    }

    /// `HEAD` is answered as `GET`; hyper leaves the body out.
    fn serving(&self, method: &Method) -> Option<&Served> {
        match self.of(method) {
            None if method == Method::HEAD => self.of(&Method::GET),
            found => found,
        }
    }

    /// Notes that somebody who is known tried what they may not. Who shows no token could fill the audit log at will.
    fn note(&self, request: &Request, (path, need): (&str, Need), refusal: Refusal, caller: Option<Caller>) {
        let changes = need == Need::Admin || !matches!(*request.method(), Method::GET | Method::HEAD);
        match caller.filter(|_| changes && matches!(refusal, Refusal::Forbidden(_))) {
            Some(caller) => {
                let action = format!("{} {path}", request.method());
                self.guard.audit.refused(&caller, &action, request.uri().path(), refusal.as_str());
            }
            None => tracing::debug!(method = %request.method(), path, why = refusal.as_str(), "refused"),
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

impl Resource {
    async fn answer(&self, mut request: Request) -> Result<Response> {
        let Some(served) = self.serving(request.method()) else { return Ok(self.not_allowed()) };
        let Some((path, need)) = served.need else {
            tracing::error!(method = %served.method, path = request.uri().path(), "nobody has said who may call this");
            return Ok(Refusal::Forbidden("what nobody has").answer(request.uri().path()));
        };
        let caller = match self.guard.gate.pass(&request, need).await {
            Ok(caller) => caller,
            // Who watches a server learns that its database is away by this, and nothing else as long as nobody knows
            // who may.
            Err((Refusal::Unavailable, _)) if path == metrics::PATH => return Ok(metrics::away()),
            Err((refusal, caller)) => {
                self.note(&request, (path, need), refusal, caller);
                return Ok(refusal.answer(path));
            }
        };
        let Some(caller) = caller else { return served.endpoint.call(request).await };
        request.set_data(caller.clone());
        let mut response = served.endpoint.call(request).await.unwrap_or_else(poem::Error::into_response);
        // The log says who it was.
        response.set_data(caller);
        Ok(response)
    }
}

impl Endpoint for Resource {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        let mut response = self.answer(request).await.unwrap_or_else(poem::Error::into_response);
        response.extensions_mut().insert(self.name.clone());
        Ok(response)
    }
}
