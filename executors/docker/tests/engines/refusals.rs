use std::time::Duration;

use jobmgr_executor_docker::{Config, Docker, Options};
use jobmgr_plugin_api::test::Host;
use jobmgr_plugin_api::{Ending, Executor, KillReason, Kind as ErrorKind, Stop};

use crate::support::{Engine, Kind, Work};

crate::on_both!(
    an_image_that_is_missing,
    an_image_that_cannot_be_pulled,
    a_command_that_is_missing,
    options_that_are_refused
);

/// The job fails for its own fault, and a text says all of `words`.
fn refused(work: &Work<'_>, words: &[&str]) {
    let error = work.run(&Host::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    for word in words {
        assert!(error.to_string().contains(word), "{word:?} is not in: {error}");
    }
}

fn an_image_that_is_missing(engine: &Engine) {
    let docker = engine.executor();
    let work = Work::sh(&docker, "").options(|options| options.image = "jm-not-there:1".into());
    refused(&work, &["jm-not-there:1", "Pull", "never"]);
}

/// Nobody listens at this registry.
fn an_image_that_cannot_be_pulled(engine: &Engine) {
    let docker = engine.executor();
    let work = Work::sh(&docker, "").options(|options| {
        options.image = "127.0.0.1:1/tool:1".into();
        options.pull = None;
    });
    let host = Host::default();
    let error = work.run(&host).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
    assert!(error.to_string().contains("can't be pulled"), "{error}");
    assert!(String::from_utf8(host.executor_log()).unwrap().contains("pulling 127.0.0.1:1/tool:1"));
}

fn a_command_that_is_missing(engine: &Engine) {
    let docker = engine.executor();
    refused(&Work::new(&docker, &["no-such-program"]), &["can't start", "no-such-program"]);
}

fn options_that_are_refused(engine: &Engine) {
    let docker = engine.executor();
    let work = |change: &dyn Fn(&mut Options)| Work::sh(&docker, "true").options(change);
    refused(&work(&|options| options.cap_add = vec!["NO_SUCH".into()]), &["NO_SUCH"]);
    let mount = serde_json::json!({"Source": "/no/such/place", "Target": "/x"});
    let mount = || vec![serde_json::from_value(mount.clone()).unwrap()];
    // Podman makes the place instead.
    if engine.kind == Kind::Docker {
        refused(&work(&|options| options.mounts = mount()), &["/no/such/place"]);
    }
    let unread = serde_json::from_value::<Options>(serde_json::json!({"Image": "x", "Memory": "much"})).unwrap_err();
    assert!(unread.to_string().contains("'much' is not a size"), "{unread}");
}

#[test]
fn an_engine_that_is_not_there() {
    let config = Config { host: Some("unix:///no/such/socket".into()), ..Config::default() };
    let docker = Docker::new(config).unwrap();
    let work = Work::sh(&docker, "");
    let errors = [work.run(&Host::default()).unwrap_err(), work.cleanup().unwrap_err()];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Retry);
        assert!(error.to_string().contains("unix:///no/such/socket can't be reached"), "{error}");
    }
}

/// `recover` waits for it, as long as it is told to, or until a stop.
#[test]
fn an_engine_that_does_not_come_back() {
    let host = Some("unix:///no/such/socket".to_owned());
    let docker = Docker::new(Config { host, reconnect_seconds: Some(1), ..Config::default() }).unwrap();
    let work = Work::sh(&docker, "");
    let error = work.recover(None, &Host::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Failed);
    assert!(error.to_string().contains("may still run"), "{error}");
    let host = Host::default();
    let outcome = std::thread::scope(|scope| {
        let run = scope.spawn(|| work.recover(None, &host));
        std::thread::sleep(Duration::from_millis(50));
        host.stop(Stop::Cancel);
        run.join().unwrap().unwrap()
    });
    assert_eq!(outcome.ending, Ending::Killed(KillReason::Cancelled));
}

#[test]
fn hosts_that_mean_nothing() {
    for host in ["", "ssh://there", "https://there:1"] {
        let error = Docker::new(Config { host: Some(host.into()), ..Config::default() }).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("Host") && error.to_string().contains("unix://"), "{error}");
    }
}
