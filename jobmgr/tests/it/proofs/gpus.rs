//! Two workers of one machine that are told to give the same GPUs: each GPU has one job at a time.

use std::collections::BTreeMap;

use jobmgr::domain::job::Status;
use serde_json::json;

use super::rows::Rows;
use super::{Database, on_each_database};
use crate::support::libraries::of_c;

on_each_database!(each_gpu_has_one_job_at_a_time);

const CONFIG: &str = "[Worker]\nPoll = \"100ms\"\nConcurrency = 3";

fn each_gpu_has_one_job_at_a_time(database: Database) {
    let Some(home) = database.home(CONFIG) else { return };
    let Some(()) = of_c("nvml.c", &home.path("libnvidia-ml.so.1"), &[]) else { return };
    let witness = home.path("witness");
    let script = format!(
        "for gpu in $(echo \"$JOBMGR_GPUS\" | tr , ' '); do echo \"$gpu start $JOBMGR_JOB_ID\" >> '{0}'; done; sleep 0.05
        for gpu in $(echo \"$JOBMGR_GPUS\" | tr , ' '); do echo \"$gpu end $JOBMGR_JOB_ID\" >> '{0}'; done",
        witness.display()
    );
    for (name, gpus) in [("one", "Gpus = 1"), ("both", "Gpus = 2"), ("none", "")] {
        home.sh(name, &script, gpus);
    }
    let api = home.serve_by(home.jobmgr(&["serve", "--no-worker"]));
    let names = ["one", "both", "one", "none"];
    let ids: Vec<i64> =
        (0..database.extent().of(12, 40, 400)).map(|number| api.start(names[number % 4], json!({}))).collect();
    let worker = || {
        let mut command = home.jobmgr(&["worker"]);
        command.env("LD_LIBRARY_PATH", home.dir.path());
        home.worker_by(command)
    };
    let _workers = [worker(), worker()];
    let mut rows = Rows::of(&home);
    rows.wait(&ids);
    for (number, id) in ids.iter().enumerate() {
        let job = rows.settled(*id);
        let needs = [1, 2, 1, 0][number % 4];
        assert_eq!((job.status, job.gpus.len()), (Status::Completed, needs), "{job:?}");
    }
    let mut of_gpu: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for line in std::fs::read_to_string(witness).unwrap().lines() {
        let [gpu, what, job] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
        of_gpu.entry(gpu.to_owned()).or_default().push((what.to_owned(), job.to_owned()));
    }
    assert_eq!(of_gpu.keys().collect::<Vec<_>>(), ["GPU-0", "GPU-1"]);
    for (gpu, lines) in of_gpu {
        for two in lines.chunks(2) {
            let [(start, begun), (end, ended)] = two else { panic!("{gpu}: {lines:?}") };
            assert!(start == "start" && end == "end" && begun == ended, "{gpu}: {two:?} of {lines:?}");
        }
    }
}
