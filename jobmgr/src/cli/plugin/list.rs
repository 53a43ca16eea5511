//! `jobmgr plugin list`: which executors there are.

use std::io::stdout;
use std::process::ExitCode;

use crate::cli::say;
use crate::runner::executors;
use crate::runner::plugin::{Plugins, find};

/// Lists them; exit status 1 when one can't be used, 2 when it is the configuration.
pub(super) async fn list() -> ExitCode {
    let config = match crate::cli::config() {
        Ok(config) => config,
        Err(code) => return code,
    };
    for name in executors::NAMES {
        say(stdout(), format_args!("ok     {name}: built in, version {}", env!("CARGO_PKG_VERSION")));
    }
    let mut sound = true;
    for (name, found) in Plugins::new(&config.executors).look().await {
        let Some(executor) = config.executors.get(&name) else { continue };
        let file = executor.plugin.display();
        let found = found.and_then(|loaded| Ok((loaded, find(&executor.plugin)?)));
        match found {
            Ok((loaded, file)) => {
                let summary = crate::cli::check::in_short(&loaded);
                say(stdout(), format_args!("ok     {name}: {summary}"));
                say(stdout(), format_args!("       {} sha256 {}", file.path.display(), file.sha256));
            }
            Err(why) => {
                sound = false;
                say(stdout(), format_args!("WRONG  {name}: {file}: {why}"));
            }
        }
    }
    if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
