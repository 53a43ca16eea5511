use crate::setup::{REPEATS, home, median, post, quiet, rate};

/// With the worker held by a gate, so that what is measured is the submission.
pub fn submit() {
    for connections in [1, 16] {
        let home = home(1);
        let server = quiet(&home);
        let gate = post(&mut server.client(), "gate");
        server.wait_for(gate, "started");
        let rates = (0..REPEATS).map(|_| {
            rate(&server, connections, 4000 / connections, |client| {
                post(client, "noop");
            })
        });
        let rates = rates.collect();
        println!("submissions on {connections} connection(s): {:.0}/s", median(rates));
    }
}
