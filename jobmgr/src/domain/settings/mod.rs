//! TOML text to a typed value, with the place and the remedy of every mistake.
//!
//! The shape of a type is its JSON Schema (schemars). Keys are matched against it without regard to case, as the
//! original does; a key that it does not have is refused. Tables that the schema leaves open keep their keys.

use std::collections::BTreeMap;
use std::ops::Range;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde::de::DeserializeOwned;
use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

mod keys;
mod mistake;
mod places;
mod shape;
#[cfg(test)]
mod tests;

pub use mistake::{Mistake, Place, in_our_words};
pub use places::Places;
pub use shape::{Kind, nearest, unknown};

/// Reads `text` as a `T`.
///
/// # Errors
/// The first mistake of the text.
pub fn parse<T: DeserializeOwned + JsonSchema>(text: &str) -> Result<T, Mistake> {
    Document::read::<T>(text)?.value()
}

/// The JSON Schema of `T` for editors: draft 7, which all of them know.
pub fn schema<T: JsonSchema>() -> Value {
    SchemaSettings::draft07().for_deserialize().into_generator().into_root_schema_for::<T>().to_value()
}

/// A text whose keys are known to be right; its values are not looked at yet.
#[derive(Debug, Clone)]
pub struct Document<'t> {
    text: &'t str,
    shape: Schema,
    root: Spanned<DeTable<'t>>,
    /// Where the value of each path (`Server.Listen`, `Parameter.0.Name`) stands. A span past the end of the text
    /// is an index into `outside`.
    spans: BTreeMap<String, Range<usize>>,
    outside: Vec<String>,
}

impl<'t> Document<'t> {
    /// Reads the syntax and the keys of `text`, which are to become a `T`.
    ///
    /// # Errors
    /// The first mistake of syntax, or the first key that is wrong.
    pub fn read<T: JsonSchema>(text: &'t str) -> Result<Self, Mistake> {
        let settings = SchemaSettings::draft07().for_deserialize().with(|settings| settings.inline_subschemas = true);
        let shape = settings.into_generator().into_root_schema_for::<T>();
        let root = DeTable::parse(text).map_err(|error| Mistake {
            place: Place::of(text, error.span().map_or(0, |span| span.start)),
            text: mistake::one_line(error.message()),
        })?;
        let mut document = Self { text, shape, root, spans: BTreeMap::new(), outside: Vec::new() };
        keys::Walk { text, root: document.shape.as_value(), spans: &mut document.spans }.table(
            document.root.get_mut(),
            document.shape.as_value(),
            "",
        )?;
        Ok(document)
    }

    /// What the schema says about the value at `path`, whose parts are matched without regard to case: the path as
    /// it should be written, and the kind of its value.
    ///
    /// # Errors
    /// A text that names the nearest path there is.
    pub fn resolve(&self, path: &[&str]) -> Result<(Vec<String>, Kind), String> {
        shape::resolve(self.shape.as_value(), path)
    }

    /// Sets the value at a [resolved](Self::resolve) path, over what the text says. `origin` says where it is from.
    ///
    /// # Errors
    /// When it is of the wrong kind, or `origin` sets again what another origin has set.
    pub fn set(&mut self, path: &[String], kind: Kind, value: &'t str, origin: &str) -> Result<(), Mistake> {
        let wrong = |text: String| Mistake { place: Place::Outside(origin.to_owned()), text };
        let at = self.text.len() + 1 + self.outside.len();
        let value = kind.value(value, at).map_err(wrong)?;
        let dotted = path.join(".");
        if let Some(Place::Outside(other)) = self.spans.get(&dotted).map(|span| self.place(span.start)) {
            return Err(wrong(format!("{other} sets the same; unset one of them")));
        }
        self.outside.push(origin.to_owned());
        let Some((key, tables)) = path.split_last() else { return Ok(()) };
        let mut table = self.root.get_mut();
        for (depth, name) in tables.iter().enumerate() {
            self.spans.entry(path[..=depth].join(".")).or_insert(at..at);
            let empty = || Spanned::new(at..at, DeValue::Table(DeTable::new()));
            let next = table.entry(Spanned::new(at..at, name.clone().into())).or_insert_with(empty).get_mut();
            // A value that is no table was refused when the text was read.
            let DeValue::Table(next) = next else { return Ok(()) };
            table = next;
        }
        self.spans.insert(dotted, at..at);
        table.insert(Spanned::new(at..at, key.clone().into()), Spanned::new(at..at, value));
        Ok(())
    }

    /// The values as a `T`, which must be the type that the document was read for.
    ///
    /// # Errors
    /// The first value that is wrong, with its key.
    pub fn value<T: DeserializeOwned>(&self) -> Result<T, Mistake> {
        T::deserialize(toml::Deserializer::from(self.root.clone())).map_err(|error| self.wrong_value(&error))
    }

    /// A mistake in the value at `path` (`Server.Listen`), or in the nearest table around it.
    pub fn mistake(&self, path: &str, text: impl Into<String>) -> Mistake {
        let mut path = path;
        loop {
            if let Some(span) = self.spans.get(path) {
                return Mistake { place: self.place(span.start), text: text.into() };
            }
            let Some((around, _)) = path.rsplit_once('.') else {
                return Mistake { place: Place::Whole, text: text.into() };
            };
            path = around;
        }
    }

    /// Where the values of the table at `path` stand.
    pub fn places(&self, path: &str) -> Places {
        let within =
            |at: &str| Some(at.strip_prefix(path)?.to_owned()).filter(|rest| rest.is_empty() || rest.starts_with('.'));
        let places = self
            .spans
            .iter()
            .filter_map(|(at, span)| Some((within(at)?.trim_start_matches('.').to_owned(), self.place(span.start))));
        Places(places.collect())
    }

    fn place(&self, offset: usize) -> Place {
        match offset.checked_sub(self.text.len() + 1).and_then(|index| self.outside.get(index)) {
            Some(origin) => Place::Outside(origin.clone()),
            None => Place::of(self.text, offset),
        }
    }

    /// Serde's error in our words, at the innermost value that it is about.
    fn wrong_value(&self, error: &toml::de::Error) -> Mistake {
        let missing = error.message().starts_with("missing field");
        let innermost = error.span().and_then(|at| {
            let around = self.spans.iter().filter(|(_, span)| span.start <= at.start && at.end <= span.end);
            // Of values with one origin outside, a missing key is about the table, else it is about the key.
            let depth = |path: &str| path.len() as isize * if missing { 1 } else { -1 };
            around.min_by_key(|(path, span)| (span.len(), depth(path)))
        });
        let Some((path, span)) = innermost else {
            return Mistake { place: Place::Whole, text: in_our_words(error.message()) };
        };
        let key = path.rsplit('.').find(|part| part.parse::<usize>().is_err()).unwrap_or(path);
        let text = match shape::is_secret(self.shape.as_value(), path) {
            true => "the value is not of the right type; a secret is a string in quotes".to_owned(),
            false => in_our_words(error.message()),
        };
        let text = if missing { text + &self.all_needed(path, key) } else { text };
        Mistake { place: self.place(span.start), text: format!("'{key}': {text}") }
    }

    /// What else the table at `path`, called `key`, must have; nothing where one key is all.
    fn all_needed(&self, path: &str, key: &str) -> String {
        let needed = shape::required(self.shape.as_value(), path);
        if needed.len() > 1 { format!("; '{key}' needs all of {}", needed.join(", ")) } else { String::new() }
    }
}
