//! Reading a JSON Schema: which keys a table has, and of which kind their values are.

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeArray, DeValue};

/// What a value may be, as far as a text from outside must know to become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text as it is.
    String,
    /// A whole number.
    Integer,
    /// A whole number where it looks like one, else text.
    IntegerOrString,
    /// `true` or `false`.
    Boolean,
    /// Texts, with commas between them.
    Strings,
    /// Anything else, which can't be given in one text.
    Table,
}

impl Kind {
    fn of(schema: &Value) -> Kind {
        let is = |name: &str| alternatives(schema).iter().any(|schema| has_type(schema, name));
        match (is("string"), is("integer"), is("boolean"), is("array")) {
            (true, true, ..) => Kind::IntegerOrString,
            (true, ..) => Kind::String,
            (_, true, ..) => Kind::Integer,
            (_, _, true, _) => Kind::Boolean,
            (_, _, _, true) => Kind::Strings,
            _ => Kind::Table,
        }
    }

    /// `text` as a value of this kind, which stands at `at`.
    pub(super) fn value(self, text: &str, at: usize) -> Result<DeValue<'_>, String> {
        if text.is_empty() {
            return Err("is empty; give it a value, or unset it".to_owned());
        }
        let string = |text: &str| DeValue::String(text.to_owned().into());
        match self {
            Kind::String => Ok(string(text)),
            Kind::Integer => integer(text).ok_or_else(|| format!("'{text}' is not a whole number")),
            Kind::IntegerOrString => Ok(integer(text).unwrap_or_else(|| string(text))),
            Kind::Boolean => match text {
                "true" => Ok(DeValue::Boolean(true)),
                "false" => Ok(DeValue::Boolean(false)),
                _ => Err(format!("'{text}' is not true or false")),
            },
            Kind::Strings => {
                let items = text.split(',').map(|item| Spanned::new(at..at, string(item.trim())));
                Ok(DeValue::Array(items.collect::<DeArray<'_>>()))
            }
            Kind::Table => Err("is a section; name one of its keys".to_owned()),
        }
    }
}

fn integer(text: &str) -> Option<DeValue<'_>> {
    let value = DeValue::parse(text).ok()?.into_inner();
    value.is_integer().then_some(value)
}

/// The schemas of which a value has to satisfy one: the schema itself, or what its `anyOf` lists (`Option`).
fn alternatives(schema: &Value) -> Vec<&Value> {
    let listed = schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Value::as_array);
    listed.map_or_else(|| vec![schema], |listed| listed.iter().flat_map(alternatives).collect())
}

fn has_type(schema: &Value, name: &str) -> bool {
    match schema.get("type") {
        Some(Value::String(only)) => only == name,
        Some(Value::Array(several)) => several.iter().any(|one| one == name),
        _ => false,
    }
}

/// The keys that a table may have and their schemas; `None` where it may have any.
pub(super) fn properties(schema: &Value) -> Option<Vec<(&str, &Value)>> {
    let tables = alternatives(schema).into_iter().filter_map(|schema| schema.get("properties")?.as_object());
    let keys: Vec<_> = tables.flatten().map(|(key, schema)| (key.as_str(), schema)).collect();
    (!keys.is_empty()).then_some(keys)
}

/// The schema of an array's items.
pub(super) fn items(schema: &Value) -> Option<&Value> {
    alternatives(schema).into_iter().find_map(|schema| schema.get("items"))
}

/// Whether what the schema describes is neither a table nor an array of tables.
pub(super) fn is_value(schema: &Value) -> bool {
    properties(schema).is_none() && items(schema).is_none_or(is_value) && Kind::of(schema) != Kind::Table
}

/// The property of `schema` that is called `key`, without regard to case.
pub(super) fn property<'s>(properties: &[(&'s str, &'s Value)], key: &str) -> Option<(&'s str, &'s Value)> {
    properties.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).copied()
}

