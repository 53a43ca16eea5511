//! Values with types, as clients of `/v1` give them.

use serde_json::{Map, Value};

use super::{MASK, MAX_VARIABLE, MAX_VARIABLES, normalize, shown};
use crate::domain::input::InputId;
use crate::domain::job::Parameters;
use crate::domain::jobspec::{About, Declared, ParameterType, variables_of};

/// Whether texts may stand for numbers and truth values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Texts {
    /// `"5"` serves as a number.
    Serve,
    /// Only `5` does.
    Refused,
}

/// What is wrong with a parameter: its name, and what would be right.
pub type Wrong = (String, String);

/// The values as they are stored, checked against the parameters that `about` tells of.
///
/// # Errors
/// Every parameter that is missing, unknown or wrong.
pub fn check(about: &About, given: &Map<String, Value>, texts: Texts) -> Result<Parameters, Vec<Wrong>> {
    let mut wrong = Vec::new();
    let mut values = Parameters::new();
    let declared = about.declared();
    for (name, value) in given {
        let Some(parameter) = declared.iter().find(|declared| declared.name == *name) else {
            wrong.push((name.clone(), unknown(name, declared.iter().map(|declared| declared.name.as_str()))));
            continue;
        };
        match typed(parameter, value, texts).and_then(|text| fits(name, text)) {
            Ok(text) => drop(values.insert(name.clone(), text)),
            Err(right) => wrong.push((name.clone(), right)),
        }
    }
    for missing in declared.iter().filter(|declared| declared.required && !given.contains_key(&declared.name)) {
        wrong.push((missing.name.clone(), "is required".to_owned()));
    }
    let total: usize = values.iter().map(|(name, value)| size(name, value)).sum();
    if wrong.is_empty() && total > MAX_VARIABLES {
        let most = "all values together must not need more than";
        wrong.push((String::new(), format!("{most} {MAX_VARIABLES} bytes of environment; they need {total}")));
    }
    if wrong.is_empty() { Ok(values) } else { Err(wrong) }
}

/// How many bytes the variables of a value take.
fn size(name: &str, value: &str) -> usize {
    variables_of(name).iter().map(|variable| variable.len() + value.len() + 2).sum()
}

/// No variable may be longer than the system takes.
fn fits(name: &str, value: String) -> Result<String, String> {
    let longest = variables_of(name).iter().map(|variable| MAX_VARIABLE.saturating_sub(variable.len() + 2)).min();
    match longest {
        Some(longest) if value.len() > longest => {
            Err(format!("is too long: {} bytes, at most {longest} are possible", value.len()))
        }
        _ => Ok(value),
    }
}

/// The uploaded files that are given, as far as they are numbers of such: the names of their parameters, and their ids.
pub fn files(about: &About, given: &Map<String, Value>) -> Vec<(String, InputId)> {
    let of_files = about.declared().into_iter().filter(|declared| declared.kind == ParameterType::File);
    let id = |declared: Declared| {
        let id = typed(&declared, given.get(&declared.name)?, Texts::Serve).ok()?.parse().ok()?;
        Some((declared.name, id))
    };
    of_files.filter_map(id).collect()
}

fn typed(parameter: &Declared, value: &Value, texts: Texts) -> Result<String, String> {
    let kind = &parameter.kind;
    let is_text = matches!(kind, ParameterType::String | ParameterType::Enum(_) | ParameterType::File);
    let is_number = matches!(kind, ParameterType::Int | ParameterType::Float | ParameterType::File);
    let text = match value {
        Value::String(text) if is_text || texts == Texts::Serve => text.clone(),
        Value::Number(number) if is_number => number.to_string(),
        Value::Bool(flag) if *kind == ParameterType::Bool => flag.to_string(),
        _ if parameter.secret => return Err(right(kind)),
        _ => return Err(format!("{}, not {}", right(kind), found(value))),
    };
    let given = || if parameter.secret { MASK.to_owned() } else { shown(&text) };
    normalize(kind, &text).map_err(|right| format!("{right}, not '{}'", given()))
}

fn right(kind: &ParameterType) -> String {
    match kind {
        ParameterType::String => "it must be a text".into(),
        ParameterType::Int => format!("it must be a whole number from {} to {}", i64::MIN, i64::MAX),
        ParameterType::Float => "it must be a number".into(),
        ParameterType::Bool => "it must be true or false".into(),
        ParameterType::Enum(values) => format!("it must be one of {}", values.join(", ")),
        ParameterType::File => "it must be the id of an uploaded file".into(),
    }
}

fn found(value: &Value) -> String {
    match value {
        Value::Null => "null: leave it out instead".into(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => format!("the text '{}'", shown(text)),
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "an object".into(),
    }
}

/// Says that nobody knows this name, and which is near it.
pub fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.collect();
    let near = crate::domain::settings::nearest(name, known.iter().copied());
    match (near, known.is_empty()) {
        (Some(near), _) => format!("is not known; do you mean '{near}'?"),
        (None, true) => "is not known; there are none".into(),
        (None, false) => format!("is not known; there are {}", known.join(", ")),
    }
}
