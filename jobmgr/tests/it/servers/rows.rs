//! Rows that somebody has edited.

use jobmgr::domain::job::Reason;
use serde_json::json;

use super::*;
use crate::support::server::eventually;

/// Each of these rows is its own job's trouble: it fails, or is shown as an error, and the others go on.
fn others_go_on(kind: Kind) {
    let Some(server) = kind.shared() else { return };
    let url = server.fresh();
    let edit = |sql: String| server.sql(name(&url), &sql);
    let home = Home::on(&url, "[Worker]\nPoll = \"100ms\"\nLease = \"3s\"");
    let gate = home.path("go").display().to_string();
    home.sh("gate", &format!("echo said; until [ -e {gate} ]; do sleep 0.02; done"), "Timeout = \"10m\"");
    home.sh("quick", "echo quick", "");
    let api = home.serve_by(home.jobmgr(&["serve", "--no-worker"]));
    let _worker = home.worker_by(home.jobmgr(&["worker"]));
    let running = api.start("gate", json!({}));
    api.wait_for(running, "started");
    let ids: Vec<i64> = (0..6).map(|_| api.start("quick", json!({}))).collect();
    edit(format!("update jobs set parameters = '{{\"a\":' where id = {}", ids[0]));
    edit(format!("update jobs set parameters = '[1]' where id = {}", ids[1]));
    edit(format!("update jobs set status = 'paused' where id = {}", ids[2]));
    edit(format!("update jobs set name = '../x' where id = {}", ids[3]));
    edit(format!("update jobs set progress = '{{' where id = {running}"));
    edit("update workers set labels = 'none'".to_owned());
    assert_eq!(api.job(running)["job"]["status"], "started");
    std::fs::write(home.path("go"), "").unwrap();
    assert_eq!(api.wait(ids[5]).result, "quick\n");
    for id in &ids[..2] {
        let ended = api.wait(*id);
        assert!(ended.status == "failed" && ended.result.contains("parameters in the database"), "{ended:?}");
        assert_eq!(home.stored(*id).reason, Some(Reason::CorruptRow));
    }
    assert_eq!(api.wait(ids[3]).result, "invalid job name");
    assert_eq!(api.job(ids[2])["status"], "error");
    let of_the_row = ["", "/logs", "/attempts"].map(|end| format!("/v1/jobs/{}{end}", ids[2]));
    for path in &of_the_row[1..] {
        assert_eq!(api.client().get(path).status, 503, "{path}");
    }
    assert_eq!(api.wait(running).result, "said\n");
    // The bytes of one that has ended.
    edit(format!("update jobs set stdout = '{{' where id = {}", ids[5]));
    assert_eq!(api.job(ids[5])["status"], "error");
    edit("update offers set about = '{'".to_owned());
    assert_eq!(api.run("quick", json!({})).result, "quick\n");
    // In mid run, so that its end finds no row to write to.
    std::fs::remove_file(home.path("go")).unwrap();
    let lost = api.start("gate", json!({}));
    api.wait_for(lost, "started");
    edit(format!("delete from jobs where id = {lost}"));
    eventually("its worker gives it up", || home.log().contains("lease lost"));
    assert_eq!(api.run("quick", json!({})).result, "quick\n");
}

#[test]
fn on_postgres_the_others_go_on() {
    others_go_on(Kind::Postgres);
}

#[test]
fn on_mariadb_the_others_go_on() {
    others_go_on(Kind::MariaDb);
}
