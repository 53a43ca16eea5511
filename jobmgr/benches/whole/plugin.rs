use std::time::Duration;

use crate::setup::{home, median, quiet, whole_job};
use crate::support::{libraries, processes};

/// A job of an executor in a library that does nothing, against one that runs /bin/true: from the POST to its end. With
/// a spare, without, and with a spare of another file: a change of its time makes it one.
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
    let spares = || processes::children(server.pid()).into_iter().filter(|pid| processes::is_plugin_runner(*pid));
    // The spare is made after each job of it.
    let settle = || std::thread::sleep(Duration::from_millis(20));
    let [mut process, mut warm, mut cold, mut changed] = [const { Vec::new() }; 4];
    for round in 0..330 {
        process.push(whole_job(&mut client, "noop", round));
        warm.push(whole_job(&mut client, "plugin", round));
        settle();
        for spare in spares() {
            processes::signal(spare, processes::Signal::KILL);
        }
        settle();
        cold.push(whole_job(&mut client, "plugin", round));
        settle();
        let file = std::fs::File::options().write(true).open(&library).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000 + round)).unwrap();
        changed.push(whole_job(&mut client, "plugin", round));
        settle();
    }
    let [process, warm, cold, changed] = [process, warm, cold, changed].map(|mut times| median(times.split_off(30)));
    println!("plugin: POST to completed, median: /bin/true as a process {process:.2} ms");
    for (what, time) in [("with a spare", warm), ("without one", cold), ("with one of another file", changed)] {
        println!(
            "plugin: a no-op in a library, {what}: {time:.2} ms; added {:.2} ms; ratio {:.2}",
            time - process,
            time / process
        );
    }
    std::thread::sleep(Duration::from_millis(200));
    let spare = spares().next().expect("a spare is there");
    println!("plugin: an idle spare's private memory {} KiB", processes::private_memory(spare) >> 10);
}
