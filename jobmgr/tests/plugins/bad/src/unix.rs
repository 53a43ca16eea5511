//! What works with signals, descriptors and shells.

use std::fs::File;
use std::io::Write;
use std::os::fd::FromRawFd;
use std::process::Command;
use std::time::Duration;

use jobmgr_plugin_api::{Context, Job, Outcome, Result};

use crate::Options;

unsafe extern "C" {
    fn close(fd: i32) -> i32;
    fn _exit(status: i32) -> !;
}

/// `None`: there is no such mode.
pub fn run(mode: &str, job: &Job<Options>, ctx: &Context<'_>) -> Option<Result<Outcome>> {
    const MODES: [&str; 7] = ["_exit0", "sigterm_proof", "sigstop", "garbage_all_fds", "closefds", "orphan", "command"];
    MODES.contains(&mode).then(|| misbehave(mode, job, ctx))
}

fn misbehave(mode: &str, job: &Job<Options>, ctx: &Context<'_>) -> Result<Outcome> {
    let sh = |script: &str| Command::new("/bin/sh").args(["-c", script]).spawn();
    match mode {
        "_exit0" => {
            // SAFETY: it returns to nobody.
            unsafe { _exit(0) }
        }
        "sigterm_proof" => {
            sh("trap '' TERM; sleep 600 & sleep 600")?;
            ctx.stdout("sleeps\n")?;
            std::thread::sleep(Duration::from_secs(600));
        }
        "sigstop" => {
            let me = rustix::process::getpid();
            ctx.stdout("stops\n")?;
            let _ = rustix::process::kill_process(me, rustix::process::Signal::STOP);
            // This thread is not always the one that is stopped first.
            std::thread::sleep(Duration::from_secs(600));
        }
        "garbage_all_fds" => {
            for fd in 1..1024 {
                // SAFETY: as above.
                let mut file = std::mem::ManuallyDrop::new(unsafe { File::from_raw_fd(fd) });
                let _ = file.write_all(&[0xa5; 4096]);
            }
            std::thread::sleep(Duration::from_secs(600));
        }
        "closefds" => {
            for fd in 0..1024 {
                // SAFETY: as above.
                unsafe { close(fd) };
            }
            std::thread::sleep(Duration::from_secs(600));
        }
        "orphan" => drop(sh("(setsid sh -c 'sleep 600; true' &) &")?.wait()?),
        _ => return ctx.run_command(Command::new("/bin/sh").args(["-c", &job.command.join(" ")])),
    }
    Ok(Outcome::exited(0))
}
