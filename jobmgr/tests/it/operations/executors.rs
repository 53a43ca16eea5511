use serde_json::{Value, json};

use crate::support::libraries::{built, install};
use crate::support::server::{Home, Server};

fn listed(server: &Server) -> Vec<Value> {
    let answer = server.client().get("/v1/executors");
    assert_eq!(answer.status, 200);
    answer.json()["items"].as_array().unwrap().clone()
}

#[test]
fn each_says_what_it_can_or_why_not() {
    let home = Home::new(
        "[Executors.absent]\nPlugin = \"plugins/absent\"\n[Executors.remote]\nPlugin = \"plugins/remote\"\nConfig = { Folder = \".\" }\n",
    );
    std::fs::create_dir(home.path("plugins")).unwrap();
    install(&built("jobmgr-executor-remote"), &home.path("plugins"), "remote");
    for arguments in [&["serve"][..], &["serve", "--no-worker"]] {
        let server = home.serve_by(home.jobmgr(arguments));
        let all = listed(&server);
        let names: Vec<_> = all.iter().map(|one| one["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["absent", "process", "remote"]);
        let [absent, process, remote] = all.as_slice() else { unreachable!() };
        assert_eq!(
            (&absent["loaded"], &absent["builtIn"], &absent["version"]),
            (&json!(false), &json!(false), &json!(null))
        );
        assert!(absent["error"].as_str().unwrap().contains("absent"), "{absent}");
        assert_eq!(
            (&process["loaded"], &process["builtIn"], &process["error"]),
            (&json!(true), &json!(true), &json!(null))
        );
        assert!(process["options"]["properties"]["Sandbox"].is_object(), "{process}");
        assert_eq!(
            (&remote["loaded"], &remote["recovers"], &remote["error"]),
            (&json!(true), &json!(true), &json!(null))
        );
        assert_eq!(remote["sha256"].as_str().unwrap().len(), 64);
        assert!(remote["abi"].as_str().unwrap().starts_with("1."), "{remote}");
        assert_eq!(remote["options"]["type"], "object", "{remote}");
    }
}
