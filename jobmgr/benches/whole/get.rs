use crate::setup::{REPEATS, home, median, quiet, rate};

pub fn get() {
    let home = home(1);
    let server = quiet(&home);
    let id = server.start("noop", serde_json::json!({}));
    server.wait(id);
    for connections in [1, 16] {
        let rates = (0..REPEATS).map(|_| {
            rate(&server, connections, 16_000 / connections, |client| {
                assert_eq!(client.get(&format!("/jobs/get?id={id}")).status, 200);
            })
        });
        let rates = rates.collect();
        println!("GETs of a finished job on {connections} connection(s): {:.0}/s", median(rates));
    }
}
