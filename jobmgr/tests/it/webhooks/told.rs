//! Who is told what, and how it is shown.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::{Value, json};

use super::receiver::Receiver;
use super::{CONFIG, ask, deliveries, done, home, newest, register, submit, submit_many};
use crate::support::programs;
use crate::support::server::eventually;

#[test]
fn who_registers_is_told_of_ends() {
    let (home, receiver) = (home(CONFIG), Receiver::fine());
    let server = home.serve();
    let before = submit(&server, &json!({ "name": "well" }));
    server.wait_for(before, "completed");
    let (id, secret) = register(&server, &json!({ "url": receiver.url() }));
    let well = submit(&server, &json!({ "name": "well", "labels": { "team": "art" }, "parameters": { "word": "x" } }));
    server.wait_for(well, "completed");
    let badly = submit(&server, &json!({ "name": "badly" }));
    let mut got = receiver.wait(2);
    // They may come in any order.
    got.sort_by_key(|got| got.json()["sequence"].as_u64());
    assert_eq!(
        got.iter().map(|got| (got.job(), got.kind())).collect::<Vec<_>>(),
        [(well, "job.completed".to_owned()), (badly, "job.failed".to_owned())]
    );
    for (place, got) in got.iter().enumerate() {
        assert_eq!(got.signed_by(&secret), 1);
        assert_eq!((got.path.as_str(), got.headers["content-type"].as_str()), ("/hook", "application/json"));
        assert!(got.headers["user-agent"].starts_with("jobmgr/") && got.id().starts_with("msg_"));
        assert_eq!(got.json()["sequence"], place + 1);
    }
    let shown = server.client().get(&format!("/v1/jobs/{badly}")).json();
    let data = &got[1].json()["data"];
    for field in [
        "id", "name", "status", "reason", "attempt", "exitCode", "error", "labels", "created", "started", "finished",
        "userID", "priority", "worker",
    ] {
        assert_eq!(data[field], shown[field], "{field}");
    }
    assert_eq!((&data["exitCode"], &data["url"]), (&json!(3), &json!(format!("/v1/jobs/{badly}"))));
    assert_eq!(got[1].json()["timestamp"], shown["finished"]);
    assert!(data.get("parameters").is_none() && got[0].json()["data"]["labels"]["team"] == "art");

    let log =
        newest(&server, id, "the second is delivered", |last| last["sequence"] == 2 && last["status"] == "delivered");
    assert_eq!((&log["messageID"], &log["jobID"]), (&json!(got[1].id()), &json!(badly)));
    assert_eq!((&log["attempts"], &log["responseStatus"], &log["nextAttempt"]), (&json!(1), &json!(204), &Value::Null));
    let ids: BTreeSet<&str> = got.iter().map(super::receiver::Got::id).collect();
    assert_eq!((ids.len(), deliveries(&server, id).len()), (2, 2));
}

#[test]
fn webhooks_say_what_they_want_to_be_told() {
    let home = home(CONFIG);
    let server = home.serve();
    let [all, named, labelled] = [(), (), ()].map(|()| Receiver::fine());
    let every = ["job.queued", "job.started", "job.completed", "job.failed", "job.canceled"];
    register(&server, &json!({ "url": all.url(), "events": every }));
    register(&server, &json!({ "url": named.url(), "names": ["badly"] }));
    register(&server, &json!({ "url": labelled.url(), "labels": { "team": "art" }, "events": ["job.completed"] }));
    submit(&server, &json!({ "name": "badly", "labels": { "team": "art" } }));
    submit(&server, &json!({ "name": "well", "labels": { "team": "music" } }));
    let art = submit(&server, &json!({ "name": "well", "labels": { "team": "art", "more": "" } }));
    let later = submit(&server, &json!({ "name": "well", "runAfter": "9999-01-01T00:00:00Z" }));
    done(&ask(&server, "POST", &format!("/v1/jobs/{later}/cancel"), &Value::Null), 202);
    let got = all.wait(11);
    let of = |job: i64| {
        let mut of: Vec<(i64, String)> = got
            .iter()
            .filter(|got| got.job() == job)
            .map(|got| (got.json()["sequence"].as_i64().unwrap(), got.kind()))
            .collect();
        of.sort();
        of.into_iter().map(|(_, kind)| kind).collect::<Vec<_>>()
    };
    assert_eq!(of(art), ["job.queued", "job.started", "job.completed"]);
    assert_eq!(of(later), ["job.queued", "job.canceled"]);
    let numbers: BTreeSet<i64> = got.iter().map(|got| got.json()["sequence"].as_i64().unwrap()).collect();
    assert_eq!(numbers, (1..=11).collect());
    let started = got.iter().find(|got| got.kind() == "job.started").unwrap().json();
    assert_eq!((&started["data"]["status"], &started["data"]["attempt"]), (&json!("started"), &json!(1)));
    assert_eq!((&started["data"]["exitCode"], &started["data"]["reason"]), (&Value::Null, &Value::Null));
    assert_eq!(named.wait(1).iter().map(|got| got.kind()).collect::<Vec<_>>(), ["job.failed"]);
    assert_eq!(labelled.wait(1).iter().map(|got| got.job()).collect::<Vec<_>>(), [art]);
}

