//! Under which names this server may be called, and from which pages.
//!
//! A web page of anybody can send requests to a server on its visitor's own machine. Two checks stop that: a page
//! that made its own name resolve to this machine (DNS rebinding) is told by `Host`; a page of another place that
//! posts a form here is told by `Origin`. Ports never matter.

use std::net::IpAddr;

use poem::Request;
use poem::http::header::{HOST, ORIGIN};
use poem::http::{HeaderMap, Uri, Version};

/// The names.
pub struct Hosts {
    names: Vec<String>,
}

/// Why a request is not answered.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// It names no host, or several.
    #[error("The request must have one Host header.")]
    NoHost,
    /// It names one that is not ours.
    #[error("This server is not known as {0:?}; [Server] Hosts in config.toml lists further names for it.")]
    Host(String),
    /// It comes from a page of another place.
    #[error("Pages of {0:?} may not call this server; [Server] Hosts in config.toml lists hosts that may.")]
    Origin(String),
}

impl Hosts {
    /// The loopback names, IP literals, the machine's own name and `further` ones.
    pub fn new(further: &[String]) -> Self {
        let names = further.iter().map(String::as_str).map(without_port).map(without_dot).map(str::to_owned);
        let names = names.chain(crate::machine::name()).filter(|name| !name.is_empty()).collect();
        Self { names }
    }

    /// Whether a request may be answered.
    pub fn check(&self, request: &Request) -> Result<(), Refusal> {
        self.check_parts(request.uri(), request.version(), request.headers())
    }

    fn check_parts(&self, uri: &Uri, version: Version, headers: &HeaderMap) -> Result<(), Refusal> {
        let host = named_host(version, headers)?;
        for name in uri.host().into_iter().chain(host) {
            if !self.may_be_called(name) {
                return Err(Refusal::Host(shown(name)));
            }
        }
        let mut origins = headers.get_all(ORIGIN).iter();
        let refused = origins.find(|origin| !self.may_come_from(origin.as_bytes(), host));
        match refused {
            Some(origin) => Err(Refusal::Origin(shown(&String::from_utf8_lossy(origin.as_bytes())))),
            None => Ok(()),
        }
    }

    fn may_be_called(&self, name: &str) -> bool {
        is_ip(name) || is_loopback(name) || self.lists(name)
    }

    /// An IP literal is a fine `Host`, but as an origin it may be anybody's: only our own and loopback ones may ask.
    fn may_come_from(&self, origin: &[u8], host: Option<&str>) -> bool {
        let Some(origin) = std::str::from_utf8(origin).ok().and_then(origin_host) else { return false };
        is_loopback(origin) || self.lists(origin) || host.is_some_and(|host| host.eq_ignore_ascii_case(origin))
    }

    fn lists(&self, name: &str) -> bool {
        self.names.iter().any(|listed| listed.eq_ignore_ascii_case(name))
    }
}

/// The name in `Host`, without the port. Only HTTP/1.0 may leave it out.
fn named_host(version: Version, headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => match host.to_str() {
            Ok(host) => Ok(Some(without_dot(without_port(host)))),
            Err(_) => Err(Refusal::Host(shown(&String::from_utf8_lossy(host.as_bytes())))),
        },
        (None, _) if version < Version::HTTP_11 => Ok(None),
        _ => Err(Refusal::NoHost),
    }
}

fn origin_host(origin: &str) -> Option<&str> {
    let rest = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"))?;
    Some(without_dot(without_port(rest)))
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !in_brackets(host) => name,
        _ => host,
    }
}

/// `[::1]` ends with a bracket: its last colon is no port's.
fn in_brackets(host: &str) -> bool {
    host.starts_with('[') && host.ends_with(']')
}

fn without_dot(host: &str) -> &str {
    host.strip_suffix('.').unwrap_or(host)
}

fn ip(name: &str) -> Option<IpAddr> {
    match name.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?.parse().ok().map(IpAddr::V6),
        None => name.parse().ok().map(IpAddr::V4),
    }
}

