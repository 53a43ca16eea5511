//! Where messages may go: to public addresses, and to what the configuration names.
//!
//! An address is checked when a webhook is registered, for whoever registers it, and again by the resolver of each
//! connection, which is then made to the very address that was checked.

#[cfg(test)]
mod tests;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use url::{Host, Url};

use crate::config;

/// The longest URL, in bytes.
const LONGEST: usize = 2048;
/// How long a name may take to be resolved while somebody waits for the answer.
const RESOLVE: Duration = Duration::from_secs(3);

/// Networks of IPv4 that are not public, and what they are.
const V4: [(Ipv4Net, &str); 17] = [
    (v4([0, 0, 0, 0], 8), "an unspecified address"),
    (v4([10, 0, 0, 0], 8), "a private address"),
    (v4([100, 64, 0, 0], 10), "an address within a provider's network"),
    (v4([127, 0, 0, 0], 8), "an address of this machine"),
    // Where clouds tell machines who they are, among others.
    (v4([169, 254, 0, 0], 16), "a link-local address"),
    (v4([168, 63, 129, 16], 32), "an address at which a cloud tells machines who they are"),
    (v4([172, 16, 0, 0], 12), "a private address"),
    (v4([192, 0, 0, 0], 24), "an address for protocols"),
    (v4([192, 0, 2, 0], 24), "an address for documentation"),
    (v4([192, 31, 196, 0], 24), "an address for protocols"),
    (v4([192, 88, 99, 0], 24), "an address for protocols"),
    (v4([192, 168, 0, 0], 16), "a private address"),
    (v4([198, 18, 0, 0], 15), "an address for tests of networks"),
    (v4([198, 51, 100, 0], 24), "an address for documentation"),
    (v4([203, 0, 113, 0], 24), "an address for documentation"),
    (v4([224, 0, 0, 0], 4), "a multicast address"),
    (v4([240, 0, 0, 0], 4), "a reserved address"),
];

/// Networks of IPv6 that are not public, and what they are.
const V6: [(Ipv6Net, &str); 10] = [
    (v6([0, 0], 128), "an unspecified address"),
    (v6([0xfe80, 0], 10), "a link-local address"),
    (v6([0xfec0, 0], 10), "a private address"),
    (v6([0xfc00, 0], 7), "a private address"),
    (v6([0xff00, 0], 8), "a multicast address"),
    (v6([0x2001, 0], 23), "an address for protocols"),
    (v6([0x2001, 0xdb8], 32), "an address for documentation"),
    // Each has an address of IPv4 inside.
    (v6([0x2002, 0], 16), "an address for protocols"),
    (v6([0x3fff, 0], 20), "an address for documentation"),
    (v6([0x64, 0xff9b], 32), "an address for protocols"),
];
/// All that is public.
const PUBLIC: Ipv6Net = v6([0x2000, 0], 3);
/// Addresses of IPv4, for hosts that have IPv6 alone.
const TRANSLATED: Ipv6Net = v6([0x64, 0xff9b], 96);

const fn v4(address: [u8; 4], length: u8) -> Ipv4Net {
    let [a, b, c, d] = address;
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length)
}

const fn v6(begin: [u16; 2], length: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(begin[0], begin[1], 0, 0, 0, 0, 0, 0), length)
}

/// Why an address is not public; `None`: it is.
fn refusal(address: IpAddr) -> Option<&'static str> {
    match address.to_canonical() {
        IpAddr::V4(address) => V4.iter().find(|(network, _)| network.contains(&address)).map(|(_, why)| *why),
        IpAddr::V6(address) if TRANSLATED.contains(&address) => {
            let [.., a, b, c, d] = address.octets();
            refusal(Ipv4Addr::new(a, b, c, d).into())
        }
        IpAddr::V6(Ipv6Addr::LOCALHOST) => Some("an address of this machine"),
        IpAddr::V6(address) => {
            let known = V6.iter().find(|(network, _)| network.contains(&address)).map(|(_, why)| *why);
            known.or((!PUBLIC.contains(&address)).then_some("not a public address"))
        }
    }
}

