//! A runner without a worker: its own process, and the frames that a worker would send.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

const LOAD: u8 = 1;
const CALL: u8 = 2;
const STOP: u8 = 6;
const REPLY: u8 = 8;
const READY: u8 = 32;
const LOG: u8 = 33;
const CHECKPOINT: u8 = 35;
const REQUEST: u8 = 36;
const DONE: u8 = 37;
const LOADED: u8 = 38;
const DESCRIBED: u8 = 39;

/// Unsupported, for checkpoints and requests.
const NO: i32 = 4;

/// A runner, ended when it is dropped.
pub(super) struct Runner {
    child: Child,
    line: UnixStream,
}

impl Drop for Runner {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// How a call came out: its status, and what was given back.
#[derive(Debug, PartialEq)]
pub(super) struct Came {
    pub(super) status: u8,
    pub(super) text: String,
    /// What it wrote to standard output.
    pub(super) stdout: String,
}

impl Runner {
    /// Has a runner open a library, and shows it this version's table, or another one.
    pub(super) fn load(library: &Path, config: &Value, shown: Option<&str>) -> Result<(Runner, Value), String> {
        let (line, theirs) = UnixStream::pair().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_jobmgr"));
        command.args(["runner", "--plugin"]).stdin(OwnedFd::from(theirs)).stdout(Stdio::null());
        let child = command.spawn().unwrap();
        // Its own end is gone with the command, so that its death can be seen.
        drop(command);
        line.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut runner = Runner { child, line };
        let load = json!({"path": library, "config": config, "memory": null, "shown": shown});
        runner.send(LOAD, 0, load.to_string().as_bytes());
        assert_eq!(runner.read().0, READY);
        let mut about = Value::Null;
        loop {
            match runner.read() {
                (DESCRIBED, _, json) => about = serde_json::from_slice(&json).unwrap(),
                (LOADED, ..) => return Ok((runner, about)),
                (DONE, _, text) => return Err(String::from_utf8_lossy(&text[1..]).into_owned()),
                other => panic!("{other:?}"),
            }
        }
    }

    /// Begins a call.
    pub(super) fn begin(&mut self, number: u32, work: &Value, json: &Value) {
        let work = work.to_string();
        let mut payload = u32::try_from(work.len()).unwrap().to_le_bytes().to_vec();
        payload.extend_from_slice(work.as_bytes());
        payload.extend_from_slice(json.to_string().as_bytes());
        self.send(CALL, number, &payload);
    }

    /// Asks a call to stop.
    pub(super) fn stop(&mut self, number: u32, why: u8) {
        self.send(STOP, number, &[why]);
    }

    /// Waits for the end of a call.
    pub(super) fn end(&mut self, number: u32) -> Came {
        let mut stdout = String::new();
        loop {
            let (kind, call, payload) = self.read();
            assert_eq!(call, number);
            match kind {
                LOG if payload[0] == 1 => stdout.push_str(&String::from_utf8_lossy(&payload[1..])),
                // With the time of it.
                LOG if payload[0] == 0x81 => {
                    let (time, text) = payload[1..].split_at(8);
                    let time = u64::from_le_bytes(time.try_into().unwrap());
                    stdout.push_str(&format!("{time} {}", String::from_utf8_lossy(text)));
                }
                CHECKPOINT | REQUEST => {
                    let mut answer = NO.to_le_bytes().to_vec();
                    answer.extend_from_slice(b"there is no method 'no.such.method'");
                    self.send(REPLY, number, &answer);
                }
                DONE => {
                    let text = String::from_utf8_lossy(&payload[1..]).into_owned();
                    return Came { status: payload[0], text, stdout };
                }
                _ => {}
            }
        }
    }

    /// Begins a call and waits for its end.
    pub(super) fn call(&mut self, number: u32, work: &Value, json: &Value) -> Came {
        self.begin(number, work, json);
        self.end(number)
    }

    fn send(&mut self, kind: u8, call: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_le_bytes();
        let frame = [&[0x4a, 0x4d, kind, 0][..], &call.to_le_bytes(), &length, payload].concat();
        self.line.write_all(&frame).unwrap();
    }

    fn read(&mut self) -> (u8, u32, Vec<u8>) {
        let mut head = [0; 12];
        self.line.read_exact(&mut head).unwrap();
        let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let mut payload = vec![0; word(8) as usize];
        self.line.read_exact(&mut payload).unwrap();
        (head[2], word(4), payload)
    }
}
