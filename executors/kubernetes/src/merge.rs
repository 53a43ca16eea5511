use serde_json::Value;

/// Puts `over` over `base`: tables key by key, lists of named things (containers, volumes, variables, mounts) name by
/// name; everything else takes the place of what was there.
pub fn merge(base: &mut Value, over: &Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                match base.get_mut(key) {
                    Some(there) => merge(there, value),
                    None => drop(base.insert(key.clone(), value.clone())),
                }
            }
        }
        (Value::Array(base), Value::Array(over)) if over.iter().all(|item| name(item).is_some()) => {
            for item in over {
                match base.iter_mut().find(|there| name(there) == name(item)) {
                    Some(there) => merge(there, item),
                    None => base.push(item.clone()),
                }
            }
        }
        (base, over) => *base = over.clone(),
    }
}

/// What tells an item of a list from the others: a volume may be mounted twice.
fn name(item: &Value) -> Option<&str> {
    item.get("mountPath").or_else(|| item.get("name"))?.as_str()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::merge;

    #[test]
    fn tables_and_named_lists_are_merged_and_the_rest_is_replaced() {
        let mut base = json!({
            "containers": [{"name": "job", "args": ["a", "b"], "env": [{"name": "A", "value": "1"}],
                "volumeMounts": [{"name": "v", "mountPath": "/a"}]}],
            "tolerations": [{"key": "x"}],
            "n": 1,
        });
        merge(
            &mut base,
            &json!({
                "containers": [
                    {"name": "job", "args": ["c"], "env": [{"name": "A", "value": "2"}, {"name": "B", "value": "3"}],
                        "volumeMounts": [{"name": "v", "mountPath": "/b"}]},
                    {"name": "side"},
                ],
                "tolerations": [{"key": "y"}],
                "hostNetwork": true,
            }),
        );
        let want = json!({
            "containers": [
                {"name": "job", "args": ["c"], "env": [{"name": "A", "value": "2"}, {"name": "B", "value": "3"}],
                    "volumeMounts": [{"name": "v", "mountPath": "/a"}, {"name": "v", "mountPath": "/b"}]},
                {"name": "side"},
            ],
            "tolerations": [{"key": "y"}],
            "n": 1,
            "hostNetwork": true,
        });
        assert_eq!(base, want);
    }
}
