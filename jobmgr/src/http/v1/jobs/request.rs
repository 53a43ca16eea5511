//! What submissions come in.

use std::marker::PhantomData;

use poem::{Request, RequestBody, Result};
use poem_openapi::payload::Payload;
use poem_openapi::registry::{MetaMediaType, MetaParamIn, MetaRequest, MetaSchema, MetaSchemaRef, Registry};
use poem_openapi::types::Type;
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use sha2::{Digest, Sha256};

use super::super::super::classic::Compact;
use super::super::super::query;
use super::super::json::{self, Object};
use super::super::problem::{FieldError, Problem};
use crate::domain::submission::{Key, LONGEST_KEY};

/// A body that must be a JSON object of at most `MAX` bytes, and the SHA-256 of its path and its values; the document
/// shows it as a `T`.
pub struct JsonBody<T, const MAX: u64>(pub Result<(Object, String), Problem>, PhantomData<T>);

impl<'a, T: Type, const MAX: u64> ApiExtractor<'a> for JsonBody<T, MAX> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        let schema: MetaSchemaRef = T::schema_ref();
        let content = vec![MetaMediaType { content_type: <Compact<T> as Payload>::CONTENT_TYPE, schema }];
        Some(MetaRequest { description: None, content, required: true })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> Result<Self> {
        let read = json::object(request, body, MAX).await;
        Ok(Self(
            read.map(|object| (digest(request, &object), object)).map(|(digest, object)| (object, digest)),
            PhantomData,
        ))
    }
}

/// The same for the same request, however its JSON is written and however long it waits.
fn digest(request: &Request, object: &Object) -> String {
    let mut hash = digest_of(request);
    hash.update(object.to_string());
    hex(hash)
}

/// Of what is in a request before its body, but for how long it waits.
pub fn digest_of(request: &Request) -> Sha256 {
    let mut hash = Sha256::new_with_prefix(request.uri().path());
    for (name, value) in query::pairs(request.uri().query().unwrap_or_default().as_bytes()) {
        if *name != *b"wait" {
            hash.update([b"?".as_slice(), &name, b"=", &value].concat());
        }
    }
    hash
}

/// In lower-case hexadecimal.
pub fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The header `Idempotency-Key`, which may be left out.
pub struct IdempotencyKey(Option<Vec<u8>>);

impl IdempotencyKey {
    /// The key for a request with this digest; what is wrong with it goes to `errors`.
    pub fn or_note(self, errors: &mut Vec<FieldError>, digest: String) -> Option<Key> {
        let key = Key::new(&self.0?, digest);
        key.map_err(|message| errors.push(FieldError { field: "Idempotency-Key".into(), message })).ok()
    }
}

impl<'a> ApiExtractor<'a> for IdempotencyKey {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::Parameter];
    type ParamType = ();
    type ParamRawType = ();

    fn param_in() -> Option<MetaParamIn> {
        Some(MetaParamIn::Header)
    }

    fn param_schema_ref() -> Option<MetaSchemaRef> {
        let text = MetaSchema::new_with_format("string", "ascii");
        let text = MetaSchema { min_length: Some(1), max_length: Some(LONGEST_KEY), ..text };
        Some(MetaSchemaRef::Inline(Box::new(text)))
    }

    async fn from_request(
        request: &'a Request,
        _body: &mut RequestBody,
        options: ExtractParamOptions<()>,
    ) -> Result<Self> {
        Ok(Self(request.headers().get(options.name).map(|value| value.as_bytes().to_vec())))
    }
}
