//! What may be in a query, and how it is read.

use std::time::Duration;

use poem_openapi::registry::MetaSchema;

use super::parameter::FromQuery;
use super::time;
use crate::domain::duration::GoDuration;
use crate::domain::job::{JobId, Status};
use crate::domain::submission::check_label;
use crate::store::Stream;

/// Decimal digits, from 1.
pub fn number(text: &str) -> Option<i64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| digits && *number > 0)
}

impl FromQuery for bool {
    const RIGHT: &'static str = "use true or false";

    fn schema() -> MetaSchema {
        MetaSchema { default: Some(false.into()), ..MetaSchema::new("boolean") }
    }

    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl FromQuery for i64 {
    const RIGHT: &'static str = "use a number from 1";

    fn schema() -> MetaSchema {
        MetaSchema { minimum: Some(1.0), ..MetaSchema::new_with_format("integer", "int64") }
    }

    fn read(text: &str) -> Option<Self> {
        number(text)
    }
}

impl FromQuery for Stream {
    const RIGHT: &'static str = "use stdout, stderr or executor";

    fn schema() -> MetaSchema {
        let words = vec!["stdout".into(), "stderr".into(), "executor".into()];
        MetaSchema { enum_items: words, default: Some("stdout".into()), ..MetaSchema::new("string") }
    }

    fn read(text: &str) -> Option<Self> {
        match text {
            "stdout" => Some(Stream::Stdout),
            "stderr" => Some(Stream::Stderr),
            "executor" => Some(Stream::Executor),
            _ => None,
        }
    }
}

impl FromQuery for Status {
    const RIGHT: &'static str = "use queued, started, completed, failed or canceled";

    fn schema() -> MetaSchema {
        let words = Status::ALL.map(|status| status.as_str().into()).into();
        MetaSchema { enum_items: words, ..MetaSchema::new("string") }
    }

    fn read(text: &str) -> Option<Self> {
        Status::from_word(text)
    }
}

impl FromQuery for String {
    const RIGHT: &'static str = "use a text without NUL";

    fn schema() -> MetaSchema {
        MetaSchema::new("string")
    }

    fn read(text: &str) -> Option<Self> {
        Some(text.to_owned()).filter(|text| !text.contains('\0'))
    }
}

/// How long to wait for the end of a job.
pub struct Wait(pub Duration);

/// The longest.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

impl FromQuery for Wait {
    const RIGHT: &'static str = "use a duration such as 30s or 1m; more than 1m is taken for 1m";

    fn schema() -> MetaSchema {
        // No pattern: of those generators make types of their own.
        MetaSchema { example: Some("30s".into()), ..MetaSchema::new_with_format("string", "go-duration") }
    }

    fn read(text: &str) -> Option<Self> {
        let wait = text.parse::<GoDuration>().ok()?.to_std()?;
        Some(Self(wait.min(LONGEST_WAIT)))
    }
}

/// How many items a page has.
pub struct Limit(pub u32);

impl FromQuery for Limit {
    const RIGHT: &'static str = "use a number from 1 to 500";

    fn schema() -> MetaSchema {
        let page = MetaSchema::new_with_format("integer", "int32");
        MetaSchema { minimum: Some(1.0), maximum: Some(500.0), default: Some(50.into()), ..page }
    }

    fn read(text: &str) -> Option<Self> {
        number(text).and_then(|number| u32::try_from(number).ok()).filter(|number| *number <= 500).map(Self)
    }
}

/// How soon a job runs.
pub struct Priority(pub i64);

impl FromQuery for Priority {
    const RIGHT: &'static str = "use a number from 0 to 100";

    fn schema() -> MetaSchema {
        MetaSchema { minimum: Some(0.0), maximum: Some(100.0), ..MetaSchema::new_with_format("integer", "int64") }
    }

    fn read(text: &str) -> Option<Self> {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|priority| digits && (0..=100).contains(priority)).map(Self)
    }
}

/// A time, in Unix milliseconds.
pub struct Time(pub i64);

impl FromQuery for Time {
    const RIGHT: &'static str = time::RIGHT;

    fn schema() -> MetaSchema {
        MetaSchema::new_with_format("string", "date-time")
    }

    fn read(text: &str) -> Option<Self> {
        time::from_rfc3339(text).map(Self)
    }
}

/// A label that a job has.
pub struct Label(pub String, pub String);

impl FromQuery for Label {
    const RIGHT: &'static str = "use NAME:VALUE, such as team:art";

    fn schema() -> MetaSchema {
        MetaSchema { example: Some("team:art".into()), ..MetaSchema::new_with_format("string", "label") }
    }

    fn read(text: &str) -> Option<Self> {
        let (name, value) = text.split_once(':')?;
        check_label(name, value).ok().map(|()| Self(name.to_owned(), value.to_owned()))
    }
}

/// Where the next page begins: after this job.
pub struct Cursor(pub JobId);

impl Cursor {
    /// The text by which a client asks for the next page.
    pub fn after(id: JobId) -> String {
        format!("j{id:x}")
    }
}

impl FromQuery for Cursor {
    const RIGHT: &'static str = "use what `next` of the page before says";

    fn schema() -> MetaSchema {
        MetaSchema::new_with_format("string", "cursor")
    }

    fn read(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('j')?;
        let id = JobId::from_str_radix(digits, 16).ok().filter(|id| *id > 0)?;
        (Self::after(id) == text).then_some(Self(id))
    }
}
