use serde_json::json;

use crate::support::libraries::of_c;
use crate::support::server::Home;

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
