use jobmgr_plugin_api::test::Host;
use jobmgr_plugin_api::{Executor, Kind, Recover};
use serde_json::json;

use crate::objects::refuse;
use crate::server::{Answer, Server};
use crate::{connected, created, job, run, with};

/// Refuses every request of this kind so; gives what the executor made of it.
fn refused(method: &'static str, code: u16, reason: &'static str, words: &'static str) -> (Kind, String) {
    let server = Server::start();
    server.objects().fault = Some(Box::new(move |request| {
        (request.method == method && request.path.contains("/jobs")).then(|| refuse(code, reason, words))
    }));
    let (result, _) = run(&server, &job("k"), |_| {});
    let error = result.unwrap_err();
    (error.kind(), error.to_string())
}

#[test]
fn refusals_are_told_apart_and_keep_the_servers_words() {
    let (kind, text) = refused("GET", 401, "Unauthorized", "Unauthorized");
    assert_eq!(kind, Kind::Invalid);
    assert!(text.contains("does not know these credentials: see 'Kubeconfig'"), "{text}");

    let (kind, text) = refused("POST", 403, "Forbidden", "jobs.batch is forbidden: User \"x\" cannot create");
    assert_eq!(kind, Kind::Invalid);
    assert!(text.contains("User \"x\" cannot create") && text.contains("needs a Role"), "{text}");

    let (kind, _) = refused("POST", 403, "Forbidden", "forbidden: exceeded quota: small");
    assert_eq!(kind, Kind::Retry);

    let words = "Job.batch \"k\" is invalid: spec.template.spec.containers[0].image: Required value";
    let (kind, text) = refused("POST", 422, "Invalid", words);
    assert_eq!(kind, Kind::Invalid);
    assert_eq!(text, format!("creating the Job: 422: {words}"));

    let (kind, text) = refused("POST", 400, "BadRequest", "strict decoding error: unknown field \"spec.colour\"");
    assert_eq!(kind, Kind::Invalid);
    assert!(text.contains("unknown field"), "{text}");

    for (code, reason) in [(429, "TooManyRequests"), (500, "InternalError"), (503, "ServiceUnavailable")] {
        assert_eq!(refused("POST", code, reason, "later").0, Kind::Retry, "{code}");
    }
}

#[test]
fn a_namespace_that_is_not_there_is_named() {
    let server = Server::start();
    let (result, _) = run(&server, &with("k", json!({"Namespace": "nowhere"})), |_| {});
    let error = result.unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    let text = "creating the Job: 404: namespaces \"nowhere\" not found; 'Namespace' must be one that exists";
    assert_eq!(error.to_string(), text);
}

#[test]
fn nobody_there_is_tried_again_later() {
    let server = Server::start();
    let executor = connected(&server);
    let config = server.kubeconfig();
    // Held, so that nobody else comes to listen there.
    let nobody = tokio::net::TcpSocket::new_v4().unwrap();
    nobody.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let closed = nobody.local_addr().unwrap();
    let text = std::fs::read_to_string(&config).unwrap();
    let open = text.split("127.0.0.1:").nth(1).unwrap().split('"').next().unwrap().to_owned();
    std::fs::write(&config, text.replace(&open, &closed.port().to_string())).unwrap();
    let away = crate::executor(json!({ "Kubeconfig": config })).unwrap();
    let error = away.run(&job("k"), &Host::default().context()).unwrap_err();
    assert_eq!(error.kind(), Kind::Retry, "{error}");
    drop(executor);
}

#[test]
fn an_order_whose_answer_is_lost_is_not_given_twice() {
    let server = Server::start();
    server.objects().lose = Some("POST jobs".into());
    let (result, host) = run(&server, &job("k"), |_| {
        created(&server, "k");
        server.objects().exit("k", 0);
    });
    assert_eq!(result.unwrap().exit_code, Some(0));
    assert_eq!(server.objects().count("POST jobs"), 1);
    assert_eq!(host.checkpoints().len(), 1);
}