#[test]
fn a_job_may_have_a_webhook_of_its_own() {
    let (home, receiver) = (home(CONFIG), Receiver::fine());
    let server = home.serve();
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let own = json!({ "url": receiver.url(), "secret": secret });
    let id = submit(&server, &json!({ "name": "badly", "webhook": own }));
    let got = receiver.wait(1).remove(0);
    assert_eq!((got.job(), got.kind(), got.signed_by(secret)), (id, "job.failed".into(), 1));
    let log = || done(&server.client().get(&format!("/v1/jobs/{id}/deliveries")), 200)["items"].clone();
    eventually("it is noted", || log()[0]["status"] == "delivered");
    // Without a secret there is no signature.
    let other = submit(&server, &json!({ "name": "well", "webhook": { "url": receiver.url() } }));
    let got = receiver.wait(2).remove(1);
    assert!(got.job() == other && !got.headers.contains_key("webhook-signature"));
    submit(&server, &json!({ "name": "well" }));
    done(&server.client().get("/v1/jobs/99/deliveries"), 404);
    assert_eq!(done(&server.client().get("/v1/webhooks"), 200)["items"], json!([]));

    let wrong = json!({ "name": "well", "webhook": { "url": "http://10.0.0.1/", "secret": "whsec_", "x": 1 } });
    let problem = done(&ask(&server, "POST", "/v1/jobs", &wrong), 422);
    let fields: BTreeSet<&str> =
        problem["errors"].as_array().unwrap().iter().map(|error| error["field"].as_str().unwrap()).collect();
    assert_eq!(fields, BTreeSet::from(["webhook.secret", "webhook.url", "webhook.x"]));
    let wrong = json!({ "jobs": [{ "name": "well" }, { "name": "well", "webhook": { "url": "http://10.0.0.1/" } }] });
    let problem = done(&ask(&server, "POST", "/v1/jobs/batch", &wrong), 422);
    assert_eq!(problem["errors"][0]["field"], "jobs[1].webhook.url");
}

#[test]
fn row_93_both_secrets_sign_after_a_change_and_a_repetition_has_the_same_id() {
    let (home, receiver) = (home(CONFIG), Receiver::fine());
    let server = home.serve();
    let (id, first) = register(&server, &json!({ "url": receiver.url() }));
    let test = || done(&ask(&server, "POST", &format!("/v1/webhooks/{id}/test"), &Value::Null), 202);
    let sent = test();
    let got = receiver.wait(1);
    assert_eq!((got[0].kind(), got[0].signed_by(&first)), ("webhook.test".into(), 1));
    assert_eq!((&sent["type"], &sent["messageID"]), (&json!("webhook.test"), &json!(got[0].id())));
    let rotated = done(&ask(&server, "POST", &format!("/v1/webhooks/{id}/rotate"), &Value::Null), 200);
    let second = rotated["secret"].as_str().unwrap();
    assert!(second != first && rotated["previousSecretUntil"].is_string(), "{rotated}");
    test();
    let got = receiver.wait(2);
    assert_eq!((got[1].signed_by(&first), got[1].signed_by(second)), (1, 1));
    assert_eq!(got[1].headers["webhook-signature"].split(' ').count(), 2);

    // Again: the same id, the same words, a signature of its own.
    newest(&server, id, "the second is delivered", |last| last["sequence"] == 2 && last["status"] == "delivered");
    let delivery = deliveries(&server, id)[1].clone();
    let again = format!("/v1/webhooks/{id}/deliveries/{}/redeliver", delivery["id"]);
    assert_eq!(done(&ask(&server, "POST", &again, &Value::Null), 202)["id"], delivery["id"]);
    let got = receiver.wait(3);
    assert_eq!((got[2].id(), &got[2].body), (got[0].id(), &got[0].body));
    assert_eq!(got[2].signed_by(second), 1);
    eventually("the repetition is noted", || {
        let log = deliveries(&server, id);
        log.len() == 2 && log[1]["status"] == "delivered" && log[1]["attempts"] == 2
    });
}

