//! Database servers that are away, refuse, are set otherwise or hold what no jobmgr wrote.

/// What is told of a server that can't serve.
mod refused;
/// Rows that somebody has edited.
mod rows;
/// Sessions are as they have to be, however the server is set.
mod settings;

use crate::support::databases::Kind;
use crate::support::server::Home;

/// Runs jobmgr to its end on a database; the exit status and all that it said.
fn run(url: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let home = Home::on(url, "");
    let status = home.worker_by(home.jobmgr(arguments)).exit();
    (status.code(), home.log())
}

/// The database of a URL.
fn name(url: &str) -> &str {
    url.rsplit('/').next().unwrap()
}

/// Whoever starts first makes the tables, and the others find them made.
#[test]
fn processes_that_start_at_once_make_the_tables_once() {
    let urls: Vec<(String, String)> = Kind::ALL
        .into_iter()
        .filter_map(|kind| Some((format!("{kind:?}"), kind.shared()?.fresh())))
        .chain([("SQLite".to_owned(), "sqlite:jobmgr.db".to_owned())])
        .collect();
    for (which, url) in urls {
        let home = Home::on(&url, "");
        std::thread::scope(|scope| {
            let starting = (0..4).map(|_| scope.spawn(|| home.serve())).collect::<Vec<_>>();
            for server in starting {
                assert!(server.join().is_ok(), "{which}: {}", home.log());
            }
        });
        let server = home.serve();
        home.shell("quick", "echo quick", "echo quick", "");
        assert_eq!(server.run("quick", serde_json::json!({})).status, "completed", "{which}");
    }
}
