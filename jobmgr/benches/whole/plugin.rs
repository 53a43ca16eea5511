use std::time::Duration;

use crate::setup::{home, median, quiet, whole_job};
use crate::support::{libraries, processes};

/// A job of an executor in a library that does nothing, against one that runs /bin/true: from the POST to its end. With
/// a spare, and without: a change of the file's time makes the spare one of another file.
pub fn plugin() {
    let home = home(1);
    let library = home.path("noop.so");
    libraries::of_c("good.c", &library, &["-O2"]).expect("gcc is installed");
    let name = toml::Value::String(library.display().to_string());
    let config = format!("[Worker]\nConcurrency = 1\n[Executors.noop]\nPlugin = {name}\n");
    std::fs::write(home.path("config.toml"), config).unwrap();
    home.spec("plugin", "Command = \"x\"\nExecutor = \"noop\"\n");
    let server = quiet(&home);
    let mut client = server.client();
    let (mut process, mut warm, mut cold) = (Vec::new(), Vec::new(), Vec::new());
    // The spare is refilled after each job of it.
    let refilled = || std::thread::sleep(Duration::from_millis(20));
    for round in 0..330 {
        process.push(whole_job(&mut client, "noop", round));
        warm.push(whole_job(&mut client, "plugin", round));
        // It is to be there, and then to be of no use.
        refilled();
        let file = std::fs::File::options().write(true).open(&library).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000 + round)).unwrap();
        cold.push(whole_job(&mut client, "plugin", round));
        refilled();
    }
    let [process, warm, cold] = [process, warm, cold].map(|mut times| median(times.split_off(30)));
    println!("plugin: POST to completed, median: /bin/true as a process {process:.2} ms");
    for (what, time) in [("with a spare", warm), ("without one", cold)] {
        println!(
            "plugin: a no-op in a library, {what}: {time:.2} ms; added {:.2} ms; ratio {:.2}",
            time - process,
            time / process
        );
    }
    std::thread::sleep(Duration::from_millis(200));
    let spare = processes::children(server.pid()).into_iter().find(|pid| processes::is_plugin_runner(*pid));
    let spare = spare.expect("a spare is there");
    println!("plugin: an idle spare's private memory {} KiB", processes::private_memory(spare) >> 10);
}
