//! Processes whose packets to and from the database get lost for a while: no answer comes, and no refusal.

use std::time::{Duration, Instant};

use serde_json::json;

use super::cell::{Cell, Lost};
use super::trial::{Base, Trial};
use crate::support::databases::Kind;
use crate::support::processes::runs;
use crate::support::server::{Server, eventually, whole};

const CONFIG: &str = "[Worker]\nConcurrency = 2\nLease = \"6s\"\nPoll = \"100ms\"";
/// Says all the time that it is alive, in its first attempt.
const LONG: &str = r#"
echo "start $JOBMGR_ATTEMPT $(date +%s%N)" >> "$WITNESS"
[ $JOBMGR_ATTEMPT = 1 ] || { echo attempt $JOBMGR_ATTEMPT; exit; }
echo $$ > "$WITNESS.pid"
while :; do echo "alive $JOBMGR_ATTEMPT $(date +%s%N)" >> "$WITNESS"; sleep 0.05; done
"#;
/// Ends while its worker is cut off.
const ENDS: &str = r#"
until [ -e "$WITNESS.cut" ]; do sleep 0.05; done
echo attempt $JOBMGR_ATTEMPT | tee "$JOBMGR_ARTIFACTS_DIR/who.txt"
"#;

#[test]
fn a_worker_cut_off_from_postgres_ends_its_job_before_another_begins_it() {
    cut_off(Kind::Postgres, Lost::All);
}

#[test]
fn a_worker_cut_off_from_mariadb_ends_its_job_before_another_begins_it() {
    cut_off(Kind::MariaDb, Lost::All);
}

#[test]
fn a_worker_that_postgres_does_not_answer_ends_its_job_before_another_begins_it() {
    cut_off(Kind::Postgres, Lost::Answers);
}

#[test]
fn a_worker_that_mariadb_does_not_answer_ends_its_job_before_another_begins_it() {
    cut_off(Kind::MariaDb, Lost::Answers);
}

fn cut_off(kind: Kind, lost: Lost) {
    let Some(server) = kind.shared() else { return };
    let Some(trial) = Trial::new(Base::Server(kind), CONFIG) else { return };
    let Some(cell) = Cell::new() else { return };
    trial.sh("long", LONG, "Timeout = \"10m\"");
    trial.sh("ends", ENDS, "Timeout = \"10m\"");
    trial.sh("there", "echo there", "Requires = [\"inside\"]");
    let mut command = trial.jobmgr(&["worker"], "tmp-inside");
    command.env("JOBMGR_DATABASE__URL", cell.reach(&trial.url, server.port())).env("JOBMGR_WORKER__LABELS", "inside");
    let mut inside = trial.start(cell.enter(&command));
    let api = trial.api();
    let (long, ends) = (api.start("long", json!({})), api.start("ends", json!({})));
    let pid = || whole(&trial.home.path("witness.pid"))?.trim().parse::<u32>().ok();
    eventually("both run inside", || pid().is_some() && api.job(ends)["job"]["status"] == "started");
    let _outside = trial.worker("tmp-outside");
    eventually("the other worker is there", || trial.home.log().matches("works for").count() == 2);

    cell.cut(lost);
    std::fs::write(trial.home.path("witness.cut"), "").unwrap();
    for id in [long, ends] {
        let ended = api.wait(id);
        assert_eq!((ended.status.as_str(), ended.result.as_str()), ("completed", "attempt 2\n"));
    }
    assert!(!runs(pid().unwrap()), "the first attempt runs still");
    let witnessed = trial.witnessed();
    let last = |what: &str| {
        let line = witnessed.iter().rfind(|line| line.starts_with(what)).unwrap();
        line.rsplit(' ').next().unwrap().parse::<u128>().unwrap()
    };
    assert!(last("alive 1") < last("start 2"), "{:?}", (last("alive 1"), last("start 2")));

    // It has been silent for longer than anything waits.
    std::thread::sleep(Duration::from_secs(3));
    let there = api.start("there", json!({}));
    cell.mend(lost);
    let mended = Instant::now();
    assert_eq!(api.wait(there).result, "there\n");
    assert!(mended.elapsed() < Duration::from_secs(20), "works again only after {:?}", mended.elapsed());
    assert!(!inside.has_ended());
    for id in [long, ends] {
        assert_eq!(trial.stored(id).0.attempt, 2);
        assert_eq!(api.wait(id).result, "attempt 2\n", "what came too late was dropped");
    }
    let artifacts = api.wait(ends).artifacts;
    assert_eq!((artifacts.len(), api.download(&artifacts[0])), (1, b"attempt 2\n".to_vec()));
}

#[test]
fn an_api_that_is_cut_off_from_postgres_says_so_and_comes_back() {
    api_cut_off(Kind::Postgres);
}

#[test]
fn an_api_that_is_cut_off_from_mariadb_says_so_and_comes_back() {
    api_cut_off(Kind::MariaDb);
}

fn api_cut_off(kind: Kind) {
    let Some(server) = kind.shared() else { return };
    let Some(trial) = Trial::new(Base::Server(kind), CONFIG) else { return };
    let Some(cell) = Cell::new() else { return };
    trial.sh("job", "echo $JOBMGR_ATTEMPT", "");
    let mut command = trial.jobmgr(&["serve", "--no-worker"], "tmp");
    command.env("JOBMGR_DATABASE__URL", cell.reach(&trial.url, server.port()));
    command.env("JOBMGR_SERVER__LISTEN", format!("{}:0", cell.inside())).env("JOBMGR_SERVER__AUTH", "none");
    let api = trial.home.serve_by(cell.enter(&command));
    let _worker = trial.worker("tmp-worker");
    let id = api.start("job", json!({}));
    assert_eq!(api.wait(id).result, "1\n");

    cell.cut(Lost::All);
    // More than there are connections to wait on.
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| assert!(refuses(&api, id) < Duration::from_secs(25)));
        }
        scope.spawn(|| {
            let begun = Instant::now();
            let answer = api.client().try_post("/jobs/start", &[("name", "job"), ("parameters", "{}")]).unwrap();
            assert_eq!(answer.status, 503, "{answer:?}");
            assert!(begun.elapsed() < Duration::from_secs(25), "{:?}", begun.elapsed());
        });
    });
    cell.mend(Lost::All);
    let mended = Instant::now();
    eventually("it answers again", || api.client().get(&format!("/jobs/get?id={id}")).status == 200);
    let next = api.start("job", json!({}));
    assert_eq!(api.wait(next).result, "1\n");
    assert!(mended.elapsed() < Duration::from_secs(20), "works again only after {:?}", mended.elapsed());
}

/// Asks for a job, which can't be read; gives how long it takes to be told so.
fn refuses(api: &Server, id: i64) -> Duration {
    let begun = Instant::now();
    let answer = api.client().get(&format!("/jobs/get?id={id}"));
    assert_eq!(answer.status, 503, "{answer:?}");
    begun.elapsed()
}
