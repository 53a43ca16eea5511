use serde_json::{Map, Value, json};

use super::Verdict;
use super::subject::{Subject, quote};
use crate::runner::Failure;
use crate::runner::plugin::{Loaded, Runner};

/// How deep the deepest options are; JSON's readers take no more than 128.
const DEEP: usize = 100;

/// 5: whatever the options are, the answer is yes or INVALID.
pub(super) async fn odd(subject: &Subject, about: &Loaded) -> Verdict {
    let runner = match subject.open().await {
        Ok(runner) => runner,
        Err(why) => return Verdict::Wrong(why),
    };
    let cases = cases(&about.description.options_schema, &subject.options());
    let (mut refused, mut taken) = (0, 0);
    for (what, options) in &cases {
        match validate(&runner, options).await {
            Ok(()) if !options.is_object() => {
                let why = format!("{what} are taken; options that are no object are INVALID");
                return Verdict::Wrong(why);
            }
            Ok(()) => taken += 1,
            Err(Failure::Invalid(_)) => refused += 1,
            Err(failure) => {
                let printed = runner.end().await;
                return Verdict::Wrong(format!("{what}: {failure}; INVALID would be right{}", quote(&printed)));
            }
        }
    }
    Verdict::Good(format!("{} kinds: {refused} INVALID, {taken} taken", cases.len()))
}

/// Calls `validate` with these options.
pub(super) async fn validate(runner: &Runner, options: &Value) -> Result<(), Failure> {
    let limit = std::time::Duration::from_secs(10);
    tokio::time::timeout(limit, runner.validate(options))
        .await
        .unwrap_or_else(|_| Err(Failure::Executor(format!("no answer after {limit:?}"))))
}

/// What is tried, and what to call it.
fn cases(schema: &Value, good: &Value) -> Vec<(String, Value)> {
    let mut cases: Vec<(String, Value)> = Vec::new();
    for value in [json!([]), json!([1]), json!("text"), json!(1), json!(null), json!(true)] {
        cases.push((format!("options {value}"), value));
    }
    cases.push(("no options".into(), json!({})));
    let with = |key: &str, value: Value| {
        let mut options = good.as_object().cloned().unwrap_or_default();
        options.insert(key.to_owned(), value);
        Value::Object(options)
    };
    cases.push(("options with an unknown key".into(), with("no such option", json!(1))));
    for key in schema["properties"].as_object().into_iter().flat_map(Map::keys) {
        for value in [json!(null), json!(-1), json!(1e300), json!(""), json!("\u{0}"), json!([[]]), json!({"x": {}})] {
            cases.push((format!("{key} = {value}"), with(key, value)));
        }
    }
    let deep = (0..DEEP).fold(json!(1), |inner, _| json!({ "a": inner }));
    cases.push((format!("options {DEEP} levels deep"), with("a", deep.clone())));
    cases.push(("options of 4 MiB".into(), with("a", json!("x".repeat(4 << 20)))));
    let many: Map<String, Value> = (0..50_000).map(|number| (format!("k{number}"), json!(number))).collect();
    cases.push(("options with 50000 keys".into(), Value::Object(many)));
    for key in schema["properties"].as_object().into_iter().flat_map(Map::keys).take(1) {
        cases.push((format!("{key} of 4 MiB"), with(key, json!("x".repeat(4 << 20)))));
        cases.push((format!("{key} {DEEP} levels deep"), with(key, deep.clone())));
    }
    cases
}
