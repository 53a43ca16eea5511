//! Who looks at jobs all the time: what has ended is readable whole from its first moment on, and stays as it is.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::server::{PATIENCE, Server};

/// What a job's output and one of its artifacts are made of: enough to be an object of the store.
pub const DIGITS: usize = 80_000;

/// Leaves three artifacts and an output that tell the attempt, and takes a while. On a machine with much to do a job may
/// need more than nine attempts: of a number, the output is made of its last digit.
pub const SCRIPT: &str = r#"
last=${JOBMGR_ATTEMPT#"${JOBMGR_ATTEMPT%?}"}
echo "start $JOBMGR_JOB_ID $JOBMGR_ATTEMPT" >> "$WITNESS"
sleep 0.2
echo "$JOBMGR_JOB_ID $JOBMGR_ATTEMPT" | tee "$JOBMGR_ARTIFACTS_DIR/a.txt" > "$JOBMGR_ARTIFACTS_DIR/c.txt"
head -c 80000 /dev/zero | tr '\0' "$last" | tee "$JOBMGR_ARTIFACTS_DIR/b.txt"
echo "end $JOBMGR_JOB_ID $JOBMGR_ATTEMPT" >> "$WITNESS"
"#;

/// What the output of an attempt is.
pub fn output(attempt: i64) -> String {
    (attempt % 10).to_string().repeat(DIGITS)
}

/// What ended jobs look like, by their ids.
pub type Seen = BTreeMap<i64, Value>;

/// Looks until all have ended, and a while longer.
///
/// # Panics
/// When something that has ended is not whole, or not what it was before.
pub fn watch(api: &Server, ids: &[i64]) -> Seen {
    let until = Instant::now() + PATIENCE;
    let mut seen = Seen::new();
    while seen.len() < ids.len() {
        assert!(Instant::now() < until, "within {PATIENCE:?} only these have ended: {:?}", seen.keys());
        look(api, ids, &mut seen);
        std::thread::sleep(Duration::from_millis(20));
    }
    // A second end would follow soon.
    std::thread::sleep(Duration::from_millis(500));
    look(api, ids, &mut seen);
    seen
}

fn look(api: &Server, ids: &[i64], seen: &mut Seen) {
    let mut client = api.client();
    for id in ids {
        let answer = client.get(&format!("/jobs/get?id={id}"));
        assert_eq!(answer.status, 200, "job {id}");
        let job = answer.json();
        if let Some(before) = seen.get(id) {
            assert_eq!(*before, job, "job {id} has ended, and changed");
        } else if matches!(job["job"]["status"].as_str(), Some("completed" | "failed")) {
            whole(api, *id, &job);
            seen.insert(*id, job);
        }
    }
}

/// All of it is there, and of one attempt.
fn whole(api: &Server, id: i64, job: &Value) {
    assert_eq!(job["job"]["status"], "completed", "{job}");
    let digits = job["result"].as_str().unwrap();
    let last = digits.chars().next().unwrap();
    assert!(digits.len() == DIGITS && digits.chars().all(|digit| digit == last), "job {id}: {}", digits.len());
    let artifacts = job["artifacts"].as_array().unwrap();
    assert_eq!(artifacts.len(), 3, "{artifacts:?}");
    let words = String::from_utf8(api.download(&artifacts[0])).unwrap();
    assert!(words.starts_with(&format!("{id} ")) && words.ends_with(&format!("{last}\n")), "job {id}: {words}");
    for (artifact, (name, content)) in
        artifacts.iter().zip([("a.txt", words.as_str()), ("b.txt", digits), ("c.txt", &words)])
    {
        assert_eq!(artifact["name"], name);
        assert!(api.download(artifact) == content.as_bytes(), "job {id}: {name}");
    }
}
