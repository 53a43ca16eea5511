//! Where a reader of events stands.
//!
//! A server gives ids before transactions commit, so that a reader may see event 7 before event 6. What it has not
//! seen below the highest id that it saw is a hole; one that is not filled within a minute never will be, since no
//! transaction takes so long. With the holes in its position a reader misses nothing and sees nothing twice, whichever
//! process it asks next.

use std::fmt;
use std::str::FromStr;

/// No transaction is open for so long, in milliseconds.
const PATIENCE_MS: i64 = 60_000;
/// So many holes are kept. A reader that met more waits until some are filled or too old.
const HOLES: usize = 64;

/// Which events a reader has seen. Its text is for keeping and for clients; it means nothing else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Position {
    high: i64,
    /// By their ids.
    holes: Vec<Hole>,
}

/// Ids from `first` to `last` that were not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Hole {
    first: i64,
    last: i64,
    /// About when they were given, in Unix seconds of the database's clock.
    since: i64,
}

/// A text that is no position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not the id of an event")]
pub struct BadPosition;

/// What came of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The reader had not seen it, and has now.
    New,
    /// The reader had seen it before.
    Seen,
    /// Too much is missing below it: the reader has to look again, from where it stands.
    Later,
}

/// When an event is read, and how ids are given: what tells holes from numbers that never come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Read {
    /// The database's clock, in Unix milliseconds.
    pub(super) now_ms: i64,
    /// Rows become visible in the order of their ids.
    pub(super) in_order: bool,
    /// How far apart ids are that follow each other.
    pub(super) step: i64,
}

impl Position {
    /// The highest id that was seen; 0: none.
    pub fn highest(&self) -> i64 {
        self.high
    }

    /// Just after the event with this id, as if nothing was missing.
    pub(super) fn after(high: i64) -> Self {
        Self { high, holes: Vec::new() }
    }

    /// The first and last ids of each hole.
    pub(super) fn holes(&self) -> impl ExactSizeIterator<Item = (i64, i64)> {
        self.holes.iter().map(|hole| (hole.first, hole.last))
    }

    /// Goes on to the event `id` of the time `at_ms`.
    pub fn step_to(&mut self, id: i64, at_ms: i64, read: Read) -> Step {
        if id <= self.high {
            return self.fill(id);
        }
        self.forget_old(read.now_ms);
        let may_come = read.now_ms.saturating_sub(at_ms) < PATIENCE_MS;
        if !read.in_order && may_come && id - self.high > read.step {
            if self.holes.len() >= HOLES {
                return Step::Later;
            }
            self.holes.push(Hole { first: self.high + 1, last: id - 1, since: at_ms.div_euclid(1000) });
        }
        self.high = id;
        Step::New
    }

    fn fill(&mut self, id: i64) -> Step {
        let Some(place) = self.holes.iter().position(|hole| (hole.first..=hole.last).contains(&id)) else {
            return Step::Seen;
        };
        let hole = self.holes[place];
        let rest = [Hole { last: id - 1, ..hole }, Hole { first: id + 1, ..hole }];
        let rest = rest.into_iter().filter(|hole| hole.first <= hole.last);
        if self.holes.len() + rest.clone().count() > HOLES + 1 {
            return Step::Later;
        }
        self.holes.splice(place..=place, rest);
        Step::New
    }

    /// Forgets holes that nothing will fill any more.
    fn forget_old(&mut self, now_ms: i64) {
        self.holes.retain(|hole| now_ms.saturating_sub(hole.since.saturating_mul(1000)) < PATIENCE_MS);
    }
}

/// `1057`, or with what was missing `1057.1052-1054-1764513371`: ids from, to, since when.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.high)?;
        self.holes.iter().try_for_each(|hole| write!(f, ".{}-{}-{}", hole.first, hole.last, hole.since))
    }
}

impl FromStr for Position {
    type Err = BadPosition;

