//! What is in a path or a query. What can't be read is kept as such, so that one answer names all of it.

use poem::{Request, RequestBody, Result};
use poem_openapi::registry::{MetaParamIn, MetaSchema, MetaSchemaRef};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};

use super::super::query;
use super::problem::FieldError;
use super::values::number;
use crate::domain::job::JobId;

/// A job's id in the path; `None`: no job has such an id. poem-openapi takes what has this name for a part of the path.
pub struct Path(pub Option<JobId>);

impl<'a> ApiExtractor<'a> for Path {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::Parameter];
    const PARAM_IS_REQUIRED: bool = true;
    type ParamType = ();
    type ParamRawType = ();

    fn param_in() -> Option<MetaParamIn> {
        Some(MetaParamIn::Path)
    }

    fn param_schema_ref() -> Option<MetaSchemaRef> {
        let schema = MetaSchema { example: Some(17.into()), ..MetaSchema::new_with_format("integer", "int64") };
        Some(MetaSchemaRef::Inline(Box::new(schema)))
    }

    async fn from_request(
        request: &'a Request,
        _body: &mut RequestBody,
        options: ExtractParamOptions<()>,
    ) -> Result<Self> {
        Ok(Self(request.raw_path_param(options.name).and_then(number)))
    }
}

/// What a parameter in the query may be.
pub trait FromQuery: Sized {
    /// What would be right, in words.
    const RIGHT: &'static str;

    /// The same for the OpenAPI document.
    fn schema() -> MetaSchema;

    /// Reads it.
    fn read(text: &str) -> Option<Self>;
}

/// A parameter in the query that may be left out; given twice, the first one counts.
pub struct Optional<T>(Result<Option<T>, FieldError>);

impl<T> Optional<T> {
    /// The value; what is wrong with it goes to `errors`.
    pub fn or_note(self, errors: &mut Vec<FieldError>) -> Option<T> {
        self.0.unwrap_or_else(|error| {
            errors.push(error);
            None
        })
    }
}

impl<'a, T: FromQuery> ApiExtractor<'a> for Optional<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::Parameter];
    type ParamType = ();
    type ParamRawType = ();

    fn param_in() -> Option<MetaParamIn> {
        Some(MetaParamIn::Query)
    }

    fn param_schema_ref() -> Option<MetaSchemaRef> {
        Some(MetaSchemaRef::Inline(Box::new(T::schema())))
    }

    async fn from_request(
        request: &'a Request,
        _body: &mut RequestBody,
        options: ExtractParamOptions<()>,
    ) -> Result<Self> {
        let encoded = request.uri().query().unwrap_or_default().as_bytes();
        let Some(value) = query::first(encoded, options.name) else { return Ok(Self(Ok(None))) };
        Ok(Self(read(std::str::from_utf8(&value).ok(), options.name)))
    }
}

/// What the text of a value says; `None`: it is no text.
fn read<T: FromQuery>(text: Option<&str>, name: &str) -> Result<Option<T>, FieldError> {
    let error = || FieldError { field: name.into(), message: T::RIGHT.into() };
    text.and_then(T::read).map(Some).ok_or_else(error)
}

/// A header that may be left out.
pub struct Header<T>(Result<Option<T>, FieldError>);

impl<T> Header<T> {
    /// The value; what is wrong with it goes to `errors`.
    pub fn or_note(self, errors: &mut Vec<FieldError>) -> Option<T> {
        Optional(self.0).or_note(errors)
    }
}

impl<'a, T: FromQuery> ApiExtractor<'a> for Header<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::Parameter];
    type ParamType = ();
    type ParamRawType = ();

    fn param_in() -> Option<MetaParamIn> {
        Some(MetaParamIn::Header)
    }

    fn param_schema_ref() -> Option<MetaSchemaRef> {
        Some(MetaSchemaRef::Inline(Box::new(T::schema())))
    }

    async fn from_request(
        request: &'a Request,
        _body: &mut RequestBody,
        options: ExtractParamOptions<()>,
    ) -> Result<Self> {
        let Some(value) = request.headers().get(options.name) else { return Ok(Self(Ok(None))) };
        Ok(Self(read(value.to_str().ok(), options.name)))
    }
}
