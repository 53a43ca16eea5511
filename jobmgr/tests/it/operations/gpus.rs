use serde_json::json;

use crate::support::libraries::of_c;
use crate::support::server::{Home, Server, eventually};

#[test]
fn workers_tell_of_their_gpus() {
    let home = Home::new("");
    let Some(()) = of_c("nvml.c", &home.path("libnvidia-ml.so.1"), &[]) else { return };
    let mut command = home.jobmgr(&["serve"]);
    command.env("LD_LIBRARY_PATH", home.dir.path());
    let server = home.serve_by(command);
    let workers = server.client().get("/v1/workers").json();
    let expected = json!([
        { "id": "GPU-0", "name": "Model 0", "memoryBytes": 8_u64 << 30 },
        { "id": "GPU-1", "name": "Model 1", "memoryBytes": 0 }
    ]);
    assert_eq!(workers["items"][0]["gpus"], expected, "{workers}");
}

#[test]
fn where_there_are_none_the_list_is_empty() {
    let home = Home::new("");
    let mut command = home.jobmgr(&["serve"]);
    // Whatever this machine has.
    std::fs::write(home.path("libnvidia-ml.so.1"), "no library").unwrap();
    command.env("LD_LIBRARY_PATH", home.dir.path());
    let server = home.serve_by(command);
    assert_eq!(server.client().get("/v1/workers").json()["items"][0]["gpus"], json!([]));
    assert!(!home.log().contains("GPU"), "it is nothing to warn of");
}

/// A machine with two GPUs, `GPU-0` and `GPU-1`; `None`, after saying so, without a compiler for C.
fn two(config: &str) -> Option<Home> {
    let home = Home::new(config);
    of_c("nvml.c", &home.path("libnvidia-ml.so.1"), &[])?;
    let folder = home.dir.path().display().to_string();
    for (name, gpus) in [("one", "Gpus = 1"), ("both", "Gpus = 2"), ("three", "Gpus = 3"), ("none", "")] {
        let script = format!(
            "echo \"$CUDA_VISIBLE_DEVICES $NVIDIA_VISIBLE_DEVICES $JOBMGR_GPUS\"
            echo \"$JOBMGR_JOB_ID\" >> '{folder}/begun'; until [ -e '{folder}/go' ]; do sleep 0.05; done"
        );
        home.sh(name, &script, &format!("Timeout = \"2m\"\n{gpus}"));
    }
    Some(home)
}

fn serve(home: &Home) -> Server {
    let mut command = home.jobmgr(&["serve"]);
    command.env("LD_LIBRARY_PATH", home.dir.path());
    home.serve_by(command)
}

fn begun(home: &Home) -> usize {
    std::fs::read_to_string(home.path("begun")).unwrap_or_default().lines().count()
}

fn gpus(server: &Server, id: i64) -> serde_json::Value {
    server.client().get(&format!("/v1/jobs/{id}")).json()["gpus"].clone()
}

#[test]
fn each_job_has_its_gpus_for_itself() {
    let Some(home) = two("[Worker]\nConcurrency = 6\nPoll = \"10m\"") else { return };
    let server = serve(&home);
    let first: Vec<i64> = (0..3).map(|_| server.start("one", json!({}))).collect();
    eventually("two have one each", || begun(&home) == 2);
    let three = server.start("three", json!({}));
    let both = server.start("both", json!({}));
    let plain = server.start("none", json!({}));
    eventually("one that needs none is not held up", || begun(&home) == 3);
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(begun(&home), 3, "the others wait");
    let mut given = [gpus(&server, first[0]), gpus(&server, first[1])];
    given.sort_by_key(ToString::to_string);
    assert_eq!(given, [json!(["GPU-0"]), json!(["GPU-1"])]);
    assert_eq!((gpus(&server, first[2]), gpus(&server, plain)), (json!([]), json!([])));
    std::fs::write(home.path("go"), "").unwrap();
    // Nobody looks by himself within ten minutes: who has waited is told that there are some again.
    for id in first.iter().chain([&both, &plain]) {
        let ended = server.wait(*id);
        let ids: Vec<String> = serde_json::from_value(gpus(&server, *id)).unwrap();
        assert_eq!(ids.len(), if *id == both { 2 } else { usize::from(*id != plain) });
        assert_eq!(ended.result, format!("{0} {0} {0}\n", ids.join(",")), "{ended:?}");
    }
    assert_eq!(server.job(three)["job"]["status"], "queued", "there are never so many here");
    let list = server.client().get("/v1/jobs?name=both").json();
    assert_eq!(list["items"][0]["gpus"], json!(["GPU-0", "GPU-1"]), "{list}");
    assert_eq!(server.client().get("/v1/jobspecs/both").json()["gpus"], 2);
}