/// The name that is nearest to `key`, if one is near enough to have been meant.
pub fn nearest<'s>(key: &str, names: impl Iterator<Item = &'s str>) -> Option<&'s str> {
    let key = key.to_ascii_lowercase();
    let distance = |name: &str| strsim::damerau_levenshtein(&key, &name.to_ascii_lowercase());
    let (distance, name) = names.map(|name| (distance(name), name)).min()?;
    (distance <= 1.max(key.chars().count() / 3)).then_some(name)
}

/// `unknown key 'x'; did you mean 'y'?`
pub fn unknown<'s>(key: &str, names: impl Iterator<Item = &'s str> + Clone) -> String {
    if let Some(name) = nearest(key, names.clone()) {
        return format!("unknown key '{key}'; did you mean '{name}'?");
    }
    let names: Vec<_> = names.collect();
    match names.as_slice() {
        [] => format!("unknown key '{key}'; there are no keys here"),
        [only] => format!("unknown key '{key}'; the only key here is {only}"),
        _ => format!("unknown key '{key}'; the keys here are {}", names.join(", ")),
    }
}

/// The names of the properties.
pub(super) fn names_of<'s>(properties: &[(&'s str, &'s Value)]) -> impl Iterator<Item = &'s str> + Clone {
    properties.iter().map(|(name, _)| *name)
}

/// See [`Document::resolve`](super::Document::resolve).
pub(super) fn resolve(root: &Value, path: &[&str]) -> Result<(Vec<String>, Kind), String> {
    let mut schema = root;
    let mut names = Vec::new();
    for part in path {
        match properties(schema) {
            Some(known) => {
                let (name, next) = property(&known, part).ok_or_else(|| unknown(part, names_of(&known)))?;
                names.push(name.to_owned());
                schema = next;
            }
            // A free table. Variables are written in upper case by custom; what stands in free tables is not.
            None => match schema.get("additionalProperties") {
                Some(next @ Value::Object(_)) => {
                    names.push(part.to_ascii_lowercase());
                    schema = next;
                }
                _ => return Err(format!("unknown key '{part}'; '{}' is a value, not a section", names.join("."))),
            },
        }
    }
    Ok((names, Kind::of(schema)))
}

/// The schemas on the way to the value at `path`, as far as there are any.
fn way<'s>(root: &'s Value, path: &str) -> impl Iterator<Item = &'s Value> {
    let mut schema = root;
    path.split('.').map_while(move |part| {
        schema = match properties(schema) {
            Some(known) => property(&known, part).map(|(_, next)| next),
            None => items(schema),
        }?;
        Some(schema)
    })
}

/// Whether the value at `path`, or a table around it, is marked `writeOnly`: it must not be shown.
pub(super) fn is_secret(root: &Value, path: &str) -> bool {
    way(root, path).any(|schema| schema.get("writeOnly").is_some_and(|mark| *mark == true))
}

/// The keys that the table at `path`, or each of the tables there, must have.
pub(super) fn required<'s>(root: &'s Value, path: &str) -> Vec<&'s str> {
    let tables = way(root, path).last().map(|schema| items(schema).unwrap_or(schema));
    let schemas = tables.map(alternatives).unwrap_or_default();
    let lists = schemas.into_iter().filter_map(|schema| schema.get("required")?.as_array());
    lists.flatten().filter_map(Value::as_str).collect()
}

/// Whether a value of this TOML type may stand here; tables and arrays only, the rest is serde's.
pub(super) fn admits(schema: &Value, value: &DeValue<'_>) -> Result<(), &'static str> {
    let wants = |name| alternatives(schema).iter().any(|schema| has_type(schema, name));
    match value {
        DeValue::Table(_) if wants("array") => Err("an array; an array of tables has two brackets, [[like this]]"),
        DeValue::Table(_) => Ok(()),
        _ if properties(schema).is_some() => Err("a table"),
        DeValue::Array(_) => Ok(()),
        _ if wants("array") && !wants("string") => Err("an array"),
        _ => Ok(()),
    }
}
