use serde_json::{Value, json};

use super::{plugin, root, stderr};
use crate::support::server::Home;

fn schema(home: &Home, arguments: &[&str]) -> (Value, String) {
    let output = home.jobmgr(&["schema"]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    (serde_json::from_slice(&output.stdout).unwrap(), stderr(&output))
}

#[test]
fn schemas_know_the_options_of_executors() {
    let home = Home::new("[Executors.mine]\nPlugin = 'plugins/mine'\n[Executors.gone]\nPlugin = 'plugins/gone.so'");
    plugin(&home, "jobmgr-executor-template", "mine");
    let (jobspec, said) = schema(&home, &[]);
    assert!(said.contains("[Executors.gone] is left out: gone.so: No such file"), "{said}");
    let valid = |options: Value| {
        jsonschema::is_valid(&jobspec, &json!({ "Command": "x", "Executor": "mine", "Options": options }))
    };
    assert!(valid(json!({ "Before": ["nice"] })) && valid(json!({})));
    assert!(!valid(json!({ "Before": "nice" })) && !valid(json!({ "Befor": ["nice"] })));
    assert!(jobspec.to_string().contains("What this job runs behind"), "doc comments are shown");
    let (config, _) = schema(&home, &["config"]);
    let valid = |own: Value| {
        jsonschema::is_valid(&config, &json!({ "Executors": { "mine": { "Plugin": "x", "Config": own } } }))
    };
    assert!(valid(json!({ "Before": [] })) && !valid(json!({ "Before": 1 })));
}

#[test]
fn without_executors_schemas_are_as_committed() {
    let home = Home::new("");
    for (arguments, file) in [(&[][..], "jobspec.schema.json"), (&["config"], "config.schema.json")] {
        let output = home.jobmgr(&["schema"]).args(arguments).output().unwrap();
        let committed = std::fs::read(root().join("openapi").join(file)).unwrap();
        assert!(output.stdout == committed, "{file} is not what the binary prints");
    }
}
