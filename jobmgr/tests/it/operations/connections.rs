use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::support::server::{Home, Server, eventually};

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

/// Whether a request is answered within so long.
fn is_alive_within(server: &Server, patience: Duration) -> bool {
    let begun = Instant::now();
    server.client().get("/healthz").status == 200 && begun.elapsed() < patience
}

/// The time that the server has used of its processors.
fn used(server: &Server) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.pid())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = [11, 12].map(|field: usize| fields[field].parse::<u64>().unwrap()).iter().sum();
    Duration::from_millis(ticks * 10)
}

/// The other limits, of half a minute and more, have the same timers; `http/pace.rs` tests those with short times.
#[test]
fn row_19_a_slow_client_is_let_go_and_others_are_served() {
    let home = Home::new("");
    let server = home.serve();
    let begun = Instant::now();
    let mut silent = connect(&server);
    let mut half = connect(&server);
    half.write_all(b"GET / HTTP/1.1\r\nHost: local").unwrap();
    let mut trickling = connect(&server);
    let mut trickle = trickling.try_clone().unwrap();
    std::thread::spawn(move || {
        while trickle.write_all(b"X").is_ok() {
            std::thread::sleep(Duration::from_millis(300));
        }
    });
    let mut idle = connect(&server);
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    assert!(is_alive_within(&server, Duration::from_secs(5)));
    for stream in [&mut silent, &mut half, &mut trickling] {
        let mut answer = Vec::new();
        // Closed, or reset where bytes were on their way.
        drop(stream.read_to_end(&mut answer));
        let waited = begun.elapsed();
        assert!(waited >= Duration::from_secs(9) && waited < Duration::from_secs(30), "{waited:?}");
    }
    assert!(is_alive_within(&server, Duration::from_secs(5)));
    // A connection may be idle for longer.
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answers = String::new();
    idle.read_to_string(&mut answers).unwrap();
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 2);
}

/// Many connections, each of which has asked once; they stay until it is dropped.
struct Crowd(Child);

impl Crowd {
    fn new(server: &Server, count: usize) -> Crowd {
        let script = "import socket,sys\nport,count=int(sys.argv[1]),int(sys.argv[2])\nall=[]\n\
                      for _ in range(count):\n s=socket.create_connection(('127.0.0.1',port),60); all.append(s)\n \
                      s.sendall(b'GET /healthz HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n')\n\
                      for s in all:\n assert s.recv(12)==b'HTTP/1.1 200'\n\
                      print('there',flush=True)\nsys.stdin.read()";
        let mut python = Command::new("python3");
        python.args(["-c", script, &server.address.port().to_string(), &count.to_string()]);
        let mut python = python.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(python.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "there\n");
        Crowd(python)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn row_20_thousands_of_connections_and_no_file_descriptors() {
    let home = Home::new("[Server]\nMaxConnections = 6000\n");
    let server = home.serve();
    // As many as files may be open here: the server takes half of them, and so does who connects.
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.pid())).unwrap();
    let limits = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let [files, most] = [3, 4].map(|field| limits.split_whitespace().nth(field).unwrap().parse::<u64>().ok());
    let files = files.map_or(usize::MAX, |files| usize::try_from(files).unwrap());
    let crowd = Crowd::new(&server, 5000.min(files / 2 - 50));
    assert!(is_alive_within(&server, Duration::from_secs(2)));
    drop(crowd);
    eventually("they are closed", || {
        let text = server.client().get("/metrics").body;
        String::from_utf8_lossy(&text).lines().any(|line| line == "jobmgr_http_connections 1")
    });
    // Now it may open no more files than it has open.
    let mut before = server.client();
    assert_eq!(before.get("/healthz").status, 200);
    let pid = Pid::from_raw(server.pid().cast_signed()).unwrap();
    let open = std::fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap().count() as u64;
    let old = prlimit(Some(pid), Resource::Nofile, Rlimit { current: Some(open), maximum: most }).unwrap();
    let waiting: Vec<TcpStream> = (0..50).map(|_| connect(&server)).collect();
    eventually("it says so", || home.log().contains("can't accept connections now"));
    let spent = used(&server);
    std::thread::sleep(Duration::from_secs(1));
    let spent = used(&server) - spent;
    assert!(spent < Duration::from_millis(300), "waiting for a free one took {spent:?} of a second");
    assert_eq!(before.get("/healthz").status, 200, "a connection that is there is served");
    // Once for each time that it began, and not for each try.
    assert!(home.log().matches("can't accept connections now").count() < 10);
    drop(waiting);
    prlimit(Some(pid), Resource::Nofile, old).unwrap();
    assert!(is_alive_within(&server, Duration::from_secs(5)));
}
