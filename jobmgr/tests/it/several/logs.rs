//! Output from a process that does not run the job.

use super::*;

const KEYS: &str = "Timeout = \"10m\"";

fn log(server: &Server, id: i64, query: &str) -> String {
    let answer = server.client().get(&format!("/v1/jobs/{id}/logs{query}"));
    assert!(matches!(answer.status, 200 | 206), "{answer:?}");
    String::from_utf8(answer.body).unwrap()
}

/// Both streams are there while the job runs, and whole at its end, for who looks and for who follows.
fn shows_what_runs(fleet: &Fleet) {
    let script = "echo one; echo wrong >&2; until [ -e go ]; do sleep 0.02; done\n\
                  seq 1 40000; echo worse >&2";
    fleet.sh("talks", script, KEYS);
    let (taker, reader) = (fleet.api(), fleet.api());
    let _worker = fleet.worker(&[]);
    let id = start(&taker, "talks");
    let whole: String = std::iter::once("one\n".to_owned()).chain((1..=40_000).map(|n| format!("{n}\n"))).collect();
    assert!(whole.len() > 3 * (64 << 10), "too much for a row");
    std::thread::scope(|scope| {
        let follow = |stream| {
            let (reader, query) = (&reader, format!("?follow=true&stream={stream}"));
            scope.spawn(move || log(reader, id, &query))
        };
        let (stdout, stderr) = (follow("stdout"), follow("stderr"));
        eventually("the output is there", || log(&reader, id, "") == "one\n");
        eventually("the other stream too", || log(&reader, id, "?stream=stderr") == "wrong\n");
        assert_eq!(reader.job(id)["job"]["status"], "started");
        assert!(!stdout.is_finished() && !stderr.is_finished());
        fleet.touch("go");
        assert!(stdout.join().unwrap() == whole, "who follows gets all of it, once");
        assert_eq!(stderr.join().unwrap(), "wrong\nworse\n");
    });
    assert_eq!(reader.wait(id).status, "completed");
    assert!(log(&reader, id, "") == whole);
    assert_eq!(log(&reader, id, "?stream=stderr"), "wrong\nworse\n");
    let answer = reader.client().try_send("GET", &format!("/v1/jobs/{id}/logs"), "Range: bytes=-6\r\n", b"").unwrap();
    assert_eq!((answer.status, answer.body.as_slice()), (206, &b"40000\n"[..]));
}

#[test]
fn postgres_shows_what_runs() {
    let Some(fleet) = on(Kind::Postgres, "") else { return };
    shows_what_runs(&fleet);
}

#[test]
fn mariadb_shows_what_runs() {
    let Some(fleet) = on(Kind::MariaDb, "") else { return };
    shows_what_runs(&fleet);
}

#[test]
fn sqlite_shows_what_runs() {
    shows_what_runs(&on_sqlite(""));
}

/// Far more than is kept while it runs, faster than the database takes it.
#[test]
fn of_much_the_end_is_there_while_it_runs() {
    let Some(fleet) = on(Kind::MariaDb, "[Worker]\nMaxLogBytes = \"1MiB\"") else { return };
    fleet.sh("much", "seq 1 1000000; echo last; until [ -e go ]; do sleep 0.02; done; echo over", KEYS);
    let (taker, reader) = (fleet.api(), fleet.api());
    let _worker = fleet.worker(&[]);
    let id = start(&taker, "much");
    std::thread::scope(|scope| {
        let follow = scope.spawn(|| log(&reader, id, "?follow=true"));
        eventually("the end is there", || log(&reader, id, "").ends_with("\n1000000\nlast\n"));
        let now = log(&reader, id, "");
        assert!(now.len() < 3 << 20 && now.contains("[jobmgr: "), "{} bytes", now.len());
        fleet.touch("go");
        let followed = follow.join().unwrap();
        assert!(followed.ends_with("1000000\nlast\nover\n"));
    });
    reader.wait(id);
    let kept = log(&reader, id, "");
    assert!(
        kept.starts_with("1\n2\n") && kept.ends_with("1000000\nlast\nover\n") && kept.contains("bytes left out here")
    );
}

#[test]
fn each_attempt_has_its_own() {
    let Some(fleet) = on(Kind::Postgres, "") else { return };
    fleet.sh("twice", "echo try $JOBMGR_ATTEMPT; [ $JOBMGR_ATTEMPT = 2 ]", "Retry = { Max = 3, Backoff = \"0s\" }");
    let api = fleet.api();
    let _worker = fleet.worker(&[]);
    let id = start(&api, "twice");
    assert_eq!(log(&api, id, "?follow=true"), "try 1\ntry 2\n");
    assert_eq!(api.wait(id).result, "try 2\n");
    assert_eq!((log(&api, id, "?attempt=1"), log(&api, id, "")), ("try 1\n".into(), "try 2\n".into()));
}
