//! Query strings and urlencoded forms, byte for byte.

use std::borrow::Cow;

use poem::{Request, RequestBody, Result};
use poem_openapi::registry::{MetaParamIn, MetaSchema, MetaSchemaRef};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};

use super::classic::ErrorCode;

/// The pairs of a query string or a form, decoded. A pair with a broken escape (`%zz`) is left out.
pub fn pairs(encoded: &[u8]) -> impl Iterator<Item = (Cow<'_, [u8]>, Cow<'_, [u8]>)> {
    encoded.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty()).filter_map(|pair| {
        let end = pair.iter().position(|&byte| byte == b'=').unwrap_or(pair.len());
        let value = pair.get(end + 1..).unwrap_or_default();
        Some((decode(&pair[..end])?, decode(value)?))
    })
}

/// The first value of `name`.
pub fn first<'a>(encoded: &'a [u8], name: &str) -> Option<Cow<'a, [u8]>> {
    pairs(encoded).find(|(key, _)| **key == *name.as_bytes()).map(|(_, value)| value)
}

fn decode(text: &[u8]) -> Option<Cow<'_, [u8]>> {
    if !text.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return Some(Cow::Borrowed(text));
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'+' => decoded.push(b' '),
            b'%' => {
                let (&[high, low], after) = rest.split_first_chunk()?;
                decoded.push(hex(high)? << 4 | hex(low)?);
                rest = after;
            }
            other => decoded.push(other),
        }
    }
    Some(Cow::Owned(decoded))
}

fn hex(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).map(|value| value as u8)
}

/// `id` in the query: decimal digits, with `-` before them at most. What is no such number is the classic error.
pub struct Id(pub Result<i64, ErrorCode>);

/// Reads an id as the original does: no sign `+`, no space, no `_`, and it fits 64 bits.
fn parse_id(value: Option<&[u8]>) -> Result<i64, ErrorCode> {
    let value = value.filter(|value| !value.is_empty()).ok_or(ErrorCode::MissingParams)?;
    let text = std::str::from_utf8(value).map_err(|_| ErrorCode::InvalidParams)?;
    if text.starts_with('+') {
        return Err(ErrorCode::InvalidParams);
    }
    text.parse().map_err(|_| ErrorCode::InvalidParams)
}

impl<'a> ApiExtractor<'a> for Id {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::Parameter];
    const PARAM_IS_REQUIRED: bool = true;
    type ParamType = ();
    type ParamRawType = ();

    fn param_in() -> Option<MetaParamIn> {
        Some(MetaParamIn::Query)
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
        let query = request.uri().query().unwrap_or_default().as_bytes();
        Ok(Self(parse_id(first(query, options.name).as_deref())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value<'a>(encoded: &'a str, name: &str) -> Option<Cow<'a, [u8]>> {
        first(encoded.as_bytes(), name)
    }

    #[test]
    fn values_are_decoded_byte_for_byte() {
        assert_eq!(value("a=1&b=x+y%26%3D%c3%A9%FF%00", "b").unwrap().as_ref(), b"x y&=\xc3\xa9\xff\0");
        assert_eq!(value("%61=1", "a").unwrap().as_ref(), b"1");
        assert_eq!(value("a=b=c;d", "a").unwrap().as_ref(), b"b=c;d");
    }

    #[test]
    fn the_first_of_several_wins() {
        assert_eq!(value("a=1&a=2", "a").unwrap().as_ref(), b"1");
        assert_eq!(value("&&a&a=2", "a").unwrap().as_ref(), b"");
    }

    #[test]
    fn broken_escapes_are_left_out() {
        for query in ["a=%zz", "a=%4", "a=%", "%zz=1", "A=1", ""] {
            assert_eq!(value(query, "a"), None, "{query}");
        }
    }

    #[test]
    fn ids() {
        let id = |query: &str| parse_id(value(query, "id").as_deref());
        assert_eq!(id("id=17"), Ok(17));
        assert_eq!(id("id=-1"), Ok(-1));
        for query in ["", "id=", "x=1", "id", "ID=1"] {
            assert_eq!(id(query), Err(ErrorCode::MissingParams), "{query}");
        }
        for wrong in ["abc", "1.0", "1e3", "0x1", "1_0", "+1", "%2B1", "%201", "1%20", "-", "1 OR 1=1", "%FF"] {
            assert_eq!(id(&format!("id={wrong}")), Err(ErrorCode::InvalidParams), "{wrong}");
        }
        assert_eq!(id("id=9223372036854775807"), Ok(i64::MAX));
        assert_eq!(id("id=9223372036854775808"), Err(ErrorCode::InvalidParams));
    }
}
