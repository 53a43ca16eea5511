//! Server-Sent Events as they come over a connection.

use serde_json::Value;

/// An event.
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    pub id: Option<String>,
    pub kind: String,
    pub data: Value,
}

/// An answer of `text/event-stream`, fed with the bytes of its connection.
#[derive(Default)]
pub struct Stream {
    bytes: Vec<u8>,
    head: Option<String>,
    text: String,
    /// The answer is whole.
    pub whole: bool,
    /// How many comments there were.
    pub comments: usize,
}

impl Stream {
    /// The request for a stream that goes on after `last`.
    pub fn request(path: &str, last: Option<&str>) -> String {
        Self::request_with(path, last, "")
    }

    /// The same with more headers.
    pub fn request_with(path: &str, last: Option<&str>, more: &str) -> String {
        let last = last.map(|id| format!("Last-Event-ID: {id}\r\n{more}")).unwrap_or_else(|| more.to_owned());
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{last}\r\n")
    }

    /// More bytes have come.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        if self.head.is_none()
            && let Some(end) = self.bytes.windows(4).position(|four| four == b"\r\n\r\n")
        {
            self.head = Some(String::from_utf8(self.bytes.drain(..end + 4).collect()).unwrap().to_lowercase());
        }
        while self.head.is_some() && !self.whole && self.chunk() {}
    }

    /// Takes a chunk.
    fn chunk(&mut self) -> bool {
        let Some(line) = self.bytes.windows(2).position(|two| two == b"\r\n") else { return false };
        let length = usize::from_str_radix(std::str::from_utf8(&self.bytes[..line]).unwrap(), 16).unwrap();
        let end = line + 2 + length;
        if self.bytes.len() < end + 2 {
            return false;
        }
        self.text.push_str(std::str::from_utf8(&self.bytes[line + 2..end]).expect("text in whole characters"));
        self.bytes.drain(..end + 2);
        self.whole = length == 0;
        true
    }

    /// The status of the answer, once it is there.
    pub fn status(&self) -> Option<u16> {
        self.head.as_ref().map(|head| head.split(' ').nth(1).unwrap().parse().unwrap())
    }

    /// The head of the answer, in small letters.
    pub fn head(&self) -> &str {
        self.head.as_deref().unwrap_or_default()
    }

    /// The next event that is whole.
    pub fn next(&mut self) -> Option<Said> {
        loop {
            let end = self.text.find("\n\n")?;
            let block: String = self.text.drain(..end + 2).collect();
            let (mut id, mut kind, mut data) = (None, None, None);
            for line in block.trim_end().split('\n') {
                match line.split_once(": ") {
                    Some(("id", value)) => id = Some(value.to_owned()),
                    Some(("event", value)) => kind = Some(value.to_owned()),
                    Some(("data", value)) => data = Some(serde_json::from_str(value).unwrap()),
                    Some(("retry", _)) => {}
                    _ if line.starts_with(':') => self.comments += 1,
                    _ => panic!("no line of an event: {line:?}"),
                }
            }
            if let (Some(kind), Some(data)) = (kind, data) {
                return Some(Said { id, kind, data });
            }
        }
    }
}
