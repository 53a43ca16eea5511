//! Values with a form of their own: listen addresses and sizes.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

/// The schema of a listen address.
pub(super) struct Listen;

impl JsonSchema for Listen {
    fn schema_name() -> Cow<'static, str> {
        "Listen".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "examples": ["127.0.0.1:9845", "0.0.0.0:80", "[::1]:9845", "localhost:0"] })
    }
}

/// `host:port`, for serde.
pub(super) mod listen {
    use std::net::{IpAddr, Ipv4Addr, SocketAddr};

    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse(&text).map_err(D::Error::custom)
    }

    pub fn serialize<S: Serializer>(address: &SocketAddr, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(address)
    }

    fn parse(text: &str) -> Result<SocketAddr, String> {
        let example = "use an IP address and a port, such as 127.0.0.1:9845 or [::1]:9845";
        let Some((host, port)) = text.rsplit_once(':') else {
            return Err(format!("'{text}' has no port; {example}"));
        };
        let ip = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(host) => host.parse().map(IpAddr::V6).ok(),
            None if host.eq_ignore_ascii_case("localhost") => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            None => host.parse().map(IpAddr::V4).ok(),
        };
        let Some(ip) = ip else {
            return Err(format!("'{host}' is not an IP address or localhost; {example}"));
        };
        let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
        match port.parse() {
            Ok(port) if digits => Ok(SocketAddr::new(ip, port)),
            _ => Err(format!("'{port}' is not a port; use 1 to 65535, or 0 for any free one")),
        }
    }
}

/// Bytes as a number, or with a unit, for serde.
pub(super) mod size {
    use jobmgr_plugin_api::Size;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        Size::deserialize(deserializer).map(|size| size.0)
    }

    pub fn serialize<S: Serializer>(bytes: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(*bytes)
    }
}

/// A size that may be left out, for serde.
pub(super) mod optional_size {
    use serde::{Deserializer, Serialize, Serializer};

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
        super::size::deserialize(deserializer).map(Some)
    }

    pub fn serialize<S: Serializer>(bytes: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
        bytes.serialize(serializer)
    }
}

/// Durations that are not negative, for serde.
pub(super) mod durations {
    use std::time::Duration;

    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::domain::duration::GoDuration;

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Duration>, D::Error> {
        let negative = |duration| D::Error::custom(format!("must not be negative, and is {duration}"));
        let list = Vec::<GoDuration>::deserialize(deserializer)?;
        list.into_iter().map(|duration| duration.to_std().ok_or_else(|| negative(duration))).collect()
    }

    pub fn serialize<S: Serializer>(list: &[Duration], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(list.iter().copied().map(GoDuration::from))
    }
}
