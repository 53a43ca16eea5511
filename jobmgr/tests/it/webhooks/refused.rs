//! Where nothing is sent.

use std::process::Command;

use serde_json::{Value, json};

use super::receiver::{How, Receiver};
use super::{CONFIG, ask, done, home, newest, register, submit};
use crate::support::programs;
use crate::support::server::Server;

fn url_is_refused(server: &Server, url: &str) {
    let problem = done(&ask(server, "POST", "/v1/webhooks", &json!({ "url": url })), 422);
    assert_eq!((&problem["code"], &problem["errors"][0]["field"]), (&json!("invalid_parameters"), &json!("url")));
    assert!(problem["detail"].as_str().unwrap().contains("AllowedHosts"), "{url}: {problem}");
}

#[test]
fn row_91_addresses_that_are_not_public_are_refused_when_they_are_registered() {
    let home = home("");
    let server = home.serve();
    for host in [
        "127.0.0.1",
        "169.254.169.254",
        "[::ffff:10.0.0.1]",
        "0x7f.1",
        "2130706433",
        "localhost",
        "localhost.",
        "[::1]",
    ] {
        url_is_refused(&server, &format!("http://{host}:9/x"));
    }
    assert_eq!(done(&server.client().get("/v1/webhooks"), 200)["items"], json!([]));
    // One that is registered can't be changed to such an address.
    let (id, _) = register(&server, &json!({ "url": "https://8.8.8.8/" }));
    done(&ask(&server, "PATCH", &format!("/v1/webhooks/{id}"), &json!({ "url": "http://127.1/" })), 422);
}

#[test]
fn row_91_a_redirect_is_not_followed() {
    let home = home(CONFIG);
    let server = home.serve();
    let target = Receiver::fine();
    let location = format!("Location: {}\r\n", target.url());
    let receiver = Receiver::new(move |_, _| How::Answer(302, location.clone()));
    let (id, _) = register(&server, &json!({ "url": receiver.url() }));
    submit(&server, &json!({ "name": "well" }));
    let last = newest(&server, id, "it is given up", |last| last["status"] == "failed");
    assert_eq!((&last["responseStatus"], &last["attempts"]), (&json!(302), &json!(7)));
    assert!(last["error"].as_str().unwrap().contains("redirects are not followed"), "{last}");
    assert!(target.got().is_empty());
}

/// The server sees its own `/etc/hosts`, which changes after the registration.
#[test]
fn row_91_a_name_that_is_bound_to_another_address_is_refused_when_it_is_told() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("\n*** SKIPPED: only root can give a process hosts of its own ***\n");
        return;
    }
    let can = programs::run(Command::new("unshare").args(["--mount", "true"]));
    let Some(_) = programs::or_skip("mount namespace", can) else { return };
    let home = home("[Webhooks]\nTimeout = \"2s\"\nRetryAfter = []\n");
    let hosts = home.path("hosts");
    let bind = |address: &str| std::fs::write(&hosts, format!("127.0.0.1 localhost\n{address} hooks.example.org\n"));
    bind("8.8.8.8").unwrap();
    let jobmgr = home.jobmgr(&["serve"]);
    let mut command = Command::new("unshare");
    let script = "mount --bind \"$0\" /etc/hosts && exec \"$@\"";
    command.args(["--mount", "sh", "-c", script]).arg(&hosts).arg(jobmgr.get_program()).args(jobmgr.get_args());
    command.envs(jobmgr.get_envs().filter_map(|(name, value)| Some((name, value?)))).current_dir(home.dir.path());
    let server = home.serve_by(command);
    let receiver = Receiver::fine();
    let url = format!("http://hooks.example.org:{}/", receiver.address.port());
    let (id, _) = register(&server, &json!({ "url": url }));
    bind("127.0.0.1").unwrap();
    submit(&server, &json!({ "name": "well" }));
    let last = newest(&server, id, "it is given up", |last| last["status"] == "failed");
    let error = last["error"].as_str().unwrap();
    assert!(error.contains("127.0.0.1") && error.contains("address of this machine"), "{error}");
    assert_eq!(last["responseStatus"], Value::Null);
    assert!(receiver.got().is_empty());
    // Now that it is known, it is refused at once.
    url_is_refused(&server, &url);
}

#[test]
fn row_94_secrets_are_refused_that_are_too_short_or_no_base64() {
    let home = home(CONFIG);
    let server = home.serve();
    let url = Receiver::fine().url();
    for secret in
        ["whsec_", "whsec_c2hvcnQ=", "whsec_MfKQ9r8GKYqrTwjUPD8!LPZIo2LaLaSw", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]
    {
        let problem = done(&ask(&server, "POST", "/v1/webhooks", &json!({ "url": url, "secret": secret })), 422);
        assert_eq!(problem["errors"][0]["field"], "secret");
        assert!(problem["detail"].as_str().unwrap().contains("24 to 64 bytes"), "{problem}");
    }
    let own = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    assert_eq!(register(&server, &json!({ "url": url, "secret": own })).1, own);
}

#[test]
fn every_mistake_is_told_at_once() {
    let home = home(CONFIG);
    let server = home.serve();
    let wrong = json!({
        "url": "ftp://example.org", "events": ["job.ended"], "names": [1], "labels": { "a b": "" }, "secret": 5, "sekret": 1,
    });
    let problem = done(&ask(&server, "POST", "/v1/webhooks", &wrong), 422);
    let errors = problem["errors"].as_array().unwrap();
    let fields: Vec<&str> = errors.iter().map(|error| error["field"].as_str().unwrap()).collect();
    assert_eq!(fields, ["events", "names", "labels.a b", "secret", "sekret", "url"]);
    for (body, fields) in [(json!({}), ["url"]), (json!({ "url": null }), ["url"]), (json!({ "url": 1 }), ["url"])] {
        let problem = done(&ask(&server, "POST", "/v1/webhooks", &body), 422);
        assert_eq!(problem["errors"][0]["field"], fields[0]);
    }
    let (id, _) = register(&server, &json!({ "url": Receiver::fine().url() }));
    let problem =
        done(&ask(&server, "PATCH", &format!("/v1/webhooks/{id}"), &json!({ "enabled": 1, "events": [] })), 422);
    assert_eq!(problem["errors"].as_array().unwrap().len(), 2);
    done(&ask(&server, "PATCH", "/v1/webhooks/99", &json!({})), 404);
    done(&ask(&server, "POST", &format!("/v1/webhooks/{id}/deliveries/99/redeliver"), &Value::Null), 404);
    done(&server.client().get("/v1/webhooks/x"), 404);
}
