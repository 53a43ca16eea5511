//! A new job with its files, in one request: for `curl` and for pages.

use std::io;
use std::sync::Arc;

use futures_util::TryStreamExt;
use multer::{Field, Multipart};
use poem_openapi::OpenApi;
use poem_openapi::param::Path;
use poem_openapi::registry::{MetaSchema, MetaSchemaRef, Registry};
use poem_openapi::types::Type;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use super::super::super::Api;
use super::super::super::caller::Caller;
use super::super::super::docs::Tag;
use super::super::super::trace::Trace;
use super::super::failed::{Causes, Failed};
use super::super::intake::{Intake, forget};
use super::super::json::{Object, parse};
use super::super::multipart::{Form, Shown, broken, small};
use super::super::parameter::Optional;
use super::super::problem::{Code, FieldError, Problem};
use super::super::submission::{Checked, Draft, check, known, named, uploaded};
use super::super::values::Wait;
use super::request::{IdempotencyKey, hex};
use super::submit::{Created, MAX, SubmitJob, submit};
use crate::domain::input::InputId;
use crate::domain::jobspec::{About, ParameterType};
use crate::domain::parameters::Texts;
use crate::domain::submission::{Key, NewJob};

/// The part that holds the submission.
const JOB: &str = "job";

/// `POST /v1/jobs/upload`, `POST /v1/run/{jobspec}/upload`
pub struct Upload {
    /// What it answers from.
    pub api: Arc<Api>,
    /// Cancelled when no more is answered.
    pub closing: CancellationToken,
}

/// What may go wrong.
struct OfUpload;

impl Causes for OfUpload {
    const CODES: &'static [Code] = &[
        Code::InvalidJson,
        Code::InvalidMultipart,
        Code::UnknownJob,
        Code::Incomplete,
        Code::Conflict,
        Code::TooLarge,
        Code::UnsupportedMediaType,
        Code::InvalidParameters,
        Code::InvalidJobspec,
        Code::Unavailable,
    ];
}

#[OpenApi]
impl Upload {
    /// Submit a job with files
    ///
    /// One request for a job and its input files. The part `job` is the JSON of `POST /v1/jobs`; each further part is a
    /// file for the parameter of the same name. The parts may come in any order.
    #[oai(path = "/v1/jobs/upload", method = "post", operation_id = "submitJobWithFiles", tag = "Tag::Jobs")]
    async fn submit(
        &self,
        caller: Caller,
        trace: Trace,
        /// Waits until the job has ended, for so long at most (`30s`; 1 m is the most), and then answers.
        wait: Optional<Wait>,
        /// What the client calls this submission: 1 to 255 ASCII characters.
        #[oai(name = "Idempotency-Key")]
        idempotency: IdempotencyKey,
        body: Form<JobForm>,
    ) -> Result<Created, Failed<OfUpload>> {
        let mut errors = Vec::new();
        let wait = wait.or_note(&mut errors);
        let (parts, digest) = body.0?;
        let mut intake = Intake::new(&self.api);
        let Parts { object, names } = self.read(parts, &mut intake, &mut errors).await?;
        let digest = digest_with(digest, &object, &names, &intake);
        let key = idempotency.or_note(&mut errors, digest);
        let job = match Draft::read(object, "").job_with(&self.api, &caller, &names).await {
            Ok(job) if errors.is_empty() => NewJob { trace_parent: trace.parent(), ..job },
            Ok(_) => return Err(Problem::invalid(errors).into()),
            Err(problem) => return Err(problem.with(errors).into()),
        };
        Ok(self.with_files(&caller, job, names, intake, key, wait).await?)
    }

    /// Run a jobspec with files
    ///
    /// As `POST /v1/run/{jobspec}`, as a form: a part for each parameter, a file where that is of the type `file`, else a
    /// text. In the document of the page at `/docs` each jobspec with files has a form of its own here.
    #[oai(path = "/v1/run/:jobspec/upload", method = "post", operation_id = "runJobspecWithFiles", tag = "Tag::Jobs")]
    async fn run(
        &self,
        caller: Caller,
        trace: Trace,
        /// The name of the jobspec.
        jobspec: Path<String>,
        /// Waits until the job has ended, for so long at most (`30s`; 1 m is the most), and then answers.
        wait: Optional<Wait>,
        /// What the client calls this submission: 1 to 255 ASCII characters.
        #[oai(name = "Idempotency-Key")]
        idempotency: IdempotencyKey,
        body: Form<ParameterForm>,
    ) -> Result<Created, Failed<OfUpload>> {
        let mut errors = Vec::new();
        let wait = wait.or_note(&mut errors);
        let (parts, digest) = body.0?;
        let about = known(&self.api, &jobspec.0).await?;
        let mut intake = Intake::new(&self.api);
        let (mut values, names) = self.read_values(parts, &about, &mut intake, &mut errors).await?;
        let digest = digest_with(digest, &Object::within(values.clone(), String::new()), &names, &intake);
        let key = idempotency.or_note(&mut errors, digest);
        errors.extend(named(uploaded(&about, &mut values, &names), ""));
        let Checked { parameters, wrong, .. } =
            check(&self.api, &caller, &about, &values, Texts::Serve, &names).await?;
        errors.extend(named(wrong, ""));
        if !errors.is_empty() {
            return Err(Problem::invalid(errors).into());
        }
        let (priority, queue_timeout, user_id) = (about.priority, about.queue_timeout(), caller.user_id);
        let trace_parent = trace.parent();
        let job =
            NewJob { name: jobspec.0, parameters, priority, queue_timeout, user_id, trace_parent, ..NewJob::default() };
        Ok(self.with_files(&caller, job, names, intake, key, wait).await?)
    }
}

