//! Bodies that are forms with files.

use std::marker::PhantomData;

use multer::{Error, Field, Multipart};
use poem::{Request, RequestBody, Result};
use poem_openapi::registry::{MetaMediaType, MetaRequest, MetaSchemaRef, Registry};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use sha2::Sha256;

use super::super::body;
use super::problem::{Code, Problem};

/// The type of such a body.
const KIND: &str = "multipart/form-data";

/// What the document shows as the body.
pub trait Shown: Send + Sync + 'static {
    /// The schema of the form.
    fn schema() -> MetaSchemaRef;

    /// Registers what the schema refers to.
    fn register(registry: &mut Registry);
}

/// A form as it comes, and the digest of the request before its body.
pub struct Form<T>(pub Result<(Multipart<'static>, Sha256), Problem>, PhantomData<T>);

impl<'a, T: Shown> ApiExtractor<'a> for Form<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        let content = vec![MetaMediaType { content_type: KIND, schema: T::schema() }];
        Some(MetaRequest { description: None, content, required: true })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        let form = begin(request, body).map(|parts| (parts, super::jobs::digest_of(request)));
        Ok(Self(form, PhantomData))
    }
}

fn begin(request: &Request, body: &mut RequestBody) -> Result<Multipart<'static>, Problem> {
    let kind = body::content_type(request);
    if kind != KIND {
        let found = if kind.is_empty() { "there is none".into() } else { format!("it is {kind:?}") };
        let detail = format!("the body's Content-Type must be {KIND}; {found}");
        return Err(Problem::new(Code::UnsupportedMediaType, detail));
    }
    let boundary =
        multer::parse_boundary(request.content_type().unwrap_or_default()).map_err(|error| broken(&error))?;
    let body = body.take().map_err(|_| broken(&Error::IncompleteStream))?;
    Ok(Multipart::new(body.into_bytes_stream(), boundary))
}

/// A part that is short.
///
/// # Errors
/// `too_large`, `incomplete`, `invalid_multipart`.
pub async fn small(mut part: Field<'static>, most: usize) -> Result<Vec<u8>, Problem> {
    let mut whole = Vec::new();
    while let Some(piece) = part.chunk().await.map_err(|error| broken(&error))? {
        if whole.len() + piece.len() > most {
            let name = part.name().unwrap_or_default().escape_debug().to_string();
            return Err(Problem::new(Code::TooLarge, format!("the part '{name}' may have {most} bytes at most")));
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole)
}

/// What is wrong with a form.
pub fn broken(error: &Error) -> Problem {
    match error {
        Error::IncompleteFieldData { .. }
        | Error::IncompleteHeaders
        | Error::IncompleteStream
        | Error::StreamReadFailed(_) => Problem::new(Code::Incomplete, "the body did not arrive as a whole"),
        error => Problem::new(Code::InvalidMultipart, format!("the body is no {KIND}: {error}")),
    }
}
