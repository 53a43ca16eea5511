use std::process::{Command, Stdio};

use super::root;
use crate::papers::markdown;
use crate::support::server::Home;

/// README.md's section, block by block, in a folder beside a clone.
#[test]
fn a_team_gets_from_nothing_to_a_job_as_the_readme_says() {
    let home = Home::new("");
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let blocks = markdown::blocks(markdown::section(&readme, "## Executors of your own"));
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_jobmgr")).parent().unwrap();
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap());
    // Beside jobmgr's own, so that what it needs is compiled once.
    let target = binary.parent().unwrap().join("team");
    let debug = target.join("debug");
    let mut ran = 0;
    for (place, block) in blocks.iter().enumerate() {
        let before = place.checked_sub(1).map(|place| &blocks[place]);
        match block.kind.as_str() {
            "sh" => {
                let api = root().join("plugin-api");
                let lines = block.text.replace("../jobmgr/plugin-api", api.to_str().unwrap());
                // A debug build is as good here, and quicker; the clone's own build has fetched all that it needs.
                let lines =
                    lines.replace("build --release", "build").replace("target/release", debug.to_str().unwrap());
                let mut shell = Command::new("sh");
                shell.args(["-ec", &format!("exec 2>&1\n{lines}")]).current_dir(home.dir.path()).env("PATH", &path);
                shell.env("CARGO_TARGET_DIR", &target).env("CARGO_NET_OFFLINE", "true");
                let output = shell.stdin(Stdio::null()).output().unwrap();
                let printed = String::from_utf8_lossy(&output.stdout).into_owned();
                assert!(output.status.success(), "{lines}\nprints:\n{printed}");
                if let Some(shown) = blocks.get(place + 1).filter(|next| next.kind == "text") {
                    assert_eq!(printed, shown.text, "{lines}");
                }
                ran += 1;
            }
            "toml" => {
                let file = block.text.lines().next().and_then(|line| line.strip_prefix("# ")).unwrap();
                std::fs::write(home.path(file), &block.text).unwrap();
            }
            "text" => assert_eq!(before.map(|before| before.kind.as_str()), Some("sh")),
            other => panic!("a block of {other:?}"),
        }
    }
    assert!(ran >= 3, "only {ran} blocks");
}