impl Upload {
    /// Queues a job that is given these files.
    async fn with_files(
        &self,
        caller: &Caller,
        mut job: NewJob,
        names: Vec<String>,
        intake: Intake,
        key: Option<Key>,
        wait: Option<Wait>,
    ) -> Result<Created, Problem> {
        let ids: Vec<InputId> = intake.keep(caller.user_id).await?;
        for (name, id) in names.into_iter().zip(&ids) {
            job.parameters.insert(name, id.to_string());
            job.inputs.push(*id);
        }
        let created = submit(&self.api, caller, job, key, wait, &self.closing).await;
        if !matches!(created, Ok(Created::New(..))) {
            forget(&self.api, ids).await;
        }
        created
    }
}

/// What came in a form, beside the files themselves.
struct Parts {
    object: Object,
    /// The parameters that the files are for, in their order.
    names: Vec<String>,
}

impl Upload {
    /// Reads all parts: files go to the store.
    async fn read(
        &self,
        mut parts: Multipart<'static>,
        intake: &mut Intake,
        errors: &mut Vec<FieldError>,
    ) -> Result<Parts, Problem> {
        let (mut job, mut names) = (None, Vec::new());
        while let Some(part) = parts.next_field().await.map_err(|error| broken(&error))? {
            let name = part.name().unwrap_or_default().to_owned();
            let field = if name.is_empty() { "parts without a name".to_owned() } else { name.clone() };
            let mut wrong = |message: &str| errors.push(FieldError { field: field.clone(), message: message.into() });
            if name.is_empty() {
                wrong("the name of a part is that of a parameter, or 'job'");
            } else if (name == JOB && job.is_some()) || names.contains(&name) {
                wrong("is there twice; give it once");
            } else if name == JOB {
                job = Some(small(part, usize::try_from(MAX).unwrap_or(usize::MAX)).await?);
            } else {
                let most = self.api.config.max_inputs;
                if names.len() == most {
                    return Err(Problem::new(Code::TooLarge, format!("a job may be given {most} files at most")));
                }
                take(part, intake).await?;
                names.push(name);
            }
        }
        let Some(job) = job else {
            errors.push(FieldError { field: JOB.into(), message: "is required: the submission as JSON".into() });
            return Err(Problem::invalid(std::mem::take(errors)));
        };
        Ok(Parts { object: parse(&job)?, names })
    }

    /// Reads a part for each parameter: files go to the store, the others are texts.
    async fn read_values(
        &self,
        mut parts: Multipart<'static>,
        about: &About,
        intake: &mut Intake,
        errors: &mut Vec<FieldError>,
    ) -> Result<(Map<String, Value>, Vec<String>), Problem> {
        let declared = about.declared();
        let is_file = |name: &str| declared.iter().any(|one| one.name == name && one.kind == ParameterType::File);
        let (mut values, mut names, mut left) = (Map::new(), Vec::new(), usize::try_from(MAX).unwrap_or(usize::MAX));
        while let Some(part) = parts.next_field().await.map_err(|error| broken(&error))? {
            let name = part.name().unwrap_or_default().to_owned();
            let mut wrong = |message: &str| errors.push(FieldError { field: name.clone(), message: message.into() });
            if names.contains(&name) || values.contains_key(&name) {
                wrong("is there twice; give it once");
            } else if is_file(&name) {
                take(part, intake).await?;
                names.push(name);
            } else {
                let text = small(part, left).await?;
                left -= text.len();
                match String::from_utf8(text) {
                    Ok(text) => drop(values.insert(name, text.into())),
                    Err(_) => wrong("must be a text in UTF-8"),
                }
            }
        }
        Ok((values, names))
    }
}

async fn take(part: Field<'static>, intake: &mut Intake) -> Result<(), Problem> {
    let name = part.file_name().unwrap_or_default().to_owned();
    intake.take(&name, Box::pin(part.map_err(io::Error::other))).await
}

/// The same for the same submission with the same files, in whatever order they come.
fn digest_with(mut digest: Sha256, object: &Object, names: &[String], intake: &Intake) -> String {
    digest.update(object.to_string());
    let mut files: Vec<_> = names.iter().zip(intake.files()).collect();
    files.sort_by_key(|(name, _)| *name);
    for (name, file) in files {
        digest.update(format!("\0{name}\0{}\0{}", file.name, file.uploaded.sha256));
    }
    hex(digest)
}

/// What the OpenAPI document shows.
struct JobForm;

/// The same for a jobspec's own form.
struct ParameterForm;

impl Shown for ParameterForm {
    fn schema() -> MetaSchemaRef {
        let value = MetaSchemaRef::Inline(Box::new(MetaSchema::new("string")));
        let form = MetaSchema { additional_properties: Some(Box::new(value)), ..MetaSchema::new("object") };
        MetaSchemaRef::Inline(Box::new(form))
    }

    fn register(_registry: &mut Registry) {}
}

impl Shown for JobForm {
    fn schema() -> MetaSchemaRef {
        let file = MetaSchemaRef::Inline(Box::new(MetaSchema::new_with_format("string", "binary")));
        let form = MetaSchema {
            properties: vec![(JOB, SubmitJob::schema_ref())],
            required: vec![JOB],
            additional_properties: Some(Box::new(file)),
            ..MetaSchema::new("object")
        };
        MetaSchemaRef::Inline(Box::new(form))
    }

    fn register(registry: &mut Registry) {
        SubmitJob::register(registry);
    }
}
