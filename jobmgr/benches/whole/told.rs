use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::setup::{median, post, worker};
use crate::support::databases::{Disk, Kind};
use crate::support::server::Home;
use crate::support::sse::Stream;

/// From a job's end, by the database's clock, to the client that waits for it: in one process, and in two.
pub fn told() {
    let postgres = Kind::Postgres.start(Disk::Durable).expect("PostgreSQL is installed");
    let mariadb = Kind::MariaDb.start(Disk::Durable).expect("MariaDB is installed");
    let places = [("SQLite", None), ("PostgreSQL", Some(postgres.fresh())), ("MariaDB", Some(mariadb.fresh()))];
    for (place, url) in places {
        let config = "[Worker]\nConcurrency = 2\n";
        let home = url.as_ref().map_or_else(|| Home::new(config), |url| Home::on(url, config));
        home.sh("nap", "sleep 0.15", "");
        let mut serve = home.jobmgr(if url.is_some() { &["serve", "--no-worker"] } else { &["serve"] });
        let server = home.serve_by({
            serve.env("JOBMGR_LOG", "warn");
            serve
        });
        let _worker = url.is_some().then(|| worker(&home));
        let mut told: BTreeMap<&str, Vec<(i64, f64)>> = BTreeMap::new();
        let mut all = follow(server.address, "/v1/events");
        for _ in 0..40 {
            let id = post(&mut server.client(), "nap");
            let waiting = std::thread::spawn({
                let mut client = server.client();
                move || {
                    client.get(&format!("/v1/jobs/{id}?wait=30s"));
                    now()
                }
            });
            let mut one = follow(server.address, &format!("/v1/jobs/{id}/events"));
            let one = std::thread::spawn(move || until_end(&mut one, id));
            told.entry("SSE of all jobs").or_default().push((id, until_end(&mut all, id)));
            told.entry("SSE of the job").or_default().push((id, one.join().unwrap()));
            told.entry("long poll").or_default().push((id, waiting.join().unwrap()));
        }
        for (way, times) in told {
            let times = times.into_iter().map(|(id, told)| told - home.stored(id).finished_ms.unwrap() as f64);
            println!("told: {place}, {way}: median {:.1} ms after the end", median(times.collect()));
        }
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs_f64() * 1e3
}

fn follow(address: SocketAddr, path: &str) -> (TcpStream, Stream) {
    let mut connection = TcpStream::connect(address).unwrap();
    connection.write_all(Stream::request(path, None).as_bytes()).unwrap();
    let mut stream = Stream::default();
    while stream.status().is_none() {
        more(&mut connection, &mut stream);
    }
    (connection, stream)
}

fn more(connection: &mut TcpStream, stream: &mut Stream) {
    let mut bytes = [0; 16 << 10];
    let read = connection.read(&mut bytes).unwrap();
    assert!(read > 0, "the stream goes on");
    stream.push(&bytes[..read]);
}

/// When the end of a job was told.
fn until_end((connection, stream): &mut (TcpStream, Stream), id: i64) -> f64 {
    loop {
        while let Some(said) = stream.next() {
            if said.kind == "end" && said.data["jobID"] == id {
                return now();
            }
        }
        more(connection, stream);
    }
}
