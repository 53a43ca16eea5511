//! Times as text: RFC 3339, UTC, milliseconds.

const DAY: i64 = 86_400_000;
/// After so many days the calendar repeats itself: 400 years.
const CYCLE: i64 = 146_097;

/// Unix milliseconds as `2026-01-02T03:04:05.678Z`.
pub fn rfc3339(milliseconds: i64) -> String {
    let (year, month, day) = date(milliseconds.div_euclid(DAY));
    let rest = milliseconds.rem_euclid(DAY);
    let (hour, minute, second) = (rest / 3_600_000, rest / 60_000 % 60, rest / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", rest % 1000)
}

/// What a time that is given must be, in words.
pub const RIGHT: &str = "must be a time in UTC such as 2026-01-02T03:04:05Z or 2026-01-02T03:04:05.678Z, from the year \
                         1970 to 9999";

/// The Unix milliseconds of a text such as [`rfc3339`] gives, the fraction being of 0 to 9 digits; what is less than a
/// millisecond is dropped. Other zones than UTC are none of ours; Python writes that as `+00:00`.
pub fn from_rfc3339(text: &str) -> Option<i64> {
    let (date, time) = text.strip_suffix('Z').or_else(|| text.strip_suffix("+00:00"))?.split_once('T')?;
    let (time, fraction) = time.split_once('.').map_or((time, None), |(time, fraction)| (time, Some(fraction)));
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    let in_range = year >= 1970
        && (1..=12).contains(&month)
        && (1..=days_in(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    let days =
        (1970..year).map(days_of).sum::<i64>() + (1..month).map(|month| days_in(year, month)).sum::<i64>() + day - 1;
    let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
    in_range.then_some(seconds * 1000 + milliseconds(fraction)?)
}

fn milliseconds(fraction: Option<&str>) -> Option<i64> {
    let Some(fraction) = fraction else { return Some(0) };
    let digits = (1..=9).contains(&fraction.len()) && fraction.bytes().all(|byte| byte.is_ascii_digit());
    format!("{fraction}00").get(..3).filter(|_| digits)?.parse().ok()
}

/// Three numbers of so many digits.
fn numbers(text: &str, between: char, lengths: [usize; 3]) -> Option<[i64; 3]> {
    let parts: Vec<&str> = text.split(between).collect();
    let parts: [&str; 3] = parts.try_into().ok()?;
    let serves =
        |(part, length): (&&str, &usize)| part.len() == *length && part.bytes().all(|byte| byte.is_ascii_digit());
    if !parts.iter().zip(&lengths).all(serves) {
        return None;
    }
    let [first, second, third] = parts.map(|part| part.parse().ok());
    Some([first?, second?, third?])
}

/// Year, month and day, so many days after 1970-01-01.
fn date(days: i64) -> (i64, i64, i64) {
    // From 2000-01-01, where a cycle begins.
    let days = days - 10_957;
    let (mut year, mut rest) = (2000 + 400 * days.div_euclid(CYCLE), days.rem_euclid(CYCLE));
    while rest >= days_of(year) {
        rest -= days_of(year);
        year += 1;
    }
    let mut month = 1;
    while rest >= days_in(year, month) {
        rest -= days_in(year, month);
        month += 1;
    }
    (year, month, rest + 1)
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_of(year: i64) -> i64 {
    if is_leap(year) { 366 } else { 365 }
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_that_are_known() {
        for (milliseconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_767_323_045_678, "2026-01-02T03:04:05.678Z"),
            (1_735_689_599_999, "2024-12-31T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(rfc3339(milliseconds), text);
            let read = Some(milliseconds).filter(|milliseconds| *milliseconds >= 0);
            assert_eq!((from_rfc3339(text), from_rfc3339(&text.replace('Z', "+00:00"))), (read, read), "{text}");
        }
    }

    #[test]
    fn fractions() {
        for (fraction, milliseconds) in [("", 0), (".5", 500), (".05", 50), (".1239", 123), (".999999999", 999)] {
            assert_eq!(from_rfc3339(&format!("1970-01-01T00:00:00{fraction}Z")), Some(milliseconds), "{fraction}");
        }
    }

    #[test]
    fn what_is_no_time_here() {
        for text in [
            "",
            "2026-01-02",
            "2026-01-02T03:04:05",
            "2026-01-02T03:04:05-00:00",
            "2026-01-02T03:04:05+01:00",
            "2026-01-02T03:04:05Z+00:00",
            "2026-01-02t03:04:05z",
            "2026-01-02 03:04:05Z",
            "10000-01-01T00:00:00Z",
            "-2026-01-02T03:04:05Z",
            "1969-12-31T23:59:59Z",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:60:00Z",
            "2026-12-31T23:59:60Z",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00.1234567890Z",
            "2026-1-1T0:0:0Z",
            "+026-01-01T00:00:00Z",
        ] {
            assert_eq!(from_rfc3339(text), None, "{text}");
        }
    }
}
