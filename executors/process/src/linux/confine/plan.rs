//! What the process that becomes the job's is told, and what it answers.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::sandbox::Rooms;
use super::user::Identity;

/// What it answers when everything is taken on and only the command is left; nothing more follows if that begins.
pub const READY: u8 = b'+';

/// What to take on, in this order, and what to become.
#[derive(Debug, Serialize, Deserialize)]
pub struct Plan {
    /// Control groups to join.
    pub groups: Vec<PathBuf>,
    pub bounds: Vec<(Bound, u64)>,
    pub user: Option<Identity>,
    pub sandbox: Option<Rooms>,
    /// Where the command starts; empty: here.
    pub directory: String,
    pub program: PathBuf,
    pub arguments: Vec<String>,
    pub env: BTreeMap<String, String>,
}

/// What `setrlimit` bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bound {
    /// The memory that a process may write to, in bytes.
    Data,
    /// The processes of a user.
    Processes,
    /// The files that a process has open.
    Files,
}

/// Why it did not become the job.
#[derive(Debug, Serialize, Deserialize)]
pub struct Failure {
    pub step: Step,
    pub errno: Option<i32>,
    pub text: String,
}

/// Where it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Taking something on.
    Confine,
    /// Entering the working directory.
    Directory,
    /// Executing the command.
    Execute,
}
