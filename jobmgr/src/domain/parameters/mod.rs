//! Parameter values, and the environment that they become.

use std::collections::BTreeMap;

use super::job::Parameters;
use super::jobspec::{Jobspec, Parameter, ParameterType};

mod sealed;
#[cfg(test)]
mod tests;
mod typed;

pub use sealed::{MASK, any_sealed, masked, seal, sealed};
pub use typed::{Texts, Wrong, check, files, unknown};

/// How many bytes `NAME=VALUE` and the NUL after it may have: Linux's execve takes no more (MAX_ARG_STRLEN).
pub const MAX_VARIABLE: usize = 131_072;

/// How many bytes all variables of parameters may have together; execve takes about 2 MiB, arguments included.
pub const MAX_VARIABLES: usize = 1 << 20;

/// How much of a wrong value an error shows, in characters.
const SHOWN: usize = 80;

/// The environment variables of a job's parameters. Values that the jobspec does not declare are left out.
///
/// # Errors
/// One line that names the first parameter that is missing or wrong, and what would be right.
pub fn environment(spec: &Jobspec, given: &Parameters) -> Result<BTreeMap<String, String>, String> {
    let mut environment = BTreeMap::new();
    let mut total = 0;
    for parameter in &spec.parameters {
        let Some(value) = value(parameter, given.get(&parameter.name))? else { continue };
        for variable in &parameter.variables {
            let size = variable.len() + value.len() + 2;
            if size > MAX_VARIABLE {
                let longest = MAX_VARIABLE + value.len() - size;
                let text = format!("is too long: {} bytes, at most {longest} are possible", value.len());
                return Err(format!("parameter '{}' {text}", parameter.name));
            }
            total += size;
            environment.insert(variable.clone(), value.clone());
        }
        if total > MAX_VARIABLES {
            return Err(format!(
                "the parameters are too long together: with '{}' they need {total} bytes of environment, at most \
                 {MAX_VARIABLES} are possible",
                parameter.name
            ));
        }
    }
    Ok(environment)
}

/// The value that the job gets; `None` where it was left out and may be.
fn value(parameter: &Parameter, given: Option<&String>) -> Result<Option<String>, String> {
    match (given, &parameter.default) {
        (Some(given), _) => normalize(&parameter.kind, given).map(Some).map_err(|right| {
            let given = if parameter.secret { MASK.to_owned() } else { shown(given) };
            format!("parameter '{}' has invalid value '{given}': {right}", parameter.name)
        }),
        (None, Some(default)) => Ok(Some(default.clone())),
        (None, None) if parameter.optional => Ok(None),
        (None, None) => Err(format!("parameter '{}' is required but not set", parameter.name)),
    }
}

/// A value as the job gets it: numbers as Go's `Atoi` reads and `Itoa` writes them, `true` and `false` for what
/// stands for them; floats and texts as they are; of a file its id.
///
/// # Errors
/// What would be right.
pub fn normalize(kind: &ParameterType, value: &str) -> Result<String, String> {
    let refused = |right: &str| Err(right.to_owned());
    match kind {
        ParameterType::String if value.contains('\0') => refused("it must not have a NUL byte"),
        ParameterType::String => Ok(value.to_owned()),
        ParameterType::Int => value
            .parse::<i64>()
            .map(|number| number.to_string())
            .map_err(|_| format!("it must be a whole number from {} to {}", i64::MIN, i64::MAX)),
        ParameterType::Float if is_float(value) => Ok(value.to_owned()),
        ParameterType::Float => refused("it must be a number, such as 1, 0.5 or 2e-3"),
        ParameterType::Bool => match value {
            "true" | "1" => Ok("true".to_owned()),
            "false" | "0" => Ok("false".to_owned()),
            _ => refused("it must be true or false (or 1 or 0)"),
        },
        ParameterType::Enum(values) if values.iter().any(|one| one == value) => Ok(value.to_owned()),
        ParameterType::Enum(values) => Err(format!("it must be one of {}", values.join(", "))),
        ParameterType::File => match value.parse::<i64>() {
            Ok(id) if id > 0 && value.bytes().all(|byte| byte.is_ascii_digit()) => Ok(id.to_string()),
            _ => refused("it must be the id of an uploaded file"),
        },
    }
}

/// Decimal digits with an optional sign, fraction and exponent, of a size that 64 bits hold; no `inf`, `nan` or `0x`.
fn is_float(value: &str) -> bool {
    let decimal = value.bytes().all(|b| matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
    decimal && value.parse::<f64>().is_ok_and(f64::is_finite)
}

/// A value in an error: on one line, and not too much of it.
fn shown(value: &str) -> String {
    let mut text: String = value.chars().take(SHOWN).collect::<String>().escape_debug().to_string();
    if value.chars().nth(SHOWN).is_some() {
        text.push_str("...");
    }
    text
}
