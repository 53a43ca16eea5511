//! Submitted here, run there, read elsewhere.

use super::*;
use crate::support::s3::S3;

/// One API process takes the job, a worker runs it, another API process shows it and hands out its file.
fn goes_round(fleet: &Fleet) {
    fleet.sh("make", "echo made by $$; printf 'a\\0b' > \"$JOBMGR_ARTIFACTS_DIR/file.bin\"", "");
    let (taker, reader) = (fleet.api(), fleet.api());
    let _worker = fleet.worker(&[]);
    let id = start(&taker, "make");
    let ended = reader.wait(id);
    assert_eq!(ended.status, "completed", "{ended:?} {}", fleet.home.log());
    assert!(ended.result.starts_with("made by "), "{ended:?}");
    assert_eq!(ended.artifacts.len(), 1);
    assert_eq!(reader.download(&ended.artifacts[0]), b"a\0b");
    assert_eq!(taker.job(id), reader.job(id));
}

#[test]
fn sqlite_is_shared_on_one_machine() {
    goes_round(&on_sqlite(""));
}

#[test]
fn postgres_is_shared() {
    let Some(fleet) = on(Kind::Postgres, "") else { return };
    goes_round(&fleet);
}

#[test]
fn postgres_behind_pgbouncer_is_shared() {
    let Some(fleet) = on(Kind::PgBouncer, "") else { return };
    goes_round(&fleet);
}

#[test]
fn mariadb_is_shared() {
    let Some(fleet) = on(Kind::MariaDb, "") else { return };
    goes_round(&fleet);
}

#[test]
fn files_in_a_bucket_are_fetched_from_there() {
    let Some(s3) = S3::shared() else { return };
    let Some(fleet) = on(Kind::Postgres, &s3.config("several")) else { return };
    fleet.sh("make", "echo whole > \"$JOBMGR_ARTIFACTS_DIR/file.txt\"", "");
    let (taker, reader) = (fleet.api(), fleet.api());
    let _worker = fleet.worker(&[]);
    let ended = reader.wait(start(&taker, "make"));
    let redirect = reader.client().get(&format!("/artifacts/download?id={}", ended.artifacts[0]["id"]));
    let address = redirect.header("location").unwrap();
    assert!(address.starts_with(&s3.endpoint()), "{address}");
    let path = address.strip_prefix(&s3.endpoint()).unwrap();
    let host = format!("Host: {}\r\n", s3.endpoint().strip_prefix("http://").unwrap());
    let port = s3.endpoint().rsplit(':').next().unwrap().parse().unwrap();
    let mut client = crate::support::client::Client::connect((std::net::Ipv4Addr::LOCALHOST, port).into());
    let answer = client.try_send_as("GET", path, &host).unwrap();
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"whole\n"[..]), "{answer:?}");
}

#[test]
fn the_priority_and_the_patience_of_a_jobspec_come_from_who_has_it() {
    let Some(fleet) = on(Kind::MariaDb, "[Worker]\nPoll = \"100ms\"\nLease = \"3s\"") else { return };
    fleet.sh("urgent", "true", "Priority = 7\nQueueTimeout = \"1s\"\nRequires = [\"gpu\"]");
    let nothing = fleet.home.path("nothing");
    std::fs::create_dir(&nothing).unwrap();
    let mut command = fleet.home.jobmgr(&["serve", "--no-worker"]);
    command.env("JOBMGR_SERVER__JOBSPECS", &nothing);
    let api = fleet.home.serve_by(command);
    let before = start(&api, "urgent");
    let _worker = fleet.worker(&[]);
    eventually("the jobspec is known", || api.job(start(&api, "urgent"))["job"]["priority"] == 7);
    assert_eq!(api.job(before)["job"]["priority"], 50, "nobody could know");
    let ended = api.wait(start(&api, "urgent"));
    assert_eq!(
        (ended.status.as_str(), ended.result.as_str()),
        ("failed", "waited longer than its jobspec's QueueTimeout allows")
    );
}
