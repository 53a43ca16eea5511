//! Secret parameters of jobs.

use std::collections::BTreeSet;

use super::{Secrets, SecretsError};
use crate::domain::job::Parameters;
use crate::domain::jobspec::About;
use crate::domain::parameters::{seal, sealed};

/// The values as the job gets them, and the names of those that were sealed.
pub type Opened = (Parameters, BTreeSet<String>);

impl Secrets {
    /// Seals those values that the jobspec calls secret.
    ///
    /// # Errors
    /// When there is no key, and none can be made.
    pub fn seal_parameters(&self, about: &About, parameters: &mut Parameters) -> Result<(), SecretsError> {
        for declared in about.declared().into_iter().filter(|declared| declared.secret) {
            if let Some(value) = parameters.get_mut(&declared.name) {
                *value = seal(&self.seal(&context(&declared.name), value.as_bytes())?);
            }
        }
        Ok(())
    }

    /// The values that were sealed, as they were given.
    ///
    /// # Errors
    /// One line that names the first that can't be opened.
    pub fn open_parameters(&self, stored: &Parameters) -> Result<Opened, String> {
        let (mut parameters, mut names) = (stored.clone(), BTreeSet::new());
        for (name, value) in &mut parameters {
            let Some(closed) = sealed(value) else { continue };
            let opened = self.open(&context(name), closed);
            let opened = opened.and_then(|bytes| String::from_utf8(bytes).map_err(|_| SecretsError::Damaged));
            *value = opened.map_err(|why| format!("the secret parameter '{name}' can't be read: {why}"))?;
            names.insert(name.clone());
        }
        Ok((parameters, names))
    }
}

fn context(parameter: &str) -> String {
    format!("parameter:{parameter}")
}
