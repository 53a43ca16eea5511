//! Bodies that are JSON: read up to a limit, strictly, with every mistake told at once.

use std::cell::RefCell;
use std::fmt;
use std::ops::RangeInclusive;

use poem::{Request, RequestBody};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::super::body::{self, Unreadable};
use super::problem::{Code, FieldError, Problem};
use crate::domain::parameters::unknown;

/// A body that must be a JSON object.
pub async fn object(request: &Request, body: &mut RequestBody, max: u64) -> Result<Object, Problem> {
    let kind = body::content_type(request);
    if kind != "application/json" {
        let found = if kind.is_empty() { "there is none".into() } else { format!("it is {kind:?}") };
        let detail = format!("the body's Content-Type must be application/json; {found}");
        return Err(Problem::new(Code::UnsupportedMediaType, detail));
    }
    let bytes = body::read(request, body, max).await.map_err(|why| match why {
        Unreadable::TooLarge => Problem::new(Code::TooLarge, format!("the body may have {max} bytes at most")),
        Unreadable::Incomplete => Problem::new(Code::Incomplete, "the body did not arrive as a whole"),
    })?;
    parse(&bytes)
}

/// A text that must be a JSON object.
///
/// # Errors
/// `invalid_json`
pub fn parse(bytes: &[u8]) -> Result<Object, Problem> {
    let twice = RefCell::new(Vec::new());
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let read = Strict { twice: &twice, path: String::new() }.deserialize(&mut reader);
    let value = read.and_then(|value| reader.end().map(|()| value));
    let value = value.map_err(|error| Problem::new(Code::InvalidJson, format!("the body is no JSON: {error}")))?;
    let message = || "is there twice; give it once".to_owned();
    let errors = twice.into_inner().into_iter().map(|field| FieldError { field, message: message() }).collect();
    match value {
        Value::Object(fields) => Ok(Object { fields, prefix: String::new(), known: Vec::new(), errors }),
        _ => Err(Problem::new(Code::InvalidJson, "the body must be a JSON object")),
    }
}

/// Where in the body something is.
fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") }
}

/// An object, of which one field after the other is taken.
pub struct Object {
    fields: Map<String, Value>,
    prefix: String,
    known: Vec<&'static str>,
    errors: Vec<FieldError>,
}

impl Object {
    /// An object within another one, where `prefix` says.
    pub fn within(fields: Map<String, Value>, prefix: String) -> Self {
        Self { fields, prefix, known: Vec::new(), errors: Vec::new() }
    }

    /// A field as it is; null is as good as not there.
    pub fn take(&mut self, name: &'static str) -> Option<Value> {
        self.known.push(name);
        self.fields.remove(name).filter(|value| !value.is_null())
    }

    /// A text.
    pub fn text(&mut self, name: &'static str) -> Option<String> {
        match self.take(name)? {
            Value::String(text) => Some(text),
            _ => self.wrong(name, "must be a text"),
        }
    }

    /// A whole number within `range`.
    pub fn integer(&mut self, name: &'static str, range: RangeInclusive<i64>) -> Option<i64> {
        let value = self.take(name)?;
        let number = value.as_i64().filter(|number| range.contains(number));
        let right = || format!("must be a whole number from {} to {}", range.start(), range.end());
        if number.is_none() { self.wrong(name, right()) } else { number }
    }

    /// An object with fields of any names.
    pub fn map(&mut self, name: &'static str) -> Option<Map<String, Value>> {
        match self.take(name)? {
            Value::Object(map) => Some(map),
            _ => self.wrong(name, "must be an object"),
        }
    }

    /// Notes what is wrong with a field; gives nothing.
    pub fn wrong<T>(&mut self, name: &str, message: impl Into<String>) -> Option<T> {
        let field = join(&self.prefix, name);
        // A field that is there twice, too, is told of once.
        if self.errors.iter().all(|error| error.field != field) {
            self.errors.push(FieldError { field, message: message.into() });
        }
        None
    }

    /// All that is wrong, what nobody knows included.
    pub fn errors(mut self) -> Vec<FieldError> {
        let fields = std::mem::take(&mut self.fields);
        let known = std::mem::take(&mut self.known);
        for name in fields.keys() {
            self.wrong::<()>(name, unknown(name, known.iter().copied()));
        }
        self.errors
    }

    /// Every field, for an object whose fields have any names.
    pub fn into_fields(self) -> (Map<String, Value>, Vec<FieldError>) {
        (self.fields, self.errors)
    }
}

impl fmt::Display for Object {
    /// The fields as JSON, in the order of their names.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = Value::Object(self.fields.clone());
        fields.sort_all_objects();
        fields.fmt(f)
    }
}

/// Reads any JSON, and notes the names that an object has twice; their first value stays.
struct Strict<'a> {
    twice: &'a RefCell<Vec<String>>,
    path: String,
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Value, E> {
        Ok(flag.into())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        Number::from_f64(number).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        let inner = |index: usize| Strict { twice: self.twice, path: format!("{}[{index}]", self.path) };
        while let Some(value) = list.next_element_seed(inner(values.len()))? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            let path = join(&self.path, &name);
            let value = map.next_value_seed(Strict { twice: self.twice, path: path.clone() })?;
            if fields.contains_key(&name) {
                self.twice.borrow_mut().push(path);
            } else {
                fields.insert(name, value);
            }
        }
        Ok(Value::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(body: &str) -> Problem {
        parse(body.as_bytes()).err().unwrap()
    }

    #[test]
    fn names_are_there_once() {
        let object = parse(br#"{"a": {"b": 1, "b": 2, "c": [{"d": 1, "d": 1}]}, "a": 3}"#).unwrap();
        let (fields, errors) = object.into_fields();
        assert_eq!(fields["a"]["b"], 1);
        let fields: Vec<&str> = errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(fields, ["a.b", "a.c[0].d", "a"]);
    }

    #[test]
    fn what_is_no_json_is_told_with_its_place() {
        for body in ["", "{", "{\"a\":NaN}", "{\"a\":1e400}", "{} {}", "\u{feff}{}", "{\"a\":\"\\ud800\"}", "{'a':1}"] {
            let problem = refused(body);
            assert_eq!(problem.code(), Code::InvalidJson, "{body}");
        }
        for body in ["[]", "1", "null", "\"a\""] {
            assert_eq!(refused(body).code(), Code::InvalidJson, "{body}");
        }
        let deep = "{\"a\":".repeat(100_000);
        assert_eq!(refused(&deep).code(), Code::InvalidJson);
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let mut object = parse(br#"{"text": 1, "number": 1.5, "low": 0, "map": [], "txet": 2, "none": null}"#).unwrap();
        assert_eq!(object.text("text"), None);
        assert_eq!(object.integer("number", 1..=5), None);
        assert_eq!(object.integer("low", 1..=5), None);
        assert!(object.map("map").is_none() && object.take("none").is_none());
        let told: Vec<String> =
            object.errors().into_iter().map(|error| format!("{} {}", error.field, error.message)).collect();
        assert_eq!(
            told,
            [
                "text must be a text",
                "number must be a whole number from 1 to 5",
                "low must be a whole number from 1 to 5",
                "map must be an object",
                "txet is not known; do you mean 'text'?",
            ]
        );
    }
}
