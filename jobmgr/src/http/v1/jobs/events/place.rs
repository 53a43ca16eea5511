//! Where in what there is to say of a job a client is.

use std::fmt;
use std::str::FromStr;

use poem_openapi::registry::MetaSchema;

use super::super::super::parameter::FromQuery;
use crate::domain::job::Status;

/// What a client knows of a job; its text is the `id` of an event: `57.s1.120.0.9f3a12bc.0`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// The id of the last event in the database that was told.
    pub event: i64,
    /// The status that was told last.
    pub status: Option<Status>,
    /// Of which attempt that was, and what follows.
    pub attempt: i64,
    /// How many bytes of standard output and standard error were told.
    pub output: [u64; 2],
    /// Tells one progress from another; 0: none was told.
    pub progress: u32,
    /// How many artifacts were told.
    pub artifacts: usize,
    /// That nothing more comes was told.
    pub ended: bool,
}

impl Place {
    /// Whether nothing is left to tell.
    pub fn is_end(&self) -> bool {
        self.ended
    }

    /// The job came to a status.
    pub fn come_to(&mut self, status: Status, attempt: i64) {
        if status == Status::Started {
            (self.output, self.progress) = ([0; 2], 0);
        }
        (self.status, self.attempt) = (Some(status), attempt);
    }
}

/// A letter for each status.
const LETTERS: [(char, Option<Status>); 6] = [
    ('n', None),
    ('q', Some(Status::Queued)),
    ('s', Some(Status::Started)),
    ('c', Some(Status::Completed)),
    ('f', Some(Status::Failed)),
    ('x', Some(Status::Canceled)),
];

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = LETTERS.iter().find(|(_, status)| *status == self.status).map_or('n', |(letter, _)| *letter);
        let Self { event, attempt, output: [stdout, stderr], progress, artifacts, .. } = self;
        write!(f, "{event}.{letter}{attempt}.{stdout}.{stderr}.{progress:x}.{artifacts}")?;
        f.write_str(if self.ended { ".e" } else { "" })
    }
}

/// A text that is none.
#[derive(Debug, PartialEq, Eq)]
pub struct BadPlace;

impl FromStr for Place {
    type Err = BadPlace;

    fn from_str(text: &str) -> Result<Self, BadPlace> {
        let (rest, ended) = text.strip_suffix(".e").map_or((text, false), |rest| (rest, true));
        let parts: Vec<&str> = rest.split('.').collect();
        let [event, status, stdout, stderr, progress, artifacts] = parts[..] else { return Err(BadPlace) };
        let letter = status.chars().next().ok_or(BadPlace)?;
        let status_of = LETTERS.iter().find(|(known, _)| *known == letter).ok_or(BadPlace)?.1;
        let place = Place {
            event: number(event)?,
            status: status_of,
            attempt: number(&status[1..])?,
            output: [number(stdout)?, number(stderr)?].map(i64::unsigned_abs),
            progress: u32::from_str_radix(progress, 16).map_err(|_| BadPlace)?,
            artifacts: usize::try_from(number(artifacts)?).map_err(|_| BadPlace)?,
            ended,
        };
        // One that we did not write is none.
        if place.to_string() == text { Ok(place) } else { Err(BadPlace) }
    }
}

fn number(digits: &str) -> Result<i64, BadPlace> {
    digits.parse().ok().filter(|number| *number >= 0).ok_or(BadPlace)
}

impl FromQuery for Place {
    const RIGHT: &'static str = "use the id of an event of this job, as it was given";

    fn schema() -> MetaSchema {
        MetaSchema { example: Some("57.s1.120.0.0.0".into()), ..MetaSchema::new("string") }
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
        for text in ["0.n0.0.0.0.0", "57.s1.120.7.9f3a12bc.0", "58.c12.120.7.0.3", "58.x0.0.0.0.0.e"] {
            let place: Place = text.parse().unwrap();
            assert_eq!((place.to_string().as_str(), place.is_end()), (text, text.ends_with('e')));
        }
        for text in
            ["", "5", "5.s.0.0.0.0", "5.z1.0.0.0.0", "5.s1.-1.0.0.0", "5.s1.0.0.0", "5.s1.0.0.0.0.0", "+5.s1.0.0.0.0"]
        {
            assert_eq!(text.parse::<Place>(), Err(BadPlace), "{text}");
        }
        assert!("5.\u{e9}1.0.0.0.0".parse::<Place>().is_err());
    }
}
