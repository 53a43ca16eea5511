use jobmgr::domain::job::{Reason, Status};
use serde_json::json;

use super::{CONFIG, Site, sha256};
use crate::support::processes::{Signal, signal};
use crate::support::server::{Server, eventually};

/// Leaves three files, one of them too large for one piece, and a structured result; says something on both streams.
const LEAVES: &str = "mkdir -p \"$JOBMGR_ARTIFACTS_DIR/sub\"; printf small > \"$JOBMGR_ARTIFACTS_DIR/sub/small.txt\"; \
    : > \"$JOBMGR_ARTIFACTS_DIR/empty\"; ln -s empty \"$JOBMGR_ARTIFACTS_DIR/link\"; \
    i=0; while [ $i -lt 40000 ]; do i=$((i+1)); echo \"this is line number $i of a large file\"; done \
    > \"$JOBMGR_ARTIFACTS_DIR/large.txt\"; echo '{\"answer\": 42}' > \"$JOBMGR_OUTPUT\"; echo out; echo err >&2; exit 3";

fn large() -> Vec<u8> {
    (1..=40_000).map(|n| format!("this is line number {n} of a large file\n")).collect::<String>().into_bytes()
}

fn log(server: &Server, id: i64, stream: &str) -> String {
    String::from_utf8(server.client().get(&format!("/v1/jobs/{id}/logs?stream={stream}")).body).unwrap()
}

#[test]
fn what_a_wrapped_command_leaves_comes_back() {
    for site in [Some(Site::new(CONFIG)), Site::on_s3("elsewhere-wrapped")].into_iter().flatten() {
        site.wrapped("leaves", LEAVES, 3);
        let server = site.home.serve();
        let id = server.start("leaves", json!({}));
        let job = site.ended(&server, id);
        let ended = job.ended.unwrap();
        assert_eq!((job.reason, ended.exit_code), (Some(Reason::ExitCode), Some(3)), "{}", site.home.log());
        let shown: Vec<_> = ended.artifacts.iter().map(|one| (one.name.as_str(), one.sha256.clone())).collect();
        let expected = [("empty", sha256(b"")), ("large.txt", sha256(&large())), ("sub/small.txt", sha256(b"small"))];
        assert_eq!(shown, expected);
        assert_eq!(ended.output, Some(json!({"answer": 42})));
        assert_eq!(ended.warnings, ["'link' was left out: it is a link"]);
        assert_eq!((log(&server, id, "stdout").as_str(), log(&server, id, "stderr").as_str()), ("out\n", "err\n"));
        if on_disk(&site) {
            let artifacts = server.job(id)["artifacts"].as_array().unwrap().clone();
            let large_one = artifacts.iter().find(|one| one["name"] == "large.txt").unwrap();
            assert_eq!(server.download(large_one), large());
            let left = site.home.objects_of(id).join("1/g");
            eventually("the report and the logs are gone", || std::fs::read_dir(&left).unwrap().count() == 3);
        }
    }
}

#[test]
fn files_beyond_the_grants_are_told() {
    let site = Site::new(CONFIG);
    site.wrapped("many", "for i in 1 2 3 4 5 6; do echo $i > \"$JOBMGR_ARTIFACTS_DIR/f$i\"; done", 1);
    let server = site.home.serve();
    let id = server.start("many", json!({}));
    let job = site.ended(&server, id);
    let ended = job.ended.unwrap();
    assert_eq!((job.status, job.reason), (Status::Failed, Some(Reason::ExecutorError)));
    let error = ended.error.unwrap();
    let told = "4 of 8 files were not uploaded, 'f3' and what follows: the job's executor got grants for 4 files";
    assert_eq!(error, format!("the command ended well, but {told}"));
    assert_eq!(ended.artifacts.len(), 2, "what arrived is kept");
}

#[test]
fn what_a_wrapped_command_leaves_comes_back_once_though_the_server_was_killed() {
    for site in [Some(Site::new(CONFIG)), Site::on_s3("elsewhere-killed")].into_iter().flatten() {
        let script = "echo begun > ../begun; until [ -e ../go ]; do sleep 0.05; done; \
            for i in $(seq 30); do echo \"file $i\" > \"$JOBMGR_ARTIFACTS_DIR/f$i\"; done; echo over";
        site.wrapped("waits", script, 30);
        let mut server = site.home.serve();
        let address = server.address;
        let id = server.start("waits", json!({}));
        eventually("it runs", || site.home.path("begun").exists());
        signal(server.pid(), Signal::KILL);
        server.exit();
        // It ends while nobody is there; where the server takes the uploads, they wait for it.
        std::fs::write(site.home.path("go"), "").unwrap();
        server = site.serve_at(address);
        eventually("something is uploaded", || !on_disk(&site) || site.home.objects_of(id).join("1/g").exists());
        signal(server.pid(), Signal::KILL);
        server.exit();
        let server = site.serve_at(address);
        let job = site.ended(&server, id);
        assert_eq!((job.status, job.attempt), (Status::Completed, 1), "{}", site.home.log());
        let artifacts = job.ended.unwrap().artifacts;
        assert_eq!(artifacts.len(), 30);
        for artifact in artifacts {
            let number = artifact.name.strip_prefix('f').unwrap();
            assert_eq!(artifact.sha256, sha256(format!("file {number}\n").as_bytes()));
        }
        assert_eq!(log(&server, id, "stdout"), "over\n");
    }
}

/// Whether the store is a folder.
fn on_disk(site: &Site) -> bool {
    !std::fs::read_to_string(site.home.path("config.toml")).unwrap().contains("s3://")
}
