use std::collections::BTreeMap;
use std::env;
use std::str::FromStr;

use super::BlobError;

/// How the options of a kind of store are named, in the configuration and in the environment.
pub(super) struct Names {
    /// The scheme of its URLs.
    pub scheme: &'static str,
    /// What its variables begin with; in lower case, its options may too.
    pub variables: &'static str,
    /// Variables of other names, and the options that they stand for.
    pub others: &'static [(&'static str, &'static str)],
    /// The options that are credentials. Where the configuration has one, those of the environment are not used:
    /// half of each would be a pair that fits nowhere.
    pub credentials: &'static [&'static str],
    /// Options that exist, to be named to someone who wrote another.
    pub examples: &'static [&'static str],
}

/// The store's settings: those of the environment first, so that the configuration's win.
///
/// # Errors
/// [`BlobError::Unusable`] for an option that the store does not have. Variables that it does not know are others'.
pub(super) fn settings<K: FromStr>(
    names: &Names,
    options: &BTreeMap<String, String>,
) -> Result<Vec<(K, String)>, BlobError> {
    let own = options.keys().any(|name| names.is_credential(name));
    let mut settings: Vec<(K, String)> = names
        .environment()
        .filter(|(name, _)| !(own && names.is_credential(name)))
        .filter_map(|(name, value)| Some((name.parse().ok()?, value)))
        .collect();
    for (name, value) in options {
        let key = name.to_ascii_lowercase().parse().map_err(|_| names.unknown(name))?;
        settings.push((key, value.clone()));
    }
    Ok(settings)
}

/// Refuses options where the store has none.
pub(super) fn none(scheme: &str, options: &BTreeMap<String, String>) -> Result<(), BlobError> {
    match options.keys().next() {
        None => Ok(()),
        Some(name) => Err(BlobError::Unusable(format!(
            "[Storage] Options.{name}: a store at {scheme}: has no options; leave it out, or set [Storage] URL to an \
             s3:, gs: or az: URL"
        ))),
    }
}

impl Names {
    /// The variables of this kind of store, as options.
    fn environment(&self) -> impl Iterator<Item = (String, String)> {
        env::vars_os().filter_map(|(name, value)| {
            let (name, value) = (name.into_string().ok()?, value.into_string().ok()?);
            if let Some((_, option)) = self.others.iter().find(|(other, _)| *other == name) {
                return Some(((*option).to_owned(), value));
            }
            name.starts_with(self.variables).then(|| (name.to_ascii_lowercase(), value))
        })
    }

    fn is_credential(&self, name: &str) -> bool {
        self.credentials.contains(&self.short(&name.to_ascii_lowercase()))
    }

    /// The option without the prefix that it may have.
    fn short<'n>(&self, name: &'n str) -> &'n str {
        let prefix = self.variables.to_ascii_lowercase();
        name.strip_prefix(prefix.as_str()).unwrap_or(name)
    }

    fn unknown(&self, name: &str) -> BlobError {
        let lower = name.to_ascii_lowercase();
        let distance = |known: &&&str| strsim::damerau_levenshtein(self.short(&lower), known);
        let nearest = self.examples.iter().min_by_key(distance).filter(|known| distance(known) <= 3);
        let hint = nearest.map(|known| format!("did you mean {known}? ")).unwrap_or_default();
        BlobError::Unusable(format!(
            "[Storage] Options.{name} is not an option of {}: stores; {hint}There are {}, ...",
            self.scheme,
            self.examples.join(", ")
        ))
    }
}
