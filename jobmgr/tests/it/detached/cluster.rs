//! Who runs the jobs of the executor `outside`: a thread of the test, so that they outlive every jobmgr.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;

pub struct Cluster {
    pub folder: PathBuf,
    over: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Cluster {
    pub fn new(folder: &Path) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let (folder, over) = (folder.to_owned(), Arc::clone(&over));
            move || work(&folder, &over)
        });
        Self { folder: folder.to_owned(), over, thread: Some(thread) }
    }

    /// What the executor did, in order: `KEY what`.
    pub fn notes(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.folder.join("notes")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// How often it did something.
    pub fn count(&self, what: &str) -> usize {
        self.notes().iter().filter(|note| note.split_once(' ').is_some_and(|(_, did)| did == what)).count()
    }

    pub fn has(&self, file: &str) -> bool {
        self.folder.join(file).exists()
    }

    pub fn touch(&self, file: &str) {
        std::fs::write(self.folder.join(file), "").unwrap();
    }

    /// Files of jobs that are still there.
    pub fn left(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.folder).unwrap().flatten();
        entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| name.starts_with("jm-"))
            .collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn work(folder: &Path, over: &AtomicBool) {
    let mut running: HashMap<String, Child> = HashMap::new();
    while !over.load(Ordering::Relaxed) {
        let names = std::fs::read_dir(folder).unwrap().flatten();
        let names: Vec<String> = names.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        for key in names.iter().filter_map(|name| name.strip_suffix(".job")) {
            if !running.contains_key(key) && !folder.join(format!("{key}.exit")).exists() {
                running.extend(start(folder, key).map(|child| (key.to_owned(), child)));
            }
        }
        for key in names.iter().filter_map(|name| name.strip_suffix(".cancel")) {
            if let Some(child) = running.get(key) {
                let group = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
                let _ = kill_process_group(group, Signal::KILL);
            }
        }
        running.retain(|key, child| {
            let Some(status) = child.try_wait().unwrap() else { return true };
            let new = folder.join(format!("{key}.ended"));
            std::fs::write(&new, status.code().unwrap_or(137).to_string()).unwrap();
            std::fs::rename(new, folder.join(format!("{key}.exit"))).unwrap();
            false
        });
        std::thread::sleep(Duration::from_millis(10));
    }
    for child in running.values_mut() {
        let group = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        let _ = kill_process_group(group, Signal::KILL);
        drop(child.wait());
    }
}

/// `None`: it was cleaned up just now.
fn start(folder: &Path, key: &str) -> Option<Child> {
    use std::os::unix::process::CommandExt;
    let job: Value = serde_json::from_slice(&std::fs::read(folder.join(format!("{key}.job"))).ok()?).unwrap();
    let words: Vec<&str> = job["command"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let env = job["env"].as_object().unwrap().iter().map(|(name, value)| (name, value.as_str().unwrap()));
    let output = |end: &str| Stdio::from(std::fs::File::create(folder.join(format!("{key}.{end}"))).unwrap());
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).env_clear().envs(env).stdin(Stdio::null()).stdout(output("out")).stderr(output("err"));
    Some(command.process_group(0).spawn().unwrap())
}
