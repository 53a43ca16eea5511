use std::process::Command;

use crate::drain::drain_and_bare;
use crate::setup::{home, quiet};
use crate::support::server::Home;

/// The same with a million finished jobs in the database.
pub fn history() {
    let home = home(1);
    let mut server = quiet(&home);
    let (before, _) = drain_and_bare(&home, &server, 1);
    server.kill();
    fill(&home);
    let server = quiet(&home);
    let (after, _) = drain_and_bare(&home, &server, 1);
    println!(
        "drain, concurrency 1: {before:.0} jobs/s with an empty history, {after:.0} with 1,000,000 finished jobs; ratio {:.2}",
        before / after
    );
}

/// Adds a million finished jobs to a database that nobody uses.
pub fn fill(home: &Home) {
    let script = "
import sqlite3, sys
c = sqlite3.connect(sys.argv[1])
c.execute('pragma synchronous = off')
c.execute('''with recursive n(i) as (select 1 union all select i + 1 from n where i < 1000000)
insert into jobs (status, priority, name, parameters, user_id, created_at, run_after, attempt, epoch, crashes,
started_at, finished_at, artifact_count) select 'completed', 50, 'old', '{}', 1, i, 0, 1, 1, 0, i, i, 0 from n''')
c.commit()
c.execute('pragma wal_checkpoint(truncate)')
";
    let filled = Command::new("python3").args(["-c", script]).arg(home.path("jobmgr.db")).status().unwrap();
    assert!(filled.success());
}
