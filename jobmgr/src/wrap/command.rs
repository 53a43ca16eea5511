use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::process::Command;

use super::platform::{self, Signals};
use super::{Options, Places, tell};

/// The exit statuses of shells for commands that are not there, and for those that can't be run.
const NOT_FOUND: u8 = 127;
const NOT_EXECUTABLE: u8 = 126;
/// How long output is still read when the command has ended and somebody else holds it open.
const REST: Duration = Duration::from_secs(2);

/// How the command ended.
#[derive(Debug, Default)]
pub(super) struct Ended {
    pub exit_code: Option<i32>,
    pub signal: Option<i32>,
    /// For the exit file.
    pub status: u8,
    pub problem: Option<String>,
}

/// Runs the command to its end, with some more variables.
pub(super) async fn run(
    options: &Options,
    places: &Places,
    given: Vec<(OsString, OsString)>,
    mut signals: Signals,
) -> Result<Ended, String> {
    let Some((program, arguments)) = options.command.split_first() else { return Err("no command".to_owned()) };
    let mut command = Command::new(program);
    command.args(arguments).env("JOBMGR_ARTIFACTS_DIR", &places.artifacts).env("JOBMGR_OUTPUT", &places.output);
    command.envs(given);
    // Who has them may upload; that is not the command's business.
    command.env_remove("JOBMGR_GRANTS").env_remove("JOBMGR_EXIT_FILE");
    if options.log {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
    }
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return Ok(not_run(&program.to_string_lossy(), &error)),
    };
    let copies = [
        child.stdout.take().map(|pipe| tokio::spawn(copy(pipe, tokio::io::stdout(), places.log("stdout")))),
        child.stderr.take().map(|pipe| tokio::spawn(copy(pipe, tokio::io::stderr(), places.log("stderr")))),
    ];
    let status = loop {
        tokio::select! {
            status = child.wait() => break status.map_err(|error| format!("can't wait for the command: {error}"))?,
            signal = signals.next() => {
                if let Some(pid) = child.id() {
                    platform::send(pid, signal);
                }
            }
        }
    };
    // From here on the uploads go on until they are done: who wants to end them has SIGKILL.
    let signals = tokio::spawn(async move {
        loop {
            signals.next().await;
        }
    });
    let mut problem = None;
    for copy in copies.into_iter().flatten() {
        let abort = copy.abort_handle();
        match tokio::time::timeout(REST, copy).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => problem = Some(format!("the output is not kept in full: {error}")),
            Ok(Err(error)) => problem = Some(format!("the output is not kept in full: {error}")),
            Err(_) => abort.abort(),
        }
    }
    drop(signals);
    let (exit_code, signal) = platform::ending(status);
    let status = match (exit_code, signal) {
        (Some(code), _) => u8::try_from(code & 0xff).unwrap_or(1),
        (None, Some(signal)) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
        (None, None) => 1,
    };
    // Windows has more exit codes than a status has room for.
    let status = if status == 0 && exit_code != Some(0) { 1 } else { status };
    Ok(Ended { exit_code, signal, status, problem })
}

fn not_run(program: &str, error: &std::io::Error) -> Ended {
    let status = if error.kind() == std::io::ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE };
    let why = format!("{program}: {error}");
    tell(&why);
    Ended { exit_code: Some(status.into()), status, problem: Some(why), ..Ended::default() }
}

/// Passes output through and keeps it; goes on with the one when the other fails.
async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    file: impl AsRef<Path>,
) -> std::io::Result<()> {
    let mut kept = tokio::fs::File::create(file).await;
    let mut passes = true;
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            break;
        }
        // Its reader may be gone; the command is not to be ended by that.
        passes = passes && to.write_all(&buffer[..count]).await.is_ok() && to.flush().await.is_ok();
        if let Ok(file) = &mut kept {
            let written = match file.write_all(&buffer[..count]).await {
                Ok(()) => file.flush().await,
                failed => failed,
            };
            if let Err(error) = written {
                kept = Err(error);
            }
        }
    }
    kept.map(drop)
}