    fn from_str(text: &str) -> Result<Self, BadPosition> {
        let number = |digits: &str| {
            let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            plain.then(|| digits.parse::<i64>().ok()).flatten().ok_or(BadPosition)
        };
        let mut parts = text.split('.');
        let mut position = Position::after(number(parts.next().unwrap_or_default())?);
        let mut above = 0;
        for part in parts {
            let numbers = part.split('-').map(number).collect::<Result<Vec<_>, _>>()?;
            let [first, last, since] = numbers[..] else { return Err(BadPosition) };
            if first <= above || last < first || last >= position.high || position.holes.len() == HOLES {
                return Err(BadPosition);
            }
            above = last;
            position.holes.push(Hole { first, last, since });
        }
        Ok(position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_764_513_371_500;
    const SERVER: Read = Read { now_ms: NOW, in_order: false, step: 1 };

    /// An event of just now.
    fn comes(position: &mut Position, id: i64) -> Step {
        position.step_to(id, NOW, SERVER)
    }

    fn at(text: &str) -> Position {
        text.parse().unwrap()
    }

    #[test]
    fn what_was_missing_is_seen_once() {
        let mut position = Position::after(10);
        for id in [11, 15, 17] {
            assert_eq!(comes(&mut position, id), Step::New);
        }
        assert_eq!(position.to_string(), "17.12-14-1764513371.16-16-1764513371");
        let (new, seen) = (Step::New, Step::Seen);
        for (id, step) in [(11, seen), (13, new), (13, seen), (16, new), (17, seen), (12, new), (12, seen)] {
            assert_eq!(comes(&mut position, id), step, "{id}");
        }
        assert_eq!(position.to_string(), "17.14-14-1764513371");
        assert_eq!(at(&position.to_string()), position);
    }

    #[test]
    fn a_hole_is_forgotten_once_nothing_can_fill_it() {
        let mut position = Position::after(1);
        position.step_to(3, NOW - PATIENCE_MS, SERVER);
        assert_eq!(position.to_string(), "3", "it was too old when it was found");
        comes(&mut position, 5);
        position.step_to(6, NOW, Read { now_ms: NOW + PATIENCE_MS, ..SERVER });
        assert_eq!(position.to_string(), "6");
    }

    #[test]
    fn numbers_that_are_never_given_are_no_holes() {
        let mut position = Position::after(1);
        position.step_to(4, NOW, Read { step: 3, ..SERVER });
        position.step_to(40, NOW, Read { in_order: true, ..SERVER });
        assert_eq!(position.to_string(), "40");
    }

    #[test]
    fn a_reader_waits_rather_than_forget_a_hole() {
        let mut position = Position::after(0);
        let seen = (1..).map(|number| number * 2).take_while(|id| comes(&mut position, *id) == Step::New).count();
        assert_eq!((seen, position.highest()), (HOLES, 2 * HOLES as i64));
        assert_eq!(comes(&mut position, 130), Step::Later);
        assert_eq!((comes(&mut position, 7), comes(&mut position, 130)), (Step::New, Step::New));
        assert!(at(&position.to_string()) == position && position.to_string().len() < 2000);
        // One hole that would fall in two is left whole.
        let mut wide = Position::after(0);
        comes(&mut wide, 1000);
        let filled = (1..500).map(|number| number * 2).filter(|id| comes(&mut wide, *id) == Step::New).count();
        assert_eq!((filled, wide.holes.len()), (HOLES - 1, HOLES));
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "x",
            "-1",
            "+1",
            "1.",
            "7.5-6",
            "7.5-6-1-1",
            "7.6-5-1",
            "7.5-7-1",
            "7.3-3-1.3-3-1",
            "9".repeat(30).as_str(),
        ] {
            assert_eq!(text.parse::<Position>(), Err(BadPosition), "{text}");
        }
        assert_eq!(at("0"), Position::default());
    }
}
