//! What callers do, with clients that progenitor has made of the documents. Arguments: the server's address and, where
//! it asks for one, a token.

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};

/// With the document of the program.
#[allow(dead_code, unused_imports, reason = "it is generated, and not all of it is used")]
mod committed;
/// With that of a server with the sample jobspecs.
#[allow(dead_code, unused_imports, reason = "it is generated, and not all of it is used")]
mod served;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().expect("the address of a server");
    let mut headers = HeaderMap::new();
    if let Some(token) = arguments.next() {
        headers.insert(AUTHORIZATION, HeaderValue::try_from(format!("Bearer {token}")).unwrap());
    }
    let http = reqwest::Client::builder().default_headers(headers).build().unwrap();
    committed::walk::all(&committed::Client::new_with_client(&url, http.clone())).await;
    let client = served::Client::new_with_client(&url, http);
    served::walk::all(&client).await;
    served::typed::all(&client).await;
}
