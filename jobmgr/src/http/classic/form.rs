//! The fields of a form, wherever a client puts them: an urlencoded body, a multipart body or the query string. The
//! body wins; a body of another type is not read.

use std::borrow::Cow;

use bytes::Bytes;
use poem::web::Multipart;
use poem::{Body, FromRequest, Request, RequestBody};

use super::super::body::Unreadable;
use super::super::{body, query};

/// The largest body in bytes.
const MAX: u64 = 4 << 20;

/// The fields that have a meaning; absent ones are empty.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Fields {
    /// `name`
    pub name: Option<Vec<u8>>,
    /// `parameters`
    pub parameters: Option<Vec<u8>>,
    /// `priority`
    pub priority: Option<Vec<u8>>,
}

impl Fields {
    /// Reads them from a request.
    pub async fn read(request: &Request, body: &mut RequestBody) -> Result<Fields, Unreadable> {
        let mut fields = Fields::default();
        let kind = kind(request);
        if kind != Kind::Other {
            let body = body::read(request, body, MAX).await?;
            match kind {
                Kind::Urlencoded => fields.add_pairs(&body),
                _ => fields.add_parts(request, body).await,
            }
        }
        fields.add_pairs(request.uri().query().unwrap_or_default().as_bytes());
        Ok(fields)
    }

    /// The first value of a field stays.
    fn add(&mut self, name: &[u8], value: Cow<'_, [u8]>) {
        let field = match name {
            b"name" => &mut self.name,
            b"parameters" => &mut self.parameters,
            b"priority" => &mut self.priority,
            _ => return,
        };
        field.get_or_insert_with(|| value.into_owned());
    }

    fn add_pairs(&mut self, encoded: &[u8]) {
        for (name, value) in query::pairs(encoded) {
            self.add(&name, value);
        }
    }

    /// A multipart body that breaks off, or can't be read, has no fields.
    async fn add_parts(&mut self, request: &Request, body: Bytes) {
        let mut found = Fields::default();
        let mut body = RequestBody::new(Body::from(body));
        let Ok(mut parts) = Multipart::from_request(request, &mut body).await else { return };
        loop {
            let part = match parts.next_field().await {
                Ok(Some(part)) => part,
                Ok(None) => break,
                Err(_) => return,
            };
            let name = part.name().filter(|_| part.file_name().is_none()).map(str::to_owned);
            let Ok(value) = part.bytes().await else { return };
            found.add(name.unwrap_or_default().as_bytes(), value.into());
        }
        *self = found;
    }
}

#[derive(PartialEq, Eq)]
enum Kind {
    Urlencoded,
    Multipart,
    Other,
}

fn kind(request: &Request) -> Kind {
    match body::content_type(request).as_str() {
        "application/x-www-form-urlencoded" => Kind::Urlencoded,
        "multipart/form-data" => Kind::Multipart,
        _ => Kind::Other,
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    const URLENCODED: &str = "application/x-www-form-urlencoded";

    async fn read(uri: &'static str, kind: &str, body: impl Into<Body>) -> Result<Fields, Unreadable> {
        let request = Request::builder().uri_str(uri).content_type(kind).body(body.into());
        let (request, mut body) = request.split();
        Fields::read(&request, &mut body).await
    }

    fn fields(name: Option<&str>, parameters: Option<&str>) -> Result<Fields, Unreadable> {
        let bytes = |text: &str| text.as_bytes().to_vec();
        Ok(Fields { name: name.map(bytes), parameters: parameters.map(bytes), priority: None })
    }

    #[tokio::test]
    async fn the_body_wins() {
        let read = read("/?name=q&parameters=p", "Application/X-WWW-form-urlencoded; charset=utf-8", "name=b").await;
        assert_eq!(read, fields(Some("b"), Some("p")));
    }

    #[tokio::test]
    async fn an_empty_field_in_the_body_wins_too() {
        assert_eq!(read("/?name=q", URLENCODED, "name=").await, fields(Some(""), None));
    }

    #[tokio::test]
    async fn other_bodies_are_not_read() {
        for kind in ["application/json", "text/plain", ""] {
            assert_eq!(read("/?name=q", kind, "name=b").await, fields(Some("q"), None), "{kind}");
        }
    }

    #[tokio::test]
    async fn multipart() {
        let part = |name: &str, value: &str| {
            format!("--x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        };
        let whole = part("name", "a\r\nb") + &part("parameters", "{}") + &part("name", "second") + "--x--\r\n";
        let kind = "multipart/form-data; boundary=x";
        assert_eq!(read("/?name=q", kind, whole.clone()).await, fields(Some("a\r\nb"), Some("{}")));
        let broken = whole.trim_end().trim_end_matches("--").to_owned();
        assert_eq!(read("/", kind, broken).await, fields(None, None));
        assert_eq!(read("/", "multipart/form-data", whole).await, fields(None, None));
    }

    #[tokio::test]
    async fn a_large_body_is_refused_but_not_held() {
        let endless = stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[b'x'; 65536])));
        let body = Body::from_bytes_stream(endless);
        assert_eq!(read("/", URLENCODED, body).await, Err(Unreadable::TooLarge));
        let most = format!("name={}", "x".repeat(MAX as usize - 5));
        let pieces: Vec<_> =
            most.into_bytes().chunks(9999).map(|piece| Ok::<_, std::io::Error>(piece.to_vec())).collect();
        let read = read("/", URLENCODED, Body::from_bytes_stream(stream::iter(pieces))).await.unwrap();
        assert_eq!(read.name.unwrap().len(), MAX as usize - 5);
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_no_form() {
        let pieces = [Ok(Bytes::from_static(b"name=a")), Err(std::io::Error::other("gone"))];
        let body = Body::from_bytes_stream(stream::iter(pieces));
        assert_eq!(read("/", URLENCODED, body).await, Err(Unreadable::Incomplete));
    }
}
