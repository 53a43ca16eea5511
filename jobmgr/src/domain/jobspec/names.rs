//! Names of environment variables, and of executors.

use std::collections::BTreeMap;

/// What every variable of ours begins with.
const OURS: &str = "JOBMGR_";

/// What the variables of parameters begin with.
const PARAMETER: &str = "JOBMGR_PARAMETER_";

/// Checks the name of an environment variable.
pub(super) fn variable(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("the name of a variable must not be empty".to_owned());
    }
    match name.contains(['=', '\0']) {
        true => Err(format!("'{}' can't be a variable: its name has a '=' or a NUL byte", name.escape_debug())),
        false => Ok(()),
    }
}

/// Checks the name of a variable that a jobspec sets. The system may take names without regard to case.
pub(super) fn fixed(name: &str) -> Result<(), String> {
    variable(name)?;
    let ours = name.get(..OURS.len()).is_some_and(|start| start.eq_ignore_ascii_case(OURS));
    match ours {
        true => {
            Err(format!("'{name}' can't be set in Env: names that begin with {OURS} are for jobmgr's own variables"))
        }
        false => Ok(()),
    }
}

/// Whether it may be the name of an executor.
pub(super) fn is_executor(name: &str) -> bool {
    let letters = name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'));
    letters && (1..=63).contains(&name.len()) && !name.starts_with(['_', '-'])
}

/// The variables of each parameter: the exact one, and its readable twin where it differs and is nobody else's.
/// An error has the index of the parameter that it is about.
pub(super) fn of_parameters(names: &[&str]) -> Result<Vec<Vec<String>>, (usize, String)> {
    let mut exact = BTreeMap::new();
    for (index, name) in names.iter().enumerate() {
        parameter(name).map_err(|text| (index, text))?;
        if let Some(first) = exact.insert(exact_variable(name), *name) {
            let text = match first == *name {
                true => format!("parameter '{name}' is there twice; remove one of them"),
                false => format!("parameters '{first}' and '{name}' both become {}; rename one", exact_variable(name)),
            };
            return Err((index, text));
        }
    }
    let mut twins: BTreeMap<String, usize> = BTreeMap::new();
    for name in exact.keys() {
        *twins.entry(readable(name)).or_default() += 1;
    }
    let variables = names.iter().map(|name| {
        let exact_name = exact_variable(name);
        let twin = readable(&exact_name);
        // Counted over all exact names, so one that is itself readable keeps others off.
        let free = twin != exact_name && twins.get(&twin) == Some(&1);
        std::iter::once(exact_name).chain(free.then_some(twin)).collect()
    });
    Ok(variables.collect())
}

/// The variables that a parameter of this name may become: the exact one, and the readable one where that differs.
pub fn variables_of(name: &str) -> Vec<String> {
    let exact = exact_variable(name);
    let readable = readable(&exact);
    if readable == exact { vec![exact] } else { vec![exact, readable] }
}

fn parameter(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("a parameter's name must not be empty".to_owned());
    }
    match name.contains(|c: char| c == '=' || c.is_control()) {
        true => Err(format!("the name of parameter '{}' must not have '=' or control characters", name.escape_debug())),
        false => Ok(()),
    }
}

/// The original's name: upper case, and `_` for a space. As in Go, a character whose upper case is several
/// characters (`ß`) stays as it is.
fn exact_variable(name: &str) -> String {
    let upper = name.chars().map(|c| {
        let mut upper = c.to_uppercase();
        match (c, upper.len()) {
            (' ', _) => '_',
            (_, 1) => upper.next().unwrap_or(c),
            _ => c,
        }
    });
    PARAMETER.chars().chain(upper).collect()
}

/// The same, as shells can read it.
fn readable(name: &str) -> String {
    name.chars().map(|c| if matches!(c, 'A'..='Z' | '0'..='9' | '_') { c } else { '_' }).collect()
}
