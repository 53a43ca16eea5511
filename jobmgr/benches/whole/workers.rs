use crate::drain::drain_once;
use crate::setup::{REPEATS, home, home_with, median, quiet, worker};
use crate::support::databases::{Disk, Kind};

/// Two worker processes of two slots beside an API process, against one process with four slots.
pub fn workers() {
    let one = home(4);
    let alone = quiet(&one);
    let postgres = Kind::Postgres.start(Disk::Durable).expect("PostgreSQL is installed");
    let mariadb = Kind::MariaDb.start(Disk::Durable).expect("MariaDB is installed");
    let places = [
        ("SQLite", String::new()),
        ("PostgreSQL", format!("[Database]\nURL = \"{}\"\n", postgres.fresh())),
        ("MariaDB", format!("[Database]\nURL = \"{}\"\n", mariadb.fresh())),
    ];
    for (place, database) in places {
        let two = home_with(2, &database);
        let mut api = two.jobmgr(&["serve", "--no-worker"]);
        api.env("JOBMGR_LOG", "warn");
        let api = two.serve_by(api);
        let _workers = [worker(&two), worker(&two)];
        let (mut ones, mut twos) = (Vec::new(), Vec::new());
        for round in 0..=REPEATS {
            let (one, two) = (drain_once(&one, &alone, 4, 1000), drain_once(&two, &api, 4, 1000));
            // The first round warms them up.
            if round > 0 {
                ones.push(one);
                twos.push(two);
            }
        }
        let (one, two) = (median(ones), median(twos));
        println!(
            "workers: 2 processes of 2 slots on {place}: {two:.0} jobs/s; 1 process of 4 slots on SQLite: {one:.0}/s; \
             ratio {:.2}",
            two / one
        );
    }
}
