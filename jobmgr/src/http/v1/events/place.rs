//! Where in the events of all jobs a client is: after an event, or in the middle of what is said of one.

use std::fmt;
use std::str::FromStr;

use poem_openapi::registry::MetaSchema;

use super::super::parameter::FromQuery;
use crate::store::{BadPosition, Position};

/// After `position`, and after so many messages of a further event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The events before.
    pub position: Position,
    /// The id of the further event, and how many messages of it were told.
    pub within: Option<(i64, usize)>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.position)?;
        self.within.map_or(Ok(()), |(event, told)| write!(f, "~{event}.{told}"))
    }
}

impl FromStr for Place {
    type Err = BadPosition;

    fn from_str(text: &str) -> Result<Self, BadPosition> {
        let Some((position, within)) = text.split_once('~') else {
            return Ok(Place { position: text.parse()?, within: None });
        };
        let (event, told) = within.split_once('.').ok_or(BadPosition)?;
        let event = event.parse::<Position>()?.highest();
        let told = told.parse::<Position>()?.highest();
        let told = usize::try_from(told).map_err(|_| BadPosition)?;
        Ok(Place { position: position.parse()?, within: Some((event, told)) })
    }
}

impl FromQuery for Place {
    const RIGHT: &'static str = "use the id of an event, as it was given";

    fn schema() -> MetaSchema {
        MetaSchema { example: Some("1057".into()), ..MetaSchema::new("string") }
    }

    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_comes_back_as_it_was() {
        for text in ["0", "1057", "1057~1058.3", "17.12-14-1764513371~18.1"] {
            assert_eq!(text.parse::<Place>().unwrap().to_string(), text);
        }
        for text in ["", "x", "1~", "1~2", "1~2.", "1~2.-3", "1~2.3.4", "~1.1", "1~1.2-3-4.5"] {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
    }
}
