//! Values: what the texts of durations, sizes, flags and lists mean.

use std::time::Duration;

use crate::config::options::Kind;

/// Checks a text against the kind of its option; the error says what is expected.
pub fn check(kind: &Kind, text: &str) -> Result<(), String> {
    match kind {
        Kind::Flag => flag(text).map(drop),
        Kind::Count(least, most) => count(text, *least, *most).map(drop),
        Kind::Duration(least, most) => duration(text, *least, *most).map(drop),
        Kind::Size(least, most) => size(text, *least, *most).map(drop),
        Kind::PowerOfTwo(least, most) => match size(text, *least, *most)? {
            bytes if bytes.is_power_of_two() => Ok(()),
            _ => Err("a power of two, such as 16 kb, is expected".to_owned()),
        },
        Kind::Choice(words) => choice(text, words).map(drop),
        Kind::Choices(words) => list(text)?.iter().try_for_each(|word| choice(word, words).map(drop)),
        Kind::List => list(text).map(drop),
        Kind::Text | Kind::Path if text.trim().is_empty() => Err("it is empty".to_owned()),
        Kind::Text | Kind::Path if text.contains(|c: char| c.is_control()) => {
            Err("it has control characters".to_owned())
        }
        Kind::Text | Kind::Path => Ok(()),
    }
}

pub fn flag(text: &str) -> Result<bool, String> {
    match text.trim() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("true or false is expected".to_owned()),
    }
}

pub fn count(text: &str, least: u64, most: u64) -> Result<u64, String> {
    let count: u64 = text.trim().parse().map_err(|_| "a whole number is expected".to_owned())?;
    in_range(count, least, most, &|limit| limit.to_string())
}

/// Milliseconds out of `30 s`, `1h`, `500ms`.
pub fn duration(text: &str, least: u64, most: u64) -> Result<Duration, String> {
    let expected = || "a number and a unit (ms, s, min, h, d), such as 30 s, is expected".to_owned();
    let (number, unit) = number_and_unit(text).ok_or_else(expected)?;
    let unit = match unit.as_str() {
        "ms" | "milli" | "millis" | "millisecond" | "milliseconds" => 1,
        "s" | "sec" | "secs" | "second" | "seconds" => 1_000,
        "m" | "min" | "mins" | "minute" | "minutes" => 60_000,
        "h" | "hour" | "hours" => 3_600_000,
        "d" | "day" | "days" => 86_400_000,
        _ => return Err(expected()),
    };
    let millis = number.checked_mul(unit).ok_or_else(|| "it is too long".to_owned())?;
    in_range(millis, least, most, &show_duration).map(Duration::from_millis)
}

/// Bytes out of `16kb`, `1 tb`, `4096`; units are powers of 1024, as everywhere in Flink.
pub fn size(text: &str, least: u64, most: u64) -> Result<u64, String> {
    let expected = || "bytes, or a number and a unit (kb, mb, gb, tb), such as 16 kb, are expected".to_owned();
    let (number, unit) = number_and_unit(text).ok_or_else(expected)?;
    let shift = match unit.as_str() {
        "" | "b" | "bytes" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return Err(expected()),
    };
    let bytes = number.checked_mul(1 << shift).ok_or_else(|| "it is too large".to_owned())?;
    in_range(bytes, least, most, &show_size)
}

pub fn choice(text: &str, words: &'static [&'static str]) -> Result<&'static str, String> {
    let text = text.trim();
    words.iter().find(|word| **word == text).copied().ok_or_else(|| {
        let all = words.join(", ");
        match nearest(text, words.iter().copied()) {
            Some(word) => format!("one of {all} is expected; did you mean {word}?"),
            None => format!("one of {all} is expected"),
        }
    })
}

pub fn list(text: &str) -> Result<Vec<String>, String> {
    let items: Vec<String> = text.split(',').map(|item| item.trim().to_owned()).collect();
    if items.iter().any(|item| item.is_empty() || item.contains(|c: char| c.is_control())) {
        return Err("texts separated by commas, none of them empty, are expected".to_owned());
    }
    Ok(items)
}

/// The most similar of these words, if any is similar enough to be meant.
pub fn nearest<'w>(text: &str, words: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    let likeness = |word: &str| strsim::normalized_damerau_levenshtein(&text.to_lowercase(), word);
    words
        .map(|word| (likeness(word), word))
        .filter(|(likeness, _)| *likeness >= 0.5)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, word)| word)
}

/// As a person would write it.
pub fn show_duration(millis: u64) -> String {
    for (unit, name) in [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s")] {
        if millis >= unit && millis.is_multiple_of(unit) {
            return format!("{} {name}", millis / unit);
        }
    }
    format!("{millis} ms")
}

/// As a person would write it.
pub fn show_size(bytes: u64) -> String {
    for (shift, name) in [(40, "tb"), (30, "gb"), (20, "mb"), (10, "kb")] {
        if bytes >= 1 << shift && bytes.is_multiple_of(1 << shift) {
            return format!("{} {name}", bytes >> shift);
        }
    }
    bytes.to_string()
}

fn number_and_unit(text: &str) -> Option<(u64, String)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim().to_ascii_lowercase()))
}

fn in_range(value: u64, least: u64, most: u64, show: &dyn Fn(u64) -> String) -> Result<u64, String> {
    if (least..=most).contains(&value) {
        return Ok(value);
    }
    Err(format!("it must lie between {} and {}", show(least), show(most)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_read_as_people_write_them() {
        let millis = |text| duration(text, 0, u64::MAX).map(|duration| duration.as_millis() as u64);
        for (text, expected) in
            [("30 s", 30_000), ("1h", 3_600_000), ("500ms", 500), (" 2 Days ", 172_800_000), ("0 s", 0)]
        {
            assert_eq!(millis(text), Ok(expected), "{text}");
        }
        for text in ["30", "s", "-1 s", "1.5 h", "1 fortnight", "", "99999999999999999999 s", "18446744073709551615 d"]
        {
            assert!(millis(text).is_err(), "{text}");
        }
        for (text, expected) in [("16kb", 16_384), ("16 KiB", 16_384), ("4096", 4096), ("1tb", 1 << 40)] {
            assert_eq!(size(text, 0, u64::MAX), Ok(expected), "{text}");
        }
        for text in ["", "kb", "1.5 mb", "1 pb", "18446744073709551615 tb"] {
            assert!(size(text, 0, u64::MAX).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_shown_reads_back() {
        for value in [0, 1, 999, 1000, 1024, 90_000, 3_600_000, 86_400_000, 1 << 20, 1 << 40, (1 << 40) + 1] {
            assert_eq!(duration(&show_duration(value), 0, u64::MAX), Ok(Duration::from_millis(value)));
            assert_eq!(size(&show_size(value), 0, u64::MAX), Ok(value));
        }
    }

    #[test]
    fn limits_are_inclusive() {
        assert!(count("1", 1, 9).is_ok() && count("9", 1, 9).is_ok());
        assert!(count("0", 1, 9).is_err() && count("10", 1, 9).is_err());
    }

    #[test]
    fn only_a_similar_word_is_suggested() {
        assert_eq!(nearest("locla", ["local", "aws"].into_iter()), Some("local"));
        assert_eq!(nearest("zzz", ["local", "aws"].into_iter()), None);
    }
}
