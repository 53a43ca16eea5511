//! Crashes, cuts, dead receivers, several processes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;

use super::receiver::{Got, How, Receiver, fine};
use super::{CONFIG, deliveries, home, register, specs, submit, submit_many};
use crate::support::databases::Kind;
use crate::support::server::{Home, eventually};

/// Passes on to `target`, and every 200 ms cuts all that is connected.
fn cutting(target: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let open: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
    let cut = Arc::clone(&open);
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(Duration::from_millis(200));
            cut.lock().unwrap().drain(..).for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
        }
    });
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let Ok(server) = TcpStream::connect(target) else { continue };
            open.lock().unwrap().extend([client.try_clone().unwrap(), server.try_clone().unwrap()]);
            for (mut from, mut to) in [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)] {
                std::thread::spawn(move || {
                    let mut buffer = [0; 4096];
                    while let Ok(length @ 1..) = from.read(&mut buffer) {
                        if to.write_all(&buffer[..length]).is_err() {
                            break;
                        }
                    }
                    drop(to.shutdown(Shutdown::Both));
                });
            }
        }
    });
    address
}

/// By job, the ids of the messages that came about it, with how often each came.
fn by_job(got: &[Got]) -> BTreeMap<i64, BTreeMap<String, usize>> {
    let mut jobs: BTreeMap<i64, BTreeMap<String, usize>> = BTreeMap::new();
    for got in got {
        *jobs.entry(got.job()).or_default().entry(got.id().to_owned()).or_default() += 1;
    }
    jobs
}

/// Each job is told of, by messages of one id.
fn assert_told_once(got: &[Got], jobs: &[i64], secret: &str) {
    let told = by_job(got);
    assert_eq!(told.keys().copied().collect::<BTreeSet<_>>(), jobs.iter().copied().collect());
    assert!(told.values().all(|ids| ids.len() == 1), "{told:?}");
    assert!(got.iter().all(|got| got.signed_by(secret) == 1));
}

#[test]
fn through_a_proxy_that_cuts_every_200_ms_each_event_comes_with_one_id() {
    let many = vec!["\"100ms\""; 100].join(", ");
    let home = home(&format!("[Webhooks]\nAllowedHosts = [\"127.0.0.1\"]\nTimeout = \"2s\"\nRetryAfter = [{many}]\n"));
    let server = home.serve();
    // Slow enough that most answers are cut off.
    let receiver = Receiver::new(|_, _| How::Late(Duration::from_millis(120)));
    let proxy = cutting(receiver.address);
    let (id, secret) = register(&server, &json!({ "url": format!("http://{proxy}/") }));
    let jobs = submit_many(&server, "well", 30);
    eventually("all are delivered", || {
        let log = deliveries(&server, id);
        log.len() == 30 && log.iter().all(|delivery| delivery["status"] == "delivered")
    });
    let got = receiver.got();
    assert_told_once(&got, &jobs, &secret);
    eprintln!("{} messages came {} times", jobs.len(), got.len());
    assert!(got.len() > jobs.len(), "the proxy cut nothing");
    let numbers: BTreeSet<i64> = got.iter().map(|got| got.json()["sequence"].as_i64().unwrap()).collect();
    assert_eq!(numbers, (1..=30).collect());
}

#[test]
fn a_server_that_is_killed_in_the_middle_tells_everything_later() {
    let home = home(CONFIG);
    let silent = Arc::new(AtomicBool::new(true));
    let hangs = Arc::clone(&silent);
    let receiver = Receiver::new(move |_, _| if hangs.load(Ordering::Relaxed) { How::Hang } else { fine() });
    let mut server = home.serve();
    let (id, secret) = register(&server, &json!({ "url": receiver.url() }));
    let first = submit(&server, &json!({ "name": "well" }));
    // It has been received, and nobody has said so.
    receiver.wait(1);
    let more = submit_many(&server, "well", 5);
    server.wait_for(more[4], "completed");
    server.kill();
    silent.store(false, Ordering::Relaxed);
    let server = home.serve();
    let begun = Instant::now();
    let jobs: Vec<i64> = [first].into_iter().chain(more).collect();
    eventually("all are delivered", || {
        let log = deliveries(&server, id);
        log.len() == jobs.len() && log.iter().all(|delivery| delivery["status"] == "delivered")
    });
    eprintln!("delivered {:?} after the start", begun.elapsed());
    let got = receiver.got();
    assert_told_once(&got, &jobs, &secret);
    let times = by_job(&got)[&first].values().copied().max();
    assert!(times >= Some(2), "{times:?}: with the same id as before");
}

#[test]
fn a_dead_receiver_delays_no_job_and_no_other_receiver() {
    let home = home(&format!("{CONFIG}\n[Worker]\nConcurrency = 2\n"));
    let server = home.serve();
    let run = |what: &str| {
        let begun = Instant::now();
        let jobs = submit_many(&server, "well", 100);
        for job in &jobs {
            server.wait_for(*job, "completed");
        }
        eprintln!("100 jobs {what}: {:?}", begun.elapsed());
        (jobs, begun.elapsed())
    };
    let (_, before) = run("before");
    let dead = Receiver::new(|_, _| How::Hang);
    let (dead_id, _) = register(&server, &json!({ "url": dead.url() }));
    let alive = Receiver::fine();
    let (_, secret) = register(&server, &json!({ "url": alive.url() }));
    let (jobs, with) = run("with a dead receiver");
    assert!(with < before * 3 + Duration::from_secs(2), "{before:?} before, {with:?} with it");
    assert_told_once(&alive.wait(100), &jobs, &secret);
    let last = alive.got().iter().map(|got| got.at).max().unwrap();
    assert!(last.elapsed() < Duration::from_secs(30) && deliveries(&server, dead_id).len() == 100);
}

#[test]
fn of_two_processes_on_postgres_one_makes_each_message_and_one_sends_it() {
    let Some(database) = Kind::Postgres.shared() else { return };
    let home = Home::on(&database.fresh(), &format!("{CONFIG}\n[Worker]\nLease = \"5s\"\n"));
    specs(&home);
    // Slow enough that both are needed.
    let receiver = Receiver::new(|_, _| How::Late(Duration::from_millis(30)));
    let [mut one, two] = [home.serve(), home.serve()];
    let (id, secret) = register(&one, &json!({ "url": receiver.url() }));
    let mut jobs = submit_many(&one, "well", 40);
    jobs.extend(submit_many(&two, "well", 40));
    receiver.wait(80);
    eventually("all are noted", || {
        deliveries(&two, id).iter().filter(|log| log["status"] == "delivered").count() == 80
    });
    let got = receiver.got();
    assert_told_once(&got, &jobs, &secret);
    assert_eq!(got.len(), 80, "each was claimed once");
    assert!(deliveries(&one, id).iter().all(|log| log["attempts"] == 1));

    // Whoever makes the messages, the other one goes on with it.
    let mut more = submit_many(&two, "well", 20);
    one.kill();
    more.extend(submit_many(&two, "well", 20));
    eventually("all are delivered", || {
        let log = deliveries(&two, id);
        log.len() == 120 && log.iter().all(|delivery| delivery["status"] == "delivered")
    });
    jobs.extend(more);
    assert_told_once(&receiver.got(), &jobs, &secret);
}
