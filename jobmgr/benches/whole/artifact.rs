use std::process::Command;
use std::time::Instant;

use crate::setup::{home, median, quiet};

/// From the job's last write to `completed`, against copying the same file into the same folder with a sync.
pub fn artifact() {
    let home = home(1);
    let server = quiet(&home);
    let blob = home.path("blob");
    shell(&format!("head -c 1073741824 /dev/urandom > {}", blob.display()));
    home.sh(
        "artifact",
        &format!(
            "cp {} $JOBMGR_ARTIFACTS_DIR/x.bin && sync $JOBMGR_ARTIFACTS_DIR/x.bin && date +%s.%N",
            blob.display()
        ),
        "Timeout = \"5m\"",
    );
    let (mut ours, mut copies) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let copy = home.path("artifacts-store/copy");
        let start = Instant::now();
        shell(&format!("cp {} {copy} && sync {copy}", blob.display(), copy = copy.display()));
        copies.push(start.elapsed().as_secs_f64());
        std::fs::remove_file(&copy).unwrap();
        let end = server.run("artifact", serde_json::json!({}));
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        assert_eq!(end.status, "completed", "{}", end.result);
        ours.push(now - end.result.trim().parse::<f64>().unwrap());
    }
    let (ours, copy) = (median(ours), median(copies));
    println!("artifact of 1 GiB: stored in {ours:.2} s; plain copy with sync {copy:.2} s; ratio {:.2}", copy / ours);
}

fn shell(script: &str) {
    assert!(Command::new("sh").args(["-c", script]).status().unwrap().success());
}
