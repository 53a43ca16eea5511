//! What jobs write of themselves, one line at a time: `start JOB ATTEMPT PID`, `end JOB ATTEMPT PID`, and
//! `alive JOB ATTEMPT PID` where something of an earlier attempt runs still when the next one has started.

use jobmgr::domain::job::JobId;

use crate::support::server::Home;

/// How large each of the larger artifacts is, in bytes.
const SIZE: usize = 200_000;

/// What a job does between its first line and its last one: two artifacts that tell whose they are, and a process that
/// is hard to find.
pub const WORK: &str = r#"
echo "$JOBMGR_JOB_ID $JOBMGR_ATTEMPT" | tee "$JOBMGR_ARTIFACTS_DIR/who.txt"
yes "$JOBMGR_JOB_ID $JOBMGR_ATTEMPT" 2> /dev/null | head -c 200000 > "$JOBMGR_ARTIFACTS_DIR/whole.txt"
(setsid sleep 600 > /dev/null 2>&1 &)
sleep 0.$((JOBMGR_JOB_ID % 3))5
"#;

/// The artifacts of an attempt that has done [`WORK`].
pub fn artifacts(job: JobId, attempt: i64) -> [(&'static str, Vec<u8>); 2] {
    let who = format!("{job} {attempt}\n").into_bytes();
    let whole = who.iter().copied().cycle().take(SIZE).collect();
    [("who.txt", who), ("whole.txt", whole)]
}

/// Writes a jobspec that does `work` between the two lines.
pub fn spec(home: &Home, name: &str, work: &str, keys: &str) {
    let here = home.dir.path().display();
    let script = format!(
        "say() {{ echo \"$1 $JOBMGR_JOB_ID $2 $$\" >> {here}/witness; }}\n\
         say start $JOBMGR_ATTEMPT\n\
         earlier=1; while [ $earlier -lt $JOBMGR_ATTEMPT ]; do\n\
         grep -aqsz \"^JOBMGR_ARTIFACTS_DIR={here}/.*/$JOBMGR_JOB_ID-$earlier/\" /proc/[0-9]*/environ && say alive $earlier\n\
         earlier=$((earlier + 1)); done\n\
         {work}\n\
         say end $JOBMGR_ATTEMPT\n"
    );
    home.sh(name, &script, keys);
}

/// A line.
#[derive(Debug, Clone)]
pub struct Line {
    pub word: String,
    pub job: JobId,
    pub attempt: i64,
    pub pid: u32,
}

/// All that was written so far.
pub fn lines(home: &Home) -> Vec<Line> {
    let text = std::fs::read_to_string(home.path("witness")).unwrap_or_default();
    let line = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let [word, job, attempt, pid] = words[..] else { panic!("not one whole write: {line:?}") };
        Line {
            word: word.to_owned(),
            job: job.parse().unwrap(),
            attempt: attempt.parse().unwrap(),
            pid: pid.parse().unwrap(),
        }
    };
    text.lines().map(line).collect()
}

/// The attempts of a job followed each other; gives the last one that started, and whether it came to its end.
pub fn follow(lines: &[Line], job: JobId) -> (i64, bool) {
    let (mut running, mut ended) = (0, true);
    for line in lines.iter().filter(|line| line.job == job) {
        match line.word.as_str() {
            "start" if line.attempt > running => (running, ended) = (line.attempt, false),
            "end" if line.attempt == running && !ended => ended = true,
            _ => panic!("two attempts at once, or one twice: {line:?} after attempt {running} of {lines:#?}"),
        }
    }
    (running, ended)
}
