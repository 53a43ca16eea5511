//! The keys of a text: their right spelling, and where their values are.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Mistake, Place, shape};

/// Goes through the tables of a text with the schema in hand.
pub(super) struct Walk<'a> {
    pub text: &'a str,
    /// The schema of the whole text.
    pub root: &'a Value,
    /// Collects where the values are.
    pub spans: &'a mut BTreeMap<String, Range<usize>>,
}

impl Walk<'_> {
    /// Gives the keys of a table, which is at `path`, the spelling of the schema.
    pub fn table(&mut self, table: &mut DeTable<'_>, schema: &Value, path: &str) -> Result<(), Mistake> {
        let Some(known) = shape::properties(schema) else {
            return self.free(table, schema, path);
        };
        let mut entries: Vec<_> = std::mem::take(table).into_iter().collect();
        // In the order of the text, so that the first mistake is the one that is told.
        entries.sort_by_key(|(key, _)| key.span().start);
        for (key, mut value) in entries {
            let given = key.get_ref();
            let Some((name, schema)) = shape::property(&known, given) else {
                return Err(self.wrong(key.span(), self.unknown(given, &known, path)));
            };
            if table.contains_key(name) {
                let text = format!("'{given}' is set a second time (case makes no difference); remove one of them");
                return Err(self.wrong(key.span(), text));
            }
            self.value(&mut value, schema, &join(path, name))?;
            table.insert(Spanned::new(key.span(), name.to_owned().into()), value);
        }
        Ok(())
    }

    /// A table whose keys are the user's.
    fn free(&mut self, table: &mut DeTable<'_>, schema: &Value, path: &str) -> Result<(), Mistake> {
        let inner = schema.get("additionalProperties").unwrap_or(&Value::Null);
        table.iter_mut().try_for_each(|(key, value)| self.value(value, inner, &join(path, key.get_ref())))
    }

    fn value(&mut self, value: &mut Spanned<DeValue<'_>>, schema: &Value, path: &str) -> Result<(), Mistake> {
        let span = value.span();
        self.spans.insert(path.to_owned(), span.clone());
        if let Err(wanted) = shape::admits(schema, value.get_ref()) {
            let key = path.rsplit('.').next().unwrap_or(path);
            return Err(self.wrong(span, format!("'{key}' must be {wanted}; found: {}", value.get_ref().type_str())));
        }
        match value.get_mut() {
            DeValue::Table(table) => self.table(table, schema, path),
            DeValue::Array(array) => {
                let inner = shape::items(schema).unwrap_or(&Value::Null);
                let mut items = array.iter_mut().enumerate();
                items.try_for_each(|(index, item)| self.value(item, inner, &join(path, &index.to_string())))
            }
            _ => Ok(()),
        }
    }

    /// The remedy for an unknown key. In TOML a key belongs to the table above it, which surprises many.
    fn unknown(&self, key: &str, known: &[(&str, &Value)], path: &str) -> String {
        let top = shape::properties(self.root).unwrap_or_default();
        if path.is_empty() {
            let has = |schema| shape::properties(schema).is_some_and(|keys| shape::property(&keys, key).is_some());
            if let Some((section, _)) = top.iter().find(|(_, schema)| has(schema)) {
                return format!("unknown key '{key}'; it belongs below a line [{section}]");
            }
        } else if let Some((name, _)) = shape::property(&top, key).filter(|(_, schema)| shape::is_value(schema)) {
            return format!("unknown key '{key}' in a table; '{name}' must stand above the first line in brackets");
        }
        shape::unknown(key, shape::names_of(known))
    }

    fn wrong(&self, span: Range<usize>, text: String) -> Mistake {
        Mistake { place: Place::of(self.text, span.start), text }
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
