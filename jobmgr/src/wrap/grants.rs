use std::collections::BTreeMap;
use std::time::Duration;

use jobmgr_plugin_api::wrapped::{RESULT, Report};
use serde::Deserialize;

use super::fetch::Input;
use super::put::{Put, Source};

/// An address to which one file can be uploaded.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Grant {
    pub slot: u32,
    #[serde(default)]
    name: Option<String>,
    #[serde(default = "put")]
    pub method: String,
    pub url: String,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    #[serde(default)]
    pub max_bytes: Option<u64>,
}

fn put() -> String {
    "PUT".to_owned()
}

/// What may be uploaded.
#[derive(Debug)]
pub(super) struct Grants {
    /// One for each file.
    pub files: Vec<Grant>,
    /// One for each of the job's input files; `None`: it was not asked for them.
    pub inputs: Option<Vec<Input>>,
    report: Grant,
}

#[derive(Deserialize)]
struct Written {
    grants: Vec<Grant>,
    #[serde(default)]
    inputs: Option<Vec<Input>>,
}

impl Grants {
    /// From JSON, or from the file of this path.
    pub fn read(text: &str) -> Result<Self, String> {
        if text.trim_start().starts_with('{') {
            return Self::parse(text).map_err(|why| format!("the grants: {why}"));
        }
        let json = std::fs::read_to_string(text).map_err(|error| format!("the grants in {text}: {error}"))?;
        Self::parse(&json).map_err(|why| format!("the grants in {text}: {why}"))
    }

    fn parse(json: &str) -> Result<Self, String> {
        let Written { grants, inputs } = serde_json::from_str(json).map_err(|error| error.to_string())?;
        let (mut reports, files): (Vec<_>, Vec<_>) =
            grants.into_iter().partition(|grant| grant.name.as_deref() == Some(RESULT));
        match (reports.pop(), reports.is_empty()) {
            (Some(report), true) => Ok(Self { files, inputs, report }),
            _ => {
                Err(format!("exactly one must be named '{RESULT}'; write them with wrapped::grants of the plugin API"))
            }
        }
    }

    /// Uploads how it went.
    pub async fn report(&self, report: &Report, patience: Duration) -> Result<(), String> {
        let json = serde_json::to_vec(report).map_err(|error| error.to_string())?;
        Put::new(patience).put(&self.report, &Source::Bytes(json)).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_have_one_for_the_report() {
        let grants = Grants::read(
            r#" {"grants": [{"slot": 4, "url": "http://h/4"}, {"slot": 0, "name": ".result", "url": "http://h/0"}]}"#,
        )
        .unwrap();
        assert_eq!((grants.report.slot, grants.files.len(), grants.files[0].slot), (0, 1, 4));
        assert_eq!(grants.files[0].method, "PUT");
        assert!(Grants::read(r#"{"grants": []}"#).unwrap_err().contains(".result"));
        assert!(Grants::read(r#"{"grants": [{}]}"#).unwrap_err().contains("slot"));
        assert!(Grants::read("/no/such/file").unwrap_err().starts_with("the grants in /no/such/file: "));
    }
}