/// Why there is no address to connect to.
#[derive(Debug, thiserror::Error)]
pub enum Unreachable {
    /// It may not be connected to.
    #[error("{0}")]
    Refused(String),
    /// Nobody knows the name now.
    #[error("{0} can't be resolved: {1}")]
    Unknown(String, io::Error),
}

/// What may be connected to.
#[derive(Debug, Clone, Default)]
pub struct Targets {
    /// In lower case, without a dot at the end.
    hosts: Vec<String>,
    networks: Vec<IpNet>,
}

impl Targets {
    /// Those of the configuration, beside all that is public. What is wrong with it has been told before.
    pub fn new(config: &config::Webhooks) -> Self {
        let (mut hosts, mut networks) = (Vec::new(), Vec::new());
        for host in &config.allowed_hosts {
            match host.parse::<IpAddr>() {
                Ok(address) => networks.push(address.to_canonical().into()),
                Err(_) => hosts.push(plain(host)),
            }
        }
        networks.extend(config.allowed_networks.iter().filter_map(|network| network.parse::<IpNet>().ok()));
        Self { hosts, networks }
    }

    fn address(&self, address: IpAddr, name: Option<&str>) -> Result<(), Unreachable> {
        let allowed = |address| self.networks.iter().any(|network| network.contains(&address));
        if allowed(address) || allowed(address.to_canonical()) {
            return Ok(());
        }
        let Some(why) = refusal(address) else { return Ok(()) };
        let whose = name.map_or_else(|| address.to_string(), |name| format!("{address}, the address of {name},"));
        Err(Unreachable::Refused(format!(
            "{whose} is {why}; [Webhooks] AllowedHosts or AllowedNetworks of the server can allow it"
        )))
    }

    fn name(&self, host: &str) -> Result<(), Unreachable> {
        let name = plain(host);
        if (name == "localhost" || name.ends_with(".localhost")) && !self.hosts.contains(&name) {
            let why = format!("{name} is this machine; [Webhooks] AllowedHosts of the server can allow it");
            return Err(Unreachable::Refused(why));
        }
        Ok(())
    }

    /// The addresses of a name, each of them one that may be connected to.
    ///
    /// # Errors
    /// When one of them may not be, or there are none.
    pub async fn resolve(&self, host: &str) -> Result<Vec<SocketAddr>, Unreachable> {
        self.name(host)?;
        let unknown = |error| Unreachable::Unknown(host.to_owned(), error);
        let found: Vec<SocketAddr> = tokio::net::lookup_host((host, 0)).await.map_err(unknown)?.collect();
        if found.is_empty() {
            return Err(unknown(io::Error::new(io::ErrorKind::NotFound, "it has no address")));
        }
        if !self.hosts.contains(&plain(host)) {
            found.iter().try_for_each(|address| self.address(address.ip(), Some(host)))?;
        }
        Ok(found)
    }

    /// Reads where messages are to go, and checks what is to be seen without asking anybody for a name.
    ///
    /// # Errors
    /// What would be right.
    pub fn read(&self, text: &str) -> Result<Url, String> {
        let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && text.len() <= LONGEST);
        let right = || format!("must be an address such as https://example.org/hook, of at most {LONGEST} bytes");
        let url = url.ok_or_else(right)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err("must not have a user's name or a password; check the signature instead".into());
        }
        let checked = match url.host() {
            Some(Host::Ipv4(address)) => self.address(address.into(), None),
            Some(Host::Ipv6(address)) => self.address(address.into(), None),
            Some(Host::Domain(name)) => self.name(name),
            None => return Err(right()),
        };
        checked.map(|()| url).map_err(|why| why.to_string())
    }

    /// The same, and what the name resolves to now is checked. A name that nobody knows now may be known later.
    ///
    /// # Errors
    /// What would be right.
    pub async fn check(&self, text: &str) -> Result<Url, String> {
        let url = self.read(text)?;
        if let Some(Host::Domain(name)) = url.host()
            && let Ok(Err(why @ Unreachable::Refused(_))) = tokio::time::timeout(RESOLVE, self.resolve(name)).await
        {
            return Err(why.to_string());
        }
        Ok(url)
    }
}

fn plain(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}
