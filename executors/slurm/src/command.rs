use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use jobmgr_plugin_api::{Error, Result};

use crate::Config;
use crate::gate::Gate;

/// How many commands may run at once: a thousand jobs that begin together would be a thousand processes here, and a
/// thousand questions there.
const AT_ONCE: usize = 16;

/// What Slurm's commands see of our environment; the rest (`SBATCH_ARRAY_INX`, ...) would be options that nobody wrote.
const ENVIRONMENT: [&str; 11] = [
    "HOME",
    "KRB5CCNAME",
    "LD_LIBRARY_PATH",
    "LOGNAME",
    "PATH",
    "SLURM_CONF",
    "SLURM_CONF_SERVER",
    "SLURM_JWT",
    "TZ",
    "USER",
    "XDG_RUNTIME_DIR",
];

/// Runs Slurm's commands.
pub struct Commands {
    bin: Option<PathBuf>,
    environment: Vec<(String, String)>,
    limit: Duration,
    gate: Gate,
}

/// What a command said.
pub struct Said {
    /// It exited with 0.
    pub ok: bool,
    pub stdout: String,
    /// Without the name of the command in front of its lines.
    pub stderr: String,
}

impl Commands {
    pub fn new(config: &Config) -> Self {
        let ours = ENVIRONMENT.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)));
        let conf = config.conf.iter().map(|path| ("SLURM_CONF".to_owned(), path.display().to_string()));
        let environment = ours.chain(conf).collect();
        Self { bin: config.bin.clone(), environment, limit: config.command_limit(), gate: Gate::new(AT_ONCE) }
    }

    /// Runs one to its end.
    ///
    /// # Errors
    /// [`Error::failed`] when there is no such command, [`Error::retry`] when it can't be started now, [`Error::lost`]
    /// when it did not end in time: what it was to do may have been done.
    pub fn call(&self, name: &str, arguments: &[String], input: &str) -> Result<Said> {
        let _turn = self.gate.enter();
        let program = self.bin.as_ref().map_or_else(|| PathBuf::from(name), |bin| bin.join(name));
        let mut command = Command::new(&program);
        command.args(arguments).env_clear().envs(self.environment.iter().cloned());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::PermissionDenied => {
                Error::failed(format!("{}: {error}; 'Bin' names the folder of Slurm's commands", program.display()))
            }
            _ => Error::retry(format!("{}: {error}", program.display())),
        })?;
        let (stdout, stderr) = (read(child.stdout.take()), read(child.stderr.take()));
        if let Some(mut stdin) = child.stdin.take() {
            // One that has ended already has said why.
            let _ = stdin.write_all(input.as_bytes());
        }
        let ok = self.wait(&mut child).map_err(|error| Error::new(error.kind(), format!("{name}: {error}")))?;
        let text = |reader: thread::JoinHandle<Vec<u8>>| {
            reader.join().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
        };
        Ok(Said { ok, stdout: text(stdout), stderr: words(&text(stderr), name) })
    }

    fn wait(&self, child: &mut Child) -> Result<bool> {
        let until = Instant::now() + self.limit;
        let mut pause = Duration::from_millis(1);
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(status.success());
            }
            if Instant::now() >= until {
                // It may have ended by itself.
                let _ = child.kill();
                child.wait()?;
                return Err(Error::lost(format!("no answer within {} s", self.limit.as_secs_f64())));
            }
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }
}

fn read<R: Read + Send + 'static>(pipe: Option<R>) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What was read before an error is all there is.
            let _ = pipe.read_to_end(&mut bytes);
        }
        bytes
    })
}

/// `sbatch: error: ` says nothing in front of every line.
pub fn words(stderr: &str, name: &str) -> String {
    let prefixes = [format!("{name}: error: "), format!("{name}: fatal: "), format!("{name}: ")];
    let strip = |line: &str| {
        let prefix = prefixes.iter().find(|prefix| line.starts_with(prefix.as_str()));
        line[prefix.map_or(0, String::len)..].trim().to_owned()
    };
    stderr.lines().map(strip).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}
