//! An executor that does everything that executors must not do, one thing for each `Mode`.
#![cfg(unix)]
#![allow(unsafe_code, missing_docs)]

use std::fs::File;
use std::io::Write;
use std::os::fd::FromRawFd;
use std::process::Command;
use std::time::Duration;

use jobmgr_plugin_api::{Context, Error, Executor, Job, NoConfig, Outcome, Result, export_executor};
use schemars::JsonSchema;
use serde::Deserialize;

struct Bad;

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Options {
    /// What it does.
    mode: String,
    /// In bytes.
    #[serde(default)]
    size: usize,
}

unsafe extern "C" {
    fn close(fd: i32) -> i32;
    fn _exit(status: i32) -> !;
}

/// Whose Drop panics.
struct Evil;

impl Drop for Evil {
    fn drop(&mut self) {
        panic!("and again");
    }
}

impl Executor for Bad {
    type Config = NoConfig;
    type Options = Options;
    const NAME: &'static str = "bad";

    fn new(_: NoConfig) -> Result<Self> {
        Ok(Bad)
    }

    fn validate(&self, options: &Options) -> Result<()> {
        if options.mode == "invalid" { Err(Error::invalid("Mode: 'invalid' is not valid")) } else { Ok(()) }
    }

    fn run(&self, job: &Job<Options>, ctx: &Context<'_>) -> Result<Outcome> {
        let sh = |script: &str| Command::new("/bin/sh").args(["-c", script]).spawn();
        match job.options.mode.as_str() {
            "ok" => ctx.stdout("hello\n")?,
            "env" => std::env::vars().try_for_each(|(name, value)| ctx.stdout(format!("{name}={value}\n")))?,
            "err" => return Err(Error::failed("the cluster is not reachable")),
            "retry" => return Err(Error::retry("not now")),
            "panic" => drop([1, 2, 3].get(job.options.size + 3).copied().unwrap_or_else(|| panic!("no such thing"))),
            "panic_evil" => std::panic::panic_any(Evil),
            "segv" => {
                // SAFETY: there is none; that is what is tried.
                unsafe { std::ptr::null_mut::<u8>().write_volatile(1) }
            }
            "abort" => std::process::abort(),
            "exit0" => std::process::exit(0),
            "_exit0" => {
                // SAFETY: it returns to nobody.
                unsafe { _exit(0) }
            }
            "stackoverflow" => drop(deeper(job.options.size)),
            "loop" => {
                ctx.stdout("loops\n")?;
                loop {
                    std::hint::spin_loop();
                }
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
            "garbage" => {
                let noise: Vec<u8> = (0..100_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
                std::io::stdout().write_all(&noise)?;
                std::io::stderr().write_all(&noise)?;
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
            "bg_panic" => drop(std::thread::spawn(|| panic!("in the background")).join()),
            "crash_after" => {
                std::thread::spawn(|| {
                    std::thread::sleep(Duration::from_millis(1));
                    std::process::abort();
                });
            }
            "leak" => {
                let mut leaked = vec![0_u8; job.options.size];
                leaked.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
                std::mem::forget(leaked);
            }
            "print_and_sleep" => {
                println!("printed");
                ctx.sleep(Duration::from_secs(600))?;
            }
            "sleep" => ctx.sleep(Duration::from_secs(600))?,
            "print" => print!("printed, without an end of the line"),
            "command" => return ctx.run_command(Command::new("/bin/sh").args(["-c", &job.command.join(" ")])),
            "checkpoint" => ctx.checkpoint(vec![7; job.options.size])?,
            "request" => drop(ctx.request("no.such.method", &jobmgr_plugin_api::serde_json::json!({}))?),
            "put" => {
                let path = std::path::Path::new(&job.dir).join("made");
                std::fs::write(&path, "made by the executor")?;
                let put = jobmgr_plugin_api::serde_json::json!({"name": "sub/made.txt", "path": path});
                ctx.request("artifact.put", &put)?;
            }
            other => return Err(Error::invalid(format!("Mode: '{other}' is not known"))),
        }
        Ok(Outcome::exited(0))
    }
}

#[allow(unconditional_recursion)]
fn deeper(depth: usize) -> usize {
    let room = [depth; 1024];
    std::hint::black_box(&room);
    deeper(depth + 1) + room[depth % 1024]
}

export_executor!(Bad);
