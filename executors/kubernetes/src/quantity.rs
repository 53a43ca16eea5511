use jobmgr_plugin_api::{Error, Result};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

/// The suffixes of the API's quantities.
const SUFFIXES: [&str; 16] = ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

/// An amount of a resource: a number, or a text with a suffix such as `500m` or `4Gi`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Quantity {
    /// So many.
    Number(f64),
    /// As the API writes it.
    Text(String),
}

impl Quantity {
    /// As the API writes it.
    pub(crate) fn json(&self) -> Value {
        match self {
            Quantity::Number(number) => Value::from(number.to_string()),
            Quantity::Text(text) => Value::from(text.as_str()),
        }
    }
}

/// Refuses what the API has no such notation for.
pub(crate) fn check_quantity(key: &str, quantity: &Quantity) -> Result<()> {
    let (is_good, text) = match quantity {
        Quantity::Number(number) => (number.is_finite() && *number >= 0.0, number.to_string()),
        Quantity::Text(text) => (is_quantity(text), text.clone()),
    };
    if is_good {
        return Ok(());
    }
    Err(Error::invalid(format!("{key}: must be a quantity such as 2, \"500m\" or \"4Gi\", and is '{text}'")))
}

fn is_quantity(text: &str) -> bool {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let is_number = number.chars().any(|c| c.is_ascii_digit()) && number.matches('.').count() <= 1;
    let exponent = suffix.strip_prefix(['e', 'E']).filter(|rest| !rest.is_empty());
    is_number && (SUFFIXES.contains(&suffix) || exponent.is_some_and(|e| e.parse::<i8>().is_ok()))
}
