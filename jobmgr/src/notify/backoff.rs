//! When a message that was not taken is sent again.

use std::time::{Duration, SystemTime};

use reqwest::header::HeaderValue;

/// The longest pause that a receiver may ask for.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// The pause after the `tries`-th attempt, from 1: that of the list, a fifth shorter or longer by chance, or the one
/// that the receiver asked for, where that is longer. `None`: there is no further attempt.
pub fn pause(list: &[Duration], tries: i64, asked: Option<Duration>) -> Option<Duration> {
    let place = usize::try_from(tries).ok()?.checked_sub(1)?;
    let pause = list.get(place)?.mul_f64(0.8 + 0.4 * fastrand::f64());
    Some(asked.map_or(pause, |asked| asked.min(LONGEST).max(pause)))
}

/// `Retry-After`: seconds, or a date.
pub fn asked(header: &HeaderValue) -> Option<Duration> {
    let text = header.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn pauses_follow_the_list_and_end_with_it() {
        let list = [5 * SECOND, 300 * SECOND];
        let all: Vec<_> = (0..1000).filter_map(|_| pause(&list, 1, None)).collect();
        assert_eq!(all.len(), 1000);
        assert!(all.iter().all(|pause| (4 * SECOND..=6 * SECOND).contains(pause)));
        assert!(all.iter().min() < Some(&(5 * SECOND)) && all.iter().max() > Some(&(5 * SECOND)), "not all at once");
        assert!(pause(&list, 2, None).unwrap() >= 240 * SECOND);
        assert_eq!((pause(&list, 3, None), pause(&list, 0, None), pause(&[], 1, None)), (None, None, None));
    }

    #[test]
    fn row_92_what_a_receiver_asks_for_is_kept_up_to_a_day() {
        let list = [5 * SECOND];
        assert_eq!(pause(&list, 1, Some(90 * SECOND)), Some(90 * SECOND));
        assert_eq!(pause(&list, 1, Some(90 * LONGEST)), Some(LONGEST));
        assert!(pause(&list, 1, Some(SECOND)).unwrap() >= 4 * SECOND, "not sooner than without");
        assert_eq!(pause(&list, 2, Some(SECOND)), None, "it does not make more attempts");
        let read = |text: &'static str| asked(&HeaderValue::from_static(text));
        assert_eq!(read("120"), Some(120 * SECOND));
        assert_eq!(read("Thu, 01 Jan 1970 00:00:00 GMT"), Some(Duration::ZERO));
        assert!(read("Fri, 31 Dec 9999 23:59:59 GMT").unwrap() > 90 * LONGEST);
        assert_eq!((read("soon"), read("-1"), read("")), (None, None, None));
    }
}