#[test]
fn a_job_that_is_there_already_is_ours_unless_its_label_is_anothers() {
    let server = Server::start();
    // The first look does not see it yet.
    let mut is_first = true;
    server.objects().fault = Some(Box::new(move |request| {
        let is_look = request.method == "GET" && request.path.ends_with("/jobs/k");
        (is_look && std::mem::take(&mut is_first)).then(|| refuse(404, "NotFound", "not found"))
    }));
    let metadata = json!({"name": "k", "uid": "u", "labels": {"jobmgr/key": "k"}});
    let object = |metadata| {
        json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "status": {
            "conditions": [{"type": "Complete", "status": "True"}],
        }})
    };
    server.objects().jobs.insert("k".into(), object(metadata));
    let (result, _) = run(&server, &job("k"), |_| {});
    assert_eq!(result.unwrap().exit_code, Some(0));
    assert_eq!(server.objects().count("POST jobs"), 1);

    server.objects().jobs.insert("k".into(), object(json!({"name": "k", "uid": "v"})));
    let (result, _) = run(&server, &job("k"), |_| {});
    let error = result.unwrap_err();
    assert_eq!(error.to_string(), "there is a Job 'k' in 'jobs' that is not jobmgr's");
    // Nor is it removed.
    let handle = br#"{"namespace":"jobs","name":"k","uid":"u"}"#;
    connected(&server).cleanup(&job("k"), Some(handle), &Host::default().context()).unwrap();
    assert!(server.objects().jobs.contains_key("k"));
}

#[test]
fn a_server_that_is_away_for_a_while_costs_no_job() {
    let server = Server::start();
    let (result, host) = run(&server, &job("k"), |host| {
        created(&server, "k");
        server.objects().run("k");
        server.objects().print("k", 1, "one");
        server.until("it runs", |_| host.stdout() == b"one\n");
        server.objects().fault = Some(Box::new(|request| {
            // Some are refused, some are cut.
            Some(match request.path.contains("/pods") {
                true => Answer::Close,
                false => refuse(503, "ServiceUnavailable", "etcdserver: no leader"),
            })
        }));
        let said = |host: &Host| String::from_utf8(host.executor_log()).unwrap();
        server.until("trouble is told", |_| said(host).contains("kubernetes does not answer"));
        server.objects().print("k", 2, "two");
        server.objects().fault = None;
        server.until("its end is told", |_| said(host).contains("kubernetes answers again"));
        server.objects().exit("k", 0);
    });
    assert_eq!(result.unwrap().exit_code, Some(0));
    assert_eq!(host.stdout(), b"one\ntwo\n");
}

#[test]
fn a_page_that_is_forgotten_begins_the_list_again() {
    let server = Server::start();
    server.objects().page = Some(1);
    server.objects().fault = Some(Box::new(|request| {
        request.query("continue").map(|_| refuse(410, "Expired", "The provided continue parameter is too old"))
    }));
    let executor = connected(&server);
    std::thread::scope(|scope| {
        let run = |key: &'static str| {
            let executor = &executor;
            scope.spawn(move || executor.run(&job(key), &Host::default().context()).unwrap().exit_code)
        };
        let (one, other) = (run("a"), run("b"));
        server.until("both", |objects| objects.jobs.len() == 2);
        server.objects().exit("a", 1);
        server.objects().exit("b", 2);
        assert_eq!((one.join().unwrap(), other.join().unwrap()), (Some(1), Some(2)));
    });
}

#[test]
fn a_namespace_that_refuses_does_not_stop_the_others() {
    let server = Server::start();
    server.objects().fault = Some(Box::new(|request| {
        let is_it = request.method == "GET" && request.path.ends_with("/namespaces/closed/pods");
        is_it.then(|| refuse(403, "Forbidden", "pods is forbidden"))
    }));
    let executor = connected(&server);
    let (closed, host) = (with("a", json!({"Namespace": "closed"})), Host::default());
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| executor.run(&closed, &host.context()).unwrap().exit_code);
        created(&server, "a");
        let goes = scope.spawn(|| executor.run(&job("b"), &Host::default().context()).unwrap().exit_code);
        created(&server, "b");
        server.objects().exit("b", 2);
        assert_eq!(goes.join().unwrap(), Some(2));
        server.objects().fault = None;
        server.objects().exit("a", 1);
        assert_eq!(waits.join().unwrap(), Some(1));
    });
}
