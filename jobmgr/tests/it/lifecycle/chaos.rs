//! Servers and runners that are killed at random: each job ends once, whole.

use std::time::{Duration, Instant};

use jobmgr::domain::job::Status;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{STUBBORN_KEYS, assert_nothing_left, to};
use crate::support::processes::{Signal, children, signal};
use crate::support::server::Home;

/// Leaves two artifacts that tell the attempt, and takes a while.
const SCRIPT: &str = r#"
echo "$JOBMGR_JOB_ID $JOBMGR_ATTEMPT" | tee "$JOBMGR_ARTIFACTS_DIR/who.txt"
head -c 200000 /dev/zero | tr '\0' "$JOBMGR_ATTEMPT" > "$JOBMGR_ARTIFACTS_DIR/digits.txt"
(setsid sleep 600 > /dev/null 2>&1 &)
sleep 0.1
"#;

#[test]
fn every_job_ends_once_whole_and_from_one_attempt() {
    let home = Home::new("[Worker]\nConcurrency = 3");
    home.sh("job", SCRIPT, STUBBORN_KEYS);
    let mut server = home.serve();
    let ids: Vec<i64> = (0..60).map(|_| server.start("job", to(&home))).collect();
    for round in 0..8u64 {
        // Long enough for a job to end between two kills: three of them would end it.
        std::thread::sleep(Duration::from_millis(700 + round * 61 % 200));
        match (round % 2, children(server.pid()).first()) {
            (0, Some(runner)) => drop(signal(*runner, Signal::KILL)),
            _ => {
                server.kill();
                server = home.serve();
            }
        }
    }
    let until = Instant::now() + Duration::from_secs(120);
    for id in ids {
        while !server.job(id)["result"].is_string() {
            assert!(Instant::now() < until, "{}", server.job(id));
            std::thread::sleep(Duration::from_millis(20));
        }
        let ended = server.wait(id);
        let job = home.stored(id);
        assert_eq!(job.status, Status::Completed, "{ended:?}");
        assert_eq!(ended.result, format!("{id} {}\n", job.attempt));
        let [digits, who] = &ended.artifacts[..] else { panic!("{ended:?}") };
        assert_eq!(server.download(who), ended.result.as_bytes());
        let whole = job.attempt.to_string().repeat(200_000).into_bytes();
        assert!(server.download(digits) == whole, "job {id}");
        let sha256: String = Sha256::digest(&whole).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(job.ended.unwrap().artifacts[0].sha256, sha256);
    }
    assert_eq!(server.run("job", json!({ "home": "" })).status, "completed");
    assert_nothing_left(&home, 1);
}