#[test]
fn a_webhook_is_changed_disabled_and_removed() {
    let (home, receiver, other) = (home(CONFIG), Receiver::fine(), Receiver::fine());
    let server = home.serve();
    let (id, secret) = register(&server, &json!({ "url": receiver.url() }));
    let path = format!("/v1/webhooks/{id}");
    let shown = done(&server.client().get(&path), 200);
    assert!(shown.get("secret").is_none() && shown["enabled"] == true && shown["userID"] == 1, "{shown}");
    let changed = done(&ask(&server, "PATCH", &path, &json!({ "url": other.url(), "events": ["job.failed"] })), 200);
    assert_eq!((&changed["url"], &changed["events"]), (&json!(other.url()), &json!(["job.failed"])));
    submit(&server, &json!({ "name": "well" }));
    submit(&server, &json!({ "name": "badly" }));
    assert_eq!(other.wait(1)[0].kind(), "job.failed");
    done(&ask(&server, "PATCH", &path, &json!({ "enabled": false })), 200);
    let again = format!("{path}/deliveries/{}/redeliver", deliveries(&server, id)[0]["id"]);
    assert_eq!(done(&ask(&server, "POST", &again, &Value::Null), 409)["code"], "conflict");
    done(&ask(&server, "POST", &format!("{path}/test"), &Value::Null), 409);
    let unheard = submit(&server, &json!({ "name": "badly" }));
    server.wait_for(unheard, "failed");
    done(&ask(&server, "PATCH", &path, &json!({ "enabled": true, "labels": {}, "names": [] })), 200);
    let heard = submit(&server, &json!({ "name": "badly" }));
    eventually("it is told again", || other.got().iter().any(|got| got.job() == heard));
    assert!(!other.got().iter().any(|got| got.job() == unheard), "of what happened meanwhile it is not told");
    done(&ask(&server, "DELETE", &path, &Value::Null), 204);
    done(&server.client().get(&path), 404);
    done(&server.client().get(&format!("{path}/deliveries")), 404);
    done(&ask(&server, "DELETE", &path, &Value::Null), 404);
    assert!(receiver.got().is_empty(), "nothing went to where it led before");
    // Nothing that is stored shows a secret.
    let kept = ["jobmgr.db", "jobmgr.db-wal"].map(|file| std::fs::read(home.path(file)).unwrap_or_default()).concat();
    let canary = secret.strip_prefix("whsec_").unwrap();
    assert!(!kept.windows(canary.len()).any(|bytes| bytes == canary.as_bytes()) && !home.log().contains(canary));
}

#[test]
fn the_log_has_pages() {
    let (home, receiver) = (home(CONFIG), Receiver::fine());
    let server = home.serve();
    let (id, _) = register(&server, &json!({ "url": receiver.url(), "events": ["job.queued"] }));
    submit_many(&server, "well", 7);
    eventually("all are noted", || {
        deliveries(&server, id).iter().filter(|delivery| delivery["status"] == "delivered").count() == 7
    });
    let mut seen = Vec::new();
    let mut path = format!("/v1/webhooks/{id}/deliveries?limit=3&status=delivered");
    loop {
        let page = done(&server.client().get(&path), 200);
        seen.extend(page["items"].as_array().unwrap().iter().map(|item| item["sequence"].as_i64().unwrap()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/webhooks/{id}/deliveries?limit=3&status=delivered&cursor={next}");
    }
    assert_eq!(seen, [7, 6, 5, 4, 3, 2, 1]);
    let none = done(&server.client().get(&format!("/v1/webhooks/{id}/deliveries?status=failed")), 200);
    assert_eq!(none, json!({ "items": [], "next": null }));
    let wrong = server.client().get(&format!("/v1/webhooks/{id}/deliveries?status=x&limit=0&cursor=j1"));
    assert_eq!(done(&wrong, 422)["errors"].as_array().unwrap().len(), 3);
}

/// The lines of the README that check a signature, as a receiver runs them.
#[test]
fn the_readme_shows_how_to_check_a_signature() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).unwrap();
    let section = readme.split("\n### Webhooks\n").nth(1).unwrap();
    let code = section.split("```python\n").nth(1).unwrap().split("  ```").next().unwrap();
    let code: Vec<&str> = code.lines().map(|line| line.strip_prefix("  ").unwrap_or(line)).collect();
    let script = format!(
        "{}\nimport json, sys\nprint(verified(sys.argv[1], json.loads(sys.argv[2]), sys.argv[3].encode()))",
        code.join("\n")
    );
    let check = |secret: &str, headers: &str, body: &str| {
        programs::run(Command::new("python3").args(["-c", &script, secret, headers, body])).unwrap()
    };
    let (home, receiver) = (home(CONFIG), Receiver::fine());
    let server = home.serve();
    let (id, secret) = register(&server, &json!({ "url": receiver.url() }));
    done(&ask(&server, "POST", &format!("/v1/webhooks/{id}/rotate"), &Value::Null), 200);
    submit(&server, &json!({ "name": "well" }));
    let got = receiver.wait(1).remove(0);
    let headers = json!(got.headers).to_string();
    assert_eq!(check(&secret, &headers, &got.body), "True\n");
    assert_eq!(check(&secret, &headers, &got.body.replace("completed", "failed")), "False\n");
    assert_eq!(check("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", &headers, &got.body), "False\n");
    let old = headers.replace(&got.headers["webhook-timestamp"], "1000000000");
    assert_eq!(check(&secret, &old, &got.body), "False\n");
}
