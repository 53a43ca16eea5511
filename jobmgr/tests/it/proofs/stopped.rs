//! SIGSTOP of a worker past its lease: another one does its jobs, and what it does afterwards changes nothing.

use jobmgr::domain::job::{AttemptEnding, JobId, LogBody, Status};
use serde_json::json;

use super::rows::Rows;
use super::{Database, elsewhere, on_each_server, witness};
use crate::support::databases::DatabaseServer;
use crate::support::processes::{Signal, of_jobs, runs, signal};
use crate::support::server::{Home, eventually};

on_each_server!(who_was_stopped_changes_nothing);

const CONFIG: &str = "[Worker]\nLease = \"5s\"\nPoll = \"200ms\"\nConcurrency = 3";

/// The first attempt runs for as long as it may, the second one for a while.
const RUNS: &str = "[ $JOBMGR_ATTEMPT = 1 ] && { setsid sleep 600 & sleep 600; }\nawait second";
/// The first attempt ends while its worker is stopped; the second one runs for a while.
const ENDS: &str = "[ $JOBMGR_ATTEMPT = 1 ] && await first || await second";
/// The first attempt has ended, and a part of what it left is stored.
const UPLOADS: &str = "[ $JOBMGR_ATTEMPT = 1 ] && { cd \"$JOBMGR_ARTIFACTS_DIR\"\n\
                       seq -f %04g 3000 | while read n; do echo $n > $n.txt; done; }";

fn who_was_stopped_changes_nothing(database: Database) {
    let Database::Server(kind) = database else { unreachable!() };
    let Some(home) = database.home(CONFIG) else { return };
    let api = home.serve_by(home.jobmgr(&["serve", "--no-worker"]));
    let mut rows = Rows::of(&home);
    let mut first = home.worker_by(elsewhere(&home, 1));
    let ids = start(&home, &rows, |name| api.start(name, json!({})));
    signal(first.pid(), Signal::STOP);
    let pids: Vec<u32> = witness::lines(&home).iter().map(|line| line.pid).collect();
    std::fs::write(home.path("first"), "").unwrap();
    eventually("an attempt ends while its worker is stopped", || said(&home, "end", ids[1], 1));

    let _second = home.worker_by(elsewhere(&home, 2));
    rows.wait(&ids[2..]);
    eventually("the others are taken over", || ids.iter().all(|id| said(&home, "start", *id, 2)));
    let server = kind.shared().unwrap();
    let before = whole_rows(server, &home);

    signal(first.pid(), Signal::CONT);
    eventually("it gives all three up", || {
        assert_eq!(whole_rows(server, &home), before);
        home.log().matches("lease lost").count() >= ids.len()
    });
    eventually("their processes are gone", || !pids.iter().any(|pid| runs(*pid)));
    eventually("their objects are gone", || rows.objects().iter().all(|(_, _, attempt)| *attempt == 2));
    // What it might still do, it has done when it has ended.
    signal(first.pid(), Signal::TERM);
    assert_eq!(first.exit().code(), Some(0), "{}", home.log());
    assert_eq!(whole_rows(server, &home), before);
    std::fs::write(home.path("second"), "").unwrap();
    rows.wait(&ids);
    ids.iter().for_each(|id| check(&rows, *id));
    eventually("no other objects are left", || rows.objects().len() == ids.len());
    eventually("nothing of any job runs", || of_jobs(home.dir.path()).is_empty());
}

/// Starts the three jobs; returns when each is where it is to be when its worker is stopped.
fn start(home: &Home, rows: &Rows, submit: impl Fn(&str) -> JobId) -> [JobId; 3] {
    for (name, work) in [("runs", RUNS), ("ends", ENDS), ("uploads", UPLOADS)] {
        let here = home.dir.path().display();
        let wait = format!("await() {{ until [ -e {here}/$1 ]; do sleep 0.02; done; }}");
        let last = "echo \"$JOBMGR_JOB_ID $JOBMGR_ATTEMPT\" | tee \"$JOBMGR_ARTIFACTS_DIR/who.txt\"";
        witness::spec(home, name, &format!("{wait}\n{work}\n{last}"), "Timeout = \"10m\"");
    }
    let (runs, ends) = (submit("runs"), submit("ends"));
    eventually("two jobs run", || witness::lines(home).len() == 2);
    let uploads = submit("uploads");
    eventually("the third one is being stored", || rows.objects().len() > 50);
    [runs, ends, uploads]
}

fn said(home: &Home, word: &str, id: JobId, attempt: i64) -> bool {
    witness::lines(home).iter().any(|line| (line.word.as_str(), line.job, line.attempt) == (word, id, attempt))
}

/// The job's end is the second attempt's.
fn check(rows: &Rows, id: JobId) {
    let job = rows.settled(id);
    assert_eq!((job.status, job.attempt), (Status::Completed, 2), "{job:?}");
    let ended = job.ended.unwrap();
    let told = format!("{id} 2\n").into_bytes();
    assert_eq!(ended.artifacts.len(), 1, "job {id}");
    assert_eq!(rows.bytes(&ended.artifacts[0].key), told);
    assert_eq!(ended.stdout.body, LogBody::Inline(told));
    let attempts = rows.attempts(id);
    assert_eq!(attempts.iter().map(|attempt| attempt.ending).collect::<Vec<_>>(), [AttemptEnding::Lost]);
}

/// Every row that tells of jobs, with every column but the lease, which its holder renews.
fn whole_rows(server: &DatabaseServer, home: &Home) -> String {
    let database = home.url.rsplit('/').next().unwrap();
    let columns = server.sql(
        database,
        &format!(
            "SELECT column_name FROM information_schema.columns \
             WHERE table_name = 'jobs' AND table_schema IN ('public', '{database}') ORDER BY ordinal_position"
        ),
    );
    let columns: Vec<&str> = columns.lines().filter(|column| *column != "lease_until").collect();
    assert!(columns.len() > 20, "{columns:?}");
    let jobs = server.sql(database, &format!("SELECT {} FROM jobs ORDER BY id", columns.join(", ")));
    let others = ["attempts ORDER BY job_id, attempt", "artifacts ORDER BY id", "chunks ORDER BY job_id, start_at"];
    let others = others.map(|table| server.sql(database, &format!("SELECT * FROM {table}")));
    format!("{jobs}\n{}", others.join("\n"))
}
