//! How a job ended.

use serde::{Deserialize, Serialize};

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Outcome {
    /// The end itself.
    pub ending: Ending,
    /// One line for people, where there is more to say than the ending does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What the system said about the end, for people and programs.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub detail: serde_json::Value,
    /// The exit code, where the job's process exited by itself, also after it was asked to stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The signal's number, where one ended the job's process, also one that was sent to stop it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
}

impl Outcome {
    /// The job's process exited with `code`.
    pub fn exited(code: i32) -> Self {
        Self {
            ending: Ending::Exited(code),
            message: None,
            detail: serde_json::Value::Null,
            exit_code: Some(code),
            signal: None,
        }
    }

    /// A signal that jobmgr did not send ended the job's process.
    pub fn signaled(signal: i32) -> Self {
        Self {
            ending: Ending::Signaled(signal),
            message: None,
            detail: serde_json::Value::Null,
            exit_code: None,
            signal: Some(signal),
        }
    }

    /// The job was ended from outside.
    pub fn killed(reason: KillReason) -> Self {
        Self {
            ending: Ending::Killed(reason),
            message: None,
            detail: serde_json::Value::Null,
            exit_code: None,
            signal: None,
        }
    }

    /// The same with one line for people.
    pub fn with_message(mut self, message: impl Into<String>) -> Self {
        self.message = Some(message.into());
        self
    }
}

/// The kinds of end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// By itself, with this exit code.
    Exited(i32),
    /// By this signal.
    Signaled(i32),
    /// By jobmgr or the system that ran it.
    Killed(KillReason),
    /// In a way that this version has no name for.
    #[serde(untagged)]
    Other(serde_json::Value),
}

/// Why a job was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(rename_all = "snake_case")]
pub enum KillReason {
    /// Somebody asked for it.
    Cancelled,
    /// It ran longer than its jobspec allows.
    Timeout,
    /// The system took its memory back.
    OutOfMemory,
    /// The system gave its place to another job.
    Preempted,
    /// The machine that it ran on is gone.
    NodeLost,
    /// Anything that this version has no name for.
    #[serde(other)]
    Other,
}
