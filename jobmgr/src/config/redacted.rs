//! What may be printed of sections that hold secrets. URLs may hold some too, so only their schemes are shown.

use std::fmt;

use super::{Aws, Database, Executor, Secrets, Storage};

/// Stands for a value that is there.
const HIDDEN: &str = "***";

/// The scheme of a URL that is there.
fn scheme(url: Option<&String>) -> Option<String> {
    url.map(|url| format!("{}:{HIDDEN}", url.split_once(':').map_or("", |(scheme, _)| scheme)))
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database")
            .field("url", &scheme(self.url.as_ref()))
            .field("host", &self.host)
            .field("username", &self.username)
            .field("password", &self.password.as_ref().map(|_| HIDDEN))
            .field("database", &self.database)
            .field("tls", &self.tls)
            .field("ca_certificate", &self.ca_certificate)
            .field("max_connections", &self.max_connections)
            .finish()
    }
}

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options: Vec<_> = self.options.keys().collect();
        f.debug_struct("Storage").field("url", &scheme(self.url.as_ref())).field("options", &options).finish()
    }
}

impl fmt::Debug for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config: Vec<_> = self.config.keys().collect();
        f.debug_struct("Executor").field("plugin", &self.plugin).field("config", &config).finish_non_exhaustive()
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets")
            .field("key", &self.key.as_ref().map(|_| HIDDEN))
            .field("key_file", &self.key_file)
            .finish()
    }
}

impl fmt::Debug for Aws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aws")
            .field("access_key_id", &self.access_key_id)
            .field("secret_access_key", &HIDDEN)
            .field("region", &self.region)
            .field("artifacts_bucket", &self.artifacts_bucket)
            .finish()
    }
}