/// The worker that frees two takes one job itself; another one has to look for the second.
#[test]
fn who_waits_for_a_gpu_is_told_that_there_is_one() {
    let Some(home) = two("[Worker]\nConcurrency = 2\nPoll = \"10m\"") else { return };
    let script =
        format!("echo >> '{0}/begun'; until [ -e '{0}/over' ]; do sleep 0.05; done", home.dir.path().display());
    home.sh("next", &script, "Timeout = \"2m\"\nGpus = 1");
    let server = serve(&home);
    let both = server.start("both", json!({}));
    eventually("it has both", || begun(&home) == 1);
    let next: Vec<i64> = (0..2).map(|_| server.start("next", json!({}))).collect();
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(begun(&home), 1, "they wait");
    std::fs::write(home.path("go"), "").unwrap();
    eventually("both run", || begun(&home) == 3);
    std::fs::write(home.path("over"), "").unwrap();
    for id in next.iter().chain([&both]) {
        assert_eq!(server.wait(*id).status, "completed");
    }
}

#[test]
fn a_jobspec_that_comes_or_changes_is_obeyed_at_once() {
    let Some(home) = two("[Worker]\nConcurrency = 4\nPoll = \"100ms\"\nLease = \"60s\"") else { return };
    let server = serve(&home);
    std::fs::write(home.path("go"), "").unwrap();
    let script = "echo $JOBMGR_GPUS";
    for (round, (gpus, result)) in [(1, 1), (2, 2), (0, 0), (1, 1)].into_iter().enumerate() {
        // Before the worker has looked at its folder again.
        home.sh("new", script, &if gpus == 0 { String::new() } else { format!("Gpus = {gpus}") });
        let ids: Vec<i64> = (0..3).map(|_| server.start("new", json!({}))).collect();
        for id in ids {
            let ended = server.wait(id);
            assert_eq!(
                ended.result.trim().split(',').filter(|id| !id.is_empty()).count(),
                result,
                "{round}: {ended:?}"
            );
        }
    }
}

#[test]
fn a_worker_gives_those_that_its_configuration_names() {
    let Some(home) = two("[Worker]\nGpus = ['1']") else { return };
    let server = serve(&home);
    std::fs::write(home.path("go"), "").unwrap();
    assert_eq!(server.run("one", json!({})).result, "GPU-1 GPU-1 GPU-1\n");
    let workers = server.client().get("/v1/workers").json();
    assert_eq!(workers["items"][0]["gpus"].as_array().map(Vec::len), Some(1), "{workers}");
    drop(server);
    for (named, line) in [
        ("GPU-7", "[Worker] Gpus: 'GPU-7' is not a GPU of this machine; it has GPU-0, GPU-1"),
        ("0,GPU-0", "[Worker] Gpus: 'GPU-0' is there twice; remove one of them"),
    ] {
        let mut command = home.jobmgr(&["serve"]);
        command.env("LD_LIBRARY_PATH", home.dir.path()).env("JOBMGR_WORKER__GPUS", named);
        let output = command.output().unwrap();
        assert!(!output.status.success());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(line), "{said}");
    }
}
