//! A worker that hangs in the midst of a transaction: what it has locked must not stay locked for long.

use jobmgr::crash::{Point, VARIABLE};
use serde_json::json;

use super::trial::{Base, Trial};
use crate::support::databases::Kind;
use crate::support::server::eventually;

const CONFIG: &str = "[Worker]\nConcurrency = 2\nLease = \"2s\"\nPoll = \"100ms\"";
const SCRIPT: &str =
    "[ $JOBMGR_ATTEMPT = 1 ] || { echo attempt $JOBMGR_ATTEMPT; exit; }; echo start >> \"$WITNESS\"; sleep 600";

#[test]
fn a_worker_that_hangs_in_a_transaction_of_postgres_keeps_no_job() {
    hangs(Kind::Postgres);
}

#[test]
fn a_worker_that_hangs_in_a_transaction_of_mariadb_keeps_no_job() {
    hangs(Kind::MariaDb);
}

/// The rows of its jobs are locked, and nobody closes its connection.
fn hangs(kind: Kind) {
    let Some(trial) = Trial::new(Base::Server(kind), CONFIG) else { return };
    trial.sh("job", SCRIPT, "Timeout = \"10m\"");
    let api = trial.api();
    let ids = [api.start("job", json!({})), api.start("job", json!({}))];
    let mut command = trial.jobmgr(&["worker"], "tmp-hanging");
    command.env(VARIABLE, format!("{}:4:hang", Point::InRenewal.name()));
    let _hanging = trial.start(command);
    eventually("both run", || trial.witnessed().len() == 2);
    eventually("it gives up what it can't renew", || trial.home.log().matches("lease lost").count() == 2);
    let _other = trial.worker("tmp");
    for id in ids {
        let ended = api.wait(id);
        // The one that hangs may have claimed it once more in between.
        assert!(ended.status == "completed" && ended.result != "attempt 1\n", "{ended:?}");
    }
}
