//! Files that are uploaded before the jobs that use them.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use poem::http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH};
use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaMediaType, MetaRequest, MetaSchema, MetaSchemaRef};
use poem_openapi::{ApiExtractor, ApiExtractorType, ApiResponse, ExtractParamOptions, Object, OpenApi};
use serde::Serialize;

use super::super::caller::Caller;
use super::super::classic::Compact;
use super::super::docs::Tag;
use super::super::{Api, body};
use super::failed::{Causes, Failed};
use super::intake::{Intake, forget, too_large};
use super::parameter::{Optional, Path};
use super::problem::{Code, Problem};
use super::timestamp::Timestamp;
use crate::domain::disposition;
use crate::domain::input::{Input, InputId};

/// The type of a file's body.
const KIND: &str = "application/octet-stream";

/// `POST /v1/inputs`, `GET` and `DELETE /v1/inputs/{id}`
pub struct Inputs {
    /// What they answer from.
    pub api: Arc<Api>,
}

/// What may go wrong with an upload.
struct OfUpload;

impl Causes for OfUpload {
    const CODES: &'static [Code] =
        &[Code::Incomplete, Code::TooLarge, Code::UnsupportedMediaType, Code::InvalidParameters, Code::Unavailable];
}

/// What may go wrong with one file.
struct OfOne;

impl Causes for OfOne {
    const CODES: &'static [Code] = &[Code::NotFound, Code::Unavailable];
}

/// What may go wrong with the end of one.
struct OfEnd;

impl Causes for OfEnd {
    const CODES: &'static [Code] = &[Code::NotFound, Code::Conflict, Code::Unavailable];
}

#[OpenApi]
impl Inputs {
    /// Upload an input file
    ///
    /// The body is the file; its id is the value of a parameter of the type `file`. It is removed with the last job that
    /// it is given to, and after a day if it is given to none.
    #[oai(path = "/v1/inputs", method = "post", operation_id = "uploadInput", tag = "Tag::Inputs")]
    async fn upload(
        &self,
        caller: Caller,
        /// What the file is called; the job finds it under this name. Left out: as `Content-Disposition` says.
        name: Optional<String>,
        body: FileBody,
    ) -> Result<UploadAnswer, Failed<OfUpload>> {
        let mut errors = Vec::new();
        let name = name.or_note(&mut errors);
        if !errors.is_empty() {
            return Err(Problem::invalid(errors).into());
        }
        let body = body.0?;
        let most = self.api.config.max_upload_bytes;
        if body.announced.is_some_and(|length| length > most) {
            body::skip(body.bytes, body.waits).await;
            return Err(too_large(most).into());
        }
        let mut intake = Intake::new(&self.api);
        let mut bytes = body.bytes;
        if let Err(problem) = intake.take(&name.or(body.name).unwrap_or_default(), &mut bytes).await {
            if problem.code() == Code::TooLarge {
                body::skip(bytes, false).await;
            }
            return Err(problem.into());
        }
        let ids = intake.keep(caller.user_id).await?;
        let inputs = self.api.store.inputs(ids).await.map_err(|error| Problem::failed(&error))?;
        let input = InputInfo::from(inputs.into_iter().next().ok_or_else(Problem::unavailable)?);
        let location = format!("/v1/inputs/{}", input.id);
        Ok(UploadAnswer::Uploaded(Compact(input), location))
    }

    /// Get an input file
    ///
    /// What is known of an uploaded file.
    #[oai(path = "/v1/inputs/:id", method = "get", operation_id = "getInput", tag = "Tag::Inputs")]
    async fn get(
        &self,
        caller: Caller,
        /// The file's id.
        id: Path,
    ) -> Result<InputAnswer, Failed<OfOne>> {
        Ok(InputAnswer::Input(Compact(self.find(&caller, id).await?.into())))
    }

