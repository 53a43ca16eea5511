//! openapi-python-client: the document becomes a package, whose types mypy checks with those of its caller.

use std::path::PathBuf;
use std::process::Command;

use super::{Servers, copy, run, sources};
use crate::support::programs;

/// The folder of the programs of `requirements.txt`, installed once per machine.
pub fn tools() -> Result<PathBuf, String> {
    let requirements = std::fs::read_to_string(sources("python").join("requirements.txt")).unwrap();
    Ok(programs::venv("python-client", &requirements)?.join("bin"))
}

#[test]
fn a_client_for_python_does_all_that_callers_do() {
    let Some(tools) = programs::or_skip("openapi-python-client", tools()) else { return };
    let servers = Servers::start();
    for (name, document) in servers.documents() {
        let folder = copy(&servers.home, "python", name);
        let mut generator = Command::new(tools.join("openapi-python-client"));
        generator.args(["generate", "--meta", "none", "--fail-on-warning", "--config", "generator.yml"]);
        run(generator.args(["--output-path", "jobmgr_client", "--path"]).arg(document).current_dir(&folder));
        let programs: &[&str] = if name == "served" { &["walk.py", "typed.py"] } else { &["walk.py"] };
        run(Command::new(tools.join("mypy")).arg("--strict").args(programs).current_dir(&folder));
        for arguments in servers.arguments() {
            for program in programs {
                run(Command::new(tools.join("python")).arg(program).args(&arguments).current_dir(&folder));
            }
        }
    }
}
