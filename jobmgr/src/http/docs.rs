//! The OpenAPI document and the page that shows it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use poem::endpoint::{BoxEndpoint, make};
use poem::http::Method;
use poem::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use poem::{EndpointExt, Request, Response};
use poem_openapi::registry::{MetaApi, Registry};
use poem_openapi::{LicenseObject, OpenApi, OpenApiService, Tags};
use serde_json::Value;
use tokio::sync::{Mutex, OnceCell};

use super::abouts::Abouts;
use super::caller::Caller;
use super::routes::Described;
use super::{asked, closed, typed};
use crate::domain::jobspec::About;

const DESCRIPTION: &str = "\
jobmgr takes jobs, queues them, runs them one by one (or a few at once) and keeps what they print and the files they \
leave.

**In three steps:** start a job with `POST /jobs/start`; ask for it with `GET /jobs/get` until its `status` is \
`completed` or `failed`; fetch its files with `GET /artifacts/download`. A job's name is that of a jobspec, a TOML \
file in the server's `jobspecs` folder that says what to run.

What else there is begins with `/v1`. One request can do all three steps: `POST /v1/run/{jobspec}?wait=30s`, with \
the job's parameters as a JSON object.

**Errors** below `/v1` are problems (RFC 9457) whose `code` is a word for programs. Those of the other job endpoints \
come with status 200 and `{\"status\":\"error\",\"error\":\"...\"}`, as they always \
did; only what has no place there has a status of its own.

**Who may call:** the server may need a token, `Authorization: Bearer jm_...`; each operation says which. Without one it \
answers 401, with one that may not 403, and with too many requests or queued jobs 429. What a token may not see looks as \
if it were not there.

Every answer carries `X-Request-Id`; a caller's own is kept. Requests whose `Host` is not one of the server's names \
are answered 421, those from web pages of other places 403, unknown addresses 404, wrong methods 405 with `Allow`: \
all with a line of text.";

/// The page holds its script, its style and the document; it may load nothing, and talk to this server only.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; \
                           img-src 'self' data:; font-src data:; connect-src 'self'; base-uri 'none'; \
                           form-action 'none'; frame-ancestors 'none'";

/// None.
const ICON: &str = "<link rel=\"icon\" href=\"data:,\">";

/// The groups of operations.
#[derive(Tags)]
pub enum Tag {
    /// Start jobs and see how they went.
    Jobs,
    /// Files for jobs.
    Inputs,
    /// Be told what becomes of jobs, as it happens.
    Events,
    /// Fetch the files that jobs left.
    Artifacts,
    /// Be told of what becomes of jobs.
    Webhooks,
    /// The server itself.
    Server,
}

/// The description of the API without the API: it needs no store to be written down.
struct Description;

impl OpenApi for Description {
    fn meta() -> Vec<MetaApi> {
        Described::meta()
    }

    fn register(registry: &mut Registry) {
        Described::register(registry);
    }

