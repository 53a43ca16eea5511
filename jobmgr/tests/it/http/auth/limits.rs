//! Too many requests, too many queued jobs, too many wrong tokens.

use std::time::Instant;

use jobmgr::auth::NewToken;
use jobmgr::config;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::super::client::{DEADLINE, Server};
use super::{bearer, guarded, key, made, new, submitted};

const SUBMISSION: &str = "{\"name\":\"x\"}";

#[tokio::test]
async fn row_89_a_user_may_queue_so_many_jobs() {
    let server = guarded().await;
    server.spec("x", "Command = 'x'");
    let few = made(&server, NewToken { max_queued: Some(3), ..new("few", "submit") }).await;
    let other = key(&server, "other", "submit").await;
    for _ in 0..3 {
        submitted(&server, &few, "x").await;
    }
    let reply = server.send_json("POST", "/v1/jobs", &few.header(), SUBMISSION).await;
    assert_eq!((reply.status, &reply.json()["code"]), (429, &"rate_limited".into()));
    assert!(reply.header("retry-after").parse::<u64>().unwrap() > 0);
    let batch = server.send_json("POST", "/v1/jobs/batch", &few.header(), "{\"jobs\":[{\"name\":\"x\"}]}").await;
    let run = server.send_json("POST", "/v1/run/x", &few.header(), "{}").await;
    assert_eq!((batch.status, run.status), (429, 429));
    let classic = server.ask("POST", "/jobs/start?name=x&parameters={}", &few.header()).await;
    classic.assert(429, "{\"status\":\"error\",\"error\":\"rate_limited\"}\n");
    assert!(!classic.header("retry-after").is_empty());
    assert_eq!(server.api.store.unfinished().await.unwrap(), 3, "nothing of what was refused is there");
    // Nobody else is bothered, and who waits gets on.
    submitted(&server, &other, "x").await;
    server.claim().await;
    let start = Instant::now();
    while server.send_json("POST", "/v1/jobs", &few.header(), SUBMISSION).await.status != 201 {
        assert!(start.elapsed() < DEADLINE);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(server.send_json("POST", "/v1/jobs", &few.header(), SUBMISSION).await.status, 429);
}

#[tokio::test]
async fn row_89_the_limit_of_the_configuration_is_for_all() {
    let limits = config::Limits { max_queued: 2, ..Default::default() };
    let server = Server::limited(config::Server::default(), limits).await;
    server.spec("x", "Command = 'x'");
    let batch = "{\"jobs\":[{\"name\":\"x\"},{\"name\":\"x\"},{\"name\":\"x\"}]}";
    assert_eq!(server.send_json("POST", "/v1/jobs/batch", "", batch).await.status, 429);
    for expected in [201, 201, 429] {
        assert_eq!(server.send_json("POST", "/v1/jobs", "", SUBMISSION).await.status, expected);
    }
}

#[tokio::test]
async fn row_89_a_token_may_make_so_many_requests() {
    let server = guarded().await;
    let slow = made(&server, NewToken { requests_per_minute: Some(5), ..new("slow", "read") }).await;
    for _ in 0..5 {
        assert_eq!(server.ask("GET", "/v1/me", &slow.header()).await.status, 200);
    }
    let reply = server.ask("GET", "/v1/me", &slow.header()).await;
    assert_eq!((reply.status, &reply.json()["code"]), (429, &"rate_limited".into()));
    let wait: u64 = reply.header("retry-after").parse().unwrap();
    assert!((1..=12).contains(&wait), "{wait}");
    let other = key(&server, "other", "read").await;
    assert_eq!(server.ask("GET", "/v1/me", &other.header()).await.status, 200);
}

/// Sends the same request again and again over one connection; gives how often which status came.
async fn flood(server: &Server, count: usize, token: impl Fn(usize) -> String) -> [usize; 2] {
    let mut stream = server.connect().await;
    let (mut refused, mut limited) = (0, 0);
    let mut answer = Vec::new();
    for number in 0..count {
        let request = format!("GET /v1/me HTTP/1.1\r\nHost: localhost\r\n{}\r\n", bearer(&token(number)));
        stream.write_all(request.as_bytes()).await.unwrap();
        answer.clear();
        loop {
            stream.read_buf(&mut answer).await.unwrap();
            let text = String::from_utf8_lossy(&answer);
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
                if body.len() == length.parse::<usize>().unwrap() {
                    break;
                }
            }
        }
        match &answer[9..12] {
            b"401" => refused += 1,
            b"429" => limited += 1,
            other => panic!("{}", String::from_utf8_lossy(other)),
        }
    }
    [refused, limited]
}

#[tokio::test]
async fn row_103_wrong_tokens_are_cheap_and_lock_nobody_out() {
    let limits = config::Limits { bad_tokens_per_minute: 100, ..Default::default() };
    let server =
        Server::limited(config::Server { auth: Some(config::Auth::Token), ..Default::default() }, limits).await;
    let good = key(&server, "good", "read").await;
    let wrong = (0..1000).map(|_| jobmgr::auth::Secret::random().unwrap().reveal().to_owned());
    let wrong: Vec<String> = wrong.collect();
    let start = Instant::now();
    let (floods, goods) = tokio::join!(
        async {
            let [one, two] = [&wrong[..500], &wrong[500..]];
            tokio::join!(flood(&server, 500, |n| one[n].clone()), flood(&server, 500, |n| two[n].clone()))
        },
        async {
            let mut served = 0;
            for _ in 0..50 {
                served += usize::from(server.ask("GET", "/v1/me", &good.header()).await.status == 200);
            }
            served
        }
    );
    assert_eq!(goods, 50, "a good token from the same address is served meanwhile");
    let [refused, limited] = [floods.0[0] + floods.1[0], floods.0[1] + floods.1[1]];
    assert_eq!(refused + limited, 1000);
    assert!((100..400).contains(&refused), "{refused} were looked at");
    assert!(start.elapsed() < DEADLINE, "{:?}", start.elapsed());
    // One that nobody has seen before is served too.
    let new = key(&server, "new", "read").await;
    assert_eq!(server.ask("GET", "/v1/me", &new.header()).await.status, 200);
}
