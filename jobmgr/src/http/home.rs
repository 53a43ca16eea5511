//! The greeting and the health check.

use poem_openapi::payload::PlainText;
use poem_openapi::{ApiResponse, OpenApi};

use super::docs::Tag;

/// `GET /` and `GET /healthz`.
pub struct Home;

#[OpenApi]
impl Home {
    /// Greet
    ///
    /// Says what answers here and where its documentation is.
    #[oai(path = "/", method = "get", operation_id = "greet", tag = "Tag::Server")]
    async fn greet(&self) -> Greeting {
        Greeting::Text(PlainText(concat!(
            "This is jobmgr ",
            env!("CARGO_PKG_VERSION"),
            ": it takes jobs, queues them and runs them.\nTry the API at /docs; its description is /openapi.json.\n",
        )))
    }

    /// Check that the server is alive
    ///
    /// Answers as soon as the process serves; it does not ask the database or the store.
    #[oai(path = "/healthz", method = "get", operation_id = "getHealth", tag = "Tag::Server")]
    async fn health(&self) -> Health {
        Health::Ok(PlainText("ok\n"))
    }
}

#[derive(ApiResponse)]
enum Greeting {
    /// A few words for people.
    #[oai(status = 200)]
    Text(PlainText<&'static str>),
}

#[derive(ApiResponse)]
enum Health {
    /// The word `ok`.
    #[oai(status = 200)]
    Ok(PlainText<&'static str>),
}