    /// Delete an input file
    ///
    /// Removes an uploaded file that no job has.
    #[oai(path = "/v1/inputs/:id", method = "delete", operation_id = "deleteInput", tag = "Tag::Inputs")]
    async fn delete(
        &self,
        caller: Caller,
        /// The file's id.
        id: Path,
    ) -> Result<DeleteAnswer, Failed<OfEnd>> {
        let input = self.find(&caller, id).await?;
        let id = input.id;
        if !caller.changes(input.user_id) {
            return Err(Problem::not_yours(format_args!("input {id}")).into());
        }
        forget(&self.api, vec![id]).await;
        let left = self.api.store.inputs(vec![id]).await.map_err(|error| Problem::failed(&error))?;
        if left.is_empty() {
            return Ok(DeleteAnswer::Gone);
        }
        Err(Problem::new(Code::Conflict, format!("a job has the input {id}; it goes with the last one")).into())
    }
}

impl Inputs {
    async fn find(&self, caller: &Caller, id: Path) -> Result<Input, Problem> {
        let id = id.0.ok_or_else(|| Problem::no_input(None))?;
        let found = self.api.store.inputs(vec![id]).await.map_err(|error| Problem::failed(&error))?;
        let mut seen = found.into_iter().filter(|input| caller.sees(input.user_id));
        seen.next().ok_or_else(|| Problem::no_input(Some(id)))
    }
}

/// A file that is the body of a request, as it comes.
struct FileBody(Result<Incoming, Problem>);

struct Incoming {
    name: Option<String>,
    /// How many bytes the client says that there are.
    announced: Option<u64>,
    /// Whether the client waits to be asked for them.
    waits: bool,
    bytes: BoxStream<'static, std::io::Result<Bytes>>,
}

impl<'a> ApiExtractor<'a> for FileBody {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn request_meta() -> Option<MetaRequest> {
        let schema = MetaSchemaRef::Inline(Box::new(MetaSchema::new_with_format("string", "binary")));
        let content = vec![MetaMediaType { content_type: KIND, schema }];
        Some(MetaRequest { description: None, content, required: true })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        let kind = body::content_type(request);
        if kind != KIND {
            let found = if kind.is_empty() { "there is none".into() } else { format!("it is {kind:?}") };
            let detail = format!("the body's Content-Type must be {KIND}; {found}");
            return Ok(Self(Err(Problem::new(Code::UnsupportedMediaType, detail))));
        }
        let name = request.headers().get(CONTENT_DISPOSITION).and_then(|value| disposition::named(value.as_bytes()));
        let announced = request.header(CONTENT_LENGTH).and_then(|length| length.parse().ok());
        let bytes = match body.take() {
            Ok(body) => body.into_bytes_stream().boxed(),
            Err(_) => stream::empty().boxed(),
        };
        Ok(Self(Ok(Incoming { name, announced, waits: body::waits(request), bytes })))
    }
}

/// An uploaded file.
#[derive(Object, Serialize)]
#[oai(rename = "Input")]
struct InputInfo {
    /// Its number: the value of a parameter of the type `file`.
    id: InputId,
    /// What it is called.
    name: String,
    /// Its size in bytes.
    size: u64,
    /// Its SHA-256 in lower-case hexadecimal.
    sha256: String,
    /// When it was uploaded.
    created: Timestamp,
}

impl From<Input> for InputInfo {
    fn from(input: Input) -> Self {
        let Input { id, name, size, sha256, created_ms, .. } = input;
        Self { id, name, size, sha256, created: Timestamp::of(created_ms) }
    }
}

#[derive(ApiResponse)]
enum UploadAnswer {
    /// The file is stored.
    #[oai(status = 201)]
    Uploaded(
        Compact<InputInfo>,
        /// Where it is described.
        #[oai(header = "Location")]
        String,
    ),
}

#[derive(ApiResponse)]
enum InputAnswer {
    /// The file.
    #[oai(status = 200)]
    Input(Compact<InputInfo>),
}

#[derive(ApiResponse)]
enum DeleteAnswer {
    /// It is gone.
    #[oai(status = 204)]
    Gone,
}
