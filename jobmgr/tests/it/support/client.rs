//! A small blocking HTTP client: one connection, kept alive, nothing hidden.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// One connection.
pub struct Client {
    reader: BufReader<TcpStream>,
}

/// An answer, whole.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }
}

impl Client {
    pub fn connect(address: SocketAddr) -> Client {
        Client::try_connect(address).unwrap()
    }

    /// As [`Client::connect`], where nobody may listen.
    pub fn try_connect(address: SocketAddr) -> std::io::Result<Client> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Client { reader: BufReader::new(stream) })
    }

    /// Sends a request and reads the answer; an error when the connection breaks.
    pub fn try_send(&mut self, method: &str, path: &str, headers: &str, body: &[u8]) -> std::io::Result<Answer> {
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
        let mut message = head.into_bytes();
        message.extend_from_slice(body);
        self.reader.get_mut().write_all(&message)?;
        self.read(method == "HEAD")
    }

    /// Sends a request without a body under another name of the server.
    #[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "it is for tests that run on Linux alone"))]
    pub fn try_send_as(&mut self, method: &str, path: &str, host: &str) -> std::io::Result<Answer> {
        self.reader.get_mut().write_all(format!("{method} {path} HTTP/1.1\r\n{host}\r\n").as_bytes())?;
        self.read(method == "HEAD")
    }

    pub fn get(&mut self, path: &str) -> Answer {
        self.try_send("GET", path, "", b"").unwrap()
    }

    /// Posts a form.
    pub fn try_post(&mut self, path: &str, form: &[(&str, &str)]) -> std::io::Result<Answer> {
        let mut body = url::form_urlencoded::Serializer::new(String::new());
        body.extend_pairs(form);
        let body = body.finish();
        self.try_send("POST", path, "Content-Type: application/x-www-form-urlencoded\r\n", body.as_bytes())
    }

    fn read(&mut self, head_only: bool) -> std::io::Result<Answer> {
        let broken = || std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "the connection was closed");
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            return Err(broken());
        }
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(broken)?;
        let mut headers = Vec::new();
        loop {
            line.clear();
            self.reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
        let mut answer = Answer { status, headers, body: Vec::new() };
        if !head_only {
            answer.body = self.read_body(&answer)?;
        }
        Ok(answer)
    }

    fn read_body(&mut self, answer: &Answer) -> std::io::Result<Vec<u8>> {
        if let Some(length) = answer.header("content-length") {
            let mut body = vec![0; length.parse().unwrap()];
            self.reader.read_exact(&mut body)?;
            return Ok(body);
        }
        let mut body = Vec::new();
        while answer.header("transfer-encoding") == Some("chunked") {
            let mut line = String::new();
            self.reader.read_line(&mut line)?;
            let length = usize::from_str_radix(line.trim(), 16).unwrap();
            let start = body.len();
            body.resize(start + length, 0);
            self.reader.read_exact(&mut body[start..])?;
            self.reader.read_line(&mut line)?;
            if length == 0 {
                break;
            }
        }
        Ok(body)
    }
}