    fn add_routes(self, _table: &mut HashMap<String, HashMap<Method, BoxEndpoint<'static>>>) {}
}

fn service() -> OpenApiService<Description, ()> {
    OpenApiService::new(Description, "jobmgr", env!("CARGO_PKG_VERSION"))
        .description(DESCRIPTION)
        .license(LicenseObject::new(env!("CARGO_PKG_LICENSE")))
}

/// The OpenAPI document: indented JSON with a newline at the end. Opens nothing.
pub fn openapi() -> String {
    openapi_with(&BTreeMap::new())
}

/// The same with an operation for each of these jobspecs.
pub fn openapi_with(jobspecs: &BTreeMap<String, About>) -> String {
    let mut document = whole();
    typed::add(&mut document, jobspecs);
    typed::without_forms(&mut document);
    typed::without_bodies_of_upgrades(&mut document);
    format!("{document:#}\n")
}

/// The same for people: with forms, also for each jobspec with files.
fn with_forms(jobspecs: &BTreeMap<String, About>) -> String {
    let mut document = whole();
    typed::add(&mut document, jobspecs);
    typed::add_forms(&mut document, jobspecs);
    format!("{document:#}\n")
}

fn whole() -> Value {
    // We have just written it, so it can be read.
    let mut document: Value = serde_json::from_str(&service().spec()).unwrap_or_default();
    closed::close(&mut document);
    asked::add(&mut document);
    document
}

/// The document and the page for the jobspecs that there are.
struct Papers {
    jobspecs: BTreeMap<String, About>,
    document: Bytes,
    page: Bytes,
}

impl Papers {
    fn new(jobspecs: BTreeMap<String, About>) -> Self {
        let document = openapi_with(&jobspecs);
        let page = page_html(&with_forms(&jobspecs)).into();
        Self { jobspecs, document: document.into(), page }
    }
}

/// Makes them when somebody asks, and anew when the jobspecs are others.
struct Desk {
    abouts: Abouts,
    papers: Mutex<Option<Arc<Papers>>>,
    /// For strangers: what is the same on every server.
    plain: OnceCell<Arc<Papers>>,
}

impl Desk {
    /// Only who may call learns which jobspecs there are.
    async fn papers(&self, request: &Request) -> Arc<Papers> {
        if request.extensions().get::<Caller>().is_none() {
            let plain = self.plain.get_or_init(|| async { Arc::new(Papers::new(BTreeMap::new())) });
            return Arc::clone(plain.await);
        }
        let jobspecs = self.abouts.all().await.into_iter().filter_map(|(name, read)| Some((name, read.ok()?)));
        let jobspecs: BTreeMap<String, About> = jobspecs.collect();
        let mut papers = self.papers.lock().await;
        match papers.as_ref().filter(|papers| papers.jobspecs == jobspecs) {
            Some(papers) => Arc::clone(papers),
            None => Arc::clone(papers.insert(Arc::new(Papers::new(jobspecs)))),
        }
    }
}

/// `/openapi.json` and `/docs`. The query string means nothing to either: Swagger UI gets the document in the page, and
/// does not read `url` or `configUrl`.
pub fn add_routes(abouts: &Abouts, table: &mut HashMap<String, HashMap<Method, BoxEndpoint<'static>>>) {
    let desk = Arc::new(Desk { abouts: abouts.clone(), papers: Mutex::default(), plain: OnceCell::new() });
    let writer = Arc::clone(&desk);
    let document = make(move |request: Request| {
        let desk = Arc::clone(&writer);
        async move {
            let document = desk.papers(&request).await.document.clone();
            Response::builder()
                .header(CONTENT_TYPE, "application/json")
                .header(CACHE_CONTROL, "no-cache")
                .body(document)
        }
    });
    let page = make(move |request: Request| {
        let desk = Arc::clone(&desk);
        async move {
            let page = desk.papers(&request).await.page.clone();
            Response::builder()
                .header(CONTENT_TYPE, "text/html; charset=utf-8")
                .header(CONTENT_SECURITY_POLICY, PAGE_POLICY)
                .header(X_CONTENT_TYPE_OPTIONS, "nosniff")
                .header(CACHE_CONTROL, "no-cache")
                .body(page)
        }
    });
    table.insert("/openapi.json".to_owned(), HashMap::from([(Method::GET, document.boxed())]));
    table.insert("/docs".to_owned(), HashMap::from([(Method::GET, page.boxed())]));
}

/// poem-openapi's page with this document in the place of its own. It has no doctype, which browsers take for a page of
/// the last century; it has no icon, for which they would ask; and a text of a jobspec could end the page's script.
fn page_html(document: &str) -> String {
    let service = service();
    let html = service.swagger_ui_html().replacen(&service.spec(), &document.replace('<', "\\u003c"), 1);
    format!("<!doctype html>{}", html.replacen("<head>", &format!("<head>{ICON}"), 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_rooms_have_the_same_address() {
        // The document would forget the operations of one of them.
        let paths: Vec<String> =
            Described::meta().into_iter().flat_map(|api| api.paths).map(|path| path.path).collect();
        let distinct: std::collections::BTreeSet<&String> = paths.iter().collect();
        assert_eq!(distinct.len(), paths.len(), "{paths:?}");
    }

    fn operations(document: &Value) -> Vec<(&String, &String, &Value)> {
        let paths = document["paths"].as_object().unwrap();
        let operations = paths.iter().flat_map(|(path, item)| {
            item.as_object().unwrap().iter().map(move |(method, operation)| (path, method, operation))
        });
        operations.collect()
    }

    #[test]
    fn the_document_is_the_same_each_time() {
        assert_eq!(openapi(), openapi());
        assert!(openapi().ends_with("}\n"));
    }

    #[test]
    fn every_operation_is_described() {
        let document: Value = serde_json::from_str(&openapi()).unwrap();
        let operations = operations(&document);
        assert!(operations.len() >= 5);
        for (path, method, operation) in operations {
            for key in ["operationId", "summary", "description", "tags"] {
                assert!(!operation[key].is_null(), "{method} {path} has no {key}");
            }
            for (status, answer) in operation["responses"].as_object().unwrap() {
                assert_ne!(answer["description"], "", "{method} {path} {status}");
            }
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                assert!(!parameter["description"].is_null(), "{method} {path} {parameter}");
            }
        }
    }

    #[test]
    fn one_media_type_asks_and_one_error_type_answers() {
        let document: Value = serde_json::from_str(&openapi()).unwrap();
        for (path, method, operation) in operations(&document) {
            let content = operation["requestBody"]["content"].as_object();
            assert!(content.is_none_or(|content| content.len() == 1), "{method} {path}");
            // Of what becomes a WebSocket, nothing is told.
            let upgrade = operation["responses"]["101"].is_object();
            let failures =
                operation["responses"].as_object().unwrap().iter().filter(|(status, _)| status.as_str() >= "400");
            for (status, failure) in failures.filter(|_| path.starts_with("/v1/") && !upgrade) {
                let kinds: Vec<&String> = failure["content"].as_object().unwrap().keys().collect();
                assert_eq!(kinds, ["application/problem+json"], "{method} {path} {status}");
            }
        }
        let start = &document["paths"]["/jobs/start"]["post"];
        assert!(start["requestBody"]["content"]["application/x-www-form-urlencoded"].is_object());
    }

    /// Generators for Rust make nothing of a document where an operation answers with several types.
    #[test]
    fn what_succeeds_is_of_one_type_and_so_is_what_fails() {
        let kind = |answer: &Value| match &answer["content"]["application/json"]["schema"] {
            Value::Null if answer["content"].is_object() => "bytes".to_owned(),
            Value::Null => "nothing".to_owned(),
            schema => schema.to_string(),
        };
        let document: Value = serde_json::from_str(&openapi()).unwrap();
        for (path, method, operation) in operations(&document) {
            let answers = operation["responses"].as_object().unwrap();
            for sort in ["2", "45"] {
                let of_sort = answers.iter().filter(|(status, _)| sort.contains(&status[..1]));
                let kinds: std::collections::BTreeSet<String> = of_sort.map(|(_, answer)| kind(answer)).collect();
                assert!(kinds.len() <= 1, "{method} {path}: {kinds:?}");
            }
        }
    }

    /// Generators for Python answer with nothing where a field is an `allOf` of a reference and a description.
    #[test]
    fn a_reference_stands_alone() {
        assert!(!openapi().contains("\"allOf\""));
    }

    #[test]
    fn the_page_loads_nothing_from_elsewhere() {
        let page = page_html(&openapi());
        assert!(page.contains(ICON));
        let page = page.replacen(ICON, "", 1);
        assert!(page.contains("SwaggerUIBundle("));
        for tag in ["<script src", "<link ", "@import"] {
            assert!(!page.contains(tag), "{tag}");
        }
        assert!(page.contains("queryConfigEnabled:!1"), "the query string must not configure the page");
    }
}
