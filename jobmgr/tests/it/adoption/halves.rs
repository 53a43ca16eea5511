//! Adoption goes on from wherever it was cut short.

use std::sync::Barrier;

use super::{Case, Started, check, eventually};
use crate::support::databases::{DatabaseServer, Disk, Kind};

/// How far adoption is: `None` before rows are copied, 100,000 and more among the artifacts.
fn progress(server: &DatabaseServer, database: &str) -> Option<i64> {
    let noted = server.try_sql(database, "select value from installation where name = 'adoption'").ok()?;
    match noted.split_once(' ') {
        Some(("jobs", id)) => id.parse().ok(),
        Some((_, id)) => Some(100_000 + id.parse::<i64>().unwrap()),
        None if noted == "done" => Some(i64::MAX),
        None => None,
    }
}

fn is_renamed(case: &Case) -> bool {
    case.server.try_sql(&case.database, "select 1 from original_jobs limit 1").is_ok()
}

/// kill -9 of the server at several moments, each time gone on with by the next.
fn survives_kills(kind: Kind) {
    let Some(server) = kind.shared() else { return };
    let case = Case::new(server, 10_000);
    let mut cut = 0;
    let mut kill_when = |moment: &dyn Fn() -> bool| {
        let mut started = Started::new(&mut case.home.jobmgr(&["serve", "--no-worker"]));
        eventually("it comes so far", moment);
        started.kill();
        cut += usize::from(progress(server, &case.database) != Some(i64::MAX));
    };
    kill_when(&|| is_renamed(&case));
    for far in [1, 2000, 6000, 100_001] {
        kill_when(&|| progress(server, &case.database) >= Some(far));
    }
    assert!(cut >= 3, "only {cut} were killed before they had ended");
    case.is_all_there(&case.serve());
}

#[test]
fn mariadb_is_adopted_by_servers_that_are_killed() {
    survives_kills(Kind::MariaDb);
}

#[test]
fn mysql_is_adopted_by_servers_that_are_killed() {
    survives_kills(Kind::MySql);
}

/// The database's server dies in the middle.
fn survives_the_databases_end(kind: Kind) {
    // It lives as long as the tests do; the guard ends it with them.
    let Some(server) = kind.start(Disk::Fast) else { return };
    let server: &'static DatabaseServer = Box::leak(Box::new(server));
    let case = Case::new(server, 10_000);
    let mut started = Started::new(&mut case.home.jobmgr(&["serve", "--no-worker"]));
    eventually("it comes so far", || progress(server, &case.database) >= Some(1000));
    server.kill();
    assert_eq!(started.0.wait().unwrap().code(), Some(2));
    server.restart();
    assert!(progress(server, &case.database) < Some(i64::MAX), "the server was killed too late");
    let told = check(&case.home);
    assert!(told.contains("goes on with the adoption at its start"), "{told}");
    case.is_all_there(&case.serve());
}

#[test]
fn mariadb_may_die_in_the_middle() {
    survives_the_databases_end(Kind::MariaDb);
}

#[test]
fn mysql_may_die_in_the_middle() {
    survives_the_databases_end(Kind::MySql);
}

/// Several servers start at once: each row comes once, and all of them serve.
fn is_adopted_by_several_at_once(kind: Kind) {
    let Some(server) = kind.shared() else { return };
    let case = Case::new(server, 3000);
    // In one folder, since all that share a database need the same store.
    let start = Barrier::new(3);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                start.wait();
                case.is_all_there(&case.serve());
            });
        }
    });
}

#[test]
fn mariadb_is_adopted_once_by_several() {
    is_adopted_by_several_at_once(Kind::MariaDb);
    is_adopted_by_several_at_once(Kind::MariaDbSnapshot);
}

#[test]
fn mysql_is_adopted_once_by_several() {
    is_adopted_by_several_at_once(Kind::MySql);
}

/// Every state between two steps, made by hand.
fn goes_on_from_every_step(kind: Kind) {
    let Some(server) = kind.shared() else { return };
    let renamed = "rename table users to original_users, results to original_results, artifacts to original_artifacts, \
                   jobs to original_jobs;";
    // The statement that makes our jobs, as if nothing came after it.
    let migration = include_str!("../../../migrations/mysql/0002_queue.sql");
    let first = format!("{renamed}{}", migration.split_once("create table if not exists artifacts").unwrap().0);
    for step in ["rename table users to original_users, results to original_results", renamed, &first] {
        let case = Case::new(server, 300);
        case.sql(step);
        let told = case.check();
        assert!(told.contains("goes on with the adoption at its start"), "{told}");
        case.is_all_there(&case.serve());
    }
    for noted in [("jobs 0", 0), ("jobs 30", 30), ("artifacts 0", i64::MAX)] {
        let case = Case::new(server, 300);
        case.serve().kill();
        let (value, last) = noted;
        case.sql(&format!(
            "update installation set value = '{value}' where name = 'adoption'; delete from jobs where id > {last}; \
             delete from artifacts"
        ));
        case.is_all_there(&case.serve());
    }
}

#[test]
fn mariadb_goes_on_from_every_step() {
    goes_on_from_every_step(Kind::MariaDb);
}

#[test]
fn mysql_goes_on_from_every_step() {
    goes_on_from_every_step(Kind::MySql);
}
