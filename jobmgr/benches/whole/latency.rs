use std::time::{Duration, Instant};

use crate::setup::{home, median, quiet, spawn_true, whole_job};

pub fn latency() {
    let home = home(1);
    let server = quiet(&home);
    let mut client = server.client();
    let (mut whole, mut bare) = (Vec::new(), Vec::new());
    for round in 0..330 {
        std::thread::sleep(Duration::from_millis(20 + round % 7));
        let start = Instant::now();
        spawn_true();
        bare.push(start.elapsed().as_secs_f64() * 1e3);
        whole.push(whole_job(&mut client, "noop", round));
    }
    let (whole, bare) = (median(whole.split_off(30)), median(bare.split_off(30)));
    println!(
        "POST to completed, median: {whole:.2} ms; bare spawn and wait {bare:.2} ms; added {:.2} ms",
        whole - bare
    );
}
