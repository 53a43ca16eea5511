//! Those who are told: real servers on free ports, which check each signature for themselves.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;

use crate::support::server::eventually;

/// A message as it came.
#[derive(Debug, Clone)]
pub struct Got {
    /// In lower case.
    pub headers: BTreeMap<String, String>,
    pub path: String,
    pub body: String,
    pub at: Instant,
}

impl Got {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub fn id(&self) -> &str {
        &self.headers["webhook-id"]
    }

    pub fn kind(&self) -> String {
        self.json()["type"].as_str().unwrap().to_owned()
    }

    pub fn job(&self) -> i64 {
        self.json()["data"]["id"].as_i64().unwrap()
    }

    /// How many of its signatures are made with this secret over what came.
    pub fn signed_by(&self, secret: &str) -> usize {
        let key = BASE64.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let seconds: u64 = self.headers["webhook-timestamp"].parse().unwrap();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        assert!(now.abs_diff(seconds) < 300, "it was signed just now");
        let signed = [self.id(), ".", &self.headers["webhook-timestamp"], ".", &self.body].concat();
        let is_by = |signature: &&str| {
            let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
            mac.update(signed.as_bytes());
            let signature = signature.strip_prefix("v1,").expect("version 1");
            mac.verify_slice(&BASE64.decode(signature).unwrap()).is_ok()
        };
        self.headers["webhook-signature"].split(' ').filter(is_by).count()
    }
}

/// What a receiver does with a message.
pub enum How {
    /// Answers with this status, and further lines of the head.
    Answer(u16, String),
    /// Answers after a while.
    Late(Duration),
    /// Says nothing until the sender has gone.
    Hang,
    /// Answers 200 and a body of so many bytes.
    Long(u64),
}

/// Takes it.
pub fn fine() -> How {
    How::Answer(204, String::new())
}

/// A receiver; it ends with the tests.
pub struct Receiver {
    pub address: SocketAddr,
    got: Arc<Mutex<Vec<Got>>>,
}

impl Receiver {
    /// One that does with each message what `how` says, which is given how many there were before.
    pub fn new(how: impl Fn(usize, &Got) -> How + Send + Sync + 'static) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (got, how) = (Arc::new(Mutex::new(Vec::new())), Arc::new(how));
        let receiver = Receiver { address, got: Arc::clone(&got) };
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (got, how) = (Arc::clone(&got), Arc::clone(&how));
                std::thread::spawn(move || serve(stream, &got, &*how));
            }
        });
        receiver
    }

    /// One that takes everything.
    pub fn fine() -> Receiver {
        Receiver::new(|_, _| fine())
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    pub fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }

    /// Waits until so many have come.
    pub fn wait(&self, count: usize) -> Vec<Got> {
        eventually(&format!("{count} messages have come"), || self.got().len() >= count);
        self.got()
    }
}

/// Message after message of a connection.
fn serve(stream: TcpStream, got: &Mutex<Vec<Got>>, how: &(dyn Fn(usize, &Got) -> How + Send + Sync)) -> Option<()> {
    let mut out = stream.try_clone().ok()?;
    let mut reader = BufReader::new(stream);
    loop {
        let message = read(&mut reader)?;
        let before = {
            let mut got = got.lock().unwrap();
            got.push(message.clone());
            got.len() - 1
        };
        let answer = |out: &mut TcpStream, status: u16, head: &str| {
            out.write_all(format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n{head}\r\n").as_bytes()).ok()
        };
        match how(before, &message) {
            How::Answer(status, head) => answer(&mut out, status, &head)?,
            How::Late(time) => {
                std::thread::sleep(time);
                answer(&mut out, 200, "")?;
            }
            How::Hang => {
                // Until the other side closes.
                drop(reader.read(&mut [0]));
                return None;
            }
            How::Long(bytes) => {
                out.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n").as_bytes()).ok()?;
                let piece = [b'x'; 64 << 10];
                for _ in 0..bytes / piece.len() as u64 {
                    out.write_all(&piece).ok()?;
                }
            }
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Got> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let mut body = vec![0; headers.get("content-length")?.parse().ok()?];
    reader.read_exact(&mut body).ok()?;
    Some(Got { headers, path, body: String::from_utf8(body).unwrap(), at: Instant::now() })
}
