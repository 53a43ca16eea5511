//! Spans are recorded, and sent by OTLP over HTTP.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use opentelemetry::trace::{
    Span, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId, TraceState, Tracer,
    TracerProvider,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tokio::runtime::Handle;

use crate::config::Telemetry;
use crate::domain::job::Claim;
use crate::domain::trace::TraceParent;

/// How long the collector may take for a batch.
const PATIENCE: Duration = Duration::from_secs(10);

/// What spans are made with, once there is somebody to send them to.
static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// Sends what is recorded, until it is ended.
pub struct Sender(Option<SdkTracerProvider>);

impl Sender {
    /// Sends the rest.
    pub fn end(self) {
        if let Some(provider) = self.0
            && let Err(error) = provider.shutdown()
        {
            tracing::warn!(%error, "[Telemetry] the last spans were not sent");
        }
    }
}

/// Begins to record where there is somebody to send it to.
///
/// # Errors
/// When spans can't be sent; `Telemetry` was checked before.
pub fn start(config: &Telemetry) -> Result<Sender, String> {
    let Some(server) = &config.otlp else { return Ok(Sender(None)) };
    let wrong = |error: &dyn std::fmt::Display| format!("[Telemetry] OTLP: {error}");
    // The second one that does so in a process is told that it was done.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().timeout(PATIENCE).redirect(reqwest::redirect::Policy::none()).build();
    let client = Client { client: client.map_err(|error| wrong(&error))?, runtime: Handle::current() };
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_protocol(Protocol::HttpBinary)
        .with_timeout(PATIENCE)
        .with_endpoint(format!("{}/v1/traces", server.trim_end_matches('/')))
        .build()
        .map_err(|error| wrong(&error))?;
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let about = Resource::builder().with_service_name("jobmgr").with_attribute(version).build();
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(about).build();
    // Only the first one of a process; there is one.
    let _ = TRACER.set(provider.tracer("jobmgr"));
    Ok(Sender(Some(provider)))
}

/// The sender's thread has no runtime of its own, which the client needs.
#[derive(Debug)]
struct Client {
    client: reqwest::Client,
    runtime: Handle,
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        let request = reqwest::Request::try_from(request)?;
        let sent = self.runtime.spawn(async move {
            let answer = client.execute(request).await?;
            let mut response = Response::builder().status(answer.status());
            if let Some(headers) = response.headers_mut() {
                headers.extend(answer.headers().clone());
            }
            // What a collector says of what it did not take is short.
            Ok::<_, HttpError>(response.body(answer.bytes().await?)?)
        });
        sent.await?
    }
}

/// Where something is that belongs to `parent`, or to nothing.
fn within(parent: Option<TraceParent>) -> Context {
    let Some(TraceParent { trace, span, flags }) = parent else { return Context::new() };
    let (trace, span) = (TraceId::from_bytes(trace.to_be_bytes()), SpanId::from_bytes(span.to_be_bytes()));
    let place = SpanContext::new(trace, span, TraceFlags::new(flags & 1), true, TraceState::default());
    Context::new().with_remote_span_context(place)
}

/// Where a span is.
fn place(span: &impl Span) -> Option<TraceParent> {
    let place = span.span_context();
    let (trace, span) = (place.trace_id().to_bytes(), place.span_id().to_bytes());
    let (trace, span) = (u128::from_be_bytes(trace), u64::from_be_bytes(span));
    place.is_valid().then(|| TraceParent { trace, span, flags: place.trace_flags().to_u8() & 1 })
}

type Recorded = <SdkTracer as Tracer>::Span;

/// A submission, until it is dropped.
pub struct Submission {
    parent: Option<TraceParent>,
    /// Ends when it is dropped.
    _span: Option<Recorded>,
}

/// A submission began that belongs to this trace, or to one of its own.
pub fn submission(parent: Option<TraceParent>) -> Submission {
    let Some(tracer) = TRACER.get() else { return Submission { parent, _span: None } };
    let builder = SpanBuilder::from_name("submit").with_kind(SpanKind::Producer);
    let span = tracer.build_with_context(builder, &within(parent));
    Submission { parent: place(&span).or(parent), _span: Some(span) }
}

impl Submission {
    /// What the job belongs to.
    pub fn parent(&self) -> Option<TraceParent> {
        self.parent
    }
}

/// An attempt, until it is ended.
pub struct Attempt {
    parent: Option<TraceParent>,
    span: Option<Recorded>,
}

/// An attempt begins, of a job that waited for so long; `None`: it was taken over, and began elsewhere.
pub fn attempt(claim: &Claim, waited: Option<Duration>) -> Attempt {
    let mut parent = claim.trace_parent.as_deref().and_then(TraceParent::parse);
    let Some(tracer) = TRACER.get() else { return Attempt { parent, span: None } };
    let about = [
        KeyValue::new("jobmgr.job.id", claim.id),
        KeyValue::new("jobmgr.job.name", claim.name.clone()),
        KeyValue::new("jobmgr.attempt", claim.attempt),
        KeyValue::new("jobmgr.worker", claim.worker.clone()),
    ];
    if let Some(since) = waited.and_then(|waited| SystemTime::now().checked_sub(waited)) {
        let builder = SpanBuilder::from_name("wait").with_start_time(since).with_attributes(about.clone());
        let mut wait = tracer.build_with_context(builder, &within(parent));
        // A job without a trace gets one here.
        parent = parent.or_else(|| place(&wait));
        wait.end();
    }
    let builder = SpanBuilder::from_name("attempt").with_kind(SpanKind::Consumer).with_attributes(about);
    let span = tracer.build_with_context(builder, &within(parent));
    Attempt { parent: place(&span).or(parent), span: Some(span) }
}

impl Attempt {
    /// What the job's own spans belong to.
    pub fn parent(&self) -> Option<TraceParent> {
        self.parent
    }

    /// The attempt ended: how, in a word.
    pub fn end(self, ending: &'static str) {
        let Some(mut span) = self.span else { return };
        span.set_attribute(KeyValue::new("jobmgr.ending", ending));
        if !matches!(ending, "completed" | "detached") {
            span.set_status(Status::error(ending));
        }
        span.end();
    }
}
