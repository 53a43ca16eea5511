//! Workers whose clock is an hour ahead, and an hour behind. With a database server nobody looks at them: times and
//! leases are by the server's clock. A SQLite file has no clock of its own; there the clock of a process counts.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jobmgr::domain::job::Status;
use serde_json::json;

use super::trial::{Base, Trial};
use crate::support::databases::Kind;
use crate::support::programs;

const CONFIG: &str = "[Worker]\nConcurrency = 2\nLease = \"4s\"\nPoll = \"100ms\"";
/// How wrong the clocks may make anything.
const SOON: i64 = 60_000;

#[test]
fn wrong_clocks_of_workers_change_nothing_with_postgres() {
    wrong_clocks(Kind::Postgres);
}

#[test]
fn wrong_clocks_of_workers_change_nothing_with_mariadb() {
    wrong_clocks(Kind::MariaDb);
}

/// Debian's libfaketime.
fn library() -> Option<PathBuf> {
    let triple = format!("/usr/lib/{}-linux-gnu/faketime/libfaketimeMT.so.1", std::env::consts::ARCH);
    let found = PathBuf::from(triple);
    programs::or_skip("libfaketime", if found.exists() { Ok(found) } else { Err("it is not installed".to_owned()) })
}

/// The command with the time of day shifted, and no other clock: as on a machine whose clock was set wrong.
fn shifted(mut command: Command, by: &str) -> Option<Command> {
    command.env("LD_PRELOAD", library()?).env("FAKETIME", by).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    Some(command)
}

fn now_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

fn wrong_clocks(kind: Kind) {
    let Some(trial) = Trial::new(Base::Server(kind), CONFIG) else { return };
    // Some are done between two renewals, some need a few leases.
    let script =
        "echo \"start $JOBMGR_JOB_ID $JOBMGR_ATTEMPT\" >> \"$WITNESS\"; date +%s; env | grep -c FAKETIME; true";
    trial.sh("quick", script, "");
    trial.sh("long", &format!("sleep 6; {script}"), "");
    let api = trial.api();
    let ids: Vec<i64> = (0..14).map(|number| api.start(if number < 4 { "long" } else { "quick" }, json!({}))).collect();
    let begun = now_ms();
    let _workers: Vec<_> = ["+1h", "-1h"]
        .into_iter()
        .map_while(|by| Some(trial.start(shifted(trial.jobmgr(&["worker"], by), by)?)))
        .collect();
    if _workers.is_empty() {
        return;
    }
    for id in &ids {
        let ended = api.wait(*id);
        // Of the environment of its worker a job has nothing; so its clock is right.
        let (clock, variables) = ended.result.split_once('\n').unwrap();
        assert_eq!(variables, "0\n");
        assert!((clock.parse::<i64>().unwrap() * 1000 - begun).abs() < SOON, "{clock}");
        let (job, attempts) = trial.stored(*id);
        assert_eq!((job.status, job.attempt, attempts.len()), (Status::Completed, 1, 0), "{attempts:?}");
        let [created, started, finished] = [Some(job.created_ms), job.started_ms, job.finished_ms].map(Option::unwrap);
        assert!(created <= started && started <= finished, "{created} {started} {finished}");
        assert!((created - begun).abs() < SOON && (finished - begun).abs() < SOON, "{begun} {created} {finished}");
    }
    let witnessed = trial.witnessed();
    assert_eq!(witnessed.len(), ids.len(), "{witnessed:?}");
    // Both have worked, each by its own clock.
    let log = trial.home.log();
    let hour = |by: i64| {
        let time = UNIX_EPOCH + Duration::from_millis(u64::try_from(begun + by * 3_600_000).unwrap());
        jobs_ended_at(&log, time)
    };
    assert!(hour(1) > 0 && hour(-1) > 0, "{log}");
}

/// How many lines of the log tell of an end within a minute of this time.
fn jobs_ended_at(log: &str, time: SystemTime) -> usize {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap().as_secs();
    let of_day = |line: &str| {
        let clock: Vec<u64> = line.get(11..19)?.split(':').map_while(|part| part.parse().ok()).collect();
        let [hours, minutes, seconds] = clock[..] else { return None };
        Some(hours * 3600 + minutes * 60 + seconds)
    };
    let near = |line: &&str| of_day(line).is_some_and(|at| (at + 86_400 - seconds % 86_400 + 60) % 86_400 < 120);
    log.lines().filter(|line| line.contains(" ended job=")).filter(near).count()
}
