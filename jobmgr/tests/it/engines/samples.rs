use super::kubernetes::Server;
use crate::support::libraries::{built, install};
use crate::support::server::Home;

/// The package, the executor's name, its folder, and its configuration.
const EXECUTORS: [(&str, &str, &str, &str); 4] = [
    ("jobmgr-executor-docker", "docker", "docker", ""),
    ("jobmgr-executor-http", "http", "examples/http", ""),
    ("jobmgr-executor-kubernetes", "kubernetes", "kubernetes", "Kubeconfig = 'KUBECONFIG'"),
    ("jobmgr-executor-slurm", "slurm", "slurm", ""),
];

/// Each executor's `sample.toml` is what its schema and the executor itself take; its README names it.
#[test]
fn the_sample_of_each_executor_is_right() {
    let (home, server) = (Home::new(""), Server::start());
    let mut config = std::fs::read_to_string(home.path("config.toml")).unwrap();
    let folder = |folder: &str| format!("{}/../executors/{folder}", env!("CARGO_MANIFEST_DIR"));
    for (package, name, place, keys) in EXECUTORS {
        let library = install(&built(package), &home.path("plugins"), name);
        let keys = keys.replace("KUBECONFIG", &server.kubeconfig());
        let library = library.display();
        config += &format!("\n[Executors.{name}]\nPlugin = '{library}'\n[Executors.{name}.Config]\n{keys}\n");
        home.spec(name, &std::fs::read_to_string(folder(place) + "/sample.toml").unwrap());
    }
    home.spec("process", &std::fs::read_to_string(folder("process") + "/sample.toml").unwrap());
    std::fs::write(home.path("config.toml"), config).unwrap();
    let output = home.jobmgr(&["check"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let places = EXECUTORS.map(|(_, name, place, _)| (name, place)).into_iter().chain([("process", "process")]);
    for (name, place) in places {
        assert!(said.contains(&format!("ok     jobspec {name}: ")), "{said}");
        assert!(said.contains(&format!("with executor {name}: ")), "{said}");
        let readme = std::fs::read_to_string(folder(place) + "/README.md").unwrap();
        assert!(readme.contains("](sample.toml)"), "{place}");
    }
    assert!(output.status.success() && !said.contains("can't say whether options are right"), "{said}");
}
