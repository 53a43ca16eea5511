//! The process between a test process and a server: a server must not outlive its tests, however those end, and the
//! server that all tests share is in a static, which nothing drops.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// Runs a server; dropped, it has ended the server and removed its folder.
pub struct Guard {
    process: Child,
    /// `None` when there is nothing more to ask.
    pipes: Mutex<Option<(ChildStdin, BufReader<ChildStdout>)>>,
}

impl Guard {
    /// A guard over `command`, which is not started yet. The folder is removed with it.
    pub fn over(folder: &Path, command: &[String]) -> Result<Guard, String> {
        let log = File::options().create(true).append(true).open(folder.join("log")).map_err(|e| e.to_string())?;
        let mut process = Command::new("python3")
            .args(["-c", include_str!("guard.py")])
            .arg(folder)
            .args(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(|e| format!("python3: {e}"))?;
        let pipes = process.stdin.take().zip(process.stdout.take().map(BufReader::new));
        Ok(Guard { process, pipes: Mutex::new(pipes) })
    }

    /// Has the guard `start`, `pause`, `resume` or `kill` the server; returns when that is done.
    pub fn tell(&self, act: &str) -> Result<(), String> {
        match self.ask(act)?.as_str() {
            "done" => Ok(()),
            other => Err(format!("the guard's answer to {act} is {other:?}")),
        }
    }

    /// Whether any process of the server runs.
    pub fn is_running(&self) -> bool {
        self.ask("running").is_ok_and(|answer| answer == "yes")
    }

    fn ask(&self, act: &str) -> Result<String, String> {
        let mut pipes = self.pipes.lock().unwrap_or_else(PoisonError::into_inner);
        let (questions, answers) = pipes.as_mut().ok_or("the guard has ended")?;
        let mut answer = String::new();
        writeln!(questions, "{act}").and_then(|()| answers.read_line(&mut answer)).map_err(|e| e.to_string())?;
        Ok(answer.trim_end().to_owned())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.pipes.lock().unwrap_or_else(PoisonError::into_inner).take());
        let _ = self.process.wait();
    }
}
