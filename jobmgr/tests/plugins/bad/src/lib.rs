//! An executor that does everything that executors must not do, one thing for each `Mode`.
#![allow(unsafe_code, missing_docs)]

#[cfg_attr(unix, path = "unix.rs")]
#[cfg_attr(windows, path = "windows.rs")]
mod platform;

use std::io::Write;
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
        match options.mode.as_str() {
            "invalid" => Err(Error::invalid("Mode: 'invalid' is not valid")),
            "validate_crashes" => std::process::abort(),
            "validate_hangs" => loop {
                std::thread::park();
            },
            _ => Ok(()),
        }
    }

    fn run(&self, job: &Job<Options>, ctx: &Context<'_>) -> Result<Outcome> {
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
            "stackoverflow" => drop(deeper(job.options.size)),
            "loop" => {
                ctx.stdout("loops\n")?;
                loop {
                    std::hint::spin_loop();
                }
            }
            "garbage" => {
                let noise: Vec<u8> = (0..100_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
                std::io::stdout().write_all(&noise)?;
                std::io::stderr().write_all(&noise)?;
            }
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
            "checkpoint" => ctx.checkpoint(vec![7; job.options.size])?,
            "request" => drop(ctx.request("no.such.method", &jobmgr_plugin_api::serde_json::json!({}))?),
            "put" => {
                let path = std::path::Path::new(&job.dir).join("made");
                std::fs::write(&path, "made by the executor")?;
                let put = jobmgr_plugin_api::serde_json::json!({"name": "sub/made.txt", "path": path});
                ctx.request("artifact.put", &put)?;
            }
            other => {
                let unknown = || Error::invalid(format!("Mode: '{other}' is not known"));
                return platform::run(other, job, ctx).ok_or_else(unknown)?;
            }
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