fn is_ip(name: &str) -> bool {
    ip(name).is_some()
}

/// `localhost` and the names below it (RFC 6761 keeps them for this machine), 127.0.0.0/8 and `::1`.
fn is_loopback(name: &str) -> bool {
    let below = name.len().checked_sub("localhost".len()).and_then(|start| name.split_at_checked(start));
    below.is_some_and(|(front, tail)| {
        tail.eq_ignore_ascii_case("localhost") && (front.is_empty() || front.ends_with('.'))
    }) || ip(name).is_some_and(|ip| ip.is_loopback())
}

/// At most 100 characters, for an answer.
fn shown(name: &str) -> String {
    name.chars().take(100).collect()
}

#[cfg(test)]
mod tests {
    use poem::http::HeaderValue;

    use super::*;

    fn check(host: &str, origin: Option<&str>) -> Result<(), Refusal> {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_str(host).unwrap());
        if let Some(origin) = origin {
            headers.insert(ORIGIN, HeaderValue::from_str(origin).unwrap());
        }
        let hosts = Hosts::new(&["Jobs.example.org:443".to_owned()]);
        hosts.check_parts(&Uri::from_static("/"), Version::HTTP_11, &headers)
    }

    #[test]
    fn own_names_and_ip_literals_are_served() {
        for host in [
            "localhost",
            "LOCALHOST:9845",
            "localhost.",
            "app.localhost:1",
            "127.0.0.1",
            "127.0.0.1:9845",
            "10.1.2.3:80",
            "[::1]",
            "[::1]:9845",
            "[2001:db8::1]:80",
            "jobs.example.org",
            "JOBS.example.org.:8443",
        ] {
            assert_eq!(check(host, None), Ok(()), "{host}");
        }
        let own = crate::machine::name().unwrap();
        assert_eq!(check(&own, None), Ok(()), "{own}");
    }

    #[test]
    fn other_names_are_refused() {
        for host in [
            "evil.example",
            "localhost.evil.example",
            "evillocalhost",
            "127.0.0.1.evil.example",
            "jobs.example.org.evil.example",
            "[::1",
            "::1",
            "",
            "[evil]",
            "127.0.0.1:80:80",
            "a@localhost",
        ] {
            assert!(matches!(check(host, None), Err(Refusal::Host(_))), "{host}");
        }
    }

    #[test]
    fn pages_of_this_server_may_call_it() {
        for origin in [
            "http://localhost:3000",
            "http://127.0.0.1:9845",
            "https://jobs.example.org",
            "http://[::1]:9845",
            "http://10.1.2.3",
        ] {
            assert_eq!(check("10.1.2.3:9845", Some(origin)), Ok(()), "{origin}");
        }
    }

    #[test]
    fn pages_of_others_may_not() {
        for origin in
            ["null", "http://evil.example", "http://6.6.6.6", "file://", "chrome-extension://abc", "localhost", ""]
        {
            assert!(matches!(check("localhost", Some(origin)), Err(Refusal::Origin(_))), "{origin}");
        }
    }

    #[test]
    fn one_host_is_needed_and_the_address_counts_too() {
        let hosts = Hosts::new(&[]);
        let none = HeaderMap::new();
        let root = Uri::from_static("/");
        assert_eq!(hosts.check_parts(&root, Version::HTTP_11, &none), Err(Refusal::NoHost));
        assert_eq!(hosts.check_parts(&root, Version::HTTP_10, &none), Ok(()));
        let mut two = HeaderMap::new();
        two.append(HOST, HeaderValue::from_static("localhost"));
        assert!(hosts.check_parts(&Uri::from_static("http://evil.example/"), Version::HTTP_11, &two).is_err());
        two.append(HOST, HeaderValue::from_static("localhost"));
        assert_eq!(hosts.check_parts(&root, Version::HTTP_11, &two), Err(Refusal::NoHost));
    }
}
