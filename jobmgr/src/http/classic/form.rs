//! The fields of a form, wherever a client puts them: an urlencoded body, a multipart body or the query string. The
//! body wins; a body of another type is not read.

use std::borrow::Cow;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use poem::http::header::{CONTENT_LENGTH, EXPECT};
use poem::web::Multipart;
use poem::{Body, FromRequest, Request, RequestBody};

use super::super::query;

/// The largest body in bytes.
const MAX: u64 = 4 << 20;
/// How much of a larger body is read and thrown away, so that a client that sends before it reads gets its answer.
const MAX_SKIPPED: u64 = 64 << 20;
/// For how long.
const MAX_SKIPPING: Duration = Duration::from_secs(10);

/// Why a body could not be read.
#[derive(Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// It is larger than 4 MiB.
    TooLarge,
    /// The client went away or stopped sending.
    Incomplete,
}

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
            let body = body.take().map_err(|_| Unreadable::Incomplete)?;
            let body = read_capped(request, body).await?;
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
    let kind = request.content_type().unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        Kind::Urlencoded
    } else if kind.eq_ignore_ascii_case("multipart/form-data") {
        Kind::Multipart
    } else {
        Kind::Other
    }
}

async fn read_capped(request: &Request, body: Body) -> Result<Bytes, Unreadable> {
    let announced = request.header(CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
    if announced.is_some_and(|length| length > MAX) && request.headers().contains_key(EXPECT) {
        // This client waits to be asked for its body; it is not.
        return Err(Unreadable::TooLarge);
    }
    let mut stream = std::pin::pin!(body.into_bytes_stream());
    let Some(first) = stream.next().await else { return Ok(Bytes::new()) };
    let first = first.map_err(|_| Unreadable::Incomplete)?;
    if announced == Some(first.len() as u64) {
        // Nearly every form arrives in one piece.
        return Ok(first);
    }
    let mut whole = BytesMut::from(first);
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(|_| Unreadable::Incomplete)?;
        if (whole.len() + piece.len()) as u64 > MAX {
            drop(whole);
            // Whether it ends or is given up, the answer is the same.
            let _ = tokio::time::timeout(MAX_SKIPPING, skip(stream)).await;
            return Err(Unreadable::TooLarge);
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}

async fn skip(mut stream: impl Stream<Item = std::io::Result<Bytes>> + Unpin) {
    let mut skipped = 0;
    while let Some(Ok(piece)) = stream.next().await {
        skipped += piece.len() as u64;
        if skipped > MAX_SKIPPED {
            return;
        }
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
