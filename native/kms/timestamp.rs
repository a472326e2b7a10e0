//! The two ways in which key services write a time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// An instant of RFC 3339: `2026-11-24T21:00:00.123456789Z`, `2026-11-24T22:00:00+01:00`.
pub fn rfc3339(text: &str) -> Option<SystemTime> {
    let (date, rest) = text.split_once(['T', 't', ' '])?;
    let mut date = date.splitn(3, '-').map(digits);
    let days = days_from_civil(date.next()??, date.next()??, date.next()??)?;
    let (clock, zone) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit() && c != ':' && c != '.')?);
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let east = match zone.as_bytes().split_first()? {
        (b'Z' | b'z', []) => 0,
        (b'+', _) => offset(&zone[1..])?,
        (b'-', _) => -offset(&zone[1..])?,
        _ => return None,
    };
    let nanos = digits(&format!("{fraction:0<9.9}"))?;
    let seconds = u64::try_from(days * 86_400 + time_of_day(clock)? - east).ok()?;
    Some(UNIX_EPOCH + Duration::new(seconds, u32::try_from(nanos).ok()?))
}

/// A date of HTTP (RFC 9110, the form that servers must send): `Tue, 24 Nov 2026 21:00:00 GMT`.
pub fn http_date(text: &str) -> Option<SystemTime> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (_weekday, rest) = text.trim().split_once(", ")?;
    let parts: Vec<&str> = rest.split(' ').collect();
    let [day, month, year, clock, "GMT"] = parts[..] else { return None };
    let month = MONTHS.iter().zip(1..).find(|(name, _)| **name == month)?.1;
    let seconds = days_from_civil(digits(year)?, month, digits(day)?)? * 86_400 + time_of_day(clock)?;
    Some(UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).ok()?))
}

fn time_of_day(clock: &str) -> Option<i64> {
    let mut parts = clock.splitn(3, ':').map(digits);
    let (hours, minutes, seconds) = (parts.next()??, parts.next()??, parts.next()??);
    // 60 is a leap second.
    (hours < 24 && minutes < 60 && seconds <= 60).then_some(hours * 3_600 + minutes * 60 + seconds)
}

fn offset(text: &str) -> Option<i64> {
    let (hours, minutes) = text.split_once(':')?;
    Some(digits(hours)? * 3_600 + digits(minutes)? * 60)
}

fn digits(text: &str) -> Option<i64> {
    let short = (1..=9).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    short.then(|| text.parse().ok()).flatten()
}

/// Days since 1970 in the Gregorian calendar; years are counted from March, so that a leap day comes last.
fn days_from_civil(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || !(1..=9999).contains(&year) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64, nanos: u32) -> Option<SystemTime> {
        Some(UNIX_EPOCH + Duration::new(seconds, nanos))
    }

    /// Expected values: GNU `date -u -d <text> +%s`.
    #[test]
    fn times_read_as_they_are_written() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", at(0, 0)),
            ("2026-11-24T21:00:00.123456789Z", at(1_795_554_000, 123_456_789)),
            ("2026-11-24T22:30:00.5+01:30", at(1_795_554_000, 500_000_000)),
            ("2024-02-29T23:59:59-00:01", at(1_709_251_259, 0)),
            ("2000-03-01T00:00:00Z", at(951_868_800, 0)),
        ] {
            assert_eq!(rfc3339(text), expected, "{text}");
        }
        assert_eq!(http_date("Tue, 24 Nov 2026 21:00:00 GMT"), at(1_795_554_000, 0));
        assert_eq!(http_date("Thu, 29 Feb 2024 00:00:00 GMT"), at(1_709_164_800, 0));
    }

    #[test]
    fn anything_else_is_no_time() {
        for text in [
            "",
            "T",
            "2026-11-24",
            "2026-13-01T00:00:00Z",
            "2026-11-24T25:00:00Z",
            "2026-11-24T21:00:00",
            "2026-11-24T21:00:00+1",
            "-026-11-24T21:00:00Z",
            "1969-12-31T23:59:59Z",
            "2026-11-24T21:00:00é",
        ] {
            assert_eq!(rfc3339(text), None, "{text}");
        }
        for text in ["", "120", "Tue, 24 Nov 2026 21:00:00 CET", "Tuesday, 24-Nov-26 21:00:00 GMT"] {
            assert_eq!(http_date(text), None, "{text}");
        }
    }
}
