//! What receivers answer, and what comes of it.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::receiver::{How, Receiver, fine};
use super::{CONFIG, ask, deliveries, done, home, newest, register, submit};
use crate::support::server::eventually;
use crate::support::{nobody, programs};

#[test]
fn row_92_a_receiver_that_hangs_is_given_a_limited_time() {
    let home = home("[Webhooks]\nAllowedHosts = [\"127.0.0.1\"]\nTimeout = \"2s\"\nRetryAfter = [\"3s\"]\n");
    let server = home.serve();
    let receiver = Receiver::new(|before, _| if before == 0 { How::Hang } else { fine() });
    let (id, _) = register(&server, &json!({ "url": receiver.url() }));
    submit(&server, &json!({ "name": "well" }));
    let late =
        newest(&server, id, "the first attempt is over", |last| last["attempts"] == 1 && !last["error"].is_null());
    assert_eq!((&late["error"], &late["responseStatus"]), (&json!("no answer in time"), &Value::Null));
    let took = late["durationMs"].as_i64().unwrap();
    assert!((2000..5000).contains(&took), "{took} ms");
    let got = receiver.wait(2);
    assert_eq!((got[0].id(), &got[0].body), (got[1].id(), &got[1].body));
    newest(&server, id, "the second attempt is noted", |last| last["status"] == "delivered" && last["attempts"] == 2);
}

#[test]
fn row_92_of_an_answer_of_1_gb_only_the_beginning_is_read() {
    let home = home(CONFIG);
    let server = home.serve();
    let receiver = Receiver::new(|_, _| How::Long(1 << 30));
    let (id, _) = register(&server, &json!({ "url": receiver.url() }));
    let begun = Instant::now();
    submit(&server, &json!({ "name": "well" }));
    let last = newest(&server, id, "it is delivered", |last| last["status"] == "delivered");
    assert_eq!(last["response"].as_str().unwrap(), "x".repeat(1024));
    assert!(last["durationMs"].as_i64().unwrap() < 1500 && begun.elapsed() < Duration::from_secs(20), "{last}");
}

#[test]
fn row_92_410_disables_the_webhook() {
    let home = home(CONFIG);
    let server = home.serve();
    let receiver = Receiver::new(|_, _| How::Answer(410, String::new()));
    let (id, _) = register(&server, &json!({ "url": receiver.url() }));
    submit(&server, &json!({ "name": "well" }));
    let last = newest(&server, id, "it is given up", |last| last["status"] == "failed");
    assert_eq!((&last["responseStatus"], &last["attempts"]), (&json!(410), &json!(1)));
    let shown = done(&server.client().get(&format!("/v1/webhooks/{id}")), 200);
    assert_eq!(shown["enabled"], false);
    assert!(shown["disabledReason"].as_str().unwrap().contains("410"), "{shown}");
    let enabled = done(&ask(&server, "PATCH", &format!("/v1/webhooks/{id}"), &json!({ "enabled": true })), 200);
    assert_eq!((&enabled["enabled"], &enabled["disabledReason"]), (&json!(true), &Value::Null));
}

#[test]
fn row_92_retry_after_is_kept() {
    let home = home(CONFIG);
    let server = home.serve();
    let receiver = Receiver::new(|before, _| match before {
        0 => How::Answer(429, "Retry-After: 2\r\n".into()),
        1 => How::Answer(503, "Retry-After: 3600\r\n".into()),
        _ => fine(),
    });
    let (id, _) = register(&server, &json!({ "url": receiver.url() }));
    submit(&server, &json!({ "name": "well" }));
    let got = receiver.wait(2);
    let pause = got[1].at - got[0].at;
    assert!(pause >= Duration::from_millis(1900), "{pause:?}");
    let last = newest(&server, id, "the second answer is noted", |last| last["responseStatus"] == 503);
    assert_eq!((&last["status"], &last["attempts"]), (&json!("pending"), &json!(2)));
    let sent = last["timestamp"].as_str().unwrap();
    assert!(last["nextAttempt"].as_str().unwrap() > sent, "{last}");
    // An hour is too long for a test; asked for, it is sent at once.
    let again = format!("/v1/webhooks/{id}/deliveries/{}/redeliver", last["id"]);
    done(&ask(&server, "POST", &again, &Value::Null), 202);
    newest(&server, id, "it is delivered", |last| last["status"] == "delivered" && last["attempts"] == 3);
}

#[test]
fn row_92_a_certificate_that_nobody_signed_is_told_as_such() {
    let home = home(CONFIG);
    let (key, certificate) = (home.path("key.pem"), home.path("certificate.pem"));
    let made = programs::run(
        Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
            .args(["-subj", "/CN=receiver", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout"])
            .arg(&key)
            .arg("-out")
            .arg(&certificate),
    );
    let Some(_) = programs::or_skip("openssl", made) else { return };
    let script = "import ssl, socket, sys\n\
                  c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER); c.load_cert_chain(sys.argv[2], sys.argv[1])\n\
                  s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True)\n\
                  while True:\n  try: c.wrap_socket(s.accept()[0], server_side=True)\n  except OSError: pass\n";
    let mut receiver = Command::new("python3");
    receiver.args(["-c", script]).args([&key, &certificate]).stdout(Stdio::piped());
    let mut receiver = receiver.spawn().unwrap();
    let mut port = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(receiver.stdout.take().unwrap()), &mut port).unwrap();
    let server = home.serve();
    let (id, _) = register(&server, &json!({ "url": format!("https://127.0.0.1:{}/", port.trim()) }));
    submit(&server, &json!({ "name": "well" }));
    let last = newest(&server, id, "it is tried", |last| !last["error"].is_null());
    let error = last["error"].as_str().unwrap().to_lowercase();
    receiver.kill().unwrap();
    receiver.wait().unwrap();
    assert!(error.contains("certificate"), "{error}");
}

#[test]
fn who_is_not_there_is_tried_as_often_as_the_configuration_says() {
    let home = home("[Webhooks]\nAllowedNetworks = [\"127.0.0.0/8\"]\nRetryAfter = [\"100ms\", \"100ms\"]\n");
    let server = home.serve();
    let nobody = nobody();
    let (id, _) = register(&server, &json!({ "url": format!("http://{}/", nobody.local_addr().unwrap()) }));
    submit(&server, &json!({ "name": "well" }));
    let last = newest(&server, id, "it is given up", |last| last["status"] == "failed");
    assert_eq!((&last["attempts"], &last["responseStatus"]), (&json!(3), &Value::Null));
    assert!(last["error"].as_str().unwrap().to_lowercase().contains("refused"), "{last}");
    eventually("the log says so", || home.log().contains("given up"));
    assert_eq!(deliveries(&server, id).len(), 1);
}
