use std::path::Path;

use jobmgr_plugin_api::abi::ENTRY;
use object::{Object, ObjectSymbol};

use super::Verdict;
use crate::runner::plugin::find;

/// 2: what a library exports beside its entry may be taken for somebody else's function of that name.
pub(super) fn exports(path: &Path) -> Verdict {
    let found = match find(path) {
        Ok(found) => found,
        Err(why) => return Verdict::Wrong(why),
    };
    match exported(&found.path) {
        Err(why) => Verdict::Wrong(format!("it can't be read: {why}")),
        Ok(names) => verdict(&names),
    }
}

fn verdict(names: &[String]) -> Verdict {
    // Names with an underscore are the linker's own.
    let more: Vec<&str> =
        names.iter().map(String::as_str).filter(|name| *name != ENTRY && !name.starts_with('_')).collect();
    if !names.iter().any(|name| name == ENTRY) {
        return Verdict::Wrong(format!("{ENTRY} is not among them"));
    }
    if more.is_empty() {
        return Verdict::Good(format!("{ENTRY} alone"));
    }
    let few = more[..more.len().min(3)].join(", ");
    let count = more.len();
    Verdict::Wrong(format!(
        "{count} more than {ENTRY}: {few}; Rust: crate-type cdylib, C: static or -fvisibility=hidden"
    ))
}

fn exported(path: &Path) -> Result<Vec<String>, String> {
    let data = std::fs::read(path).map_err(|error| error.to_string())?;
    let file = object::File::parse(&*data).map_err(|error| error.to_string())?;
    if file.format() == object::BinaryFormat::Pe {
        let exports = file.exports().map_err(|error| error.to_string())?;
        return Ok(exports.iter().map(|export| String::from_utf8_lossy(export.name()).into_owned()).collect());
    }
    let symbols = file.dynamic_symbols().filter(|symbol| symbol.is_definition() && symbol.is_global());
    Ok(symbols.filter_map(|symbol| symbol.name().ok().map(ToOwned::to_owned)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anything_beside_the_entry_is_wrong() {
        let of = |names: &[&str]| verdict(&names.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert!(matches!(of(&[ENTRY, "_init", "__bss_start"]), Verdict::Good(_)));
        assert!(matches!(of(&[ENTRY, "malloc"]), Verdict::Wrong(why) if why.contains("malloc")));
        assert!(matches!(of(&["other"]), Verdict::Wrong(why) if why.contains("not among them")));
    }
}
